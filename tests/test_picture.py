import os
import tracemalloc

import numpy as np
import pytest
from PIL import Image

import decoding
from decoding import InvalidValueError, ShapeError, montage, save_picture, threshold
from decoding.files import replacing
from decoding.picture import GAP, LINE, WORD, load_font, text_width, wrapped, write_text

ZERO, POSITIVE, NEGATIVE = [221, 221, 221], [180, 4, 38], [59, 76, 192]


def test_threshold_is_at_deviations_of_each_filter():
    bank = np.array([[[[-4, 0, 1, 5]]], [[[-400, 0, 100, 500]]], [[[0, 0, 0, 7]]]])
    assert threshold(bank).tolist() == [[[[-1, 0, 0, 1]]], [[[-1, 0, 0, 1]]], [[[0, 0, 0, 1]]]]
    assert threshold(bank[0], at=0).tolist() == [[[-1, 0, 1, 1]]]
    assert threshold(bank[0], at=2).tolist() == [[[0, 0, 0, 0]]]


def test_threshold_of_the_sum_over_channels():
    bank = np.zeros((2, 3, 1, 4), np.int8)
    bank[0, :, 0] = [[100, -100, 0, 0], [100, -100, 0, 0], [-60, 60, 60, -60]]  # sums 140, -140, 60, -60: beyond int8
    bank[1, 0, 0] = [0, 0, 0, 9]
    assert threshold(bank, sum_channels=True).tolist() == [[[[1, -1, 0, 0]]], [[[0, 0, 0, 1]]]]
    assert threshold(bank[0], sum_channels=True).shape == (1, 1, 4)
    assert threshold(bank[0] * 1e306, sum_channels=True).tolist() == [[[1, -1, 0, 0]]]


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


def test_a_long_label_takes_lines_and_widens_its_own_column_alone():
    bank, zoom = np.ones((4, 1, 2, 2)), 10
    plain = montage(bank, zoom=zoom, labels=["a"] * 4)
    long = "a tabby cat, on a mat " * 5
    picture = montage(bank, zoom=zoom, columns=2, labels=[long, "a", "a", "a"])
    lines = wrapped(long, text_width("tabby"))
    assert len(lines) > 10
    assert picture.shape[1] - plain.shape[1] == text_width("tabby") - 2 * zoom
    assert picture.shape[0] - plain.shape[0] == (len(lines) - 1) * LINE
    tiles = (picture == POSITIVE).all(axis=-1)
    assert tiles.sum() == 4 * 400  # nothing is written over
    assert tiles[
        :, -GAP - 2 * zoom
    ].any()  # the second column follows the first, which is wider, and is as wide as its tile


def test_a_word_of_any_length_is_broken():
    picture = montage(np.ones((1, 1, 2, 2)), labels=["x" * 500])
    assert picture.shape[1] == WORD + 2 * GAP
    text = "supercalifragilistic word\n\nlast"
    lines = wrapped(text, 30)
    assert all(text_width(line) <= 30 for line in lines)
    assert "".join(lines) == text.replace("\n", "").replace(" ", "")
    assert lines[-2:] == ["", "last"]
    assert wrapped("one two", text_width("one two")) == ["one two"]
    assert wrapped("one two", text_width("one two") - 1) == ["one", "two"]


def test_lines_of_a_label_stand_below_each_other():
    (one, two), three = (montage(np.ones((1, 1, 2, 2)), labels=[text]) for text in ("I", "I\nI")), "I I"
    assert two.shape[0] - one.shape[0] == LINE
    dark = (two[GAP + 64 :].min(axis=(1, 2)) < 100).nonzero()[0]
    assert dark.max() - dark.min() > LINE
    assert montage(np.ones((1, 1, 2, 2)), labels=[three]).shape == one.shape


def test_the_title_stands_above_the_tiles():
    plain, titled = montage(np.ones((1, 1, 2, 2))), montage(np.ones((1, 1, 2, 2)), title="All that is\none")
    assert titled.shape[0] == plain.shape[0] + 2 * LINE
    assert (titled[2 * LINE :, : plain.shape[1]] == plain).all()
    assert (titled[: 2 * LINE].min(axis=2) < 100).any()


def test_the_bar_has_the_colours_of_its_numbers():
    bank = np.array([1.0, -2.0]).reshape(2, 1, 1, 1)
    plain, barred = (montage(bank, bar=bar, scale="shared") for bar in (False, True))
    row = barred[len(plain) + 1, GAP:-GAP].tolist()
    assert (row[0], row[-1]) == (NEGATIVE, POSITIVE)
    assert min(sum(map(abs, np.subtract(each, ZERO))) for each in row) < 8
    assert (barred[: len(plain), : plain.shape[1]] == plain).all()
    assert barred[-LINE:].min() < 100  # the numbers
    each = montage(bank, bar=True)
    assert each.shape[0] > barred.shape[0]  # and what "max" is


def test_three_channels_have_a_bar_each():
    barred = montage(np.ones((1, 3, 2, 2)), bar=True)
    ends = [barred[72 + 12 * c + 6, GAP + 1 : -GAP][[0, -1]].tolist() for c in range(3)]
    for c, (low, high) in enumerate(ends):
        assert low[c] < 4
        assert high[c] == 255
        assert {*low[:c], *low[c + 1 :], *high[:c], *high[c + 1 :]} == {128}


def test_a_montage_takes_little_memory_beside_itself():
    bank = np.zeros((300, 1, 60, 60), np.float32)
    montage(bank[:1], labels=["a"])
    tracemalloc.start()
    try:
        picture = montage(bank, zoom=2, labels=range(300), title="three hundred", bar=True)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1.2 * picture.nbytes + 6_000_000 < 2.5 * picture.nbytes  # 6 MB: what is coloured at a time


def test_letters_that_the_font_lacks_are_refused_and_another_font_has_them():
    tile = np.ones((1, 1, 2, 2))
    for text in ("κύκλος", "dog\t", "\ud800", "×"):
        for options in ({"labels": [text]}, {"title": text}):
            with pytest.raises(InvalidValueError, match=r"the font lacks .*font="):
                montage(tile, **options)
    matplotlib = pytest.importorskip("matplotlib", reason="for a font with Greek")
    font = os.path.join(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
    assert (montage(tile, labels=["κύκλος"], font=font) != montage(tile, labels=["κυκλος"], font=font)).any()


def test_a_font_that_is_none_is_refused(tmp_path):
    (tmp_path / "a.ttf").write_bytes(b"no font")
    with pytest.raises(InvalidValueError, match="no TrueType"):
        montage(np.ones((1, 1, 2, 2)), font=tmp_path / "a.ttf")
    with pytest.raises(FileNotFoundError, match="no font"):
        montage(np.ones((1, 1, 2, 2)), font=tmp_path / "b.ttf")
    with pytest.raises(InvalidValueError, match="path of a font"):
        montage(np.ones((1, 1, 2, 2)), font=12)


def test_text_is_cut_at_the_edge_of_a_picture():
    whole = write_text(np.full((20, 60, 3), 255, np.uint8), [(10, 2, "Hand")])
    cut = write_text(np.full((20, 30, 3), 255, np.uint8), [(10, 2, "Hand"), (-100, 0, "far"), (0, 400, "off")])
    assert (cut == whole[:, :30]).all()
    assert (whole < 100).any()
    assert text_width("Hand") <= 60 - 10
    assert load_font(None) is load_font(None)


def test_show_is_the_montage_as_an_image_of_pillow():
    bank = np.arange(-6, 6).reshape(3, 1, 2, 2)
    image = decoding.show(bank, columns=3, labels="abc", title="three", scale="shared", zoom=9, bar=True)
    assert isinstance(image, Image.Image)
    want = montage(bank, columns=3, labels="abc", title="three", scale="shared", zoom=9, bar=True)
    assert (np.asarray(image) == want).all()


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
    "title": (lambda: montage(np.ones((1, 1, 3, 3)), title=3), InvalidValueError, "title must be a text, not 3"),
    "sum of a row": (lambda: threshold(np.ones((3, 3)), sum_channels=True), ShapeError, "for sum_channels"),
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
