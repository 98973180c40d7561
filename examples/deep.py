"""How far a linear picture goes in deep networks
==============================================

A decoded filter is linear, and a deep unit is not. The plot shows how well responses of decoded filters follow the network's, layer
by layer: r falls with depth, and less so with gains. Where the best linear filter can be found by least squares, its r falls as
well. The other picture shows filters and patterns of some units beside what drives them most, and a table tells how near they
come to the units' own patterns.

.. image:: /images/deep-resnet.png
   :alt: How far a linear picture goes in deep networks

::

    python examples/deep.py [NETWORK] [PICTURES …] [-o deep]

NETWORK is ``resnet`` (the default) or ``lenet``, which come with the package and are measured on the bundled digits, or a
file; PICTURES are files or folders. Gains are measured on every second picture, and all is judged on the others: at the
places where a unit looks at nothing beyond the edge of a picture, and at all places of digits, which are small.
"""

# sphinx_gallery_thumbnail_path = 'images/deep-resnet.png'

import argparse
import math
from pathlib import Path

import numpy as np

import decoding
from decoding import walks
from decoding.decoder import UNPOOLS
from decoding.files import check_folder
from decoding.terminal import run
from panels import as_csv, explained, page, progress, save_text

ENDINGS = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"}
FEW = 25  # places of a map, below which r is taken over all images together
TERMS = 800  # pixels of a field for which least squares is affordable
GRADIENT = "mean of true gradients"
OWN, STATIONARY = "the unit's own\npattern", "its pattern under\ntheir autocovariance"
FIT, RIDGES = "least squares", (1e-5, 1e-4, 1e-3, 1e-2)  # of these, the best on the pictures that it is judged on
PATCHES = 192  # places over which the true gradient is averaged
ROWS, BEST = 6, 4  # units drawn, and the crops that drive each of them most
COLOURS = ((120, 120, 120), (210, 120, 30), (40, 110, 200), (20, 150, 90), (190, 60, 140), (90, 60, 30))


class Correlation:
    """Pearson's r of each unit's responses with those of its decoded filter: over the places of an image, then the mean of images.

    Of layers with few places, over all images together. `decoding.measure` drives it.
    """

    def __init__(self, net, layer, filters, places):
        self.net, self.layer, self.filters, self.places = net, net.index(layer), filters, places
        self.sums, self.total, self.count = 0, 0, 0

    def part(self, images, responses, start):
        decoded = decoding.decoded_responses(self.net, images, self.layer, filters=self.filters, backend=decoding.fast)
        rows, columns = self.places(self.net, self.layer, images.shape[1:])
        x, y = (np.asarray(each[:, :, rows, columns], float) for each in (decoded, responses))
        count = np.full(x.shape[:2], float(x[0, 0].size))
        pairs = [(a * b).sum(axis=(2, 3)) for a, b in ((x, x), (y, y), (x, y))]
        return np.stack([count, x.sum(axis=(2, 3)), y.sum(axis=(2, 3)), *pairs])  # (6, N, K)

    def add(self, part):
        self.sums = self.sums + part.sum(axis=1)
        each = pearson(part)
        self.total = self.total + np.nansum(each, axis=0)
        self.count = self.count + np.isfinite(each).sum(axis=0) * (part[0, 0] >= FEW)

    def result(self):
        """(K,); 0 for a unit that does not vary."""
        whole = np.nan_to_num(pearson(self.sums))
        return np.divide(self.total, self.count, out=whole, where=self.count > 0)


def pearson(sums):
    """r from the sums of 1, x, y, x², y² and x·y; NaN where x or y does not vary."""
    n, x, y, xx, yy, xy = sums
    spread = np.sqrt(np.maximum(n * xx - x * x, 0) * np.maximum(n * yy - y * y, 0))
    return np.divide(n * xy - x * y, spread, out=np.full_like(n, np.nan), where=spread > 0)


class Positive:
    """The share of responses that are positive, channel by channel: what one might take for a gain."""

    def __init__(self, net, number):
        self.number, self.layer = number, net.inputs[number - 1][0]
        self.sums = 0

    def part(self, images, responses, start):
        return np.stack([(responses > 0).sum(axis=(0, 2, 3)), np.full(responses.shape[1], responses[:, 0].size)])

    def add(self, part):
        self.sums = self.sums + part

    def result(self):
        return self.sums[0] / self.sums[1]


class BestCrops:
    """What the units of a layer see where they respond most, one crop of an image."""

    def __init__(self, net, layer, units):
        self.net, self.layer, self.units = net, net.index(layer), units
        self.found = [[] for _ in units]

    def part(self, images, responses, start):
        field, pads = self.net.receptive_field(self.layer), self.net.grid(self.layer, images.shape[1:])[0]
        pads = [max(0, pad) for pad in pads]
        wide = np.pad(images, ((0, 0), (0, 0), pads[:2], pads[2:]))
        rows, columns = inside(self.net, self.layer, images.shape[1:])
        part = []
        for k in self.units:
            maps = responses[:, k, rows, columns]
            flat = maps.reshape(len(maps), -1)
            crops = []
            for n in np.argsort(-flat.max(axis=1), kind="stable")[:BEST]:
                place = np.unravel_index(flat[n].argmax(), maps.shape[1:])
                top, left = (
                    (place[a] + (rows, columns)[a].start) * field.stride[a] + field.offset[a] + pads[2 * a]
                    for a in (0, 1)
                )
                crops.append((float(flat[n].max()), wide[n, :, top : top + field.size[0], left : left + field.size[1]]))
            part.append(crops)
        return part

    def add(self, part):
        for found, crops in zip(self.found, part, strict=True):
            found += crops
            found.sort(key=lambda each: -each[0])
            del found[BEST:]

    def result(self):
        return [np.stack([crop for _, crop in found]) for found in self.found]


def everywhere(net, layer, shape):
    """All rows and columns of a layer's units."""
    return [slice(0, count) for count in net.grid(layer, shape)[1]]


def inside(net, layer, shape):
    """The rows and the columns of a layer's units that look at nothing beyond the edge; all, if there are none."""
    field, (_, grid) = net.receptive_field(layer), net.grid(layer, shape)
    slices = []
    for axis, count in enumerate(grid):
        first = max(0, -(field.offset[axis] // field.stride[axis]))
        last = (shape[1 + axis] - field.size[axis] - field.offset[axis]) // field.stride[axis]
        slices.append(slice(first, min(last + 1, count)))
    return slices if all(each.stop > each.start for each in slices) else everywhere(net, layer, shape)


def judged(net):
    """The layers whose responses something bends that reads them, and the last that is not bent: where to judge filters."""
    bending = [
        n
        for n, layer in enumerate(net.layers, 1)
        if isinstance(layer, (decoding.Pool, decoding.Softmax)) or hasattr(layer, "function")
    ]
    read = {i for n in bending for i in net.inputs[n - 1]} - set(bending) - {0}
    last = max((n for n in range(1, len(net) + 1) if n not in bending), default=0)
    return sorted(
        n for n in read | {last} if net.blocked(n) is None and not isinstance(net.layers[n - 1], decoding.Dropout)
    )


def variants(net, train, unpool):
    """Networks that run alike, and decode with other factors: by what they are called."""
    shares = {n: Positive(net, n) for n, layer in enumerate(net.layers, 1) if isinstance(layer, decoding.ReLU)}
    if shares:
        decoding.measure(net, train(), list(shares.values()), backend=decoding.fast, progress=progress("shares"))
    share = net.replace(
        layers=[
            layer.replace(gain=shares[n].result()) if n in shares else layer for n, layer in enumerate(net.layers, 1)
        ]
    )
    found = {"identity": net, "share of positive responses": share}
    found["gains, measured"] = decoding.linearize(
        net, train(), unpool=unpool, backend=decoding.fast, progress=progress("gains")
    )
    try:
        found["gains, no image"] = decoding.linearize(net, unpool=unpool)
    except decoding.UnsupportedLayerError as error:
        print(f"no gains without images: {error}")
    return found


def correlations(nets, layers, train, test, places, unpool):
    """For each layer and each way to decode, r of every unit; and, where that is affordable, of the best linear filters."""
    meters, net = {}, nets["identity"]
    for name, other in nets.items():
        for layer in layers:
            meters[layer, name] = Correlation(
                net, layer, decoding.decode_layer(other, layer, unpool=unpool, backend=decoding.fast), places
            )
    for layer in layers:
        gradients = mean_gradients(net, layer, train())
        if gradients is not None:
            meters[layer, GRADIENT] = Correlation(net, layer, gradients, places)
    for layer in layers:
        if net.channels(0) * math.prod(net.receptive_field(layer).size) <= TERMS:
            meter = decoding.baselines.LeastSquaresMeter(net, layer)
            decoding.measure(
                net, train(), [meter], backend=decoding.fast, progress=progress(f"least squares, layer {layer}")
            )
            for ridge in RIDGES:
                meters[layer, f"{FIT} {ridge:g}"] = Correlation(net, layer, fitted(net, meter, ridge), places)
    decoding.measure(net, test(), list(meters.values()), backend=decoding.fast, progress=progress("judging"))
    found = {key: meter.result() for key, meter in meters.items()}
    for layer in layers:
        fits = [found.pop((layer, f"{FIT} {ridge:g}")) for ridge in RIDGES if (layer, f"{FIT} {ridge:g}") in found]
        if fits:
            found[layer, FIT] = max(fits, key=np.mean)
    return found


def mean_gradients(net, layer, images):
    """The mean gradient of every unit by the image, over some places in the images; None where a maximum is taken.

    The walk down is that of decoding; at each rectifier, what comes down passes where the network's own response was
    positive at this place.
    """
    order = walks.under(net, [layer], net.paths)
    if any(isinstance(net.layers[n - 1], decoding.MaxPool) for n in order):
        return None
    random, total, count = np.random.default_rng(0), 0, 0
    impulses = np.eye(net.channels(layer), dtype=np.float32)[:, :, np.newaxis, np.newaxis]
    rectifiers = [n for n in order if isinstance(net.layers[n - 1], decoding.ReLU)]
    read = {n: net.inputs[n - 1][0] for n in rectifiers}
    digits = isinstance(images, np.ndarray)
    for image in images if digits else (image for batch in images for image in batch):
        seen = dict(net.walk(image[np.newaxis], [*read.values(), layer], backend=decoding.fast))
        places = inside(net, layer, image.shape)
        for _ in range(1 if digits else 16):
            origin = tuple(int(random.integers(each.start, each.stop)) for each in places)
            for number, here in walks.down(net, walks.Placed(impulses.copy(), origin), layer, 0, "sum", decoding.fast):
                if number in read:
                    positive = seen[read[number]][0] > 0
                    here.maps[...] *= at(positive, here.origin, here.maps.shape[2:])
            total, count = total + here.maps, count + 1
        if count >= PATCHES:
            break
    return total / count


def at(maps, origin, size):
    """A window of maps (C, H, W) that begins at `origin`: zeros where it lies beyond the edge."""
    pads = [(max(0, -origin[a]), max(0, origin[a] + size[a] - maps.shape[1 + a])) for a in (0, 1)]
    wide = np.pad(maps, ((0, 0), *pads))
    row, column = (max(0, origin[a]) for a in (0, 1))
    return wide[:, row : row + size[0], column : column + size[1]]


def fitted(net, meter, ridge):
    """The linear filters of least squares, from the sums of `LeastSquaresMeter`, with a penalty on their size."""
    whole, moments = meter.equations.at(0, 0)[:2]  # in the units of pixels and responses
    (mean, count), answers = (whole[:-1, -1], whole[-1, -1]), moments[-1]
    gram = whole[:-1, :-1] - np.outer(mean, mean) / count
    gram[np.diag_indices_from(gram)] += ridge * np.trace(gram) / len(gram)
    filters = np.linalg.solve(gram, moments[:-1] - np.outer(mean, answers) / count)
    return filters.T.reshape(-1, net.channels(0), *net.receptive_field(meter.layer).size)


def table(net, layers, names, found):
    head = ["layer", "name", "field", *names]
    rows = [
        [str(layer), net.names[layer - 1], "×".join(map(str, net.receptive_field(layer).size))]
        + [f"{found[layer, name].mean():.3f}" if (layer, name) in found else "" for name in names]
        for layer in layers
    ]
    return head, rows


def aligned(head, rows):
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in [head, *rows]
    )


def written(path, title, rows):
    """A table as text, which is printed, and as a file of numbers."""
    text = f"{title}\n{aligned(*rows)}\n"
    print(text, flush=True)
    save_text(path, as_csv(*rows))
    return text


def plot(labels, series, size=(760, 360)):
    """Lines over depth, one for each way to decode, from −0.1 to 1."""
    from PIL import Image, ImageDraw

    image = Image.new("RGB", size, (255, 255, 255))
    draw, (width, height) = ImageDraw.Draw(image), size
    left, top, right, bottom = 40, 14, width - 200, height - 90

    def place(i, r):
        return left + (right - left) * i / max(1, len(labels) - 1), bottom - (bottom - top) * (r + 0.1) / 1.1

    for r in (0, 0.2, 0.4, 0.6, 0.8, 1):
        draw.line([place(0, r), (right, place(0, r)[1])], fill=(225, 225, 225))
        draw.text((8, place(0, r)[1] - 6), f"{r:.1f}", fill=(0, 0, 0))
    room = (right - left) / max(1, len(labels) - 1)
    lines = min(4, math.ceil((6 * max(map(len, labels)) + 8) / room))  # labels that are wider than that take turns
    for i, label in enumerate(labels):
        x = place(i, 0)[0]
        draw.text((max(4, x - 3 * len(label)), bottom + 6 + 14 * (i % lines)), label, fill=(0, 0, 0))
    for (name, values), colour, line in zip(series.items(), COLOURS, range(len(series)), strict=False):
        points = [place(i, r) for i, r in enumerate(values) if r is not None]
        draw.line(points, fill=colour, width=2)
        for x, y in points:
            draw.ellipse([x - 3, y - 3, x + 3, y + 3], fill=colour)
        draw.text((right + 14, top + 18 * line), name, fill=colour)
    draw.text((left, height - 16), "r of decoded and network's responses, mean over units", fill=(0, 0, 0))
    return np.asarray(image)


def pictured(net, layer, linear, train, unpool):
    """Filters and patterns of all units of a layer, each (K, C, h, w), by what they are called."""
    bank, found = decoding.decode_layer(linear, layer, unpool=unpool, backend=decoding.fast), {}
    size, channels = bank.shape[2:], net.channels(0)
    found["decoded filter"] = decoding.decode_layer(net, layer, unpool=unpool, backend=decoding.fast)
    found["decoded filter,\nwith gains"] = bank
    found["its pattern,\nno image needed"] = decoding.pattern(bank, decoding.natural(size, channels=channels))
    try:
        found[STATIONARY] = decoding.pattern(bank, decoding.autocovariance(train(), size))
    except decoding.ShapeError:
        print(f"layer {layer} sees more than the pictures hold: no autocovariance")
    for name, via in (("its pattern\non images", "decoded"), (OWN, "network")):
        meter = decoding.PatternMeter(linear, layer, via=via, unpool=unpool, backend=decoding.fast)
        decoding.measure(linear, train(), [meter], backend=decoding.fast, progress=progress("patterns"))
        found[name] = meter.result()
    return found


def cosines(a, b):
    """Of each unit's picture in one bank to that in another, (K,)."""
    dots = [np.einsum("kcij,kcij->k", x, y, dtype=float) for x, y in ((a, b), (a, a), (b, b))]
    return dots[0] / np.sqrt(np.maximum(dots[1] * dots[2], np.finfo(float).tiny))


def likeness(net, banks):
    """How near pictures come to the units' own patterns: for each layer, median and range of the cosine over its units."""
    names = [name for name in max(banks.values(), key=len) if name != OWN]
    head = ["layer", "name", "units", *(name.replace("\n", " ") for name in names)]
    rows = []
    for layer, found in banks.items():
        each = [cosines(found[name], found[OWN]) if name in found else None for name in names]
        cells = ["" if c is None else f"{np.median(c):.2f} ({c.min():.2f} to {c.max():.2f})" for c in each]
        rows.append([str(layer), net.names[layer - 1], str(net.channels(layer)), *cells])
    return head, rows


def drawn(net, layer, banks, test, units):
    """Filters, patterns and the images themselves."""
    best = BestCrops(net, layer, units)
    decoding.measure(net, test(), [best], backend=decoding.fast, progress=progress("best crops"))
    zoom = max(1, round(72 / max(banks["decoded filter"].shape[2:])))

    def tile(filters):
        return decoding.montage(filters, columns=len(filters), zoom=zoom)

    banks = {name: bank for name, bank in banks.items() if name != STATIONARY}
    heads = ["unit", *banks, "what drives the unit most"]
    rows = [
        [str(k), *(tile(np.asarray(bank)[k : k + 1]) for bank in banks.values()), tile(shown(crops))]
        for k, crops in zip(units, best.result(), strict=True)
    ]
    text = (
        f"{scale_of(net.channels(0))} A decoded filter is what a unit weighs, its pattern what images have "
        "where that filter responds, and the unit's own pattern what they have where the network's unit does. Where the last two are "
        "alike, the decoded filter tells what the unit looks for."
    )
    title = f"Layer {layer}, {net.names[net.index(layer) - 1]}: {len(units)} units, and what drives them"
    return explained(title, text, page([heads, *rows], gap=6))


def scale_of(channels):
    """What the colours of filters and patterns of so many channels mean."""
    if channels == 3:
        return "Each tile has its own scale: grey is 0, and what is brighter, in any of the three colours, is above."
    return "Red is above 0, blue below; each tile has its own scale."


def shown(crops):
    """Crops as they look, of normalized images: three channels in colour, one in grey."""
    crops = crops - crops.min(axis=(1, 2, 3), keepdims=True)
    crops = 2 * crops / np.maximum(crops.max(axis=(1, 2, 3), keepdims=True), 1e-12) - 1
    return crops if crops.shape[1] == 3 else np.repeat(-crops[:, :1], 3, axis=1)  # ink


def pictures(paths):
    """The picture files among these and in these folders, by name."""
    found = [file for path in map(Path, paths) for file in (sorted(path.iterdir()) if path.is_dir() else [path])]
    files = [file for file in found if file.suffix.lower() in ENDINGS]
    if len(files) < 4:
        raise decoding.InvalidValueError(
            f"{len(files)} pictures: at least four are needed, two to measure on and two to judge on."
        )
    return files


def batches(net, files, reductions, brightest):
    """A function that begins a stream of normalized pictures anew."""
    from PIL import Image

    def stream():
        for file in files:
            with Image.open(file) as opened:
                picture = opened.convert("L" if net.channels(0) == 1 else "RGB")
            for factor in reductions:
                small = picture.resize((picture.width // factor, picture.height // factor), Image.Resampling.LANCZOS)
                pixels = np.asarray(small, np.float32).reshape(small.height, small.width, -1) * np.float32(
                    brightest / 255
                )
                yield net.normalize(np.moveaxis(pixels, -1, 0)[np.newaxis])

    return stream


def read(options):
    if options.network in ("resnet", "lenet"):
        return getattr(decoding, options.network)()
    net = decoding.load(options.network)
    given = {what: getattr(options, what) for what in ("mean", "std") if getattr(options, what)}
    return net.replace(**given) if given else net


def arguments(description, output, draw, several=False):
    """What the scripts on depth can be told."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("network", nargs="?", default="resnet", help="resnet, lenet, or a file (default: %(default)s)")
    parser.add_argument("pictures", nargs="*", help="files or folders, at least four (default: the bundled digits)")
    parser.add_argument(
        "--layers", nargs="+", metavar="L", help="names or numbers (default: those that something bends)"
    )
    parser.add_argument("--draw", nargs="+" if several else None, metavar="L", help=draw)
    parser.add_argument(
        "--reduce",
        type=int,
        nargs="+",
        default=[2, 3],
        metavar="N",
        help="pictures are taken at one over these sizes (default: 2 3)",
    )
    parser.add_argument(
        "--brightest",
        type=float,
        default=1.0,
        help="the value of a white pixel, in the units of the network's mean (default: %(default)g)",
    )
    parser.add_argument(
        "--mean", type=float, nargs="+", help="of the training images, by channel, where the file has none"
    )
    parser.add_argument("--std", type=float, nargs="+", help="their standard deviation, by channel")
    parser.add_argument("--digits", type=int, default=4000, help="bundled digits to take (default: %(default)s)")
    parser.add_argument("-o", "--output", default=output, help="folder for what is made (default: %(default)s)")
    return parser


def chosen_layers(net, options):
    """Those that are named, or all where filters can be judged."""
    return named(net, options.layers) if options.layers else judged(net)


def named(net, layers):
    """The numbers of layers that are given by name or number."""
    return [net.index(int(each) if each.isdecimal() else each) for each in layers]


def main():
    draw = (
        "the layers whose filters and patterns are drawn, and held against the network's own (default: the middle one)"
    )
    parser = arguments(__doc__.splitlines()[0], "deep", draw, several=True)
    parser.add_argument(
        "--unpool", choices=UNPOOLS, default="nearest", help="how decoding undoes pools (default: %(default)s)"
    )
    options = parser.parse_args()
    check_folder(options.output)

    net = read(options)
    if options.pictures:
        files = pictures(options.pictures)
        train, test = (batches(net, files[i::2], options.reduce, options.brightest) for i in (0, 1))
    else:
        digits = net.normalize(decoding.mnist()[0][: options.digits])
        train, test = ((lambda part=digits[i::2]: part) for i in (0, 1))
    layers = chosen_layers(net, options)
    to_draw = named(net, options.draw) if options.draw else [layers[len(layers) // 2]]
    nets = variants(net, train, "sum" if options.unpool == "sum" else "nearest")
    found = correlations(nets, layers, train, test, inside if options.pictures else everywhere, options.unpool)
    names = list(dict.fromkeys(name for _, name in found))
    head, rows = table(net, layers, names, found)
    print(aligned(head, rows))

    folder = Path(options.output)
    save_text(folder / "deep.csv", as_csv(head, rows))
    series = {
        name: [found[layer, name].mean() if (layer, name) in found else None for layer in layers] for name in names
    }
    curves = explained(
        "How well decoded filters follow their network, from the first layer to the last",
        "Each point is Pearson's r between the network's responses and those of the decoded filters, averaged over the units of a layer: "
        "1 is perfect, 0 chance. Each line is one way to choose what a rectifier is worth on the way down.",
        plot([net.names[layer - 1] for layer in layers], series),
    )
    decoding.save_picture(folder / "deep.png", curves)
    best = "gains, no image" if "gains, no image" in nets else "gains, measured"
    banks = {layer: pictured(net, layer, nets[best], train, options.unpool) for layer in to_draw}
    title = "Cosine to the units' own patterns, median (range) over the units"
    text = written(folder / "cosines.csv", title, likeness(net, banks))
    save_text(folder / "deep.txt", f"{aligned(head, rows)}\n\n{text}")
    for layer in to_draw:
        units = np.arange(net.channels(layer))
        if layer in layers:
            units = np.argsort(-found[layer, best], kind="stable")
        path = folder / f"deep-{net.names[layer - 1]}.png"
        decoding.save_picture(path, drawn(net, layer, banks[layer], test, units[:ROWS].tolist()))
        print(path)


if __name__ == "__main__":
    raise SystemExit(run("deep.py", main))
