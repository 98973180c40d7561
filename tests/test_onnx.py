"""ONNX files: each operator compared with onnxruntime, exact decodings, names, real networks, and errors."""

import json
import math
import os
import sys

import numpy as np
import pytest

import decoding
from decoding import DecodingError, InvalidValueError, Network, UnsupportedLayerError, WeightsFormatError, load_onnx

onnx = pytest.importorskip("onnx")

from onnx_files import TensorProto, graph, helper, model, numpy_helper, reals, save, whole  # noqa: E402

EPS = float(np.finfo(np.float32).eps)


def loaded(tmp_path, made, **options):
    return load_onnx(save(made, tmp_path / "net.onnx"), **options)


# Operators, against onnxruntime: (opset, nodes, constants[, shape of the image])

W = {"w": reals(5, 4, 3, 2), "b": reals(5)}
FUSED = {"domain": "com.microsoft"}  # what onnxruntime's optimizer writes
FORWARD = {
    "conv": (17, [("Conv", "x w b", "y", {"strides": [2, 1], "pads": [1, 0, 2, 1], "dilations": [1, 2]})], W),
    "conv without bias or kernel": (11, [("Conv", "x w", "y")], {"w": W["w"]}),
    "conv grouped": (11, [("Conv", "x w b", "y", {"group": 2})], {"w": reals(6, 2, 3, 2), "b": reals(6)}),
    "conv depthwise": (11, [("Conv", "x w", "y", {"group": 4, "pads": [1, 1, 1, 1]})], {"w": reals(8, 1, 3, 3)}),
    "conv same upper": (11, [("Conv", "x w", "y", {"auto_pad": "SAME_UPPER", "strides": [2, 2]})], {"w": W["w"]}),
    "conv same lower": (11, [("Conv", "x w", "y", {"auto_pad": "SAME_LOWER", "strides": [1, 2]})], {"w": W["w"]}),
    "conv valid": (11, [("Conv", "x w", "y", {"auto_pad": "VALID"})], {"w": W["w"]}),
    "conv then constant": (11, [("Conv", "x w", "h"), ("Add", "h c", "y")], {"w": W["w"], "c": reals(5, 1, 1)}),
    "transposed conv": (
        11,
        [("ConvTranspose", "x w b", "y", {"strides": [2, 3], "pads": [1, 0, 0, 2], "output_padding": [1, 2], "group": 2})],
        {"w": reals(4, 3, 3, 5), "b": reals(6)},
    ),
    "transposed conv to a shape": (
        11,
        [("ConvTranspose", "x w", "y", {"strides": [2, 2], "output_shape": [12, 18], "auto_pad": "SAME_UPPER"})],
        {"w": reals(4, 3, 3, 5)},
    ),
    "transposed conv of stride 1": (
        11, [("ConvTranspose", "x w b", "y", {"pads": [1, 0, 0, 2], "group": 2})], {"w": reals(4, 3, 3, 5), "b": reals(6)}
    ),
    "gemm": (
        13,
        [("Flatten", "x", "f"), ("Gemm", "f w b", "y", {"transB": 1, "alpha": 0.5, "beta": 2.0})],
        {"w": reals(5, 216), "b": reals(5)},
    ),
    "gemm without bias": (13, [("Flatten", "x", "f"), ("Gemm", "f w", "y")], {"w": reals(216, 5)}),
    "matmul": (13, [("Reshape", "x s", "f"), ("MatMul", "f w", "h"), ("Add", "h b", "y")], {"s": np.array([1, -1]), "w": reals(216, 5), "b": reals(5)}),
    "matmul, channels last": (
        13,
        [("Transpose", "x", "t", {"perm": [0, 2, 3, 1]}), ("MatMul", "t w", "h"), ("Add", "h b", "m"), ("Transpose", "m", "y", {"perm": [0, 3, 1, 2]})],
        {"w": reals(4, 7), "b": reals(7)},
    ),
    "flattened, channels last": (
        13,
        [("Transpose", "x", "t", {"perm": [0, 2, 3, 1]}), ("Reshape", "t s", "f"), ("MatMul", "f w", "y")],
        {"w": reals(216, 5), "s": np.array([0, -1])},
    ),
    "matmul of columns": (
        13, [("Transpose", "x", "t", {"perm": [0, 2, 1, 3]}), ("Reshape", "t s", "f"), ("MatMul", "f w", "y")],
        {"w": reals(36, 5), "s": np.array([1, 6, 36])},
    ),
    "batch norm": (
        14, [("BatchNormalization", "x s b m v", "y", {"epsilon": 0.01})],
        {"s": reals(4), "b": reals(4), "m": reals(4), "v": reals(4, low=0.5, high=2)},
    ),
    "batch norm of opset 7": (
        7, [("BatchNormalization", "x s b m v", "y")], {"s": reals(4), "b": reals(4), "m": reals(4), "v": reals(4, low=0.5, high=2)},
    ),
    "constants": (
        13,
        [("Add", "x a", "h1"), ("Mul", "h1 m", "h2"), ("Sub", "h2 s", "h3"), ("Div", "h3 d", "h4"), ("Sub", "o h4", "h5"), ("Neg", "h5", "y")],
        {"a": reals(1, 4, 1, 1), "m": reals(4, 1, 1), "s": reals(1), "d": reals(4, 1, 1, low=1, high=2), "o": reals(1, 4, 1, 1)},
    ),
    "constants, channels last": (
        13, [("Transpose", "x", "t", {"perm": [0, 2, 3, 1]}), ("Mul", "t m", "h"), ("Add", "h a", "g"), ("Transpose", "g", "y", {"perm": [0, 3, 1, 2]})],
        {"m": reals(4), "a": reals(1, 1, 4)},
    ),
    "sum": (13, [("Relu", "x", "a"), ("Tanh", "x", "b"), ("Sum", "x a b", "y")], {}),
    "difference": (13, [("Relu", "x", "a"), ("Sub", "a x", "y")], {}),
    "concat and split": (13, [("Relu", "x", "a"), ("Concat", "x a", "c", {"axis": 1}), ("Split", "c s", "y z", {"axis": 1})], {"s": np.array([3, 5])}),
    "split by attribute": (11, [("Split", "x", "z y", {"axis": 1, "split": [1, 3]})], {}),
    "split into equal parts": (13, [("Split", "x", "z y", {"axis": -3})], {}),
    "slice channels": (13, [("Slice", "x a b c d", "y")], {"a": np.array([3]), "b": np.array([-100]), "c": np.array([1]), "d": np.array([-2])}),
    "slice pixels": (
        13, [("Slice", "x a b c d", "y")],
        {"a": np.array([1, 0]), "b": np.array([6, 8]), "c": np.array([2, -1]), "d": np.array([2, 3])},
    ),
    "slice by attribute": (9, [("Slice", "x", "y", {"starts": [1, 2], "ends": [9999, 7], "axes": [2, 3]})], {}),
    "gather": (13, [("Gather", "x i", "y", {"axis": 1})], {"i": np.array([2, 0, 2, -1])}),
    "gather one": (13, [("Gather", "x i", "h", {"axis": 1}), ("Unsqueeze", "h a", "y")], {"i": np.array(2), "a": np.array([1])}),
    "reverse rgb by pieces": (
        13,
        [("Gather", "x i0", "a", {"axis": 1}), ("Unsqueeze", "a one", "b"), ("Gather", "x i1", "c", {"axis": 1}), ("Unsqueeze", "c one", "d"), ("Mul", "d m", "e"), ("Concat", "b e", "y", {"axis": 1})],
        {"i0": np.array(3), "i1": np.array(0), "one": np.array([1]), "m": reals(1)},
    ),
    "shuffle": (
        13, [("Reshape", "x s", "a"), ("Transpose", "a", "b", {"perm": [0, 2, 1, 3, 4]}), ("Reshape", "b t", "y")],
        {"s": np.array([1, 2, 2, 6, 9]), "t": np.array([0, -1, 6, 9])},
    ),
    "shuffle and halve": (
        13,
        [("Reshape", "x s", "a"), ("Transpose", "a", "b", {"perm": [1, 0, 2]}), ("Reshape", "b t", "c"), ("Gather", "c i", "y", {"axis": 0})],
        {"s": np.array([2, 2, 54]), "t": np.array([2, -1, 2, 6, 9]), "i": np.array(1)},
    ),
    "depth to space": (13, [("DepthToSpace", "x", "y", {"blocksize": 2})], {}),
    "depth to space, columns first": (13, [("DepthToSpace", "x", "y", {"blocksize": 2, "mode": "CRD"})], {}),
    "space to depth": (13, [("SpaceToDepth", "x", "y", {"blocksize": 3})], {}),
    "pixel shuffle in pieces": (
        13, [("Reshape", "x s", "a"), ("Transpose", "a", "b", {"perm": [0, 1, 4, 2, 5, 3]}), ("Reshape", "b t", "y")],
        {"s": np.array([1, 1, 2, 2, 6, 9]), "t": np.array([1, 1, 12, 18])},
    ),
    "max pool": (12, [("MaxPool", "x", "y", {"kernel_shape": [3, 2], "strides": [2, 3], "pads": [1, 0, 1, 1]})], {}),
    "max pool, ceil": (12, [("MaxPool", "x", "y", {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1})], {}),
    "max pool, ceil and pads": (12, [("MaxPool", "x", "y", {"kernel_shape": [2, 2], "strides": [3, 3], "pads": [1, 1, 1, 1], "ceil_mode": 1})], {}),
    "max pool, same": (12, [("MaxPool", "x", "y", {"kernel_shape": [3, 2], "strides": [2, 2], "auto_pad": "SAME_UPPER"})], {}),
    "average pool": (11, [("AveragePool", "x", "y", {"kernel_shape": [3, 2], "strides": [2, 3], "pads": [1, 0, 1, 1]})], {}),
    "average pool, pads counted": (11, [("AveragePool", "x", "y", {"kernel_shape": [3, 2], "pads": [1, 0, 1, 1], "count_include_pad": 1})], {}),
    "average pool, ceil": (19, [("AveragePool", "x", "y", {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1})], {}),
    "global average": (13, [("GlobalAveragePool", "x", "y")], {}),
    "global maximum": (13, [("GlobalMaxPool", "x", "y")], {}),
    "reduce mean": (13, [("ReduceMean", "x", "y", {"axes": [-1, -2], "keepdims": 0})], {}),
    "reduce mean of opset 18": (18, [("ReduceMean", "x a", "y", {"keepdims": 1})], {"a": np.array([2, 3])}),
    "reduce mean of rows": (13, [("ReduceMean", "x", "y", {"axes": [2]})], {}),
    "reduce sum": (13, [("ReduceSum", "x a", "y")], {"a": np.array([2, 3])}),
    "reduce maximum": (13, [("ReduceMax", "x", "y", {"axes": [2, 3], "keepdims": 0})], {}),
    "resize nearest": (13, [("Resize", "x - s", "y", {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"})], {"s": np.array([1, 1, 2, 3], np.float32)}),
    "resize nearest to sizes": (13, [("Resize", "x - - s", "y", {"mode": "nearest"})], {"s": np.array([1, 4, 12, 18])}),
    "resize linear": (13, [("Resize", "x - s", "y", {"mode": "linear"})], {"s": np.array([1, 1, 2, 1.5], np.float32)}),
    "resize linear to corners": (13, [("Resize", "x - - s", "y", {"mode": "linear", "coordinate_transformation_mode": "align_corners"})], {"s": np.array([1, 4, 13, 17])}),
    "resize down": (13, [("Resize", "x - s", "y", {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"})], {"s": np.array([1, 1, 0.5, 1 / 3], np.float32)}),
    "resize of opset 10": (10, [("Resize", "x s", "y", {"mode": "nearest"})], {"s": np.array([1, 1, 2, 2], np.float32)}),
    "upsample 9": (9, [("Upsample", "x s", "y", {"mode": "linear"})], {"s": np.array([1, 1, 2, 2], np.float32)}),
    "upsample 7": (7, [("Upsample", "x", "y", {"mode": "nearest", "scales": [1.0, 1.0, 3.0, 2.0]})], {}),
    "enlarged by tiles": (
        13, [("Unsqueeze", "x a", "u"), ("Tile", "u t", "v"), ("Reshape", "v s", "h"), ("Unsqueeze", "h b", "w"), ("Expand", "w e", "z"), ("Reshape", "z r", "y")],
        {"a": np.array([3]), "t": np.array([1, 1, 1, 2, 1]), "s": np.array([1, 4, 12, 9]), "b": np.array([4]), "e": np.array([1, 1, 1, 1, 3]), "r": np.array([1, 4, 12, 27])},
    ),
    "pad": (13, [("Pad", "x p v", "y")], {"p": np.array([0, 0, 1, 2, 0, 0, 0, 3]), "v": np.array(1.5, np.float32)}),
    "pad channels": (13, [("Pad", "x p", "y")], {"p": np.array([0, 1, 0, 0, 0, 2, 0, 0])}),
    "pad by attribute": (2, [("Pad", "x", "y", {"pads": [0, 0, 1, 2, 0, 0, 0, 3]})], {}),
    "pad axes": (18, [("Pad", "x p - a", "y")], {"p": np.array([1, 2, 0, 3]), "a": np.array([2, -1])}),
    "crop": (13, [("Pad", "x p", "y")], {"p": np.array([0, 0, -1, 2, 0, 0, 0, -3])}),
    "reflect": (13, [("Pad", "x p", "y", {"mode": "reflect"})], {"p": np.array([0, 0, 1, 2, 0, 0, 3, 0])}),
    "edge": (13, [("Pad", "x p", "y", {"mode": "edge"})], {"p": np.array([0, 0, 1, 2, 0, 0, 3, 0])}),
    "lrn": (13, [("LRN", "x", "y", {"size": 3, "alpha": 0.5, "beta": 0.7, "bias": 1.5})], {}),
    "layer norm, channels last": (
        17, [("Transpose", "x", "t", {"perm": [0, 2, 3, 1]}), ("LayerNormalization", "t s b", "h"), ("Transpose", "h", "y", {"perm": [0, 3, 1, 2]})],
        {"s": reals(4), "b": reals(4)},
    ),
    "instance norm": (13, [("InstanceNormalization", "x s b", "y", {"epsilon": 0.1})], {"s": reals(4), "b": reals(4)}),
    "group norm in pieces": (
        13, [("Reshape", "x r", "h"), ("InstanceNormalization", "h s b", "g"), ("Reshape", "g t", "u"), ("Mul", "u m", "v"), ("Add", "v a", "y")],
        {"r": np.array([0, 2, -1]), "s": np.ones(2, np.float32), "b": np.zeros(2, np.float32), "t": np.array([1, 4, 6, 9]), "m": reals(4, 1, 1), "a": reals(4, 1, 1)},
    ),
    "group norm": (21, [("GroupNormalization", "x s b", "y", {"num_groups": 2})], {"s": reals(4), "b": reals(4)}),
    "softmax": (13, [("Softmax", "x", "y", {"axis": 1})], {}),
    "softmax of opset 11": (11, [("GlobalAveragePool", "x", "g"), ("Softmax", "g", "y")], {}),
    "log softmax": (13, [("LogSoftmax", "x", "y", {"axis": 1})], {}),
    "gate": (
        13, [("GlobalAveragePool", "x", "g"), ("Conv", "g w", "h"), ("Sigmoid", "h", "s"), ("Mul", "s x", "y")], {"w": reals(4, 4, 1, 1)},
    ),
    "gate of linear layers": (
        13, [("GlobalAveragePool", "x", "g"), ("Flatten", "g", "f"), ("Gemm", "f w", "h"), ("HardSigmoid", "h", "s"), ("Unsqueeze", "s a", "u"), ("Mul", "x u", "y")],
        {"w": reals(4, 4), "a": np.array([2, 3])},
    ),
    "spatial gate": (13, [("Conv", "x w", "h"), ("Sigmoid", "h", "s"), ("Mul", "x s", "y")], {"w": reals(1, 4, 1, 1)}),
    "gate that is spread": (13, [("GlobalAveragePool", "x", "g"), ("Sigmoid", "g", "s"), ("Expand", "s e", "u"), ("Mul", "x u", "y")], {"e": np.array([1, 4, 6, 9])}),
    "silu in pieces": (13, [("Sigmoid", "x", "s"), ("Mul", "x s", "y")], {}),
    "hard swish in pieces": (
        13, [("Add", "x three", "a"), ("Clip", "a zero six", "b"), ("Mul", "x b", "c"), ("Div", "c six", "y")],
        {"three": np.float32(3), "zero": np.float32(0), "six": np.float32(6)},
    ),
    "hard sigmoid in pieces": (
        13, [("Add", "x three", "a"), ("Clip", "a zero six", "b"), ("Div", "b six", "y")],
        {"three": np.float32(3), "zero": np.float32(0), "six": np.float32(6)},
    ),
    "gelu in pieces": (
        13, [("Div", "x r", "a"), ("Erf", "a", "b"), ("Add", "b one", "c"), ("Mul", "x c", "d"), ("Mul", "d half", "y")],
        {"r": np.float32(math.sqrt(2)), "one": np.float32(1), "half": np.float32(0.5)},
    ),
    "gelu with turns": (
        13,
        [("Mul", "x r", "a"), ("Transpose", "a", "t", {"perm": [0, 2, 3, 1]}), ("Erf", "t", "b"), ("Add", "b one", "c"), ("Mul", "x half", "d"), ("Transpose", "d", "u", {"perm": [0, 2, 3, 1]}),
         ("Mul", "u c", "e"), ("Transpose", "e", "y", {"perm": [0, 3, 1, 2]})],
        {"r": np.float32(math.sqrt(0.5)), "one": np.float32(1), "half": np.float32(0.5)},
    ),
    "gelu in TensorFlow's pieces": (13, [("Mul", "x r", "a"), ("Neg", "a", "n"), ("Erf", "n", "b"), ("Sub", "one b", "c"), ("Mul", "x half", "d"), ("Mul", "d c", "y")], {"r": np.float32(math.sqrt(0.5)), "one": np.float32(1), "half": np.float32(0.5)}),
    "bounds": (13, [("Max", "x a", "h"), ("Min", "b h", "y")], {"a": np.float32(-0.5), "b": np.float32(0.25)}),
    "gelu by tanh in pieces": (
        13,
        [("Mul", "x x", "a"), ("Mul", "a x", "b"), ("Mul", "b k", "c"), ("Add", "x c", "d"), ("Mul", "d r", "e"), ("Tanh", "e", "f"), ("Add", "f one", "g"), ("Mul", "x g", "h"), ("Mul", "h half", "y")],
        {"k": np.float32(0.044715), "r": np.float32(math.sqrt(2 / math.pi)), "one": np.float32(1), "half": np.float32(0.5)},
    ),
    "mish in pieces": (13, [("Softplus", "x", "a"), ("Tanh", "a", "b"), ("Mul", "x b", "y")], {}),
    "softplus in pieces": (13, [("Exp", "x", "a"), ("Add", "a one", "b"), ("Log", "b", "y")], {"one": np.float32(1)}),
    "layer norm in pieces": (
        13,
        [("ReduceMean", "x", "m", {"axes": [1]}), ("Sub", "x m", "d"), ("Pow", "d two", "s"), ("ReduceMean", "s", "v", {"axes": [1]}), ("Add", "v e", "w"), ("Sqrt", "w", "r"),
         ("Div", "d r", "n"), ("Mul", "n g", "h"), ("Add", "h b", "y")],
        {"two": np.float32(2), "e": np.float32(0.1), "g": reals(4, 1, 1), "b": reals(4, 1, 1)},
    ),
    "layer norm in pieces, channels last": (
        13,
        [("Transpose", "x", "t", {"perm": [0, 2, 3, 1]}), ("ReduceMean", "t", "m", {"axes": [-1]}), ("Sub", "t m", "d"), ("Sub", "t m", "o"), ("Mul", "o o", "s"),
         ("ReduceMean", "s", "v", {"axes": [-1]}), ("Add", "v e", "w"), ("Sqrt", "w", "r"), ("Reciprocal", "r", "q"), ("Mul", "q d", "n"), ("Mul", "n g", "h"), ("Add", "h b", "f"), ("Transpose", "f", "y", {"perm": [0, 3, 1, 2]})],
        {"e": np.float32(0.1), "g": reals(4), "b": reals(4)},
    ),
    "instance norm in pieces": (
        13,
        [("ReduceMean", "x", "m", {"axes": [2, 3]}), ("Sub", "x m", "d"), ("Mul", "d d", "s"), ("ReduceMean", "s", "v", {"axes": [2, 3]}), ("Add", "v e", "w"), ("Pow", "w minus", "q"), ("Mul", "d q", "y")],
        {"minus": np.float32(-0.5), "e": np.float32(0.1)},
    ),
    "group norm of all in pieces, channels last": (
        13,
        [("Transpose", "x", "t", {"perm": [0, 2, 3, 1]}), ("ReduceMean", "t", "m", {"axes": [1, 2, 3]}), ("Sub", "t m", "d"), ("Mul", "d d", "s"), ("ReduceMean", "s", "v", {"axes": [1, 2, 3]}),
         ("Add", "v e", "w"), ("Sqrt", "w", "r"), ("Div", "d r", "n"), ("Transpose", "n", "y", {"perm": [0, 3, 1, 2]})],
        {"e": np.float32(0.1)},
    ),
    "group norm in Flax's pieces": (
        13,
        [("Transpose", "x", "t", {"perm": [0, 2, 3, 1]}), ("Reshape", "t r", "g"), ("ReduceMean", "g", "m", {"axes": [1, 2, 4]}), ("Sub", "g m", "d"), ("Mul", "g g", "q"), ("ReduceMean", "q", "p", {"axes": [1, 2, 4]}),
         ("Mul", "m m", "n"), ("Sub", "p n", "v"), ("Max", "v zero", "u"), ("Add", "u e", "w"), ("Sqrt", "w", "s"), ("Div", "d s", "h"), ("Reshape", "h o", "i"), ("Mul", "i c", "j"), ("Add", "j b", "k"),
         ("Transpose", "k", "y", {"perm": [0, 3, 1, 2]})],
        {"r": np.array([1, 6, 9, 2, 2]), "o": np.array([1, 6, 9, 4]), "zero": np.float32(0), "e": np.float32(0.1), "c": reals(4), "b": reals(4)},
    ),
    "layer norm by moments": (
        13,
        [("ReduceMean", "x", "m", {"axes": [1]}), ("Mul", "x x", "q"), ("ReduceMean", "q", "p", {"axes": [1]}), ("Mul", "m m", "n"), ("Sub", "p n", "v"), ("Add", "v e", "w"), ("Pow", "w minus", "s"), ("Mul", "s g", "f"),
         ("Sub", "x m", "d"), ("Mul", "d f", "h"), ("Add", "h b", "y")],
        {"minus": np.float32(-0.5), "e": np.float32(0.1), "g": reals(4, 1, 1), "b": reals(4, 1, 1)},
    ),
    "groups divided by their norms": (
        13,
        [("Reshape", "x r", "g"), ("ReduceSumSquare", "g", "q", {"axes": [1]}), ("Add", "q e", "a"), ("Div", "g a", "d"), ("Mul", "d q", "m"), ("Reshape", "m o", "y")],
        {"r": np.array([1, 2, 2, 6, 9]), "o": np.array([1, 4, 6, 9]), "e": np.float32(0.1)},
    ),
    "means of every second channel": (13, [("Reshape", "x r", "g"), ("ReduceMean", "g", "m", {"axes": [1]}), ("Sub", "g m", "d"), ("Reshape", "d o", "y")], {"r": np.array([1, 2, 2, 6, 9]), "o": np.array([1, 4, 6, 9])}),
    "layer norm in tf2onnx's pieces": (
        13,
        [("ReduceMean", "x", "m", {"axes": [1]}), ("Sub", "x m", "d"), ("Mul", "d d", "s"), ("ReduceMean", "s", "v", {"axes": [1]}), ("Add", "v e", "w"), ("Pow", "w minus", "q"),
         ("Mul", "q g", "i"), ("Mul", "x i", "j"), ("Neg", "m", "o"), ("Mul", "o i", "k"), ("Add", "k b", "l"), ("Add", "j l", "y")],
        {"minus": np.float32(-0.5), "e": np.float32(0.1), "g": reals(4, 1, 1), "b": reals(4, 1, 1)},
    ),
    "layer norm in TensorFlow's pieces": (
        13,
        [("ReduceMean", "x", "m", {"axes": [1]}), ("Sub", "x m", "d"), ("Mul", "d d", "s"), ("ReduceMean", "s", "v", {"axes": [1]}), ("Add", "v e", "w"), ("Pow", "w minus", "q"),
         ("Mul", "q g", "i"), ("Mul", "x i", "j"), ("Mul", "m i", "k"), ("Sub", "b k", "l"), ("Add", "j l", "y")],
        {"minus": np.float32(-0.5), "e": np.float32(0.1), "g": reals(4, 1, 1), "b": reals(4, 1, 1)},
    ),
    "global response norm": (
        13,
        [("ReduceL2", "x", "g", {"axes": [2, 3]}), ("ReduceMean", "g", "m", {"axes": [1]}), ("Add", "m e", "a"), ("Div", "g a", "n"), ("Mul", "x n", "h"), ("Mul", "h w", "i"), ("Add", "i x", "y")],
        {"e": np.float32(0.1), "w": reals(4, 1, 1)},
    ),
    "of length 1": (11, [("LpNormalization", "x", "y", {"axis": 1})], {}),
    "norm of whole maps": (11, [("GlobalLpPool", "x", "y")], {}),
    "divided by a norm": (
        13, [("ReduceL2", "x", "g", {"axes": [1]}), ("Clip", "g e -", "c"), ("Expand", "c s", "d"), ("Div", "x d", "y")], {"e": np.float32(1e-12), "s": np.array([1, 4, 6, 9])},
    ),
    "sum of squares": (13, [("ReduceSumSquare", "x", "y", {"axes": [1, 2], "keepdims": 0})], {}),
    "generalized mean": (13, [("Clip", "x e -", "c"), ("Pow", "c p", "d"), ("GlobalAveragePool", "d", "g"), ("Pow", "g q", "y")], {"e": np.float32(0.1), "p": np.float32(3), "q": np.float32(1 / 3)}),
    "relu": (13, [("Relu", "x", "y")], {}), "leaky relu": (13, [("LeakyRelu", "x", "y", {"alpha": 0.3})], {}),
    "prelu": (13, [("PRelu", "x s", "y")], {"s": reals(4, 1, 1, low=-2, high=2)}),
    "prelu of one": (13, [("PRelu", "x s", "y")], {"s": reals(1)}),
    "clip 6": (6, [("Clip", "x", "y", {"min": -0.5, "max": 0.25})], {}),
    "clip 11": (11, [("Clip", "x - b", "y")], {"b": np.float32(0.25)}),
    "sigmoid": (13, [("Sigmoid", "x", "y")], {}), "hard sigmoid": (13, [("HardSigmoid", "x", "y")], {}),
    "hard swish": (14, [("HardSwish", "x", "y")], {}), "tanh": (13, [("Tanh", "x", "y")], {}),
    "elu": (13, [("Elu", "x", "y", {"alpha": 0.7})], {}), "celu": (13, [("Celu", "x", "y", {"alpha": 0.7})], {}),
    "selu": (13, [("Selu", "x", "y")], {}), "softplus": (13, [("Softplus", "x", "y")], {}),
    "softsign": (13, [("Softsign", "x", "y")], {}), "exp": (13, [("Exp", "x", "y")], {}),
    "gelu": (20, [("Gelu", "x", "y")], {}), "gelu by tanh": (20, [("Gelu", "x", "y", {"approximate": "tanh"})], {}),
    "mish": (18, [("Mish", "x", "y")], {}), "dropout": (13, [("Dropout", "x", "h"), ("Relu", "h", "y")], {}),
    "identity and cast": (13, [("Identity", "x", "h"), ("Cast", "h", "c", {"to": 1}), ("Relu", "c", "y")], {}),
    "weights through nodes": (
        13, [("Identity", "w", "w1"), ("Transpose", "w1", "w2", {"perm": [3, 2, 0, 1]}), ("Cast", "w2", "w3", {"to": 1}), ("Mul", "w3 two", "w4"), ("Conv", "x w4", "y")],
        {"w": reals(3, 2, 4, 5).astype(np.float64), "two": np.float32(2)},
    ),
    "quantized weights": (
        13, [("DequantizeLinear", "w s z", "f", {"axis": 0}), ("Conv", "x f", "y")],
        {"w": np.arange(-60, 60).astype(np.int8).reshape(5, 4, 3, 2), "s": reals(5, low=0.1), "z": np.arange(5).astype(np.int8)},
    ),
    "rounded weights": (13, [("QuantizeLinear", "w s z", "q", {"axis": 0}), ("DequantizeLinear", "q s z", "f", {"axis": 0}), ("Conv", "x f", "y")], {"w": W["w"], "s": reals(5, low=0.01, high=0.02), "z": np.arange(5).astype(np.int8)}),
    "rounded responses": (
        13, [("QuantizeLinear", "x s z", "q"), ("DequantizeLinear", "q s z", "h"), ("Relu", "h", "y")], {"s": np.float32(0.03), "z": np.uint8(100)},
    ),
    "rounded to many bits": (21, [("QuantizeLinear", "x s z", "q"), ("MaxPool", "q", "p", {"kernel_shape": [2, 2]}), ("DequantizeLinear", "p s z", "y")], {"s": np.float32(0.01), "z": np.int8(-20)}),
    "quantized conv": (
        13,
        [("QuantizeLinear", "x s z", "q"), ("QLinearConv", "q s z w t u v n b", "c", {"pads": [1, 0, 2, 1]}), ("DequantizeLinear", "c v n", "y")],
        {"s": np.float32(0.03), "z": np.uint8(120), "w": np.arange(-60, 60).astype(np.int8).reshape(5, 4, 3, 2), "t": reals(5, low=0.01, high=0.03), "u": np.zeros(5, np.int8), "v": np.float32(0.07),
         "n": np.uint8(130), "b": np.array([100, -200, 300, 4000, -5000], np.int32)},
    ),
    "quantized product": (
        13,
        [("Flatten", "x", "f"), ("QuantizeLinear", "f s z", "q"), ("QLinearMatMul", "q s z w t u v z", "c"), ("DequantizeLinear", "c v z", "y")],
        # Weights up to 60: two products of larger ones saturate in 16 bits, where a processor has no instruction for four (VNNI).
        {"s": np.float32(0.03), "z": np.uint8(120), "w": (np.arange(216 * 3) % 121 - 60).astype(np.int8).reshape(216, 3), "t": np.float32(0.01), "u": np.int8(2), "v": np.float32(0.5)},
    ),
    "quantized by onnxruntime": (
        17,
        [("QuantizeLinear", "x s z", "q"), ("QLinearAdd", "q s z q s z s2 z", "a", FUSED), ("QLinearSigmoid", "a s2 z s3 z0", "g", FUSED), ("QLinearMul", "g s3 z0 a s2 z s z", "m", FUSED),
         ("QLinearConcat", "s4 z m s z a s2 z", "k", {**FUSED, "axis": 1}), ("QLinearLeakyRelu", "k s4 z s z", "l", {**FUSED, "alpha": 0.3}), ("QLinearAveragePool", "l s z s z", "p", {**FUSED, "kernel_shape": [2, 2]}),
         ("QLinearGlobalAveragePool", "p s z s z", "v", FUSED), ("Flatten", "v", "f"), ("QGemm", "f s z w t zi b s z", "h", {**FUSED, "transB": 1}), ("DequantizeLinear", "h s z", "y")],
        {"s": np.float32(0.04), "z": np.uint8(120), "s2": np.float32(0.08), "s3": np.float32(1 / 256), "z0": np.uint8(0), "s4": np.float32(0.07), "w": np.arange(-12, 12).astype(np.int8).reshape(3, 8), "t": np.float32(0.02), "zi": np.int8(0),
         "b": np.array([100, -200, 300], np.int32)},
    ),
    "weights made of one number": (
        9, [("ConstantOfShape", "s", "w", {"value": helper.make_tensor("v", 1, [1], [0.02])}), ("Conv", "x w", "y")], {"s": np.array([5, 4, 3, 2])},
    ),
    "fused with relu": (17, [("FusedConv", "x w b", "y", {**FUSED, "activation": "Relu", "pads": [1, 0, 2, 1]})], W),
    "fused with a sum": (
        17, [("FusedConv", "x w b x", "y", {**FUSED, "activation": "LeakyRelu", "activation_params": [0.3], "pads": [1, 1, 1, 1]})], {"w": reals(4, 4, 3, 3), "b": reals(4)},
    ),
    "fused with clip": (17, [("FusedConv", "x w", "y", {**FUSED, "activation": "Clip", "activation_params": [-0.5, 0.25]})], {"w": W["w"]}),
    "fused with hard sigmoid": (17, [("FusedConv", "x w", "y", {**FUSED, "activation": "HardSigmoid", "activation_params": [0.3, 0.4]})], {"w": W["w"]}),
    "fused gemm": (
        17, [("Flatten", "x", "f"), ("FusedGemm", "f w b", "y", {**FUSED, "activation": "LeakyRelu", "activation_alpha": 0.3, "transB": 1, "beta": 2.0})],
        {"w": reals(5, 216), "b": reals(5)},
    ),
    "fused matmul": (17, [("Flatten", "x", "f"), ("FusedMatMul", "f w", "y", {**FUSED, "transB": 1, "alpha": 0.5})], {"w": reals(5, 216)}),
    "fused gelu": (17, [("Transpose", "x", "t", {"perm": [0, 2, 3, 1]}), ("BiasGelu", "t b", "h", FUSED), ("Gelu", "h", "g", FUSED), ("Transpose", "g", "y", {"perm": [0, 3, 1, 2]})], {"b": reals(4)}),
    "fast gelu": (17, [("Transpose", "x", "t", {"perm": [0, 2, 3, 1]}), ("FastGelu", "t b", "h", FUSED), ("QuickGelu", "h", "g", {**FUSED, "alpha": 1.5}), ("Transpose", "g", "y", {"perm": [0, 3, 1, 2]})], {"b": reals(4)}),
    "shapes computed": (
        13,
        [("Shape", "x", "s"), ("Gather", "s i", "n", {"axis": 0}), ("Unsqueeze", "n a", "u"), ("Concat", "u m", "t", {"axis": 0}), ("Reshape", "x t", "f"), ("MatMul", "f w", "y")],
        {"i": np.array(0), "a": np.array([0]), "m": np.array([-1]), "w": reals(216, 3)},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", FORWARD)
def test_forward_equals_onnxruntime(case, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    opset, nodes, constants = FORWARD[case]
    made = model(nodes, constants, opset=opset, ir=4 if opset < 11 else 8 if opset < 18 else 10)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(made.SerializeToString(), options, providers=["CPUExecutionProvider"])
    x = reals(1, 4, 6, 9, seed=9, low=-4, high=4)
    want = session.run(["y"], {"x": x})[0]
    net = loaded(tmp_path, made)
    got = net.forward(x, "y")
    # float32 against float64: so many roundings of the largest number.
    assert got.size == want.size
    assert np.abs(like(got, want.shape) - want).max() <= 300 * EPS * max(1, np.abs(want).max())
    assert not any(isinstance(layer, decoding.Unsupported) for layer in net.layers)


# Decoding, exact: the Jacobian of the network, found by impulses, is what decoding gives, in its place.

CONV = {"w": whole(3, 4, 3, 2)}
LINEAR = {
    "conv": ([("Conv", "x w", "y", {"pads": [1, 0, 2, 1], "strides": [2, 1]})], CONV),
    "conv with uneven pads": ([("Conv", "x w", "y", {"auto_pad": "SAME_LOWER", "strides": [2, 2]})], CONV),
    "flattened": ([("Flatten", "x", "f"), ("Gemm", "f w", "y", {"transB": 1})], {"w": whole(5, 216)}),
    "flattened, channels last": (
        [("Transpose", "x", "t", {"perm": [0, 2, 3, 1]}), ("Flatten", "t", "f"), ("MatMul", "f w", "y")], {"w": whole(216, 5)},
    ),
    "residual": ([("Conv", "x w", "h", {"pads": [1, 1, 1, 1]}), ("Add", "x h", "y")], {"w": whole(4, 4, 3, 3)}),
    "difference": ([("Conv", "x w", "h", {"pads": [1, 1, 1, 1]}), ("Sub", "x h", "y")], {"w": whole(4, 4, 3, 3)}),
    "concat": ([("Conv", "x w", "h", {"pads": [1, 0, 1, 1]}), ("Concat", "x h", "y", {"axis": 1})], CONV),
    "shortcut without weights": (
        [("Slice", "x a b c d", "h"), ("Pad", "h p", "s"), ("Conv", "x w", "g", {"pads": [1, 1, 1, 1], "strides": [2, 2]}), ("Add", "g s", "y")],
        {"a": np.array([0, 0]), "b": np.array([99, 99]), "c": np.array([2, 3]), "d": np.array([2, 2]), "p": np.array([0, 1, 0, 0, 0, 1, 0, 0]), "w": whole(6, 4, 3, 3)},
    ),
    "less the mean of every second channel": (
        [("Reshape", "x r", "g"), ("ReduceMean", "g", "m", {"axes": [1]}), ("Sub", "g m", "d"), ("Reshape", "d o", "h"), ("Conv", "h w", "y")],
        {"r": np.array([1, 2, 2, 6, 9]), "o": np.array([1, 4, 6, 9]), **CONV},
    ),
    "shuffle": (
        [("Conv", "x w", "h", {"group": 2}), ("Reshape", "h s", "a"), ("Transpose", "a", "b", {"perm": [0, 2, 1, 3, 4]}), ("Reshape", "b t", "y")],
        {"w": whole(6, 2, 2, 2), "s": np.array([1, 2, 3, 5, 8]), "t": np.array([1, 6, 5, 8])},
    ),
    "space to depth": ([("SpaceToDepth", "x", "h", {"blocksize": 3}), ("Conv", "h w", "y")], {"w": whole(2, 36, 2, 1)}),
    "halves": ([("Split", "x", "a b", {"axis": 1}), ("Conv", "b w", "h"), ("Slice", "a o p q", "c"), ("Concat", "h c", "y", {"axis": 1})],
               {"w": whole(3, 2, 2, 2), "o": np.array([0, 1]), "p": np.array([5, 9]), "q": np.array([2, 3])}),
    "constants": ([("Mul", "x m", "h"), ("Add", "h a", "g"), ("Conv", "g w", "y")], {**CONV, "m": whole(4, 1, 1) + 5, "a": whole(4, 1, 1)}),
    "transposed conv of stride 1": ([("ConvTranspose", "x w", "y", {"pads": [1, 0, 0, 1], "group": 2})], {"w": whole(4, 3, 3, 2)}),
    "pad and crop": ([("Pad", "x p", "h"), ("Conv", "h w", "y")], {**CONV, "p": np.array([0, 0, 2, -1, 0, 0, 1, -2])}),
}  # fmt: skip


@pytest.mark.parametrize("case", LINEAR)
def test_decoding_is_the_gradient_of_the_linear_network(case, tmp_path):
    nodes, constants = LINEAR[case]
    net = loaded(tmp_path, model(nodes, constants, opset=13))
    check_gradient(net, "y", (4, 6, 9))


def check_gradient(net, layer, shape):
    bank, (size, stride, offset) = decoding.decode_layer(net, layer), net.receptive_field(layer)
    zero = net.forward(np.zeros((1, *shape)), layer)
    impulses = np.eye(math.prod(shape)).reshape(-1, *shape)
    jacobian = (net.forward(impulses, layer) - zero).reshape(*shape, *zero.shape[1:])
    rows, columns = zero.shape[2:]
    checked = 0
    for i in range(rows):
        for j in range(columns):
            top, left = offset[0] + i * stride[0], offset[1] + j * stride[1]
            outside = top < 0 or left < 0 or top + size[0] > shape[1] or left + size[1] > shape[2]
            if outside and rows * columns > 1:
                continue
            seen = jacobian[:, max(top, 0) : top + size[0], max(left, 0) : left + size[1], :, i, j]
            inside = bank[:, :, max(-top, 0) : shape[1] - top, max(-left, 0) : shape[2] - left]
            assert (np.moveaxis(seen, -1, 0) == inside).all()
            checked += 1
    assert checked


def test_enlarged_maps_run_and_what_lies_below_decodes(tmp_path):
    nodes = [
        ("Conv", "x w", "h", {"pads": [1, 1, 1, 1]}), ("Resize", "h - s", "u", {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}),
        ("MaxPool", "u", "m", {"kernel_shape": [2, 2], "strides": [2, 2]}), ("Add", "m h", "y"),
    ]  # fmt: skip
    net = loaded(tmp_path, model(nodes, {"w": whole(4, 4, 3, 3), "s": np.array([1, 1, 2, 2], np.float32)}))
    assert decoding.decode_filter(net, "h", 0).shape == (4, 3, 3)
    assert (net.forward(reals(1, 4, 6, 9), "y") == 2 * net.forward(reals(1, 4, 6, 9), "h")).all()
    for layer in ("u", "m", "y"):
        with pytest.raises(UnsupportedLayerError, match=r"layer 2 'n1' \(Resize\): it makes maps larger: .* phase"):
            decoding.decode_filter(net, layer, 0)
        with pytest.raises(UnsupportedLayerError, match="phase"):
            net.receptive_field(layer)
    assert "Resize" in str(net)


def test_gates_run_and_decode_with_a_gain(tmp_path):
    opset, nodes, constants = FORWARD["gate"]
    net = loaded(tmp_path, model(nodes, constants, opset=opset))
    with pytest.raises(UnsupportedLayerError, match="gain"):
        decoding.decode_filter(net, "y", 0)
    assert isinstance(net["y"], decoding.Gate)
    other = net.replace(layers=[layer.replace(gain=0.5) if layer is net["y"] else layer for layer in net.layers])
    assert decoding.decode_filter(other, "y", 0).ravel().tolist() == [0.5, 0, 0, 0]


@pytest.mark.parametrize(
    ("case", "kind"),
    {"silu in pieces": "SiLU", "hard swish in pieces": "HardSwish", "gelu in pieces": "GELU", "gelu by tanh in pieces": "GELU",
     "mish in pieces": "Mish", "hard sigmoid in pieces": "HardSigmoid", "softplus in pieces": "Softplus", "layer norm in pieces": "LayerNorm",
     "layer norm in pieces, channels last": "LayerNorm", "layer norm in TensorFlow's pieces": "LayerNorm", "layer norm in tf2onnx's pieces": "LayerNorm", "layer norm by moments": "LayerNorm", "group norm in Flax's pieces": "GroupNorm",
     "gelu with turns": "GELU", "instance norm in pieces": "GroupNorm", "group norm of all in pieces, channels last": "GroupNorm"}.items(),
)  # fmt: skip
def test_activations_and_norms_in_pieces_are_one_layer(case, kind, tmp_path):
    opset, nodes, constants = FORWARD[case]
    net = loaded(tmp_path, model(nodes, constants, opset=opset))
    assert [layer.kind for layer in net.layers] == [kind]
    if kind == "GroupNorm":
        assert net.layers[0].groups == (1 if "all" in case else 2 if "Flax" in case else 4)
    if kind == "GELU":
        assert net.layers[0].approximate == ("tanh" if "tanh" in case else "none")


def test_what_is_not_known_blocks_only_what_reads_it(tmp_path):
    nodes = [
        ("Conv", "x w", "a"),
        ("Relu", "a", "f"),
        ("Conv", "x w", "g"),
        ("Mul", "g f", "b"),
        ("Relu", "b", "c"),
        ("TopK", "a k", "d e"),
        ("Relu", "a", "y"),
    ]
    made = model(nodes, {"w": whole(3, 4, 1, 1), "k": np.array([1])}, outputs=("y", "c", "d"))
    made.graph.node.append(helper.make_node("Frobnicate", ["y"], ["z"], name="strange", domain="com.example"))
    made.opset_import.append(helper.make_opsetid("com.example", 1))
    made.graph.output.append(helper.make_tensor_value_info("z", 1, None))
    net = loaded(tmp_path, made)
    kinds = {name: layer.kind for name, layer in zip(net.names, net.layers, strict=True)}
    assert kinds == {
        "n0": "Conv",
        "n1": "ReLU",
        "n2": "Conv",
        "n3": "Mul",
        "n4": "Relu",
        "n5": "TopK",
        "n6": "ReLU",
        "strange": "Frobnicate",
    }
    assert decoding.decode_layer(net, "y").shape == (3, 4, 1, 1)
    for layer, why in {
        "b": "multiplies two computed maps",
        "d": "picks the largest",
        "z": "com.example",
        "c": "'n3' \\(Mul\\)",
    }.items():
        with pytest.raises(UnsupportedLayerError, match=why):
            decoding.decode_filter(net, layer, 0)


# Inputs, names, options


def test_sizes_that_the_file_leaves_open_are_asked_for(tmp_path):
    nodes, constants = [("Conv", "x w", "y")], {"w": whole(3, 4, 1, 1)}
    for shape in [("n", 4, "h", "w"), (0, 4, 0, 0), (-1, 4, -1, 9), (None, 4, None, None)]:
        made = model(nodes, constants, image=("x", shape))
        with pytest.raises(WeightsFormatError, match=r"Give input_shape=\(C, H, W\)"):
            loaded(tmp_path, made)
        assert loaded(tmp_path, made, input_shape=(4, 5, 7)).input_shape == (4, 5, 7)
    with pytest.raises(InvalidValueError, match="3 channels, and the file's images have 4"):
        loaded(tmp_path, made, input_shape=(3, 5, 7))
    for wrong in [(4, 5), (4, 5, 0), "abc", 7, (4, 5, 7.5)]:
        with pytest.raises(DecodingError, match="input_shape must be"):
            loaded(tmp_path, made, input_shape=wrong)
    bare = model(nodes, constants)
    bare.graph.input[0].type.tensor_type.ClearField("shape")
    assert loaded(tmp_path, bare, input_shape=(4, 5, 7)).input_shape == (4, 5, 7)


def test_arguments_of_opsets_before_7(tmp_path):
    """What onnxruntime no longer runs."""
    nodes = [("Add", "x b", "a", {"axis": 1, "broadcast": 1}), ("Upsample", "a", "u", {"height_scale": 2.0, "width_scale": 3.0}), ("Pad", "u", "p", {"paddings": [0, 0, 1, 0, 0, 0, 0, 2]}), ("Concat", "p p", "y")]  # fmt: skip
    net = loaded(tmp_path, model(nodes, {"b": whole(4)}, opset=1, ir=3))
    x = whole(1, 4, 6, 9) + whole(4)[:, np.newaxis, np.newaxis]
    want = np.pad(x.repeat(2, axis=2).repeat(3, axis=3), ((0, 0), (0, 0), (1, 0), (0, 2)))
    assert (net.forward(whole(1, 4, 6, 9)) == np.concatenate([want, want], axis=1)).all()


def test_another_size_than_the_files_own_is_told_where_it_does_not_fit(tmp_path):
    made = model([("Reshape", "x s", "f"), ("MatMul", "f w", "y")], {"s": np.array([1, 216]), "w": whole(216, 2)})
    with pytest.raises(WeightsFormatError, match="The file's own images are 4×6×9: without"):
        loaded(tmp_path, made, input_shape=(4, 8, 9))


def test_channels_last_are_turned(tmp_path):
    nodes = [
        ("Transpose", "x", "t", {"perm": [0, 3, 1, 2]}),
        ("Conv", "t w", "h"),
        ("Transpose", "h", "y", {"perm": [0, 2, 3, 1]}),
    ]
    net = loaded(tmp_path, model(nodes, {"w": whole(3, 4, 3, 2)}, image=("x", (1, 6, 9, 4))))
    assert net.input_shape == (4, 6, 9)
    assert net.shapes((4, 6, 9))[-1] == (3, 4, 8)
    assert "channels of its images last" in str(net)
    check_gradient(net, "y", (4, 6, 9))


def test_weights_listed_as_inputs_in_nodes_and_in_half_precision(tmp_path):
    w = whole(3, 4, 3, 2)
    plain = loaded(tmp_path, model([("Conv", "x w", "y")], {"w": w}))
    listed = model([("Conv", "x w", "y")], {"w": w}, ir=3, opset=8)
    listed.graph.input.insert(0, helper.make_tensor_value_info("w", 1, w.shape))
    inline = model([("Constant", "", "w", {"value": numpy_helper.from_array(w)}), ("Conv", "x w", "y")])
    half = model([("Conv", "x w", "y")], {"w": w.astype(np.float16)}, dtype=TensorProto.FLOAT16)
    for made in (listed, inline, half):
        net = loaded(tmp_path, made)
        assert (net.layers[-1].filters == plain.layers[0].filters).all()
        assert net.dtype == np.float32
    assert loaded(tmp_path, half, dtype=np.float64).dtype == np.float64


def test_the_image_among_several_inputs(tmp_path):
    other = helper.make_tensor_value_info("z", 1, (1, 4, 6, 9))
    made = model(
        [("Conv", "x w", "a"), ("Add", "a z", "b"), ("Relu", "a", "y")],
        {"w": whole(4, 4, 1, 1)},
        inputs=[other],
        outputs=("y", "b"),
    )
    with pytest.raises(WeightsFormatError, match=r"its inputs are 'x', 'z'\. Give image="):
        loaded(tmp_path, made)
    with pytest.raises(InvalidValueError, match="no input 'q'"):
        loaded(tmp_path, made, image="q")
    net = loaded(tmp_path, made, image="x")
    assert decoding.decode_layer(net, "y").shape == (4, 4, 1, 1)
    with pytest.raises(UnsupportedLayerError, match="an input besides the image"):
        net.forward(np.zeros((1, 4, 6, 9)), "b")
    assert "The input 'z' is not the image" in str(net)


def scoped(node, *scopes):
    node.metadata_props.add(key="pkg.torch.onnx.name_scopes", value=str(["", *scopes]))


def test_names_are_those_of_feature_extractors(tmp_path):
    weights = {"layer1.0.conv1.weight": whole(4, 4, 1, 1), "onnx::Conv_7": whole(4, 4, 1, 1)}
    nodes = [
        ("Conv", "x layer1.0.conv1.weight", "a"), ("Relu", "a", "b"), ("Conv", "b onnx::Conv_7", "c"), ("Add", "c x", "d"), ("Relu", "d", "e"),
        ("Sigmoid", "e", "f"), ("Tanh", "f", "y"),
    ]  # fmt: skip
    new = model(nodes, weights)
    scoped(new.graph.node[0], "layer1", "layer1.0", "layer1.0.bn1", "_native_batch_norm_legit_no_training")
    scoped(new.graph.node[1], "layer1", "layer1.0", "layer1.0.relu", "relu_1")
    scoped(new.graph.node[2], "layer1", "layer1.0", "layer1.0.downsample", "layer1.0.downsample.0", "conv2d_3")
    scoped(new.graph.node[3], "layer1", "layer1.0", "add_5")
    scoped(new.graph.node[4], "layer1", "layer1.0", "layer1.0.relu", "relu_2")
    scoped(new.graph.node[5], "sigmoid_3")
    net = loaded(tmp_path, new)
    want = (
        "layer1.0.conv1",
        "layer1.0.relu",
        "layer1.0.downsample.0",
        "layer1.0.add",
        "layer1.0.relu_1",
        "sigmoid",
        "n6",
    )
    assert net.names == want
    assert net.index("layer1.0.bn1") == 1  # folded into the convolution
    assert net.index("layer1.0") == net.index("layer1") == 5  # the last layer within
    assert net.index("y") == net.index(7) == 7
    assert net.trim("layer1.0.bn1").names == ("layer1.0.conv1",)
    assert net.trim("y").index("layer1.0.bn1") == 1

    old = model(nodes, weights)
    paths = ["/layer1/layer1.0/conv1/Conv", "/layer1/layer1.0/relu/Relu", "/layer1/layer1.0/downsample/downsample.0/Conv",
             "/layer1/layer1.0/Add", "/layer1/layer1.0/relu_1/Relu", "/Sigmoid", "n6"]  # fmt: skip
    for node, path in zip(old.graph.node, paths, strict=True):
        node.name = path
    assert loaded(tmp_path, old).names == want


def test_what_onnxruntime_fused_keeps_the_name_of_its_weights(tmp_path):
    fused = {**FUSED, "activation": "Relu"}
    nodes = [("FusedConv", "x ConvBnFusion_W_layer1.0.conv1.weight", "a", fused), ("FusedConv", "a w", "y", fused)]
    net = loaded(tmp_path, model(nodes, {nodes[0][1].split()[1]: whole(3, 4, 1, 1), "w": whole(2, 3, 1, 1)}))
    assert net.names == ("layer1.0.conv1", "layer1.0.conv1.relu", "n1", "n1.relu")
    assert [net.index(name) for name in ("a", "y")] == [2, 4]


def test_what_onnxruntime_wrote_for_one_processor_says_so(tmp_path):
    made = model([("Conv", "x w", "y", {"domain": "com.microsoft.nchwc"})], {"w": whole(8, 4, 1, 1)})
    net = loaded(tmp_path, made)
    assert net.blocked(1) == 1
    assert "ORT_ENABLE_EXTENDED" in str(net)
    with pytest.raises(UnsupportedLayerError, match="Give the file that it was made from"):
        decoding.decode_filter(net, 1, 0)


def test_integers_are_read_by_the_scale_that_they_were_rounded_with(tmp_path):
    nodes = [
        ("Conv", "x w", "c"),
        ("QuantizeLinear", "c s z", "q"),
        ("DequantizeLinear", "q t z", "y"),
        ("Relu", "q", "i"),
    ]
    constants = {"w": whole(3, 4, 1, 1), "s": np.float32(0.5), "t": np.float32(0.25), "z": np.uint8(3)}
    net = loaded(tmp_path, model(nodes, constants))
    assert net["q"] == decoding.Quantize(0.5, zero=3, name="n1")
    assert (decoding.decode_layer(net, "q") == decoding.decode_layer(net, "c")).all()
    with pytest.raises(UnsupportedLayerError, match="by another scale than they were rounded with"):
        decoding.decode_filter(net, "y", 0)


def test_long_and_strange_names_are_shown_cut_and_escaped(tmp_path):
    made = model([("Conv", "x w", "y")], {"w": whole(3, 4, 1, 1)})
    made.graph.node[0].name = "a\x1b[2J" + "n" * 100_000
    net = loaded(tmp_path, made)
    assert str(net).replace("\n", "").isprintable()
    assert len(str(net)) < 1000


def test_mean_and_deviation_are_arguments(tmp_path):
    made = model([("Conv", "x w", "y")], {"w": whole(3, 4, 1, 1)})
    net = loaded(tmp_path, made, mean=[1, 2, 3, 4], std=[1, 2, 4, 8], classes=["a", "b", "c"])
    assert net.classes == ("a", "b", "c")
    assert (net.normalize(np.full((1, 4, 6, 9), 9.0))[0, :, 0, 0] == [8, 3.5, 1.5, 0.625]).all()
    net = loaded(tmp_path, made, mean=5, std=np.float32(0.5))
    assert (net.mean.ravel() == [5, 5, 5, 5]).all()
    assert (net.std.ravel() == [0.5, 0.5, 0.5, 0.5]).all()
    for wrong in ({"mean": [1, 2, 3]}, {"std": [[1, 2, 3, 4]]}):
        with pytest.raises(decoding.ShapeError, match=f"Network: {next(iter(wrong))} "):
            loaded(tmp_path, made, **wrong)
    with pytest.raises(InvalidValueError, match="std must be positive"):
        loaded(tmp_path, made, std=0)


def test_it_says_what_is_missing(tmp_path, monkeypatch):
    path = save(model([("Relu", "x", "y")]), tmp_path / "net.onnx")
    for dtype in (int, "nonsense"):
        with pytest.raises(decoding.InvalidValueError, match="dtype must be"):
            load_onnx(path, dtype=dtype)
    with pytest.raises(FileNotFoundError):
        load_onnx(tmp_path / "nothing.onnx")
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(decoding.InvalidValueError, match=r'pip install "filter-decoding\[onnx\]"'):
        load_onnx(path)


def test_progress_is_told(tmp_path):
    seen = []
    loaded(tmp_path, model([("Relu", "x", "h"), ("Tanh", "h", "y")]), progress=lambda *done: seen.append(done))
    assert seen == [(1, 2), (2, 2)]


# Real networks

REAL = [
    "deeplab-mobilenetv2", "fashion-strided", "fastestdet", "keras-resnet8-cifar10", "mnist-cntk", "ppocr-cls",
    "resnet20-cifar10", "resnet20-cifar10-legacy", "resnet20-cifar10-unfolded", "squeezenet-fp16", "super-resolution",
    "ultraface-rfb320", "yunet-n-320",
]  # fmt: skip
LIGHT = [
    "bvlc_alexnet",
    "densenet121",
    "inception_v1",
    "inception_v2",
    "resnet50",
    "shufflenet",
    "squeezenet",
    "vgg19",
    "zfnet512",
]
SHAPES = {"ppocr-cls": (3, 48, 192)}


@pytest.fixture(scope="module")
def nets(real_data):
    folder = real_data / "nets-onnx"
    if not folder.exists():
        pytest.skip("there are no ONNX networks")
    return folder


SIDES = ((10, 16, 24), (32, 48), (64, 96), (128, 192, 256))  # of the faces that its four maps look for, in pixels


def boxes(net, x):
    """What the end of ultraface's graph, which is not read, makes of its eight heads: scores, and corners of boxes."""
    scores, corners = [], []
    for i, sides in enumerate(SIDES):
        heads = [f"{kind}_headers.{i}" + (".2" if i < 3 else "") for kind in ("classification", "regression")]
        score, where = (net.forward(x, head, backend=decoding.fast).transpose(0, 2, 3, 1) for head in heads)
        scores.append(score.reshape(1, -1, 2))
        rows, columns = where.shape[1:3]
        where = where.reshape(1, rows, columns, len(sides), 4)
        grid = np.stack(np.meshgrid((np.arange(columns) + 0.5) / columns, (np.arange(rows) + 0.5) / rows), -1)
        size = np.minimum(np.array(sides)[:, np.newaxis] / [x.shape[3], x.shape[2]], 1)
        centre = where[..., :2] * 0.1 * size + grid[:, :, np.newaxis]
        half = np.exp(where[..., 2:] * 0.2) * size / 2
        corners.append(np.concatenate([centre - half, centre + half], -1).reshape(1, -1, 4))
    scores = np.exp(np.concatenate(scores, axis=1))
    return {"scores": scores / scores.sum(-1, keepdims=True), "boxes": np.concatenate(corners, axis=1)}


def like(y, shape):
    """Maps in the order of axes of an output of so many numbers, (1, places, channels), where it has that."""
    return y.transpose(0, 2, 3, 1).reshape(shape) if len(shape) == 3 else y.reshape(shape)


@pytest.mark.parametrize("name", REAL)
def test_real_networks_answer_as_onnxruntime_did(name, nets):
    """A bound for float32 against float32: as many roundings as layers, times ten, of the largest response (or 1)."""
    witness = json.loads((nets / "witness.json").read_text())[f"{name}.onnx"]
    net = load_onnx(nets / f"{name}.onnx", input_shape=SHAPES.get(name))
    x = np.random.default_rng(0).standard_normal(witness["shape"]).astype(witness["dtype"]).astype(np.float32)
    x = x if net.input_shape == x.shape[1:] else x.transpose(0, 3, 1, 2)
    ends = boxes(net, x) if name.startswith("ultraface") else {}
    for output, want in witness["outputs"].items():
        got = ends[output] if output in ends else like(net.forward(x, output, backend=decoding.fast), want["shape"])
        assert list(got.shape) == want["shape"]
        half = np.finfo(np.float16).eps / 2 if witness["dtype"] == "float16" else 0  # the witness computed in it
        bound = (10 * EPS + half) * len(net) * max(1, np.abs(got).max())
        assert np.abs(got.ravel()[:4] - want["first"][: got.size]).max() <= bound
        assert abs(got.mean(dtype=float) - want["mean"]) <= bound
        assert abs(np.abs(got).mean(dtype=float) - want["abs_mean"]) <= bound


@pytest.mark.parametrize("name", LIGHT)
def test_architectures_with_constant_weights_load(name, nets):
    net = load_onnx(nets / f"light_{name}.onnx")
    assert all(net.blocked(number) is None for number in range(len(net) + 1))
    if name in ("squeezenet", "densenet121"):
        y = net.forward(np.random.default_rng(0).standard_normal((1, *net.input_shape)), backend=decoding.fast)
        assert np.ptp(y) <= 1e-4 * y.max()
        assert abs(y.mean() - (0.001 if name == "squeezenet" else 0.461)) < 0.001


@pytest.mark.parametrize("name", REAL)
def test_every_convolution_decodes_or_says_why_not(name, nets):
    net = load_onnx(nets / f"{name}.onnx", input_shape=SHAPES.get(name))
    decoded, why = 0, []
    for number, layer in enumerate(net.layers, 1):
        if isinstance(layer, decoding.Conv):
            try:
                size = net.receptive_field(number).size
                net.check_weights(number)
            except UnsupportedLayerError as error:
                why.append(str(error))
                continue
            if max(size) <= 40:
                assert decoding.decode_filter(net, number, 0, backend=decoding.fast).shape == (net.channels(0), *size)
            decoded += 1
    assert decoded > 1
    assert all("phase" in each or "gain" in each for each in why)


def test_the_forms_of_a_resnet_decode_equal(nets):
    nets = [load_onnx(nets / f"resnet20-cifar10{form}.onnx") for form in ("", "-legacy", "-unfolded")]
    for layer in ("layer1.0.conv2", "layer2.0.conv1", "layer3.0.add"):
        banks = [
            decoding.decode_layer(
                net, layer.replace("conv", "bn") if net is nets[2] else layer, units=range(8), backend=decoding.fast
            )
            for net in nets
        ]
        most = max(np.abs(bank).max() for bank in banks)
        for bank in banks[1:]:
            assert np.abs(bank - banks[0]).max() <= 200 * EPS * most


# Files that are no ONNX, damaged or hostile


def refused(path, match, **options):
    with pytest.raises(WeightsFormatError, match=match) as caught:
        load_onnx(path, **options)
    assert str(caught.value).isprintable()


def test_other_files_are_no_onnx(tmp_path):
    for content in [b"", b"\0", b"text, not a network\n" * 9, b"\x89PNG\r\n\x1a\n" + bytes(99), b"\x89HDF\r\n\x1a\n" + bytes(99), b"PK\3\4" + bytes(99), b"{}", bytes(9999), os.urandom(999)]:  # fmt: skip
        path = tmp_path / "net.onnx"
        path.write_bytes(content)
        refused(path, "this is no ONNX file|holds no graph|fields")


def test_empty_nodes_are_counted_before_they_are_parsed(tmp_path):
    nodes = b"\x0a\x00" * (20 * 2**20)  # 40 MB, of which protobuf makes 3 GB
    head = b"\x3a"
    length, size = b"", len(nodes)
    while True:
        length += bytes([size & 127 | (128 if size > 127 else 0)])
        size >>= 7
        if not size:
            break
    path = tmp_path / "net.onnx"
    path.write_bytes(head + length + nodes)
    refused(path, "nodes|fields")


@pytest.mark.parametrize(
    "nodes",
    [
        [("ConstantOfShape", "s", "w"), ("Conv", "x w", "y")],
        [
            ("ConstantOfShape", "s", "w"),
            ("Add", "w one", "v"),
            ("Reshape", "v flat", "u"),
            ("Gather", "u i", "g"),
            ("Add", "x g", "y"),
        ],
        [("Expand", "one s", "w"), ("Conv", "x w", "y")],
        [("Tile", "ones t", "w"), ("Add", "x w", "y")],
        [("Range", "i big j", "w"), ("Add", "x w", "y")],
        [("ConstantOfShape", "s", "w"), ("Concat", "w w", "v", {"axis": 0}), ("Conv", "x v", "y")],
        [("Pad", "x p", "y")],
        [("Resize", "x - - q", "y")],
        [("Expand", "x q", "y")],
    ],
)
def test_constants_that_ask_for_32_gib(nodes, tmp_path):
    constants = {
        "s": np.array([2**17, 4, 2**7, 2**7]), "one": np.float32(1), "ones": np.ones((1, 4, 1, 1), np.float32), "t": np.array([1, 1, 2**16, 2**16]),
        "i": np.array(0), "j": np.array(1), "big": np.array(2**40), "flat": np.array([-1]), "p": np.array([0, 0, 2**20, 0, 0, 0, 2**20, 0]),
        "q": np.array([1, 4, 2**17, 2**17]),
    }  # fmt: skip
    used = {name for _, below, *_ in nodes for name in below.split()}
    path = save(model(nodes, {k: v for k, v in constants.items() if k in used}), tmp_path / "net.onnx")
    before = peak()
    try:
        net = load_onnx(path)
    except DecodingError:
        pass
    else:
        assert any(isinstance(layer, decoding.Unsupported) for layer in net.layers)
    assert peak() - before < 2**28


def peak():
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def test_functions_are_not_followed(tmp_path):
    made = model([("F0", "x", "y")])
    made.graph.node[0].domain = "f"
    made.opset_import.append(helper.make_opsetid("f", 1))
    for n in range(24):
        twice = [
            helper.make_node(f"F{n + 1}", ["a"], ["b"], domain="f"),
            helper.make_node(f"F{n + 1}", ["b"], ["c"], domain="f"),
        ]
        made.functions.append(
            helper.make_function(
                "f", f"F{n}", ["a"], ["c"], twice, [helper.make_opsetid("", 17), helper.make_opsetid("f", 1)]
            )
        )
    net = loaded(tmp_path, made)
    assert [layer.kind for layer in net.layers] == ["F0"]


def test_many_tensors_that_name_the_same_bytes(tmp_path):
    (tmp_path / "data").write_bytes(bytes(2**20))
    nodes = [("Conv", "x" if not n else f"h{n}", f"h{n + 1}") for n in range(1500)]
    made = model([], outputs=("h1500",))
    for n, (kind, below, above) in enumerate(nodes):
        made.graph.node.append(helper.make_node(kind, [below, f"w{n}"], [above]))
        tensor = made.graph.initializer.add(name=f"w{n}", data_type=1, dims=[4, 4, 128, 128], data_location=1)
        tensor.external_data.add(key="location", value="data")
        tensor.external_data.add(key="length", value=str(2**20))
    refused(save(made, tmp_path / "net.onnx"), "16 times what is on disk|does not fit")


def external(**entries):
    made = model([("Conv", "x w", "y")])
    tensor = made.graph.initializer.add(name="w", data_type=1, dims=[3, 4, 1, 1], data_location=1)
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=value)
    return made


def test_a_second_file_is_read_where_it_is_one(tmp_path):
    w = whole(3, 4, 1, 1)
    (tmp_path / "net.data").write_bytes(bytes(8) + w.tobytes())
    net = loaded(tmp_path, external(location="net.data", offset="8", length="48"))
    assert (net.layers[0].filters == w).all()
    (tmp_path / "net.data").write_bytes(w.tobytes())
    assert (loaded(tmp_path, external(location="net.data")).layers[0].filters == w).all()


def test_a_second_file_is_nothing_else(tmp_path):
    inner = tmp_path / "inner"
    inner.mkdir()
    for name in ("outside", "inner/regular"):
        (tmp_path / name).write_bytes(bytes(48))
    os.symlink(tmp_path / "outside", inner / "link")
    os.symlink(tmp_path, inner / "folder")
    os.link(tmp_path / "outside", inner / "hard")
    os.mkfifo(inner / "pipe")
    path = inner / "net.onnx"
    wrong = {
        "../outside": "only files beside", str(tmp_path / "outside"): "only files beside", "link": "links are not followed",
        "folder/outside": "links are not followed", "hard": "hard link", "pipe": "not a regular file", ".": "not a regular file", "": "only files beside",
        "nul\0": "only files beside", "missing": "not beside this one", "/dev/zero": "only files beside",
    }  # fmt: skip
    for location, match in wrong.items():
        save(external(location=location, length="48"), path)
        refused(path, match)
    for entries in [
        {"length": "44"},
        {"length": "-1"},
        {"length": "x"},
        {"offset": "-4", "length": "48"},
        {"offset": "1", "length": "48"},
        {"length": str(2**62)},
    ]:
        save(external(location="regular", **entries), path)
        refused(path, "takes 48 bytes|asks for bytes")
    with open(inner / "sparse", "wb") as file:
        file.truncate(2**40)
    save(external(location="sparse"), path)
    refused(path, "takes 48 bytes")


@pytest.mark.parametrize(
    "change",
    [
        {"dims": [-1, 3]}, {"dims": [0, 2**60]}, {"dims": [3, 4, 2, 1]}, {"dims": [2**31, 2**31, 2**31, 2**31]}, {"data_type": 999}, {"data_type": 8},
        {"data_type": 22}, {"data_type": 0}, {"raw_data": b"1"},
    ],
)  # fmt: skip
def test_tensors_that_are_not_what_they_say(change, tmp_path):
    made = model([("Conv", "x w", "y")], {"w": whole(3, 4, 1, 1)})
    tensor = made.graph.initializer[0]
    for key, value in change.items():
        if key == "dims":
            del tensor.dims[:]
            tensor.dims.extend(value)
        else:
            setattr(tensor, key, value)
    path = save(made, tmp_path / "net.onnx")
    try:
        net = load_onnx(path)
    except WeightsFormatError as error:
        assert str(error).isprintable()  # noqa: PT017
    else:
        assert net.blocked(1) == 1


def test_sparse_weights_are_not_made_dense(tmp_path):
    made = model([("Conv", "x w", "y")])
    values = numpy_helper.from_array(np.ones(1, np.float32), "w")
    made.graph.sparse_initializer.append(
        helper.make_sparse_tensor(values, numpy_helper.from_array(np.array([0])), [2**40])
    )
    assert loaded(tmp_path, made).layers[0].kind == "Conv"
    assert loaded(tmp_path, made).blocked(1) == 1


@pytest.mark.parametrize(
    ("nodes", "match"),
    [
        ([("Add", "x b", "a"), ("Relu", "a", "b"), ("Relu", "b", "y")], "cycle"),
        ([("Add", "x y", "y")], "cycle"),
        ([("Add", "x nowhere", "y")], "no node of the graph makes it"),
        ([("Relu", "x", "y"), ("Tanh", "x", "y")], "has made already"),
        ([("Relu", "x", "x")], "has made already"),
    ],
)
def test_graphs_that_are_none(nodes, match, tmp_path):
    refused(save(model(nodes), tmp_path / "net.onnx"), match)


@pytest.mark.parametrize(
    "attributes",
    [
        {"group": 0}, {"group": -1}, {"group": 2**40}, {"strides": [0, 1]}, {"strides": [-1, -1]}, {"dilations": [2**62, 1]}, {"kernel_shape": [3, 3]},
        {"pads": [2**40, 0, 0, 0]}, {"pads": [0, 0]}, {"strides": [1.5, 2.0]}, {"auto_pad": "SOMEHOW"}, {"pads": [0, 0, -9, -9]},
    ],
)  # fmt: skip
def test_convolutions_that_are_none(attributes, tmp_path):
    refused(save(model([("Conv", "x w", "y", attributes)], {"w": whole(4, 4, 1, 1)}), tmp_path / "net.onnx"), "Conv")


def test_weights_that_do_not_fit(tmp_path):
    refused(
        save(model([("Conv", "x w", "y")], {"w": whole(3, 5, 1, 1)}), tmp_path / "net.onnx"),
        "want 5 channels, and get 4",
    )
    refused(
        save(model([("Flatten", "x", "f"), ("Gemm", "f w", "y")], {"w": whole(7, 2)}), tmp_path / "net.onnx"),
        "do not fit",
    )


def test_nodes_may_be_out_of_order(tmp_path):
    """As onnxruntime's conversion to half precision leaves them."""
    nodes = [("Conv", "c w", "a"), ("Relu", "b", "y"), ("Tanh", "a", "b"), ("Cast", "x", "c", {"to": 1})]
    net = loaded(tmp_path, model(nodes, {"w": whole(3, 4, 1, 1)}))
    assert [layer.kind for layer in net.layers] == ["Conv", "Tanh", "ReLU"]
    assert net.names == ("n0", "n2", "n1")


def test_nested_graphs_are_not_entered(tmp_path):
    inner = graph([("Relu", "x", "y")])
    for _ in range(20):
        inner = helper.make_graph(
            [helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=inner)], "g", [], inner.output
        )
        if len(inner.SerializeToString()) > 2**20:
            break
    made = model(
        [("Conv", "x w", "a"), ("If", "c", "y", {"then_branch": inner, "else_branch": inner})],
        {"w": whole(3, 4, 1, 1), "c": np.array(True)},
        outputs=("a", "y"),
    )
    try:
        net = loaded(tmp_path, made)
    except WeightsFormatError:
        return
    assert net["a"].kind == "Conv"
    deep = b""
    for _ in range(5000):
        deep = b"\x0a" + varint(len(deep)) + deep
    path = tmp_path / "deep.onnx"
    path.write_bytes(b"\x3a" + varint(len(deep)) + deep)
    refused(path, "no ONNX file|no inputs|damaged")


def varint(n):
    out = b""
    while n > 127:
        out, n = out + bytes([n & 127 | 128]), n >> 7
    return out + bytes([n])


def test_doubling_64_times_is_one_sum_each(tmp_path):
    nodes = [("Add", f"{'x' if not n else f'h{n}'} {'x' if not n else f'h{n}'}", f"h{n + 1}") for n in range(64)]
    net = loaded(tmp_path, model(nodes, outputs=("h64",)))
    assert decoding.decode_filter(net, "h64", 0)[0, 0, 0] == 2.0**64


def test_nothing_is_written_and_the_file_is_closed(tmp_path):
    made = model([("Relu", "x", "y")])
    before = sorted(os.listdir(tmp_path))
    path = save(made, tmp_path / "net.onnx")
    assert isinstance(load_onnx(path), Network)
    os.remove(path)
    assert sorted(os.listdir(tmp_path)) == before


# Damage


def test_no_damaged_file_escapes():
    fuzz_onnx = pytest.importorskip("fuzz_onnx")
    outcomes, escapes = fuzz_onnx.run(150, seed=7)
    assert escapes == []
    assert sum(outcomes.values()) == 150
    assert outcomes["read"] > 10
    assert outcomes["WeightsFormatError"] > 30
