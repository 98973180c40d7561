"""Layers drawn at random, the same ones each time: sides of any length, and all else about as often as networks and backends have it.

The tables of `conditions` and `geometry` have every combination of a few classes. A fault that needs more conditions at a time than these, or a
length that is no class, may show in none of their calls. But if an engineer would write its conditions down, it shows in some layer of a thousand.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeVar

import numpy as np

from . import geometry
from .operators import TABLE, Row, Table, windows

T = TypeVar("T")
SEED = 1
DEAREST = 2**21  # cost of a call, as `geometry` counts it
CELLS_OF_HALVES = (
    2**12
)  # of a map in half precision, which cannot hold much more than eight times as many, as `scattered` has them
RARE = 1 / 6  # how often a class is any one of the whole table, and not one of those that are common
LONGEST = {"channels": 160, "filters": 160, "rows": 96, "columns": 96}
BLOCKED = ("channels", "filters")
BLOCKS = (2, 4, 8, 16, 32)  # of which half of these numbers are multiples
OF_IMAGES = (1, 3)  # as images have them: so few are read, or made, one time in six
SQUARE = IN_GROUPS = 0.3  # how often maps are squares, and layers in groups
# Common classes, as often as they are named.
FILTERS = windows(
    "3/1 3/1 3/1 3/1 3/2 3/2 1/1 1/1 1/1 1/2 5/1 5/2 7/1 7/2 2/2 2/2 2/1 4/2 4/4 1x3/1 3x1/1 1x7/1 7x1/1 1x5/1 8/8 6/1"
)
STEMS = windows("3/1 3/1 3/2 3/2 5/1 5/2 7/2 7/2 4/2 4/4 11/4 14/14 16/16")  # of few channels, or filters
POOLS = windows("2/2 2/2 2/2 3/2 3/2 3/1 3/1 2/1 3/3 5/1 5/2 7/1 7/7 4/4 4/2 1x3/1 3x1/1 13/1 8/8")
UNPOOLS = windows("2/2 2/2 2/2 3/2 3/3 4/4 4/2 2/1 3/1 5/5 8/8 16/16 1x2/1x2 2x1/2x1 1x4/1x2 3x1/3x1 2x3/2x3 7/7 6/6")
COMMON: Table = {
    "images": (1, 1, 1, 1, 2, 2, 3, 4, 5, 8, 16, 17),
    "pad": ("none", "none", "half a window", "half a window", "half a window", "one all around", "below and right"),
    "layout": (*["in C's order"] * 4, *["channels last"] * 3),
    "type": (*["double"] * 4, *["single"] * 4, "half", "half"),
    "values": ("integers", "integers", "reals", "reals", "negative", "graded", "wide maps"),
    "leak": (0.0, 0.25, 0.01, 1.0, 2.0, -1.0),
}


class Draws(NamedTuple):
    """The layers of an operator: what is common, how many there are, of how many products at most, the longest sides, and how often a window is
    the map, or a map a cell."""

    common: Table
    many: int = 800
    most: int = 2**19
    longest: dict[str, int] = LONGEST
    whole: float = 0.1


_filters = Draws(COMMON | {"window": FILTERS}, many=1600)
_pools = Draws(COMMON | {"window": POOLS, "values": (*COMMON["values"], geometry.RISING)}, most=2**17)
_softmax: Table = {
    "images": (1, 1, 2, 3, 5, 8, 16, 19, 33, 64),
    "values": ("integers", "reals", "peaks", "high peaks"),
}
DRAWS = {
    "correlate": _filters,
    "max_pool": _pools,
    "avg_pool": _pools,
    "relu": Draws(COMMON, most=2**16),
    "softmax": Draws(COMMON | _softmax, most=2**16, longest=LONGEST | {"channels": 1000}, whole=0.5),
    "substitute": _filters,
    "unpool": Draws(COMMON | {"window": UNPOOLS}),
}


def layers(operator: str, table: Table, groups: bool) -> Iterator[Row]:
    """Rows of `conditions`, whose table this is; some in groups, if asked."""
    draw, draws = np.random.default_rng(SEED), DRAWS[operator]
    left = draws.many
    while left:
        row = _layer(draws, table, draw)
        if groups and "filters" in table and draw.random() < IN_GROUPS:
            row = _in_groups(row, draw)
        fits = TABLE[operator].products(row) <= draws.most and geometry.cost(operator, row) <= DEAREST
        if fits and (row["type"] != "half" or row["rows"] * row["columns"] <= CELLS_OF_HALVES):
            left -= 1
            yield row


def _layer(draws: Draws, table: Table, draw: np.random.Generator) -> Row:
    """A class of each condition; a number that is no class of the table for most sides."""
    row = {name: _either(draws.common.get(name, classes), classes, draw) for name, classes in table.items()}
    row |= {side: _length(side, most, draw) for side, most in draws.longest.items() if side in table}
    row |= {"columns": row["rows"]} if draw.random() < SQUARE else {}
    row |= {"values": "integers"} if row["type"] == "half" else {}
    if "filters" in table and draw.random() < RARE:
        few = "channels" if "pad" in table else "filters"
        row |= {few: _one(OF_IMAGES, draw), "window": _one(STEMS, draw)}
    whole = draw.random() < draws.whole
    if whole and "pad" in table:
        row |= {"window": ((row["rows"], row["columns"]), (1, 1)), "pad": "none"}
    return row | ({"rows": 1, "columns": 1} if whole and "pad" not in table else {})


def _length(side: str, longest: int, draw: np.random.Generator) -> int:
    """As likely between 1 and 2 as between 64 and 128."""
    length = int(2 ** draw.uniform(0, math.log2(longest + 1)))
    block = _one(BLOCKS, draw) if side in BLOCKED and draw.random() < 1 / 2 else 1
    return max(1, round(length / block)) * block


def _in_groups(row: Row, draw: np.random.Generator) -> Row:
    """Two to four groups, or one for each channel, with one filter each or several."""
    groups = _one((2, 3, 4, row["channels"], row["channels"], row["filters"]), draw)
    return row | {side: -(-row[side] // groups) * groups for side in BLOCKED} | {"groups": groups}


def _either(common: Sequence[T], classes: Sequence[T], draw: np.random.Generator) -> T:
    return _one(classes if draw.random() < RARE else common, draw)


def _one(classes: Sequence[T], draw: np.random.Generator) -> T:
    return classes[int(draw.integers(len(classes)))]
