"""Gains: the factor for each channel with which a linear network approximates the real one best.

Decoding replaces what it passes over, such as a rectifier f, by a factor, which is 1 in the paper. The factor with the least
mean square error is ``Cov(f(z), z) / Var(z)``, where z are the responses that f is applied to. If z is Gaussian with
deviation σ, that is ``E[f(z) u] / σ``, where u is z minus its mean, divided by σ. Mean and deviation of z can be read from the
batch normalization before f, without any image; or everything is measured on images.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from . import walks
from .arguments import Array, as_choice, check_finite, listed, plural, printable
from .backend import resolve
from .boundary import public
from .errors import InvalidValueError, UnsupportedLayerError
from .interpolation import matrix
from .layers import (
    AvgPool,
    BatchNorm,
    Concat,
    Dropout,
    Layer,
    LogSoftmax,
    Loss,
    MaxPool,
    Pad,
    Pool,
    Scale,
    Select,
    Softmax,
    Sum,
)
from .measuring import Images, Progress, measure
from .network import Network, as_network

if TYPE_CHECKING:
    from concurrent.futures import Executor

NODES = 64  # points of the Gauss-Hermite quadrature
LEAST = 2  # the fewest images that gains can be measured on
POOLING = ("nearest", "sum")  # the unpoolings that pools have gains for
ALIKE = 0.75  # the assumed correlation of neighbouring cells of a map, in pools; measured, .45 to .88 in a ResNet-20
STILL = 1e-6  # a channel whose deviation is smaller than this times its mean is taken to be constant


class Moments(NamedTuple):
    """Mean and standard deviation of a layer's responses, (K,) each, over images and places."""

    mean: npt.NDArray[np.float64]
    std: npt.NDArray[np.float64]


class Expected(NamedTuple):
    """What becomes of Gaussian responses z under a function f, channel by channel, (K,) each.

    Attributes
    ----------
    mean, std : ndarray
        The mean and the standard deviation of f(z).
    gain : ndarray
        ``E[f(z) u] / σ``, which is E[f′(z)]: the slope of the best line.
    curvature : ndarray
        ``E[f(z) (u² − 1)] / σ²``, which is E[f″(z)]: the second derivative of the best parabola.
    """

    mean: npt.NDArray[np.float64]
    std: npt.NDArray[np.float64]
    gain: npt.NDArray[np.float64]
    curvature: npt.NDArray[np.float64]


@public
def expected(layer: Layer, mean: npt.ArrayLike, std: npt.ArrayLike) -> Expected:
    """Find the mean, deviation, gain and curvature of an elementwise layer under Gaussian responses, channel by channel.

    Parameters
    ----------
    layer : Layer
        A layer with a method `function`, such as `ReLU`.
    mean, std : array_like of shape (K,)
        The mean and the standard deviation of the responses that the layer reads.

    Returns
    -------
    Expected
        ``.mean`` and ``.std`` of the layer's output, its ``.gain`` and its ``.curvature``. A channel whose deviation is 0 never
        varies, and has gain and curvature 0.

    Notes
    -----
    Bussgang (1952); "statistical linearization". Our choice: functions made of straight pieces, which a layer lists in
    `pieces`, have closed forms (the gain of a rectifier is Φ(μ/σ), its curvature φ(μ/σ)/σ, with the normal law's distribution
    function Φ and density φ). Others are integrated by Gauss-Hermite quadrature with 64 nodes, in a form that needs no
    derivative.

    Examples
    --------
    >>> from decoding import ReLU
    >>> expected(ReLU(leak=0.5), [0, 0], [1, 2]).gain
    array([0.75, 0.75])
    """
    mean, std = np.asarray(mean, np.float64), np.asarray(std, np.float64)
    still = std == 0
    found = _of_pieces if hasattr(layer, "pieces") else _by_quadrature
    value = np.asarray(layer.function(mean[np.newaxis, :, np.newaxis, np.newaxis]), np.float64)  # type: ignore[attr-defined]
    result = found(layer, mean, np.where(still, 1, std))
    moving = Expected(value.reshape(mean.shape), *(np.zeros_like(mean),) * 3)
    return Expected(*(np.where(still, a, b) for a, b in zip(moving, result, strict=True)))


def _of_pieces(layer: Any, mean: Array, std: Array) -> Expected:
    """`expected` for a continuous function made of straight pieces: sums, over the pieces, of moments of a truncated normal."""
    sums = [np.zeros_like(mean) for _ in range(4)]  # E f, E f², E f′, E f″
    below, edge, before = np.full_like(mean, -np.inf), None, 0.0
    for upper, slope, intercept in layer.pieces:
        above = (np.broadcast_to(upper, mean.shape) - mean) / std
        a, b = intercept + slope * mean, slope * std  # the piece is a + b·u
        first, second, third = (high - low for high, low in zip(_partial(above), _partial(below), strict=True))
        corner = 0.0 if edge is None else (slope - before) * _density(below) / std
        for total, part in zip(
            sums,
            (a * first + b * second, a * a * first + 2 * a * b * second + b * b * third, slope * first, corner),
            strict=True,
        ):
            total += part
        below, edge, before = above, upper, slope
    average, square, gain, curvature = sums
    return Expected(average, np.sqrt(np.maximum(square - average**2, 0)), gain, curvature)


def _partial(t: Array) -> tuple[Array, Array, Array]:
    """The integrals of φ(u), u·φ(u) and u²·φ(u) up to t."""
    from scipy.special import ndtr

    density = _density(t)
    return ndtr(t), -density, ndtr(t) - np.where(np.isfinite(t), t, 0) * density


def _density(t: Array) -> Array:
    return np.asarray(np.exp(-0.5 * t * t) / math.sqrt(2 * math.pi))


def _by_quadrature(layer: Any, mean: Array, std: Array) -> Expected:
    nodes, weights = _hermite()
    u = nodes[:, np.newaxis]
    values = np.asarray(layer.function((mean + std * u)[:, :, np.newaxis, np.newaxis]), np.float64)[:, :, 0, 0]
    center = weights @ values
    values = values - center  # changes neither integral, and loses fewer digits by cancellation
    return Expected(
        center,
        np.sqrt(weights @ values**2),
        (weights * nodes) @ values / std,
        (weights * (nodes**2 - 1)) @ values / std**2,
    )


@lru_cache(maxsize=1)
def _hermite() -> tuple[Array, Array]:
    """Nodes and weights of the standard normal law."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(NODES)
    return nodes, weights / weights.sum()


@public
def moments(net: Network) -> dict[int, Moments | None]:
    """Find mean and deviation of each layer's output without an image, as far as batch normalizations determine them.

    Returns
    -------
    dict
        For the number of each layer (0 is the image) its `Moments`; None where they are not known.

    Notes
    -----
    A batch normalization gives each channel the mean `bias` and the deviation ``|scale|·√(v/(v + ε))``, where v is the variance
    over the training images. From there on all responses are taken as Gaussian, and

    - elementwise layers have the moments that `expected` finds;
    - the layers that a sum adds are taken as independent: means add up, and so do variances; a layer that is read twice counts
      as one, doubled;
    - concatenated and selected channels keep their moments; new channels are 0;
    - pads are ignored;
    - the n cells of a pool's window are taken to correlate by ρ = 0.75, as neighbours do. The variance of an average is
      ``ρ + (1 − ρ)/n`` times theirs; a maximum has the mean ``μ + σ·√(1 − ρ)·e_n``, where e_n is the expected maximum of n
      normal numbers, and the variance of the cells.

    After convolutions, gates and layers that normalize each image by itself the moments are not known.

    Examples
    --------
    >>> from decoding import BatchNorm, ReLU
    >>> net = Network([BatchNorm([2], [0], mean=[5], std=[3]), ReLU()])
    >>> moments(net)[1]
    Moments(mean=array([0.]), std=array([2.]))
    """
    as_network(net, "moments")
    found: dict[int, Moments | None] = {0: None}
    for number, layer in enumerate(net.layers, 1):
        below = net.inputs[number - 1]
        found[number] = _carried(layer, below, [found[i] for i in below])
    return found


def _carried(layer: Layer, numbers: Sequence[int], below: Sequence[Moments | None]) -> Moments | None:
    """The moments of a layer's responses from those of the layers that it reads."""
    if isinstance(layer, BatchNorm):
        return _normalized(layer)
    known = [found for found in below if found is not None]
    if len(known) < len(below):
        return None
    first = known[0]
    if isinstance(layer, Sum):
        terms = [(numbers.count(i), term) for i, term in dict(zip(numbers, known, strict=True)).items()]
        variance = sum((times * term.std) ** 2 for times, term in terms)
        return Moments(np.asarray(sum(times * term.mean for times, term in terms)), np.sqrt(variance))
    if isinstance(layer, Concat):
        return Moments(*(np.concatenate(moment) for moment in zip(*known, strict=True)))
    if isinstance(layer, Select):
        return Moments(*(np.where(layer.chosen < 0, 0, moment[layer.chosen]) for moment in first))
    if isinstance(layer, AvgPool):
        return first._replace(std=first.std * math.sqrt(ALIKE + (1 - ALIKE) / math.prod(layer.size)))
    if isinstance(layer, MaxPool):
        return first._replace(mean=first.mean + first.std * math.sqrt(1 - ALIKE) * _largest(math.prod(layer.size)))
    if isinstance(layer, Scale):
        return Moments(first.mean * layer.scale + layer.bias, first.std * np.abs(layer.scale))
    if isinstance(layer, (Dropout, Loss, Pad)):
        return first
    if bends_responses(layer):
        return Moments(*expected(layer, *first)[:2])
    return None


@lru_cache
def _largest(n: int) -> float:
    """The expected maximum of n normal numbers, ``∫ u n Φ(u)ⁿ⁻¹ φ(u) du``."""
    from scipy.special import ndtr

    u = np.linspace(-9, 9, 3601)  # the trapezoid rule: the integrand vanishes at both ends
    return float(np.sum(u * n * ndtr(u) ** (n - 1) * _density(u)) * (u[1] - u[0]))


def _normalized(layer: BatchNorm) -> Moments | None:
    if layer.std is None:
        return None
    bias, scale, std = (array.astype(np.float64) for array in (layer.bias, layer.scale, layer.std))
    return Moments(bias, np.abs(scale) * np.sqrt(np.maximum(std**2 - layer.epsilon, 0)) / std)


@public
def linearize(
    net: Network,
    images: Images | None = None,
    *,
    unpool: str = "nearest",
    backend: Any = None,
    progress: Progress | None = None,
    executor: Executor | None = None,
    checkpoint: Any = None,
) -> Network:
    """Give every layer that decoding passes over a gain: the factor for each channel that approximates it best.

    Without images gains follow from the numbers in the batch normalizations (`moments`, `expected`); with images they are measured.

    Parameters
    ----------
    net : Network
    images : array_like of shape (N, C, H, W), or an iterable of such batches, optional
        As `Network.forward` takes them; at least 2. They are read once, and one batch at a time is in memory.
    unpool : {"nearest", "sum"}
        The unpooling that pools get gains for: decode with the same one. Gains for ``"nearest"`` suit ``"bilinear"`` and
        ``"bicubic"`` too. If a pool whose windows overlap joins another branch, take ``"sum"``.
    backend : object or module, optional
        The operators to use; `decoding.reference` unless given.
    progress : callable, optional
        Called as ``progress(done, total)`` after each batch, in images; total is None for an iterable.
    executor : concurrent.futures.Executor, optional
        Its workers do the measuring, with the same result: see `measure`.
    checkpoint : path, optional
        A file that keeps what has been measured, and from which a stopped measurement goes on: see `measure`.

    Returns
    -------
    Network
        The same network with gains. It runs as before, and decodes with the gains. Gains and curvatures that these layers had
        before are dropped; other layers, such as `Softmax` or linear layers of your own, stay as they are.

    Raises
    ------
    UnsupportedLayerError
        If, without images, the moments that a layer reads are not known; the message names the first such layer. If a layer of
        your own has neither `function`, `factor`, `linear` nor `decode`, and no gain, so that nothing says what it computes.
    InvalidValueError
        If there are fewer than 2 images, all pixels of each channel are equal, or they are not finite.
    ShapeError
        If the images do not fit the network.

    See Also
    --------
    GainMeter : One layer, for use with `measure`.

    Notes
    -----
    Our choice; in the paper every factor is 1. For layers that apply a function to each response, and for pools, the gain is the
    slope of the best line, ``Cov(y, x)/Var(x)``. There y is the layer's output; x is the response that the function is applied
    to, or for a pool the sum over the cells that unpooling fills from one response. Gates and normalizations get the mean of
    what they multiply by. A channel that never varies gets 0. Softmax gets no gain: it decodes as the identity.

    Without images, the gain of a pool is one over the number of those cells. With ``unpool="sum"`` these are all cells of a
    window, and the gain of an average pool is exact, except for windows that reach past the edge. With ``"nearest"`` they are
    the cells that a response in the middle of a map fills, at most one stride in each direction; this is exact for average pools
    whose windows do not overlap. If windows overlap, a unit alone fills its whole window, while units side by side share it, and
    no gain suits both. Gates and layers that normalize each image by itself get no gain without images.

    Examples
    --------
    >>> from decoding import BatchNorm, ReLU
    >>> net = Network([BatchNorm([1, 1], [0, 9], mean=[0, 0], std=[1, 1]), ReLU()])
    >>> linearize(net).layer(2).gain
    array([0.5, 1. ])
    """
    as_network(net, "linearize")
    as_choice(unpool, POOLING, "linearize: unpool")
    check_known(net)
    options = {"backend": backend, "progress": progress, "executor": executor, "checkpoint": checkpoint}
    if images is None:
        gains = free_gains(net, moments(net), "linearize", unpool)
    else:
        gains = _measured(net, images, unpool, **options)
    return with_gains(net, gains)


def free_gains(net: Network, known: dict[int, Moments | None], function: str, unpool: str) -> dict[int, Any]:
    """The gain of each layer that takes one, from the moments of all layers, without images."""
    return {number: _without_images(net, number, known, function, unpool) for number in _bent(net)}


def with_gains(net: Network, gains: dict[int, Any]) -> Network:
    """The network with these gains in place of the layers' own, and without their curvatures; other layers stay as they are."""
    changed = {n: _straight(net.layers[n - 1]).replace(gain=gain) for n, gain in gains.items()}
    return net.replace(layers=[changed.get(n, layer) for n, layer in enumerate(net.layers, 1)])


def _straight(layer: Layer) -> Layer:
    """The layer without curvature."""
    return layer.replace(curvature=None) if layer.fields().get("curvature") is not None else layer


def check_known(net: Network) -> None:
    """Refuse layers without a gain that decoding passes over although nothing says what they do to responses."""
    for number, layer in enumerate(net.layers, 1):
        silent = layer.is_overlooked and not (
            bends_responses(layer) or scales(layer) or isinstance(layer, (Softmax, LogSoftmax))
        )
        if silent and layer.gain is None and net.blocked(number) is None:
            with net._blame(number):
                raise UnsupportedLayerError(
                    "nothing says what it does to its responses, so its gain is not known. An activation inherits from decoding.Elementwise and "
                    "writes function(z); a layer that multiplies by what it computes writes factor(x); a linear layer writes linear "
                    "and decode. Or give it a gain, which stays: layer.replace(gain=…)."
                )


def bends_responses(layer: Layer) -> bool:
    """Whether it applies a function to each response."""
    return callable(getattr(layer, "function", None))


def scales(layer: Layer) -> bool:
    """Whether it multiplies each response by a factor that depends on the image."""
    return callable(getattr(layer, "factor", None))


def _bent(net: Network) -> list[int]:
    """The numbers of the layers that take a gain and can be run."""
    return [
        number
        for number, layer in enumerate(net.layers, 1)
        if "gain" in layer.fields()
        and (bends_responses(layer) or scales(layer) or isinstance(layer, Pool))
        and net.blocked(number) is None
    ]


def _without_images(net: Network, number: int, known: dict[int, Moments | None], function: str, unpool: str) -> Any:
    layer, below = net.layers[number - 1], net.inputs[number - 1]
    if isinstance(layer, Pool):
        return 1 / math.prod(layer.size if unpool == "sum" else map(min, layer.size, layer.stride))
    with net._blame(number):
        if scales(layer):
            raise UnsupportedLayerError(
                "what it multiplies by depends on the image, so without images its gain is not known. "
                f"{_remedy(net, number, function)}"
            )
        read = known[below[0]]
        if read is None:
            raise UnsupportedLayerError(
                f"without images the moments of what it reads are not known: {_reason(net, below[0], known)}. "
                f"{_remedy(net, number, function)}"
            )
        return expected(layer, *read).gain


def _remedy(net: Network, number: int, function: str) -> str:
    """What to do if the gain of a layer is not known: give images, unless a batch normalization below it cannot run."""
    old = [
        n
        for n in walks.under(net, [number], net.inputs)
        if isinstance(layer := net.layers[n - 1], BatchNorm) and layer.std is None
    ]
    if not old:
        return f"Give images: {function}(net, images)."
    which = listed([f"{n} '{printable(net.names[n - 1])}'" for n in old[:3]])
    return (
        f"Nor can images tell: batch normalizations below it have no moments, and cannot run ({which}"
        f"{', …' if len(old) > 3 else ''}). If you know their moments, put layer.replace(mean=…, std=…) in their places, with "
        "net.replace(layers=…)."
    )


def _reason(net: Network, number: int, known: dict[int, Moments | None]) -> str:
    """Why the moments of a layer are not known: names the layer below at which they are lost."""
    while number and not isinstance(net.layers[number - 1], BatchNorm):
        below = [i for i in net.inputs[number - 1] if known[i] is None]
        if not below or not _passes(net.layers[number - 1]):
            break
        number = below[0]
    if not number:
        return "no batch normalization lies between it and the image"
    layer = net.layers[number - 1]
    where = f"layer {number} '{net.names[number - 1]}' ({layer.kind})"
    if isinstance(layer, BatchNorm):
        return f"{where} has no moments, as in old files"
    return f"{where} has no batch normalization after it"


def _passes(layer: Layer) -> bool:
    return bends_responses(layer) or isinstance(layer, (Sum, Concat, Select, Pool, Scale, Pad, Dropout, Loss))


@dataclass(frozen=True, eq=False)
class Sums:
    """Sums over all places of some images, for each channel; ``a + b`` is the sums over the images of both.

    Attributes
    ----------
    count : int
        How many places were summed in each channel.
    x, y, xx, xy : ndarray of shape (K,)
        The sums of x, y, x² and x·y.
    """

    count: int
    x: npt.NDArray[np.float64]
    y: npt.NDArray[np.float64]
    xx: npt.NDArray[np.float64]
    xy: npt.NDArray[np.float64]

    def __add__(self, other: Sums) -> Sums:
        if not isinstance(other, Sums):
            return NotImplemented
        return Sums(*(getattr(self, name) + getattr(other, name) for name in ("count", "x", "y", "xx", "xy")))

    @property
    @np.errstate(all="ignore")
    def moments(self) -> Moments:
        """Mean and deviation of x."""
        return Moments(self.x / self.count, np.sqrt(np.maximum(self._spread, 0)) / self.count)

    @property
    @np.errstate(all="ignore")
    def slope(self) -> npt.NDArray[np.float64]:
        """The slope of the least-squares line of y over x; 0 where x never varies."""
        spread = self._spread
        return np.divide(self.count * self.xy - self.x * self.y, spread, out=np.zeros_like(spread), where=spread > 0)

    @property
    @np.errstate(all="ignore")
    def _spread(self) -> npt.NDArray[np.float64]:
        """count² times the variance of x; exactly 0 where rounding leaves nothing of it."""
        square = self.count * self.xx
        spread = square - self.x**2
        return np.where(spread > STILL**2 * square, spread, 0)


def _sums(x: Array, y: Array) -> Sums:
    """`Sums` of two maps (N, K, H, W), added in their own precision along a row, and in double precision over rows and images."""
    with np.errstate(over="ignore", invalid="ignore"):
        sums = _summed(x, y)
        if x.dtype == np.float32 and not (sums.x**2 <= 16 * sums._spread).all():  # squares cancel too much, or overflow
            sums = _summed(x.astype(np.float64), y.astype(np.float64))
    return sums


def _summed(x: Array, y: Array) -> Sums:
    def over(*maps: Array) -> Array:
        rows = np.einsum(f"{','.join(['nkhw'] * len(maps))}->nkh", *maps)
        return np.asarray(rows.sum(axis=(0, 2), dtype=np.float64))

    return Sums(x.size // x.shape[1], over(x), over(y), over(x, x), over(x, y))


class GainMeter:
    """The gain of one layer, measured batch by batch, for use with `measure`.

    Parameters
    ----------
    net : Network
    layer : int or str
        Number (from 1) or name of a layer that takes a gain.
    unpool : {"nearest", "sum"}
        The unpooling that the gain of a pool is for; see `linearize`.
    backend : object or module, optional
        The operators that sum windows; `decoding.reference` unless given.

    Attributes
    ----------
    sums : Sums or None
        What `result` is computed from. Those of another meter of the same layer, on other images, can be added with `add`.

    Raises
    ------
    UnsupportedLayerError
        If the layer takes no gain.

    See Also
    --------
    linearize : All layers of a network.

    Examples
    --------
    >>> from decoding import Conv, Network, ReLU
    >>> net = Network([Conv([[[[1]]]]), ReLU()])
    >>> meter = GainMeter(net, 2)
    >>> measure(net, [[[[-1, 1]]], [[[-3, 3]]]], [meter])
    2
    >>> meter.result()
    array([0.5])
    """

    state = ("sums",)

    @public
    def __init__(self, net: Network, layer: int | str, *, unpool: str = "nearest", backend: Any = None) -> None:
        as_network(net, "GainMeter")
        self.backend = resolve(backend)
        self.number, self.unpool = net.index(layer), as_choice(unpool, POOLING, "unpool")
        if self.number not in _bent(net):
            raise UnsupportedLayerError(
                f"GainMeter: layer {self.number} takes no gain: only activations, pools, gates and normalizations do."
            )
        self.what, self.units = net.layers[self.number - 1], net.channels(self.number)
        self.layer = net.inputs[self.number - 1][-1]
        self.layers = (self.layer, self.number)
        self.checks = self.layers if bends_responses(self.what) and not scales(self.what) else ()
        self.sums: Sums | None = None

    def part(self, images: Array, responses: tuple[Array, Array], start: int) -> Sums:
        layer: Any = self.what
        x, y = responses
        if scales(layer):
            factor = np.asarray(layer.factor(x))
            return _sums(factor, factor)
        if isinstance(layer, Pool):
            linear = self.unpool == "sum"
            x = np.asarray(layer.linear(x, backend=self.backend)) if linear else _shared(layer, x, y.shape[2:])
        sums = _sums(x, y)
        if self.checks and not np.isfinite([sums.x, sums.y]).all():  # so no other pass over them is needed
            for number, array in zip(self.layers, responses, strict=True):
                check_finite(array, f"GainMeter: responses of layer {number} to images from {start}")
        return sums

    def add(self, part: Sums) -> None:
        self.sums = part if self.sums is None else self.sums + part

    def result(self) -> npt.NDArray[np.float64]:
        """The gain, (K,), for all images so far."""
        if self.sums is None:
            raise InvalidValueError("GainMeter: there are no images yet.")
        gain = self.sums.y / self.sums.count if scales(self.what) else self.sums.slope
        return np.array(np.broadcast_to(gain, (self.units,)))


def _shared(pool: Pool, x: Array, size: Sequence[int]) -> Array:
    """For each response, the sum over the cells that nearest unpooling fills from it: the transpose of that unpooling."""
    if pool.size[0] <= pool.stride[0] and pool.size[1] <= pool.stride[1] and not any(pool.pad):
        (h, w), (down, right) = size, pool.stride
        cells = [
            x[:, :, i : i + (h - 1) * down + 1 : down, j : j + (w - 1) * right + 1 : right]
            for i in range(pool.size[0])
            for j in range(pool.size[1])
        ]
        return np.asarray(sum(cells[1:], start=cells[0]))
    for axis, (n, window, stride, before) in enumerate(
        zip(size, pool.size, pool.stride, pool.pad[::2], strict=True), 2
    ):
        x = np.moveaxis(x, axis, -1)
        weights = matrix(n, window, stride, "nearest")[before : before + x.shape[-1]].astype(x.dtype)
        x = np.moveaxis(x[..., : len(weights)] @ weights, -1, axis)
    return x


class _Varies:
    """Whether some channel of the images holds more than one value."""

    layer, state = 0, ("low", "high")

    def __init__(self) -> None:
        self.low: Any = np.inf
        self.high: Any = -np.inf

    def part(self, images: Array, responses: Array, start: int) -> tuple[Array, Array]:
        return images.min(axis=(0, 2, 3)), images.max(axis=(0, 2, 3))

    def add(self, part: tuple[Array, Array]) -> None:
        self.low, self.high = np.minimum(self.low, part[0]), np.maximum(self.high, part[1])


def _measured(net: Network, images: Images, unpool: str, *, backend: Any, **options: Any) -> dict[int, Any]:
    meters = {number: GainMeter(net, number, unpool=unpool, backend=backend) for number in _bent(net)}
    varies = _Varies()
    count = measure(net, images, [varies, *meters.values()], backend=backend, **options)
    if count < LEAST:
        raise InvalidValueError(
            f"linearize: {plural(count, 'image')} given: gains are measured on at least {LEAST}. Some hundred small ones, or four photographs, are enough."
        )
    if (varies.low == varies.high).all():
        values = listed([f"{value:g}" for value in varies.low])
        raise InvalidValueError(
            f"linearize: all pixels of the {plural(count, 'image')} are {values}{', by channel' if len(varies.low) > 1 else ''}, "
            "so nothing varies, and no gain can be measured."
        )
    return {number: meter.result() for number, meter in meters.items()}
