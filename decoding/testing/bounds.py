"""How far an honest backend may be from the reference: bounds that are derived, never guessed.

What each operator does to errors is in `rounding`. The bound of a network is the running sum of the bounds of its layers.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import reference
from ..arguments import Array, described
from ..errors import InvalidValueError
from .calls import Call
from .operators import TABLE
from .rounding import RANGES, Arithmetic, NotJudged, Range, largest, unit


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
    return Arithmetic(float(eps), float(inputs), bool(getattr(backend, "exact", True)), _stated_range(backend))


def _stated_range(backend: Any) -> Range | None:
    """That of the format in which a backend says that it holds its numbers, if it says so."""
    stated = getattr(backend, "range", None)
    if stated is None:
        return None
    try:
        size = np.dtype(stated).itemsize if np.dtype(stated).kind == "f" else 0
    except TypeError:
        size = 0
    if size < 2:
        raise InvalidValueError(
            f"check_backend: the backend's range is {described(stated)}. It must be the floating-point type whose range its "
            "numbers have, such as numpy.float32 for pairs of singles."
        )
    return RANGES[{2: 2, 4: 1}.get(size, 0)][1]


def error_bound(call: Call, precision: Arithmetic) -> Array:
    """The largest honest error of each cell of the call's output; not judged if it says nothing, or the format could overflow."""
    bound = running_error(call, precision)
    refuse_vacuous(np.asarray(call.on(reference)), bound)
    return bound


def refuse_vacuous(want: Array, bound: Array) -> None:
    """Not judged if zeros would pass: if `want` is not zero, and nowhere larger than the bound."""
    if want.any() and (np.abs(want) <= bound).all():
        raise NotJudged(f"the bound reaches {largest(bound):.2g}, and the values {largest(want):.2g}: zeros would pass")


def running_error(call: Call, precision: Arithmetic, errors: tuple[Array | None, ...] = ()) -> Array:
    """The same whatever it says, of arrays that carry `errors` themselves."""
    x = np.abs(np.asarray(call.arrays[0], np.float64))
    first, second, *_ = (*errors, None, None)
    error = np.zeros_like(x) if first is None else first
    own, carried, mass = TABLE[call.operator].error(call, precision, x, error, second)
    if largest(mass) > precision.range.huge:
        raise NotJudged(f"sums of {largest(mass):.3g} may overflow at eps = {precision.eps:.2g}")
    return np.asarray(carried + own + precision.range.tiny)


def exact_unit(call: Call, precision: Arithmetic) -> float | None:
    """The grid the output lies on, if every partial sum is exact, whatever the order; None if one may round.

    Multiples of a unit are exact up to ``unit / eps``.
    """
    eps = max(precision.eps, precision.input_eps)
    arrays = [np.asarray(array, np.float64) for array in call.arrays if array is not None]
    grids = [grid for grid in map(unit, arrays) if grid is not None]
    if len(grids) < len(arrays) or any(largest(a) > u / eps for a, u in zip(arrays, grids, strict=True)):
        return None
    total, grid, answers = TABLE[call.operator].grid(call, precision, grids) or (1.0, 0.0, 0.0)
    return answers if total <= grid / precision.eps else None
