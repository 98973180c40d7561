"""Figure 3: a digit, a 3 unless you choose, seen by the network and by its decoded filters, on layers 1, 3 and 5.

python examples/figure3.py [--digit N] [-o folder]
"""

import argparse
from pathlib import Path

import numpy as np

import decoding
from decoding.files import check_folder
from decoding.terminal import run
from panels import grey, ink, page

SHOWN = {1: 20, 3: 25}  # maps of layers 1 and 3; the 500 responses of layer 5 are single numbers, and all are shown


def full_range(responses):
    """From 0 to 1 over all filters and positions, as equation 3 does it."""
    return (responses - responses.min()) / np.ptp(responses)


def panel(layer, responses):
    maps = full_range(responses[0])
    if layer == 5:
        return decoding.montage(grey(maps.reshape(1, 1, 20, 25)), zoom=8)
    return decoding.montage(grey(maps[: SHOWN[layer], np.newaxis]), columns=5, zoom={1: 2, 3: 6}[layer], scale="shared")


def draw(net, image, name):
    x = net.normalize(image)
    rows = [
        [
            None,
            "by the network",
            "by decoded filters; error is that of equation 3 for this image",
        ]
    ]
    for layer in (1, 3, 5):
        by_network = panel(layer, net.forward(x, layer))
        by_filters = panel(layer, decoding.decoded_responses(net, x, layer, unpool="bicubic"))
        error = decoding.reconstruction_error(net, x, layer, unpool="bicubic")
        what = {1: "20 maps", 3: "the first 25\nof 50 maps", 5: "500 responses,\n25 in a row"}[layer]
        note = f"error {error.mean:.4f}\ncorrelation {error.correlation:.3f}"
        rows.append([f"layer {layer}\n{what}", by_network, by_filters, note])
    rows[1][-1] += "\nthe same filters;\nonly biases differ"
    title = f"Responses to {name}, from black (least of the layer) to white (most); bicubic unpooling."
    return page([[title], [decoding.montage(ink(image), zoom=3)], [page(rows, gap=12)]])


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--digit", type=int, default=30, metavar="N", help="number of a test digit (default: %(default)s, a 3)"
    )
    parser.add_argument("-o", "--output", default="reproduced", help="folder for the picture (default: %(default)s)")
    options = parser.parse_args(arguments)
    check_folder(options.output)

    images, labels = decoding.mnist()
    number = options.digit
    if not 0 <= number < len(images):
        raise SystemExit(f"figure3.py: there is no digit {number}: they count from 0 to {len(images) - 1}.")
    path = Path(options.output) / "figure3.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    name = f"test digit {number}, a {labels[number]}"
    decoding.save_picture(path, draw(decoding.lenet(), images[[number]], name))
    print(f"{path}: {name}")
    return {path: f"Figure 3: responses to {name}, by the network and by decoded filters"}


if __name__ == "__main__":
    raise SystemExit(run("figure3.py", main))
