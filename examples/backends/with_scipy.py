"""SciPy as a backend: the two linear operators by Fourier transforms, which are not exact on integers.

    python -m decoding.testing check with_scipy

A backend may be a module, as this one is. What it does not have is reported as unsupported: here the bicubic interpolation, since
SciPy's cubic splines are a different one.
"""

import numpy as np
from scipy.ndimage import map_coordinates
from scipy.signal import fftconvolve
from scipy.special import softmax as scipy_softmax

name, eps, exact = "SciPy, by FFT", 2.0**-53, False


def correlate(x, filters, bias, *, stride, pad):
    (top, bottom, left, right), filters = pad, np.asarray(filters, float)
    x = np.pad(np.asarray(x, float), ((0, 0), (0, 0), (top, bottom), (left, right)))
    if x.shape[1] != filters.shape[1] or x.shape[2] < filters.shape[2] or x.shape[3] < filters.shape[3]:
        raise ValueError(f"filters {filters.shape} do not fit maps {x.shape}")
    if bias is not None and np.shape(bias) != (len(filters),):
        raise ValueError(f"{len(filters)} filters, biases {np.shape(bias)}")
    y = np.zeros((len(x), len(filters), x.shape[2] - filters.shape[2] + 1, x.shape[3] - filters.shape[3] + 1))
    for n, maps in enumerate(x):  # every channel with every filter at once
        y[n] = fftconvolve(maps[np.newaxis], filters[..., ::-1, ::-1], mode="valid", axes=(2, 3)).sum(axis=1)
    y = y[:, :, :: stride[0], :: stride[1]]
    return y if bias is None else y + np.asarray(bias, float)[:, None, None]


def substitute(maps, filters, *, stride):
    maps, filters = np.asarray(maps, float), np.asarray(filters, float)
    (n_, k_, rows, columns), (h, w) = maps.shape, filters.shape[2:]
    if k_ != len(filters):
        raise ValueError(f"{k_} maps, {len(filters)} filters")
    spread = np.zeros((n_, k_, (rows - 1) * stride[0] + 1, (columns - 1) * stride[1] + 1))
    spread[:, :, :: stride[0], :: stride[1]] = maps
    out = np.zeros((n_, filters.shape[1], spread.shape[2] + h - 1, spread.shape[3] + w - 1))
    for n, each in enumerate(spread):
        out[n] = fftconvolve(each[:, np.newaxis], filters, axes=(2, 3)).sum(axis=0)
    return out


def max_pool(x, *, size, stride, pad):
    (top, bottom, left, right) = pad
    if max(top, bottom) >= size[0] or max(left, right) >= size[1]:
        raise ValueError(f"with pads of {pad} windows of {size} lie outside the maps")
    x = np.pad(np.asarray(x, float), ((0, 0), (0, 0), (top, bottom), (left, right)), constant_values=-np.inf)
    if x.shape[2] < size[0] or x.shape[3] < size[1]:
        raise ValueError(f"windows of {size} do not fit maps {x.shape}")
    # scipy.ndimage.maximum_filter would drop NaN, and the check nan_comes_out says so.
    windows = np.lib.stride_tricks.sliding_window_view(x, size, axis=(2, 3))
    return windows[:, :, :: stride[0], :: stride[1]].max(axis=(4, 5))


def relu(x, *, leak):
    return np.where(np.greater(x, 0), x, leak * np.asarray(x, float))


def softmax(x):
    return scipy_softmax(np.asarray(x, float), axis=1)


def unpool(maps, *, size, stride, mode):
    if mode == "bicubic":
        raise NotImplementedError("SciPy's cubic splines are not Keys' kernel")
    order = {"nearest": 0, "bilinear": 1}[mode]
    maps = np.asarray(maps, float)
    places = [
        (np.arange((n - 1) * s + z) - (z - 1) / 2) / s for n, z, s in zip(maps.shape[2:], size, stride, strict=True)
    ]
    if mode == "nearest":  # the later cell on a tie, and never one outside
        places = [np.clip(np.floor(u + 0.5), 0, n - 1) for u, n in zip(places, maps.shape[2:], strict=True)]
    grid = np.meshgrid(*places, indexing="ij")
    out = np.zeros((*maps.shape[:2], len(places[0]), len(places[1])))
    for n, c in np.ndindex(*maps.shape[:2]):
        out[n, c] = map_coordinates(maps[n, c], grid, order=order, mode="reflect")
    rows, columns = (np.arange(n) % s < z for n, z, s in zip(out.shape[2:], size, stride, strict=True))
    return np.where(rows[:, np.newaxis] & columns, out, 0)  # nothing between windows
