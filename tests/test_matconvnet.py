"""Networks read from MATLAB files, and written to them."""

import importlib.util
import subprocess
import sys

import numpy as np
import pytest
from mat_files import Column, Structs, write_v5, write_v73

import decoding
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
    ReLU,
    Sigmoid,
    Softmax,
    Unsupported,
    UnsupportedLayerError,
    WeightsFormatError,
    decode_filter,
    load_matconvnet,
    save_matconvnet,
)


def assert_equal(one, other):
    """Bit for bit."""
    assert (one.classes, one.input_shape, str(one)) == (other.classes, other.input_shape, str(other))
    assert (one.mean is None) == (other.mean is None)
    assert one.mean is None or same_bits(one.mean, other.mean)
    for a, b in zip(one.layers, other.layers, strict=True):
        assert type(a) is type(b)
        assert repr(a) == repr(b)
        assert a.weights.keys() == b.weights.keys()
        assert all(same_bits(a.weights[what], b.weights[what]) for what in a.weights)


def same_bits(a, b):
    return (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())


@pytest.fixture(params=["v5", "v5, plain", "v7.3"])
def load(request, tmp_path):
    """Loads what plain values are written as, in each format."""
    if request.param == "v7.3":
        pytest.importorskip("h5py", reason="v7.3 is read through h5py, the extra `hdf5`")

    def load(variables, **options):
        path = tmp_path / "net.mat"
        if request.param == "v7.3":
            write_v73(path, variables)
        else:
            write_v5(path, variables, compress=request.param == "v5")
        return load_matconvnet(path, **options)

    return load


@pytest.fixture
def single(ramp):
    """Weights in MATLAB's axes, single precision, no two alike."""
    return lambda *shape: ramp(*shape).astype(np.float32) / 8


def refused(load, variables, message):
    with pytest.raises(WeightsFormatError, match=message) as caught:
        load(variables)
    assert "net.mat" in str(caught.value)
    assert str(caught.value).isprintable()


# SimpleNN.


def test_axes_and_fields(load, single):
    filters, mean = single(5, 3, 2, 4), single(7, 11, 2)
    layers = [
        {"type": "conv", "name": "first", "weights": [filters, single(1, 4)], "stride": np.float64([[2, 3]]),
         "pad": np.float64([[1, 0, 2, 3]]), "dilate": np.float64([[1, 2]])},
        {"type": "relu", "leak": np.float64([[0.25]])},
        {"type": "pool", "method": "avg", "pool": np.float64([[2, 1]]), "stride": np.float64([[1, 2]]), "pad": np.uint8([[1, 0, 0, 0]])},
    ]  # fmt: skip
    meta = {
        "inputSize": np.float64([[7, 11, 2, 100]]),
        "normalization": {"averageImage": mean},
        "classes": {"name": ["a", "b c", "ü"]},
    }
    net = load({"net": {"layers": layers, "meta": meta}})
    conv, relu, pool = net.layers
    assert all(conv.filters[k, c, u, v] == filters[u, v, c, k] for k, c, u, v in np.ndindex(4, 2, 5, 3))
    assert conv.filters.dtype == np.float32
    assert (conv.bias == single(1, 4)[0]).all()
    assert (conv.stride, conv.pad, conv.dilation, conv.groups) == ((2, 3), (1, 0, 2, 3), (1, 2), 1)
    assert relu.leak == 0.25
    assert (type(pool), pool.size, pool.stride, pool.pad) == (AvgPool, (2, 1), (1, 2), (1, 0, 0, 0))
    assert all(net.mean[c, i, j] == mean[i, j, c] for c, i, j in np.ndindex(2, 7, 11))
    assert (net.input_shape, net.classes, net.names) == ((2, 7, 11), ("a", "b c", "ü"), ("first", "layer2", "layer3"))
    assert load({"net": {"layers": layers}}, dtype=np.float64).layers[0].filters.dtype == np.float64


def test_old_fields_and_decoys(load, single):
    """Before 2015: `layers` at the top, filters and biases; what training left behind is not taken for weights."""
    layers = [
        {"type": "conv", "filtersMomentum": 9 * single(3, 2, 1, 5), "biasesMomentum": 9 * single(1, 5),
         "filters": single(3, 2, 1, 5), "biases": single(1, 5), "filtersLearningRate": np.uint8([[1]])},
        {"type": "conv", "weights": [single(1, 1, 5, 2), single(2, 1)], "momentum": [9 * single(1, 1, 5, 2), single(1, 2)],
         "filters": 9 * single(1, 1, 5, 2), "biases": np.zeros((0, 0))},
        {"type": "softmaxloss", "class": np.float32([[1, 2]])},
    ]  # fmt: skip
    net = load({"layers": layers, "imageMean": np.float32([[107.5]]), "info": {"train": np.float64([[1]])}})
    assert (net.layers[0].filters == single(3, 2, 1, 5).transpose(3, 2, 0, 1)).all()
    assert (net.layers[0].bias == single(1, 5)[0]).all()
    assert (net.layers[1].filters == single(1, 1, 5, 2).transpose(3, 2, 0, 1)).all()
    assert (net.layers[1].bias == single(2, 1)[:, 0]).all()
    assert isinstance(net.layers[2], Softmax)
    assert net.mean.tolist() == [[[107.5]]]


@pytest.mark.parametrize(
    "variables",
    [
        lambda net: {"net": net},
        lambda net: {"other": np.float64([[1]]), "cnn": net},
        lambda net: {"net": {"net": net}},
        lambda net: {"result": {"epoch": np.float64([[3]]), "best": net}},
        lambda net: net,
        lambda net: {"net": net, "old": net, "layers": net["layers"]},
    ],
    ids=["net", "another name", "deeper", "deeper, another name", "top", "net before others"],
)
def test_where_the_layers_may_be(load, single, variables):
    net = {"layers": [{"type": "conv", "weights": [single(3, 2, 1, 5), single(1, 5)]}]}
    assert load(variables(net)).layers[0].filters.shape == (5, 1, 3, 2)


def test_several_networks_are_refused(load, single):
    net = {"layers": [{"type": "conv", "weights": [single(3, 2, 1, 5)]}]}
    refused(load, {"one": net, "two": {"deep": net}}, "2 networks in it: one.layers, two.deep.layers. Keep one")


def test_dropped_ones_are_put_back(load, single):
    layers = [
        {"type": "conv", "weights": [single(3, 2), single(1, 1)]},  # h×w×1×1
        {"type": "conv", "weights": [single(1, 1, 1, 3), single(3, 1)]},
        {"type": "conv", "weights": [single(2, 1, 3), np.float32(5)]},  # h×w×3×1
    ]
    net = load({"net": {"layers": layers, "meta": {"normalization": {"averageImage": single(9, 8)}}}})
    assert [layer.filters.shape for layer in net.layers] == [(1, 1, 3, 2), (3, 1, 1, 1), (1, 3, 2, 1)]
    assert (net.layers[2].filters[0, :, :, 0] == single(2, 1, 3)[:, 0].T).all()
    assert net.layers[2].bias.tolist() == [5]
    assert (net.mean == single(9, 8)[np.newaxis]).all()


@pytest.mark.parametrize("cell", [list, Column])
@pytest.mark.parametrize("shape", [(1, 4), (4, 1), (0, 0), None])
def test_biases_lie_in_rows_or_columns_or_are_missing(load, single, cell, shape):
    weights = cell([single(3, 2, 1, 4)] if shape is None else [single(3, 2, 1, 4), single(*shape)])
    bias = load({"net": {"layers": Column([{"type": "conv", "weights": weights}])}}).layers[0].bias
    assert bias.tolist() == (np.zeros(4) if shape in (None, (0, 0)) else single(4)).tolist()


@pytest.mark.parametrize(
    ("given", "pad"),
    [
        ([[3]], (3, 3, 3, 3)),
        ([[1, 2]], (1, 1, 2, 2)),
        ([[1], [2]], (1, 1, 2, 2)),
        ([[1, 2, 3, 0]], (1, 2, 3, 0)),
        (np.zeros((0, 0)), (0,) * 4),
    ],
)
@pytest.mark.parametrize("dtype", [np.uint8, np.float64, np.int32])
def test_pads(load, single, given, pad, dtype):
    layers = [{"type": "conv", "weights": [single(5, 4, 1, 2)], "pad": np.array(given, dtype)}]
    assert load({"net": {"layers": layers}}).layers[0].pad == pad


def test_small_integers_are_widened(load, single):
    # 200 + 100 would be 44 in eight bits.
    layers = [
        {"type": "conv", "weights": [single(2, 2, 1, 1)], "stride": np.uint8([[200]])},
        {"type": "pool", "pool": np.uint8([[100, 200]]), "stride": np.uint8([[100]])},
    ]
    field = load({"net": {"layers": layers}}).receptive_field(2)
    assert (field.size, field.stride) == ((2 + 99 * 200, 2 + 199 * 200), (20000, 20000))


def test_defaults_are_matconvnets(load, single):
    layers = [
        {"type": "conv", "weights": [single(2, 2, 1, 3)]},
        {"type": "pool", "pool": np.float64([[3]])},
        {"type": "normalize"},
    ]
    conv, pool, lrn = load({"net": {"layers": layers}}).layers
    assert (conv.stride, conv.pad, conv.dilation) == ((1, 1), (0, 0, 0, 0), (1, 1))
    assert (type(pool), pool.size, pool.stride) == (MaxPool, (3, 3), (1, 1))  # not its size
    assert (lrn.depth, lrn.kappa, lrn.alpha, lrn.beta) == (5, 1, 0.0001 / 5, 0.75)


def test_groups_are_counted_from_the_channels(load, single):
    layers = [
        {"type": "conv", "weights": [single(3, 3, 1, 6)]},
        {"type": "relu"},
        {"type": "conv", "weights": [single(1, 2, 3, 4)]},
    ]
    net = load({"net": {"layers": layers, "meta": {"inputSize": np.float64([[9, 9, 2]])}}})
    assert [net.layers[i].groups for i in (0, 2)] == [2, 2]
    assert load({"net": {"layers": layers}}).layers[0].groups == 1


def test_other_layers(load, single):
    layers = [
        {"type": "conv", "weights": [single(3, 3, 1, 3)]},
        {"type": "bnorm", "weights": [single(3, 1), single(3, 1) + 1, np.abs(single(3, 2)) + 1]},
        {"type": "bnorm", "weights": [single(3, 1), single(1, 3)]},
        {
            "type": "bnorm",
            "filters": single(3, 1),
            "biases": single(3, 1),
            "momentum": [9 * single(3, 1), single(3, 1)],
        },
        {
            "type": "bnorm",
            "weights": [single(3, 1), single(3, 1), np.zeros((3, 2), np.float32)],
        },  # filled in by MatConvNet
        {"type": "lrn", "param": np.float64([[3, 2, 0.5, 0.75]])},
        {"type": "sigmoid"},
        {"type": "dropout", "rate": np.float64([[0.5]])},
        {"type": "loss", "class": np.float64([[1]])},
        {"type": "softmax"},
    ]
    net = load({"net": {"layers": layers}})
    norm, lrn = net.layers[1], net.layers[5]
    assert (norm.scale == single(3)).all()
    assert (norm.bias == single(3) + 1).all()
    assert (norm.mean == np.abs(single(3, 2))[:, 0] + 1).all()
    assert (norm.std == np.abs(single(3, 2))[:, 1] + 1).all()
    assert [net.layers[i].mean for i in (2, 3, 4)] == [None] * 3
    assert (lrn.depth, lrn.kappa, lrn.alpha, lrn.beta) == (3, 2, 0.5, 0.75)
    assert [type(layer) for layer in net.layers[6:]] == [Sigmoid, Dropout, Loss, Softmax]


@pytest.mark.parametrize("kind", ["custom", "upsmpl", "concat", "SubP", "dpool", "convt", "noffset", "pdist", "a\nb"])
def test_unknown_layers_do_not_make_a_file_unreadable(load, single, kind):
    layers = [
        {"type": "conv", "weights": [single(3, 3, 1, 4)]},
        {"type": kind, "name": "odd", "weights": [single(2, 2, 3, 4)], "pool": "what"},
        {"type": "conv", "weights": [single(1, 1, 2, 4)]},
    ]
    net = load({"net": {"layers": layers, "meta": {"inputSize": np.float64([[9, 8, 1]])}}})
    assert isinstance(net.layers[1], Unsupported)
    assert net.layers[1].type == kind
    assert decode_filter(net, 1, 3).shape == (1, 3, 3)
    with pytest.raises(UnsupportedLayerError, match=r"layer 2 'odd' \("):
        decode_filter(net, 3, 0)


def test_names_are_kept_and_shown_escaped(load, single):
    name = "c\x07\n\x1b[31m"
    net = load({"net": {"layers": [{"type": "conv", "name": name, "weights": [single(3, 3, 1, 4)]}]}})
    assert net.names == (name,)
    assert decode_filter(net, name, 0).shape == (1, 3, 3)
    assert "c\\x07\\n\\x1b[31m  Conv" in str(net)


def test_means(load, single):
    layers = [{"type": "conv", "weights": [single(3, 3, 3, 4)]}]

    def mean(value):
        return load({"net": {"layers": layers, "meta": {"normalization": {"averageImage": value}}}}).mean

    assert mean(single(1, 1, 3)).ravel().tolist() == single(3).tolist()
    assert mean(single(3, 1)).shape == (3, 1, 1)  # one number per channel
    assert mean(np.float32(7)).ravel().tolist() == [7, 7, 7]
    assert (mean(single(9, 8)) == single(9, 8)).all()  # the same for every channel
    assert mean(single(9, 8)).shape == (3, 9, 8)
    normalization = {"averageImage": single(1, 1, 3), "imageSize": np.float64([[9, 8, 3]])}
    assert load({"net": {"layers": layers, "normalization": normalization}}).input_shape == (3, 9, 8)  # before 2015


def test_an_input_size_that_does_not_fit_is_left_out_and_told(load, single):
    layers = [{"type": "conv", "weights": [single(9, 3, 1, 4)]}]
    net = load({"net": {"layers": layers, "meta": {"inputSize": np.float64([[8, 8, 1]])}}})
    assert net.input_shape is None
    assert "input size, 1×8×8, does not fit, and is left out: layer 1 'layer1' (Conv): its window" in str(net)


# DagNN.


def graph(layers, single):
    fields = ("name", "type", "inputs", "outputs", "params", "block")
    params = Structs([{"name": "f", "value": single(3, 2, 2, 4)}, {"name": "b", "value": single(4, 1)}])
    full = [
        (name, f"dagnn.{kind}", inputs, outputs, params, block) for name, kind, inputs, outputs, params, block in layers
    ]
    return {
        "net": {
            "layers": Structs([dict(zip(fields, layer, strict=True)) for layer in full]),
            "params": params,
            "meta": np.zeros((0, 0)),
        }
    }


@pytest.fixture
def chain(single):
    return [
        ("conv", "Conv", ["x"], ["a"], ["f", "b"], {"stride": np.uint8([[2, 1]]), "pad": np.uint8([[0, 1, 0, 1]])}),
        ("relu", "ReLU", ["a"], ["b"], [], {"leak": np.float64([[0.25]])}),
        (
            "pool",
            "Pooling",
            ["b"],
            ["c"],
            [],
            {"method": "avg", "poolSize": np.uint8([[3, 2]]), "stride": np.uint8([[2, 2]])},
        ),
        ("drop", "DropOut", ["c"], ["d"], [], {"rate": np.float64([[0.5]])}),
    ]


def test_a_chain_of_a_graph(load, chain, single):
    loss = [("loss", "Loss", ["d", "label"], ["objective"], [], {"loss": "softmaxlog"}),
            ("error", "Loss", ["d", "label"], ["top1err"], [], {"loss": "classerror"})]  # fmt: skip
    for order in (chain + loss, (chain + loss)[::-1]):
        net = load(graph(order, single))
        assert net.names[:4] == ("conv", "relu", "pool", "drop")
        conv, relu, pool, drop, last = net.layers
        assert (conv.filters == single(3, 2, 2, 4).transpose(3, 2, 0, 1)).all()
        assert (conv.bias == single(4)).all()
        assert (conv.stride, conv.pad, relu.leak) == ((2, 1), (0, 1, 0, 1), 0.25)
        assert (type(pool), pool.size, pool.stride, type(drop)) == (AvgPool, (3, 2), (2, 2), Dropout)
        assert type(last) in (Softmax, Loss)
    assert isinstance(load(graph(chain + loss, single)).layers[-1], Softmax)


def test_where_branches_join_a_graph_ends(load, chain, single):
    layers = [
        *chain,
        ("up", "ConvTranspose", ["x"], ["u"], ["f"], {}),
        ("sum", "Sum", ["d", "u"], ["s"], [], np.zeros((0, 0))),
    ]
    net = load(graph(layers, single))
    assert net.names == ("conv", "relu", "pool", "drop", "sum")
    assert decode_filter(net, "drop", 3).shape == (2, 7, 3)
    with pytest.raises(UnsupportedLayerError, match=r"layer 5 'sum' \(dagnn.Sum\): .* it joins d, u"):
        decode_filter(net, "sum", 0)
    assert "On other branches of the graph, and left out: up." in str(net)


def test_losses_are_no_branches(load, chain, single):
    layers = [("error", "Loss", ["a", "label"], ["e"], [], {"loss": "classerror"}), *chain]
    net = load(graph(layers, single))
    assert net.names == ("conv", "relu", "pool", "drop")
    assert net.notes == ()


def test_graphs_that_make_no_sense(load, chain, single):
    loop = [("a", "ReLU", ["x"], ["y"], [], {}), ("b", "ReLU", ["y"], ["x"], [], {})]
    refused(load, graph(loop, single), "not a graph of MatConvNet's layers that begins with an image")
    round_trip = [*chain, ("back", "ReLU", ["d"], ["a"], [], {})]
    assert load(graph(round_trip, single)).names == ("conv", "relu", "pool", "drop", "back")
    lost = [("conv", "Conv", ["x"], ["a"], ["nowhere"], {})]
    refused(load, graph(lost, single), r"net.layers\(1\).block: the parameter .nowhere. is not in the file")


# What is refused, and how.


NOT_NUMBERS = {"text": "3", "a cell": [1.0], "a struct": {"a": 1.0}}
BAD = {
    "stride 0": ({"stride": np.float64([[0]])}, "stride must be at least 1"),
    "a negative stride": ({"stride": np.float64([[-1]])}, "stride should be whole numbers from 0 to 4096, not"),
    "half a stride": ({"stride": np.float64([[0.5]])}, "stride should be whole numbers"),
    "a NaN pad": ({"pad": np.float64([[np.nan]])}, "pad should be whole numbers"),
    "an absurd pad": ({"pad": np.float64([[1e12]])}, "pad should be whole numbers from 0 to 4096"),
    "three pads": ({"pad": np.float64([[1, 2, 3]])}, "pad should be 1 or 2 or 4 numbers, and is float64 1×3"),
    "a square of pads": ({"pad": np.float64([[1, 2], [3, 4]])}, "pad should be 1 or 2 or 4 numbers"),
    "an absurd dilation": ({"dilate": np.float64([[4096]])}, "NONE"),
    "no weights": ({"weights": []}, r"has neither weights nor filters; its fields are type, weights"),
    "weights in no cell": ({"weights": np.float32([[1]])}, "weights should be a cell, and is float32 1×1"),
    "five axes": ({"weights": [np.ones((2, 3, 2, 3, 2))]}, "more than the axes"),
    "text for filters": ({"weights": ["abc"]}, "filters should be numbers, and are the text 'abc'"),
    "many biases": ({"weights": [np.ones((2, 3, 1, 4)), np.ones((1, 5))]}, "biases .1, 5., and there are 4"),
    "a square of biases": ({"weights": [np.ones((2, 3, 1, 4)), np.ones((2, 2))]}, "biases .2, 2., and there are 4"),
    "a type that is a number": ({"type": np.float64([[3]])}, "type should be text, and is float64 1×1"),
    **{f"{what} for a stride": ({"stride": value}, "stride should be numbers") for what, value in NOT_NUMBERS.items()},
}


@pytest.mark.parametrize("case", BAD)
def test_bad_fields_are_named(load, single, case):
    change, message = BAD[case]
    layer = {"type": "conv", "weights": [single(3, 2, 1, 4), single(1, 4)], **change}
    variables = {"net": {"layers": [layer, {"type": "relu"}]}}
    if message == "NONE":
        assert load(variables).layers[0].dilation == (4096, 4096)
    else:
        refused(load, variables, message)


def test_sizes_that_do_not_chain(load, single):
    layers = [{"type": "conv", "weights": [single(3, 2, 1, 4)]}, {"type": "conv", "weights": [single(1, 1, 3, 2)]}]
    refused(load, {"net": {"layers": layers}}, r"layer 2 'layer2' \(Conv\): its filters want 3 channels, and get 4")
    wide = [{"type": "conv", "weights": [single(3, 2, 1, 1)], "stride": np.float64([[4096]])}] * 3
    refused(load, {"net": {"layers": wide}}, "layer 3, 'layer3', would see more than 65536 pixels")
    pool = [
        {"type": "conv", "weights": [single(3, 2, 1, 1)]},
        {"type": "pool", "pool": np.float64([[2]]), "pad": np.float64([[2]])},
    ]
    refused(load, {"net": {"layers": pool}}, "pad .2, 2, 2, 2. must be less than the window")
    refused(load, {"net": {"layers": [{"type": "pool"}]}}, r"net.layers\{1\} is a pool without a size")


def test_nan_weights_are_read_and_told(load, single):
    bad = single(3, 2, 1, 4)
    bad[1, 1, 0, 2] = np.nan
    net = load(
        {
            "net": {
                "layers": [
                    {"type": "conv", "weights": [bad]},
                    {"type": "conv", "weights": [single(1, 1, 4, 1) * np.nan]},
                ]
            }
        }
    )
    assert "layer 1 'layer1' (Conv): filters: 1 of 24 values are not finite; the first, nan, is at (2, 0, 1, 1)" in str(
        net
    )
    assert "layer 2 'layer2' (Conv): filters: 4 of 4 values" in str(net)
    with pytest.raises(InvalidValueError, match="layer 1 'layer1'"):
        decode_filter(net, 1, 0)


STRANGERS = {
    "loose arrays": ({"weights_conv1": np.ones((3, 3)), "bias1": np.ones((1, 3))}, r"It holds .*weights_conv1 \(float64 3×3\)"),
    "a course's params": ({"params": [{"w": np.ones((3, 3)), "b": np.ones((1, 3))}]}, "`params` is a cell of structs with the fields (w, b|b, w)"),
    "an image database": ({"imdb": {"images": np.ones((3, 3)), "meta": "x"}}, "`imdb` is a struct without layers; its fields are images, meta"),
    "DeepLearnToolbox": ({"cnn": {"layers": Column([{"type": "i"}, {"type": "c", "k": [1.0]}, {"type": "s"}])}}, r"types are c, i, s, as DeepLearnToolbox has them. It holds cnn \(struct 1×1\)"),
    "other types": ({"net": {"layers": [{"type": "imageInput"}, {"type": "dense"}]}}, "net.layers are not MatConvNet's: their types are dense, imageInput"),
    "layers that are numbers": ({"net": {"layers": np.float64([[3, 4]])}}, "net.layers is float64 1×2, not a cell"),
    "layers that are texts": ({"layers": ["conv", "relu"]}, r"layers\{1\} should be a layer, and is the text 'conv'"),
    "layers without types": ({"layers": [{"weights": [1.0]}]}, r"layers\{1\} has no type; its fields are weights"),
    "structs that are no graph": ({"net": {"layers": Structs([{"name": "a"}, {"name": "b"}])}}, "not a graph of MatConvNet's layers"),
    "nothing": ({}, "there are no variables. It holds nothing"),
}  # fmt: skip


@pytest.mark.parametrize("case", STRANGERS)
def test_files_that_are_not_matconvnets_say_what_they_hold(load, case):
    refused(load, *STRANGERS[case])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"MATLAB 5.0 MAT-file, Platform: PCWIN64", "header is cut short or damaged .38 bytes"),
        (b"conv1: 3 3\nconv2: 5 5\n" * 20, "not a MATLAB file of version 5 or 7.3: it begins with b'conv1: 3"),
        (b"\x89PNG\r\n\x1a\n" * 30, "not a MATLAB file"),
    ],
)
def test_other_files(tmp_path, content, message):
    path = tmp_path / "net.mat"
    path.write_bytes(content)
    refused(lambda _: load_matconvnet(path), None, message)


def test_paths(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_matconvnet(tmp_path / "nowhere.mat")
    with pytest.raises(OSError, match="directory"):
        load_matconvnet(tmp_path)
    for dtype in (int, "complex64", "no type"):
        with pytest.raises(InvalidValueError, match="floating-point"):
            load_matconvnet(tmp_path / "nowhere.mat", dtype=dtype)


@pytest.mark.parametrize("name", ["c\x01\n\x1b[31m", "β 漢 😀", "x" * 3000, "\u2028"])
def test_any_name_is_written_and_read_back(tmp_path, name):
    net = Network([ReLU(name=name), Unsupported(name)], classes=[name, ""])
    save_matconvnet(Network([*net.layers, Conv(np.ones((1, 1, 1, 1)))], classes=net.classes), tmp_path / "net.mat")
    again = load_matconvnet(tmp_path / "net.mat")
    assert (again.names[0], again.layers[1].type, again.classes) == (name, name, (name, ""))


@pytest.mark.parametrize("name", ["a\0b", "\ud800"])
def test_names_that_cannot_be_written(tmp_path, name):
    with pytest.raises(InvalidValueError, match="holds a zero or half a character"):
        save_matconvnet(Network([ReLU(name=name)]), tmp_path / "net.mat")
    assert list(tmp_path.iterdir()) == []


def test_without_h5py_a_v73_file_says_what_to_install(tmp_path):
    path = tmp_path / "net.mat"
    path.write_bytes(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + bytes(400))
    code = "import sys; sys.modules['h5py'] = None\nimport decoding\ndecoding.load_matconvnet(sys.argv[1])"
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False)
    assert "WeightsFormatError" in done.stderr
    assert "pip install 'filter-decoding[hdf5]'" in done.stderr


# Both formats, and back.


def test_the_same_network_in_v5_and_v73_loads_equal(tmp_path):
    pytest.importorskip("h5py", reason="v7.3 is read through h5py, the extra `hdf5`")
    from fuzz_files import networks

    for variables in networks():
        write_v5(tmp_path / "5.mat", variables)
        write_v73(tmp_path / "73.mat", variables)
        assert_equal(load_matconvnet(tmp_path / "5.mat"), load_matconvnet(tmp_path / "73.mat"))


@pytest.fixture
def net(ramp):
    layers = [
        Conv(ramp(6, 2, 3, 2) / 7, ramp(6) / 3, stride=(2, 1), pad=(1, 0, 2, 3), name="edges"),
        BatchNorm(ramp(6) / 7, ramp(6) / 3, mean=ramp(6), std=np.arange(1, 7) / 7),
        ReLU(leak=0.1),
        MaxPool((3, 2), (2, 1), pad=(0, 1, 0, 1), name="pool"),
        LRN(3, kappa=0.3, alpha=0.1, beta=0.7),
        Conv((ramp(4, 3, 1, 2) / 7).astype(np.float32), dilation=(1, 2), groups=2),
        BatchNorm(ramp(4)),
        Dropout(name="dröp"),
        AvgPool((1, 2)),
        Sigmoid(),
        Conv(ramp(3, 4, 1, 1), ramp(3)),
        Softmax(name="prob"),
        Loss(),
        Unsupported("upsmpl", name="up"),
        Unsupported("dagnn.Sum", reason="it joins a, b"),
    ]
    return Network(
        layers,
        mean=ramp(2, 11, 13) / 7,
        classes=["a", "β", "c d"],
        input_shape=(2, 11, 13),
        notes=["Half of it is missing."],
    )


def test_what_is_saved_is_read_back_bit_for_bit(net, tmp_path):
    save_matconvnet(net, tmp_path / "net.mat")
    assert_equal(load_matconvnet(tmp_path / "net.mat"), net)


def test_groups_without_an_input_size_are_read_back(ramp, tmp_path):
    net = Network([Conv(ramp(6, 2, 3, 2), groups=3), Conv(ramp(2, 6, 1, 1)), Conv(ramp(4, 1, 1, 1), groups=2)])
    save_matconvnet(net, tmp_path / "net.mat")
    assert_equal(load_matconvnet(tmp_path / "net.mat"), net)


def test_what_is_saved_is_what_vl_simplenn_reads(net, tmp_path):
    """SciPy's own reading, in MATLAB's terms."""
    import scipy.io

    save_matconvnet(net, tmp_path / "net.mat")
    saved = scipy.io.loadmat(tmp_path / "net.mat")["net"]
    assert saved.shape == (1, 1)
    layers = saved[0, 0]["layers"]
    assert (layers.shape, layers.dtype) == ((1, len(net.layers)), object)
    first = layers[0, 0]
    assert (first["type"][0, 0].tolist(), first["name"][0, 0].tolist()) == (["conv"], ["edges"])
    filters, biases = first["weights"][0, 0].ravel()
    assert (filters.shape, biases.shape) == ((3, 2, 2, 6), (1, 6))
    assert (filters == net.layers[0].filters.transpose(2, 3, 1, 0)).all()
    assert first["pad"][0, 0].tolist() == [[1, 0, 2, 3]]
    assert first["stride"][0, 0].tolist() == [[2, 1]]
    assert [part.shape for part in layers[0, 1]["weights"][0, 0].ravel()] == [(6, 1), (6, 1), (6, 2)]
    asked = {
        "Conv": {"weights", "pad", "stride", "dilate", "opts"},
        "MaxPool": {"pool", "pad", "stride", "method", "opts"},
        "AvgPool": {"pool", "pad", "stride", "method", "opts"},
        "ReLU": {"leak"},
        "Dropout": {"rate"},
        "BatchNorm": {"weights", "epsilon"},
        "LRN": {"param"},
    }
    for layer, struct in zip(net.layers, layers[0], strict=True):
        assert asked.get(layer.kind, set()) | {"type", "precious"} <= set(struct.dtype.names)
        assert struct["precious"][0, 0].tolist() == [[0]]
        if "opts" in struct.dtype.names:
            assert (struct["opts"][0, 0].dtype, struct["opts"][0, 0].size) == (object, 0)
    assert layers[0, 3]["method"][0, 0].tolist() == ["max"]
    assert layers[0, 3]["pool"][0, 0].tolist() == [[3, 2]]
    assert layers[0, 4]["param"][0, 0].tolist() == [[3, 0.3, 0.1, 0.7]]
    meta = saved[0, 0]["meta"][0, 0]
    assert meta["inputSize"].tolist() == [[11, 13, 2]]
    assert meta["normalization"][0, 0]["averageImage"].shape == (11, 13, 2)
    assert meta["classes"][0, 0]["name"].shape == (1, 3)


def test_half_precision_is_saved_in_single(ramp, tmp_path):
    save_matconvnet(Network([Conv(ramp(2, 1, 3, 2).astype(np.float16))]), tmp_path / "net.mat")
    filters = load_matconvnet(tmp_path / "net.mat").layers[0].filters
    assert filters.dtype == np.float32
    assert (filters == ramp(2, 1, 3, 2)).all()
    if np.dtype(np.longdouble).itemsize > 8:
        with pytest.raises(InvalidValueError, match="make it float64"):
            save_matconvnet(Network([Conv(ramp(2, 1, 3, 2).astype(np.longdouble))]), tmp_path / "net.mat")


@pytest.mark.parametrize("after", [0, 1, 500])
def test_an_interrupted_write_leaves_the_old_file_whole(net, tmp_path, monkeypatch, after):
    import scipy.io

    path = tmp_path / "net.mat"
    save_matconvnet(Network([ReLU(name="old"), Conv(np.ones((1, 1, 1, 1)))]), path)
    old, whole = path.read_bytes(), scipy.io.savemat

    def interrupted(file, variables, **options):
        class Full:
            left = after

            def __getattr__(self, name):
                return getattr(file, name)

            def write(self, data):
                self.left -= len(data)
                if self.left < 0:
                    raise OSError(28, "No space left on device")
                return file.write(data)

        whole(Full(), variables, **options)

    monkeypatch.setattr(scipy.io, "savemat", interrupted)
    with pytest.raises(OSError, match="No space left"):
        save_matconvnet(net, path)
    assert path.read_bytes() == old
    assert [each.name for each in tmp_path.iterdir()] == ["net.mat"]


def test_a_folder_that_is_not_there(net, tmp_path):
    with pytest.raises(FileNotFoundError):
        save_matconvnet(net, tmp_path / "nowhere" / "net.mat")


# Real files.


NETS = {
    "cifar-lenet": (["Conv", "ReLU", "MaxPool", "Conv", "ReLU", "AvgPool", "Conv", "ReLU", "AvgPool", "Conv", "ReLU", "Conv", "Softmax"], (3, 67, 67)),
    "chars65-relu": (["Conv", "MaxPool", "ReLU", "Conv", "MaxPool", "ReLU", "Conv", "Softmax"], (1, 18, 18)),
    "tiny-two-class": (["Conv", "MaxPool", "ReLU", "Conv", "ReLU", "MaxPool", "Conv", "Softmax"], (1, 10, 10)),
    "chars26-old-format": (["Conv", "MaxPool", "Conv", "MaxPool", "ReLU", "Conv", "ReLU", "Conv", "ReLU"], (1, 32, 32)),
    "tracker-lrn": (["Conv", "ReLU", "Conv", "LRN"], (3, 5, 5)),
    "players-nonsquare": (["Conv", "ReLU", "MaxPool", "Conv", "ReLU", "AvgPool", "Dropout", "Conv", "ReLU", "Softmax"], (3, 29, 13)),
    "players-dilated": (["Conv", "ReLU", "dpool", "dpool", "Dropout", "Conv", "ReLU", "Softmax"], (3, 3, 3)),
    "faces-toplevel": (["Conv", "MaxPool", "ReLU", "Conv", "ReLU", "Conv"], (3, 11, 11)),
    "faces-bnorm": (["Conv", "BatchNorm", "MaxPool", "ReLU", "Conv", "BatchNorm", "ReLU", "Conv", "BatchNorm", "ReLU"], (3, 11, 11)),
    "custom-layer": (["Conv", "ReLU", "Conv", "ReLU", "Conv", "custom"], (1, 7, 7)),
    "diverged-all-nan": (["Conv", "MaxPool", "ReLU", "Conv", "ReLU", "AvgPool", "Conv", "ReLU", "AvgPool", "Conv", "ReLU", "Conv", "Softmax"], None),
    "denoise-v73": (["Conv", "ReLU"] * 16 + ["Conv"], (1, 35, 35)),
    "superres-dag": (["Conv", "ReLU"] * 11 + ["dagnn.ConvTranspose", "ReLU", "Conv", "dagnn.Sum"], (1, 23, 23)),
}  # fmt: skip


@pytest.mark.parametrize("name", NETS)
def test_real_networks(name, real_data, tmp_path):
    if name == "denoise-v73":
        pytest.importorskip("h5py", reason="v7.3 is read through h5py, the extra `hdf5`")
    kinds, decoded = NETS[name]
    net = load_matconvnet(real_data / "nets" / f"{name}.mat")
    assert [layer.kind for layer in net.layers] == kinds
    works = next((i for i, layer in enumerate(net.layers) if isinstance(layer, Unsupported)), len(net.layers))
    if decoded is None:
        with pytest.raises(InvalidValueError, match=r"layer 1 'layer1'.*2400 of 2400"):
            decode_filter(net, 1, 0)
    else:
        assert decode_filter(net, works, 0, backend=decoding.fast).shape == decoded
    if works < len(net.layers):
        with pytest.raises(UnsupportedLayerError, match=f"layer {works + 1} '{net.names[works]}'"):
            decode_filter(net, works + 1, 0)
    save_matconvnet(net, tmp_path / "again.mat")
    assert_equal(load_matconvnet(tmp_path / "again.mat"), net)


def test_real_weights_are_scipys(real_data):
    import scipy.io

    for name in ("cifar-lenet", "tracker-lrn", "players-nonsquare"):
        path = real_data / "nets" / f"{name}.mat"
        theirs = scipy.io.loadmat(path)["net"][0, 0]["layers"].ravel()
        for layer, record in zip(load_matconvnet(path).layers, theirs, strict=True):
            if isinstance(layer, Conv):
                filters, biases = record["weights"][0, 0].ravel()
                assert (layer.filters == filters.transpose(3, 2, 0, 1)).all()
                assert (layer.bias == biases.ravel()).all()


def test_real_weights_are_h5pys(real_data):
    h5py = pytest.importorskip("h5py", reason="v7.3 is read through h5py, the extra `hdf5`")
    net = load_matconvnet(real_data / "nets" / "denoise-v73.mat")
    with h5py.File(real_data / "nets" / "denoise-v73.mat") as file:
        for layer, reference in zip(net.layers, file["net/layers"][:, 0], strict=True):
            if isinstance(layer, Conv):
                filters, biases = (file[part][()] for part in file[reference]["weights"][:, 0])
                assert (
                    layer.filters == filters.reshape(layer.filters.shape[:2] + filters.shape[-2:]).swapaxes(2, 3)
                ).all()
                assert (layer.bias == biases.ravel()).all()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "class-object",
            "`net` is a SeriesNetwork of MATLAB's Deep Learning Toolbox.* It holds net .object of class SeriesNetwork",
        ),
        ("course-lenet", "`params` is a cell of structs with the fields w, b"),
        ("lookalike", "cnn.layers are not MatConvNet's: their types are C, I, MP, O, as DeepLearnToolbox has them"),
    ],
)
def test_real_strangers(name, message, real_data):
    with pytest.raises(WeightsFormatError, match=message):
        load_matconvnet(real_data / "nets" / f"not-matconvnet-{name}.mat")


def test_show_prints_a_table_or_one_line(real_data, capsys):
    from decoding.__main__ import main

    refused = "not-" if importlib.util.find_spec("h5py") else ("not-", "denoise-v73")
    for path in sorted((real_data / "nets").glob("*.mat")):
        status = main(["show", str(path)])
        out, err = capsys.readouterr()
        assert status == (2 if path.name.startswith(refused) else 0), path.name
        assert len(err.splitlines()) == (1 if status else 0)
        assert out.startswith("layer  name") != bool(status)


def test_the_leak_of_a_graph_may_stand_among_its_options(load, single):
    relu = ("r", "ReLU", ["x"], ["y"], [], {"opts": ["leak", np.array([[0.25]])]})
    assert load(graph([relu], single)).layers[0].leak == 0.25


def test_options_that_change_a_layer_are_not_passed_over(load, single):
    conv = {"type": "conv", "weights": [single(3, 2, 1, 4), single(1, 4)], "opts": ["CuDNN"]}
    assert isinstance(load({"net": {"layers": [conv]}}).layers[0], Conv)
    conv["opts"] = ["Dilate", np.array([[2.0]])]
    (layer,) = load({"net": {"layers": [conv]}}).layers
    assert isinstance(layer, Unsupported)
    assert "dilate" in layer.reason


@pytest.mark.parametrize(
    "meta",
    [
        {"inputSize": np.array([[32.0, 32, 3]]), "normalization": {"averageImage": np.ones((32, 32, 3))}},
        {"normalization": {"averageImage": np.ones((224, 224, 3))}},
        {"normalization": {"averageImage": np.full((1, 1), np.nan)}},
        {"normalization": {"averageImage": "mean.mat"}},
        {"inputSize": ["28"]},
        {"inputSize": np.array([[np.nan, 1, 1]])},
    ],
)
def test_what_does_not_fit_beside_the_layers_is_left_out_and_told(load, single, meta):
    conv = {"type": "conv", "weights": [single(3, 2, 1, 5), single(1, 5)]}
    net = load({"net": {"layers": [conv], "meta": meta}})
    assert net.mean is None
    assert net.layers[0].groups == 1
    assert "is left out" in str(net)


def test_unsupported_layers_are_saved_and_read_back(load, single, tmp_path):
    layers = [
        {"type": "pool", "method": "sum", "pool": np.array([[2.0, 2]])},
        {"type": "conv", "weights": [single(3, 2, 1, 4), single(1, 4)]},
    ]
    net = load({"net": {"layers": layers}})
    assert net.layers[0].kind == "pool"
    save_matconvnet(net, tmp_path / "again.mat")
    assert_equal(load_matconvnet(tmp_path / "again.mat"), net)


def test_a_loss_of_another_name_is_no_softmax(load, single):
    for name, kind in [("softmaxlog", Softmax), ("log", Loss), ("classerror", Loss)]:
        layers = [("r", "ReLU", ["x"], ["y"], [], {}), ("l", "Loss", ["y", "label"], ["o"], [], {"loss": name})]
        assert isinstance(load(graph(layers, single)).layers[-1], kind)
