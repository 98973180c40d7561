"""Figure 1: ten decoded filters, and their responses to ten digits
================================================================

For each of the ten decoded filters, one digit was chosen: that to which it responds most. Each column is one of these digits, and
each row holds the responses of one filter to them. So the diagonal is the largest number of each row by construction. What counts is
whether it is the largest of its column as well, since then no filter of another class responds more to that digit. The triangles
show where that is so.

.. image:: /images/figure1.png
   :alt: Figure 1: ten decoded filters, and their responses to ten digits

::

    python examples/figure1.py [--mnist folder] [-o folder]
"""

# sphinx_gallery_thumbnail_path = 'images/figure1.png'

import argparse
from pathlib import Path

import numpy as np

import decoding
from decoding.files import check_folder
from decoding.picture import colour_bar
from decoding.terminal import run
from panels import BLACK, centred, explained, framed, ink, numbers, page, progress

LAYER, ZOOM, CELL = 7, 2, 60


def matrix(found):
    """The matrix of responses in colours with numbers; the diagonal is framed, and the maxima of rows and columns are marked."""
    picture = numbers(found.matrix, CELL)
    for j in range(len(found.matrix)):
        picture = framed(picture, (CELL * j, CELL * j, CELL * (j + 1), CELL * (j + 1)), BLACK, 3)
    rows, columns = found.matrix.argmax(axis=1), found.matrix.argmax(axis=0)
    for i, j in enumerate(rows):
        picture = _marked(picture, CELL * i + CELL // 2, CELL * j + 5, (0, 1))
    for j, i in enumerate(columns):
        picture = _marked(picture, CELL * i + 5, CELL * j + CELL // 2, (1, 0))
    return picture


def _marked(picture, top, left, towards):
    """Draw a small triangle that points down, or to the right."""
    for step in range(8):
        half = 7 - step
        along, across = (slice(top + step, top + step + 1), slice(left - half, left + half + 1))
        if towards == (0, 1):
            along, across = (slice(top - half, top + half + 1), slice(left + step, left + step + 1))
        picture[along, across] = BLACK
    return picture


def draw(filters, images, found):
    thresholded, count = decoding.threshold(filters), len(filters)
    left = [
        [f"{i}", decoding.montage(thresholded[[i]], zoom=ZOOM)[2:-2], decoding.montage(filters[[i]], zoom=ZOOM)[2:-2]]
        for i in range(count)
    ]
    digits = [
        np.concatenate(
            [
                centred(f"{j}", CELL),
                decoding.montage(ink(images[[n]]), zoom=ZOOM)[2:-2, 2:-2],
                centred(f"a {label},\nno. {n}", CELL),
            ]
        )
        for j, (label, n) in enumerate(zip(found.labels, found.images, strict=True))
    ]
    head = np.concatenate(digits, axis=1)
    bar = colour_bar(300, full=np.abs(found.matrix).max())
    heads = "filter,\nthree levels, decoded"
    picture = page([[heads, head], [page(left, gap=0), matrix(found)], [None, bar]], gap=6)
    other = [j for j in range(count) if not found.columns[j]]
    text = (
        "Column j is the digit to which decoded filter j responds most. So the diagonal (framed) is the largest of each row: a "
        "triangle that points right. A triangle that points down marks the largest of each column: where it stands on the "
        f"diagonal, no filter of another class responds more to this digit. It does for {count - len(other)} of {count}"
        + (f", not for {' and '.join(map(str, other))}." if other else ".")
        + f" Used as ten classifiers, each a single convolution, the filters are right on {found.accuracy:.1%} of the digits."
    )
    return explained("Ten decoded filters of LeNet (rows), and their responses to ten digits (columns)", text, picture)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mnist", metavar="folder", help="MNIST's IDX files, for all 70,000 digits")
    parser.add_argument("-o", "--output", default="reproduced", help="folder for the picture (default: %(default)s)")
    options = parser.parse_args(arguments)
    check_folder(options.output)

    net = decoding.lenet()
    images, labels = decoding.mnist(options.mnist, "all") if options.mnist else decoding.mnist()
    x = net.normalize(images)
    found = decoding.response_matrix(net, x, LAYER, labels=labels, backend=decoding.fast, progress=progress("figure 1"))
    path = Path(options.output) / "figure1.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    decoding.save_picture(path, draw(decoding.decode_layer(net, LAYER), images, found))
    print(
        f"{path}: {len(images)} digits, labels of those chosen {found.labels.tolist()}, accuracy {found.accuracy:.4f},"
    )
    print(f"  columns with their maximum on the diagonal: {found.columns.sum()} of {len(found.columns)}")
    return {path: "Figure 1: decoded filters of layer 7, the digits they like best, and all their responses"}


if __name__ == "__main__":
    raise SystemExit(run("figure1.py", main))
