"""Calls in which every three conditions of geometry and layout occur together, and every four of those that networks mostly have.

A fast path for 3×3 windows in steps of 2, say, may go wrong with pads and an even number of columns alone. `conditions` pairs everything with
everything; here the conditions that tails and edges depend on have few classes each, so that every *three* classes of different factors
occur together in some call (a covering array of strength 3). Besides their table there are four: one of still fewer, *usual* classes, every
*four* of which occur together; one of *dilated* windows, every four of which do, too; one of *layers* on many channels, filters and images,
every three of which occur together; and one of arrays in *half* precision, by threes. Rows and columns are classes, too: what a window just covers, what it leaves over, odd and even.
Each row of a table becomes a row of `conditions`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from itertools import combinations

import numpy as np

from ..arguments import Array
from ..interpolation import MODES
from .histories import histories
from .operators import PADS, TABLE, Row, Table, windows

ALIKE = {"avg_pool": "max_pool"}  # operators that have the table of another

MEETING = 64  # products at which a map and a filter that meet are counted at least
CANDIDATES = 24  # rows that are drawn, the best of which is taken,
CHANGES = 2  # and changed so often
SIZES = (*((n, n) for n in (3, 1, 2, 4, 5, 6, 7, 8, 14)), (2, 3), (1, 3), (3, 1), (1, 2), (2, 1))
SIDE, HALF = "as large as the window", "half a window"
STEPS = ((1, 1), (2, 2), (3, 3), (4, 4), SIDE, HALF, (1, 2), (2, 1))
AROUND = ("none", "one all around", "half a window", "above", "below", "left", "right", "nearly a window")
ONE, TWO, REST = "one window", "two windows", "three windows and what is left over"
CELLS = (ONE, TWO, REST, 8, 9, 16, 17)  # rows and columns of what a window is moved over, at least as many as it takes
FEW_CELLS = (2, 1, 3, 8, 15, 17)  # and of what is carried down, or stays as large as it is
EACH = "one for each channel"
RISING = "rising"  # along each map, so that a window's largest lies in its last cell, and in its first one when the sign is changed
LAYOUTS = ("in C's order", "channels last", "every second column", "cut out", "backwards", "another")
# What is drawn for each row in place of another layout, of some of the reals, and of some arrays in single precision.
OTHER_LAYOUTS = (
    "in Fortran's order",
    "channels last, some of them",
    "every second of the first axis",
    "every second of the second axis",
    "every second row",
    "not where memory begins",
    "two axes exchanged",
    "one axis backwards",
    "in records",
    "read-only",
)
REALS = ("graded", "wide maps")
SINGLES = ("the first single", "the others single")
# Weights that lie so far apart, with rows and columns of 0 between them, as dilation makes them.
APART = {"weights apart": 2, "weights 3 apart": 3, "weights 4 apart": 4}
# What networks mostly have, and where fast paths begin: 14 is two more than a multiple of four.
USUAL: Table = {
    "size": ((3, 3), (1, 1), (2, 2), (4, 4), (5, 5), (1, 3), (3, 1)),
    "step": ((1, 1), (2, 2), SIDE),
    "pad": ("half a window", "none", "below and right"),
    "leak": (0.0, 0.25, -1.0),
    "rows": (ONE, 8, 9, 14),
    "columns": (ONE, 8, 9, 14),
    "channels": (3, 4, 8, 16),
    "filters": (2, 4, 8, 16),
    "groups": (1, 2, EACH),
    "images": (1, 2),
    "layout": LAYOUTS[:3],
    "values": ("integers", "reals", "negative"),
}
# Where there are no filters, there is room: windows with their steps are one condition, so that more others occur with them.
USUAL_WITHOUT_FILTERS: Table = {"window": windows("3/2 2/2 3/1 2/1 1/1 1/2"), "channels": (3, 4, 8, 12, 16)}
# Windows of 3×3 weights that lie apart: how far, `values` says, and so how large the window is.
DILATED: Table = {
    "step": ((1, 1), (2, 2)),
    "pad": ("half a window", "none", "one all around"),
    "rows": (ONE, 8, 9, 14),
    "columns": (ONE, 8, 9, 14),
    "channels": (1, 3, 8, 16),
    "filters": (2, 8),
    "groups": (1, EACH),
    "images": (1, 2),
    "layout": LAYOUTS[:3],
    "values": tuple(APART),
}
# Layers on many channels, filters and images, whose products of matrices are made in blocks and leave rests.
LAYERS: Table = {
    "window": windows("3/1 1/1 3/2 1/2 5/1 7/2 1x7/1 7x1/1 2/2 4/2"),
    "pad": ("none", "half a window", "one all around", "below and right"),
    "leak": (0.0, 0.25),
    "rows": (ONE, 4, 5, 9),
    "columns": (ONE, 7, 8),
    "channels": (3, 15, 96, 104, 128, 576),
    "filters": (3, 33, 61, 128, 208),
    "groups": (1, EACH),
    "images": (1, 2, 16),
    "layout": LAYOUTS[:3],
    "values": ("integers", "reals", "negative"),
}
# Arrays of half precision, which libraries convert on the way or have fast paths of their own for.
HALVES: Table = {
    "window": windows("3/1 1/1 3/2 2/2 5/1 7/1"),
    "pad": ("half a window", "none", "below and right"),
    "leak": (0.0, 0.25),
    "rows": (ONE, 8, 9),
    "columns": (ONE, 8, 9),
    "channels": (1, 3, 4, 8, 16),
    "filters": (1, 4, 8, 16),
    "groups": (1, EACH),
    "images": (1, 4),
    "layout": LAYOUTS[:3],
    "type": ("half",),
    "values": ("integers",),
}


@lru_cache(maxsize=32)
def factors(operator: str, groups: bool = False) -> Table:
    """The table: for each condition its classes."""
    of = TABLE[operator].factors
    windows = {"size": SIZES, "step": STEPS} if "window" in of else {}
    pads = {"pad": AROUND} if "pad" in of else {}
    modes = {"mode": MODES} if "mode" in of else {}
    leaks = {"leak": (0.25, 0.0, 1.0, 2.0, -1.0)} if "leak" in of else {}
    cells = CELLS if "pad" in of else FEW_CELLS
    weights = {"filters": (2, 1, 3, 8, 16)} if "filters" in of else {}
    biases = {"bias": (True, False)} if "bias" in of else {}
    shares = {"groups": (1, 2, EACH)} if groups and weights else {}
    values = ("integers", "reals", "negative", *[RISING] * (bool(pads) and not weights))
    more = not windows  # there is room
    channels, images = (2, 1, 3, 4, 8, 16, *(7, 15, 33, 100) * more), (2, 1, 3, *(8, 16) * more)
    return {
        **windows, **pads, **modes, **leaks, "rows": cells, "columns": cells, "channels": channels, **weights, **shares,
        "images": images, **biases, "layout": LAYOUTS, "type": ("double", "single"), "values": values,
    }  # fmt: skip


def usual_factors(operator: str, groups: bool = False) -> Table:
    """The table of the usual ones."""
    known = factors(operator, groups)
    return _with_classes(known, USUAL if "filters" in known else USUAL | USUAL_WITHOUT_FILTERS)


def dilated_factors(operator: str, groups: bool = False) -> Table:
    """The table of dilated windows, if there are weights."""
    known = factors(operator, groups)
    others = {name: known[name] for name in known if name != "size"}
    return _with_classes(others, DILATED) if "filters" in known else {}


def layer_factors(operator: str, groups: bool = False) -> Table:
    """The table of layers."""
    return _with_classes(factors(operator, groups), LAYERS)


def half_factors(operator: str, groups: bool = False) -> Table:
    """The table of half precision."""
    return _with_classes(factors(operator, groups), HALVES)


def _with_classes(known: Table, given: Table) -> Table:
    """The table with the classes that are given, windows with their steps if these are given; where no window is moved over maps, one cell
    stands for what one window takes."""
    if "window" in given and "size" in known:
        known = {"window": (), **{name: known[name] for name in known if name not in ("size", "step")}}
    cells = {} if "pad" in known else {side: (1, *given[side][1:]) for side in ("rows", "columns")}
    return {name: {**given, **cells}.get(name, classes) for name, classes in known.items()}


# Tables: how many of their classes occur together; how many products most calls have, and each: large ones take little longer,
# and fewer do.
KINDS: dict[str, tuple[Callable[..., Table], int, int, int]] = {
    "threes": (factors, 3, 2**16, 2**18),
    "usual": (usual_factors, 4, 2**16, 2**18),
    "dilated": (dilated_factors, 4, 2**16, 2**18),
    "layers": (layer_factors, 3, 2**21, 2**24),
    "halves": (half_factors, 3, 2**16, 2**18),
}


def resolved(row: Row) -> Row:
    """The row of `conditions` that a row of one of these tables describes: steps, sides and groups as numbers."""
    found = dict(row)
    if "step" in row and row["values"] in APART:
        found["size"] = (2 * APART[row["values"]] + 1,) * 2
    if "size" in found:
        size, step = found.pop("size"), found.pop("step")
        step = {SIDE: size, HALF: tuple(max(1, n // 2) for n in size)}.get(step, step)
        found["window"] = size, step
    if "window" in found:
        size, step = found["window"]
        if "pad" in row:
            pads = PADS[row["pad"]](*size)
            for axis, side in enumerate(("rows", "columns")):
                least, s = max(1, size[axis] - sum(pads[2 * axis : 2 * axis + 2])), step[axis]
                many = {ONE: least, TWO: least + s, REST: least + 3 * s - 1}
                found[side] = many.get(row[side]) or max(least, row[side])
    if "groups" in row:
        groups = row["channels"] if row["groups"] == EACH else row["groups"]
        found |= {side: -(-row[side] // groups) * groups for side in ("channels", "filters")} | {"groups": groups}
    return found


class Together:
    """So many classes of different factors of a table, together: all there are, numbered.

    A row is an array of the numbers of its classes, factor by factor.
    """

    def __init__(self, counts: list[int], strength: int) -> None:
        self.counts = np.array(counts)
        self.which = np.array(list(combinations(range(len(counts)), strength)))  # so many factors each
        sizes = self.counts[self.which]
        self.first = np.append(0, sizes.prod(axis=1).cumsum())
        self.steps = np.zeros((len(counts), len(self.which)))  # floats, whose products are fast, and exact
        np.put_along_axis(self.steps.T, self.which, sizes.prod(axis=1)[:, np.newaxis] // sizes.cumprod(axis=1), axis=1)

    def of(self, rows: Array) -> Array:
        """The numbers of those that each row has."""
        return np.asarray(self.first[:-1] + rows.astype(float) @ self.steps, int)

    def largest_first(self) -> Array:
        """The numbers of all, those of the factors that have most classes first, as they need most rows."""
        order = np.argsort(-np.diff(self.first), kind="stable")
        return np.concatenate([np.arange(self.first[at], self.first[at + 1]) for at in order])

    def classes(self, number: int) -> tuple[Array, Array]:
        """Of one of them, the factors, and the number of its class of each."""
        at = int(np.searchsorted(self.first, number, side="right")) - 1
        factors = self.which[at]
        return factors, np.array(np.unravel_index(number - self.first[at], self.counts[factors]))


def cover(
    table: Table, strength: int, products: Callable[[Row], float], small: int, most: int
) -> tuple[tuple[Row, ...], int, int]:
    """A covering array: rows of so many products at most; how many classes they have together, so many at a time, and how many can be.

    Greedy, by random numbers that are the same each time. A combination that is missing begins some rows, which are filled at random; the one
    with most of those that are missing is taken, if it is small, and its classes changed, one at a time, while that adds others. If none is
    small, the least row that has the combination is taken.
    """
    draw, names = np.random.default_rng(0), list(table)
    together = Together([len(table[name]) for name in names], strength)
    missing = _compatible(table, strength, products)
    compatible, found = missing.copy(), list[Array]()
    single = np.concatenate([[(at, n) for n in range(count)] for at, count in enumerate(together.counts)])
    least = np.array([classes.index(1) if 1 in classes else 0 for classes in table.values()])

    def row(numbers: Array) -> Row:
        return {name: table[name][n] for name, n in zip(names, numbers, strict=True)}

    def best(rows: Array, more_than: int = 0) -> tuple[Array, int] | None:
        """The small one that has most of those that are missing, if it has more than so many; and how many it has."""
        gains = np.count_nonzero(missing[together.of(rows)], axis=1)
        order = (i for i in np.argsort(-gains, kind="stable") if gains[i] > more_than)
        return next(((rows[i], gains[i]) for i in order if products(row(rows[i])) <= small), None)

    for number in together.largest_first():
        if not missing[number]:
            continue
        fixed, classes = together.classes(number)
        drawn = draw.integers(0, together.counts, (CANDIDATES, len(names)))
        drawn[:, fixed] = classes
        chosen, gain = best(drawn) or (None, 0)
        if chosen is None:
            chosen = least.copy()
            chosen[fixed] = classes
            if products(row(chosen)) > most:
                missing[number] = False
                continue
            gain = int(missing[together.of(chosen)].sum())
        is_free = np.ones(len(names), bool)
        is_free[fixed] = False
        free = single[is_free[single[:, 0]]]
        for _ in range(CHANGES):
            near = np.repeat(chosen[np.newaxis], len(free), axis=0)
            near[np.arange(len(free)), free[:, 0]] = free[:, 1]
            better = best(near, gain)
            if better is None:
                break
            chosen, gain = better
        missing[together.of(chosen)] = False
        found.append(chosen)
    possible = int(compatible.sum())
    compatible[together.of(np.array(found))] = False
    return tuple(map(row, found)), possible - int(compatible.sum()), possible


def _compatible(table: Table, strength: int, products: Callable[[Row], float]) -> Array:
    """Whether each combination can be: no two of its classes exclude each other, as a pad excludes a pool's window that is no larger."""
    names, plain = list(table), {name: classes[0] for name, classes in table.items()}
    fit = {
        (a, b): np.array([[math.isfinite(products({**plain, a: x, b: y})) for y in table[b]] for x in table[a]])
        for a, b in combinations(names, 2)
    }
    found = []
    for some in combinations(names, strength):
        fits = np.ones([len(table[name]) for name in some], bool)
        for i, j in combinations(range(strength), 2):
            fits &= np.expand_dims(fit[some[i], some[j]], [n for n in range(strength) if n not in (i, j)])
        found.append(fits.ravel())
    return np.concatenate(found)


def cost(operator: str, row: Row) -> float:
    """Products of a row's call; at least so many for each map and filter that meet, as some backends take them one by one."""
    row = resolved(row)
    meet = row["images"] * row["channels"] * row["filters"] / row.get("groups", 1) if "filters" in row else 0
    return max(TABLE[operator].products(row), MEETING * meet)


@lru_cache(maxsize=64)
def covering(operator: str, kind: str, groups: bool = False) -> tuple[tuple[Row, ...], int, int]:
    """Rows of `conditions` in which so many classes of the table of that kind occur together, the cheap ones first; how many do, and how many can."""
    if operator in ALIKE:
        return covering(ALIKE[operator], kind, groups)
    of, strength, small, most = KINDS[kind]
    table, products = of(operator, groups), partial(cost, operator)
    if not table:
        return (), 0, 0
    rows, found, possible = cover(table, strength, products, small, most)
    made = sorted(map(resolved, rows), key=TABLE[operator].products)
    return tuple(_with_the_rest(operator, made)), found, possible


def _with_the_rest(operator: str, rows: list[Row]) -> Iterator[Row]:
    """The rows, and for each what the tables have not, drawn by random numbers that are the same each time."""
    draw, past = np.random.default_rng(5), histories(operator)
    others = {("layout", "another"): OTHER_LAYOUTS, ("values", "reals"): ("reals", *REALS)}
    if "filters" in TABLE[operator].factors:
        others["type", "single"] = ("single", *SINGLES)
    for row in rows:
        drawn = {name: str(draw.choice(classes)) for (name, value), classes in others.items() if row[name] == value}
        yield {**row, **drawn, "history": str(draw.choice(past))}
