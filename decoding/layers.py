"""The layers of a network: how each maps responses up (`forward`) and back down (`decode`).

Both are one call to an operator of the backend. `decode_bank` is the same decoding for all units at once, from below:
it carries the decoded bank of the layer below up by one layer.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from .arguments import (
    Array,
    Pads,
    Pair,
    as_array,
    as_array4,
    as_count,
    as_pads,
    as_pair,
    as_pool,
    check_finite,
    plural,
    printable,
)
from .backend import Backend
from .errors import InvalidValueError, ShapeError, UnsupportedLayerError

Shape = tuple[int, int, int]  # (C, H, W)


class Layer:
    """A layer that changes neither size nor channels, and decodes as the identity; frozen.

    The window of every other layer is described by `size`, `stride` and `pad`.
    """

    name: str | None
    size: Pair = (1, 1)
    stride: Pair = (1, 1)
    pad: Pads = (0, 0, 0, 0)
    in_channels: int | None = None  # of the maps below; None where any number will do

    def __init__(self, *, name: str | None = None) -> None:
        self._set(name=name)

    def _set(self, **fields: Any) -> None:
        vars(self).update(fields)

    def __setattr__(self, key: str, value: Any) -> None:
        raise AttributeError(f"a layer cannot be changed; make another {self.kind} instead")

    def __repr__(self) -> str:
        fields = (
            f"{key}={value.shape if isinstance(value, np.ndarray) else value!r}"
            for key, value in vars(self).items()
            if key[0] != "_" and key != "dense"
        )
        return f"{self.kind}({', '.join(fields)})"

    @property
    def kind(self) -> str:
        """What the layer is called in tables: the name of its class."""
        return type(self).__name__

    @property
    def weights(self) -> dict[str, Array]:
        """The arrays that came from training, by name."""
        return {}

    @property
    def n_parameters(self) -> int:
        """Numbers learned in training."""
        return sum(array.size for array in self.weights.values())

    def decodes_bottom_up(self, unpool: str) -> bool:
        """Whether `decode_bank` gives what `decode` gives."""
        return True

    @cached_property
    def _checked(self) -> bool:
        for what, array in self.weights.items():
            check_finite(array, what)
        return True

    def check(self) -> None:
        """Refuse weights that are not finite."""
        self._checked  # noqa: B018  # computed once: the arrays are read-only

    def channels(self, channels: int | None) -> int | None:
        """Channels of the output for an input of so many; None where nothing below says."""
        return channels

    def shape(self, shape: Shape) -> Shape:
        """(C, H, W) of the output for an input of (C, H, W): ``(in + pads - size) // stride + 1``."""
        _, height, width = shape
        top, bottom, left, right = self.pad
        padded = height + top + bottom, width + left + right
        if padded[0] < self.size[0] or padded[1] < self.size[1]:
            raise ShapeError(
                f"its window of {self.size[0]}×{self.size[1]} does not fit in a (padded) map of {padded[0]}×{padded[1]}. Give larger images."
            )
        channels = self.channels(shape[0])
        assert channels is not None
        return (
            channels,
            (padded[0] - self.size[0]) // self.stride[0] + 1,
            (padded[1] - self.size[1]) // self.stride[1] + 1,
        )

    def forward(self, x: Array, backend: Backend) -> Any:
        """Responses of this layer to the responses of the layer below, (N, C, H, W)."""
        return x

    def decode(self, maps: Array, backend: Backend, unpool: str) -> Any:
        """Responses of the layer below that stand for these responses, (N, K, H, W)."""
        return maps

    def decode_bank(self, bank: Array, jump: Pair, backend: Backend) -> Any:
        """The decoded bank of this layer, (K, C0, H, W), from that of the layer below; `jump` is the product of the strides below."""
        return bank


class Conv(Layer):
    """A bank of filters, correlated with the maps below; decodes by substitution.

    Parameters
    ----------
    filters : array_like of shape (K, C / groups, h, w)
        Not flipped. Kept as a read-only copy in its own floating-point precision (integers become float64).
    bias : array_like of shape (K,), optional
        Added to the responses; zeros unless given. Decoding ignores it.
    stride : int or (rows, columns)
        Step between windows.
    pad : int or (top, bottom, left, right)
        Zeros around the maps. Decoding ignores them: a decoded filter has the size of the receptive field.
    dilation : int or (rows, columns)
        Step between the taps of a filter.
    groups : int
        The channels below are split into so many groups, each seen by its own share of the filters.
    name : str, optional

    Raises
    ------
    ShapeError
        If the bank has not four axes, the bias not one value per filter, or K is no multiple of `groups`.
    InvalidValueError
        If an array does not hold real numbers.

    Notes
    -----
    Paper: section 2 (the layer) and equation 2 (its decoding). Dilation and groups are our choice: both are expanded
    into a dense bank, `dense`, before they reach an operator.

    Examples
    --------
    >>> Conv([[[[1, 2]]], [[[3, 4]]]], groups=2).dense
    array([[[[1., 2.]],
    <BLANKLINE>
            [[0., 0.]]],
    <BLANKLINE>
    <BLANKLINE>
           [[[0., 0.]],
    <BLANKLINE>
            [[3., 4.]]]])
    """

    filters: Array
    bias: Array
    dilation: Pair
    groups: int

    def __init__(
        self,
        filters: npt.ArrayLike,
        bias: npt.ArrayLike | None = None,
        *,
        stride: Any = 1,
        pad: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        name: str | None = None,
    ) -> None:
        bank = _kept(as_array4(filters, "Conv", "filters", "(K, C, h, w)"))
        if not len(bank):
            raise ShapeError(f"Conv: there are no filters: {bank.shape}.")
        offsets = np.zeros(len(bank), bank.dtype) if bias is None else as_array(bias, "Conv: bias")
        if offsets.shape != (len(bank),):
            raise ShapeError(f"Conv: bias {offsets.shape} for {plural(len(bank), 'filter')}: filters {bank.shape}.")
        if not isinstance(groups, (int, np.integer)) or groups < 1 or len(bank) % groups:
            raise ShapeError(f"Conv: {plural(len(bank), 'filter')} cannot be split into {groups!r} groups.")
        self._set(
            filters=bank,
            bias=_kept(offsets),
            stride=as_pair(stride, "Conv: stride"),
            pad=as_pads(pad, "Conv: pad"),
            dilation=as_pair(dilation, "Conv: dilation"),
            groups=int(groups),
            name=name,
        )

    @property
    def size(self) -> Pair:  # type: ignore[override]
        """(rows, columns) that a filter spans, its dilation included."""
        (h, w), (dh, dw) = self.filters.shape[2:], self.dilation
        return (h - 1) * dh + 1, (w - 1) * dw + 1

    @property
    def in_channels(self) -> int:  # type: ignore[override]
        """Channels of the maps below, C."""
        return int(self.filters.shape[1]) * self.groups

    @cached_property
    def dense(self) -> Array:
        """The bank without groups or dilation, (K, C, rows, columns): zeros where a filter does not look."""
        if self.groups == 1 and self.dilation == (1, 1):
            return self.filters
        k, c = self.filters.shape[0] // self.groups, self.filters.shape[1]
        bank = np.zeros((self.groups, k, self.groups, c, *self.size), self.filters.dtype)
        for group, filters in enumerate(self.filters.reshape(self.groups, k, *self.filters.shape[1:])):
            bank[group, :, group, :, :: self.dilation[0], :: self.dilation[1]] = filters
        bank.setflags(write=False)
        return bank.reshape(self.groups * k, self.groups * c, *self.size)

    @property
    def weights(self) -> dict[str, Array]:
        return {"filters": self.filters, "bias": self.bias}

    def channels(self, channels: int | None) -> int:
        want = self.in_channels
        if channels not in (None, want):
            raise ShapeError(
                f"its filters want {plural(want, 'channel')}, and get {channels}: filters {self.filters.shape}, groups {self.groups}."
            )
        return len(self.filters)

    def forward(self, x: Array, backend: Backend) -> Any:
        return backend.correlate(x, self.dense, self.bias, stride=self.stride, pad=self.pad)

    def decode(self, maps: Array, backend: Backend, unpool: str) -> Any:
        return backend.substitute(maps, self.dense, stride=self.stride)

    def decode_bank(self, bank: Array, jump: Pair, backend: Backend) -> Any:
        return backend.substitute(self.dense, bank, stride=jump)


class MaxPool(Layer):
    """The largest value of each window; decodes by unpooling.

    Parameters
    ----------
    size : int or (rows, columns)
        The window.
    stride : int or (rows, columns), optional
        Step between windows; the size unless given.
    pad : int or (top, bottom, left, right)
        −∞ around the maps; less than `size`. Decoding ignores it.
    name : str, optional

    Raises
    ------
    ShapeError
        If a size, stride or pad is impossible.

    Notes
    -----
    Paper: section 3, ``unpool``, "a simple image upsampling", channel by channel.
    """

    def __init__(self, size: Any, stride: Any = None, *, pad: Any = 0, name: str | None = None) -> None:
        size, stride, pad = as_pool(self.kind, size, stride, pad)
        self._set(size=size, stride=stride, pad=pad, name=name)

    def decodes_bottom_up(self, unpool: str) -> bool:
        return unpool == "nearest" and self.size == self.stride

    def forward(self, x: Array, backend: Backend) -> Any:
        return backend.max_pool(x, size=self.size, stride=self.stride, pad=self.pad)

    def decode(self, maps: Array, backend: Backend, unpool: str) -> Any:
        return backend.unpool(maps, size=self.size, stride=self.stride, mode=unpool)

    def decode_bank(self, bank: Array, jump: Pair, backend: Backend) -> Any:
        # Each unit of the pool stands for a window of ones in its own map: one filter of K·C0 channels, substituted.
        # Units within channels, because that is how the tuned operators leave a bank in memory: nothing is copied.
        k, c, h, w = bank.shape
        flat = bank.swapaxes(0, 1).reshape(1, c * k, h, w)
        out = np.asarray(backend.substitute(np.ones((1, 1, *self.size), bank.dtype), flat, stride=jump))
        return out.reshape(c, k, *out.shape[2:]).swapaxes(0, 1)


class AvgPool(MaxPool):
    """The mean of each window, over its cells inside the image; decodes by unpooling, as a max pool does.

    Parameters and errors are those of `MaxPool`.

    Notes
    -----
    Our choice: the paper has no average pool.
    """

    def forward(self, x: Array, backend: Backend) -> Any:
        return backend.avg_pool(x, size=self.size, stride=self.stride, pad=self.pad)


class ReLU(Layer):
    """Keeps what is positive; decodes as the identity.

    Parameters
    ----------
    leak : float
        Slope below zero.
    name : str, optional

    Raises
    ------
    InvalidValueError
        If `leak` is not a finite number.

    Notes
    -----
    Our choice: the paper's algorithm leaves it out of both branches, and layer 6 of its LeNet is one.
    """

    leak: float

    def __init__(self, *, leak: float = 0.0, name: str | None = None) -> None:
        if not isinstance(leak, (int, float, np.integer, np.floating)) or not np.isfinite(leak):
            raise InvalidValueError(f"ReLU: leak must be a finite number, not {leak!r}.")
        self._set(leak=float(leak), name=name)

    def forward(self, x: Array, backend: Backend) -> Any:
        return backend.relu(x, leak=self.leak)


class Sigmoid(Layer):
    """Squashes every response to between 0 and 1, ``y = 1 / (1 + exp(-x))``; decodes as the identity.

    Notes
    -----
    Our choice, with the reasoning of `ReLU`: it keeps the order of the responses.
    """

    def forward(self, x: Array, backend: Backend) -> Any:
        small = np.exp(-np.abs(x))  # never overflows
        return np.where(x >= 0, 1, small) / (1 + small)


class BatchNorm(Layer):
    """Normalizes each channel by the moments of the training images; decodes as its scale.

    ``y = scale · (x - mean) / std + bias``, channel by channel; ``decode(z) = z · scale / std``.

    Parameters
    ----------
    scale : array_like of shape (K,)
    bias : array_like of shape (K,), optional
        Added to the responses; zeros unless given. Decoding ignores it, as any bias.
    mean, std : array_like of shape (K,), optional
        The moments, both or neither. Without them, as old files have it, the layer cannot run, and decodes as
        ``z · scale``.
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

    def __init__(
        self,
        scale: npt.ArrayLike,
        bias: npt.ArrayLike | None = None,
        *,
        mean: npt.ArrayLike | None = None,
        std: npt.ArrayLike | None = None,
        name: str | None = None,
    ) -> None:
        if (mean is None) != (std is None):
            raise ShapeError("BatchNorm: give both mean and std, or neither.")
        given = {"scale": scale, "bias": bias, "mean": mean, "std": std}
        arrays = {
            what: None if value is None else as_array(value, f"BatchNorm: {what}") for what, value in given.items()
        }
        first = as_array(scale, "BatchNorm: scale")
        if first.ndim != 1 or not first.size:
            raise ShapeError(f"BatchNorm: scale must have the shape (K,), one value per channel, not {first.shape}.")
        for what, array in arrays.items():
            if array is not None and array.shape != first.shape:
                raise ShapeError(
                    f"BatchNorm: {what} {array.shape} for {plural(first.size, 'channel')}: scale {first.shape}."
                )
        kept = {what: None if array is None else _kept(array) for what, array in arrays.items()}
        if kept["bias"] is None:
            kept["bias"] = _kept(np.zeros_like(kept["scale"]))
        self._set(**kept, name=name)

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

    def channels(self, channels: int | None) -> int:
        if channels not in (None, self.scale.size):
            raise ShapeError(f"it normalizes {plural(self.scale.size, 'channel')}, and gets {channels}.")
        return self.scale.size

    def _factor(self, dtype: npt.DTypeLike) -> Array:
        """What the layer multiplies by, (K, 1, 1), in the precision of the maps."""
        scale = self.scale.astype(dtype)
        return np.asarray(scale if self.std is None else scale / self.std.astype(dtype))[:, np.newaxis, np.newaxis]

    def forward(self, x: Array, backend: Backend) -> Any:
        if self.mean is None:
            raise UnsupportedLayerError("it has no moments, so it cannot be run on single images; it can be decoded.")
        mean, bias = (array.astype(x.dtype)[:, np.newaxis, np.newaxis] for array in (self.mean, self.bias))
        return (x - mean) * self._factor(x.dtype) + bias

    def decode(self, maps: Array, backend: Backend, unpool: str) -> Any:
        return maps * self._factor(maps.dtype)

    def decode_bank(self, bank: Array, jump: Pair, backend: Backend) -> Any:
        return bank * self._factor(bank.dtype)[:, np.newaxis]


class LRN(Layer):
    """Local response normalization, across channels; decodes as the identity.

    ``y[k] = x[k] / (kappa + alpha · Σ_q x[q]²)^beta``, q from ``k - ⌊(depth - 1)/2⌋`` to ``k + ⌈(depth - 1)/2⌉``.

    Parameters
    ----------
    depth : int
        Channels in a window; those beyond the first and the last are left out.
    kappa, alpha, beta : float
        None negative. The defaults are MatConvNet's. `alpha` is not divided by `depth`, unlike in other libraries.
    name : str, optional

    Raises
    ------
    InvalidValueError
        If a parameter is not a finite number, or negative.

    Notes
    -----
    Our choice, with the reasoning of `ReLU`: it scales responses by a positive number, and changes the sign of none.

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
        name: str | None = None,
    ) -> None:
        for what, value in {"kappa": kappa, "alpha": alpha, "beta": beta}.items():
            if not isinstance(value, (int, float, np.integer, np.floating)) or not np.isfinite(value) or value < 0:
                raise InvalidValueError(f"LRN: {what} must be a number, at least 0, not {value!r}.")
        self._set(
            depth=as_count(depth, "LRN: depth"), kappa=float(kappa), alpha=float(alpha), beta=float(beta), name=name
        )

    def forward(self, x: Array, backend: Backend) -> Any:
        most = x.shape[1] - 1
        below, above = min((self.depth - 1) // 2, most), min(self.depth // 2, most)
        squares = np.pad(np.square(x), ((0, 0), (below, above), (0, 0), (0, 0)))
        sums = np.lib.stride_tricks.sliding_window_view(squares, below + above + 1, axis=1).sum(axis=-1)
        norm = self.kappa + self.alpha * sums
        if not norm.all():
            raise InvalidValueError("it divides by zero: kappa is 0, and so are all responses of a window.")
        return x / norm**self.beta


class Softmax(Layer):
    """Turns the channels of each position into probabilities; decodes as the identity.

    Notes
    -----
    Our choice: the paper decodes layers below its softmax only. The softmax keeps the order of the responses.
    """

    def forward(self, x: Array, backend: Backend) -> Any:
        return backend.softmax(x)


class Dropout(Layer):
    """Does nothing in a trained network; decodes as the identity.

    Notes
    -----
    Our choice, and what MatConvNet does in test mode.
    """


class Loss(Layer):
    """A loss, which needs labels: without them it passes its input on; decodes as the identity.

    Notes
    -----
    Our choice. A softmax with a loss is read as a `Softmax`.
    """


class Unsupported(Layer):
    """A layer that can neither be run nor decoded; it stands in its place so that the layers before it can.

    Parameters
    ----------
    type : str
        What its file calls it.
    reason : str, optional
        More than that it is not known here.
    name : str, optional
    """

    type: str
    reason: str

    def __init__(self, type: str, *, reason: str = "", name: str | None = None) -> None:
        self._set(type=type, reason=reason, name=name)

    @property
    def kind(self) -> str:
        return printable(self.type)

    def check(self) -> None:
        why = self.reason or f"this package does not know layers of type '{self.kind}'"
        raise UnsupportedLayerError(f"it can neither be run nor decoded: {why}. The layers before it can.")

    def channels(self, channels: int | None) -> None:
        return None


def _kept(array: Array) -> Array:
    """A read-only copy, of floats."""
    array = np.array(array, array.dtype if array.dtype.kind == "f" else np.float64, order="C")
    array.setflags(write=False)
    return array
