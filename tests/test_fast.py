"""The fast operators and the reference, in both precisions: equal on integers, and within the bound of a sum's rounding on reals."""

import itertools
import platform
import subprocess
import sys
import tracemalloc
from unittest import mock

import numpy as np
import pytest
from by_day import partly
from hypothesis import given, settings
from hypothesis import strategies as st

import decoding
from decoding import AvgPool, Conv, DecodingError, MaxPool, Network, ReLU, Softmax, decode, fast, reference
from decoding.backend import OPERATORS
from decoding.interpolation import MODES, matrix
from decoding.testing import strategies
from decoding.testing.calls import Call

EPS = {np.float64: 2.0**-53, np.float32: 2.0**-24}
DTYPES = tuple(EPS)

# What decides how an operator goes about it: with FEW = 0 any batch is a large one, and with a BLOCK of 1 or 7 products
# every block is a part: of the columns, of the rows of the filters, of the rows of the map. With MANY = 1 any map is a large one.
# COLUMNS and FILL say how many positions a product of a convolution has: with 1, those of one row; with 7, of some rows or images.
WAYS = tuple(
    {"FEW": few, "BLOCK": block, "MANY": many, "COLUMNS": block, "FILL": min(block, 7)}
    for few, (block, many) in itertools.product((0, 16), ((1, 1), (7, 49), (2**18, 1), (2**18, 49)))
)

LAYOUTS = {
    "rows last": np.ascontiguousarray,
    "batch last": lambda a: np.ascontiguousarray(a.T).T,
    "as the operators leave it": lambda a: np.ascontiguousarray(a.transpose(2, 3, 1, 0)).transpose(3, 2, 0, 1),
    "every other": lambda a: np.repeat(a, 2, axis=-1)[..., ::2],
    "backwards": lambda a: a[::-1].copy()[::-1],
}


def laid_out(array, dtype, layout):
    """The array in a precision and a layout, and read-only."""
    if array is None:
        return None
    array = np.asarray(array, dtype)
    array = LAYOUTS[layout](array) if array.ndim == 4 else array
    array.setflags(write=False)
    return array


def bound(call, eps):
    """What an honest backend may be off: ``γ_n(eps) · operator(|x|, |w|)``, n being the terms of a sum and what follows it."""
    x, *others = (None if a is None else np.abs(np.asarray(a, np.float64)) for a in call.arrays)
    if call.operator == "max_pool":
        return np.zeros(())
    if call.operator == "relu":  # the leak, the product and the sum
        return gamma(4, eps) * x * max(1, abs(call.options["leak"]))
    if call.operator == "softmax":
        spread = float(np.ptp(call.arrays[0], axis=1).max(initial=0))
        return gamma(2 * spread + x.shape[1] + 8, eps) * call.on(reference) + np.finfo(np.float32).tiny
    if call.operator == "unpool":
        size, stride, mode = call.options["size"], call.options["stride"], call.options["mode"]
        rows, columns = (np.abs(matrix(*axis, mode)) for axis in zip(x.shape[2:], size, stride, strict=True))
        return gamma(12, eps) * (rows @ x @ columns.T)
    terms = np.prod(call.options["size"]) if call.operator == "avg_pool" else 0
    terms += others[0].size if others else 0  # at most so many products meet in one cell
    return gamma(terms + 2, eps) * call.on(reference, x, *others)


def gamma(n, eps):
    n = n * (eps + reference.eps)
    return n / (1 - n)


def off(call, backend, dtype=np.float64, layout="rows last", exact=False):
    """Whether the backend's answer to the call is not what it must be."""
    arrays = [laid_out(a, dtype, layout) for a in call.arrays]
    call = call._replace(arrays=tuple(arrays))
    got, want = call.on(backend), call.on(reference)
    if not isinstance(got, np.ndarray) or got.dtype != dtype or got.shape != want.shape:
        return True
    allowed = 0 if exact else bound(call, EPS[dtype])
    return not bool((np.abs(got - want) <= allowed).all())


@pytest.mark.parametrize("operator", OPERATORS)
@given(data=st.data())
def test_integers_are_equal(operator, data):
    call = data.draw(strategies.calls(operator, mode="nearest" if operator == "unpool" else None))
    way, dtype = data.draw(st.sampled_from(WAYS)), data.draw(st.sampled_from(DTYPES))
    layout = data.draw(st.sampled_from(tuple(LAYOUTS)))
    leak = call.options.get("leak", 0)
    inexact = operator in ("softmax", "avg_pool") or float(np.float32(leak)) != leak
    with mock.patch.multiple(fast, **way):
        assert not off(call, fast, dtype, layout, exact=not inexact)


@pytest.mark.parametrize("operator", OPERATORS)
@given(data=st.data())
def test_reals_are_within_the_bound_of_a_sum(operator, data):
    call = data.draw(strategies.calls(operator, "reals"))
    way, dtype = data.draw(st.sampled_from(WAYS)), data.draw(st.sampled_from(DTYPES))
    layout = data.draw(st.sampled_from(tuple(LAYOUTS)))
    with mock.patch.multiple(fast, **way):
        assert not off(call, fast, dtype, layout)


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
@given(data=st.data())
def test_weights_that_are_binary_fractions_are_exact(mode, data):
    x = data.draw(strategies.maps())
    way, dtype = data.draw(st.sampled_from(WAYS)), data.draw(st.sampled_from(DTYPES))
    with mock.patch.multiple(fast, **way):
        got = fast.unpool(x.astype(dtype), size=2, mode=mode)
    assert (got == reference.unpool(x, size=2, mode=mode)).all()


class Mutant:
    """The tuned operators, one of them wrong."""

    def __init__(self, operator, wrong):
        self.wrong = {operator: wrong}

    def __getattr__(self, operator):
        return self.wrong.get(operator) or getattr(fast, operator)


MUTANTS = {
    "correlate flips": (
        "correlate",
        lambda x, f, b=None, **options: fast.correlate(x, np.asarray(f)[..., ::-1], b, **options),
    ),
    "correlate forgets the bias": ("correlate", lambda x, f, b=None, **options: fast.correlate(x, f, **options)),
    "correlate swaps the strides": (
        "correlate",
        lambda x, f, b=None, *, stride, pad: fast.correlate(x, f, b, stride=stride[::-1], pad=pad),
    ),
    "correlate pads left for right": (
        "correlate",
        lambda x, f, b=None, *, stride, pad: fast.correlate(x, f, b, stride=stride, pad=(*pad[:2], pad[3], pad[2])),
    ),
    "correlate is always double": (
        "correlate",
        lambda x, f, b=None, **options: reference.correlate(x, f, b, **options),
    ),
    "max_pool pads with zeros": (
        "max_pool",
        lambda x, *, size, stride, pad: fast.max_pool(
            np.pad(x, ((0, 0), (0, 0), pad[:2], pad[2:])), size=size, stride=stride
        ),
    ),
    "avg_pool counts the padding": (
        "avg_pool",
        lambda x, *, size, stride, pad: fast.avg_pool(
            np.pad(x, ((0, 0), (0, 0), pad[:2], pad[2:])), size=size, stride=stride
        ),
    ),
    "relu forgets the leak": ("relu", lambda x, *, leak: fast.relu(x)),
    "softmax over the columns": ("softmax", lambda x: fast.softmax(np.swapaxes(x, 1, 3)).swapaxes(1, 3)),
    "substitute flips": (
        "substitute",
        lambda m, f, **options: fast.substitute(m, np.asarray(f)[:, :, ::-1], **options),
    ),
    "substitute swaps the strides": (
        "substitute",
        lambda m, f, *, stride: fast.substitute(m, f, stride=stride[::-1]),
    ),
    "substitute leaves the last image out": (
        "substitute",
        lambda m, f, **options: (
            fast.substitute(m, f, **options) * (np.arange(len(m)) < len(m) - 1)[:, None, None, None]
        ),
    ),
    "unpool is always nearest": ("unpool", lambda m, *, size, stride, mode: fast.unpool(m, size=size, stride=stride)),
    "unpool steps by the size": ("unpool", lambda m, *, size, stride, mode: fast.unpool(m, size=size, mode=mode)),
}


@pytest.mark.parametrize("mutant", partly(MUTANTS, day=lambda i: i % 5 == 0))
def test_the_comparison_kills_a_wrong_backend(mutant):
    operator, wrong = MUTANTS[mutant]

    @settings(max_examples=400, derandomize=True, database=None)  # so that nobody's run fails by chance
    @given(strategies.calls(operator), st.sampled_from(DTYPES))
    def compare(call, dtype):
        assert not off(call, Mutant(operator, wrong), dtype)

    with pytest.raises(AssertionError):
        compare()


def random(*shape, dtype=np.float32):
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(dtype)


@pytest.mark.parametrize(
    ("n", "dtype", "layouts"),
    [
        *((n, dtype, LAYOUTS) for n in (0, 1, 16) for dtype in DTYPES),
        (130, np.float32, ["backwards"]),
        *(pytest.param(n, dtype, LAYOUTS, marks=pytest.mark.slow) for n in (15, 17, 130) for dtype in DTYPES),
    ],
)
def test_batches_of_every_size(n, layouts, dtype):
    """At their true sizes, without changing FEW or BLOCK: parts of the columns (130 images), parts of the filters (K = 70)."""
    x, filters, bias = random(n, 3, 11, 9, dtype=dtype), random(7, 3, 5, 2, dtype=dtype), random(7, dtype=dtype)
    calls = [
        Call("correlate", (x, filters, bias), {"stride": (1, 2), "pad": (1, 0, 2, 3)}),
        Call("correlate", (x, random(5, 3, 4, 9, dtype=dtype), None), {"stride": (2, 1), "pad": 0}),
        Call("max_pool", (x,), {"size": (3, 2), "stride": (2, 1), "pad": (1, 2, 0, 1)}),
        Call("avg_pool", (x,), {"size": (3, 2), "stride": (2, 3), "pad": (1, 2, 0, 1)}),
        Call("relu", (x,), {"leak": 0.1}),
        Call("softmax", (x,), {}),
        Call("substitute", (x, random(3, 40, 7, 5, dtype=dtype)), {"stride": (1, 2)}),
        Call("substitute", (random(n, 2, 3, 2, dtype=dtype), random(2, 70, 13, 29, dtype=dtype)), {"stride": 3}),
        *(Call("unpool", (x,), {"size": (3, 2), "stride": (2, 2), "mode": mode}) for mode in MODES),
    ]
    for call, layout in itertools.product(calls, layouts):
        assert not off(call, fast, dtype, layout), (call.operator, call.options, layout)


@pytest.mark.parametrize("filters", [1, 2], ids="{} for each channel".format)
@pytest.mark.parametrize("n", [1, 17])
def test_filters_of_ones_sum_windows_and_undo_sums(n, filters):
    """Which each go another way; windows overlap, or leave cells out, and maps have fewer cells than windows, or more."""
    random = np.random.default_rng(0)
    for size, stride in itertools.product([(2, 3), (3, 1)], [(1, 2), (4, 3)]):
        x = random.integers(-9, 10, (n, 3, 9, 8)).astype(np.float32)
        ones = np.ones((3 * filters, 1, *size), np.float32)
        calls = [
            Call("correlate", (x, ones, bias), {"stride": stride, "pad": (1, 0, 2, 1), "groups": 3})
            for bias in (None, np.arange(3 * filters))
        ]
        for maps in (x, x[:, :, :2, :1]):
            calls.append(Call("substitute", (maps, np.ones((3, filters, *size))), {"stride": stride, "groups": 3}))
        for call in calls:
            assert (call.on(fast) == call.on(reference)).all()


@pytest.mark.parametrize(
    ("dtypes", "want"),
    [
        ("ff", np.float32),
        ("fd", np.float64),
        ("df", np.float64),
        ("ef", np.float64),
        ("Bf", np.float64),
        ("il", np.float64),
        ("?e", np.float64),
        ("gf", np.float64),
    ],
)
@pytest.mark.parametrize("n", [2, 20])
def test_float32_stays_and_all_else_is_float64(dtypes, want, n):
    x, filters = np.ones((n, 2, 5, 4), dtypes[0]), np.ones((2, 2, 3, 2), dtypes[1])
    assert fast.correlate(x, filters, stride=1, pad=0).dtype == want
    assert fast.correlate(x, filters, filters[:, 0, 0, 0], stride=1, pad=0).dtype == want
    assert fast.substitute(x, filters, stride=1).dtype == want
    alone = np.float32 if dtypes[0] == "f" else np.float64
    for y in (
        fast.max_pool(x, size=2),
        fast.avg_pool(x, size=2, pad=1),
        fast.relu(x, leak=0.5),
        fast.softmax(x),
        *(fast.unpool(x, size=2, mode=mode) for mode in MODES),
    ):
        assert y.dtype == alone


def test_a_double_bias_makes_the_sum_double():
    x = np.ones((1, 1, 1, 2), np.float32)
    assert fast.correlate(x, x, np.ones(1)).dtype == np.float64


@pytest.mark.parametrize("operator", ["relu", "softmax", "max_pool", "avg_pool", "unpool"])
@pytest.mark.parametrize("n", [3, 20])
def test_the_answer_shares_no_memory_with_the_question(operator, n):
    x = random(n, 2, 4, 3)
    options = {"max_pool": {"size": 1}, "avg_pool": {"size": 1}, "unpool": {"size": 1}}.get(operator, {})
    for layout in LAYOUTS.values():
        question = layout(x)
        assert not np.shares_memory(getattr(fast, operator)(question, **options), question)


ONES = np.ones((2, 3, 5, 4))
REFUSED = {
    "channels": lambda b: b.correlate(ONES, np.ones((7, 2, 3, 2)), stride=1, pad=0),
    "a large window": lambda b: b.correlate(ONES, np.ones((7, 3, 7, 2)), stride=1, pad=(1, 0, 0, 0)),
    "three axes": lambda b: b.correlate(ONES[0], np.ones((7, 3, 3, 2)), stride=1, pad=0),
    "an empty axis": lambda b: b.correlate(ONES[:, :, :0], np.ones((7, 3, 3, 2)), stride=1, pad=0),
    "ragged": lambda b: b.correlate([[[[1, 2], [3]]]], np.ones((7, 1, 1, 1)), stride=1, pad=0),
    "complex": lambda b: b.correlate(ONES * 1j, np.ones((7, 3, 3, 2)), stride=1, pad=0),
    "no stride": lambda b: b.correlate(ONES, np.ones((7, 3, 3, 2)), stride=0, pad=0),
    "a negative pad": lambda b: b.correlate(ONES, np.ones((7, 3, 3, 2)), stride=1, pad=(0, 0, -1, 0)),
    "a long bias": lambda b: b.correlate(ONES, np.ones((7, 3, 3, 2)), np.ones(3), stride=1, pad=0),
    "a bias of names": lambda b: b.correlate(ONES, np.ones((1, 3, 3, 2)), ["a"], stride=1, pad=0),
    "a large pool": lambda b: b.max_pool(ONES, size=(3, 5)),
    "padding without a cell": lambda b: b.max_pool(ONES, size=2, pad=(2, 0, 0, 0)),
    "a pool of nothing": lambda b: b.avg_pool(ONES, size=(2, 0)),
    "three sizes": lambda b: b.avg_pool(ONES, size=(2, 2, 2)),
    "one map": lambda b: b.relu(ONES[0]),
    "words": lambda b: b.softmax([[[["a"]]]]),
    "maps": lambda b: b.substitute(ONES, np.ones((2, 3, 3, 2)), stride=1),
    "half a stride": lambda b: b.substitute(ONES, np.ones((3, 3, 3, 2)), stride=0.5),
    "an unknown mode": lambda b: b.unpool(ONES, size=2, mode="lanczos"),
    "a fourth stride": lambda b: b.unpool(ONES, size=2, stride=(1, 2, 3)),
}


@pytest.mark.parametrize("call", REFUSED.values(), ids=REFUSED)
def test_errors_are_those_of_the_reference(call):
    with pytest.raises(DecodingError) as want:
        call(reference)
    with pytest.raises(DecodingError) as got:
        call(fast)
    assert type(got.value) is type(want.value)
    assert str(got.value) == str(want.value)


@given(st.data())
def test_networks_respond_and_decode_alike(data):
    net = data.draw(strategies.networks())
    images = data.draw(strategies.images_for(net))
    top = len(net.layers)
    averages = any(isinstance(layer, AvgPool) for layer in net.layers)
    with mock.patch.multiple(fast, **data.draw(st.sampled_from(WAYS))):
        if not averages:
            assert (net.forward(images, backend=fast) == net.forward(images)).all()
        assert (decoding.decode_layer(net, top, backend=fast) == decoding.decode_layer(net, top)).all()
        maps = data.draw(strategies.fillings((2, net.channels(top), 3, 2)))
        assert (decode(net, top, maps, backend=fast) == decode(net, top, maps)).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("units", [4, 40])
def test_a_decoded_layer_is_its_decoded_units(mode, units, dtype):
    """Small integers, so that bottom-up and top-down, batches and single units, agree in every bit."""
    whole = np.random.default_rng(units).integers(-2, 3, 10**4).astype(dtype)
    bank = (whole[: 5 * 2 * 12].reshape(5, 2, 3, 4), whole[: units * 5 * 6].reshape(units, 5, 2, 3))
    net = Network([Conv(bank[0]), ReLU(), MaxPool((2, 2)), Conv(bank[1], stride=(1, 2)), MaxPool(2), Softmax()])
    for layer in range(1, 7):
        decoded = decoding.decode_layer(net, layer, unpool=mode, backend=fast)
        assert decoded.dtype == dtype
        assert (decoded == decoding.decode_layer(net, layer, unpool=mode)).all()
        for k in (0, len(decoded) - 1):
            assert (decoded[k] == decoding.decode_filter(net, layer, k, unpool=mode, backend=fast)).all()


@given(st.data())
def test_parts_make_up_the_layer(data):
    net = data.draw(strategies.networks())
    top, mode = len(net.layers), data.draw(st.sampled_from(MODES))
    parts = list(decoding.iterate_layer(net, top, data.draw(st.integers(1, 4)), unpool=mode, backend=fast))
    whole = decoding.decode_layer(net, top, unpool=mode)
    if mode == "nearest":
        assert (np.concatenate(parts) == whole).all()
    assert np.concatenate(parts).shape == whole.shape


@pytest.mark.parametrize("mode", MODES)
def test_parts_take_the_memory_of_one_part_and_the_bank_below(mode):
    net = Network([Conv(random(6, 1, 5, 4)), MaxPool(9), Conv(random(640, 6, 5, 4)), ReLU()])
    whole = decoding.decode_layer(net, 4, unpool=mode, backend=fast).nbytes
    tracemalloc.start()
    for part in decoding.iterate_layer(net, 4, 32, unpool=mode, backend=fast):
        assert part.shape == (32, 1, *net.receptive_field(4).size)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < whole


def test_parts_of_nothing_are_refused():
    with pytest.raises(DecodingError, match="size must be an integer, at least 1"):
        next(decoding.iterate_layer(Network([Conv(np.ones((2, 1, 3, 2)))]), 1, 0))


def test_a_batch_has_as_many_images_as_the_largest_responses_allow():
    net = Network([Conv(random(3, 1, 2, 2)), Conv(random(5, 3, 2, 3))])
    images = random(11, 1, 7, 9)
    want = net.forward(images, backend=fast)
    assert net.batch_size((1, 7, 9)) == 22 * 2**18 // (5 * 5 * 6)
    assert net.batch_size((1, 7, 9), 1) == 22 * 2**18 // (3 * 6 * 8)
    assert net.batch_size((1, 7000, 9000)) == 1
    with (
        mock.patch("decoding.network.BATCH", 5 * 5 * 6 * 2),
        mock.patch.object(fast, "correlate", side_effect=fast.correlate) as correlate,
    ):
        got = net.forward(images, backend=fast)
    batches = [len(call.args[0]) for call in correlate.call_args_list]  # of both layers, in whatever order
    assert max(batches) == 2
    assert sum(batches) == 2 * 11
    assert got.shape == want.shape


@pytest.mark.parametrize("backend", [fast, reference])
def test_a_layer_decoded_from_above_in_blocks_has_the_precision_of_the_backend(backend):
    """Whole numbers, one unit at a time: nothing that was not computed is in the answer, and nothing warns."""
    whole = np.random.default_rng(0).integers(-2, 3, 70).astype(np.float32)
    net = Network([Conv(whole[:12].reshape(2, 1, 2, 3)), MaxPool(2), Conv(whole[12:60].reshape(4, 2, 3, 2))])
    with mock.patch("decoding.decoder.BLOCK_BYTES", 1):
        got = decoding.decode_layer(net, 3, unpool="bilinear", backend=backend)
    assert got.dtype == (np.float32 if backend is fast else np.float64)
    for k in range(4):
        assert (got[k] == decoding.decode_filter(net, 3, k, unpool="bilinear")).all()


@pytest.mark.parametrize("n", [1, 15, 16])
def test_few_and_many_need_the_memory_of_their_result_and_a_block(n):
    filters, maps = np.ones((64, 64, 3, 3), np.float32), np.ones((n, 64, 56, 56), np.float32)
    for run in (lambda: fast.substitute(maps, filters), lambda: fast.correlate(maps, filters, pad=1)):
        tracemalloc.start()
        result = run()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak <= 2.5 * result.nbytes + 3 * 4 * fast.BLOCK


def test_no_filters_give_no_maps():
    for n in (1, 20):
        x = np.ones((n, 2, 3, 4))
        assert fast.correlate(x, np.ones((0, 2, 2, 2))).shape == reference.correlate(x, np.ones((0, 2, 2, 2))).shape


MEMORY = """
import ctypes, numpy, decoding
decoding.fast.relu(numpy.zeros((1, 1, 1, 1)))
end_of_heap = ctypes.CDLL(None).sbrk
end_of_heap.restype, end_of_heap.argtypes = ctypes.c_void_p, [ctypes.c_ssize_t]
before = end_of_heap(0)
[numpy.ones(2**18) for _ in range(16)]
print(end_of_heap(0) - before)
"""


@pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="other C libraries keep memory, or not, by rules of their own"
)
def test_memory_is_kept_where_one_block_does_all():
    """Sixteen arrays of 2 MB, which are gone: the C library has given back the memory of eight at most, which may have lain in what was free before."""
    told = subprocess.run([sys.executable, "-c", MEMORY], check=True, capture_output=True, text=True)
    assert int(told.stdout) >= 8 * 2**21
