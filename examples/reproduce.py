"""All of the paper, by one command
================================

It makes every table and figure of the paper, and the numbers that the paper lacks, in one folder, with a page ``index.html`` that shows
them all. With the digits that come with the package it takes a few minutes; with MNIST's own files, all 70,000 digits are measured.

::

    python examples/reproduce.py [--mnist folder] [-o folder]
"""

# sphinx_gallery_thumbnail_path = 'images/figure1.png'

import argparse
import html
import time
from pathlib import Path

import caveats
import figure1
import figure2
import figure3
import figure4
import figures5to7
import section2
import table1
from decoding.files import check_folder
from decoding.terminal import run
from panels import save_text

STEPS = {
    "table1": (table1, True),
    "figure1": (figure1, True),
    "figure2": (figure2, False),
    "figure3": (figure3, False),
    "figure4": (figure4, True),
    "figures5to7": (figures5to7, False),
    "section2": (section2, False),
    "caveats": (caveats, True),
}


def index(made):
    """A page with every picture and every table on it."""
    parts = [
        "<!doctype html><meta charset='utf-8'><meta name='viewport' content='width=device-width'>",
        "<title>Filter decoding with substitution, reproduced</title>",
        "<style>body { font-family: sans-serif; margin: 1em } img { max-width: 100% } pre { overflow-x: auto }</style>",
        "<h1>Filter decoding with substitution, reproduced</h1>",
    ]
    for path, what in made.items():
        parts.append(f"<h2>{html.escape(what)}</h2>")
        if path.suffix == ".png":
            parts.append(f"<p><img src='{path.name}' alt='{html.escape(what)}'></p>")
        else:
            parts.append(f"<pre>{html.escape(path.read_text(encoding='utf-8'))}</pre>")
    return "\n".join(parts) + "\n"


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mnist", metavar="folder", help="MNIST's IDX files, for all 70,000 digits")
    parser.add_argument("-o", "--output", default="reproduced", help="folder for everything (default: %(default)s)")
    options = parser.parse_args(arguments)
    check_folder(options.output)

    made = {}
    start = time.monotonic()
    for number, (name, (script, takes_digits)) in enumerate(STEPS.items(), 1):
        print(f"[{number}/{len(STEPS)}, {time.monotonic() - start:.0f} s] {name}", flush=True)
        digits = ["--mnist", options.mnist] if takes_digits and options.mnist else []
        made.update(script.main(["-o", options.output, *digits]))
    path = Path(options.output) / "index.html"
    save_text(path, index(made))
    print(f"[{time.monotonic() - start:.0f} s] {path}: {len(made)} tables and pictures")


if __name__ == "__main__":
    raise SystemExit(run("reproduce.py", main))
