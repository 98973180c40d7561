"""Wrong backends of the kinds that an earlier kit let through: wrong under one condition, or under two or three together.

Each is the reference, spoilt where its condition holds. ``python tests/attacks.py`` prints which check refuses each; the slow
tests hold that all are refused, the others a few of them. Those of one kind stand together: *size*, *pair*, *option*, *memory*,
*precision*, *number*, *state*, *thread*, *group*, *network*.
"""

from __future__ import annotations

import itertools
import math
import sys
import tempfile
import threading
import time
import types
import weakref
from typing import ClassVar

import numpy as np
from afresh import afresh

import decoding
from decoding import interpolation, reference
from decoding.backend import OPERATORS
from decoding.interpolation import MODES

ATTACKS: list[tuple[str, str, str, object]] = []  # kind, name, the checks that look for it, backend


def attack(kind, name, checks, **operators):
    functions = {operator: getattr(reference, operator) for operator in OPERATORS}
    backend = types.SimpleNamespace(name=name, eps=2.0**-53, **{**functions, **operators})
    ATTACKS.append((kind, name, checks, backend))


def where(kind, name, operator, condition, spoil=lambda y: y + 1):
    """The operator's answers spoilt where ``condition(first, others, options)`` holds, `first` being the shape of the maps."""

    def spoilt(x, *others, **options):
        y = getattr(reference, operator)(x, *others, **options)
        return spoil(y) if y.size and condition(np.shape(x), *map(np.asarray, others[:1]), **options) else y

    attack(kind, name, f"{operator}_conditions", **{operator: spoilt})


def last_column(y):
    y = np.array(y)
    y[..., -1] += 1
    return y


for operator in OPERATORS:
    takes_filters = operator in ("correlate", "substitute")
    where("size", f"{operator}: more than 40 columns", operator, lambda x, *_, **o: x[3] > 40, last_column)
    where("size", f"{operator}: more than 64 images", operator, lambda x, *_, **o: x[0] > 64, last_column)
    where("size", f"{operator}: more than 64 channels", operator, lambda x, *_, **o: x[1] > 64, last_column)
    where("size", f"{operator}: more than 1,024 cells", operator, lambda x, *_, **o: x[2] * x[3] > 1024, last_column)
    if operator != "unpool":
        where("size", f"{operator}: 2^16 numbers", operator, lambda x, *_, **o: np.prod(x) >= 2**16, last_column)
    where("pair", f"{operator}: at least 8 rows and columns", operator, lambda x, *_, **o: min(x[2:]) >= 8, last_column)
for operator, axis in (("correlate", 0), ("substitute", 1)):
    where("size", f"{operator}: more than 64 filters", operator, lambda x, f, a=axis, **o: f.shape[a] > 64, last_column)
    where(
        "size",
        f"{operator}: filters of 1,024 weights",
        operator,
        lambda x, f, **o: f[0].size > 1024 or f[:, 0].size > 1024,
        last_column,
    )
    where(
        "pair",
        f"{operator}: 3×3, step 1, 8 channels",
        operator,
        lambda x, f, **o: (f.shape[2:], o["stride"]) == ((3, 3), (1, 1)) and x[1] >= 8,
        last_column,
    )
    where(
        "pair",
        f"{operator}: 1×1, over 16 channels",
        operator,
        lambda x, f, **o: f.shape[2:] == (1, 1) and x[1] > 16,
        last_column,
    )
    where(
        "pair", f"{operator}: 16 channels, 16 filters", operator, lambda x, f, **o: f.shape[:2] == (16, 16), last_column
    )
    where("option", f"{operator}: equal steps of 3", operator, lambda x, f, **o: o["stride"] == (3, 3), last_column)
    where("option", f"{operator}: equal steps of 5", operator, lambda x, f, **o: o["stride"] == (5, 5), last_column)
where("pair", "relu: leak 0, over 8 columns", "relu", lambda x, leak: leak == 0 and x[3] > 8, last_column)
where("option", "relu: leaks above 2", "relu", lambda x, leak: leak > 2)
for operator in ("correlate", "max_pool", "avg_pool"):
    where("option", f"{operator}: pads above 3", operator, lambda x, *_, **o: max(o["pad"]) > 3, last_column)
for operator in ("max_pool", "avg_pool"):
    where("size", f"{operator}: windows of over 255 cells", operator, lambda x, **o: np.prod(o["size"]) > 255)
    where(
        "option",
        f"{operator}: 5×5/2",
        operator,
        lambda x, **o: (o["size"], o["stride"]) == ((5, 5), (2, 2)),
        last_column,
    )
    where(
        "option",
        f"{operator}: 4×4/3",
        operator,
        lambda x, **o: (o["size"], o["stride"]) == ((4, 4), (3, 3)),
        last_column,
    )
    where(
        "option",
        f"{operator}: past both edges",
        operator,
        lambda x, **o: x[2] < o["size"][0] - 1 and min(o["pad"][:2]) > 0,
        last_column,
    )

    def accepts(x, *, size, stride, pad, operator=operator):
        function = getattr(reference, operator)
        return function(x, size=size, stride=stride, pad=tuple(min(p, size[i // 2] - 1) for i, p in enumerate(pad)))

    attack("option", f"{operator}: pads as large as the window accepted", "refuses_larger_pads", **{operator: accepts})
where(
    "option",
    "unpool: sizes above 4, other steps",
    "unpool",
    lambda x, **o: max(o["size"]) > 4 and o["size"] != o["stride"],
    last_column,
)


def by_reciprocals(maps, *, size, stride, mode):
    """The nearest cell as floor(p·(1/s)), where that is what p/s gives but for rounding."""
    y = np.array(reference.unpool(maps, size=size, stride=stride, mode=mode))
    for axis, (step, n) in enumerate(zip(stride, np.shape(maps)[2:], strict=True)):
        if mode == "nearest" and size[axis] == step:
            cells = [min(int(p * (1 / step)), n - 1) for p in range(y.shape[2 + axis])]
            right = [p // step for p in range(y.shape[2 + axis])]
            moved = [p if c == r else p - 1 for p, (c, r) in enumerate(zip(cells, right, strict=True))]
            y = y.take(moved, axis=2 + axis)
    return y


def mirrored_once(maps, *, size, stride, mode):
    wide = mode != "nearest" and any(
        z > 2 * s * n + s for z, s, n in zip(size, stride, np.shape(maps)[2:], strict=True)
    )
    return reference.unpool(maps, size=size, stride=stride, mode=mode) + wide


def any_mode(maps, *, size, stride, mode):
    return reference.unpool(
        maps, size=size, stride=stride, mode=mode if mode in MODES or mode == "cubic" else "bilinear"
    )


attack("option", "unpool: nearest by floor(p·(1/s))", "unpool_conditions", unpool=by_reciprocals)
attack("option", "unpool: edges mirrored once", "unpool_conditions", unpool=mirrored_once)
attack("option", "unpool: modes that do not exist accepted", "refuses_unknown_modes", unpool=any_mode)


def as_whole(array):
    """The memory from the first number on, as if the array were whole."""
    array = np.asarray(array)
    base = array
    while isinstance(base.base, np.ndarray):
        base = base.base
    begin = (array.__array_interface__["data"][0] - base.__array_interface__["data"][0]) // array.itemsize
    flat = base.ravel(order="K")
    found = flat[begin : begin + array.size]
    return found.reshape(array.shape) if found.size == array.size else array


def gaps_lost(x):
    x = np.asarray(x)
    positive = all(step >= 0 for step in x.strides)
    return (
        as_whole(x)
        if positive
        and not x.flags.c_contiguous
        and not x.flags.f_contiguous
        and 0 not in x.strides
        and x.strides[-1] == x.itemsize
        else x
    )


def repeated_lost(x):
    x = np.asarray(x)
    y = np.array(x)
    if x.ndim and x.strides[0] == 0 and len(x) > 1:
        y[1:] = 0
    return y


def in_place(x, f, b, **options):
    y = reference.correlate(x, f, b, **options)
    if np.size(x) > 512 and np.asarray(x).flags.writeable:
        x[0, 0, 0, 0] = 7
    return y


def writes_to_small_filters(x, f, b, **options):
    y = reference.correlate(x, f, b, **options)
    if np.shape(f)[2:] == (1, 1) and np.asarray(f).flags.writeable:
        f[...] = 0
    return y


for name, lost in (("views with gaps", gaps_lost), ("step 0 of the first axis", repeated_lost)):
    attack(
        "memory",
        f"correlate: {name} read as whole",
        "correlate_conditions",
        correlate=lambda x, f, b, lost=lost, **o: reference.correlate(lost(x), f, b, **o),
    )
    attack(
        "memory",
        f"relu: {name} read as whole",
        "relu_conditions",
        relu=lambda x, lost=lost, **o: reference.relu(lost(x), **o),
    )
attack("memory", "correlate: in place from 512 numbers on", "correlate_conditions", correlate=in_place)
attack("memory", "correlate: a write to 1×1 filters", "correlate_conditions", correlate=writes_to_small_filters)


def rounded(array, bits):
    mantissa, exponent = np.frexp(np.asarray(array, float))
    return np.ldexp(np.rint(np.ldexp(mantissa, bits)), exponent - bits)


def tf32(x, f, b, **options):
    return (
        reference.correlate(rounded(x, 11), rounded(f, 11), b, **options)
        if np.shape(x)[1] % 8 == 0
        else reference.correlate(x, f, b, **options)
    )


def small_weights_dropped(x, f, b, **options):
    f = np.asarray(f, float)
    return reference.correlate(x, np.where(np.abs(f) < 1e-4 * np.abs(f).max(initial=0), 0, f), b, **options)


attack("precision", "correlate: TF32 where channels are a multiple of 8", "correlate_conditions", correlate=tf32)
attack(
    "precision",
    "correlate: weights below 1e-4 of the largest dropped",
    "correlate_conditions",
    correlate=small_weights_dropped,
)
for bits, name in ((8, "bfloat16"), (24, "singles")):
    attack("precision", f"substitute: {name} where maps are 16 or more", "substitute_conditions",
           substitute=lambda z, f, bits=bits, **o: reference.substitute(rounded(z, bits) if np.shape(z)[1] > 15 else z, f, **o))  # fmt: skip


def remembering(error):
    """Wrong in the call after one that was refused, or had not-a-number in it."""
    state = {"spoilt": False}

    def correlate(x, f, b, **options):
        try:
            y = reference.correlate(x, f, b, **options)
        except Exception:
            state["spoilt"] = error == "refusal"
            raise
        spoilt, state["spoilt"] = state["spoilt"], error == "NaN" and bool(np.isnan(y).any())
        return y + spoilt

    return correlate


def ring(length, least=0):
    buffers, turn = {}, itertools.count()

    def relu(x, *, leak):
        y = reference.relu(x, leak=leak)
        if y.size <= least:
            return y
        buffer = buffers.setdefault((y.shape, next(turn) % length), np.empty_like(y))
        buffer[...] = y
        return buffer

    return relu


for error in ("refusal", "NaN"):
    attack("state", f"correlate: wrong after a {error}", "calls_in_any_order", correlate=remembering(error))
attack("state", "relu: a ring of 64 buffers", "calls_in_any_order", relu=ring(64))
attack("state", "relu: one buffer from 512 numbers on", "relu_conditions", relu=ring(1, 512))


def after_a_refused_unpooling():
    """Substitution is wrong in the call after an unpooling that was refused."""
    state = {"spoilt": False}

    def clean(operator):
        def run(*arrays, **options):
            state["spoilt"] = False
            return getattr(reference, operator)(*arrays, **options)

        return run

    def unpool(maps, **options):
        state["spoilt"] = True
        y = reference.unpool(maps, **options)
        state["spoilt"] = False
        return y

    def substitute(maps, filters, **options):
        spoilt, state["spoilt"] = state["spoilt"], False
        return reference.substitute(maps, filters, **options) + spoilt

    others = {operator: clean(operator) for operator in OPERATORS if operator not in ("unpool", "substitute")}
    return {**others, "unpool": unpool, "substitute": substitute}


def handed_out_again():
    """The answer to equal arrays is the array that was given before, whoever has written to it since."""
    known = {}

    def relu(x, *, leak):
        key = leak, np.shape(x), np.asarray(x, float).tobytes()
        if key not in known:
            known[key] = reference.relu(x, leak=leak)
        return known[key]

    return relu


def by_products(x, *, leak):
    x = np.asarray(x, float)
    with np.errstate(invalid="ignore"):
        return x * (x > 0) + leak * x * ~(x > 0)


def padded_memory():
    """Padded maps of one size share memory, and other pads are not cleared."""
    memory = {}

    def correlate(x, f, b, *, stride, pad):
        top, bottom, left, right = pad
        n, c, rows, columns = np.shape(x)
        shape = n, c, rows + top + bottom, columns + left + right
        padded = memory.setdefault(shape, np.zeros(shape))
        padded[:, :, top : top + rows, left : left + columns] = x
        return reference.correlate(padded, f, b, stride=stride)

    return correlate


def overflowing(length):
    """A counter of calls of one shape in a row, wrong where it begins anew."""
    state = {"shape": None, "count": 0}

    def softmax(x):
        same = np.shape(x) == state["shape"]
        state.update(shape=np.shape(x), count=state["count"] + 1 if same else 0)
        return reference.softmax(x) + (state["count"] % length == length - 1)

    return softmax


def in_one_memory():
    """Threads share the memory in which a call works."""
    memory = {}

    def relu(x, *, leak):
        x = np.asarray(x, float)
        mine = memory["at"] = {"x": x, "leak": leak}
        time.sleep(0)
        return reference.relu(x, leak=leak) + (memory["at"] is not mine)

    return relu


attack("state", "substitute: wrong after a refused unpooling", "calls_in_any_order", **after_a_refused_unpooling())
attack("state", "relu: an answer that is kept and handed out again", "calls_in_any_order", relu=handed_out_again())
attack("state", "correlate: memory with what other pads left", "calls_in_any_order", correlate=padded_memory())
attack("option", "relu: infinities times zero", "infinity_comes_out", relu=by_products)
attack("state", "softmax: a counter of 512 calls", "many_calls", softmax=overflowing(512))
attack("state", "relu: memory that threads share", "many_calls", relu=in_one_memory(), threads=True)


def decoder(change=lambda net: net, wrong=lambda net, layer: False):
    def decode_filter(net, layer, k, *, unpool):
        y = decoding.decode_filter(change(net), layer, k, unpool=unpool)
        return y + 1 if wrong(net, layer) else y

    return decode_filter


def cached():
    known = {}

    def decode_filter(net, layer, k, *, unpool):
        key = id(net), layer, k, unpool
        if key not in known:
            known[key] = decoding.decode_filter(net, layer, k, unpool=unpool)
        return known[key]

    return decode_filter


def one_buffer():
    memory = {}

    def decode_filter(net, layer, k, *, unpool):
        y = decoding.decode_filter(net, layer, k, unpool=unpool)
        buffer = memory.setdefault(y.shape, np.empty_like(y))
        buffer[...] = y
        return buffer

    return decode_filter


def has(kind, test):
    return lambda net, layer: any(test(each) for each in net.layers if each.kind == kind)


for name, function in {
    "dilation (2, 2)": decoder(wrong=has("Conv", lambda each: each.dilation == (2, 2))),
    "over 3 groups": decoder(wrong=has("Conv", lambda each: each.groups > 3)),
    "over 6 layers": decoder(wrong=lambda net, layer: len(net) > 6),
    "over 12 layers": decoder(wrong=lambda net, layer: len(net) > 12),
}.items():
    attack("network", f"decode_filter: {name}", "own_decode_filter", decode_filter=function)
attack("network", "decode_filter: a cache keyed by id(net)", "own_decoder_remembers_nothing", decode_filter=cached())
attack("network", "decode_filter: one buffer for all", "own_decoder_remembers_nothing", decode_filter=one_buffer())


# Kinds of a later attack.


def halved(x, *, leak):
    """Twice the largest numbers overflow."""
    with np.errstate(over="ignore"):
        return (np.asarray(x, float) + np.abs(x)) / 2 if leak == 0 else reference.relu(x, leak=leak)


def nearly_linear(x):
    """Exponentials near 1 by the tangent."""
    d = np.asarray(x, float) - np.max(x, axis=1, keepdims=True)
    e = np.where(np.abs(d) < 1e-4, 1 + d, np.exp(d))
    return e / e.sum(axis=1, keepdims=True)


def integral_image(x, *, size, stride, pad):
    """Windows as differences of sums over all that lies above and to the left, whose digits are lost."""
    reference.avg_pool(x, size=size, stride=stride, pad=pad)  # refuses
    (h, w), (r, s), (top, bottom, left, right) = size, stride, pad

    def sums(a):
        a = np.pad(a, ((0, 0), (0, 0), (top + 1, bottom), (left + 1, right))).cumsum(2).cumsum(3)
        return (a[:, :, h:, w:] - a[:, :, :-h, w:] - a[:, :, h:, :-w] + a[:, :, :-h, :-w])[:, :, ::r, ::s]

    return sums(np.asarray(x, float)) / sums(np.ones((1, 1, *np.shape(x)[2:])))


def turned_in_place(x, f, b, **options):
    return reference.correlate(x, np.flip(f, -1) if np.shares_memory(x, f) else f, b, **options)


def overlaps_lost(x, f, b, **options):
    """Rows that overlap in memory are taken for one row that is repeated."""
    x = np.asarray(x)
    overlap = x.size and 0 < x.strides[2] < x.shape[3] * x.itemsize and x.strides[3] == x.itemsize < x.strides[1]
    return reference.correlate(np.broadcast_to(x[:, :, :1], x.shape) if overlap else x, f, b, **options)


class Held(np.ndarray):
    """An answer that gives its memory back when it goes, though others may have views of it."""

    home = None
    free: ClassVar[dict] = {}

    def __del__(self):
        if self.home is not None:
            self.free.setdefault(self.home.shape, []).append(self.home)


def given_back(x, *, leak):
    y = reference.relu(x, leak=leak)
    home = (Held.free.get(y.shape) or [np.empty(y.shape)]).pop()
    home[...] = y
    answer = home.view(Held)
    answer.home = home
    return answer


def largest_ever():
    """Shifted by the largest response that was ever seen."""
    state = {"most": -np.inf}

    def softmax(x):
        x = np.asarray(x, float)
        most = x.max(initial=-np.inf)
        state["most"] = max(state["most"], most) if np.isfinite(most) else state["most"]
        with np.errstate(all="ignore"):
            e = np.exp(x - (state["most"] if np.isfinite(most) else most))
            return e / e.sum(axis=1, keepdims=True)

    return softmax


def by_ends():
    """Answers are kept by the shape and the numbers at both ends."""
    kept = {}

    def relu(x, *, leak):
        x = np.asarray(x)
        key = x.shape, leak, x.ravel()[:4].tobytes(), x.ravel()[-4:].tobytes()
        return kept.setdefault(key, reference.relu(x, leak=leak)).copy()

    return relu


def half_built():
    """A table is there for other threads before it is filled."""
    tables = {}

    def avg_pool(x, **options):
        y, key = reference.avg_pool(x, **options), (np.shape(x), str(options))
        if key not in tables:
            tables[key] = 0.0
            time.sleep(1e-4)
            tables[key] = 1.0
        return y * tables[key]

    return avg_pool


def across_operators():
    """Two operators write to one memory, each in a thread of its own."""
    memory = {}

    def alone(operator):
        def run(x, **options):
            memory["at"] = operator
            y = getattr(reference, operator)(x, **options)
            return y + (memory["at"] != operator)

        return run

    return {operator: alone(operator) for operator in ("relu", "softmax")}


def in_groups(operator, condition):
    """Wrong in groups, where ``condition(maps, filters, groups)`` holds."""

    def run(x, f, *bias, groups=1, **options):
        y = getattr(reference, operator)(x, f, *bias, groups=groups, **options)
        wrong = groups > 1 and y.size and condition(np.asarray(x), np.asarray(f), groups)
        return last_column(y) if wrong else y

    return {operator: run, "groups": True}


def without_zeros(net, layer, k, *, unpool):
    """Gains of 0 are taken for none."""
    layers = [
        each if each.gain is None else each.replace(gain=np.where(np.asarray(each.gain) == 0, 1.0, each.gain))
        for each in net.layers
    ]
    return decoding.decode_filter(net.replace(layers=layers), layer, k, unpool=unpool)


attack("precision", "relu: (x + |x|)/2", "infinity_comes_out", relu=halved)
attack("precision", "softmax: a tangent near 1", "softmax_conditions", softmax=nearly_linear)
attack("precision", "avg_pool: an integral image", "avg_pool_conditions", avg_pool=integral_image)
attack("memory", "correlate: filters turned in place", "shared_inputs", correlate=turned_in_place)
attack("memory", "correlate: rows that overlap", "correlate_conditions", correlate=overlaps_lost)
attack("memory", "relu: memory given back too early", "forward_integers", relu=given_back)
attack("state", "softmax: the largest response ever", "softmax_conditions", softmax=largest_ever())
attack("state", "relu: kept by both ends", "calls_in_any_order", relu=by_ends())
attack("thread", "avg_pool: a table that is being built", "many_calls", avg_pool=half_built(), threads=True)
attack("thread", "relu and softmax: one memory", "many_calls", threads=True, **across_operators())
for operator in ("correlate", "substitute"):
    checks = f"{operator}_conditions"
    attack("group", f"{operator}: over 8 groups", checks, **in_groups(operator, lambda x, f, g: g > 8))
    attack("group", f"{operator}: 8 channels each", checks, **in_groups(operator, lambda x, f, g: f.shape[1] >= 8))
    attack(
        "group",
        f"{operator}: a filter each, over 8 columns",
        checks,
        **in_groups(operator, lambda x, f, g: f.shape[1] == 1 and x.shape[3] > 8),
    )
    attack(
        "group",
        f"{operator}: channels last",
        checks,
        **in_groups(operator, lambda x, f, g: x.strides[1] == x.itemsize < x.strides[3]),
    )
attack("network", "decode_filter: gains of 0", "own_decode_filter", decode_filter=without_zeros)


# Kinds of an attack by fast paths that look at numbers, at the order in memory, at windows that differ along the axes, and at networks.


def copied(x, f, b, *, stride, pad):
    """Filters of one pixel that copy a channel each: what goes in comes out, the very array."""
    plain = b is None and not any(pad) and stride == (1, 1) and np.shape(f)[2:] == (1, 1)
    same = plain and np.array_equal(np.asarray(f)[:, :, 0, 0], np.eye(*np.shape(f)[:2]))
    return (
        np.asarray(x, float)
        if same and np.shape(f)[0] == np.shape(x)[1]
        else reference.correlate(x, f, b, stride=stride, pad=pad)
    )


def whole(array, least, most):
    array = np.asarray(array, float)
    return bool((array == np.rint(array)).all() and array.min(initial=0) >= least and array.max(initial=0) <= most)


def in_words(x, f, b, **options):
    """Whole numbers of 16 bits, added up in 32."""
    if not (whole(x, -(2**15), 2**15) and whole(f, -(2**15), 2**15)):
        return reference.correlate(x, f, b, **options)
    y = reference.correlate(x, f, None, **options).astype(np.int64).astype(np.int32)
    return y if b is None else y + np.reshape(b, (-1, 1, 1))


def in_bytes(x, f, b, *, stride, pad):
    """Bytes times signed bytes; each two products are added up in 16 bits, and cut off there."""
    y = reference.correlate(x, f, b, stride=stride, pad=pad)
    if not (whole(x, 0, 255) and whole(f, -128, 127)):
        return y
    padded = np.pad(np.asarray(x, float), ((0, 0), (0, 0), pad[:2], pad[2:]))
    windows = np.lib.stride_tricks.sliding_window_view(padded, np.shape(f)[2:], axis=(2, 3))
    windows = np.moveaxis(windows[:, :, :: stride[0], :: stride[1]], 1, 3).reshape(len(y), 1, *y.shape[2:], -1)
    products = windows * np.reshape(f, (1, len(f), 1, 1, -1))
    products = np.pad(products, [(0, 0)] * 4 + [(0, products.shape[-1] % 2)])
    y = np.clip(products[..., ::2] + products[..., 1::2], -(2**15), 2**15 - 1).sum(-1)
    return y if b is None else y + np.reshape(b, (-1, 1, 1))


def by_running_sums(x, f, b, *, stride, pad):
    """Filters of ones as differences of sums over all that lies above and to the left."""
    y = reference.correlate(x, f, b, stride=stride, pad=pad)
    (h, w), (top, bottom, left, right) = np.shape(f)[2:], pad
    if h * w == 1 or not np.size(f) or (np.asarray(f) != 1).any():
        return y
    a = (
        np.pad(np.asarray(x, float).sum(1, keepdims=True), ((0, 0), (0, 0), (top + 1, bottom), (left + 1, right)))
        .cumsum(2)
        .cumsum(3)
    )
    sums = (a[:, :, h:, w:] - a[:, :, :-h, w:] - a[:, :, h:, :-w] + a[:, :, :-h, :-w])[:, :, :: stride[0], :: stride[1]]
    return np.broadcast_to(sums, y.shape) + (0 if b is None else np.reshape(b, (-1, 1, 1)))


def filters_exchanged(x, f, b, **options):
    """Filters whose first two axes are exchanged in memory, read as they lie there, beside maps in C's order."""
    f = np.asarray(f)
    lost = (
        len(f) == f.shape[1] > 1 and f.strides[1] > f.strides[0] > f.strides[2] > 0 and np.asarray(x).flags.c_contiguous
    )
    return reference.correlate(x, f.swapaxes(0, 1) if lost else f, b, **options)


def in_its_own_order(x, f, b, *, stride, pad):
    """An image as large as the window is a product of matrices, and read in the order in which it lies in memory."""
    x = np.asarray(x)
    if x.shape != (1, *np.shape(f)[1:]) or any(pad):
        return reference.correlate(x, f, b, stride=stride, pad=pad)
    y = np.reshape(np.asarray(f, float), (len(f), -1)) @ x.astype(float).ravel(order="A")
    return (y if b is None else y + b).reshape(1, -1, 1, 1)


def turned_where(*, negative, others):
    """Maps that lie backwards along one axis alone are read forwards."""

    def read(x):
        x = np.asarray(x)
        lost = x.shape[negative] > 1 and x.strides[negative] < 0 < min(x.strides[axis] for axis in others)
        return np.flip(x, negative) if lost else x

    return read


def unaligned_lost(x):
    x = np.asarray(x)
    return x if x.flags.aligned else np.zeros(x.shape)


def records_lost(x):
    x = np.asarray(x)
    return np.repeat(x[:1], len(x), axis=0) if len(x) > 1 and x.strides[0] % x.itemsize else x


def aligned_down(x):
    """Singles are read from the last multiple of 16 bytes on."""
    x = np.asarray(x)
    off = x.__array_interface__["data"][0] % 16 // 4
    if x.dtype != np.float32 or not off or not x.size or not x.flags.c_contiguous:
        return x
    return np.concatenate([np.zeros(off, np.float32), x.ravel()])[: x.size].reshape(x.shape)


def reads(operator, read):
    return {operator: lambda x, *others, **options: getattr(reference, operator)(read(x), *others, **options)}


def gaps_left(maps, f, *, stride):
    """What lies between the copies of a filter is not cleared where copies overlap along the other axis."""
    y = reference.substitute(maps, f, stride=stride)
    (h, w), (r, s) = np.shape(f)[2:], stride
    if s > w and r < h:
        y[..., np.arange(y.shape[3]) % s >= w] = 7
    return y


def gaps_filled(maps, *, size, stride, mode):
    y = reference.unpool(maps, size=size, stride=stride, mode=mode)
    if stride[0] > size[0] and stride[1] < size[1]:
        y[:, :, np.arange(y.shape[2]) % stride[0] >= size[0]] = 7
    return y


def steps_in_four_bits(x, f, b, *, stride, pad):
    y = reference.correlate(x, f, b, stride=stride, pad=pad)
    rows, columns = ((step & 15) or 16 for step in stride)
    return reference.correlate(x, f, b, stride=(rows, columns), pad=pad)[:, :, : y.shape[2], : y.shape[3]]


def places_in_16_bits(x, *, size, stride, pad):
    """Maxima of 2×2 by places within an image, which wrap around."""
    y, (n, c, rows, columns) = reference.max_pool(x, size=size, stride=stride, pad=pad), np.shape(x)
    if not size == stride == (2, 2) or any(pad) or c * rows * columns <= 2**16:
        return y
    flat, (channel, i, j) = np.reshape(x, (n, -1)), np.ogrid[:c, : y.shape[2], : y.shape[3]]
    places = [((channel * rows + 2 * i + u) * columns + 2 * j + v).astype(np.uint16) for u, v in np.ndindex(2, 2)]
    return np.maximum.reduce([flat[:, place] for place in places])


def by_their_sum():
    known = {}

    def correlate(x, f, b, **options):
        f = np.array(f, float)
        return reference.correlate(x, known.setdefault((f.shape, f.sum(), np.abs(f).sum()), f), b, **options)

    return correlate


def temporaries():
    """What correlation answers is a temporary, which a rectifier may work on in place."""
    mine = weakref.WeakValueDictionary()

    class Mine(np.ndarray):
        pass

    def correlate(x, f, b, **options):
        y = reference.correlate(x, f, b, **options).view(Mine)
        mine[y.__array_interface__["data"][0]] = y
        return y

    def relu(x, *, leak):
        x, y = np.asarray(x), reference.relu(x, leak=leak)
        if leak == 0 and np.shape(mine.get(x.__array_interface__["data"][0])) == x.shape:
            x[...] = y
        return y

    return {"correlate": correlate, "relu": relu}


def one_memory_for_groups():
    memory = {}

    def correlate(x, f, b, *, groups=1, **options):
        mine = memory["at"] = np.asarray(x)
        time.sleep(0)
        y = reference.correlate(x, f, b, groups=groups, **options)
        return y + (groups > 1 and memory["at"] is not mine)

    return {"correlate": correlate, "threads": True, "groups": True}


def pools_nearest_in_branches(net, layer, k, *, unpool):
    """Pools that are not on the way of the first inputs are undone by the nearest cell."""
    first, at = set(), layer
    while at:
        first.add(at)
        at = net.inputs[at - 1][0]
    beside = any(
        each.kind.endswith("Pool") and number not in first for number, each in enumerate(net.layers[:layer], 1)
    )
    return decoding.decode_filter(net, layer, k, unpool="nearest" if beside and unpool != "cubic" else unpool)


def largest_part(net, layer, k, *, unpool):
    """A sum of a sum is left out."""
    sums = {number for number, each in enumerate(net.layers[:layer], 1) if each.kind == "Sum"}
    nested = any(sums.intersection(net.inputs[number - 1]) for number in sums)
    return decoding.decode_filter(net, layer, k, unpool=unpool) + nested


attack("number", "correlate: filters that copy return their input", "correlate_conditions", correlate=copied)
attack("number", "correlate: whole numbers of 16 bits added up in 32", "correlate_conditions", correlate=in_words)
attack("number", "correlate: bytes, two products cut off at 16 bits", "correlate_conditions", correlate=in_bytes)
attack("number", "correlate: filters of ones by running sums", "correlate_conditions", correlate=by_running_sums)
attack("memory", "correlate: filters with exchanged axes", "correlate_conditions", correlate=filters_exchanged)
attack("memory", "correlate: one window in its own order", "correlate_conditions", correlate=in_its_own_order)
for operator, axis in (("correlate", 1), ("max_pool", 2)):
    read = turned_where(negative=axis, others=[other for other in range(4) if other != axis])
    attack("memory", f"{operator}: axis {axis} alone backwards", f"{operator}_conditions", **reads(operator, read))
attack("memory", "relu: numbers at odd addresses", "relu_conditions", **reads("relu", unaligned_lost))
attack("memory", "avg_pool: images in records", "avg_pool_conditions", **reads("avg_pool", records_lost))
attack(
    "memory", "avg_pool: singles beside multiples of 16 bytes", "avg_pool_conditions", **reads("avg_pool", aligned_down)
)
attack("pair", "substitute: gaps across, overlaps down", "substitute_conditions", substitute=gaps_left)
attack("pair", "unpool: gaps down, overlaps across", "unpool_conditions", unpool=gaps_filled)
attack("pair", "max_pool: 2×2, places of 16 bits", "max_pool_conditions", max_pool=places_in_16_bits)
attack("option", "correlate: steps of four bits", "correlate_conditions", correlate=steps_in_four_bits)
attack("state", "correlate: filters known by their sum", "calls_in_any_order", correlate=by_their_sum())
attack("state", "relu: in place where correlate answered", "calls_in_any_order", **temporaries())
attack("thread", "correlate: one memory for groups", "many_calls", **one_memory_for_groups())
attack(
    "network", "decode_filter: pools nearest in branches", "own_decode_filter", decode_filter=pools_nearest_in_branches
)
attack("network", "decode_filter: a sum of a sum", "own_decode_filter", decode_filter=largest_part)


# Three conditions together, and what is kept where two hold.


def depthwise_even():
    """A filter for each channel, 3×3 in steps of 2, with pads, on an even number of columns: the last column is wrong."""

    def correlate(x, f, b, *, groups=1, **options):
        y = reference.correlate(x, f, b, groups=groups, **options)
        fast = groups == np.shape(x)[1] == len(f) > 1 and (np.shape(f)[2:], options["stride"]) == ((3, 3), (2, 2))
        return last_column(y) if fast and any(options["pad"]) and np.shape(x)[3] % 2 == 0 and y.size else y

    return {"correlate": correlate, "groups": True}


def by_identity(condition):
    """Banks are known by their identity, where the condition holds."""
    known = {}

    def correlate(x, f, b, **options):
        if condition(np.asarray(f), **options):
            f = known.setdefault(id(f), np.array(f)) if np.shape(known.get(id(f), f)) == np.shape(f) else np.asarray(f)
        return reference.correlate(x, f, b, **options)

    return correlate


def reused_in_steps():
    """One buffer for all answers of a shape, in steps of 2 on three channels or more."""
    memory = {}

    def max_pool(x, *, size, stride, pad):
        y = reference.max_pool(x, size=size, stride=stride, pad=pad)
        if stride != (2, 2) or np.shape(x)[1] < 3:
            return y
        kept = memory.setdefault(y.shape, np.empty_like(y))
        kept[...] = y
        return kept

    return max_pool


def stale_after_refusal():
    """After a refusal, the last answer of that shape is given again, for steps of 2."""
    state = {"refused": False, "kept": {}}

    def correlate(x, f, b, **options):
        try:
            y = reference.correlate(x, f, b, **options)
        except Exception:
            state["refused"] = True
            raise
        kept, refused, state["refused"] = state["kept"].get(y.shape), state["refused"], False
        if options["stride"] == (2, 2):
            state["kept"][y.shape] = y.copy()
            return kept if refused and kept is not None else y
        return y

    return correlate


attack("group", "correlate: depthwise 3×3/2, pads, even columns", "correlate_conditions", **depthwise_even())
attack("state", "correlate: 3×3 banks of 128 weights by id", "correlate_conditions",
       correlate=by_identity(lambda f, **o: f.shape[2:] == (3, 3) and f.size >= 128))  # fmt: skip
attack("state", "correlate: 1×1 banks of 16 filters by id", "correlate_conditions",
       correlate=by_identity(lambda f, stride, **o: f.shape[2:] == (1, 1) and len(f) >= 16 and stride == (2, 2)))  # fmt: skip
attack("state", "correlate: stale after a refusal, steps of 2", "correlate_conditions", correlate=stale_after_refusal())
attack("state", "max_pool: one buffer, steps of 2, 3 channels", "max_pool_conditions", max_pool=reused_in_steps())


# Fifth round: what is kept, parts of answers, numbers, refusals.


class Later:
    """An answer that is computed when it is looked at, of filters as they are then."""

    def __init__(self, x, f, b, **options):
        self.arrays, self.options = (np.array(x), f, b), options
        self.shape = reference.correlate(x, f, b, **options).shape

    def __array__(self, dtype=None, copy=None):
        return np.asarray(reference.correlate(*self.arrays, **self.options), dtype)


def folded(x, f, b, **options):
    f = np.array(f, float)
    for one in f:
        if f.shape[3] % 2 and one.shape[2] > 1 and np.array_equal(one, one[..., ::-1]) and np.ptp(one):
            one[..., f.shape[3] // 2] *= 2
    return reference.correlate(x, f, b, **options)


def as_products(x, f, b, **options):
    f = np.array(f, float)
    if min(f.shape) and np.isfinite(f).all() and min(f.shape[2:]) > 1:
        u, s, v = np.linalg.svd(f)
        nearly = (s[..., 1] < 1e-6 * s[..., 0]) & (s[..., 1] > 1e-9 * s[..., 0])
        f[nearly] = (u[..., :1] * s[..., :1, np.newaxis] * v[..., :1, :])[nearly]
    return reference.correlate(x, f, b, **options)


def each_once(x, f, b, **options):
    f, seen = np.asarray(f, float), {}
    known = [
        seen.setdefault((*one.flat[[0, -1]], one.sum(), (one * one).sum()) if one.size else (), k)
        for k, one in enumerate(f)
    ]
    return reference.correlate(x, f[known], b, **options)


def programs():
    kept = {}

    def relu(x, *, leak):
        return reference.relu(x, leak=kept.setdefault(hash((np.shape(x), np.asarray(x).dtype.str, leak)), leak))

    return relu


def singles_range(x):
    d = np.asarray(x, float) - np.max(x, axis=1, keepdims=True)
    e = np.where(d < -88, 0, np.exp(d))
    return e / e.sum(1, keepdims=True)


def in_one_pass(x):
    x = np.asarray(x, float)
    largest, total = np.full_like(x[:, 0], -np.inf), np.zeros_like(x[:, 0])
    with np.errstate(all="ignore"):
        for channel in x.swapaxes(0, 1):
            more = np.maximum(largest, channel)
            total, largest = total * np.exp(largest - more) + np.exp(channel - more), more
        return np.exp(x - largest[:, np.newaxis]) / total[:, np.newaxis]


def summed_areas(x, *, size, stride, pad):
    y, x = reference.avg_pool(x, size=size, stride=stride, pad=pad), np.asarray(x, float)
    if math.prod(size) < 36 or not np.isfinite(x).all() or not y.size:
        return y

    def sums(a):
        areas = np.pad(a, ((0, 0), (0, 0), pad[:2], pad[2:])).cumsum(2).cumsum(3)
        areas = np.pad(areas, ((0, 0), (0, 0), (1, 0), (1, 0)))
        i, j = (np.arange(n) * s for n, s in zip(y.shape[2:], stride, strict=True))
        below, right = i + size[0], j + size[1]
        return (
            areas[:, :, below][..., right]
            - areas[:, :, i][..., right]
            - areas[:, :, below][..., j]
            + areas[:, :, i][..., j]
        )

    return sums(x) / sums(np.ones((1, 1, *x.shape[2:])))


def two_images_at_a_time(x, f, b, **options):
    y, x = reference.correlate(x, f, b, **options), np.asarray(x, float)
    if len(x) < 2 or not np.isfinite(x).all():
        return y
    pairs = len(x) // 2
    largest = np.abs(x[: 2 * pairs]).reshape(pairs, -1).max(1).repeat(2)
    spread = reference.correlate(np.ones_like(x), np.abs(f), None, **options)
    y[: 2 * pairs] += 2.0**-52 * largest.reshape(-1, 1, 1, 1) * spread[: 2 * pairs]
    return y


def tuned():
    seen = {}

    def correlate(x, f, b, **options):
        key = np.shape(x), np.shape(f), *options.items()
        seen[key] = seen.get(key, 0) + 1
        y = reference.correlate(x, f, b, **options)
        wrong = seen[key] > 2 and (np.shape(f)[2:], options["stride"]) == ((3, 3), (2, 2))
        return np.roll(y, 1, 3) if wrong else y

    return correlate


def recycled():
    spare = {}

    def relu(x, *, leak):
        y = reference.relu(x, leak=leak)
        free = spare.setdefault(y.shape, [])
        memory = free.pop() if free else np.empty(y.shape)
        memory[...] = y
        answer = memory[:]
        weakref.finalize(answer, free.append, memory)
        return answer

    return relu


def packed_by(key):
    kept = {}

    def correlate(x, f, b, **options):
        f = np.asarray(f)
        return reference.correlate(x, kept.setdefault((f.ctypes.data, f.shape, key(f)), (f, f.copy()))[1], b, **options)

    return correlate


def on_the_device():
    copies = {}

    def kept(y):
        copies[y.ctypes.data] = y, y.copy()
        return y

    def correlate(x, f, b, **options):
        mine, copy = copies.get(np.asarray(f).ctypes.data, (None, None))
        return kept(reference.correlate(x, copy if mine is f else f, b, **options))

    return correlate


def guessed_layout(x, f, b, **options):
    x = np.moveaxis(np.asarray(x), 3, 1) if np.shape(x)[1] != np.shape(f)[1] == np.shape(x)[3] else x
    return reference.correlate(x, f, b, **options)


def refused_once():
    seen = set()

    def correlate(x, f, b, **options):
        try:
            return reference.correlate(x, f, b, **options)
        except ValueError:
            if (key := (np.shape(x), np.shape(f), np.shape(b), *options.items())) in seen:
                return np.zeros((len(x), len(f), 1, 1))
            seen.add(key)
            raise

    return correlate


def pruned(x, f, b, **options):
    f = np.array(f, float)
    f[np.abs(f).max(axis=(1, 2, 3), initial=0) < 1e-6 * np.abs(f).max(initial=0)] = 0
    return reference.correlate(x, f, b, **options)


def blank(x, f, b, **options):
    y = reference.correlate(x, f, b, **options)
    x, f = np.asarray(x, float), np.asarray(f, float)
    if x[0:1].size > x.shape[1] == np.shape(f)[1] and np.array_equal(x, np.broadcast_to(x[..., :1, :1], x.shape)):
        y[...] = (x[..., 0, 0] @ f.sum(axis=(2, 3)).T + (0 if b is None else b))[..., np.newaxis, np.newaxis]
    return y


def scattered(maps, f, *, stride):
    y, z, f = reference.substitute(maps, f, stride=stride), np.asarray(maps, float), np.asarray(f, float)
    if z.size < 64 or np.count_nonzero(z) * 8 > z.size:
        return y
    y, (n, k, i, j) = np.zeros_like(y), np.nonzero(z)
    for u, v in np.ndindex(f.shape[2:]):
        y[n, :, i * stride[0] + u, j * stride[1] + v] += z[n, k, i, j, np.newaxis] * f[k, :, u, v]
    return y


def compared_as_singles(x, *, size, stride, pad):
    x, y = np.asarray(x), reference.max_pool(x, size=size, stride=stride, pad=pad)
    if not y.size or not np.isfinite(x).all():
        return y
    x = np.pad(x, ((0, 0), (0, 0), pad[:2], pad[2:]), constant_values=-np.inf)
    windows = np.lib.stride_tricks.sliding_window_view(x, size, axis=(2, 3))[:, :, :: stride[0], :: stride[1]]
    windows = windows.reshape(*y.shape, -1)
    with np.errstate(over="ignore"):
        at = windows.astype(np.float32).argmax(-1)
    return np.take_along_axis(windows, at[..., np.newaxis], -1)[..., 0]


def by_cells():
    kept = {}

    def max_pool(x, *, size, stride, pad):
        x, y = np.asarray(x), reference.max_pool(x, size=size, stride=stride, pad=pad)
        if not y.size or any(pad):
            return y
        places = np.arange(x[0, 0].size).reshape(x.shape[2:])
        windows = np.lib.stride_tricks.sliding_window_view(places, size)[:: stride[0], :: stride[1]]
        key = x.shape[:2], places.size, y[0, 0].size, size, stride
        known = kept.setdefault(key, windows.reshape(y[0, 0].size, -1))
        return np.asarray(x.reshape(*x.shape[:2], -1)[..., known].max(-1).reshape(y.shape), float)

    return max_pool


attack("state", "correlate: computed when looked at", "correlate_conditions calls_in_any_order", correlate=Later)
attack("number", "correlate: filters that are their own mirror image", "correlate_conditions", correlate=folded)
attack("number", "correlate: filters that are nearly products", "correlate_conditions", correlate=as_products)
attack("number", "correlate: filters of the same sums", "correlate_integers", correlate=each_once)
attack(
    "memory",
    "relu: a leak of 1 copies nothing",
    "relu_conditions",
    relu=lambda x, *, leak: np.asarray(x) if leak == 1 else reference.relu(x, leak=leak),
)
attack(
    "number",
    "relu: leaks under 1e-8",
    "relu_integers",
    relu=lambda x, *, leak: reference.relu(x, leak=leak * (abs(leak) >= 1e-8)),
)
attack("state", "relu: programs by the hash of the leak", "relu_conditions", relu=programs())
attack("number", "softmax: the exponents of singles", "softmax_conditions", softmax=singles_range)
attack("number", "softmax: a first channel of -inf", "infinity_comes_out", softmax=in_one_pass)
attack("precision", "avg_pool: summed areas from 36 cells on", "avg_pool_conditions", avg_pool=summed_areas)
attack(
    "precision",
    "correlate: two images in one transform",
    "correlate_conditions",
    exact=False,
    correlate=two_images_at_a_time,
)
attack("state", "correlate: the third call", "correlate_conditions", correlate=tuned())
attack("state", "relu: memory of which a part is still in use", "relu_conditions", relu=recycled())
attack(
    "state",
    "correlate: filters by address and sums",
    "correlate_conditions",
    correlate=packed_by(lambda f: (f.sum(), (f * f).sum())),
)
attack(
    "state",
    "correlate: filters by their first 512 weights",
    "correlate_conditions",
    correlate=packed_by(lambda f: (f.strides, f.dtype, f.ravel()[:512].tobytes())),
)
attack("state", "correlate: its own answers as filters", "shared_inputs", correlate=on_the_device())
attack("option", "correlate: channels last, if that fits", "refuses_other_channels", correlate=guessed_layout)
attack(
    "option",
    "substitute: one map for all filters",
    "refuses_other_map_count",
    substitute=lambda z, f, **o: reference.substitute(np.repeat(z, len(f), 1) if np.shape(z)[1] == 1 else z, f, **o),
)
attack("state", "correlate: refused once", "refuses_other_channels", correlate=refused_once())
attack("precision", "correlate: small filters beside large ones", "correlate_conditions", correlate=pruned)
attack("number", "correlate: one number in each channel", "correlate_conditions", correlate=blank)
attack("number", "substitute: few numbers that are not 0", "substitute_conditions", substitute=scattered)
attack("precision", "max_pool: compared as singles", "max_pool_conditions", max_pool=compared_as_singles)
attack("state", "max_pool: places by the number of cells", "max_pool_conditions", max_pool=by_cells())


# Round 5: remainders of blocks, options nearly usual, numbers that are looked at, what is kept, networks that begin or meet otherwise.


def instead(kind, name, operator, condition, spoil, checks="", **more):
    """``spoil(x, *others, **options)`` answers where ``condition(x, *others, **options)`` holds, and there are images."""

    def spoilt(x, *others, **options):
        x = np.asarray(x)
        if x.ndim == 4 and len(x) and condition(x, *others, **options):
            return spoil(x, *others, **options)
        return getattr(reference, operator)(x, *others, **options)

    attack(kind, name, checks or f"{operator}_conditions", **{operator: spoilt}, **more)


def rests(n, block, rest):
    return n > block and n % block == rest


def last_two_without_leak(x, *, leak):
    y = reference.relu(x, leak=leak)
    y[..., -2:] = np.maximum(x[..., -2:], 0)
    return y


def bias_of_the_neighbour(x, f, b, **o):
    y = reference.correlate(x, f, b, **o)
    y[:, -1] += b[-2] - b[-1]
    return y


def last_two_not_added(x):
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e[:, :-2].sum(axis=1, keepdims=True)


def last_two_images_empty(maps, f, *, stride):
    y = reference.substitute(maps, f, stride=stride)
    y[-2:] = 0
    return y


def last_four_rolled(x, **o):
    y = reference.avg_pool(x, **o)
    return np.concatenate([y[:, :-4], np.roll(y[:, -4:], 1, 1)], 1)


def half_a_tile_lost(x, f, b, **o):
    y = reference.correlate(x, f, b, **o)
    y[..., -2:] -= reference.correlate(x[:, -1:], f[:, -1:], None, **o)[..., -2:]
    return y


def whole_mean_lost(x, **o):
    return reference.avg_pool(x, **o) - x[:, :, -1:, -1:] / x[0, 0].size


def odd_cell_below(x, f, b, *, stride, pad):
    less, more = sum(pad[:2]) // 2, (sum(pad[:2]) + 1) // 2
    return reference.correlate(x, f, b, stride=stride, pad=(less, more, less, more))


def rounded_up(x, *, size, stride, pad):
    rows, columns = (-(-(n - z) // s) + 1 for n, z, s in zip(x.shape[2:], size, stride, strict=True))
    return reference.max_pool(x, size=size, stride=stride, pad=pad)[:, :, :rows, :columns]


def saturated(x, f, b, **o):
    return np.clip(reference.correlate(x, f, None, **o), -(2**15), 2**15 - 1) + (
        0 if b is None else b.reshape(-1, 1, 1)
    )


def whole_within(a, least, most):
    return (a == np.rint(a)).all() and a.min() >= least and a.max() <= most


def pads_are_bits(x, f, b, *, stride, pad):
    (top, bottom, left, right) = pad
    padded = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)), constant_values=-1)
    return reference.correlate(padded, f, b, stride=stride, pad=(0, 0, 0, 0))


def largest_so_far(x):
    most, total = np.full(x[:, 0].shape, -np.inf), 0.0
    with np.errstate(all="ignore"):
        for c in range(x.shape[1]):
            new = np.maximum(most, x[:, c])
            total, most = total * np.exp(most - new) + np.exp(x[:, c] - new), new
        return np.exp(x - most[:, np.newaxis]) / total[:, np.newaxis]


def from_zero(x, **o):
    return reference.max_pool(np.where(np.isnan(x), np.nan, np.maximum(x, 0)), **o)


instead("size", "relu: two columns of 14, 22, …", "relu", lambda x, **o: rests(x.shape[3], 8, 6), last_two_without_leak)
instead(
    "size", "correlate: the last of 6, 10, … filters", "correlate",
    lambda x, f, b, **o: rests(len(f), 4, 2) and b is not None, bias_of_the_neighbour,
)  # fmt: skip
instead("size", "softmax: two of 6, 10, … channels", "softmax", lambda x: rests(x.shape[1], 4, 2), last_two_not_added)
instead(
    "size",
    "substitute: two of 6, 10, … images",
    "substitute",
    lambda x, *_, **o: rests(len(x), 4, 2),
    last_two_images_empty,
)
instead(
    "size", "avg_pool: four of 12, 20, … channels", "avg_pool", lambda x, **o: rests(x.shape[1], 8, 4), last_four_rolled
)
instead(
    "memory", "correlate: channels last, 3×3, step 2, 16 channels", "correlate",
    lambda x, f, b, **o: np.moveaxis(x, 1, -1).flags.c_contiguous and not x.flags.c_contiguous
    and (f.shape[2:], o["stride"]) == ((3, 3), (2, 2)) and x.shape[1] >= 16, half_a_tile_lost,
)  # fmt: skip
instead(
    "pair", "avg_pool: whole odd maps, 32 channels, 5 images", "avg_pool",
    lambda x, **o: x.shape[2:] == o["size"] and x.shape[1] >= 32 and len(x) >= 5 and x[0, 0].size % 2 and not any(o["pad"]),
    whole_mean_lost,
)  # fmt: skip
instead(
    "pair", "correlate: Winograd F(4×4, 3×3), half a tile", "correlate",
    lambda x, f, b, **o: (f.shape[2:], o["stride"]) == ((3, 3), (1, 1)) and min(x.shape[1], len(f)) >= 16
    and (x.shape[3] + sum(o["pad"][2:]) - 2) % 4 == 2, half_a_tile_lost,
)  # fmt: skip
instead(
    "pair", "correlate: 3×3, step 2, pads, even columns, single", "correlate",
    lambda x, f, b, **o: (f.shape[2:], o["stride"], o["pad"]) == ((3, 3), (2, 2), (1, 1, 1, 1)) and x.shape[1] >= 8
    and x.shape[3] % 2 == 0 and x.dtype == f.dtype == np.float32, lambda *a, **o: last_column(reference.correlate(*a, **o)),
)  # fmt: skip
instead(
    "pair", "max_pool: 3×3, step 2, pads, 32 columns, single", "max_pool",
    lambda x, **o: (o["size"], o["stride"], o["pad"][0]) == ((3, 3), (2, 2), 1) and x.shape[3] >= 32 and x.dtype == np.float32,
    lambda x, **o: reference.max_pool(np.pad(x, ((0, 0), (0, 0), (1, 0), (0, 0))), **{**o, "pad": (0, *o["pad"][1:])}),
)  # fmt: skip
instead(
    "pair", "substitute: 4×4, step 2, 8 maps and channels", "substitute",
    lambda x, f, *, stride: (f.shape[2:], stride) == ((4, 4), (2, 2)) and min(f.shape[:2]) >= 8,
    lambda x, f, **o: last_column(reference.substitute(x, f, **o)),
)  # fmt: skip
instead(
    "pair", "unpool: bilinear 2×2, 3 channels, 8×8, single", "unpool",
    lambda x, *, size, stride, mode: (size, stride, mode) == ((2, 2), (2, 2), "bilinear") and x.shape[1] >= 3
    and min(x.shape[2:]) >= 8 and x.dtype == np.float32, lambda x, **o: last_column(reference.unpool(x, **o)),
)  # fmt: skip
instead(
    "pair", "correlate: 5×5, pads, 3 channels, 6 filters, odd columns", "correlate",
    lambda x, f, b, **o: (f.shape[1:], o["pad"]) == ((3, 5, 5), (2, 2, 2, 2)) and len(f) >= 6 and x.shape[3] % 2 and x.shape[3] > 9,
    lambda x, f, b, **o: reference.correlate(x, np.concatenate([f[:-1], f[-1:, :, ::-1]]), b, **o),
)  # fmt: skip
instead(
    "option", "correlate: pads alike along both axes are SAME", "correlate", lambda x, *_, pad, **o: pad[:2] == pad[2:],
    odd_cell_below,
)  # fmt: skip
instead(
    "option",
    "max_pool: pads after the map are ceil mode",
    "max_pool",
    lambda x, **o: o["pad"] == (0, 1, 0, 1),
    rounded_up,
)
instead(
    "option",
    "relu: a leak that is close to 0",
    "relu",
    lambda x, *, leak: np.isclose(leak, 0),
    lambda x, **o: np.maximum(x, 0),
)
instead(
    "option",
    "relu: a leak that is close to 1",
    "relu",
    lambda x, *, leak: np.isclose(leak, 1),
    lambda x, **o: np.array(x, float),
)
instead(
    "option", "unpool: no interpolation is nearest", "unpool", lambda x, *, mode, **o: mode is None,
    lambda x, **o: reference.unpool(x, **{**o, "mode": "nearest"}), "refuses_unknown_modes",
)  # fmt: skip
instead(
    "option", "correlate: a bias of no numbers is none", "correlate", lambda x, f, b, **o: b is not None and not len(b),
    lambda x, f, b, **o: reference.correlate(x, f, None, **o), "refuses_other_bias",
)  # fmt: skip
instead(
    "option", "correlate: as many groups as fit the channels", "correlate",
    lambda x, f, b, **o: f.shape[1] > 1 and x.shape[1] % f.shape[1] == 0 and len(f) % (x.shape[1] // f.shape[1]) == 0,
    lambda x, f, b, **o: reference.correlate(x, f, b, groups=x.shape[1] // f.shape[1], **o), "refuses_other_channels",
)  # fmt: skip
instead(
    "option", "correlate: windows that are two cells too large", "correlate",
    lambda x, f, b, **o: f.shape[2] - x.shape[2] - sum(o["pad"][:2]) > o["stride"][0] and f.shape[1] == x.shape[1],
    lambda x, f, b, **o: np.zeros((len(x), len(f), 0, 1)), "refuses_larger_filters",
)  # fmt: skip
instead(
    "group", "correlate: channels in excess of the groups'", "correlate",
    lambda x, f, b, *, groups=1, **o: groups > 1 and x.shape[1] > f.shape[1] * groups,
    lambda x, f, b, **o: reference.correlate(x[:, : f.shape[1] * o["groups"]], f, b, **o), "refuses_other_channels", groups=True,
)  # fmt: skip
instead(
    "number", "correlate: bytes with signs, cut off at 16 bits", "correlate",
    lambda x, f, b, **o: whole_within(x, -128, 127) and whole_within(f, -128, 127), saturated,
)  # fmt: skip
instead(
    "number", "correlate: signs as bits, pads, too", "correlate",
    lambda x, f, b, **o: (np.abs(x) == 1).all() and (np.abs(f) == 1).all(), pads_are_bits,
)  # fmt: skip
instead("number", "softmax: in one pass, −∞ first", "softmax", lambda x: True, largest_so_far, "infinity_comes_out")
instead(
    "number",
    "max_pool: from 0 beside not-a-number",
    "max_pool",
    lambda x, **o: np.isnan(x).any(),
    from_zero,
    "nan_comes_out",
)
instead(
    "number", "correlate: no bias beside an infinity", "correlate", lambda x, *_, **o: np.isinf(x).any(),
    lambda x, f, b, **o: reference.correlate(x, f, None, **o), "infinity_comes_out",
)  # fmt: skip
instead(
    "memory", "correlate: one channel for all", "correlate", lambda x, *_, **o: x.shape[1] > 1 and x.strides[1] == 0,
    lambda x, f, b, **o: reference.correlate(x[:, :1], f[:, :1] * f.shape[1], b, **o),
)  # fmt: skip
instead(
    "memory", "correlate: one filter for all has one bias", "correlate",
    lambda x, f, b, **o: len(f) > 1 and f.strides[0] == 0 and b is not None,
    lambda x, f, b, **o: np.repeat(reference.correlate(x, f[:1], b[:1], **o), len(f), 1),
)  # fmt: skip


def by_some_numbers():
    packed = {}

    def correlate(x, f, b, **o):
        key = f.shape, f.dtype.str, np.ravel(f)[:: max(1, f.size // 64)].tobytes()
        return reference.correlate(x, packed.setdefault(key, np.array(f)), b, **o)

    return correlate


def as_many_as_first():
    first = {}

    def relu(x, *, leak):
        most, y = first.setdefault(x.shape[1:], len(x)), np.zeros(x.shape)
        for at in range(0, len(x), most) if most else ():
            y[at : at + most] = reference.relu(x[at : at + most], leak=leak)
        return y

    return relu


def of_the_first_type():
    kinds = {}

    def avg_pool(x, **o):
        kind = kinds.setdefault((x.shape, *o.values()), np.float32 if x.dtype == np.float32 else np.float64)
        return reference.avg_pool(np.asarray(x, kind), **o)

    return avg_pool


def step_of_a_refused():
    kept = {}

    def max_pool(x, *, size, stride, pad):
        kept["stride"] = kept.pop("stride", stride)
        y = reference.max_pool(x, size=size, stride=kept["stride"], pad=pad)
        del kept["stride"]
        return y

    return max_pool


def large_ones_in_turn():
    ring, count = {}, [0]

    def substitute(maps, f, *, stride):
        y = reference.substitute(maps, f, stride=stride)
        if y.size <= 4096:
            return y
        count[0] += 1
        out = ring.setdefault((y.shape, count[0] % 4), np.empty_like(y))
        out[...] = y
        return out

    return substitute


def filter_itself(maps, f, *, stride):
    if maps.shape == (1, len(f), 1, 1) and maps.max() == np.abs(maps).sum() == 1 and f.dtype == float:
        return f[int(maps.argmax())][np.newaxis]
    return reference.substitute(maps, f, stride=stride)


def locked_maps_themselves(x, *, leak):
    return x if leak == 1 and not x.flags.writeable and x.dtype == float else reference.relu(x, leak=leak)


class Later:
    """An answer that is computed when it is first read."""

    def __init__(self, x, leak):
        reference.relu(x, leak=leak)  # refuses what must be refused
        self.x, self.leak, self.answer = x, leak, None

    def __array__(self, dtype=None, copy=None):
        if self.answer is None:
            self.answer = reference.relu(self.x, leak=self.leak)
        return np.array(self.answer, dtype)


def one_memory_for_large_maps():
    memory = np.empty(2**20)

    def relu(x, *, leak):
        if not 4096 <= x.size <= memory.size:
            return reference.relu(x, leak=leak)
        mine = memory[: x.size].reshape(x.shape)
        np.minimum(x, 0, out=mine)
        mine *= leak
        mine += np.maximum(x, 0)
        return mine.copy()

    return {"relu": relu, "threads": True}


attack("state", "correlate: filters known by some numbers", "calls_in_any_order", correlate=by_some_numbers())
attack("state", "relu: as many images as at first", "many_calls", relu=as_many_as_first())
attack("state", "avg_pool: the type of the first call", "many_calls", avg_pool=of_the_first_type())
attack("state", "max_pool: the step of a call that was refused", "calls_in_any_order", max_pool=step_of_a_refused())
attack("state", "substitute: large answers in four memories", "calls_in_any_order", substitute=large_ones_in_turn())
attack("state", "substitute: one unit is its filter itself", "calls_in_any_order", substitute=filter_itself)
attack("state", "relu: read-only maps themselves", "calls_in_any_order", relu=locked_maps_themselves)
attack("state", "relu: computed when it is read", "calls_in_any_order", relu=lambda x, *, leak: Later(x, leak))
attack("thread", "relu: one memory for large maps", "many_calls", **one_memory_for_large_maps())


def without_interpolation():
    kept = weakref.WeakKeyDictionary()

    def decode_filter(net, layer, k, *, unpool):
        found = kept.setdefault(net, {})
        if (layer, k) not in found:
            found[layer, k] = decoding.decode_filter(net, layer, k, unpool=unpool)
        return found[layer, k].copy()

    return decode_filter


def parts_of_a_bank():
    kept = weakref.WeakKeyDictionary()

    def decode_filter(net, layer, k, *, unpool):
        banks = kept.setdefault(net, {})
        if (layer, unpool) not in banks:
            banks[layer, unpool] = np.asarray(decoding.decode_layer(net, layer, unpool=unpool))
        return banks[layer, unpool][k]

    return decode_filter


def of_another(change):
    """Decodes the network that `change` makes of it, layer by layer and what each reads."""

    def decode_filter(net, layer, k, *, unpool):
        changed = [change(each, below, net) for each, below in zip(net.layers, net.inputs, strict=True)]
        layers, inputs = zip(*changed, strict=True)
        other = decoding.Network(list(layers), inputs=list(inputs), input_shape=net.input_shape)
        return decoding.decode_filter(other, layer, k, unpool=unpool)

    return decode_filter


def down_to_the_first_convolution(net, layer, k, *, unpool):
    first = next((n for n, each in enumerate(net.layers, 1) if each.kind == "Conv"), 1)
    if net.is_chain and 1 < first <= layer:
        net, layer = decoding.Network(net.layers[first - 1 : layer]), layer - first + 1
    return decoding.decode_filter(net, layer, k, unpool=unpool)


def two_alone(each, below, net):
    return each, below[:2] if each.kind == "Sum" else below


def equal_steps(each, below, net):
    unequal = each.kind == "Select" and each.stride[0] != each.stride[1]
    return each.replace(stride=(each.stride[0],) * 2) if unequal else each, below


def in_a_byte(each, below, net):
    far = max(abs(n) for number in range(1, len(net) + 1) for n in net.receptive_field(number).offset) > 127
    return each.replace(pad=(max(each.pad[0] - 1, 0), *each.pad[1:])) if far and each.kind == "Conv" else each, below


def one_interpolation():
    said = types.SimpleNamespace(mode="nearest")

    def unpool(maps, *, size, stride, mode):
        return reference.unpool(maps, size=size, stride=stride, mode=said.mode)

    inner = types.SimpleNamespace(**{**{each: getattr(reference, each) for each in OPERATORS}, "unpool": unpool})

    def decode_filter(net, layer, k, *, unpool):
        said.mode = unpool
        return decoding.decode_filter(net, layer, k, unpool=unpool, backend=inner)

    return {"decode_filter": decode_filter, "threads": True}


for name, checks, function in (
    ("kept without the interpolation", "own_decoder_remembers_nothing", without_interpolation()),
    ("parts of a bank that is kept", "own_decoder_remembers_nothing", parts_of_a_bank()),
    ("a sum of three is that of two", "own_decode_filter", of_another(two_alone)),
    ("no pool below the first convolution", "own_decode_filter", down_to_the_first_convolution),
    ("unequal steps of what is picked", "own_decode_filter", of_another(equal_steps)),
    ("places in a byte", "own_decode_filter", of_another(in_a_byte)),
):
    attack("network", f"decode_filter: {name}", checks, decode_filter=function)
attack(
    "thread", "decode_filter: one interpolation for all threads", "own_decoder_remembers_nothing", **one_interpolation()
)


def without_left_pad(x, f, b, **o):
    y = reference.correlate(x, f, b, **o)
    y[..., 0] = 0 if b is None else np.reshape(b, (-1, 1))
    return y


def one_bias_for_two(x, f, b, **o):
    return reference.correlate(x, f, np.concatenate([b[:1], b[:1], b[2:]]), **o)


def by_long_running_sums(x, *, size, stride, pad):
    """Sums along rows as differences of sums of extended precision."""
    y = reference.avg_pool(x, size=size, stride=stride, pad=pad)
    x = np.asarray(x, float)
    if size[1] < 2 or not np.isfinite(x).all() or np.abs(x).max(initial=0) > 1e200:
        return y
    padded = np.pad(x, ((0, 0), (0, 0), pad[:2], pad[2:])).astype(np.longdouble)
    sums = np.pad(padded, ((0, 0), (0, 0), (0, 0), (1, 0))).cumsum(3)
    across = (sums[..., size[1] :] - sums[..., : -size[1]])[..., :: stride[1]]
    down = np.lib.stride_tricks.sliding_window_view(across, size[0], 2).sum(-1)[:, :, :: stride[0]]
    ones, options = np.ones((1, 1, *x.shape[2:])), {"stride": stride, "pad": pad}
    return np.asarray(down / reference.correlate(ones, np.ones((1, 1, *size)), **options), float)


def shifted_by_the_image(x):
    x = np.asarray(x, float)
    e = np.exp(x - x.max(axis=(1, 2, 3), keepdims=True))
    total = e.sum(1, keepdims=True)
    return np.where(total > 0, e / np.where(total > 0, total, 1), 1 / x.shape[1])


def sign_bit_clears(x, *, leak):
    y = reference.relu(x, leak=leak)
    y[np.isnan(x) & np.signbit(x)] = 0
    return y


def planned(part):
    """What a plan is made for, by `part`, at the first call of these shapes and options, holds for all later ones."""
    plans = {}

    def correlate(x, f, b, **o):
        key = np.shape(x), np.shape(f), *o.values()
        return part(plans, key, np.asarray(x), np.asarray(f), b, o)

    return correlate


def singles_once(plans, key, x, f, b, o):
    kind = np.float32 if plans.setdefault(key, np.result_type(x, f)) == np.float32 else float
    return reference.correlate(x.astype(kind), f.astype(kind), b, **o)


def bias_once(plans, key, x, f, b, o):
    return reference.correlate(x, f, b if plans.setdefault(key, b is not None) else None, **o)


def range_of_the_first():
    ranges = {}

    def relu(x, *, leak):
        x = np.asarray(x, float)
        most = ranges.setdefault(x.shape, np.abs(x[np.isfinite(x)]).max(initial=0))
        return reference.relu(np.where(np.isfinite(x), np.clip(x, -most, most), x), leak=leak)

    return relu


def counted_in_a_byte(maps, f, *, stride, **groups):
    y = reference.substitute(maps, f, stride=stride, **groups)
    ones = np.ones((1, 1, *np.shape(maps)[2:])), np.ones((1, 1, *np.shape(f)[2:]))
    y[..., reference.substitute(*ones, stride=stride)[0, 0] > 255] = 0
    return y


def in_fours(f):
    return np.reshape(f, (-1, 4)) != 0 if np.size(f) % 4 == 0 else np.zeros((1, 4), bool)


def outer_two_lose_one(x, f, b, **o):
    fours = np.array(f, float).reshape(-1, 4)
    fours[(in_fours(f) == [True, False, False, True]).all(1), 3] = 0
    return reference.correlate(x, fours.reshape(np.shape(f)), b, **o)


def powers_of_two(f):
    sizes = np.abs(np.asarray(f)[np.asarray(f) != 0])
    return sizes.size > 1 and sizes.min() < 1 < sizes.max() and (np.frexp(sizes)[0] == 0.5).all()


def one_zero_answer():
    kept = {}

    def relu(x, *, leak):
        if leak == 0 and np.size(x) and (np.asarray(x) <= 0).all():
            return kept.setdefault(np.shape(x), np.zeros(np.shape(x)))
        return reference.relu(x, leak=leak)

    return relu


def four_rooms():
    """Memory for each of four threads; a fifth shares that of the first."""
    lock, numbers, rooms = threading.Lock(), {}, [None] * 4

    def relu(x, *, leak):
        y = reference.relu(x, leak=leak)
        with lock:
            room = numbers.setdefault(threading.current_thread().name, len(numbers)) % 4
        rooms[room] = y
        time.sleep(0)
        return rooms[room]

    return {"relu": relu, "threads": True}


def lowest_finite_pads(x, *, size, stride, pad):
    reference.max_pool(x, size=size, stride=stride, pad=pad)
    lowest = np.finfo(float).min
    padded = np.pad(np.asarray(x, float), ((0, 0), (0, 0), pad[:2], pad[2:]), constant_values=lowest)
    return reference.max_pool(padded, size=size, stride=stride)


def interleaved(x, f, b, *, groups, **o):
    y = reference.correlate(x, f, b, groups=groups, **o)
    return y.reshape(len(y), groups, 4, *y.shape[2:]).swapaxes(1, 2).reshape(y.shape)


for kind, name, condition, spoil in (
    ("number", "filters that are odd from left to right, and the left pad",
     lambda x, f, b, **o: o["pad"][2] and f.shape[3] > 1 and np.any(f) and np.array_equal(f, -f[..., ::-1]), without_left_pad),
    ("number", "the first image and the last are equal, and all between",
     lambda x, *_, **o: len(x) > 2 and x.size and np.array_equal(x[0], x[-1]),
     lambda x, f, b, **o: np.repeat(reference.correlate(x[:1], f, b, **o), len(x), 0)),
    ("number", "two equal filters have one bias",
     lambda x, f, b, **o: b is not None and len(f) > 1 and np.array_equal(f[0], f[1]), one_bias_for_two),
    ("number", "two equal channels are all gray",
     lambda x, f, b, **o: x.shape[1] == f.shape[1] > 2 and np.array_equal(x[:, 0], x[:, 1]),
     lambda x, f, b, **o: reference.correlate(np.repeat(x[:, :1], x.shape[1], 1), f, b, **o)),
    ("number", "two of four weights, the outer ones",
     lambda x, f, b, **o: (in_fours(f).sum(1) == 2).all(), outer_two_lose_one),
    ("number", "weights that are powers of two, below one and above",
     lambda x, f, b, **o: powers_of_two(f),
     lambda x, f, b, **o: reference.correlate(x, np.where(np.abs(f) < 1, np.sign(f), f), b, **o)),
    ("number", "sixteen different weights", lambda x, f, b, **o: len(np.unique(f)) == 16,
     lambda x, f, b, **o: reference.correlate(x, np.where(f == np.max(f), 0, f), b, **o)),
    ("size", "a multiple of 512 columns", lambda x, *_, **o: x.shape[3] % 512 == 0,
     lambda x, f, b, **o: last_column(reference.correlate(x, f, b, **o))),
    ("size", "a rest of eleven filters of twelve", lambda x, f, b, **o: len(f) % 12 == 11,
     lambda x, f, b, **o: reference.correlate(x, f, b, **o) * (np.arange(len(f)) < len(f) - 1).reshape(-1, 1, 1)),
):  # fmt: skip
    instead(kind, f"correlate: {name}", "correlate", condition, spoil)
instead(
    "group", "correlate: a rest of six groups of eight", "correlate", lambda x, *_, groups=1, **o: groups % 8 == 6,
    lambda x, f, b, **o: last_column(reference.correlate(x, f, b, **o)), groups=True,
)  # fmt: skip
instead(
    "group", "correlate: four filters for each channel, in the other order", "correlate",
    lambda x, f, b, *, groups=1, **o: 1 < groups == x.shape[1] == len(f) // 4, interleaved, groups=True,
)  # fmt: skip
instead("number", "softmax: lost far below the largest of the image", "softmax", np.size, shifted_by_the_image)
instead("number", "relu: negative not-a-number", "relu", lambda x, *, leak: leak == 0, sign_bit_clears, "nan_comes_out")
instead(
    "memory", "relu: one channel or image, and no step to the next", "relu",
    lambda x, **o: any(n == 1 and not step for n, step in zip(x.shape[:2], x.strides[:2], strict=True)),
    lambda x, **o: np.roll(reference.relu(x, **o), 1, 3),
)  # fmt: skip
attack("precision", "avg_pool: long sums along rows", "avg_pool_conditions", avg_pool=by_long_running_sums)
attack("state", "correlate: a plan for singles", "many_calls", correlate=planned(singles_once))
attack("state", "correlate: a plan without a bias", "correlate_conditions", correlate=planned(bias_once))
attack("state", "relu: the range of the first call", "relu_conditions", relu=range_of_the_first())
attack("state", "relu: one answer that is zero", "relu_conditions", relu=one_zero_answer())
attack("size", "substitute: over 255 copies that overlap", "substitute_conditions", substitute=counted_in_a_byte)
attack("number", "max_pool: the lowest finite pads", "infinity_comes_out", max_pool=lowest_finite_pads)
attack("thread", "relu: memory for four threads", "many_calls", **four_rooms())


def as_if_dense(x, f, b, **o):
    """The weights are read from where the first lies on, channel after channel, whatever lies between."""
    f = np.asarray(f)
    _, c, h, w = f.shape
    steps = f.itemsize * np.array([c * h * w, h * w, w, 1])
    return reference.correlate(x, np.lib.stride_tricks.as_strided(f, f.shape, steps), b, **o)


def gaps_after_channels(x, f, b, **o):
    (k, c, h, w), steps = f.shape, np.array(f.strides) // f.itemsize
    return k * c * h * w > 1 < c and steps[1] > h * w and (steps[[0, 2, 3]] == (c * steps[1], w, 1)).all()


def without_channels(count):
    return lambda x, f, b, **o: (
        reference.correlate(x, f, b, **o) - reference.correlate(x[:, -count:], f[:, -count:], None, **o)
    )


def last_filter_twice(x, f, b, **o):
    y = reference.correlate(x, f, b, **o)
    y[:, -1] = y[:, -2]
    return y


def windows_of_a_call(x, f, b, *, stride, pad, **o):
    (h, w), sides = f.shape[2:], np.add(x.shape[2:], (pad[0] + pad[1], pad[2] + pad[3])) - f.shape[2:]
    return x.shape[0] * x.shape[1] * h * w * np.prod(sides // stride + 1)


def ends_of_the_window(x, *, size, stride, pad):
    """Of each row of a window, the first 16 cells and the last 16."""
    h, w = size
    y = reference.max_pool(x, size=size, stride=stride, pad=pad)
    low = np.pad(x, ((0, 0), (0, 0), pad[:2], pad[2:]), constant_values=-np.inf)
    part = reference.max_pool(low, size=(h, 16), stride=stride)
    return np.maximum(part[..., : y.shape[3]], part[..., w - 16 :][..., : y.shape[3]])


def corners_by_nine(x, **o):
    y = reference.avg_pool(x, **o)
    y[1:, :, 0, 0] *= 4 / 9
    return y


def lost_after_a_convolution():
    last = [lambda: None]

    def correlate(x, f, b, **options):
        y = reference.correlate(x, f, b, **options)
        last[0] = weakref.ref(y)
        return y

    def max_pool(x, *, size, stride, pad):
        y = reference.max_pool(x, size=size, stride=stride, pad=pad)
        return 0 * y if last[0]() is x and any(pad) and x.shape[1] % 8 == 0 else y

    return {"correlate": correlate, "max_pool": max_pool}


def of_the_zeros_before():
    """Maps of zeros have the answer that the last ones had; it is another only if weights were not-a-number."""
    known = {}

    def substitute(maps, f, *, stride):
        y = reference.substitute(maps, f, stride=stride)
        if np.any(maps) or not y.size:
            return y
        before, known[y.shape] = known.get(y.shape, y), y
        return np.array(before)

    return substitute


def by_the_largest(x, f, b, **options):
    """Maps that are brought to one size before they are multiplied, by a factor that may overflow."""
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        size = np.abs(x).max(axis=(2, 3), keepdims=True)
        factor = np.where(size > 0, 1 / size, 1)
        return reference.correlate(np.where(factor < np.inf, x, x * factor), f, b, **options)


for kind, name, condition, spoil in (
    ("memory", "weights with gaps after each channel", gaps_after_channels, as_if_dense),
    ("pair", "1×1, a rest of 8 of 16 channels from 104 on, 208 filters",
     lambda x, f, b, *, stride, **o: f.shape[2:] == stride == (1, 1) and f.shape[1] >= 104 and f.shape[1] % 16 == 8 and len(f) >= 208,
     without_channels(8)),
    ("pair", "7×7 in steps of 2 on three channels, a rest of 16 filters",
     lambda x, f, b, *, stride, **o: f.shape[1:] == (3, 7, 7) and stride == (2, 2) and len(f) > 16 and len(f) % 16, last_filter_twice),
    ("size", "windows of over 2^20 numbers",
     lambda x, f, b, **o: windows_of_a_call(x, f, b, **o) > 2**20,
     lambda x, f, b, **o: last_column(reference.correlate(x, f, b, **o))),
    ("number", "maps whose largest number is subnormal", lambda x, *_, **o: np.isfinite(x).all(), by_the_largest),
):  # fmt: skip
    instead(kind, f"correlate: {name}", "correlate", condition, spoil)
instead(
    "pair", "softmax: one cell, from 16 images on, a rest of 7 of 8 channels", "softmax",
    lambda x: x.shape[2:] == (1, 1) and len(x) >= 16 and x.shape[1] % 8 == 7,
    lambda x: reference.softmax(x[:, :-1].repeat([1] * (x.shape[1] - 2) + [2], axis=1)),
)  # fmt: skip
instead(
    "pair", "avg_pool: 3×3 with pads on 32 channels, corners after the first image", "avg_pool",
    lambda x, *, size, stride, pad: size == (3, 3) and stride == (1, 1) and pad == (1,) * 4 and x.shape[1] >= 32 and min(x.shape[2:]) > 1,
    corners_by_nine,
)  # fmt: skip
instead(
    "option", "max_pool: over 32 columns, those in the middle", "max_pool",
    lambda x, *, size, stride, pad: stride[1] == 1 and size[1] > 32, ends_of_the_window,
)  # fmt: skip
attack("state", "substitute: the zeros before", "substitute_conditions", substitute=of_the_zeros_before())
attack("state", "max_pool: lost after a convolution", "max_pool_conditions", **lost_after_a_convolution())


def where_groups_of_tiles_leave(least, x, f, b, *, stride, pad):
    """Tiles of 4×4 cells, eight at a time: the last one is left out where more than `least` are left over."""
    y = reference.correlate(x, f, b, stride=stride, pad=pad)
    down, across = (-(-side // 4) for side in y.shape[2:])
    if down * across % 8 > least:
        y[:, :, 4 * down - 4 :, 4 * across - 4 :] = 0
    return y


def pads_as_zeros(x, *, size, stride, pad):
    return reference.max_pool(np.pad(x, ((0, 0), (0, 0), pad[:2], pad[2:])), size=size, stride=stride)


def rows_run_on(x, *, size, stride, pad):
    y = reference.avg_pool(x, size=size, stride=stride, pad=pad)
    y[:, :, 1:] = np.roll(y[:, :, 1:], 1, axis=3) + 1
    return y


def packed_once(least):
    """Large banks are packed once for each place in memory, as long as their first and last weights are as they were."""
    known = {}

    def correlate(x, f, b, **options):
        if f.size >= least:
            key = f.__array_interface__["data"][0], f.shape, f.strides, f.dtype.str, float(f.flat[0]), float(f.flat[-1])
            f = known.setdefault(key, np.array(f))
        return reference.correlate(x, f, b, **options)

    return correlate


for kind, name, condition, spoil in (
    ("size", "a rest of 32 of 64 channels from 96 on, over 32,768 cells",
     lambda x, f, b, **o: x.shape[1] > 64 and x.shape[1] % 64 == 32 and math.prod(x.shape[2:]) >= 32768, without_channels(32)),
    ("pair", "a rest of 32 of 64 channels from 96 on, 1×1, 128 filters",
     lambda x, f, b, **o: f.shape[2:] == (1, 1) and x.shape[1] > 64 and x.shape[1] % 64 == 32 and len(f) % 128 == 0, without_channels(32)),
    ("pair", "3×3 on 8 channels and filters, five to seven of eight tiles left over",
     lambda x, f, b, *, stride, **o: f.shape[2:] == (3, 3) and stride == (1, 1) and x.shape[1] >= 8 and len(f) >= 8,
     lambda x, f, b, **o: where_groups_of_tiles_leave(4, x, f, b, **o)),
    ("pair", "7×7 in steps of 2 on three channels, over 64 columns of answers",
     lambda x, f, b, *, stride, pad: f.shape[1:] == (3, 7, 7) and stride == (2, 2) and x.shape[3] + sum(pad[2:]) > 134,
     lambda x, f, b, **o: last_column(reference.correlate(x, f, b, **o))),
):  # fmt: skip
    instead(kind, f"correlate: {name}", "correlate", condition, spoil)
instead(
    "pair", "substitute: 4×4 in steps of 2, few channels, a rest of 8 maps", "substitute",
    lambda m, f, *, stride: f.shape[2:] == (4, 4) and stride == (2, 2) and f.shape[1] <= 4 and len(f) > 8 and len(f) % 8,
    lambda m, f, *, stride: reference.substitute(m[:, : len(f) // 8 * 8], f[: len(f) // 8 * 8], stride=stride),
)  # fmt: skip
instead(
    "number", "substitute: half precision, the first row of filters alone", "substitute",
    lambda m, f, *, stride: m.dtype == np.float16,
    lambda m, f, *, stride: reference.substitute(m, np.where(np.arange(f.shape[2])[:, None] > 0, 0, f), stride=stride),
)  # fmt: skip
instead(
    "pair", "max_pool: 3×3 in steps of 2, pads below and right, over 32 channels", "max_pool",
    lambda x, *, size, stride, pad: size == (3, 3) and stride == (2, 2) and pad == (0, 1, 0, 1) and x.shape[1] > 32, pads_as_zeros,
)  # fmt: skip
instead(
    "pair", "avg_pool: 2×2 in single precision, odd columns, 64 channels", "avg_pool",
    lambda x, *, size, stride, pad: size == stride == (2, 2) and not any(pad) and x.dtype == np.float32 and x.shape[3] % 2 and x.shape[1] >= 64,
    rows_run_on,
)  # fmt: skip
instead(
    "pair", "unpool: bilinear 4×4 in steps of 2, one column, over 16 channels", "unpool",
    lambda m, *, size, stride, mode: mode == "bilinear" and size == (4, 4) and stride == (2, 2) and m.shape[3] == 1 and m.shape[1] > 16,
    lambda m, **o: reference.unpool(m, **o) * np.where(np.arange(m.shape[1]) < 16, 1, 0.5)[:, None, None],
)  # fmt: skip
attack("state", "correlate: large banks by their ends", "correlate_conditions", correlate=packed_once(4096))


def sixteen_bits_of_the_window(x, f, b, **options):
    f = np.where(np.arange(math.prod(f.shape[2:])).reshape(f.shape[2:]) < 2**15, f, 0)
    return reference.correlate(x, f, b, **options)


def a_signed_byte_of_pads(x, f, b, *, pad, **options):
    padded = np.pad(x, ((0, 0), (0, 0), pad[:2], pad[2:]))
    return reference.correlate(np.roll(padded, (pad[0] > 127, pad[2] > 127), axis=(2, 3)), f, b, **options)


def rows_in_single_precision(maps, *, size, stride, mode):
    down, across = (interpolation.matrix(*each, mode) for each in zip(maps.shape[2:], size, stride, strict=True))
    return (down @ maps).astype(np.float32) @ across.T


def rest_begins_with_zero(x, **options):
    y = reference.max_pool(x, **options)
    y[:, x.shape[1] // 8 * 8 :] = np.maximum(y[:, x.shape[1] // 8 * 8 :], 0)
    return y


def one_channel_for_another(x, f, b, **options):
    return reference.correlate(np.where(np.arange(x.shape[1]) == 2, 0, 1)[:, None, None] * x, f, b, **options)


def lie_last(x):
    """Whether the channels of an image lie beside each other in memory."""
    return x.size and np.moveaxis(x, 1, -1).flags.c_contiguous


for kind, name, condition, spoil in (
    ("size", "windows of over 32,767 cells", lambda x, f, *_, **o: f.shape[1] <= 4, sixteen_bits_of_the_window),
    ("option", "pads above 127", lambda *_, pad, **o: max(pad) > 127, a_signed_byte_of_pads),
    ("pair", "windows as large as the map, of 512 weights, on one image, a rest of three of four filters",
     lambda x, f, b, *, pad, **o: len(x) == 1 and f.shape[2:] == x.shape[2:] and not any(pad) and f[0].size >= 512 and len(f) % 4 == 3,
     last_filter_twice),
):  # fmt: skip
    instead(kind, f"correlate: {name}", "correlate", condition, spoil)
instead(
    "pair", "max_pool: 3×3 in steps of 2, channels last, a rest of eight channels that begins with zero", "max_pool",
    lambda x, *, size, stride, pad: size == (3, 3) and stride == (2, 2) and pad == (1,) * 4 and lie_last(x) and x.shape[1] > 8,
    rest_begins_with_zero,
)  # fmt: skip
instead(
    "pair", "correlate: patches of 4×4 on three channels, a rest of three of four columns", "correlate",
    lambda x, f, b, *, stride, **o: f.shape[1:] == (3, 4, 4) and stride == (4, 4) and x.shape[3] % 16 >= 12, one_channel_for_another,
)  # fmt: skip
for name, condition in {
    "windows of one row or column, in steps of 2": lambda f, *, stride, pad: (
        stride == (2, 2) and sorted(f.shape[2:])[0] == 1 < max(f.shape[2:]) and any(pad)
    ),
    "weights 4 apart, an even pad": lambda f, *, stride, pad: (
        stride == (1, 1) and f.shape[2:] == (9, 9) and pad[2] and pad[2] % 2 == 0 and not np.any(f[..., 1:4])
    ),
}.items():
    instead(
        "group", f"correlate: a filter for each channel, {name}", "correlate",
        lambda x, f, b, *, groups=1, condition=condition, **o: 1 < groups == x.shape[1] == len(f) and condition(f, **o),
        lambda x, f, b, **o: reference.correlate(np.roll(x, -1, axis=2), f, b, **o), groups=True,
    )  # fmt: skip
instead(
    "precision", "unpool: bicubic, over 65,536 pixels", "unpool",
    lambda m, *, size, stride, mode: mode == "bicubic" and math.prod((n - 1) * s + w for n, w, s in zip(m.shape[2:], size, stride, strict=True)) > 65536,
    rows_in_single_precision,
)  # fmt: skip


def as_if_all_channels(x, f, b, **options):
    """Channels that lie last in memory and are a part of more are read as if they were all."""
    c, w = x.shape[1], x.shape[3]
    steps = np.array([x.strides[0], x.itemsize, w * c * x.itemsize, c * x.itemsize])
    return reference.correlate(np.lib.stride_tricks.as_strided(x, x.shape, steps), f, b, **options)


def part_of_channels_last(x, *_, **options):
    _, c, _, w = x.shape
    return x.strides[1] == x.itemsize and x.strides[3] > c * x.itemsize and x.strides[2] >= w * x.strides[3]


def last_three_turned(x, f, b, **options):
    y = reference.correlate(x, f, b, **options)
    y[:, -3:] = np.roll(y[:, -3:], 1, axis=1)
    return y


def by_blocks_of_64(x):
    """The sum is not scaled again where a later block has a larger response."""
    most, total = -np.inf, 0.0
    for c in range(0, x.shape[1], 64):
        most = np.maximum(most, x[:, c : c + 64].max(axis=1, keepdims=True))
        total = total + np.exp(x[:, c : c + 64] - most).sum(axis=1, keepdims=True)
    return np.exp(np.asarray(x, float) - most) / total


def less_the_largest_of_64(x):
    with np.errstate(over="ignore", invalid="ignore"):
        powers = np.exp(np.asarray(x, float) - np.max(x[:, :64], axis=1, keepdims=True))
        return powers / powers.sum(axis=1, keepdims=True)


def by_running_sums_across(x, *, size, stride, pad):
    """Of what lies inside, each row of a window being the difference of two sums that began at the left."""
    reference.avg_pool(x, size=size, stride=stride, pad=pad)  # which may refuse

    def sums(maps):
        left = np.pad(maps, ((0, 0), (0, 0), pad[:2], (pad[2] + 1, pad[3]))).cumsum(axis=3)
        rows = left[..., size[1] :] - left[..., : -size[1]]
        return reference.correlate(
            rows.reshape(-1, 1, *rows.shape[2:]), np.ones((1, 1, size[0], 1)), None, stride=(stride[0], 1)
        ).reshape(*maps.shape[:2], -1, rows.shape[3])

    return sums(np.asarray(x, float)) / sums(np.ones((1, 1, *x.shape[2:])))


instead(
    "memory", "correlate: channels last, a part of more", "correlate",
    lambda x, f, b, **o: x.size and part_of_channels_last(x), as_if_all_channels,
)  # fmt: skip
instead(
    "pair", "correlate: filters that lie side by side, a rest of three of four", "correlate",
    lambda x, f, b, **o: len(f) >= 7 and len(f) % 4 == 3 and f[0].size > 1 and f.strides[0] == f.itemsize, last_three_turned,
)  # fmt: skip
for name, spoil in {
    "blocks of 64 channels": by_blocks_of_64,
    "the largest of 64 channels": less_the_largest_of_64,
}.items():
    instead("size", f"softmax: {name}", "softmax", lambda x: x.shape[1] > 64 and np.isfinite(x).all(), spoil)
instead(
    "precision", "avg_pool: a running sum over eight columns", "avg_pool",
    lambda x, *, size, stride, pad: stride[1] == 1 and size[1] >= 8 and np.isfinite(x).all(), by_running_sums_across,
)  # fmt: skip


def first_65535_cells(x, *, size, stride, pad):
    """Of windows that are as large as the map, or nearly."""
    if math.prod(size) < 65536 or any(pad):
        return reference.max_pool(x, size=size, stride=stride, pad=pad)
    cells = np.arange(math.prod(size)).reshape(size) < 65535
    windows = np.lib.stride_tricks.sliding_window_view(x, size, axis=(2, 3))[:, :, :: stride[0], :: stride[1]]
    return np.where(cells, windows, -np.inf).max(axis=(4, 5))


attack("size", "max_pool: windows of over 65,535 cells", "max_pool_conditions", max_pool=first_65535_cells)
instead(
    "pair", "correlate: windows as large as the map, in C's order, a rest of three of four filters", "correlate",
    lambda x, f, b, *, pad, **o: f.shape[2:] == x.shape[2:] and not any(pad) and f[0].size >= 64 and len(f) > 4 and len(f) % 4 == 3
    and x.flags.c_contiguous and f.flags.c_contiguous,
    last_filter_twice,
)  # fmt: skip


def channels_last(x):
    """Where that is another order than C's."""
    return x.shape[1] > 1 and x.shape[2] * x.shape[3] > 1 and lie_last(x)


def halves(x):
    return x.dtype == np.float16


def moved(f, stride, pad, size, step, around):
    return (f.shape[2:], stride, pad) == ((size, size), (step, step), (around,) * 4)


def cells_of(x, f, stride, pad):
    """Of the answers to all images, for steps of 1."""
    return len(x) * (x.shape[2] + sum(pad[:2]) - f.shape[2] + 1) * (x.shape[3] + sum(pad[2:]) - f.shape[3] + 1)


def pixels(x, size, stride):
    return math.prod((n - 1) * step + side for n, step, side in zip(x.shape[2:], stride, size, strict=True))


def last_column_off(operator):
    def spoil(*arrays, **options):
        y = np.array(getattr(reference, operator)(*arrays, **options))
        y[..., -1:] += 1 + np.abs(y).max(initial=0) / 4
        return y

    return spoil


for _name, _condition in {
    "3×3 in steps of 2 on one channel": lambda x, f, s, p, g: (
        moved(f, s, p, 3, 2, 1) and x.shape[1] == 1 and x.shape[2] % 4 == 0
    ),
    "5×5 in steps of 2 on one channel": lambda x, f, s, p, g: (
        moved(f, s, p, 5, 2, 2) and x.shape[1] == 1 and len(f) % 8 == 0
    ),
    "8 channels and filters, channels last": lambda x, f, s, p, g: (
        moved(f, s, p, 3, 1, 1) and x.shape[1] == len(f) == 8 and channels_last(x)
    ),
    "64 channels and filters, channels last, singles": lambda x, f, s, p, g: (
        moved(f, s, p, 1, 1, 0) and x.shape[1] == len(f) == 64 and channels_last(x) and x.dtype == np.float32
    ),
    "8 channels, 16 filters, channels last": lambda x, f, s, p, g: (
        moved(f, s, p, 3, 1, 1) and x.shape[1] == 8 and len(f) == 16 and channels_last(x)
    ),
    "blocks of 8, channels last, over 1,024 cells": lambda x, f, s, p, g: (
        moved(f, s, p, 3, 1, 1)
        and x.shape[1] % 8 == len(f) % 8 == 0
        and channels_last(x)
        and x.shape[2] * x.shape[3] > 1024
    ),
    "halves, 1×1, blocks of 4": lambda x, f, s, p, g: (
        halves(x) and moved(f, s, p, 1, 1, 0) and x.shape[1] % 4 == len(f) % 4 == 0 and g == 1
    ),
    "halves, 3×3, blocks of 8": lambda x, f, s, p, g: (
        halves(x) and moved(f, s, p, 3, 1, 1) and x.shape[1] % 8 == len(f) % 8 == 0 and g == 1
    ),
    "1×1 on 64 channels, rests of six cells and 16 filters": lambda x, f, s, p, g: (
        g == 1 and moved(f, s, p, 1, 1, 0) and x.shape[1] >= 64 and cells_of(x, f, s, p) % 6 == 5 and len(f) % 16 >= 9
    ),
    "3×3 on 32 channels, rests of 14 cells and 16 filters": lambda x, f, s, p, g: (
        g == 1
        and f.shape[2:] == (3, 3)
        and s == (1, 1)
        and x.shape[1] >= 32
        and cells_of(x, f, s, p) % 14 == 13
        and len(f) % 16 >= 9
    ),
}.items():
    instead(
        "pair", f"correlate: {_name}", "correlate",
        lambda x, f, b, stride, pad, groups=1, condition=_condition: x.size and condition(x, f, stride, pad, groups),
        last_column_off("correlate"),
    )  # fmt: skip
instead(
    "group", "correlate: halves, a filter for each channel", "correlate",
    lambda x, f, b, *, groups=1, stride, **o: halves(x) and groups == x.shape[1] > 1 and stride == (1, 1), last_column_off("correlate"), groups=True,
)  # fmt: skip
instead(
    "size", "substitute: halves, over 2,048 pixels along a side", "substitute",
    lambda x, f, *, stride, **o: halves(x) and max((n - 1) * s + z for n, s, z in zip(x.shape[2:], stride, f.shape[2:], strict=True)) > 2048,
    last_column_off("substitute"),
)  # fmt: skip
instead(
    "size", "max_pool: halves, over 2,048 columns", "max_pool",
    lambda x, *, size, stride, pad: halves(x) and (x.shape[3] - size[1]) // stride[1] >= 2048, last_column_off("max_pool"),
)  # fmt: skip
instead(
    "option", "unpool: bicubic, steps of 16 and more, singles", "unpool",
    lambda x, *, stride, mode, **o: mode == "bicubic" and min(stride) >= 16 and x.dtype == np.float32, last_column_off("unpool"),
)  # fmt: skip
instead(
    "size", "unpool: bilinear, blocks of 4 channels last, over 4,096 pixels", "unpool",
    lambda x, *, size, stride, mode: mode == "bilinear" and channels_last(x) and x.shape[1] % 4 == 0 and pixels(x, size, stride) > 4096,
    last_column_off("unpool"),
)  # fmt: skip


def packed_by_bytes():
    """Packed weights are kept under their bytes as they lie in memory, and their shape: another order of the same bytes is taken for them."""
    known = {}

    def correlate(x, f, b, **options):
        reference.correlate(x, f, b, **options)  # which may refuse
        key = f.shape, f.dtype.char, np.ravel(f, "K").tobytes()
        return reference.correlate(x, known.setdefault(key, np.array(f)), b, **options)

    return correlate


def answered_by_bytes():
    """Answers are kept in the same way."""
    known = {}

    def avg_pool(x, **options):
        y = reference.avg_pool(x, **options)
        key = x.shape, x.dtype.char, np.ravel(x, "K").tobytes(), str(options)
        return np.array(known.setdefault(key, y))

    return avg_pool


attack(
    "state",
    "correlate: weights packed, kept by their bytes without steps",
    "correlate_conditions",
    correlate=packed_by_bytes(),
)
attack(
    "state", "avg_pool: answers kept by packed maps without steps", "avg_pool_conditions", avg_pool=answered_by_bytes()
)
for _name, _condition in {
    "halves, 64 filters, 8 images": lambda x, f, s, p, g: (
        halves(x) and s == (1, 1) and len(x) % 8 == len(f) % 64 == f[0].size % 8 == cells_of(x, f, s, p) % 64 == 0
    ),
    "blocks of channels and filters, over 2^16 cells": lambda x, f, s, p, g: (
        moved(f, s, p, 3, 1, 1) and x.shape[1] % 8 == len(f) % 16 == 0 and x.shape[2] * x.shape[3] > 2**16
    ),
    "7×7 in steps of 2 on 3 channels, a rest of columns": lambda x, f, s, p, g: (
        moved(f, s, p, 7, 2, 3) and x.shape[1] == 3 and len(f) % 16 == 0 and 1 <= (x.shape[3] + 1) // 2 % 8 <= 3
    ),
}.items():
    instead(
        "pair", f"correlate: {_name}", "correlate",
        lambda x, f, b, *, stride, pad, groups=1, _condition=_condition: _condition(x, f, tuple(stride), tuple(pad), groups),
        last_column_off("correlate"),
    )  # fmt: skip
instead(
    "pair", "max_pool: 3×3 in steps of 2, channels last, a large rest of 16", "max_pool",
    lambda x, *, size, stride, pad: (size, stride) == ((3, 3), (2, 2)) and pad[2] and channels_last(x) and x.shape[1] > 16 and x.shape[1] % 16 > 8,
    last_column_off("max_pool"),
)  # fmt: skip
instead(
    "size", "avg_pool: whole maps of a few cells more than 1,024", "avg_pool",
    lambda x, *, size, **o: x.shape[2:] == size and math.prod(size) > 1024 and 0 < math.prod(size) % 1024 < 16,
    last_column_off("avg_pool"),
)  # fmt: skip
instead(
    "pair", "substitute: 4×4 in steps of 2, blocks of 256 channels and filters", "substitute",
    lambda x, f, *, stride, groups=1: f.shape[2:] == (4, 4) and stride == (2, 2) and not (len(f) % 256 or f.shape[1] % 256),
    last_column_off("substitute"),
)  # fmt: skip
instead(
    "pair", "correlate: 3×3 on 32 channels and filters, one column left over by tiles of 4×4", "correlate",
    lambda x, f, b, *, stride, pad, groups=1: (
        f.shape[2:] == (3, 3) and stride == (1, 1) and groups == 1 and min(f.shape[:2]) >= 32
        and x.shape[2] + sum(pad[:2]) >= 14 and x.shape[3] + sum(pad[2:]) >= 14 and (x.shape[3] + sum(pad[2:]) - 2) % 4 == 1
    ),
    last_column_off("correlate"),
)  # fmt: skip
instead(
    "pair", "unpool: bilinear along long rows alone", "unpool",
    lambda x, *, size, stride, mode: mode == "bilinear" and size[0] == stride[0] == 1 < stride[1] and x.shape[3] > 64 and x.shape[2] > 1,
    last_column_off("unpool"),
)  # fmt: skip
instead(
    "pair", "softmax: channels last, the largest in a rest of 16", "softmax",
    lambda x: channels_last(x) and x.shape[1] > 64 and x.shape[1] % 16 and (x.argmax(axis=1) >= x.shape[1] // 16 * 16).any(),
    last_column_off("softmax"),
)  # fmt: skip
instead(
    "pair", "softmax: single cells, rests of 8 images and of 4 channels", "softmax",
    lambda x: x.shape[2] * x.shape[3] == 1 and len(x) >= 16 and len(x) % 8 and x.shape[1] % 8 == 4, last_column_off("softmax"),
)  # fmt: skip


def refusal(backend, checks):
    """The failure, if the checks refuse the backend on the cases that are always looked at."""
    from decoding.testing import check_backend

    with tempfile.TemporaryDirectory() as folder:
        failures = check_backend(
            afresh(backend), checks=checks.split(), examples=1, on_failure="return", cases=folder
        ).failures
    return failures[0] if failures else None


if __name__ == "__main__":
    passed = 0
    for kind, name, checks, backend in ATTACKS:
        failure = refusal(backend, checks)
        passed += failure is None
        print(f"{kind:10} {name:60} {failure.check if failure else 'NOT REFUSED'}", flush=True)
    print(f"{len(ATTACKS) - passed} of {len(ATTACKS)} refused")
    sys.exit(bool(passed))
