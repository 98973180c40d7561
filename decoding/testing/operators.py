"""What the kit knows of each operator, in one table with a record for each.

A call is described by a *row*: the sides of its arrays (``images``, ``channels``, ``rows``, ``columns``, ``filters``), its
``window`` (size and step), its ``pad``, and its other options. `conditions` says which rows there are.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .. import reference
from ..arguments import Array, Pads, Pair
from ..interpolation import MODES
from . import rounding
from .calls import Call
from .rounding import Arithmetic, Errors, Grids

Row = dict[str, Any]
Table = dict[str, tuple[Any, ...]]  # for each condition its classes
Windows = tuple[tuple[Pair, Pair], ...]  # sizes and steps
MEETING = 64  # products at which a map and a filter that meet are counted at least


class Operator(NamedTuple):
    """What the kit knows of one operator.

    Attributes
    ----------
    source, hunts : str
        Where the paper says so, and the bugs that a plain comparison hunts.
    factors : dict
        The conditions that an implementation may branch on, beside those of the maps: for each its classes, the plain one
        first. None stands for the sides that all maps have.
    made : callable
        The call that a row describes, of whole numbers.
    products : callable
        How many products, or cells, that call takes; infinite where it must be refused.
    error, grid : callable
        How far off an honest answer may be, and where it is exact: see `rounding`.
    touched : callable
        Where a call's array of that number, the rest being zeros and ones, has a share in the answer.
    """

    source: str
    hunts: str
    factors: dict[str, tuple[Any, ...] | None]
    made: Callable[[Row], Call]
    products: Callable[[Row], float]
    error: Callable[[Call, Arithmetic, Array, Array, Array | None], Errors]
    grid: Callable[[Call, Arithmetic, list[float]], Grids | None]
    touched: Callable[[Call, int], Array]


def windows(text: str) -> Windows:
    """Windows with their steps, one a word: ``3x2/1x2`` is (3, 2) in steps of (1, 2), ``3/2`` is (3, 3) in steps of (2, 2)."""

    def pair(word: str) -> Pair:
        rows, _, columns = word.partition("x")
        return int(rows), int(columns or rows)

    found = (word.split("/") for word in text.split())
    return tuple((pair(size), pair(step)) for size, step in found)


# What people use, and one cell, one row, one column; steps that are equal, unequal, and larger than the window.
WINDOWS = windows(
    "2x3/1x2 1/1 1/2 3/1 3/2 3/3 3/1x2 5/1 5/2 7/2 2/2 4/2 3x2/2x5 1x3/1 3x1/1 4/3 2x3/3x1 3/5 1x2/1x17 11/4 1x8/1 9x1/1 16x17/1x2 32x33/3x1"
)
POOLS = windows(
    "3x2/1x2 2/2 3/2 2/1 3/3 5/2 4/2 4/3 5/5 1/1 1/2 2/3 3x2/2x3 1x4/1 4x1/1 7/7 8/8 16x17/1x2 2x5/5x4 9/4 5x6/3x4"
)
# At steps of 49, 98 and 103, p times the rounded reciprocal lies below a whole number where p over the step is one.
UNPOOLS = (*POOLS, *windows("49x1/49x1 1x98/1x98 2x1/103x1 1x49/1x49 6/1"))
LEAKS = (0.25, 0.0, 1.0, 0.01, 1e-6, 1e-12, 1 + 2.0**-20, 2.0, 3.0, 100.0, -1.0, -2.0, -3.5)
# Of a window of so many rows and columns. These are paired with everything,
NEAR_PADS: dict[str, Callable[[int, int], Pads]] = {
    "none": lambda h, w: (0, 0, 0, 0),
    "one all around": lambda h, w: (1, 1, 1, 1),
    "half a window": lambda h, w: (h // 2, h // 2, w // 2, w // 2),
    "above": lambda h, w: (1, 0, 0, 0),
    "below": lambda h, w: (0, 1, 0, 0),
    "left": lambda h, w: (0, 0, 1, 0),
    "right": lambda h, w: (0, 0, 0, 1),
    "below and right": lambda h, w: (0, 1, 0, 1),
    "above and left": lambda h, w: (1, 0, 1, 0),
    "all different": lambda h, w: (2, 1, 0, 3),
    "more than three": lambda h, w: (4, 5, 6, 4),
    "nearly a window": lambda h, w: (h - 1, h - 1, w - 1, w - 1),
}
# and these, which take more than a byte, with a sign or without, come alone.
FAR_PADS: dict[str, Callable[[int, int], Pads]] = {
    "over 127 above and below": lambda h, w: (129, 128, 0, 0),
    "over 127 left and right": lambda h, w: (0, 0, 128, 129),
    "over 255 above and below": lambda h, w: (256, 257, 0, 0),
    "over 255 left and right": lambda h, w: (0, 0, 257, 256),
}
PADS = NEAR_PADS | FAR_PADS


def varied(*shape: int, most: int = 3) -> Array:
    """Whole numbers from −`most` to `most` in no order, over and over: so many that no side repeats them."""
    period = next((p for p in (13, 11, 7) if all(side % p for side in shape[1:])), 5)
    i = np.arange(period)
    once, many = (i * i * 3 + i * 5 + i // 3) % (2 * most + 1) - float(most), math.prod(shape)
    return np.tile(once, -(-many // period))[:many].reshape(shape)


def rising(maps: Array) -> Array:
    """From cell to cell, unequally."""
    return np.asarray(maps + 8.0 * np.arange(math.prod(maps.shape[2:])).reshape(maps.shape[2:]))


def scattered(maps: Array) -> Array:
    """All unequal, in no order, so that the largest of a window may lie in any of its cells."""
    cells = math.prod(maps.shape[2:])
    step = next(n for n in range(int(0.618 * cells), -1, -1) if math.gcd(n, cells) == 1)
    return np.asarray(maps + 8.0 * (np.arange(cells) * step % cells).reshape(maps.shape[2:]))


def _maps(row: Row) -> Array:
    return varied(row["images"], row["channels"], row["rows"], row["columns"])


def _correlation(row: Row) -> Call:
    size, stride = row["window"]
    bias = varied(row["filters"]) if row["bias"] else None
    arrays = _maps(row), varied(row["filters"], row["channels"] // row.get("groups", 1), *size, most=2), bias
    return Call("correlate", arrays, {"stride": stride, "pad": PADS[row["pad"]](*size), **_groups(row)})


def _substitution(row: Row) -> Call:
    size, stride = row["window"]
    arrays = _maps(row), varied(row["channels"], row["filters"] // row.get("groups", 1), *size, most=2)
    return Call("substitute", arrays, {"stride": stride, **_groups(row)})


def _groups(row: Row) -> dict[str, int]:
    return {"groups": row["groups"]} if "groups" in row else {}


def _pooling(operator: str) -> Callable[[Row], Call]:
    def made(row: Row) -> Call:
        size, stride = row["window"]
        maps = _maps(row)
        if operator == "max_pool" and math.prod(size) > 12:  # where every window would have the same largest
            maps = scattered(maps)
        return Call(operator, (maps,), {"size": size, "stride": stride, "pad": PADS[row["pad"]](*size)})

    return made


def _unpooling(row: Row) -> Call:
    size, stride = row["window"]
    return Call("unpool", (_maps(row),), {"size": size, "stride": stride, "mode": row["mode"]})


def _windowed(row: Row) -> float:
    """Of a window that is moved over padded maps."""
    (h, w), (r, s) = row["window"]
    top, bottom, left, right = PADS[row["pad"]](h, w)
    if "filters" not in row and (max(top, bottom) >= h or max(left, right) >= w):
        return math.inf
    rows, columns = row["rows"] + top + bottom, row["columns"] + left + right
    tall, wide, maps = (rows - h) // r + 1, (columns - w) // s + 1, row["images"] * row["channels"]
    if tall < 1 or wide < 1:
        return math.inf
    return float(maps * max(row.get("filters", 1) * h * w * tall * wide, rows * columns))


def _enlarged(row: Row) -> float:
    """Of maps that are substituted, or unpooled by two products of matrices."""
    (h, w), (r, s) = row["window"]
    rows, columns, maps = row["rows"], row["columns"], row["images"] * row["channels"]
    tall, wide = (rows - 1) * r + h, (columns - 1) * s + w
    if "filters" in row:
        return float(maps * row["filters"] * max(h * w * rows * columns, tall * wide))
    return float(maps * tall * (rows * columns + wide * columns))


def cost(operator: str, row: Row) -> float:
    """Products of a row's call; at least so many for each map and filter that meet, as some backends take them one by one."""
    meet = row["images"] * row["channels"] * row["filters"] / row.get("groups", 1) if "filters" in row else 0
    return max(TABLE[operator].products(row), MEETING * meet)


def _cells(row: Row) -> float:
    return float(math.prod(row[side] for side in ("images", "channels", "rows", "columns")))


def _touched_by_products(call: Call, which: int) -> Array:
    """Times something that is not zero; a bias is added to everything, or to nothing."""
    shares: list[Array | None] = [None if a is None else np.where(a != 0, float(which < 2), 0) for a in call.arrays]
    shares[2:] = [None] * len(shares[2:])
    shares[which] = spots(call, which)
    return np.asarray(call.on(reference, *shares))


def _touched_by_weights(call: Call, which: int) -> Array:
    down, across = rounding.axis_weights(call)
    return np.asarray(down @ spots(call, which) @ across.T)


def _touched_all_channels(call: Call, which: int) -> Array:
    found = spots(call, which)
    return np.broadcast_to(found.max(axis=1, keepdims=True), found.shape)


def spots(call: Call, which: int) -> Array:
    """1 where the array of that number is not a number, 0 elsewhere."""
    return np.isnan(np.asarray(call.arrays[which], np.float64)).astype(float)


def _never(call: Call, precision: Arithmetic, grids: list[float]) -> None:
    """Exponentials are never exact."""


TABLE = {
    "correlate": Operator(
        "section 2, the ⋆ operator", "flips, swapped axes, strides, pads, a lost or doubled bias",
        {"filters": None, "window": WINDOWS, "pad": tuple(NEAR_PADS), "bias": (True, False)}, _correlation, _windowed,
        rounding.linear_error, rounding.linear_grid, _touched_by_products,
    ),
    "max_pool": Operator(
        "section 4, non-overlapping 2×2 regions", "maxima that start at zero, sizes rounded up, zero padding",
        {"window": POOLS, "pad": tuple(NEAR_PADS)}, _pooling("max_pool"), _windowed,
        rounding.max_pool_error, rounding.max_pool_grid, _touched_by_products,
    ),
    "avg_pool": Operator(
        "our choice: MatConvNet's divisor", "padding that is counted, sizes rounded up",
        {"window": POOLS, "pad": tuple(NEAR_PADS)}, _pooling("avg_pool"), _windowed,
        rounding.avg_pool_error, rounding.avg_pool_grid, _touched_by_products,
    ),
    "relu": Operator(
        "section 4, layer 6 of LeNet; leaks our choice", "a leak that is ignored, or thought to lie between 0 and 1",
        {"leak": LEAKS}, lambda row: Call("relu", (_maps(row),), {"leak": row["leak"]}), _cells,
        rounding.relu_error, rounding.relu_grid, spots,
    ),
    "softmax": Operator(
        "section 4, layer 8 of LeNet", "overflow, the wrong axis",
        {}, lambda row: Call("softmax", (_maps(row),), {}), _cells,
        rounding.softmax_error, _never, _touched_all_channels,
    ),
    "substitute": Operator(
        "equations 1 and 2, subst", "flips, overlaps that overwrite, swapped strides",
        {"filters": None, "window": WINDOWS}, _substitution, _enlarged,
        rounding.linear_error, rounding.linear_grid, _touched_by_products,
    ),
    "unpool": Operator(
        "section 3, unpool; kernel and edge our choice", "ties, aligned corners, edges, sizes and gains",
        {"window": UNPOOLS, "mode": MODES}, _unpooling, _enlarged,
        rounding.unpool_error, rounding.unpool_grid, _touched_by_weights,
    ),
}  # fmt: skip
