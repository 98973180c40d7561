"""Figure 2: how a filter is decoded, with all numbers
===================================================

One unit is carried down to the image: a filter of 3×3, above a 2×2 pool, above a filter of 2×2. Its response of 1 is replaced by its
filter, and the pool is undone. Then each pixel is replaced by the filter of the layer below, times that pixel, and copies that
overlap are added. The picture shows every number on the way. The network has only one channel, so that all numbers fit.

.. image:: /images/figure2.png
   :alt: Figure 2: how a filter is decoded, with all numbers

::

    python examples/figure2.py [-o folder]
"""

# sphinx_gallery_thumbnail_path = 'images/figure2.png'

import argparse
from pathlib import Path

import numpy as np

import decoding
from decoding.files import check_folder
from decoding.terminal import run
from panels import GREEN, ORANGE, Sheet, explained, framed, numbers

CELL = 28
LOWER = [[1, 2], [0, 3]]
TOP = [[0, 1, 0], [1, 2, 0], [0, 0, -1]]
PLACES = {(2, 2): GREEN, (5, 5): ORANGE}  # the two pixels that are followed, and their colours


def network():
    return decoding.Network([decoding.Conv([[LOWER]]), decoding.MaxPool(2), decoding.Conv([[TOP]])])


def steps(net):
    """The arrays that are drawn: the results of steps (a), (b) and (d), and two single substitutions of step (c)."""
    impulse = np.ones((1, 1, 1, 1))
    top, unpooled, decoded = (decoding.decode(net, 3, impulse, to=to)[0, 0] for to in (2, 1, 0))
    alone = []
    for place in PLACES:
        one = np.zeros_like(unpooled)
        one[place] = unpooled[place]
        alone.append(decoding.decode(net, 1, one[np.newaxis, np.newaxis])[0, 0])
    return top, unpooled, alone, decoded


def draw(net):
    top, unpooled, alone, decoded = steps(net)
    middle, lefts = 106, (4, 150, 350, 664)
    sheet = Sheet(lefts[-1] + 7 * CELL + 8, 380)
    stages = ([[1]], top, unpooled, decoded)
    names = (
        "one unit of layer 3:\na response of 1",
        "the filter of layer 3,\n3×3",
        "its pool undone, 6×6:\neach pixel is there four times",
        "the decoded filter,\n7×7 pixels of the image",
    )
    boxes = []
    for array, left, name in zip(stages, lefts, names, strict=True):
        picture = numbers(array, CELL)
        for (row, column), colour in PLACES.items():
            span = {6: 1, 7: 2}.get(len(array))
            if span:
                at = CELL * row, CELL * column
                picture = framed(picture, (*at, at[0] + span * CELL, at[1] + span * CELL), colour)
        start = middle - len(picture) // 2
        sheet.picture(picture, left, start)
        sheet.text(name, left, middle + len(picture) // 2 + 4)
        boxes.append((left, left + picture.shape[1]))
    said = ("(a) substitute", "(b) unpool", "(c) substitute, (d) add")
    for (_, start), (end, _), words in zip(boxes, boxes[1:], said, strict=False):
        sheet.arrow((start + 6, middle), (end - 6, middle), width=2)
        sheet.text(words, start + 8, middle - 20)
    sheet.text("the filter of layer 1, 2×2", 4, 306)
    sheet.picture(numbers(LOWER, CELL), 4, 244)
    left = 350
    for (place, colour), one, name in zip(PLACES.items(), alone, ("green", "orange"), strict=True):
        row, column = place
        part = numbers(one[row : row + 2, column : column + 2], CELL)
        sheet.picture(framed(part, (0, 0, *part.shape[:2]), colour), left, 244)
        pixel = f"{unpooled[place]:.0f}"
        sheet.text(
            f"(c) in place of the {name}\npixel, {pixel}: {pixel} times\nthe filter of layer 1",
            left + 66,
            244,
            colour=colour,
        )
        left += 260
    sheet.text(
        "(c) Every pixel of the 6×6 is replaced by the filter of layer 1 times that pixel; two of the copies are shown. (d) All copies\n"
        "are added where they overlap. The first pixel of the green frame on the right, 4, is 2 times 1 from this copy, and 1 times 2\n"
        "from that of the pixel left of the green one.",
        4, 328,
    )  # fmt: skip
    return sheet.finished()


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", default="reproduced", help="folder for the picture (default: %(default)s)")
    options = parser.parse_args(arguments)
    check_folder(options.output)

    path = Path(options.output) / "figure2.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = explained(
        "How a filter is decoded: one unit, carried down to the image",
        "Each step down replaces a response by the filter that made it, or undoes a pool. Red is above 0, grey 0, blue below.",
        draw(network()),
    )
    decoding.save_picture(path, picture)
    print(f"{path}: decoding, step by step")
    return {path: "Figure 2: the scheme of decoding, with its numbers"}


if __name__ == "__main__":
    raise SystemExit(run("figure2.py", main))
