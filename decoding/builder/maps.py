"""Adds layers, and finds the maps that tensors of any axes stand for."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ..arguments import Array
from ..errors import DecodingError, ShapeError
from ..layers import Concat, Layer, PixelShuffle, Select, Shape, Unsupported
from .views import (
    CHANNELS,
    COLUMNS,
    IMAGES,
    LARGEST_IMAGE,
    MOST_NUMBERS,
    ROWS,
    Axes,
    Cannot,
    Opaque,
    Part,
    Tensor,
    View,
    axis_of,
    full_axis,
    merged,
    places_of,
    reshaped,
    size_of,
    unique_name,
)


class Maps:
    """Layers, and what they read, as they are added.

    Parameters
    ----------
    image : (C, H, W)
    images : int
        How many images a file computes at a time; 1, unless its shapes say otherwise.
    """

    def __init__(self, image: Shape, images: int = 1) -> None:
        self.layers: list[Layer] = []
        self.inputs: list[tuple[int, ...]] = []
        self.shapes: list[Shape | None] = [image]
        self.labels: list[str] = [""]
        self.jumps: list[tuple[int, int] | None] = [
            (1, 1)
        ]  # pixels from one unit to the next; None if there is no one step
        self.label = ""  # the name for the layers that are added next
        self.images = images
        self.dtype: np.dtype[Any] = np.dtype(np.float32)  # the precision of all weights so far
        self.aliases: dict[str, int] = {}
        self.modules: dict[str, int] = {}  # the last layer of each module
        self._picked: dict[Any, int] = {}

    # Layers

    def put(self, layer: Layer, *below: int, part: str = "") -> int:
        """Add a layer that reads the layers `below`; returns its number."""
        number, shapes = len(self.layers) + 1, [self.shapes[i] for i in below]
        shape: Shape | None = None
        if not isinstance(layer, Unsupported):
            known = [shape for shape in shapes if shape is not None]
            assert len(known) == len(shapes)
            shape = layer.shape(*known)
            if math.prod(shape) > MOST_NUMBERS or max(shape[1:]) > LARGEST_IMAGE:
                raise ShapeError(f"{layer.kind}: its output would be {shape}, which is larger than is allowed.")
        steps = [self.jumps[i] for i in below[: layer.follows]]
        jump = None if layer.phases or isinstance(layer, Unsupported) else steps[0]
        if jump is not None and None not in steps and len(set(steps)) > 1:
            raise Cannot(f"it joins maps whose units are not equally far apart in the image: {steps}")
        if jump is not None:
            jump = None if None in steps else (jump[0] * layer.stride[0], jump[1] * layer.stride[1])
        self.dtype = np.result_type(self.dtype, *(array.dtype for array in layer.weights.values()))
        self.layers.append(layer)
        self.inputs.append(below)
        self.jumps.append(jump)
        self.shapes.append(shape)
        self.labels.append(self.label + (f".{part}" if part and self.label else part))
        return number

    def within(self, module: str, layer: int) -> None:
        """Note that `layer` is the last so far of a module, and of the modules that hold it."""
        parts = module.split(".")[:32]
        for i in range(1, len(parts) + 1):
            self.modules[".".join(parts[:i])] = layer

    def whole(self, layer: int) -> View:
        """The maps of a layer as a tensor, (N, C, H, W)."""
        shape = self.shapes[layer]
        assert shape is not None
        sizes = (self.images, *shape)
        return View(layer, tuple((Part(axis, size, 1),) if size > 1 else () for axis, size in enumerate(sizes)))

    def image(self, last: bool = False) -> View:
        """The image as a tensor, (N, C, H, W), or with the channels last, (N, H, W, C)."""
        view = self.whole(0)
        return self.transpose(view, (0, 2, 3, 1)) if last else view

    def unsupported(self, type: str, below: Iterable[Tensor], reason: str = "") -> Opaque:
        """Add an unsupported layer, which blocks what reads it."""
        read = tuple(dict.fromkeys(source.layer for source in below if isinstance(source, (View, Opaque)))) or (0,)
        return Opaque(self.put(Unsupported(type, reason=reason), *read))

    def finish(self, outputs: Sequence[Tensor]) -> tuple[list[Layer], list[tuple[int, ...]], dict[str, str]]:
        """The layers that the outputs need, the numbers of the layers that each reads, and further names."""
        tops = [output.layer for output in outputs if isinstance(output, (View, Opaque))]
        live = set(tops)
        for number in range(len(self.layers), 0, -1):
            if number in live:
                live.update(self.inputs[number - 1])
        order = sorted(live - {0})
        numbers = {0: 0, **{old: new for new, old in enumerate(order, 1)}}
        taken: set[str] = set()
        layers = []
        for old in order:
            layers.append(self.layers[old - 1].replace(name=unique_name(self.labels[old], taken)))
        names = {number: layer.name or f"layer{number}" for number, layer in enumerate(layers, 1)}
        aliases = {
            alias: names[numbers[old]]
            for alias, old in {**self.modules, **self.aliases}.items()
            if alias and alias not in taken and numbers.get(old, 0)
        }
        return layers, [tuple(numbers[i] for i in self.inputs[old - 1]) for old in order], aliases

    def settled(self, tensor: View | Opaque, label: str) -> View | Opaque:
        """An output as maps (N, C, H, W), if it is maps; a layer that is added for that gets the label."""
        if isinstance(tensor, View) and len(tensor.axes) == 4:
            self.label, before = label, len(self.layers)
            try:
                number = self.maps(tensor)
            except DecodingError:
                return tensor
            if number > before:
                self.labels[number] = label
            return self.whole(number)
        return tensor

    # Views

    def maps(self, view: View) -> int:
        """The number of the layer whose maps are the tensor, (N, C, H, W); a layer is added if channels must be reordered."""
        axes = tuple(merged(axis) for axis in view.axes)
        if len(axes) != 4:
            raise Cannot(f"it reads a tensor {view.shape}, not maps (N, C, H, W)")
        shape = self._shape(view.layer)
        if axes[0] == full_axis(IMAGES, self.images):
            rows, columns = full_axis(ROWS, shape[1]), full_axis(COLUMNS, shape[2])
            if axes[2:] == (rows, columns):
                return self.ordered(view.layer, axes[1])
            if axes[2][: len(rows)] == rows and axes[3][: len(columns)] == columns:
                blocks = axes[2][len(rows) :], axes[3][len(columns) :]
                if all(part.axis == CHANNELS for block in blocks for part in block):
                    below = self.ordered(view.layer, (*axes[1], *blocks[0], *blocks[1]))
                    return self.put(PixelShuffle((size_of(blocks[0]), size_of(blocks[1]))), below)
            stacked = self._stacked(view.layer, axes, shape)
            if stacked is not None:
                return stacked
        raise Cannot("the axes of what it reads cannot be brought to the order images, channels, rows, columns")

    def _stacked(self, layer: int, axes: Axes, shape: Shape) -> int | None:
        """Space to depth, if the tensor is that: the cells of each block of rows and columns become channels."""
        inner = [part for part in axes[1] if part.axis != CHANNELS]
        steps = {ROWS: 1, COLUMNS: 1}
        for part in inner:
            if part.axis == IMAGES or part.step != 1 or steps[part.axis] > 1:
                return None
            steps[part.axis] = part.size
        for axis, kept_axis, side in ((ROWS, axes[2], shape[1]), (COLUMNS, axes[3], shape[2])):
            size = side // steps[axis]
            if side % steps[axis] or kept_axis != ((Part(axis, size, steps[axis]),) if size > 1 else ()):
                return None
        r, c = steps[ROWS], steps[COLUMNS]
        if (r, c) == (1, 1):
            return None
        cells = [(i, j) for i in range(r) for j in range(c)]
        below = [self.selected(layer, np.arange(shape[0]), (r, c), cell, f"cell{n}") for n, cell in enumerate(cells)]
        joined = self.put(Concat(), *below, part="cells")
        channels = {ROWS: c * shape[0], COLUMNS: shape[0]}
        parts = [part if part.axis == CHANNELS else Part(CHANNELS, part.size, channels[part.axis]) for part in axes[1]]
        return self.ordered(joined, parts)

    def ordered(self, layer: int, parts: Sequence[Part]) -> int:
        """The number of a layer with the channels in the order of the parts; it is added if needed."""
        count = self._shape(layer)[0]
        if any(part.axis != CHANNELS for part in parts) or size_of(parts) != count:
            raise Cannot("it reads a tensor whose channels are mixed with rows, columns or images")
        return self.picked(layer, places_of(parts), "channels")

    def picked(self, layer: int, channels: Array, part: str = "") -> int:
        """The number of a layer with these channels; of the layer itself if they are all its channels in order."""
        return self.selected(layer, channels, (1, 1), (0, 0), part)

    def selected(
        self, layer: int, channels: Array, stride: tuple[int, int], start: tuple[int, int], part: str = ""
    ) -> int:
        """The number of a layer with these channels, rows and columns; a `Select` below is merged with it."""
        below = self._made(layer)
        if isinstance(below, Select):
            channels = np.where(channels < 0, -1, np.append(below.chosen, -1)[channels])
            start = (
                below.start[0] + below.stride[0] * start[0],
                below.start[1] + below.stride[1] * start[1],
            )
            stride = (below.stride[0] * stride[0], below.stride[1] * stride[1])
            layer = self.inputs[layer - 1][0]
        count = self._shape(layer)[0]
        if stride == (1, 1) and start == (0, 0) and np.array_equal(channels, np.arange(count)):
            return layer
        key = (layer, stride, start, tuple(channels.tolist()))
        if key not in self._picked:
            self._picked[key] = self.put(Select(channels, stride=stride, start=start), layer, part=part)
        return self._picked[key]

    def reshape(self, view: View, shape: Sequence[int]) -> View:
        if math.prod(shape) != math.prod(view.shape) or min(shape, default=1) < 1:
            raise ShapeError(f"a tensor {view.shape} cannot be reshaped to {tuple(shape)}.")
        return self._moved(view, reshaped([part for axis in view.axes for part in axis], shape))

    def transpose(self, view: View, order: Sequence[int]) -> View:
        order = [axis_of(i, len(view.axes)) for i in order]
        if sorted(order) != list(range(len(view.axes))):
            raise ShapeError(f"{order} is no order of the axes of a tensor {view.shape}.")
        turned = {(layer, tuple(merged(axes[i]) for i in order)): trace for (layer, axes), trace in view.traces.items()}
        return View(view.layer, tuple(merged(view.axes[i]) for i in order), turned)

    def flatten(self, view: View, start: int = 1, end: int = -1) -> View:
        first, last = axis_of(start, len(view.axes)), axis_of(end, len(view.axes))
        merged = tuple(part for axis in view.axes[first : last + 1] for part in axis)
        return self._moved(view, (*view.axes[:first], merged, *view.axes[last + 1 :]))

    def squeeze(self, view: View, axes: Sequence[int] | None = None) -> View:
        gone = (
            {i for i, n in enumerate(view.shape) if n == 1}
            if axes is None
            else {axis_of(i, len(view.axes)) for i in axes}
        )
        if any(view.shape[i] != 1 for i in gone):
            raise ShapeError(f"axes {sorted(gone)} of a tensor {view.shape} are not all of length 1.")
        return self._moved(view, tuple(axis for i, axis in enumerate(view.axes) if i not in gone))

    def unsqueeze(self, view: View, axes: Sequence[int]) -> View:
        rank = len(view.axes) + len(axes)
        new = {axis_of(i, rank) for i in axes}
        if len(new) < len(axes):
            raise ShapeError(f"axes {list(axes)} are not all different.")
        old = iter(view.axes)
        return self._moved(view, tuple(() if i in new else next(old) for i in range(rank)))

    def _moved(self, view: View, axes: Axes) -> View:
        return View(view.layer, tuple(merged(axis) for axis in axes), {})

    def _made(self, layer: int) -> Layer | None:
        """The layer of that number; None for the image."""
        return self.layers[layer - 1] if layer else None

    def _shape(self, layer: int) -> Shape:
        shape = self.shapes[layer]
        assert shape is not None
        return shape

    # Constants

    def vector(self, view: View, constant: Array) -> Array:
        """A constant as one number for each channel of the view's layer, or as a single number."""
        if constant.size == 1:
            if constant.ndim > len(view.axes):
                raise Cannot("a constant would give it more axes")
            return constant.reshape(())
        if constant.ndim > len(view.axes):
            raise Cannot(f"its constant {constant.shape} has more axes than its maps {view.shape}")
        array: Array = constant.reshape((1,) * (len(view.axes) - constant.ndim) + constant.shape)
        sizes: list[int] = []
        parts: list[Part] = []
        for axis, side, count in zip(view.axes, tuple(map(int, array.shape)), view.shape, strict=True):
            if side not in (1, count):
                raise Cannot(f"its constant {constant.shape} does not fit its maps {view.shape}")
            sizes += [part.size if side > 1 else 1 for part in axis]
            parts += axis
        array = array.reshape(sizes)
        for i, part in enumerate(parts):
            if part.axis != CHANNELS and array.shape[i] > 1:
                first = array.take([0], axis=i)
                if not (array == first).all():
                    raise Cannot("its constant differs from place to place")
                array = first
        keep = [i for i, part in enumerate(parts) if part.axis == CHANNELS]
        array = array.reshape([array.shape[i] for i in keep])
        order = sorted(range(len(keep)), key=lambda i: -parts[keep[i]].step)
        array = np.broadcast_to(array.transpose(order), [parts[keep[i]].size for i in order])
        return array.reshape(-1)

    def _channelwise(self, view: View, array: Array) -> Array:
        vector = self.vector(view, array)
        return np.broadcast_to(vector, self._shape(view.layer)[0]) if not vector.ndim else vector
