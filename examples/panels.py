"""What the examples share: pages made of pictures and words, files of text, and a line that shows progress."""

import csv
import io
import sys
from pathlib import Path

import numpy as np

from decoding.files import replacing
from decoding.picture import FONT_SIZE, text_width, write_text

LINE = FONT_SIZE + 4


def page(rows, gap=4):
    """A table of cells, each a picture (H, W, 3), a text (of several lines) or None."""
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


def ink(images):
    """Images (N, 1, H, W) from 0 (white) to 255 (black), for `decoding.montage` to draw as they look."""
    return np.repeat(127.5 - np.asarray(images, float), 3, axis=1)


def grey(maps):
    """Maps (N, 1, H, W) from 0 (black) to 1 (white), for `decoding.montage`."""
    return np.repeat(2 * np.asarray(maps, float) - 1, 3, axis=1)


def save_text(path, text):
    """The old file stays whole until the new one is."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
        file.write(text.encode())


def as_csv(head, rows):
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([head, *rows])
    return text.getvalue()


def progress(what, noun="images"):
    """For `progress=`: rewrites one line of the terminal; silent where there is none."""

    def show(done, total):
        if sys.stderr.isatty():
            print(f"\r{what}: {done} of {total} {noun}", end="" if done < total else "\n", file=sys.stderr, flush=True)

    return show


def _drawable(cell):
    return cell.replace("×", "x") if isinstance(cell, str) else cell  # Pillow's own font has no ×


def _size(cell):
    if cell is None:
        return 0, 0
    if isinstance(cell, str):
        lines = cell.split("\n")
        return len(lines) * LINE, max(map(text_width, lines))
    return cell.shape[:2]
