"""What the examples share: pages made of pictures and words, files of text, and a line that shows progress."""

import csv
import io
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

import decoding
from decoding.files import replacing
from decoding.picture import GAP, LINE, text_width, wrapped, write_text

BLACK, WHITE, ORANGE, GREEN, PURPLE = (0, 0, 0), (255, 255, 255), (200, 90, 0), (0, 120, 60), (120, 50, 160)
HEADING = 17  # the height in pixels of the line that says what a picture shows
FINE = 4  # lines are drawn so many times larger, and then reduced, which makes them smooth


def page(rows, gap=4):
    """Draw a table, of which each cell is a picture (H, W, 3), a text of one or more lines, or None."""
    rows = [[_drawable(cell) for cell in row] for row in rows]
    sizes = [[_size(cell) for cell in row] for row in rows]
    heights = [max(height for height, _ in row) for row in sizes]
    widths = [max(row[j][1] for row in sizes if j < len(row)) for j in range(max(map(len, sizes)))]
    picture = np.full(
        (sum(heights) + gap * (len(heights) + 1), sum(widths) + gap * (len(widths) + 1), 3), 255, np.uint8
    )
    texts, top = [], gap
    for row, height in zip(rows, heights, strict=True):
        left = gap
        for cell, width in zip(row, widths, strict=False):
            if isinstance(cell, str):
                lines = enumerate(cell.split("\n"))
                texts += [(left, top + i * LINE, line) for i, line in lines]
            elif cell is not None:
                picture[top : top + cell.shape[0], left : left + cell.shape[1]] = cell
            left += width + gap
        top += height + gap
    return write_text(picture, texts)


def explained(heading, text, picture):
    """The picture under a line that says what it shows, and a paragraph that says what to see in it."""
    letters = ImageFont.load_default(size=HEADING)
    width = max(picture.shape[1], 560)
    heading, text = _drawable(heading), _drawable(text)
    head = np.full((LINE + 12, max(text_width(heading, letters) + 8, width), 3), 255, np.uint8)
    write_text(head, [(4, 4, heading)], font=letters)
    words = np.full((LINE, width, 3), 255, np.uint8)
    lines = wrapped(text, width - 8)
    words = write_text(np.repeat(words, len(lines), axis=0), [(4, LINE * i, line) for i, line in enumerate(lines)])
    return page([[head], [words], [picture]], gap=6)


def centred(text, width):
    """A picture of that width with a text whose lines are centred."""
    lines = _drawable(text).split("\n")
    picture = np.full((LINE * len(lines), max(width, *map(text_width, lines), 1), 3), 255, np.uint8)
    return write_text(
        picture, [((picture.shape[1] - text_width(line)) // 2, LINE * i, line) for i, line in enumerate(lines)]
    )


def numbers(array, cell):
    """A picture of an array in colours, with each number in the middle of its cell."""
    array = np.asarray(array, float)
    picture = decoding.montage(array[np.newaxis, np.newaxis], zoom=cell)[GAP:-GAP, GAP:-GAP].copy()
    for (row, column), value in np.ndenumerate(array):
        text = f"{value:.0f}"
        left, top = cell * column + (cell - text_width(text)) // 2, cell * row + (cell - LINE) // 2
        dark = picture[cell * row, cell * column].mean() < 128
        write_text(picture, [(left, top, text)], colour=WHITE if dark else BLACK)
    return picture


def framed(picture, box, colour, width=2):
    """The picture with a frame just inside the box (top, left, bottom, right)."""
    top, left, bottom, right = box
    picture = picture.copy()
    for side in (
        (slice(top, top + width), slice(left, right)),
        (slice(bottom - width, bottom), slice(left, right)),
        (slice(top, bottom), slice(left, left + width)),
        (slice(top, bottom), slice(right - width, right)),
    ):
        picture[side] = colour
    return picture


class Sheet:
    """A page on which pictures, texts, lines and arrows are placed, at (left, top) in pixels."""

    def __init__(self, width, height):
        self.size = width, height
        self.lines, self.heads, self.pictures, self.texts = [], [], [], []

    def picture(self, picture, left, top):
        self.pictures.append((picture, left, top))

    def text(self, text, left, top, *, colour=BLACK):
        for i, line in enumerate(_drawable(text).split("\n")):
            self.texts.append((left, top + LINE * i, line, colour))

    def line(self, start, end, colour=(120, 120, 120), width=1):
        self.lines.append((start, end, colour, width))

    def arrow(self, start, end, colour=(120, 120, 120), width=1):
        start, end = np.asarray(start, float), np.asarray(end, float)
        way = (end - start) / np.hypot(*(end - start))
        across = np.array([-way[1], way[0]])
        self.line(start, end - 6 * way, colour, width)
        self.heads.append(([end, end - 10 * way + 4.5 * across, end - 10 * way - 4.5 * across], colour))

    def dot(self, centre, radius, colour):
        around = np.linspace(0, 2 * np.pi, 16, endpoint=False)
        self.heads.append(([np.add(centre, radius * np.array([np.cos(a), np.sin(a)])) for a in around], colour))

    def finished(self):
        image = Image.new("RGB", [FINE * side for side in self.size], "white")
        draw = ImageDraw.Draw(image)
        for start, end, colour, width in self.lines:
            draw.line(
                [tuple(FINE * float(v) for v in point) for point in (start, end)], fill=colour, width=FINE * width
            )
        for points, colour in self.heads:
            draw.polygon([tuple(FINE * float(v) for v in point) for point in points], fill=colour)
        page = np.array(image.reduce(FINE))
        for picture, left, top in self.pictures:
            page[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
        for left, top, line, colour in self.texts:
            write_text(page, [(left, top, line)], colour=colour)
        return page


def scatter(x, y, across, down, side=260, labels=None):
    """Points (x, y) between 0 and 1, on a square with its diagonal; `across` and `down` say what the axes are."""
    left, top = 4 + LINE, 4
    sheet = Sheet(left + side + 16, top + side + 2 * LINE + 8)
    corner = (left, top + side)
    for start, end in ((corner, (left + side, top + side)), (corner, (left, top)), (corner, (left + side, top))):
        sheet.line(start, end, colour=(190, 190, 190))
    for i, (a, b) in enumerate(zip(x, y, strict=True)):
        place = left + 6 + a * (side - 12), top + side - 6 - b * (side - 12)
        if labels is None:
            sheet.dot(place, 2, (59, 76, 192))
        else:
            sheet.text(str(labels[i]), round(place[0]) - 3, round(place[1]) - 8, colour=(59, 76, 192))
    sheet.text("0", left, top + side + 2)
    sheet.text("1", left + side - 6, top + side + 2)
    sheet.text(across, left + (side - text_width(across)) // 2, top + side + 2)
    picture = sheet.finished()
    words = np.full((LINE, text_width(down) + 2, 3), 255, np.uint8)
    upright = np.rot90(write_text(words, [(0, 0, down)]))
    start = top + (side - len(upright)) // 2
    picture[start : start + len(upright), 2 : 2 + LINE] = upright
    return picture


def ink(images):
    """Images (N, 1, H, W) from 0 (white) to 255 (black), for `decoding.montage` to draw as they look."""
    return np.repeat(127.5 - np.asarray(images, float), 3, axis=1)


def grey(maps):
    """Maps (N, 1, H, W) from 0 (black) to 1 (white), for `decoding.montage`."""
    return np.repeat(2 * np.asarray(maps, float) - 1, 3, axis=1)


def save_text(path, text):
    """Write a text file. An old file is replaced only when the new one is complete."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
        file.write(text.encode())


def as_csv(head, rows):
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([head, *rows])
    return text.getvalue()


def progress(what, noun="images"):
    """A function for `progress=`, which rewrites one line of the terminal; without a terminal it does nothing."""

    def show(done, total):
        if sys.stderr.isatty():
            print(f"\r{what}: {done} of {total} {noun}", end="" if done < total else "\n", file=sys.stderr, flush=True)

    return show


def _drawable(cell):
    """A text with characters replaced that Pillow's own font lacks."""
    return cell.replace("×", "x").replace("−", "-").replace("–", "-") if isinstance(cell, str) else cell


def _size(cell):
    if cell is None:
        return 0, 0
    if isinstance(cell, str):
        lines = cell.split("\n")
        return len(lines) * LINE, max(map(text_width, lines))
    return cell.shape[:2]
