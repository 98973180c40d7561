"""Operators of onnxruntime's optimizer, of the domain ``com.microsoft``, each of which is several of ONNX in one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ..arguments import printable
from ..builder import Cannot, View
from ..layers import GELU, HardSigmoid, Layer, ReLU, Sigmoid, SiLU, Tanh
from .operators import conv, gemm, matmul

if TYPE_CHECKING:
    from .graph import Node, Reader

DOMAIN = "com.microsoft"
BLOCKED = "com.microsoft.nchwc"
ONE_PROCESSOR = (
    "onnxruntime wrote it for one kind of processor, with its weights in another order. Give the file that it was made from, or "
    "have it optimized to ORT_ENABLE_EXTENDED, not ORT_ENABLE_ALL"
)


def _activated(r: Reader, view: View, name: str, numbers: list[float]) -> View:
    """Add the activation that was fused into a node, as a layer of its own."""
    label = r.builder.label
    r.builder.label = f"{label}.{name.lower()}"
    try:
        if name == "Clip":
            return r.builder.clip(view, *numbers)
        known: dict[str, Callable[..., Layer]] = {
            "Relu": ReLU, "Tanh": Tanh, "Sigmoid": Sigmoid, "LeakyRelu": lambda alpha: ReLU(leak=alpha),
            "HardSigmoid": lambda alpha, beta: HardSigmoid(alpha=alpha, beta=beta),
        }  # fmt: skip
        if name not in known:
            raise Cannot(f"it is fused with '{printable(name)}', which is not known here")
        return r.builder.elementwise(view, known[name](*numbers))
    finally:
        r.builder.label = label


def _fused_conv(r: Reader, node: Node, v: list[Any]) -> Any:
    """A convolution, a map that is added to it, and an activation."""
    view = conv(r, node, v[:3])
    if len(v) > 3 and v[3] is not None:
        view = r.builder.add(view, r.maps(v, 3))
    return _activated(r, view, node.text("activation"), node.numbers("activation_params"))


def _fused_gemm(r: Reader, node: Node, v: list[Any]) -> Any:
    given = [node.number_(f"activation_{name}", 0.0) for name in ("alpha", "beta") if f"activation_{name}" in node]
    return _activated(r, gemm(r, node, v), node.text("activation"), given)


def _fused_matmul(r: Reader, node: Node, v: list[Any]) -> Any:
    if node.integer("transA") or node.integer("transBatchA") or node.integer("transBatchB"):
        raise Cannot("it multiplies a map that is transposed")
    weights = r.weights(v, 1, "weights")
    weights = weights.swapaxes(-1, -2) if node.integer("transB") else weights
    return matmul(r, node, [v[0], weights * weights.dtype.type(node.number_("alpha", 1.0))])


def _biased(make: Callable[[], Layer]) -> Callable[[Reader, Node, list[Any]], Any]:
    """The operator of an activation, which may add a constant to its map first."""

    def run(r: Reader, node: Node, v: list[Any]) -> Any:
        view = r.maps(v)
        if len(v) > 1 and v[1] is not None:
            view = r.builder.affine(view, np.float32(1), r.weights(v, 1, "bias"), r.sole(node, 0))
        return r.builder.elementwise(view, make())

    return run


def _quick_gelu(r: Reader, node: Node, v: list[Any]) -> Any:
    return r.builder.elementwise(r.maps(v), SiLU(beta=node.number_("alpha", 1.702)))


FUSED: dict[str, Callable[[Reader, Node, list[Any]], Any]] = {
    "FusedConv": _fused_conv, "FusedGemm": _fused_gemm, "FusedMatMul": _fused_matmul, "QuickGelu": _quick_gelu,
    "Gelu": _biased(GELU), "BiasGelu": _biased(GELU), "FastGelu": _biased(lambda: GELU(approximate="tanh")),
}  # fmt: skip
