"""MAT v5 files as trees of plain values, read strictly: no byte of a file is trusted before it is checked.

A file is a stranger's. Sizes are held against the bytes that are there before anything is made of them, decompression
stops at a bound, nothing is executed and no other file is opened. Structs and cells read their parts when asked for, so
that what nobody asks for costs nothing.
"""

from __future__ import annotations

import io
import math
import os
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from .errors import WeightsFormatError

# A compressed variable may grow to this many times the file, or to this many bytes. Weights hardly shrink; all-NaN ones do.
MOST_COMPRESSED = 32
ALWAYS_ALLOWED = 2**26
MOST_PARTS = 100_000  # of one struct or cell
DEEPEST = 32  # structs and cells in one another
CHUNK = 2**18
PREFIX = 2**12  # of a variable, in which its class, size and name must be

HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"

MATRIX, COMPRESSED = 14, 15
STORAGE = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
TEXT = {1: "utf-8", 2: "utf-8", 3: "utf-16", 4: "utf-16", 16: "utf-8", 17: "utf-16", 18: "utf-32"}
NUMERIC = {
    6: "float64", 7: "float32", 8: "int8", 9: "uint8", 10: "int16", 11: "uint16", 12: "int32", 13: "uint32",
    14: "int64", 15: "uint64",
}  # fmt: skip
CELL, STRUCT, OBJECT, CHAR, SPARSE, FUNCTION, OPAQUE = 1, 2, 3, 4, 5, 16, 17


class Damaged(WeightsFormatError):
    """Bytes that contradict one another; the public functions add the name of the file."""


class Cell(NamedTuple):
    """A cell array; `load(i)` reads its i-th part, column by column."""

    shape: tuple[int, ...]
    load: Callable[[int], Any]

    def __iter__(self) -> Iterator[Any]:
        return (self.load(i) for i in range(math.prod(self.shape)))


class Struct(NamedTuple):
    """An array of structs; `load(i, name)` reads a field of the i-th."""

    shape: tuple[int, ...]
    names: tuple[str, ...]
    load: Callable[[int, str], Any]


class Other(NamedTuple):
    """What this package has no use for: `what` says what it is."""

    what: str


class Variable(NamedTuple):
    """A variable of a file; `what` names its class, `load` reads it."""

    name: str
    what: str
    load: Callable[[], Any]


@contextmanager
def open_mat(path: str | os.PathLike[str]) -> Iterator[list[Variable]]:
    """The variables of a MAT v5 file, each read when asked for.

    Raises
    ------
    WeightsFormatError
        If the file is none, or is damaged.
    """
    with open(path, "rb") as file:
        if not os.path.isfile(path):
            raise WeightsFormatError(f"{path}: not a file.")
        size = os.fstat(file.fileno()).st_size
        order = _check_header(file.read(128), size)
        yield [_variable(file, order, *place) for place in _places(file, order, size)]


def _check_header(header: bytes, size: int) -> str:
    """The byte order of the file, ``<`` or ``>``."""
    if not header:
        raise Damaged("the file is empty.")
    if header.startswith(HDF5_SIGNATURE) or header[124:128] in (b"\x00\x02IM", b"\x02\x00MI"):
        raise Damaged(
            "a MATLAB v7.3 file (HDF5), which cannot be read yet. In MATLAB, save it again with save(…, '-v7')."
        )
    if len(header) == 128 and header[124:128] == b"\x00\x01IM":
        return "<"
    if len(header) == 128 and header[124:128] == b"\x01\x00MI":
        return ">"
    if header.startswith(b"MATLAB 5"):
        raise Damaged(f"its MATLAB v5 header is truncated or damaged ({size} bytes in all).")
    raise Damaged(f"not a MATLAB v5 file: it begins with {header[:16]!r}.")


def _places(file: BinaryIO, order: str, size: int) -> Iterator[tuple[int, int, bool, int]]:
    """Where the variables are: position, length, whether compressed, and the most it may grow to."""
    position = 128
    while position < size:
        file.seek(position)
        tag = file.read(8)
        if len(tag) < 8:
            raise Damaged(f"it is cut short: {len(tag)} bytes are left at {position}.")
        kind, length = struct.unpack(order + "II", tag)
        position += 8
        if kind not in (MATRIX, COMPRESSED):
            raise Damaged(f"damaged at byte {position - 8}: an element of type {kind} where a variable should begin.")
        if length > size - position:
            raise Damaged(f"it is cut short: a variable of {length} bytes at {position}, and the file ends at {size}.")
        yield position, length, kind == COMPRESSED, max(ALWAYS_ALLOWED, MOST_COMPRESSED * size)
        position += length


def _variable(file: BinaryIO, order: str, position: int, length: int, compressed: bool, most: int) -> Variable:
    def content(limit: int | None = None) -> bytes:
        file.seek(position)
        if not compressed:
            return file.read(length if limit is None else min(limit, length))
        return _inflate(file, length, most, limit)

    def whole() -> memoryview:
        data = memoryview(content())
        if not compressed:
            return data
        kind, begin, end, after = _tag(data, 0, order)
        if kind != MATRIX or after != len(data):
            raise Damaged(f"the compressed variable at byte {position} does not hold one array.")
        return data[begin:end]

    beginning = memoryview(content(PREFIX))
    name, what = _name(beginning[8:] if compressed else beginning, order)
    return Variable(name, what, lambda: _array(whole(), order, 0))


def _inflate(file: BinaryIO, length: int, most: int, limit: int | None) -> bytes:
    """The decompressed content of the next `length` bytes, or its first `limit` bytes."""
    inflater, out = zlib.decompressobj(), io.BytesIO()
    left, data = length, b""
    try:
        while not inflater.eof and (limit is None or out.tell() < limit):
            if not data:
                data = file.read(min(left, CHUNK))
                left -= len(data)
                if not data:
                    if limit is not None:
                        break
                    raise Damaged("a compressed variable is cut short.")
            out.write(inflater.decompress(data, CHUNK))
            data = inflater.unconsumed_tail
            if out.tell() > most:
                raise Damaged(
                    f"a compressed variable of {length} bytes grows to more than {most}, as no network does. It is not read on."
                )
    except zlib.error as error:
        raise Damaged(f"a compressed variable is damaged: {error}.") from None
    return out.getvalue()[:limit]


def _tag(data: memoryview, at: int, order: str) -> tuple[int, int, int, int]:
    """Of the element at `at`: its type, where its content begins and ends, and where the next element begins."""
    if len(data) - at < 8:
        raise Damaged("an array is cut short.")
    kind, length = struct.unpack_from(order + "II", data, at)
    begin, after = at + 8, at + 8 + length + (0 if kind in (MATRIX, COMPRESSED) else -length % 8)
    if kind >> 16:  # the small format: type and length share four bytes, and the content is in the next four
        kind, length = kind & 0xFFFF, kind >> 16
        begin, after = at + 4, at + 8
        if length > 4:
            raise Damaged(f"a small element claims {length} bytes.")
    if begin + length > len(data):
        raise Damaged(f"an element claims {length} bytes, and {len(data) - begin} are left.")
    return kind, begin, begin + length, min(after, len(data))


def _integers(data: memoryview, at: int, order: str, what: str) -> tuple[list[int], int]:
    kind, begin, end, after = _tag(data, at, order)
    if kind not in (5, 6) or (end - begin) % 4:
        raise Damaged(f"the {what} of an array are not whole numbers of four bytes.")
    numbers = np.frombuffer(data[begin:end], order + STORAGE[kind]) if end > begin else np.zeros(0, np.int32)
    if len(numbers) > 32:
        raise Damaged(f"an array has {len(numbers)} {what}.")
    return numbers.tolist(), after


def _word(data: memoryview, at: int, order: str) -> tuple[str, int]:
    kind, begin, end, after = _tag(data, at, order)
    if kind not in (1, 2, 16):
        raise Damaged(f"an element of type {kind} where a name should be.")
    return bytes(data[begin:end]).rstrip(b"\0").decode("utf-8", "backslashreplace"), after


def _head(data: memoryview, order: str) -> tuple[int, bool, tuple[int, ...], str, int]:
    """Class, whether complex, shape, name, and where the content begins."""
    flags, at = _integers(data, 0, order, "flags")
    if len(flags) != 2:
        raise Damaged("the flags of an array are not two numbers.")
    kind = flags[0] & 0xFF
    if kind == OPAQUE:
        name, at = _word(data, at, order)
        return kind, False, (), name, at
    shape, at = _integers(data, at, order, "sizes")
    if len(shape) < 2 or min(shape) < 0:
        raise Damaged(f"an array has the sizes {shape}.")
    name, at = _word(data, at, order)
    return kind, bool(flags[0] & 0x800), tuple(shape), name, at


def _name(data: memoryview, order: str) -> tuple[str, str]:
    """The name and the class of a variable, from its first bytes."""
    kind, _, shape, name, at = _head(data, order)
    size = "×".join(map(str, shape))
    if kind == OPAQUE:
        _, at = _word(data, at, order)
        return name, f"object of class {_word(data, at, order)[0]}"
    if kind == OBJECT:
        return name, f"object of class {_word(data, at, order)[0]}"
    words = {CELL: "cell", STRUCT: "struct", CHAR: "char", SPARSE: "sparse", FUNCTION: "function handle"}
    return name, f"{words.get(kind) or NUMERIC.get(kind) or f'class {kind}'} {size}".strip()


def _array(data: memoryview, order: str, depth: int) -> Any:
    """The value of an array: ndarray, str, `Cell`, `Struct` or `Other`."""
    if not len(data):
        return np.zeros((0, 0))
    if depth > DEEPEST:
        raise Damaged(f"structs and cells lie more than {DEEPEST} deep in one another.")
    kind, complex_, shape, _, at = _head(data, order)
    if kind in NUMERIC and not complex_:
        return _numbers(data, at, order, shape, NUMERIC[kind])
    if kind == CHAR:
        return _text(data, at, order, shape)
    if kind == CELL:
        parts = _parts(data, at, order, math.prod(shape))
        return Cell(shape, lambda i: _array(parts[i], order, depth + 1))
    if kind == STRUCT:
        return _struct(data, at, order, shape, depth)
    return Other("complex numbers" if complex_ else _name(data, order)[1])


def _numbers(data: memoryview, at: int, order: str, shape: tuple[int, ...], dtype: str) -> Any:
    kind, begin, end, _ = _tag(data, at, order)
    if kind not in STORAGE:
        raise Damaged(f"an array of numbers is stored as type {kind}.")
    stored = np.dtype(order + STORAGE[kind])
    if math.prod(shape) * stored.itemsize != end - begin:
        raise Damaged(
            f"an array claims {'×'.join(map(str, shape))} numbers of {stored.itemsize} bytes, and holds {end - begin}."
        )
    if begin == end:
        return np.zeros((0, 0), dtype)  # the other sizes may be anything
    values = np.frombuffer(data, stored, math.prod(shape), begin)
    with np.errstate(all="ignore"):
        return values.reshape(shape, order="F").astype(dtype, copy=False)


def _text(data: memoryview, at: int, order: str, shape: tuple[int, ...]) -> Any:
    """A str; an `Other` where there are several rows."""
    if math.prod(shape) == 0:
        return ""
    kind, begin, end, _ = _tag(data, at, order)
    if kind not in TEXT:
        raise Damaged(f"text is stored as type {kind}.")
    if len(shape) != 2 or shape[0] != 1:
        return Other(f"char {'×'.join(map(str, shape))}")
    encoding = TEXT[kind] + ("" if TEXT[kind] == "utf-8" else "-le" if order == "<" else "-be")
    text = bytes(data[begin:end]).decode(encoding, "backslashreplace")
    units = len(text.encode("utf-16-le", "surrogatepass")) // 2
    if shape[1] not in (len(text), units, end - begin):
        raise Damaged(f"text claims {shape[1]} characters, and holds {len(text)}.")
    return text


def _parts(data: memoryview, at: int, order: str, count: int) -> list[memoryview]:
    """The contents of the next `count` arrays."""
    if count > MOST_PARTS or count * 8 > len(data) - at:
        raise Damaged(f"a struct or cell claims {count} parts in {len(data) - at} bytes; {MOST_PARTS} is the most.")
    parts = []
    for _ in range(count):
        kind, begin, end, at = _tag(data, at, order)
        if kind != MATRIX:
            raise Damaged(f"an element of type {kind} in a struct or cell.")
        parts.append(data[begin:end])
    return parts


def _struct(data: memoryview, at: int, order: str, shape: tuple[int, ...], depth: int) -> Struct:
    longest, at = _integers(data, at, order, "lengths of field names")
    if len(longest) != 1 or longest[0] < 1:
        raise Damaged("a struct has no length of its field names.")
    kind, begin, end, at = _tag(data, at, order)
    width = longest[0]
    if kind not in (1, 2) or (end - begin) % width:
        raise Damaged("the field names of a struct are damaged.")
    names = tuple(
        bytes(data[i : i + width]).split(b"\0")[0].decode("utf-8", "backslashreplace") for i in range(begin, end, width)
    )
    if len(set(names)) < len(names):
        raise Damaged("a struct has two fields of one name.")
    parts = _parts(data, at, order, math.prod(shape) * len(names))
    return Struct(shape, names, lambda i, name: _array(parts[i * len(names) + names.index(name)], order, depth + 1))
