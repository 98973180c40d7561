"""Tensors of any axes, described by how they lie in the maps of layers: with axes split, merged and permuted."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from ..arguments import Array, plural
from ..errors import ShapeError, UnsupportedLayerError

IMAGES, CHANNELS, ROWS, COLUMNS = range(4)
LARGEST_IMAGE = 2**16  # the most rows or columns of an image or a receptive field
MOST_NUMBERS = 2**31  # the most numbers in the responses of a layer to one image
TRACES = 8  # of so many maps at most it is remembered that a tensor is a function of them
POINTS = np.linspace(-9.0, 9.0, 73)  # the arguments at which functions are compared


class Cannot(UnsupportedLayerError):
    """There is no layer for what an operator does. It becomes an unsupported layer, with this message as the reason."""


def for_channels(value: Any, count: int) -> Any:
    """A mean or deviation; a single number becomes one number for each channel."""
    return (
        np.full(count, value) if isinstance(value, (float, int, np.number)) and not isinstance(value, bool) else value
    )


class Part(NamedTuple):
    """A part of an axis of a layer's maps: `size` cells that are `step` apart. An axis of a tensor is made of such parts.

    For example, a channel shuffle splits an axis of 6 channels into two axes of 2 and 3, with the parts (1, 2, 3) and
    (1, 3, 1), and exchanges them.
    """

    axis: int
    size: int
    step: int


Axes = tuple[tuple[Part, ...], ...]


class Trace(NamedTuple):
    """What a tensor is as a function of a map: its values at `POINTS`, and how many operators lie between (`depth`)."""

    values: Array
    depth: int


@dataclass(frozen=True)
class View:
    """A tensor: the maps of a layer with their axes split, merged and permuted."""

    layer: int
    axes: Axes
    traces: dict[tuple[int, Axes], Trace] = field(default_factory=dict, compare=False)

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(math.prod(part.size for part in axis) for axis in self.axes)

    @property
    def key(self) -> tuple[int, Axes]:
        return self.layer, self.axes

    def history(self) -> dict[tuple[int, Axes], Trace]:
        """The maps that this tensor is a function of, its own included."""
        return {**self.traces, self.key: Trace(POINTS, 0)}


@dataclass(frozen=True)
class Opaque:
    """A tensor of which nothing is known but the unsupported layer that makes it."""

    layer: int


Tensor = View | Opaque | Array


def unique_name(label: str, taken: set[str]) -> str | None:
    if not label:
        return None
    name, n = label, 0
    while name in taken:
        n += 1
        name = f"{label}_{n}"
    taken.add(name)
    return name


def merged(parts: Sequence[Part]) -> tuple[Part, ...]:
    """The parts of an axis, with neighbours merged into one where that is possible."""
    out: list[Part] = []
    for part in parts:
        if part.size == 1:
            continue
        if out and out[-1].axis == part.axis and out[-1].step == part.size * part.step:
            out[-1] = Part(part.axis, out[-1].size * part.size, part.step)
        else:
            out.append(part)
    return tuple(out)


def reshaped(parts: Sequence[Part], shape: Sequence[int]) -> Axes:
    left, axes = deque(part for part in parts if part.size > 1), []
    for side in shape:
        axis: list[Part] = []
        while side > 1:
            if not left:
                raise ShapeError(f"there are too few numbers for the shape {tuple(shape)}.")
            part = left.popleft()
            if side % part.size == 0:
                axis.append(part)
                side //= part.size
            elif part.size % side == 0:
                inner = part.size // side
                axis.append(Part(part.axis, side, part.step * inner))
                left.appendleft(Part(part.axis, inner, part.step))
                side = 1
            else:
                raise Cannot(f"the shape {tuple(shape)} does not split channels, rows or columns evenly")
        axes.append(tuple(axis))
    return tuple(axes)


def full_axis(axis: int, size: int) -> tuple[Part, ...]:
    return (Part(axis, size, 1),) if size > 1 else ()


def size_of(parts: Sequence[Part]) -> int:
    return math.prod(part.size for part in parts)


def parts_of(axes: Sequence[Sequence[Part]], kind: int) -> list[Part]:
    """All parts of one kind, such as channels or rows."""
    return [part for axis in axes for part in axis if part.axis == kind]


def places_of(parts: Sequence[Part]) -> Array:
    """The places along one axis of the maps, in the order of the parts."""
    places = np.zeros(1, np.intp)
    for part in parts:
        places = np.add.outer(places, np.arange(part.size) * part.step).ravel()
    return places


def axis_of(axis: int, rank: int) -> int:
    if not -rank <= axis < rank:
        raise ShapeError(f"axis {axis} of a tensor with {plural(rank, 'axis').replace('axiss', 'axes')}.")
    return axis % rank


def evenly(places: Array) -> tuple[int, int] | None:
    """(first, step) of places that are evenly spaced in rising order; None if they are not."""
    if places.size == 1:
        return int(places[0]), 1
    step = int(places[1] - places[0])
    if step < 1 or not (np.diff(places) == step).all():
        return None
    return int(places[0]), step


def fitting(a: Sequence[int], b: Sequence[int]) -> bool:
    return all(x == y or 1 in (x, y) for x, y in zip(a[::-1], b[::-1], strict=False))
