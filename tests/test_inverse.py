"""Section 2: each method to invert a convolution, on cases worked by hand, by its law, and where it fails."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from decoding import InvalidValueError, ShapeError, inverse, reference
from decoding.inverse import BORDERS, adjoint, fourier, linear_system, lost_frequencies, recovery_error, respond, turned

EPS = np.finfo(float).eps


def integers(seed, *shape):
    return np.random.default_rng(seed).integers(-4, 5, shape).astype(float)


@pytest.mark.parametrize(("border", "want"), [("valid", [21, 32]), ("same", [21, 32, 3]), ("full", [10, 21, 32, 3])])
def test_borders_by_hand(border, want):
    assert respond([[[[1, 2, 3]]]], [[[[1, 10]]]], border=border).ravel().tolist() == want


def test_same_is_centred_on_each_pixel():
    impulse = np.zeros((1, 1, 5, 5))
    impulse[0, 0, 2, 2] = 1
    want = integers(0, 1, 1, 3, 3)
    assert (respond(impulse, want, border="same")[0, 0, 1:4, 1:4] == want[0, 0, ::-1, ::-1]).all()


@given(st.integers(0, 99), st.sampled_from(BORDERS))
def test_the_adjoint_law(seed, border):
    x, bank = integers(seed, 2, 3, 6, 7), integers(seed + 1, 4, 3, 2, 3)
    y = respond(x, bank, border=border)
    z = integers(seed + 2, *y.shape)
    assert (y * z).sum() == (x * adjoint(z, bank, border=border)).sum()


def test_the_literal_reading_breaks_the_adjoint_law():
    x, bank = integers(1, 2, 3, 6, 7), integers(2, 4, 3, 2, 3)
    y = respond(x, bank)
    z = integers(3, *y.shape)
    assert (y * z).sum() != (x * turned(z, bank)).sum()


def test_valid_adjoint_is_substitution():
    z, bank = integers(1, 2, 4, 5, 3), integers(2, 4, 3, 2, 3)
    assert (adjoint(z, bank) == reference.substitute(z, bank)).all()
    assert (turned(z, bank) == reference.substitute(z, bank[:, :, ::-1, ::-1])).all()


def test_a_symmetric_filter_has_one_reading():
    z, box = integers(1, 1, 1, 5, 4), np.ones((1, 1, 3, 3))
    assert (turned(z, box) == adjoint(z, box)).all()


def test_substitution_is_no_inverse():
    image = integers(1, 1, 1, 6, 7)
    back = adjoint(respond(image, [[[[1, 2]]]], border="full"), [[[[1, 2]]]], border="full")
    # Each pixel comes back (1 + 4) times, and 1 · 2 of each neighbour beside it.
    beside = np.pad(image, ((0, 0), (0, 0), (0, 0), (1, 1)))
    assert (back == 5 * image + 2 * (beside[..., :-2] + beside[..., 2:])).all()


@given(st.integers(0, 99))
def test_division_gives_the_image_back_where_the_spectrum_has_no_zero(seed):
    image, bank = integers(seed, 2, 1, 6, 7), integers(seed + 1, 1, 1, 2, 3)
    bank[0, 0, 0, 0] = 30  # more than the rest together: no zero
    got = fourier(respond(image, bank, border="full"), bank, border="full")
    condition = np.abs(bank).sum() / (30 - (np.abs(bank).sum() - 30))
    assert np.abs(got - image).max() <= 100 * image[0].size * EPS * condition * np.abs(image).max()


@pytest.mark.parametrize("border", BORDERS)
def test_division_puts_the_image_back_in_its_place(border):
    """With zeros all around no border leaves a response out."""
    image = np.zeros((1, 1, 9, 11))
    image[0, 0, 3:6, 2:8] = integers(5, 3, 6)
    bank = np.array([[[[30.0, 1, -2], [3, -1, 2]]]])  # the first is more than the rest together: no zero
    got = fourier(respond(image, bank, border=border), bank, border=border)
    assert np.abs(got - image).max() <= 100 * image.size * EPS * 39 / (30 - 9) * np.abs(image).max()
    held = inverse.wiener(respond(image, bank, border=border), bank, border=border, noise=EPS)
    assert np.abs(held - got).max() <= 100 * image.size * EPS * 39 / (30 - 9) * np.abs(image).max()


def test_wiener_of_a_bank_by_hand():
    # (1 · 10 + 2 · 20) / (1² + 2² + 5)
    got = inverse.wiener([[[[10]], [[20]]]], [[[[1]]], [[[2]]]], noise=5)
    assert np.abs(got - 5).max() <= 40 * EPS


def test_division_of_a_bank_gives_colours_back():
    image, bank = integers(1, 2, 3, 6, 7), integers(2, 5, 3, 2, 3)
    assert lost_frequencies(bank, (6, 7)) == 0
    got = fourier(respond(image, bank, border="full"), bank, border="full")
    assert recovery_error(got, image) <= 1e6 * EPS  # squared errors; the bank's condition is below 1000


def test_too_few_filters_for_the_colours_lose_the_rest():
    assert lost_frequencies(integers(2, 1, 3, 2, 2), (4, 4)) == 2 * 5 * 5


def test_what_the_spectrum_lacks_is_lost():
    """A difference is blind to the mean: of an image and the image plus 1, the same comes back."""
    difference = np.array([[[[1.0, -1.0]]]])
    assert lost_frequencies(difference, (1, 7)) == 1
    assert lost_frequencies([[[[1.0, -2.0]]]], (1, 7)) == 0
    image = integers(3, 1, 1, 1, 7)
    got = fourier(respond(image, difference, border="full"), difference, border="full")
    assert recovery_error(got, image) > 0.01


def test_division_drowns_in_noise_and_wiener_does_not():
    image, box = integers(4, 1, 1, 12, 12), np.ones((1, 1, 3, 3)) / 9
    y = respond(image, box, border="full")
    noise = 0.1 * np.random.default_rng(0).standard_normal(y.shape)
    divided = fourier(y + noise, box, border="full")
    held = inverse.wiener(y + noise, box, noise=(0.1 / image.std()) ** 2, border="full")
    assert recovery_error(held, image) < recovery_error(divided, image) / 2


def test_wiener_by_hand():
    assert inverse.wiener([[[[6]]]], [[[[2]]]], noise=2).tolist() == [[[[2]]]]


def test_wiener_needs_noise():
    for noise in (0, -1, np.inf, np.nan):
        with pytest.raises(InvalidValueError, match="noise must be"):
            inverse.wiener([[[[6]]]], [[[[2]]]], noise=noise)


@pytest.mark.parametrize(("border", "equations", "rank"), [("valid", 2, 2), ("same", 3, 3), ("full", 4, 3)])
def test_ranks_by_hand(border, equations, rank):
    bank = [[[[1.0, 10.0]]]]
    system = linear_system(respond([[[[1, 2, 3]]]], bank, border=border)[0], bank, border=border)
    assert (system.unknowns, system.equations, system.rank, system.augmented_rank) == (3, equations, rank, rank)
    assert system.residual <= 100 * EPS


def test_responses_of_no_image_raise_the_rank():
    bank = [[[[1.0, 10.0]]]]
    system = linear_system([[[10, 21, 32, 5]]], bank, border="full")
    assert (system.rank, system.augmented_rank) == (3, 4)
    assert system.residual > 0.001


def test_a_rank_below_both_sides_and_its_residual_by_hand():
    # Both windows hold both pixels: A is all ones. Of b = (1, 0) it can give (1/2, 1/2), by (1/4, 1/4).
    system = linear_system([[[1, 0]]], [[[[1, 1, 1]]]], border="same")
    assert (system.unknowns, system.equations, system.rank, system.augmented_rank) == (2, 2, 1, 2)
    assert np.abs(system.image - 1 / 4).max() <= 100 * EPS
    assert abs(system.residual - np.sqrt(1 / 2)) <= 100 * EPS
    assert linear_system([[[3, 3]]], [[[[1, 1, 1]]]], border="same").augmented_rank == 1
    assert linear_system([[[0, 0]]], [[[[1, 1, 1]]]], border="same").residual == 0


def test_the_rank_of_a_box_by_hand():
    # A row to which a box of 5 is blind repeats itself every 5 pixels. Of 14, the two zeros before and the two behind
    # leave a single one, x at pixels 1, 6, 11 and -x at 2, 7, 12: rank 13 in a row, and 13 * 13 in the plane.
    system = linear_system(np.zeros((1, 14, 14)), np.ones((1, 1, 5, 5)), border="same")
    assert (system.unknowns, system.equations, system.rank) == (196, 196, 169)


def test_what_sobel_is_blind_to_by_hand():
    # 16 * 16 frequencies. 1, 0, -1 along rows has two zeros, the mean and the fastest: 2 * 16. 1, 2, 1 along columns has
    # one, the fastest: 16. Two are in both: 32 + 16 - 2.
    assert lost_frequencies([[[[1, 0, -1], [2, 0, -2], [1, 0, -1]]]], (14, 14)) == 46


def test_a_valid_border_leaves_many_images_and_takes_the_smallest():
    bank = [[[[3.0, 4.0]]]]
    system = linear_system([[[25.0]]], bank)
    assert np.abs(system.image - [[[3, 4]]]).max() <= 100 * EPS


def test_the_system_of_a_bank_gives_colours_back():
    image, bank = integers(1, 1, 2, 3, 4), integers(2, 3, 2, 2, 2)
    system = linear_system(respond(image, bank, border="full")[0], bank, border="full")
    assert system.rank == system.augmented_rank == system.unknowns == 24
    assert recovery_error(system.image, image[0]) <= 1e6 * EPS


def test_the_recovery_error_does_not_see_gain():
    image = integers(1, 1, 1, 3, 4)
    assert recovery_error(-8 * image, image) == 0
    assert recovery_error([[0, 0]], [[1, 2]]) == 1
    assert recovery_error([[1, 0]], [[3, 4]]) == 1 - 9 / 25


def test_the_recovery_error_neither_overflows_nor_underflows():
    assert recovery_error([2.0**700, 0], [2.0**-700, 2.0**-700]) == 0.5
    assert recovery_error([-(2.0**-1060), 0], [2.0**1000, 2.0**1000]) == 0.5


Y = np.ones((1, 2, 3, 4))
BANK = np.ones((2, 3, 2, 2))
REFUSED = {
    "border": (
        lambda: respond(np.ones((1, 3, 4, 4)), BANK, border="circular"),
        InvalidValueError,
        "'valid', 'same', 'full'",
    ),
    "maps": (lambda: fourier(Y[:, :1], BANK), ShapeError, "1 map for 2 filters"),
    "maps of adjoint": (lambda: adjoint(Y[:, :1], BANK), ShapeError, "1 map for 2 filters"),
    "small": (lambda: fourier(Y, np.ones((2, 3, 9, 2)), border="full"), ShapeError, "too small for border 'full'"),
    "small adjoint": (lambda: adjoint(Y, np.ones((2, 3, 9, 2)), border="full"), ShapeError, "too small for border"),
    "NaN": (lambda: fourier(Y * np.nan, BANK), InvalidValueError, "not finite"),
    "NaN filters": (lambda: adjoint(Y, BANK * np.nan), InvalidValueError, "filters: 24 of 24 values are not finite"),
    "no filters": (lambda: respond(Y, BANK[:0]), ShapeError, "no filters"),
    "NaN images": (
        lambda: respond(np.full((1, 3, 4, 4), np.nan), BANK),
        InvalidValueError,
        "respond: images: 48 of 48",
    ),
    "NaN responses": (lambda: adjoint(Y * np.nan, BANK), InvalidValueError, "adjoint: responses: 24 of 24"),
    "NaN turned": (lambda: turned(Y * np.nan, BANK), InvalidValueError, "responses: 24 of 24"),
    "response": (lambda: linear_system(Y, BANK), ShapeError, r"three axes \(K, H, W\), .*responses\[0\]"),
    "flat response": (lambda: linear_system(Y[0, 0], BANK), ShapeError, r"three axes .* \(3, 4\)\.$"),
    "words": (lambda: recovery_error(["a"], ["b"]), InvalidValueError, "real numbers"),
    "noise": (lambda: inverse.wiener(Y, BANK, noise="a"), InvalidValueError, "noise must be .* 'a'"),
    "shape": (lambda: lost_frequencies(BANK, (1, 2, 3)), ShapeError, r"lost_frequencies: shape .*\(rows, columns\)"),
    "no shape": (lambda: lost_frequencies(BANK, (0, 4)), ShapeError, "at least 1"),
    "shape of halves": (lambda: lost_frequencies(BANK, (1.5, 4)), ShapeError, "lost_frequencies: shape"),
    "shapes": (lambda: recovery_error([1, 2], [1]), ShapeError, "different shapes"),
    "zero image": (lambda: recovery_error([1, 2], [0, 0]), InvalidValueError, "zero everywhere"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case):
    call, error, message = REFUSED[case]
    with pytest.raises(error, match=message):
        call()
