"""The decoded filters of LeNet
============================

Layer 1 shows edges and bars, layer 3 strokes and curves, layer 5 larger parts of digits, and layer 7 what speaks for and against each
of the ten digits. Each layer is drawn with three interpolations that undo the pools (nearest, bilinear, bicubic). A smoother
interpolation makes smoother pictures, and changes little else. There is no pool below layer 1, so that has only one picture.

.. image:: /images/figure4-layer3.png
   :alt: The decoded filters of LeNet

::

    python examples/decode_lenet.py [weights.mat] [-o folder]
"""

# sphinx_gallery_thumbnail_path = 'images/figure4-layer3.png'

import argparse
from pathlib import Path

import numpy as np

import decoding
from decoding.files import check_folder
from decoding.terminal import run

LAYERS = (1, 3, 5, 7)
MOST = 50  # of layers with more units, only the decoded filters with the most energy are drawn


def choose(filters):
    energy = np.square(filters).sum(axis=(1, 2, 3))
    return np.sort(np.argsort(-energy, kind="stable")[:MOST])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("weights", nargs="?", help="a MatConvNet LeNet, .mat (default: the one in the package)")
    parser.add_argument("-o", "--output", default="decoded", help="folder for the pictures (default: %(default)s)")
    options = parser.parse_args()
    check_folder(options.output)

    net = decoding.load_matconvnet(options.weights) if options.weights else decoding.lenet()
    folder = Path(options.output)
    folder.mkdir(parents=True, exist_ok=True)
    print(net)
    for layer in LAYERS:
        pools = any(isinstance(lower, decoding.Pool) for lower in net.layers[: layer - 1])
        for unpool in ("nearest", "bilinear", "bicubic") if pools else ("nearest",):
            print(f"layer {layer}, {unpool} …", end="\r", flush=True)
            filters = decoding.decode_layer(net, layer, unpool=unpool)
            chosen = choose(filters)
            count = (
                f"{len(chosen)} of {len(filters)} filters" if len(chosen) < len(filters) else f"{len(filters)} filters"
            )
            name, how = (
                (f"layer{layer}-{unpool}", f", pools undone by {unpool} interpolation")
                if pools
                else (f"layer{layer}", "")
            )
            for suffix, drawn, what in (
                ("", filters, "Red: what drives the unit; blue: what suppresses it."),
                (
                    "-threshold",
                    decoding.threshold(filters),
                    "Beyond one standard deviation of the filter: three levels.",
                ),
            ):
                title = f"Layer {layer}: {count}, decoded{how}\n{what}"
                picture = decoding.montage(drawn[chosen], columns=10, labels=chosen, title=title, bar=not suffix)
                decoding.save_picture(folder / f"{name}{suffix}.png", picture)
            rows, columns = filters.shape[2:]
            print(f"layer {layer}{how}: {count}, {rows}×{columns} pixels each: {folder}/{name}*.png")


if __name__ == "__main__":
    raise SystemExit(run("decode_lenet.py", main))
