"""The second order: the part of a unit's response that is quadratic in the image.

A response is approximated by ``constant + ℓ(x) + q(x)``, with ℓ linear and q quadratic in the image x. A layer that is not
linear is replaced by ``gain · z + ½ · curvature · z²``, a pool by the analogous form, and products of more than two pixels are
dropped at each layer. So ℓ and q are exactly the gradient, and half the Hessian, at zero of the network with those layers.

The pair (ℓ, q) is carried up by the same walk as responses, and products with the form of q by the same walks up and down as in
decoding. This module adds only what is new at each layer: the quadratic part (`bend`) and its gradient (`unbend`).
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np

from . import walks
from .arguments import Array, check_finite, plural
from .backend import precision, resolve
from .blocks import gather, in_order
from .boundary import public
from .errors import InvalidValueError, UnsupportedLayerError
from .gains import bends_responses, check_known, expected, free_gains, linearize, moments, scales, with_gains
from .layers import AvgPool, Layer, MaxPool, Pool
from .measuring import batches
from .network import BATCH, Network, as_network
from .walks import Placed, spread, times

BLOCK_BYTES = 32 * 2**20  # memory for the maps of vectors that are multiplied with a form together
SAMPLE = 2**26  # numbers kept between two layers, for all images that factors are calibrated on
LEAST = 2  # the fewest images that can be calibrated on
TAILS = 1 / 3  # the factor of curvatures without images: 1 for Gaussian responses, but natural ones have heavier tails
RIDGE = 1e-9  # relative to the variance of a feature
STILL = 1e-6  # a feature whose deviation is smaller than this times its mean is taken to be constant


class Order2(NamedTuple):
    """The linear and the quadratic part of responses, each (N, K, H, W)."""

    linear: Array
    quadratic: Array


def bends(layer: Layer) -> bool:
    """Whether the layer has a quadratic part."""
    return layer.curvature is not None and bool(np.any(layer.curvature))


def check_curvatures(net: Network, function: str) -> None:
    """Refuse a network without curvatures."""
    if not any("curvature" in layer.fields() and layer.curvature is not None for layer in net.layers):
        raise InvalidValueError(f"{function}: the network has no curvatures. Take quadratize(net) first.")


def bend(layer: Layer, x: Array, backend: Any) -> Array:
    """The layer's quadratic part for curvature 1: ``½ x²``, or for a pool half the mean of squares about each window's mean.

    ``(L(x²) − L(x)² / n) / 2n``, where L is the sum over the n cells of a window. A constant is subtracted from each map first.
    It does not change the result, and without that the difference of squares would lose digits in single precision.
    """
    if not isinstance(layer, Pool):
        half: Array = x * x.dtype.type(0.5)
        half *= x
        return half
    n = math.prod(layer.size)
    x = _centred(x)
    total = np.asarray(layer.linear(x, backend=backend))
    return np.asarray((np.asarray(layer.linear(x * x, backend=backend)) - total * total / n) / (2 * n))


def _centred(x: Array) -> Array:
    """x minus a constant for each map, the middle of its range, which for small integers is exact."""
    return np.asarray(x - (x.max(axis=(2, 3), keepdims=True) + x.min(axis=(2, 3), keepdims=True)) / 2)


def unbend(layer: Layer, s: Array, x: Array, backend: Any) -> Array:
    """The gradient of ``Σ s · bend(x)`` by x: ``s · x``; for a pool, ``s · (x − mean) / n`` on each cell, overlaps added."""
    if not isinstance(layer, Pool):
        return np.asarray(s * x)
    n, width = math.prod(layer.size), [x.shape[1]]
    x = _centred(x)

    def spread(maps: Array) -> Array:
        return np.asarray(layer.decode(maps, width, "sum", backend)[0])

    maps = np.broadcast_to(s / n, (len(x), *s.shape[1:]))
    return x * spread(maps) - spread(maps / n * np.asarray(layer.linear(x, backend=backend)))


class _Pair(NamedTuple):
    """The linear and the quadratic part on their way up; the latter is None as long as no layer has been quadratic."""

    linear: Array
    quadratic: Array | None

    @property
    def square(self) -> Array:
        return np.zeros_like(self.linear) if self.quadratic is None else self.quadratic


def step(layer: Layer, below: Sequence[_Pair], backend: Any) -> _Pair:
    """Carry the pair up by one layer: ``gain · L(ℓ)`` and ``gain · L(q) + curvature · bend(ℓ)``."""
    followed, quadratic = below[: layer.follows], None
    linear = times(np.asarray(layer.linear(*(pair.linear for pair in followed), backend=backend)), layer.gain, 1)
    if any(pair.quadratic is not None for pair in followed):
        quadratic = np.asarray(layer.linear(*(pair.square for pair in followed), backend=backend))
        quadratic = times(quadratic, layer.gain, 1)
    if bends(layer):
        bent = bend(layer, followed[0].linear, backend)
        bent *= spread(layer.curvature, bent, 1)
        quadratic = bent if quadratic is None else np.add(bent, quadratic, out=bent)
    return _Pair(linear, quadratic)


def pairs(net: Network, x: Array, tops: Iterable[int], backend: Any) -> Iterator[tuple[int, _Pair]]:
    """The walk that carries the pair up: yields (number, pair) of each layer that `tops` need."""
    return walks.forward(net, _Pair(x, None), tops, backend, lambda n, *below: step(net.layers[n - 1], below, backend))


@public
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
    whose receptive field lies inside the image. At the border the two differ: here each layer is padded as in the network,
    while a decoded filter sees an image padded with zeros.

    Examples
    --------
    >>> from decoding import Conv, Network, ReLU
    >>> net = Network([Conv([[[[1, -1]]]]), ReLU(gain=0.5, curvature=2)])
    >>> respond(net, [[[[5, 2]]]], 2)      # the difference is 3: half of it, and its square
    Order2(linear=array([[[[1.5]]]]), quadratic=array([[[[9.]]]]))
    """
    images, operators = as_network(net, "respond").as_images(images, "respond"), resolve(backend)
    top = net.index(layer)
    net.check_weights(top)
    check_finite(images, "respond: images")
    shape = net.shapes(images.shape[1:], top)[top]
    dtype = precision(operators, images.dtype if images.dtype.kind == "f" else net.dtype)

    def responses(start: int, stop: int) -> Array:
        pair = walks.last(pairs(net, images[start:stop].astype(dtype, copy=False), [top], operators))
        check_finite(pair.square, f"the second order's responses of layer {top} to images from {start}")
        return np.stack([pair.linear, pair.square], axis=1)

    assert shape is not None
    size = max(1, net.batch_size(images.shape[1:], top) // 2)
    found = gather(operators, responses, len(images), size, np.empty((0, 2, *shape), dtype))
    return Order2(found[:, 0], found[:, 1])


class Form:
    """The quadratic part of one unit's response, on the rectangle that the unit sees of layer `bottom`.

    With the symmetric matrix Q of the form, ``q(x) = xᵀ Q x``, a product ``2 Q v`` is found in two walks. First v is carried up,
    without pads, on the rectangle that the unit sees of each layer. Then, on the way down, each layer that bends (is not linear)
    adds the gradient of its quadratic part, weighted by how the unit weighs that layer.
    """

    def __init__(self, net: Network, top: int, k: int, bottom: int, backend: Any) -> None:
        self.net, self.top, self.bottom, self.backend = net, top, bottom, resolve(backend)
        self.dtype = precision(self.backend, net.dtype)
        impulse = np.zeros((1, net.channels(top), 1, 1), self.dtype)
        impulse[0, k] = 1
        # How the unit weighs each layer on the way, and on which rectangle; before that layer's own gain is applied.
        self.weights = dict(walks.down(net, Placed(impulse, (0, 0)), top, bottom, "sum", self.backend))
        self.order = sorted(number for number in self.weights if number != bottom)
        self.layers = {number: net.layers[number - 1].unpadded() for number in self.order}
        self.bent = [number for number in self.order if bends(self.layers[number])]
        self.shape = net.channels(bottom), *self.weights[bottom].maps.shape[2:]

    @property
    def linear(self) -> Array:
        """The linear part, (C, H, W)."""
        return np.asarray(self.weights[self.bottom].maps[0])

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
        return walks.last(walk).maps / 2

    def _up(self, vectors: Array) -> dict[int, Placed]:
        """Carry `vectors` up linearly; for each layer that bends, what it reads."""
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
        """The part of layer i that the rectangle of layer `number` reads; zeros if layer i sees nothing of the bottom layer."""
        layer, (maps, origin) = self.net.layers[number - 1], self.weights[number]
        place = [origin[a] * layer.stride[a] - layer.pad[2 * a] for a in (0, 1)]
        rows, columns = ((maps.shape[2 + a] - 1) * layer.stride[a] + layer.size[a] for a in (0, 1))
        if i not in live:
            return Placed(np.zeros((count, self.net.channels(i), rows, columns), self.dtype), (place[0], place[1]))
        first = [place[a] - self.weights[i].origin[a] for a in (0, 1)]
        return Placed(live[i][:, :, first[0] :, first[1] :][:, :, :rows, :columns], (place[0], place[1]))

    def block(self) -> int:
        """How many vectors to multiply at a time."""
        most = max(placed.maps[0].size for placed in self.weights.values())
        return int(max(1, min(16, BLOCK_BYTES // (self.dtype.itemsize * most * 4))))

    def products(self, vectors: Array) -> Array:
        """``Q v`` for any number of images, a few at a time."""
        some = self.block()
        parts = [self.product(vectors[i : i + some]) for i in range(0, len(vectors), some)]
        return np.concatenate(parts) if parts else np.zeros_like(vectors)


@public
def quadratize(net: Network, images: Any = None, *, backend: Any = None, progress: Any = None) -> Network:
    """Give every layer that is not linear the gain and the curvature that approximate it best.

    Without images they follow from the numbers in the batch normalizations, as for `linearize`; with images they are calibrated.

    Parameters
    ----------
    net : Network
    images : array_like of shape (N, C, H, W), or an iterable of such batches, optional
        As `Network.forward` takes them. Only the first are used, as many as fit in memory together (2²⁶ numbers between two
        layers, some 5,000 digits of a LeNet); the rest is not read. Some 1,500 small images or four photographs are enough.
    backend : object or module, optional
        The operators to use; `decoding.reference` unless given.
    progress : callable, optional
        Called as ``progress(done, total)``, in layers, when images are given.

    Returns
    -------
    Network
        The same network with gains and curvatures, and with the moments of all layers of which they are known. It runs as before.

    Raises
    ------
    UnsupportedLayerError
        If, without images, the moments of what a layer reads are not known, or a layer takes maxima; the message names the layer.
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
    Our choice; not in the paper. *Statistical quadratization* (Donley and Spanos, 1990). Without images, responses z are taken as
    Gaussian with deviation σ; u is z minus its mean, over σ. Then ``gain = E[f(z) u] / σ`` and ``curvature = κ · E[f(z) (u² − 1)] /
    σ²``. The factor κ = ⅓ allows for the tails of natural responses, which are heavier than those of a Gaussian. With images,
    layers are calibrated one after the other, from the image up: ``y ≈ gain · L(ℓ + q) + curvature · bend(ℓ) + constant`` is
    fitted by least squares for each channel. There y is the true output of the layer, and (ℓ, q) are the approximate responses
    of the layers below, so the fit takes into account what these have lost. Channels that never vary get 0.

    Examples
    --------
    >>> from decoding import BatchNorm, Network, ReLU
    >>> net = quadratize(Network([BatchNorm([1], [0], mean=[0], std=[1]), ReLU()]))
    >>> net.layer(2).gain, (net.layer(2).curvature * 3 * np.sqrt(2 * np.pi)).round(9)
    (array([0.5]), array([1.]))
    """
    check_known(as_network(net, "quadratize"))
    if images is None:
        return _by_moments(net)
    return _calibrated(net, _sample(net, images), resolve(backend), progress)


def _by_moments(net: Network) -> Network:
    known = moments(net)
    gains = free_gains(net, known, "quadratize", "sum")

    def bent(number: int, layer: Layer) -> Layer:
        if isinstance(layer, MaxPool) and math.prod(layer.size) > 1:
            with net._blame(number):
                raise UnsupportedLayerError(
                    "without images it is not known how much responses vary within its windows. Give images: quadratize(net, images)."
                )
        read = known[net.inputs[number - 1][0]]
        if not _takes_curvature(layer) or read is None:
            return _of_sums(layer)
        return layer.replace(curvature=TAILS * expected(layer, *read).curvature)

    linear = enumerate(with_gains(net, gains).layers, 1)
    return net.replace(
        layers=[bent(n, layer) if net.blocked(n) is None else layer for n, layer in linear],
        moments={number: pair for number, pair in known.items() if pair is not None},
    )


def _takes_curvature(layer: Layer) -> bool:
    """Whether it takes a curvature: a function of each response, or a maximum."""
    return (bends_responses(layer) or isinstance(layer, MaxPool)) and "curvature" in layer.fields()


def _of_sums(layer: Layer) -> Layer:
    """The layer, an average pool with the gain that suits unpooling by sums: one over the number of its cells."""
    return layer.replace(gain=1 / math.prod(layer.size), curvature=None) if isinstance(layer, AvgPool) else layer


def _sample(net: Network, images: Any) -> list[Array]:
    """The first images, in batches: as many as factors are calibrated on."""
    found, count, most, given = list[Array](), 0, LEAST, batches(images, net, "quadratize")[0]
    for part in given:
        batch = net.as_images(part, "quadratize")
        check_finite(batch, f"quadratize: images from {count}")
        alive = net.alive(batch.shape[1:], net.ends)
        most = max(LEAST, SAMPLE // alive)
        step = max(1, BATCH // alive)
        for start in range(0, min(len(batch), most - count), step):
            found.append(batch[start : min(start + step, most - count)])
        count += min(len(batch), most - count)
        if count >= most:
            break
    if count < LEAST:
        raise InvalidValueError(
            f"quadratize: {plural(count, 'image')} given: factors are calibrated on at least {LEAST}. Some 1,500 small ones, or four photographs, are enough."
        )
    low, high = (np.stack([end(batch, axis=(0, 2, 3)) for batch in found]) for end in (np.min, np.max))
    if (low.min(axis=0) == high.max(axis=0)).all():
        raise InvalidValueError(
            f"quadratize: in each channel all pixels of the {plural(count, 'image')} are equal, so nothing varies."
        )
    return found


class _Seen(NamedTuple):
    """A batch at a layer: the true responses, the pair (ℓ, q) that approximates them, and the sums that are taken over them.

    While the layer's factors are still to be fitted, `pair` is what the layer reads.
    """

    true: Array
    pair: _Pair
    sums: Scatter


def _calibrated(net: Network, sample: list[Array], backend: Any, progress: Any) -> Network:
    """Calibrate in one walk with all batches of the sample side by side: each layer before the layers above it.

    Batches run in threads as those of `measure` do, and sums over them are added in their order.
    """
    if any(map(scales, net.layers)):  # gates and normalizations have gains, and no curvatures
        net = linearize(net, iter(sample), backend=backend)
    layers = [_of_sums(x.replace(curvature=None) if "curvature" in x.fields() else x) for x in net.layers]
    known, order = dict[int, Any](), walks.under(net, net.ends, net.inputs)

    def each(compute: Callable[[Any], _Seen], batches: Iterable[Any]) -> list[_Seen]:
        found = list[_Seen]()
        in_order(backend, compute, batches, found.append)
        return found

    def up(number: int, *below: list[_Seen]) -> list[_Seen]:
        layer = layers[number - 1]
        found = each(lambda batch: _seen(layer, batch, backend), zip(*below, strict=True))
        sums = reduce(operator.add, (batch.sums for batch in found))
        known[number] = sums.moments
        if _takes_curvature(layer):
            gain, curvature = sums.solution
            layer = layers[number - 1] = layer.replace(gain=gain, curvature=curvature)
            found = each(lambda batch: batch._replace(pair=step(layer, [batch.pair], backend)), found)
        if progress is not None:
            progress(len(known) - 1, len(order))
        return found

    dtype = precision(backend, np.result_type(net.dtype, *(b.dtype for b in sample if b.dtype.kind == "f")))
    start = [_Seen(x, _Pair(x, None), Scatter.of([x])) for x in (batch.astype(dtype, copy=False) for batch in sample)]
    known[0] = reduce(operator.add, (batch.sums for batch in start)).moments
    for number in order:
        with net._blame(number):
            net.layers[number - 1].check()
    for _ in walks.forward(net, start, net.ends, backend, up):
        pass
    return net.replace(layers=layers, moments=known)


def _seen(layer: Layer, below: Sequence[_Seen], backend: Any) -> _Seen:
    """A batch at a layer, from what the layer reads; with the sums over its true responses, and over what they are fitted by."""
    true, pairs = np.asarray(layer.forward(*(batch.true for batch in below), backend=backend)), [x.pair for x in below]
    if not _takes_curvature(layer):
        return _Seen(true, step(layer, pairs, backend), Scatter.of([true]))
    line = np.asarray(layer.linear(pairs[0].linear + pairs[0].square, backend=backend))
    return _Seen(true, pairs[0], Scatter.of([line, bend(layer, pairs[0].linear, backend), true]))


@dataclass(frozen=True, eq=False)
class Scatter:
    """Count, means (3, K), and sums of products about the means (3, 3, K): of two features, and of the target they are fitted to.

    Or of the target alone, (1, K) and (1, 1, K).
    """

    count: int
    mean: Array
    products: Array

    @classmethod
    def of(cls, maps: Sequence[Array]) -> Scatter:
        """Sum up maps (N, K, H, W), in their own precision along a row, and in double precision over rows and images.

        Row by row of all images, so that what is summed several times stays in cache.
        """
        (n, k, h, w), m = maps[0].shape, len(maps)
        # Products are taken about a value near the mean, found from the upper rows of the images; else digits would cancel.
        near = [np.asarray(x[:, :, : 1 + h // 2].mean(axis=(0, 2, 3))) for x in maps]
        total, products, count = np.zeros((m, k)), np.zeros((m, m, k)), n * h * w
        for rows in zip(*(np.moveaxis(x, 2, 0) for x in maps), strict=True):
            about = [x - shift[:, np.newaxis] for x, shift in zip(rows, near, strict=True)]
            for i, x in enumerate(about):
                total[i] += _total(x)
                for j, y in enumerate(about[: i + 1]):
                    products[i, j] += _total(x, y)
        mean = total / count
        products -= count * mean[:, np.newaxis] * mean
        for i, j in combinations(range(m), 2):
            products[i, j] = products[j, i]
        return cls(count, mean + np.stack(near), products)

    def __add__(self, other: Scatter) -> Scatter:
        count, apart = self.count + other.count, other.mean - self.mean
        between = self.count * other.count / count * apart[:, np.newaxis] * apart
        mean = self.mean + apart * (other.count / count)
        return Scatter(count, mean, self.products + other.products + between)

    @property
    def moments(self) -> tuple[Array, Array]:
        """Mean and deviation of the target in each channel."""
        return self.mean[-1], np.sqrt(np.maximum(self.products[-1, -1], 0) / self.count)

    @property
    def solution(self) -> Array:
        """The least-squares factors of the two features in each channel, (2, K), with a small ridge; 0 for a constant feature."""
        scale = np.sqrt(self.products[[0, 1], [0, 1]])
        still = scale <= STILL * np.sqrt(self.count) * np.abs(self.mean[:2])
        scale = np.where(still | (scale == 0), 1, scale)
        scaled = self.products[:2, :2] / (scale[:, np.newaxis] * scale)
        aim = np.where(still, 0, self.products[:2, 2] / scale)
        scaled = np.where(still[:, np.newaxis] | still, 0, scaled) + np.eye(2)[:, :, np.newaxis] * (RIDGE + still)
        return np.asarray(np.linalg.solve(np.moveaxis(scaled, 2, 0), aim.T[:, :, np.newaxis])[:, :, 0].T / scale)


def _total(*rows: Array) -> Array:
    """The sum over images and places of the product of rows (N, K, W), (K,)."""
    sums = np.einsum(f"{','.join(['nkw'] * len(rows))}->nk", *rows)
    return np.asarray(sums.sum(axis=0, dtype=np.float64))
