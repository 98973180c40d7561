"""Wrong backends after public reports are refused: a few always, all of them by night."""

import pytest
from reported import REPORTS, refusing

# One for each way to go wrong: pads, memory, what is kept, threads, groups, infinities.
SAMPLE = ("AMDMIGraphX 492", "pytorch 77299", "oneDNN 1113", "pytorch 84602", "tvm 10223", "pytorch 39044")


@pytest.mark.parametrize(
    "backend",
    [
        pytest.param(backend, id=where, marks=[] if where.endswith(SAMPLE) else [pytest.mark.slow])
        for where, _, backend in REPORTS
    ],
)
def test_what_was_reported_is_refused(backend):
    assert refusing(backend, examples=6) is not None


def test_they_are_of_some_forty_libraries():
    assert len({where.split()[0] for where, *_ in REPORTS}) >= 40
