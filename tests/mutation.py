"""Wrong backends made by the thousand: what goes wrong, where a condition of the kit's model holds, or two or three of them do.

``python tests/mutation.py --count 900 --seed 70707`` draws so many for each operator, a third with one condition, with two and with three, and
prints how many the kit refuses: by its check of conditions, or, where that lets one through, by another check of the operator.
Only the calls that meet a mutant's conditions are made, as it is right in all others; what the other checks call is drawn once,
of a backend that is right, and only those are asked that meet the conditions. So a mutant takes some hundredths of a second.

What is not refused is asked calls of its own, of 2^17 products at most, the largest that the kit promises, in which its conditions
hold. It has got through if it differs from the reference in one; it is equivalent, and not counted, if it differs in none, and
impossible, and not counted, if there are none.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import os
import random
import sys
import tempfile
import types
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache
from itertools import islice
from typing import NamedTuple
from unittest import mock

import numpy as np

from decoding import reference
from decoding.backend import OPERATORS
from decoding.interpolation import MODES
from decoding.testing import check_backend, conditions, shrinking
from decoding.testing.calls import Call
from decoding.testing.conditions import LONGEST_UNPOOLED
from decoding.testing.operators import PADS, TABLE
from decoding.testing.report import FAILED, NOT_JUDGED
from decoding.testing.rounding import Arithmetic

SIDES = {"images": 0, "channels": 1, "rows": 2, "columns": 3}
EPS = 2.0**-53
# Asked where the check of conditions has let a mutant through.
MORE = ("integers", "reals"), ("calls_in_any_order", "nan_comes_out")
EXAMPLES = 10
STRENGTHS = (1, 2, 3)  # conditions of a mutant; the kit promises one and two
WITNESSES, TRIES = 40, 4000  # calls of a mutant's own, and the rows that are tried for them
LAID = {
    "gaps": ("every second column", "every second of the first axis", "cut out"), "backwards": ("backwards",),
    "repeated": ("the first one repeated", "the last axis repeated"), "read-only": ("read-only",),
}  # fmt: skip


# What goes wrong. What goes in: of the arrays and options; what comes out: of the answer, and of what was kept.


def last_column(y, _):
    y[..., -1] += 1


def first_row(y, _):
    y[..., 0, :] = 0


def last_cell(y, _):
    y[-1, -1, -1, -1] -= 1


def shifted(y, _):
    y[...] = np.roll(y, 1, axis=-1)


def turned(y, _):
    y[...] = y[:, ::-1]


def upside_down(y, _):
    y[...] = y[:, :, ::-1]


def images_turned(y, _):
    y[...] = y[::-1]


def negative(y, _):
    y *= -1


def clipped(y, _):
    np.minimum(y, 1, out=y)


def halves(y, _):
    with np.errstate(over="ignore"):
        y[...] = y.astype(np.float16)


def stale(y, memory):
    """What was answered before to a call of that shape."""
    before, memory[y.shape] = memory.get(y.shape), y.copy()
    if before is not None:
        y[...] = before


def last_channel(y, _):
    y[:, -1] = y[:, 0]


def shared(y, memory):
    """One buffer for all answers of a shape."""
    buffer = memory.setdefault(y.shape, np.empty_like(y))
    buffer[...] = y
    return buffer


def bfloat16(arrays, options):
    return [None if a is None else _rounded(a, 8) for a in arrays], options


def last_term_dropped(arrays, options):
    x = np.array(arrays[0], float)
    x[:, -1] = 0
    return [x, *arrays[1:]], options


def small_ones_dropped(arrays, options):
    x = np.array(arrays[0], float)
    x[np.abs(x) < 1e-4 * np.abs(x).max(initial=0)] = 0
    return [x, *arrays[1:]], options


def written_to(arrays, options):
    if np.asarray(arrays[0]).flags.writeable:
        arrays[0][-1, -1, -1, -1] = 5
    return arrays, options


def option_ignored(arrays, options):
    """The first that there is: pads that are unequal, a bias, the leak, the interpolation."""
    top, bottom, left, right = options.get("pad", (0, 0, 0, 0))
    if (top, left) != (bottom, right):
        return arrays, {**options, "pad": (bottom, top, right, left)}
    if len(arrays) == 3 and arrays[2] is not None:
        return [*arrays[:2], None], options
    if "leak" in options:
        return arrays, {"leak": 0.0 if options["leak"] else 0.01}
    if "mode" in options:
        return arrays, {**options, "mode": "bilinear" if options["mode"] == "nearest" else "nearest"}
    return arrays, options


def _rounded(array, bits):
    mantissa, exponent = np.frexp(np.asarray(array, float))
    return np.ldexp(np.rint(np.ldexp(mantissa, bits)), exponent - bits)


OUT = (last_column, first_row, last_cell, shifted, turned, upside_down, images_turned, negative, clipped, halves, stale,
       last_channel, shared)  # fmt: skip
IN = (bfloat16, last_term_dropped, small_ones_dropped, written_to, option_ignored)


# When.


class Condition(NamedTuple):
    """A class of one factor, as a backend that branches on it would ask."""

    operator: str
    factor: str
    value: object
    how: str

    def __repr__(self):
        return f"{self.factor} {self.how} {self.value}".replace("  ", " ")

    def holds(self, arrays, options):
        x, filters = arrays[0], arrays[1] if len(arrays) > 1 else None
        if self.how:
            size = self._size(x, filters)
            return {"from": size >= self.value, "of": size == self.value, "in": size % self.value == 0}[self.how]
        if self.factor == "window":
            size = options.get("size") or filters.shape[2:]
            return (tuple(size), tuple(options["stride"])) == self.value
        if self.factor == "pad":
            size = options.get("size") or filters.shape[2:]
            return tuple(options["pad"]) == PADS[self.value](*size)
        if self.factor == "bias":
            return (arrays[2] is not None) == self.value
        if self.factor == "layout":
            return (
                x.size > 1
                and {
                    "gaps": not x.flags.c_contiguous and min(x.strides) > 0,
                    "backwards": min(x.strides) < 0,
                    "repeated": 0 in x.strides,
                    "read-only": not x.flags.writeable,
                }[self.value]
            )
        if self.factor == "type":
            _, single = conditions.TYPES[self.value]
            return all(a is None or (a.dtype == np.float32) == (i in single) for i, a in enumerate(arrays))
        if self.factor == "values":
            large = np.abs(x).max(initial=0) > (
                709 if self.operator == "softmax" else 1e4
            )  # where exponentials overflow
            return {"negative": x.size and x.max() < 0, "zeros": not x.any(), "large": large}[self.value]
        return options[self.factor] == self.value

    def _size(self, x, filters):
        if self.factor in SIDES:
            return x.shape[SIDES[self.factor]]
        return {
            "filters": lambda: filters.shape[self.operator == "substitute"],
            "cells": lambda: x.shape[2] * x.shape[3],
            "numbers": lambda: x.size,
            "weights": lambda: filters[0].size if self.operator == "correlate" else filters[:, 0].size,
        }[self.factor]()

    def least(self):
        """The smallest row of the kit's table that it asks for, as far as it says."""
        if self.factor in (*SIDES, "filters", "window", "pad"):
            return {self.factor: self.value}
        return {"rows": self.value} if self.factor in ("cells", "numbers") else {}

    def likely(self, draw, row):
        """What a row of the kit's table might have for it to hold; products of sides are split by chance."""
        if self.factor == "layout":
            return {"layout": draw.choice(LAID[self.value])}
        if self.factor == "type":
            return {"type": self.value}
        if self.factor == "values":
            return {"values": draw.choice(("graded", "wide maps", "large")) if self.value == "large" else self.value}
        sides = {"cells": ("rows", "columns"), "numbers": tuple(SIDES), "weights": ("channels",)}.get(self.factor)
        if sides is None:
            return {self.factor: self.value}
        if self.factor == "weights":
            area = math.prod(row["window"][0])
            return {"channels": math.lcm(area, self.value) // area if self.how == "in" else -(-self.value // area)}
        first, second = draw.sample(sides, 2)
        part = 2 ** draw.randint(0, self.value.bit_length() - 1)
        return {first: part, second: self.value // part}


def condition(operator, draw):
    table = {name: classes for name, classes in conditions.factors(operator).items() if name != "history"}
    sizes = ["cells", "numbers", *(["weights"] if "filters" in table else [])]
    factor = draw.choice([*sorted(table), *sizes])
    if factor in SIDES or factor == "filters":
        how = draw.choice(("from", "of", "in"))
        longest = LONGEST_UNPOOLED if operator == "unpool" else 4097
        long = [n for n in conditions.LENGTHS if n <= longest]
        values = {"from": (*conditions.FEW, *long), "of": conditions.FEW, "in": (2, 4, 8, 16, 32)}[how]
        return Condition(operator, factor, draw.choice(values), how)
    if factor in sizes:
        return Condition(
            operator, factor, draw.choice((8, 16, 32, 64, 128, 256, 512, 1024)), draw.choice(("from", "in"))
        )
    if factor == "layout":
        return Condition(operator, factor, draw.choice(("gaps", "backwards", "repeated", "read-only")), "")
    if factor == "values":
        return Condition(operator, factor, draw.choice(("negative", "zeros", "large")), "")
    return Condition(operator, factor, draw.choice(table[factor]), "")


def possible(together):
    """Whether conditions can hold together in a call of the size that the kit promises."""
    operator = together[0].operator
    least = {name: value for each in together for name, value in each.least().items()}
    rows = (conditions.plain(operator, **{"rows": cells, "columns": cells, **least}) for cells in (1, 9, 33))
    return any(TABLE[operator].products(row) <= conditions.MOST for row in rows)


class Mutant:
    def __init__(self, operator, seed, count):
        draw = random.Random(f"{operator} {seed}")
        self.operator, self.effect = operator, draw.choice(OUT + IN)
        self.conditions = [condition(operator, draw)]
        while len(self.conditions) < count:
            more = condition(operator, draw)
            if more.factor not in {each.factor for each in self.conditions} and possible((*self.conditions, more)):
                self.conditions.append(more)
        self.memory, self.met, self.differed = {}, False, False

    def __str__(self):
        return f"{self.operator}: {self.effect.__name__} where {' and '.join(map(str, self.conditions))}"

    def meets(self, call, but=""):
        """Whether its conditions hold in a call, but for those of one factor."""
        given = [None if a is None else np.asarray(a) for a in call.arrays]
        return all(each.factor == but or each.holds(given, call.options) for each in self.conditions)

    def __call__(self, *arrays, **options):
        function = getattr(reference, self.operator)
        given = [None if a is None else np.asarray(a) for a in arrays]
        right = np.asarray(function(*arrays, **options))
        if not right.size or not all(each.holds(given, options) for each in self.conditions):
            return right
        self.met = True
        if self.effect in IN:
            before = given[0].copy()
            changed, others = self.effect(given, options)
            y = np.asarray(function(*changed, **others))
            self.differed |= not np.array_equal(y, right, equal_nan=True) or not np.array_equal(
                given[0], before, equal_nan=True
            )
            return y
        y = np.array(right)
        kept = self.effect(y, self.memory)
        if given[0].any() or np.isfinite(right).all():  # a product with 0 may be left out
            self.differed |= self.effect is shared or not np.array_equal(y, right, equal_nan=True)
        return y if kept is None else kept

    def backend(self):
        return types.SimpleNamespace(name=str(self), eps=EPS, **{self.operator: self})

    def refused(self):
        """Whether the check of conditions refuses it; not judged is what a plain call shows at once."""
        met = [case for case in cases(self.operator) if self.meets(case.call)]
        with mock.patch.object(conditions, "cases", return_value=met), mock.patch.object(shrinking, "TRIES", 0):
            return self.refused_by(f"{self.operator}_conditions")

    def refused_by(self, *checks):
        with tempfile.TemporaryDirectory() as folder:
            report = check_backend(self.backend(), checks=checks, examples=EXAMPLES, on_failure="return", cases=folder)
        return any(
            result.status in (FAILED, NOT_JUDGED) and result.detail.find("no case") < 0 for result in report.results
        )

    def outcome(self):
        if self.refused():
            return "refused"
        # Values may have changed since the call was made.
        others = [
            name for name, calls in called(self.operator).items() if any(self.meets(call, "values") for call in calls)
        ]
        if others and self.refused_by(*others):
            return "refused"
        if self.differed:
            return "through"
        met, found = self.met, list(islice(self.witnesses(), WITNESSES))
        if any(self.differs(case) for case in found):
            return "through" if met else "not met"
        return "equivalent" if found or met else "impossible"

    def differs(self, case):
        """Whether it is wrong in a call, or in one of the same shapes after it."""
        arrays = case.call.arrays
        for again in (arrays, tuple(None if a is None else 2 * a for a in arrays)):
            self(*again, **case.call.options)
        return self.differed

    def witnesses(self):
        """Calls in which its conditions hold, of no more products than the kit promises."""
        draw = random.Random(str(self))
        table, products = conditions.factors(self.operator), TABLE[self.operator].products
        sides = conditions.sides(self.operator)
        for _ in range(TRIES):
            row = {
                name: draw.choice((1, 1, 2, 3, 5, 9, 17)) if name in sides else draw.choice(classes)
                for name, classes in table.items()
            }
            row |= {
                "layout": "in C's order",
                "type": "double",
                "values": draw.choice(("integers", "reals", "graded", "negative")),
            }
            for each in self.conditions:
                row |= each.likely(draw, row)
            if products(row) <= conditions.MOST:
                case = conditions.case(self.operator, row, Arithmetic(EPS))
                if self.meets(case.call):
                    yield case


@lru_cache(maxsize=7)
def cases(operator):
    """The calls of the check of conditions."""
    return list(conditions.cases(operator, Arithmetic(EPS)))


@lru_cache(maxsize=7)
def called(operator):
    """The calls that the other checks of an operator make of a backend that is right."""
    own, rest = MORE
    modes = [f"_{mode}" for mode in MODES] if operator == "unpool" else [""]
    first = ["softmax"] if operator == "softmax" else [f"{operator}{mode}_{kind}" for mode in modes for kind in own]
    return {name: recorded(operator, name) for name in (*first, *rest)}


def recorded(operator, check):
    calls = []

    def right(*arrays, **options):
        answer = getattr(reference, operator)(*arrays, **options)
        calls.append(Call(operator, arrays, options))  # if it was not refused
        return answer

    backend = types.SimpleNamespace(name="right", eps=EPS, **{operator: right})
    check_backend(backend, checks=[check], examples=EXAMPLES)
    return calls


def judged(task):
    operator, number, seed, strengths = task
    many = strengths[number % len(strengths)]
    mutant = Mutant(operator, f"{seed} {number}", many)
    return many, mutant.outcome(), str(mutant)


def run(operator, count, seed, processes=1, strengths=STRENGTHS):
    """(how many conditions, outcome) of so many mutants, as many of each kind, and those that got through."""
    tasks = [(operator, number, seed, strengths) for number in range(count)]
    if processes == 1:
        outcomes = [judged(task) for task in tasks]
    else:
        cases(operator), called(operator)  # shared by what is forked
        with ProcessPoolExecutor(processes, multiprocessing.get_context("fork")) as pool:
            outcomes = list(pool.map(judged, tasks, chunksize=10))
    found = Counter((many, outcome) for many, outcome, _ in outcomes)
    return found, [f"{name} ({outcome})" for _, outcome, name in outcomes if outcome in ("through", "not met")]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=300, help="mutants of each operator (%(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--operators", nargs="+", default=OPERATORS, choices=OPERATORS)
    parser.add_argument("--processes", type=int, default=1)
    options = parser.parse_args()
    print(
        f"{'operator':12}{'one condition':>22}{'two':>22}{'three':>22}{'equivalent':>12}{'impossible':>12}   processor time"
    )
    sums = Counter()
    for operator in options.operators:
        begun = processor_time()
        found, through = run(operator, options.count, options.seed, options.processes)
        sums += found
        print(
            row(operator, found),
            f"  {processor_time() - begun:.0f} s",
            *[f"\n    {line}" for line in through],
            flush=True,
        )
    print(row("together", sums), f"  {processor_time():.0f} s")


def processor_time():
    return sum(os.times()[:4])


def row(name, found):
    """Of the mutants that are wrong somewhere, how many are refused; how many are wrong nowhere."""
    cells = []
    for many in STRENGTHS:
        refused = found[many, "refused"]
        wrong = refused + found[many, "through"] + found[many, "not met"]
        cells.append(f"{refused} of {wrong}, {100 * refused / max(wrong, 1):.1f} %")
    others = [sum(found[many, outcome] for many in STRENGTHS) for outcome in ("equivalent", "impossible")]
    return f"{name:12}" + "".join(f"{cell:>22}" for cell in cells) + "".join(f"{many:>12}" for many in others)


if __name__ == "__main__":
    sys.exit(main())
