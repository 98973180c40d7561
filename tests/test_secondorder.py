"""The second order: the pair of a linear and a quadratic response, the quadratic form, its pictures, and the ways to find gains and curvatures."""

import itertools
import math
import pickle
import threading

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits

import decoding
from decoding import (
    BatchNorm,
    Concat,
    Conv,
    Layer,
    MaxPool,
    Network,
    ReLU,
    Select,
    Sum,
    covariance,
    decode_filter,
    decode_quadratic,
    decoded_responses,
    fast,
    natural,
    pattern,
    quadratic_form,
    quadratize,
    reference,
    secondorder,
)
from decoding.activation_patterns import Independent
from decoding.eigenpictures import QuadraticUnit
from decoding.gains import expected
from decoding.secondorder import Form, bend, respond, unbend


class Square(Layer):
    """A layer of the reader's own: the square of each response, which is all curvature and no gain."""

    def __init__(self, *, gain=0.0, curvature=2.0, name=None):
        super().__init__(gain=gain, curvature=curvature, name=name)

    def forward(self, *xs, backend):
        return xs[0] ** 2


def integers(random, *shape, most=2):
    return random.integers(-most, most + 1, shape).astype(float)


def factors(random, k):
    """A gain and a curvature for each channel, whole and even, some of them 0."""
    return {"gain": integers(random, k), "curvature": 2 * integers(random, k)}


@st.composite
def graphs(draw, *, pools=True):
    """Networks of small integers that bend: shortcuts of other pads and strides, concats, groups, a layer read twice, pools that
    overlap or leave gaps, with gains and curvatures. Windows of pools have cells whose number is a power of two."""
    random = np.random.default_rng(draw(st.integers(0, 2**16)))
    c = draw(st.sampled_from((1, 2)))
    layers, inputs, widths = [Conv(integers(random, 2, c, 2, 3), integers(random, 2), pad=(1, 0, 1, 1))], [0], [c, 2]

    def add(layer, *below):
        layers.append(layer)
        inputs.append(below or (len(layers) - 1,))
        widths.append(layer.channels(*(widths[i] for i in inputs[-1])))
        return len(layers)

    kinds = ["relu", "shortcut", "concat", "twice", "grouped", "select", *(["pool"] if pools else [])]
    for kind in draw(st.lists(st.sampled_from(kinds), min_size=1, max_size=3)):
        k, here = widths[-1], len(layers)
        if kind == "relu":
            add(ReLU(**factors(random, k)))
        elif kind == "shortcut":
            add(ReLU(**factors(random, k)))
            one = add(Conv(integers(random, k, k, 3, 3), pad=1, stride=(2, 1)))
            other = add(Conv(integers(random, k, k, 1, 1), stride=(2, 1)), here)
            add(Sum(), one, other)
        elif kind == "concat":
            one = add(Conv(integers(random, 1, k, 1, 2), pad=(0, 0, 1, 0)))
            two = add(ReLU(**factors(random, k)), here)
            add(Concat(), two, one)
        elif kind == "twice":
            two = add(ReLU(**factors(random, k)))
            add(Sum(), two, here, two)
        elif kind == "grouped":
            add(Conv(integers(random, 2 * k, 1, 2, 1), groups=k))
        elif kind == "select":
            add(Select([k - 1, -1, 0], stride=(1, 2), start=(0, 1)))
        elif kind == "pool":
            size, stride = draw(
                st.sampled_from((((2, 2), (2, 2)), ((2, 2), (1, 2)), ((1, 2), (2, 3)), ((2, 1), (2, 1))))
            )
            cells = math.prod(size)
            add(MaxPool(size, stride, pad=(0, 1, 0, 0) if size[0] > 1 else 0, gain=integers(random, k),
                        curvature=2 * cells * cells * integers(random, k)))  # fmt: skip
    add(ReLU(**factors(random, widths[-1])))
    add(Conv(integers(random, 2, widths[-1], 1, 2)))
    return Network(layers, inputs=inputs, input_shape=(c, 29, 43))


def small(net, most=160):
    field = net.receptive_field(len(net))
    pixels = net.channels(0) * math.prod(field.size)
    assume(pixels <= most)
    return pixels


def matrix(net, k, backend=None, to=0):
    operator = quadratic_form(net, len(net), k, to=to, backend=backend)
    return operator @ np.eye(operator.shape[0])


def inside(net, layer, shape):
    """The first unit whose field lies inside the image, and that field's first pixel; None if there is none."""
    field, (_, units) = net.receptive_field(layer), net.grid(layer, shape)
    for i, j in np.ndindex(*units):
        first = [field.offset[a] + n * field.stride[a] for a, n in enumerate((i, j))]
        if min(first) >= 0 and all(first[a] + field.size[a] <= shape[1 + a] for a in (0, 1)):
            return (i, j), first
    return None


# 1. In place: the pair of a padded image, at a unit inside, is the filter and the form on its crop.


@given(graphs(), st.integers(0, 2**16))
def test_the_pair_at_a_unit_inside_is_filter_and_form_on_its_crop(net, seed):
    small(net)
    found = inside(net, len(net), net.input_shape)
    assume(found is not None)
    (i, j), (row, column) = found
    image = integers(np.random.default_rng(seed), 1, *net.input_shape)
    size = net.receptive_field(len(net)).size
    crop = image[0, :, row : row + size[0], column : column + size[1]]
    pair = respond(net, image, len(net))
    for k in range(net.channels(len(net))):
        df = decode_filter(net, len(net), k, unpool="sum")
        assert pair.linear[0, k, i, j] == (df * crop).sum()
        assert pair.quadratic[0, k, i, j] == crop.ravel() @ (quadratic_form(net, len(net), k) @ crop.ravel())


@given(graphs())
def test_the_form_is_symmetric_for_each_backend(net):
    small(net)
    q = matrix(net, 1)
    assert (q == q.T).all()
    assert (matrix(net, 1, fast) == q).all()

    class Dense:  # which knows no groups
        def __getattr__(self, operator):
            if operator in ("groups", "dtype", "threads"):
                raise AttributeError(operator)
            return getattr(reference, operator)

    assert (matrix(net, 1, Dense()) == q).all()


@given(graphs(), st.integers(0, 2**16))
def test_units_at_other_places_inside_have_the_same_form(net, seed):
    small(net)
    shape = net.input_shape
    field = net.receptive_field(len(net))
    image = integers(np.random.default_rng(seed), 1, *shape)
    _, (rows, columns) = net.grid(len(net), shape)
    pair = respond(net, image, len(net)).quadratic[0, 0]
    operator = quadratic_form(net, len(net), 0)
    answers, crops = [], []
    for i, j in itertools.product(range(rows), range(columns)):
        row, column = field.offset[0] + i * field.stride[0], field.offset[1] + j * field.stride[1]
        crop = image[0, :, max(row, 0) : row + field.size[0], max(column, 0) : column + field.size[1]].ravel()
        if crop.size == operator.shape[0] and min(row, column) >= 0:
            answers.append(pair[i, j])
            crops.append(crop)
    assume(answers)
    images = np.stack(crops, axis=1)
    assert (answers == (images * (operator @ images)).sum(axis=0)).all()


# 2. The form by other ways: sums over hidden units in plain loops, and PyTorch's Hessian of the smoothed network.


def test_the_form_is_the_sum_over_hidden_units_and_places():
    """``Q = ½ Σ c_n s_n a_n a_nᵀ`` over the cells of each layer that bends; one hidden layer, written out in loops."""
    random = np.random.default_rng(5)
    first, second = integers(random, 3, 2, 2, 3), integers(random, 2, 3, 3, 2)
    gain, curvature = integers(random, 3), 2 * integers(random, 3)
    net = Network([Conv(first), ReLU(gain=gain, curvature=curvature), Conv(second)])
    rows, columns = 4, 4  # the field
    want = np.zeros((2 * rows * columns,) * 2)
    for h, i, j in itertools.product(range(3), range(3), range(2)):
        seen = np.zeros((2, rows, columns))
        seen[:, i : i + 2, j : j + 3] = first[h]
        want += 0.5 * curvature[h] * second[1, h, i, j] * np.outer(seen.ravel(), seen.ravel())
    assert (matrix(net, 1) == want).all()


def test_a_pool_of_0_and_2_bends_by_one_half():
    """Half the mean of squares about the mean: (1 + 1) / 2 / 2."""
    assert bend(MaxPool((1, 2)), np.array([[[[0.0, 2.0]]]]), reference).tolist() == [[[[0.5]]]]
    assert bend(ReLU(), np.array([[[[3.0]]]]), reference).tolist() == [[[[4.5]]]]
    # Cells in the pads are none: of 0 and 2, and 3 alone.
    padded = bend(MaxPool((1, 2), 2, pad=(0, 0, 0, 1)), np.array([[[[0.0, 2.0, 3.0]]]]), reference)
    assert padded.tolist() == [[[[0.5, 0.0]]]]


def test_the_gradient_of_a_bend_is_its_difference_for_a_cell():
    """Quadratic, so that central differences are exact: (b(x + e) − b(x − e)) / 2, in eighths."""
    random = np.random.default_rng(3)
    x, s = integers(random, 1, 2, 4, 4, most=4), integers(random, 1, 2, 3, 2, most=4)
    layer = MaxPool((2, 2), (1, 2), curvature=1)
    gradient = unbend(layer, s, x, reference)
    for place in np.ndindex(*x.shape):
        step = np.zeros_like(x)
        step[place] = 1
        up, down = ((s * bend(layer, x + t * step, reference)).sum() for t in (1, -1))
        assert abs(gradient[place] - (up - down) / 2) <= 100 * 2.0**-52


def test_the_pool_keeps_a_common_mean_of_1000_in_single_precision():
    x = (1000 + np.random.default_rng(0).normal(size=(1, 1, 6, 8))).astype(np.float32)
    want, got = (bend(MaxPool(2), each, fast) for each in (x.astype(np.float64), x))
    assert got.dtype == np.float32
    assert (
        np.abs(got - want).max() <= 64 * 2.0**-24 * np.square(x - x.mean()).max()
    )  # a sum of four squares, less another


def smoothed(net, torch, x):
    """The network with ``a z + c z² / 2`` for what bends, without biases; pools as the sum and the spread of windows."""
    found = [x]
    for layer, below in zip(net.layers, net.inputs, strict=True):
        zs = [found[i] for i in below]
        gain, curvature = (
            torch.as_tensor(np.broadcast_to(0.0 if f is None else f, len(zs[0][0])).copy())[:, None, None]
            for f in (layer.gain, layer.curvature)
        )
        if isinstance(layer, Conv):
            pad = layer.pad
            z = torch.nn.functional.pad(zs[0], (pad[2], pad[3], pad[0], pad[1]))
            found.append(
                torch.nn.functional.conv2d(z, torch.tensor(layer.filters), stride=layer.stride, groups=layer.groups)
            )
        elif isinstance(layer, MaxPool):
            h, w = layer.size
            z = zs[0].unfold(2, h, layer.stride[0]).unfold(3, w, layer.stride[1]).flatten(4)
            spread = ((z - z.mean(-1, keepdim=True)) ** 2).mean(-1)
            found.append(gain * z.sum(-1) + curvature * spread / 2)
        elif isinstance(layer, ReLU):
            found.append(gain * zs[0] + curvature * zs[0] ** 2 / 2)
        elif isinstance(layer, Sum):
            found.append(sum(zs))
        elif isinstance(layer, Concat):
            found.append(torch.cat(zs, 1))
        elif isinstance(layer, Select):
            z = zs[0][:, :, layer.start[0] :: layer.stride[0], layer.start[1] :: layer.stride[1]]
            new = torch.tensor(layer.chosen < 0)[:, None, None]
            found.append(torch.where(new, torch.zeros(()).double(), z[:, torch.tensor(layer.chosen)]))
    return found[-1]


@settings(max_examples=40)
@given(graphs())
def test_the_form_is_half_of_pytorchs_hessian_of_the_smoothed_network(net):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    small(net)
    assume(all(not any(layer.pad) for layer in net.layers if isinstance(layer, MaxPool)))
    found = inside(net, len(net), net.input_shape)
    assume(found is not None)
    (i, j), (row, column) = found
    size = net.receptive_field(len(net)).size

    def response(crop):
        image = torch.zeros((1, *net.input_shape), dtype=torch.float64)
        padded = torch.nn.functional.pad(
            crop.reshape(1, -1, *size),
            (column, image.shape[3] - column - size[1], row, image.shape[2] - row - size[0]),
        )
        return smoothed(net, torch, padded)[0, 0, i, j]

    pixels = net.channels(0) * math.prod(size)
    hessian = torch.autograd.functional.hessian(response, torch.zeros(pixels, dtype=torch.float64)).numpy()
    assert (matrix(net, 0) == hessian / 2).all()


# 3. Laws.


@given(graphs(), st.integers(0, 2**16))
def test_twice_the_image_is_four_times_the_form_to_the_bit(net, seed):
    image = np.random.default_rng(seed).normal(size=(1, *net.input_shape))
    one, two, minus = (respond(net, factor * image, len(net)) for factor in (1, 2, -1))
    assert (two.linear == 2 * one.linear).all()
    assert (two.quadratic == 4 * one.quadratic).all()
    assert (minus.quadratic == one.quadratic).all()
    assert (minus.linear == -one.linear).all()


@given(graphs(pools=False), st.integers(0, 2**16))
def test_without_curvature_the_second_order_is_the_first(net, seed):
    flat = net.replace(
        layers=[each.replace(curvature=0.0) if "curvature" in each.fields() else each for each in net.layers]
    )
    image = integers(np.random.default_rng(seed), 1, *net.input_shape)
    pair, found = respond(flat, image, len(net)), inside(net, len(net), net.input_shape)
    assert not pair.quadratic.any()
    assume(found is not None)
    (i, j), _ = found
    one, two = (decoded_responses(flat, image, len(net), order=order, unpool="sum") for order in (1, 2))
    assert (one[0, :, i, j] == two[0, :, i, j]).all()


@given(st.integers(0, 2**16))
def test_a_layer_that_squares_is_reproduced_exactly(seed):
    random = np.random.default_rng(seed)
    net = Network(
        [Conv(integers(random, 3, 2, 2, 3), pad=1), Square(), Conv(integers(random, 2, 3, 2, 2), pad=(0, 1, 1, 0))]
    )
    image = integers(random, 2, 2, 6, 7)
    assert (decoded_responses(net, image, 3, order=2) == net.forward(image)).all()


@given(st.integers(0, 2**16))
def test_channels_permuted_alike_below_and_above_change_nothing(seed):
    random = np.random.default_rng(seed)
    below, above, order = integers(random, 4, 2, 2, 2), integers(random, 2, 4, 1, 2), random.permutation(4)
    gain, curvature = integers(random, 4), 2 * integers(random, 4)
    nets = [
        Network([Conv(below[o]), ReLU(gain=gain[o], curvature=curvature[o]), Conv(above[:, o])])
        for o in (np.arange(4), order)
    ]
    assert (matrix(nets[0], 0) == matrix(nets[1], 0)).all()


@given(st.integers(0, 2**16), st.integers(-3, 3))
def test_a_convolution_scaled_up_and_its_reader_down_change_nothing(seed, power):
    random, factor = np.random.default_rng(seed), 2.0**power
    below, above = random.normal(size=(3, 1, 2, 2)), random.normal(size=(2, 3, 1, 2))
    images = random.normal(size=(8, 1, 6, 7))
    nets = [
        quadratize(Network([Conv(f * below), ReLU(), MaxPool(2), Conv(above / f)], input_shape=(1, 6, 7)), images)
        for f in (1.0, factor)
    ]
    assert (respond(nets[0], images, 4).quadratic == respond(nets[1], images, 4).quadratic).all()


def test_down_to_a_layer_between_the_form_is_that_of_the_layers_above():
    random = np.random.default_rng(8)
    net = Network([Conv(integers(random, 3, 1, 2, 2)), ReLU(**factors(random, 3)), Conv(integers(random, 2, 3, 2, 2)),
                   ReLU(**factors(random, 2)), Conv(integers(random, 2, 2, 1, 2))])  # fmt: skip
    above = Network(net.layers[2:])
    assert (matrix(net, 1, to=2) == matrix(above, 1)).all()


# 4. Mutants: each is wrong in one way, and the law of the crop, or a number written out, sees it.


def crop_law(net, seed=1):
    image = integers(np.random.default_rng(seed), 1, *net.input_shape)
    (i, j), (row, column) = inside(net, len(net), net.input_shape)
    size = net.receptive_field(len(net)).size
    crop = image[0, :, row : row + size[0], column : column + size[1]].ravel()
    return respond(net, image, len(net)).quadratic[0, 0, i, j] == crop @ (quadratic_form(net, len(net), 0) @ crop)


def example():
    random = np.random.default_rng(4)
    layers = [
        Conv(integers(random, 3, 1, 2, 3), integers(random, 3), pad=(1, 0, 2, 0)),
        ReLU(gain=[1, 2, -1], curvature=[2, -4, 6]),
        Conv(integers(random, 3, 3, 3, 3), pad=1),
        Sum(),
        MaxPool((2, 2), (1, 2), gain=[1, 2, 1], curvature=[32, 64, -32]),
        Conv(integers(random, 2, 3, 2, 1)),
        ReLU(gain=1.0, curvature=2.0),
    ]
    return Network(layers, inputs=[0, 1, 2, (2, 3), 4, 5, 6], input_shape=(1, 14, 15))


def test_the_law_of_the_crop_holds_for_the_example():
    assert crop_law(example())


MUTANTS = {
    "the ½ forgotten on the way up": ("bend", lambda true: lambda layer, x, b: 2 * true(layer, x, b)),
    "a window without its mean": (
        "bend",
        lambda true: lambda layer, x, b: np.asarray(layer.linear(x * x, backend=b)) / (2 * math.prod(layer.size)),
    ),
    "by n − 1": (
        "bend",
        lambda true: lambda layer, x, b: true(layer, x, b) * (4 / 3 if isinstance(layer, MaxPool) else 1),
    ),
    "overlaps overwritten": (
        "unbend",
        lambda true: (
            lambda layer, s, x, b: true(
                MaxPool(layer.size, curvature=1) if isinstance(layer, MaxPool) else layer,
                s[..., : x.shape[2] // 2, :] if isinstance(layer, MaxPool) else s,
                x[..., : x.shape[2] // 2 * 2, :] if isinstance(layer, MaxPool) else x,
                b,
            )
        ),
    ),
    "curvature of the neighbouring channel": (
        "unbend",
        lambda true: lambda layer, s, x, b: true(layer, np.roll(s, 1, axis=1), x, b),
    ),
    "the weights of the unit in another place": (
        "unbend",
        lambda true: lambda layer, s, x, b: true(layer, np.roll(s, 1, axis=-1), x, b),
    ),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_wrong_bend_breaks_the_law(monkeypatch, mutant):
    name, wrong = MUTANTS[mutant]
    monkeypatch.setattr(secondorder, name, wrong(getattr(secondorder, name)))
    try:
        held = crop_law(example())
    except ValueError:  # shapes that no longer fit
        held = False
    assert not held


def test_pads_counted_in_the_form_break_the_law(monkeypatch):
    monkeypatch.setattr(Layer, "unpadded", lambda self: self)
    with pytest.raises(Exception):  # noqa: B017, PT011  # maps that no longer fit each other
        assert crop_law(example())


def test_the_last_layers_part_alone_breaks_the_law(monkeypatch):
    true = Form.__init__

    def last(self, *arguments):
        true(self, *arguments)
        self.bent = self.bent[-1:]

    monkeypatch.setattr(Form, "__init__", last)
    assert not crop_law(example())


def test_the_curvature_of_the_layer_before_breaks_the_law(monkeypatch):
    true = Form.__init__

    def shifted(self, *arguments):
        true(self, *arguments)
        before, pool = self.bent[:2]
        self.layers[pool] = self.layers[pool].replace(curvature=self.layers[before].curvature)

    monkeypatch.setattr(Form, "__init__", shifted)
    assert not crop_law(example())


def test_biases_in_the_pair_break_the_law(monkeypatch):
    monkeypatch.setattr(Conv, "linear", Conv.forward)
    assert not crop_law(example())


def test_a_shortcut_squared_before_it_is_added_is_another_form():
    """``(x + 2x)²`` is 9 x², not x² + 4 x²."""
    double = Conv([[[[2.0]]]])
    net = Network([double, Sum(), Square()], inputs=[0, (0, 1), 2], input_shape=(1, 1, 1))
    assert matrix(net, 0).tolist() == [[9.0]]


def test_the_mean_image_is_not_forgotten():
    """About the mean m the linear part is ℓ + 2 Q m: of x² about 3, 6."""
    net = Network([Square(), Conv([[[[1.0]]]])], input_shape=(1, 1, 1))
    found = decode_quadratic(net, 2, 0, n=1, statistics=Independent([3], [2], (1, 1)))
    assert found.linear.item() == 6
    # d of variance 4: x² − 9 − 6 d = d².
    assert abs(found.eigenvalues[0] - 4) <= 8 * 2.0**-52 * 4
    assert abs(found.respond(np.array([[[[5.0]]]]))[0] - (12 + 4)) <= 16 * 2.0**-52 * 16


# 5. Where the factors come from.


@given(st.floats(-3, 3), st.floats(0.1, 3), st.sampled_from([0.0, 0.25, -1.0]))
def test_curvature_is_the_derivative_of_the_gain_by_the_mean(mean, std, leak):
    """In closed form; the difference over a step h errs by h² times a third derivative, at most 2 / (6 σ³)."""
    h = 1e-4 * std
    low, here, high = (expected(ReLU(leak=leak), [mean + t], [std]) for t in (-h, 0.0, h))
    slope = (high.gain[0] - low.gain[0]) / (2 * h)
    assert abs(slope - here.curvature[0]) <= h * h / std**3 * 2 + 4 * 2.0**-52 / h


def test_for_gaussian_input_least_squares_finds_gain_and_curvature():
    """A million draws at a fixed seed: the standard errors are some 1e-3, and five of them are allowed."""
    random, mean, std, n = np.random.default_rng(11), 0.4, 1.3, 10**6
    z = mean + std * random.standard_normal(n)
    features = np.stack([z - mean, 0.5 * (z - mean) ** 2, np.ones(n)], axis=1)
    y = np.maximum(z, 0)
    found, residual = np.linalg.lstsq(features, y, rcond=None)[:2]
    error = np.sqrt(np.diag(np.linalg.inv(features.T @ features)) * residual / n)
    want = expected(ReLU(), [mean], [std])
    assert abs(found[0] - want.gain[0]) <= 5 * 2 * error[0]  # twice: the residual is not of one size everywhere
    assert abs(found[1] - want.curvature[0]) <= 5 * 2 * error[1]


def calibrated(seed=0, parts=1):
    random = np.random.default_rng(seed)
    net = Network([Conv(random.normal(size=(4, 1, 3, 3)), random.normal(size=4)), ReLU(), MaxPool(2),
                   Conv(random.normal(size=(3, 4, 2, 2)), random.normal(size=3)), ReLU(leak=0.1)],
                  input_shape=(1, 9, 10))  # fmt: skip
    images = random.normal(size=(40, 1, 9, 10))
    return net, images, quadratize(net, np.split(images, parts) if parts > 1 else images)


def test_calibration_is_the_same_to_the_bit_and_in_other_batches_within_rounding():
    (_, _, one), (_, _, again), (_, _, parts) = calibrated(), calibrated(), calibrated(parts=4)
    assert one == again
    for a, b in zip(one.layers, parts.layers, strict=True):
        for what in ("gain", "curvature"):
            if what in a.fields() and getattr(a, what) is not None:
                want = getattr(a, what)
                # Sums of 40·56 terms in double precision, and systems of two unknowns scaled to a condition below 1e3.
                assert np.abs(getattr(b, what) - want).max() <= 1e3 * 2240 * 2.0**-53 * np.abs(want).max()


def test_calibration_in_threads_has_the_same_bits(monkeypatch):
    net, images, _ = calibrated()
    seen, found, where = secondorder._seen, [], [set(), set()]
    for count in (1, 2):

        def watched(*arguments, count=count):
            where[count - 1].add(threading.get_ident())
            return seen(*arguments)

        monkeypatch.setattr(secondorder, "_seen", watched)
        with threadpool_limits(count, "blas"):
            found.append(quadratize(net, np.split(images, 5), backend=fast))
    assert found[0] == found[1]
    assert where[0] == {threading.get_ident()}
    assert threading.get_ident() not in where[1]


@pytest.mark.parametrize("what", ["gain", "curvature"])
def test_a_calibrated_layers_factors_minimize_its_own_squared_error(what):
    net, images, found = calibrated()
    for number in (2, 3, 5):
        true = net.forward(images, number)

        def error(layer, number=number, true=true):
            changed = found.replace(layers=[layer if n == number else x for n, x in enumerate(found.layers, 1)])
            pair = respond(changed, images, number)
            apart = true - pair.linear - pair.quadratic
            return apart.var(axis=(0, 2, 3))

        layer = found.layers[number - 1]
        best = error(layer)
        for factor in (0.99, 1.01):
            assert (error(layer.replace(**{what: getattr(layer, what) * factor})) > best).all()


def test_channels_that_never_vary_have_neither_gain_nor_curvature():
    net = Network(
        [Conv([[[[1.0]]], [[[0.0]]]], [0.0, 3.0]), ReLU(), Conv(np.ones((1, 2, 1, 1)))], input_shape=(1, 2, 2)
    )
    found = quadratize(net, np.random.default_rng(0).normal(size=(9, 1, 2, 2)))
    assert found.layers[1].gain[1] == found.layers[1].curvature[1] == 0
    assert found.layers[1].gain[0] > 0.3


def test_without_images_the_curvature_is_a_third_of_the_second_derivatives_mean():
    net = Network([BatchNorm([2.0, 1.0], [0.0, 5.0], mean=[0, 0], std=[1, 1]), ReLU()])
    found = quadratize(net).layers[1]
    want = expected(ReLU(), [0.0, 5.0], [2.0, 1.0])
    assert (found.gain == want.gain).all()
    assert (found.curvature == want.curvature * secondorder.TAILS).all()


def test_quadratize_and_linearize_of_such_a_network_start_anew():
    net, images, found = calibrated()
    assert quadratize(found, images) == found
    assert decoding.linearize(found, images) == decoding.linearize(net, images).replace(moments=found.moments)


def test_the_moments_of_each_map_stay_with_the_result():
    net, images, found = calibrated()
    for number in range(len(net) + 1):
        true = net.activations(images)[number]
        mean, std = found.moments[number]
        assert np.abs(mean - true.mean(axis=(0, 2, 3))).max() <= 4000 * 2.0**-53 * np.abs(true).max()
        assert np.abs(std - true.std(axis=(0, 2, 3))).max() <= 4000 * 2.0**-53 * np.abs(true).max()
    assert pickle.loads(pickle.dumps(found)) == found


# 6. Pictures.


def pictured(statistics=None, n=4, k=1):
    _, images, found = calibrated()
    return found, decode_quadratic(found, 5, k, n=n, statistics=statistics), images


def test_pattern_of_the_filters_are_the_patterns():
    statistics = natural((6, 6), channels=1)
    _, unit, _ = pictured(statistics)
    error = np.abs(pattern(unit.filters, statistics) - unit.patterns).max()
    assert error <= 1e3 * 2.0**-52 * np.abs(unit.patterns).max()  # two symmetric eigenproblems of 36 pixels


def test_filters_have_variance_1_and_patterns_are_in_order():
    statistics = natural((6, 6), channels=1)
    _, unit, _ = pictured(statistics, n=6)
    variance = np.einsum("ncij,mcij->nm", unit.filters, unit.patterns)
    assert np.abs(variance - np.eye(6)).max() <= 1e4 * 2.0**-52
    assert (np.diff(np.abs(unit.eigenvalues)) <= 0).all()
    assert (np.diff(unit.explained) <= 0).all()


def test_all_pictures_together_are_the_form():
    net, unit, _ = pictured(n=36)
    images = np.random.default_rng(5).normal(size=(7, 1, 6, 6))
    form = quadratic_form(net, 5, 1)
    flat = images.reshape(7, 36)
    want = np.einsum("ni,ni->n", flat, (form @ flat.T).T) + flat @ unit.linear.ravel()
    size = np.abs(flat).max() ** 2 * np.abs(form @ np.eye(36)).sum() + np.abs(want).max()
    # The natural spectrum spans a factor of some hundred, by which an eigenvalue's rounding grows.
    assert np.abs(unit.respond(images) - want).max() <= 1e5 * 2.0**-53 * size
    assert abs(unit.explained.sum() - 1) <= 1e3 * 2.0**-52


def test_the_search_finds_what_writing_out_finds(monkeypatch):
    monkeypatch.setattr(decoding.eigenpictures, "DENSE", 1000)
    _, whole, _ = pictured()
    monkeypatch.setattr(decoding.eigenpictures, "DENSE", 1)
    _, searched, _ = pictured()
    tolerance = decoding.eigenpictures.TOLERANCE
    assert np.abs(searched.eigenvalues - whole.eigenvalues).max() <= tolerance * abs(whole.eigenvalues[0])
    assert whole.explained_error == 0 < searched.explained_error
    apart = np.abs(searched.explained.sum() - whole.explained.sum())
    assert apart <= 6 * searched.explained_error + tolerance
    assert (pictured()[1].patterns == searched.patterns).all()  # the same every time


def test_copies_of_a_multiple_eigenvalue_are_all_found(monkeypatch):
    """The sum of squares of 12 pixels that are alike: an eigenvalue that comes twelve times."""
    net = Network([Square(), Conv(np.ones((1, 1, 3, 4)))], input_shape=(1, 3, 4))
    for dense in (1000, 1):
        monkeypatch.setattr(decoding.eigenpictures, "DENSE", dense)
        unit = decode_quadratic(net, 2, 0, n=5, statistics=Independent([0], [2], (3, 4)))
        assert np.abs(unit.eigenvalues - 4).max() <= 1e-9
        overlap = np.einsum("ncij,mcij->nm", unit.filters, unit.patterns)
        assert np.abs(overlap - np.eye(5)).max() <= 1e-6


@pytest.mark.parametrize("radius", [0.3, 1.0, 3.0, 30.0])
def test_no_other_image_of_the_radius_does_better(radius):
    """On ℓ and the pictures that were kept: neither random images nor such as are improved along their gradient."""
    statistics = natural((6, 6), channels=1)
    _, unit, _ = pictured(statistics)
    inverse = np.linalg.inv(statistics.cov(np.eye(36).reshape(36, 1, 6, 6)).reshape(36, 36))
    best, worst = unit.most_exciting(radius), unit.most_suppressing(radius)
    for image in (best, worst):
        assert abs(image.ravel() @ inverse @ image.ravel() - radius**2) <= 1e-9 * radius**2
    high, low = unit.respond(np.stack([best, worst]))
    random = np.random.default_rng(0)
    for start in random.normal(size=(30, 36)):
        y = radius * start / np.linalg.norm(start)
        image = statistics.root(np.pad(y, (0, math.prod(statistics.root_shape) - 36)).reshape(statistics.root_shape))
        image *= radius / math.sqrt(image.ravel() @ inverse @ image.ravel())
        found = unit.respond(image[np.newaxis])[0]
        assert low - 1e-9 * abs(low) <= found <= high + 1e-9 * abs(high)
    # Gradient ascent on the sphere, in the metric of the statistics, ends nowhere higher.
    root = np.linalg.cholesky(statistics.cov(np.eye(36).reshape(36, 1, 6, 6)).reshape(36, 36))
    filters, linear = unit.filters.reshape(4, 36) @ root, unit.linear.ravel() @ root
    for y in random.normal(size=(5, 36)):
        y *= radius / np.linalg.norm(y)
        for _ in range(300):
            gradient = linear + 2 * (unit.eigenvalues * (filters @ y)) @ filters
            y = y + 0.05 * radius * gradient / np.linalg.norm(gradient)
            y *= radius / np.linalg.norm(y)
        assert linear @ y + unit.eigenvalues @ (filters @ y) ** 2 <= high + 1e-9 * abs(high)


def unit_of(linear, eigenvalues):
    """A unit of white noise whose pictures are the first pixels."""
    linear = np.array(linear, float).reshape(1, 1, -1)
    pictures = np.eye(linear.size)[: len(eigenvalues)].reshape(-1, *linear.shape)
    values = np.array(eigenvalues, float)
    return QuadraticUnit(linear, linear, values, pictures, pictures, values**2 / (values**2).sum())


def test_the_hard_case_adds_the_strongest_picture():
    """No gradient along the first pixel: the rest of the radius goes there. ν = 2: y = 3 / (2 · (2 − 0)) = ¾ along the second."""
    image = unit_of([0, 3], [2]).most_exciting(1.0).ravel()
    assert abs(image[1] - 0.75) <= 1e-12
    assert abs(image[0] - math.sqrt(1 - 0.75**2)) <= 1e-12


def test_a_unit_that_is_only_suppressed_has_no_exciting_image():
    unit = unit_of([0, 0], [-1])
    assert not unit.most_exciting(2.0).any()
    assert np.abs(unit.most_suppressing(2.0)).ravel().tolist() == [2.0, 0.0]


def test_a_complex_cells_best_image_changes_most_freely_in_phase():
    """Two equal pictures and a suppressive one: from the first, turning into the second costs nothing."""
    unit = unit_of([1e-3, 0, 0, 0], [1.0, 1.0, -1.0])
    best = unit.most_exciting(2.0).ravel()
    free = unit.invariances(2, 2.0).reshape(2, 4)
    assert abs(best[0]) >= 1.99
    assert abs(abs(free[0, 1]) - 1) <= 1e-9
    assert abs(free[0] @ best) <= 1e-9


def test_a_unit_is_saved_and_loaded(tmp_path):
    _, unit, images = pictured()
    unit.save(tmp_path / "unit.npz")
    again = QuadraticUnit.load(tmp_path / "unit.npz")
    assert (again.respond(images[:, :, :6, :6]) == unit.respond(images[:, :, :6, :6])).all()
    (tmp_path / "no.npz").write_bytes(b"no")
    with pytest.raises(decoding.DataFormatError, match=r"no\.npz"):
        QuadraticUnit.load(tmp_path / "no.npz")


def test_several_units_are_a_list_of_each():
    net, unit, _ = pictured()
    found = decode_quadratic(net, 5, [0, 1], n=4)
    assert len(found) == 2
    assert (found[1].patterns == unit.patterns).all()


def test_a_layer_between_is_about_its_mean():
    net, _, _ = pictured()
    unit = decode_quadratic(net, 5, 0, to=3, n=3)
    mean, _ = net.moments[3]
    assert (unit.mean[:, 0, 0] == mean).all()
    assert unit.linear.shape == (4, 2, 2)


def test_an_empty_result_only_where_nothing_bends_on_the_way():
    net, _, _ = pictured()
    unit = decode_quadratic(net, 1, 0, n=2)
    assert len(unit.eigenvalues) == 0
    assert (unit.linear == net.layers[0].filters[0]).all()


# 7. Errors that help.


@pytest.mark.parametrize(
    ("do", "error", "says"),
    [
        (
            lambda net: quadratize(Network([Conv([[[[1.0]]]]), ReLU()])),
            decoding.UnsupportedLayerError,
            r"Give images: quadratize\(net, images\)",
        ),
        (
            lambda net: quadratize(
                Network([BatchNorm([1], [0], mean=[0], std=[1]), MaxPool(2)], input_shape=(1, 4, 4))
            ),
            decoding.UnsupportedLayerError,
            "Give images",
        ),
        (lambda net: decode_quadratic(decoding.lenet(), 7, 3), decoding.InvalidValueError, "quadratize"),
        (lambda net: quadratic_form(decoding.lenet(), 7, 3), decoding.InvalidValueError, "quadratize"),
        (
            lambda net: decoded_responses(decoding.lenet(), np.zeros((1, 1, 28, 28)), 7, order=2),
            decoding.InvalidValueError,
            "quadratize",
        ),
        (
            lambda net: decoded_responses(net, np.zeros((1, 1, 9, 10)), 5, order=2, filters=np.zeros((3, 1, 6, 6))),
            decoding.InvalidValueError,
            "order 1",
        ),
        (lambda net: decoded_responses(net, np.zeros((1, 1, 9, 10)), 5, order=3), decoding.InvalidValueError, "1 or 2"),
        (lambda net: quadratize(net, np.zeros((1, 1, 9, 10))), decoding.InvalidValueError, "at least 2"),
        (lambda net: quadratize(net, np.ones((5, 1, 9, 10))), decoding.InvalidValueError, "nothing varies"),
        (lambda net: quadratize(net, np.full((5, 1, 9, 10), np.nan)), decoding.InvalidValueError, "not finite"),
        (lambda net: quadratize(net, np.zeros((5, 2, 9, 10))), decoding.ShapeError, "channel"),
        (lambda net: decode_quadratic(net, 5, 0, n=37), decoding.InvalidValueError, "36"),
        (lambda net: decode_quadratic(net, 5, 9), decoding.UnknownLayerError, "no unit 9"),
        (lambda net: decode_quadratic(net, 5, 0, statistics=natural((3, 3), channels=1)), decoding.ShapeError, "3×3"),
        (
            lambda net: decode_quadratic(net, 5, 0, statistics=natural((6, 6), channels=3)),
            decoding.ShapeError,
            "3 channels",
        ),
        (lambda net: decode_quadratic(net, 5, 0, statistics="natural"), decoding.InvalidValueError, "made by natural"),
        (
            lambda net: decoded_responses(net, np.zeros((1, 1, 9, 10)), 5, order=2, unpool="bicubic"),
            decoding.InvalidValueError,
            "must be 'sum' or left out",
        ),
        (lambda net: decode_quadratic(net, 5, 0, n=0), decoding.InvalidValueError, "n"),
        (lambda net: decode_quadratic(net, 5, 0).most_exciting(0), decoding.InvalidValueError, "radius"),
        (lambda net: decode_quadratic(net, 5, 0).most_exciting(-1), decoding.InvalidValueError, "radius"),
        (lambda net: decode_quadratic(net, 5, 0).most_suppressing(np.nan), decoding.InvalidValueError, "radius"),
        (
            lambda net: decode_quadratic(net, 5, 0, n=2).invariances(3),
            decoding.InvalidValueError,
            "number of pictures, 2",
        ),
        (lambda net: decode_quadratic(net, 5, 0).respond(np.zeros((1, 1, 5, 5))), decoding.ShapeError, "respond"),
        (lambda net: ReLU(curvature=np.inf), decoding.InvalidValueError, "not finite"),
        (lambda net: Network([Conv([[[[1.0]]]]), ReLU(curvature=[1, 2])]), decoding.ShapeError, "curvature"),
    ],
)
def test_refused(do, error, says):
    with pytest.raises(error, match=says):
        do(calibrated()[2])


def test_a_search_that_does_not_end_says_what_was_found(monkeypatch):
    import scipy.sparse.linalg

    def stuck(*arguments, **options):
        raise scipy.sparse.linalg.ArpackNoConvergence("no", np.array([2.5]), np.zeros((1, 1)))

    monkeypatch.setattr(scipy.sparse.linalg, "eigsh", stuck)
    monkeypatch.setattr(decoding.eigenpictures, "DENSE", 1)
    with pytest.raises(decoding.InvalidValueError, match=r"only these were found: 2\.5"):
        pictured()


def test_covariance_of_images_is_taken_about_their_mean():
    found = calibrated()[2]
    crops = np.random.default_rng(2).normal(size=(300, 1, 6, 6)) + 5
    unit = decode_quadratic(found, 5, 1, n=36, statistics=covariance(crops))
    one, two = crops[:1], crops[1:2]
    pair = [respond(found, each, 5) for each in (one, two)]
    want = sum((each.linear + each.quadratic)[0, 1, 0, 0] * sign for each, sign in zip(pair, (1, -1), strict=True))
    got = unit.respond(one)[0] - unit.respond(two)[0]
    size = max(np.abs(each.linear).max() + np.abs(each.quadratic).max() for each in pair)
    assert abs(got - want) <= 1e6 * 2.0**-53 * size  # 300 crops of 36 pixels: a condition below a thousand
