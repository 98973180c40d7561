"""What every public function does at its door: it names itself in errors, and leaves the caller's arithmetic alone."""

from __future__ import annotations

import types
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import numpy as np

from .errors import DecodingError, InvalidValueError

P = ParamSpec("P")
R = TypeVar("R")


def public(function: Callable[P, R]) -> Callable[P, R]:
    """The function, as callers outside see it.

    What it refuses names it: of several that call each other, the one that was called from outside. Memory that does not
    suffice is refused likewise. NumPy's floating-point flags are ignored meanwhile, whatever `numpy.seterr` says, since
    results are checked for what matters (`check_finite`) and some libraries raise flags for nothing; the caller's setting
    is untouched.
    """
    *_, owner, own = ("", *function.__qualname__.split("."))
    name = owner if own == "__init__" else own
    quiet, family, refused, memory = np.errstate, DecodingError, InvalidValueError, MemoryError

    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        with quiet(all="ignore"):
            try:
                return function(*args, **kwargs)
            except family as error:
                error.function = name
                raise
            except memory as error:
                raised = refused(f"there is not enough memory: {error}")
                raised.function = name
                raise raised from error

    # With the globals of the function's own module, so that doctest finds its examples.
    outer = types.FunctionType(call.__code__, function.__globals__, function.__name__, None, call.__closure__)
    return wraps(function)(outer)
