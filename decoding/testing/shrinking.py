"""The smallest case that fails as a case of `conditions` did, so that a person can work it out by hand.

hypothesis shrinks what it draws. The calls of `conditions` are not drawn, but made from rows of a table. So a row shrinks, one condition at a
time: towards arrays of doubles in C's order, small integers, no bias and no pads, the plainest options, and sides of 1.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from itertools import count, takewhile

from ..interpolation import MODES
from .conditions import SIDES
from .numbers import SMALL_INTEGERS
from .operators import PADS, TABLE, Row
from .report import Mismatch

TRIES, SECONDS = 200, 2.0  # that shrinking may take
# The plainest classes, that one first which is tried first.
PLAIN = {
    "layout": ("in C's order",),
    "type": ("double",),
    "values": (SMALL_INTEGERS,),
    "bias": (False,),
    "leak": (0.0, 1.0, 2.0),
    "mode": MODES,
}
NAMES = ("groups", *PLAIN, "pad", *SIDES, "window")


def shrunk(operator: str, row: Row, fails: Callable[[Row], Mismatch | None]) -> tuple[Row, Mismatch] | None:
    """The smallest row that was found to fail, and how it does; None if the given one does not fail when it is asked again."""
    failure, end, tries = fails(row), time.monotonic() + SECONDS, count()

    def step(name: str) -> tuple[Row, Mismatch] | None:
        """The first smaller row that fails, if there is one, and still time."""
        for candidate in smaller(row, name):
            if next(tries) >= TRIES or time.monotonic() > end:
                return None
            found = fails(candidate) if TABLE[operator].products(candidate) < math.inf else None
            if found is not None:
                return candidate, found
        return None

    shrinks = failure is not None
    while shrinks:
        shrinks = False
        for name in NAMES:
            while (better := step(name)) is not None:
                (row, failure), shrinks = better, True
    return None if failure is None else (row, failure)


def smaller(row: Row, name: str) -> Iterator[Row]:
    """Rows that are smaller, or plainer, in one condition; channels and filters are as many for each group."""
    if name not in row:
        return
    value, groups = row[name], row.get("groups", 1)
    if name == "groups":
        yield {other: row[other] for other in row if other != name}
        for n in fewer(value):
            yield row | {side: row[side] // groups * n for side in ("channels", "filters")} | {name: n}
    elif name == "window":
        numbers = [*value[0], *value[1]]
        for place in range(4):
            for n in fewer(numbers[place]):
                h, w, r, s = (n if each == place else number for each, number in enumerate(numbers))
                yield row | {name: ((h, w), (r, s))}
    elif name == "pad":
        (h, w), _ = row["window"]
        pads = {pad: made(h, w) for pad, made in PADS.items()}
        for pad in sorted(PADS, key=lambda pad: sum(pads[pad])):
            if sum(pads[pad]) < sum(pads[value]):  # and then the map must hold the window
                top, bottom, left, right = pads[pad]
                rows, columns = max(row["rows"], h - top - bottom), max(row["columns"], w - left - right)
                yield row | {name: pad, "rows": rows, "columns": columns}
    elif name in SIDES:
        share = groups if name in ("channels", "filters") else 1
        yield from (row | {name: n * share} for n in fewer(value // share))
    else:
        yield from (row | {name: plain} for plain in takewhile(lambda plain: plain != value, PLAIN[name]))


def fewer(number: int) -> Iterator[int]:
    """The half, rounded up, three quarters, …, and one less."""
    step = number // 2
    while step:
        yield number - step
        step //= 2


def told(row: Row, smaller: Row) -> str:
    """What of the row the smaller one has not."""
    lost = {name: value for name, value in row.items() if smaller.get(name) != value}
    if "window" in lost:
        (h, w), (r, s) = lost["window"]
        lost["window"] = f"{h}×{w} in steps of {r}×{s}"
    return ", ".join(f"{name} {value}" for name, value in lost.items())
