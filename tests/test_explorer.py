import base64
import io
import json
import re
import signal
import subprocess
import sys

import browser as chromium
import numpy as np
import pytest
from PIL import Image

import decoding
from decoding import (
    AvgPool,
    BatchNorm,
    Concat,
    Conv,
    Gate,
    MaxPool,
    Network,
    ReLU,
    Sigmoid,
    Softmax,
    Sum,
    UnsupportedLayer,
    explore,
)
from decoding.__main__ import main
from decoding.explorer import forms, meters, sheets, weights
from decoding.explorer.layout import layout
from decoding.explorer.pictures import read_pictures
from decoding.explorer.writing import HERE, STATIC

HOSTILE = [
    "<script>alert(1)</script>",
    '" onmouseover="alert(1)',
    "../../etc/passwd",
    "x" * 10_000,
    "3",
    "#a/b%2F?&c\u2028",
]
DIGITS = 60


def data(folder, name):
    """What a file hands to the page."""
    text = (folder / "data" / f"{name}.js").read_text("ascii")
    found = re.fullmatch(r"explorer\.take\((\"[^\"]+\"),(.*)\);\n", text, re.S)
    assert json.loads(found[1]) == name
    return json.loads(found[2])


def tiles(given):
    """A sheet as an array (K, h, w, …): of all places, also those that no unit has."""
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(given["png"]))))
    rows = picture.reshape(-1, given["rows"], given["columns"], given["cols"], *picture.shape[2:])
    return np.swapaxes(rows, 1, 2).reshape(-1, given["rows"], given["cols"], *picture.shape[2:])


@pytest.fixture
def branched(ramp):
    """A shortcut of one pixel beside two convolutions, a pool, and a layer that reads all."""
    layers = [
        Conv(ramp(2, 1, 2, 3), pad=(0, 1, 1, 1), name="first"),
        ReLU(gain=[0.5, 2], name="bend"),
        Conv(ramp(2, 2, 3, 3), pad=1, name="second"),
        Sum(name="sum"),
        MaxPool(2, name="pool"),
        Conv(ramp(3, 2, 2, 1), name="last"),
    ]
    return Network(layers, inputs=[0, 1, 2, (3, 2), 4, 5], input_shape=(1, 8, 9))


@pytest.fixture
def images(ramp):
    return ramp(5, 1, 8, 9)


# ---- Where layers are drawn


def test_a_chain_is_one_lane_and_branches_lie_side_by_side():
    conv = [Conv([[[[1]]]]) for _ in range(3)]
    assert layout(Network(conv)) == ([0, 1, 2, 3], [0, 0, 0, 0])
    four = Network([*conv, Conv([[[[1]]]]), Concat()], inputs=[0, 0, 2, 0, (1, 3, 4)])
    rows, lanes = layout(four)
    assert rows == [0, 1, 1, 2, 1, 3]
    assert lanes[2] == lanes[3] == lanes[5] == 0  # the longest way
    assert sorted((lanes[1], lanes[4])) == [1, 2]


def test_no_two_layers_are_drawn_on_each_other_and_each_lies_below_what_it_reads():
    for net in (decoding.resnet(), decoding.lenet()):
        rows, lanes = layout(net)
        assert len(set(zip(rows, lanes, strict=True))) == len(net) + 1
        assert all(rows[i] < rows[n] for n, below in enumerate(net.inputs, 1) for i in below)


# ---- Pictures


def test_shrinking_takes_means_over_blocks_also_where_they_are_cut():
    assert sheets.shrunk(np.arange(10.0).reshape(1, 2, 5), 3).tolist() == [[[3, 5, 6.5]]]
    small = np.ones((1, 2, 3))
    assert sheets.shrunk(small, 3) is small


@pytest.mark.parametrize("channels", [1, 3])
def test_a_sheet_holds_each_unit_on_its_own_scale(ramp, channels):
    maps = ramp(5, channels, 2, 3)
    drawn = sheets.draw(maps)
    found = tiles(sheets.sheet(drawn.bytes))[:5].reshape(5, 2, 3, channels)
    assert (np.moveaxis(found, 3, 1) == drawn.bytes).all()
    back = (drawn.bytes.astype(float) - 128) / 127 * drawn.peaks.reshape(-1, 1, 1, 1)
    assert (np.abs(back - maps) <= drawn.peaks.max() / 254 * (1 + 1e-12)).all()  # half a step
    assert (np.abs(drawn.bytes.astype(int) - 128).max(axis=(1, 2, 3)) == 127).all()


def test_a_unit_of_zeros_is_drawn_as_zeros():
    drawn = sheets.draw(np.zeros((1, 1, 2, 2)))
    assert drawn.bytes.tolist() == [[[[128, 128], [128, 128]]]]
    assert drawn.peaks.tolist() == [1]


# ---- What units are made of


def test_made_of_is_what_contributions_say(lenet):
    found = weights.links(lenet, {n: lenet.channels(n) for n in range(1, len(lenet) + 1)}).made
    for layer, k in ((3, 17), (5, 4), (7, 9)):
        want = decoding.contributions(lenet, layer, k, top=weights.LISTED)
        assert [(m, c, u, v, *pixel) for m, c, _, u, v, *pixel in found[layer][k]] == [
            (each.layer, each.k, *each.cell, *each.pixel) for each in want
        ]
        assert [link[2] for link in found[layer][k]] == [float(f"{each.weight:.4g}") for each in want]


def test_what_passes_units_on_is_looked_through_with_its_factors(branched):
    found = weights.links(branched, {n: branched.channels(n) for n in range(1, 7)})
    filters = branched["second"].filters
    strongest = np.abs(filters[0] * np.array([0.5, 2])[:, np.newaxis, np.newaxis]).max()
    layer, k, weight, u, v, row, column = found.made[3][0][0]
    assert (layer, abs(weight), weight) == (1, strongest, filters[0, k, u, v] * (0.5, 2)[k])
    assert (row, column) == (u, v)
    assert found.made[2] == [[(1, 0, 0.5, 0, 0, 0, 0)], [(1, 1, 2, 0, 0, 0, 0)]]  # the rectifier passes one unit on
    assert found.made[5] == [[(4, 0, 1, 0, 0, 0, 0)], [(4, 1, 1, 0, 0, 0, 0)]]  # and so does the pool


def test_used_by_is_made_of_the_other_way(branched):
    found = weights.links(branched, {n: branched.channels(n) for n in range(1, 7)})
    stops = {1: 1, 2: 1, 3: 3, 4: 4, 5: 4, 6: 6}  # a rectifier stands for what it passes on, and so does a pool
    for layer, stop in stops.items():
        for k, users in enumerate(found.used[layer]):
            for upper, above, weight in users:
                below = [link[2] for link in found.made[upper][above] if link[:2] == (stop, k)]
                assert weight * (0.5, 2)[k] ** (layer == 2) == max(below, key=abs)
    assert {upper for upper, _, _ in found.used[4][0]} == {6}
    assert {upper for upper, _, _ in found.used[1][0]} == {3, 4}


def test_the_parts_of_a_sum_lie_where_they_meet_and_add_up(branched):
    parts = weights.links(branched, {n: branched.channels(n) for n in range(1, 7)}).parts
    assert sorted(parts) == [4]
    for k in range(2):
        whole = decoding.decode_filter(branched, 4, k)
        sum_of_parts = np.zeros_like(whole)
        for layer, unit, weight, row, column in parts[4][k]:
            part = decoding.decode_filter(branched, layer, unit)
            sum_of_parts[:, row : row + part.shape[1], column : column + part.shape[2]] += weight * part
        assert (sum_of_parts == whole).all()


# ---- What is measured


def test_r_is_one_on_a_line_and_nothing_where_nothing_varies():
    x = np.arange(4.0)[:, np.newaxis].repeat(3, axis=1)
    follow = meters.Correlation()
    follow.take(x[:2], np.stack([2 * x[:2, 0] + 1, -x[:2, 0], np.ones(2)], axis=1))
    follow.take(x[2:], np.stack([2 * x[2:, 0] + 1, -x[2:, 0], np.ones(2)], axis=1))
    assert follow.r[:2].tolist() == [1, -1]
    assert np.isnan(follow.r[2])


@pytest.mark.parametrize("layer", ["first", "second", "sum", "last"])
def test_responses_and_patterns_are_those_of_the_library(branched, images, layer):
    number = branched.index(layer)
    bank = decoding.decode_layer(branched, number)
    meter = meters.FollowMeter(branched, [number], {"filter": bank})
    decoding.measure(branched, images, [meter], batch_size=2)
    assert (meter.pattern == decoding.patterns(branched, images, number)).all()
    drawn, true = decoding.decoded_responses(branched, images, number), branched.forward(images, number)
    want = meters.Correlation()
    want.take(*(np.moveaxis(each, 1, 3).reshape(-1, len(bank)) for each in (drawn, true)))
    assert (meter.follows["filter", number].sums == want.sums).all()
    assert meter.images == 5


def test_too_much_work_is_done_on_fewer_images(branched, images, monkeypatch):
    monkeypatch.setattr(meters, "WORK", 1)
    meter = meters.FollowMeter(branched, [1], {"filter": decoding.decode_layer(branched, 1)})
    decoding.measure(branched, images, [meter], batch_size=1)
    assert meter.images == 2


def test_the_images_that_drive_a_unit_are_top_images(branched, images):
    meter = meters.BestMeter(6, 3)
    decoding.measure(branched, images, [meter], batch_size=2)
    want = decoding.top_images(branched, images, 6, None, n=5)
    order = np.argsort(-meter.best, axis=0, kind="stable")
    assert (want.indices == order.T).all()
    responses = branched.forward(images, 6)
    n, k = np.ogrid[:5, :3]
    assert (responses[n, k, meter.where[..., 0], meter.where[..., 1]] == meter.best).all()


# ---- The second order of many units


@pytest.fixture
def bending(ramp):
    """Everything that forms are composed through: a padded convolution, a shortcut, a pool, a batch normalization."""
    layers = [
        Conv(ramp(2, 1, 2, 3), pad=(0, 1, 1, 1)),
        ReLU(gain=[0.5, 2], curvature=[2, 4]),
        Conv(ramp(2, 2, 3, 3), pad=1),
        Sum(),
        MaxPool(2, gain=0.25, curvature=[8, 16]),
        Conv(ramp(3, 2, 2, 1)),
        BatchNorm([2, -1, 4], [0, 0, 0]),
        ReLU(gain=0.5, curvature=[2, 0, 4]),
    ]
    return Network(layers, inputs=[0, 1, 2, (3, 2), 4, 5, 6, 7])


@pytest.mark.parametrize("block", [1, 2**20])
def test_forms_that_are_composed_are_those_of_the_walks(bending, monkeypatch, block):
    monkeypatch.setattr(forms, "BLOCK", block)
    found = forms.Forms(bending)
    for number in range(1, 9):
        assert forms.writes_out(bending, number)
        pixels = np.prod(found.shape(number))
        for units in ([1, 0], [0]):
            composed = found.of(number, units)
            want = np.stack([decoding.quadratic_form(bending, number, k) @ np.eye(pixels) for k in units])
            assert (want == (0 if composed is None else composed.reshape(want.shape))).all()


def test_pictures_of_many_units_are_those_of_one(lenet):
    digits = lenet.normalize(decoding.mnist()[0][:60])
    net, statistics = decoding.quadratize(lenet, digits), decoding.natural(14, channels=1)
    many = list(forms.decode_all(forms.Forms(net), 3, [7, 2], 4, statistics))
    for k, found in zip([7, 2], many, strict=True):
        want = decoding.decode_quadratic(net, 3, k, n=4, statistics=statistics, backend=decoding.fast)
        # An eigenvalue is no further from one of the form's than the residual of its picture, ‖A e − λ e‖. The filter is
        # Q B e / λ, so that ‖Bᵀ filter‖² is 1 + (residual / λ)².
        length = (statistics.root_t(found.filters) ** 2).sum(axis=(1, 2, 3))
        rounding = 4 * 196 * np.finfo(np.float32).eps
        residual = np.abs(found.eigenvalues) * np.sqrt(np.abs(length - 1)) + np.abs(want.eigenvalues[0]) * rounding
        assert (np.abs(found.eigenvalues - want.eigenvalues) <= residual).all()
    assert many[0].linear.dtype == float


def test_forms_are_not_written_out_where_they_are_large_or_not_known(lenet):
    assert forms.writes_out(lenet, 7)
    assert not forms.writes_out(decoding.resnet(), 48)
    assert not forms.writes_out(Network([Conv([[[[1]]]]), Concat()], inputs=[0, (1, 1)]), 2)


# ---- The folder


def _without_gains(net):
    return net.replace(layers=[each.replace(gain=None) if each.kind == "ReLU" else each for each in net.layers])


def test_a_page_says_what_the_library_says(tmp_path, branched, images):
    explore(branched, tmp_path / "page", images=images, labels=["a", "b", "a", "b", "a"])
    layer, kinds = data(tmp_path / "page", "6"), data(tmp_path / "page", "network")["kinds"]
    assert kinds == ["filter", "gains"]
    gains = decoding.decode_layer(branched, 6)
    plain = decoding.decode_layer(_without_gains(branched), 6)
    for kind, bank in (("filter", plain), ("gains", gains)):
        assert (tiles(data(tmp_path / "page", f"6-{kind}"))[:3] == sheets.draw(bank).bytes[:, 0]).all()
        assert layer["peaks"][kind] == sheets.rounded(np.abs(bank).max(axis=(1, 2, 3)))
        assert layer["strength"][kind] == sheets.rounded(np.sqrt((bank**2).sum(axis=(1, 2, 3))))
    most = decoding.top_images(branched, images, 6, 0, n=1)
    number, response, *_ = layer["images"]["most"][0][0]
    assert data(tmp_path / "page", "images-0")[number]["index"] == most.indices[0]
    assert response == float(f"{most.responses[0]:.4g}")
    spread = layer["images"]["spread"][0]
    assert [sum(counts) for counts in spread["counts"]] == [3, 2]


def test_layers_that_pass_units_on_show_the_pictures_below(tmp_path):
    net = Network([Conv([[[[1, 2]]], [[[3, -4]]]]), BatchNorm([-2, 3], [0, 0]), ReLU()], input_shape=(1, 3, 4))
    explore(net, tmp_path / "page")
    boxes = data(tmp_path / "page", "network")["layers"]
    assert [box.get("base") for box in boxes[1:]] == [1, 1, 1]
    assert not (tmp_path / "page" / "data" / "2-filter.js").exists()
    assert data(tmp_path / "page", "3")["factors"]["filter"] == [-2, 3]
    strengths = np.sqrt((decoding.decode_layer(net, 3) ** 2).sum(axis=(1, 2, 3)))
    assert data(tmp_path / "page", "3")["strength"]["filter"] == sheets.rounded(strengths)


def test_nothing_is_asked_of_anybody():
    page = (HERE / "index.html").read_text()
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page)[1]
    assert policy.startswith("default-src 'none'; ")
    assert set(re.findall(r"[\w-]+-src ([^;]+)", policy)) == {"'none'", "'self'", "'self' data:"}
    for name in STATIC:
        text = (HERE / name).read_text().replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?:|//[a-z]|@import|fetch\(|XMLHttpRequest|innerHTML|eval\(", text), name


def test_an_old_page_is_replaced_and_other_folders_are_refused(tmp_path, branched):
    explore(branched, tmp_path / "page")
    explore(branched, tmp_path / "page", layers=["last"])
    assert "reason" in data(tmp_path / "page", "network")["layers"][1]
    assert [path.name for path in tmp_path.iterdir()] == ["page"]
    (tmp_path / "page" / "notes.txt").write_text("mine")
    with pytest.raises(
        decoding.InvalidValueError, match=r"explore: the folder '.*' holds 'notes\.txt', and is not replaced"
    ):
        explore(branched, tmp_path / "page")
    (tmp_path / "other" / "data").mkdir(parents=True)
    with pytest.raises(decoding.InvalidValueError, match="holds other files"):
        explore(branched, tmp_path / "other")
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="cannot be a folder"):
        explore(branched, tmp_path / "file" / "page")


def test_a_folder_that_cannot_be_written_is_refused_before_the_work(tmp_path, branched, monkeypatch):
    monkeypatch.setattr("os.access", lambda path, mode: False)
    monkeypatch.setattr(decoding.explorer, "check_weights", lambda net: pytest.fail("it worked"))
    with pytest.raises(PermissionError, match="read-only"):
        explore(branched, tmp_path / "page")


@pytest.mark.parametrize("stop", [KeyboardInterrupt, MemoryError])
def test_the_old_page_is_whole_when_a_new_one_is_interrupted(tmp_path, branched, stop):
    explore(branched, tmp_path / "page")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    def progress(done, total):
        if done == 3:
            raise stop

    with pytest.raises((stop, decoding.InvalidValueError)):
        explore(branched, tmp_path / "page", progress=progress)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="no signals of this kind")
def test_nothing_is_left_behind_when_the_program_is_ended(tmp_path):
    program = """
import os, signal, decoding
net = decoding.Network([decoding.Conv([[[[1]]]])])
decoding.explore(net, "page", progress=lambda *each: os.kill(os.getpid(), signal.SIGTERM))
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path)
    assert done.returncode == -signal.SIGTERM
    assert not list(tmp_path.iterdir())


def test_progress_counts_all_layers(tmp_path, branched):
    told = []
    explore(branched, tmp_path / "page", progress=lambda *each: told.append(each))
    assert told == [(i, 6) for i in range(1, 7)]


# ---- Networks of every kind


def test_weights_that_are_not_finite_are_an_error(tmp_path):
    net = Network([Conv([[[[1]]]]), Conv([[[[np.nan]]]], name="broken")])
    with pytest.raises(decoding.InvalidValueError, match=r"layer 2 'broken'.*not finite"):
        explore(net, tmp_path / "page")
    assert not list(tmp_path.iterdir())


def test_layers_that_are_not_supported_are_drawn_with_the_reason(tmp_path):
    layers = [Conv([[[[1, 2]]]]), UnsupportedLayer("Attention", name="attend"), Conv([[[[1]]]]), Conv([[[[3]]]])]
    explore(Network(layers, inputs=[0, 1, 2, 1]), tmp_path / "page")
    boxes = data(tmp_path / "page", "network")["layers"]
    assert ["reason" in box for box in boxes] == [False, False, True, True, False]
    assert "attend" in boxes[3]["reason"]


def test_a_gate_is_decoded_where_images_tell_its_gain(tmp_path, ramp):
    net = Network([Conv(ramp(2, 1, 2, 2)), Sigmoid(), Gate()], inputs=[0, 1, (1, 2)], input_shape=(1, 4, 5))
    explore(net, tmp_path / "page")
    assert "Give it a gain" in data(tmp_path / "page", "network")["layers"][3]["reason"]
    explore(net, tmp_path / "page", images=ramp(6, 1, 4, 5))
    assert data(tmp_path / "page", "network")["layers"][3]["shown"] == 2


def test_filters_that_look_the_same_with_gains_are_written_once(tmp_path, branched):
    explore(branched, tmp_path / "page")
    boxes = data(tmp_path / "page", "network")["layers"]
    assert [box.get("same") for box in boxes[1:]] == [True, True, False, False, False, False]
    assert not (tmp_path / "page" / "data" / "1-gains.js").exists()


def test_a_second_order_that_cannot_be_found_is_an_error(tmp_path, lenet):
    net = lenet.replace(classes=["another"] * 10)
    with pytest.raises(decoding.UnsupportedLayerError, match="Give images"):
        explore(net, tmp_path / "page", layers=["conv1"], second_order={"conv1": [0]})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("channels", [2, 3])
def test_colours_are_drawn_in_the_units_of_pixels_and_other_channels_summed(tmp_path, ramp, channels):
    net = Network([Conv(ramp(2, channels, 2, 2))], std=[1, 2, 4][:channels], input_shape=(channels, 5, 5))
    explore(net, tmp_path / "page", images=ramp(4, channels, 5, 5))
    bank = net.per_pixel(net.layers[0].filters)
    bank = bank if channels == 3 else bank.sum(axis=1, keepdims=True)
    found = tiles(data(tmp_path / "page", "1-filter"))[:2].reshape(2, 2, 2, -1)
    assert (np.moveaxis(found, 3, 1) == sheets.draw(bank).bytes).all()


def test_one_unit_and_five_thousand(tmp_path, ramp):
    explore(Network([Conv([[[[1]]]])]), tmp_path / "one")
    assert data(tmp_path / "one", "network")["layers"][1]["shown"] == 1
    many = Network([Conv(ramp(5000, 1, 1, 2)), Conv(ramp(1, 5000, 1, 1))], input_shape=(1, 3, 4))
    explore(many, tmp_path / "many")
    box = data(tmp_path / "many", "network")["layers"][1]
    assert (box["shown"], box["units"]) == (1024, 5000)
    explore(many, tmp_path / "many", units=3)
    assert len(data(tmp_path / "many", "1")["strength"]["filter"]) == 3


def test_second_order_of_the_units_asked_for(tmp_path, lenet):
    digits = lenet.normalize(decoding.mnist()[0][:40])
    explore(lenet, tmp_path / "page", images=digits, layers=[3], second_order={"conv2": [4, 1]})
    assert data(tmp_path / "page", "3")["second"] == [4, 1]
    found = data(tmp_path / "page", "3-second-0")
    values = [unit["values"] for unit in found["units"]]
    assert [each["first"] for each in found["units"]] == [0, 8]
    assert all(each == sorted(each, reverse=True) and len(each) == 6 for each in values)
    assert len(data(tmp_path / "page", "3")["r"]["second"]) == 50


WRONG = {
    "labels": ({"labels": ["a"]}, decoding.ShapeError, r"explore: 1 label for 5 images"),
    "no images": ({"images": []}, decoding.InvalidValueError, "there are no images"),
    "layer": ({"layers": ["nowhere"]}, decoding.UnknownLayerError, "no layer is named 'nowhere'"),
    "image as a layer": ({"layers": [0]}, decoding.InvalidValueError, "layer 0 is the image"),
    "unpool": ({"unpool": "area"}, decoding.InvalidValueError, "unpool must be 'nearest' or"),
    "units": ({"units": 0}, decoding.InvalidValueError, "units must be an integer, at least 1"),
    "second order": ({"second_order": [1]}, decoding.InvalidValueError, "second_order must be True, False or"),
    "second order of no unit": ({"second_order": {1: [9]}}, decoding.UnknownLayerError, "has no unit 9"),
    "second order off the page": (
        {"units": 1, "second_order": {1: [1]}},
        decoding.InvalidValueError,
        "is not on the page",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_arguments_are_refused_and_nothing_is_written(tmp_path, branched, images, case):
    options, kind, message = WRONG[case]
    with pytest.raises(kind, match=message):
        explore(branched, tmp_path / "page", **{"images": images, **options})
    assert not list(tmp_path.iterdir())


# ---- The command


def test_the_command_writes_a_page(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(decoding.explorer, "DIGITS", 40)
    assert main(["explore", "lenet", "--layers", "conv1", "conv2", "--units", "7", "--second-order", "conv2/0-1"]) == 0
    assert capsys.readouterr().out.startswith("explorer: open explorer")
    net = data(tmp_path / "explorer", "network")
    assert [box.get("shown") for box in net["layers"]] == [None, 7, None, 7, *[None] * 5]
    assert net["images"]["count"] == 40
    assert data(tmp_path / "explorer", "3")["second"] == [0, 1]
    assert main(["explore", "lenet", "--second-order", "conv2"]) == 2


def test_pictures_come_with_the_names_of_their_folders(tmp_path, ramp):
    net = Network([Conv(ramp(1, 1, 2, 2))], input_shape=(1, 4, 6), std=[0.5])
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        Image.fromarray(np.full((8, 20), 255, np.uint8)).save(tmp_path / name / "one.png")
    found, labels = read_pictures(net, tmp_path)
    assert labels == ["cat", "dog"]
    assert (found[0] == np.full((1, 1, 4, 6), 2)).all()  # 0 to 1, over .5
    assert read_pictures(net, tmp_path / "cat")[1] == ["one"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(decoding.DataFormatError, match="no PNG, JPEG or TIFF"):
        read_pictures(net, tmp_path / "empty")


# ---- In a browser


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Pages of the two networks that come with the package, with few digits, and of a network with hostile names."""
    folder, (digits, numbers) = tmp_path_factory.mktemp("pages"), decoding.mnist()
    for name, some in (("lenet", {7: [3], 3: [0]}), ("resnet", {"block1.0.sum": [0]})):
        net = getattr(decoding, name)()
        given = {"images": net.normalize(digits[:DIGITS]), "labels": numbers[:DIGITS].tolist()}
        explore(net, folder / name, **given, second_order=some)
    explore(_hostile(), folder / "hostile", images=digits[:12] / 255, labels=HOSTILE * 2, title=HOSTILE[0])
    return folder


def _hostile():
    """A chain whose layers have such names, and one that is not supported with such a kind and reason."""
    layers = [Conv(np.ones((2, 1 if i == 0 else 2, 2, 2)) * (-1) ** i, name=name) for i, name in enumerate(HOSTILE)]
    layers += [AvgPool(2, name=HOSTILE[0]), Softmax(name="last"), UnsupportedLayer(HOSTILE[0], reason=HOSTILE[1])]
    return Network(layers, classes=HOSTILE[:2], input_shape=(1, 28, 28), notes=HOSTILE)


@pytest.fixture(scope="module")
def page():
    if reason := chromium.missing():
        pytest.skip(reason)
    with chromium.browser() as found:
        yield found


def places(pages, name):
    """Every layer that has units, by number."""
    return [n for n, box in enumerate(data(pages / name, "network")["layers"]) if box.get("shown")]


@pytest.mark.parametrize("width", [390, 1400])
@pytest.mark.parametrize("name", ["lenet", "resnet", "hostile"])
def test_every_layer_opens_and_nothing_is_cut_off(page, pages, name, width):
    page.open(pages / name, width=width)
    boxes = data(pages / name, "network")["layers"]
    assert page.js("return document.querySelectorAll('#graph .box').length") == len(boxes)
    assert page.cut_off() == []
    for number in places(pages, name):
        page.go(f"#{number}")
        assert page.js("return document.querySelectorAll('#tiles a.tile').length") == boxes[number]["shown"]
        assert page.cut_off() == []
        page.go(f"#{number}/{boxes[number]['shown'] - 1}")
        assert page.js("return main.dataset.view") == "unit"
        assert page.cut_off() == []
    assert page.console() == []


def test_units_are_clicked_up_and_down_and_back_works(page, pages):
    page.open(pages / "lenet", "#conv3/17")
    below = page.js("const to = document.querySelector('.made a.tile'); to.click(); return to.getAttribute('href')")
    page.settle(below)
    assert below.startswith("#conv2/")
    above = page.js("const to = document.querySelector('.used a.tile'); to.click(); return to.getAttribute('href')")
    page.settle(above)
    assert above.startswith("#conv3/")
    page.driver.back()
    page.settle(below)
    page.driver.back()
    page.settle("#conv3/17")
    page.driver.forward()
    page.settle(below)
    assert page.console() == []


def test_keys_go_to_neighbours_and_up(page, pages):
    page.open(pages / "lenet", "#conv2/17")
    page.key("ARROW_RIGHT")
    assert page.js("return location.hash") == "#conv2/18"
    page.key("ARROW_LEFT")
    page.key("ARROW_LEFT")
    assert page.js("return location.hash") == "#conv2/16"
    page.key("ESCAPE")
    assert page.js("return location.hash") == "#conv2"
    page.key("ARROW_LEFT")
    assert page.js("return location.hash") == "#pool1"
    page.js("document.querySelector('#tiles a').focus()")
    page.key("ARROW_RIGHT")
    page.key("ARROW_DOWN")
    first, last = page.js("return [document.activeElement.dataset.unit, document.querySelectorAll('#tiles a').length]")
    assert 1 < int(first) < last
    page.key("ESCAPE")
    assert page.js("return location.hash") == ""


@pytest.mark.parametrize(
    ("text", "place"), [("conv2", "#conv2"), ("conv3/41", "#conv3/41"), ("CONV4 3", "#conv4/3"), ("5", "#conv3")]
)
def test_search_finds_layers_and_units(page, pages, text, place):
    page.open(pages / "lenet")
    page.key("/")
    for letter in text:
        page.key(letter)
    assert page.js("return document.getElementById('find').getAttribute('aria-expanded')") == "true"
    page.key("ENTER")
    page.settle(place)


def test_sorting_and_choosing_pictures(page, pages):
    page.open(pages / "lenet", "#conv2")
    strength = np.array(data(pages / "lenet", "3")["strength"]["gains"])
    page.js("document.querySelector('input[value=strength]').click()")
    found = page.js("return [...document.querySelectorAll('#tiles a')].map(each => Number(each.dataset.unit))")
    assert found == np.argsort(-strength, kind="stable").tolist()
    before = page.js("return document.querySelector('#tiles canvas').toDataURL()")
    page.js("document.querySelector('input[value=pattern]').click()")
    wait = "return document.querySelector('#tiles canvas').toDataURL() !== arguments[0]"
    assert any(page.js(wait, before) for _ in range(200))


def test_colours_are_those_of_the_montage(page, pages):
    page.open(pages / "lenet", "#conv1/3")
    drawn = page.js(
        """const canvas = document.querySelector("canvas.big"), size = [canvas.width, canvas.height];
        return [...canvas.getContext("2d").getImageData(0, 0, ...size).data];"""
    )
    found = np.reshape(drawn, (5, 5, 4))[..., :3]
    want = decoding.montage(decoding.decode_layer(decoding.lenet(), 1)[3:4], zoom=1)[4:-4, 4:-4]
    assert np.abs(found - want.astype(int)).max() <= 2  # a byte has 127 steps of up to 1.3 levels each


def test_dark_and_light(page, pages):
    ground = "return getComputedStyle(document.body).backgroundColor"
    page.open(pages / "lenet", "#conv2/3", dark=False)
    light = page.js(ground)
    page.open(pages / "lenet", "#conv2/3", dark=True)
    dark = page.js(ground)
    assert sum(map(int, re.findall(r"\d+", light))) > 600 > 150 > sum(map(int, re.findall(r"\d+", dark)))
    page.js("const button = document.getElementById('theme'); button.click()")  # from auto to light
    assert page.js(ground) == light
    page.js("localStorage.removeItem('decoding-theme')")
    assert page.console() == []


def test_another_unit_of_a_layer_reads_no_file(page, pages):
    """What the first one has read serves the others, as long as they have no second order and share their images."""

    def read():
        return {*page.js("return [...document.querySelectorAll('script[src^=\"data/\"]')].map(each => each.src)")}

    page.open(pages / "lenet", "#conv3/17")
    before = read()
    for unit in (18, 30, 40):
        page.go(f"#conv3/{unit}")
    assert read() == before > set()


def test_hostile_names_are_names(page, pages):
    page.open(pages / "hostile", "#1/1")
    assert HOSTILE[0] in page.js("return document.querySelector('h1').textContent")
    assert page.js("return document.querySelectorAll('main script, main [onmouseover]').length") == 0
    page.go(f"#{page.js('return encodeURIComponent(arguments[0])', HOSTILE[2])}/0")
    assert page.js("return document.querySelector('h1').textContent").startswith(HOSTILE[2])
    for lost in ("#nowhere", "#1/2", "#1/x", "#%E0%A4%A", "#9", "#../x/y"):
        page.go(lost)
        assert page.js("return main.dataset.view") == ("layer" if lost == "#9" else "lost")
    assert page.console() == []


def test_everything_is_named_for_those_who_do_not_see(page, pages):
    unnamed = """return [...document.querySelectorAll("main a, main button, input, main img, [role=img]")].filter(each =>
        !(each.getAttribute("aria-label") || each.alt || each.textContent.trim() || (each.labels && each.labels.length))
      ).map(each => each.outerHTML.slice(0, 200));"""
    for place in ("", "#conv2", "#conv4/3"):
        page.open(pages / "lenet", place)
        assert page.js(unnamed) == []
        assert page.js("return document.querySelectorAll('h1').length") == 1
    assert "layer conv4, unit 3" in page.js("return document.querySelector('canvas.big').getAttribute('aria-label')")
