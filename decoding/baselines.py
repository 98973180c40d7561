"""Baselines for a reconstruction error: other filters in place of the decoded ones.

The paper's table 1 compares its errors with nothing. Three of these baselines should do worse than substitution (random,
turned, zero insertion), and one better (least squares).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .arguments import Array, brief, check_finite, described
from .boundary import public
from .errors import InvalidValueError
from .layers import Conv, Layer, Pool
from .measuring import Images, Progress, measure, within
from .network import Network, as_network

if TYPE_CHECKING:
    from concurrent.futures import Executor


@public
def random_filters(net: Network, layer: int | str, *, seed: int = 0) -> npt.NDArray[np.float64]:
    """Draw filters of the size of a layer's decoded filters from N(0, 1).

    Parameters
    ----------
    net : Network
    layer : int or str
        Number (from 1) or name.
    seed : int

    Returns
    -------
    ndarray of shape (K, C0, H, W)

    Raises
    ------
    UnknownLayerError
        If there is no such layer.

    See Also
    --------
    reconstruction_error : Takes them as `filters`.

    Notes
    -----
    Our choice; not in the paper.

    Examples
    --------
    >>> from decoding import Conv, Network
    >>> random_filters(Network([Conv(np.ones((5, 1, 2, 3)))]), 1).shape
    (5, 1, 2, 3)
    """
    as_network(net, "random_filters")
    shape = (net.channels(layer), net.channels(0), *net.receptive_field(layer).size)
    if not isinstance(seed, (int, np.integer)) or isinstance(seed, bool) or seed < 0:
        raise InvalidValueError(f"random_filters: seed must be an integer, at least 0, not {described(seed)}.")
    return np.random.default_rng(seed).standard_normal(shape)


@public
def turned(net: Network, *, below: int | str | None = None) -> Network:
    """Turn the filters of the network by 180°.

    ``filters[k, c, h−1−u, w−1−v]``. Decoding the result is "convolution with the transposed filter", taken literally.

    Parameters
    ----------
    net : Network
    below : int or str, optional
        Turn only filters of layers below this one. The layer itself stays as it is, as the paper's algorithm begins with a
        filter as it is. Unless given, all filters are turned.

    Returns
    -------
    Network
        Only for decoding; its responses mean nothing.

    Raises
    ------
    UnknownLayerError
        If there is no layer `below`.

    See Also
    --------
    decoding.inverse.turned : The same for one layer.

    Notes
    -----
    Paper: section 2, the assumption of deconvolutional networks, in the reading that differs from substitution.

    Examples
    --------
    >>> from decoding import Conv, Network, decode_filter
    >>> decode_filter(turned(Network([Conv([[[[1, 2, 3]]]])])), 1, 0)
    array([[[3., 2., 1.]]])
    """
    as_network(net, "turned")
    top = len(net.layers) + 1 if below is None else net.index(below)

    def turn(layer: Layer, number: int) -> Layer:
        turns = isinstance(layer, Conv) and number < top
        return layer.replace(filters=layer.filters[:, :, ::-1, ::-1]) if turns else layer  # type: ignore[attr-defined]

    return _rebuilt(net, turn)


@public
def zero_insertion(net: Network) -> Network:
    """Replace every pool by one that decodes to a single pixel: the first of its window; the others are 0.

    Parameters
    ----------
    net : Network

    Returns
    -------
    Network
        Only for decoding, with nearest unpooling; its responses mean nothing.

    Raises
    ------
    ShapeError
        If nothing in the network determines how many channels a pool has.

    See Also
    --------
    decoding.reference.unpool : The interpolation that this takes the place of.

    Notes
    -----
    Our choice; not in the paper. The pool becomes a convolution whose filter is an impulse, times the pool's gain.

    Examples
    --------
    >>> from decoding import Conv, MaxPool, Network, decode_filter
    >>> net = Network([Conv([[[[1, 2]]]]), MaxPool((1, 2)), Conv([[[[3, 5]]]])])
    >>> decode_filter(zero_insertion(net), 3, 0)      # 3 · 0, 1, 2, 0 and two pixels later 5 · the same
    array([[[ 3.,  6.,  5., 10.,  0.]]])
    """
    as_network(net, "zero_insertion")

    def impulse(layer: Layer, number: int) -> Layer:
        if not isinstance(layer, Pool):
            return layer
        channels = net.channels(number)
        filters = np.zeros((channels, 1, *layer.size))
        filters[:, 0, 0, 0] = 1 if layer.gain is None else layer.gain
        return Conv(filters, stride=layer.stride, pad=layer.pad, groups=channels, name=layer.name)

    return _rebuilt(net, impulse)


class LeastSquares(NamedTuple):
    """The filters and constants that least squares finds for a layer.

    Attributes
    ----------
    filters : ndarray of shape (K, C0, H, W)
    bias : ndarray of shape (K,)
    """

    filters: npt.NDArray[np.float64]
    bias: npt.NDArray[np.float64]

    def __repr__(self) -> str:
        return brief(self, self._fields)


@public
def least_squares_filters(
    net: Network,
    images: Images,
    layer: int | str,
    *,
    backend: Any = None,
    batch_size: int | None = None,
    progress: Progress | None = None,
    executor: Executor | None = None,
    checkpoint: Any = None,
) -> LeastSquares:
    """Fit to each unit the linear filter and the constant that predict its responses best.

    ``argmin_{f,b} Σ_{n,i,j} (y[n,k,i,j] − <f, window[n,i,j]> − b)²`` over the windows that the units of `layer` see. If several
    filters fit equally well, the smallest is taken. The images' scale does not matter: for images that are c times as large, the
    filters are 1/c of these.

    Parameters
    ----------
    net : Network
    images : array_like of shape (N, C, H, W), or an iterable of such batches
        The images to fit on; measure errors on others. There should be many more windows than a filter has pixels.
    layer : int or str
        Number (from 1) or name.
    backend : object or module, optional
        The operators to use for the network's responses; `decoding.reference` unless given.
    batch_size : int, optional
        How many images to run at a time; unless given, at most what `Network.batch_size` finds.
    progress : callable, optional
        Called as ``progress(done, total)`` after each batch, in images; total is None for an iterable.
    executor : concurrent.futures.Executor, optional
        Its workers do the measuring, with the same result: see `measure`.
    checkpoint : path, optional
        A file that keeps what has been measured, and from which a stopped measurement goes on: see `measure`.

    Returns
    -------
    LeastSquares
        ``.filters`` (K, C0, H, W) and ``.bias`` (K,).

    Raises
    ------
    InvalidValueError
        If there are no images, or they are not finite.
    ShapeError
        If the images do not fit the network.
    UnknownLayerError
        If there is no such layer.

    See Also
    --------
    reconstruction_error : Takes them as `filters` and `bias`.

    Notes
    -----
    Our choice; not in the paper. No linear filter has a smaller squared error in the responses as they are. For equation 3, which
    normalizes responses first, it is close to the smallest. The constant stands for biases, and for the mean of what maxima
    and rectifiers add.

    Examples
    --------
    >>> from decoding import Conv, MaxPool, Network
    >>> net = Network([MaxPool((1, 2)), Conv([[[[3]]]], [5])])
    >>> found = least_squares_filters(net, [[[[0, 1, 0, 2]]], [[[4, 8, 1, 1]]]], 2)      # the second pixel is always the maximum
    >>> found.filters.round(9) + 0, found.bias.round(9)
    (array([[[[0., 3.]]]]), array([5.]))
    """
    meter = LeastSquaresMeter(as_network(net, "least_squares_filters"), layer)
    measure(
        net,
        images,
        [meter],
        backend=backend,
        batch_size=batch_size,
        progress=progress,
        executor=executor,
        checkpoint=checkpoint,
    )
    return meter.result()


class Equations(NamedTuple):
    """The sums of the normal equations, ``Σ w wᵀ`` and ``Σ w yᵀ``, over windows w (pixels, then a 1) and their responses y.

    The pixels are divided by 2 to the power `pixels`, the responses by 2 to the power `responses`, so that no square
    overflows, and none that matters underflows.
    """

    gram: Array
    moments: Array
    pixels: int
    responses: int

    @classmethod
    def of(cls, windows: Array, y: Array) -> Equations:
        pixels, responses = (int(np.frexp(np.abs(a).max(initial=0.0))[1]) for a in (windows, y))
        ones = np.ones((len(windows), 1))
        w = np.concatenate([np.ldexp(windows, -pixels), ones], axis=1)
        return cls(w.T @ w, w.T @ np.ldexp(y, -responses), pixels, responses)

    def at(self, pixels: int, responses: int) -> Equations:
        """The same sums, for pixels and responses divided by other powers."""
        shares = np.append(np.full(len(self.gram) - 1, np.ldexp(1.0, self.pixels - pixels)), 1.0)
        gram, moments = self.gram * shares * shares[:, np.newaxis], self.moments * shares[:, np.newaxis]
        return Equations(gram, np.ldexp(moments, self.responses - responses), pixels, responses)

    def plus(self, other: Equations) -> Equations:
        powers = max(self.pixels, other.pixels), max(self.responses, other.responses)
        a, b = self.at(*powers), other.at(*powers)
        return Equations(a.gram + b.gram, a.moments + b.moments, *powers)

    def solution(self) -> Array:
        """The filters and constants, (pixels and constant, units), with both divisions undone."""
        found = np.linalg.lstsq(self.gram, self.moments, rcond=None)[0]
        found[:-1] = np.ldexp(found[:-1], self.responses - self.pixels)
        found[-1] = np.ldexp(found[-1], self.responses)
        return found


class LeastSquaresMeter:
    """Sums up the normal equations of `least_squares_filters`, batch by batch, for use with `measure`."""

    state = ("equations",)

    def __init__(self, net: Network, layer: int | str) -> None:
        self.net, self.layer, self.field = net, net.index(layer), net.receptive_field(layer)
        self.equations: Equations | None = None

    def part(self, images: Array, responses: Array, start: int) -> Equations:
        pads, (rows, columns) = self.net.grid(self.layer, images.shape[1:])
        images, (top, bottom, left, right) = within(images, pads)
        padded = np.pad(images.astype(np.float64, copy=False), ((0, 0), (0, 0), (top, bottom), (left, right)))
        views = np.lib.stride_tricks.sliding_window_view(padded, self.field.size, axis=(2, 3))
        views = np.moveaxis(views[:, :, :: self.field.stride[0], :: self.field.stride[1]], 1, 3)
        count = len(images) * rows * columns
        y = np.moveaxis(responses, 1, 3).astype(np.float64, copy=False)
        return Equations.of(views.reshape(count, -1), y.reshape(count, -1))

    def add(self, part: Equations) -> None:
        self.equations = part if self.equations is None else self.equations.plus(part)

    def result(self) -> LeastSquares:
        """The filters fitted to all images so far."""
        if self.equations is None:
            raise InvalidValueError("LeastSquaresMeter: there are no images yet.")
        solution = self.equations.solution()
        check_finite(solution, "least_squares_filters: the filters and constants")
        return LeastSquares(solution[:-1].T.reshape(-1, self.net.channels(0), *self.field.size), solution[-1])


def _rebuilt(net: Network, change: Callable[[Layer, int], Layer]) -> Network:
    """The network with ``change(layer, number)`` in the place of each layer."""
    return net.replace(layers=[change(layer, number) for number, layer in enumerate(net.layers, 1)])
