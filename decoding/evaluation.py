"""Decoded filters compared with their network: equation 3, top images, the matrix of figure 1.

Each measurement is a meter (see `decoding.measuring`), so that `measure` can run several in one pass over the images, and a
function that runs one meter.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from . import notebook
from .arguments import (
    Array,
    as_array,
    as_array4,
    as_choice,
    as_count,
    brief,
    check_finite,
    described,
    is_constant,
    plural,
    scaled_down,
)
from .backend import resolve
from .boundary import public
from .composition import Contribution, contributions
from .decoder import decode_layer, unit
from .errors import InvalidValueError, ShapeError
from .measuring import Images, Meter, Progress, batches, measure, within
from .network import Network, as_network
from .secondorder import check_curvatures, respond

if TYPE_CHECKING:
    from concurrent.futures import Executor

__all__ = [
    "Contribution",
    "Images",
    "Meter",
    "Progress",
    "ReconstructionError",
    "ReconstructionMeter",
    "ResponseMatrix",
    "TopImages",
    "TopImagesMeter",
    "contributions",
    "decoded_responses",
    "measure",
    "reconstruction_error",
    "response_matrix",
    "top_images",
]

WINDOW_BYTES = 256 * 2**20  # memory for the windows that are correlated with decoded filters at a time


@dataclass(frozen=True, eq=False, repr=False)
class ReconstructionError:
    """Equation 3 for a set of images. ``a + b``, or ``sum``, is that of all sets together, in their order.

    Attributes
    ----------
    per_image : ndarray of shape (N,)
        The mean square error of each image, over filters and positions.
    correlations : ndarray of shape (N,)
        Pearson's correlation between the network's and the decoded responses to each image, over filters and
        positions. With ``contrast=None`` it is NaN for an image to which all responses are equal.
    """

    per_image: npt.NDArray[np.float64]
    correlations: npt.NDArray[np.float64]

    @property
    @np.errstate(all="ignore")
    def mean(self) -> float:
        """The mean over images: the number in table 1."""
        return float(self.per_image.mean())

    @property
    @np.errstate(all="ignore")
    def std(self) -> float:
        """The standard deviation over images: what follows ± in table 1."""
        return float(self.per_image.std())

    @property
    @np.errstate(all="ignore")
    def correlation(self) -> float:
        """The mean of `correlations` over images."""
        return float(self.correlations.mean())

    def __add__(self, other: ReconstructionError) -> ReconstructionError:
        if not isinstance(other, ReconstructionError):
            return NotImplemented
        return ReconstructionError(
            np.concatenate([self.per_image, other.per_image]), np.concatenate([self.correlations, other.correlations])
        )

    def __radd__(self, other: object) -> ReconstructionError:
        return self if isinstance(other, int) and other == 0 else NotImplemented  # ``sum`` begins with 0

    def __repr__(self) -> str:
        return f"<ReconstructionError {self}>"

    def __str__(self) -> str:
        return f"{self.mean:.4f} ± {self.std:.4f} over {plural(len(self.per_image), 'image')}, correlation {self.correlation:.3f}"

    def _repr_html_(self) -> str:
        """A table, for a notebook."""
        cells = [f"{self.mean:.4f}", f"{self.std:.4f}", f"{self.correlation:.3f}", str(len(self.per_image))]
        head = ["mean error (equation 3)", "standard deviation over images", "mean correlation", "images"]
        return notebook.table(head, [cells])


class ReconstructionMeter:
    """Measures equation 3, batch by batch, for use with `measure`; it takes the parameters of `reconstruction_error`.

    Examples
    --------
    Two interpolations in one pass:

    >>> from decoding import Conv, MaxPool, Network
    >>> net = Network([MaxPool((1, 2)), Conv([[[[1, 2]]], [[[2, -1]]]])])
    >>> meters = [ReconstructionMeter(net, 2, unpool=mode) for mode in ("nearest", "bilinear")]
    >>> measure(net, [[[[0, 1, 0, 3]]]], meters)
    1
    >>> [meter.result().mean for meter in meters]
    [0.0, 0.0]
    """

    state = ("parts",)

    @public
    def __init__(
        self,
        net: Network,
        layer: int | str,
        *,
        order: int = 1,
        unpool: str = "nearest",
        filters: npt.ArrayLike | None = None,
        bias: npt.ArrayLike | None = None,
        contrast: str | None = "image",
        backend: Any = None,
        **former: Any,
    ) -> None:
        as_network(net, "ReconstructionMeter")
        contrast = _contrast(contrast, former)
        self.net, self.layer, self.backend, self.contrast = net, net.index(layer), backend, contrast
        self.decoded = _Decoded("reconstruction_error", net, self.layer, order, unpool, backend, filters, bias)
        self.parts: list[ReconstructionError] = []

    def part(self, images: Array, responses: Array, start: int) -> ReconstructionError:
        decoded = self.decoded(images)
        # Between 0 and 1 float32 is precise enough; other responses could overflow when they are squared.
        precision = np.float32 if self.contrast and responses.dtype == decoded.dtype == np.float32 else np.float64
        want, got = (_by_image(given.astype(precision, copy=False)) for given in (responses, decoded))
        if self.contrast:
            want = _full_range(want, f"the network's responses of layer {self.layer}", start)
            got = _full_range(got, f"the decoded filters' responses of layer {self.layer}", start)
        difference = want - got
        squares = _products(difference, difference)
        if not self.contrast:  # their correlation does not depend on scale, and squares would overflow
            want, got = scaled_down(want, 0), scaled_down(got, 0)
        return ReconstructionError(squares / len(difference), _correlations(want, got))

    def add(self, part: ReconstructionError) -> None:
        self.parts.append(part)

    def result(self) -> ReconstructionError:
        """The error of all images so far."""
        if not self.parts:
            raise InvalidValueError("ReconstructionMeter: there are no images yet.")
        return ReconstructionError(
            np.concatenate([part.per_image for part in self.parts]),
            np.concatenate([part.correlations for part in self.parts]),
        )


@public
def reconstruction_error(
    net: Network,
    images: Images,
    layer: int | str,
    *,
    order: int = 1,
    unpool: str = "nearest",
    backend: Any = None,
    contrast: str | None = "image",
    filters: npt.ArrayLike | None = None,
    bias: npt.ArrayLike | None = None,
    batch_size: int | None = None,
    progress: Progress | None = None,
    executor: Executor | None = None,
    checkpoint: Any = None,
    **former: Any,
) -> ReconstructionError:
    """Measure how far the responses of decoded filters are from those of the network.

    ``Error = mean_{k,i,j} (CNN(I, l, k)[i,j] − (I ⋆ df_k^l)[i,j])²`` for each image I. Both responses are first brought to the
    range from 0 to 1.

    Parameters
    ----------
    net : Network
    images : array_like of shape (N, C, H, W), or an iterable of such batches
        As `Network.forward` takes them. Batches of an iterable are read one at a time; `measure` says how many are in memory.
    layer : int or str
        Number (from 1) or name.
    order : {1, 2}
        2 adds the quadratic part, for a network with curvatures (see `quadratize`); pools are then undone as with ``unpool="sum"``.
    unpool : {"nearest", "bilinear", "bicubic", "sum"}
        The interpolation that undoes pooling.
    backend : object or module, optional
        The operators to use; `decoding.reference` unless given.
    contrast : {"image", None}
        ``"image"``: for each image, ``(r − min r) / (max r − min r)`` over all filters and positions of the layer, for
        the network's responses and for the decoded ones separately. None: the responses as they are. This option used to be
        called ``normalize``, which still works; `Network.normalize` is something else.
    filters : array_like of shape (K, C, h, w), optional
        Filters to measure in place of the decoded ones, of the size of the receptive field. See `decoding.baselines`.
    bias : array_like of shape (K,), optional
        Added to the responses of each filter; zeros unless given.
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
    ReconstructionError
        ``.mean`` and ``.std`` over images, ``.per_image``, ``.correlation``. Results on several sets of images can be added, ``a + b``.

    Raises
    ------
    InvalidValueError
        If there are no images; if images, weights or responses are not finite; or if all responses to an image are equal, as
        they always are for one unit at one position, so that they have no range. Then leave that image out, or give
        ``contrast=None``.
    ShapeError
        If images, filters or bias do not fit the network.
    UnknownLayerError
        If there is no such layer.

    See Also
    --------
    measure : Measures several layers and interpolations in one pass.
    decoded_responses : The second term of the difference.

    Notes
    -----
    Paper: equation 3 and table 1. Our choice: "a single contrast range normalization for each image" is taken to mean one range
    for all filters and positions of the layer. The mean is over filters and positions, then mean ± standard deviation over
    images. Decoded responses are taken at the places where the units look.

    Examples
    --------
    >>> from decoding import Conv, MaxPool, Network
    >>> net = Network([MaxPool((1, 2)), Conv([[[[1]]], [[[-1]]]])])
    >>> error = reconstruction_error(net, [[[[0, 1, 0, 2]]]], 2, contrast=None)      # the maxima 1 and 2 equal the sums
    >>> error.mean
    0.0
    """
    meter = ReconstructionMeter(
        net,
        layer,
        order=order,
        unpool=unpool,
        filters=filters,
        bias=bias,
        contrast=_contrast(contrast, former),
        backend=backend,
    )
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


@public
def decoded_responses(
    net: Network,
    images: npt.ArrayLike,
    layer: int | str,
    *,
    order: int = 1,
    unpool: str = "nearest",
    filters: npt.ArrayLike | None = None,
    bias: npt.ArrayLike | None = None,
    backend: Any = None,
) -> Array:
    """Correlate the images with the decoded filters of a layer, each at the places where its unit looks.

    ``y[n,k,i,j] = bias[k] + Σ_{c,u,v} df[k,c,u,v] · image[n,c, oi + i·si + u, oj + j·sj + v]``, where (oi, oj) is the offset and
    (si, sj) the stride of the unit's receptive field; past the edge, the image is 0.

    Parameters
    ----------
    net : Network
    images : array_like of shape (N, C, H, W)
    layer : int or str
        Number (from 1) or name.
    order : {1, 2}
        2 adds the quadratic part, for a network with curvatures (see `quadratize`); pools are then undone as with ``unpool="sum"``.
    unpool : {"nearest", "bilinear", "bicubic", "sum"}
        The interpolation that undoes pooling.
    filters : array_like of shape (K, C, h, w), optional
        Filters to use in place of the decoded ones, of the size of the receptive field. Not with ``order=2``.
    bias : array_like of shape (K,), optional
        Added to the responses of each filter; zeros unless given. The biases of the network are not used.
    backend : object or module, optional
        The operators to use; `decoding.reference` unless given.

    Returns
    -------
    ndarray of shape (N, K, H', W')
        H'×W' is the size of the layer's output.

    Raises
    ------
    ShapeError
        If images, filters or bias do not fit the network.
    InvalidValueError
        If images, filters, bias or weights are not finite.
    UnknownLayerError
        If there is no such layer.

    See Also
    --------
    Network.forward : The responses that these approximate.

    Notes
    -----
    Paper: section 4, ``I ⋆ df_k^l`` in equation 3. Our choice: a valid correlation, sampled at the unit's stride. Where layers
    pad, units at the edge look past the image, which is padded with zeros. The two are not the same where a layer above the
    first pads: there the network has zeros in place of responses, which no padding of the image can imitate.

    Examples
    --------
    >>> from decoding import Conv, MaxPool, Network
    >>> net = Network([Conv([[[[1, 10]]]]), MaxPool((1, 2))])
    >>> decoded_responses(net, [[[[1, 2, 3, 4, 5]]]], 2)      # 21 + 32, 43 + 54
    array([[[[53., 97.]]]])
    """
    top = as_network(net, "decoded_responses").index(layer)
    return _Decoded("decoded_responses", net, top, order, unpool, backend, filters, bias)(images)


class _Decoded:
    """Approximates the responses of a layer: by its decoded filters, by others in their place, or to the second order."""

    def __init__(
        self,
        function: str,
        net: Network,
        top: int,
        order: int,
        unpool: str,
        backend: Any,
        filters: npt.ArrayLike | None = None,
        bias: npt.ArrayLike | None = None,
    ) -> None:
        if not isinstance(order, (int, np.integer)) or order not in (1, 2) or isinstance(order, bool):
            raise InvalidValueError(f"{function}: order must be 1 or 2, not {described(order)}.")
        if order == 2 and filters is not None:
            raise InvalidValueError(f"{function}: give order=2 or filters=, not both: filters are of order 1.")
        if order == 2 and unpool not in ("nearest", "sum"):
            raise InvalidValueError(
                f"{function}: with order=2, unpool must be 'sum' or left out, not {described(unpool)}."
            )
        self.function, self.net, self.top, self.order = function, net, top, order
        self.backend = resolve(backend, "correlate")
        self.bias = _bias(function, bias, net.channels(top))
        if order == 2:
            check_curvatures(net, function)
        else:
            self.filters = _decoded_or_given(function, net, top, unpool, backend, filters)

    def __call__(self, images: npt.ArrayLike) -> Array:
        images = self.net.as_images(images, self.function)
        check_finite(images, f"{self.function}: images")
        if self.order == 2:
            linear, quadratic = respond(self.net, images, self.top, backend=self.backend)
            found: Array = linear + quadratic
            return found if self.bias is None else found + self.bias.astype(found.dtype)[:, np.newaxis, np.newaxis]
        pads, (rows, columns) = self.net.grid(self.top, images.shape[1:])
        images, pads = within(images, pads)
        stride = self.net.receptive_field(self.top).stride
        step = max(1, WINDOW_BYTES // (8 * rows * columns * math.prod(self.filters.shape[1:])))
        parts = [
            np.asarray(self.backend.correlate(images[i : i + step], self.filters, self.bias, stride=stride, pad=pads))
            for i in range(0, max(1, len(images)), step)
        ]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)


class TopImages(NamedTuple):
    """The images to which units respond most, best first."""

    indices: npt.NDArray[np.int64]
    responses: npt.NDArray[Any]

    def __repr__(self) -> str:
        return brief(self, self._fields)

    def _repr_html_(self) -> str:
        """A table, for a notebook: of one unit, a row for each image; of several units, a row for each unit."""
        if self.indices.ndim == 1:
            n = min(len(self.indices), notebook.MOST)
            ranked = zip(range(1, n + 1), self.indices, self.responses, strict=False)
            rows = [[str(rank), str(image), f"{response:.4g}"] for rank, image, response in ranked]
            after = notebook.left_out(n, len(self.indices), "images")
            return notebook.table(["rank", "image", "response"], rows, after=after)
        units, n = (min(count, notebook.MOST) for count in self.indices.shape)
        rows = [
            [str(k), *(f"{self.indices[k, i]} ({self.responses[k, i]:.4g})" for i in range(n))] for k in range(units)
        ]
        after = notebook.left_out(units, len(self.indices), "units") + notebook.left_out(
            n, self.indices.shape[1], "images of each"
        )
        caption = "The images that drive each unit most, best first (in brackets its response)"
        return notebook.table(["unit", *range(1, n + 1)], rows, caption=caption, after=after)


class TopImagesMeter:
    """Finds the best images of all units of a layer, batch by batch, for use with `measure`; it takes the parameters of `top_images`."""

    state = ("indices", "responses", "done")

    @public
    def __init__(
        self,
        net: Network,
        layer: int | str,
        *,
        n: int = 4,
        via: str = "network",
        order: int = 1,
        unpool: str = "nearest",
        backend: Any = None,
    ) -> None:
        as_network(net, "TopImagesMeter")
        as_choice(via, ("network", "decoded"), "via")
        self.net, self.n, self.backend, self.done = net, as_count(n, "n"), backend, 0
        self.bottom, units = net.index(layer), net.channels(layer)
        self.layer = self.bottom if via == "network" else 0
        self.decoded = _Decoded("top_images", net, self.bottom, order, unpool, backend) if via == "decoded" else None
        self.indices = np.full((units, self.n), -1)
        self.responses = np.full((units, self.n), -np.inf)

    def part(self, images: Array, responses: Array, start: int) -> Array:
        if self.decoded is not None:
            responses = self.decoded(images)
        return np.asarray(responses.max(axis=(2, 3)).T)  # (K, N)

    def add(self, part: Array) -> None:
        # Only units whose list changes are sorted. On a tie the earlier image stays.
        for_units = np.flatnonzero(part.max(axis=1, initial=-np.inf) > self.responses[:, -1])
        count = part.shape[1]
        numbers = np.broadcast_to(np.arange(self.done, self.done + count), (len(for_units), count))
        values = np.concatenate([self.responses[for_units], part[for_units]], axis=1)
        order = np.argsort(-values, axis=1, kind="stable")[:, : self.n]
        self.responses[for_units] = np.take_along_axis(values, order, axis=1)
        indices = np.concatenate([self.indices[for_units], numbers], axis=1)
        self.indices[for_units] = np.take_along_axis(indices, order, axis=1)
        self.done += count

    def result(self) -> TopImages:
        """The best images of all so far, as arrays (K, n)."""
        n = min(self.n, self.done)
        return TopImages(self.indices[:, :n].copy(), self.responses[:, :n].copy())


@public
def top_images(
    net: Network,
    images: Images,
    layer: int | str,
    k: int | None,
    *,
    n: int = 4,
    via: str = "network",
    order: int = 1,
    unpool: str = "nearest",
    backend: Any = None,
    batch_size: int | None = None,
    progress: Progress | None = None,
    executor: Executor | None = None,
    checkpoint: Any = None,
) -> TopImages:
    """Find the images to which a unit responds most.

    ``response = max_{i,j} y[n,k,i,j]``.

    Parameters
    ----------
    net : Network
    images : array_like of shape (N, C, H, W), or an iterable of such batches
        As `Network.forward` takes them. Batches of an iterable are read one at a time; `measure` says how many are in memory.
    layer : int or str
        Number (from 1) or name.
    k : int or None
        The unit, from 0; None for all units of the layer in one pass.
    n : int
        How many images to list; if there are fewer, all of them.
    via : {"network", "decoded"}
        Whose responses: the network's, or those of the decoded filter.
    order : {1, 2}
        2 adds the quadratic part, for a network with curvatures (see `quadratize`); pools are then undone as with ``unpool="sum"``.
    unpool : {"nearest", "bilinear", "bicubic", "sum"}
        The interpolation that undoes pooling, for ``via="decoded"``.
    backend : object or module, optional
        The operators to use; `decoding.reference` unless given.
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
    TopImages
        ``.indices`` and ``.responses``, each of shape (n,), or (K, n) for all units. The best image comes first; if two
        responses are equal, the earlier image.

    Raises
    ------
    UnknownLayerError
        If there is no such layer, or it has no unit k.
    InvalidValueError
        If there are no images, they are not finite, or an option is none of those above.
    ShapeError
        If the images do not fit the network.

    See Also
    --------
    measure : With `TopImagesMeter`, finds those of several layers in one pass.

    Notes
    -----
    Paper: figure 4, (c), (d) and (f).

    Examples
    --------
    >>> from decoding import Conv, Network
    >>> net = Network([Conv([[[[1, 2]]], [[[-1, 0]]]])])
    >>> top_images(net, [[[[1, 3]]], [[[5, 1]]], [[[7, 0]]]], 1, 0, n=2)      # 7, 7 and 7
    TopImages(indices=array([0, 1]), responses=array([7., 7.]))
    """
    meter = TopImagesMeter(net, layer, n=n, via=via, order=order, unpool=unpool, backend=backend)
    if k is not None:
        k = unit(net, layer, k, "top_images")
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
    result = meter.result()
    return result if k is None else TopImages(result.indices[k], result.responses[k])


@dataclass(frozen=True, eq=False, repr=False)
class ResponseMatrix:
    """Figure 1: the responses of decoded filters to the images that each of them likes best.

    Attributes
    ----------
    matrix : ndarray of shape (K, K)
        ``[i, j]`` is the response of decoded filter i to the image that filter j chose.
    images : ndarray of shape (K,)
        The index of the image that each filter chose; if two responses are equal, the earlier image.
    labels : ndarray of shape (K,), or None
        The labels of those images.
    accuracy : float or None
        The share of all images for which the filter with the largest response has the label as its number.
    """

    matrix: npt.NDArray[Any]
    images: npt.NDArray[np.int64]
    labels: npt.NDArray[Any] | None
    accuracy: float | None

    def __repr__(self) -> str:
        return brief(self, ("matrix", "images", "labels", "accuracy"))

    def _repr_html_(self) -> str:
        """A table, for a notebook: * marks the maximum of a row, ^ that of a column."""
        n = min(len(self.matrix), notebook.MOST)
        labels = [""] * n if self.labels is None else [f", a {label}" for label in self.labels[:n]]
        head = ["filter", *(f"image {i}{label}" for i, label in zip(self.images[:n], labels, strict=True))]
        row_best, column_best = ((self.matrix == self.matrix.max(axis=axis, keepdims=True)).tolist() for axis in (1, 0))
        rows = [
            [str(i), *(f"{self.matrix[i, j]:.4g}{'*' * row_best[i][j]}{'^' * column_best[i][j]}" for j in range(n))]
            for i in range(n)
        ]
        after = ["* the maximum of its row, ^ of its column."]
        after += [] if self.accuracy is None else [f"As classifiers, the filters are right on {self.accuracy:.1%}."]
        after += notebook.left_out(n, len(self.matrix), "filters")
        caption = "Responses of decoded filters (rows) to the image that each of them likes best (columns)"
        return notebook.table(head, rows, caption=caption, after=after)

    @property
    @np.errstate(all="ignore")
    def rows(self) -> npt.NDArray[np.bool_]:
        """Whether each row has its maximum on the diagonal; true by construction, as the images are chosen so."""
        return np.asarray(self.matrix.diagonal() == self.matrix.max(axis=1))

    @property
    @np.errstate(all="ignore")
    def columns(self) -> npt.NDArray[np.bool_]:
        """Whether each column has its maximum on the diagonal: whether no other filter responds more to the image of a filter."""
        return np.asarray(self.matrix.diagonal() == self.matrix.max(axis=0))


@public
def response_matrix(
    net: Network,
    images: Images,
    layer: int | str,
    *,
    labels: npt.ArrayLike | None = None,
    order: int = 1,
    unpool: str = "nearest",
    backend: Any = None,
    batch_size: int | None = None,
    progress: Progress | None = None,
    executor: Executor | None = None,
    checkpoint: Any = None,
) -> ResponseMatrix:
    """Show to every decoded filter of a layer the image that each of them responds to most, and list the responses.

    ``matrix[i,j] = max_{positions} (I_j ⋆ df_i)``, where ``I_j = argmax_I max_{positions} (I ⋆ df_j)``.

    Parameters
    ----------
    net : Network
    images : array_like of shape (N, C, H, W), or an iterable of such batches
        As `Network.forward` takes them. Batches of an iterable are read one at a time; `measure` says how many are in memory.
    layer : int or str
        Number (from 1) or name.
    labels : array_like of shape (N,), optional
        The class of each image: the number, from 0, of the filter that stands for it.
    order : {1, 2}
        2 adds the quadratic part, for a network with curvatures (see `quadratize`); pools are then undone as with ``unpool="sum"``.
    unpool : {"nearest", "bilinear", "bicubic", "sum"}
        The interpolation that undoes pooling.
    backend : object or module, optional
        The operators to use; `decoding.reference` unless given.
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
    ResponseMatrix
        ``.matrix`` (K, K), ``.images``, ``.rows``, ``.columns``, ``.labels``, ``.accuracy``.

    Raises
    ------
    ShapeError
        If the numbers of labels and images differ, or the images do not fit the network.
    InvalidValueError
        If there are no images, they are not finite, or a label is not the number of a filter.
    UnknownLayerError
        If there is no such layer.

    See Also
    --------
    top_images : The best images of a filter.

    Notes
    -----
    Paper: figure 1, and section 4, "10 classifiers with a single neuron". The maximum of every row is on the diagonal
    by construction; that of a column, and the accuracy, are what can fail.

    Examples
    --------
    >>> from decoding import Conv, Network
    >>> net = Network([Conv([[[[1, 0]]], [[[3, 1]]]])])
    >>> found = response_matrix(net, [[[[2, 1]]], [[[1, 5]]]], 1, labels=[0, 1])
    >>> found.matrix, found.columns, found.accuracy
    (array([[2., 1.],
           [7., 8.]]), array([False,  True]), 0.5)
    """
    top = as_network(net, "response_matrix").index(layer)
    if labels is not None:
        labels = _labels(labels, net.channels(top), batches(images, net, "response_matrix")[1])
    meter = _FavouritesMeter(_Decoded("response_matrix", net, top, order, unpool, backend))
    count = measure(
        net,
        images,
        [meter],
        backend=backend,
        batch_size=batch_size,
        progress=progress,
        executor=executor,
        checkpoint=checkpoint,
    )
    matrix, chosen = np.ascontiguousarray(meter.scores.T), meter.chosen
    if labels is None:
        return ResponseMatrix(matrix, chosen, None, None)
    labels = _labels(labels, net.channels(top), count)
    return ResponseMatrix(matrix, chosen, labels[chosen], float((np.concatenate(meter.best) == labels).mean()))


def _labels(labels: npt.ArrayLike, units: int, count: int | None) -> Array:
    """The labels, checked: integers from 0 to units − 1, one for each image if the number of images is known."""
    array = as_array(labels, "response_matrix: labels")
    if array.ndim != 1 or count not in (None, len(array)):
        images = "the images" if count is None else plural(count, "image")
        raise ShapeError(f"response_matrix: labels {array.shape} for {images}: there must be one for each.")
    if array.dtype.kind not in "ui" or (len(array) and not 0 <= array.min() <= array.max() < units):
        raise InvalidValueError(
            f"response_matrix: labels must be integers from 0 to {units - 1}, the filters' numbers."
        )
    return array


class _FavouritesMeter:
    """Finds the image that each decoded filter responds to most (of equals the earlier), and the responses of all filters to it.

    Attributes
    ----------
    chosen : ndarray of shape (K,)
        The number of each filter's image.
    scores : ndarray of shape (K, K)
        ``[j, i]`` is the largest response of filter i to the image that filter j chose.
    best : list of ndarray
        For each batch, the filter with the largest response to each image.
    """

    layer, state = 0, ("chosen", "scores", "best", "done")

    def __init__(self, decoded: _Decoded) -> None:
        units = decoded.net.channels(decoded.top)
        self.decoded, self.done, self.chosen = decoded, 0, np.full(units, -1)
        self.scores: Array = np.full((units, units), -np.inf)
        self.best: list[Array] = []

    def part(self, images: Array, responses: Array, start: int) -> tuple[int, Array, Array, Array]:
        scores = self.decoded(images).max(axis=(2, 3))
        chosen = scores.argmax(axis=0)
        return len(images), chosen, scores[chosen], scores.argmax(axis=1)

    def add(self, part: tuple[int, Array, Array, Array]) -> None:
        count, chosen, scores, best = part
        if not self.done:
            self.scores = self.scores.astype(scores.dtype)
        better = np.flatnonzero(scores.diagonal() > self.scores.diagonal())
        self.chosen[better] = chosen[better] + self.done
        self.scores[better] = scores[better]
        self.best.append(best)
        self.done += count


def _decoded_or_given(
    function: str, net: Network, top: int, unpool: str, backend: Any, filters: npt.ArrayLike | None = None
) -> Array:
    """The decoded filters of layer `top`, or those given in their place."""
    if filters is None:
        return decode_layer(net, top, unpool=unpool, backend=backend)
    bank = as_array4(filters, function, "filters", "(K, C, h, w)")
    want = (net.channels(top), net.channels(0), *net.receptive_field(top).size)
    if bank.shape != want:
        raise ShapeError(f"{function}: filters have the shape {bank.shape}; those of layer {top} must have {want}.")
    check_finite(bank, f"{function}: filters")
    return bank


def _bias(function: str, bias: npt.ArrayLike | None, units: int) -> Array | None:
    if bias is None:
        return None
    array = as_array(bias, f"{function}: bias")
    if array.shape != (units,):
        raise ShapeError(
            f"{function}: bias {array.shape} for {plural(units, 'filter')}: it must have the shape ({units},)."
        )
    check_finite(array, f"{function}: bias")
    return array


def _by_image(responses: Array) -> Array:
    """Responses as (K·H'·W', N), a column for each image; those of `decoding.fast` lie so in memory and are not copied."""
    return np.asarray(responses.transpose(2, 3, 1, 0).reshape(-1, len(responses)))


def _contrast(contrast: Any, former: dict[str, Any]) -> str | None:
    """The option `contrast`, which may also be given under its former name, `normalize`."""
    unknown = [name for name in former if name != "normalize"]
    if unknown:
        raise TypeError(f"reconstruction_error() got an unexpected keyword argument '{unknown[0]}'")
    contrast = former.get("normalize", contrast)
    found: str | None = as_choice(contrast, ("image", None), "contrast")
    return found


def _full_range(responses: Array, what: str, done: int) -> Array:
    """The responses to each image, brought to the range from 0 to 1."""
    low, high = responses.min(axis=0), responses.max(axis=0)
    constant = np.flatnonzero(is_constant(low, high, float(np.finfo(responses.dtype).eps)))
    if len(constant):
        raise InvalidValueError(
            f"{what} to image {done + constant[0]} are all equal ({low[constant[0]]:g}): they have no range to "
            "normalize. Leave that image out, or give contrast=None."
        )
    if not np.isfinite(high - low).all():  # the range overflows; half of it does not
        responses, low, high = responses / 2, low / 2, high / 2
    result = responses - low
    result /= high - low
    return np.asarray(result)


def _correlations(a: Array, b: Array) -> npt.NDArray[np.float64]:
    a, b = a - a.mean(axis=0), b - b.mean(axis=0)
    with np.errstate(all="ignore"):
        return np.asarray(_products(a, b) / np.sqrt(_products(a, a) * _products(b, b)))


def _products(a: Array, b: Array) -> npt.NDArray[np.float64]:
    """``Σ_m a[m,n] · b[m,n]``."""
    return np.asarray(np.einsum("mn,mn->n", a, b), np.float64)
