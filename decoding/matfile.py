"""MATLAB's files as trees of plain values, read strictly: no byte of a file is trusted before it is checked.

A file may come from a stranger. Every size that it claims is compared with the bytes that are there before memory is taken
for it; all decompressed bytes count against one bound; nothing is executed; and no other file is opened. Structs and cells
read their elements only when these are asked for, so that what is not needed costs nothing. MAT v5 is read here; v7.3, which
is HDF5, through h5py.
"""

from __future__ import annotations

import io
import itertools
import math
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Any, NamedTuple

import numpy as np

from .arguments import crossed, printable
from .errors import WeightsFormatError
from .files import File, is_open, reading

# What is read may take MOST_GROWTH times the size of the file, or ALWAYS_ALLOWED bytes. Weights hardly compress, unless constant.
MOST_GROWTH = 16
ALWAYS_ALLOWED = 2**25
MOST_PARTS = 50_000  # the most elements of one struct or cell
CHUNK = 2**18
PREFIX = 2**12  # the class, size and name of a variable must be in so many first bytes

HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"

MATRIX, COMPRESSED = 14, 15
STORAGE = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
TEXT = {1: "latin-1", 2: "latin-1", 3: "utf-16", 4: "utf-16", 16: "utf-8", 17: "utf-16", 18: "utf-32"}
NUMERIC = {
    6: "float64", 7: "float32", 8: "int8", 9: "uint8", 10: "int16", 11: "uint16", 12: "int32", 13: "uint32",
    14: "int64", 15: "uint64",
}  # fmt: skip
MOST_AXES = 32
CELL, STRUCT, OBJECT, CHAR, SPARSE, FUNCTION, OPAQUE = 1, 2, 3, 4, 5, 16, 17
WORDS = {CELL: "cell", STRUCT: "struct", CHAR: "char", SPARSE: "sparse", FUNCTION: "function handle"}

CLASSES = {"double": "float64", "single": "float32", "logical": "uint8", "char": "char"}  # others are named as in NumPy
DEFLATE, SHUFFLE, CHECKSUM = 1, 2, 3  # HDF5's filters
IN_USE = ("already open", "lock", "access flags")  # words of HDF5 for a file that is open elsewhere


class Damaged(WeightsFormatError):
    """Bytes that contradict one another. The public functions add the name of the file to the message."""


class Cell(NamedTuple):
    """A cell array; `load(i)` reads its i-th element, counted column by column."""

    shape: tuple[int, ...]
    load: Callable[[int], Any]

    def __iter__(self) -> Iterator[Any]:
        return (self.load(i) for i in range(math.prod(self.shape)))


class Struct(NamedTuple):
    """An array of structs; `load(i, name)` reads a field of the i-th struct."""

    shape: tuple[int, ...]
    names: tuple[str, ...]
    load: Callable[[int, str], Any]


class Other(NamedTuple):
    """A value that this package has no use for; `what` says what it is."""

    what: str


COST_OF_AN_ITEM = 500  # reading any item of an HDF5 file counts as at least so many bytes


class Budget:
    """How many more bytes of memory reading a file may take."""

    def __init__(self, size: int) -> None:
        self.most = self.left = max(ALWAYS_ALLOWED, MOST_GROWTH * size)

    def take(self, count: int) -> None:
        self.left -= count
        if self.left < 0:
            raise Damaged(f"it unpacks to more than {self.most} bytes, as no network does, and is not read further.")


class Variable(NamedTuple):
    """A variable of a file; `what` says its class and size, `load` reads it."""

    name: str
    what: str
    load: Callable[[], Any]


@contextmanager
def open_mat(path: File) -> Iterator[list[Variable]]:
    """The variables of a MAT file, given by path or already open. Each can be read as long as the file is open.

    Raises
    ------
    WeightsFormatError
        If it is no MAT file, or is damaged.
    """
    with reading(path, "load_matconvnet: path") as file:
        size = file.seek(0, io.SEEK_END)
        file.seek(0)
        header = file.read(128)
        if header.startswith(HDF5_SIGNATURE) or header[124:128] in (b"\x00\x02IM", b"\x02\x00MI"):
            with _open_hdf5(path, size) as variables:
                yield variables
        else:
            yield list(_V5(file, _byte_order(header, size), size).variables())


def _byte_order(header: bytes, size: int) -> str:
    """``<`` or ``>``, from a MAT v5 header."""
    if len(header) == 128 and header[124:128] == b"\x00\x01IM":
        return "<"
    if len(header) == 128 and header[124:128] == b"\x01\x00MI":
        return ">"
    if header.startswith(b"MATLAB 5"):
        raise Damaged(f"its MATLAB v5 header is cut short or damaged ({size} bytes in all).")
    if not size:
        raise Damaged("the file is empty.")
    raise Damaged(f"not a MATLAB file of version 5 or 7.3: it begins with {header[:16]!r}.")


class _V5:
    """MAT v5: a sequence of variables, each an array or a compressed array. An array may hold other arrays."""

    def __init__(self, file: IO[bytes], order: str, size: int) -> None:
        self.file, self.order, self.size, self.budget = file, order, size, Budget(size)

    def variables(self) -> Iterator[Variable]:
        position = 128
        while position < self.size:
            self.file.seek(position)
            tag = self.file.read(8)
            if len(tag) < 8:
                raise Damaged(f"it is cut short: {len(tag)} bytes are left at {position}.")
            kind, length = struct.unpack(self.order + "II", tag)
            position += 8
            if kind not in (MATRIX, COMPRESSED):
                raise Damaged(f"it is damaged at byte {position - 8}, where a variable should begin.")
            if length > self.size - position:
                raise Damaged(
                    f"it is cut short: a variable of {length} bytes begins at byte {position}, but the file ends at {self.size}."
                )
            yield self.variable(position, length, kind == COMPRESSED)
            position += length

    def variable(self, position: int, length: int, compressed: bool) -> Variable:
        def content(limit: int) -> memoryview:
            self.file.seek(position)
            return memoryview(self.inflate(length, limit) if compressed else self.file.read(min(length, limit)))

        def load() -> Any:
            data = content(2**63)
            if not compressed:
                return self.array(data)
            kind, begin, end, after = self.tag(data, 0)
            if kind != MATRIX or after != len(data):
                raise Damaged(f"the compressed variable at byte {position} does not hold one array.")
            return self.array(data[begin:end])

        beginning = content(PREFIX)
        name, what = self.name(beginning[8:] if compressed else beginning)
        return Variable(name, what, load)

    def inflate(self, length: int, limit: int) -> bytes:
        """The decompressed content of the next `length` bytes, or its first `limit` bytes."""
        inflater, out, data = zlib.decompressobj(), io.BytesIO(), b""
        try:
            while not inflater.eof and out.tell() < limit:
                if not data:
                    data = self.file.read(min(length, CHUNK))
                    length -= len(data)
                    if not data:
                        raise Damaged("a compressed variable is cut short.")
                piece = inflater.decompress(data, min(CHUNK, limit))
                self.budget.take(len(piece) if limit > PREFIX else 0)
                out.write(piece)
                data = inflater.unconsumed_tail
        except zlib.error as error:
            raise Damaged(f"a compressed variable is damaged: {error}.") from None
        return out.getvalue()

    def tag(self, data: memoryview, at: int) -> tuple[int, int, int, int]:
        """The type of the element at `at`, where its content begins and ends, and where the next element begins."""
        if len(data) - at < 8:
            raise Damaged("an array is cut short.")
        kind, length = struct.unpack_from(self.order + "II", data, at)
        begin, after = at + 8, at + 8 + length + (0 if kind in (MATRIX, COMPRESSED) else -length % 8)
        if kind >> 16:  # the small format: type and length share four bytes, and the content is in the next four
            kind, length = kind & 0xFFFF, kind >> 16
            begin, after = at + 4, at + 8
            if length > 4:
                raise Damaged(f"a small element claims {length} bytes, and 4 are the most.")
        if begin + length > len(data):
            raise Damaged(f"an element claims {length} bytes, but only {len(data) - begin} are left.")
        return kind, begin, begin + length, min(after, len(data))

    def integers(self, data: memoryview, at: int, what: str) -> tuple[list[int], int]:
        kind, begin, end, after = self.tag(data, at)
        if kind not in (5, 6) or (end - begin) % 4 or end == begin:
            raise Damaged(f"the {what} of an array are not whole numbers of four bytes.")
        if end - begin > 4 * MOST_AXES:
            raise Damaged(f"an array has {(end - begin) // 4} {what}.")
        return np.frombuffer(data[begin:end], self.order + STORAGE[kind]).tolist(), after

    def word(self, data: memoryview, at: int) -> tuple[str, int]:
        kind, begin, end, after = self.tag(data, at)
        if kind not in (1, 2, 16):
            raise Damaged(f"an element of type {kind} where a name should be.")
        return _word(data[begin:end]), after

    def head(self, data: memoryview) -> tuple[int, bool, tuple[int, ...], str, int]:
        """The class of an array, whether it is complex, its shape, its name, and where its content begins."""
        flags, at = self.integers(data, 0, "flags")
        if len(flags) != 2:
            raise Damaged("the flags of an array are not two numbers.")
        kind, shape = flags[0] & 0xFF, list[int]()
        if kind != OPAQUE:
            shape, at = self.integers(data, at, "sizes")
            if len(shape) < 2 or min(shape) < 0:
                raise Damaged(f"an array has the sizes {shape}.")
        name, at = self.word(data, at)
        return kind, bool(flags[0] & 0x800), tuple(shape), name, at

    def name(self, data: memoryview) -> tuple[str, str]:
        """The name of an array, and its class and size in words."""
        kind, _, shape, name, at = self.head(data)
        if kind == OPAQUE:
            _, at = self.word(data, at)
        if kind in (OPAQUE, OBJECT):
            return name, f"object of class {printable(self.word(data, at)[0])}"
        return name, f"{WORDS.get(kind) or NUMERIC.get(kind) or f'class {kind}'} {crossed(shape)}"

    def array(self, data: memoryview) -> Any:
        """The value of an array: ndarray, str, `Cell`, `Struct` or `Other`."""
        if not len(data):
            return np.zeros((0, 0))
        kind, complex_, shape, _, at = self.head(data)
        if kind in NUMERIC and not complex_:
            return self.numbers(data, at, shape, NUMERIC[kind])
        if kind == CHAR:
            return self.text(data, at, shape)
        if kind == CELL:
            parts = self.parts(data, at, math.prod(shape))
            return Cell(shape, lambda i: self.array(parts[i]))
        if kind == STRUCT:
            return self.struct(data, at, shape)
        return Other("complex numbers" if complex_ else self.name(data)[1])

    def numbers(self, data: memoryview, at: int, shape: tuple[int, ...], dtype: str) -> Any:
        kind, begin, end, _ = self.tag(data, at)
        if kind not in STORAGE:
            raise Damaged(f"an array of numbers is stored as type {kind}.")
        stored = np.dtype(self.order + STORAGE[kind])
        if math.prod(shape) * stored.itemsize != end - begin:
            raise Damaged(
                f"an array claims {crossed(shape)} numbers of {stored.itemsize} bytes each, but holds {end - begin} bytes."
            )
        if begin == end:
            return np.zeros((0, 0), dtype)  # an empty array may claim any other sizes
        values = np.frombuffer(data, stored, math.prod(shape), begin).reshape(shape, order="F")
        if stored == dtype:
            return values
        self.budget.take(values.size * np.dtype(dtype).itemsize)
        with np.errstate(all="ignore"):
            return values.astype(dtype)

    def text(self, data: memoryview, at: int, shape: tuple[int, ...]) -> Any:
        """The text as a str; an `Other` if it has several rows."""
        if math.prod(shape) == 0:
            return ""
        kind, begin, end, _ = self.tag(data, at)
        if kind not in TEXT:
            raise Damaged(f"text is stored as type {kind}.")
        if len(shape) != 2 or shape[0] != 1:
            return Other(f"char {crossed(shape)}")
        encoding = TEXT[kind] + ("" if kind in (1, 2, 16) else "-le" if self.order == "<" else "-be")
        text = bytes(data[begin:end]).decode(encoding, "backslashreplace")
        units = len(text.encode("utf-16-le", "surrogatepass")) // 2
        if shape[1] not in (len(text), units, end - begin):
            raise Damaged(f"a text claims {shape[1]} characters, but holds {len(text)}.")
        return text

    def parts(self, data: memoryview, at: int, count: int) -> list[memoryview]:
        """The contents of the next `count` arrays."""
        _check_parts(count)
        parts = []
        for _ in range(count):
            kind, begin, end, at = self.tag(data, at)
            if kind != MATRIX:
                raise Damaged(f"an element of type {kind} in a struct or cell.")
            parts.append(data[begin:end])
        return parts

    def struct(self, data: memoryview, at: int, shape: tuple[int, ...]) -> Struct:
        longest, at = self.integers(data, at, "lengths of field names")
        kind, begin, end, at = self.tag(data, at)
        width = longest[0]
        if len(longest) != 1 or width < 1 or kind not in (1, 2) or (end - begin) % width:
            raise Damaged("the field names of a struct are damaged.")
        _check_parts((end - begin) // width)
        names = tuple(_word(data[i : i + width]) for i in range(begin, end, width))
        if len(set(names)) < len(names):
            raise Damaged("a struct has two fields of one name.")
        parts = self.parts(data, at, math.prod(shape) * len(names))
        places = {name: i for i, name in enumerate(names)}
        return Struct(shape, names, lambda i, name: self.array(parts[i * len(names) + places[name]]))


@contextmanager
def _open_hdf5(path: File, size: int) -> Iterator[list[Variable]]:
    """The variables of a MAT v7.3 file."""
    try:
        import h5py
    except ImportError:
        raise Damaged(
            "a MATLAB v7.3 file (HDF5) needs h5py to be read: pip install 'filter-decoding[hdf5]'. "
            "Or save it again in MATLAB with save(…, '-v7')."
        ) from None
    with _from_hdf5():
        file = _opened(h5py.File, path)
    with file:
        yield _Hdf5(file, size).variables()


def _opened(open_: Callable[..., Any], path: File) -> Any:
    """Open the file without a lock, or with the lock that it has if this process has it open already, as HDF5 demands."""
    if is_open(path):
        return open_(path, "r")
    for locking in (False, None, True):
        try:
            return open_(path, "r", locking=locking)
        except OSError as error:
            if not any(words in str(error) for words in IN_USE):
                raise
    raise WeightsFormatError(
        "it is open elsewhere, for writing or with locks of its own, and cannot be read at the same time. Close it there first."
    )


@contextmanager
def _from_hdf5() -> Iterator[None]:
    """Turn whatever h5py and the HDF5 library raise for damaged bytes into one error."""
    try:
        yield
    except WeightsFormatError:
        raise
    except Exception as error:
        raise Damaged(f"HDF5 cannot read it: {printable(str(error), 200)}.") from None


class _Hdf5:
    """MAT v7.3: every array is a data set with its axes reversed, or a group of fields; elements of cells are references."""

    def __init__(self, file: Any, size: int) -> None:
        self.file, self.size, self.budget = file, size, Budget(size)

    def variables(self) -> list[Variable]:
        with _from_hdf5():
            found = {name: self.child(self.file, name) for name in self.names(self.file) if name[:1] != "#"}
            return [Variable(name, self.what(item), self.loader(item)) for name, item in found.items()]

    def names(self, group: Any) -> tuple[str, ...]:
        _check_parts(10 * len(group))
        return tuple(group)

    def child(self, group: Any, name: str) -> Any:
        """The item of that name in the group itself; links to other files or places are refused."""
        import h5py

        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            raise Damaged(f"'{printable(name)}' is a link to somewhere else, which is not followed.")
        return group[name]

    def attribute(self, item: Any, name: str) -> str:
        """An attribute, which must be a short text or a number, as text."""
        import h5py

        if name not in item.attrs:
            return ""
        attribute = item.attrs.get_id(name)
        is_text = h5py.check_string_dtype(attribute.dtype) is not None
        if attribute.shape != () or attribute.dtype.itemsize > 100 or not (is_text or attribute.dtype.kind in "iu"):
            raise Damaged(f"the attribute {name} is damaged.")
        value = item.attrs[name]
        return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)

    def what(self, item: Any) -> str:
        kind = self.attribute(item, "MATLAB_class")
        if kind and kind not in (*NUMERIC.values(), *CLASSES, "cell", "struct"):
            return f"object of class {printable(kind)}"
        shape = item.shape[::-1] if hasattr(item, "shape") and item.shape is not None else (1, 1)
        return f"{CLASSES.get(kind, kind) or 'array'} {crossed(shape)}"

    def loader(self, item: Any) -> Callable[[], Any]:
        def load() -> Any:
            with _from_hdf5():
                return self.value(item)

        return load

    def value(self, item: Any) -> Any:
        import h5py

        self.budget.take(COST_OF_AN_ITEM)  # any number of references can lead to one item
        kind = self.attribute(item, "MATLAB_class")
        if isinstance(item, h5py.Group):
            return self.struct(item) if kind in ("struct", "") else Other(self.what(item))
        if not isinstance(item, h5py.Dataset) or item.shape is None:
            return Other(self.what(item))
        if self.attribute(item, "MATLAB_empty") not in ("", "0"):
            return "" if kind == "char" else np.zeros((0, 0))
        if item.dtype == h5py.ref_dtype:
            return self.cell(item) if kind == "cell" else Other(self.what(item))
        if item.dtype.kind not in "buif" or kind not in (*CLASSES, *NUMERIC.values()):
            return Other(self.what(item))
        values = self.read(item).T
        if kind == "char":
            if values.ndim != 2 or values.shape[0] != 1 or values.dtype != np.uint16:
                return Other(self.what(item))
            return values.astype("<u2").tobytes().decode("utf-16-le", "backslashreplace")
        return values.astype(CLASSES.get(kind, kind), copy=False)

    def read(self, item: Any) -> Any:
        """All of a data set, if it lies in this file and is no larger than the bytes that are there."""
        if item.is_virtual or item.external:
            raise Damaged("a data set lies in another file, which is not opened.")
        if len(item.shape) > MOST_AXES or item.id.get_storage_size() > self.size:
            raise Damaged(f"an array claims {crossed(item.shape[:MOST_AXES])} numbers in {self.size} bytes.")
        self.budget.take(item.size * item.dtype.itemsize)
        return self.unpacked(item) if item.chunks else item[()]

    def unpacked(self, item: Any) -> Any:
        """All of a data set that is stored in chunks. The library would unpack a chunk to any size; here the size is bounded."""
        pipeline = item.id.get_create_plist()
        filters = [pipeline.get_filter(i)[0] for i in range(pipeline.get_nfilters())]
        corners = [range(0, side, step) for side, step in zip(item.shape, item.chunks, strict=True)]
        _check_parts(math.prod(map(len, corners)))
        length = math.prod(item.chunks) * item.dtype.itemsize
        out = np.empty(item.shape, item.dtype)
        for corner in itertools.product(*corners):
            self.budget.take(length)
            skipped, chunk = item.id.read_direct_chunk(corner)
            for i, filter_ in reversed(list(enumerate(filters))):
                if not skipped >> i & 1:
                    chunk = _undone(filter_, chunk, length, item.dtype.itemsize)
            cells = np.frombuffer(chunk, item.dtype).reshape(item.chunks)
            place = tuple(slice(at, at + step) for at, step in zip(corner, item.chunks, strict=True))
            target = out[place]
            target[...] = cells[tuple(map(slice, target.shape))]
        return out

    def cell(self, item: Any) -> Cell:
        return Cell(item.shape[::-1], self.targets(item))

    def targets(self, item: Any) -> Callable[[int], Any]:
        """A function that reads the i-th of the arrays that a data set refers to."""
        _check_parts(item.size)
        references = self.read(item).ravel()  # rows of the file are columns in MATLAB

        def load(i: int) -> Any:
            with _from_hdf5():
                return self.value(self.file[references[i]])

        return load

    def struct(self, group: Any) -> Struct:
        """A struct, or an array of structs. In an array, fields are data sets of references without a class."""
        import h5py

        names = self.names(group)
        fields = {name: self.child(group, name) for name in names}
        arrays = {
            name: field
            for name, field in fields.items()
            if isinstance(field, h5py.Dataset)
            and field.dtype == h5py.ref_dtype
            and not self.attribute(field, "MATLAB_class")
        }
        if not arrays:
            loaders = {name: self.loader(field) for name, field in fields.items()}
            return Struct((1, 1), names, lambda i, name: loaders[name]())
        shapes = {field.shape for field in arrays.values()}
        if len(arrays) < len(fields) or len(shapes) != 1:
            raise Damaged("the fields of a struct array differ in size.")
        targets = {name: self.targets(field) for name, field in arrays.items()}
        return Struct(shapes.pop()[::-1], names, lambda i, name: targets[name](i))


def _undone(filter_: int, data: bytes, length: int, itemsize: int) -> bytes:
    """Undo one of HDF5's filters on a chunk; `length` is how many bytes the chunk must have in the end."""
    if filter_ == DEFLATE:
        return zlib.decompressobj().decompress(data, length + 4)  # a longer chunk is refused anyway
    if filter_ == SHUFFLE:
        return bytes(np.frombuffer(data, np.uint8).reshape(itemsize, -1).T.tobytes())
    if filter_ == CHECKSUM:
        return data[:-4]
    raise Damaged("a data set is compressed in a way that MATLAB does not use.")


def _word(data: memoryview) -> str:
    """A name, which ends at its first zero."""
    return bytes(data).split(b"\0")[0].decode("utf-8", "backslashreplace")


def _check_parts(count: int) -> None:
    if count > MOST_PARTS:
        raise Damaged(f"a struct or cell claims {count} elements, and {MOST_PARTS} are the most that is read.")
