"""Layers drawn at random, the same ones each time: sides of any length, and all else about as often as networks and backends have it.

The table of `conditions` has every two of its classes together. A fault that needs more conditions at a time, or a length that is no class, may
show in none of its calls. But if an engineer would write its conditions down, it shows in some layer of a thousand.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import count, islice
from typing import NamedTuple, TypeVar

import numpy as np

from ..arguments import Pair
from .numbers import APART, RISING
from .operators import TABLE, Row, Table, cost, windows

T = TypeVar("T")
SEED, SEEDS = 1, (1, 2, 3, 4)  # of a run, and of a thorough one, which so has all layers of the other
# Cells of a map in half precision, which cannot hold much more than eight times as many, as `scattered` has them.
CELLS_OF_HALVES = 2**12
RARE = 1 / 6  # how often a class is any one of the whole table, and not one of those that are common,
ANY_WINDOW = 1 / 5  # a window is any one,
SQUARE = IN_GROUPS = 0.3  # maps are squares, and layers in groups
BLOCKED = ("channels", "filters")
BLOCKS = (2, 4, 8, 16, 32)  # of which half of these numbers are multiples
OF_IMAGES = (1, 3)  # as images have them: so few are read, or made, one time in six
DILATED_STEPS = (1, 1), (1, 1), (2, 2)  # of 3×3 weights that lie apart
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
    "layout": (*["in C's order"] * 4, *["channels last"] * 4, "cut out", "every second column"),
    "type": (*["double"] * 4, *["single"] * 4, "half", "half"),
    "values": ("integers", "integers", "reals", "reals", "negative", "graded", "wide maps"),
    "leak": (0.0, 0.25, 0.01, 1.0, 2.0, -1.0),
}


class Draws(NamedTuple):
    """Layers of an operator: what is common; how many there are, of how many products at most; their shortest and longest sides; and how often a
    window is the map, or a map a cell."""

    common: Table
    many: int = 1200
    most: int = 2**19
    shortest: Mapping[str, int] = {}
    longest: Mapping[str, int] = {"channels": 160, "filters": 160, "rows": 96, "columns": 96}
    whole: float = 0.1


_filters = Draws(COMMON | {"window": FILTERS, "values": COMMON["values"] * 3 + tuple(APART)}, many=2400)
# As they lie deep in a network.
_deep = _filters._replace(
    many=300, most=2**21, shortest={"channels": 32, "filters": 32},
    longest={"channels": 640, "filters": 640, "rows": 32, "columns": 32},
)  # fmt: skip
_pools = Draws(COMMON | {"window": POOLS, "values": (*COMMON["values"], RISING)}, most=2**17)
_softmax: Table = {
    "images": (1, 1, 2, 3, 5, 8, 16, 19, 33, 64),
    "values": ("integers", "reals", "peaks", "high peaks"),
}
DRAWS = {
    "correlate": (_filters, _deep),
    "max_pool": (_pools,),
    "avg_pool": (_pools,),
    "relu": (Draws(COMMON, most=2**16),),
    "softmax": (
        Draws(COMMON | _softmax, most=2**16, longest={"channels": 1000, "rows": 96, "columns": 96}, whole=0.5),
    ),
    "substitute": (_filters, _deep),
    "unpool": (Draws(COMMON | {"window": UNPOOLS}),),
}


def layers(operator: str, table: Table, groups: bool, thorough: bool = False) -> Iterator[Row]:
    """Rows of `conditions`, whose table this is; some in groups, if asked."""
    for seed in SEEDS if thorough else (SEED,):
        draw = np.random.default_rng(seed)
        for draws in DRAWS[operator]:
            rows = (_layer(draws, table, groups and "filters" in table, draw) for _ in count())
            yield from islice((row for row in rows if _fits(operator, row, draws)), draws.many)


def _fits(operator: str, row: Row, draws: Draws) -> bool:
    small = row["type"] != "half" or row["rows"] * row["columns"] <= CELLS_OF_HALVES
    return small and TABLE[operator].products(row) <= draws.most and cost(operator, row) <= 4 * draws.most


def _layer(draws: Draws, table: Table, groups: bool, draw: np.random.Generator) -> Row:
    """A class of each condition; a number that is no class of the table for most sides."""
    row = {name: _either(draws.common.get(name, classes), classes, draw) for name, classes in table.items()}
    row |= {side: _length(side, draws, draw) for side in draws.longest if side in table}
    row |= {"columns": row["rows"]} if draw.random() < SQUARE else {}
    row |= {"values": "integers"} if row["type"] == "half" else {}
    row |= {"window": _window(draw)} if "window" in table and draw.random() < ANY_WINDOW else {}
    if "filters" in table and not draws.shortest and draw.random() < RARE:  # deep in a network nothing is an image
        few = "channels" if "pad" in table else "filters"
        row |= {few: _one(OF_IMAGES, draw), "window": _one(STEMS, draw)}
    if row["values"] in APART:
        row |= {"window": ((2 * APART[row["values"]] + 1,) * 2, _one(DILATED_STEPS, draw))}
    whole = draw.random() < draws.whole
    if whole and "pad" in table:
        row |= {"window": ((row["rows"], row["columns"]), (1, 1)), "pad": "none"}
    row |= {"rows": 1, "columns": 1} if whole and "pad" not in table else {}
    return _in_groups(row, draw) if groups and draw.random() < IN_GROUPS else row


def _length(side: str, draws: Draws, draw: np.random.Generator) -> int:
    """As likely between 1 and 2 as between 64 and 128."""
    length = int(2 ** draw.uniform(math.log2(draws.shortest.get(side, 1)), math.log2(draws.longest[side] + 1)))
    block = _one(BLOCKS, draw) if side in BLOCKED and draw.random() < 1 / 2 else 1
    return max(1, round(length / block)) * block


def _window(draw: np.random.Generator) -> tuple[Pair, Pair]:
    """Up to nine cells a side, in steps of up to the side: two times in three a square, in equal steps."""
    square = draw.random() < 2 / 3
    h, w = draw.integers(1, 10, 2).tolist()
    w = h if square else w
    r, s = draw.integers(1, (h + 1, w + 1)).tolist()
    return (h, w), (r, r if square else s)


def _in_groups(row: Row, draw: np.random.Generator) -> Row:
    """Two to four groups, or one for each channel, with one filter each or several."""
    groups = _one((2, 3, 4, row["channels"], row["channels"], row["filters"]), draw)
    return row | {side: -(-row[side] // groups) * groups for side in BLOCKED} | {"groups": groups}


def _either(common: Sequence[T], classes: Sequence[T], draw: np.random.Generator) -> T:
    return _one(classes if draw.random() < RARE else common, draw)


def _one(classes: Sequence[T], draw: np.random.Generator) -> T:
    return classes[int(draw.integers(len(classes)))]
