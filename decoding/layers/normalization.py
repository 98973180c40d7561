"""Layers that normalize: by moments (means and deviations) over the training images, or by neighbouring responses."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from ..arguments import Array, as_array, as_count, as_number, plural
from ..errors import InvalidValueError, ShapeError, UnsupportedLayerError
from .base import Layer, kept


class BatchNorm(Layer):
    """Normalizes each channel by the moments of the training images; decodes as its scale.

    ``y = scale · (x - mean) / std + bias``, channel by channel; ``decode(z) = z · scale / std``.

    Parameters
    ----------
    scale : array_like of shape (K,)
    bias : array_like of shape (K,), optional
        Added to the responses; zeros unless given. Decoding ignores it, as any bias.
    mean, std : array_like of shape (K,), optional
        The mean and the deviation over the training images, both or neither. Some old files lack them. Such a layer cannot
        run, and decodes as ``z · scale``.
    epsilon : float
        The constant that `std` contains besides the variance of the training images: ``std² = variance + epsilon``. The
        layer runs without it; it serves to tell how much the responses vary, ``|scale| · √(std² − epsilon) / std``.
    name : str, optional

    Raises
    ------
    ShapeError
        If the arrays are not all of shape (K,), or only one of the moments is given.
    InvalidValueError
        If an array does not hold real numbers.

    Notes
    -----
    Our choice: at test time the layer is a convolution with one 1×1 filter per channel, and decodes as that
    convolution does (paper, equation 2). As MatConvNet does it, `std` is the square root of the variance plus epsilon.

    Examples
    --------
    >>> from decoding import Network
    >>> net = Network([BatchNorm([3, 8], [1, 0], mean=[0, 5], std=[1, 2])])
    >>> net.forward([[[[1]], [[7]]]]).ravel()
    array([4., 8.])
    """

    scale: Array
    bias: Array
    mean: Array | None
    std: Array | None
    epsilon: float

    def __init__(
        self,
        scale: npt.ArrayLike,
        bias: npt.ArrayLike | None = None,
        *,
        mean: npt.ArrayLike | None = None,
        std: npt.ArrayLike | None = None,
        epsilon: float = 0.0,
        name: str | None = None,
    ) -> None:
        if (mean is None) != (std is None):
            raise ShapeError("BatchNorm: give both mean and std, or neither.")
        given = {"scale": scale, "bias": bias, "mean": mean, "std": std}
        arrays = {
            what: None if value is None else kept(as_array(value, f"BatchNorm: {what}"))
            for what, value in given.items()
        }
        first = as_array(scale, "BatchNorm: scale")
        if first.ndim != 1 or not first.size:
            raise ShapeError(f"BatchNorm: scale must have the shape (K,), one value per channel, not {first.shape}.")
        for what, array in arrays.items():
            if array is not None and array.shape != first.shape:
                raise ShapeError(
                    f"BatchNorm: {what} {array.shape} for {plural(first.size, 'channel')}: scale {first.shape}."
                )
        if arrays["bias"] is None:
            arrays["bias"] = kept(np.zeros_like(arrays["scale"]))
        as_number(epsilon, "BatchNorm: epsilon", "a number, at least 0", 0)
        self._set(**arrays, epsilon=float(epsilon), curvature=None, name=name)

    @property
    def weights(self) -> dict[str, Array]:
        every = {"scale": self.scale, "bias": self.bias, "mean": self.mean, "std": self.std}
        return {what: array for what, array in every.items() if array is not None}

    @property
    def n_parameters(self) -> int:
        return self.scale.size + self.bias.size  # the moments are measured, not learned

    @property
    def in_channels(self) -> int:  # type: ignore[override]
        return self.scale.size

    def check(self) -> None:
        super().check()
        if self.std is not None and not (self.std > 0).all():
            k = int((self.std <= 0).argmax())
            raise InvalidValueError(f"std must be positive, and is {self.std[k]} for channel {k}.")

    def channels(self, *widths: int | None) -> int:
        if widths[0] not in (None, self.scale.size):
            raise ShapeError(f"it normalizes {plural(self.scale.size, 'channel')}, and gets {widths[0]}.")
        return self.scale.size

    @cached_property
    def gain(self) -> Array:
        """What the layer multiplies by, both in the forward pass and in decoding, (K,)."""
        scale = self.scale.astype(np.float64)
        with np.errstate(all="ignore"):  # `check` refuses such deviations
            return kept(scale if self.std is None else scale / self.std.astype(np.float64))

    def forward(self, *xs: Array, backend: Any) -> Any:
        if self.mean is None:
            raise UnsupportedLayerError(
                "it has no moments, so it cannot be run on single images; it can be decoded. If you know them, give "
                "layer.replace(mean=…, std=…)."
            )
        x, bias, mean = xs[0], self.bias.astype(np.float64), self.mean.astype(np.float64)
        # One product and one sum, in place: with the mean subtracted first it took a third longer. Once for each image: where
        # images lie side by side, these are 1.2 times as fast with rows that run through channels.
        gain, offset = (
            np.repeat(array.astype(x.dtype), len(x)).reshape(array.size, len(x)).T[..., np.newaxis, np.newaxis]
            for array in (self.gain, bias - mean * self.gain)
        )
        y = x * gain
        y += offset
        return y


class LRN(Layer):
    """Local response normalization, across channels; decodes as the identity.

    ``y[k] = x[k] / (kappa + alpha · Σ_q x[q]²)^beta``, q from ``k - ⌊(depth - 1)/2⌋`` to ``k + ⌈(depth - 1)/2⌉``.

    Parameters
    ----------
    depth : int
        Channels in a window; those beyond the first and the last are left out.
    kappa, alpha, beta : float
        None negative. The defaults are MatConvNet's. `alpha` is not divided by `depth`, unlike in other libraries.
    gain : float or array_like of shape (K,), optional
        See `Layer`.
    name : str, optional

    Raises
    ------
    InvalidValueError
        If a parameter is not a finite number, or negative.

    Notes
    -----
    Our choice, for the reason that `ReLU` gives: it multiplies responses by a positive number, and changes the sign of none.

    Examples
    --------
    >>> from decoding import Network
    >>> net = Network([LRN(2, kappa=1, alpha=1, beta=1)], input_shape=(3, 1, 1))
    >>> net.forward([[[[1]], [[2]], [[0]]]]).ravel() * [6, 5, 1]      # each with the channel above it
    array([1., 2., 0.])
    """

    depth: int
    kappa: float
    alpha: float
    beta: float

    def __init__(
        self,
        depth: int = 5,
        *,
        kappa: float = 1.0,
        alpha: float = 1e-4 / 5,
        beta: float = 0.75,
        gain: Any = None,
        name: str | None = None,
    ) -> None:
        super().__init__(gain=gain, name=name)
        for what, value in {"kappa": kappa, "alpha": alpha, "beta": beta}.items():
            as_number(value, f"LRN: {what}", "a number, at least 0", 0)
        self._set(depth=as_count(depth, "LRN: depth"), kappa=float(kappa), alpha=float(alpha), beta=float(beta))

    def forward(self, *xs: Array, backend: Any) -> Any:
        return xs[0] / self._divisor(xs[0])

    def factor(self, x: Array) -> Array:
        """What the layer multiplies each response by."""
        return np.asarray(1 / self._divisor(x))

    def _divisor(self, x: Array) -> Array:
        most = x.shape[1] - 1
        below, above = min((self.depth - 1) // 2, most), min(self.depth // 2, most)
        squares = np.pad(np.square(x), ((0, 0), (below, above), (0, 0), (0, 0)))
        sums = np.lib.stride_tricks.sliding_window_view(squares, below + above + 1, axis=1).sum(axis=-1)
        norm = self.kappa + self.alpha * sums
        if not norm.all():
            raise InvalidValueError("it divides by zero: kappa is 0, and so are all responses of a window.")
        return np.asarray(norm**self.beta)
