"""What a decoded filter leaves out, measured on LeNet
===================================================

It prints three measurements. The first is how much cancels in a decoded filter: the magnitudes that are added up to make it, as a
multiple of what is left. That is 1 on layer 1, and over 400 on layer 7. The second is how far a filter is from a pattern: the cosine
between the decoded filter of each class and the mean digit of that class. The third is how much of the error is due to each part of
LeNet that is not linear: none of it to the biases, and most of it to the max pools.

::

    python examples/caveats.py [--mnist folder] [-o folder]
"""

import argparse
from pathlib import Path

import numpy as np

import decoding
from decoding import AvgPool, Conv, Dropout, MaxPool, Network, ReLU
from decoding.files import check_folder
from decoding.terminal import run
from panels import progress, save_text

LAYERS = (1, 3, 5, 7)


def rebuilt(net, change):
    return Network([change(layer) for layer in net.layers], mean=net.mean, input_shape=net.input_shape)


def magnitudes(layer):
    return Conv(np.abs(layer.filters), stride=layer.stride, pad=layer.pad) if isinstance(layer, Conv) else layer


def linear_but(*kept):
    """A function that makes a layer linear (averages for maxima, no rectifier, no biases), unless it is of one of the kept kinds."""

    def change(layer):
        if isinstance(layer, MaxPool) and MaxPool not in kept:
            return AvgPool(layer.size, layer.stride, pad=layer.pad)
        if isinstance(layer, ReLU) and ReLU not in kept:
            return Dropout()
        if isinstance(layer, Conv) and Conv not in kept:
            return Conv(layer.filters, stride=layer.stride, pad=layer.pad)
        return layer

    return change


def cancellation(net):
    """For each layer, the magnitudes added up over what is left: Σ |path| / |Σ path| over the pixels of a unit; median over units."""
    lines = []
    for layer in LAYERS:
        paths = np.abs(decoding.decode_layer(rebuilt(net, magnitudes), layer)).sum(axis=(1, 2, 3))
        left = np.abs(decoding.decode_layer(net, layer)).sum(axis=(1, 2, 3))
        lines.append(f"  layer {layer}: {np.median(paths / left):.1f}")
    return lines


def patterns(net, images, labels):
    """The cosine of each decoded filter of layer 7 with the mean digit of its class, from which the mean of all is subtracted."""
    filters = decoding.decode_layer(net, 7).reshape(10, -1)
    mean = images.mean(axis=0).ravel()
    means = np.stack([images[labels == k].mean(axis=0).ravel() - mean for k in range(10)])
    cosines = (filters * means).sum(axis=1) / np.linalg.norm(filters, axis=1) / np.linalg.norm(means, axis=1)
    return [
        f"  classes 0 to 9: {' '.join(f'{c:.2f}' for c in cosines)}",
        f"  median {np.median(cosines):.2f}",
    ]


def costs(net, images):
    """{parts: [error of each layer]}: the decoded filters against networks that have only these parts of LeNet."""
    kinds = {
        "none: averages, no ReLU, no biases": (),
        "biases": (Conv,),
        "max pools": (MaxPool,),
        "ReLU": (ReLU,),
        "ReLU and biases": (ReLU, Conv),
        "max pools and biases": (MaxPool, Conv),
        "all of LeNet": (MaxPool, ReLU, Conv),
    }
    errors = {}
    for name, kept in kinds.items():
        variant = rebuilt(net, linear_but(*kept))
        meters = [
            decoding.ReconstructionMeter(
                variant, layer, filters=decoding.decode_layer(net, layer), backend=decoding.fast
            )
            for layer in LAYERS[1:]
        ]
        decoding.measure(variant, images, meters, backend=decoding.fast, progress=progress(name))
        errors[name] = [meter.result().mean for meter in meters]
    return errors


def as_lines(errors):
    yield f"  {'':36}" + "".join(f"layer {layer:<8}" for layer in LAYERS[1:])
    for name, means in errors.items():
        yield f"  {name:36}" + "".join(f"{mean:<14.4f}" for mean in means)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mnist", metavar="folder", help="MNIST's IDX files, for all 70,000 digits")
    parser.add_argument("-o", "--output", default="reproduced", help="folder for the text (default: %(default)s)")
    options = parser.parse_args(arguments)
    check_folder(options.output)

    net = decoding.lenet()
    images, labels = decoding.mnist(options.mnist, "all") if options.mnist else decoding.mnist()
    x = net.normalize(images)
    lines = [
        f"LeNet, {len(images)} digits, nearest unpooling",
        "Cancellation: magnitudes added up to make a decoded filter, as a multiple of what is left",
        *cancellation(net),
        "A filter is not a pattern: cosine of each decoded filter of layer 7 with its class's mean digit",
        *patterns(net, x, labels),
        "What decoding ignores: error of equation 3 against LeNet with only these of its parts",
        *as_lines(costs(net, x)),
    ]
    path = Path(options.output) / "caveats.txt"
    save_text(path, "\n".join(lines) + "\n")
    print("\n".join(lines))
    return {path: "Caveats, measured"}


if __name__ == "__main__":
    raise SystemExit(run("caveats.py", main))
