"""Patterns: what images look like where a unit responds, which is not what it weighs.

A decoded filter also has to cancel what the unit should not respond to. The pattern of a linear unit is
``Cov(image) · filter``, what goes together in images with the unit's response (Haufe et al., NeuroImage 2014: "activation
patterns").
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from . import fast
from .arguments import Array, as_array, as_array4, as_choice, as_pair, check_finite, crossed, described, plural
from .boundary import public
from .decoder import UNPOOLS, as_units, decode_layer, unit
from .errors import DataFormatError, InvalidValueError, ShapeError
from .files import File, read_npz, replacing, shown
from .gains import STILL
from .layers import Shape
from .measuring import Images, Progress, measure, run, windows, within
from .network import Network, as_network

if TYPE_CHECKING:
    from concurrent.futures import Executor

MOST = 6000  # the most numbers of an image for a full covariance, which then takes 288 megabytes
COLOUR = 0.9  # the correlation of two channels of natural images
BATCH = 2**20  # numbers of images at a time
BLOCK = 2**23  # numbers of windows, or of spectra, at a time
FOURIER = 400  # a Fourier transform takes as long, per pixel, as so many multiplications of a large matrix product

S = TypeVar("S", bound="Statistics")


class Statistics:
    """The mean and the covariance of images, or of crops of images. The covariance is given as an operator; nothing can be changed.

    Attributes
    ----------
    shape : (C, H, W)
        The shape of the images.
    mean : ndarray of shape (C, H, W), or None
        The mean image; None if it is not defined.
    energy : float
        The mean of ``‖image − mean‖²``: the trace of the covariance.
    root_shape : tuple of int
        The shape of the arrays that `root` turns into images.
    contrast : float
        What deviations from the mean are multiplied by; see `scaled`.
    """

    shape: Shape
    contrast: float = 1.0

    @property
    def mean(self) -> npt.NDArray[np.float64] | None:
        return None

    @property
    @np.errstate(all="ignore")
    def energy(self) -> float:
        return self._trace * self.contrast**2

    @property
    def root_shape(self) -> tuple[int, ...]:
        raise NotImplementedError

    @public
    def cov(self, v: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """The covariance times images, (…, C, H, W)."""
        return self._each(self._cov, v, "v", self.shape, self.shape) * self.contrast**2

    @public
    def root(self, y: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """A root of the covariance times arrays (…, ``*root_shape``). It turns white noise into images of these statistics.

        ``root(root_t(v))`` is ``cov(v)``.
        """
        return self._each(self._root, y, "y", self.root_shape, self.shape) * self.contrast

    @public
    def root_t(self, v: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """The transpose of `root` times images, (…, C, H, W)."""
        return self._each(self._root_t, v, "v", self.shape, self.root_shape) * self.contrast

    @public
    def scaled(self: S, contrast: float) -> S:
        """The same statistics, with all deviations from the mean multiplied by `contrast`.

        Raises
        ------
        InvalidValueError
            If `contrast` is not a positive number.
        """
        return self._with(contrast=self.contrast * _positive(contrast, "contrast"))

    def within(self: S, size: Any) -> S:
        """The statistics of crops of that size, (rows, columns).

        Raises
        ------
        ShapeError
            If the statistics are of smaller images, or are a covariance, which belongs to images of one size and not to crops.
        """
        raise NotImplementedError

    def save(self, path: File) -> None:
        """Write the statistics to an ``.npz`` file, given by its path or already open; `load_statistics` reads it."""
        with replacing(path, "save: path") as file:
            kind = np.array(type(self).__name__)
            np.savez(file, kind=kind, contrast=self.contrast, within=self.shape[1:], **self._numbers())

    _trace: float

    def _numbers(self) -> dict[str, Any]:
        """The arguments of the constructor; for statistics that `within` made smaller, those of the larger ones."""
        raise NotImplementedError

    def _check(self) -> None:
        """Refuse numbers from a file that do not fit together."""

    def _cov(self, v: Array) -> Array:
        raise NotImplementedError

    def _root(self, y: Array) -> Array:
        raise NotImplementedError

    def _root_t(self, v: Array) -> Array:
        raise NotImplementedError

    def _with(self: S, **changed: Any) -> S:
        other = copy.copy(self)
        vars(other).update(changed)
        return other

    def _each(self, apply: Any, v: npt.ArrayLike, what: str, given: Sequence[int], made: Sequence[int]) -> Array:
        array = as_array(v, what)
        ahead = array.shape[: array.ndim - len(given)]
        if array.shape != (*ahead, *given):
            raise ShapeError(f"{what} {array.shape} must end in {tuple(given)}, for images {self.shape}.")
        check_finite(array, what)
        flat = array.astype(np.float64, copy=False).reshape(-1, *given)
        return np.asarray(apply(flat), np.float64).reshape(*ahead, *made)

    def _merged(self: S, other: S, names: Sequence[str]) -> S:
        """The statistics of the images of both, made from the sums that these arguments hold."""
        mine, others = self._numbers(), other._numbers()
        made = [[np.shape(numbers[name]) for name in names] for numbers in (mine, others)]
        if (other.shape, other.contrast) != (self.shape, self.contrast) or made[0] != made[1]:
            raise ShapeError(
                f"statistics of {self.shape} and {other.shape}, contrasts {self.contrast:g} and {other.contrast:g}, "
                f"cannot be added: both must be the same{'' if other.shape != self.shape else ', and made of one size'}."
            )
        sums = {name: mine[name] + others[name] for name in names}
        return type(self)(**{**mine, **sums})._with(contrast=self.contrast, shape=self.shape)


class Stationary(Statistics):
    """Statistics that are the same everywhere: the covariance of two pixels depends only on how far apart they are.

    Images are treated as crops of a torus of at least twice their size, on which the covariance is diagonal in frequency. The
    torus is so large that pixels at opposite edges of an image do not become neighbours.
    """

    @cached_property
    @np.errstate(all="ignore")
    def spectrum(self) -> npt.NDArray[np.complex128]:
        """For each frequency of the torus (`scipy.fft.rfft2`), the covariance of the channels, (rows, columns / 2 + 1, C, C)."""
        raise NotImplementedError

    @property
    def torus(self) -> tuple[int, int]:
        """(rows, columns) of the torus."""
        rows, half = self.spectrum.shape[:2]
        return rows, 2 * (half - 1)

    @property
    def root_shape(self) -> tuple[int, int, int]:
        return (self.shape[0], *self.torus)

    def within(self, size: Any) -> Stationary:
        rows, columns = as_pair(size, "size")
        if rows > self.shape[1] or columns > self.shape[2]:
            raise ShapeError(
                f"statistics of {crossed(self.shape[1:])} pixels are smaller than {rows}×{columns}. Make them of that size."
            )
        self.spectrum  # noqa: B018  # computed here, so that all sizes share it
        return self._with(shape=(self.shape[0], rows, columns))

    @cached_property
    @np.errstate(all="ignore")
    def _root_spectrum(self) -> npt.NDArray[np.complex128]:
        """The Hermitian root at each frequency."""
        return _function(self.spectrum, np.sqrt)

    @property
    @np.errstate(all="ignore")
    def _trace(self) -> float:  # type: ignore[override]
        from scipy.fft import irfft2

        trace = np.trace(self.spectrum, axis1=2, axis2=3)
        return float(irfft2(trace, self.torus)[0, 0]) * self.shape[1] * self.shape[2]

    def _cov(self, v: Array) -> Array:
        return self._cropped(self._filtered(self._padded(v), self.spectrum))

    def _root(self, y: Array) -> Array:
        return self._cropped(self._filtered(y, self._root_spectrum))

    def _root_t(self, v: Array) -> Array:
        return self._filtered(self._padded(v), self._root_spectrum)

    def _filtered(self, x: Array, spectrum: Array) -> Array:
        from scipy.fft import irfft2, rfft2

        return np.asarray(irfft2(np.einsum("uvcd,nduv->ncuv", spectrum, rfft2(x)), self.torus))

    def _padded(self, v: Array) -> Array:
        after = [(0, side - n) for side, n in zip(self.torus, v.shape[2:], strict=True)]
        return np.pad(v, ((0, 0), (0, 0), *after))

    def _cropped(self, x: Array) -> Array:
        return x[:, :, : self.shape[1], : self.shape[2]]


class Natural(Stationary):
    """The statistics of natural scenes: see `natural`."""

    def __init__(self, channels: int, rows: int, columns: int) -> None:
        self.shape = (int(channels), int(rows), int(columns))
        self._size = (int(rows), int(columns))

    @cached_property
    @np.errstate(all="ignore")
    def spectrum(self) -> npt.NDArray[np.complex128]:
        return np.asarray(np.multiply.outer(self._power, self._colours), complex)

    @cached_property
    def _root_spectrum(self) -> npt.NDArray[np.complex128]:
        values, vectors = np.linalg.eigh(self._colours)
        return np.asarray(np.multiply.outer(np.sqrt(self._power), (vectors * np.sqrt(values)) @ vectors.T), complex)

    @cached_property
    def _power(self) -> Array:
        from scipy.fft import fftfreq, next_fast_len, rfftfreq

        rows, columns = (2 * next_fast_len(side) for side in self._size)
        f = np.hypot(fftfreq(rows)[:, np.newaxis], rfftfreq(columns))
        power = 1 / (f**2 + 1 / max(self._size) ** 2)
        ends = np.full(columns // 2 + 1, 2)  # most frequencies of a real transform stand for two
        ends[[0, -1]] = 1
        return np.asarray(power * (rows * columns / (power * ends).sum()))

    @property
    def _colours(self) -> Array:
        c = self.shape[0]
        return np.full((c, c), COLOUR) + (1 - COLOUR) * np.eye(c)

    def _numbers(self) -> dict[str, Any]:
        return {"channels": self.shape[0], "rows": self._size[0], "columns": self._size[1]}

    def _check(self) -> None:
        if min(self.shape) < 1:
            raise ValueError(f"natural scenes of {crossed(self.shape)}")


class Autocovariance(Stationary):
    """Stationary statistics of measured images: see `autocovariance`. ``a + b`` is those of the images of both.

    Parameters
    ----------
    size : (rows, columns)
    pixels : int
        How many pixels were measured in each channel.
    total : ndarray of shape (C,)
        The sum of these pixels.
    pairs : ndarray of shape (2H, 2W)
        How many pairs of pixels were measured, by the distance from the first to the second; negative distances count from the end.
    products : ndarray of shape (C, C, 2H, 2W)
        The sums of the products of these pairs.
    """

    def __init__(self, size: Sequence[int], pixels: int, total: Array, pairs: Array, products: Array) -> None:
        self.size = (int(size[0]), int(size[1]))
        self.pixels, self.total, self.pairs, self.products = int(pixels), total, pairs, products
        self.shape = (len(total), *self.size)

    @property
    @np.errstate(all="ignore")
    def mean(self) -> npt.NDArray[np.float64]:
        level = (self.total / self.pixels)[:, np.newaxis, np.newaxis]
        return np.array(np.broadcast_to(level, self.shape))

    @cached_property
    @np.errstate(all="ignore")
    def spectrum(self) -> npt.NDArray[np.complex128]:
        from scipy.fft import rfft2

        level = self.total / self.pixels
        covariance = (
            self.products / np.maximum(self.pairs, 1) - np.multiply.outer(level, level)[:, :, np.newaxis, np.newaxis]
        )
        covariance[:, :, self.pairs == 0] = 0
        # The Fourier transform over distances, from the first channel to the second: images are multiplied by its conjugate.
        return _function(np.moveaxis(rfft2(covariance), (0, 1), (3, 2)), lambda value: value)

    def _check(self) -> None:
        sides = tuple(2 * side for side in self.size)
        _check_arrays({"total": (len(self.total),), "pairs": sides, "products": (len(self.total),) * 2 + sides}, self)
        if self.pixels < 1 or min(self.size) < 1:
            raise ValueError(f"{self.pixels} pixels, of {crossed(self.size)}")

    @property
    @np.errstate(all="ignore")
    def _is_still(self) -> bool:
        """Whether all channels are constant, except for rounding."""
        square = np.diagonal(self.products[:, :, 0, 0]) / self.pixels
        return bool((square - (self.total / self.pixels) ** 2 <= STILL**2 * square).all())

    def __add__(self, other: object) -> Autocovariance:
        if not isinstance(other, Autocovariance):
            return NotImplemented
        return self._merged(other, ("pixels", "total", "pairs", "products"))

    def _numbers(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("size", "pixels", "total", "pairs", "products")}


class Covariance(Statistics):
    """Statistics of images of one size, place by place: see `covariance`. ``a + b`` is those of the images of both.

    Parameters
    ----------
    count : int
    total : ndarray of shape (C, H, W)
        The sum of all images.
    products : ndarray of shape (C·H·W, C·H·W)
        The sum over images of the products of every two pixels.
    """

    def __init__(self, count: int, total: Array, products: Array) -> None:
        self.count, self.total, self.products = int(count), total, products
        self.shape = total.shape

    @property
    @np.errstate(all="ignore")
    def mean(self) -> npt.NDArray[np.float64]:
        return np.asarray(self.total / self.count)

    @cached_property
    @np.errstate(all="ignore")
    def matrix(self) -> npt.NDArray[np.float64]:
        """The covariance, (C·H·W, C·H·W)."""
        mean = self.mean.ravel()
        return np.asarray(self.products / self.count - np.outer(mean, mean))

    @property
    def root_shape(self) -> tuple[int]:
        return (self._roots.shape[1],)

    def within(self, size: Any) -> Covariance:
        if as_pair(size, "size") != self.shape[1:]:
            raise ShapeError(
                f"a covariance belongs to images of one size, here {crossed(self.shape[1:])} pixels, and cannot be used for "
                f"{crossed(as_pair(size, 'within: size'))}. Make one from images of that size, or take autocovariance."
            )
        return self

    @cached_property
    @np.errstate(all="ignore")
    def _roots(self) -> Array:
        """Eigenvectors times the roots of their eigenvalues, (C·H·W, rank)."""
        values, vectors = np.linalg.eigh(self.matrix)
        kept = values > len(values) * np.finfo(float).eps * values[-1]
        return np.asarray(vectors[:, kept] * np.sqrt(values[kept]))

    @property
    @np.errstate(all="ignore")
    def _trace(self) -> float:  # type: ignore[override]
        return float(np.trace(self.matrix))

    def _cov(self, v: Array) -> Array:
        return np.asarray(v.reshape(len(v), -1) @ self.matrix)

    def _root(self, y: Array) -> Array:
        return np.asarray(y @ self._roots.T)

    def _root_t(self, v: Array) -> Array:
        return np.asarray(v.reshape(len(v), -1) @ self._roots)

    def _check(self) -> None:
        _check_arrays({"products": (self.total.size,) * 2}, self)
        if self.count < 1 or self.total.ndim != 3:
            raise ValueError(f"{self.count} images {self.total.shape}")

    @property
    @np.errstate(all="ignore")
    def _is_still(self) -> bool:
        """Whether all pixels are constant, except for rounding."""
        square = np.diagonal(self.products) / self.count
        return bool((square - self.mean.ravel() ** 2 <= STILL**2 * square).all())

    def __add__(self, other: object) -> Covariance:
        if not isinstance(other, Covariance):
            return NotImplemented
        return self._merged(other, ("count", "total", "products"))

    def _numbers(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("count", "total", "products")}


def _check_arrays(shapes: dict[str, tuple[int, ...]], statistics: Statistics) -> None:
    """Refuse arrays that do not have these shapes, or are not finite."""
    for name, shape in shapes.items():
        array = getattr(statistics, name)
        if array.shape != shape or array.dtype.kind not in "iuf" or not np.isfinite(array).all():
            raise ValueError(f"{name} {array.shape} of {array.dtype}, which must be finite numbers {shape}")


def _function(spectrum: Array, apply: Any) -> npt.NDArray[np.complex128]:
    """A function of the Hermitian matrices at each frequency; eigenvalues below zero count as zero."""
    values, vectors = np.linalg.eigh(spectrum)
    scaled = vectors * apply(np.maximum(values, 0))[..., np.newaxis, :]
    return np.asarray(scaled @ vectors.conj().swapaxes(-1, -2))


@public
def natural(size: Any, *, contrast: float = 1.0, channels: int = 3) -> Natural:
    """The statistics of natural scenes, without an image.

    The power at frequency f, in cycles per pixel, is proportional to ``1 / (f² + f0²)``, where f0 is one over the larger side of
    the images. Two channels have a correlation of 0.9.

    Parameters
    ----------
    size : int or (rows, columns)
        The size of the images, for instance that of a receptive field.
    contrast : float
        The standard deviation of a pixel.
    channels : int
        1 for grey images, 3 for colours.

    Returns
    -------
    Statistics

    Raises
    ------
    ShapeError, InvalidValueError
        If the size, the contrast or the channels are not positive.

    See Also
    --------
    autocovariance, covariance : Measured statistics.

    Notes
    -----
    Field (1987) for the power; Ruderman, Cronin and Chiao (1998) for colour. Our choice: f0, and a single correlation for all
    pairs of channels.

    Examples
    --------
    >>> round(natural((4, 6), contrast=2).energy, 9)      # 3·4·6 pixels of variance 4
    288.0
    """
    rows, columns = as_pair(size, "natural: size")
    return Natural(as_pair(channels, "natural: channels")[0], rows, columns).scaled(_positive(contrast, "contrast"))


@public
def autocovariance(
    images: Images,
    size: Any,
    *,
    progress: Progress | None = None,
    executor: Executor | None = None,
    checkpoint: Any = None,
) -> Autocovariance:
    """Measure the statistics of images, taken to be the same at all places.

    ``r[c,d](Δ) = mean_p (x_c(p) − m_c)(x_d(p + Δ) − m_d)`` over all images and all places p for which both pixels are inside. The
    power of a frequency can come out negative; it is set to 0.

    Parameters
    ----------
    images : array_like of shape (N, C, H, W), or an iterable of such batches
        As `Network.forward` takes them, of `size` or larger; batches may differ in size. They are read once, and one batch at
        a time is in memory.
    size : int or (rows, columns)
        The size for which statistics are wanted, for instance that of a receptive field.
    progress : callable, optional
        Called as ``progress(done, total)`` after each batch, in images; total is None for an iterable.
    executor : concurrent.futures.Executor, optional
        Its workers do the measuring, with the same result: see `measure`.
    checkpoint : path, optional
        A file that keeps what has been measured, and from which a stopped measurement goes on: see `measure`.

    Returns
    -------
    Statistics
        They are the same at all places, so the mean is one number for each channel. ``a + b`` is those of the images of both.

    Raises
    ------
    ShapeError
        If images are smaller than `size`, or differ in channels.
    InvalidValueError
        If there are no images, they are not finite, or in each channel all pixels are equal.

    See Also
    --------
    covariance : Of each pixel with every other.
    natural : Statistics without an image.

    Examples
    --------
    >>> stripes = autocovariance([[[[1, -1, 1, -1, 1, -1]]]], (1, 2))
    >>> stripes.cov([[[1, 0]]]).round(9)
    array([[[ 1., -1.]]])
    """
    job = _Covering("autocovariance", as_pair(size, "autocovariance: size"))
    found: Autocovariance = job.over(images, progress=progress, executor=executor, checkpoint=checkpoint)
    if found._is_still:
        raise InvalidValueError("autocovariance: in each channel all pixels are equal, so nothing varies.")
    return found


def _autocovariance(images: Array, size: tuple[int, int]) -> Autocovariance:
    from scipy.fft import irfft2, next_fast_len, rfft2

    sides = images.shape[2:]
    if sides[0] < size[0] or sides[1] < size[1]:
        raise ShapeError(
            f"autocovariance: images {images.shape} are smaller than the size, {crossed(size)}, so they have no pixels that far apart."
        )
    padded = tuple(next_fast_len(side + n, real=True) for side, n in zip(sides, size, strict=True))
    products, (n, c) = np.zeros((c := images.shape[1], c, *(2 * side for side in size))), images.shape[:2]
    power = np.zeros((c, c, padded[0], padded[1] // 2 + 1), complex)
    for image in images:
        waves = rfft2(image.astype(np.float64, copy=False), padded)
        power += waves.conj()[:, np.newaxis] * waves
    lags = irfft2(power, padded)
    pairs = np.zeros(tuple(2 * side for side in size))
    steps = [np.arange(-side, side + 1) for side in size]
    places = tuple(np.ix_(*(step % (2 * side) for step, side in zip(steps, size, strict=True))))
    to: Any = (slice(None), slice(None), *places)
    of: Any = (slice(None), slice(None), *np.ix_(*steps))
    np.add.at(products, to, lags[of])
    inside = [np.maximum(side - np.abs(step), 0) for side, step in zip(sides, steps, strict=True)]
    np.add.at(pairs, places, n * np.multiply.outer(*inside))
    total = images.sum(axis=(0, 2, 3), dtype=np.float64)
    return Autocovariance(size, n * sides[0] * sides[1], total, pairs, products)


@public
def covariance(
    images: Images, *, progress: Progress | None = None, executor: Executor | None = None, checkpoint: Any = None
) -> Covariance:
    """Measure the full covariance of images, of each pixel with every other, and their mean.

    Parameters
    ----------
    images : array_like of shape (N, C, H, W), or an iterable of such batches
        As `Network.forward` takes them, all of one size: that of the receptive field. They are read once.
    progress : callable, optional
        Called as ``progress(done, total)`` after each batch, in images; total is None for an iterable.
    executor : concurrent.futures.Executor, optional
        Its workers do the measuring, with the same result: see `measure`.
    checkpoint : path, optional
        A file that keeps what has been measured, and from which a stopped measurement goes on: see `measure`.

    Returns
    -------
    Statistics
        They are given place by place, for images of one size. ``a + b`` is those of the images of both.

    Raises
    ------
    ShapeError
        If images differ in size.
    InvalidValueError
        If they have more than 6,000 numbers each, there are fewer than 2, they are not finite, or all are equal.

    See Also
    --------
    autocovariance : For larger images, and for units that look at all places of an image.

    Examples
    --------
    >>> covariance([[[[0, 1]]], [[[2, 3]]]]).cov([[[1, 0]]])
    array([[[1., 1.]]])
    """
    job = _Covering("covariance")
    found: Covariance = job.over(images, progress=progress, executor=executor, checkpoint=checkpoint)
    if found.count < 2:
        raise InvalidValueError(
            "covariance: one image does not vary. Give several times as many images as an image has pixels."
        )
    if found._is_still:
        raise InvalidValueError(f"covariance: the {plural(found.count, 'image')} are all equal, so nothing varies.")
    return found


def _covariance(images: Array) -> Covariance:
    numbers = math.prod(images.shape[1:])
    if numbers > MOST:
        raise InvalidValueError(
            f"covariance: images of {crossed(images.shape[1:])} have {numbers} numbers, and at most {MOST} are taken. Use autocovariance."
        )
    flat = images.reshape(len(images), -1).astype(np.float64, copy=False)
    return Covariance(len(images), flat.sum(axis=0).reshape(images.shape[1:]), flat.T @ flat)


@public
def load_statistics(path: File) -> Statistics:
    """Read statistics that were written with `Statistics.save`, from a path or an open file.

    Raises
    ------
    DataFormatError
        If the file holds no statistics, or is damaged.
    """
    kinds = {kind.__name__: kind for kind in (Natural, Autocovariance, Covariance, Independent)}
    fields = read_npz(path, "load_statistics: path", "statistics")
    try:
        kind, contrast = kinds[str(fields.pop("kind"))], _positive(float(fields.pop("contrast")), "contrast")
        size = fields.pop("within", None)
        found: Statistics = kind(**fields)
        found._check()
        found = found if size is None or tuple(size) == found.shape[1:] else found.within(size.tolist())
        return found._with(contrast=contrast)
    except Exception as error:  # whatever the numbers of an untrusted file lead to
        raise DataFormatError(f"{shown(path)}: it holds no statistics, or is damaged: {error}") from error


@public
def pattern(filters: npt.ArrayLike, statistics: Statistics) -> npt.NDArray[np.float64]:
    """Find what images look like where given filters respond, from the statistics of images.

    ``Cov(image, <filter, image>) = Cov(image) · filter``.

    Parameters
    ----------
    filters : array_like of shape (K, C, h, w) or (C, h, w)
        For instance decoded filters.
    statistics : Statistics
        The statistics of images of that size; stationary ones (`natural`, `autocovariance`) may be larger.

    Returns
    -------
    ndarray of the shape of `filters`

    Raises
    ------
    ShapeError
        If the statistics are of smaller images than the filters, or of another number of channels.
    InvalidValueError
        If the filters are not finite.

    See Also
    --------
    patterns : The patterns of a layer's units, from images.

    Notes
    -----
    Haufe et al., NeuroImage 2014. Our choice; not in the paper.

    Examples
    --------
    The filter has no weight on the second pixel. In these images it varies with the first, so it appears in the pattern:

    >>> pattern([[[1, 0]]], covariance([[[[0, 0]]], [[[2, 4]]]]))
    array([[[1., 2.]]])
    """
    if not isinstance(statistics, Statistics):
        raise InvalidValueError(
            f"pattern: statistics must be made by natural, autocovariance or covariance; they are {described(statistics)}."
        )
    array = as_array(filters, "pattern: filters")
    if array.ndim not in (3, 4) or array.shape[-3] != statistics.shape[0]:
        raise ShapeError(
            f"pattern: filters {array.shape} for statistics of {statistics.shape}: filters must be (K, C, h, w) or (C, h, w), with the same C."
        )
    check_finite(array, "pattern: filters")
    return statistics.within(array.shape[-2:]).cov(array)


@public
def patterns(
    net: Network,
    images: Images,
    layer: int | str,
    *,
    via: str = "decoded",
    units: Sequence[int] | None = None,
    unpool: str = "nearest",
    backend: Any = None,
    batch_size: int | None = None,
    progress: Progress | None = None,
    executor: Executor | None = None,
    checkpoint: Any = None,
) -> npt.NDArray[np.float64]:
    """Find what images look like where the units of a layer respond.

    ``Cov(crop, response)`` over all images and all places where a unit looks; the crop is what the unit sees there.

    Parameters
    ----------
    net : Network
    images : array_like of shape (N, C, H, W), or an iterable of such batches
        As `Network.forward` takes them. They are read once, and one batch at a time is in memory.
    layer : int or str
        Number (from 1) or name.
    via : {"decoded", "network"}
        Whose responses: those of the decoded filters, or the network's own, with which the former can be compared.
    units : sequence of int, optional
        The units, by channel from 0, in this order; all unless given.
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
    ndarray of shape (K, C, h, w)
        h×w is the size of the receptive field.

    Raises
    ------
    UnknownLayerError
        If there is no such layer or unit.
    InvalidValueError
        If there are no images; if they are not finite; if in each channel all their pixels are equal; if there is only one image
        and units look only at one place of it; or if an option is none of those above.
    ShapeError
        If the images do not fit the network.

    See Also
    --------
    pattern : Patterns from filters and statistics alone.
    PatternMeter : Patterns of several layers in one pass.

    Notes
    -----
    Haufe et al., NeuroImage 2014. With ``via="network"`` it is the response-triggered average of neuroscience. Our choice: units of
    padded layers look past the edge of the image, and see zeros there.

    Examples
    --------
    >>> from decoding import Conv
    >>> net = Network([Conv([[[[1, 0]]]])])
    >>> patterns(net, [[[[0, 0]]], [[[2, 4]]]], 1)
    array([[[[1., 2.]]]])
    """
    as_network(net, "patterns")
    meter = PatternMeter(net, layer, via=via, units=units, unpool=unpool, backend=backend)
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


class Products(NamedTuple):
    """Sums over images and places: of 1, of responses (K,), of crops (C, h, w), of their products (K, C, h, w).

    Also the least and the greatest value of the images in each channel, (C,).
    """

    cells: int
    responses: npt.NDArray[np.float64]
    crops: npt.NDArray[np.float64]
    both: npt.NDArray[np.float64]
    least: Any = np.inf
    most: Any = -np.inf


class PatternMeter:
    """Measures the patterns of a layer's units, batch by batch, for use with `measure`; it takes the parameters of `patterns`."""

    state = ("sums",)

    @public
    def __init__(
        self,
        net: Network,
        layer: int | str,
        *,
        via: str = "decoded",
        units: Sequence[int] | None = None,
        unpool: str = "nearest",
        backend: Any = None,
    ) -> None:
        as_choice(via, ("decoded", "network"), "via")
        as_choice(unpool, UNPOOLS, "unpool")
        self.net, self.top = as_network(net, "PatternMeter"), net.index(layer)
        chosen = range(net.channels(self.top)) if units is None else as_units(units)
        self.units = [unit(net, layer, k, "patterns") for k in chosen]
        self.field = net.receptive_field(self.top)
        self.layer = self.top if via == "network" else 0
        self.filters = (
            decode_layer(net, self.top, units=self.units, unpool=unpool, backend=backend) if via == "decoded" else None
        )
        self.sums: Products | None = None

    def part(self, images: Array, responses: Array, start: int) -> Products:
        pads, grid = self.net.grid(self.top, images.shape[1:])
        ends = images.min(axis=(0, 2, 3)), images.max(axis=(0, 2, 3))
        images, (top, bottom, left, right) = within(images, pads)
        images = np.pad(images, ((0, 0), (0, 0), (top, bottom), (left, right)))
        images = images[:, :, : (grid[0] - 1) * self.field.stride[0] + self.field.size[0]]
        images = images[:, :, :, : (grid[1] - 1) * self.field.stride[1] + self.field.size[1]]
        y = None if self.filters is not None else responses[:, self.units]
        find = _by_fourier if _fourier_pays(images.shape, grid, self.field.size, len(self.units)) else _by_windows
        found = find(images, y, self.filters, grid, self.field.size, self.field.stride)
        return found._replace(least=ends[0], most=ends[1])

    def add(self, part: Products) -> None:
        if self.sums is not None:
            old = self.sums
            part = Products(
                old.cells + part.cells,
                old.responses + part.responses,
                old.crops + part.crops,
                old.both + part.both,
                np.minimum(old.least, part.least),
                np.maximum(old.most, part.most),
            )
        self.sums = part

    def result(self) -> npt.NDArray[np.float64]:
        """The patterns, (K, C, h, w), for all images so far."""
        if self.sums is None:
            raise InvalidValueError("PatternMeter: there are no images yet.")
        cells, responses, crops, both, least, most = self.sums
        if np.all(least == most):
            raise InvalidValueError(
                "in each channel all pixels of the images are equal, so nothing varies, and there is no pattern."
            )
        if cells < 2:
            raise InvalidValueError(
                f"the units of layer {self.top} look at one place of one image, so nothing varies, and there is no pattern. Give more images."
            )
        return np.asarray(both / cells - np.multiply.outer(responses / cells, crops / cells))


def _fourier_pays(shape: Sequence[int], grid: Sequence[int], size: Sequence[int], units: int) -> bool:
    """Whether Fourier transforms take less time than products of all windows with all responses."""
    n, c, rows, columns = shape
    windows = n * math.prod(grid) * c * math.prod(size) * units
    return FOURIER * rows * columns * (n * (2 * units + c) + units * c) < windows


def _by_windows(
    images: Array,
    y: Array | None,
    filters: Array | None,
    grid: Sequence[int],
    size: Sequence[int],
    stride: Sequence[int],
) -> Products:
    """Find the products directly: for each row of the units' grid, the windows are a matrix."""
    n, c = images.shape[:2]
    numbers = c * math.prod(size)
    bank = (
        np.zeros((0, numbers))
        if filters is None
        else filters.reshape(len(filters), numbers).astype(np.float64, copy=False)
    )
    units = len(bank) if y is None else y.shape[1]
    responses, both = np.zeros(units), np.zeros((units + 1, numbers))  # the last responds with 1 everywhere
    for row, some, here in windows(images, grid, size, stride, BLOCK):
        crops = np.array(here, np.float64, order="C").reshape(-1, numbers)
        read = bank @ crops.T if y is None else y[some, :, row].swapaxes(0, 1).reshape(units, -1)
        responses += read.sum(axis=1, dtype=np.float64)
        both += np.concatenate([read, np.ones((1, len(crops)))]) @ crops
    both = both.reshape(units + 1, c, *size)
    return Products(n * math.prod(grid), responses, both[-1], both[:-1])


def _by_fourier(
    images: Array,
    y: Array | None,
    filters: Array | None,
    grid: Sequence[int],
    size: Sequence[int],
    stride: Sequence[int],
) -> Products:
    """Find the products by Fourier transforms, unit by unit; crops begin where units look, and have the size of the field."""
    from scipy.fft import fft, ifft, irfft, next_fast_len, rfft, rfft2

    n, c = images.shape[:2]
    torus = tuple(next_fast_len(side, real=True) for side in images.shape[2:])
    units = len(filters) if filters is not None else y.shape[1]  # type: ignore[union-attr]
    (down, across), ends = stride, [(m - 1) * s + 1 for m, s in zip(grid, stride, strict=True)]
    responses, both = np.zeros(units), np.zeros((units + 1, c, *size))
    step = max(1, BLOCK // (c * math.prod(torus)))
    for start in range(0, n, step):
        waves = rfft2(images[start : start + step], torus)
        rows = np.zeros((len(waves), grid[0], torus[1]), images.dtype)  # only rows with units; all others are zero
        places = rows[:, :, : ends[1] : across]
        for k in range(units + 1):  # the last responds with 1 everywhere
            if k == units:
                places[...] = 1
            elif filters is None:
                places[...] = y[start : start + step, k]  # type: ignore[index]
            else:
                bank = rfft2(filters[k].astype(images.dtype, copy=False), torus).conj()
                found = ifft(np.einsum("cuv,ncuv->nuv", bank, waves), axis=1)[:, : ends[0] : down]
                places[...] = irfft(found, torus[1], axis=2)[:, :, : ends[1] : across]
            if k < units:
                responses[k] += places.sum(dtype=np.float64)
            spread = np.zeros((len(waves), torus[0], waves.shape[3]), waves.dtype)
            spread[:, : ends[0] : down] = rfft(rows, axis=2)
            spectrum = np.einsum("nuv,ncuv->cuv", fft(spread, axis=1).conj(), waves)
            both[k] += irfft(ifft(spectrum, axis=1)[:, : size[0]], torus[1], axis=2)[:, :, : size[1]]
    return Products(n * math.prod(grid), responses, both[-1], both[:-1])


class _Covering:
    """Measures the statistics of images, batch by batch; this is what is sent to workers."""

    backend = fast  # as NumPy does the work, batches may be computed in threads

    def __init__(self, function: str, size: tuple[int, int] | None = None) -> None:
        self.function, self.field = function, size

    def as_images(self, images: Any) -> Array:
        return as_array4(images, self.function, "images", "(N, C, H, W)")

    def step(self, shape: Sequence[int]) -> int:
        numbers = math.prod(shape)
        # A full covariance has numbers² entries itself, so a large batch needs little more memory.
        return max(1, BATCH // numbers, numbers // 4 if self.field is None else 0)

    def parts(self, images: Array, start: int) -> list[Any]:
        check_finite(images, f"{self.function}: images from {start}")
        return [_covariance(images) if self.field is None else _autocovariance(images, self.field)]

    def named(self) -> dict[str, Any]:
        return {"the statistics": [self.function, self.field]}

    def over(self, images: Images, **options: Any) -> Any:
        total = _Total()
        run(self, images, [total], **options)
        return total.found


class _Total:
    """Adds up the parts of a measurement."""

    def __init__(self) -> None:
        self.found: Any = None

    def add(self, part: Any) -> None:
        self.found = part if self.found is None else self.found + part


def _positive(value: Any, what: str) -> float:
    if not isinstance(value, (int, float, np.integer, np.floating)) or not 0 < value < np.inf:
        raise InvalidValueError(f"{what} must be a positive number, not {described(value)}.")
    return float(value)


class Independent(Statistics):
    """Statistics of independent responses: a mean and a deviation for each channel, the same everywhere.

    Parameters
    ----------
    level, deviation : array_like of shape (C,)
        Mean and standard deviation of each channel.
    size : (rows, columns)
    """

    def __init__(self, level: npt.ArrayLike, deviation: npt.ArrayLike, size: Any) -> None:
        self.level, self.deviation = np.array(level, np.float64), np.array(deviation, np.float64)
        self.shape = (len(self.level), *as_pair(size, "Independent: size"))

    @property
    @np.errstate(all="ignore")
    def mean(self) -> npt.NDArray[np.float64]:
        return np.array(np.broadcast_to(self.level[:, np.newaxis, np.newaxis], self.shape))

    @property
    def root_shape(self) -> tuple[int, ...]:
        return self.shape

    def within(self, size: Any) -> Independent:
        return self._with(shape=(self.shape[0], *as_pair(size, "size")))

    @property
    @np.errstate(all="ignore")
    def _trace(self) -> float:  # type: ignore[override]
        return float((self.deviation**2).sum()) * self.shape[1] * self.shape[2]

    def _numbers(self) -> dict[str, Any]:
        return {"level": self.level, "deviation": self.deviation, "size": self.shape[1:]}

    def _check(self) -> None:
        _check_arrays({"level": self.level.shape[:1], "deviation": self.level.shape[:1]}, self)

    def _root(self, y: Array) -> Array:
        return np.asarray(y * self.deviation[:, np.newaxis, np.newaxis])

    def _root_t(self, v: Array) -> Array:
        return self._root(v)

    def _cov(self, v: Array) -> Array:
        return self._root(self._root(v))
