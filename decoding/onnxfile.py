"""ONNX files, read as networks; the only room that knows ONNX.

A file is a stranger's. Its messages are counted on the wire before protobuf parses them, tensors are held against the
bytes that are there before they are read, and constants are folded by one-line functions whose results are bounded before
they are made. What its operators mean here is in `builder`.
"""

from __future__ import annotations

import itertools
import math
import os
import re
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .arguments import Array, printable
from .boundary import public
from .builder import LARGEST_IMAGE, Builder, Cannot, Opaque, Tensor, View, for_channels
from .errors import DecodingError, InvalidValueError, ShapeError, WeightsFormatError
from .files import refuse_devices
from .layers import (
    ELU,
    GELU,
    LRN,
    SELU,
    Clip,
    Dropout,
    Exp,
    HardSigmoid,
    HardSwish,
    Layer,
    LogSoftmax,
    Mish,
    ReLU,
    Shape,
    Sigmoid,
    SiLU,
    Softplus,
    Softsign,
    Tanh,
)
from .network import Network

MOST_NODES = 2**16  # nodes and stored tensors
MOST_FIELDS = 2**21  # of all messages that a file holds
MOST_FILE = 2**31 - 1  # bytes, protobuf's own
MOST_FOLDED = 2**16  # numbers in a constant that is computed
ALWAYS_ALLOWED = 2**26  # bytes that constants may come to whatever the size of the file
GROWTH = 16  # times what is on disk, that constants may come to
MOST_WEIGHTS = 2**30  # numbers in one array of weights, which a few bytes can ask for
LARGEST = 2**16  # stride, pad, dilation or window
MOST_AXES = 16
DEEPEST = 100

FLOATS = {1: "<f4", 10: "<f2", 11: "<f8"}
WHOLE = {2: "u1", 3: "i1", 4: "<u2", 5: "<i2", 6: "<i4", 7: "<i8", 9: "?", 12: "<u4", 13: "<u8"}
TYPES = {**FLOATS, **WHOLE}
UNKNOWN = "The file does not say how its images were normalized: give mean= and std=."
BFLOAT16 = 16
EXTERNAL = 1  # data_location

# The messages of the format, as far as they hold others: field number to the message in it; what is not here has no parts.
MESSAGES: dict[str, dict[int, str]] = {
    "model": {7: "graph", 8: "pair", 14: "pair", 20: "training", 25: "function"},
    "graph": {
        1: "node", 5: "tensor", 11: "value", 12: "value", 13: "value", 14: "annotation", 15: "sparse", 16: "pair",
    },
    "node": {5: "attribute", 9: "pair"},
    "attribute": {
        5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 14: "type", 15: "type", 22: "sparse", 23: "sparse",
    },
    "tensor": {3: "pair", 13: "pair", 16: "pair"},
    "sparse": {1: "tensor", 2: "tensor"},
    "value": {2: "type", 4: "pair"},
    "type": {1: "tensor type", 4: "element", 5: "element", 8: "tensor type", 9: "element"},
    "tensor type": {2: "shape"},
    "element": {1: "type", 2: "type"},
    "shape": {1: "pair"},
    "annotation": {2: "pair"},
    "training": {1: "graph", 2: "graph", 3: "pair", 4: "pair"},
    "function": {7: "node", 9: "pair", 11: "attribute", 12: "value", 14: "pair"},
    "pair": {},
}  # fmt: skip


class _WrongArgument(InvalidValueError):
    """What is wrong is not the file but what was asked of it."""


@public
def load_onnx(
    path: str | os.PathLike[str],
    *,
    input_shape: Sequence[int] | None = None,
    mean: npt.ArrayLike | None = None,
    std: npt.ArrayLike | None = None,
    classes: Sequence[str] | None = None,
    dtype: npt.DTypeLike | None = None,
    image: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Network:
    """Read a network from an ONNX file.

    Parameters
    ----------
    path : path
        An ``.onnx`` file. Weights in a second file beside it are read from there.
    input_shape : (C, H, W), optional
        The size of the images, also where the file has the channels last. Needed where the file leaves it open.
    mean, std : float, or array_like of shape (C,), (C, 1, 1) or (C, H, W), optional
        What the images were normalized by, in the units that `normalize` is given: a file does not say.
    classes : sequence of str, optional
        What the channels of the last layer stand for.
    dtype : float32 or float64, optional
        The precision to keep the weights in; that of the file unless given, float16 as float32.
    image : str, optional
        Which of several inputs is the image.
    progress : callable, optional
        Called with the nodes read so far, and how many there are.

    Returns
    -------
    Network
        Its layers have the names that PyTorch's feature extractors use where the file tells them (``layer4.1.conv2``).

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    WeightsFormatError
        If the file is damaged, or no ONNX file; it says what it seems to be, and the way in. If it needs
        `input_shape`.
    ShapeError
        If `mean` or `std` does not fit the images.
    InvalidValueError
        If onnx is not installed, or `dtype` is no floating-point type.

    See Also
    --------
    from_torch : For a module in memory, which keeps its batch norms.
    load : For a file of any format.

    Notes
    -----
    Our choice: what has no layer here stands in the network under its own name, unsupported, and blocks only what reads
    it. Nothing in a file is executed, and no file is opened but this one and regular ones beside it that it names.
    """
    try:
        precision = None if dtype is None else np.dtype(dtype)
    except TypeError:
        precision = np.dtype(object)
    if precision is not None and precision.kind != "f":
        raise InvalidValueError(f"load_onnx: dtype must be a floating-point type, not {dtype!r}.")
    onnx = _import()
    refuse_devices(path)
    _refuse_others(path)
    if os.path.getsize(path) > MOST_FILE:
        raise WeightsFormatError(f"{path}: it has more than {MOST_FILE} bytes, the most that the format allows.")
    content = Path(path).read_bytes()
    try:
        model = _parsed(onnx, content)
        size = len(content)
        del content
        store = _Store(onnx, path, size, precision)
        net = _Reader(model, store, input_shape, image, progress).network(mean is None and std is None)
    except _WrongArgument as error:
        raise InvalidValueError(f"{path}: {error}") from error
    except DecodingError as error:
        raise WeightsFormatError(f"{path}: {error}") from error
    except (RecursionError, MemoryError) as error:
        raise WeightsFormatError(f"{path}: it asks for more than there is: {type(error).__name__}.") from error
    each = net.channels(0)
    return net.replace(mean=for_channels(mean, each), std=for_channels(std, each), classes=classes)


def _import() -> Any:
    try:
        import onnx
        import onnx.external_data_helper
        import onnx.numpy_helper
    except ImportError:
        raise InvalidValueError('load_onnx: this needs onnx: pip install "filter-decoding[onnx]".') from None
    version = tuple(int(n) for n in re.findall(r"\d+", onnx.__version__)[:2])
    if version < (1, 21):
        raise InvalidValueError(
            f"load_onnx: onnx {onnx.__version__} follows links out of a file's folder; 1.21 is the first that does not. "
            'pip install "filter-decoding[onnx]".'
        )
    return onnx


# Bytes


def _refuse_others(path: str | os.PathLike[str]) -> None:
    """Refuse what is plainly a file of another kind, with the way in."""
    from .loading import FOREIGN, format_of

    kind = format_of(Path(path))
    if kind == "ONNX":
        return
    what = (
        "it is a MatConvNet network. Use decoding.load_matconvnet."
        if kind == "MatConvNet"
        else FOREIGN.get(kind, f"it is {kind}.")
    )
    raise WeightsFormatError(f"{path}: this is no ONNX file: {what}")


def _parsed(onnx: Any, content: bytes) -> Any:
    """The model, once its messages have been counted."""
    counted = _count(content)
    if counted is None or not counted["graph"] or not counted["node"]:
        raise WeightsFormatError("this is no ONNX file: it holds no graph with nodes.")
    if counted["node"] + counted["tensor"] > MOST_NODES:
        raise WeightsFormatError(
            f"it has {counted['node']} nodes and {counted['tensor']} tensors; {MOST_NODES} are the most."
        )
    from google.protobuf.message import DecodeError

    try:
        model = onnx.ModelProto.FromString(content)
    except (DecodeError, UnicodeDecodeError, ValueError) as error:
        raise WeightsFormatError(f"this is no ONNX file, or damaged: {printable(str(error), 100)}.") from None
    if not model.HasField("graph") or not model.graph.node:
        raise WeightsFormatError("this is no ONNX file: it holds no graph with nodes.")
    if not all(isinstance(text, str) for text in _texts(model)):  # protobuf gives bytes where it is not
        raise WeightsFormatError("it is damaged: a name in it is not UTF-8.")
    return model


def _texts(model: Any) -> Iterator[Any]:
    """All names of a model that are looked at."""
    graph = model.graph
    for node in graph.node:
        yield from (node.name, node.op_type, node.domain, *node.input, *node.output)
        yield from (each.name for each in node.attribute)
        yield from (text for each in node.metadata_props for text in (each.key, each.value))
    tensors = [*graph.initializer, *(each.t for node in graph.node for each in node.attribute)]
    yield from (text for each in tensors for entry in each.external_data for text in (entry.key, entry.value))
    yield from (each.name for each in (*graph.initializer, *graph.input, *graph.output))
    yield from (each.values.name for each in graph.sparse_initializer)
    yield from (text for each in model.functions for text in (each.domain, each.name))
    yield from (each.domain for each in model.opset_import)


def _count(content: bytes) -> dict[str, int] | None:
    """How many messages of each kind the bytes hold; None where they are no messages at all."""
    counts = dict.fromkeys(MESSAGES, 0)
    fields, stack = 0, [(0, len(content), "model", 0)]
    while stack:
        at, end, kind, depth = stack.pop()
        parts = MESSAGES[kind]
        while at < end:
            key, at = _varint(content, at, end)
            if key is None:
                return None
            number, wire = key >> 3, key & 7
            fields += 1
            if fields > MOST_FIELDS:
                raise WeightsFormatError(f"it has more than {MOST_FIELDS} fields in its messages.")
            if wire == 0:
                value, at = _varint(content, at, end)
                if value is None:
                    return None
            elif wire == 1:
                at += 8
            elif wire == 5:
                at += 4
            elif wire == 2:
                length, at = _varint(content, at, end)
                if length is None or at + length > end:
                    return None
                inner = parts.get(number)
                if inner is not None:
                    counts[inner] += 1
                    if depth < DEEPEST:
                        stack.append((at, at + length, inner, depth + 1))
                at += length
            else:
                return None
            if at > end:
                return None
    return counts


def _varint(content: bytes, at: int, end: int) -> tuple[int | None, int]:
    value = shift = 0
    while at < end and shift < 64:
        byte = content[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
    return None, at


class _Store:
    """Reads tensors, and adds up what they come to."""

    def __init__(self, onnx: Any, path: str | os.PathLike[str], size: int, dtype: np.dtype[Any] | None) -> None:
        self.onnx, self.folder, self.dtype = onnx, Path(path).parent, dtype
        self.on_disk, self.read = size, 0
        self.files: dict[str, int] = {}

    def spend(self, count: int, what: str) -> None:
        """Count bytes that are going to be made."""
        self.read += count
        allowed = max(ALWAYS_ALLOWED, GROWTH * self.on_disk)
        if self.read > allowed:
            raise WeightsFormatError(
                f"{what} makes its constants come to more than {allowed} bytes, {GROWTH} times what is on disk."
            )

    def tensor(self, tensor: Any, what: str) -> Array:
        """The numbers of a TensorProto."""
        dims = list(tensor.dims)
        if len(dims) > MOST_AXES or any(n < 0 or n > 2**40 for n in dims):
            raise WeightsFormatError(f"{what} has the impossible shape {tuple(dims[:MOST_AXES])}.")
        kind, count = tensor.data_type, math.prod(dims)
        if kind not in TYPES and kind != BFLOAT16:
            raise Cannot(f"{what} holds numbers of type {kind}, which are not read")
        itemsize = 2 if kind == BFLOAT16 else np.dtype(TYPES[kind]).itemsize
        if tensor.HasField("segment"):
            raise Cannot(f"{what} is a segment of a tensor")
        if tensor.data_location == EXTERNAL:
            self._external(tensor, count * itemsize, what)
            raw: bytes | None = tensor.raw_data
        else:
            raw = tensor.raw_data if tensor.HasField("raw_data") else None
        self.spend(count * max(itemsize, 4 if kind in FLOATS else itemsize), what)
        if raw is not None:
            if len(raw) != count * itemsize:
                raise WeightsFormatError(
                    f"{what} has the shape {tuple(dims)}, {count * itemsize} bytes, and holds {len(raw)} bytes."
                )
        elif (
            sum(
                len(field)
                for field in (
                    tensor.float_data,
                    tensor.int32_data,
                    tensor.int64_data,
                    tensor.double_data,
                    tensor.uint64_data,
                )
            )
            != count
        ):
            raise WeightsFormatError(f"{what} has the shape {tuple(dims)}, {count} numbers, and holds another number.")
        try:
            array = np.asarray(self.onnx.numpy_helper.to_array(tensor))
        except (ValueError, TypeError, KeyError, OverflowError) as error:
            raise WeightsFormatError(f"{what} cannot be read: {printable(str(error), 200)}.") from None
        if kind == BFLOAT16:
            array = array.astype(np.float32)
        if array.shape != tuple(dims) or array.dtype.kind not in "buif":
            raise WeightsFormatError(f"{what} has the shape {tuple(dims)} and cannot be read as that.")
        return self.real(array) if array.dtype.kind == "f" else array

    def real(self, array: Array) -> Array:
        """In the precision that was asked for; half precision as single."""
        dtype = self.dtype or np.promote_types(array.dtype, np.float32)
        return _cast(array, dtype)

    def _external(self, tensor: Any, want: int, what: str) -> None:
        """Reads the bytes of a tensor from the second file, if that is a regular file beside the first."""
        entries = {each.key: each.value for each in tensor.external_data}
        location = entries.get("location", "")
        shown = printable(location)
        try:
            offset, length = int(entries.get("offset", "0")), int(entries.get("length", "-1"))
        except ValueError:
            offset = length = -1
        if length < 0 and "length" not in entries and offset == 0:
            length = want
            known = self._regular(location, shown, what)
            if known != want:
                raise WeightsFormatError(
                    f"{what} takes {want} bytes, and does not say how many of '{shown}' are its own."
                )
        if offset < 0 or length != want:
            raise WeightsFormatError(f"{what} takes {want} bytes, and asks for {length} from {offset} of '{shown}'.")
        size = self._regular(location, shown, what)
        if offset + length > size:
            raise WeightsFormatError(
                f"{what} asks for bytes {offset} to {offset + length} of '{shown}', which has {size}."
            )
        self.spend(want, what)
        for each in list(tensor.external_data):
            if each.key not in ("location", "offset", "length", "checksum"):
                tensor.external_data.remove(each)
        try:
            self.onnx.external_data_helper.load_external_data_for_tensor(tensor, os.fspath(self.folder))
        except Exception as error:  # what it raises differs from version to version
            raise WeightsFormatError(f"{what}: '{shown}' cannot be read: {printable(str(error), 200)}.") from None
        if len(tensor.raw_data) != want:
            raise WeightsFormatError(f"{what} takes {want} bytes, and '{shown}' gave {len(tensor.raw_data)}.")
        # They are here now: onnx 1.21 would look for them again, from where it runs.
        tensor.ClearField("data_location")
        tensor.ClearField("external_data")

    def _regular(self, location: str, shown: str, what: str) -> int:
        """The size of a second file; an error for whatever is not a regular file beside the first."""
        if location in self.files:
            return self.files[location]
        if (
            not location
            or "\0" in location
            or "\\" in location
            or os.path.isabs(location)
            or ".." in Path(location).parts
        ):
            raise WeightsFormatError(
                f"{what} is in the file '{shown}', which is not read: only files beside this one are."
            )
        try:
            path = self.folder / location
            for part in (path, *list(path.parents)[: len(Path(location).parts) - 1]):
                if part.is_symlink():
                    raise WeightsFormatError(
                        f"{what} is in the file '{shown}', which is a link, and links are not followed. Copy both files "
                        "to one folder."
                    )
            found = os.lstat(path)
        except FileNotFoundError:
            raise WeightsFormatError(
                f"{what} is in a second file, '{shown}', which is not beside this one. Keep the two together, under the "
                "names that they were exported with."
            ) from None
        except (OSError, ValueError) as error:
            raise WeightsFormatError(
                f"{what} is in the file '{shown}', which cannot be read: {printable(str(error), 100)}."
            ) from None
        if not stat.S_ISREG(found.st_mode):
            raise WeightsFormatError(f"{what} is in '{shown}', which is not a regular file.")
        if found.st_nlink > 1:
            raise WeightsFormatError(
                f"{what} is in the file '{shown}', which has another name elsewhere (a hard link), and is not read. Copy "
                "both files to one folder."
            )
        self.files[location] = found.st_size
        self.on_disk += found.st_size
        return found.st_size


def _cast(array: Array, dtype: npt.DTypeLike) -> Array:
    """In another precision; a constant that is spread stays spread."""
    if array.size > 1 and not any(array.strides):
        return np.broadcast_to(array.reshape(-1)[:1].astype(dtype).reshape((1,) * array.ndim), array.shape)
    with np.errstate(over="ignore", invalid="ignore"):
        return array.astype(dtype, copy=False)


# The graph


class _Node:
    """One node: its inputs, and its attributes by name."""

    def __init__(self, proto: Any, number: int, store: _Store) -> None:
        self.proto, self.number, self.store = proto, number, store
        self.type: str = proto.op_type
        self.inputs: list[str] = list(proto.input)
        self.outputs: list[str] = list(proto.output)
        self.attributes = {each.name: each for each in proto.attribute}

    def __contains__(self, name: str) -> bool:
        return name in self.attributes

    @property
    def what(self) -> str:
        name = self.proto.name or (self.outputs[0] if self.outputs else "")
        return f"node {self.number} '{printable(name)}' ({printable(self.type)})"

    def integer(self, name: str, default: int = 0) -> int:
        each = self.attributes.get(name)
        if each is None:
            return default
        if each.type not in (0, 2):
            raise WeightsFormatError(f"its {name} should be an integer.")
        return int(each.i)

    def number_(self, name: str, default: float) -> float:
        each = self.attributes.get(name)
        if each is None:
            return default
        if each.type not in (0, 1):
            raise WeightsFormatError(f"its {name} should be a number.")
        return float(each.f)

    def integers(self, name: str, default: Sequence[int] | None = None) -> list[int] | None:
        each = self.attributes.get(name)
        if each is None:
            return None if default is None else list(default)
        if each.type not in (0, 7) or len(each.ints) > MOST_FOLDED:
            raise WeightsFormatError(f"its {name} should be integers.")
        return [int(n) for n in each.ints]

    def text(self, name: str, default: str = "") -> str:
        each = self.attributes.get(name)
        return default if each is None else bytes(each.s).decode("utf-8", "replace")


def _window(node: _Node, rank: int = 2) -> tuple[list[int], list[int], list[int]]:
    """Strides, dilations, and pads as (top, bottom, left, right), each bounded."""
    strides = node.integers("strides", [1] * rank) or [1] * rank
    dilations = node.integers("dilations", [1] * rank) or [1] * rank
    pads = node.integers("pads", [0] * 2 * rank) or [0] * 2 * rank
    if len(strides) != rank or len(dilations) != rank or len(pads) != 2 * rank:
        raise ShapeError(
            f"its strides {strides[:8]}, dilations {dilations[:8]} and pads {pads[:8]} are not for rows and columns."
        )
    if min(strides + dilations) < 1 or max(strides + dilations + pads) > LARGEST or min(pads) < -LARGEST:
        raise ShapeError(
            f"its strides {strides}, dilations {dilations} or pads {pads} are not between 1 and {LARGEST}."
        )
    return strides, dilations, [pads[0], pads[2], pads[1], pads[3]] if rank == 2 else pads


def _auto_pads(
    node: _Node, sides: Sequence[int], size: Sequence[int], strides: Sequence[int], pads: list[int]
) -> list[int]:
    """(top, bottom, left, right), where the file says SAME."""
    way = node.text("auto_pad", "NOTSET") or "NOTSET"
    if way == "NOTSET":
        return pads
    if way == "VALID":
        return [0, 0, 0, 0]
    if way not in ("SAME_UPPER", "SAME_LOWER"):
        raise ShapeError(f"its auto_pad is '{printable(way)}'.")
    out = []
    for side, window, stride in zip(sides, size, strides, strict=True):
        total = max((-(-side // stride) - 1) * stride + window - side, 0)
        out += [total // 2, total - total // 2] if way == "SAME_UPPER" else [total - total // 2, total // 2]
    return out


# What code meets in a node whose inputs or attributes are not those of its kind.
ODD = (ValueError, TypeError, IndexError, KeyError, AttributeError, AssertionError, ArithmeticError)


class _Reader:
    """Walks the nodes of a graph in their order, and fills a `Builder`."""

    def __init__(
        self,
        model: Any,
        store: _Store,
        input_shape: Sequence[int] | None,
        image: str | None,
        progress: Callable[[int, int], None] | None,
    ) -> None:
        self.graph, self.store, self.progress = model.graph, store, progress
        self.opset = max((each.version for each in model.opset_import if each.domain in ("", "ai.onnx")), default=1)
        self.functions = {(each.domain, each.name) for each in model.functions}
        self.stored = {each.name: each for each in self.graph.initializer}
        self.sparse = {each.values.name for each in self.graph.sparse_initializer}
        self.values: dict[str, Tensor | Cannot] = {}
        self.readers: dict[str, int] = {}
        self.notes: list[str] = []
        for node in self.graph.node:
            for name in node.input:
                self.readers[name] = self.readers.get(name, 0) + 1
        for each in self.graph.output:
            self.readers[each.name] = self.readers.get(each.name, 0) + 1
        self.names = _Names(self.graph.node)
        self.start(input_shape, image)

    def start(self, input_shape: Sequence[int] | None, image: str | None) -> None:
        """Finds the image among the inputs, and its size."""
        inputs = [each for each in self.graph.input if each.name not in self.stored]
        if image is not None:
            chosen = [each for each in inputs if each.name == image]
        else:
            chosen = [each for each in inputs if _rank(each) in (4, None)]
            chosen = chosen if len(chosen) == 1 else [each for each in chosen if _rank(each) == 4] or chosen
        names = ", ".join(f"'{printable(each.name)}'" for each in inputs[:8]) or "none"
        if not inputs:
            raise WeightsFormatError("its graph has no inputs, so it computes the same for every image.")
        if len(chosen) != 1:
            what = (
                f"no input '{printable(image)}'" if image is not None else f"{len(chosen)} inputs that may be the image"
            )
            kind = WeightsFormatError if image is None else _WrongArgument
            raise kind(f"it has {what}: its inputs are {names}. Give image= the name of one.")
        value = chosen[0]
        if not value.type.HasField("tensor_type"):
            raise WeightsFormatError(f"its input '{printable(value.name)}' is no tensor.")
        sizes = [each.dim_value if each.HasField("dim_value") else 0 for each in value.type.tensor_type.shape.dim]
        known = [n if 0 < n <= LARGEST_IMAGE else 0 for n in sizes]
        if len(known) not in (0, 4):
            raise WeightsFormatError(
                f"its input '{printable(value.name)}' has {len(known)} axes {tuple(sizes[:8])}; images have four."
            )
        last = self.channels_last(value.name, known)
        shape = self.shape(value.name, known, last, input_shape)
        images = known[0] if known and 1 < known[0] <= 4096 else 1
        self.builder = Builder(shape, images)
        self.image_shape, self.last = shape, last
        self.values[value.name] = self.builder.image(last)
        for each in inputs:
            if each is not value:
                self.values[each.name] = Cannot(f"it reads '{printable(each.name)}', an input besides the image")
                self.notes.append(
                    f"The input '{printable(each.name)}' is not the image, and what reads it is not supported."
                )

    def shape(self, name: str, known: list[int], last: bool, given: Sequence[int] | None) -> Shape:
        if given is not None:
            if np.shape(given) != (3,) or not all(
                isinstance(n, (int, np.integer)) and 0 < n <= LARGEST_IMAGE for n in given
            ):
                raise _WrongArgument(f"load_onnx: input_shape must be (C, H, W), each at least 1, not {given!r}.")
            channels = (known[3] if last else known[1]) if known else 0
            if channels and channels != given[0]:
                raise _WrongArgument(
                    f"load_onnx: input_shape {tuple(given)} has {given[0]} channels, and the file's images have {channels}"
                    + (" (last)." if last else ".")
                )
            return int(given[0]), int(given[1]), int(given[2])
        shape = (known[3], known[1], known[2]) if last and known else tuple(known[1:])
        if len(shape) != 3 or not all(shape):
            order = "N×H×W×C" if last else "N×C×H×W"
            text = "×".join(str(n) if n else "?" for n in known) or "unknown"
            raise WeightsFormatError(
                f"it does not say how large its images are: its input '{printable(name)}' is {text} ({order}). "
                "Give input_shape=(C, H, W)."
            )
        return shape[0], shape[1], shape[2]

    def channels_last(self, name: str, known: list[int]) -> bool:
        """Whether the image has its channels last, by what reads it first, or else by its sizes."""
        read = {name}
        for node in self.graph.node:
            if not read.intersection(node.input):
                continue
            if node.op_type == "Transpose":
                order = [int(n) for each in node.attribute if each.name == "perm" for n in each.ints]
                return order == [0, 3, 1, 2]
            if node.op_type in ("Conv", "MaxPool", "AveragePool", "BatchNormalization", "QLinearConv"):
                return False
            if node.op_type in ("Cast", "Identity", "Sub", "Add", "Mul", "Div", "Pad", "Resize"):
                read.update(node.output)
        return len(known) == 4 and known[3] in (1, 3, 4) and known[1] not in (1, 3, 4)

    def network(self, unknown: bool) -> Network:
        """The network; with a note where its mean and deviation are `unknown`."""
        made = {each.name for each in self.graph.input} | set(self.stored) | self.sparse
        total = len(self.graph.node)
        for number, proto in enumerate(self.graph.node, 1):
            node = _Node(proto, number, self.store)
            for name in node.inputs:
                if name and name not in made:
                    raise WeightsFormatError(
                        f"{node.what} reads '{printable(name)}', which nothing before it makes: the graph has a cycle, or "
                        "its nodes are out of order."
                    )
            for name in filter(None, node.outputs):
                if name in made:
                    raise WeightsFormatError(f"{node.what} makes '{printable(name)}', which was there before.")
                made.add(name)
            self.node(node)
            if self.progress is not None:
                self.progress(number, total)
        outputs: list[Tensor] = []
        for each in self.graph.output:
            if each.name not in made:
                raise WeightsFormatError(f"its output '{printable(each.name)}' is made by no node.")
            value = self.values.get(each.name)
            if isinstance(value, (View, Opaque)):
                value = self.builder.settled(value, each.name)
                outputs.append(value)
                self.builder.aliases[each.name] = value.layer
        layers, inputs, aliases = self.builder.finish(outputs)
        if not layers:
            raise WeightsFormatError("no layer of it reads its image: there is nothing to decode.")
        if self.last:
            self.notes.append("The file has the channels of its images last; here they come first, (N, C, H, W).")
        if unknown:
            self.notes.append(UNKNOWN)
        net = Network(layers, inputs=inputs, input_shape=self.image_shape, notes=self.notes, aliases=aliases)
        for layer, seen in zip(net.names, net.fields_within(0)[1:], strict=True):
            if seen is not None and max(*seen.size, *seen.stride) > LARGEST_IMAGE:
                raise WeightsFormatError(
                    f"the layer '{printable(layer)}' would see more than {LARGEST_IMAGE} pixels in a row: a size, stride or "
                    "dilation is damaged."
                )
        return net

    def node(self, node: _Node) -> None:
        """Gives the outputs of a node their values."""
        candidates = self.names.of(node)
        self.builder.label = candidates[0]
        try:
            if node.proto.domain not in ("", "ai.onnx") or (node.proto.domain, node.type) in self.functions:
                raise Cannot(f"it is an operator of '{printable(node.proto.domain)}', which is not known here")
            results = self.run(node)
        except Cannot as error:
            results = self.blocked(node, str(error))
        except DecodingError as error:
            raise type(error)(f"{node.what}: {error}") from error
        for name, value in zip(
            node.outputs,
            [*results, *[Cannot("it reads a result that is not made here")] * len(node.outputs)],
            strict=False,
        ):
            if name:
                self.values[name] = value
        first = results[0] if results else None
        if isinstance(first, (View, Opaque)):
            self.builder.within(self.names.placed(node.proto)[0], first.layer)
            for name in candidates[:-1]:
                self.builder.aliases.setdefault(name, first.layer)

    def blocked(self, node: _Node, reason: str) -> list[Any]:
        """An unsupported layer; a constant that nothing here can read, where no map goes in."""
        below = [value for value in map(self.peek, node.inputs) if isinstance(value, (View, Opaque))]
        if not below and not any(isinstance(self.peek(name), Cannot) for name in node.inputs):
            return [Cannot(reason)] * max(len(node.outputs), 1)
        opaque = self.builder.unsupported(node.type, below, reason)
        return [opaque] * max(len(node.outputs), 1)

    def peek(self, name: str) -> Tensor | Cannot | None:
        return self.values.get(name)

    def value(self, node: _Node, i: int) -> Tensor | None:
        """Input `i` of a node, read where it is stored; None where it is left out."""
        if i >= len(node.inputs) or not node.inputs[i]:
            return None
        name = node.inputs[i]
        if name not in self.values:
            if name in self.stored:
                try:
                    self.values[name] = self.store.tensor(self.stored[name], f"the tensor '{printable(name)}'")
                except Cannot as error:
                    self.values[name] = error
            else:
                self.values[name] = Cannot(f"it reads '{printable(name)}', a sparse tensor")
        value = self.values[name]
        if isinstance(value, Cannot):
            raise Cannot(str(value))
        if isinstance(value, Opaque):
            below = self.builder.layers[value.layer - 1]
            raise Cannot(
                f"it reads a layer that is not supported, {printable(self.builder.labels[value.layer] or below.kind)}"
            )
        return value

    def run(self, node: _Node) -> list[Any]:
        """The outputs of a node."""
        if node.type not in OPERATORS and node.type not in FOLDED:
            raise Cannot(REASONS.get(node.type, "it has no decoding, or is not known here"))
        values = [self.value(node, i) for i in range(len(node.inputs))]
        if not any(isinstance(value, View) for value in values):
            if node.type not in FOLDED:
                raise Cannot("it computes with constants in a way that is not known here")
            with np.errstate(all="ignore"):
                try:
                    return FOLDED[node.type](self, node, values)
                except DecodingError:
                    raise
                except ODD as error:
                    raise Cannot(f"its constants do not fit each other: {printable(str(error), 100)}") from None
        if node.type not in OPERATORS:
            raise Cannot(REASONS.get(node.type, "it has no decoding, or is not known here"))
        try:
            result = OPERATORS[node.type](self, node, values)
        except DecodingError:
            raise
        except ODD as error:
            raise Cannot(f"its arguments are not those of its kind: {printable(str(error), 100)}") from None
        return result if isinstance(result, list) else [result]

    # What operators ask for

    def maps(self, values: Sequence[Any], i: int = 0) -> View:
        value = values[i] if i < len(values) else None
        if not isinstance(value, View):
            raise Cannot("its first input is a constant")
        return value

    def constant(self, values: Sequence[Any], i: int, what: str) -> Array | None:
        value = values[i] if i < len(values) else None
        if isinstance(value, View):
            raise Cannot(f"its {what} is computed from the image")
        return value

    def weights(self, values: Sequence[Any], i: int, what: str) -> Array:
        array = self.constant(values, i, what)
        if array is None:
            raise ShapeError(f"it has no {what}.")
        if array.size > MOST_WEIGHTS:
            raise ShapeError(f"its {what} would be {array.shape}, more than {MOST_WEIGHTS} numbers.")
        return self.store.real(array)

    def whole_numbers(self, node: _Node, values: Sequence[Any], i: int, attribute: str) -> list[int] | None:
        """Integers that moved from an attribute to input `i`."""
        if attribute in node:
            return node.integers(attribute)
        array = self.constant(values, i, attribute)
        if array is None:
            return None
        if array.size > MOST_FOLDED or array.dtype.kind not in "iu":
            raise ShapeError(f"its {attribute} should be a few integers, and are {array.dtype} {array.shape}.")
        return [int(n) for n in array.ravel()]

    def sole(self, node: _Node, i: int) -> bool:
        return self.readers.get(node.inputs[i], 0) == 1

    def bounded(self, shape: Sequence[int], *sources: Array) -> tuple[int, ...]:
        """A shape that a constant may have: small, or not larger than what is stored."""
        most = max([MOST_FOLDED, *(each.size for each in sources if any(each.strides) or each.size <= 1)])
        if len(shape) > MOST_AXES or any(n < 0 for n in shape) or math.prod(shape) > most:
            raise Cannot(f"it computes a constant of the shape {tuple(shape)[:8]}, which is too large")
        self.store.spend(8 * math.prod(shape), f"a constant {tuple(shape)}")
        return tuple(int(n) for n in shape)

    def spread(self, value: Array, shape: Sequence[int]) -> Array:
        """A constant that is kept as one value and a shape."""
        if len(shape) > MOST_AXES or any(n < 0 or n > 2**40 for n in shape) or math.prod(shape) > 2**40:
            raise Cannot(f"it computes a constant of the shape {tuple(shape)[:8]}, which is too large")
        return np.broadcast_to(value, tuple(int(n) for n in shape))


def _rank(value: Any) -> int | None:
    if not value.type.HasField("tensor_type"):
        return 0
    return len(value.type.tensor_type.shape.dim) if value.type.tensor_type.HasField("shape") else None


# Names


class _Names:
    """What a node is called, by the best that the file has: as torchvision's and timm's feature extractors call it."""

    def __init__(self, nodes: Sequence[Any]) -> None:
        placed = [self.placed(node) for node in nodes]
        # A module that holds others, or several layers with weights: what is called in it directly is a function.
        self.containers = {""}
        weighted: dict[str, int] = {}
        for node, (module, _) in zip(nodes, placed, strict=True):
            parts = module.split(".")
            self.containers.update(".".join(parts[:i]) for i in range(1, min(len(parts), 32)))
            weighted[module] = weighted.get(module, 0) + (node.op_type in WEIGHTED)
        self.containers.update(module for module, count in weighted.items() if count > 1)

    def of(self, node: _Node) -> list[str]:
        """Names, the best first."""
        module, function = self.placed(node.proto)
        scoped = module
        if function and module in self.containers:
            scoped = f"{module}.{function}" if module else function
        found = [self.by_weight(node), scoped, node.proto.name]
        found += [node.outputs[0] if node.outputs else "", f"{node.type.lower()}{node.number}"]
        return list(dict.fromkeys(name for name in found if name))

    def by_weight(self, node: _Node) -> str:
        name = node.inputs[1] if node.type in WEIGHTED and len(node.inputs) > 1 else ""
        return name.removesuffix(".weight") if name.endswith(".weight") and "::" not in name else ""

    def placed(self, node: Any) -> tuple[str, str]:
        """(module, function) that a node was called in."""
        for each in node.metadata_props:  # torch's new exporter
            if each.key == "pkg.torch.onnx.name_scopes" and len(each.value) < 10_000:
                scopes = re.findall(r"'([^']*)'", each.value)
                if len(scopes) > 1:
                    return scopes[-2], re.sub(r"_\d+$", "", scopes[-1])
        if node.name.startswith("/") and len(node.name) < 1000:  # its old one: /layer1/layer1.0/conv1/Conv
            *path, last = node.name.strip("/").split("/")
            parts: list[str] = []
            for each in path:
                if parts and each.startswith(f"{parts[-1]}."):
                    parts[-1] = each
                else:
                    parts.append(each)
            return ".".join(parts), re.sub(r"^[a-z]+", lambda found: FUNCTIONS.get(found[0], found[0]), last.lower())
        return "", ""


# What torch calls the operators that its old exporter writes.
FUNCTIONS = {
    "concat": "cat", "globalaveragepool": "adaptive_avg_pool2d", "averagepool": "avg_pool2d", "maxpool": "max_pool2d",
    "gemm": "linear", "clip": "hardtanh",
}  # fmt: skip
WEIGHTED = {"Conv", "ConvTranspose", "Gemm", "MatMul", "BatchNormalization", "LayerNormalization", "PRelu"}


# Operators on maps


def _conv(r: _Reader, node: _Node, v: list[Any]) -> Any:
    filters = r.weights(v, 1, "filters")
    bias = None if len(v) < 3 or v[2] is None else r.weights(v, 2, "bias").reshape(-1)
    if filters.ndim != 4:
        raise Cannot(f"it does not run over rows and columns: filters {filters.shape}")
    strides, dilations, pads = _window(node)
    kernel = node.integers("kernel_shape")
    if kernel is not None and kernel != list(filters.shape[2:]):
        raise ShapeError(f"its kernel_shape {kernel} and its filters {filters.shape} differ.")
    view = r.builder.whole(r.builder.maps(r.maps(v)))
    span = [(n - 1) * d + 1 for n, d in zip(filters.shape[2:], dilations, strict=True)]
    pads = _auto_pads(node, view.shape[2:], span, strides, pads)
    groups = node.integer("group", 1)
    return r.builder.conv(view, filters, bias, stride=strides, pad=pads, dilation=dilations, groups=groups)


def _conv_transpose(r: _Reader, node: _Node, v: list[Any]) -> Any:
    filters = r.weights(v, 1, "filters")
    bias = None if len(v) < 3 or v[2] is None else r.weights(v, 2, "bias").reshape(-1)
    if filters.ndim != 4:
        raise Cannot(f"it does not run over rows and columns: filters {filters.shape}")
    strides, dilations, pads = _window(node)
    extra = node.integers("output_padding", [0, 0]) or [0, 0]
    view = r.builder.whole(r.builder.maps(r.maps(v)))
    want = node.integers("output_shape")
    way = node.text("auto_pad", "NOTSET") or "NOTSET"
    if len(extra) != 2 or min(extra) < 0 or max(extra) > LARGEST:
        raise ShapeError(f"its output_padding is {extra}.")
    if want is not None or way.startswith("SAME"):
        pads = []
        for a in (0, 1):
            side, span = view.shape[2 + a], (filters.shape[2 + a] - 1) * dilations[a] + 1
            target = want[-2 + a] if want is not None and len(want) >= 2 else side * strides[a]
            total = (side - 1) * strides[a] + span + extra[a] - target
            extra = list(extra)
            if total < 0:
                extra[a] -= total
                total = 0
            # The odd cell is cut at the end where the file says SAME_UPPER, and at the beginning elsewhere.
            pads += [total // 2, total - total // 2] if way == "SAME_UPPER" else [total - total // 2, total // 2]
    elif way == "VALID":
        pads = [0, 0, 0, 0]
    return r.builder.conv_transpose(
        view, filters, bias, stride=strides, pad=pads, extra=extra, dilation=dilations, groups=node.integer("group", 1)
    )


def _gemm(r: _Reader, node: _Node, v: list[Any]) -> Any:
    view = r.maps(v)
    weights = r.weights(v, 1, "weights")
    if weights.ndim != 2 or node.integer("transA"):
        raise Cannot("it multiplies by something else than a matrix from the right")
    alpha, beta = node.number_("alpha", 1.0), node.number_("beta", 1.0)
    weights = weights.T if node.integer("transB") else weights
    weights = weights if alpha == 1 else weights * weights.dtype.type(alpha)
    if len(view.axes) != 2:
        view = r.builder.flatten(view, 1)
    bias = None
    if len(v) > 2 and v[2] is not None:
        bias = r.weights(v, 2, "bias")
        if bias.ndim > 2 or bias.size not in (1, weights.shape[1]) or (bias.ndim == 2 and bias.shape[0] != 1):
            raise Cannot(f"its bias {bias.shape} differs from image to image")
        bias = np.broadcast_to(bias.ravel() * bias.dtype.type(beta), (weights.shape[1],))
    return r.builder.linear(view, weights, bias)


def _matmul(r: _Reader, node: _Node, v: list[Any]) -> Any:
    if not isinstance(v[0], View) or isinstance(v[1], View):
        raise Cannot("it multiplies two computed tensors" if isinstance(v[0], View) else "it multiplies from the left")
    weights = r.weights(v, 1, "weights")
    if weights.ndim != 2:
        raise Cannot(f"it multiplies by many matrices: {weights.shape}")
    return r.builder.linear(v[0], weights)


def _batch_norm(r: _Reader, node: _Node, v: list[Any]) -> Any:
    if node.integer("training_mode") or (r.opset < 14 and len([name for name in node.outputs if name]) >= 3):
        raise Cannot(
            "it was exported in training mode, and normalizes by the very images. Export the model in eval mode"
        )
    arrays = [r.weights(v, i, what) for i, what in enumerate(("maps", "scale", "bias", "mean", "variance")) if i]
    if node.integer("spatial", 1) == 0 and any(array.ndim != 1 for array in arrays):
        raise Cannot("it normalizes each place by itself")
    return r.builder.batch_norm(r.maps(v), arrays[0], arrays[1], arrays[2], arrays[3], node.number_("epsilon", 1e-5))


def _binary(r: _Reader, node: _Node, v: list[Any]) -> Any:
    """Add, Sub, Mul, Div of maps and constants."""
    a, b = v[0], v[1]
    if r.opset < 7 and "axis" in node and not isinstance(b, View) and isinstance(a, View):
        b = b.reshape(b.shape + (1,) * max(len(a.axes) - node.integer("axis") - b.ndim, 0))
    kind, build = node.type, r.builder
    if isinstance(a, View) and isinstance(b, View):
        if kind == "Add":
            return build.add(a, b)
        if kind == "Sub":
            return build.subtract(a, b)
        if kind == "Mul":
            return build.multiply(a, b)
        return build.divide(a, b)
    view, i = (a, 0) if isinstance(a, View) else (b, 1)
    constant = np.asarray(b if i == 0 else a)
    if constant.size > MOST_FOLDED * 16 and not any(constant.strides):
        raise Cannot(f"its constant {constant.shape} is too large")
    constant = r.store.real(constant) if constant.dtype.kind == "f" else constant.astype(np.float32)
    if len(view.axes) < constant.ndim and constant.size > 1:
        view = build.unsqueeze(view, range(constant.ndim - len(view.axes)))
    sole = r.sole(node, i)
    if kind == "Add":
        return build.affine(view, 1.0, constant, sole)
    if kind == "Sub":
        return build.affine(view, 1.0, -constant, sole) if i == 0 else build.affine(view, -1.0, constant, sole)
    if kind == "Mul":
        return build.affine(view, constant, 0.0, sole)
    if i == 1:
        raise Cannot("it divides by a map")
    if not np.all(constant):
        raise ShapeError("it divides by zero.")
    return build.affine(view, 1 / constant, 0.0, sole)


def _sum(r: _Reader, node: _Node, v: list[Any]) -> Any:
    views = [each for each in v if isinstance(each, View)]
    total: Any = views[0]
    for each in views[1:]:
        total = r.builder.add(total, each)
    for each in v:
        if not isinstance(each, View):
            total = r.builder.affine(total, 1.0, each.astype(np.float32))
    return total


def _unary(make: Callable[[_Node], Layer]) -> Callable[[_Reader, _Node, list[Any]], Any]:
    def run(r: _Reader, node: _Node, v: list[Any]) -> Any:
        return r.builder.elementwise(r.maps(v), make(node))

    return run


def _clip(r: _Reader, node: _Node, v: list[Any]) -> Any:
    bounds = []
    for i, (what, default) in enumerate((("min", -math.inf), ("max", math.inf)), 1):
        array = r.constant(v, i, what)
        if array is not None and array.size != 1:
            raise ShapeError(f"its {what} should be one number, and is {array.shape}.")
        bounds.append(node.number_(what, default) if array is None else float(array.reshape(())))
    low, high = (bound if abs(bound) < 3e38 else math.copysign(math.inf, bound) for bound in bounds)
    return r.builder.clip(r.maps(v), low, high)


def _prelu(r: _Reader, node: _Node, v: list[Any]) -> Any:
    slope, view = r.weights(v, 1, "slope"), r.maps(v)
    if slope.ndim == 1 and slope.size > 1 and len(view.axes) == 4 and view.shape[3] != slope.size:
        slope = slope.reshape(-1, 1, 1)
    return r.builder.prelu(view, slope)


def _gelu(node: _Node) -> Layer:
    return GELU(approximate="tanh" if node.text("approximate") == "tanh" else "none")


def _erf(r: _Reader, node: _Node, v: list[Any]) -> Any:
    from scipy.special import erf

    return _piece(r, node, r.maps(v), erf)


def _piece(r: _Reader, node: _Node, view: View, function: Callable[[Array], Array]) -> Any:
    return r.builder.piece(view, node.type, function)


def _pow(r: _Reader, node: _Node, v: list[Any]) -> Any:
    power = r.constant(v, 1, "power")
    if power is None or power.size != 1:
        raise Cannot("it raises to more than one power")
    exponent = float(power.reshape(()))
    return _piece(r, node, r.maps(v), lambda z: np.power(z, exponent))


def _simple(function: Callable[[Array], Array]) -> Callable[[_Reader, _Node, list[Any]], Any]:
    return lambda r, node, v: _piece(r, node, r.maps(v), function)


def _softmax(r: _Reader, node: _Node, v: list[Any]) -> Any:
    view = r.maps(v)
    if r.opset < 13:  # all axes from this one on, as one
        axis = node.integer("axis", 1) % max(len(view.axes), 1)
        flat = r.builder.flatten(view, axis)
        result = r.builder.softmax(flat, axis, LogSoftmax() if node.type == "LogSoftmax" else None)
        return View(result.layer, view.axes)
    return r.builder.softmax(view, node.integer("axis", -1), LogSoftmax() if node.type == "LogSoftmax" else None)


def _lrn(r: _Reader, node: _Node, v: list[Any]) -> Any:
    size = node.integer("size")
    if not 0 < size <= LARGEST:
        raise ShapeError(f"its size is {size}.")
    layer = LRN(
        size, kappa=node.number_("bias", 1.0), alpha=node.number_("alpha", 1e-4) / size, beta=node.number_("beta", 0.75)
    )
    return r.builder.whole(r.builder.put(layer, r.builder.maps(r.maps(v))))


def _dropout(r: _Reader, node: _Node, v: list[Any]) -> Any:
    return r.builder.elementwise(r.maps(v), Dropout())


def _layer_norm(r: _Reader, node: _Node, v: list[Any]) -> Any:
    bias = None if len(v) < 3 or v[2] is None else r.weights(v, 2, "bias")
    scale = r.weights(v, 1, "scale")
    return r.builder.layer_norm(r.maps(v), node.integer("axis", -1), scale, bias, node.number_("epsilon", 1e-5))


def _instance_norm(r: _Reader, node: _Node, v: list[Any]) -> Any:
    view, scale, bias = r.maps(v), r.weights(v, 1, "scale"), r.weights(v, 2, "bias")
    return r.builder.group_norm(view, view.shape[1], scale, bias, node.number_("epsilon", 1e-5))


def _group_norm(r: _Reader, node: _Node, v: list[Any]) -> Any:
    view, scale, bias = r.maps(v), r.weights(v, 1, "scale"), r.weights(v, 2, "bias")
    groups = node.integer("num_groups", 1)
    if groups < 1 or view.shape[1] % groups:
        raise ShapeError(f"{view.shape[1]} channels cannot be split into {groups} groups.")
    if r.opset < 21:  # one for each group
        scale, bias = (
            np.repeat(each, view.shape[1] // groups) if each.size == groups else each for each in (scale, bias)
        )
    return r.builder.group_norm(view, groups, scale, bias, node.number_("epsilon", 1e-5))


def _pool(r: _Reader, node: _Node, v: list[Any]) -> Any:
    size = node.integers("kernel_shape")
    if size is None or len(size) != 2:
        raise Cannot(f"its window {size} does not run over rows and columns")
    strides, dilations, pads = _window(node)
    if min(size) < 1 or max(size) > LARGEST:
        raise ShapeError(f"its window is {size}.")
    if node.integer("storage_order") and len(node.outputs) > 1:
        raise Cannot("it gives places column by column")
    view = r.builder.whole(r.builder.maps(r.maps(v)))
    span = [(n - 1) * d + 1 for n, d in zip(size, dilations, strict=True)]
    pads = _auto_pads(node, view.shape[2:], span, strides, pads)
    return r.builder.pool(
        view,
        "max" if node.type == "MaxPool" else "mean",
        size=size,
        stride=strides,
        pad=pads,
        dilation=dilations,
        ceil=bool(node.integer("ceil_mode")),
        count_pads=bool(node.integer("count_include_pad")),
    )


def _global_pool(r: _Reader, node: _Node, v: list[Any]) -> Any:
    view = r.maps(v)
    return r.builder.over(view, range(2, len(view.axes)), True, "max" if "Max" in node.type else "mean")


def _reduce(r: _Reader, node: _Node, v: list[Any]) -> Any:
    view = r.maps(v)
    axes = r.whole_numbers(node, v, 1, "axes")
    if not axes:
        if node.integer("noop_with_empty_axes"):
            return view
        axes = list(range(len(view.axes)))
    kind = {"ReduceMean": "mean", "ReduceMax": "max", "ReduceSum": "sum"}[node.type]
    return r.builder.over(view, axes, bool(node.integer("keepdims", 1)), kind)


def _concat(r: _Reader, node: _Node, v: list[Any]) -> Any:
    return r.builder.concat([each for each in v if each is not None], node.integer("axis", 1))


def _split(r: _Reader, node: _Node, v: list[Any]) -> Any:
    view, axis = r.maps(v), node.integer("axis")
    axis = axis + len(view.axes) if axis < 0 else axis
    if axis >= len(view.axes):
        raise ShapeError(f"it splits along axis {axis} of a tensor {view.shape}.")
    sizes, count = r.whole_numbers(node, v, 1, "split"), view.shape[axis]
    if sizes is None:
        parts = len(node.outputs)
        each = -(-count // parts)
        sizes = [each] * (parts - 1) + [count - each * (parts - 1)]
    if sum(sizes) != count or min(sizes) < 1 or len(sizes) < len(node.outputs):
        raise ShapeError(f"it splits {count} into {sizes[:16]}.")
    starts = np.cumsum([0, *sizes])
    return [r.builder.select(view, axis, np.arange(begin, end)) for begin, end in itertools.pairwise(starts)][
        : len(node.outputs)
    ]


def _slice(r: _Reader, node: _Node, v: list[Any]) -> Any:
    view = r.maps(v)
    starts, ends = r.whole_numbers(node, v, 1, "starts"), r.whole_numbers(node, v, 2, "ends")
    if starts is None or ends is None:
        raise ShapeError("it has no starts or ends.")
    axes = r.whole_numbers(node, v, 3, "axes") or list(range(len(starts)))
    steps = r.whole_numbers(node, v, 4, "steps") or [1] * len(starts)
    if not len(starts) == len(ends) == len(axes) == len(steps) or 0 in steps:
        raise ShapeError(f"its starts {starts[:8]}, ends {ends[:8]}, axes {axes[:8]} and steps {steps[:8]} differ.")
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        if not -len(view.axes) <= axis < len(view.axes):
            raise ShapeError(f"it slices axis {axis} of a tensor {view.shape}.")
        view = r.builder.select(
            view,
            axis,
            np.arange(view.shape[axis])[slice(start, end, step) if end >= -(2**62) else slice(start, None, step)],
        )
    return view


def _gather(r: _Reader, node: _Node, v: list[Any]) -> Any:
    view, places = r.maps(v), r.constant(v, 1, "places")
    if places is None or places.dtype.kind not in "iu" or places.size > MOST_FOLDED:
        raise Cannot("it gathers by something else than a few constant integers")
    axis = node.integer("axis") % max(len(view.axes), 1)
    taken = r.builder.select(view, axis, places.reshape(-1), drop=places.ndim == 0)
    if places.ndim > 1:
        taken = r.builder.reshape(taken, [*view.shape[:axis], *places.shape, *view.shape[axis + 1 :]])
    return taken


def _reshape(r: _Reader, node: _Node, v: list[Any]) -> Any:
    view = r.maps(v)
    shape = r.whole_numbers(node, v, 1, "shape")
    if shape is None or len(shape) > MOST_AXES:
        raise ShapeError("it has no shape, or one of too many axes.")
    return r.builder.reshape(view, _filled(shape, view.shape, bool(node.integer("allowzero"))))


def _filled(shape: Sequence[int], old: Sequence[int], zeros: bool = False) -> list[int]:
    """A shape with its 0 and −1 filled in."""
    out = [old[i] if n == 0 and not zeros and i < len(old) else n for i, n in enumerate(shape)]
    if out.count(-1) == 1:
        rest = -math.prod(out)
        if rest < 1 or math.prod(old) % rest:
            raise ShapeError(f"a tensor {tuple(old)} cannot be reshaped to {tuple(shape)}.")
        out[out.index(-1)] = math.prod(old) // rest
    if any(n < 0 for n in out):
        raise ShapeError(f"a tensor {tuple(old)} cannot be reshaped to {tuple(shape)}.")
    return out


def _transpose(r: _Reader, node: _Node, v: list[Any]) -> Any:
    view = r.maps(v)
    return r.builder.transpose(view, node.integers("perm") or list(range(len(view.axes)))[::-1])


def _flatten(r: _Reader, node: _Node, v: list[Any]) -> Any:
    view, axis = r.maps(v), node.integer("axis", 1)
    axis = axis + len(view.axes) if axis < 0 else axis
    if not 0 <= axis <= len(view.axes):
        raise ShapeError(f"it flattens a tensor {view.shape} from axis {axis} on.")
    return r.builder.reshape(view, [math.prod(view.shape[:axis]), math.prod(view.shape[axis:])])


def _squeeze(r: _Reader, node: _Node, v: list[Any]) -> Any:
    return r.builder.squeeze(r.maps(v), r.whole_numbers(node, v, 1, "axes"))


def _unsqueeze(r: _Reader, node: _Node, v: list[Any]) -> Any:
    return r.builder.unsqueeze(r.maps(v), r.whole_numbers(node, v, 1, "axes") or [])


def _shape(r: _Reader, node: _Node, v: list[Any]) -> Any:
    sizes = v[0].shape
    return np.array(sizes[slice(node.integer("start"), node.integer("end", len(sizes)))], np.int64)


def _pad(r: _Reader, node: _Node, v: list[Any]) -> Any:
    view = r.maps(v)
    pads = r.whole_numbers(node, v, 1, "pads" if "pads" in node else "paddings" if "paddings" in node else "pads")
    value = r.constant(v, 2, "value")
    number = node.number_("value", 0.0) if value is None else float(value.reshape(-1)[0]) if value.size else 0.0
    axes = r.whole_numbers(node, v, 3, "axes")
    if pads is None or len(pads) % 2:
        raise ShapeError("it has no pads, or half of them.")
    half = len(pads) // 2
    by_axis = [(0, 0)] * len(view.axes)
    for i, axis in enumerate(axes if axes is not None else range(half)):
        if not -len(view.axes) <= axis < len(view.axes) or i >= half:
            raise ShapeError(f"its pads {pads[:16]} are for other axes than those of a tensor {view.shape}.")
        by_axis[axis] = (pads[i], pads[i + half])
    mode = node.text("mode", "constant") or "constant"
    if mode not in ("constant", "reflect", "edge"):
        raise Cannot(f"it pads by '{printable(mode)}'")
    return r.builder.pad(view, by_axis, number, mode)


def _resize(r: _Reader, node: _Node, v: list[Any]) -> Any:
    """Resize and Upsample of every opset."""
    view = r.maps(v)
    below = r.builder.maps(view)
    view = r.builder.whole(below)
    scales = sizes = None
    if "scales" in node:
        scales = np.array(node.attributes["scales"].floats, np.float64)
    elif node.type == "Upsample" or r.opset < 11:
        scales = r.constant(v, 1, "scales")
    else:
        scales, sizes = r.constant(v, 2, "scales"), r.constant(v, 3, "sizes")
    mode = node.text("mode", "nearest") or "nearest"
    axes = node.integers("axes") or list(range(4))
    target = list(view.shape)
    given = sizes if sizes is not None and sizes.size else scales
    if given is None or given.size != len(axes) or any(not 0 <= axis % 4 < 4 for axis in axes):
        raise ShapeError("it has neither scales nor sizes for its axes.")
    for axis, number in zip(axes, given.ravel().tolist(), strict=True):
        side = view.shape[axis]
        if not 0 < number * (1 if given is sizes else side) <= 2**31:
            raise ShapeError(f"it resizes {side} by {number}.")
        target[axis] = int(number) if given is sizes else math.floor(side * number + 1e-6)
    if target[:2] != list(view.shape[:2]):
        raise Cannot("it resizes channels or images")
    if mode not in ("nearest", "linear", "bilinear"):
        raise Cannot(f"it interpolates by '{printable(mode)}'")
    way = node.text("coordinate_transformation_mode", "half_pixel") or "half_pixel"
    if node.type == "Upsample" or r.opset < 11:
        way = "asymmetric"
    if way == "pytorch_half_pixel":
        way = "half_pixel" if min(target[2:]) > 1 else "other"
    align = {
        "half_pixel": "centre",
        "half_pixel_symmetric": "centre",
        "asymmetric": "corner",
        "align_corners": "corners",
    }
    if way not in align:
        raise Cannot(f"it interpolates at '{printable(way)}'")
    rounding = node.text("nearest_mode", "round_prefer_floor") or "round_prefer_floor"
    if node.type == "Upsample" or r.opset < 11:
        rounding = "floor"
    roundings = {"floor": "floor", "ceil": "ceil", "round_prefer_floor": "down", "round_prefer_ceil": "up"}
    if rounding not in roundings or node.integer("antialias") or node.integer("exclude_outside"):
        raise Cannot("it interpolates in a way that is not known here")
    kind = "nearest" if mode == "nearest" else "linear"
    scale = [1.0, 1.0]
    for axis, number in zip(axes, given.ravel().tolist(), strict=True):
        if axis % 4 >= 2:
            scale[axis % 4 - 2] = number if given is scales else target[axis % 4] / view.shape[axis % 4]
    return r.builder.resize(view, target[2:], mode=kind, align=align[way], rounding=roundings[rounding], scale=scale)


def _expand(r: _Reader, node: _Node, v: list[Any]) -> Any:
    shape = r.whole_numbers(node, v, 1, "shape")
    if shape is None or any(n < 0 for n in shape):
        raise ShapeError("it has no shape.")
    return r.builder.expand(r.maps(v), shape)


def _depth_to_space(r: _Reader, node: _Node, v: list[Any]) -> Any:
    n, channels, rows, columns = _four(r.maps(v))
    block, build = node.integer("blocksize", 1), r.builder
    if block < 1 or channels % (block * block):
        raise ShapeError(f"blocks of {block}×{block} of {channels} channels.")
    if (node.text("mode", "DCR") or "DCR") == "DCR":
        view = build.reshape(r.maps(v), [n, block, block, channels // block**2, rows, columns])
        view = build.transpose(view, [0, 3, 4, 1, 5, 2])
    else:
        view = build.reshape(r.maps(v), [n, channels // block**2, block, block, rows, columns])
        view = build.transpose(view, [0, 1, 4, 2, 5, 3])
    return build.reshape(view, [n, channels // block**2, rows * block, columns * block])


def _space_to_depth(r: _Reader, node: _Node, v: list[Any]) -> Any:
    n, channels, rows, columns = _four(r.maps(v))
    block, build = node.integer("blocksize", 1), r.builder
    if block < 1 or rows % block or columns % block:
        raise ShapeError(f"blocks of {block}×{block} of a map of {rows}×{columns}.")
    view = build.reshape(r.maps(v), [n, channels, rows // block, block, columns // block, block])
    view = build.transpose(view, [0, 3, 5, 1, 2, 4])
    return build.reshape(view, [n, channels * block**2, rows // block, columns // block])


def _four(view: View) -> tuple[int, int, int, int]:
    if len(view.shape) != 4:
        raise Cannot(f"it reads a tensor {view.shape}, not maps")
    n, channels, rows, columns = view.shape
    return n, channels, rows, columns


def _same(r: _Reader, node: _Node, v: list[Any]) -> Any:
    return r.maps(v)


def _cast_maps(r: _Reader, node: _Node, v: list[Any]) -> Any:
    to = node.integer("to")
    if node.type == "Cast" and to not in FLOATS and to != BFLOAT16:
        raise Cannot("it makes integers of responses")
    if node.type == "CastLike" and not isinstance(v[0], View):
        return v[0].astype(np.float32) if v[0].dtype.kind != "f" else v[0]
    return r.maps(v)


def _image_scaler(r: _Reader, node: _Node, v: list[Any]) -> Any:
    bias = np.array(node.attributes["bias"].floats if "bias" in node else [0.0], np.float32)
    return r.builder.affine(r.maps(v), np.float32(node.number_("scale", 1.0)), bias.reshape(-1, 1, 1))


OPERATORS: dict[str, Callable[[_Reader, _Node, list[Any]], Any]] = {
    "Conv": _conv, "ConvTranspose": _conv_transpose, "Gemm": _gemm, "MatMul": _matmul,
    "BatchNormalization": _batch_norm, "Add": _binary, "Sub": _binary, "Mul": _binary, "Div": _binary, "Sum": _sum,
    "Relu": _unary(lambda node: ReLU()),
    "LeakyRelu": _unary(lambda node: ReLU(leak=node.number_("alpha", 0.01))),
    "Sigmoid": _unary(lambda node: Sigmoid()), "Tanh": _unary(lambda node: Tanh()),
    "HardSigmoid": _unary(lambda node: HardSigmoid(alpha=node.number_("alpha", 0.2), beta=node.number_("beta", 0.5))),
    "HardSwish": _unary(lambda node: HardSwish()), "Gelu": _unary(_gelu), "Mish": _unary(lambda node: Mish()),
    "Swish": _unary(lambda node: SiLU(beta=node.number_("alpha", 1.0))),
    "Elu": _unary(lambda node: ELU(alpha=node.number_("alpha", 1.0))),
    "Celu": _unary(lambda node: ELU(alpha=node.number_("alpha", 1.0), scale=node.number_("alpha", 1.0))),
    "Selu": _unary(lambda node: SELU(alpha=node.number_("alpha", 1.67326319217681884765625), gamma=node.number_("gamma", 1.05070102214813232421875))),
    "Softplus": _unary(lambda node: Softplus()), "Softsign": _unary(lambda node: Softsign()), "Exp": _unary(lambda node: Exp()),
    "Clip": _clip, "PRelu": _prelu, "Erf": _erf, "Pow": _pow, "Abs": _simple(np.abs), "Log": _simple(np.log),
    "Sqrt": _simple(np.sqrt), "Reciprocal": _simple(np.reciprocal), "Neg": lambda r, node, v: r.builder.affine(r.maps(v), -1.0, 0.0),
    "Softmax": _softmax, "LogSoftmax": _softmax, "LRN": _lrn, "Dropout": _dropout,
    "LayerNormalization": _layer_norm, "InstanceNormalization": _instance_norm, "GroupNormalization": _group_norm,
    "MaxPool": _pool, "AveragePool": _pool, "GlobalAveragePool": _global_pool, "GlobalMaxPool": _global_pool,
    "ReduceMean": _reduce, "ReduceMax": _reduce, "ReduceSum": _reduce, "Concat": _concat, "Split": _split,
    "Slice": _slice, "Gather": _gather, "Reshape": _reshape, "Transpose": _transpose, "Flatten": _flatten,
    "Squeeze": _squeeze, "Unsqueeze": _unsqueeze, "Shape": _shape, "Pad": _pad, "Resize": _resize, "Upsample": _resize,
    "Expand": _expand, "DepthToSpace": _depth_to_space, "SpaceToDepth": _space_to_depth, "Identity": _same,
    "Cast": _cast_maps, "CastLike": _cast_maps, "ImageScaler": _image_scaler,
    "Size": lambda r, node, v: np.array(math.prod(v[0].shape), np.int64),
}  # fmt: skip

REASONS = {
    "If": "what it does depends on the image",
    "Loop": "what it does depends on the image",
    "Scan": "what it does depends on the image",
    "NonMaxSuppression": "it picks boxes, which no linear decoding can",
    "TopK": "it picks the largest, which no linear decoding can",
    "ArgMax": "it gives places, not responses",
    "QLinearConv": "its weights are quantized",
    "QuantizeLinear": "it quantizes its responses",
    "DequantizeLinear": "its responses are quantized",
    "ReduceL2": "it divides by a norm of the very image",
}


# Constants: each a line of NumPy, its result bounded before it is made


def _fold(function: Callable[..., Array]) -> Callable[[_Reader, _Node, list[Any]], list[Any]]:
    """An elementwise function of constants, of the shape that they broadcast to."""

    def run(r: _Reader, node: _Node, v: list[Any]) -> list[Any]:
        arrays = [np.asarray(each) for each in v if each is not None]
        shape = np.broadcast_shapes(*(each.shape for each in arrays))
        if all(each.size == 1 or not any(each.strides) for each in arrays):  # one value, however large
            value = function(*(each.reshape(-1)[:1].reshape(()) if each.size else each for each in arrays))
            return [r.spread(np.asarray(value), shape)]
        r.bounded(shape, *arrays)
        return [np.asarray(function(*arrays))]

    return run


def _divided(a: Array, b: Array) -> Array:
    if a.dtype.kind in "iu" and b.dtype.kind in "iu":
        if not np.all(b):
            raise Cannot("it divides by zero")
        return np.asarray(np.trunc(a / b).astype(np.result_type(a, b)))
    return np.asarray(a / b)


def _fold_constant(r: _Reader, node: _Node, v: list[Any]) -> list[Any]:
    for name, each in node.attributes.items():
        if name == "value":
            return [r.store.tensor(each.t, "its value")]
        if name in ("value_int", "value_float"):
            return [np.array(each.i, np.int64) if name == "value_int" else np.array(each.f, np.float32)]
        if name in ("value_ints", "value_floats"):
            numbers = each.ints if name == "value_ints" else each.floats
            r.bounded((len(numbers),), np.zeros(len(numbers), bool))
            return [np.array(numbers, np.int64 if name == "value_ints" else np.float32)]
    raise Cannot("it is a constant of another kind than numbers")


def _fold_filled(r: _Reader, node: _Node, v: list[Any]) -> list[Any]:
    value = r.store.tensor(node.attributes["value"].t, "its value") if "value" in node else np.zeros(1, np.float32)
    if value.size != 1:
        raise ShapeError(f"its value should be one number, and is {value.shape}.")
    return [r.spread(value.reshape(()), _small(v[0]))]


def _small(array: Array | None) -> list[int]:
    if array is None or array.size > MOST_FOLDED or array.dtype.kind not in "iu":
        raise Cannot("it needs a few integers")
    return [int(n) for n in array.ravel()]


def _fold_expand(r: _Reader, node: _Node, v: list[Any]) -> list[Any]:
    shape = np.broadcast_shapes(v[0].shape, tuple(_small(v[1])) if len(_small(v[1])) <= MOST_AXES else (-1,))
    if v[0].size == 1:
        return [r.spread(v[0].reshape(()), shape)]
    r.bounded(shape, v[0])
    return [np.broadcast_to(v[0], shape)]


def _fold_reshape(r: _Reader, node: _Node, v: list[Any]) -> list[Any]:
    shape = node.integers("shape") or _small(v[1]) if len(v) > 1 or "shape" in node else []
    if len(shape) > MOST_AXES:
        raise Cannot("it has too many axes")
    return [v[0].reshape(_filled(shape, v[0].shape, bool(node.integer("allowzero"))))]


def _fold_squeeze(r: _Reader, node: _Node, v: list[Any]) -> list[Any]:
    axes = r.whole_numbers(node, v, 1, "axes")
    return [np.squeeze(v[0], None if axes is None else tuple(axes))]


def _fold_unsqueeze(r: _Reader, node: _Node, v: list[Any]) -> list[Any]:
    axes = r.whole_numbers(node, v, 1, "axes") or []
    if len(axes) + v[0].ndim > MOST_AXES:
        raise Cannot("it has too many axes")
    return [np.expand_dims(v[0], tuple(axes))]


def _fold_concat(r: _Reader, node: _Node, v: list[Any]) -> list[Any]:
    axis, arrays = node.integer("axis"), [np.asarray(each) for each in v if each is not None]
    stored = sum(each.size for each in arrays if any(each.strides) or each.size <= 1)
    total = sum(each.size for each in arrays)
    if total > max(MOST_FOLDED, stored):
        raise Cannot(f"it computes a constant of {total} numbers, which is too large")
    r.store.spend(8 * total, "a constant")
    return [np.concatenate(arrays, axis=axis)]


def _fold_slice(r: _Reader, node: _Node, v: list[Any]) -> list[Any]:
    starts, ends = r.whole_numbers(node, v, 1, "starts"), r.whole_numbers(node, v, 2, "ends")
    axes = r.whole_numbers(node, v, 3, "axes") or list(range(len(starts or [])))
    steps = r.whole_numbers(node, v, 4, "steps") or [1] * len(starts or [])
    cut = [slice(None)] * v[0].ndim
    for start, end, axis, step in zip(starts or [], ends or [], axes, steps, strict=True):
        cut[axis] = slice(start, end if end >= -(2**62) else None, step)
    return [v[0][tuple(cut)]]


def _fold_gather(r: _Reader, node: _Node, v: list[Any]) -> list[Any]:
    axis = node.integer("axis") % max(v[0].ndim, 1)
    r.bounded((*v[0].shape[:axis], *v[1].shape, *v[0].shape[axis + 1 :]), v[0])
    return [v[0].take(v[1], axis=axis)]


def _fold_range(r: _Reader, node: _Node, v: list[Any]) -> list[Any]:
    start, stop, step = (each.reshape(()).item() for each in v)
    r.bounded((max(math.ceil((stop - start) / step), 0),))
    return [np.arange(start, stop, step).astype(v[0].dtype)]


def _fold_tile(r: _Reader, node: _Node, v: list[Any]) -> list[Any]:
    repeats = _small(v[1])
    if len(repeats) != v[0].ndim:
        raise Cannot("its repeats do not fit")
    r.bounded([n * k for n, k in zip(v[0].shape, repeats, strict=True)])
    return [np.tile(v[0], repeats)]


def _fold_cast(r: _Reader, node: _Node, v: list[Any]) -> list[Any]:
    to = node.integer("to")
    if to not in TYPES and to != BFLOAT16:
        raise Cannot(f"it makes numbers of type {to}, which are not read")
    dtype = np.dtype(np.float32 if to == BFLOAT16 else TYPES[to]).newbyteorder("=")
    if any(v[0].strides):
        r.store.spend(8 * v[0].size, "a constant")
    return [r.store.real(_cast(v[0], dtype)) if dtype.kind == "f" else _cast(v[0], dtype)]


def _fold_cast_like(r: _Reader, node: _Node, v: list[Any]) -> list[Any]:
    return [_cast(v[0], v[1].dtype)]


def _fold_dequantize(r: _Reader, node: _Node, v: list[Any]) -> list[Any]:
    """A weight that is stored in few bits."""
    x, scale, zero = v[0], np.asarray(v[1]), v[2] if len(v) > 2 and v[2] is not None else np.zeros((), np.int32)
    if scale.size > 1:
        if scale.ndim != 1 or node.integer("block_size"):
            raise Cannot("it is quantized in blocks")
        axis = node.integer("axis", 1) % max(x.ndim, 1)
        shape = [-1 if i == axis else 1 for i in range(x.ndim)]
        scale, zero = scale.reshape(shape), zero.reshape(shape) if zero.size > 1 else zero.reshape(())
    else:
        scale, zero = scale.reshape(()), zero.reshape(())
    r.bounded(x.shape, x)
    return [((x.astype(np.int64) - zero.astype(np.int64)) * scale).astype(scale.dtype)]


def _fold_reduce(function: Callable[..., Array]) -> Callable[[_Reader, _Node, list[Any]], list[Any]]:
    def run(r: _Reader, node: _Node, v: list[Any]) -> list[Any]:
        axes = r.whole_numbers(node, v, 1, "axes")
        return [
            np.asarray(function(v[0], axis=tuple(axes) if axes else None, keepdims=bool(node.integer("keepdims", 1))))
        ]

    return run


def _fold_batch_norm(r: _Reader, node: _Node, v: list[Any]) -> list[Any]:
    raise Cannot("it normalizes a constant")


FOLDED: dict[str, Callable[[_Reader, _Node, list[Any]], list[Any]]] = {
    "Constant": _fold_constant, "ConstantOfShape": _fold_filled, "Identity": lambda r, node, v: [v[0]],
    "Dropout": lambda r, node, v: [v[0]], "Expand": _fold_expand, "Reshape": _fold_reshape,
    "Squeeze": _fold_squeeze, "Unsqueeze": _fold_unsqueeze, "Concat": _fold_concat, "Slice": _fold_slice,
    "Gather": _fold_gather, "Range": _fold_range, "Tile": _fold_tile, "Cast": _fold_cast, "CastLike": _fold_cast_like,
    "DequantizeLinear": _fold_dequantize,
    "Transpose": lambda r, node, v: [v[0].transpose(node.integers("perm"))],
    "Flatten": lambda r, node, v: [v[0].reshape(math.prod(v[0].shape[: node.integer("axis", 1)]), -1)],
    "Shape": lambda r, node, v: [np.array(v[0].shape[slice(node.integer("start"), node.integer("end", v[0].ndim))], np.int64)],
    "Size": lambda r, node, v: [np.array(v[0].size, np.int64)],
    "Add": _fold(np.add), "Sub": _fold(np.subtract), "Mul": _fold(np.multiply), "Div": _fold(_divided),
    "Neg": _fold(np.negative), "Sqrt": _fold(np.sqrt), "Reciprocal": _fold(np.reciprocal), "Floor": _fold(np.floor),
    "Ceil": _fold(np.ceil), "Round": _fold(np.round), "Abs": _fold(np.abs), "Exp": _fold(np.exp), "Log": _fold(np.log),
    "Min": _fold(lambda *a: np.minimum.reduce(np.broadcast_arrays(*a))), "Max": _fold(lambda *a: np.maximum.reduce(np.broadcast_arrays(*a))),
    "Mod": _fold(np.mod), "Equal": _fold(np.equal), "Greater": _fold(np.greater), "Less": _fold(np.less),
    "Not": _fold(np.logical_not), "And": _fold(np.logical_and), "Or": _fold(np.logical_or), "Where": _fold(np.where),
    "Pow": _fold(np.power), "Clip": _fold(lambda x, low=-np.inf, high=np.inf: np.clip(x, low, high)),
    "ReduceProd": _fold_reduce(np.prod), "ReduceSum": _fold_reduce(np.sum), "ReduceMin": _fold_reduce(np.min),
    "ReduceMax": _fold_reduce(np.max), "ReduceMean": _fold_reduce(np.mean),
}  # fmt: skip

__all__ = ["Clip", "load_onnx"]
