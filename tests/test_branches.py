"""Networks that branch: errors and their messages, copies, user-defined layers, memory, backends."""

import copy
import pickle
import re
import subprocess
import sys
import tracemalloc
import types
import weakref
from unittest import mock

import numpy as np
import pytest

import decoding
from decoding import (
    AvgPool,
    BatchNorm,
    Concat,
    Conv,
    DecodingError,
    Gate,
    InvalidValueError,
    Layer,
    MaxPool,
    Network,
    ReLU,
    Select,
    ShapeError,
    Sum,
    TopImagesMeter,
    UnknownLayerError,
    Unsupported,
    UnsupportedLayerError,
    decode,
    decode_filter,
    decode_layer,
    decoder,
    fast,
    iterate_layer,
    measure,
    reference,
    walks,
)
from decoding.backend import resolve
from decoding.network import BATCH


@pytest.fixture
def net(ramp):
    """A residual block with a shortcut of stride 2, a concat, a gate that has a gain."""
    layers = [
        Conv(ramp(3, 2, 3, 2), [1, -2, 3], stride=2, pad=(1, 1, 0, 1), name="branch"),
        Select([1, -1, 0], stride=2, name="shortcut"),
        Sum(name="sum"),
        ReLU(gain=[1, 2, 3]),
        Concat(name="both"),
        AvgPool((2, 2), name="mean"),
        Conv(ramp(6, 6, 1, 1), name="factors"),
        MaxPool((2, 2), gain=2),
        Gate(gain=2, name="gate"),
    ]
    inputs = [0, 0, (1, 2), 3, (3, 4), 5, 6, 5, (8, 7)]
    return Network(layers, inputs=inputs, input_shape=(2, 8, 12), mean=[3, -4], std=[2, 8], classes=list("abcdef"))


# 1. Errors that help.


def one(k=1, c=1, stride=1, **options):
    return Conv(np.ones((k, c, 1, 1)), stride=stride, **options)


IMAGE = (1, 4, 4)
REFUSED = {
    "a layer that reads itself": (
        lambda: Network([one(name="a"), one(name="b")], inputs=[0, 2]),
        ShapeError,
        r"layer 2 'b' \(Conv\) reads 2: a layer reads layers before it, 0 to 1, so that there is no cycle.*order",
    ),
    "a cycle": (
        lambda: Network([Sum(name="a"), one()], inputs=[(0, 2), 1]),
        ShapeError,
        r"layer 1 'a' \(Sum\) reads 0, 2: .*no cycle",
    ),
    "a layer below the image": (lambda: Network([one(), one()], inputs=[0, -1]), ShapeError, r"layer 2 .* reads -1"),
    "a sum of 3 and 4 channels": (
        lambda: Network([one(3), one(4), Sum(name="meet")], inputs=[0, 0, (1, 2)]),
        ShapeError,
        r"layer 3 'meet' \(Sum\): it adds maps of 3 and 4 channels",
    ),
    "a sum of maps of different size": (
        lambda: Network([one(pad=1), Sum()], inputs=[0, (0, 1)], input_shape=IMAGE),
        ShapeError,
        r"layer 2 'layer2' \(Sum\): it adds maps that differ in shape.*\(1, 4, 4\) and \(1, 6, 6\)",
    ),
    "a concat of maps of different size": (
        lambda: Network([one(pad=1), Concat()], inputs=[0, (0, 1)]).forward(np.ones((1, *IMAGE))),
        ShapeError,
        r"layer 2 'layer2' \(Concat\): it joins maps that differ in size.*\(1, 4, 4\) and \(1, 6, 6\)",
    ),
    "branches of different stride": (
        lambda: Network([one(name="a"), one(stride=2), Sum()], inputs=[0, 0, (1, 2)]),
        ShapeError,
        r"layer 3 'layer3' \(Sum\): .*not equally far apart.*1×1 \(layer 1\) and 2×2 \(layer 2\)",
    ),
    "branches of different stride in one axis": (
        lambda: Network([one(stride=(2, 1)), one(stride=2), Concat()], inputs=[0, 0, (1, 2)]),
        ShapeError,
        r"2×1 \(layer 1\) and 2×2 \(layer 2\)",
    ),
    "a rectifier with two inputs": (
        lambda: Network([one(), ReLU(name="r")], inputs=[0, (0, 1)]),
        ShapeError,
        r"layer 2 'r' \(ReLU\) reads 2 layers, 0, 1, and takes one. Sum, Concat and Gate join several",
    ),
    "a gate with one input": (lambda: Network([Gate()]), ShapeError, "a gate reads a map and its factors.*reads 1"),
    "a gate with three": (lambda: Network([Gate()], inputs=[(0, 0, 0)]), ShapeError, "reads 3"),
    "factors of other channels": (
        lambda: Network([one(3), one(2), Gate()], inputs=[0, 0, (1, 2)]),
        ShapeError,
        "its factors have 2 channels, and its map 3",
    ),
    "booleans": (
        lambda: Network([one()], inputs=[False]),
        ShapeError,
        r"layer 1 .* reads \(False,\): give the numbers",
    ),
    "NumPy booleans": (lambda: Network([Sum()], inputs=[(0, np.False_)]), ShapeError, "give the numbers of the layers"),
    "a fraction": (lambda: Network([one()], inputs=[0.0]), ShapeError, r"reads \(0.0,\): give the numbers"),
    "a name": (lambda: Network([one(name="a"), one()], inputs=[0, "a"]), ShapeError, "reads .*'a'.*give the numbers"),
    "names": (lambda: Network([one(), one()], inputs="01"), ShapeError, "inputs must hold.*not '01'"),
    "a dictionary": (lambda: Network([one()], inputs={1: 0}), ShapeError, "inputs must hold"),
    "nothing": (lambda: Network([one()], inputs=[()]), ShapeError, r"reads \(\): give the numbers"),
    "None": (lambda: Network([one()], inputs=[None]), ShapeError, "reads .*None.*give the numbers"),
    "one number": (lambda: Network([one()], inputs=3), ShapeError, "inputs must hold, for each layer.*not 3"),
    "ragged tables": (lambda: Network([Sum()], inputs=[[0, [0, 0]]]), ShapeError, "give the numbers|inputs must hold"),
    "too few": (
        lambda: Network([one(), one()], inputs=[0]),
        ShapeError,
        "it has 1, and layers has 2",
    ),
    "too many": (
        lambda: Network([one()], inputs=[0, 1]),
        ShapeError,
        "it has 2, and layers has 1",
    ),
    "a gain of the wrong length": (
        lambda: Network([one(3), ReLU(gain=[1, 2], name="r")]),
        ShapeError,
        r"layer 2 'r' \(ReLU\): its gain has 2 values, and there are 3 channels",
    ),
    "a gain that is a table": (lambda: ReLU(gain=[[1]]), ShapeError, r"ReLU: gain must be a number.*\(1, 1\)"),
    "no gains": (lambda: ReLU(gain=[]), ShapeError, "ReLU: gain must be a number"),
    "a gain that is not finite": (lambda: MaxPool(2, gain=[1, np.inf]), InvalidValueError, "MaxPool: gain.*1 of 2"),
    "a gain of NaN": (lambda: Gate(gain=np.nan), InvalidValueError, "Gate: gain"),
    "a gain of words": (lambda: ReLU(gain="much"), InvalidValueError, "ReLU: gain must hold real numbers"),
    "a gain of booleans": (lambda: ReLU(gain=[True]), InvalidValueError, "ReLU: gain must be numbers"),
    "a selection of channels that are not there": (
        lambda: Network([one(2), Select([0, 2])]),
        ShapeError,
        r"layer 2 'layer2' \(Select\): it selects channel 2 of 2 channels",
    ),
    "an argument that is none": (
        lambda: ReLU().replace(gains=2),
        InvalidValueError,
        "no argument gains; there are leak, gain",
    ),
    "an argument of no network": (
        lambda: Network([one()]).replace(input=[0]),
        InvalidValueError,
        "no argument input; there are layers, inputs",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case):
    call, error, message = REFUSED[case]
    with pytest.raises(error, match=message):
        call()


def test_numpy_integers_and_arrays_are_inputs():
    layers = [one(), one(), Sum()]
    want = Network(layers, inputs=[0, 0, (1, 2)])
    assert Network(layers, inputs=[np.int64(0), np.uint8(0), np.array([1, 2])]) == want
    assert Network(layers, inputs=iter([[0], [0], [1, 2]])).inputs == ((0,), (0,), (1, 2))
    assert all(type(i) is int for below in Network(layers, inputs=np.array([[0], [0], [1]])).inputs for i in below)


def test_no_path_down_to_a_layer(net):
    with pytest.raises(UnknownLayerError, match=r"layer 8 .* sees nothing of layer 7"):
        net.receptive_field(8, within=7)
    with pytest.raises(UnknownLayerError, match="layer 2 'shortcut' sees nothing of layer 1"):
        net.receptive_field("shortcut", within="branch")
    with pytest.raises(UnknownLayerError, match="layer 2 'shortcut' sees nothing of layer 1"):
        decode(net, "shortcut", np.ones((1, 3, 1, 1)), to="branch")
    # Decoding follows the map of a gate, and not what its factors are made of.
    with pytest.raises(UnknownLayerError, match="layer 9 'gate' sees nothing of layer 7"):
        decode(net, "gate", np.ones((1, 6, 1, 1)), to="factors")
    with pytest.raises(UnknownLayerError, match="sees nothing of layer 4"):
        net.receptive_field(2, within=4)


@pytest.mark.parametrize("call", [lambda net: decode_filter(net, 2, 0), lambda net: decode_layer(net, 3)])
def test_a_gate_without_a_gain_runs_and_does_not_decode(call):
    net = Network([one(), Gate(name="squeeze"), ReLU()], inputs=[0, (0, 1), 2], input_shape=(1, 1, 2))
    assert net.forward([[[[2, 3]]]]).tolist() == [[[[4, 9]]]]
    with pytest.raises(
        UnsupportedLayerError, match=r"layer 2 'squeeze' \(Gate\): .*Give it a gain: .*replace\(gain=1\)"
    ):
        call(net)
    layers = [layer.replace(gain=3) if isinstance(layer, Gate) else layer for layer in net]
    assert decode_filter(net.replace(layers=layers), 3, 0).item() == 3
    assert decode_layer(net, 1).item() == 1  # what does not read the gate is decoded


@pytest.mark.parametrize("units", [3, "units", [0, True], [6], [-1], [1.0], [[0, 1]], None])
def test_units_that_are_none(net, units):
    if units is None:
        assert len(decode_layer(net, 9, units=units)) == 6
        return
    with pytest.raises((UnknownLayerError, InvalidValueError), match="unit"):
        decode_layer(net, 9, units=units)


def test_units_in_any_order_and_any_sequence(net):
    bank = decode_layer(net, "gate")
    for units in ([5, 0, 5], (1,), range(2, 4), np.array([3, 1]), iter([2])):
        want = bank[[2]] if not hasattr(units, "__len__") else bank[list(units)]
        assert (decode_layer(net, "gate", units=units) == want).all()
    assert decode_layer(net, "gate", units=[]).shape == (0, *bank.shape[1:])
    with pytest.raises(InvalidValueError, match="size must be an integer, at least 1"):
        list(iterate_layer(net, "gate", 0))


# 2. Frozen, as every copy is.

COPIES = {"pickle": lambda x: pickle.loads(pickle.dumps(x)), "copy": copy.copy, "deepcopy": copy.deepcopy}
LAYERS = [
    Conv(np.arange(8).reshape(4, 1, 1, 2), np.ones(4), groups=2, dilation=2, stride=3, pad=1, name="c"),
    MaxPool((2, 3), 1, pad=(1, 0, 1, 0), gain=[1, 2], curvature=3),
    AvgPool(2, gain=0.5),
    ReLU(leak=0.25, gain=[1, 2]),
    BatchNorm([1, 2], [3, 4], mean=[5, 6], std=[7, 8], epsilon=0.5),
    Select([1, -1, 0], stride=(2, 1), start=(1, 0), name="s"),
    Sum(name="sum"),
    Concat(),
    Gate(gain=[1, 2, 3]),
    Unsupported("Mystery", reason="nobody knows", name="m"),
]
each_layer = pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer.kind)


def arrays(thing):
    return [value for value in vars(thing).values() if isinstance(value, np.ndarray)]


@each_layer
@pytest.mark.parametrize("way", COPIES)
def test_a_copy_of_a_layer_is_as_frozen(layer, way):
    if isinstance(layer, Conv):
        assert layer.dense.any()  # held on to by the original
    other = COPIES[way](layer)
    assert other == layer
    assert type(other) is type(layer)
    assert hash(other) == hash(layer)
    assert repr(other) == repr(layer)
    assert other.fields().keys() == layer.fields().keys()
    for array in arrays(other):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0
    for name in ("stride", "name", "gain", "anything"):
        with pytest.raises(AttributeError, match="cannot be changed"):
            setattr(other, name, 2)
        with pytest.raises(AttributeError, match="cannot be changed"):
            delattr(other, name)


@each_layer
def test_a_layer_is_made_again_from_its_fields(layer):
    assert type(layer)(**layer.fields()) == layer == layer.replace()
    renamed = layer.replace(name="other")
    assert (renamed.name, layer.name) == ("other", layer.fields()["name"])
    assert renamed != layer
    assert layer != "a layer"
    assert repr(layer).startswith(layer.kind)


def test_caches_do_not_outlive_their_weights():
    conv = Conv(np.ones((2, 1, 1, 2)), groups=2, dilation=2)
    assert conv.dense.sum() == conv.spread.sum() == 4
    other = conv.replace(filters=3 * conv.filters)
    assert other.dense.sum() == other.spread.sum() == 12
    norm = BatchNorm([2], mean=[0], std=[1])
    assert norm.gain == 2
    assert norm.replace(scale=[6]).gain == 6
    broken = conv.replace(filters=np.full((2, 1, 1, 2), np.nan))
    conv.check()
    with pytest.raises(InvalidValueError, match="filters: 4 of 4"):
        broken.check()
    net = Network([conv, Conv(np.ones((1, 2, 1, 1)))])
    assert net.receptive_field(2).size == (1, 3)
    assert net.replace(layers=[conv.replace(dilation=4), net.layers[1]]).receptive_field(2).size == (1, 5)
    assert net.runs == 2
    assert net.replace(layers=[Unsupported("Mystery"), net.layers[1]]).runs == 0


@pytest.mark.parametrize("way", COPIES)
def test_a_copy_of_a_network_is_as_frozen(net, way):
    decode_layer(net, 9)  # fills what is held on to
    other = COPIES[way](net)
    assert other == net
    assert hash(other) == hash(net)
    assert (repr(other), str(other)) == (repr(net), str(net))
    assert other.fields().keys() == net.fields().keys()
    for name in ("layers", "inputs", "mean", "anything"):
        with pytest.raises(AttributeError, match="cannot be changed"):
            setattr(other, name, ())
        with pytest.raises(AttributeError, match="cannot be changed"):
            delattr(other, name)
    for array in (*arrays(other), *(array for layer in other for array in arrays(layer))):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0
    assert (decode_layer(other, 9) == decode_layer(net, 9)).all()


def test_a_network_is_equal_by_what_it_computes(net):
    assert net == net.replace()
    assert net != net.replace(inputs=[0, 0, (2, 1), *net.inputs[3:]])
    assert net != net.replace(mean=[3, 4])
    assert net != net.replace(std=None)
    assert net != net.replace(classes=None)
    assert net != net.replace(layers=[net.layers[0].replace(name="other"), *net.layers[1:]])
    assert net != net.layers
    assert Network([one()]) != Network([one(), one()])


def test_a_network_is_a_sequence_from_one(net):
    assert len(net) == len(list(net)) == 9
    assert list(net) == list(net.layers)
    assert net["sum"] is net[3] is net.layer(3) is net.layer("sum") is net.layers[2]
    assert net[np.int64(9)] is net["gate"]
    for missing in (0, 10, -1, "nowhere", 1.0, True, slice(1, 2)):
        with pytest.raises(UnknownLayerError):
            net[missing]
    assert not net.is_chain
    assert Network([one(), one()]).is_chain
    assert "9 layers: branch, shortcut, sum, layer4" in repr(net)


def test_trim_keeps_what_a_layer_needs(net, ramp):
    images = ramp(2, 2, 8, 12)
    for top in range(1, 10):
        small = net.trim(top)
        assert small.names == tuple(net.names[n - 1] for n in needed(net, top))
        assert (small.forward(images) == net.forward(images, top)).all()
        assert (decode_layer(small, len(small)) == decode_layer(net, top)).all()
        assert small.receptive_field(len(small)) == net.receptive_field(top)
        assert small.classes == (net.classes if top == 9 else None)
    with pytest.raises(UnknownLayerError, match="layer 0 is the image"):
        net.trim(0)
    assert len(net.trim("shortcut")) == 1


def needed(net, top):
    found = {top}
    for n in range(top, 0, -1):
        found |= set(net.inputs[n - 1]) if n in found else set()
    return sorted(found - {0})


def test_what_an_unsupported_layer_blocks(ramp):
    layers = [one(2), Unsupported("Mystery", name="m"), ReLU(), ReLU(), Sum()]
    net = Network(layers, inputs=[0, 1, 2, 1, (3, 4)])
    assert [net.blocked(n) for n in range(6)] == [None, None, 2, 2, None, 2]
    assert net.runs == 1
    assert [x is None for x in net.activations([[[[1]]]], 4)] == [False, False, True, True, False]
    for call in (lambda: net.forward([[[[1]]]]), lambda: decode_layer(net, 5), lambda: net.receptive_field(3)):
        with pytest.raises(UnsupportedLayerError, match=r"layer 2 'm' \(Mystery\)"):
            call()
    assert decode_layer(net, 4).shape == (2, 1, 1, 1)


# 3. A layer of one's own.


class Scale(Layer):
    """Multiplies by one number."""

    def __init__(self, factor, **options):
        super().__init__(**options)
        self.factor = float(factor)

    def forward(self, x, *, backend):
        return self.factor * x

    def decode(self, maps, widths, unpool, backend):
        return (self.factor * maps,)


class Absolute(Layer):
    def forward(self, x, *, backend):
        return np.abs(x)


class Nameless(Layer):
    def __init__(self):
        super().__init__()


class Mean(Layer):
    """The mean of all it reads, which are as large."""

    joins = True

    def forward(self, *xs, backend):
        return sum(xs) / len(xs)

    def decode(self, maps, widths, unpool, backend):
        return (maps / len(widths),) * len(widths)

    def decode_bank(self, *banks, jump, backend):
        return sum(banks) / len(banks)


def test_a_layer_of_ones_own_does_all_that_others_do(ramp):
    image = ramp(1, 2, 4, 5)
    net = Network([Conv(ramp(3, 2, 2, 1)), Scale(4, gain=[1, 2, 3], name="four"), Conv(ramp(2, 3, 1, 2))])
    assert (net.forward(image, 2) == 4 * net.forward(image, 1)).all()
    want = Network([net.layers[0], ReLU(gain=[4, 8, 12]), net.layers[2]])
    assert (decode_layer(net, 3) == decode_layer(want, 3)).all()  # though it says nothing of banks
    assert (decode_filter(net, 3, 1) == decode_filter(want, 3, 1)).all()
    assert (decode_layer(net, "four") == decode_layer(want, 2)).all()
    scale = net["four"]
    assert scale.fields() == {"factor": 4.0, "gain": scale.gain, "curvature": None, "name": "four"}
    assert scale.replace(factor=5).factor == 5
    assert (scale.replace(factor=5).gain == [1, 2, 3]).all()
    assert repr(scale) == "Scale(factor=4.0, gain=(3,), name='four')"
    for way in COPIES.values():
        assert way(net) == net
        assert way(scale) == scale != scale.replace(factor=5)
    with pytest.raises(AttributeError, match=r"replace\(factor=…\)"):
        scale.factor = 2
    with pytest.raises(ShapeError, match=r"layer 1 'layer1' \(Scale\): its gain has 2 values"):
        Network([Scale(4, gain=[1, 2]), one(1, 3)])
    assert "four" in str(net)
    assert net.trim("four").names == ("layer1", "four")


def test_layers_of_ones_own_without_arguments(ramp):
    net = Network([Conv(ramp(3, 2, 2, 1)), Absolute(gain=2), Nameless(), Mean()], inputs=[0, 1, 2, (3, 1)])
    assert (decode_layer(net, 4) == 1.5 * net.layers[0].filters).all()
    assert (decode_filter(net, 4, 2) == 1.5 * net.layers[0].filters[2]).all()
    assert (net.forward(ramp(1, 2, 3, 3), 2) == abs(net.forward(ramp(1, 2, 3, 3), 1))).all()
    assert pickle.loads(pickle.dumps(net)) == net
    assert len(net.trim(4)) == 4


def test_a_convolution_of_ones_own_decodes_as_it_says(ramp):
    class Doubled(Conv):
        def forward(self, *xs, backend):
            return 2 * super().forward(*xs, backend=backend)

        def decode(self, maps, widths, unpool, backend):
            return (2 * super().decode(maps, widths, unpool, backend)[0],)

    net = Network([Doubled(ramp(2, 1, 2, 3)), Doubled(ramp(3, 2, 1, 2))])
    want = Network([Conv(2 * ramp(2, 1, 2, 3)), Conv(2 * ramp(3, 2, 1, 2))])
    assert (decode_layer(net, 2) == decode_layer(want, 2)).all()
    assert (decode_filter(net, 2, 1) == decode_filter(want, 2, 1)).all()
    assert (decode_layer(net, 1) == decode_layer(want, 1)).all()


class Add(Layer):
    joins = True

    def forward(self, *xs, backend):
        return sum(xs)


class Every(Layer):
    stride = (2, 2)

    def forward(self, x, *, backend):
        return x[:, :, ::2, ::2]


class Box(Layer):
    size = (1, 3)

    def forward(self, x, *, backend):
        return x[:, :, :, :-2] + x[:, :, :, 1:-1] + x[:, :, :, 2:]


class Half(Layer):
    def channels(self, *widths):
        return widths[0] // 2

    def forward(self, x, *, backend):
        return x[:, ::2]


class BankAlone(Layer):
    def forward(self, x, *, backend):
        return 2 * x

    def decode_bank(self, *banks, jump, backend):
        return 2 * banks[0]


def below_and(layer, ramp):
    """A network that ends with this layer, on two of a convolution's channels, twice if it joins."""
    return Network([Conv(ramp(2, 1, 2, 2)), layer], inputs=[0, (1, 1) if layer.joins else 1], input_shape=(1, 6, 7))


@pytest.mark.parametrize(
    ("layer", "what"),
    [(Add(), "joins"), (Every(), "stride 2×2"), (Box(), "size 1×3"), (BankAlone(), "decode_bank")],
    ids=lambda each: getattr(each, "kind", ""),
)
def test_a_layer_of_ones_own_that_is_no_identity_must_say_how_it_decodes(layer, what, ramp):
    net = below_and(layer, ramp)
    assert net.forward(ramp(1, 1, 6, 7)).shape[1] == 2
    for call in (lambda: decode_layer(net, 2), lambda: decode_filter(net, 2, 0)):
        with pytest.raises(
            UnsupportedLayerError, match=rf"layer 2 .*: it sets {what}, and has no decode of its own.*write decode"
        ):
            call()


def test_a_layer_of_ones_own_with_other_channels_must_say_how_it_decodes(ramp):
    net = below_and(Half(), ramp)
    assert net.forward(ramp(1, 1, 6, 7)).shape[1] == 1
    for call in (lambda: decode_layer(net, 2), lambda: decode_filter(net, 2, 0)):
        with pytest.raises(UnsupportedLayerError, match=r"it makes 1 channel of 2, and has no decode of its own"):
            call()


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (
            lambda maps: (maps,),
            r"makes \(., 2, 1, 1\) of maps \(., 2, 1, 1\), and must make \(., 2, 1, 1\) and \(., 2, 1, 1\)",
        ),
        (lambda maps: (maps,) * 3, "for each layer that decoding follows, an array"),
        (lambda maps: (maps[:, :1],) * 2, "with that layer's channels"),
        (lambda maps: (maps, np.pad(maps, ((0, 0), (0, 0), (0, 1), (0, 0)))), r"stride \+ size cells"),
        (lambda maps: maps, "must return a tuple"),
    ],
)
def test_what_a_layer_of_ones_own_decodes_to_must_fit(made, message, ramp):
    class Wrong(Add):
        def decode(self, maps, widths, unpool, backend):
            return made(maps)

    net = below_and(Wrong(), ramp)
    for call in (lambda: decode_layer(net, 2), lambda: decode_filter(net, 2, 0)):
        with pytest.raises(ShapeError, match=rf"layer 2 'layer2' \(Wrong\): its decode .*{message}"):
            call()


OF_ONES_OWN = {
    "what a class leaves to the identity is not looked at": (
        Layer, "_check_identity", lambda self: None, lambda ramp: [
            test_a_layer_of_ones_own_that_is_no_identity_must_say_how_it_decodes(layer, what, ramp)
            for layer, what in ((Add(), "joins"), (Every(), "stride 2×2"), (Box(), "size 1×3"), (BankAlone(), "decode_bank"))
        ],
    ),
    "nor its channels": (
        Layer, "check_widths", lambda self, *widths: None, test_a_layer_of_ones_own_with_other_channels_must_say_how_it_decodes,
    ),
    "parts are not looked at": (
        walks, "_check_parts", lambda *given: None,
        lambda ramp: test_what_a_layer_of_ones_own_decodes_to_must_fit(lambda maps: (maps, maps[:, :, :0]), "", ramp),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", OF_ONES_OWN)
def test_checks_of_layers_of_ones_own_are_needed(name, ramp, monkeypatch):
    where, what, instead, dies = OF_ONES_OWN[name]
    monkeypatch.setattr(where, what, instead)
    with pytest.raises((pytest.fail.Exception, AssertionError, decoding.DecodingError, ValueError)):
        dies(ramp)


# 4. The forward pass computes what is asked for, and lets go.


class Watching:
    """The reference, counting calls, and how many of the arrays that it gave are alive."""

    def __init__(self):
        self.given, self.most, self.calls = [], 0, []

    def __getattr__(self, operator):
        def watched(*arrays, **options):
            out = getattr(reference, operator)(*arrays, **options)
            out = out.copy()  # an array that nothing else holds
            self.given.append(weakref.ref(out))
            self.calls.append(operator)
            self.most = max(self.most, sum(ref() is not None for ref in self.given))
            return out

        return watched


def residual_blocks(count, k=1, filters=None):
    """Blocks of a convolution, a rectifier and a sum, 3·count layers, each block's sum read twice."""
    layers, inputs = [], []
    for block in range(count):
        layers += [Conv(np.ones((k, k, 1, 1)) / k if filters is None else filters), ReLU(), Sum()]
        inputs += [3 * block, 3 * block + 1, (3 * block, 3 * block + 2)]
    return Network(layers, inputs=inputs)


def test_each_response_is_let_go_when_its_last_reader_has_run():
    backend = Watching()
    residual_blocks(16).forward(np.ones((2, 1, 3, 4)), backend=backend)
    assert len(backend.given) == 32
    assert backend.most == 2  # a layer's input and its output; what a sum adds up is held beside them


def test_memory_of_16_residual_blocks_is_that_of_one():
    x, peaks = np.ones((1, 4, 100, 100)), {}
    for count in (2, 16):
        net = residual_blocks(count, 4)
        tracemalloc.start()
        net.forward(x, backend=fast)
        peaks[count] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peaks[16] < peaks[2] + x.nbytes / 2


def test_forward_computes_what_the_layer_needs_alone(net):
    backend = Watching()
    net.forward(np.ones((1, 2, 8, 12)), "mean", backend=backend)
    assert backend.calls == ["correlate", "relu", "avg_pool"]
    backend = Watching()
    net.forward(np.ones((1, 2, 8, 12)), "shortcut", backend=backend)
    assert backend.calls == []
    assert len([number for number, _ in net.walk(np.ones((1, 2, 8, 12)), ["shortcut", "branch"])]) == 3


def test_batches_follow_the_most_numbers_alive():
    filters, size = np.ones((1, 1, 1, 1)), 2**10
    chain = Network([Conv(filters), ReLU(), ReLU()])
    assert chain.batch_size((1, 1, size)) == BATCH // size
    # The first response waits for the sum while the second is made into the third: two at a time.
    block = Network([Conv(filters), ReLU(), ReLU(), Sum()], inputs=[0, 1, 2, (1, 3)])
    assert block.batch_size((1, 1, size)) == BATCH // (2 * size)
    assert block.batch_size((1, 1, size), 1) == BATCH // size
    dense = Network([Conv(filters), *[ReLU() for _ in range(6)], Concat()], inputs=[0, *range(1, 7), range(1, 8)])
    assert dense.batch_size((1, 1, size)) == BATCH // (7 * size)
    assert residual_blocks(16).batch_size((1, 1, size)) == BATCH // (2 * size)


def test_measuring_takes_batches_for_all_the_layers_that_it_measures(monkeypatch):
    """Two branches that are run side by side: together, both first layers wait at the same time."""
    net = Network([one(8), one(8), one(1, 8), one(1, 8)], inputs=[0, 0, 1, 2])
    monkeypatch.setattr("decoding.network.BATCH", 1920)
    assert [net.batch_size((1, 2, 3), n) for n in (3, 4)] == [40, 40]
    assert net.batch_size((1, 2, 3), [3, 4]) == 20
    sizes = []

    class Sizes:
        def __init__(self, layer):
            self.layer = layer

        def part(self, images, responses, start):
            return len(images)

        def add(self, part):
            sizes.append(part)

    measure(net, np.zeros((40, 1, 2, 3)), [Sizes(3), Sizes(4)])
    assert sizes == [20] * 4
    assert net.batch_size((1, 2, 3), "layer3") == 40
    assert net.batch_size((1, 2, 3), np.int64(3)) == 40


def test_measuring_agrees_through_branches(net, ramp):
    images = ramp(5, 2, 8, 12)
    meter = TopImagesMeter(net, "gate", n=2)
    measure(net, images, [meter], batch_size=2)
    responses = net.forward(images).max(axis=(2, 3))
    assert (meter.result().responses == -np.sort(-responses.T, axis=1)[:, :2]).all()


# 5. Backends.


def test_a_module_pickles_by_its_name():
    for module in (reference, fast):
        wrapped = resolve(module)
        again = pickle.loads(pickle.dumps(wrapped))
        assert again.module is module
        assert resolve(again) is again
        assert len(pickle.dumps(wrapped)) < 200
        assert getattr(again, "groups", False) is True
        assert again.name == module.name


def test_a_module_that_makes_its_operators_when_asked_is_a_backend():
    lazy = types.ModuleType("lazy")
    lazy.__getattr__ = lambda operator: getattr(reference, operator)
    net = Network([Conv([[[[1, 2]]]]), ReLU()])
    assert (net.forward([[[[1, 1, 1]]]], backend=lazy) == 3).all()
    assert (decode_layer(net, 2, backend=lazy) == [1, 2]).all()


class BackendError(DecodingError):
    """A child of one's own, which takes two arguments."""

    def __init__(self, message, code):
        super().__init__(message, code)
        self.code = code


class Terse(DecodingError):
    def __str__(self):
        return "no more to say"


def test_an_error_of_a_backend_is_raised_again_with_the_layer_named():
    def failing(error):
        class Failing:
            @staticmethod
            def relu(x, *, leak):
                raise error

        return Failing

    net = Network([ReLU(name="r")], input_shape=(1, 1, 1))
    error = BackendError("out of registers", 7)
    with pytest.raises(BackendError, match=r"layer 1 'r' \(ReLU\): out of registers") as caught:
        net.forward([[[[1]]]], backend=failing(error))
    assert caught.value is error
    assert caught.value.code == 7
    assert pickle.loads(pickle.dumps(caught.value)).args == caught.value.args
    error = Terse()
    with pytest.raises(Terse) as caught:
        net.forward([[[[1]]]], backend=failing(error))
    assert caught.value is error
    assert "layer 1 'r' (ReLU)" in "".join(map(str, [*caught.value.args, *getattr(caught.value, "__notes__", [])]))
    with pytest.raises(ZeroDivisionError):  # what is not of the family passes as it is
        net.forward([[[[1]]]], backend=failing(ZeroDivisionError()))


def test_backends_that_say_groups_get_groups_and_others_dense_banks(ramp):
    seen = []

    class Grouped:
        groups = True

        def correlate(self, x, filters, bias, *, stride, pad, groups=1):
            seen.append((filters.shape, groups))
            return reference.correlate(x, filters, bias, stride=stride, pad=pad, groups=groups)

        def substitute(self, maps, filters, *, stride, groups=1):
            seen.append((filters.shape, groups))
            return reference.substitute(maps, filters, stride=stride, groups=groups)

    class Dense(Grouped):
        groups = False

    class Wrapping:
        def __getattr__(self, name):  # would pass on what the other says of itself
            return getattr(Dense() if name != "groups" else Grouped(), name)

    net = Network([one(4), Conv(ramp(8, 2, 1, 2), groups=2)])
    for backend, want in (
        (Grouped(), ((8, 2, 1, 2), 2)),
        (Dense(), ((8, 4, 1, 2), 1)),
        (Wrapping(), ((8, 4, 1, 2), 1)),
    ):
        seen.clear()
        net.forward(ramp(1, 1, 1, 3), backend=backend)
        decode(net, 2, ramp(1, 8, 1, 2), to=1, backend=backend)
        assert seen[1:] == [want, want]


def test_import_allocates_little_and_loads_neither_scipy_nor_pillow():
    code = (
        "import tracemalloc, numpy; tracemalloc.start(); import decoding, sys;"
        "print([m for m in ('scipy', 'PIL', 'torch', 'onnx', 'h5py', 'threadpoolctl', 'concurrent.futures.process') if m in sys.modules],"
        "tracemalloc.get_traced_memory()[1])"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    loaded, peak = re.fullmatch(r"(\[.*\]) (\d+)", done.stdout.strip()).groups()
    assert loaded == "[]"
    assert int(peak) < 16 * 2**20  # code alone; the tuned operators' 32 MB come when they are first used


# 6. Memory of decoding a layer: a block, and the result.


@pytest.mark.slow
@pytest.mark.parametrize("unpool", ["nearest", "bilinear"])
def test_decoding_takes_no_more_memory_than_a_block_and_the_result(unpool):
    """A pool of 64 channels with many layers above, whose banks in units of that pool would be large."""
    random = np.random.default_rng(0)

    def conv(k, c, n):
        return Conv(random.standard_normal((k, c, n, n), np.float32), pad=n // 2)

    layers = [conv(64, 3, 3), MaxPool(3, 2, pad=1), *(conv(64, 64, 5) for _ in range(5)), conv(256, 64, 3), ReLU()]
    net = Network(layers)
    top = len(net)
    field = net.receptive_field(top).size
    result = 256 * 3 * np.prod(field) * 4
    dense = 256 * 64 * np.prod(net.receptive_field(top, within=2).size) * 4
    assert dense > 20 * 2**20
    with mock.patch.object(decoder, "BLOCK_BYTES", 2**22):
        tracemalloc.start()
        bank = decode_layer(net, top, unpool=unpool, backend=fast)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert bank.nbytes == result
    # Of a block: its products, what is copied to make them, and the sum; of two, where two threads make one each.
    assert peak < 2 * result + 2 * 4 * 2**22 + 8 * 2**20
