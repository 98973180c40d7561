"""The registry of checks: each has a name, a sentence, a source, the bugs that it is there for, cases, and a judge of one case.

A check first looks at cases that hypothesis draws, and then at cases that are always the same. What hypothesis draws depends on its version
and on the modules that are loaded; what a check finds may not depend on them.

Operators come first, then whole networks, refusals, values that are not finite, conditions, and last the laws, which need no reference.
"""

from __future__ import annotations

import contextlib
import inspect
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import chain, product
from typing import Any, NamedTuple

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from .. import reference
from ..arguments import Array, Pair
from ..backend import OPERATORS, takes_groups, takes_threads
from ..decoder import decode_layer
from ..errors import DecodingError
from ..interpolation import MODES
from ..layers import AvgPool, Conv, Dropout, Layer, Pool, Select
from ..network import Network
from . import conditions, explicit, networks, shrinking, stages
from . import strategies as draws
from .bench import NOT_THE_SAME, NOTHING, Bench, Unsupported, stays
from .bounds import error_bound
from .calls import Call, Script, inputs, source
from .histories import history
from .operators import TABLE, Row, varied
from .report import Mismatch
from .rounding import NotJudged

# fmt: off
UNKNOWN_MODES = (
    "cubic", "linear", "", "Nearest", "BILINEAR", "nearest-exact", "area", "trilinear", "lanczos", "box", "max", "zeros", "nearest ",
    "bilinear2", "none", None, "sum", "bicubic ",
)
# fmt: on
GROUPED = ("correlate", "substitute")  # which take filters, and groups
SUMS = ("correlate", "substitute", "avg_pool")
KEPT = 2**14  # numbers of an answer that is held, to see whether it stays
LOSES_PRECISION = "less precision than was declared"

Unit = tuple[Network, int, int]  # a network, a layer, and a channel of it


class Cases(NamedTuple):
    """What a check looks at: cases to be drawn, and how many as a share of the usual number; and cases that always come after them."""

    drawn: SearchStrategy[Any] = NOTHING
    always: Iterable[Any] = ()
    share: float = 1.0


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
    *operators: str,
    says: str,
    hunts: str,
    source: str = "our choice",
    why: str = "",
    name: str = "",
    cases: Callable[[Bench], Iterable[Cases]] | None = None,
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Enter a function into the registry, under its own name unless one is given.

    With `cases` it is the judge of one case, ``judge(bench, case)``, and is run on all that they give; else it takes a `Bench`.
    """

    def enter(judge: Callable[..., None]) -> Callable[..., None]:
        def run(bench: Bench) -> None:
            for drawn, always, share in cases(bench) if cases else ():
                bench.forall(drawn, partial(judge, bench), share, always)

        entered = name or judge.__name__
        CHECKS[entered] = Check(entered, says, source, hunts, operators, run if cases else judge, why)
        return judge

    return enter


# Operators, one at a time: equal on small integers, within the derived bound on reals.


def _exactly_or_nearly(values: str) -> str:
    if values == "integers":
        return "equal those of the reference, on small integers"
    return "keep to the derived bound around those of the reference, on reals"


def _differential(operator: str, values: str, hunts: str, mode: str | None = None, name: str = "") -> None:
    def cases(bench: Bench) -> Iterator[Cases]:
        yield Cases(draws.calls(operator, values, mode=mode), explicit.calls(operator, values, mode))

    check(
        operator, name=name or f"{operator}_{values}", says=f"The answers {_exactly_or_nearly(values)}.",
        source=TABLE[operator].source, hunts=hunts, cases=cases,
    )(Bench.agrees)  # fmt: skip


for _operator in ("correlate", "max_pool", "avg_pool", "relu", "substitute"):
    _differential(_operator, "integers", TABLE[_operator].hunts)
    _differential(_operator, "reals", LOSES_PRECISION)
for _mode, _hunts in {
    "nearest": "ties that go to the earlier cell, swapped sizes, answers multiplied by a factor",
    "bilinear": "aligned corners, swapped sizes",
    "bicubic": "a kernel with another a than −1/2, an edge that repeats its last cell instead of mirroring",
}.items():
    _differential("unpool", "integers", _hunts, _mode, f"unpool_{_mode}_integers")
    _differential("unpool", "reals", LOSES_PRECISION, _mode, f"unpool_{_mode}_reals")
_differential("softmax", "reals", TABLE["softmax"].hunts, name="softmax")


def _grouped(values: str) -> None:
    def cases(bench: Bench) -> Iterator[Cases]:
        for operator in _present(bench, "correlate", "substitute"):
            yield Cases(draws.calls(operator, values, grouped=True), explicit.grouped(operator, values), 0.5)

    check(
        "groups", name=f"grouped_{values}", source="our choice: groups as in every deep-learning library",
        says=f"The answers to calls in groups {_exactly_or_nearly(values)}, if the backend says groups = True.",
        hunts="groups ignored, taken in another order, or spread over each other" if values == "integers" else LOSES_PRECISION,
        cases=cases,
    )(Bench.agrees)  # fmt: skip


for _values in draws.VALUES:
    _grouped(_values)


# Whole networks.


def _passes(bench: Bench, values: str) -> Iterator[Cases]:
    needs = {"conv": set(), "join": set(), "relu": {"relu"}, "pool": {"max_pool", "avg_pool"}}
    needs |= {"softmax": {"softmax"}} if values == "reals" else {}
    kinds = tuple(kind for kind, operators in needs.items() if operators <= set(bench.operators))
    drawn = draws.networks(values, kinds=kinds).flatmap(
        lambda net: st.tuples(st.just(net), draws.images_for(net, values))
    )
    made = [(net, images) for net, row, images in networks.cases() if row["values"] == values]
    yield Cases(drawn, [*explicit.passes(values), *made], 0.5)


def _runs(bench: Bench, case: tuple[Network, Array]) -> None:
    net, images = case
    _needs(bench, net, MaxPool="max_pool", AvgPool="avg_pool", ReLU="relu", Softmax="softmax")
    code = "\n".join([*bench.as_object, f"net = {source(net)}", f"net.activations({source(images)}, backend=backend)"])
    bench.agrees_on_pass(stages.forward(net, len(net.layers)), images, code)


def _needs(bench: Bench, net: Network, **operators: str) -> None:
    """Say that the case is unsupported if the backend lacks one of the `operators`, by the kinds of layers that need them."""
    lacking = {operators[layer.kind] for layer in net.layers if layer.kind in operators} - set(bench.operators)
    if lacking:
        raise Unsupported(f"no {', '.join(sorted(lacking))}")


for _values, _says, _hunts in (
    (
        "integers",
        "equal those of the reference, in networks of small integers",
        "operators that are right alone and wrong in a chain",
    ),
    ("reals", "keep to the bound that runs through the network, on reals", "errors that grow from layer to layer"),
):
    check(
        "correlate", name=f"forward_{_values}", source="section 3, z^L", says=f"The responses of every layer {_says}.", hunts=_hunts,
        cases=partial(_passes, values=_values),
    )(_runs)  # fmt: skip


@st.composite
def _units(draw: DrawFn, values: str, *kinds: str) -> Unit:
    net = draw(draws.networks(values, kinds=("conv", "relu", "join", *kinds)))
    layer = draw(st.sampled_from((len(net.layers), *range(1, len(net.layers) + 1))))
    return net, layer, draw(st.integers(0, net.channels(layer) - 1))


def _decoded(bench: Bench, mode: str) -> Iterator[Cases]:
    pools = ["pool"] * ("unpool" in bench.operators)
    for values, always in zip(draws.VALUES, (_always(mode), ()), strict=True):
        yield Cases(_units(values, *pools), always, 0.5)


def _always(mode: str) -> list[Unit]:
    """Units of networks that people build, and of those of all conditions, carried down in this mode."""
    nets = [net for net, row, _ in networks.cases() if row["mode"] == mode]
    tops = [(net, net.channels(len(net))) for net in nets]
    return [*explicit.units(mode), *((net, len(net), (number + 2) % k) for number, (net, k) in enumerate(tops))]


def _goes_up(net: Network, layer: int, mode: str) -> bool:
    """Whether units may be carried up from the image instead."""
    return all(below.decodes_bottom_up(mode) for below in net.layers[:layer])


def _eye(channels: int, unit: int | None = None) -> Array:
    """An impulse for each channel, or for that one."""
    return np.eye(channels)[slice(None) if unit is None else [unit], :, np.newaxis, np.newaxis]


def _decodes(bench: Bench, case: Unit, mode: str) -> None:
    """One unit, and the whole layer, layer by layer: the image alone may be right where a layer on the way is not."""
    net, layer, k = case
    _needs(bench, net, MaxPool="unpool", AvgPool="unpool")
    for unit in (k, None):
        if unit is None and _goes_up(net, layer, mode):
            steps, start = stages.decode_bottom_up(net, layer), _eye(net.channels(0))
            walk = f"walks.up(net, {layer}, 0, backend, float)"
        else:
            steps, start = stages.decode(net, layer, mode), _eye(net.channels(layer), unit)
            walk = f"walks.down(net, walks.Placed({source(start)}, (0, 0)), {layer}, 0, {mode!r}, backend)"
        lines = "from decoding import walks", f"net = {source(net)}", f"[placed.maps for _, placed in {walk}]"
        bench.agrees_on_pass(steps, start, "\n".join(lines))


for _mode in MODES:
    check(
        "substitute", name=f"decode_filter_{_mode}", source="section 3, filter_decoding(L, k, CNN)",
        says="Any unit of a network, and all units of its layer at once, are decoded as by the reference, layer by layer, with "
        f"{_mode} unpooling; all units upwards from the image where that is the same.",
        hunts="special ways for an impulse, a single cell or strides; calls of many maps, filters or units in which only one is right",
        cases=partial(_decoded, mode=_mode),
    )(partial(_decodes, mode=_mode))  # fmt: skip


def _own_units(bench: Bench) -> Iterator[Cases]:
    for mode in MODES:
        for values, always in zip(draws.VALUES, (_always(mode), ()), strict=True):
            more = [_of_singles(unit) if number % 2 else _halfway(unit) for number, unit in enumerate(always)]
            fixed = [(unit, mode) for unit in (*always, *more)]
            yield Cases(st.tuples(_units(values, "pool", "norm"), st.just(mode)), fixed, 0.25)


def _of_singles(unit: Unit) -> Unit:
    """The unit of the same network in single precision."""
    net, layer, k = unit
    singles = [
        each.replace(filters=np.float32(each.filters)) if isinstance(each, Conv) else each for each in net.layers
    ]
    return net.replace(layers=singles), layer, k


def _halfway(unit: Unit) -> Unit:
    """A unit of a layer in the middle of the network, the first one."""
    net, layer, _ = unit
    return net, (layer + 1) // 2, 0


@check(
    "decode_filter",
    says="The backend's own decode_filter gives the decoded filters, with each interpolation.",
    source="section 3, filter_decoding(L, k, CNN)",
    hunts="biases, rectifiers or switches used on the way down, units counted from 1",
    cases=_own_units,
)
def own_decode_filter(bench: Bench, case: tuple[Unit, str]) -> None:
    unit, mode = case
    function, code = _own_call(bench, *unit, mode)
    desk = bench.at(conditions.SINGLE) if unit[0].dtype == np.float32 else bench
    desk.compare(desk.asked(function, code), _want(desk, *unit, mode), code)


def _own_call(bench: Bench, net: Network, layer: int, k: int, mode: str) -> tuple[Callable[[], Any], str]:
    """The call of the backend's own decoder, and its code."""
    code = f"net = {source(net)}\nbackend.decode_filter(net, {layer}, {k}, unpool={mode!r})"
    return partial(bench.backend.decode_filter, net, layer, k, unpool=mode), code


def _want(bench: Bench, net: Network, layer: int, k: int, mode: str) -> stages.Expected:
    """The decoded filter, within the bounds of either way where there are two."""
    *_, last = stages.expectations(stages.decode(net, layer, mode), _eye(net.channels(layer), k), bench.precision)
    bound, unit = last.bound[0], last.unit
    if _goes_up(net, layer, mode):
        *_, other = stages.expectations(stages.decode_bottom_up(net, layer), _eye(net.channels(0)), bench.precision)
        bound, unit = bound + other.bound[k], None if other.unit is None or unit is None else min(unit, other.unit)
    return stages.Expected("", last.want[0], bound, unit)


@check(
    "decode_filter",
    says="The backend's own decode_filter decodes each network anew, and with each interpolation, in threads, too, if it says threads = "
    "True; its answers do not change later, and their owner may write to them.",
    hunts="caches that go by the address or the shapes of a network, or forget the interpolation; one buffer for all decoded filters, views of "
    "a bank that is kept, memory that threads share",
    cases=lambda bench: [Cases(always=[(varied(7), False), (varied(7), True)])],
)
def own_decoder_remembers_nothing(bench: Bench, case: tuple[Array, bool]) -> None:
    weights, one_network = case
    making = [
        *(f"weights = {source(weights)}", "def made(number):"),
        "    first, second = np.resize(np.roll(weights, number), (2, 1, 2, 3)), np.resize(weights + number // 7, (3, 2, 2, 1))",
        "    return Network([Conv(first), MaxPool(2), Conv(second)], input_shape=(1, 7, 8))",
    ]
    if one_network:
        _keeps_modes_apart(bench, making)
        return
    # Networks of the same shapes, each gone when the next is made, so that addresses come again.
    in_threads = [
        "from concurrent.futures import ThreadPoolExecutor",
        "with ThreadPoolExecutor(4) as pool:",
        "    more = list(pool.map(lambda n: backend.decode_filter(made(n % 48), 3, 2, unpool='nearest'), range(480)))",
        "found += [each for n, each in enumerate(more) if n < 48 or not np.array_equal(each, found[n % 48])]",
    ]
    lines = [
        *making,
        "found = [backend.decode_filter(made(n), 3, 2, unpool='nearest') for n in range(48)]",
        *(in_threads if takes_threads(bench.backend) else []),
        "right = [decode_filter(made(n % 48), 3, 2) for n in range(len(found))]",
        *([] if bench.precision.exact else ["found = [np.rint(each) for each in found]"]),
        "assert all(map(np.array_equal, found, right)), found",
    ]
    bench.holds("a decoded filter is another's, or changed when others were decoded later", lines)


def _keeps_modes_apart(bench: Bench, making: list[str]) -> None:
    """What a network gives with each interpolation in turn, also after answers were written to, is what it gives at first."""
    in_threads = [
        "from concurrent.futures import ThreadPoolExecutor",
        "with ThreadPoolExecutor(4) as pool:",
        "    found += list(pool.map(lambda n: ask(net, n % 3), range(300)))",
    ]
    lines = [
        *making,
        "net, modes = made(0), ('nearest', 'bilinear', 'bicubic')",
        "def ask(net, n):",
        "    answer = backend.decode_filter(net, 3, 2, unpool=modes[n])",
        "    kept = np.array(answer)",
        "    if isinstance(answer, np.ndarray) and answer.flags.writeable:",
        "        answer[...] = 77",
        "    return kept",
        "alone = [ask(made(0), n) for n in range(3)]  # of a network each",
        "found = [ask(net, n % 3) for n in range(6)]",
        *(in_threads if takes_threads(bench.backend) else []),
        "assert all(np.array_equal(each, alone[n % 3]) for n, each in enumerate(found)), found",
    ]
    bench.holds("a decoded filter depends on what was decoded before, or written to an answer", lines)


# What must be refused. Any exception will do, with any message, but NotImplementedError means "unsupported".


def _spoilt(bench: Bench, operators: tuple[str, ...], spoilt: Callable[[Call], list[Call]]) -> Iterator[Cases]:
    """Calls that are spoilt in any of some ways, of those of the operators that the backend has; in groups, if it takes them."""
    for operator in _present(bench, *operators):
        drawn = draws.calls(operator).map(spoilt).filter(bool).flatmap(st.sampled_from)
        grouped = explicit.grouped(operator) if operator in GROUPED and takes_groups(bench.backend) else []
        yield Cases(drawn, [wrong for call in (*explicit.calls(operator), *grouped) for wrong in spoilt(call)], 0.25)


def _refused(bench: Bench, call: Call) -> None:
    arrays = call.copies()
    for _ in ("first", "again"):
        _must_refuse(bench, lambda: call.on(bench.backend, *arrays), call)
    for name, now in call._replace(arrays=tuple(arrays)).named.items():
        if not np.array_equal(now, call.named[name]):
            raise Mismatch(f"{name} was written to before the call was refused", call)


def _must_refuse(bench: Bench, function: Callable[[], Any], code: object) -> None:
    answer = bench.unless_refused(function, code)
    if answer is not None:
        raise Mismatch(f"gives the shape {answer.shape} where it must raise an exception", code)


def _other_channels(call: Call) -> list[Call]:
    """One more, twice as many, one alone, and one fewer."""
    x, *others = call.arrays
    assert x is not None
    channels = x.shape[1]
    wanted = [*{channels + 1, 2 * channels}, *{1, channels - 1} - {0, channels}]
    return [call._replace(arrays=(np.resize(x, (len(x), c, *x.shape[2:])), *others)) for c in wanted]


def _other_biases(call: Call) -> list[Call]:
    """One more, one fewer, one for all filters, and none."""
    x, filters, _ = call.arrays
    assert filters is not None
    wanted = {0, 1, len(filters) - 1, len(filters) + 1} - {len(filters)}
    return [call._replace(arrays=(x, filters, np.arange(1.0, k + 1))) for k in wanted]


def _window(call: Call) -> Pair:
    size: Pair = call.options["size"] if "size" in call.options else np.asarray(call.arrays[1]).shape[2:]
    return size


def _smaller_maps(call: Call) -> list[Call]:
    """One cell too small along one axis, with the pads, or along both; and by a step more."""
    x, *others = call.arrays
    assert x is not None
    (top, bottom, left, right), (h, w), (r, s) = call.options["pad"], _window(call), call.options["stride"]
    small = h - 1 - top - bottom, w - 1 - left - right
    sides = (
        (small[0], x.shape[3]),
        (x.shape[2], small[1]),
        small,
        (small[0] - r, x.shape[3]),
        (x.shape[2], small[1] - s),
    )
    return [call._replace(arrays=(np.resize(x, (*x.shape[:2], *side)), *others)) for side in sides if min(side) > 0]


def _larger_pads(call: Call) -> list[Call]:
    """As large as the window, or larger, on one side."""
    found = []
    for side, more in product(range(4), (0, 2)):
        pads = list(call.options["pad"])
        pads[side] = _window(call)[side // 2] + more
        found.append(call._replace(options={**call.options, "pad": tuple(pads)}))
    return found


def _unknown_modes(call: Call) -> list[Call]:
    return [call._replace(options={**call.options, "mode": mode}) for mode in UNKNOWN_MODES]


REFUSALS: dict[str, tuple[tuple[str, ...], Callable[[Call], list[Call]], str, str]] = {
    "other_channels": (
        ("correlate",), _other_channels, "maps that have other channels than the filters",
        "broadcasting one channel to many, ignoring the channels in excess",
    ),
    "other_map_count": (
        ("substitute",), _other_channels, "maps whose number is not that of the filters", "broadcasting one map to many filters",
    ),
    "other_bias": (
        ("correlate",), _other_biases, "a bias that does not have one value for each filter", "broadcasting one bias to all filters",
    ),
    "larger_filters": (
        ("correlate",), _smaller_maps, "a filter that is larger than the map with its pads", "empty or negative sizes, reading outside",
    ),
    "larger_windows": (
        ("max_pool", "avg_pool"), _smaller_maps, "a pool whose window is larger than the map with its pads",
        "empty sizes, maxima of nothing",
    ),
    "larger_pads": (
        ("max_pool", "avg_pool"), _larger_pads,
        "a pool whose pads are as large as its window, since a window would then lie outside the map",
        "maxima of nothing, means divided by zero",
    ),
    "unknown_modes": (
        ("unpool",), _unknown_modes, "an interpolation that is not one of the three", "unknown names that fall through to a default",
    ),
}  # fmt: skip
for _what, (_operators, _ways, _says, _hunts) in REFUSALS.items():
    check(
        *(_operators if len(_operators) == 1 else ()), name=f"refuses_{_what}", says=f"Refuses {_says}.", hunts=_hunts,
        cases=partial(_spoilt, operators=_operators, spoilt=_ways),
    )(_refused)  # fmt: skip


def _other_units(bench: Bench) -> Iterator[Cases]:
    def wrongs(unit: Unit) -> list[tuple[Network, int, int, str]]:
        net, layer, _ = unit
        pools = any(isinstance(below, Pool) for below in net.layers[:layer])
        return [*((net, layer, other, "nearest") for other in (net.channels(layer), -1)), *[(*unit, "cubic")] * pools]

    drawn = _units("integers", "pool").flatmap(lambda unit: st.sampled_from(wrongs(unit)))
    yield Cases(drawn, [wrong for unit in explicit.units("nearest") for wrong in wrongs(unit)], 0.25)


@check(
    "decode_filter",
    says="The backend's own decode_filter refuses a unit that does not exist, and an interpolation that is not one of the three.",
    hunts="units counted from the end, or modulo their number; unknown names that fall through to a default",
    cases=_other_units,
)
def refuses_other_units(bench: Bench, case: tuple[Network, int, int, str]) -> None:
    _must_refuse(bench, *_own_call(bench, *case))


# Values that are not finite.


def _spots(bench: Bench) -> Iterator[Cases]:
    """A call, the number of one of its arrays, and a place in it."""

    def arrays(call: Call) -> list[tuple[int, Array]]:
        return [(number, array) for number, array in enumerate(call.arrays) if array is not None]

    def spot(call: Call) -> SearchStrategy[tuple[Call, int, int]]:
        places = [st.tuples(st.just(call), st.just(n), st.integers(0, a.size - 1)) for n, a in arrays(call)]
        return st.one_of(places)

    for probe in bench.right(explicit.probes(bench.operators)):
        operator, mode = probe.operator, probe.options.get("mode")
        calls, values = explicit.calls(operator, mode=mode), "reals" if operator == "softmax" else "integers"
        if operator == "softmax":  # where one channel has all probability
            calls = *calls, probe._replace(arrays=(np.asarray(probe.arrays[0])[:, :1],))
        always = [(call, n, place) for call in calls for n, array in arrays(call) for place in {0, array.size // 2}]
        yield Cases(draws.calls(operator, values, mode=mode).flatmap(spot), always, 0.2)


@check(
    says="Not-a-number comes out wherever it goes in, and of no other image, or is refused.",
    hunts="maxima and rectifiers that drop not-a-number, weights from which it is removed: both hide a broken network; a maximum or a product "
    "over all images",
    cases=_spots,
)
def nan_comes_out(bench: Bench, case: tuple[Call, int, int]) -> None:
    call, which, spot = case
    arrays, negative = call.copies(), spot > 0  # as 0/0 is on many processors
    arrays[which].flat[spot] = -np.nan if negative else np.nan  # type: ignore[union-attr]
    spoilt = call._replace(arrays=tuple(arrays))
    lines = f"{call.names[which]}.flat[{spot}] = -np.nan", call.by_name()
    code = Script(call, lines) if negative else spoilt
    got = bench.unless_refused(lambda: spoilt.on(bench.backend, *spoilt.copies()), code)
    if got is None:
        return
    touched = TABLE[call.operator].touched(spoilt, which) > 0
    if got.shape != touched.shape:
        raise Mismatch(f"gives the shape {got.shape} instead of {touched.shape}", code)
    missing = touched & ~np.isnan(got)
    if missing.any():
        raise Mismatch(f"{int(missing.sum())} values made of NaN are not NaN", code, arrays={"got": got})
    image = spot * len(got) // spoilt.named[spoilt.names[0]].size
    if which == 0 and bench.precision.exact and np.isnan(np.delete(got, image, axis=0)).any():
        raise Mismatch("NaN of one image comes out of others", code, arrays={"got": got})
    if spot == which == 0:
        _others_agree(bench, call, got, touched, code)


def _others_agree(bench: Bench, call: Call, got: Array, touched: Array, code: object) -> None:
    """Cells that no such value has a share in are right, unless they are not-a-number themselves, or wrong in the plain call, too."""
    others = ~touched & ~np.isnan(got)
    try:
        bench.agrees(call, np.where(others, got, call.on(reference)), code)
    except Mismatch:
        if bench.right([call]):
            raise


def _infinite(bench: Bench) -> Iterator[Cases]:
    stated = inspect.getattr_static(bench.backend, "range", None) is not None  # pairs of singles have no infinity, say
    operators = _present(bench, "max_pool", *([] if stated else ["relu", "softmax"]))
    for call in bench.right(explicit.probes(operators)):
        x = np.array(call.arrays[0])
        if call.operator == "softmax":  # some channels left out, but never all of them
            channel = np.arange(x.shape[1]).reshape(-1, 1, 1)
            yield Cases(
                always=[call._replace(arrays=(np.where(channel == n, -np.inf, x),)) for n in (0, len(channel) - 1)]
            )
            continue
        x[0] = -np.inf
        x[1] = np.where(np.arange(x[1].size).reshape(x[1].shape) % 3 == 0, np.inf, x[1])
        huge = np.where(x < 0, -1, 1) * bench.precision.range.huge
        leaks = [{"leak": leak} for leak in (0.0, 1.0)] if call.operator == "relu" else [call.options]
        largest = [call._replace(arrays=(huge,), options=options) for options in leaks]
        yield Cases(always=[call._replace(arrays=(x,)), *largest])
    sums = [each for each in bench.operators if each in SUMS]
    for call in bench.right(explicit.probes([] if stated else sums)):
        arrays = call.copies()
        arrays[0].flat[0] = np.inf  # type: ignore[union-attr]
        yield Cases(always=[call._replace(arrays=tuple(arrays))])


@check(
    says="Infinities come out of maxima and rectifiers; the maximum of nothing but −∞ is −∞; the largest numbers of the format stay; "
    "a channel of −∞, which has no probability, leaves the others theirs; what an infinity has no share in is right.",
    hunts="maxima that begin with the lowest finite number, rectifiers that multiply by zero, or double what they then halve, "
    "exponentials of −∞ − (−∞), slow ways for such values",
    cases=_infinite,
)
def infinity_comes_out(bench: Bench, call: Call) -> None:
    with np.errstate(invalid="ignore"):
        got, want = bench.answer(call), np.asarray(call.on(reference))
    if got.shape != want.shape:
        raise Mismatch(f"gives the shape {got.shape} instead of {want.shape}", call)
    if call.operator in SUMS:  # infinities of a sum may cancel each other; the other cells are right
        x, *others = call.arrays
        clean = call._replace(arrays=(np.where(np.isinf(x), 0, x), *others))  # type: ignore[arg-type]
        _others_agree(bench, clean, got, ~np.isfinite(want) | ~np.isfinite(got), call)
        return
    wrong = (got != want) & (np.isinf(want) | ~np.isfinite(got))
    if wrong.any():
        raise Mismatch(
            f"{int(wrong.sum())} values made of infinities are wrong", call, arrays={"got": got, "want": want}
        )


def _with_filters(bench: Bench) -> list[Cases]:
    return [Cases(always=bench.right(explicit.probes(_present(bench, "correlate", "substitute"))))]


@check(
    says="Takes filters and biases that are parts of the maps, and filters that are an earlier answer.",
    hunts="operands that are turned or packed in place, copies that are kept elsewhere",
    cases=_with_filters,
)
def shared_inputs(bench: Bench, call: Call) -> None:
    x, *_ = call.copies()
    assert x is not None
    shared = call._replace(arrays=(x, x[:, :, :2, 1:3], x[:, 0, 0, 0]))
    lines = ["filters = x[:, :, :2, 1:3]", "bias = x[:, 0, 0, 0]"]
    if call.operator == "substitute":
        shared, lines = call._replace(arrays=(x, x[:2, :, :2, 1:3])), ["filters = maps[:2, :, :2, 1:3]"]
    apart, code = shared._replace(arrays=tuple(shared.copies())), Script(call, (*lines, call.by_name()))
    bench.agrees(apart, bench.asked(lambda: shared.on(bench.backend), code), code)
    _answered(bench, call)


def _answered(bench: Bench, call: Call) -> None:
    """An answer that its owner has doubled serves as filters, of one cell of maps or on maps of one window."""
    y = bench.given(lambda: call.on(bench.backend), call)
    if not isinstance(y, np.ndarray) or not y.flags.writeable:
        return
    y *= 2
    cells = (y.shape[1], *y.shape[2:]) if call.operator == "correlate" else (len(y), 2, 2)
    options = {"stride": (1, 1)} | ({"pad": (0, 0, 0, 0)} if "pad" in call.options else {})
    x = np.resize(np.asarray(call.arrays[0]), (2, *cells))
    given = Call(call.operator, (x, y, *[None] * len(call.arrays[2:])), options)
    first, name = f"filters = {call.by_name()}", call.names[0]
    code = Script(call, (first, "filters *= 2", f"{name} = np.resize({name}, {x.shape})", given.by_name()))
    bench.agrees(given._replace(arrays=tuple(given.copies())), bench.asked(lambda: given.on(bench.backend), code), code)


# Conditions: all that implementations branch on, alone and in pairs.


def _conditions(operator: str) -> None:
    def run(bench: Bench) -> None:
        probes = explicit.probes([operator])
        # A library may know an interpolation only where windows lie side by side.
        probes += [
            call._replace(options={**call.options, "stride": call.options["size"]})
            for call in probes
            if "mode" in call.options
        ]
        bench.right(probes)
        wrong = {call.options.get("mode") for call in probes if call.label in bench.left_out}
        held: list[tuple[Any, Array, Row]] = []  # not the arrays of the cases, which are many and large
        looked_at = deque[conditions.Case](maxlen=1)

        def agrees(case: conditions.Case) -> None:
            before = case.call._replace(arrays=tuple(case.call.copies()))
            looked_at.append(case)
            try:
                answer, got = _agrees_and_leaves_alone(bench, case, before)
            finally:
                for now, then in zip(case.call.named.values(), before.named.values(), strict=True):
                    if now.flags.writeable:
                        now[...] = then  # so that the case is what it was
            if got.size <= KEPT:  # by turns the answer, and a part of it alone, which must keep its memory as well
                part = len(held) % 2 and isinstance(answer, np.ndarray)
                held.append((answer[:1], got[:1], case.row) if part else (answer, got, case.row))

        groups = operator in GROUPED and takes_groups(bench.backend)
        cases = conditions.cases(operator, bench.precision, bench.thorough, groups)
        if groups:
            cases = chain(cases, conditions.grouped_cases(operator, bench.precision))
        try:
            bench.look((case for case in cases if case.row.get("mode") not in wrong), agrees)
        except Mismatch as mismatch:
            raise _shrunk(bench, looked_at[0], mismatch) from None
        for answer, before, row in held:
            if not stays(answer, before):
                case = conditions.case(operator, row, bench.precision)
                raise Mismatch("the answer changed when other calls were made later", case)

    check(
        operator, name=f"{operator}_conditions",
        says="Agrees with the reference under every condition that implementations branch on, and under every two of them: sides, windows, "
        "steps, pads, memory layouts, types, magnitudes, and what was called before; under every three of some. Leaves its inputs and its "
        "earlier answers as they are.",
        hunts="special ways for some sizes, shapes or options, and what these leave over; wrong assumptions about memory and magnitudes; "
        "answers that share memory, or are kept from an earlier call",
    )(run)  # fmt: skip


def _agrees_and_leaves_alone(bench: Bench, case: conditions.Case, before: Call) -> tuple[Any, Array]:
    """The answer, as it is and as it was when it was given.

    The call is made once more, after what its history says; then a large answer is judged only if it is the same though it must not be.
    """
    call, past = case.call, history(case.call, case.row, case.lines, takes_threads(bench.backend))
    desk = _desk(bench, case.row)
    answer, got, should = _agrees_at_first(desk, case, before)

    def code(*last: str) -> Script:
        first = f"first = {call.by_name()}", "before = np.array(first)"
        return case.script(*first, *past.lines, *last, numbers=before)

    asked = past.again or call.by_name()
    scope = bench.happens(past.lines, call, answer, code())
    got = np.asarray(scope.get("before", got), np.float64)
    if past.options and "other" in scope:
        between = before._replace(options=past.options)
        if between.label not in bench.left_out:  # an interpolation that is wrong in plain calls has checks of its own
            _agrees_in_between(desk, scope["other"], between, code("other"))
    again, second = bench.held(
        (lambda: bench.value(past.again, scope)) if past.again else lambda: call.on(bench.backend), code(asked)
    )
    if not stays(answer, got):
        raise Mismatch(
            "the answer changed when the call was made again",
            code(f"second = {asked}", "assert np.array_equal(first, before), first"),
        )
    if np.shares_memory(np.asarray(answer), np.asarray(again)):
        raise Mismatch("two answers share their memory", code(f"assert not np.shares_memory(first, {asked})"))
    if not past.changes:
        desk.compare(second, should, code(asked))
    elif second.size <= KEPT or np.array_equal(got, second):
        given = call._replace(
            arrays=tuple(past.given.get(name, array) for name, array in zip(call.names, call.arrays, strict=True))
        )
        desk.compare(second, desk.expected(given, *(() if past.turned else (before, should))), code(asked))
    return answer, got


def _agrees_in_between(bench: Bench, other: Any, call: Call, code: Script) -> None:
    """The answer to the call that was made in between, if that may be made and can be judged."""
    try:
        should = bench.expected(call)
    except (DecodingError, NotJudged):
        return
    bench.compare(bench.read(other, code), should, code)


def _desk(bench: Bench, row: Row) -> Bench:
    """Where calls of the row are judged: what has singles in it as in single precision, and halves as in half precision."""
    return bench.at(conditions.roundoff(row))


def _agrees_at_first(bench: Bench, case: conditions.Case, before: Call) -> tuple[Any, Array, stages.Expected]:
    """The first call alone: the answer, as it is and as it was when it was given, and what it should be."""
    call, should = case.call, _expected(bench, case, before)  # first: what is too large for the format is not asked for
    answer, got = bench.held(lambda: call.on(bench.backend), case)
    for (each, now), then in zip(call.named.items(), before.named.values(), strict=True):
        if not np.array_equal(now, then):
            lines = f"before = {each}.copy()", call.by_name(), f"assert np.array_equal({each}, before), {each}"
            raise Mismatch(f"{each} was written to", case.script(*lines, numbers=before))
    bench.compare(got, should, case)
    return answer, got, should


def _shrunk(bench: Bench, case: conditions.Case, mismatch: Mismatch) -> Mismatch:
    """The mismatch at the smallest case where a first call fails in the same way; as it is, if no first call fails."""
    if mismatch.code != str(case) or NOT_THE_SAME in mismatch.problem:
        return mismatch

    def fails(row: Row) -> Mismatch | None:
        smaller = conditions.case(case.call.operator, row, bench.precision)
        if smaller.call.label in bench.left_out:  # what is wrong with that is told elsewhere
            return None
        with contextlib.suppress(NotJudged, Unsupported):
            try:
                _agrees_at_first(_desk(bench, row), smaller, smaller.call._replace(arrays=tuple(smaller.call.copies())))
            except Mismatch as found:
                found.arrays = {**inputs(smaller), **found.arrays}
                return found if found.way == mismatch.way else None
        return None

    found = shrinking.shrunk(case.call.operator, case.row, fails)
    if found is None:
        return mismatch
    row, smallest = found
    lost = shrinking.told(case.row, row)
    smallest.problem += f" (shrunk from {lost})" if lost else ""
    return smallest


def _expected(bench: Bench, case: conditions.Case, call: Call) -> stages.Expected:
    """What must be answered to the call, which has the arrays of the case."""
    if case.row["values"] == "graded" and "repeated" not in case.row["layout"] and _is_whole(call, bench):
        want = np.asarray(call.on(reference))
        return stages.Expected("", want, np.zeros(want.shape), 1.0)
    return bench.expected(call)


def _is_whole(call: Call, bench: Bench) -> bool:
    """Whether graded values of `numbers` add up to whole numbers without rounding, in any order."""
    if call.operator not in GROUPED or not bench.precision.exact:
        return False
    total = np.abs(call.on(reference, *(None if a is None else np.abs(a) for a in call.arrays))).max(initial=0.0)
    return bool(total * max(bench.precision.eps, bench.precision.input_eps) <= 1)


for _operator in OPERATORS:
    _conditions(_operator)


# Laws, of one layer and of networks that branch. A backend and a reference with the same mistake would both fail them.

OF_ITSELF = "It needs no reference, so it also stands for one who doubts ours."


@check(
    "unpool",
    says="A constant map stays constant where there was a window, and is 0 between windows, with each interpolation.",
    source="our choice: gain 1 per pixel",
    why=OF_ITSELF,
    hunts="answers multiplied by a factor, weights that do not add up to one at the edge, values between windows, where the pool saw nothing",
    cases=lambda bench: [Cases(draws.calls("unpool"), explicit.calls("unpool"), 0.5)],
)
def law_gain(bench: Bench, call: Call) -> None:
    ones = call._replace(arrays=(np.ones(np.asarray(call.arrays[0]).shape),))
    bound = error_bound(ones, bench.precision)
    within = [
        np.arange(n) % s < z
        for n, z, s in zip(bound.shape[2:], call.options["size"], call.options["stride"], strict=True)
    ]
    want = np.broadcast_to(np.outer(*within).astype(float), bound.shape)
    bench.compare(bench.answer(ones), stages.Expected("", want, bound, None), ones)


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
    return "nearest" if "unpool" in bench.operators and _goes_up(net, len(net.layers), "nearest") else "sum"


def _exactly(bench: Bench, steps: stages.Pass, start: Array) -> float:
    """The grid that the last stage lies on; not judged if a partial sum may round."""
    grid = 1.0
    for stage in stages.expectations(steps, start, bench.precision, groups=takes_groups(bench.backend)):
        if stage.unit is None:
            raise NotJudged("a partial sum may round")
        if not bench.precision.exact and not (stage.bound < stage.unit / 2).all():
            raise NotJudged("the bound exceeds what is rounded away")
        grid = stage.unit
    return grid


def _images(net: Network) -> tuple[Array, list[int]]:
    """Two images of which at least two by two units see no pads, and the first of these units."""
    size, stride, offset = net.receptive_field(len(net.layers))
    first = [-(-max(-offset[a], 0) // stride[a]) for a in (0, 1)]
    shape = _grown(net, [offset[a] + (first[a] + 1) * stride[a] + size[a] for a in (0, 1)])
    return varied(2, *shape, most=1), first


@check(
    "correlate",
    "substitute",
    says="An image correlated with decoded filters, at the places of the units, gives the responses of the network made linear: pools are "
    "sums, gains are factors, there are no rectifiers and no biases. Units decoded one by one equal those decoded all at once.",
    source="section 4, figure 3, made exact; for branches equations 1 and 2",
    why=OF_ITSELF,
    hunts="a decoder that agrees with itself but not with the network; places that forget strides or pads, branches that overwrite each "
    "other, gains left out or used twice, channels cut or put back in another order, two ways that disagree",
    cases=lambda bench: [Cases(draws.networks(), explicit.linear(), 0.5)],
)
def law_response(bench: Bench, net: Network) -> None:
    top, mode, plain = len(net.layers), _adjoint(net, bench), _linear(net)
    _, stride, offset = net.receptive_field(top)
    x, (i, j) = _images(net)
    seen = x[:, :, offset[0] + i * stride[0] :, offset[1] + j * stride[1] :]
    grids = (
        _exactly(bench, stages.decode(net, top, mode), _eye(net.channels(top))),
        _exactly(bench, stages.forward(plain, top), x),
    )
    direct = Network([Conv(np.asarray(decode_layer(net, top, unpool=mode)), stride=stride)])
    lines = [
        f"net = {source(net)}",
        f"linear = {source(plain)}",
        f"x = {source(x)}",
        f"responses = np.asarray(linear.forward(x, backend=backend))[:, :, {i}:, {j}:]  # of units that see no pads",
        f"bank = decode_layer(net, {top}, unpool={mode!r}, backend=backend)",
        f"one = np.stack([decode_filter(net, {top}, k, unpool={mode!r}, backend=backend) for k in range({net.channels(top)})])",
        *bench.on_grid(min(grids), "responses", "bank", "one"),
        f"direct = np.asarray(backend.correlate(x[:, :, {offset[0] + i * stride[0]}:, {offset[1] + j * stride[1]}:], bank, None, stride={stride}, pad=(0, 0, 0, 0)))",
        *bench.on_grid(_exactly(bench, stages.forward(direct, 1), seen), "direct"),
        "assert np.array_equal(one, bank) and np.array_equal(direct, responses[:, :, : direct.shape[2], : direct.shape[3]])",
    ]
    bench.holds("the decoded filters do not give the network's responses", lines)


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


def _single_layers(bench: Bench) -> Iterator[Cases]:
    """Layers of networks, what they read, and an unpooling that is the adjoint."""

    def alone(net: Network) -> list[tuple[Layer, tuple[Array, ...], str]]:
        assert net.input_shape is not None
        shapes, found = net.shapes(net.input_shape), []
        for layer, below in zip(net.layers, net.inputs, strict=True):
            if not isinstance(layer, AvgPool) or "avg_pool" in bench.operators:
                xs = tuple(varied(1, *(shapes[i] or ()), most=2 + place) for place, i in enumerate(below))
                tiles = layer.decodes_bottom_up("nearest") and "unpool" in bench.operators
                found += [(layer, xs, mode) for mode in ("sum", *["nearest"] * tiles)]
        return found

    drawn = draws.networks().map(alone).filter(bool).flatmap(st.sampled_from)
    yield Cases(drawn, [case for net in explicit.linear() for case in alone(net)], 0.5)


@check(
    "correlate",
    "substitute",
    says="What a layer decodes is the adjoint of what it computes without bias: <linear(x), z> = <x, decode(z)>.",
    source="sections 2 and 3: substitution undoes correlation",
    why=OF_ITSELF,
    hunts="a layer whose two ways disagree on channels, pixels, strides, groups or pads",
    cases=_single_layers,
)
def law_linear(bench: Bench, case: tuple[Layer, tuple[Array, ...], str]) -> None:
    layer, xs, mode = case
    widths = [x.shape[1] for x in xs[: layer.follows]]
    n, k, *sides = 1, *layer.shape(*(x.shape[1:] for x in xs))
    z = varied(n, k, *sides)
    if isinstance(layer, Pool):  # where pads are part of a window, its sum is another
        for axis, side in enumerate(xs[0].shape[2:]):
            begin = np.arange(sides[axis]) * layer.stride[axis] - layer.pad[2 * axis]
            inside = (begin >= 0) & (begin + layer.size[axis] <= side)
            z = z * inside.reshape((-1, 1) if not axis else (1, -1))
    if not z.any():  # no window lies inside
        return
    calls = stages.Calls(bench.precision)
    answering = stages.Operators(calls.answer, takes_groups(bench.backend))
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
    bench.holds("a layer's decoding is not the adjoint of its linear part", lines)


def _present(bench: Bench, *operators: str) -> list[str]:
    """Those the backend has. What it lacks is reported by the checks of that operator alone."""
    present = [operator for operator in operators if operator in bench.operators]
    if not present:
        raise Unsupported(f"no {', '.join(operators)}")
    return present
