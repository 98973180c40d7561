"""The bundled networks and digits, and MNIST from its own files."""

from __future__ import annotations

import gzip
import io
import math
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

from .arguments import cut, described, printable
from .boundary import public
from .errors import DataFormatError, InvalidValueError
from .files import File, as_path, reading, shown
from .folder import FolderOfImages as FolderOfImages
from .folder import images_in as images_in
from .matconvnet import load_matconvnet
from .network import Network

DATA = Path(__file__).parent / "data"

MOST_DEFLATED = 1032  # one byte of gzip holds at most so many; a header that promises more is damaged
MOST_AXES = 4
CHUNK = 2**20

_EMNIST = {"train": "train", "t10k": "test"}
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
    mnist : Digits to run it on, after ``net.normalize``.

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
def resnet() -> Network:
    """The residual network that comes with the package, trained on MNIST: for deep decoding.

    Returns
    -------
    Network
        A convolution and six residual blocks in three stages of 12, 24 and 48 channels, the second and the third beginning
        with a stride of 2 and a shortcut that changes channels. It has 13 rectifiers, 6 sums, and batch normalizations as layers
        of their own; float32. It is wrong on .32 % of the test digits. The mean and deviation of the training pixels and the
        names of the classes come with it.

    See Also
    --------
    lenet : The paper's network, a chain.
    mnist : Digits to run it on, after ``net.normalize``.

    Notes
    -----
    Our choice; the paper has no such network. Trained by ``examples/train_resnet.py``.

    Examples
    --------
    >>> net = resnet()
    >>> net.inputs[net.index("block2.0.sum") - 1], net.receptive_field("block3.1.sum").size
    ((22, 24), (53, 53))
    """
    return load_matconvnet(DATA / "resnet.mat")


@public
def mnist(
    folder: str | os.PathLike[str] | None = None, split: str = "test"
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """The digits of MNIST and their labels.

    Parameters
    ----------
    folder : path, optional
        Where MNIST's IDX files are, plain or gzipped. They may have their own names (``train-images-idx3-ubyte.gz``, …) or those
        that unpackers and mirrors give (``train-images.idx3-ubyte``, or each in a folder of its name). Unless given, the 10,000
        test digits that come with the package are read.
    split : {"test", "train", "all"}
        The 10,000 test digits, the 60,000 training digits, or all 70,000, the training digits first.

    Returns
    -------
    images : ndarray of shape (N, 1, 28, 28), uint8
        Grey levels, 0 to 255.
    labels : ndarray of shape (N,), int64
        The digits, 0 to 9.

    Raises
    ------
    InvalidValueError
        If `split` is none of the three, or needs a folder and none is given.
    FileNotFoundError
        If the folder has no such file.
    DataFormatError
        If a file is damaged, or is not what its name says.

    See Also
    --------
    decoding.Network.normalize : Turns grey levels into images as the network was trained on.

    Notes
    -----
    Files of other data sets in MNIST's format are read as they are. Those of EMNIST (``emnist-digits-train-…``,
    ``emnist-mnist-test-…``) hold each image transposed, rows for columns, and nothing in the file says so. Set them upright with
    ``images.swapaxes(2, 3)``; a network that was trained on MNIST takes transposed digits for others.

    Examples
    --------
    >>> images, labels = mnist()
    >>> images.shape, labels[:5].tolist()
    ((10000, 1, 28, 28), [7, 2, 1, 0, 4])
    """
    if not isinstance(split, str) or split not in _PARTS:
        raise InvalidValueError(f"mnist: split must be one of {', '.join(map(repr, _PARTS))}, not {described(split)}.")
    if folder is None and split != "test":
        raise InvalidValueError(
            f"mnist: only the test digits come with the package; for split={split!r} give the folder of MNIST's files."
        )
    parts = [_read_part(DATA if folder is None else as_path(folder, "mnist: folder"), part) for part in _PARTS[split]]
    images, labels = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return images, labels


def _read_part(folder: Path, part: str) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    images_path, labels_path = _find(folder, part, "images", 3), _find(folder, part, "labels", 1)
    images, labels = read_idx(images_path), read_idx(labels_path)
    if images.ndim != 3 or images.shape[1:] != (28, 28):
        raise DataFormatError(f"{shown(images_path)}: holds an array {images.shape}, not digits (N, 28, 28).")
    if labels.ndim != 1 or labels.max(initial=0) > 9:
        raise DataFormatError(f"{shown(labels_path)}: holds an array {labels.shape}, not labels (N,) from 0 to 9.")
    if len(images) != len(labels):
        raise DataFormatError(
            f"{shown(labels_path)}: {len(labels)} labels for the {len(images)} digits of {shown(images_path.name)}."
        )
    return images[:, np.newaxis], labels.astype(np.int64)


def _find(folder: Path, part: str, what: str, axes: int) -> Path:
    """The path of one of MNIST's files, under its own name, those that unpackers give, or EMNIST's; or in a folder of such a name."""
    own = f"{part}-{what}-idx{axes}-ubyte"
    starts = [part, *(f"emnist-{name}-{_EMNIST[part]}" for name in ("digits", "mnist"))]
    names = [f"{start}-{what}{join}idx{axes}-ubyte{end}" for start in starts for join in "-." for end in ("", ".gz")]
    for name in names:
        if (folder / name).is_file():
            return folder / name
        inside = [folder / name / inner for inner in names if (folder / name / inner).is_file()]
        if inside:
            return inside[0]
    if not folder.is_dir():
        raise FileNotFoundError(f"mnist: there is no folder '{shown(folder)}'.")
    there = sorted(path.name + "/" * path.is_dir() for path in folder.iterdir())
    listed = f"It has {cut([printable(name) for name in there])}." if there else "It is empty."
    raise FileNotFoundError(f"mnist: {shown(folder)} has neither {own} nor {own}.gz. {listed}")


@public
def read_idx(path: File) -> npt.NDArray[np.uint8]:
    """Read an IDX file of bytes, plain or gzipped.

    The file has a header of ``0, 0, 8, d``, then d sizes (big-endian, four bytes each), then the bytes, the last axis fastest.

    Parameters
    ----------
    path : path or open file

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
    It takes the memory that the header promises; a header that promises more than the file can hold is refused.
    """
    name = shown(path)
    try:
        with reading(path, "read_idx: path") as raw, _unzipped(raw) as (file, most):
            magic = file.read(4)
            if len(magic) < 4 or magic[:3] != b"\0\0\x08" or not 1 <= magic[3] <= MOST_AXES:
                raise DataFormatError(
                    f"{name}: not an IDX file of bytes: it begins with {magic.hex(' ') or 'nothing'}."
                )
            header = file.read(4 * magic[3])
            shape = tuple(int(n) for n in np.frombuffer(header[: len(header) // 4 * 4], ">u4"))
            size = math.prod(shape)
            if len(shape) < magic[3] or max(*shape, size) > most:
                raise DataFormatError(f"{name}: truncated or damaged: its header promises {shape}, {size} bytes.")
            content = bytearray()
            while len(content) <= size and (chunk := file.read(min(CHUNK, size + 1 - len(content)))):
                content += chunk
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataFormatError(f"{name}: truncated or damaged: {error}.") from None
    if len(content) != size:
        found = "more" if len(content) > size else len(content)
        raise DataFormatError(f"{name}: its header promises {shape}, {size} bytes, and there are {found}.")
    return np.frombuffer(content, np.uint8).reshape(shape)


@contextmanager
def _unzipped(raw: IO[bytes]) -> Iterator[tuple[IO[bytes], int]]:
    """The bytes of a file, plain or gzipped, and how many there can be at most."""
    begin = raw.tell()
    gzipped = raw.read(2) == b"\x1f\x8b"
    there = raw.seek(0, io.SEEK_END) - begin
    raw.seek(begin)
    if not gzipped:
        yield raw, there
        return
    with gzip.GzipFile(fileobj=raw) as file:
        yield file, MOST_DEFLATED * there  # type: ignore[misc]
