"""The conditions that implementations branch on, as classes, and calls in which every class and every pair of them occurs.

A fast path and its tail hang on a few conditions at a time: 3×3 windows in steps of 1 on 8 channels or more, say. So the
conditions of an operator are written down as a table, a *factor* with its classes a line: how many images, channels, rows,
windows with their steps, pads, layouts in memory, types, magnitudes. A *covering array* is a list of calls in which every two
classes of different factors occur together somewhere, if they can (Kuhn, Kacker and Lei, *Practical Combinatorial Testing*,
NIST 800-142); it is found greedily, and much shorter than the product. Long sides, up to 4,097, come one at a time and thin.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from itertools import combinations, product
from typing import Any, NamedTuple

import numpy as np

from ..arguments import Array
from .calls import Call
from .operators import PADS as PADS
from .operators import TABLE, Row
from .rounding import Arithmetic

BLOCKS = (8, 9, 16, 17, 33)
# A call of several images, channels and filters, with unequal sides and all options.
PROBE: dict[str, Any] = {
    "images": 2, "channels": 2, "filters": 3, "rows": 4, "columns": 5, "window": ((2, 2), (1, 2)), "pad": "one all around", "bias": True,
    "leak": 0.25,
}  # fmt: skip
SHORT = (2, 1, 3, 4)  # sides of calls that a person could read
FEW = (2, 1, 3, 5, 8, 9, 16, 17, 32, 33)  # sides that are paired with everything; the first is the plain one
LENGTHS = (7, 8, 15, 16, 31, 32, 64, 65, 128, 129, 256, 257, 1024, 1025, 4096, 4097)  # one long side at a time
ALMOST = (63, 127, 255, 1023)  # which leave all but one of the last block, alone, too
LONGEST = 65537  # alone: numbers of two bytes overflow
# Where these hold, faults of other conditions may not show: a call of such a class counts for its own pairs alone.
MUTE = {("values", "zeros"), ("layout", "the first one repeated"), ("layout", "the last axis repeated")}
LONGEST_UNPOOLED = 257  # as the reference makes a whole matrix of weights for each axis
MOST = {False: 2**17, True: 2**20}  # products of a call, where all pairs of a few sides are wanted, or thoroughly

# How arrays lie in memory: a line of code, {0} being the array.
LAYOUTS = {
    "in C's order": "",
    "in Fortran's order": "{0} = np.asfortranarray({0})",
    "channels last": "{0} = np.moveaxis(np.moveaxis({0}, 1 % {0}.ndim, -1).copy(), -1, 1 % {0}.ndim)",
    "every second column": "{0} = np.stack([{0}, np.full_like({0}, 77)], -1)[..., 0]",
    "every second of the first axis": "{0} = np.stack([{0}, np.full_like({0}, 77)], 1)[:, 0]",
    "not where memory begins": "{0} = np.concatenate([77 + 0 * {0}[:1], {0}])[1:]",
    "channels last, not where memory begins": "{0} = np.moveaxis(np.moveaxis(np.concatenate([77 + 0 * {0}[:1], {0}]), 1 % {0}.ndim, -1).copy()[1:], -1, 1 % {0}.ndim)",
    "cut out": "{0} = np.pad({0}, 1, constant_values=77)[(slice(1, -1),) * {0}.ndim]",
    "backwards": "{0} = np.flip(np.flip({0}).copy())",
    "the first one repeated": "{0} = np.broadcast_to({0}[:1], {0}.shape)",
    "the last axis repeated": "{0} = np.broadcast_to({0}[..., :1], {0}.shape)",
    "read-only": "{0}.setflags(write=False)",
}
TYPES = ("double", "single", "the first single")
VALUES = ("reals", "integers", "graded", "wide maps", "wide weights", "negative", "zeros")

Table = dict[str, tuple[Any, ...]]


class Case(NamedTuple):
    """A call, as its arrays lie in memory, and code that makes them so."""

    call: Call
    lines: list[str]
    row: Row

    def __str__(self) -> str:
        return self.script(self.call.by_name())

    def script(self, *lines: str) -> str:
        """Code that lays the arrays out as they lie here, and then does what the lines say."""
        plain = self.call._replace(arrays=tuple(self.call.copies()))
        return plain.script(*self.lines, *lines)

    @contextlib.contextmanager
    def doubled(self) -> Iterator[None]:
        """The same arrays with twice their numbers, for a while."""
        self._times(2.0)
        yield
        self._times(0.5)

    def _times(self, factor: float) -> None:
        for array in self.call.named.values():
            owner = array
            while isinstance(owner.base, np.ndarray):
                owner = owner.base
            writeable = owner.flags.writeable
            owner.setflags(write=True)
            owner *= factor
            owner.setflags(write=writeable)


class Coverage(NamedTuple):
    """What the calls of an operator's check of conditions have in them.

    Attributes
    ----------
    factors, classes : int
        How many conditions there are, and how many classes of them, each of which occurs.
    pairs, possible : int
        How many pairs of classes occur together, of those that can in calls of that size.
    calls, longest : int
        How many calls there are, and the longest side in them.
    """

    factors: int
    classes: int
    pairs: int
    possible: int
    calls: int
    longest: int


@lru_cache(maxsize=64)
def factors(operator: str, thorough: bool = False) -> Table:
    """The table: for each condition its classes, the plain one first."""
    sides = (*FEW, *(n for n in LENGTHS if n not in FEW)) if thorough else FEW
    maps = dict.fromkeys(("images", "channels", "rows", "columns"), sides)
    others = {name: sides if classes is None else classes for name, classes in TABLE[operator].factors.items()}
    values = VALUES if "filters" in others else tuple(value for value in VALUES if value != "wide weights")
    return {**maps, "layout": tuple(LAYOUTS), "type": TYPES, **others, "values": values}


@lru_cache(maxsize=32)
def covering(operator: str, thorough: bool = False) -> tuple[tuple[Row, ...], int, int]:
    """Rows of the table in which every class occurs, and every pair that can: the cheap ones first; pairs found, and possible."""
    return cover(factors(operator, thorough), TABLE[operator].products, MOST[thorough], _completions(operator))


def _completions(operator: str) -> list[Row]:
    """The rest of rows, which tells what fits: some map must be large enough for what is chosen, and some window for the pads."""
    maps: list[Row] = [
        {"rows": rows, "columns": columns} for rows, columns in ((5, 8), (2, 3), (9, 9), (33, 33), (1, 1))
    ]
    sides: Row = {name: 1 for name in ("images", "channels", "filters") if name in factors(operator)}
    sizes = ((2, 2), (1, 1), (9, 9)) if "window" in TABLE[operator].factors else ()
    windows: list[Row] = [{"window": (size, (1, 1))} for size in sizes] or [{}]
    return [{**sides, **size, **window} for window in windows for size in maps]


def cover(
    table: Table, products: Callable[[Row], float], most: int, completions: list[Row]
) -> tuple[tuple[Row, ...], int, int]:
    """A covering array of strength 2: rows of the table, of so many products at most; how many pairs they have, and how many can be.

    Greedy: a pair that is missing begins a row, and every other factor gets the class that adds most pairs, as long as one of the
    `completions` leaves the row small enough.
    """
    least = {name: classes[0] for name, classes in table.items()}
    rests = [{**least, **rest} for rest in completions]

    def fits(chosen: Row) -> bool:
        return any(products({**rest, **chosen}) <= most for rest in rests)

    names = sorted(table, key=lambda name: -len(table[name]))
    pairs = [
        ((a, x), (b, y)) for a, b in combinations(names, 2) for x in table[a] for y in table[b] if fits({a: x, b: y})
    ]
    missing, found, lost = dict.fromkeys(pairs), list[Row](), 0
    while missing:
        first, second = next(iter(missing))
        chosen = dict([first, second])
        for name in (name for name in names if name not in chosen):
            gain = {
                value: sum(
                    ((n, v), (name, value)) in missing or ((name, value), (n, v)) in missing for n, v in chosen.items()
                )
                for value in table[name]
                if (name, value) not in MUTE and fits({**chosen, name: value})
            }
            chosen[name] = max(gain, key=lambda value: gain[value]) if gain else table[name][0]
        mute = {each for each in chosen.items() if each in MUTE}
        together = combinations([(name, chosen[name]) for name in names], 2)
        for pair in {(first, second), *(pair for pair in together if pair in missing and mute <= set(pair))}:
            del missing[pair]
        if products(chosen) <= most:
            found.append({name: chosen[name] for name in table})
        else:
            lost += 1
    found.sort(key=products)
    return tuple(found), len(pairs) - lost, len(pairs)


def every_class(rows: Iterable[Row]) -> list[Row]:
    """A covering array of strength 1: those rows that have a class which none before them has."""
    seen, found = set[tuple[str, Any]](), list[Row]()
    for row in rows:
        if not seen.issuperset(row.items()):
            seen.update(row.items())
            found.append(row)
    return found


@lru_cache(maxsize=32)
def plain(operator: str) -> tuple[Row, ...]:
    """Rows that a person could read: every pair of windows and other options, of a few images, channels and cells."""
    table = {name: classes for name, classes in factors(operator).items() if name not in ("layout", "type", "values")}
    table = {name: SHORT if classes == FEW else classes for name, classes in table.items()}
    rows, *_ = cover(table, TABLE[operator].products, 2**13, _completions(operator))
    return rows


@lru_cache(maxsize=32)
def longer(operator: str) -> tuple[Row, ...]:
    """Rows with one side at a time that leaves a tail of blocks of 4, 8, 16 or 32, or fills them."""
    usual = plain(operator)[0] | PROBE
    sides = [name for name, classes in factors(operator).items() if classes == FEW]
    return tuple({**usual, side: n} for side in sides for n in BLOCKS)


def probe(operator: str, images: int = 8) -> Row:
    """A row of several images, channels and filters, with unequal sides, a bias and pads."""
    return {**plain(operator)[0], **PROBE, "images": images}


@lru_cache(maxsize=32)
def thin(operator: str) -> tuple[Row, ...]:
    """Rows with one long side each, the shortest first, the other conditions taking turns; and maps, filters and windows that are large as a whole."""
    table = factors(operator)
    plain = {name: classes[0] for name, classes in table.items()} | {"rows": 4, "columns": 5}
    if "window" in table:
        plain["window"] = ((2, 3), (1, 2)) if operator not in ("max_pool", "avg_pool") else ((2, 2), (1, 2))
    sides = [name for name in ("images", "channels", "filters", "rows", "columns") if name in table]
    lengths = [n for n in sorted((*LENGTHS, *ALMOST)) if operator != "unpool" or n <= LONGEST_UNPOOLED]
    found = []
    for i, (n, side) in enumerate((n, side) for n in lengths for side in sides):
        row = plain | {side: n, "values": "integers" if n % 2 else "reals"}
        turned = row | {name: table[name][i % len(table[name])] for name in table if name not in (*sides, "values")}
        found.append(turned if TABLE[operator].products(turned) <= MOST[False] else row)
        if side == "channels":  # of which sums are made
            wide = "wide weights" if n % 2 and "filters" in table else "wide maps"
            found.append(plain | {side: n, "values": wide})
    large: list[Row] = [{"rows": 33, "columns": 32}, {"rows": 65, "columns": 64}]
    if operator != "unpool":
        large += [{"rows": 257, "columns": 256, "images": 1}]
    if "filters" in table:
        large += [{"channels": 64, "filters": 65}, {"channels": 128, "window": ((3, 3), (1, 1))}]
    if operator in ("max_pool", "avg_pool"):
        large += [{"window": (side, side), "rows": 65, "columns": 66, "channels": 1} for side in ((33, 17), (64, 65))]
        large += [{"window": ((64, 64), (1, 1)), "rows": 65, "columns": 66, "channels": 1, "values": "wide maps"}]
    if operator == "unpool":
        large += [{"window": (side, side), "rows": 2, "columns": 3, "channels": 1} for side in ((33, 17), (64, 65))]
    fixed: list[list[Row]] = [[{"rows": 32, "columns": 32}]]
    if "filters" in table:
        fixed.append([{"channels": 256, "window": ((2, 2), (2, 2))}])
    fixed += [[{side: n} for n in reversed(lengths) if n > max(FEW)] for side in sides]
    every = (row for each in fixed for row in _with_every_class(operator, *each))
    return (*found, *(plain | row for row in large), *_usual_layers(operator), *every, *_both_long(operator))


def _usual_layers(operator: str) -> Iterator[Row]:
    """Rows as networks have them, each a fast path of its own: the usual windows, on many channels and filters, on large squares."""
    table = factors(operator)
    usual = {name: classes[0] for name, classes in table.items()}
    usual |= {"images": 1, "values": "reals", **({"pad": "one all around"} if "pad" in table else {})}
    windows = ((1, 1), (3, 1), (3, 2), (5, 1), (2, 2)) if "filters" in table else ((2, 2), (3, 2), (2, 1))
    sizes: list[Row] = [
        {"channels": 16, "filters": 16, "rows": 16, "columns": 16},
        {"rows": 64, "columns": 64, "images": 2},
    ]
    sizes += [
        {"channels": 32, "filters": 32, "rows": 8, "columns": 8},
        {"channels": 64, "filters": 64, "rows": 5, "columns": 5},
    ]
    for side, step in windows if "window" in table else ((1, 1),):
        for size in sizes:
            window = {"window": ((side, side), (step, step))} if "window" in table else {}
            row = usual | window | {name: n for name, n in size.items() if name in table}
            if TABLE[operator].products(row) <= MOST[True]:
                yield row


def _with_every_class(operator: str, *fixed: Row) -> Iterator[Row]:
    """Rows that have every class of the other conditions beside what is fixed: beside the first of these that leaves the call small."""
    table, products, ones = factors(operator), TABLE[operator].products, _completions(operator)
    twos = [{name: 2 if value == 1 else value for name, value in rest.items()} for rest in ones]  # which tell more
    usual = {name: classes[0] for name, classes in table.items()}

    def completed(chosen: Row) -> list[Row]:
        return [row for rest in (*twos, *ones) if products(row := {**usual, **rest, **chosen}) <= MOST[False]]

    wanted = [(name, value) for name, classes in table.items() for value in classes if name not in fixed[0]]
    missing = set(wanted)
    for given, (name, value) in product(fixed, wanted):
        if (name, value) in missing and completed({**given, name: value}):
            chosen = {**given, name: value}
            for other in (other for other in table if other not in chosen and (name, value) not in MUTE):
                fit = (v for v in table[other] if (other, v) in missing - MUTE and completed({**chosen, other: v}))
                chosen.update((other, value) for value in list(fit)[:1])
            missing -= set(chosen.items())
            yield completed(chosen)[0]


def _both_long(operator: str) -> Iterator[Row]:
    """Rows with two long sides each, as long as the other allows, or a very long one, the others being 1."""
    table, products = factors(operator), TABLE[operator].products
    sides = [name for name, classes in table.items() if classes == FEW]
    usual = {name: classes[0] for name, classes in table.items()} | dict.fromkeys(sides, 1)
    usual |= {"window": ((1, 1), (1, 1))} if "window" in table else {}
    for first, second in combinations(sides, 2):
        rows = (usual | {first: n, second: m} for n in LENGTHS for m in LENGTHS)
        fit = [row for row in rows if products(row) <= MOST[False]]
        for row in fit:
            if not any(a is not row and a[first] >= row[first] and a[second] >= row[second] for a in fit):
                yield row
    if operator != "unpool":
        yield from (usual | {side: LONGEST} for side in sides)


def cases(operator: str, precision: Arithmetic, thorough: bool = False) -> Iterator[Case]:
    """Calls with all pairs of conditions, the cheap ones first, and then thin ones."""
    rows, *_ = covering(operator, thorough)
    for row in (*rows, *thin(operator)):
        if operator != "unpool" or _pixels(row) <= 1 / (8 * precision.eps):  # or the format cannot tell places apart
            yield case(operator, row, precision)


def _pixels(row: Row) -> int:
    """The longer side of what is unpooled."""
    sides = zip((row["rows"], row["columns"]), *row["window"], strict=True)
    return int(max((n - 1) * step + size for n, size, step in sides))


def coverage(operator: str, thorough: bool = False) -> Coverage:
    """What `cases` have in them."""
    rows, pairs, possible = covering(operator, thorough)
    table = factors(operator, thorough)
    lengths = {value for row in (*rows, *thin(operator)) for value in row.values() if type(value) is int}
    calls = len(rows) + len(thin(operator))
    return Coverage(len(table), sum(map(len, table.values())), pairs, possible, calls, max(lengths))


def case(operator: str, row: Row, precision: Arithmetic) -> Case:
    """The call that a row of the table describes."""
    call = _valued(TABLE[operator].made(row), row, precision)
    code = LAYOUTS[row["layout"]]
    kinds = {"double": (), "single": range(3), "the first single": (0,)}[row["type"]]
    typed = [a if a is None or i not in kinds else a.astype(np.float32) for i, a in enumerate(call.arrays)]
    call = call._replace(arrays=tuple(typed))
    lines = [code.format(name) for name in call.named if code]
    laid = tuple(None if array is None else _laid(code, array) for array in typed)
    return Case(call._replace(arrays=laid), lines, row)


def _laid(code: str, array: Array) -> Array:
    scope: dict[str, Any] = {"np": np, "array": array}
    exec(code.format("array"), scope)
    return np.asarray(scope["array"])


def _valued(call: Call, row: Row, precision: Arithmetic) -> Call:
    """The call with numbers of the kind that the row wants."""
    if row["values"] == "graded":
        return _graded(call, precision)
    if row["values"].startswith("wide"):
        eps = max(precision.eps, precision.input_eps, 2.0**-24 if row["type"] != "double" else 0)
        return _wide(call, row["values"] == "wide weights", round(-math.log2(eps)))
    change: Callable[[Array], Array] = {
        "integers": lambda a: a, "reals": _unequal, "negative": lambda a: -np.abs(_unequal(a)) - 1, "zeros": lambda a: 0 * a,
    }[row["values"]]  # fmt: skip
    return call._replace(arrays=tuple(None if a is None else change(a) for a in call.arrays))


def _unequal(array: Array) -> Array:
    """Sevenths, below 1 and above, every seventh of which is small: less than 1e-4 of the largest, where some might leave it out."""
    return array * 5 / 7 * np.where(np.arange(array.size) % 7 == 5, 2.0**-17, 1).reshape(array.shape)


def _wide(call: Call, weights: bool, digits: int) -> Call:
    """Maps, or weights, that have almost as many binary digits as the format holds, of which two at a time are added up.

    So they are exact however long the sum is, and a digit that is lost shows where the bound of so long a sum would hide it.
    """

    def wide(array: Array) -> Array:
        odd = 2.0 ** (digits - 2) + 2 * (np.arange(array.size) % 13) + 1
        return np.asarray(np.sign(array) * odd.reshape(array.shape))

    x, *others = call.arrays
    assert x is not None
    if call.operator == "softmax":
        return call._replace(arrays=(x * 7 / 3 - _far(2.0**-digits),))
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
    if call.operator == "softmax":
        return call._replace(arrays=(x / 3 + _far(precision.eps),))
    if others and others[0] is not None:
        others[0] = others[0] / powers.reshape((1, -1, 1, 1) if call.operator == "correlate" else (-1, 1, 1, 1))
    return call._replace(arrays=(x * powers.reshape(-1, 1, 1), *others))


def _far(eps: float) -> float:
    """So far from 0 that exponentials overflow, or vanish, where the format still tells responses apart."""
    return min(2.0**15, 2.0**-10 / eps)
