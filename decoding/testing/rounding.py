"""What rounding does to each operator: how far an honest answer may be from the exact one, and where it must be exact.

A sum of n rounded terms errs by at most ``γ_n(eps) · Σ |terms|``, ``γ_n = n·eps / (1 − n·eps)``, in whatever order it is
taken (Higham, *Accuracy and Stability of Numerical Algorithms*, section 3.1). Each operator is such a sum, or does not make errors
larger. So its bound is the same operator, applied to absolute values. The unit roundoff in it is that of the backend plus that of
the reference, so the bound covers both.

There are two functions for each operator. The one of errors takes a call, the precision, the sizes of the first array, the errors of
the first array, and the errors of the filters (None if they have none). It gives the errors that the operator makes by itself, the
errors that it passes on, and the sizes of its largest partial sums. The function of grids takes a call, the precision, and the grids on which
the arrays lie: powers of two of which all numbers are multiples. It gives what no partial sum exceeds, the grid of the sums, and the grid of the
answers, or None if something may be rounded.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from .. import reference
from ..arguments import Array
from . import loops
from .calls import Call

Errors: TypeAlias = tuple[Array, Array, Array]
Grids: TypeAlias = tuple[float, float, float]


class NotJudged(Exception):
    """The bound is so large that it says nothing, and the check would be unable to fail."""


class Kernel(NamedTuple):
    """A kernel of interpolation, 0 from `reach` cells on; the others are functions of the distance t in cells.

    `slope` is how steep it is, at most. The last two are the sizes of all numbers that are rounded on the way, added up: to
    a weight, and, where there are no weights, to a polynomial in the fraction of the place with coefficients made of cells.
    """

    reach: int
    slope: Callable[[Array], Array]
    rounded_in_weight: Callable[[Array], Array]
    rounded_in_blend: Callable[[Array], Array]


KERNELS = {
    # 1 − t, one rounding; or a + s·(b − a), two of s·a and two of s·b.
    "bilinear": Kernel(1, np.ones_like, np.ones_like, lambda t: 2 * t),
    # 3/2·t³ − 5/2·t² + 1, and from 1 on −1/2·t³ + 5/2·t² − 4t + 2: steepest at 5/9 and at 1. The terms are rounded 3, 2
    # and 1 times; no partial sum is larger than the sum of the terms of one sign, in whatever order, and the last is it.
    # Or, the cells being a, b | c, d: b·(3/2·s³ − 5/2·s²), c·(−3/2·s³ + 2s² + 1/2·s), a·(−1/2·s³ + s² − 1/2·s) and
    # d·(1/2·s³ − 1/2·s²), the terms rounded 10, 8 and 6 times, s from either side.
    "bicubic": Kernel(
        2,
        lambda t: np.where(t < 1, 25 / 18, 1 / 2),
        lambda t: np.where(t < 1, 7.5 * t**3 + 2.5 * t**2 + 2, 2.5 * t**3 + 5 * t**2 + 12 * t + 2 / 27),
        lambda t: np.where(
            t < 1,
            np.maximum(15 * t**3 + 20 * t**2, 15 * (1 - t) ** 3 + 16 * (1 - t) ** 2 + 3 * (1 - t)),
            np.maximum(
                5 * (t - 1) ** 3 + 8 * (t - 1) ** 2 + 3 * (t - 1), 5 * (2 - t) ** 3 + 8 * (2 - t) ** 2 + 3 * (2 - t)
            ),
        ),
    ),
}


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
    stated: Range | None = None

    @property
    def range(self) -> Range:
        """What the format that the backend states can hold; else the narrowest usual one with this `eps`."""
        return self.stated or next(format for eps, format in RANGES if self.eps <= eps)

    def growth(self, n: int, operands: int = 0) -> float:
        """``γ_n``; of products, each of so many `operands` being first rounded to `input_eps`."""
        eps = self.eps + reference.eps
        if n * eps >= 0.5:
            raise NotJudged(f"{n} roundings at eps = {self.eps:.2g}: γ ≥ 1, so that even zeros would pass")
        gamma = n * eps / (1 - n * eps)
        inputs = math.expm1(operands * math.log1p(self.input_eps))
        return gamma + inputs * (1 + gamma)


def unit(array: Array) -> float | None:
    """The largest power of two, at most 1, that divides every entry; None below 2⁻³⁰."""

    def divides(power: float) -> bool:
        return bool((np.rint(array / power) * power == array).all())

    if (np.rint(array) == array).all():
        return 1.0
    return next((2.0**-j for j in range(1, 31) if divides(2.0**-j)), None) if divides(2.0**-30) else None


def largest(array: Any) -> float:
    """The size of the largest entry; 0 if there is none."""
    return float(np.abs(array).max(initial=0.0))


def linear_error(call: Call, precision: Arithmetic, x: Array, error: Array, filters_error: Array | None) -> Errors:
    """``γ_n · op(|x| + e, |f| + d)`` of its own; ``op(e, |f| + d) + op(|x|, d)`` carried on."""
    filters = np.abs(np.asarray(call.arrays[1], np.float64))
    loose = filters if filters_error is None else filters + filters_error
    carried = _carried(error, lambda: _unbiased(call, error, loose))
    if filters_error is not None:
        carried = carried + _unbiased(call, x, filters_error)
    x = x + error
    mass, terms = _unbiased(call, x, loose), _terms(call)
    if not precision.exact:
        # A Fourier transform errs by the norm of what it transforms (Higham, section 24.1), not cell by cell.
        norms = [np.sqrt((a**2).sum(axis=(2, 3), keepdims=True)) for a in (x, loose)]
        options = {"groups": call.options.get("groups", 1)}
        # Two filters, or two images, may be transformed as one, real and imaginary part: each errs as the larger one does.
        mass = np.full_like(mass, math.sqrt(2) * largest(getattr(reference, call.operator)(*norms, **options)))
        terms += 15 * math.ceil(
            math.log2(math.prod(a + b for a, b in zip(x.shape[2:], filters.shape[2:], strict=True)))
        )
    if len(call.arrays) > 2 and call.arrays[2] is not None:
        mass = mass + np.abs(np.asarray(call.arrays[2], np.float64))[:, np.newaxis, np.newaxis]
    n = terms + 3  # the operands may be rounded when they are read, and a bias is one more term
    return precision.growth(n, operands=2) * mass + n * precision.range.tiny, carried, mass


def _carried(error: Array, through: Callable[[], Array]) -> Array:
    """What comes of the error of an operand: 0 where there is none, which needs no operator."""
    return through() if error.any() else np.zeros(())


def _unbiased(call: Call, x: Array, filters: Array) -> Array:
    arrays = (x, filters, None)[: len(call.arrays)]
    return np.asarray(call.on(reference, *arrays))


def _terms(call: Call) -> int:
    """How many products are added up in one number of the answer, at most."""
    x, filters = (np.shape(array) for array in call.arrays[:2])  # type: ignore[arg-type]
    if call.operator == "correlate":
        return int(math.prod(filters[1:]))
    copies = (min(-(-z // s), n) for z, s, n in zip(filters[2:], call.options["stride"], x[2:], strict=True))
    return int(filters[0] // call.options.get("groups", 1) * math.prod(copies))


def linear_grid(call: Call, precision: Arithmetic, grids: list[float]) -> Grids:
    """Of sums of products, and perhaps of a bias that is added; they are formed only where the largest product does not tell enough."""
    grid = min(grids[0] * grids[1], *grids[2:], 1.0)
    maps, filters, *bias = (0.0 if a is None else largest(a) for a in call.arrays)
    total = _terms(call) * maps * filters + sum(bias)
    if total > grid / precision.eps:
        total = largest(call.on(reference, *(a if a is None else np.abs(a) for a in call.arrays)))
    return total, grid, grid


def relu_error(call: Call, precision: Arithmetic, x: Array, error: Array, _: Array | None) -> Errors:
    """A product with a leak that is read, and their roundings."""
    slope = max(1.0, abs(call.options["leak"]))
    mass = slope * (x + error)
    return precision.growth(3) * mass + slope * precision.range.tiny, slope * error, mass


def relu_grid(call: Call, precision: Arithmetic, grids: list[float]) -> Grids | None:
    """Of products with a leak."""
    leak = unit(np.asarray(call.options["leak"], np.float64))
    if leak is None:
        return None
    return largest(call.arrays[0]) * max(1.0, abs(call.options["leak"])), grids[0] * leak, grids[0] * leak


def max_pool_error(call: Call, precision: Arithmetic, x: Array, error: Array, _: Array | None) -> Errors:
    """A maximum is off by no more than what it is taken of."""
    mass = call.on(reference, x + error)
    return precision.growth(1) * mass, _carried(error, lambda: call.on(reference, error)), mass


def max_pool_grid(call: Call, precision: Arithmetic, grids: list[float]) -> Grids:
    """That of the map."""
    return largest(call.arrays[0]), grids[0], grids[0]


def avg_pool_error(call: Call, precision: Arithmetic, x: Array, error: Array, _: Array | None) -> Errors:
    """The sum is formed before it is divided."""
    cells = math.prod(call.options["size"])
    mass = call.on(reference, x + error)
    return precision.growth(cells + 3, 2) * mass, _carried(error, lambda: call.on(reference, error)), cells * mass


def avg_pool_grid(call: Call, precision: Arithmetic, grids: list[float]) -> Grids | None:
    """Exact where the cells of every window are a power of two, and those of the window that lie inside.

    They may be counted by adding up ones, which the format must hold.
    """
    cells = math.prod(call.options["size"])
    # As the mean of the whole window over the share of it that lies inside, too.
    if cells > 1 / precision.eps or math.log2(cells) % 1:
        return None
    counts = _inside(call)
    if (np.log2(counts) % 1).any():
        return None
    total = cells * largest(call.arrays[0])
    if total > grids[0] / precision.eps:
        total = largest(counts * call.on(reference, np.abs(np.asarray(call.arrays[0], np.float64))))
    return total, grids[0], grids[0] / float(counts.max(initial=1))


def softmax_error(call: Call, precision: Arithmetic, _x: Array, error: Array, _: Array | None) -> Errors:
    """A response off by d moves its exponential by the factor e^d; so does each rounding on the way there.

    These are of ``x − max`` and, where the sum is taken off as a logarithm, of ``(x − max) − log Σ``.
    """
    x, eps = np.asarray(call.arrays[0], np.float64), precision.eps + reference.eps
    error = error + np.where(_rounded(x, precision.eps) == x, 0, eps * np.abs(x))
    below, widest = x.max(axis=1, keepdims=True) - x, error.max(axis=1, keepdims=True)
    off = np.minimum(error + widest + 2 * eps * (below + widest + math.log(x.shape[1])), 300.0)
    share, moved = reference.softmax(x), np.expm1(off)
    total = (share * moved).sum(axis=1, keepdims=True)  # of the shares, less one
    if (total > 1).any():
        raise NotJudged(f"responses of {largest(x):.3g} at eps = {precision.eps:.2g}: their exponentials are not known")
    for factor in (total, precision.growth(x.shape[1] + 12)):  # (1 + moved) (1 + factor) - 1
        moved = moved + factor + moved * factor
    return share * moved, np.zeros_like(x), np.zeros_like(x)


def unpool_error(call: Call, precision: Arithmetic, x: Array, error: Array, _: Array | None) -> Errors:
    """``|W| e |V|ᵀ`` carried on; ``γ_n · |W| (|x| + e) |V|ᵀ`` of its own, and what the kernel's roundings add to it.

    As two products of matrices, of which each has two operands.
    """
    down, across = axis_weights(call)
    x, carried, mode = x + error, down @ error @ across.T, call.options["mode"]
    exact = down @ x @ across.T
    if mode == "nearest":
        return precision.growth(1, operands=1) * exact, carried, exact
    exact_weights = (grid is not None for grid in _weight_grids(call, precision))
    down_blur, across_blur = (
        _blur(*axis, mode, known, precision) for axis, known in zip(_axes(call), exact_weights, strict=True)
    )
    blurred = down_blur @ x @ (across + across_blur).T + down @ x @ across_blur.T
    mass = exact + blurred
    n = (2 * KERNELS[mode].reach) ** 2 + 4  # all taps in one sum, two products, three operands read
    return blurred + precision.growth(n, operands=4) * mass + n * precision.range.tiny, carried, mass


def unpool_grid(call: Call, precision: Arithmetic, grids: list[float]) -> Grids | None:
    """Of products with two weights, where these are exact; what one axis gives is an operand of the other."""
    down, across = axis_weights(call)
    grid, weights = grids[0], _weight_grids(call, precision)
    for finer in weights:
        if finer is None or finer < precision.input_eps:
            return None
        grid *= finer
    total = largest(down @ np.abs(np.asarray(call.arrays[0], np.float64)) @ across.T)
    return None if total > grid / max(precision.eps, precision.input_eps) else (total, grid, grid)


def axis_weights(call: Call) -> tuple[Array, Array]:
    """The sizes of the weights of a call of `unpool`, for rows and for columns, as the plain loops have them."""
    down, across = (_weights(n, z, s, call.options["mode"]) for n, z, s in _axes(call))
    return down, across


@lru_cache(maxsize=4096)
def _weights(n: int, size: int, stride: int, mode: str) -> Array:
    table = np.zeros(((n - 1) * stride + size, n))
    for p, taps in enumerate(loops.taps(n, size, stride, mode)):
        for cell, weight in taps:
            table[p, cell] += abs(weight)
    table.setflags(write=False)
    return table


def _weight_grids(call: Call, precision: Arithmetic) -> list[float | None]:
    """The grid the weights of `unpool` lie on, for rows and for columns; None if computing them may round."""
    mode, grids = call.options["mode"], list[float | None]()
    for _, size, stride in _axes(call):
        places = stride if size % 2 else 2 * stride  # pixels lie at multiples of 1/places
        grid = {"nearest": 1.0, "bilinear": 1 / places, "bicubic": 1 / (2 * places**3)}[mode]
        exact = mode == "nearest" or (math.log2(stride) % 1 == 0 and (grid == 1 or grid / precision.eps >= 16))
        grids.append(grid if exact else None)
    return grids


def _axes(call: Call) -> list[tuple[int, int, int]]:
    """(cells, size, stride) for rows and for columns."""
    sides = np.shape(call.arrays[0])[2:]  # type: ignore[arg-type]
    return list(zip(sides, call.options["size"], call.options["stride"], strict=True))


@lru_cache(maxsize=4096)
def _blur(n: int, size: int, stride: int, mode: str, exact: bool, precision: Arithmetic) -> Array:
    """How far off the weights of one axis may be: those of the taps, and no others.

    The kernel is a sum of rounded terms. Weights may be `exact`, and yet the cells be blended by rounded terms. If not,
    the place of a pixel is off by 4 roundings of ``|u| + 1``: this moves a weight by as much times the slope of the
    kernel, and brings cells within reach that were so much beyond it. The weights may then be divided by their sum, in
    which the places cancel.
    """
    reach, slope, rounded_in_weight, rounded_in_blend = KERNELS[mode]
    weights = _weights(n, size, stride, mode)
    rows = len(weights)
    u = (np.arange(rows)[:, np.newaxis] - (size - 1) / 2) / stride
    off = (0 if exact else precision.growth(4)) * (np.abs(u) + 1)
    wide = reach + math.ceil(largest(off))
    cells = np.floor(u).astype(int) + np.arange(-wide, wide + 2)
    distance = np.abs(u - cells)
    taps = (distance < reach + off) & ((u % 1 > 0) | (off > 0))  # on a cell exactly, nothing is blended
    sizes = (
        rounded_in_blend(distance)
        if exact
        else np.maximum(rounded_in_weight(distance + off), rounded_in_blend(distance + off))
    )
    kernel = np.where(taps, precision.growth(10) / 10 * sizes, 0)
    moved = np.where(taps, slope(distance - off) * off, 0)
    blur = np.zeros_like(weights)
    mirrored = np.minimum(cells % (2 * n), (-1 - cells) % (2 * n))
    np.add.at(blur, (np.arange(rows)[:, np.newaxis], mirrored), kernel + moved)
    if not exact:
        blur += weights * (kernel.sum(axis=1, keepdims=True) + precision.growth(2 * reach + 1))
    blur.setflags(write=False)
    return blur


def _inside(call: Call) -> Array:
    """How many of each window's cells lie inside the map."""
    sides, pads = np.shape(call.arrays[0])[2:], call.options["pad"]  # type: ignore[arg-type]
    along = []
    for n, size, step, before, after in zip(
        sides, call.options["size"], call.options["stride"], pads[::2], pads[1::2], strict=True
    ):
        first = np.arange(-before, n + after - size + 1, step)
        along.append(np.minimum(first + size, n) - np.maximum(first, 0))
    return np.outer(*along)


def _rounded(x: Array, eps: float) -> Array:
    """x in a significand of as many bits as `eps` says."""
    if eps <= reference.eps:
        return x
    mantissa, exponent = np.frexp(x)
    return np.asarray(np.ldexp(np.rint(mantissa / eps) * eps, exponent))
