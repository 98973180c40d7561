"""What a unit sees beyond a line
==============================

A line for each of LeNet's ten classes: its decoded filter, in which few digits can be read, the pattern of that filter, the most
exciting and the most suppressing image to the second order, in which most can, and the strongest pictures of its quadratic part, the
exciting ones before the suppressing ones, each under its weight. The tables say how far all this follows the network.

NETWORK is ``lenet`` (the default) or ``resnet``, which come with the package and are judged on the second half of the bundled
digits, or a file; PICTURES are files or folders. Factors are calibrated on the first half of the digits, or on every second
picture, and all is judged on the others: at the places where a unit looks at nothing beyond the edge of a picture, and at
all places of digits, which are small. The pictures of one layer are held against such as are found from the network's responses:
spike-triggered covariance on the pictures of the first kind, and the mean Hessian on Gaussian images.

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
import yardsticks
from decoding import fast
from decoding.files import check_folder
from decoding.secondorder import pairs
from decoding.terminal import run
from deep import inside, pearson
from panels import explained, page, progress, save_text

COUNTS = (0, 1, 2, 4, 8, 16, 32)  # of pictures
TABLES = ("r", "r", 3), ("R²", "explained", 2), ("equation 3", "equation3", 4), ("the network's choice", "choice", 3)
RADII = (1, 3, 4)
WRITTEN_OUT = 1000  # numbers of a field, up to which a form's pictures are cheap
RIDGES = (1e-4, 1e-3, 1e-2, 1e-1)  # of least squares, by a pixel's mean variance: the best for what is judged is shown
CROPS = 500  # of each picture; of a digit, one
STIMULI = 20_000  # crops of pictures at most, and Gaussian images unless told, for what is found from responses
TURN = math.pi / 4  # by which a most exciting image is turned, as a phase is
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
    linear, found = {"identity": net}, {}
    if "second order, no image" in nets:
        linear["gains, no image"] = decoding.linearize(net)
    linear["gains, measured"] = decoding.linearize(net, train(), backend=fast, progress=progress("gains"))
    for name, other in linear.items():
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
        sums = {meter.layer: meter.equations.at(0, 0) for meter in meters}
        lines = {n: bank.reshape(len(bank), -1) @ sums[n].gram[:-1, -1] for n, bank in banks.items()}
        bias = {n: (sums[n].moments[-1] - line) / sums[n].gram[-1, -1] for n, line in lines.items()}
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


def tables_of(net, layers, digits):
    """How many of the tables there are: equation 3 of digits, and the choice where a layer makes one."""
    return 2 if not digits else 3 + any(classifies(net, n) for n in layers)


class Crops:
    """What units see at places drawn at random, what they answer, and what the second order says: results of (M, …).

    No more are taken once there are `STIMULI`.
    """

    def __init__(self, net, quadratic, layer, each):
        self.net, self.layer, self.each, self.say = net, layer, each, second_order(quadratic, [layer])
        self.parts, self.count = [], 0

    def part(self, images, responses, start):
        if self.count >= STIMULI:
            return None
        field, said = self.net.receptive_field(self.layer), self.say(images)[self.layer]
        rows, columns = inside(self.net, self.layer, images.shape[1:])
        random, found = np.random.default_rng(start), []
        for image, y, x in zip(images, responses, said, strict=True):
            for _ in range(min(self.each, (rows.stop - rows.start) * (columns.stop - columns.start))):
                i, j = random.integers(rows.start, rows.stop), random.integers(columns.start, columns.stop)
                top, left = (place * field.stride[a] + field.offset[a] for a, place in enumerate((i, j)))
                crop = image[:, top : top + field.size[0], left : left + field.size[1]]
                found.append((crop, y[:, i, j], x[:, i, j]))
        return [np.stack(each) for each in zip(*found, strict=True)]

    def add(self, part):
        if part is not None:
            self.parts.append(part)
            self.count += len(part[0])

    def result(self):
        return [np.concatenate(each) for each in zip(*self.parts, strict=True)]


def by_pictures(units, crops, responses, said):
    """r of each unit with so many of its pictures, and with the whole form: (numbers + 1, K)."""
    found = []
    for k, unit in enumerate(units):
        d = crops - (0 if unit.mean is None else unit.mean)
        parts = unit.eigenvalues * np.tensordot(d, unit.filters, axes=((1, 2, 3), (1, 2, 3))) ** 2
        line = np.tensordot(d, unit.linear, axes=3)
        known = [line + parts[:, :n].sum(axis=1) for n in COUNTS]
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
    head += ["exciting, turned freely", "turned at random"] + ["own class, of both"] * classifies(net, layer)
    classes, rows, random = np.arange(len(units)), [], np.random.default_rng(0)
    mean = 0 if units[0].mean is None else units[0].mean
    for radius in RADII:
        patterns = [u.linear_pattern * radius / np.sqrt(np.vdot(u.linear, u.linear_pattern)) for u in units]
        best, worst = [u.most_exciting(radius) for u in units], [u.most_suppressing(radius) for u in units]
        freely = [turned(u, each, freest(u, each, radius), radius) for u, each in zip(units, best, strict=True)]
        anyhow = [
            turned(u, each, drawn_across(u, each, radius, random), radius) for u, each in zip(units, best, strict=True)
        ]
        made = [answers(net, layer, np.stack(each) + mean) for each in (patterns, best, worst, freely, anyhow)]
        pattern, best, worst, freely, anyhow = (each[classes, classes] for each in made)
        shares = [100 * (real[:, : len(units)] < each).mean() for each in (pattern, best, worst, freely, anyhow)]
        taken = [(each.argmax(axis=1) == classes).sum() for each in made[:2]]
        better = f"{(best > pattern).sum()} of {len(units)}"
        texts = [f"{share:.1f}" for share in shares]
        own_class = ["{}, {}".format(*taken)] if classifies(net, layer) else []
        rows.append([str(radius), *texts[:3], better, *texts[3:], *own_class])
    return head, rows


def turned(unit, best, direction, radius):
    """The most exciting image, turned by 45° towards a direction of one standard deviation: as far from the mean as before."""
    return math.cos(TURN) * best + math.sin(TURN) * radius * direction


def freest(unit, best, radius):
    """The direction in which it can be changed most freely; none, if there is no such image."""
    return unit.invariances(1, radius)[0] if best.any() and len(unit.eigenvalues) else np.zeros_like(best)


def drawn_across(unit, best, radius, random):
    """A direction drawn at random of those that the pictures span, across the most exciting image."""
    y = np.tensordot(unit.filters, best, axes=3) / radius  # how much of each picture it has
    direction = random.standard_normal(len(y))
    direction -= y * (direction @ y) / max(y @ y, 1e-12)
    return np.tensordot(direction / np.linalg.norm(direction), unit.patterns, axes=1)


def classifies(net, layer):
    return net.input_shape is not None and net.grid(layer, net.input_shape)[1] == (1, 1) and net.channels(layer) <= 10


def statistics(net, layer, train, digits, moments):
    """Digits': their covariance, or that of crops, the same at all places. Photographs': the natural prior, of their contrast."""
    size = net.receptive_field(layer).size
    if digits:
        images = train()
        return decoding.covariance(images) if size == images.shape[2:] else decoding.autocovariance(images, size)
    prior = decoding.natural(size, channels=net.channels(0))
    return prior.scaled(math.sqrt(float((moments[1] ** 2).sum()) * math.prod(size) / prior.energy))


def yardsticks_of(net, layer, pictures, given, train, crops, responses, options):
    """Two tables of the first units: r by the number of pictures, by how they were found; and decoded pictures in the network's own.

    `pictures` are the decoded ones, by the name of what they are decoded with.
    """
    units, responses = next(iter(pictures.values())), responses[:, :TILES]
    meter = Crops(net, net, layer, 4 if not options.pictures else 5 * CROPS)
    decoding.measure(net, train(), [meter], backend=fast, progress=progress("spike-triggered covariance"))
    stimuli, triggered, _ = meter.result()

    def answer(images):
        return answers(net, layer, images)[:, : len(units)]

    white, halves = yardsticks.gaussian(given, answer, options.stimuli, progress("Gaussian images"))
    ways = {
        **{name: by_pictures(each, crops, responses, responses)[:-1] for name, each in pictures.items()},
        f"spike-triggered covariance, {len(stimuli)} crops": yardsticks.spike_triggered(
            stimuli, triggered[:, : len(units)], crops, responses, COUNTS
        ),
        f"mean Hessian, {options.stimuli} Gaussian images": yardsticks.mean_hessian(
            white, halves[0] + halves[1], crops, responses, COUNTS
        ),
    }
    found = yardsticks.compared(units, white, halves)
    rows = [[str(k), *(f"{each:.2f}" for each in row)] for k, row in enumerate(found)]
    rows.append(["mean", *(f"{each:.2f}" for each in found.mean(axis=0))])
    return ways, (["unit", "decoded four in the network's", "one half's in the other's", "size of the network's"], rows)


def drawn(units, radius):
    """A line for each: filter, pattern, most exciting and most suppressing image, and the eight strongest pictures."""
    lines = []
    for k, unit in enumerate(units[:TILES]):
        eight = {name: getattr(unit, name)[:8] for name in ("eigenvalues", "filters", "patterns", "explained")}
        tiles, labels = replace(unit, **eight).tiles(radius)
        lines.append([str(k), decoding.montage(tiles, columns=len(tiles), labels=labels)])
    text = (
        "A line for each unit. From the left: its decoded filter and the pattern of that filter, which are linear; the image that excites it "
        f"most and the one that suppresses it most, of {radius} standard deviations; and the eight strongest pictures of its quadratic part, "
        "under their weights relative to the largest. The unit responds with the weight times the square of what an image has of a picture, so "
        "that each may also be turned into its negative. " + deep.scale_of(units[0].linear.shape[0])
    )
    return explained("What units look for, to the second order", text, page(lines))


def main():
    parser = deep.arguments(__doc__.splitlines()[0], "second-order", "the layer whose pictures are drawn")
    parser.add_argument("--units", type=int, help="of the layer that is drawn, the first so many (default: all)")
    parser.add_argument(
        "--stimuli",
        type=int,
        default=STIMULI,
        help="Gaussian images for the mean Hessian; 0: no yardsticks (%(default)s)",
    )
    parser.set_defaults(network="lenet", digits=10_000)
    options = parser.parse_args()
    if options.stimuli < 0 or options.stimuli == 1:
        parser.error("--stimuli is 0, or at least 2: one for each half")
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
    for what, (title, file, decimals) in enumerate(TABLES[: tables_of(net, layers, digits)]):
        texts.append(deep.written(folder / f"{file}.csv", title, table(net, layers, found, what, decimals)))
    names = dict.fromkeys(name for _, name in found)
    series = {name: [found[n, name][0] if (n, name) in found else None for n in layers] for name in names}
    curves = explained(
        "How well each picture of a unit follows its network, from the first layer to the last",
        "Each point is Pearson's r between the network's responses and what a picture of its units says, averaged over the units of a layer: 1 "
        "is perfect, 0 chance. Lines of gains are of linear pictures; those of the second order add the quadratic part.",
        deep.plot([net.names[n - 1] for n in layers], series),
    )
    decoding.save_picture(folder / "second-order.png", curves)

    shape, draw = next(iter(test())).shape[-3:], options.draw
    size = {n: net.receptive_field(n).size for n in layers}
    few = [n for n, (h, w) in size.items() if h <= shape[1] and w <= shape[2] and shape[0] * h * w <= WRITTEN_OUT]
    layer = net.index(int(draw) if draw.isdecimal() else draw) if draw else (few or layers[:1])[-1]
    name, quadratic = next(iter(nets.items()))
    ks = range(min(options.units or net.channels(layer), net.channels(layer)))
    given = statistics(net, layer, train, digits, nets["second order, calibrated"].moments[0])
    units = decoding.decode_quadratic(quadratic, layer, ks, n=max(COUNTS), statistics=given, backend=fast)
    meter = Crops(net, quadratic, layer, 1 if digits else CROPS)
    decoding.measure(net, test(), [meter], backend=fast, progress=progress("pictures"))
    crops, responses, said = meter.result()
    by = by_pictures(units, crops, responses, said)
    head, what = ["pictures", *map(str, COUNTS)], f"layer {layer}, {net.names[layer - 1]}, {len(units)} units, {name}: "
    rows = [["r", *(f"{each:.3f}" for each in by.mean(axis=1))]]
    texts.append(deep.written(folder / "pictures.csv", what + "r by the number of pictures", ([*head, "all"], rows)))
    what += f"what the network answers, as percentiles of {len(responses)} real responses"
    texts.append(deep.written(folder / "extremes.csv", what, extremes(net, layer, units, responses)))
    if options.stimuli and crops[0].size <= WRITTEN_OUT and all(len(unit.eigenvalues) for unit in units):
        pictures = {name: units[:TILES]}
        for other in list(nets)[1:]:
            pictures[other] = decoding.decode_quadratic(
                nets[other], layer, ks[:TILES], n=max(COUNTS), statistics=given, backend=fast
            )
        ways, own = yardsticks_of(net, layer, pictures, given, train, crops, responses, options)
        rows = [[way, *(f"{each:.3f}" for each in r.mean(axis=1))] for way, r in ways.items()]
        what = f"the first {min(TILES, len(units))} units: r by the number of pictures, and how they were found"
        texts.append(deep.written(folder / "yardsticks.csv", what, (head, rows)))
        what = f"the same units: pictures decoded, and the network's own on {options.stimuli} Gaussian images"
        texts.append(deep.written(folder / "gaussian.csv", what, own))
        lines = {way: list(r.mean(axis=1)) for way, r in ways.items()}
        curves = explained(
            f"How much of a unit's response so many pictures say: {net.names[layer - 1]}",
            "Each point is Pearson's r between the network's responses and those of the linear part with so many of the strongest pictures of the "
            "quadratic part (0: the linear part alone), averaged over units. Each line is one way to find the pictures: decoded from the "
            "weights, or estimated from the network's responses to stimuli.",
            deep.plot(list(map(str, COUNTS)), lines),
        )
        decoding.save_picture(folder / "yardsticks.png", curves)
    save_text(folder / "second-order.txt", "\n".join(texts))
    path = folder / f"second-order-{net.names[layer - 1]}.png"
    decoding.save_picture(path, drawn(units, RADII[-1]))
    print(path)


if __name__ == "__main__":
    raise SystemExit(run("second_order.py", main))
