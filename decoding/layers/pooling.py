"""Pools: windows of one map, reduced to one number each on the way up, and unpooled on the way down."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..arguments import Array, Pair, as_pool
from ..backend import takes_groups
from .base import Layer


class Pool(Layer):
    """What `MaxPool` and `AvgPool` share: a window that slides over each map by itself; decodes by unpooling.

    Parameters
    ----------
    size : int or (rows, columns)
        The window.
    stride : int or (rows, columns), optional
        Step between windows; the size unless given.
    pad : int or (top, bottom, left, right)
        Cells around the maps; less than `size`. Decoding ignores them.
    gain, curvature : float or array_like of shape (K,), optional
        See `Layer`.
    name : str, optional

    Raises
    ------
    ShapeError
        If a size, stride or pad is impossible.

    Notes
    -----
    Paper: section 3, ``unpool``, "a simple image upsampling", channel by channel.
    """

    def __init__(
        self,
        size: Any,
        stride: Any = None,
        *,
        pad: Any = 0,
        gain: Any = None,
        curvature: Any = None,
        name: str | None = None,
    ) -> None:
        super().__init__(gain=gain, curvature=curvature, name=name)
        size, stride, pad = as_pool(self.kind, size, stride, pad)
        self._set(size=size, stride=stride, pad=pad)

    def decodes_bottom_up(self, unpool: str) -> bool:
        # Nearest unpooling is the adjoint of the sum over windows wherever they do not overlap.
        apart = self.size[0] <= self.stride[0] and self.size[1] <= self.stride[1]
        return super().decodes_bottom_up(unpool) and (unpool == "sum" or (unpool == "nearest" and apart))

    def linear(self, *xs: Array, backend: Any) -> Any:
        """The sum over each window; if there are pads, the mean over its cells inside the image, times the window's size."""
        x = xs[0]
        if any(self.pad):
            mean = backend.avg_pool(x, size=self.size, stride=self.stride, pad=self.pad)
            return np.asarray(mean) * float(self.size[0] * self.size[1])
        n, c, h, w = x.shape
        if takes_groups(backend):
            ones = np.ones((c, 1, *self.size), x.dtype)
            return backend.correlate(x, ones, None, stride=self.stride, pad=self.pad, groups=c)
        ones = np.ones((1, 1, *self.size), x.dtype)
        y = backend.correlate(x.reshape(n * c, 1, h, w), ones, None, stride=self.stride, pad=self.pad)
        out = np.asarray(y)
        return out.reshape(n, c, *out.shape[2:])

    def decode(self, maps: Array, widths: Sequence[int], unpool: str, backend: Any) -> Sequence[Any]:
        if unpool != "sum":
            return (backend.unpool(maps, size=self.size, stride=self.stride, mode=unpool),)
        n, k, h, w = maps.shape  # each response goes to every cell of its window; where windows overlap, they add up
        if takes_groups(backend):
            ones = np.ones((k, 1, *self.size), maps.dtype)
            return (backend.substitute(maps, ones, stride=self.stride, groups=k),)
        ones = np.ones((1, 1, *self.size), maps.dtype)
        out = np.asarray(backend.substitute(maps.reshape(n * k, 1, h, w), ones, stride=self.stride))
        return (out.reshape(n, k, *out.shape[2:]),)

    def decode_bank(self, *banks: Array, jump: Pair, backend: Any) -> Any:
        """Each unit of the pool stands for a window of ones in its own map."""
        k, c, h, w = banks[0].shape
        # All units are laid out as one filter of C0·K channels, in which units vary faster than channels: `decoding.fast`
        # leaves banks so in memory, and nothing has to be copied.
        flat = banks[0].swapaxes(0, 1).reshape(1, c * k, h, w)
        out = np.asarray(backend.substitute(np.ones((1, 1, *self.size), flat.dtype), flat, stride=jump))
        return out.reshape(c, k, *out.shape[2:]).swapaxes(0, 1)


class MaxPool(Pool):
    """The largest value of each window, with −∞ around the maps; decodes by unpooling.

    Parameters and errors are those of `Pool`.
    """

    def forward(self, *xs: Array, backend: Any) -> Any:
        return backend.max_pool(xs[0], size=self.size, stride=self.stride, pad=self.pad)


class AvgPool(Pool):
    """The mean of each window, over its cells inside the image; decodes by unpooling, as a max pool does.

    Parameters and errors are those of `Pool`.

    Notes
    -----
    Our choice: the paper has no average pool.
    """

    def forward(self, *xs: Array, backend: Any) -> Any:
        return backend.avg_pool(xs[0], size=self.size, stride=self.stride, pad=self.pad)
