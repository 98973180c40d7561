"""The filters with which decoded filters are compared."""

import numpy as np
import pytest

from decoding import (
    Conv,
    InvalidValueError,
    MaxPool,
    Network,
    ReLU,
    Select,
    ShapeError,
    Sum,
    UnknownLayerError,
    baselines,
    decode_filter,
    decode_layer,
    decoded_responses,
)


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


def test_random_filters_are_normal():
    drawn = baselines.random_filters(Network([Conv(np.ones((50, 2, 10, 20)))]), 1)
    assert abs(drawn.mean()) <= 5 / np.sqrt(drawn.size)
    # Within one standard deviation lie 68.27 %; of a uniform distribution of variance 1, 57.7 %.
    assert abs((np.abs(drawn) < 1).mean() - 0.6827) <= 5 * np.sqrt(0.6827 * 0.3173 / drawn.size)


def test_least_squares_finds_the_filters_and_constants_of_a_linear_network(ramp):
    """Impulses and a black image: as many windows as unknowns, and a gram whose condition is below 700."""
    net = Network([Conv(ramp(3, 2, 2, 3), [5, -7, 11]), Conv(ramp(2, 3, 2, 2), [-2, 3])])
    pixels = 2 * 3 * 4
    images = np.concatenate([np.eye(pixels), np.zeros((1, pixels))]).reshape(-1, 2, 3, 4)
    want, constants = decode_layer(net, 2), net.forward(images[-1:]).ravel()
    assert (constants != 0).all()
    filters, bias = baselines.least_squares_filters(net, images, 2)
    bound = 700 * (pixels + 1) ** 2 * np.finfo(float).eps * max(np.abs(want).max(), np.abs(constants).max())
    assert (filters.shape, bias.shape) == (want.shape, (2,))
    assert np.abs(filters - want).max() <= bound
    assert np.abs(bias - constants).max() <= bound
    assert np.abs(baselines.turned(net).layers[0].filters - net.layers[0].filters).max() > bound
    # With the constants, the responses; without them, not.
    got = decoded_responses(net, images, 2, filters=want, bias=constants)
    assert (got == net.forward(images)).all()
    assert (decoded_responses(net, images, 2, filters=want) == got - constants[:, np.newaxis, np.newaxis]).all()


def test_least_squares_takes_the_windows_of_strided_and_padded_units(ramp):
    net = Network([Conv(ramp(2, 1, 2, 3), stride=(2, 1), pad=(1, 0, 0, 2))])
    images = np.random.default_rng(0).integers(-4, 5, (30, 1, 5, 6))
    (got, bias), want = baselines.least_squares_filters(net, images, 1), decode_layer(net, 1)
    windows = 30 * 3 * 6  # terms of each sum; the gram's condition is below 100
    bound = 100 * windows * np.finfo(float).eps * np.abs(want).max()
    assert np.abs(got - want).max() <= bound
    assert np.abs(bias).max() <= bound


def test_least_squares_of_no_images_is_refused(net):
    with pytest.raises(InvalidValueError, match="no images yet"):
        baselines.LeastSquaresMeter(net, 3).result()


def test_there_is_no_layer_to_turn_below(net):
    with pytest.raises(UnknownLayerError):
        baselines.turned(net, below=9)


# Branches and gains


def test_zeros_are_inserted_with_the_gain_of_the_pool():
    net = Network([MaxPool((1, 2), gain=[3, 5]), Conv([[[[1, 2]], [[1, 0]]]])])
    got = decode_filter(baselines.zero_insertion(net), 2, 0)
    assert got.tolist() == [[[3, 0, 6, 0]], [[5, 0, 0, 0]]]


def test_inserting_zeros_in_a_branch_keeps_what_meets_in_its_place():
    net = Network([MaxPool((1, 2)), Conv([[[[1, 2, 3]]]], pad=(0, 0, 1, 1)), Sum()], inputs=[0, 1, (1, 2)], mean=[0])
    assert decode_filter(baselines.zero_insertion(net), 3, 0).tolist() == [[[1, 0, 3, 0, 3, 0]]]


def test_turning_keeps_branches_and_gains():
    net = Network(
        [Conv([[[[1, 2, 3]]]], pad=(0, 0, 1, 1)), ReLU(gain=5.0), Sum()], inputs=[0, 1, (0, 2)], input_shape=(1, 1, 4)
    )
    assert decode_filter(baselines.turned(net), 3, 0).tolist() == [[[15, 11, 5]]]


def test_least_squares_takes_the_windows_of_units_that_begin_inside_the_image():
    """Impulses, every other pixel of which no unit sees."""
    net = Network([Select([0], stride=(1, 2), start=(0, 1)), Conv([[[[3, 5]]]])], input_shape=(1, 1, 6))
    images = np.concatenate([np.eye(6), np.zeros((1, 6))]).reshape(-1, 1, 1, 6)
    (got, bias), want = baselines.least_squares_filters(net, images, 2), decode_layer(net, 2)
    bound = 100 * 14 * 4 * np.finfo(float).eps * np.abs(want).max()  # the gram's condition is below 100
    assert want.tolist() == [[[[3, 0, 5]]]]
    assert np.abs(got - want).max() <= bound
    assert np.abs(bias).max() <= bound
