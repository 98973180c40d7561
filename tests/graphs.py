"""Random networks that branch, and their decoded filters computed in plain loops.

Nothing here calls the operators, the walks or the interpolations of `decoding`; only the numbers that its layers were made
with are read. `edges` lists, for each cell of each layer, the cells that it is a weighted sum of in the linear network that
decoding stands for. A decoded filter is then a weighted sum of pixels: `form` computes it cell by cell, and `paths` by
following every path.
"""

from __future__ import annotations

from functools import cache
from math import floor

import numpy as np
from hypothesis import strategies as st

from decoding import (
    AvgPool,
    BatchNorm,
    Concat,
    Conv,
    Dropout,
    Gate,
    MaxPool,
    Network,
    Pool,
    ReLU,
    Select,
    Sum,
    reference,
)

EXACT = 2.0**50  # sums of integers stay below: nothing is rounded, in whatever order they are taken


class NoGroups:
    """A backend that takes no groups."""

    def __init__(self, backend=reference):
        self.backend = backend

    def __getattr__(self, operator):
        if operator in ("groups", "threads"):
            raise AttributeError(operator)
        return getattr(self.backend, operator)


# The linear network.


class Linear:
    """What decoding `rows`×`columns` units of layer `top` stands for: gains, sums of windows, no biases, no pads.

    `unpool` says what a pool is: the transpose of that unpooling, on the maps that the units see.
    """

    def __init__(self, net, top, unpool="nearest", rows=1, columns=1):
        self.net, self.top, self.unpool = net, top, unpool
        self.boxes = self._boxes(rows, columns)
        self.cell = cache(self._cell)

    def _boxes(self, rows, columns):
        """(first row, first column, rows, columns) of what the units see of each layer: the union over their paths."""
        boxes = {self.top: (0, 0, rows, columns)}
        for n in range(self.top, 0, -1):
            if n not in boxes:
                continue
            layer, (i, j, h, w) = self.net.layers[n - 1], boxes[n]
            below = self.net.inputs[n - 1][: 1 if isinstance(layer, Gate) else None]
            (sh, sw), (zh, zw) = layer.stride, layer.size
            start = (0, 0) if not isinstance(layer, Select) else layer.start
            pad = (0, 0) if isinstance(layer, Select) else (layer.pad[0], layer.pad[2])
            first = i * sh - pad[0] + start[0], j * sw - pad[1] + start[1]
            last = first[0] + (h - 1) * sh + zh, first[1] + (w - 1) * sw + zw
            for m in below:
                a, b, r, c = boxes.get(m, (*first, 0, 0))
                low = min(a, first[0]), min(b, first[1])
                boxes[m] = (*low, max(a + r, last[0]) - low[0], max(b + c, last[1]) - low[1])
        return boxes

    def edges(self, n, k, i, j):
        """The cells (layer, channel, row, column) that cell (k, i, j) of layer n is a weighted sum of, and the weights."""
        layer, below = self.net.layers[n - 1], self.net.inputs[n - 1]
        if isinstance(layer, Conv):
            share, width = len(layer.filters) // layer.groups, layer.filters.shape[1]
            for c, u, v in np.ndindex(layer.filters.shape[1:]):
                row = i * layer.stride[0] - layer.pad[0] + u * layer.dilation[0]
                column = j * layer.stride[1] - layer.pad[2] + v * layer.dilation[1]
                yield below[0], k // share * width + c, row, column, layer.filters[k, c, u, v]
        elif isinstance(layer, Pool):
            yield from self._window(n, layer, k, i, j)
        elif isinstance(layer, Concat):
            for m in below:
                if k < self.net.channels(m):
                    yield m, k, i, j, 1.0
                    return
                k -= self.net.channels(m)
        elif isinstance(layer, Select):
            channel = layer.fields()["channels"][k]
            if channel >= 0:
                (sh, sw), (a, b) = layer.stride, layer.start
                yield below[0], channel, a + i * sh, b + j * sw, 1.0
        elif isinstance(layer, BatchNorm):
            yield below[0], k, i, j, layer.scale[k] / layer.std[k]
        else:  # a sum, a gate, a rectifier
            for m in below[:1] if isinstance(layer, Gate) else below:
                yield m, k, i, j, gain(layer, k)

    def _window(self, n, layer, k, i, j):
        """Of a pool: its window; where it interpolates, all pixels that the cell is handed on to."""
        a, b, rows, columns = self.boxes[n]
        top, left = a * layer.stride[0] - layer.pad[0], b * layer.stride[1] - layer.pad[2]
        down = weights(rows, layer.size[0], layer.stride[0], self.unpool)[:, i - a]
        right = weights(columns, layer.size[1], layer.stride[1], self.unpool)[:, j - b]
        for p, q in np.argwhere(np.outer(down, right)):
            yield self.net.inputs[n - 1][0], k, top + p, left + q, gain(layer, k) * down[p] * right[q]

    def _cell(self, n, k, i, j, to):
        """The linear form of a cell in the cells of layer `to`, on their box."""
        a, b, rows, columns = self.boxes[to]
        found = np.zeros((self.net.channels(to), rows, columns))
        if n == to:
            found[k, i - a, j - b] = 1
        elif n > to:
            for m, c, row, column, weight in self.edges(n, k, i, j):
                if m >= to:
                    found += weight * self.cell(m, c, row, column, to)
        return found

    def form(self, maps, to=0):
        """The form (C, H, W) of the units weighed by `maps` (K, rows, columns); and where it begins."""
        found = sum(weight * self.cell(self.top, *cell, to) for cell, weight in np.ndenumerate(maps) if weight)
        return found, self.boxes[to][:2]

    def bank(self, to=0):
        """The form of each unit, (K, C, H, W)."""
        return np.stack([self.cell(self.top, k, 0, 0, to) for k in range(self.net.channels(self.top))])

    def paths(self, n, k, i, j):
        """Each path from a cell down to the image by itself: (the pixel it ends in, the product of its weights)."""
        if not n:
            yield (k, i, j), 1.0
            return
        for m, c, row, column, weight in self.edges(n, k, i, j):
            for pixel, product in self.paths(m, c, row, column):
                yield pixel, weight * product


def gain(layer, k):
    return 1.0 if layer.gain is None else float(layer.gain[k] if np.ndim(layer.gain) else layer.gain)


@cache
def weights(n, size, stride, unpool):
    """How unpooling n cells of one axis weighs each for each of ``(n - 1) · stride + size`` pixels."""
    found = np.zeros(((n - 1) * stride + size, n))
    for p in range(len(found)):
        if unpool == "sum":
            for cell in range(n):
                found[p, cell] = 0 <= p - cell * stride < size
            continue
        if p % stride >= size:
            continue  # between two windows
        place = (p - (size - 1) / 2) / stride
        if unpool == "nearest":
            found[p, min(n - 1, max(0, floor(place + 0.5)))] = 1
            continue
        for cell in range(floor(place) - 1, floor(place) + 3):
            t = abs(place - cell)
            if unpool == "bilinear":
                weight = max(0.0, 1 - t)
            elif t <= 1:
                weight = 1.5 * t**3 - 2.5 * t**2 + 1
            else:
                weight = -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2 if t < 2 else 0.0
            inside = cell
            while not 0 <= inside < n:  # … 1 0 | 0 1 …
                inside = -1 - inside if inside < 0 else 2 * n - 1 - inside
            found[p, inside] += weight
    return found


# Drawn graphs.

BINARY = [((2, 2), (2, 2)), ((2, 3), (2, 1)), ((3, 3), (2, 2)), ((1, 2), (1, 2)), ((4, 1), (4, 1)), ((1, 1), (2, 2))]
ANY = [*BINARY, ((3, 2), (3, 2)), ((2, 3), (3, 2)), ((1, 2), (2, 1)), ((3, 3), (1, 1)), ((1, 1), (3, 2))]
TILING = [(size, stride) for size, stride in ANY if size[0] <= stride[0] and size[1] <= stride[1]]
KINDS = ("conv", "conv", "depthwise", "grouped", "pool", "relu", "norm", "shuffle", "sum", "sum", "twice", "concat", "gate",
         "residual", "residual")  # fmt: skip


class _Draft:
    """A graph as it grows. All layers of one stride have one size: pads add up to the window less one."""

    def __init__(self, draw, channels):
        self.draw, self.layers, self.inputs = draw, [], []
        self.widths, self.jumps, self.spans = [channels], [(1, 1)], [(1, 1)]
        self.bounds = [1.0]  # of the weights of all paths to the image, added up

    def add(self, layer, *below, factor=1.0, bound=None):
        """The number of the layer; None where it would see too much, or numbers could grow too large."""
        jump = self.jumps[below[0]]
        span = [
            max(self.spans[m][a] for m in below) + (layer.size[a] - 1 + abs(layer.pad[2 * a])) * jump[a] for a in (0, 1)
        ]
        bound = factor * sum(self.bounds[m] for m in below) if bound is None else bound
        jump = jump[0] * layer.stride[0], jump[1] * layer.stride[1]
        if max(span) > 24 or bound > EXACT or max(jump) > 6:
            return None
        self.layers.append(layer)
        self.inputs.append(below)
        self.widths.append(layer.channels(*(self.widths[m] for m in below)))
        self.jumps.append(jump)
        self.spans.append(span)
        self.bounds.append(bound)
        return len(self.layers)

    def pads(self, size):
        top, left = (self.draw(st.integers(0, n - 1)) for n in size)
        return top, size[0] - 1 - top, left, size[1] - 1 - left

    def integers(self, *shape):
        seed = self.draw(st.integers(0, 2**16))
        return np.random.default_rng(seed).integers(-2, 3, shape).astype(float)

    def conv(self, m, k, groups=1, stride=(1, 1)):
        size, dilation = self.draw(st.sampled_from([(1, 1), (1, 2), (2, 3), (3, 1), (3, 2)])), (1, 1)
        if stride == (1, 1):
            dilation = self.draw(st.sampled_from([(1, 1), (1, 1), (1, 2), (2, 1)]))
        filters = self.integers(k, self.widths[m] // groups, *size)
        span = (size[0] - 1) * dilation[0] + 1, (size[1] - 1) * dilation[1] + 1
        layer = Conv(filters, self.integers(k), stride=stride, pad=self.pads(span), dilation=dilation, groups=groups)
        return self.add(layer, m, factor=np.abs(filters).sum(axis=(1, 2, 3)).max())

    def gain(self, k):
        choice = self.draw(st.sampled_from(["none", "one", "each"]))
        return {"none": None, "one": 3.0, "each": self.integers(k)}[choice]

    def alike(self, m, *, wide=False):
        """A layer of the same stride as m, and of as many channels unless `wide`."""
        same = [n for n, jump in enumerate(self.jumps) if jump == self.jumps[m]]
        return self.draw(st.sampled_from([n for n in same if wide or self.widths[n] == self.widths[m]]))

    def fitted(self, m, k, stride=(1, 1)):
        """A shortcut without weights: channels picked, new ones zero, every so many pixels."""
        chosen = [self.draw(st.integers(-1, self.widths[m] - 1)) for _ in range(k)]
        start = tuple(self.draw(st.integers(0, s - 1)) for s in stride)
        return self.add(Select(chosen, stride=stride, start=start), m)

    def grow(self, pools, fraction, kinds):
        draw, newest = self.draw, len(self.layers)
        m = draw(st.integers(max(0, newest - 3), newest))
        width, kind = self.widths[m], draw(st.sampled_from(kinds))
        if kind == "conv":
            self.conv(m, draw(st.integers(1, 4)), stride=draw(st.sampled_from([(1, 1), (1, 1), (2, 1), (2, 2)])))
        elif kind == "depthwise":
            self.conv(m, width * draw(st.integers(1, 2 if width < 4 else 1)), groups=width)
        elif kind == "grouped":
            self.conv(m, 4, groups=2 if width % 2 == 0 else 1)
        elif kind == "pool" and pools:
            size, stride = draw(st.sampled_from(pools))
            pool = draw(st.sampled_from([MaxPool, AvgPool]))
            layer = pool(size, stride, pad=self.pads(size), gain=self.gain(width))
            self.add(layer, m, factor=3 * np.prod(size) * fraction)
        elif kind == "relu":
            self.add(draw(st.sampled_from([ReLU(gain=self.gain(width)), Dropout()])), m, factor=3)
        elif kind == "norm":
            scale = 4 * self.integers(width)
            moments = {"mean": self.integers(width), "std": 2.0 ** draw(st.integers(0, 2)) * np.ones(width)}
            self.add(BatchNorm(scale, self.integers(width), **moments), m, factor=8)
        elif kind == "shuffle":
            self.fitted(m, draw(st.integers(1, 5)))
        elif kind == "sum":
            self.add(Sum(), m, *(self.alike(m) for _ in range(draw(st.integers(1, 2)))))
        elif kind == "twice":
            self.add(Sum(), m, self.alike(m), m)
        elif kind == "concat":
            others = [self.alike(m, wide=True) for _ in range(draw(st.integers(1, 2)))]
            if width + sum(self.widths[n] for n in others) <= 8:
                self.add(Concat(), *draw(st.permutations([m, *others])))
        elif kind == "gate":
            self.add(Gate(gain=[3.0, 2.0][m % 2]), m, self.alike(m), factor=3)
        elif kind == "residual":
            stride = draw(st.sampled_from([(1, 1), (2, 2), (1, 2)]))
            k = draw(st.integers(1, 4))
            branch = self.conv(m, k, stride=stride)
            shortcut = None if branch is None else self.fitted(m, k, stride)
            if shortcut is not None:
                self.add(Sum(), *draw(st.permutations([branch, shortcut])))


@st.composite
def graphs(draw, *, pools=tuple(ANY), fraction=1.0, most=8, kinds=KINDS):
    """Networks of small integers; `fraction` bounds the denominators that a pool brings in."""
    draft = _Draft(draw, draw(st.integers(1, 3)))
    for _ in range(draw(st.integers(1, most))):
        draft.grow(pools, fraction, kinds)
    if not draft.layers:
        draft.conv(0, 2)
    # Wide enough for a unit that sees no edge; every stride divides it, so that all layers of one stride have one size.
    return Network(draft.layers, inputs=draft.inputs, input_shape=(draft.widths[0], 72, 72))


POOLS = {"nearest": (ANY, 1), "sum": (ANY, 1), "bilinear": (BINARY, 2**6), "bicubic": (BINARY, 2**20)}


def graphs_for(unpool, **options):
    """Graphs whose decoding with that interpolation is exact."""
    pools, fraction = POOLS[unpool]
    return graphs(pools=tuple(pools), fraction=float(fraction), **options)


def readable(net):
    """The calls that make a drawn network again, for a failure's report."""
    return "\n".join(
        f"{n}: {layer!r} reads {i}" for n, (layer, i) in enumerate(zip(net.layers, net.inputs, strict=True), 1)
    )
