"""Figure 4: decoded filters, and the digits that drive them most
==============================================================

Decoded filters of layers 1 and 3 are edges, bars and curves, like the strokes of digits. Of layer 5, the seven units are shown that
prefer the class 5 most. The digits that drive them most are fives, and the outlines of these digits follow the red parts of the decoded
filters. The ten units of layer 7 stand for the classes. In few of their decoded filters a digit can be read, because a filter shows
what is weighed, also against other digits, and not what a digit looks like.

.. image:: /images/figure4-layer5.png
   :alt: Figure 4: decoded filters, and the digits that drive them most

::

    python examples/figure4.py [--mnist folder] [-o folder]
"""

# sphinx_gallery_thumbnail_path = 'images/figure4-layer5.png'

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

import decoding
from decoding.files import check_folder
from decoding.picture import GAP
from decoding.terminal import run
from panels import BLACK, explained, ink, page, progress

UNPOOL, CLASS = "bicubic", 5
COLOURS = "Red is where ink drives the unit, blue where ink suppresses it; each filter has its own scale."


class ClassMeans:
    """A meter: the mean response of each unit of a layer to each class."""

    def __init__(self, layer, units, labels):
        self.layer, self.labels = layer, labels
        self.sums = np.zeros((10, units))

    def part(self, images, responses, start):
        sums = np.zeros_like(self.sums)
        np.add.at(sums, self.labels[start : start + len(images)], responses.max(axis=(2, 3)))
        return sums

    def add(self, part):
        self.sums += part

    def liking(self, wanted):
        """For each unit, the mean response to one class minus the mean response to the others."""
        counts = np.bincount(self.labels, minlength=10)
        rest = np.arange(10) != wanted
        return self.sums[wanted] / counts[wanted] - self.sums[rest].sum(axis=0) / counts[rest].sum()


def outlined(filter_, image, zoom=4):
    """The decoded filter under the outline of the digit, which is drawn where its ink is half as dark as possible."""
    picture = decoding.montage(filter_[np.newaxis], zoom=zoom)[GAP:-GAP, GAP:-GAP].copy()
    smooth = Image.fromarray(image[0]).resize(picture.shape[1::-1], Image.Resampling.BICUBIC)
    inside = np.pad(np.asarray(smooth) > 127, 1)
    core = inside[1:-1, 1:-1]
    edge = core & ~(inside[2:, 1:-1] & inside[:-2, 1:-1] & inside[1:-1, 2:] & inside[1:-1, :-2])
    picture[edge] = BLACK
    return picture


def strips(filters, images, best):
    """For each filter its pictures: decoded, in three levels, and its best images."""
    thresholded = decoding.threshold(filters)
    return [
        [
            decoding.montage(filters[[i]], zoom=3),
            decoding.montage(thresholded[[i]], zoom=3),
            decoding.montage(ink(images[best[i]]), columns=4, zoom=2),
        ]
        for i in range(len(filters))
    ]


def bank(layer, filters, zoom, what):
    size = "×".join(map(str, filters.shape[2:]))
    picture = decoding.montage(filters, columns=10, zoom=zoom, labels=range(len(filters)), bar=True)
    return explained(
        f"Layer {layer} of LeNet: all {len(filters)} decoded filters, {size} pixels", f"{what} {COLOURS}", picture
    )


def layer5_page(net, images, chosen, by_network, by_filter):
    filters = decoding.decode_layer(net, 5, unpool=UNPOOL)[chosen]
    rows = []
    for (decoded, levels, first), k, filter_ in zip(
        strips(filters, images, by_network[chosen]), chosen, filters, strict=True
    ):
        true = decoding.montage(net.layers[4].filters[k][:, np.newaxis], columns=13, zoom=6, scale="shared")
        network, own = (outlined(filter_, images[best[k, 0]]) for best in (by_network, by_filter))
        rows.append([f"unit {k}", decoded, levels, true, first, page([[network, own]], gap=4)])
    heads = [
        "",
        "decoded",
        "(a) decoded,\nthree levels",
        "(b) the filter itself:\n50 channels of 4×4",
        "(c) the four digits that drive\nthe unit most in the network",
        "(d) decoded, and the outline of the digit\nthat drives most (left) the unit in the\nnetwork, (right) the decoded filter",
    ]
    text = (
        f"The seven of 500 units whose mean response to the class {CLASS} exceeds that to the rest most. {COLOURS} In (b) the channels "
        "of a filter share its scale: nothing can be read in them, and in (a) and (d) strokes can. Pools are undone by bicubic "
        "interpolation."
    )
    return explained(
        f"Layer 5 of LeNet: seven units that like the digit {CLASS}, 28×28 pixels", text, page([heads, *rows], gap=10)
    )


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mnist", metavar="folder", help="MNIST's IDX files, for all 70,000 digits")
    parser.add_argument("-o", "--output", default="reproduced", help="folder for the pictures (default: %(default)s)")
    options = parser.parse_args(arguments)
    check_folder(options.output)

    net = decoding.lenet()
    images, labels = decoding.mnist(options.mnist, "all") if options.mnist else decoding.mnist()
    means = ClassMeans(5, net.channels(5), labels)
    top5, top7 = decoding.TopImagesMeter(net, 5), decoding.TopImagesMeter(net, 7)
    by_filter = decoding.TopImagesMeter(net, 5, via="decoded", unpool=UNPOOL, backend=decoding.fast)
    meters = [means, top5, top7, by_filter]
    decoding.measure(net, net.normalize(images), meters, backend=decoding.fast, progress=progress("figure 4"))
    chosen = np.argsort(-means.liking(CLASS), kind="stable")[:7]
    best5, best7, best_decoded = (meter.result().indices for meter in (top5, top7, by_filter))

    banks = {layer: decoding.decode_layer(net, layer, unpool=UNPOOL) for layer in (1, 3, 7)}
    heads = [
        "class",
        "decoded",
        "(e) decoded,\nthree levels",
        "(f) the four digits that drive\nthe unit most in the network",
    ]
    rows = [[str(i), *row] for i, row in enumerate(strips(banks[7], images, best7))]
    classes = (
        f"The units of the last convolution, one for each digit. {COLOURS} The digits are right; in the decoded filters few can "
        "be read, for a filter shows what is weighed, also against other digits, and not how a digit looks."
    )
    pages = {
        "layer1": bank(1, banks[1], 10, "The decoded filters of the first layer are its filters: edges and bars."),
        "layer3": bank(3, banks[3], 5, "Strokes and curves: each is made of several filters of layer 1."),
        "layer5": layer5_page(net, images, chosen, best5, best_decoded),
        "layer7": explained("Layer 7 of LeNet: the ten classes, 28×28 pixels", classes, page([heads, *rows], gap=10)),
    }
    folder = Path(options.output)
    folder.mkdir(parents=True, exist_ok=True)
    made = {}
    for name, picture in pages.items():
        path = folder / f"figure4-{name}.png"
        decoding.save_picture(path, picture)
        print(path)
        made[path] = f"Figure 4: decoded filters of LeNet, {name}"
    labels5 = {int(k): labels[best5[k]].tolist() for k in chosen}
    print(f"labels of the network's first four images of the 7 filters of layer 5: {labels5}")
    print(f"labels of the best image of their decoded filters: {labels[best_decoded[chosen, 0]].tolist()}")
    return made


if __name__ == "__main__":
    raise SystemExit(run("figure4.py", main))
