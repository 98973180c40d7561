"""Operators on quantized numbers: each becomes the operator on real numbers, followed by a layer that rounds, `Quantize`.

Here responses are real numbers, whatever integers the file stores for them. So the scale by which an operator reads integers
must be the scale with which they were rounded.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ..arguments import Array
from ..builder import Cannot, View
from ..builder.pieces import MOST_PIECES
from ..layers import Quantize, ReLU, Sigmoid
from .folding import dequantized
from .operators import conv, global_pool, pool, softmax

if TYPE_CHECKING:
    from .graph import Node, Reader


def _number(r: Reader, v: list[Any], i: int, what: str) -> Array:
    array = r.constant(v, i, what)
    if array is None:
        raise Cannot(f"it has no {what}")
    if array.size != 1:
        raise Cannot(f"its responses are quantized by many scales: {what} {array.shape}")
    return array.reshape(())


def _rounded(r: Reader, view: View, v: list[Any], i: int) -> View:
    """The tensor, rounded by the scale and the zero that are inputs `i` and `i` + 1."""
    step = float(_number(r, v, i, "scale"))
    zero = np.zeros((), np.uint8) if len(v) <= i + 1 or v[i + 1] is None else _number(r, v, i + 1, "zero")
    if zero.dtype.kind not in "iu" or step <= 0:
        raise Cannot(f"it is quantized to {zero.dtype} by {step}")
    limits = np.iinfo(zero.dtype)
    return r.builder.elementwise(view, Quantize(step, zero=int(zero), low=int(limits.min), high=int(limits.max)))


def _real(r: Reader, v: list[Any], i: int) -> View | Array:
    """Input `i`, a constant or responses, as real numbers; its scale and zero are the next two inputs."""
    if not isinstance(v[i], View):
        return dequantized(r, v[i], r.weights(v, i + 1, "scale"), r.constant(v, i + 2, "zero"), 0)
    view: View = v[i]
    build, layer = r.builder, view.layer
    for _ in range(MOST_PIECES):  # between the rounding and here there may be pools, shuffles and the like
        if layer and not isinstance(build.layers[layer - 1], Quantize):
            layer = build.inputs[layer - 1][0]
    made = build.layers[layer - 1] if layer else None
    step, zero = float(_number(r, v, i + 1, "scale")), 0 if len(v) <= i + 2 or v[i + 2] is None else int(v[i + 2])
    if not isinstance(made, Quantize) or (made.step, made.zero) != (step, zero):
        raise Cannot("it reads integers by another scale than they were rounded with")
    return view


def _bias(r: Reader, v: list[Any], i: int) -> Array | None:
    """The bias, input `i`, whose unit is the scale of the responses times that of the weights."""
    if len(v) <= i or v[i] is None:
        return None
    bias: Array = v[i] * (r.weights(v, 1, "scale").ravel() * r.weights(v, 4, "scale").ravel())
    return bias


def _quantize(r: Reader, node: Node, v: list[Any]) -> Any:
    return _rounded(r, r.maps(v), v, 1)


def _dequantize(r: Reader, node: Node, v: list[Any]) -> Any:
    return _real(r, v, 0)


def _qlinear_conv(r: Reader, node: Node, v: list[Any]) -> Any:
    bias = _bias(r, v, 8)
    return _rounded(r, conv(r, node, [_real(r, v, 0), _real(r, v, 3), bias]), v, 6)


def _qlinear_matmul(r: Reader, node: Node, v: list[Any]) -> Any:
    view = _real(r, v, 0)
    if not isinstance(view, View) or isinstance(v[3], View):
        raise Cannot("it multiplies two computed tensors, or from the left")
    weights = dequantized(r, v[3], r.weights(v, 4, "scale"), r.constant(v, 5, "zero"), -1)
    return _rounded(r, r.builder.linear(view, weights), v, 6)


def _qgemm(r: Reader, node: Node, v: list[Any]) -> Any:
    view, turned = _real(r, v, 0), bool(node.integer("transB"))
    if (
        not isinstance(view, View)
        or isinstance(v[3], View)
        or node.integer("transA")
        or node.number_("alpha", 1.0) != 1
    ):
        raise Cannot("it multiplies by something else than a matrix from the right")
    weights = dequantized(r, v[3], r.weights(v, 4, "scale"), r.constant(v, 5, "zero"), 0 if turned else -1)
    bias = _bias(r, v, 6)
    flat = view if len(view.axes) == 2 else r.builder.flatten(view, 1)
    result = r.builder.linear(flat, weights.T if turned else weights, bias)
    return _rounded(r, result, v, 7) if len(v) > 7 and v[7] is not None else result


def _binary(r: Reader, node: Node, v: list[Any]) -> Any:
    a, b, build = _real(r, v, 0), _real(r, v, 3), r.builder
    added = node.type == "QLinearAdd"
    if isinstance(a, View) and isinstance(b, View):
        result = build.add(a, b) if added else build.multiply(a, b)
    else:
        view, constant = (a, b) if isinstance(a, View) else (b, a)
        if not isinstance(view, View) or isinstance(constant, View):
            raise Cannot("it computes with constants in a way that is not known here")
        result = build.affine(view, 1.0 if added else constant, constant if added else 0.0)
    return _rounded(r, result, v, 6)


def _qlinear_concat(r: Reader, node: Node, v: list[Any]) -> Any:
    parts = [_real(r, v, i) for i in range(2, len(v), 3)]
    return _rounded(r, r.builder.concat(parts, node.integer("axis", 1)), v, 0)


def _alone(operator: Callable[[Reader, Node, View], View]) -> Callable[[Reader, Node, list[Any]], Any]:
    """An operator whose inputs are one map with its scale and zero, and the scale and zero of the result."""

    def run(r: Reader, node: Node, v: list[Any]) -> Any:
        view = _real(r, v, 0)
        if not isinstance(view, View):
            raise Cannot("its first input is a constant")
        if node.integer("channels_last"):
            raise Cannot("it has the channels last")
        return _rounded(r, operator(r, node, view), v, 3)

    return run


QUANTIZED: dict[str, Callable[[Reader, Node, list[Any]], Any]] = {
    "QuantizeLinear": _quantize, "DequantizeLinear": _dequantize, "QLinearConv": _qlinear_conv, "QLinearMatMul": _qlinear_matmul,
    "QGemm": _qgemm, "QLinearAdd": _binary, "QLinearMul": _binary, "QLinearConcat": _qlinear_concat,
    "QLinearGlobalAveragePool": _alone(lambda r, node, view: global_pool(r, node, [view])),
    "QLinearAveragePool": _alone(lambda r, node, view: pool(r, node, [view])),
    "QLinearSoftmax": _alone(lambda r, node, view: softmax(r, node, [view])),
    "QLinearSigmoid": _alone(lambda r, node, view: r.builder.elementwise(view, Sigmoid())),
    "QLinearLeakyRelu": _alone(lambda r, node, view: r.builder.elementwise(view, ReLU(leak=node.number_("alpha", 0.01)))),
}  # fmt: skip
