"""The golden cases: a table with one or two lines for each.

A case has an id, the flags of the bugs that it is there for, a comment, and the inputs of its operator. The inputs are made by formulas that give
the same numbers on every machine, so none are stored. No flip or exchange of axes leaves them as they are.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from ..arguments import Array
from ..interpolation import MODES
from ..layers import AvgPool, Concat, Conv, MaxPool, ReLU, Softmax, Sum
from ..network import Network
from .calls import NAMES
from .operators import TABLE

FLAGS = {
    "AlignedCorners": "bilinear interpolation that aligns the corners of map and image, not the centres of the windows",
    "Batch": "images of a batch that are mixed up, or only the first one computed",
    "Bias": "a bias that is dropped, doubled, subtracted, or given to the wrong filter",
    "BiasDecoded": "biases, rectifiers or softmax used on the way down",
    "Broadcast": "one channel, map or bias silently used for many",
    "Channels": "channels taken in the wrong order, or not all of them",
    "ClampedEdge": "an edge that repeats its last cell where it must mirror",
    "CountedPadding": "an average that divides by the whole window where it reaches past the edge",
    "Branches": "branches that are not added up where they meet, or not each in its own place",
    "Deep": "a network cut short, or a layer of two digits taken for one of the first nine",
    "Dilation": "the taps of dilated filters in the wrong places",
    "DroppedNaN": "not-a-number that is lost on the way: a maximum, a rectifier or a sum that skips it",
    "DroppedSmall": "weights dropped, or rounded away, for being small beside the largest",
    "EmptyBatch": "no images, and yet an answer for one, or none in the wrong shape",
    "FastPath": "a way of its own for two conditions at once, such as 3×3 filters on 8 channels or more, that is wrong",
    "Filters": "filters taken in the wrong order",
    "FlippedColumns": "filters turned left to right",
    "FlippedRows": "filters turned top to bottom",
    "Gain": "unpooling that multiplies, or spreads zeros",
    "Gains": "gains left out on the way down, or multiplied on the way up",
    "Gaps": "unpooling that writes between windows, where the pool saw nothing",
    "Groups": "channels or filters taken from another group",
    "KeysA": "a bicubic kernel with another a than -1/2",
    "LargePads": "pads clipped, or windows that reach past both edges taken for ones that reach past one",
    "Leak": "the slope below zero ignored, or clipped",
    "Long": "batches, sides, filters or windows larger than buffers, tiles or counters were made for",
    "MirroredOnce": "an edge that mirrors once, where windows reach further than the map is long",
    "MirroredPads": "top and bottom, or left and right, exchanged",
    "OneStep": "layers that are right alone and wrong in a row",
    "Overflow": "exponentials that overflow or vanish",
    "Overlap": "overlapping copies that overwrite instead of adding up",
    "PadTooLarge": "a pad as large as the pool's window, so that a window sees nothing, and yet an answer",
    "PadValue": "a max pool padded with zeros where it must be minus infinity",
    "Precision": "less precision than was declared",
    "Remainder": "what is left over by blocks of 4, 8 or 16: the last cells, channels or filters, not computed or mixed up",
    "RoundedPlace": "the nearest cell found by a product with 1/stride, which rounds down",
    "RoundedUp": "output sizes rounded up where the windows do not divide the map",
    "ShortProducts": "operands rounded to fewer bits on their way into a product, as TF32 does, for some shapes",
    "SwappedPads": "pads of rows and of columns exchanged",
    "SwappedSizes": "sizes of rows and of columns exchanged",
    "SwappedStrides": "strides of rows and of columns exchanged",
    "Ties": "ties of the nearest cell that go to the earlier one",
    "TooLarge": "a window that does not fit, and yet an answer",
    "Transposed": "rows and columns of the filters exchanged",
    "Units": "units counted from 1",
    "UnknownMode": "an unknown interpolation taken for another one",
    "UnusualSteps": "windows and steps that seldom come together, taken for ones that do",
    "UsualShape": "a way of its own for a shape that many networks have, such as filters of 3×3 or 5×5, that is wrong",
    "WrongAxis": "a softmax along another axis than the channels",
    "ZeroStart": "a maximum that starts at zero",
}

SOURCES = {name: operator.source for name, operator in TABLE.items()} | {
    "forward": "section 3, z^L",
    "decode_filter": "section 3, filter_decoding(L, k, CNN)",
}


class Case(NamedTuple):
    """One case: an operator's call, or a pass through a network.

    `arrays` are inputs by name; `net` is there for ``forward`` and ``decode_filter``; `since` is the version of the
    vectors that brought the case.
    """

    id: str
    flags: tuple[str, ...]
    comment: str
    operator: str
    arrays: dict[str, Array]
    parameters: dict[str, Any]
    net: Network | None = None
    valid: bool = True
    since: int = 2

    @property
    def source(self) -> str:
        """Where what the operator does comes from."""
        return SOURCES[self.operator] if self.valid else "our choice"


def cases() -> list[Case]:
    """The cases, always the same."""
    pools = (*_pools("max_pool"), *_max_pools(), *_pools("avg_pool"), *_avg_pools())
    operators = (*_correlations(), *pools, *_pointwise(), *_substitutions(), *_unpoolings())
    second = (*operators, *_networks(), *_usual_shapes(), *_usual_networks(), *_refusals(_refused()))
    third = (
        *_long(),
        *_fast_paths(),
        *_options(),
        *_precision(),
        *_deep_networks(),
        *_branches(),
        *_refusals(_refused_too()),
    )
    return [*second, *(case._replace(since=3) for case in third)]


# Fillings.


def whole(*shape: int, step: int = 3, limit: int = 4) -> Array:
    """Small whole numbers of both signs that no flip or exchange of axes leaves as they are."""
    i = np.arange(int(np.prod(shape)))
    return ((i * step + i * i // 5 + 1) % (2 * limit + 1) - limit).astype(np.float64).reshape(shape)


def real(*shape: int, step: int = 37) -> Array:
    """Numbers that are no binary fractions."""
    i = np.arange(int(np.prod(shape)))
    return np.asarray(((i * step + i * i) % 101 - 45) / 7.0).reshape(shape)


def bank(*shape: int, limit: int = 2) -> Array:
    """Filters: whole numbers in another order than those of the maps."""
    return whole(*shape, step=5, limit=limit)


def sparse(*shape: int) -> Array:
    """−1, 0 and 1, mostly 0: sums stay small."""
    return np.trunc(whole(*shape, step=5) / 4)


def positive(*shape: int) -> Array:
    """No zeros, which a program may skip: what they meet is not lost."""
    return np.abs(whole(*shape)) + 1


def row(*values: float) -> Array:
    """One map of one row."""
    return np.array(values, float).reshape(1, 1, 1, -1)


def column(*values: float) -> Array:
    """One map of one column."""
    return np.array(values, float).reshape(1, 1, -1, 1)


def channels(*values: float) -> Array:
    """One cell of so many channels; with its first two axes exchanged, so many filters."""
    return np.array(values, float).reshape(1, -1, 1, 1)


def square(*values: float) -> Array:
    """One map of two rows and two columns."""
    return np.array(values, float).reshape(1, 1, 2, 2)


def impulse(shape: tuple[int, ...], *place: int) -> Array:
    """1 in one place, in zeros."""
    array = np.zeros(shape)
    array[place] = 1
    return array


def spoilt(array: Array, *places: tuple[Any, ...]) -> Array:
    """With NaN in these places."""
    for place in places:
        array[place] = np.nan
    return array


# What the rows of the table are made of.


def _case(operator: str, id: str, flags: str, comment: str, *arrays: Array, **parameters: Any) -> Case:
    """The names of the arrays are those of the operator's arguments."""
    names = NAMES.get(operator, ("x",)) if arrays else ()
    return Case(id, tuple(flags.split()), comment, operator, dict(zip(names, arrays, strict=True)), parameters)


def _correlate(
    id: str, flags: str, comment: str, x: Array, f: Array, bias: Array | None = None, stride: Any = 1, pad: Any = 0
) -> Case:
    arrays = x, f, np.zeros(len(f)) if bias is None else bias
    return _case("correlate", f"correlate-{id}", flags, comment, *arrays, stride=_two(stride), pad=_four(pad))


def _substitute(id: str, flags: str, comment: str, maps: Array, f: Array, stride: Any = 1) -> Case:
    return _case("substitute", f"substitute-{id}", flags, comment, maps, f, stride=_two(stride))


def _pool(
    operator: str, id: str, flags: str, comment: str, x: Array, size: Any, stride: Any = None, pad: Any = 0
) -> Case:
    options = {"size": _two(size), "stride": _two(stride or size), "pad": _four(pad)}
    return _case(operator, f"{operator}-{id}", flags, comment, x, **options)


def _unpool(mode: str, id: str, flags: str, comment: str, maps: Array, size: Any = 2, stride: Any = None) -> Case:
    options = {"size": _two(size), "stride": _two(stride or size), "mode": mode}
    return _case("unpool", f"unpool-{mode}-{id}", flags, comment, maps, **options)


def _relu(id: str, flags: str, comment: str, x: Array, leak: float) -> Case:
    return _case("relu", f"relu-{id}", flags, comment, x, leak=leak)


def _softmax(id: str, flags: str, comment: str, x: Array) -> Case:
    return _case("softmax", f"softmax-{id}", flags, comment, x)


def _forward(id: str, flags: str, comment: str, x: Array, net: Network) -> Case:
    return _case("forward", f"forward-{id}", flags, comment, x)._replace(net=net)


def _decode(id: str, flags: str, comment: str, net: Network, layer: int, k: int, *modes: str) -> list[Case]:
    """With each of the `modes`; with all of them, in the id too, if there are none."""
    return [
        _case(
            "decode_filter", f"decode-{id}" + ("" if modes else f"-{mode}"), flags, comment, layer=layer, k=k, mode=mode
        )._replace(net=net)
        for mode in modes or MODES
    ]


def _passes(id: str, flags: str, comment: str, net: Network) -> list[Case]:
    """Forward, and the second unit of the last layer decoded with each mode."""
    assert net.input_shape is not None
    x = whole(1, *net.input_shape, limit=2)
    return [_forward(id, flags, comment, x, net), *_decode(id, flags, comment, net, len(net.layers), 1)]


def _refusals(rows: Iterable[Case]) -> Iterable[Case]:
    """The cases, which must be refused."""
    return [case._replace(id=case.id.replace(case.operator, "refused", 1), valid=False) for case in rows]


def _two(value: Any) -> tuple[int, int]:
    return value if isinstance(value, tuple) else (value, value)


def _four(value: Any) -> tuple[int, int, int, int]:
    return value if isinstance(value, tuple) else (value,) * 4


# The table. A case is a line or two, as long as they are.
# fmt: off


def _correlations() -> Iterable[Case]:
    one, filters = np.ones((1, 1, 1, 1)), channels(1, 10, 100).reshape(3, 1, 1, 1)
    return [
        _correlate("columns", "FlippedColumns", "1 2 3 4 with the filter 1 10: 21 32 43", row(1, 2, 3, 4), row(1, 10)),
        _correlate("rows", "FlippedRows", "the same, upright", column(1, 2, 3, 4), column(1, 10)),
        _correlate("square", "Transposed FlippedRows FlippedColumns", "one impulse and a filter of 2×2",
                   impulse((1, 1, 3, 4), 0, 0, 1, 2), square(1, 2, 3, 4)),
        _correlate("channels", "Channels", "three channels, each with its own weight", whole(1, 3, 2, 3), channels(1, 10, 100)),
        _correlate("filters", "Filters", "three filters of one weight", whole(1, 1, 2, 3), filters),
        _correlate("bias", "Bias", "the bias of each filter is added once",
                   whole(1, 1, 2, 3), np.ones((2, 1, 1, 1)), np.array([10.0, -20])),
        _correlate("batch", "Batch", "three images", whole(3, 2, 3, 4), whole(2, 2, 2, 1, step=2)),
        _correlate("none", "EmptyBatch", "no images", np.zeros((0, 2, 3, 4)), whole(3, 2, 2, 1)),
        _correlate("strides", "SwappedStrides", "two rows and three columns at a time", whole(1, 1, 5, 7), one, stride=(2, 3)),
        _correlate("stride-rows", "SwappedStrides", "three rows and one column at a time",
                   whole(1, 1, 7, 3), one, stride=(3, 1)),
        _correlate("stride-left-over", "RoundedUp", "the last columns fill no window",
                   whole(1, 1, 2, 6), row(1, 2, 3), stride=(1, 2)),
        _correlate("pad-top", "MirroredPads", "two rows of zeros above", whole(1, 1, 2, 3), column(1, 10), pad=(2, 0, 0, 0)),
        _correlate("pad-bottom", "MirroredPads SwappedPads", "three rows of zeros below",
                   whole(1, 1, 2, 3), column(1, 10), pad=(0, 3, 0, 0)),
        _correlate("pad-left", "MirroredPads SwappedPads", "two columns of zeros on the left",
                   whole(1, 1, 2, 3), row(1, 10), pad=(0, 0, 2, 0)),
        _correlate("pad-right", "MirroredPads SwappedPads", "one column of zeros on the right",
                   whole(1, 1, 2, 3), row(1, 10), pad=(0, 0, 0, 1)),
        _correlate("pads", "SwappedPads MirroredPads", "four different pads",
                   whole(1, 2, 3, 4), whole(2, 2, 2, 3, step=2), pad=(1, 2, 3, 0)),
        _correlate("pixel", "FlippedRows FlippedColumns", "the filter just fits", whole(1, 2, 3, 2), whole(3, 2, 3, 2, step=2)),
        _correlate("all", "SwappedStrides SwappedPads Bias Channels", "everything at once",
                   whole(2, 3, 7, 5), bank(5, 3, 3, 2, limit=3), whole(5), (2, 1), (1, 0, 0, 2)),
        _correlate("reals", "Precision", "numbers that have to be rounded",
                   real(2, 3, 5, 4), real(2, 3, 2, 3, step=23), real(2), (1, 2), (0, 1, 1, 0)),
        _correlate("large", "Precision", "the same on another scale", 2.0**20 * real(1, 2, 3, 4), real(3, 2, 2, 1)),
        _correlate("remainder", "Remainder", "17 channels, 9 filters, 19 columns that become 17",
                   whole(1, 17, 3, 19), bank(9, 17, 2, 3, limit=3), whole(9)),
        _correlate("nan", "DroppedNaN Batch", "the second image has a channel of NaN",
                   spoilt(whole(2, 3, 3, 4), (1, 2)), positive(2, 3, 2, 2), whole(2)),
    ]


def _pools(op: str) -> Iterable[Case]:
    edge = f"MirroredPads {'PadValue' if op == 'max_pool' else 'CountedPadding'}"
    return [
        _pool(op, "tiles", "Batch Channels", "2×2 regions of several maps", whole(2, 3, 4, 6, step=2), 2),
        _pool(op, "left-over", "RoundedUp", "the last row and column fill no window", whole(1, 1, 5, 3), 2),
        _pool(op, "sizes", "SwappedSizes", "windows of 1×4", whole(1, 1, 4, 8), (1, 4)),
        _pool(op, "strides", "SwappedStrides", "windows that overlap in rows and leave gaps in columns",
              whole(1, 2, 5, 7), 2, (1, 3)),
        _pool(op, "pads", "MirroredPads SwappedPads", "pads above and on the right", whole(1, 1, 3, 4), 2, 2, (1, 0, 0, 1)),
        _pool(op, "pad-top", edge, "the first row of windows reaches into two rows of pad above",
              -positive(1, 1, 4, 5), (3, 2), 2, (2, 0, 0, 0)),
        _pool(op, "pad-bottom", edge, "the last row of windows reaches into the pad below",
              -positive(1, 1, 3, 4), 2, 2, (0, 1, 0, 0)),
        _pool(op, "pad-right", edge, "the last column of windows reaches into the pad on the right",
              -positive(1, 1, 4, 5), 2, 2, (0, 0, 0, 1)),
        _pool(op, "pad-left", edge, "the first column of windows reaches into two columns of pad on the left",
              -positive(1, 1, 4, 5), (2, 3), 2, (0, 0, 2, 0)),
        _pool(op, "all", "MirroredPads SwappedPads SwappedSizes SwappedStrides", "everything at once",
              whole(2, 2, 6, 9, step=5), (4, 3), (3, 2), (2, 3, 1, 2)),
        _pool(op, "remainder", "Remainder", "17 channels, 35 columns that become 17, the last one in no window",
              whole(1, 17, 3, 35), 2, (1, 2)),
    ]


def _max_pools() -> Iterable[Case]:
    four = (0, 0, 0, 0), (0, 0, 1, 3), (0, 0, 2, 5), (0, 1, 1, 2), (0, 1, 2, slice(4, 6)), (0, 1, 3, slice(4, 6))
    return [
        _pool("max_pool", "nan", "DroppedNaN",
              "NaN in each cell of a window, in all of them, and in none", spoilt(whole(1, 2, 4, 8), *four), 2, (1, 2)),
        _pool("max_pool", "negative", "ZeroStart", "all responses below zero", -positive(1, 2, 2, 4), 2),
        _pool("max_pool", "negative-pad", "PadValue",
              "all responses below zero, padded", -positive(1, 1, 3, 2), 2, 2, (1, 0, 0, 1)),
    ]


def _avg_pools() -> Iterable[Case]:
    return [  # sums that are carried along from window to window spread NaN over the map
        _pool("avg_pool", "nan", "DroppedNaN", "a map of NaN, and one without", spoilt(whole(1, 2, 3, 8), (0, 1)), 2, (1, 2)),
        _pool("avg_pool", "pad", "CountedPadding",
              "the first window has one cell inside", row(1, 3, 5, 7), (1, 2), (1, 2), (0, 0, 1, 0)),
        _pool("avg_pool", "reals", "Precision", "windows of three", real(1, 2, 4, 5), (1, 3), (1, 2)),
    ]


def _pointwise() -> Iterable[Case]:
    return [
        _relu("plain", "Leak", "no leak", whole(2, 2, 1, 3), 0.0),
        _relu("leak", "Leak", "a quarter of what is negative", row(-4, 3, -8, 0), 0.25),
        _relu("steep", "Leak", "twice what is negative: not the larger of the two", row(-4, 3, 5), 2.0),
        _relu("folded", "Leak", "a slope below zero", row(-4, 3, -8, 0), -0.5),
        _relu("reals", "Precision Leak", "a leak that is no binary fraction", real(1, 2, 2, 3), 0.1),
        _relu("remainder", "Remainder", "17 channels of 19 columns", whole(1, 17, 1, 19), 0.25),
        _relu("nan", "DroppedNaN", "NaN stays NaN, its neighbours stay", row(-4, np.nan, 3, np.nan), 0.0),
        _relu("nan-leak", "DroppedNaN", "NaN stays NaN, its neighbours stay", row(-4, np.nan, 3, np.nan), 0.25),
        _softmax("equal", "Overflow", "two equal responses of 1000", channels(1000, 1000)),
        _softmax("far", "Overflow", "responses of −1000 and 1000", channels(-1000, 1000, 999)),
        _softmax("axis", "WrongAxis Batch", "several channels, rows, columns and images", whole(2, 3, 2, 4)),
        _softmax("remainder", "Remainder", "17 channels of 19 columns", whole(1, 17, 1, 19)),
        _softmax("nan", "DroppedNaN", "NaN in all channels of one place", spoilt(whole(1, 3, 2, 2), (0, 1, 1, 0))),
    ]


def _substitutions() -> Iterable[Case]:
    return [
        _substitute("columns", "FlippedColumns", "an impulse becomes the filter", row(1), row(1, 2, 3)),
        _substitute("rows", "FlippedRows", "an impulse becomes the filter", row(1), column(1, 2, 3)),
        _substitute("impulse", "FlippedRows FlippedColumns Filters", "the filter of the impulse's own map, in its place",
                    impulse((1, 2, 3, 4), 0, 1, 2, 1), whole(2, 3, 2, 3)),
        _substitute("overlap", "Overlap", "overlapping copies add up: 1 12 20, 3 34 40", row(1, 10), square(1, 2, 3, 4)),
        _substitute("overlap-twice", "Overlap", "three copies over each other", row(1, 1, 1, 1), row(1, 10, 100)),
        _substitute("strides", "SwappedStrides", "copies that touch in rows and leave gaps in columns",
                    whole(1, 1, 2, 3), column(1, 10), (2, 3)),
        _substitute("gaps", "SwappedStrides", "copies that leave gaps in rows and overlap in columns",
                    whole(1, 1, 3, 2), square(1, 10, 100, 1000), (3, 1)),
        _substitute("filters", "Filters", "three maps, three filters",
                    whole(1, 3, 2, 2), channels(1, 10, 100).reshape(3, 1, 1, 1)),
        _substitute("channels", "Channels", "one map, three channels", whole(1, 1, 2, 2), channels(1, 10, 100)),
        _substitute("batch", "Batch", "three at once", whole(3, 2, 2, 3), whole(2, 1, 2, 2, step=2)),
        _substitute("none", "EmptyBatch", "none at all", np.zeros((0, 2, 2, 3)), whole(2, 1, 2, 2)),
        _substitute("all", "SwappedStrides Overlap Channels", "everything at once",
                    whole(2, 3, 4, 3), bank(3, 2, 3, 5, limit=3), (2, 1)),
        _substitute("reals", "Precision", "numbers that have to be rounded",
                    real(1, 3, 3, 4), real(3, 2, 2, 3, step=23), (1, 2)),
        _substitute("remainder", "Remainder", "9 maps of 17 columns, 17 channels of 19",
                    whole(1, 9, 2, 17), bank(9, 17, 2, 3, limit=3)),
        _substitute("nan", "DroppedNaN Batch", "the second image has a map of NaN",
                    spoilt(whole(2, 3, 2, 3), (1, 2)), positive(3, 2, 2, 2)),
    ]


def _unpoolings() -> Iterable[Case]:
    for mode in MODES:
        yield from (
            _unpool(mode, "constant", "Gain", "a constant map stays as it is", np.full((1, 1, 2, 3), 3.0)),
            _unpool(mode, "sizes", "SwappedSizes", "two rows and four columns for each cell", whole(1, 2, 3, 2), (2, 4)),
            _unpool(mode, "batch", "Batch Channels", "several maps at once", whole(2, 3, 2, 3)),
            _unpool(mode, "pixel", "Gain ClampedEdge", "a map of one pixel", row(7)),
            _unpool(mode, "overlapping", "SwappedSizes SwappedStrides", "windows of 3×2 in steps of 2×1",
                    whole(1, 1, 3, 4), (3, 2), (2, 1)),
            _unpool(mode, "remainder", "Remainder", "17 columns that become 34", whole(1, 2, 3, 17)),
            _unpool(mode, "nan", "DroppedNaN", "a map of NaN between two others", spoilt(whole(1, 3, 2, 3), (0, 1))),
        )
    yield _unpool("nearest", "ties", "Ties", "half way between two cells, the later one", row(1, 5, 9), (1, 3), (1, 2))
    for mode in MODES:
        yield _unpool(mode, "gaps", "Gaps", "windows of 1 in steps of 4", row(1, 5, 9), (1, 1), (1, 4))
        yield _unpool(mode, "gaps-both", "Gaps", "windows of 2×1 in steps of 3×2", whole(1, 2, 3, 4), (2, 1), (3, 2))
    yield from (
        _unpool("bilinear", "centres", "AlignedCorners", "1 2 4 5 of 1 5", row(1, 5), (1, 2)),
        _unpool("bilinear", "wide", "ClampedEdge", "3 1 3 5 3 of 1 5: past 1 comes 1, then 5", row(1, 5), (1, 4), (1, 1)),
        _unpool("bilinear", "thirds", "Precision AlignedCorners", "weights that are no binary fractions", real(1, 1, 3, 4), 3),
        _unpool("bicubic", "kernel", "KeysA",
                "weights −9 111 29 −3, of 128, away from the edge", row(0, 0, 0, 128, 0, 0, 0, 0), (1, 2)),
        _unpool("bicubic", "edge", "ClampedEdge", "… 1 0 | 0 1 …", row(128, 0, 0, 0, 0, 256), (1, 2)),
        _unpool("bicubic", "thirds", "Precision KeysA", "weights that are no binary fractions", real(1, 1, 3, 4), 3),
    )


def _networks() -> Iterable[Case]:
    small = Network([
        Conv(whole(3, 1, 2, 3, limit=2), whole(3), pad=(1, 0, 0, 1)), MaxPool(2),
        Conv(whole(2, 3, 2, 1, step=2, limit=2), np.array([1.0, -2])), ReLU(leak=0.25),
    ], input_shape=(1, 7, 9))
    tour = Network([
        Conv(whole(4, 1, 2, 2, limit=2), np.array([1.0, -1, 2, 0]), dilation=(1, 2), groups=2, stride=(1, 2)),
        AvgPool((2, 1), (1, 1)), ReLU(), Conv(bank(2, 4, 1, 3), np.array([3.0, -4]), pad=(0, 1, 1, 0)),
    ], input_shape=(2, 5, 11))
    reals = Network([
        Conv(real(2, 1, 3, 2), real(2)), MaxPool((2, 2)), Conv(real(3, 2, 1, 2, step=23)), ReLU(), Softmax(),
    ], input_shape=(1, 6, 7))
    return [
        _forward("small", "OneStep", "a padded convolution, a pool, a convolution, a leaky rectifier",
                 whole(2, 1, 7, 9), small),
        _forward("tour", "OneStep", "groups, dilation, strides, an overlapping average pool", whole(1, 2, 5, 11), tour),
        _forward("reals", "Precision OneStep", "up to a softmax", real(1, 1, 6, 7) / 50, reals),
        *_decode("small", "BiasDecoded Units OneStep", "the second unit of the top layer", small, 4, 1),
        *_decode("tour", "BiasDecoded OneStep", "an overlapping pool, strides, dilation", tour, 4, 0),
        *_decode("reals", "Precision OneStep", "a softmax decodes as the identity", reals, 5, 2),
        *_decode("first", "Units", "layer 1 decodes to its own filters", small, 1, 2, "nearest"),
        *_decode("pool", "Gain OneStep", "a unit of a pool", small, 2, 0, "bilinear"),
    ]


def _usual_shapes() -> Iterable[Case]:
    """Shapes of the networks that people use: programs have a way of their own for each."""
    for id, says, maps, side, step, pad in (
        ("3x3", "3×3", (5, 6), 3, 1, 0),
        ("3x3-pad", "3×3, the map keeps its size", (5, 6), 3, 1, 1),
        ("3x3-step", "3×3 in steps of 2", (6, 9), 3, 2, 1),
        ("1x1-step", "1×1 in steps of 2", (5, 8), 1, 2, 0),
        ("4x4", "4×4, the whole map, as layer 5 of LeNet", (4, 4), 4, 1, 0),
        ("5x5", "5×5, as layers 1 and 3 of LeNet", (7, 8), 5, 1, 0),
        ("5x5-pad", "5×5, the map keeps its size", (4, 6), 5, 1, 2),
        ("7x7-step", "7×7 in steps of 2", (8, 11), 7, 2, 3),
        ("11x11-step", "11×11 in steps of 4", (15, 19), 11, 4, 0),
    ):
        yield _correlate(f"usual-{id}", "UsualShape", says, whole(1, 2, *maps), bank(3, 2, side, side), whole(3), step, pad)
    for op in ("max_pool", "avg_pool"):
        for id, says, maps, side, step, pads in (
            ("2x2", "2×2 in steps of 2, on sides that are odd", (5, 7), 2, 2, 0),
            ("3x3", "3×3 in steps of 2", (8, 11), 3, 2, 0),
            ("3x3-pad", "3×3 in steps of 2, padded all around", (7, 10), 3, 2, 1),
            ("3x3-pad-end", "3×3 in steps of 2, padded below and on the right", (6, 8), 3, 2, (0, 1, 0, 1)),
            ("7x7", "7×7, the whole map", (7, 7), 7, 1, 0),
        ):
            yield _pool(op, f"usual-{id}", "UsualShape", says, whole(1, 2, *maps, step=5), side, step, pads)
    for id, says, maps, side, step in (
        ("3x3", "3×3", (3, 4), 3, 1),
        ("4x4", "4×4", (2, 3), 4, 1),
        ("5x5", "5×5", (3, 4), 5, 1),
        ("7x7-step", "7×7 in steps of 2", (2, 3), 7, 2),
        ("11x11-step", "11×11 in steps of 4", (2, 3), 11, 4),
        ("jump-4", "3×3 in steps of 4, as above two pools", (2, 3), 3, 4),
        ("jump-8", "3×3 in steps of 8, as above three pools", (2, 3), 3, 8),
        ("jump-16", "3×3 in steps of 16, as above four pools", (2, 3), 3, 16),
        ("bottom-up", "a filter of 3×3 takes the decoded filters of 10×10 below, in steps of 4", (3, 3), 10, 4),
    ):
        yield _substitute(f"usual-{id}", "UsualShape", says, whole(1, 3, *maps), bank(3, 2, side, side), step)
    for mode in MODES:
        yield _case("unpool", f"unpool-usual-{mode}-3x3", "UsualShape",
                    "3×3 in steps of 2", whole(1, 2, 3, 4), size=(3, 3), stride=(2, 2), mode=mode)


def _usual_networks() -> Iterable[Case]:
    lenet = Network([
        Conv(sparse(2, 1, 5, 5), whole(2)), MaxPool(2), Conv(sparse(3, 2, 5, 5), whole(3)), MaxPool(2),
        Conv(sparse(3, 3, 4, 4), whole(3)), ReLU(), Conv(bank(2, 3, 1, 1, limit=1), whole(2)),
    ], input_shape=(1, 28, 32))
    vgg = Network([
        Conv(bank(3, 2, 3, 3, limit=1), whole(3), pad=1), ReLU(), Conv(bank(3, 3, 3, 3, limit=1), whole(3), pad=1), ReLU(),
        MaxPool(2), Conv(bank(2, 3, 3, 3, limit=1), whole(2), pad=1),
    ], input_shape=(2, 6, 8))
    return [
        _forward("usual-lenet", "UsualShape OneStep", "as LeNet", whole(1, 1, 28, 32, limit=1), lenet),
        *_decode("usual-lenet", "UsualShape OneStep", "as LeNet", lenet, 7, 1),
        _forward("usual-vgg", "UsualShape OneStep", "3×3 and again 3×3, as VGG", whole(1, 2, 6, 8, limit=1), vgg),
        *_decode("usual-vgg", "UsualShape OneStep", "3×3 and again 3×3, as VGG", vgg, 6, 1),
    ]


def _refused() -> Iterable[Case]:
    x, f = whole(1, 1, 3, 4), whole(2, 1, 2, 2)
    return [
        _correlate("one-channel", "Broadcast", "one channel for filters of three", x, whole(2, 3, 2, 2)),
        _correlate("channels", "Broadcast Channels", "three channels for filters of one", whole(1, 3, 3, 4), f),
        _correlate("bias", "Broadcast Bias", "one bias for two filters", x, f, np.zeros(1)),
        _correlate("filter-rows", "TooLarge", "a filter one row higher than the map", x, whole(2, 1, 4, 2)),
        _correlate("filter-columns", "TooLarge", "a filter one column wider than the map", x, whole(2, 1, 2, 5)),
        _substitute("maps", "Broadcast", "one map for two filters", x, f),
        _pool("max_pool", "max-window", "TooLarge", "a window larger than the map", x, (4, 2), 1),
        _pool("avg_pool", "avg-window", "TooLarge", "a window larger than the map", x, (2, 5), 1),
        _case("unpool", "unpool-mode", "UnknownMode",
              "an interpolation that is none of the three", x, size=(2, 2), stride=(2, 2), mode="cubic"),
    ]


# What version 3 brought.


def _long() -> Iterable[Case]:
    """One long side at a time, or a large window: the others are as short as can be."""
    for id, shape, size in (
        ("images", (259, 1, 1, 2), (1, 2)), ("channels", (1, 259, 2, 1), (2, 1)),
        ("rows", (1, 1, 1031, 1), (2, 1)), ("columns", (1, 1, 1, 1031), (1, 2)),
    ):
        says, x = f"{max(shape)} {id}", whole(*shape)
        yield _correlate(f"long-{id}", "Long", says, x, bank(1, shape[1], *size), whole(1))
        yield _substitute(f"long-{id}", "Long", says, x, bank(shape[1], 1, *size))
        yield _relu(f"long-{id}", "Long", says, x, 0.25)
        for op in ("max_pool", "avg_pool"):
            yield _pool(op, f"long-{id}", "Long", says, x, size, 1)
    for id, *sides in (("images", 67, 2, 1, 1), ("channels", 1, 131, 1, 1), ("rows", 1, 2, 67, 1), ("columns", 1, 2, 1, 67)):
        yield _softmax(f"long-{id}", "Long", f"{max(sides)} {id}", whole(*sides))
    for id, *sides in (("images", 259, 1, 1, 1), ("channels", 1, 259, 1, 1), ("rows", 1, 1, 259, 1), ("columns", 1, 1, 1, 259)):
        for mode in MODES:
            yield _unpool(mode, f"long-{id}", "Long", f"{max(sides)} {id}", whole(*sides), (2, 1) if id == "rows" else (1, 2))
    for id, says, c, k, h, w in (
        ("filters", "259 filters", 1, 259, 1, 2), ("weights", "1,161 weights in a filter", 129, 1, 3, 3),
        ("window", "filters of 17×16", 1, 2, 17, 16),
    ):
        yield _correlate(f"long-{id}", "Long", says, whole(1, c, h, w + 2), bank(k, c, h, w), whole(k), (1, 2))
        yield _substitute(f"long-{id}", "Long", says, whole(1, k, 2, 1), bank(k, c, h, w), (2, 1))
    for op in ("max_pool", "avg_pool"):
        yield _pool(op, "long-window", "Long", "windows of 16×17, in steps of 1 and 2", whole(1, 1, 17, 19), (16, 17), (1, 2))
        yield _pool(op, "long-map", "Long", "a map of 37×41 cells", whole(1, 1, 37, 41), 3, 2)
    yield _correlate("long-map", "Long", "a map of 37×41 cells", whole(1, 1, 37, 41), bank(1, 1, 3, 3))
    for mode in MODES:
        yield _unpool(mode, "long-window", "Long", "windows of 17×18, in steps of 16", whole(1, 1, 1, 2), (17, 18), 16)


def _fast_paths() -> Iterable[Case]:
    """Two conditions at a time, of those that programs have a way of their own for."""
    for id, says, c, k, side, step, pad, maps in (
        ("3x3-8", "3×3 on 8 channels", 8, 3, 3, 1, 0, (5, 6)),
        ("3x3-9-pad", "3×3 on 9 channels, the map keeps its size", 9, 8, 3, 1, 1, (4, 9)),
        ("3x3-16-step", "3×3 on 16 channels, in steps of 2", 16, 4, 3, 2, 1, (5, 8)),
        ("1x1-17", "1×1 on 17 channels", 17, 5, 1, 1, 0, (3, 5)),
        ("1x1-32", "1×1 on 32 channels", 32, 33, 1, 1, 0, (2, 3)),
        ("1x1-20-step", "1×1 on 20 channels, in steps of 2", 20, 3, 1, 2, 0, (4, 7)),
        ("16x16", "16 filters on 16 channels", 16, 16, 2, 1, 0, (3, 4)),
        ("18x17", "18 filters on 17 channels", 17, 18, 2, 1, 0, (3, 5)),
        ("5x5-8", "5×5 on 8 channels", 8, 2, 5, 1, 2, (6, 7)),
        ("8-rows", "3×3 on 9 rows and 11 columns", 1, 1, 3, 1, 0, (9, 11)),
    ):
        yield _correlate(f"fast-{id}", "FastPath", says, whole(1, c, *maps), bank(k, c, side, side), whole(k), step, pad)
        yield _substitute(f"fast-{id}", "FastPath", says.replace("on", "from"), whole(1, c, 2, 3), bank(c, k, side, side), step)
    for op in ("max_pool", "avg_pool"):
        for id, says, c, maps, side, step in (
            ("2x2-17", "2×2 in steps of 2 on 17 channels", 17, (4, 5), 2, 2),
            ("3x3-16", "3×3 in steps of 2 on 16 channels", 16, (5, 7), 3, 2),
            ("3x3-9", "3×3 in steps of 1 on 9 rows and 11 columns", 1, (9, 11), 3, 1),
        ):
            yield _pool(op, f"fast-{id}", "FastPath", says, whole(1, c, *maps, step=5), side, step)
    for mode in MODES:
        yield _unpool(mode, "fast-17", "FastPath", "2×2 for each cell of 17 maps", whole(1, 17, 2, 3))
        yield _unpool(mode, "fast-9", "FastPath", "2×2 for each cell of 9 rows and 10 columns", whole(1, 1, 9, 10))
    yield _relu("fast-zero", "FastPath", "no leak on 11 columns", whole(1, 2, 3, 11), 0.0)
    yield _softmax("fast-1x1", "FastPath", "10 channels of one cell, as layer 8 of LeNet", whole(2, 10, 1, 1))


def _options() -> Iterable[Case]:
    for id, side, step in (("3-3", 3, 3), ("2-3", 2, 3), ("5-5", 5, 5), ("3-5", 3, 5), ("1-7", 1, 7)):
        says = f"windows of {side}×{side} in steps of {step}"
        yield _correlate(f"step-{id}", "UnusualSteps", says,
                         whole(1, 2, step + 6, step + 9), bank(2, 2, side, side), whole(2), step)
        yield _substitute(f"step-{id}", "UnusualSteps", says, whole(1, 2, 2, 3), bank(2, 2, side, side), step)
    for op in ("max_pool", "avg_pool"):
        for side, step in ((5, 2), (4, 3), (3, 3), (5, 5), (2, 5), (6, 1)):
            yield _pool(op, f"step-{side}-{step}", "UnusualSteps", f"{side}×{side} in steps of {step}",
                        whole(1, 2, 9, 12, step=5), side, step)
        yield _pool(op, "past-both", "LargePads", "windows of 5×6 that reach past both edges of 3×4",
                    whole(1, 2, 3, 4), (5, 6), (1, 2), (2, 2, 3, 2))
        yield _pool(op, "past-both-one", "LargePads", "one window of 9×11 around a map of 2×3",
                    whole(1, 1, 2, 3), (9, 11), 1, (4, 3, 3, 5))
        yield _pool(op, "pads-most", "LargePads", "pads of one cell less than the windows",
                    whole(1, 1, 3, 4), (5, 7), (2, 3), (4, 4, 6, 6))
    yield from (
        _correlate("pads-large", "LargePads", "pads of 4 to 7 around filters of 2×3",
                   whole(1, 2, 3, 4), bank(2, 2, 2, 3), whole(2), 1, (5, 4, 6, 7)),
        _correlate("pads-all", "LargePads", "a pad of 5 all around, in steps of 3",
                   whole(1, 2, 4, 5), bank(2, 2, 3, 3), whole(2), 3, 5),
        _correlate("past-both", "LargePads", "filters of 5×7 that reach past both edges of 3×4",
                   whole(1, 2, 3, 4), bank(2, 2, 5, 7), whole(2), 1, (2, 2, 3, 4)),
        _relu("leak-large", "Leak", "3.5 times what is negative", row(-4, 3, -8, 0), 3.5),
        _relu("leak-larger", "Leak", "8 times what is negative", row(-4, 3, -1, 2), 8.0),
        _relu("leak-far-below", "Leak", "a slope of −3", row(-4, 3, -8, 0), -3.0),
    )
    for mode in MODES:
        for window, apart in ((5, 3), (7, 2), (5, 8), (6, 4)):
            says = f"windows of {window}×{window} in steps of {apart}"
            yield _unpool(mode, f"step-{window}-{apart}", "UnusualSteps", says, whole(1, 1, 2, 3), window, apart)
        yield _unpool(mode, "edge-far", "MirroredOnce", "windows of 1×9 in steps of 1 around 1 5", row(1, 5), (1, 9), (1, 1))
        yield _unpool(mode, "edge-farther", "MirroredOnce", "windows of 12×8 in steps of 2 and 1",
                      whole(1, 1, 2, 3), (12, 8), (2, 1))
    for step in (11, 41, 47, 49, 55, 103):
        yield _unpool("nearest", f"reciprocal-{step}", "RoundedPlace",
                      f"{step} · (1/{step}) is less than 1 in some format", row(1, 5, 9, 2), (1, step))


def _precision() -> Iterable[Case]:
    """Whole numbers, and so exact, of 13 bits, where TF32 has 11; or of very different sizes."""
    for c in (1, 8, 16):
        says = f"operands of 13 bits, {c} channels"
        x, f = whole(1, c, 3, 4), bank(2, c, 2, 2)
        yield _correlate(f"bits-{c}-maps", "ShortProducts", says, 4096 * np.sign(x) + x, f)
        yield _correlate(f"bits-{c}-filters", "ShortProducts", says, x, 4096 * np.sign(f) + f)
        x, f = whole(1, c, 2, 3), bank(c, 2, 2, 2)
        yield _substitute(f"bits-{c}-maps", "ShortProducts", says, 4096 * np.sign(x) + x, f)
        yield _substitute(f"bits-{c}-filters", "ShortProducts", says, x, 4096 * np.sign(f) + f)
    for id, says, large in (("small", "weights of 1 beside 2¹⁴", 2.0**14), ("smaller", "weights of 1 beside 2⁴⁰", 2.0**40)):
        f = np.where(bank(2, 2, 2, 3) == 2, large, bank(2, 2, 2, 3))
        yield _correlate(f"weights-{id}", "DroppedSmall", says, whole(1, 2, 3, 4), f)
        yield _substitute(f"weights-{id}", "DroppedSmall", says, whole(1, 2, 2, 3), f)
    grades = 2.0 ** np.array([0, -14, 7, -20]).reshape(1, 4, 1, 1)
    yield _correlate("graded", "DroppedSmall", "small weights meet large maps",
                     whole(1, 4, 3, 4) / grades, bank(2, 4, 2, 2) * grades)
    yield _substitute("graded", "DroppedSmall", "small weights meet large maps",
                      whole(1, 4, 2, 3) / grades, bank(4, 2, 2, 2) * grades.reshape(4, 1, 1, 1))


def _deep_networks() -> Iterable[Case]:
    dilated = Network([
        Conv(bank(3, 2, 3, 2), whole(3), dilation=(2, 2), pad=(1, 0, 2, 1)), ReLU(),
        Conv(bank(2, 3, 2, 3), whole(2), dilation=(2, 3), stride=(1, 2)),
    ], input_shape=(2, 8, 14))
    grouped = Network([
        Conv(bank(8, 2, 2, 2), whole(8), groups=4), ReLU(leak=0.5), Conv(bank(8, 1, 1, 3), whole(8), groups=8),
        MaxPool(2), Conv(bank(6, 4, 2, 1), whole(6), groups=2),
    ], input_shape=(8, 7, 9))
    deep = Network([
        Conv(sparse(3, 1, 3, 3), whole(3), pad=1), ReLU(), Conv(sparse(2, 3, 1, 2), whole(2)), ReLU(leak=0.5), MaxPool((1, 2)),
        Conv(sparse(3, 2, 2, 2), whole(3), pad=(1, 0, 0, 1)), ReLU(), Conv(bank(2, 3, 1, 1, limit=1), whole(2)), ReLU(),
        AvgPool(2), Conv(bank(3, 2, 1, 1, limit=1), whole(3)), ReLU(), Conv(bank(2, 3, 2, 1, limit=1), whole(2)),
    ], input_shape=(1, 8, 16))
    for id, flags, says, net in (
        ("dilated", "Dilation", "two filters with gaps between their taps", dilated),
        ("grouped", "Groups", "4 groups, then one for each channel, then 2", grouped),
        ("deep", "Deep", "13 layers", deep),
    ):
        yield from _passes(id, flags, says, net)


def _branches() -> Iterable[Case]:
    residual = Network([
        Conv(bank(2, 1, 2, 3, limit=1), whole(2), pad=(1, 0, 0, 2)), ReLU(leak=0.5, gain=[2, -1]),
        Conv(bank(2, 2, 3, 3, limit=1), whole(2), pad=(2, 0, 1, 1)), ReLU(gain=0.5), Sum(), MaxPool(2, gain=[1, 3]),
        Conv(bank(2, 2, 2, 2, limit=1), whole(2)),
    ], inputs=[0, 1, 2, 3, (4, 2, 1), 5, 6], input_shape=(1, 6, 8))
    shortcut = Network([
        Conv(bank(2, 2, 3, 3, limit=1), whole(2), stride=2, pad=1), ReLU(gain=[0.5, 2]),
        Conv(bank(2, 2, 2, 1, limit=1), whole(2), pad=(1, 0, 0, 0)),
        Conv(bank(2, 2, 1, 1, limit=1), whole(2), stride=2), Sum(), ReLU(), Conv(bank(3, 2, 2, 3, limit=1), whole(3)),
    ], inputs=[0, 1, 2, 0, (3, 4), 5, 6], input_shape=(2, 7, 9))
    dense = Network([
        Conv(bank(2, 2, 1, 2, limit=1), whole(2), pad=(0, 0, 1, 0)),
        Conv(bank(3, 2, 3, 2, limit=1), whole(3), pad=(0, 2, 1, 0)),
        Concat(), AvgPool((2, 1), (1, 1)), Conv(bank(2, 7, 2, 2, limit=1), whole(2), stride=(1, 2)), Sum(),
    ], inputs=[0, 1, (1, 2, 0), 3, 4, (5, 5)], input_shape=(2, 6, 7))
    for id, flags, says, net in (
        ("residual", "Branches Gains", "two branches beside a residual one, which begin in other places", residual),
        ("shortcut", "Branches Gains", "a shortcut in steps of 2 from the image", shortcut),
        ("dense", "Branches", "channels of three layers, one after the other; a layer added to itself", dense),
    ):
        yield from _passes(id, flags, says, net)


def _refused_too() -> Iterable[Case]:
    x = whole(1, 1, 5, 6)
    yield _substitute("map-too-many", "Broadcast", "two maps for one filter", whole(1, 2, 3, 4), whole(1, 1, 2, 2))
    yield _correlate("bias-too-many", "Broadcast Bias", "three biases for two filters", x, whole(2, 1, 2, 2), np.zeros(3))
    yield _correlate("filter-pads", "TooLarge", "a filter larger than the map with its pads",
                     x, whole(1, 1, 2, 9), None, 1, (0, 0, 1, 1))
    for op in ("max_pool", "avg_pool"):
        yield _pool(op, f"{op[:3]}-pad-rows", "PadTooLarge", "a pad above as high as the windows", x, (2, 3), 1, (2, 0, 0, 0))
        yield _pool(op, f"{op[:3]}-pad-columns", "PadTooLarge", "a pad on the right wider than the windows",
                    x, (3, 2), 1, (0, 0, 0, 3))
    for mode in ("linear", "area", "lanczos", "none"):
        yield _case("unpool", f"unpool-mode-{mode}", "UnknownMode",
                    "an interpolation that is none of the three", x, size=(2, 2), stride=(2, 2), mode=mode)
