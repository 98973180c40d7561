"""What a backend is: the operators, by name and signature, and what it declares about itself in attributes."""

from __future__ import annotations

import importlib
import inspect
from types import ModuleType
from typing import Any, Protocol

import numpy as np

from . import reference
from .arguments import described
from .errors import InvalidValueError

SAID = ("name", "eps", "dtype", "threads", "groups")
OPERATORS = ("correlate", "max_pool", "avg_pool", "relu", "softmax", "substitute", "unpool")


class Backend(Protocol):
    """Any object or module with these functions. They take arrays, and return arrays or whatever `numpy.asarray` accepts.

    `decoding.reference` says what each must compute. A backend may declare more about itself in attributes:

    - ``name`` : what reports call it.
    - ``eps`` : the unit roundoff of its arithmetic, which `decoding.testing` asks for.
    - ``dtype`` : the precision of the arrays that it is given; unless declared, that of the weights and images.
    - ``threads = True`` : it may be run in several threads at a time.
    - ``groups = True`` : its `correlate` and `substitute` take ``groups=``, as those of most libraries do. Other backends are
      given dense banks, with zeros where a filter of one group has no weights.
    """

    def correlate(self, x: Any, filters: Any, bias: Any, *, stride: Any, pad: Any) -> Any: ...
    def max_pool(self, x: Any, *, size: Any, stride: Any, pad: Any) -> Any: ...
    def avg_pool(self, x: Any, *, size: Any, stride: Any, pad: Any) -> Any: ...
    def relu(self, x: Any, *, leak: float) -> Any: ...
    def softmax(self, x: Any) -> Any: ...
    def substitute(self, maps: Any, filters: Any, *, stride: Any) -> Any: ...
    def unpool(self, maps: Any, *, size: Any, stride: Any, mode: str) -> Any: ...


class ModuleBackend:
    """A module as a backend, which pickles by the module's name."""

    def __init__(self, module: ModuleType) -> None:
        vars(self).update({name: getattr(module, name) for name in SAID if hasattr(module, name)})
        self.module = module

    def __getattr__(self, name: str) -> Any:
        if name[:1] == "_" or name == "module":
            raise AttributeError(name)
        return getattr(self.module, name)

    def __reduce__(self) -> Any:
        return _by_name, (self.module.__name__,)


def name_of(backend: Any) -> str:
    """What reports call a backend: its own name, and not that of another backend whose attributes it passes on."""
    if inspect.getattr_static(backend, "name", None) is not None:
        return str(backend.name)
    kind = backend if isinstance(backend, (type, ModuleType)) else type(backend)
    return kind.__name__


def precision(backend: Any, dtype: Any) -> np.dtype[Any]:
    """The precision of the arrays that the backend is given: what it declares, and otherwise `dtype`."""
    said = getattr(backend, "dtype", None)
    found: np.dtype[Any] = np.dtype(said if isinstance(said, (str, type, np.dtype)) else dtype)
    return found


def takes_groups(backend: Any) -> bool:
    """Whether `correlate` and `substitute` take groups.

    Only what the backend declares itself counts, not what it passes on with ``__getattr__``: a wrapper of another backend
    need not take the options that the other takes.
    """
    return bool(inspect.getattr_static(backend, "groups", False))


def takes_threads(backend: Any) -> bool:
    """Whether it may be run in several threads at a time, by what it declares itself."""
    return bool(inspect.getattr_static(backend, "threads", False))


def resolve(backend: Any, *needed: str) -> Backend:
    """The backend itself, a module in a wrapper that pickles; `decoding.reference` for None.

    A module must have all operators, since a module that has only some of them is another library, such as NumPy. An
    object may lack operators that are never called; `needed` names those that will be called without another check.
    """
    backend = reference if backend is None else backend
    asked = OPERATORS if isinstance(backend, ModuleType) else needed
    missing = [name for name in asked if not hasattr(backend, name)]
    if missing or isinstance(backend, str) or not any(hasattr(backend, name) for name in OPERATORS):
        missing = [name for name in OPERATORS if isinstance(backend, str) or not hasattr(backend, name)]
        lacks = "none of them" if len(missing) == len(OPERATORS) else f"no {', '.join(missing)}"
        raise InvalidValueError(
            f"backend must be an object or a module with the functions {', '.join(OPERATORS)}; {described(backend)} has {lacks}. "
            "decoding.reference is one."
        )
    return ModuleBackend(backend) if isinstance(backend, ModuleType) else backend


def _by_name(module: str) -> ModuleBackend:
    return ModuleBackend(importlib.import_module(module))


def lacks_operator(error: AttributeError) -> bool:
    """Whether the error says that a backend lacks the operator that was called."""
    return getattr(error, "name", None) in OPERATORS
