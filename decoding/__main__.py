"""The command line: ``decoding show``, ``decoding decode``, ``decoding quadratic`` and ``decoding explore``."""

from __future__ import annotations

import argparse
import csv
import io
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from . import (
    BatchNorm,
    Network,
    __version__,
    datasets,
    decode_layer,
    decode_quadratic,
    explore,
    fast,
    load,
    montage,
    quadratize,
    save_picture,
    threshold,
)
from .arguments import Array, cut
from .decoder import UNPOOLS, unit
from .errors import InvalidValueError
from .explorer.pictures import prepared, read_pictures
from .files import check_writable, replacing, shown
from .loading import format_of
from .picture import FORMATS
from .terminal import Parser, run

BUNDLED = [name for name in ("lenet", "resnet") if hasattr(datasets, name)]
NUMBERS = (".npy", ".csv")  # endings of files that hold numbers instead of a picture

_RANGES = re.compile(r"\d+(-\d+)?(,\d+(-\d+)?)*,?")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status: 0, or 2 if an argument or a file is wrong."""
    given = list(sys.argv[1:] if arguments is None else arguments)

    def command() -> None:
        parser = _parser()
        if not given:
            parser.print_help()
            return
        options = parser.parse_args(_joined(given))
        options.run(options)

    return run("decoding", command)


def _parser() -> Parser:
    parser = Parser(prog="decoding", description="Picture what drives the units of a trained convolutional network.")
    parser.add_argument("--version", action="version", version=f"decoding {__version__}")
    commands = parser.add_subparsers(required=True, metavar="show|decode|quadratic|explore")

    show = commands.add_parser(
        "show", help="print the table of a network's layers", description="Print the table of a network's layers."
    )
    show.set_defaults(run=_show)
    draw = commands.add_parser(
        "decode", help="draw the decoded filters of a layer", description="Draw the decoded filters of a layer."
    )
    draw.set_defaults(run=_decode)
    for command in (show, draw):
        _add_network(command)

    draw.add_argument(
        "--layer",
        required=True,
        metavar="L",
        help="the layer: its number, from 1, or its name (name:1 is a layer whose name is 1)",
    )
    draw.add_argument("--filter", type=_units, metavar="K", help="the units, from 0, such as 0-4,7 9; all unless given")
    draw.add_argument(
        "--unpool",
        choices=UNPOOLS,
        default="nearest",
        help="the interpolation that undoes pooling (default: %(default)s)",
    )
    draw.add_argument(
        "--threshold",
        action="store_true",
        help="draw three levels, cut at one standard deviation of the filter; filters of several channels are added up first",
    )
    draw.add_argument("--zoom", type=_count, metavar="N", help="pixels per cell; unless given, a tile has at least 64")
    draw.add_argument("--columns", type=_count, metavar="N", help="tiles in a row; unless given, about as many as rows")
    draw.add_argument(
        "--scale",
        choices=("each", "shared"),
        default="each",
        help="whether full colour stands for the largest magnitude of each filter or of all (default: %(default)s)",
    )
    draw.add_argument(
        "--labels", action="store_true", help="write the file's class names below the tiles instead of numbers"
    )
    draw.add_argument(
        "--font", metavar="FILE", help="a TrueType or OpenType font, for class names beyond the letters of English"
    )
    draw.add_argument("--each", action="store_true", help="write a file for each unit: out-0.png, out-1.png, …")
    draw.add_argument(
        "-o", "--output", required=True, metavar="out.png",
        help="the file to write: a picture, or numbers (.npy: an array (units, channels, rows, columns); .csv: a row per number)",
    )  # fmt: skip
    pair = commands.add_parser(
        "quadratic",
        help="draw what units respond to beyond a linear filter",
        description="Draw units to the second order, one unit per line: its linear filter, the filter's pattern, the most "
        "exciting and the most suppressing image, and the eigenpictures, excitatory before suppressive.",
    )
    pair.set_defaults(run=_quadratic)
    _add_network(pair)
    pair.add_argument(
        "layer", metavar="LAYER", help="the layer: its number, from 1, or its name (name:1 is a layer whose name is 1)"
    )
    pair.add_argument(
        "-k", "--filter", type=_units, metavar="K", required=True, help="the units, from 0, such as 0-4,7"
    )
    pair.add_argument(
        "-n", type=int, default=8, metavar="N", help="how many pictures of each unit (default: %(default)s)"
    )
    pair.add_argument(
        "--radius",
        type=float,
        default=3.0,
        metavar="R",
        help="how many standard deviations the most exciting image is from the mean (default: %(default)s)",
    )
    pair.add_argument(
        "--images",
        metavar="FOLDER",
        help="a folder of pictures to calibrate on, scaled to 0 to 1 if --std is below 1, else 0 to 255. Unless given: the bundled digits for bundled networks that need images, and no images for networks with batch normalizations",
    )
    pair.add_argument("-o", "--output", required=True, metavar="unit.png", help="the picture to write")
    _add_explore(commands)
    return parser


def _add_explore(commands: Any) -> None:
    page = commands.add_parser(
        "explore",
        help="write a page to click through, as a folder",
        description="Write a page to click through: the network, its layers, and each unit with what it is made of. Open "
        "index.html in a browser; it needs no server.",
    )
    page.set_defaults(run=_explore)
    _add_network(page)
    page.add_argument(
        "-o", "--output", metavar="FOLDER", default="explorer", help="the folder to write (default: %(default)s)"
    )
    page.add_argument(
        "--images",
        metavar="FOLDER",
        help="a folder of pictures to measure with and to show, scaled to 0 to 1 if --std is below 1, else 0 to 255; folders in "
        "it are labels. Unless given: the bundled digits for bundled networks, and no images for others",
    )
    page.add_argument("--layers", nargs="+", metavar="L", help="the layers whose units are shown; all unless given")
    page.add_argument("--units", type=int, metavar="N", help="show only the first N units of each layer")
    page.add_argument(
        "--second-order",
        nargs="+",
        metavar="L/K",
        help="units whose second order is shown, such as conv2/0-4,7 (each takes about a second); or all, or none (default: all "
        "for bundled networks, none for others)",
    )
    page.add_argument(
        "--unpool",
        choices=UNPOOLS,
        default="nearest",
        help="the interpolation that undoes pooling (default: %(default)s)",
    )


def _add_network(command: argparse.ArgumentParser) -> None:
    """Add the network to a command, and options for what its file may leave open."""
    command.add_argument(
        "net",
        metavar="FILE",
        help=f"a network: a file, .mat (MatConvNet) or .onnx, or the name of a bundled one: {', '.join(BUNDLED)}",
    )
    command.add_argument(
        "--input-shape",
        type=_shape,
        metavar="CxHxW",
        help="the size of the images, such as 3x224x224, if an .onnx file leaves it open",
    )
    command.add_argument(
        "--mean",
        type=_numbers,
        metavar="M",
        help="the mean that was subtracted from the images of an .onnx network, one number per channel: 0.485,0.456,0.406",
    )
    command.add_argument(
        "--std",
        type=_numbers,
        metavar="S",
        help="the standard deviation that they were divided by; filters are divided by it, too, to be drawn in units of pixels",
    )
    command.add_argument("--image", metavar="NAME", help="which input is the image, if the file has several")


def _joined(arguments: Sequence[str]) -> list[str]:
    """The arguments, with all numbers after ``--filter`` joined to one argument, so that a file that follows is not taken for one."""
    found: list[str] = []
    for argument in arguments:
        if len(found) > 1 and found[-2] == "--filter" and all(map(_RANGES.fullmatch, (argument, found[-1]))):
            found[-1] = f"{found[-1].rstrip(',')},{argument}"
        else:
            found.append(argument)
    return found


def _units(text: str) -> list[int]:
    """``0-4,7`` → 0, 1, 2, 3, 4, 7."""
    if not _RANGES.fullmatch(text):
        raise argparse.ArgumentTypeError(f"invalid int value: {text!r}; give numbers and ranges, such as 0-4,7")
    found: list[int] = []
    for part in text.rstrip(",").split(","):
        first, _, last = part.partition("-")
        if int(last or first) < int(first) or int(last or first) - int(first) > 10**6:
            raise argparse.ArgumentTypeError(f"invalid range: {part!r}")
        found.extend(range(int(first), int(last or first) + 1))
    return found


def _count(text: str) -> int:
    """A number of pixels or tiles: 1 or more."""
    if not re.fullmatch(r"[1-9]\d{0,5}", text):
        raise argparse.ArgumentTypeError(f"invalid count: {text!r}; give a number from 1")
    return int(text)


def _shape(text: str) -> tuple[int, int, int]:
    """``3x224x224`` → (3, 224, 224)."""
    numbers = re.split(r"[x×,]", text)
    if len(numbers) != 3 or not all(re.fullmatch(r"[1-9]\d{0,5}", number) for number in numbers):
        raise argparse.ArgumentTypeError(f"invalid shape: {text!r}; give channels, rows and columns, such as 3x224x224")
    return int(numbers[0]), int(numbers[1]), int(numbers[2])


def _numbers(text: str) -> list[float] | float:
    """``0.5,0.25`` → [0.5, 0.25]; a single number holds for every channel."""
    try:
        numbers = [float(number) for number in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"invalid numbers: {text!r}; give one for each channel, such as 0.485,0.456,0.406"
        ) from None
    return numbers if len(numbers) > 1 else numbers[0]


def _network(options: argparse.Namespace) -> Network:
    """The network of a file, or a bundled network if there is no file of that name."""
    name = options.net
    given = {
        key: getattr(options, key)
        for key in ("input_shape", "mean", "std", "image")
        if getattr(options, key) is not None
    }
    if name in BUNDLED and not Path(name).exists():
        if "image" in given:
            raise InvalidValueError(f"--image: the bundled network {name} has only one input; leave --image out.")
        found: Network = getattr(datasets, name)()
        return found.replace(**given) if given else found
    if format_of(Path(name)) == "ONNX":
        given["progress"] = _Progress()
    return load(name, **given)


class _Progress:
    """Shows the progress of long work on a terminal."""

    def __init__(self, doing: str = "reading", what: str = "nodes") -> None:
        self.doing, self.what = doing, what
        self.began = time.monotonic()
        self.shown = 0.0

    def __call__(self, done: int, total: int | None) -> None:
        now = time.monotonic()
        if not sys.stderr.isatty() or now - self.began < 1 or (now - self.shown < 0.1 and done != total):
            return
        self.shown = now
        end = "\r\033[K" if done == total else ""
        print(f"\r{self.doing}: {done} of {total} {self.what}{end}", end="", file=sys.stderr, flush=True)


def _layer(net: Network, given: str) -> int:
    """The number of a layer that was given by number, by name, or as ``name:`` and a name that looks like a number."""
    if given.startswith("name:") and given not in net.names:
        return net.index(given.removeprefix("name:"))
    number = int(given) if re.fullmatch(r"-?\d{1,9}", given) else None
    if number is None or (not 0 <= number <= len(net) and given in net.names):
        return net.index(given)
    return net.index(number)


def _show(options: argparse.Namespace) -> None:
    print(_network(options))


def _decode(options: argparse.Namespace) -> None:
    output = Path(options.output)
    if output.suffix.lower() not in (*FORMATS, *NUMBERS):
        raise InvalidValueError(f"'{shown(output)}' should end in one of {', '.join((*FORMATS, *NUMBERS))}.")
    if not options.each:
        check_writable(output)
    net = _network(options)
    layer = _layer(net, options.layer)
    units = list(range(net.channels(layer)) if options.filter is None else options.filter)
    labels = _class_names(net, layer, units, options) if options.labels else units
    paths = [output.with_name(f"{output.stem}-{k}{output.suffix}") for k in units]
    for path in paths if options.each else []:
        check_writable(path)
    filters = decode_layer(net, layer, units=units, unpool=options.unpool, backend=fast)
    filters = net.per_pixel(filters) if net.std is not None and net.std.shape[1:] == (1, 1) else filters
    if options.threshold:
        filters = threshold(filters, sum_channels=output.suffix.lower() not in NUMBERS)
    drawing = {key: getattr(options, key) for key in ("zoom", "columns", "scale", "font")}
    files = [(path, slice(i, i + 1)) for i, path in enumerate(paths)] if options.each else [(output, slice(None))]
    for path, some in files:
        if path.suffix.lower() in NUMBERS:
            _write_numbers(path, units[some], filters[some])
        else:
            save_picture(path, montage(filters[some], labels=labels[some], **drawing))
    count, (rows, columns) = len(filters), filters.shape[2:]
    units_of = "" if net.std is None else ", in the units of pixels: divided by the standard deviation"
    where = cut([shown(path) for path in paths], 3) if options.each else shown(output)
    print(
        f"{where}: {count} decoded filter{'s' * (count != 1)} of layer {shown(options.layer)}, {rows}×{columns} each{units_of}"
    )


def _quadratic(options: argparse.Namespace) -> None:
    output = Path(options.output)
    if output.suffix.lower() not in FORMATS:
        raise InvalidValueError(f"'{shown(output)}' should end in one of {', '.join(FORMATS)}.")
    check_writable(output)
    net = _network(options)
    layer = _layer(net, options.layer)
    net = quadratize(net, _images(net, options), backend=fast)
    found = decode_quadratic(net, layer, options.filter, n=options.n, backend=fast)
    lines = [found_unit.tiles(options.radius) for found_unit in found]
    tiles = np.concatenate([tiles for tiles, _ in lines])
    labels = [label for _, labels in lines for label in labels]
    save_picture(output, montage(tiles, labels=labels, columns=len(lines[0][0])))
    units = ", ".join(map(str, options.filter))
    print(f"{shown(output)}: unit {units} of layer {shown(options.layer)}, to the second order")


def _explore(options: argparse.Namespace) -> None:
    net = _network(options)
    images, labels = (None, None) if options.images is None else read_pictures(net, options.images)
    explore(
        net,
        options.output,
        images=images,
        labels=labels,
        layers=None if options.layers is None else [_layer(net, layer) for layer in options.layers],
        units=options.units,
        unpool=options.unpool,
        second_order=None if options.second_order is None else _some_units(net, options.second_order),
        title=None if options.net in BUNDLED else Path(options.net).name,
        progress=_Progress("exploring", "layers and units"),
    )
    print(f"{shown(options.output)}: open {shown(Path(options.output, 'index.html'))} in a browser")


def _some_units(net: Network, given: Sequence[str]) -> bool | dict[int | str, list[int]]:
    """``conv2/0-4,7`` → {3: [0, 1, 2, 3, 4, 7]}; ``all`` → True; ``none`` → False."""
    if list(given) in (["all"], ["none"]):
        return given[0] == "all"
    found: dict[int | str, list[int]] = {}
    for text in given:
        layer, _, units = text.rpartition("/")
        if not layer or not _RANGES.fullmatch(units):
            raise InvalidValueError(
                f"--second-order: '{shown(text)}' must be a layer and its units, such as conv2/0-4,7."
            )
        found[_layer(net, layer)] = _units(units)
    return found


def _images(net: Network, options: argparse.Namespace) -> Any:
    """The images to calibrate on: the folder's pictures; digits for a bundled network without batch norms; else None."""
    if options.images is not None:
        given = datasets.images_in(options.images, mode="L" if net.channels(0) == 1 else "RGB", skip=True)
        return (prepared(net, picture) for picture in given)
    if options.net in BUNDLED and not any(isinstance(layer, BatchNorm) for layer in net.layers):
        return net.normalize(datasets.mnist()[0][:2000])
    return None


def _class_names(net: Network, layer: int, units: Sequence[int], options: argparse.Namespace) -> list[str]:
    """The names of the classes that the units stand for."""
    given = 0 if net.classes is None else len(net.classes)
    if net.classes is None or given != net.channels(layer):
        raise InvalidValueError(
            f"--labels: {shown(options.net)} has {given or 'no'} class names, but layer {shown(options.layer)} has "
            f"{net.channels(layer)} units. Leave --labels out, or draw the layer of the classes."
        )
    for k in units:
        unit(net, layer, k, "decode")
    return [net.classes[k] for k in units]


def _write_numbers(path: Path, units: Sequence[int], filters: Array) -> None:
    with replacing(path) as file:
        if path.suffix.lower() == ".npy":
            np.save(file, filters)
            return
        text = io.StringIO()
        rows = ((units[k], c, i, j, value) for (k, c, i, j), value in np.ndenumerate(filters))
        csv.writer(text, lineterminator="\n").writerows([("unit", "channel", "row", "column", "value"), *rows])
        file.write(text.getvalue().encode())


if __name__ == "__main__":
    sys.exit(main())
