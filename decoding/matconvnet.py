"""MatConvNet's networks, read from MATLAB files and written to them.

The only room that knows MATLAB's axis order: filters h×w×C×K, images H×W×C. What the bytes of a file mean is in
`matfile`; here is what the variables mean.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from .arguments import Array
from .errors import DecodingError, InvalidValueError, WeightsFormatError
from .files import replacing
from .layers import AvgPool, Conv, Dropout, Layer, MaxPool, ReLU, Softmax
from .matfile import Cell, Other, Struct, open_mat
from .network import Network

LARGEST = 4096  # stride, pad, pool or dilation
LARGEST_IMAGE = 2**16  # rows or columns


def load_matconvnet(path: str | os.PathLike[str], *, dtype: npt.DTypeLike | None = None) -> Network:
    """Read a network that MatConvNet saved.

    Parameters
    ----------
    path : path
        A ``.mat`` file with a SimpleNN network: a struct ``net``, or its ``layers`` at the top, or one level deeper.
    dtype : float32 or float64, optional
        The precision to keep the weights in; that of the file unless given.

    Returns
    -------
    Network
        Its filters are (K, C / groups, h, w), from MATLAB's h×w×C×K; its mean (C, H, W), from H×W×C.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    WeightsFormatError
        If the file is damaged, or holds no such network; it says what the file holds.

    See Also
    --------
    save_matconvnet : The way back.

    Notes
    -----
    Paper: section 4, whose network was trained with MatConvNet. Nothing in the file is executed, and no other file is
    opened.
    """
    if dtype is not None and np.dtype(dtype).kind != "f":
        raise InvalidValueError(f"load_matconvnet: dtype must be a floating-point type, not {dtype!r}.")
    try:
        with open_mat(path) as variables:
            return _Reader(None if dtype is None else np.dtype(dtype)).network(_find(variables))
    except DecodingError as error:
        raise WeightsFormatError(f"{path}: {error}") from error


def save_matconvnet(net: Network, path: str | os.PathLike[str]) -> None:
    """Write a network as MatConvNet's SimpleNN, a compressed MAT v5 file.

    Parameters
    ----------
    net : Network
    path : path
        Replaced only once the new file is whole.

    Raises
    ------
    InvalidValueError
        If the weights have a precision that MATLAB does not know.
    OSError
        If the file cannot be written; what stood there is untouched.

    See Also
    --------
    load_matconvnet : Reads it back, bit for bit.
    """
    import scipy.io

    with replacing(path) as file:
        scipy.io.savemat(file, {"net": _as_struct(net)}, do_compression=True)


class _Record:
    """One struct, its fields by name; `where` is how MATLAB would write its place."""

    def __init__(self, struct: Struct, where: str, index: int = 0) -> None:
        self.struct, self.where, self.index = struct, where, index

    def __contains__(self, name: str) -> bool:
        return name in self.struct.names

    def get(self, name: str) -> Any:
        """The field, or None where it is missing or empty."""
        if name not in self:
            return None
        value = self.struct.load(self.index, name)
        return None if isinstance(value, (np.ndarray, Cell, Struct)) and 0 in value.shape else value

    def record(self, name: str) -> _Record | None:
        """The field, if it is one struct."""
        value = self.get(name)
        return _Record(value, self.place(name)) if isinstance(value, Struct) and _count(value) == 1 else None

    def place(self, name: str) -> str:
        return f"{self.where}.{name}" if self.where else name

    def text(self, name: str, default: str | None = None) -> str | None:
        value = self.get(name)
        if value is None:
            return default
        if not isinstance(value, str):
            raise WeightsFormatError(f"{self.place(name)} should be text, and is {_what(value)}.")
        return value

    def numbers(self, name: str) -> Array | None:
        value = self.get(name)
        if value is not None and not isinstance(value, np.ndarray):
            raise WeightsFormatError(f"{self.place(name)} should be numbers, and is {_what(value)}.")
        return value

    def integers(self, name: str, counts: tuple[int, ...], default: int = 1, most: int = LARGEST) -> list[int]:
        """Whole numbers, 0 to `most`, as many as one of `counts`."""
        value = self.numbers(name)
        if value is None:
            return [default]
        if value.size not in counts or value.size != max(value.shape):
            several = " or ".join(map(str, counts))
            raise WeightsFormatError(f"{self.place(name)} should be {several} numbers, and is {_what(value)}.")
        numbers = value.ravel(order="F").tolist()
        if not all(0 <= number <= most and number == int(number) for number in numbers):
            raise WeightsFormatError(f"{self.place(name)} should be whole numbers from 0 to {most}, not {numbers}.")
        return [int(number) for number in numbers]

    def pair(self, name: str, default: int = 1) -> tuple[int, int]:
        """(rows, columns), from one number or two."""
        numbers = self.integers(name, (1, 2), default)
        return numbers[0], numbers[-1]

    def pads(self) -> tuple[int, int, int, int]:
        """(top, bottom, left, right), from one number, two (rows and columns) or four."""
        numbers = self.integers("pad", (1, 2, 4), 0)
        top, bottom, left, right = numbers if len(numbers) == 4 else (*numbers[:1] * 2, *numbers[-1:] * 2)
        return top, bottom, left, right


def _find(variables: list[Any]) -> _Record:
    """The struct that holds the layers."""
    readable = {each.name: each for each in variables if each.name}
    top = Struct((1, 1), tuple(readable), lambda i, name: readable[name].load())
    found = [_Record(top, "")] if readable.get("layers") else []
    for name, variable in readable.items():
        if variable.what.startswith("struct"):
            found += _networks(variable.load(), name)
    named = [each for each in found if each.where == "net"] or found
    if len(named) == 1:
        return named[0]
    holds = ", ".join(f"{each.name} ({each.what})" for each in readable.values()) or "nothing"
    if named:
        raise WeightsFormatError(
            f"there are {len(named)} networks in it: {', '.join(each.place('layers') for each in named)}. Keep one."
        )
    raise WeightsFormatError(f"no MatConvNet network in it: no `net` and no `layers`. It holds {holds}.")


def _networks(struct: Any, where: str, deeper: bool = True) -> Iterator[_Record]:
    if not isinstance(struct, Struct) or _count(struct) != 1:
        return
    if "layers" in struct.names:
        yield _Record(struct, where)
    elif deeper:
        for name in struct.names:
            yield from _networks(struct.load(0, name), f"{where}.{name}", deeper=False)


class _Reader:
    def __init__(self, dtype: np.dtype[Any] | None) -> None:
        self.dtype = dtype

    def network(self, root: _Record) -> Network:
        meta = root.record("meta") or root
        cells = root.get("layers")
        if not isinstance(cells, Cell):
            raise WeightsFormatError(
                f"{root.place('layers')} is {_what(cells)}, not a cell of layers as SimpleNN has it; other kinds cannot be read."
            )
        records = []
        for number, layer in enumerate(cells, 1):
            where = f"{root.place('layers')}{{{number}}}"
            if not isinstance(layer, Struct) or _count(layer) != 1:
                raise WeightsFormatError(f"{where} should be a layer, and is {_what(layer)}.")
            records.append(_Record(layer, where))
        size = self.input_size(meta)
        mean = self.mean(root, meta)
        channels = size[0] if size else mean.shape[0] if mean is not None and mean.shape[0] > 1 else None
        layers: list[Layer] = []
        for record in records:
            layer = self.layer(record, channels)
            layers.append(layer)
            channels = layer.channels(None if isinstance(layer, Conv) else channels)
        if mean is not None and mean.shape[0] == 1:  # MATLAB would subtract it from every channel
            mean = np.repeat(mean, Network(layers, input_shape=size).channels(0), axis=0)
        return Network(layers, mean=mean, classes=self.classes(meta), input_shape=size)

    def layer(self, record: _Record, channels: int | None) -> Layer:
        kind, name = record.text("type"), record.text("name") or None
        if kind == "conv":
            return self.conv(record, name, channels)
        if kind == "pool":
            method = record.text("method", "max")
            if method not in ("max", "avg"):
                raise WeightsFormatError(f"{record.place('method')} is {method!r}; max and avg are known.")
            pool = MaxPool if method == "max" else AvgPool
            return pool(record.pair("pool"), record.pair("stride"), pad=record.pads(), name=name)
        if kind == "relu":
            return ReLU(leak=self.number(record, "leak", 0.0), name=name)
        if kind in ("softmax", "softmaxloss"):
            return Softmax(name=name)
        if kind == "dropout":
            return Dropout(name=name)
        raise WeightsFormatError(f"{record.where} is a layer of type {kind!r}, which is not supported.")

    def conv(self, record: _Record, name: str | None, channels: int | None) -> Layer:
        filters, biases = self.weights(record)
        if filters.ndim > 4:
            raise WeightsFormatError(f"{record.where}: filters {filters.shape} have more than the axes h×w×C×K.")
        bank = filters.reshape(filters.shape + (1,) * (4 - filters.ndim)).transpose(3, 2, 0, 1)
        return Conv(
            bank,
            self.vector(biases, len(bank), f"{record.where}: biases"),
            stride=record.pair("stride"),
            pad=record.pads(),
            dilation=record.pair("dilate"),
            groups=self.groups(record, bank, channels),
            name=name,
        )

    def groups(self, record: _Record, bank: Array, channels: int | None) -> int:
        """MatConvNet's rule: as many as the channels below are a multiple of those of a filter."""
        if "groups" in record:
            return record.integers("groups", (1,), most=2**31)[0]
        seen = bank.shape[1]
        return 1 if channels is None or channels % seen or len(bank) % (channels // seen) else channels // seen

    def weights(self, record: _Record) -> tuple[Array, Any]:
        cell = record.get("weights")
        if cell is None:
            filters, biases = record.get("filters"), record.get("biases")
        elif isinstance(cell, Cell):
            filters, biases = [*cell, None][:2]
        else:
            raise WeightsFormatError(f"{record.place('weights')} should be a cell, and is {_what(cell)}.")
        if filters is None:
            raise WeightsFormatError(
                f"{record.where} has neither weights nor filters; its fields are {_listed(record.struct.names)}."
            )
        return self.real(filters, f"{record.where}: filters"), biases

    def real(self, value: Any, what: str) -> Array:
        if not isinstance(value, np.ndarray) or not value.size:
            raise WeightsFormatError(f"{what} should be numbers, and are {_what(value)}.")
        dtype = self.dtype or (value.dtype if value.dtype.kind == "f" else np.float64)
        return np.asarray(value, dtype)

    def vector(self, value: Any, count: int, what: str) -> Array | None:
        """`count` numbers, from a row or a column; None where there are none."""
        if value is None or (isinstance(value, np.ndarray) and not value.size):
            return None
        value = self.real(value, what)
        if value.size != count or max(value.shape) != count:
            raise WeightsFormatError(f"{what} {value.shape} for {count} filters.")
        return np.asarray(value.ravel(order="F"))

    def number(self, record: _Record, name: str, default: float) -> float:
        value = record.numbers(name)
        if value is not None and value.size != 1:
            raise WeightsFormatError(f"{record.place(name)} should be one number, and is {_what(value)}.")
        return default if value is None else float(value.ravel()[0])

    def input_size(self, meta: _Record) -> tuple[int, int, int] | None:
        """(C, H, W) from meta.inputSize, [H W C] or [H W C N]; None where it says less."""
        value = meta.numbers("inputSize")
        if value is None or value.size < 3:
            return None
        rows, columns, channels, *_ = meta.integers("inputSize", (3, 4), most=LARGEST_IMAGE)
        return channels, rows, columns

    def mean(self, root: _Record, meta: _Record) -> Array | None:
        """(C, H, W), or (1, …) for a mean without channels."""
        normalization = meta.record("normalization")
        value = normalization.numbers("averageImage") if normalization else root.numbers("imageMean")
        if value is None:
            return None
        if value.ndim > 3:
            raise WeightsFormatError(f"the mean image is {_what(value)}, not H×W×C.")
        image = self.real(value, "the mean image")
        return np.asarray(image.reshape(image.shape + (1,) * (3 - image.ndim)).transpose(2, 0, 1))

    def classes(self, meta: _Record) -> list[str] | None:
        classes = meta.record("classes")
        names = classes.get("name") if classes else None
        if isinstance(names, str):
            return [names]
        names = list(names) if isinstance(names, Cell) else None
        return names if names and all(isinstance(name, str) for name in names) else None


def _as_struct(net: Network) -> dict[str, Any]:
    layers = np.empty((1, len(net.layers)), object)
    layers[0, :] = [_as_layer(layer) for layer in net.layers]
    meta: dict[str, Any] = {}
    if net.input_shape is not None:
        channels, rows, columns = net.input_shape
        meta["inputSize"] = np.array([[rows, columns, channels]], np.float64)
    if net.mean is not None:
        meta["normalization"] = {"averageImage": _known(net.mean.transpose(1, 2, 0))}
    if net.classes is not None:
        names = np.empty((1, len(net.classes)), object)
        names[0, :] = net.classes
        meta["classes"] = {"name": names}
    return {"layers": layers, "meta": meta}


def _as_layer(layer: Layer) -> dict[str, Any]:
    fields: dict[str, Any] = {"type": _type(layer)}
    if layer.name is not None:
        fields["name"] = layer.name
    if isinstance(layer, Conv):
        weights = np.empty((1, 2), object)
        weights[0, :] = [_known(layer.filters.transpose(2, 3, 1, 0)), _known(layer.bias[np.newaxis])]
        fields |= {"weights": weights, "dilate": _row(layer.dilation)}
        if layer.groups > 1:
            fields["groups"] = float(layer.groups)
    if isinstance(layer, MaxPool):
        fields |= {"method": "avg" if isinstance(layer, AvgPool) else "max", "pool": _row(layer.size)}
    if isinstance(layer, (Conv, MaxPool)):
        fields |= {"stride": _row(layer.stride), "pad": _row(layer.pad)}
    if isinstance(layer, ReLU):
        fields["leak"] = layer.leak
    return fields


def _type(layer: Layer) -> str:
    types = {Conv: "conv", MaxPool: "pool", AvgPool: "pool", ReLU: "relu", Softmax: "softmax", Dropout: "dropout"}
    return types[type(layer)]


def _row(numbers: tuple[int, ...]) -> Array:
    return np.array([numbers], np.float64)


def _known(array: Array) -> Array:
    """In a precision that MATLAB knows."""
    if array.dtype.itemsize > 8:
        raise InvalidValueError(f"save_matconvnet: MATLAB does not know {array.dtype}; make it float64.")
    return array.astype(np.promote_types(array.dtype, np.float32))


def _count(value: Cell | Struct) -> int:
    return math.prod(value.shape)


def _listed(names: tuple[str, ...], most: int = 12) -> str:
    shown = [ascii(name)[1:-1] for name in names[:most]]
    return ", ".join(shown) + (f" and {len(names) - most} more" if len(names) > most else "")


def _what(value: Any) -> str:
    """A value in a few words."""
    if value is None:
        return "empty"
    if isinstance(value, str):
        return f"the text {value[:40]!a}"
    if isinstance(value, Other):
        return value.what
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {'×'.join(map(str, value.shape))}"
    return f"{type(value).__name__.lower()} {'×'.join(map(str, value.shape))}"
