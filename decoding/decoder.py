"""Decoding: from responses back to image space, one layer at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from .arguments import Array, as_array4, as_count, check_finite, plural
from .backend import Backend, precision, resolve
from .blocks import gather
from .errors import InvalidValueError, ShapeError, UnknownLayerError
from .interpolation import MODES
from .layers import Conv
from .network import Network

BLOCK_BYTES = 64 * 2**20  # of decoded maps at a time, when a bank is decoded from above


def decode(
    net: Network,
    layer: int | str,
    maps: npt.ArrayLike,
    *,
    to: int | str = 0,
    unpool: str = "nearest",
    backend: Any = None,
) -> Array:
    """Carry responses of a layer back to image space.

    ``z^{l-1} = subst(z^l, f^l)`` for a convolution, ``unpool(z^l)`` for a pool, ``z^l`` for the rest; from `layer` down.

    Parameters
    ----------
    net : Network
    layer : int or str
        Number (from 1; 0 is the image) or name.
    maps : array_like of shape (N, K, H, W)
        Any responses of `layer`.
    to : int or str
        The layer to stop at; the image unless given.
    unpool : {"nearest", "bilinear", "bicubic"}
        The interpolation that undoes pooling.
    backend : object or module, optional
        The operators to use; `decoding.reference` unless given.

    Returns
    -------
    ndarray of shape (N, C, H', W')
        C is the number of channels of layer `to`. Each convolution or pool makes
        ``H' = (H - 1) * stride + size`` of H, likewise the columns; pads are ignored, so the edge that a layer padded
        is there too.

    Raises
    ------
    ShapeError
        If `maps` has not the channels of `layer`, or `to` lies above `layer`.
    UnknownLayerError
        If there is no such layer.
    InvalidValueError
        If maps or weights are not finite, the result overflows, or `unpool` is none of the three.

    See Also
    --------
    decode_filter : Decodes one unit.
    Network.forward : The way up.

    Notes
    -----
    Paper: equation 1. Linear in `maps`; biases do not enter. Sums over filters are taken after each step, which gives
    what the paper's sum over all paths at the end gives, everything being linear.

    Examples
    --------
    >>> from decoding import Conv, MaxPool, Network
    >>> net = Network([Conv([[[[1, 2]]]]), MaxPool((1, 2))])
    >>> decode(net, 2, [[[[1, 10]]]])
    array([[[[ 1.,  3., 12., 30., 20.]]]])
    """
    top, bottom = net.index(layer), net.index(to)
    if bottom > top:
        raise ShapeError(f"decode: layer {bottom} lies above layer {top}; decoding goes down.")
    maps, operators = as_array4(maps, "decode", "maps", "(N, K, H, W)"), _ready(net, top, unpool, backend, bottom)
    if maps.shape[1] != net.channels(top):
        raise ShapeError(
            f"decode: maps {maps.shape} for layer {top}, which has {plural(net.channels(top), 'channel')}."
        )
    check_finite(maps, "decode: maps")
    dtype = precision(operators, maps.dtype if maps.dtype.kind == "f" else net.dtype)
    return _decode(net, top, bottom, maps.astype(dtype, copy=False), unpool, operators)


def decode_filter(
    net: Network, layer: int | str, k: int, *, unpool: str = "nearest", sum_channels: bool = False, backend: Any = None
) -> Array:
    """Picture one unit in image space: what drives ``activations(x)[layer][:, k]``.

    ``df_k^L = decode(impulse at unit k)``.

    Parameters
    ----------
    net : Network
    layer : int or str
        Number (from 1) or name. Any layer: a unit of a pool or a ReLU is pictured as well.
    k : int
        The unit: a channel of `layer`, from 0.
    unpool : {"nearest", "bilinear", "bicubic"}
        The interpolation that undoes pooling.
    sum_channels : bool
        Sum over the image's channels, as the paper does. Colour is lost.
    backend : object or module, optional
        The operators to use; `decoding.reference` unless given.

    Returns
    -------
    ndarray of shape (C0, H, W), or (H, W) with `sum_channels`
        H×W is the size of the unit's receptive field: ``net.receptive_field(layer).size``.

    Raises
    ------
    UnknownLayerError
        If there is no such layer, or it has no unit k.
    InvalidValueError
        If weights are not finite, the result overflows, or `unpool` is none of the three.

    See Also
    --------
    decode_layer : All units of a layer.
    decode : Any responses.

    Notes
    -----
    Paper: section 3, equation 2 and the algorithm ``filter_decoding(L, k, CNN)``. Keeping the image's channels is our
    choice; ``sum_channels=True`` is the text.

    Examples
    --------
    >>> from decoding import Conv, MaxPool, Network
    >>> net = Network([Conv([[[[1, 2]]]]), MaxPool((1, 2)), Conv([[[[3, 5]]]])])
    >>> decode_filter(net, 3, 0)
    array([[[ 3.,  9., 11., 15., 10.]]])
    """
    top = net.index(layer)
    operators = _ready(net, top, unpool, backend)
    decoded = _decode_units(net, top, unit(net, layer, k, "decode_filter"), 1, unpool, operators)[0]
    return np.asarray(decoded.sum(axis=0)) if sum_channels else decoded


def decode_layer(net: Network, layer: int | str, *, unpool: str = "nearest", backend: Any = None) -> Array:
    """Picture all units of a layer in image space.

    ``bank[l] = substitute(maps=filters[l], filters=bank[l-1], stride=jump)``, from the image up, where jump is the
    product of the strides below; if pools interpolate or overlap, an impulse for each unit, from `layer` down.

    Parameters
    ----------
    net : Network
    layer : int or str
        Number (from 1) or name.
    unpool : {"nearest", "bilinear", "bicubic"}
        The interpolation that undoes pooling.
    backend : object or module, optional
        The operators to use; `decoding.reference` unless given.

    Returns
    -------
    ndarray of shape (K, C0, H, W)
        ``[k]`` is ``decode_filter(net, layer, k)``, up to the rounding of sums taken in another order.

    Raises
    ------
    UnknownLayerError
        If there is no such layer.
    InvalidValueError
        If weights are not finite, the result overflows, or `unpool` is none of the three.

    See Also
    --------
    decode_filter : One unit.
    decode_parts : Some units at a time.

    Notes
    -----
    Paper: section 3. The bottom-up order is our choice: every lower filter is decoded once instead of once per path.
    Both orders give the same where nearest unpooling repeats each cell, that is, where every pool's size is its stride.

    Examples
    --------
    >>> from decoding import Conv, Network
    >>> decode_layer(Network([Conv([[[[1, 2]]]]), Conv([[[[1, 10]]], [[[0, 1]]]])]), 2)
    array([[[[ 1., 12., 20.]]],
    <BLANKLINE>
    <BLANKLINE>
           [[[ 0.,  1.,  2.]]]])
    """
    top = net.index(layer)
    operators, units = _ready(net, top, unpool, backend), net.channels(top)
    if all(each.decodes_bottom_up(unpool) for each in net.layers[:top]):
        return _decode_bottom_up(net, top, operators)
    step = min(units, max(1, BLOCK_BYTES // _bytes_per_unit(net, top)))
    return gather(
        operators,
        lambda start, stop: _decode_units(net, top, start, stop - start, unpool, operators),
        units,
        step,
        np.empty(0),
    )


def decode_parts(
    net: Network, layer: int | str, size: int, *, unpool: str = "nearest", backend: Any = None
) -> Iterator[Array]:
    """Picture all units of a layer in image space, so many at a time: for a bank that does not fit in memory.

    Parameters
    ----------
    net : Network
    layer : int or str
        Number (from 1) or name.
    size : int
        Units at a time.
    unpool : {"nearest", "bilinear", "bicubic"}
        The interpolation that undoes pooling.
    backend : object or module, optional
        The operators to use; `decoding.reference` unless given.

    Yields
    ------
    ndarray of shape (size, C0, H, W)
        The next units, in order; the last part has what is left.

    Raises
    ------
    UnknownLayerError
        If there is no such layer.
    InvalidValueError
        If `size` is not at least 1, weights are not finite, or `unpool` is none of the three.

    See Also
    --------
    decode_layer : All at once.

    Notes
    -----
    Our choice. Where `decode_layer` goes from the image up, this goes up to below the highest convolution, once, and each
    part is ``substitute(maps, bank)``: its units carried down to there, in the decoded bank of that layer.

    Examples
    --------
    >>> from decoding import Conv, Network
    >>> net = Network([Conv([[[[1, 2]]]]), Conv([[[[1, 10]]], [[[0, 1]]], [[[3, 0]]]])])
    >>> [len(part) for part in decode_parts(net, 2, 2)]
    [2, 1]
    """
    top, size = net.index(layer), as_count(size, "size")
    operators, units = _ready(net, top, unpool, backend), net.channels(top)
    below, bank = 0, None
    if all(each.decodes_bottom_up(unpool) for each in net.layers[:top]):
        below = max((number for number in range(top) if isinstance(net.layers[number], Conv)), default=0)
        bank = _decode_bottom_up(net, below, operators)
    for start in range(0, units, size):
        maps = _decode_units(net, top, start, size, unpool, operators, below)
        jump = net.receptive_field(below).stride
        yield maps if bank is None else np.asarray(operators.substitute(maps, bank, stride=jump))


def unit(net: Network, layer: int | str, k: int, function: str) -> int:
    """The number of a unit, if `layer` has it."""
    units = net.channels(layer)
    if not isinstance(k, (int, np.integer)) or isinstance(k, bool) or not 0 <= k < units:
        raise UnknownLayerError(
            f"{function}: layer {net.index(layer)} has no unit {k!r}: its {plural(units, 'unit')} count from 0 to {units - 1}."
        )
    return int(k)


def _decode_units(
    net: Network, top: int, start: int, count: int, unpool: str, operators: Backend, bottom: int = 0
) -> Array:
    """The next `count` units of a layer, carried down to layer `bottom`.

    A unit is an impulse; of a convolution, it is its filter in the layer below: ``df_k^{L,L-1} = f_k^L``.
    """
    dtype, layer = precision(operators, net.dtype), net.layers[top - 1] if top else None
    if isinstance(layer, Conv):
        maps, top = np.array(layer.dense[start : start + count], dtype), top - 1
    else:
        units = net.channels(top)
        maps = np.eye(min(count, units - start), units, start, dtype=dtype)[:, :, np.newaxis, np.newaxis]
    return _decode(net, top, bottom, maps, unpool, operators)


@np.errstate(over="ignore", invalid="ignore")  # the result is checked
def _decode(net: Network, top: int, bottom: int, maps: Array, unpool: str, operators: Backend) -> Array:
    for number in range(top, bottom, -1):
        with net.naming(number):
            maps = np.asarray(net.layers[number - 1].decode(maps, operators, unpool))
    return _finite(maps)


@np.errstate(over="ignore", invalid="ignore")
def _decode_bottom_up(net: Network, top: int, operators: Backend) -> Array:
    bank = np.eye(net.channels(0), dtype=precision(operators, net.dtype))[:, :, np.newaxis, np.newaxis]
    for number, each in enumerate(net.layers[:top]):
        with net.naming(number + 1):
            bank = np.asarray(each.decode_bank(bank, net.receptive_field(number).stride, operators))
    return _finite(bank)


def _finite(decoded: Array) -> Array:
    check_finite(decoded, f"the decoded maps, {decoded.dtype}")  # finite weights and maps can overflow on the way
    return decoded


def _bytes_per_unit(net: Network, top: int) -> int:
    """Of the most products or pixels that decoding one unit of layer `top` makes at a time."""
    rows = columns = most = 1
    for number, each in reversed(list(enumerate(net.layers[:top]))):
        most = max(most, net.channels(number) * rows * columns * each.size[0] * each.size[1])
        rows, columns = (rows - 1) * each.stride[0] + each.size[0], (columns - 1) * each.stride[1] + each.size[1]
    return 8 * max(most, net.channels(0) * rows * columns)


def _ready(net: Network, top: int, unpool: str, backend: Any, bottom: int = 0) -> Backend:
    if unpool not in MODES:
        raise InvalidValueError(f"unpool must be one of {', '.join(map(repr, MODES))}, not {unpool!r}.")
    net.check_weights(top, bottom)
    return resolve(backend)
