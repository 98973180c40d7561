"""ONNX's operators on maps: each finds its arguments, wherever the operator set keeps them, and calls `builder`."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..arguments import Array, printable
from ..builder import Cannot, View
from ..errors import ShapeError
from ..layers import (
    ELU,
    GELU,
    LRN,
    SELU,
    Dropout,
    Exp,
    HardSigmoid,
    HardSwish,
    Layer,
    LogSoftmax,
    Mish,
    Power,
    ReLU,
    Sigmoid,
    SiLU,
    Softplus,
    Softsign,
    Tanh,
)
from .folding import filled
from .wire import BFLOAT16, FLOATS, LARGEST, MOST_AXES, MOST_FOLDED

if TYPE_CHECKING:
    from .graph import Node, Reader


def _window(node: Node, rank: int = 2) -> tuple[list[int], list[int], list[int]]:
    """Strides, dilations, and pads as (top, bottom, left, right), each bounded."""
    strides = node.integers("strides", [1] * rank) or [1] * rank
    dilations = node.integers("dilations", [1] * rank) or [1] * rank
    pads = node.integers("pads", [0] * 2 * rank) or [0] * 2 * rank
    if len(strides) != rank or len(dilations) != rank or len(pads) != 2 * rank:
        raise ShapeError(
            f"its strides {strides[:8]}, dilations {dilations[:8]} and pads {pads[:8]} are not for rows and columns."
        )
    if min(strides + dilations) < 1 or max(strides + dilations + pads) > LARGEST or min(pads) < -LARGEST:
        raise ShapeError(
            f"its strides {strides}, dilations {dilations} or pads {pads} are not between 1 and {LARGEST}."
        )
    return strides, dilations, [pads[0], pads[2], pads[1], pads[3]] if rank == 2 else pads


def _auto_pads(
    node: Node, sides: Sequence[int], size: Sequence[int], strides: Sequence[int], pads: list[int]
) -> list[int]:
    """The pads, (top, bottom, left, right), also if the file asks for SAME or VALID ones."""
    way = node.text("auto_pad", "NOTSET") or "NOTSET"
    if way == "NOTSET":
        return pads
    if way == "VALID":
        return [0, 0, 0, 0]
    if way not in ("SAME_UPPER", "SAME_LOWER"):
        raise ShapeError(f"its auto_pad is '{printable(way)}'.")
    out = []
    for side, window, stride in zip(sides, size, strides, strict=True):
        total = max((-(-side // stride) - 1) * stride + window - side, 0)
        out += [total // 2, total - total // 2] if way == "SAME_UPPER" else [total - total // 2, total // 2]
    return out


def conv(r: Reader, node: Node, v: list[Any]) -> Any:
    filters = r.weights(v, 1, "filters")
    bias = None if len(v) < 3 or v[2] is None else r.weights(v, 2, "bias").reshape(-1)
    if filters.ndim != 4:
        raise Cannot(f"it does not run over rows and columns: filters {filters.shape}")
    strides, dilations, pads = _window(node)
    kernel = node.integers("kernel_shape")
    if kernel is not None and kernel != list(filters.shape[2:]):
        raise ShapeError(f"its kernel_shape {kernel} and its filters {filters.shape} differ.")
    view = r.builder.whole(r.builder.maps(r.maps(v)))
    span = [(n - 1) * d + 1 for n, d in zip(filters.shape[2:], dilations, strict=True)]
    pads = _auto_pads(node, view.shape[2:], span, strides, pads)
    groups = node.integer("group", 1)
    return r.builder.conv(view, filters, bias, stride=strides, pad=pads, dilation=dilations, groups=groups)


def _conv_transpose(r: Reader, node: Node, v: list[Any]) -> Any:
    filters = r.weights(v, 1, "filters")
    bias = None if len(v) < 3 or v[2] is None else r.weights(v, 2, "bias").reshape(-1)
    if filters.ndim != 4:
        raise Cannot(f"it does not run over rows and columns: filters {filters.shape}")
    strides, dilations, pads = _window(node)
    extra = node.integers("output_padding", [0, 0]) or [0, 0]
    view = r.builder.whole(r.builder.maps(r.maps(v)))
    want = node.integers("output_shape")
    way = node.text("auto_pad", "NOTSET") or "NOTSET"
    if len(extra) != 2 or min(extra) < 0 or max(extra) > LARGEST:
        raise ShapeError(f"its output_padding is {extra}.")
    if want is not None or way.startswith("SAME"):
        pads = []
        for a in (0, 1):
            side, span = view.shape[2 + a], (filters.shape[2 + a] - 1) * dilations[a] + 1
            target = want[-2 + a] if want is not None and len(want) >= 2 else side * strides[a]
            total = (side - 1) * strides[a] + span + extra[a] - target
            extra = list(extra)
            if total < 0:
                extra[a] -= total
                total = 0
            # An odd cell is cut at the end if the file says SAME_UPPER, and else at the beginning.
            pads += [total // 2, total - total // 2] if way == "SAME_UPPER" else [total - total // 2, total // 2]
    elif way == "VALID":
        pads = [0, 0, 0, 0]
    return r.builder.conv_transpose(
        view, filters, bias, stride=strides, pad=pads, extra=extra, dilation=dilations, groups=node.integer("group", 1)
    )


def gemm(r: Reader, node: Node, v: list[Any]) -> Any:
    view = r.maps(v)
    weights = r.weights(v, 1, "weights")
    if weights.ndim != 2 or node.integer("transA"):
        raise Cannot("it multiplies by something else than a matrix from the right")
    alpha, beta = node.number_("alpha", 1.0), node.number_("beta", 1.0)
    weights = weights.T if node.integer("transB") else weights
    weights = weights if alpha == 1 else weights * weights.dtype.type(alpha)
    if len(view.axes) != 2:
        view = r.builder.flatten(view, 1)
    bias = None
    if len(v) > 2 and v[2] is not None:
        bias = r.weights(v, 2, "bias")
        if bias.ndim > 2 or bias.size not in (1, weights.shape[1]) or (bias.ndim == 2 and bias.shape[0] != 1):
            raise Cannot(f"its bias {bias.shape} differs from image to image")
        bias = np.broadcast_to(bias.ravel() * bias.dtype.type(beta), (weights.shape[1],))
    return r.builder.linear(view, weights, bias)


def matmul(r: Reader, node: Node, v: list[Any]) -> Any:
    if not isinstance(v[0], View) or isinstance(v[1], View):
        raise Cannot("it multiplies two computed tensors" if isinstance(v[0], View) else "it multiplies from the left")
    weights = r.weights(v, 1, "weights")
    if weights.ndim != 2:
        raise Cannot(f"it multiplies by many matrices: {weights.shape}")
    return r.builder.linear(v[0], weights)


def _batch_norm(r: Reader, node: Node, v: list[Any]) -> Any:
    if node.integer("training_mode") or (r.opset < 14 and len([name for name in node.outputs if name]) >= 3):
        raise Cannot(
            "it was exported in training mode, and normalizes by the images of a batch. Export the model in eval mode"
        )
    arrays = [r.weights(v, i, what) for i, what in enumerate(("maps", "scale", "bias", "mean", "variance")) if i]
    if node.integer("spatial", 1) == 0 and any(array.ndim != 1 for array in arrays):
        raise Cannot("it normalizes each place by itself")
    return r.builder.batch_norm(r.maps(v), arrays[0], arrays[1], arrays[2], arrays[3], node.number_("epsilon", 1e-5))


def _binary(r: Reader, node: Node, v: list[Any]) -> Any:
    """Add, Sub, Mul and Div of maps and constants."""
    a, b = v[0], v[1]
    if r.opset < 7 and "axis" in node and not isinstance(b, View) and isinstance(a, View):
        b = b.reshape(b.shape + (1,) * max(len(a.axes) - node.integer("axis") - b.ndim, 0))
    kind, build = node.type, r.builder
    if isinstance(a, View) and isinstance(b, View):
        if kind == "Add":
            return build.add(a, b)
        if kind == "Sub":
            return build.subtract(a, b)
        if kind == "Mul":
            return build.multiply(a, b)
        return build.divide(a, b)
    view, i = (a, 0) if isinstance(a, View) else (b, 1)
    constant = np.asarray(b if i == 0 else a)
    if constant.size > MOST_FOLDED * 16 and not any(constant.strides):
        raise Cannot(f"its constant {constant.shape} is too large")
    constant = r.store.real(constant) if constant.dtype.kind == "f" else constant.astype(np.float32)
    if len(view.axes) < constant.ndim and constant.size > 1:
        view = build.unsqueeze(view, range(constant.ndim - len(view.axes)))
    sole = r.sole(node, i)
    if kind == "Add":
        return build.affine(view, 1.0, constant, sole)
    if kind == "Sub":
        return build.affine(view, 1.0, -constant, sole) if i == 0 else build.affine(view, -1.0, constant, sole)
    if kind == "Mul":
        return build.affine(view, constant, 0.0, sole)
    if i == 1:
        raise Cannot("it divides by a map")
    if not np.all(constant):
        raise ShapeError("it divides by zero.")
    return build.affine(view, 1 / constant, 0.0, sole)


def _sum(r: Reader, node: Node, v: list[Any]) -> Any:
    views = [tensor for tensor in v if isinstance(tensor, View)]
    total: Any = views[0]
    for view in views[1:]:
        total = r.builder.add(total, view)
    for tensor in v:
        if not isinstance(tensor, View):
            total = r.builder.affine(total, 1.0, tensor.astype(np.float32))
    return total


def _unary(make: Callable[[Node], Layer]) -> Callable[[Reader, Node, list[Any]], Any]:
    def run(r: Reader, node: Node, v: list[Any]) -> Any:
        return r.builder.elementwise(r.maps(v), make(node))

    return run


def _clip(r: Reader, node: Node, v: list[Any]) -> Any:
    bounds = []
    for i, (what, default) in enumerate((("min", -math.inf), ("max", math.inf)), 1):
        array = r.constant(v, i, what)
        if array is not None and array.size != 1:
            raise ShapeError(f"its {what} should be one number, and is {array.shape}.")
        bounds.append(node.number_(what, default) if array is None else float(array.reshape(())))
    low, high = (bound if abs(bound) < 3e38 else math.copysign(math.inf, bound) for bound in bounds)
    return r.builder.clip(r.maps(v), low, high)


def _bounded(r: Reader, node: Node, v: list[Any]) -> Any:
    """Min and Max of one map and numbers."""
    views, numbers = (
        [tensor for tensor in v if isinstance(tensor, View)],
        [tensor for tensor in v if not isinstance(tensor, View)],
    )
    if len(views) != 1 or any(np.size(number) != 1 for number in numbers):
        raise Cannot("it takes the larger or the smaller of several maps, which no linear decoding can")
    bounds = [float(np.reshape(number, ())) for number in numbers]
    if node.type == "Max":
        return r.builder.clip(views[0], max(bounds, default=-math.inf), math.inf)
    return r.builder.clip(views[0], -math.inf, min(bounds, default=math.inf))


def _prelu(r: Reader, node: Node, v: list[Any]) -> Any:
    slope, view = r.weights(v, 1, "slope"), r.maps(v)
    if slope.ndim == 1 and slope.size > 1 and len(view.axes) == 4 and view.shape[3] != slope.size:
        slope = slope.reshape(-1, 1, 1)
    return r.builder.prelu(view, slope)


def _gelu(node: Node) -> Layer:
    return GELU(approximate="tanh" if node.text("approximate") == "tanh" else "none")


def _erf(r: Reader, node: Node, v: list[Any]) -> Any:
    from scipy.special import erf, erfc

    return _piece(r, node, r.maps(v), erfc if node.type == "Erfc" else erf)


def _piece(r: Reader, node: Node, view: View, function: Callable[[Array], Array]) -> Any:
    return r.builder.piece(view, node.type, function)


def _pow(r: Reader, node: Node, v: list[Any]) -> Any:
    power = r.constant(v, 1, "power")
    if power is None or power.size != 1:
        raise Cannot("it raises to more than one power")
    return r.builder.elementwise(r.maps(v), Power(float(power.reshape(()))))


def _simple(function: Callable[[Array], Array]) -> Callable[[Reader, Node, list[Any]], Any]:
    return lambda r, node, v: _piece(r, node, r.maps(v), function)


def softmax(r: Reader, node: Node, v: list[Any]) -> Any:
    view = r.maps(v)
    if r.opset < 13:  # here the softmax runs over all axes from this one on
        axis = node.integer("axis", 1) % max(len(view.axes), 1)
        flat = r.builder.flatten(view, axis)
        result = r.builder.softmax(flat, axis, LogSoftmax() if node.type == "LogSoftmax" else None)
        return View(result.layer, view.axes)
    return r.builder.softmax(view, node.integer("axis", -1), LogSoftmax() if node.type == "LogSoftmax" else None)


def _lrn(r: Reader, node: Node, v: list[Any]) -> Any:
    size = node.integer("size")
    if not 0 < size <= LARGEST:
        raise ShapeError(f"its size is {size}.")
    layer = LRN(
        size, kappa=node.number_("bias", 1.0), alpha=node.number_("alpha", 1e-4) / size, beta=node.number_("beta", 0.75)
    )
    return r.builder.whole(r.builder.put(layer, r.builder.maps(r.maps(v))))


def _dropout(r: Reader, node: Node, v: list[Any]) -> Any:
    return r.builder.elementwise(r.maps(v), Dropout())


def _layer_norm(r: Reader, node: Node, v: list[Any]) -> Any:
    bias = None if len(v) < 3 or v[2] is None else r.weights(v, 2, "bias")
    scale = r.weights(v, 1, "scale")
    return r.builder.layer_norm(r.maps(v), node.integer("axis", -1), scale, bias, node.number_("epsilon", 1e-5))


def _instance_norm(r: Reader, node: Node, v: list[Any]) -> Any:
    view, scale, bias = r.maps(v), r.weights(v, 1, "scale"), r.weights(v, 2, "bias")
    return r.builder.group_norm(view, view.shape[1], scale, bias, node.number_("epsilon", 1e-5))


def _group_norm(r: Reader, node: Node, v: list[Any]) -> Any:
    view, scale, bias = r.maps(v), r.weights(v, 1, "scale"), r.weights(v, 2, "bias")
    groups = node.integer("num_groups", 1)
    if groups < 1 or view.shape[1] % groups:
        raise ShapeError(f"{view.shape[1]} channels cannot be split into {groups} groups.")
    if r.opset < 21:  # here scale and bias may have one value for each group
        scale, bias = (
            np.repeat(values, view.shape[1] // groups) if values.size == groups else values for values in (scale, bias)
        )
    return r.builder.group_norm(view, groups, scale, bias, node.number_("epsilon", 1e-5))


def pool(r: Reader, node: Node, v: list[Any]) -> Any:
    size = node.integers("kernel_shape")
    if size is None or len(size) != 2:
        raise Cannot(f"its window {size} does not run over rows and columns")
    strides, dilations, pads = _window(node)
    if min(size) < 1 or max(size) > LARGEST:
        raise ShapeError(f"its window is {size}.")
    if node.integer("storage_order") and len(node.outputs) > 1:
        raise Cannot("it gives places column by column")
    view = r.builder.whole(r.builder.maps(r.maps(v)))
    span = [(n - 1) * d + 1 for n, d in zip(size, dilations, strict=True)]
    pads = _auto_pads(node, view.shape[2:], span, strides, pads)
    return r.builder.pool(
        view,
        "max" if node.type == "MaxPool" else "mean",
        size=size,
        stride=strides,
        pad=pads,
        dilation=dilations,
        ceil=bool(node.integer("ceil_mode")),
        count_pads=bool(node.integer("count_include_pad")),
    )


def global_pool(r: Reader, node: Node, v: list[Any]) -> Any:
    view = r.maps(v)
    return r.builder.over(view, range(2, len(view.axes)), True, "max" if "Max" in node.type else "mean")


def _reduce(r: Reader, node: Node, v: list[Any]) -> Any:
    view = r.maps(v)
    axes = r.whole_numbers(node, v, 1, "axes")
    if not axes:
        if node.integer("noop_with_empty_axes"):
            return view
        axes = list(range(len(view.axes)))
    keep = bool(node.integer("keepdims", 1))
    if node.type == "ReduceL2":
        return r.builder.norm(view, axes, keep)
    if node.type == "ReduceSumSquare":
        return r.builder.over(r.builder.elementwise(view, Power(2)), axes, keep, "sum")
    kind = {"ReduceMean": "mean", "ReduceMax": "max", "ReduceSum": "sum"}[node.type]
    return r.builder.over(view, axes, keep, kind)


def _lp(r: Reader, node: Node, v: list[Any]) -> Any:
    """The norm over whole maps; or a map divided by its norm along an axis."""
    view, order = r.maps(v), node.integer("p", 2)
    if order != 2:
        raise Cannot(f"it takes the norm of order {order}")
    if node.type == "GlobalLpPool":
        return r.builder.norm(view, range(2, len(view.axes)), True)
    return r.builder.divide(view, r.builder.norm(view, [node.integer("axis", -1)], True))


def _concat(r: Reader, node: Node, v: list[Any]) -> Any:
    return r.builder.concat([tensor for tensor in v if tensor is not None], node.integer("axis", 1))


def _split(r: Reader, node: Node, v: list[Any]) -> Any:
    view, axis = r.maps(v), node.integer("axis")
    axis = axis + len(view.axes) if axis < 0 else axis
    if axis >= len(view.axes):
        raise ShapeError(f"it splits along axis {axis} of a tensor {view.shape}.")
    sizes, count = r.whole_numbers(node, v, 1, "split"), view.shape[axis]
    if sizes is None:
        parts = len(node.outputs)
        chunk = -(-count // parts)
        sizes = [chunk] * (parts - 1) + [count - chunk * (parts - 1)]
    if sum(sizes) != count or min(sizes) < 1 or len(sizes) < len(node.outputs):
        raise ShapeError(f"it splits {count} into {sizes[:16]}.")
    starts = np.cumsum([0, *sizes])
    return [r.builder.select(view, axis, np.arange(begin, end)) for begin, end in itertools.pairwise(starts)][
        : len(node.outputs)
    ]


def _slice(r: Reader, node: Node, v: list[Any]) -> Any:
    view = r.maps(v)
    starts, ends = r.whole_numbers(node, v, 1, "starts"), r.whole_numbers(node, v, 2, "ends")
    if starts is None or ends is None:
        raise ShapeError("it has no starts or ends.")
    axes = r.whole_numbers(node, v, 3, "axes") or list(range(len(starts)))
    steps = r.whole_numbers(node, v, 4, "steps") or [1] * len(starts)
    if not len(starts) == len(ends) == len(axes) == len(steps) or 0 in steps:
        raise ShapeError(f"its starts {starts[:8]}, ends {ends[:8]}, axes {axes[:8]} and steps {steps[:8]} differ.")
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        if not -len(view.axes) <= axis < len(view.axes):
            raise ShapeError(f"it slices axis {axis} of a tensor {view.shape}.")
        view = r.builder.select(
            view,
            axis,
            np.arange(view.shape[axis])[slice(start, end, step) if end >= -(2**62) else slice(start, None, step)],
        )
    return view


def _gather(r: Reader, node: Node, v: list[Any]) -> Any:
    view, places = r.maps(v), r.constant(v, 1, "places")
    if places is None or places.dtype.kind not in "iu" or places.size > MOST_FOLDED:
        raise Cannot("it gathers by something else than a few constant integers")
    axis = node.integer("axis") % max(len(view.axes), 1)
    taken = r.builder.select(view, axis, places.reshape(-1), drop=places.ndim == 0)
    if places.ndim > 1:
        taken = r.builder.reshape(taken, [*view.shape[:axis], *places.shape, *view.shape[axis + 1 :]])
    return taken


def _reshape(r: Reader, node: Node, v: list[Any]) -> Any:
    view = r.maps(v)
    shape = r.whole_numbers(node, v, 1, "shape")
    if shape is None or len(shape) > MOST_AXES:
        raise ShapeError("it has no shape, or one of too many axes.")
    return r.builder.reshape(view, filled(shape, view.shape, bool(node.integer("allowzero"))))


def _transpose(r: Reader, node: Node, v: list[Any]) -> Any:
    view = r.maps(v)
    return r.builder.transpose(view, node.integers("perm") or list(range(len(view.axes)))[::-1])


def _flatten(r: Reader, node: Node, v: list[Any]) -> Any:
    view, axis = r.maps(v), node.integer("axis", 1)
    axis = axis + len(view.axes) if axis < 0 else axis
    if not 0 <= axis <= len(view.axes):
        raise ShapeError(f"it flattens a tensor {view.shape} from axis {axis} on.")
    return r.builder.reshape(view, [math.prod(view.shape[:axis]), math.prod(view.shape[axis:])])


def _squeeze(r: Reader, node: Node, v: list[Any]) -> Any:
    return r.builder.squeeze(r.maps(v), r.whole_numbers(node, v, 1, "axes"))


def _unsqueeze(r: Reader, node: Node, v: list[Any]) -> Any:
    return r.builder.unsqueeze(r.maps(v), r.whole_numbers(node, v, 1, "axes") or [])


def _shape(r: Reader, node: Node, v: list[Any]) -> Any:
    sizes = v[0].shape
    return np.array(sizes[slice(node.integer("start"), node.integer("end", len(sizes)))], np.int64)


def _pad(r: Reader, node: Node, v: list[Any]) -> Any:
    view = r.maps(v)
    pads = r.whole_numbers(node, v, 1, "pads" if "pads" in node else "paddings" if "paddings" in node else "pads")
    value = r.constant(v, 2, "value")
    number = node.number_("value", 0.0) if value is None else float(value.reshape(-1)[0]) if value.size else 0.0
    axes = r.whole_numbers(node, v, 3, "axes")
    if pads is None or len(pads) % 2:
        raise ShapeError("it has no pads, or half of them.")
    half = len(pads) // 2
    by_axis = [(0, 0)] * len(view.axes)
    for i, axis in enumerate(axes if axes is not None else range(half)):
        if not -len(view.axes) <= axis < len(view.axes) or i >= half:
            raise ShapeError(f"its pads {pads[:16]} are for other axes than those of a tensor {view.shape}.")
        by_axis[axis] = (pads[i], pads[i + half])
    mode = node.text("mode", "constant") or "constant"
    if mode not in ("constant", "reflect", "edge"):
        raise Cannot(f"it pads by '{printable(mode)}'")
    return r.builder.pad(view, by_axis, number, mode)


def _resize(r: Reader, node: Node, v: list[Any]) -> Any:
    """Resize and Upsample of every operator set."""
    view = r.maps(v)
    below = r.builder.maps(view)
    view = r.builder.whole(below)
    scales = sizes = None
    if "scales" in node:
        scales = np.array(node.numbers("scales"), np.float64)
    elif "height_scale" in node:  # before opset 7
        scales = np.array([1, 1, node.number_("height_scale", 1.0), node.number_("width_scale", 1.0)])
    elif node.type == "Upsample" or r.opset < 11:
        scales = r.constant(v, 1, "scales")
    else:
        scales, sizes = r.constant(v, 2, "scales"), r.constant(v, 3, "sizes")
    mode = node.text("mode", "nearest") or "nearest"
    axes = node.integers("axes") or list(range(4))
    target = list(view.shape)
    given = sizes if sizes is not None and sizes.size else scales
    if given is None or given.size != len(axes) or any(not 0 <= axis % 4 < 4 for axis in axes):
        raise ShapeError("it has neither scales nor sizes for its axes.")
    for axis, number in zip(axes, given.ravel().tolist(), strict=True):
        side = view.shape[axis]
        if not 0 < number * (1 if given is sizes else side) <= 2**31:
            raise ShapeError(f"it resizes {side} by {number}.")
        target[axis] = int(number) if given is sizes else math.floor(side * number + 1e-6)
    if target[:2] != list(view.shape[:2]):
        raise Cannot("it resizes channels or images")
    if mode not in ("nearest", "linear", "bilinear"):
        raise Cannot(f"it interpolates by '{printable(mode)}'")
    way = node.text("coordinate_transformation_mode", "half_pixel") or "half_pixel"
    if node.type == "Upsample" or r.opset < 11:
        way = "asymmetric"
    if way == "pytorch_half_pixel":
        way = "half_pixel" if min(target[2:]) > 1 else "other"
    align = {
        "half_pixel": "centre",
        "half_pixel_symmetric": "centre",
        "asymmetric": "corner",
        "align_corners": "corners",
    }
    if way not in align:
        raise Cannot(f"it interpolates at '{printable(way)}'")
    rounding = node.text("nearest_mode", "round_prefer_floor") or "round_prefer_floor"
    if node.type == "Upsample" or r.opset < 11:
        rounding = "floor"
    roundings = {"floor": "floor", "ceil": "ceil", "round_prefer_floor": "down", "round_prefer_ceil": "up"}
    kept = node.text("keep_aspect_ratio_policy", "stretch") or "stretch"
    if rounding not in roundings or node.integer("antialias") or node.integer("exclude_outside") or kept != "stretch":
        raise Cannot("it interpolates in a way that is not known here")
    kind = "nearest" if mode == "nearest" else "linear"
    scale = [1.0, 1.0]
    for axis, number in zip(axes, given.ravel().tolist(), strict=True):
        if axis % 4 >= 2:
            scale[axis % 4 - 2] = number if given is scales else target[axis % 4] / view.shape[axis % 4]
    return r.builder.resize(view, target[2:], mode=kind, align=align[way], rounding=roundings[rounding], scale=scale)


def _expand(r: Reader, node: Node, v: list[Any]) -> Any:
    shape = r.whole_numbers(node, v, 1, "shape")
    if shape is None or any(n < 0 for n in shape):
        raise ShapeError("it has no shape.")
    return r.builder.expand(r.maps(v), shape)


def _tile(r: Reader, node: Node, v: list[Any]) -> Any:
    view, repeats = r.maps(v), r.whole_numbers(node, v, 1, "repeats")
    if repeats is None or len(repeats) != len(view.axes) or min(repeats) < 1:
        raise ShapeError(f"its repeats {repeats} are not for the axes of a tensor {view.shape}.")
    if any(n > 1 and side > 1 for n, side in zip(repeats, view.shape, strict=True)):
        raise Cannot("it lays copies of a map side by side")
    return r.builder.expand(view, [n * side for n, side in zip(repeats, view.shape, strict=True)])


def _depth_to_space(r: Reader, node: Node, v: list[Any]) -> Any:
    n, channels, rows, columns = _four(r.maps(v))
    block, build = node.integer("blocksize", 1), r.builder
    if block < 1 or channels % (block * block):
        raise ShapeError(f"blocks of {block}×{block} of {channels} channels.")
    if (node.text("mode", "DCR") or "DCR") == "DCR":
        view = build.reshape(r.maps(v), [n, block, block, channels // block**2, rows, columns])
        view = build.transpose(view, [0, 3, 4, 1, 5, 2])
    else:
        view = build.reshape(r.maps(v), [n, channels // block**2, block, block, rows, columns])
        view = build.transpose(view, [0, 1, 4, 2, 5, 3])
    return build.reshape(view, [n, channels // block**2, rows * block, columns * block])


def _space_to_depth(r: Reader, node: Node, v: list[Any]) -> Any:
    n, channels, rows, columns = _four(r.maps(v))
    block, build = node.integer("blocksize", 1), r.builder
    if block < 1 or rows % block or columns % block:
        raise ShapeError(f"blocks of {block}×{block} of a map of {rows}×{columns}.")
    view = build.reshape(r.maps(v), [n, channels, rows // block, block, columns // block, block])
    view = build.transpose(view, [0, 3, 5, 1, 2, 4])
    return build.reshape(view, [n, channels * block**2, rows // block, columns // block])


def _four(view: View) -> tuple[int, int, int, int]:
    if len(view.shape) != 4:
        raise Cannot(f"it reads a tensor {view.shape}, not maps")
    n, channels, rows, columns = view.shape
    return n, channels, rows, columns


def _same(r: Reader, node: Node, v: list[Any]) -> Any:
    return r.maps(v)


def _cast_maps(r: Reader, node: Node, v: list[Any]) -> Any:
    to = node.integer("to")
    if node.type == "Cast" and to not in FLOATS and to != BFLOAT16:
        raise Cannot("it makes integers of responses")
    if node.type == "CastLike" and not isinstance(v[0], View):
        return v[0].astype(np.float32) if v[0].dtype.kind != "f" else v[0]
    return r.maps(v)


def _image_scaler(r: Reader, node: Node, v: list[Any]) -> Any:
    bias = np.array(node.attributes["bias"].floats if "bias" in node else [0.0], np.float32)
    return r.builder.affine(r.maps(v), np.float32(node.number_("scale", 1.0)), bias.reshape(-1, 1, 1))


OPERATORS: dict[str, Callable[[Reader, Node, list[Any]], Any]] = {
    "Conv": conv, "ConvTranspose": _conv_transpose, "Gemm": gemm, "MatMul": matmul,
    "BatchNormalization": _batch_norm, "Add": _binary, "Sub": _binary, "Mul": _binary, "Div": _binary, "Sum": _sum,
    "Relu": _unary(lambda node: ReLU()),
    "LeakyRelu": _unary(lambda node: ReLU(leak=node.number_("alpha", 0.01))),
    "Sigmoid": _unary(lambda node: Sigmoid()), "Tanh": _unary(lambda node: Tanh()),
    "HardSigmoid": _unary(lambda node: HardSigmoid(alpha=node.number_("alpha", 0.2), beta=node.number_("beta", 0.5))),
    "HardSwish": _unary(lambda node: HardSwish()), "Gelu": _unary(_gelu), "Mish": _unary(lambda node: Mish()),
    "Swish": _unary(lambda node: SiLU(beta=node.number_("alpha", 1.0))),
    "Elu": _unary(lambda node: ELU(alpha=node.number_("alpha", 1.0))),
    "Celu": _unary(lambda node: ELU(alpha=node.number_("alpha", 1.0), scale=node.number_("alpha", 1.0))),
    "Selu": _unary(lambda node: SELU(alpha=node.number_("alpha", 1.67326319217681884765625), gamma=node.number_("gamma", 1.05070102214813232421875))),
    "Softplus": _unary(lambda node: Softplus()), "Softsign": _unary(lambda node: Softsign()), "Exp": _unary(lambda node: Exp()),
    "Clip": _clip, "Max": _bounded, "Min": _bounded, "PRelu": _prelu, "Erf": _erf, "Erfc": _erf, "Pow": _pow, "Abs": _simple(np.abs), "Log": _simple(np.log),
    "Sqrt": _unary(lambda node: Power(0.5)), "Reciprocal": _unary(lambda node: Power(-1)), "Neg": lambda r, node, v: r.builder.affine(r.maps(v), -1.0, 0.0),
    "Softmax": softmax, "LogSoftmax": softmax, "LRN": _lrn, "Dropout": _dropout,
    "LayerNormalization": _layer_norm, "InstanceNormalization": _instance_norm, "GroupNormalization": _group_norm,
    "MaxPool": pool, "AveragePool": pool, "GlobalAveragePool": global_pool, "GlobalMaxPool": global_pool,
    "ReduceMean": _reduce, "ReduceMax": _reduce, "ReduceSum": _reduce, "ReduceL2": _reduce, "ReduceSumSquare": _reduce,
    "LpNormalization": _lp, "GlobalLpPool": _lp, "Concat": _concat, "Split": _split,
    "Slice": _slice, "Gather": _gather, "Reshape": _reshape, "Transpose": _transpose, "Flatten": _flatten,
    "Squeeze": _squeeze, "Unsqueeze": _unsqueeze, "Shape": _shape, "Pad": _pad, "Resize": _resize, "Upsample": _resize,
    "Expand": _expand, "Tile": _tile, "DepthToSpace": _depth_to_space, "SpaceToDepth": _space_to_depth, "Identity": _same,
    "Cast": _cast_maps, "CastLike": _cast_maps, "ImageScaler": _image_scaler,
    "Size": lambda r, node, v: np.array(math.prod(v[0].shape), np.int64),
}  # fmt: skip

REASONS = {
    "If": "what it does depends on the image",
    "Loop": "what it does depends on the image",
    "Scan": "what it does depends on the image",
    "NonMaxSuppression": "it picks boxes, which no linear decoding can",
    "TopK": "it picks the largest, which no linear decoding can",
    "ArgMax": "it gives places, not responses",
    "DynamicQuantizeLinear": "it rounds by a scale that depends on the image: quantize the file with fixed scales, or give the file before quantization",
}
