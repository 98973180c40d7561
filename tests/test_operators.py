"""The reference operators: cases worked by hand, and errors."""

import numpy as np
import pytest

from decoding import Conv, InvalidValueError, Network, ShapeError, reference
from decoding.reference import avg_pool, correlate, max_pool, relu, softmax, substitute, unpool


def test_correlate_by_hand():
    x = [[[[1, 2, 3], [4, 5, 6]]]]
    assert correlate(x, [[[[1, 10], [100, 1000]]]]).tolist() == [[[[5421, 6532]]]]


def test_correlate_sums_channels_and_adds_the_bias():
    x = [[[[1, 2]], [[3, 4]]]]
    filters = [[[[1, 0]], [[0, 10]]], [[[0, 100]], [[1000, 0]]]]
    assert correlate(x, filters, [5, -5]).tolist() == [[[[1 + 40 + 5]], [[200 + 3000 - 5]]]]


def test_correlate_strides_rows_and_columns_apart():
    x = np.arange(1, 25).reshape(1, 1, 4, 6)
    assert correlate(x, [[[[1]]]], stride=(3, 2)).tolist() == [[[[1, 3, 5], [19, 21, 23]]]]


def test_correlate_pads_top_bottom_left_right():
    y = correlate([[[[7]]]], [[[[1]]]], pad=(1, 0, 2, 3))
    assert y.tolist() == [[[[0, 0, 0, 0, 0, 0], [0, 0, 7, 0, 0, 0]]]]


def test_correlate_drops_what_fills_no_window():
    assert correlate([[[[1, 2, 3, 4, 5]]]], [[[[1, 10]]]], stride=(1, 3)).tolist() == [[[[21, 54]]]]


def test_max_pool_pads_with_minus_infinity():
    assert max_pool([[[[-3, -2]]]], size=(1, 2), stride=(1, 1), pad=(0, 0, 1, 1)).tolist() == [[[[-3, -2, -2]]]]


def test_max_pool_by_hand_overlapping():
    x = [[[[5, 1, 4, 2, 3]]]]
    assert max_pool(x, size=(1, 3), stride=(1, 2)).tolist() == [[[[5, 4]]]]


def test_avg_pool_counts_the_cells_inside():
    x = [[[[2, 4], [6, 8]]]]
    assert avg_pool(x, size=2, stride=1, pad=(1, 0, 0, 1)).tolist() == [[[[3, 4], [5, 6]]]]


def test_relu_leaks():
    assert relu([[[[-8, 0, 3]]]]).tolist() == [[[[0, 0, 3]]]]
    assert relu([[[[-8, 0, 3]]]], leak=0.125).tolist() == [[[[-1, 0, 3]]]]
    assert relu([[[[-8, 0, 3]]]], leak=2).tolist() == [[[[-16, 0, 3]]]]


def test_softmax_runs_over_channels_and_does_not_overflow():
    y = softmax([[[[7, 1e4, 0]], [[7, 0, np.log(3)]]]])
    assert y[0, :, 0, :2].T.tolist() == [[0.5, 0.5], [1, 0]]
    assert np.abs(y[0, :, 0, 2] - [0.25, 0.75]).max() <= 8 * reference.eps


def test_substitute_an_impulse_is_the_filter(ramp):
    filters = ramp(2, 3, 5, 7)
    impulse = np.zeros((1, 2, 1, 1))
    impulse[0, 1] = 1
    assert (substitute(impulse, filters)[0] == filters[1]).all()


def test_substitute_leaves_gaps_where_the_stride_is_larger_than_the_filter():
    assert substitute([[[[1, 2]]]], [[[[3, 5]]]], stride=(1, 4)).tolist() == [[[[3, 5, 0, 0, 6, 10]]]]


def test_substitute_by_hand_in_two_directions():
    out = substitute([[[[1], [10]]]], [[[[1, 2], [3, 4]]]], stride=(1, 5))
    assert out.tolist() == [[[[1, 2], [13, 24], [30, 40]]]]


def test_unpool_bicubic_by_hand():
    impulse = [[[[0, 0, 128, 0, 0]]]]
    out = unpool(impulse, size=(1, 2), mode="bicubic")
    assert out.tolist() == [[[[0, -3, -9, 29, 111, 111, 29, -9, -3, 0]]]]


def test_unpool_mirrors_the_edge():
    out = unpool([[[[128, 0, 0, 0, 0]]]], size=(1, 2), mode="bicubic")
    assert out.tolist() == [[[[111 + 29, 111 - 9, 29 - 3, -9, -3, 0, 0, 0, 0, 0]]]]


def test_unpool_nearest_takes_the_later_on_a_tie():
    assert unpool([[[[1, 2, 3]]]], size=(1, 3), stride=(1, 2)).tolist() == [[[[1, 1, 2, 2, 3, 3, 3]]]]


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int8, bool])
def test_everything_is_computed_in_float64_and_nothing_is_written_to(dtype):
    x = np.ones((2, 3, 5, 7), dtype)
    filters = np.ones((2, 3, 3, 2), dtype)
    for array in (x, filters):
        array.setflags(write=False)
    results = [
        correlate(x, filters, np.ones(2, dtype)),
        substitute(x[:, :2], filters),
        max_pool(x, size=2),
        avg_pool(x, size=2),
        relu(x),
        softmax(x),
        unpool(x, size=2),
    ]
    assert {result.dtype for result in results} == {np.dtype(np.float64)}


@pytest.mark.parametrize("function", [relu, softmax])
def test_an_empty_batch_stays_empty(function):
    assert function(np.ones((0, 3, 5, 7))).shape == (0, 3, 5, 7)


def test_an_empty_batch_has_the_size_of_any_other():
    x = np.ones((0, 3, 5, 7))
    assert correlate(x, np.ones((2, 3, 3, 2))).shape == (0, 2, 3, 6)
    assert substitute(x, np.ones((3, 2, 2, 3)), stride=2).shape == (0, 2, 10, 15)
    assert max_pool(x, size=(2, 3)).shape == avg_pool(x, size=(2, 3)).shape == (0, 3, 2, 2)
    assert unpool(x, size=(2, 3)).shape == (0, 3, 10, 21)


X, F = np.ones((1, 3, 5, 7)), np.ones((2, 3, 2, 3))
REFUSED = {
    "channels": (lambda: correlate(X[:, :1], F), ShapeError, "x has 1 channel but the filters want 3"),
    "three axes": (lambda: correlate(X[0], F), ShapeError, r"four axes .* x\[np.newaxis\]"),
    "kernel larger than map": (lambda: correlate(X, np.ones((2, 3, 6, 3))), ShapeError, "window of 6×3 does not fit"),
    "bias": (lambda: correlate(X, F, [1]), ShapeError, r"bias \(1,\) for 2 filters"),
    "ragged bias": (lambda: correlate(X, F, [[1], [2, 3]]), ShapeError, "correlate: bias is ragged"),
    "bias of words": (lambda: correlate(X, F, ["a", "b"]), InvalidValueError, "real numbers"),
    "complex": (lambda: relu(X * 1j), InvalidValueError, "real numbers, not complex128"),
    "ragged": (lambda: relu([[[[1, 2], [3]]]]), ShapeError, "ragged"),
    "stride 0": (lambda: correlate(X, F, stride=0), ShapeError, "stride must be at least 1"),
    "stride of three": (lambda: correlate(X, F, stride=(1, 2, 3)), ShapeError, r"one integer, or \(rows, columns\)"),
    "half a stride": (lambda: correlate(X, F, stride=1.5), ShapeError, "one integer"),
    "pads of two": (lambda: correlate(X, F, pad=(1, 2)), ShapeError, r"\(top, bottom, left, right\)"),
    "negative pad": (lambda: correlate(X, F, pad=(0, -1, 0, 0)), ShapeError, "must not be negative"),
    "pool larger than map": (lambda: max_pool(X, size=(6, 2)), ShapeError, "does not fit"),
    "pad as large as the pool": (lambda: max_pool(X, size=2, pad=2), ShapeError, "less than the window"),
    "maps and filters": (lambda: substitute(X, F), ShapeError, "3 maps for 2 filters"),
    "empty maps": (lambda: substitute(np.ones((1, 2, 0, 1)), F), ShapeError, "empty axis"),
    "mode": (lambda: unpool(X, size=2, mode="cubic"), InvalidValueError, "'cubic' is not one of 'nearest'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case):
    call, error, message = REFUSED[case]
    with pytest.raises(error, match=message):
        call()


def test_the_reference_says_what_it_is():
    assert reference.name == "decoding.reference"
    assert 1 + reference.eps == 1 < 1 + 2 * reference.eps


def test_backends_get_arrays_in_the_byte_order_of_the_machine():
    seen = []

    class Looking:
        name = "looking"

        def __getattr__(self, operator):
            return lambda *arrays, **options: (seen.extend(arrays), getattr(reference, operator)(*arrays, **options))[1]

    weights, images = np.arange(8.0).reshape(2, 1, 2, 2), np.arange(9.0).reshape(1, 1, 3, 3)
    swapped = [each.astype(each.dtype.newbyteorder()) for each in (weights, images)]
    net = Network([Conv(swapped[0])])
    got = net.forward(swapped[1], backend=Looking())
    assert np.array_equal(got, reference.correlate(images, weights, None, stride=1, pad=0))
    assert len(seen) >= 2
    assert all(each is None or each.dtype.isnative for each in seen)
