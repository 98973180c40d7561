"""Equation 3, top images, figure 1's matrix and figure 6's weights: cases worked by hand, laws, LeNet, and errors."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import decoding
from decoding import (
    AvgPool,
    Conv,
    InvalidValueError,
    MaxPool,
    Network,
    ReconstructionMeter,
    ShapeError,
    TopImagesMeter,
    UnknownLayerError,
    decoded_responses,
    evaluation,
    measure,
    reconstruction_error,
    response_matrix,
    top_images,
)


@pytest.fixture
def pooled():
    """Two filters of opposite sign on a pool of pairs."""
    return Network([MaxPool((1, 2)), Conv([[[[1]]], [[[-1]]]])])


def integers(seed, *shape):
    return np.random.default_rng(seed).integers(-4, 5, shape).astype(float)


# Equation 3


def test_the_error_by_hand(pooled):
    # The pool gives 1, 2; the decoded filters, which add, 2, 2.
    # By the network, 1 2 -1 -2 of range 4: 3/4 1 1/4 0. By filters, 2 2 -2 -2: 1 1 0 0.
    error = reconstruction_error(pooled, [[[[1, 1, 0, 2]]]], 2)
    assert error.per_image.tolist() == [2 * (1 / 4) ** 2 / 4]
    assert (error.mean, error.std) == (1 / 32, 0)


def test_the_error_without_normalization_by_hand(pooled):
    error = reconstruction_error(pooled, [[[[1, 1, 0, 2]]]], 2, contrast=None)
    assert error.per_image.tolist() == [((2 - 1) ** 2 + (-2 + 1) ** 2) / 4]


def test_mean_and_deviation_are_over_images(pooled):
    images = [[[[1, 1, 0, 2]]], [[[0, 1, 0, 2]]], [[[0, 1, 2, 0]]]]
    error = reconstruction_error(pooled, images, 2)
    assert error.per_image.tolist() == [1 / 32, 0, 0]
    assert error.mean == np.mean([1 / 32, 0, 0])
    assert error.std == np.std([1 / 32, 0, 0])


def test_the_correlation_by_hand():
    # Responses 1 2 and, by filters put in place of the decoded ones, 2 1.
    net = Network([Conv([[[[1]]], [[[2]]]])])
    error = reconstruction_error(net, [[[[1]]]], 1, filters=[[[[2]]], [[[1]]]])
    assert error.correlation == -1
    assert error.mean == 1


def test_parts_add_up_to_the_whole(pooled):
    images = integers(1, 11, 1, 1, 6)
    whole = reconstruction_error(pooled, images, 2)
    parts = [reconstruction_error(pooled, part, 2) for part in (images[:3], images[3:4], images[4:])]
    assert ((parts[0] + parts[1] + parts[2]).per_image == whole.per_image).all()
    assert ((parts[0] + parts[1] + parts[2]).correlations == whole.correlations).all()
    assert (sum(parts).per_image == whole.per_image).all()
    for other in (1, "a", None):
        with pytest.raises(TypeError):
            parts[0] + other
        with pytest.raises(TypeError):
            other + parts[0]


@pytest.mark.parametrize("batch_size", [1, 4, 100])
def test_batches_change_nothing(pooled, batch_size):
    images = integers(2, 11, 1, 1, 6)
    whole = reconstruction_error(pooled, images, 2)
    assert (reconstruction_error(pooled, images, 2, batch_size=batch_size).per_image == whole.per_image).all()
    batches = (images[i : i + 3] for i in range(0, 11, 3))
    assert (reconstruction_error(pooled, batches, 2, batch_size=batch_size).per_image == whole.per_image).all()
    assert (reconstruction_error(pooled, list(np.split(images, [5])), 2).per_image == whole.per_image).all()
    assert (reconstruction_error(pooled, images.tolist(), 2).per_image == whole.per_image).all()


def test_one_batch_of_an_iterable_is_taken_at_a_time(pooled):
    taken = []

    def batches():
        for i in range(3):
            taken.append(i)
            yield integers(i, 2, 1, 1, 6)

    seen = []
    reconstruction_error(pooled, batches(), 2, progress=lambda done, total: seen.append((done, total, len(taken))))
    assert seen == [(2, None, 1), (4, None, 2), (6, None, 3)]


def test_progress_counts_images(pooled):
    seen = []
    reconstruction_error(
        pooled, integers(0, 5, 1, 1, 6), 2, batch_size=2, progress=lambda done, total: seen.append((done, total))
    )
    assert seen == [(2, 5), (4, 5), (5, 5)]


def test_several_meters_share_one_forward_pass():
    calls = []

    class Counting:
        def __getattr__(self, name):
            calls.append(name)
            return getattr(decoding.reference, name)

    net = Network([Conv(integers(0, 3, 1, 2, 3)), MaxPool(2), Conv(integers(1, 2, 3, 2, 1))])
    images = integers(2, 4, 1, 7, 8)
    meters = [ReconstructionMeter(net, layer, unpool=unpool) for layer in (1, 3) for unpool in ("nearest", "bilinear")]
    measure(net, images, meters, backend=Counting())
    assert calls.count("max_pool") == 1
    for meter in meters[::2]:
        alone = reconstruction_error(net, images, meter.layer)
        assert (meter.result().per_image == alone.per_image).all()


def test_the_backend_is_used_for_all_of_it(pooled):
    class Half:
        """Wrong on purpose."""

        def __getattr__(self, name):
            operator = getattr(decoding.reference, name)
            return lambda *args, **kw: operator(*args, **kw) * (0.5 if name == "max_pool" else 1)

    images = [[[[0, 1, 0, 2]]]]
    assert reconstruction_error(pooled, images, 2, contrast=None).mean == 0
    assert reconstruction_error(pooled, images, 2, contrast=None, backend=Half()).mean > 0


def test_a_bias_is_added_to_the_responses_of_its_filter():
    net = Network([Conv([[[[1, 2]]], [[[3, 4]]]], [5, -7])])
    images = integers(0, 2, 1, 3, 4)
    assert (decoded_responses(net, images, 1, bias=[5, -7]) == net.forward(images)).all()
    assert reconstruction_error(net, images, 1, bias=[5, -7]).per_image.tolist() == [0, 0]
    assert reconstruction_error(net, images, 1).mean > 0


# The decoded responses lie on the unit's own grid


def linear_net(seed, pads, strides):
    """Two convolutions of unequal sides; the first may pad."""
    return Network(
        [
            Conv(integers(seed, 3, 2, 2, 3), stride=strides[0], pad=pads),
            Conv(integers(seed + 1, 2, 3, 3, 2), stride=strides[1]),
        ]
    )


@given(st.lists(st.tuples(*[st.integers(1, 3)] * 4, *[st.integers(0, 2)] * 4), min_size=1, max_size=4))
def test_as_many_windows_fit_in_the_padded_image_as_there_are_units(layers):
    """So that nothing is cut off the decoded responses: of any layers that pad and stride."""
    shape = (1, 83, 89)  # a receptive field has at most 81
    net = Network([Conv(np.ones((1, 1, h, w)), stride=(s, t), pad=pad) for h, w, s, t, *pad in layers])
    for layer in range(len(net.layers) + 1):
        (top, bottom, left, right), size = net.grid(layer, shape)
        field = net.receptive_field(layer)
        room = [shape[1] + top + bottom - field.size[0], shape[2] + left + right - field.size[1]]
        assert size == (room[0] // field.stride[0] + 1, room[1] // field.stride[1] + 1)


PADS = st.tuples(*[st.integers(0, 2)] * 4)
STRIDES = st.tuples(*[st.tuples(st.integers(1, 3), st.integers(1, 2))] * 2)


def reproduces(net, images, layer):
    return np.array_equal(decoded_responses(net, images, layer), net.forward(images, layer))


@given(st.integers(0, 99), PADS, STRIDES)
def test_of_a_linear_network_decoded_filters_give_the_responses_exactly(seed, pads, strides):
    net, images = linear_net(seed, pads, strides), integers(seed + 2, 2, 2, 11, 9)
    assert reproduces(net, images, 1)
    assert reproduces(net, images, 2)
    assert reconstruction_error(net, images, 2, contrast=None).per_image.tolist() == [0, 0]


@pytest.mark.parametrize("mutant", ["no pad", "pad on the other side", "one pixel late"])
def test_the_law_kills_wrong_grids(monkeypatch, mutant):
    net, images = linear_net(5, (1, 0, 2, 1), ((2, 1), (1, 2))), integers(7, 2, 2, 11, 9)
    assert reproduces(net, images, 2)
    true = Network.grid

    def wrong(net, layer, shape):
        (top, bottom, left, right), size = true(net, layer, shape)
        if mutant == "no pad":
            return (0, top + bottom, 0, left + right), size
        if mutant == "pad on the other side":
            return (bottom, top, right, left), size
        return (top + 1, bottom, left, right), size

    monkeypatch.setattr(Network, "grid", wrong)
    assert not reproduces(net, images, 2)


def test_where_a_hidden_layer_pads_units_inside_the_image_agree():
    net = Network([Conv(integers(0, 3, 2, 2, 3)), Conv(integers(1, 2, 3, 3, 3), pad=1)])
    images = integers(2, 2, 2, 9, 11)
    got, want = decoded_responses(net, images, 2), net.forward(images)
    assert got.shape == want.shape
    assert (got[:, :, 1:-1, 1:-1] == want[:, :, 1:-1, 1:-1]).all()
    assert (got != want).any()


def test_with_average_pools_the_normalized_error_is_zero():
    """Decoded responses are four times those of the network, exactly, and the range takes the factor out."""
    net = Network([Conv(integers(0, 3, 1, 2, 3)), AvgPool(2), Conv(integers(1, 2, 3, 2, 3))])
    images = integers(3, 4, 1, 9, 12)
    assert (decoded_responses(net, images, 3) == 4 * net.forward(images)).all()
    assert reconstruction_error(net, images, 3).per_image.tolist() == [0, 0, 0, 0]


def test_biases_do_not_enter_and_layer_0_is_the_image():
    images = integers(0, 2, 1, 3, 4)
    assert (decoded_responses(Network([Conv([[[[2]]]], [5])]), images, 1) == 2 * images).all()
    assert (decoded_responses(Network([Conv([[[[2]]]], [5])]), images, 0) == images).all()


def test_large_windows_are_taken_in_parts(monkeypatch):
    net, images = linear_net(5, (1, 0, 2, 1), ((2, 1), (1, 2))), integers(7, 5, 2, 11, 9)
    sizes = []

    class Counting:
        def __getattr__(self, name):
            return getattr(decoding.reference, name)

        def correlate(self, x, *args, **kw):
            sizes.append(len(x))
            return decoding.reference.correlate(x, *args, **kw)

    windows = 8 * np.prod(net.shapes((2, 11, 9))[2][1:]) * np.prod(decoding.decode_layer(net, 2).shape[1:])
    monkeypatch.setattr(evaluation, "WINDOW_BYTES", int(2 * windows))
    assert (decoded_responses(net, images, 2, backend=Counting()) == net.forward(images, 2)).all()
    assert sizes == [2, 2, 1]
    monkeypatch.setattr(evaluation, "WINDOW_BYTES", 1)
    assert (decoded_responses(net, images, 2) == net.forward(images, 2)).all()


def test_no_images_have_no_decoded_responses():
    assert decoded_responses(linear_net(0, 0, (1, 1)), np.zeros((0, 2, 11, 9)), 2).shape == (0, 2, 8, 6)


# Each interpolation is another answer

MODES = ("nearest", "bilinear", "bicubic")


@pytest.fixture
def by_mode():
    """A small pooled network, images, and {interpolation: the decoded responses of its layer 3}."""
    net = Network([Conv(integers(0, 3, 2, 2, 3)), MaxPool(2), Conv(integers(1, 4, 3, 2, 3))])
    images = integers(2, 6, 2, 9, 12)
    banks = {mode: decoding.decode_layer(net, 3, unpool=mode) for mode in MODES}
    responses = {mode: decoded_responses(net, images, 3, filters=banks[mode]) for mode in MODES}
    assert all((responses[a] != responses[b]).any() for a, b in itertools.combinations(MODES, 2))
    return net, images, banks, responses


def test_decoded_responses_are_by_the_interpolation_asked_for(by_mode):
    net, images, _, responses = by_mode
    for mode in MODES:
        assert (decoded_responses(net, images, 3, unpool=mode) == responses[mode]).all()


def test_the_error_is_by_the_interpolation_asked_for(by_mode):
    net, images, banks, _ = by_mode
    found = {mode: reconstruction_error(net, images, 3, unpool=mode).per_image for mode in MODES}
    assert all((found[a] != found[b]).all() for a, b in itertools.combinations(MODES, 2))
    for mode in MODES:
        assert (found[mode] == reconstruction_error(net, images, 3, filters=banks[mode]).per_image).all()


def test_top_images_are_by_the_interpolation_asked_for(by_mode):
    net, images, _, responses = by_mode
    for mode in MODES:
        found = top_images(net, images, 3, None, n=6, via="decoded", unpool=mode)
        assert (found.responses == -np.sort(-responses[mode].max(axis=(2, 3)), axis=0).T).all()


def test_the_response_matrix_is_by_the_interpolation_asked_for(by_mode):
    net, images, _, responses = by_mode
    for mode in MODES:
        scores = responses[mode].max(axis=(2, 3))
        found = response_matrix(net, images, 3, unpool=mode)
        assert (found.matrix == scores[scores.argmax(axis=0)].T).all()


# Top images


def plain_top(scores, n):
    return sorted(range(len(scores)), key=lambda i: (-scores[i], i))[:n]


@pytest.mark.parametrize("batch_size", [1, 3, 50])
@pytest.mark.parametrize("via", ["network", "decoded"])
def test_top_images_of_all_units_are_the_sorted_ones(via, batch_size):
    net = Network([Conv(integers(0, 5, 1, 2, 2)), MaxPool(2), Conv(integers(1, 4, 5, 1, 2))])
    images = np.random.default_rng(3).integers(0, 2, (40, 1, 5, 7))  # few values: many ties
    responses = net.forward(images, 3) if via == "network" else decoded_responses(net, images, 3)
    scores = responses.max(axis=(2, 3))
    assert any(len(set(scores[:, k])) < len(scores) for k in range(4))
    found = top_images(net, images, 3, None, n=6, via=via, batch_size=batch_size)
    for k in range(4):
        assert found.indices[k].tolist() == plain_top(scores[:, k].tolist(), 6)
        assert (found.responses[k] == scores[found.indices[k], k]).all()
        one = top_images(net, images, 3, k, n=6, via=via, batch_size=batch_size)
        assert one.indices.tolist() == found.indices[k].tolist()


def test_on_a_tie_the_earlier_image_is_first_across_batches():
    net = Network([Conv([[[[1]]]])])
    found = top_images(net, [[[[v]]] for v in (3, 5, 3, 5, 5)], 1, 0, n=4, batch_size=2)
    assert found.indices.tolist() == [1, 3, 4, 0]


def test_fewer_images_than_asked_for():
    found = top_images(Network([Conv([[[[1]]]])]), [[[[-7]]], [[[-2]]]], 1, 0, n=4)
    assert (found.indices.tolist(), found.responses.tolist()) == ([1, 0], [-2, -7])


# Figure 1


def test_the_response_matrix_by_hand():
    net = Network([Conv([[[[1, 0]]], [[[0, 1]]], [[[2, 2]]]])])
    images = [[[[5, 1]]], [[[1, 4]]], [[[3, 3]]]]
    found = response_matrix(net, images, 1, labels=[0, 1, 2])
    assert found.images.tolist() == [0, 1, 0]  # 2·5 + 2·1 == 2·3 + 2·3: the earlier
    assert found.matrix.tolist() == [[5, 1, 5], [1, 4, 1], [12, 10, 12]]
    assert found.rows.tolist() == [True, True, True]
    assert found.columns.tolist() == [False, False, True]
    assert found.labels.tolist() == [0, 1, 0]
    assert found.accuracy == 1 / 3


def test_the_response_matrix_takes_maxima_over_places():
    # f0 finds 5, 1 and 0, 1; f1 finds 7, -17 and 2, 9.
    net = Network([Conv([[[[1, 0]]], [[[1, 2]]]])])
    found = response_matrix(net, [[[[5, 1, -9]]], [[[0, 1, 4]]]], 1)
    assert found.images.tolist() == [0, 1]
    assert found.matrix.tolist() == [[5, 1], [7, 9]]
    assert found.rows.tolist() == [True, True]
    assert found.columns.tolist() == [False, True]
    assert (found.labels, found.accuracy) == (None, None)


def test_without_labels_there_is_no_accuracy():
    found = response_matrix(Network([Conv([[[[1]]]])]), [[[[5]]]], 1)
    assert found.labels is None
    assert found.accuracy is None


# LeNet


@pytest.fixture(scope="module")
def digits(lenet):
    images, labels = decoding.mnist()
    return lenet.normalize(images), labels


LAYERS = (3, 5, 7)
PAPER = {  # table 1
    "bicubic": {3: (0.002, 0.001), 5: (0.012, 0.005), 7: (0.078, 0.056)},
    "nearest": {3: (0.0022, 0.001), 5: (0.012, 0.005), 7: (0.077, 0.055)},
    "bilinear": {3: (0.003, 0.001), 5: (0.013, 0.0055), 7: (0.081, 0.057)},
}


@pytest.fixture(scope="module")
def errors(lenet, digits):
    meters = {(layer, mode): ReconstructionMeter(lenet, layer, unpool=mode) for layer in LAYERS for mode in MODES}
    for layer in LAYERS:
        for name, filters in {
            "random": decoding.baselines.random_filters(lenet, layer),
            "turned": decoding.decode_layer(decoding.baselines.turned(lenet), layer),
            "turned below": decoding.decode_layer(decoding.baselines.turned(lenet, below=layer), layer),
            "zeros": decoding.decode_layer(decoding.baselines.zero_insertion(lenet), layer),
        }.items():
            meters[layer, name] = ReconstructionMeter(lenet, layer, filters=filters)
    measure(lenet, digits[0][::20], list(meters.values()))
    return {key: meter.result() for key, meter in meters.items()}


@pytest.mark.parametrize("mode", MODES)
def test_table_1_lies_within_the_papers_own_deviation(errors, mode):
    for layer, (mean, deviation) in PAPER[mode].items():
        assert abs(errors[layer, mode].mean - mean) <= deviation


@pytest.mark.slow
def test_table_1_on_mnists_own_files(lenet, real_data):
    """Every tenth of all 70,000 digits: of those the network was trained on as well."""
    images = lenet.normalize(decoding.mnist(real_data / "mnist", "all")[0][::10])
    meters = {
        (mode, layer): ReconstructionMeter(lenet, layer, unpool=mode, backend=decoding.fast)
        for mode in MODES
        for layer in LAYERS
    }
    assert measure(lenet, images, list(meters.values()), backend=decoding.fast) == 7000
    for (mode, layer), meter in meters.items():
        mean, deviation = PAPER[mode][layer]
        assert abs(meter.result().mean - mean) <= deviation


@pytest.mark.parametrize("mode", MODES)
def test_errors_grow_with_depth(errors, mode):
    assert errors[3, mode].mean < errors[5, mode].mean < errors[7, mode].mean
    assert errors[3, mode].correlation > errors[5, mode].correlation > errors[7, mode].correlation


@pytest.mark.parametrize("reference", ["random", "turned", "turned below", "zeros"])
@pytest.mark.parametrize("layer", LAYERS)
def test_every_reference_is_worse_than_substitution(errors, layer, reference):
    assert errors[layer, reference].mean > 1.5 * max(errors[layer, mode].mean for mode in MODES)


def test_on_layer_1_only_biases_differ(lenet, digits):
    assert reconstruction_error(lenet, digits[0][:5], 1).correlation > 0.99


@pytest.mark.slow
def test_the_floor_is_better_than_substitution(lenet, digits, errors):
    """Least squares, fitted on other digits: less error and more correlation on every layer."""
    fits = {layer: decoding.baselines.LeastSquaresMeter(lenet, layer) for layer in LAYERS}
    measure(lenet, digits[0][1::4], list(fits.values()))
    meters = {}
    for layer, fit in fits.items():
        filters, bias = fit.result()
        meters[layer] = ReconstructionMeter(lenet, layer, filters=filters, bias=bias)
    measure(lenet, digits[0][::20], list(meters.values()))
    for layer, meter in meters.items():
        assert meter.result().correlation > max(errors[layer, mode].correlation for mode in MODES)
        assert meter.result().mean < min(errors[layer, mode].mean for mode in MODES)


def test_ten_decoded_filters_are_classifiers(lenet, digits):
    found = response_matrix(lenet, digits[0][:2000], 7, labels=digits[1][:2000])
    assert found.accuracy > 0.5
    assert found.rows.all()
    assert found.columns.sum() >= 7


# Errors

NET = Network([Conv([[[[1, 2]]], [[[3, 4]]]])])
ONE = Network([Conv([[[[1, 2]]]])])
IMAGES = np.arange(8.0).reshape(2, 1, 1, 4)
BAD = IMAGES.copy()
BAD[1, 0, 0, 2] = np.nan
REFUSED = {
    "no images": (lambda: reconstruction_error(NET, IMAGES[:0], 1), InvalidValueError, "there are no images"),
    "no batches": (lambda: reconstruction_error(NET, iter([]), 1), InvalidValueError, "there are no images"),
    "no images for top": (lambda: top_images(NET, IMAGES[:0], 1, 0), InvalidValueError, "there are no images"),
    "no images for figure 1": (lambda: response_matrix(NET, [], 1), InvalidValueError, "there are no images"),
    "nothing": (lambda: reconstruction_error(NET, None, 1), InvalidValueError, "images must be an array .* not None"),
    "a number": (lambda: top_images(NET, 3, 1, 0), InvalidValueError, "images must be an array .* not 3"),
    "an array of no axes": (lambda: top_images(NET, np.array(3.0), 1, 0), ShapeError, r"four axes .* \(\)"),
    "ragged": (lambda: reconstruction_error(NET, [[1, 2], [3]], 1), ShapeError, "images is ragged"),
    "ragged inside": (lambda: response_matrix(NET, [[[[1, 2], [3]]]], 1), ShapeError, "images is ragged"),
    "images of nothing": (lambda: reconstruction_error(NET, [None], 1), InvalidValueError, "images must hold real"),
    "labels of words": (lambda: response_matrix(NET, IMAGES, 1, labels=["a", "b"]), InvalidValueError, "real numbers"),
    "labels of halves": (lambda: response_matrix(NET, IMAGES, 1, labels=[0.5, 1]), InvalidValueError, "from 0 to 1"),
    "labels above": (lambda: response_matrix(NET, IMAGES, 1, labels=[0, 2]), InvalidValueError, "from 0 to 1"),
    "labels below": (lambda: response_matrix(NET, IMAGES, 1, labels=[-1, 0]), InvalidValueError, "from 0 to 1"),
    "labels for batches": (
        lambda: response_matrix(NET, iter([IMAGES]), 1, labels=[1]),
        ShapeError,
        r"labels \(1,\) for 2 images",
    ),
    "labels first": (lambda: response_matrix(NET, BAD, 1, labels=[1]), ShapeError, r"labels \(1,\) for 2 images"),
    "axes of filters": (
        lambda: decoded_responses(NET, IMAGES, 1, filters=np.ones((1, 1, 2))),
        ShapeError,
        "decoded_responses: filters must have the four axes",
    ),
    "bias": (
        lambda: decoded_responses(NET, IMAGES, 1, bias=[1]),
        ShapeError,
        r"decoded_responses: bias \(1,\) for 2 filters",
    ),
    "bias of NaN": (
        lambda: reconstruction_error(NET, IMAGES, 1, bias=[1, np.nan]),
        InvalidValueError,
        "reconstruction_error: bias",
    ),
    "no meters": (lambda: measure(NET, IMAGES, []), InvalidValueError, "no meters"),
    "nothing yet": (lambda: ReconstructionMeter(NET, 1).result(), InvalidValueError, "no images yet"),
    "labels": (lambda: response_matrix(NET, IMAGES, 1, labels=[1]), ShapeError, r"labels \(1,\) for 2 images"),
    "one unit at one place": (
        lambda: reconstruction_error(ONE, IMAGES[..., :2], 1),
        InvalidValueError,
        "network's responses of layer 1 to image 0 are all equal .*contrast=None",
    ),
    "constant": (
        lambda: reconstruction_error(NET, [*IMAGES, np.zeros((1, 1, 4))], 1, batch_size=1),
        InvalidValueError,
        "to image 2 are all equal",
    ),
    "constant by filters": (
        lambda: reconstruction_error(NET, IMAGES, 1, filters=np.zeros((2, 1, 1, 2))),
        InvalidValueError,
        "decoded filters' responses of layer 1 to image 0",
    ),
    "NaN": (
        lambda: reconstruction_error(NET, BAD, 1, batch_size=1),
        InvalidValueError,
        r"images from 1: 1 of 4 values are not finite; the first, nan, is at \(0, 0, 0, 2\)",
    ),
    "NaN for filters": (lambda: decoded_responses(NET, BAD, 1), InvalidValueError, "not finite"),
    "overflow": (
        lambda: measure(Network([Conv([[[[1e200]]]])] * 2), [[[[1e200]]]], [TopImagesMeter(ONE, 1)]),
        InvalidValueError,
        "responses of layer 1",
    ),
    "normalize": (lambda: reconstruction_error(NET, IMAGES, 1, contrast="map"), InvalidValueError, "'image' or None"),
    "filters": (
        lambda: reconstruction_error(NET, IMAGES, 1, filters=np.ones((2, 1, 1, 3))),
        ShapeError,
        r"the shape \(2, 1, 1, 3\); those of layer 1 must have \(2, 1, 1, 2\)",
    ),
    "channels": (lambda: reconstruction_error(NET, np.ones((2, 3, 1, 4)), 1), ShapeError, "3 channels"),
    "via": (lambda: top_images(NET, IMAGES, 1, 0, via="filter"), InvalidValueError, "'network' or 'decoded'"),
    "n": (lambda: top_images(NET, IMAGES, 1, 0, n=0), InvalidValueError, "n must be"),
    "k": (lambda: top_images(NET, IMAGES, 1, 2), UnknownLayerError, "no unit 2"),
    "layer": (lambda: reconstruction_error(NET, IMAGES, 9), UnknownLayerError, "no layer 9"),
}


@pytest.mark.filterwarnings("ignore:overflow")
@pytest.mark.parametrize("case", REFUSED)
def test_refused(case):
    call, error, message = REFUSED[case]
    with pytest.raises(error, match=message):
        call()


def test_a_layer_of_one_unit_has_an_error_without_normalization():
    error = reconstruction_error(ONE, IMAGES[..., :2], 1, contrast=None)
    assert error.per_image.tolist() == [0, 0]
    assert np.isnan(error.correlations).all()


def test_a_layer_of_one_unit_at_several_places_has_a_range():
    assert reconstruction_error(ONE, IMAGES, 1).per_image.tolist() == [0, 0]
