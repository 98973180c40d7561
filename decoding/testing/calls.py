"""A call of one operator, as a value: what a check runs, shrinks and prints."""

from __future__ import annotations

from functools import lru_cache
from inspect import signature
from types import CodeType
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .. import reference
from ..arguments import Array
from ..backend import OPERATORS
from ..layers import Layer
from ..network import Network

# What the arrays of each operator are called, as the reference calls them: its arguments that are not given by name alone.
NAMES = {
    operator: tuple(
        name
        for name, each in signature(getattr(reference, operator)).parameters.items()
        if each.kind is each.POSITIONAL_OR_KEYWORD
    )
    for operator in OPERATORS
}


class Call(NamedTuple):
    """One operator, its arrays (positional) and its options (by name); prints as code that can be pasted.

    Examples
    --------
    >>> import numpy as np
    >>> Call("unpool", (np.array([[[[1.0, 5.0]]]]),), {"size": (1, 2), "mode": "nearest"})
    backend.unpool(np.array([[[[1, 5]]]], float), size=(1, 2), mode='nearest')
    """

    operator: str
    arrays: tuple[Array | None, ...]
    options: dict[str, Any]

    @property
    def names(self) -> tuple[str, ...]:
        """What the operator's arrays are called."""
        return NAMES[self.operator]

    @property
    def named(self) -> dict[str, Array]:
        """The arrays that are there, by the names of the operator's arguments."""
        return {name: array for name, array in zip(self.names, self.arrays, strict=True) if array is not None}

    @property
    def label(self) -> str:
        """That of the operator, and of its interpolation."""
        return " ".join(filter(None, (self.options.get("mode"), self.operator)))

    def script(self, *lines: str) -> str:
        """Code that makes the arrays under their names, and then does what the `lines` say."""
        return "\n".join([*(f"{name} = {source(array)}" for name, array in self.named.items()), *lines])

    def by_name(self) -> str:
        """The call as code, after such a `script`."""
        return self.code([name if name in self.named else "None" for name in self.names])

    def copies(self) -> list[Array | None]:
        """The arrays, copied, so that nobody can change those of the call."""
        return [None if array is None else np.array(array) for array in self.arrays]

    def on(self, backend: Any, *arrays: Array | None) -> Any:
        """The answer of a backend; with `arrays`, to these in place of its own."""
        return getattr(backend, self.operator)(*(arrays or self.arrays), **self.options)

    def code(self, arrays: list[str]) -> str:
        """The call as code, with this in place of its arrays."""
        options = [f"{key}={value!r}" for key, value in self.options.items()]
        return f"backend.{self.operator}({', '.join(arrays + options)})"

    def __repr__(self) -> str:
        return self.code([source(array) for array in self.arrays])


class Script(NamedTuple):
    """Code in which a call's arrays have their names: what a check runs, and what a failure prints."""

    call: Call | None
    lines: tuple[str, ...]

    def __str__(self) -> str:
        return "\n".join(self.lines) if self.call is None else self.call.script(*self.lines)


def in_shape(got: Array, want: Array) -> Array:
    """`got` as it is, but for an empty nested list, which has one axis: it cannot tell more of an empty array."""
    return got.reshape(want.shape) if not want.size and not got.size and got.ndim == 1 else got


def inputs(case: Any) -> dict[str, Array]:
    """Every array of a case, whatever it is made of: calls, networks, arrays, tuples of these."""
    found: list[Array] = []

    def collect(value: Any) -> None:
        if isinstance(value, np.ndarray):
            found.append(value)
        elif isinstance(value, (tuple, list)):
            for item in value:
                collect(item)
        elif isinstance(value, Network):
            collect(value.layers)
        elif isinstance(value, Layer):
            collect(list(value.fields().values()))

    collect(case)
    return {f"input{number}": array for number, array in enumerate(found)}


def source(value: npt.ArrayLike | Layer | Network | None) -> str:
    """Code that makes the array, layer or network again, given ``import numpy as np`` and ``from decoding import *``."""
    if isinstance(value, Network):
        layers = ", ".join(source(layer) for layer in value.layers)
        inputs = "" if value.is_chain else f", inputs={list(value.inputs)}"
        return f"Network([{layers}]{inputs}, input_shape={value.input_shape})"
    if isinstance(value, Layer):
        fields = {key: field for key, field in value.fields().items() if field is not None and key != "name"}
        return f"{value.kind}({', '.join(f'{key}={source(field)}' for key, field in fields.items())})"
    if not isinstance(value, np.ndarray):
        return repr(value)
    kind = f"np.{value.dtype}" if value.dtype in (np.float16, np.float32) else "float"
    if not value.size:
        return f"np.zeros({value.shape}{'' if kind == 'float' else f', {kind}'})"
    values = value.astype(np.float64)
    for period in range(1, 14):
        if values.size > 20 and np.array_equal(values.ravel()[period:], values.ravel()[:-period]):
            return f"np.resize(np.array({_numbers(values.ravel()[:period])}, {kind}), {values.shape})"
    return f"np.array({_numbers(values)}, {kind})"


def _numbers(values: Array) -> str:
    whole = np.isfinite(values).all() and (values == np.rint(values)).all() and np.abs(values).max() < 2**53
    whole = whole and not np.signbit(values[values == 0]).any()  # integers have no −0
    text = repr((values.astype(np.int64) if whole else values).tolist())
    return text.replace("nan", "np.nan").replace("inf", "np.inf")


@lru_cache(maxsize=4096)
def compiled(text: str, mode: str = "exec") -> CodeType:
    """Code that a check runs."""
    return compile(text, "a check", mode)
