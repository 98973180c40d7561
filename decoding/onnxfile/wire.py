"""The bytes of an ONNX file: its messages are counted before they are parsed, and its tensors compared with the bytes that are there."""

from __future__ import annotations

import math
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..arguments import Array, printable
from ..builder import Cannot
from ..errors import WeightsFormatError

MOST_NODES = 2**16  # the most nodes and stored tensors together
MOST_FIELDS = 2**21  # the most fields of all messages in a file
MOST_FILE = 2**31 - 1  # the most bytes of a file, which is protobuf's own limit
MOST_FOLDED = 2**16  # the most numbers in a constant that the file computes
ALWAYS_ALLOWED = 2**26  # constants may take so many bytes whatever the size of the file,
GROWTH = 16  # or so many times the bytes on disk
MOST_WEIGHTS = 2**30  # the most numbers in one array of weights; a few bytes can ask for any number
LARGEST = 2**16  # the largest stride, pad, dilation or window
MOST_AXES = 16
DEEPEST = 100

FLOATS = {1: "<f4", 10: "<f2", 11: "<f8"}
WHOLE = {2: "u1", 3: "i1", 4: "<u2", 5: "<i2", 6: "<i4", 7: "<i8", 9: "?", 12: "<u4", 13: "<u8"}
TYPES = {**FLOATS, **WHOLE}
BFLOAT16 = 16
EXTERNAL = 1  # data_location

# The messages of the format that hold other messages, and for each the numbers of those fields and what is in them.
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


def parsed(onnx: Any, content: bytes) -> Any:
    """Parse the model, after counting its messages."""
    counted = _count(content)
    if counted is None or not counted["graph"] or not counted["node"]:
        raise WeightsFormatError("this is no ONNX file: it holds no graph with nodes.")
    if counted["node"] + counted["tensor"] > MOST_NODES:
        raise WeightsFormatError(
            f"it has {counted['node']} nodes and {counted['tensor']} tensors, and at most {MOST_NODES} together are read."
        )
    from google.protobuf.message import DecodeError

    try:
        model = onnx.ModelProto.FromString(content)
    except (DecodeError, UnicodeDecodeError, ValueError) as error:
        raise WeightsFormatError(f"this is no ONNX file, or damaged: {printable(str(error), 100)}.") from None
    if not model.HasField("graph") or not model.graph.node:
        raise WeightsFormatError("this is no ONNX file: it holds no graph with nodes.")
    if not all(isinstance(text, str) for text in _texts(model)):  # protobuf returns bytes for what is not UTF-8
        raise WeightsFormatError("it is damaged: a name in it is not UTF-8.")
    return model


def _texts(model: Any) -> Iterator[Any]:
    """All names and texts of a model that are used."""
    graph = model.graph
    for node in graph.node:
        yield from (node.name, node.op_type, node.domain, *node.input, *node.output)
        yield from (attribute.name for attribute in node.attribute)
        yield from (text for entry in node.metadata_props for text in (entry.key, entry.value))
    tensors = [*graph.initializer, *(attribute.t for node in graph.node for attribute in node.attribute)]
    yield from (text for tensor in tensors for entry in tensor.external_data for text in (entry.key, entry.value))
    yield from (value.name for value in (*graph.initializer, *graph.input, *graph.output))
    yield from (sparse.values.name for sparse in graph.sparse_initializer)
    yield from (text for function in model.functions for text in (function.domain, function.name))
    yield from (opset.domain for opset in model.opset_import)


def _count(content: bytes) -> dict[str, int] | None:
    """How many messages of each kind the bytes hold; None if they are no messages at all."""
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


class Store:
    """Reads tensors, and adds up how much memory they take."""

    def __init__(self, onnx: Any, folder: Path | None, size: int, dtype: np.dtype[Any] | None) -> None:
        self.onnx, self.folder, self.dtype = onnx, folder, dtype
        self.on_disk, self.read = size, 0
        self.files: dict[str, int] = {}

    def spend(self, count: int, what: str) -> None:
        """Count bytes that are about to be taken; refuse them if they are too many."""
        self.read += count
        allowed = max(ALWAYS_ALLOWED, GROWTH * self.on_disk)
        if self.read > allowed:
            raise WeightsFormatError(
                f"with {what} its constants take more than {allowed} bytes, {GROWTH} times what is on disk."
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
                    f"{what} has the shape {tuple(dims)}, {count * itemsize} bytes, but holds {len(raw)} bytes."
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
            raise WeightsFormatError(
                f"{what} has the shape {tuple(dims)}, {count} numbers, but holds another number of them."
            )
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
        """The array in the precision that was asked for; half precision becomes single."""
        dtype = self.dtype or np.promote_types(array.dtype, np.float32)
        return cast(array, dtype)

    def _external(self, tensor: Any, want: int, what: str) -> None:
        """Read the bytes of a tensor from a second file, if that is a regular file beside the first."""
        entries = {entry.key: entry.value for entry in tensor.external_data}
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
        for entry in list(tensor.external_data):
            if entry.key not in ("location", "offset", "length", "checksum"):
                tensor.external_data.remove(entry)
        try:
            self.onnx.external_data_helper.load_external_data_for_tensor(tensor, os.fspath(self.folder or ""))
        except Exception as error:  # what it raises differs from version to version
            raise WeightsFormatError(f"{what}: '{shown}' cannot be read: {printable(str(error), 200)}.") from None
        if len(tensor.raw_data) != want:
            raise WeightsFormatError(f"{what} takes {want} bytes, and '{shown}' gave {len(tensor.raw_data)}.")
        # The bytes are read now. Without this, onnx 1.21 would look for the file again, in the current folder.
        tensor.ClearField("data_location")
        tensor.ClearField("external_data")

    def _regular(self, location: str, shown: str, what: str) -> int:
        """The size of a second file, which must be a regular file beside the first."""
        if self.folder is None:
            raise WeightsFormatError(
                f"{what} is in a second file, '{shown}', and this file has no folder. Give its path."
            )
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


def cast(array: Array, dtype: npt.DTypeLike) -> Array:
    """The array in another precision; a constant that is kept as one value and a shape stays so."""
    if array.size > 1 and not any(array.strides):
        return np.broadcast_to(array.reshape(-1)[:1].astype(dtype).reshape((1,) * array.ndim), array.shape)
    with np.errstate(over="ignore", invalid="ignore"):
        return array.astype(dtype, copy=False)
