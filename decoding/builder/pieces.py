"""Activations and normalizations that exporters write in pieces, known again by what the pieces compute."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from ..arguments import Array
from ..layers import AvgPool, Conv, Gate, GroupNorm, Layer, LayerNorm, Power, Resize, Scale, Select, Sigmoid, Sum
from ..layers.activations import COMPOSED
from .maps import Maps
from .views import CHANNELS, COLUMNS, POINTS, ROWS, TRACES, Axes, Trace, View

MOST_PIECES = 8  # layers that are looked through, one after the other: a file may hold any number


class Pieces(Maps):
    """`Maps` that know what several operators do at once."""

    # Normalizations written in pieces

    def _standardized(self, a: View, b: View) -> View | None:
        """The normalization of x that a · b is: a = x - mean(x), b = (mean(a²) + epsilon) ** -½."""
        centred, deviation = self._centred(a.layer), self._deviation(b.layer)
        if centred is None or deviation is None or deviation[:2] != centred:
            return None
        ones = np.ones(self._shape(centred[1])[0], self.dtype)
        return self._normalization(centred, deviation[2], ones, None, a.axes)

    def _normalized(self, a: View, b: View) -> View | None:
        """The normalization of x that a + b is: a = x · f, b = bias - mean(x) · f, f = scale · (variance + epsilon) ** -½."""
        gate, bias = (self.layers[each.layer - 1] if each.layer else None for each in (a, b))
        if not isinstance(gate, Gate) or not isinstance(bias, Scale):
            return None
        (x, factor), below = self.inputs[a.layer - 1], self.inputs[b.layer - 1][0]
        if (
            not factor
            or not below
            or not isinstance(self.layers[below - 1], Gate)
            or factor not in self.inputs[below - 1]
        ):
            return None
        sign, other = bias.scale, sum(self.inputs[below - 1]) - factor
        if other and isinstance(minus := self.layers[other - 1], Scale) and (minus.scale == -1).all():
            sign, other = -sign, self.inputs[other - 1][0]
        mean, made, layer = self._average(other), self.layers[factor - 1], self._spread_from(factor)
        scale = np.ones(self._shape(x)[0], self.dtype)
        if isinstance(made, Scale) and not made.bias.any():
            scale, layer = made.scale, self._spread_from(self.inputs[factor - 1][0])
        deviation = self._deviation(layer)
        if (sign != -1).any() or mean is None or deviation is None or mean[1:] != (x, 0) or deviation[:2] != mean[:2]:
            return None
        return self._normalization(mean, deviation[2], scale, bias.bias, a.axes)

    def _normalization(self, of: Any, epsilon: float, scale: Array, bias: Array | None, axes: Axes) -> View:
        """Over the axes and of the layer that `of` begins with."""
        if of[0] == {CHANNELS}:
            layer: Layer = LayerNorm(scale, bias, epsilon=epsilon)
        else:
            layer = GroupNorm(scale, bias, groups=1 if CHANNELS in of[0] else len(scale), epsilon=epsilon)
        return View(self.put(layer, of[1]), axes)

    def _deviation(self, layer: int) -> tuple[set[int], int, float] | None:
        """Over which axes, and of which layer, a layer is ``(mean((x - mean(x))²) + epsilon) ** -½``, and epsilon."""
        exponent = 1.0
        for _ in range(MOST_PIECES):
            if layer and isinstance(power := self.layers[layer - 1], Power):
                exponent, layer = exponent * power.exponent, self.inputs[layer - 1][0]
        variance = self._average(layer)
        if exponent != -0.5 or variance is None or variance[2] < 0 or not variance[1]:
            return None
        kinds, square, epsilon = variance
        made, centred = self.layers[square - 1], self._centred(self.inputs[square - 1][0])
        if not isinstance(made, Power) or made.exponent != 2 or centred is None or centred[0] != kinds:
            return None
        return kinds, centred[1], epsilon

    def _spread_from(self, layer: int) -> int:
        """The layer that is repeated in every place, or for every channel."""
        for _ in range(MOST_PIECES):
            if layer and isinstance(self.layers[layer - 1], (Select, Resize)):
                layer = self.inputs[layer - 1][0]
        return layer

    def _centred(self, layer: int) -> tuple[set[int], int] | None:
        """Over which axes, and of which layer, a layer is ``x - mean(x)``."""
        if not layer or not isinstance(self.layers[layer - 1], Sum):
            return None
        x, repeated = self.inputs[layer - 1]
        layer = self._spread_from(repeated)
        minus = self.layers[layer - 1] if layer else None
        if not isinstance(minus, Scale) or (minus.scale != -1).any() or minus.bias.any():
            return None
        mean = self._average(self.inputs[layer - 1][0])
        return (mean[0], x) if mean is not None and mean[1:] == (x, 0) else None

    def _average(self, layer: int) -> tuple[set[int], int, float] | None:
        """Over which axes, and of which layer, a layer is the mean, and what is added to it."""
        kinds, offset = set[int](), 0.0
        for _ in range(MOST_PIECES if layer else 0):
            made, (below, *_) = self.layers[layer - 1], self.inputs[layer - 1]
            if isinstance(made, Scale) and (made.scale == 1).all() and (made.bias == made.bias[0]).all() and not kinds:
                offset += float(made.bias[0])
            elif isinstance(made, Conv) and made.filters.shape == (1, self._shape(below)[0], 1, 1):
                if (made.filters != made.filters.dtype.type(1 / made.filters.size)).any():
                    break
                offset += float(made.bias[0])
                kinds.add(CHANNELS)
            elif isinstance(made, AvgPool) and made.size == self._shape(below)[1:]:
                kinds |= {ROWS, COLUMNS}
            else:
                break
            layer = below
            if not layer:
                break
        return (kinds, layer, offset) if kinds else None

    # Activations written in pieces

    def _traced(self, view: View, function: Any) -> dict[tuple[int, Axes], Trace]:
        with np.errstate(all="ignore"):
            made = {key: Trace(function(trace.values), trace.depth + 1) for key, trace in view.history().items()}
        return dict(list(made.items())[-TRACES:])

    def _combined(self, a: View, b: View, operator: Any) -> dict[tuple[int, Axes], Trace]:
        ours, theirs = a.history(), b.history()
        with np.errstate(all="ignore"):
            return {
                key: Trace(operator(ours[key].values, theirs[key].values), 1 + ours[key].depth + theirs[key].depth)
                for key in ours
                if key in theirs
            }

    def _recognized(self, traces: dict[tuple[int, Axes], Trace]) -> View | None:
        """The layer that does at once what several operators did to a map."""
        for (layer, axes), trace in traces.items():
            if trace.depth < 2 or not np.isfinite(trace.values).all():
                continue
            off = np.abs(_wanted() - trace.values).max(axis=1).tolist()
            best = int(np.argmin(off))
            if off[best] < 1e-5 or (off[best] < 2e-3 and sorted(off)[1] > 4 * off[best] and trace.depth > 2):
                return View(self.put(_functions()[best], layer), axes, {(layer, axes): Trace(trace.values, 1)})
        return None


@cache
def _wanted() -> Array:
    """What they give at `POINTS`, (functions, points)."""
    return np.array([each.function(POINTS) for each in _functions()])


def _functions() -> list[Any]:
    return [*COMPOSED, Sigmoid()]
