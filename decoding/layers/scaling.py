"""Layers that multiply by constants, add constants, or pad the maps."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ..arguments import Array, Pads, as_array, plural
from ..errors import InvalidValueError, ShapeError
from .base import Layer, Shape, kept


class Scale(Layer):
    """Multiplies each channel by a constant and adds another, ``y = scale · x + bias``; decodes as the scale.

    Parameters
    ----------
    scale : array_like of shape (K,)
    bias : array_like of shape (K,), optional
        Zeros unless given. Decoding ignores it, as any bias.
    name : str, optional

    Raises
    ------
    ShapeError
        If the arrays are not both of shape (K,).

    Notes
    -----
    Our choice: it is a convolution with one 1×1 filter per channel, and decodes as that convolution does.

    Examples
    --------
    >>> from decoding import Network, decode_filter
    >>> net = Network([Scale([2, -3], [0, 1])])
    >>> net.forward([[[[5]], [[7]]]]).ravel()
    array([ 10., -20.])
    >>> decode_filter(net, 1, 1).ravel()
    array([ 0., -3.])
    """

    scale: Array
    bias: Array

    def __init__(self, scale: npt.ArrayLike, bias: npt.ArrayLike | None = None, *, name: str | None = None) -> None:
        factors = as_array(scale, "Scale: scale")
        if factors.ndim != 1 or not factors.size:
            raise ShapeError(f"Scale: scale must have the shape (K,), one value per channel, not {factors.shape}.")
        factors = kept(factors)
        offsets = np.zeros_like(factors) if bias is None else as_array(bias, "Scale: bias")
        if offsets.shape != factors.shape:
            raise ShapeError(f"Scale: bias {offsets.shape} for {plural(factors.size, 'channel')}.")
        self._set(scale=factors, bias=kept(offsets), name=name)

    @property
    def gain(self) -> Array:
        """What decoding multiplies each channel by: the scale."""
        return self.scale

    @property
    def curvature(self) -> None:
        """None: the layer is linear."""
        return None

    @property
    def weights(self) -> dict[str, Array]:
        return {"scale": self.scale, "bias": self.bias}

    @property
    def in_channels(self) -> int:  # type: ignore[override]
        return self.scale.size

    def channels(self, *widths: int | None) -> int:
        if widths[0] not in (None, self.scale.size):
            raise ShapeError(f"it scales {plural(self.scale.size, 'channel')}, and gets {widths[0]}.")
        return self.scale.size

    def forward(self, *xs: Array, backend: Any) -> Any:
        scale, bias = (array.astype(xs[0].dtype)[:, np.newaxis, np.newaxis] for array in (self.scale, self.bias))
        return xs[0] * scale + bias


class Pad(Layer):
    """Pads the maps, or crops them; decodes as the identity, shifted by the pads.

    Parameters
    ----------
    pad : (top, bottom, left, right)
        Cells to add; to take away, where negative.
    value : float
        What the new cells hold, where `mode` is ``"constant"``.
    mode : {"constant", "reflect", "edge"}
        What the new cells hold: `value`, the mirrored map (without its edge), or its edge. Decoding treats them all as
        zeros: where cells are repeated, units at the border see some pixels twice, which one filter for all places cannot
        express.
    name : str, optional

    Raises
    ------
    ShapeError
        If `pad` is not four integers.
    InvalidValueError
        If the mode is none of these, or the value is not a number.
    """

    pad: Pads
    value: float
    mode: str

    def __init__(self, pad: Any, *, value: float = 0.0, mode: str = "constant", name: str | None = None) -> None:
        super().__init__(name=name)
        if np.shape(pad) != (4,) or not all(isinstance(n, (int, np.integer)) for n in pad):
            raise ShapeError(f"Pad: pad must be four integers, (top, bottom, left, right), not {pad!r}.")
        if mode not in ("constant", "reflect", "edge"):
            raise InvalidValueError(f"Pad: mode must be 'constant', 'reflect' or 'edge', not {mode!r}.")
        if not isinstance(value, (int, float, np.integer, np.floating)) or np.isnan(value):
            raise InvalidValueError(f"Pad: value must be a number, not {value!r}.")
        top, bottom, left, right = (int(n) for n in pad)
        self._set(pad=(top, bottom, left, right), value=float(value), mode=mode)

    def shape(self, *shapes: Shape) -> Shape:
        channels, rows, columns = super().shape(*shapes)
        sides = ((rows, shapes[0][1], self.pad[:2]), (columns, shapes[0][2], self.pad[2:]))
        if self.mode == "reflect" and any(max(pads) >= side for _, side, pads in sides):
            raise ShapeError(f"its pads {self.pad} mirror more cells than the map {shapes[0]} has.")
        if any(side + min(pads[0], 0) + min(pads[1], 0) < 1 for _, side, pads in sides):
            raise ShapeError(f"its pads {self.pad} crop the map {shapes[0]} to nothing.")
        return channels, rows, columns

    def forward(self, *xs: Array, backend: Any) -> Any:
        top, bottom, left, right = self.pad
        x = xs[0][
            :, :, max(-top, 0) : xs[0].shape[2] - max(-bottom, 0), max(-left, 0) : xs[0].shape[3] - max(-right, 0)
        ]
        pads = ((0, 0), (0, 0), (max(top, 0), max(bottom, 0)), (max(left, 0), max(right, 0)))
        options: dict[str, Any] = {"constant_values": self.value} if self.mode == "constant" else {}
        mode: Any = self.mode
        return np.pad(x, pads, mode, **options)

    def linear(self, *xs: Array, backend: Any) -> Any:
        return self.replace(value=0.0, mode="constant").forward(*xs, backend=backend)
