"""The example scripts, on real input or on a small one of the same kind."""

import csv
import importlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import decoding

EXAMPLES = Path(__file__).parents[1] / "examples"


def run(script, *arguments, cwd=None):
    command = [sys.executable, str(EXAMPLES / script), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd)


def test_decode_lenet_reads_the_file_it_is_given(tmp_path, ramp):
    layers = [
        decoding.Conv(ramp(2, 1, 5, 5)),
        decoding.MaxPool(2),
        decoding.Conv(ramp(3, 2, 5, 5)),
        decoding.MaxPool(2),
        decoding.Conv(ramp(60, 3, 4, 4)),
        decoding.ReLU(),
        decoding.Conv(ramp(4, 60, 1, 1)),
    ]
    decoding.save_matconvnet(decoding.Network(layers), tmp_path / "net.mat")
    done = run("decode_lenet.py", "net.mat", "-o", "pictures", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "50 of 60 filters, 28×28" in done.stdout
    pools = ("-nearest", "-bilinear", "-bicubic")
    names = sorted(path.name for path in (tmp_path / "pictures").iterdir())
    assert names == sorted(
        f"layer{layer}{unpool}{suffix}.png"
        for layer in (1, 3, 5, 7)
        for unpool in (pools if layer > 1 else ("",))  # below layer 1 there is no pool, and all three are one
        for suffix in ("", "-threshold")
    )


def test_decode_lenet_refuses_a_file_in_one_line(tmp_path):
    (tmp_path / "text.mat").write_text("not a network")
    done = run("decode_lenet.py", "text.mat", cwd=tmp_path)
    assert done.returncode != 0
    assert done.stderr.startswith("decode_lenet.py: text.mat")
    assert "Traceback" not in done.stderr


def test_train_lenet_trains_the_network_that_is_read_back(tmp_path):
    pytest.importorskip("torch", reason="needs PyTorch, the extra `train`")
    random = np.random.default_rng(1)
    for part, count in (("train", 200), ("t10k", 20)):
        images, labels = random.integers(0, 256, (count, 28, 28)), random.integers(0, 10, count)
        for name, array in (("images-idx3", images), ("labels-idx1", labels)):
            header = bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
            (tmp_path / f"{part}-{name}-ubyte").write_bytes(header + array.astype(np.uint8).tobytes())
    files = []
    for name in ("a.mat", "b.mat"):
        done = run("train_lenet.py", ".", "-o", name, "--epochs", 1, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert "epoch 1/1, batch 2/2" in done.stdout
        assert "of 20 test digits" in done.stdout
        files.append(decoding.load_matconvnet(tmp_path / name))
    a, b = files
    assert all((a.layers[i].filters == b.layers[i].filters).all() for i in (0, 2, 4, 6))
    digits = decoding.mnist(tmp_path, "train")[0]
    assert (a.mean == digits.mean(axis=0, dtype=np.float64).astype(np.float32)).all()
    assert [layer.kind for layer in a.layers] == [layer.kind for layer in decoding.lenet().layers]
    assert a.classes == tuple("0123456789")


def test_train_lenet_without_pytorch_says_which_extra_to_install(tmp_path):
    (tmp_path / "torch.py").write_text("raise ImportError('hidden')")
    script = f"import sys, runpy; sys.path.insert(0, '.'); runpy.run_path({str(EXAMPLES / 'train_lenet.py')!r})"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 1
    assert "filter-decoding[train]" in done.stderr
    assert "Traceback" not in done.stderr


def test_natural_draws_the_last_layer_that_can_be_decoded_in_colour(tmp_path, ramp):
    from PIL import Image

    layers = [decoding.Conv(ramp(4, 3, 3, 2)), decoding.MaxPool(3, 2), decoding.Conv(ramp(5, 4, 2, 2), name="last")]
    net = decoding.Network([*layers, decoding.Unsupported("custom", name="end")])
    decoding.save_matconvnet(net, tmp_path / "net.mat")
    done = run("natural.py", "net.mat", "--most", 2, "-o", "out.png", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "out.png: 5 units of layer 3, the 2 with the most energy, 7×6 pixels each" in done.stdout
    picture = np.asarray(Image.open(tmp_path / "out.png"))
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 10
    for arguments, message in {
        ("net.mat", "--layer", "end"): "natural.py: layer 4 'end' (custom): it can neither be run nor decoded",
        ("net.mat", "--layer", "9"): "natural.py: there is no layer 9",
        ("nowhere.mat",): "natural.py: [Errno 2]",
    }.items():
        done = run("natural.py", *arguments, cwd=tmp_path)
        assert done.returncode != 0
        assert done.stderr.startswith(message)
        assert len(done.stderr.splitlines()) == 1


def test_second_order_writes_its_tables_and_pictures(tmp_path):
    pictures, net = tmp_path / "pictures", tmp_path / "net.mat"
    pictures.mkdir()
    random = np.random.default_rng(0)
    for name in range(4):
        image = random.integers(0, 256, (24, 30, 1)).repeat(3, axis=2)
        decoding.save_picture(pictures / f"{name}.png", image.astype(np.uint8))
    layers = [decoding.Conv(random.normal(size=(3, 3, 3, 3))), decoding.ReLU(), decoding.MaxPool(2)]
    layers.append(decoding.Conv(random.normal(size=(2, 3, 2, 2)), name="top"))
    decoding.save_matconvnet(decoding.Network(layers), net)
    done = run("second_order.py", net, pictures, "--reduce", 1, "--stimuli", 3000, "-o", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {
        *("second-order.txt", "second-order.png", "second-order-top.png"),
        *("r.csv", "explained.csv", "pictures.csv", "extremes.csv"),
        *("yardsticks.csv", "yardsticks.png", "gaussian.csv"),
    }
    head, first, last = csv.reader((tmp_path / "out/r.csv").read_text("utf-8").splitlines())
    assert head[3:] == ["identity", "gains, measured", "least squares", "second order, calibrated"]
    assert {float(cell) for cell in first[3:]} == {1}  # nothing bends before it
    assert float(last[-1]) > float(last[3])
    counts, r = csv.reader((tmp_path / "out/pictures.csv").read_text("utf-8").splitlines())
    assert counts == ["pictures", "0", "1", "2", "4", "8", "16", "32", "all"]
    assert float(r[1]) < float(r[-2]) <= 1
    counts, *ways = csv.reader((tmp_path / "out/yardsticks.csv").read_text("utf-8").splitlines())
    assert [way[0].split(", ")[0] for way in ways] == ["second order", "spike-triggered covariance", "mean Hessian"]
    assert all(0 < float(cell) <= 1 for way in ways for cell in way[1:])


def test_what_is_found_from_responses_is_the_form_itself_where_the_response_is_one(monkeypatch):
    """Of stimuli whose moments up to the fourth are those of white Gaussian noise, which three levels have: −√3, 0 (four times), √3."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    yardsticks = importlib.import_module("yardsticks")
    levels = np.sqrt(3) * np.array([-1, 0, 0, 0, 0, 1])
    s = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(-1, 3)
    line, form = np.array([[1, -2, 3.0]]), np.array([[[2, 1, 0], [1, -3, 4], [0, 4, 1.0]]])
    y = s @ line.T + np.einsum("ni,kij,nj->nk", s, form, s) + 7
    found = yardsticks.Triggered.of(s[:100], y[:100]) + yardsticks.Triggered.of(s[100:], y[100:])
    # Means, in single precision, of so many products y·s·s, of which none is larger; and of their means' product.
    error = 2 * len(s) * 2.0**-24 * np.abs(y).max() * 3
    assert np.abs(found.linear - line).max() <= error
    assert np.abs(found.quadratic - form).max() <= error
    first, other = np.eye(4)[:, :2], np.eye(4)[:, 1:3]
    assert yardsticks.inside(first, other) == 0.5


def test_deep_measures_how_far_a_linear_picture_goes(tmp_path):
    done = run("deep.py", "--digits", 12, "--layers", "bn1", "9", "--draw", "block1.0.sum", "-o", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "deep.txt", "deep.csv", "deep.png", "deep-block1.0.sum.png", "cosines.csv",
    }  # fmt: skip
    head, *rows = (line.split(",") for line in (tmp_path / "out" / "deep.csv").read_text().splitlines())
    assert [row[1] for row in rows] == ["bn1", "block1.0.sum"]
    assert {"identity", '"gains', "least squares"} <= set(head)
    assert {"mean of true gradients"} <= set(head)
    assert rows[0][3:] == ["1.000"] * 6  # a first convolution is its filter
    head, (number, name, units, *cells) = csv.reader((tmp_path / "out/cosines.csv").read_text("utf-8").splitlines())
    assert (number, name, units) == ("9", "block1.0.sum", "12")
    median = dict(zip(head[3:], (float(cell.split(" ")[0]) for cell in cells), strict=True))
    assert median["its pattern on images"] > median["decoded filter, with gains"]
    assert len(median) == 5
    done = run("deep.py", "lenet", "--digits", 4, "--layers", "nowhere", cwd=tmp_path)
    assert (done.returncode != 0, len(done.stderr.splitlines())) == (True, 1)
    done = run("deep.py", "lenet", ".", cwd=tmp_path)
    assert "0 pictures given: at least four are needed" in done.stderr


def test_deep_reads_pictures_of_several_sizes(tmp_path, ramp):
    from PIL import Image

    for i in range(4):
        pixels = np.random.default_rng(i).integers(0, 256, (30 + i, 40, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{i}.png")
    layers = [decoding.Conv(ramp(4, 3, 3, 3)), decoding.ReLU(), decoding.Conv(ramp(2, 4, 2, 2))]
    decoding.save_matconvnet(decoding.Network(layers), tmp_path / "net.mat")
    done = run("deep.py", "net.mat", *(f"{i}.png" for i in range(4)), "--reduce", 1, "--brightest", 255, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "no gains without images" in done.stdout
    assert (tmp_path / "deep" / "deep.csv").exists()
