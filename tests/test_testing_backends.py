"""Real backends, and the page that tells how to check one."""

import re
import textwrap
from pathlib import Path

import numpy as np
import pytest

from decoding import reference
from decoding.testing import CHECKS, check_backend
from decoding.testing.__main__ import main

ROOT = Path(__file__).parents[1]
BACKENDS = ROOT / "examples" / "backends"
PAGE = ROOT / "docs" / "conformance.rst"


pytestmark = pytest.mark.usefixtures("few_conditions")


@pytest.fixture(autouse=True)
def beside_the_backends(monkeypatch):
    monkeypatch.syspath_prepend(BACKENDS)


BY_DAY = ["correlate_integers", "avg_pool_integers", "unpool_bicubic_integers", "substitute_reals", "forward_reals"]


@pytest.mark.parametrize("only", [["--only", *BY_DAY], pytest.param([], marks=pytest.mark.slow)], ids=["day", "night"])
def test_scipy_conforms(only, capsys):
    assert main(["check", "with_scipy", "--examples", "8", *only]) == 0
    text = capsys.readouterr().out
    assert "no avg_pool\n    avg_pool_integers" in text
    assert "SciPy's cubic splines are not Keys' kernel" in text
    assert "not judged" not in text


@pytest.mark.parametrize(
    ("precision", "only"),
    [
        pytest.param("Double", [], id="Double"),
        pytest.param("Single", ["--only", *BY_DAY, "unpool_bicubic_reals", "many_calls"], id="Single, day"),
        pytest.param("Single", [], id="Single", marks=pytest.mark.slow),
    ],
)
def test_pytorch_conforms_but_for_its_bicubic_interpolation(precision, only, capsys):
    pytest.importorskip("torch", reason="PyTorch is not installed")
    expected = str(BACKENDS / "with_torch.expected")
    assert main(["check", f"with_torch:{precision}", "--expected", expected, "--examples", "8", *only]) == 0
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


def test_what_the_page_says_of_pytorch_with_channels_last_is_so():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    if torch.__version__.split("+")[0] != "2.13.0" or not torch.backends.mkldnn.is_available():
        pytest.skip("the page speaks of PyTorch 2.13 with oneDNN")

    def shown(form):
        x, f = (torch.ones(1, 1, *size).to(memory_format=form) for size in ((7, 9), (5, 9)))
        return torch.nn.functional.conv2d(x, f, stride=(1, 2)).ravel().tolist()

    assert shown(torch.contiguous_format) == [45, 45, 45]
    found = shown(torch.channels_last)
    if found == [45, 45, 45]:
        pytest.skip("oneDNN has another kernel for this processor")
    assert found[0] == 45  # the others hold what lies in memory beyond the map, which is something else each time
    assert "[45.0, 40.0, 27.0]" in PAGE.read_text()


@pytest.mark.slow
def test_pytorch_under_all_conditions():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    from with_torch import Double, Single

    class ChannelsLast(Single):
        def tensor(self, array):
            found = super().tensor(array)
            return found.to(memory_format=torch.channels_last) if found.ndim == 4 else found

    x, f = (torch.ones(1, 1, *size).to(memory_format=torch.channels_last) for size in ((7, 9), (5, 9)))
    right = torch.nn.functional.conv2d(x, f, stride=(1, 2)).ravel().tolist() == [45, 45, 45]
    assert check_backend(ChannelsLast(), checks=["correlate_conditions"], on_failure="return").ok == right
    names = [name for name in CHECKS if name.endswith("_conditions")]
    for backend in (Single(), Double()):
        assert check_backend(backend, checks=names).ok


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
        len(scope["test_conformance"].pytestmark[0].args[1]) >= len(CHECKS) - 5
    )  # those of a decoder of its own, and of groups
    from decoding import reference
    from decoding.testing import check_backend, checks

    try:
        exec(
            one_more,
            {name: getattr(checks, name) for name in ("check", "Cases", "explicit", "draws")},
        )
        assert check_backend(reference, checks=["relu_keeps_positive"]).ok
        wrong = type("Wrong", (), {"eps": 2.0**-53, "relu": lambda self, x, *, leak: 2 * reference.relu(x, leak=leak)})
        (failure,) = check_backend(wrong(), checks=["relu_keeps_positive"], on_failure="return").failures
        assert "assert np.array_equal(y, x), y" in failure.code
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
