"""Small calls in which every three conditions of geometry and layout occur together.

A fast path for 3×3 windows in steps of 2, say, may go wrong with pads and an even number of columns alone. `conditions` pairs everything with
everything; here the conditions that tails and edges depend on have few classes each, so that every *three* classes of different factors
occur together in some call (a covering array of strength 3). Rows and columns are classes, too: what a window just covers, what it leaves
over, odd and even. Each row of the table becomes a row of `conditions`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from itertools import combinations, cycle
from typing import Any

import numpy as np

from ..arguments import Array
from ..interpolation import MODES
from .histories import histories
from .operators import PADS, TABLE, Row

Table = dict[str, tuple[Any, ...]]
ALIKE = {"avg_pool": "max_pool"}  # operators that have the table of another

MOST = 2**17  # products of a call
SMALL = 2**14  # of most calls
CANDIDATES = 24  # rows that are drawn, the best of which is taken,
CHANGES = 2  # and changed so often
SIZES = (*((n, n) for n in (3, 1, 2, 4, 5, 6, 7, 8, 14)), (2, 3), (1, 3), (3, 1), (1, 2), (2, 1))
SIDE, HALF = "as large as the window", "half a window"
STEPS = ((1, 1), (2, 2), (3, 3), (4, 4), SIDE, HALF, (1, 2), (2, 1))
AROUND = ("none", "one all around", "half a window", "above", "below", "left", "right", "nearly a window")
ONE, TWO, REST = "one window", "two windows", "three windows and what is left over"
CELLS = (ONE, TWO, REST, 8, 9, 16, 17)  # rows and columns of what a window is moved over, at least as many as it takes
FEW_CELLS = (2, 1, 3, 8, 9)  # and of what is carried down
EACH = "one for each channel"
RISING = "rising"  # along each map, so that a window's largest lies in its last cell, and in its first one when the sign is changed
LAYOUTS = ("in C's order", "channels last", "every second column", "cut out", "backwards")


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
    values = ("integers", "reals", *[RISING] * (bool(pads) and not weights))
    return {
        **windows, **pads, **modes, **leaks, "rows": cells, "columns": cells, "channels": (2, 1, 3, 4, 8, 16), **weights, **shares,
        "images": (2, 1, 3), **biases, "layout": LAYOUTS, "values": values,
    }  # fmt: skip


def resolved(operator: str, row: Row) -> Row:
    """The row of `conditions` that a row of this table describes: steps, sides and groups as numbers."""
    found = {"type": "double", **row}
    if "size" in row:
        size, step = found.pop("size"), found.pop("step")
        step = {SIDE: size, HALF: tuple(max(1, n // 2) for n in size)}.get(step, step)
        found["window"] = size, step
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


class Triples:
    """All three classes of different factors of a table, numbered.

    A row is an array of the numbers of its classes, factor by factor.
    """

    def __init__(self, counts: list[int]) -> None:
        self.counts = np.array(counts)
        self.which = np.array(list(combinations(range(len(counts)), 3)))  # three factors each
        sizes = self.counts[self.which].prod(axis=1)
        self.first = np.append(0, sizes.cumsum())
        _, second, third = self.counts[self.which].T
        self.steps = np.stack([second * third, third, np.ones_like(third)])

    def of(self, rows: Array) -> Array:
        """The numbers of the triples that each row has."""
        a, b, c = (rows[..., which] * step for which, step in zip(self.which.T, self.steps, strict=True))
        return np.asarray(self.first[:-1] + a + b + c)

    def largest_first(self) -> Array:
        """The numbers of all triples, those of the factors that have most classes first, as they need most rows."""
        order = np.argsort(-np.diff(self.first), kind="stable")
        return np.concatenate([np.arange(self.first[at], self.first[at + 1]) for at in order])

    def classes(self, number: int) -> tuple[Array, Array]:
        """The three factors of a triple, and the number of its class of each."""
        at = int(np.searchsorted(self.first, number, side="right")) - 1
        factors = self.which[at]
        return factors, np.array(np.unravel_index(number - self.first[at], self.counts[factors]))


def cover(table: Table, products: Callable[[Row], float], small: int, most: int) -> tuple[tuple[Row, ...], int, int]:
    """A covering array of strength 3: rows of so many products at most; how many triples they have, and how many there can be.

    Greedy, by random numbers that are the same each time. A triple that is missing begins some rows, which are filled at random; the one with
    most of the missing triples is taken, if it is small, and its classes changed, one at a time, while that adds others. If none is small, the
    least row that has the triple is taken.
    """
    draw, names = np.random.default_rng(3), list(table)
    triples = Triples([len(table[name]) for name in names])
    missing = _compatible(table, triples, products)
    possible, lost, found = int(missing.sum()), 0, list[Row]()
    single = np.concatenate([[(at, n) for n in range(count)] for at, count in enumerate(triples.counts)])
    least = np.array([classes.index(1) if 1 in classes else 0 for classes in table.values()])

    def row(numbers: Array) -> Row:
        return {name: table[name][n] for name, n in zip(names, numbers, strict=True)}

    def best(rows: Array, more_than: int = 0) -> Array | None:
        """The small one that has most of the missing triples, if it has more than so many."""
        gains = missing[triples.of(rows)].sum(axis=1)
        order = (i for i in np.argsort(-gains, kind="stable") if gains[i] > more_than)
        return next((rows[i] for i in order if products(row(rows[i])) <= small), None)

    for number in triples.largest_first():
        if not missing[number]:
            continue
        fixed, classes = triples.classes(number)
        drawn = draw.integers(0, triples.counts, (CANDIDATES, len(names)))
        drawn[:, fixed] = classes
        chosen = best(drawn)
        if chosen is None:
            chosen = least.copy()
            chosen[fixed] = classes
            if products(row(chosen)) > most:
                missing[number], lost = False, lost + 1
                continue
        free = single[~np.isin(single[:, 0], fixed)]
        for _ in range(CHANGES):
            near = np.repeat(chosen[np.newaxis], len(free), axis=0)
            near[np.arange(len(free)), free[:, 0]] = free[:, 1]
            better = best(near, int(missing[triples.of(chosen)].sum()))
            if better is None:
                break
            chosen = better
        missing[triples.of(chosen)] = False
        found.append(row(chosen))
    return tuple(found), possible - lost, possible


def _compatible(table: Table, triples: Triples, products: Callable[[Row], float]) -> Array:
    """Whether each triple can be: no two of its classes exclude each other, as a pad excludes a pool's window that is no larger."""
    names, plain = list(table), {name: classes[0] for name, classes in table.items()}
    fit = {
        (a, b): np.array([[math.isfinite(products({**plain, a: x, b: y})) for y in table[b]] for x in table[a]])
        for a, b in combinations(names, 2)
    }
    found = []
    for a, b, c in combinations(names, 3):
        found.append(fit[a, b][:, :, np.newaxis] & fit[a, c][:, np.newaxis] & fit[b, c])
    return np.concatenate([each.ravel() for each in found])


@lru_cache(maxsize=32)
def covering(operator: str, groups: bool = False) -> tuple[tuple[Row, ...], int, int]:
    """Rows of `conditions` in which every three classes of the table occur, the cheap ones first; triples found, and possible."""

    if operator in ALIKE:
        return covering(ALIKE[operator], groups)

    def products(row: Row) -> float:
        return TABLE[operator].products(resolved(operator, row))

    rows, found, possible = cover(factors(operator, groups), products, SMALL, MOST)
    made = sorted((resolved(operator, row) for row in rows), key=TABLE[operator].products)
    turns = cycle(histories(operator))
    return tuple(row | {"history": next(turns)} for row in made), found, possible
