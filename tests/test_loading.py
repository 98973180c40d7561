"""Files of any format: the bytes decide what a file is, and the error for one that is no network says how to get one."""

import gzip
import io
import json
import pickle
import struct
import zipfile

import numpy as np
import pytest

import decoding
from decoding import InvalidValueError, WeightsFormatError, load
from decoding.__main__ import main

LENET = decoding.datasets.DATA / "lenet.mat"


def archive(*names):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as packed:
        for name in names:
            packed.writestr(name, b"")
    return file.getvalue()


def safetensors():
    head = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    return struct.pack("<Q", len(head)) + head + bytes(4)


FOREIGN = {
    "keras": (
        archive("config.json", "metadata.json", "model.weights.h5"),
        r'Keras. Load it with Keras, and export it with model.export\("net.onnx"',
    ),
    "keras h5": (b"\x89HDF\r\n\x1a\n" + bytes(500) + b"keras_version" + bytes(99), "an HDF5 file of Keras"),
    "torch": (
        archive("archive/data.pkl", "archive/version"),
        r"PyTorch.*Files that hold pickles are not read.*decoding.from_torch\(module",
    ),
    "torchscript": (archive("m/data.pkl", "m/constants.pkl", "m/code/x.py"), "TorchScript"),
    "torch.export": (archive("m/archive_format", "m/models/model.json"), "program of torch.export"),
    "arrays": (archive("a.npy", "b.npy"), "a NumPy .npz file of arrays"),
    "zip": (archive("readme.txt"), "Unpack it"),
    "broken zip": (b"PK\3\4" + bytes(99), "a zip archive"),
    "pickle": (pickle.dumps({"state_dict": [1.0]}), "a pickle.*Files that hold pickles are not read"),
    "safetensors": (safetensors(), "weights and no graph.*safetensors.torch.load_file"),
    "json": (b'{"layers": []}', "it is JSON"),
    "text": ("Größe: a network in words\n".encode() * 300, "it is text"),
    "gzip": (gzip.compress(b"123"), "gzip"),
    "lite": (struct.pack("<I", 28) + b"TFL3" + bytes(99), "TensorFlow Lite"),
    "picture": (b"\x89PNG\r\n\x1a\n" + bytes(99), "a picture"),
    "empty": (b"", "it is empty"),
}


@pytest.mark.parametrize("case", FOREIGN)
def test_what_is_no_network_is_named_with_the_way_in(case, tmp_path):
    content, match = FOREIGN[case]
    for name in ("net.onnx", "net.mat", "net.bin"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(WeightsFormatError, match=f"(?s)this is no network: .*{match}"):
            load(tmp_path / name)


def test_the_bytes_say_what_it_is_not_the_name(tmp_path):
    (tmp_path / "net.onnx").write_bytes(LENET.read_bytes())
    assert load(tmp_path / "net.onnx", dtype=np.float64).dtype == np.float64
    assert load(str(LENET)) == decoding.lenet()
    with pytest.raises(
        InvalidValueError, match=r"a file of MatConvNet, and there is no option input_shape for it; there are dtype"
    ):
        load(LENET, input_shape=(1, 28, 28))
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "nothing")
    with pytest.raises(IsADirectoryError):
        load(tmp_path)


def test_onnx_files_are_read(tmp_path):
    pytest.importorskip("onnx")
    from onnx_files import model, reals, save

    path = save(
        model([("Conv", "x w", "y")], {"w": reals(3, 4, 1, 1)}, image=("x", (1, 4, "h", "w"))), tmp_path / "net.mat"
    )
    assert load(path, input_shape=(4, 5, 7), std=[1, 2, 3, 4]).input_shape == (4, 5, 7)
    with pytest.raises(InvalidValueError, match="no option shape for it; there are input_shape, mean, std"):
        load(path, shape=(4, 5, 7))
    with pytest.raises(
        WeightsFormatError, match=r"no ONNX file: it is a MatConvNet network. Use decoding.load_matconvnet"
    ):
        decoding.load_onnx(LENET)
    (tmp_path / "weights.pth").write_bytes(FOREIGN["torch"][0])
    with pytest.raises(WeightsFormatError, match="no ONNX file: it is a file of PyTorch"):
        decoding.load_onnx(tmp_path / "weights.pth")


def test_the_command_line_takes_the_image_among_several(tmp_path, capsys):
    pytest.importorskip("onnx")
    from onnx_files import helper, model, reals, save

    other = helper.make_tensor_value_info("z", 1, (1, 4, 6, 9))
    made = model(
        [("Conv", "x w", "a"), ("Add", "a z", "b"), ("Relu", "a", "y")], {"w": reals(4, 4, 1, 1)}, inputs=[other]
    )
    path = str(save(made, tmp_path / "net.onnx"))
    assert main(["show", path]) == 2
    assert "its inputs are 'x', 'z'. Give image=" in capsys.readouterr().err
    assert main(["show", path, "--image", "x"]) == 0
    assert "The input 'z' is not the image" in capsys.readouterr().out
    assert main(["show", path, "--image", "q"]) == 2
    assert "no input 'q'" in capsys.readouterr().err
    assert main(["show", "lenet", "--image", "x"]) == 2
    assert "image" in capsys.readouterr().err
