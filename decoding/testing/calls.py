"""A call of one operator, as a value: what a check runs, shrinks and prints."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..arguments import Array


class Call(NamedTuple):
    """One operator, its arrays (positional) and its options (by name).

    Examples
    --------
    >>> import numpy as np
    >>> Call("unpool", (np.array([[[[1.0, 5.0]]]]),), {"size": (1, 2), "mode": "nearest"})
    unpool([[[[1, 5]]]], size=(1, 2), mode='nearest')
    """

    operator: str
    arrays: tuple[Array | None, ...]
    options: dict[str, Any]

    def on(self, backend: Any, *arrays: Array | None) -> Any:
        """The answer of a backend; with `arrays`, to these in place of its own."""
        return getattr(backend, self.operator)(*(arrays or self.arrays), **self.options)

    def __repr__(self) -> str:
        arrays = [literal(array) for array in self.arrays]
        return f"{self.operator}({', '.join(arrays + [f'{key}={value!r}' for key, value in self.options.items()])})"


def literal(array: Array | None) -> str:
    """The array as nested lists that can be pasted, whole numbers without a point."""
    if array is None:
        return "None"
    if not array.size:
        return f"np.zeros({array.shape})"
    whole = bool(np.isfinite(array).all()) and bool((array == np.rint(array)).all()) and np.abs(array).max() < 2**53
    text = repr((array.astype(np.int64) if whole else array.astype(np.float64)).tolist())
    return text.replace("nan", "np.nan").replace("inf", "np.inf")
