"""What the page says about a network before anything is measured: which layers have units, which share pictures, how many are shown."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .. import decoder
from ..errors import DecodingError, InvalidValueError
from ..layers import UnsupportedLayer
from ..network import Network
from .layout import layout
from .weights import passes

SIDES = (96, 64, 48, 32, 24)  # the most pixels along a side of a unit's picture: the first for which all pictures fit
PIXELS = 36e6  # the most pixels of all pictures together, each channel counted
MOST, LEAST = 1024, 32  # between these lies how many units of a layer are shown, unless a number is asked for
NUMBERS = 2e7  # if the decoded filters of a layer have more numbers together, fewer units are shown


@dataclass
class Survey:
    """What is on the page.

    Attributes
    ----------
    units : dict of int to int
        For each layer that has units to show, how many are shown, counted from the first.
    reasons : dict of int to str
        For each layer that has none, the reason.
    base : dict of int to int
        For each layer, the layer whose pictures it shows: itself, or a layer below whose units it passes on, each times a factor.
    side : int
        The most rows or columns of a picture.
    """

    net: Network
    units: dict[int, int] = field(default_factory=dict)
    reasons: dict[int, str] = field(default_factory=dict)
    base: dict[int, int] = field(default_factory=dict)
    side: int = SIDES[0]

    @property
    def bases(self) -> list[int]:
        return sorted(set(self.base.values()))

    def members(self, base: int) -> list[int]:
        """The layers that show the pictures of layer `base`, that layer first."""
        return sorted(number for number, own in self.base.items() if own == base)


def survey(net: Network, layers: Sequence[int | str] | None, units: int | None, kinds: int) -> Survey:
    """Find what to show: all layers that can be decoded or those that are asked for, and how many units of each.

    `kinds` is how many pictures there are of each unit.
    """
    asked = None if layers is None else {_asked(net, layer) for layer in layers}
    found = Survey(net)
    for number in range(1, len(net) + 1):
        reason = _reason(net, number)
        if reason is None and asked is not None and number not in asked:
            reason = "It was left out when this page was made."
        if reason is None:
            found.units[number] = net.channels(number)
        else:
            found.reasons[number] = reason
    for number in found.units:
        found.base[number] = _base(net, number, found.units)
    found.units = {number: min(units or _limit(net, number), count) for number, count in found.units.items()}
    found.side = next((side for side in SIDES if kinds * _pixels(found, side) <= PIXELS), SIDES[-1])
    return found


def _asked(net: Network, layer: int | str) -> int:
    number = net.index(layer)
    if not number:
        raise InvalidValueError("layers: layer 0 is the image, and has no units; layers count from 1.")
    return number


def _reason(net: Network, number: int) -> str | None:
    """Why a layer has no units to show; weights that are not finite are an error."""
    blocked = net.blocked(number)
    try:
        if blocked is not None:
            with net._blame(blocked):
                net.layers[blocked - 1].check()
        net.channels(number)
        decoder._ready(net, number, "nearest", None)
    except InvalidValueError:
        raise
    except DecodingError as error:
        return error.message
    return None


def check_weights(net: Network) -> None:
    """Refuse weights that are not finite, wherever they are."""
    for number, layer in enumerate(net.layers, 1):
        if not isinstance(layer, UnsupportedLayer):
            with net._blame(number):
                layer.check()


def _base(net: Network, number: int, units: dict[int, int]) -> int:
    while passes(net.layers[number - 1]) and len(net.paths[number - 1]) == 1 and net.paths[number - 1][0] in units:
        number = net.paths[number - 1][0]
    return number


def _limit(net: Network, number: int) -> int:
    """How many units of a layer can be decoded and drawn in some seconds."""
    return int(np.clip(NUMBERS / (net.channels(0) * math.prod(net.receptive_field(number).size)), LEAST, MOST))


def _pixels(found: Survey, side: int) -> int:
    """How many pixels all pictures have together, channels counted, if none has a side above `side`."""
    total = 0
    for number in found.bases:
        rows, columns = found.net.receptive_field(number).size
        step = max(1, math.ceil(max(rows, columns) / side))
        total += found.units[number] * found.net.channels(0) * math.ceil(rows / step) * math.ceil(columns / step)
    return total


def boxes_of(found: Survey) -> list[dict[str, Any]]:
    """The boxes that the page draws for the layers, the image first."""
    net, places = found.net, layout(found.net)
    runs = [number for number in range(1, len(net) + 1) if net.blocked(number) is None]
    shapes = net._shapes(net.input_shape, runs) if net.input_shape else {}
    image: dict[str, Any] = {
        "name": "image",
        "kind": "image",
        "units": net.widths([0])[0],
        "out": list(net.input_shape or ()),
    }
    boxes = [image | {"row": 0, "lane": 0, "reads": []}]
    for number, layer in enumerate(net.layers, 1):
        box: dict[str, Any] = {"name": net.names[number - 1], "kind": layer.kind, "reads": list(net.inputs[number - 1])}
        box |= {"row": places.rows[number], "lane": places.lanes[number], "units": net.widths([number])[0]}
        box |= {"out": list(shapes.get(number, ())), "window": list(layer.size), "parameters": layer.n_parameters}
        seen = net.fields_within(0)[number]
        if seen is not None and net.blocked(number) is None:
            box |= {"field": list(seen.size), "stride": list(seen.stride), "offset": list(seen.offset)}
        if number in found.units:
            box |= {"shown": found.units[number], "base": found.base[number]}
        else:
            box["reason"] = found.reasons[number]
        boxes.append(box)
    return boxes
