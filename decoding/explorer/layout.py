"""Where the layers of a network are drawn: rows from the image down, lanes side by side, tracks for what skips layers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from ..network import Network


class Edge(NamedTuple):
    """From a layer to one that reads it; on a track beside the boxes where layers lie between, −1 otherwise."""

    start: int
    end: int
    track: int


class Layout(NamedTuple):
    """Row and lane of each layer, 0 being the image; and the edges."""

    rows: list[int]
    lanes: list[int]
    edges: list[Edge]


def layout(net: Network) -> Layout:
    """Draw each layer below all that it reads, the longest way through the network straight down the first lane.

    A layer's row is the length of the longest way to it from the image. What does not lie on the longest way is cut into
    stretches, each of which takes the first lane that is free along it; an edge that passes over rows takes a track.

    Examples
    --------
    >>> from decoding import Conv, Sum
    >>> net = Network([Conv([[[[1]]]]), Conv([[[[2]]]]), Sum(), Sum()], inputs=[0, 1, (1, 2), (1, 3)])
    >>> layout(net).rows, layout(net).edges[-2:]
    ([0, 1, 2, 3, 4], [Edge(start=1, end=4, track=0), Edge(start=3, end=4, track=-1)])
    """
    rows = [0]
    for below in net.inputs:
        rows.append(1 + max(rows[i] for i in below))
    return Layout(rows, _lanes(net, rows), _edges(net, rows))


def _lanes(net: Network, rows: list[int]) -> list[int]:
    """The longest stretches first, each in the first lane that nothing else takes in its rows or next to them."""
    lanes, taken = [-1] * len(rows), list[list[tuple[int, int]]]()
    for number in sorted(range(len(rows)), key=lambda n: -rows[n]):
        if lanes[number] >= 0:
            continue
        stretch = _stretch(net, rows, lanes, number)
        span = rows[stretch[-1]], rows[stretch[0]]
        lane = _free(taken, span)
        for each in stretch:
            lanes[each] = lane
    return lanes


def _stretch(net: Network, rows: list[int], lanes: list[int], number: int) -> list[int]:
    """From a layer down to the image, from row to row, as far as no other stretch has been."""
    found = [number]
    while found[-1]:
        below = [i for i in net.inputs[found[-1] - 1] if rows[i] == rows[found[-1]] - 1 and lanes[i] < 0]
        if not below:
            break
        found.append(below[0])
    return found


def _edges(net: Network, rows: list[int]) -> list[Edge]:
    """All edges in the order of the layers that read; those from one layer share a track."""
    reads = [(i, number) for number, below in enumerate(net.inputs, 1) for i in dict.fromkeys(below)]
    long: dict[int, int] = {}
    for i, number in reads:
        if rows[number] - rows[i] > 1:
            long[i] = max(long.get(i, 0), rows[number])
    taken = list[list[tuple[int, int]]]()
    tracks = {
        i: _free(taken, (rows[i] + 1, last - 1)) for i, last in sorted(long.items(), key=lambda each: rows[each[0]])
    }
    return [Edge(i, number, tracks[i] if rows[number] - rows[i] > 1 else -1) for i, number in reads]


def _free(taken: list[list[tuple[int, int]]], span: tuple[int, int]) -> int:
    """The first lane that is free along the span, which it takes from then on."""
    lane = next((lane for lane, spans in enumerate(taken) if _apart(spans, span)), len(taken))
    if lane == len(taken):
        taken.append([])
    taken[lane].append(span)
    return lane


def _apart(spans: Iterable[tuple[int, int]], span: tuple[int, int]) -> bool:
    return all(last < span[0] or span[1] < first for first, last in spans)
