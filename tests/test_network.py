import tracemalloc

import numpy as np
import pytest

from decoding import (
    AvgPool,
    Conv,
    Dropout,
    InvalidValueError,
    MaxPool,
    Network,
    ReceptiveField,
    ReLU,
    ShapeError,
    Softmax,
    UnknownLayerError,
    decode_layer,
    fast,
)


@pytest.fixture
def net(ramp):
    """Two channels, everything unequal: conv 3×2/(1, 2) padded, max pool (2, 3), conv 2×1, ReLU."""
    layers = [
        Conv(ramp(3, 2, 3, 2), [1, -2, 3], stride=(1, 2), pad=(1, 0, 2, 3), name="edges"),
        MaxPool((2, 3)),
        Conv(ramp(5, 3, 2, 1), name="corners"),
        ReLU(leak=0.5),
    ]
    return Network(layers, input_shape=(2, 9, 17))


def test_forward_by_hand():
    net = Network([Conv([[[[1, -10]]]], [5]), MaxPool((1, 2)), ReLU(leak=0.25)])
    conv, pool, relu = net.activations([[[[1, 2, 3, 1, 4]]]])[1:]
    assert conv.tolist() == [[[[1 - 20 + 5, 2 - 30 + 5, 3 - 10 + 5, 1 - 40 + 5]]]]
    assert pool.tolist() == [[[[-14, -2]]]]
    assert relu.tolist() == [[[[-3.5, -0.5]]]]


def test_forward_and_activations_agree_on_every_layer_by_number_and_name(net, ramp):
    images = ramp(7, 2, 9, 17)
    activations = net.activations(images)
    assert [a.shape[1:] for a in activations] == net.shapes((2, 9, 17))
    for number, name in enumerate(net.names, 1):
        assert (net.forward(images, number) == activations[number]).all()
        assert (net.forward(images, name) == activations[number]).all()
    assert (net.forward(images) == activations[-1]).all()
    assert (net.forward(images, 0) == images).all()


@pytest.mark.parametrize("batch_size", [1, 2, 3, 7, 100])
def test_batches_do_not_matter(net, ramp, batch_size):
    images = ramp(7, 2, 9, 17)
    assert (net.forward(images, batch_size=batch_size) == net.forward(images)).all()


def test_no_images_give_no_responses(net):
    assert net.forward(np.zeros((0, 2, 9, 17))).shape == (0, *net.shapes((2, 9, 17))[-1])


def test_integers_are_run_as_floats(net, ramp):
    images = ramp(3, 2, 9, 17).astype(np.int16)
    assert (net.forward(images) == net.forward(images.astype(float))).all()


def test_names_and_lookup(net):
    assert net.names == ("edges", "layer2", "corners", "layer4")
    assert net.index("corners") == net.index(np.int64(3)) == 3
    assert [net.channels(layer) for layer in range(5)] == [2, 3, 3, 5, 5]


def test_receptive_field(net):
    assert net.receptive_field(0) == ReceptiveField((1, 1), (1, 1), (0, 0))
    assert net.receptive_field(1) == ReceptiveField((3, 2), (1, 2), (-1, -2))
    assert net.receptive_field(2) == ReceptiveField((4, 6), (2, 6), (-1, -2))
    assert net.receptive_field("corners") == ReceptiveField((6, 6), (2, 6), (-1, -2))


def test_a_receptive_field_is_what_a_unit_sees(net, ramp):
    """Nudge one pixel at a time: exactly the units whose field holds it may answer, and its corners do."""
    layer, image = 3, ramp(1, 2, 9, 17)
    linear = Network([each for each in net.layers if not isinstance(each, MaxPool)][:1])
    for network, top in ((linear, 1), (net, layer)):
        field, before = network.receptive_field(top), network.forward(image, top)
        for row, column in [(0, 0), (3, 4), (8, 16)]:
            nudged = image.copy()
            nudged[:, :, row, column] += 1000
            changed = (network.forward(nudged, top) != before)[0].any(axis=0)
            for i, j in np.argwhere(changed):
                assert 0 <= row - field.offset[0] - i * field.stride[0] < field.size[0]
                assert 0 <= column - field.offset[1] - j * field.stride[1] < field.size[1]
            if top == 1:
                assert changed.sum() == sum(
                    0 <= row - field.offset[0] - i * field.stride[0] < field.size[0]
                    and 0 <= column - field.offset[1] - j * field.stride[1] < field.size[1]
                    for i, j in np.ndindex(changed.shape)
                )


def test_dilation_and_groups_are_expanded(ramp):
    filters = ramp(4, 3, 2, 3)
    conv = Conv(filters, dilation=(3, 2), groups=2)
    assert conv.size == (4, 5)
    assert conv.dense.shape == (4, 6, 4, 5)
    assert (conv.dense[:2, :3, ::3, ::2] == filters[:2]).all()
    assert (conv.dense[2:, 3:, ::3, ::2] == filters[2:]).all()
    assert np.abs(conv.dense).sum() == np.abs(filters).sum()
    with pytest.raises(ValueError, match="read-only"):
        conv.dense[0] = 0
    assert Network([conv]).channels(0) == 6


def test_normalize_subtracts_the_mean(ramp):
    images = ramp(3, 2, 5, 7)
    conv = Conv(ramp(1, 2, 2, 2).astype(np.float32))
    assert (Network([conv], mean=[3, -4]).normalize(images) == images - np.reshape([3, -4], (2, 1, 1))).all()
    mean = ramp(2, 5, 7) + 1
    assert (Network([conv], mean=mean).normalize(images) == images - mean).all()
    grey = np.full((1, 2, 5, 7), 255, np.uint8)
    assert Network([conv], mean=mean).normalize(grey).dtype == np.float32
    assert (Network([conv], mean=mean).normalize(grey) == 255 - mean).all()
    assert (Network([conv]).normalize(grey) == 255).all()


def test_describe_tells_every_column(net):
    table = [line.split() for line in str(net).splitlines()]
    assert table[0] == ["layer", "name", "kind", "output", "filters", "field", "stride", "offset", "parameters"]
    assert table[1] == ["0", "image", "2×9×17"]
    assert table[2] == ["1", "edges", "Conv", "3×8×11", "3", "of", "2×3×2", "3×2", "1×2", "-1,-2", "39"]
    assert table[3] == ["2", "layer2", "MaxPool", "3×4×3", "2×3", "4×6", "2×6", "-1,-2"]
    assert table[5] == ["4", "layer4", "ReLU", "5×3×3", "6×6", "2×6", "-1,-2"]


def test_gains_that_print_alike_are_shown_once():
    shown = {
        factor: str(Network([ReLU(gain=factor)], input_shape=(3, 1, 1))).splitlines()[-1].split()[-1]
        for factor in ((1 / 9, 1 / 9 + 2.0**-50, 1 / 9), (0.25, 0.25, 0.25))
    }
    assert list(shown.values()) == ["0.111", "0.25"]
    assert "0.111 to 0.112" in str(Network([ReLU(gain=[0.111, 0.112])], input_shape=(2, 1, 1)))


def test_moments_count_where_networks_are_compared():
    net = Network([ReLU()], input_shape=(1, 1, 1))
    known, other = (net.replace(moments={1: ([mean], [2])}) for mean in (0, 1))
    assert known == net.replace(moments={1: ([0], [2])})
    assert known != net
    assert net != known
    assert known != other
    assert known != known.replace(moments={0: ([0], [2])})


def test_describe_without_a_size_gives_the_channels():
    _, image, conv = Network([Conv(np.ones((2, 3, 1, 1)))]).describe().splitlines()
    assert image.split() == ["0", "image", "3"]
    assert conv.split() == ["1", "layer1", "Conv", "2", "2", "of", "3×1×1", "1×1", "1×1", "0,0", "8"]


def test_layers_are_frozen_and_weights_read_only(ramp):
    filters = ramp(2, 3, 2, 2)
    conv = Conv(filters)
    filters[:] = 0
    assert conv.filters.any()
    with pytest.raises(AttributeError):
        conv.stride = (2, 2)
    with pytest.raises(ValueError, match="read-only"):
        conv.filters[0] = 0
    assert "filters=(2, 3, 2, 2)" in repr(conv)


def test_weights_keep_their_precision():
    assert Conv(np.ones((1, 1, 1, 1), np.float32)).filters.dtype == np.float32
    assert Conv(np.ones((1, 1, 1, 1), np.int8)).filters.dtype == np.float64


NAN = np.where(np.arange(12).reshape(1, 2, 2, 3) == 7, np.nan, 1)
IMAGES = np.zeros((1, 2, 9, 17))
REFUSED = {
    "no layers": (lambda: Network([]), ShapeError, "no layers"),
    "no layer": (lambda: Network(["conv"]), InvalidValueError, "layer 1 is not a layer but str"),
    "no chain": (
        lambda: Network([Conv(np.ones((3, 2, 1, 1))), Conv(np.ones((5, 4, 1, 1)))]),
        ShapeError,
        r"layer 2 'layer2' \(Conv\): its filters want 4 channels, and get 3",
    ),
    "too small an input": (
        lambda: Network([Conv(np.ones((1, 1, 5, 5)))], input_shape=(1, 4, 9)),
        ShapeError,
        "window of 5×5 does not fit in a .padded. map of 4×9",
    ),
    "mean of other channels": (
        lambda: Network([Conv(np.ones((1, 3, 1, 1)))], mean=[1, 2]),
        ShapeError,
        "mean",
    ),
    "flat mean": (lambda: Network([ReLU()], mean=[[1, 2]]), ShapeError, r"mean must be \(C, H, W\)"),
    "ragged mean": (lambda: Network([ReLU()], mean=[[1], [1, 2]]), ShapeError, "mean is ragged"),
    "ragged bias": (lambda: Conv(np.ones((2, 1, 1, 1)), [[1], [1, 2]]), ShapeError, "bias is ragged"),
    "one class": (lambda: Network([ReLU()], classes="abc"), InvalidValueError, "sequence of names"),
    "flat input shape": (lambda: Network([ReLU()], input_shape=28), ShapeError, r"\(C, H, W\)"),
    "input shape": (lambda: Network([ReLU()], input_shape=(3, 0, 1)), ShapeError, r"\(C, H, W\)"),
    "no filters": (lambda: Conv(np.ones((0, 1, 1, 1))), ShapeError, "no filters"),
    "flat filters": (lambda: Conv(np.ones((2, 3))), ShapeError, "four axes"),
    "bias": (lambda: Conv(np.ones((2, 1, 1, 1)), [1]), ShapeError, r"bias \(1,\) for 2 filters"),
    "groups": (lambda: Conv(np.ones((4, 1, 1, 1)), groups=3), ShapeError, "4 filters cannot be split into 3 groups"),
    "pool pad": (lambda: MaxPool(2, pad=(0, 2, 0, 0)), ShapeError, "less than the window"),
    "avg pool stride": (lambda: AvgPool(2, 0), ShapeError, "AvgPool: stride must be at least 1"),
    "leak": (lambda: ReLU(leak=float("nan")), InvalidValueError, "finite"),
    "image of NaN": (
        lambda: Network([ReLU()]).forward(NAN),
        InvalidValueError,
        r"images.* 1 of 12 values are not finite; the first, nan, is at \(0, 1, 0, 1\)",
    ),
    "weights of NaN": (
        lambda: Network([Conv(NAN, name="first")]).forward(IMAGES),
        InvalidValueError,
        r"layer 1 'first' \(Conv\): filters: 1 of 12",
    ),
    "bias of infinity": (
        lambda: Network([Conv(np.ones((1, 2, 1, 1)), [np.inf])]).activations(IMAGES),
        InvalidValueError,
        "bias: 1 of 1 values are not finite",
    ),
    "no batch": (lambda: Network([ReLU()]).forward(IMAGES, batch_size=0), InvalidValueError, "batch_size"),
    "no backend": (lambda: Network([ReLU()]).forward(IMAGES, backend="torch"), InvalidValueError, "backend must be"),
    "normalize": (
        lambda: Network([ReLU()], mean=np.ones((2, 3, 3))).normalize(IMAGES),
        ShapeError,
        "do not fit the mean image",
    ),
    "channels nobody knows": (lambda: Network([ReLU()]).channels(0), ShapeError, "input_shape"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case):
    call, error, message = REFUSED[case]
    with pytest.raises(error, match=message):
        call()


def test_images_that_do_not_fit_are_refused_by_name(net):
    with pytest.raises(ShapeError, match=r"forward: images \(1, 1, 9, 17\) of 1 channel, and the network takes 2"):
        net.forward(np.zeros((1, 1, 9, 17)))
    with pytest.raises(ShapeError, match=r"layer 3 'corners' \(Conv\): its window of 2×1 does not fit"):
        net.forward(np.zeros((1, 2, 4, 9)))
    assert net.forward(np.zeros((1, 2, 4, 9)), 2).shape == (1, 3, 1, 2)


@pytest.mark.parametrize("layer", [5, -1, True, 1.0, None, "nowhere"])
def test_unknown_layers(net, layer):
    with pytest.raises(UnknownLayerError, match="layer"):
        net.index(layer)


def test_a_name_that_stands_twice_is_refused():
    net = Network([ReLU(name="a"), Dropout(name="a"), Softmax(name="b")])
    with pytest.raises(UnknownLayerError, match=r"layers 1, 2 all have the name 'a'; give the number"):
        net.index("a")
    assert net.index("b") == 3


def test_memory_is_bounded_by_a_batch_and_the_result(ramp):
    net = Network([Conv(ramp(20, 1, 5, 5)), MaxPool(2), Conv(ramp(3, 20, 12, 12))])
    images = np.zeros((6000, 1, 28, 28), np.uint8)
    tracemalloc.start()
    net.forward(images, backend=fast)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # In float64, the responses of the first layer to all images would take 553 MB.
    assert peak < 200e6


def test_images_reach_a_backend_as_floats_of_the_precision_of_the_weights():
    seen = []

    class Backend:
        @staticmethod
        def relu(x, *, leak):
            seen.append(x.dtype)
            return x

    net = Network([ReLU(), Conv(np.ones((1, 1, 1, 1), np.float32))])
    net.forward(np.ones((1, 1, 2, 3), np.uint8), 1, backend=Backend)
    assert seen == [np.float32]


def test_the_mean_image_tells_the_size_of_the_input():
    net = Network([Conv(np.ones((1, 2, 2, 2)))], mean=np.ones((2, 5, 7)))
    assert net.input_shape == (2, 5, 7)
    assert Network([Conv(np.ones((1, 2, 2, 2)))], mean=np.ones(2)).input_shape is None


def test_running_out_of_memory_names_the_layer():
    class Greedy:
        @staticmethod
        def correlate(*arguments, **options):
            raise MemoryError("Unable to allocate 28 GiB")

        substitute = correlate

    net = Network([Conv(np.ones((1, 1, 2, 2)), name="big")])
    with pytest.raises(InvalidValueError, match=r"layer 1 'big' \(Conv\): there is not enough memory"):
        net.forward(np.ones((1, 1, 2, 2)), backend=Greedy)
    with pytest.raises(InvalidValueError, match=r"layer 2 'layer2' \(Conv\): there is not enough memory"):
        decode_layer(Network([*net, Conv(np.ones((1, 1, 2, 2)))]), 2, backend=Greedy)  # the first is its own bank


def test_responses_that_overflow_are_an_error():
    net = Network([Conv([[[[1e200]]]]), Conv([[[[1e200]]]])])
    with pytest.raises(InvalidValueError, match="responses of layer 2 to images from 0, float64: 1 of 1 values"):
        net.forward([[[[1.0]]]])
