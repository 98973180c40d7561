"""Draw the decoded filters of LeNet: layers 1, 3, 5 and 7, three interpolations, and their three-level versions.

python examples/decode_lenet.py [weights.mat] [-o folder]
"""

import argparse
from pathlib import Path

import numpy as np

import decoding
from decoding.files import check_folder
from decoding.terminal import run

LAYERS = (1, 3, 5, 7)
MOST = 50  # of a larger layer, the decoded filters with the most energy are drawn


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
        for unpool in ("nearest", "bilinear", "bicubic"):
            print(f"layer {layer}, {unpool} …", end="\r", flush=True)
            filters = decoding.decode_layer(net, layer, unpool=unpool)
            chosen = choose(filters)
            for suffix, drawn in (("", filters), ("-threshold", decoding.threshold(filters))):
                path = folder / f"layer{layer}-{unpool}{suffix}.png"
                decoding.save_picture(path, decoding.montage(drawn[chosen], columns=10, labels=chosen))
            count = (
                f"{len(chosen)} of {len(filters)} filters" if len(chosen) < len(filters) else f"{len(filters)} filters"
            )
            rows, columns = filters.shape[2:]
            print(
                f"layer {layer}, {unpool}: {count}, {rows}×{columns} pixels each: {folder}/layer{layer}-{unpool}*.png"
            )


if __name__ == "__main__":
    raise SystemExit(run("decode_lenet.py", main))
