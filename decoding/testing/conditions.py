"""The conditions that implementations branch on, as classes, and calls in which every class and every pair of classes occurs.

A fast path depends on a few conditions at a time: windows of 3×3 in steps of 1, on 8 channels or more, say. So each operator has a table of
conditions. A *factor* is one condition, such as the number of channels, the window with its steps, the pads, the layout in memory, or the
type; its *classes* are the values that it takes in the calls. A *covering array* is a list of calls in which every two classes of different
factors occur together in some call, if they can (Kuhn, Kacker and Lei, *Practical Combinatorial Testing*, NIST 800-142). It is found greedily,
and is much shorter than a list of all combinations. Long sides, up to 4,097, are not paired: they come one at a time, in calls of their own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from itertools import chain, combinations, cycle, islice, product
from typing import Any, NamedTuple

import numpy as np

from ..arguments import Array
from ..interpolation import MODES
from . import drawn, published
from .calls import Call, Script, compiled
from .histories import histories
from .numbers import APART, PATTERNS, PEAKS, RISING, SPECIAL, VALUES, valued
from .operators import FAR_PADS, TABLE, WINDOWS, Row, Table, cost, windows
from .rounding import Arithmetic

ALIKE = {"avg_pool": "max_pool"}  # operators that have the tables of another
SHORT = 2**12  # products of a call that is soon made,
MOST = 2**17  # and of one in which everything is paired with everything,
MOST_THOROUGHLY = 2**20  # long sides too
SIDES = ("images", "channels", "filters", "rows", "columns")
FEW = (2, 1, 3, 5, 6, 7, 8, 9, 16, 17, 32, 33)  # sides that are paired with everything; the first is the plain one
LENGTHS = (7, 8, 15, 16, 31, 32, 64, 65, 128, 129, 256, 257, 1024, 1025, 4096, 4097)  # one long side at a time
GROUPS = (2, 3, 4, 8, 16, 33)
WHOLE = windows("7/1 13x11/13x11 27x25/1 25x41/1 16x64/16x64")  # windows as large as the map
ALMOST = (63, 127, 255, 1023)  # which leave all but one of the last block, alone, too
# With FEW and LENGTHS, all rests of blocks of up to twelve, which one block or more comes before; in small calls, alone, too.
RESTS = (10, 12, 14, 18, 20, 22, 23, 28)
BETWEEN = (45, 91, 181, 363, 725, 1449, 2897)  # odd, and far from powers of two on either side, alone, too
HALF_BLOCKS = (48, 96, 160, 192, 224, 320, 384, 768)  # half a block of 32 to 512 left over, alone, too
LONG_WINDOWS = (65, 129, 257, 1025)  # along one axis
LONGEST = 65537  # alone: numbers of two bytes overflow
BEYOND = ((182, 181), (257, 256))  # more cells than such numbers tell apart, with a sign and without
# Where these hold, faults of other conditions may not show: a call of such a class counts for its own pairs alone.
REPEATED = ("the first one repeated", "the last axis repeated", "rows repeated one cell later")
MUTE = {
    ("values", "zeros"),
    ("values", "large"),
    *(("layout", each) for each in REPEATED),
    ("images", 0),
    ("channels", 1),
}
LONGEST_UNPOOLED = 257  # as the reference makes a whole matrix of weights for each axis
ROUGHLY = 1.05 * MOST  # of the same size: with it 4,097 and 32, say
# Maps in which something may fit, and one of a single cell.
MAPS: tuple[Row, ...] = tuple({"rows": n, "columns": m} for n, m in ((2, 3), (5, 8), (9, 9), (33, 33)))
CELL: Row = {"rows": 1, "columns": 1}

# How arrays lie in memory: a line of code, {0} being the array.
LAYOUTS = {
    "in C's order": "",
    "in Fortran's order": "{0} = np.asfortranarray({0})",
    "channels last": "{0} = np.moveaxis(np.moveaxis({0}, 1 % {0}.ndim, -1).copy(), -1, 1 % {0}.ndim)",
    "every second column": "{0} = np.stack([{0}, np.full_like({0}, 77)], -1)[..., 0]",
    "every second of the first axis": "{0} = np.stack([{0}, np.full_like({0}, 77)], 1)[:, 0]",
    "every second of the second axis": "{0} = {0} if {0}.ndim < 4 else np.stack([{0}, np.full_like({0}, 77)], 2)[:, :, 0]",
    "every second row": "{0} = {0} if {0}.ndim < 4 else np.stack([{0}, np.full_like({0}, 77)], 3)[:, :, :, 0]",
    "not where memory begins": "{0} = np.concatenate([77 + 0 * {0}.ravel()[:1], {0}.ravel()])[1:].reshape({0}.shape)",
    "channels last, not where memory begins": "{0} = np.moveaxis(np.moveaxis(np.concatenate([77 + 0 * {0}[:1], {0}]), 1 % {0}.ndim, -1).copy()[1:], -1, 1 % {0}.ndim)",
    "channels last, some of them": "{0} = np.moveaxis(np.pad(np.ascontiguousarray(np.moveaxis({0}, 1 % {0}.ndim, -1)), "
    "[(0, 0)] * ({0}.ndim - 1) + [(0, 3)], constant_values=77)[..., :-3], -1, 1 % {0}.ndim)",
    "cut out": "{0} = np.pad({0}, 1, constant_values=77)[(slice(1, -1),) * {0}.ndim]",
    "backwards": "{0} = np.flip(np.flip({0}).copy())",
    "one axis backwards": "{0} = np.flip(np.flip({0}, sum({0}.shape) % {0}.ndim).copy(), sum({0}.shape) % {0}.ndim)",
    "two axes exchanged": "{0} = {0} if {0}.ndim < 4 else {0}.swapaxes(*(axes := ((0, 1), (2, 3))[sum({0}.shape) % 2])).copy().swapaxes(*axes)",
    "in records": "{0} = np.rec.fromarrays([np.ones(len({0}), 'u1'), {0}], [('label', 'u1'), ('it', {0}.dtype, {0}.shape[1:])])['it']",
    "the first one repeated": "{0} = {0} if {0}.ndim < 4 else np.broadcast_to({0}[:, :1] if sum({0}.shape) % 2 else {0}[:1], {0}.shape)",
    "the last axis repeated": "{0} = np.broadcast_to({0}[..., :1], {0}.shape)",
    "rows repeated one cell later": "{0} = {0} if {0}.ndim < 4 else np.lib.stride_tricks.sliding_window_view("
    "np.resize({0}, (*{0}.shape[:2], {0}.shape[2] + {0}.shape[3] - 1)), {0}.shape[3], -1)",
    "read-only": "{0} = np.ndarray({0}.shape, {0}.dtype, {0}.tobytes())",
}
LAYOUTS_OF_IMAGES = ("in C's order", "channels last")  # as libraries mostly have them
# The maps in C's order, and the weights and the bias in another one, by turns.
OTHERS = "the others in another order"
OTHER = (
    "two axes exchanged",
    "in Fortran's order",
    "every second of the first axis",
    "backwards",
    "channels last",
    "cut out",
)
SINGLE = 2.0**-24
# Which arrays are of another type than double, and of which.
TYPES: dict[str, tuple[type[np.floating[Any]], tuple[int, ...]]] = {
    "double": (np.float64, ()),
    "single": (np.float32, (0, 1, 2)),
    "the first single": (np.float32, (0,)),
    "the others single": (np.float32, (1, 2)),
    "half": (np.float16, (0, 1, 2)),  # which is not paired with everything
}


class Case(NamedTuple):
    """A call, as its arrays lie in memory; code that makes them so, of those that it was made of."""

    call: Call
    lines: list[str]
    row: Row
    made: Call

    def __str__(self) -> str:
        return str(self.script(self.call.by_name()))

    def script(self, *lines: str, numbers: Call | None = None) -> Script:
        """Code that lays the arrays out as they lie here, and then does what the lines say; with these `numbers`, if they were changed.

        Where a layout repeats some numbers, nobody can change them, and what lies between them in memory is part of the case.
        """
        repeats = "repeated" in self.row["layout"]
        return Script(self.made if repeats else numbers or self.call, (*self.lines, *lines))


class Coverage(NamedTuple):
    """What the calls of an operator's check of conditions have in them.

    Attributes
    ----------
    factors, classes : int
        How many conditions there are, and how many classes of them, each of which occurs.
    pairs, possible : int
        How many pairs of classes occur together, of those that can.
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
    maps = {"images": (*sides, 0), "channels": sides, "rows": sides, "columns": sides}
    others = {name: sides if classes is None else classes for name, classes in TABLE[operator].factors.items()}
    weights = "filters" in others
    types = [name for name, (_, which) in TYPES.items() if name != "half" and (weights or which in ((), (0, 1, 2)))]
    values = [name for name in VALUES if weights or name not in ("wide weights", "large maps", "large weights")]
    return {
        **maps,
        "layout": (*LAYOUTS, *[OTHERS] * weights),
        "type": tuple(types),
        **others,
        "values": tuple(values),
        "history": histories(operator),
    }


def sides(operator: str) -> list[str]:
    """Those of the operator's arrays."""
    return [name for name in SIDES if name in factors(operator)]


def _is_pool(operator: str) -> bool:
    return "pad" in factors(operator) and "filters" not in factors(operator)


def plain(operator: str, **given: Any) -> Row:
    """A row of the plain class of each condition, with sides of 1 and a window of 1×1, but for what is given."""
    least = {name: classes[0] for name, classes in factors(operator).items()} | dict.fromkeys(sides(operator), 1)
    return {name: given.get(name, ((1, 1), (1, 1)) if name == "window" else value) for name, value in least.items()}


@lru_cache(maxsize=32)
def covering(operator: str, thorough: bool = False) -> tuple[tuple[Row, ...], int, int]:
    """Rows of the table in which every class occurs, and every pair that can: the cheap ones first; pairs found, and possible."""
    if operator in ALIKE:
        return covering(ALIKE[operator], thorough)
    most = MOST_THOROUGHLY if thorough else MOST
    return cover(factors(operator, thorough), TABLE[operator].products, most, _completions(operator))


def _completions(operator: str) -> list[Row]:
    """The rest of rows, which tells what fits: some map must be large enough for what is chosen, and some window for the pads."""
    sides = dict.fromkeys(("images", "channels", "filters"), 1)
    sizes = ((1, 1), (2, 2), (9, 9)) if "window" in TABLE[operator].factors else ()
    moved: list[Row] = [{"window": (size, (1, 1))} for size in sizes] or [{}]
    return [{**sides, **size, **window} for window in moved for size in (CELL, *MAPS)]


def cover(
    table: Table, products: Callable[[Row], float], most: int, completions: list[Row]
) -> tuple[tuple[Row, ...], int, int]:
    """A covering array of strength 2: rows of the table, of so many products at most; how many pairs they have, and how many can be.

    Greedy: a pair that is missing begins a row, and every other factor gets the class that adds most pairs, as long as one of the
    `completions` leaves the row small enough.
    """
    least = {name: classes[0] for name, classes in table.items()}
    rests = [{**least, **{name: value for name, value in rest.items() if name in table}} for rest in completions]

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
                if (name, value) not in MUTE
            }
            best = sorted(gain, key=lambda value: gain[value], reverse=True)  # the first of equals first
            small = (value for value in (*best, *table[name]) if fits({**chosen, name: value}))
            chosen[name] = next(small, table[name][0])
        mute = {each for each in chosen.items() if each in MUTE}
        together = combinations([(name, chosen[name]) for name in names], 2)
        for pair in {(first, second), *(pair for pair in together if pair in missing and mute <= set(pair))}:
            del missing[pair]
        if products(chosen) <= most:
            found.append({name: chosen[name] for name in table})
        else:
            lost += 1
    found.sort(key=lambda row: products(row) or math.inf)  # no images at all: last
    return tuple(found), len(pairs) - lost, len(pairs)


def taking_turns(operator: str, names: list[str], most: float, values: tuple[str, ...], *places: Row) -> list[Row]:
    """Rows that have every class of these conditions beside the first of the places that leaves so few products, if one does."""
    table, products = factors(operator), TABLE[operator].products
    others = [name for name in sides(operator) if name not in ("rows", "columns")]
    # Two of each where there is room, in which more shows.
    rests: list[Row] = [dict.fromkeys(others, n) | each for n in (2, 1) for each in (*MAPS, CELL)]
    names = sorted(names, key=SIDES.__contains__)
    turned = {name: [*table[name][at:], *table[name][:at]] for at, name in enumerate(names)}  # so that sides differ
    unseen, found = {(name, each) for name in names for each in table[name]} - {("images", 0)}, list[Row]()

    def next_row(fixed: Row) -> Row:
        chosen: Row = {}
        row = plain(operator, **fixed, values=values[len(found) % len(values)])
        for new in (True, False):  # what no row has yet, and then the others in turn
            for name in (name for name in names if name not in chosen):
                classes = [each for each in turned[name] if (name, each) in unseen or not (new or each == 0)]
                turn = 0 if new else len(found) % len(classes)
                for each in (*classes[turn:], *classes[:turn]):
                    fit = (row | rest | fixed | chosen | {name: each} for rest in rests)
                    small = next((each for each in fit if products(each) <= most), None)
                    if small is not None:
                        row, chosen = small, chosen | {name: each}
                        break
        return row

    for fixed in places:
        while not unseen.isdisjoint((row := next_row(fixed)).items()):
            unseen -= row.items()
            found.append(row)
    return found


@lru_cache(maxsize=32)
def short(operator: str) -> tuple[Row, ...]:
    """Every class of the sides, windows and other options, in small calls of small integers, the smallest first."""
    names = [name for name in factors(operator) if name not in ("layout", "type", "values", "history")]
    rows = [*taking_turns(operator, names, SHORT, ("integers",), {}), *_moved(operator)]
    return tuple(sorted(rows, key=TABLE[operator].products))


def _moved(operator: str) -> Iterator[Row]:
    """Every window, and what one step along each axis adds to it; and a window that is moved often along one of them."""
    for size, step in factors(operator).get("window", ()):
        rows, columns = np.add(size, step).tolist() if "pad" in factors(operator) else (2, 2)
        yield plain(operator, channels=2, filters=2, rows=rows, columns=columns, window=(size, step), values="integers")
    for side in ("rows", "columns") if "window" in factors(operator) else ():
        yield plain(operator, **{"rows": 2, "columns": 2, side: 34}, window=((2, 2), (1, 1)), values="integers")


@lru_cache(maxsize=32)
def thin(operator: str) -> tuple[Row, ...]:
    """Rows with one long side or two, and rows as networks have them, that are too large to be paired with everything."""
    if operator in ALIKE:
        return thin(ALIKE[operator])
    small = (
        _special,
        _patterned,
        _long_windows,
        _far,
        _beside_large,
        _peaks,
        _one_cell,
        _least,
        _exchanged,
        _bars,
        _squares,
        _halves,
        _long_halves,
        _large_steps,
        _blocked,
        _products,
        _many_channels,
        _tiled,
        _stretched,
    )
    large = (_one_long, _large, _usual_layers, _with_every_class, _both_long)
    rows, known = [row for way in (*small, *large) for row in way(operator)], histories(operator)
    turns = cycle(known)  # of the rows whose history is the plain one
    return tuple(row | {"history": next(turns)} if row["history"] == known[0] else row for row in rows)


def _lengths(operator: str, among: tuple[int, ...] = (*LENGTHS, *ALMOST, *RESTS, *BETWEEN, *HALF_BLOCKS)) -> list[int]:
    return [n for n in sorted(among) if operator != "unpool" or n <= LONGEST_UNPOOLED]


def _usual(operator: str, **given: Any) -> Row:
    """A row of two images, channels and filters, of 4×5 cells, and a window that fits."""
    window = (2, 2 if operator in ("max_pool", "avg_pool") else 3), (1, 2)
    usual = {"images": 2, "channels": 2, "filters": 2, "rows": 4, "columns": 5, "window": window}
    return plain(operator, **usual | given)


def _long_windows(operator: str) -> Iterator[Row]:
    """Windows that are long along one axis."""
    for n in _lengths(operator, LONG_WINDOWS) if "window" in factors(operator) else ():
        cells = n + 2 if "pad" in factors(operator) else 3
        yield _usual(operator, rows=2, columns=cells, window=((1, n), (1, 1)), values="integers")
        yield _usual(operator, rows=cells, columns=2, window=((n, 1), (1, 1)), values="reals")


def _far(operator: str) -> Iterator[Row]:
    """Pads and steps that take more than a byte, with a sign or without."""
    padded = "pad" in factors(operator)
    for n in (129, 257) if "window" in factors(operator) else ():
        cells: Row = {"rows": n + 3, "columns": n + 3} if padded else {}
        yield _usual(operator, **cells | {"rows": 2, "window": ((1, 3), (1, n))})
        yield _usual(operator, **cells | {"columns": 2, "window": ((3, 1), (n, 1))})
        for size in ((1, n), (n, 1)) if padded else ():
            yield plain(operator, rows=3, columns=3, window=(size, (1, 1)), pad="nearly a window", values="reals")
    if "filters" in factors(operator) and padded:
        for pad, window in product(FAR_PADS, windows("3/1 3/2")):
            yield _usual(operator, window=window, pad=pad)


def _beside_large(operator: str) -> Iterator[Row]:
    """Means of windows in steps of 1, in which running sums would lose what is small."""
    names = "2/1 1x4/1 4x1/1 5/1 1x8/1 8x1/1 8/1 1x16/1 16x1/1 16/1"
    for (h, w), step in windows(names) if _is_pool(operator) else ():
        yield _usual(operator, rows=h + 9, columns=w + 10, window=((h, w), step), values="ones")


def _peaks(operator: str) -> Iterator[Row]:
    """Responses of a softmax whose largest lies in the first, the last or another block of channels."""
    for n, values in product(_lengths(operator) if operator == "softmax" else (), PEAKS):
        yield plain(operator, images=3, channels=n, values=values)


def _one_cell(operator: str) -> Iterator[Row]:
    """Maps of one cell, under the usual windows that lie over it with their pads, on one channel and filter and on three."""
    usual = windows("3/1 3/2 2/1 2/2 5/2") if "pad" in factors(operator) else ()
    for window, pad, n in product(usual, ("one all around", "half a window", "nearly a window"), (1, 3)):
        row = plain(operator, images=2, channels=n, filters=n, window=window, pad=pad)
        if TABLE[operator].products(row) < math.inf:
            yield row


def _least(operator: str) -> Iterator[Row]:
    """The smallest calls there are, and those with a single side of 2, in all types."""
    for kind in factors(operator)["type"]:
        yield plain(operator, type=kind)
        yield from (plain(operator, type=kind, **{side: 2}) for side in sides(operator))


def _exchanged(operator: str) -> Iterator[Row]:
    """Calls of as many numbers, two sides of which have changed places: what is kept by their product is another's."""
    base = dict(zip(SIDES, (3, 4, 5, 6, 8), strict=True))
    for window in windows("2/2 3/1"):
        for a, b in combinations(sides(operator), 2):
            yield _usual(operator, **base, window=window)
            yield _usual(operator, **base | {a: base[b], b: base[a]}, window=window)


def _bars(operator: str) -> Iterator[Row]:
    """Windows of one row or one column, on one channel and filter."""
    for window in windows("1x4/1 4x1/1 1x5/1 5x1/1 1x6/1 6x1/1 1x7/1 7x1/1") if "window" in factors(operator) else ():
        yield _usual(operator, channels=1, filters=1, rows=8, columns=9, window=window)


def _squares(operator: str) -> Iterator[Row]:
    """Square windows of up to eight cells a side, in all steps of up to four along either axis, and in equal ones up to the side, in every mode."""
    for n, mode in product(range(1, 9), factors(operator).get("mode", ("",))) if "window" in factors(operator) else ():
        steps = {*product(range(1, 5), repeat=2), *((step, step) for step in range(5, n + 1))}
        for r, s in sorted(steps):
            window, pad = ((n, n), (r, s)), "half a window" if n > 1 else "none"
            yield _usual(operator, rows=n + r, columns=n + 2 * s + 1, window=window, pad=pad, mode=mode)


def _halves(operator: str) -> Iterator[Row]:
    """Arrays of half precision in small calls of whole numbers, in all layouts, with most windows and other options."""
    most = 2**8  # terms of a sum, so that it can be judged
    rows = [
        row for row in short(operator) if "window" not in row or math.prod(row["window"][0]) * row["channels"] <= most
    ]
    turns = islice(zip(cycle(rows), cycle(LAYOUTS), strict=False), max(len(rows), len(LAYOUTS)))
    return (row | {"type": "half", "layout": layout} for row, layout in turns)


def _long_halves(operator: str) -> Iterator[Row]:
    """A long side in half precision, which tells whole numbers apart up to 2,048; not for sums as long, which round away, nor for unpooling."""
    sums = "filters" in factors(operator) or operator == "softmax"
    for n, side in product((1025, 4097), sides(operator)):
        if n in _lengths(operator) and not (sums and side == "channels"):
            yield _usual(operator, **{"window": ((2, 2), (1, 1)), side: n}, type="half", values="integers")


def _large_steps(operator: str) -> Iterator[Row]:
    """Windows that are moved by 16 cells and more along both axes, in every mode."""
    large = windows("16/16 17/17 33/16 32/32") if "window" in factors(operator) else ()
    for (size, step), mode, kind in product(large, factors(operator).get("mode", ("",)), ("double", "single")):
        rows, columns = np.add(size, step).tolist() if "pad" in factors(operator) else (4, 3)
        yield _usual(operator, rows=rows, columns=columns, window=(size, step), mode=mode, type=kind, values="reals")


def _blocked(operator: str) -> Iterator[Row]:
    """A block or several of 4 to 64 channels and filters, in every type and mode, in C's order and channels last, on small maps and a large one."""
    table, weights = factors(operator), "filters" in factors(operator)
    usual = windows("1/1 3/1 3/2 5/1" if weights else "2/2 3/2 2/1" if "window" in table else "1/1")
    shapes = [(1, 4, 4, 7, 8), (2, 8, 8, 8, 8), (1, 16, 16, 7, 7), (2, 32, 32, 8, 7), (8, 64, 64, 4, 4)]
    shapes += [(1, 8, 8, 65, 62), *[(1, 8, 16, 7, 7), (2, 16, 8, 8, 7), (1, 16, 32, 7, 8)] * weights]
    kinds = product(LAYOUTS_OF_IMAGES, ("double", "single", "half"), table.get("mode", ("",)))
    for (turn, kind), (i, window), (j, shape) in product(enumerate(kinds), enumerate(usual), enumerate(shapes)):
        given = dict(zip(("layout", "type", "mode", *SIDES), (*kind, *shape), strict=True))
        values = "integers" if given["type"] == "half" or (turn + i + j) % 2 else "reals"
        pad = "half a window" if window[0][0] % 2 else "none"
        yield plain(operator, window=window, pad=pad, values=values, **given)


def _products(operator: str) -> Iterator[Row]:
    """Products of matrices on one row of cells, whose cells and filters leave many rests of the tiles that registers hold."""
    many = "filters" in factors(operator)
    kinds = product((3, 5, 6, 7, 10, 11, 13, 17, 23, 29), (2, 7, 9, 13, 27, 61), windows("1/1 3/1")) if many else ()
    for turn, (cells, few, window) in enumerate(kinds):
        channels, filters = (64, few) if "pad" in factors(operator) else (few, 64)
        shape = {"images": 1, "channels": channels, "filters": filters, "rows": 1, "columns": cells}
        values = ("integers", "reals", "negative")[(turn + turn // 12) % 3]
        yield plain(operator, window=window, pad="half a window", values=values, **shape)


def _many_channels(operator: str) -> Iterator[Row]:
    """Many channels and filters, most of which leave over a part of blocks of 16, 32 or 64, and 256 of both."""
    rests = product((96, 104, 160, 576), (33, 61, 128, 208), windows("1/1 3/1"))
    whole = product((256,), (256,), windows("1/1 3/1 3/2 4/2 2/2"))
    for turn, (c, k, window) in enumerate(chain(rests, whole)) if "filters" in factors(operator) else ():
        shape = {"images": 1, "channels": c, "filters": k, "rows": 1 + turn % 3, "columns": 2}
        layout, values = LAYOUTS_OF_IMAGES[turn % 2], ("integers", "reals")[turn // 2 % 2]
        pad = "half a window" if window[0][0] % 2 else "one all around"
        yield plain(operator, window=window, pad=pad, layout=layout, values=values, **shape)


def _tiled(operator: str) -> Iterator[Row]:
    """Maps of 13 to 18 rows and columns on 32 channels and filters, which leave every rest of tiles of up to six along both axes."""
    sides = zip(range(13, 19), (17, 18, 13, 14, 15, 16), strict=True)
    usual = product(sides, windows("3/1 1/1 5/1")) if "filters" in factors(operator) else ()
    for (rows, columns), window in usual:
        shape = {"images": 1, "channels": 32, "filters": 32, "rows": rows, "columns": columns}
        yield plain(operator, window=window, pad="half a window", **shape)


def _stretched(operator: str) -> Iterator[Row]:
    """Unpooling along one axis, over long rows and columns, and from n cells to m where (n − 1) / (m − 1) · (m − 1) rounds up, in every mode."""
    along = product(windows("1x2/1x2 1x3/1x2 2x1/2x1 3x1/2x1"), ((3, 66), (66, 3), (257, 2), (2, 257)))
    rounding = product(windows("5/5"), ((16, 28), (28, 32)))
    kinds = product(chain(along, rounding), MODES, LAYOUTS_OF_IMAGES) if operator == "unpool" else ()
    for (window, (rows, columns)), mode, layout in kinds:
        yield _usual(operator, window=window, mode=mode, rows=rows, columns=columns, layout=layout)


def _special(operator: str) -> Iterator[Row]:
    """Numbers that fast paths look for, with the usual windows; the other conditions take turns."""
    table, products = factors(operator), TABLE[operator].products
    others = [name for name in table if name not in (*SIDES, "values", "window", "type")]
    for number, values in enumerate(SPECIAL if "filters" in table else ("bytes", "some zeros", "subnormal")):
        for i, window in enumerate(table.get("window", range(16))[:16]):
            row = _usual(operator, channels=3, filters=3, values=values)
            row |= {name: table[name][i * (number + 1) % len(table[name])] for name in others}
            row |= {"window": window} if "window" in table else {}
            row |= {"pad": "half a window", "bias": False} if values == "identity" and "pad" in table else {}
            maps = MAPS[1:] if values == "sparse" else MAPS
            fit = (row | pad | each for pad in ({}, {"pad": "none"} if "pad" in table else {}) for each in maps)
            yield next(each for each in fit if products(each) <= MOST)
    if "filters" in table:
        yield _usual(operator, channels=300, filters=2, rows=3, window=((1, 1), (1, 1)), values="some zeros")


def _patterned(operator: str) -> Iterator[Row]:
    """Weights that can be folded or packed, and equal parts, under windows with pads."""
    usual = windows("3/1 3/2 2/1 2/2 5/1 5/2 1x4/1 1x4/2 4x1/1 4x1/2") if "filters" in factors(operator) else ()
    for values, window in product(PATTERNS, usual):
        row = {"images": 3, "channels": 4, "filters": 4, "rows": 6, "columns": 7, "window": window}
        yield _usual(operator, **row, pad="half a window", values=values)


def _one_long(operator: str) -> Iterator[Row]:
    """One long side, the shortest first; the other conditions take turns, if the call is small enough.

    Sums over channels have numbers of all digits, of double precision in C's order, so that a lost digit shows.
    """
    table, products = factors(operator), TABLE[operator].products
    others = [name for name in table if name not in (*SIDES, "values")]
    kept = {"channels": ("layout", "type")}
    wide = ("wide maps", "wide weights" if "filters" in table else "wide maps")
    least = {"images": 2, "filters": 2, "rows": 2, "columns": 3, "window": ((2, 2), (2, 2))}
    for i, (n, side) in enumerate(product(_lengths(operator), sides(operator))):
        long = {side: n, "values": (wide if side == "channels" else ("reals", "integers"))[n % 2]}
        row = _usual(operator, **long)
        turned = row | {name: table[name][i % len(table[name])] for name in others if name not in kept.get(side, ())}
        yield next((each for each in (turned, row) if products(each) <= MOST), plain(operator, **least | long))


def _large(operator: str) -> Iterator[Row]:
    """Maps, filters and windows that are large as a whole."""
    table = factors(operator)
    whole: Row = {"images": 17, "channels": 16, "rows": 62, "columns": 63}  # over 2^20 numbers
    if _is_pool(operator):  # whose answers have as many, too
        whole |= {"images": 18, "window": ((2, 2), (1, 1))}
    large: list[Row] = [{"rows": 33, "columns": 32}, {"rows": 65, "columns": 64}, whole | {"filters": 1}]
    if operator != "unpool":
        large += [{"rows": 257, "columns": 256, "images": 1}]
    if "pad" in table:  # as many windows
        large += [{"rows": 257, "columns": 256, "images": 1, "window": ((3, 3), (1, 1)), "pad": "one all around"}]
        large[-1] |= {"channels": 8, "filters": 16} if "filters" in table else {}
    if "filters" in table:
        large += [whole | {"channels": 1, "filters": 16, "window": ((1, 1), (1, 1))}]
        large += [{"images": 1, "channels": 96, "filters": 1, "rows": 182, "columns": 181, "window": ((1, 1), (1, 1))}]
        large += [{"channels": 64, "filters": 65}, {"channels": 128, "window": ((3, 3), (1, 1))}]
        large += [{"images": 1, "channels": 4097, "filters": 1, "rows": 4, "window": ((4, 4), (1, 1))}]
        if "pad" not in table:  # more than 255 copies that overlap
            large += [{**dict.fromkeys(SIDES, 1), "rows": 17, "columns": 17, "window": ((16, 17), (1, 1))}]
    elif "window" in table:
        maps = {"rows": 2, "columns": 3} if operator == "unpool" else {"rows": 65, "columns": 66}
        large += [{"window": (side, side), "channels": 1, **maps} for side in ((33, 17), (64, 65))]
    for h, w in BEYOND if "window" in table else ():  # cells of a window
        maps = {"rows": h, "columns": w + 1} if "pad" in table else {"rows": 1, "columns": 2}
        large += [{"images": 1, "channels": 1, "filters": 1, "window": ((h, w), (1, 1)), **maps}]
    if operator == "unpool":  # pixels of an answer
        twice: Row = {"images": 1, "channels": 1, "rows": 130, "columns": 129, "window": ((2, 2), (2, 2))}
        large += [twice | {"mode": mode} for mode in table["mode"]] + [twice | {"rows": 257, "columns": 256}]
    if "pad" in table:
        large += [{"window": window, "rows": window[0][0], "columns": window[0][1]} for window in WHOLE]
    if _is_pool(operator):
        large += [{"window": ((64, 64), (1, 1)), "rows": 65, "columns": 66, "channels": 1}]
    # A wrong index shows in the first, a lost digit in the second, and in the third the last cell of a window is the largest.
    digits = "reals" if operator == "unpool" else "wide maps"
    values = ("integers", digits, *[RISING] * _is_pool(operator))
    return (_usual(operator, **row, values=each) for row, each in product(large, values))


def _usual_layers(operator: str) -> Iterator[Row]:
    """Layers as networks have them, each a fast path of its own: the usual windows, in every mode, on many channels and filters and on large
    squares; in single precision, on three channels and on sixteen, of even and of odd rows and columns."""
    table, weights = factors(operator), "filters" in factors(operator)

    def layers(names: str, sizes: Sequence[tuple[int, ...]], **given: Any) -> Iterator[Row]:
        kinds = product(windows(names if "window" in table else "1/1"), sizes, table.get("mode", ("",)))
        for window, (n, c, k, rows, columns), mode in kinds:
            shape = {"images": n, "channels": c, "filters": k, "rows": rows, "columns": columns}
            row = plain(operator, window=window, mode=mode, **shape, **given)
            if TABLE[operator].products(row) <= MOST_THOROUGHLY:
                yield row

    names = "1/1 3/1 3/2 5/1 2/2" if weights else "2/2 3/2 2/1 3/1"
    padded = [(2, 2, 2, 64, 64), (1, 32, 32, 8, 8), (1, 64, 64, 5, 5)]
    padded += [(1025, 2, 2, 3, 3), (1, 1025, 2, 3, 3)]
    padded += [(1, 2, 1025, 3, 3), (1, 1024, 3, 2, 2), (8, 16, 32, 3, 3)] * weights
    yield from layers(names, padded, pad="one all around")
    yield from layers(names, [(2, 128, 128, 3, 3), (1, 17, 17, 64, 64)], pad="none")
    names = "3/1 3/2 5/1 7/2 4/2 2/2" if weights else "2/2 3/2"
    sizes = [(1, c, 16, *sides) for c in (3, 16) for sides in ((8, 14), (9, 15 if weights else 33))]
    values = "negative" if "pad" in table and not weights else "integers"
    yield from layers(names, sizes, pad="half a window", type="single", values=values)


def as_published(operator: str, groups: bool = False) -> Iterator[Row]:
    """Layers of published networks: on one image in double precision, and on several, if these fit, in single precision, channels last."""
    table, turns = factors(operator), cycle(histories(operator))
    for turn, row in enumerate(chain(published.layers(operator), published.layers(operator, True) if groups else ())):
        modes = {"mode": table["mode"][turn % len(table["mode"])]} if "mode" in table else {}
        one = plain(operator, **row, **modes) | row
        yield one | {"history": next(turns), "values": ("integers", "negative")[turn % 2]}
        many = (n for n in (16, 2) if n * cost(operator, one) <= published.most(row))
        several = {"images": next(many, 1), "type": "single", "layout": "channels last"}
        yield one | several | {"history": next(turns), "values": ("reals", "integers")[turn % 2]}


def _with_every_class(operator: str) -> Iterator[Row]:
    """Maps of 32×32, filters of 1,024 weights, or a side as long as the call allows, with every class of the other conditions."""
    table, longest = factors(operator), [n for n in reversed(_lengths(operator, LENGTHS)) if n > max(FEW)]
    places: list[list[Row]] = [
        [{"rows": 32, "columns": 32}],
        *([{side: n} for n in longest] for side in sides(operator)),
    ]
    if "filters" in table:
        places.append([{"channels": 256, "window": ((2, 2), (2, 2))}])
    if "pad" in table:  # a window that is the map: a product of matrices
        places.append([{"images": 1, "rows": 3, "columns": 3, "window": ((3, 3), (1, 1)), "pad": "none"}])
    for place in places:
        others = [name for name in table if name not in (*place[0], "values")]
        most = ROUGHLY if place is places[0] else ROUGHLY / 2
        yield from taking_turns(operator, others, most, ("reals", "integers", "negative"), *place)


def _both_long(operator: str) -> Iterator[Row]:
    """Two long sides, each as long as the other allows, or a very long one, the others being 2 or 1."""
    others = [name for name in sides(operator) if name not in ("rows", "columns")]
    least = [{"columns": cells, **dict.fromkeys(others, n)} for n in (2, 1) for cells in (2, 1)]
    for first, second in combinations(sides(operator), 2):
        long = [{first: n, second: m} for n, m in product(LENGTHS, LENGTHS)]
        both = [[plain(operator, **small | each) for small in least] for each in long]
        fit = [[row for row in rows if TABLE[operator].products(row) <= ROUGHLY][:1] for rows in both]
        found = [row for rows in fit for row in rows]
        for row in found:
            if not any(each is not row and each[first] >= row[first] and each[second] >= row[second] for each in found):
                yield row
    if operator != "unpool":
        yield from (plain(operator, **{side: LONGEST}) for side in sides(operator))


@lru_cache(maxsize=2)
def grouped(operator: str) -> tuple[Row, ...]:
    """Rows of a table of its own for banks in groups, with every pair of classes: channels and filters are those of one group."""
    table = factors(operator) | {"groups": GROUPS, "images": (2, 1, 17), "rows": (5, 1, 9, 32), "columns": (5, 8, 33)}
    table |= {"channels": (1, 2, 3, 8), "filters": (1, 2, 3, 8), "window": WINDOWS[:9]}
    table["values"] = ("integers", "reals", "ones")

    def products(row: Row) -> float:
        return float(row["groups"] * TABLE[operator].products(row))

    rows, *_ = cover(table, products, MOST, [{**rest, "groups": 2} for rest in _completions(operator)])
    more = (_each_channel, _grouped_long, _grouped_shares)
    return (*rows, *(row for way in more for row in way(operator)))


def _grouped_shares(operator: str) -> Iterator[Row]:
    """Groups of many channels and few filters, of many of both, and the reverse; and numbers of groups that leave a rest of blocks."""
    for c, k in ((16, 1), (16, 4), (16, 16), (4, 16), (1, 16), (1, 4), (1, 5), (32, 8)):
        yield _usual(operator, channels=c, filters=k, window=((3, 3), (1, 1)), pad="one all around") | {"groups": 2}
    yield from (_usual(operator, channels=2, filters=k) | {"groups": n} for n in (5, 6, 7, 12) for k in (1, 2))


def _each_channel(operator: str) -> Iterator[Row]:
    """A filter for each channel, as networks for telephones have them: on few and many channels, maps of one cell, as large as the
    window and larger, and weights that lie apart."""
    one: Row = {"channels": 1, "filters": 1}
    of_three, in_steps, *_ = usual = windows("3/1 3/2 5/1 2/2 1x3/2 3x1/2")
    for window, n in product(usual, (3, 4)):
        for cells in (1, 4, 9):
            yield _usual(operator, **one, rows=cells, columns=cells, window=window, pad="half a window") | {"groups": n}
        (h, w), _ = window
        yield _usual(operator, **one, rows=h, columns=w, window=window, pad="none") | {"groups": n}
    for window, n in ((in_steps, 128), (of_three, 1025)):
        yield plain(operator, **one, rows=5, columns=5, window=window, pad="one all around") | {"groups": n}
    for values, by in APART.items():  # with pads that keep the size of the map
        dilated: Row = {"window": ((2 * by + 1, 2 * by + 1), (1, 1)), "pad": "half a window", "values": values}
        yield _usual(operator, rows=9, columns=10, **dilated, **one) | {"groups": 3}


def _grouped_long(operator: str) -> Iterator[Row]:
    """One long side, that of the window or the number of groups among them."""
    for n in (65, 257):
        for side in ("groups", *sides(operator)):
            yield _usual(operator, values="integers") | {"groups": 2, side: n}
    yield from (row | {"groups": 2} for row in _long_windows(operator))


def grouped_cases(operator: str, precision: Arithmetic) -> Iterator[Case]:
    """Calls in groups, under all pairs of conditions."""
    for row in grouped(operator):
        yield case(operator, row | {side: row["groups"] * row[side] for side in ("channels", "filters")}, precision)


def cases(operator: str, precision: Arithmetic, thorough: bool = False, groups: bool = False) -> Iterator[Case]:
    """Calls of layers that are drawn; with all pairs of conditions, the cheap ones first; thin ones; of published layers; in groups, too, if asked."""
    for row in _rows(operator, thorough, groups):
        eps = max(precision.eps, roundoff(row))
        if operator != "unpool" or _pixels(row) <= 1 / (8 * eps):  # or the format cannot tell places apart
            yield case(operator, row, precision)


@lru_cache(maxsize=16)
def at_random(operator: str, groups: bool = False, thorough: bool = False) -> tuple[Row, ...]:
    """Layers drawn at random, the same ones each time."""
    return tuple(drawn.layers(operator, factors(operator), groups, thorough))


def _rows(operator: str, thorough: bool, groups: bool) -> Iterator[Row]:
    """Those of all kinds, each of which is made when the one before is through; what fails most often first."""
    yield from at_random(operator, groups, thorough)
    yield from covering(operator, thorough)[0]
    yield from thin(operator)
    yield from as_published(operator, groups)


def _pixels(row: Row) -> int:
    """The longer side of what is unpooled."""
    sides = zip((row["rows"], row["columns"]), *row["window"], strict=True)
    return int(max((n - 1) * step + size for n, size, step in sides))


def coverage(operator: str, thorough: bool = False, groups: bool = False) -> Coverage:
    """What `cases` have in them."""
    _, pairs, possible = covering(operator, thorough)
    table, calls = factors(operator, thorough), [*_rows(operator, thorough, groups)]
    longest = max(value for row in calls for value in row.values() if type(value) is int)
    classes = sum(map(len, table.values()))
    return Coverage(len(table), classes, pairs, possible, len(calls), longest)


def case(operator: str, row: Row, precision: Arithmetic) -> Case:
    """The call that a row of the table describes."""
    dtype, which = TYPES[row["type"]]
    precision = precision._replace(eps=max(precision.eps, roundoff(row)))
    call = valued(TABLE[operator].made(row), row["values"], precision)
    typed = [a if a is None or i not in which else a.astype(dtype) for i, a in enumerate(call.arrays)]
    call = call._replace(arrays=tuple(typed))
    codes = _codes(row)
    lines = [code.format(name) for name, code in zip(call.names, codes, strict=False) if code and name in call.named]
    laid = tuple(a if a is None else _laid(code, a) for code, a in zip(codes, typed, strict=False))
    return Case(call._replace(arrays=laid), lines, row, call)


def roundoff(row: Row) -> float:
    """The unit roundoff that a call may be answered with because of the types of its arrays, in whatever precision the backend is."""
    dtype, which = TYPES[row["type"]]
    return float(np.finfo(dtype).eps) / 2 if which else 0.0


def _codes(row: Row) -> list[str]:
    """The code that lays out each array of a call."""
    if row["layout"] != OTHERS:
        return [LAYOUTS[row["layout"]]] * 3
    turn = sum(row[side] for side in SIDES)
    return ["", *[LAYOUTS[OTHER[turn % len(OTHER)]]] * 2]


def _laid(code: str, array: Array) -> Array:
    scope: dict[str, Any] = {"np": np, "array": array}
    exec(compiled(code.format("array")), scope)
    return np.asarray(scope["array"])
