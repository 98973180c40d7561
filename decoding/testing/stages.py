"""The passes through a network, stage by stage, each stage with its bound: where does a backend first differ?

A pass is one of the three algorithms of `decoding.walks`, forward, down or up. They are the library's own, so the kit judges what users
run. To find what each stage must give, the algorithm runs three times side by side:

- with the reference's operators, whose calls are recorded;
- with operators that take errors and give the largest honest error of each recorded call;
- with operators that give the size of each recorded answer plus its error. Where branches are added, this adds up their sizes.

The algorithm itself rounds, too, when it multiplies by gains and adds branches. These roundings are added to the errors after each stage,
before the algorithm goes on.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from .. import reference, walks
from ..arguments import Array
from ..layers import Concat, Conv, Dropout, Gate, Layer, Loss, Select, Sum
from ..network import Network
from ..walks import Placed
from .bounds import exact_unit, refuse_vacuous, running_error
from .calls import Call
from .rounding import Arithmetic, NotJudged, unit

Steps = Iterator[tuple[int, Array]]


class Pass(NamedTuple):
    """One walk through a network: a function of (network, start, backend) that gives (number, values) of what it visits."""

    net: Network
    way: str
    walk: Callable[[Network, Array, Any], Steps]

    def answers(self, start: Array, backend: Any) -> Steps:
        """What a backend makes of each stage, from what it made of the stage before."""
        found = self.walk(self.net, start, backend)
        next(found)  # the start
        return found


class Expected(NamedTuple):
    """What a stage should give, and how far from it is honest; `unit` where it must be exact."""

    name: str
    want: Array
    bound: Array
    unit: float | None


def forward(net: Network, top: int) -> Pass:
    """Layers 1 to `top`, upwards."""
    return Pass(net, "forward", lambda net, x, backend: walks.forward(net, x, range(top + 1), backend))


def decode(net: Network, top: int, unpool: str) -> Pass:
    """From layer `top` down to the image, by all paths."""

    def walk(net: Network, maps: Array, backend: Any) -> Steps:
        found = walks.down(net, Placed(maps, (0, 0)), top, 0, unpool, backend)
        return ((number, placed.maps) for number, placed in found)

    return Pass(net, "down", walk)


def decode_bottom_up(net: Network, top: int) -> Pass:
    """The decoded bank of the image, carried up to layer `top`."""

    def walk(net: Network, bank: Array, backend: Any) -> Steps:
        return ((number, placed.maps) for number, placed in walks.up(net, top, 0, backend, bank.dtype))

    return Pass(net, "up", walk)


def expectations(steps: Pass, start: Array, precision: Arithmetic, *, groups: bool = False) -> Iterator[Expected]:
    """What each stage must give, with `groups` to a backend that takes them; not judged from where zeros would pass on."""
    start, net = np.asarray(start, np.float64), steps.net
    calls = Calls(precision)
    ledger = {"forward": _Up, "up": _Up, "down": _Down}[steps.way](steps, precision)
    errors, sizes = _twin(net, ledger.rounding), _twin(net, 1 + ledger.rounding)
    walking = zip(
        steps.walk(net, start, Operators(calls.answer, groups)),
        steps.walk(errors, np.zeros_like(start), Operators(calls.error, groups)),
        steps.walk(sizes, np.abs(start), Operators(calls.size, groups)),
        strict=False,  # the first stops first
    )
    for (number, want), (_, error), (_, size) in walking:
        units = calls.taken()
        name, grid = ledger.arrive(number, want, error, size, units)
        if name:
            if precision.range.huge < np.abs(size).max(initial=0.0):
                raise NotJudged(f"{name}: values of {size.max():.3g} may overflow at eps = {precision.eps:.2g}")
            if grid is None or not precision.exact:  # elsewhere the answer must be equal, whatever the bound
                refuse_vacuous(want, error)
            yield Expected(name, want, error.copy(), grid)
        ledger.leave(number, want, error)
        size[...] = np.abs(want) + error


class _Ledger:
    """What the walk rounds by itself, and the grids that responses lie on where they must be exact.

    A grid is None where something was rounded on the way.
    """

    def __init__(self, steps: Pass, precision: Arithmetic) -> None:
        self.net, self.way, self.precision = steps.net, steps.way, precision
        self.rounding = self.precision.growth(1)  # of a weight that is read
        self.grids: dict[int, float | None] = {}

    def arrive(
        self, number: int, want: Array, error: Array, size: Array, units: list[float | None]
    ) -> tuple[str, float | None]:
        """The name and the grid of what the walk stops at, made by calls of such grids; its error is completed.

        The name is empty where the walk begins.
        """
        raise NotImplementedError

    def leave(self, number: int, want: Array, error: Array) -> None:
        """The walk goes on; what it rounds before it asks an operator is added to the error."""

    def layer(self, number: int) -> Layer:
        return self.net.layers[number - 1]

    def named(self, number: int) -> str:
        return f"layer {number} ({self.layer(number).kind})"

    def fits(self, grid: float | None, size: Array) -> float | None:
        """The grid, if numbers of this size are exact on it."""
        return grid if grid is not None and np.abs(size).max(initial=0.0) <= grid / self.precision.eps else None

    def summed(self, terms: int, error: Array, size: Array) -> None:
        """A sum of so many terms, whose sizes add up to `size`."""
        if terms > 1:
            error += self.precision.growth(terms - 1) * size

    def scaled(self, factors: Any, products: Array, grid: float | None) -> float | None:
        """The grid of a layer's responses times its factors; None if a factor or a product may round."""
        if grid is None or factors is None:
            return grid
        factors = np.asarray(factors, np.float64)
        return None if self.fits(unit(factors), factors) is None else self.fits(unit(products), products)


class _Up(_Ledger):
    """Responses or banks, going up: what a layer makes, and then its gain, is there when the walk stops at it."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.values: dict[int, tuple[Array, Array]] = {}

    def arrive(
        self, number: int, want: Array, error: Array, size: Array, units: list[float | None]
    ) -> tuple[str, float | None]:
        if not number:
            error[...] = 0  # a bank begins with ones, whatever is carried
            self.grids[0], self.values[0] = self.fits(unit(want), want), (want, error)
            return "", None
        layer = self.layer(number)
        below = (self.net.inputs if self.way == "forward" else self.net.paths)[number - 1]
        grid = _least([self.grids[i] for i in below])
        if units:
            grid = _least(units) if grid is not None else None
        elif self.way == "up" and isinstance(layer, Conv):  # its filters are its units
            grid = self.fits(unit(want), want)
        else:
            grid = self._unasked(layer, below, error, size)
        if self.way == "up" and layer.gain is not None:
            error += self.precision.growth(3, operands=2) * size + self.precision.range.tiny
            grid = self.scaled(layer.gain, want, grid)
        self.grids[number], self.values[number] = grid, (want, error)
        return self.named(number), grid

    def _unasked(self, layer: Layer, below: tuple[int, ...], error: Array, size: Array) -> float | None:
        """Of a layer that asks no operator: its roundings, and the grid of what it makes."""
        grids = [self.grids[i] for i in below]
        grid = _least(grids)
        if isinstance(layer, Sum):
            self.summed(len(below), error, size)
            return self.fits(grid, size)
        if isinstance(layer, Gate) and self.way == "forward":
            (x, off), (factor, more) = (self.values[i] for i in below)
            error[...] = np.abs(x) * more + np.abs(factor) * off + off * more
            error += self.precision.growth(1) * size + self.precision.range.tiny
            first, second = grids
            return None if first is None or second is None else self.fits(first * second, size)
        if self.way == "forward" and not isinstance(layer, (Concat, Select, Dropout, Loss)):
            raise NotJudged(f"a layer of kind {layer.kind} computes by itself, and has no bound here")
        return grid


class _Down(_Ledger):
    """Maps, going down: all that comes to a layer is there when the walk stops at it; its gain comes after."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.parts: dict[int, list[float | None]] = defaultdict(list)
        self.readers: dict[int, list[int]] = defaultdict(list)
        self.last: tuple[int, float | None] | None = None

    def arrive(
        self, number: int, want: Array, error: Array, size: Array, units: list[float | None]
    ) -> tuple[str, float | None]:
        if self.last is None:
            self.grids[number] = self.fits(unit(want), want)
            return "", None
        # The layer that the walk stopped at before has been carried down since.
        reader, part = self.last
        if units and part is not None:
            part = _least(units)
        for i in self.net.paths[reader - 1]:
            self.parts[i].append(part)
            self.readers[i].append(reader)
        parts, readers = self.parts.pop(number), self.readers.pop(number)
        self.summed(len(parts), error, size)
        grid = _least(parts)
        self.grids[number] = self.fits(grid, size) if len(parts) > 1 else grid
        return " and ".join(map(self.named, dict.fromkeys(readers))), self.grids[number]

    def leave(self, number: int, want: Array, error: Array) -> None:
        """The gain, which is multiplied with what was found here: its rounding, in proportion before as after."""
        if not number:
            return
        gain, grid = self.layer(number).gain, self.grids[number]
        if gain is not None:
            factors = np.asarray(gain, np.float64).reshape(-1, 1, 1)
            error += self.precision.growth(3, operands=2) * (np.abs(want) + error)
            error += self.precision.range.tiny / np.where(factors == 0, np.inf, np.abs(factors))
            grid = self.scaled(factors, factors * want, grid)
        self.last = number, grid


class Calls:
    """The operators' calls of one stage: what the reference answered, and how far from it is honest."""

    def __init__(self, precision: Arithmetic) -> None:
        self.precision = precision
        self.made: list[tuple[Call, Array]] = []
        self.errors: list[Array] = []
        self.sized = 0

    def answer(self, call: Call) -> Any:
        self.made.append((call, np.asarray(call.on(reference))))
        return np.asarray(self.made[-1][1])

    def error(self, carried: Call) -> Array:
        """The error of the next call, whose arrays carry errors themselves."""
        call, _ = self.made[len(self.errors)]
        # Weights come as they were recorded; what differs from the record is the error carried so far.
        errors = tuple(
            None if array is None or kept is None or np.array_equal(array, kept) else array
            for array, kept in zip(carried.arrays, call.arrays, strict=True)
        )
        self.errors.append(running_error(call, self.precision, errors))
        return np.array(self.errors[-1])

    def size(self, _: Call) -> Array:
        """The size of the next answer, with its error."""
        self.sized += 1
        return np.asarray(np.abs(self.made[self.sized - 1][1]) + self.errors[self.sized - 1])

    def taken(self) -> list[float | None]:
        """The grids of the answers; the next stage begins."""
        units = [exact_unit(call, self.precision) for call, _ in self.made]
        self.made, self.errors, self.sized = [], [], 0
        return units


class Operators:
    """A backend whose operators hand their calls to a function, such as those of `Calls`."""

    def __init__(self, run: Callable[[Call], Any], groups: bool) -> None:
        self.run, self.groups = run, groups

    def __getattr__(self, operator: str) -> Callable[..., Any]:
        return lambda *arrays, **options: self.run(Call(operator, arrays, options))


def _twin(net: Network, share: float) -> Network:
    """The same network for what has no sign: gains without theirs, and parts that share no memory, to be written to.

    Where the filters of a bank are its units, this share of their size takes their place.
    """

    def apart(layer: Layer) -> Layer:
        twin = object.__new__(type(layer))
        changed: dict[str, Any] = {"forward": layer.forward, "decode_bank": layer.decode_bank}
        changed["decode"] = lambda *given: [np.array(part) for part in layer.decode(*given)]
        if layer.gain is not None:
            changed["gain"] = np.abs(layer.gain)
        if isinstance(layer, Conv):
            changed["dense"] = share * np.abs(np.asarray(layer.dense, np.float64))
        vars(twin).update(vars(layer), **changed)
        return twin

    twin = object.__new__(Network)
    vars(twin).update(vars(net), layers=tuple(map(apart, net.layers)))
    return twin


def _least(grids: list[float | None]) -> float | None:
    """The finest of the grids; None if there is one on which something was rounded."""
    known = [grid for grid in grids if grid is not None]
    return min(known) if len(known) == len(grids) else None
