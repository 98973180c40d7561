"""Wrong backends made by the thousand: what goes wrong, where a condition of the kit's model holds or two of them do.

``python tests/mutation.py --count 200 --seed 1`` draws so many for each operator, half with one condition and half with two, and
prints how many the check of conditions refuses. Those whose answers were the reference's in every call that met their conditions
are equivalent, and not counted; those whose conditions no call met are, as got through.
"""

from __future__ import annotations

import argparse
import random
import sys
import types
from collections import Counter

import numpy as np

from decoding import reference
from decoding.backend import OPERATORS
from decoding.testing import check_backend, conditions
from decoding.testing.report import PASSED

SIDES = {"images": 0, "channels": 1, "rows": 2, "columns": 3}


def last_column(y, _):
    y[..., -1] += 1


def first_row(y, _):
    y[..., 0, :] = 0


def shifted(y, _):
    y[...] = np.roll(y, 1, axis=-1)


def turned(y, _):
    y[...] = y[:, ::-1]


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
    y[:, -1] = y[:, 0] + (y.shape[1] == 1)


EFFECTS = (last_column, first_row, shifted, turned, negative, clipped, halves, stale, last_channel)


class Condition:
    """A class of one factor, as a backend that branches on it would ask."""

    def __init__(self, operator, factor, value, how):
        self.operator, self.factor, self.value, self.how = operator, factor, value, how

    def __repr__(self):
        return f"{self.factor} {self.how} {self.value}".replace("  ", " ")

    def holds(self, arrays, options):
        x, filters = arrays[0], arrays[1] if len(arrays) > 1 else None
        if self.factor in SIDES or self.factor == "filters":
            side = x.shape[SIDES[self.factor]] if self.factor in SIDES else filters.shape[self.operator == "substitute"]
            return {"from": side >= self.value, "of": side == self.value, "in": side % self.value == 0}[self.how]
        if self.factor == "window":
            size = options.get("size") or filters.shape[2:]
            return (tuple(size), tuple(options["stride"])) == self.value
        if self.factor == "pad":
            size = options.get("size") or filters.shape[2:]
            return tuple(options["pad"]) == conditions.PADS[self.value](*size)
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
            return x.dtype == np.float32
        return options[self.factor] == self.value


def condition(operator, draw):
    table = {name: classes for name, classes in conditions.factors(operator).items() if name != "values"}
    factor = draw.choice(sorted(table))
    if factor in SIDES or factor == "filters":
        how = draw.choice(("from", "of", "in"))
        longest = conditions.LONGEST_UNPOOLED if operator == "unpool" else 4097
        long = [n for n in conditions.LENGTHS if n <= longest]
        values = {"from": (*conditions.FEW, *long), "of": conditions.FEW, "in": (2, 4, 8, 16, 32)}[how]
        return Condition(operator, factor, draw.choice(values), how)
    if factor == "layout":
        return Condition(operator, factor, draw.choice(("gaps", "backwards", "repeated", "read-only")), "")
    return Condition(operator, factor, draw.choice(table[factor]), "")


class Mutant:
    def __init__(self, operator, seed, count):
        draw = random.Random(f"{operator} {seed}")
        self.operator, self.effect = operator, draw.choice(EFFECTS)
        self.conditions = [condition(operator, draw)]
        while len(self.conditions) < count:
            more = condition(operator, draw)
            if more.factor != self.conditions[0].factor:
                self.conditions.append(more)
        self.memory, self.met, self.differed = {}, False, False

    def __str__(self):
        return f"{self.operator}: {self.effect.__name__} where {' and '.join(map(str, self.conditions))}"

    def __call__(self, *arrays, **options):
        right = np.asarray(getattr(reference, self.operator)(*arrays, **options))
        given = [None if a is None else np.asarray(a) for a in arrays]
        if not right.size or not all(each.holds(given, options) for each in self.conditions):
            return right
        y = np.array(right)
        self.effect(y, self.memory)
        self.met = True
        self.differed |= not np.array_equal(y, right, equal_nan=True)
        return y

    def refused(self):
        """Whether the check of conditions refuses it."""
        functions = {name: getattr(reference, name) for name in OPERATORS} | {self.operator: self}
        backend = types.SimpleNamespace(name=str(self), eps=2.0**-53, **functions)
        report = check_backend(backend, checks=[f"{self.operator}_conditions"], examples=2, on_failure="return")
        return report.results[0].status != PASSED  # not judged is what a plain call shows at once


def run(operator, count, seed):
    """(how many conditions, outcome) of so many mutants, half of each kind, and those that got through."""
    found, through = Counter(), []
    for number in range(count):
        mutant = Mutant(operator, f"{seed} {number}", 1 + number % 2)
        outcome = (
            "refused"
            if mutant.refused()
            else "through"
            if mutant.differed
            else "equivalent"
            if mutant.met
            else "not met"
        )
        found[1 + number % 2, outcome] += 1
        if outcome in ("through", "not met"):
            through.append(f"{mutant} ({outcome})")
    return found, through


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=200, help="mutants of each operator (%(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--operators", nargs="+", default=OPERATORS, choices=OPERATORS)
    options = parser.parse_args()
    print(f"{'operator':12}{'one condition':>24}{'two conditions':>24}   refused, of those that are wrong somewhere")
    for operator in options.operators:
        found, through = run(operator, options.count, options.seed)
        cells = []
        for many in (1, 2):
            wrong = sum(found[many, outcome] for outcome in ("refused", "through", "not met"))
            cells.append(f"{found[many, 'refused']} of {wrong}, {found[many, 'not met']} not met")
        print(f"{operator:12}{cells[0]:>24}{cells[1]:>24}", *[f"    {line}" for line in through], sep="\n", flush=True)


if __name__ == "__main__":
    sys.exit(main())
