"""Where the layers of a network are drawn: rows from the image down, and lanes side by side."""

from __future__ import annotations

from typing import NamedTuple

from ..network import Network


class Layout(NamedTuple):
    """The row and the lane of each layer; number 0 is the image."""

    rows: list[int]
    lanes: list[int]


def layout(net: Network) -> Layout:
    """Place each layer below all that it reads, with the longest path through the network straight down the first lane.

    A layer's row is the length of the longest path to it from the image. Layers that are not on the longest path form
    stretches, each of which gets the first lane that is free along it.

    Examples
    --------
    >>> from decoding import Conv, Sum
    >>> branch = [Conv([[[[1]]]]), Conv([[[[2]]]]), Conv([[[[3]]]]), Sum()]
    >>> layout(Network(branch, inputs=[0, 1, 1, (2, 3)]))
    Layout(rows=[0, 1, 2, 2, 3], lanes=[0, 0, 0, 1, 0])
    """
    rows = [0]
    for below in net.inputs:
        rows.append(1 + max(rows[i] for i in below))
    return Layout(rows, _lanes(net, rows))


def _lanes(net: Network, rows: list[int]) -> list[int]:
    """The lane of each layer. Stretches get lanes in order of their length, each the first that is free in its rows."""
    lanes, taken = [-1] * len(rows), list[list[tuple[int, int]]]()
    for number in sorted(range(len(rows)), key=lambda n: -rows[n]):
        if lanes[number] < 0:
            stretch = _stretch(net, rows, lanes, number)
            lane = _free(taken, (rows[stretch[-1]], rows[stretch[0]]))
            for member in stretch:
                lanes[member] = lane
    return lanes


def _stretch(net: Network, rows: list[int], lanes: list[int], number: int) -> list[int]:
    """The layers from one towards the image, a row at a time, as far as they belong to no other stretch."""
    found = [number]
    while found[-1]:
        below = [i for i in net.inputs[found[-1] - 1] if rows[i] == rows[found[-1]] - 1 and lanes[i] < 0]
        if not below:
            break
        found.append(below[0])
    return found


def _free(taken: list[list[tuple[int, int]]], span: tuple[int, int]) -> int:
    """The first lane that is free along the span; from then on it is taken there."""
    apart = (all(last < span[0] or span[1] < first for first, last in spans) for spans in taken)
    lane = next((lane for lane, free in enumerate(apart) if free), len(taken))
    if lane == len(taken):
        taken.append([])
    taken[lane].append(span)
    return lane
