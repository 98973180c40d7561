"""Constants that an ONNX file computes: each operator is a line of NumPy, and the size of its result is bounded beforehand."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..arguments import Array
from ..builder import Cannot
from ..errors import ShapeError
from .wire import BFLOAT16, MOST_AXES, MOST_FOLDED, TYPES, cast

if TYPE_CHECKING:
    from .graph import Node, Reader


def _fold(function: Callable[..., Array]) -> Callable[[Reader, Node, list[Any]], list[Any]]:
    """The operator of an elementwise function of constants."""

    def run(r: Reader, node: Node, v: list[Any]) -> list[Any]:
        arrays = [np.asarray(array) for array in v if array is not None]
        shape = np.broadcast_shapes(*(array.shape for array in arrays))
        if all(
            array.size == 1 or not any(array.strides) for array in arrays
        ):  # constant throughout: one value is enough
            value = function(*(array.reshape(-1)[:1].reshape(()) if array.size else array for array in arrays))
            return [r.spread(np.asarray(value), shape)]
        r.bounded(shape, *arrays)
        return [np.asarray(function(*arrays))]

    return run


def _divided(a: Array, b: Array) -> Array:
    if a.dtype.kind in "iu" and b.dtype.kind in "iu":
        if not np.all(b):
            raise Cannot("it divides by zero")
        return np.asarray(np.trunc(a / b).astype(np.result_type(a, b)))
    return np.asarray(a / b)


def _fold_constant(r: Reader, node: Node, v: list[Any]) -> list[Any]:
    for name, attribute in node.attributes.items():
        if name == "value":
            return [r.store.tensor(attribute.t, "its value")]
        if name in ("value_int", "value_float"):
            return [np.array(attribute.i, np.int64) if name == "value_int" else np.array(attribute.f, np.float32)]
        if name in ("value_ints", "value_floats"):
            numbers = attribute.ints if name == "value_ints" else attribute.floats
            r.bounded((len(numbers),), np.zeros(len(numbers), bool))
            return [np.array(numbers, np.int64 if name == "value_ints" else np.float32)]
    raise Cannot("it is a constant of another kind than numbers")


def _fold_filled(r: Reader, node: Node, v: list[Any]) -> list[Any]:
    value = r.store.tensor(node.attributes["value"].t, "its value") if "value" in node else np.zeros(1, np.float32)
    if value.size != 1:
        raise ShapeError(f"its value should be one number, and is {value.shape}.")
    return [r.spread(value.reshape(()), _small(v[0]))]


def filled(shape: Sequence[int], old: Sequence[int], zeros: bool = False) -> list[int]:
    """The shape that an ONNX Reshape asks for, its 0 (as before) and −1 (the rest) replaced by sizes."""
    out = [old[i] if n == 0 and not zeros and i < len(old) else n for i, n in enumerate(shape)]
    if out.count(-1) == 1:
        rest = -math.prod(out)
        if rest < 1 or math.prod(old) % rest:
            raise ShapeError(f"a tensor {tuple(old)} cannot be reshaped to {tuple(shape)}.")
        out[out.index(-1)] = math.prod(old) // rest
    if any(n < 0 for n in out):
        raise ShapeError(f"a tensor {tuple(old)} cannot be reshaped to {tuple(shape)}.")
    return out


def _small(array: Array | None) -> list[int]:
    if array is None or array.size > MOST_FOLDED or array.dtype.kind not in "iu":
        raise Cannot("it needs a few integers")
    return [int(n) for n in array.ravel()]


def _fold_expand(r: Reader, node: Node, v: list[Any]) -> list[Any]:
    shape = np.broadcast_shapes(v[0].shape, tuple(_small(v[1])) if len(_small(v[1])) <= MOST_AXES else (-1,))
    if v[0].size == 1:
        return [r.spread(v[0].reshape(()), shape)]
    r.bounded(shape, v[0])
    return [np.broadcast_to(v[0], shape)]


def _fold_reshape(r: Reader, node: Node, v: list[Any]) -> list[Any]:
    shape = node.integers("shape") or _small(v[1]) if len(v) > 1 or "shape" in node else []
    if len(shape) > MOST_AXES:
        raise Cannot("it has too many axes")
    return [v[0].reshape(filled(shape, v[0].shape, bool(node.integer("allowzero"))))]


def _fold_squeeze(r: Reader, node: Node, v: list[Any]) -> list[Any]:
    axes = r.whole_numbers(node, v, 1, "axes")
    return [np.squeeze(v[0], None if axes is None else tuple(axes))]


def _fold_unsqueeze(r: Reader, node: Node, v: list[Any]) -> list[Any]:
    axes = r.whole_numbers(node, v, 1, "axes") or []
    if len(axes) + v[0].ndim > MOST_AXES:
        raise Cannot("it has too many axes")
    return [np.expand_dims(v[0], tuple(axes))]


def _fold_concat(r: Reader, node: Node, v: list[Any]) -> list[Any]:
    axis, arrays = node.integer("axis"), [np.asarray(array) for array in v if array is not None]
    stored = sum(array.size for array in arrays if any(array.strides) or array.size <= 1)
    total = sum(array.size for array in arrays)
    if total > max(MOST_FOLDED, stored):
        raise Cannot(f"it computes a constant of {total} numbers, which is too large")
    r.store.spend(8 * total, "a constant")
    return [np.concatenate(arrays, axis=axis)]


def _fold_slice(r: Reader, node: Node, v: list[Any]) -> list[Any]:
    starts, ends = r.whole_numbers(node, v, 1, "starts"), r.whole_numbers(node, v, 2, "ends")
    axes = r.whole_numbers(node, v, 3, "axes") or list(range(len(starts or [])))
    steps = r.whole_numbers(node, v, 4, "steps") or [1] * len(starts or [])
    cut = [slice(None)] * v[0].ndim
    for start, end, axis, step in zip(starts or [], ends or [], axes, steps, strict=True):
        cut[axis] = slice(start, end if end >= -(2**62) else None, step)
    return [v[0][tuple(cut)]]


def _fold_gather(r: Reader, node: Node, v: list[Any]) -> list[Any]:
    axis = node.integer("axis") % max(v[0].ndim, 1)
    r.bounded((*v[0].shape[:axis], *v[1].shape, *v[0].shape[axis + 1 :]), v[0])
    return [v[0].take(v[1], axis=axis)]


def _fold_range(r: Reader, node: Node, v: list[Any]) -> list[Any]:
    start, stop, step = (number.reshape(()).item() for number in v)
    r.bounded((max(math.ceil((stop - start) / step), 0),))
    return [np.arange(start, stop, step).astype(v[0].dtype)]


def _fold_tile(r: Reader, node: Node, v: list[Any]) -> list[Any]:
    repeats = _small(v[1])
    if len(repeats) != v[0].ndim:
        raise Cannot("its repeats do not fit")
    r.bounded([n * k for n, k in zip(v[0].shape, repeats, strict=True)])
    return [np.tile(v[0], repeats)]


def _fold_cast(r: Reader, node: Node, v: list[Any]) -> list[Any]:
    to = node.integer("to")
    if to not in TYPES and to != BFLOAT16:
        raise Cannot(f"it makes numbers of type {to}, which are not read")
    dtype = np.dtype(np.float32 if to == BFLOAT16 else TYPES[to]).newbyteorder("=")
    if any(v[0].strides):
        r.store.spend(8 * v[0].size, "a constant")
    return [r.store.real(cast(v[0], dtype)) if dtype.kind == "f" else cast(v[0], dtype)]


def _fold_cast_like(r: Reader, node: Node, v: list[Any]) -> list[Any]:
    return [cast(v[0], v[1].dtype)]


def _fold_dequantize(r: Reader, node: Node, v: list[Any]) -> list[Any]:
    """The real numbers of weights that are stored as integers."""
    if node.integer("block_size"):
        raise Cannot("it is quantized in blocks")
    return [dequantized(r, v[0], v[1], v[2] if len(v) > 2 else None, node.integer("axis", 1))]


def dequantized(r: Reader, x: Array, scale: Array, zero: Array | None, axis: int) -> Array:
    """The real numbers that integers stand for, by one scale, or one for each place along the axis."""
    steps, zeros = (_along(tensor, x, axis) for tensor in (scale, np.zeros((), np.int32) if zero is None else zero))
    r.bounded(x.shape, x)
    return ((x.astype(np.int64) - zeros.astype(np.int64)) * steps).astype(steps.dtype)


def _along(values: Array, x: Array, axis: int) -> Array:
    values = np.asarray(values)
    if values.size == 1:
        return values.reshape(())
    if values.ndim != 1:
        raise Cannot("it is quantized in blocks")
    return values.reshape([-1 if i == axis % max(x.ndim, 1) else 1 for i in range(x.ndim)])


def _fold_quantize(r: Reader, node: Node, v: list[Any]) -> list[Any]:
    zero = np.zeros((), np.uint8) if len(v) < 3 or v[2] is None else v[2]
    if zero.dtype.kind not in "iu":
        raise Cannot("it is quantized to other numbers than integers")
    steps, zeros = (_along(tensor, v[0], node.integer("axis", 1)) for tensor in (v[1], zero))
    r.bounded(v[0].shape, v[0])
    limits = np.iinfo(zero.dtype)
    return [np.clip(np.rint(v[0] / steps) + zeros, limits.min, limits.max).astype(zero.dtype)]


def _fold_reduce(function: Callable[..., Array]) -> Callable[[Reader, Node, list[Any]], list[Any]]:
    def run(r: Reader, node: Node, v: list[Any]) -> list[Any]:
        axes = r.whole_numbers(node, v, 1, "axes")
        return [
            np.asarray(function(v[0], axis=tuple(axes) if axes else None, keepdims=bool(node.integer("keepdims", 1))))
        ]

    return run


FOLDED: dict[str, Callable[[Reader, Node, list[Any]], list[Any]]] = {
    "Constant": _fold_constant, "ConstantOfShape": _fold_filled, "Identity": lambda r, node, v: [v[0]],
    "Dropout": lambda r, node, v: [v[0]], "Expand": _fold_expand, "Reshape": _fold_reshape,
    "Squeeze": _fold_squeeze, "Unsqueeze": _fold_unsqueeze, "Concat": _fold_concat, "Slice": _fold_slice,
    "Gather": _fold_gather, "Range": _fold_range, "Tile": _fold_tile, "Cast": _fold_cast, "CastLike": _fold_cast_like,
    "DequantizeLinear": _fold_dequantize, "QuantizeLinear": _fold_quantize,
    "Transpose": lambda r, node, v: [v[0].transpose(node.integers("perm"))],
    "Flatten": lambda r, node, v: [v[0].reshape(math.prod(v[0].shape[: node.integer("axis", 1)]), -1)],
    "Shape": lambda r, node, v: [np.array(v[0].shape[slice(node.integer("start"), node.integer("end", v[0].ndim))], np.int64)],
    "Size": lambda r, node, v: [np.array(v[0].size, np.int64)],
    "Add": _fold(np.add), "Sub": _fold(np.subtract), "Mul": _fold(np.multiply), "Div": _fold(_divided),
    "Neg": _fold(np.negative), "Sqrt": _fold(np.sqrt), "Reciprocal": _fold(np.reciprocal), "Floor": _fold(np.floor),
    "Ceil": _fold(np.ceil), "Round": _fold(np.round), "Abs": _fold(np.abs), "Exp": _fold(np.exp), "Log": _fold(np.log),
    "Min": _fold(lambda *a: np.minimum.reduce(np.broadcast_arrays(*a))), "Max": _fold(lambda *a: np.maximum.reduce(np.broadcast_arrays(*a))),
    "Mod": _fold(np.mod), "Equal": _fold(np.equal), "Greater": _fold(np.greater), "Less": _fold(np.less),
    "Not": _fold(np.logical_not), "And": _fold(np.logical_and), "Or": _fold(np.logical_or), "Where": _fold(np.where),
    "Pow": _fold(np.power), "Clip": _fold(lambda x, low=-np.inf, high=np.inf: np.clip(x, low, high)),
    "ReduceProd": _fold_reduce(np.prod), "ReduceSum": _fold_reduce(np.sum), "ReduceMin": _fold_reduce(np.min),
    "ReduceMax": _fold_reduce(np.max), "ReduceMean": _fold_reduce(np.mean),
}  # fmt: skip
