"""How far an honest backend may be from the reference: bounds that are derived, never guessed.

A sum of n rounded terms errs by at most ``γ_n(eps) · Σ |terms|``, ``γ_n = n·eps / (1 − n·eps)``, in whatever order it is
taken (Higham, *Accuracy and Stability of Numerical Algorithms*, section 3.1). Every operator is such a sum, or does not
amplify errors at all; so the bound of one is the same operator on absolute values, and the bound of a network is the
running sum of the bounds of its layers.

The unit roundoff used is that of the backend plus that of the reference, so that the bound covers both.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from .. import reference
from ..arguments import Array
from ..errors import InvalidValueError
from . import loops
from .calls import Call


class NotJudged(Exception):
    """The bound is so large that it says nothing, and the check would be unable to fail."""


class Range(NamedTuple):
    """Numbers below `tiny` may be flushed to zero, numbers above `huge` overflow; 2^±`reach` are safe operands."""

    tiny: float
    huge: float
    reach: int


RANGES = (  # up to which eps, midway between the formats: some call the unit roundoff eps, some twice that
    (2.0**-40, Range(2.0**-1022, 2.0**1023, 450)),
    (2.0**-16, Range(2.0**-126, 2.0**127, 50)),
    (1.0, Range(2.0**-14, 2.0**15, 2)),
)


class Arithmetic(NamedTuple):
    """What a backend says of its own precision."""

    eps: float
    input_eps: float = 0.0
    exact: bool = True

    @property
    def range(self) -> Range:
        """What the narrowest usual format with this `eps` can hold: double, single or half."""
        return next(each for eps, each in RANGES if self.eps <= eps)

    def growth(self, n: int, *, products: bool = True) -> float:
        """``γ_n``; with products, of operands that are first rounded to `input_eps`."""
        eps = self.eps + reference.eps
        if n * eps >= 0.5:
            raise NotJudged(f"{n} roundings at eps = {self.eps:.2g}: γ ≥ 1, so that even zeros would pass")
        gamma = n * eps / (1 - n * eps)
        inputs = self.input_eps * (2 + self.input_eps) if products else 0.0
        return gamma + inputs * (1 + gamma)


def arithmetic(backend: Any) -> Arithmetic:
    """The precision a backend declares.

    Raises
    ------
    InvalidValueError
        If it declares no `eps`, or one that is not between 0 and 1.
    """
    eps, inputs = getattr(backend, "eps", None), getattr(backend, "input_eps", 0.0)
    for what, value in (("eps", eps), ("input_eps", inputs)):
        if isinstance(value, bool) or not isinstance(value, (int, float, np.floating)) or not 0 <= value < 1:
            raise InvalidValueError(
                f"check_backend: the backend's {what} is {value!r}. It must be the unit roundoff of its arithmetic: "
                "2**-53 for double precision, 2**-24 for single, 2**-11 for half."
            )
    if not eps:
        raise InvalidValueError("check_backend: the backend's eps is 0. No floating-point arithmetic is exact.")
    return Arithmetic(float(eps), float(inputs), bool(getattr(backend, "exact", True)))


def error_bound(call: Call, precision: Arithmetic, errors: tuple[Array | None, ...] = ()) -> Array:
    """The largest honest error of each cell of the call's output, its arrays carrying `errors` themselves.

    Raises
    ------
    NotJudged
        If there are so many roundings that the bound says nothing, or the backend's format could overflow.
    """
    x = np.abs(np.asarray(call.arrays[0], np.float64))
    error = np.zeros_like(x) if not errors or errors[0] is None else errors[0]
    if call.operator in ("correlate", "substitute"):
        own, carried, mass = _linear(call, precision, x, error, errors[1] if len(errors) > 1 else None)
    elif call.operator == "unpool":
        own, carried, mass = _unpool(call, precision, x, error)
    elif call.operator == "softmax":
        return _softmax(np.asarray(call.arrays[0], np.float64), precision, error)
    elif call.operator == "relu":
        slope = max(1.0, abs(call.options["leak"]))
        mass, carried = slope * (x + error), slope * error
        own = precision.growth(3, products=False) * mass
    else:
        roundings = 1 if call.operator == "max_pool" else math.prod(_pair(call.options["size"])) + 3
        mass, carried = call.on(reference, x + error), call.on(reference, error)
        own = precision.growth(roundings, products=False) * mass
    if _largest(mass) > precision.range.huge:
        raise NotJudged(f"sums of {_largest(mass):.3g} may overflow at eps = {precision.eps:.2g}")
    return np.asarray(carried + own + precision.range.tiny)


def exact_unit(call: Call, precision: Arithmetic) -> float | None:
    """The grid the output lies on, if every partial sum is exact, whatever the order; None if one may round.

    Multiples of a unit are exact up to ``unit / eps``.
    """
    eps = max(precision.eps, precision.input_eps)
    arrays = [np.asarray(array, np.float64) for array in call.arrays if array is not None]
    units = [unit(array) for array in arrays]
    grids = [each for each in units if each is not None]
    if len(grids) < len(arrays) or any(_largest(a) > u / eps for a, u in zip(arrays, grids, strict=True)):
        return None
    grid, finer = grids[0], 1.0
    if call.operator in ("correlate", "substitute"):
        total = _largest(call.on(reference, *(a if a is None else np.abs(a) for a in call.arrays)))
        grid = min(grids[0] * grids[1], *grids[2:], 1.0)
    elif call.operator == "relu":
        total, leak = _largest(arrays[0]), unit(np.asarray(call.options["leak"], np.float64))
        if leak is None:
            return None
        total, grid = total * max(1.0, abs(call.options["leak"])), grid * leak
    elif call.operator == "max_pool":
        total = _largest(arrays[0])
    elif call.operator == "avg_pool":
        cells = math.prod(_pair(call.options["size"]))
        counts = np.rint(cells * _inside(call))
        if (np.log2(counts) % 1).any():
            return None
        total, finer = cells * _largest(arrays[0]), 1 / float(counts.max(initial=1))
    elif call.operator == "unpool":
        weights = _weight_grids(call)
        if weights is None or any(grid < 1 and grid / precision.eps < 16 for grid in weights):
            return None
        down, across = axis_weights(call)
        total, grid = _largest(down @ np.abs(arrays[0]) @ across.T), grid * weights[0] * weights[1]
    else:
        return None
    return grid * finer if total <= grid / precision.eps else None


def unit(array: Array) -> float | None:
    """The largest power of two, at most 1, that divides every entry; None below 2⁻³⁰."""
    return next((2.0**-j for j in range(31) if (array * 2.0**j % 1 == 0).all()), None)


def axis_weights(call: Call) -> tuple[Array, Array]:
    """The sizes of the weights of a call of `unpool`, for rows and for columns, as the plain loops have them."""
    down, across = (_weights(n, z, s, call.options["mode"]) for n, z, s in _axes(call))
    return down, across


@lru_cache(maxsize=512)
def _weights(n: int, size: int, stride: int, mode: str) -> Array:
    table = np.zeros(((n - 1) * stride + size, n))
    for p, taps in enumerate(loops.taps(n, size, stride, mode)):
        for cell, weight in taps:
            table[p, cell] += abs(weight)
    table.setflags(write=False)
    return table


def _weight_grids(call: Call) -> tuple[float, ...] | None:
    """The grid the weights of `unpool` lie on, for rows and for columns; None if they are no binary fractions."""
    mode, grids = call.options["mode"], []
    for _, size, stride in _axes(call):
        places = stride if size % 2 else 2 * stride  # pixels lie at multiples of 1/places
        if mode != "nearest" and math.log2(stride) % 1:
            return None
        grids.append({"nearest": 1.0, "bilinear": 1 / places, "bicubic": 1 / (2 * places**3)}[mode])
    return tuple(grids)


def _axes(call: Call) -> list[tuple[int, int, int]]:
    """(cells, size, stride) for rows and for columns."""
    x, size = call.arrays[0], _pair(call.options["size"])
    assert x is not None
    stride = size if call.options.get("stride") is None else _pair(call.options["stride"])
    return list(zip(np.shape(x)[2:], size, stride, strict=True))


def _linear(
    call: Call, precision: Arithmetic, x: Array, error: Array, filters_error: Array | None
) -> tuple[Array, Array, Array]:
    """``γ_n · op(|x| + e, |f| + d)`` of its own; ``op(e, |f| + d) + op(|x|, d)`` carried on."""
    filters = np.abs(np.asarray(call.arrays[1], np.float64))
    loose = filters if filters_error is None else filters + filters_error
    carried = _unbiased(call, error, loose)
    if filters_error is not None:
        carried = carried + _unbiased(call, x, filters_error)
    x = x + error
    mass, terms = _unbiased(call, x, loose), math.prod(filters.shape[1:])
    if call.operator == "substitute":
        size, stride = filters.shape[2:], _pair(call.options["stride"])
        terms = len(filters) * math.prod(min(-(-z // s), n) for z, s, n in zip(size, stride, x.shape[2:], strict=True))
    if not precision.exact:
        # A Fourier transform errs by the norm of what it transforms (Higham, section 24.1), not cell by cell.
        axes = "ncij,kcuv->nk" if call.operator == "correlate" else "nkij,kcuv->nc"
        norms = (np.sqrt((a**2).sum(axis=(2, 3), keepdims=True)) for a in (x, loose))
        mass = np.zeros_like(mass) + np.einsum(axes, *norms)[:, :, np.newaxis, np.newaxis]
        terms += 15 * math.ceil(
            math.log2(math.prod(a + b for a, b in zip(x.shape[2:], filters.shape[2:], strict=True)))
        )
    if len(call.arrays) > 2 and call.arrays[2] is not None:
        mass = mass + np.abs(np.asarray(call.arrays[2], np.float64))[:, np.newaxis, np.newaxis]
    n = terms + 3  # the operands may be rounded when they are read, and a bias is one more term
    return precision.growth(n) * mass + n * precision.range.tiny, carried, mass


def _unbiased(call: Call, x: Array, filters: Array) -> Array:
    arrays = (x, filters, None)[: len(call.arrays)]
    return np.asarray(call.on(reference, *arrays))


def _unpool(call: Call, precision: Arithmetic, x: Array, error: Array) -> tuple[Array, Array, Array]:
    """``|W| e |V|ᵀ`` carried on; ``γ_n · |W| (|x| + e) |V|ᵀ`` of its own, and what rounded weights add to it."""
    down, across = axis_weights(call)
    x, carried, mode = x + error, down @ error @ across.T, call.options["mode"]
    exact = down @ x @ across.T
    if mode == "nearest":
        return precision.growth(1, products=False) * exact, carried, exact
    # The place of a pixel is 4 roundings of |u| + 1; the kernel has this slope, this many roundings of terms that sum to this.
    slope, roundings, terms = {"bilinear": (1, 2, 2), "bicubic": (2, 6, 24)}[mode]
    grids, loose = _weight_grids(call), []
    for axis, (weights, (_, size, stride)) in enumerate(zip((down, across), _axes(call), strict=True)):
        if grids is not None and grids[axis] / precision.eps >= 16:
            loose.append(weights)
            continue
        places = np.abs(np.arange(len(weights)) - (size - 1) / 2) / stride + 1
        blur = (
            precision.growth(4, products=False) * slope * places + precision.growth(roundings, products=False) * terms
        )
        loose.append(weights + blur[:, np.newaxis])
    mass = loose[0] @ x @ loose[1].T
    return mass - exact + precision.growth(20) * mass + 16 * precision.range.tiny, carried, mass


def _softmax(x: Array, precision: Arithmetic, error: Array) -> Array:
    """A response off by d moves its exponential by the factor e^d; so does each rounding on the way there."""
    eps = precision.eps + reference.eps
    error = error + np.where(_rounded(x, precision.eps) == x, 0, eps * np.abs(x))
    below, widest = x.max(axis=1, keepdims=True) - x, error.max(axis=1, keepdims=True)
    off = np.minimum(error + widest + eps * (below + 2 * widest), 300.0)
    share = reference.softmax(x)
    total = (share * np.expm1(off)).sum(axis=1, keepdims=True)  # of the shares, less one
    if (total > 1).any():
        raise NotJudged(
            f"responses of {_largest(x):.3g} at eps = {precision.eps:.2g}: their exponentials are not known"
        )
    own = precision.growth(x.shape[1] + 12, products=False)
    return np.asarray(share * np.expm1(off + np.log1p(total) + np.log1p(own)) + precision.range.tiny)


def _inside(call: Call) -> Array:
    """The share of each window's cells that lie inside the map."""
    x = call.arrays[0]
    assert x is not None
    top, bottom, left, right = _four(call.options.get("pad", 0))
    ones = np.pad(np.ones((1, 1, *x.shape[2:])), ((0, 0), (0, 0), (top, bottom), (left, right)))
    return np.asarray(reference.avg_pool(ones, size=call.options["size"], stride=call.options["stride"]))


def _rounded(x: Array, eps: float) -> Array:
    """x in a significand of as many bits as `eps` says."""
    mantissa, exponent = np.frexp(x)
    return np.asarray(np.ldexp(np.rint(mantissa / eps / 2) * eps * 2, exponent))


def _largest(array: Any) -> float:
    return float(np.abs(array).max(initial=0.0))


def _pair(value: Any) -> tuple[int, int]:
    rows, columns = value if isinstance(value, (tuple, list)) else (value, value)
    return rows, columns


def _four(value: Any) -> tuple[int, int, int, int]:
    top, bottom, left, right = value if isinstance(value, (tuple, list)) else (value,) * 4
    return top, bottom, left, right
