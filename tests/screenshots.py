"""Screenshots of the explorer's four views at both widths: ``python tests/screenshots.py FOLDER [PAGES]``.

The pages of the two bundled networks are written to PAGES, or to FOLDER, if they do not exist yet.
"""

import sys
from pathlib import Path

from browser import HEIGHTS, browser

import decoding

VIEWS = {
    "network": ("resnet", ""),
    "layer": ("lenet", "#conv2"),
    "unit": ("lenet", "#conv4/3"),
    "join": ("resnet", "#block1.1.sum/0"),
}
FEW = {"lenet": {7: [3]}, "resnet": {"block1.1.sum": [0]}}


def main(folder, pages=None):
    folder = Path(folder)
    pages = Path(pages or folder / "pages")
    folder.mkdir(parents=True, exist_ok=True)
    for name, units in FEW.items():
        if not (pages / name).exists():
            decoding.explore(getattr(decoding, name)(), pages / name, second_order=units)
    with browser() as page:
        for view, (name, place) in VIEWS.items():
            for width in HEIGHTS:
                for dark in (False, True):
                    page.open(pages / name, place, width=width, dark=dark)
                    path = folder / f"{view}-{width}{'-dark' * dark}.png"
                    page.picture(path)
                    print(path, *page.console(), *page.cut_off())


if __name__ == "__main__":
    main(*sys.argv[1:])
