"""The second order of units on the page: their pictures, and the images that excite and suppress them most."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from .. import fast
from ..arguments import Array
from ..eigenpictures import QuadraticUnit, decode_quadratic
from ..network import Network
from ..patterns import Statistics, covariance
from .model import Survey
from .sheets import draw, one_or_three, sheet, shrunk
from .shown import Shown
from .writing import write_data

Asked = dict[int, list[int]]

PICTURES = 6
FILE = 40  # units in a file
SIDE = 48


def write_second(
    place: Path, net: Network, found: Survey, asked: Asked, shown: Shown, step: Callable[[], None]
) -> None:
    """Files of the units asked for, some in each; `step` is called after each unit."""
    for number, units in asked.items():
        statistics = _statistics(net, number, shown)
        for start in range(0, len(units), FILE):
            some = []
            for k in units[start : start + FILE]:
                pixels = int(np.prod(net.receptive_field(number).size)) * net.channels(0)
                some.append(
                    decode_quadratic(net, number, k, n=min(PICTURES, pixels), statistics=statistics, backend=fast)
                )
                step()
            write_data(place, f"{number}-second-{start // FILE}", _described(some))


def _statistics(net: Network, number: int, shown: Shown) -> Statistics | None:
    """Those of the images, where the unit sees one whole image and there are enough; else the prior of natural scenes."""
    seen = net.receptive_field(number)
    images = shown.batches[0] if shown else None
    if images is None or len(images) < 2 * images[0].size or images.shape[2:] != seen.size:
        return None
    return covariance(images)


def _described(units: list[QuadraticUnit]) -> dict[str, Any]:
    tiles, facts = list[Array](), []
    for each in units:
        order = np.argsort(-each.eigenvalues, kind="stable")
        ends = [each.most_exciting(), each.most_suppressing()]
        drawn = draw(shrunk(one_or_three(np.concatenate([np.stack(ends), each.patterns[order]])), SIDE))
        facts.append(
            {
                "first": len(tiles),
                "values": [float(f"{value:.3g}") for value in each.eigenvalues[order]],
                "shares": [float(f"{value:.3g}") for value in each.explained[order]],
            }
        )
        tiles.extend(drawn.bytes)
    return {"units": facts, "sheet": sheet(np.stack(tiles))}
