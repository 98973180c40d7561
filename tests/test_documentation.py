"""Every example in the package and in the README runs as printed."""

import ast
import doctest
import importlib
import pkgutil
import re
import textwrap
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import decoding
from decoding.__main__ import main

README = Path(__file__).parents[1] / "README.rst"
MODULES = [
    module.name for module in pkgutil.walk_packages(decoding.__path__, "decoding.") if "__main__" not in module.name
]


@pytest.mark.parametrize("module", MODULES)
def test_docstrings(module):
    assert not doctest.testmod(importlib.import_module(module)).failed


def test_there_are_docstrings_to_run():
    finder = doctest.DocTestFinder()
    for name in ("decode", "decode_filter", "decode_layer"):
        assert any(test.examples for test in finder.find(getattr(decoding, name)))


def test_readme(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = doctest.testfile(str(README), module_relative=False)
    assert result.attempted > 5
    assert not result.failed
    assert all((tmp_path / name).stat().st_size > 0 for name in ("cell.png", "three.png"))
    lines = [
        line.split() for line in README.read_text("utf-8").splitlines() if line.startswith("    .venv/bin/decoding ")
    ]
    assert [words[1] for words in lines] == ["show", "decode", "quadratic"]
    for words in lines:
        assert main(words[1:]) == 0


@pytest.mark.parametrize("page", ["README.rst", "docs/five-minutes.rst"])
def test_the_lines_of_matplotlib_draw_a_symmetric_scale(lenet, page):
    matplotlib = pytest.importorskip("matplotlib", reason="draws with matplotlib")
    matplotlib.use("Agg")
    from matplotlib import pyplot

    text = (README.parent / page).read_text("utf-8")
    (lines,) = re.findall(r"((?:    .+\n)*    plt\.imshow.*\n(?:    .+\n)*)", text)
    three = decoding.decode_filter(lenet, 7, 3)
    exec(textwrap.dedent(lines), {"three": three})
    (image,) = pyplot.gcf().axes[0].images
    assert image.get_clim() == (-abs(three).max(), abs(three).max())
    assert (image.get_array() == three[0]).all()
    assert len(pyplot.gcf().axes) == 2  # the colour bar
    pyplot.close()


@pytest.mark.parametrize("page", ["five-minutes", "graphs", "own-layer", "second-order", "when-to-trust"])
def test_pages_with_examples(page):
    result = doctest.testfile(str(README.parent / "docs" / f"{page}.rst"), module_relative=False)
    assert result.attempted > 1
    assert not result.failed


def test_the_picture_in_the_readme_is_what_it_says(lenet):
    picture = decoding.montage(decoding.decode_filter(lenet, 7, 3)[np.newaxis], zoom=8)
    shown = np.asarray(Image.open(README.parent / "docs/images/layer7-filter3.png"))
    # Sums in another order may round a colour the other way.
    assert np.abs(shown.astype(int) - picture).max() <= 1


def test_the_picture_of_the_first_five_minutes_is_what_the_command_draws(tmp_path):
    page = (README.parent / "docs/five-minutes.rst").read_text("utf-8")
    (words,) = re.findall(r"    \.venv/bin/decoding (decode .*) -o conv2\.png\n", page)
    assert main([*words.split(), "-o", str(tmp_path / "conv2.png")]) == 0
    shown, drawn = (
        np.asarray(Image.open(path)).astype(int)
        for path in (README.parent / "docs/images/conv2.png", tmp_path / "conv2.png")
    )
    assert shown.shape == drawn.shape
    # The first row of tiles: the letters below are drawn by whatever FreeType comes with Pillow.
    assert np.abs(shown - drawn)[:74].max() <= 1
    assert shown[4:74, 4:74].std() > 10


def test_the_complex_cell_in_the_readme_is_what_it_says(tmp_path):
    net = decoding.quadratize(decoding.resnet())
    tiles, labels = decoding.decode_quadratic(net, "block1.1.sum", 0).tiles()
    shown = np.asarray(Image.open(README.parent / "docs/images/second-order-cell.png"))
    picture = decoding.montage(tiles, labels=labels, columns=12)
    assert shown.shape == picture.shape
    # The tiles: the letters below them are drawn by whatever FreeType comes with Pillow.
    assert np.abs(shown.astype(int) - picture)[:68].max() <= 1


@pytest.mark.parametrize("name", [name for name in decoding.__all__ if callable(getattr(decoding, name))])
def test_public_names_are_documented(name):
    assert len((getattr(decoding, name).__doc__ or "").strip()) > 20


def test_public_names_are_on_the_page_of_names():
    """By themselves, or with their module, which shows all it lists."""
    page = (README.parent / "docs/api.rst").read_text("utf-8")
    modules = map(importlib.import_module, re.findall(r"automodule:: (decoding[.\w]*)", page))
    listed = {name for module in modules for name in getattr(module, "__all__", vars(module))}
    assert [name for name in decoding.__all__ if name not in listed and not re.search(rf"\b{name}\b", page)] == []


PROGRAMS = [path for path in (README.parent / "examples").glob("*.py") if '"__main__"' in path.read_text("utf-8")]


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_every_program_has_a_title_and_says_what_one_sees_and_how_it_is_run(path):
    doc = ast.get_docstring(ast.parse(path.read_text("utf-8")))
    title, line, empty, *rest = doc.split("\n")
    assert line == "=" * len(title)
    assert not empty
    assert len(rest[0]) > 60
    assert f"::\n\n    python examples/{path.name}" in doc
    for image in re.findall(r"image:: /(\S+)|thumbnail_path = '(\S+)'", path.read_text("utf-8")):
        assert (README.parent / "docs" / "".join(image)).is_file()
