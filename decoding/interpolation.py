"""The weights of unpooling, as matrices: nearest, bilinear, bicubic.

Paper: "a simple image upsampling" (section 3), with three interpolations (table 1). Kernel and border are our choice,
made so that a 2×2 pool gives what MATLAB's ``imresize(·, 2)`` gives: the geometry of pixel centres, Keys' bicubic
kernel with a = −1/2, and an edge that mirrors (… 1 0 | 0 1 2 …).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import InvalidValueError

MODES = ("nearest", "bilinear", "bicubic")


@lru_cache(maxsize=256)
def matrix(n: int, size: int, stride: int, mode: str) -> npt.NDArray[np.float64]:
    """The matrix that unpools one axis of a map.

    ``u(p) = (p − (size − 1)/2) / stride`` is the place of output pixel p, counted in map cells: where the pixel sits
    relative to the centres of the pool's windows.

    Parameters
    ----------
    n : int
        Cells of the map along this axis.
    size, stride : int
        The pool's window and step along this axis, in pixels.
    mode : {"nearest", "bilinear", "bicubic"}

    Returns
    -------
    ndarray of shape ((n - 1) * stride + size, n), float64, read-only
        Rows sum to one, so that a constant map stays as it is; those between windows, where `size` is below `stride`,
        are zero.

    Raises
    ------
    InvalidValueError
        If `mode` is none of the three.

    See Also
    --------
    decoding.reference.unpool : Applies it to both axes.

    Notes
    -----
    Our choice (the paper says "upsampling"). Nearest takes the closest cell of the map, on a tie the later one. The
    other two weigh 2 and 4 neighbours; those past the edge are mirrored back. For a 2×2 pool of stride 2 every weight is a
    binary fraction, so that small integers unpool without rounding.

    Examples
    --------
    >>> matrix(2, 2, 2, "bilinear")
    array([[1.  , 0.  ],
           [0.75, 0.25],
           [0.25, 0.75],
           [0.  , 1.  ]])
    >>> matrix(5, 2, 2, "bicubic")[5] * 128
    array([  0.,  -9., 111.,  29.,  -3.])
    >>> matrix(2, 1, 2, "nearest")      # the pool saw the first and the last pixel alone
    array([[1., 0.],
           [0., 0.],
           [0., 1.]])
    """
    if mode not in MODES:
        raise InvalidValueError(f"unpool: mode {mode!r} is not one of {', '.join(map(repr, MODES))}.")
    length = (n - 1) * stride + size
    u = (np.arange(length) - (size - 1) / 2) / stride
    if mode == "nearest":
        taps = np.floor(u + 0.5).astype(int)[:, np.newaxis].clip(0, n - 1)
        values = np.ones((length, 1))
    else:
        reach = {"bilinear": (0, 1), "bicubic": (-1, 0, 1, 2)}[mode]
        kernel = {"bilinear": _triangle, "bicubic": _keys}[mode]
        taps = np.floor(u).astype(int)[:, np.newaxis] + reach
        values = kernel(np.abs(u[:, np.newaxis] - taps))
        taps = _mirrored(taps, n)
    weights = np.zeros((length, n))
    np.add.at(weights, (np.arange(length)[:, np.newaxis], taps), values)
    weights[np.arange(length) % stride >= size] = 0  # between windows
    weights.setflags(write=False)
    return weights


def _triangle(t: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.maximum(1 - t, 0)


def _keys(t: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Keys (1981) with a = −1/2: (3t³ − 5t² + 2)/2 within one cell, (−t³ + 5t² − 8t + 4)/2 within two."""
    return np.where(t <= 1, ((3 * t - 5) * t * t + 2) / 2, np.where(t < 2, (((5 - t) * t - 8) * t + 4) / 2, 0))


def _mirrored(index: npt.NDArray[Any], n: int) -> npt.NDArray[Any]:
    """… 1 0 | 0 1 … n−1 | n−1 n−2 …"""
    index = index % (2 * n)
    return np.asarray(np.minimum(index, 2 * n - 1 - index))
