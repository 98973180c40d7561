"""The second order of units on the page: their pictures, and the images that excite and suppress them most."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from .. import fast
from ..activation_patterns import Statistics, covariance
from ..arguments import Array
from ..eigenpictures import QuadraticUnit, decode_quadratic, prior
from ..network import Network
from .forms import Forms, decode_all, writes_out
from .sheets import MIDDLE, draw, one_or_three, sheet, shrunk
from .shown import Shown
from .writing import write_data

Asked = dict[int, list[int]]

PICTURES = 6
FILE = 40  # units in a file
SIDE = 48
LEVEL = 4  # bytes between the levels of a picture, which makes its file small
FEW = 4  # units of a layer that are decoded one after the other


def write_second(place: Path, net: Network, asked: Asked, shown: Shown, step: Callable[[], None]) -> None:
    """Files of the units asked for, some in each; `step` is called after each unit."""
    forms = Forms(net)
    for number, units in asked.items():
        decoded = _decoded(forms, number, units, _statistics(net, number, shown))
        for start in range(0, len(units), FILE):
            some = []
            for unit in islice(decoded, FILE):
                some.append(unit)
                step()
            write_data(place, f"{number}-second-{start // FILE}", _described(some))


def _decoded(forms: Forms, number: int, units: list[int], statistics: Statistics) -> Iterator[QuadraticUnit]:
    """All together where their forms can be written out, otherwise one after the other."""
    n = min(PICTURES, math.prod(forms.shape(number)))
    if len(units) > FEW and writes_out(forms.net, number):
        yield from decode_all(forms, number, units, n, statistics)
        return
    for k in units:
        yield decode_quadratic(forms.net, number, k, n=n, statistics=statistics, backend=fast)


def _statistics(net: Network, number: int, shown: Shown) -> Statistics:
    """Those of the images, where the unit sees one whole image and there are enough; else the prior of natural scenes."""
    size = net.receptive_field(number).size
    images = shown.batches[0] if shown else None
    if images is None or len(images) < 2 * images[0].size or images.shape[2:] != size:
        return prior(net, (net.channels(0), *size))
    return covariance(images)


def _described(units: list[QuadraticUnit]) -> dict[str, Any]:
    tiles, facts = list[Array](), []
    for each in units:
        order = np.argsort(-each.eigenvalues, kind="stable")
        ends = [each.most_exciting(), each.most_suppressing()]
        drawn = draw(shrunk(one_or_three(np.concatenate([np.stack(ends), each.patterns[order]])), SIDE))
        coarse = MIDDLE + np.rint((drawn.bytes.astype(int) - MIDDLE) / LEVEL) * LEVEL
        facts.append(
            {
                "first": len(tiles),
                "values": [float(f"{value:.3g}") for value in each.eigenvalues[order]],
                "shares": [float(f"{value:.3g}") for value in each.explained[order]],
            }
        )
        tiles.extend(coarse.clip(1, 255).astype(np.uint8))
    return {"units": facts, "sheet": sheet(np.stack(tiles))}
