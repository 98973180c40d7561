"""Pictures of a layer's units on one sheet, with a byte for each number, so that the page can colour them and show values."""

from __future__ import annotations

import base64
import io
import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..arguments import Array

MIDDLE = 128  # the byte for zero; 127 more or less stands for the largest magnitude of the unit


class Drawn(NamedTuple):
    """Units as they are drawn.

    Attributes
    ----------
    bytes : ndarray of shape (K, C, h, w), uint8
        ``128 + 127 · value / peak``.
    peaks : ndarray of shape (K,)
        The largest magnitude of each unit; 1 if it is zero everywhere.
    """

    bytes: npt.NDArray[np.uint8]
    peaks: npt.NDArray[np.float64]


def shrunk(maps: Array, most: int) -> Array:
    """Maps (…, h, w) shrunk to at most `most` rows and columns, by means over square blocks (smaller ones at the far edges)."""
    step = max(1, math.ceil(max(maps.shape[-2:]) / most))
    if step == 1:
        return maps
    for axis in (-2, -1):
        starts = np.arange(0, maps.shape[axis], step)
        sizes = np.minimum(step, maps.shape[axis] - starts).astype(maps.dtype)
        sums = np.add.reduceat(maps, starts, axis=axis)
        maps = sums / (sizes[:, np.newaxis] if axis == -2 else sizes)
    return maps


def one_or_three(maps: Array) -> Array:
    """Maps (K, C, h, w) with the one or three channels in which they are drawn; any other number of channels is summed."""
    return maps if maps.shape[1] in (1, 3) else maps.sum(axis=1, keepdims=True)


def rounded(values: Any) -> list[float | None]:
    """Numbers rounded to four digits; None for those that are not finite."""
    return [float(f"{value:.4g}") if np.isfinite(value) else None for value in np.asarray(values, np.float64).tolist()]


def draw(maps: Array) -> Drawn:
    """Turn numbers into bytes, each unit on its own scale.

    Examples
    --------
    >>> draw(np.array([[[[-1.0, 0.0, 2.0]]]])).bytes.tolist()
    [[[[64, 128, 255]]]]
    """
    peaks = np.abs(maps).max(axis=(1, 2, 3), initial=0).astype(np.float64)
    peaks[peaks == 0] = 1
    scaled = np.rint(MIDDLE + 127 * (maps / peaks[:, np.newaxis, np.newaxis, np.newaxis]))
    return Drawn(scaled.astype(np.uint8), peaks)


def sheet(tiles: npt.NDArray[np.uint8]) -> dict[str, Any]:
    """Tiles (K, C, h, w) on one picture, with about as many columns as rows, as the page reads it."""
    count, channels, height, width = tiles.shape
    columns = max(1, math.ceil(math.sqrt(count)))
    rows = max(1, math.ceil(count / columns))
    page = np.full((rows * columns, channels, height, width), MIDDLE, np.uint8)
    page[:count] = tiles
    page = page.reshape(rows, columns, channels, height, width).transpose(0, 3, 1, 4, 2)
    picture = page.reshape(rows * height, columns * width, channels)
    return {"png": png(picture), "columns": columns, "rows": height, "cols": width, "channels": channels}


def png(picture: npt.NDArray[np.uint8]) -> str:
    """A picture (H, W, 1) or (H, W, 3) as a PNG file, in base64."""
    return _encoded(picture, "PNG", optimize=True)


def photo(picture: npt.NDArray[np.uint8]) -> str:
    """A picture as a data URL: a PNG if it is small, otherwise a JPEG."""
    if max(picture.shape[:2]) <= 64:
        return f"data:image/png;base64,{png(picture)}"
    return f"data:image/jpeg;base64,{_encoded(picture, 'JPEG', quality=88)}"


def _encoded(picture: npt.NDArray[np.uint8], format: str, **options: Any) -> str:
    from PIL import Image

    file = io.BytesIO()
    image = Image.fromarray(np.ascontiguousarray(picture[:, :, 0] if picture.shape[2] == 1 else picture))
    image.save(file, format, **options)
    return base64.b64encode(file.getvalue()).decode()
