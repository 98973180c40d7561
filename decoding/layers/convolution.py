"""Convolutions: banks of filters, correlated on the way up and substituted on the way down."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, TypeGuard

import numpy as np
import numpy.typing as npt

from ..arguments import Array, Pair, as_array, as_array4, as_pads, as_pair, described, plural
from ..backend import takes_groups
from ..errors import ShapeError
from .base import Layer, kept


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
        The channels below are split into this many groups, each seen by its own share of the filters.
    name : str, optional

    Raises
    ------
    ShapeError
        If the bank does not have four axes, the bias does not have one value per filter, or K is no multiple of `groups`.
    InvalidValueError
        If an array does not hold real numbers.

    Notes
    -----
    Paper: section 2 (the layer) and equation 2 (its decoding). Dilation and groups are our choice. Operators know nothing of
    either: they are given the bank with its dilation spread out (`spread`), and with zeros between its groups (`dense`). Only
    backends that declare ``groups = True`` are given groups.

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
        bank = kept(as_array4(filters, "Conv", "filters", "(K, C, h, w)"))
        if not len(bank):
            raise ShapeError(f"Conv: there are no filters: {bank.shape}.")
        offsets = np.zeros(len(bank), bank.dtype) if bias is None else as_array(bias, "Conv: bias")
        if offsets.shape != (len(bank),):
            raise ShapeError(f"Conv: bias {offsets.shape} for {plural(len(bank), 'filter')}: filters {bank.shape}.")
        if not isinstance(groups, (int, np.integer)) or isinstance(groups, bool) or groups < 1 or len(bank) % groups:
            raise ShapeError(f"Conv: {plural(len(bank), 'filter')} cannot be split into {described(groups)} groups.")
        self._set(
            filters=bank,
            bias=kept(offsets),
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
    def spread(self) -> Array:
        """The bank without dilation, (K, C / groups, rows, columns): zeros between the taps."""
        if self.dilation == (1, 1):
            return self.filters
        bank = np.zeros((*self.filters.shape[:2], *self.size), self.filters.dtype)
        bank[:, :, :: self.dilation[0], :: self.dilation[1]] = self.filters
        bank.setflags(write=False)
        return bank

    @cached_property
    def dense(self) -> Array:
        """The bank without groups or dilation, (K, C, rows, columns): zeros where a filter does not look."""
        return self.spread if self.groups == 1 else self.dense_units(range(len(self.filters)))

    def dense_units(self, ks: Sequence[int]) -> Array:
        """Some filters of `dense`, (units, C, rows, columns)."""
        if self.groups == 1:
            return self.spread[list(ks)]
        width, share = self.filters.shape[1], len(self.filters) // self.groups
        bank = np.zeros((len(ks), self.in_channels, *self.size), self.filters.dtype)
        for row, k in zip(bank, ks, strict=True):
            row[k // share * width :][:width] = self.spread[k]
        bank.setflags(write=False)
        return bank

    @property
    def weights(self) -> dict[str, Array]:
        return {"filters": self.filters, "bias": self.bias}

    def channels(self, *widths: int | None) -> int:
        want = self.in_channels
        if widths[0] not in (None, want):
            raise ShapeError(
                f"its filters want {plural(want, 'channel')}, and get {widths[0]}: filters {self.filters.shape}, groups {self.groups}."
            )
        return len(self.filters)

    def forward(self, *xs: Array, backend: Any) -> Any:
        filters, options = self._for_backend(backend)
        return backend.correlate(xs[0], filters, self.bias, stride=self.stride, pad=self.pad, **options)

    def linear(self, *xs: Array, backend: Any) -> Any:
        filters, options = self._for_backend(backend)
        return backend.correlate(xs[0], filters, None, stride=self.stride, pad=self.pad, **options)

    def decode(self, maps: Array, widths: Sequence[int], unpool: str, backend: Any) -> Sequence[Any]:
        filters, options = self._for_backend(backend)
        return (backend.substitute(maps, filters, stride=self.stride, **options),)

    def decode_bank(self, *banks: Array, jump: Pair, backend: Any) -> Any:
        filters, options = self._for_backend(backend)
        return substitute_bank(filters, banks[0], jump, backend, **options)

    def _for_backend(self, backend: Any) -> tuple[Array, dict[str, int]]:
        """The filters as this backend takes them, and its option for groups."""
        if self.groups > 1 and takes_groups(backend):
            return self.spread, {"groups": self.groups}
        return self.dense, {}


def is_its_filters(layer: Layer | None) -> TypeGuard[Conv]:
    """Whether each unit of the layer decodes to its filter: true of a `Conv`, but not of a subclass with its own `decode`."""
    return isinstance(layer, Conv) and type(layer).decode is Conv.decode


def substitute_bank(filters: Array, bank: Array, jump: Pair, backend: Any, groups: int = 1) -> Any:
    """``substitute(maps=filters, filters=bank)``, group by group: (K, C / groups, h, w) on (C, C0, H, W).

    The filters of all groups are laid side by side as maps, so that one call serves all groups.
    """
    if groups == 1:
        return backend.substitute(filters, bank, stride=jump)
    (k, c, h, w), c0 = filters.shape, bank.shape[1]
    maps = filters.reshape(groups, k // groups, c, h, w).swapaxes(0, 1).reshape(k // groups, groups * c, h, w)
    out = np.asarray(backend.substitute(maps, bank, stride=jump, groups=groups))
    return out.reshape(k // groups, groups, c0, *out.shape[2:]).swapaxes(0, 1).reshape(k, c0, *out.shape[2:])
