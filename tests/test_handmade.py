"""The hand-made network of the paper's supplement, claim by claim. The paper counts units from 1; here they count from 0."""

import numpy as np
import pytest

from decoding import contributions, decode_filter, decode_layer, handmade
from decoding.handmade import CHARACTERS, SUBSHAPES, characters


@pytest.fixture(scope="module")
def made():
    return characters()


@pytest.fixture(scope="module")
def activations(made):
    return made.net.activations(made.images)


def test_the_filters_are_four_fourteen_and_eight(made):
    assert [made.net.layers[i].filters.shape for i in (0, 1, 3)] == [(4, 1, 5, 5), (14, 4, 5, 5), (8, 14, 3, 3)]
    assert (len(made.strokes), len(made.subshapes), len(made.characters)) == (4, 14, 8)


def test_decoded_sizes_are_5_9_and_14(made):
    assert [decode_layer(made.net, layer).shape[2:] for layer in (1, 2, 4)] == [(5, 5), (9, 9), (14, 14)]


def test_c_is_made_of_subshapes_1_4_9_and_11(made):
    parts = contributions(made.net, 4, made.characters.index("C"))
    assert sorted(part.k + 1 for part in parts) == [1, 4, 9, 11]
    assert {part.layer for part in parts} == {2}


def test_subshape_1_is_made_of_strokes_3_and_4(made):
    parts = contributions(made.net, 2, 0)
    assert sorted(part.k + 1 for part in parts) == [3, 4]
    assert {part.layer for part in parts} == {1}


def test_c_and_d_share_subshape_1_at_the_bottom_left(made):
    for letter in "CD":
        parts = contributions(made.net, 4, made.characters.index(letter))
        assert [part.cell for part in parts if part.k == 0] == [(2, 0)], letter
    # No other sub-shape of C or D lies there.
    for letter in "CD":
        assert (made.net.layers[3].filters[made.characters.index(letter), 1:, 2, 0] == 0).all()


def test_subshape_1_is_a_corner_at_the_bottom_left(made):
    rows, columns = np.nonzero(decode_filter(made.net, 2, 0)[0] == decode_filter(made.net, 2, 0).max())
    assert set(zip(rows.tolist(), columns.tolist(), strict=True)) >= {(4, 2), (6, 5)}
    assert rows.max() == 6
    assert columns.min() == 2


def test_every_subshape_and_stroke_is_part_of_something(made):
    assert {part.k for k in range(8) for part in contributions(made.net, 4, k)} == set(range(14))
    assert {part.k for k in range(14) for part in contributions(made.net, 2, k)} == set(range(4))


def test_the_images_are_the_decoded_characters(made):
    assert (made.images == decode_layer(made.net, 4)).all()
    assert (made.images == np.round(made.images)).all()


def test_each_decoded_character_has_its_own_filter_as_the_largest_response(activations):
    top = activations[4][:, :, 0, 0]
    assert (top.argmax(axis=1) == np.arange(8)).all()
    # And by a margin.
    others = np.where(np.eye(8, dtype=bool), -np.inf, top).max(axis=1)
    assert (top.diagonal() > 1.06 * others).all()


def winners(made, pooled, letter):
    """(sub-shape that should respond most, the one that does) at each place of a character."""
    cells = CHARACTERS[letter][1]
    return [(part, made.subshapes[pooled[:, row, column].argmax()]) for part, row, column in cells]


@pytest.mark.parametrize("letter", CHARACTERS)
def test_at_each_place_of_a_character_its_own_subshape_responds_most(made, activations, letter):
    pooled = activations[3][made.characters.index(letter)]
    for wanted, found in winners(made, pooled, letter):
        assert found == wanted
    for _, row, column in CHARACTERS[letter][1]:
        second, first = np.sort(pooled[:, row, column])[-2:]
        assert first > 1.06 * second


def test_without_the_negative_beside_strokes_that_fails(monkeypatch):
    plain = {name: np.maximum(stroke, 0) for name, stroke in handmade.STROKES.items()}
    monkeypatch.setattr(handmade, "STROKES", plain)
    made = characters()
    pooled = made.net.forward(made.images, 3)[made.characters.index("Z")]
    assert any(found != wanted for wanted, found in winners(made, pooled, "Z"))


def test_a_character_turned_over_is_not_its_own(made):
    """The check of the largest response can fail: a C, mirrored, has another filter's."""
    mirrored = made.images[[made.characters.index("C")], :, :, ::-1]
    assert made.net.forward(mirrored).argmax() != made.characters.index("C")


def test_the_four_most_active_subshapes_of_c_are_those_it_is_made_of(made, activations):
    maxima = activations[2][made.characters.index("C")].max(axis=(1, 2))
    assert sorted(np.argsort(maxima)[-4:] + 1) == [1, 4, 9, 11]


def margins(made):
    """Of each character, how much stronger the weakest sub-shape that it is made of is than the strongest other."""
    maxima = made.net.forward(made.images, 2).max(axis=(2, 3))
    own = [sorted({part.k for part in contributions(made.net, 4, k)}) for k in range(8)]
    return [maxima[k, own[k]].min() / np.delete(maxima[k], own[k]).max() for k in range(8)]


def test_the_most_active_subshapes_of_every_character_are_those_it_is_made_of(made):
    assert min(margins(made)) > 1.03


def test_the_most_active_strokes_of_every_character_are_those_it_is_made_of(made, activations):
    for k, letter in enumerate(made.characters):
        own = sorted(
            {stroke.k for part in contributions(made.net, 4, k) for stroke in contributions(made.net, 2, part.k)}
        )
        maxima = activations[1][k].max(axis=(1, 2))
        assert maxima[own].min() > 1.3 * np.delete(maxima, own).max(initial=0), letter


def test_with_subshapes_of_equal_weight_that_fails(monkeypatch):
    monkeypatch.setattr(handmade, "SUBSHAPES", {name: (10, cells) for name, (_, cells) in SUBSHAPES.items()})
    assert min(margins(characters())) < 1


def test_the_two_most_active_strokes_of_c_are_the_two_it_is_made_of(made, activations):
    maxima = activations[1][made.characters.index("C")].max(axis=(1, 2))
    assert sorted(np.argsort(maxima)[-2:] + 1) == [3, 4]


# Drawn by hand on a grid of 5×5, without looking at the network.
DRAWN = {
    "C": ("#####", "#....", "#....", "#....", "#####"),
    "D": ("###..", "#..#.", "#..#.", "#..#.", "###.."),
    "H": ("#...#", "#...#", "#####", "#...#", "#...#"),
    "O": ("#####", "#...#", "#...#", "#...#", "#####"),
    "T": ("#####", "..#..", "..#..", "..#..", "..#.."),
    "X": ("#...#", ".#.#.", "..#..", ".#.#.", "#...#"),
    "Y": ("#...#", ".#.#.", "..#..", "..#..", "..#.."),
    "Z": ("#####", "...#.", "..#..", ".#...", "#####"),
}


@pytest.mark.parametrize("letter", CHARACTERS)
def test_the_pictures_read_as_characters(made, letter):
    """Of eight letters drawn by hand, the picture is most like the one it claims to be, and more like it than not."""
    picture = made.images[made.characters.index(letter), 0, 2:12, 2:12].ravel()
    alike = {}
    for name, rows in DRAWN.items():
        drawing = np.array([[cell == "#" for cell in row] for row in rows], float).repeat(2, axis=0).repeat(2, axis=1)
        alike[name] = np.corrcoef(picture, drawing.ravel())[0, 1]
    assert max(alike, key=alike.get) == letter
    assert alike[letter] > 0.5


def test_all_weights_are_integers(made):
    for layer in (made.net.layers[i] for i in (0, 1, 3)):
        assert (layer.filters == np.round(layer.filters)).all()
        assert not layer.bias.any()
    assert len(SUBSHAPES) == 14
