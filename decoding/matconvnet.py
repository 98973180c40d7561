"""MatConvNet's networks, read from MATLAB files and written to them.

Only this module knows MATLAB's order of axes: filters h×w×C×K, images H×W×C. `matfile` says what the bytes of a file mean,
this module what its variables mean.
"""

from __future__ import annotations

import functools
import graphlib
import itertools
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from . import layers as every
from .arguments import Array, check_finite, crossed, cut, described, printable
from .boundary import public
from .errors import DecodingError, InvalidValueError, ShapeError, WeightsFormatError
from .files import File, as_path, file_first, is_open, replacing, shown
from .layers import (
    LRN,
    AvgPool,
    BatchNorm,
    Concat,
    Conv,
    ConvTranspose,
    Dropout,
    Elementwise,
    Gate,
    Layer,
    Loss,
    MaxPool,
    Pool,
    ReLU,
    Resampling,
    Scale,
    Sigmoid,
    Softmax,
    Sum,
    UnsupportedLayer,
)
from .matfile import ALWAYS_ALLOWED, MOST_GROWTH, Cell, Other, Struct, Variable, open_mat
from .network import Network, as_network

LARGEST = 4096  # the largest stride, pad, pool or dilation
FLAGS = {"cudnn", "nocudnn", "verbose", "noverbose", "cudnnworkspacelimit"}  # options that change no result
LARGEST_IMAGE = 2**16  # the most rows or columns of an image or a receptive field
MOST_LAYERS = 4096
MOST_IMAGES = 256  # the most variables of a DagNN that no layer computes
MOST_BYTES = 2**31 - 2**24  # the most weights: a variable of MAT v5 holds 2^31 bytes, with some room for other fields

PLAIN: dict[str, Callable[..., Layer]] = {
    "softmax": Softmax, "softmaxloss": Softmax, "sigmoid": Sigmoid, "dropout": Dropout, "loss": Loss,
}  # fmt: skip
REASONS = {
    "custom": "what it does is in MATLAB functions of its own",
}
# The types of layers in a SimpleNN and in a DagNN.
TYPES: dict[type[Layer], tuple[str, str]] = {
    Conv: ("conv", "dagnn.Conv"), MaxPool: ("pool", "dagnn.Pooling"), AvgPool: ("pool", "dagnn.Pooling"),
    ReLU: ("relu", "dagnn.ReLU"), Sigmoid: ("sigmoid", "dagnn.Sigmoid"), Softmax: ("softmax", "dagnn.SoftMax"),
    Dropout: ("dropout", "dagnn.DropOut"), BatchNorm: ("bnorm", "dagnn.BatchNorm"), LRN: ("normalize", "dagnn.LRN"),
    Loss: ("loss", "dagnn.Loss"), Sum: ("decoding.Sum", "dagnn.Sum"), Concat: ("decoding.Concat", "dagnn.Concat"),
    Scale: ("decoding.Scale", "dagnn.Scale"), Gate: ("decoding.Gate", "dagnn.Scale"),
}  # fmt: skip
# Layers that MatConvNet does not have are written with the arguments of their constructors as fields.
BASES = (Layer, Elementwise, Pool, Resampling, UnsupportedLayer)
OWN: dict[str, type[Layer]] = {
    f"decoding.{kind.__name__}": kind
    for kind in vars(every).values()
    if isinstance(kind, type) and issubclass(kind, Layer) and kind not in BASES
}
# At least one layer of a SimpleNN must be of one of these types.
KNOWN = {
    "conv",
    "convt",
    "pool",
    "relu",
    "bnorm",
    "lrn",
    "normalize",
    "custom",
    "noffset",
    "spnorm",
    "pdist",
    *PLAIN,
    *OWN,
}
DEEP_LEARN_TOOLBOX = {"i", "c", "s", "I", "C", "S", "MP", "F", "O"}
TOOLBOX = {"SeriesNetwork", "DAGNetwork", "dlnetwork", "network"}
DAG_TYPES = {dag: simple for simple, dag in TYPES.values()} | {"dagnn.ConvTranspose": "convt"}
JOINS = {"decoding.Sum", "decoding.Concat", "decoding.Gate"}
IDENTIFIER = "[A-Za-z][A-Za-z0-9_]{0,59}"  # a name that MATLAB allows, with room for a parameter's number
# MATLAB classes whose numbers are not stored as numbers in the file, and how to save without them.
ELSEWHERE = {
    "gpuArray": ", which only MATLAB with a graphics card can open: save the network after net = vl_simplenn_move(net, 'cpu'), or each "
    "array after gather(x)",
    "dlarray": ", which only MATLAB can open: save each array after extractdata(x), and gather(x) if it lies on the graphics card",
}
COMMON = {"name", "gain", "curvature"}  # arguments that many layers have


@public
def load_matconvnet(path: File, *, dtype: npt.DTypeLike | None = None, image: str | None = None) -> Network:
    """Read a network that MatConvNet saved.

    Parameters
    ----------
    path : path or open file
        A ``.mat`` file, v5 or v7.3, with a SimpleNN or DagNN network: a struct ``net``, its ``layers`` at the top, or
        one level deeper.
    dtype : float32 or float64, optional
        The precision to keep the weights in; that of the file unless given.
    image : str, optional
        Which variable of a DagNN is the image, if there are several; unless given, the one that most layers depend on.

    Returns
    -------
    Network
        Its filters are (K, C / groups, h, w), from MATLAB's h×w×C×K; its mean and std (C, H, W), from H×W×C. From a DagNN
        it has every layer that depends on the image, whatever their order in the file. `notes` name the others.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    WeightsFormatError
        If the file is damaged, or holds no such network; the message says what the file holds.
    InvalidValueError
        If `dtype` is no floating-point type, or no image is named `image`; the message lists the images there are.

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
        raise InvalidValueError(f"load_matconvnet: dtype must be a floating-point type, not {described(dtype)}.")
    path = path if is_open(path) else as_path(path, "load_matconvnet: path")
    try:
        with open_mat(path) as variables:
            return _Reader(precision, _holds(variables), image).network(_find(variables))
    except DecodingError as error:
        kind = InvalidValueError if isinstance(error, _NoSuchImage) else WeightsFormatError
        raise kind(f"{shown(path)}: {error.message}") from error


@public
def save_matconvnet(net: Network, path: File) -> None:
    """Write a network for MatConvNet, a MAT v5 file: a chain as SimpleNN, one that branches as DagNN.

    Parameters
    ----------
    net : Network
    path : path or open file
        It is replaced once the new file is complete. Network and path may be given in either order.

    Raises
    ------
    InvalidValueError
        If the weights have a precision that MATLAB does not know, a name cannot be written, or a layer is of a class that is not
        of this package.
    OSError
        If the file cannot be written; a file that was there is untouched.

    See Also
    --------
    load_matconvnet : Reads it back, bit for bit.

    Notes
    -----
    A DagNN is written as the struct that ``dagnn.DagNN.loadobj`` takes. Gains, groups, deviations, and names that MATLAB does not
    allow, go to fields that MatConvNet ignores. Layers that it does not have, such as `Select`, are written under a type of our
    own, ``decoding.Select``; of unsupported layers only the type and the name are written. MatConvNet cannot run these layers.
    """
    import scipy.io

    path, net = file_first(path, net)
    as_network(net, "save_matconvnet")
    weights = [array for layer in net.layers for array in layer.weights.values()]
    size = sum(array.size * max(array.itemsize, 4) for array in weights)
    if size > MOST_BYTES:
        raise InvalidValueError(
            f"save_matconvnet: the weights take more than {MOST_BYTES} bytes, which MAT v5 cannot hold."
        )
    variables = {"net": _as_struct(net)}
    with replacing(path) as file:
        scipy.io.savemat(file, variables, do_compression=True)
        if 1.1 * size > max(ALWAYS_ALLOWED, MOST_GROWTH * file.tell()):  # it packs so well that reading would refuse it
            file.seek(0)
            file.truncate()
            scipy.io.savemat(file, variables)


class _NoSuchImage(DecodingError):
    """The file has no image of the name that the caller gave."""


class _Record:
    """One struct, with its fields by name; `where` is how MATLAB would write where it is."""

    def __init__(self, struct: Struct, where: str, index: int = 0) -> None:
        self.struct, self.where, self.index = struct, where, index

    def __contains__(self, name: str) -> bool:
        return name in self.struct.names

    def get(self, name: str) -> Any:
        """The field, or None if it is missing or empty."""
        if name not in self:
            return None
        value = self.struct.load(self.index, name)
        return None if _empty(value) else value

    def record(self, name: str) -> _Record | None:
        """The field, if it is one struct."""
        value = self.get(name)
        return _Record(value, self.place(name)) if isinstance(value, Struct) and _count(value) == 1 else None

    def records(self, name: str) -> list[_Record]:
        """The structs in a field; an error if it holds anything else."""
        value = self.get(name)
        if not isinstance(value, Struct):
            raise WeightsFormatError(f"{self.place(name)} should be structs, and is {_what(value)}.")
        return [_Record(value, f"{self.place(name)}({i + 1})", i) for i in range(_count(value))]

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
        """The texts of a field, which must be a cell of texts or one text."""
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
        """The whole numbers of a field, each from 0 to `most`; `counts` says how many there may be."""
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

    def pads(self, name: str = "pad") -> tuple[int, int, int, int]:
        """(top, bottom, left, right), from one number, two (rows and columns) or four."""
        numbers = self.integers(name, (1, 2, 4), 0)
        top, bottom, left, right = numbers if len(numbers) == 4 else (*numbers[:1] * 2, *numbers[-1:] * 2)
        return top, bottom, left, right


def _find(variables: list[Variable]) -> _Record:
    """The struct that holds the layers."""
    readable = {variable.name: variable for variable in variables if variable.name}
    top = Struct((1, 1), tuple(readable), lambda i, name: readable[name].load())
    found: list[_Record] = []
    for name in sorted(readable, key=lambda name: name != "net"):  # if `net` is a network, the others are not looked at
        if readable[name].what.startswith("struct"):
            found += _networks(readable[name].load(), printable(name))
        if found and found[0].where == "net":
            return found[0]
    found += [_Record(top, "")] if "layers" in readable else []
    if len(found) == 1:
        return found[0]
    if found:
        places = _names(sorted(record.place("layers") for record in found))
        raise WeightsFormatError(f"there are {len(found)} networks in it: {places}. Save only one of them to the file.")
    raise WeightsFormatError(f"no MatConvNet network in it: {_guess(readable)}. It holds {_holds(variables)}.")


def _holds(variables: list[Variable]) -> str:
    return _names([f"{variable.name} ({variable.what})" for variable in variables if variable.name]) or "nothing"


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
    for variable in variables.values():
        kind = variable.what.removeprefix("object of class ")
        if kind == variable.what:
            continue
        if kind in ELSEWHERE:
            return f"`{printable(variable.name)}` is a {kind}{ELSEWHERE[kind]}"
        if kind.startswith("dagnn."):
            return f"`{printable(variable.name)}` is a MATLAB object; save net.saveobj() instead, which is a struct"
        if kind in TOOLBOX or kind.startswith("nnet."):
            return f"`{printable(variable.name)}` is a {kind} of MATLAB's Deep Learning Toolbox, which only MATLAB can open"
        return f"`{printable(variable.name)}` is a MATLAB object, which only MATLAB can open"
    for variable in variables.values():
        if variable.what.startswith("cell"):
            part = next(iter(variable.load()), None)
            if isinstance(part, Struct):
                fields = _names(part.names)
                return (
                    f"`{printable(variable.name)}` is a cell of structs with the fields {fields}, a layout of its own"
                )
        if variable.what.startswith("struct"):
            fields = _names(variable.load().names)
            return f"`{printable(variable.name)}` is a struct without layers; its fields are {fields}"
    return "arrays alone do not say what the layers are" if variables else "there are no variables"


class _Reader:
    """Makes a network from the structs of a file; `notes` say what could not be used."""

    def __init__(self, dtype: np.dtype[Any] | None, holds: str, image: str | None) -> None:
        self.dtype, self.holds, self.asked = dtype, holds, image
        self.notes: list[str] = []

    def network(self, root: _Record) -> Network:
        meta = root.record("meta") or root
        normalization = meta.record("normalization")
        holder, name = (normalization, "averageImage") if normalization else (root, "imageMean")
        mean = self.optional("mean image", lambda: self.image(holder, name))
        std = self.optional("deviation", lambda: self.image(normalization, "std")) if normalization else None
        size = self.optional("input size", lambda: self.input_size(meta, "inputSize"))
        if size is None and normalization:
            size = self.optional("image size", lambda: self.input_size(normalization, "imageSize"))
        channels = size[0] if size else mean.shape[0] if mean is not None and mean.shape[0] > 1 else None
        net = self.dag(root, channels) if isinstance(root.get("layers"), Struct) else self.simple(root, channels)
        self.check_field(net)
        if size is not None:
            net = self.optional(f"input size, {crossed(size)},", lambda: net.replace(input_shape=size)) or net
        if mean is not None:
            net = self.optional("mean image", lambda: net.replace(mean=self.spread(mean, net))) or net
        if std is not None:
            net = self.optional("deviation", lambda: net.replace(std=self.spread(std, net))) or net
        if meta.get("moments") is not None:
            net = self.optional("table of moments", lambda: net.replace(moments=self.moments(meta))) or net
        if meta.get("aliases") is not None:
            net = self.optional("table of further names", lambda: net.replace(aliases=self.aliases(meta))) or net
        return net.replace(classes=self.classes(meta), notes=self.remarks(meta))

    def optional(self, what: str, read: Callable[[], Any]) -> Any:
        """What `read` returns; if that part of the file cannot be used, None, and a note."""
        try:
            return read()
        except DecodingError as error:
            self.notes.append(f"The file's {what} does not fit, and is left out: {error.message}")
            return None

    def simple(self, root: _Record, channels: int | None) -> Network:
        """SimpleNN: a cell of structs."""
        if self.asked is not None:
            raise _NoSuchImage(
                f"there is no image named '{printable(str(self.asked))}': the layers are a chain, and its only image has no name. Leave image= out."
            )
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
                    f"{where} has no type; its fields are {_names(layer.names)}. The file holds {self.holds}."
                )
            records.append(_Record(layer, where))
        types = [record.text("type") or "" for record in records]
        if not KNOWN.intersection(types) and not any("unsupported" in record for record in records):
            kinds = _names(sorted(set(types)))
            like = ", as DeepLearnToolbox has them" if DEEP_LEARN_TOOLBOX.issuperset(types) else ""
            raise WeightsFormatError(
                f"{root.place('layers')} are not layers of MatConvNet: their types are {kinds}{like}. The file holds {self.holds}."
            )
        layers = []
        for kind, record in zip(types, records, strict=True):
            layer = self.placed(kind, record, record, record.text("name"), _simple_weights(record), channels)
            channels = layer.channels(None if isinstance(layer, (Conv, BatchNorm)) else channels)
            layers.append(layer)
        return Network(layers)

    def dag(self, root: _Record, channels: int | None) -> Network:
        """DagNN: struct arrays of layers and parameters. Reads all layers that depend on one image."""
        graph, values = _Graph(root, self.holds), _parameters(root)
        image = graph.image(self.asked)
        if len(graph.images) > 1:
            channels = None  # what the file says about its images may be about another of them
            self.notes.append(
                f"The file's network has several images: {_names(graph.images, 100)}. This is the network of '{printable(image)}'; "
                "load_matconvnet(path, image=…) takes another."
            )
        order, known = graph.order(image), {image: 0}
        layers, inputs = list[Layer](), list[list[int]]()
        widths, jumps = [channels], list[tuple[int, int] | None]([(1, 1)])
        for number, i in enumerate(order, 1):
            below = [known[variable] for variable in graph.inputs[i] if variable in known]
            if i in graph.losses:
                del below[1:]
            layer = self.node(graph, i, graph.obstacle(i, known), values, widths[below[0]])
            seen = {jump for k in below[: layer.follows] if (jump := jumps[k]) is not None}
            if graph.kinds[i] in JOINS and (misfit := _misfit(layer, [widths[k] for k in below], seen)):
                layer = UnsupportedLayer(graph.types[i], reason=misfit, name=layer.name)
            jump = None if isinstance(layer, UnsupportedLayer) or layer.phases or not seen else seen.pop()
            jumps.append(jump and (jump[0] * layer.stride[0], jump[1] * layer.stride[1]))
            widths.append(layer.channels(*(widths[k] if layer.in_channels is None else None for k in below)))
            layers.append(layer)
            inputs.append(below)
            known |= dict.fromkeys(graph.outputs[i], number)
        left = [graph.names[i] for i in sorted(set(range(len(graph.names))) - set(order))]
        if left:
            self.notes.append(
                f"These layers do not depend on the image '{printable(image)}' and are left out: {_names(left, 100)}."
            )
        return Network(layers, inputs=inputs)

    def node(
        self, graph: _Graph, i: int, obstacle: str, values: dict[str, Callable[[], Any]], channels: int | None
    ) -> Layer:
        """The i-th layer of a DagNN."""
        record, name = graph.records[i], graph.named[i]
        if obstacle:
            return UnsupportedLayer(graph.types[i], reason=obstacle, name=name)
        weights = [values.get(name) or _missing(name) for name in record.texts("params")]
        block = graph.block(i)
        layer = self.placed(
            graph.kinds[i], block, graph.owns[i] or block, name, functools.partial(_called, weights), channels
        )
        return layer.replace(type=graph.types[i]) if isinstance(layer, UnsupportedLayer) else layer

    def placed(self, kind: str, record: _Record, own: _Record, *rest: Any) -> Layer:
        """Read a layer, with the fields that only `save_matconvnet` writes; errors say where the layer is in the file."""
        try:
            layer = self.layer(kind, record, own, *rest)
            factors = {what: _field(own, what) for what in ("gain", "curvature") if what in layer.fields()}
            given = {what: factor for what, factor in factors.items() if factor is not None}
            return layer.replace(**given) if given else layer
        except DecodingError as error:
            if record.where in str(error):
                raise
            raise WeightsFormatError(f"{record.where}: {error.message}") from error

    def layer(
        self,
        kind: str,
        record: _Record,
        own: _Record,
        name: str | None,
        weights: Callable[[], list[Any]],
        channels: int | None,
    ) -> Layer:
        name = name or None
        if "unsupported" in own:
            return UnsupportedLayer(kind, reason=self.said(own), name=name)
        if kind in ("dagnn.Scale", "decoding.Scale"):
            return self.scale(record, name, weights(), channels)
        if kind in OWN:
            return _made(OWN[kind], record, name)
        options = _options(record)
        leak = options.pop("leak", 0.0) if kind == "relu" else 0.0
        if options and kind in ("conv", "convt", "pool", "relu"):
            return UnsupportedLayer(kind, reason=f"it has the option {_names(tuple(options))}", name=name)
        if kind == "conv":
            return self.conv(record, own, name, weights(), channels)
        if kind == "convt":
            return self.transposed(record, name, weights())
        if kind == "bnorm":
            return self.batch_norm(record, name, weights())
        if kind == "pool":
            method = record.text("method", "max")
            if method not in ("max", "avg"):
                return UnsupportedLayer(
                    kind, reason=f"its method is '{printable(method or '')}', not max or avg", name=name
                )
            size = "pool" if "pool" in record else "poolSize"
            if record.get(size) is None:
                raise WeightsFormatError(f"{record.where} is a pool without a size.")
            pool = MaxPool if method == "max" else AvgPool
            return pool(record.pair(size), record.pair("stride"), pad=record.pads(), name=name)
        if kind == "relu":
            return ReLU(leak=self.number(record, "leak", leak), name=name)
        if kind in ("lrn", "normalize"):
            return self.lrn(record, name)
        if kind in PLAIN:
            return PLAIN[kind](name=name)
        return UnsupportedLayer(kind, reason=REASONS.get(kind, ""), name=name)

    def conv(self, record: _Record, own: _Record, name: str | None, weights: list[Any], channels: int | None) -> Layer:
        filters = self.real(weights, 0, f"{record.where}: filters")
        if filters.ndim > 4:
            raise WeightsFormatError(f"{record.where}: filters {filters.shape} have more than the axes h×w×C×K.")
        bank = filters.reshape(filters.shape + (1,) * (4 - filters.ndim)).transpose(3, 2, 0, 1)
        weights = weights if self.number(record, "hasBias", 1) else weights[:1]
        return Conv(
            bank,
            self.vector(weights, 1, len(bank), f"{record.where}: biases"),
            stride=record.pair("stride"),
            pad=record.pads(),
            dilation=record.pair("dilate"),
            groups=self.groups(own, bank, channels),
            name=name,
        )

    def transposed(self, record: _Record, name: str | None, weights: list[Any]) -> Layer:
        """A layer of vl_nnconvt: filters h×w×K×C, with C channels below the layer and, for each group, K above."""
        filters = self.real(weights, 0, f"{record.where}: filters")
        if filters.ndim > 4:
            raise WeightsFormatError(f"{record.where}: filters {filters.shape} have more than the axes h×w×K×C.")
        bank = filters.reshape(filters.shape + (1,) * (4 - filters.ndim)).transpose(3, 2, 0, 1)
        groups = record.integers("numGroups", (1,), most=len(bank))[0]
        weights = weights if self.number(record, "hasBias", 1) else weights[:1]
        bias = self.vector(weights, 1, bank.shape[1] * groups, f"{record.where}: biases")
        stride, crop = record.pair("upsample"), record.pads("crop")
        return ConvTranspose(bank, bias, stride=stride, pad=crop, groups=groups, name=name).plain()

    def groups(self, record: _Record, bank: Array, channels: int | None) -> int:
        """How many groups there are, by MatConvNet's rule: the channels below over the channels of a filter."""
        if "groups" in record:
            return record.integers("groups", (1,), most=len(bank))[0]
        seen = bank.shape[1]
        return 1 if channels is None or channels % seen or len(bank) % (channels // seen) else channels // seen

    def batch_norm(self, record: _Record, name: str | None, weights: list[Any]) -> Layer:
        scale = self.real(weights, 0, f"{record.where}: multipliers").ravel(order="F")
        bias = self.vector(weights, 1, len(scale), f"{record.where}: biases")
        norm = BatchNorm(scale, bias, epsilon=self.number(record, "epsilon", 1e-4), name=name)
        if len(weights) < 3 or _empty(weights[2]):
            return norm
        moments = self.real(weights, 2, f"{record.where}: moments")
        if moments.shape != (len(scale), 2):
            raise WeightsFormatError(f"{record.where}: moments {moments.shape} for {len(scale)} channels.")
        if not moments.any():  # MatConvNet fills in zeros if a file has no moments
            return norm
        return norm.replace(mean=moments[:, 0], std=moments[:, 1])

    def scale(self, record: _Record, name: str | None, weights: list[Any], channels: int | None) -> Layer:
        """A factor for each channel, and a bias; any other shape of factors is not supported."""
        weights = weights[: 2 if self.number(record, "hasBias", 1) else 1]
        arrays = [self.real(weights, k, f"{record.where}: factors and biases") for k in range(max(1, len(weights)))]
        counts = {array.size for array in arrays} - {1}
        if len(counts) > 1 or any(array.size != math.prod(array.shape[2:3]) for array in arrays):
            return UnsupportedLayer("dagnn.Scale", reason="its factors are not one for each channel", name=name)
        count = counts.pop() if counts else channels or 1
        return Scale(*(np.broadcast_to(array.ravel(), (count,)) for array in arrays), name=name)

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
        with np.errstate(over="ignore"):  # what overflows becomes infinite, which is reported when the layer is used
            return np.asarray(value, dtype)

    def vector(self, weights: list[Any], index: int, count: int, what: str) -> Array | None:
        """`count` numbers from a row or a column; None if there are none."""
        if index >= len(weights) or _empty(weights[index]):
            return None
        value = self.real(weights, index, what)
        if value.size != count or max(value.shape) != count:
            raise WeightsFormatError(f"{what} {value.shape}, and there are {count} filters or channels.")
        return np.asarray(value.ravel(order="F"))

    def said(self, record: _Record) -> str:
        """Why a layer is not supported, as `save_matconvnet` wrote it down."""
        reason = record.get("unsupported")
        return printable(reason, 1000) if isinstance(reason, str) else ""

    def number(self, record: _Record, name: str, default: float) -> float:
        value = record.numbers(name)
        if value is not None and value.size != 1:
            raise WeightsFormatError(f"{record.place(name)} should be one number, and is {_what(value)}.")
        return default if value is None else float(value.ravel()[0])

    def input_size(self, record: _Record, name: str) -> tuple[int, int, int] | None:
        """(C, H, W) from [H W C] or [H W C N]; None if the file says less."""
        value = record.numbers(name)
        if value is None or value.size < 3:
            return None
        rows, columns, channels, *_ = record.integers(name, (3, 4), most=LARGEST_IMAGE)
        return channels, rows, columns

    def image(self, record: _Record, name: str) -> Array | None:
        """A mean image as (C, H, W), from H×W×C; None if there is none."""
        value = record.numbers(name)
        if value is None:
            return None
        if value.ndim > 3:
            raise WeightsFormatError(f"{record.place(name)} is {_what(value)}, not H×W×C.")
        image = self.real([value], 0, record.place(name))
        check_finite(image, record.place(name))
        return np.asarray(image.reshape(image.shape + (1,) * (3 - image.ndim)).transpose(2, 0, 1))

    def spread(self, image: Array, net: Network) -> Array:
        """A mean image or a mean for each channel, as MATLAB would subtract it; numbers per channel may lie along any axis."""
        try:
            channels = net.channels(0)
        except ShapeError:  # nothing but the mean says how many channels there are
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
        self.notes.append(f"The names of the classes are {_what(names)}, not texts, and are left out.")
        return None

    def moments(self, meta: _Record) -> dict[int, tuple[Any, Any]]:
        """The moments of layers that `save_matconvnet` wrote."""
        return {
            record.integers("layer", (1,), most=MOST_LAYERS)[0]: (_field(record, "mean"), _field(record, "std"))
            for record in meta.records("moments")
        }

    def aliases(self, meta: _Record) -> dict[str, str]:
        """The further names of layers that `save_matconvnet` wrote."""
        return {record.text("alias") or "": record.text("name") or "" for record in meta.records("aliases")}

    def remarks(self, meta: _Record) -> list[str]:
        """The notes that `save_matconvnet` wrote, and those of this reading."""
        notes = meta.get("notes")
        old = list(notes) if isinstance(notes, Cell) else []
        return [printable(note, 500) for note in old if isinstance(note, str)] + self.notes

    def check_field(self, net: Network) -> None:
        for number, (name, field) in enumerate(zip(net.names, net.fields_within(0)[1:], strict=True), 1):
            if field is not None and max(field.size) > LARGEST_IMAGE:
                raise WeightsFormatError(
                    f"layer {number}, '{printable(name)}', would see more than {LARGEST_IMAGE} pixels in a row: "
                    "a size, stride or dilation is damaged."
                )


class _Graph:
    """The layers of a DagNN, by their positions in the file, and the variables between them."""

    def __init__(self, root: _Record, holds: str) -> None:
        struct, self.where = root.get("layers"), root.place("layers")
        count = _count(struct)
        if count > MOST_LAYERS:
            raise WeightsFormatError(f"{self.where} is {_what(struct)}, and at most {MOST_LAYERS} layers are allowed.")
        self.records = [_Record(struct, f"{self.where}({i + 1})", i) for i in range(count)]
        self.owns = [record.record("decoding") for record in self.records]  # fields that only `save_matconvnet` writes
        self.types = [record.text("type") or "" for record in self.records]
        self.inputs = [record.texts("inputs") for record in self.records]
        self.outputs = [record.texts("outputs") for record in self.records]
        named = [own or record for own, record in zip(self.owns, self.records, strict=True)]
        self.named = [record.text("name") or None for record in named]
        self.names = [name or kind for name, kind in zip(self.named, self.types, strict=True)]
        self.makers = self.made()
        self.losses = self.measures()
        for i in self.losses:  # their labels are dropped
            self.inputs[i] = [name for name in self.inputs[i] if name in self.makers] or self.inputs[i][:1]
        self.kinds = [self.kind(i) for i in range(count)]
        self.images = sorted({variable for names in self.inputs for variable in names} - set(self.makers))
        self.reads = [[self.makers[variable] for variable in names if variable in self.makers] for names in self.inputs]
        self.sorted = self.in_order()
        if not self.images or not any(self.owns[i] or self.types[i].startswith("dagnn.") for i in range(count)):
            raise WeightsFormatError(
                f"{self.where} are not a graph of MatConvNet's layers that begins with an image. It holds {holds}."
            )
        self.sources = self.led()

    def block(self, i: int) -> _Record:
        nothing = _Record(Struct((1, 1), (), lambda i, name: None), self.records[i].where)
        return self.records[i].record("block") or nothing

    def kind(self, i: int) -> str:
        """What the layer is called in a SimpleNN."""
        kind = self.types[i]
        if self.unsupported(i):
            return kind
        if i in self.losses:
            soft = kind == "dagnn.Loss" and self.block(i).text("loss", "softmaxlog") == "softmaxlog"
            return "softmaxloss" if soft else "loss"
        if kind == "dagnn.Scale" and (len(self.inputs[i]) != 2 or self.records[i].texts("params")):
            return kind  # it scales by parameters, not by another map
        return DAG_TYPES.get(kind, kind)

    def made(self) -> dict[str, int]:
        """Which layer computes each variable."""
        makers: dict[str, int] = {}
        for i, names in enumerate(self.outputs):
            for variable in names:
                if variable in self.inputs[i]:
                    raise WeightsFormatError(
                        f"the layer '{printable(self.names[i])}' reads '{printable(variable)}', which it computes itself. "
                        "Give its output a name of its own."
                    )
                if variable in makers:
                    both = f"'{printable(self.names[makers[variable]])}' and '{printable(self.names[i])}'"
                    raise WeightsFormatError(f"the layers {both} both compute '{printable(variable)}'.")
                makers[variable] = i
        return makers

    def measures(self) -> set[int]:
        """The losses: those of MatConvNet, and those of users, which read one variable that is computed, and labels."""
        strange = {
            i
            for i, (kind, names) in enumerate(zip(self.types, self.inputs, strict=True))
            if kind not in DAG_TYPES and sum(variable in self.makers for variable in names) == 1 < len(names)
        }
        said = {
            i for i, kind in enumerate(self.types) if kind == "dagnn.Loss" or (i in strange and "loss" in kind.lower())
        }
        # A loss whose type does not say so is at the end of a branch, and its labels are not read by other layers.
        read = {variable for names in self.inputs for variable in names}
        others = {variable for i, names in enumerate(self.inputs) if i not in strange | said for variable in names}
        ends = {
            i
            for i in strange
            if read.isdisjoint(self.outputs[i]) and others.isdisjoint(set(self.inputs[i]) - set(self.makers))
        }
        return {i for i in said | ends if not self.unsupported(i)}

    def unsupported(self, i: int) -> bool:
        """Whether `save_matconvnet` wrote layer i as an unsupported one."""
        own = self.owns[i]
        return own is not None and "unsupported" in own

    def in_order(self) -> list[int]:
        """The numbers of all layers, sorted so that each comes after those that it reads."""
        try:
            return list(graphlib.TopologicalSorter(dict(enumerate(self.reads))).static_order())
        except graphlib.CycleError as error:
            circle = " → ".join(printable(self.names[i]) for i in error.args[1][:12])
            raise WeightsFormatError(
                f"{self.where} read each other in a circle, so none of these can be computed first: {circle}."
            ) from None

    def led(self) -> list[frozenset[str]]:
        """For each layer, the images that it depends on."""
        if len(self.images) > MOST_IMAGES:
            raise WeightsFormatError(
                f"{self.where} read {len(self.images)} images, and at most {MOST_IMAGES} are allowed."
            )
        sources = [frozenset(names).intersection(self.images) for names in self.inputs]
        for i in self.sorted:
            sources[i] = sources[i].union(*(sources[k] for k in self.reads[i]))
        return sources

    def image(self, asked: str | None) -> str:
        """The variable that was asked for, or else the one that most layers depend on."""
        if asked is None:
            counts = Counter(source for sources in self.sources for source in sources)
            return max(self.images, key=counts.__getitem__)
        if asked not in self.images:
            raise _NoSuchImage(
                f"there is no image named '{printable(str(asked))}'. There are {_names(self.images, 100)}."
            )
        return asked

    def order(self, image: str) -> list[int]:
        """The layers that depend on the image, each after those it reads, whatever their order in the file.

        Where branches meet, the longest comes first. The last layer is the end of the longest path; other ends come just before
        it. So the layers of a chain keep their numbers.
        """
        reached = [i for i in self.sorted if image in self.sources[i]]
        if any(self.owns) and all(k < i for i in reached for k in self.reads[i]):
            return sorted(reached)  # the order in which `save_matconvnet` wrote them
        length: dict[int, int] = {}
        for i in reached:
            length[i] = 1 + max((length.get(k, 0) for k in self.reads[i]), default=0)
        below = {i: sorted((k for k in self.reads[i] if k in length), key=lambda k: -length[k]) for i in reached}
        read = {k for i in reached for k in below[i]}
        ends = sorted(
            (i for i in reached if i not in read),
            key=lambda i: (
                self.types[i] in DAG_TYPES or i in self.losses,
                length[i],
                self.kinds[i] != "loss",
                self.names[i],
            ),
        )
        order: dict[int, None] = {}
        for end in (*below[ends[-1]], *ends):
            way = [(end, iter(below[end]))]
            while way:
                i, rest = way[-1]
                k = next((k for k in rest if k not in order), None)
                if k is None:
                    order[i] = None
                    way.pop()
                else:
                    way.append((k, iter(below[k])))
        return list(order)

    def obstacle(self, i: int, known: dict[str, int]) -> str:
        """Why the layer is not supported, given the variables that depend on the image; an empty text if it is."""
        reads, kind = self.inputs[i], self.kinds[i]
        if self.unsupported(i) or i in self.losses:
            return ""
        missing = [variable for variable in reads if variable not in known]
        if missing:
            makers = [self.makers.get(variable) for variable in missing]
            others = {variable for variable, maker in zip(missing, makers, strict=True) if maker is None}
            others = others.union(*(self.sources[maker] for maker in makers if maker is not None))
            which = f"the image {_names(sorted(others))}" if others else f"{_names(missing)}, which depends on no image"
            return f"it joins {_names(reads)}, and needs {which} as well"
        measured = [variable for variable in reads if self.makers.get(variable) in self.losses]
        if measured and not self.owns[i]:
            return f"it reads {_names(measured)}, a loss, which needs labels"
        if len(self.outputs[i]) != 1:
            return f"it has {len(self.outputs[i])} outputs"
        if len(reads) > 1 and kind not in JOINS:
            return f"it joins {_names(reads)}"
        if self.types[i] == "dagnn.Concat" and self.block(i).integers("dim", (1,), 3) != [3]:
            return "it does not join channels but rows, columns or images"
        return ""


def _misfit(layer: Layer, widths: Sequence[int | None], strides: set[tuple[int, int]]) -> str:
    """Why a layer cannot join what it reads; an empty text if it can."""
    if isinstance(layer, UnsupportedLayer):
        return ""
    if len(strides) > 1:
        return f"it joins layers whose units are not equally far apart in the image: {_names([crossed(s) for s in sorted(strides)])}"
    try:
        layer.channels(*widths)
    except ShapeError as error:
        return error.message.rstrip(".")
    return ""


def _simple_weights(record: _Record) -> Callable[[], list[Any]]:
    """A function that reads a layer's filters and biases, from new or old fields."""

    def weights() -> list[Any]:
        cell = record.get("weights")
        if isinstance(cell, Cell):
            return list(itertools.islice(cell, 3))
        if cell is not None:
            raise WeightsFormatError(f"{record.place('weights')} should be a cell, and is {_what(cell)}.")
        if record.get("filters") is None:
            raise WeightsFormatError(
                f"{record.where} has neither weights nor filters; its fields are {_names(record.struct.names)}."
            )
        return [record.get("filters"), record.get("biases")]

    return weights


def _parameters(root: _Record) -> dict[str, Callable[[], Any]]:
    """For each parameter of a DagNN, by name, a function that reads its value."""
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
        values[name] = functools.cache(functools.partial(record.get, "value"))  # layers may share a parameter
    return values


def _as_struct(net: Network) -> dict[str, Any]:
    meta: dict[str, Any] = {}
    if net.input_shape is not None:
        channels, rows, columns = net.input_shape
        meta["inputSize"] = np.array([[rows, columns, channels]], np.float64)
    statistics = {"averageImage": net.mean, "std": net.std}
    normalization = {name: _known(array.transpose(1, 2, 0)) for name, array in statistics.items() if array is not None}
    if normalization:
        meta["normalization"] = normalization
    if net.classes is not None:
        meta["classes"] = {"name": _cell([_text(name) for name in net.classes])}
    if net.moments:
        pairs = [(float(number), *map(_as_field, pair)) for number, pair in net.moments.items()]
        meta["moments"] = _structs(("layer", "mean", "std"), pairs)
    if net.aliases:
        meta["aliases"] = _structs(("alias", "name"), [tuple(map(_text, pair)) for pair in net.aliases.items()])
    if net.notes:
        meta["notes"] = _cell([_text(note) for note in net.notes])
    graph = {"layers": _cell([_as_layer(layer) for layer in net.layers])} if net.is_chain else _as_dag(net)
    return {**graph, "meta": meta}


def _as_layer(layer: Layer) -> dict[str, Any]:
    """A layer as a struct with the fields that vl_simplenn needs, and our own."""
    fields: dict[str, Any] = {**_settings(layer), **_own(layer), "type": _type(layer, 0), "precious": False}
    if layer.name is not None:
        fields["name"] = _text(layer.name)
    weights = _weights(layer)
    if weights:
        fields["weights"] = _cell(weights)
    return fields


def _as_dag(net: Network) -> dict[str, Any]:
    """A network as the struct that ``dagnn.DagNN.loadobj`` takes, with our own fields in one that it ignores."""
    layers, params = list[tuple[Any, ...]](), list[tuple[Any, ...]]()
    for number, (layer, name) in enumerate(zip(net.layers, _identifiers(net), strict=True), 1):
        labels = ["label"] if isinstance(layer, Loss) else []
        inputs = [f"x{i}" if i else "input" for i in net.inputs[number - 1]] + labels
        weights = {f"{name}_{k}": array for k, array in enumerate(_weights(layer), 1)}
        block = _settings(layer)
        if "pool" in block:
            block["poolSize"] = block.pop("pool")
        if isinstance(layer, Loss):
            block["loss"] = "log"
        if isinstance(layer, (Scale, Gate)):
            block["hasBias"] = isinstance(layer, Scale)
        if isinstance(layer, Conv):
            block |= {"size": _row(layer.filters.transpose(2, 3, 1, 0).shape), "hasBias": True}
        if isinstance(layer, BatchNorm):
            block["numChannels"] = float(layer.scale.size)
            weights.setdefault(f"{name}_3", np.zeros((layer.scale.size, 2), np.float32))
        own = {"name": _text(layer.name or ""), **_own(layer)}
        layers.append((name, _type(layer, 1), _cell(inputs), _cell([f"x{number}"]), _cell(list(weights)), block, own))
        params += weights.items()
    variables = dict.fromkeys(variable for layer in layers for variable in (*layer[2][0], *layer[3][0]))
    return {
        "layers": _structs(("name", "type", "inputs", "outputs", "params", "block", "decoding"), layers),
        "params": _structs(("name", "value"), params),
        "vars": _structs(("name", "precious"), [(name, False) for name in variables]),
    }


def _identifiers(net: Network) -> list[str]:
    """For each layer a name that MATLAB allows and no other layer has: its own name if possible."""
    counts = Counter(layer.name for layer in net.layers)
    fit = [counts[name] == 1 and re.fullmatch(IDENTIFIER, name) is not None for name in net.names]
    taken = {name for name, fits in zip(net.names, fit, strict=True) if fits}

    def free(name: str) -> str:
        return free(name + "_") if name in taken else name

    return [name if fits else free(f"layer{k}") for k, (name, fits) in enumerate(zip(net.names, fit, strict=True), 1)]


def _settings(layer: Layer) -> dict[str, Any]:
    """The fields that MatConvNet needs for a layer besides its weights; those for training get MatConvNet's defaults."""
    settings: dict[str, Any] = {}
    if isinstance(layer, Conv):
        settings["dilate"] = _row(layer.dilation)
    elif isinstance(layer, Pool):
        settings |= {"method": "avg" if isinstance(layer, AvgPool) else "max", "pool": _row(layer.size)}
    elif isinstance(layer, BatchNorm):
        settings["epsilon"] = layer.epsilon
    elif isinstance(layer, Dropout):
        settings["rate"] = 0.5
    elif isinstance(layer, ReLU):
        settings["leak"] = layer.leak
    elif isinstance(layer, LRN):
        settings["param"] = _row((layer.depth, layer.kappa, layer.alpha, layer.beta))
    elif type(layer) not in TYPES and not isinstance(layer, UnsupportedLayer):
        settings |= {
            name: _as_field(value) for name, value in layer.fields().items() if name not in COMMON and value is not None
        }
    if isinstance(layer, (Conv, Pool)):
        settings |= {"stride": _row(layer.stride), "pad": _row(layer.pad), "opts": _cell([])}
    return settings


def _own(layer: Layer) -> dict[str, Any]:
    """The fields of a layer that MatConvNet does not know."""
    factors = {
        what: value for what, value in layer.fields().items() if what in ("gain", "curvature") and value is not None
    }
    own = {what: _as_field(value) for what, value in factors.items()}
    if isinstance(layer, Conv) and layer.groups > 1:
        own["groups"] = float(layer.groups)
    if isinstance(layer, UnsupportedLayer):
        own["unsupported"] = _text(layer.reason)
    return own


def _weights(layer: Layer) -> list[Array]:
    """The arrays that MatConvNet keeps for a layer."""
    if isinstance(layer, Conv):
        return [_known(layer.filters.transpose(2, 3, 1, 0)), _known(layer.bias[np.newaxis])]
    if isinstance(layer, BatchNorm):
        moments = [] if layer.mean is None or layer.std is None else [np.stack([layer.mean, layer.std], axis=1)]
        return [_known(column) for column in (layer.scale[:, None], layer.bias[:, None], *moments)]
    if isinstance(layer, Scale):
        return [_known(layer.scale[None, None]), _known(layer.bias[None, None])]
    return []


def _type(layer: Layer, form: int) -> str:
    """The type of the layer in a SimpleNN (`form` 0) or a DagNN (1)."""
    if isinstance(layer, UnsupportedLayer):
        return _text(layer.type)
    own = f"decoding.{layer.kind}"
    if OWN.get(own) is not type(layer):
        raise InvalidValueError(f"save_matconvnet: the layer {layer!r} is of a class that cannot be written to a file.")
    return TYPES[type(layer)][form] if type(layer) in TYPES else own


def _as_field(value: Any) -> Any:
    """A value for one of our own fields. Arrays get two more axes, by which they can be told from single numbers when read."""
    if isinstance(value, str):
        return _text(value)
    array = np.asarray(value)
    array = _known(array) if array.dtype.kind == "f" else array
    return array[..., np.newaxis, np.newaxis] if array.ndim else array


def _field(record: _Record, name: str) -> Any:
    """A value that `_as_field` wrote."""
    value = record.get(name)
    if value is None or isinstance(value, str):
        return value
    if not isinstance(value, np.ndarray):
        raise WeightsFormatError(f"{record.place(name)} should be numbers or text, and is {_what(value)}.")
    if value.ndim > 2 and value.shape[-2:] == (1, 1):
        return value.reshape(value.shape[:-2])
    return value.item() if value.size == 1 else value.ravel()


def _made(kind: type[Layer], record: _Record, name: str | None) -> Layer:
    """A layer that was written with the arguments of its constructor as fields."""
    names = set(kind._parameters()) - COMMON
    fields = {argument: value for argument in sorted(names) if (value := _field(record, argument)) is not None}
    try:
        layer = kind(**fields, name=name)
    except DecodingError:
        raise
    except (TypeError, ValueError, OverflowError) as error:
        raise WeightsFormatError(f"its fields do not make a {kind.__name__}: {printable(str(error), 200)}.") from None
    for argument in names - layer.weights.keys() - {"channels"}:  # the channels of a Select may have any number
        numbers = np.asarray(getattr(layer, argument))
        if numbers.dtype.kind in "iuf" and np.any(np.abs(numbers[np.isfinite(numbers)]) > LARGEST):
            raise WeightsFormatError(f"{record.place(argument)} should be at most {LARGEST}, not {numbers.tolist()}.")
    return layer


def _text(text: str) -> str:
    if "\0" in text or any("\ud800" <= c <= "\udfff" for c in text):
        raise InvalidValueError(
            f"save_matconvnet: '{printable(text)}' holds a zero or half a character, which cannot be written. Rename it."
        )
    return text


def _structs(names: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> Array:
    structs = np.empty((1, len(rows)), [(name, object) for name in names])
    for i, row in enumerate(rows):
        structs[0, i] = row
    return structs


def _cell(values: Sequence[Any]) -> Array:
    cell = np.empty((1, len(values)), object)
    cell[0, :] = values
    return cell


def _row(numbers: Sequence[float]) -> Array:
    return np.array([numbers], np.float64)


def _known(array: Array) -> Array:
    """The array in a precision that MATLAB knows."""
    if array.dtype.itemsize > 8:
        raise InvalidValueError(f"save_matconvnet: MATLAB does not know {array.dtype}; make it float64.")
    return array.astype(np.promote_types(array.dtype, np.float32))


def _options(record: _Record) -> dict[str, float]:
    """The name-value pairs in a layer's ``opts``, except those that do not change results, such as CuDNN."""
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


def _what(value: Any) -> str:
    """A value from a file in a few words, for messages."""
    if value is None:
        return "empty"
    if isinstance(value, str):
        return f"the text '{printable(value)}'"
    if isinstance(value, Other):
        return value.what + ELSEWHERE.get(value.what.removeprefix("object of class "), "")
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {crossed(value.shape)}"
    return f"{type(value).__name__.lower()} {crossed(value.shape)}"


def _names(names: Sequence[str], most: int = 12) -> str:
    """Names from a file, made safe to print, the first `most` of them."""
    return cut([printable(name) for name in names], most)
