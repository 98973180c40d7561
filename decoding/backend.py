"""What a backend is: the operators, by name and signature."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from . import reference
from .errors import InvalidValueError

OPERATORS = ("correlate", "max_pool", "avg_pool", "relu", "softmax", "substitute", "unpool")


class Backend(Protocol):
    """Any object or module with these functions, which take and return arrays (what `numpy.asarray` takes).

    `decoding.reference` says what each must compute.
    """

    def correlate(self, x: Any, filters: Any, bias: Any, *, stride: Any, pad: Any) -> Any: ...
    def max_pool(self, x: Any, *, size: Any, stride: Any, pad: Any) -> Any: ...
    def avg_pool(self, x: Any, *, size: Any, stride: Any, pad: Any) -> Any: ...
    def relu(self, x: Any, *, leak: float) -> Any: ...
    def softmax(self, x: Any) -> Any: ...
    def substitute(self, maps: Any, filters: Any, *, stride: Any) -> Any: ...
    def unpool(self, maps: Any, *, size: Any, stride: Any, mode: str) -> Any: ...


def precision(backend: Any, dtype: Any) -> np.dtype[Any]:
    """What to hand the backend arrays in: float64 for the reference, `dtype` for the others."""
    return np.dtype(np.float64 if backend is reference else dtype)


def resolve(backend: Any) -> Backend:
    """The backend itself; `decoding.reference` for None."""
    if backend is None:
        return reference
    if isinstance(backend, str) or not any(hasattr(backend, operator) for operator in OPERATORS):
        raise InvalidValueError(
            f"backend must be an object or a module with the functions {', '.join(OPERATORS)}, not {backend!r}. "
            "decoding.reference is one."
        )
    return backend  # type: ignore[no-any-return]
