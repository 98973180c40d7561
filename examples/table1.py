"""Table 1: how well decoded filters tell a network's responses
============================================================

It prints the error of equation 3 (smaller is better) of LeNet's decoded filters on layers 3, 5 and 7, for three interpolations, with the
paper's own values beside it. They agree within the paper's standard deviations, and errors grow with depth.

It measures on the 10,000 digits that come with the package, or on all 70,000 of MNIST's own files. Below the table are references
that the paper does not have: random filters; filters turned by 180° ("the transposed filter", taken literally); unpooling that
inserts zeros; and, as the lowest error that can be expected, the linear filters with constants that least squares finds. These are
fitted on one half of the digits and measured on the other, for both halves.

::

    python examples/table1.py [--mnist folder] [-o folder]
"""

import argparse
import json
from pathlib import Path

import decoding
from decoding import baselines
from decoding.files import check_folder
from decoding.terminal import run
from panels import as_csv, progress, save_text

LAYERS = (3, 5, 7)
PAPER = {
    ("bicubic", 3): (0.002, 0.001),
    ("nearest", 3): (0.0022, 0.001),
    ("bilinear", 3): (0.003, 0.001),
    ("bicubic", 5): (0.012, 0.005),
    ("nearest", 5): (0.012, 0.005),
    ("bilinear", 5): (0.013, 0.0055),
    ("bicubic", 7): (0.078, 0.056),
    ("nearest", 7): (0.077, 0.055),
    ("bilinear", 7): (0.081, 0.057),
}
INTERPOLATIONS = ("bicubic", "nearest", "bilinear")
FLOOR = "least squares"


def references(net, layer):
    """Filters to measure in place of the decoded ones."""
    return {
        "random": baselines.random_filters(net, layer),
        "turned": decoding.decode_layer(baselines.turned(net), layer),
        "turned below": decoding.decode_layer(baselines.turned(net, below=layer), layer),
        "zeros inserted": decoding.decode_layer(baselines.zero_insertion(net), layer),
    }


def table(net, images):
    """The `ReconstructionError` of each row and layer. The network is run once for all rows except least squares."""
    meters = {}
    for layer in LAYERS:
        for unpool in INTERPOLATIONS:
            meters[unpool, layer] = decoding.ReconstructionMeter(net, layer, unpool=unpool, backend=decoding.fast)
        for name, filters in references(net, layer).items():
            meters[name, layer] = decoding.ReconstructionMeter(net, layer, filters=filters, backend=decoding.fast)
    decoding.measure(net, images, list(meters.values()), backend=decoding.fast, progress=progress("equation 3"))
    errors = {key: meter.result() for key, meter in meters.items()}
    parts = [floor(net, fitted_on, measured_on) for fitted_on, measured_on in halves(images)]
    errors.update({(FLOOR, layer): parts[0][layer] + parts[1][layer] for layer in LAYERS})
    return errors


def halves(images):
    """The two pairs (images to fit on, images to measure on), so that no image is measured by what was fitted on it."""
    even, odd = images[::2], images[1::2]
    return (even, odd), (odd, even)


def floor(net, fitted_on, measured_on):
    """For each layer the `ReconstructionError` of the filters and constants that least squares finds."""
    fits = {layer: baselines.LeastSquaresMeter(net, layer) for layer in LAYERS}
    decoding.measure(net, fitted_on, list(fits.values()), backend=decoding.fast, progress=progress("least squares"))
    meters = {}
    for layer, fit in fits.items():
        filters, bias = fit.result()
        meters[layer] = decoding.ReconstructionMeter(net, layer, filters=filters, bias=bias, backend=decoding.fast)
    decoding.measure(net, measured_on, list(meters.values()), backend=decoding.fast, progress=progress("its error"))
    return {layer: meter.result() for layer, meter in meters.items()}


def as_text(errors, count):
    rows = list(dict.fromkeys(name for name, _ in errors))
    cells = [[f"{count} digits", *(f"layer {layer}" for layer in LAYERS)]]
    for name in rows:
        cells.append([name, *(f"{errors[name, layer].mean:.4f} ± {errors[name, layer].std:.4f}" for layer in LAYERS)])
        if (name, LAYERS[0]) in PAPER:
            cells.append(["  the paper's", *("{:.4f} ± {:.4f}".format(*PAPER[name, layer]) for layer in LAYERS)])
        cells.append(["  correlation", *(f"{errors[name, layer].correlation:.3f}" for layer in LAYERS)])
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in cells)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mnist", metavar="folder", help="MNIST's IDX files, for all 70,000 digits")
    parser.add_argument("-o", "--output", default="reproduced", help="folder for the table (default: %(default)s)")
    options = parser.parse_args(arguments)
    check_folder(options.output)

    net = decoding.lenet()
    images, _ = decoding.mnist(options.mnist, "all") if options.mnist else decoding.mnist()
    errors = table(net, net.normalize(images))

    records = [
        {
            "filters": name,
            "layer": layer,
            "mean": error.mean,
            "std": error.std,
            "correlation": error.correlation,
            "paper_mean": PAPER.get((name, layer), (None, None))[0],
            "paper_std": PAPER.get((name, layer), (None, None))[1],
            "images": len(images),
        }
        for (name, layer), error in errors.items()
    ]
    folder = Path(options.output)
    text = as_text(errors, len(images))
    save_text(folder / "table1.txt", text + "\n")
    save_text(folder / "table1.json", json.dumps(records, indent=1) + "\n")
    save_text(folder / "table1.csv", as_csv(records[0], [record.values() for record in records]))
    print(text)
    return {folder / "table1.txt": "Table 1, with the paper's values and references; also table1.csv and table1.json"}


if __name__ == "__main__":
    raise SystemExit(run("table1.py", main))
