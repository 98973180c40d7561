"""Names for the nodes of an ONNX file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .graph import Node


class Names:
    """Finds the best name that the file has for a node, if possible that of torchvision's and timm's feature extractors."""

    def __init__(self, nodes: Sequence[Any]) -> None:
        placed = [self.placed(node) for node in nodes]
        # Modules that hold other modules, or several layers with weights. A node directly in such a module is a function call.
        self.containers = {""}
        weighted: dict[str, int] = {}
        for node, (module, _) in zip(nodes, placed, strict=True):
            parts = module.split(".")
            self.containers.update(".".join(parts[:i]) for i in range(1, min(len(parts), 32)))
            weighted[module] = weighted.get(module, 0) + (node.op_type in WEIGHTED)
        self.containers.update(module for module, count in weighted.items() if count > 1)

    def of(self, node: Node) -> list[str]:
        """The names of a node, the best first."""
        module, function = self.placed(node.proto)
        scoped = module
        if function and module in self.containers:
            scoped = f"{module}.{function}" if module else function
        found = [self.by_weight(node), scoped, node.proto.name]
        found += [node.outputs[0] if node.outputs else "", f"{node.type.lower()}{node.number}"]
        return list(dict.fromkeys(name for name in found if name))

    def by_weight(self, node: Node) -> str:
        name = node.inputs[1] if node.type in WEIGHTED and len(node.inputs) > 1 else ""
        name = re.sub(r"^(Conv(Bn|Mul)Fusion_W_)+", "", name[:1000])  # a prefix of onnxruntime's optimizer
        # The endings of PyTorch, and of tf2onnx for a convolution into which a batch norm was folded.
        for suffix in (".weight", "/merged_input:0"):
            if name.endswith(suffix) and "::" not in name:
                return name.removesuffix(suffix)
        return ""

    def placed(self, node: Any) -> tuple[str, str]:
        """The module and the function that a node comes from, as the exporter noted them."""
        for entry in node.metadata_props:  # as torch's new exporter writes it
            if entry.key == "pkg.torch.onnx.name_scopes" and len(entry.value) < 10_000:
                scopes = re.findall(r"'([^']*)'", entry.value)
                if len(scopes) > 1:
                    return scopes[-2], re.sub(r"_\d+$", "", scopes[-1])
        if node.name.startswith("/") and len(node.name) < 1000:  # as its old exporter does: /layer1/layer1.0/conv1/Conv
            *path, last = node.name.strip("/").split("/")
            parts: list[str] = []
            for step in path:
                if parts and step.startswith(f"{parts[-1]}."):
                    parts[-1] = step
                else:
                    parts.append(step)
            return ".".join(parts), re.sub(r"^[a-z]+", lambda found: FUNCTIONS.get(found[0], found[0]), last.lower())
        return "", ""


# The names of torch's functions for operators that its old exporter writes.
FUNCTIONS = {
    "concat": "cat", "globalaveragepool": "adaptive_avg_pool2d", "averagepool": "avg_pool2d", "maxpool": "max_pool2d",
    "gemm": "linear", "clip": "hardtanh",
}  # fmt: skip
WEIGHTED = {
    "Conv",
    "FusedConv",
    "FusedGemm",
    "FusedMatMul",
    "ConvTranspose",
    "Gemm",
    "MatMul",
    "BatchNormalization",
    "LayerNormalization",
    "PRelu",
}
