"""Layers that normalize by the moments of the very image: they run, and decode with a gain only."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ..arguments import Array, as_array, as_count, plural
from ..errors import InvalidValueError, ShapeError
from .base import Layer, kept


class _Standardizing(Layer):
    scale: Array
    bias: Array
    epsilon: float

    needs_gain = True

    def __init__(
        self, scale: npt.ArrayLike, bias: npt.ArrayLike | None, epsilon: float, gain: Any, name: str | None
    ) -> None:
        super().__init__(gain=gain, name=name)
        factors = as_array(scale, f"{self.kind}: scale")
        if factors.ndim != 1 or not factors.size:
            raise ShapeError(
                f"{self.kind}: scale must have the shape (K,), one value per channel, not {factors.shape}."
            )
        factors = kept(factors)
        offsets = np.zeros_like(factors) if bias is None else as_array(bias, f"{self.kind}: bias")
        if offsets.shape != factors.shape:
            raise ShapeError(f"{self.kind}: bias {offsets.shape} for {plural(factors.size, 'channel')}.")
        if not isinstance(epsilon, (int, float, np.integer, np.floating)) or not np.isfinite(epsilon) or epsilon < 0:
            raise InvalidValueError(f"{self.kind}: epsilon must be a number, at least 0, not {epsilon!r}.")
        self._set(scale=factors, bias=kept(offsets), epsilon=float(epsilon))

    @property
    def weights(self) -> dict[str, Array]:
        return {"scale": self.scale, "bias": self.bias}

    @property
    def in_channels(self) -> int:  # type: ignore[override]
        return self.scale.size

    def channels(self, *widths: int | None) -> int:
        if widths[0] not in (None, self.scale.size):
            raise ShapeError(f"it normalizes {plural(self.scale.size, 'channel')}, and gets {widths[0]}.")
        return self.scale.size

    def _scaled(self, x: Array) -> Any:
        scale, bias = (array.astype(x.dtype)[:, np.newaxis, np.newaxis] for array in (self.scale, self.bias))
        return x * scale + bias

    def _standard(self, x: Array, axes: Any) -> Array:
        x = x - x.mean(axis=axes, keepdims=True)
        spread = np.square(x).mean(axis=axes, keepdims=True) + self.epsilon
        return np.asarray(x / np.sqrt(spread))


class LayerNorm(_Standardizing):
    """Normalizes the channels of each position by their own mean and deviation; decodes with a gain only.

    ``y = scale · (x - mean) / √(variance + epsilon) + bias``, the moments over the channels at one place.

    Parameters
    ----------
    scale : array_like of shape (K,)
    bias : array_like of shape (K,), optional
    epsilon : float
    gain : float or array_like of shape (K,), optional
        What decoding multiplies each channel by. The deviation depends on the image, so there is no decoding without.
    name : str, optional

    Examples
    --------
    >>> from decoding import Network
    >>> net = Network([LayerNorm([3, 5], epsilon=0)])
    >>> net.forward([[[[1]], [[2]]]]).ravel()
    array([-3.,  5.])
    """

    def __init__(
        self,
        scale: npt.ArrayLike,
        bias: npt.ArrayLike | None = None,
        *,
        epsilon: float = 1e-5,
        gain: Any = None,
        name: str | None = None,
    ) -> None:
        super().__init__(scale, bias, epsilon, gain, name)

    def forward(self, *xs: Array, backend: Any) -> Any:
        return self._scaled(self._standard(xs[0], 1))


class GroupNorm(_Standardizing):
    """Normalizes each group of channels by its mean and deviation over the whole map; decodes with a gain only.

    Parameters
    ----------
    scale : array_like of shape (K,)
    bias : array_like of shape (K,), optional
    groups : int
        Neighbouring channels that are normalized together: as many groups as channels is an instance normalization, one
        group a layer normalization of the whole map.
    epsilon : float
    gain : float or array_like of shape (K,), optional
        What decoding multiplies each channel by.
    name : str, optional

    Raises
    ------
    ShapeError
        If the channels cannot be split into the groups.

    Examples
    --------
    >>> from decoding import Network
    >>> net = Network([GroupNorm([3, 5], groups=2, epsilon=0)])
    >>> net.forward([[[[1, 2]], [[8, 4]]]]).ravel()
    array([-3.,  3.,  5., -5.])
    """

    groups: int

    def __init__(
        self,
        scale: npt.ArrayLike,
        bias: npt.ArrayLike | None = None,
        *,
        groups: int,
        epsilon: float = 1e-5,
        gain: Any = None,
        name: str | None = None,
    ) -> None:
        super().__init__(scale, bias, epsilon, gain, name)
        groups = as_count(groups, "GroupNorm: groups")
        if self.scale.size % groups:
            raise ShapeError(f"GroupNorm: {plural(self.scale.size, 'channel')} cannot be split into {groups} groups.")
        self._set(groups=groups)

    def forward(self, *xs: Array, backend: Any) -> Any:
        n, channels, rows, columns = xs[0].shape
        x = xs[0].reshape(n, self.groups, channels // self.groups * rows * columns)
        return self._scaled(self._standard(x, 2).reshape(xs[0].shape))
