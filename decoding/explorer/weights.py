"""What each unit is made of, and what it is used by: the strongest weights between the layers that mix units.

Layers that pass each unit on by itself (rectifiers, batch normalizations, pools) are skipped, as in `contributions`; their
factors count in the weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .. import reference
from ..arguments import Array
from ..layers import Layer, Pool, is_its_filters
from ..network import Network
from ..walks import times

LISTED = 12  # how many units are listed below and above a unit


Listed = dict[int, list[list[tuple[Any, ...]]]]


class Step(NamedTuple):
    """A layer on the way down through layers that pass units on, and the factor of each of its units at the top."""

    layer: int
    factor: npt.NDArray[np.float64]


class Links(NamedTuple):
    """For each unit of each layer, the strongest units below and above, as lists that the page shows.

    Attributes
    ----------
    made : dict of int to list of list
        For each layer, for each of its units: (layer, unit, weight, cell row, cell column, pixel row, pixel column).
    used : dict of int to list of list
        For each layer, for each of its units: (layer, unit, weight).
    parts : dict of int to list of list
        For each layer that joins others, for each of its units, the units that are joined: (layer, unit, weight, pixel row, pixel column).
    """

    made: Listed
    used: Listed
    parts: Listed


def passes(layer: Layer) -> bool:
    """Whether each unit of the layer is one unit below at the same place, times a factor."""
    return type(layer).decode is Layer.decode and not any(layer.pad)


def factor(layer: Layer, units: int) -> npt.NDArray[np.float64]:
    """What decoding multiplies the units of a layer by."""
    gain = 1.0 if layer.gain is None else layer.gain
    return np.array(np.broadcast_to(np.asarray(gain, np.float64), (units,)))


def steps(net: Network, number: int) -> list[Step]:
    """The layers from one down to the first that mixes units or joins layers, which is the last step."""
    found = [Step(number, np.ones(net.channels(number)))]
    while number and len(net.paths[number - 1]) == 1:
        layer = net.layers[number - 1]
        if not (passes(layer) or isinstance(layer, Pool)):
            break
        below = net.paths[number - 1][0]
        found.append(Step(below, found[-1].factor * factor(layer, net.channels(number))))
        number = below
    return found


def links(net: Network, shown: dict[int, int]) -> Links:
    """The strongest weights of the layers that are shown; `shown` says how many units of each."""
    made, parts = Listed(), Listed()
    users: Listed = {n: [[] for _ in range(k)] for n, k in shown.items()}
    for number, units in shown.items():
        way = steps(net, number)
        if len(way) > 1:
            made[number] = _passed(way, units)
            continue
        made[number] = [[] for _ in range(units)]
        joins = len(net.paths[number - 1]) > 1
        for weights, place, way in _inputs(net, number, units):
            if joins:
                listed: list[list[tuple[Any, ...]]] = [[] for _ in range(units)]
                _list_below(listed, weights, way[0].layer, place)
                whole = parts.setdefault(number, [[] for _ in range(units)])
                for k, below in enumerate(listed):
                    whole[k].extend((*link[:3], *link[5:]) for link in below)
            _list_below(made[number], weights * _across(way[-1].factor), way[-1].layer, place)
            for layer, scale in way:
                if layer in users:
                    _list_above(users[layer], weights * _across(scale), number)
    for lists in (*made.values(), *users.values()):
        for linked in lists:
            linked.sort(key=lambda link: -abs(link[2]))
            del linked[LISTED:]
    return Links(made, users, parts)


def _passed(way: list[Step], units: int) -> list[list[tuple[Any, ...]]]:
    layer, scale = way[-1]
    return [[(layer, k, _rounded(scale[k]), 0, 0, 0, 0)] for k in range(units)]


def _inputs(net: Network, number: int, units: int) -> Iterator[tuple[Array, Any, list[Step]]]:
    """For each layer that a layer reads: weights (units, C, h, w), the pixel of the first and the step between them, and the `steps` on."""
    layer, below = net.layers[number - 1], net.paths[number - 1]
    gain = factor(layer, net.channels(number))[:units]
    if is_its_filters(layer):
        parts = [np.asarray(layer.dense_units(range(units)), np.float64) * gain[:, np.newaxis, np.newaxis, np.newaxis]]
    else:
        impulses = np.zeros((units, net.channels(number), 1, 1), np.float32)
        impulses[np.arange(units), np.arange(units)] = 1
        decoded = layer.decode(times(impulses, layer.gain, 1), net.widths(below), "nearest", reference)
        parts = [np.asarray(part, np.float64) for part in decoded]
    fields = net.fields_within(0)
    for part, i in zip(parts, below, strict=True):
        here, there = fields[number], fields[i]
        assert here is not None
        assert there is not None
        first = [there.offset[a] - layer.pad[2 * a] * there.stride[a] - here.offset[a] for a in (0, 1)]
        yield part, (first, there.stride), steps(net, i)


def _across(scale: Array) -> Array:
    return scale[np.newaxis, :, np.newaxis, np.newaxis]


def _list_below(lists: list[list[tuple[Any, ...]]], weights: Array, layer: int, place: Any) -> None:
    """Add to each unit's list its strongest weights, and where they lie."""
    (first, step), shape = place, weights.shape[1:]
    flat = np.abs(weights.reshape(len(weights), -1))
    some = min(LISTED, flat.shape[1])
    best = np.argpartition(-flat, some - 1, axis=1)[:, :some] if flat.shape[1] > some else None
    for k, listed in enumerate(lists):
        for index in range(some) if best is None else best[k]:
            c, u, v = (int(i) for i in np.unravel_index(int(index), shape))
            if weights[k, c, u, v]:
                pixel = first[0] + u * step[0], first[1] + v * step[1]
                listed.append((layer, c, _rounded(weights[k, c, u, v]), u, v, *pixel))


def _list_above(lists: list[list[tuple[Any, ...]]], weights: Array, number: int) -> None:
    """Add to the list of each unit below the units above that weigh it most, each with its strongest weight."""
    units, channels = weights.shape[:2]
    flat = weights.reshape(units, channels, -1)
    where = np.abs(flat).argmax(axis=2)
    strongest = np.take_along_axis(flat, where[:, :, np.newaxis], axis=2)[:, :, 0]
    some = min(LISTED, units)
    best = np.argsort(-np.abs(strongest), axis=0, kind="stable")[:some]
    for c, listed in enumerate(lists):
        listed.extend((number, int(k), _rounded(strongest[k, c])) for k in best[:, c] if strongest[k, c])


def _rounded(number: Any) -> float:
    return float(f"{float(number):.4g}")
