"""Figures 5 to 7: a network made by hand
======================================

In this network everything was made by hand: strokes, sub-shapes of strokes, and characters of sub-shapes. So it is known what decoding
should show. Figure 5 shows the network's decoded filters, which are the strokes, sub-shapes and characters, beside those of LeNet.
Figure 6 shows which units C and D are made of, and figure 7 that these units respond most to a picture of C.

.. image:: /images/figure6.png
   :alt: Figures 5 to 7: a network made by hand

::

    python examples/figures5to7.py [-o folder]
"""

# sphinx_gallery_thumbnail_path = 'images/figure6.png'

import argparse
from pathlib import Path

import numpy as np

import decoding
from decoding.files import check_folder
from decoding.picture import GAP, LINE, text_width, write_text
from decoding.terminal import run
from panels import BLACK, GREEN, PURPLE, Sheet, centred, explained, framed, page

COLOURS = "Red is above 0, grey 0, blue below; each tile has its own scale"
INK = {0: PURPLE, 1: GREEN}  # the colours of the arrows that come from C, and from D


def decoded(net, layer, zoom, labels, shown=20):
    filters = decoding.decode_layer(net, layer)
    size = "×".join(map(str, filters.shape[2:]))
    count = f"the first {shown} of {len(filters)}" if len(filters) > shown else f"all {len(filters)}"
    montage = decoding.montage(filters[:shown], columns=7, zoom=zoom, labels=labels[: min(shown, len(filters))])
    return [[f"Layer {layer}: {count} decoded filters, {size}"], [montage]]


def originals(layer, filters, rows, columns, zoom):
    """The filters' weights: a row for each filter, with the names of what it reads above the columns."""
    size = "×".join(map(str, filters.shape[2:]))
    lines = [["", *columns]] if any(columns) else []
    lines += [[name, *tiles(filter_[:, np.newaxis], zoom)] for name, filter_ in zip(rows, filters, strict=True)]
    return [[f"Layer {layer}: the filters themselves, {size}, one a row"], [page(lines, gap=3)]]


def figure5(made):
    lenet, net = decoding.lenet(), made.net
    numbers = [f"unit {k}" for k in range(20)]
    left = [row for layer, zoom in ((1, 8), (3, 3), (5, 2), (7, 2)) for row in decoded(lenet, layer, zoom, numbers)]
    some = lenet.layers[4].filters[:4, :9]
    left += originals("5", some, numbers[:4], [""] * 9, 4)
    left += [["(the first 4 of 500, of each the first 9 of 50 channels)"]]
    names = {1: made.strokes, 2: made.subshapes, 3: made.subshapes, 4: made.characters}
    right = [row for layer in (1, 2, 3, 4) for row in decoded(net, layer, 5, names[layer])]
    short = ["".join(word[0] for word in name.split()) for name in made.subshapes]
    weights = [
        *originals("1", net.layers[0].filters, made.strokes, [""], 4),
        *originals("2", net.layers[1].filters, made.subshapes, ["/", "\\", "|", "-"], 4),
        *originals("4", net.layers[3].filters, made.characters, short, 6),
        [
            "Above the columns: what each channel reads, strokes as\nthey look, sub-shapes by their initials (bottom left corner: blc)"
        ],
    ]
    heads = ["LeNet", "The hand-made network, decoded", "The hand-made network, its filters"]
    picture = page([heads, [page(left), page(right), page(weights)]], gap=14)
    text = (
        "Units of LeNet (left) are learned, and what they stand for has to be guessed. The other network was made by hand, of strokes, "
        "sub-shapes and characters; its filters (right) are single points, which say which stroke or sub-shape is where, and only decoded "
        f"(middle) they look like what they stand for. {COLOURS}."
    )
    return explained("Decoded filters of a trained network and of one made by hand", text, picture)


def own_filter(net, layer, k, zoom):
    """The weights of a filter: the channels that are not zero, each above the number of what it reads."""
    filter_ = net.layers[layer - 1].filters[k]
    used = np.flatnonzero(filter_.any(axis=(1, 2)))
    labels = [f"({c + 1})" for c in used] if layer > 1 else None
    return decoding.montage(filter_[used, np.newaxis], columns=len(used), zoom=zoom, labels=labels)


def node(net, layer, k, text, zoom):
    """The decoded filter of a unit with its weights on the right, and the unit's name."""
    tile = decoding.montage(decoding.decode_filter(net, layer, k)[np.newaxis], zoom=6)
    return page([[tile, own_filter(net, layer, k, zoom)]], gap=0), centred(text, 0)


def clear_place(tail, head, others):
    """The place on an arrow that is farthest from all other arrows."""
    along = np.linspace(0.3, 0.88, 59)
    places = np.outer(1 - along, tail) + np.outer(along, head)

    def distances(start, end):
        start, way = np.asarray(start, float), np.subtract(end, start)
        nearest = np.clip((places - start) @ way / (way @ way), 0, 1)
        return np.hypot(*(places - start - nearest[:, np.newaxis] * way).T)

    return places[np.min([distances(*other) for other in others], axis=0).argmax()]


def figure6(made):
    net, letters = made.net, [made.characters.index(letter) for letter in "CD"]
    parts = {k: decoding.contributions(net, 4, k) for k in letters}
    subshapes = sorted({part.k for found in parts.values() for part in found})
    width = 200 * len(subshapes)
    sheet, place, arrows = Sheet(width, 530), {}, []
    for layer, units, names, top, zoom in (
        (4, letters, made.characters, 4, 10),
        (2, subshapes, made.subshapes, 216, 5),
        (1, range(4), made.strokes, 452, 6),
    ):
        for i, k in enumerate(units):
            picture, name = node(net, layer, k, f"({k + 1}) {names[k]}" if layer < 4 else names[k], zoom)
            centre = (2 * i + 1) * width // (2 * len(units))
            sheet.picture(picture, centre - picture.shape[1] // 2, top)
            sheet.picture(name, centre - name.shape[1] // 2, top + picture.shape[0])
            place[layer, k] = centre, top, top + picture.shape[0] + name.shape[0] + 2
    for layer, units in ((4, letters), (2, subshapes)):
        for k in units:
            arrows += [
                ((layer, k), (part.layer, part.k), part.weight) for part in decoding.contributions(net, layer, k)
            ]
    ways = []
    for start, end, weight in arrows:
        colour = (
            INK[letters.index(start[1])] if start[0] == 4 else [PURPLE, GREEN, BLACK][subshapes.index(start[1]) % 3]
        )
        leaving = sorted((place[e][0], e) for s, e, _ in arrows if s == start)
        coming = sorted((place[s][0], s) for s, e, _ in arrows if e == end)
        out, into = (
            (spread.index((place[other][0], other)) - (len(spread) - 1) / 2) * 22
            for spread, other in ((leaving, end), (coming, start))
        )
        ways.append(((place[start][0] + out, place[start][2]), (place[end][0] + into, place[end][1]), colour, weight))
    for tail, head, colour, weight in ways:
        sheet.arrow(tail, head, colour)
        others = [(a, b) for a, b, _, _ in ways if (a, b) != (tail, head)]
        x, y = clear_place(tail, head, others)
        label = np.full((LINE, text_width(f"{weight:.0f}") + 4, 3), 255, np.uint8)
        write_text(label, [(2, 0, f"{weight:.0f}")], colour=colour)
        sheet.picture(label, round(x) - label.shape[1] // 2, round(y) - LINE // 2)
    cells = "\n".join(
        f"{made.characters[k]}: "
        + ", ".join(f"({part.k + 1}) at row {part.cell[0]}, column {part.cell[1]} of its 3×3" for part in parts[k])
        for k in letters
    )
    text = (
        "Above, the characters C and D (layer 4); in the middle, the sub-shapes that they are made of (layer 2); below, the strokes that "
        "these are made of (layer 1). Every unit is shown decoded, above its name, and on its right is its filter: of the channels that "
        "are not zero, each above the number of what it reads. An arrow leads from a unit to one that it is made of, and the number "
        f"on it is the weight. C and D share sub-shapes 1 and 4. {COLOURS}."
    )
    return explained("What C and D are made of", text, page([[sheet.finished()], [cells]]))


def tiles(filters, zoom, scale="each"):
    """The tiles of a montage, one by one."""
    picture = decoding.montage(filters, columns=1, zoom=zoom, scale=scale)
    height = zoom * filters.shape[2]
    return [picture[GAP + i * (GAP + height) :][:height, GAP:-GAP] for i in range(len(filters))]


def made_of(net, k):
    """For each layer, the units that unit k of layer 4 is made of: its sub-shapes, and their strokes."""
    subshapes = {part.k for part in decoding.contributions(net, 4, k)}
    strokes = {part.k for subshape in subshapes for part in decoding.contributions(net, 2, subshape)}
    return {1: strokes, 2: subshapes, 3: subshapes, 4: {k}}


def figure7(made):
    letter = made.characters.index("C")
    activations, own = made.net.activations(made.images[[letter]]), made_of(made.net, letter)
    rows = [["Layer 0: the picture of C"], [decoding.montage(made.images[[letter]], zoom=6)]]
    for layer, names, zooms in (
        (1, made.strokes, (14, 7)),
        (2, made.subshapes, (8, 12)),
        (3, made.subshapes, (6, 20)),
        (4, made.characters, (5, 70)),
    ):
        maps = activations[layer][0][:, np.newaxis]
        drawn = tiles(maps, zooms[1], "shared")
        for k in own[layer]:
            drawn[k] = framed(drawn[k], (0, 0, *drawn[k].shape[:2]), BLACK)
        table = [
            ["", *("\n".join([f"({k})", *name.split()]) for k, name in enumerate(names, 1))],
            ["decoded", *tiles(decoding.decode_layer(made.net, layer), zooms[0])],
            ["map", *drawn],
            ["maximum", *(f"{one.max() / maps.max():.2f}" for one in maps)],
        ]
        size = "×".join(map(str, maps.shape[2:]))
        rows += [[f"Layer {layer}: decoded filters, and their maps of responses to C, {size}"], [page(table)]]
    text = (
        "Each map holds the responses of one unit to the picture of C; the number below is its maximum, as a share of the layer's. "
        "Framed are the units that C is made of: in every layer they respond most. Red is above 0, grey 0, blue below; each decoded "
        "filter has its own scale, and the maps of a layer share one."
    )
    return explained("What a picture of C activates, layer by layer", text, page(rows))


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
