"""What a decoded filter is made of, as in figure 6: the lower filters, with their places and weights."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from . import reference
from .arguments import Array, as_count
from .boundary import public
from .decoder import decode, unit, units
from .eigenpictures import quadratic_form
from .errors import InvalidValueError, UnknownLayerError
from .gains import moments
from .layers import Conv
from .network import Network, as_network
from .secondorder import check_curvatures
from .walks import times

MOST = 4096  # a unit may see at most so many numbers of a layer for its pairs to be listed


class Contribution(NamedTuple):
    """A lower unit that a filter is made of, with its weight and its place.

    Attributes
    ----------
    layer, k : int
        The lower unit: unit k of the convolution below. Where branches join before there is one, unit k of the layer that is
        read; for the first convolution, channel k of layer 0, the image.
    cell : (row, column)
        The place of the weight in the filter.
    pixel : (row, column)
        Where in the decoded filter the lower unit's own decoded filter begins: its first pixel.
    weight : float
        The weight in the filter, times the gains of the layers between.
    """

    layer: int
    k: int
    cell: tuple[int, int]
    pixel: tuple[int, int]
    weight: float


class PairContribution(NamedTuple):
    """Two units of a lower layer whose product counts in a unit's second order; if both are the same unit, its square counts.

    Attributes
    ----------
    layer : int
        The layer of both.
    first, second : (k, row, column)
        Each unit's channel, and its place in the window that the higher unit sees of that layer.
    weight : float
        Of the product, or the square, of the two responses about their means.
    strength : float
        The weight's size times the standard deviations of both responses. Lists are sorted by it.
    """

    layer: int
    first: tuple[int, int, int]
    second: tuple[int, int, int]
    weight: float
    strength: float


class UnitContribution(NamedTuple):
    """A unit of a lower layer, and what it adds to a higher unit's response: ``linear · d + square · d²``.

    Attributes
    ----------
    layer : int
        The layer of the lower unit.
    unit : (k, row, column)
        Its channel, and its place in the window that the higher unit sees of that layer.
    linear, square : float
        The weights of d, the deviation of its response from the mean, and of d².
    strength : float
        The standard deviation of the two terms together. Lists are sorted by it.
    """

    layer: int
    unit: tuple[int, int, int]
    linear: float
    square: float
    strength: float


@public
def unit_contributions(
    net: Network, layer: int | str, k: int, *, to: int | str, top: int | None = None, backend: Any = None
) -> list[UnitContribution]:
    """List the lower units that a unit's response is made of, linearly and by their squares: which, where and how strongly.

    They are sorted by ``√(ℓ_i² sd_i² + 2 Q_ii² sd_i⁴)``, the standard deviation of what unit i alone adds to the response.

    Parameters
    ----------
    net, layer, k, to, top, backend
        As for `pair_contributions`.

    Returns
    -------
    list of UnitContribution
        The strongest first.

    Raises
    ------
    UnknownLayerError, InvalidValueError
        As for `pair_contributions`.

    See Also
    --------
    contributions : The weights of the first order, at the convolution below.
    pair_contributions : What two lower units add together.

    Notes
    -----
    Our choice; not in the paper. As in `decode_quadratic`, responses of the lower layer are counted from their mean, and taken
    as Gaussian.

    Examples
    --------
    >>> from decoding import Conv, Network, ReLU
    >>> layers = [Conv([[[[1]]], [[[2]]]]), Conv([[[[1]], [[-1]]]]), ReLU(gain=1, curvature=2)]
    >>> net = Network(layers, moments={1: ([0, 0], [1, 2])})
    >>> unit_contributions(net, 3, 0, to=1, top=1)      # (x - y) + (x - y)²
    [UnitContribution(layer=1, unit=(1, 0, 0), linear=-1.0, square=1.0, strength=6.0)]
    """
    most = None if top is None else as_count(top, "unit_contributions: top")
    bottom, form, mean, spread, places = _between(net, layer, k, to, backend, "unit_contributions")
    impulse = np.zeros((1, net.channels(layer), 1, 1))
    impulse[0, k] = 1
    line = decode(net, layer, impulse, to=bottom, unpool="sum", backend=backend).ravel() + 2 * form @ mean
    square = np.diag(form)
    strength = np.sqrt((line * spread) ** 2 + 2 * (square * spread**2) ** 2)
    order = np.argsort(-strength, kind="stable")[: np.count_nonzero(strength)][:most]
    return [
        UnitContribution(bottom, places[i], float(line[i]), float(square[i]), float(strength[i]))
        for i in order.tolist()
    ]


@public
def pair_contributions(
    net: Network, layer: int | str, k: int, *, to: int | str, top: int | None = None, backend: Any = None
) -> list[PairContribution]:
    """List the pairs of lower units that a unit's second order is made of: which, where and how strongly.

    They are sorted by ``|Q_ij| · sd_i · sd_j``, twice that for two units that differ.

    Parameters
    ----------
    net : Network
        With curvatures and moments: see `quadratize`.
    layer : int or str
        Number (from 1) or name.
    k : int
        The unit, from 0.
    to : int or str
        The layer of the lower units, such as that of the block below.
    top : int, optional
        How many to list; unless given, all that are not zero.
    backend : object or module, optional
        The operators to use; `decoding.reference` unless given.

    Returns
    -------
    list of PairContribution
        The strongest first.

    Raises
    ------
    UnknownLayerError
        If there is no such layer or unit, or it sees nothing of `to`.
    InvalidValueError
        If the network has no curvatures, the moments of `to` are not known, or the unit sees more than 4,096 numbers of it.

    See Also
    --------
    contributions : The weights of the first order.
    unit_contributions : What each lower unit adds alone.
    decode_quadratic : The same form as pictures.

    Notes
    -----
    Our choice; not in the paper.

    Examples
    --------
    >>> from decoding import Conv, Network, ReLU
    >>> layers = [Conv([[[[1]]], [[[2]]]]), Conv([[[[1]], [[-1]]]]), ReLU(gain=0.5, curvature=2)]
    >>> net = Network(layers, moments={1: ([0, 0], [1, 3])})
    >>> for pair in pair_contributions(net, 3, 0, to=1, top=2):      # (x - y)²
    ...     print(pair)
    PairContribution(layer=1, first=(1, 0, 0), second=(1, 0, 0), weight=1.0, strength=9.0)
    PairContribution(layer=1, first=(0, 0, 0), second=(1, 0, 0), weight=-2.0, strength=6.0)
    """
    most = None if top is None else as_count(top, "pair_contributions: top")
    bottom, form, _, spread, places = _between(net, layer, k, to, backend, "pair_contributions")
    weights = np.triu(form) + np.triu(form, 1)
    strength = np.abs(weights) * spread * spread[:, np.newaxis]
    found = np.argwhere(strength)
    order = np.argsort(-strength[tuple(found.T)], kind="stable")[:most]
    return [
        PairContribution(bottom, places[i], places[j], float(weights[i, j]), float(strength[i, j]))
        for i, j in found[order].tolist()
    ]


def _between(
    net: Network, layer: int | str, k: int, to: int | str, backend: Any, function: str
) -> tuple[int, Array, Array, Array, list[Any]]:
    """The lower layer's number; a unit's quadratic form on the P numbers that it sees of it, (P, P); their means, deviations, places."""
    as_network(net, function)
    check_curvatures(net, function)
    bottom = net.index(to)
    shape = net.channels(bottom), *net.receptive_field(layer, within=bottom).size
    pixels = math.prod(shape)
    if pixels > MOST:
        raise InvalidValueError(
            f"{function}: the unit sees {pixels} numbers of layer {bottom}, and at most {MOST} are possible. Take a layer nearer to it."
        )
    pair = net.moments.get(bottom) or moments(net)[bottom]
    if pair is None:
        raise InvalidValueError(f"{function}: the moments of layer {bottom} are not known. Give images to quadratize.")
    form = quadratic_form(net, layer, k, to=bottom, backend=backend) @ np.eye(pixels)
    mean, spread = (np.broadcast_to(np.asarray(moment)[:, np.newaxis, np.newaxis], shape).ravel() for moment in pair)
    return bottom, form, mean, spread, list(np.ndindex(*shape))


@public
def contributions(net: Network, layer: int | str, k: int, *, top: int | None = None) -> list[Contribution]:
    """List the lower units that make up a filter: which, where and how strongly.

    Their weights are ``filters[k, c, u, v] · gains``: those of the filter, times the gains of the layers between (rectifiers,
    pools, batch norms). They do not depend on any image.

    Parameters
    ----------
    net : Network
    layer : int or str
        Number (from 1) or name. For a layer that is not a convolution, the convolution below it; where branches meet
        before there is one, the units that meet, each of weight 1 (times the gains).
    k : int
        The unit, from 0.
    top : int, optional
        How many to list; unless given, all whose weight is not zero.

    Returns
    -------
    list of Contribution
        Sorted by magnitude, the largest first; equal ones by layer, lower unit, row and column.

    Raises
    ------
    UnknownLayerError
        If there is no such layer, it has no unit k, or no convolution is below.
    UnsupportedLayerError
        If a layer that cannot be decoded stands in the way.
    InvalidValueError
        If weights are not finite, or `top` is not at least 1.

    See Also
    --------
    decode_filter : Their sum, in image space.
    unit_contributions, pair_contributions : Of the second order: lower units, with their squares, and pairs of them.

    Notes
    -----
    Paper: figure 6, where arrows lead from a filter to those of the layer below and "represent activations". Here they are
    weights, since a decoded filter is made of these. If no layer between two convolutions joins branches, the lower
    convolution is named, and what a pool between them spreads counts as one contribution. If branches have been joined,
    there is no single convolution below; then the layer that is read is named (our choice). In both cases the decoded filters
    of the lower units, each in its place and times its weight, add up to the decoded filter.

    Examples
    --------
    >>> from decoding import Conv, MaxPool, Network
    >>> net = Network([Conv([[[[1, 2]]], [[[3, 4]]]]), MaxPool((1, 2)), Conv([[[[5, 0]], [[-6, 7]]]])])
    >>> for contribution in contributions(net, 3, 0, top=2):
    ...     print(contribution)
    Contribution(layer=1, k=1, cell=(0, 1), pixel=(0, 2), weight=7.0)
    Contribution(layer=1, k=1, cell=(0, 0), pixel=(0, 0), weight=-6.0)
    """
    as_network(net, "contributions")
    k, most = unit(net, layer, k, "contributions"), None if top is None else as_count(top, "contributions: top")
    net.check_weights(layer)
    number, found = _beneath(net, net.index(layer), k)
    if found is None:
        return []
    k, factor = found
    if not number:
        raise UnknownLayerError(f"contributions: layer {net.index(layer)} has no convolution in it or below it.")
    listed = (_weighed if isinstance(net.layers[number - 1], Conv) else _joined)(net, number, k, factor)
    listed.sort(key=lambda contribution: -abs(contribution.weight))  # a stable sort: equal ones keep their order
    return listed[:most]


def _beneath(net: Network, number: int, k: int) -> tuple[int, tuple[int, float] | None]:
    """Go down from a unit to the first convolution, join or image: the layer's number, the unit there, the gains on the way.

    None stands in place of the last two if the unit is a channel of zeros that a `Select` adds, with nothing below it.
    """
    factor = 1.0
    while number and not isinstance(net.layers[number - 1], Conv) and len(net.paths[number - 1]) == 1:
        (lower,) = _decoded(net, number, k)
        if len(lower) > 1:
            break
        if not lower:
            return number, None
        (number,), ((k, weight),) = net.paths[number - 1], lower
        factor *= weight
    return number, (k, factor)


def _weighed(net: Network, number: int, k: int, factor: float) -> list[Contribution]:
    """The weights of a convolution's filter."""
    conv, (read,) = net.layers[number - 1], net.paths[number - 1]
    assert isinstance(conv, Conv)
    weights = conv.dense_units([k])[0]
    lower = {c: _beneath(net, read, c) for c in range(len(weights))}
    if any(found and i and not isinstance(net.layers[i - 1], Conv) for i, found in lower.values()):  # a join
        lower = {c: (read, (c, 1.0)) for c in lower}
    step = net.receptive_field(read).stride
    listed = []
    for c, u, v in np.argwhere(weights).tolist():
        below, found = lower[c]
        if found is not None and (weight := factor * found[1] * float(weights[c, u, v])):
            listed.append(Contribution(below, found[0], (u, v), (u * step[0], v * step[1]), weight))
    return listed


def _joined(net: Network, number: int, k: int, factor: float) -> list[Contribution]:
    """The units that meet in a unit, each in its own place."""
    below = net.paths[number - 1]
    offsets = [net.receptive_field(i).offset for i in below]
    first = [min(offset[axis] for offset in offsets) for axis in (0, 1)]
    return [
        Contribution(i, c, (0, 0), (offset[0] - first[0], offset[1] - first[1]), factor * weight)
        for i, lower, offset in zip(below, _decoded(net, number, k), offsets, strict=True)
        for c, weight in lower
        if factor * weight
    ]


def _decoded(net: Network, number: int, k: int) -> list[list[tuple[int, float]]]:
    """For each layer that decoding follows from layer `number`: which channels its unit k decodes to, and with what weights."""
    layer, (_, impulse) = net.layers[number - 1], units(net, number, [k], np.float64)
    maps = times(impulse.maps, layer.gain, 1)
    parts = layer.decode(maps, net.widths(net.paths[number - 1]), "nearest", reference)
    firsts = [np.asarray(part)[0, :, 0, 0] for part in parts]
    return [[(c, float(first[c])) for c in np.flatnonzero(first).tolist()] for first in firsts]
