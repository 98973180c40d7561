"""The command line: ``decoding show FILE`` and ``decoding decode FILE --layer L -o out.png``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from . import DecodingError, decode_layer, fast, load_matconvnet, montage, save_picture, threshold
from .interpolation import MODES


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} ({self.prog} --help shows how)\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status: 0, or 2 where an argument or a file is wrong."""
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read the table has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (DecodingError, OSError) as error:
        print(f"decoding: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="decoding", description="Picture what drives the units of a trained convolutional network.")
    commands = parser.add_subparsers(required=True, metavar="show|decode")

    show = commands.add_parser("show", help="print the table of a network's layers")
    show.set_defaults(run=_show)
    draw = commands.add_parser("decode", help="draw the decoded filters of a layer")
    draw.set_defaults(run=_decode)
    for command in (show, draw):
        command.add_argument("file", metavar="FILE", help="a MatConvNet network, .mat")

    draw.add_argument("--layer", required=True, metavar="L", help="number, from 1, or name")
    draw.add_argument("--filter", type=int, nargs="+", metavar="K", help="units, from 0; all unless given")
    draw.add_argument("--unpool", choices=MODES, default="nearest", help="interpolation that undoes pooling")
    draw.add_argument("--threshold", action="store_true", help="three levels, at one standard deviation of the filter")
    draw.add_argument("-o", "--output", required=True, metavar="out.png", help="the picture to write")
    return parser


def _show(options: argparse.Namespace) -> None:
    print(load_matconvnet(options.file))


def _decode(options: argparse.Namespace) -> None:
    net = load_matconvnet(options.file)
    layer = int(options.layer) if options.layer.removeprefix("-").isdecimal() else options.layer
    units = range(net.channels(layer)) if options.filter is None else options.filter
    filters = decode_layer(net, layer, units=units, unpool=options.unpool, backend=fast)
    if options.threshold:
        filters = threshold(filters)
    save_picture(options.output, montage(filters, labels=units))
    count, (rows, columns) = len(filters), filters.shape[2:]
    print(
        f"{options.output}: {count} decoded filter{'s' * (count != 1)} of layer {options.layer}, {rows}×{columns} each"
    )


if __name__ == "__main__":
    sys.exit(main())
