"""What the page says of a network before anything is measured: which layers have units, which share pictures, how many fit."""

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

SIDES = (96, 64, 48, 32, 24)  # pixels that a unit's picture has at most
PIXELS = 36e6  # of all pictures together, each channel counted
MOST, LEAST = 1024, 32  # units of a layer that are shown, unless a number is asked for
NUMBERS = 2e7  # of a layer's decoded filters together, beyond which fewer are shown


@dataclass
class Survey:
    """What is on the page.

    Attributes
    ----------
    units : dict of int to int
        For each layer that has any, how many of its units, the first ones, are shown.
    reasons : dict of int to str
        Why a layer has none.
    base : dict of int to int
        The layer whose pictures a layer shows: its own, or that of a layer whose units it passes on, each times a factor.
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
        """The layers that show the pictures of this one, itself first."""
        return sorted(number for number, each in self.base.items() if each == base)


def survey(net: Network, layers: Sequence[int | str] | None, units: int | None, kinds: int) -> Survey:
    """Find what to show: all layers that can be decoded, or those asked for, so many units of each.

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
    """How many units are decoded and drawn in some seconds."""
    return int(np.clip(NUMBERS / (net.channels(0) * math.prod(net.receptive_field(number).size)), LEAST, MOST))


def _pixels(found: Survey, side: int) -> int:
    """Of all pictures, each drawn at most so large, its channels counted."""
    total = 0
    for number in found.bases:
        rows, columns = found.net.receptive_field(number).size
        step = max(1, math.ceil(max(rows, columns) / side))
        total += found.units[number] * found.net.channels(0) * math.ceil(rows / step) * math.ceil(columns / step)
    return total


def boxes_of(found: Survey) -> list[dict[str, Any]]:
    """The layers, the image first, as the page draws them."""
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
