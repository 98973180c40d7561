"""Damage small ONNX files in many ways; reading each must give a result or a `DecodingError`.

    python tests/fuzz_onnx.py --mutations 20000 [--files FOLDER]

Six small real networks are cut down to a few thousand numbers, or, without the folder that has them, six made here with the same
operators. Mutations know the structure: fields of the messages are changed, dropped, doubled and swapped between files; some
are of bytes. The reader works in child processes with limited memory and time, as in `fuzz_files`.
"""

import os
import random
import sys
import tempfile
from pathlib import Path

import numpy as np

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

import fuzz_files
import onnx
from onnx_files import helper, model, numpy_helper, reals

import decoding

REAL = (
    "mnist-cntk",
    "fashion-strided",
    "super-resolution",
    "yunet-n-320",
    "resnet20-cifar10",
    "resnet20-cifar10-legacy",
)
EVIL = fuzz_files.NUMBERS
TEXTS = (
    "",
    "x",
    "y",
    "\x00\x1b[2J",
    "n" * 3000,
    "Conv",
    "Relu",
    "Reshape",
    "ConstantOfShape",
    "Loop",
    "../x",
    "SAME_UPPER",
    "linear",
    "é",
)
SHAPE = (3, 16, 16)


def networks():
    """Models made here: a chain, a residual block, channels last, a pyramid, gates, and one whose shapes are computed."""
    chain = [
        ("Conv", "x w1 b1", "c1", {"pads": [1, 1, 1, 1], "strides": [2, 2]}), ("BatchNormalization", "c1 s b1 m v", "n1"), ("Relu", "n1", "r1"),
        ("MaxPool", "r1", "p1", {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1}), ("LRN", "p1", "l1", {"size": 3}),
        ("Flatten", "l1", "f1"), ("Gemm", "f1 w2 b2", "g1", {"transB": 1}), ("Softmax", "g1", "y", {"axis": 1}),
    ]  # fmt: skip
    residual = [
        ("Conv", "x w1", "a", {"pads": [1, 1, 1, 1]}), ("Clip", "a zero six", "b"), ("Conv", "b w3", "c", {"group": 2, "pads": [1, 1, 1, 1]}),
        ("Slice", "b i0 i9 ax st", "d"), ("AveragePool", "c", "e", {"kernel_shape": [2, 2], "strides": [2, 2]}), ("Pad", "d pp", "g"), ("Add", "e g", "h"),
        ("Concat", "h d", "k", {"axis": 1}), ("Split", "k sp", "o q", {"axis": 1}), ("GlobalAveragePool", "o", "y"),
    ]  # fmt: skip
    last = [
        ("Transpose", "x", "t", {"perm": [0, 2, 3, 1]}), ("Mul", "t mm", "u"), ("Transpose", "u", "z", {"perm": [0, 3, 1, 2]}), ("Conv", "z w1 b1", "a"),
        ("Transpose", "a", "b", {"perm": [0, 2, 3, 1]}), ("MatMul", "b w4", "c"), ("LayerNormalization", "c ls lb", "d"), ("Erf", "d", "e"), ("Mul", "d e", "y"),
    ]  # fmt: skip
    pyramid = [
        ("Conv", "x w1", "a", {"auto_pad": "SAME_UPPER", "strides": [2, 2]}), ("Resize", "a - sc", "b", {"mode": "nearest"}), ("ConvTranspose", "a w5", "c", {"strides": [2, 2]}),
        ("DepthToSpace", "a", "d", {"blocksize": 2}), ("Sigmoid", "b", "e"), ("Mul", "b e", "f"), ("Reshape", "f sh", "g"), ("Transpose", "g", "h", {"perm": [0, 2, 1, 3, 4]}), ("Reshape", "h s2", "y"),
    ]  # fmt: skip
    gates = [
        ("Conv", "x w1", "a"), ("ReduceMean", "a", "b", {"axes": [2, 3]}), ("Conv", "b w6", "c"), ("HardSigmoid", "c", "d"), ("Mul", "a d", "e"),
        ("Add", "e three", "f"), ("Clip", "f zero six", "g"), ("Mul", "e g", "h"), ("Div", "h six", "k"), ("PRelu", "k ps", "y"),
    ]  # fmt: skip
    computed = [
        ("Shape", "x", "s"), ("Gather", "s g0", "n", {"axis": 0}), ("Unsqueeze", "n g1", "u"), ("Concat", "u g2", "t", {"axis": 0}), ("ConstantOfShape", "wsh", "w", {"value": helper.make_tensor("v", 1, [1], [0.5])}),
        ("Conv", "x w", "c"), ("Identity", "w1", "w8"), ("Cast", "w8", "w9", {"to": 1}), ("Conv", "x w9", "c2"), ("Reshape", "x t", "f"), ("Gemm", "f w7", "y"),
    ]  # fmt: skip
    constants = {
        "w1": reals(4, 3, 3, 3), "b1": reals(4), "s": reals(4), "m": reals(4), "v": reals(4, low=0.5, high=2), "w2": reals(5, 64), "b2": reals(5), "zero": np.float32(0),
        "six": np.float32(6), "w3": reals(4, 2, 3, 3), "i0": np.array([0, 0]), "i9": np.array([99, 99]), "ax": np.array([2, 3]), "st": np.array([2, 2]), "pp": np.array([0, 0, 0, 0, 0, 0, 0, 0]),
        "sp": np.array([3, 5]), "mm": reals(3), "w4": reals(4, 6), "ls": reals(6), "lb": reals(6), "sc": np.array([1, 1, 2, 2], np.float32), "w5": reals(4, 2, 2, 2),
        "sh": np.array([1, 2, 2, 16, 16]), "s2": np.array([0, -1, 16, 16]), "w6": reals(4, 4, 1, 1), "three": np.float32(3), "ps": reals(4, 1, 1), "g0": np.array(0), "g1": np.array([0]),
        "g2": np.array([-1]), "wsh": np.array([2, 3, 1, 1]), "w7": reals(768, 4),
    }  # fmt: skip
    made = []
    for nodes in (chain, residual, last, pyramid, gates, computed):
        names = {name for _, below, *_ in nodes for name in below.split()} - {
            name for node in nodes for name in node[2].split()
        }
        opset = 13 if nodes is not last else 17
        made.append(
            model(nodes, {k: v for k, v in constants.items() if k in names}, image=("x", (1, *SHAPE)), opset=opset)
        )
    return made


def real(folder):
    """Small real networks, their weights cut to a few numbers spread over the shape: the structure is what is damaged."""
    found = []
    for name in REAL:
        path = Path(folder) / f"{name}.onnx"
        made = onnx.load(path)
        for tensor in made.graph.initializer:
            array = numpy_helper.to_array(tensor)
            if array.size > 20_000:
                filled = onnx.helper.make_tensor(tensor.name, tensor.data_type, [1], [0.5])
                filled.name = ""
                shape = numpy_helper.from_array(np.array(array.shape, np.int64))
                nodes = [
                    helper.make_node("Constant", [], [tensor.name + "/shape"], value=shape),
                    helper.make_node("ConstantOfShape", [tensor.name + "/shape"], [tensor.name], value=filled),
                ]
                for node in reversed(nodes):
                    made.graph.node.insert(0, node)
        big = {
            node.output[0]
            for node in made.graph.node
            if node.op_type == "ConstantOfShape" and node.output[0].removesuffix("/shape") == node.output[0]
        }
        kept = [tensor for tensor in made.graph.initializer if tensor.name not in big]
        inputs = [each for each in made.graph.input if each.name not in big]
        del made.graph.initializer[:]
        made.graph.initializer.extend(kept)
        del made.graph.input[:]
        made.graph.input.extend(inputs)
        found.append(made)
    return found


class Mutator:
    """Files by number: the same seed and number make the same file."""

    def __init__(self, seed):
        folder = os.environ.get("DECODING_FUZZ_FILES")
        self.seed = seed
        self.models = [made.SerializeToString(deterministic=True) for made in (real(folder) if folder else networks())]

    def make(self, number):
        r = random.Random(f"{self.seed}/onnx/{number}")
        content = r.choice(self.models)
        way = r.choice(("bytes", "fields", "fields", "fields", "fields"))
        if way == "fields":
            made, other = onnx.ModelProto.FromString(content), onnx.ModelProto.FromString(r.choice(self.models))
            for _ in range(r.choice((1, 1, 1, 2, 3, 6))):
                change(r, made, other)
            return "fields.onnx", made.SerializeToString()
        return "bytes.onnx", fuzz_files.damaged(r, content, r.choice(self.models))


def places(message, found, depth=0):
    """Every (message, field) that is set."""
    for field, value in message.ListFields():
        found.append((message, field))
        if field.message_type is not None and depth < 8:
            inner = value if field.is_repeated else [value]
            for each in list(inner)[:400]:
                places(each, found, depth + 1)
    return found


def change(r, made, other):
    """Change one field at a random place; half of the time of a node, whose attributes are what readers trust."""
    node = r.choice(made.graph.node) if made.graph.node and r.random() < 0.5 else None
    every = places(node, []) if node is not None else places(made, [])
    if not every:
        return
    message, field = r.choice(every)
    value = getattr(message, field.name)
    strange = evil(r, field)
    way = r.randrange(6)
    if field.is_repeated:
        if way == 0:
            del value[r.randrange(len(value)) :]
        elif way == 1 and field.message_type is not None:
            value.add().CopyFrom(r.choice(list(value)))
        elif way == 2 and field.message_type is not None:
            donors = [m for m, f in places(other, []) if f.full_name == field.full_name]
            if donors:
                value.add().CopyFrom(r.choice(list(getattr(r.choice(donors), field.name))))
        elif way == 3 and len(value) > 1:
            a, b = sorted(r.sample(range(len(value)), 2))
            if field.message_type is not None:
                first, second = type(value[a])(), type(value[b])()
                first.CopyFrom(value[a]), second.CopyFrom(value[b])
                value[a].CopyFrom(second), value[b].CopyFrom(first)
            else:
                value[a], value[b] = value[b], value[a]
        elif field.message_type is None and strange is not None:
            if way == 4:
                value.append(strange)
            else:
                value[r.randrange(len(value))] = strange
        elif len(value):
            del value[r.randrange(len(value))]
        return
    if way == 0 or strange is None:
        message.ClearField(field.name)
    else:
        setattr(message, field.name, strange)


def evil(r, field):
    """A value that its type allows; None for messages."""
    kind = field.cpp_type
    if kind == field.CPPTYPE_INT32:
        return r.choice([n for n in (*EVIL, -2, 10, 16) if -(2**31) <= n < 2**31])
    if kind == field.CPPTYPE_ENUM:
        number, known = r.choice([0, 1, 2, 3, 7]), field.enum_type.values_by_number
        return number if number in known else max(known)  # the library sets no others; bytes of a file may
    if kind == field.CPPTYPE_INT64:
        return r.choice([n for n in (*EVIL, -1, -2, -3, 4, 5, 13) if n < 2**63])
    if kind in (field.CPPTYPE_UINT32, field.CPPTYPE_UINT64):
        return r.choice((0, 1, 2**31))
    if kind in (field.CPPTYPE_FLOAT, field.CPPTYPE_DOUBLE):
        return r.choice((0.0, -1.0, 1e30, float("nan"), float("inf"), 0.5))
    if kind == field.CPPTYPE_STRING:
        text = r.choice(TEXTS)
        return text.encode() if field.type == field.TYPE_BYTES else text
    return None


def read(path, number):
    """What a user would do with the file."""
    net = decoding.load_onnx(path)
    str(net), repr(net)
    for top in range(len(net), 0, -1):
        if net.blocked(top) is None:
            break
    else:
        return
    numbers = sum(int(np.prod(shape)) for shape in net.shapes(net.input_shape, top) if shape is not None)
    if numbers > 3_000_000 or max(net.input_shape) > 64:
        return
    net.forward(np.ones((1, *net.input_shape)), top, backend=decoding.fast)
    if max(net.receptive_field(top).size) <= 64 and net.channels(top) <= 100:
        decoding.decode_filter(net, top, 0, backend=decoding.fast)


def main():
    if "--files" in sys.argv:
        at = sys.argv.index("--files")
        os.environ["DECODING_FUZZ_FILES"] = sys.argv[at + 1]
        del sys.argv[at : at + 2]
    return fuzz_files.main(__file__)


def run(mutations, seed=0, **options):
    """As `fuzz_files.run`, with this file's mutations."""
    return fuzz_files.run(mutations, seed, script=__file__, **options)


if __name__ == "__main__":
    fuzz_files.Mutator, fuzz_files.TARGETS = Mutator, {"read": read}
    sys.exit(main())

__all__ = ["Mutator", "run", "tempfile"]
