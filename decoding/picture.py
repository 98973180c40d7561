"""Pictures of filters: three levels, montages, files. The only room that knows Pillow and (H, W, 3)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

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

Picture = npt.NDArray[np.uint8]

GAP = 4  # pixels between tiles
TILE = 64  # pixels that a tile has at least, unless a zoom is given
FONT_SIZE = 12
BACKGROUND = (255, 255, 255)
FORMATS = {".png": "PNG", ".tif": "TIFF", ".tiff": "TIFF", ".bmp": "BMP", ".jpg": "JPEG", ".jpeg": "JPEG"}

MOST_JPEG = 65_500  # rows or columns, of the library that everyone writes it with

# Blue, grey, red: the ends and the middle of Moreland's diverging map (2009), which colour-blind people can read.
_NEGATIVE, _ZERO, _POSITIVE = (59, 76, 192), (221, 221, 221), (180, 4, 38)


@public
@formerly("at")
def threshold(df: npt.ArrayLike, *, at: float = 1.0) -> npt.NDArray[np.int8]:
    """Keep the strokes of a decoded filter: three levels.

    ``+1 where df > at · σ, −1 where df < −at · σ, 0 elsewhere``, σ being the standard deviation of the filter.

    Parameters
    ----------
    df : array_like of shape (..., C, H, W), or (H, W)
        A decoded filter, or a bank of them, each with its own σ.
    at : float
        In standard deviations of the filter.

    Returns
    -------
    ndarray of the shape of `df`, int8
        0 everywhere for a filter that is constant but for rounding, which has no strokes.

    Raises
    ------
    ShapeError
        If `df` has less than two axes.
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
    df = as_array(df, "threshold: df")
    if df.ndim < 2 or not df.size:
        raise ShapeError(f"threshold: df must be (..., C, H, W) or (H, W), not {df.shape}.")
    if not isinstance(at, (int, float, np.integer, np.floating)) or not 0 <= at <= np.finfo(float).max:
        raise InvalidValueError(
            f"threshold: at must be a number of standard deviations, 0 or more, not {described(at)}."
        )
    check_finite(df, "threshold: df")
    axes = tuple(range(max(0, df.ndim - 3), df.ndim))
    eps = float(np.finfo(df.dtype if df.dtype.kind == "f" else np.float64).eps)
    df = df.astype(np.result_type(df, np.float64))
    constant = is_constant(df.min(axis=axes, keepdims=True), df.max(axis=axes, keepdims=True), eps)
    scaled = df if at == 0 else scaled_down(df, axes)
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
) -> Picture:
    """Draw filters side by side.

    One channel is drawn from blue (negative) over grey (zero) to red (positive); three channels are drawn in true
    colours around mid-grey (zero). Decoded filters are in the units of normalized images; for those of pixels give
    ``net.per_pixel(filters)``, which differs where the network's `std` does from channel to channel.

    Parameters
    ----------
    filters : array_like of shape (K, C, H, W), C being 1 or 3
        For one filter, ``filters[np.newaxis]``.
    columns : int, optional
        Tiles in a row; about as many as rows unless given.
    scale : {"each", "shared"}
        Full colour is the largest magnitude of each filter, or of all of them.
    zoom : int, optional
        Pixels per cell; as many as make a tile 64 pixels wide or high, unless given.
    labels : sequence of K, optional
        Written below the tiles.

    Returns
    -------
    ndarray of shape (rows, columns, 3), uint8
        A tile has ``zoom · H`` by ``zoom · W`` pixels, and a gap around it. A filter that is zero everywhere is a tile
        in the colour of zero.

    Raises
    ------
    ShapeError
        If the filters have neither one channel nor three, there are none, or there are not as many labels.
    InvalidValueError
        If a filter is not finite (it says which), or an option is none of those above.

    See Also
    --------
    save_picture

    Notes
    -----
    Paper: figures 1, 4 and 5. The colours are our choice: zero looks the same in every picture.

    Examples
    --------
    >>> picture = montage([[[[-1, 0, 1]]], [[[2, 0, 4]]]], zoom=1)
    >>> picture[4, 4:7].tolist()
    [[59, 76, 192], [221, 221, 221], [180, 4, 38]]
    """
    bank = as_array4(filters, "montage", "filters", "(K, C, H, W)")
    if not len(bank) or bank.shape[1] not in (1, 3):
        raise ShapeError(
            f"montage: filters {bank.shape} must be at least one, of 1 channel (grey) or 3 (colour). "
            "Of others, draw a channel, filters[:, :1], or their sum, filters.sum(axis=1, keepdims=True)."
        )
    if not isinstance(scale, str) or scale not in ("each", "shared"):
        raise InvalidValueError(f"montage: scale must be 'each' or 'shared', not {described(scale)}.")
    if labels is not None and not isinstance(labels, str):
        labels = as_sequence(labels, "montage: labels", "one for each filter")
    if labels is not None and len(labels) != len(bank):
        raise ShapeError(f"montage: {plural(len(labels), 'label')} for {plural(len(bank), 'filter')}.")
    check_finite(bank, f"montage: filters {bank.shape}")
    columns = int(np.ceil(np.sqrt(len(bank)))) if columns is None else as_count(columns, "montage: columns")
    zoom = max(1, -(-TILE // max(bank.shape[2:]))) if zoom is None else as_count(zoom, "montage: zoom")
    tiles = _colours(_scaled(bank.astype(np.float64), scale)).repeat(zoom, axis=1).repeat(zoom, axis=2)
    return _arrange(tiles, min(columns, len(bank)), labels)


@public
def save_picture(path: File, array: npt.ArrayLike) -> None:
    """Write a picture to a file.

    Parameters
    ----------
    path : path or open file
        Its ending says the format: ``.png``, ``.tif``, ``.bmp`` or, not without loss, ``.jpg``; of an open file without a
        name, it is PNG. What stood there is replaced when the new file is complete, and keeps its mode.
    array : array_like of shape (H, W, 3) or (H, W), uint8
        The two may come in either order.

    Raises
    ------
    ShapeError
        If the array has another shape.
    InvalidValueError
        If it does not hold uint8, the ending is another one, or it is too large for the format.
    OSError
        If the file cannot be written: there is no such folder, or what is there is read-only or no regular file.

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
            f"save_picture: a JPEG has at most {MOST_JPEG:,} rows and columns, and this picture {array.shape[0]:,}×{array.shape[1]:,}. "
            "Write a .png, or a montage of fewer filters."
        )
    with replacing(path, "save_picture: path") as file:
        Image.fromarray(np.ascontiguousarray(array)).save(file, format=format)


def _scaled(bank: Array, scale: str) -> Array:
    """Between −1 and 1; zero stays zero."""
    largest = np.abs(bank).max(axis=(1, 2, 3) if scale == "each" else None, keepdims=True)
    return np.asarray(np.divide(bank, largest, out=np.zeros_like(bank), where=largest > 0))


def _colours(bank: Array) -> Picture:
    """(K, C, H, W) between −1 and 1 → (K, H, W, 3)."""
    if bank.shape[1] == 3:
        return np.moveaxis(np.round(127.5 + 127.5 * bank).astype(np.uint8), 1, -1)
    ends = zip(_NEGATIVE, _ZERO, _POSITIVE, strict=True)
    return np.stack([np.round(np.interp(bank[:, 0], (-1, 0, 1), end)) for end in ends], axis=-1).astype(np.uint8)


def _arrange(tiles: Picture, columns: int, labels: Sequence[object] | None) -> Picture:
    _, height, width, _ = tiles.shape
    written = [] if labels is None else [str(label) for label in labels]
    down = height + GAP + (FONT_SIZE + GAP if written else 0)
    across = max([width, *map(text_width, written)]) + GAP
    rows = -(-len(tiles) // columns)
    page = np.empty((rows * down + GAP, columns * across + GAP, 3), np.uint8)
    page[:] = BACKGROUND
    corners = [(GAP + i // columns * down, GAP + i % columns * across) for i in range(len(tiles))]
    for (top, left), tile in zip(corners, tiles, strict=True):
        page[top : top + height, left : left + width] = tile
    return write_text(
        page, [(left, top + height + 1, text) for (top, left), text in zip(corners, written, strict=False)]
    )


def text_width(text: str) -> int:
    """Pixels that `text` takes in a row."""
    return int(np.ceil(_font().getlength(text)))


def write_text(picture: Picture, texts: Sequence[tuple[int, int, str]]) -> Picture:
    """The picture with each (left, top, text) written on it, in black."""
    if not texts:
        return picture
    from PIL import Image, ImageDraw

    image = Image.fromarray(picture)
    draw = ImageDraw.Draw(image)
    for left, top, text in texts:
        draw.text((left, top), text, fill=(0, 0, 0), font=_font())
    return np.array(image)


def _font() -> Any:
    from PIL import ImageFont

    return ImageFont.load_default(size=FONT_SIZE)
