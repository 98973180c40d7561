"""The three walks through a network: responses up (`forward`), maps down (`down`), banks of filters up (`up`).

A *walk* goes through the layers in order and computes something for each. It is a generator, which yields the number of
each layer and what has been computed there. Nothing but these three goes through a network: decoding, measuring and the
conformance kit all run them. What is the same for every layer is done here, and nowhere else:

- *Gains.* On the way down a layer's gain is applied before its `decode`, on the way up after its `decode_bank`.
- *Places.* Maps on the way down carry their *origin*, the place of their first cell, relative to the cell under unit (0, 0).
  An origin ``o`` in cells of a layer is ``o · stride − pad`` in cells of the layer below.
- *Sums.* Where several layers read one, each sends its *part* down to it: maps with an origin. A layer waits for all its
  parts, which are added on the union of their places. There is one sum for each layer and never one for each path, of
  which 16 residual blocks have 65,536.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np

from .arguments import Array, Pair, described, listed
from .errors import ShapeError
from .layers import Layer, is_its_filters

if TYPE_CHECKING:
    from .network import Network


class Placed(NamedTuple):
    """Maps and where they begin.

    Attributes
    ----------
    maps : ndarray of shape (N, C, H, W)
    origin : (row, column)
        The place of the first cell, in cells of its layer, relative to the cell under unit (0, 0) of the layer where decoding
        began.
    """

    maps: Array
    origin: Pair


def union(parts: Sequence[Placed]) -> tuple[list[Array], Pair]:
    """The maps of each part, extended with zeros to the union of all places; and the origin of that union."""
    first = (min(p.origin[0] for p in parts), min(p.origin[1] for p in parts))
    sides = [max(p.origin[a] + p.maps.shape[2 + a] for p in parts) - first[a] for a in (0, 1)]

    def spread(part: Placed) -> Array:
        (rows, columns), (height, width) = part.maps.shape[2:], sides
        if (rows, columns) == (height, width):
            return part.maps
        top, left = (part.origin[a] - first[a] for a in (0, 1))
        # Of the same order in memory, unlike `np.pad`'s: a residual network's banks add up in half the time.
        out = np.zeros_like(part.maps, shape=(*part.maps.shape[:2], height, width))
        out[:, :, top : top + rows, left : left + columns] = part.maps
        return out

    return [spread(part) for part in parts], first


def under(net: Network, tops: Iterable[int], edges: Sequence[Sequence[int]], bottom: int = 0) -> list[int]:
    """The numbers of the layers above `bottom` from which these edges lead to `tops`, the tops included, in rising order."""
    found = set(tops)
    for number in range(max(found, default=0), bottom, -1):
        if number in found:
            found.update(edges[number - 1])
    return sorted(number for number in found if number > bottom)


def forward(
    net: Network, x: Any, tops: Iterable[int], backend: Any, step: Callable[..., Any] | None = None
) -> Iterator[tuple[int, Any]]:
    """Yields (0, images), then (number, responses) of every layer that `tops` need.

    Responses are dropped as soon as the last layer that reads them has run. To carry something else than responses up, give
    `step`, which takes the place of every layer's `forward`: it is called with the layer's number and with what the layers
    that it reads have yielded.
    """

    def respond(number: int, *below: Any) -> Any:
        return np.asarray(net.layers[number - 1].forward(*below, backend=backend))

    step = respond if step is None else step
    order, live = under(net, tops, net.inputs), {0: x}
    yield 0, x
    del x
    last = {i: number for number in order for i in net.inputs[number - 1]}
    for number in order:
        below = net.inputs[number - 1]
        # Whoever runs the walk looks for overflow at its end.
        with net._blame(number), np.errstate(all="ignore"):
            live[number] = step(number, *(live[i] for i in below))
        yield number, live[number]
        for i in {*below, number}:
            if last.get(i, number) == number:
                del live[i]


def down(
    net: Network,
    start: Placed,
    top: int,
    bottom: int,
    unpool: str,
    backend: Any,
    source: Callable[[int, Placed], Sequence[Placed]] | None = None,
) -> Iterator[tuple[int, Placed]]:
    """Yields (number, maps and origin) of the layers on the paths from `top` down to `bottom`.

    `source`, if given, adds to what each layer sends down. It is called with the layer's number and what has come down to the
    layer, and returns further parts: one for each layer that decoding follows, or none.
    """
    waiting, seen = {top: start}, net.fields_within(bottom)
    for number in range(top, bottom, -1):
        if number not in waiting:
            continue
        maps, origin = here = waiting.pop(number)
        yield number, here
        layer, below = net.layers[number - 1], net.paths[number - 1]
        with net._blame(number), np.errstate(all="ignore"):
            parts = layer.decode(times(maps, layer.gain, 1), net.widths(below), unpool, backend)
            _check_parts(layer, parts, maps.shape, net.widths(below))
            place = tuple(origin[a] * layer.stride[a] - layer.pad[2 * a] for a in (0, 1))
            placed = [Placed(np.asarray(part), place) for part in parts]  # type: ignore[arg-type]
            more = () if source is None else source(number, here)
            for i, part in [*zip(below, placed, strict=True), *zip(below, more, strict=bool(more))]:
                if i >= bottom and seen[i] is not None:
                    waiting[i] = add([waiting[i], part]) if i in waiting else part
    yield bottom, waiting[bottom]


def up(net: Network, top: int, base: int, backend: Any, dtype: Any) -> Iterator[tuple[int, Placed]]:
    """Yields (number, bank and origin) from `base` to `top`: the filters of each layer decoded into `base`, (K, C_base, h, w)."""
    order, fields = under(net, [top], net.paths, base), net.fields_within(base)
    last = {i: number for number in order for i in net.paths[number - 1]}
    banks = {base: Placed(np.eye(net.channels(base), dtype=dtype)[:, :, np.newaxis, np.newaxis], (0, 0))}
    yield base, banks[base]
    for number in order:
        layer, below = net.layers[number - 1], net.paths[number - 1]
        arrays, origin = union([banks[i] for i in below])
        seen = fields[below[0]]
        assert seen is not None
        jump = seen.stride
        with net._blame(number), np.errstate(all="ignore"):
            if below == (base,) and is_its_filters(layer):  # its filters are its units already
                bank = layer.dense.astype(dtype, copy=False)
            else:
                bank = np.asarray(layer.decode_bank(*arrays, jump=jump, backend=backend))
            bank = times(bank, layer.gain, 0)
        place = tuple(origin[a] - layer.pad[2 * a] * jump[a] for a in (0, 1))
        banks[number] = Placed(bank, place)  # type: ignore[arg-type]
        del arrays, bank
        yield number, banks[number]
        for i in set(below):
            if last[i] == number:
                del banks[i]


T = TypeVar("T")


def last(walk: Iterator[tuple[int, T]]) -> T:
    """What a walk ends with. What it yields before is let go, which ``*_, found = walk`` would keep in memory."""
    return deque(walk, maxlen=1).pop()[1]


def _check_parts(layer: Layer, parts: Any, shape: Sequence[int], widths: Sequence[int | None]) -> None:
    """Refuse what a layer's `decode` returns, unless it is one array for each layer below, of the right shape."""
    sides = [(shape[2 + a] - 1) * layer.stride[a] + layer.size[a] for a in (0, 1)]
    wanted = [(shape[0], width, *sides) for width in widths]
    if not isinstance(parts, (tuple, list)):
        raise ShapeError(
            f"its decode must return a tuple with one array for each layer that it reads, not {described(parts)}."
        )
    found = [np.shape(part) for part in parts]
    fits = len(found) == len(wanted) and all(
        got[:1] + got[2:] == want[:1] + want[2:] and want[1] in (None, got[1])
        for got, want in zip(found, wanted, strict=True)
    )
    if not fits:
        raise ShapeError(
            f"its decode makes {listed(found) or 'nothing'} of maps {tuple(shape)}, and must make {listed(wanted)}: for each layer that decoding "
            "follows, an array with that layer's channels, and with (n − 1) · stride + size cells for n cells."
        )


def add(parts: Sequence[Placed]) -> Placed:
    """The sum of the parts, on the union of their places."""
    arrays, origin = union(parts)
    return Placed(sum(arrays[1:], start=arrays[0]), origin)


def times(maps: Array, factor: Any, axis: int) -> Array:
    """The maps times a factor: one number, one for each channel (the channels lie along `axis`), or None, which stands for 1."""
    return maps if factor is None else np.asarray(maps * spread(factor, maps, axis))


def spread(factor: Any, maps: Array, axis: int) -> Array:
    """A factor in the maps' precision, shaped so that it multiplies the channels, which lie along `axis`."""
    array: Array = np.asarray(factor, maps.dtype)
    return array if not array.ndim else array.reshape(-1, *(1,) * (maps.ndim - 1 - axis))
