"""The scripts that reproduce the paper run on a few digits, and write the files that they promise."""

import csv
import importlib
import itertools
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


@pytest.mark.slow
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
    """Plain loops over the scheme, against the arrays that are drawn."""
    figure2 = examples("figure2")
    lower, top = np.array(figure2.LOWER), np.array(figure2.TOP)
    unpooled = top.repeat(2, axis=0).repeat(2, axis=1)
    parts = {}
    for (i, j), value in np.ndenumerate(unpooled):
        parts[i, j] = np.zeros((7, 7))
        parts[i, j][i : i + 2, j : j + 2] = value * lower
    drawn = figure2.steps(figure2.network())
    assert (drawn[0] == top).all()
    assert (drawn[1] == unpooled).all()
    assert (np.array(drawn[2]) == [parts[2, 2], parts[5, 5]]).all()
    assert (drawn[3] == sum(parts.values())).all()
    assert (unpooled[2, 2], unpooled[5, 5]) == (2, -1)  # as the words of the picture say


@pytest.mark.slow
def test_table_1_measures_what_its_rows_say(examples, lenet):
    table1 = examples("table1")
    images = lenet.normalize(decoding.mnist()[0][:40]).astype(float)
    errors = table1.table(lenet, images)
    baselines = decoding.baselines
    for layer in (3, 5, 7):
        turned, below = baselines.turned(lenet), baselines.turned(lenet, below=layer)
        filters = {
            "random": baselines.random_filters(lenet, layer),
            "turned": decoding.decode_layer(turned, layer),
            "turned below": decoding.decode_layer(below, layer),
            "zeros inserted": decoding.decode_layer(baselines.zero_insertion(lenet), layer),
            **{
                mode: decoding.decode_layer(lenet, layer, unpool=mode, backend=decoding.fast)
                for mode in table1.INTERPOLATIONS
            },
        }
        assert {name for name, at in errors if at == layer} == {*filters, "least squares"}
        for name, bank in filters.items():
            want = decoding.reconstruction_error(lenet, images, layer, filters=bank, backend=decoding.fast)
            assert (errors[name, layer].per_image == want.per_image).all(), (name, layer)
        assert len(errors["least squares", layer].per_image) == 40


def test_the_floor_is_measured_on_what_it_was_not_fitted_on(examples, lenet):
    table1 = examples("table1")
    pairs = table1.halves(np.arange(9))
    assert all(not set(fitted) & set(measured) for fitted, measured in pairs)
    assert sorted(np.concatenate([measured for _, measured in pairs])) == list(range(9))

    images = lenet.normalize(decoding.mnist()[0][:60]).astype(float)
    fit = decoding.baselines.least_squares_filters(lenet, images[:40], 3, backend=decoding.fast)
    want = decoding.reconstruction_error(
        lenet, images[40:], 3, filters=fit.filters, bias=fit.bias, backend=decoding.fast
    )
    assert (table1.floor(lenet, images[:40], images[40:])[3].per_image == want.per_image).all()


def test_caveats_measure_what_their_rows_say(examples, lenet):
    images = lenet.normalize(decoding.mnist()[0][:20]).astype(float)
    errors = examples("caveats").costs(lenet, images)
    assert max(errors["none: averages, no ReLU, no biases"]) < 1e-20  # of a linear network nothing is left out
    want = [
        decoding.reconstruction_error(
            lenet, images, layer, filters=decoding.decode_layer(lenet, layer), backend=decoding.fast
        )
        for layer in (3, 5, 7)
    ]
    assert errors["all of LeNet"] == [error.mean for error in want]
    assert min(errors["max pools"]) > 0.001
    assert len({tuple(row) for row in errors.values()}) == len(errors)


def test_section_2_inverts_with_the_method_it_names(examples):
    section2, inverse = examples("section2"), decoding.inverse
    bank = np.arange(12.0).reshape(1, 1, 3, 4) % 5
    y = inverse.respond(np.arange(30.0).reshape(1, 1, 5, 6) % 7, bank, border="full")
    want = {
        "substitution": inverse.adjoint(y, bank, border="full"),
        "turned": inverse.turned(y, bank, border="full"),
        "fourier": inverse.fourier(y, bank, border="full"),
        "wiener": inverse.wiener(y, bank, border="full", noise=0.5),
        "least squares": inverse.linear_system(y[0], bank, border="full").image[np.newaxis],
    }
    assert tuple(want) == section2.METHODS
    for method, image in want.items():
        assert (section2.invert(method, y, bank, "full", 0.5) == image).all()
    assert all((a != b).any() for a, b in itertools.combinations(want.values(), 2))


def test_figure_3_refuses_a_digit_that_is_not_there(examples, tmp_path):
    with pytest.raises(SystemExit, match="there is no digit 400"):
        examples("figure3").main(["--digit", "400", "-o", str(tmp_path)])


def test_class_means_by_hand(examples):
    meter = examples("figure4").ClassMeans(1, 1, np.array([5, 1, 5, 2]))
    meter.add(meter.part(np.zeros((3, 1, 1, 1)), np.array([4.0, 1.0, 8.0]).reshape(3, 1, 1, 1), 0))
    meter.add(meter.part(np.zeros((1, 1, 1, 1)), np.array([3.0]).reshape(1, 1, 1, 1), 3))
    assert meter.liking(5).tolist() == [(4 + 8) / 2 - (1 + 3) / 2]


def test_a_page_holds_its_cells(examples):
    panels = examples("panels")
    red = np.zeros((3, 5, 3), np.uint8) + np.array([255, 0, 0], np.uint8)
    page = panels.page([[red, None], [None, red]], gap=2)
    assert page.shape == (3 + 3 + 6, 5 + 5 + 6, 3)
    assert (page[2:5, 2:7] == red).all()
    assert (page[7:10, 9:14] == red).all()
    assert (page == [255, 0, 0]).all(axis=2).sum() == 2 * 15


def test_figure_1_frames_its_diagonal_and_marks_its_maxima(examples):
    figure1 = examples("figure1")
    matrix = np.array([[1.0, 3.0, 2.0], [9.0, 4.0, 8.0], [5.0, 6.0, 7.0]])  # rows' maxima: 1, 0, 2; columns': 1, 2, 1
    found = decoding.evaluation.ResponseMatrix(matrix, np.arange(3), None, None)
    picture, cell = figure1.matrix(found), figure1.CELL
    black = (picture == 0).all(axis=-1)
    middle = cell // 2
    for i, j in itertools.product(range(3), repeat=2):
        own = black[cell * i : cell * (i + 1), cell * j : cell * (j + 1)]
        assert own[0].all() == own[:, -1].all() == (i == j)  # the frame
        assert own[middle, 6:9].all() == (j == [1, 0, 2][i])  # a triangle that points right
        assert own[6:9, middle].all() == (i == [1, 2, 1][j])  # one that points down


def test_numbers_stand_in_their_cells(examples):
    panels = examples("panels")
    picture = panels.numbers([[0, 5], [-5, 1]], 20)
    assert picture.shape == (40, 40, 3)
    corners = picture[[0, 0, 20, 20], [0, 20, 0, 20]].tolist()
    assert corners[:3] == [[221, 221, 221], [180, 4, 38], [59, 76, 192]]
    changed = (picture != picture[::20, ::20].repeat(20, axis=0).repeat(20, axis=1)).any(axis=2)
    assert [changed[r : r + 20, c : c + 20].any() for r in (0, 20) for c in (0, 20)] == [True] * 4
    assert not changed[::20].any()


def test_an_arrows_number_stands_where_no_other_arrow_is(examples):
    place = examples("figures5to7").clear_place((0, 0), (100, 0), [((20, -10), (20, 10)), ((100, -10), (100, 10))])
    assert place.tolist() == pytest.approx([60, 0])


def test_an_outline_runs_around_the_ink(examples):
    image = np.zeros((1, 8, 8), np.uint8)
    image[0, 2:6, 2:6] = 255
    black = (examples("figure4").outlined(np.ones((1, 8, 8)), image, 4) == 0).all(axis=-1)
    rows, columns = black.nonzero()
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (8, 23, 8, 23)
    assert not black[12:20, 12:20].any()


@pytest.mark.slow
def test_the_picture_of_the_classes_is_what_it_says(lenet):
    """Its tiles of decoded filters, and the digits below them; letters are drawn by whatever FreeType comes with Pillow."""
    shown = np.asarray(Image.open(EXAMPLES.parent / "docs/images/classes.png")).astype(int)
    images = decoding.mnist()[0]
    x = lenet.normalize(images)
    best = decoding.top_images(lenet, x, 7, None, n=1, backend=decoding.fast).indices[:, 0]
    wanted = {0: decoding.decode_layer(lenet, 7), 3: np.repeat(127.5 - images[best].astype(float), 3, axis=1)}
    top, left, step = (int(n) for n in _first_tile(shown))
    for row, bank in wanted.items():
        for k in range(10):
            tile = decoding.montage(bank[[k]], zoom=3)[4:-4, 4:-4]
            found = shown[top + step * row : top + step * row + 84, left + step * k : left + step * k + 84]
            assert np.abs(found - tile).max() <= 1


def _first_tile(picture):
    """Where the first row of tiles, whose corners are the grey of zero, begins, and the step to the next."""
    grey = np.abs(picture - 221).max(axis=2) <= 12
    top = next(i for i, row in enumerate(grey) if row.sum() > 400)
    left = int(np.flatnonzero(grey[top])[0])
    return top, left, 84 + 4
