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
    Concat,
    Conv,
    Dropout,
    Gate,
    InvalidValueError,
    Loss,
    MaxPool,
    Network,
    ReLU,
    Scale,
    Select,
    Sigmoid,
    Softmax,
    Sum,
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
    assert (one.inputs, one.notes) == (other.inputs, other.notes)
    assert one.aliases == other.aliases
    assert one.moments.keys() == other.moments.keys()
    pairs = zip(sum(one.moments.values(), ()), sum(other.moments.values(), ()), strict=True)
    for a, b in ((one.mean, other.mean), (one.std, other.std), *pairs):
        assert same(a, b)
    for a, b in zip(one.layers, other.layers, strict=True):
        assert type(a) is type(b)
        assert repr(a) == repr(b)
        assert all(same(value, b.fields()[what]) for what, value in a.fields().items())


def same(a, b):
    return same_bits(a, b) if isinstance(a, np.ndarray) and isinstance(b, np.ndarray) else (type(a), a) == (type(b), b)


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
    refused(load, {"one": net, "two": {"deep": net}}, "2 networks in it: one.layers, two.deep.layers. Save only one")


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


@pytest.mark.parametrize("kind", ["custom", "upsmpl", "concat", "SubP", "dpool", "noffset", "pdist", "a\nb"])
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


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("graph", [False, True])
def test_transposed_convolutions_are_vl_nnconvts(load, single, groups, graph):
    """y(UPY i + a - TOP, UPX j + b - LEFT, k) is the sum over a, b, d of F(a, b, k, d) x(i, j, d): M' of vl_nnconv's M."""
    f, b, x = single(3, 2, 3, 4), single(1, 3 * groups), single(4, 5, 4)
    (up, across), (top, bottom, left, right) = (2, 3), (1, 0, 1, 2)
    whole = np.zeros((up * 3 + 3, across * 4 + 2, 3 * groups)) + b
    for i, j, d, a, c, k in np.ndindex(4, 5, 4, 3, 2, 3):
        whole[up * i + a, across * j + c, d // (4 // groups) * 3 + k] += f[a, c, k, d] * x[i, j, d]
    want = whole[top : len(whole) - bottom, left : whole.shape[1] - right]
    options = {"upsample": np.float64([[up, across]]), "crop": np.float64([[top, bottom, left, right]])}
    options["numGroups"] = np.float64([[groups]])
    layer = {"type": "convt", "weights": [f, b], **options}
    variables = {"net": {"layers": [layer]}}
    if graph:
        variables = dag([("up", "ConvTranspose", ["x"], ["y"], ["f", "b"], options)], {"f": f, "b": b})
    net = load(variables)
    assert (net.forward(x.transpose(2, 0, 1)[np.newaxis].astype(np.float64))[0] == want.transpose(2, 0, 1)).all()


def test_a_transposed_convolution_of_stride_1_decodes(load, single):
    f = single(3, 2, 3, 4)
    layers = [
        {"type": "conv", "weights": [single(2, 2, 1, 4)]},
        {"type": "convt", "weights": [f], "crop": np.float64([[1]])},
    ]
    net = load({"net": {"layers": layers}})
    assert net.layers[1].kind == "Conv"
    assert (net.layers[1].filters == f.transpose(2, 3, 0, 1)[..., ::-1, ::-1]).all()
    assert decode_filter(net, 2, 0).shape == (1, 4, 3)


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


def test_deviations(load, single):
    layers = [{"type": "conv", "weights": [single(3, 3, 3, 4)]}]

    def read(std):
        return load({"net": {"layers": layers, "meta": {"normalization": {"averageImage": np.float32(7), "std": std}}}})

    assert read(np.float32([[2]])).std.ravel().tolist() == [2, 2, 2]
    assert read(np.abs(single(1, 1, 3)) + 1).std.ravel().tolist() == (np.abs(single(3)) + 1).tolist()
    assert (read(np.abs(single(9, 8, 3)) + 1).std == np.abs(single(9, 8, 3)).transpose(2, 0, 1) + 1).all()
    for bad in (np.float32([[0]]), single(1, 1, 4), "imdb"):
        net = read(bad)
        assert net.std is None
        assert net.mean.size == 3
        assert "The file's deviation does not fit, and is left out: " in str(net)


def test_an_input_size_that_does_not_fit_is_left_out_and_told(load, single):
    layers = [{"type": "conv", "weights": [single(9, 3, 1, 4)]}]
    net = load({"net": {"layers": layers, "meta": {"inputSize": np.float64([[8, 8, 1]])}}})
    assert net.input_shape is None
    assert "input size, 1×8×8, does not fit, and is left out: layer 1 'layer1' (Conv): its window" in str(net)


# DagNN.


FIELDS = ("name", "type", "inputs", "outputs", "params", "block")


def dag(layers, params=None, meta=None):
    """A network as plain values, of layers (name, type, inputs, outputs, parameters, block)."""
    rows = [
        dict(zip(FIELDS, (name, f"dagnn.{kind}" if kind[0] != "/" else kind[1:], *rest), strict=True))
        for name, kind, *rest in layers
    ]
    values = Structs([{"name": name, "value": value} for name, value in (params or {}).items()])
    parts = {"params": values} if values else {}
    return {"net": {"layers": Structs(rows), **parts, "meta": np.zeros((0, 0)) if meta is None else meta}}


def graph(layers, single):
    return dag(layers, {"f": single(3, 2, 2, 4), "b": single(4, 1)})


def shuffled(layers, times=6):
    """The layers in the order given, backwards, and in any other."""
    yield layers
    yield layers[::-1]
    for seed in range(times):
        yield [layers[i] for i in np.random.default_rng(seed).permutation(len(layers))]


def bank(array):
    return array.transpose(3, 2, 0, 1)


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


def test_a_chain_of_a_graph_keeps_its_numbers(load, chain, single):
    loss = [("loss", "Loss", ["d", "label"], ["objective"], [], {"loss": "softmaxlog"}),
            ("error", "Loss", ["label", "d"], ["top1err"], [], {"loss": "classerror"}),
            ("middle", "Loss", ["b", "label"], ["e"], [], {"loss": "log"})]  # fmt: skip
    for order in shuffled(chain + loss, 3):
        net = load(graph(order, single))
        assert net.names == ("conv", "relu", "pool", "drop", "middle", "error", "loss")
        assert net.inputs == ((0,), (1,), (2,), (3,), (2,), (4,), (4,))
        conv, relu, pool, drop, *losses = net.layers
        assert (conv.filters == bank(single(3, 2, 2, 4))).all()
        assert (conv.bias == single(4)).all()
        assert (conv.stride, conv.pad, relu.leak) == ((2, 1), (0, 1, 0, 1), 0.25)
        assert (type(pool), pool.size, pool.stride, type(drop)) == (AvgPool, (3, 2), (2, 2), Dropout)
        assert [type(each) for each in losses] == [Loss, Loss, Softmax]
        assert net.notes == ()


def test_all_kinds_of_layers(load, single):
    layers = [
        ("conv", "Conv", ["x"], ["a"], ["f"], {"hasBias": np.uint8([[0]])}),
        ("norm", "BatchNorm", ["a"], ["b"], ["m", "b", "x"], {"numChannels": np.float64([[4]]), "epsilon": np.float64([[1e-5]])}),
        ("lrn", "LRN", ["b"], ["c"], [], {"param": np.float64([[3, 2, 0.5, 0.75]])}),
        ("sigmoid", "Sigmoid", ["c"], ["d"], [], {}),
        ("sum", "Sum", ["d", "b"], ["e"], [], {}),
        ("concat", "Concat", ["e", "a"], ["f"], [], {"dim": np.float64([[3]])}),
        ("scale", "Scale", ["f"], ["g"], ["s", "t"], {"size": np.float64([[1, 1, 8, 1]]), "hasBias": np.uint8([[1]])}),
        ("gate", "Scale", ["g", "f"], ["h"], [], {"hasBias": np.uint8([[0]])}),
        ("prob", "SoftMax", ["h"], ["p"], [], {}),
    ]  # fmt: skip
    moments = np.abs(single(4, 2)) + 1
    params = {
        "f": single(3, 2, 2, 4),
        "m": single(4, 1),
        "b": single(4, 1) + 1,
        "x": moments,
        "s": single(1, 1, 8),
        "t": single(1, 1, 8) + 1,
    }
    want = Network(
        [
            Conv(bank(params["f"]), name="conv"),
            BatchNorm(single(4), single(4) + 1, mean=moments[:, 0], std=moments[:, 1], epsilon=1e-5, name="norm"),
            LRN(3, kappa=2, alpha=0.5, beta=0.75, name="lrn"),
            Sigmoid(name="sigmoid"),
            Sum(name="sum"),
            Concat(name="concat"),
            Scale(single(8), single(8) + 1, name="scale"),
            Gate(name="gate"),
            Softmax(name="prob"),
        ],
        inputs=[0, 1, 2, 3, (4, 2), (5, 1), 6, (7, 6), 8],
    )
    for order in shuffled(layers, 3):
        assert load(dag(order, params)) == want


def test_scales(load, single):
    def scale(factors, *, bias=None, has_bias=1, inputs=("a",)):
        conv = ("conv", "Conv", ["x"], ["a"], ["f"], {})
        layer = (
            "scale",
            "Scale",
            [*inputs],
            ["b"],
            ["s"] + ["t"] * (bias is not None),
            {"hasBias": np.uint8([[has_bias]])},
        )
        params = {"f": single(3, 2, 2, 4), "s": factors, **({} if bias is None else {"t": bias})}
        return load(dag([conv, layer], params))["scale"]

    assert scale(single(1, 1, 4), bias=single(1, 1, 4), has_bias=0).bias.tolist() == [0] * 4
    assert scale(np.float32([[3]])).scale.tolist() == [3] * 4  # one for all channels
    assert scale(single(1, 1, 4), bias=np.float32([[2]])).bias.tolist() == [2] * 4
    for other in (single(4, 1), single(2, 3, 4)):  # along rows, and for each place
        assert "its factors are not one for each channel" in scale(other).reason
    assert "its factors are not one for each channel" in scale(single(1, 1, 4), bias=single(1, 1, 3)).reason
    assert "it joins a, x" in scale(single(1, 1, 4), inputs="ax").reason


def conv(name, source, out, params="f", **block):
    return (name, "Conv", [source], [out], [params], {key: np.float64([value]) for key, value in block.items()})


# Layers, parameters, and what each layer reads, by name.
BRANCHING = {
    "the label first": (
        [("loss", "Loss", ["label", "z"], ["o"], [], {}), conv("a", "x", "y"), ("b", "ReLU", ["y"], ["z"], [], {})],
        {"a": [], "b": ["a"], "loss": ["b"]},
    ),
    "the auxiliary head first": (
        [conv("aux", "y", "u", "h"), ("auxprob", "SoftMax", ["u"], ["v"], [], {}), conv("a", "x", "y"), conv("b", "y", "z", "g"),
         conv("c", "z", "w", "h"), ("prob", "SoftMax", ["w"], ["p"], [], {})],
        {"a": [], "b": ["a"], "c": ["b"], "aux": ["a"], "auxprob": ["aux"], "prob": ["c"]},
    ),
    "the projection shortcut first": (
        [conv("short", "x", "s"), conv("a", "x", "y", pad=(1, 1, 1, 1)), conv("b", "y", "z", "g"), ("sum", "Sum", ["s", "z"], ["t"], [], {}),
         ("relu", "ReLU", ["t"], ["r"], [], {}), ("again", "Sum", ["r", "t"], ["q"], [], {})],
        {"a": [], "b": ["a"], "short": [], "sum": ["short", "b"], "relu": ["sum"], "again": ["relu", "sum"]},
    ),
    "a monitor on a middle variable": (
        [("monitor", "/my.Monitor", ["y"], ["m"], [], {}), conv("a", "x", "y"), ("b", "ReLU", ["y"], ["z"], [], {})],
        {"a": [], "monitor": ["a"], "b": ["a"]},
    ),
    "an inception": (
        [("pool", "Pooling", ["y"], ["p"], [], {"poolSize": np.float64([[1, 1]])}), conv("poolproj", "p", "pp", "k"),
         conv("one", "y", "o", "k"), conv("threereduce", "y", "t", "k"), conv("three", "t", "tt", "g", pad=(1, 1, 1, 1)),
         conv("fivereduce", "y", "f", "k"), ("fiverelu", "ReLU", ["f"], ["fr"], [], {}), conv("five", "fr", "ff", "g", pad=(1, 1, 1, 1)),
         ("concat", "Concat", ["o", "tt", "ff", "pp"], ["c"], [], {"dim": np.float64([[3]])}), conv("a", "x", "y")],
        {"a": [], "fivereduce": ["a"], "fiverelu": ["fivereduce"], "five": ["fiverelu"], "threereduce": ["a"], "three": ["threereduce"],
         "pool": ["a"], "poolproj": ["pool"], "one": ["a"], "concat": ["one", "three", "five", "poolproj"]},
    ),
}  # fmt: skip


@pytest.fixture
def filters(single):
    return {"f": single(3, 3, 2, 4), "g": single(3, 3, 4, 4), "h": single(1, 1, 4, 3), "k": single(1, 1, 4, 4)}


@pytest.mark.parametrize("case", BRANCHING)
def test_branches_are_read_whole_in_any_order(load, filters, case):
    layers, reads = BRANCHING[case]
    nets = [load(dag(order, filters)) for order in shuffled(layers)]
    net = nets[0]
    assert {
        name: [net.names[i - 1] for i in below if i] for name, below in zip(net.names, net.inputs, strict=True)
    } == reads
    assert all(other == net for other in nets)
    assert net.notes == ()
    assert net.names == tuple(reads)  # of branches that meet, the longest first; the last layer ends the longest way
    for number, layer in enumerate(net.layers, 1):
        if isinstance(layer, Unsupported):
            with pytest.raises(UnsupportedLayerError, match=r"'monitor'.*does not know layers of type 'my.Monitor'"):
                decode_filter(net, number, 0)
        else:
            assert decode_filter(net, number, 2).shape == (2, *net.receptive_field(number).size)
            assert np.isfinite(net.forward(np.ones((1, 2, 9, 11)), number)).all()


def test_layers_that_share_parameters_decode_each_in_its_place(load, filters):
    layers = [conv("a", "x", "y"), conv("b", "y", "z", "g"), conv("c", "z", "w", "g", stride=(2, 1))]
    net = load(dag(layers, filters))
    assert (net["b"].filters == net["c"].filters).all()
    assert [net.receptive_field(name).size for name in "abc"] == [(3, 3), (5, 5), (7, 7)]
    parts = [Network(net.layers[:k]) for k in (2, 3)]
    for part, name in zip(parts, "bc", strict=True):
        assert (decode_filter(net, name, 3) == decode_filter(part, name, 3)).all()
    assert not (decode_filter(net, "c", 3)[:, :5, :5] == decode_filter(net, "b", 3)).all()


@pytest.mark.parametrize("blocks", [36, 54])
def test_a_recursive_pyramid(load, filters, blocks):
    """Residual blocks that share their parameters, between transposed convolutions; the losses are an author's own."""
    layers = [conv("first", "LR", "s0")]
    for k in range(blocks):
        layers += [
            (f"relu{k}", "ReLU", [f"s{k}"], [f"r{k}"], [], {}),
            conv(f"conv{k}", f"r{k}", f"c{k}", "g", pad=(1, 1, 1, 1)),
            (f"s{k + 1}", "Sum", ["s0", f"c{k}"], [f"s{k + 1}"], [], {}),
        ]
    last = f"s{blocks}"
    layers += [
        ("up", "ConvTranspose", [last], ["u"], ["g"], {"upsample": np.float64([[2]])}),
        conv("residual", "u", "v", "h"),
        ("image", "ConvTranspose", ["LR"], ["i"], ["u"], {"upsample": np.float64([[2, 2]])}),
        ("sum", "Sum", ["i", "v"], ["out"], [], {}),
        ("loss", "/dagnn.vllab_dag_loss", ["out", "HR"], ["l"], [], {}),
    ]
    net = load(dag(layers[::-1], {**filters, "u": filters["f"][..., :3, :].transpose(0, 1, 3, 2)[:, :, :3]}))
    assert [layer.kind for layer in net.layers].count("Sum") == blocks + 1
    assert net.names[-1] == "loss"
    assert isinstance(net.layers[-1], Loss)
    assert net.receptive_field(last).size == (2 * blocks + 3,) * 2
    assert net.blocked(last) is None
    assert net.blocked("sum") is None
    with pytest.raises(UnsupportedLayerError, match=r"'up' \(ConvTranspose\): it makes maps larger"):
        decode_filter(net, "sum", 0)
    assert net.notes == ()


def test_what_is_not_known_blocks_what_reads_it_alone(load, filters):
    layers = [
        conv("a", "x", "y"),
        ("odd", "/my.Odd", ["y"], ["o"], [], {}),
        ("split", "/my.Split", ["y"], ["s", "t"], [], {}),
        ("up", "/my.Up", ["y"], ["u"], ["f"], {}),
        ("both", "/my.Both", ["y", "y2"], ["m"], [], {}),
        ("cat", "Concat", ["y", "y2"], ["n"], [], {"dim": np.float64([[1]])}),
        ("relu", "ReLU", ["y"], ["y2"], [], {}),
        ("sum", "Sum", ["y2", "o"], ["q"], [], {}),
        conv("b", "y2", "z", "g"),
        ("after", "ReLU", ["t"], ["tt"], [], {}),
    ]
    net = load(dag(layers, filters))
    blocked = {name: net.blocked(name) and net.names[net.blocked(name) - 1] for name in net.names}
    assert blocked == {"a": None, "relu": None, "b": None, "odd": "odd", "split": "split", "up": "up", "both": "both",
                       "cat": "cat", "sum": "odd", "after": "split"}  # fmt: skip
    assert decode_filter(net, "b", 0).shape == (2, 5, 5)
    reasons = {layer.name: layer.reason for layer in net.layers if isinstance(layer, Unsupported)}
    assert reasons == {
        "odd": "",
        "split": "it has 2 outputs",
        "up": "",
        "both": "it joins y, y2",
        "cat": "it does not join channels but rows, columns or images",
    }


def test_joins_of_what_does_not_fit(load, filters):
    layers = [
        conv("a", "x", "y"),
        conv("b", "x", "z", stride=(2, 1)),
        conv("c", "y", "w", "h"),
        ("apart", "Concat", ["y", "z"], ["p"], [], {}),
        ("sum", "Sum", ["y", "w"], ["s"], [], {}),
        ("gate", "Scale", ["y", "w"], ["g"], [], {}),
    ]
    net = load(dag(layers, filters))
    assert "not equally far apart in the image: 1×1, 2×1" in net["apart"].reason
    assert net["sum"].reason == "it adds maps of 4 and 3 channels; the numbers must be equal"
    assert "its factors have 3 channels, and its map 4" in net["gate"].reason


@pytest.mark.parametrize("kind", ["HuberLoss", "dagnn.EPELoss", "dagnn.my_loss", "PSNR"])
def test_the_losses_of_an_author_pass(load, filters, kind):
    layers = [
        conv("a", "x", "y"),
        ("mine", f"/{kind}", ["label", "y"], ["o"], [], {}),
        ("theirs", "Loss", ["y", "label"], ["p"], [], {"loss": "l2"}),
    ]
    for order in shuffled(layers, 3):
        net = load(dag(order, filters))
        assert (net.names, net.inputs, net.notes) == (("a", "mine", "theirs"), ((0,), (1,), (1,)), ())
        assert [type(layer) for layer in net.layers[1:]] == [Loss, Loss]
        assert (decode_filter(net, "mine", 1) == decode_filter(net, "a", 1)).all()


def test_an_autoencoders_loss_reads_the_image(load, filters):
    layers = [conv("a", "x", "y"), ("loss", "/EuclideanLoss", ["y", "x"], ["o"], [], {})]
    net = load(dag(layers, filters))
    assert (net.inputs, type(net["loss"])) == (((0,), (1,)), Loss)


def test_what_is_no_loss_and_what_reads_one(load, filters):
    layers = [
        conv("a", "x", "y"),
        ("warp", "/Warp", ["y", "flow"], ["w"], [], {}),  # something reads it
        ("relu", "ReLU", ["w"], ["r"], [], {}),
        ("guided", "/Guided", ["y", "guide"], ["g"], [], {}),  # others read the guide
        conv("b", "guide", "h"),
        ("one", "HuberLoss", ["y", "label"], ["l1"], [], {}),
        ("two", "Loss", ["y", "label"], ["l2"], [], {}),
        ("all", "Sum", ["l1", "l2"], ["l"], [], {}),
    ]
    net = load(dag(layers, filters))
    reasons = {layer.name: layer.reason for layer in net.layers if isinstance(layer, Unsupported)}
    assert reasons == {
        "warp": "it joins y, flow, and needs the image flow as well",
        "guided": "it joins y, guide, and needs the image guide as well",
        "all": "it reads l1, l2, a loss, which needs labels",
    }
    assert isinstance(net["one"], Loss)
    assert net.blocked("relu") == net.index("warp")


# Several images.


@pytest.fixture
def tracker():
    """Two branches of the same parameters, joined by a layer of an author's own; the one of the template is shorter."""
    return [
        *(conv(f"{side}_conv{k}", f"{image if k == 1 else f'{side}{k - 1}'}", f"{side}{k}", "f" if k == 1 else "g")
          for side, image, n in (("a", "exemplar", 2), ("b", "instance", 3)) for k in range(1, n + 1)),
        ("xcorr", "/XCorr", ["a2", "b3"], ["c"], [], {}),
        ("adjust", "Sum", ["c"], ["d"], [], {}),
        ("loss", "/SiameseLoss", ["d", "label"], ["o"], [], {}),
    ]  # fmt: skip


def test_two_images(load, filters, tracker):
    for order in shuffled(tracker, 3):
        net = load(dag(order, filters))
        assert net.names == ("b_conv1", "b_conv2", "b_conv3", "xcorr", "adjust", "loss")
        assert net.notes == (
            "The file's network has several images: exemplar, instance. This is the network of 'instance'; load_matconvnet(path, image=…) takes another.",
            f"These layers do not depend on the image 'instance' and are left out: {', '.join(name for name, *_ in order if name[0] == 'a' and name != 'adjust')}.",
        )
        assert decode_filter(net, "b_conv3", 1).shape == (2, 7, 7)
        with pytest.raises(
            UnsupportedLayerError,
            match=r"layer 4 'xcorr' .XCorr.: .* it joins a2, b3, and needs the image exemplar as well",
        ):
            decode_filter(net, "adjust", 0)


def test_the_image_may_be_chosen(load, filters, tracker):
    net = load(dag(tracker, filters), image="exemplar")
    assert net.names == ("a_conv1", "a_conv2", "xcorr", "adjust", "loss")
    assert "left out: b_conv1, b_conv2, b_conv3." in str(net)
    assert load(dag(tracker, filters), image="instance") == load(dag(tracker, filters))
    assert load(dag(tracker[:2], filters), image="exemplar").notes == ()
    for name in ("label", "a1", "input", 3):
        with pytest.raises(
            InvalidValueError, match=f"net.mat: there is no image named '{name}'. There are exemplar, instance"
        ):
            load(dag(tracker, filters), image=name)


def test_a_chain_has_no_image_to_choose(load, single):
    layers = [{"type": "conv", "weights": [single(3, 2, 1, 4), single(1, 4)]}]
    with pytest.raises(InvalidValueError, match="no image named 'x': the layers are a chain"):
        load({"net": {"layers": layers}}, image="x")


def test_a_guide_beside_a_depth_map(load, single):
    """Two Concats: of two branches, and of a branch with the guide itself."""
    params = {"d": single(3, 3, 1, 3), "g": single(3, 3, 3, 4), "m": single(1, 1, 7, 2), "n": single(3, 3, 6, 2)}
    same = {"pad": (1, 1, 1, 1)}
    layers = [
        conv("guide1", "input_g", "g1", "g", **same), ("guide2", "ReLU", ["g1"], ["g2"], [], {}),
        ("guide3", "ReLU", ["g2"], ["g3"], [], {}), conv("depth1", "input_d", "d1", "d", **same),
        ("cat1", "Concat", ["d1", "g3"], ["c1"], [], {}), conv("mix1", "c1", "m1", "m"),
        ("cat2", "Concat", ["d1", "input_g"], ["c2"], [], {}), conv("mix2", "c2", "m2", "n"), ("loss", "Loss", ["m2", "label"], ["l"], [], {"loss": "l2"}),
    ]  # fmt: skip
    meta = {"normalization": {"imageSize": np.float64([[40, 50, 3]]), "averageImage": single(1, 1, 3)}}
    guide = load(dag(layers, params, meta))
    assert "This is the network of 'input_g'" in guide.notes[0]
    assert guide.mean.shape == (3, 1, 1)
    net = load(dag(layers, params, meta), image="input_d")
    assert net.names == ("depth1", "cat2", "mix2", "cat1", "mix1", "loss")
    assert net["depth1"].groups == 1  # not as many as the guide has channels
    assert net.mean is None
    assert "left out: guide1, guide2, guide3." in str(net)
    assert net["cat1"].reason == "it joins d1, g3, and needs the image input_g as well"
    assert net["cat2"].reason == "it joins d1, input_g, and needs the image input_g as well"
    assert decode_filter(net, "depth1", 2).shape == (1, 3, 3)
    assert net.blocked("loss") == net.index("cat2")


def test_graphs_that_make_no_sense(load, chain, single):
    loop = [("a", "ReLU", ["x"], ["y"], [], {}), ("b", "ReLU", ["y"], ["x"], [], {})]
    refused(load, graph(loop, single), r"net.layers read each other in a circle, .*: (a → b → a|b → a → b)\.")
    back = [
        chain[0],
        ("in", "Sum", ["a", "q"], ["b"], [], {}),
        ("mid", "ReLU", ["b"], ["p"], [], {}),
        ("out", "ReLU", ["p"], ["q"], [], {}),
    ]
    refused(load, graph(back, single), "in a circle, so none of these can be computed first: .*mid → out")
    itself = [chain[0], ("again", "ReLU", ["a"], ["a"], [], {})]
    refused(
        load,
        graph(itself, single),
        "the layer 'again' reads 'a', which it computes itself. Give its output a name of its own",
    )
    twice = [*chain, ("back", "ReLU", ["d"], ["a"], [], {})]
    refused(load, graph(twice, single), "the layers 'conv' and 'back' both compute 'a'")
    lost = [("conv", "Conv", ["x"], ["a"], ["nowhere"], {})]
    refused(load, graph(lost, single), r"net.layers\(1\).block: the parameter .nowhere. is not in the file")
    refused(
        load,
        graph([("a", "ReLU", [], ["y"], [], {})], single),
        "not a graph of MatConvNet's layers that begins with an image",
    )
    many = [(f"r{k}", "ReLU", [f"x{k}"], [f"y{k}"], [], {}) for k in range(257)]
    refused(load, graph(many, single), "net.layers read 257 images, and at most 256 are allowed")


def test_where_the_first_layer_is_not_known_it_says_how_to_go_on(load, single):
    """The advice is code that runs."""
    layers = [
        {"type": "custom"},
        {"type": "odd", "name": "second"},
        {"type": "conv", "name": "third", "weights": [single(3, 2, 1, 4)]},
        {"type": "relu"},
    ]
    net = load({"net": {"layers": layers}})
    with pytest.raises(
        UnsupportedLayerError,
        match=r"layer 1 .*: what it does is in MATLAB.*\. What lies above layer 2 can, as a network of its own: Network\(net.layers\[2:\]\)\.",
    ) as caught:
        decode_filter(net, "third", 0)
    above = eval(str(caught.value).split("of its own: ")[1].rstrip("."), {"net": net, "Network": Network})
    assert decode_filter(above, "third", 0).shape == (1, 3, 2)

    layers = [
        ("odd", "/my.Odd", ["x"], ["y"], [], {}),
        conv("a", "y", "z"),
        ("b", "Sum", ["z", "y"], ["w"], [], {}),
        ("c", "ReLU", ["z"], ["v"], [], {}),
    ]
    net = load(dag(layers, {"f": single(1, 1, 4, 4)}))
    with pytest.raises(
        UnsupportedLayerError, match=r"does not know layers of type 'my.Odd'\. .* What lies above"
    ) as caught:
        decode_filter(net, "c", 0)
    above = eval(str(caught.value).split("of its own: ")[1].rstrip("."), {"net": net, "Network": Network})
    assert above.names == net.names[1:]
    assert decode_filter(above, "b", 0).shape == (4, 1, 1)

    net = load(dag([*layers, conv("beside", "x", "u")], {"f": single(1, 1, 4, 4)}))
    with pytest.raises(UnsupportedLayerError, match=r"do not read it can\.$"):
        decode_filter(net, "c", 0)


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
    "DeepLearnToolbox": ({"cnn": {"layers": Column([{"type": "i"}, {"type": "c", "k": [1.0]}, {"type": "s"}])}}, r"types are c, i, s, as DeepLearnToolbox has them. The file holds cnn \(struct 1×1\)"),
    "other types": ({"net": {"layers": [{"type": "imageInput"}, {"type": "dense"}]}}, "net.layers are not layers of MatConvNet: their types are dense, imageInput"),
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
        std=np.float32([0.5, 3]),
        classes=["a", "β", "c d"],
        input_shape=(2, 11, 13),
        notes=["Half of it is missing."],
    )


def test_what_is_saved_is_read_back_bit_for_bit(net, tmp_path):
    save_matconvnet(net, tmp_path / "net.mat")
    assert_equal(load_matconvnet(tmp_path / "net.mat"), net)


@pytest.fixture
def branching(ramp):
    """Every kind of layer, in an order of its own, with names that MATLAB has and has not."""
    layers = [
        Conv(ramp(6, 2, 3, 2) / 7, ramp(6) / 3, stride=(2, 1), pad=(1, 0, 2, 3), name="edges"),
        Conv((ramp(6, 1, 1, 1) / 7).astype(np.float32), stride=(2, 1), dilation=(1, 2), groups=2, name="short cut"),
        BatchNorm(ramp(6) / 7, ramp(6) / 3, mean=ramp(6), std=np.arange(1, 7) / 7, epsilon=1e-3, name="layer2"),
        BatchNorm(ramp(6), name="edges2"),
        ReLU(leak=0.1, gain=ramp(6) / 7, curvature=(ramp(6) / 3).astype(np.float32), name="twice"),
        ReLU(gain=0.1, name="twice"),
        MaxPool((3, 2), (1, 1), pad=(1, 1, 0, 1), gain=ramp(6) / 9),
        AvgPool((1, 2), 1, curvature=2.0, name="x" * 80),
        Concat(name="all"),
        Sum(name="+"),
        AvgPool(1, gain=[0.3] * 18, name="means"),
        Gate(gain=ramp(18) / 7, name="gate"),
        Select([3, -1, 0, 0], stride=(2, 1), start=(1, 0), name="select"),
        Select([2], name="one"),
        LRN(3, kappa=0.3, alpha=0.1, beta=0.7, gain=[0.25], name="lrn"),
        Dropout(name="dröp"),
        Sigmoid(),
        Softmax(name="prob"),
        Loss(name="loss"),
        Sum(name="after_a_loss"),
        Unsupported("XCorr", reason="it joins a, b", name="join"),
        Unsupported("dagnn.Loss", name="their_loss"),
        Unsupported("dagnn.Sum", name="end"),
    ]
    inputs = [
        0,
        0,
        1,
        2,
        3,
        4,
        5,
        6,
        (7, 8, 7),
        (9, 9),
        10,
        (10, 11),
        *range(12, 17),
        13,
        18,
        (19, 18),
        (0, 12),
        (21, 20),
        22,
    ]
    return Network(
        layers,
        inputs=inputs,
        mean=ramp(2, 1, 1) / 7,
        std=ramp(2, 11, 13) ** 2 + 1,
        classes=["a"],
        notes=["A note."],
        moments={14: ([0.5], [2])},
        aliases={"a.b": "gate", "ß": "lrn"},
    )


def test_what_branches_is_read_back_bit_for_bit(branching, tmp_path):
    save_matconvnet(branching, tmp_path / "net.mat")
    again = load_matconvnet(tmp_path / "net.mat")
    assert_equal(again, branching)
    assert again == branching
    save_matconvnet(again, tmp_path / "again.mat")
    assert_equal(load_matconvnet(tmp_path / "again.mat"), branching)


def test_constant_weights_are_not_packed_as_a_bomb_is(tmp_path):
    net = Network([Conv(np.ones((1200, 800, 3, 3), np.float32)), Conv(np.zeros((1, 1200, 1, 1)))])
    save_matconvnet(net, tmp_path / "net.mat")
    assert load_matconvnet(tmp_path / "net.mat") == net
    save_matconvnet(net.trim(1).replace(layers=[Conv(np.ones((2, 8, 3, 3)))]), tmp_path / "net.mat")
    assert (tmp_path / "net.mat").stat().st_size < 1000


def test_gains_of_a_chain_are_read_back_bit_for_bit(net, ramp, tmp_path):
    layers, moments = list(net.layers), {0: ([1, 2], np.float32([3, 4])), 11: (ramp(3), ramp(3) ** 2)}
    for number, layer in enumerate(net.layers, 1):
        if net.blocked(number) is None:
            factors = {what: ramp(net.channels(number)) / 7 for what in ("gain", "curvature") if what in layer.fields()}
            layers[number - 1] = layer.replace(**factors)
    more = [
        ReLU(gain=0.1),
        ReLU(curvature=np.float32([3, 4, 5])),
        Select([0, -1]),
        Select([1]),
        ReLU(gain=[3]),
        Sum(),
        Concat(),
    ]
    chain = net.replace(layers=[*layers[:13], *more, *layers[13:]], inputs=None, moments=moments)
    save_matconvnet(chain, tmp_path / "net.mat")
    assert_equal(load_matconvnet(tmp_path / "net.mat"), chain)


def test_what_matconvnet_does_not_have_is_read_back_bit_for_bit(ramp, tmp_path):
    """Every kind of layer that there is, in a chain and beside another branch."""
    from decoding import layers as kinds
    from decoding.matconvnet import BASES, OWN

    k = ramp(4) / 7
    made = [
        Scale(k, k + 1), Select([3, -1, 0, 0], start=(1, 0)), Sum(), Concat(), kinds.Pad((1, -1, 0, 2), value=0.25, mode="edge"),
        kinds.ConvTranspose(ramp(4, 2, 2, 3) / 7, k, stride=(2, 1), pad=(1, 0, 0, 1), extra=(1, 0), dilation=(1, 2), groups=2),
        kinds.PixelShuffle((1, 2)), Conv(ramp(4, 2, 1, 1)), kinds.Resize((1.5, 2), mode="linear", align="corners"),
        kinds.GroupNorm(k, k + 1, groups=2, epsilon=1e-3, gain=k), kinds.LayerNorm(k.astype(np.float32), gain=0.5),
        kinds.Clip(-np.inf, 6, gain=k), kinds.ELU(alpha=0.5, scale=2), kinds.SELU(), kinds.GELU(approximate="tanh", curvature=k),
        kinds.HardSigmoid(alpha=0.2), kinds.PReLU(k), kinds.SiLU(beta=1.7), kinds.HardSwish(), kinds.LogSoftmax(), kinds.Mish(),
        kinds.Exp(), kinds.Power(-0.5, gain=k), kinds.Quantize(0.25, zero=3, low=-8, high=7), kinds.Softplus(), kinds.Softsign(), kinds.Tanh(name="last"),
    ]  # fmt: skip
    left = set(OWN.values()) - {type(layer) for layer in made}
    assert left == {BatchNorm, MaxPool, AvgPool, ReLU, Sigmoid, Softmax, Dropout, LRN, Loss, Gate}
    assert not set(BASES) & set(OWN.values())
    chain = Network(made, input_shape=(4, 9, 8))
    branching = Network(
        [*made, Sum(), Gate(gain=k)], inputs=[*range(len(made)), (20, 25), (25, 26)], input_shape=(4, 9, 8)
    )
    for net in (chain, branching):
        save_matconvnet(net, tmp_path / "net.mat")
        assert_equal(load_matconvnet(tmp_path / "net.mat"), net)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("moments", Structs([{"layer": np.float64([[9]]), "mean": np.ones((4, 1, 1)), "std": np.ones((4, 1, 1))}])),
        ("moments", Structs([{"layer": np.float64([[1]]), "mean": np.ones((3, 1, 1)), "std": np.ones((3, 1, 1))}])),
        ("moments", np.float64([[1]])),
        ("aliases", "a"),
    ],
)
def test_tables_that_do_not_fit_are_left_out_and_told(load, single, field, value):
    layers = [{"type": "conv", "weights": [single(3, 2, 1, 4)]}]
    net = load({"net": {"layers": layers, "meta": {field: value}}})
    assert (len(net.moments), len(net.aliases)) == (0, 0)
    assert "The file's table of " in net.notes[0]
    assert "does not fit, and is left out" in net.notes[0]


def test_fields_of_our_own_are_checked(load):
    def select(**fields):
        layer = {"type": "decoding.Select", "channels": np.int32([0]).reshape(1, 1, 1), **fields}
        return {"net": {"layers": [layer]}}

    assert load(select()).layers[0].fields()["channels"] == [0]
    refused(
        load,
        select(stride=np.float64([[1e9]])),
        r"net.layers\{1\}: Select: stride must be one integer|should be at most 4096",
    )
    refused(
        load, select(stride=np.int32([[5000]])), r"net.layers\{1\}.stride should be at most 4096, not \[5000, 5000\]"
    )
    refused(load, select(channels=[1.0]), r"net.layers\{1\}.channels should be numbers or text, and is cell")
    refused(
        load,
        {"net": {"layers": [{"type": "decoding.Clip", "low": np.float64([[3]])}]}},
        "its fields do not make a Clip: .*high",
    )


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


BLOCKS = {
    "dagnn.Conv": {"size", "dilate", "hasBias", "opts", "pad", "stride"},
    "dagnn.Pooling": {"method", "poolSize", "opts", "pad", "stride"},
    "dagnn.ReLU": {"useShortCircuit", "leak", "opts"},
    "dagnn.BatchNorm": {"numChannels", "epsilon", "opts"},
    "dagnn.Concat": {"dim"},
    "dagnn.Sum": set(),
    "dagnn.Scale": {"size", "hasBias"},
    "dagnn.LRN": {"param"},
    "dagnn.DropOut": {"rate", "frozen"},
    "dagnn.SoftMax": set(),
    "dagnn.Sigmoid": set(),
    "dagnn.Loss": {"loss", "ignoreAverage", "opts"},
}  # their properties, in MatConvNet


def loadobj(net):
    """What dagnn.DagNN.loadobj asks of a struct, and refuses; returns what reads what, by variables."""
    import re

    def row(cell):
        assert cell.size == 0 or cell.shape[0] == 1  # MATLAB loops over columns
        return [each.item() for each in cell.ravel()]

    names, params, variables, reads = [], {}, set(), {}
    for layer in net["layers"][0, 0].ravel():
        name, kind = layer["name"].item(), layer["type"].item()
        assert set(layer["block"].dtype.names or ()) <= BLOCKS[kind]
        inputs, outputs = row(layer["inputs"]), row(layer["outputs"])
        for each in row(layer["params"]):
            params.setdefault(each, kind)
        assert len(row(layer["params"])) == {
            "dagnn.Conv": 2,
            "dagnn.BatchNorm": 3,
            "dagnn.Scale": 2 if len(inputs) == 1 else 0,
        }.get(kind, 0)
        names.append(name)
        variables |= {*inputs, *outputs}
        reads[name] = inputs, outputs
    assert len(set(names)) == len(names)
    values = net["params"][0, 0].ravel() if net["params"][0, 0].size else []
    assert [each["name"].item() for each in values] == list(params)  # getParamIndex finds each
    assert {each["name"].item() for each in net["vars"][0, 0].ravel()} == variables
    assert all(re.fullmatch("[A-Za-z][A-Za-z0-9_]{0,62}", each) for each in (*names, *params, *variables))
    assert set(net.dtype.names) <= {"layers", "params", "vars", "meta"}  # the properties of a DagNN
    return reads


def test_what_branches_is_what_loadobj_takes(branching, tmp_path):
    import scipy.io

    below = branching.trim("gate")
    above = [
        Scale(np.arange(18.0), np.arange(18.0) + 1),
        LRN(gain=2),
        Dropout(),
        Sigmoid(),
        Softmax(),
        Loss(name="loss"),
    ]
    inputs = [*below.inputs, *range(len(below), len(below) + len(above))]
    net = below.replace(layers=[*below.layers, *above], inputs=inputs)
    save_matconvnet(net, tmp_path / "net.mat")
    reads = loadobj(scipy.io.loadmat(tmp_path / "net.mat")["net"])
    assert reads["edges"] == (["input"], ["x1"])
    assert reads["all"] == (["x7", "x8", "x7"], ["x9"])
    assert reads["loss"] == ([f"x{len(net) - 1}", "label"], [f"x{len(net)}"])
    assert list(reads)[:8] == ["edges", "layer2_", "layer2", "edges2", "layer5", "layer6", "layer7", "layer8"]
    assert load_matconvnet(tmp_path / "net.mat") == net


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
    "superres-dag": (["Conv", "ReLU"] * 11 + ["ConvTranspose", "ReLU", "Conv", "ConvTranspose", "Sum", "Loss"], (1, 23, 23)),
}  # fmt: skip


@pytest.mark.parametrize("name", NETS)
def test_real_networks(name, real_data, tmp_path):
    if name == "denoise-v73":
        pytest.importorskip("h5py", reason="v7.3 is read through h5py, the extra `hdf5`")
    kinds, decoded = NETS[name]
    net = load_matconvnet(real_data / "nets" / f"{name}.mat")
    assert [layer.kind for layer in net.layers] == kinds
    works = next((k for k, layer in enumerate(net.layers[: net.runs]) if layer.phases), net.runs)
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


def test_a_real_graph_is_read_whole(real_data):
    net = load_matconvnet(real_data / "nets" / "superres-dag.mat")
    assert net.names[:2] == ("input_conv", "input_relu")
    assert [net.names[i - 1] for i in net.inputs[net.index("level1_output") - 1]] == [
        "level1_img_up",
        "level1_residual",
    ]
    assert [net.blocked(name) for name in net.names] == [None] * len(net.layers)
    assert net.shapes((1, 8, 9))[net.index("level1_output")] == (1, 16, 18)
    assert net.notes == ()
    assert load_matconvnet(real_data / "nets" / "superres-dag.mat", image="LR") == net
    with pytest.raises(InvalidValueError, match=r"no image named 'HR'. There are LR"):
        load_matconvnet(real_data / "nets" / "superres-dag.mat", image="HR")


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
        (
            "lookalike",
            "cnn.layers are not layers of MatConvNet: their types are C, I, MP, O, as DeepLearnToolbox has them",
        ),
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
    net = load(graph([("c", "Conv", ["x"], ["y"], ["f", "b"], {"opts": conv["opts"]})], single))
    assert (net["c"].type, net["c"].reason) == ("dagnn.Conv", layer.reason)


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
