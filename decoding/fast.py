"""The operators of `decoding.reference`, tuned: the same functions, arguments, errors and results, sooner.

float32 stays float32; whatever else is computed in float64. No input is written to.

Arrays have the shape (N, C, H, W), as everywhere, but the order (H, W, C, N) in memory: the images lie side by side.
Each operator takes its input in that order as it is and copies anything else; so between layers nothing is copied,
every addition and maximum runs over long contiguous rows, and a window of whole rows is a matrix already. A few images
keep the order (N, C, H, W), where positions lie side by side in their place. Inside, all are seen as (H, W, C, N).

Gains are of one thread in float32: a forward pass of LeNet is twice as fast as with all images in the order of the few.
"""

from __future__ import annotations

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
from .blocks import keep_memory
from .boundary import public
from .interpolation import matrix

name = "decoding.fast"
eps = 2.0**-53  # unit roundoff in float64; 2^-24 in float32
threads = True  # may be run in several at a time
groups = True  # `correlate` and `substitute` take groups

FEW = 16  # fewer images than this do not fill a matrix product; `decode_filter` of LeNet is 3.6 times as fast so
# From so many positions on, one image fills a matrix product: 256 filters of one pixel on 16 maps of 15×15 are 3 times as fast.
MANY = 49
# Products that are made, then added where they belong, at a time: few enough for the cache, and so many that the threads of
# a product seldom wait. With 2^16, LeNet's bilinear bank takes 1.1 times as long; with 2^18, a VGG's twice on a busy machine.
BLOCK = 2**20
COLUMNS = 2**18  # numbers of windows that are copied for a product, or made by it, at a time: they stay in cache
FILL = 196  # positions that fill a product
# Numbers of maps whose taps are added up at a time. They stay in cache; of fewer, each sum is so short that two threads mostly
# wait for the interpreter: with 2^14 a MobileNet takes 1.2 times the processor time.
CACHE = 2**16


@public
def correlate(
    x: npt.ArrayLike,
    filters: npt.ArrayLike,
    bias: npt.ArrayLike | None = None,
    *,
    stride: Any = 1,
    pad: Any = 0,
    groups: int = 1,
) -> Array:
    """Match every window of the maps with every filter, as `decoding.reference.correlate` does.

    Examples
    --------
    >>> correlate([[[[1, 2, 3, 4]]]], [[[[1, 10]]]])
    array([[[[21., 32., 43.]]]])
    """
    x, filters, bias, stride, pad = correlate_arguments(x, filters, bias, stride, pad, groups)
    dtype = _precision(x, filters, *(() if bias is None else (bias,)))
    x, filters = _laid_out(x, dtype), np.asarray(filters, dtype)
    bias = None if bias is None else np.asarray(bias, dtype)[:, np.newaxis]
    (height, width, _, n), (k, c, h, w) = x.shape, filters.shape
    rows, columns = (height + sum(pad[:2]) - h) // stride[0] + 1, (width + sum(pad[2:]) - w) // stride[1] + 1
    if k == groups > 1 and c == 1 and bias is None and (filters == 1).all():  # windows of a pool, summed
        return _as_maps(_pooled(np.add, _padded(x, pad, 0), (h, w), stride))
    y = _empty((rows, columns, k, n), dtype)
    if groups > 1 and c == 1:
        (_correlate_depthwise_few if n < FEW else _correlate_depthwise)(x, filters, bias, stride, pad, y)
        return _as_maps(y)
    way, share = _correlate_few if n < FEW else _correlate_many, k // groups
    for g in range(groups):
        mine = slice(g * share, (g + 1) * share)
        offset = None if bias is None else bias[mine]
        way(x[:, :, g * c : (g + 1) * c], filters[mine], offset, stride, pad, y[:, :, mine])
    return _as_maps(y)


def _correlate_many(x: Array, filters: Array, bias: Array | None, stride: Pair, pad: Pads, y: Array) -> None:
    """Into y (rows, columns, K, N), row by row, one product of (K, w·h·C) by (w·h·C, N) per window.

    The windows of a row overlap in a strip that has columns outermost: h copies of each cell in place of h·w. LeNet's
    second layer is 1.17 times as fast so.
    """
    x = _padded(x, pad, 0)
    (width, c, n), (k, _, h, w) = x.shape[1:], filters.shape
    bank = filters.transpose(0, 3, 2, 1).reshape(k, w * h * c)
    bias = None if bias is None else np.repeat(bias, n, axis=1)  # rows that run through all filters are added sooner
    strip = np.empty((width, h, c, n), y.dtype)
    step, _, cell, image = strip.strides
    windows = np.lib.stride_tricks.as_strided(strip, (y.shape[1], bank.shape[1], n), (step * stride[1], cell, image))
    for i, row in enumerate(y):
        np.copyto(strip, x[i * stride[0] :][:h].swapaxes(0, 1))
        np.matmul(bank, windows, out=row)
        if bias is not None:
            row += bias


def _correlate_few(x: Array, filters: Array, bias: Array | None, stride: Pair, pad: Pads, y: Array) -> None:
    """Into y (rows, columns, K, N), one product of (K, C·h·w) by (C·h·w, positions) for some rows of an image, or for some images.

    So few that windows and products are in cache when they are read again, and so many that they fill a product: a
    ResNet's maps of 7×7 take half the time with positions of several images. Filters of one pixel need no copies of windows.
    """
    (rows, columns, k, n), (_, c, h, w) = y.shape, filters.shape
    bank, maps = filters.reshape(k, c * h * w), y.transpose(2, 3, 0, 1).reshape(k, n, rows * columns)
    positions = max(FILL, COLUMNS // max(k, c * h * w))
    each = max(1, min(n, positions // (rows * columns)))
    some = -(-rows // -(-rows * columns // positions))  # all, where there are several images
    for j in range(0, n, each):
        windows = _windows(_padded(x[..., j : j + each], pad, 0), (h, w), stride)
        for i in range(0, rows, some):
            part = maps[:, j : j + each, i * columns : (i + some) * columns]
            unrolled = windows[..., i : i + some, :].reshape(c * h * w, part.shape[1] * part.shape[2])
            if each == 1:
                np.matmul(bank, unrolled, out=part[:, 0])
            else:
                part[...] = (bank @ unrolled).reshape(part.shape)
            if bias is not None:
                part += bias[..., np.newaxis]


def _windows(x: Array, size: Pair, stride: Pair) -> Array:
    """All windows of x (H, W, C, N), as a view: (C, h, w, N, rows, columns)."""
    rows, columns = ((length - window) // step + 1 for length, window, step in zip(x.shape, size, stride, strict=False))
    down, across, channel, image = x.strides
    return np.lib.stride_tricks.as_strided(
        x,
        (x.shape[2], *size, x.shape[3], rows, columns),
        (channel, down, across, image, down * stride[0], across * stride[1]),
        writeable=False,
    )


def _correlate_depthwise(x: Array, filters: Array, bias: Array | None, stride: Pair, pad: Pads, y: Array) -> None:
    """Into y (rows, columns, K, N), of filters that see one channel each: tap by tap, K / C filters for each channel.

    Row by row, so that what is added up stays in cache.
    """
    x = _padded(x, pad, 0)
    (rows, columns, k, n), (_, _, h, w), c = y.shape, filters.shape, x.shape[2]
    first = 0 if bias is None else bias.reshape(c, k // c, 1)
    taps = filters[:, 0].transpose(1, 2, 0).reshape(h, w, c, k // c, 1)
    scratch = np.empty((columns, c, k // c, n), y.dtype)
    row = np.empty_like(scratch)
    for i in range(rows):
        row[...] = first
        for u, v in np.ndindex(h, w):
            cells = x[i * stride[0] + u, v :: stride[1]][:columns, :, np.newaxis]
            np.multiply(cells, taps[u, v], out=scratch)
            row += scratch
        y[i] = row.reshape(columns, k, n)


def _correlate_depthwise_few(x: Array, filters: Array, bias: Array | None, stride: Pair, pad: Pads, y: Array) -> None:
    """The same where positions lie side by side: a tap is a shift along the rows of a map, one after the other.

    So each tap is one long product and one long sum, beyond the ends of the rows as well, and of some channels at a time, which
    stay in cache. With a stride, cells of one phase are put together first.
    """
    x = _padded(x, pad, 0)
    (rows, columns, k, n), (_, _, h, w) = y.shape, filters.shape
    (height, width, c, _), (down, across) = x.shape, stride
    tall, wide = -(-height // down), -(-width // across)
    share, length = k // c, (rows - 1) * wide + columns
    some = max(1, CACHE // (down * across * tall * wide))
    phases = np.zeros((down, across, some, tall * wide), y.dtype)
    scratch, total = np.empty((2, some, length), y.dtype)
    maps, taps = y.transpose(3, 2, 0, 1), filters[:, 0].reshape(c, share, h, w)
    for image, i in np.ndindex(n, -(-c // some)):
        channels = slice(i * some, min((i + 1) * some, c))
        count = channels.stop - channels.start
        for a, b in np.ndindex(down, across):
            cells = x[a::down, b::across, channels, image].transpose(2, 0, 1)
            phases[a, b, :count].reshape(count, tall, wide)[:, : cells.shape[1], : cells.shape[2]] = cells
        for m in range(share):
            total[:count] = 0 if bias is None else bias[channels.start * share + m : channels.stop * share : share]
            for u, v in np.ndindex(h, w):
                start = u // down * wide + v // across
                shifted = phases[u % down, v % across, :count, start : start + length]
                np.multiply(shifted, taps[channels, m, u, v, np.newaxis], out=scratch[:count])
                total[:count] += scratch[:count]
            ends = total.strides
            found = np.lib.stride_tricks.as_strided(
                total, (count, rows, columns), (ends[0], wide * ends[1], ends[1]), writeable=False
            )
            maps[image, channels.start * share + m : channels.stop * share : share] = found


@public
def max_pool(x: npt.ArrayLike, *, size: Any, stride: Any = None, pad: Any = 0) -> Array:
    """Keep the largest value of every window, as `decoding.reference.max_pool` does.

    Examples
    --------
    >>> max_pool([[[[-4, -3, -2, -1, 0]]]], size=(1, 2))
    array([[[[-3., -1.]]]])
    """
    x, size, stride, pad = pool_arguments("max_pool", x, size, stride, pad)
    return _as_maps(_pooled(np.maximum, _padded(_laid_out(x), pad, -np.inf), size, stride))


@public
def avg_pool(x: npt.ArrayLike, *, size: Any, stride: Any = None, pad: Any = 0) -> Array:
    """Average every window over its cells inside the image, as `decoding.reference.avg_pool` does.

    Examples
    --------
    >>> avg_pool([[[[1, 3, 5, 7]]]], size=(1, 2), pad=(0, 0, 1, 0))
    array([[[[1., 4.]]]])
    """
    x, size, stride, pad = pool_arguments("avg_pool", x, size, stride, pad)
    inside = _padded(np.ones((*x.shape[2:], 1, 1), _precision(x)), pad, 0)
    y = _pooled(np.add, _padded(_laid_out(x), pad, 0), size, stride)
    y /= _pooled(np.add, inside, size, stride)
    return _as_maps(y)


def _pooled(ufunc: np.ufunc, x: Array, size: Pair, stride: Pair) -> Array:
    """The windows of x (H, W, C, N) folded by `ufunc`: rows first, then columns, each a running maximum or sum of strided views."""
    (height, width, c, n), (h, w) = x.shape, size
    rows, columns = (height - h) // stride[0] + 1, (width - w) // stride[1] + 1
    if h > 1 and w > 1 and h * w > 4:  # otherwise it saves nothing
        x, h, height = _pooled(ufunc, x, (h, 1), (stride[0], 1)), 1, rows
        stride = (1, stride[1])
    taps = [x[u :: stride[0], v :: stride[1]][:rows, :columns] for u, v in np.ndindex(h, w)]
    y = _empty((rows, columns, c, n), x.dtype)
    if len(taps) == 1:
        y[...] = taps[0]
        return y
    ufunc(taps[0], taps[1], out=y)  # in place: 1.4 times as fast as row by row with what is left between
    for tap in taps[2:]:
        ufunc(y, tap, out=y)
    return y


@public
def relu(x: npt.ArrayLike, *, leak: float = 0.0) -> Array:
    """Keep what is positive, and `leak` times what is negative, as `decoding.reference.relu` does.

    Examples
    --------
    >>> relu([[[[-4, 3]]]], leak=0.25)
    array([[[[-1.,  3.]]]])
    """
    x = as_array4(x, "relu", "x", "(N, C, H, W)")
    x = x.astype(_precision(x), copy=False)
    y = np.maximum(x, 0)
    if leak:
        y += leak * np.minimum(x, 0)
    return np.asarray(y)


@public
def softmax(x: npt.ArrayLike) -> Array:
    """Turn the channels of each position into probabilities, as `decoding.reference.softmax` does.

    Examples
    --------
    >>> softmax([[[[1000]], [[1000]]]]).ravel()
    array([0.5, 0.5])
    """
    x = as_array4(x, "softmax", "x", "(N, C, H, W)")
    x = x.astype(_precision(x), copy=False)
    y = x - x.max(axis=1, keepdims=True)
    np.exp(y, out=y)
    y /= y.sum(axis=1, keepdims=True)
    return np.asarray(y)


@public
def substitute(maps: npt.ArrayLike, filters: npt.ArrayLike, *, stride: Any = 1, groups: int = 1) -> Array:
    """Put each filter in the place of every response, as `decoding.reference.substitute` does.

    Examples
    --------
    >>> substitute([[[[1, 10]]]], [[[[1, 2], [3, 4]]]])
    array([[[[ 1., 12., 20.],
             [ 3., 34., 40.]]]])
    """
    maps, filters, stride = substitute_arguments(maps, filters, stride, groups)
    dtype = _precision(maps, filters)
    if groups == 1:
        return _substitute(maps, filters, stride, dtype)
    if len(filters) == groups:
        return _substitute_depthwise(maps, filters, stride, dtype)
    pairs = zip(np.split(maps, groups, axis=1), np.split(filters, groups), strict=True)
    parts = [_substitute(m, f, stride, dtype).transpose(2, 3, 1, 0) for m, f in pairs]
    return _as_maps(np.concatenate(parts, axis=2))


def _substitute(maps: Array, filters: Array, stride: Pair, dtype: np.dtype[Any]) -> Array:
    (n, k, rows, columns), (_, c, h, w) = maps.shape, filters.shape
    shape = (rows - 1) * stride[0] + h, (columns - 1) * stride[1] + w, c, n
    if h * w == 1 and rows * columns >= MANY:
        return _substitute_pixels(maps.astype(dtype, copy=False), np.asarray(filters, dtype), stride)
    bank = filters.transpose(2, 3, 1, 0)
    if n < FEW and not bank.flags.c_contiguous:  # a bank decoded from below is, and need not be copied
        return _as_maps(_substitute_few(maps.astype(dtype, copy=False), np.asarray(filters, dtype), stride, shape))
    bank, maps = np.ascontiguousarray(bank, dtype), np.ascontiguousarray(maps.transpose(2, 3, 1, 0), dtype)
    out = np.zeros(shape, dtype)
    # Products that are made and added block by block stay in cache: some columns of the map, or some rows of the filters.
    some_columns = max(1, BLOCK // max(1, h * w * c * n))
    some_rows = max(1, min(h, BLOCK // max(1, w * c * n)))
    scratch = np.empty((min(some_columns, columns), some_rows, w, c, n), dtype)
    for u in range(0, h, some_rows):
        part = bank[u : u + some_rows]
        for i in range(rows):
            for j in range(0, columns, some_columns):
                responses = maps[i, j : j + some_columns]
                products = scratch[: len(responses), : len(part)]
                np.matmul(part.reshape(-1, k), responses, out=products.reshape(len(responses), len(part) * w * c, n))
                _add_copies(out[i * stride[0] + u :][: len(part), j * stride[1] :], products, stride[1])
    return _as_maps(out)


def _substitute_pixels(maps: Array, filters: Array, stride: Pair) -> Array:
    """Filters of one pixel, whose copies do not overlap: one product of (C, K) by (K, positions) per image."""
    (n, k, rows, columns), c = maps.shape, filters.shape[1]
    products: Array = np.matmul(filters.reshape(k, c).T, maps.reshape(n, k, rows * columns))
    products = products.reshape(n, c, rows, columns)
    if stride == (1, 1):
        return np.asarray(products)
    out = np.zeros((n, c, (rows - 1) * stride[0] + 1, (columns - 1) * stride[1] + 1), maps.dtype)
    out[:, :, :: stride[0], :: stride[1]] = products
    return out


def _substitute_depthwise(maps: Array, filters: Array, stride: Pair, dtype: np.dtype[Any]) -> Array:
    """One filter for each map, and channels of its own for each: position by position or tap by tap, whichever are fewer.

    Filters of ones, which undo pools, go row by row and then column by column.
    """
    (n, k, rows, columns), (_, c, h, w) = maps.shape, filters.shape
    out = np.zeros((n, k, c, (rows - 1) * stride[0] + h, (columns - 1) * stride[1] + w), dtype)
    maps, filters = np.asarray(maps, dtype), np.asarray(filters, dtype)
    if rows * columns <= h * w:
        for i, j in np.ndindex(rows, columns):
            cell = maps[:, :, i, j].reshape(n, k, 1, 1, 1)
            out[:, :, :, i * stride[0] :, j * stride[1] :][..., :h, :w] += cell * filters
    elif (filters == 1).all():
        tall = np.zeros((n, k, 1, out.shape[3], columns), dtype)
        for u in range(h):
            tall[..., u :: stride[0], :][..., :rows, :] += maps[:, :, np.newaxis]
        for v in range(w):
            out[..., v :: stride[1]][..., :columns] += tall
    else:
        for u, v in np.ndindex(h, w):
            tap = filters[:, :, u, v].reshape(k, c, 1, 1)
            out[..., u :: stride[0], v :: stride[1]][..., :rows, :columns] += maps[:, :, np.newaxis] * tap
    return out.reshape(n, k * c, *out.shape[3:])


def _substitute_few(maps: Array, filters: Array, stride: Pair, shape: tuple[int, int, int, int]) -> Array:
    """Some rows of the map at a time, one product of (C·h·w, K) by (K, N·positions).

    Added position by position or tap by tap, whichever are fewer.
    """
    (n, k, rows, columns), (_, c, h, w) = maps.shape, filters.shape
    out = _empty(shape, maps.dtype)
    out[...] = 0
    some = max(1, BLOCK // max(1, c * h * w * n * columns))
    for i in range(0, rows, some):
        part = maps[:, :, i : i + some]
        products = filters.reshape(k, c * h * w).T @ part.swapaxes(0, 1).reshape(k, n * part.shape[2] * columns)
        products = products.reshape(c, h, w, n, part.shape[2], columns).transpose(4, 5, 1, 2, 0, 3)
        place = out[i * stride[0] :]
        if len(products) * columns <= h * w:
            for row, column in np.ndindex(len(products), columns):
                place[row * stride[0] :, column * stride[1] :][:h, :w] += products[row, column]
        else:
            for u, v in np.ndindex(h, w):
                place[u :: stride[0], v :: stride[1]][: len(products), :columns] += products[:, :, u, v]
    return out


def _add_copies(out: Array, products: Array, step: int) -> None:
    """Add the copies (columns, h, w, C, N) of a row to out (h, W, C, N), copy by copy or tap by tap, whichever are fewer."""
    columns, _, w = products.shape[:3]
    if columns <= w:
        for j in range(columns):
            out[:, j * step :][:, :w] += products[j]
    else:
        for v in range(w):
            out[:, v::step][:, :columns] += products[:, :, v].swapaxes(0, 1)


@public
def unpool(maps: npt.ArrayLike, *, size: Any, stride: Any = None, mode: str = "nearest") -> Array:
    """Enlarge the maps to the size of what was pooled, as `decoding.reference.unpool` does.

    Examples
    --------
    >>> unpool([[[[1, 5]]]], size=(1, 2), mode="bilinear")
    array([[[[1., 2., 4., 5.]]]])
    """
    maps, size, stride = unpool_arguments(maps, size, stride)
    rows, columns = (matrix(m, z, s, mode) for m, z, s in zip(maps.shape[2:], size, stride, strict=True))
    x = _laid_out(maps)
    if mode == "nearest":
        y = x.take(rows.argmax(axis=1), axis=0).take(columns.argmax(axis=1), axis=1)
        y[~rows.any(axis=1)], y[:, ~columns.any(axis=1)] = 0, 0  # between windows
        return _as_maps(y)
    rows, columns = rows.astype(x.dtype), columns.astype(x.dtype)
    height, width, c, n = x.shape
    if n < FEW:
        return np.asarray(rows @ _as_maps(x) @ columns.T)
    tall = (rows @ x.reshape(height, width * c * n)).reshape(len(rows), width, c * n)
    return _as_maps(np.matmul(columns, tall).reshape(len(rows), len(columns), c, n))


def _precision(*arrays: Array) -> np.dtype[Any]:
    """float32 if all are, float64 otherwise."""
    return np.dtype(np.float32 if all(array.dtype == np.float32 for array in arrays) else np.float64)


def _laid_out(x: Array, dtype: np.dtype[Any] | None = None) -> Array:
    """x (N, C, H, W) seen as (H, W, C, N), contiguous in that order, or as it was for few; no copy if it is already."""
    dtype = _precision(x) if dtype is None else dtype
    if len(x) < FEW:
        return np.asarray(np.asarray(x, dtype).transpose(2, 3, 1, 0))
    return np.ascontiguousarray(x.transpose(2, 3, 1, 0), dtype)


def _empty(shape: tuple[int, int, int, int], dtype: np.dtype[Any]) -> Array:
    """(H, W, C, N) to be filled, laid out like that or, for few images, as (N, C, H, W)."""
    height, width, c, n = shape
    return np.empty((n, c, height, width), dtype).transpose(2, 3, 1, 0) if n < FEW else np.empty(shape, dtype)


def _as_maps(x: Array) -> Array:
    """x (H, W, C, N) seen as (N, C, H, W)."""
    return np.asarray(x.transpose(3, 2, 0, 1))


def _padded(x: Array, pad: Pads, value: float) -> Array:
    """x (H, W, C, N) with `value` around it; x itself if there is no padding."""
    top, bottom, left, right = pad
    if not any(pad):
        return x
    height, width, c, n = x.shape
    out = _empty((height + top + bottom, width + left + right, c, n), x.dtype)
    out[:top], out[top + height :] = value, value
    out[:, :left], out[:, left + width :] = value, value
    out[top : top + height, left : left + width] = x
    return out


keep_memory()  # also for maps that are made in one block, as a unit's are
