"""A network from a file of any known format, which is recognized by its bytes."""

from __future__ import annotations

import inspect
import io
import re
import zipfile
from collections.abc import Callable
from typing import IO, Any

from .arguments import printable
from .boundary import public
from .errors import InvalidValueError, WeightsFormatError
from .files import File, reading, shown
from .matconvnet import load_matconvnet
from .network import Network
from .onnxfile import load_onnx

HEAD = 2**20  # how many bytes are looked at
HDF5 = b"\x89HDF\r\n\x1a\n"
PICTURES = {
    b"\x89PNG": "a picture, PNG",
    b"\xff\xd8\xff": "a picture, JPEG",
    b"GIF8": "a picture, GIF",
    b"BM": "a picture, BMP",
}
READERS: dict[str, Callable[..., Network]] = {"MatConvNet": load_matconvnet, "ONNX": load_onnx}

TORCH = (
    "Files that hold pickles are not read. Make the module, module.load_state_dict(torch.load(path, weights_only=True)), and give it to "
    "decoding.from_torch(module, (C, H, W))"
)
KERAS = 'Load it with Keras, and export it with model.export("net.onnx", format="onnx"); that file can be read'
# Files that are not read here: what each is, and what to do.
FOREIGN = {
    "keras": f"it is a network of Keras. {KERAS}.",
    "keras h5": f"it is an HDF5 file of Keras. {KERAS}.",
    "torch": f"it is a file of PyTorch, .pt or .pth. {TORCH}.",
    "torchscript": f"it is a TorchScript program. {TORCH}; or export it with torch.onnx.export.",
    "pt2": "it is a program of torch.export. Give the module itself to decoding.from_torch(module, (C, H, W)).",
    "pickle": f"it is a pickle, as old files of PyTorch are. {TORCH}.",
    "safetensors": "it is a safetensors file, which holds weights and no graph. Make the module, "
    "module.load_state_dict(safetensors.torch.load_file(path)), and give it to decoding.from_torch(module, (C, H, W)).",
    "npz": "it is a NumPy .npz file of arrays, which does not say what the layers are. Make a decoding.Network from them.",
    "zip": "it is a zip archive. Unpack it, and give the network in it.",
    "json": "it is JSON, which holds no weights. Give the .onnx or .mat file, or give the module to decoding.from_torch.",
    "tflite": 'it is a TensorFlow Lite file. Export the model to ONNX, with tf2onnx --tflite or Keras\' format="onnx".',
    "gzip": "it is a gzip archive. Unpack it, and give the network in it.",
    "empty": "it is empty.",
    "text": "it is text. Networks are read from .mat (MatConvNet) and .onnx files, or from modules by decoding.from_torch.",
}


@public
def load(path: File, **options: Any) -> Network:
    """Read a network from a file of any known format.

    Parameters
    ----------
    path : path or open file
        A MatConvNet ``.mat`` or an ``.onnx`` file. It is recognized by its bytes, not by its name.
    **options
        The options of `load_matconvnet` or `load_onnx`.

    Returns
    -------
    Network

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    WeightsFormatError
        If it is damaged, or no network that can be read; the message says what it is, and what to do.
    InvalidValueError
        If there is no such option for the format.

    See Also
    --------
    load_matconvnet, load_onnx, from_torch

    Notes
    -----
    Nothing is ever unpickled.

    Examples
    --------
    >>> import decoding
    >>> len(decoding.load(decoding.datasets.DATA / "lenet.mat"))
    8
    """
    kind = format_of(path, "load: path")
    if kind in FOREIGN or kind.startswith("a picture"):
        raise WeightsFormatError(f"{shown(path)}: this is no network: {FOREIGN.get(kind, f'it is {kind}.')}")
    reader = READERS[kind]
    known = [name for name in inspect.signature(reader).parameters if name != "path"]
    unknown = [name for name in options if name not in known]
    if unknown:
        raise InvalidValueError(
            f"load: {shown(path)} is a file of {kind}, and there is no option {', '.join(map(printable, unknown))} for it; "
            f"there are {', '.join(known)}."
        )
    return reader(path, **options)


def format_of(path: File, what: str = "path") -> str:
    """The format: ``"MatConvNet"``, a key of `FOREIGN`, a picture, or ``"ONNX"`` if it is nothing else.

    The position in an open file stays as it was.
    """
    with reading(path, what) as file:
        begin = file.tell()
        try:
            size = file.seek(0, io.SEEK_END)
            file.seek(0)
            return _format(file, size)
        finally:
            file.seek(begin)


def _format(file: IO[bytes], size: int) -> str:
    head = file.read(HEAD)
    if not head:
        return "empty"
    if head[:6] == b"MATLAB" or head[124:128] in (b"\x00\x01IM", b"\x01\x00MI", b"\x00\x02IM", b"\x02\x00MI"):
        return "MatConvNet"
    if head.startswith(HDF5):
        return "keras h5" if re.search(rb"keras_version|model_config|layer_names", head) else "MatConvNet"
    if HDF5 in (head[n : n + 8] for n in (512, 1024, 2048)):
        return "MatConvNet"
    if head.startswith(b"PK\x03\x04") or head.startswith(b"PK\x05\x06"):
        return _archive(file)
    if head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return "pickle"
    length = int.from_bytes(head[:8], "little")
    if head[8:9] == b"{" and 2 <= length <= size - 8:
        return "safetensors"
    if head[4:8] == b"TFL3":
        return "tflite"
    if head.startswith(b"\x1f\x8b"):
        return "gzip"
    for begin, what in PICTURES.items():
        if head.startswith(begin):
            return what
    return _text(head) or "ONNX"


def _archive(file: IO[bytes]) -> str:
    """What a zip archive holds, judging by the names in it; nothing is unpacked."""
    try:
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()[:10_000]
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, MemoryError, UnicodeDecodeError):
        return "zip"
    if "config.json" in names and any(name.endswith(".weights.h5") for name in names):
        return "keras"
    if any(name.endswith("archive_format") or name.endswith("serialized_exported_program.json") for name in names):
        return "pt2"
    if any(name.endswith("constants.pkl") for name in names):
        return "torchscript"
    if any(name.endswith("data.pkl") for name in names):
        return "torch"
    return "npz" if names and all(name.endswith(".npy") for name in names) else "zip"


def _text(head: bytes) -> str | None:
    """``"json"`` or ``"text"`` if the bytes are text; else None."""
    some = head[:4096]
    try:
        text = some.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(some) - 4:
            return None
        text = some[: error.start].decode("utf-8")
    if any(not c.isprintable() and c not in "\n\r\t\f" for c in text.removeprefix("\ufeff")):
        return None
    return "json" if text.lstrip()[:1] in ("{", "[") else "text"
