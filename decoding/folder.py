"""A folder of pictures as a sequence of images. Each file is read only when it is needed, if need be by a worker."""

from __future__ import annotations

import operator
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import numpy.typing as npt

from .arguments import Array, Pair, as_choice, as_count, as_pair, crossed, cut, described, plural, printable
from .boundary import public
from .errors import DataFormatError, InvalidValueError, ShapeError
from .files import as_path, refuse_devices, shown

if TYPE_CHECKING:
    from PIL import Image

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
FORMATS = ("PNG", "JPEG", "TIFF")  # as Pillow calls them
MOST_PIXELS = 89 * 10**6  # the most pixels of a file, which take 267 megabytes as RGB
DEEP = ("I;16", "I;16L", "I;16B", "I;16N")  # grey levels of 16 bits
PLAIN = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "La", "RGBa")


class FolderOfImages:
    """The pictures of a folder, each read when it is asked for: see `images_in`.

    ``pictures[i]`` is one image, (1, C, H, W), ``pictures[a:b]`` some of them, and `map` applies a function to each. It can be
    pickled; another process reads the files from the same paths.

    Attributes
    ----------
    folder : pathlib.Path
    names : list of str
        The names of the pictures' files, in order.
    skipped : list of str
        The names of the files that are no pictures.
    sizes : int
        How many images each item holds: 1.
    """

    sizes = 1

    def __init__(
        self,
        folder: Path,
        names: list[str],
        mode: str | None = None,
        size: Pair | None = None,
        shrink: int = 1,
        skipped: Sequence[str] = (),
    ) -> None:
        self.folder, self.names, self.skipped = folder, names, list(skipped)
        self.mode, self.size, self.shrink = mode, size, shrink
        self.functions: tuple[Callable[[Array], Array], ...] = ()

    def __repr__(self) -> str:
        none = f"; no pictures: {cut(list(map(printable, self.skipped)), 3)}" if self.skipped else ""
        return f"<{plural(len(self), 'picture')} of '{shown(self.folder)}'{none}>"

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "folder": self.folder.absolute()}  # workers may run in another folder

    @property
    def paths(self) -> list[Path]:
        """The paths of the pictures, in order."""
        return [self.folder / name for name in self.names]

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[Array]:
        return (self[i] for i in range(len(self)))

    @overload
    def __getitem__(self, index: int) -> Array: ...
    @overload
    def __getitem__(self, index: slice) -> FolderOfImages: ...
    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return self._with(names=self.names[index])
        image = _read(self.folder / self.names[operator.index(index)], self.mode, self.size, self.shrink)
        for function in self.functions:
            image = function(image)
        return image

    def __array__(self, dtype: Any = None, copy: Any = None) -> Array:
        """All pictures as one array, (N, C, H, W), if they have one size."""
        images = list(self)
        for path, image in zip(self.paths, images, strict=True):
            if image.shape != images[0].shape:
                raise ShapeError(
                    f"'{shown(path)}' is {crossed(image.shape[1:])}, and '{shown(self.names[0])}' {crossed(images[0].shape[1:])}: give size=."
                )
        return np.concatenate(images).astype(dtype or images[0].dtype, copy=False)

    def map(self, function: Callable[[Array], Array]) -> FolderOfImages:
        """The same pictures, with a function applied to each image, (1, C, H, W), when it is read.

        For use in other processes the function must pickle: it is one of a module, or a method of what pickles, as ``net.normalize``.
        """
        if not callable(function):
            raise InvalidValueError(f"map: function must be a function of one image, not {described(function)}.")
        return self._with(functions=(*self.functions, function))

    def _with(self, **changed: Any) -> FolderOfImages:
        other = object.__new__(type(self))
        vars(other).update(vars(self), **changed)
        return other


@public
def images_in(
    folder: str | os.PathLike[str],
    *,
    size: int | Pair | None = None,
    mode: str | None = None,
    shrink: int = 1,
    skip: bool = False,
) -> FolderOfImages:
    """The pictures of a folder as a sequence of images, each read when and where it is needed.

    Parameters
    ----------
    folder : path
        Its PNG, JPEG and TIFF files are taken, in the order of their names. Files whose names begin with a dot, and folders in
        it, are not looked at.
    size : int or (rows, columns), optional
        Each picture is scaled (Lanczos) until it covers this size, and its middle is cut out. Unless given, sizes stay as they are.
    mode : {"L", "RGB"}, optional
        Grey or colour. Unless given, grey files become grey images, and all others colour images.
    shrink : int
        Each picture is first made smaller by this factor (Lanczos), as photographs are for a network of small images.
    skip : bool
        Leave out files that are no pictures, instead of refusing the folder: files with other endings, and files whose first
        bytes are not those of a picture, for which each file is opened once. ``.skipped`` holds their names.

    Returns
    -------
    FolderOfImages
        A sequence of arrays (1, C, H, W), uint8, that can be given wherever images are taken. ``[a:b]`` is a part of it, and
        ``.paths`` are its files. ``net.normalize`` of it returns such a sequence, and so does ``.map(function)``.

    Raises
    ------
    DataFormatError
        If the folder holds no such file, or also others; when a file is read, if it is no picture, or has more than 89 million
        pixels.
    FileNotFoundError, NotADirectoryError
        If there is no such folder.
    InvalidValueError, ShapeError
        If an option is none of those above.

    Notes
    -----
    Our choice. Transparency is dropped, only the first of several pages is read, and grey levels of 16 bits lose their lower eight.

    Examples
    --------
    >>> import decoding, tempfile, pathlib
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     decoding.save_picture(pathlib.Path(folder, "a.png"), np.full((2, 3, 3), 99, np.uint8))
    ...     pictures = images_in(folder, mode="L")
    ...     pictures[0].shape, len(pictures)
    ((1, 1, 2, 3), 1)
    """
    as_choice(mode, ("L", "RGB", None), "images_in: mode")
    sides = None if size is None else as_pair(size, "images_in: size")
    shrink, place = as_count(shrink, "images_in: shrink"), as_path(folder, "images_in: folder")
    if not place.is_dir():
        kind = NotADirectoryError if place.exists() else FileNotFoundError
        raise kind(f"images_in: there is no folder '{shown(place)}'.")
    files = sorted(path for path in place.iterdir() if path.name[:1] != "." and not path.is_dir())
    others = [path for path in files if path.suffix.lower() not in SUFFIXES or (skip and not _is_picture(path))]
    if others and not skip:
        names = cut([printable(path.name) for path in others], 3)
        raise DataFormatError(
            f"images_in: '{shown(place)}' holds {plural(len(others), 'file')} that {'is' if len(others) == 1 else 'are'} no PNG, JPEG or TIFF: {names}. "
            "Give skip=True to leave them out."
        )
    left = set(others)
    paths = [path for path in files if path not in left]
    if not paths:
        raise DataFormatError(f"images_in: '{shown(place)}' holds no PNG, JPEG or TIFF file.")
    return FolderOfImages(place, [p.name for p in paths], mode, sides, shrink, [p.name for p in others])


def _is_picture(path: Path) -> bool:
    """Whether it is a picture, judging by its first bytes."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path, formats=FORMATS):
            return True
    except UnidentifiedImageError:
        return False
    except Exception:
        return True  # reading it will raise an error that says more


def _read(path: Path, mode: str | None, size: Pair | None, shrink: int) -> npt.NDArray[np.uint8]:
    """Read one picture as an image (1, C, H, W)."""
    from PIL import Image

    name = shown(path)
    try:
        refuse_devices(path)
        with Image.open(path, formats=FORMATS) as file:
            _check_pixels(file, name)
            picture = _scaled(_converted(file, mode, name), size, shrink)
    except DataFormatError:
        raise
    except FileNotFoundError:
        raise FileNotFoundError(
            f"'{name}' is not there. If workers read it: they need the same folder at the same path."
        ) from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise DataFormatError(
            f"'{name}' has more than {MOST_PIXELS} pixels, which is the most that is read. Make it smaller."
        ) from None
    except (OSError, ValueError, SyntaxError, EOFError, KeyError, TypeError, IndexError, OverflowError) as error:
        said = " ".join(str(error).split()).replace(str(path), name)
        raise DataFormatError(f"'{name}' cannot be read as a picture: {said}") from error
    pixels = np.asarray(picture)
    return pixels[np.newaxis, np.newaxis] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)[np.newaxis]


def _check_pixels(file: Image.Image, name: str) -> None:
    if file.width * file.height > MOST_PIXELS:
        raise DataFormatError(
            f"'{name}' has {file.height}×{file.width} pixels, and at most {MOST_PIXELS} are taken. Make it smaller."
        )


def _converted(file: Image.Image, mode: str | None, name: str) -> Image.Image:
    from PIL import Image

    if file.mode in DEEP or (file.mode, file.format) == (
        "I",
        "PNG",
    ):  # older versions of Pillow use "I" for a PNG of 16 bits
        picture = Image.fromarray((np.asarray(file) >> 8).astype(np.uint8))
        return picture if mode != "RGB" else picture.convert("RGB")
    if file.mode not in PLAIN:
        raise DataFormatError(
            f"'{name}' has pixels of the kind '{file.mode}', whose range is not known: save it with 8 bits."
        )
    grey = mode == "L" or (mode is None and file.mode in ("1", "L", "LA", "La"))
    return file.convert("L" if grey else "RGB")


def _scaled(picture: Image.Image, size: Pair | None, shrink: int) -> Image.Image:
    from PIL import Image

    if shrink > 1:
        smaller = max(1, picture.width // shrink), max(1, picture.height // shrink)
        picture = picture.resize(smaller, Image.Resampling.LANCZOS)
    if size is None:
        return picture
    rows, columns = size
    scale = max(rows / picture.height, columns / picture.width)
    tall, wide = max(rows, round(picture.height * scale)), max(columns, round(picture.width * scale))
    picture = picture.resize((wide, tall), Image.Resampling.LANCZOS)
    left, top = (wide - columns) // 2, (tall - rows) // 2
    return picture.crop((left, top, left + columns, top + rows))
