"""Small ONNX files, written with onnx's own helpers."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def graph(nodes, constants=None, *, image=("x", (1, 4, 6, 9)), outputs=("y",), dtype=TensorProto.FLOAT, inputs=()):
    """A graph of (operator, inputs, outputs, attributes) with stored constants; texts of names are split at spaces.

    Of the attributes, ``domain`` is that of the operator.
    """
    made = []
    for n, (kind, below, above, *attributes) in enumerate(nodes):
        below = below.split(" ") if isinstance(below, str) and below else list(below)
        node = helper.make_node(
            kind,
            ["" if name == "-" else name for name in below],
            above.split(" "),
            name=f"n{n}",
            **(attributes[0] if attributes else {}),
        )
        made.append(node)
    given = [helper.make_tensor_value_info(image[0], dtype, image[1]), *inputs]
    results = [helper.make_tensor_value_info(name, dtype, None) for name in outputs]
    stored = [numpy_helper.from_array(np.asarray(value), name) for name, value in (constants or {}).items()]
    return helper.make_graph(made, "g", given, results, stored)


def model(nodes, constants=None, *, opset=17, ir=8, **options):
    """A model of one graph, as `graph` makes it."""
    made = graph(nodes, constants, **options)
    domains = sorted({node.domain for node in made.node} - {""})
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
    made = helper.make_model(made, opset_imports=imports)
    made.ir_version = ir
    return made


def save(made, path):
    path.write_bytes(made if isinstance(made, bytes) else made.SerializeToString())
    return path


def reals(*shape, seed=0, low=-1.0, high=1.0):
    return np.random.default_rng([seed, *shape]).uniform(low, high, shape).astype(np.float32)


def whole(*shape, seed=0):
    """Small integers, as floats: what is computed with them is exact."""
    return np.random.default_rng([seed, *shape]).integers(-3, 4, shape).astype(np.float32)


__all__ = ["TensorProto", "graph", "helper", "model", "numpy_helper", "onnx", "reals", "save", "whole"]
