"""Decode one layer of any network in a .mat file into a montage, in colour where the network sees colour.

python examples/natural.py FILE.mat [--layer L] [--most N] [--unpool MODE] [-o decoded.png]
"""

import argparse

import numpy as np

import decoding


def last_convolution(net):
    """The deepest one that nothing unsupported lies below."""
    numbers = []
    for number, layer in enumerate(net.layers, 1):
        if isinstance(layer, decoding.Unsupported):
            break
        if isinstance(layer, decoding.Conv):
            numbers.append(number)
    if not numbers:
        raise decoding.UnsupportedLayerError("no convolution in it can be decoded.")
    return numbers[-1]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", metavar="FILE.mat", help="a MatConvNet network")
    parser.add_argument("--layer", metavar="L", help="number, from 1, or name (default: the last convolution)")
    parser.add_argument("--most", type=int, default=64, metavar="N", help="filters to draw (default: %(default)s)")
    parser.add_argument("--unpool", choices=("nearest", "bilinear", "bicubic"), default="bicubic")
    parser.add_argument("-o", "--output", default="decoded.png", help="the picture (default: %(default)s)")
    options = parser.parse_args()

    net = decoding.load_matconvnet(options.file)
    print(net)
    layer = last_convolution(net) if options.layer is None else options.layer
    number = net.index(int(layer) if str(layer).isdecimal() else layer)
    print(f"decoding layer {number} …", end="\r", flush=True)
    filters = decoding.decode_layer(net, number, unpool=options.unpool, backend=decoding.fast)
    energy = np.square(filters).sum(axis=(1, 2, 3))
    chosen = np.sort(np.argsort(-energy, kind="stable")[: max(1, options.most)])
    drawn = filters[chosen]
    if drawn.shape[1] not in (1, 3):
        print(f"The {drawn.shape[1]} channels of the image are neither grey nor colours: their sum is drawn.")
        drawn = drawn.sum(axis=1, keepdims=True)
    decoding.save_picture(options.output, decoding.montage(drawn, labels=chosen))
    rows, columns = filters.shape[2:]
    strongest = "" if len(chosen) == len(filters) else f", the {len(chosen)} with the most energy"
    print(f"{options.output}: {len(filters)} units of layer {number}{strongest}, {rows}×{columns} pixels each")


if __name__ == "__main__":
    try:
        main()
    except (decoding.DecodingError, OSError) as error:
        raise SystemExit(f"natural.py: {error}") from None
