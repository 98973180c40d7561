"""The second order: what a unit responds to beyond a line, as a quadratic form on the image.

A response is taken as ``constant + ℓ(x) + q(x)``, ℓ linear and q quadratic in the image. Where a layer is not linear it is
replaced by ``gain · z + ½ · curvature · z²``, a pool by the analogous form, and products of more than two image pixels are
dropped at each layer. What is carried is, exactly, gradient and Hessian at zero of that smoothed network.

The pair (ℓ, q) goes up through the same walk as responses do, products with the form through the same walks up and down
as decoding: here is only what is new at each layer, the bend and its gradient.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from . import walks
from .arguments import Array, Pair, as_array4, as_count, check_finite, plural
from .backend import precision, resolve
from .decoder import decode, unit
from .errors import DataFormatError, DecodingError, InvalidValueError, ShapeError
from .files import replacing
from .layers import Layer, Pool
from .network import Network
from .walks import Placed, times

if TYPE_CHECKING:
    from scipy.sparse.linalg import LinearOperator

    from .patterns import Statistics

BLOCK_BYTES = 32 * 2**20  # of vectors' maps that go through a network together, in products with a form
DENSE = 1000  # pixels up to which a form is written out: exact shares, and no eigenvalue can be missed
TOLERANCE = 1e-4  # of eigenvalues, relative; 1e-2 would miss copies of multiple ones
PROBES = 8  # Gaussian images that estimate what the pictures leave unexplained


class Order2(NamedTuple):
    """The linear and the quadratic part of responses, each (N, K, H, W)."""

    linear: Array
    quadratic: Array


def bends(layer: Layer) -> bool:
    """Whether the layer has a quadratic part."""
    return layer.curvature is not None and bool(np.any(layer.curvature))


def bend(layer: Layer, x: Array, backend: Any) -> Array:
    """The layer's quadratic part for curvature 1: ``½ x²``, or for a pool half the mean of squares about each window's mean.

    ``(L(x²) − L(x)² / n) / 2n``, L being the sum over the n cells of a window. A constant per channel, which a pool does
    not see, is taken off first: the difference of squares would lose it in single precision.
    """
    if not isinstance(layer, Pool):
        return x * x / 2
    n = math.prod(layer.size)
    x = x - x.mean(axis=(0, 2, 3), keepdims=True)
    total = np.asarray(layer.linear(x, backend=backend))
    return (np.asarray(layer.linear(x * x, backend=backend)) - total * total / n) / (2 * n)


def unbend(layer: Layer, s: Array, x: Array, backend: Any) -> Array:
    """The gradient by x of ``Σ s · bend(x)``: ``s · x``; of a pool, ``s · (x − mean) / n`` on each cell, overlaps added."""
    if not isinstance(layer, Pool):
        return s * x
    n, width = math.prod(layer.size), [x.shape[1]]
    x = x - x.mean(axis=(2, 3), keepdims=True)

    def spread(maps: Array) -> Array:
        return np.asarray(layer.decode(maps, width, "sum", backend)[0])

    maps = np.broadcast_to(s / n, (len(x), *s.shape[1:]))
    return x * spread(maps) - spread(maps / n * np.asarray(layer.linear(x, backend=backend)))


def step(layer: Layer, below: Sequence[Order2], backend: Any) -> Order2:
    """The pair, one layer up: ``gain · L(ℓ)`` and ``gain · L(q) + curvature · bend(ℓ)``."""
    followed = below[: layer.follows]
    linear = np.asarray(layer.linear(*(pair.linear for pair in followed), backend=backend))
    quadratic = np.asarray(layer.linear(*(pair.quadratic for pair in followed), backend=backend))
    linear, quadratic = times(linear, layer.gain, 1), times(quadratic, layer.gain, 1)
    if bends(layer):
        quadratic = quadratic + times(bend(layer, followed[0].linear, backend), layer.curvature, 1)
    return Order2(linear, quadratic)


def respond(net: Network, images: Array, layer: int | str, *, backend: Any = None) -> Order2:
    """The linear and the quadratic part of the responses of `layer`, with the network's pads, as `forward` has them.

    Parameters
    ----------
    net : Network
        With gains and curvatures, as `quadratize` returns it.
    images : array_like of shape (N, C, H, W)
        As `Network.forward` takes them.
    layer : int or str
        Number (from 1) or name.
    backend : object or module, optional
        The operators to use; `decoding.reference` unless given.

    Returns
    -------
    Order2
        ``.linear`` and ``.quadratic``, each (N, K, H', W').

    Raises
    ------
    ShapeError, InvalidValueError, UnknownLayerError
        As `Network.forward`.

    See Also
    --------
    decoding.decoded_responses : With ``order=2``, the sum of the two.

    Notes
    -----
    Our choice; not in the paper. The linear part equals the correlation with the decoded filter (``unpool="sum"``) at units
    whose field lies inside the image; at the border the network's pads count here, and the image's zeros there.

    Examples
    --------
    >>> from decoding import Conv, Network, ReLU
    >>> net = Network([Conv([[[[1, -1]]]]), ReLU(gain=0.5, curvature=2)])
    >>> respond(net, [[[[5, 2]]]], 2)      # of a difference of 3: a half, and its square
    Order2(linear=array([[[[1.5]]]]), quadratic=array([[[[9.]]]]))
    """
    images, operators = as_array4(images, "respond", "images", "(N, C, H, W)"), resolve(backend)
    top = net.index(layer)
    net.check_weights(top)
    check_finite(images, "respond: images")
    net.shapes(images.shape[1:], top)
    x = images.astype(precision(operators, images.dtype if images.dtype.kind == "f" else net.dtype), copy=False)

    def up(number: int, *below: Order2) -> Order2:
        return step(net.layers[number - 1], below, operators)

    *_, (_, pair) = walks.forward(net, Order2(x, np.zeros_like(x)), [top], operators, up)
    check_finite(pair.quadratic, f"the second order's responses of layer {top}")
    return Order2(*pair)


class Form:
    """The quadratic part of one unit's response, on the rectangle that the unit sees of layer `bottom`.

    ``2 Q v``: up with v on the rectangles that the unit sees, valid, without pads; at each layer that bends, the gradient of
    its bend, weighted by how the unit weighs that layer; and down again, adding each layer's part as it is passed.
    """

    def __init__(self, net: Network, top: int, k: int, bottom: int, backend: Any) -> None:
        self.net, self.top, self.bottom, self.backend = net, top, bottom, resolve(backend)
        self.dtype = precision(self.backend, net.dtype)
        impulse = np.zeros((1, net.channels(top), 1, 1), self.dtype)
        impulse[0, k] = 1
        # How the unit weighs each layer on the way, and on which rectangle: before that layer's own gain.
        self.weights = dict(walks.down(net, Placed(impulse, (0, 0)), top, bottom, "sum", self.backend))
        self.order = sorted(number for number in self.weights if number != bottom)
        self.layers = {number: net.layers[number - 1].unpadded() for number in self.order}
        self.bent = [number for number in self.order if bends(self.layers[number])]
        self.shape = net.channels(bottom), *self.weights[bottom].maps.shape[2:]

    @property
    def linear(self) -> Array:
        """The linear part, (C, H, W)."""
        return self.weights[self.bottom].maps[0]

    def product(self, vectors: Array) -> Array:
        """``Q v`` for images (N, C, H, W) of the rectangle."""
        if not self.bent:
            return np.zeros_like(vectors)
        below = self._up(vectors.astype(self.dtype, copy=False))

        def source(number: int, here: Placed) -> list[Placed]:
            if number not in below:
                return []
            layer, (x, place) = self.layers[number], below[number]
            s = times(self.weights[number].maps, layer.curvature, 1)
            return [Placed(unbend(layer, s, x, self.backend), place)]

        zeros = np.zeros((len(vectors), *self.weights[self.top].maps.shape[1:]), self.dtype)
        walk = walks.down(self.net, Placed(zeros, (0, 0)), self.top, self.bottom, "sum", self.backend, source)
        *_, (_, found) = walk
        return found.maps / 2

    def _up(self, vectors: Array) -> dict[int, Placed]:
        """What each layer that bends reads, of the linear walk up from `vectors`."""
        live, below = {self.bottom: vectors}, dict[int, Placed]()
        last = {i: number for number in self.order for i in self.net.paths[number - 1]}
        for number in self.order:
            if number > self.bent[-1]:
                break
            layer = self.layers[number]
            read = [self._cut(number, i, live, len(vectors)) for i in self.net.paths[number - 1]]
            if number in self.bent:
                below[number] = read[0]
            maps = np.asarray(layer.linear(*(part.maps for part in read), backend=self.backend))
            live[number] = times(maps, layer.gain, 1)
            for i in {*self.net.paths[number - 1], number}:
                if last.get(i, number) == number:
                    live.pop(i, None)
        return below

    def _cut(self, number: int, i: int, live: dict[int, Array], count: int) -> Placed:
        """Of layer i, what the rectangle of layer `number` reads; zeros of a layer that sees nothing of the bottom."""
        layer, (maps, origin) = self.net.layers[number - 1], self.weights[number]
        place = [origin[a] * layer.stride[a] - layer.pad[2 * a] for a in (0, 1)]
        rows, columns = ((maps.shape[2 + a] - 1) * layer.stride[a] + layer.size[a] for a in (0, 1))
        if i not in live:
            return Placed(np.zeros((count, self.net.channels(i), rows, columns), self.dtype), (place[0], place[1]))
        first = [place[a] - self.weights[i].origin[a] for a in (0, 1)]
        return Placed(live[i][:, :, first[0] :, first[1] :][:, :, :rows, :columns], (place[0], place[1]))

    def block(self) -> int:
        """How many vectors to multiply at a time."""
        most = max(each.maps[0].size for each in self.weights.values())
        return max(1, min(16, BLOCK_BYTES // (self.dtype.itemsize * most * 4)))

    def products(self, vectors: Array) -> Array:
        """``Q v`` for any number of images, some at a time."""
        some = self.block()
        parts = [self.product(vectors[i : i + some]) for i in range(0, len(vectors), some)]
        return np.concatenate(parts) if parts else np.zeros_like(vectors)


def quadratize(net: Network, images: Any = None, *, backend: Any = None, progress: Any = None) -> Network:
    """Give every layer that is not linear the gain and the curvature that stand for it best.

    Without images from the numbers in the batch normalizations, as `linearize` does; with images calibrated, layer by layer.

    Parameters
    ----------
    net : Network
    images : array_like of shape (N, C, H, W), or an iterable of such batches, optional
        As `Network.forward` takes them. The first of them are used: as many as have 2²⁶ numbers alive at a time, which is
        some 5,000 digits of a LeNet; what comes after them is not read. Some 1,500 small images or four photographs do.
    backend : object or module, optional
        The operators to use; `decoding.reference` unless given.
    progress : callable, optional
        Called as ``progress(done, total)``, in layers, when images are given.

    Returns
    -------
    Network
        The same, its layers with gains and curvatures, and with the moments of all layers that are known. It runs as before.

    Raises
    ------
    UnsupportedLayerError
        Without images, if moments of what a layer reads are not known, or a maximum is taken: it names the first such layer.
    InvalidValueError
        If there are too few images, they are not finite, or nothing varies.
    ShapeError
        If the images do not fit the network.

    See Also
    --------
    decode_quadratic : Pictures of a unit of such a network.
    linearize : Gains alone, which are better where only the linear part is used.

    Notes
    -----
    Our choice; not in the paper. *Statistical quadratization* (Donley and Spanos, 1990). Without images, for Gaussian responses z of
    deviation σ, u being z standardized: ``gain = E[f(z) u] / σ`` and ``curvature = κ · E[f(z) (u² − 1)] / σ²``, κ = ⅓ standing for
    the tails of natural responses, which are heavier than a Gaussian's. With images, ``y ≈ gain · L(ℓ + q) + curvature · bend(ℓ) +
    constant`` by least squares for each channel, y being what the layer truly puts out, and (ℓ, q) what the layers below,
    calibrated before, make of the image: what was lost below is taken into account. Channels that never vary have 0.

    Examples
    --------
    >>> from decoding import BatchNorm, Network, ReLU
    >>> net = quadratize(Network([BatchNorm([1], [0], mean=[0], std=[1]), ReLU()]))
    >>> net.layer(2).gain, (net.layer(2).curvature * 3 * np.sqrt(2 * np.pi)).round(9)
    (array([0.5]), array([1.]))
    """
    if images is None:
        return _by_moments(net)
    operators = resolve(backend)
    batches = _sample(net, images)
    return _calibrated(net, batches, operators, progress)


def _by_moments(net: Network) -> Network:
    known = moments(net)
    linear = linearize(net)

    def bent(number: int, layer: Layer) -> Layer:
        if isinstance(layer, MaxPool) and math.prod(layer.size) > 1:
            with net.naming(number):
                raise UnsupportedLayerError(
                    "without images the spread within its windows is not known. Give images: quadratize(net, images)."
                )
        read = known[net.inputs[number - 1][0]]
        if not hasattr(layer, "function") or read is None or "curvature" not in layer.fields():
            return _summing(layer)
        return layer.replace(curvature=TAILS * expected(layer, *read).curvature)

    layers = [
        bent(number, layer) if net.blocked(number) is None else layer for number, layer in enumerate(linear.layers, 1)
    ]
    return net.replace(layers=layers, moments={i: pair for i, pair in known.items() if pair is not None})


def _summing(layer: Layer) -> Layer:
    """An average pool with the gain that makes it the mean of its window's sum."""
    return layer.replace(gain=1 / math.prod(layer.size), curvature=None) if isinstance(layer, AvgPool) else layer


def _sample(net: Network, images: Any) -> list[Array]:
    """The first images, in batches, as many as are calibrated on."""
    found, count, total = list[Array](), 0, None
    for start, batch in batches_of(net, images, [len(net.layers)] if net.blocked(len(net.layers)) is None else None):
        check_finite(batch, f"quadratize: images from {start}")
        if total is None:
            total = max(LEAST, SAMPLE // alive(net, batch.shape[1:]))
        found.append(batch[: total - count])
        count += len(found[-1])
        if count >= total:
            break
    if count < LEAST:
        raise InvalidValueError(
            f"quadratize: {plural(count, 'image')}: factors are calibrated on at least {LEAST}. Some 1,500 small ones, or four photographs, are enough."
        )
    if min(batch.min() for batch in found) == max(batch.max() for batch in found):
        raise InvalidValueError(f"quadratize: all pixels of the {plural(count, 'image')} are equal, so nothing varies.")
    return found
