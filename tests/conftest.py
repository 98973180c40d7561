import os
import sys
import tempfile
from pathlib import Path

if "PYTEST_XDIST_WORKER" in os.environ:  # one process for each processor; BLAS reads this when NumPy is imported
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

sys.path.append(
    str(Path(__file__).parents[1])
)  # last; so processes that tests start can import the modules of the tests, whose classes they unpickle

import hypothesis
import numpy as np
import pytest

import decoding

BY_DAY = 20  # examples that hypothesis draws; by night, with --hypothesis-profile=night, many more
hypothesis.settings.register_profile("dev", deadline=None, max_examples=BY_DAY)
hypothesis.settings.register_profile(
    "ci", deadline=None, max_examples=BY_DAY, derandomize=True, database=None, print_blob=True
)
hypothesis.settings.register_profile("night", deadline=None, max_examples=400, print_blob=True)
hypothesis.settings.load_profile("ci" if "CI" in os.environ else "dev")


@pytest.fixture(autouse=True, scope="session")
def temporary_files(tmp_path_factory):
    """The conformance kit writes failing cases to temporary files; in the tests these go to a folder that pytest removes."""
    folder = str(tmp_path_factory.mktemp("temporary"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", folder)
        patch.setenv("TMPDIR", folder)
        yield


@pytest.fixture(scope="session")
def lenet():
    return decoding.lenet()


@pytest.fixture(scope="session")
def real_data():
    """A folder with MNIST's four files and real networks, for those who have one."""
    folder = os.environ.get("DECODING_TEST_DATA")
    if not folder:
        pytest.skip("DECODING_TEST_DATA names no folder with mnist/ and nets/")
    return Path(folder)


@pytest.fixture
def ramp():
    """An array whose every entry is another small integer, neither symmetric nor all positive."""
    return lambda *shape: (np.arange(np.prod(shape)).reshape(shape) * 7 % 23 - 9).astype(float)


@pytest.fixture
def few_conditions(request, monkeypatch):
    """The checks of conditions look at their first calls and networks alone, unless they are what is tried, or by night."""
    from itertools import islice

    from decoding.testing import conditions, networks

    given = getattr(request.node, "callspec", None)
    named = str(given.params.get("name", "")) if given else ""
    if request.node.get_closest_marker("slow") or named.endswith("_conditions") or "mutant" in request.fixturenames:
        return
    cases = conditions.cases
    monkeypatch.setattr(conditions, "cases", lambda *arguments: islice(cases(*arguments), 12))
    nets = networks.cases
    monkeypatch.setattr(networks, "cases", lambda: nets()[:12])
