import importlib
from pathlib import Path

import numpy as np
import pytest

import decoding
from decoding import (
    AvgPool,
    Conv,
    Dropout,
    InvalidValueError,
    MaxPool,
    Network,
    ReLU,
    ShapeError,
    Softmax,
    UnknownLayerError,
    decode,
    decode_filter,
    decode_layer,
    reference,
)


@pytest.fixture
def colour(ramp):
    layers = [
        Conv(ramp(3, 3, 3, 2), [1, -2, 3], stride=(1, 2), pad=(1, 0, 2, 3), name="edges"),
        MaxPool((2, 3)),
        Conv(ramp(4, 3, 2, 1), name="corners"),
        ReLU(),
        Conv(ramp(2, 2, 1, 3), dilation=(1, 2), groups=2, name="shapes"),
        AvgPool((1, 2)),
        Dropout(),
        Softmax(),
    ]
    return Network(layers)


def test_by_hand_figure_2():
    """The paper's scheme, one channel: a 2×2 filter, unpooled, each pixel replaced by a filter of the first layer."""
    net = Network([Conv([[[[1, 10]]]]), MaxPool(2), Conv([[[[1, 2], [0, 3]]]])])
    assert decode_filter(net, 3, 0).tolist() == [
        [
            [1, 11, 12, 22, 20],
            [1, 11, 12, 22, 20],
            [0, 0, 3, 33, 30],
            [0, 0, 3, 33, 30],
        ]
    ]


@pytest.mark.parametrize("unpool", ["nearest", "bilinear", "bicubic"])
def test_every_layer_has_the_size_of_its_receptive_field(colour, unpool):
    for layer in range(len(colour.layers) + 1):
        bank = decode_layer(colour, layer, unpool=unpool)
        assert bank.shape == (colour.channels(layer), 3, *colour.receptive_field(layer).size)
        for k, df in enumerate(bank):
            assert (decode_filter(colour, layer, k, unpool=unpool) == df).all()
            impulse = np.eye(len(bank))[k].reshape(1, -1, 1, 1)
            assert (decode(colour, layer, impulse, unpool=unpool)[0] == df).all()


def test_the_first_layer_decodes_to_its_own_filters(colour, ramp):
    assert (decode_layer(colour, 1) == ramp(3, 3, 3, 2)).all()
    assert (decode_filter(colour, "edges", 2) == ramp(3, 3, 3, 2)[2]).all()


def test_sum_channels_is_the_text(colour):
    df = decode_filter(colour, "shapes", 1)
    assert (decode_filter(colour, "shapes", 1, sum_channels=True) == df.sum(axis=0)).all()


def test_to_stops_on_the_way(colour, ramp):
    maps = ramp(2, 2, 2, 3)
    halfway = decode(colour, "shapes", maps, to="corners")
    assert halfway.shape == (2, 4, 2, 7)
    assert (halfway == reference.substitute(maps, colour.layers[4].dense)).all()
    assert (decode(colour, "corners", halfway) == decode(colour, "shapes", maps)).all()
    assert (decode(colour, "shapes", maps, to="shapes") == maps).all()


def test_large_banks_are_decoded_in_blocks(colour, monkeypatch):
    whole = decode_layer(colour, "shapes", unpool="bicubic")
    monkeypatch.setattr("decoding.decoder.BLOCK_BYTES", 1)
    assert (decode_layer(colour, "shapes", unpool="bicubic") == whole).all()


def test_overlapping_pools_decode_from_above(ramp):
    net = Network([Conv(ramp(2, 1, 2, 3)), MaxPool(3, 2), Conv(ramp(3, 2, 2, 2))])
    bank = decode_layer(net, 3)
    assert bank.shape[2:] == net.receptive_field(3).size
    assert all((decode_filter(net, 3, k) == df).all() for k, df in enumerate(bank))


class Counting:
    """The reference, counting the calls of each operator."""

    def __init__(self):
        self.calls = []

    def __getattr__(self, operator):
        def counted(*arrays, **options):
            self.calls.append(operator)
            return getattr(reference, operator)(*arrays, **options)

        return counted


def test_a_bank_is_decoded_bottom_up_where_that_is_the_same(ramp):
    layers = [Conv(ramp(2, 1, 2, 3)), MaxPool(2), ReLU(), Conv(ramp(3, 2, 2, 2))]
    for pool, unpool, calls in [
        (MaxPool(2), "nearest", ["substitute"] * 2),  # the first filters are their own bank
        (MaxPool(2), "bilinear", ["unpool", "substitute"]),
        (MaxPool(3, 2), "nearest", ["unpool", "substitute"]),
    ]:
        layers[1], backend = pool, Counting()
        decode_layer(Network(layers), 4, unpool=unpool, backend=backend)
        assert backend.calls == calls


def test_both_ways_agree_on_real_weights_within_the_rounding_of_their_sums(lenet):
    """Every pixel is a sum of products over all paths: n terms of 5 factors, twice."""
    layer, n = 5, 50 * 16 * 20 * 25
    magnitudes = Network([Conv(abs(each.filters)) if isinstance(each, Conv) else each for each in lenet.layers])
    gamma = (n + 5) * reference.eps / (1 - (n + 5) * reference.eps)
    bank, bound = decode_layer(lenet, layer), 2 * gamma * decode_layer(magnitudes, layer)
    for k in (0, 77, 499):
        assert (np.abs(bank[k] - decode_filter(lenet, layer, k)) <= bound[k]).all()


def test_sizes_of_lenet(lenet):
    assert [decode_filter(lenet, layer, 0).shape for layer in (1, 3, 5, 7)] == [
        (1, 5, 5),
        (1, 14, 14),
        (1, 28, 28),
        (1, 28, 28),
    ]


NAN = Network([Conv([[[[np.nan]]]], name="broken"), ReLU()])
REFUSED = {
    "layer 9": (lambda net: decode_filter(net, 9, 0), UnknownLayerError, "no layer 9: layers count from 1 to 8"),
    "name": (lambda net: decode_filter(net, "conv9", 0), UnknownLayerError, "no layer is named 'conv9'.*'edges'"),
    "unit": (
        lambda net: decode_filter(net, 1, 3),
        UnknownLayerError,
        "layer 1 has no unit 3: its 3 units count from 0",
    ),
    "negative unit": (lambda net: decode_filter(net, 1, -1), UnknownLayerError, "no unit -1"),
    "unit of words": (lambda net: decode_filter(net, 1, "first"), UnknownLayerError, "no unit 'first'"),
    "mode": (lambda net: decode_layer(net, 1, unpool="area"), InvalidValueError, "unpool must be one of 'nearest'"),
    "maps": (
        lambda net: decode(net, 1, np.ones((1, 2, 1, 1))),
        ShapeError,
        r"maps \(1, 2, 1, 1\) for layer 1.*3 channels",
    ),
    "maps of NaN": (lambda net: decode(net, 1, np.full((1, 3, 1, 1), np.nan)), InvalidValueError, "3 of 3 values"),
    "three axes": (lambda net: decode(net, 1, np.ones((3, 1, 1))), ShapeError, "four axes"),
    "up": (lambda net: decode(net, 1, np.ones((1, 3, 1, 1)), to=2), ShapeError, "layer 2 lies above layer 1"),
    "weights": (lambda net: decode_filter(NAN, 2, 0), InvalidValueError, "layer 1 'broken'.*1 of 1 values"),
    "overflow": (
        lambda net: decode_filter(Network([Conv([[[[1e200]]]]), Conv([[[[1e200]]]])]), 2, 0),
        InvalidValueError,
        "decoded maps, float64: 1 of 1 values are not finite",
    ),
    "backend": (lambda net: decode_filter(net, 1, 0, backend=object()), InvalidValueError, "backend must be an object"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(colour, case):
    call, error, message = REFUSED[case]
    with pytest.raises(error, match=message):
        call(colour)


def test_a_backend_is_any_object_with_the_operators(colour):
    class Lists:
        """Takes arrays and gives nested lists, as a backend in another language might."""

        def __getattr__(self, operator):
            return lambda *args, **kwargs: getattr(reference, operator)(*args, **kwargs).tolist()

    assert (decode_layer(colour, "shapes", backend=Lists()) == decode_layer(colour, "shapes")).all()
    images = np.ones((2, 3, 9, 50))
    assert (colour.forward(images, backend=Lists()) == colour.forward(images)).all()


def test_a_decoded_filter_of_the_first_layer_is_a_copy(colour):
    first = decode_filter(colour, 1, 0)
    first += 1
    assert (decode_filter(colour, 1, 0) == first - 1).all()


def test_the_benchmarks_count_the_way_that_is_taken(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parent / "benchmarks")
    work = importlib.import_module("work")
    net = decoding.lenet()
    for top, unpool in ((3, "nearest"), (5, "nearest"), (5, "bilinear")):
        plan = decoding.decoder._Plan(net, top, net.channels(top), net.channels(top), unpool, decoding.fast)
        taken, down = work.multiplications(net, top, unpool)
        assert taken == plan.way.cost <= down
