"""Real backends, and the page that tells how to check one."""

import re
import textwrap
from pathlib import Path

import numpy as np
import pytest

from decoding import reference
from decoding.testing import CHECKS
from decoding.testing.__main__ import main

ROOT = Path(__file__).parents[1]
BACKENDS = ROOT / "examples" / "backends"
PAGE = ROOT / "docs" / "conformance.rst"


@pytest.fixture(autouse=True)
def beside_the_backends(monkeypatch):
    monkeypatch.syspath_prepend(BACKENDS)


def test_scipy_conforms(capsys):
    assert main(["check", "with_scipy", "--examples", "8"]) == 0
    text = capsys.readouterr().out
    assert "avg_pool_integers: unsupported (no avg_pool)" in text
    assert "SciPy's cubic splines are not Keys' kernel" in text
    assert "not judged" not in text


@pytest.mark.parametrize("precision", ["Double", "Single"])
def test_pytorch_conforms_but_for_its_bicubic_interpolation(precision, capsys):
    pytest.importorskip("torch", reason="PyTorch is not installed")
    expected = str(BACKENDS / "with_torch.expected")
    assert main(["check", f"with_torch:{precision}", "--expected", expected, "--examples", "8"]) == 0
    assert capsys.readouterr().out.count("expected failure (") >= 2  # more with more examples


def test_pytorch_is_refused_for_its_bicubic_interpolation(capsys):
    pytest.importorskip("torch", reason="PyTorch is not installed")
    assert main(["check", "with_torch:Double", "--only", "unpool_bicubic_integers", "unpool_bilinear_integers"]) == 1
    text = capsys.readouterr().out
    assert "unpool_bicubic_integers: FAILED" in text
    assert "unpool_bilinear_integers" not in text  # passed


def test_pytorch_mirrors_the_edge():
    pytest.importorskip("torch", reason="PyTorch is not installed")
    from with_torch import Double

    maps = np.array([[[[1.0, 5]]]])
    for mode in ("nearest", "bilinear"):
        options = {"size": (1, 4), "stride": (1, 1), "mode": mode}
        assert np.array_equal(Double().unpool(maps, **options), reference.unpool(maps, **options))
    assert Double().unpool(maps, **options).ravel().tolist() == [3, 1, 3, 5, 3]


def python(page):
    return [textwrap.dedent(block) for block in re.findall(r"\.\. code-block:: python\n\n((?:   .*\n|\n)+)", page)]


def test_the_code_of_the_page_runs_as_printed(capsys):
    check, suite, one_more = python(PAGE.read_text())
    assert len([line for line in check.splitlines() if line.strip()]) <= 12
    scope = {}
    exec(check, scope)
    assert "conforms: " in capsys.readouterr().out
    exec(suite, scope)
    assert (
        len(scope["test_conformance"].pytestmark[0].args[1]) >= len(CHECKS) - 4
    )  # those of a decoder of its own, and of groups
    from decoding import reference
    from decoding.testing import Call, check_backend, checks, explicit, strategies

    try:
        exec(one_more, {"check": checks.check, "Call": Call, "strategies": strategies, "explicit": explicit})
        assert check_backend(reference, checks=["relu_keeps_positive"]).ok
    finally:
        CHECKS.pop("relu_keeps_positive", None)


def test_the_page_names_what_there_is():
    text = PAGE.read_text()
    for name in re.findall(r"``(with_\w+\.\w+|decoder\.c)``", text):
        assert (BACKENDS / name).exists()
    headings = re.findall(r"^(.+)\n---+$", text, re.MULTILINE)
    assert headings == [
        "Install",
        "Twelve lines that check a backend",
        "What is covered",
        "How to read a failure",
        "Expected failures",
        "CI recipe",
        "Vectors for other languages",
        "How the bounds are derived",
        "How to add a check",
    ]
