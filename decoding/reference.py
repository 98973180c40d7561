"""The operators as the paper states them, each in the shape of its formula: what other implementations are compared with.

Everything is computed in float64, whatever the precision of the inputs, and no input is written to. Maps are
``(N, C, H, W)``, banks of filters ``(K, C, h, w)``; sizes and strides are ``(rows, columns)`` or one int for both; pads
are ``(top, bottom, left, right)`` or one int for all. These signatures are the contract of a backend: any object or module
with these functions can be given wherever a `backend` is taken.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from .arguments import (
    Array,
    Pads,
    Pair,
    as_array4,
    correlate_arguments,
    pool_arguments,
    substitute_arguments,
    unpool_arguments,
)
from .boundary import public
from .interpolation import matrix

name = "decoding.reference"
eps = 2.0**-53  # unit roundoff of float64
dtype = np.float64  # the precision of all results, whatever the inputs have
groups = True  # `correlate` and `substitute` take groups

Float64 = npt.NDArray[np.float64]


@public
def correlate(
    x: npt.ArrayLike,
    filters: npt.ArrayLike,
    bias: npt.ArrayLike | None = None,
    *,
    stride: Any = 1,
    pad: Any = 0,
    groups: int = 1,
) -> Float64:
    """Match every window of the maps with every filter.

    ``y[n,k,i,j] = bias[k] + Σ_{c,u,v} filters[k,c,u,v] · x[n,c, i·s+u, j·s+v]``, x being padded with zeros.

    Parameters
    ----------
    x : array_like of shape (N, C, H, W)
        Maps or images.
    filters : array_like of shape (K, C / groups, h, w)
        The bank. Filters are not flipped.
    bias : array_like of shape (K,), optional
        Added to each response.
    stride : int or (rows, columns)
        Step between windows, in cells of `x`.
    pad : int or (top, bottom, left, right)
        Rows and columns of zeros around `x`.
    groups : int
        Channels and filters are split into this many groups of neighbours; each group of filters sees its own channels.

    Returns
    -------
    ndarray of shape (N, K, (H + top + bottom - h) // stride + 1, (W + left + right - w) // stride + 1), float64

    Raises
    ------
    ShapeError
        If the channels differ, a filter is larger than the padded map, or a stride or pad is impossible.
    InvalidValueError
        If an array does not hold real numbers.

    See Also
    --------
    substitute : The adjoint: ``<correlate(x, f), z> == <x, substitute(z, f)>``.

    Notes
    -----
    Paper: section 2, the ⋆ operator, which "the vast majority of computer vision libraries" call convolution.

    Examples
    --------
    >>> correlate([[[[1, 2, 3, 4]]]], [[[[1, 10]]]])      # a flip would give 12, 23, 34
    array([[[[21., 32., 43.]]]])
    """
    x, filters, bias, stride, pad = correlate_arguments(x, filters, bias, stride, pad, groups)
    (k, c, *size), n = filters.shape, len(x)
    windows = _windows(_padded(_float64(x), pad, 0.0), size, stride)
    (rows, columns), numbers = windows.shape[2:4], c * math.prod(size)
    windows = windows.reshape(n, groups, c, rows, columns, *size).transpose(1, 0, 3, 4, 2, 5, 6)
    windows = windows.reshape(groups, n * rows * columns, numbers)  # of each group, a matrix, as its filters are
    y: Float64 = windows @ _float64(filters).reshape(groups, k // groups, numbers).swapaxes(1, 2)
    y = np.moveaxis(y.reshape(groups, n, rows, columns, k // groups), (1, 4), (0, 2)).reshape(n, k, rows, columns)
    return y if bias is None else y + _float64(bias)[:, np.newaxis, np.newaxis]


@public
def max_pool(x: npt.ArrayLike, *, size: Any, stride: Any = None, pad: Any = 0) -> Float64:
    """Keep the largest value of every window, channel by channel.

    ``y[n,c,i,j] = max_{u,v} x[n,c, i·s+u, j·s+v]``, x being padded with −∞.

    Parameters
    ----------
    x : array_like of shape (N, C, H, W)
    size : int or (rows, columns)
        The window.
    stride : int or (rows, columns), optional
        Step between windows; the size unless given.
    pad : int or (top, bottom, left, right)
        Less than `size` on each side.

    Returns
    -------
    ndarray of shape (N, C, (H + top + bottom - rows) // stride + 1, (W + left + right - columns) // stride + 1), float64

    Raises
    ------
    ShapeError
        If the window is larger than the padded map, or the padding as large as the window.

    See Also
    --------
    unpool : The way back, which needs no image.

    Notes
    -----
    Paper: section 4, "non-overlapping 2×2 pixel regions". Other sizes, strides and pads are treated as MatConvNet does.

    Examples
    --------
    >>> max_pool([[[[-4, -3, -2, -1, 0]]]], size=(1, 2))      # the last column fills no window
    array([[[[-3., -1.]]]])
    """
    windows = _pool_windows("max_pool", x, size, stride, pad, -np.inf)
    return np.asarray(windows.max(axis=(4, 5)))


@public
def avg_pool(x: npt.ArrayLike, *, size: Any, stride: Any = None, pad: Any = 0) -> Float64:
    """Average every window, channel by channel, over its cells inside the image.

    ``y[n,c,i,j] = Σ_{u,v} x[n,c, i·s+u, j·s+v] / #{(u,v) inside the image}``.

    Parameters
    ----------
    x : array_like of shape (N, C, H, W)
    size : int or (rows, columns)
        The window.
    stride : int or (rows, columns), optional
        Step between windows; the size unless given.
    pad : int or (top, bottom, left, right)
        Less than `size` on each side. Padded cells are not counted.

    Returns
    -------
    ndarray of shape (N, C, (H + top + bottom - rows) // stride + 1, (W + left + right - columns) // stride + 1), float64

    Raises
    ------
    ShapeError
        If the window is larger than the padded map, or the padding as large as the window.

    See Also
    --------
    max_pool

    Notes
    -----
    Our choice (the paper has no average pool): the divisor of MatConvNet.

    Examples
    --------
    >>> avg_pool([[[[1, 3, 5, 7]]]], size=(1, 2), pad=(0, 0, 1, 0))      # the first window has one cell inside
    array([[[[1., 4.]]]])
    """
    windows = _pool_windows("avg_pool", x, size, stride, pad, 0.0)
    inside = _pool_windows("avg_pool", np.ones((1, 1, *np.shape(x)[2:])), size, stride, pad, 0.0)
    return np.asarray(windows.sum(axis=(4, 5)) / inside.sum(axis=(4, 5)))


@public
def relu(x: npt.ArrayLike, *, leak: float = 0.0) -> Float64:
    """Keep what is positive, and `leak` times what is negative.

    ``y = max(x, 0) + leak · min(x, 0)``.

    Parameters
    ----------
    x : array_like of shape (N, C, H, W)
    leak : float
        Slope below zero.

    Returns
    -------
    ndarray of shape (N, C, H, W), float64

    Notes
    -----
    Paper: section 4, layer 6 of LeNet; the leak is MatConvNet's.

    Examples
    --------
    >>> relu([[[[-4, 3]]]], leak=0.25)
    array([[[[-1.,  3.]]]])
    """
    x = _float64(as_array4(x, "relu", "x", "(N, C, H, W)"))
    return np.asarray(np.maximum(x, 0) + leak * np.minimum(x, 0))


@public
def softmax(x: npt.ArrayLike) -> Float64:
    """Turn the channels of each position into probabilities.

    ``y[n,k,i,j] = exp(x[n,k,i,j]) / Σ_c exp(x[n,c,i,j])``, shifted by the largest channel so that nothing overflows.

    Parameters
    ----------
    x : array_like of shape (N, C, H, W)

    Returns
    -------
    ndarray of shape (N, C, H, W), float64
        Sums to one over the channels.

    Notes
    -----
    Paper: section 4, layer 8 of LeNet.

    Examples
    --------
    >>> softmax([[[[1000]], [[1000]]]])
    array([[[[0.5]],
    <BLANKLINE>
            [[0.5]]]])
    """
    x = _float64(as_array4(x, "softmax", "x", "(N, C, H, W)"))
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return np.asarray(e / e.sum(axis=1, keepdims=True))


@public
def substitute(maps: npt.ArrayLike, filters: npt.ArrayLike, *, stride: Any = 1, groups: int = 1) -> Float64:
    """Put each filter, times the response, in the place of every response; overlapping copies add up.

    ``out[n,c, i·s+u, j·s+v] += maps[n,k,i,j] · filters[k,c,u,v]``.

    Parameters
    ----------
    maps : array_like of shape (N, K, H, W)
        Responses of the bank.
    filters : array_like of shape (K, C / groups, h, w)
        The bank. Filters are not flipped.
    stride : int or (rows, columns)
        Step of the correlation that is undone, in cells of the output.
    groups : int
        Maps and filters are split into this many groups of neighbours; each group makes its own channels of the output.

    Returns
    -------
    ndarray of shape (N, C, (H - 1) * stride + h, (W - 1) * stride + w), float64

    Raises
    ------
    ShapeError
        If the number of maps differs from the number of filters, or the maps are empty.

    See Also
    --------
    correlate : The adjoint: ``<correlate(x, f), z> == <x, substitute(z, f)>``.

    Notes
    -----
    Paper: equations 1 and 2, ``subst``. It is the exact adjoint of `correlate`, full convolution at stride 1, and
    bilinear; an impulse becomes the filter itself.

    Examples
    --------
    >>> substitute([[[[1, 10]]]], [[[[1, 2], [3, 4]]]])      # overlapping copies add up
    array([[[[ 1., 12., 20.],
             [ 3., 34., 40.]]]])
    """
    maps, filters, stride = substitute_arguments(maps, filters, stride, groups)
    (n, k, rows, columns), (_, c, *size) = maps.shape, filters.shape
    height, width = ((m - 1) * s + f for m, s, f in zip((rows, columns), stride, size, strict=True))
    responses = _float64(maps).reshape(n, groups, k // groups, rows, columns).transpose(1, 0, 3, 4, 2)
    responses = responses.reshape(groups, n * rows * columns, k // groups)
    products = responses @ _float64(filters).reshape(groups, k // groups, c * math.prod(size))
    products = products.reshape(groups, n, rows, columns, c, *size).transpose(1, 0, 4, 2, 3, 5, 6)
    out = np.zeros((n, groups, c, height, width))
    below, right = (m * s for m, s in zip((rows, columns), stride, strict=True))
    for u, v in reversed(list(np.ndindex(*size))):  # so each cell adds up in the order of the responses
        out[..., u : u + below : stride[0], v : v + right : stride[1]] += products[..., u, v]
    return out.reshape(n, groups * c, height, width)


@public
def unpool(maps: npt.ArrayLike, *, size: Any, stride: Any = None, mode: str = "nearest") -> Float64:
    """Enlarge the maps to the size of what was pooled, by interpolation.

    Output pixel p takes the value of the interpolated map at ``u = (p − (size − 1)/2) / stride``, along each axis.

    Parameters
    ----------
    maps : array_like of shape (N, C, H, W)
    size : int or (rows, columns)
        The pool's window.
    stride : int or (rows, columns), optional
        The pool's step; the size unless given.
    mode : {"nearest", "bilinear", "bicubic"}

    Returns
    -------
    ndarray of shape (N, C, (H - 1) * stride + rows, (W - 1) * stride + columns), float64

    Raises
    ------
    InvalidValueError
        If `mode` is none of the three.

    See Also
    --------
    decoding.interpolation.matrix : The weights.

    Notes
    -----
    Paper: section 3, ``unpool``, "a simple image upsampling". Gain 1 per pixel: a constant map stays as it is. Our choice:
    pixels between windows, where the size is below the stride, are 0; the units of the pool never saw them.

    Examples
    --------
    >>> unpool([[[[1, 5]]]], size=(1, 2))
    array([[[[1., 1., 5., 5.]]]])
    >>> unpool([[[[1, 5]]]], size=(1, 2), mode="bilinear")
    array([[[[1., 2., 4., 5.]]]])
    """
    maps, size, stride = unpool_arguments(maps, size, stride)
    rows, columns = (matrix(n, z, s, mode) for n, z, s in zip(maps.shape[2:], size, stride, strict=True))
    return np.asarray(rows @ _float64(maps) @ columns.T)


def _float64(array: Array) -> Float64:
    return np.asarray(array, np.float64)


def _padded(x: Array, pad: Pads, value: float) -> Array:
    (top, bottom, left, right), (n, c, height, width) = pad, x.shape
    out = np.full((n, c, top + height + bottom, left + width + right), value)  # sooner than `np.pad`
    out[:, :, top : top + height, left : left + width] = x
    return out


def _windows(x: Array, size: Any, stride: Pair) -> Array:
    """All windows of each map, as a view: (N, C, H', W', h, w)."""
    windows = np.lib.stride_tricks.sliding_window_view(x, tuple(size), axis=(2, 3))
    return np.asarray(windows[:, :, :: stride[0], :: stride[1]])


def _pool_windows(function: str, x: Any, size: Any, stride: Any, pad: Any, value: float) -> Array:
    x, size, stride, pad = pool_arguments(function, x, size, stride, pad)
    return _windows(_padded(_float64(x), pad, value), size, stride)
