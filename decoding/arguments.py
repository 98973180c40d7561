"""The checks and the short forms of arguments that every room shares."""

from __future__ import annotations

import operator
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from .errors import InvalidValueError, ShapeError

Array: TypeAlias = npt.NDArray[Any]
Pair: TypeAlias = tuple[int, int]
Pads: TypeAlias = tuple[int, int, int, int]


def as_pair(value: Any, what: str) -> Pair:
    """(rows, columns), both at least 1, from one int or two."""
    rows, columns = _integers(value, what, 2, "(rows, columns)")
    if min(rows, columns) < 1:
        raise ShapeError(f"{what} must be at least 1, and is {value!r}.")
    return rows, columns


def as_pads(value: Any, what: str = "pad") -> Pads:
    """(top, bottom, left, right), none negative, from one int or four."""
    top, bottom, left, right = _integers(value, what, 4, "(top, bottom, left, right)")
    if min(top, bottom, left, right) < 0:
        raise ShapeError(f"{what} must not be negative, and is {value!r}.")
    return top, bottom, left, right


def as_count(value: Any, what: str) -> int:
    """An integer that is at least 1."""
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or value < 1:
        raise InvalidValueError(f"{what} must be an integer, at least 1, not {value!r}.")
    return int(value)


def _integers(value: Any, what: str, count: int, several: str) -> list[int]:
    try:
        numbers = [operator.index(v) for v in (value if np.ndim(value) else [value])]
    except (TypeError, ValueError):
        numbers = []
    if len(numbers) not in (1, count):
        raise ShapeError(f"{what} must be one integer, or {several}; it is {value!r}.")
    return numbers * (count // len(numbers))


def as_array4(value: Any, function: str, what: str, axes: str) -> Array:
    """A numeric array of four axes, as it is; an error that names `function` and `what` otherwise."""
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise ShapeError(f"{function}: {what} is ragged: {error}. It must be one array {axes}.") from None
    if array.dtype.kind not in "buif":
        raise InvalidValueError(f"{function}: {what} must hold real numbers, not {array.dtype}.")
    if array.ndim != 4:
        hint = " For a single one, write x[np.newaxis]." if array.ndim == 3 else ""
        raise ShapeError(f"{function}: {what} must have the four axes {axes}, not the shape {array.shape}.{hint}")
    if 0 in array.shape[1:]:
        raise ShapeError(f"{function}: {what} has an empty axis: {array.shape}. Only the first, {axes[1]}, may be.")
    return array


def check_finite(array: Array, what: str) -> None:
    """Refuse NaN and infinity, saying how many there are and where the first is."""
    # The sum is finite when every entry is, unless it overflows: look closer only when it is not.
    if array.dtype.kind != "f":
        return
    with np.errstate(all="ignore"):
        if np.isfinite(array.sum()):
            return
    bad = ~np.isfinite(array)
    if bad.any():
        first = tuple(int(i) for i in np.unravel_index(int(bad.argmax()), array.shape))
        raise InvalidValueError(
            f"{what}: {int(bad.sum())} of {array.size} values are not finite; the first, {array[first]}, is at {first}."
        )


def plural(count: int, noun: str) -> str:
    """``1 channel``, ``3 channels``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
