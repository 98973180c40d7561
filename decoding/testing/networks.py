"""Networks in which every class of what layers can be occurs, and every two classes that can occur together.

Like a call in `conditions`, a network is described by a row, with a class for each factor: the depth, the window, steps, pads, groups and
dilation of its main convolution, how branches meet, the rectifier, the pool, their gain, and the interpolation of the unpooling. If the
network is deeper than the layers that the row describes, plain layers are added, half of them below these and half above.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from functools import lru_cache
from itertools import count, product
from typing import Any, NamedTuple

import numpy as np

from ..arguments import Array, Pads, Pair
from ..errors import ShapeError
from ..interpolation import MODES
from ..layers import AvgPool, Concat, Conv, Gate, Layer, MaxPool, ReLU, Select, Shape, Sum
from ..network import Network
from .conditions import Coverage, cover
from .operators import PADS, Row, Table, varied

VALUES = ("integers", "reals")
DEEPEST = 16
EACH = "one for each channel"
# The checks that look at all of them, each at those of one interpolation, or of one kind of numbers.
CHECKED = {f"forward_{values}" for values in VALUES} | {f"decode_filter_{mode}" for mode in MODES}
# What meets, and in what: the convolution's responses, and beside them …
JOINS: dict[str, tuple[type[Layer], str] | None] = {
    "none": None,
    "sum with what it reads": (Sum, "below"),
    "sum with itself": (Sum, "itself"),
    "sum with channels that are picked": (Sum, "picked"),
    "sum with a sum": (Sum, "sum"),
    "sum of three, two of them convolutions": (Sum, "two convolutions"),
    "sum of what is picked in steps": (Sum, "steps"),
    "concatenation with what it reads": (Concat, "below"),
    "concatenation with channels that are picked twice, left out or new": (Concat, "new"),
    "concatenation of three, with a convolution of maxima": (Concat, "maxima"),
    "sum with a gate": (Gate, "gate"),
}
# Layers beside those two; else one.
MORE = {"below": 0, "itself": 0, "two convolutions": 2, "sum": 2, "maxima": 2, "gate": 2}
RECTIFIERS: dict[str, Callable[[Any], Layer] | None] = {
    "none": None,
    "plain": lambda gain: ReLU(gain=gain),
    "with a leak": lambda gain: ReLU(leak=0.5, gain=gain),
    "with a leak above one": lambda gain: ReLU(leak=2.0, gain=gain),
    "turned round": lambda gain: ReLU(leak=-1.0, gain=gain),
}
POOLS: dict[str, Callable[[Any], Layer] | None] = {
    "none": None,
    "maxima, side by side": lambda gain: MaxPool(2, gain=gain),
    "maxima that overlap": lambda gain: MaxPool(3, 2, gain=gain),
    "maxima with gaps": lambda gain: MaxPool((2, 1), (3, 2), gain=gain),
    "maxima with pads": lambda gain: MaxPool((3, 2), (2, 2), pad=(1, 1, 0, 1), gain=gain),
    "averages, side by side": lambda gain: AvgPool((1, 2), gain=gain),
    "averages that overlap": lambda gain: AvgPool(2, 1, gain=gain),
    "averages with pads": lambda gain: AvgPool(2, 2, pad=(1, 0, 0, 1), gain=gain),
}
GAINS: dict[str, Callable[[int], Any]] = {
    "none": lambda channels: None,
    "one for all": lambda channels: 2.0,
    "one for each channel": lambda channels: np.resize([1.0, 2.0, 0.5, -1.0], channels),
    "zero for some": lambda channels: np.append(np.resize([0.0, 3.0], channels - 1), 1.0),
}
FACTORS: Table = {
    "depth": (8, 1, 2, 3, 4, 5, 6, 7, 9, 12, 13, DEEPEST),
    "join": tuple(JOINS),
    "pool": tuple(POOLS),
    "window": ((2, 3), (1, 1), (3, 3), (2, 2), (1, 3), (3, 1), (5, 5)),
    "groups": (1, 2, 3, 4, EACH),
    "pad": ("none", "one all around", "above", "below", "left", "right", "all different"),
    "rectifier": tuple(RECTIFIERS),
    "gain": tuple(GAINS),
    "dilation": ((1, 1), (2, 2), (1, 2), (3, 1)),
    "stride": ((1, 1), (2, 2), (1, 2), (3, 1)),
    "channels": (2, 1, 3),  # of each group
    "filters": (2, 1, 3),  # of each group
    "images": (2, 1, 3),
    "mode": MODES,
    "bias": (True, False),
    "values": VALUES,
}  # fmt: skip


class Case(NamedTuple):
    """A network that a row describes, the row, and images."""

    net: Network
    row: Row
    images: Array


class Sketch:
    """A network as it is drawn: its layers, what they read, and the shapes of all responses, the image's first."""

    def __init__(self, image: Shape) -> None:
        self.layers, self.inputs, self.shapes = list[Layer](), list[tuple[int, ...]](), [image]

    def put(self, layer: Layer, *below: int) -> int:
        """The number of the layer, which reads those `below`."""
        self.shapes.append(layer.shape(*(self.shapes[i] for i in below)))
        self.layers.append(layer)
        self.inputs.append(below)
        return len(self.layers)

    def network(self) -> Network:
        """The network, when all layers are there."""
        return Network(self.layers, inputs=self.inputs, input_shape=self.shapes[0])


@lru_cache(maxsize=1)
def covering() -> tuple[tuple[Row, ...], int, int]:
    """Rows in which every pair of classes occurs that can: the shallow ones first; pairs found, and possible."""
    return cover(FACTORS, _depth, DEEPEST, [{}, {"rectifier": "plain"}, {"pool": "maxima, side by side"}])


def coverage() -> Coverage:
    """What `cases` have in them; the longest is the deepest."""
    rows, pairs, possible = covering()
    return Coverage(len(FACTORS), sum(map(len, FACTORS.values())), pairs, possible, len(rows) + len(usual()), DEEPEST)


def usual() -> list[Row]:
    """Rows with a filter for each channel, or few groups, under 3×3 windows, in steps or spread out, as networks have them."""
    base = {name: classes[0] for name, classes in FACTORS.items()}
    base |= {"depth": 2, "window": (3, 3), "pad": "one all around", "rectifier": "plain"}
    kinds = product(((EACH, 1, 1), (EACH, 1, 2), (2, 2, 2)), (((1, 1), (1, 1)), ((2, 2), (1, 1)), ((1, 1), (2, 2))))
    return [
        base | {"groups": groups, "channels": c, "filters": k, "stride": stride, "dilation": dilation}
        for (groups, c, k), (stride, dilation) in kinds
    ]


@lru_cache(maxsize=1)
def cases() -> tuple[Case, ...]:
    """A network for each row of the covering array, and for the usual ones."""
    return tuple(map(case, (*covering()[0], *usual())))


@lru_cache(maxsize=1)
def few() -> tuple[Case, ...]:
    """Some of them, shallow ones first, that have every class of all conditions but the depth; of small integers."""
    seen, found = set[tuple[str, Any]](), list[Case]()
    for row in covering()[0]:
        classes = {each for each in row.items() if each[0] not in ("depth", "mode", "images", "values")}
        if not classes <= seen:
            seen |= classes
            found.append(case(row | {"values": "integers"}))
    return tuple(found)


def _needed(row: Row) -> int:
    """How many layers a row speaks of."""
    join = JOINS[row["join"]]
    beside = sum(row[what] != "none" for what in ("rectifier", "pool"))
    return 1 + int(beside) + (0 if join is None else 2 + MORE.get(join[1], 1))


def _depth(row: Row) -> float:
    """How deep it is; infinitely where there are too few layers, or none that has the gain."""
    has_gain = row["gain"] == "none" or (row["rectifier"], row["pool"]) != ("none", "none")
    return float(row["depth"]) if has_gain and row["depth"] >= _needed(row) else math.inf


def case(row: Row) -> Case:
    """The network that a row describes, with the smallest images that it can have."""
    for rows in count(1):
        with contextlib.suppress(ShapeError):
            net, shape = _built(row, rows)
            images = varied(row["images"], *shape, most=2)
            return Case(net, row, images if row["values"] == "integers" else images / 3)
    raise AssertionError


def _built(row: Row, rows: int) -> tuple[Network, Shape]:
    groups = 4 + row["channels"] if row["groups"] == EACH else row["groups"]
    width = 1 if row["groups"] == EACH else row["channels"]
    net, spare = Sketch((groups * width, rows, rows + 3)), row["depth"] - _needed(row)
    top = _filled(net, 0, spare // 2)
    steps = [convolved, rectified, *([joined, pooled] if row["depth"] % 2 else [pooled, joined])]
    if row["depth"] % 3 == 0:  # the pool below the convolution
        steps = [pooled, *(step for step in steps if step is not pooled)]
    for step in steps:
        top = step(net, top, row)
    _filled(net, top, spare - spare // 2)
    return net.network(), net.shapes[0]


def _filled(net: Sketch, top: int, layers: int) -> int:
    """So many plain layers: channels that change places, some with another sign; a network begins with such a pick, no convolution."""
    for _ in range(layers):
        channels = net.shapes[top][0]
        signs = np.resize([1.0, -1.0, 1.0], channels)
        swap = Conv((np.eye(channels)[::-1] * signs)[:, :, np.newaxis, np.newaxis])
        top = net.put(Select(np.roll(np.arange(channels), 1).tolist()) if len(net.layers) % 2 == 0 else swap, top)
    return top


def convolved(net: Sketch, top: int, row: Row) -> int:
    """The main convolution."""
    channels = net.shapes[top][0]
    groups = channels if row["groups"] == EACH else math.gcd(row["groups"], channels)
    filters = varied(groups * row["filters"], channels // groups, *row["window"], most=1)
    bias = varied(len(filters)) if row["bias"] else None
    options = {"stride": row["stride"], "pad": PADS[row["pad"]](*row["window"]), "dilation": row["dilation"]}
    return net.put(Conv(filters if row["values"] == "integers" else filters / 3, bias, groups=groups, **options), top)


def rectified(net: Sketch, top: int, row: Row) -> int:
    """The rectifier, if there is one."""
    return _with_gain(net, top, row, RECTIFIERS[row["rectifier"]])


def pooled(net: Sketch, top: int, row: Row) -> int:
    """The pool, if there is one."""
    return _with_gain(net, top, row, POOLS[row["pool"]])


def _with_gain(net: Sketch, top: int, row: Row, made: Any) -> int:
    """The layer that is made with the gain of the row; none if there is none to make."""
    return top if made is None else net.put(made(GAINS[row["gain"]](net.shapes[top][0])), top)


def joined(net: Sketch, top: int, row: Row) -> int:
    """A convolution that keeps the size, and what it meets."""
    join = JOINS[row["join"]]
    if join is None:
        return top
    kind, beside = join
    channels, step = net.shapes[top][0], (2, 3) if beside == "steps" else (1, 1)

    def conv(filters: int, window: Pair, pad: Pads, stride: Pair = (1, 1), below: int = top) -> int:
        return net.put(Conv(varied(filters, net.shapes[below][0], *window, most=1), stride=stride, pad=pad), below)

    gain, first = GAINS[row["gain"]](channels), conv(channels, (3, 2), (1, 1, 0, 1), step)
    second = {
        "below": lambda: top,
        "itself": lambda: first,
        "picked": lambda: net.put(Select(np.roll(np.arange(channels), -1).tolist()), top),
        "new": lambda: net.put(Select([channels - 1, -1, channels - 1]), top),
        "steps": lambda: net.put(
            Select(np.roll(np.arange(channels), -1).tolist(), stride=step, start=(0, min(1, net.shapes[top][2] - 1))),
            top,
        ),
        "sum": lambda: net.put(Sum(), conv(channels, (1, 3), (0, 0, 2, 0)), top),
        "maxima": lambda: conv(
            channels, (1, 3), (0, 0, 2, 0), below=net.put(MaxPool((3, 2), 1, pad=(1, 1, 0, 1), gain=gain), top)
        ),
        "two convolutions": lambda: conv(
            channels, (1, 1), (0, 0, 0, 0), (1, 1), conv(channels + 1, (2, 1), (1, 0, 0, 0))
        ),
        "gate": lambda: conv(1, (2, 1), (0, 1, 0, 0)),
    }[beside]()
    if kind is Gate:
        return net.put(Sum(), net.put(Gate(gain=1.0 if gain is None else gain), first, second), top)
    third = [top] * (beside in ("maxima", "two convolutions"))
    return net.put(kind(), first, second, *third)
