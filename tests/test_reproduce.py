"""The scripts that reproduce the paper run, and write what they say; on a few digits."""

import csv
import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import decoding

EXAMPLES = Path(__file__).parents[1] / "examples"
SCRIPTS = [path.stem for path in EXAMPLES.glob("*.py")]


@pytest.fixture
def examples(monkeypatch):
    """Imports a script by name; MNIST is 400 digits."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    images, labels = decoding.mnist()
    monkeypatch.setattr(decoding, "mnist", lambda folder=None, split="test": (images[:400], labels[:400]))
    yield importlib.import_module
    for name in SCRIPTS:
        sys.modules.pop(name, None)


def test_everything_is_reproduced_and_indexed(examples, tmp_path):
    examples("reproduce").main(["-o", str(tmp_path)])
    index = (tmp_path / "index.html").read_text(encoding="utf-8")
    pictures = sorted(path.name for path in tmp_path.glob("*.png"))
    assert pictures == [
        *(f"figure{n}.png" for n in (1, 2, 3)),
        *(f"figure4-layer{n}.png" for n in (1, 3, 5, 7)),
        *(f"figure{n}.png" for n in (5, 6, 7)),
    ]
    for name in pictures:
        assert f"src='{name}'" in index
        with Image.open(tmp_path / name) as picture:
            assert min(picture.size) > 100
            assert max(picture.size) < 1400
            assert len(np.unique(np.asarray(picture).reshape(-1, 3), axis=0)) > 5
    for name in ("table1.txt", "section2-recovery.txt", "section2-ranks.txt", "caveats.txt"):
        assert (tmp_path / name).read_text(encoding="utf-8").splitlines()[0] in index

    records = json.loads((tmp_path / "table1.json").read_text(encoding="utf-8"))
    with open(tmp_path / "table1.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(records) == 24
    assert [float(row["mean"]) for row in rows] == [record["mean"] for record in records]
    paper = {(record["filters"], record["layer"]): record for record in records if record["paper_mean"] is not None}
    assert len(paper) == 9
    for record in paper.values():
        assert abs(record["mean"] - record["paper_mean"]) <= 2 * record["paper_std"]
    assert "the paper's" in (tmp_path / "table1.txt").read_text(encoding="utf-8")


def test_figure_2_shows_what_the_package_computes(examples):
    figure2 = examples("figure2")
    lower, top = np.array(figure2.LOWER), np.array(figure2.TOP)
    unpooled = top.repeat(2, axis=0).repeat(2, axis=1)
    total = np.zeros((7, 7))
    for (i, j), value in np.ndenumerate(unpooled):
        total[i : i + 2, j : j + 2] += value * lower
    net = decoding.Network([decoding.Conv([[lower]]), decoding.MaxPool(2), decoding.Conv([[top]])])
    assert (decoding.decode_filter(net, 3, 0)[0] == total).all()


def test_figure_3_refuses_a_digit_that_is_not_there(examples, tmp_path):
    with pytest.raises(SystemExit, match="there is no digit 400"):
        examples("figure3").main(["--digit", "400", "-o", str(tmp_path)])


def test_class_means_by_hand(examples):
    meter = examples("figure4").ClassMeans(1, 1, np.array([5, 1, 5, 2]))
    meter.update(np.zeros((3, 1, 1, 1)), np.array([4.0, 1.0, 8.0]).reshape(3, 1, 1, 1))
    meter.update(np.zeros((1, 1, 1, 1)), np.array([3.0]).reshape(1, 1, 1, 1))
    assert meter.liking(5).tolist() == [(4 + 8) / 2 - (1 + 3) / 2]


def test_a_page_holds_its_cells(examples):
    panels = examples("panels")
    red = np.zeros((3, 5, 3), np.uint8) + np.array([255, 0, 0], np.uint8)
    page = panels.page([[red, None], [None, red]], gap=2)
    assert page.shape == (3 + 3 + 6, 5 + 5 + 6, 3)
    assert (page[2:5, 2:7] == red).all()
    assert (page[7:10, 9:14] == red).all()
    assert (page == [255, 0, 0]).all(axis=2).sum() == 2 * 15
