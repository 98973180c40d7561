"""Hypothesis strategies for maps, banks, calls of operators, layers and whole networks.

Everything is drawn so that a mistake shows: the sides of an array differ, fillings are not symmetric, strides and pads
differ between rows and columns, sizes often do not divide. What shrinks, shrinks towards one image, one channel, a few
cells in a row and the filling 1, 2, 3, …, which a person can read.

`values` is ``"integers"``, small whole numbers whose sums stay exact in any floating-point format, or ``"reals"``.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from ..arguments import Array, Pads, Pair
from ..interpolation import MODES
from ..layers import (
    LRN,
    AvgPool,
    BatchNorm,
    Concat,
    Conv,
    Gate,
    Layer,
    MaxPool,
    Pool,
    ReLU,
    Select,
    Shape,
    Sigmoid,
    Softmax,
    Sum,
)
from ..network import Network
from .calls import Call

VALUES = ("integers", "reals")
LIMIT = 4  # of small integers
LEAKS = (0.0, 0.25, 0.5, 2.0, -1.0)  # exact in binary; any slope is one
FILLINGS = ("ramp", "mixed", "mixed", "mixed", "negative", "impulse", "zeros")
WINDOWS: tuple[Pair, ...] = (  # squares often: only there can rows and columns be swapped unseen
    *((1, 2), (2, 1), (1, 1), (2, 2), (2, 3), (3, 2), (3, 3), (1, 3), (3, 1), (4, 3), (5, 2), (3, 5)),
    *((2, 2), (3, 3)) * 4,
    *((3, 3), (5, 5)) * 2,  # what people use
)
POOLS: tuple[Pair, ...] = ((1, 2), (2, 1), (2, 2), (2, 3), (3, 2), (1, 4), (4, 2), (3, 1), (4, 1), (1, 1), (3, 3))
LONG_POOLS: tuple[Pair, ...] = ((1, 4), (4, 1))  # in steps of 1, they reach further past the edge than one cell
POOL_KINDS: dict[str, tuple[type[Pool], ...]] = {
    "pool": (MaxPool, AvgPool),
    "max_pool": (MaxPool,),
    "avg_pool": (AvgPool,),
}
JOINS = ("sum", "concat", "gate")
GAINS = {"integers": (1.0, 2.0, -1.0, 3.0, 0.5, 0.0), "reals": (0.3, 1.7, -0.6, 1.0, 0.05)}
STRIDES: tuple[Pair, ...] = ((1, 1), (1, 2), (2, 1), (2, 2), (2, 3), (3, 2), (1, 3), (4, 1))


@lru_cache(maxsize=1024, typed=True)
def _one_of(*values: Any) -> SearchStrategy[Any]:
    """One of these; made once, as hypothesis takes longer to make a strategy than to draw from it."""
    return st.sampled_from(values)


@lru_cache(maxsize=1024)
def _integers(least: int, most: int) -> SearchStrategy[int]:
    return st.integers(least, most)


@st.composite
def fillings(draw: DrawFn, shape: tuple[int, ...], values: str = "integers", *, limit: int = LIMIT) -> Array:
    """An array of the given shape, float64: a ramp, a mixture, negative only, one impulse, or zeros.

    Whole numbers from −`limit` to `limit`; as reals, numbers of a few decimals, all scaled by one power of two.
    """
    filling, count = draw(_one_of(*FILLINGS)), int(np.prod(shape))
    if filling == "zeros":
        return np.zeros(shape)
    if filling == "impulse":
        impulse = np.zeros(count)
        if count:
            impulse[draw(_integers(0, count - 1))] = draw(_one_of(1.0, -2.0))
        return impulse.reshape(shape)
    random = np.random.default_rng(draw(_integers(0, 2**16)))
    if values == "integers":
        whole = np.arange(count) % limit + 1 if filling == "ramp" else random.integers(-limit, limit + 1, count)
        array = whole.astype(np.float64)
    else:
        array = np.arange(count) % 97 / 8 + 0.1 if filling == "ramp" else random.normal(size=count).round(3)
        array = array * 2.0 ** draw(_one_of(0, 0, 0, 3, -3))
    if filling == "negative":
        array = -np.abs(array) - (values == "integers")
    return array.reshape(shape)


@st.composite
def maps(
    draw: DrawFn,
    values: str = "integers",
    *,
    batch: int | None = None,
    channels: int | None = None,
    least: Pair = (1, 1),
    extra: int = 5,
    limit: int = LIMIT,
) -> Array:
    """Maps (N, C, H, W) of at least `least` cells, at most `extra` more each way, H and W differing if they can."""
    n = draw(_one_of(1, 2, 3)) if batch is None else batch
    c = draw(_one_of(1, 2, 3, 5)) if channels is None else channels
    rows, columns = draw(map_sizes(least, extra))
    return draw(fillings((n, c, rows, columns), values, limit=limit))


@st.composite
def map_sizes(draw: DrawFn, least: Pair = (1, 1), extra: int = 5) -> Pair:
    """(H, W), each at least `least`: unequal, or one pixel."""
    rows = least[0] + draw(_integers(0, extra))
    columns = least[1] + draw(_integers(0, extra))
    return (rows, columns) if rows != columns or rows == 1 else (rows, columns + 1)


@st.composite
def banks(
    draw: DrawFn, values: str = "integers", *, filters: int | None = None, channels: int | None = None, limit: int = 3
) -> Array:
    """Filter banks (K, C, h, w) of every filling."""
    k = draw(_one_of(1, 2, 3, 5)) if filters is None else filters
    c = draw(_one_of(1, 2, 3)) if channels is None else channels
    return draw(fillings((k, c, *draw(_one_of(*WINDOWS))), values, limit=limit))


@lru_cache(maxsize=1)
def strides() -> SearchStrategy[Pair]:
    """(rows, columns), mostly unequal."""
    return _one_of(*STRIDES)


@lru_cache(maxsize=64)
def pads(below: Pair = (3, 3)) -> SearchStrategy[Pads]:
    """(top, bottom, left, right), each less than `below`: often none at all, or one all around."""
    rows, columns = _integers(0, min(below[0] - 1, 3)), _integers(0, min(below[1] - 1, 3))
    usual = [(0, 0, 0, 0), (1, 1, 1, 1)] if min(below) > 1 else [(0, 0, 0, 0)]
    return st.one_of(_one_of(*usual), st.tuples(rows, rows, columns, columns))


@st.composite
def correlate_calls(draw: DrawFn, values: str = "integers") -> Call:
    """Calls of `correlate`: maps that a window just fits in, or larger; with a bias and without."""
    filters = draw(banks(values))
    pad = draw(pads())
    window = filters.shape[2] - pad[0] - pad[1], filters.shape[3] - pad[2] - pad[3]
    x = draw(maps(values, channels=filters.shape[1], least=(max(window[0], 1), max(window[1], 1))))
    bias = draw(st.one_of(st.none(), fillings((len(filters),), values)))
    return Call("correlate", (x, filters, bias), {"stride": draw(strides()), "pad": pad})


@st.composite
def pool_calls(draw: DrawFn, operator: str, values: str = "integers") -> Call:
    """Calls of `max_pool` or `avg_pool`: windows that overlap, tile or leave gaps."""
    size = draw(_one_of(*POOLS))
    stride = draw(st.one_of(st.just(size), strides()))
    x = draw(maps(values, least=size))
    return Call(operator, (x,), {"size": size, "stride": stride, "pad": draw(pads(size))})


@st.composite
def relu_calls(draw: DrawFn, values: str = "integers") -> Call:
    """Calls of `relu`, with a leak and without."""
    return Call("relu", (draw(maps(values)),), {"leak": draw(_one_of(*LEAKS))})


@st.composite
def softmax_calls(draw: DrawFn, values: str = "reals") -> Call:
    """Calls of `softmax`, some on responses so large or so negative that a bare exponential overflows or vanishes.

    Some of these differ from image to image and place to place, so that no one shift will do.
    """
    x, offset = draw(maps(values)), draw(_one_of(0.0, 1000.0, -1000.0, None))
    if offset is None:
        n, _, rows, columns = x.shape
        offset = 1000.0 * ((np.arange(n * rows * columns) + draw(_integers(0, 2))) % 3 - 1).reshape(n, 1, rows, columns)
    return Call("softmax", (x if np.all(offset == 0) else np.rint(x) + offset,), {})


@st.composite
def substitute_calls(draw: DrawFn, values: str = "integers") -> Call:
    """Calls of `substitute`: copies that overlap, touch or leave gaps."""
    filters = draw(banks(values))
    return Call(
        "substitute", (draw(maps(values, channels=len(filters), extra=4)), filters), {"stride": draw(strides())}
    )


@st.composite
def unpool_calls(draw: DrawFn, values: str = "integers", *, mode: str | None = None) -> Call:
    """Calls of `unpool`, in one mode or all: pools that overlap, tile or leave gaps, maps as small as one pixel."""
    size = draw(_one_of((2, 2), *POOLS, *LONG_POOLS))
    stride = (1, 1) if size in LONG_POOLS and draw(_one_of(True, False)) else draw(st.one_of(st.just(size), strides()))
    x = draw(maps(values, extra=4))
    mode = draw(_one_of(*MODES)) if mode is None else mode
    return Call("unpool", (x,), {"size": size, "stride": stride, "mode": mode})


def calls(operator: str, values: str = "integers", *, mode: str | None = None) -> SearchStrategy[Call]:
    """Calls of the operator of that name; `mode` fixes the interpolation of `unpool`."""
    if operator in ("max_pool", "avg_pool"):
        return pool_calls(operator, values)
    if operator == "unpool":
        return unpool_calls(values, mode=mode)
    return {
        "correlate": correlate_calls,
        "relu": relu_calls,
        "softmax": softmax_calls,
        "substitute": substitute_calls,
    }[operator](values)


@st.composite
def grouped_calls(draw: DrawFn, operator: str, values: str = "integers") -> Call:
    """Calls of `correlate` or `substitute` whose channels and filters are split into 2 or 3 groups."""
    groups, share, width = draw(_one_of(2, 3)), draw(_one_of(1, 2, 3)), draw(_one_of(1, 2))
    filters = draw(fillings((groups * share, width, *draw(_one_of(*WINDOWS))), values, limit=3))
    options: dict[str, Any] = {"stride": draw(strides())}
    if operator == "substitute":
        x = draw(maps(values, channels=len(filters), extra=4))
        return Call(operator, (x, filters), {**options, "groups": groups})
    x = draw(maps(values, channels=groups * width, least=(filters.shape[2], filters.shape[3]), extra=3))
    bias = draw(st.one_of(st.none(), fillings((len(filters),), values)))
    return Call(operator, (x, filters, bias), {**options, "pad": draw(pads()), "groups": groups})


@st.composite
def convs(draw: DrawFn, channels: int = 1, within: Pair = (6, 6), values: str = "integers", *, limit: int = 2) -> Conv:
    """Convolutions of so many channels whose window fits `within` the map: strides, pads, dilation, groups, biases."""
    groups = draw(_one_of(*(g for g in (1, 1, 2, 3) if channels % g == 0)))
    pad = draw(pads((2, 3)))
    room = within[0] + pad[0] + pad[1], within[1] + pad[2] + pad[3]
    windows = [
        (size, dilation)
        for dilation in ((1, 1), (1, 1), (1, 2), (2, 1))
        for size in WINDOWS
        if (size[0] - 1) * dilation[0] < room[0] and (size[1] - 1) * dilation[1] < room[1]
    ] or [((1, 1), (1, 1))]
    size, dilation = draw(_one_of(*windows))
    filters = draw(fillings((groups * draw(_one_of(1, 2, 3)), channels // groups, *size), values, limit=limit))
    bias = draw(st.one_of(st.none(), fillings((len(filters),), values)))
    stride = draw(_one_of((1, 1), (1, 1), (1, 2), (2, 1), (2, 3)))
    return Conv(filters, bias, stride=stride, pad=pad, dilation=dilation, groups=groups)


@st.composite
def pools(draw: DrawFn, within: Pair = (6, 6), kinds: tuple[type[Pool], ...] = (MaxPool, AvgPool)) -> Pool:
    """Max and average pools whose window fits `within` the map: half of them of 2×2 in steps of 2, as the paper has."""
    kind: type[Pool] = draw(st.sampled_from(kinds))
    sizes = [size for size in ((2, 2), *POOLS) if size[0] <= within[0] and size[1] <= within[1]]
    size = draw(_one_of(*sizes))
    stride = draw(st.one_of(st.just(size), strides()))
    return kind(size, stride, pad=draw(pads(size)))


def relus() -> SearchStrategy[ReLU]:
    """Rectifiers, with a leak and without."""
    return _one_of(*LEAKS).map(lambda leak: ReLU(leak=leak))


@st.composite
def batch_norms(draw: DrawFn, channels: int = 1, values: str = "integers") -> BatchNorm:
    """Batch normalizations, with moments; the deviations are powers of two, so that whole numbers stay exact."""
    scale, bias, mean = (draw(fillings((channels,), values)) for _ in range(3))
    std = [draw(st.sampled_from((0.5, 1.0, 2.0, 4.0))) for _ in range(channels)]
    return BatchNorm(scale, bias, mean=mean, std=std)


@st.composite
def lrns(draw: DrawFn) -> LRN:
    """Response normalizations, of odd and even depth."""
    return LRN(draw(st.sampled_from((1, 2, 3, 4, 5))), kappa=1.0, alpha=draw(st.sampled_from((0.0, 0.5))), beta=0.75)


@st.composite
def norms(draw: DrawFn, channels: int = 1, values: str = "integers") -> Layer:
    """Layers that a network computes without a backend: batch and response normalization, sigmoid."""
    kind = draw(_one_of(BatchNorm, LRN, Sigmoid))
    return draw(batch_norms(channels, values)) if kind is BatchNorm else draw(lrns()) if kind is LRN else Sigmoid()


@st.composite
def gains(draw: DrawFn, channels: int, values: str = "integers") -> Any:
    """What decoding multiplies a layer by: mostly nothing, else one factor or one for each channel."""
    which = draw(_one_of("none", "none", "one", "each"))
    if which == "none":
        return None
    return draw(_factors(channels, values)) if which == "each" else draw(_one_of(*GAINS[values]))


@st.composite
def _factors(draw: DrawFn, channels: int, values: str) -> Array:
    """A factor for each channel, no two neighbours alike."""
    factors, first = GAINS[values], draw(_integers(0, 5))
    return np.array([factors[(first + k) % len(factors)] for k in range(channels)])


@st.composite
def selects(draw: DrawFn, channels: int = 1, within: Pair = (6, 6), *, stride: Pair | None = None) -> Select:
    """Channels in another order, some twice, some new, some left out; every so many pixels, the first less than a step in."""
    count = draw(_one_of(*{max(channels - 1, 1), channels, channels, channels + 1}))
    first, step = draw(_integers(0, channels)), draw(_one_of(1, 2, -1))
    chosen = [(first + step * k) % (channels + 1) - 1 for k in range(count)]  # -1 is a new one
    steps = draw(_one_of((1, 1), (1, 1), (1, 2), (2, 1), (2, 2))) if stride is None else stride
    start = [draw(_integers(0, min(step, side) - 1)) for step, side in zip(steps, within, strict=True)]
    return Select(chosen, stride=steps, start=(start[0], start[1]))


@st.composite
def convs_onto(
    draw: DrawFn, below: Shape, above: Shape, stride: Pair = (1, 1), values: str = "integers", *, window: Pair = (1, 1)
) -> Conv:
    """Convolutions from maps of one shape to maps of another, whatever window and pads do it; that `window` does."""

    def slack(side: int, size: int, step: int, wanted: int) -> int:
        """Pads that are needed; −1 where none will do."""
        pad = max((wanted - 1) * step + size - side, 0)
        return pad if (side + pad - size) // step + 1 == wanted else -1

    def needed(size: Pair) -> list[int]:
        return [slack(below[1 + a], size[a], stride[a], above[1 + a]) for a in (0, 1)]

    fits = [size for size in WINDOWS if max(size) <= 4 and min(needed(size)) >= 0 and max(needed(size)) <= 4]
    size = draw(_one_of(*(fits or [window])))
    rows, columns = needed(size)
    top, left = draw(_integers(0, rows)), draw(_integers(0, columns))
    groups = draw(_one_of(*(g for g in (1, 1, 2, 3) if below[0] % g == 0 and above[0] % g == 0)))
    filters = draw(fillings((above[0], below[0] // groups, *size), values, limit=2))
    bias = draw(st.one_of(st.none(), fillings((above[0],), values)))
    return Conv(filters, bias, stride=stride, pad=(top, rows - top, left, columns - left), groups=groups)


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


@st.composite
def networks(
    draw: DrawFn,
    values: str = "integers",
    *,
    most: int = 4,
    kinds: tuple[str, ...] = ("conv", "pool", "relu", "select", *JOINS),
) -> Network:
    """Networks of 1 to `most` layers of these `kinds`, with the size of their images; branches come on top of that.

    Kinds are ``"conv"``, ``"max_pool"``, ``"avg_pool"`` (``"pool"`` is both), ``"relu"``, ``"norm"`` (see `norms`),
    ``"select"``, those of `JOINS`, which make branches that meet (see `_branch`), and ``"softmax"``, which may end a network.
    At least one layer is a convolution, if `kinds` has it, so that the image's channels are known.
    """
    net, last = Sketch((draw(_one_of(1, 2, 3)), *draw(map_sizes((3, 3), 7)))), ""
    count = draw(_one_of(*(n for n in (1, 2, 3, 3, 4, 4, *range(5, most + 1)) if n <= most)))
    inner = [kind for kind in kinds if kind != "softmax"]
    inner += ["conv", "conv"] if "conv" in kinds else []
    while len(net.layers) < count:
        kind = draw(_one_of(*([kind for kind in inner if kind != last or kind == "conv"] or inner)))
        last = kind  # two pools or two rectifiers in a row tell little
        if (
            len(net.layers) == count - 1
            and "conv" in kinds
            and not any(isinstance(layer, Conv) for layer in net.layers)
        ):
            kind = "conv"
        if kind in JOINS:
            draw(_branch(net, kind, values, "relu" in kinds))
        else:
            small = "relu" if "relu" in kinds else "conv"
            net.put(draw(_plain_layer(kind, net.shapes[-1], values, small)), len(net.layers))
    if "softmax" in kinds and draw(_one_of(False, True, True)):
        net.put(Softmax(), len(net.layers))
    return Network(net.layers, inputs=net.inputs, input_shape=net.shapes[0])


@st.composite
def _plain_layer(draw: DrawFn, kind: str, below: Shape, values: str, small: str = "relu") -> Layer:
    """A layer of that kind that reads one other; one of the kind `small` where the maps are too small for a pool."""
    if kind in POOL_KINDS and below[1:] == (1, 1):
        kind = small
    if kind == "conv":
        return draw(convs(below[0], below[1:], values))
    if kind == "norm":
        return draw(norms(below[0], values))
    if kind == "select":
        return draw(selects(below[0], below[1:]))
    layer: Layer = draw(pools(below[1:], POOL_KINDS[kind]) if kind in POOL_KINDS else relus())
    return layer.replace(gain=draw(gains(below[0], values)))


@st.composite
def layers(draw: DrawFn, kind: str, below: Shape, values: str = "integers") -> Layer:
    """A layer of that kind, for maps of one shape; a join for several of them."""
    joins = {"sum": Sum, "concat": Concat}
    if kind == "gate":
        return Gate(gain=draw(_factors(below[0], values)))
    return joins[kind]() if kind in joins else draw(_plain_layer(kind, below, values))


@st.composite
def _branch(draw: DrawFn, net: Sketch, kind: str, values: str, rectified: bool) -> None:
    """Two branches from the last layer, of other lengths, windows, pads and steps, and the layer that joins them.

    One is a convolution. The other is nothing at all (a layer read as it is), the same layer again, channels and pixels
    picked, a convolution, or two of them.
    """
    at, below = len(net.layers), net.shapes[-1]
    if draw(_one_of(True, False)):  # a convolution that keeps the shape, as in a residual block
        conv = draw(convs_onto(below, below, (1, 1), values))
    else:
        conv = draw(convs(below[0], below[1:], values))
    first = net.put(conv, at)
    if rectified and draw(_one_of(False, True)):
        first = net.put(draw(_plain_layer("relu", net.shapes[first], values)), first)
    goal, stride = net.shapes[first], conv.stride
    picked = draw(selects(below[0], below[1:], stride=stride)).replace(channels=[k % below[0] for k in range(goal[0])])
    ways = ["conv", "long", "twice"]
    ways += ["straight"] * 2 if (stride, below) == ((1, 1), goal) else []
    ways += ["select"] * 2 if picked.shape(below) == goal else []
    way = draw(_one_of(*ways))
    width = goal[0] if kind == "sum" else draw(_one_of(1, goal[0]) if kind == "gate" else _one_of(1, 2, 3))
    if way == "twice":
        second = first
    elif way == "straight":
        second = at
    elif way == "select":
        second = net.put(picked, at)
    else:
        second = net.put(draw(convs_onto(below, below, (1, 1), values)), at) if way == "long" else at
        second = net.put(draw(convs_onto(below, (width, *goal[1:]), stride, values, window=conv.size)), second)
    both = (first, second) if kind == "gate" or draw(_one_of(True, False)) else (second, first)
    net.put(draw(layers(kind, goal, values)), *both)


@st.composite
def images_for(draw: DrawFn, net: Network, values: str = "integers", *, batch: int | None = None) -> Array:
    """Images that the network takes, (N, C, H, W)."""
    assert net.input_shape is not None
    n = draw(_one_of(1, 2)) if batch is None else batch
    return draw(fillings((n, *net.input_shape), values))
