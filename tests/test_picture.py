import os

import numpy as np
import pytest
from PIL import Image

from decoding import InvalidValueError, ShapeError, montage, save_picture, threshold
from decoding.files import replacing

ZERO, POSITIVE, NEGATIVE = [221, 221, 221], [180, 4, 38], [59, 76, 192]


def test_threshold_is_at_deviations_of_each_filter():
    bank = np.array([[[[-4, 0, 1, 5]]], [[[-400, 0, 100, 500]]], [[[0, 0, 0, 7]]]])
    assert threshold(bank).tolist() == [[[[-1, 0, 0, 1]]], [[[-1, 0, 0, 1]]], [[[0, 0, 0, 1]]]]
    assert threshold(bank[0], at=0).tolist() == [[[-1, 0, 1, 1]]]
    assert threshold(bank[0], at=2).tolist() == [[[0, 0, 0, 0]]]


@pytest.mark.parametrize("constant", [0, 5, -0.1])
def test_a_constant_filter_has_no_strokes(constant):
    assert not threshold(np.full((2, 3, 5), constant)).any()


def test_colours_of_one_channel():
    picture = montage([[[[-2, 0, 1, 2]]]], zoom=1)
    assert picture.shape == (1 + 8, 4 + 8, 3)
    assert picture.dtype == np.uint8
    row = picture[4, 4:8].tolist()
    assert row[0] == NEGATIVE
    assert row[1] == ZERO
    assert row[3] == POSITIVE
    assert row[2] == [round((a + b) / 2) for a, b in zip(ZERO, POSITIVE, strict=True)]


def test_colours_of_three_channels_are_true_around_mid_grey():
    filters = np.zeros((1, 3, 1, 4))
    filters[0, 0, 0] = [4, -4, 0, 0]
    filters[0, 2, 0, 3] = 2
    assert montage(filters, zoom=1)[4, 4:8].tolist() == [
        [255, 128, 128],
        [0, 128, 128],
        [128, 128, 128],
        [128, 128, 191],
    ]


def test_scales():
    bank = [[[[1, 0]]], [[[4, 0]]]]
    each, shared = (montage(bank, columns=2, scale=scale, zoom=1)[4] for scale in ("each", "shared"))
    first, second = 4, 4 + 2 + 4
    assert each[first].tolist() == each[second].tolist() == shared[second].tolist() == POSITIVE
    assert shared[first].tolist() == [round(z + (p - z) / 4) for z, p in zip(ZERO, POSITIVE, strict=True)]


def test_zeros_are_drawn_in_the_colour_of_zero():
    for scale in ("each", "shared"):
        assert (montage(np.zeros((1, 1, 2, 3)), scale=scale, zoom=1)[4:6, 4:7] == ZERO).all()


def test_tiles_stand_in_rows_with_gaps():
    picture = montage(np.ones((5, 1, 2, 3)), columns=3, zoom=2)
    assert picture.shape == (2 * (4 + 4) + 4, 3 * (6 + 4) + 4, 3)
    tile = (picture == POSITIVE).all(axis=-1)
    assert tile.sum() == 5 * 4 * 6
    assert (picture[~tile] == 255).all()
    assert tile[4:8, 4:10].all()
    assert tile[12:16, 14:20].all()
    assert not tile[12:16, 24:30].any()


@pytest.mark.parametrize(("side", "zoom"), [(5, 13), (14, 5), (28, 3), (64, 1), (200, 1)])
def test_small_filters_are_enlarged_until_they_can_be_seen(side, zoom):
    assert montage(np.ones((1, 1, side, 3))).shape == (side * zoom + 8, 3 * zoom + 8, 3)
    assert montage(np.ones((1, 1, 3, side))).shape == (3 * zoom + 8, side * zoom + 8, 3)


def test_labels_are_written_below_and_not_over_the_tiles():
    bank = np.ones((4, 1, 2, 2))
    plain, labelled = montage(bank, zoom=10), montage(bank, zoom=10, labels=np.array(["a", "b", "3", "a long one"]))
    assert (labelled == POSITIVE).all(axis=-1).sum() == (plain == POSITIVE).all(axis=-1).sum() == 4 * 400
    assert (labelled.min(axis=-1) < 100).sum() > (plain.min(axis=-1) < 4).sum()
    assert labelled.shape[1] > plain.shape[1]


@pytest.mark.parametrize("ending", ["png", "PNG", "tiff"])
def test_save_picture_round_trip(tmp_path, ending):
    picture = montage(np.arange(-6, 6).reshape(1, 3, 2, 2), zoom=3)
    path = tmp_path / f"a.{ending}"
    save_picture(path, picture)
    assert (np.asarray(Image.open(path)) == picture).all()
    save_picture(path, picture[..., 0])
    assert (np.asarray(Image.open(path)) == picture[..., 0]).all()
    assert os.listdir(tmp_path) == [path.name]


def test_the_old_file_is_whole_until_the_new_one_is(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"old")

    def interrupted():
        with replacing(path) as file:
            file.write(b"half of the ne")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_bytes() == b"old"
    with replacing(path) as file:
        file.write(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["a.png"]


def test_a_picture_that_fails_to_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    save_picture(path, GREY)
    old = path.read_bytes()

    def full(image, file, format):
        file.write(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(OSError, match="no space left"):
        save_picture(path, GREY + np.uint8(1))
    assert path.read_bytes() == old
    assert os.listdir(tmp_path) == ["a.png"]


GREY = np.zeros((4, 5), np.uint8)
REFUSED = {
    "two channels": (lambda: montage(np.ones((1, 2, 3, 3))), ShapeError, r"1 channel \(grey\) or 3 \(colour\)"),
    "three axes": (lambda: montage(np.ones((1, 3, 3))), ShapeError, "four axes"),
    "no filters": (lambda: montage(np.ones((0, 1, 3, 3))), ShapeError, "at least one"),
    "NaN": (lambda: montage([[[[1.0]]], [[[np.nan]]]]), InvalidValueError, r"the first, nan, is at \(1, 0, 0, 0\)"),
    "scale": (lambda: montage(np.ones((1, 1, 3, 3)), scale="all"), InvalidValueError, "'each' or 'shared'"),
    "labels": (lambda: montage(np.ones((1, 1, 3, 3)), labels="ab"), ShapeError, "2 labels for 1 filter"),
    "zoom": (lambda: montage(np.ones((1, 1, 3, 3)), zoom=0), InvalidValueError, "zoom must be an integer"),
    "columns": (lambda: montage(np.ones((1, 1, 3, 3)), columns=-1), InvalidValueError, "columns must be an integer"),
    "threshold of NaN": (lambda: threshold([[np.nan, 1]]), InvalidValueError, "not finite"),
    "threshold at": (lambda: threshold([[0, 1]], at=-1), InvalidValueError, "0 or more"),
    "threshold of a row": (lambda: threshold([0, 1]), ShapeError, r"\(2,\)"),
    "floats": (lambda: save_picture("a.png", np.zeros((4, 5))), InvalidValueError, "uint8, not float64"),
    "four channels": (lambda: save_picture("a.png", np.zeros((4, 5, 4), np.uint8)), ShapeError, r"\(4, 5, 4\)"),
    "ending": (lambda: save_picture("a.docx", GREY), InvalidValueError, "should end in one of .png"),
    "no ending": (lambda: save_picture("a", GREY), InvalidValueError, "should end in one of .png"),
    "ragged": (lambda: threshold([[0, 1], [2]]), ShapeError, "ragged"),
    "folder": (lambda: save_picture("nowhere/a.png", GREY), FileNotFoundError, "nowhere"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    call, error, message = REFUSED[case]
    with pytest.raises(error, match=message):
        call()
    assert os.listdir(tmp_path) == []
