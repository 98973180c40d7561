"""Backends that are wrong in one way, and the check that must find it.

Each is the reference with some operators replaced. `kills` names the check that must fail. `first` means that no check
before it in the registry may fail; this shows that the check is needed.

At the end are mutants of the library's own walks and layers, with a correct backend. A mutant is a function of
`decoding` in whose source some text is replaced; it takes the place of the function while it is `applied`.
"""

from __future__ import annotations

import contextlib
import inspect
import textwrap
import types
from typing import NamedTuple
from unittest import mock

import numpy as np
from afresh import afresh
from attacks import ATTACKS

import decoding
from decoding import reference, walks
from decoding.backend import OPERATORS
from decoding.interpolation import MODES


class Mutant(NamedTuple):
    name: str
    kills: str
    first: bool
    made: object
    patch: tuple | None = None  # (where, name, what takes its place)

    @property
    def backend(self):
        """The wrong backend, which remembers no other test."""
        return afresh(self.made)


def applied(mutant):
    """While this lasts, the library has the mutant's function in the place of its own."""
    return mock.patch.object(*mutant.patch) if mutant.patch else contextlib.nullcontext()


MUTANTS: list[Mutant] = []


def mutant(name, kills, *, first=True, eps=2.0**-53, **operators):
    functions = {operator: getattr(reference, operator) for operator in OPERATORS}
    backend = types.SimpleNamespace(name=name, eps=eps, **{**functions, **operators})
    MUTANTS.append(Mutant(name, kills, first, backend))


def arrays(*values):
    return tuple(None if value is None else np.asarray(value, float) for value in values)


# Correlation.


def with_filters(change):
    return lambda x, f, b, *, stride, pad: reference.correlate(x, change(np.asarray(f)), b, stride=stride, pad=pad)


def with_options(change):
    return lambda x, f, b, *, stride, pad: reference.correlate(
        x, f, b, **dict(zip(("stride", "pad"), change(stride, pad), strict=True))
    )


mutant("filters flipped top to bottom", "correlate_integers", correlate=with_filters(lambda f: f[:, :, ::-1]))
mutant("filters flipped left to right", "correlate_integers", correlate=with_filters(lambda f: f[:, :, :, ::-1]))
mutant("a true convolution", "correlate_integers", correlate=with_filters(lambda f: f[:, :, ::-1, ::-1]))
mutant(
    "square filters transposed",
    "correlate_integers",
    correlate=with_filters(lambda f: f.swapaxes(2, 3) if f.shape[2] == f.shape[3] else f),
)
mutant("channels reversed", "correlate_integers", correlate=with_filters(lambda f: f[:, ::-1]))
mutant("filters reversed", "correlate_integers", correlate=with_filters(lambda f: f[::-1]))
mutant("strides swapped", "correlate_integers", correlate=with_options(lambda s, p: (s[::-1], p)))
mutant("one stride for both axes", "correlate_integers", correlate=with_options(lambda s, p: ((s[0], s[0]), p)))
mutant("pads mirrored", "correlate_integers", correlate=with_options(lambda s, p: (s, (p[1], p[0], p[3], p[2]))))
mutant(
    "pads of rows and columns swapped", "correlate_integers", correlate=with_options(lambda s, p: (s, p[2:] + p[:2]))
)
mutant(
    "pads ignored",
    "correlate_integers",
    correlate=lambda x, f, b, *, stride, pad: reference.correlate(
        x if sum(pad) == 0 else np.pad(x, ((0, 0), (0, 0), (0, sum(pad[:2])), (0, sum(pad[2:])))), f, b, stride=stride
    ),
)
mutant(
    "bias dropped",
    "correlate_integers",
    correlate=lambda x, f, b, **options: reference.correlate(x, f, None, **options),
)
mutant(
    "bias doubled",
    "correlate_integers",
    correlate=lambda x, f, b, **options: reference.correlate(x, f, b if b is None else 2 * b, **options),
)
mutant(
    "images of a batch in reverse",
    "correlate_integers",
    correlate=lambda x, f, b, **options: reference.correlate(x[::-1], f, b, **options),
)


def off_by_a_thousandth(f):
    f = np.array(f, float)
    f.flat[-1] += 1e-3
    return f


mutant("one weight off by a thousandth", "correlate_integers", correlate=with_filters(off_by_a_thousandth))
mutant("strides ignored", "correlate_integers", correlate=with_options(lambda s, p: ((1, 1), p)))
mutant(
    "pads shared out evenly, the odd row below",
    "correlate_integers",
    correlate=with_options(
        lambda s, p: (s, tuple(n for a, b in (p[:2], p[2:]) for n in ((a + b) // 2, a + b - (a + b) // 2)))
    ),
)
mutant(
    "bias added once for each channel",
    "correlate_integers",
    correlate=lambda x, f, b, **options: reference.correlate(
        x, f, None if b is None else np.shape(x)[1] * np.asarray(b), **options
    ),
)
mutant(
    "bias subtracted",
    "correlate_integers",
    correlate=lambda x, f, b, **options: reference.correlate(x, f, None if b is None else -np.asarray(b), **options),
)
mutant(
    "the first image for the whole batch",
    "correlate_integers",
    correlate=lambda x, f, b, **options: reference.correlate(np.resize(x[:1], np.shape(x)), f, b, **options),
)
mutant(
    "padding that repeats the edge",
    "correlate_integers",
    correlate=lambda x, f, b, *, stride, pad: reference.correlate(
        np.pad(x, ((0, 0), (0, 0), pad[:2], pad[2:]), "edge"), f, b, stride=stride
    ),
)
mutant(
    "trailing axes of one dropped",
    "correlate_integers",
    correlate=lambda x, f, b, **options: (
        y[..., 0] if (y := reference.correlate(x, f, b, **options)).shape[-1] == 1 else y
    ),
)
mutant(
    "square maps transposed",
    "correlate_integers",
    correlate=lambda x, f, b, *, stride, pad: reference.correlate(
        np.swapaxes(x, 2, 3) if np.shape(x)[2] == np.shape(x)[3] else x, f, b, stride=stride, pad=pad
    ),
)
mutant(
    "images and channels exchanged where they are as many",
    "correlate_integers",
    correlate=lambda x, f, b, **options: reference.correlate(
        np.swapaxes(x, 0, 1) if len(x) == np.shape(x)[1] else x, f, b, **options
    ),
)

mutant(
    "steps of more than 4 taken for 4",
    "correlate_integers",
    correlate=with_options(lambda s, p: ((min(s[0], 4), min(s[1], 4)), p)),
)
mutant(
    "filters of 3×3, in their own way, turned",
    "correlate_integers",
    correlate=with_filters(lambda f: f[:, :, ::-1] if f.shape[2:] == (3, 3) else f),
)
mutant(
    "no bias where the filter covers the map",
    "correlate_integers",
    correlate=lambda x, f, b, **options: reference.correlate(
        x, f, None if np.shape(x)[2:] == np.shape(f)[2:] else b, **options
    ),
)
mutant(
    "no pads for filters of one weight",
    "correlate_integers",
    correlate=lambda x, f, b, *, stride, pad: reference.correlate(
        x, f, b, stride=stride, pad=0 if np.shape(f)[2:] == (1, 1) else pad
    ),
)


class KeptPlan:
    """The options of the first call for each shape, used for all the others."""

    def __init__(self, operator):
        self.function, self.kept = getattr(reference, operator), {}

    def __call__(self, *arrays, **options):
        key = tuple(np.shape(array) for array in arrays)
        return self.function(*arrays, **self.kept.setdefault(key, options))


for _operator in ("correlate", "max_pool", "avg_pool", "relu", "substitute"):
    mutant(
        f"{_operator} with a plan kept for each shape",
        f"{_operator}_integers",
        **{_operator: KeptPlan(_operator)},
    )
mutant("unpooling with a plan kept for each shape", "unpool_nearest_integers", unpool=KeptPlan("unpool"))


# Substitution.


def assigned(maps, filters, *, stride):
    maps, filters = arrays(maps, filters)
    out = np.zeros_like(reference.substitute(maps, filters, stride=stride))
    for i, j in np.ndindex(maps.shape[2:]):
        place = out[:, :, i * stride[0] :, j * stride[1] :][:, :, : filters.shape[2], : filters.shape[3]]
        place[...] = np.einsum("nk,kcuv->ncuv", maps[:, :, i, j], filters)
    return out


def buffered(maps, filters, *, stride):
    maps, filters = arrays(maps, filters)
    out = np.zeros_like(reference.substitute(maps, filters, stride=stride))
    rows = np.arange(maps.shape[2])[:, None] * stride[0] + np.arange(filters.shape[2])
    columns = np.arange(maps.shape[3])[:, None] * stride[1] + np.arange(filters.shape[3])
    out[:, :, rows[:, None, :, None], columns[None, :, None, :]] += np.einsum("nkij,kcuv->ncijuv", maps, filters)
    return out


def substituted(change):
    return lambda z, f, *, stride: reference.substitute(z, change(np.asarray(f)), stride=stride)


mutant("overlaps assigned", "substitute_integers", substitute=assigned)
mutant("overlaps added through a buffer", "substitute_integers", substitute=buffered)
mutant("substituted top to bottom", "substitute_integers", substitute=substituted(lambda f: f[:, :, ::-1]))
mutant("substituted left to right", "substitute_integers", substitute=substituted(lambda f: f[..., ::-1]))
mutant(
    "substitution with strides swapped",
    "substitute_integers",
    substitute=lambda z, f, *, stride: reference.substitute(z, f, stride=stride[::-1]),
)
mutant(
    "overlaps averaged",
    "substitute_integers",
    substitute=lambda z, f, *, stride: (
        reference.substitute(z, f, stride=stride)
        / np.maximum(
            reference.substitute(np.ones((1, 1, *z.shape[2:])), np.ones((1, 1, *f.shape[2:])), stride=stride), 1
        )
    ),
)
mutant(
    "a stride for the filters' cells",
    "substitute_integers",
    substitute=lambda z, f, *, stride: reference.substitute(
        np.moveaxis(np.asarray(f), 0, 1), np.moveaxis(np.asarray(z), 1, 0), stride=stride
    ).swapaxes(0, 1),
)
mutant(
    "copies cropped to what they cover in full",
    "substitute_integers",
    substitute=lambda z, f, *, stride: reference.substitute(z, f, stride=stride)[
        :, :, : np.shape(z)[2] * stride[0], : np.shape(z)[3] * stride[1]
    ],
)
mutant(
    "filters turned where the copies leave gaps both ways",
    "substitute_integers",
    substitute=lambda z, f, *, stride: reference.substitute(
        z, np.asarray(f)[..., ::-1] if stride[0] > np.shape(f)[2] and stride[1] > np.shape(f)[3] else f, stride=stride
    ),
)
mutant("filters of a substitution reversed", "substitute_integers", substitute=substituted(lambda f: f[::-1]))
mutant("channels of a substitution reversed", "substitute_integers", substitute=substituted(lambda f: f[:, ::-1]))
mutant(
    "substituted with square filters transposed",
    "substitute_integers",
    substitute=substituted(lambda f: f.swapaxes(2, 3) if f.shape[2] == f.shape[3] else f),
)
mutant(
    "filters and channels exchanged where they are as many",
    "substitute_conditions",
    first=False,  # networks are decoded earlier
    substitute=substituted(lambda f: f.swapaxes(0, 1) if f.shape[0] == f.shape[1] else f),
)
mutant(
    "substitution whose strides are ignored",
    "substitute_integers",
    substitute=lambda z, f, *, stride: reference.substitute(z, f, stride=1),
)
mutant(
    "substituted images of a batch added up",
    "substitute_integers",
    substitute=lambda z, f, *, stride: (
        np.zeros_like(y := reference.substitute(z, f, stride=stride)) + y.sum(axis=0, keepdims=True)
    ),
)
for _name, _turned in (
    ("top to bottom", lambda f: f[:, :, ::-1]),
    ("left to right", lambda f: f[..., ::-1]),
    ("channel by channel", lambda f: f[:, ::-1]),
):
    mutant(
        f"turned {_name} both ways",
        "law_response",
        first=False,
        correlate=with_filters(_turned),
        substitute=substituted(_turned),
    )
mutant(
    "flipped in both directions at once",
    "law_response",
    first=False,
    correlate=with_filters(lambda f: f[:, :, ::-1, ::-1]),
    substitute=substituted(lambda f: f[:, :, ::-1, ::-1]),
)
mutant(
    "substitution flipped, correlation not", "law_linear", first=False, substitute=substituted(lambda f: f[..., ::-1])
)


# Pools and rectifiers.


def pooled(operator, change):
    function = getattr(reference, operator)
    return lambda x, *, size, stride, pad: function(np.asarray(x, float), **change(size, stride, pad))


def options(size, stride, pad):
    return {"size": size, "stride": stride, "pad": pad}


def rounded_up(operator, value):
    """The same operator on a map that is extended until the last window is whole."""

    def pool(x, *, size, stride, pad):
        x = np.asarray(x, float)
        more = [
            (-(n + a + b - z)) % s for n, a, b, z, s in zip(x.shape[2:], pad[::2], pad[1::2], size, stride, strict=True)
        ]
        more = [extra if extra < z - b else 0 for extra, z, b in zip(more, size, pad[1::2], strict=True)]
        x = np.pad(x, ((0, 0), (0, 0), (0, more[0]), (0, more[1])), constant_values=value)
        return getattr(reference, operator)(x, size=size, stride=stride, pad=pad)

    return pool


def zero_padded(operator):
    def pool(x, *, size, stride, pad):
        x = np.pad(np.asarray(x, float), ((0, 0), (0, 0), pad[:2], pad[2:]))
        return getattr(reference, operator)(x, size=size, stride=stride)

    return pool


mutant(
    "maxima that start at zero",
    "max_pool_integers",
    max_pool=lambda x, **options: np.maximum(reference.max_pool(x, **options), 0),
)
mutant("max pool padded with zeros", "max_pool_integers", max_pool=zero_padded("max_pool"))
mutant("max pool rounds sizes up", "max_pool_integers", max_pool=rounded_up("max_pool", -np.inf))
mutant(
    "max pool steps by its size",
    "max_pool_integers",
    max_pool=pooled("max_pool", lambda size, stride, pad: options(size, size, pad)),
)
mutant(
    "max pool window swapped",
    "max_pool_integers",
    max_pool=lambda x, *, size, stride, pad: reference.max_pool(
        x, size=size[::-1] if max(size) <= min(x.shape[2:]) and not sum(pad) else size, stride=stride, pad=pad
    ),
)
mutant("average counts the padding", "avg_pool_integers", avg_pool=zero_padded("avg_pool"))
mutant("average pool rounds sizes up", "avg_pool_integers", avg_pool=rounded_up("avg_pool", 0.0))
mutant(
    "sums for averages",
    "avg_pool_integers",
    avg_pool=lambda x, *, size, **options: reference.avg_pool(x, size=size, **options) * np.prod(size),
)
mutant(
    "max pool steps by one",
    "max_pool_integers",
    max_pool=pooled("max_pool", lambda size, stride, pad: options(size, 1, pad)),
)
mutant(
    "max pool with pads mirrored",
    "max_pool_integers",
    max_pool=pooled("max_pool", lambda size, stride, pad: options(size, stride, (pad[1], pad[0], pad[3], pad[2]))),
)
mutant(
    "max pool with strides swapped",
    "max_pool_integers",
    max_pool=pooled("max_pool", lambda size, stride, pad: options(size, stride[::-1], pad)),
)
mutant(
    "max pool with as many windows as pixels per step",
    "max_pool_integers",
    max_pool=lambda x, *, size, stride, pad: reference.max_pool(x, size=size, stride=stride, pad=pad)[
        :, :, : np.shape(x)[2] // stride[0], : np.shape(x)[3] // stride[1]
    ],
)


def wrong_in_corners(x, *, size, stride, pad):
    """The cells that lie outside counted twice where both rows and columns do."""
    ones = np.ones((1, 1, *np.shape(x)[2:]))
    share = reference.avg_pool(np.pad(ones, ((0, 0), (0, 0), pad[:2], pad[2:])), size=size, stride=stride)
    rows = share.max(axis=3, keepdims=True)
    columns = share.max(axis=2, keepdims=True)
    right = reference.avg_pool(x, size=size, stride=stride, pad=pad)
    return right * share / np.maximum(rows + columns - 1, 1 / 64)


mutant("average wrong in the corners", "avg_pool_integers", avg_pool=wrong_in_corners)
mutant(
    "average pool with pads mirrored",
    "avg_pool_integers",
    avg_pool=pooled("avg_pool", lambda size, stride, pad: options(size, stride, (pad[1], pad[0], pad[3], pad[2]))),
)
mutant("leaks thought below one", "relu_integers", relu=lambda x, *, leak: np.maximum(x, leak * np.asarray(x)))
mutant("leak's sign lost", "relu_integers", relu=lambda x, *, leak: reference.relu(x, leak=abs(leak)))
mutant("leak ignored", "relu_integers", relu=lambda x, *, leak: reference.relu(x))
mutant("rectifier turned round", "relu_integers", relu=lambda x, *, leak: -reference.relu(-np.asarray(x), leak=leak))


# Softmax.


def bare_softmax(x):
    with np.errstate(all="ignore"):
        e = np.exp(np.asarray(x, float))
        return e / e.sum(axis=1, keepdims=True)


def shifted_by(axes):
    """Shifted by one maximum for several places, so that the other places may vanish."""

    def softmax(x):
        with np.errstate(all="ignore"):
            e = np.exp(x - np.max(x, axis=axes, keepdims=True, initial=-np.inf))
            return e / e.sum(axis=1, keepdims=True)

    return softmax


mutant("softmax shifted by the maximum of the batch", "softmax", softmax=shifted_by((0, 1, 2, 3)))
mutant("softmax shifted by the maximum of the images", "softmax", softmax=shifted_by((0, 1)))
mutant("softmax shifted by the maximum of each image", "softmax", softmax=shifted_by((1, 2, 3)))
mutant("softmax that overflows", "softmax", softmax=bare_softmax)
mutant(
    "softmax over the columns",
    "softmax",
    softmax=lambda x: np.moveaxis(reference.softmax(np.moveaxis(x, -1, 1)), 1, -1),
)
mutant("softmax over the batch", "softmax", softmax=lambda x: reference.softmax(np.swapaxes(x, 0, 1)).swapaxes(0, 1))


# Unpooling.


def interpolated(change):
    """`unpool` with other weights: change(n, size, stride, mode) gives the matrix of an axis."""

    def unpool(maps, *, size, stride, mode):
        down, across = (change(n, z, s, mode) for n, z, s in zip(np.shape(maps)[2:], size, stride, strict=True))
        return down @ np.asarray(maps, float) @ across.T

    return unpool


def matrix(n, size, stride, mode):
    return decoding.interpolation.matrix(n, size, stride, mode)


def only(mode, change):
    """Other weights for one mode, and none between windows."""

    def weights(n, size, stride, m):
        if m != mode:
            return matrix(n, size, stride, m)
        return (np.arange((n - 1) * stride + size) % stride < size)[:, None] * change(n, size, stride)

    return interpolated(weights)


def aligned_corners(n, size, stride):
    u = np.linspace(0, n - 1, (n - 1) * stride + size)
    return np.maximum(1 - np.abs(u[:, None] - np.arange(n)), 0)


def keys(a, mirror=True):
    def weights(n, size, stride):
        u = (np.arange((n - 1) * stride + size) - (size - 1) / 2) / stride
        table = np.zeros((len(u), n))
        for p, place in enumerate(u):
            for cell in range(int(np.floor(place)) - 1, int(np.floor(place)) + 3):
                t = abs(place - cell)
                near, far = (a + 2) * t**3 - (a + 3) * t**2 + 1, a * (t**3 - 5 * t**2 + 8 * t - 4)
                folded = min(cell % (2 * n), 2 * n - 1 - cell % (2 * n)) if mirror else min(max(cell, 0), n - 1)
                table[p, folded] += near if t <= 1 else far
        return table

    return weights


def earlier_ties(n, size, stride):
    u = (np.arange((n - 1) * stride + size) - (size - 1) / 2) / stride
    return np.eye(n)[np.clip(np.ceil(u - 0.5).astype(int), 0, n - 1)]


def by_rounding(n, size, stride):
    u = (np.arange((n - 1) * stride + size) - (size - 1) / 2) / stride
    return np.eye(n)[np.clip(np.floor(u + 0.5).astype(int), 0, n - 1)]


def clamped(n, size, stride):
    u = ((np.arange((n - 1) * stride + size) - (size - 1) / 2) / stride).clip(0, n - 1)
    return np.maximum(1 - np.abs(u[:, None] - np.arange(n)), 0)


def wrapped(n, size, stride):
    right = matrix(n, size, stride, "bilinear")
    return right if n < 2 else np.vstack([(right[:1] + right[-1:]) / 2, right[1:]])


mutant("ties to the earlier cell", "unpool_nearest_integers", unpool=only("nearest", earlier_ties))
mutant(
    "a gain of four",
    "unpool_nearest_integers",
    unpool=lambda maps, **options: 4 * reference.unpool(maps, **options),
)
mutant(
    "zeros between the cells",
    "unpool_nearest_integers",
    unpool=only("nearest", lambda n, z, s: matrix(n, z, s, "nearest") * (np.arange((n - 1) * s + z) % s == 0)[:, None]),
)
mutant(
    "sizes swapped",
    "unpool_nearest_integers",
    unpool=lambda maps, *, size, stride, mode: reference.unpool(maps, size=size[::-1], stride=stride[::-1], mode=mode),
)
mutant(
    "cells repeated by the size and cut",
    "unpool_nearest_integers",
    unpool=lambda maps, *, size, stride, mode: (
        reference.unpool(maps, size=size, stride=stride, mode=mode)
        if mode != "nearest"
        else np.asarray(maps, float)
        .repeat(size[0], 2)
        .repeat(size[1], 3)[
            :, :, : (np.shape(maps)[2] - 1) * stride[0] + size[0], : (np.shape(maps)[3] - 1) * stride[1] + size[1]
        ]
    ),
)
mutant(
    "nearest by whole steps",
    "unpool_nearest_integers",
    unpool=only("nearest", lambda n, z, s: np.eye(n)[np.minimum(np.arange((n - 1) * s + z) // s, n - 1)]),
)
for _mode in MODES:
    mutant(
        f"sizes swapped where {_mode}",
        f"unpool_{_mode}_integers",
        unpool=lambda maps, *, size, stride, mode, one=_mode: (
            reference.unpool(maps, size=size[::-1], stride=stride[::-1], mode=mode)
            if mode == one
            else reference.unpool(maps, size=size, stride=stride, mode=mode)
        ),
    )
for _mode in MODES:
    mutant(
        f"{_mode} unpooling that writes between windows",
        f"unpool_{_mode}_integers",
        unpool=interpolated(
            lambda n, z, s, m, one=_mode: (
                {"nearest": by_rounding, "bilinear": clamped, "bicubic": keys(-0.5)}[m](n, z, s)
                if m == one and z < s
                else matrix(n, z, s, m)
            )
        ),
    )
mutant(
    "constants spread over what the pool never saw",
    "law_gain",
    first=False,
    unpool=interpolated(
        lambda n, z, s, m: (
            np.eye(n)[np.minimum(np.arange((n - 1) * s + z) // s, n - 1)] if z < s else matrix(n, z, s, m)
        )
    ),
)
mutant("corners aligned", "unpool_bilinear_integers", unpool=only("bilinear", aligned_corners))
mutant("bilinear that clamps", "unpool_bilinear_integers", unpool=only("bilinear", clamped))
mutant("edges wrapped", "unpool_bilinear_integers", unpool=only("bilinear", wrapped))
mutant("bicubic with a = -3/4", "unpool_bicubic_integers", unpool=only("bicubic", keys(-0.75)))
mutant("bicubic that clamps", "unpool_bicubic_integers", unpool=only("bicubic", keys(-0.5, mirror=False)))
mutant(
    "interpolation that loses an edge",
    "law_gain",
    first=False,
    unpool=only(
        "bilinear",
        lambda n, z, s: np.maximum(
            1 - np.abs(((np.arange((n - 1) * s + z) - (z - 1) / 2) / s)[:, None] - np.arange(n)), 0
        ),
    ),
)


# Less precision than is declared.


def in_half(operator, only_mode=None):
    function = getattr(reference, operator)

    def run(*values, **options):
        if only_mode not in (None, options.get("mode")):
            return function(*values, **options)
        return function(
            *(None if v is None else np.asarray(v).astype(np.float16).astype(float) for v in values), **options
        )

    return {operator: run}


for _operator in ("correlate", "max_pool", "avg_pool", "relu", "substitute"):
    mutant(
        f"{_operator} in half precision under a single-precision claim",
        f"{_operator}_reals",
        eps=2.0**-24,
        **in_half(_operator),
    )
for _mode in MODES:
    mutant(f"{_mode} unpooling in half precision", f"unpool_{_mode}_reals", **in_half("unpool", _mode))


mutant(
    "sums in single precision under a double-precision claim",
    "correlate_reals",
    correlate=lambda *arrays, **options: reference.correlate(*arrays, **options).astype(np.float32),
)


def clipped(operator, most):
    function = getattr(reference, operator)
    return {operator: lambda *arrays, **options: np.clip(function(*arrays, **options), -most, most)}


def flushed(operator, least):
    function = getattr(reference, operator)

    def run(*arrays, **options):
        y = function(*arrays, **options)
        return np.where(np.abs(y) < least, 0, y)

    return {operator: run}


def padded_with(value):
    def pool(x, *, size, stride, pad):
        x = np.pad(np.asarray(x, float), ((0, 0), (0, 0), pad[:2], pad[2:]), constant_values=value)
        return reference.max_pool(x, size=size, stride=stride)

    return pool


for _operator in ("substitute", "correlate", "max_pool", "avg_pool", "relu", "unpool"):
    _clipped = _operator in ("max_pool", "relu")  # infinities, too, which a check of their own refuses
    mutant(f"{_operator} clipped at 1e75", f"{_operator}_conditions", first=not _clipped, **clipped(_operator, 1e75))
    mutant(f"{_operator} flushed below 1e-75", f"{_operator}_conditions", **flushed(_operator, 1e-75))
mutant("max pool padded with -10,000", "max_pool_conditions", max_pool=padded_with(-1e4))
mutant("max pool padded with the least single", "max_pool_conditions", max_pool=padded_with(-3.4e38))


# Blocks: what programs that take 4, 8 or 16 at a time get wrong past the first block, or in the last one.


def spoilt(operator, where):
    """The reference's answer, but for zeros where ``where(y, *arrays)`` says so."""
    function = getattr(reference, operator)

    def run(*arrays, **options):
        y = np.array(function(*arrays, **options))
        y[where(y, *arrays)] = 0
        return y

    return {operator: run}


def tail(n, block):
    """What is left over after whole blocks, if there is one."""
    return slice(n - n % block if n > block else n, n)


for _operator in OPERATORS:
    _kills = {"unpool": "unpool_nearest_integers", "softmax": "softmax"}.get(_operator, f"{_operator}_integers")
    for _what, _where in (
        ("beyond the 16th image", lambda y, *_: np.s_[16:]),
        ("beyond the 8th channel", lambda y, *_: np.s_[:, 8:]),
        ("beyond the 16th row", lambda y, *_: np.s_[:, :, 16:]),
        ("beyond the 16th column", lambda y, *_: np.s_[..., 16:]),
        ("in what is left of blocks of 4 channels", lambda y, *_: np.s_[:, tail(y.shape[1], 4)]),
        ("in what is left of blocks of 8 columns", lambda y, *_: np.s_[..., tail(y.shape[3], 8)]),
        ("in the last of 16 images", lambda y, *_: np.s_[15 if len(y) == 16 else 99 :]),
    ):
        late = (_operator, _what) == ("correlate", "beyond the 16th row")  # of the answer: the plain calls have none
        mutant(f"{_operator} wrong {_what}", "correlate_conditions" if late else _kills, **spoilt(_operator, _where))


def first_of(axis, most):
    """Weights beyond the first `most` along an axis of the bank left out."""
    return lambda f: np.where(np.arange(f.shape[axis]).reshape(-1, *(1,) * (3 - axis)) < most, f, 0)


mutant("no more than 8 channels added up", "correlate_integers", correlate=with_filters(first_of(1, 8)))
mutant("no more than 8 rows of a filter", "correlate_integers", correlate=with_filters(first_of(2, 8)))
mutant("no more than 8 columns of a filter", "correlate_integers", correlate=with_filters(first_of(3, 8)))
mutant("no more than 8 maps added up", "substitute_integers", substitute=substituted(first_of(0, 8)))


# What only whole networks, or the decoding of one, bring to light.


def as_if_contiguous(array):
    """What a program sees that takes the memory for a C array."""
    return np.asarray(array).ravel(order="K").reshape(np.shape(array))


mutant(
    "pool that forgets the order of the axes",
    "forward_integers",
    max_pool=lambda x, **options: reference.max_pool(as_if_contiguous(x), **options),
)
mutant(
    "softmax that forgets the order of the axes",
    "forward_reals",
    softmax=lambda x: reference.softmax(as_if_contiguous(x)),
)


class Fused:
    """Unpooling of `least` maps or more, remembered, and the substitution that follows it done with flipped filters."""

    def __init__(self, mode, least):
        self.mode, self.least, self.last = mode, least, None

    def unpool(self, maps, **options):
        out = reference.unpool(maps, **options)
        self.last = out.copy() if options["mode"] == self.mode and len(out) >= self.least else None
        return out

    def substitute(self, maps, filters, *, stride):
        last, self.last = self.last, None
        follows = last is not None and np.array_equal(maps, last)
        return reference.substitute(maps, np.asarray(filters)[:, :, ::-1, ::-1] if follows else filters, stride=stride)


for _mode in MODES:
    _fused = Fused(_mode, 1)
    mutant(
        f"{_mode} unpooling fused with substitution, flipped",
        f"decode_filter_{_mode}",
        unpool=_fused.unpool,
        substitute=_fused.substitute,
    )
mutant(
    "substitution that forgets the order of the filters' axes",
    "decode_filter_nearest",
    substitute=lambda z, f, *, stride: reference.substitute(z, as_if_contiguous(f), stride=stride),
)
for _mode in MODES[1:]:
    _fused = Fused(_mode, 2)
    mutant(
        f"{_mode} unpooling fused with substitution, flipped, of several units",
        f"decode_filter_{_mode}",
        unpool=_fused.unpool,
        substitute=_fused.substitute,
    )


def with_biases(net, layer, k, *, unpool):
    df = decoding.decode_filter(net, layer, k, unpool=unpool)
    biases = [each.bias.sum() for each in net.layers[: net.index(layer)] if isinstance(each, decoding.Conv)]
    return df + sum(biases)


mutant("a decoder that adds the biases", "own_decode_filter", decode_filter=with_biases)
mutant(
    "a decoder that rectifies",
    "own_decode_filter",
    decode_filter=lambda *unit, unpool: np.maximum(decoding.decode_filter(*unit, unpool=unpool), 0),
)
mutant(
    "a decoder that takes nearest for any interpolation",
    "own_decode_filter",
    decode_filter=lambda *unit, unpool: decoding.decode_filter(*unit),
)
mutant(
    "a decoder that counts units from 1",
    "own_decode_filter",
    decode_filter=lambda net, layer, k, *, unpool: decoding.decode_filter(net, layer, max(k - 1, 0), unpool=unpool),
)


def without_gains(net, layer, k, *, unpool):
    plain = net.replace(layers=[each if each.gain is None else each.replace(gain=1) for each in net.layers])
    return decoding.decode_filter(plain, layer, k, unpool=unpool)


def along_one_branch(net, layer, k, *, unpool):
    inputs = [i[:1] if isinstance(each, decoding.Sum) else i for i, each in zip(net.inputs, net.layers, strict=True)]
    return decoding.decode_filter(net.replace(inputs=inputs), layer, k, unpool=unpool)


mutant("a decoder that leaves gains out", "own_decode_filter", decode_filter=without_gains)
mutant("a decoder that follows the first branch alone", "own_decode_filter", decode_filter=along_one_branch)


# Groups.


def in_groups(change):
    """An operator of a backend that takes groups: change(function, groups, x, filters, …) where there are several."""

    def made(function):
        def run(*arrays, groups=1, **options):
            if groups == 1:
                return function(*arrays, **options)
            given = (None if array is None else np.asarray(array) for array in arrays)
            return change(lambda *a: function(*a, groups=groups, **options), groups, *given)

        return run

    return {operator: made(getattr(reference, operator)) for operator in ("correlate", "substitute")}


def turned(array, groups, axis):
    """The groups in reverse order."""
    return np.concatenate(np.split(array, groups, axis)[::-1], axis)


def dealt(array, groups):
    """The first of each group, then the second of each."""
    return array.reshape(groups, -1, *array.shape[1:]).swapaxes(0, 1).reshape(array.shape)


def half(array):
    return None if array is None else array.astype(np.float16).astype(float)


def alone(operator, run):
    """One operator wrong where it takes groups, the other right."""
    return {"groups": True, operator: in_groups(run)[operator]}


for _operator in ("correlate", "substitute"):
    mutant(
        f"{_operator} with its groups in reverse order",
        "grouped_integers",
        **alone(_operator, lambda run, g, x, *rest: run(turned(x, g, 1), *rest)),
    )
    mutant(
        f"{_operator} that deals its filters out to the groups in turn",
        "grouped_integers",
        **alone(_operator, lambda run, g, x, f, *rest: run(x, dealt(f, g), *rest)),
    )
    mutant(
        f"{_operator} that sees the first group for all groups",
        "grouped_integers",
        **alone(_operator, lambda run, g, x, *rest: run(np.concatenate([np.split(x, g, 1)[0]] * g, 1), *rest)),
    )
    mutant(
        f"{_operator} wrong where each channel is a group",
        "grouped_integers",
        **alone(_operator, lambda run, g, x, f, *rest: run(x, f[..., ::-1] if len(f) == g else f, *rest)),
    )
    mutant(
        f"{_operator} in half precision where there are groups",
        "grouped_reals",
        eps=2.0**-24,
        **alone(_operator, lambda run, g, *arrays: run(*map(half, arrays))),
    )
mutant(
    "substitution that adds the groups up",
    "grouped_integers",
    **alone("substitute", lambda run, g, *a: np.tile(sum(np.split(run(*a), g, 1)), (1, g, 1, 1))),
)


# Refusals.


def broadcast_channels(x, f, b, **options):
    x, f = np.asarray(x), np.asarray(f)
    c = min(x.shape[1], f.shape[1])
    return reference.correlate(x[:, :c], f[:, :c], b, **options)


def broadcast_maps(z, f, *, stride):
    k = min(np.shape(z)[1], len(f))
    return reference.substitute(np.asarray(z)[:, :k], np.asarray(f)[:k], stride=stride)


def broadcast_bias(x, f, b, **options):
    y = reference.correlate(x, f, None, **options)
    return y if b is None else y + np.resize(b, len(f))[:, None, None]


def empty_where_it_does_not_fit(x, f, b, **options):
    try:
        return reference.correlate(x, f, b, **options)
    except decoding.ShapeError as error:
        if "does not fit" not in str(error):
            raise
        return np.zeros((len(x), len(f), 0, 0))


def whatever_fits(x, *, size, stride, pad):
    size = tuple(min(z, n + a + b) for z, n, a, b in zip(size, np.shape(x)[2:], pad[::2], pad[1::2], strict=True))
    return reference.max_pool(x, size=size, stride=stride, pad=pad)


mutant("channels in excess ignored", "refuses_other_channels", correlate=broadcast_channels)
mutant("maps in excess ignored", "refuses_other_map_count", substitute=broadcast_maps)
mutant("one bias for all filters", "refuses_other_bias", correlate=broadcast_bias)
mutant("nothing where a filter does not fit", "refuses_larger_filters", correlate=empty_where_it_does_not_fit)
mutant("pool windows cut to the map", "refuses_larger_windows", max_pool=whatever_fits)
mutant(
    "unknown interpolations taken for nearest",
    "refuses_unknown_modes",
    unpool=lambda maps, *, mode, **options: reference.unpool(
        maps, mode=mode if mode in MODES else "nearest", **options
    ),
)


def cut_to_the_pads(operator):
    """Windows larger than the map, cut, if it has pads."""

    def run(x, f, b=None, *, pad, size=None, **options):
        pads = pad[:2], pad[2:]
        size = [
            min(z, n + sum(p)) if sum(pad) else z
            for z, n, p in zip(size or np.shape(f)[2:], np.shape(x)[2:], pads, strict=True)
        ]
        if operator == "correlate":
            return reference.correlate(x, np.asarray(f)[:, :, : size[0], : size[1]], b, pad=pad, **options)
        return getattr(reference, operator)(x, size=tuple(size), pad=pad, **options)

    return {operator: run if operator == "correlate" else lambda x, **options: run(x, None, **options)}


mutant("filters cut to a map with pads", "refuses_larger_filters", **cut_to_the_pads("correlate"))
mutant("max pool windows cut to a map with pads", "refuses_larger_windows", **cut_to_the_pads("max_pool"))
mutant("average pool windows cut to a map with pads", "refuses_larger_windows", **cut_to_the_pads("avg_pool"))
mutant(
    "a decoder that counts units round and round",
    "refuses_other_units",
    decode_filter=lambda net, layer, k, *, unpool: decoding.decode_filter(
        net, layer, k % net.channels(layer), unpool=unpool
    ),
)
mutant(
    "a decoder that counts units from the end",
    "refuses_other_units",
    decode_filter=lambda net, layer, k, *, unpool: decoding.decode_filter(
        net, layer, k + net.channels(layer) if k == -1 else k, unpool=unpool
    ),
)
mutant(
    "a decoder that takes nearest for unknown interpolations",
    "refuses_other_units",
    decode_filter=lambda net, layer, k, *, unpool: decoding.decode_filter(
        net, layer, k, unpool=unpool if unpool in MODES else "nearest"
    ),
)


# Shapes that people use.


def square(side, step, pad=None):
    """Whether a call has a window of `side`, steps of `step`, and pads of `pad`, all the same."""
    pad = (pad,) * 4 if isinstance(pad, int) else pad

    def found(*arrays, size=None, stride=(1, 1), **options):
        size = np.shape(arrays[1])[2:] if size is None else size
        return size == (side, side) and stride == (step, step) and options.get("pad") == pad

    return found


def wrong_where(operator, when, wrong):
    """The operator, done by `wrong` where `when` says so."""
    function = getattr(reference, operator)

    def run(*arrays, **options):
        return wrong(function, *arrays, **options) if when(*arrays, **options) else function(*arrays, **options)

    return {operator: run}


def turned_both_ways(function, x, f, *bias, **options):
    return function(x, np.asarray(f)[:, :, ::-1, ::-1], *bias, **options)


def without_last_row(function, *arrays, **options):
    y = function(*arrays, **options)
    y[:, :, -1] = 0
    return y


def times(factor):
    return lambda function, *arrays, **options: factor * function(*arrays, **options)


for _side, _step, _pad, _wrong in (
    *((3, 1, 1, without_last_row), (3, 2, 1, turned_both_ways)),
    *((1, 2, 0, times(0)), (4, 1, 0, turned_both_ways), (5, 1, 0, turned_both_ways), (5, 1, 2, without_last_row)),
    *((7, 2, 3, turned_both_ways), (11, 4, 0, turned_both_ways)),
):
    mutant(
        f"correlation of {_side}×{_side} in steps of {_step}, padded by {_pad}, wrong",
        "correlate_integers",
        **wrong_where("correlate", square(_side, _step, _pad), _wrong),
    )
for _side, _step in ((3, 1), (4, 1), (5, 1), (7, 2), (11, 4), (3, 4), (3, 8), (3, 16), (10, 4)):
    mutant(
        f"substitution of {_side}×{_side} in steps of {_step}, on maps of several cells, wrong",
        "substitute_integers",
        **wrong_where(
            "substitute",
            lambda z, f, *, stride, _usual=(_side, _step): (
                min(np.shape(z)[2:]) > 1 and square(*_usual)(z, f, stride=stride)
            ),
            turned_both_ways,
        ),
    )
for _operator in ("max_pool", "avg_pool"):
    for _side, _step, _pad in ((3, 2, 0), (3, 2, 1), (3, 2, (0, 1, 0, 1)), (7, 1, 0)):
        mutant(
            f"{_operator} of {_side}×{_side} in steps of {_step}, padded by {_pad}, doubled",
            f"{_operator}_integers",
            **wrong_where(_operator, square(_side, _step, _pad), times(2)),
        )
    mutant(
        f"{_operator} of 2×2 in steps of 2, on sides that are odd, without its last row",
        f"{_operator}_integers",
        **wrong_where(
            _operator,
            lambda x, **options: square(2, 2, 0)(x, **options) and np.shape(x)[2] % 2 and np.shape(x)[3] % 2,
            without_last_row,
        ),
    )
for _mode in MODES:
    mutant(
        f"{_mode} unpooling of 3×3 in steps of 2, times 1.5",
        f"unpool_{_mode}_integers",
        **wrong_where(
            "unpool",
            lambda z, *, mode, _mode=_mode, **options: mode == _mode and square(3, 2)(z, **options),
            times(1.5),
        ),
    )
mutant(
    "max pool of 3×3 in steps of 2 doubled, unpooling of it times 1.5",
    "max_pool_integers",
    **wrong_where("max_pool", lambda x, *, size, stride, **_: (size, stride) == ((3, 3), (2, 2)), times(2)),
    **wrong_where("unpool", square(3, 2), times(1.5)),
)
mutant(
    "flipped where the filters are 5×5, both ways",
    "correlate_integers",
    **wrong_where("correlate", lambda x, f, *_, **options: np.shape(f)[2:] == (5, 5), turned_both_ways),
    **wrong_where("substitute", lambda z, f, **options: np.shape(f)[2:] == (5, 5), turned_both_ways),
)
mutant(
    "averages over the whole map doubled, where it is large",
    "avg_pool_integers",
    **wrong_where("avg_pool", lambda x, *, size, **options: size == np.shape(x)[2:] and min(size) >= 6, times(2)),
)
mutant(
    "correlation of 4×4, on maps that are larger, wrong",
    "forward_integers",
    first=False,
    **wrong_where(
        "correlate", lambda x, f, *_, **options: np.shape(f)[2:] == (4, 4) != np.shape(x)[2:], turned_both_ways
    ),
)


# Hygiene.


def in_place(x, *, leak):
    y = reference.relu(x, leak=leak)
    if np.asarray(x).flags.writeable:
        np.asarray(x)[...] = y
    return y


def insists_on_writing(x, *, leak):
    if not np.asarray(x).flags.writeable:
        raise ValueError("assignment destination is read-only")
    return reference.relu(x, leak=leak)


def contiguous(operator):
    """Right for contiguous arrays, wrong for views with gaps."""
    function = getattr(reference, operator)

    def packed(value):
        if value is None or np.asarray(value).flags.forc or np.asarray(value).base is None:
            return value
        return np.asarray(value).base.ravel()[: value.size].reshape(value.shape)

    return lambda *values, **options: np.ascontiguousarray(function(*map(packed, values), **options))


def doubles_whatever(x, **options):
    x = np.asarray(x)
    if x.dtype == np.float32:
        x = np.resize(np.frombuffer(x.tobytes() + bytes(8), np.float64, count=(x.size + 1) // 2), x.shape)
    return reference.max_pool(x, **options)


def at_least_one(x):
    return reference.softmax(x) if len(x) else np.zeros((1, *np.shape(x)[1:]))


class Cached:
    """Remembers answers by the address of the input, as a cache of weights on a device might."""

    def __init__(self):
        self.key, self.held, self.answer = None, None, None

    def __call__(self, x, *, leak):
        if (id(x), leak) != self.key:
            self.key, self.held, self.answer = (id(x), leak), x, reference.relu(x, leak=leak)
        return self.answer.copy()


class CachedFor:
    """The same for another operator, where `when` says so."""

    def __init__(self, operator, when):
        self.function, self.when = getattr(reference, operator), when
        self.key, self.held, self.answer = None, None, None

    def __call__(self, *arrays, **options):
        if not self.when(arrays, options):
            return self.function(*arrays, **options)
        key = (id(arrays[0]), *sorted(options.items()))
        if key != self.key:
            self.key, self.held, self.answer = key, arrays, self.function(*arrays, **options)
        return self.answer.copy()


class KeptFilters:
    """Correlation that copies its filters, or biases, once for each address, as to a device."""

    def __init__(self, which=1):
        self.which, self.held, self.copy = which, None, None

    def __call__(self, *arrays, **options):
        arrays = list(arrays)
        array = arrays[self.which]
        if array is not None:
            if array is not self.held:
                self.held, self.copy = array, np.array(array)
            arrays[self.which] = self.copy
        return reference.correlate(*arrays, **options)


class OneBuffer:
    """Gives the same memory each time."""

    def __init__(self):
        self.buffer = np.zeros(0)

    def __call__(self, x, *, leak):
        y = reference.relu(x, leak=leak)
        if self.buffer.size < y.size:
            self.buffer = np.zeros(y.size)
        out = self.buffer[: y.size].reshape(y.shape)
        out[...] = y
        return out


def without_nan(x, *, leak):
    return np.fmax(x, 0) + leak * np.fmin(x, 0)


def max_without_nan(x, **options):
    x = np.where(np.isnan(x), -1e300, x)
    return reference.max_pool(x, **options)


def softmax_in_place(x):
    if not isinstance(x, np.ndarray) or x.dtype != float or not x.flags.writeable:
        return reference.softmax(x)
    x -= x.max(axis=1, keepdims=True, initial=-np.inf)
    return reference.softmax(x)


def padding_in_place(x, f, b, *, stride, pad):
    y = reference.correlate(x, f, b, stride=stride, pad=pad)
    if b is not None and np.asarray(b).flags.writeable:
        np.asarray(b)[...] = 0
    return y


def itself(operator):
    """The input handed back where nothing changes."""
    function = getattr(reference, operator)

    def run(x, **options):
        y = function(x, **options)
        return x if np.array_equal(x, y) else y

    return {operator: run}


def a_view(x, *, size, stride, pad):
    if size != (1, 1) or any(pad):
        return reference.max_pool(x, size=size, stride=stride, pad=pad)
    return np.asarray(x)[:, :, :: stride[0], :: stride[1]]


class AddsUp:
    """Sums go on in a buffer of the same shape, if the call before had the very same arrays."""

    def __init__(self):
        self.held, self.total = (), 0.0

    def __call__(self, *arrays, **options):
        again = len(arrays) == len(self.held) and all(a is b for a, b in zip(arrays, self.held, strict=True))
        y = reference.substitute(*arrays, **options)
        self.total = self.total + y if again else y
        self.held = arrays
        return self.total.copy()


class KeptShape:
    """Remembers the last answer for each shape, and forgets it when other operators' turn comes."""

    def __init__(self):
        self.key, self.answer = None, None

    def __call__(self, *arrays, **options):
        key = (tuple(np.shape(a) for a in arrays), tuple(sorted(options.items())))
        if key != self.key:
            self.key, self.answer = key, reference.unpool(*arrays, **options)
        return self.answer.copy()


class Ring:
    """Answers in one of `size` pieces of memory, in turn."""

    def __init__(self, size):
        self.size, self.made, self.memory = size, 0, {}

    def of(self, operator):
        def run(*arrays, **options):
            y = getattr(reference, operator)(*arrays, **options)
            place = self.memory.setdefault(self.made % self.size, np.zeros(10**6))[: y.size].reshape(y.shape)
            self.made += 1
            place[...] = y
            return place

        return {operator: run}

    def shared(self):
        return {key: run for operator in OPERATORS for key, run in self.of(operator).items()}


def rectified_in_place():
    """A rectifier that takes the memory of an earlier maximum for its answer, as if nobody else had it."""
    given = []

    def max_pool(x, **options):
        given.append(reference.max_pool(x, **options))
        return given[-1]

    def relu(x, *, leak):
        y = reference.relu(x, leak=leak)
        if any(x is each for each in given):
            x[...] = y
            return x
        return y

    return {"max_pool": max_pool, "relu": relu}


def cleaned(operator, which):
    """NaN of one array taken for zero."""

    def run(*arrays, **options):
        arrays = [np.nan_to_num(a) if number == which and a is not None else a for number, a in enumerate(arrays)]
        return getattr(reference, operator)(*arrays, **options)

    return {operator: run}


def read_as_the_first(operator):
    """Filters read from memory with the precision of the maps."""

    def run(x, f, *bias, **options):
        x, f = np.asarray(x), np.asarray(f)
        if f.dtype != x.dtype and x.dtype.kind == "f":
            f = np.resize(
                np.frombuffer(np.ascontiguousarray(f).tobytes() + bytes(8), x.dtype, f.size // 2 + 1), f.shape
            )
        return getattr(reference, operator)(x, f, *bias, **options)

    return {operator: run}


def sign_of_strides_lost(operator):
    function = getattr(reference, operator)

    def forwards(value):
        if value is None:
            return value
        return np.flip(value, [axis for axis, step in enumerate(np.asarray(value).strides) if step < 0])

    return {operator: lambda *arrays, **options: function(*map(forwards, arrays), **options)}


def repeated_cells_not_taken(x, *, leak):
    if any(step == 0 and side > 1 for step, side in zip(x.strides, x.shape, strict=True)):
        raise ValueError("strides must not be 0")
    return reference.relu(x, leak=leak)


mutant("a ring of two buffers", "calls_in_any_order", first=False, **Ring(2).of("relu"))
mutant("a ring of three buffers", "calls_in_any_order", first=False, **Ring(3).of("softmax"))
mutant("a ring of eleven buffers for all operators", "calls_in_any_order", first=False, **Ring(11).shared())
mutant("two workspaces that all operators share", "calls_in_any_order", first=False, **Ring(2).shared())
for _operator in ("correlate", "substitute"):
    mutant(f"filters of a {_operator} cleaned of NaN", "nan_comes_out", **cleaned(_operator, 1))
    mutant(f"filters of a {_operator} read as its maps are", f"{_operator}_conditions", **read_as_the_first(_operator))
mutant("biases cleaned of NaN", "nan_comes_out", **cleaned("correlate", 2))
for _operator in OPERATORS:
    mutant(f"{_operator} that loses the signs of strides", f"{_operator}_conditions", **sign_of_strides_lost(_operator))
mutant("repeated cells not taken", "relu_conditions", relu=repeated_cells_not_taken)


mutant("softmax in place", "softmax_conditions", softmax=softmax_in_place)
mutant("biases zeroed when they have been added", "correlate_conditions", correlate=padding_in_place)
for _operator in ("relu", "max_pool", "avg_pool", "unpool"):
    mutant(f"{_operator} that hands its input back", f"{_operator}_conditions", first=False, **itself(_operator))
mutant("max pool that gives a view", "max_pool_conditions", first=False, max_pool=a_view)
mutant("substitution that goes on adding", "substitute_conditions", first=False, substitute=AddsUp())
mutant("answers cached by shape", "unpool_conditions", first=False, unpool=KeptShape())
mutant("rectifier in place", "relu_conditions", relu=in_place)
mutant("read-only arrays not taken", "relu_conditions", relu=insists_on_writing)
mutant("views with gaps taken for whole arrays", "relu_conditions", relu=contiguous("relu"))
mutant(
    "filters turned in place, and the maps with them",
    "shared_inputs",
    correlate=lambda x, f, b, **o: reference.correlate(x, np.flip(f, -1) if np.shares_memory(x, f) else f, b, **o),
)
mutant("single precision read as double", "max_pool_conditions", max_pool=doubles_whatever)
mutant("a batch of none taken for one", "softmax_conditions", softmax=at_least_one)
mutant("answers cached by address", "relu_conditions", relu=Cached())
_spline = CachedFor("unpool", lambda arrays, options: options["mode"] == "bicubic")
mutant("bicubic answers cached by address", "unpool_conditions", unpool=_spline)
mutant("correlations cached by the address of the filters", "correlate_conditions", correlate=KeptFilters())
mutant("biases cached by address", "correlate_conditions", correlate=KeptFilters(which=2))
mutant("answers of its own rectified in place", "calls_in_any_order", **rectified_in_place())
mutant("one buffer for all answers", "relu_conditions", relu=OneBuffer())
mutant("rectifier that drops NaN", "nan_comes_out", relu=without_nan)
mutant("maxima that drop NaN", "nan_comes_out", max_pool=max_without_nan)


# Laws, broken where no single operator looks odd.

mutant(
    "a network and a decoder that disagree",
    "law_response",
    first=False,
    substitute=substituted(lambda f: f[:, :, ::-1, ::-1]),
)


# The library itself: walks and layers. What is wrong is wrong for the reference too, and so the checks that compare with it
# do not see it; the laws do.


def rewritten(function, old, new):
    """The function with one part of its text replaced."""
    text = textwrap.dedent(inspect.getsource(function))
    assert text.count(old) == 1, f"{function.__qualname__} has not once: {old}"
    scope = dict(function.__globals__)
    exec(compile(text.replace(old, new), function.__qualname__, "exec"), scope)
    return scope[function.__name__]


def wrong_library(name, kills, where, function, old, new, **said):
    made = rewritten(inspect.getattr_static(where, function), old, new)
    mutant(name, kills, first=False, **said)
    MUTANTS[-1] = MUTANTS[-1]._replace(patch=(where, function, made))


_place = "origin[a] * layer.stride[a] - layer.pad[2 * a]"
for _name, _new in (
    ("the origin not scaled by the stride", "origin[a] - layer.pad[2 * a]"),
    ("the origin scaled by the size", "origin[a] * layer.size[a] - layer.pad[2 * a]"),
    ("pads taken twice", "origin[a] * layer.stride[a] - 2 * layer.pad[2 * a]"),
    ("pads left out", "origin[a] * layer.stride[a]"),
    ("pads added", "origin[a] * layer.stride[a] + layer.pad[2 * a]"),
    ("pads of the other end", "origin[a] * layer.stride[a] - layer.pad[2 * a + 1]"),
    ("pads of the other axis", "origin[a] * layer.stride[a] - layer.pad[2 - 2 * a]"),
):
    wrong_library(f"down: {_name}", "law_response", walks, "down", _place, _new)
_sum = "waiting[i] = add([waiting[i], part]) if i in waiting else part"
wrong_library("down: the last branch overwrites", "law_response", walks, "down", _sum, "waiting[i] = part")
wrong_library("down: the first branch stays", "law_response", walks, "down", _sum, "waiting.setdefault(i, part)")
wrong_library(
    "down: parts laid together from their first cells",
    "law_response",
    walks,
    "union",
    "top, left = (part.origin[a] - first[a] for a in (0, 1))",
    "top, left = 0, 0",
)
wrong_library(
    "down: parts laid together at their last cells",
    "law_response",
    walks,
    "union",
    "top, left = (part.origin[a] - first[a] for a in (0, 1))",
    "top, left = (sides[a] - part.maps.shape[2 + a] for a in (0, 1))",
)
# A gain after what its layer decodes would be the same for every layer that has one: each keeps its channels apart.
for _name, _new in (
    ("gains left out", "maps"),
    ("gains used twice", "times(times(maps, layer.gain, 1), layer.gain, 1)"),
    ("gains of the neighbours", "times(maps, None if layer.gain is None else np.roll(layer.gain, 1), 1)"),
    ("gains without their sign", "times(maps, None if layer.gain is None else np.abs(layer.gain), 1)"),
    ("one gain for all channels", "times(maps, None if layer.gain is None else np.max(layer.gain), 1)"),
):
    wrong_library(f"down: {_name}", "law_response", walks, "down", "times(maps, layer.gain, 1)", _new)
for _name, _old, _new in (
    ("gains left out", "times(bank, layer.gain, 0)", "bank"),
    (
        "gains of the neighbours",
        "times(bank, layer.gain, 0)",
        "times(bank, None if layer.gain is None else np.roll(layer.gain, 1), 0)",
    ),
    ("pads not scaled by the jump", "layer.pad[2 * a] * jump[a]", "layer.pad[2 * a]"),
    ("pads left out", "origin[a] - layer.pad[2 * a] * jump[a]", "origin[a]"),
    ("units one pixel apart", "jump=jump", "jump=(1, 1)"),
    (
        "the place of the first branch for all",
        "union([banks[i] for i in below])",
        "union([banks[below[0]]] * len(below))",
    ),
):
    wrong_library(f"up: {_name}", "law_response", walks, "up", _old, _new)
wrong_library(
    "up: a gain of the layer below instead of its own",
    "law_response",
    walks,
    "up",
    "times(bank, layer.gain, 0)",
    "times(bank, getattr(net.layers[below[0] - 1], 'gain', None) if below[0] else None, 0)",
)
_cut = "np.split(maps, np.cumsum(widths)[:-1], axis=1)"
for _name, _new in (
    ("cut in the wrong order", "np.split(maps, np.cumsum(widths[::-1])[:-1], axis=1)[::-1]"),
    ("cut into equal parts", "np.array_split(maps, len(widths), axis=1)"),
):
    wrong_library(f"concat {_name}", "law_linear", decoding.Concat, "decode", _cut, _new)
wrong_library("branches of a concat exchanged", "law_response", decoding.Concat, "decode", _cut, f"{_cut}[::-1]")
_scatter = "np.add.at(view, places, maps[:, self._old])"
for _name, _new in (
    ("gathers where it must scatter", "view[...] = maps[:, np.resize(self.chosen, widths[0]) % maps.shape[1]]"),
    ("keeps one of several channels that come from one", "view[places] = maps[:, self._old]"),
    ("hands new channels to the last", "np.add.at(view, (slice(None), self.chosen), maps)"),
):
    for _law in ("law_response", "law_linear"):
        wrong_library(f"select {_name}: {_law}", _law, decoding.Select, "decode", _scatter, _new)
wrong_library(
    "select that leaves in new channels what is there",
    "law_linear",
    decoding.Select,
    "_picked",
    "out[self.chosen < 0] = 0",
    "pass",
)
wrong_library(
    "a sum that hands all to its first",
    "law_response",
    decoding.Sum,
    "decode",
    "(maps,) * len(widths)",
    "(maps, *(0 * maps for _ in widths[1:]))",
)
wrong_library(
    "a sum that shares out",
    "law_linear",
    decoding.Sum,
    "decode",
    "(maps,) * len(widths)",
    "(maps / len(widths),) * len(widths)",
)
wrong_library(
    "biases on the way down",
    "law_response",
    decoding.Conv,
    "decode",
    "return (backend.substitute(maps, filters, stride=self.stride, **options),)",
    "return (np.asarray(backend.substitute(maps, filters, stride=self.stride, **options)) + self.bias.sum(),)",
)
wrong_library("a linear part with biases", "law_linear", decoding.Conv, "linear", "None, stride", "self.bias, stride")
wrong_library(
    "a pool's sum in steps of its size",
    "law_linear",
    decoding.layers.Pool,
    "decode",
    "substitute(maps.reshape(n * k, 1, h, w), ones, stride=self.stride)",
    "substitute(maps.reshape(n * k, 1, h, w), ones, stride=self.size)",
)
wrong_library(
    "a pool's mean for its sum",
    "law_linear",
    decoding.layers.Pool,
    "linear",
    "ones = np.ones((1, 1, *self.size), x.dtype)",
    "ones = np.full((1, 1, *self.size), 1 / (self.size[0] * self.size[1]), x.dtype)",
)
wrong_library(
    "up: groups side by side in the wrong order",
    "law_response",
    decoding.layers.convolution,
    "substitute_bank",
    "out.reshape(k // groups, groups, c0, *out.shape[2:]).swapaxes(0, 1)",
    "out.reshape(groups, k // groups, c0, *out.shape[2:])",
    groups=True,
)


# Less precision than was declared, where a sum is so long that its bound hides it.


def of_few_digits(operator, where, bits=14):
    """The operator of a backend in single precision whose operands have so many binary digits, where ``where(*arrays)`` holds."""
    function = getattr(reference, operator)

    def short(array):
        mantissa, exponent = np.frexp(np.asarray(array, np.float32))
        return np.ldexp(np.rint(np.ldexp(mantissa, bits)), exponent - bits)

    def run(*arrays, **options):
        y = function(*(a if a is None or not where(*arrays) else short(a) for a in arrays), **options)
        return y.astype(np.float32)

    return {operator: run}


for _operator in ("correlate", "substitute", "softmax"):
    mutant(
        f"{_operator} with operands of fourteen digits from 1,000 channels on",
        f"{_operator}_conditions",
        eps=2.0**-24,
        **of_few_digits(_operator, lambda x, *_: np.shape(x)[1] >= 1000),
    )


# Networks of conditions that calls do not have: so many groups, one for each channel.

for _operator in ("correlate", "substitute"):
    mutant(
        f"{_operator} wrong where there are five groups or more",
        {"correlate": "forward_integers", "substitute": "decode_filter_nearest"}[_operator],
        **alone(_operator, lambda run, g, x, f, *rest: run(x, f[::-1] if g > 4 else f, *rest)),
    )


# Wrong under one condition, or under two: some of `attacks`, which has more.

KEPT = (
    "correlate: more than 40 columns",
    "correlate: TF32 where channels are a multiple of 8",
    "correlate: views with gaps read as whole",
    "correlate: in place from 512 numbers on",
    "max_pool: 4×4/3",
    "avg_pool: 5×5/2",
    "relu: leak 0, over 8 columns",
    "softmax: more than 64 images",
    "substitute: equal steps of 5",
    "unpool: nearest by floor(p·(1/s))",
    "max_pool: pads as large as the window accepted",
    "correlate: wrong after a refusal",
    "decode_filter: a cache keyed by id(net)",
    "decode_filter: one buffer for all",
    "relu: a ring of 64 buffers",
    "substitute: wrong after a refused unpooling",
    "relu: an answer that is kept and handed out again",
    "softmax: a counter of 512 calls",
    "relu: infinities times zero",
    "relu: memory that threads share",
)
# Where what is drawn may find it before, too.
NOT_FIRST = (
    "correlate: TF32 where channels are a multiple of 8",
    "correlate: views with gaps read as whole",
    "correlate: in place from 512 numbers on",
    "relu: a ring of 64 buffers",
)
MUTANTS += [
    Mutant(name, checks, name not in NOT_FIRST, backend) for _, name, checks, backend in ATTACKS if name in KEPT
]
