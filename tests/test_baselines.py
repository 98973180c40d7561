"""What decoded filters are held against."""

import numpy as np
import pytest

from decoding import Conv, MaxPool, Network, ShapeError, baselines, decode_filter, decode_layer


@pytest.fixture
def net(ramp):
    return Network(
        [Conv(ramp(3, 2, 2, 3), stride=(1, 2)), MaxPool(2), Conv(ramp(4, 3, 3, 2))],
        mean=[1, 2],
        input_shape=(2, 12, 14),
    )


def test_random_filters_have_the_size_of_decoded_ones(net):
    filters = baselines.random_filters(net, 3)
    assert filters.shape == decode_layer(net, 3).shape
    assert (filters == baselines.random_filters(net, 3, seed=0)).all()
    assert (filters != baselines.random_filters(net, 3, seed=1)).all()


def test_turning_every_filter_turns_the_decoded_one(net):
    turned = decode_layer(baselines.turned(net), 3)
    assert (turned == decode_layer(net, 3)[:, :, ::-1, ::-1]).all()
    assert (turned != decode_layer(net, 3)).any()


def test_turning_below_leaves_the_layer_itself(net):
    below = baselines.turned(net, below=3)
    assert (below.layers[2].filters == net.layers[2].filters).all()
    assert (below.layers[0].filters == net.layers[0].filters[:, :, ::-1, ::-1]).all()
    assert (below.mean == net.mean).all()


def test_inserting_zeros_by_hand():
    net = Network([Conv([[[[1, 2]]]]), MaxPool((1, 3)), Conv([[[[3, 5]]]])])
    assert decode_filter(baselines.zero_insertion(net), 3, 0).tolist() == [[[3, 6, 0, 5, 10, 0, 0]]]


def test_inserting_zeros_keeps_the_receptive_field(net):
    assert baselines.zero_insertion(net).receptive_field(3) == net.receptive_field(3)
    with pytest.raises(ShapeError, match="input_shape"):
        baselines.zero_insertion(Network([MaxPool(2)]))


def test_least_squares_finds_the_filter_of_a_linear_network(ramp):
    """On impulses the windows are orthonormal, so that the filter is found to the rounding of one small system."""
    net = Network([Conv(ramp(3, 2, 2, 3)), Conv(ramp(2, 3, 2, 2))])
    pixels = 2 * 3 * 4
    impulses = np.eye(pixels).reshape(pixels, 2, 3, 4)
    want = decode_layer(net, 2)
    got = baselines.least_squares_filters(net, impulses, 2)
    bound = pixels * pixels * np.finfo(float).eps * np.abs(want).max()
    assert got.shape == want.shape
    assert np.abs(got - want).max() <= bound
    assert np.abs(baselines.turned(net).layers[0].filters - net.layers[0].filters).max() > bound


def test_least_squares_takes_the_windows_of_strided_and_padded_units(ramp):
    net = Network([Conv(ramp(2, 1, 2, 3), stride=(2, 1), pad=(1, 0, 0, 2))])
    images = np.random.default_rng(0).integers(-4, 5, (30, 1, 5, 6))
    got, want = baselines.least_squares_filters(net, images, 1), decode_layer(net, 1)
    windows = 30 * 3 * 6  # terms of each sum; the gram's condition is below 100
    assert np.abs(got - want).max() <= 100 * windows * np.finfo(float).eps * np.abs(want).max()
