"""Layers of networks in files: forward passes as MatConvNet documents them, compared with PyTorch; decoding; receptive fields."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from decoding import (
    LRN,
    AvgPool,
    BatchNorm,
    Conv,
    Dropout,
    InvalidValueError,
    Loss,
    MaxPool,
    Network,
    Pad,
    ReceptiveField,
    ReLU,
    ShapeError,
    Sigmoid,
    Softmax,
    Unsupported,
    UnsupportedLayerError,
    decode,
    decode_filter,
    decode_layer,
    load_matconvnet,
    reconstruction_error,
    reference,
    save_matconvnet,
)
from decoding.interpolation import MODES, matrix
from decoding.testing import strategies

EPS = 2.0**-53


def gamma(n):
    return n * EPS / (1 - n * EPS)


@pytest.fixture
def reals():
    random = np.random.default_rng(7)
    return lambda *shape: random.normal(size=shape)


@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason="PyTorch, the extra `train`, is the witness here")


def forward(layer, x):
    return Network([layer], input_shape=x.shape[1:]).forward(x)


# Forward, by hand.


def test_sigmoid_by_hand():
    y = forward(Sigmoid(), [[[[0.0, 800.0, -800.0, 1.0]]]] * np.ones((1, 1, 1, 1)))
    assert y[0, 0, 0, :3].tolist() == [0.5, 1.0, 0.0]
    assert y[0, 0, 0, 3] == 1 / (1 + np.exp(-1.0))


def test_batch_norm_by_hand():
    net = Network([BatchNorm([3, 8, 1], [1, 0, -1], mean=[0, 5, 2], std=[1, 2, 4])])
    assert net.forward([[[[1, 2]], [[7, 5]], [[6, 2]]]]).tolist() == [[[[4, 7]], [[8, 0]], [[0, -1]]]]


def test_lrn_by_hand():
    x = np.array([1.0, 2, 3, 4]).reshape(1, 4, 1, 1)
    # Two channels of the window lie below and two above, or as many as there are; of an even one, one more above.
    assert forward(LRN(3, kappa=1, alpha=1, beta=1), x).ravel().tolist() == [1 / 6, 2 / 15, 3 / 30, 4 / 26]
    assert forward(LRN(2, kappa=1, alpha=1, beta=1), x).ravel().tolist() == [1 / 6, 2 / 14, 3 / 26, 4 / 17]
    assert forward(LRN(4, kappa=2, alpha=1, beta=1), x).ravel().tolist() == [1 / 16, 2 / 32, 3 / 31, 4 / 27]
    assert (forward(LRN(8, kappa=0, alpha=1, beta=0.5), x) == x / np.sqrt(30)).all()
    assert (forward(LRN(10**9, kappa=0, alpha=1, beta=0.5), x) == x / np.sqrt(30)).all()


def test_dropout_and_loss_pass_everything_on(ramp):
    x = ramp(2, 3, 4, 5)
    assert (forward(Dropout(), x) == x).all()
    assert (forward(Loss(), x) == x).all()


# Forward, against PyTorch in float64.


@pytest.mark.parametrize("case", range(6))
def test_convolutions_are_pytorchs(torch, reals, case):
    stride, (top, bottom, left, right), dilation, groups, size = [
        ((1, 1), (0, 0, 0, 0), (1, 1), 1, (3, 2)),
        ((2, 3), (1, 0, 2, 5), (1, 1), 1, (5, 1)),
        ((1, 2), (3, 4, 0, 0), (2, 1), 2, (2, 3)),
        ((3, 1), (0, 7, 6, 1), (1, 3), 4, (3, 3)),
        ((1, 1), (2, 2, 2, 2), (4, 4), 1, (6, 2)),
        ((2, 2), (0, 0, 0, 0), (1, 1), 1, (17, 13)),  # fully connected
    ][case]
    x, filters, bias = reals(2, 4, 17, 13), reals(8, 4 // groups, *size), reals(8)
    layer = Conv(filters, bias, stride=stride, pad=(top, bottom, left, right), dilation=dilation, groups=groups)
    padded = torch.nn.functional.pad(torch.from_numpy(x), (left, right, top, bottom))
    options = {"stride": stride, "dilation": dilation, "groups": groups}

    def theirs(x, filters, bias):
        arrays = [torch.from_numpy(np.ascontiguousarray(a)) for a in (filters, bias)]
        return torch.nn.functional.conv2d(x, *arrays, **options).numpy()

    terms = filters[0].size + 1
    bound = 2 * gamma(terms) * theirs(padded.abs(), np.abs(filters), np.abs(bias))
    assert (np.abs(forward(layer, x) - theirs(padded, filters, bias)) <= bound).all()


@pytest.mark.parametrize("pad", [(0, 0, 0, 0), (0, 1, 0, 1), (2, 1, 0, 3)])
@pytest.mark.parametrize(("size", "stride"), [((3, 4), (2, 1)), ((3, 4), (3, 4)), ((5, 4), (1, 3))])
def test_pools_are_pytorchs(torch, reals, size, stride, pad):
    x = reals(2, 3, 11, 14)
    top, bottom, left, right = pad
    tensor = torch.from_numpy(x)

    def padded(tensor, value):
        return torch.nn.functional.pad(tensor, (left, right, top, bottom), value=value)

    largest = torch.nn.functional.max_pool2d(padded(tensor, -np.inf), size, stride).numpy()
    assert (forward(MaxPool(size, stride, pad=pad), x) == largest).all()

    def total(tensor):
        return torch.nn.functional.avg_pool2d(padded(tensor, 0.0), size, stride, divisor_override=1).numpy()

    inside = total(torch.ones_like(tensor))  # MatConvNet counts the cells inside the image only
    bound = 2 * gamma(size[0] * size[1] + 1) * total(tensor.abs()) / inside
    assert (np.abs(forward(AvgPool(size, stride, pad=pad), x) - total(tensor) / inside) <= bound).all()


def test_rectifiers_and_sigmoid_are_pytorchs(torch, reals):
    x = 8 * reals(2, 3, 5, 7)
    tensor = torch.from_numpy(x)
    assert (forward(ReLU(), x) == torch.relu(tensor).numpy()).all()
    assert (forward(ReLU(leak=0.2), x) == torch.nn.functional.leaky_relu(tensor, 0.2).numpy()).all()
    theirs = torch.sigmoid(tensor).numpy()
    assert (np.abs(forward(Sigmoid(), x) - theirs) <= gamma(8) * theirs).all()  # two exponentials, each a few roundings


def test_softmax_is_pytorchs(torch, reals):
    x = 8 * reals(2, 5, 3, 2)
    theirs = torch.softmax(torch.from_numpy(x), 1).numpy()
    relative = gamma(2 * (5 + 4)) + 4 * EPS * np.abs(x).max()  # the exponents are rounded before they are raised
    assert (np.abs(forward(Softmax(), x) - theirs) <= relative * theirs).all()


def test_batch_norm_is_pytorchs(torch, reals):
    x, scale, bias, mean, variance = reals(2, 3, 5, 7), reals(3), reals(3), reals(3), reals(3) ** 2
    epsilon = 1e-4
    tensors = [torch.from_numpy(a) for a in (x, mean, variance, scale, bias)]
    theirs = torch.nn.functional.batch_norm(*tensors, eps=epsilon).numpy()
    std = np.sqrt(variance + epsilon)
    factor, shape = np.abs(scale / std), (3, 1, 1)
    bound = gamma(8) * (factor.reshape(shape) * (np.abs(x) + np.abs(mean).reshape(shape)) + np.abs(bias).reshape(shape))
    assert (np.abs(forward(BatchNorm(scale, bias, mean=mean, std=std), x) - theirs) <= 2 * bound).all()


@pytest.mark.parametrize("depth", [1, 3, 4, 5, 20])
def test_lrn_is_pytorchs(torch, reals, depth):
    x, kappa, alpha, beta = 3 * reals(2, 7, 3, 5), 1.5, 0.2, 0.75
    # PyTorch divides alpha by the depth, and an even window reaches one more channel down instead of up.
    tensor = torch.from_numpy(np.ascontiguousarray(x[:, ::-1]))
    theirs = torch.nn.functional.local_response_norm(tensor, depth, alpha=depth * alpha, beta=beta, k=kappa).numpy()[
        :, ::-1
    ]
    bound = 2 * gamma(depth + 12) * np.abs(theirs)
    assert (np.abs(forward(LRN(depth, kappa=kappa, alpha=alpha, beta=beta), x) - theirs) <= bound).all()


# Decoding.


@pytest.mark.parametrize("layer", [Sigmoid(), LRN(3), Dropout(), Loss(), Softmax(), ReLU(leak=0.5)])
@pytest.mark.parametrize("unpool", MODES)
def test_what_keeps_sign_or_order_decodes_as_the_identity(layer, unpool, ramp):
    conv = Conv(ramp(3, 2, 2, 5))
    with_it, without = Network([conv, layer, MaxPool((1, 2))]), Network([conv, MaxPool((1, 2))])
    assert (decode_layer(with_it, 3, unpool=unpool) == decode_layer(without, 2, unpool=unpool)).all()
    assert (decode(with_it, 2, np.ones((1, 3, 1, 2))) == decode(without, 1, np.ones((1, 3, 1, 2)))).all()
    assert with_it.receptive_field(2) == with_it.receptive_field(1)


@pytest.mark.parametrize(
    ("moments", "factor"), [({}, [3, -8, 2]), ({"mean": [1, 2, 3], "std": [1, 4, 0.5]}, [3, -2, 4])]
)
def test_batch_norm_decodes_as_its_scale(moments, factor, ramp):
    bank, above = ramp(3, 2, 2, 5), ramp(4, 3, 3, 1)
    net = Network([Conv(bank), BatchNorm([3, -8, 2], [5, 7, 9], **moments), Conv(above)])
    scaled = Network([Conv(bank * np.reshape(factor, (3, 1, 1, 1))), Conv(above)])
    assert (decode_layer(net, 3) == decode_layer(scaled, 2)).all()
    assert all((decode_filter(net, 3, k) == decode_filter(scaled, 2, k)).all() for k in range(4))
    assert (decode_filter(net, 2, 1) == factor[1] * bank[1]).all()
    assert net.receptive_field(2) == net.receptive_field(1)


def test_batch_norm_is_the_convolution_it_says_it_is(ramp):
    x = ramp(2, 3, 4, 5)
    norm = BatchNorm([4, -8, 2], [5, 7, 9], mean=[1, 2, 3], std=[1, 4, 0.5])
    factor = np.array([4, -2, 4.0])
    conv = Conv(np.diag(factor).reshape(3, 3, 1, 1), np.array([5, 7, 9]) - factor * [1, 2, 3])
    assert (forward(norm, x) == forward(conv, x)).all()


ALL = ("conv", "pool", "relu", "norm", "softmax")


@given(st.data())
def test_any_network_is_decoded_alike_from_above_and_from_below(data):
    """Bottom-up, in one batch and unit by unit are one decoding, and its size is that of the field."""
    net = data.draw(strategies.networks(kinds=ALL))
    top = len(net.layers)
    assume(np.prod(net.receptive_field(top).size) <= 1500)
    bank = decode_layer(net, top)
    assert bank.shape == (net.channels(top), net.channels(0), *net.receptive_field(top).size)
    for k, filters in enumerate(bank):
        assert (filters == decode_filter(net, top, k)).all()
    impulses = np.eye(net.channels(top))[:, :, np.newaxis, np.newaxis]
    assert (bank == decode(net, top, impulses)).all()


@given(st.data())
def test_any_network_is_saved_and_read_back(data):
    net = data.draw(strategies.networks("reals", kinds=ALL))
    with tempfile.TemporaryDirectory() as folder:
        save_matconvnet(net, Path(folder) / "net.mat")
        again = load_matconvnet(Path(folder) / "net.mat")
    assert str(again) == str(net)
    assert list(map(repr, again.layers)) == list(map(repr, net.layers))
    x = data.draw(strategies.images_for(net, "reals"))
    assert (again.forward(x) == net.forward(x)).all()


# What cannot be done.


def test_batch_norm_without_moments_decodes_and_says_that_it_cannot_run(ramp):
    net = Network([Conv(ramp(3, 1, 2, 2)), BatchNorm([1, 2, 3], name="norm"), ReLU()])
    assert decode_filter(net, 3, 0).shape == (1, 2, 2)
    assert net.forward(ramp(1, 1, 4, 5), 1).shape == (1, 3, 3, 4)
    with pytest.raises(UnsupportedLayerError, match=r"layer 2 'norm' \(BatchNorm\): it has no moments"):
        net.forward(ramp(1, 1, 4, 5))


@pytest.fixture
def interrupted(ramp):
    """conv, a layer nobody knows, conv, ReLU."""
    layers = [
        Conv(ramp(3, 1, 2, 2), name="below"),
        Unsupported("warp\n", name="odd\x1b[2J"),
        Conv(ramp(5, 4, 1, 1)),
        ReLU(),
    ]
    return Network(layers, input_shape=(1, 7, 9))


def test_what_lies_before_an_unsupported_layer_works(interrupted, ramp):
    assert decode_filter(interrupted, "below", 2).shape == (1, 2, 2)
    assert interrupted.forward(ramp(2, 1, 7, 9), 1).shape == (2, 3, 6, 8)
    assert interrupted.receptive_field(1).size == (2, 2)
    assert interrupted.shapes((1, 7, 9), 1) == [(1, 7, 9), (3, 6, 8)]
    # So does what lies above it, as long as nothing goes through it.
    assert decode(interrupted, 4, np.ones((1, 5, 2, 3)), to=2).shape == (1, 4, 2, 3)


@pytest.mark.parametrize(
    "through",
    [
        lambda net: net.forward(np.ones((1, 1, 7, 9))),
        lambda net: net.activations(np.ones((1, 1, 7, 9))),
        lambda net: net.receptive_field(2),
        lambda net: net.shapes((1, 7, 9)),
        lambda net: net.channels(2),
        lambda net: decode_filter(net, 2, 0),
        lambda net: decode_filter(net, 4, 0),
        lambda net: decode_layer(net, 4),
        lambda net: decode(net, 4, np.ones((1, 5, 2, 3))),
        lambda net: decode(net, 4, np.ones((1, 5, 2, 3)), to=1),
    ],
)
def test_going_through_an_unsupported_layer_names_it(interrupted, through):
    with pytest.raises(
        UnsupportedLayerError, match=r"layer 2 'odd\\x1b\[2J' \(warp\\n\): it can neither be run nor decoded"
    ):
        through(interrupted)


def test_the_table_tells_what_does_not_work_and_nothing_in_it_is_unprintable(interrupted, ramp):
    table = str(interrupted)
    assert "layer 2 'odd\\x1b[2J' (warp\\n): it can neither be run nor decoded" in table
    assert table.replace("\n", "").isprintable()
    assert str(Network([ReLU(name="n" * 1000)])).count("n") < 60
    nan = ramp(3, 1, 2, 2)
    nan[1, 0, 1, 0] = np.nan
    net = Network([ReLU(), Conv(nan, name="diverged")], input_shape=(1, 3, 3))
    assert (
        "layer 2 'diverged' (Conv): filters: 1 of 12 values are not finite; the first, nan, is at (1, 0, 1, 0)"
        in str(net)
    )
    with pytest.raises(InvalidValueError, match="layer 2 'diverged'"):
        decode_filter(net, 2, 0)
    with pytest.raises(InvalidValueError, match="layer 2 'diverged'"):
        net.forward(np.ones((1, 1, 3, 3)))
    assert net.forward(np.ones((1, 1, 3, 3)), 1).shape == (1, 1, 3, 3)


REFUSED = {
    "one moment": (lambda: BatchNorm([1, 2], mean=[1, 2]), ShapeError, "both mean and std, or neither"),
    "a matrix of scales": (lambda: BatchNorm([[1, 2]]), ShapeError, r"shape \(K,\)"),
    "no scale": (lambda: BatchNorm([]), ShapeError, r"shape \(K,\)"),
    "a short bias": (lambda: BatchNorm([1, 2], [1]), ShapeError, r"bias \(1,\) for 2 channels"),
    "a word for a scale": (lambda: BatchNorm(["a"]), InvalidValueError, "scale must hold real numbers"),
    "a NaN scale": (
        lambda: decode_filter(Network([BatchNorm([1, np.nan])]), 1, 0),
        InvalidValueError,
        "layer 1.*scale: 1 of 2",
    ),
    "a zero std": (
        lambda: decode_filter(Network([BatchNorm([1, 2], mean=[0, 0], std=[1, 0])]), 1, 0),
        InvalidValueError,
        "std must be positive, and is 0.0 for channel 1",
    ),
    "batch norm on other channels": (
        lambda: Network([Conv(np.ones((3, 1, 1, 1))), BatchNorm([1, 2])]),
        ShapeError,
        "normalizes 2 channels, and gets 3",
    ),
    "an lrn of no depth": (lambda: LRN(0), InvalidValueError, "depth must be an integer, at least 1"),
    "a negative kappa": (lambda: LRN(kappa=-1), InvalidValueError, "kappa must be a number, at least 0"),
    "a NaN beta": (lambda: LRN(beta=np.nan), InvalidValueError, "beta"),
    "an lrn that divides by zero": (
        lambda: forward(LRN(kappa=0), np.zeros((1, 2, 1, 1))),
        InvalidValueError,
        "divides by zero",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case):
    call, error, message = REFUSED[case]
    with pytest.raises(error, match=message):
        call()


# A network of AlexNet's shape.


def alexnet(units=(6, 8, 10, 8, 6), pool=MaxPool, norm=LRN):
    """Its windows, strides, pads and groups, with fewer units; small whole numbers for weights."""
    random = np.random.default_rng(2012)

    def bank(*shape):
        return random.integers(-2, 3, shape).astype(float)

    k1, k2, k3, k4, k5 = units
    between = [] if norm is None else [norm()]
    return Network(
        [
            Conv(bank(k1, 3, 11, 11), bank(k1), stride=4, name="conv1"),
            ReLU(),
            *between,
            pool(3, 2, name="pool1"),
            Conv(bank(k2, k1 // 2, 5, 5), bank(k2), pad=2, groups=2, name="conv2"),
            ReLU(),
            *between,
            pool(3, 2, name="pool2"),
            Conv(bank(k3, k2, 3, 3), pad=1, name="conv3"),
            ReLU(),
            Conv(bank(k4, k3 // 2, 3, 3), pad=1, groups=2, name="conv4"),
            ReLU(),
            Conv(bank(k5, k4 // 2, 3, 3), pad=1, groups=2, name="conv5"),
            ReLU(),
            pool(3, 2, name="pool5"),
        ],
        input_shape=(3, 227, 227),
    )


def test_alexnets_sizes_and_fields():
    net = alexnet()
    sides = {"conv1": 55, "pool1": 27, "conv2": 27, "pool2": 13, "conv3": 13, "conv4": 13, "conv5": 13, "pool5": 6}
    fields = {  # as they are known
        "conv1": (11, 4, 0), "pool1": (19, 8, 0), "conv2": (51, 8, -16), "pool2": (67, 16, -16), "conv3": (99, 16, -32),
        "conv4": (131, 16, -48), "conv5": (163, 16, -64), "pool5": (195, 32, -64),
    }  # fmt: skip
    shapes = net.shapes((3, 227, 227))
    for name, (size, stride, offset) in fields.items():
        assert net.receptive_field(name) == ReceptiveField((size, size), (stride, stride), (offset, offset))
        assert shapes[net.index(name)][1:] == (sides[name], sides[name])


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(227).integers(0, 8, (1, 3, 227, 227)).astype(float)


@pytest.mark.parametrize("unit", [(2, 2), (3, 7)])
def test_alexnets_units_see_their_field_and_nothing_else(image, unit):
    # Average pools, so that every pixel counts; the norms would let nothing through that floats can tell apart.
    net = alexnet(pool=AvgPool, norm=None)
    net = Network([layer for layer in net.layers if not isinstance(layer, ReLU)], input_shape=net.input_shape)
    top = net.index("conv3")
    field = net.receptive_field(top)
    begin = [offset + i * stride for offset, i, stride in zip(field.offset, unit, field.stride, strict=True)]
    window = np.s_[:, :, begin[0] : begin[0] + field.size[0], begin[1] : begin[1] + field.size[1]]
    outside, edge = image.copy(), image.copy()
    outside += 1
    outside[window] = image[window]
    corner = edge[window]
    corner[:, :, 0, 0] += 50
    corner[:, :, -1, -1] += 50
    assert corner.shape == (1, 3, 99, 99)
    before, without, changed = (net.forward(x, top)[0, :, unit[0], unit[1]] for x in (image, outside, edge))
    # Batches are summed in the same order whatever lies outside the field.
    assert (before == without).all()
    assert (before != changed).any()


@pytest.mark.parametrize("unpool", MODES)
def test_equation_3_lands_on_alexnets_grid(image, unpool):
    """The decoded filter's response, sampled at the unit's stride and shifted by its offset, is that of the linear network."""
    net = alexnet()
    top = net.index("conv3")
    field, k = net.receptive_field(top), 7
    filters = decode_filter(net, top, k, unpool=unpool)[np.newaxis]
    assert filters.shape == (1, 3, 99, 99)
    before, after = -field.offset[0], 16 * 12 + 99 + field.offset[0] - 227
    response = reference.correlate(image, filters, stride=field.stride, pad=(before, after, before, after))
    assert response.shape == (1, 1, 13, 13)
    for i, j in [(2, 2), (3, 7), (10, 5)]:  # none of them looks past the edge
        rows, columns = 16 * i - 32, 16 * j - 32
        x = image[:, :, rows : rows + 99, columns : columns + 99]
        for layer in net.layers[:top]:
            if isinstance(layer, Conv):
                x = reference.correlate(x, layer.dense, stride=layer.stride)
            elif isinstance(layer, MaxPool):
                # (n - 1) · 2 + 3 rows of the pool's input are made of n of its output: 23 of 11, 7 of 3.
                down = matrix((x.shape[2] - 3) // 2 + 1, 3, 2, unpool)
                x = down.T @ x @ down
        assert x.shape == (1, 10, 1, 1)
        assert response[0, 0, i, j] == x[0, k, 0, 0] != 0


def test_equation_3_is_exact_on_a_padded_and_strided_network_of_positive_numbers():
    """Its ReLUs pass everything: what the decoded filters miss could only be the grid."""
    random = np.random.default_rng(3)

    def bank(*shape):
        return random.integers(1, 4, shape)

    first = Conv(bank(4, 3, 3, 2), stride=(2, 3), pad=(1, 4, 0, 2))
    net = Network([first, ReLU(), Conv(bank(6, 2, 2, 3), stride=(1, 2), groups=2)], input_shape=(3, 17, 23))
    images = random.integers(0, 9, (4, 3, 17, 23))
    assert net.receptive_field(3) == ReceptiveField((5, 8), (2, 6), (-1, 0))
    error = reconstruction_error(net, images, 3)
    assert error.per_image.tolist() == [0] * 4
    # One column aside it would not be.
    aside = reconstruction_error(net, images, 3, filters=np.roll(decode_layer(net, 3), 1, axis=3))
    assert (aside.per_image > 0).all()


def test_single_precision_weights_are_normalized_in_the_precision_of_the_responses():
    scale, std = np.array([1], np.float32), np.array([3], np.float32)
    net = Network([Conv(np.ones((1, 1, 1, 1), np.float32)), BatchNorm(scale, mean=np.zeros(1, np.float32), std=std)])
    assert net.forward([[[[1]]]]).item() == decode_filter(net, 2, 0).item() == 1 / 3


def test_a_pad_that_crops_a_map_to_nothing_is_refused():
    with pytest.raises(ShapeError, match="crop the map"):
        Network([Pad((-2, 3, 0, 0), mode="edge")], input_shape=(1, 2, 3))
