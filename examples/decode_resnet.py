"""The decoded filters of a residual network
=========================================

A block of a residual network adds what it computes to its input, so there are many paths from a unit to the image. A decoded filter
is the sum over all of them. After the first stage decoded filters show strokes. After the third stage, and for the classes, they
fill the whole receptive field, and little can be read in them. ``deep.py`` and ``second_order.py`` show what can be done about that.

::

    python examples/decode_resnet.py [weights.mat] [-o folder]
"""

# sphinx_gallery_thumbnail_path = 'images/deep-resnet.png'

import argparse
from pathlib import Path

import decoding
from decoding.files import check_folder
from decoding.terminal import run

LAYERS = ("block1.1.sum", "block2.1.sum", "block3.1.sum", "fc")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "weights", nargs="?", help="a network of examples/train_resnet.py, .mat (default: the one in the package)"
    )
    parser.add_argument("-o", "--output", default="decoded", help="folder for the pictures (default: %(default)s)")
    options = parser.parse_args()
    check_folder(options.output)

    net = decoding.load_matconvnet(options.weights) if options.weights else decoding.resnet()
    folder = Path(options.output)
    folder.mkdir(parents=True, exist_ok=True)
    print(net)
    for layer in LAYERS:
        print(f"{layer} …", end="\r", flush=True)
        filters = decoding.decode_layer(net, layer)
        labels = net.classes if layer == LAYERS[-1] and net.classes else range(len(filters))
        path = folder / f"{layer}.png"
        title = f"{layer} of the residual network: {len(filters)} decoded filters\nRed: what drives the unit; blue: what suppresses it."
        picture = decoding.montage(filters, columns=12, labels=labels, title=title, bar=True)
        decoding.save_picture(path, picture)
        rows, columns = filters.shape[2:]
        print(f"{layer}: {len(filters)} filters, {rows}×{columns} pixels each: {path}")


if __name__ == "__main__":
    raise SystemExit(run("decode_resnet.py", main))
