"""Situations in which users of this and of similar projects made mistakes; each test is named after its situation."""

import copy
import gzip
import io
import os
import pickle
import signal
import stat
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from by_day import partly

import decoding
from decoding import (
    AvgPool,
    BatchNorm,
    Conv,
    DataFormatError,
    DecodingError,
    InvalidValueError,
    MaxPool,
    Network,
    ReLU,
    Select,
    ShapeError,
    Softmax,
    Sum,
    UnknownLayerError,
    UnsupportedLayerError,
    baselines,
    contributions,
    decode,
    decode_filter,
    decode_layer,
    decoded_responses,
    inverse,
    iterate_layer,
    measure,
    mnist,
    montage,
    reconstruction_error,
    response_matrix,
    save_picture,
    threshold,
    top_images,
)
from decoding.datasets import read_idx
from decoding.evaluation import ReconstructionMeter, TopImagesMeter
from decoding.testing import vectors

LENET = str(decoding.datasets.DATA / "lenet.mat")
IMAGES = np.random.default_rng(0).standard_normal((5, 1, 6, 7))
NET = Network(
    [Conv(np.arange(12.0).reshape(2, 1, 2, 3) - 5), MaxPool(2), ReLU(), Conv(np.arange(12.0).reshape(3, 2, 2, 1) - 4)],
    mean=[0.5],
    input_shape=(1, 6, 7),
)


# Silent and wrong: copies that thaw


def arrays_of(net):
    yield from (array for array in (net.mean, net.std) if array is not None)
    for layer in net.layers:
        yield from layer.weights.values()
        yield from (value for value in (layer.gain, getattr(layer, "dense", None)) if isinstance(value, np.ndarray))


FROZEN = Network(
    [
        Conv(np.ones((4, 1, 2, 2)), np.ones(4), groups=2, dilation=2),
        BatchNorm([1, 2, 3, 4], mean=[0] * 4, std=[1] * 4),
        ReLU(gain=[1, 2, 3, 4]),
        Select([0, 2]),
    ],
    mean=[1, 2],
    std=[3, 4],
)
COPIES = {
    "pickle": lambda x: pickle.loads(pickle.dumps(x)),
    "oldest pickle": lambda x: pickle.loads(pickle.dumps(x, 0)),
    "deepcopy": copy.deepcopy,
    "copy": copy.copy,
    "replace": lambda x: x.replace(),
}


@pytest.mark.parametrize("made", COPIES)
def test_weights_that_thaw_in_a_copy(made):
    decode_layer(FROZEN, 4)  # fills the caches
    other = COPIES[made](FROZEN)
    assert other == FROZEN
    found = list(arrays_of(other))
    assert len(found) == len(list(arrays_of(FROZEN))) >= 9
    for array in found:
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 7
    for layer in FROZEN:
        assert COPIES[made](layer) == layer
    assert (decode_layer(other, 4) == decode_layer(FROZEN, 4)).all()


def test_a_cached_dense_bank_that_outlives_its_weights():
    conv = FROZEN.layers[0]
    assert conv.dense.any()
    changed = conv.replace(filters=2 * conv.filters)
    assert (changed.dense == 2 * conv.dense).all()
    with pytest.raises(AttributeError):
        conv.filters = changed.filters


# Silent and wrong: masks that are dropped

MASKED = np.ma.masked_equal(np.ones((2, 1, 2, 2)) * [[1, 2], [3, 4]], 4)
TAKES_ARRAYS = {
    "weights": lambda: Conv(MASKED),
    "bias": lambda: Conv(np.ones((2, 1, 1, 1)), np.ma.masked_equal([1, 2], 2)),
    "images": lambda: Network([Conv(np.ones((1, 1, 2, 2)))]).forward(MASKED),
    "list of images": lambda: Network([Conv(np.ones((1, 1, 2, 2)))]).forward(list(MASKED)),
    "batches": lambda: reconstruction_error(Network([Conv(np.ones((1, 1, 1, 1)))]), iter([MASKED]), 1),
    "maps": lambda: decode(Network([ReLU()], input_shape=(1, 2, 2)), 1, MASKED),
    "mean": lambda: Network([ReLU()], mean=MASKED[0]),
    "std": lambda: Network([ReLU()], std=MASKED[0]),
    "normalize": lambda: NET.normalize(MASKED),
    "gain": lambda: ReLU(gain=np.ma.masked_equal([1, 2], 2)),
    "moments": lambda: BatchNorm(np.ma.masked_equal([1, 2], 2)),
    "operator": lambda: decoding.fast.relu(MASKED),
    "reference operator": lambda: decoding.reference.substitute(MASKED, np.ones((1, 1, 1, 1))),
    "threshold": lambda: threshold(MASKED),
    "montage": lambda: montage(MASKED),
    "picture": lambda: save_picture("never.png", np.ma.masked_equal(np.ones((3, 3), np.uint8), 1)),
    "labels": lambda: response_matrix(NET, IMAGES, 4, labels=np.ma.masked_equal([0, 1, 2, 0, 1], 2)),
    "filters": lambda: inverse.adjoint(np.ones((1, 2, 3, 3)), MASKED),
    "per pixel": lambda: NET.per_pixel(MASKED),
}


@pytest.mark.parametrize("taken", TAKES_ARRAYS)
def test_masked_values_taken_for_what_lies_below_the_mask(taken):
    with pytest.raises(InvalidValueError, match=r"masked values.*fill them.*leave them out"):
        TAKES_ARRAYS[taken]()


def test_a_masked_array_without_a_masked_value_is_an_array():
    assert (Conv(np.ma.array(np.ones((1, 1, 2, 2)))).filters == 1).all()


# Silent and wrong: scales

SCALES = [2.0**-1022, 1e-200, 1e-165, 1e155, 1e300]


@pytest.mark.parametrize("scale", SCALES)
def test_threshold_of_tiny_and_huge_filters(scale):
    df = np.random.default_rng(1).standard_normal((3, 1, 5, 7))
    assert (threshold(scale * df) == threshold(df)).all()
    assert threshold(df).any()
    assert (threshold(scale * df, at=0) == np.sign(df)).all()


def test_threshold_of_a_filter_of_many_magnitudes_keeps_signs_at_zero():
    assert threshold([[1e300, 1e-300, -5e-324, 0]], at=0).tolist() == [[1, 1, -1, 0]]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("scale", [1, 1e-30, 1e30])
def test_threshold_of_a_filter_that_is_constant_but_for_rounding(dtype, scale):
    eps = np.finfo(dtype).eps
    noise = np.random.default_rng(0).integers(-9, 10, (2, 1, 5, 7)) * eps
    assert not threshold((scale * np.array([[[[1.0]]], [[[-0.1]]]]) * (1 + noise)).astype(dtype)).any()
    assert not threshold(np.full((1, 5, 5), 0.1, dtype)).any()
    assert threshold(np.array([[[1, 1, 1, 1 + 4096 * eps]]], dtype)).any()


@pytest.mark.parametrize("scale", SCALES[1:])
def test_correlations_and_errors_of_tiny_and_huge_responses(scale):
    net = NET.replace(layers=[*NET.layers[:3], NET.layers[3].replace(filters=NET.layers[3].filters * scale)])
    for contrast in ("image", None):
        want = reconstruction_error(NET, IMAGES, 4, contrast=contrast)
        got = reconstruction_error(net, IMAGES, 4, contrast=contrast)
        # Ten steps of arithmetic, sums of 12 terms among them, on values of some cancellation (bound by 100).
        assert np.abs(got.correlations - want.correlations).max() <= 100 * 10 * 12 * 2.0**-52
    assert np.abs(
        reconstruction_error(net, IMAGES, 4).per_image - reconstruction_error(NET, IMAGES, 4).per_image
    ).max() <= (100 * 10 * 12 * 2.0**-52)


def test_responses_that_span_more_than_the_largest_number():
    net = Network([Conv([[[[1.7e308]]], [[[-1.7e308]]]])])
    assert reconstruction_error(net, [[[[1.0]]]], 1).mean == 0


def test_responses_that_are_equal_but_for_rounding_have_no_range():
    net = Network([Conv([[[[1.0]]], [[[1 + 2.0**-50]]]])])
    with pytest.raises(InvalidValueError, match=r"all equal.*contrast=None"):
        reconstruction_error(net, [[[[1.0]]]], 1)


@pytest.mark.parametrize("power", [-900, -500, 500, 900])
def test_least_squares_of_tiny_and_huge_images(power):
    conv = Conv([[[[1.0, -2]]], [[[0.5, 3]]]], [1.0, 0])
    batches = [IMAGES[:, :, :1], IMAGES[:, :, 1:] / 4]  # of other magnitudes, put together
    scaled = [np.ldexp(batch, power) for batch in batches]
    want = baselines.least_squares_filters(Network([conv]), batches, 1)
    # Sums of some hundred terms, times a condition that is small.
    assert np.abs(want.filters - conv.filters).max() <= 1000 * 2.0**-52
    assert np.abs(want.bias - conv.bias).max() <= 1000 * 2.0**-52
    # Filters that are smaller by as much as images are larger: the same responses.
    smaller = Network([conv.replace(filters=np.ldexp(conv.filters, -power))])
    got = baselines.least_squares_filters(smaller, scaled, 1)
    assert (np.ldexp(got.filters, power) == want.filters).all()
    assert (got.bias == want.bias).all()
    # The same filters, and biases that are larger: responses that are larger, too.
    got = baselines.least_squares_filters(Network([conv.replace(bias=np.ldexp(conv.bias, power))]), scaled, 1)
    assert (got.filters == want.filters).all()
    assert (np.ldexp(got.bias, -power) == want.bias).all()


@pytest.mark.parametrize("scale", SCALES[1:])
def test_inverses_of_tiny_and_huge_responses(scale):
    system = inverse.linear_system(scale * np.array([[[10, 21, 2.0]]]), [[[[1, 10]]]], border="full")
    assert (system.rank, system.augmented_rank) == (2, 2)
    assert np.abs(system.image / scale - [[[1, 2]]]).max() <= 1000 * 2.0**-52
    assert system.residual <= 1000 * 2.0**-52
    assert inverse.recovery_error([[scale, 0]], [[scale, scale]]) == 0.5


# Silent and wrong: raw images

RAW = np.random.default_rng(0).integers(0, 256, (5, 1, 6, 7), dtype=np.uint8)
TAKES_IMAGES = {
    "forward": lambda x: NET.forward(x),
    "activations": lambda x: NET.activations(x),
    "stream": lambda x: list(NET.stream(x)),
    "walk": lambda x: list(NET.walk(x, [4])),
    "measure": lambda x: measure(NET, x, [TopImagesMeter(NET, 4)]),
    "measure of batches": lambda x: measure(NET, iter([x]), [TopImagesMeter(NET, 4)]),
    "reconstruction_error": lambda x: reconstruction_error(NET, x, 4),
    "decoded_responses": lambda x: decoded_responses(NET, x, 4),
    "top_images": lambda x: top_images(NET, x, 4, 0),
    "top_images by filters": lambda x: top_images(NET, x, 4, 0, via="decoded"),
    "response_matrix": lambda x: response_matrix(NET, x, 4),
    "least_squares_filters": lambda x: baselines.least_squares_filters(NET, x, 4),
    "list": lambda x: NET.forward(x.tolist()),
}


@pytest.mark.parametrize("taken", TAKES_IMAGES)
@pytest.mark.parametrize("dtype", [np.uint8, np.int64, bool])
def test_digits_given_as_they_were_measured(taken, dtype):
    if taken == "list" and dtype is bool:
        pytest.skip("a list of booleans is one of integers to nobody")
    with pytest.raises(InvalidValueError, match=r"give net\.normalize\(images\)"):
        TAKES_IMAGES[taken](RAW.astype(dtype))
    TAKES_IMAGES[taken](NET.normalize(RAW))


def test_integer_images_of_a_network_without_a_mean_are_taken():
    net = NET.replace(mean=None)
    assert (net.forward(RAW) == net.forward(RAW.astype(float))).all()
    with pytest.raises(InvalidValueError, match="standard deviation"):
        net.replace(std=[2]).forward(RAW)


# Silent and wrong: data


def idx(array):
    return (
        bytes([0, 0, 8, array.ndim])
        + b"".join(n.to_bytes(4, "big") for n in array.shape)
        + array.astype(np.uint8).tobytes()
    )


def digits(folder, names, images, labels):
    for name, array in zip(names, (images, labels), strict=True):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        content = idx(np.asarray(array))
        path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)


def test_sorted_labels_and_blank_images_pack_too_well_to_be_damage(tmp_path):
    labels = np.sort(np.arange(60_000) % 10)
    digits(tmp_path, ["train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"], np.zeros((60_000, 28, 28)), labels)
    images, found = mnist(tmp_path, "train")
    assert not images.any()
    assert (found == labels).all()


def test_a_header_that_promises_more_than_gzip_can_hold_takes_no_memory(tmp_path):
    (tmp_path / "bomb.gz").write_bytes(gzip.compress(b"\0\0\x08\x03" + b"\x7f\xff\xff\xff" * 3 + bytes(100)))
    with pytest.raises(DataFormatError, match="its header promises"):
        read_idx(tmp_path / "bomb.gz")


NAMES = {
    "dots": ["t10k-images.idx3-ubyte", "t10k-labels.idx1-ubyte"],
    "dots, gzipped": ["t10k-images.idx3-ubyte.gz", "t10k-labels.idx1-ubyte.gz"],
    "a folder around each": [
        "t10k-images.idx3-ubyte/t10k-images.idx3-ubyte",
        "t10k-labels.idx1-ubyte/t10k-labels.idx1-ubyte",
    ],
    "another folder": [
        "t10k-images-idx3-ubyte/t10k-images.idx3-ubyte",
        "t10k-labels-idx1-ubyte/t10k-labels.idx1-ubyte",
    ],
    "EMNIST's digits": ["emnist-digits-test-images-idx3-ubyte.gz", "emnist-digits-test-labels-idx1-ubyte.gz"],
    "EMNIST's MNIST": ["emnist-mnist-test-images-idx3-ubyte", "emnist-mnist-test-labels-idx1-ubyte"],
}


@pytest.mark.parametrize("names", NAMES)
def test_names_that_unpackers_and_mirrors_give_to_mnists_files(tmp_path, names):
    digits(tmp_path, NAMES[names], np.full((2, 28, 28), 7), [3, 1])
    for folder in (tmp_path, str(tmp_path)):
        assert mnist(folder)[1].tolist() == [3, 1]


def test_what_is_missing_is_said_with_what_is_there(tmp_path):
    (tmp_path / "notes.txt").write_text("")
    (tmp_path / "raw").mkdir()
    with pytest.raises(FileNotFoundError, match=r"neither t10k-images-idx3-ubyte nor .*It has notes\.txt, raw/\."):
        mnist(tmp_path)
    for i in range(50):
        (tmp_path / f"{i}\x1b[2J").write_text("")
    with pytest.raises(FileNotFoundError, match=r"and 40 more") as refused:
        mnist(tmp_path)
    assert "\x1b" not in str(refused.value)
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        mnist(tmp_path / "nowhere")


def test_emnists_transposed_images_are_told_of():
    assert "transposed" in mnist.__doc__


# Terminals

ENCODINGS = ["ascii", "cp437", "cp866", "cp1251", "cp1252", "koi8-r"]


def command(*arguments, module="decoding", **options):
    environment = {**os.environ, **options.pop("env", {})}
    return subprocess.run(
        [sys.executable, "-m", module, *arguments], capture_output=True, env=environment, timeout=120, **options
    )


@pytest.mark.parametrize("encoding", partly(ENCODINGS, day=lambda i: i < 2))
def test_a_terminal_that_lacks_the_times_sign(encoding):
    done = command("show", "lenet", env={"PYTHONIOENCODING": encoding})
    assert done.returncode == 0, done.stderr
    assert "1x28x28" in done.stdout.decode(encoding) or "1×28×28" in done.stdout.decode(encoding)
    assert (encoding == "ascii") <= (b"1x28x28" in done.stdout)


EVERY_COMMAND = """
import contextlib, sys
from decoding.__main__ import main
from decoding.testing.__main__ import main as kit
for run, names in ((main, ("show", "decode", "quadratic")), (kit, ("check", "list", "export", "verify"))):
    for words in (["--help"], *([name, "--help"] for name in names)):
        with contextlib.suppress(SystemExit):
            run(words)
assert main(["decode", "lenet", "--layer", "3", "--filter", "0", "-o", sys.argv[1]]) == 0
assert kit(["list"]) == 0
"""


def test_a_locale_without_an_encoding_and_every_help(tmp_path):
    env = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": ""}
    done = subprocess.run(
        [sys.executable, "-c", EVERY_COMMAND, "Ä×.png"],
        capture_output=True,
        env={**os.environ, **env},
        cwd=tmp_path,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert b"usage: decoding decode" in done.stdout
    assert b"usage: python -m decoding.testing verify" in done.stdout


class Wrong:
    """A backend whose name and failures terminals may lack letters for."""

    name, eps = "Gerät × π", 2.0**-53

    def relu(self, x, *, leak):
        return np.abs(x)

    def softmax(self, x):
        raise KeyboardInterrupt


@pytest.fixture
def kit(tmp_path, monkeypatch):
    """The kit's command line, run where it may write: returns the status and what it printed."""
    from decoding.testing.__main__ import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "wrong_backend", sys.modules[__name__])

    def run(words, stdout):
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", stdout)
            try:
                return main(words.split())
            except SystemExit as stop:
                return stop.code

    return run


CHECK = "check wrong_backend:Wrong --quiet --only relu_integers --examples 2 --cases cases"
KIT = [
    ("list", 0), ("--help", 0), ("check --help", 0), ("export --help", 0), ("verify --help", 0), (CHECK, 1),
    ("export vectors --format json", 0), ("verify vectors", 1),
]  # fmt: skip


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_the_kit_on_a_terminal_that_lacks_letters(kit, encoding):
    for words, status in KIT[:6]:
        terminal = io.TextIOWrapper(io.BytesIO(), encoding)
        assert kit(words, terminal) == status, words
        assert terminal.buffer.getvalue().decode(encoding)


@pytest.mark.skipif(os.name == "nt", reason="pipes are others there")
def test_the_kit_without_standard_output_and_into_a_closed_pipe(kit, capfd, monkeypatch):
    some = vectors.cases()[:9]
    monkeypatch.setattr(vectors, "cases", lambda: some)
    closed = io.StringIO()
    closed.close()
    for words, status in [
        each for each in KIT if "--help" not in each[0]
    ]:  # which argparse prints to standard error then
        assert kit(words, None) == status
        if words.startswith("export vectors"):
            Path("vectors").rename("others")
        assert kit(words, closed) == status
        read, write = os.pipe()
        os.close(read)
        with open(write, "w") as pipe:
            if not words.startswith("export vectors"):
                assert kit(words, pipe) in (0, status)
    assert capfd.readouterr().err == ""


def test_the_kit_when_it_is_interrupted(kit, capsys):
    assert kit("check wrong_backend:Wrong --quiet --only softmax", io.StringIO()) == 130
    assert capsys.readouterr().err == "decoding.testing: interrupted\n"
    assert not list(Path().iterdir())


@pytest.mark.skipif(os.name == "nt", reason="a shell's way to close a stream")
def test_standard_output_that_is_closed_full_or_a_closed_pipe():
    show = f"{sys.executable} -m decoding show lenet"
    for line, status, lines in [
        (f"{show} >&-", 0, 0),
        (f"{show} >/dev/full", 2, 1),
        (f"{show} 2>&- >/dev/full", 2, 0),
        (f"{show} | true; exit ${{PIPESTATUS[0]}}", 0, 0),
    ]:
        done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=60)
        assert (done.returncode, len(done.stderr.splitlines())) == (status, lines), (line, done.stderr)


def test_standard_output_that_is_none(monkeypatch):
    from decoding.__main__ import main

    monkeypatch.setattr(sys, "stdout", None)
    assert main(["show", "lenet"]) == 0
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stdout", closed)
    assert main(["show", "lenet"]) == 0
    assert sys.stdout is closed


WRITES = """
import os, signal, sys
from decoding.files import replacing
from decoding.terminal import run
def work():
    with replacing("out.bin") as file:
        file.write(b"half")
        os.kill(os.getpid(), getattr(signal, sys.argv[1]))
        import time; time.sleep(30)
raise SystemExit(run("work", work))
"""


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
@pytest.mark.parametrize(("name", "status", "said"), [("SIGINT", 130, b"work: interrupted\n"), ("SIGTERM", -15, b"")])
def test_a_program_that_is_stopped_while_it_writes_leaves_nothing(tmp_path, name, status, said):
    (tmp_path / "out.bin").write_bytes(b"old")
    done = subprocess.run(
        [sys.executable, "-c", WRITES, name],
        cwd=tmp_path,
        capture_output=True,
        timeout=60,
        preexec_fn=lambda: signal.signal(
            signal.SIGINT, signal.SIG_DFL
        ),  # which a job in the background may be told to ignore
    )
    assert (done.returncode, done.stderr) == (status, said)
    assert [path.name for path in tmp_path.iterdir()] == ["out.bin"]
    assert (tmp_path / "out.bin").read_bytes() == b"old"


def test_memory_that_does_not_suffice_is_one_line(capsys, monkeypatch):
    from decoding.terminal import run

    def montage_of_all():
        raise MemoryError("Unable to allocate 3.00 TiB")

    assert run("decoding", montage_of_all) == 2
    assert capsys.readouterr().err == "decoding: there is not enough memory: Unable to allocate 3.00 TiB\n"
    monkeypatch.setattr(decoding.picture, "_arrange", lambda *_: np.empty((2**40, 2**15), np.float64))
    with pytest.raises(InvalidValueError, match="montage: there is not enough memory"):
        montage(np.ones((1, 1, 2, 2)))


# Floating-point flags


def every_function():
    """Results of every public function that computes, on numbers that underflow and overflow on the way."""
    tiny = Network([Conv(np.array([[[[1e-200, 2]]], [[[3, -1e-200]]]])), AvgPool((1, 2)), ReLU(leak=1e-200), Softmax()])
    x = np.array([[[[1e-200, 5e-324, 700, 1, -700, 2e-160]]], [[[1, 2, 3, 4, 5, 1e-320]]]])
    yield tiny.forward(x, backend=decoding.fast)
    yield tiny.forward(x)
    yield from tiny.activations(x)
    yield from (responses for _, responses in tiny.walk(x, [4]))
    for backend in (decoding.reference, decoding.fast):
        yield decode_layer(tiny, 3, backend=backend)
        yield decode_filter(tiny, 3, 1, unpool="bicubic", backend=backend)
        yield decode(tiny, 3, np.ldexp(tiny.forward(x, 3), -9), unpool="bilinear", backend=backend)
        yield backend.softmax(x * 1e3)
        yield backend.correlate(x, np.full((1, 1, 1, 2), 1e-300))
        yield backend.substitute(x, np.full((1, 1, 1, 2), 1e-300))
    yield from iterate_layer(tiny, 3, 1)
    yield reconstruction_error(tiny, x, 3).per_image
    yield reconstruction_error(tiny, x, 3, contrast=None).correlations
    yield decoded_responses(tiny, x, 3)
    yield top_images(tiny, x, 3, None).responses
    yield response_matrix(tiny, x, 3).matrix
    yield from baselines.least_squares_filters(tiny, x, 1)
    yield decode_layer(baselines.zero_insertion(tiny), 3)
    yield [part.weight for part in contributions(tiny, 3, 0)]
    yield threshold(x)
    yield montage(x)
    yield inverse.adjoint(x, np.full((1, 1, 1, 2), 1e-300))
    yield inverse.fourier(x, np.array([[[[1, 1e-200]]]]), border="full")
    yield inverse.wiener(x, np.array([[[[1, 1e-200]]]]), noise=1e-300)
    yield inverse.linear_system(x[0], np.array([[[[1, 1e-200]]]])).residual
    yield inverse.recovery_error(x, x[::-1])
    yield Network([ReLU()], mean=[1e-300], std=[1e-200]).normalize(x)
    norm = Network([BatchNorm([1e-300], mean=[5e-324], std=[1e200])])
    yield norm.forward(x)
    yield decode_layer(norm, 1)
    yield from of_the_second_order(x[:, :, :, :4])


def of_the_second_order(x):
    """The same of what is calibrated on images, and of their statistics."""
    net = Network(
        [Conv(np.array([[[[1e-200, 2, 1]]], [[[3, -1, 2]]]])), ReLU(), Conv(np.array([[[[1.0]], [[1e-200]]]]))]
    )
    crops = x[:, :, :, 1:4]
    for backend in (decoding.reference, decoding.fast):
        yield decode_layer(decoding.linearize(net, x, backend=backend), 3)
        bent = decoding.quadratize(net, x, backend=backend)
        yield decode_layer(bent, 3)
        yield decoding.quadratic_form(bent, 3, 0, backend=backend) @ np.full((3, 1), 1e-200)
        unit = decoding.decode_quadratic(bent, 3, 0, n=2, backend=backend)
        yield unit.eigenvalues
        yield unit.respond(crops)
        yield unit.most_exciting()
        yield unit.most_suppressing()
        yield unit.invariances(1)
        yield unit.tiles()[0]
        yield decoding.patterns(net, x, 3, backend=backend)
    yield [part.weight for part in decoding.pair_contributions(bent, 3, 0, to=1)]
    yield [part.strength for part in decoding.unit_contributions(bent, 3, 0, to=1)]
    sizes = decoding.natural((1, 3), channels=1), decoding.autocovariance(x, (1, 3)), decoding.covariance(crops)
    for statistics in sizes:
        yield statistics.cov(crops)
        yield statistics.root(np.ones(statistics.root_shape))
        yield statistics.root_t(crops)
        yield statistics.scaled(1e-200).cov(crops)
        yield decoding.pattern(crops, statistics)


@pytest.mark.parametrize("how", ["raise", "warn", "print"])
def test_a_caller_who_has_numpy_raise_on_every_flag(how, capfd):
    want = [np.asarray(each) for each in every_function()]
    with np.errstate(all=how), warnings.catch_warnings():
        warnings.simplefilter("error")
        before = np.geterr()
        got = [np.asarray(each) for each in every_function()]
        assert np.geterr() == before
    assert len(got) == len(want)
    for a, b in zip(got, want, strict=True):
        assert np.array_equal(a, b, equal_nan=True)
    assert capfd.readouterr().out == ""


@pytest.mark.slow
def test_a_library_whose_products_raise_flags_for_nothing():
    """As those of Apple's Accelerate do: `@` included, in a process of its own."""
    done = subprocess.run([sys.executable, Path(__file__).with_name("flagging.py")], capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr.decode()


# Names from files, long lists


def test_an_unknown_name_in_a_network_of_three_thousand_layers():
    net = Network([ReLU(name=f"features.{i}.relu\x1b[31m") for i in range(3000)], input_shape=(1, 2, 2))
    with pytest.raises(UnknownLayerError) as refused:
        net.index("nowhere")
    assert len(str(refused.value)) < 1000
    assert "\x1b" not in str(refused.value) + repr(net) + str(net)
    assert len(repr(net)) < 1000
    assert len(repr(Select(range(3000)))) < 200
    assert "\x1b" not in repr(net.layers[0])


def test_a_list_of_arguments_that_is_long_is_cut():
    with pytest.raises(ShapeError) as refused:
        Network([Sum()], inputs=[list(range(1, 5000))])
    assert len(str(refused.value)) < 500
    with pytest.raises(DecodingError) as refused:
        Network([ReLU()], inputs=object())
    assert len(str(refused.value)) < 500


# Files

PICTURE = np.zeros((3, 3), np.uint8)
posix = pytest.mark.skipif(os.name == "nt", reason="POSIX files")


@posix
def test_a_file_keeps_its_mode_and_a_link_stays_a_link(tmp_path):
    real, link = tmp_path / "real.png", tmp_path / "link.png"
    real.write_bytes(b"old")
    real.chmod(0o640)
    link.symlink_to("real.png")
    save_picture(link, PICTURE)
    assert link.is_symlink()
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    assert real.read_bytes()[:4] == b"\x89PNG"
    (tmp_path / "new.png").symlink_to("later.png")
    save_picture(tmp_path / "new.png", PICTURE)
    assert (tmp_path / "later.png").is_file()


@posix
def test_what_is_no_regular_file_or_read_only_is_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "frozen.png").write_bytes(b"old")
    (tmp_path / "frozen.png").chmod(0o444)
    for name, error, words in [
        ("pipe.png", OSError, "a pipe or a device"),
        ("folder.png", IsADirectoryError, "is a folder"),
        ("frozen.png", PermissionError, "read-only"),
        ("nowhere/out.png", FileNotFoundError, "there is no folder"),
    ]:
        with pytest.raises(error, match=words) as refused:
            save_picture(tmp_path / name, PICTURE)
        assert name in str(refused.value)
    assert stat.S_ISFIFO((tmp_path / "pipe.png").stat().st_mode)
    assert (tmp_path / "frozen.png").read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 3


@posix
def test_a_name_as_long_as_the_file_system_takes(tmp_path):
    longest = os.pathconf(tmp_path, "PC_NAME_MAX")
    save_picture(tmp_path / f"{'a' * (longest - 4)}.png", PICTURE)
    with pytest.raises(OSError, match=r"aaa.png"):
        save_picture(tmp_path / f"{'a' * longest}.png", PICTURE)
    assert len(list(tmp_path.iterdir())) == 1


def test_errors_name_the_path_that_was_given_not_the_temporary_one(tmp_path, monkeypatch):
    def full(number):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"No space left on device: '.*out\.png'$"):
        save_picture(tmp_path / "out.png", PICTURE)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("path", [1, 1.5, None, True, "", "a\0.png", object()])
def test_a_path_that_is_a_number_is_standard_output_to_python(path):
    for call in (lambda: save_picture(path, PICTURE), lambda: read_idx(path)):
        with pytest.raises(InvalidValueError, match="path must be a path"):
            call()
    if path is not None:
        with pytest.raises(InvalidValueError, match="folder must be a path"):
            mnist(path)
    os.fstat(1)  # it is still open


def test_open_files_where_a_path_is_taken(tmp_path):
    buffer = io.BytesIO()
    save_picture(buffer, PICTURE)
    assert buffer.getvalue()[:4] == b"\x89PNG"
    with open(tmp_path / "out.bmp", "wb") as file:
        save_picture(file, PICTURE)
        assert not file.closed
    assert (tmp_path / "out.bmp").read_bytes()[:2] == b"BM"
    with pytest.raises(InvalidValueError, match="open for writing bytes"):
        save_picture(io.StringIO(), PICTURE)
    for content in (idx(np.arange(6).reshape(2, 3)), gzip.compress(idx(np.arange(6).reshape(2, 3)))):
        assert read_idx(io.BytesIO(content)).tolist() == [[0, 1, 2], [3, 4, 5]]


def test_a_picture_larger_than_jpeg_takes(tmp_path):
    with pytest.raises(InvalidValueError, match=r"at most 65,500 rows and columns.*65,501×1"):
        save_picture(tmp_path / "out.jpg", np.zeros((65_501, 1), np.uint8))
    assert not list(tmp_path.iterdir())


@posix
def test_examples_find_out_at_the_start_that_they_cannot_write(tmp_path):
    (tmp_path / "file").write_text("")
    examples = Path(__file__).parents[1] / "examples"
    for script in ("reproduce.py", "figure4.py", "table1.py", "caveats.py"):
        nowhere = ["--mnist", "nowhere"]  # which would be missed before anything is computed
        done = subprocess.run(
            [sys.executable, str(examples / script), "-o", "file/into", *nowhere],
            capture_output=True,
            text=True,
            cwd=tmp_path,
        )
        assert done.returncode == 2
        assert done.stderr == f"{script}: 'file/into' cannot be a folder: '{tmp_path}/file' is a file.\n"
        assert done.stdout == ""


# Words


class Module:
    """As torch's."""

    def state_dict(self):
        return {}


NOT_NETWORKS = {
    "text": ("lenet.mat", r"decoding\.load\(path\)"),
    "layers": (list(NET), "Network\\(layers\\)"),
    "module": (Module(), "torch"),
    "None": (None, "None"),
}
TAKES_A_NETWORK = {
    "decode": lambda net: decode(net, 1, IMAGES),
    "decode_filter": lambda net: decode_filter(net, 1, 0),
    "decode_layer": lambda net: decode_layer(net, 1),
    "iterate_layer": lambda net: iterate_layer(net, 1, 2),
    "measure": lambda net: measure(net, IMAGES, [TopImagesMeter(NET, 1)]),
    "reconstruction_error": lambda net: reconstruction_error(net, IMAGES, 1),
    "decoded_responses": lambda net: decoded_responses(net, IMAGES, 1),
    "top_images": lambda net: top_images(net, IMAGES, 1, 0),
    "response_matrix": lambda net: response_matrix(net, IMAGES, 1),
    "contributions": lambda net: contributions(net, 1, 0),
    "random_filters": lambda net: baselines.random_filters(net, 1),
    "turned": lambda net: baselines.turned(net),
    "zero_insertion": lambda net: baselines.zero_insertion(net),
    "least_squares_filters": lambda net: baselines.least_squares_filters(net, IMAGES, 1),
}


@pytest.mark.parametrize("function", TAKES_A_NETWORK)
@pytest.mark.parametrize("what", NOT_NETWORKS)
def test_a_net_that_is_a_text_a_list_of_layers_a_module_or_none(function, what):
    net, hint = NOT_NETWORKS[what]
    with pytest.raises(InvalidValueError, match=f"^{function}: .*net must be a decoding.Network, not .*{hint}"):
        TAKES_A_NETWORK[function](net)


class Partial:
    """A backend that has not all operators."""

    relu = staticmethod(decoding.reference.relu)


def test_a_backend_without_an_operator():
    for call in (
        lambda b: NET.forward(IMAGES, backend=b),
        lambda b: decode_layer(NET, 4, backend=b),
        lambda b: decode_filter(NET, 4, 0, backend=b),
    ):
        with pytest.raises(InvalidValueError, match=r"backend must .*numpy.* has no max_pool"):
            call(np)
        with pytest.raises(InvalidValueError, match=r"the backend has no (correlate|unpool|substitute)"):
            call(Partial())
    with pytest.raises(InvalidValueError, match="none of them"):
        NET.forward(IMAGES, backend="fast")
    for call in (
        lambda: inverse.adjoint(IMAGES, IMAGES[:1], backend=Partial()),
        lambda: decoded_responses(NET, IMAGES, 4, filters=decode_layer(NET, 4), backend=Partial()),
    ):
        with pytest.raises(InvalidValueError, match="has no"):
            call()


def test_arguments_in_another_order():
    for call in (lambda: top_images(NET, 4, IMAGES, 0), lambda: reconstruction_error(NET, 4, IMAGES)):
        with pytest.raises(DecodingError, match=r"order: Images come|Images come before the layer") as refused:
            call()
        assert len(str(refused.value)) < 400


REFUSED = {
    "labels that are a number": (lambda: response_matrix(NET, IMAGES, 4, labels=3), "response_matrix: labels"),
    "labels that are None inside": (lambda: response_matrix(NET, IMAGES, 4, labels=[None] * 5), "response_matrix: labels"),
    "labels of a montage": (lambda: montage(np.ones((1, 1, 2, 2)), labels=3), "montage: labels must be a sequence"),
    "classes that are a number": (lambda: Network([ReLU()], classes=3), "Network: classes must be a sequence"),
    "classes that are bytes": (lambda: Network([ReLU()], classes=[b"cat"]), "Network: classes must be texts"),
    "notes that are one text": (lambda: Network([ReLU()], notes="a note"), "Network: notes must be a sequence"),
    "a name that is a number": (lambda: ReLU(name=3), "ReLU: name must be a text, not 3"),
    "k above": (lambda: decode_filter(NET, 4, 3), "decode_filter: layer 4 has no unit 3: its 3 units count from 0 to 2"),
    "k below": (lambda: top_images(NET, IMAGES, 4, -1), "top_images: layer 4 has no unit -1"),
    "k of an array": (lambda: decode_filter(NET, 4, IMAGES), r"no unit an array \(5, 1, 6, 7\)"),
    "units that are a number": (lambda: decode_layer(NET, 4, units=1), r"decode_layer: units must be a sequence"),
    "units above": (lambda: decode_layer(NET, 4, units=[0, 3]), "decode_layer: layer 4 has no unit 3"),
    "a layer of the image": (lambda: NET.layer(0), "layer: layer 0 is the image"),
    "ragged images": (lambda: NET.forward([[[[1.0, 2], [3]]]]), "forward: images is ragged"),
    "a batch of the digits with their labels": (lambda: NET.forward((IMAGES, np.zeros(5))), "images alone"),
    "a loader's pairs": (lambda: measure(NET, [(IMAGES, np.zeros(5))], [TopImagesMeter(NET, 1)]), "images for images, labels in batches"),
    "an iterator of pairs": (lambda: reconstruction_error(NET, iter([(IMAGES, np.zeros(5))]), 4), "images for images, labels in batches"),
    "the digits as they come": (lambda: top_images(NET, (IMAGES, np.zeros(5)), 4, 0), "images alone"),
    "a text for images": (lambda: top_images(NET, "images", 4, 0), "top_images: images must be an array"),
    "no meters": (lambda: measure(NET, IMAGES, [3]), "measure: 3 is no meter"),
    "grey images without their axis": (lambda: NET.forward(IMAGES[:, 0]), r"images\[:, np\.newaxis\]"),
    "grey images to measure": (lambda: reconstruction_error(NET, IMAGES[:, 0], 4), r"images\[:, np\.newaxis\]"),
    "one grey image": (lambda: NET.forward(IMAGES[0, 0]), r"images\[np\.newaxis, np\.newaxis\]"),
    "channels last": (lambda: NET.forward(IMAGES.transpose(0, 2, 3, 1)), r"images\.transpose\(0, 3, 1, 2\)"),
    "an interpolation": (lambda: decode_layer(NET, 4, unpool=["nearest"]), "decode_layer: unpool must be one of"),
    "a split": (lambda: mnist(split=["test"]), "mnist: split must be one of"),
    "contrast": (lambda: reconstruction_error(NET, IMAGES, 4, contrast=np.ones(3)), "contrast must be"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refused_in_words(case):
    call, words = REFUSED[case]
    with pytest.raises(DecodingError, match=words) as refused:
        call()
    assert len(str(refused.value)) < 500


def test_pictures_of_pillow():
    image = pytest.importorskip("PIL.Image")
    pictures = [image.fromarray(np.full((6, 7), i, np.uint8)) for i in range(3)]
    with pytest.raises(ShapeError, match=r"images\[:, np\.newaxis\]"):
        NET.forward(pictures)
    colours = Network([Conv(np.ones((1, 3, 2, 2)))])
    with pytest.raises(ShapeError, match=r"images\.transpose\(0, 3, 1, 2\)"):
        colours.forward([picture.convert("RGB") for picture in pictures])
    with pytest.raises(ShapeError, match=r"resize\(\(W, H\)\)"):
        NET.forward([pictures[0], pictures[1].resize((3, 3))])


def test_tensors_that_are_no_arrays():
    torch = pytest.importorskip("torch", reason="needs PyTorch")
    sparse = pytest.importorskip("scipy.sparse")
    x = torch.ones((1, 1, 6, 7))
    for tensor, hint in [
        (x.clone().requires_grad_(), r"\.detach\(\)"),
        (x.bfloat16(), r"\.float\(\)"),
        (x.to("meta"), "has no values"),
        (x.to_sparse(), r"\.to_dense\(\)"),
    ]:
        with pytest.raises(InvalidValueError, match=hint):
            NET.forward(tensor)
    with pytest.raises(InvalidValueError, match=r"\.toarray\(\)"):
        threshold(sparse.eye(3).tocsr())
    assert (NET.forward(x) == NET.forward(np.ones((1, 1, 6, 7), np.float32))).all()


def test_what_refuses_is_named_where_functions_call_each_other():
    with pytest.raises(InvalidValueError, match=r"^reconstruction_error: unpool must be"):
        reconstruction_error(NET, IMAGES, 4, unpool="area")
    with pytest.raises(UnknownLayerError, match=r"^decode_filter: no layer is named 'conv9'"):
        decode_filter(NET, "conv9", 0)
    with pytest.raises(UnsupportedLayerError, match=r"^decode_layer: layer 1 'gate' "):
        decode_layer(Network([decoding.Gate(name="gate")], inputs=[(0, 0)], input_shape=(1, 2, 2)), 1)


def test_both_orders_of_a_path_and_what_is_written(tmp_path):
    save_picture(PICTURE, tmp_path / "a.png")
    save_picture(tmp_path / "b.png", PICTURE)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_options_that_were_given_by_position():
    df = np.arange(12.0).reshape(1, 1, 3, 4)
    assert (threshold(df, 0.5) == threshold(df, at=0.5)).all()
    assert (montage(df, 1, "shared", 2, ["a"]) == montage(df, columns=1, scale="shared", zoom=2, labels=["a"])).all()
    with pytest.raises(TypeError, match="multiple values for argument 'at'"):
        threshold(df, 1, at=2)
    with pytest.raises(TypeError, match="takes from 1 to 2"):
        threshold(df, 1, 2)


def test_the_option_that_was_mistaken_for_the_networks_normalization():
    old = reconstruction_error(NET, IMAGES, 4, normalize=None)
    assert (old.per_image == reconstruction_error(NET, IMAGES, 4, contrast=None).per_image).all()
    assert (old.per_image != reconstruction_error(NET, IMAGES, 4).per_image).any()
    assert ReconstructionMeter(NET, 4, normalize=None).contrast is None
    with pytest.raises(TypeError, match="'normalise'"):
        reconstruction_error(NET, IMAGES, 4, normalise=None)


# Wishes that are habits


def test_the_version_is_said_and_the_command_alone_helps(capsys):
    from decoding.__main__ import main

    assert main([]) == 0
    assert "usage: decoding" in capsys.readouterr().out
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out == f"decoding {decoding.__version__}\n"


def test_a_bundled_network_by_name_unless_a_file_has_that_name(tmp_path, monkeypatch, capsys, lenet):
    from decoding.__main__ import main

    monkeypatch.chdir(tmp_path)
    assert main(["show", "lenet"]) == 0
    assert capsys.readouterr().out == f"{lenet}\n"
    (tmp_path / "lenet").write_text("no network")
    assert main(["show", "lenet"]) == 2


def test_ranges_of_units_that_do_not_swallow_the_file(tmp_path, capsys, lenet):
    from decoding.__main__ import main

    out = str(tmp_path / "out.npy")
    for units in (["0-2,7", "9"], ["0-2,", "7,9"], ["0", "1", "2", "7", "9"]):
        assert main(["decode", "--layer", "3", "--filter", *units, LENET, "-o", out]) == 0
        assert (np.load(out) == decode_layer(lenet, 3, units=[0, 1, 2, 7, 9], backend=decoding.fast)).all()
    with pytest.raises(SystemExit):
        main(["decode", LENET, "--layer", "3", "--filter", "7-3", "-o", out])


def test_numbers_in_place_of_a_picture_and_a_file_for_each_unit(tmp_path, capsys, lenet):
    import csv

    from decoding.__main__ import main

    want = decode_layer(lenet, 7, units=[3, 5], backend=decoding.fast)
    assert main(["decode", "lenet", "--layer", "conv4", "--filter", "3", "5", "-o", str(tmp_path / "out.csv")]) == 0
    with open(tmp_path / "out.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == want.size
    for row in rows[::97]:
        i, c, u, v = {"3": 0, "5": 1}[row["unit"]], int(row["channel"]), int(row["row"]), int(row["column"])
        assert np.float32(row["value"]) == want[i, c, u, v]
    assert (
        main(["decode", "lenet", "--layer", "7", "--filter", "3", "5", "--each", "-o", str(tmp_path / "one.npy")]) == 0
    )
    assert (np.load(tmp_path / "one-5.npy") == want[1:]).all()
    assert (
        main(["decode", "lenet", "--layer", "7", "--filter", "3", "5", "--each", "-o", str(tmp_path / "one.png")]) == 0
    )
    assert sorted(path.name for path in tmp_path.glob("*.png")) == ["one-3.png", "one-5.png"]


def test_layers_that_are_named_by_numbers(tmp_path, monkeypatch, capsys):
    from decoding.__main__ import main

    monkeypatch.chdir(tmp_path)
    net = Network([Conv([[[[1.0, 2]]]], name="0"), Conv([[[[3.0]]]], name="1"), ReLU(name="7")])
    decoding.save_matconvnet(net, "net.mat")
    for layer, value in (("name:0", 1), ("name:1", 3), ("1", 1), ("2", 3), ("7", 3)):
        assert main(["decode", "net.mat", "--layer", layer, "-o", "out.npy"]) == 0
        assert np.load("out.npy").ravel()[0] == value


def test_a_network_is_a_sequence_of_layers_and_equal_to_its_copy():
    net = Network([ReLU(name="conv2"), MaxPool(2), Sum()], inputs=[0, 1, 2], input_shape=(1, 4, 4))
    assert net["conv2"] is net.layer(1) is net[1]
    assert (len(net), [layer.kind for layer in net]) == (3, ["ReLU", "MaxPool", "Sum"])
    assert net == copy.deepcopy(net)
    assert net != net.replace(layers=[ReLU(name="conv2"), MaxPool(3), Sum()])
    other = Network([ReLU(), ReLU(), Sum()], inputs=[0, 1, (1, 2)], input_shape=(1, 4, 4))
    assert other != other.replace(inputs=[0, 0, (1, 2)])


def test_results_that_pandas_takes_print_short():
    from dataclasses import asdict

    found = top_images(NET, np.repeat(IMAGES, 200, axis=0), 4, None, n=700)
    assert set(found._asdict()) == {"indices", "responses"}
    assert set(contributions(NET, 4, 0)[0]._asdict()) == {"layer", "k", "cell", "pixel", "weight"}
    error = reconstruction_error(NET, np.repeat(IMAGES, 200, axis=0), 4)
    assert set(asdict(error)) == {"per_image", "correlations"}
    matrix = response_matrix(NET, IMAGES, 4)
    assert "matrix" in asdict(matrix)
    squares = baselines.least_squares_filters(NET, IMAGES, 4)
    made = decoding.characters()
    system = inverse.linear_system(np.ones((1, 5, 6)), np.ones((1, 1, 2, 2)))
    for result in (found, error, matrix, squares, made, system):
        assert len(repr(result)) < 700, repr(result)
        assert len(repr(result).splitlines()) <= 12
    assert len(str(error).splitlines()) == 1


def test_the_first_page_has_what_is_written_with_and_the_rest_stays_where_it_was():
    for name in ("Contribution", "LeastSquares", "Layer", "Pool", "Backend", "UnsupportedLayer"):
        assert name in decoding.__all__
    for name in (
        "characters",
        "Characters",
        "ReconstructionMeter",
        "TopImagesMeter",
        "ReconstructionError",
        "TopImages",
        "ResponseMatrix",
    ):
        assert name not in decoding.__all__
        assert hasattr(decoding, name)
    assert decoding.Unsupported is decoding.UnsupportedLayer
    from decoding.evaluation import Contribution, contributions, measure  # noqa: F401  # scripts find them there


# MATLAB's files


def object_of(kind):
    """An object in a file of version 5, as MATLAB writes those that it alone can open."""

    def element(number, content):
        return np.array([number, len(content)], "<u4").tobytes() + content + bytes(-len(content) % 8)

    words = [element(1, text) for text in (b"", b"MCOS", kind.encode())]
    inner = element(6, np.array([17, 0], "<u4").tobytes()) + b"".join(words) + element(14, b"")
    return element(14, inner)


@pytest.mark.parametrize(
    ("kind", "hint"), [("gpuArray", r"vl_simplenn_move\(net, 'cpu'\)"), ("dlarray", "extractdata")]
)
def test_weights_on_the_graphics_card(tmp_path, kind, hint):
    scipy_io = pytest.importorskip("scipy.io")
    layers, weights = np.empty((1, 1), object), np.empty((1, 2), object)
    weights[0] = [np.zeros((1, 2)), np.zeros((1, 1))]
    layers[0, 0] = {"type": "conv", "weights": weights}
    path = tmp_path / "net.mat"
    scipy_io.savemat(path, {"net": {"layers": layers}})
    assert decoding.load_matconvnet(path).layers[0].filters.shape == (1, 1, 1, 2)
    # The array of the filters, of 64 bytes, gives way to an object; those that it lies in grow by as much.
    content, head = path.read_bytes(), np.array([14, 64], "<u4").tobytes()
    begin, grown = content.index(head), object_of(kind)
    end, data = begin + len(head) + 64, bytearray(content)
    for at in range(128, begin, 8):
        number, length = np.frombuffer(content[at : at + 8], "<u4").tolist()
        if number == 14 and at + 8 + length >= end:
            data[at + 4 : at + 8] = (length + len(grown) - (end - begin)).to_bytes(4, "little")
    data[begin:end] = grown
    path.write_bytes(data)
    with pytest.raises(decoding.WeightsFormatError, match=f"object of class {kind}.*{hint}"):
        decoding.load_matconvnet(path)


def test_networks_in_open_files_and_in_either_order(tmp_path):
    net = Network([Conv([[[[1.0, 2]]]], name="a")])
    buffer = io.BytesIO()
    decoding.save_matconvnet(net, buffer)
    buffer.seek(0)
    assert decoding.load_matconvnet(buffer) == net
    decoding.save_matconvnet(tmp_path / "net.mat", net)
    with open(tmp_path / "net.mat", "rb") as file:
        assert decoding.load_matconvnet(file) == decoding.load_matconvnet(str(tmp_path / "net.mat")) == net
    buffer.seek(7)
    assert decoding.load(buffer) == net
    for path in (1, None, ""):
        with pytest.raises(InvalidValueError, match="path must be a path"):
            decoding.load_matconvnet(path)
        with pytest.raises(InvalidValueError, match=r"^load: path must be a path"):
            decoding.load(path)
        with pytest.raises(InvalidValueError, match="path must be a path"):
            decoding.save_matconvnet(net, path)
    with pytest.raises(InvalidValueError, match=r"^save_matconvnet: net must be a decoding\.Network"):
        decoding.save_matconvnet([Conv([[[[1.0]]]])], tmp_path / "other.mat")
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        decoding.save_matconvnet(net, tmp_path / "nowhere" / "net.mat")


def test_matlabs_newer_files_that_are_open(tmp_path):
    pytest.importorskip("h5py", reason="v7.3 is read through h5py, the extra `hdf5`")
    from mat_files import write_v73

    write_v73(
        tmp_path / "net.mat", {"net": {"layers": [{"type": "conv", "weights": [np.ones((1, 2)), np.zeros((1, 1))]}]}}
    )
    want, content = decoding.load(tmp_path / "net.mat"), (tmp_path / "net.mat").read_bytes()
    assert want.layers[0].filters.shape == (1, 1, 1, 2)
    with open(tmp_path / "net.mat", "rb") as file, open(tmp_path / "net.mat", "rb", buffering=0) as bare:
        for opened in (file, bare, io.BytesIO(content)):
            assert decoding.load_matconvnet(opened) == want
            assert decoding.load(opened) == want
            assert not opened.closed
    for damaged in (content[:-1000], content[:600] + bytes(2000) + content[2600:]):
        with pytest.raises(decoding.WeightsFormatError, match="the file: HDF5 cannot read it"):
            decoding.load_matconvnet(io.BytesIO(damaged))


def test_onnx_files_that_are_open(tmp_path):
    onnx = pytest.importorskip("onnx", reason="ONNX files are read through onnx, the extra `onnx`")
    weights = onnx.numpy_helper.from_array(np.ones((2, 1, 1, 2), np.float32), "w")
    shapes = [onnx.helper.make_tensor_value_info(name, 1, [1, c, 3, w]) for name, c, w in (("x", 1, 4), ("y", 2, 3))]
    node = onnx.helper.make_node("Conv", ["x", "w"], ["y"])
    model = onnx.helper.make_model(onnx.helper.make_graph([node], "g", shapes[:1], shapes[1:], [weights]))
    content = model.SerializeToString()
    (tmp_path / "net.onnx").write_bytes(content)
    want = decoding.load(tmp_path / "net.onnx")
    with open(tmp_path / "net.onnx", "rb") as file:
        for opened in (file, io.BytesIO(content)):
            assert decoding.load_onnx(opened) == decoding.load(opened) == want
    weights.raw_data, weights.data_location = b"", onnx.TensorProto.EXTERNAL
    for key, value in (("location", "weights.bin"), ("offset", "0"), ("length", "16")):
        weights.external_data.add(key=key, value=value)
    graph = onnx.helper.make_graph([node], "g", shapes[:1], shapes[1:], [weights])
    content = onnx.helper.make_model(graph).SerializeToString()
    (tmp_path / "two.onnx").write_bytes(content)
    (tmp_path / "weights.bin").write_bytes(np.ones(4, np.float32).tobytes())
    with open(tmp_path / "two.onnx", "rb") as file:
        assert decoding.load_onnx(file) == want  # beside the file's path
    with pytest.raises(decoding.WeightsFormatError, match=r"second file, 'weights\.bin', and this file has no folder"):
        decoding.load_onnx(io.BytesIO(content))


def test_statistics_and_units_that_are_saved_by_any_kind_of_path(tmp_path):
    pytest.importorskip("scipy", reason="eigenpictures take SciPy")
    statistics = decoding.natural((3, 4))
    net = decoding.quadratize(Network([Conv([[[[1.0, 2]]]]), ReLU(), Conv([[[[1.0]]]])]), IMAGES)
    unit = decoding.decode_quadratic(net, 3, 0, n=1)
    (unit,) = unit if isinstance(unit, list) else [unit]
    for made, load in ((statistics, decoding.load_statistics), (unit, type(unit).load)):
        buffer = io.BytesIO()
        made.save(buffer)
        buffer.seek(0)
        made.save(str(tmp_path / "made.npz"))
        for source in (buffer, tmp_path / "made.npz"):
            assert type(load(source)) is type(made)
        for path in (1, None, ""):
            with pytest.raises(InvalidValueError, match="path must be a path"):
                made.save(path)
            with pytest.raises(InvalidValueError, match="path must be a path"):
                load(path)
        with pytest.raises(DataFormatError, match="holds no"):
            load(io.BytesIO(b"no numbers"))
        with pytest.raises(FileNotFoundError, match="there is no folder"):
            made.save(tmp_path / "nowhere" / "made.npz")


# Whatever is given

SMALL = np.random.default_rng(0).standard_normal((3, 1, 2, 12))
NET_OF_ALL = Network(
    [Conv(np.arange(6.0).reshape(2, 1, 1, 3)), MaxPool((1, 2)), Conv(np.ones((3, 2, 1, 2)))],
    mean=[0.0],
    input_shape=(1, 2, 12),
)
GIVEN = [
    None, "x", 3, -1, 1.5, True, np.nan, [], [1, 2], {}, object(), SMALL, SMALL[0], "conv", b"b", np.zeros(0), np.array("a"),
    np.array([None]), range(3), lambda: 0, 10**30, [[1], [1, 2]], NET_OF_ALL,
]  # fmt: skip
BANK = np.ones((1, 1, 1, 2))
CALLS = [
    (decode, [NET_OF_ALL, 3, np.ones((1, 3, 1, 1))], {"to": 0, "unpool": "nearest"}),
    (decode_filter, [NET_OF_ALL, 3, 0], {"unpool": "nearest", "backend": None}),
    (decode_layer, [NET_OF_ALL, 3], {"units": [0], "unpool": "nearest", "backend": None}),
    (iterate_layer, [NET_OF_ALL, 3, 2], {"unpool": "nearest"}),
    (measure, [NET_OF_ALL, SMALL, [TopImagesMeter(NET_OF_ALL, 3)]], {"batch_size": 2}),
    (reconstruction_error, [NET_OF_ALL, SMALL, 3], {"filters": None, "bias": None, "contrast": "image"}),
    (decoded_responses, [NET_OF_ALL, SMALL, 3], {"filters": None, "bias": None}),
    (top_images, [NET_OF_ALL, SMALL, 3, 0], {"n": 2, "via": "network"}),
    (response_matrix, [NET_OF_ALL, SMALL, 3], {"labels": [0, 1, 2]}),
    (contributions, [NET_OF_ALL, 3, 0], {"top": 1}),
    (baselines.random_filters, [NET_OF_ALL, 3], {"seed": 0}),
    (baselines.turned, [NET_OF_ALL], {"below": 3}),
    (baselines.zero_insertion, [NET_OF_ALL], {}),
    (baselines.least_squares_filters, [NET_OF_ALL, SMALL, 3], {}),
    (threshold, [SMALL], {"at": 1.0}),
    (montage, [SMALL], {"columns": 1, "scale": "each", "zoom": 1, "labels": ["a"] * 3}),
    (save_picture, ["out.png", PICTURE], {}),
    (mnist, [decoding.datasets.DATA, "test"], {}),
    (decoding.load_matconvnet, [LENET], {"dtype": None}),
    (decoding.save_matconvnet, [NET_OF_ALL, "net.mat"], {}),
    (NET_OF_ALL.forward, [SMALL, 3], {"backend": None, "batch_size": 2}),
    (NET_OF_ALL.activations, [SMALL, 3], {}),
    (NET_OF_ALL.walk, [SMALL, [3]], {}),
    (NET_OF_ALL.normalize, [SMALL], {}),
    (NET_OF_ALL.per_pixel, [SMALL], {}),
    (NET_OF_ALL.receptive_field, [3], {"within": 0}),
    (NET_OF_ALL.channels, [3], {}),
    (NET_OF_ALL.shapes, [(1, 2, 12), 3], {}),
    (NET_OF_ALL.batch_size, [(1, 2, 12), 3], {}),
    (NET_OF_ALL.trim, [3], {}),
    (NET_OF_ALL.layer, [3], {}),
    (Network, [NET_OF_ALL.layers], {"inputs": None, "mean": None, "std": None, "classes": None, "input_shape": None, "notes": ()}),
    (Conv, [np.ones((2, 1, 1, 2)), None], {"stride": 1, "pad": 0, "dilation": 1, "groups": 1, "name": None}),
    (MaxPool, [2, 2], {"pad": 0, "gain": None, "name": None}),
    (ReLU, [], {"leak": 0.0, "gain": None, "curvature": None}),
    (BatchNorm, [[1.0], None], {"mean": None, "std": None, "epsilon": 0.0}),
    (decoding.LRN, [5], {"kappa": 1.0, "alpha": 1.0, "beta": 1.0}),
    (Select, [[0]], {"stride": 1, "start": 0}),
    (inverse.adjoint, [SMALL, BANK], {"border": "valid"}),
    (inverse.respond, [SMALL, BANK], {"border": "valid"}),
    (inverse.fourier, [SMALL, BANK], {"border": "valid"}),
    (inverse.wiener, [SMALL, BANK], {"noise": 0.1}),
    (inverse.linear_system, [SMALL[0], BANK], {"border": "valid"}),
    (inverse.recovery_error, [SMALL, SMALL], {}),
    (inverse.lost_frequencies, [BANK, (3, 4)], {}),
]  # fmt: skip


def length_of_refusal(function, arguments, options):
    """How long the message is, where it refuses; any other error is none of the family."""
    try:
        function(*arguments, **options)
    except (DecodingError, OSError) as refused:
        return len(str(refused))
    return 0


@pytest.mark.parametrize(("function", "arguments", "options"), CALLS, ids=[call[0].__qualname__ for call in CALLS])
def test_whatever_is_given_for_an_argument_is_taken_or_refused_in_the_family(
    function, arguments, options, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    function(*arguments, **options)
    for given in GIVEN:
        for place in range(len(arguments)):
            changed = [*arguments[:place], given, *arguments[place + 1 :]]
            assert length_of_refusal(function, changed, options) < 700
        for name in options:
            assert length_of_refusal(function, arguments, {**options, name: given}) < 700
