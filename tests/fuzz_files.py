"""Damage small files in many ways; reading each must give a result or a `DecodingError`.

    python tests/fuzz_files.py --mutations 20000

The reader works in child processes with limited memory and time. A crash, a hang, too much memory or any other exception
is an escape: it is reported with the number of its mutation, and its file is kept. The same seed makes the same files.
"""

import argparse
import copy
import gzip
import json
import os
import random
import signal
import struct
import subprocess
import sys
import tempfile
import zlib
from collections import Counter
from pathlib import Path

import numpy as np

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

from mat_files import Column, Structs, write_v5, write_v73

import decoding
from decoding.datasets import read_idx

MEMORY = 512 * 2**20  # more than the child takes before it reads anything
SECONDS = 20  # for one file
BLOCK = 1000  # files for each child

NUMBERS = (
    0,
    1,
    -1,
    2,
    3,
    7,
    8,
    127,
    128,
    255,
    256,
    2**15,
    2**16 - 1,
    2**24,
    2**31 - 1,
    2**31,
    2**32 - 1,
    10**12,
    2**63 - 1,
)
EVIL = (
    -1.0, 0.0, 0.5, 1e3, 4096.0, 1e9, 1e300, float("nan"), float("inf"), [[1.0, 2.0, 3.0]], [[-1.0, 0.0]], [[2.0, 0.0, 3.0, 1.0]],
    "3", "", "conv", "max", "\x00\x1b[2J", "n" * 300, [], [[]], ["a", 1.0], {}, {"a": 1.0}, "concat", np.zeros((0, 3)),
    np.zeros((3, 0, 2)), np.full((2, 2), np.nan), np.ones((1, 1, 3)), np.ones((2, 3, 2, 3, 2)), np.arange(9, dtype=np.uint8),
)  # fmt: skip


def networks():
    """SimpleNN of every age, a DagNN of two images, and one as `save_matconvnet` writes it, as plain values."""
    random = np.random.default_rng(0)

    def reals(*shape):
        return random.normal(size=shape).astype(np.float32)

    simple = [
        {"type": "conv", "name": "c1", "weights": [reals(3, 2, 3, 4), reals(1, 4)], "stride": np.array([[1.0, 2]]),
         "pad": np.array([[1.0, 0, 2, 1]]), "dilate": np.array([[2.0]]), "momentum": [reals(3, 2, 3, 4), reals(1, 4)]},
        {"type": "bnorm", "name": "b1", "weights": [reals(4, 1), reals(4, 1), np.abs(reals(4, 2))]},
        {"type": "relu", "leak": np.array([[0.1]])},
        {"type": "pool", "method": "max", "pool": np.array([[3.0, 3]]), "stride": np.uint8([[2]]), "pad": np.uint8([[0, 1, 0, 1]])},
        {"type": "lrn", "param": np.array([[5, 1, 2e-5, 0.75]])},
        {"type": "conv", "weights": Column([reals(2, 2, 2, 6), reals(6, 1)]), "biases": np.zeros((0, 0))},
        {"type": "sigmoid"},
        {"type": "dropout", "rate": np.array([[0.5]])},
        {"type": "conv", "weights": [reals(1, 2, 6), reals(1, 1)]},
        {"type": "softmaxloss", "class": np.uint8([[1, 2]])},
        {"type": "custom", "forward": "f"},
    ]  # fmt: skip
    meta = {
        "inputSize": np.array([[17.0, 23, 3]]),
        "classes": {"name": ["a", "b"]},
        "normalization": {"averageImage": reals(17, 23, 3)},
    }
    old = [
        {"type": "conv", "filters": reals(5, 3, 1, 3), "biases": reals(1, 3), "filtersMomentum": reals(5, 3, 1, 3)},
        {"type": "pool", "pool": np.uint8([[2, 2]]), "stride": np.uint8([[2]])},
        {"type": "relu"},
        {"type": "conv", "filters": reals(2, 2, 3), "biases": np.zeros((0, 0))},
    ]
    conv = {"size": np.array([[3.0, 3, 2, 4]]), "pad": np.array([[1.0, 1, 1, 1]]), "stride": np.array([[1.0, 1]])}
    graph = [
        ("c", "dagnn.Conv", ["x"], ["y"], ["cf", "cb"], conv),
        ("r", "dagnn.ReLU", ["y"], ["z"], [], {"leak": np.array([[0.2]])}),
        ("p", "dagnn.Pooling", ["z"], ["w"], [], {"poolSize": np.array([[2.0, 3]]), "stride": np.array([[2.0, 2]])}),
        ("s", "dagnn.Sum", ["x", "w"], ["t"], [], {}),
        ("d", "dagnn.Conv", ["y"], ["u"], ["sf"], {"pad": np.array([[1.0]])}),
        ("m", "my.Monitor", ["u"], ["n"], [], {}),
        ("a", "dagnn.Sum", ["u", "z"], ["v"], [], {}),
        ("e", "dagnn.Scale", ["v"], ["e"], ["cb"], {"hasBias": np.array([[0.0]])}),
        ("k", "dagnn.Concat", ["e", "u", "y"], ["k"], [], {"dim": np.array([[3.0]])}),
        ("g", "dagnn.Scale", ["k", "k"], ["g"], [], {}),
        ("l", "HuberLoss", ["g", "label"], ["l"], [], {}),
        ("o", "dagnn.ReLU", ["other"], ["o"], [], {}),
        ("j", "dagnn.Concat", ["o", "g"], ["j"], [], {}),
    ]
    fields = ("name", "type", "inputs", "outputs", "params", "block")
    dag = {
        "layers": Structs([dict(zip(fields, layer, strict=True)) for layer in graph]),
        "params": Structs(
            [
                {"name": "cf", "value": reals(3, 3, 2, 4)},
                {"name": "cb", "value": reals(1, 1, 4)},
                {"name": "sf", "value": reals(3, 3, 4, 4)},
            ]
        ),
    }
    ours = [
        ("c", "dagnn.Conv", ["input"], ["x1"], ["c_1", "c_2"], conv, {"name": "", "groups": np.array([[2.0]])}),
        ("r", "dagnn.ReLU", ["x1"], ["x2"], [], {}, {"name": "", "gain": reals(4, 1, 1), "curvature": np.array([[0.5]])}),
        ("s", "decoding.Select", ["x2"], ["x3"], [], {"channels": np.int32([3, -1, 0, 0]).reshape(4, 1, 1), "stride": np.int32([2, 1]).reshape(2, 1, 1)}, {"name": "ß"}),
        ("g", "dagnn.Scale", ["x3", "x3"], ["x4"], [], {"hasBias": np.uint8([[0]])}, {"name": "", "gain": np.array([[0.5]])}),
        ("p", "decoding.Pad", ["x4"], ["x5"], [], {"pad": np.int32([1, 0, -1, 2]).reshape(4, 1, 1), "value": np.array([[0.5]]), "mode": "edge"}, {"name": ""}),
        ("m", "decoding.PReLU", ["x5"], ["x6"], [], {"slope": reals(4, 1, 1)}, {"name": "", "gain": np.array([[0.5]])}),
        ("z", "decoding.Resize", ["x6"], ["x7"], [], {"scale": np.float64([1.5, 2]).reshape(2, 1, 1), "mode": "linear", "align": "centre"}, {"name": ""}),
        ("u", "XCorr", ["x4", "x1"], ["x8"], [], {}, {"name": "", "unsupported": "it joins"}),
    ]  # fmt: skip
    ours = {
        "layers": Structs([dict(zip((*fields, "decoding"), layer, strict=True)) for layer in ours]),
        "params": Structs([{"name": "c_1", "value": reals(3, 3, 2, 4)}, {"name": "c_2", "value": reals(1, 4)}]),
        "meta": {
            "moments": Structs([{"layer": np.array([[2.0]]), "mean": reals(4, 1, 1), "std": np.ones((4, 1, 1))}]),
            "inputSize": np.array([[9.0, 8, 4]]),
            "normalization": {"std": np.ones((1, 1, 4))},
            "notes": ["a"],
        },
    }
    return [
        {"net": {"layers": simple, "meta": meta}, "info": {"train": np.zeros((2, 3))}},
        {"layers": old, "imageMean": np.array([[107.5]], np.float32)},
        {"net": dag},
        {"net": ours},
    ]


def digits():
    """IDX files, plain and gzipped."""
    images, labels = (
        struct.pack(">4B3I", 0, 0, 8, 3, 4, 28, 28) + bytes(4 * 784),
        struct.pack(">4BI", 0, 0, 8, 1, 4) + bytes(4),
    )
    return [images, labels, gzip.compress(images, mtime=0), gzip.compress(labels, mtime=0)]


def written(writer, variables):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "valid.mat"
        writer(path, variables)
        return path.read_bytes()


class Mutator:
    """Files by number: the same seed and number make the same file."""

    def __init__(self, seed):
        self.seed, self.networks, self.idx = seed, networks(), digits()
        self.writers = [write_v5, plain_v5]
        try:
            import h5py  # noqa: F401

            self.writers.append(write_v73)
        except ImportError:
            pass
        self.valid = [written(writer, variables) for writer in self.writers for variables in self.networks]

    def make(self, number):
        """(name, content) of a damaged file."""
        r = random.Random(f"{self.seed}/{number}")
        way = r.choice(("bytes", "bytes", "packed", "values", "values", "idx"))
        if way == "idx":
            return "digits.idx", damaged(r, r.choice(self.idx), r.choice(self.idx))
        if way == "values":
            variables = copy.deepcopy(r.choice(self.networks))
            for _ in range(r.choice((1, 1, 1, 2, 4))):
                change_value(r, variables)
            try:
                return "values.mat", written(r.choice(self.writers), variables)
            except Exception:  # nothing that can be written
                way = "bytes"
        if way == "packed":
            plain = self.valid[len(self.networks) : 2 * len(self.networks)]
            return "packed.mat", repacked(damaged(r, r.choice(plain), r.choice(plain)))
        return "bytes.mat", damaged(r, r.choice(self.valid), r.choice(self.valid))


def plain_v5(path, variables):
    write_v5(path, variables, compress=False)


def repacked(content):
    """A plain v5 file with each variable compressed: the damage is inside."""
    out, at = content[:128], 128
    while at + 8 <= len(content):
        length = struct.unpack_from("<I", content, at + 4)[0]
        packed = zlib.compress(content[at : at + 8 + length])
        out += struct.pack("<II", 15, len(packed)) + packed
        at += 8 + length
    return out


def damaged(r, content, other):
    data = bytearray(content)
    for _ in range(r.choice((1, 1, 1, 2, 3, 8, 30))):
        # Half of the time near the beginning, where the sizes are.
        at = r.randrange(max(1, len(data) if r.random() < 0.5 else min(len(data), 512)))
        way = r.randrange(8)
        if way == 0:
            data[at : at + 1] = bytes([(data[at] if data else 0) ^ 1 << r.randrange(8)])
        elif way == 1:
            data[at : at + 1] = bytes([r.randrange(256)])
        elif way in (2, 3):
            size, order = r.choice((1, 2, 4, 4, 8)), r.choice(("little", "big"))
            at -= at % 4 if way == 3 else 0
            data[at : at + size] = (r.choice(NUMBERS) % 256**size).to_bytes(size, order)
        elif way == 4:
            del data[at:]
        elif way == 5:
            begin = r.randrange(len(other))
            piece = other[begin : begin + r.choice((1, 4, 8, 16, 64, 500))]
            data[at : at + r.choice((0, len(piece)))] = piece
        elif way == 6:
            del data[at : at + r.choice((1, 4, 8, 64, 1000))]
        else:
            data[at:at] = data[at : at + r.choice((8, 16, 64))]
    return bytes(data)


def change_value(r, value):
    """Change one thing at a random place in nested values."""
    while True:
        keys = list(value) if isinstance(value, dict) else range(len(value))
        if not keys:
            return
        key = r.choice(list(keys))
        inner = value[key]
        if isinstance(inner, (dict, list)) and len(inner) and r.random() < 0.85:
            value = inner
            continue
        way = r.randrange(6)
        if way == 0 and isinstance(value, dict):
            del value[key]
        elif way == 1 and isinstance(inner, np.ndarray) and inner.size:
            inner = inner.copy()
            inner.ravel()[r.randrange(inner.size)] = (
                r.choice((0, 1, 255)) if inner.dtype.kind in "ui" else r.choice((-1, 0.5, 1e9, np.nan))
            )
            value[key] = inner
        elif way == 2 and isinstance(inner, np.ndarray) and inner.size:
            value[key] = r.choice((inner.ravel(), inner.T, inner[..., np.newaxis], np.stack([inner, inner]), inner[:0]))
        elif way == 3 and isinstance(value, list):
            value.append(copy.deepcopy(inner))
        else:
            value[key] = copy.deepcopy(r.choice(EVIL))
        return


def read(path, number):
    """What a user would do with the file."""
    if path.endswith(".idx"):
        read_idx(path)
        return
    net = decoding.load_matconvnet(path)
    str(net), repr(net)
    for top in range(len(net.layers), 0, -1):
        if net.blocked(top) is None and net.channels(top) <= 100:
            decode_and_run(net, top)
            break


def decode_and_run(net, top):
    seen = net.fields_within(0)[top]
    shape = net.input_shape or (net.channels(0), *(seen.size if seen else (9, 9)))
    if max(shape) <= 100:
        net.forward(np.ones((1, *shape)), top)
    if seen and max(seen.size) <= 100:
        gates = [layer.replace(gain=1) if layer.needs_gain else layer for layer in net.layers]
        decoding.decode_filter(net.replace(layers=gates), top, 0)


def misbehave(path, number):
    """Shows that the harness sees what it looks for."""
    if number == 2:
        raise KeyError("escaped")
    if number == 4:
        os.kill(os.getpid(), signal.SIGSEGV)
    if number == 6:
        np.ones(2 * MEMORY, np.uint8)
    if number == 8:
        while True:
            pass


TARGETS = {"read": read, "misbehave": misbehave}


class Hang(BaseException):
    pass


def child(options):
    import resource

    def stop(*_):
        raise Hang(f"still at it after {options.seconds} seconds")

    mutator, target = Mutator(options.seed), TARGETS[options.target]
    import scipy.io  # noqa: F401

    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    signal.signal(signal.SIGALRM, stop)
    for number in range(options.start, options.stop):
        name, content = mutator.make(number)
        path = Path(options.folder) / name
        path.write_bytes(content)
        print(json.dumps({"begins": number}), flush=True)
        outcome, escaped = "read", ""
        signal.alarm(options.seconds)
        try:
            target(str(path), number)
        except decoding.DecodingError as error:
            outcome = type(error).__name__
            if not str(error).isprintable():
                outcome, escaped = "escape", f"not printable: {error!r}"[:200]
        except BaseException as error:
            outcome, escaped = "escape", f"{type(error).__name__}: {error}"[:200]
        signal.alarm(0)
        print(json.dumps({"outcome": outcome, "escaped": escaped}), flush=True)


def run(mutations, seed=0, target="read", seconds=SECONDS, keep=None, progress=False, script=__file__):
    """How often each outcome came, and the escapes as (number, what)."""
    outcomes, escapes, start = Counter(), [], 0
    with tempfile.TemporaryDirectory() as folder:
        while start < mutations:
            stop = min(start + BLOCK, mutations)
            arguments = {
                "seed": seed,
                "target": target,
                "start": start,
                "stop": stop,
                "folder": folder,
                "seconds": seconds,
            }
            command = [sys.executable, script, "--child", *(f"--{key}={value}" for key, value in arguments.items())]
            environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
            with subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
            ) as process:
                number, done = None, False
                watchdog = 2 * seconds * (stop - start)
                try:
                    output, errors = process.communicate(timeout=watchdog)
                except subprocess.TimeoutExpired:
                    process.kill()
                    output, errors = process.communicate()
            for line in output.splitlines():
                event = json.loads(line)
                done = "outcome" in event
                if done:
                    outcomes[event["outcome"]] += 1
                    if event["escaped"]:
                        escapes.append((number, event["escaped"]))
                else:
                    number = event["begins"]
            if process.returncode and number is None:
                raise RuntimeError(f"the child did not start: {errors}")
            if process.returncode and not done:
                outcomes["escape"] += 1
                escapes.append((number, f"the process ended with {process.returncode}: {errors[-200:]}"))
            start = number + 1
            if progress:
                print(f"\r{start} of {mutations}, {len(escapes)} escapes", end="", file=sys.stderr, flush=True)
    if keep:
        mutator = Mutator(seed)
        for number, _ in escapes:
            name, content = mutator.make(number)
            (Path(keep) / f"{number}-{name}").write_bytes(content)
    return outcomes, escapes


def main(script=__file__):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mutations", type=int, default=20000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", metavar="FOLDER", help="where to put the files that escape")
    parser.add_argument("--seconds", type=int, default=SECONDS, help="for one file")
    for name in ("start", "stop"):
        parser.add_argument(f"--{name}", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--target", default="read", help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        return child(options)
    if options.keep:
        Path(options.keep).mkdir(parents=True, exist_ok=True)
    outcomes, escapes = run(
        options.mutations, options.seed, options.target, options.seconds, options.keep, progress=True, script=script
    )
    print(
        f"\n{options.mutations} files, seed {options.seed}: "
        + ", ".join(f"{n} {what}" for what, n in outcomes.most_common())
    )
    for number, what in escapes:
        print(f"escape {number}: {what}")
    return 1 if escapes else 0


if __name__ == "__main__":
    sys.exit(main())
