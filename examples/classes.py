"""What LeNet looks for in each digit, in four pictures each
=========================================================

The decoded filter of a class shows where ink speaks for that class and where against it. Few digits can be read in these filters, since
a filter also has to cancel what digits have in common. The pattern of a filter shows what digits look like where the filter
responds. The most exciting image takes the second order into account as well; most of the ten digits can be read in it. The last
row shows which of the 10,000 bundled digits drives each unit most.

.. image:: /images/classes.png
   :alt: What LeNet looks for in each digit, in four pictures each

::

    python examples/classes.py [-o folder]
"""

# sphinx_gallery_thumbnail_path = 'images/classes.png'

import argparse
from pathlib import Path

import numpy as np

import decoding
from decoding.files import check_folder
from decoding.picture import GAP, colour_bar
from decoding.terminal import run
from panels import centred, explained, ink, page, progress

LAYER, ZOOM = 7, 3
CALIBRATION = 2000  # how many digits to calibrate on
RADIUS = 4  # standard deviations of the most exciting image from the mean: as many as a digit has


def pictures(net, images):
    """The pictures, by their labels, (10, 1, 28, 28) each; and the number of the digit that drives each unit most."""
    some = images[:CALIBRATION]
    quadratic = decoding.quadratize(net, some, backend=decoding.fast, progress=progress("calibration", "layers"))
    statistics = decoding.covariance(some)
    units = decoding.decode_quadratic(quadratic, LAYER, range(10), statistics=statistics, backend=decoding.fast)
    filters = decoding.decode_layer(net, LAYER)
    best = decoding.top_images(net, images, LAYER, None, n=1, backend=decoding.fast).indices[:, 0]
    drawn = {
        "the decoded filter:\nwhat it weighs": filters,
        "its pattern: what\ndigits have where\nthe filter responds": decoding.patterns(
            net, images, LAYER, via="decoded"
        ),
        "the most exciting\nimage, to the\nsecond order": np.stack([unit.most_exciting(RADIUS) for unit in units]),
    }
    return drawn, best


def tiles(bank):
    return [decoding.montage(filter_[np.newaxis], zoom=ZOOM)[GAP:-GAP, GAP:-GAP] for filter_ in bank]


def draw(drawn, digits):
    rows = [["", *(centred(str(k), ZOOM * 28) for k in range(10))]]
    rows += [[what, *tiles(bank)] for what, bank in drawn.items()]
    rows.append(["the digit that drives\nthe unit most,\nof all 10,000", *tiles(ink(digits))])
    picture = page([[page(rows)], [page([["", colour_bar(240)]])]])
    text = (
        "Each column is one class. In the decoded filters (first row) red is where ink speaks for the digit, blue where it speaks "
        "against it; the images of the other rows are about the mean digit: red is more ink than that, blue less."
    )
    return explained("What LeNet looks for in each digit: layer 7", text, picture)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", default="reproduced", help="folder for the picture (default: %(default)s)")
    options = parser.parse_args(arguments)
    check_folder(options.output)

    net = decoding.lenet()
    images, _ = decoding.mnist()
    drawn, best = pictures(net, net.normalize(images))
    path = Path(options.output) / "classes.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    decoding.save_picture(path, draw(drawn, images[best]))
    print(f"{path}: the ten classes of LeNet")
    return {path: "What LeNet looks for in each digit"}


if __name__ == "__main__":
    raise SystemExit(run("classes.py", main))
