"""The laws of filter decoding, on networks of small integers, where results must be equal and not only close."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import signal

from decoding import AvgPool, Conv, MaxPool, Network, Pool, ReLU, decode, decode_filter, decode_layer, reference
from decoding.interpolation import MODES
from decoding.reference import correlate, substitute, unpool
from decoding.testing import loops, strategies

# Strides of powers of two make every weight of an interpolation a binary fraction: nothing is rounded.
BINARY = st.sampled_from([((2, 2), (2, 2)), ((2, 3), (2, 1)), ((3, 3), (2, 2)), ((1, 2), (1, 4)), ((4, 1), (4, 1))])

BANKS = strategies.calls("substitute").map(lambda call: call.arrays[1])
STRIDES = strategies.calls("substitute").map(lambda call: call.options["stride"])


@st.composite
def plain_networks(draw, *, tiling=False, most=4):
    """Chains without pads or gains, whose pools tile (size = stride) or have exact weights."""
    layers = []
    for layer in draw(strategies.networks(most=most, kinds=("conv", "pool", "relu"))).layers:
        if isinstance(layer, Conv):
            keep = {"stride": layer.stride, "dilation": layer.dilation, "groups": layer.groups}
            layers.append(Conv(layer.filters, layer.bias, **keep))
        elif isinstance(layer, Pool):
            layers.append(type(layer)(*((layer.size,) if tiling else draw(BINARY))))
        else:
            layers.append(layer.replace(gain=None))
    net = Network(layers)
    assume(np.prod(net.receptive_field(len(layers)).size) <= 1500)
    return net


def images_of(draw, net, units=(2, 3)):
    """Images that make a top map of so many units, with nothing left over."""
    field = net.receptive_field(len(net.layers))
    height, width = (size + (n - 1) * stride for size, stride, n in zip(field.size, field.stride, units, strict=True))
    return draw(strategies.fillings((2, net.channels(0), height, width)))


def crops(net, images, units=(2, 3)):
    """What each unit of the top map sees: ((i, j), images cropped to its field)."""
    field = net.receptive_field(len(net.layers))
    for i, j in np.ndindex(*units):
        top, left = i * field.stride[0], j * field.stride[1]
        yield (i, j), images[:, :, top : top + field.size[0], left : left + field.size[1]]


def interpolation(n, size, stride, mode):
    """The weights of unpooling along one axis, from the plain loops."""
    rows = np.zeros(((n - 1) * stride + size, n))
    for p, cells in enumerate(loops.taps(n, size, stride, mode)):
        for cell, weight in cells:  # a cell past the edge is a mirrored one: it can come twice
            rows[p, cell] += weight
    return rows


def linearized(net, x, mode):
    """The network with biases 0, ReLU the identity, and each pool the transpose of its interpolation."""
    for layer in net.layers:
        if isinstance(layer, Conv):
            x = correlate(x, layer.dense, stride=layer.stride)
        elif isinstance(layer, Pool):
            counts = layer.shape(x.shape[1:])[1:]
            rows, columns = (interpolation(*axis, mode) for axis in zip(counts, layer.size, layer.stride, strict=True))
            x = rows.T @ x[:, :, : len(rows), : len(columns)] @ columns
    return x


# 1. Substitution.


@given(strategies.calls("correlate"), st.data())
def test_substitute_is_the_adjoint_of_correlate(call, data):
    (x, filters, _), stride = call.arrays, call.options["stride"]
    assume(x.shape[2] >= filters.shape[2] and x.shape[3] >= filters.shape[3])
    y = correlate(x, filters, stride=stride)
    z = data.draw(strategies.fillings(y.shape))
    back = substitute(z, filters, stride=stride)
    assert np.vdot(y, z) == np.vdot(x[:, :, : back.shape[2], : back.shape[3]], back)


@given(strategies.calls("substitute"))
def test_substitute_is_full_convolution(call):
    maps, filters = call.arrays
    out = substitute(maps, filters)
    for n, c in np.ndindex(*out.shape[:2]):
        full = sum(signal.convolve(maps[n, k], filters[k, c], "full", "direct") for k in range(len(filters)))
        assert (out[n, c] == full).all()


@given(BANKS, STRIDES, st.data())
def test_an_impulse_becomes_the_filter_in_its_place(filters, stride, data):
    shape = (1, len(filters), data.draw(st.integers(1, 4)), data.draw(st.integers(1, 4)))
    _, k, i, j = place = tuple(data.draw(st.integers(0, n - 1)) for n in shape)
    impulse = np.zeros(shape)
    impulse[place] = 1
    out = substitute(impulse, filters, stride=stride)
    top, left = i * stride[0], j * stride[1]
    h, w = filters.shape[2:]
    assert (out[0, :, top : top + h, left : left + w] == filters[k]).all()
    assert np.abs(out).sum() == np.abs(filters[k]).sum()


@given(strategies.calls("substitute"), st.data())
def test_substitute_is_bilinear(call, data):
    (maps, filters), stride = call.arrays, call.options["stride"]
    others, other_filters = data.draw(strategies.fillings(maps.shape)), data.draw(strategies.fillings(filters.shape))
    whole = substitute(maps + 3 * others, filters - 2 * other_filters, stride=stride)
    parts = [substitute(m, f, stride=stride) for m in (maps, others) for f in (filters, other_filters)]
    assert (whole == parts[0] - 2 * parts[1] + 3 * parts[2] - 6 * parts[3]).all()


@given(strategies.calls("substitute"), st.integers(0, 2), st.integers(0, 3))
def test_substitute_commutes_with_shifts(call, down, right):
    (maps, filters), stride = call.arrays, call.options["stride"]
    moved = np.pad(maps, ((0, 0), (0, 0), (down, 0), (right, 0)))
    out, expected = substitute(moved, filters, stride=stride), substitute(maps, filters, stride=stride)
    assert (out[:, :, down * stride[0] :, right * stride[1] :] == expected).all()
    assert np.abs(out).sum() == np.abs(expected).sum()


# 2. What a decoded filter estimates.


@given(st.data())
def test_decoded_filters_are_the_network_with_sum_pools_on_the_whole_map(data):
    net = data.draw(plain_networks(tiling=True))
    images = images_of(data.draw, net)
    bank = decode_layer(net, len(net.layers))
    x = images
    for layer in net.layers:
        if isinstance(layer, Conv):
            x = correlate(x, layer.dense, stride=layer.stride)
        elif isinstance(layer, Pool):
            n, c, h, w = x.shape
            ones = np.ones((1, 1, *layer.size))
            x = correlate(x.reshape(n * c, 1, h, w), ones, stride=layer.stride)
            x = x.reshape(n, c, *x.shape[2:])
    assert (correlate(images, bank, stride=net.receptive_field(len(net.layers)).stride) == x).all()


@given(st.data())
def test_an_average_pool_divides_that_by_the_cells_of_each_pool(data):
    sizes = st.sampled_from([(2, 2), (2, 4), (1, 2)])
    layers = [
        AvgPool(data.draw(sizes)) if isinstance(each, Pool) else Conv(each.dense) if isinstance(each, Conv) else each
        for each in data.draw(plain_networks()).layers
        if not isinstance(each, ReLU)
    ]
    assume(layers)
    net = Network(layers)
    assume(net._channels[0] is not None and np.prod(net.receptive_field(len(layers)).size) <= 1500)
    images = images_of(data.draw, net)
    cells = np.prod([np.prod(each.size) for each in layers if isinstance(each, AvgPool)])
    bank = decode_layer(net, len(layers))
    decoded = correlate(images, bank, stride=net.receptive_field(len(layers)).stride)
    assert (decoded == cells * net.forward(images)).all()


@pytest.mark.parametrize("mode", MODES)
@given(data=st.data())
def test_decoded_filters_are_the_linearized_network_on_every_crop(mode, data):
    net = data.draw(plain_networks())
    images = images_of(data.draw, net)
    bank = decode_layer(net, len(net.layers), unpool=mode)
    decoded = correlate(images, bank, stride=net.receptive_field(len(net.layers)).stride)
    for (i, j), crop in crops(net, images):
        assert (decoded[:, :, i, j] == linearized(net, crop, mode)[:, :, 0, 0]).all()


# 3. Without pools, where every response is positive, nothing is estimated.


@given(st.data())
def test_positive_convolutions_and_relus_are_reproduced_exactly(data):
    layers = [
        each if isinstance(each, ReLU) else Conv(np.abs(each.filters), stride=each.stride, groups=each.groups)
        for each in data.draw(plain_networks(most=3)).layers
        if not isinstance(each, Pool)
    ]
    assume(any(isinstance(each, Conv) for each in layers))
    net = Network(layers)
    images = np.abs(images_of(data.draw, net))
    bank = decode_layer(net, len(layers))
    assert (correlate(images, bank, stride=net.receptive_field(len(layers)).stride) == net.forward(images)).all()


# 4. Path by path, from above, from below.


def literally(net, top, k, mode):
    """The algorithm as printed: one map per path, and one sum over all of them at the very end."""
    impulse = np.ones((1, 1, 1, 1))
    paths = [(k, impulse)]  # (channel of the layer it has come down to, map)
    for layer in reversed(net.layers[:top]):
        if isinstance(layer, Conv):
            paths = [
                (c, loops.substitute(df, layer.dense[i : i + 1, c : c + 1], stride=layer.stride))
                for i, df in paths
                for c in range(layer.dense.shape[1])
            ]
        elif isinstance(layer, Pool):
            paths = [(i, loops.unpool(df, size=layer.size, stride=layer.stride, mode=mode)) for i, df in paths]
    return np.concatenate([sum(df for c, df in paths if c == channel) for channel in range(net.channels(0))], axis=1)[0]


@pytest.mark.parametrize("mode", MODES)
@given(data=st.data())
def test_path_by_path_is_from_above_is_from_below(mode, data):
    net = data.draw(plain_networks(most=3))
    top = len(net.layers)
    paths = np.prod([float(each.dense.shape[1]) for each in net.layers if isinstance(each, Conv)])
    assume(paths * np.prod(net.receptive_field(top).size) <= 3000)
    bank = decode_layer(net, top, unpool=mode)
    k = data.draw(st.integers(0, len(bank) - 1))
    df = decode_filter(net, top, k, unpool=mode)
    assert (df == bank[k]).all()
    assert (df == literally(net, top, k, mode)).all()
    assert (decode_filter(net, top, k, unpool=mode, sum_channels=True) == df.sum(axis=0)).all()


# 5. The gradient.


@pytest.mark.parametrize("mode", MODES)
@given(data=st.data())
def test_decoding_is_the_gradient_of_the_linearized_network(mode, data):
    net = data.draw(plain_networks(most=3))
    top, c0 = len(net.layers), net.channels(0)
    size = net.receptive_field(top).size
    assume(c0 * np.prod(size) <= 400)
    pixels = np.eye(c0 * size[0] * size[1]).reshape(-1, c0, *size)
    gradient = linearized(net, pixels, mode)[:, :, 0, 0].T.reshape(-1, c0, *size)
    assert (decode_layer(net, top, unpool=mode) == gradient).all()


@pytest.mark.parametrize("mode", MODES)
@given(data=st.data())
def test_decoding_is_linear_in_the_responses_and_in_the_top_filter(mode, data):
    net = data.draw(plain_networks(most=3))
    top = len(net.layers)
    shape = (1, net.channels(top), 1, 2)
    maps, others = data.draw(strategies.fillings(shape)), data.draw(strategies.fillings(shape))
    parts = [decode(net, top, each, unpool=mode) for each in (maps, others)]
    assert (decode(net, top, maps - 3 * others, unpool=mode) == parts[0] - 3 * parts[1]).all()
    filters = data.draw(strategies.fillings((2, net.channels(top), 1, 2)))
    one, other, both = (
        decode_filter(Network([*net.layers, Conv(f[np.newaxis])]), top + 1, 0, unpool=mode)
        for f in (filters[0], filters[1], filters[0] - 3 * filters[1])
    )
    assert (both == one - 3 * other).all()


@given(BANKS, STRIDES)
def test_the_first_layer_decodes_to_its_own_filters(filters, stride):
    assert (decode_layer(Network([Conv(filters, stride=stride)]), 1) == filters).all()


# 6. Symmetries.


@pytest.mark.parametrize("mode", MODES)
@given(data=st.data())
def test_the_order_of_hidden_channels_does_not_matter(mode, data):
    below = data.draw(BANKS)
    above = data.draw(strategies.fillings((3, len(below), 2, 3), limit=3))
    order = data.draw(st.permutations(range(len(below))))
    pool = MaxPool(*data.draw(BINARY))
    net = Network([Conv(below), pool, ReLU(), Conv(above)])
    shuffled = Network([Conv(below[order]), pool, ReLU(), Conv(above[:, order])])
    assert (decode_layer(shuffled, 4, unpool=mode) == decode_layer(net, 4, unpool=mode)).all()


@pytest.mark.parametrize("mode", MODES)
@given(data=st.data())
def test_a_mirrored_network_has_mirrored_filters(mode, data):
    # Nearest breaks ties towards the later cell, so pools tile there: then there are none.
    net = data.draw(plain_networks(tiling=mode == "nearest"))
    if mode != "nearest":
        assume(all(isinstance(each, (Conv, ReLU)) or each.stride[1] in (1, 2, 4) for each in net.layers))
    mirrored = Network(
        [
            Conv(each.filters[..., ::-1], stride=each.stride, dilation=each.dilation, groups=each.groups)
            if isinstance(each, Conv)
            else each
            for each in net.layers
        ]
    )
    top = len(net.layers)
    assert (decode_layer(mirrored, top, unpool=mode) == decode_layer(net, top, unpool=mode)[..., ::-1]).all()


# 7. A second oracle, and a mistake for each law.


@pytest.mark.parametrize("operator", ["correlate", "max_pool", "avg_pool", "relu", "substitute", "unpool"])
@given(data=st.data())
def test_plain_loops_agree(operator, data):
    call = data.draw(strategies.calls(operator))
    got, want = (call.on(module) for module in (reference, loops))
    if operator == "avg_pool":  # one rounding each, the division's: the sums are exact
        assert (np.abs(got - want) <= 2 * reference.eps * np.abs(want)).all()
    elif operator == "unpool" and set(call.options["stride"]) - {1, 2, 4}:
        # Each weight is a cubic of terms up to 8, some ten roundings, on both axes and on both sides.
        assert np.abs(got - want).max(initial=0) <= 4 * 8 * 10 * reference.eps * np.abs(call.arrays[0]).sum()
    else:
        assert (got == want).all()


@given(strategies.networks(), st.data())
def test_plain_loops_run_and_decode_the_same_networks(net, data):
    assume(not any(isinstance(each, AvgPool) for each in net.layers))
    images = data.draw(strategies.images_for(net))
    assert (net.forward(images, backend=loops) == net.forward(images)).all()
    top = len(net.layers)
    assume(np.prod(net.receptive_field(top).size) <= 300)
    assert (decode_filter(net, top, 0, backend=loops) == decode_filter(net, top, 0)).all()


class Mutant:
    """The reference with one operator wrong."""

    def __init__(self, **operators):
        vars(self).update(operators)

    def __getattr__(self, operator):
        return getattr(reference, operator)


def flipped(maps, filters, *, stride):
    return substitute(maps, filters[:, :, ::-1, ::-1], stride=stride)


def clamped(maps, *, size, stride, mode):
    wide = unpool(np.pad(maps, ((0, 0), (0, 0), (2, 2), (2, 2)), mode="edge"), size=size, stride=stride, mode=mode)
    down, right = np.multiply(stride, 2)
    return wide[:, :, down : wide.shape[2] - down, right : wide.shape[3] - right]


def four_times(maps, *, size, stride, mode):
    return 4 * unpool(maps, size=size, stride=stride, mode=mode)


@pytest.mark.parametrize(
    ("mutant", "mode"),
    [
        (Mutant(substitute=flipped), "nearest"),
        (Mutant(unpool=clamped), "bicubic"),
        (Mutant(unpool=four_times), "nearest"),
    ],
)
def test_a_wrong_operator_breaks_the_law_of_crops(ramp, mutant, mode):
    net = Network([Conv(ramp(2, 1, 3, 2)), MaxPool(2), Conv(ramp(3, 2, 2, 3))])
    image = ramp(1, 1, *net.receptive_field(3).size)
    right, wrong = (decode_filter(net, 3, 1, unpool=mode, backend=backend) for backend in (reference, mutant))
    response = linearized(net, image, mode)[0, 1, 0, 0]
    assert (image[0] * right).sum() == response
    assert (image[0] * wrong).sum() != response


def test_flips_in_both_operators_pass_the_adjoint_law_and_fail_the_impulse_law(ramp):
    x, filters, z = ramp(1, 1, 3, 4), ramp(2, 1, 2, 3), ramp(1, 2, 2, 2)
    turned = filters[:, :, ::-1, ::-1]
    assert np.vdot(correlate(x, turned), z) == np.vdot(x, substitute(z, turned))
    impulse = np.eye(2)[:, :, np.newaxis, np.newaxis]
    assert (substitute(impulse, filters) == filters).all()
    assert (substitute(impulse, turned) != filters).any()
