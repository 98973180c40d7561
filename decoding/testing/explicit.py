"""Cases that a check always looks at, whatever hypothesis draws, so that what it must find does not depend on chance.

They are the golden vectors, and calls and networks with every class of the conditions that do not concern memory.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from itertools import product

import numpy as np

from ..arguments import Array
from ..interpolation import MODES
from ..layers import Conv, Sum
from ..network import Network
from . import conditions, networks, vectors
from .calls import Call
from .numbers import extreme
from .operators import TABLE, Row, varied

# A call of several images, channels and filters, with unequal sides and all options.
PROBE: Row = {
    "images": 8, "channels": 2, "filters": 3, "rows": 4, "columns": 5, "window": ((2, 2), (1, 2)), "pad": "one all around", "bias": True,
    "leak": 0.25,
}  # fmt: skip


@lru_cache(maxsize=64)
def calls(operator: str, values: str = "integers", mode: str | None = None) -> tuple[Call, ...]:
    """Short calls: those of whole numbers that half precision holds; as reals the others, and a third of the former."""
    everything = [*_golden(operator, mode), *_made(operator, conditions.short(operator), mode)]
    if operator == "softmax":
        return (*everything, extreme(probe(operator)))
    whole = [call for call in everything if _whole(call)]
    if values == "integers":
        return tuple(whole)
    return (*(call for call in everything if not _whole(call)), *map(_third, whole))


def probe(operator: str, mode: str | None = None) -> Call:
    """A call with several images, channels and filters, unequal sides, a bias and pads."""
    (call,) = _made(operator, [conditions.plain(operator, **PROBE)], mode)
    return call


def probes(operators: Iterable[str]) -> list[Call]:
    """A probe of each operator, in each mode."""
    return [probe(operator, mode) for operator in operators for mode in (MODES if operator == "unpool" else (None,))]


def _made(operator: str, rows: Iterable[Row], mode: str | None) -> list[Call]:
    """The calls of these rows, of unpooling in one mode alone if one is given."""
    found = (TABLE[operator].made(row if mode is None else {**row, "mode": mode}) for row in rows)
    return list({repr(call): call for call in found}.values())


def grouped(operator: str, values: str = "integers") -> list[Call]:
    """Calls of `correlate` or `substitute` in groups: several of several channels, and one for each channel."""
    found = []
    for (groups, share, width), window in product(
        ((2, 3, 2), (3, 2, 1), (4, 1, 1), (2, 1, 3)), ((2, 3), (3, 3), (1, 1))
    ):
        sides = (width, share) if operator == "correlate" else (share, width)
        row = {"images": 2, "rows": 4, "columns": 5, "window": (window, (1, 2)), "pad": "all different", "bias": True}
        row |= {"groups": groups, "channels": groups * sides[0], "filters": groups * sides[1]}
        found.append(TABLE[operator].made(row))
    return found if values == "integers" else list(map(_third, found))


def passes(values: str = "integers") -> list[tuple[Network, Array]]:
    """Golden networks with images, of small integers or of reals."""
    found: list[tuple[Network, Array]] = []
    for case in vectors.cases():
        if case.net is not None and case.operator == "forward":
            x, exact = case.arrays["x"], case.id != "forward-reals"
            if values == "reals" or exact:
                found.append((case.net, x / 3 if exact and values == "reals" else x))
    return found


def units(mode: str) -> list[tuple[Network, int, int]]:
    """Golden networks, each with a layer and a unit; and one whose places do not fit in a byte."""
    golden = [
        (case.net, case.parameters["layer"], case.parameters["k"])
        for case in vectors.cases()
        if case.operator == "decode_filter" and case.net is not None and case.parameters["mode"] == mode
    ]
    return [*golden, (_far(), 4, 0)]


def _far() -> Network:
    """Branches of large steps, whose parts lie 300 pixels before the unit, and at it."""
    one, tall = varied(2, 2, 1, 1), varied(2, 2, 4, 1, most=2)
    layers = [Conv(varied(2, 1, 1, 2), stride=(150, 1)), Conv(tall, pad=(2, 1, 0, 0)), Conv(one), Sum()]
    return Network(layers, inputs=[(0,), (1,), (1,), (2, 3)], input_shape=(1, 451, 2))


@lru_cache(maxsize=1)
def linear() -> tuple[Network, ...]:
    """Networks of small integers for the laws, which no softmax may end: golden ones, and some of all conditions."""
    return (*(net for net, _ in passes()), *(case.net for case in networks.few()))


def _golden(operator: str, mode: str | None) -> list[Call]:
    """Of version 2: conditions have what came since. Those with NaN are left to the vectors, as `nan_comes_out` spoils others."""
    found = [_call(case) for case in vectors.cases() if case.operator == operator and case.valid and case.since < 3]
    found = [call for call in found if mode in (None, call.options.get("mode"))]
    return [call for call in found if all(a is None or (a.size and np.isfinite(a).all()) for a in call.arrays)]


def _whole(call: Call) -> bool:
    return all(a is None or ((a == np.rint(a)).all() and np.abs(a).max() <= 2048) for a in call.arrays)


def _third(call: Call) -> Call:
    return call._replace(arrays=tuple(None if a is None else a / 3 for a in call.arrays))


def _call(case: vectors.Case) -> Call:
    return Call(case.operator, tuple(case.arrays.values()), case.parameters)
