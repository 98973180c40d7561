"""Figure 4: LeNet's decoded filters, layers 1, 3, 5 and 7, with what they look like in the digits.

python examples/figure4.py [--mnist folder] [-o folder]
"""

import argparse
from pathlib import Path

import numpy as np

import decoding
from decoding.files import check_folder
from decoding.terminal import run
from panels import ink, page, progress

UNPOOL, CLASS = "bicubic", 5
COLOURS = "Blue below 0, grey 0, red above; each filter has its own scale"
SCALE = f"{COLOURS}; {UNPOOL} unpooling."


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
        """Mean response to the class minus mean response to the rest."""
        counts = np.bincount(self.labels, minlength=10)
        rest = np.arange(10) != wanted
        return self.sums[wanted] / counts[wanted] - self.sums[rest].sum(axis=0) / counts[rest].sum()


def overlaid(filter_, image, colour):
    """The decoded filter with the digit's ink over it."""
    picture = decoding.montage(filter_[np.newaxis], zoom=3)
    cover = (image[0].repeat(3, axis=0).repeat(3, axis=1) / 255)[..., np.newaxis] * 0.7
    tile = picture[4:-4, 4:-4]
    picture[4:-4, 4:-4] = (tile * (1 - cover) + np.array(colour) * cover).astype(np.uint8)
    return picture


def strips(filters, images, best):
    """A row for each filter: decoded, thresholded, and its best images."""
    thresholded = decoding.threshold(filters)
    return [
        [
            decoding.montage(filters[[i]], zoom=2),
            decoding.montage(thresholded[[i]], zoom=2),
            decoding.montage(ink(images[best[i]]), columns=4, zoom=2),
        ]
        for i in range(len(filters))
    ]


def numbered(filters, zoom):
    return decoding.montage(filters, columns=10, zoom=zoom, labels=range(len(filters)))


def layer5_page(net, images, chosen, by_network, by_filter):
    filters = decoding.decode_layer(net, 5, unpool=UNPOOL)[chosen]
    rows = strips(filters, images, by_network[chosen])
    for row, k, filter_ in zip(rows, chosen, filters, strict=True):
        true = net.layers[4].filters[k][:, np.newaxis]
        row.insert(0, f"filter {k}")
        row.append(decoding.montage(true, columns=13, zoom=4, scale="shared"))
        row.append(overlaid(filter_, images[by_network[k, 0]], (220, 0, 0)))
        row.append(overlaid(filter_, images[by_filter[k, 0]], (240, 210, 0)))
    heads = [
        "",
        "decoded",
        "(a) threshold",
        "(c) the network's first four",
        "(b) the filter: 50 channels of 4×4",
        "(d) network's best",
        "(d) decoded's best",
    ]
    title = (
        f"Layer 5, 28×28: the 7 of 500 filters that like the class {CLASS} best (mean response to it minus to the rest)\n"
        f"{COLOURS}, in (b) each channel shares that of its filter; {UNPOOL} unpooling."
    )
    return page([[title], [page([heads, *rows], gap=10)]])


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
    heads = ["", "decoded", "(e) threshold", "(f) the network's first four"]
    rows = [[str(i), *row] for i, row in enumerate(strips(banks[7], images, best7))]
    pages = {
        "layer1": page([[f"Layer 1, 5×5: 20 filters. {COLOURS}."], [numbered(banks[1], 10)]]),
        "layer3": page([[f"Layer 3, 14×14: 50 filters. {SCALE}"], [numbered(banks[3], 5)]]),
        "layer5": layer5_page(net, images, chosen, best5, best_decoded),
        "layer7": page([[f"Layer 7, 28×28: the ten classes.\n{SCALE}"], [page([heads, *rows], gap=10)]]),
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
