"""Figure 6, the units that a filter is made of: cases worked by hand, and the law that contributions add up to the decoded filter."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from decoding import (
    BatchNorm,
    Concat,
    Conv,
    Gate,
    InvalidValueError,
    MaxPool,
    Network,
    ReLU,
    Select,
    Sum,
    UnknownLayerError,
    UnsupportedLayerError,
    contributions,
    decode_filter,
    pair_contributions,
    unit_contributions,
)
from decoding.secondorder import respond


def integers(seed, *shape):
    return np.random.default_rng(seed).integers(-4, 5, shape).astype(float)


def added(net, parts, size, lower):
    """The decoded units of the contributions, each in its place and times its weight."""
    total = np.zeros((net.channels(0), *size))
    for part in parts:
        filters = lower(part)
        rows, columns = part.pixel
        total[:, rows : rows + filters.shape[1], columns : columns + filters.shape[2]] += part.weight * filters
    return total


@given(st.integers(0, 99))
def test_contributions_add_up_to_the_decoded_filter(seed):
    net = Network(
        [
            Conv(integers(seed, 3, 2, 2, 3), stride=(1, 2)),
            MaxPool((2, 3)),
            ReLU(),
            Conv(integers(seed + 1, 4, 3, 2, 3)),
        ]
    )
    for k in range(4):
        parts = contributions(net, 4, k)
        total = np.zeros((2, *net.receptive_field(4).size))
        for part in parts:
            lower = decode_filter(net, 3, part.k)
            rows, columns = part.pixel
            total[:, rows : rows + lower.shape[1], columns : columns + lower.shape[2]] += part.weight * lower
        assert (total == decode_filter(net, 4, k)).all()
        magnitudes = [abs(part.weight) for part in parts]
        assert magnitudes == sorted(magnitudes, reverse=True)
        assert {part.layer for part in parts} <= {1}
        assert contributions(net, 4, k, top=2) == parts[:2]


def test_contributions_of_the_first_convolution_are_channels_of_the_image():
    parts = contributions(Network([Conv([[[[1, 0]], [[0, -3]]]]), ReLU()]), 2, 0)
    assert [(part.layer, part.k, part.cell, part.weight) for part in parts] == [(0, 1, (0, 1), -3), (0, 0, (0, 0), 1)]


def test_contributions_know_groups_and_dilation():
    net = Network([Conv([[[[1, 2]]], [[[3, 4]]]], groups=2, dilation=(1, 3))])
    assert [(part.k, part.cell, part.weight) for part in contributions(net, 1, 1)] == [(1, (0, 3), 4), (1, (0, 0), 3)]


def test_of_equal_magnitudes_the_lower_filter_row_and_column_come_first():
    parts = contributions(Network([Conv([[[[3, -3], [0, 3]], [[-3, 4], [3, -3]]]])]), 1, 0)
    assert [(part.k, part.cell, part.weight) for part in parts] == [
        (1, (0, 1), 4),
        (0, (0, 0), 3),
        (0, (0, 1), -3),
        (0, (1, 1), 3),
        (1, (0, 0), -3),
        (1, (1, 0), 3),
        (1, (1, 1), -3),
    ]


# Gains and branches


def test_gains_of_the_layers_between_multiply_the_weights():
    net = Network(
        [
            Conv([[[[1, 2]]], [[[3, 4]]]]),
            BatchNorm([2, 3], mean=[0, 0], std=[1, 1]),
            ReLU(gain=[5, 7]),
            MaxPool((1, 2), gain=0.5),
            Conv([[[[1, 0]], [[0, -1]]]]),
            ReLU(gain=[4]),
        ]
    )
    parts = contributions(net, 5, 0)
    assert [(part.layer, part.k, part.cell, part.weight) for part in parts] == [
        (1, 1, (0, 1), -1 * 0.5 * 7 * 3),
        (1, 0, (0, 0), 1 * 0.5 * 5 * 2),
    ]
    assert [part.weight for part in contributions(net, 6, 0)] == [4 * part.weight for part in parts]

    def windowed(part):  # what the pool spreads
        one = decode_filter(net, 1, part.k)
        return np.pad(one, ((0, 0), (0, 0), (0, 1))) + np.pad(one, ((0, 0), (0, 0), (1, 0)))

    for layer in (5, 6):
        parts = contributions(net, layer, 0)
        assert (added(net, parts, net.receptive_field(layer).size, windowed) == decode_filter(net, layer, 0)).all()


@st.composite
def branched(draw):
    """A residual block of convolutions that pad differently, with gains, and a convolution on what meets."""
    seed = draw(st.integers(0, 99))
    join = draw(st.sampled_from([Sum(), Concat()]))
    width = 6 if isinstance(join, Concat) else 3
    layers = [
        Conv(integers(seed, 3, 2, 2, 3), stride=(1, 2)),
        Conv(integers(seed + 1, 3, 3, 3, 2), pad=(draw(st.integers(0, 2)), 1, 0, 1)),
        join,
        ReLU(gain=integers(seed + 2, width)),
        MaxPool((2, 1)),
        Conv(integers(seed + 3, 4, width, 2, 3)),
        ReLU(gain=2.0),
    ]
    return Network(layers, inputs=[0, 1, (draw(st.sampled_from([(1, 2), (2, 1)]))), 3, 4, 5, 6])


@given(branched())
def test_after_a_join_the_layer_that_is_read_is_named(net):
    for layer in (6, 7):
        for k in range(4):
            parts = contributions(net, layer, k)
            assert {part.layer for part in parts} <= {5}
            total = added(net, parts, net.receptive_field(layer).size, lambda part: decode_filter(net, 5, part.k))
            assert (total == decode_filter(net, layer, k)).all()


@given(branched())
def test_of_a_join_the_units_that_meet_are_named(net):
    for layer in (3, 4):
        for k in range(net.channels(layer)):
            parts = contributions(net, layer, k)
            assert {part.layer for part in parts} <= {1, 2}
            total = added(net, parts, net.receptive_field(3).size, lambda part: decode_filter(net, part.layer, part.k))
            assert (total == decode_filter(net, layer, k)).all()


def test_a_convolution_in_a_branch_names_the_convolution_that_it_reads():
    net = Network(
        [Conv([[[[2]]]]), ReLU(gain=3.0), Conv([[[[5]]]]), Sum()],
        inputs=[0, 1, 2, (2, 3)],
    )
    assert contributions(net, 3, 0) == [(1, 0, (0, 0), (0, 0), 15.0)]
    assert contributions(net, 4, 0) == [(2, 0, (0, 0), (0, 0), 1.0), (3, 0, (0, 0), (0, 0), 1.0)]


def test_selected_channels_are_named_by_where_they_come_from():
    net = Network([Conv([[[[1]]], [[[2]]]]), Select([1, -1, 0]), Conv([[[[5]], [[6]], [[7]]]])])
    assert [(part.layer, part.k, part.weight) for part in contributions(net, 3, 0)] == [(1, 0, 7), (1, 1, 5)]
    assert contributions(net, 2, 1) == []
    assert [part.k for part in contributions(net, 2, 2)] == [0]


def test_a_gate_is_a_factor_between_and_without_one_refused():
    layers = [Conv([[[[1]]], [[[2]]]]), Conv([[[[1]], [[1]]]]), Gate(gain=[3, 5]), Conv([[[[1]], [[1]]]])]
    net = Network(layers, inputs=[0, 1, (1, 2), 3])
    assert [(part.layer, part.k, part.weight) for part in contributions(net, 4, 0)] == [(1, 1, 5), (1, 0, 3)]
    with pytest.raises(UnsupportedLayerError, match=r"layer 3 .*gain"):
        contributions(net.replace(layers=[*layers[:2], Gate(), layers[3]]), 4, 0)


def test_units_below_and_their_pairs_add_up_to_the_second_order():
    """Of responses d about their means; whole numbers, so exactly."""
    random = np.random.default_rng(6)

    def small(*shape):
        return random.integers(-2, 3, shape).astype(float)

    layers = [Conv(small(3, 1, 2, 2)), ReLU(gain=small(3), curvature=2 * small(3)), Conv(small(2, 3, 2, 2)),
              ReLU(gain=small(2), curvature=2 * small(2)), Conv(small(2, 2, 1, 2))]  # fmt: skip
    mean, spread = small(3), np.array([1.0, 2.0, 3.0])
    net, above = Network(layers, moments={2: (mean, spread)}), Network(layers[2:])
    d = small(1, 3, 2, 3)
    here, there = (respond(above, mean[:, np.newaxis, np.newaxis] + each, 3) for each in (d, 0 * d))
    want = (here.linear + here.quadratic - there.linear - there.quadratic)[0, 1, 0, 0]
    units, pairs = (each(net, 5, 1, to=2) for each in (unit_contributions, pair_contributions))
    apart = [pair for pair in pairs if pair.first != pair.second]
    got = sum(each.linear * d[0][each.unit] + each.square * d[0][each.unit] ** 2 for each in units)
    assert got + sum(each.weight * d[0][each.first] * d[0][each.second] for each in apart) == want
    squares = {pair.first: pair.weight for pair in pairs if pair.first == pair.second}
    assert squares == {each.unit: each.square for each in units if each.square}
    for pair in apart:
        assert pair.strength == abs(pair.weight) * spread[pair.first[0]] * spread[pair.second[0]]
    for listed in (units, pairs):
        strengths = [each.strength for each in listed]
        assert strengths == sorted(strengths, reverse=True)


NET = Network([Conv([[[[1, 2]]], [[[3, 4]]]])])
REFUSED = {
    "k": (lambda: contributions(NET, 1, -1), UnknownLayerError, "contributions: layer 1 has no unit -1"),
    "layer": (lambda: contributions(NET, 9, 0), UnknownLayerError, "no layer 9"),
    "top": (lambda: contributions(NET, 1, 0, top=0), InvalidValueError, "contributions: top must be"),
    "no convolution": (
        lambda: contributions(Network([MaxPool(2)], input_shape=(1, 2, 2)), 1, 0),
        UnknownLayerError,
        "no convolution",
    ),
    "weights": (lambda: contributions(Network([Conv([[[[np.nan]]]])]), 1, 0), InvalidValueError, "not finite"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case):
    call, error, message = REFUSED[case]
    with pytest.raises(error, match=message):
        call()
