"""Figure 3: one digit, seen by the network and by its decoded filters
===================================================================

On the left are the responses of LeNet's units to one digit, on the right those of their decoded filters, each a single convolution of
the same image. If decoding were exact, both sides would be equal, and all points would lie on the diagonals. That is so on layer 1;
the deeper the layer, the more they differ.

.. image:: /images/figure3.png
   :alt: Figure 3: one digit, seen by the network and by its decoded filters

::

    python examples/figure3.py [--digit N] [-o folder]
"""

# sphinx_gallery_thumbnail_path = 'images/figure3.png'

import argparse
from pathlib import Path

import numpy as np

import decoding
from decoding.files import check_folder
from decoding.terminal import run
from panels import explained, grey, page, scatter

SHOWN = {1: 20, 3: 25}  # how many maps of layers 1 and 3 are shown; of layers 5 and 7, with one response per unit, all


def full_range(responses):
    """The responses brought to the range from 0 to 1, over all filters and positions, as in equation 3."""
    return (responses - responses.min()) / np.ptp(responses)


def maps(layer, responses):
    zoom = {1: 2, 3: 6}[layer]
    return decoding.montage(grey(responses[: SHOWN[layer], np.newaxis]), columns=5, zoom=zoom, scale="shared")


def draw(net, image, name):
    x = net.normalize(image)
    rows, points = [], []
    for layer in (1, 3, 5, 7):
        decoded = decoding.decoded_responses(net, x, layer, unpool="bicubic")
        both = [full_range(responses[0]) for responses in (net.forward(x, layer), decoded)]
        error = decoding.reconstruction_error(net, x, layer, unpool="bicubic")
        note = f"error {error.mean:.4f}\ncorrelation {error.correlation:.3f}"
        if layer in SHOWN:
            which = f"the first {SHOWN[layer]}\nof {net.channels(layer)} units"
            which = which if SHOWN[layer] < net.channels(layer) else f"all {SHOWN[layer]} units"
            rows.append([f"Layer {layer}:\n{which}\n\n{note}", *(maps(layer, responses) for responses in both)])
        else:
            labels = net.classes if layer == 7 else None
            what = "each its class" if layer == 7 else "each a point"
            title = f"Layer {layer}: all {net.channels(layer)} units, {what}\n{note}"
            points += [
                [title],
                [scatter(*(responses.ravel() for responses in both), "network", "decoded filter", labels=labels)],
            ]
    title = "A map shows the response of one unit at all its places.\nWhite is the most of its layer, black the least."
    digit = [[f"The image:\n{name}", decoding.montage(grey(image / 255), zoom=3), title]]
    left = page([[None, "the network", "decoded filters"], *rows], gap=12)
    return page([[page(digit, gap=12)], [page([[left, page(points)]], gap=12)]])


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
    picture = explained(
        "What a network responds to one digit, and what its decoded filters respond",
        "Where decoding is right, both sides of the maps look alike, and the points lie on the diagonal. White is more than black "
        "everywhere: more ink in the image, more response in the maps. 0 and 1 are the least and the greatest response of a layer, "
        "as equation 3 takes them, whose error is given. Pools are undone by bicubic interpolation.",
        draw(decoding.lenet(), images[[number]], name),
    )
    decoding.save_picture(path, picture)
    print(f"{path}: {name}")
    return {path: f"Figure 3: responses to {name}, by the network and by decoded filters"}


if __name__ == "__main__":
    raise SystemExit(run("figure3.py", main))
