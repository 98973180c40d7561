"""The pictures of a unit's second order: its form's eigenfilters and eigenpatterns, and its most exciting image.

Pictures depend on the statistics of images: in the plain metric of pixels the strongest directions of a form are gratings that
images hardly contain.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .activation_patterns import Independent, Statistics, natural
from .arguments import Array, as_array4, as_count, check_finite, described, plural
from .backend import resolve
from .blocks import elsewhere
from .boundary import public
from .decoder import unit
from .errors import DataFormatError, InvalidValueError, ShapeError
from .files import File, read_npz, replacing, shown
from .gains import moments
from .network import Network, as_network
from .secondorder import Form, check_curvatures

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from scipy.sparse.linalg import LinearOperator

DENSE = 1000  # pixels up to which a form is written out: shares are exact, and no eigenvalue can be missed
TOLERANCE = 1e-4  # of eigenvalues, relative; with 1e-2 copies of multiple ones would be missed
PROBES = 8  # Gaussian images that estimate what the pictures leave unexplained
ALONG = 1e-9  # of the gradient: less than so much of it along a picture is none


@dataclass(frozen=True, eq=False)
class QuadraticUnit:
    """What a unit responds to, to the second order: ``response ≈ constant + linear·d + Σ eigenvalue · (filter·d)²``.

    d is an image of the receptive field about the mean of the statistics.

    Attributes
    ----------
    linear : ndarray of shape (C, H, W)
        The linear part about the mean: the decoded filter, where the statistics have no mean.
    linear_pattern : ndarray of shape (C, H, W)
        What images have where the linear part responds: the covariance times it.
    eigenvalues : ndarray of shape (n,)
        Largest first by size; positive ones excite, negative ones suppress, whatever the sign of the picture.
    filters : ndarray of shape (n, C, H, W)
        What the unit weighs: ``filter · d`` has variance 1 under the statistics.
    patterns : ndarray of shape (n, C, H, W)
        What images look like along each: the covariance times the filter.
    explained : ndarray of shape (n,)
        The share of each in the variance of the whole quadratic part under the statistics.
    explained_error : float
        The relative standard error of `explained`: 0 where it is exact.
    mean : ndarray of shape (C, H, W), or None
        The mean of the statistics that all is about.

    Notes
    -----
    Our choice; not in the paper. The reading of a quadratic form as a receptive field is that of Berkes and Wiskott (2006);
    the pictures are those that spike-triggered covariance finds from responses (Schwartz, Pillow, Rust and Simoncelli, 2006).
    """

    linear: Array
    linear_pattern: Array
    eigenvalues: Array
    filters: Array
    patterns: Array
    explained: Array
    explained_error: float = 0.0
    mean: Array | None = None

    def __repr__(self) -> str:
        size = "×".join(map(str, self.linear.shape))
        return f"<QuadraticUnit: {size}, {plural(len(self.eigenvalues), 'picture')}, {self.explained.sum():.0%} of q explained>"

    @public
    def respond(self, images: npt.ArrayLike) -> Array:
        """The responses, but for a constant, to images (N, C, H, W) of the size of the receptive field: (N,)."""
        d = as_array4(images, "respond", "images", "(N, C, H, W)")
        if d.shape[1:] != self.linear.shape:
            raise ShapeError(f"respond: images {d.shape}, and the unit sees {self.linear.shape}.")
        check_finite(d, "respond: images")
        d = d.astype(np.float64) - (0 if self.mean is None else self.mean)
        weights = np.tensordot(d, self.filters, axes=((1, 2, 3), (1, 2, 3)))
        return np.asarray(np.tensordot(d, self.linear, axes=3) + (weights**2) @ self.eigenvalues)

    @public
    def most_exciting(self, radius: float = 3.0) -> Array:
        """The image, about the mean, of so many standard deviations to which the unit responds most: (C, H, W).

        ``max ℓ(x) + q(x)`` over all x with ``xᵀ Σ⁻¹ x = radius²``, q being that of the pictures kept.

        Parameters
        ----------
        radius : float
            In standard deviations of the statistics, which also images of a given energy have: 3 is far, not impossible.

        Raises
        ------
        InvalidValueError
            If it is not a positive number.

        Notes
        -----
        A trust-region problem: ``y = ½ (ν − M)⁻¹ g`` with the one ν above the largest eigenvalue that gives ``‖y‖ = radius``. If
        the gradient has nothing along the strongest picture, that is added, with its own sign, to fill the radius (the
        "hard case"). A unit that is only suppressed, and has no gradient, has no exciting image: zeros.
        """
        return self._image(*self._extreme(radius, 1)[:2])

    @public
    def most_suppressing(self, radius: float = 3.0) -> Array:
        """The image, about the mean, of so many standard deviations to which the unit responds least: (C, H, W)."""
        return self._image(*self._extreme(radius, -1)[:2])

    @public
    def invariances(self, n: int = 2, radius: float = 3.0) -> Array:
        """Directions along which the most exciting image can change most freely, flattest first: (n, C, H, W).

        Eigenvectors of the form on the sphere of that radius, in the plane that touches it there (Berkes and Wiskott, 2006), each
        of one standard deviation. There are at most as many as pictures.
        """
        n = as_count(n, "invariances: n")
        if n > len(self.eigenvalues):
            raise InvalidValueError(
                f"invariances: there are {plural(len(self.eigenvalues), 'picture')}, and so no {n} directions."
            )
        along, beyond, shift = self._extreme(radius, 1)
        across = self._beyond
        y = np.append(along, beyond * across) if across else along
        if not y.any():
            raise InvalidValueError("invariances: the unit has no most exciting image.")
        values = np.append(self.eigenvalues, 0.0) if across else self.eigenvalues
        plane = np.linalg.svd(y[np.newaxis])[2][1:]  # an orthonormal basis of what touches the sphere there
        if n > len(plane):
            raise InvalidValueError(f"invariances: {plural(len(plane), 'direction')} can change there, not {n}.")
        found = np.linalg.eigh(plane @ np.diag(values - shift) @ plane.T)[1][:, ::-1].T @ plane
        parts = [(each[: len(along)], each[-1] / across if across else 0.0) for each in found[:n]]
        images = [self._image(*part) for part in parts]
        return np.stack([image * _sign(image, self.linear) for image in images])

    @public
    def tiles(self, radius: float = 3.0) -> tuple[Array, list[str]]:
        """The unit on one line, to draw: `montage` takes the tiles, (n + 4, C, H, W), and their labels.

        Linear filter, its pattern, the most exciting and the most suppressing image of that radius; then the pictures, as
        patterns: the excitatory ones before the suppressive ones, each under its eigenvalue relative to the largest.

        Examples
        --------
        >>> from decoding import montage
        >>> one = np.ones((1, 1, 2, 2))
        >>> unit = QuadraticUnit(one[0], one[0], np.array([2.0]), one / 2, one / 2, np.ones(1))
        >>> tiles, labels = unit.tiles()
        >>> labels
        ['filter', 'pattern', 'exciting', 'suppressing', '+1.00']
        >>> picture = montage(tiles, labels=labels, columns=len(tiles))
        """
        order = np.argsort(-self.eigenvalues, kind="stable")
        first = [self.linear, self.linear_pattern, self.most_exciting(radius), self.most_suppressing(radius)]
        largest = np.abs(self.eigenvalues).max(initial=0.0) or 1.0
        labels = [f"{value:+.2f}" for value in self.eigenvalues[order] / largest]
        names = ["filter", "pattern", "exciting", "suppressing"]
        return np.concatenate([np.stack(first), self.patterns[order]]), [*names, *labels]

    @property
    @np.errstate(all="ignore")
    def _along(self) -> Array:
        """The gradient along each picture."""
        return np.tensordot(self.patterns, self.linear, axes=3)

    @property
    @np.errstate(all="ignore")
    def _beyond(self) -> float:
        """The length of the gradient across all pictures."""
        whole = float(np.vdot(self.linear, self.linear_pattern))
        rest = whole - float((self._along**2).sum())
        return math.sqrt(rest) if rest > ALONG * whole else 0.0

    def _image(self, along: Array, beyond: float) -> Array:
        """The image of so much of each picture, and of the gradient across them all."""
        across = self.linear_pattern - np.tensordot(self._along, self.patterns, axes=1)
        return np.asarray(np.tensordot(along, self.patterns, axes=1) + beyond * across)

    def _extreme(self, radius: float, sign: int) -> tuple[Array, float, float]:
        """How much of each picture, and of the gradient across them, is most (or least, of sign −1); and ν."""
        if (
            isinstance(radius, bool)
            or not isinstance(radius, (int, float, np.integer, np.floating))
            or not 0 < radius < math.inf
        ):
            raise InvalidValueError(
                f"radius must be a positive number of standard deviations, not {described(radius)}."
            )
        g = np.append(self._along, self._beyond) * sign
        values = np.append(self.eigenvalues, 0.0) * sign
        there = np.append(np.ones(len(values) - 1, bool), self._beyond > 0)
        top = values[there].max(initial=0.0) if self._beyond else max(values[:-1].max(initial=-math.inf), 0.0)
        gap, size = top - values, float(np.linalg.norm(g))
        strongest = gap <= ALONG * np.abs(values).max(initial=0.0)
        g[strongest & (np.abs(g) <= ALONG * size)] = 0

        def length(shift: float) -> float:
            with np.errstate(divide="ignore", invalid="ignore"):
                return float(np.linalg.norm(np.where(g == 0, 0, g / (2 * (gap + shift)))))

        shift = 0.0
        if length(0.0) > radius:
            from scipy.optimize import brentq

            low = float(np.linalg.norm(g[strongest])) / (2 * radius) / 2
            high = size / (2 * radius) * 2
            low = low if low > 0 else high * 1e-18
            shift = brentq(lambda t: length(t) - radius, low, high, xtol=1e-300, rtol=1e-14)
        with np.errstate(divide="ignore", invalid="ignore"):
            y = np.where(g == 0, 0, g / (2 * (gap + shift)))
        left = radius**2 - float(y @ y)
        if not shift and left > 0 and strongest[:-1].any():  # the hard case
            first = int(np.flatnonzero(strongest)[0])
            y[first] = math.sqrt(left)
        beyond = y[-1] / self._beyond if self._beyond else 0.0
        return y[:-1], float(beyond), float(top + shift) * sign

    def save(self, path: File) -> None:
        """Write it to a file, an ``.npz``, by path or open already; `load` reads it."""
        arrays = {each.name: getattr(self, each.name) for each in fields(self)}
        with replacing(path) as file:
            np.savez(file, **{name: value for name, value in arrays.items() if value is not None})

    @classmethod
    def load(cls, path: File) -> QuadraticUnit:
        """Read what `save` wrote, by path or from an open file.

        Raises
        ------
        DataFormatError
            If the file is no such file.
        """
        content = read_npz(path, "load: path", "unit that QuadraticUnit.save wrote")
        try:
            found: dict[str, Any] = {each.name: content[each.name] for each in fields(cls) if each.name in content}
            found["explained_error"] = float(found["explained_error"])
            return cls(**found)
        except Exception as error:
            raise DataFormatError(f"{shown(path)}: it holds no unit that QuadraticUnit.save wrote: {error}") from error


@public
def quadratic_form(net: Network, layer: int | str, k: int, *, to: int | str = 0, backend: Any = None) -> LinearOperator:
    """The quadratic part of a unit's response as an operator: ``q(x) = xᵀ Q x``.

    Parameters
    ----------
    net : Network
        With curvatures: see `quadratize`.
    layer : int or str
        Number (from 1) or name.
    k : int
        The unit, from 0.
    to : int or str
        The layer whose responses x are; the image unless given.
    backend : object or module, optional
        The operators to use; `decoding.reference` unless given.

    Returns
    -------
    scipy.sparse.linalg.LinearOperator of shape (P, P)
        Symmetric, on the P = C·H·W numbers of the unit's receptive field, raveled.

    Raises
    ------
    UnknownLayerError
        If there is no such layer or unit, or it sees nothing of `to`.
    InvalidValueError
        If the network has no curvatures.

    Notes
    -----
    Our choice; not in the paper. ``2 Q`` is the Hessian of the smoothed network, in which each layer that is not linear is
    ``gain · z + ½ · curvature · z²``. Pads drop out, as in decoding. A product costs about a forward pass of the
    field and its decoding.

    Examples
    --------
    >>> from decoding import Conv, Network, ReLU
    >>> net = Network([Conv([[[[1, -1]]]]), ReLU(gain=0.5, curvature=2)])
    >>> quadratic_form(net, 2, 0) @ np.eye(2)
    array([[ 1., -1.],
           [-1.,  1.]])
    """
    return _operator(_form(net, layer, k, to, backend, "quadratic_form"))


@public
def decode_quadratic(
    net: Network,
    layer: int | str,
    k: int | Sequence[int],
    *,
    to: int | str = 0,
    n: int = 8,
    statistics: Statistics | None = None,
    backend: Any = None,
    executor: Executor | None = None,
) -> Any:
    """Picture what a unit responds to, to the second order.

    Parameters
    ----------
    net : Network
        With curvatures: see `quadratize`.
    layer : int or str
        Number (from 1) or name.
    k : int, or sequence of int
        The unit or units, from 0.
    to : int or str
        The layer to picture it in; the image unless given. All is then about the mean of that layer's responses.
    n : int
        How many pictures.
    statistics : Statistics, optional
        Of images of the size of the receptive field, or larger where they are stationary: `natural` unless given, its contrast that of
        the images that `quadratize` saw, if any. In a layer between, responses taken as independent, of their own deviations.
    backend : object or module, optional
        The operators to use; `decoding.reference` unless given.
    executor : concurrent.futures.Executor, optional
        Whose workers picture the units, one at a time each, with the same result: :doc:`large-work`.

    Returns
    -------
    QuadraticUnit
        ``.linear``, ``.eigenvalues``, ``.filters``, ``.patterns``, ``.explained``, ``.most_exciting()``, …; a list of them for
        several units.

    Raises
    ------
    UnknownLayerError
        If there is no such layer or unit, or it sees nothing of `to`.
    InvalidValueError
        If the network has no curvatures, `n` is more than the field has numbers, or the pictures are not found.
    ShapeError
        If the statistics do not fit the field.

    See Also
    --------
    quadratize : Makes such a network.
    decode_filter : The linear part alone.

    Notes
    -----
    Our choice; not in the paper. With ``Σ = B Bᵀ`` the covariance, e and λ eigenvectors and eigenvalues of ``Bᵀ Q B``: filters
    ``Q B e / λ``, patterns ``B e``. The start is fixed, and so are signs: along the linear part where it has one along the
    picture. Two equal eigenvalues, as of a complex cell, have no axes of their own.

    Examples
    --------
    >>> from decoding import Conv, Network, ReLU, covariance
    >>> net = Network([Conv([[[[1, -1]]]]), ReLU(gain=0.5, curvature=2)])
    >>> unit = decode_quadratic(net, 2, 0, n=1)
    >>> (np.sign(unit.eigenvalues), (unit.filters / np.abs(unit.filters).max()).round(6) + 0)
    (array([1.]), array([[[[ 1., -1.]]]]))
    """
    n = as_count(n, "decode_quadratic: n")
    ks: Any = k if np.ndim(k) else [k]
    work = _Picturing(net, layer, ks[0], to, n, statistics, backend) if len(ks) else None
    if executor is None or work is None:
        found = [work(each) for each in ks] if work else []
    else:
        from .executing import check_executor

        check_executor(executor, "decode_quadratic")
        named = {"the network": net, "the backend": work.backend, "the statistics": statistics}
        found = list(elsewhere(work.backend, work, ks, executor, "decode_quadratic", named, hold=False))
    return found if ks is k else found[0]


class _Picturing:
    """What makes the pictures of a unit, given its number: all units of a layer have one field and one root."""

    def __init__(
        self, net: Network, layer: Any, k: Any, to: Any, n: int, statistics: Statistics | None, backend: Any
    ) -> None:
        self.net, self.layer, self.to, self.n, self.backend = net, layer, to, n, resolve(backend)
        form = self.form(k)
        self.root = _Root(_statistics(net, form, statistics))
        if n > self.root.pixels:
            raise InvalidValueError(
                f"decode_quadratic: n is {n}, and the field has {self.root.pixels} numbers: {form.shape}."
            )

    def __setstate__(self, state: dict[str, Any]) -> None:
        import scipy.linalg  # noqa: F401  # first, so that its BLAS is held to as many threads as here

        vars(self).update(state)

    def form(self, k: Any) -> Form:
        return _form(self.net, self.layer, k, self.to, self.backend, "decode_quadratic")

    def __call__(self, k: Any) -> QuadraticUnit:
        return _decoded(self.form(k), self.root, self.n)


class _Root:
    """Statistics, and where they are small a root of their covariance as a matrix, (pixels, rank)."""

    def __init__(self, statistics: Statistics) -> None:
        self.statistics, self.pixels = statistics, math.prod(statistics.shape)

    @cached_property
    @np.errstate(all="ignore")
    def matrix(self) -> Array:
        basis = np.eye(self.pixels).reshape(self.pixels, *self.statistics.shape)
        spread, axes = np.linalg.eigh(self.statistics.cov(basis).reshape(self.pixels, self.pixels))
        kept = spread > self.pixels * np.finfo(float).eps * spread[-1]
        return np.asarray(axes[:, kept] * np.sqrt(spread[kept]))


def _decoded(form: Form, root: _Root, n: int) -> QuadraticUnit:
    given, mean, linear = root.statistics, root.statistics.mean, form.linear.astype(np.float64)
    if mean is not None:
        linear = linear + 2 * form.products(mean[np.newaxis].astype(form.dtype))[0]
    if not form.bent:  # nothing bends on the way
        none = np.zeros((0, *form.shape))
        return QuadraticUnit(linear, given.cov(linear), np.zeros(0), none, none, np.zeros(0), 0.0, mean)
    values, patterns, whole, error = (_written_out if root.pixels <= DENSE else _searched)(form, root, n)
    filters = form.products(patterns.astype(form.dtype)).astype(np.float64)
    some = values != 0
    filters[some] /= values[some, np.newaxis, np.newaxis, np.newaxis]
    signs = np.array([_sign(pattern, linear) for pattern in patterns]).reshape(-1, 1, 1, 1)
    explained = values**2 / whole if whole else np.zeros_like(values)
    return QuadraticUnit(linear, given.cov(linear), values, filters * signs, patterns * signs, explained, error, mean)


def _form(net: Network, layer: int | str, k: int, to: int | str, backend: Any, function: str) -> Form:
    as_network(net, function)
    top, bottom = net.index(layer), net.index(to)
    k = unit(net, top, k, function)
    net.check_weights(top, bottom)
    net.receptive_field(top, within=bottom)  # refuses where no path leads there
    check_curvatures(net, function)
    return Form(net, top, k, bottom, backend)


def _operator(form: Form) -> LinearOperator:
    from scipy.sparse.linalg import LinearOperator

    pixels = math.prod(form.shape)

    def multiply(columns: Array) -> Array:
        vectors = np.asarray(columns).reshape(pixels, -1).T.reshape(-1, *form.shape)
        with np.errstate(all="ignore"):  # the caller of `quadratic_form` multiplies later, by himself
            return np.asarray(form.products(vectors).reshape(len(vectors), pixels).T)

    products = dict.fromkeys(("matvec", "rmatvec", "matmat", "rmatmat"), multiply)
    return LinearOperator((pixels, pixels), dtype=form.dtype, **products)


def _statistics(net: Network, form: Form, given: Statistics | None) -> Statistics:
    if given is None and form.bottom:
        pair = net.moments.get(form.bottom) or moments(net)[form.bottom]
        if pair is None:
            raise InvalidValueError(
                f"decode_quadratic: the moments of layer {form.bottom} are not known. Give images to quadratize, or statistics."
            )
        return Independent(pair[0], pair[1], form.shape[1:])
    if given is None:
        return prior(net, form.shape)
    if not isinstance(given, Statistics):
        raise InvalidValueError(
            f"decode_quadratic: statistics must be made by natural, autocovariance or covariance, and are {described(given)}."
        )
    if given.shape[0] != form.shape[0]:
        raise ShapeError(
            f"decode_quadratic: statistics of {plural(given.shape[0], 'channel')}, {given.shape}, for a field of {form.shape}."
        )
    return given.within(form.shape[1:])


def prior(net: Network, shape: tuple[int, int, int]) -> Statistics:
    """Natural scenes of that size, (C, H, W), with the contrast of the images that `quadratize` saw, if any."""
    scenes = natural(shape[1:], channels=shape[0])
    seen = net.moments.get(0)
    if seen is None:
        return scenes
    energy = float((seen[1] ** 2).sum()) * math.prod(shape[1:])
    return scenes.scaled(math.sqrt(energy / scenes.energy))


def _written_out(form: Form, root: _Root, n: int) -> tuple[Array, Array, float, float]:
    """Eigenvalues, patterns, the sum of the squares of all eigenvalues and its relative error, of a form as a matrix."""
    from scipy.linalg import eigh

    basis = np.eye(root.pixels, dtype=form.dtype).reshape(root.pixels, *form.shape)
    matrix = form.products(basis).reshape(root.pixels, root.pixels).astype(np.float64)
    inner = root.matrix.T @ matrix @ root.matrix
    inner = (inner + inner.T) / 2
    rank = len(inner)
    ends = [None] if 2 * n >= rank else [(0, n - 1), (rank - n, rank - 1)]
    pairs = [eigh(inner, subset_by_index=end) for end in ends]
    values, vectors = np.concatenate([p[0] for p in pairs]), np.concatenate([p[1] for p in pairs], axis=1)
    order = np.argsort(-np.abs(values), kind="stable")[:n]
    patterns = (root.matrix @ vectors[:, order]).T.reshape(-1, *form.shape)
    return values[order], patterns, float((inner**2).sum()), 0.0


def _searched(form: Form, root: _Root, n: int) -> tuple[Array, Array, float, float]:
    """The same of a form too large to write out: Lanczos' method from a fixed start, and probes of what it leaves."""
    from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh

    given, shape = root.statistics, root.statistics.root_shape
    size = math.prod(shape)

    def inner(vector: Array) -> Array:
        images = given.root(vector.reshape(1, *shape))
        return np.asarray(given.root_t(form.products(images.astype(form.dtype)))).reshape(size)

    random = np.random.default_rng(0)
    operator = LinearOperator((size, size), matvec=inner, dtype=np.float64)
    try:
        values, vectors = eigsh(operator, k=n, which="LM", v0=random.standard_normal(size), tol=TOLERANCE)
    except ArpackNoConvergence as failure:
        found = ", ".join(f"{value:.3g}" for value in failure.eigenvalues) or "none"
        raise InvalidValueError(
            f"decode_quadratic: of {plural(n, 'eigenvalue')} only these were found: {found}. Ask for fewer pictures."
        ) from failure
    order = np.argsort(-np.abs(values), kind="stable")
    values, vectors = values[order], vectors[:, order]
    left = [_left(inner, vectors, random.standard_normal(size)) for _ in range(PROBES)]
    whole = float((values**2).sum()) + float(np.mean(left))
    spread = float(np.std(left, ddof=1)) / math.sqrt(PROBES)
    return values, given.root(vectors.T.reshape(n, *shape)), whole, spread / whole if whole else 0.0


def _left(inner: Callable[[Array], Array], vectors: Array, probe: Array) -> float:
    """What the form makes of a probe, without what the eigenvectors have in it."""
    made = inner(probe - vectors @ (vectors.T @ probe))
    made = made - vectors @ (vectors.T @ made)
    return float(made @ made)


def _sign(picture: Array, linear: Array) -> float:
    """The sign that turns a picture along the linear part; if that has nothing along it, its first large entry positive."""
    along = float(np.vdot(picture, linear))
    if abs(along) > 1e-6 * float(np.linalg.norm(picture) * np.linalg.norm(linear)):
        return math.copysign(1.0, along)
    flat = picture.ravel()
    if not flat.size:
        return 1.0
    return math.copysign(1.0, flat[int((np.abs(flat) >= 0.9 * np.abs(flat).max()).argmax())])
