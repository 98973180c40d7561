"""The derived bounds of the conformance kit: as tight as they can be, and honest."""

import types

import numpy as np
import pytest

import decoding
from decoding import reference
from decoding.testing import Call, bench, check_backend
from decoding.testing.bounds import Arithmetic, NotJudged, error_bound, exact_unit
from decoding.testing.report import FAILED, NOT_JUDGED


def backend(**operators):
    functions = {name: getattr(reference, name) for name in decoding.backend.OPERATORS}
    return types.SimpleNamespace(**{"name": "a backend", "eps": 2.0**-53, **functions, **operators})


def test_the_bound_of_a_correlation_is_gamma_times_the_absolute_correlation():
    call = Call(
        "correlate",
        (np.array([[[[0.1, -0.2]]]]), np.array([[[[3.0, 0.7]]]]), None),
        {"stride": (1, 1), "pad": (0,) * 4},
    )
    eps = 2.0**-24 + 2.0**-53
    gamma = 5 * eps / (1 - 5 * eps)  # two products, one sum, two operands read
    (bound,) = error_bound(call, Arithmetic(2.0**-24)).ravel()
    assert gamma * 0.44 <= bound <= gamma * 0.44 * (1 + 1e-9)


def test_errors_are_carried_through_a_layer():
    call = Call(
        "correlate",
        (np.array([[[[1.0, -2.0]]]]), np.array([[[[3.0, -5.0]]]]), None),
        {"stride": (1, 1), "pad": (0,) * 4},
    )
    (bound,) = error_bound(call, Arithmetic(2.0**-53), (np.array([[[[0.5, 0.25]]]]),)).ravel()
    assert 3 * 0.5 + 5 * 0.25 <= bound <= 2.75 * (1 + 1e-12)


@pytest.mark.parametrize(("dtype", "tiny"), [(np.float64, -1022), (np.float32, -126), (np.float16, -14)])
def test_the_spacing_at_one_declares_the_same_format_as_the_unit_roundoff(dtype, tiny):
    spacing = float(np.finfo(dtype).eps)
    assert Arithmetic(spacing).range == Arithmetic(spacing / 2).range
    assert Arithmetic(spacing).range.tiny == 2.0**tiny


def test_answers_that_are_rounded_are_not_judged_where_the_bound_exceeds_the_rounding():
    inexact = {"eps": 2.0**-6, "exact": False}

    def nothing(x, filters, bias, **options):
        return 0 * reference.correlate(x, filters, bias, **options)

    wrong = backend(correlate=nothing, **inexact)
    x, filters = np.full((1, 1, 3, 4), 3.0), np.full((1, 1, 3, 3), 3.0)
    call = Call("correlate", (x, filters, None), {"stride": (1, 1), "pad": (0,) * 4})
    with pytest.raises(NotJudged):
        bench.Bench(wrong, 4).agrees(call)
    report = check_backend(wrong, on_failure="return", examples=20)
    for name in ("correlate_integers", "law_adjoint", "forward_integers"):
        assert report.status(name) in (FAILED, NOT_JUDGED)


def test_what_is_exact_is_told_by_the_grid_of_the_sums():
    def unit(*values, eps):
        x = np.array([[[values]]], float)
        return exact_unit(
            Call("correlate", (x, np.ones((1, 1, 1, len(values))), None), {"stride": (1, 1), "pad": (0,) * 4}),
            Arithmetic(eps),
        )

    assert unit(1024, 1024, eps=2.0**-11) == 1
    assert unit(1024, 1025, eps=2.0**-11) is None
    assert unit(1024, -1025, eps=2.0**-11) is None  # the order could be another
    assert unit(1024, 1025, eps=2.0**-24) == 1
    assert unit(0.5, 0.25, eps=2.0**-11) == 0.25
    assert unit(0.1, eps=2.0**-53) is None


def test_sums_that_could_overflow_are_not_judged():
    x = np.full((1, 1, 1, 2), 40000.0)
    call = Call("correlate", (x, np.ones((1, 1, 1, 2)), None), {"stride": (1, 1), "pad": (0,) * 4})
    with pytest.raises(NotJudged, match="overflow"):
        error_bound(call, Arithmetic(2.0**-11))
