"""Cases that a check always looks at, the same everywhere: what it must catch does not hang on what is drawn.

They are the golden vectors, and calls whose arrays are long along one axis at a time, where programs that work in blocks
of 4, 8, 16 or 32 have their tails; `loops` runs them in no time.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from itertools import product
from math import prod
from typing import Any

import numpy as np

from ..arguments import Array
from ..layers import AvgPool, Concat, Conv, Gate, MaxPool, ReLU, Select, Sum
from ..network import Network
from . import conditions, vectors
from .calls import Call
from .operators import TABLE, Row


@lru_cache(maxsize=64)
def calls(operator: str, values: str = "integers", mode: str | None = None) -> tuple[Call, ...]:
    """Short calls: those of whole numbers that half precision holds; as reals the others, and a third of the former."""
    everything = [*_golden(operator, mode), *_made(operator, conditions.every_class(conditions.plain(operator)), mode)]
    if operator == "softmax":
        spread = 1000.0 * (np.arange(8) % 3 - 1).reshape(2, 1, 2, 2)
        return (*everything, Call(operator, (tiled(2, 2, 2, 2) + spread,), {}))
    whole = [call for call in everything if _whole(call)]
    if values == "integers":
        return tuple(whole)
    thirds = [call._replace(arrays=tuple(None if a is None else a / 3 for a in call.arrays)) for call in whole]
    return (*(call for call in everything if not _whole(call)), *thirds)


@lru_cache(maxsize=64)
def long_calls(operator: str, mode: str | None = None) -> tuple[Call, ...]:
    """Calls with every pair of windows and other options; and with many images, channels, filters, rows or columns."""
    return tuple(_made(operator, (*conditions.plain(operator), *conditions.longer(operator)), mode))


def probe(operator: str, mode: str | None = None, images: int = 8) -> Call:
    """A call with several images, channels and filters, unequal sides, a bias and pads."""
    (call,) = _made(operator, [conditions.probe(operator, images)], mode)
    return call


def refused(call: Call) -> Call:
    """The call with arrays that do not fit each other, or have a dimension too few."""
    x, *others = call.arrays
    assert x is not None
    wrong = {"correlate": x[:, :0], "substitute": x[:, :-1]}.get(call.operator, x[0, 0])
    return call._replace(arrays=(wrong, *others))


def _made(operator: str, rows: Iterable[Row], mode: str | None) -> list[Call]:
    """The calls of these rows, of unpooling in one mode alone if one is given."""
    found = (TABLE[operator].made(row if mode is None else {**row, "mode": mode}) for row in rows)
    return list({repr(call): call for call in found}.values())


def grouped(operator: str, values: str = "integers") -> list[Call]:
    """Calls of `correlate` or `substitute` in groups: several of several channels, and one for each channel."""
    found = []
    kinds = ((2, 3, 2), (3, 2, 1), (4, 1, 1), (2, 1, 3))
    for (groups, share, width), window in product(kinds, ((2, 3), (3, 3), (1, 1))):
        filters = tiled(groups * share, width, *window, most=2)
        x = tiled(2, groups * width if operator == "correlate" else len(filters), 4, 5)
        bias = (tiled(len(filters)),) if operator == "correlate" else ()
        options = {"stride": (1, 2), **({"pad": (1, 0, 0, 2)} if bias else {}), "groups": groups}
        arrays = (x, filters, *bias)
        found.append(Call(operator, arrays if values == "integers" else tuple(a / 3 for a in arrays), options))
    return found


@lru_cache(maxsize=1)
def graphs() -> tuple[Network, ...]:
    """Networks that branch, of small integers: what people build, with sides that all differ."""

    def conv(k: int, c: int, *size: int, **options: Any) -> Conv:
        return Conv(tiled(k, c, *size, most=2), tiled(k), **options)

    residual = Network(
        [
            *(conv(3, 2, 2, 3, pad=(1, 0, 0, 2)), ReLU(leak=0.5, gain=[2, 1, -1]), conv(3, 3, 3, 3, pad=(2, 0, 1, 1))),
            *(conv(3, 3, 1, 2, pad=(0, 0, 0, 1)), Sum(), MaxPool(2, gain=[1, 3, 2])),
        ],
        inputs=[0, 1, 2, 2, (3, 4, 2), 5],
        input_shape=(2, 6, 8),
    )
    shortcut = Network(
        [
            *(
                conv(2, 1, 3, 2, pad=(1, 1, 1, 0)),
                conv(3, 2, 3, 3, stride=2, pad=1),
                ReLU(),
                conv(3, 3, 2, 1, pad=(1, 0, 0, 0)),
            ),
            *(Select([1, -1, 0], stride=2, start=(0, 1)), Sum(), ReLU(gain=0.5), conv(2, 3, 2, 2)),
        ],
        inputs=[0, 1, 2, 3, 1, (5, 4), 6, 7],
        input_shape=(1, 7, 10),
    )
    dense = Network(
        [
            *(
                conv(2, 2, 1, 2, pad=(0, 0, 1, 0)),
                conv(3, 2, 3, 2, pad=(0, 2, 1, 0)),
                Concat(),
                AvgPool((2, 1), (1, 1)),
            ),
            *(Select([3, 0, 6, 1, 5, 2, 4, 4]), conv(4, 4, 2, 2, groups=2, stride=(1, 2)), Sum()),
        ],
        inputs=[0, 1, (1, 2, 0), 3, 4, 5, (6, 6)],
        input_shape=(2, 6, 7),
    )
    gate = Network(
        [
            *(conv(3, 1, 2, 3, pad=(0, 1, 0, 2)), conv(1, 3, 3, 1, pad=(1, 1, 0, 0)), Gate(gain=[2, -1, 3])),
            *(conv(3, 1, 2, 2, pad=(1, 0, 1, 0), groups=3), Sum(), MaxPool((1, 2), (2, 3), gain=2)),
        ],
        inputs=[0, 1, (1, 2), 3, (4, 1, 3), 5],
        input_shape=(1, 5, 8),
    )
    return residual, shortcut, dense, gate


def passes(values: str = "integers") -> list[tuple[Network, Array]]:
    """Golden networks and `graphs`, with images: of small integers, or of reals."""
    found: list[tuple[Network, Array]] = []
    for net in graphs():
        assert net.input_shape is not None
        found.append((net, tiled(1, *net.input_shape, most=2) / (1 if values == "integers" else 3)))
    for case in vectors.cases():
        if case.operator == "forward":
            assert case.net is not None
            x = case.arrays["x"]
            assert x is not None
            exact = case.id != "forward-reals"
            if values == "reals" or exact:
                found.append((case.net, x / 3 if exact and values == "reals" else x))
    return found


def units(mode: str) -> list[tuple[Network, int, int]]:
    """Golden networks and `graphs`, each with a layer and a unit."""
    return [(net, len(net.layers), 1) for net in graphs()] + [
        (case.net, case.parameters["layer"], case.parameters["k"])
        for case in vectors.cases()
        if case.operator == "decode_filter" and case.net is not None and case.parameters["mode"] == mode
    ]


def _golden(operator: str, mode: str | None) -> list[Call]:
    """Of version 2: conditions have what came since. Those with NaN are left to the vectors, as `nan_comes_out` spoils others."""
    found = [_call(case) for case in vectors.cases() if case.operator == operator and case.valid and case.since < 3]
    found = [call for call in found if mode in (None, call.options.get("mode"))]
    return [call for call in found if all(a is None or (a.size and np.isfinite(a).all()) for a in call.arrays)]


def _whole(call: Call) -> bool:
    return all(a is None or ((a == np.rint(a)).all() and np.abs(a).max() <= 2048) for a in call.arrays)


def _call(case: vectors.Case) -> Call:
    return Call(case.operator, tuple(case.arrays.values()), case.parameters)


def tiled(*shape: int, most: int = 3) -> Array:
    """−most … most, over and over: 5 or 7 numbers, so that no length above repeats them."""
    return np.resize(np.arange(-most, most + 1.0), prod(shape)).reshape(shape)


def mixed(*shape: int, step: int = 3) -> Array:
    """−3 … 3 in no order that repeats: what channels or places that are exchanged give differs."""
    i = np.arange(prod(shape))
    return ((i * step + i * i // 5 + i**3 // 11) % 7 - 3.0).reshape(shape)
