"""Wrong backends, by invention. Each: what, when, and a call that shows it (`shows` is true where it is wrong)."""

from __future__ import annotations

import threading
import types
import weakref

import numpy as np

import decoding
from decoding import AvgPool, Concat, Conv, MaxPool, Network, ReLU, Select, Sum, reference
from decoding.backend import OPERATORS
from decoding.errors import ShapeError

ALL = []  # number, inside the promise, kind, text, make, shows


def made(name, **more):
    functions = {operator: getattr(reference, operator) for operator in OPERATORS}
    return types.SimpleNamespace(name=name, eps=2.0**-53, **{**functions, **more})


def enter(kind, text, make, shows, inside=True):
    ALL.append((len(ALL) + 1, inside, kind, text, make, shows))


def differs(operator, *arrays, **options):
    def shows(b):
        want = getattr(reference, operator)(*arrays, **options)
        got = np.asarray(getattr(b, operator)(*arrays, **options), float)
        return got.shape != want.shape or not np.allclose(got, want, rtol=1e-12, atol=0, equal_nan=True)

    return shows


def accepts(operator, *arrays, **options):
    def shows(b):
        try:
            getattr(b, operator)(*arrays, **options)
        except Exception:
            return False
        return True

    return shows


def where(kind, text, operator, condition, spoil, shows, inside=True, **more):
    """The reference, spoilt where the condition holds: ``spoil(y, x, *others, **options)`` gives the answer."""

    def make():
        def spoilt(x, *others, **options):
            y = getattr(reference, operator)(x, *others, **options)
            return spoil(np.array(y), np.asarray(x), *others, **options) if condition(np.asarray(x), *others, **options) else y

        return made(text, **{operator: spoilt}, **more)

    enter(kind, text, make, shows, inside)


def r(*shape):
    return np.random.default_rng(sum(shape)).integers(-4, 5, shape).astype(float)


ONE = {"stride": (1, 1), "pad": (0, 0, 0, 0)}
R = reference


def add_last(y, *_, **__):
    y[..., -1] += 1
    return y


# 1-5: what blocks of four and eight leave over.
def no_leak(y, x, *, leak):
    y[..., -2:] = np.maximum(x[..., -2:], 0)
    return y


where("size", "relu: rows in eights, then four, then two: the last two of 14, 22, … columns get no leak", "relu",
      lambda x, *, leak: x.shape[3] > 8 and x.shape[3] % 8 == 6, no_leak, differs("relu", r(1, 1, 1, 14), leak=0.5))


def other_bias(y, x, f, b, **o):
    y[:, -1] += b[-2] - b[-1]
    return y


where("size", "correlate: filters in fours: of 6, 10, … filters the last gets its neighbour's bias", "correlate",
      lambda x, f, b, **o: len(f) > 4 and len(f) % 4 == 2 and b is not None, other_bias,
      differs("correlate", r(1, 1, 2, 2), r(6, 1, 1, 1), np.arange(6.0), **ONE))


def part_sum(y, x):
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e[:, : x.shape[1] // 4 * 4].sum(axis=1, keepdims=True)


where("size", "softmax: channels in fours: of 6, 10, … channels the last two are not in the sum", "softmax",
      lambda x: x.shape[1] > 4 and x.shape[1] % 4 == 2, part_sum, differs("softmax", r(1, 10, 1, 1)))


def stale_tail(y, *_, **__):
    y[-2:] = 0
    return y


where("size", "substitute: images in fours: of 6, 10, … images the last two stay 0", "substitute",
      lambda x, f, **o: len(x) > 4 and len(x) % 4 == 2, stale_tail,
      differs("substitute", r(6, 1, 2, 2), r(1, 1, 2, 2), stride=(1, 1)))
where("size", "avg_pool: channels in eights, then four: of 12, 20, … channels the last four are rotated by one", "avg_pool",
      lambda x, **o: x.shape[1] > 8 and x.shape[1] % 8 == 4, lambda y, x, **o: np.concatenate([y[:, :-4], np.roll(y[:, -4:], 1, 1)], 1),
      differs("avg_pool", r(1, 12, 2, 2), size=(2, 2), stride=(2, 2), pad=(0, 0, 0, 0)))


# 6-13: three conditions, or more.
def last_channel_lost(y, x, f, b, **o):
    y[..., -2:] -= R.correlate(x[:, -1:], f[:, -1:], None, **o)[..., -2:]
    return y


where("pair", "correlate: Winograd F(4×4, 3×3) on at least 16 channels and filters: half a tile of columns lacks the last channel", "correlate",
      lambda x, f, b, **o: f.shape[2:] == (3, 3) and o["stride"] == (1, 1) and x.shape[1] >= 16 and len(f) >= 16
      and (x.shape[3] + sum(o["pad"][2:]) - 2) % 4 == 2, last_channel_lost,
      differs("correlate", r(1, 16, 4, 14), r(16, 16, 3, 3), None, stride=(1, 1), pad=(1, 1, 1, 1)))
where("pair", "correlate: 3×3 in steps of 2, pads of 1, at least 8 channels, an even number of columns, in single precision: last column", "correlate",
      lambda x, f, b, **o: f.shape[2:] == (3, 3) and o["stride"] == (2, 2) and o["pad"] == (1, 1, 1, 1) and x.shape[1] >= 8
      and x.shape[3] % 2 == 0 and x.dtype == f.dtype == np.float32, add_last,
      differs("correlate", r(1, 8, 4, 6).astype("f4"), r(2, 8, 3, 3).astype("f4"), None, stride=(2, 2), pad=(1, 1, 1, 1)))


def from_zero(y, x, **o):
    y[:, :, 0, :] = np.maximum(y[:, :, 0, :], 0)
    return y


where("pair", "max_pool: 3×3 in steps of 2, pads of 1, maps of 32 columns in single precision: maxima of the first row begin at 0", "max_pool",
      lambda x, **o: o["size"] == (3, 3) and o["stride"] == (2, 2) and o["pad"][0] == 1 and x.shape[3] >= 32 and x.dtype == np.float32, from_zero,
      differs("max_pool", -np.ones((1, 1, 4, 32), "f4"), size=(3, 3), stride=(2, 2), pad=(1, 1, 1, 1)))


def no_overlap(y, x, f, *, stride):
    y[..., 2] -= R.substitute(x[..., :1], f[..., 2:3], stride=stride)[..., 0]
    return y


where("pair", "substitute: 4×4 in steps of 2 (deconvolutions of generators) on at least 8 maps and 8 channels: an overlap is lost", "substitute",
      lambda x, f, **o: f.shape[2:] == (4, 4) and o["stride"] == (2, 2) and f.shape[0] >= 8 and f.shape[1] >= 8 and x.shape[3] > 1, no_overlap,
      differs("substitute", r(1, 8, 2, 2), r(8, 8, 4, 4), stride=(2, 2)))


def channels_last(x):
    return x.ndim == 4 and np.moveaxis(x, 1, -1).flags.c_contiguous and not x.flags.c_contiguous


where("memory", "correlate: channels last, 3×3 in steps of 2, at least 16 channels: the last channel is lost in the last two columns", "correlate",
      lambda x, f, b, **o: channels_last(x) and f.shape[2:] == (3, 3) and o["stride"] == (2, 2) and x.shape[1] >= 16, last_channel_lost,
      differs("correlate", np.moveaxis(r(1, 5, 5, 16), -1, 1), r(2, 16, 3, 3), None, stride=(2, 2), pad=(0, 0, 0, 0)))
where("pair", "avg_pool: the mean of the whole map on at least 32 channels and 5 images, an odd number of cells: the last cell is left out", "avg_pool",
      lambda x, **o: x.shape[2:] == tuple(o["size"]) and x.shape[1] >= 32 and len(x) >= 5 and x[0, 0].size % 2 and x[0, 0].size > 1 and not any(o["pad"]),
      lambda y, x, **o: y - x[:, :, -1:, -1:] / x[0, 0].size, differs("avg_pool", r(5, 32, 3, 3) + 0.5, size=(3, 3), stride=(1, 1), pad=(0, 0, 0, 0)))


def repeated_row(y, *_, **__):
    y[:, :, -1] = y[:, :, -2]
    return y


where("pair", "unpool: bilinear 2×2 of at least 3 channels and 8 rows and columns, in single precision: the last row is the one before", "unpool",
      lambda x, **o: o["mode"] == "bilinear" and o["size"] == o["stride"] == (2, 2) and x.shape[1] >= 3 and min(x.shape[2:]) >= 8 and x.dtype == np.float32,
      repeated_row, lambda b: (b.unpool(x := np.arange(192.0).reshape(1, 3, 8, 8).astype("f4") ** 2, size=(2, 2), stride=(2, 2), mode="bilinear")
                               != R.unpool(x, size=(2, 2), stride=(2, 2), mode="bilinear")).any() or
      (b.unpool(x[:, :, ::-1], size=(2, 2), stride=(2, 2), mode="bicubic") != R.unpool(x[:, :, ::-1], size=(2, 2), stride=(2, 2), mode="bicubic")).any())


def not_turned(y, x, f, b, **o):
    return R.correlate(x, np.concatenate([f[:-1], f[-1:, :, ::-1]]), b, **o)


where("pair", "correlate: 5×5 with pads of 2 on 3 channels, at least 6 filters, an odd number of columns over 9: the last filter is upside down", "correlate",
      lambda x, f, b, **o: f.shape[1:] == (3, 5, 5) and o["pad"] == (2, 2, 2, 2) and len(f) >= 6 and x.shape[3] % 2 and x.shape[3] > 9, not_turned,
      differs("correlate", r(1, 3, 4, 11), r(6, 3, 5, 5), None, stride=(1, 1), pad=(2, 2, 2, 2)))


# 14-21: options and refusals.
def same(y, x, f, b, *, stride, pad):
    total = pad[0] + pad[1]
    lo, hi = total // 2, total - total // 2
    return R.correlate(x, f, b, stride=stride, pad=(lo, hi, lo, hi))


where("option", "correlate: pads that are alike along both axes are taken for SAME, whose odd cell lies after the map: (1, 0, 1, 0), (0, 2, 0, 2)", "correlate",
      lambda x, f, b, **o: o["pad"][:2] == o["pad"][2:], same, differs("correlate", r(1, 1, 4, 4), r(1, 1, 2, 2), None, stride=(1, 1), pad=(1, 0, 1, 0)))


def ceiled(y, x, *, size, stride, pad):
    sides = [-(-(n - z) // s) + 1 for n, z, s in zip(x.shape[2:], size, stride)]
    return y[:, :, : sides[0], : sides[1]]


where("option", "max_pool: pads of 1 after the map along both axes are taken for ceil mode: with steps of 1 or 3 a window is lost", "max_pool",
      lambda x, **o: o["pad"] == (0, 1, 0, 1), ceiled, differs("max_pool", r(1, 1, 4, 4), size=(2, 2), stride=(1, 1), pad=(0, 1, 0, 1)))
where("option", "relu: np.isclose(leak, 0) is plain: a leak of 1e-9 is none", "relu", lambda x, *, leak: np.isclose(leak, 0), lambda y, x, *, leak: np.maximum(x, 0),
      differs("relu", -np.ones((1, 1, 1, 1)), leak=1e-9))
where("option", "relu: np.isclose(leak, 1) is nothing to do: a leak of 1.000001 is 1", "relu", lambda x, *, leak: np.isclose(leak, 1), lambda y, x, *, leak: np.array(x, float),
      differs("relu", -np.ones((1, 1, 1, 1)), leak=1.000001))
enter("option", "unpool: mode=None is not refused, but nearest",
      lambda: made("mode", unpool=lambda x, *, size, stride, mode: R.unpool(x, size=size, stride=stride, mode="nearest" if mode is None else mode)),
      accepts("unpool", r(1, 1, 2, 2), size=(2, 2), stride=(2, 2), mode=None))
enter("option", "correlate: a bias of no numbers is not refused, but none",
      lambda: made("bias", correlate=lambda x, f, b, **o: R.correlate(x, f, b if b is not None and len(b) else None, **o)),
      accepts("correlate", r(1, 1, 2, 2), r(2, 1, 1, 1), np.zeros(0), **ONE))


def guesses_groups(x, f, b, **o):
    c, width = x.shape[1], f.shape[1]
    g = c // width if width > 1 and c % width == 0 and len(f) % (c // width) == 0 else 1
    return R.correlate(x, f, b, groups=g, **o)


enter("option", "correlate: twice as many channels as the filters have, more than one, are not refused, but two groups",
      lambda: made("guess", correlate=guesses_groups), accepts("correlate", r(1, 4, 2, 2), r(2, 2, 1, 1), None, **ONE))


def empties(operator):
    def spoilt(x, *others, pad, **o):
        size = o.get("size") or others[0].shape[2:]
        sides = [(n + sum(pad[2 * a : 2 * a + 2]) - size[a]) // o["stride"][a] + 1 for a, n in enumerate(np.shape(x)[2:])]
        fits = x.ndim == 4 and (not others or others[0].shape[1] == x.shape[1]) and not (operator != "correlate" and (max(pad[:2]) >= size[0] or max(pad[2:]) >= size[1]))
        if fits and 0 not in sides and min(sides) < 0:
            return np.zeros((len(x), len(others[0]) if others else x.shape[1], *np.maximum(sides, 0)))
        return getattr(R, operator)(x, *others, pad=pad, **o)

    return spoilt


enter("option", "correlate, max_pool: an answer without rows is refused, but not one of −1 rows, where the window is larger by two: empty",
      lambda: made("empty", correlate=empties("correlate"), max_pool=empties("max_pool")), accepts("correlate", r(1, 1, 2, 2), r(1, 1, 4, 1), None, **ONE))


def excess(x, f, b=None, *, groups=1, **o):
    c = f.shape[1] * groups
    return R.correlate(x[:, :c] if groups > 1 and x.shape[1] > c else x, f, b, groups=groups, **o)


enter("group", "correlate: in groups, channels in excess are not refused, but ignored", lambda: made("excess", correlate=excess, groups=True),
      accepts("correlate", r(1, 5, 2, 2), r(2, 2, 1, 1), None, groups=2, **ONE))


# 24-30: numbers that are looked at.
def int8(y, x, f, b, **o):
    return np.clip(R.correlate(x, f, None, **o), -32768, 32767) + (0 if b is None else np.reshape(b, (-1, 1, 1)))


def whole(a, least, most):
    return a.size and (a == np.rint(a)).all() and a.min() >= least and a.max() <= most


where("number", "correlate: whole numbers from −128 to 127, and weights too: sums saturate at 16 bits", "correlate",
      lambda x, f, b, **o: whole(x, -128, 127) and whole(f, -128, 127), int8, differs("correlate", np.full((1, 3, 1, 1), 127.0), np.full((1, 3, 1, 1), 127.0), None, **ONE))


def xnor(y, x, f, b, *, stride, pad):
    (t, bo, le, ri) = pad
    padded = np.pad(x, ((0, 0), (0, 0), (t, bo), (le, ri)), constant_values=-1)
    return R.correlate(padded, f, b, stride=stride, pad=(0, 0, 0, 0))


where("number", "correlate: maps and weights of ±1 alone are bits, and pads too: −1", "correlate",
      lambda x, f, b, **o: x.size and (np.abs(x) == 1).all() and (np.abs(f) == 1).all(), xnor,
      differs("correlate", np.ones((1, 1, 2, 2)), np.ones((1, 1, 2, 2)), None, stride=(1, 1), pad=(1, 1, 1, 1)))
where("number", "correlate: a map that is constant, of several rows and columns: the sum of the weights times it, in the pads, too", "correlate",
      lambda x, f, b, **o: min(x.shape) and min(x.shape[2:]) > 1 and np.ptp(x) == 0,
      lambda y, x, f, b, **o: np.zeros_like(y) + x.flat[0] * f.sum(axis=(1, 2, 3)).reshape(-1, 1, 1) + (0 if b is None else np.reshape(b, (-1, 1, 1))),
      differs("correlate", np.ones((1, 1, 3, 3)), np.ones((1, 1, 3, 3)), None, stride=(1, 1), pad=(1, 1, 1, 1)))


def online(x):
    with np.errstate(all="ignore"):
        x = np.asarray(x, float)
        most, total = np.full(x[:, 0].shape, -np.inf), np.zeros(x[:, 0].shape)
        for c in range(x.shape[1]):
            new = np.maximum(most, x[:, c])
            total = total * np.exp(most - new) + np.exp(x[:, c] - new)
            most = new
        return np.exp(x - most[:, None]) / total[:, None]


enter("number", "softmax: in one pass; a first response of −∞ (a mask) makes NaN of all", lambda: made("online", softmax=online),
      differs("softmax", np.array([-np.inf, 0.0, 1.0]).reshape(1, 3, 1, 1)))


def nan_path(y, x, *, size, stride, pad):
    slow = R.max_pool(np.where(np.isnan(x), np.nan, np.maximum(x, 0)), size=size, stride=stride, pad=pad)
    return slow


where("number", "max_pool: a slow way where there is not-a-number: there maxima begin at 0, in other cells, too", "max_pool",
      lambda x, **o: np.isnan(x).any(), nan_path, differs("max_pool", np.array([[[[np.nan, -1.0]]]]), size=(1, 1), stride=(1, 1), pad=(0, 0, 0, 0)))
where("number", "correlate: a slow way where there is an infinity, without the bias", "correlate", lambda x, f, b, **o: np.isinf(x).any(),
      lambda y, x, f, b, **o: R.correlate(x, f, None, **o), differs("correlate", np.array([[[[np.inf, 1.0]]]]), np.ones((1, 1, 1, 1)), np.ones(1), **ONE))


# 30-33: memory and types.
where("memory", "correlate: one channel for all (a stride of 0, as of grey images): the first weights times their number", "correlate",
      lambda x, f, b, **o: x.shape[1] > 1 and x.strides[1] == 0 and x[0].size > x.shape[1], lambda y, x, f, b, **o: R.correlate(x[:, :1], f[:, :1] * f.shape[1], b, **o),
      differs("correlate", np.broadcast_to(r(1, 1, 2, 2), (1, 3, 2, 2)), r(2, 3, 1, 1), None, **ONE))
where("memory", "correlate: one filter for all (a stride of 0): its bias, too", "correlate",
      lambda x, f, b, **o: len(f) > 1 and f.strides[0] == 0 and b is not None, lambda y, x, f, b, **o: np.repeat(R.correlate(x, f[:1], b[:1], **o), len(f), 1),
      differs("correlate", r(1, 1, 2, 2), np.broadcast_to(r(1, 1, 1, 1), (2, 1, 1, 1)), np.arange(2.0), **ONE))
enter("memory", "max_pool: the other byte order is read as ours",
      lambda: made("order", max_pool=lambda x, **o: R.max_pool(np.frombuffer(x.tobytes(), f"=f{x.dtype.itemsize}").reshape(x.shape), **o)),
      differs("max_pool", r(1, 1, 2, 2).astype(">f8"), size=(2, 2), stride=(2, 2), pad=(0, 0, 0, 0)))
enter("memory", "avg_pool: the answer has the type of the maps: integers are cut",
      lambda: made("kind", avg_pool=lambda x, **o: R.avg_pool(x, **o).astype(x.dtype if x.dtype.kind in "iu" else float)),
      differs("avg_pool", np.arange(4).reshape(1, 1, 2, 2), size=(2, 2), stride=(2, 2), pad=(0, 0, 0, 0)))


# 34-42: state.
def fingerprints():
    packed = {}

    def print_of(a):
        a = np.ravel(a)
        return a[:: max(1, a.size // 64)].tobytes()

    def correlate(x, f, b, **o):
        key = f.shape, f.dtype.str, print_of(f)
        if key not in packed:
            packed[key] = np.array(f)
        return R.correlate(x, packed[key], b, **o)

    return made("fingerprints", correlate=correlate)


def other_weight(b):
    x, f = r(1, 1, 16, 17), r(1, 1, 16, 16)
    b.correlate(x, f, None, **ONE)
    f[0, 0, 0, 1] += 1
    return differs("correlate", x, f, None, **ONE)(b)


enter("state", "correlate: packed weights are kept by their shape and 64 of their numbers", fingerprints, other_weight)


def capacities():
    first = {}

    def relu(x, *, leak):
        n = len(x)
        most = first.setdefault(x.shape[1:], n)
        y = np.zeros(x.shape)
        for at in range(0, n, most) if most else ():
            y[at : at + most] = R.relu(x[at : at + most], leak=leak)
        return y

    return made("capacities", relu=relu)


def empty_first(b):
    b.relu(np.zeros((0, 2, 3, 4)), leak=0.0)
    return differs("relu", np.ones((2, 2, 3, 4)), leak=0.0)(b)


enter("state", "relu: images go through a buffer as large as the first batch of their shape; after one of none all is 0", capacities, empty_first)


def typed():
    kinds = {}

    def avg_pool(x, **o):
        kind = kinds.setdefault((x.shape, *map(tuple, o.values())), x.dtype if x.dtype == np.float32 else np.float64)
        return R.avg_pool(np.asarray(x, kind), **o)

    return made("typed", avg_pool=avg_pool)


def single_first(b):
    x, o = r(2, 3, 4, 5) / 3, {"size": (2, 2), "stride": (2, 2), "pad": (0, 0, 0, 0)}
    b.avg_pool(x.astype("f4"), **o)
    return differs("avg_pool", x, **o)(b)


enter("state", "avg_pool: the buffer of a shape has the type of its first call: after one in single precision doubles lose digits", typed, single_first)


def stale_step():
    kept = {}

    def max_pool(x, *, size, stride, pad):
        stride = kept.pop("stride", None) or stride
        kept["stride"] = stride
        y = R.max_pool(x, size=size, stride=stride, pad=pad)
        del kept["stride"]
        return y

    return made("stale", max_pool=max_pool)


def after_refusal(b):
    o = {"stride": (3, 3), "pad": (0, 0, 0, 0)}
    try:
        b.max_pool(r(1, 1, 2, 2), size=(5, 5), **o)
    except ShapeError:
        pass
    return differs("max_pool", r(1, 1, 4, 4), size=(2, 2), stride=(1, 1), pad=(0, 0, 0, 0))(b)


enter("state", "max_pool: the step of a call that was refused, as the window was too large, is that of the next", stale_step, after_refusal)


def rings():
    ring, count = {}, [0]

    def substitute(maps, f, *, stride):
        y = R.substitute(maps, f, stride=stride)
        if y.size <= 4096:
            return y
        count[0] += 1
        out = ring.setdefault((y.shape, count[0] % 4), np.empty_like(y))
        out[...] = y
        return out

    return made("rings", substitute=substitute)


def after_four(b):
    x, f = r(1, 1, 65, 65), r(1, 1, 1, 1) + 9
    first = b.substitute(x, f, stride=(1, 1))
    kept = np.array(first)
    for n in range(4):
        b.substitute(x + n + 1, f, stride=(1, 1))
    return not np.array_equal(kept, first)


enter("state", "substitute: answers of over 4,096 numbers are in four buffers by turns", rings, after_four)


def seen_through(x, *, leak):
    if leak == 1 and not x.flags.writeable and x.dtype == float:
        return x
    return R.relu(x, leak=leak)


def base_changes(b):
    base = np.ones((1, 1, 2, 2))
    view = base.view()
    view.flags.writeable = False
    y = b.relu(view, leak=1.0)
    base[...] = 7
    return (np.asarray(y) != 1).any()


enter("state", "relu: a leak of 1 gives read-only maps back themselves, and these may be a view of what is written to", lambda: made("seen", relu=seen_through), base_changes)


def is_filter(maps, f, *, stride):
    if maps.shape[0] == 1 and maps.shape[2:] == (1, 1) and np.count_nonzero(maps) == 1 and maps.max() == 1 and maps.shape[1] == len(f) and f.dtype == float:
        return f[int(maps.argmax())][np.newaxis]
    return R.substitute(maps, f, stride=stride)


def writes(b):
    f = r(2, 1, 2, 2)
    kept = f.copy()
    y = b.substitute(np.array([0.0, 1.0]).reshape(1, 2, 1, 1), f, stride=(1, 1))
    y[...] = 77
    return not np.array_equal(kept, f)


enter("state", "substitute: one unit alone gives its filter itself, not a copy: who writes to the answer changes the weights", lambda: made("is", substitute=is_filter), writes)


class Lazy:
    def __init__(self, function):
        self.function, self.answer = function, None

    def __array__(self, dtype=None, copy=None):
        if self.answer is None:
            self.answer = self.function()
        return np.array(self.answer, dtype)


def read_later(b):
    x = np.ones((1, 1, 2, 2))
    y = b.relu(x, leak=0.0)
    x[...] = 7
    return (np.asarray(y) != 1).any()


enter("state", "relu: lazy; computed when the answer is first read, from arrays that may have changed by then",
      lambda: made("lazy", relu=lambda x, *, leak: Lazy(lambda: R.relu(x, leak=leak))), read_later)


def shared_scratch():
    scratch = np.empty(2**20)

    def relu(x, *, leak):
        if not 4096 <= x.size <= scratch.size:
            return R.relu(x, leak=leak)
        mine = scratch[: x.size].reshape(x.shape)
        np.minimum(x, 0, out=mine)
        mine *= leak
        mine += np.maximum(x, 0)
        return mine.copy()

    return made("scratch", relu=relu, threads=True)


def race(b):
    from concurrent.futures import ThreadPoolExecutor

    xs = [np.full((1, 1, 1000, 500), float(n + 1)) for n in range(4)]
    with ThreadPoolExecutor(4) as pool:
        return any((y != x).any() for x, y in zip(xs * 20, pool.map(lambda x: b.relu(x, leak=1.0), xs * 20)))


enter("thread", "relu: threads share the memory for maps of at least 4,096 numbers", shared_scratch, race)


# 43-49: a decoder of its own.
def own(name, make):
    def built():
        b = made(name)
        make(b)
        return b

    return built


def forgets_mode(b):
    kept = weakref.WeakKeyDictionary()

    def decode_filter(net, layer, k, *, unpool):
        found = kept.setdefault(net, {})
        if (layer, k) not in found:
            found[layer, k] = decoding.decode_filter(net, layer, k, unpool=unpool)
        elif unpool not in ("nearest", "bilinear", "bicubic"):
            raise ValueError(unpool)
        return found[layer, k].copy()

    b.decode_filter = decode_filter


def same_as(net, layer, k, mode="nearest", before=()):
    def shows(b):
        for each in before:
            b.decode_filter(net, layer, k, unpool=each)
        got, want = np.asarray(b.decode_filter(net, layer, k, unpool=mode)), decoding.decode_filter(net, layer, k, unpool=mode)
        return got.shape != want.shape or not np.allclose(got, want)

    return shows


POOLED = Network([Conv(r(2, 1, 2, 3)), MaxPool(2), Conv(r(3, 2, 2, 1))])
enter("network", "decode_filter: kept by network, layer and unit, but not by interpolation", own("mode", forgets_mode), same_as(POOLED, 3, 1, "bilinear", ["nearest"]))


def bank_views(b):
    kept = weakref.WeakKeyDictionary()

    def decode_filter(net, layer, k, *, unpool):
        bank = kept.setdefault(net, {})
        if not 0 <= k < net.channels(layer):
            raise IndexError(k)
        if (layer, unpool) not in bank:
            bank[layer, unpool] = np.asarray(decoding.decode_layer(net, layer, unpool=unpool))
        return bank[layer, unpool][k]

    b.decode_filter = decode_filter


def scaled(b):
    y = b.decode_filter(POOLED, 3, 1, unpool="nearest")
    y /= 7
    return same_as(POOLED, 3, 1)(b)


enter("network", "decode_filter: answers are views of a bank that is kept: who scales a picture in place scales the next", own("views", bank_views), scaled)


def remade(change):
    """A decoder of the network as `change` makes it."""

    def make(b):
        b.decode_filter = lambda net, layer, k, *, unpool: decoding.decode_filter(change(net), layer, k, unpool=unpool)

    return make


def two_alone(net):
    layers = [each for each in net.layers]
    inputs = [i[:2] if isinstance(each, Sum) else i for each, i in zip(layers, net.inputs)]
    return Network(layers, inputs=inputs, input_shape=net.input_shape)


def sum_of(parts):
    layers = [Conv(r(2, 1, 1, 1) + n) for n in range(parts)]
    return Network([*layers, Sum()], inputs=[*[(0,)] * parts, tuple(range(1, parts + 1))])


enter("network", "decode_filter: a sum of three layers is that of two", own("two", remade(two_alone)), same_as(sum_of(3), 4, 1))


def pool_first(b):
    def decode_filter(net, layer, k, *, unpool):
        first = next((n for n, each in enumerate(net.layers, 1) if isinstance(each, Conv)), 0)
        y = decoding.decode_filter(net, layer, k, unpool=unpool)
        if net.is_chain and layer >= first > 1:
            below = net.layers[first - 1 : layer]
            return decoding.decode_filter(Network(below), len(below), k, unpool=unpool)
        return y

    b.decode_filter = decode_filter


enter("network", "decode_filter: the walk ends at the first convolution; a pool below it is left out", own("first", pool_first),
      same_as(Network([AvgPool(2), Conv(r(2, 1, 2, 2))]), 2, 0))


def small_places(net):
    fields = net.receptive_field
    if max(max(map(abs, fields(n).offset)) for n in range(1, len(net) + 1)) > 127:
        layers = [each.replace(pad=(max(each.pad[0] - 1, 0), *each.pad[1:])) if isinstance(each, Conv) else each for each in net.layers]
        return Network(layers, inputs=net.inputs, input_shape=net.input_shape)
    return net


FAR = Network([Conv(np.ones((1, 1, 1, 1)), stride=(70, 1)), Conv(r(1, 1, 4, 1) + 9, pad=(2, 2, 0, 0)), Conv(r(1, 1, 1, 1) + 9), Sum()], inputs=[(0,), (1,), (1,), (2, 3)])
enter("network", "decode_filter: places of over 127 pixels overflow a byte", own("far", remade(small_places)), same_as(FAR, 4, 0))


def equal_steps(net):
    layers = []
    for each in net.layers:
        if isinstance(each, Select) and each.stride[0] != each.stride[1]:
            each = each.replace(stride=(each.stride[0], each.stride[0]))
        layers.append(each)
    return Network(layers, inputs=net.inputs, input_shape=net.input_shape)


STEPS = Network([Select([0], stride=(1, 2)), Conv(r(1, 1, 1, 3) + 9)], input_shape=(1, 4, 8))
enter("network", "decode_filter: channels that are picked in unequal steps are taken in the first for both", own("steps", remade(equal_steps)), same_as(STEPS, 2, 0))


def one_mode(b):
    b.threads = True
    state = types.SimpleNamespace(mode="nearest")

    class Inner:
        eps = 2.0**-53

        def __getattr__(self, name):
            return getattr(R, name)

        def unpool(self, maps, *, size, stride, mode):
            return R.unpool(maps, size=size, stride=stride, mode=state.mode)

    def decode_filter(net, layer, k, *, unpool):
        state.mode = unpool
        return decoding.decode_filter(net, layer, k, unpool=unpool, backend=Inner())

    b.decode_filter = decode_filter


def modes_in_threads(b):
    from concurrent.futures import ThreadPoolExecutor

    modes = ["nearest", "bilinear", "bicubic"] * 300
    import sys

    sys.setswitchinterval(1e-6)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda mode: b.decode_filter(POOLED, 3, 1, unpool=mode), modes))
    sys.setswitchinterval(0.005)
    return any(not np.allclose(y, decoding.decode_filter(POOLED, 3, 1, unpool=mode)) for y, mode in zip(found, modes))


enter("thread", "decode_filter: the interpolation is kept in the decoder, which threads share", own("one mode", one_mode), modes_in_threads)

# Outside the promise.
where("size", "correlate: 256 channels and 256 filters under 1×1", "correlate", lambda x, f, b, **o: len(f) * f.shape[1] >= 2**16, add_last,
      differs("correlate", r(1, 256, 1, 1), r(256, 256, 1, 1), None, **ONE), inside=False)
where("size", "max_pool: maps of 2^18 cells", "max_pool", lambda x, **o: x.shape[2] * x.shape[3] >= 2**18, add_last,
      differs("max_pool", np.ones((1, 1, 512, 512)), size=(2, 2), stride=(2, 2), pad=(0, 0, 0, 0)), inside=False)
where("size", "correlate: filters of 4,608 weights (512 channels under 3×3)", "correlate", lambda x, f, b, **o: f[:1].size >= 4608, add_last,
      differs("correlate", r(1, 512, 3, 3), r(1, 512, 3, 3), None, **ONE), inside=False)


if __name__ == "__main__":
    import sys

    for number, inside, kind, text, make, shows in ALL:
        try:
            wrong = shows(make())
        except Exception as error:
            wrong = repr(error)
        print(number, inside, kind, text[:90], wrong)
