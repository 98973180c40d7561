"""A folder of pictures as images: each is read when it is needed, and a file that is no picture is an error that names it."""

import multiprocessing
import os
import pickle
import struct
import zlib
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

import decoding
from decoding import Conv, DataFormatError, InvalidValueError, Network, ShapeError, folder, images_in

RAMP = np.arange(60, dtype=np.uint8).reshape(4, 5, 3) * 4


@pytest.fixture
def place(tmp_path):
    """Pictures of 4×5: b.png in colours, a.tif of the first channel, c.JPG grey all over."""
    Image.fromarray(RAMP).save(tmp_path / "b.png")
    Image.fromarray(RAMP[..., 0]).save(tmp_path / "a.tif")
    Image.fromarray(np.full((4, 5, 3), 40, np.uint8)).save(tmp_path / "c.JPG", format="jpeg")
    (tmp_path / ".hidden").touch()
    (tmp_path / "more").mkdir()
    return tmp_path


def test_pictures_come_sorted_in_their_own_colours(place):
    found = images_in(place)
    assert [path.name for path in found.paths] == ["a.tif", "b.png", "c.JPG"]
    assert len(found) == 3
    assert (found[0] == RAMP[np.newaxis, np.newaxis, ..., 0]).all()
    assert (found[1] == RAMP.transpose(2, 0, 1)[np.newaxis]).all()
    assert (found[-1] == np.full((1, 3, 4, 5), 40)).all()
    assert [image.dtype for image in found] == [np.uint8] * 3
    assert repr(found) == f"<3 pictures of '{place}'>"


def test_a_mode_makes_them_all_alike(place):
    grey, colour = images_in(place, mode="L"), images_in(place, mode="RGB")
    assert [image.shape for image in grey] == [(1, 1, 4, 5)] * 3
    assert [image.shape for image in colour] == [(1, 3, 4, 5)] * 3
    assert (colour[0] == RAMP[np.newaxis, np.newaxis, ..., 0]).all()
    assert (np.asarray(grey) == np.concatenate(list(grey))).all()


def test_parts_of_a_folder_are_such_sequences(place):
    found = images_in(place, mode="L")
    assert [path.name for path in found[1:].paths] == ["b.png", "c.JPG"]
    assert [path.name for path in found[::-2].paths] == ["c.JPG", "a.tif"]
    assert (found[1:][0] == found[1]).all()
    with pytest.raises(IndexError):
        found[3]


@pytest.mark.parametrize(
    ("size", "want"),
    [(4, [1, 2, 3, 4]), ((2, 6), [0, 1, 2, 3, 4, 5]), ((2, 3), [1, 2, 3]), (1, [2])],
)
def test_a_size_is_covered_and_the_middle_cut_out(size, want, tmp_path):
    """Columns of one value each are told apart however tall they are; two rows, six columns."""
    columns = np.repeat(np.arange(6, dtype=np.uint8) * 40, 1)
    Image.fromarray(np.tile(columns, (4, 1))).save(tmp_path / "a.png")
    rows, _ = (size, size) if isinstance(size, int) else size
    found = images_in(tmp_path, size=size)[0]
    if rows == 4 or size == (2, 6):  # nothing is scaled
        assert (found[0, 0] == columns[want]).all()
    assert found.shape == (1, 1, rows, len(want))


def test_scaling_is_even(tmp_path):
    Image.fromarray(np.full((40, 60), 7, np.uint8)).save(tmp_path / "a.png")
    Image.fromarray(np.full((3, 2), 7, np.uint8)).save(tmp_path / "b.png")
    for image in images_in(tmp_path, size=(9, 11)):
        assert (image == np.full((1, 1, 9, 11), 7)).all()
    assert images_in(tmp_path, shrink=20)[0].shape == (1, 1, 2, 3)
    assert images_in(tmp_path, shrink=20)[1].shape == (1, 1, 1, 1)


def test_sixteen_bits_lose_the_lower_eight(tmp_path):
    deep = (RAMP[..., 0].astype(np.uint16) << 8) + 77
    Image.fromarray(deep).save(tmp_path / "a.png")
    Image.fromarray(deep).save(tmp_path / "b.tif")
    for image in images_in(tmp_path):
        assert (image == RAMP[..., 0]).all()
    assert images_in(tmp_path, mode="RGB")[0].shape == (1, 3, 4, 5)


@pytest.mark.parametrize("kind", ["1", "P", "RGBA", "CMYK", "LA"])
def test_other_kinds_of_pixels_become_grey_or_colours(kind, tmp_path):
    ending = "tif" if kind == "CMYK" else "png"
    Image.fromarray(RAMP).convert(kind).save(tmp_path / f"a.{ending}")
    assert images_in(tmp_path)[0].shape == (1, 1 if kind in ("1", "LA") else 3, 4, 5)


def test_what_is_no_picture_is_one_line_or_left_out(place):
    (place / "notes.txt").write_text("none")
    (place / "d.png").write_text("none")
    with pytest.raises(
        DataFormatError, match=r"images_in: .* holds 1 file that is no PNG, JPEG or TIFF: notes.txt. Give skip=True"
    ):
        images_in(place)
    found = images_in(place, skip=True)
    assert len(found) == 3
    assert found.skipped == ["d.png", "notes.txt"]
    assert "no pictures: d.png, notes.txt" in repr(found)
    (place / "notes.txt").unlink()
    with pytest.raises(DataFormatError, match=r"d.png' cannot be read as a picture: cannot identify"):
        list(images_in(place))


def _broken(place):
    path = place / "b.png"
    path.write_bytes(path.read_bytes()[:50])


def _large(place):
    """A file of some bytes that promises 10¹⁰ pixels."""
    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 9)), (b"IEND", b"")]
    parts = [
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    ]
    (place / "b.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))


def _floating(place):
    (place / "b.png").unlink()
    Image.fromarray(np.ones((4, 5), np.float32)).save(place / "b.tif")


def _gone(place):
    (place / "b.png").unlink()


def _pipe(place):
    (place / "b.png").unlink()
    os.mkfifo(place / "b.png")


def _gif(place):
    Image.fromarray(RAMP).save(place / "b.png", format="gif")


BROKEN = {
    "broken": (_broken, DataFormatError, "b.png' cannot be read as a picture"),
    "large": (_large, DataFormatError, "b.png' has .*pixels"),
    "floating": (_floating, DataFormatError, "b.tif' has pixels of the kind 'F', whose range is not known"),
    "a pipe": (_pipe, DataFormatError, "b.png' is not a file but a pipe"),
    "another format": (_gif, DataFormatError, "b.png' cannot be read as a picture"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_file_that_cannot_be_read_is_named_where_it_is_read(case, place):
    breaking, error, text = BROKEN[case]
    breaking(place)
    found = images_in(place, mode="L")
    assert found[0].shape == (1, 1, 4, 5)
    with pytest.raises(error, match=text):
        found[1]
    with ThreadPoolExecutor(2) as pool, pytest.raises(error, match=f"images from 1: .*{text}"):
        decoding.measure(NET, found, [decoding.TopImagesMeter(NET, 1)], batch_size=1, executor=pool)


def test_a_file_that_is_gone_is_told(place):
    found = images_in(place)
    _gone(place)
    with pytest.raises(FileNotFoundError, match=r"b.png' is not there\. If workers read it: they need the same folder"):
        found[1]


def test_a_picture_of_more_pixels_than_are_taken_is_not_read(place, monkeypatch):
    monkeypatch.setattr(folder, "MOST_PIXELS", 19)
    with pytest.raises(DataFormatError, match=r"a.tif' has 4×5 pixels, and at most 19 are taken"):
        images_in(place)[0]


OPTIONS = {
    "no folder": (lambda place: images_in(place / "no"), FileNotFoundError, "there is no folder"),
    "a file": (lambda place: images_in(place / "b.png"), NotADirectoryError, "there is no folder"),
    "an empty one": (lambda place: images_in(place / "more"), DataFormatError, "holds no PNG"),
    "a mode": (lambda place: images_in(place, mode="F"), InvalidValueError, "mode must be 'L' or 'RGB' or None, not 'F'"),
    "a size": (lambda place: images_in(place, size=0), ShapeError, "size must be at least 1"),
    "shrink": (lambda place: images_in(place, shrink=0), InvalidValueError, "shrink must be an integer"),
    "a path": (lambda place: images_in(4), InvalidValueError, "folder must be a path"),
    "a function": (lambda place: images_in(place).map(3), InvalidValueError, "function must be a function of one image, not 3"),
    "two sizes as one array": (lambda place: np.asarray(images_in(place)), ShapeError, r"b.png' is 3×4×5, and 'a.tif' 1×4×5|give size="),
}  # fmt: skip


@pytest.mark.parametrize("case", OPTIONS)
def test_what_cannot_be_is_told(case, place):
    call, error, text = OPTIONS[case]
    with pytest.raises(error, match=text):
        call(place)


NET = Network([Conv([[[[1.0, -2]]], [[[3, 1]]]])])


def test_wherever_images_are_taken_a_folder_is(place):
    """As the arrays would be; with a mean, normalized when they are read."""
    net = NET.replace(mean=[9], std=[2])
    pictures = images_in(place, mode="L")
    arrays, normalized = net.normalize(np.concatenate(list(pictures))), net.normalize(pictures)
    assert isinstance(normalized, folder.FolderOfImages)
    with pytest.raises(InvalidValueError, match=r"net.normalize"):
        decoding.top_images(net, pictures, 1, 0)

    def found(images):
        yield net.forward(images)
        yield decoding.decoded_responses(net, images, 1)
        yield decoding.reconstruction_error(net, images, 1, contrast=None).per_image
        yield decoding.top_images(net, images, 1, None).responses
        yield decoding.response_matrix(net, images, 1).matrix
        yield decoding.patterns(net, images, 1)
        yield decoding.autocovariance(images, 2).pairs
        yield decoding.covariance(images).total

    for one, other in zip(found(normalized), found(arrays), strict=True):
        assert (one == other).all()
    assert decoding.linearize(net, normalized) == decoding.linearize(net, arrays)
    assert decoding.quadratize(net, normalized) == decoding.quadratize(net, list(normalized))  # in the same batches


class Readers:
    """Which process read each image: it is written into every picture when it is read."""

    layer = 0

    def __init__(self):
        self.found, self.done = set(), []

    def part(self, images, responses, start):
        return images.max(), images.shape

    def add(self, part):
        self.found.add(part[0])
        self.done.append(part[1])


def signed(image):
    return np.full(image.shape, float(os.getpid()))


def test_it_pickles_and_is_read_in_workers_which_may_run_in_another_folder(place, monkeypatch):
    monkeypatch.chdir(place)
    pictures = images_in(".", mode="L").map(signed)
    content = pickle.dumps(pictures)
    monkeypatch.chdir(place / "more")
    assert pickle.loads(content)[1].shape == (1, 1, 4, 5)
    monkeypatch.chdir(place)
    meter = Readers()
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        assert decoding.measure(NET, pictures, [meter], executor=pool, batch_size=2) == 3
    assert os.getpid() not in meter.found
    assert meter.done == [(2, 1, 4, 5), (1, 1, 4, 5)]  # as many together as are a batch
    with pytest.raises(InvalidValueError, match=r"the sequence of images cannot be sent to another process.*lambda"):
        decoding.measure(NET, pictures.map(lambda image: image), [meter], executor=ProcessPoolExecutor(1))
