"""Figure 2: the scheme of decoding, with numbers small enough to follow by hand.

    python examples/figure2.py [-o folder]

A filter of 3×3 over a 2×2 pool over a filter of 2×2; one channel.
"""

import argparse
from pathlib import Path

import numpy as np

import decoding
from decoding.files import check_folder
from decoding.picture import GAP, write_text
from decoding.terminal import run
from panels import page

CELL = 28
LOWER = [[1, 2], [0, 3]]
TOP = [[0, 1, 0], [1, 2, 0], [0, 0, -1]]


def network():
    return decoding.Network([decoding.Conv([[LOWER]]), decoding.MaxPool(2), decoding.Conv([[TOP]])])


def numbers(array):
    """A montage of the array with its numbers in the cells."""
    array = np.asarray(array, float)
    picture = decoding.montage(array[np.newaxis, np.newaxis], zoom=CELL)
    texts = [(GAP + CELL * c + 4, GAP + CELL * r + 7, f"{value:.0f}") for (r, c), value in np.ndenumerate(array)]
    # Dark cells are written on in white: in black, on the negative, turned back.
    dark = [picture[top, left].mean() < 128 for left, top, _ in texts]
    picture = write_text(picture, [text for text, is_dark in zip(texts, dark, strict=True) if not is_dark])
    return 255 - write_text(255 - picture, [text for text, is_dark in zip(texts, dark, strict=True) if is_dark])


def steps(net):
    """The arrays that are drawn: after steps (a), (b) and (d), and two of the substitutions of step (c), each alone."""
    impulse = np.ones((1, 1, 1, 1))
    top, unpooled, decoded = (decoding.decode(net, 3, impulse, to=to)[0, 0] for to in (2, 1, 0))
    alone = []
    for place in ((2, 2), (5, 5)):
        one = np.zeros_like(unpooled)
        one[place] = unpooled[place]
        alone.append(decoding.decode(net, 1, one[np.newaxis, np.newaxis])[0, 0])
    return top, unpooled, alone, decoded


def draw(net):
    top, unpooled, alone, decoded = steps(net)
    first = [
        [
            "the unit, 1×1:\na response of 1",
            "(a) substitution: the pixel becomes\nthe filter of layer 3, 3×3",
            "(b) unpooling, nearest: layer 2,\na pool of 2×2, undone: 6×6",
            "the filter of layer 1, 2×2",
        ],
        [numbers([[1]]), numbers(top), numbers(unpooled), numbers(LOWER)],
    ]
    then = [
        [
            "(c) substitution: the pixel 2 in row 2, column 2 ...",
            "... the pixel -1 in row 5, column 5 ...",
            "(d) ... all added: the decoded filter, 7×7",
        ],
        [numbers(alone[0]), numbers(alone[1]), numbers(decoded)],
    ]
    title = "Decoding a filter: rows and columns count from 0; blue below 0, grey 0, red above; each panel has its own scale."
    return page([[title], [page(first, gap=12)], [page(then, gap=12)]])


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", default="reproduced", help="folder for the picture (default: %(default)s)")
    options = parser.parse_args(arguments)
    check_folder(options.output)

    path = Path(options.output) / "figure2.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    decoding.save_picture(path, draw(network()))
    print(f"{path}: decoding, step by step")
    return {path: "Figure 2: the scheme of decoding, with its numbers"}


if __name__ == "__main__":
    raise SystemExit(run("figure2.py", main))
