"""Cases that a check always looks at, the same everywhere: what it must catch does not hang on what is drawn.

They are the golden vectors, and calls whose arrays are long along one axis at a time, where programs that work in blocks
of 4, 8, 16 or 32 have their tails; `loops` runs them in no time.
"""

from __future__ import annotations

from functools import lru_cache
from math import prod
from typing import Any

import numpy as np

from ..arguments import Array
from ..interpolation import MODES
from ..layers import AvgPool, Concat, Conv, Gate, MaxPool, ReLU, Select, Sum
from ..network import Network
from . import vectors
from .calls import Call

LENGTHS = (8, 9, 16, 17, 33)


@lru_cache(maxsize=64)
def calls(operator: str, values: str = "integers", mode: str | None = None) -> tuple[Call, ...]:
    """Short calls: those of whole numbers that half precision holds; as reals the others, and a third of the former."""
    everything = [*_golden(operator), *_short(operator)]
    if mode is not None:
        everything = [call for call in everything if call.options["mode"] == mode]
    if operator == "softmax":
        return tuple(everything)
    whole = [call for call in everything if _whole(call)]
    if values == "integers":
        return tuple(whole)
    thirds = [Call(operator, tuple(None if a is None else a / 3 for a in call.arrays), call.options) for call in whole]
    return (*(call for call in everything if not _whole(call)), *thirds)


@lru_cache(maxsize=64)
def long_calls(operator: str, mode: str | None = None) -> tuple[Call, ...]:
    """Calls with many images, channels, filters, rows or columns, of the maps or of the window; long steps and pads."""
    sides = {"n": 2, "c": 2, "k": 3, "rows": 3, "columns": 4, "h": 2, "w": 2, "step": 2, "pad": 1}
    found = {}
    for axis in sides:
        for length in LENGTHS:
            s = {**sides, axis: length}
            if operator in ("correlate", "max_pool", "avg_pool"):  # the window fits
                s["rows"], s["columns"] = max(s["rows"], s["h"] + 1), max(s["columns"], s["w"] + s["step"])
            for chosen in MODES if mode is None else (mode,):
                call = _long(operator, s, chosen)
                found[repr(call)] = call
    return tuple(found.values())


def refused(*names: str) -> list[Call]:
    """Golden calls that must be refused."""
    golden = {case.id: case for case in vectors.cases()}
    return [_call(golden[f"refused-{name}"]) for name in names]


def grouped(operator: str, values: str = "integers") -> list[Call]:
    """Calls of `correlate` or `substitute` in groups: several of several channels, and one for each channel."""
    found = []
    for groups, share, width in ((2, 3, 2), (3, 2, 1), (4, 1, 1), (2, 1, 3)):
        filters = tiled(groups * share, width, 2, 3, most=2)
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


@lru_cache(maxsize=1)
def deep() -> Network:
    """A chain of many layers: dilated both ways, in more groups than three, one channel a group."""

    def conv(k: int, c: int, *size: int, **options: Any) -> Conv:
        return Conv(mixed(k, c, *size) // 2, tiled(k), **options)

    return Network(
        [
            *(conv(4, 2, 2, 2, dilation=(2, 2)), ReLU(), conv(4, 1, 1, 3, groups=4), ReLU(leak=0.5), conv(6, 4, 1, 1)),
            *(conv(6, 1, 2, 1, groups=6, dilation=(3, 1)), ReLU(), MaxPool(2), conv(2, 6, 1, 1), ReLU()),
            *(conv(3, 2, 1, 2, stride=(1, 2)), ReLU(), conv(2, 3, 1, 1)),
        ],
        input_shape=(2, 12, 15),
    )


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
    return [(net, len(net.layers), 1) for net in (*graphs(), deep())] + [
        (case.net, case.parameters["layer"], case.parameters["k"])
        for case in vectors.cases()
        if case.operator == "decode_filter" and case.net is not None and case.parameters["mode"] == mode
    ]


def _golden(operator: str) -> list[Call]:
    """Of version 2: conditions have what came since. Those with NaN are left to the vectors, as `nan_comes_out` spoils others."""
    found = [_call(case) for case in vectors.cases() if case.operator == operator and case.valid and case.since < 3]
    return [call for call in found if all(a is None or (a.size and np.isfinite(a).all()) for a in call.arrays)]


def _whole(call: Call) -> bool:
    return all(a is None or ((a == np.rint(a)).all() and np.abs(a).max() <= 2048) for a in call.arrays)


def _call(case: vectors.Case) -> Call:
    return Call(case.operator, tuple(case.arrays.values()), case.parameters)


def _short(operator: str) -> list[Call]:
    """What is special: squares, where exchanged axes fit; the same arrays with other options; windows of one cell, or of
    the whole map; maps of one cell; what leaves the maps as they are.
    """
    x, none = tiled(2, 2, 3, 3), (0, 0, 0, 0)
    square, whole = tiled(2, 2, 2, 2, most=2), tiled(2, 2, 3, 3, most=2)
    if operator == "correlate":
        pixel, one, bias = tiled(2, 2, 1, 1), np.ones((1, 1, 1, 1)), np.array([5.0, -7])
        correlations: list[tuple[Array, Array, Array | None, Any, Any]] = [
            *((x, square, None, stride, none) for stride in ((1, 1), (2, 2))),
            *((x, square, None, (1, 1), (1, 1, 1, 1)), (x, square, None, (2, 1), (1, 0, 0, 1))),
            *((x[:, :, :2, :2], square, bias, (1, 2), none), (x[:1, :1], square[:, :1], bias, (2, 1), (0, 1, 2, 0))),
            *((x, pixel, bias, stride, none) for stride in ((1, 1), (1, 2), (2, 1))),
            *((x, pixel, bias, (1, 1), (1, 0, 0, 2)), (x[:, :1], one, None, (1, 1), none)),
            *((x, whole[:1], bias[:1], (1, 1), none), (x, whole[:1], bias[:1], (2, 3), (1, 0, 2, 0))),
        ]
        return [Call(operator, case[:3], {"stride": case[3], "pad": case[4]}) for case in correlations]
    if operator == "substitute":
        row, one = tiled(2, 2, 1, 3, most=2), np.ones((1, 1, 1, 1))
        substitutions: list[tuple[Array, Array, Any]] = [
            *((x, square, stride) for stride in ((1, 1), (2, 2), (1, 3), (3, 1), (3, 4))),
            *((x, row, stride) for stride in ((1, 2), (2, 1), (1, 3))),
            *((x[:, :, :1, :1], square, (1, 2)), (x[:, :, :1, :2], whole, (2, 1))),
            *((x, tiled(2, 2, 1, 1), (1, 2)), (x[:, :1], one, (1, 1))),
        ]
        return [Call(operator, case[:2], {"stride": case[2]}) for case in substitutions]
    if operator in ("max_pool", "avg_pool"):
        pools: list[tuple[Any, Any, Any]] = [
            *(((1, 1), (1, 1), none), ((1, 1), (1, 2), none), ((2, 1), (1, 2), none), ((2, 2), (1, 1), none)),
            *(((2, 2), (2, 2), none), ((2, 2), (2, 2), (1, 1, 1, 1)), ((3, 3), (1, 2), none)),
            ((3, 3), (2, 1), (1, 0, 2, 1)),
        ]
        return [
            Call(operator, (maps,), {"size": size, "stride": stride, "pad": pad})
            for size, stride, pad in pools
            for maps in (x, x[:, :1], -np.abs(x) - 1)
        ]
    if operator == "unpool":
        sizes = [
            *(((1, 1), (1, 1)), ((1, 1), (1, 2)), ((2, 2), (2, 2)), ((2, 2), (1, 1)), ((2, 2), (4, 4))),
            *(((1, 2), (2, 1)), ((1, 3), (2, 1)), ((3, 3), (2, 1))),
        ]
        unpoolings = [(x, *options) for options in sizes]
        for maps in (x[:, :1], x[:, :, :1], x[:, :, :1, :1]):
            unpoolings += [(maps, (3, 3), (2, 1)), (maps, (1, 2), (1, 4))]
        return [
            Call(operator, (maps,), {"size": size, "stride": stride, "mode": mode})
            for mode in MODES
            for maps, size, stride in unpoolings
        ]
    if operator == "relu":
        return [Call(operator, (x,), {"leak": leak}) for leak in (0.0, 1.0, 0.25, 2.0, -1.0)]
    spread = 1000.0 * (np.arange(8) % 3 - 1).reshape(2, 1, 2, 2)
    return [Call(operator, (maps,), {}) for maps in (tiled(2, 2, 2, 2) + spread, x / 3, np.ones((1, 1, 1, 1)))]


def _long(operator: str, s: dict[str, int], mode: str) -> Call:
    pair = s["h"], s["w"]
    if operator == "correlate":
        arrays = tiled(s["n"], s["c"], s["rows"], s["columns"]), tiled(s["k"], s["c"], *pair, most=2), tiled(s["k"])
        return Call(operator, arrays, {"stride": (1, s["step"]), "pad": (0, 1, s["pad"], 0)})
    if operator == "substitute":
        maps = tiled(s["n"], s["k"], s["rows"], s["columns"])
        return Call(operator, (maps, tiled(s["k"], s["c"], *pair, most=2)), {"stride": (1, s["step"])})
    x = tiled(s["n"], s["c"], s["rows"], s["columns"])
    if operator in ("max_pool", "avg_pool"):
        return Call(operator, (x,), {"size": pair, "stride": (1, s["step"]), "pad": (s["h"] - 1, 0, 0, s["w"] - 1)})
    if operator == "unpool":
        return Call(operator, (x,), {"size": pair, "stride": pair, "mode": mode})
    return Call(operator, (x,), {"leak": 0.25} if operator == "relu" else {})


def tiled(*shape: int, most: int = 3) -> Array:
    """−most … most, over and over: 5 or 7 numbers, so that no length above repeats them."""
    return np.resize(np.arange(-most, most + 1.0), prod(shape)).reshape(shape)


def mixed(*shape: int, step: int = 3) -> Array:
    """−3 … 3 in no order that repeats: what channels or places that are exchanged give differs."""
    i = np.arange(prod(shape))
    return ((i * step + i * i // 5 + i**3 // 11) % 7 - 3.0).reshape(shape)
