"""What happens to a backend right before a call is judged: the condition *history* of `conditions`.

Every call is made twice. Between the two, something happens: the arrays change in place, arrays of the same shape come and go, another call is made that
is refused, or has other options, the answer is written to, or the maps become an answer of the backend; or the second call is made in another
thread, or with two axes of an array exchanged, in the same memory. It is told as lines of code, which the check runs and a failure prints.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from typing import Any, NamedTuple

from ..arguments import Array
from ..interpolation import MODES
from .calls import Call
from .operators import TABLE, Row

MAPS, WEIGHTS, BIAS = "the maps changed in place", "the weights changed in place", "the bias changed in place"
WRITTEN, GONE, THREAD = "the answer written to", "memory that is used again", "in another thread"
OWN = "an answer of the backend's for the maps"
TURNED = "two axes of the weights exchanged"  # or of the maps, if two sides are equal; else as MAPS
OPTIONS, REFUSED, SPOILT = "a call with other options", "a call that is refused", "a call with not-a-number"
WRONG = {"correlate": "[:, :0]", "substitute": "[:, :-1]"}  # a part of the maps that must be refused; else "[0, 0]"


class History(NamedTuple):
    """What happens after the first call, which gave `first`.

    Attributes
    ----------
    lines : list of str
        It, as code.
    again : str
        The second call as code, if it is not the same.
    changes : bool
        Whether the second call has other numbers in it.
    given : dict of str to ndarray
        The arrays that it is given in place of those of the first; those that change in place are not among them.
    turned : bool
        Whether these lie in another order, so that other bounds hold.
    options : dict, optional
        Those of a call in between, whose answer is `other` unless it is refused.
    """

    lines: list[str]
    again: str = ""
    changes: bool = False
    given: Mapping[str, Array] = {}
    turned: bool = False
    options: dict[str, Any] | None = None


def histories(operator: str) -> tuple[str, ...]:
    """Those that there are for an operator, the plain one first."""
    known = TABLE[operator].factors
    weights = [WEIGHTS] * ("filters" in known) + [BIAS] * ("bias" in known)
    return (MAPS, *weights, GONE, TURNED, *[OPTIONS] * bool(known), REFUSED, SPOILT, WRITTEN, OWN, THREAD)


def history(call: Call, row: Row, layout: list[str], threads: bool) -> History:
    """That of a row, for its call; `layout` is the code that lays out its arrays, and `threads` whether there may be several."""
    kind, names, asked = row.get("history", MAPS), call.names, call.by_name()
    first = names[0]
    if kind == WRITTEN:
        lines = ["if isinstance(first, np.ndarray) and first.flags.writeable:", "    first[...] = 77"]
        return History([*lines, "before = np.array(first)"])
    turn = sum(map(sum, (array.shape for array in call.named.values())))
    if kind == OWN:
        return History(_own(call, turn), asked)
    if kind == GONE:
        return _gone(call, [] if "repeated" in row["layout"] else layout)  # which another layout would change
    if kind == TURNED and (turned := _turned(call)):
        return turned
    wanted = {WEIGHTS: names[1:2], BIAS: names[2:]}.get(kind, ())
    able = [name for name in (*wanted, first) if name in call.named and call.named[name].flags.writeable]
    lines = [f"{able[0]}[...] = -{able[0]}"] if able else []
    if kind == WEIGHTS and able and able[0] != first and (size := call.named[able[0]].size):
        place = {1: -1, 2: size // 2}.get(turn % 3)  # the last weight alone, or one in the middle; else all
        lines = lines if place is None else [f"{able[0]}.flat[{place}] *= -1"]
    options = _others(call.options, turn) if kind == OPTIONS else {}
    other = {
        OPTIONS: lambda: f"other = {call._replace(options=options).by_name()}",
        REFUSED: lambda: asked.replace(f"({first}", f"({first}{WRONG.get(call.operator, '[0, 0]')}", 1),
        SPOILT: lambda: _spoilt(call, turn),
    }.get(kind)
    if other is not None:
        lines = [*_perhaps(other()), *lines]
    if kind == THREAD and threads:
        lines = ["from concurrent.futures import ThreadPoolExecutor", *lines]
        return History(lines, f"ThreadPoolExecutor(1).submit(lambda: {asked}).result()", bool(able))
    return History(lines, "", bool(able), options=options)


def _own(call: Call, turn: int) -> list[str]:
    """The maps become what an operator of the backend made of them, if it changed no number: as in a network, where layers follow each other."""
    maps = call.names[0]
    channels = call.named[maps].shape[1]
    turn = turn if channels <= 256 else 1  # or the bank of filters that copy would be too large
    copied = (
        f"correlate({maps}, np.eye({channels})[:, :, None, None], None, stride=(1, 1), pad=(0, 0, 0, 0))",
        f"relu({maps}, leak=1.0)",
        f"max_pool({maps}, size=(1, 1), stride=(1, 1), pad=(0, 0, 0, 0))",
    )
    return _perhaps(
        f"own = backend.{copied[turn % len(copied)]}",
        f"{maps} = own if isinstance(own, np.ndarray) and np.array_equal(own, {maps}) else {maps}",
    )


def _perhaps(*lines: str) -> list[str]:
    """The lines, of which the backend may refuse any."""
    return ["import contextlib", "with contextlib.suppress(Exception):", *(f"    {line}" for line in lines)]


def _gone(call: Call, layout: list[str]) -> History:
    """The call is made with copies, which go, and again with copies that may come to lie where they lay; the last but the bias has another sign.

    Copies are made in the reverse of the order in which they go, so that each gets the place, and the identity, of the one before.
    """
    given = [name for name in call.names if name in call.named]
    changed = [name for name in given if name != "bias"][-1]
    lines = [
        f"minus = -{changed}",
        f"def asked({', '.join(given)}):",
        *(f"    {name} = np.array({name})" for name in reversed(given)),
        *(f"    {line}" for line in layout),
        f"    return {call.by_name()}",
        f"asked({', '.join(given)})",
    ]
    return History(
        lines,
        f"asked({', '.join('minus' if name == changed else name for name in given)})",
        True,
        {changed: -call.named[changed]},
    )


def _turned(call: Call) -> History | None:
    """The call is made again with two axes of the weights exchanged, or else of the maps: of the same shape, in the same memory.

    None if no two sides are equal; then the maps change their sign.
    """
    for name, (a, b) in product(reversed(call.names[:2]), ((2, 3), (0, 1))):
        array = call.named[name]
        if array.shape[a] == array.shape[b] > 1:
            turned = {name: array.swapaxes(a, b)}
            return History([f"{name} = {name}.swapaxes({a}, {b})"], call.by_name(), True, turned, True)
    return None


def _others(options: dict[str, Any], turn: int) -> dict[str, Any]:
    """The options, one of which is another; it may be one with which the call must be refused."""
    name = (names := [name for name in options if name not in ("size", "groups")])[turn % len(names)]
    old = options[name]
    if name == "stride":
        new: Any = (2, 1) if old == (1, 1) else (1, 1)
    elif name == "pad":
        top, bottom, left, right = old
        new = (bottom, top, right, left) if (top, left) != (bottom, right) else (top + bottom, 0, 0, left + right)
        new = new if any(new) else (0, 1, 1, 0)
    elif name == "mode":
        new = MODES[MODES.index(old) - 1]
    else:
        new = 0.5 if old != 0.5 else 2.0
    return {**options, name: new}


def _spoilt(call: Call, turn: int) -> str:
    """The call with nothing but not-a-number in one of its arrays: not in one of zeros, of which the call may be a case."""
    names = [name for name in call.names if name in call.named]
    able = [name for name in names if call.named[name].any()] or names
    one = able[turn % len(able)]
    return call.code(
        [f"np.full_like({name}, np.nan)" if name == one else name if name in names else "None" for name in call.names]
    )
