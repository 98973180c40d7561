import gzip

import numpy as np
import pytest

from decoding import DataFormatError, InvalidValueError, fast, mnist
from decoding.datasets import read_idx


def idx(array):
    header = bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
    return header + array.astype(np.uint8).tobytes()


@pytest.fixture
def folder(tmp_path):
    """Three training digits, plain, and two test digits, gzipped."""
    digits = np.arange(5 * 28 * 28).reshape(5, 28, 28) % 251
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx(digits[:3]))
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(np.array([7, 0, 9])))
    (tmp_path / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(digits[3:])))
    (tmp_path / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(np.array([2, 1]))))
    return tmp_path


def test_the_bundled_digits():
    images, labels = mnist()
    assert images.shape == (10_000, 1, 28, 28)
    assert images.dtype == np.uint8
    assert (images.min(), images.max()) == (0, 255)
    # How often each digit occurs among the test digits is well known.
    assert np.bincount(labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


@pytest.mark.parametrize(("split", "expected"), [("train", [7, 0, 9]), ("test", [2, 1]), ("all", [7, 0, 9, 2, 1])])
def test_splits(folder, split, expected):
    images, labels = mnist(folder, split)
    assert labels.tolist() == expected
    first = {"train": 0, "test": 3, "all": 0}[split] * 28 * 28
    assert images.shape == (len(labels), 1, 28, 28)
    assert images.ravel()[:300].tolist() == [(first + i) % 251 for i in range(300)]


def test_real_files(real_data):
    images, labels = mnist(real_data / "mnist", "all")
    assert images.shape == (70_000, 1, 28, 28)
    assert (images[60_000:] == mnist()[0]).all()
    assert labels[:5].tolist() == [5, 0, 4, 1, 9]


def damage_truncated(folder):
    path = folder / "train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:-1])


def damage_longer(folder):
    path = folder / "train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes() + b"\0")


def damage_cut_in_the_header(folder):
    (folder / "train-images-idx3-ubyte").write_bytes(b"\0\0\x08\x03\0\0")


def damage_empty(folder):
    (folder / "train-images-idx3-ubyte").write_bytes(b"")


def damage_text(folder):
    (folder / "train-images-idx3-ubyte").write_bytes(b"<html>not found</html>")


def damage_swapped(folder):
    (folder / "train-labels-idx1-ubyte").replace(folder / "train-images-idx3-ubyte")
    (folder / "train-labels-idx1-ubyte").write_bytes(idx(np.array([1])))


def damage_other_letters(folder):
    (folder / "train-labels-idx1-ubyte").write_bytes(idx(np.array([1, 2, 26])))


def damage_other_count(folder):
    (folder / "train-labels-idx1-ubyte").write_bytes(idx(np.array([1, 2])))


def damage_claims_everything(folder):
    (folder / "train-images-idx3-ubyte").write_bytes(b"\0\0\x08\x03" + b"\xff" * 12 + b"\0" * 9)


def damage_cut_gzip(folder):
    path = folder / "train-images-idx3-ubyte"
    whole = gzip.compress(path.read_bytes())
    path.write_bytes(whole[:-100])


def damage_flipped_gzip(folder):
    path = folder / "train-images-idx3-ubyte"
    whole = bytearray(gzip.compress(path.read_bytes()))
    whole[50] ^= 0xFF
    path.write_bytes(whole)


def damage_flipped_in_the_stream(folder):
    path = folder / "train-images-idx3-ubyte"
    whole = bytearray(gzip.compress(path.read_bytes()))
    whole[10:14] = b"\xff" * 4  # no such block type
    path.write_bytes(whole)


def damage_other_size(folder):
    (folder / "train-images-idx3-ubyte").write_bytes(idx(np.zeros((3, 27, 28))))


def damage_floats(folder):
    path = folder / "train-images-idx3-ubyte"
    path.write_bytes(b"\0\0\x0d" + path.read_bytes()[3:])


def damage_seventy_axes(folder):
    (folder / "train-images-idx3-ubyte").write_bytes(b"\0\0\x08\x46" + b"\0\0\0\x01" * 70 + b"\0")


def damage_no_axes(folder):
    (folder / "train-images-idx3-ubyte").write_bytes(b"\0\0\x08\0\0")


def damage_nothing_of_enormous_size(folder):
    (folder / "train-images-idx3-ubyte").write_bytes(b"\0\0\x08\x04" + b"\0" * 4 + b"\xff" * 12)


def damage_bomb(folder):
    zeros = b"\0\0\x08\x03" + (100_000).to_bytes(4, "big") + (28).to_bytes(4, "big") * 2 + bytes(100_000 * 28 * 28)
    (folder / "train-images-idx3-ubyte").write_bytes(gzip.compress(zeros))


DAMAGES = {name[7:]: damage for name, damage in dict(globals()).items() if name.startswith("damage_")}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_named(folder, damage):
    DAMAGES[damage](folder)
    with pytest.raises(DataFormatError, match=r"train-(images-idx3|labels-idx1)-ubyte: "):
        mnist(folder, "train")


def test_missing_files(folder, tmp_path):
    (folder / "train-labels-idx1-ubyte").unlink()
    with pytest.raises(FileNotFoundError, match=r"neither train-labels-idx1-ubyte nor train-labels-idx1-ubyte\.gz"):
        mnist(folder, "train")
    with pytest.raises(FileNotFoundError):
        read_idx(tmp_path / "nothing")


def test_wrong_splits():
    with pytest.raises(InvalidValueError, match="give the folder"):
        mnist(split="train")
    with pytest.raises(InvalidValueError, match="'test', 'all', not 'validation'"):
        mnist(split="validation")


def test_accuracy_of_lenet(lenet):
    images, labels = mnist()
    wrong = lenet.forward(lenet.normalize(images), backend=fast).argmax(axis=1).ravel() != labels
    assert wrong.mean() <= 0.011


def test_lenet_is_the_papers(lenet):
    assert [layer.kind for layer in lenet.layers] == [
        "Conv",
        "MaxPool",
        "Conv",
        "MaxPool",
        "Conv",
        "ReLU",
        "Conv",
        "Softmax",
    ]
    assert [lenet.layers[i].filters.shape for i in (0, 2, 4, 6)] == [
        (20, 1, 5, 5),
        (50, 20, 5, 5),
        (500, 50, 4, 4),
        (10, 500, 1, 1),
    ]
    assert lenet.input_shape == (1, 28, 28)
    assert lenet.mean.shape == (1, 28, 28)
    assert lenet.classes == tuple("0123456789")
    assert lenet.dtype == np.float32
