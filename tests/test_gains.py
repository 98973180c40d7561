"""Gains: cases worked by hand, laws on random networks, mutants that the tests must find, and errors."""

import inspect
import math
import sys
import types

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import decoding
from decoding import (
    LRN,
    AvgPool,
    BatchNorm,
    Concat,
    Conv,
    Dropout,
    GainMeter,
    Gate,
    InvalidValueError,
    MaxPool,
    Network,
    ReLU,
    Select,
    ShapeError,
    Sigmoid,
    Softmax,
    Sum,
    UnsupportedLayerError,
    decode_layer,
    decoded_responses,
    decoder,
    gains,
    linearize,
    measure,
    network,
    reconstruction_error,
    walks,
)
from decoding.gains import Moments, expected, moments
from decoding.layers import (
    ELU,
    GELU,
    SELU,
    Clip,
    GroupNorm,
    HardSigmoid,
    HardSwish,
    Layer,
    LayerNorm,
    Mish,
    Pad,
    Power,
    PReLU,
    Quantize,
    Scale,
    SiLU,
    Softplus,
    Softsign,
    Tanh,
)
from decoding.testing import networks

EPS = np.finfo(float).eps


class Square(Layer):
    """z²: of Gaussian z everything is known."""

    def function(self, z):
        return z * z

    def forward(self, *xs, backend):
        return xs[0] ** 2


class Cube(Layer):
    def function(self, z):
        return z**3


def integers(seed, *shape, low=-4, high=5):
    return np.random.default_rng(seed).integers(low, high, shape).astype(float)


def norm(seed, k, *, epsilon=0.0):
    random = np.random.default_rng(seed)
    return BatchNorm(
        random.uniform(-2, 2, k),
        random.uniform(-2, 2, k),
        mean=random.uniform(-2, 2, k),
        std=random.uniform(1, 2, k),
        epsilon=epsilon,
    )


def residual(seed, *, bias=True, size=3):
    """A block with a shortcut of stride 2 and new channels, a rectifier read twice, and a pool beside a convolution."""
    random = np.random.default_rng(seed)

    def conv(k, c, n=3, **options):
        return Conv(random.standard_normal((k, c, n, n)), random.standard_normal(k) if bias else None, **options)

    return Network(
        [
            conv(4, 2, pad=1, name="stem"),
            ReLU(name="first"),
            conv(6, 4, stride=2, pad=1),
            Select([-1, 0, 1, 2, 3, -1], stride=2),
            Sum(name="sum"),
            ReLU(leak=0.25, name="second"),
            conv(6, 6, pad=1),
            MaxPool(3, 1, pad=1),
            Sum(),
            Sigmoid(name="third"),
        ],
        inputs=[0, 1, 2, 2, (3, 4), 5, 6, 6, (7, 8, 6), 9],
    )


# What a function makes of Gaussian responses


def test_a_rectifier_has_phi_of_mean_over_deviation():
    found = expected(ReLU(), [0, 2, -2], [1, 4, 4])
    phi = [0.5, 0.5 * math.erfc(-0.5 / math.sqrt(2)), 0.5 * math.erfc(0.5 / math.sqrt(2))]
    density = [math.exp(-(t**2) / 2) / math.sqrt(2 * math.pi) for t in (0, 0.5, -0.5)]
    assert np.abs(found.gain - phi).max() <= 4 * EPS
    assert np.abs(found.curvature - np.divide(density, [1, 4, 4])).max() <= 4 * EPS
    assert (
        np.abs(found.mean - [density[0], 2 * phi[1] + 4 * density[1], -2 * phi[2] + 4 * density[2]]).max() <= 32 * EPS
    )
    second = [0.5, (4 + 16) * phi[1] + 2 * 4 * density[1], (4 + 16) * phi[2] - 2 * 4 * density[2]]
    assert np.abs(found.std**2 - (second - found.mean**2)).max() <= 128 * EPS


def test_a_leak_adds_its_share():
    plain, leaky = (expected(ReLU(leak=leak), [0.5], [2]) for leak in (0, 0.25))
    assert abs(leaky.gain[0] - (0.25 + 0.75 * plain.gain[0])) <= 4 * EPS
    assert abs(leaky.curvature[0] - 0.75 * plain.curvature[0]) <= 4 * EPS
    assert abs(leaky.mean[0] - (0.25 * 0.5 + 0.75 * plain.mean[0])) <= 4 * EPS
    assert (expected(ReLU(leak=1), [3, -3], [2, 2]).gain == 1).all()


def test_polynomials_are_integrated_exactly():
    mean, std = np.array([0.0, 1.5, -2.0]), np.array([1.0, 0.5, 3.0])
    square, cube = expected(Square(), mean, std), expected(Cube(), mean, std)
    for got, want in (
        (square.mean, mean**2 + std**2),
        (square.gain, 2 * mean),
        (square.curvature, np.full(3, 2)),
        (square.std, np.sqrt(4 * mean**2 * std**2 + 2 * std**4)),
        (cube.mean, mean**3 + 3 * mean * std**2),
        (cube.gain, 3 * (mean**2 + std**2)),
        (cube.curvature, 6 * mean),
    ):
        assert np.abs(got - want).max() <= 2**12 * EPS  # 64 nodes, values below 30³


FUNCTIONS = [
    ReLU(), ReLU(leak=-0.5), ReLU(leak=0.25), Clip(0, 1), Clip(-1, 2), Clip(-np.inf, 0.5), Clip(-1, np.inf), HardSigmoid(),
    HardSigmoid(alpha=-0.5, beta=0.25), PReLU([0.5]), Tanh(), SiLU(), GELU(), GELU(approximate="tanh"), HardSwish(), ELU(),
    SELU(), Softplus(), Mish(), Softsign(), Sigmoid(), Power(2), Quantize(2.0**-8, zero=3, low=-(2**15), high=2**15),
]  # fmt: skip


@pytest.mark.parametrize("layer", FUNCTIONS, ids=repr)
def test_expectations_agree_with_sums_over_many_normal_numbers(layer):
    # The midpoints of a fine grid: of pieces the error is h² times the second derivative, and h at a kink.
    h = 2.0**-12
    u = np.arange(-9 + h / 2, 9, h)
    weight = np.exp(-u * u / 2) * h / math.sqrt(2 * math.pi)
    loose = h if hasattr(layer, "pieces") else 2.0**-6  # what 64 nodes make of a kink, at most
    for mean, std in ((0.3, 2.0), (-1.5, 1.0)):
        f = layer.function((mean + std * u)[:, np.newaxis, np.newaxis, np.newaxis]).ravel()
        found = expected(layer, [mean], [std])
        assert abs(found.mean[0] - weight @ f) <= loose
        assert abs(found.std[0] ** 2 + found.mean[0] ** 2 - weight @ f**2) <= 8 * loose
        assert abs(found.gain[0] - weight @ (f * u) / std) <= 2 * loose
        assert abs(found.curvature[0] - weight @ (f * (u * u - 1)) / std**2) <= 4 * loose


def test_every_function_of_the_package_is_among_them():
    kinds = {kind for kind in vars(decoding.layers).values() if isinstance(kind, type) and hasattr(kind, "function")}
    missing = kinds - {type(layer) for layer in FUNCTIONS}
    assert missing == {decoding.layers.Elementwise, decoding.layers.Exp}  # exp has no bound


def test_a_channel_without_deviation_carries_nothing():
    for layer in (ReLU(leak=0.5), Square()):
        found = expected(layer, [3, -2], [0, 0])
        assert found.gain.tolist() == found.curvature.tolist() == found.std.tolist() == [0, 0]
        assert found.mean.tolist() == np.ravel(layer.function(np.array([3.0, -2]))).tolist()


# Moments without an image


def test_after_a_batch_norm_the_moments_are_its_bias_and_the_spread_of_its_scale():
    layer = BatchNorm([2, -3], [5, 7], mean=[11, 13], std=[2, 4], epsilon=3)
    found = moments(Network([layer]))[1]
    assert found.mean.tolist() == [5, 7]  # neither the running mean nor what is left of it
    assert found.std.tolist() == [2 * math.sqrt(1) / 2, 3 * math.sqrt(13) / 4]


def test_variances_add_up_and_not_deviations_and_a_layer_read_twice_is_one():
    layers = [BatchNorm([3], [1], mean=[0], std=[1]), BatchNorm([4], [2], mean=[0], std=[1]), Sum(), Sum()]
    net = Network(layers, inputs=[0, 0, (1, 2), (1, 1, 2)])
    assert moments(net)[3] == ([3], [5])
    assert moments(net)[4] == ([4], [math.sqrt(36 + 16)])


def test_moments_go_where_channels_go():
    net = Network([norm(0, 2), Select([1, 0, 1]), Concat(), Select([4, -1, 0]), Dropout()], inputs=[0, 1, (1, 2), 3, 4])
    found = moments(net)
    mean, std = found[1]
    assert found[3].mean.tolist() == [*mean, mean[1], mean[0], mean[1]]
    assert found[4].mean.tolist() == [mean[1], 0, mean[0]]
    assert found[4].std.tolist() == [std[1], 0, std[0]]
    assert found[5] is found[4]
    scaled = moments(Network([norm(0, 2), Scale([2, -3], [1, 0]), Pad((1, 0, 0, 1))]))
    assert scaled[3].mean.tolist() == [2 * mean[0] + 1, -3 * mean[1]]
    assert scaled[3].std.tolist() == [2 * std[0], 3 * std[1]]


def test_pools_take_neighbours_to_correlate():
    net = Network([BatchNorm([2], [5], mean=[0], std=[1]), AvgPool(2), MaxPool(1, 2)], inputs=[0, 1, 1])
    found = moments(net)
    assert found[2].mean.tolist() == [5]
    assert abs(found[2].std[0] - 2 * math.sqrt(0.75 + 0.25 / 4)) <= 4 * EPS
    assert abs(found[3].mean[0] - 5) <= 1e-12  # a window of one cell: nothing to choose from
    # Two: the expected maximum of two normal numbers is 1/√π.
    two = moments(Network([BatchNorm([2], [5], mean=[0], std=[1]), MaxPool((1, 2))]))[2]
    assert abs(two.mean[0] - (5 + 2 * 0.5 / math.sqrt(math.pi))) <= 1e-12


def test_after_a_convolution_nothing_is_known_until_the_next_batch_norm():
    net = Network([norm(0, 1), Conv(np.ones((2, 1, 1, 1))), ReLU(), norm(1, 2), ReLU(), Softmax()])
    found = moments(net)
    assert [n for n in found if found[n] is None] == [0, 2, 3, 6]
    assert isinstance(found[5], Moments)


# Gains without an image


def test_linearize_gives_every_rectifier_phi_and_leaves_the_rest():
    net = Network([Conv(integers(0, 3, 1, 2, 2)), norm(1, 3), ReLU(), MaxPool(2), AvgPool((3, 2), 1), Softmax()])
    free = linearize(net)
    assert (free.layer(3).gain == expected(ReLU(), *moments(net)[2]).gain).all()
    assert free.layer(4).gain == 1 / 4
    assert free.layer(5).gain == 1  # neighbours share every cell
    assert [free.layers[i] for i in (0, 1, 5)] == [net.layers[i] for i in (0, 1, 5)]
    images = integers(2, 2, 1, 9, 9)
    by_hand = images
    for layer in net.layers:
        by_hand = layer.forward(by_hand, backend=decoding.reference)
    assert (free.forward(images) == by_hand).all()
    assert "gain" in free.describe().splitlines()[0]


class Times(Layer):
    """A linear layer of one's own, which takes a gain as well."""

    def __init__(self, factor, **options):
        super().__init__(**options)
        self.factor_ = factor

    def fields(self):
        return {"factor": self.factor_, "gain": self.gain, "name": self.name}

    def forward(self, x, *, backend):
        return self.factor_ * x

    def decode(self, maps, widths, unpool, backend):
        return (self.factor_ * maps,)


class Energy(Layer):
    """A response times the image's mean square: a gate without a method that says so."""

    needs_gain = True

    def forward(self, x, *, backend):
        return x * np.square(x).mean(axis=(1, 2, 3), keepdims=True)


def test_linearize_forgets_the_gains_that_it_replaces_and_no_others():
    others = [Dropout(gain=5), Times(10, gain=2.0), Softmax(gain=[1, 2, 3]), Energy(gain=0.25)]
    net = Network(
        [norm(0, 3), ReLU(), *others[:2], ReLU(gain=7, curvature=2), *others[2:]], inputs=[0, 1, 2, 3, 2, 5, 5]
    )
    images = np.random.default_rng(0).standard_normal((4, 3, 2, 2))
    for data in ((), (images,)):
        linear = linearize(net, *data)
        assert linear == linearize(linear, *data)
        assert [linear.layers[i] for i in (2, 3, 5, 6)] == others
        assert linear.layer(5).curvature is None
        assert linear.layer(5).gain.shape == (3,)
    assert decode_layer(linearize(net), 4).shape == (3, 3, 1, 1)


def test_gains_of_one_change_nothing_to_the_bit():
    net = residual(0)
    ones = net.replace(layers=[layer.replace(gain=1) if "gain" in layer.fields() else layer for layer in net.layers])
    for unpool in ("nearest", "bicubic", "sum"):
        assert (decode_layer(ones, 10, unpool=unpool) == decode_layer(net, 10, unpool=unpool)).all()


def test_the_forward_pass_is_the_same_with_gains_and_without(monkeypatch):
    def holds():
        for net, _, images in networks.cases()[:60]:
            plain = net.replace(layers=[each if each.gain is None else each.replace(gain=1) for each in net.layers])
            assert np.array_equal(net.forward(images), plain.forward(images))

    holds()
    forward = ReLU.forward
    monkeypatch.setattr(
        ReLU, "forward", lambda self, *xs, **more: walks.times(forward(self, *xs, **more), self.gain, 1)
    )
    with pytest.raises(AssertionError):
        holds()


# Gains on images


def test_measured_gains_by_hand():
    # Responses −1, 1, −3, 3: of a rectifier Cov = (1 + 9)/4 and Var = 20/4.
    net = Network([ReLU()], input_shape=(1, 1, 2))
    assert linearize(net, [[[[-1, 1]]], [[[-3, 3]]]]).layer(1).gain.tolist() == [0.5]


def test_a_pool_is_measured_against_the_sum_over_its_window():
    net = Network([MaxPool((1, 2))], input_shape=(1, 1, 4))
    # Maxima 1, 4, 0, 8 (mean 13/4) of sums 1, 4, 0, 8: they are the maxima. Of twos: maxima 2, sums 4.
    assert linearize(net, [[[[1, 0, 0, 4]]], [[[0, 0, 8, 0]]]]).layer(1).gain.tolist() == [1]
    assert linearize(net, [[[[1, 1, 4, 4]]], [[[0, 0, 8, 8]]]]).layer(1).gain.tolist() == [0.5]
    assert linearize(net.replace(layers=[AvgPool((1, 2))]), integers(0, 3, 1, 1, 8)).layer(1).gain.tolist() == [0.5]


def test_a_pool_of_overlapping_windows_is_measured_against_the_cells_that_its_unpooling_fills():
    pool = MaxPool((3, 2), (2, 2), pad=(1, 0, 0, 0))
    net, images = Network([pool], input_shape=(2, 7, 6)), np.random.default_rng(0).standard_normal((5, 2, 7, 6))
    y = net.forward(images)
    u = decoding.decode(net, 1, np.eye(y[0, 0].size).reshape(-1, 1, *y.shape[2:]).repeat(2, axis=1))[:, 0]
    u = u[:, 1 : 1 + 7, :6]  # the pad is no cell of the map
    x = np.einsum("pij,ncij->ncp", u, images[:, :, : u.shape[1], : u.shape[2]])
    want = [np.cov(x[:, c].ravel(), y[:, c].ravel())[0] for c in (0, 1)]
    got = linearize(net, images).layer(1).gain
    assert np.abs(got - [cov / var for var, cov in want]).max() <= 2**10 * EPS


def test_an_average_that_overlaps_beside_another_branch_is_its_gradient():
    for pool in (AvgPool(3, 1, pad=1), AvgPool((3, 2), (1, 1), pad=(1, 1, 1, 0)), AvgPool(3, 2, pad=1)):
        net = Network([Conv([[[[1]]]], stride=pool.stride), pool, Sum()], inputs=[0, 0, (1, 2)], input_shape=(1, 9, 9))
        field, impulses = net.receptive_field(3), np.eye(81).reshape(81, 1, 9, 9)
        gradient = net.forward(impulses)[:, 0, 2, 2].reshape(9, 9)
        top, left = (field.offset[a] + 2 * field.stride[a] for a in (0, 1))
        want = gradient[top : top + field.size[0], left : left + field.size[1]]
        images = np.random.default_rng(0).standard_normal((3, 1, 9, 9))
        for data in ((), (images,)):
            linear = linearize(net, *data, unpool="sum")
            assert np.abs(linear.layer(2).gain - 1 / math.prod(pool.size)).max() <= 2**6 * EPS
            assert np.abs(decoding.decode_filter(linear, 3, 0, unpool="sum")[0] - want).max() <= 2**6 * EPS


def test_gains_are_for_an_unpooling_that_there_is():
    net = Network([AvgPool(2)], input_shape=(1, 4, 4))
    for refuse in (lambda: linearize(net, unpool="bicubic"), lambda: GainMeter(net, 1, unpool=None)):
        with pytest.raises(InvalidValueError, match="unpool must be 'nearest' or 'sum', not"):
            refuse()


def test_gates_and_normalizations_have_the_mean_of_their_factor():
    net = Network([Select([0]), Gate()], inputs=[0, (0, 1)], input_shape=(2, 1, 2))
    images = integers(0, 4, 2, 1, 2)
    assert linearize(net, images).layer(2).gain.tolist() == [images[:, 0].mean()] * 2
    lrn = LRN(2, kappa=1, alpha=1, beta=1)
    net = Network([lrn], input_shape=(2, 1, 2))
    for layer, axes in (
        (LayerNorm([2, -3]), 1),
        (GroupNorm([2, -3], groups=2), (2, 3)),
        (GroupNorm([2, -3], groups=1), (1, 2, 3)),
    ):
        spread = np.sqrt(images.var(axis=axes, keepdims=True) + layer.epsilon)
        want = np.reshape([2, -3], (2, 1, 1)) / np.broadcast_to(spread, images.shape)
        got = linearize(Network([layer], input_shape=(2, 1, 2)), images).layer(1).gain
        assert np.abs(got - want.mean(axis=(0, 2, 3))).max() <= 64 * EPS * np.abs(want).max()
    factor = np.stack([1 / (1 + (images**2).sum(axis=1)), 1 / (1 + images[:, 1] ** 2)])
    assert np.abs(linearize(net, images).layer(1).gain - factor.mean(axis=(1, 2, 3))).max() <= 16 * EPS


def test_a_channel_that_never_varies_has_gain_zero():
    images = integers(0, 3, 2, 4, 4)
    images[:, 1] = 0.1
    for dtype in (float, np.float32):
        assert (
            linearize(Network([ReLU()], input_shape=(2, 4, 4)), images.astype(dtype), backend=decoding.fast)
            .layer(1)
            .gain[1]
            == 0
        )


def test_a_network_in_which_no_rectifier_cuts_has_gains_of_exactly_one():
    random = np.random.default_rng(0)
    net = Network([Conv(random.standard_normal((5, 2, 3, 2)), np.full(5, 2.0**10)), ReLU(), ReLU(leak=0.5)])
    for dtype in (float, np.float32):
        images = random.standard_normal((6, 2, 5, 7)).astype(dtype)
        linear = linearize(net, images, backend=decoding.fast)
        assert (linear.layer(2).gain == 1).all()  # y is x: the same sums
        assert (linear.layer(3).gain == 1).all()


def test_a_common_level_does_not_hide_what_varies_in_single_precision():
    random = np.random.default_rng(0)
    z = random.standard_normal((8, 1, 32, 32))
    level = (z + 10_000).astype(np.float32)
    net = Network([Sigmoid()], input_shape=(1, 32, 32))
    shifted = net.replace(layers=[Shifted()])
    want = linearize(net, (level.astype(float) - 10_000)).layer(1).gain
    got = linearize(shifted, level, backend=decoding.fast).layer(1).gain
    assert abs(got / want - 1).max() <= 2**-10  # sums of squares in single precision would be off by parts in a hundred


class Shifted(Sigmoid):
    """The sigmoid of responses less 10,000."""

    def function(self, z):
        return super().function(z.astype(float) - 10_000).astype(z.dtype)


@pytest.mark.parametrize("ratio", [-1.0, 0.0, 0.5, 2.0])
def test_a_rectifier_that_reads_a_gaussian_has_phi(ratio):
    count = 400_000
    z = ratio + np.random.default_rng(1).standard_normal((4, 1, count // 4, 1))
    got = linearize(Network([ReLU()], input_shape=(1, count // 4, 1)), z).layer(1).gain[0]
    want = expected(ReLU(), [ratio], [1]).gain[0]
    # The least-squares slope has variance E[(f − a − b z)² u²] / n, and the bracket is at most |u| + |ratio| + 1.
    most = math.sqrt(15 + 3 * (abs(ratio) + 1) ** 2)
    assert abs(got - want) <= 4 * most / math.sqrt(count)


@settings(max_examples=20)
@given(seed=st.integers(0, 2**16))
def test_measured_gains_have_the_least_squared_error_of_all_factors(seed):
    net, random = residual(seed), np.random.default_rng(seed)
    images = random.standard_normal((6, 2, 8, 8))
    linear, responses = linearize(net, images), net.activations(images)
    for number in (2, 6, 10):
        x, y, gain = responses[net.inputs[number - 1][0]], responses[number], linear.layer(number).gain

        def error(gain, x=x, y=y):
            left = y - gain[:, np.newaxis, np.newaxis] * x
            return np.square(left - left.mean(axis=(0, 2, 3), keepdims=True)).sum(axis=(0, 2, 3))

        for change in (0.01, -0.01, 0.1, -0.1):
            assert (error(gain) < error(gain + change)).all()


def least_squared_error():
    """The test above, of one network: hypothesis would look for a smaller one, for long."""
    test_measured_gains_have_the_least_squared_error_of_all_factors.hypothesis.inner_test(0)


def test_gains_measured_in_parts_merge_to_the_whole():
    net = Network([Conv(integers(0, 3, 2, 3, 2)), ReLU(), MaxPool(2)])
    images = integers(1, 7, 2, 6, 5)
    whole = linearize(net, images)
    assert linearize(net, (images[i : i + 3] for i in (0, 3, 6))) == whole  # sums of small integers are exact
    for number in (2, 3):
        meters = [GainMeter(net, number) for _ in range(2)]
        measure(net, images[:4], meters[:1])
        measure(net, images[4:], meters[1:])
        meters[0].add(meters[1].sums)
        assert (meters[0].result() == whole.layer(number).gain).all()


def test_permuted_channels_have_permuted_gains():
    bank, images, order = integers(0, 5, 2, 3, 3), integers(1, 6, 2, 7, 7), [3, 1, 4, 0, 2]
    net, permuted = (Network([Conv(each), ReLU(), MaxPool(2)]) for each in (bank, bank[order]))
    a, b = linearize(net, images), linearize(permuted, images)
    assert all((a.layer(n).gain[order] == b.layer(n).gain).all() for n in (2, 3))
    assert len(set(a.layer(2).gain)) == 5


@pytest.mark.parametrize("power", [-3, 5])
def test_images_scaled_by_a_power_of_two_have_the_same_gains_where_there_are_no_biases(power):
    random = np.random.default_rng(0)
    net = Network(
        [
            Conv(random.standard_normal((4, 2, 3, 3))),
            ReLU(leak=0.1),
            MaxPool(2),
            Conv(random.standard_normal((3, 4, 2, 2))),
            ReLU(),
        ]
    )
    for dtype in (float, np.float32):
        images = random.standard_normal((5, 2, 9, 9)).astype(dtype)
        a, b = (linearize(net, each, backend=decoding.fast) for each in (images, images * dtype(2.0**power)))
        assert a == b


def test_a_meter_computes_the_same_with_the_tuned_operators():
    net, images = residual(3), integers(0, 6, 2, 8, 8)
    for a, b in zip(linearize(net, images).layers, linearize(net, images, backend=decoding.fast).layers, strict=True):
        if a.gain is not None:
            assert np.abs(a.gain - b.gain).max() <= 2**-30


def test_an_iterable_is_read_once_and_progress_counts_images():
    net, seen = Network([ReLU()], input_shape=(1, 2, 2)), []
    stream = iter([integers(i, 2, 1, 2, 2) for i in range(3)])
    linearize(net, stream, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(2, None), (4, None), (6, None)]


# Decoding with gains is the gradient of the network whose rectifiers are factors


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**16))
def test_decoding_with_gains_is_the_gradient_of_the_network_of_these_factors(seed):
    torch = pytest.importorskip("torch", reason="autograd is the oracle")
    images = np.random.default_rng(seed).standard_normal((4, 2, 9, 9))
    net = linearize(residual(seed), images)
    field = net.receptive_field(10)
    side = field.size[0] + 4 * field.stride[0]
    x = torch.zeros(1, 2, side, side, dtype=torch.float64, requires_grad=True)
    live = {0: x}
    for number, layer in enumerate(net.layers, 1):
        below = [live[i] for i in net.inputs[number - 1]]
        gain = None if layer.gain is None else torch.as_tensor(np.array(layer.gain))[:, None, None]
        if isinstance(layer, Conv):
            y = torch.nn.functional.conv2d(
                below[0], torch.as_tensor(np.array(layer.filters)), stride=layer.stride, padding=layer.pad[0]
            )
        elif isinstance(layer, Select):
            zeros = torch.zeros_like(below[0][:, :1])
            y = torch.cat([zeros if c < 0 else below[0][:, c : c + 1] for c in layer.chosen], 1)[:, :, ::2, ::2]
        elif isinstance(layer, Sum):
            y = sum(below)
        elif isinstance(layer, MaxPool):
            ones = torch.ones(6, 1, 3, 3, dtype=torch.float64)
            y = gain * torch.nn.functional.conv2d(below[0], ones, padding=1, groups=6)
        else:
            y = gain * below[0]
        live[number] = y
    want = np.stack(
        [decoder.decode_filter(net, 10, k, unpool="sum") for k in range(6)]
    )  # from the unit down, not a bank up
    place = y.shape[2] // 2
    for k in range(6):
        (gradient,) = torch.autograd.grad(live[10][0, k, place, place], x, retain_graph=True)
        first = [field.offset[a] + place * field.stride[a] for a in (0, 1)]
        got = gradient[0, :, first[0] : first[0] + field.size[0], first[1] : first[1] + field.size[1]].numpy()
        assert (np.abs(got).sum() > 0) == (np.abs(want[k]).sum() > 0)
        assert np.abs(got - want[k]).max() <= 2**10 * EPS * np.abs(want[k]).max()
        assert gradient.abs().sum() == pytest.approx(np.abs(got).sum())  # nothing outside the field


# Everything that decodes honours them


def test_responses_and_equation_3_follow_the_gains():
    net = Network([Conv(integers(0, 3, 1, 2, 2)), ReLU(gain=[2, 4, 8]), Conv(integers(1, 2, 3, 2, 2))])
    folded = Network([Conv(integers(0, 3, 1, 2, 2) * np.reshape([2, 4, 8], (3, 1, 1, 1))), ReLU(), net.layer(3)])
    images = integers(2, 4, 1, 6, 6)
    assert (decoded_responses(net, images, 3) == decoded_responses(folded, images, 3)).all()
    assert (decode_layer(net, 3) == decode_layer(folded, 3)).all()
    assert (decoding.decode_filter(net, 3, 1) == decode_layer(folded, 3)[1]).all()
    error = reconstruction_error(net, images, 3, contrast=None).per_image
    want = reconstruction_error(net, images, 3, contrast=None, filters=decode_layer(folded, 3)).per_image
    assert (error == want).all()
    lower = decode_layer(Network([net.layer(1)]), 1)
    total = np.zeros((1, 3, 3))
    for each in decoding.contributions(net, 3, 0):
        u, v = each.pixel
        total[:, u : u + 2, v : v + 2] += each.weight * lower[each.k]
    assert (total == decode_layer(net, 3)[0]).all()


def test_baselines_keep_the_gains():
    net = Network(
        [Conv(integers(0, 2, 1, 1, 2)), ReLU(gain=[2, 4]), MaxPool((1, 2), gain=[8, 16]), Conv(integers(1, 1, 2, 1, 2))]
    )
    plain = decoding.baselines.zero_insertion(
        Network(
            [Conv(integers(0, 2, 1, 1, 2) * np.reshape([16, 64], (2, 1, 1, 1))), ReLU(), MaxPool((1, 2)), net.layer(4)]
        )
    )
    assert (decode_layer(decoding.baselines.zero_insertion(net), 4) == decode_layer(plain, 4)).all()
    assert decoding.baselines.turned(net).layer(2) == net.layer(2)


# Errors


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([Conv(np.ones((1, 1, 1, 1)), name="c"), ReLU()], r"layer 2 'layer2' \(ReLU\): without images .*layer 1 'c' \(Conv\) has no batch norm.*Give images"),
        ([ReLU()], r"layer 1 .*no batch normalization lies between it and the image"),
        ([BatchNorm([1, 1], name="old"), ReLU()], r"layer 1 'old' \(BatchNorm\) has no moments, as in old files"),
        ([BatchNorm([1, 1], mean=[0, 0], std=[1, 1]), LRN()], r"layer 2 .*depends on the image.*Give images"),
    ],
)  # fmt: skip
def test_without_images_moments_must_be_known(layers, message):
    with pytest.raises(UnsupportedLayerError, match=message):
        linearize(Network(layers))


def test_linearize_refuses_images_that_say_nothing():
    net = Network([Conv(np.ones((2, 1, 3, 3))), ReLU()])
    for images, message in (
        (np.ones((1, 1, 4, 4)), "1 image given: gains are measured on at least 2"),
        (np.ones((3, 1, 4, 4)), "all pixels of the 3 images are 1, so"),
        (np.ones((0, 1, 4, 4)), "there are no images"),
        (np.full((3, 1, 4, 4), np.nan), "not finite"),
    ):
        with pytest.raises(InvalidValueError, match=message):
            linearize(net, images)
    for shape in ((3, 1, 2, 2), (3, 2, 4, 4)):
        with pytest.raises(ShapeError):
            linearize(net, np.ones(shape))
    coloured = Network([Conv(np.ones((2, 3, 3, 3))), ReLU()])
    flat = np.broadcast_to(np.reshape([0.0, 1, 2], (3, 1, 1)), (4, 3, 5, 5))
    with pytest.raises(InvalidValueError, match="all pixels of the 4 images are 0, 1 and 2, by channel, so"):
        linearize(coloured, flat)
    with pytest.raises(InvalidValueError, match="in each channel all pixels of the 4 images are equal"):
        decoding.quadratize(coloured, flat)


class Act(Layer):
    def forward(self, x, *, backend):
        return np.abs(x)


def test_an_activation_that_says_nothing_is_refused():
    net = Network([norm(0, 2), Act(name="mine"), ReLU()])
    images = np.random.default_rng(0).standard_normal((3, 2, 4, 4))
    for linear in (linearize, decoding.quadratize):
        for data in ((), (images,)):
            with pytest.raises(
                UnsupportedLayerError, match=r"layer 2 'mine' \(Act\): .*decoding.Elementwise.*function\(z\)"
            ):
                linear(net, *data)
    told = net.replace(layers=[net.layer(1), Act(gain=0.5), net.layer(3)])
    assert linearize(told, images).layer(2) == Act(gain=0.5)
    with pytest.raises(UnsupportedLayerError, match=r"depends on the image. Give it a gain: replace\(gain=1\)"):
        decode_layer(Network([norm(0, 2), Energy()]), 2)  # not: linearize, which could not tell


def test_old_batch_norms_are_not_met_with_a_demand_for_images():
    net = Network([Conv(np.ones((1, 1, 1, 1))), BatchNorm([1], name="old"), Conv(np.ones((1, 1, 1, 1))), ReLU()])
    for linear in (linearize, decoding.quadratize):
        with pytest.raises(
            UnsupportedLayerError,
            match=r"Nor can images tell: batch normalizations .* \(2 'old'\).*replace\(mean=…, std=…\)",
        ) as told:
            linear(net)
        assert "Give images" not in str(told.value)
    with pytest.raises(UnsupportedLayerError, match=r"has no moments, so it cannot be run.*replace\(mean=…, std=…\)"):
        linearize(net, np.zeros((2, 1, 3, 3)))
    mended = net.replace(layers=[*net.layers[:1], net.layer(2).replace(mean=[0], std=[1]), *net.layers[2:]])
    assert linearize(mended.trim(2)) == mended.trim(2)


def test_a_meter_refuses_a_layer_that_takes_no_gain():
    net = Network([Conv(np.ones((2, 1, 3, 3))), ReLU(), Softmax()])
    for number in (0, 1, 3):
        with pytest.raises(UnsupportedLayerError, match=f"layer {number} takes no gain"):
            GainMeter(net, number)
    with pytest.raises(InvalidValueError, match="no images yet"):
        GainMeter(net, 2).result()


def test_gains_must_fit_and_be_finite():
    with pytest.raises(ShapeError, match="its gain has 3 values, and there are 2 channels"):
        Network([Conv(np.ones((2, 1, 1, 1))), ReLU(gain=[1, 2, 3])])
    with pytest.raises(InvalidValueError, match="gain: 1 of 2 values are not finite"):
        ReLU(gain=[1, np.nan])


# Mutants


def mutant(module, old, new):
    """The module with one piece of its text in place of another."""
    source = inspect.getsource(module)
    assert source.count(old) == 1, old
    wrong = types.ModuleType(module.__name__ + "_mutant")
    wrong.__package__ = module.__package__
    sys.modules[wrong.__name__] = wrong  # where dataclasses look
    exec(compile(source.replace(old, new), wrong.__name__, "exec"), wrong.__dict__)
    return wrong


@pytest.mark.parametrize(
    ("old", "new", "dies"),
    {
        "a gain of the neighbouring channel": (
            "np.broadcast_to(gain, (self.units,))", "np.roll(gain, 1)", least_squared_error,
        ),
        "a gain of the layer before": (
            "changed.get(n, layer) for", "changed.get(n + 1, layer) for", test_linearize_gives_every_rectifier_phi_and_leaves_the_rest,
        ),
        "a line through zero": (
            "self.count * self.xy - self.x * self.y, spread,", "self.count * self.xy, self.count * self.xx,",
            least_squared_error,
        ),
        "moments added as deviations": (
            "variance = sum((times * term.std) ** 2 for times, term in terms)", "variance = sum(times * term.std for times, term in terms) ** 2",
            test_variances_add_up_and_not_deviations_and_a_layer_read_twice_is_one,
        ),
        "a layer read twice taken as independent of itself": (
            "(times * term.std) ** 2", "times * term.std ** 2", test_variances_add_up_and_not_deviations_and_a_layer_read_twice_is_one,
        ),
        "the bias taken after the running mean": (
            "return Moments(bias,", "return Moments(bias - layer.mean * scale / std,",
            test_after_a_batch_norm_the_moments_are_its_bias_and_the_spread_of_its_scale,
        ),
        "the deviation of a batch norm taken for its scale": (
            "np.sqrt(np.maximum(std**2 - layer.epsilon, 0)) / std", "1", test_after_a_batch_norm_the_moments_are_its_bias_and_the_spread_of_its_scale,
        ),
        "a pool's factor left out": (
            "return 1 / math.prod(layer.size if", "return 1.0 or math.prod(layer.size if", test_linearize_gives_every_rectifier_phi_and_leaves_the_rest,
        ),
        "a pool measured against its windows": (
            'linear = self.unpool == "sum"', "linear = True",
            test_a_pool_of_overlapping_windows_is_measured_against_the_cells_that_its_unpooling_fills,
        ),
        "sums of squares in single precision": (
            "if x.dtype == np.float32 and", "if False and", test_a_common_level_does_not_hide_what_varies_in_single_precision,
        ),
        "new channels keep the last one's moments": (
            "np.where(layer.chosen < 0, 0, moment[layer.chosen])", "moment[layer.chosen]", test_moments_go_where_channels_go,
        ),
        "earlier gains kept": (
            "_straight(net.layers[n - 1]).replace", "net.layers[n - 1].replace", test_linearize_forgets_the_gains_that_it_replaces_and_no_others,
        ),
        "other gains forgotten": (
            "changed.get(n, layer) for", 'changed.get(n, layer.replace(gain=None) if "gain" in layer.fields() else layer) for',
            test_linearize_forgets_the_gains_that_it_replaces_and_no_others,
        ),
        "for the sum over windows, the gain of nearest unpooling": (
            'layer.size if unpool == "sum" else map', 'layer.size if unpool == "" else map', test_an_average_that_overlaps_beside_another_branch_is_its_gradient,
        ),
        "for the sum over windows, measured against the cells that nearest unpooling fills": (
            'linear = self.unpool == "sum"', "linear = False", test_an_average_that_overlaps_beside_another_branch_is_its_gradient,
        ),
        "all channels compared together": (
            "if (varies.low == varies.high).all():", "if varies.low.min() == varies.high.max():", test_linearize_refuses_images_that_say_nothing,
        ),
        "activations that say nothing passed over": (
            "if silent and", "if False and", test_an_activation_that_says_nothing_is_refused,
        ),
        "images asked for where none can run": (
            "if not old:", "if True:", test_old_batch_norms_are_not_met_with_a_demand_for_images,
        ),
        "a maximum taken for a mean": (
            "math.sqrt(1 - ALIKE) * _largest(", "0 * _largest(", test_pools_take_neighbours_to_correlate,
        ),
    }.values(),
)  # fmt: skip
def test_mutants_die(old, new, dies, monkeypatch):
    wrong = mutant(gains, old, new)
    for name in ("linearize", "GainMeter", "moments", "expected"):
        monkeypatch.setitem(globals(), name, getattr(wrong, name))
    with pytest.raises((AssertionError, decoding.DecodingError, pytest.fail.Exception)):
        dies()


@pytest.mark.parametrize(
    ("old", "new", "dies"),
    {
        "squared": ("layer.decode(times(maps, layer.gain, 1)", "layer.decode(times(times(maps, layer.gain, 1), layer.gain, 1)", "gradient"),
        "of the neighbouring channel": (
            "layer.decode(times(maps, layer.gain, 1)", "layer.decode(np.roll(times(np.roll(maps, 1, 1), layer.gain, 1), -1, 1)", "gradient",
        ),
        "left out in the last layer": (
            "layer.decode(times(maps, layer.gain, 1)", "layer.decode(times(maps, None if number == top else layer.gain, 1)", "gradient",
        ),
        "applied twice in a layer that is read twice": (
            "waiting[i] = add([waiting[i], part]) if i in waiting else part",
            "waiting[i] = Placed(times(add([waiting[i], part]).maps, net.layers[i - 1].gain if i else None, 1), add([waiting[i], part]).origin) if i in waiting else part",
            "gradient",
        ),
        "to the bias, by the forward pass": (
            "yield number, live[number]", "live[number] = times(live[number], net.layers[number - 1].gain, 1); yield number, live[number]", "forward",
        ),
    }.values(),
)  # fmt: skip
def test_mutants_of_the_walks_die(old, new, dies, monkeypatch):
    wrong = mutant(walks, old, new)
    monkeypatch.setattr(decoder, "walks", wrong)
    monkeypatch.setattr(network, "walks", wrong)
    tests = {
        "gradient": test_decoding_with_gains_is_the_gradient_of_the_network_of_these_factors,
        "forward": test_linearize_gives_every_rectifier_phi_and_leaves_the_rest,
    }
    with pytest.raises((AssertionError, decoding.DecodingError)):
        tests[dies]()


OVERFLOWS = {  # image, filter, scale and leak with which this layer is the first whose responses are not finite
    1: (1e200, -1e200, 1, 1),
    2: (1e200, -1, 1e200, 1),
    3: (1e308, -1, 1, 1),
    4: (1e200, -1, 1, 1e200),
}


class Finite:
    """A meter that is given finite responses only."""

    def __init__(self, layer):
        self.layer = layer

    def part(self, images, responses, start):
        assert np.isfinite(responses).all()

    def add(self, part):
        pass


@pytest.mark.parametrize("at", OVERFLOWS)
@pytest.mark.parametrize("meters", [["gain"], ["top"], ["own", "gain"], ["own", "top"]], ids=" ".join)
def test_the_first_layer_that_is_not_finite_is_named(at, meters):
    """Whichever layers are read: the others are checked where batch normalizations and sums pass on what they find."""
    image, filters, scale, leak = OVERFLOWS[at]
    norm = BatchNorm([scale], [0], mean=[0], std=[1])
    layers = [Conv([[[[filters]]]]), norm, Sum(), ReLU(leak=leak), Clip(0, 1)]
    net = Network(layers, inputs=[[0], [1], [2, 1], [3], [4]])
    known = {"gain": GainMeter(net, 4), "top": decoding.TopImagesMeter(net, 5), "own": Finite(at)}
    with pytest.raises(InvalidValueError, match=f"responses of layer {at} to images from 0: "):
        measure(net, np.full((2, 1, 1, 3), image), [known[name] for name in meters])
