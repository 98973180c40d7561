"""A call of one operator, as a value: what a check runs, shrinks and prints."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..arguments import Array
from ..layers import Layer
from ..network import Network


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

    def on(self, backend: Any, *arrays: Array | None) -> Any:
        """The answer of a backend; with `arrays`, to these in place of its own."""
        return getattr(backend, self.operator)(*(arrays or self.arrays), **self.options)

    def __repr__(self) -> str:
        options = [f"{key}={value!r}" for key, value in self.options.items()]
        return f"backend.{self.operator}({', '.join([source(array) for array in self.arrays] + options)})"


def source(value: npt.ArrayLike | Layer | Network | None) -> str:
    """Code that makes the array, layer or network again, given ``import numpy as np`` and ``from decoding import *``."""
    if isinstance(value, Network):
        layers = ", ".join(source(layer) for layer in value.layers)
        return f"Network([{layers}], input_shape={value.input_shape})"
    if isinstance(value, Layer):
        fields = {key: each for key, each in vars(value).items() if key[0] != "_" and key not in ("name", "dense")}
        return f"{value.kind}({', '.join(f'{key}={source(each)}' for key, each in fields.items())})"
    if not isinstance(value, np.ndarray):
        return repr(value)
    if not value.size:
        return f"np.zeros({value.shape})"
    values = value.astype(np.float64)
    whole = np.isfinite(values).all() and (values == np.rint(values)).all() and np.abs(values).max() < 2**53
    text = repr((values.astype(np.int64) if whole else values).tolist())
    return f"np.array({text.replace('nan', 'np.nan').replace('inf', 'np.inf')}, float)"
