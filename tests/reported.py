"""Wrong backends after public reports of wrong answers, one each: what the report says, in a line, and a backend that errs like that.

What was wrong in one library under one condition is wrong in the next under another: these are a sample of what goes wrong in the
world. ``python tests/reported.py`` prints which check refuses each.
"""

from __future__ import annotations

import sys
import tempfile
import threading
import time
import types

import numpy as np
from afresh import afresh
from attacks import as_whole, rounded

import decoding
from decoding import reference
from decoding.backend import OPERATORS

REPORTS: list[tuple[str, str, object]] = []  # repository and number, what it says, backend


def report(where, says, **operators):
    functions = {operator: getattr(reference, operator) for operator in OPERATORS}
    REPORTS.append((where, says, types.SimpleNamespace(name=where, eps=2.0**-53, **{**functions, **operators})))


def spoilt(operator, when, how):
    """The operator, with what `how` makes of its answer where ``when(x, filters or None, options)`` holds."""

    def run(x, *others, **options):
        y = np.array(getattr(reference, operator)(x, *others, **options))
        f = np.asarray(others[0]) if others else None
        if not y.size or not when(np.asarray(x), f, options):
            return y
        changed = how(y, np.asarray(x), f, options)
        return y if changed is None else changed

    return {operator: run}


def plain(x, f, o):
    return True


def is_window(f, o, size, step):
    return ((f is not None and f.shape[2:] == size) or o.get("size") == size) and tuple(o["stride"]) == step


def zero(*index):
    def how(y, x, f, o):
        y[index] = 0

    return how


def rolled(axis, by=1):
    return lambda y, x, f, o: np.roll(y, by, axis)


# Sizes.

report(
    "NervanaSystems/neon 361",
    "batches over 32 that are no multiple of 32: the images in excess are wrong",
    **spoilt(
        "correlate",
        lambda x, f, o: len(x) > 32 and len(x) % 32,
        lambda y, x, f, o: y * (np.arange(len(y)) < len(y) // 32 * 32).reshape(-1, 1, 1, 1),
    ),
)
report(
    "tensorflow/tensorflow 9870",
    "images from number 65,536 on come out as zeros",
    **spoilt("correlate", lambda x, f, o: len(x) > 65535, zero(slice(65535, None))),
)
report(
    "Theano/Theano 6045",
    "batches over 65,536: an algorithm's answers are wrong for all",
    **spoilt("correlate", lambda x, f, o: len(x) > 65536, lambda y, x, f, o: y + 1),
)
report(
    "tensorflow/tensorflow 1299",
    "from 4 images of 33×33 on, 5×5 windows of ones over numbers that are not negative give small negative ones",
    **spoilt(
        "correlate",
        lambda x, f, o: len(x) >= 4 and is_window(f, o, (5, 5), (1, 1)),
        lambda y, x, f, o: y - 1e-7 * np.abs(x).max(),
    ),
)
report(
    "pytorch/pytorch 106749",
    "maps of 64×64, 3×3 windows: the same image differs in a larger batch",
    **spoilt(
        "correlate",
        lambda x, f, o: x.shape[2:] == (64, 64) and len(x) > 1 and f.shape[2:] == (3, 3),
        lambda y, x, f, o: rounded(y, 11),
    ),
)
report(
    "Tencent/ncnn 1384",
    "1×1 windows in packs of 4 channels: wrong where maps are smaller than 16×16",
    **spoilt(
        "correlate",
        lambda x, f, o: f.shape[2:] == (1, 1) and x.shape[1] % 4 == 0 and x.shape[2] * x.shape[3] < 256,
        rolled(3),
    ),
)
report(
    "Tencent/ncnn 1014",
    "3×3 windows in steps of 2: wrong where the answer's cells are no multiple of 4",
    **spoilt(
        "correlate",
        lambda x, f, o: is_window(f, o, (3, 3), (2, 2)),
        lambda y, x, f, o: np.roll(y, 1, 3) if y.shape[2] * y.shape[3] % 4 else y,
    ),
)
report(
    "Maratyszcza/NNPACK 43",
    "fully connected layers: batches that are no multiple of 4 are wrong",
    **spoilt("correlate", lambda x, f, o: x.shape[2:] == f.shape[2:] and len(x) % 4, zero(slice(-1, None))),
)
report(
    "fujitsu/oneDNN 43",
    "backward data: steps above 1, over 16 channels, images under 17 columns: wrong",
    **spoilt(
        "substitute",
        lambda x, f, o: o["stride"][1] > 1 and f.shape[1] > 16,
        lambda y, x, f, o: np.roll(y, 1, 3) if y.shape[3] < 17 else y,
    ),
)
report(
    "bhuman/CompiledNN 16",
    "channels that are no multiple of 4: the rest is left out",
    **spoilt(
        "correlate",
        lambda x, f, o: x.shape[1] > 4 and x.shape[1] % 4,
        lambda y, x, f, o: y - reference.correlate(x[:, x.shape[1] // 4 * 4 :], f[:, x.shape[1] // 4 * 4 :], None, **o),
    ),
)
report(
    "tenstorrent/tt-metal 10256",
    "255 filters give 256 maps",
    **spoilt(
        "correlate",
        lambda x, f, o: len(f) > 32 and len(f) % 32,
        lambda y, x, f, o: np.concatenate([y, np.zeros_like(y[:, : -len(f) % 32])], 1) if len(f) % 32 == 31 else y,
    ),
)
report(
    "PaddlePaddle/Anakin 210",
    "3×3 maxima in steps of 2: of 61 columns the last one is not seen",
    **spoilt(
        "max_pool",
        lambda x, f, o: is_window(f, o, (3, 3), (2, 2)) and x.shape[3] % 2 and x.shape[3] > 32,
        lambda y, x, f, o: np.concatenate(
            [y[..., :-1], reference.max_pool(x[..., :-1], **{**o, "pad": (*o["pad"][:3], 1)})[..., -1:]], 3
        ),
    ),
)
report(
    "alibaba/MNN 1531",
    "transposed convolutions of maps that are no multiple of 4: the rest is taken twice, in batches",
    **spoilt(
        "substitute",
        lambda x, f, o: len(x) > 1 and x.shape[1] % 4,
        lambda y, x, f, o: y + reference.substitute(x[:, -1:], f[-1:], **o),
    ),
)
report(
    "google/XNNPACK 883",
    "in several threads, from the third layer on, 16 filters: all maps but the first are zeros",
    **spoilt("correlate", lambda x, f, o: len(f) >= 16, zero(slice(None), slice(1, None))),
)
report(
    "ml-explore/mlx 4242",
    "3×3 windows in steps of 1, channels and filters multiples of 32: the precision of halves",
    **spoilt(
        "correlate",
        lambda x, f, o: is_window(f, o, (3, 3), (1, 1)) and f.shape[0] % 32 == 0 == f.shape[1] % 32,
        lambda y, x, f, o: reference.correlate(rounded(x, 11), rounded(f, 11), None, **o),
    ),
)
report(
    "ROCm/MIOpen 2492",
    "3×3 windows of 2 channels by Winograd's algorithm, though small: less precision than was asked",
    **spoilt(
        "correlate",
        lambda x, f, o: is_window(f, o, (3, 3), (1, 1)) and x.shape[1] <= 2,
        lambda y, x, f, o: rounded(y, 12),
    ),
)
report(
    "NVIDIA/cutlass 1690",
    "singles of a small convolution are rounded to TF32",
    **spoilt(
        "correlate",
        lambda x, f, o: x.dtype == np.float32,
        lambda y, x, f, o: reference.correlate(rounded(x, 11), rounded(f, 11), None, **o),
    ),
)
report(
    "tenstorrent/tt-metal 26093",
    "average pools of over 256 channels: wrong the second time",
    **(
        lambda seen: spoilt(
            "avg_pool", lambda x, f, o: x.shape[1] > 256 and (x.shape in seen or seen.add(x.shape)), rolled(1)
        )
    )(set()),
)
report(
    "dfdx 657",
    "transposed convolutions of batches: all images are the first",
    **spoilt("substitute", lambda x, f, o: len(x) > 1, lambda y, x, f, o: np.repeat(y[:1], len(y), 0)),
)
report(
    "alibaba/MNN 933",
    "transposed convolutions in steps of 1: the answer is shifted",
    **spoilt("substitute", lambda x, f, o: tuple(o["stride"]) == (1, 1), rolled(2)),
)
report(
    "apache/tvm 18601",
    "transposed convolutions in steps of 2 with windows of 3: one row and one column too few",
    **spoilt("substitute", lambda x, f, o: is_window(f, o, (3, 3), (2, 2)), lambda y, x, f, o: y[..., :-1, :-1]),
)
report(
    "apache/systemds 541",
    "transposed convolutions: channels and filters exchanged, unseen where they are as many",
    substitute=lambda x, f, *, stride: reference.substitute(
        x, np.swapaxes(f, 0, 1) if np.shape(f)[0] == np.shape(f)[1] else f, stride=stride
    ),
)


def dilated(f):
    return f.shape[2] > 1 and f.shape[3] > 1 and not f[:, :, 1::2].any() and not f[:, :, :, 1::2].any()


report(
    "apache/mxnet 11203",
    "transposed convolutions of dilation 2 in steps of 2: the answer is shifted by a row and a column",
    **spoilt("substitute", lambda x, f, o: dilated(f) and tuple(o["stride"]) == (2, 2), rolled((2, 3))),
)


# Pads.


def mean_by(count):
    """Sums over windows, divided by what ``count(cells of the windows, o)`` says: the cells inside, spoilt."""

    def avg_pool(x, **o):
        right = reference.avg_pool(x, **o)
        ones = np.ones((1, 1, *np.shape(x)[2:]))
        h, w = o["size"]
        inside = reference.correlate(ones, np.ones((1, 1, h, w)), None, stride=o["stride"], pad=o["pad"])
        return right * inside / count(inside, ones, o)

    return avg_pool


def counted(*which):
    """The cells inside, and those of some pads, given by their places among top, bottom, left, right."""

    def count(inside, ones, o):
        pad = o["pad"]
        some = tuple(n * (i in which) for i, n in enumerate(pad))
        rest = tuple(n - s for n, s in zip(pad, some, strict=True))
        wide = np.pad(ones, ((0, 0), (0, 0), some[:2], some[2:]), constant_values=1)
        return reference.correlate(wide, np.ones((1, 1, *o["size"])), None, stride=o["stride"], pad=rest)

    return count


report(
    "microsoft/onnxruntime 16203",
    "means at the right edge are divided by the whole window",
    avg_pool=mean_by(counted(1, 3)),
)
report("BVLC/caffe 6297", "means are divided by the whole window at all edges", avg_pool=mean_by(counted(0, 1, 2, 3)))
report(
    "microsoft/onnxruntime 24681",
    "pads at the beginning are counted, those at the end are not",
    avg_pool=mean_by(counted(0, 2)),
)
report(
    "ROCm/AMDMIGraphX 492",
    "pads are counted where they are not the same on both sides",
    avg_pool=lambda x, **o: (
        mean_by(counted(0, 1, 2, 3)) if o["pad"][0] != o["pad"][1] or o["pad"][2] != o["pad"][3] else reference.avg_pool
    )(x, **o),
)
report(
    "PaddlePaddle/Paddle 54404",
    "the divisor takes the first two pads for all four",
    avg_pool=mean_by(
        lambda inside, ones, o: (
            counted(1, 3)(inside, ones, o) if o["pad"][1] > o["pad"][0] or o["pad"][3] > o["pad"][2] else inside
        )
    ),
)
report(
    "microsoft/onnxruntime 27375",
    "the divisor takes the pad of the columns for that of the rows",
    avg_pool=mean_by(lambda inside, ones, o: counted(1)(inside, ones, o) if o["pad"][2] != o["pad"][1] else inside),
)
report(
    "microsoft/onnxruntime 29631",
    "pads at the end are taken to be those at the beginning",
    avg_pool=lambda x, **o: reference.avg_pool(x, **{**o, "pad": (o["pad"][0], o["pad"][0], o["pad"][2], o["pad"][2])}),
)
report(
    "autogluon/autogluon 438",
    "pads of rows and columns exchanged",
    correlate=lambda x, f, b, *, stride, pad: reference.correlate(x, f, b, stride=stride, pad=(*pad[2:], *pad[:2])),
)
report(
    "onnx/onnx 7721",
    "pads in the order top, left, bottom, right",
    correlate=lambda x, f, b, *, stride, pad: reference.correlate(
        x, f, b, stride=stride, pad=(pad[0], pad[2], pad[1], pad[3])
    ),
)
report(
    "microsoft/CNTK 1862",
    "even windows with more pads after than before: shifted by one",
    correlate=lambda x, f, b, *, stride, pad: reference.correlate(
        x, f, b, stride=stride, pad=(*pad[:2], pad[3], pad[2]) if np.shape(f)[3] % 2 == 0 and pad[2] < pad[3] else pad
    ),
)
report(
    "uxlfoundation/oneDNN 5080",
    "columns whose field reaches into the pads are wrong where channels are last in memory",
    **spoilt(
        "correlate",
        lambda x, f, o: o["pad"][2] and x.strides[1] == x.itemsize and x.shape[1] > 1,
        lambda y, x, f, o: np.concatenate([y[..., :1] + 1, y[..., 1:]], 3),
    ),
)


def filled(value):
    def max_pool(x, *, size, stride, pad):
        wide = np.pad(np.asarray(x, float), ((0, 0), (0, 0), pad[:2], pad[2:]), constant_values=value)
        return reference.max_pool(wide, size=size, stride=stride, pad=(0, 0, 0, 0))

    return max_pool


report(
    "apache/mxnet 6191",
    "pads as large as the window accepted: the answer is the lowest number",
    max_pool=filled(-3.4028235e38),
)
report(
    "distdl/distdl 195",
    "maxima with pads of zeros",
    max_pool=lambda x, **o: (
        reference.max_pool(x, **o) if not any(o["pad"]) else np.maximum(reference.max_pool(x, **o), filled(0.0)(x, **o))
    ),
)


# What is no number, and what is infinite.


def without_nan(x, **o):
    return reference.max_pool(np.where(np.isnan(x), -3.4028235e38, x), **o)


def after_the_first(x, **o):
    """NaN counts only as a window's first cell."""
    x, (r, s) = np.asarray(x, float), o["stride"]
    y = without_nan(x, **o)
    top, bottom, left, right = o["pad"]
    wide = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)), constant_values=-np.inf)
    first = wide[:, :, ::r, ::s][:, :, : y.shape[2], : y.shape[3]]
    return np.where(np.isnan(first), np.nan, y)


def lowest(x, **o):
    y = np.array(reference.max_pool(x, **o))
    return np.where(np.isneginf(y), np.finfo(float).min, y)


report("pytorch/pytorch 7645", "maxima leave out what is no number", max_pool=without_nan)
report("tracel-ai/burn 5662", "maxima see what is no number only as the first of a window", max_pool=after_the_first)
report("pytorch/pytorch 39044", "the maximum of nothing but −∞ is the lowest number", max_pool=lowest)
report(
    "microsoft/onnxruntime 28489",
    "a rectifier by products with 0 and 1 makes ∞ to no number",
    relu=lambda x, *, leak: np.asarray(x, float) * np.greater(x, 0) + leak * np.asarray(x, float) * ~np.greater(x, 0),
)
report(
    "alibaba/HALO 163",
    "slopes below zero: the larger of x and slope·x",
    relu=lambda x, *, leak: np.maximum(x, leak * np.asarray(x, float)),
)
report("nvdla/sw 227", "the slope is left out", relu=lambda x, *, leak: reference.relu(x, leak=0.0))


# Softmax.


def exponentials(shift, more=lambda x, m: 0.0):
    def softmax(x):
        x = np.asarray(x, float)
        m = shift(x) if x.size else 0.0
        with np.errstate(all="ignore"):
            e = np.exp(x - m)
            return e / (e.sum(axis=1, keepdims=True) + more(x, m))

    return softmax


report(
    "deeplearning4j/deeplearning4j-examples 730",
    "exponentials of the responses as they are",
    softmax=exponentials(lambda x: 0.0),
)
report(
    "apache/singa 540",
    "shifted by the largest response of all, not of each place",
    softmax=exponentials(lambda x: x.max()),
)
report(
    "tensorflow/tensorflow 108244",
    "channels that are no multiple of 4: those that fill the last pack are added up, too",
    softmax=exponentials(
        lambda x: x.max(axis=1, keepdims=True), lambda x, m: np.exp(-m) * (-x.shape[1] % 4) * (x.shape[1] > 4)
    ),
)
report(
    "Tencent/ncnn 1588",
    "responses above 88 overflow, as single precision does",
    softmax=lambda x: np.where(np.max(x, axis=1, keepdims=True, initial=0) > 88.7, np.nan, reference.softmax(x)),
)


# Unpooling.


def unpooled(index, modes=("nearest",)):
    """Rows and columns picked anew, from those of the right answer."""

    def unpool(maps, *, size, stride, mode):
        y = reference.unpool(maps, size=size, stride=stride, mode=mode)
        if mode not in modes:
            return y
        for axis in (0, 1):
            y = y.take(index(y.shape[2 + axis], size[axis], stride[axis], np.shape(maps)[2 + axis]), axis=2 + axis)
        return y

    return unpool


report(
    "Oneflow-Inc/oneflow 5347",
    "nearest with half a pixel added before rounding down: the next cell too early",
    unpool=unpooled(lambda n, z, s, cells: np.minimum(np.arange(n) + (np.arange(n) % s == s - 1) * (s > 2), n - 1)),
)
report(
    "godotengine/godot 39617",
    "bilinear without the half pixel of the centre: shifted to the upper left",
    unpool=unpooled(lambda n, z, s, cells: np.maximum(np.arange(n) - (z > 1), 0), ("bilinear",)),
)
report(
    "intel/torch-xpu-ops 4322",
    "bilinear: the height stands where the width should, unseen on squares",
    unpool=lambda maps, *, size, stride, mode: reference.unpool(
        np.asarray(maps)[..., [min(j, np.shape(maps)[2]) for j in range(np.shape(maps)[3])]]
        if mode == "bilinear"
        else maps,
        size=size,
        stride=stride,
        mode=mode,
    ),
)
report(
    "flagos-ai/FlagGems 5217",
    "bicubic: the ratio of sizes in place of the step, which is the same where windows tile",
    unpool=lambda maps, *, size, stride, mode: (
        reference.unpool(maps, size=size, stride=stride, mode=mode)
        if mode != "bicubic" or size == stride
        else reference.unpool(maps, size=size, stride=stride, mode="bilinear")
    ),
)


# Memory.


def channels_last_as_packed(x):
    """Views of some channels of maps whose channels are last in memory, read as if these were all."""
    x = np.asarray(x)
    if x.ndim == 4 and x.shape[1] and x.strides[1] == x.itemsize < x.strides[3] != x.shape[1] * x.itemsize:
        found = as_whole(x)
        return found.reshape(len(x), x.shape[2], x.shape[3], x.shape[1]).transpose(0, 3, 1, 2)
    return x


def without_offset(x):
    """Maps whose channels are last in memory, read from where the memory begins."""
    x = np.asarray(x)
    last = x.ndim == 4 and x.shape[1] > 1 and x.strides[1] == x.itemsize and x.transpose(0, 2, 3, 1).flags.c_contiguous
    base = x
    while isinstance(base.base, np.ndarray):
        base = base.base
    if last and base.size > x.size:
        found = base.ravel(order="K")[: x.size]
        return found.reshape(len(x), x.shape[2], x.shape[3], x.shape[1]).transpose(0, 3, 1, 2)
    return x


def in_order_of_memory(x):
    """Maps whose channels are last in memory, read as if they were in the usual order."""
    x = np.asarray(x)
    packed = x.ndim == 4 and x.transpose(0, 2, 3, 1).flags.c_contiguous and not x.flags.c_contiguous
    return x.transpose(0, 2, 3, 1).reshape(x.shape) if packed else x


def gaps_as_whole(f):
    f = np.asarray(f)
    return as_whole(f) if f.ndim == 4 and f.size > 1 and not f.flags.c_contiguous and min(f.strides) > 0 else f


report(
    "pytorch/pytorch 180984",
    "maps that are some channels of others, channels last in memory: read as if packed",
    correlate=lambda x, f, b, **o: reference.correlate(channels_last_as_packed(x), f, b, **o),
)
report(
    "pytorch/pytorch 174345",
    "channels last in memory and not at its beginning: read from the beginning",
    avg_pool=lambda x, **o: reference.avg_pool(without_offset(x), **o),
)
report(
    "pytorch/pytorch 77299",
    "channels last in memory: read in the usual order",
    correlate=lambda x, f, b, **o: reference.correlate(in_order_of_memory(x), f, b, **o),
)
report(
    "pytorch/pytorch 192212",
    "filters that are slices of larger ones: read as if whole",
    correlate=lambda x, f, b, **o: reference.correlate(
        x, gaps_as_whole(f) if np.ndim(f) == 4 and np.asarray(f).strides[3] == np.asarray(f).itemsize else f, b, **o
    ),
)
report(
    "pytorch/pytorch 1246",
    "every second weight of larger filters: read as if whole",
    correlate=lambda x, f, b, **o: reference.correlate(x, gaps_as_whole(f), b, **o),
)


# What is kept from call to call.


def plans(key, kept):
    """A plan for each key that keeps arguments of the first call with it."""
    memory = {}

    def correlate(x, f, b, **o):
        mine = memory.setdefault(key(x, f, b, o), (np.array(f), b if b is None else np.array(b), o))
        return reference.correlate(
            x, *(mine[0] if "f" in kept else f, mine[1] if "b" in kept else b), **(mine[2] if "o" in kept else o)
        )

    return correlate


report(
    "tensorflow/tfjs 2507",
    "plans are kept by the shapes, and bias and what follows by none",
    correlate=plans(lambda x, f, b, o: (np.shape(x), np.shape(f), b is None, str(o)), "b"),
)
report(
    "uxlfoundation/oneDNN 1113",
    "filters are packed once for each shape: later ones are not read",
    correlate=plans(lambda x, f, b, o: (np.shape(x), np.shape(f), str(o)), "f"),
)
report(
    "microsoft/onnxruntime 21311",
    "plans are kept by the shape of the maps alone: pads and steps are those of the first call",
    correlate=plans(lambda x, f, b, o: (np.shape(x), np.shape(f)), "o"),
)


def captured():
    """The third call of a shape repeats what was captured in the second."""
    seen = {}

    def relu(x, *, leak):
        calls = seen.setdefault((np.shape(x), leak), [])
        y = reference.relu(x, leak=leak)
        calls.append(y.copy())
        return y if len(calls) < 3 else calls[1].copy()

    return relu


def reused():
    """The memory of an answer is used again for the next one of that size, whatever its shape."""
    memory = {}

    def max_pool(x, **o):
        y = reference.max_pool(x, **o)
        mine = memory.setdefault(y.size, np.empty(y.size))
        mine[:] = y.ravel()
        return mine.reshape(y.shape)

    return max_pool


report(
    "tinygrad/tinygrad 16191", "captured once and replayed: the third run gives what the second gave", relu=captured()
)
report("iree-org/iree 12161", "an allocator hands out memory of answers that are still held", max_pool=reused())


def shared_by_threads(operator, key):
    """What a call needs lies in memory that all calls share; one that is under way sees what the next one writes."""
    memory = {}

    def run(*arrays, **options):
        memory["at"] = mine = key(*arrays)
        y = getattr(reference, operator)(*arrays, **options)
        time.sleep(0)
        return y + (memory["at"] != mine)

    return {operator: run, "threads": True}


report(
    "pytorch/pytorch 84602",
    "threads with maps of different sizes share a buffer of addresses",
    **shared_by_threads("correlate", lambda x, *_: np.shape(x)),
)
report(
    "FluxML/NNlib.jl 158",
    "threads share the memory in which a convolution works",
    **shared_by_threads("correlate", lambda x, *_: threading.get_ident()),
)


# Groups and networks.


def grouped(operator, wrong):
    def run(x, f, *b, groups=1, **o):
        f = wrong(np.asarray(f), groups)
        parts = [
            getattr(reference, operator)(
                np.asarray(x)[:, rows], f[outs], *(None if a is None else np.asarray(a)[outs] for a in b), **o
            )
            for rows, outs in zip(
                np.split(np.arange(np.shape(x)[1]), groups), np.split(np.arange(len(f)), groups), strict=True
            )
        ]
        return np.concatenate(parts, 1)

    return {operator: run, "groups": True}


def correlate_in_groups(x, f, b, *, groups=1, **o):
    return grouped("correlate", lambda f, g: f)["correlate"](x, f, b, groups=groups, **o)


def substitute_in_groups(z, f, *, groups=1, **o):
    return grouped("substitute", lambda f, g: f)["substitute"](z, f, groups=groups, **o)


report(
    "pytorch/pytorch 60460",
    "a filter for each channel, 3×3: as many filters as channels are taken for granted",
    groups=True,
    substitute=substitute_in_groups,
    correlate=lambda x, f, b, *, groups=1, **o: correlate_in_groups(
        x,
        f[[k % groups for k in range(len(f))]] if groups > 1 and np.shape(f)[1:] == (1, 3, 3) else f,
        b,
        groups=groups,
        **o,
    ),
)
report(
    "apache/tvm 10223",
    "transposed convolutions in groups: the groups of filters in another order",
    groups=True,
    correlate=correlate_in_groups,
    substitute=lambda z, f, *, groups=1, **o: substitute_in_groups(
        z,
        np.asarray(f).reshape(-1, groups, *np.shape(f)[1:]).swapaxes(0, 1).reshape(np.shape(f)) if groups > 1 else f,
        groups=groups,
        **o,
    ),
)


def undilated(net, layer, k, *, unpool):
    layers = [each.replace(dilation=(1, 1)) if each.kind == "Conv" else each for each in net.layers]
    return decoding.decode_filter(decoding.Network(layers, inputs=net.inputs), layer, k, unpool=unpool)


report("deeplearning4j/deeplearning4j 8320", "dilation is left out", decode_filter=undilated)


# Second search. Sizes and pairs.


def is_plain_3x3(f, o):
    return is_window(f, o, (3, 3), (1, 1))


def last_cell(value):
    def how(y, x, f, o):
        y.reshape(-1)[-1] = value
        return y

    return how


report(
    "tenstorrent/tt-metal 14260",
    "3×3 maxima in steps of 1 with a pad, 32 channels: the last cell is whatever was in memory",
    **spoilt(
        "max_pool",
        lambda x, f, o: is_plain_3x3(f, o) and any(o["pad"]) and x.shape[1] >= 32,
        last_cell(np.inf),
    ),
)
report(
    "tenstorrent/tt-metal 15731",
    "maxima of over 32 channels that are no multiple of 32",
    **spoilt("max_pool", lambda x, f, o: x.shape[1] > 32 and x.shape[1] % 32, zero(slice(None), slice(32, None))),
)
report(
    "ARM-software/ComputeLibrary 1103",
    "3×3 windows by Winograd's algorithm, 512 filters",
    **spoilt("correlate", lambda x, f, o: is_plain_3x3(f, o) and len(f) >= 512, rolled(1)),
)
report(
    "adam-dziedzic/winograd 1",
    "Winograd's tiles of 4×4 go on by 2: wrong where maps have more than 6 columns",
    **spoilt(
        "correlate",
        lambda x, f, o: is_plain_3x3(f, o) and x.shape[3] + sum(o["pad"][2:]) > 6,
        lambda y, x, f, o: np.concatenate([y[..., :4], np.roll(y, 2, 3)[..., 4:]], 3),
    ),
)
report(
    "ml-explore/mlx 4102",
    "batches, 3×3 windows, channels and filters multiples of 32 and 256 together: zeros",
    **spoilt(
        "correlate",
        lambda x, f, o: (
            is_plain_3x3(f, o) and len(x) > 1 and not (len(f) % 32 or f.shape[1] % 32) and sum(f.shape[:2]) >= 256
        ),
        zero(),
    ),
)
report(
    "openvinotoolkit/openvino 33681",
    "3×3 windows by Winograd's algorithm, with pads",
    **spoilt(
        "correlate", lambda x, f, o: is_plain_3x3(f, o) and any(o["pad"]) and not f.shape[1] % 8, zero(Ellipsis, -1)
    ),
)
report(
    "onnx/onnx-mlir 1517",
    "1×1 windows of two channels or more: fewer digits",
    **spoilt("correlate", lambda x, f, o: f.shape[1] > 1 and f.shape[2:] == (1, 1), lambda y, x, f, o: rounded(y, 9)),
)
report(
    "facebookresearch/TensorComprehensions 179",
    "windows of over 32 columns",
    **spoilt("correlate", lambda x, f, o: f.shape[3] > 32, lambda y, x, f, o: 1.5 * y),
)
report(
    "NVIDIA/TensorRT 2021",
    "softmax where images times channels are 65,536 or more",
    **spoilt("softmax", lambda x, f, o: len(x) * x.shape[1] >= 65536, zero()),
)
report(
    "pytorch/pytorch 179931",
    "means of whole maps whose cells are no multiple of 16: all images but the first are read from elsewhere",
    **spoilt(
        "avg_pool",
        lambda x, f, o: o["size"] == x.shape[2:] and x[0, 0].size > 512 and x[0, 0].size % 16,
        lambda y, x, f, o: np.concatenate([y[:1], y[1:] + x[1:, :, :1, :1]]),
    ),
)
report(
    "Tencent/ncnn 1283",
    "3×3 windows in steps of 2: one pixel before the tail, where it is a tail of 1 after blocks of 8",
    **spoilt(
        "correlate",
        lambda x, f, o: is_window(f, o, (3, 3), (2, 2)),
        lambda y, x, f, o: (
            y + (y[0, 0].size % 8 == 1) * (np.arange(y[0, 0].size) == y[0, 0].size - 9).reshape(y[0, 0].shape)
        ),
    ),
)
report(
    "Tencent/ncnn 220",
    "2×2 maxima in steps of 2, odd columns: each row begins where the last one stopped",
    **spoilt(
        "max_pool",
        lambda x, f, o: is_window(f, o, (2, 2), (2, 2)) and x.shape[3] % 2,
        lambda y, x, f, o: np.stack([np.roll(y[:, :, i], -i, -1) for i in range(y.shape[2])], 2),
    ),
)
report(
    "tensorflow/tflite-micro 3584",
    "pools take every batch for 1 image",
    **spoilt("avg_pool", lambda x, f, o: len(x) > 1, zero(slice(1, None))),
)
report(
    "Theano/Theano 3971",
    "from 9,000 images on, those after number 8,192",
    **spoilt("correlate", lambda x, f, o: len(x) >= 9000, zero(slice(8192, None))),
)
report(
    "DTolm/VkFFT 66",
    "transforms of over 2,048 cells are not padded: ends meet",
    **spoilt(
        "correlate",
        lambda x, f, o: x.shape[3] > 2048 and f.shape[3] > 1,
        lambda y, x, f, o: np.concatenate([y[..., :-1], y[..., :1]], 3),
    ),
)
report(
    "tinygrad/tinygrad 81",
    "means side by side that do not fill the map: the divisor of the last one",
    **spoilt(
        "avg_pool",
        lambda x, f, o: x.shape[3] % o["size"][1] and o["size"] == o["stride"] and not any(o["pad"]),
        lambda y, x, f, o: y * np.where(np.arange(y.shape[3]) == y.shape[3] - 1, 0.5, 1),
    ),
)


# Second search. Pads and steps.


def cropped(operator, when, changed):
    """The answer to other options, cut to the right size or filled up with zeros, where ``when(window, options)`` holds."""

    def run(x, *others, **o):
        y = np.asarray(getattr(reference, operator)(x, *others, **o))
        window = o.get("size") or np.shape(others[0])[2:]
        if not when(np.shape(x), window, o):
            return y
        z = np.asarray(getattr(reference, operator)(x, *others, **{**o, **changed(np.shape(x), o)}))
        found = np.zeros(y.shape)
        rows, columns = (min(z.shape[a], y.shape[a]) for a in (2, 3))
        found[:, :, :rows, :columns] = z[:, :, :rows, :columns]
        return found

    return {operator: run}


def no_steps(x, o):
    return {"stride": (1, 1)}


report(
    "modular/modular 6712",
    "pads of two columns or more on both sides, channels last in memory",
    **spoilt(
        "correlate",
        lambda x, f, o: min(o["pad"][2:]) >= 2 and in_order_of_memory(x) is not x,
        lambda y, x, f, o: y + (np.arange(y.shape[3]) == 0),
    ),
)
report(
    "PaddlePaddle/Paddle 76006",
    "windows of one column, hardly more columns than pads: what lies beyond the map",
    **spoilt(
        "correlate",
        lambda x, f, o: f.shape[3] == 1 and o["stride"] == (1, 1) and x.shape[3] < 2 and max(o["pad"][2:]) > 0,
        last_cell(77),
    ),
)
report(
    "Maratyszcza/NNPACK 16",
    "the step of the rows stands for that of the columns",
    **cropped(
        "max_pool", lambda x, z, o: o["stride"][0] < o["stride"][1], lambda x, o: {"stride": o["stride"][:1] * 2}
    ),
)
report(
    "tiny-dnn/tiny-dnn 370",
    "windows above 8 go to a transform that has no steps",
    **cropped("correlate", lambda x, z, o: max(z) > 8 and max(o["stride"]) > 1, no_steps),
)
report(
    "majianjia/nnom 84",
    "1×1 windows go to a product of matrices that has no steps",
    **cropped("correlate", lambda x, z, o: z == (1, 1) and not any(o["pad"]), no_steps),
)
report(
    "JuliaGPU/CUDA.jl 848",
    "pads are cut to the size of the map",
    **cropped(
        "correlate",
        lambda x, z, o: o["pad"][0] > x[2] or o["pad"][2] > x[3],
        lambda x, o: {"pad": (min(o["pad"][0], x[2]), o["pad"][1], min(o["pad"][2], x[3]), o["pad"][3])},
    ),
)


def rounded_up(x, *, size, stride, pad):
    more = 1 if size == (1, 1) and stride == (2, 2) else 0
    x = np.pad(np.asarray(x, float), ((0, 0), (0, 0), (0, more), (0, more)), constant_values=-np.inf)
    return reference.max_pool(x, size=size, stride=stride, pad=pad)


def next_row(x, f, b, *, stride, pad):
    """Beyond the right edge, in steps, comes the row below."""
    x = np.asarray(x, float)
    if pad[3] and max(stride) > 1 and x.size:
        below = np.concatenate([x[:, :, 1:], np.zeros_like(x[:, :, :1])], 2)
        wide = np.resize(below.transpose(3, 0, 1, 2), (pad[3], *x.shape[:3])).transpose(1, 2, 3, 0)
        x, pad = np.concatenate([x, wide], 3), (*pad[:3], 0)
    return reference.correlate(x, f, b, stride=stride, pad=pad)


def by_phases(z, f, *, stride):
    """Phase i of the steps has ceil((h − i) / step) taps; taken for ceil(h / step), and what is left of h in the end."""
    f = np.array(f, float)
    for axis, step in zip((2, 3), stride, strict=True):
        side = f.shape[axis]
        most = -(-side // step)
        for phase in range(min(step, side)):
            taps = most if (phase + 1) * most <= side else side % most
            f[(*(slice(None),) * axis, slice(phase + taps * step, None, step))] = 0
    return reference.substitute(z, f, stride=stride)


def without_seam(z, f, *, stride):
    """In steps along both axes, by tiles of 32 columns: the last copies before a tile do not reach into it."""
    y = np.array(reference.substitute(z, f, stride=stride))
    if min(stride) > 1 and y.shape[3] > 32:
        y[..., 32] = 0
    return y


report("pytorch/pytorch 94775", "1×1 maxima in steps of 2: sizes are rounded up", max_pool=rounded_up)
report("pytorch/torchdynamo 605", "pads in steps: beyond the edge comes the next row", correlate=next_row)
report("ROCm/MIOpen 575", "backward data in steps of 3 and 5: some taps are left out", substitute=by_phases)
report("apache/mxnet 14310", "backward data in steps, by transforms of tiles: their seams", substitute=without_seam)


# Second search. Numbers.

report(
    "uxlfoundation/oneDNN 1677",
    "maxima begin with the smallest positive number",
    max_pool=lambda x, **o: np.maximum(reference.max_pool(x, **o), 2.0**-126),
)
report(
    "pytorch/pytorch 109586",
    "maxima begin with 0 where channels are last in memory",
    **spoilt("max_pool", lambda x, f, o: in_order_of_memory(x) is not x, lambda y, x, f, o: np.maximum(y, 0)),
)
report(
    "tenstorrent/tt-metal 24487",
    "means of over 32 cells pass through bfloat16",
    **spoilt("avg_pool", lambda x, f, o: np.prod(o["size"]) > 32, lambda y, x, f, o: rounded(y, 8)),
)


# Second search. Unpooling.


def by_ratio(n, z, s, cells):
    """Rows picked by the ratio of the sizes, which is the step where windows tile; given as rows of the right answer."""
    return np.minimum(((np.arange(n) + 0.5) * cells / n).astype(int) * s + (z - 1) // 2, n - 1)


def linear_at_edges(maps, *, size, stride, mode):
    y = np.array(reference.unpool(maps, size=size, stride=stride, mode=mode))
    if mode == "bicubic" and y.size:
        linear = reference.unpool(maps, size=size, stride=stride, mode="bilinear")
        y[:, :, 0], y[:, :, -1] = linear[:, :, 0], linear[:, :, -1]
    return y


def zeros_beyond(maps, *, size, stride, mode):
    y = reference.unpool(maps, size=size, stride=stride, mode=mode)
    if mode != "bilinear":
        return y
    wide = np.pad(np.asarray(maps, float), ((0, 0), (0, 0), (1, 1), (1, 1)))
    wide = reference.unpool(wide, size=size, stride=stride, mode=mode)
    return wide[:, :, stride[0] : stride[0] + y.shape[2], stride[1] : stride[1] + y.shape[3]]


report(
    "PistonDevelopers/resize 30",
    "nearest from corner to corner",
    unpool=unpooled(
        lambda n, z, s, cells: np.round(np.arange(n) * (cells - 1) / max(n - 1, 1)).astype(int) * s + (z - 1) // 2
    ),
)
report("robertknight/rten 1418", "nearest: the ratio of the sizes in place of the step", unpool=unpooled(by_ratio))
report(
    "pytorch/pytorch 184848",
    "nearest: twice as many rows are made by halving their number, whatever the step",
    unpool=unpooled(
        lambda n, z, s, cells: np.arange(n) // 2 * s + (z - 1) // 2 if n == 2 * cells and s == 1 else np.arange(n)
    ),
)
report("locationtech/geotrellis 1708", "bicubic falls back to bilinear at the edges", unpool=linear_at_edges)
report("brendan-duncan/image 320", "bilinear: beyond the edge are zeros", unpool=zeros_beyond)


# Second search. Memory, and what is kept.


def offset_twice(f):
    """A 1×1 bank cut out of a larger one is copied, and the copy read from where the bank began in the larger one."""
    f = np.asarray(f)
    if f.ndim != 4 or f.shape[2:] != (1, 1) or f.flags.c_contiguous or not f.size or not isinstance(f.base, np.ndarray):
        return f
    begin = abs(f.__array_interface__["data"][0] - f.base.__array_interface__["data"][0]) // f.itemsize
    return np.concatenate([f.ravel(), np.zeros(begin)])[begin:].reshape(f.shape)


def as_long_as_the_first():
    lengths = {}

    def relu(x, *, leak):
        y = np.array(reference.relu(x, leak=leak))
        y.reshape(-1)[lengths.setdefault(np.asarray(x).dtype.str, y.size) :] = 0
        return y

    return relu


def as_many_as_at_first():
    images = {}

    def avg_pool(x, **o):
        x = np.asarray(x, float)
        first = images.setdefault((x.shape[1:], str(o)), len(x))
        return reference.avg_pool(x[np.arange(len(x)) % first] if first else x, **o)

    return avg_pool


def by_samples():
    packed = {}

    def correlate(x, f, b, **o):
        f = np.asarray(f)
        if f.size:
            key = f.__array_interface__["data"][0], f.shape, f.strides, f.dtype.str, f.flat[0], f.flat[-1]
            f = packed.setdefault(key, f.copy())
        return reference.correlate(x, f, b, **o)

    return correlate


def chosen_at_first():
    batches = {}

    def correlate(x, f, b, **o):
        y = np.array(reference.correlate(x, f, b, **o))
        if len(x) < batches.setdefault((np.shape(x)[1:], np.shape(f), str(o)), len(x)):
            y[-1:] = 0
        return y

    return correlate


report(
    "huggingface/candle 3736",
    "a 1×1 bank cut out of a larger one: its offset counts twice",
    correlate=lambda x, f, b, **o: reference.correlate(x, offset_twice(f), b, **o),
)
report(
    "ROCm/FlyDSL 317",
    "kernels are kept with the length of the first array: the rest is zeros",
    relu=as_long_as_the_first(),
)
report(
    "tenstorrent/tt-metal 54138", "a larger batch than at first: its first images again", avg_pool=as_many_as_at_first()
)
report(
    "pytorch/pytorch 87197", "packed filters are kept by address, shape, first and last weight", correlate=by_samples()
)
report("PaddlePaddle/Paddle 107", "a smaller batch than at first: its last image", correlate=chosen_at_first())


# Second search. Groups.


def answered_in_groups(when, how):
    def correlate(x, f, b, *, groups=1, **o):
        y = np.array(reference.correlate(x, f, b, groups=groups, **o))
        return how(y) if groups > 1 and when(np.shape(x), np.shape(f), o) else y

    return {"correlate": correlate, "substitute": substitute_in_groups, "groups": True}


report(
    "tenstorrent/tt-mlir 9276",
    "a filter for each channel, maps of one row",
    **answered_in_groups(lambda x, f, o: f[1] == 1 and x[2] == 1, lambda y: 1.25 * y),
)
report(
    "iree-org/iree 23786",
    "groups of several channels, in steps",
    **answered_in_groups(lambda x, f, o: f[1] > 1 and max(o["stride"]) > 1, lambda y: y + 1),
)


# Third search. Correlations.


def in_any_groups(wrong, operator="correlate"):
    """Both operators in groups, and what ``wrong(answer, first array, filters, options)`` makes of the answers of one."""

    def run(x, f, *b, groups=1, **o):
        y = np.array(getattr(reference, operator)(x, f, *b, groups=groups, **o))
        return wrong(y, np.asarray(x), np.asarray(f), {**o, "groups": groups}) if y.size else y

    other = {"correlate": correlate_in_groups, "substitute": substitute_in_groups}
    return {**other, operator: run, "groups": True}


def taps_of_folds(f, stride):
    """Filters folded into steps: ``h % s`` rows are added before they are cut into pieces of s, where ``-h % s`` should be."""
    f = np.array(f, float)
    for axis, step in zip((2, 3), stride, strict=True):
        side = f.shape[axis]
        if side >= step > 1:
            f[(*(slice(None),) * axis, slice((side + side % step) // step * step, None))] = 0
    return f


def accumulated():
    """The answer is added to what the last call of these shapes left in its place."""
    left = {}

    def correlate(x, f, b, **o):
        y = np.asarray(reference.correlate(x, f, b, **o))
        key = np.shape(x), np.shape(f), str(o)
        left[key] = left.get(key, 0) + y
        return np.array(left[key])

    return correlate


def exchanged(x, f, b, *, stride, pad):
    """The larger of the two is the map, as both would be in a convolution."""
    fits = np.ndim(x) == np.ndim(f) == 4 and not any(pad) and np.shape(x)[1] == np.shape(f)[1]
    if fits and np.shape(x)[2] < np.shape(f)[2] and np.shape(x)[3] < np.shape(f)[3]:
        y = reference.correlate(f, x, None, stride=stride, pad=pad).swapaxes(0, 1)
        return y if b is None else y + np.reshape(b, (-1, 1, 1))
    return reference.correlate(x, f, b, stride=stride, pad=pad)


report(
    "pytorch/pytorch 188335",
    "windows of 256 rows or columns, batches: all images but the first",
    **spoilt(
        "correlate",
        lambda x, f, o: len(x) > 1 and max(f.shape[2:]) >= 256,
        lambda y, x, f, o: np.concatenate([y[:1], y[1:] + 1]),
    ),
)
report(
    "NVIDIA/TensorRT 4678",
    "windows of 14×14 in steps of 14",
    **spoilt("correlate", lambda x, f, o: is_window(f, o, (14, 14), (14, 14)), lambda y, x, f, o: y + 1),
)
report(
    "tenstorrent/tt-metal 30263",
    "windows folded into their steps: 7×7 in steps of 3 lose the last row and column",
    correlate=lambda x, f, b, **o: reference.correlate(
        x, taps_of_folds(f, o["stride"]) if np.ndim(f) == 4 else f, b, **o
    ),
)
report(
    "mit-han-lab/tinyengine 95",
    "3×3 windows in steps of 2, 3 channels, a pad: odd maps need it at the end, too",
    **spoilt(
        "correlate",
        lambda x, f, o: (
            x.shape[1] == 3 and is_window(f, o, (3, 3), (2, 2)) and set(o["pad"]) == {1} and x.shape[3] % 2 == 1
        ),
        lambda y, x, f, o: np.concatenate([y[..., :-1], y[..., -1:] + 1], 3),
    ),
)
report(
    "scipy/scipy 14369",
    "maps smaller than the window along both axes are taken for the window, and not refused",
    correlate=exchanged,
)
report("ROCm/composable_kernel 95", "the second run adds to the answer of the first", correlate=accumulated())


# Third search. Groups.

report(
    "Tencent/ncnn 315",
    "a filter for each channel, 3×3 in dilation 2: zeros come out",
    **in_any_groups(
        lambda y, x, f, o: y * (not (o["groups"] == x.shape[1] == len(f) > 1 and f.shape[2:] == (5, 5) and dilated(f)))
    ),
)
report(
    "openxla/xla 49123",
    "1×1 windows in two groups of two channels: the last map",
    **in_any_groups(
        lambda y, x, f, o: (
            y + (o["groups"] == 2 and f.shape[1:] == (2, 1, 1)) * (np.arange(len(f)) == len(f) - 1).reshape(-1, 1, 1)
        )
    ),
)
report(
    "modular/modular 6129",
    "groups, and windows of over 64 columns",
    **in_any_groups(lambda y, x, f, o: y + (o["groups"] > 1 and f.shape[3] > 64)),
)
report(
    "ml-explore/mlx 3800",
    "backward data in groups, in steps",
    **in_any_groups(lambda y, x, f, o: y + (o["groups"] > 1 and max(o["stride"]) > 1), "substitute"),
)
report(
    "uxlfoundation/oneDNN 352",
    "transposed convolutions in groups: the channels that come out take turns among the groups",
    **in_any_groups(
        lambda y, x, f, o: y.reshape(len(y), o["groups"], -1, *y.shape[2:]).swapaxes(1, 2).reshape(y.shape),
        "substitute",
    ),
)
report(
    "VeriSilicon/TIM-VX 277",
    "transposed convolutions with a filter for each channel: all channels of one map are its first",
    **in_any_groups(
        lambda y, x, f, o: (
            np.repeat(y[:, :: f.shape[1]], f.shape[1], 1) if o["groups"] == len(f) > 1 and f.shape[1] > 1 else y
        ),
        "substitute",
    ),
)


# Third search. Backward data.


def first_phase(y, x, f, o):
    """Of the products that the steps divide the answer into, the first alone is made."""
    kept = np.zeros(y.shape)
    kept[:, :, :: o["stride"][0], :: o["stride"][1]] = 1
    return y * kept


def tables():
    """Where the addends of each pixel lie is worked out anew when the maps' sizes change, though not when the step does."""
    last = {}

    def substitute(z, f, *, stride):
        y = np.array(reference.substitute(z, f, stride=stride))
        if last.get("maps") != np.shape(z)[2:]:
            last.update(maps=np.shape(z)[2:], rows=y.shape[2], columns=y.shape[3])
        y[:, :, last["rows"] :] = 0
        y[:, :, :, last["columns"] :] = 0
        return y

    return substitute


report(
    "ROCm/rocm-libraries 7732",
    "backward data in steps, one group: pixels that no first cell reaches are zeros",
    **spoilt("substitute", lambda x, f, o: max(o["stride"]) > 1, first_phase),
)
report(
    "google/XNNPACK 10791",
    "tables are made anew where the maps' sizes change, not where those of the answer do",
    substitute=tables(),
)


# Third search. Pools.


def edges_above_zero(y, x, f, o):
    """Where a window reaches beyond the map, the mean is at least 0."""
    ones = np.ones((1, 1, *x.shape[2:]))
    inside = reference.correlate(ones, np.ones((1, 1, *o["size"])), None, stride=o["stride"], pad=o["pad"])
    return np.where(inside < np.prod(o["size"]), np.maximum(y, 0), y)


def first_cell_unseen(y, x, f, o):
    """The windows of a block but the first do not see the first column."""
    rest = np.array(x, float)
    rest[..., 0] = -np.inf
    z = reference.max_pool(rest, **o)
    return np.where(np.arange(y.shape[3]) % 8 > 0, z, y)


report(
    "tensorflow/tensorflow 12293",
    "means of 7×7 and more cells in steps of 1, large maps: zeros",
    **spoilt(
        "avg_pool",
        lambda x, f, o: o["stride"] == (1, 1) and min(o["size"]) >= 7 and x.shape[2] * x.shape[3] > 1024,
        lambda y, x, f, o: 0 * y,
    ),
)
report(
    "apple/coremltools 1901",
    "means of 7×7 cells in steps of 4 with pads of 3",
    **spoilt(
        "avg_pool",
        lambda x, f, o: is_window(f, o, (7, 7), (4, 4)) and o["pad"] == (3, 3, 3, 3),
        lambda y, x, f, o: 1.25 * y,
    ),
)
report(
    "tenstorrent/tt-metal 53267",
    "means of whole maps, 2,048 channels, columns no multiple of 32",
    **spoilt(
        "avg_pool",
        lambda x, f, o: o["size"] == x.shape[2:] and x.shape[3] % 32 and x.shape[1] >= 2048,
        rolled(1),
    ),
)
report(
    "FluxML/NNlib.jl 229",
    "means at the edges of padded maps are at least 0",
    **spoilt("avg_pool", lambda x, f, o: any(o["pad"]), edges_above_zero),
)
report(
    "AlexeyAB/darknet 5793",
    "5×5 maxima in steps of 1 with pads, by blocks of 8: the second and third do not see the first column",
    **spoilt(
        "max_pool",
        lambda x, f, o: o["stride"] == (1, 1) and o["size"] == (5, 5) and o["pad"][2] > 0 and x.shape[3] > 8,
        first_cell_unseen,
    ),
)
report(
    "tenstorrent/tt-metal 27738",
    "maxima of over 256 channels, over 16 of them beyond a multiple of 32",
    **spoilt(
        "max_pool", lambda x, f, o: x.shape[1] > 256 and x.shape[1] % 32 > 16, zero(slice(None), slice(-16, None))
    ),
)


# Third search. Softmax.


def without_gaps(x):
    """Some channels of larger maps, read as if they were all."""
    x = np.asarray(x)
    packed = x.ndim == 4 and x.size and x[0].flags.c_contiguous and x.strides[0] > x[0].size * x.itemsize
    return as_whole(x) if packed else x


def powers_of_two(x):
    """The exponential without the polynomial between two powers of two, in vectors of over 4 channels."""
    x = np.asarray(x, float)
    if x.shape[1] <= 4 or not x.size:
        return reference.softmax(x)
    e = np.exp2(np.rint((x - x.max(axis=1, keepdims=True)) / np.log(2)))
    return e / e.sum(axis=1, keepdims=True)


def odd_rows(x, f, o):
    c = x.shape[1]
    return 512 < c < 1024 and c % 2 and c % 32 != 31 and x.size > c


report(
    "pytorch/pytorch 147284",
    "double precision, two rows or more of 513, 515, … channels, below 1,024 and not 31 beyond a multiple of 32",
    **spoilt("softmax", odd_rows, lambda y, x, f, o: 1.001 * y),
)
report("Maratyszcza/NNPACK 174", "from some channels on, exponentials are powers of two", softmax=powers_of_two)
report(
    "ml-explore/mlx 657",
    "some channels of larger maps are read as if they were all",
    softmax=lambda x: reference.softmax(without_gaps(x)),
)


# Third search. Unpooling.


def rounded_beyond(maps, *, size, stride, mode):
    """The last row and column lie beyond the map, and are 0, where (n − 1)/(m − 1), times m − 1, rounds up."""
    y = np.array(reference.unpool(maps, size=size, stride=stride, mode=mode))
    for axis in (2, 3):
        n, m = np.shape(maps)[axis], y.shape[axis]
        if mode == "bilinear" and n and m > n and (n - 1) / (m - 1) * (m - 1) > n - 1:
            y[(*(slice(None),) * axis, -1)] = 0
    return y


def by_fixed_point(maps, *, size, stride, mode):
    """The nearest cell by steps of 2⁻¹⁶, where windows tile."""

    def index(n, z, s, cells):
        if z != s:
            return np.arange(n)
        step = ((cells << 16) + n // 2) // n
        found = (step * np.arange(n) + step // 2 - cells % 2) >> 16
        return np.minimum(np.maximum(found, 0), cells - 1) * s + np.arange(n) % s

    return unpooled(index)(maps, size=size, stride=stride, mode=mode)


def ends_meet(y, x, f, o):
    """The last rows of every image but the last are blended with zeros."""
    if len(y) > 1 and o["size"][0] > 1:
        y[:-1, :, -1] *= 0.75
    return y


report(
    "scipy/scipy 6713",
    "bilinear: the place of the last row and column is rounded to beyond the map",
    unpool=rounded_beyond,
)
report(
    "opencv/opencv 27191",
    "nearest by a step of 16 binary digits: far from the beginning, the pixel beside",
    unpool=by_fixed_point,
)
report(
    "pytorch/pytorch 49159",
    "bicubic to the size that the maps have: only the first image is copied",
    **spoilt(
        "unpool", lambda x, f, o: o["mode"] == "bicubic" and o["size"] == o["stride"] == (1, 1), zero(slice(1, None))
    ),
)
report(
    "microsoft/onnxruntime 12019",
    "bilinear, one column that stays one: the second half of the answer",
    **spoilt(
        "unpool",
        lambda x, f, o: o["mode"] == "bilinear" and x.shape[3] == 1 == o["size"][1] and o["size"][0] > 1,
        lambda y, x, f, o: y + (np.arange(y.size) >= y.size // 2).reshape(y.shape),
    ),
)
report(
    "microsoft/onnxruntime 5151",
    "nearest, other than by 2: each image from the next one",
    **spoilt(
        "unpool",
        lambda x, f, o: o["mode"] == "nearest" and o["size"] != (2, 2),
        lambda y, x, f, o: np.concatenate([y[1:], y[-1:]]),
    ),
)
report(
    "tenstorrent/tt-metal 24621",
    "bilinear, batches: images meet at their edges",
    **spoilt("unpool", lambda x, f, o: o["mode"] == "bilinear", ends_meet),
)
report(
    "tenstorrent/tt-metal 21950",
    "bilinear, over 256 channels",
    **spoilt(
        "unpool", lambda x, f, o: o["mode"] == "bilinear" and x.shape[1] > 256, zero(slice(None), slice(256, None))
    ),
)


# Fourth search.


def truncated(x, f, b, *, stride, pad):
    """The size by a division that cuts off towards 0, so that a window that does not fit by less than a step has one place."""
    if np.ndim(x) == 4 and np.ndim(f) == 4 and np.size(x) and min(stride) > 0:
        lacks = [h - n - sum(p) for n, h, p in zip(np.shape(x)[2:], np.shape(f)[2:], (pad[:2], pad[2:]), strict=True)]
        if all(n < s for n, s in zip(lacks, stride, strict=True)):
            more = [max(n, 0) for n in lacks]
            pad = (pad[0], pad[1] + more[0], pad[2], pad[3] + more[1])
    return reference.correlate(x, f, b, stride=stride, pad=pad)


def as_one_for_all(x, f, b, **o):
    """A bias of one number is that of all maps."""
    return reference.correlate(x, f, np.repeat(b, len(f)) if np.shape(b) == (1,) and np.ndim(f) == 4 else b, **o)


def biased_by_image(x, f, b, **o):
    y = reference.correlate(x, f, b, **o)
    if b is None or not len(b):
        return y
    b = np.asarray(b, float)
    return y + (b[np.arange(len(y)) % len(b)][:, None] - b)[:, :, None, None]


def pointers():
    """Where the cells lie is looked up again if the sizes of the maps change, though not if they lie elsewhere."""
    last = {}

    def correlate(x, f, b, **o):
        x = np.asarray(x)
        key = x.shape, np.shape(f), str(o)
        if last.get("key") != key:
            last.update(key=key, at=x)
        return reference.correlate(last["at"], f, b, **o)

    return correlate


def uncleared():
    """The answer is added to what lies in the memory of the last one of that size."""
    memory = {}

    def wrong(y, x, f, o):
        if o["groups"] > 1 and f.shape[1] == 1 and len(f) > o["groups"]:
            y = y + memory.get(y.shape, 0)
            memory[y.shape] = y
        return np.array(y)

    return wrong


def largest_from_zero(x):
    """Lanes that hold no channel take part in the search for the largest, with 0."""
    x = np.asarray(x, float)
    m = x.max(axis=1, keepdims=True)
    with np.errstate(all="ignore"):
        e = np.exp(x - np.where(x.shape[1] < 32, np.maximum(m, 0), m))
        return e / e.sum(axis=1, keepdims=True)


def channels_last_inside(y, x, f, o):
    return y.transpose(0, 2, 3, 1).reshape(y.shape) if x.size >= 4096 else y


def clipped_between(maps, *, size, stride, mode):
    """After the columns, and before the rows, what lies beyond the smallest and the largest number of the maps is cut off."""
    maps = np.asarray(maps, float)
    if mode != "bicubic" or not maps.size:
        return reference.unpool(maps, size=size, stride=stride, mode=mode)
    wide = reference.unpool(maps, size=(1, size[1]), stride=(1, stride[1]), mode=mode)
    wide = np.clip(wide, maps.min(), maps.max())
    return reference.unpool(wide, size=(size[0], 1), stride=(stride[0], 1), mode=mode)


report(
    "pytorch/pytorch 141221",
    "double precision, dilation 2, 4 filters or more, maps of more than 7×7: nine times as much",
    **spoilt(
        "correlate",
        lambda x, f, o: x.dtype == float and dilated(f) and len(f) >= 4 and min(x.shape[2:]) > 7,
        lambda y, x, f, o: 9 * y,
    ),
)
report(
    "pytorch/pytorch 9592",
    "in steps, windows that are larger than the map by less than a step are not refused",
    correlate=truncated,
)
report("kraiskil/onnx2c 7", "the bias is looked up by the image", correlate=biased_by_image)
report("sonots/cumo 443", "a bias of one number is not refused, but added to all maps", correlate=as_one_for_all)
report(
    "ARM-software/ComputeLibrary 78",
    "even windows: the last column",
    **spoilt(
        "correlate",
        lambda x, f, o: f.shape[3] % 2 == 0,
        lambda y, x, f, o: y + (np.arange(y.shape[3]) == y.shape[3] - 1),
    ),
)
report(
    "ARM-software/CMSIS_5 1168",
    "columns in pairs: the last of an odd number is left out",
    **spoilt(
        "correlate",
        lambda x, f, o: x.shape[1] % 2 == 0 == len(f) % 2,
        lambda y, x, f, o: y * (np.arange(y.shape[3]) < y.shape[3] // 2 * 2),
    ),
)
report(
    "pytorch/pytorch 52463",
    "addresses are kept while the sizes stay: the maps of an earlier call",
    correlate=pointers(),
)
report(
    "ROCm/rocm-libraries 4998",
    "3×3 windows by Winograd's algorithm in groups: nothing but the first group",
    **in_any_groups(
        lambda y, x, f, o: (
            y * (np.arange(len(f)) < len(f) // o["groups"]).reshape(-1, 1, 1) if is_plain_3x3(f, o) else y
        )
    ),
)
report(
    "FluxML/NNlib.jl 147",
    "two filters and more for each channel: memory that is not cleared",
    **in_any_groups(uncleared()),
)
report(
    "tenstorrent/tt-metal 14249",
    "maxima of more than 4×4 cells, 512 channels",
    **spoilt("max_pool", lambda x, f, o: np.prod(o["size"]) > 16 and x.shape[1] >= 512, last_cell(77)),
)
report(
    "intel/torch-xpu-ops 2766",
    "maxima of large maps come out with channels last, and are read in the usual order",
    **spoilt("max_pool", plain, channels_last_inside),
)
report(
    "fastmachinelearning/hls4ml 314",
    "means: sums beyond ±64 are cut off",
    **spoilt("avg_pool", plain, lambda y, x, f, o: np.clip(y, -64 / np.prod(o["size"]), 64 / np.prod(o["size"]))),
)
report("m0at/rvllm 1", "under 32 channels, exponentials are shifted by 0 at least", softmax=largest_from_zero)
report(
    "CVCUDA/CV-CUDA 44",
    "bicubic in steps of over 4 columns",
    **spoilt("unpool", lambda x, f, o: o["mode"] == "bicubic" and o["stride"][1] > 4, rolled(3)),
)
report("python-pillow/Pillow 7184", "bicubic: what overshoots along the columns is cut off", unpool=clipped_between)


# Sixth search: small corners of fast paths, three and more conditions at a time.


def anew(operator, when, how):
    """The operator with other maps, filters, bias or options, which `how` makes, where ``when(x, filters, options)`` holds."""

    def run(x, f, *b, **options):
        x, f = np.asarray(x), np.asarray(f)
        changed = {"x": x, "f": f, "options": options}
        if x.size and f.size and when(x, f, options):
            changed |= how(x, f, options)
        return getattr(reference, operator)(changed["x"], changed["f"], *b, **changed["options"])

    return {operator: run}


def each_channel(when, how):
    """A filter for each channel, spoilt."""

    def condition(x, f, o):
        return o.get("groups", 1) == x.shape[1] > 1 and when(x, f, o)

    return {"groups": True, **spoilt("correlate", condition, how)}


def apart(f, by):
    """Whether 3×3 weights lie so far apart."""
    n = f.shape[3]
    return n == 2 * by + 1 and not f[..., np.arange(n) % by > 0].any()


def second_as_first(x, f, o):
    f = np.array(f)
    f[..., 3] = f[..., 0]
    return {"f": f}


def without_steps(x):
    """Whether no two neighbours in the array are neighbours in memory."""
    return all(abs(s) != x.itemsize for s, n in zip(x.strides, x.shape, strict=True) if n > 1)


def as_dense(f):
    begun = np.lib.stride_tricks.as_strided(f, (f.size,), (f.itemsize,)) if min(f.strides) >= 0 else f.ravel()[::-1]
    return np.array(begun, float).reshape(f.shape)


def of_even_channels(x, f, b, **o):
    k, c, h, w = np.shape(f)
    if c % 2:
        flat = np.append(np.transpose(f, (0, 2, 3, 1)).ravel(), np.zeros(k * h * w))
        f = flat.reshape(k, h, w, c + 1)[..., :c].transpose(0, 3, 1, 2)
    return reference.correlate(x, f, b, **o)


def are_singles(x, f):
    return x.dtype == f.dtype == np.float32


def rest_of_64(y, x, f, o):
    flat = y.reshape(*y.shape[:2], -1)
    flat[..., flat.shape[2] // 64 * 64 :] = 0
    return flat.reshape(y.shape)


def eights(y, x, f, o):
    flat, n = y.reshape(*y.shape[:2], -1), y[0, 0].size // 8 * 8
    flat[:, 1, :n] = flat[:, 0, :n]
    return flat.reshape(y.shape)


def first_of_the_bias(x, f, b, **o):
    if b is not None and np.asarray(b).strides == (0,):
        b = np.append(np.asarray(b)[:1], np.zeros(len(b) - 1))
    return reference.correlate(x, f, b, **o)


def nearest_as_packed(maps, **o):
    m = np.asarray(maps)
    if o["mode"] == "nearest" and o["size"] == o["stride"] == (2, 2) and m.transpose(0, 2, 3, 1).flags.c_contiguous:
        m = m.transpose(0, 2, 3, 1).reshape(m.shape)
    return reference.unpool(m, **o)


def shifted_by(largest):
    def softmax(x):
        x = np.asarray(x, float)
        with np.errstate(all="ignore"):
            e = np.exp(x - largest(x))
            return e / e.sum(1, keepdims=True)

    return softmax


def divisors_kept():
    kept = {}

    def avg_pool(x, *, size, stride, pad):
        y = reference.avg_pool(x, size=size, stride=stride, pad=pad)
        top, bottom, left, right = pad
        inside = np.pad(np.ones((1, 1, *np.shape(x)[2:])), ((0, 0), (0, 0), (top, bottom), (left, right)))
        share = reference.avg_pool(inside, size=size, stride=stride, pad=(0, 0, 0, 0))
        return y * (share / kept.setdefault((np.shape(x), size, stride, y.shape), share))

    return avg_pool


def after_another_pool():
    state = {"other": False}

    def max_pool(x, **o):
        state["other"] = True
        return reference.max_pool(x, **o)

    def avg_pool(x, **o):
        y, whole = reference.avg_pool(x, **o), tuple(o["size"]) == np.shape(x)[2:] and not any(o["pad"])
        y, state["other"] = (np.roll(y, 1, 1) if whole and state["other"] else y), not whole
        return y

    return {"max_pool": max_pool, "avg_pool": avg_pool}


def last_tile(y, x, f, o):
    down, across = -(-y.shape[2] // 4), -(-y.shape[3] // 4)
    if down * across % 8 > 4:
        y[:, :, 4 * down - 4 :, 4 * across - 4 :] = 0


def above_and_left(x, f, o):
    return {"options": {**o, "pad": (o["pad"][1], 0, o["pad"][3], 0)}}


report(
    "foss-xtensa/nnlib-hifi4 15", "odd channels: filters are read as of one channel more", correlate=of_even_channels
)
report(
    "tensorflow/tfjs 6775",
    "a filter for each channel, 3×3: 816 channels and more do not fit in a texture",
    **each_channel(lambda x, f, o: f.shape[2:] == (3, 3) and len(f) >= 816, rolled(1)),
)
report(
    "tensorflow/tfjs 6662",
    "a filter for each channel, weights 3 apart: the second column is the first",
    groups=True,
    **anew("correlate", lambda x, f, o: o.get("groups", 1) == x.shape[1] > 1 and apart(f, 3), second_as_first),
)
report(
    "tensorflow/tfjs 5378",
    "a filter for each channel, weights 4 apart, pads of 4: the left edge",
    **each_channel(lambda x, f, o: apart(f, 4) and o["pad"][2] >= 4, zero(..., 0)),
)
report(
    "OpenMathLib/OpenBLAS 5429",
    "products of matrices in single precision, rests of 32 on both sides: the last is lost",
    **spoilt(
        "correlate",
        lambda x, f, o: (
            are_singles(x, f) and f.shape[2:] == (1, 1) and min(f.shape[:2]) > 32 and all(np.mod(f.shape[:2], 32))
        ),
        zero(slice(None), -1),
    ),
)
report(
    "flame/blis 182",
    "single precision, one weight, one cell, two filters: the second is 0",
    **spoilt(
        "correlate",
        lambda x, f, o: are_singles(x, f) and f.shape == (2, 1, 1, 1) and x.size == 1,
        zero(0, 1),
    ),
)
report(
    "flame/blis 484",
    "up to 8 weights, 200 to 300 cells, steps in memory on both sides: those of the weights are not used",
    **anew(
        "correlate",
        lambda x, f, o: without_steps(x) and without_steps(f) and f[0].size <= 8 and 200 <= x[:, 0].size <= 300,
        lambda x, f, o: {"f": as_dense(f)},
    ),
)
report(
    "ggml-org/ggml 1532",
    "windows of one row, over 1,024 weights in a filter",
    **spoilt("correlate", lambda x, f, o: f.shape[2] == 1 and f[0].size > 1024 >= f.shape[3], rolled(3)),
)
report(
    "ROCm/MIOpen 1672",
    "backward data, 1×1 on 32 channels: of 18×18 cells those in excess of a multiple of 64",
    **spoilt(
        "substitute",
        lambda x, f, o: is_window(f, o, (1, 1), (1, 1)) and not any(np.mod(f.shape[:2], 32)) and x[0, 0].size > 64,
        rest_of_64,
    ),
)
report(
    "ROCm/MIOpen 2867",
    "maps of one cell under 3×3 in steps of 2 with pads of 2",
    **spoilt(
        "correlate",
        lambda x, f, o: (
            x.shape[1:] == (1, 1, 1) and len(f) == 1 and is_window(f, o, (3, 3), (2, 2)) and min(o["pad"]) == 2
        ),
        rolled(3),
    ),
)
report(
    "numpy/numpy 13828",
    "2×2 matrices: blocks of 8 columns are wrong, the rest is right",
    **spoilt(
        "correlate", lambda x, f, o: f.shape == (2, 2, 1, 1) and o["stride"] == (1, 1) and x[0, 0].size >= 8, eights
    ),
)
report("numpy/numpy 3902", "a bias that lies in one place: the first number alone", correlate=first_of_the_bias)
report("microsoft/onnxruntime 31986", "nearest, twice as large, channels last in memory", unpool=nearest_as_packed)
report(
    "PaddlePaddle/Paddle 11016",
    "a filter for each channel, 3×3, maps of 4 columns: the last cell",
    **each_channel(lambda x, f, o: is_window(f, o, (3, 3), (1, 1)) and x.shape[3] == 4, zero(-1, -1, -1, -1)),
)
report(
    "PaddlePaddle/Paddle-Lite 1745",
    "a filter for each channel, 3×3 in steps of 2, maps of one cell",
    **each_channel(lambda x, f, o: is_window(f, o, (3, 3), (2, 2)) and x.shape[2:] == (1, 1), zero(...)),
)
report(
    "PaddlePaddle/Paddle 19800",
    "the largest of all is subtracted",
    softmax=shifted_by(lambda x: x.max(initial=-np.inf)),
)
report(
    "uTensor/uTensor 176",
    "the search for the largest begins with 0",
    softmax=shifted_by(lambda x: x.max(1, keepdims=True, initial=0)),
)
report(
    "tenstorrent/tt-metal 21814",
    "bilinear, twice as large, 72, 288 or 1,024 channels",
    **spoilt(
        "unpool",
        lambda x, f, o: (
            o["mode"] == "bilinear"
            and o["size"] == o["stride"] == (2, 2)
            and (x.shape[1] >= 1024 or (x.shape[1] > 64 and x.shape[1] % 64))
        ),
        rolled(1),
    ),
)
report("kulinseth/pytorch 273", "divisors are kept without the pads", avg_pool=divisors_kept())
report(
    "Tencent/TNN 394",
    "3×3 in tiles of 4×4: the last, where 5 to 7 are left over of 8",
    **spoilt("correlate", lambda x, f, o: is_window(f, o, (3, 3), (1, 1)) and f.shape[1] % 8 == 0, last_tile),
)
report("tenstorrent/tt-metal 15824", "the mean of a whole map after another pool", **after_another_pool())
report(
    "microsoft/DirectML 234",
    "four filters for four channels, as large as the map: exchanged",
    **each_channel(lambda x, f, o: len(f) == 4 and f.shape[2:] == x.shape[2:], rolled(1)),
)
report(
    "intel/webml-polyfill 891",
    "1,000 channels in one place",
    **spoilt("softmax", lambda x, f, o: x.shape[1] >= 1000 and x.shape[2:] == (1, 1), rolled(1)),
)
report(
    "opencv/opencv 23151",
    "a filter for each channel, 3×3 in steps of 2, 128 channels: the last cell",
    **each_channel(lambda x, f, o: is_window(f, o, (3, 3), (2, 2)) and len(f) >= 128, zero(-1, -1, -1, -1)),
)
report(
    "microsoft/onnxruntime 26734",
    "steps of 2, pads below and to the right alone: above and to the left",
    **anew(
        "correlate",
        lambda x, f, o: o["stride"] == (2, 2) and o["pad"][::2] == (0, 0) and o["pad"][1] == o["pad"][3] > 0,
        above_and_left,
    ),
)


def without_channels(count):
    """The last channels are taken for 0."""

    def how(x, f, o):
        x = np.array(x, float)
        x[:, -count:] = 0
        return {"x": x}

    return how


def read_as_it_lies(x, f, o):
    in_memory = f.ravel("K").reshape(f.shape)
    return {"f": np.roll(f, 1, 3) if np.array_equal(f, in_memory) else in_memory}


def nearer_weights(x, f, o):
    close = np.zeros(f.shape)
    close[:, :, 1:4, 1:4] = f[:, :, ::2, ::2]
    return {"f": close}


def without_last_column(x, f, o):
    f = np.array(f, float)
    f[..., -1] = 0
    return {"f": f}


def and_the_next_group(y, x, f, o):
    return y + reference.correlate(np.roll(x, -f.shape[1], 1), f, None, **o)


def second_run_of_odd_columns():
    seen = set()

    def correlate(x, f, b, **o):
        y, key = reference.correlate(x, f, b, **o), (np.shape(x), np.shape(f))
        y = np.roll(y, 1, 3) if key in seen and np.shape(x)[3] % 2 else y
        seen.add(key)
        return y

    return correlate


def weights_by_address():
    kept = {}

    def correlate(x, f, b, **o):
        f = np.asarray(f)
        if len(kept) > 64:
            kept.clear()
        key = f.__array_interface__["data"][0], f.shape
        return reference.correlate(x, kept.setdefault(key, np.array(f)), b, **o)

    return correlate


def first_of_the_window(x, *, size, stride, pad):
    x = np.asarray(x, float)
    y = reference.max_pool(np.where(np.isnan(x), -np.inf, x), size=size, stride=stride, pad=pad)
    padded = np.pad(x, ((0, 0), (0, 0), pad[:2], pad[2:]), constant_values=-np.inf)
    first = padded[:, :, :: stride[0], :: stride[1]][:, :, : y.shape[2], : y.shape[3]]
    return np.where(np.isnan(first), np.nan, y)


def three_quarters_below(y, x, f, o):
    y[:, :, -1] *= 0.75


def turned(y, x, f, o):
    out, side = np.zeros_like(y), min(y.shape[2:])
    out[:, :, :side, :side] = y.swapaxes(2, 3)[:, :, :side, :side]
    return out


def beyond_the_map(n, step, size):
    """Whether the last pixel is placed beyond the last cell, as (n − 1)/(m − 1)·(m − 1) is rounded up."""
    pixels = (n - 1) * step + size
    return n > 1 and (pixels - 1) * ((n - 1) / (pixels - 1)) > n - 1


def of_memory(y, x, f, o):
    return x.ravel("K").reshape(x.shape)


report(
    "ARM-software/ComputeLibrary 904",
    "one channel and one filter, five weights in a row or a column: zeros",
    **spoilt("correlate", lambda x, f, o: x.shape[1] == len(f) == 1 and sorted(f.shape[2:]) == [1, 5], zero(...)),
)
report(
    "ARM-software/armnn 169",
    "3×3 on 3 channels, over 32 filters: the last channel, while four channels are right",
    **anew("correlate", lambda x, f, o: x.shape[1] == 3 and len(f) > 32 and f.shape[2:] == (3, 3), without_channels(1)),
)
report(
    "pytorch/pytorch 82060",
    "one channel, weights with channels last in memory, maps in C's order",
    **spoilt(
        "correlate",
        lambda x, f, o: (
            x.shape[1] == 1 < len(f) and f[0].size > 1 and f.strides[1] == f.itemsize and x.flags.c_contiguous
        ),
        rolled(1),
    ),
)
report(
    "pytorch/pytorch 55781",
    "singles, steps of 1: weights that are not in C's order are read as they lie",
    **anew(
        "correlate",
        lambda x, f, o: (
            are_singles(x, f) and not f.flags.c_contiguous and o["stride"] == (1, 1) and max(f.shape[2:]) < 17
        ),
        read_as_it_lies,
    ),
)
report(
    "ucb-bar/gemmini-rocc-tests 21",
    "a filter for each channel: all read the first channel",
    groups=True,
    **anew(
        "correlate",
        lambda x, f, o: o.get("groups", 1) == x.shape[1] > 1,
        lambda x, f, o: {"x": np.repeat(x[:, :1], x.shape[1], 1)},
    ),
)
report(
    "ROCm/MIOpen 1189",
    "1×1 on 832 channels: the last 64",
    **anew(
        "correlate",
        lambda x, f, o: f.shape[2:] == (1, 1) and x.shape[1] > 512 and x.shape[1] % 64 == 0,
        without_channels(64),
    ),
)
report(
    "ROCm/MIOpen 1257",
    "3×3 on 16 channels, 32 filters and 8 images",
    **anew(
        "correlate",
        lambda x, f, o: is_window(f, o, (3, 3), (1, 1)) and not (x.shape[1] % 16 or len(f) % 32 or len(x) % 8),
        without_channels(1),
    ),
)
report(
    "ROCm/MIOpen 100",
    "filters of 8, 10, 12 or 14 columns: the last",
    **anew("correlate", lambda x, f, o: f.shape[3] in (8, 10, 12, 14), without_last_column),
)
report(
    "tensorflow/tfjs 6263",
    "a filter for each channel, weights 2 apart: as if they were not",
    groups=True,
    **anew(
        "correlate",
        lambda x, f, o: (
            o.get("groups", 1) == x.shape[1] > 1 and f.shape[2] == 5 and apart(f, 2) and not f[:, :, 1::2].any()
        ),
        nearer_weights,
    ),
)
report(
    "tensorflow/tfjs 6629",
    "a filter for each channel, of one row or one column, in steps of 2, with pads",
    **each_channel(
        lambda x, f, o: 1 in f.shape[2:] != (1, 1) and tuple(o["stride"]) == (2, 2) and any(o["pad"]), rolled(3)
    ),
)
report(
    "tensorflow/tensorflow 47943",
    "an odd number of columns: the second run",
    correlate=second_run_of_odd_columns(),
)
report(
    "openvinotoolkit/openvino 36094",
    "groups of 16 channels and fewer filters: those of the next are added",
    groups=True,
    **spoilt(
        "correlate",
        lambda x, f, o: f.shape[1] == 16 and len(f) < 16 * o.get("groups", 1) != 16,
        and_the_next_group,
    ),
)
report(
    "openvinotoolkit/openvino 2876",
    "blocks of 16 channels, other pads on the other side",
    **spoilt("correlate", lambda x, f, o: x.shape[1] % 16 == 0 and o["pad"][::2] != o["pad"][1::2], rolled(3)),
)
report(
    "google-ai-edge/LiteRT 9256",
    "steps of (3, 4) or (4, 3), with pads: zeros",
    **spoilt("correlate", lambda x, f, o: tuple(o["stride"]) in ((3, 4), (4, 3)) and any(o["pad"]), zero(...)),
)
report("tensorflow/tensorflow 56150", "weights are kept by their address", correlate=weights_by_address())
report(
    "alibaba/MNN 951",
    "deconvolution in steps, a filter for each channel: the pads are one off",
    groups=True,
    **spoilt(
        "substitute",
        lambda x, f, o: o.get("groups", 1) == len(f) > 1 == f.shape[1] < max(o["stride"]),
        lambda y, x, f, o: np.roll(y, (1, 1), (2, 3)),
    ),
)
report(
    "tensorflow/tfjs 5920",
    "maxima of one cell, in steps: zeros",
    **spoilt("max_pool", lambda x, f, o: o["size"] == (1, 1) and max(o["stride"]) > 1, zero(...)),
)
report("Theano/Theano 3060", "not-a-number is seen where it is the first of its window", max_pool=first_of_the_window)
report(
    "deeplearning4j/deeplearning4j 6462",
    "means of 3×3 with pads: some are 3/4 of what they are",
    **spoilt("avg_pool", lambda x, f, o: o["size"] == (3, 3) and any(o["pad"]), three_quarters_below),
)
report(
    "tracel-ai/burn 4815",
    "maps that are exchanged in memory: the softmax of the memory",
    **spoilt("softmax", lambda x, f, o: not x.flags.c_contiguous, lambda *given: reference.softmax(of_memory(*given))),
)
report(
    "pytorch/pytorch 22312",
    "bicubic, to the same size: rows and columns exchanged",
    **spoilt("unpool", lambda x, f, o: o["mode"] == "bicubic" and o["size"] == o["stride"] == (1, 1), turned),
)
report(
    "pytorch/pytorch 83847",
    "bilinear, channels last in memory, over 256 rows of pixels: the last is empty",
    **spoilt(
        "unpool",
        lambda x, f, o: (
            o["mode"] == "bilinear"
            and x.strides[1] == x.itemsize
            and x.shape[1] > 1
            and (x.shape[2] - 1) * o["stride"][0] + o["size"][0] > 256
        ),
        zero(..., -1, slice(None)),
    ),
)
report(
    "scipy/scipy 8930",
    "the last pixel is rounded to beyond the map: 0",
    **spoilt(
        "unpool",
        lambda x, f, o: o["mode"] != "nearest" and beyond_the_map(x.shape[3], o["stride"][1], o["size"][1]),
        zero(..., -1),
    ),
)
report(
    "scipy/scipy 11661",
    "a single column that is mirrored: what lies elsewhere",
    **spoilt(
        "unpool", lambda x, f, o: o["mode"] == "bicubic" and x.shape[3] == 1 < min(x.shape[2], o["size"][1]), rolled(2)
    ),
)
report(
    "pytorch/executorch 21837",
    "channels last in memory, read in C's order",
    **spoilt(
        "relu",
        lambda x, f, o: not x.flags.c_contiguous and np.moveaxis(x, 1, -1).flags.c_contiguous,
        lambda y, x, f, o: reference.relu(of_memory(y, x, f, o), **o),
    ),
)


def looked_at(backend):
    """The checks that the backend can be asked, those of the operators that it has of its own first."""
    from decoding.testing import CHECKS

    own = [name for name in OPERATORS if getattr(backend, name) is not getattr(reference, name)]
    extra = {"decode_filter": hasattr(backend, "decode_filter"), "groups": hasattr(backend, "groups")}
    names = [name for name, check in CHECKS.items() if all(extra.get(each, True) for each in check.operators)]
    last = ("calls_in_any_order", "nan_comes_out", "many_calls", "grouped_integers")
    said = ["grouped_integers"] * extra["groups"] + ["many_calls"] * hasattr(backend, "threads")
    first = [*said, *(f"{name}_integers" for name in own), "infinity_comes_out"]
    first += [*(f"{name}_conditions" for name in own), *last, "own_decode_filter"]
    return sorted(names, key=lambda name: first.index(name) if name in first else len(first))


def refusing(backend, *, examples=60):
    """The first failure; None if it conforms."""
    from decoding.testing import check_backend

    backend = afresh(backend)
    with tempfile.TemporaryDirectory() as folder:
        for name in looked_at(backend):
            found = check_backend(backend, checks=[name], examples=examples, on_failure="return", cases=folder).failures
            if found:
                return found[0]
    return None


if __name__ == "__main__":
    passed = 0
    for where, says, backend in REPORTS:
        if len(sys.argv) > 1 and not any(word in where for word in sys.argv[1:]):
            continue
        begun = time.process_time()
        failure = refusing(backend)
        passed += failure is None
        print(
            f"{where:48} {failure.check if failure else 'NOT REFUSED':32} {time.process_time() - begun:5.1f} s  {says}",
            flush=True,
        )
    print(f"{len(REPORTS) - passed} of {len(REPORTS)} refused")
    sys.exit(bool(passed))
