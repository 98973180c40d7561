"""Activations and normalizations that exporters write as several operators, recognized by what these compute together."""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np

from ..arguments import Array
from ..layers import AvgPool, Conv, Gate, GroupNorm, LayerNorm, Power, ReLU, Resize, Scale, Select, Sigmoid, Sum
from ..layers.activations import COMPOSED
from .maps import Maps
from .views import POINTS, TRACES, Axes, Trace, View

MOST_PIECES = 8  # the most layers that are looked at, one below the other; a file may hold any number


class Over(NamedTuple):
    """What moments are taken over: `groups` of channels (0 if each channel is by itself), and whether over the whole map."""

    groups: int
    map: bool


class Pieces(Maps):
    """`Maps` that recognize what several operators do together."""

    # Normalizations written in pieces

    def _standardized(self, a: View, b: View) -> View | None:
        """The normalization of x, if a · b is one: a = x - mean(x), b = scale · (variance(x) + epsilon) ** -½."""
        centred, factor = self._centred(a.layer), self._factor(b.layer)
        if centred is None or factor is None or factor[:2] != centred:
            return None
        return self._normalization(*factor, None, a.axes)

    def _normalized(self, a: View, b: View) -> View | None:
        """The normalization of x, if a + b is one: a = x · f, b = bias - mean(x) · f, f = scale · (variance(x) + epsilon) ** -½."""
        gate, bias = (self._made(view.layer) for view in (a, b))
        if not isinstance(gate, Gate) or not isinstance(bias, Scale):
            return None
        (x, f), below = self.inputs[a.layer - 1], self.inputs[b.layer - 1][0]
        if not isinstance(self._made(below), Gate) or f not in self.inputs[below - 1]:
            return None
        sign, other = bias.scale, sum(self.inputs[below - 1]) - f
        if isinstance(minus := self._made(other), Scale) and (minus.scale == -1).all():
            sign, other = -sign, self.inputs[other - 1][0]
        mean, factor = self._average(other), self._factor(f)
        if (sign != -1).any() or mean is None or factor is None or mean[1:] != (x, 0) or factor[:2] != mean[:2]:
            return None
        return self._normalization(*factor, bias.bias, a.axes)

    def _normalization(
        self, over: Over, x: int, epsilon: float, scale: Array, bias: Array | None, axes: Axes
    ) -> View | None:
        count = self._shape(x)[0]
        scale = np.broadcast_to(scale, (count,)) if scale.size == 1 else scale
        if scale.size != count or (over.groups > 1 and not over.map):
            return None
        if over.map:
            return View(self.put(GroupNorm(scale, bias, groups=over.groups or count, epsilon=epsilon), x), axes)
        return View(self.put(LayerNorm(scale, bias, epsilon=epsilon), x), axes)

    def _factor(self, layer: int) -> tuple[Over, int, float, Array] | None:
        """If a layer is ``scale · (variance(x) + epsilon) ** -½``: what the variance is over, x, epsilon, and the scale."""
        scale, layer = np.ones(1, self.dtype), self._spread_from(layer)
        made = self._made(layer)
        if isinstance(made, Scale) and not made.bias.any():
            scale, layer = made.scale, self._spread_from(self.inputs[layer - 1][0])
        exponent = 1.0
        for _ in range(MOST_PIECES):
            if isinstance(power := self._made(layer), Power):
                exponent, layer = exponent * power.exponent, self.inputs[layer - 1][0]
        found = self._variance(layer) if exponent == -0.5 else None
        return (*found, scale) if found is not None and found[2] >= 0 else None

    def _variance(self, layer: int) -> tuple[Over, int, float] | None:
        """If a layer is ``mean((x - mean(x))²) + epsilon``: what the means are over, x, and epsilon."""
        found = self._average(layer)
        if found is None:
            return self._moments(layer)
        over, square, epsilon = found
        root = self._rooted(square)
        centred = None if root is None else self._centred(root)
        return (over, centred[1], epsilon) if centred is not None and centred[0] == over else None

    def _moments(self, layer: int) -> tuple[Over, int, float] | None:
        """The same, if it is ``mean(x²) - mean(x)² + epsilon``, perhaps clipped so as not to fall below 0."""
        epsilon = 0.0
        made = self._made(layer)
        if isinstance(made, Scale) and (made.scale == 1).all() and (made.bias == made.bias[0]).all():
            epsilon, layer = float(made.bias[0]), self.inputs[layer - 1][0]
            made = self._made(layer)
        if isinstance(made, ReLU) and not made.leak:
            layer = self.inputs[layer - 1][0]
            made = self._made(layer)
        if not isinstance(made, Sum):
            return None
        first, below = self.inputs[layer - 1]
        minus = self._made(below)
        if not isinstance(minus, Scale) or (minus.scale != -1).any() or minus.bias.any():
            return None
        squares, root = self._average(first), self._rooted(self.inputs[below - 1][0])
        mean = None if root is None else self._average(root)
        if squares is None or mean is None or squares[2] or mean[2]:
            return None
        return (*mean[:2], epsilon) if (squares[0], self._rooted(squares[1])) == mean[:2] else None

    def _rooted(self, layer: int) -> int | None:
        """If a layer is a square: the layer of which it is the square."""
        made = self._made(layer)
        return self.inputs[layer - 1][0] if isinstance(made, Power) and made.exponent == 2 else None

    def _spread_from(self, layer: int) -> int:
        """The layer below layers that only repeat it over places or channels."""
        for _ in range(MOST_PIECES):
            if isinstance(self._made(layer), (Select, Resize)):
                layer = self.inputs[layer - 1][0]
        return layer

    def _centred(self, layer: int) -> tuple[Over, int] | None:
        """If a layer is ``x - mean(x)``: what the mean is over, and x."""
        if not isinstance(self._made(layer), Sum):
            return None
        x, repeated = self.inputs[layer - 1]
        layer = self._spread_from(repeated)
        minus = self._made(layer)
        if not isinstance(minus, Scale) or (minus.scale != -1).any() or minus.bias.any():
            return None
        mean = self._average(self.inputs[layer - 1][0])
        return (mean[0], x) if mean is not None and mean[1:] == (x, 0) else None

    def _average(self, layer: int) -> tuple[Over, int, float] | None:
        """If a layer is ``mean(x) + offset``: what the mean is over, x, and the offset."""
        over, offset = Over(0, False), 0.0
        for _ in range(MOST_PIECES if layer else 0):
            made, (below, *_) = self.layers[layer - 1], self.inputs[layer - 1]
            if over == (0, False) and isinstance(made, Scale):
                if (made.scale != 1).any() or (made.bias != made.bias[0]).any():
                    break
                offset += float(made.bias[0])
            elif isinstance(made, Conv) and not over.groups:
                groups, share = made.groups, self._shape(below)[0] // made.groups
                if made.filters.shape != (groups, share, 1, 1) or (made.bias != made.bias[0]).any():
                    break
                if (made.filters != made.filters.dtype.type(1 / share)).any():
                    break
                over, offset = over._replace(groups=groups), offset + float(made.bias[0])
            elif isinstance(made, AvgPool) and made.size == self._shape(below)[1:]:
                over = over._replace(map=True)
            else:
                break
            layer = below
            if not layer:
                break
        return (over, layer, offset) if over != (0, False) else None

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
        """Add the activation that does what several operators have done to a map, if there is one."""
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
    """The values of the known activations at `POINTS`, (functions, points)."""
    return np.array([activation.function(POINTS) for activation in _functions()])


def _functions() -> list[Any]:
    return [*COMPOSED, Sigmoid()]
