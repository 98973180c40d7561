"""What a unit sees beyond a line
==============================

A line for each of LeNet's ten classes: its decoded filter, in which few digits can be read, the pattern of that filter, the most
exciting and the most suppressing image to the second order, in which most can, and the strongest pictures of its quadratic part, the
exciting ones before the suppressing ones, each under its weight. The tables say how far all this follows the network.

NETWORK is ``lenet`` (the default) or ``resnet``, which come with the package and are judged on the second half of the bundled
digits, or a file; PICTURES are files or folders. Factors are calibrated on the first half of the digits, or on every second
picture, and all is judged on the others: at the places where a unit looks at nothing beyond the edge of a picture, and at
all places of digits, which are small.

.. image:: /images/second-order-conv4.png
   :alt: What a unit sees beyond a line

::

    python examples/second_order.py [NETWORK] [PICTURES …] [-o second-order]
"""

# sphinx_gallery_thumbnail_path = 'images/second-order-conv4.png'

import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np

import decoding
import deep
from decoding import fast
from decoding.files import check_folder
from decoding.secondorder import pairs
from decoding.terminal import run
from deep import inside, pearson
from panels import page, progress, save_text

COUNTS = (0, 1, 2, 4, 8, 16, 32)  # of pictures
TABLES = ("r", "r", 3), ("R²", "explained", 2), ("equation 3", "equation3", 4), ("the network's choice", "choice", 3)
RADII = (1, 3, 4)
WRITTEN_OUT = 1000  # numbers of a field, up to which a form's pictures are cheap
RIDGES = (1e-4, 1e-3, 1e-2, 1e-1)  # of least squares, by a pixel's mean variance: the best for what is judged is shown
CROPS = 500  # of each picture; of a digit, one
TILES = 12  # units drawn


class Judge:
    """r and R² of each unit, equation 3 and the network's choice, of one way to say what several layers respond."""

    def __init__(self, net, layers, say, places):
        self.net, self.layers, self.layer, self.say, self.places = net, tuple(layers), layers[0], say, places
        self.sums, self.scores, self.errors = ({n: [] for n in layers} for _ in range(3))

    def part(self, images, responses, start):
        said = self.say(images)
        cuts = {n: (..., *self.places(self.net, n, images.shape[1:])) for n in self.layers}
        both = zip(self.layers, responses, strict=True)
        return [(tallied(said[n][cuts[n]], y[cuts[n]]), unlike(said[n], y)) for n, y in both]

    def add(self, part):
        for n, (sums, errors) in zip(self.layers, part, strict=True):
            self.sums[n].append(sums.sum(axis=1))
            self.errors[n].append(errors)
            if sums[0, 0, 0] >= deep.FEW:
                self.scores[n].append(scores(sums))

    def result(self, n):
        """r and R², means over units; equation 3 and the share of like choices, means over images."""
        units = (
            scores(sum(self.sums[n])) if not self.scores[n] else np.nanmean(np.concatenate(self.scores[n], axis=1), 1)
        )
        return (*np.nanmean(units, axis=1), *np.concatenate(self.errors[n], axis=1).mean(axis=1))


def tallied(x, y):
    """The sums of 1, x, y, x², y² and x·y over places: (6, N, K)."""
    x, y = x.astype(float), y.astype(float)
    count = np.full(x.shape[:2], float(x[0, 0].size))
    return np.stack([count, *(each.sum(axis=(2, 3)) for each in (x, y, x * x, y * y, x * y))])


def scores(sums):
    """Pearson's r, and R²: the share of y's variance that x explains as it stands, but for a constant. (2, …)."""
    n, x, y, xx, yy, xy = sums
    whole, rest = n * yy - y * y, (n * yy - y * y) - 2 * (n * xy - x * y) + (n * xx - x * x)
    return np.stack([pearson(sums), 1 - np.divide(rest, whole, out=np.full_like(n, np.nan), where=whole > 0)])


def unlike(x, y):
    """For each image, equation 3 of all units, and whether the largest response is the same unit's: (2, N)."""
    x, y = (each.reshape(len(each), -1).astype(float) for each in (x, y))

    low, high = ([bound(each, axis=1, keepdims=True) for each in (x, y)] for bound in (np.min, np.max))
    full = [(z - a) / np.where(b > a, b - a, 1) for z, a, b in zip((x, y), low, high, strict=True)]
    return np.stack([((full[0] - full[1]) ** 2).mean(axis=1), x.argmax(axis=1) == y.argmax(axis=1)])


def second_order(net, layers):
    """The pair's sum at several layers, in one walk."""

    return lambda images: {n: p.linear + p.square for n, p in pairs(net, images, layers, fast) if n in layers}


def first_order(net, banks, bias=None):
    def said(n, images):
        return decoding.decoded_responses(net, images, n, filters=banks[n], bias=bias and bias[n], backend=fast)

    return lambda images: {n: said(n, images) for n in banks}


def quadratized(net, train):
    """The networks with gains and curvatures: without images where there are batch norms, and calibrated."""
    found = {}
    try:
        found["second order, no image"] = decoding.quadratize(net)
    except decoding.UnsupportedLayerError as error:
        print(f"nothing without images: {error}")
    found["second order, calibrated"] = decoding.quadratize(
        net, train(), backend=fast, progress=progress("calibration", "layers")
    )
    return found


def judges(net, nets, layers, train, places):
    """One for each way to say what the layers respond."""
    try:
        gains = decoding.linearize(net)
    except decoding.UnsupportedLayerError:
        gains = decoding.linearize(net, train(), backend=fast, progress=progress("gains"))
    found = {}
    for name, other in {"identity": net, "gains": gains}.items():
        banks = {n: decoding.decode_layer(other, n, backend=fast) for n in layers}
        found[name] = Judge(net, layers, first_order(net, banks), places)
    meters = [
        decoding.baselines.LeastSquaresMeter(net, n)
        for n in layers
        if net.channels(0) * math.prod(net.receptive_field(n).size) <= deep.TERMS
    ]
    if meters:
        decoding.measure(net, train(), meters, backend=fast, progress=progress("least squares"))
    for ridge in RIDGES if meters else ():
        banks = {meter.layer: deep.fitted(net, meter, ridge) for meter in meters}
        lines = {m.layer: banks[m.layer].reshape(m.moments.shape[1], -1) @ m.gram[:-1, -1] for m in meters}
        bias = {m.layer: (m.moments[-1] - lines[m.layer]) / m.gram[-1, -1] for m in meters}
        found[f"least squares {ridge:g}"] = Judge(net, list(banks), first_order(net, banks, bias), places)
    for name, other in nets.items():
        found[name] = Judge(net, layers, second_order(other, layers), places)
    return found


def results(judged):
    """By layer and what the way is called: r, R², equation 3 and the share of like choices."""
    found = {}
    for name, judge in judged.items():
        name = re.sub(" [-.e0-9]+$", "", name)
        for n in judge.layers:
            found[n, name] = max(found.get((n, name), (-1,)), judge.result(n))  # by r
    return found


def table(net, layers, found, what, places):
    """One line for each layer; `what` is 0 to 3: r, R², equation 3, and of what classifies the network's choice."""
    names = list(dict.fromkeys(name for _, name in found))
    rows = [
        [str(n), net.names[n - 1], "×".join(map(str, net.receptive_field(n).size))]
        + [f"{found[n, name][what]:.{places}f}" if (n, name) in found else "" for name in names]
        for n in layers
        if what < 3 or classifies(net, n)
    ]
    return ["layer", "name", "field", *names], rows


class Crops:
    """What units see at places drawn at random, what they answer, and what the second order says: results of (M, …)."""

    def __init__(self, net, quadratic, layer, each):
        self.net, self.layer, self.each, self.say = net, layer, each, second_order(quadratic, [layer])
        self.parts = []

    def part(self, images, responses, start):
        field, said = self.net.receptive_field(self.layer), self.say(images)[self.layer]
        rows, columns = inside(self.net, self.layer, images.shape[1:])
        random, found = np.random.default_rng(start), []
        for image, y, x in zip(images, responses, said, strict=True):
            for _ in range(self.each):
                i, j = random.integers(rows.start, rows.stop), random.integers(columns.start, columns.stop)
                top, left = (place * field.stride[a] + field.offset[a] for a, place in enumerate((i, j)))
                crop = image[:, top : top + field.size[0], left : left + field.size[1]]
                found.append((crop, y[:, i, j], x[:, i, j]))
        return [np.stack(each) for each in zip(*found, strict=True)]

    def add(self, part):
        self.parts.append(part)

    def result(self):
        return [np.concatenate(each) for each in zip(*self.parts, strict=True)]


def by_pictures(units, crops, responses, said):
    """r of each unit with so many of its pictures, and with the whole form: (numbers + 1, K)."""
    found = []
    for k, unit in enumerate(units):
        d = crops - (0 if unit.mean is None else unit.mean)
        parts = unit.eigenvalues * np.tensordot(d, unit.filters, axes=((1, 2, 3), (1, 2, 3))) ** 2
        line = np.tensordot(d, unit.linear, axes=3)
        known = [line + parts[:, :n].sum(axis=1) for n in COUNTS if n <= len(unit.eigenvalues)]
        found.append([np.corrcoef(each, responses[:, k])[0, 1] for each in [*known, said[:, k]]])
    return np.array(found).T


def answers(net, layer, images):
    """What the network itself responds to images of the size of the field, in a field of zeros: (M, K)."""
    field = net.receptive_field(layer)
    place = [max(0, -(field.offset[a] // field.stride[a])) for a in (0, 1)]
    top, left = (place[a] * field.stride[a] + field.offset[a] for a in (0, 1))
    wide = np.pad(images, ((0, 0), (0, 0), (top, top), (left, left))).astype(np.float32)
    return net.forward(wide, layer, backend=fast)[:, :, place[0], place[1]]


def extremes(net, layer, units, real):
    """For each radius, what the network answers to the images that should drive it, as percentiles of real responses."""
    head = ["radius", "linear pattern", "most exciting", "most suppressing", "exciting above pattern"]
    head += ["own class, of both"] * classifies(net, layer)
    classes, rows = np.arange(len(units)), []
    for radius in RADII:
        patterns = [u.linear_pattern * radius / np.sqrt(np.vdot(u.linear, u.linear_pattern)) for u in units]
        made = patterns, [u.most_exciting(radius) for u in units], [u.most_suppressing(radius) for u in units]
        images = (np.stack(each) + (0 if units[0].mean is None else units[0].mean) for each in made)
        pattern, best, worst = (answers(net, layer, each) for each in images)
        own = [each[classes, classes] for each in (pattern, best, worst)]
        shares = [100 * (real[:, : len(units)] < each).mean() for each in own]
        taken = [(each.argmax(axis=1) == classes).sum() for each in (pattern, best)]
        better = f"{(own[1] > own[0]).sum()} of {len(units)}"
        own_class = ["{}, {}".format(*taken)] if classifies(net, layer) else []
        rows.append([str(radius), *(f"{share:.1f}" for share in shares), better, *own_class])
    return head, rows


def classifies(net, layer):
    return net.input_shape is not None and net.grid(layer, net.input_shape)[1] == (1, 1) and net.channels(layer) <= 10


def statistics(net, layer, train, digits):
    """Digits': their covariance, or that of crops, the same at all places. Photographs': the natural prior."""
    if not digits:
        return None
    images, size = train(), net.receptive_field(layer).size
    return decoding.covariance(images) if size == images.shape[2:] else decoding.autocovariance(images, size)


def drawn(units, radius):
    """A line for each: filter, pattern, most exciting and most suppressing image, and the eight strongest pictures."""
    lines = []
    for k, unit in enumerate(units[:TILES]):
        eight = {name: getattr(unit, name)[:8] for name in ("eigenvalues", "filters", "patterns", "explained")}
        tiles, labels = replace(unit, **eight).tiles(radius)
        lines.append([str(k), decoding.montage(tiles, columns=len(tiles), labels=labels)])
    return page(lines)


def main():
    parser = deep.arguments(__doc__.splitlines()[0], "second-order", "the layer whose pictures are drawn")
    parser.add_argument("--units", type=int, help="of the layer that is drawn, the first so many (default: all)")
    parser.set_defaults(network="lenet", digits=10_000)
    options = parser.parse_args()
    check_folder(options.output)
    net, digits = deep.read(options), not options.pictures
    if digits:
        images = net.normalize(decoding.mnist()[0][: options.digits])
        train, test = ((lambda part=part: part) for part in np.array_split(images, 2))
    else:
        files = deep.pictures(options.pictures)
        train, test = (deep.batches(net, files[i::2], options.reduce, options.brightest) for i in (0, 1))
    layers, texts, folder = deep.chosen_layers(net, options), [], Path(options.output)
    nets = quadratized(net, train)

    judged = judges(net, nets, layers, train, deep.everywhere if digits else inside)
    decoding.measure(net, test(), list(judged.values()), backend=fast, progress=progress("judging"))
    found = results(judged)
    for what, (title, file, decimals) in enumerate(TABLES if digits else TABLES[:2]):
        texts.append(deep.written(folder / f"{file}.csv", title, table(net, layers, found, what, decimals)))
    names = dict.fromkeys(name for _, name in found)
    series = {name: [found[n, name][0] if (n, name) in found else None for n in layers] for name in names}
    decoding.save_picture(folder / "second-order.png", deep.plot([net.names[n - 1] for n in layers], series))

    shape, draw = next(iter(test())).shape[-3:], options.draw
    size = {n: net.receptive_field(n).size for n in layers}
    few = [n for n, (h, w) in size.items() if h <= shape[1] and w <= shape[2] and shape[0] * h * w <= WRITTEN_OUT]
    layer = net.index(int(draw) if draw.isdecimal() else draw) if draw else (few or layers[:1])[-1]
    name, quadratic = next(iter(nets.items()))
    quadratic = quadratic.replace(moments={**quadratic.moments, 0: nets["second order, calibrated"].moments[0]})
    ks = range(min(options.units or net.channels(layer), net.channels(layer)))
    given = statistics(net, layer, train, digits)
    units = decoding.decode_quadratic(quadratic, layer, ks, n=max(COUNTS), statistics=given, backend=fast)
    meter = Crops(net, quadratic, layer, 1 if digits else CROPS)
    decoding.measure(net, test(), [meter], backend=fast, progress=progress("pictures"))
    crops, responses, said = meter.result()
    by = by_pictures(units, crops, responses, said)
    few = ["pictures", *map(str, COUNTS[: len(by) - 1]), "all"], [["r", *(f"{each:.3f}" for each in by.mean(axis=1))]]
    what = f"layer {layer}, {net.names[layer - 1]}, {len(units)} units, {name}: "
    texts.append(deep.written(folder / "pictures.csv", what + "r by the number of pictures", few))
    what += f"what the network answers, as percentiles of {len(responses)} real responses"
    texts.append(deep.written(folder / "extremes.csv", what, extremes(net, layer, units, responses)))
    save_text(folder / "second-order.txt", "\n".join(texts))
    path = folder / f"second-order-{net.names[layer - 1]}.png"
    decoding.save_picture(path, drawn(units, RADII[-1]))
    print(path)


if __name__ == "__main__":
    raise SystemExit(run("second_order.py", main))
