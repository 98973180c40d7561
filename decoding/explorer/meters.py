"""What is measured on images: how well decoded filters follow the network, patterns, and the images that drive a unit most and least."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..arguments import Array
from ..measuring import windows, within
from ..network import Network
from ..secondorder import pairs

BLOCK = 2**22  # numbers of windows at a time
STILL = 1e-9  # a response whose variance is smaller than this share of its mean square counts as constant
WORK = 2e9  # at most so many multiplications of windows with filters per layer; beyond that, fewer images are taken


class Correlation:
    """Adds up pairs of responses, unit by unit, to find their correlation r."""

    def __init__(self) -> None:
        self.sums: Any = 0

    def take(self, x: Array, y: Array) -> None:
        """Add M pairs of responses of K units, both (M, K)."""
        ones = np.full(x.shape[1], len(x), float)
        products = [np.einsum("mk,mk->k", a, b) for a, b in ((x, x), (y, y), (x, y))]
        self.sums = self.sums + np.stack([ones, x.sum(axis=0), y.sum(axis=0), *products])

    @property
    def r(self) -> npt.NDArray[np.float64]:
        """Pearson's correlation, (K,); NaN for a unit one of whose responses is constant."""
        n, x, y, xx, yy, xy = self.sums
        with np.errstate(all="ignore"):
            spread_x, spread_y = n * xx - x * x, n * yy - y * y
            still = (spread_x <= STILL * n * xx) | (spread_y <= STILL * n * yy)
            return np.where(still, np.nan, (n * xy - x * y) / np.sqrt(spread_x * spread_y))


class FollowMeter:
    """How well decoded filters follow the responses of a layer, and of layers that pass its units on; and their patterns.

    Parameters
    ----------
    net : Network
    layers : sequence of int
        The layer of the filters, and layers that pass its units on.
    banks : mapping of str to ndarray of shape (K, C, h, w)
        For each kind of filter, those of the first units. The pattern, ``Cov(crop, response)``, is that of the last kind.

    Notes
    -----
    Only the first images are measured: as many as take `WORK` multiplications.
    """

    def __init__(self, net: Network, layers: Sequence[int], banks: Mapping[str, Array]) -> None:
        self.net, self.layers, self.layer = net, tuple(layers), max(layers)
        self.field, self.shape = net.receptive_field(layers[0]), next(iter(banks.values())).shape
        self.kinds, self.units, self.numbers = list(banks), self.shape[0], math.prod(self.shape[1:])
        self.bank = np.concatenate([bank.reshape(self.units, -1) for bank in banks.values()]).T
        self.follows = {(kind, number): Correlation() for kind in banks for number in layers}
        self.images, self.cells, self.responses, self.crops = 0, 0, 0.0, 0.0
        self.both = np.zeros((self.units, self.numbers))

    def part(self, images: Array, responses: tuple[Array, ...], start: int) -> Any:
        places = math.prod(responses[0].shape[2:])
        most = max(2, int(WORK / (places * self.units * self.numbers)))
        return images[: max(0, most - start)], responses

    def add(self, part: Any) -> None:
        images, responses = part
        self.images += len(images)
        for row, some, crops in self._crops(images, responses[0].shape[2:]):
            here = crops @ self.bank
            true = {n: _rows(y[some, : self.units, row]) for n, y in zip(self.layers, responses, strict=True)}
            drawn = dict(zip(self.kinds, np.split(here.astype(np.float64), len(self.kinds), axis=1), strict=True))
            for (kind, number), follow in self.follows.items():
                follow.take(drawn[kind], true[number])
            last = here[:, -self.units :]
            self.cells += len(crops)
            self.responses = self.responses + last.sum(axis=0, dtype=np.float64)
            self.crops = self.crops + crops.sum(axis=0, dtype=np.float64)
            self.both += last.T @ crops

    def _crops(self, images: Array, grid: Sequence[int]) -> Iterator[tuple[int, slice, Array]]:
        """What the units see, row by row of their grid: the row, which images, and the crops as rows of a matrix."""
        if not len(images):
            return
        pads, _ = self.net.grid(self.layers[0], images.shape[1:])
        images, (top, bottom, left, right) = within(images, pads)
        images = np.pad(images, ((0, 0), (0, 0), (top, bottom), (left, right)))
        for row, some, crops in windows(images, grid, self.field.size, self.field.stride, BLOCK):
            yield row, some, crops.reshape(-1, self.numbers)

    @property
    def pattern(self) -> Array:
        """The patterns, (K, C, h, w)."""
        mean = np.multiply.outer(self.responses / self.cells, self.crops / self.cells)
        return np.asarray((self.both / self.cells - mean).reshape(self.shape))


class BestMeter:
    """The largest response of each of a layer's first units to each image, and where it is."""

    def __init__(self, layer: int, units: int) -> None:
        self.layer, self.units = layer, units
        self.values: list[Array] = []
        self._where: list[Array] = []

    def part(self, images: Array, responses: Array, start: int) -> Any:
        flat = responses[:, : self.units].reshape(len(responses), self.units, -1)
        where = flat.argmax(axis=2)
        best = np.take_along_axis(flat, where[:, :, np.newaxis], axis=2)[:, :, 0]
        return best, where, responses.shape[3]

    def add(self, part: Any) -> None:
        best, where, width = part
        self.values.append(best)
        self._where.append(np.stack([where // width, where % width], axis=2).astype(np.int32))

    @property
    def best(self) -> Array:
        """The largest responses, (N, K)."""
        return np.concatenate(self.values)

    @property
    def where(self) -> Array:
        """Where these are, (N, K, 2): row and column in the layer's maps."""
        return np.concatenate(self._where)


class SecondMeter:
    """How well the second order follows the network, measured in one walk for all layers.

    Parameters
    ----------
    quadratic : Network
        With curvatures.
    units : dict of int to int
        For each layer, how many of its units to measure.
    backend : object or module
    """

    layer = 0

    def __init__(self, quadratic: Network, units: dict[int, int], backend: Any) -> None:
        self.net, self.units, self.backend = quadratic, units, backend
        self.follows = {number: Correlation() for number in units}

    def part(self, images: Array, responses: Array, start: int) -> Array:
        return images

    def add(self, images: Array) -> None:
        tops = sorted(self.units)
        true = self.net.walk(images, tops, backend=self.backend)
        stands = pairs(self.net, images.astype(self.net.dtype, copy=False), tops, self.backend)
        for (number, y), (_, pair) in zip(true, stands, strict=True):
            if number in self.units:
                both = [_rows(maps[:, : self.units[number]]) for maps in (pair.linear + pair.square, y)]
                self.follows[number].take(*both)


def _rows(maps: Array) -> Array:
    """(N, K, …) → (N·…, K), in double precision."""
    return np.moveaxis(maps, 1, -1).reshape(-1, maps.shape[1]).astype(np.float64)
