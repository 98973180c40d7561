"""Layers that enlarge the maps. They run, but units above them differ by phase (see `Resampling`) and cannot be decoded."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ..arguments import Array, Pads, Pair, as_array, as_array4, as_pads, as_pair, plural
from ..errors import InvalidValueError, ShapeError, UnsupportedLayerError
from .base import Layer, Shape, kept
from .convolution import Conv


class Resampling(Layer):
    """A layer that makes maps larger. Units above it differ by phase, and cannot be decoded.

    Behind an enlargement by two, for example, units in even rows and units in odd rows of one channel see the image in
    different ways. So no one filter describes the channel. Layers below can be decoded.
    """

    phases = True

    def check_decoding(self) -> None:
        raise UnsupportedLayerError(
            "it makes maps larger: above it the units of one channel see the image in different ways, by their phase, so "
            "there is no one filter to decode. Decode the layers below it."
        )


class ConvTranspose(Resampling):
    """A transposed convolution, the adjoint of a `Conv`: each response is replaced by its filter, and copies add up.

    Parameters
    ----------
    filters : array_like of shape (C, K / groups, h, w)
        For each map below, the filters that take the place of its responses in every map above.
    bias : array_like of shape (K,), optional
    stride : int or (rows, columns)
        Step between the copies.
    pad : int or (top, bottom, left, right)
        Cells cut from the result.
    extra : int or (rows, columns)
        Cells added at the bottom and the right before cutting, which hold only the bias. PyTorch calls it output padding.
    dilation : int or (rows, columns)
    groups : int
    name : str, optional

    Raises
    ------
    ShapeError
        If the arrays do not fit each other.

    Examples
    --------
    >>> from decoding import Network
    >>> Network([ConvTranspose([[[[1, 2, 3]]]], stride=(1, 2))]).forward([[[[1, 10]]]])
    array([[[[ 1.,  2., 13., 20., 30.]]]])
    """

    filters: Array
    bias: Array
    steps: Pair
    cut: Pads
    extra: Pair
    dilation: Pair
    groups: int

    def __init__(
        self,
        filters: npt.ArrayLike,
        bias: npt.ArrayLike | None = None,
        *,
        stride: Any = 1,
        pad: Any = 0,
        extra: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        bank = kept(as_array4(filters, "ConvTranspose", "filters", "(C, K, h, w)"))
        if not isinstance(groups, (int, np.integer)) or isinstance(groups, bool) or groups < 1 or len(bank) % groups:
            raise ShapeError(
                f"ConvTranspose: {plural(len(bank), 'channel')} cannot be split into {groups!r} groups: filters {bank.shape}."
            )
        units = bank.shape[1] * int(groups)
        offsets = np.zeros(units, bank.dtype) if bias is None else as_array(bias, "ConvTranspose: bias")
        if offsets.shape != (units,):
            raise ShapeError(
                f"ConvTranspose: bias {offsets.shape} for {plural(units, 'filter')}: filters {bank.shape}."
            )
        more = as_pads(extra if np.ndim(extra) == 0 else (0, extra[0], 0, extra[1]), "ConvTranspose: extra")
        self._set(
            filters=bank,
            bias=kept(offsets),
            steps=as_pair(stride, "ConvTranspose: stride"),
            cut=as_pads(pad, "ConvTranspose: pad"),
            extra=(more[1], more[3]),
            dilation=as_pair(dilation, "ConvTranspose: dilation"),
            groups=int(groups),
        )

    def plain(self) -> Layer:
        """The same as a `Conv` with the bank turned by 180°, if the stride is 1, since that can be decoded; else the layer."""
        sizes = [(self.filters.shape[2 + a] - 1) * self.dilation[a] for a in (0, 1)]
        pad = [sizes[i // 2] - cut for i, cut in enumerate(self.cut)]
        if self.steps != (1, 1) or self.extra != (0, 0) or min(pad) < 0:
            return self
        channels, share, *size = self.filters.shape
        bank = self.filters.reshape(self.groups, channels // self.groups, share, *size).swapaxes(1, 2)[..., ::-1, ::-1]
        bank = bank.reshape(self.groups * share, channels // self.groups, *size)
        return Conv(bank, self.bias, pad=pad, dilation=self.dilation, groups=self.groups, name=self.name)

    def fields(self) -> dict[str, Any]:
        return {
            "filters": self.filters, "bias": self.bias, "stride": self.steps, "pad": self.cut, "extra": self.extra,
            "dilation": self.dilation, "groups": self.groups, "name": self.name,
        }  # fmt: skip

    @property
    def weights(self) -> dict[str, Array]:
        return {"filters": self.filters, "bias": self.bias}

    @property
    def in_channels(self) -> int:  # type: ignore[override]
        return len(self.filters)

    def channels(self, *widths: int | None) -> int:
        if widths[0] not in (None, len(self.filters)):
            raise ShapeError(
                f"its filters want {plural(len(self.filters), 'channel')}, and get {widths[0]}: filters {self.filters.shape}."
            )
        return self.bias.size

    def shape(self, *shapes: Shape) -> Shape:
        channels = self.channels(shapes[0][0])
        sides = [
            (shapes[0][1 + a] - 1) * self.steps[a]
            + (self.filters.shape[2 + a] - 1) * self.dilation[a]
            + 1
            + self.extra[a]
            - self.cut[2 * a]
            - self.cut[2 * a + 1]
            for a in (0, 1)
        ]
        if min(sides) < 1:
            raise ShapeError(f"its pads {self.cut} cut everything from a map {shapes[0]}.")
        return channels, sides[0], sides[1]

    def forward(self, *xs: Array, backend: Any) -> Any:
        x, (h, w) = xs[0], self.filters.shape[2:]
        bank = np.zeros(
            (*self.filters.shape[:2], (h - 1) * self.dilation[0] + 1, (w - 1) * self.dilation[1] + 1), x.dtype
        )
        bank[:, :, :: self.dilation[0], :: self.dilation[1]] = self.filters
        parts = zip(np.split(x, self.groups, axis=1), np.split(bank, self.groups), strict=True)
        maps = [np.asarray(backend.substitute(part, filters, stride=self.steps)) for part, filters in parts]
        y = np.concatenate(maps, axis=1) if len(maps) > 1 else maps[0]
        y = np.pad(y, ((0, 0), (0, 0), (0, self.extra[0]), (0, self.extra[1])))
        top, bottom, left, right = self.cut
        y = y[:, :, top : y.shape[2] - bottom, left : y.shape[3] - right]
        return y + self.bias.astype(y.dtype)[:, np.newaxis, np.newaxis]


class Resize(Resampling):
    """Enlarges or shrinks every map by interpolation.

    Output cell `p` of ``⌊in · scale⌋`` takes the value at ``u`` of the input: ``p / scale`` if `align` is
    ``"corner"``, ``(p + 1/2) / scale - 1/2`` if ``"centre"``, ``p · (in - 1) / (out - 1)`` if ``"corners"``.

    Parameters
    ----------
    scale : float or (rows, columns)
        The size of the output over that of the input.
    mode : {"nearest", "linear"}
    align : {"corner", "centre", "corners"}
    rounding : {"floor", "ceil", "down", "up"}
        How `u` becomes a cell in mode nearest: the cell below, the cell above, or the nearest, on a tie the lower or the upper.
    name : str, optional

    Raises
    ------
    InvalidValueError
        If an argument is none of these.

    Examples
    --------
    >>> from decoding import Network
    >>> Network([Resize((1, 2))]).forward([[[[1, 10]]]])
    array([[[[ 1.,  1., 10., 10.]]]])
    """

    scale: tuple[float, float]
    mode: str
    align: str
    rounding: str

    def __init__(
        self,
        scale: Any,
        *,
        mode: str = "nearest",
        align: str = "corner",
        rounding: str = "floor",
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        factors = (
            np.broadcast_to(as_array(scale, "Resize: scale"), 2)
            if np.ndim(scale) == 0
            else as_array(scale, "Resize: scale")
        )
        if (
            factors.shape != (2,)
            or not np.isfinite(factors).all()
            or not (factors > 0).all()
            or (factors > 65536).any()
        ):
            raise InvalidValueError(f"Resize: scale must be one positive number, or (rows, columns), not {scale!r}.")
        choices = {
            "mode": ("nearest", "linear"),
            "align": ("corner", "centre", "corners"),
            "rounding": ("floor", "ceil", "down", "up"),
        }
        for what, value in {"mode": mode, "align": align, "rounding": rounding}.items():
            if value not in choices[what]:
                raise InvalidValueError(f"Resize: {what} must be one of {', '.join(choices[what])}, not {value!r}.")
        self._set(scale=(float(factors[0]), float(factors[1])), mode=mode, align=align, rounding=rounding)

    def shape(self, *shapes: Shape) -> Shape:
        rows, columns = (self._side(shapes[0][1 + a], a) for a in (0, 1))
        if min(rows, columns) < 1:
            raise ShapeError(f"it shrinks a map {shapes[0]} to nothing.")
        return shapes[0][0], rows, columns

    def _side(self, side: int, axis: int) -> int:
        return int(np.floor(side * self.scale[axis] + 1e-6))

    def forward(self, *xs: Array, backend: Any) -> Any:
        return self._along(self._along(xs[0], 0), 1)

    def linear(self, *xs: Array, backend: Any) -> Any:
        return self.forward(*xs, backend=backend)

    def _along(self, x: Array, axis: int) -> Array:
        side = x.shape[2 + axis]
        u = self.places(side, axis)
        if self.mode == "nearest":
            places = {
                "floor": np.floor(u),
                "ceil": np.ceil(u),
                "up": np.floor(u + 0.5),
                "down": np.ceil(u - 0.5),
            }[self.rounding]
            return np.asarray(x.take(np.clip(places.astype(int), 0, side - 1), axis=2 + axis))
        u = np.clip(u, 0, side - 1)
        low = np.floor(u).astype(int)
        part = (u - low).astype(x.dtype)
        part = part[:, np.newaxis] if axis == 0 else part
        high = np.minimum(low + 1, side - 1)
        return np.asarray(x.take(low, axis=2 + axis) * (1 - part) + x.take(high, axis=2 + axis) * part)

    def places(self, side: int, axis: int) -> Array:
        """Where in an input of so many cells each output cell takes its value."""
        out = self._side(side, axis)
        p = np.arange(out)
        if self.align == "centre":
            return np.asarray((p + 0.5) / self.scale[axis] - 0.5)
        if self.align == "corners":
            return np.asarray(p * ((side - 1) / (out - 1) if out > 1 else 0.0))
        return np.asarray(p / self.scale[axis])


class PixelShuffle(Resampling):
    """Turns channels into rows and columns: every r·c channels become one, in which each cell is a block of r×c pixels.

    ``y[n, k, i·r + a, j·c + b] = x[n, (k·r + a)·c + b, i, j]``.

    Parameters
    ----------
    factor : int or (rows, columns)
    name : str, optional

    Examples
    --------
    >>> from decoding import Network
    >>> Network([PixelShuffle((1, 2))], input_shape=(2, 1, 2)).forward([[[[1, 2]], [[3, 4]]]])
    array([[[[1., 3., 2., 4.]]]])
    """

    factor: Pair

    def __init__(self, factor: Any, *, name: str | None = None) -> None:
        super().__init__(name=name)
        self._set(factor=as_pair(factor, "PixelShuffle: factor"))

    def channels(self, *widths: int | None) -> int | None:
        block = self.factor[0] * self.factor[1]
        if widths[0] is not None and widths[0] % block:
            raise ShapeError(
                f"it makes one channel of every {block}, and gets {widths[0]}, which is no multiple of {block}."
            )
        return None if widths[0] is None else widths[0] // block

    def shape(self, *shapes: Shape) -> Shape:
        channels = self.channels(shapes[0][0])
        assert channels is not None
        return channels, shapes[0][1] * self.factor[0], shapes[0][2] * self.factor[1]

    def forward(self, *xs: Array, backend: Any) -> Any:
        (n, channels, rows, columns), (r, c) = xs[0].shape, self.factor
        x = xs[0].reshape(n, channels // (r * c), r, c, rows, columns).transpose(0, 1, 4, 2, 5, 3)
        return x.reshape(n, channels // (r * c), rows * r, columns * c)

    def linear(self, *xs: Array, backend: Any) -> Any:
        return self.forward(*xs, backend=backend)
