"""Correct backends that compute in different ways; the conformance kit must accept all of them.

``python tests/honest.py`` runs all of them through the kit, with five seeds and thoroughly, which takes hours; ``--only`` chooses some.
The conditions of a backend take minutes, and are told when they are done.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import sys
import time
import types
from collections import Counter
from pathlib import Path
from unittest import mock

# Read when libraries are imported. Threads that share a small product mostly wait for each other.
if __name__ == "__main__":
    os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"} | os.environ

import numpy as np
from scipy.signal import oaconvolve

from decoding import fast, reference


class TapByTap:
    """One tap of the filter at a time, everything rounded to `dtype` after each step; sums forwards or backwards."""

    def __init__(self, dtype, *, backwards=False):
        self.dtype, self.step = dtype, -1 if backwards else 1
        self.eps = float(np.finfo(dtype).eps) / 2
        self.name = f"tap by tap, {np.dtype(dtype).name}{', backwards' if backwards else ''}"

    def read(self, array):
        return np.asarray(array).astype(self.dtype)

    def taps(self, *counts):
        return list(np.ndindex(*counts))[:: self.step]

    def windows(self, x, pad, size, stride, value):
        top, bottom, left, right = pad
        x = np.pad(self.read(x), ((0, 0), (0, 0), (top, bottom), (left, right)), constant_values=value)
        rows, columns = ((n - z) // s + 1 for n, z, s in zip(x.shape[2:], size, stride, strict=True))
        if value != 0 and (max(pad[:2]) >= size[0] or max(pad[2:]) >= size[1]):
            raise ValueError("a window lies outside the map")
        if min(x.shape[2] - size[0], x.shape[3] - size[1]) < 0:
            raise ValueError("the window does not fit")
        return {
            (u, v): x[:, :, u : u + rows * stride[0] : stride[0], v : v + columns * stride[1] : stride[1]][
                :, :, :rows, :columns
            ]
            for u, v in self.taps(*size)
        }

    def correlate(self, x, filters, bias, *, stride, pad):
        filters = self.read(filters)
        if np.shape(x)[1] != filters.shape[1] or (bias is not None and np.shape(bias) != (len(filters),)):
            raise ValueError("channels or biases do not fit")
        y = 0
        for (u, v), cells in self.windows(x, pad, filters.shape[2:], stride, 0).items():
            for c in self.taps(filters.shape[1]):
                y = y + cells[:, c[0], None] * filters[:, c[0], u, v, None, None]
        return y if bias is None else y + self.read(bias)[:, None, None]

    def max_pool(self, x, *, size, stride, pad):
        return np.maximum.reduce(list(self.windows(x, pad, size, stride, -np.inf).values()))

    def avg_pool(self, x, *, size, stride, pad):
        self.windows(np.ones((1, 1, *np.shape(x)[2:])), pad, size, stride, np.nan)  # refuses
        inside = self.windows(np.ones(np.shape(x)), pad, size, stride, 0)
        total = sum(self.windows(x, pad, size, stride, 0).values(), self.dtype(0))
        return total * (self.dtype(1) / sum(inside.values(), self.dtype(0)))

    def relu(self, x, *, leak):
        x = self.read(x)
        return np.where(x > 0, x, self.dtype(leak) * x)

    def softmax(self, x):
        x = self.read(x)
        e = np.exp(x - x.max(axis=1, keepdims=True))
        return e / sum(e[:, c[0], None] for c in self.taps(x.shape[1]))

    def substitute(self, maps, filters, *, stride):
        maps, filters = self.read(maps), self.read(filters)
        if maps.shape[1] != len(filters):
            raise ValueError("maps and filters do not fit")
        (n, _, rows, columns), (_, c, h, w) = maps.shape, filters.shape
        out = np.zeros((n, c, (rows - 1) * stride[0] + h, (columns - 1) * stride[1] + w), self.dtype)
        for u, v, k in self.taps(h, w, len(filters)):
            place = out[:, :, u : u + (rows - 1) * stride[0] + 1 : stride[0], v :: stride[1]][..., :columns]
            place += maps[:, k, None] * filters[k, :, u, v, None, None]
        return out

    def unpool(self, maps, *, size, stride, mode):
        maps = self.read(maps)
        rows, columns = (
            self.read(self.weights(n, z, s, mode)) for n, z, s in zip(maps.shape[2:], size, stride, strict=True)
        )
        across = sum(maps[..., j[0], None] * columns[:, j[0]] for j in self.taps(maps.shape[3]))
        return sum(across[:, :, i[0], None, :] * rows[:, i[0], None] for i in self.taps(maps.shape[2]))

    def weights(self, n, size, stride, mode):
        """None between windows."""
        windows = np.arange((n - 1) * stride + size) % stride < size
        return windows[:, None] * self.kernel(n, size, stride, mode)

    def kernel(self, n, size, stride, mode):
        """By testing every cell and its mirror images, in this precision."""
        one = self.dtype(1)
        u = (np.arange((n - 1) * stride + size, dtype=self.dtype) - self.dtype((size - 1) / 2)) / self.dtype(stride)
        if mode == "nearest":
            distance = np.abs(u[:, None] - np.arange(n)[::-1].astype(self.dtype))
            return np.eye(n)[n - 1 - distance.argmin(axis=1)]
        if mode not in ("bilinear", "bicubic"):
            raise ValueError(mode)
        table = np.zeros((len(u), n), self.dtype)
        for copies in range(math.floor(u[0]) - 2, math.ceil(u[-1]) + 4):
            t = np.minimum(np.abs(u - self.dtype(copies)), self.dtype(3))
            if mode == "bilinear":
                weight = np.maximum(one - t, 0)
            else:
                half = self.dtype(0.5)
                near = (self.dtype(1.5) * t - self.dtype(2.5)) * t * t + one
                far = ((self.dtype(2.5) - half * t) * t - self.dtype(4)) * t + self.dtype(2)
                weight = np.where(t < 1, near, np.where(t < 2, far, self.dtype(0)))
            table[:, min(copies % (2 * n), 2 * n - 1 - copies % (2 * n))] += weight
        return table


class Fourier:
    """Products of Fourier transforms for the two linear operators; the rest is the reference's."""

    name, eps, exact = "SciPy's FFT", 2.0**-53, False
    max_pool, avg_pool = staticmethod(reference.max_pool), staticmethod(reference.avg_pool)
    relu, softmax, unpool = (staticmethod(f) for f in (reference.relu, reference.softmax, reference.unpool))

    @staticmethod
    def correlate(x, filters, bias, *, stride, pad):
        top, bottom, left, right = pad
        x = np.pad(np.asarray(x, float), ((0, 0), (0, 0), (top, bottom), (left, right)))
        filters = np.asarray(filters, float)
        if x.shape[1] != filters.shape[1] or x.shape[2] < filters.shape[2] or x.shape[3] < filters.shape[3]:
            raise ValueError("channels or sizes do not fit")
        if bias is not None and np.shape(bias) != (len(filters),):
            raise ValueError("bias does not fit")
        if not len(x):
            return reference.correlate(x, filters, stride=stride)
        y = oaconvolve(x[:, None], filters[None, :, :, ::-1, ::-1], mode="valid", axes=(3, 4)).sum(axis=2)
        y = y[:, :, :: stride[0], :: stride[1]]
        return y if bias is None else y + np.asarray(bias)[:, None, None]

    @staticmethod
    def substitute(maps, filters, *, stride):
        maps, filters = np.asarray(maps, float), np.asarray(filters, float)
        if maps.shape[1] != len(filters):
            raise ValueError("maps and filters do not fit")
        n, k, rows, columns = maps.shape
        spread = np.zeros((n, k, (rows - 1) * stride[0] + 1, (columns - 1) * stride[1] + 1))
        spread[:, :, :: stride[0], :: stride[1]] = maps
        if not n:
            return reference.substitute(maps, filters, stride=stride)
        return oaconvolve(spread[:, :, None], filters[None], axes=(3, 4)).sum(axis=1)


class Lists:
    """The reference's answers as nested lists, which cannot tell the shape of an empty array."""

    name, eps = "nested lists", reference.eps

    def __getattr__(self, operator):
        function = getattr(reference, operator)
        return lambda *arrays, **options: function(*arrays, **options).tolist()


class SmallBlocks:
    """`decoding.fast` as it goes about large batches, and in blocks of a few products, whatever the size."""

    name, eps = "decoding.fast, in small blocks", fast.eps

    def __getattr__(self, operator):
        function = getattr(fast, operator)

        def run(*arrays, **options):
            with mock.patch.multiple(fast, FEW=0, BLOCK=7):
                return function(*arrays, **options)

        return run


class MeanOverShare(TapByTap):
    """Averages as PyTorch's ``avg_pool2d(x) / avg_pool2d(ones)``: the mean of the whole window over the share inside."""

    name = "a mean over a share"

    def avg_pool(self, x, *, size, stride, pad):
        cells = self.dtype(size[0] * size[1])
        self.windows(np.ones((1, 1, *np.shape(x)[2:])), pad, size, stride, np.nan)  # refuses
        total, inside = (
            sum(self.windows(a, pad, size, stride, 0).values(), self.dtype(0)) / cells
            for a in (x, np.ones(np.shape(x)))
        )
        return total / inside

    def __init__(self, dtype):
        super().__init__(dtype)
        self.name = f"{type(self).name}, {np.dtype(dtype).name}"


class TwoInOne(Fourier):
    """Fourier transforms of two filters, and of two images, at a time: as real and imaginary part."""

    name = "two filters in one transform"

    @staticmethod
    def correlate(x, filters, bias, *, stride, pad):
        reference.correlate(np.asarray(x)[:0], filters, bias, stride=stride, pad=pad)  # refuses
        x = np.pad(np.asarray(x, float), ((0, 0), (0, 0), pad[:2], pad[2:]))
        filters = np.asarray(filters, float)
        shape, (h, w) = x.shape[2:], filters.shape[2:]
        waves = np.fft.fft2(x)
        y = np.zeros((len(x), len(filters), shape[0] - h + 1, shape[1] - w + 1))
        for k in range(0, len(filters), 2):
            pair = filters[k] + 1j * (filters[k + 1] if k + 1 < len(filters) else 0)
            product = (waves * np.fft.fft2(pair[:, ::-1, ::-1], shape)).sum(axis=1)
            both = np.fft.ifft2(product)[:, h - 1 :, w - 1 :]
            y[:, k] = both.real
            y[:, k + 1 : k + 2] = both.imag[:, np.newaxis][:, : len(filters) - k - 1]
        y = y[:, :, :: stride[0], :: stride[1]]
        return y if bias is None else y + np.asarray(bias)[:, None, None]


class Double:
    """A pair of singles, ``high + low``: 2·24 digits, and the range of singles (Joldes, Muller and Popescu, 2017)."""

    def __init__(self, high, low):
        self.high, self.low = high, low

    @classmethod
    def of(cls, array):
        array = np.asarray(array, float)
        high = array.astype(np.float32)
        return cls(high, (array - high).astype(np.float32))

    def __getitem__(self, index):
        return Double(self.high[index], self.low[index])

    def value(self):
        return self.high.astype(float) + self.low

    @staticmethod
    def sum_of(a, b):
        s = a + b
        t = s - a
        return s, (a - (s - t)) + (b - t)

    @staticmethod
    def fast_sum_of(a, b):
        s = a + b
        return s, b - (s - a)

    @staticmethod
    def product_of(a, b):
        def split(c):
            big = np.float32(4097) * c
            high = big - (big - c)
            return high, c - high

        p, (a1, a2), (b1, b2) = a * b, split(a), split(b)
        return p, ((a1 * b1 - p) + a1 * b2 + a2 * b1) + a2 * b2

    def __add__(self, other):
        s, e = self.sum_of(self.high, other.high)
        t, f = self.sum_of(self.low, other.low)
        s, e = self.fast_sum_of(s, e + t)
        return Double(*self.fast_sum_of(s, e + f))

    def __mul__(self, other):
        p, e = self.product_of(self.high, other.high)
        return Double(*self.fast_sum_of(p, e + (self.high * other.low + self.low * other.high)))


class PairsOfSingles:
    """Sums and products of pairs of singles; what it has not is left out."""

    name, eps, range = "pairs of singles", 7 * 2.0**-48, np.float32
    max_pool = staticmethod(reference.max_pool)

    def correlate(self, x, filters, bias, *, stride, pad):
        reference.correlate(np.asarray(x)[:0], filters, bias, stride=stride, pad=pad)  # refuses
        x = np.pad(np.asarray(x, float), ((0, 0), (0, 0), pad[:2], pad[2:]))
        k, c, h, w = np.shape(filters)
        rows, columns = ((n - z) // s + 1 for n, z, s in zip(x.shape[2:], (h, w), stride, strict=True))
        x, f = Double.of(x), Double.of(filters)
        y = Double.of(np.zeros((len(x.high), k, rows, columns)))
        for a, u, v in np.ndindex(c, h, w):
            cells = x[:, a, np.newaxis, u :: stride[0], v :: stride[1]][:, :, :rows, :columns]
            y = y + cells * f[:, a, u, v, np.newaxis, np.newaxis]
        return y.value() if bias is None else (y + Double.of(bias)[:, np.newaxis, np.newaxis]).value()

    def substitute(self, maps, filters, *, stride):
        reference.substitute(np.asarray(maps)[:0], filters, stride=stride)
        (n, k, rows, columns), (_, c, h, w) = np.shape(maps), np.shape(filters)
        z, f = Double.of(maps), Double.of(filters)
        out = Double.of(np.zeros((n, c, (rows - 1) * stride[0] + h, (columns - 1) * stride[1] + w)))
        for a, u, v in np.ndindex(k, h, w):
            place = np.s_[
                :, :, u : u + (rows - 1) * stride[0] + 1 : stride[0], v : v + (columns - 1) * stride[1] + 1 : stride[1]
            ]
            some = out[place] + z[:, a, np.newaxis] * f[a, :, u, v, np.newaxis, np.newaxis]
            out.high[place], out.low[place] = some.high, some.low
        return out.value()

    def relu(self, x, *, leak):
        x = Double.of(x)
        return np.where(x.high > 0, x.value(), (x * Double.of(np.full(x.high.shape, leak))).value())


class Answering:
    """The reference, whose answers are other arrays than one is used to."""

    eps = reference.eps

    def __init__(self, name, change):
        self.name, self.change = name, change

    def __getattr__(self, operator):
        function = getattr(reference, operator)
        return lambda *arrays, **options: self.change(function(*arrays, **options))


def read_only(answer):
    answer.setflags(write=False)
    return answer


def raising(answer):
    """As another library might that a backend calls."""
    np.seterr(all="raise")
    return answer


class Flushing:
    """Takes numbers below the smallest normal one for zeros, as processors do where compilers let them."""

    name, eps = "subnormal numbers are zeros", reference.eps

    def __getattr__(self, operator):
        function = getattr(reference, operator)
        return lambda *arrays, **options: function(*map(self.flushed, arrays), **options)

    def flushed(self, array):
        return None if array is None else np.where(np.abs(array) < np.finfo(float).tiny, 0, array)


HONEST = [
    SmallBlocks(),
    TapByTap(np.float64),
    TapByTap(np.float32),
    TapByTap(np.float16),
    TapByTap(np.float64, backwards=True),
    TapByTap(np.float16, backwards=True),
    Fourier,
    Lists(),
]

WALKS = [
    "softmax",
    "forward_reals",
    "decode_filter_bilinear",
    "decode_filter_nearest",
    "calls_in_any_order",
    "law_response",
    "law_linear",
]

# Each with the checks that could blame it.
HONEST_IN_ONE_WAY = [
    (MeanOverShare(np.float64), ["avg_pool_integers", "avg_pool_reals", "forward_integers", "forward_reals"]),
    (MeanOverShare(np.float16), ["avg_pool_integers", "avg_pool_reals", "forward_integers"]),
    (TwoInOne, ["correlate_integers", "correlate_reals", "forward_integers", "forward_reals", "law_linear"]),
    (PairsOfSingles(), ["correlate_integers", "correlate_reals", "substitute_integers", "substitute_reals", "relu_reals", "forward_reals", "decode_filter_nearest"]),
    (Flushing(), ["relu_conditions", "softmax_conditions"]),
    (Answering("read-only answers", read_only), WALKS),
    (Answering("another type", np.longdouble), ["correlate_integers", "softmax", "forward_reals", "decode_filter_nearest"]),
    (Answering("a masked array of which nothing is masked", np.ma.array), ["correlate_integers", "softmax", "decode_filter_nearest"]),
    (Answering("a library that sets NumPy's flags", raising), WALKS),
]  # fmt: skip


def of_examples():
    """Those of ``examples/backends`` whose library is installed: a backend, and the checks that it is known to fail."""
    folder = Path(__file__).parents[1] / "examples" / "backends"
    sys.path.insert(0, str(folder))
    import with_scipy

    yield with_scipy, {}
    with contextlib.suppress(ImportError):
        import with_torch

        lines = (folder / "with_torch.expected").read_text().splitlines()
        known = dict(line.split(": ", 1) for line in lines if line and not line.startswith("#"))
        half = type("Half", (with_torch.Double,), {"name": "PyTorch, float16", "eps": 2.0**-11, "dtype": np.float16})
        for backend in (with_torch.Double(), with_torch.Single(), half()):
            yield backend, known
    with contextlib.suppress(ImportError):
        import with_jax

        yield with_jax.Single(), {}
    with contextlib.suppress(ImportError):
        yield with_numba(), {}


def with_numba():
    """Loops that Numba compiles, for three operators."""
    import numba

    @numba.njit
    def correlated(x, f, rows, columns, r, s):
        y = np.zeros((x.shape[0], f.shape[0], rows, columns))
        for n in range(x.shape[0]):
            for k in range(f.shape[0]):
                for i in range(rows):
                    for j in range(columns):
                        for c in range(f.shape[1]):
                            for u in range(f.shape[2]):
                                for v in range(f.shape[3]):
                                    y[n, k, i, j] += x[n, c, i * r + u, j * s + v] * f[k, c, u, v]
        return y

    @numba.njit
    def substituted(z, f, r, s):
        rows, columns = (z.shape[2] - 1) * r + f.shape[2], (z.shape[3] - 1) * s + f.shape[3]
        y = np.zeros((z.shape[0], f.shape[1], rows, columns))
        for n in range(z.shape[0]):
            for k in range(f.shape[0]):
                for i in range(z.shape[2]):
                    for j in range(z.shape[3]):
                        for c in range(f.shape[1]):
                            for u in range(f.shape[2]):
                                for v in range(f.shape[3]):
                                    y[n, c, i * r + u, j * s + v] += z[n, k, i, j] * f[k, c, u, v]
        return y

    def whole(array):
        return np.array(array, np.float64, order="C")

    def correlate(x, filters, bias, *, stride, pad):
        reference.correlate(np.asarray(x)[:0], filters, bias, stride=stride, pad=pad)  # refuses
        x, f = np.pad(whole(x), ((0, 0), (0, 0), pad[:2], pad[2:])), whole(filters)
        rows, columns = ((n - z) // s + 1 for n, z, s in zip(x.shape[2:], f.shape[2:], stride, strict=True))
        y = correlated(x, f, rows, columns, *stride)
        return y if bias is None else y + whole(bias)[:, np.newaxis, np.newaxis]

    def substitute(maps, filters, *, stride):
        reference.substitute(np.asarray(maps)[:0], filters, stride=stride)
        return substituted(whole(maps), whole(filters), *stride)

    @numba.vectorize
    def rectified(x, leak):
        return x if x > 0 or x != x else leak * x

    return types.SimpleNamespace(
        name="Numba",
        eps=2.0**-53,
        correlate=correlate,
        substitute=substitute,
        relu=lambda x, *, leak: rectified(whole(x), leak),
    )


def everyone():
    """All of them, with the checks that each is known to fail, and those that are asked (None: all)."""
    named = [(backend, {}, None) for backend in HONEST] + [(backend, {}, None) for backend, _ in HONEST_IN_ONE_WAY]
    return [
        *((backend, known, None) for backend, known in of_examples()),
        (fast, {}, None),
        (reference, {}, None),
        *named,
    ]


def blamed(backend, known, names, **options):
    """The failures of a run, of checks that it is not known to fail, and how many checks ended how.

    A check that takes ten seconds is told when it ends, so that a long run shows what it does.
    """
    from decoding.testing import CHECKS, check_backend

    def progress(result, *_):
        if result.seconds > 10:
            print(f"    {result.check}: {result.status}, {result.seconds:.0f} s", file=sys.stderr, flush=True)

    names = [name for name in (names or CHECKS) if name not in known]
    report = check_backend(backend, checks=names, on_failure="return", progress=progress, **options)
    judged = Counter(result.status for result in report.results if result.detail != "no case was drawn")
    return [str(result) for result in report.failures], judged


def drawn_alone():
    """Within this, checks look at no fixed cases: they are the same with every seed, and most of the work."""
    from decoding.testing.bench import Bench

    forall = Bench.forall
    return mock.patch.object(
        Bench, "forall", lambda self, cases, body, share=1.0, always=(): forall(self, cases, body, share)
    )


def main():
    """Runs them through the kit: all conditions and all fixed cases once, what is drawn with each seed."""
    from decoding.testing import CHECKS

    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--seeds", type=int, nargs="*", default=[1, 2, 3, 4, 5])
    parser.add_argument("--examples", type=int, default=60)
    parser.add_argument("--only", nargs="+", default=[""], help="those whose name has one of these in it")
    parser.add_argument("--conditions", choices=("none", "short", "thorough"), default="thorough")
    options = parser.parse_args()
    conditions = [name for name in CHECKS if name.endswith("_conditions")]
    others = [name for name in CHECKS if name not in conditions]
    runs = [(others, {"seed": seed, "examples": options.examples}) for seed in options.seeds]
    if options.conditions != "none":
        runs.append((conditions, {"thorough": options.conditions == "thorough"}))
    wrong = 0
    for backend, known, _ in everyone():
        if not any(part in backend.name for part in options.only):
            continue
        for names, given in runs:
            again = given.get("seed") in options.seeds[1:]
            begun = time.process_time()
            with drawn_alone() if again else contextlib.nullcontext():
                failures, statuses = blamed(backend, known, names, **given)
            wrong += len(failures)
            found = ", ".join(f"{count} {status}" for status, count in statuses.most_common())
            print(
                f"{backend.name}, {given}: {found}; {time.process_time() - begun:.0f} s",
                *failures,
                sep="\n  ",
                flush=True,
            )
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
