"""Some cases of a test by day, the others by night (the mark `slow`)."""

import pytest


def partly(values, day):
    """Parameters of a test: those whose number is one by day; the others by night."""
    return [pytest.param(each, marks=[] if day(i) else [pytest.mark.slow]) for i, each in enumerate(values)]
