"""MatConvNet's networks, read from MATLAB files and written to them.

The only room that knows MATLAB's axis order: filters h×w×C×K, images H×W×C. What the bytes of a file mean is in
`matfile`; here is what the variables mean.
"""

from __future__ import annotations

import functools
import itertools
import math
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .arguments import Array, check_finite, printable
from .errors import DecodingError, InvalidValueError, ShapeError, WeightsFormatError
from .files import replacing
from .layers import (
    LRN,
    AvgPool,
    BatchNorm,
    Conv,
    Dropout,
    Layer,
    Loss,
    MaxPool,
    Pool,
    ReLU,
    Sigmoid,
    Softmax,
    Unsupported,
)
from .matfile import Cell, Other, Struct, Variable, open_mat, times
from .network import Network

LARGEST = 4096  # stride, pad, pool or dilation
FLAGS = {"cudnn", "nocudnn", "verbose", "noverbose", "cudnnworkspacelimit"}  # of vl_nnconv, vl_nnpool and vl_nnrelu
LARGEST_IMAGE = 2**16  # rows or columns, also of a receptive field
MOST_LAYERS = 4096
MOST_BYTES = 2**31 - 2**24  # of a variable in MAT v5, less what is not weights

PLAIN: dict[str, Callable[..., Layer]] = {
    "softmax": Softmax, "softmaxloss": Softmax, "sigmoid": Sigmoid, "dropout": Dropout,
}  # fmt: skip
REASONS = {
    "convt": "it is a transposed convolution",
    "dagnn.ConvTranspose": "it is a transposed convolution",
    "custom": "what it does is in MATLAB functions of its own",
}
# What at least one layer of a SimpleNN must be.
KNOWN = {
    "conv",
    "convt",
    "pool",
    "relu",
    "bnorm",
    "lrn",
    "normalize",
    "loss",
    "custom",
    "noffset",
    "spnorm",
    "pdist",
    *PLAIN,
}
DEEP_LEARN_TOOLBOX = {"i", "c", "s", "I", "C", "S", "MP", "F", "O"}
TOOLBOX = {"SeriesNetwork", "DAGNetwork", "dlnetwork", "network"}
DAG_TYPES = {
    "dagnn.Conv": "conv", "dagnn.Pooling": "pool", "dagnn.ReLU": "relu", "dagnn.Sigmoid": "sigmoid",
    "dagnn.SoftMax": "softmax", "dagnn.DropOut": "dropout", "dagnn.BatchNorm": "bnorm", "dagnn.LRN": "lrn",
}  # fmt: skip


def load_matconvnet(path: str | os.PathLike[str], *, dtype: npt.DTypeLike | None = None) -> Network:
    """Read a network that MatConvNet saved.

    Parameters
    ----------
    path : path
        A ``.mat`` file, v5 or v7.3, with a SimpleNN or DagNN network: a struct ``net``, its ``layers`` at the top, or
        one level deeper.
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
    InvalidValueError
        If `dtype` is no floating-point type.

    See Also
    --------
    save_matconvnet : The way back.

    Notes
    -----
    Paper: section 4, whose network was trained with MatConvNet. Nothing in the file is executed, and no other file is
    opened.
    """
    try:
        precision = None if dtype is None else np.dtype(dtype)
    except TypeError:
        precision = np.dtype(object)
    if precision is not None and precision.kind != "f":
        raise InvalidValueError(f"load_matconvnet: dtype must be a floating-point type, not {dtype!r}.")
    try:
        with open_mat(path) as variables:
            return _Reader(precision, _holds(variables)).network(_find(variables))
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
        If the weights have a precision that MATLAB does not know, or a name cannot be written.
    OSError
        If the file cannot be written; what stood there is untouched.

    See Also
    --------
    load_matconvnet : Reads it back, bit for bit.
    """
    import scipy.io

    weights = [array for layer in net.layers for array in layer.weights.values()]
    if sum(array.size * max(array.itemsize, 4) for array in weights) > MOST_BYTES:
        raise InvalidValueError(
            f"save_matconvnet: the weights take more than {MOST_BYTES} bytes, which MAT v5 cannot hold."
        )
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
        return None if _empty(value) else value

    def record(self, name: str) -> _Record | None:
        """The field, if it is one struct."""
        value = self.get(name)
        return _Record(value, self.place(name)) if isinstance(value, Struct) and _count(value) == 1 else None

    def place(self, name: str) -> str:
        return f"{self.where}.{printable(name)}" if self.where else printable(name)

    def text(self, name: str, default: str | None = None) -> str | None:
        value = self.get(name)
        if value is None:
            return default
        if not isinstance(value, str):
            raise WeightsFormatError(f"{self.place(name)} should be text, and is {_what(value)}.")
        return value

    def texts(self, name: str) -> list[str]:
        """Texts in a cell, or one text."""
        value = self.get(name)
        texts: list[Any] = [value] if isinstance(value, str) else list(value) if isinstance(value, Cell) else []
        if (value is not None and not texts) or not all(isinstance(text, str) for text in texts):
            raise WeightsFormatError(f"{self.place(name)} should be a cell of texts, and is {_what(value)}.")
        return texts

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


def _find(variables: list[Variable]) -> _Record:
    """The struct that holds the layers."""
    readable = {each.name: each for each in variables if each.name}
    top = Struct((1, 1), tuple(readable), lambda i, name: readable[name].load())
    found: list[_Record] = []
    for name in sorted(readable, key=lambda name: name != "net"):  # the others are not even looked at if it is one
        if readable[name].what.startswith("struct"):
            found += _networks(readable[name].load(), printable(name))
        if found and found[0].where == "net":
            return found[0]
    found += [_Record(top, "")] if "layers" in readable else []
    if len(found) == 1:
        return found[0]
    if found:
        places = _listed(sorted(each.place("layers") for each in found))
        raise WeightsFormatError(f"there are {len(found)} networks in it: {places}. Keep one.")
    raise WeightsFormatError(f"no MatConvNet network in it: {_guess(readable)}. It holds {_holds(variables)}.")


def _holds(variables: list[Variable]) -> str:
    return _listed([f"{each.name} ({each.what})" for each in variables if each.name]) or "nothing"


def _networks(struct: Any, where: str, deeper: bool = True) -> Iterator[_Record]:
    if not isinstance(struct, Struct) or _count(struct) != 1:
        return
    if "layers" in struct.names:
        yield _Record(struct, where)
    elif deeper:
        for name in struct.names:
            yield from _networks(struct.load(0, name), f"{where}.{printable(name)}", deeper=False)


def _guess(variables: dict[str, Variable]) -> str:
    """What a file without a network seems to hold."""
    for each in variables.values():
        kind = each.what.removeprefix("object of class ")
        if kind == each.what:
            continue
        if kind.startswith("dagnn."):
            return f"`{printable(each.name)}` is a MATLAB object; save net.saveobj() instead, which is a struct"
        if kind in TOOLBOX or kind.startswith("nnet."):
            return f"`{printable(each.name)}` is a {kind} of MATLAB's Deep Learning Toolbox, which only MATLAB can open"
        return f"`{printable(each.name)}` is a MATLAB object, which only MATLAB can open"
    for each in variables.values():
        if each.what.startswith("cell"):
            part = next(iter(each.load()), None)
            if isinstance(part, Struct):
                fields = _listed(part.names)
                return f"`{printable(each.name)}` is a cell of structs with the fields {fields}, a layout of its own"
        if each.what.startswith("struct"):
            fields = _listed(each.load().names)
            return f"`{printable(each.name)}` is a struct without layers; its fields are {fields}"
    return "loose arrays do not say what the layers are" if variables else "there are no variables"


class _Reader:
    """Makes a network of the structs of a file; what it cannot use goes to `notes`."""

    def __init__(self, dtype: np.dtype[Any] | None, holds: str) -> None:
        self.dtype, self.holds = dtype, holds
        self.notes: list[str] = []

    def network(self, root: _Record) -> Network:
        meta = root.record("meta") or root
        normalization = meta.record("normalization")
        holder, name = (normalization, "averageImage") if normalization else (root, "imageMean")
        image = self.optional("mean image", lambda: self.image(holder, name))
        size = self.optional("input size", lambda: self.input_size(meta, "inputSize"))
        if size is None and normalization:
            size = self.optional("image size", lambda: self.input_size(normalization, "imageSize"))
        channels = size[0] if size else image.shape[0] if image is not None and image.shape[0] > 1 else None
        layers = self.dag(root, channels) if isinstance(root.get("layers"), Struct) else self.simple(root, channels)
        self.check_field(Network(layers))
        if size is not None and not self.optional(
            f"input size, {times(size)},", lambda: Network(layers, input_shape=size)
        ):
            size = None
        if image is not None:
            image = self.spread(image, Network(layers, input_shape=size))
            if not self.optional("mean image", lambda: Network(layers, mean=image, input_shape=size)):
                image = None
        classes = self.classes(meta)
        return Network(layers, mean=image, classes=classes, input_shape=size, notes=self.remarks(meta))

    def optional(self, what: str, read: Callable[[], Any]) -> Any:
        """What `read` gives; None, and a note, where that part of the file cannot be used."""
        try:
            return read()
        except DecodingError as error:
            self.notes.append(f"The file's {what} does not fit, and is left out: {error}")
            return None

    def simple(self, root: _Record, channels: int | None) -> list[Layer]:
        """SimpleNN: a cell of structs."""
        cells = root.get("layers")
        if not isinstance(cells, Cell) or _count(cells) > MOST_LAYERS:
            raise WeightsFormatError(
                f"{root.place('layers')} is {_what(cells)}, not a cell of at most {MOST_LAYERS} layers."
            )
        records = []
        for number, layer in enumerate(cells, 1):
            where = f"{root.place('layers')}{{{number}}}"
            if not isinstance(layer, Struct) or _count(layer) != 1:
                raise WeightsFormatError(f"{where} should be a layer, and is {_what(layer)}.")
            if "type" not in layer.names:
                raise WeightsFormatError(
                    f"{where} has no type; its fields are {_listed(layer.names)}. It holds {self.holds}."
                )
            records.append(_Record(layer, where))
        types = [record.text("type") or "" for record in records]
        if not KNOWN.intersection(types) and not any("unsupported" in record for record in records):
            kinds = _listed(sorted(set(types)))
            like = ", as DeepLearnToolbox has them" if DEEP_LEARN_TOOLBOX.issuperset(types) else ""
            raise WeightsFormatError(
                f"{root.place('layers')} are not MatConvNet's: their types are {kinds}{like}. It holds {self.holds}."
            )
        layers = []
        for kind, record in zip(types, records, strict=True):
            layer = self.placed(kind, record, record.text("name"), _simple_weights(record), channels)
            channels = layer.channels(None if isinstance(layer, (Conv, BatchNorm)) else channels)
            layers.append(layer)
        return layers

    def dag(self, root: _Record, channels: int | None) -> list[Layer]:
        """DagNN: struct arrays of layers and parameters. The chain from the image, up to where it merges with another."""
        struct, values = root.get("layers"), _parameters(root)
        if _count(struct) > MOST_LAYERS:
            raise WeightsFormatError(f"{root.place('layers')} is {_what(struct)}; {MOST_LAYERS} layers are the most.")
        records = [_Record(struct, f"{root.place('layers')}({i + 1})", i) for i in range(_count(struct))]
        types = [record.text("type") or "" for record in records]
        inputs, outputs = (
            [record.texts("inputs") for record in records],
            [record.texts("outputs") for record in records],
        )
        made = {name for names in outputs for name in names}
        users: dict[str, list[int]] = {}
        for i, names in enumerate(inputs):
            for each in dict.fromkeys(names):
                users.setdefault(each, []).append(i)
        starts = [names[0] for names in inputs if names and not made.intersection(names)]
        if not any(kind.startswith("dagnn.") for kind in types) or not starts:
            raise WeightsFormatError(
                f"{root.place('layers')} are not a graph of MatConvNet's layers that begins with an image. It holds {self.holds}."
            )
        variable, layers, seen = starts[0], list[Layer](), set[int]()
        while True:
            left = [i for i in users.get(variable, []) if i not in seen]
            following = [i for i in left if types[i] != "dagnn.Loss"] or left[:1]
            following.sort(key=lambda i: len(inputs[i]) > 1)  # a branch that goes on before one that ends in a join
            if not following:
                break
            i = following[0]
            seen.add(i)
            kind, name = DAG_TYPES.get(types[i], types[i]), records[i].text("name")
            joins = len(inputs[i]) > 1 and types[i] != "dagnn.Loss"
            if joins or len(outputs[i]) != 1:
                reason = f"it joins {_listed(inputs[i])}" if joins else f"it has {len(outputs[i])} outputs"
                layers.append(Unsupported(types[i], reason=reason, name=name))
                break
            block = records[i].record("block") or _Record(Struct((1, 1), (), lambda i, name: None), records[i].where)
            weights = [values.get(each) or _missing(each) for each in records[i].texts("params")]
            layer = self.placed(kind, block, name, functools.partial(_called, weights), channels)
            channels = layer.channels(None if isinstance(layer, (Conv, BatchNorm)) else channels)
            layers.append(layer)
            variable = outputs[i][0]
        other = [
            records[i].text("name") or types[i]
            for i in range(len(records))
            if i not in seen and types[i] != "dagnn.Loss"
        ]
        if other:
            self.notes.append(f"On other branches of the graph, and left out: {_listed(other)}.")
        return layers

    def placed(self, kind: str, record: _Record, *rest: Any) -> Layer:
        """The layer; an error about it says where it is in the file."""
        try:
            return self.layer(kind, record, *rest)
        except DecodingError as error:
            if record.where in str(error):
                raise
            raise WeightsFormatError(f"{record.where}: {error}") from error

    def layer(
        self, kind: str, record: _Record, name: str | None, weights: Callable[[], list[Any]], channels: int | None
    ) -> Layer:
        name = name or None
        if "unsupported" in record:  # as `save_matconvnet` wrote it
            return Unsupported(kind, reason=self.said(record), name=name)
        options = _options(record)
        leak = options.pop("leak", 0.0) if kind == "relu" else 0.0
        if options and kind in ("conv", "pool", "relu"):
            return Unsupported(kind, reason=f"it has the option {_listed(tuple(options))}", name=name)
        if kind == "conv":
            return self.conv(record, name, weights(), channels)
        if kind == "bnorm":
            return self.batch_norm(record, name, weights())
        if kind == "pool":
            method = record.text("method", "max")
            if method not in ("max", "avg"):
                return Unsupported(kind, reason=f"its method is '{printable(method or '')}', not max or avg", name=name)
            size = "pool" if "pool" in record else "poolSize"
            if record.get(size) is None:
                raise WeightsFormatError(f"{record.where} is a pool without a size.")
            pool = MaxPool if method == "max" else AvgPool
            return pool(record.pair(size), record.pair("stride"), pad=record.pads(), name=name)
        if kind == "relu":
            return ReLU(leak=self.number(record, "leak", leak), name=name)
        if kind in ("lrn", "normalize"):
            return self.lrn(record, name)
        if kind in ("loss", "dagnn.Loss"):
            softmax = kind == "dagnn.Loss" and record.text("loss", "softmaxlog") == "softmaxlog"
            return Softmax(name=name) if softmax else Loss(name=name)
        if kind in PLAIN:
            return PLAIN[kind](name=name)
        return Unsupported(kind, reason=REASONS.get(kind) or self.said(record), name=name)

    def conv(self, record: _Record, name: str | None, weights: list[Any], channels: int | None) -> Layer:
        filters = self.real(weights, 0, f"{record.where}: filters")
        if filters.ndim > 4:
            raise WeightsFormatError(f"{record.where}: filters {filters.shape} have more than the axes h×w×C×K.")
        bank = filters.reshape(filters.shape + (1,) * (4 - filters.ndim)).transpose(3, 2, 0, 1)
        return Conv(
            bank,
            self.vector(weights, 1, len(bank), f"{record.where}: biases"),
            stride=record.pair("stride"),
            pad=record.pads(),
            dilation=record.pair("dilate"),
            groups=self.groups(record, bank, channels),
            name=name,
        )

    def groups(self, record: _Record, bank: Array, channels: int | None) -> int:
        """MatConvNet's rule: as many as the channels below are a multiple of those of a filter."""
        if "groups" in record:
            return record.integers("groups", (1,), most=len(bank))[0]
        seen = bank.shape[1]
        return 1 if channels is None or channels % seen or len(bank) % (channels // seen) else channels // seen

    def batch_norm(self, record: _Record, name: str | None, weights: list[Any]) -> Layer:
        scale = self.real(weights, 0, f"{record.where}: multipliers").ravel(order="F")
        bias = self.vector(weights, 1, len(scale), f"{record.where}: biases")
        if len(weights) < 3 or _empty(weights[2]):
            return BatchNorm(scale, bias, name=name)
        moments = self.real(weights, 2, f"{record.where}: moments")
        if moments.shape != (len(scale), 2):
            raise WeightsFormatError(f"{record.where}: moments {moments.shape} for {len(scale)} channels.")
        if not moments.any():  # what MatConvNet fills in where a file has none
            return BatchNorm(scale, bias, name=name)
        return BatchNorm(scale, bias, mean=moments[:, 0], std=moments[:, 1], name=name)

    def lrn(self, record: _Record, name: str | None) -> Layer:
        param = record.numbers("param")
        if param is None:
            return LRN(name=name)
        if param.size != 4 or not np.isfinite(param).all() or param.ravel()[0] != int(param.ravel()[0]):
            raise WeightsFormatError(f"{record.place('param')} should be [N kappa alpha beta], and is {_what(param)}.")
        depth, kappa, alpha, beta = param.ravel(order="F").tolist()
        return LRN(int(depth), kappa=kappa, alpha=alpha, beta=beta, name=name)

    def real(self, weights: list[Any], index: int, what: str) -> Array:
        value = weights[index] if index < len(weights) else None
        if not isinstance(value, np.ndarray) or not value.size:
            raise WeightsFormatError(f"{what} should be numbers, and are {_what(value)}.")
        dtype = self.dtype or (value.dtype if value.dtype.kind == "f" else np.float64)
        with np.errstate(over="ignore"):  # what overflows is told of, as everything that is not finite
            return np.asarray(value, dtype)

    def vector(self, weights: list[Any], index: int, count: int, what: str) -> Array | None:
        """`count` numbers, from a row or a column; None where there are none."""
        if index >= len(weights) or _empty(weights[index]):
            return None
        value = self.real(weights, index, what)
        if value.size != count or max(value.shape) != count:
            raise WeightsFormatError(f"{what} {value.shape}, and there are {count} filters or channels.")
        return np.asarray(value.ravel(order="F"))

    def said(self, record: _Record) -> str:
        """Why a layer is not supported, where `save_matconvnet` wrote it down."""
        reason = record.get("unsupported")
        return printable(reason, 200) if isinstance(reason, str) else ""

    def number(self, record: _Record, name: str, default: float) -> float:
        value = record.numbers(name)
        if value is not None and value.size != 1:
            raise WeightsFormatError(f"{record.place(name)} should be one number, and is {_what(value)}.")
        return default if value is None else float(value.ravel()[0])

    def input_size(self, record: _Record, name: str) -> tuple[int, int, int] | None:
        """(C, H, W) from [H W C] or [H W C N]; None where the file says less."""
        value = record.numbers(name)
        if value is None or value.size < 3:
            return None
        rows, columns, channels, *_ = record.integers(name, (3, 4), most=LARGEST_IMAGE)
        return channels, rows, columns

    def image(self, record: _Record, name: str) -> Array | None:
        """(C, H, W) from a mean image H×W×C; None where there is none."""
        value = record.numbers(name)
        if value is None:
            return None
        if value.ndim > 3:
            raise WeightsFormatError(f"{record.place(name)} is {_what(value)}, not H×W×C.")
        image = self.real([value], 0, record.place(name))
        check_finite(image, record.place(name))
        return np.asarray(image.reshape(image.shape + (1,) * (3 - image.ndim)).transpose(2, 0, 1))

    def spread(self, image: Array, net: Network) -> Array:
        """A mean for each channel, as MATLAB would subtract it; one number per channel may lie along any axis."""
        try:
            channels = net.channels(0)
        except ShapeError:  # nothing but the mean says how many there are
            return image
        if channels > 1 and image.size == channels == max(image.shape):
            return image.reshape(channels, 1, 1)
        return np.repeat(image, channels, axis=0) if len(image) == 1 else image

    def classes(self, meta: _Record) -> list[str] | None:
        classes = meta.record("classes")
        names = classes.get("name") if classes else None
        if names is None:
            return None
        texts: list[Any] = list(names) if isinstance(names, Cell) else [names]
        if all(isinstance(text, str) for text in texts):
            return texts
        self.notes.append(f"The names of the classes are {_what(names)}, not texts, and left out.")
        return None

    def remarks(self, meta: _Record) -> list[str]:
        """The notes that `save_matconvnet` wrote, and those of this reading."""
        notes = meta.get("notes")
        old = list(notes) if isinstance(notes, Cell) else []
        return [printable(note, 500) for note in old if isinstance(note, str)] + self.notes

    def check_field(self, net: Network) -> None:
        for number in range(1, net.runs + 1):
            if max(net.receptive_field(number).size) > LARGEST_IMAGE:
                raise WeightsFormatError(
                    f"layer {number}, '{printable(net.names[number - 1])}', would see more than {LARGEST_IMAGE} pixels in a row: "
                    "a size, stride or dilation is damaged."
                )


def _simple_weights(record: _Record) -> Callable[[], list[Any]]:
    """Filters and biases, from either style of fields."""

    def weights() -> list[Any]:
        cell = record.get("weights")
        if isinstance(cell, Cell):
            return list(itertools.islice(cell, 3))
        if cell is not None:
            raise WeightsFormatError(f"{record.place('weights')} should be a cell, and is {_what(cell)}.")
        if record.get("filters") is None:
            raise WeightsFormatError(
                f"{record.where} has neither weights nor filters; its fields are {_listed(record.struct.names)}."
            )
        return [record.get("filters"), record.get("biases")]

    return weights


def _parameters(root: _Record) -> dict[str, Callable[[], Any]]:
    """What reads the value of each parameter of a DagNN, by name."""
    struct = root.get("params")
    if struct is None:
        return {}
    if not isinstance(struct, Struct) or not {"name", "value"} <= set(struct.names):
        raise WeightsFormatError(
            f"{root.place('params')} should be structs with name and value, and is {_what(struct)}."
        )
    values: dict[str, Callable[[], Any]] = {}
    for i in range(_count(struct)):
        record = _Record(struct, f"{root.place('params')}({i + 1})", i)
        name = record.text("name") or ""
        if name in values:
            raise WeightsFormatError(f"two parameters are named '{printable(name)}'.")
        values[name] = functools.partial(record.get, "value")
    return values


def _as_struct(net: Network) -> dict[str, Any]:
    meta: dict[str, Any] = {}
    if net.input_shape is not None:
        channels, rows, columns = net.input_shape
        meta["inputSize"] = np.array([[rows, columns, channels]], np.float64)
    if net.mean is not None:
        meta["normalization"] = {"averageImage": _known(net.mean.transpose(1, 2, 0))}
    if net.classes is not None:
        meta["classes"] = {"name": _cell([_text(name) for name in net.classes])}
    if net.notes:
        meta["notes"] = _cell([_text(note) for note in net.notes])
    return {"layers": _cell([_as_layer(layer) for layer in net.layers]), "meta": meta}


def _as_layer(layer: Layer) -> dict[str, Any]:
    """The fields that vl_simplenn asks of a layer; those that only training uses have MatConvNet's defaults."""
    fields: dict[str, Any] = {"type": _type(layer), "precious": False}
    if layer.name is not None:
        fields["name"] = _text(layer.name)
    if isinstance(layer, Conv):
        fields["weights"] = _cell([_known(layer.filters.transpose(2, 3, 1, 0)), _known(layer.bias[np.newaxis])])
        fields["dilate"] = _row(layer.dilation)
        if layer.groups > 1:
            fields["groups"] = float(layer.groups)
    if isinstance(layer, BatchNorm):
        moments = [] if layer.mean is None or layer.std is None else [np.stack([layer.mean, layer.std], axis=1)]
        fields["weights"] = _cell([_known(each) for each in (layer.scale[:, None], layer.bias[:, None], *moments)])
        fields["epsilon"] = 1e-4
    if isinstance(layer, Pool):
        fields |= {"method": "avg" if isinstance(layer, AvgPool) else "max", "pool": _row(layer.size)}
    if isinstance(layer, (Conv, Pool)):
        fields |= {"stride": _row(layer.stride), "pad": _row(layer.pad), "opts": _cell([])}
    if isinstance(layer, Dropout):
        fields["rate"] = 0.5
    if isinstance(layer, ReLU):
        fields["leak"] = layer.leak
    if isinstance(layer, Unsupported):
        fields["unsupported"] = _text(layer.reason)
    if isinstance(layer, LRN):
        fields["param"] = _row((layer.depth, layer.kappa, layer.alpha, layer.beta))
    return fields


def _type(layer: Layer) -> str:
    if isinstance(layer, Unsupported):
        return _text(layer.type)
    types = {Conv: "conv", MaxPool: "pool", AvgPool: "pool", ReLU: "relu", Softmax: "softmax", Dropout: "dropout",
             Sigmoid: "sigmoid", BatchNorm: "bnorm", LRN: "normalize", Loss: "loss"}  # fmt: skip
    if type(layer) not in types:
        raise InvalidValueError(f"save_matconvnet: MatConvNet has no layer like {layer!r}.")
    return types[type(layer)]


def _text(text: str) -> str:
    if "\0" in text or any("\ud800" <= c <= "\udfff" for c in text):
        raise InvalidValueError(
            f"save_matconvnet: '{printable(text)}' holds a zero or half a character, which cannot be written."
        )
    return text


def _cell(values: Sequence[Any]) -> Array:
    cell = np.empty((1, len(values)), object)
    cell[0, :] = values
    return cell


def _row(numbers: Sequence[float]) -> Array:
    return np.array([numbers], np.float64)


def _known(array: Array) -> Array:
    """In a precision that MATLAB knows."""
    if array.dtype.itemsize > 8:
        raise InvalidValueError(f"save_matconvnet: MATLAB does not know {array.dtype}; make it float64.")
    return array.astype(np.promote_types(array.dtype, np.float32))


def _options(record: _Record) -> dict[str, float]:
    """The name-value pairs in a layer's ``opts``; flags of the machine, such as CuDNN, are none of our business."""
    cell = record.get("opts")
    parts = list(cell) if isinstance(cell, Cell) else []
    pairs = {part.lower(): value for part, value in itertools.zip_longest(parts, parts[1:]) if isinstance(part, str)}
    return {
        name: float(value.ravel()[0]) if isinstance(value, np.ndarray) and value.size == 1 else math.nan
        for name, value in pairs.items()
        if name not in FLAGS
    }


def _missing(name: str) -> Callable[[], Any]:
    def load() -> Any:
        raise WeightsFormatError(f"the parameter '{printable(name)}' is not in the file.")

    return load


def _called(functions: Sequence[Callable[[], Any]]) -> list[Any]:
    return [function() for function in functions]


def _count(value: Cell | Struct) -> int:
    return math.prod(value.shape)


def _empty(value: Any) -> bool:
    return value is None or (isinstance(value, (np.ndarray, Cell, Struct)) and 0 in value.shape)


def _listed(names: Sequence[str], most: int = 12) -> str:
    shown = ", ".join(printable(name) for name in names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown


def _what(value: Any) -> str:
    """A value in a few words."""
    if value is None:
        return "empty"
    if isinstance(value, str):
        return f"the text '{printable(value)}'"
    if isinstance(value, Other):
        return value.what
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {times(value.shape)}"
    return f"{type(value).__name__.lower()} {times(value.shape)}"
