"""The second order of all units of a layer together, where their forms are small enough to be written out.

`decode_quadratic` takes a walk up and a walk down for each product with the form of one unit. Here the forms of a layer, as
matrices, are composed of those of the layer below, from the image up, as banks of filters are: a convolution adds up forms,
each in its place; a rectifier adds the square of its unit's filter. For hundreds of units that is some ten times less work.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from .. import fast
from ..activation_patterns import Statistics
from ..arguments import Array
from ..decoder import decode_layer
from ..eigenpictures import QuadraticUnit, _Root, _sign
from ..layers import Layer, Pool, Sum, is_its_filters
from ..network import Network
from ..secondorder import bends
from .weights import factor, passes

MOST = 1400  # numbers of a field, up to which forms are written out
BLOCK = 2**27  # bytes of forms at a time
KEPT = 2**29  # bytes of the forms that are kept of layers below
START = 160  # components of the images that pictures are first looked for in
STEPS = 3  # by which they are refined


def writes_out(net: Network, number: int) -> bool:
    """Whether the forms of a layer can be composed: its field is small, and all below it are layers that are known here."""
    below = {number}
    for n in range(number, 0, -1):
        if n in below:
            layer = net.layers[n - 1]
            if not (is_its_filters(layer) or isinstance(layer, (Pool, Sum)) or _alone(layer)):
                return False
            below.update(net.paths[n - 1])
    return net.channels(0) * math.prod(net.receptive_field(number).size) <= MOST


def _alone(layer: Layer) -> bool:
    return passes(layer) and layer.size == (1, 1) and layer.stride == (1, 1)


class Forms:
    """The forms of a network's units, ``Q`` of ``q(x) = xᵀ Q x``, on the rectangle that each sees.

    Parameters
    ----------
    net : Network
        With curvatures.
    """

    def __init__(self, net: Network) -> None:
        self.net = net
        self.linear: dict[int, Array] = {}
        self._known: OrderedDict[int, Array] = OrderedDict()

    def shape(self, number: int) -> tuple[int, int, int]:
        """(C, h, w) of the rectangle that units of a layer see."""
        return self.net.channels(0), *self.net.receptive_field(number).size

    def block(self, number: int) -> int:
        """How many units of a layer to take at a time."""
        return max(1, BLOCK // (4 * math.prod(self.shape(number)) ** 2))

    def filters(self, number: int) -> Array:
        """The linear part of all units, (K, C, h, w), pools being sums."""
        if number not in self.linear:
            self.linear[number] = decode_layer(self.net, number, unpool="sum", backend=fast)
        return self.linear[number]

    def of(self, number: int, units: Sequence[int]) -> Array | None:
        """The forms of some units, (units, C, h, w, C, h, w); None where nothing bends below."""
        if number in self._known:
            kept: Array = self._known[number][list(units)]
            return kept
        every = range(self.net.channels(number))
        if list(units) != list(every) and len(every) <= self.block(number):  # the others are soon asked for
            whole = self.of(number, every)
            return None if whole is None else whole[list(units)]
        found = self._composed(number, units) if number else None
        if found is not None and list(units) == list(every) and found.nbytes <= BLOCK:
            self._keep(number, found)
            found = found.copy()
        return found

    def _keep(self, number: int, forms: Array) -> None:
        self._known[number] = forms
        while sum(each.nbytes for each in self._known.values()) > KEPT:
            self._known.popitem(last=False)

    def _composed(self, number: int, units: Sequence[int]) -> Array | None:
        layer, below = self.net.layers[number - 1], self.net.paths[number - 1]
        if is_its_filters(layer):
            return self._weighed(number, layer, units)
        gain = factor(layer, self.net.channels(number))[list(units)]
        cells = [(i, u, v) for i in below for u, v in np.ndindex(*layer.size)]
        parts = {i: self.of(i, units) for i in dict.fromkeys(below)}
        found = None
        for i, u, v in cells:
            if parts[i] is not None:
                found = self._zeros(number, len(units)) if found is None else found
                self._at(found, number, i, u, v)[...] += parts[i]
        if found is not None:
            found *= _spread(gain, found)
        return self._bent(number, layer, units, found) if bends(layer) else found

    def _weighed(self, number: int, layer: Any, units: Sequence[int]) -> Array | None:
        """Of a convolution: the forms that its filters weigh, some of the layer below at a time."""
        (below,) = self.net.paths[number - 1]
        weights, found = (
            layer.dense_units(units) * _spread(factor(layer, self.net.channels(number))[list(units)], layer.filters),
            None,
        )
        step = self.block(below) if below else 1
        for start in range(0, weights.shape[1], step):
            channels = range(start, min(start + step, weights.shape[1]))
            lower = self.of(below, channels)
            if lower is None:
                continue
            found = self._zeros(number, len(units)) if found is None else found
            flat = lower.reshape(len(lower), -1)
            for u, v in np.ndindex(*layer.size):
                part = weights[:, start : start + step, u, v].astype(flat.dtype) @ flat
                self._at(found, number, below, u, v)[...] += part.reshape(len(units), *lower.shape[1:])
        return found

    def _bent(self, number: int, layer: Layer, units: Sequence[int], found: Array | None) -> Array:
        """Adds what a layer that bends makes of the filters it reads: of a pool, of their spread about the window's mean."""
        (below,) = self.net.paths[number - 1]
        found = self._zeros(number, len(units)) if found is None else found
        curvature = np.broadcast_to(np.asarray(layer.curvature, found.dtype), (self.net.channels(number),))[list(units)]
        lines, n, mean = self.filters(below)[list(units)].astype(found.dtype), math.prod(layer.size), None
        for u, v in np.ndindex(*layer.size):
            line = np.zeros((len(units), *self.shape(number)), found.dtype)
            rows, columns = self._place(number, below, u, v)
            line[:, :, rows, columns] = lines
            mean = line / n if mean is None else mean + line / n
            _add_square(found, line, curvature / (2 * n))
        if n > 1 and mean is not None:
            _add_square(found, mean, -curvature / 2)
        return found

    def _zeros(self, number: int, units: int) -> Array:
        shape = self.shape(number)
        return np.zeros((units, *shape, *shape), self.net.dtype)

    def _place(self, number: int, below: int, u: int, v: int) -> tuple[slice, slice]:
        """Where a unit of the layer below, at a cell of the window, lies in the rectangle of one above."""
        here, there = self.net.receptive_field(number), self.net.receptive_field(below)
        pad = self.net.layers[number - 1].pad
        cells = (u - pad[0], v - pad[2])
        first = [there.offset[a] + cells[a] * there.stride[a] - here.offset[a] for a in (0, 1)]
        return slice(first[0], first[0] + there.size[0]), slice(first[1], first[1] + there.size[1])

    def _at(self, forms: Array, number: int, below: int, u: int, v: int) -> Array:
        rows, columns = self._place(number, below, u, v)
        return forms[:, :, rows, columns, :, rows, columns]


def _spread(factors: Array, like: Array) -> Array:
    return np.asarray(factors, like.dtype).reshape(-1, *(1,) * (like.ndim - 1))


def _add_square(forms: Array, lines: Array, factors: Array) -> None:
    """Adds ``factor · line lineᵀ`` to each form."""
    for form, line, scale in zip(forms, lines, factors, strict=True):
        size = line.size
        form.reshape(size, size)[...] += scale * np.multiply.outer(line.ravel(), line.ravel())


def decode_all(
    forms: Forms, number: int, units: Sequence[int], n: int, statistics: Statistics
) -> Iterator[QuadraticUnit]:
    """What `decode_quadratic` finds of some units of a layer, one after the other."""
    root = Basis(statistics)
    for start in range(0, len(units), forms.block(number)):
        some = units[start : start + forms.block(number)]
        matrices = forms.of(number, some)
        for at, k in enumerate(some):
            yield _unit(forms.filters(number)[k], None if matrices is None else matrices[at], root, n)


class Basis:
    """A root of the statistics' covariance, its columns from the strongest component of the images down."""

    def __init__(self, statistics: Statistics) -> None:
        self.statistics = statistics
        self.matrix = np.ascontiguousarray(_Root(statistics).matrix[:, ::-1])


def _unit(linear: Array, form: Array | None, basis: Basis, n: int) -> QuadraticUnit:
    given, mean, shape = basis.statistics, basis.statistics.mean, linear.shape
    linear = linear.astype(np.float64)
    if form is None:
        none = np.zeros((0, *shape))
        return QuadraticUnit(linear, given.cov(linear), np.zeros(0), none, none, np.zeros(0), 0.0, mean)
    matrix = form.reshape(linear.size, linear.size)
    if mean is not None:
        linear = linear + 2 * (matrix @ mean.ravel()).reshape(shape)
    values, patterns, whole = _strongest(matrix, basis.matrix.astype(matrix.dtype), n)
    filters = patterns @ matrix
    filters[values != 0] /= values[values != 0, np.newaxis]
    patterns, filters = (each.astype(np.float64).reshape(-1, *shape) for each in (patterns, filters))
    signs = np.array([_sign(each, linear) for each in patterns]).reshape(-1, 1, 1, 1)
    shares = values**2 / whole if whole else np.zeros_like(values)
    return QuadraticUnit(linear, given.cov(linear), values, filters * signs, patterns * signs, shares, 0.0, mean)


def _strongest(matrix: Array, root: Array, n: int) -> tuple[Array, Array, float]:
    """The n eigenvalues of ``Bᵀ Q B`` that are largest by size, their patterns ``B e`` (n, P), and the sum of all squares.

    They are looked for among the strongest components of the images, and then refined in blocks (Rayleigh and Ritz): each step
    adds what the form makes of what was found. What two of the weakest components have to do with each other is left out of
    the sum.
    """
    columns = root.T @ (matrix @ root[:, :START])
    inner = columns[:START]
    whole = 2 * float(np.square(columns, dtype=np.float64).sum()) - float(np.square(inner, dtype=np.float64).sum())
    values, found = _largest(inner, 2 * n)
    vectors, made = np.zeros((len(columns), found.shape[1]), columns.dtype), columns @ found
    vectors[: len(inner)] = found
    for _ in range(STEPS if len(columns) > len(inner) else 0):
        span = np.linalg.qr(np.concatenate([vectors, made], axis=1))[0]
        image = root.T @ (matrix @ (root @ span))
        values, turned = _largest(span.T @ image, 2 * n)
        vectors, made = span @ turned, image @ turned
    return values[:n].astype(np.float64), (root @ vectors[:, :n]).T, whole


def _largest(symmetric: Array, n: int) -> tuple[Array, Array]:
    values, vectors = np.linalg.eigh((symmetric + symmetric.T) / 2)
    order = np.argsort(-np.abs(values), kind="stable")[:n]
    return values[order], vectors[:, order]
