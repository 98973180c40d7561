"""A layer of any network, in colour
=================================

It draws the decoded filters of a layer in colour; mid-grey stands for zero. The first layers of networks for photographs show oriented
edges, and opponent colours such as yellow against blue. FILE.mat is a network of MatConvNet, such as imagenet-vgg-f.mat; the
networks that were published with it are listed at https://www.vlfeat.org/matconvnet/pretrained/.

.. image:: /images/natural.png
   :alt: A layer of any network, in colour

::

    python examples/natural.py FILE.mat [--layer L] [--most N] [--unpool MODE] [-o decoded.png]
"""

# sphinx_gallery_thumbnail_path = 'images/natural.png'

import argparse

import numpy as np

import decoding
from decoding.files import check_writable
from decoding.terminal import run

AT_A_TIME = 64  # how many units are decoded at a time


def last_convolution(net):
    """The number of the last convolution that has no unsupported layer below it."""
    numbers = []
    for number, layer in enumerate(net.layers, 1):
        if isinstance(layer, decoding.UnsupportedLayer):
            break
        if isinstance(layer, decoding.Conv):
            numbers.append(number)
    if not numbers:
        raise decoding.UnsupportedLayerError("the network has no convolution that can be decoded.")
    return numbers[-1]


def strongest(net, number, unpool, most):
    """The units whose decoded filters have the most energy, and these filters; only some units are in memory at a time."""
    units, best, done = net.channels(number), [], 0
    for part in decoding.iterate_layer(net, number, AT_A_TIME, unpool=unpool, backend=decoding.fast):
        largest = np.abs(part).max(axis=(1, 2, 3), keepdims=True) + np.finfo(part.dtype).tiny  # no square overflows
        norms = largest.ravel() * np.sqrt(np.square(part / largest).sum(axis=(1, 2, 3)))
        best += [(-norm, done + i, part[i]) for i, norm in enumerate(norms)]
        best = sorted(best, key=lambda found: found[:2])[:most]
        done += len(part)
        print(f"decoding layer {number}: {done} of {units} units", end="\r", flush=True)
    best.sort(key=lambda found: found[1])
    return [k for _, k, _ in best], np.stack([filters for _, _, filters in best])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", metavar="FILE.mat", help="a MatConvNet network")
    parser.add_argument("--layer", metavar="L", help="number, from 1, or name (default: the last convolution)")
    parser.add_argument("--most", type=int, default=64, metavar="N", help="filters to draw (default: %(default)s)")
    parser.add_argument("--unpool", choices=("nearest", "bilinear", "bicubic"), default="bicubic")
    parser.add_argument("-o", "--output", default="decoded.png", help="the picture (default: %(default)s)")
    options = parser.parse_args()
    check_writable(options.output)

    net = decoding.load_matconvnet(options.file)
    print(net)
    layer = last_convolution(net) if options.layer is None else options.layer
    number = net.index(int(layer) if str(layer).isdecimal() else layer)
    chosen, drawn = strongest(net, number, options.unpool, max(1, options.most))
    if drawn.shape[1] not in (1, 3):
        print(
            f"Images of this network have {drawn.shape[1]} channels, neither grey nor colour, so the sum over channels is drawn."
        )
        drawn = drawn.sum(axis=1, keepdims=True)
    (rows, columns), units = drawn.shape[2:], net.channels(number)
    which = "" if len(chosen) == units else f", the {len(chosen)} with the most energy"
    title = f"Layer {number}: {units} decoded filters{which}"
    decoding.save_picture(options.output, decoding.montage(drawn, labels=chosen, title=title, bar=True))
    print(f"{options.output}: {units} units of layer {number}{which}, {rows}×{columns} pixels each")


if __name__ == "__main__":
    raise SystemExit(run("natural.py", main))
