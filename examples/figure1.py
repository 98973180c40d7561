"""Figure 1: the ten decoded filters of LeNet's layer 7, the digits that each likes best, and all 100 responses.

python examples/figure1.py [--mnist folder] [-o folder]
"""

import argparse
from pathlib import Path

import numpy as np

import decoding
from decoding.files import check_folder
from decoding.terminal import run
from panels import ink, page, progress

LAYER, ZOOM = 7, 2


def draw(filters, images, found):
    thresholded = decoding.threshold(filters)
    chosen = enumerate(zip(found.labels, found.images, strict=True))
    labels = [f"chosen by\nfilter {j}:\na {label},\nno. {number}" for j, (label, number) in chosen]
    rows = [
        [None, "", "", *labels],
        [None, "threshold", "decoded", *(decoding.montage(ink(images[[j]]), zoom=ZOOM) for j in found.images)],
    ]
    largest = np.abs(found.matrix).max()
    for i, filter_ in enumerate(filters):
        row = [f"{i}", decoding.montage(thresholded[[i]], zoom=ZOOM), decoding.montage(filter_[np.newaxis], zoom=ZOOM)]
        for j, response in enumerate(found.matrix[i]):
            mark = "*" if response == found.matrix[:, j].max() else ""
            shade = np.full((1, 1, 1, 1), response / largest)
            cell = decoding.montage(np.concatenate([shade, np.ones((1, 1, 1, 1))]), columns=1, scale="shared", zoom=20)
            row.append(page([[f"{response:.0f}{mark}"], [cell[: 20 + 8]]], gap=0))
        rows.append(row)
    right = ", ".join(str(j) for j in np.flatnonzero(found.columns))
    title = (
        f"Layer {LAYER} of LeNet: responses of the decoded filters (rows) to the digits they chose (columns).\n"
        f"* the maximum of a column; on the diagonal for {right}. Colour: blue below 0, grey 0, red above.\n"
        f"Used as classifiers of one convolution, the ten filters are right on {found.accuracy:.1%} of the digits."
    )
    return page([[title], [page(rows)]])


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
