"""Activations: layers that apply one function to each response.

Each decodes as the identity times its gain, for the reason that `ReLU` gives. `function` applies it to an array, without
a backend.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..arguments import Array, as_array, plural
from ..errors import InvalidValueError, ShapeError
from .base import Layer, kept


class Elementwise(Layer):
    """A function of each response, `function`; decodes as the identity times its gain.

    Parameters
    ----------
    gain, curvature, name
        As for every `Layer`.

    Notes
    -----
    Our choice, for the reason that `ReLU` gives. To write an activation of your own, inherit from this class and write
    `function`.
    """

    def forward(self, *xs: Array, backend: Any) -> Any:
        return self.function(xs[0])

    def function(self, z: Array) -> Array:
        """The function, applied to an array (N, K, H, W); to one of any shape, if it is the same for all channels."""
        raise NotImplementedError

    def _numbers(self, **values: float) -> None:
        """Set numbers as attributes; refuse those that are not finite."""
        for what, value in values.items():
            if not isinstance(value, (int, float, np.integer, np.floating)) or not np.isfinite(value):
                raise InvalidValueError(f"{self.kind}: {what} must be a finite number, not {value!r}.")
        self._set(**{what: float(value) for what, value in values.items()})


class Tanh(Elementwise):
    """``tanh(z)``; decodes as the identity times its gain."""

    def function(self, z: Array) -> Array:
        return np.asarray(np.tanh(z))


class SiLU(Elementwise):
    """``z / (1 + exp(-beta z))``, also called swish; decodes as the identity times its gain.

    Parameters
    ----------
    beta : float
    """

    beta: float

    def __init__(self, *, beta: float = 1.0, gain: Any = None, curvature: Any = None, name: str | None = None) -> None:
        super().__init__(gain=gain, curvature=curvature, name=name)
        self._numbers(beta=beta)

    def function(self, z: Array) -> Array:
        return np.asarray(z * _logistic(self.beta * z))


class GELU(Elementwise):
    """``z Φ(z)``, Φ the distribution of the normal law; decodes as the identity times its gain.

    Parameters
    ----------
    approximate : {"none", "tanh"}
        Whether Φ is exact, or approximated in the usual way by a hyperbolic tangent.
    """

    approximate: str

    def __init__(
        self, *, approximate: str = "none", gain: Any = None, curvature: Any = None, name: str | None = None
    ) -> None:
        super().__init__(gain=gain, curvature=curvature, name=name)
        if approximate not in ("none", "tanh"):
            raise InvalidValueError(f"GELU: approximate must be 'none' or 'tanh', not {approximate!r}.")
        self._set(approximate=approximate)

    def function(self, z: Array) -> Array:
        if self.approximate == "tanh":
            return np.asarray(z * (1 + np.tanh(0.7978845608028654 * (z + 0.044715 * z * z * z))) / 2)
        from scipy.special import erf

        return np.asarray(z * (1 + erf(z * 0.7071067811865476)) / 2)


class HardSigmoid(Elementwise):
    """``min(max(alpha z + beta, 0), 1)``; decodes as the identity times its gain.

    Parameters
    ----------
    alpha, beta : float
        PyTorch's, 1/6 and 1/2, unless given. ONNX's `alpha` is 1/5.
    """

    alpha: float
    beta: float

    def __init__(
        self,
        *,
        alpha: float = 1 / 6,
        beta: float = 0.5,
        gain: Any = None,
        curvature: Any = None,
        name: str | None = None,
    ) -> None:
        super().__init__(gain=gain, curvature=curvature, name=name)
        self._numbers(alpha=alpha, beta=beta)

    def function(self, z: Array) -> Array:
        return np.asarray(np.clip(self.alpha * z + self.beta, 0, 1))

    @property
    def pieces(self) -> Any:
        """The straight pieces of the function, the lowest first: where each ends, its slope, and its line's value at 0."""
        if not self.alpha:
            return ((np.inf, 0.0, float(np.clip(self.beta, 0, 1))),)
        ends = -self.beta / self.alpha, (1 - self.beta) / self.alpha
        below, above = (0.0, 1.0) if self.alpha > 0 else (1.0, 0.0)
        return (min(ends), 0.0, below), (max(ends), self.alpha, self.beta), (np.inf, 0.0, above)


class HardSwish(Elementwise):
    """``z · min(max(z / 6 + 1/2, 0), 1)``; decodes as the identity times its gain."""

    def function(self, z: Array) -> Array:
        return np.asarray(z * np.clip(z / 6 + 0.5, 0, 1))


class Clip(Elementwise):
    """``min(max(z, low), high)``: ReLU6 is ``Clip(0, 6)``; decodes as the identity times its gain.

    Parameters
    ----------
    low, high : float
        −∞ and ∞ are allowed.
    """

    low: float
    high: float

    def __init__(
        self, low: float, high: float, *, gain: Any = None, curvature: Any = None, name: str | None = None
    ) -> None:
        super().__init__(gain=gain, curvature=curvature, name=name)
        for value in (low, high):
            if not isinstance(value, (int, float, np.integer, np.floating)) or np.isnan(value):
                raise InvalidValueError(f"Clip: low and high must be numbers, not {value!r}.")
        if low > high:
            raise InvalidValueError(f"Clip: low must not be above high, and they are {low} and {high}.")
        self._set(low=float(low), high=float(high))

    def function(self, z: Array) -> Array:
        return np.asarray(np.clip(z, self.low, self.high))

    @property
    def pieces(self) -> Any:
        """The straight pieces of the function, the lowest first: where each ends, its slope, and its line's value at 0."""
        low = ((self.low, 0.0, self.low),) if self.low > -np.inf else ()
        high = ((self.high, 1.0, 0.0), (np.inf, 0.0, self.high)) if self.high < np.inf else ((np.inf, 1.0, 0.0),)
        return (*low, *high)


class ELU(Elementwise):
    """``z`` where positive, ``alpha (exp(z / scale) - 1)`` elsewhere; decodes as the identity times its gain.

    Parameters
    ----------
    alpha : float
    scale : float
        1, except for a CELU, whose scale equals its alpha.
    """

    alpha: float
    scale: float

    def __init__(
        self,
        *,
        alpha: float = 1.0,
        scale: float = 1.0,
        gain: Any = None,
        curvature: Any = None,
        name: str | None = None,
    ) -> None:
        super().__init__(gain=gain, curvature=curvature, name=name)
        self._numbers(alpha=alpha, scale=scale)
        if not scale:
            raise InvalidValueError("ELU: scale must not be 0.")

    def function(self, z: Array) -> Array:
        return np.asarray(np.where(z > 0, z, self.alpha * np.expm1(np.minimum(z, 0) / self.scale)))


class SELU(Elementwise):
    """``gamma z`` where positive, ``gamma alpha (exp(z) - 1)`` elsewhere; decodes as the identity times its gain.

    Parameters
    ----------
    alpha, gamma : float
        Unless given, those with which responses keep mean 0 and variance 1 from layer to layer.
    """

    alpha: float
    gamma: float

    def __init__(
        self,
        *,
        alpha: float = 1.6732632423543772,
        gamma: float = 1.0507009873554805,
        gain: Any = None,
        curvature: Any = None,
        name: str | None = None,
    ) -> None:
        super().__init__(gain=gain, curvature=curvature, name=name)
        self._numbers(alpha=alpha, gamma=gamma)

    def function(self, z: Array) -> Array:
        return np.asarray(self.gamma * np.where(z > 0, z, self.alpha * np.expm1(np.minimum(z, 0))))


class Softplus(Elementwise):
    """``log(1 + exp(z))``; decodes as the identity times its gain."""

    def function(self, z: Array) -> Array:
        return np.asarray(np.logaddexp(z, np.zeros((), z.dtype)))


class Mish(Elementwise):
    """``z tanh(log(1 + exp(z)))``; decodes as the identity times its gain."""

    def function(self, z: Array) -> Array:
        return np.asarray(z * np.tanh(np.logaddexp(z, np.zeros((), z.dtype))))


class Power(Elementwise):
    """``z ** exponent``: a square, a root, a reciprocal; decodes only with a gain.

    Parameters
    ----------
    exponent : float

    Notes
    -----
    Our choice: the slope of a power differs too much from response to response for the identity to stand in for it.

    Examples
    --------
    >>> from decoding import Network
    >>> Network([Power(-1)]).forward([[[[2, 4]]]])
    array([[[[0.5 , 0.25]]]])
    """

    exponent: float

    needs_gain = True

    def __init__(self, exponent: float, *, gain: Any = None, curvature: Any = None, name: str | None = None) -> None:
        super().__init__(gain=gain, curvature=curvature, name=name)
        self._numbers(exponent=exponent)

    def function(self, z: Array) -> Array:
        with np.errstate(divide="ignore", invalid="ignore"):  # 1 / 0 is infinite, the root of −1 no number
            return np.asarray(np.power(z, z.dtype.type(self.exponent)))


class Quantize(Elementwise):
    """Rounds to the levels that few bits can hold, ``step · (clip(round(z / step) + zero, low, high) - zero)``; decodes as the identity times its gain.

    Parameters
    ----------
    step : float
        The distance between two levels; positive.
    zero : int
        The integer that stands for 0.
    low, high : int
        The least and the largest integer: 0 and 255 unless given.

    Notes
    -----
    Our choice: decoding passes over the rounding, as it passes over rectifiers.

    Examples
    --------
    >>> from decoding import Network
    >>> Network([Quantize(0.5, zero=2, high=7)]).forward([[[[-3, 0.6, 0.8, 9]]]])
    array([[[[-1. ,  0.5,  1. ,  2.5]]]])
    """

    step: float
    zero: float
    low: float
    high: float

    def __init__(
        self,
        step: float,
        *,
        zero: float = 0,
        low: float = 0,
        high: float = 255,
        gain: Any = None,
        curvature: Any = None,
        name: str | None = None,
    ) -> None:
        super().__init__(gain=gain, curvature=curvature, name=name)
        self._numbers(step=step, zero=zero, low=low, high=high)
        if self.step <= 0 or self.low > self.high:
            raise InvalidValueError(f"Quantize: step {step} must be positive, and low {low} not above high {high}.")

    def function(self, z: Array) -> Array:
        step = z.dtype.type(self.step)
        return np.asarray((np.clip(np.rint(z / step) + self.zero, self.low, self.high) - self.zero) * step)


class Softsign(Elementwise):
    """``z / (1 + |z|)``; decodes as the identity times its gain."""

    def function(self, z: Array) -> Array:
        return np.asarray(z / (1 + np.abs(z)))


class Exp(Elementwise):
    """``exp(z)``; decodes as the identity times its gain."""

    def function(self, z: Array) -> Array:
        return np.asarray(np.exp(z))


class PReLU(Elementwise):
    """``z`` where positive, ``slope z`` elsewhere, with one slope per channel; decodes as the identity times its gain.

    Parameters
    ----------
    slope : array_like of shape (K,)
        May be above 1 or negative.

    Raises
    ------
    ShapeError
        If `slope` is not of shape (K,).
    """

    slope: Array

    def __init__(
        self, slope: npt.ArrayLike, *, gain: Any = None, curvature: Any = None, name: str | None = None
    ) -> None:
        super().__init__(gain=gain, curvature=curvature, name=name)
        slope = as_array(slope, "PReLU: slope")
        if slope.ndim != 1 or not slope.size:
            raise ShapeError(f"PReLU: slope must have the shape (K,), one value per channel, not {slope.shape}.")
        self._set(slope=kept(slope))

    @property
    def weights(self) -> dict[str, Array]:
        return {"slope": self.slope}

    @property
    def in_channels(self) -> int:  # type: ignore[override]
        return self.slope.size

    def channels(self, *widths: int | None) -> int:
        if widths[0] not in (None, self.slope.size):
            raise ShapeError(f"it has slopes for {plural(self.slope.size, 'channel')}, and gets {widths[0]}.")
        return self.slope.size

    def function(self, z: Array) -> Array:
        slope = self.slope.astype(z.dtype)
        return np.asarray(np.where(z > 0, z, slope.reshape(-1, *(1,) * (z.ndim - 2)) * z))

    @property
    def pieces(self) -> Any:
        """The straight pieces of the function, the lowest first: where each ends, its slope, and its line's value at 0."""
        return (0.0, self.slope.astype(np.float64), 0.0), (np.inf, 1.0, 0.0)


class LogSoftmax(Layer):
    """The logarithm of `Softmax`; decodes as the identity.

    Notes
    -----
    Our choice: as `Softmax`, it keeps the order of the responses.
    """

    def forward(self, *xs: Array, backend: Any) -> Any:
        x = xs[0] - xs[0].max(axis=1, keepdims=True)
        return x - np.log(np.exp(x).sum(axis=1, keepdims=True))


def _logistic(z: Array) -> Array:
    small = np.exp(-np.abs(z))  # never overflows
    return np.asarray(np.where(z >= 0, 1, small) / (1 + small))


# The activations that exporters also write as several operators; `builder` recognizes them by their values.
COMPOSED: Sequence[Layer] = (
    SiLU(),
    HardSwish(),
    GELU(),
    GELU(approximate="tanh"),
    Mish(),
    HardSigmoid(),
    Softplus(),
    SiLU(beta=1.702),
    Softsign(),
)
