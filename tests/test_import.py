import subprocess
import sys

import decoding


def test_import_is_light():
    code = "import decoding, sys; print([m for m in ('scipy', 'PIL', 'pytest', 'hypothesis') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


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
