"""The network of the paper's supplement, made by hand: 4 strokes, 14 sub-shapes of strokes, a 2×2 pool, 8 characters of sub-shapes."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .arguments import brief
from .boundary import public
from .decoder import decode_layer
from .layers import Conv, MaxPool
from .network import Network

# Positive along the stroke, fading at its ends so that strokes in a row join, and a little negative beside it.
STROKES = {
    "rising": ((0, 0, 0, -1, 4), (0, 0, -1, 8, -1), (0, -1, 8, -1, 0), (-1, 8, -1, 0, 0), (4, -1, 0, 0, 0)),
    "falling": ((4, -1, 0, 0, 0), (-1, 8, -1, 0, 0), (0, -1, 8, -1, 0), (0, 0, -1, 8, -1), (0, 0, 0, -1, 4)),
    "upright": ((0, -1, 4, -1, 0), (0, -2, 8, -2, 0), (0, -2, 8, -2, 0), (0, -2, 8, -2, 0), (0, -1, 4, -1, 0)),
    "level": ((0, 0, 0, 0, 0), (-1, -2, -2, -2, -1), (4, 8, 8, 8, 4), (-1, -2, -2, -2, -1), (0, 0, 0, 0, 0)),
}

# Name: weight, and the cells of the 5×5 filter that hold it, as (stroke, row, column). The weights are chosen so that each
# sub-shape responds most where its own shape is, and that the strongest in a character are those that it is made of.
SUBSHAPES = {
    "bottom left corner": (10, [("upright", 2, 0), ("level", 4, 2)]),
    "bottom right corner": (10, [("upright", 2, 4), ("level", 4, 2)]),
    "top right corner": (10, [("upright", 2, 4), ("level", 0, 2)]),
    "top left corner": (10, [("upright", 2, 0), ("level", 0, 2)]),
    "short rising": (22, [("rising", 2, 2)]),
    "short falling": (22, [("falling", 2, 2)]),
    "short upright": (22, [("upright", 2, 2)]),
    "short level": (22, [("level", 2, 2)]),
    "top bar": (18, [("level", 0, 2)]),
    "tee": (8, [("level", 0, 0), ("level", 0, 4), ("upright", 2, 2)]),
    "bottom bar": (18, [("level", 4, 2)]),
    "left side": (9, [("upright", 0, 0), ("upright", 4, 0)]),
    "right side": (9, [("upright", 0, 4), ("upright", 4, 4)]),
    "crossing": (10, [("rising", 0, 4), ("rising", 4, 0), ("falling", 0, 0), ("falling", 4, 4)]),
}

# Name: weight, and the cells of the 3×3 filter that hold it, as (sub-shape, row, column).
CHARACTERS = {
    "C": (11, [("top left corner", 0, 0), ("top bar", 0, 2), ("bottom left corner", 2, 0), ("bottom bar", 2, 2)]),
    "D": (
        11,
        [("top left corner", 0, 0), ("short falling", 0, 2), ("bottom left corner", 2, 0), ("short rising", 2, 2)],
    ),
    "H": (12, [("left side", 1, 0), ("short level", 1, 1), ("right side", 1, 2)]),
    "O": (
        10,
        [
            ("top left corner", 0, 0),
            ("top right corner", 0, 2),
            ("bottom left corner", 2, 0),
            ("bottom right corner", 2, 2),
        ],
    ),
    "T": (13, [("tee", 0, 1), ("short upright", 2, 1)]),
    "X": (14, [("crossing", 1, 1)]),
    "Y": (14, [("short falling", 0, 0), ("short rising", 0, 2), ("short upright", 2, 1)]),
    "Z": (
        12,
        [("top bar", 0, 0), ("top bar", 0, 2), ("short rising", 1, 1), ("bottom bar", 2, 0), ("bottom bar", 2, 2)],
    ),
}


class Characters(NamedTuple):
    """The hand-made network, the names of its units, and its images.

    Attributes
    ----------
    net : Network
        conv 5·5·1·4, conv 5·5·4·14, max pool 2·2/2, conv 3·3·14·8, for images of 14×14; all weights are integers.
    images : ndarray of shape (8, 1, 14, 14)
        The decoded characters.
    strokes, subshapes, characters : tuples of str
        The names of the units of layers 1, 2 and 4, in order. The paper numbers units from 1.
    """

    net: Network
    images: npt.NDArray[np.float64]
    strokes: tuple[str, ...]
    subshapes: tuple[str, ...]
    characters: tuple[str, ...]

    def __repr__(self) -> str:
        return brief(self, self._fields)


@public
def characters() -> Characters:
    """Build the supplement's network of characters, by hand.

    Returns
    -------
    Characters
        ``.net``, ``.images``, ``.strokes``, ``.subshapes``, ``.characters``. Decoded filters have 5×5, 9×9, 10×10 and
        14×14 pixels.

    See Also
    --------
    contributions : What each of its filters is made of.

    Notes
    -----
    Paper: section 6 and figures 5 to 7, which give the sizes and some relations: C is made of sub-shapes 1, 4, 9 and
    11, sub-shape 1 of strokes 3 and 4, and C and D have sub-shape 1 at the bottom left. The weights are our choice.
    If a decoded character is given to the network, its own filter responds most, and the sub-shapes with the highest
    activations are those that it is made of. At the place of each of these, it responds more than the other 13 sub-shapes.

    Examples
    --------
    >>> made = characters()
    >>> made.images.shape, made.characters
    ((8, 1, 14, 14), ('C', 'D', 'H', 'O', 'T', 'X', 'Y', 'Z'))
    >>> made.net.forward(made.images).argmax(axis=1).ravel()
    array([0, 1, 2, 3, 4, 5, 6, 7])
    """
    strokes = np.array(list(STROKES.values()), np.float64)[:, np.newaxis]
    subshapes = _drawn_bank(SUBSHAPES, list(STROKES), 5)
    shapes = _drawn_bank(CHARACTERS, list(SUBSHAPES), 3)
    # A sub-shape whose own filter has large weights gets a small weight in a character, so that all parts look alike.
    strength = np.array([weight for weight, _ in SUBSHAPES.values()])
    shapes *= np.round(120 / strength)[:, np.newaxis, np.newaxis]
    net = Network(
        [
            Conv(strokes, name="strokes"),
            Conv(subshapes, name="subshapes"),
            MaxPool(2, name="pool"),
            Conv(shapes, name="characters"),
        ],
        classes=list(CHARACTERS),
        input_shape=(1, 14, 14),
    )
    return Characters(net, decode_layer(net, 4), tuple(STROKES), tuple(SUBSHAPES), tuple(CHARACTERS))


def _drawn_bank(designs: dict[str, Any], parts: list[str], size: int) -> npt.NDArray[np.float64]:
    bank = np.zeros((len(designs), len(parts), size, size))
    for k, (weight, cells) in enumerate(designs.values()):
        for part, row, column in cells:
            bank[k, parts.index(part), row, column] = weight
    return bank
