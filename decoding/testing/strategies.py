"""Hypothesis strategies for arrays, calls of operators and whole networks.

What is drawn are the conditions of `operators` and `networks`, in any combination, three together and more, so that a mistake
shows: the sides of an array differ, fillings are not symmetric, strides and pads differ between rows and columns, sizes often
do not divide. What shrinks, shrinks towards one image, one channel, a few cells in a row and the filling 1, 2, 3, …, which a
person can read.

`values` is ``"integers"``, small whole numbers whose sums stay exact in any floating-point format, or ``"reals"``.
"""

from __future__ import annotations

import contextlib
import math
from functools import lru_cache
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from ..arguments import Array
from ..errors import ShapeError
from ..layers import LRN, BatchNorm, Conv, Layer, Sigmoid, Softmax
from ..network import Network
from . import conditions
from . import networks as model
from .calls import Call
from .networks import VALUES, Sketch
from .numbers import extreme
from .operators import PADS, TABLE

__all__ = ["VALUES", "calls", "fillings", "images_for", "maps", "networks"]

LIMIT = 4  # of small integers
FILLINGS = ("ramp", "mixed", "mixed", "mixed", "negative", "impulse", "zeros")
LARGEST = 25  # cells of a window
KINDS = ("conv", "relu", "pool", "join")  # a network has them over and over, a convolution first, the others in turn


@lru_cache(maxsize=1024, typed=True)
def _one_of(*values: Any) -> SearchStrategy[Any]:
    """One of these; made once, as hypothesis takes longer to make a strategy than to draw from it."""
    return st.sampled_from(values)


@lru_cache(maxsize=1024)
def _integers(least: int, most: int) -> SearchStrategy[int]:
    return st.integers(least, most)


@st.composite
def fillings(draw: DrawFn, shape: tuple[int, ...], values: str = "integers", *, limit: int = LIMIT) -> Array:
    """An array of the given shape, float64: a ramp, a mixture, negative only, one impulse, or zeros.

    Whole numbers from −`limit` to `limit`; as reals, numbers of a few decimals, all scaled by one power of two.
    """
    filling, count = draw(_one_of(*FILLINGS)), int(np.prod(shape))
    if filling == "zeros":
        return np.zeros(shape)
    if filling == "impulse":
        impulse = np.zeros(count)
        if count:
            impulse[draw(_integers(0, count - 1))] = draw(_one_of(1.0, -2.0))
        return impulse.reshape(shape)
    random = np.random.default_rng(draw(_integers(0, 2**16)))
    if values == "integers":
        whole = np.arange(count) % limit + 1 if filling == "ramp" else random.integers(-limit, limit + 1, count)
        array = whole.astype(np.float64)
    else:
        array = np.arange(count) % 97 / 8 + 0.1 if filling == "ramp" else random.normal(size=count).round(3)
        array = array * 2.0 ** draw(_one_of(0, 0, 0, 3, -3))
    if filling == "negative":
        array = -np.abs(array) - (values == "integers")
    return array.reshape(shape)


@st.composite
def _sizes(draw: DrawFn, rows: int = 1, columns: int = 1, more: int = 5) -> tuple[int, int]:
    """Rows and columns, so many at least and `more` at most on top of them: not as many of both, but for one cell."""
    rows, columns = rows + draw(_integers(0, more)), columns + draw(_integers(0, more))
    return (rows, columns) if rows != columns or rows == 1 else (rows, columns + 1)


@st.composite
def maps(draw: DrawFn, values: str = "integers") -> Array:
    """Maps (N, C, H, W), of one pixel or of sides that differ."""
    return draw(fillings((draw(_one_of(1, 2, 3)), draw(_one_of(1, 2, 3, 5)), *draw(_sizes())), values))


@st.composite
def calls(
    draw: DrawFn, operator: str, values: str = "integers", *, mode: str | None = None, grouped: bool = False
) -> Call:
    """Calls of the operator of that name; `mode` fixes the interpolation of ``unpool``, `grouped` ones have groups."""
    record = TABLE[operator]
    row = {side: draw(_one_of(1, 2, 3, 5)) for side in conditions.sides(operator)}
    for name, classes in record.factors.items():
        if name == "window":
            small = (window for window in classes or () if math.prod(window[0]) <= LARGEST)
            row[name] = draw(_one_of(*sorted(small, key=lambda window: math.prod(window[0]))))
        elif name == "pad":
            row |= {"rows": 99, "columns": 99}
            row[name] = draw(_one_of(*(pad for pad in classes or () if record.products({**row, name: pad}) < math.inf)))
        elif classes is not None:
            row[name] = draw(_one_of(*classes))
    if mode is not None:
        row["mode"] = mode
    if grouped:
        groups = row["groups"] = draw(_one_of(2, 3))
        row |= {"channels": groups * row["channels"], "filters": groups * row["filters"]}
    least = (1, 1)
    if "pad" in row:
        top, bottom, left, right = PADS[row["pad"]](*row["window"][0])
        (h, w), _ = row["window"]
        least = max(h - top - bottom, 1), max(w - left - right, 1)
    row["rows"], row["columns"] = draw(_sizes(*least, more=5 if "pad" in row else 4))
    call = record.made(row)
    filled = (
        None if a is None else draw(fillings(a.shape, values, limit=3 if a.ndim == 4 and i else LIMIT))
        for i, a in enumerate(call.arrays)
    )
    call = call._replace(arrays=tuple(filled))
    return extreme(call, draw(_one_of(0, 1, -1))) if operator == "softmax" else call


@st.composite
def networks(draw: DrawFn, values: str = "integers", *, most: int = 4, kinds: tuple[str, ...] = KINDS) -> Network:
    """Networks with the size of their images, of layers of these `kinds`, until there are `most` or a little more.

    Kinds are those of `networks`: ``"conv"``, which every network has, ``"relu"``, ``"pool"`` and ``"join"``; ``"norm"``, layers
    that a network computes without a backend; and ``"softmax"``, which may end it. What does not fit the maps is left out.
    """
    steps = {"conv": model.convolved, "relu": model.rectified, "pool": model.pooled, "join": model.joined}
    net, top, count = Sketch((draw(_one_of(1, 2, 3)), *draw(_sizes(3, 3, 7)))), 0, draw(_integers(1, most))
    while len(net.layers) < count:
        row = {
            name: draw(_one_of(*classes))
            for name, classes in model.FACTORS.items()
            if name not in ("depth", "images", "mode")
        }
        turn = draw(_integers(1, 3))
        for kind in (
            kind for kind in (KINDS[0], *KINDS[turn:], *KINDS[1:turn]) if kind in kinds and len(net.layers) < count
        ):
            with contextlib.suppress(ShapeError):
                top = steps[kind](net, top, row)
                continue
            if kind == "conv":
                top = steps[kind](net, top, row | {"window": (1, 1)})
        if "norm" in kinds and draw(_one_of(False, True)):
            top = net.put(draw(_norms(net.shapes[top][0], values)), top)
    if "softmax" in kinds and draw(_one_of(False, True)):
        net.put(Softmax(), top)
    drawn = net.network()
    return drawn.replace(layers=[draw(_refilled(layer, values)) for layer in drawn.layers])


@st.composite
def _refilled(draw: DrawFn, layer: Layer, values: str) -> Layer:
    """The layer, with other weights if it is a convolution."""
    if not isinstance(layer, Conv):
        return layer
    bias = None if layer.bias is None else draw(fillings(layer.bias.shape, values))
    return layer.replace(filters=draw(fillings(layer.filters.shape, values, limit=2)), bias=bias)


@st.composite
def _norms(draw: DrawFn, channels: int, values: str) -> Layer:
    """Batch normalizations, whose deviations are powers of two, so that whole numbers stay exact; of responses; sigmoids."""
    kind = draw(_one_of(BatchNorm, LRN, Sigmoid))
    if kind is BatchNorm:
        scale, bias, mean = (draw(fillings((channels,), values)) for _ in range(3))
        std = [draw(_one_of(0.5, 1.0, 2.0, 4.0)) for _ in range(channels)]
        return BatchNorm(scale, bias, mean=mean, std=std)
    depth, alpha = draw(_integers(1, 5)), draw(_one_of(0.0, 0.5))
    return LRN(depth, kappa=1.0, alpha=alpha, beta=0.75) if kind is LRN else Sigmoid()


@st.composite
def images_for(draw: DrawFn, net: Network, values: str = "integers") -> Array:
    """Images that the network takes, (N, C, H, W)."""
    assert net.input_shape is not None
    return draw(fillings((draw(_one_of(1, 2)), *net.input_shape), values))
