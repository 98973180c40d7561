"""The bundled LeNet and digits, and MNIST from its own files."""

from __future__ import annotations

import gzip
import math
import os
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from .boundary import public
from .errors import DataFormatError, InvalidValueError
from .files import refuse_devices
from .matconvnet import load_matconvnet
from .network import Network

DATA = Path(__file__).parent / "data"

# What MNIST's own images, the densest files of the kind, never come near; more is a damaged or hostile header.
MOST_COMPRESSED = 100
MOST_AXES = 4

_PARTS = {"train": ("train",), "test": ("t10k",), "all": ("train", "t10k")}


@public
def lenet() -> Network:
    """The LeNet that comes with the package, trained on MNIST.

    Returns
    -------
    Network
        conv 5·5·1·20, max pool 2·2/2, conv 5·5·20·50, max pool 2·2/2, conv 4·4·50·500, relu, conv 1·1·500·10, softmax;
        float32. Its mean image, input size and the names of its classes come with it.

    See Also
    --------
    mnist : The digits to show it, after ``net.normalize``.

    Notes
    -----
    Paper: section 4, the default MNIST network of MatConvNet. Trained by ``examples/train_lenet.py``.

    Examples
    --------
    >>> lenet().receptive_field(3).size
    (14, 14)
    """
    return load_matconvnet(DATA / "lenet.mat")


@public
def mnist(
    folder: str | os.PathLike[str] | None = None, split: str = "test"
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """The digits of MNIST and their labels.

    Parameters
    ----------
    folder : path, optional
        Where MNIST's IDX files are, plain or gzipped, under their own names (``train-images-idx3-ubyte.gz``, …). The
        10,000 test digits come with the package.
    split : {"test", "train", "all"}
        The 10,000 test digits, the 60,000 training digits, or the latter followed by the former.

    Returns
    -------
    images : ndarray of shape (N, 1, 28, 28), uint8
        Grey levels, 0 to 255.
    labels : ndarray of shape (N,), int64
        The digits, 0 to 9.

    Raises
    ------
    InvalidValueError
        If `split` is none of the three, or not in the package and no folder is given.
    FileNotFoundError
        If the folder has no such file.
    DataFormatError
        If a file is damaged, or is not what its name says.

    See Also
    --------
    decoding.Network.normalize : Makes of the images what the network was trained on.

    Examples
    --------
    >>> images, labels = mnist()
    >>> images.shape, labels[:5].tolist()
    ((10000, 1, 28, 28), [7, 2, 1, 0, 4])
    """
    if split not in _PARTS:
        raise InvalidValueError(f"mnist: split must be one of {', '.join(map(repr, _PARTS))}, not {split!r}.")
    if folder is None and split != "test":
        raise InvalidValueError(
            f"mnist: only the test digits come with the package; for split={split!r} give the folder of MNIST's files."
        )
    parts = [_read_part(DATA if folder is None else Path(folder), part) for part in _PARTS[split]]
    images, labels = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return images, labels


def _read_part(folder: Path, part: str) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    images_path, labels_path = _find(folder, f"{part}-images-idx3-ubyte"), _find(folder, f"{part}-labels-idx1-ubyte")
    images, labels = read_idx(images_path), read_idx(labels_path)
    if images.ndim != 3 or images.shape[1:] != (28, 28):
        raise DataFormatError(f"{images_path}: holds an array {images.shape}, not digits (N, 28, 28).")
    if labels.ndim != 1 or labels.max(initial=0) > 9:
        raise DataFormatError(f"{labels_path}: holds an array {labels.shape}, not labels (N,) from 0 to 9.")
    if len(images) != len(labels):
        raise DataFormatError(
            f"{labels_path}: {len(labels)} labels for the {len(images)} digits of {images_path.name}."
        )
    return images[:, np.newaxis], labels.astype(np.int64)


def _find(folder: Path, name: str) -> Path:
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    raise FileNotFoundError(f"mnist: {folder} has neither {name} nor {name}.gz.")


@public
def read_idx(path: str | os.PathLike[str]) -> npt.NDArray[np.uint8]:
    """Read an IDX file of bytes, plain or gzipped.

    A header of ``0, 0, 8, d``, then d sizes (big-endian, four bytes each), then the bytes, the last axis fastest.

    Parameters
    ----------
    path : path

    Returns
    -------
    ndarray of d axes, uint8

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    DataFormatError
        If it is no IDX file of bytes, or is longer or shorter than its header says.

    Notes
    -----
    Memory stays below 100 times the file, whatever its header claims.
    """
    path = Path(path)
    refuse_devices(path)
    with open(path, "rb") as file:
        gzipped = file.read(2) == b"\x1f\x8b"
    try:
        with gzip.open(path) if gzipped else open(path, "rb") as file:
            magic = file.read(4)
            if len(magic) < 4 or magic[:3] != b"\0\0\x08" or not 1 <= magic[3] <= MOST_AXES:
                raise DataFormatError(
                    f"{path}: not an IDX file of bytes: it begins with {magic.hex(' ') or 'nothing'}."
                )
            header = file.read(4 * magic[3])
            shape = tuple(int(n) for n in np.frombuffer(header[: len(header) // 4 * 4], ">u4"))
            size, most = math.prod(shape), MOST_COMPRESSED * path.stat().st_size
            if len(shape) < magic[3] or max(*shape, size) > most:
                raise DataFormatError(f"{path}: truncated or damaged: its header promises {shape}, {size} bytes.")
            content = file.read(size + 1)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataFormatError(f"{path}: truncated or damaged: {error}.") from None
    if len(content) != size:
        found = "more" if len(content) > size else len(content)
        raise DataFormatError(f"{path}: its header promises {shape}, {size} bytes, and there are {found}.")
    return np.frombuffer(content, np.uint8).reshape(shape)
