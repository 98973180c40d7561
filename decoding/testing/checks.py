"""The registry: every check is a small function of a `Bench`, with a name, a sentence, a source and the bug it hunts.

Each searches, and then looks at cases of `explicit`: what hypothesis draws depends on its version and on the modules that
are loaded, and what a check must catch may not.

Operators come first, then whole networks, refusals, hygiene, and last the laws, which need no reference at all.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

import decoding

from .. import reference
from ..arguments import Array, Pads, Pair
from ..backend import OPERATORS, takes_groups
from ..decoder import decode_filter
from ..interpolation import MODES
from ..layers import AvgPool, Conv, Dropout, Layer, MaxPool, Pool, Select
from ..network import Network
from . import conditions, explicit, stages
from . import strategies as draws
from .bench import STOPS, Bench, Unsupported, stays
from .bounds import NotJudged, axis_weights, error_bound
from .calls import Call, source
from .report import Mismatch

UNKNOWN_MODES = (
    *(
        "cubic",
        "linear",
        "",
        "Nearest",
        "BILINEAR",
        "nearest-exact",
        "area",
        "trilinear",
        "lanczos",
        "box",
        "max",
        "zeros",
    ),
    *("nearest ", "bilinear2", "none"),
)
RING = 130  # answers that are held at a time
KEPT = 2**12  # numbers of an answer that is held, to see whether it stays


class Check(NamedTuple):
    """One property of a backend.

    Attributes
    ----------
    name : str
    says : str
        The property, in a sentence.
    source : str
        Where the paper says so, or "our choice".
    hunts : str
        The bug it is there for.
    operators : tuple of str
        What the backend must have; the check is unsupported otherwise.
    run : callable
        Takes a `Bench`; raises `Mismatch`.
    why : str
        Why it is there, if the checks before it catch all the wrong backends it catches.
    """

    name: str
    says: str
    source: str
    hunts: str
    operators: tuple[str, ...]
    run: Callable[[Bench], None]
    why: str = ""


CHECKS: dict[str, Check] = {}


def check(
    *operators: str, says: str, source: str, hunts: str, why: str = ""
) -> Callable[[Callable[[Bench], None]], Callable[[Bench], None]]:
    """Enter a function into the registry, under its own name."""

    def enter(run: Callable[[Bench], None]) -> Callable[[Bench], None]:
        CHECKS[run.__name__] = Check(run.__name__, says, source, hunts, operators, run, why)
        return run

    return enter


# Operators, one at a time: equal on small integers, within the derived bound on reals.

_SOURCES = {
    "correlate": ("section 2, the ⋆ operator", "flips, swapped axes, strides, pads, a lost or doubled bias"),
    "max_pool": ("section 4, non-overlapping 2×2 regions", "maxima that start at zero, sizes rounded up, zero padding"),
    "avg_pool": ("our choice: MatConvNet's divisor", "padding that is counted, sizes rounded up"),
    "relu": ("section 4, layer 6 of LeNet", "a leak that is ignored, or thought to lie between 0 and 1"),
    "substitute": ("equations 1 and 2, subst", "flips, overlaps that overwrite, swapped strides"),
}


def _differential(name: str, operator: str, values: str, mode: str | None, source: str, hunts: str) -> None:
    exactly = (
        "Equals the reference on small integers"
        if values == "integers"
        else "Stays within γ_n of the reference on reals"
    )

    def run(bench: Bench) -> None:
        always = explicit.calls(operator, values, mode)
        if values == "integers" or operator == "softmax":
            always += explicit.long_calls(operator, mode)
        bench.forall(draws.calls(operator, values, mode=mode), bench.agrees, always=always)

    CHECKS[name] = Check(name, f"{exactly}.", source, hunts, (operator,), run)


for _operator, (_source, _hunts) in _SOURCES.items():
    _differential(f"{_operator}_integers", _operator, "integers", None, _source, _hunts)
    _differential(f"{_operator}_reals", _operator, "reals", None, _source, "less precision than was declared")
for _mode, _hunts in zip(
    MODES,
    (
        "ties that go to the earlier cell, swapped sizes, gains",
        "aligned corners, swapped sizes",
        "another a than −1/2, an edge that repeats",
    ),
    strict=True,
):
    _name = f"unpool_{_mode}"
    _differential(
        f"{_name}_integers", "unpool", "integers", _mode, "section 3, unpool; kernel and edge our choice", _hunts
    )
    _differential(
        f"{_name}_reals",
        "unpool",
        "reals",
        _mode,
        "section 3, unpool; kernel and edge our choice",
        "less precision than was declared",
    )
_differential("softmax", "softmax", "reals", None, "section 4, layer 8 of LeNet", "overflow, the wrong axis")


@check(
    says="Linear operators keep to their bound for operands as large and as small as the format allows.",
    source="our choice",
    hunts="absolute tolerances, values flushed or clipped",
)
def magnitudes(bench: Bench) -> None:
    reach = bench.precision.range.reach

    def scaled(case: tuple[Call, int, int]) -> None:
        call, first, second = case
        powers = (first, second, first + second) if len(call.arrays) > 1 else (first + second,)
        arrays = tuple(a if a is None else a * 2.0**p for a, p in zip(call.arrays, powers, strict=False))
        scaled = Call(call.operator, arrays, call.options)
        bench.agrees_but_for_echoes(scaled, call, bench.answer(scaled), scaled)

    powers = st.integers(-reach, reach)
    ends = [(reach, reach), (-reach, -reach), (reach, -reach), (-reach, reach)]
    for operator in _present(bench, "correlate", "max_pool", "avg_pool", "relu", "substitute", "unpool"):
        if not _answers_probe(bench, operator, _plain_mode(operator)):
            continue
        always = [(call, *end) for end in ends for call in explicit.calls(operator, mode=_plain_mode(operator))]
        bench.forall(st.tuples(_plain(operator), powers, powers), scaled, 0.25, always)


def _grouped(values: str) -> None:
    exactly = "equal the reference on small integers" if values == "integers" else "stay within γ_n of it on reals"

    def run(bench: Bench) -> None:
        for operator in _present(bench, "correlate", "substitute"):
            bench.forall(draws.grouped_calls(operator, values), bench.agrees, 0.5, explicit.grouped(operator, values))

    name = f"grouped_{values}"
    CHECKS[name] = Check(
        name,
        f"Where the backend says groups = True, correlations and substitutions in groups {exactly}.",
        "our choice: groups as every library has them",
        "groups ignored, taken in another order, or spread over each other"
        if values == "integers"
        else "less precision than was declared",
        ("groups",),
        run,
    )


for _values in draws.VALUES:
    _grouped(_values)


# Whole networks.


@st.composite
def _passes(draw: DrawFn, bench: Bench, values: str, softmax: bool = False) -> tuple[Network, Array]:
    kinds = ("conv", *(kind for kind in ("max_pool", "avg_pool", "relu", "softmax") if kind in bench.operators))
    kinds = *(kind for kind in kinds if softmax or kind != "softmax"), "select", *draws.JOINS
    net = draw(draws.networks(values, kinds=kinds))
    return net, draw(draws.images_for(net, values))


def _forward(bench: Bench, values: str, softmax: bool = False) -> None:
    def passes(case: tuple[Network, Array]) -> None:
        net, images = case
        code = f"net = {source(net)}\nnet.activations({source(images)}, backend=backend)"
        bench.agrees_on_pass(stages.forward(net, len(net.layers)), images, code)

    always = [case for case in explicit.passes(values) if _has(bench, case[0], MaxPool="max_pool", AvgPool="avg_pool")]
    bench.forall(_passes(bench, values, softmax), passes, always=always)


@check(
    "correlate",
    says="A network of small integers gives every layer's responses exactly.",
    source="section 3, z^L",
    hunts="operators that disagree once chained",
)
def forward_integers(bench: Bench) -> None:
    _forward(bench, "integers")


@check(
    "correlate",
    says="A network gives every layer's responses within the running bound.",
    source="section 3, z^L",
    hunts="errors that build up from layer to layer",
)
def forward_reals(bench: Bench) -> None:
    _forward(bench, "reals", softmax=True)


@st.composite
def _units(draw: DrawFn, values: str, *kinds: str) -> tuple[Network, int, int]:
    net = draw(draws.networks(values, kinds=("conv", "relu", "select", *draws.JOINS, *kinds)))
    layer = draw(st.sampled_from((len(net.layers), *range(1, len(net.layers) + 1))))
    return net, layer, draw(st.integers(0, net.channels(layer) - 1))


def _has(bench: Bench, net: Network, **operators: str) -> bool:
    """Whether the backend has the `operators`, by the kinds of layers that need them, and rectifiers and softmax."""
    operators = {"ReLU": "relu", "Softmax": "softmax", **operators}
    return {operators[layer.kind] for layer in net.layers if layer.kind in operators} <= set(bench.operators)


def _always(bench: Bench, mode: str) -> list[tuple[Network, int, int]]:
    kinds = {MaxPool, AvgPool} if "unpool" not in bench.operators else set()
    return [case for case in explicit.units(mode) if not kinds & {type(layer) for layer in case[0].layers}]


def _pools(bench: Bench) -> list[str]:
    return ["pool"] if "unpool" in bench.operators else []


def _decoding(net: Network, layer: int, maps: Array, mode: str) -> str:
    """Code of the pass from above, down to every layer: the image alone may be right where a layer on the way is not."""
    lines = ["from decoding import walks", f"net = {source(net)}", f"start = walks.Placed({source(maps)}, (0, 0))"]
    walk = f"walks.down(net, start, {layer}, 0, {mode!r}, backend)"
    return "\n".join([*lines, f"[placed.maps for _, placed in {walk}]"])


def _decoding_bottom_up(net: Network, layer: int) -> str:
    """Code of the pass from below, layer by layer: the last bank alone may be right where one on the way is not."""
    walk = f"walks.up(net, {layer}, 0, backend, float)"
    return f"from decoding import walks\nnet = {source(net)}\n[placed.maps for _, placed in {walk}]"


def _decode_filter(mode: str) -> None:
    def run(bench: Bench) -> None:
        def passes(case: tuple[Network, int, int]) -> None:
            net, layer, k = case
            impulse = np.zeros((1, net.channels(layer), 1, 1))
            impulse[0, k] = 1
            bench.agrees_on_pass(stages.decode(net, layer, mode), impulse, _decoding(net, layer, impulse, mode))

        for values, always in zip(draws.VALUES, (_always(bench, mode), ()), strict=True):
            bench.forall(_units(values, *_pools(bench)), passes, always=always)

    name = f"decode_filter_{mode}"
    CHECKS[name] = Check(
        name,
        f"Decodes any unit of a drawn network, {mode} unpooling, stage by stage.",
        "section 3, filter_decoding(L, k, CNN)",
        "an impulse, a single pixel or a stride that is treated apart",
        ("substitute",),
        run,
    )


def _decode_layer(mode: str) -> None:
    def run(bench: Bench) -> None:
        def passes(case: tuple[Network, int, int]) -> None:
            net, layer, _ = case
            if all(below.decodes_bottom_up(mode) for below in net.layers[:layer]):
                start = np.eye(net.channels(0))[:, :, np.newaxis, np.newaxis]
                bench.agrees_on_pass(stages.decode_bottom_up(net, layer), start, _decoding_bottom_up(net, layer))
            else:
                start = np.eye(net.channels(layer))[:, :, np.newaxis, np.newaxis]
                bench.agrees_on_pass(stages.decode(net, layer, mode), start, _decoding(net, layer, start, mode))

        for values, always in zip(draws.VALUES, (_always(bench, mode), ()), strict=True):
            bench.forall(_units(values, *_pools(bench)), passes, always=always)

    name = f"decode_layer_{mode}"
    CHECKS[name] = Check(
        name,
        f"Decodes whole banks, {mode} unpooling, bottom-up where that is the same.",
        "section 3; the order is our choice",
        "maps, filters or units that are taken one at a time where there are many",
        ("substitute",),
        run,
    )


for _mode in MODES:
    _decode_filter(_mode)
for _mode in MODES:
    _decode_layer(_mode)


@check(
    "decode_filter",
    says="The backend's own decode_filter, any interpolation, gives the decoded filters.",
    source="section 3, filter_decoding(L, k, CNN)",
    hunts="biases, rectifiers or switches used on the way down, units counted from 1",
)
def own_decode_filter(bench: Bench) -> None:
    def same(case: tuple[Network, int, int], mode: str) -> None:
        net, layer, k = case
        code = f"net = {source(net)}\nbackend.decode_filter(net, {layer}, {k}, unpool={mode!r})"
        impulse = np.zeros((1, net.channels(layer), 1, 1))
        impulse[0, k] = 1
        last = list(stages.expectations(stages.decode(net, layer, mode), impulse, bench.precision))[-1]
        want, bound, unit = last.want[0], last.bound[0], last.unit
        if all(below.decodes_bottom_up(mode) for below in net.layers[:layer]):
            start = np.eye(net.channels(0))[:, :, np.newaxis, np.newaxis]
            other = list(stages.expectations(stages.decode_bottom_up(net, layer), start, bench.precision))[-1]
            bound, unit = bound + other.bound[k], None if other.unit is None or unit is None else min(unit, other.unit)
        got = bench.asked(lambda: bench.backend.decode_filter(net, layer, k, unpool=mode), code)
        bench.compare(got, stages.Expected("", want, bound, unit), code)

    for mode in MODES:
        for values, always in zip(draws.VALUES, (explicit.units(mode), ()), strict=True):
            bench.forall(_units(values, "pool", "norm"), partial(same, mode=mode), 0.25, always)


@check(
    "decode_filter",
    says="The backend's own decode_filter takes each network for itself, and its answers stay as they are.",
    source="our choice",
    hunts="caches by the address or the shapes of a network, one buffer for all decoded filters",
)
def own_decoder_remembers_nothing(bench: Bench) -> None:
    held: list[tuple[Any, Array]] = []
    # Networks of the same shapes, each gone when the next is made, so that addresses come again.
    code = "\n".join(
        [
            "def made(number):",
            "    first = Conv(np.resize(np.arange(-3, 4.0), (2, 1, 2, 3)) * number)",
            "    second = Conv(np.resize(np.arange(-3, 4.0), (3, 2, 2, 1)) + number)",
            "    return Network([first, MaxPool(2), second], input_shape=(1, 7, 8))",
            "found = [backend.decode_filter(made(n), 3, n % 3, unpool='nearest') for n in range(1, 49)]",
            "assert all(map(np.array_equal, found, [decode_filter(made(n), 3, n % 3) for n in range(1, 49)]))",
        ]
    )

    def decodes(number: int) -> None:
        first, second = explicit.tiled(2, 1, 2, 3) * number, explicit.tiled(3, 2, 2, 1) + number
        net, k = Network([Conv(first), MaxPool(2), Conv(second)], input_shape=(1, 7, 8)), number % 3
        held.append(bench.held(lambda: bench.backend.decode_filter(net, 3, k, unpool="nearest"), code))
        impulse = np.zeros((1, 3, 1, 1))
        impulse[0, k] = 1
        last = list(stages.expectations(stages.decode(net, 3, "nearest"), impulse, bench.precision))[-1]
        arrays = {"input0": first, "input1": second}
        bench.compare(held[-1][1], stages.Expected("", last.want[0], last.bound[0], last.unit), code, arrays)

    bench.look(range(1, 49), decodes)
    for answer, before in held:
        if not stays(answer, before):
            raise Mismatch("the answer changed when other filters were decoded later", code, arrays={"input0": before})


# What must be refused: any exception will do, in whatever words, but NotImplementedError says "unsupported".


def _refuses(bench: Bench, cases: SearchStrategy[Call], *golden: str, always: Iterable[Call] = ()) -> None:
    def refused(call: Call) -> None:
        answer = bench.unless_refused(lambda: call.on(bench.backend, *call.copies()), call)
        if answer is not None:
            raise Mismatch(f"gives the shape {answer.shape} where it must raise an exception", call)

    bench.forall(cases, refused, 0.25, [*explicit.refused(*golden), *always])


@st.composite
def _mismatched(draw: DrawFn, operator: str) -> Call:
    call = draw(draws.calls(operator))
    filters = call.arrays[1]
    assert filters is not None
    has = filters.shape[1 if operator == "correlate" else 0]
    channels = draw(st.sampled_from([c for c in (1, 2, 3, 4) if c != has]))
    x = draw(draws.maps(channels=channels, least=(filters.shape[2], filters.shape[3])))
    return Call(operator, (x, *call.arrays[1:]), call.options)


@check(
    "correlate",
    says="Refuses maps whose channels are not the filters'.",
    source="our choice",
    hunts="broadcasting one channel to many, ignoring the channels in excess",
)
def refuses_other_channels(bench: Bench) -> None:
    _refuses(bench, _mismatched("correlate"), "one-channel", "channels")


@check(
    "substitute",
    says="Refuses maps that are not as many as the filters.",
    source="our choice",
    hunts="broadcasting one map to many filters",
)
def refuses_other_map_count(bench: Bench) -> None:
    _refuses(bench, _mismatched("substitute"), "maps")


@check(
    "correlate",
    says="Refuses a bias that is not one value per filter.",
    source="our choice",
    hunts="broadcasting one bias to all filters",
)
def refuses_other_bias(bench: Bench) -> None:
    @st.composite
    def cases(draw: DrawFn) -> Call:
        call = draw(draws.calls("correlate"))
        x, filters, _ = call.arrays
        assert filters is not None
        wrong = draw(st.sampled_from([k for k in (1, 2, 4) if k != len(filters)]))
        return Call("correlate", (x, filters, np.arange(1.0, wrong + 1)), call.options)

    _refuses(bench, cases(), "bias")


@st.composite
def _too_small(draw: DrawFn, windows: tuple[Pair, ...]) -> tuple[Pair, Pair, Pads]:
    """A window, and size and pads of a map that it does not fit in, by one cell along one axis."""
    window = draw(st.sampled_from([window for window in windows if max(window) > 1]))
    size = [window[0] + draw(st.integers(0, 3)), window[1] + draw(st.integers(0, 3))]
    axis = draw(st.sampled_from([axis for axis in (0, 1) if window[axis] > 1]))
    size[axis] = window[axis] - 1
    pads = list[int]()
    for axis in (0, 1):
        for _ in range(2):
            pads.append(draw(st.integers(0, min(size[axis], window[axis]) - 1)))
            size[axis] -= pads[-1]
    return window, (size[0], size[1]), (pads[0], pads[1], pads[2], pads[3])


# Windows, and maps that are smaller even with their pads.
_SMALL: tuple[tuple[Pair, Pair, Pads], ...] = (((4, 2), (2, 5), (1, 0, 0, 1)), ((2, 4), (5, 2), (1, 1, 0, 1)))


@check(
    "correlate",
    says="Refuses a filter larger than the map with its pads.",
    source="our choice",
    hunts="empty or negative sizes, reading outside",
)
def refuses_larger_filters(bench: Bench) -> None:
    @st.composite
    def cases(draw: DrawFn) -> Call:
        window, size, pad = draw(_too_small(draws.WINDOWS))
        x, filters = draw(draws.fillings((1, 2, *size))), draw(draws.fillings((3, 2, *window)))
        return Call("correlate", (x, filters, np.zeros(3)), {"stride": draw(draws.strides()), "pad": pad})

    always = [
        Call(
            "correlate",
            (explicit.tiled(1, 2, *size), explicit.tiled(3, 2, *window), None),
            {"stride": (1, 1), "pad": pad},
        )
        for window, size, pad in _SMALL
    ]
    _refuses(bench, cases(), "filter-rows", "filter-columns", always=always)


@check(
    says="Refuses a pool whose window is larger than the map with its pads.",
    source="our choice",
    hunts="empty sizes, maxima of nothing",
)
def refuses_larger_windows(bench: Bench) -> None:
    @st.composite
    def cases(draw: DrawFn, operator: str) -> Call:
        window, size, pad = draw(_too_small(draws.POOLS))
        options = {"size": window, "stride": draw(draws.strides()), "pad": pad}
        return Call(operator, (draw(draws.fillings((1, 2, *size))),), options)

    for operator in _present(bench, "max_pool", "avg_pool"):
        golden = {"max_pool": "max-window", "avg_pool": "avg-window"}[operator]
        always = [
            Call(operator, (explicit.tiled(1, 2, *size),), {"size": window, "stride": (1, 1), "pad": pad})
            for window, size, pad in _SMALL
        ]
        _refuses(bench, cases(operator), golden, always=always)


@check(
    says="Refuses a pool whose pads are as large as its window: a window would lie outside the map altogether.",
    source="our choice",
    hunts="maxima of nothing, means divided by zero",
)
def refuses_larger_pads(bench: Bench) -> None:
    @st.composite
    def cases(draw: DrawFn, operator: str) -> Call:
        call = draw(draws.pool_calls(operator))
        (h, w), pads = call.options["size"], list(call.options["pad"])
        side = draw(st.integers(0, 3))
        pads[side] = (h, w)[side // 2] + draw(st.integers(0, 2))
        return call._replace(options={**call.options, "pad": tuple(pads)})

    for operator in _present(bench, "max_pool", "avg_pool"):
        x, pads = (
            explicit.tiled(1, 2, 5, 6),
            [tuple((2, 2, 3, 3)[i] * (i == side) for i in range(4)) for side in range(4)],
        )
        always = [Call(operator, (x,), {"size": (2, 3), "stride": (1, 1), "pad": pad}) for pad in pads]
        _refuses(bench, cases(operator), always=always)


@check(
    "unpool",
    says="Refuses an interpolation that is none of the three.",
    source="our choice",
    hunts="unknown names that fall through to a default",
)
def refuses_unknown_modes(bench: Bench) -> None:
    modes = st.sampled_from(UNKNOWN_MODES)
    _refuses(
        bench,
        st.tuples(draws.calls("unpool"), modes).map(
            lambda case: Call("unpool", case[0].arrays, {**case[0].options, "mode": case[1]})
        ),
        "mode",
        always=[
            call._replace(options={**call.options, "mode": mode})
            for mode in UNKNOWN_MODES
            for call in explicit.calls("unpool", mode="nearest")[:1]
        ],
    )


@check(
    "decode_filter",
    says="The backend's own decode_filter refuses a unit that is not there, and an interpolation that is none of the three.",
    source="our choice",
    hunts="units counted from the end or round and round, unknown names that fall through to a default",
)
def refuses_other_units(bench: Bench) -> None:
    def wrongs(net: Network, layer: int, k: int) -> list[tuple[Network, int, int, str]]:
        units = net.channels(layer)
        pools = any(isinstance(below, Pool) for below in net.layers[:layer])
        return [(net, layer, units, "nearest"), (net, layer, -1, "nearest"), *([(net, layer, k, "cubic")] * pools)]

    def refused(case: tuple[Network, int, int, str]) -> None:
        net, layer, k, mode = case
        code = f"net = {source(net)}\nbackend.decode_filter(net, {layer}, {k}, unpool={mode!r})"
        answer = bench.unless_refused(lambda: bench.backend.decode_filter(net, layer, k, unpool=mode), code)
        if answer is not None:
            raise Mismatch(f"gives the shape {answer.shape} where it must raise an exception", code)

    always = [wrong for unit in explicit.units("nearest") for wrong in wrongs(*unit)]
    cases = _units("integers", "pool").flatmap(lambda unit: st.sampled_from(wrongs(*unit)))
    bench.forall(cases, refused, 0.25, always)


# Hygiene.


@check(says="Leaves its inputs as they were.", source="our choice", hunts="work done in place")
def inputs_untouched(bench: Bench) -> None:
    def untouched(call: Call) -> None:
        arrays = call.copies()
        bench.asked(lambda: call.on(bench.backend, *arrays), call)
        for name, now, before in zip(call.named, _given(arrays), _given(call.arrays), strict=True):
            if not np.array_equal(now, before):
                code = call.script(
                    f"before = {name}.copy()", call.by_name(), f"assert np.array_equal({name}, before), {name}"
                )
                raise Mismatch(f"{name} was written to", code)

    _on_every_operator(bench, untouched)


@check(
    says="Takes arrays that cannot be written to.",
    source="our choice: the weights of a Network are read-only",
    hunts="wrappers that insist on writable memory",
)
def read_only_inputs(bench: Bench) -> None:
    def read_only(call: Call) -> None:
        arrays = call.copies()
        for array in _given(arrays):
            array.setflags(write=False)
        code = call.script(*(f"{name}.setflags(write=False)" for name in call.named), call.by_name())
        bench.agrees_but_for_echoes(call, call, bench.asked(lambda: call.on(bench.backend, *arrays), code), code)

    _on_every_operator(bench, read_only)


@check(
    says="Takes arrays that are not contiguous: every second column, axes in another order, backwards, or repeated.",
    source="our choice",
    hunts="wrappers that pass the pointer and forget the strides, or their signs, or that they may be 0",
)
def strided_inputs(bench: Bench) -> None:
    def gaps(array: Array) -> Array:
        return np.stack([array, np.full_like(array, 77)], -1)[..., 0]

    def backwards(array: Array, axis: int) -> Array:
        return np.flip(np.flip(array, axis % array.ndim).copy(), axis % array.ndim)  # a bias has one

    flip = "{{0}} = np.flip(np.flip({{0}}, {0} % {{0}}.ndim).copy(), {0} % {{0}}.ndim)"
    views: tuple[tuple[Callable[[Array], Array], str], ...] = (
        (gaps, "{0} = np.stack([{0}, np.full_like({0}, 77)], -1)[..., 0]"),
        (np.asfortranarray, "{0} = np.asfortranarray({0})"),
        *((partial(backwards, axis=axis), flip.format(axis)) for axis in range(4)),
        (lambda array: np.broadcast_to(array[..., :1], array.shape), "{0} = np.broadcast_to({0}[..., :1], {0}.shape)"),
    )

    def agrees(call: Call) -> None:
        for view, line in views:
            arrays = [None if a is None else view(a) for a in call.arrays]
            code = call.script(*(line.format(name) for name in call.named), call.by_name())
            same = Call(call.operator, tuple(arrays), call.options)
            plain = same._replace(arrays=tuple(None if a is None else np.array(a, order="C") for a in arrays))
            bench.agrees_but_for_echoes(same, plain, bench.asked(partial(same.on, bench.backend), code), code)

    _on_every_operator(bench, agrees)


@check(
    says="Takes arrays of single precision, as weights read from files are, all of them or one.",
    source="our choice",
    hunts="memory read as doubles whatever it holds",
)
def single_inputs(bench: Bench) -> None:
    def agrees(call: Call) -> None:
        there = [number for number, array in enumerate(call.arrays) if array is not None]
        for chosen in (there, *([number] for number in there if len(there) > 1)):
            arrays = [a.astype(np.float32) if n in chosen and a is not None else a for n, a in enumerate(call.arrays)]
            single = Call(call.operator, tuple(arrays), call.options)
            # Arithmetic in single precision is an honest answer to single-precision arrays.
            doubles = Call(call.operator, tuple(None if a is None else a.astype(float) for a in arrays), call.options)
            bench.at(2.0**-24).agrees_but_for_echoes(single, doubles, bench.answer(single), single)

    _on_every_operator(bench, agrees)


@check(
    says="Gives no images for no images, in the right shape.",
    source="our choice",
    hunts="a batch of none that divides by zero, or is taken for one",
)
def empty_batches(bench: Bench) -> None:
    def agrees(call: Call) -> None:
        x, *others = call.arrays
        assert x is not None
        empty = Call(call.operator, (x[:0], *others), call.options)
        bench.agrees_but_for_echoes(empty, call, bench.answer(empty), empty)

    _on_every_operator(bench, agrees)


@check(
    says="Answers the same when asked again, and anew when the same array holds other values.",
    source="our choice",
    hunts="results cached by the address or the shape of the input, sums that go on in a buffer",
)
def fresh_answers(bench: Bench) -> None:
    def agrees(call: Call) -> None:
        arrays, lines = call.copies(), list[str]()
        (first, *_), there = call.named, dict(zip(call.named, _given(arrays), strict=True))
        for changed in (None, None, *there, first):
            if changed is not None:
                there[changed][...] = 1 - there[changed]
                lines.append(f"{changed}[...] = 1 - {changed}")
            lines.append(call.by_name())
            now, code = (
                Call(call.operator, tuple(None if a is None else a.copy() for a in arrays), call.options),
                call.script(*lines),
            )
            if len(lines) > 1:
                bench.agrees(now, bench.asked(lambda: call.on(bench.backend, *arrays), code), code)
                continue
            given = bench.asked(lambda: call.on(bench.backend, *arrays), code)
            try:
                bench.agrees(now, given, code)
            except Mismatch:  # a first answer that is wrong is no stale one
                bench.left_out.append(call.operator)
                return

    _on_every_operator(bench, agrees)


@check(
    says="An answer stays as it is when the next one is made, and when the input changes.",
    source="our choice",
    hunts="one output buffer for all calls, inputs handed back as answers",
)
def lasting_answers(bench: Bench) -> None:
    def held(call: Call, arrays: list[Array | None]) -> tuple[Any, Array]:
        return bench.held(lambda: call.on(bench.backend, *arrays), call)

    holds = "assert np.array_equal(first, before, equal_nan=True), first"

    def others_do(call: Call) -> None:
        arrays = call.copies()
        answer = held(call, arrays)
        for array in _given(arrays):
            array[...] = 1 - array
        if not stays(*answer):
            lines = [f"first = {call.by_name()}", "before = np.array(first)"]
            lines += [f"{name}[...] = 1 - {name}" for name in call.named]
            raise Mismatch("the answer changed when its inputs did", call.script(*lines, holds))

    def later(calls: list[Call]) -> None:
        answers = list[tuple[Any, Array]]()
        for now, call in enumerate(calls):
            answers.append(held(call, call.copies()))
            for then in range(now):
                if not stays(*answers[then]):
                    lines = [f"first = {calls[then]}", "before = np.array(first)"]
                    lines += [*map(repr, calls[then + 1 : now + 1]), holds]
                    problem = f"the answer changed when another call was made, number {now - then} after its own"
                    raise Mismatch(problem, "\n".join(lines))

    def at_the_end(calls: list[Call]) -> None:
        answers = [held(call, call.copies()) for call in calls]
        for call, answer in zip(calls, answers, strict=True):
            if not stays(*answer):
                lines = [f"first = {call}", "before = np.array(first)"]
                lines += [f"others = [{times(call, 2)} for _ in range({len(calls)})]", holds]
                raise Mismatch(f"an answer changed while {len(calls)} calls were made", "\n".join(lines))

    def times(call: Call, factor: int) -> Call:
        x, *others = call.arrays
        assert x is not None
        return Call(call.operator, (x * factor, *others), call.options)

    def eight(call: Call) -> list[Call]:
        return [times(call, factor) for factor in range(1, 9)]

    def lasts(call: Call) -> None:
        others_do(call)
        later(eight(call))

    _on_every_operator(bench, lasts)
    # Memory that operators share: each of them in turn.
    rounds = [eight(_probe(operator, mode)) for operator in bench.operators for mode in _modes(bench, operator)[:1]]
    in_turn = [call for turn in zip(*rounds, strict=True) for call in turn]
    if in_turn:
        bench.look([in_turn], later)
    # Rings of buffers: so many answers of one shape, of a few numbers and of some more.
    for operator in bench.operators:
        for mode in _modes(bench, operator)[:1]:
            for call in (explicit.long_calls(operator, mode)[0], explicit.long_calls(operator, mode)[4]):
                bench.look([[times(call, 1 + number % 3) for number in range(RING)]], at_the_end)


@check(
    says="Answers as before after a call that was refused, or had not-a-number in it.",
    source="our choice",
    hunts="what a call that ends early leaves behind: half-filled buffers, settings, plans",
)
def answers_after_errors(bench: Bench) -> None:
    def spoilt(call: Call) -> list[tuple[str, Call]]:
        arrays = [call.copies() for _ in call.arrays]
        found = []
        for number, array in enumerate(call.arrays):
            if array is not None:
                arrays[number][number] = np.full_like(array, np.nan)
                found.append(("of not-a-number", call._replace(arrays=tuple(arrays[number]))))
        x, *others = call.arrays
        assert x is not None
        wrong = {"correlate": x[:, :0], "substitute": x[:, :-1]}.get(call.operator, x[0, 0])
        found.append(("that is refused", call._replace(arrays=(wrong, *others))))
        if "mode" in call.options:
            found.append(("that is refused", call._replace(options={**call.options, "mode": "none"})))
        return found

    def same(case: tuple[str, Call, Call]) -> None:
        what, wrong, call = case
        bench.unless_refused(lambda: wrong.on(bench.backend, *wrong.copies()), wrong)
        lines = ["import contextlib", "with contextlib.suppress(Exception):", f"    {wrong}", str(call)]
        try:
            bench.agrees(call, bench.asked(lambda: call.on(bench.backend, *call.copies()), call), "\n".join(lines))
        except Mismatch as mismatch:
            mismatch.problem = f"after a call {what}: {mismatch.problem}"
            raise

    for operator in bench.operators:
        for mode in _modes(bench, operator):
            probe = _probe(operator, mode)
            bench.look([(what, wrong, probe) for what, wrong in spoilt(probe)], same)


@check(
    says="Not-a-number comes out wherever it enters, or is refused.",
    source="our choice",
    hunts="maxima and rectifiers that drop NaN, weights cleaned of it: they hide a broken network",
)
def nan_comes_out(bench: Bench) -> None:
    @st.composite
    def spoilt(draw: DrawFn, cases: SearchStrategy[Call]) -> tuple[Call, int, int]:
        call = draw(cases)
        which = draw(st.sampled_from([number for number, a in enumerate(call.arrays) if a is not None]))
        return call, which, draw(st.integers(0, np.size(call.arrays[which]) - 1))  # type: ignore[arg-type]

    def comes_out(case: tuple[Call, int, int]) -> None:
        call, which, spot = case
        arrays = call.copies()
        arrays[which].flat[spot] = np.nan  # type: ignore[union-attr]
        spoilt = Call(call.operator, tuple(arrays), call.options)
        got = bench.unless_refused(lambda: spoilt.on(bench.backend, *spoilt.copies()), spoilt)
        if got is None:
            return
        touched = _touched(spoilt, which) > 0
        if got.shape != touched.shape:
            raise Mismatch(f"gives the shape {got.shape} instead of {touched.shape}", spoilt)
        missing = touched & ~np.isnan(got)
        if missing.any():
            raise Mismatch(f"{int(missing.sum())} values made of NaN are not NaN", spoilt, arrays={"got": got})

    for operator in bench.operators:
        for mode in _modes(bench, operator):
            always = [
                (call, which, spot)
                for call in explicit.calls(operator, mode=mode)
                for which, array in enumerate(call.arrays)
                if array is not None
                for spot in {0, array.size // 2}
            ]
            bench.forall(spoilt(_plain(operator, mode)), comes_out, 0.2, always)


def _touched(call: Call, which: int) -> Array:
    """Where the NaN of one array has a share in the output: alone, or times something that is not zero."""
    spots = np.isnan(call.arrays[which]).astype(float)  # type: ignore[arg-type]
    if call.operator == "softmax":
        return np.broadcast_to(spots.max(axis=1, keepdims=True), spots.shape)
    if call.operator == "relu":
        return spots
    if call.operator == "unpool":
        down, across = axis_weights(call)
        return np.asarray(down @ spots @ across.T)
    shares: list[Array | None] = [None if a is None else np.where(a != 0, float(which < 2), 0) for a in call.arrays]
    if len(shares) == 3:
        shares[2] = None
    shares[which] = spots
    return np.asarray(call.on(reference, *shares))


# Conditions: all that implementations branch on, alone and in pairs.


def _conditions(operator: str) -> None:
    def run(bench: Bench) -> None:
        modes = _modes(bench, operator)
        held: list[tuple[Any, Array, conditions.Case]] = []

        def agrees(case: conditions.Case) -> None:
            call, before = case.call, case.call.copies()

            answer, got = bench.held(lambda: call.on(bench.backend), case)
            for name, now, then in zip(call.named, _given(call.arrays), _given(before), strict=True):
                if not np.array_equal(now, then):
                    now[...] = then  # so that the case is what it was
                    lines = [
                        f"before = {name}.copy()",
                        call.by_name(),
                        f"assert np.array_equal({name}, before), {name}",
                    ]
                    raise Mismatch(f"{name} was written to", case.script(*lines))
            if got.size <= KEPT:
                held.append((answer, got, case))
            same, desk = (
                call._replace(arrays=tuple(before)),
                bench if case.row["type"] == "double" else bench.at(2.0**-24),
            )
            graded = case.row["values"] == "graded" and "repeated" not in case.row["layout"]
            exact = graded and desk.precision.exact and _is_whole(same, desk)
            if exact:
                want = np.asarray(same.on(reference))
                desk.compare(got, stages.Expected("", want, np.zeros(want.shape), 1.0), case)
            else:
                desk.agrees(same, got, case)

        cases = conditions.cases(operator, bench.precision, bench.thorough)
        bench.look((case for case in cases if case.row.get("mode") in modes), agrees)
        for answer, before, case in held:
            if not stays(answer, before):
                raise Mismatch("the answer changed when other calls were made later", case)

    name = f"{operator}_conditions"
    CHECKS[name] = Check(
        name,
        "Does what the reference does under all conditions that implementations branch on, and under every two of them together: "
        "sides, windows, steps, pads, layouts in memory, types, magnitudes; leaves inputs and earlier answers alone.",
        "our choice",
        "a way of its own for some sizes or shapes, its tails, and what it takes for granted of memory and magnitudes",
        (operator,),
        run,
    )


def _is_whole(call: Call, bench: Bench) -> bool:
    """Whether graded values of `conditions` add up to whole numbers without rounding, in any order."""
    if call.operator not in ("correlate", "substitute"):
        return False
    total = np.abs(call.on(reference, *(None if a is None else np.abs(a) for a in call.arrays))).max(initial=0.0)
    return bool(total * max(bench.precision.eps, bench.precision.input_eps) <= 1)


for _operator in OPERATORS:
    _conditions(_operator)


# Laws. A backend and a reference with the same mistake would both fail them.
_LAW = "It needs no reference, so it also stands for one who doubts ours."


@check(
    "correlate",
    "substitute",
    says="<correlate(x, f), z> = <x, substitute(z, f)>.",
    source="sections 2 and 3: substitution undoes correlation",
    hunts="two operators that disagree on strides, filters or channels",
    why=_LAW,
)
def law_adjoint(bench: Bench) -> None:
    def padded(call: Call) -> Call:
        (x, filters, _), (top, bottom, left, right) = call.arrays, call.options["pad"]
        assert x is not None
        x = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)))
        return Call("correlate", (x, filters, None), {**call.options, "pad": (0, 0, 0, 0)})

    @st.composite
    def cases(draw: DrawFn) -> tuple[Call, Array]:
        call = padded(draw(draws.calls("correlate")))
        return call, draw(draws.fillings(np.shape(call.on(reference)), limit=2))

    def adjoint(case: tuple[Call, Array]) -> None:
        call, z = case
        x, filters, _ = call.arrays
        assert x is not None
        back = Call("substitute", (z, filters), {"stride": call.options["stride"]})
        up, down = bench.exactly(call), bench.exactly(back)
        lines = [f"z = {source(z)}", f"up = {call.by_name()}", f"down = {back.by_name().replace('maps', 'z')}"]
        if not bench.precision.exact:
            lines.append("up, down = np.rint(up), np.rint(down)")
        code = call.script(*lines, "assert (up * z).sum() == (x[:, :, : down.shape[2], : down.shape[3]] * down).sum()")
        fits = down.shape[:2] == x.shape[:2] and down.ndim == 4 and (np.array(down.shape) <= x.shape).all()
        if up.shape != z.shape or not fits:
            raise Mismatch(f"gives the shapes {up.shape} and {down.shape}", code)
        left, right = (up * z).sum(), (x[:, :, : down.shape[2], : down.shape[3]] * down).sum()
        if left != right:
            raise Mismatch(f"the inner products are {left:g} and {right:g}, and must be equal", code)

    calls = [padded(call) for call in explicit.calls("correlate")]
    always = [(call, explicit.tiled(*np.shape(call.on(reference)), most=2)) for call in calls]
    bench.forall(cases(), adjoint, 0.5, always)


@check(
    "substitute",
    says="An impulse decodes to the filter itself, unflipped, in its place.",
    source="equation 2: df^{L,L−1} = f^L",
    hunts="flips in correlate and substitute at once, which the adjoint law lets through",
    why=_LAW,
)
def law_impulse(bench: Bench) -> None:
    @st.composite
    def cases(draw: DrawFn) -> tuple[Call, tuple[int, int, int]]:
        filters, stride = draw(draws.banks()), draw(draws.strides())
        rows, columns = draw(draws.map_sizes(extra=3))
        spot = (
            draw(st.integers(0, len(filters) - 1)),
            draw(st.integers(0, rows - 1)),
            draw(st.integers(0, columns - 1)),
        )
        return at(np.zeros((1, len(filters), rows, columns)), filters, stride, spot)

    def at(zeros: Array, filters: Array, stride: Any, spot: tuple[int, int, int]) -> tuple[Call, tuple[int, int, int]]:
        zeros[0][spot] = 1
        return Call("substitute", (zeros, filters), {"stride": stride}), spot

    def impulse(case: tuple[Call, tuple[int, int, int]]) -> None:
        call, (k, i, j) = case
        (z, filters), (down, across) = call.arrays, call.options["stride"]
        assert z is not None
        assert filters is not None
        got = bench.exactly(call)
        (rows, columns), (_, channels, height, width) = z.shape[2:], filters.shape
        size = 1, channels, (rows - 1) * down + height, (columns - 1) * across + width
        if got.shape != size:
            raise Mismatch(f"gives the shape {got.shape} instead of {size}", call)
        want = np.zeros_like(got)
        place = want[0, :, i * down : i * down + filters.shape[2], j * across : j * across + filters.shape[3]]
        place[...] = filters[k]
        if not np.array_equal(got, want):
            raise Mismatch("the impulse did not become the filter", call, arrays={"got": got, "want": want})

    always = [
        at(np.zeros((1, len(filters), 2, 3)), filters, call.options["stride"], (len(filters) - 1, 1, 1))
        for call in explicit.calls("substitute")
        for filters in call.arrays[1:]
        if filters is not None
    ]
    bench.forall(cases(), impulse, 0.5, always)


@check(
    "unpool",
    says="A constant map stays as it is where a window was, whatever the interpolation, and is 0 between windows.",
    source="our choice: gain 1 per pixel",
    hunts="gains, weights that do not sum to one at the edge, values spread over what the pool never saw",
    why=_LAW,
)
def law_gain(bench: Bench) -> None:
    def constant(call: Call) -> None:
        (x,) = call.arrays
        assert x is not None
        ones = Call("unpool", (np.ones_like(x),), call.options)
        bound = error_bound(ones, bench.precision)
        rows, columns = (
            np.arange(n) % s < z
            for n, z, s in zip(bound.shape[2:], call.options["size"], call.options["stride"], strict=True)
        )
        want = np.broadcast_to((rows[:, np.newaxis] & columns).astype(float), bound.shape)
        bench.compare(bench.answer(ones), stages.Expected("", want, bound, None), ones)

    bench.forall(draws.calls("unpool"), constant, 0.5, explicit.calls("unpool"))


@check(
    *OPERATORS,
    says="Correlating an image with a decoded filter (nearest), sampled at the unit's stride, is the network with sums for pools, no rectifiers and no biases.",
    source="section 4, figure 3, made exact",
    hunts="a decoder that agrees with itself but not with the network",
    why=_LAW,
)
def law_response(bench: Bench) -> None:
    def linear(net: Network) -> Network:
        layers: list[Layer] = []
        for layer in net.layers:
            if isinstance(layer, Conv):
                layers.append(Conv(layer.dense, stride=layer.stride))
            elif isinstance(layer, Pool):  # sizes whose means are exact
                layers.append(AvgPool(tuple(2 if side == 3 else side for side in layer.size)))
        return Network(layers)

    def size(net: Network, *more: int) -> list[int]:
        field = net.receptive_field(len(net.layers))
        return [net.channels(0), *(z + s * m for z, s, m in zip(field.size, field.stride, more, strict=True))]

    @st.composite
    def cases(draw: DrawFn) -> tuple[Network, Array]:
        net = linear(draw(draws.networks(kinds=("conv", "pool"), most=3)))
        more = draw(st.integers(0, 1)), draw(st.integers(0, 1))
        return net, draw(draws.fillings((1, *size(net, *more))))

    def response(case: tuple[Network, Array]) -> None:
        net, image = case
        top = len(net.layers)
        gain = float(np.prod([np.prod(pool.size) for pool in net.layers if isinstance(pool, AvgPool)]))
        stride = net.receptive_field(top).stride
        code = "\n".join(
            [
                f"net = {source(net)}",
                f"image = {source(image)}",
                f"responses = {gain:g} * np.asarray(net.forward(image, backend=backend))",
                f"bank = np.stack([decode_filter(net, {top}, k, backend=backend) for k in range({net.channels(top)})])",
                *([] if bench.precision.exact else ["responses, bank = np.rint(responses), np.rint(bank)"]),
                f"direct = backend.correlate(image, bank, None, stride={stride}, pad=(0, 0, 0, 0))",
                *([] if bench.precision.exact else ["direct = np.rint(direct)"]),
                "assert np.array_equal(direct, responses)",
            ]
        )
        impulses = np.eye(net.channels(top))[:, :, np.newaxis, np.newaxis]
        shapes = []
        for steps, start in ((stages.forward(net, top), image), (stages.decode(net, top, "nearest"), impulses)):
            should = list(stages.expectations(steps, start, bench.precision))
            if any(stage.unit is None for stage in should):
                raise NotJudged("a partial sum may round")
            shapes.append(should[-1].want.shape)
        responses = bench.asked(lambda: net.forward(image, backend=bench.backend), code) * gain
        units = range(net.channels(top))
        decoded = [bench.asked(partial(decode_filter, net, top, k, backend=bench.backend), code) for k in units]
        got = responses.shape, *(unit.shape for unit in decoded)
        if got != (shapes[0], *(shapes[1][1:] for _ in units)):
            raise Mismatch(f"gives the shapes {got}, not {shapes[0]} and {shapes[1][1:]} for each unit", code)
        bank = np.stack(decoded)
        if not bench.precision.exact:
            bank, responses = np.rint(bank), np.rint(responses)
        direct = bench.exactly(Call("correlate", (image, bank, None), {"stride": stride, "pad": (0, 0, 0, 0)}))
        if not np.array_equal(direct, responses):
            raise Mismatch(
                "the decoded filters do not give the network's responses",
                code,
                arrays={"direct": direct, "network": responses, "bank": bank},
            )

    nets = [linear(net) for net, _ in explicit.passes() if net.is_chain]
    always = [(net, explicit.tiled(1, *size(net, 1, 1))) for net in nets]
    bench.forall(cases(), response, 0.5, always)


# Laws of networks that branch.


def _linear(net: Network) -> Network:
    """The linear network that decoding stands for, as one that runs: no biases, sums for pools, gains as factors."""

    def made(layer: Layer, channels: int) -> Layer:
        factors = np.ones(channels) * (1 if layer.gain is None else layer.gain)
        if isinstance(layer, Conv):
            return layer.replace(bias=None)
        if isinstance(layer, Pool):
            ones = factors.reshape(-1, 1, 1, 1) * np.ones((channels, 1, *layer.size))
            return Conv(ones, stride=layer.stride, pad=layer.pad, groups=channels)
        if layer.gain is None:
            return layer if layer.joins or isinstance(layer, Select) else Dropout()
        return Conv(factors.reshape(-1, 1, 1, 1), groups=channels)

    layers = [made(layer, net.channels(number)) for number, layer in enumerate(net.layers, 1)]
    return Network(layers, inputs=net.paths)


def _adjoint(net: Network, bench: Bench) -> str:
    """An unpooling that is the adjoint of the sum over windows: nearest where no windows overlap."""
    nearest = "unpool" in bench.operators and all(layer.decodes_bottom_up("nearest") for layer in net.layers)
    return "nearest" if nearest else "sum"


def _exactly(bench: Bench, steps: stages.Pass, start: Array) -> float:
    """The grid that the last stage lies on.

    Raises
    ------
    NotJudged
        If a partial sum may round.
    """
    grid = 1.0
    for stage in stages.expectations(steps, start, bench.precision, groups=takes_groups(bench.backend)):
        if stage.unit is None:
            raise NotJudged("a partial sum may round")
        if not bench.precision.exact and not (stage.bound < stage.unit / 2).all():
            raise NotJudged("the bound exceeds what is rounded away")
        grid = stage.unit
    return grid


def _eye(channels: int) -> Array:
    """An impulse for each channel."""
    return np.eye(channels)[:, :, np.newaxis, np.newaxis]


def _on(bench: Bench, grid: float, *names: str) -> list[str]:
    """A line of code that rounds to the grid what a Fourier transform leaves beside it."""
    if bench.precision.exact:
        return []
    return [f"{', '.join(names)} = {', '.join(f'np.rint(np.asarray({name}) / {grid}) * {grid}' for name in names)}"]


def _holds(bench: Bench, problem: str, lines: list[str]) -> None:
    """Runs the code that a failure prints, whose last line is an assertion.

    Raises
    ------
    Mismatch
        If the assertion does not hold, or the code raises another exception.
    """
    scope = {name: getattr(decoding, name) for name in decoding.__all__}
    scope |= {"np": np, "backend": bench.backend}
    code = "\n".join(lines)
    try:
        with np.errstate():
            exec(compile(code, "a check", "exec"), scope)
    except AssertionError:
        raise Mismatch(problem, code) from None
    except NotImplementedError as error:
        raise Unsupported(str(error)) from None
    except STOPS as error:
        raise Mismatch(f"raises {type(error).__name__}: {error}", code) from error


@check(
    *OPERATORS,
    says="Branches meet in their places: the decoded bank is the Jacobian of the linear network, found by impulses.",
    source="equations 1 and 2, for branches our choice",
    hunts="origins that forget strides or pads, branches that overwrite each other, channels cut or put back in another order",
    why=_LAW,
)
def law_meets(bench: Bench) -> None:
    def meets(net: Network) -> None:
        top, mode, plain = len(net.layers), _adjoint(net, bench), _linear(net)
        size, stride, offset = net.receptive_field(top)
        _exactly(bench, stages.decode(net, top, mode), _eye(net.channels(top)))
        # An impulse at each place within a step of the units, far from the edge: each unit sees each of its cells once.
        first = [size[a] - 1 + max(offset[a], 0) for a in (0, 1)]
        shape = _grown(net, [first[a] + stride[a] - 1 + size[a] for a in (0, 1)])
        c, i, j = (a.ravel() for a in np.indices((shape[0], *stride)))
        x = np.zeros((len(c), *shape))
        x[np.arange(len(c)), c, first[0] + i, first[1] + j] = 1
        grid = _exactly(bench, stages.forward(plain, top), x)
        lines = [
            f"net = {source(net)}",
            f"linear = {source(plain)}",
            f"x = np.zeros({x.shape})",
            f"c, i, j = (a.ravel() for a in np.indices({(shape[0], *stride)}))",
            f"x[np.arange({len(c)}), c, {first[0]} + i, {first[1]} + j] = 1",
            f"y = np.asarray(linear.forward(x, backend=backend)).reshape({(shape[0], *stride)} + (-1, *linear.shapes({shape})[-1][1:]))",
            f"u, v = np.arange({size[0]})[:, np.newaxis], np.arange({size[1]})",
            f"i, j = (u + {offset[0] - first[0]}) % {stride[0]}, (v + {offset[1] - first[1]}) % {stride[1]}",
            f"row, column = ({first[0] - offset[0]} + i - u) // {stride[0]}, ({first[1] - offset[1]} + j - v) // {stride[1]}",
            "jacobian = y[:, i, j, :, row, column].transpose(3, 2, 0, 1)",
            f"bank = decode_layer(net, {top}, unpool={mode!r}, backend=backend)",
            f"one = np.stack([decode_filter(net, {top}, k, unpool={mode!r}, backend=backend) for k in range({net.channels(top)})])",
            *_on(bench, grid, "bank", "one", "jacobian"),
            "assert np.array_equal(bank, jacobian) and np.array_equal(one, jacobian)",
        ]
        _holds(bench, "the decoded bank is not the Jacobian of the linear network", lines)

    def small(net: Network) -> bool:
        return max(net.receptive_field(len(net.layers)).size) <= 9

    bench.forall(draws.networks().filter(small), meets, 0.5, explicit.graphs())


def _grown(net: Network, least: list[int]) -> tuple[int, int, int]:
    """The network's images, larger by so many steps of its units that they have `least` rows and columns."""
    assert net.input_shape is not None
    strides = [field.stride for field in net.fields_within(0) if field is not None]
    sides = []
    for axis in (0, 1):
        step = math.lcm(*(stride[axis] for stride in strides))
        missing = max(least[axis] - net.input_shape[1 + axis], 0)
        sides.append(net.input_shape[1 + axis] + -(-missing // step) * step)
    return net.input_shape[0], sides[0], sides[1]


@check(
    "substitute",
    says="Carried up from the image, units are what they are carried down to it, in the same place.",
    source="section 3; the order from below is our choice",
    hunts="two ways that disagree on places, gains, groups or pads",
    why=_LAW,
)
def law_ways(bench: Bench) -> None:
    def agree(net: Network) -> None:
        top, mode = len(net.layers), _adjoint(net, bench)
        down = _exactly(bench, stages.decode(net, top, mode), _eye(net.channels(top)))
        up = _exactly(bench, stages.decode_bottom_up(net, top), _eye(net.channels(0)))
        lines = [
            "from decoding import walks",
            f"net = {source(net)}",
            f"start = walks.Placed(np.eye({net.channels(top)})[:, :, np.newaxis, np.newaxis], (0, 0))",
            f"*_, (_, (down, below)) = walks.down(net, start, {top}, 0, {mode!r}, backend)",
            f"*_, (_, (up, above)) = walks.up(net, {top}, 0, backend, float)",
            *_on(bench, min(down, up), "down", "up"),
            "assert below == above and np.array_equal(down, up)",
        ]
        _holds(bench, "units carried down differ from units carried up, or in their place", lines)

    bench.forall(draws.networks(), agree, 0.5, [*explicit.graphs(), *(net for net, _ in explicit.passes())])


@check(
    *OPERATORS,
    says="Decoding multiplies by gains, channel by channel; the forward pass does not. Biases are not decoded.",
    source="our choice; the paper's gain is 1",
    hunts="gains left out, given to other channels, used twice or on the way up; biases on the way down",
    why=_LAW,
)
def law_gains(bench: Bench) -> None:
    def multiply(case: tuple[Network, Array]) -> None:
        net, images = case
        top, mode = len(net.layers), _adjoint(net, bench)
        plain = net.replace(layers=[layer if layer.gain is None else layer.replace(gain=1) for layer in net.layers])
        named = [f"net = {source(net)}", f"plain = {source(plain)}", f"x = {source(images)}"]
        grid = _exactly(bench, stages.forward(net, top), images)
        lines = [
            *("got = net.forward(x, backend=backend)", "want = plain.forward(x, backend=backend)"),
            *(*_on(bench, grid, "got", "want"), "assert np.array_equal(got, want)"),
        ]
        _holds(bench, "the forward pass is another with gains", named + lines)
        gained = [number for number, layer in enumerate(net.layers, 1) if layer.gain is not None]
        for number in {*gained, top}:
            channels = net.channels(number)
            grid = _exactly(bench, stages.decode(net, number, mode), _eye(channels))
            factors = np.ones(channels) * (1 if net.layers[number - 1].gain is None else net.layers[number - 1].gain)
            below = plain.replace(layers=[*net.layers[: number - 1], *plain.layers[number - 1 :]])
            below = below.replace(layers=[_unbiased(layer) for layer in below.layers])
            _exactly(bench, stages.decode(below, number, mode), _eye(channels))
            lines = [
                f"net = {source(net)}",
                f"unbiased = {source(below)}",
                f"bank = decode_layer(net, {number}, unpool={mode!r}, backend=backend)",
                f"other = decode_layer(unbiased, {number}, unpool={mode!r}, backend=backend)",
                f"other = {source(factors)}.reshape(-1, 1, 1, 1) * other",
                f"one = np.stack([decode_filter(net, {number}, k, unpool={mode!r}, backend=backend) for k in range({channels})])",
                *_on(bench, grid, "bank", "other", "one"),
                "assert np.array_equal(bank, other) and np.array_equal(one, other)",
            ]
            _holds(bench, f"layer {number} is not decoded as its gain times what it is without gain and biases", lines)

    @st.composite
    def cases(draw: DrawFn) -> tuple[Network, Array]:
        net = draw(draws.networks())
        return net, draw(draws.images_for(net, batch=1))

    always = [case for case in explicit.passes() if not case[0].is_chain]
    bench.forall(cases(), multiply, 0.25, always)


def _unbiased(layer: Layer) -> Layer:
    return layer.replace(bias=None) if isinstance(layer, Conv) else layer


@check(
    "correlate",
    "substitute",
    says="What a layer decodes is the adjoint of what it computes without bias: <linear(x), z> = <x, decode(z)>.",
    source="sections 2 and 3: substitution undoes correlation",
    hunts="a layer whose two ways disagree on channels, pixels, strides, groups or pads",
    why=_LAW,
)
def law_linear(bench: Bench) -> None:
    def adjoint(case: tuple[Layer, tuple[Array, ...], str]) -> None:
        layer, xs, mode = case
        widths = [x.shape[1] for x in xs[: layer.follows]]
        n, k, *sides = 1, *layer.shape(*(x.shape[1:] for x in xs))
        z = explicit.mixed(n, k, *sides)
        if isinstance(layer, Pool):  # where pads are part of a window, its sum is another
            for axis, side in enumerate(xs[0].shape[2:]):
                begin = np.arange(sides[axis]) * layer.stride[axis] - layer.pad[2 * axis]
                inside = (begin >= 0) & (begin + layer.size[axis] <= side)
                z = z * inside.reshape((-1, 1) if not axis else (1, -1))
        calls = stages.Calls(bench.precision)
        answering = calls.backend(calls.answer, takes_groups(bench.backend))
        layer.linear(*xs, backend=answering)
        layer.decode(z, widths, mode, answering)
        if None in calls.taken():
            raise NotJudged("a partial sum may round")
        lines = [
            f"layer, mode = {source(layer)}, {mode!r}",
            f"xs = [{', '.join(map(source, xs))}]",
            f"z = {source(z)}",
            "y = layer.linear(*xs, backend=backend)",
            f"parts = [np.asarray(part) for part in layer.decode(z, {widths}, mode, backend)]",
            *([] if bench.precision.exact else ["y, parts = np.rint(y), [np.rint(part) for part in parts]"]),
            "place = [slice(max(layer.pad[2 * a], 0), None) for a in (0, 1)]",
            "right = 0",
            "for x, part in zip(xs, parts):",
            "    x = x[:, :, max(-layer.pad[0], 0) :, max(-layer.pad[2], 0) :]",
            "    part = part[:, :, place[0], place[1]][:, :, : x.shape[2], : x.shape[3]]",
            "    right = right + (x[:, :, : part.shape[2], : part.shape[3]] * part).sum()",
            "assert (np.asarray(y) * z).sum() == right",
        ]
        _holds(bench, "a layer's decoding is not the adjoint of its linear part", lines)

    def modes(layer: Layer) -> list[str]:
        return ["sum", *(["nearest"] if layer.decodes_bottom_up("nearest") and "unpool" in bench.operators else [])]

    @st.composite
    def cases(draw: DrawFn) -> tuple[Layer, tuple[Array, ...], str]:
        x = draw(draws.maps(batch=1, least=(3, 3)))
        kinds = [
            "conv",
            "select",
            "sum",
            "concat",
            "gate",
            "relu",
            *(["pool"] if "avg_pool" in bench.operators else []),
        ]
        layer = draw(draws.layers(draw(st.sampled_from(kinds)), x.shape[1:]))
        xs = (
            x,
            *(
                draw(draws.fillings(x.shape))
                for _ in range(draw(st.integers(1, 2 if layer.follows is None else 1)) if layer.joins else 0)
            ),
        )
        return layer, xs, draw(st.sampled_from(modes(layer)))

    always = []
    for net in (*explicit.graphs(), *(net for net, _ in explicit.passes())):
        assert net.input_shape is not None
        shapes = [shape for shape in net.shapes(net.input_shape) if shape is not None]
        for layer, below in zip(net.layers, net.inputs, strict=True):
            if not isinstance(layer, AvgPool) or "avg_pool" in bench.operators:
                xs = tuple(explicit.mixed(1, *shapes[i], step=5 + place) for place, i in enumerate(below))
                always += [(layer, xs, mode) for mode in modes(layer)]
    bench.forall(cases(), adjoint, 0.5, always)


def _present(bench: Bench, *operators: str) -> list[str]:
    """Those the backend has. What it lacks is reported by the checks of that operator alone."""
    present = [operator for operator in operators if operator in bench.operators]
    if not present:
        raise Unsupported(f"no {', '.join(operators)}")
    return present


def _on_every_operator(bench: Bench, body: Callable[[Call], None]) -> None:
    """`body` on calls of each operator that the backend has: drawn ones, short ones, and many images."""
    for operator in bench.operators:
        for mode in _modes(bench, operator):
            always = explicit.calls(operator, mode=mode) + explicit.long_calls(operator, mode)[3:4]
            bench.forall(_plain(operator, mode), body, 0.2, always)


def _modes(bench: Bench, operator: str) -> list[str | None]:
    """The modes of unpooling, and of another operator None, if one plain call is answered right.

    What is wrong there fails checks of its own, and would hide what is wrong with the others here.
    """
    return [mode for mode in (MODES if operator == "unpool" else (None,)) if _answers_probe(bench, operator, mode)]


def _answers_probe(bench: Bench, operator: str, mode: str | None) -> bool:
    try:
        bench.agrees(_probe(operator, mode))
    except Mismatch:
        bench.left_out.append(f"{mode} {operator}" if mode else operator)
        return False
    except Unsupported:
        return False
    except NotJudged:
        pass
    return True


def _probe(operator: str, mode: str | None) -> Call:
    """A call with several images, channels and filters, unequal sides, a bias and pads."""
    return explicit.long_calls(operator, mode)[0]


def _plain(operator: str, mode: str | None = None) -> SearchStrategy[Call]:
    values = "reals" if operator == "softmax" else "integers"
    return draws.calls(operator, values, mode=mode or _plain_mode(operator))


def _plain_mode(operator: str) -> str | None:
    return "nearest" if operator == "unpool" else None


def _given(arrays: Iterable[Array | None]) -> list[Array]:
    return [array for array in arrays if array is not None]
