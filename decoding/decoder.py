"""Decoding: from responses back to image space, along the walks of `decoding.walks`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from . import walks
from .arguments import Array, as_array4, as_count, as_sequence, check_finite, described, plural
from .backend import Backend, precision, resolve
from .blocks import elsewhere, gather
from .boundary import public
from .errors import InvalidValueError, ShapeError, UnknownLayerError
from .interpolation import MODES
from .layers import Conv, Pool, is_its_filters
from .network import Network, as_network
from .walks import Placed

if TYPE_CHECKING:
    from concurrent.futures import Executor

UNPOOLS = (*MODES, "sum")
NEARLY = 1.1  # a way that takes at most this many times the fewest multiplications counts as equally good
WHOLE = 1.2  # so does one that goes all the way up, as its products are the largest
BLOCK_BYTES = 64 * 2**20  # memory for the maps of units that are carried down together


@public
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

    From `layer` down, layer by layer: ``z^{l-1} = subst(z^l, f^l)`` for a convolution, ``unpool(z^l)`` for a pool, ``z^l`` for
    the rest, times the layer's gain. Where several layers read one, what comes down from them is added, each in its own place.

    Parameters
    ----------
    net : Network
    layer : int or str
        Number (from 1; 0 is the image) or name.
    maps : array_like of shape (N, K, H, W)
        Any responses of `layer`.
    to : int or str
        The layer to stop at; the image unless given.
    unpool : {"nearest", "bilinear", "bicubic", "sum"}
        The interpolation that undoes pooling; ``"sum"`` puts each response into every cell of its window, where copies add up.
    backend : object or module, optional
        The operators to use; `decoding.reference` unless given.

    Returns
    -------
    ndarray of shape (N, C, H', W')
        C is the number of channels of layer `to`. Each convolution or pool turns H rows into ``(H - 1) * stride + size``, and
        columns likewise. Pads are ignored, so the result includes the border that a layer padded. Where branches meet, the
        result covers the places of all of them.

    Raises
    ------
    ShapeError
        If `maps` does not have the channels of `layer`, or `to` lies above `layer`.
    UnknownLayerError
        If there is no such layer, or no path leads from `layer` down to `to`.
    UnsupportedLayerError
        If a layer that cannot be decoded stands in the way, such as a gate without a gain.
    InvalidValueError
        If maps or weights are not finite, the result overflows, or `unpool` is none of those above.

    See Also
    --------
    decode_filter : Decodes one unit.
    Network.forward : The way up.

    Notes
    -----
    Paper: equation 1. The result is linear in `maps`; biases do not enter. Sums over filters are taken after each step; since
    everything is linear, that gives the same as the paper's sum over all paths at the end. With `to`, only paths through that
    layer count: ``decode(net, to, decode(net, layer, maps, to=to))`` equals ``decode(net, layer, maps)`` only if all paths go
    through `to`, as in a chain, or between two blocks of a residual network.

    Examples
    --------
    >>> from decoding import Conv, MaxPool, Network
    >>> net = Network([Conv([[[[1, 2]]]]), MaxPool((1, 2))])
    >>> decode(net, 2, [[[[1, 10]]]])
    array([[[[ 1.,  3., 12., 30., 20.]]]])
    """
    top, bottom = as_network(net, "decode").index(layer), net.index(to)
    if bottom > top:
        raise ShapeError(f"decode: layer {bottom} lies above layer {top}; decoding goes down.")
    maps, operators = as_array4(maps, "decode", "maps", "(N, K, H, W)"), _ready(net, top, unpool, backend, bottom)
    if maps.shape[1] != net.channels(top):
        raise ShapeError(
            f"decode: maps {maps.shape} for layer {top}, which has {plural(net.channels(top), 'channel')}."
        )
    check_finite(maps, "decode: maps")
    dtype = precision(operators, maps.dtype if maps.dtype.kind == "f" else net.dtype)
    start = Placed(maps.astype(dtype, copy=False), (0, 0))
    return _finite(_down(net, start, top, bottom, unpool, operators).maps)


@public
def decode_filter(
    net: Network, layer: int | str, k: int, *, unpool: str = "nearest", sum_channels: bool = False, backend: Any = None
) -> Array:
    """Picture one unit in image space: what drives ``activations(x)[layer][:, k]``.

    ``df_k^L = decode(impulse at unit k)``.

    Parameters
    ----------
    net : Network
    layer : int or str
        Number (from 1) or name. Any layer will do: units of pools and ReLUs can be pictured as well.
    k : int
        The unit: a channel of `layer`, from 0.
    unpool : {"nearest", "bilinear", "bicubic", "sum"}
        The interpolation that undoes pooling; ``"sum"`` puts each response into every cell of its window, where copies add up.
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
        If weights are not finite, the result overflows, or `unpool` is none of those above.

    See Also
    --------
    decode_layer : All units of a layer.
    decode : Any responses.

    Notes
    -----
    Paper: section 3, equation 2 and the algorithm ``filter_decoding(L, k, CNN)``. Keeping the image's channels is our
    choice; ``sum_channels=True`` is what the paper's text says.

    Examples
    --------
    >>> from decoding import Conv, MaxPool, Network
    >>> net = Network([Conv([[[[1, 2]]]]), MaxPool((1, 2)), Conv([[[[3, 5]]]])])
    >>> decode_filter(net, 3, 0)
    array([[[ 3.,  9., 11., 15., 10.]]])
    """
    top = as_network(net, "decode_filter").index(layer)
    operators = _ready(net, top, unpool, backend)
    number, start = units(net, top, [unit(net, layer, k, "decode_filter")], precision(operators, net.dtype))
    decoded = _finite(_down(net, start, number, 0, unpool, operators).maps)[0]
    return np.asarray(decoded.sum(axis=0)) if sum_channels else decoded


@public
def decode_layer(
    net: Network,
    layer: int | str,
    *,
    units: Sequence[int] | None = None,
    unpool: str = "nearest",
    backend: Any = None,
    executor: Executor | None = None,
) -> Array:
    """Picture all units of a layer in image space, or some of them together.

    There are three ways, of which the one with the fewest multiplications is taken. From the image up, all filters of each layer
    are decoded from those of the layer below: ``bank[l] = substitute(maps=filters[l], filters=bank[l-1], stride=jump)``, where
    jump is the product of the strides below. From `layer` down, each unit is decoded by itself. Or both are combined, and meet
    at a layer in between.

    Parameters
    ----------
    net : Network
    layer : int or str
        Number (from 1) or name.
    units : sequence of int, optional
        The channels to decode, from 0, in this order; all unless given.
    unpool : {"nearest", "bilinear", "bicubic", "sum"}
        The interpolation that undoes pooling; ``"sum"`` puts each response into every cell of its window, where copies add up.
    backend : object or module, optional
        The operators to use; `decoding.reference` unless given.
    executor : concurrent.futures.Executor, optional
        Its workers decode, with the same result: see :doc:`large-work`.

    Returns
    -------
    ndarray of shape (K, C0, H, W)
        ``[k]`` is ``decode_filter(net, layer, k)``, but for rounding, since sums may be taken in another order. With `units`,
        ``[i]`` is the decoded filter of ``units[i]``.

    Raises
    ------
    UnknownLayerError
        If there is no such layer, or no such unit.
    UnsupportedLayerError
        If a layer that cannot be decoded stands in the way, such as a gate without a gain.
    InvalidValueError
        If weights are not finite, the result overflows, or `unpool` is none of those above.

    See Also
    --------
    decode_filter : One unit.
    iterate_layer : Some units at a time.

    Notes
    -----
    Paper: section 3. The order from the image up is our choice: every lower filter is decoded once instead of once per path.
    It is taken only where it gives the same result: through pools whose windows do not overlap with nearest unpooling, and
    through all pools with ``unpool="sum"``. Memory holds the result and some blocks of units.

    Examples
    --------
    >>> from decoding import Conv, Network
    >>> decode_layer(Network([Conv([[[[1, 2]]]]), Conv([[[[1, 10]]], [[[0, 1]]]])]), 2)
    array([[[[ 1., 12., 20.]]],
    <BLANKLINE>
    <BLANKLINE>
           [[[ 0.,  1.,  2.]]]])
    """
    top = as_network(net, "decode_layer").index(layer)
    chosen = range(net.channels(top)) if units is None else _chosen(net, top, units)
    plan = _Plan(net, top, len(chosen), len(chosen), unpool, _ready(net, top, unpool, backend))
    there = {} if executor is None else plan.elsewhere(executor, "decode_layer")
    if units is None and plan.bank is not None and plan.way[:2] == (0, top):
        bank = _finite(plan.bank.maps)
        return bank if bank.flags.writeable else bank.copy()  # or it would be a layer's own filters
    shape = net.channels(0), *net.receptive_field(top).size
    empty = np.empty((0, *shape), precision(plan.operators, net.dtype))
    return gather(plan.operators, _Chosen(plan, chosen), len(chosen), plan.step, empty, **there)


@public
def iterate_layer(
    net: Network,
    layer: int | str,
    size: int,
    *,
    unpool: str = "nearest",
    backend: Any = None,
    executor: Executor | None = None,
) -> Iterator[Array]:
    """Picture all units of a layer in image space, a few at a time: for a bank that does not fit in memory.

    Parameters
    ----------
    net : Network
    layer : int or str
        Number (from 1) or name.
    size : int
        How many units at a time.
    unpool : {"nearest", "bilinear", "bicubic", "sum"}
        The interpolation that undoes pooling; ``"sum"`` puts each response into every cell of its window, where copies add up.
    backend : object or module, optional
        The operators to use; `decoding.reference` unless given.
    executor : concurrent.futures.Executor, optional
        Its workers decode, with the same result: see :doc:`large-work`.

    Yields
    ------
    ndarray of shape (size, C0, H, W)
        The next units, in order; the last array has those that are left.

    Raises
    ------
    UnknownLayerError
        If there is no such layer.
    InvalidValueError
        If `size` is not at least 1, weights are not finite, or `unpool` is none of those above.

    See Also
    --------
    decode_layer : All at once.

    Notes
    -----
    Our choice. The arrays, put together, are what `decode_layer` returns; what all units share on the way is decoded once.

    Examples
    --------
    >>> from decoding import Conv, Network
    >>> net = Network([Conv([[[[1, 2]]]]), Conv([[[[1, 10]]], [[[0, 1]]], [[[3, 0]]]])])
    >>> [len(some) for some in iterate_layer(net, 2, 2)]
    [2, 1]
    """
    top, size = as_network(net, "iterate_layer").index(layer), as_count(size, "size")
    count = net.channels(top)
    plan = _Plan(net, top, count, min(size, count), unpool, _ready(net, top, unpool, backend))
    parts = (range(start, min(start + size, count)) for start in range(0, count, size))
    if executor is None:
        return map(plan.decoded, parts)
    return elsewhere(plan.operators, plan.decoded, parts, **plan.elsewhere(executor, "iterate_layer"), hold=False)


decode_parts = iterate_layer  # its former name


def unit(net: Network, layer: int | str, k: int, function: str) -> int:
    """The number of a unit, if `layer` has it."""
    units = net.channels(layer)
    if not isinstance(k, (int, np.integer)) or isinstance(k, bool) or not 0 <= k < units:
        raise UnknownLayerError(
            f"{function}: layer {net.index(layer)} has no unit {described(k)}: its {plural(units, 'unit')} count from 0 to {units - 1}."
        )
    return int(k)


def as_units(ks: Any) -> list[Any]:
    """The chosen units, if they come as a sequence."""
    return as_sequence(ks, "units", "numbers, for a single unit [k]")


def _chosen(net: Network, top: int, ks: Any) -> list[int]:
    """The numbers of the chosen units, checked."""
    return [unit(net, top, k, "decode_layer") for k in as_units(ks)]


def units(net: Network, top: int, ks: Sequence[int], dtype: Any) -> tuple[int, Placed]:
    """Units of layer `top` as maps to be decoded, and the number of the layer that these maps belong to.

    A unit is an impulse in its own layer. A unit of a convolution is also its filter in the layer below, which saves a step:
    ``df_k^{L,L-1} = f_k^L``.
    """
    layer = net.layers[top - 1] if top else None
    if is_its_filters(layer):
        return net.paths[top - 1][0], Placed(np.array(layer.dense_units(ks), dtype), (-layer.pad[0], -layer.pad[2]))
    impulses = np.zeros((len(ks), net.channels(top), 1, 1), dtype)
    impulses[np.arange(len(ks)), ks] = 1
    return top, Placed(impulses, (0, 0))


class _Way(NamedTuple):
    """A way to decode, in three steps.

    Carry the units down to layer `turn`; replace the responses there by `turn`'s filters, decoded into layer `base`; and carry
    the result down from `base` to the image. If `turn` equals `base`, the units are carried down all the way.
    """

    base: int
    turn: int
    cost: float


class _Plan:
    """How to decode `count` units of a layer, `some` at a time; and the bank that all of them need on the way, if any."""

    def __init__(self, net: Network, top: int, count: int, some: int, unpool: str, operators: Backend) -> None:
        self.net, self.top, self.unpool, self.operators = net, top, unpool, operators
        self.dtype = precision(operators, net.dtype)
        self.way = _best(_ways(net, top, count, some, unpool, self.dtype.itemsize), top)
        self.bank: Placed | None = None
        if self.way.turn > self.way.base:
            self.bank = walks.last(walks.up(net, self.way.turn, self.way.base, operators, self.dtype))
        self.step = max(1, min(count, BLOCK_BYTES // _bytes_per_unit(net, top, self.way)))

    def elsewhere(self, executor: Any, function: str) -> dict[str, Any]:
        """The options with which `decoding.blocks` has an executor's workers do the work."""
        from .executing import check_executor

        named = {"the network": self.net, "the backend": self.operators}
        return {"executor": check_executor(executor, function), "function": function, "named": named}

    def decoded(self, ks: Sequence[int]) -> Array:
        """These units in image space."""
        net, (base, turn, _) = self.net, self.way
        if self.bank is not None and turn == self.top:  # the bank holds the units themselves
            chosen = slice(ks.start, ks.stop) if isinstance(ks, range) and ks.step == 1 else list(ks)
            start = Placed(self.bank.maps[chosen].copy(), self.bank.origin)
            return _finite(_down(net, start, base, 0, self.unpool, self.operators).maps)
        number, start = units(net, self.top, ks, self.dtype)
        here = _down(net, start, number, turn, self.unpool, self.operators)
        if self.bank is not None:
            jump, first = net.receptive_field(turn, within=base).stride, self.bank.origin
            with np.errstate(all="ignore"):
                maps = np.asarray(self.operators.substitute(here.maps, self.bank.maps, stride=jump))
            here = Placed(maps, (here.origin[0] * jump[0] + first[0], here.origin[1] * jump[1] + first[1]))
        return _finite(_down(net, here, base, 0, self.unpool, self.operators).maps)


class _Chosen:
    """Decodes the chosen units from one position to another; a class, so that it can be pickled."""

    def __init__(self, plan: _Plan, chosen: Sequence[int]) -> None:
        self.plan, self.chosen = plan, chosen

    def __call__(self, start: int, stop: int) -> Array:
        return self.plan.decoded(self.chosen[start:stop])


def _ways(net: Network, top: int, count: int, some: int, unpool: str, itemsize: int) -> list[_Way]:
    """The ways that need no more memory than a block and `some` units, or twice the whole bank, with their multiplications for `count` units.

    Going up is cheap near the image, which has few channels. Above a pool of many channels, or for few units, going down is
    often less work. A convolution of several groups counts as dense once it is decoded into another layer. All costs follow
    from sizes and numbers of channels.
    """
    order = walks.under(net, [top], net.paths)
    begin = net.paths[top - 1][0] if top and is_its_filters(net.layers[top - 1]) else top
    # Every path goes through these layers: none that lies below one is read by one that lies above it.
    least = list(accumulate((min(net.paths[m - 1]) for m in reversed(order)), min, initial=top))[::-1]
    through = [n for n, lowest in zip([0, *order], least, strict=True) if lowest >= n]
    channels = {n: net.channels(n) for n in {0, *order, *(i for n in order for i in net.paths[n - 1])}}
    costs = {n: _down_cost(net, channels, n, begin, top, unpool) for n in order}
    below = dict(zip([0, *order], accumulate((costs[n] for n in order), initial=0.0), strict=True))
    result = some * channels[0] * math.prod(net.receptive_field(top).size) * itemsize
    ways = [_Way(0, 0, count * below[begin])]
    for base in through:
        cost, fields, sizes = 0.0, net.fields_within(base), dict[int, int]()
        for turn in order[order.index(base) + 1 :] if base else order:
            layer, seen = net.layers[turn - 1], fields[turn]
            if not layer.decodes_bottom_up(unpool) or seen is None:
                break
            cost += _up_cost(net, channels, turn, base)
            sizes[turn] = channels[turn] * channels[base] * math.prod(seen.size) * itemsize
            # A whole bank is the result itself, and stands on another that it is made of.
            held = 2 * result if turn == top and some == count else result
            if turn not in through or sum(sorted(sizes.values())[-2:]) > BLOCK_BYTES + held:
                continue
            if turn == top and some == count:
                ways.append(_Way(base, turn, cost + count * below[base]))
            elif turn <= begin:
                window = net.fields_within(turn)[top]
                assert window is not None
                carried = channels[turn] * math.prod(window.size) * channels[base] * math.prod(seen.size)
                ways.append(_Way(base, turn, cost + count * (below[begin] - below[turn] + carried + below[base])))
    return ways


def _best(ways: Sequence[_Way], top: int) -> _Way:
    """The way with the fewest multiplications; of those that are equally good (`NEARLY`, `WHOLE`), the one that goes up furthest.

    Going up makes larger matrix products, which are faster. For VGG-16's conv4_3, stopping at conv4_1 and decoding units in
    blocks from there takes 0.87 times as many multiplications as going up all the way, and 1.7 times as long.
    """
    least = min(way.cost for way in ways)
    good = [way for way in ways if way.cost <= (WHOLE if way.turn == top else NEARLY) * least]
    return max(good, key=lambda way: (-way.base, way.turn))


def _down_cost(net: Network, channels: dict[int, int], number: int, begin: int, top: int, unpool: str) -> float:
    """Multiplications for carrying one unit of layer `top` down through layer `number`; none if the unit starts below it."""
    layer, seen = net.layers[number - 1], net.fields_within(number)[top]
    if number > begin or seen is None:
        return 0
    (rows, columns), (h, w), width = seen.size, layer.size, channels[number]
    if isinstance(layer, Conv):
        return layer.filters[:, :, 0, 0].size * h * w * rows * columns
    if isinstance(layer, Pool) and unpool in ("bilinear", "bicubic"):
        tall = (rows - 1) * layer.stride[0] + h
        return width * tall * columns * (rows + (columns - 1) * layer.stride[1] + w)
    return width * rows * columns


def _up_cost(net: Network, channels: dict[int, int], number: int, base: int) -> float:
    """Multiplications for carrying filters decoded into layer `base` up through layer `number`."""
    layer, below = net.layers[number - 1], net.paths[number - 1]
    seen = net.fields_within(base)[below[0]]
    assert seen is not None
    mass = channels[base] * math.prod(seen.size) * math.prod(layer.size)
    if isinstance(layer, Conv):
        return 0 if below == (base,) and is_its_filters(layer) else layer.filters[:, :, 0, 0].size * mass
    return channels[number] * mass


def _down(net: Network, start: Placed, top: int, bottom: int, unpool: str, operators: Backend) -> Placed:
    """What comes down to layer `bottom`."""
    return walks.last(walks.down(net, start, top, bottom, unpool, operators))


def _finite(decoded: Array) -> Array:
    check_finite(decoded, f"the decoded maps, {decoded.dtype}")  # finite weights and maps can overflow on the way
    return decoded


def _bytes_per_unit(net: Network, top: int, way: _Way) -> int:
    """The memory that decoding one unit of layer `top` needs: that of the most products or pixels made at a time."""
    most = net.channels(0) * math.prod(net.receptive_field(top).size)
    if way.base < way.turn < top:  # each of its responses in layer `turn` becomes a filter in layer `base`
        filter_size = net.receptive_field(way.turn, within=way.base).size
        window = net.receptive_field(top, within=way.turn).size
        most = max(most, net.channels(way.base) * math.prod(filter_size) * math.prod(window))
    for number in walks.under(net, [top], net.paths):
        if way.base < number <= way.turn:
            continue
        seen = net.fields_within(number)[top]
        assert seen is not None
        widest = max(net.channels(i) for i in net.paths[number - 1])
        most = max(most, widest * math.prod(seen.size) * math.prod(net.layers[number - 1].size))
    return 8 * most


def _ready(net: Network, top: int, unpool: str, backend: Any, bottom: int = 0) -> Backend:
    if not isinstance(unpool, str) or unpool not in UNPOOLS:
        raise InvalidValueError(f"unpool must be one of {', '.join(map(repr, UNPOOLS))}, not {described(unpool)}.")
    if (top, bottom) not in net.decodable:  # networks cannot be changed, so each pair is checked only once
        net.check_weights(top, bottom)
        net.receptive_field(top, within=bottom)  # refuses where no path leads there
        net.decodable.add((top, bottom))
    return resolve(backend)
