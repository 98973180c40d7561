"""Figures 5 to 7: the hand-made network beside LeNet, how C and D are composed, and what a picture of C activates.

python examples/figures5to7.py [-o folder]
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

import decoding
from decoding.files import check_folder
from decoding.picture import GAP, text_width, write_text
from decoding.terminal import run
from panels import page

COLOURS = "Blue below 0, grey 0, red above"
FINE = 4  # lines are drawn so many times as large, and reduced


def family(net, layers, zooms, names, shown=20):
    rows = []
    for layer, zoom in zip(layers, zooms, strict=True):
        filters = decoding.decode_layer(net, layer)
        size = "×".join(map(str, filters.shape[2:]))
        count = f"{shown} of {len(filters)}" if len(filters) > shown else f"{len(filters)}"
        rows += [
            [f"layer {layer}: {count} decoded, {size}"],
            [decoding.montage(filters[:shown], columns=7, zoom=zoom, labels=names(layer, min(shown, len(filters))))],
        ]
    return rows


def originals(net):
    """The weights themselves: one tile for each filter and channel."""
    rows = []
    for layer in (1, 2, 4):
        filters = net.layers[layer - 1].filters
        tiles = filters.reshape(-1, 1, *filters.shape[2:])
        channels = "1 channel" if filters.shape[1] == 1 else f"{filters.shape[1]} channels"
        what = f"layer {layer}: {filters.shape[0]} filters (rows) of {channels}"
        rows += [[what], [decoding.montage(tiles, columns=filters.shape[1], zoom=4)]]
    return page(rows)


def figure5(made):
    lenet = decoding.lenet()
    heads = ["LeNet: decoded filters", "hand-made: decoded filters", "hand-made: original filters"]
    filters, channels = 4, 13
    some = lenet.layers[4].filters[:filters, :channels]
    left = family(lenet, (1, 3, 5, 7), (5, 3, 2, 2), lambda layer, count: range(count))
    left += [
        [f"layer 5: {filters} of 500 original filters (rows), {channels} of 50 channels, 4×4"],
        [decoding.montage(some.reshape(-1, 1, 4, 4), columns=channels, zoom=4)],
    ]
    right = family(
        made.net,
        (1, 2, 3, 4),
        (6, 5, 5, 5),
        lambda layer, count: made.characters if layer == 4 else range(1, count + 1),
    )
    lists = [
        "\n".join([f"{what}:", *(f"({k}) {name}" for k, name in enumerate(names, 1))])
        for what, names in (("layer 1", made.strokes), ("layers 2 and 3", made.subshapes))
    ]
    title = f"{COLOURS}; each tile has its own scale. LeNet's units count from 0, the hand-made ones from 1, as in the paper."
    names = page([lists], gap=12)
    return page([[title], [page([heads, [page(left), page([*right, [names]]), originals(made.net)]], gap=16)]])


class Graph:
    """Tiles on a page, with arrows between them."""

    def __init__(self, width, height):
        self.size = width, height
        self.tiles, self.arrows, self.texts = [], [], []

    def place(self, pictures, text, centre, top):
        """Pictures side by side and a text below them; where arrows arrive, and where they leave."""
        picture = page([pictures], gap=0)
        height, width = picture.shape[:2]
        self.tiles.append((picture, centre - width // 2, top))
        self.texts.append((centre - text_width(text) // 2, top + height, text))
        return (centre, top), (centre, top + height + 18)

    def arrow(self, start, end, text):
        self.arrows.append((start, end))
        along = 0.22
        x, y = (round(a + along * (b - a)) for a, b in zip(start, end, strict=True))
        label = page([[text]], gap=1)
        self.tiles.append((label, x - label.shape[1] // 2, y - label.shape[0] // 2))

    def finished(self):
        image = Image.new("RGB", [FINE * side for side in self.size], "white")
        draw = ImageDraw.Draw(image)
        for start, end in self.arrows:
            way = np.subtract(end, start) / np.hypot(*np.subtract(end, start))
            across = np.array([-way[1], way[0]])
            head = [end, end - 9 * way + 4 * across, end - 9 * way - 4 * across]
            draw.line([tuple(FINE * v for v in point) for point in (start, end)], fill=(120, 120, 120), width=FINE)
            draw.polygon([tuple(FINE * float(v) for v in point) for point in head], fill=(120, 120, 120))
        picture = np.array(image.reduce(FINE))
        for tile, left, top in self.tiles:
            picture[top : top + tile.shape[0], left : left + tile.shape[1]] = tile
        return write_text(picture, self.texts)


def own_filter(net, layer, k, zoom):
    """The filter itself: the channels that are not zero."""
    filter_ = net.layers[layer - 1].filters[k]
    used = np.flatnonzero(filter_.any(axis=(1, 2)))
    labels = [f"({c + 1})" for c in used] if layer > 1 else None
    return decoding.montage(filter_[used, np.newaxis], columns=len(used), zoom=zoom, labels=labels)


def figure6(made):
    net, letters = made.net, [made.characters.index(letter) for letter in "CD"]
    parts = {k: decoding.contributions(net, 4, k) for k in letters}
    subshapes = sorted({part.k for found in parts.values() for part in found})
    width = 200 * len(subshapes)
    graph, place = Graph(width, 470), {}
    for layer, units, names, top, zoom in (
        (4, letters, made.characters, 10, 10),
        (2, subshapes, made.subshapes, 210, 5),
        (1, range(4), made.strokes, 410, 6),
    ):
        for i, k in enumerate(units):
            text = f"({k + 1}) {names[k]}" if layer < 4 else names[k]
            decoded = decoding.montage(decoding.decode_filter(net, layer, k)[np.newaxis], zoom=6)
            pictures = [decoded, own_filter(net, layer, k, zoom)]
            place[layer, k] = graph.place(pictures, text, (2 * i + 1) * width // (2 * len(units)), top)
    for layer, units in ((4, letters), (2, subshapes)):
        for k in units:
            for part in decoding.contributions(net, layer, k):
                graph.arrow(place[layer, k][1], place[part.layer, part.k][0], f"{part.weight:.0f}")
    title = (
        "Decoded filters, each with the filter itself on its right (the channels that are not zero), and the weights\n"
        "between them: characters (layer 4) of sub-shapes (layer 2), and those of strokes (layer 1).\n"
        f"{COLOURS}; each tile has its own scale."
    )
    cells = "\n".join(
        f"{made.characters[k]}: "
        + ", ".join(f"({part.k + 1}) at row {part.cell[0]}, column {part.cell[1]} of its 3×3" for part in parts[k])
        for k in letters
    )
    return page([[title], [graph.finished()], [cells]])


def tiles(filters, zoom, scale="each"):
    """The tiles of a montage, one by one."""
    picture = decoding.montage(filters, columns=1, zoom=zoom, scale=scale)
    height = zoom * filters.shape[2]
    return [picture[GAP + i * (GAP + height) :][:height, GAP:-GAP] for i in range(len(filters))]


def figure7(made):
    letter = made.characters.index("C")
    activations = made.net.activations(made.images[[letter]])
    rows = [["The picture of C, layer 0"], [decoding.montage(made.images[[letter]], zoom=6)]]
    for layer, names, zooms in (
        (1, made.strokes, (14, 7)),
        (2, made.subshapes, (8, 12)),
        (3, made.subshapes, (6, 20)),
        (4, made.characters, (5, 70)),
    ):
        maps = activations[layer][0][:, np.newaxis]
        table = [
            ["", *("\n".join([f"({k})", *name.split()]) for k, name in enumerate(names, 1))],
            ["decoded", *tiles(decoding.decode_layer(made.net, layer), zooms[0])],
            ["maps", *tiles(maps, zooms[1], "shared")],
            ["maximum", *(f"{each.max() / maps.max():.2f}" for each in maps)],
        ]
        size = "×".join(map(str, maps.shape[2:]))
        rows += [[f"Layer {layer}: decoded filters, and their activation maps ({size})"], [page(table)]]
    title = (
        "What the picture of C activates. Below each map: its maximum, as a share of the layer's maximum.\n"
        f"{COLOURS}; each filter has its own scale, the maps of a layer share one."
    )
    return page([[title], *rows])


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", default="reproduced", help="folder for the pictures (default: %(default)s)")
    options = parser.parse_args(arguments)
    check_folder(options.output)

    made = decoding.characters()
    folder = Path(options.output)
    folder.mkdir(parents=True, exist_ok=True)
    figures = {
        5: (figure5, "decoded filters of LeNet and of the hand-made network"),
        6: (figure6, "how C and D are composed of sub-shapes, and those of strokes"),
        7: (figure7, "all activation maps for the picture of C"),
    }
    written = {}
    for number, (draw, what) in figures.items():
        path = folder / f"figure{number}.png"
        decoding.save_picture(path, draw(made))
        print(f"{path}: {what}")
        written[path] = f"Figure {number}: {what}"
    return written


if __name__ == "__main__":
    raise SystemExit(run("figures5to7.py", main))
