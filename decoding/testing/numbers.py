"""The numbers in the arrays of a call: the condition *values* of `conditions`.

A fast path may look at the numbers themselves, lose digits, or leave out what is small. So a call is first made of small whole numbers, and
`valued` puts others in their place: numbers of one sign, of all sizes or as large as the format allows, ones that need all its digits, and
those that can be folded or packed. `VALUES` are the classes that are paired with everything; `SPECIAL` and `PATTERNS` come in thin rows alone,
and `PEAKS` in layers that are drawn, too. Wherever the numbers allow it, the sums are exact, so that answers must be equal.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from itertools import combinations

import numpy as np

from ..arguments import Array
from .calls import Call
from .operators import rising
from .rounding import Arithmetic, Range

# Maps and weights as large, or as small, as the format allows.
EXTREME = {"large": (1, 1), "small": (-1, -1), "large maps": (1, -1), "large weights": (-1, 1)}
VALUES = ("reals", "integers", "graded", "wide maps", "wide weights", "negative", "zeros", *EXTREME)
PEAKS = {"peaks": 16.0, "high peaks": 2000.0}  # of a softmax
RISING = "rising"  # along each map, so that a window's largest lies in its last cell, and in its first one when the sign is changed
# Weights that lie so far apart, with rows and columns of 0 between them, as dilation makes them.
APART = {"weights apart": 2, "weights 3 apart": 3, "weights 4 apart": 4}
SMALL_INTEGERS = "small integers"  # in no table; a failure is shrunk to these


def valued(call: Call, values: str, precision: Arithmetic) -> Call:
    """The call with numbers of that kind."""
    if values == "graded":
        return _graded(call, precision)
    if values.startswith("wide"):
        return _wide(call, values == "wide weights", round(-math.log2(max(precision.eps, precision.input_eps))))
    if values in EXTREME:
        return extreme(call, *EXTREME[values], precision.range.reach)
    if values == "integers" and precision.eps < 2.0**-40:  # there is room for digits, and for sizes, that others lose
        x, *others = call.arrays
        return call._replace(arrays=(x + 100000 * np.sign(np.asarray(x)) * ~_seventh(np.asarray(x)), *others))
    if values in NUMBERS:
        of_maps, of_weights = NUMBERS[values]
        x, *filters = (np.asarray(array) for array in call.arrays[:2])
        made = of_maps(x, precision.range), *map(of_weights, filters)
        return call._replace(arrays=(*made, *call.arrays[2:]))
    change: Callable[[Array], Array] = {
        "integers": lambda a: a, "reals": _unequal, "negative": _below_zero, RISING: rising,
    }[values]  # fmt: skip
    return call._replace(arrays=tuple(None if a is None else change(a) for a in call.arrays))


def _some_zeros(x: Array, format: Range) -> Array:
    """Whole channels and images, and rows where there is one of each."""
    n, c, rows, _ = x.shape
    i, j, row = np.ogrid[:n, :c, : rows if n * c == 1 else 1]
    return np.asarray(x * ((i + j + row) % 2 == 0)[..., np.newaxis])


def _one_of_nine(filters: Array) -> Array:
    """Weights of which eight of nine are zero, in no order."""
    return np.asarray(filters * (np.arange(filters.size) % 9 == 0).reshape(filters.shape))


def _whole(most: int, seventh: int) -> Callable[..., Array]:
    """Of one sign, nearly: sums of a few no longer have so few bits."""
    return lambda array, *_: np.where(_seventh(array), seventh, most - np.abs(array))


def _sign(array: Array, *_: object) -> Array:
    return np.where(array < 0, -1.0, 1.0)


def _large_edge(x: Array, format: Range) -> Array:
    """Thirds beside a row and a column that are large, for running sums to lose the others."""
    row, column = np.ogrid[: x.shape[2], : x.shape[3]]
    return np.asarray(x / 3 * np.where((row == 0) | (column == 0), 2.0 ** min(20, format.reach), 1))


def _peaks(x: Array, format: Range, far: float) -> Array:
    """The largest channel is the last one, the first one, or the one in the middle, by images; the others fall away from it, so far in all."""
    image, channel = np.ogrid[: x.shape[0], : x.shape[1]]
    peak = np.array([x.shape[1] - 1, 0, x.shape[1] // 2])[image % 3]
    added = 8 * (channel == peak) - far * np.abs(channel - peak) / x.shape[1]
    return np.asarray(x + added[..., np.newaxis, np.newaxis])


def _subnormal(x: Array, format: Range) -> Array:
    """Below the smallest normal number: every seventh, and the first channel of the first image."""
    x, small = np.array(x), x * format.tiny / 16
    x[_seventh(x)], x[:1, :1] = small[_seventh(x)], small[:1, :1]
    return x


def _blank(x: Array, format: Range) -> Array:
    """One number for each channel and image: the weights may be added up, but for the pads."""
    return np.asarray(np.broadcast_to(x[..., :1, :1] + 4, x.shape).copy())


def _sparse(x: Array, format: Range) -> Array:
    """In some places all channels, in most of them none."""
    n, _, i, j = np.ogrid[tuple(map(slice, x.shape))]
    return np.asarray(x * ((n + 7 * i + 3 * j) % 11 == 5))


def _identity(filters: Array) -> Array:
    """Filters that copy a channel each, by a 1 in the middle."""
    k, c, h, w = filters.shape
    out = np.zeros(filters.shape)
    out[:, :, h // 2, w // 2] = np.eye(k, c)
    return out


def _nearly_products(filters: Array) -> Array:
    """Filters each row of which is the first one times a whole number, but for 2^-20 in their last weight."""
    factors = 1.0 + np.arange(filters.shape[2]) % 3
    out = np.asarray(factors[:, np.newaxis] * filters[:, :, :1])
    out[..., -1:, -1:] += 2.0**-20
    return out


def _folded(sign: int) -> Callable[[Array], Array]:
    """Filters that are the same, or the negative, from each side."""

    def folded(filters: Array) -> Array:
        out = filters + 0.25
        for axis in (2, 3):
            out = out + sign * np.flip(out, axis) if filters.shape[axis] > 1 else out
        return np.asarray(out)

    return folded


def _two_of_four(filters: Array) -> Array:
    """Two of each four weights are 0, in all six ways."""
    kept = [[place in two for place in range(4)] for two in combinations(range(4), 2)]
    return np.where(np.resize(kept, filters.shape), np.abs(filters) + 1, 0)


def _equal_maps(x: Array, *_: object) -> Array:
    """The last image is the first one, and the second channel the first of each."""
    x = np.array(x)
    x[:, 1:2], x[-1:] = x[:, :1], x[:1]
    return x


def _equal_filters(filters: Array) -> Array:
    """The second one is the first."""
    return np.concatenate([filters[:1], filters[:1], filters[2:]])[: len(filters)]


def _apart(filters: Array, by: int) -> Array:
    """Zeros for all but every second (third, fourth) row and column of the weights."""
    h, w = filters.shape[2:]
    return np.where((np.arange(h)[:, np.newaxis] % by > 0) | (np.arange(w) % by > 0), 0, filters)


def _same(array: Array, *_: object) -> Array:
    return array


# What maps become, given the range of the format, and weights.
Made = tuple[Callable[[Array, Range], Array], Callable[[Array], Array]]
# Numbers that fast paths look for: whole ones of 1, 8 and 15 bits, some or mostly zeros, one number for each channel, subnormal ones, and
# weights that are all one, copy a channel, or are nearly products of a row and a column.
SPECIAL: dict[str, Made] = {
    "bytes": (_whole(255, 0), _whole(127, -127)),
    "some zeros": (_some_zeros, _one_of_nine),
    "words": (_whole(30000, 0), _whole(30000, -30000)),
    "ones": (_large_edge, np.ones_like),
    "identity": (_same, _identity),
    "blank": (_blank, _same),
    "sparse": (_sparse, _same),
    "nearly products": (_same, _nearly_products),
    "signs": (_sign, _sign),
    "subnormal": (_subnormal, _same),
    "signed bytes": (_whole(127, -128), lambda filters: 127 - np.abs(filters)),
}
# Weights that can be folded, as a row or a column is another one turned or taken away, or packed, as two of each four are 0; two images,
# channels and filters that are equal, beside others.
PATTERNS: dict[str, Made] = {
    "even": (_same, _folded(1)),
    "odd": (_same, _folded(-1)),
    "two of four": (_same, _two_of_four),
    "twins": (_equal_maps, _equal_filters),
}
NUMBERS: dict[str, Made] = {
    SMALL_INTEGERS: (_same, _same), "zeros": (lambda x, _: 0 * x, _same), **SPECIAL, **PATTERNS,
    **{name: (partial(_peaks, far=far), _same) for name, far in PEAKS.items()},
    **{name: (_same, partial(_apart, by=by)) for name, by in APART.items()},
}  # fmt: skip


def _unequal(array: Array) -> Array:
    """Sevenths, below 1 and above, every seventh of which is small: less than 1e-4 of the largest, where some might leave it out."""
    return array * 5 / 7 * np.where(_seventh(array), 2.0**-17, 1)


def _below_zero(array: Array) -> Array:
    """Negative ones, every seventh of which is small: the largest of a window, where that has seven cells.

    The others are so large that between them bicubic interpolation goes above 1.
    """
    return np.asarray(-16 * np.abs(_unequal(array)) - np.where(_seventh(array), 2.0**-18, 1))


def _seventh(array: Array) -> Array:
    """Every seventh place."""
    return np.asarray(np.arange(array.size) % 7 == 5).reshape(array.shape)


def extreme(call: Call, maps: int = 1, weights: int = 1, reach: int = 0) -> Call:
    """The call with maps and weights as large, or as small, as the format allows.

    Of a softmax, responses that are so far apart, place by place, that a bare exponential overflows or vanishes."""
    if call.operator == "softmax":
        x = np.asarray(call.arrays[0])
        far = np.arange(x[:, :1].size).reshape(x[:, :1].shape) % 3 - 1
        return call._replace(arrays=(x + 1000.0 * maps * far,))
    powers = (maps, weights, maps + weights) if len(call.arrays) > 1 else (maps + weights,)
    scaled = (None if a is None else a * 2.0 ** (reach * p) for a, p in zip(call.arrays, powers, strict=False))
    return call._replace(arrays=tuple(scaled))


def _wide(call: Call, weights: bool, digits: int) -> Call:
    """Maps, or weights, that have almost as many binary digits as the format holds, of which two at a time are added up.

    So they are exact however long the sum is, and a digit that is lost shows where the bound of so long a sum would hide it.
    """

    def wide(array: Array) -> Array:
        odd = 2.0 ** (digits - 2) + 2 * (np.arange(array.size) % 13) + 1
        return np.asarray(np.sign(array) * np.where(_seventh(array), 1, odd.reshape(array.shape)))

    x, *others = call.arrays
    assert x is not None
    if call.operator == "softmax":
        return call._replace(arrays=(x * 7 / 3,))
    if call.operator == "avg_pool":  # about one in each window
        x = x * (np.arange(x.size) % math.prod(call.options["size"]) == 0).reshape(x.shape)
    if not others or others[0] is None:
        return call._replace(arrays=(wide(x),))
    filters = others[0] if call.operator == "correlate" else others[0].swapaxes(0, 1)
    two, out = np.zeros((*filters.shape[:2], math.prod(filters.shape[2:]))), np.arange(len(filters))
    for first in (0, 1):
        two[out, (out + first) % two.shape[1], (3 * out + 2 * first) % two.shape[2]] += 1
    two = two.reshape(filters.shape)
    two = two if call.operator == "correlate" else two.swapaxes(0, 1)
    pair = (np.sign(x), wide(two)) if weights else (wide(x), two)
    return call._replace(arrays=(*pair, *others[1:]))


def _graded(call: Call, precision: Arithmetic) -> Call:
    """Channels of all magnitudes that the format allows, up to singles', and weights that bring them back.

    What is added up are small whole numbers then, each as heavy as the others: nothing may be left out for being small.
    """
    x, *others = call.arrays
    assert x is not None
    reach = min(precision.range.reach, 50) // 2
    powers = 2.0 ** np.resize(np.array([0, reach, -reach, reach // 2, -(reach // 2), 1]), x.shape[1])
    if call.operator == "softmax":  # responses that lie close together in some columns, and far apart in others
        apart = 2.0 ** np.resize(np.array([0, min(reach, 6), -4, -9, -14, -20, min(reach, 3), -30]), x.shape[3])
        return call._replace(arrays=(x / 3 * apart,))
    if others and others[0] is not None:
        each = powers[:, np.newaxis]
        if call.operator == "correlate":  # the channels of each filter's group
            of_groups = powers.reshape(call.options.get("groups", 1), -1)
            each = of_groups.repeat(len(others[0]) // len(of_groups), axis=0)
        others[0] = others[0] / each[:, :, np.newaxis, np.newaxis]
    return call._replace(arrays=(x * powers.reshape(-1, 1, 1), *others))
