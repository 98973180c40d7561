"""The decorator of every public function: its errors name it, and the caller's floating-point settings stay as they were."""

from __future__ import annotations

import types
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import numpy as np

from .errors import DecodingError, InvalidValueError

P = ParamSpec("P")
R = TypeVar("R")


def public(function: Callable[P, R]) -> Callable[P, R]:
    """Wrap a function for callers outside the package.

    An error of the package that passes through names the function; where public functions call each other, it names the
    one that was called from outside. Running out of memory becomes such an error, too. While the function runs, NumPy's
    floating-point flags are ignored, whatever `numpy.seterr` says: results are checked for what matters (`check_finite`),
    and some libraries raise flags for nothing. Afterwards the caller's setting holds again.
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

    return _in_place_of(function, call)


def formerly(*names: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Let options that have become keyword-only still be given by position, in this order, after the first argument."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        own = function.__name__

        def call(*args: Any, **kwargs: Any) -> R:
            given = dict(zip(names, args[1:], strict=False))
            if len(args) - 1 > len(names):
                raise TypeError(
                    f"{own}() takes from 1 to {len(names) + 1} positional arguments but {len(args)} were given"
                )
            for name in given:
                if name in kwargs:
                    raise TypeError(f"{own}() got multiple values for argument '{name}'")
            return function(*args[:1], **given, **kwargs)

        return _in_place_of(function, call)

    return decorate


def _in_place_of(function: Callable[P, R], call: Callable[P, R]) -> Callable[P, R]:
    """`call`, with the name and the globals of the function that it wraps, so that doctest finds its examples."""
    outer = types.FunctionType(call.__code__, function.__globals__, function.__name__, None, call.__closure__)
    return wraps(function)(outer)
