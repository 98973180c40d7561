"""Ways to invert a convolutional layer, from section 2 of the paper, to compare substitution with.

Each takes the responses of a bank to an image, ``y = correlate(image, filters)``, and returns an estimate of the image.
`border` says how far the windows reached past the edge of the image, into zeros:

========  =====================  ============================
border    rows of the response   windows
========  =====================  ============================
valid     H − h + 1              inside the image
same      H                      centred on each pixel
full      H + h − 1              all that touch the image
========  =====================  ============================

What each cannot do:

=================  ====================================================================================================
`adjoint`          It is no inverse: the image comes back blurred by the filter's autocorrelation, and scaled.
`turned`           It is no inverse either: the filter is applied twice in one direction, which shifts what is not symmetric.
`fourier`          Frequencies that the filter removes are lost, and those that it weakens drown in noise and rounding. With
                   another border than full, missing responses count as zeros, which leaves stripes.
`wiener`           It loses the same frequencies, but keeps noise down. The noise must be known, and the image is blurred.
`linear_system`    There are too many unknowns (valid), or no image fits (full, with noise). The matrix has a column for each
                   pixel, so images must be small.
=================  ====================================================================================================
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from . import reference
from .arguments import Array, Pads, as_array, as_array4, as_pair, brief, check_finite, described, plural, scaled_down
from .backend import resolve
from .boundary import public
from .errors import InvalidValueError, ShapeError

BORDERS = ("valid", "same", "full")
Float64 = npt.NDArray[np.float64]


@public
def respond(images: npt.ArrayLike, filters: npt.ArrayLike, *, border: str = "valid", backend: Any = None) -> Array:
    """Correlate images with a bank, with one of the three borders. This is the operation to be inverted.

    ``y[n,k,i,j] = Σ_{c,u,v} filters[k,c,u,v] · x[n,c, i+u−top, j+v−left]``.

    Parameters
    ----------
    images : array_like of shape (N, C, H, W)
    filters : array_like of shape (K, C, h, w)
        One filter is a bank of one.
    border : {"valid", "same", "full"}
    backend : object or module, optional
        The operators to use; `decoding.reference` unless given.

    Returns
    -------
    ndarray of shape (N, K, H', W')
        H' is H − h + 1, H, or H + h − 1; likewise W'.

    Raises
    ------
    InvalidValueError
        If `border` is none of the three, or an array is not finite.
    ShapeError
        If images and filters do not fit.

    Examples
    --------
    >>> respond([[[[1, 2, 3]]]], [[[[1, 10]]]], border="full")
    array([[[[10., 21., 32.,  3.]]]])
    """
    bank, images = _checked_bank("respond", filters), as_array4(images, "respond", "images", "(N, C, H, W)")
    check_finite(images, "respond: images")
    return np.asarray(resolve(backend, "correlate").correlate(images, bank, None, stride=1, pad=_pads(bank, border)))


@public
def adjoint(responses: npt.ArrayLike, filters: npt.ArrayLike, *, border: str = "valid", backend: Any = None) -> Array:
    """Substitute the filters for the responses: the transpose of the correlation.

    ``x̂[n,c, i+u−top, j+v−left] += y[n,k,i,j] · filters[k,c,u,v]``.

    Parameters
    ----------
    responses : array_like of shape (N, K, H', W')
    filters : array_like of shape (K, C, h, w)
    border : {"valid", "same", "full"}
        The border with which the responses were made.
    backend : object or module, optional
        The operators to use; `decoding.reference` unless given.

    Returns
    -------
    ndarray of shape (N, C, H, W)

    Raises
    ------
    InvalidValueError
        If `border` is none of the three, or an array is not finite.
    ShapeError
        If responses and filters do not fit.

    See Also
    --------
    decoding.reference.substitute
    turned : The other reading of "the transposed filter".

    Notes
    -----
    Paper: section 2. As the forward pass of common libraries is a correlation, "convolution with the transposed filter" is this
    operation, which equals the paper's substitution.

    Examples
    --------
    >>> adjoint([[[[1, 100]]]], [[[[1, 2]]]])
    array([[[[  1., 102., 200.]]]])
    """
    bank, responses = _checked_bank("adjoint", filters), as_array4(responses, "adjoint", "responses", "(N, K, H, W)")
    check_finite(responses, "adjoint: responses")
    top, bottom, left, right = _pads(bank, border)
    image = np.asarray(resolve(backend, "substitute").substitute(responses, bank, stride=1))
    rows, columns = image.shape[2] - bottom, image.shape[3] - right
    if rows <= top or columns <= left:
        raise ShapeError(f"adjoint: responses {np.shape(responses)} are too small for border {border!r}.")
    return image[:, :, top:rows, left:columns]


@public
def turned(responses: npt.ArrayLike, filters: npt.ArrayLike, *, border: str = "valid", backend: Any = None) -> Array:
    """Substitute the filters, turned by 180°, for the responses.

    ``x̂[n,c, i+u−top, j+v−left] += y[n,k,i,j] · filters[k,c, h−1−u, w−1−v]``.

    Parameters, returns and errors are those of `adjoint`.

    See Also
    --------
    decoding.baselines.turned : The same for all layers of a network.

    Notes
    -----
    Paper: section 2, "convolution with the transposed filter", taken literally. It would be the transpose of a layer that
    convolves, but the layers here and in the paper correlate.

    Examples
    --------
    >>> turned([[[[1, 100]]]], [[[[1, 2]]]])
    array([[[[  2., 201., 100.]]]])
    """
    return adjoint(responses, _checked_bank("turned", filters)[:, :, ::-1, ::-1], border=border, backend=backend)


@public
def fourier(responses: npt.ArrayLike, filters: npt.ArrayLike, *, border: str = "valid") -> Float64:
    """Divide by the filter's spectrum.

    ``X̂ = Y / F̄`` where F is not zero, and ``X̂ = 0`` where it is. For a bank, least squares are taken at each frequency.

    Parameters
    ----------
    responses : array_like of shape (N, K, H', W')
    filters : array_like of shape (K, C, h, w)
    border : {"valid", "same", "full"}
        The border with which the responses were made. Only "full" has all responses; with the others, missing ones count as zeros.

    Returns
    -------
    ndarray of shape (N, C, H, W)

    Raises
    ------
    InvalidValueError
        If `border` is none of the three, or an array is not finite.
    ShapeError
        If responses and filters do not fit.

    See Also
    --------
    lost_frequencies : How much of an image a bank cannot give back.
    wiener : Divides less where noise is strong.

    Notes
    -----
    Paper: section 2, "a direct division, which obviously not always exists due to zeros". Our choice: components of
    the image at which the spectrum is zero (to rounding) are left out.

    Examples
    --------
    >>> image = [[[[3, 1, 4, 1, 5]]]]
    >>> fourier(respond(image, [[[[1, 3]]]], border="full"), [[[[1, 3]]]], border="full").round(9)
    array([[[[3., 1., 4., 1., 5.]]]])
    """
    return _by_frequency("fourier", responses, filters, border, _reciprocal)


@public
def wiener(responses: npt.ArrayLike, filters: npt.ArrayLike, *, noise: float, border: str = "valid") -> Float64:
    """Divide by the filter's spectrum, but less at frequencies where noise is stronger than signal.

    ``X̂ = F · Y / (|F|² + noise)``; for a bank, ``(F Fᴴ + noise)⁻¹ F Y`` at each frequency.

    Parameters
    ----------
    responses : array_like of shape (N, K, H', W')
    filters : array_like of shape (K, C, h, w)
    noise : float
        The power of the noise in the responses, divided by that of the image; above 0.
    border : {"valid", "same", "full"}
        The border with which the responses were made.

    Returns
    -------
    ndarray of shape (N, C, H, W)

    Raises
    ------
    InvalidValueError
        If `noise` is not above 0, `border` is none of the three, or an array is not finite.
    ShapeError
        If responses and filters do not fit.

    See Also
    --------
    fourier : The limit without noise.

    Notes
    -----
    Paper: section 2, "error-minimization methods like Wiener filter". One ratio for all frequencies is our choice.

    Examples
    --------
    >>> wiener([[[[6]]]], [[[[2]]]], noise=2)      # 2 · 6 / (2² + 2)
    array([[[[2.]]]])
    """
    if not isinstance(noise, (float, int, np.floating, np.integer)) or not 0 < noise <= sys.float_info.max:
        raise InvalidValueError(f"wiener: noise must be a ratio of powers above 0, not {described(noise)}.")
    return _by_frequency("wiener", responses, filters, border, lambda s, _: s / (s * s + noise))


@public
def lost_frequencies(filters: npt.ArrayLike, shape: tuple[int, int]) -> int:
    """Count the components of an image that have no effect on the responses of a bank.

    Parameters
    ----------
    filters : array_like of shape (K, C, h, w)
    shape : (H, W)
        The size of the image.

    Returns
    -------
    int
        How many of the C · (H + h − 1) · (W + w − 1) frequencies of the full border.

    Raises
    ------
    ShapeError
        If `filters` do not have four axes, or `shape` is not a pair of integers that are at least 1.
    InvalidValueError
        If the filters are not finite.

    Examples
    --------
    >>> lost_frequencies([[[[1, -1]]]], (1, 5))      # the mean
    1
    """
    bank, (rows, columns) = _checked_bank("lost_frequencies", filters), as_pair(shape, "lost_frequencies: shape")
    _, s, _ = np.linalg.svd(_spectra(bank, (rows + bank.shape[2] - 1, columns + bank.shape[3] - 1)))
    unseen = max(0, bank.shape[1] - bank.shape[0]) * s.shape[0] * s.shape[1]  # more channels than filters
    return int((s <= _cutoff(s)).sum()) + int(unseen)


class LinearSystem(NamedTuple):
    """The solution of ``A x = b``, and whether there is one.

    Attributes
    ----------
    image : ndarray of shape (C, H, W)
        The solution: of all x with the least ``|A x − b|``, the smallest.
    unknowns, equations : int
        The numbers of columns and rows of A.
    rank, augmented_rank : int
        The ranks of A and of [A b]. If the second is larger, no image fits exactly; if the first is below `unknowns`, many do.
    residual : float
        ``|A x − b| / |b|``; 0 if b is 0.
    """

    image: Float64
    unknowns: int
    equations: int
    rank: int
    augmented_rank: int
    residual: float

    def __repr__(self) -> str:
        return brief(self, self._fields)


@public
def linear_system(response: npt.ArrayLike, filters: npt.ArrayLike, *, border: str = "valid") -> LinearSystem:
    """Solve the correlation as a system of linear equations, by least squares.

    ``A x = b``, with a row of A for each response, and a column for each pixel.

    Parameters
    ----------
    response : array_like of shape (K, H', W')
        The responses to one image. A has K·H'·W' rows and C·H·W columns, so keep images small.
    filters : array_like of shape (K, C, h, w)
    border : {"valid", "same", "full"}
        The border with which the response was made.

    Returns
    -------
    LinearSystem
        ``.image``, ``.unknowns``, ``.equations``, ``.rank``, ``.augmented_rank``, ``.residual``.

    Raises
    ------
    InvalidValueError
        If `border` is none of the three, or an array is not finite.
    ShapeError
        If response and filters do not fit.

    Notes
    -----
    Paper: section 2 and its footnote, the Rouché–Capelli theorem. The ranks depend on the border. With valid, one filter gives
    fewer equations than there are unknowns, so many images have the same responses; with full, it gives more.

    Examples
    --------
    >>> exact = linear_system([[[10, 21, 2]]], [[[[1, 10]]]], border="full")
    >>> exact.rank, exact.augmented_rank, exact.image.round(9)
    (2, 2, array([[[1., 2.]]]))
    >>> linear_system([[[10, 21, 5]]], [[[[1, 10]]]], border="full").augmented_rank      # no image has these responses
    3
    """
    bank = _checked_bank("linear_system", filters)
    b = as_array(response, "linear_system: response")
    if b.ndim != 3:
        hint = " For the first of several images, write responses[0]." if b.ndim == 4 else ""
        raise ShapeError(f"linear_system: response must have the three axes (K, H, W), not the shape {b.shape}.{hint}")
    b = _responses("linear_system", b[np.newaxis], bank)
    shape = _image_shape("linear_system", b, bank, border)
    pixels = int(np.prod(shape))
    impulses = np.eye(pixels).reshape(pixels, *shape)
    # Scaled to a largest value of about 1, nothing overflows, and the ranks treat both alike.
    sizes = [int(np.frexp(np.abs(array).max())[1]) for array in (bank, b)]
    bank, b = np.ldexp(bank, -sizes[0]), np.ldexp(b, -sizes[1]).ravel()
    matrix = reference.correlate(impulses, bank, pad=_pads(bank, border)).reshape(pixels, -1).T
    x = np.linalg.lstsq(matrix, b, rcond=None)[0]
    rank = int(np.linalg.matrix_rank(matrix))
    augmented = int(np.linalg.matrix_rank(np.column_stack([matrix, b])))
    size = np.linalg.norm(b)
    residual = float(np.linalg.norm(matrix @ x - b) / size) if size else 0.0
    image = np.ldexp(x, sizes[1] - sizes[0]).reshape(shape)
    return LinearSystem(image, pixels, len(b), rank, augmented, residual)


@public
def recovery_error(recovered: npt.ArrayLike, image: npt.ArrayLike) -> float:
    """Measure how much of an image is missing from what was recovered, up to a factor.

    ``min_a |a · recovered − image|² / |image|² = 1 − <recovered, image>² / (|recovered|² |image|²)``.

    Parameters
    ----------
    recovered, image : array_like of the same shape

    Returns
    -------
    float
        From 0 (all of the image is there, up to a factor) to 1 (nothing of it).

    Raises
    ------
    ShapeError
        If the shapes differ.
    InvalidValueError
        If the image is zero everywhere, or an array is not finite.

    Examples
    --------
    >>> recovery_error([[2, 2]], [[5, 5]]), recovery_error([[1, 0]], [[1, 1]])
    (0.0, 0.5)
    """
    a = as_array(recovered, "recovery_error: recovered").astype(np.float64)
    b = as_array(image, "recovery_error: image").astype(np.float64)
    if a.shape != b.shape:
        raise ShapeError(f"recovery_error: recovered {a.shape} and image {b.shape} have different shapes.")
    check_finite(a, "recovery_error: recovered")
    check_finite(b, "recovery_error: image")
    if not b.any():
        raise InvalidValueError("recovery_error: the image is zero everywhere, so nothing of it can be missing.")
    if not a.any():
        return 1.0
    # A factor does not matter. Scaled to a largest value of about 1, no square overflows, and none that matters underflows;
    # scaling by powers of 2 rounds nothing.
    a, b = scaled_down(a, None), scaled_down(b, None)
    return max(0.0, float(1 - np.vdot(a, b) ** 2 / (np.vdot(a, a) * np.vdot(b, b))))


def _by_frequency(
    function: str,
    responses: npt.ArrayLike,
    filters: npt.ArrayLike,
    border: str,
    gain: Callable[[Float64, float], Float64],
) -> Float64:
    """Solve ``F̄ X = Y`` at each frequency by singular values: each value s of F̄ is inverted to ``gain(s, cutoff)``."""
    bank = _checked_bank(function, filters)
    y = _responses(function, responses, bank)
    _, rows, columns = _image_shape(function, y, bank, border)
    top, _, left, _ = _pads(bank, border)
    period = (rows + bank.shape[2] - 1, columns + bank.shape[3] - 1)
    # The period wraps around, so responses before the first one come last. Missing responses are zero.
    canvas = np.zeros((*y.shape[:2], *period))
    canvas[:, :, : y.shape[2], : y.shape[3]] = y
    spectrum = np.fft.fft2(np.roll(canvas, (-top, -left), axis=(2, 3))).transpose(2, 3, 1, 0)  # (P, Q, K, N)
    u, s, vh = np.linalg.svd(_spectra(bank, period), full_matrices=False)
    inverted = gain(s, _cutoff(s))[..., np.newaxis] * (u.conj().swapaxes(2, 3) @ spectrum)
    image = np.fft.ifft2((vh.conj().swapaxes(2, 3) @ inverted).transpose(3, 2, 0, 1)).real
    return np.asarray(image[:, :, :rows, :columns])


def _spectra(bank: Float64, period: tuple[int, int]) -> npt.NDArray[np.complex128]:
    """F̄, the correlation's factor at each frequency: (P, Q, K, C)."""
    return np.asarray(np.fft.fft2(bank, period).conj().transpose(2, 3, 0, 1))


def _cutoff(s: Float64) -> float:
    """Singular values up to this are zero within rounding, compared with the largest."""
    return float(s.max() * s.shape[0] * s.shape[1] * np.finfo(np.float64).eps)


def _reciprocal(s: Float64, cutoff: float) -> Float64:
    return np.divide(1, s, out=np.zeros_like(s), where=s > cutoff)


def _checked_bank(function: str, filters: npt.ArrayLike) -> Float64:
    bank = as_array4(filters, function, "filters", "(K, C, h, w)")
    check_finite(bank, f"{function}: filters")
    if not len(bank):
        raise ShapeError(f"{function}: there are no filters: {bank.shape}.")
    return np.asarray(bank, np.float64)


def _responses(function: str, responses: npt.ArrayLike, bank: Float64) -> Float64:
    y = as_array4(responses, function, "responses", "(N, K, H, W)")
    check_finite(y, f"{function}: responses")
    if y.shape[1] != len(bank):
        raise ShapeError(
            f"{function}: {plural(y.shape[1], 'map')} for {plural(len(bank), 'filter')}: responses {y.shape}, filters {bank.shape}."
        )
    return np.asarray(y, np.float64)


def _pads(bank: Float64, border: str) -> Pads:
    if not isinstance(border, str) or border not in BORDERS:
        raise InvalidValueError(f"border must be one of {', '.join(map(repr, BORDERS))}, not {described(border)}.")
    h, w = bank.shape[2] - 1, bank.shape[3] - 1
    return {"valid": (0, 0, 0, 0), "same": (h // 2, h - h // 2, w // 2, w - w // 2), "full": (h, h, w, w)}[border]


def _image_shape(function: str, y: Float64, bank: Float64, border: str) -> tuple[int, int, int]:
    top, bottom, left, right = _pads(bank, border)
    rows = y.shape[2] + bank.shape[2] - 1 - top - bottom
    columns = y.shape[3] + bank.shape[3] - 1 - left - right
    if rows < 1 or columns < 1:
        raise ShapeError(
            f"{function}: responses {y.shape} are too small for border {border!r} and filters {bank.shape}."
        )
    return bank.shape[1], rows, columns
