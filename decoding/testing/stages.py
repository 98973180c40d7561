"""A network's passes, stage by stage, with the bound of each: where does a backend first differ?

Three passes share one shape: layers up (`forward`), layers down (`decode`), banks up (`decode_bank`). Each stage is run
by the backend on what the backend made of the stage before, as a network runs it, and by the reference likewise; the
bound is carried along by the very same code, run on errors instead of values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from .. import reference
from ..arguments import Array
from ..network import Network
from ..walks import times
from .bounds import Arithmetic, check_tells, exact_unit, running_error, unit
from .calls import Call


class Stage(NamedTuple):
    """One step of a pass: a function of (values, backend)."""

    name: str
    run: Callable[[Array, Any], Any]


class Judged(NamedTuple):
    """What a stage should give, and how far from it is honest; `unit` where it must be exact."""

    name: str
    want: Array
    bound: Array
    unit: float | None


def forward(net: Network, top: int) -> list[Stage]:
    """Layers 1 to `top`, upwards."""
    return [
        _stage(net, number, lambda x, b, layer=layer: layer.forward(x, backend=b))
        for number, layer in _numbered(net, top)
    ]


def decode(net: Network, top: int, unpool: str) -> list[Stage]:
    """Layers `top` to 1, downwards."""
    return [
        _stage(
            net,
            number,
            lambda x, b, layer=layer, n=number: layer.decode(times(x, layer.gain, 1), [net.channels(n - 1)], unpool, b)[
                0
            ],
        )
        for number, layer in reversed(_numbered(net, top))
    ]


def decode_bottom_up(net: Network, top: int) -> list[Stage]:
    """The decoded bank of the image, carried up to layer `top`."""
    jumps = [net.receptive_field(number).stride for number in range(top)]
    return [
        _stage(
            net,
            number,
            lambda x, b, layer=layer, jump=jumps[number - 1]: times(
                layer.decode_bank(x, jump=jump, backend=b), layer.gain, 0
            ),
        )
        for number, layer in _numbered(net, top)
    ]


def judged(stages: list[Stage], start: Array, precision: Arithmetic) -> Iterator[Judged]:
    """What each stage must give.

    Raises
    ------
    NotJudged
        Where the bound says nothing any more: at the first stage where zeros would pass.
    """
    want, error, grid = start, np.zeros(np.shape(start)), 1.0
    exact = True
    for stage in stages:
        recorder, given = _Recorder(), want
        want = np.asarray(stage.run(given, recorder), np.float64)
        units = [exact_unit(call, precision) for call in recorder.calls]
        exact = exact and None not in units
        grid = min([grid, *(each for each in units if each is not None)])
        error = np.abs(stage.run(error, _Errors(recorder.calls, precision)))
        if not recorder.calls and not np.array_equal(want, given):  # a scale
            error = error + precision.growth(3, operands=2) * (np.abs(want) + error) + precision.range.tiny
            scaled = _scaled_unit(np.asarray(stage.run(np.ones_like(given), recorder)), want, precision)
            exact, grid = exact and scaled is not None, min(grid, scaled or grid)
        if not exact or not precision.exact:  # elsewhere the answer must be equal, whatever the bound
            check_tells(want, error)
        yield Judged(stage.name, want, error, grid if exact else None)


def _scaled_unit(factors: Array, want: Array, precision: Arithmetic) -> float | None:
    """The grid of what a layer scaled by `factors`; None if a factor or a product may round."""
    grids = [unit(factors), unit(want)]
    fits = [
        grid is not None and np.abs(array).max(initial=0.0) <= grid / precision.eps
        for grid, array in zip(grids, (factors, want), strict=True)
    ]
    return grids[1] if all(fits) else None


def _numbered(net: Network, top: int) -> list[tuple[int, Any]]:
    return list(enumerate(net.layers[:top], 1))


def _stage(net: Network, number: int, run: Callable[..., Any]) -> Stage:
    return Stage(f"layer {number} ({net.layers[number - 1].kind})", run)


class _Recorder:
    """The reference, remembering its calls."""

    def __init__(self) -> None:
        self.calls: list[Call] = []

    def __getattr__(self, operator: str) -> Callable[..., Any]:
        def run(*arrays: Array | None, **options: Any) -> Any:
            self.calls.append(Call(operator, arrays, options))
            return self.calls[-1].on(reference)

        return run


class _Errors:
    """A backend whose operators take errors and give errors: those of the recorded calls, in their order."""

    def __init__(self, calls: list[Call], precision: Arithmetic) -> None:
        self.calls, self.precision = iter(calls), precision

    def __getattr__(self, operator: str) -> Callable[..., Any]:
        def run(*arrays: Array | None, **options: Any) -> Array:
            call = next(self.calls)
            # Weights come as they were recorded; what differs from the record is the error carried so far.
            errors = tuple(
                None if array is None or kept is None or np.array_equal(array, kept) else array
                for array, kept in zip(arrays, call.arrays, strict=True)
            )
            return running_error(call, self.precision, errors)

        return run
