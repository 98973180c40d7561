"""The graph of an ONNX file, read node by node; and how its image is found."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from ..arguments import Array, crossed, printable
from ..builder import LARGEST_IMAGE, Builder, Cannot, Opaque, Tensor, View
from ..errors import DecodingError, InvalidValueError, ShapeError, WeightsFormatError
from ..layers import Shape
from ..network import Network
from .folding import FOLDED
from .names import Names
from .operators import OPERATORS, REASONS
from .quantized import QUANTIZED
from .runtime import BLOCKED, DOMAIN, FUSED, ONE_PROCESSOR
from .wire import MOST_AXES, MOST_FOLDED, MOST_WEIGHTS, Store

Table = dict[str, Callable[["Reader", "Node", list[Any]], Any]]
OWN: Table = {**OPERATORS, **QUANTIZED}
MICROSOFTS: Table = {**FUSED, **QUANTIZED}
UNKNOWN = "The file does not say how its images were normalized: give mean= and std=."


class WrongArgument(InvalidValueError):
    """An argument that does not fit the file, which itself is right."""


class Node:
    """One node: its inputs, and its attributes by name."""

    def __init__(self, proto: Any, number: int, store: Store) -> None:
        self.proto, self.number, self.store = proto, number, store
        self.type: str = proto.op_type
        self.inputs: list[str] = list(proto.input)
        self.outputs: list[str] = list(proto.output)
        self.attributes = {attribute.name: attribute for attribute in proto.attribute}

    def __contains__(self, name: str) -> bool:
        return name in self.attributes

    @property
    def what(self) -> str:
        name = self.proto.name or (self.outputs[0] if self.outputs else "")
        return f"node {self.number} '{printable(name)}' ({printable(self.type)})"

    def integer(self, name: str, default: int = 0) -> int:
        attribute = self.attributes.get(name)
        if attribute is None:
            return default
        if attribute.type not in (0, 2):
            raise WeightsFormatError(f"its {name} should be an integer.")
        return int(attribute.i)

    def number_(self, name: str, default: float) -> float:
        attribute = self.attributes.get(name)
        if attribute is None:
            return default
        if attribute.type not in (0, 1):
            raise WeightsFormatError(f"its {name} should be a number.")
        return float(attribute.f)

    def integers(self, name: str, default: Sequence[int] | None = None) -> list[int] | None:
        attribute = self.attributes.get(name)
        if attribute is None:
            return None if default is None else list(default)
        if attribute.type not in (0, 7) or len(attribute.ints) > MOST_FOLDED:
            raise WeightsFormatError(f"its {name} should be integers.")
        return [int(n) for n in attribute.ints]

    def numbers(self, name: str) -> list[float]:
        attribute = self.attributes.get(name)
        if attribute is not None and (attribute.type not in (0, 6) or len(attribute.floats) > MOST_FOLDED):
            raise WeightsFormatError(f"its {name} should be numbers.")
        return [] if attribute is None else [float(x) for x in attribute.floats]

    def text(self, name: str, default: str = "") -> str:
        attribute = self.attributes.get(name)
        return default if attribute is None else bytes(attribute.s).decode("utf-8", "replace")


# What is raised when the inputs or attributes of a node are not those of its operator.
ODD = (ValueError, TypeError, IndexError, KeyError, AttributeError, AssertionError, ArithmeticError)


class Reader:
    """Goes through the nodes of a graph in order, and has a `Builder` add the layers."""

    def __init__(
        self,
        model: Any,
        store: Store,
        input_shape: Sequence[int] | None,
        image: str | None,
        progress: Callable[[int, int], None] | None,
    ) -> None:
        self.graph, self.store, self.progress = model.graph, store, progress
        self.opset = max((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), default=1)
        self.functions = {(function.domain, function.name) for function in model.functions}
        self.stored = {tensor.name: tensor for tensor in self.graph.initializer}
        self.sparse = {tensor.values.name for tensor in self.graph.sparse_initializer}
        self.values: dict[str, Tensor | Cannot] = {}
        self.readers: dict[str, int] = {}
        self.notes: list[str] = []
        self.hint = ""  # the end of messages about what does not fit
        for node in self.graph.node:
            for name in node.input:
                self.readers[name] = self.readers.get(name, 0) + 1
        for output in self.graph.output:
            self.readers[output.name] = self.readers.get(output.name, 0) + 1
        self.made = {value.name for value in self.graph.input} | set(self.stored) | self.sparse
        self.nodes = self.in_order()
        self.names = Names(self.graph.node)
        self.start(input_shape, image)

    def in_order(self) -> list[Node]:
        """The nodes, sorted so that each comes after those that make what it reads; a few exporters do not sort them."""
        nodes = [Node(proto, number, self.store) for number, proto in enumerate(self.graph.node, 1)]
        makers: dict[str, Node] = {}
        for node in nodes:
            for name in filter(None, node.outputs):
                if name in self.made or name in makers:
                    raise WeightsFormatError(
                        f"{node.what} makes '{printable(name)}', which an input or another node has made already."
                    )
                makers[name] = node
        order: list[Node] = []
        waiting: dict[str, list[tuple[Node, Iterator[str]]]] = {}
        ready = [(node, iter(node.inputs)) for node in reversed(nodes)]
        while ready:
            node, reads = ready.pop()
            lacks = next((name for name in reads if name and name not in self.made), None)
            if lacks is not None:
                waiting.setdefault(lacks, []).append((node, reads))
                continue
            order.append(node)
            for name in filter(None, node.outputs):
                self.made.add(name)
                ready += waiting.pop(name, [])[::-1]
        for name, ((node, _), *_) in waiting.items():
            why = "the graph has a cycle" if name in makers else "no node of the graph makes it"
            raise WeightsFormatError(f"{node.what} reads '{printable(name)}' before it is made: {why}.")
        return order

    def start(self, input_shape: Sequence[int] | None, image: str | None) -> None:
        """Find the image among the inputs, and its size."""
        inputs = [candidate for candidate in self.graph.input if candidate.name not in self.stored]
        if image is not None:
            chosen = [candidate for candidate in inputs if candidate.name == image]
        else:
            chosen = [candidate for candidate in inputs if _rank(candidate) in (4, None)]
            chosen = (
                chosen if len(chosen) == 1 else [candidate for candidate in chosen if _rank(candidate) == 4] or chosen
            )
        names = ", ".join(f"'{printable(candidate.name)}'" for candidate in inputs[:8]) or "none"
        if not inputs:
            raise WeightsFormatError("its graph has no inputs, so it computes the same for every image.")
        if len(chosen) != 1:
            what = (
                f"no input '{printable(image)}'" if image is not None else f"{len(chosen)} inputs that may be the image"
            )
            kind = WeightsFormatError if image is None else WrongArgument
            raise kind(f"it has {what}: its inputs are {names}. Give image= the name of one.")
        value = chosen[0]
        if not value.type.HasField("tensor_type"):
            raise WeightsFormatError(f"its input '{printable(value.name)}' is no tensor.")
        sizes = [dim.dim_value if dim.HasField("dim_value") else 0 for dim in value.type.tensor_type.shape.dim]
        known = [n if 0 < n <= LARGEST_IMAGE else 0 for n in sizes]
        if len(known) not in (0, 4):
            raise WeightsFormatError(
                f"its input '{printable(value.name)}' has {len(known)} axes {tuple(sizes[:8])}; images have four."
            )
        last = self.channels_last(value.name, known)
        shape = self.shape(value.name, known, last, input_shape)
        images = known[0] if known and 1 < known[0] <= 4096 else 1
        self.builder: Builder = Builder(shape, images)
        self.image_shape, self.last = shape, last
        self.values[value.name] = self.builder.image(last)
        for candidate in inputs:
            if candidate is not value:
                self.values[candidate.name] = Cannot(
                    f"it reads '{printable(candidate.name)}', an input besides the image"
                )
                self.notes.append(
                    f"The input '{printable(candidate.name)}' is not the image, and what reads it is not supported."
                )

    def shape(self, name: str, known: list[int], last: bool, given: Sequence[int] | None) -> Shape:
        if given is not None:
            if np.shape(given) != (3,) or not all(
                isinstance(n, (int, np.integer)) and 0 < n <= LARGEST_IMAGE for n in given
            ):
                raise WrongArgument(f"load_onnx: input_shape must be (C, H, W), each at least 1, not {given!r}.")
            channels = (known[3] if last else known[1]) if known else 0
            if channels and channels != given[0]:
                raise WrongArgument(
                    f"load_onnx: input_shape {tuple(given)} has {given[0]} channels, and the file's images have {channels}"
                    + (" (last)." if last else ".")
                )
            said = [*known[3:], *known[1:3]] if last else known[1:]
            if said and all(said) and said != [int(n) for n in given]:
                self.hint = f" The file's own images are {crossed(said)}: without input_shape they are taken."
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
        """Whether the image has its channels last, judging by the first node that reads it, or else by its sizes."""
        read = {name}
        for node in self.nodes:
            if not read.intersection(node.inputs):
                continue
            if node.type == "Transpose":
                order = [
                    int(n) for attribute in node.proto.attribute if attribute.name == "perm" for n in attribute.ints
                ]
                return order == [0, 3, 1, 2]
            if node.type in ("Conv", "MaxPool", "AveragePool", "BatchNormalization", "QLinearConv"):
                return False
            if node.type in ("Cast", "Identity", "Sub", "Add", "Mul", "Div", "Pad", "Resize"):
                read.update(node.outputs)
        return len(known) == 4 and known[3] in (1, 3, 4) and known[1] not in (1, 3, 4)

    def network(self, unknown: bool) -> Network:
        """The network; with a note if its mean and deviation are `unknown`."""
        for done, node in enumerate(self.nodes, 1):
            self.node(node)
            if self.progress is not None:
                self.progress(done, len(self.nodes))
        outputs: list[Tensor] = []
        for output in self.graph.output:
            if output.name not in self.made:
                raise WeightsFormatError(f"its output '{printable(output.name)}' is made by no node.")
            value = self.values.get(output.name)
            if isinstance(value, (View, Opaque)):
                value = self.builder.settled(value, output.name)
                outputs.append(value)
                self.builder.aliases[output.name] = value.layer
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

    def node(self, node: Node) -> None:
        """Find the values of a node's outputs."""
        candidates = self.names.of(node)
        self.builder.label = candidates[0]
        try:
            results = self.run(node, self.table(node))
        except Cannot as error:
            results = self.blocked(node, str(error))
        except DecodingError as error:
            raise type(error)(f"{node.what}: {error}{self.hint}") from error
        for name, value in zip(
            node.outputs,
            [
                *results,
                *[Cannot("it reads a further output of an operator, which is not computed here")] * len(node.outputs),
            ],
            strict=False,
        ):
            if name:
                self.values[name] = value
        first = results[0] if results else None
        if isinstance(first, (View, Opaque)):
            self.builder.within(self.names.placed(node.proto)[0], first.layer)
            for name in candidates[:-1]:
                self.builder.aliases.setdefault(name, first.layer)

    def table(self, node: Node) -> Table:
        """The operators of the node's domain, by name."""
        domain = node.proto.domain
        if (domain, node.type) not in self.functions:
            if domain in ("", "ai.onnx"):
                return OWN
            if domain == DOMAIN and node.type in MICROSOFTS:
                return MICROSOFTS
            if domain == BLOCKED:
                self.warn(f"Some of it can neither be run nor decoded: {ONE_PROCESSOR}.")
                raise Cannot(ONE_PROCESSOR)
        raise Cannot(f"it is an operator of '{printable(domain)}', which is not known here")

    def warn(self, note: str) -> None:
        if note not in self.notes:
            self.notes.append(note)

    def blocked(self, node: Node, reason: str) -> list[Any]:
        """An unsupported layer as the outputs of a node; if the node reads only constants, a constant that cannot be read."""
        below = [value for value in map(self.peek, node.inputs) if isinstance(value, (View, Opaque))]
        if not below and not any(isinstance(self.peek(name), Cannot) for name in node.inputs):
            return [Cannot(reason)] * max(len(node.outputs), 1)
        opaque = self.builder.unsupported(node.type, below, reason)
        return [opaque] * max(len(node.outputs), 1)

    def peek(self, name: str) -> Tensor | Cannot | None:
        return self.values.get(name)

    def value(self, node: Node, i: int) -> Tensor | None:
        """Input `i` of a node, read from the file if it is stored there; None if it is left out."""
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

    def run(self, node: Node, operators: Table) -> list[Any]:
        """The outputs of a node."""
        folded = FOLDED if operators is OWN or node.type in ("QuantizeLinear", "DequantizeLinear") else {}
        if node.type not in operators and node.type not in folded:
            raise Cannot(REASONS.get(node.type, "it has no decoding, or is not known here"))
        values = [self.value(node, i) for i in range(len(node.inputs))]
        if not any(isinstance(value, View) for value in values):
            if node.type not in folded:
                raise Cannot("it computes with constants in a way that is not known here")
            with np.errstate(all="ignore"):
                try:
                    return folded[node.type](self, node, values)
                except DecodingError:
                    raise
                except ODD as error:
                    raise Cannot(f"its constants do not fit each other: {printable(str(error), 100)}") from None
        if node.type not in operators:
            raise Cannot(REASONS.get(node.type, "it has no decoding, or is not known here"))
        try:
            result = operators[node.type](self, node, values)
        except DecodingError:
            raise
        except ODD as error:
            raise Cannot(f"its arguments are not those of its kind: {printable(str(error), 100)}") from None
        return result if isinstance(result, list) else [result]

    # What operators call

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

    def whole_numbers(self, node: Node, values: Sequence[Any], i: int, attribute: str) -> list[int] | None:
        """Integers that are an attribute in old operator sets, and input `i` in new ones."""
        if attribute in node:
            return node.integers(attribute)
        array = self.constant(values, i, attribute)
        if array is None:
            return None
        if array.size > MOST_FOLDED or array.dtype.kind not in "iu":
            raise ShapeError(f"its {attribute} should be a few integers, and are {array.dtype} {array.shape}.")
        return [int(n) for n in array.ravel()]

    def sole(self, node: Node, i: int) -> bool:
        return self.readers.get(node.inputs[i], 0) == 1

    def bounded(self, shape: Sequence[int], *sources: Array) -> tuple[int, ...]:
        """The shape of a constant, if it is small or no larger than arrays that are stored; else it is refused."""
        most = max([MOST_FOLDED, *(source.size for source in sources if any(source.strides) or source.size <= 1)])
        if len(shape) > MOST_AXES or any(n < 0 for n in shape) or math.prod(shape) > most:
            raise Cannot(f"it computes a constant of the shape {tuple(shape)[:8]}, which is too large")
        self.store.spend(8 * math.prod(shape), f"a constant {tuple(shape)}")
        return tuple(int(n) for n in shape)

    def spread(self, value: Array, shape: Sequence[int]) -> Array:
        """A constant with equal entries, kept as one value and a shape."""
        if len(shape) > MOST_AXES or any(n < 0 or n > 2**40 for n in shape) or math.prod(shape) > 2**40:
            raise Cannot(f"it computes a constant of the shape {tuple(shape)[:8]}, which is too large")
        return np.broadcast_to(value, tuple(int(n) for n in shape))


def _rank(value: Any) -> int | None:
    if not value.type.HasField("tensor_type"):
        return 0
    return len(value.type.tensor_type.shape.dim) if value.type.tensor_type.HasField("shape") else None
