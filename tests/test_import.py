import ast
import subprocess
import sys
from pathlib import Path

import pytest

import decoding


def test_import_is_light():
    code = "import decoding, sys; print([m for m in ('scipy', 'PIL', 'pytest', 'hypothesis') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_names_are_there_for_readers_of_types_and_for_the_program():
    tree = ast.parse(Path(decoding.__file__).read_text(encoding="utf-8"))
    told = {
        (each.module, name.name) for each in ast.walk(tree) if isinstance(each, ast.ImportFrom) for name in each.names
    }
    told -= {("importlib", "import_module"), ("typing", "TYPE_CHECKING"), ("typing", "Any")}
    assert told == {(module, name) for name, module in decoding._HOME.items()} | {(None, m) for m in decoding._MODULES}


def test_names_are_imported_when_they_are_asked_for():
    code = "import decoding, sys; print('numpy' in sys.modules); {}; print('decoding.explorer' in sys.modules)"
    for then, want in [
        ("decoding.decode_filter", "False"),
        ("from decoding import *", "True"),
        ("dir(decoding)", "False"),
    ]:
        done = subprocess.run([sys.executable, "-c", code.format(then)], capture_output=True, text=True, check=True)
        assert done.stdout.split() == ["False", want]
    assert {*decoding.__all__, *decoding._HOME} <= set(dir(decoding))
    assert decoding.patterns is decoding.activation_patterns.patterns  # no module hides a function
    with pytest.raises(AttributeError, match="module 'decoding' has no attribute 'decode_filtre'"):
        decoding.decode_filtre  # noqa: B018
    with pytest.raises(ImportError, match="decode_filtre"):
        from decoding import decode_filtre  # noqa: F401


def test_public_names():
    for name in [
        "decode_filter",
        "decode_layer",
        "decode",
        "Network",
        "Conv",
        "MaxPool",
        "AvgPool",
        "ReLU",
        "Softmax",
        "load_matconvnet",
        "save_matconvnet",
        "lenet",
        "mnist",
        "threshold",
        "montage",
        "save_picture",
        "reference",
        "fast",
        "reconstruction_error",
        "top_images",
        "response_matrix",
        "contributions",
        "DecodingError",
    ]:
        assert name in decoding.__all__


def test_errors_are_a_family():
    for error, builtin in [
        (decoding.ShapeError, ValueError),
        (decoding.InvalidValueError, ValueError),
        (decoding.UnknownLayerError, LookupError),
        (decoding.UnsupportedLayerError, NotImplementedError),
        (decoding.WeightsFormatError, ValueError),
        (decoding.DataFormatError, ValueError),
        (decoding.ConformanceFailure, AssertionError),
    ]:
        assert issubclass(error, decoding.DecodingError)
        assert issubclass(error, builtin)
