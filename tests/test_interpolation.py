import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from decoding.interpolation import MODES, matrix
from decoding.testing import loops

geometry = {"n": st.integers(1, 9), "size": st.integers(1, 7), "stride": st.integers(1, 5)}


@pytest.mark.parametrize(
    ("mode", "weights"), [("bilinear", [1, 3, 3, 1]), ("bicubic", [-3, -9, 29, 111, 111, 29, -9, -3])]
)
def test_doubling_weights_are_exact_binary_fractions(mode, weights):
    n = 9
    column = matrix(n, 2, 2, mode)[:, n // 2] * {"bilinear": 4, "bicubic": 128}[mode]
    assert column[column != 0].tolist() == weights


@pytest.mark.parametrize("mode", MODES)
@given(**geometry)
def test_a_constant_stays_as_it_is(mode, n, size, stride):
    rows = matrix(n, size, stride, mode)
    assert rows.shape == ((n - 1) * stride + size, n)
    seen = np.arange(len(rows)) % stride < size  # by a window of the pool
    assert np.abs(rows[seen].sum(axis=1) - 1).max() <= 8 * np.finfo(float).eps
    assert not rows[~seen].any()


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
@given(**geometry)
def test_left_and_right_mirror_each_other(mode, n, size, stride):
    rows = matrix(n, size, stride, mode)
    assert np.abs(rows - rows[::-1, ::-1]).max() <= 16 * np.finfo(float).eps * max(1, (n + size) ** 2)


@given(**geometry)
def test_nearest_takes_the_closest_cell_and_the_later_on_a_tie(n, size, stride):
    for p, row in enumerate(matrix(n, size, stride, "nearest")):
        twice_the_distances = [abs(2 * p - (size - 1) - 2 * stride * cell) for cell in range(n)]
        closest = max(cell for cell in range(n) if twice_the_distances[cell] == min(twice_the_distances))
        assert row.tolist() == [cell == closest and p % stride < size for cell in range(n)]


@pytest.mark.parametrize("mode", MODES)
@given(**geometry)
def test_the_plain_loops_have_the_same_weights(mode, n, size, stride):
    rows = np.zeros(((n - 1) * stride + size, n))
    for p, cells in enumerate(loops.taps(n, size, stride, mode)):
        for cell, weight in cells:  # a cell past the edge is a mirrored one: it can come twice
            rows[p, cell] += weight
    # A cubic of terms up to 8, some ten roundings, on either side; exact where strides are powers of two.
    bound = 0 if stride in (1, 2, 4) else 2 * 8 * 10 * np.finfo(float).eps
    assert np.abs(matrix(n, size, stride, mode) - rows).max() <= bound


def test_the_weights_that_are_kept_cannot_be_written_to():
    with pytest.raises(ValueError, match="read-only"):
        matrix(3, 2, 2, "nearest")[0] = 1


@given(n=st.integers(2, 9), size=st.integers(1, 7), stride=st.integers(1, 5))
def test_bilinear_draws_straight_lines(n, size, stride):
    u = (np.arange((n - 1) * stride + size) - (size - 1) / 2) / stride
    inside = (u >= 0) & (u <= n - 1) & (np.arange(len(u)) % stride < size)  # between windows there is nothing
    drawn = matrix(n, size, stride, "bilinear") @ np.arange(n)
    assert np.abs(drawn - u)[inside].max(initial=0) <= 4 * n * np.finfo(float).eps


@pytest.mark.parametrize(("mode", "filter_"), [("bilinear", Image.BILINEAR), ("bicubic", Image.BICUBIC)])
def test_pillow_agrees_away_from_the_edge(mode, filter_):
    n, edge = 11, 5  # Pillow clamps and renormalizes within two cells of the edge
    x = np.random.default_rng(3).integers(-99, 99, (n, n)).astype(np.float32)
    theirs = np.asarray(Image.fromarray(x).resize((2 * n, 2 * n), filter_), np.float64)
    rows = matrix(n, 2, 2, mode)
    inner = (slice(edge, -edge),) * 2
    # Pillow rounds each of its two passes to single precision: two roundings of sums of four terms.
    bound = 2 * 8 * 2.0**-24 * (np.abs(rows) @ np.abs(x) @ np.abs(rows.T))
    assert (np.abs(rows @ x @ rows.T - theirs) <= bound)[inner].all()


def test_bicubic_with_another_kernel_would_disagree_with_pillow():
    n, row = 11, 11
    theirs = np.asarray(Image.fromarray(np.eye(1, n, 4, dtype=np.float32)).resize((2 * n, 1), Image.BICUBIC))[0, row]
    a = -0.75  # PyTorch's
    t = abs((row - 0.5) / 2 - 4)
    other = a * t**3 - 5 * a * t**2 + 8 * a * t - 4 * a
    assert abs(other - theirs) > 0.01
    assert matrix(n, 2, 2, "bicubic")[row, 4] == theirs
