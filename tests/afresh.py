"""Copies of wrong backends that remember nothing: what one test left in a backend's memory must not show in another."""

import copy
import types
from functools import partial


def afresh(value):
    """The value, with whatever its functions remember (in closures, attributes and containers) copied as it is now.

    A backend that is only ever used through its copies stays as it was made.
    """
    return _copied(value, {})


def _copied(value, known):
    if id(value) in known:
        return known[id(value)]
    if isinstance(value, types.FunctionType) and value.__closure__:
        cells = tuple(types.CellType() for _ in value.__closure__)
        made = types.FunctionType(value.__code__, value.__globals__, value.__name__, value.__defaults__, cells)
        made.__kwdefaults__ = value.__kwdefaults__
        known[id(value)] = made
        for cell, old in zip(cells, value.__closure__, strict=True):
            cell.cell_contents = _copied(old.cell_contents, known)
        return made
    if isinstance(value, types.MethodType):
        return types.MethodType(value.__func__, _copied(value.__self__, known))
    if isinstance(value, partial):
        return partial(_copied(value.func, known), *value.args, **value.keywords)
    if isinstance(value, dict):
        made = known[id(value)] = copy.copy(value)
        made.update((key, _copied(each, known)) for key, each in value.items())
        return made
    if isinstance(value, (type, types.ModuleType, types.FunctionType, types.BuiltinFunctionType)):
        return value
    if hasattr(value, "__dict__"):
        made = known[id(value)] = copy.copy(value)
        made.__dict__.update((key, _copied(each, known)) for key, each in vars(value).items())
        return made
    try:
        return copy.deepcopy(value, known)
    except TypeError:  # a lock
        return value
