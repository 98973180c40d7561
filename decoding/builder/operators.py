"""The layers that operators of other libraries become: a method for each operator, for ONNX and PyTorch alike."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..arguments import Array, plural
from ..errors import ShapeError
from ..layers import (
    AvgPool,
    BatchNorm,
    Clip,
    Concat,
    Conv,
    ConvTranspose,
    Gate,
    GroupNorm,
    HardSigmoid,
    Layer,
    LayerNorm,
    MaxPool,
    Pad,
    Power,
    PReLU,
    Quantize,
    ReLU,
    Resampling,
    Resize,
    Scale,
    Select,
    Sigmoid,
    Softmax,
    Sum,
    Tanh,
    Unsupported,
)
from .pieces import MOST_PIECES, Pieces
from .views import (
    CHANNELS,
    COLUMNS,
    IMAGES,
    LARGEST_IMAGE,
    ROWS,
    Axes,
    Cannot,
    Part,
    View,
    axis_of,
    evenly,
    fitting,
    full_axis,
    merged,
    parts_of,
    places_of,
    size_of,
)


class Builder(Pieces):
    """Adds the layers of operators."""

    # Constants

    def affine(self, view: View, scale: Array | float, bias: Array | float, sole: bool = False) -> View:
        """The tensor times a constant, plus a constant; merged with the layer below if nothing else reads that (`sole`)."""
        for value in map(np.asarray, (scale, bias)):
            if value.size > 1 and value.ndim <= len(view.axes) and fitting(view.shape, value.shape):
                view = self.expand(view, np.broadcast_shapes(view.shape, value.shape))
        factor, offset = (self.vector(view, np.asarray(value)) for value in (scale, bias))
        traces = {}
        if not factor.ndim and not offset.ndim:
            if float(factor) == 1 and float(offset) == 0:
                return view
            traces = self._traced(view, lambda z: z * float(factor) + float(offset))
            if not factor:
                raise Cannot("it multiplies by zero")
        found = self._recognized(traces)
        if found is not None:
            return found
        factors, offsets = self._channelwise(view, np.asarray(scale)), self._channelwise(view, np.asarray(bias))
        layer = self._made(view.layer)
        factors, offsets = factors.astype(self.dtype), offsets.astype(self.dtype)
        number, label = view.layer, self.label
        merged: Layer | None = None
        if sole and isinstance(layer, (Scale, LayerNorm, GroupNorm)):
            merged = layer.replace(scale=layer.scale * factors, bias=layer.bias * factors + offsets)
        elif sole and isinstance(layer, Conv) and (factors == 1).all():
            merged = layer.replace(bias=layer.bias + offsets)
        if merged is not None:
            self.label = label if isinstance(layer, Scale) else self.labels[number]
            new = self.put(merged, *self.inputs[number - 1])
            self.label = label
        else:
            new = self.put(Scale(factors, offsets), number)
        return View(new, view.axes, traces)

    # Operators

    def conv(
        self,
        view: View,
        filters: Array,
        bias: Array | None,
        *,
        stride: Sequence[int],
        pad: Sequence[int],
        dilation: Sequence[int],
        groups: int,
    ) -> View:
        if filters.ndim != 4 or len(view.axes) != 4:
            raise Cannot(f"it does not run over rows and columns: filters {filters.shape}, a tensor {view.shape}")
        below, crop = self.maps(view), (0, 0, 0, 0)
        if min(pad) < 0:
            crop = tuple(min(p, 0) for p in pad)  # type: ignore[assignment]
            below = self.put(Pad(crop), below, part="crop")
        pads = tuple(max(p, 0) for p in pad)
        layer = Conv(filters, bias, stride=stride, pad=pads, dilation=dilation, groups=groups)
        return self.whole(self.put(layer, below))

    def conv_transpose(
        self,
        view: View,
        filters: Array,
        bias: Array | None,
        *,
        stride: Sequence[int],
        pad: Sequence[int],
        extra: Sequence[int],
        dilation: Sequence[int],
        groups: int,
    ) -> View:
        if filters.ndim != 4 or len(view.axes) != 4:
            raise Cannot(f"it does not run over rows and columns: filters {filters.shape}, a tensor {view.shape}")
        layer = ConvTranspose(filters, bias, stride=stride, pad=pad, extra=extra, dilation=dilation, groups=groups)
        return self.whole(self.put(layer.plain(), self.maps(view)))

    def linear(self, view: View, weights: Array, bias: Array | None = None) -> View:
        """A product with a matrix (inputs, units) along the last axis: a convolution over all that was flattened into that axis."""
        if weights.ndim != 2 or not view.axes or weights.shape[0] != view.shape[-1]:
            raise ShapeError(f"weights {weights.shape} do not fit the last axis of a tensor {view.shape}.")
        shape, last = self._shape(view.layer), merged(view.axes[-1])
        taken = {axis: math.prod(part.size for part in last if part.axis == axis) for axis in range(4)}
        sides = (shape[1] if taken[ROWS] > 1 else 1, shape[2] if taken[COLUMNS] > 1 else 1)
        if taken[IMAGES] > 1 or taken[CHANNELS] != shape[0] or (taken[ROWS], taken[COLUMNS]) != sides:
            raise Cannot("it multiplies only a part of the channels, rows or columns")
        bank = weights.T.reshape(weights.shape[1], *(part.size for part in last))
        order = sorted(range(len(last)), key=lambda i: (last[i].axis, -last[i].step))
        bank = bank.transpose(0, *(1 + i for i in order)).reshape(weights.shape[1], shape[0], *sides)
        number = self.put(Conv(bank, bias), view.layer)
        units = (Part(CHANNELS, weights.shape[1], 1),) if weights.shape[1] > 1 else ()
        return View(number, (*view.axes[:-1], units))

    def batch_norm(
        self, view: View, scale: Array, bias: Array, mean: Array, variance: Array, epsilon: float, axis: int = 1
    ) -> View:
        shape = [1] * len(view.axes)
        shape[axis_of(axis, len(shape))] = -1
        values = [self._channelwise(view, value.reshape(shape)) for value in (scale, bias, mean, variance)]
        if (values[3] + epsilon <= 0).any():
            raise ShapeError(f"its variance has the value {values[3].min()}, and must be positive.")
        std = np.sqrt(values[3] + values[3].dtype.type(epsilon))
        layer = BatchNorm(values[0], values[1], mean=values[2], std=std, epsilon=epsilon)
        return View(self.put(layer, view.layer), view.axes)

    def elementwise(self, view: View, layer: Layer) -> View:
        """A function of each response, the same for all channels."""
        traces = self._traced(view, layer.function) if hasattr(layer, "function") else {}
        found = self._recognized(traces)
        return found if found is not None else View(self.put(layer, view.layer), view.axes, traces)

    def prelu(self, view: View, slope: Array) -> View:
        slopes = self.vector(view, slope)
        if not slopes.ndim:
            return self.elementwise(view, ReLU(leak=float(slopes)))
        return View(self.put(PReLU(slopes), view.layer), view.axes)

    def clip(self, view: View, low: float, high: float) -> View:
        if low == 0 and high == math.inf:
            return self.elementwise(view, ReLU())
        if low == -math.inf and high == math.inf:
            return view
        return self.elementwise(view, Clip(low, high))

    def softmax(self, view: View, axis: int, layer: Layer | None = None) -> View:
        along = view.axes[axis_of(axis, len(view.axes))]
        count = self._shape(view.layer)[0]
        if any(part.axis != CHANNELS for part in along) or size_of(along) != count:
            raise Cannot("it runs over something else than all channels at one place")
        return View(self.put(layer or Softmax(), view.layer), view.axes)

    def layer_norm(self, view: View, axis: int, scale: Array | None, bias: Array | None, epsilon: float) -> View:
        first = axis_of(axis, len(view.axes))
        parts = [part for axis in view.axes[first:] for part in axis]
        counts = [math.prod(part.size for part in parts if part.axis == axis) for axis in range(4)]
        shape = self._shape(view.layer)
        ones = np.ones(1, np.float32)
        factors = self._channelwise(view, ones if scale is None else scale)
        offsets = self._channelwise(view, np.zeros(1, factors.dtype) if bias is None else bias)
        if counts == [1, shape[0], 1, 1]:
            layer: Layer = LayerNorm(factors, offsets, epsilon=epsilon)
        elif counts == [1, *shape]:
            layer = GroupNorm(factors, offsets, groups=1, epsilon=epsilon)
        else:
            raise Cannot("it normalizes something else than channels, or whole maps")
        return View(self.put(layer, view.layer), view.axes)

    def group_norm(self, view: View, groups: int, scale: Array | None, bias: Array | None, epsilon: float) -> View:
        """Normalizes groups of channels (the second axis of the tensor), each over the whole map."""
        shape, axes = self._shape(view.layer), [merged(axis) for axis in view.axes]
        if len(axes) < 2 or groups < 1 or math.prod(view.shape[1:]) != math.prod(shape):
            raise Cannot(f"it normalizes a tensor {view.shape}, not maps")
        whole = [part for axis in axes[1:] for part in axis if part.axis == CHANNELS]
        if axes[0] != full_axis(IMAGES, self.images) or (
            whole and tuple(merged(whole)) != full_axis(CHANNELS, shape[0])
        ):
            raise Cannot("it normalizes channels in another order than they have")
        if view.shape[1] != shape[0] and view.shape[1] != groups:
            raise Cannot("it normalizes a part of the channels")
        if any(part.axis != CHANNELS for part in axes[1]):
            raise Cannot("it normalizes rows or columns")
        second = [1] * len(axes)
        second[1] = -1
        factors = self._channelwise(view, np.ones(1, np.float32) if scale is None else scale.reshape(second))
        offsets = self._channelwise(view, np.zeros(1, factors.dtype) if bias is None else bias.reshape(second))
        layer = GroupNorm(factors, offsets, groups=groups, epsilon=epsilon)
        return View(self.put(layer, view.layer), view.axes)

    def pool(
        self,
        view: View,
        kind: str,
        *,
        size: Sequence[int],
        stride: Sequence[int],
        pad: Sequence[int],
        dilation: Sequence[int] = (1, 1),
        ceil: bool = False,
        count_pads: bool = False,
    ) -> View:
        """A max or average pool; with `ceil`, a last window counts although a part of it lies outside."""
        if len(view.axes) != 4 or len(size) != 2:
            raise Cannot(f"it does not run over rows and columns: a window {tuple(size)}, a tensor {view.shape}")
        below = self.maps(view)
        if any(d > 1 and s > 1 for d, s in zip(dilation, size, strict=True)):
            raise Cannot(f"its window has gaps: dilation {tuple(dilation)}")
        pads = list(pad)
        if min(size) < 1 or min(stride) < 1 or min(pads) < 0:
            raise ShapeError(f"a pool has the size {tuple(size)}, stride {tuple(stride)} and pads {tuple(pads)}.")
        counted = count_pads and kind == "mean" and any(pads)
        if counted:
            below, pads = self.put(Pad(pads), below, part="pad"), [0, 0, 0, 0]
        if ceil:
            shape = self._shape(below)
            for a in (0, 1):
                side, before, after = shape[1 + a], pads[2 * a], pads[2 * a + 1]
                steps = -(-(side + before + after - size[a]) // stride[a])
                made = pad[2 * a + 1] if counted else 0  # pads that are part of the maps already
                if steps * stride[a] >= side + before - made:  # a window must not begin beyond the map
                    steps -= 1
                pads[2 * a + 1] = max(after, steps * stride[a] + size[a] - side - before)
        pool = MaxPool if kind == "max" else AvgPool
        if tuple(size) == (1, 1) and tuple(stride) == (1, 1):
            return self.whole(below)
        return self.whole(self.put(pool(size, stride, pad=pads), below))

    def over(self, view: View, axes: Sequence[int], keep: bool, kind: str) -> View:
        """The mean, maximum or sum over whole axes of the tensor."""
        chosen = {axis_of(i, len(view.axes)) for i in axes}
        parts = [part for i in chosen for part in view.axes[i]]
        shape = self._shape(view.layer)
        counts = [math.prod(part.size for part in parts if part.axis == axis) for axis in range(4)]
        rest = tuple(() if i in chosen else axis for i, axis in enumerate(view.axes) if keep or i not in chosen)
        if counts[IMAGES] > 1 or counts[ROWS] not in (1, shape[1]) or counts[COLUMNS] not in (1, shape[2]):
            raise Cannot("it reduces only a part of the rows or columns")
        if counts[CHANNELS] > 1 and kind == "max":
            raise Cannot("it takes the max over channels")
        number, size = view.layer, (counts[ROWS], counts[COLUMNS])
        if math.prod(size) > 1:
            number = self.put((MaxPool if kind == "max" else AvgPool)(size, 1), number)
            if kind == "sum":
                number = self.put(Scale(np.full(shape[0], math.prod(size), self.dtype)), number, part="sum")
        if counts[CHANNELS] == 1:
            return View(number, rest)
        share = 1 / counts[CHANNELS] if kind == "mean" else 1.0
        part = "" if number == view.layer else "channels"
        return self._over_channels(View(number, rest), size_of(parts_of(rest, CHANNELS)), share, part)

    def _over_channels(self, view: View, groups: int, share: float, part_name: str) -> View:
        """Adds up channels in groups, times `share`: a convolution of 1×1. A group is the channels that become one in the tensor."""
        count, kept = self._shape(view.layer)[0], parts_of(view.axes, CHANNELS)
        group, step = np.zeros(count, int), groups
        moved = {}
        for part in kept:
            step //= part.size
            group += np.arange(count) // part.step % part.size * step
            moved[part] = Part(CHANNELS, part.size, step)
        if np.array_equal(group, np.arange(count) // (count // groups)):
            layer = Conv(np.full((groups, count // groups, 1, 1), share, self.dtype), groups=groups)
        else:
            bank = np.zeros((groups, count, 1, 1), self.dtype)
            bank[group, np.arange(count)] = share
            layer = Conv(bank)
        number = self.put(layer, view.layer, part=part_name)
        return View(number, tuple(tuple(moved.get(part, part) for part in axis) for axis in view.axes))

    def variance(self, view: View, axes: Sequence[int], keep: bool) -> View:
        """The mean of the squared differences from the mean over whole axes."""
        off = self.subtract(view, self.over(view, axes, True, "mean"))
        return self.over(self.multiply(off, off), axes, keep, "mean")

    def norm(self, view: View, axes: Sequence[int], keep: bool) -> View:
        """The square root of the sum of squares over whole axes."""
        total = self.over(self.elementwise(view, Power(2)), axes, keep, "sum")
        return self.elementwise(total, Power(0.5))

    def adaptive(self, view: View, kind: str, size: Sequence[int]) -> View:
        """A pool with as many windows as `size` says."""
        below = self.maps(view)
        sides = self._shape(below)[1:]
        if any(n < 1 for n in size):
            raise ShapeError(f"an adaptive pool has {tuple(size)} windows.")
        if any(side % n and n != 1 for side, n in zip(sides, size, strict=True)):
            raise Cannot(f"its {tuple(size)} windows of a map {sides} are not all of one size")
        window = [side // n for side, n in zip(sides, size, strict=True)]
        return self.pool(self.whole(below), kind, size=window, stride=window, pad=(0, 0, 0, 0))

    def pad(self, view: View, pads: Sequence[tuple[int, int]], value: float = 0.0, mode: str = "constant") -> View:
        """Pads or crops; `pads` are (before, after) for each axis of the tensor."""
        if len(pads) != len(view.axes):
            raise ShapeError(f"{plural(len(pads), 'pair')} of pads for a tensor {view.shape}.")
        by_axis: dict[int, tuple[int, int]] = {}
        for i, ((before, after), axis) in enumerate(zip(pads, view.axes, strict=True)):
            if (before, after) == (0, 0):
                continue
            kinds = {part.axis for part in axis}
            if len(kinds) > 1 or len(view.axes) != 4:
                raise Cannot("it pads something else than channels, rows or columns")
            by_axis[self._layout(view)[i]] = (before, after)
        if IMAGES in by_axis:
            raise Cannot("it pads along the axis of images")
        if not by_axis:
            return view
        shape = self._shape(view.layer)
        for before, after in by_axis.values():
            if max(before, after, -before, -after) > LARGEST_IMAGE:
                raise ShapeError(f"pads {before} and {after} are more than {LARGEST_IMAGE}.")
        whole = {axis: full_axis(axis, n) for axis, n in zip((CHANNELS, ROWS, COLUMNS), shape, strict=True)}
        if any(merged(axis) not in whole.values() and merged(axis) for axis in view.axes[1:]):
            raise Cannot("it pads a tensor that is not maps")
        number = view.layer
        if CHANNELS in by_axis:
            before, after = by_axis.pop(CHANNELS)
            if (value != 0 or mode != "constant") and (before > 0 or after > 0):
                raise Cannot("it adds channels that are not zero")
            picked = np.arange(shape[0])[max(-before, 0) : shape[0] - max(-after, 0)]
            number = self.picked(number, np.pad(picked, (max(before, 0), max(after, 0)), constant_values=-1))
        rows, columns = by_axis.get(ROWS, (0, 0)), by_axis.get(COLUMNS, (0, 0))
        if rows != (0, 0) or columns != (0, 0):
            number = self.put(Pad((*rows, *columns), value=value, mode=mode), number)
        order = self._layout(view)
        return self.transpose(self.whole(number), order)

    def _layout(self, view: View) -> list[int]:
        """For a tensor with four axes: which axis of the maps each is; axes of length 1 get those that are left, in order."""
        named = [axis[0].axis if axis else -1 for axis in view.axes]
        left = iter([axis for axis in range(4) if axis not in named])
        return [next(left) if axis < 0 else axis for axis in named]

    def resize(
        self,
        view: View,
        size: Sequence[int],
        *,
        mode: str,
        align: str,
        rounding: str = "floor",
        scale: Sequence[float] | None = None,
    ) -> View:
        """Resizes maps to (rows, columns). `scale`, if given, is used to compute places in place of the ratio of sizes."""
        below = self.maps(view)
        sides = self._shape(below)[1:]
        if tuple(size) == tuple(sides):
            return self.whole(below)
        if max(size) > LARGEST_IMAGE or min(size) < 1:
            raise ShapeError(f"a map would be resized from {sides} to {tuple(size)}.")
        factors = [n / side for n, side in zip(size, sides, strict=True)]
        if scale is not None:  # in single precision, a third is not quite a third
            pairs = zip(scale, factors, strict=True)
            factors = [ratio if abs(given - ratio) < 1e-6 * ratio else given for given, ratio in pairs]
        layer = Resize(factors, mode=mode, align=align, rounding=rounding)
        if layer.shape(self._shape(below))[1:] != tuple(size):
            raise Cannot(f"it resizes {sides} by {tuple(factors)} to {tuple(size)}")
        if mode == "nearest":  # take the plainest layer that does the same; shrinking may only pick pixels
            picks = [_picks(layer, side, axis) for axis, side in enumerate(sides)]
            steps = [evenly(pick) for pick in picks]
            if all(step is not None for step in steps):
                (top, down), (left, right) = (step or (0, 1) for step in steps)
                number = self.selected(below, np.arange(self._shape(below)[0]), (down, right), (top, left))
                return self._cropped(number, size)
            plain = Resize(layer.scale)
            if all(np.array_equal(_picks(plain, side, axis), picks[axis]) for axis, side in enumerate(sides)):
                layer = plain
        return self.whole(self.put(layer, below))

    def _cropped(self, number: int, size: Sequence[int]) -> View:
        """The maps of a layer, cropped to their first rows and columns."""
        sides = self._shape(number)[1:]
        more = [side - n for side, n in zip(sides, size, strict=True)]
        if any(more):
            number = self.put(Pad((0, -more[0], 0, -more[1])), number, part="crop")
        return self.whole(number)

    def expand(self, view: View, shape: Sequence[int]) -> View:
        """Repeats a tensor along axes of length 1."""
        rank = max(len(shape), len(view.axes))
        sides = (1,) * (rank - len(view.axes)) + view.shape
        want = [max(a, b) for a, b in zip(sides, (1,) * (rank - len(shape)) + tuple(shape), strict=True)]
        if any(a not in (1, b) for a, b in zip(sides, want, strict=True)):
            raise ShapeError(f"a tensor {view.shape} cannot be spread to {tuple(shape)}.")
        if want == list(view.shape):
            return view
        if len(view.axes) != rank:
            raise Cannot(f"it repeats a tensor {view.shape} to {tuple(want)}")
        return self._repeated(view, want, self._layout(view)) if rank == 4 else self._copied(view, want)

    def _copied(self, view: View, want: Sequence[int]) -> View:
        """Repeats each row or column several times: the tensor has an axis of length 1 right after that of rows or columns."""
        axes, number = list(view.axes), view.layer
        for i, n in enumerate(want):
            if n == view.shape[i]:
                continue
            before = merged(axes[i - 1]) if i else ()
            axis = before[0].axis if before else IMAGES
            if axis not in (ROWS, COLUMNS) or before != full_axis(axis, self._shape(number)[axis - 1]):
                raise Cannot(f"it repeats a tensor {view.shape} to {tuple(want)}")
            number = self.put(
                Resize((n, 1) if axis == ROWS else (1, n)), number, part="rows" if axis == ROWS else "columns"
            )
            axes = [tuple(p._replace(step=p.step * n) if p.axis == axis else p for p in parts) for parts in axes]
            axes[i] = (Part(axis, n, 1),)
        return View(number, tuple(axes))

    def _repeated(self, view: View, want: Sequence[int], order: list[int]) -> View:
        """Repeats maps to the sizes `want`; `order` says which axis of the tensor is which of the maps."""
        maps = self.transpose(view, np.argsort(order).tolist())
        sizes = [want[i] for i in np.argsort(order)]
        if sizes[0] != maps.shape[0]:
            raise Cannot("it repeats images")
        if sizes[1] != maps.shape[1]:
            number = self.selected(self.maps(maps), np.zeros(sizes[1], int), (1, 1), (0, 0), "channels")
            maps = self.whole(number)
        return self.transpose(self.resize(maps, sizes[2:], mode="nearest", align="corner"), order)

    def select(self, view: View, axis: int, places: Array, drop: bool = False) -> View:
        """Takes some places along an axis, in any order; `drop` removes the axis if it is one place."""
        axis = axis_of(axis, len(view.axes))
        count = view.shape[axis]
        if places.size and (places.min() < -count or places.max() >= count):
            raise ShapeError(f"place {places.min()} or {places.max()} of an axis of {count}.")
        places = np.where(places < 0, places + count, places)
        if not places.size:
            raise Cannot("it takes nothing")
        if np.array_equal(places, np.arange(count)) and not drop:
            return view
        along = merged(view.axes[axis])
        kinds = {part.axis for part in along}
        if kinds <= {CHANNELS}:
            taken = self._select_channels(view, axis, places)
        elif kinds in ({ROWS}, {COLUMNS}):
            taken = self._select_pixels(view, axis, along, places)
        else:
            raise Cannot("it takes places along something else than channels, rows or columns")
        return View(taken.layer, tuple(a for i, a in enumerate(taken.axes) if i != axis) if drop else taken.axes)

    def _select_channels(self, view: View, axis: int, places: Array) -> View:
        shape, sizes, parts = self._shape(view.layer), [], []
        for axis_parts in view.axes:
            chosen = [part for part in axis_parts if part.axis == CHANNELS]
            if chosen and len(chosen) < len(axis_parts):
                raise Cannot("its channels are mixed with rows or columns")
            sizes.append(size_of(chosen))
            parts += chosen
        if size_of(parts) != shape[0]:
            raise Cannot("it takes channels of a tensor that has only a part of them")
        numbers = places_of(parts).reshape(sizes).take(places, axis=axis)
        number = self.picked(view.layer, numbers.reshape(-1))
        step = numbers.size
        axes = []
        for i, axis_parts in enumerate(view.axes):
            n = numbers.shape[i]
            step //= n
            axes.append(((Part(CHANNELS, n, step),) if n > 1 else ()) if n > 1 or sizes[i] > 1 else axis_parts)
        return View(number, tuple(axes))

    def _select_pixels(self, view: View, axis: int, along: tuple[Part, ...], places: Array) -> View:
        shape, which = self._shape(view.layer), along[0].axis
        whole = [full_axis(kind, n) for kind, n in zip((CHANNELS, ROWS, COLUMNS), shape, strict=True)]
        regular = evenly(places)
        if len(view.axes) != 4 or along != whole[which - 1] or regular is None:
            raise Cannot("it takes rows or columns that are not evenly spaced")
        if any(merged(axis) not in (*whole, full_axis(IMAGES, self.images)) for axis in view.axes):
            raise Cannot("it takes rows or columns of a tensor that is not maps")
        start, stride = regular
        order = self._layout(view)
        number = view.layer
        size = list(shape[1:])
        size[which - 2] = places.size
        if stride == 1:
            pads = [0, 0, 0, 0]
            pads[2 * (which - 2)], pads[2 * (which - 2) + 1] = -start, -(shape[which - 1] - start - places.size)
            number = self.put(Pad(pads), number)
        else:
            rows = which == ROWS
            steps, first = ((stride, 1), (start, 0)) if rows else ((1, stride), (0, start))
            number = self.selected(number, np.arange(shape[0]), steps, first)
        return self.transpose(self._cropped(number, size), order)

    def concat(self, tensors: Sequence[View | Array], axis: int) -> View:
        """Joins tensors along an axis of channels; constants among them must be zero."""
        views = [tensor for tensor in tensors if isinstance(tensor, View)]
        if not views:
            raise Cannot("it joins constants")
        axis = axis_of(axis, len(views[0].axes))
        layers: list[int] = []
        rest: Axes | None = None
        for tensor in tensors:
            if not isinstance(tensor, View):
                if np.any(tensor):
                    raise Cannot("it joins maps and a constant that is not zero")
                count = tensor.shape[axis]
                below = views[0].layer
                layers.append(self.put(Select(np.full(count, -1)), below, part="zeros"))
                continue
            if len(tensor.axes) != len(views[0].axes):
                raise ShapeError(f"tensors {[view.shape for view in views]} cannot be joined.")
            others = tuple(() if i == axis else merged(a) for i, a in enumerate(tensor.axes))
            if any(part.axis == CHANNELS for a in others for part in a):
                raise Cannot("it joins along another axis than the channels")
            if rest is None:
                rest = others
            if others != rest:
                raise Cannot("it joins maps that lie differently, or differ in size")
            try:
                layers.append(self.ordered(tensor.layer, merged(tensor.axes[axis])))
            except Cannot:
                raise Cannot("it joins along rows, columns or images, not channels") from None
        assert rest is not None
        number = self.put(Concat(), *layers)
        channels = self._shape(number)[0]
        axes = tuple(
            ((Part(CHANNELS, channels, 1),) if channels > 1 else ()) if i == axis else a for i, a in enumerate(rest)
        )
        return View(number, axes)

    def add(self, a: View, b: View) -> View:
        traces = self._combined(a, b, np.add)
        found = self._recognized(traces) or self._normalized(a, b) or self._normalized(b, a)
        if found is not None:
            return found
        a, b = self._spread(a, b)
        if a.axes != b.axes:
            a, b = self.whole(self.maps(a)), self.whole(self.maps(b))
        if a.axes != b.axes or self.shapes[a.layer] != self.shapes[b.layer]:
            raise Cannot(f"it adds tensors whose axes differ: {a.shape} and {b.shape}")
        return View(self.put(Sum(), a.layer, b.layer), a.axes, traces)

    def subtract(self, a: View, b: View) -> View:
        minus = self.put(Scale(np.full(self._shape(b.layer)[0], -1, np.float32)), b.layer, part="minus")
        return self.add(a, View(minus, b.axes))

    def multiply(self, a: View, b: View) -> View:
        """The product of two maps: an activation written in pieces, or a gate; unsupported otherwise."""
        traces = self._combined(a, b, np.multiply)
        found = self._recognized(traces) or self._standardized(a, b) or self._standardized(b, a)
        if found is not None:
            return found
        if a.key == b.key:
            return View(self.put(Power(2), a.layer), a.axes, traces)
        try:
            gated, gate = self._gated(a, b)
            return View(self.put(Gate(), gated.layer, gate.layer), gated.axes)
        except Cannot as error:
            if not traces:
                raise
            opaque = self.put(Unsupported("Mul", reason=str(error)), a.layer, b.layer)
            self.shapes[opaque] = self.shapes[
                a.layer
            ]  # it is a function of one map, which the next operators may reveal
            return View(opaque, a.axes, traces)

    def divide(self, a: View, b: View) -> View:
        """The quotient of two maps: an activation or a normalization written in pieces, or a gate by the reciprocal."""
        traces = self._combined(a, b, np.divide)
        found = self._recognized(traces)
        if found is not None:
            return found
        factor = View(self.put(Power(-1), b.layer, part="reciprocal"), b.axes)
        found = self._standardized(a, factor)
        if found is not None:
            return found
        if (
            len(a.axes) != len(b.axes)
            or not fitting(a.shape, b.shape)
            or np.broadcast_shapes(a.shape, b.shape) != a.shape
        ):
            raise Cannot(f"it divides a map {a.shape} by another {b.shape}, which no decoding can")
        factor = factor if self._fits(a, factor) else self._alike(factor, a)
        return View(self.put(Gate(), a.layer, factor.layer), a.axes, traces)

    def piece(self, view: View, type: str, function: Any, reason: str = "by itself it has no decoding") -> View:
        """A function that has no layer of its own, but may be a piece of an activation."""
        traces = self._traced(view, function)
        found = self._recognized(traces)
        if found is not None:
            return found
        opaque = self.unsupported(type, [view], reason)
        self.shapes[opaque.layer] = self.shapes[view.layer]
        return View(opaque.layer, view.axes, traces)

    def _gated(self, a: View, b: View) -> tuple[View, View]:
        """Of two tensors that are multiplied: the map first, then the factors."""
        if len(a.axes) != len(b.axes):
            raise Cannot(f"it multiplies tensors {a.shape} and {b.shape}, which no decoding can")
        shapes = self._shape(a.layer), self._shape(b.layer)

        if shapes[0] != shapes[1]:
            a, b = (a, b) if math.prod(shapes[0]) > math.prod(shapes[1]) else (b, a)
            if self._fits(a, b):
                return a, b
            if fitting(a.shape, b.shape) and np.broadcast_shapes(a.shape, b.shape) == a.shape:
                return a, self._alike(b, a)
        elif self._fits(a, b):
            gates = [self._squashes(view.layer) for view in (a, b)]
            if gates == [False, True]:
                return a, b
            if gates == [True, False]:
                return b, a
        raise Cannot(f"it multiplies two computed maps, {shapes[0]} and {shapes[1]}, which no linear decoding can")

    def _fits(self, view: View, gate: View) -> bool:
        """Whether the second tensor has a factor for each response of the first, or one for several."""
        counts = self._shape(gate.layer)[0], self._shape(view.layer)[0]
        lie = all(merged(g) in ((), merged(v)) for v, g in zip(view.axes, gate.axes, strict=True))
        return lie and counts[0] in (1, counts[1])

    def _squashes(self, layer: int) -> bool:
        """Whether a layer's responses look like factors: reciprocals, or numbers from −1 to 1, perhaps scaled, resized or reordered."""
        for _ in range(MOST_PIECES):
            if not layer:
                break
            made = self.layers[layer - 1]
            if isinstance(made, (Resampling, Select, Quantize)) or (isinstance(made, Scale) and not made.bias.any()):
                layer = self.inputs[layer - 1][0]
                continue
            clips = isinstance(made, Clip) and made.low >= -1 and made.high <= 1
            inverse = isinstance(made, Power) and made.exponent < 0
            return clips or inverse or isinstance(made, (Sigmoid, HardSigmoid, Softmax, Tanh))
        return False

    def _spread(self, a: View, b: View) -> tuple[View, View]:
        if a.shape == b.shape:
            return a, b
        shape = np.broadcast_shapes(a.shape, b.shape) if fitting(a.shape, b.shape) else ()
        if not shape:
            raise ShapeError(f"tensors {a.shape} and {b.shape} do not fit each other.")
        if len(a.axes) == len(b.axes) and shape in (a.shape, b.shape):
            return (a, self._alike(b, a)) if a.shape == shape else (self._alike(a, b), b)
        if len(a.axes) == len(b.axes) == len(shape) == 4:
            order = self._layout(a if a.shape == shape else b)
            a, b = (tensor if tensor.shape == shape else self._repeated(tensor, shape, order) for tensor in (a, b))
        return self.expand(a, shape), self.expand(b, shape)

    def _alike(self, small: View, big: View) -> View:
        """The small tensor, repeated so that it has the shape and layout of the big one."""
        count, source = self._shape(big.layer)[0], np.zeros(self._shape(big.layer)[0], int)
        for mine, theirs in zip(small.axes, big.axes, strict=True):
            own, parts = parts_of([mine], CHANNELS), parts_of([theirs], CHANNELS)
            rest = [[part for part in axis if part.axis != CHANNELS] for axis in (mine, theirs)]
            if rest[0] not in ([], rest[1]) or size_of(own) not in (1, size_of(parts)):
                raise Cannot(f"it repeats a tensor {small.shape} to {big.shape}")
            if own:
                place = np.zeros(count, int)
                for part in parts:
                    place = place * part.size + np.arange(count) // part.step % part.size
                source += places_of(own)[place]
        number = self.selected(small.layer, source, (1, 1), (0, 0), "channels")
        sides, want = self._shape(number)[1:], self._shape(big.layer)[1:]
        if any(side not in (1, n) for side, n in zip(sides, want, strict=True)):
            raise Cannot(f"it repeats a tensor {small.shape} to {big.shape}")
        return View(self.resize(self.whole(number), want, mode="nearest", align="corner").layer, big.axes)


def _picks(layer: Resize, side: int, axis: int) -> Array:
    """For each cell of the output along an axis, which cell of the input it takes."""
    x = np.arange(side, dtype=np.float64).reshape((1, 1, side, 1) if axis == 0 else (1, 1, 1, side))
    return np.asarray(layer._along(x, axis)).ravel().astype(int)
