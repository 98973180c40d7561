"""The operators once more, in plain loops: a second oracle, to hold the first one against.

Each output cell gathers what it is made of, one multiplication at a time, in Python's own floats (IEEE double
precision). Nothing here comes from the rest of the package, and NumPy only carries the arrays in and out: a mistake in
`decoding.reference` is not repeated here. It is slow, and meant for arrays a person could read.

It is also the specification for a program in another language: each function is its formula, spelt out.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt

name = "decoding.testing.loops"
eps = 2.0**-53  # unit roundoff of Python's floats

Float64 = npt.NDArray[np.float64]


def correlate(
    x: npt.ArrayLike, filters: npt.ArrayLike, bias: npt.ArrayLike | None = None, *, stride: Any = 1, pad: Any = 0
) -> Float64:
    """``y[n,k,i,j] = bias[k] + Σ_{c,u,v} filters[k,c,u,v] · x[n,c, i·s + u − top, j·s + v − left]``, cells outside being 0."""
    (n_, channels, rows, columns), xs = _read(x)
    (k_, wanted, h, w), fs = _read(filters)
    if channels != wanted:
        raise ValueError(f"correlate: {channels} channels in the maps, {wanted} in the filters.")
    offsets = [0.0] * k_ if bias is None else [float(b) for b in np.asarray(bias).tolist()]
    if len(offsets) != k_:
        raise ValueError(f"correlate: {len(offsets)} biases, {k_} filters.")
    (sr, sc), (top, bottom, left, right) = _pair(stride), _four(pad)
    out = _output(n_, k_, _count(rows + top + bottom, h, sr), _count(columns + left + right, w, sc))
    for n, k, i, j in np.ndindex(*out.shape):
        total = offsets[k]
        for u, p in _inside(i * sr - top, h, rows):
            for v, q in _inside(j * sc - left, w, columns):
                for c in range(channels):
                    total += fs[k][c][u][v] * xs[n][c][p][q]
        out[n, k, i, j] = total
    return out


def max_pool(x: npt.ArrayLike, *, size: Any, stride: Any = None, pad: Any = 0) -> Float64:
    """``y[n,c,i,j] = max_{u,v} x[n,c, i·s + u − top, j·s + v − left]`` over the cells inside the map."""
    return _pool("max_pool", x, size, stride, pad, _greatest)


def avg_pool(x: npt.ArrayLike, *, size: Any, stride: Any = None, pad: Any = 0) -> Float64:
    """``y[n,c,i,j]`` is the mean of ``x[n,c, i·s + u − top, j·s + v − left]`` over the cells inside the map."""
    return _pool("avg_pool", x, size, stride, pad, lambda cells: sum(cells) / len(cells))


def relu(x: npt.ArrayLike, *, leak: float = 0.0) -> Float64:
    """``y = x`` where x is positive, ``leak · x`` elsewhere."""
    shape, xs = _read(x)
    out = _output(*shape)
    for n, c, i, j in np.ndindex(*shape):
        value = xs[n][c][i][j]
        out[n, c, i, j] = value if value > 0 else float(leak) * value
    return out


def softmax(x: npt.ArrayLike) -> Float64:
    """``y[n,k,i,j] = 1 / Σ_c exp(x[n,c,i,j] − x[n,k,i,j])``, in decimals: the same on every machine, and no overflow."""
    shape, xs = _read(x)
    out = _output(*shape)
    for n, k, i, j in np.ndindex(*shape):
        pairs = [(xs[n][c][i][j], xs[n][k][i][j]) for c in range(shape[1])]
        differences = [0.0 if a == b else a - b for a, b in pairs]  # of −∞ and −∞, too
        out[n, k, i, j] = float(1 / sum(Decimal(d).exp() for d in differences))
    return out


def substitute(maps: npt.ArrayLike, filters: npt.ArrayLike, *, stride: Any = 1) -> Float64:
    """``out[n,c,p,q] = Σ_{k,u,v} maps[n,k, (p − u)/s, (q − v)/s] · filters[k,c,u,v]``, over the u and v that divide evenly."""
    (n_, units, rows, columns), zs = _read(maps)
    (k_, c_, h, w), fs = _read(filters)
    if units != k_:
        raise ValueError(f"substitute: {units} maps, {k_} filters.")
    sr, sc = _pair(stride)
    out = _output(n_, c_, (rows - 1) * sr + h, (columns - 1) * sc + w)
    for n, c, p, q in np.ndindex(*out.shape):
        total = 0.0
        for u, i in _sources(p, h, sr, rows):
            for v, j in _sources(q, w, sc, columns):
                for k in range(k_):
                    total += zs[n][k][i][j] * fs[k][c][u][v]
        out[n, c, p, q] = total
    return out


def unpool(maps: npt.ArrayLike, *, size: Any, stride: Any = None, mode: str = "nearest") -> Float64:
    """``out[n,c,p,q] = Σ_{i,j} row_weight(p, i) · column_weight(q, j) · maps[n,c,i,j]``; see `taps`."""
    (n_, c_, rows, columns), zs = _read(maps)
    (h, w), (sr, sc) = _pair(size), _pair(size if stride is None else stride)
    down, across = taps(rows, h, sr, mode), taps(columns, w, sc, mode)
    out = _output(n_, c_, len(down), len(across))
    for n, c, p, q in np.ndindex(*out.shape):
        total = 0.0
        for i, a in down[p]:
            for j, b in across[q]:
                total += a * b * zs[n][c][i][j]
        out[n, c, p, q] = total
    return out


def taps(n: int, size: int, stride: int, mode: str) -> list[list[tuple[int, float]]]:
    """For each of the ``(n − 1)·stride + size`` pixels of an axis, (cell, weight) of what it is made of.

    Between windows there is nothing. Pixel p lies ``(p − (size − 1)/2) / stride`` cells from the first one: ``2·p − (size − 1)`` half pixels.
    """
    places = range((n - 1) * stride + size)
    halves = [2 * p - (size - 1) for p in places]
    if mode == "nearest":  # the least distance; the later cell on a tie, as halves are rounded up
        found = [[(min(max((half + stride) // (2 * stride), 0), n - 1), 1.0)] for half in halves]
    elif mode in ("bilinear", "bicubic"):
        kernel, reach = {"bilinear": (_triangle, 1), "bicubic": (_keys, 2)}[mode]
        found = [
            [
                (_mirror(i, n), kernel(abs(half - 2 * stride * i) / (2 * stride)))
                for i in range(half // (2 * stride) - reach + 1, half // (2 * stride) + reach + 1)
            ]
            for half in halves
        ]
    else:
        raise ValueError(f"unpool: there is no mode {mode!r}.")
    # The last window that begins at the pixel or before it reaches farthest.
    return [each if p - stride * min(p // stride, n - 1) < size else [] for p, each in zip(places, found, strict=True)]


def _triangle(t: float) -> float:
    return 1 - t if t < 1 else 0.0


def _keys(t: float) -> float:
    """Keys' cubic, ``(a+2)t³ − (a+3)t² + 1`` up to 1 and ``at³ − 5at² + 8at − 4a`` up to 2, with a = −1/2."""
    a = -0.5
    if t <= 1:
        return ((a + 2) * t - (a + 3)) * t * t + 1
    return ((a * t - 5 * a) * t + 8 * a) * t - 4 * a if t < 2 else 0.0


def _mirror(i: int, n: int) -> int:
    """… 1 0 | 0 1 … n−1 | n−1 n−2 …"""
    while not 0 <= i < n:
        i = -1 - i if i < 0 else 2 * n - 1 - i
    return i


def _pool(function: str, x: npt.ArrayLike, size: Any, stride: Any, pad: Any, summary: Any) -> Float64:
    (n_, c_, rows, columns), xs = _read(x)
    (h, w), (sr, sc), (top, bottom, left, right) = _pair(size), _pair(size if stride is None else stride), _four(pad)
    if max(top, bottom) >= h or max(left, right) >= w:
        raise ValueError(f"{function}: the padding is as large as the window.")
    out = _output(n_, c_, _count(rows + top + bottom, h, sr), _count(columns + left + right, w, sc))
    for n, c, i, j in np.ndindex(*out.shape):
        window = [
            xs[n][c][p][q] for _, p in _inside(i * sr - top, h, rows) for _, q in _inside(j * sc - left, w, columns)
        ]
        out[n, c, i, j] = summary(window)
    return out


def _greatest(cells: list[float]) -> float:
    greatest = cells[0]
    for value in cells:
        if value > greatest or value != value:  # not-a-number stays
            greatest = value
    return greatest


def _read(array: npt.ArrayLike) -> tuple[tuple[int, int, int, int], Any]:
    """The four sides, and the values as nested lists of Python floats."""
    values = np.asarray(array)
    a, b, c, d = values.shape
    return (a, b, c, d), values.astype(np.float64).tolist()


def _output(n: int, c: int, rows: int, columns: int) -> Float64:
    return np.zeros((n, c, rows, columns))


def _pair(value: Any) -> tuple[int, int]:
    rows, columns = value if isinstance(value, (tuple, list)) else (value, value)
    if rows < 1 or columns < 1:
        raise ValueError(f"sizes and strides are at least 1, not {value!r}.")
    return rows, columns


def _four(value: Any) -> tuple[int, int, int, int]:
    top, bottom, left, right = value if isinstance(value, (tuple, list)) else (value,) * 4
    if min(top, bottom, left, right) < 0:
        raise ValueError(f"pads are not negative: {value!r}.")
    return top, bottom, left, right


def _count(cells: int, window: int, stride: int) -> int:
    if cells < window:
        raise ValueError(f"a window of {window} does not fit in {cells} cells.")
    return (cells - window) // stride + 1


def _inside(start: int, window: int, cells: int) -> Iterator[tuple[int, int]]:
    """(tap, cell) for the taps of a window that fall inside."""
    for tap in range(window):
        if 0 <= start + tap < cells:
            yield tap, start + tap


def _sources(pixel: int, window: int, stride: int, cells: int) -> Iterator[tuple[int, int]]:
    """(tap, cell) for the taps that bring a cell to this pixel: ``cell · stride + tap = pixel``."""
    for tap in range(window):
        if (pixel - tap) % stride == 0 and 0 <= (pixel - tap) // stride < cells:
            yield tap, (pixel - tap) // stride
