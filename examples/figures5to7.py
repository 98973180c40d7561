"""Figures 5 to 7: the hand-made network beside LeNet, how C and D are composed, and what a picture of C activates.

python examples/figures5to7.py [-o folder]
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

import decoding
from decoding.picture import write_text
from panels import page

ZOOM = 6


def family(net, layers, zooms, shown=20):
    rows = []
    for layer, zoom in zip(layers, zooms, strict=True):
        filters = decoding.decode_layer(net, layer)
        size = "×".join(map(str, filters.shape[2:]))
        count = f"{min(shown, len(filters))} of {len(filters)}" if len(filters) > shown else f"{len(filters)}"
        rows += [[f"layer {layer}: {count} decoded, {size}"], [decoding.montage(filters[:shown], columns=7, zoom=zoom)]]
    return page(rows)


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
    heads = ["LeNet: decoded filters", "hand-made: decoded filters", "hand-made: original filters"]
    lenet = family(decoding.lenet(), (1, 3, 5, 7), (5, 3, 2, 2))
    return page([heads, [lenet, family(made.net, (1, 2, 3, 4), (6, 5, 5, 5)), originals(made.net)]], gap=16)


class Graph:
    """Tiles on a page, with lines between them."""

    def __init__(self, width, height):
        self.picture = np.full((height, width, 3), 255, np.uint8)
        self.lines, self.texts = [], []

    def place(self, filter_, text, left, top):
        tile = decoding.montage(filter_[np.newaxis], zoom=ZOOM)
        height, width = tile.shape[:2]
        self.picture[top : top + height, left : left + width] = tile
        self.texts += [(left, top + height + 16 * i, line) for i, line in enumerate(text.split("\n"))]
        return (left + width // 2, top), (left + width // 2, top + height + 16 * len(text.split("\n")))

    def finished(self):
        image = Image.fromarray(self.picture)
        draw = ImageDraw.Draw(image)
        for start, end, width in self.lines:
            draw.line([start, end], fill=(90, 90, 90), width=width)
        return write_text(np.array(image), self.texts)


def figure6(made):
    net, letters = made.net, [made.characters.index(letter) for letter in "CD"]
    parts = {k: decoding.contributions(net, 4, k) for k in letters}
    subshapes = sorted({part.k for found in parts.values() for part in found})
    graph = Graph(190 * len(subshapes) + 20, 480)
    place = {}
    for layer, units, names, top, step, begin in (
        (4, letters, made.characters, 30, 420, 200),
        (2, subshapes, made.subshapes, 200, 190, 20),
        (1, range(4), made.strokes, 370, 230, 60),
    ):
        for i, k in enumerate(units):
            text = f"({k + 1}) {names[k]}" if layer < 4 else f"{names[k]}, layer 4"
            place[layer, k] = graph.place(decoding.decode_filter(net, layer, k), text, begin + i * step, top)
    for layer, units in ((4, letters), (2, subshapes)):
        for k in units:
            found = decoding.contributions(net, layer, k)
            most = max(part.weight for part in found)
            for part in found:
                width = max(1, round(3 * part.weight / most))
                graph.lines.append((place[layer, k][1], place[part.layer, part.k][0], width))
    title = "Decoded filters and the weights between them: characters of sub-shapes (layer 2), sub-shapes of strokes (layer 1)."
    cells = "\n".join(
        f"{made.characters[k]}: "
        + ", ".join(f"({part.k + 1}) at row {part.cell[0]}, column {part.cell[1]} of its 3×3" for part in parts[k])
        for k in letters
    )
    return page([[title], [graph.finished()], [cells]])


def figure7(made):
    letter = made.characters.index("C")
    activations = made.net.activations(made.images[[letter]])
    image = decoding.montage(made.images[[letter]], zoom=6)
    rows = [["The picture of C, layer 0"], [image]]
    for layer, names, zoom in (
        (1, made.strokes, 6),
        (2, made.subshapes, 8),
        (3, made.subshapes, 14),
        (4, made.characters, 30),
    ):
        maps = activations[layer][0][:, np.newaxis]
        decoded = decoding.decode_layer(made.net, layer)
        shared = maps / np.abs(maps).max()
        labels = [f"{k + 1}: {maps[k].max() / maps.max():.2f}" for k in range(len(names))]
        bank = decoding.montage(decoded, columns=14, zoom=5)
        responses = decoding.montage(shared, columns=14, scale="shared", zoom=zoom, labels=labels)
        rows += [
            [f"Layer {layer}: decoded filters, and their activation maps ({maps.shape[2]}×{maps.shape[3]})"],
            [bank],
            [responses],
        ]
    title = "What the picture of C activates. Below each map: its number and its maximum, as a share of the layer's maximum."
    return page([[title], *rows])


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", default="reproduced", help="folder for the pictures (default: %(default)s)")
    options = parser.parse_args(arguments)

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
    try:
        main()
    except (decoding.DecodingError, OSError) as error:
        raise SystemExit(f"figures5to7.py: {error}") from None
