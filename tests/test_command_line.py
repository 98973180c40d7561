import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import decoding
from decoding.__main__ import main

LENET = str(decoding.datasets.DATA / "lenet.mat")


def test_show_prints_the_table(capsys, lenet):
    assert main(["show", LENET]) == 0
    assert capsys.readouterr().out == f"{lenet}\n"


@pytest.mark.parametrize("layer", ["3", "conv2"])
def test_decode_draws_what_the_functions_draw(tmp_path, capsys, lenet, layer):
    path = tmp_path / "out.png"
    arguments = ["--layer", layer, "--filter", "4", "0", "--unpool", "bicubic", "--threshold", "-o", str(path)]
    assert main(["decode", LENET, *arguments]) == 0
    filters = np.stack([decoding.decode_filter(lenet, 3, k, unpool="bicubic") for k in (4, 0)])
    expected = decoding.montage(decoding.threshold(filters), labels=[4, 0])
    assert (np.asarray(Image.open(path)) == expected).all()
    assert capsys.readouterr().out == f"{path}: 2 decoded filters of layer {layer}, 14×14 each\n"


def test_decode_draws_the_whole_layer(tmp_path, lenet):
    path = tmp_path / "out.png"
    assert main(["decode", LENET, "--layer", "7", "-o", str(path)]) == 0
    expected = decoding.montage(decoding.decode_layer(lenet, 7), labels=range(10))
    assert (np.asarray(Image.open(path)) == expected).all()


def test_decode_draws_as_it_is_told(tmp_path, lenet):
    path = tmp_path / "out.png"
    drawing = ["--zoom", "2", "--columns", "4", "--scale", "shared", "--labels", "--filter", "3-7"]
    assert main(["decode", LENET, "--layer", "7", *drawing, "-o", str(path)]) == 0
    filters = decoding.decode_layer(lenet, 7, units=range(3, 8))
    expected = decoding.montage(filters, zoom=2, columns=4, scale="shared", labels="34567")
    assert (np.asarray(Image.open(path)) == expected).all()


def test_decode_labels_with_the_files_class_names(tmp_path, lenet):
    words = tuple(f"class {k}, the {k}th" for k in range(10))
    decoding.save_matconvnet(lenet.replace(classes=words), tmp_path / "named.mat")
    path = tmp_path / "out.png"
    assert main(["decode", str(tmp_path / "named.mat"), "--layer", "7", "--labels", "-o", str(path)]) == 0
    expected = decoding.montage(decoding.decode_layer(lenet, 7), labels=words)
    assert (np.asarray(Image.open(path)) == expected).all()


def test_threshold_of_colours_is_that_of_their_sum(tmp_path):
    net = decoding.Network([decoding.Conv(np.arange(24.0).reshape(2, 3, 2, 2) % 7)])
    decoding.save_matconvnet(net, tmp_path / "colour.mat")
    for name, sums in (("a.png", True), ("a.npy", False)):
        arguments = ["--layer", "1", "--threshold", "-o", str(tmp_path / name)]
        assert main(["decode", str(tmp_path / "colour.mat"), *arguments]) == 0
        levels = decoding.threshold(net.layers[0].filters, sum_channels=sums)
        if sums:
            want = decoding.montage(levels, labels=range(2))
            assert (np.asarray(Image.open(tmp_path / name)) == want).all()
        else:
            assert (np.load(tmp_path / name) == levels).all()


@pytest.fixture
def files(tmp_path):
    (tmp_path / "text.mat").write_text("This is a text file.\n" * 20)
    (tmp_path / "empty.mat").write_bytes(b"")
    os.mkfifo(tmp_path / "pipe.mat")
    with open(LENET, "rb") as file:
        (tmp_path / "truncated.mat").write_bytes(file.read()[:100_000])
    return tmp_path


WRONG = {
    "no such command": (["draw"], "invalid choice"),
    "no file": (["show"], "FILE"),
    "no layer": (["decode", LENET, "-o", "out.png"], "--layer"),
    "no output": (["decode", LENET, "--layer", "1"], "--output"),
    "filter of words": (["decode", LENET, "--layer", "1", "--filter", "a", "-o", "out.png"], "invalid int value: 'a'"),
    "interpolation": (["decode", LENET, "--layer", "1", "--unpool", "area", "-o", "out.png"], "'bicubic'"),
    "missing file": (["show", "missing.mat"], "missing.mat"),
    "folder": (["show", "."], "decoding: "),
    "text file": (["show", "text.mat"], "text.mat"),
    "empty file": (["show", "empty.mat"], "empty.mat"),
    "truncated file": (["show", "truncated.mat"], "truncated.mat"),
    "layer 9": (["decode", LENET, "--layer", "9", "-o", "out.png"], "layers count from 1 to 8"),
    "negative layer": (["decode", LENET, "--layer", "-1", "-o", "out.png"], "layers count from 1 to 8"),
    "twice negative layer": (["decode", LENET, "--layer=--5", "-o", "out.png"], "no layer is named '--5'"),
    "pipe": (["show", "pipe.mat"], "is not a file but a pipe or a device"),
    "unknown name": (["decode", LENET, "--layer", "conv9", "-o", "out.png"], "no layer is named 'conv9'"),
    "unit 20": (["decode", LENET, "--layer", "1", "--filter", "20", "-o", "out.png"], "has no unit 20"),
    "ending": (["decode", LENET, "--layer", "1", "-o", "out.txt"], "should end in one of"),
    "zoom": (["decode", LENET, "--layer", "1", "--zoom", "0", "-o", "out.png"], "give a number from 1"),
    "labels of layer 1": (["decode", LENET, "--layer", "1", "--labels", "-o", "out.png"], "has 20 units"),
    "label of unit 10": (
        ["decode", LENET, "--layer", "7", "--labels", "--filter", "10", "-o", "out.png"],
        "no unit 10",
    ),
    "font": (["decode", LENET, "--layer", "1", "--font", "text.mat", "-o", "out.png"], "no TrueType or OpenType font"),
    "no folder": (["decode", LENET, "--layer", "1", "-o", "nowhere/out.png"], "nowhere"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_arguments_and_bad_files_end_in_one_line_and_status_2(case, files, monkeypatch, capsys):
    monkeypatch.chdir(files)
    before = sorted(files.iterdir())
    arguments, message = WRONG[case]
    try:
        status = main(arguments)
    except SystemExit as stop:  # argparse's
        status = stop.code
    out, err = capsys.readouterr()
    assert status == 2
    assert out == ""
    assert len(err.splitlines()) == 1
    assert message in err
    assert sorted(files.iterdir()) == before


def test_it_runs_as_a_module():
    done = subprocess.run([sys.executable, "-m", "decoding", "show", "missing.mat"], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("decoding: ")
    assert "Traceback" not in done.stderr
