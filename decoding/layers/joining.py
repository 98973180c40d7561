"""Layers that join branches, and the layer that picks channels and pixels."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from ..arguments import Array, Pads, Pair, as_array, as_pair, described, listed, plural
from ..errors import InvalidValueError, ShapeError
from .base import Layer, Shape


class Sum(Layer):
    """Adds the maps of all the layers that it reads; hands what it decodes to each of them.

    Parameters
    ----------
    name : str, optional

    Raises
    ------
    ShapeError
        When the network is built or run, if the layers that it reads differ in channels or size.

    Notes
    -----
    Our choice: the paper's networks are chains. Decoding is linear, so maps that come down to one layer are added, each in
    its own place.

    Examples
    --------
    >>> from decoding import Conv, Network, decode_filter
    >>> net = Network([Conv([[[[1, 2, 3]]]], pad=(0, 0, 1, 1)), Sum()], inputs=[0, (0, 1)])
    >>> decode_filter(net, 2, 0)      # the image itself lands under the middle of the filter
    array([[[1., 3., 3.]]])
    """

    joins = True

    def __init__(self, *, name: str | None = None) -> None:
        super().__init__(name=name)

    def channels(self, *widths: int | None) -> int | None:
        known = {width for width in widths if width is not None}
        if len(known) > 1:
            raise ShapeError(f"it adds maps of {listed(widths)} channels; the numbers must be equal.")
        return known.pop() if known else None

    def shape(self, *shapes: Shape) -> Shape:
        if len(set(shapes)) > 1:
            raise ShapeError(f"it adds maps that differ in shape, (channels, rows, columns): {listed(shapes)}.")
        return shapes[0]

    def forward(self, *xs: Array, backend: Any) -> Any:
        return sum(xs[1:], start=xs[0])

    def linear(self, *xs: Array, backend: Any) -> Any:
        return self.forward(*xs, backend=backend)

    def decode(self, maps: Array, widths: Sequence[int], unpool: str, backend: Any) -> Sequence[Any]:
        return (maps,) * len(widths)

    def decode_bank(self, *banks: Array, jump: Pair, backend: Any) -> Any:
        return self.forward(*banks, backend=backend)


class Concat(Layer):
    """Puts the channels of all the layers that it reads one after the other; in decoding, each layer gets its channels back.

    Parameters
    ----------
    name : str, optional

    Raises
    ------
    ShapeError
        When the network is built or run, if the maps that it reads differ in size.

    Notes
    -----
    Our choice: the paper's networks are chains.

    Examples
    --------
    >>> from decoding import Conv, Network, decode_layer
    >>> net = Network([Conv([[[[1, 2, 3]]]], pad=(0, 0, 1, 1)), Concat()], inputs=[0, (0, 1)])
    >>> decode_layer(net, 2)[:, 0, 0]
    array([[0., 1., 0.],
           [1., 2., 3.]])
    """

    joins = True

    def __init__(self, *, name: str | None = None) -> None:
        super().__init__(name=name)

    def channels(self, *widths: int | None) -> int | None:
        known = [width for width in widths if width is not None]
        return sum(known) if len(known) == len(widths) else None

    def shape(self, *shapes: Shape) -> Shape:
        if len({shape[1:] for shape in shapes}) > 1:
            raise ShapeError(f"it joins maps that differ in size, (channels, rows, columns): {listed(shapes)}.")
        return sum(shape[0] for shape in shapes), *shapes[0][1:]

    def forward(self, *xs: Array, backend: Any) -> Any:
        return np.concatenate(xs, axis=1)

    def linear(self, *xs: Array, backend: Any) -> Any:
        return np.concatenate(xs, axis=1)

    def decode(self, maps: Array, widths: Sequence[int], unpool: str, backend: Any) -> Sequence[Any]:
        return np.split(maps, np.cumsum(widths)[:-1], axis=1)

    def decode_bank(self, *banks: Array, jump: Pair, backend: Any) -> Any:
        return np.concatenate(banks)


class Gate(Layer):
    """Multiplies a map by a factor that the network computes, as squeeze-and-excitation does; decoding follows the map.

    It reads two layers: the map, and the factors. These have one cell or as many cells as the map, and one channel or as many
    channels as the map.

    Parameters
    ----------
    gain : float or array_like of shape (K,), optional
        What decoding multiplies by in place of the factor, for instance its mean over images. Without a gain the layer runs
        but cannot be decoded: a product of two responses has no linear approximation that holds for all images.
    name : str, optional

    Raises
    ------
    ShapeError
        When the network is built or run, if the factors do not fit the map.

    Notes
    -----
    Our choice: the paper's networks have no gates.

    Examples
    --------
    >>> from decoding import AvgPool, Network
    >>> net = Network([AvgPool((1, 2)), Gate()], inputs=[0, (0, 1)], input_shape=(1, 1, 2))
    >>> net.forward([[[[1, 3]]]])      # each pixel times their mean
    array([[[[2., 6.]]]])
    """

    joins = True
    follows = 1
    needs_gain = True

    def __init__(self, *, gain: Any = None, name: str | None = None) -> None:
        super().__init__(gain=gain, name=name)

    def channels(self, *widths: int | None) -> int | None:
        if len(widths) != 2:
            raise ShapeError(f"a gate reads a map and its factors, two layers, and this one reads {len(widths)}.")
        if None not in widths and widths[1] not in (1, widths[0]):
            raise ShapeError(
                f"its factors have {widths[1]} channels, and its map {widths[0]}: give one for each, or one for all."
            )
        return widths[0]

    def shape(self, *shapes: Shape) -> Shape:
        self.channels(*(shape[0] for shape in shapes))
        if shapes[1][1:] not in ((1, 1), shapes[0][1:]):
            raise ShapeError(f"its factors {shapes[1]} must have one cell, or the cells of its map {shapes[0]}.")
        return shapes[0]

    def forward(self, *xs: Array, backend: Any) -> Any:
        return xs[0] * xs[1]

    def factor(self, x: Array) -> Array:
        """What the layer multiplies by, from the last layer that it reads."""
        return x


class Select(Layer):
    """Picks, orders or repeats channels, adds channels of zeros, and keeps only every n-th row and column.

    ``y[n,k,i,j] = x[n, channels[k], start + i·stride, start + j·stride]``, or 0 where ``channels[k]`` is −1.

    Parameters
    ----------
    channels : sequence of int
        For each channel of the output, the channel of the input that it is taken from, counted from 0; −1 for a channel of zeros.
    stride : int or (rows, columns)
        The step from one pixel that is taken to the next.
    start : int or (rows, columns)
        The first pixel that is taken.
    name : str, optional

    Raises
    ------
    ShapeError
        If `channels` is not a list of integers from −1 on, or a stride or start is impossible.

    Notes
    -----
    Our choice: shuffles of channels, slices, and shortcuts of residual networks that have no weights.

    Examples
    --------
    >>> from decoding import Network
    >>> net = Network([Select([1, -1], stride=(1, 2))], input_shape=(2, 1, 4))
    >>> net.forward([[[[1, 2, 3, 4]], [[5, 6, 7, 8]]]])
    array([[[[5., 7.]],
    <BLANKLINE>
            [[0., 0.]]]])
    """

    def __init__(self, channels: npt.ArrayLike, *, stride: Any = 1, start: Any = 0, name: str | None = None) -> None:
        chosen = as_array(channels, "Select: channels")
        if chosen.ndim != 1 or not chosen.size or chosen.dtype.kind not in "iu" or chosen.min() < -1:
            raise ShapeError(f"Select: channels must be integers from -1 on, at least one, not {channels!r:.80}.")
        chosen = np.array(chosen, np.intp)
        chosen.setflags(write=False)
        super().__init__(name=name)
        self._set(chosen=chosen, stride=as_pair(stride, "Select: stride"), start=_start(start))

    def fields(self) -> dict[str, Any]:
        return {"channels": self.chosen.tolist(), "stride": self.stride, "start": self.start, "name": self.name}

    chosen: Array
    start: Pair

    @property
    def pad(self) -> Pads:  # type: ignore[override]
        """Pixels left out before the first, as pads below zero."""
        return -self.start[0], 0, -self.start[1], 0

    def unpadded(self) -> Select:
        other = object.__new__(type(self))
        vars(other).update(vars(self), start=(0, 0))
        return other

    @cached_property
    def _old(self) -> Array:
        """The channels of the output that are taken from the input."""
        return np.flatnonzero(self.chosen >= 0)

    def channels(self, *widths: int | None) -> int:
        if widths[0] is not None and self.chosen.max() >= widths[0]:
            raise ShapeError(f"it selects channel {self.chosen.max()} of {plural(widths[0], 'channel')}.")
        return self.chosen.size

    def forward(self, *xs: Array, backend: Any) -> Any:
        x = xs[0][:, :, self.start[0] :: self.stride[0], self.start[1] :: self.stride[1]]
        return self._picked(x.swapaxes(0, 1)).swapaxes(0, 1)

    def linear(self, *xs: Array, backend: Any) -> Any:
        return self.forward(*xs, backend=backend)

    def decode(self, maps: Array, widths: Sequence[int], unpool: str, backend: Any) -> Sequence[Any]:
        n, _, rows, columns = maps.shape
        out = np.zeros((n, widths[0], (rows - 1) * self.stride[0] + 1, (columns - 1) * self.stride[1] + 1), maps.dtype)
        view = out[:, :, :: self.stride[0], :: self.stride[1]]
        places: Any = (slice(None), self.chosen[self._old])
        np.add.at(view, places, maps[:, self._old])
        return (out,)

    def decode_bank(self, *banks: Array, jump: Pair, backend: Any) -> Any:
        return self._picked(banks[0])

    def _picked(self, x: Array) -> Array:
        """The chosen entries of the first axis, with zeros for new channels."""
        out = x[self.chosen]  # for a new channel this takes the last one, which the next line sets to zero
        out[self.chosen < 0] = 0
        return out


def _start(value: Any) -> Pair:
    try:
        rows, columns = (operator.index(v) for v in (value if np.ndim(value) else (value, value)))
    except (TypeError, ValueError):
        rows = columns = -1
    if min(rows, columns) < 0:
        raise InvalidValueError(
            f"Select: start must be one integer or (rows, columns), none negative, not {described(value)}."
        )
    return rows, columns
