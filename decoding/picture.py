"""Pictures of filters: three levels, montages, files. Only this module draws with Pillow, on arrays (H, W, 3)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .arguments import (
    Array,
    as_array,
    as_array4,
    as_count,
    as_sequence,
    check_finite,
    described,
    is_constant,
    plural,
    scaled_down,
)
from .boundary import formerly, public
from .errors import InvalidValueError, ShapeError
from .files import File, as_path, file_first, is_open, replacing, shown

if TYPE_CHECKING:
    from PIL.Image import Image

Picture = npt.NDArray[np.uint8]

GAP = 4  # pixels between tiles
TILE = 64  # the least width or height of a tile in pixels, unless a zoom is given
FONT_SIZE = 12
LINE = FONT_SIZE + GAP  # pixels from one line of text to the next
WORD = 96  # pixels: a column widens for a word below its tiles up to this; longer words are broken
TITLE = 320  # pixels: a picture widens for its title up to this
BAR, BAR_HEIGHT = 160, 12  # the least width of a colour bar, and its height, in pixels
CELLS = 2**16  # how many cells are coloured at a time
BACKGROUND = (255, 255, 255)
FORMATS = {".png": "PNG", ".tif": "TIFF", ".tiff": "TIFF", ".bmp": "BMP", ".jpg": "JPEG", ".jpeg": "JPEG"}

MOST_JPEG = 65_500  # the most rows or columns that the usual library writes

# Blue, grey, red: the ends and the middle of Moreland's diverging map (2009), which colour-blind people can read.
_NEGATIVE, _ZERO, _POSITIVE = (59, 76, 192), (221, 221, 221), (180, 4, 38)


@public
@formerly("at")
def threshold(df: npt.ArrayLike, *, at: float = 1.0, sum_channels: bool = False) -> npt.NDArray[np.int8]:
    """Reduce a decoded filter to its strokes, in three levels.

    ``+1 where df > at · σ, −1 where df < −at · σ, 0 elsewhere``, where σ is the standard deviation of the filter.

    Parameters
    ----------
    df : array_like of shape (..., C, H, W), or (H, W)
        A decoded filter, or a bank of them, each with its own σ.
    at : float
        The threshold, in standard deviations of the filter.
    sum_channels : bool
        Take the sum over the channels first. Three levels in each of three colour channels would make 27 colours, which are hard
        to read; those of the sum show where the filter prefers light and where dark.

    Returns
    -------
    ndarray of the shape of `df`, int8
        With `sum_channels`, of shape (..., 1, H, W). A filter that is constant, except for rounding, has no strokes and gives 0
        everywhere.

    Raises
    ------
    ShapeError
        If `df` has fewer than two axes, or with `sum_channels` fewer than three.
    InvalidValueError
        If `df` is not finite, or `at` is negative or not finite.

    Notes
    -----
    Paper: figures 1 and 4, "a threshold output to enhance filter shape"; no level is given there. Our choice: zero and
    one standard deviation.

    Examples
    --------
    >>> threshold([[-4, 0, 1, 5]])
    array([[-1,  0,  0,  1]], dtype=int8)
    """
    array = as_array(df, "threshold: df")
    if array.ndim < 2 or not array.size:
        raise ShapeError(f"threshold: df must be (..., C, H, W) or (H, W), not {array.shape}.")
    if not isinstance(at, (int, float, np.integer, np.floating)) or not 0 <= at <= np.finfo(float).max:
        raise InvalidValueError(
            f"threshold: at must be a number of standard deviations, 0 or more, not {described(at)}."
        )
    check_finite(array, "threshold: df")
    eps = float(np.finfo(array.dtype if array.dtype.kind == "f" else np.float64).eps)
    array = array.astype(np.result_type(array, np.float64))
    if sum_channels:
        if array.ndim < 3:
            raise ShapeError(f"threshold: df must be (..., C, H, W) for sum_channels, not {array.shape}.")
        # Filters are scaled down first, by powers of two, so that no sum overflows.
        array = scaled_down(array, (-3, -2, -1)).sum(axis=-3, keepdims=True)
    axes = tuple(range(max(0, array.ndim - 3), array.ndim))
    constant = is_constant(array.min(axis=axes, keepdims=True), array.max(axis=axes, keepdims=True), eps)
    scaled = array if at == 0 else scaled_down(array, axes)
    level = np.where(constant, np.inf, 0 if at == 0 else at * scaled.std(axis=axes, keepdims=True))
    return (scaled > level).astype(np.int8) - (scaled < -level).astype(np.int8)


@public
@formerly("columns", "scale", "zoom", "labels")
def montage(
    filters: npt.ArrayLike,
    *,
    columns: int | None = None,
    scale: str = "each",
    zoom: int | None = None,
    labels: Sequence[object] | None = None,
    title: str | None = None,
    bar: bool = False,
    font: str | Path | None = None,
) -> Picture:
    """Draw filters side by side.

    Filters of one channel are drawn from blue (negative) over grey (zero) to red (positive), filters of three channels in their
    colours around mid-grey (zero). Decoded filters are in the units of normalized images. Give ``net.per_pixel(filters)`` to
    draw them in the units of pixels; that makes a difference if the network's `std` is not the same for all channels.

    Parameters
    ----------
    filters : array_like of shape (K, C, H, W), C being 1 or 3
        For one filter, ``filters[np.newaxis]``.
    columns : int, optional
        How many tiles to put in a row; unless given, about as many as there are rows.
    scale : {"each", "shared"}
        Whether full colour stands for the largest magnitude of each filter, or of all of them.
    zoom : int, optional
        Pixels per cell; unless given, as many as make a tile at least 64 pixels wide or high.
    labels : sequence of K, optional
        Written below the tiles, on as many lines as they need. A column widens for its longest word, up to 96 pixels;
        longer words are broken.
    title : str, optional
        Written above the tiles.
    bar : bool
        Whether to draw a bar below the tiles that says which number each colour stands for. For three channels there are three
        bars, which show what each channel does to the colour, from its most negative to its most positive value.
    font : path, optional
        A TrueType or OpenType file for titles and labels. Unless given, Pillow's own font is used, which has the characters of
        ASCII and few others.

    Returns
    -------
    ndarray of shape (rows, columns, 3), uint8
        A tile has ``zoom · H`` by ``zoom · W`` pixels, and a gap around it. A filter that is zero everywhere is a tile
        in the colour of zero.

    Raises
    ------
    ShapeError
        If the filters have neither one channel nor three, there are none, or the number of labels differs.
    InvalidValueError
        If a filter is not finite (it says which), the font lacks a character (it says which), or an option is none of
        those above.

    See Also
    --------
    show : The same as an image that a notebook displays.
    save_picture

    Notes
    -----
    Paper: figures 1, 4 and 5. The colours are our choice: zero looks the same in every picture. Besides the filters and the
    picture itself, little memory is needed.

    Examples
    --------
    >>> picture = montage([[[[-1, 0, 1]]], [[[2, 0, 4]]]], zoom=1)
    >>> picture[4, 4:7].tolist()
    [[59, 76, 192], [221, 221, 221], [180, 4, 38]]
    """
    bank = as_array4(filters, "montage", "filters", "(K, C, H, W)")
    if not len(bank) or bank.shape[1] not in (1, 3):
        raise ShapeError(
            f"montage: filters {bank.shape}: there must be at least one, and each must have 1 channel (grey) or 3 (colour). "
            "Of filters with other channels draw one channel, filters[:, :1], or the sum, filters.sum(axis=1, keepdims=True)."
        )
    if not isinstance(scale, str) or scale not in ("each", "shared"):
        raise InvalidValueError(f"montage: scale must be 'each' or 'shared', not {described(scale)}.")
    if labels is not None and not isinstance(labels, str):
        labels = as_sequence(labels, "montage: labels", "one for each filter")
    if labels is not None and len(labels) != len(bank):
        raise ShapeError(f"montage: {plural(len(labels), 'label')} for {plural(len(bank), 'filter')}.")
    if title is not None and not isinstance(title, str):
        raise InvalidValueError(f"montage: title must be a text, not {described(title)}.")
    check_finite(bank, f"montage: filters {bank.shape}")
    columns = int(np.ceil(np.sqrt(len(bank)))) if columns is None else as_count(columns, "montage: columns")
    zoom = max(1, -(-TILE // max(bank.shape[2:]))) if zoom is None else as_count(zoom, "montage: zoom")
    letters = load_font(font, "montage")
    written = None if labels is None else [str(label) for label in labels]
    for text in [*(written or []), title or ""]:
        check_drawable(text, letters, "montage")
    full = _largest(bank) if scale == "shared" else None
    return _arrange(bank, min(columns, len(bank)), zoom, full, written, title, bar, letters)


@public
def show(
    filters: npt.ArrayLike,
    *,
    columns: int | None = None,
    scale: str = "each",
    zoom: int | None = None,
    labels: Sequence[object] | None = None,
    title: str | None = None,
    bar: bool = False,
    font: str | Path | None = None,
) -> Image:
    """Draw filters side by side, for a notebook.

    Parameters
    ----------
    filters, columns, scale, zoom, labels, title, bar, font
        As `montage` takes them.

    Returns
    -------
    PIL.Image.Image
        A notebook displays it when it is the last line of a cell; ``.save(path)`` writes it.

    Raises
    ------
    ShapeError, InvalidValueError
        As `montage`.

    See Also
    --------
    montage : The same as an array.

    Examples
    --------
    >>> show([[[[-1, 0, 1]]]], zoom=20).size
    (68, 28)
    """
    from PIL import Image

    picture = montage(filters, columns=columns, scale=scale, zoom=zoom, labels=labels, title=title, bar=bar, font=font)
    return Image.fromarray(picture)


@public
def save_picture(path: File, array: npt.ArrayLike) -> None:
    """Write a picture to a file.

    Parameters
    ----------
    path : path or open file
        The ending of its name decides the format: ``.png``, ``.tif``, ``.bmp``, or ``.jpg``, which loses detail. An open file
        without a name gets PNG. A file that exists is replaced once the new one is complete, and keeps its permissions.
    array : array_like of shape (H, W, 3) or (H, W), uint8
        The picture. Path and picture may be given in either order.

    Raises
    ------
    ShapeError
        If the array has another shape.
    InvalidValueError
        If the array does not hold uint8, the path has another ending, or the picture is too large for the format.
    OSError
        If the file cannot be written: because there is no such folder, or what is there is read-only or no regular file.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_picture(f"{folder}/filter.png", montage([[[[1, 2]]]]))
    """
    from PIL import Image

    path, array = file_first(path, array)
    name = getattr(path, "name", None) if is_open(path) else as_path(path, "save_picture: path")
    array = as_array(array, "save_picture: array")
    if array.dtype != np.uint8:
        raise InvalidValueError(
            f"save_picture: the array must hold uint8, not {array.dtype}; montage makes such pictures."
        )
    if array.ndim not in (2, 3) or array.shape[2:] not in ((), (3,)) or not array.size:
        raise ShapeError(f"save_picture: the array must be (H, W, 3) or (H, W), not {array.shape}.")
    ending = Path(name).suffix.lower() if isinstance(name, (str, Path)) else ""
    if ending not in FORMATS and not is_open(path):
        raise InvalidValueError(f"save_picture: '{shown(path)}' should end in one of {', '.join(FORMATS)}.")
    format = FORMATS.get(ending, "PNG")
    if format == "JPEG" and max(array.shape[:2]) > MOST_JPEG:
        raise InvalidValueError(
            f"save_picture: a JPEG has at most {MOST_JPEG:,} rows and columns, and this picture has {array.shape[0]:,}×{array.shape[1]:,}. "
            "Write a .png, or a montage of fewer filters."
        )
    with replacing(path, "save_picture: path") as file:
        Image.fromarray(np.ascontiguousarray(array)).save(file, format=format)


def _largest(bank: Array) -> float:
    """The largest magnitude of all filters, as a float: the least integer of a type has no positive counterpart."""
    return max(abs(float(bank.min())), abs(float(bank.max())))


def _scaled(bank: Array, full: float | None) -> Array:
    """The filters divided by `full`, or each by its own largest magnitude, so that they lie between −1 and 1."""
    bank = bank.astype(np.float64)
    largest = np.abs(bank).max(axis=(1, 2, 3), keepdims=True) if full is None else np.float64(full)
    return np.asarray(np.divide(bank, largest, out=np.zeros_like(bank), where=largest > 0))


def _colours(bank: Array) -> Picture:
    """The colours, (K, H, W, 3), of filters (K, C, H, W) between −1 and 1."""
    if bank.shape[1] == 3:
        return np.moveaxis(np.round(127.5 + 127.5 * bank).astype(np.uint8), 1, -1)
    ends = zip(_NEGATIVE, _ZERO, _POSITIVE, strict=True)
    return np.stack([np.round(np.interp(bank[:, 0], (-1, 0, 1), end)) for end in ends], axis=-1).astype(np.uint8)


def _arrange(
    bank: Array,
    columns: int,
    zoom: int,
    full: float | None,
    labels: list[str] | None,
    title: str | None,
    bar: bool,
    font: Any,
) -> Picture:
    """Put together the page: title, tiles with their labels, colour bar."""
    height, width = zoom * bank.shape[2], zoom * bank.shape[3]
    across = [width] * columns
    for i, label in enumerate(labels or []):
        widest = max(text_width(word, font) for word in [*label.split(), ""])
        across[i % columns] = max(across[i % columns], min(widest, WORD))
    lefts = np.cumsum([GAP, *(pixels + GAP for pixels in across)]).tolist()
    least = [lefts[-1] - GAP, GAP + BAR if bar else 0]
    least += [GAP + min(text_width(line, font), TITLE) for line in (title or "").split("\n")]
    page_width = max(least) + GAP

    head = [] if title is None else wrapped(title, page_width - 2 * GAP, font)
    below = [wrapped(label, across[i % columns], font) for i, label in enumerate(labels or [])]
    lines = [max(map(len, below[i : i + columns]), default=0) for i in range(0, len(bank), columns)]
    tops = np.cumsum([GAP + LINE * len(head), *(height + GAP + LINE * n for n in lines)]).tolist()
    foot = (
        colour_bar(min(page_width - 2 * GAP, 2 * BAR), bank.shape[1], full, font)
        if bar
        else np.empty((0, 0, 3), np.uint8)
    )

    page = np.empty((tops[-1] + len(foot), page_width, 3), np.uint8)
    page[:] = BACKGROUND
    step = max(1, CELLS // max(1, bank[0].size))
    for start in range(0, len(bank), step):
        for i, tile in enumerate(_colours(_scaled(bank[start : start + step], full)), start):
            top, left = tops[i // columns], lefts[i % columns]
            page[top : top + height, left : left + width] = tile.repeat(zoom, axis=0).repeat(zoom, axis=1)
    page[tops[-1] :, GAP : GAP + foot.shape[1]] = foot
    texts = [(GAP, GAP + LINE * n, line) for n, line in enumerate(head)]
    for i, lines_below in enumerate(below):
        left, top = lefts[i % columns], tops[i // columns] + height + 1
        texts += [(left, top + LINE * n, line) for n, line in enumerate(lines_below)]
    return write_text(page, texts, font=font)


def colour_bar(width: int, channels: int = 1, full: float | None = None, font: Any = None) -> Picture:
    """A bar that says which colour stands for which number; full colour is `full`, or the largest magnitude of each tile.

    For three channels it shows what each of them does to the colour.
    """
    ramp = np.linspace(-1, 1, width)
    rows = [ramp[np.newaxis]] if channels == 1 else [np.outer(np.eye(3)[c], ramp) for c in range(3)]
    strips = _colours(np.stack(rows)[:, :, np.newaxis]).repeat(BAR_HEIGHT, axis=1)
    ends = ("-max", "0", "+max") if full is None else (f"{-full:.3g}", "0", f"{full:.3g}")
    said = wrapped("max: the largest magnitude of each tile", width, font) if full is None else []
    picture = np.empty((len(rows) * BAR_HEIGHT + LINE * (1 + len(said)) + GAP, width, 3), np.uint8)
    picture[:] = BACKGROUND
    picture[: len(rows) * BAR_HEIGHT] = strips.reshape(-1, width, 3)
    top = len(rows) * BAR_HEIGHT + 1
    _, middle, right = (text_width(end, font) for end in ends)
    texts = [(0, top, ends[0]), ((width - middle) // 2, top, ends[1]), (width - right, top, ends[2])]
    texts += [(0, top + LINE * n, line) for n, line in enumerate(said, 1)]
    return write_text(picture, texts, font=font)


def text_width(text: str, font: Any = None) -> int:
    """How many pixels `text` is wide on one line."""
    return int(np.ceil((font or load_font(None)).getlength(text)))


def wrapped(text: str, width: int, font: Any = None) -> list[str]:
    """The lines of a text, each at most `width` wide: broken between words, and within words that are wider themselves."""
    font = font or load_font(None)
    lines = []
    for line in text.split("\n"):
        now = ""
        for word in line.split(" "):
            longer = f"{now} {word}" if now else word
            if text_width(longer, font) <= width:
                now = longer
                continue
            lines += [now] if now else []
            now = ""
            for character in word:
                if now and text_width(now + character, font) > width:
                    lines.append(now)
                    now = ""
                now += character
        lines.append(now)
    return lines


def write_text(
    picture: Picture,
    texts: Sequence[tuple[int, int, str]],
    *,
    colour: tuple[int, int, int] = (0, 0, 0),
    font: Any = None,
) -> Picture:
    """Write each (left, top, text) on the picture, which is changed and returned."""
    from PIL import Image, ImageDraw

    font = font or load_font(None)
    for left, top, text in texts:
        check_drawable(text, font, "write_text")
        x0, y0, x1, y1 = font.getbbox(text)
        rows = slice(max(0, top + int(np.floor(y0))), max(0, top + int(np.ceil(y1))))
        columns = slice(max(0, left + int(np.floor(x0))), max(0, left + int(np.ceil(x1))))
        part = picture[rows, columns]
        if part.size:  # Pillow gets only this part of the page, so that the page is not copied
            image = Image.fromarray(np.ascontiguousarray(part))
            ImageDraw.Draw(image).text((left - columns.start, top - rows.start), text, fill=colour, font=font)
            part[:] = np.asarray(image)
    return picture


def load_font(path: str | Path | None, function: str = "load_font") -> Any:
    """The font of a file; Pillow's own if `path` is None."""
    from PIL import ImageFont

    if path is None:
        return _own_font()
    if not isinstance(path, (str, Path)):
        raise InvalidValueError(f"{function}: font must be the path of a font file, not {described(path)}.")
    try:
        return ImageFont.truetype(str(path), FONT_SIZE)
    except OSError as error:
        if not Path(path).exists():
            raise FileNotFoundError(f"{function}: there is no font '{shown(path)}'.") from error
        raise InvalidValueError(f"{function}: '{shown(path)}' is no TrueType or OpenType font: {error}.") from error


@cache
def _own_font() -> Any:
    from PIL import ImageFont

    return ImageFont.load_default(size=FONT_SIZE)


def check_drawable(text: str, font: Any, function: str) -> None:
    """Refuse a text with characters that the font lacks; it would draw empty boxes instead."""
    lacking = sorted({character for character in text if character not in " \n" and not _has(font, character)})
    if lacking:
        raise InvalidValueError(
            f"{function}: the font lacks {', '.join(map(ascii, lacking))}, of {text[:80]!a}. "
            "Give a font that has them: font='/path/to/font.ttf'."
        )


@cache
def _has(font: Any, character: str) -> bool:
    """Whether the font has the character. A font draws all that it lacks in the same way, such as U+FFFF, which is no character."""
    if "\ud800" <= character <= "\udfff":  # a surrogate, half of a character
        return False
    drawn, lacking = (font.getmask(sign) for sign in (character, "\uffff"))
    return bool(drawn.size != lacking.size or bytes(drawn) != bytes(lacking))
