"""Decoding of networks that branch, compared with plain loops over the linear network it stands for: equality on small integers."""

from itertools import islice
from unittest import mock

import numpy as np
import pytest
from graphs import KINDS, TILING, Linear, NoGroups, gain, graphs, graphs_for, readable
from hypothesis import HealthCheck, Phase, assume, given, note, settings
from hypothesis import strategies as st

from decoding import (
    BatchNorm,
    Concat,
    Conv,
    Gate,
    MaxPool,
    Network,
    Pool,
    ReLU,
    Select,
    Sum,
    UnknownLayerError,
    decode,
    decode_filter,
    decode_layer,
    decoder,
    fast,
    iterate_layer,
    reference,
    walks,
)
from decoding.decoder import UNPOOLS

BACKENDS = {"reference": reference, "no groups": NoGroups(), "fast": fast, "fast, no groups": NoGroups(fast)}
tops = pytest.mark.parametrize("unpool", UNPOOLS)


def numbers(net):
    return range(1, len(net) + 1)


# 1. The gradient.


@tops
@given(data=st.data())
def test_the_bank_of_every_layer_is_the_gradient_in_its_place(unpool, data):
    net = data.draw(graphs_for(unpool))
    backend = BACKENDS[data.draw(st.sampled_from(sorted(BACKENDS)))]
    note(readable(net))
    for top in numbers(net):
        linear = Linear(net, top, unpool)
        a, b, *size = linear.boxes[0]
        field, bank = net.receptive_field(top), linear.bank()
        assert (field.size, field.offset) == (tuple(size), (a, b))
        found = decode_layer(net, top, unpool=unpool, backend=backend)
        assert found.shape == bank.shape
        assert (found == bank).all()
        for k in range(len(bank)):
            assert (decode_filter(net, top, k, unpool=unpool, backend=backend) == bank[k]).all()


@tops
@given(data=st.data())
def test_any_responses_come_down_to_every_layer_in_their_place(unpool, data):
    net = data.draw(graphs_for(unpool))
    note(readable(net))
    backend = BACKENDS[data.draw(st.sampled_from(sorted(BACKENDS)))]
    top, shape = data.draw(st.sampled_from(numbers(net))), (data.draw(st.integers(1, 2)), data.draw(st.integers(1, 3)))
    maps = np.arange(net.channels(top) * shape[0] * shape[1]).reshape(-1, *shape) % 5 - 1.0
    linear = Linear(net, top, unpool, *shape)
    carried = walks.Placed(maps[np.newaxis], (0, 0))
    for to in range(top):
        if to not in linear.boxes:
            with pytest.raises(UnknownLayerError, match=f"sees nothing of layer {to}"):
                decode(net, top, maps[np.newaxis], to=to, unpool=unpool, backend=backend)
            continue
        want, origin = linear.form(maps, to)
        got = decode(net, top, maps[np.newaxis], to=to, unpool=unpool, backend=backend)
        assert got[0].shape == want.shape
        assert (got[0] == want).all()
        *_, (number, found) = walks.down(net, carried, top, to, unpool, backend)
        assert (number, found.origin) == (to, origin)
        within = net.receptive_field(top, within=to)
        assert within.offset == origin
        assert within.size == tuple(
            n - (m - 1) * s for n, m, s in zip(want.shape[1:], shape, within.stride, strict=True)
        )


@given(graphs(pools=tuple(TILING), kinds=tuple(kind for kind in KINDS if kind != "gate")), st.data())
def test_the_gradient_that_autograd_finds(net, data):
    """Of the whole network, pads and all, on an image that is large enough for a unit in its middle not to see them."""
    torch = pytest.importorskip("torch")
    note(readable(net))
    x = torch.zeros(1, *net.input_shape, dtype=torch.float64, requires_grad=True)
    maps = run_linear(torch, net, x)
    for top in numbers(net):
        field = net.receptive_field(top)
        unit = tuple(36 // stride for stride in field.stride)
        for n, (a, b, rows, columns) in Linear(net, top).boxes.items():
            step = net.receptive_field(top, within=n).stride
            first = a + unit[0] * step[0], b + unit[1] * step[1]
            assert min(first) >= 0
            assert all(f + m <= side for f, m, side in zip(first, (rows, columns), maps[n].shape[2:], strict=True))
        bank = decode_layer(net, top)
        for k, df in enumerate(bank):
            (gradient,) = torch.autograd.grad(
                maps[top][0, k, unit[0], unit[1]], x, retain_graph=True, allow_unused=True
            )
            want = np.zeros(net.input_shape)
            a, b = (unit[axis] * field.stride[axis] + field.offset[axis] for axis in (0, 1))
            want[:, a : a + df.shape[1], b : b + df.shape[2]] = df
            assert (want == (0 if gradient is None else gradient[0].numpy())).all()


def run_linear(torch, net, x):
    """All maps of the network without biases, each pool a sum, each gain a product."""
    maps = [x]
    for layer, below in zip(net.layers, net.inputs, strict=True):
        top, bottom, left, right = layer.pad
        y = maps[below[0]]
        padded = torch.nn.functional.pad(y, (left, right, top, bottom)) if not isinstance(layer, Select) else y
        if isinstance(layer, Conv):
            options = {"stride": layer.stride, "dilation": layer.dilation, "groups": layer.groups}
            y = torch.nn.functional.conv2d(padded, torch.tensor(layer.filters.copy()), **options)
        elif isinstance(layer, Pool):
            ones = torch.ones(y.shape[1], 1, *layer.size, dtype=torch.float64)
            y = torch.nn.functional.conv2d(padded, ones, stride=layer.stride, groups=y.shape[1])
        elif isinstance(layer, Sum):
            y = torch.stack([maps[m] for m in below]).sum(0)
        elif isinstance(layer, Concat):
            y = torch.cat([maps[m] for m in below], 1)
        elif isinstance(layer, Select):
            y = y[:, :, layer.start[0] :: layer.stride[0], layer.start[1] :: layer.stride[1]]
            chosen = layer.fields()["channels"]
            y = torch.stack([y[:, c] if c >= 0 else 0 * y[:, 0] for c in chosen], 1)
        elif isinstance(layer, BatchNorm):
            y = y * torch.tensor(layer.scale / layer.std)[:, None, None]
        if not isinstance(layer, BatchNorm):
            y = y * torch.tensor([gain(layer, k) for k in range(y.shape[1])], dtype=torch.float64)[:, None, None]
        maps.append(y)
    return maps


# 2. The forward pass, and its linear part.


@given(
    graphs(kinds=("conv", "depthwise", "grouped", "norm", "shuffle", "sum", "twice", "concat", "residual")), st.data()
)
def test_without_pools_and_rectifiers_the_forward_pass_is_the_decoded_filter_in_its_place(net, data):
    note(readable(net))
    image = np.random.default_rng(data.draw(st.integers(0, 99))).integers(-1, 2, (1, *net.input_shape)).astype(float)
    backend = BACKENDS[data.draw(st.sampled_from(sorted(BACKENDS)))]
    nothing = np.zeros_like(image)
    for top in numbers(net):
        field, bank = net.receptive_field(top), decode_layer(net, top)
        linear = net.forward(image, top, backend=backend) - net.forward(nothing, top, backend=backend)
        assert linear.shape[2:] == tuple(72 // stride for stride in field.stride)
        i, j = (36 // stride for stride in field.stride)
        a, b = i * field.stride[0] + field.offset[0], j * field.stride[1] + field.offset[1]
        crop = image[:, :, a : a + field.size[0], b : b + field.size[1]]
        assert ((bank * crop).sum(axis=(1, 2, 3)) == linear[0, :, i, j]).all()


@given(graphs(pools=(((2, 2), (2, 2)), ((2, 2), (1, 2)), ((1, 1), (2, 1)), ((4, 1), (2, 1)))), st.data())
def test_what_decoding_undoes_is_the_linear_part_of_each_layer_times_its_gain(net, data):
    note(readable(net))
    image = np.random.default_rng(data.draw(st.integers(0, 99))).integers(-1, 2, (1, *net.input_shape)).astype(float)
    backend = BACKENDS[data.draw(st.sampled_from(sorted(BACKENDS)))]
    maps = [image]
    for layer, below in zip(net.layers, net.paths, strict=True):
        maps.append(walks.times(np.asarray(layer.linear(*(maps[m] for m in below), backend=backend)), layer.gain, 1))
    for top in numbers(net):
        field, bank = net.receptive_field(top), decode_layer(net, top, unpool="sum")
        i, j = (36 // stride for stride in field.stride)
        a, b = i * field.stride[0] + field.offset[0], j * field.stride[1] + field.offset[1]
        crop = image[:, :, a : a + field.size[0], b : b + field.size[1]]
        assert ((bank * crop).sum(axis=(1, 2, 3)) == maps[top][0, :, i, j]).all()


# 3. Path by path, from above, from below.


@pytest.mark.parametrize("unpool", ["nearest", "sum"])
@given(data=st.data())
def test_path_by_path_is_from_above_is_from_below(unpool, data):
    net = data.draw(graphs(pools=tuple(TILING), most=4))
    note(readable(net))
    top = len(net)
    k = data.draw(st.integers(0, net.channels(top) - 1))
    linear = Linear(net, top, unpool)
    paths = list(islice(linear.paths(top, k, 0, 0), 20_001))
    assume(len(paths) <= 20_000)
    a, b, rows, columns = linear.boxes[0]
    literally = np.zeros((net.channels(0), rows, columns))
    for (c, i, j), product in paths:
        literally[c, i - a, j - b] += product
    down = list(walks.down(net, impulse(net, top, k), top, 0, unpool, reference))[-1]
    up = list(walks.up(net, top, 0, reference, np.dtype(float)))[-1]
    assert (down[1].maps[0] == literally).all()
    assert (up[1].maps[k] == literally).all()
    assert down[1].origin == up[1].origin == (a, b)


def impulse(net, top, k):
    maps = np.zeros((1, net.channels(top), 1, 1))
    maps[0, k] = 1
    return walks.Placed(maps, (0, 0))


# 4. All ways to decode a layer.


@tops
@given(data=st.data())
def test_every_way_down_and_up_gives_the_same(unpool, data):
    net = data.draw(graphs_for(unpool))
    backend = BACKENDS[data.draw(st.sampled_from(sorted(BACKENDS)))]
    note(readable(net))
    top = data.draw(st.sampled_from(numbers(net)))
    bank = Linear(net, top, unpool).bank()
    chosen = data.draw(st.lists(st.integers(0, len(bank) - 1), max_size=4))
    size = data.draw(st.integers(1, len(bank)))
    every = decoder._ways
    for number in range(len(every(net, top, len(bank), len(bank), unpool, 8))):
        with mock.patch.object(decoder, "_ways", lambda *args, n=number: every(*args)[n : n + 1] or every(*args)[-1:]):
            assert (decode_layer(net, top, unpool=unpool, backend=backend) == bank).all()
            some = decode_layer(net, top, units=chosen, unpool=unpool, backend=backend)
            assert some.shape == (len(chosen), *bank.shape[1:])
            assert (some == bank[chosen]).all()
            parts = list(iterate_layer(net, top, size, unpool=unpool, backend=backend))
            assert [len(part) for part in parts[:-1]] == [size] * (len(parts) - 1)
            assert (np.concatenate(parts) == bank).all()


class Multiplying:
    """The reference, counting the multiplications of its substitutions."""

    groups = True

    def __init__(self):
        self.count = 0

    def substitute(self, maps, filters, *, stride, groups=1):
        self.count += maps.size * filters[0].size
        return reference.substitute(maps, filters, stride=stride, groups=groups)

    def __getattr__(self, operator):
        return getattr(reference, operator)


@given(graphs(kinds=("conv", "conv", "depthwise", "grouped")), st.data())
def test_the_cost_of_a_way_is_what_it_multiplies_and_one_of_the_cheapest_is_taken(net, data):
    """Of convolutions alone; a layer that adds, or picks, counts as one multiplication for each number."""
    note(readable(net))
    top, plain = data.draw(st.sampled_from(numbers(net))), Multiplying()
    units = data.draw(st.lists(st.integers(0, net.channels(top) - 1), min_size=1, max_size=6))
    ways = decoder._ways(net, top, len(units), len(units), "nearest", 8)
    for way in ways:
        with mock.patch.object(decoder, "_ways", lambda *args, way=way: [way]):
            backend = Multiplying()
            decode_layer(net, top, units=units, backend=backend)
            assert backend.count == way.cost
    decode_layer(net, top, units=units, backend=plain)
    assert plain.count <= decoder.WHOLE * min(way.cost for way in ways)


def test_of_ways_that_cost_about_as_much_the_one_that_goes_up_furthest_is_taken():
    least = decoder._Way(0, 3, 100.0)
    for most, top in (
        (decoder.WHOLE, 9),
        (decoder.NEARLY, 10),
    ):  # of a way up to the top, and of one that ends below it
        for cost, turn in ((100 * most, 9), (101 * most, 3)):
            ways = [decoder._Way(0, 9, cost), least, decoder._Way(2, 9, 100.0)]
            assert decoder._best(ways, top).turn == turn


# 5. Symmetry.


def orders(net, rng):
    """For each layer, an order of its channels that all who read it can follow; None where there is none but the given."""
    group = list(range(len(net) + 1))  # layers whose channels have one order

    def find(n):
        while group[n] != n:
            n = group[n]
        return n

    def sources(n):
        return [m for m in range(len(net) + 1) if find(m) == find(n)]

    for n, (layer, below) in enumerate(zip(net.layers, net.inputs, strict=True), 1):
        if not isinstance(layer, (Conv, Select)) and not (isinstance(layer, Concat) and len(below) > 1):
            for m in below:
                group[find(m)] = find(n)
    found = {}

    def order(n):
        root = find(n)
        if root not in found:
            derived = [np.arange(net.channels(m)) for m in sources(n) if m in (0, len(net))]
            for m in sources(n):
                if m and isinstance(net.layers[m - 1], Concat) and len(net.inputs[m - 1]) > 1:
                    below = net.inputs[m - 1]
                    starts = np.cumsum([0, *(net.channels(b) for b in below)])
                    derived.append(np.concatenate([start + order(b) for start, b in zip(starts, below)]))  # noqa: B905
            assume(all((each == derived[0]).all() for each in derived))
            found[root] = derived[0] if derived else rng.permutation(net.channels(n))
        return found[root]

    return [order(n) for n in range(len(net) + 1)]


def reordered(layer, below, own):
    """The layer for channels in another order: those below, and its own."""
    changed = {"gain": layer.gain[own]} if np.ndim(layer.gain) and not isinstance(layer, BatchNorm) else {}
    if isinstance(layer, Conv):
        options = {"stride": layer.stride, "pad": layer.pad}
        return Conv(layer.dense[own][:, below], layer.bias[own], **options)
    if isinstance(layer, Select):
        chosen = np.array(layer.fields()["channels"])[own]
        return layer.replace(channels=[c if c < 0 else list(below).index(c) for c in chosen])
    if isinstance(layer, BatchNorm):
        changed = {what: array[own] for what, array in layer.weights.items()}
    return layer.replace(**changed) if changed else layer


@tops
@given(data=st.data())
def test_the_order_of_channels_does_not_matter_through_sums_and_concats_either(unpool, data):
    net = data.draw(graphs_for(unpool))
    note(readable(net))
    order = orders(net, np.random.default_rng(data.draw(st.integers(0, 999))))
    assume(any((each != np.arange(len(each))).any() for each in order))
    layers = [
        reordered(layer, order[i[0]], order[n])
        for n, (layer, i) in enumerate(zip(net.layers, net.inputs, strict=True), 1)
    ]
    other = net.replace(layers=layers)
    for top in numbers(net):
        assert (decode_layer(other, top, unpool=unpool) == decode_layer(net, top, unpool=unpool)[order[top]]).all()


# 6. What is drawn, and mistakes that must show.

DRAWN = {
    "branches of different pads meet": lambda net: any(
        isinstance(each, Sum) and len({tuple(net.receptive_field(m).offset) for m in set(below)}) > 1
        for each, below in zip(net.layers, net.inputs, strict=True)
    ),
    "a shortcut of stride 2 with new channels": lambda net: any(
        isinstance(each, Select) and each.stride == (2, 2) and -1 in each.fields()["channels"]
        and any(n in i and isinstance(net.layers[m - 1], Sum) for m, i in enumerate(net.inputs, 1))
        for n, each in enumerate(net.layers, 1)
    ),
    "odd subsampling": lambda net: any(isinstance(each, Select) and max(each.start) == 1 for each in net.layers),
    "read twice by one sum": lambda net: any(len(set(below)) < len(below) for below in net.inputs),
    "concat of three": lambda net: any(isinstance(e, Concat) and len(i) == 3 for e, i in zip(net.layers, net.inputs, strict=True)),
    "groups": lambda net: any(isinstance(each, Conv) and each.groups == 2 and each.filters.shape[1] > 1 for each in net.layers),
    "depthwise": lambda net: any(isinstance(each, Conv) and each.groups == 3 and each.filters.shape[1] == 1 for each in net.layers),
    "a gate": lambda net: any(isinstance(each, Gate) for each in net.layers),
    "gains on a pool": lambda net: any(isinstance(each, Pool) and np.ndim(each.gain) for each in net.layers),
    "gains on a rectifier": lambda net: any(isinstance(each, ReLU) and np.ndim(each.gain) for each in net.layers),
    "a pool with gaps": lambda net: any(isinstance(each, Pool) and each.size < each.stride for each in net.layers),
    "overlapping windows": lambda net: any(isinstance(each, Pool) and each.size > each.stride for each in net.layers),
    "a pool above a sum": lambda net: any(
        isinstance(each, Pool) and i[0] and isinstance(net.layers[i[0] - 1], Sum) for each, i in zip(net.layers, net.inputs, strict=True)
    ),
}  # fmt: skip


class AllFound(Exception):
    """Ends the search."""


def test_graphs_of_every_kind_are_drawn():
    missing = dict(DRAWN)

    @settings(
        max_examples=800,  # what is drawn depends on the version of hypothesis and on the modules that are loaded
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(graphs())
    def look(net):
        for feature in [feature for feature, found in missing.items() if found(net)]:
            del missing[feature]
        if not missing:
            raise AllFound

    with pytest.raises(AllFound):
        look()


def everything(ramp):
    """A network with every kind of edge: three pads, two strides, groups, gains, a gate, a shuffle, new channels."""
    layers = [
        Conv(ramp(4, 1, 3, 2), pad=(1, 1, 0, 1), groups=2),  # 1
        MaxPool((2, 1), gain=[1, 2, -1, 3]),  # 2
        Conv(ramp(4, 4, 2, 3), stride=(1, 2), pad=(1, 0, 2, 0)),  # 3
        Select([2, -1, 0, 2], stride=(1, 2), start=(0, 1)),  # 4, of 2
        Sum(),  # 5
        ReLU(gain=[2, 1, 3, -2]),  # 6
        Gate(gain=2),  # 7
        Concat(),  # 8
        Conv(ramp(2, 8, 1, 2), pad=(0, 0, 0, 1)),  # 9
    ]
    return Network(layers, inputs=[0, 1, 2, 2, (3, 4), 5, (6, 5), (7, 4), 8], input_shape=(2, 24, 24))


def last_wins(parts):
    arrays, origin = walks.union(parts)
    return walks.Placed(arrays[-1], origin)


def without_places(parts):
    rows, columns = (max(p.maps.shape[2 + a] for p in parts) for a in (0, 1))
    padded = [
        np.pad(p.maps, ((0, 0), (0, 0), (0, rows - p.maps.shape[2]), (0, columns - p.maps.shape[3]))) for p in parts
    ]
    return padded, (min(p.origin[0] for p in parts), min(p.origin[1] for p in parts))


def gathering(self, maps, widths, unpool, backend):
    out = np.zeros(
        (len(maps), widths[0], (maps.shape[2] - 1) * self.stride[0] + 1, (maps.shape[3] - 1) * self.stride[1] + 1)
    )
    for k, c in enumerate(self.fields()["channels"]):
        if c >= 0:
            out[:, k, :: self.stride[0], :: self.stride[1]] = maps[:, c]
    return (out,)


def backwards(self, maps, widths, unpool, backend):
    return np.split(maps, np.cumsum(widths[::-1])[:-1], axis=1)[::-1]


TIMES = walks.times
MISTAKES = {
    "the last branch overwrites": (walks, "add", last_wins),
    "branches meet at their corners": (walks, "union", without_places),
    "gains are left out": (walks, "times", lambda maps, factor, axis: maps),
    "gains lie on the wrong channels": (
        walks, "times", lambda maps, factor, axis: TIMES(maps, factor[::-1] if np.ndim(factor) else factor, axis)),
    "gains are taken twice": (walks, "times", lambda maps, factor, axis: TIMES(TIMES(maps, factor, axis), factor, axis)),
    "a concat is cut in the wrong order": (Concat, "decode", backwards),
    "a selection gathers where it must scatter": (Select, "decode", gathering),
    "a start is no pad": (Select, "pad", (0, 0, 0, 0)),
    "a sum hands on a share": (Sum, "decode", lambda self, maps, widths, unpool, backend: (maps / len(widths),) * len(widths)),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_on_the_way_down_shows(ramp, mistake):
    net = everything(ramp)
    want = [Linear(net, top).bank() for top in numbers(net)]
    same = lambda: all(  # noqa: E731
        np.array_equal(decode(net, top, np.eye(len(bank))[:, :, None, None]), bank) for top, bank in enumerate(want, 1)
    )
    assert same()
    with mock.patch.object(*MISTAKES[mistake]):
        assert not same()


BANK_MISTAKES = {
    "banks meet at their corners": (walks, "union", without_places),
    "gains are left out": (walks, "times", lambda maps, factor, axis: maps),
    "a concat in the wrong order": (Concat, "decode_bank", lambda self, *banks, **options: np.concatenate(banks[::-1])),
    "a selection scatters where it must gather": (
        Select, "decode_bank", lambda self, *banks, **options: banks[0][np.argsort(self.fields()["channels"])]),
    "a sum takes the last": (Sum, "decode_bank", lambda self, *banks, **options: banks[-1]),
    "a jump is forgotten": (
        Conv, "decode_bank",
        lambda self, bank, jump, backend, kept=Conv.decode_bank: kept(self, bank, jump=(1, 1), backend=backend)),
}  # fmt: skip


@pytest.mark.parametrize("mistake", BANK_MISTAKES)
def test_a_mistake_on_the_way_up_shows(ramp, mistake):
    net = everything(ramp)
    want = [Linear(net, top).bank() for top in numbers(net)]
    same = lambda: all(  # noqa: E731
        np.array_equal(bank, want[number - 1])
        for number, (bank, _) in walks.up(net, len(net), 0, reference, np.dtype(float))
        if number
    )
    assert same()
    with mock.patch.object(*BANK_MISTAKES[mistake]):
        assert not same()


def test_paths_too_many_to_count_decode_in_a_moment():
    """`x + x` 64 times: 2^64 paths, more than any loop over them can take."""
    net = Network([Conv([[[[1, 2]]]]), *[Sum()] * 64], inputs=[0, *((n, n) for n in range(1, 65))])
    want = 2.0**64 * np.array([[[1, 2]]])
    assert (decode_filter(net, 65, 0) == want).all()
    assert (decode_layer(net, 65)[0] == want).all()
    assert (decode(net, 65, [[[[1]]]], to=1) == 2.0**64).all()
    assert (net.forward([[[[3, 5]]]]) == 2.0**64 * 13).all()
