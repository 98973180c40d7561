"""Layers that normalize each image by its own mean and deviation: they run, and can be decoded only with a gain."""

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

    def _moments(self, x: Array, axes: Any) -> tuple[Any, Any]:
        """Mean and deviation along the axes."""
        mean = x.mean(axis=axes, keepdims=True)
        return mean, np.sqrt(np.square(x - mean).mean(axis=axes, keepdims=True) + self.epsilon)


class LayerNorm(_Standardizing):
    """Normalizes the channels of each position by their own mean and deviation; decodes only with a gain.

    ``y = scale · (x - mean) / √(variance + epsilon) + bias``, the moments over the channels at one place.

    Parameters
    ----------
    scale : array_like of shape (K,)
    bias : array_like of shape (K,), optional
    epsilon : float
    gain : float or array_like of shape (K,), optional
        What decoding multiplies each channel by. The deviation depends on the image, so without a gain there is no decoding.
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
        mean, deviation = self._moments(xs[0], 1)
        return self._scaled((xs[0] - mean) / deviation)

    def factor(self, x: Array) -> Array:
        """What the layer multiplies each response by, after it has subtracted the mean."""
        return np.asarray(self.scale.astype(x.dtype)[:, np.newaxis, np.newaxis] / self._moments(x, 1)[1])


class GroupNorm(_Standardizing):
    """Normalizes each group of channels by its mean and deviation over the whole map; decodes only with a gain.

    Parameters
    ----------
    scale : array_like of shape (K,)
    bias : array_like of shape (K,), optional
    groups : int
        How many groups the channels are split into, each of neighbours that are normalized together. With as many groups as
        channels this is an instance normalization, with one group a layer normalization of the whole map.
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
        x = self._grouped(xs[0])
        mean, deviation = self._moments(x, 2)
        return self._scaled(((x - mean) / deviation).reshape(xs[0].shape))

    def factor(self, x: Array) -> Array:
        """What the layer multiplies each response by, after it has subtracted the mean."""
        deviation = self._moments(self._grouped(x), 2)[1].repeat(self.scale.size // self.groups, axis=1)
        return np.asarray(self.scale.astype(x.dtype)[:, np.newaxis, np.newaxis] / deviation[..., np.newaxis])

    def _grouped(self, x: Array) -> Array:
        """The numbers of each group in a row, (N, groups, …)."""
        return x.reshape(len(x), self.groups, -1)
