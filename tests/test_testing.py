"""The conformance kit's own tests: wrong backends are refused for the right reason, honest ones are accepted."""

import ast
import contextlib
import importlib
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import types
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from fractions import Fraction
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
from by_day import partly
from honest import HONEST, HONEST_IN_ONE_WAY
from mutants import MUTANTS, applied

import decoding
from decoding import AvgPool, Conv, Gate, MaxPool, Network, ReLU, Select, Softmax, Sum, fast, reference, walks
from decoding.testing import (
    CHECKS,
    bench,
    bounds,
    check_backend,
    checks,
    conditions,
    explicit,
    loops,
    machines,
    networks,
    parametrize_with_checks,
    stages,
    strategies,
)
from decoding.testing.__main__ import main
from decoding.testing.calls import Call, source
from decoding.testing.report import (
    EXPECTED,
    FAILED,
    NOT_JUDGED,
    PARTLY,
    PASSED,
    UNEXPECTED,
    UNSUPPORTED,
    Mismatch,
    Report,
    Result,
)
from decoding.testing.rounding import Arithmetic

pytestmark = pytest.mark.usefixtures("few_conditions")

# 500 examples and three seeds: DECODING_CONFORMANCE_EXAMPLES=500 DECODING_CONFORMANCE_SEEDS=1,2,3
EXAMPLES = int(os.environ.get("DECODING_CONFORMANCE_EXAMPLES", "6"))
SEEDS = [int(seed) for seed in os.environ.get("DECODING_CONFORMANCE_SEEDS", "").split(",") if seed] or [None]


OWN = {
    "own_decode_filter",
    "own_decoder_remembers_nothing",
    "refuses_other_units",
    "grouped_integers",
    "grouped_reals",
}  # checks of what is offered or not


class InSingle:
    """`decoding.fast` on single precision, which it keeps."""

    name, eps = "decoding.fast, float32", 2.0**-24

    def __getattr__(self, operator):
        function = getattr(fast, operator)

        def run(*arrays, **options):
            return function(*(None if a is None else np.asarray(a, np.float32) for a in arrays), **options)

        return run


def backend(**operators):
    functions = {name: getattr(reference, name) for name in decoding.backend.OPERATORS}
    return types.SimpleNamespace(**{"name": "a backend", "eps": 2.0**-53, **functions, **operators})


def flipped(x, filters, bias, **options):
    return reference.correlate(x, np.asarray(filters)[..., ::-1], bias, **options)


# Mutants and honest backends.


def unsearched(monkeypatch):
    """Only the explicit cases are looked at: what hypothesis draws differs from version to version."""
    monkeypatch.setattr(bench.Bench, "search", lambda self, cases, judge, examples: None)


def few(monkeypatch):
    """Some of all cases are looked at: of what is wrong everywhere, they tell as much, sooner."""
    unsearched(monkeypatch)
    made = explicit.calls
    monkeypatch.setattr(explicit, "calls", lambda *names, **options: made(*names, **options)[:5])
    covering = conditions.covering
    monkeypatch.setattr(conditions, "covering", lambda *a: (covering(*a)[0][:40], *covering(*a)[1:]))
    monkeypatch.setattr(conditions, "thin", lambda operator: ())
    monkeypatch.setattr(machines, "MANY", {False: 100})
    monkeypatch.setattr(networks, "cases", lambda: ())


def outcome(code, operators):
    """What pasted code shows: the value of its last line, or the exception it raises."""
    scope = {"np": np, "backend": operators, **{name: getattr(decoding, name) for name in decoding.__all__}}
    *lines, last = ast.parse(code).body
    try:
        exec(compile(ast.Module(lines, []), "code", "exec"), scope)
        if not isinstance(last, ast.Expr):
            return exec(compile(ast.Module([last], []), "code", "exec"), scope)
        return eval(compile(ast.Expression(last.value), "code", "eval"), scope)
    except Exception as error:
        return type(error)


def shows(code, wrong, mutant=None):
    """Whether pasted code goes another way with the wrong backend, or library, than with the right one."""
    with applied(mutant) if mutant else contextlib.nullcontext():
        got = outcome(code, wrong)
    want = outcome(code, backend(decode_filter=decoding.decode_filter, groups=True))
    if isinstance(want, type) or want is None:  # the reference refuses; or the last line is an assertion that holds
        return got is not want
    if isinstance(got, type):
        return True
    got, want = (each if isinstance(each, list) else [each] for each in (got, want))
    return not all(np.array_equal(a, b, equal_nan=True) for a, b in zip(got, want, strict=True))


KILLS = [mutant.kills for mutant in MUTANTS]


@pytest.mark.parametrize(
    "mutant", partly(MUTANTS, day=lambda i: i % 8 == 0 or KILLS[i] not in KILLS[:i]), ids=lambda mutant: mutant.name
)
def test_the_check_that_a_mutant_names_kills_it_whatever_is_drawn(mutant, monkeypatch, tmp_path):
    unsearched(monkeypatch)
    wrong = mutant.backend
    with applied(mutant):
        report = check_backend(wrong, checks=[mutant.kills], on_failure="return", cases=tmp_path)
    (result,) = report.results
    assert result.status == FAILED, result
    assert result.detail
    assert shows(result.code, wrong, mutant), result
    with np.load(result.case) as case:
        assert str(case["code"]) == result.code
        assert "input0" in case


@pytest.mark.parametrize("name", partly(CHECKS, day=lambda i: i % 10 == 0))
def test_what_a_search_finds_prints_as_code_that_shows_it(name):
    mutant = next(mutant for mutant in MUTANTS if mutant.kills == name)
    wrong = mutant.backend
    with applied(mutant):
        (result,) = check_backend(wrong, checks=[name], on_failure="return").results
    assert result.status == FAILED
    assert shows(result.code, wrong, mutant), result


@pytest.mark.parametrize(
    "name", ["relu: an answer that is kept and handed out again", "correlate: wrong after a refusal"]
)
def test_sequences_print_as_code_that_shows_it_from_the_start(name):
    mutant = next(mutant for mutant in MUTANTS if mutant.name == name)
    (result,) = check_backend(mutant.backend, checks=["calls_in_any_order"], examples=1, on_failure="return").results
    assert shows(result.code, mutant.backend), result


@pytest.mark.slow
def test_a_sequence_of_one_call_and_another_step_is_told_as_it_was_shrunk(monkeypatch):
    """A rectifier that writes to its maps changes the answer that is passed on to it."""
    monkeypatch.setattr(machines, "plays", lambda *pools: [])

    def relu(x, *, leak):
        y = reference.relu(x, leak=leak)
        if isinstance(x, np.ndarray) and x.flags.writeable:
            x[...] = 5
        return y

    (result,) = check_backend(backend(relu=relu), checks=["calls_in_any_order"], on_failure="return").results
    assert result.code.count("backend.") == 2
    assert shows(result.code, backend(relu=relu))


def turned(operator):
    return lambda x, f, *bias, **options: getattr(reference, operator)(x, np.asarray(f)[..., ::-1], *bias, **options)


@pytest.mark.parametrize("searched", [pytest.param(True, marks=pytest.mark.slow), False])
@pytest.mark.parametrize(
    "operators",
    [
        pytest.param({"substitute": turned("substitute")}, marks=pytest.mark.slow, id="substitute"),
        pytest.param({"correlate": turned("correlate")}, marks=pytest.mark.slow, id="correlate"),
        pytest.param(
            {"unpool": lambda maps, **options: 2 * reference.unpool(maps, **options)},
            marks=pytest.mark.slow,
            id="unpool",
        ),
    ],
)
def test_every_failure_prints_as_code_that_shows_it(operators, searched, monkeypatch):
    if not searched:
        few(monkeypatch)
    wrong = backend(**operators)
    wrong.decode_filter = lambda net, layer, k, *, unpool: decoding.decode(
        net, layer, np.eye(net.channels(layer))[[k], :, np.newaxis, np.newaxis], unpool=unpool, backend=wrong
    )[0]
    failures = check_backend(wrong, examples=20, on_failure="return").failures
    assert len(failures) > 3 or "correlate" in operators
    for failure in failures:
        assert shows(failure.code, wrong), failure


def test_a_module_that_lacks_operators_is_judged_by_the_laws_of_networks():
    module = types.ModuleType("partial")
    module.eps, module.correlate, module.substitute = 2.0**-53, reference.correlate, reference.substitute
    (result,) = check_backend(module, checks=["law_response"], examples=4).results
    assert result.status == PASSED
    module.substitute = turned("substitute")
    (result,) = check_backend(module, checks=["law_response"], examples=4, on_failure="return").results
    assert result.status == FAILED
    assert shows(result.code, module)


def test_the_code_of_a_pass_shows_a_failure_that_a_lower_layer_hides():
    net = Network([Conv(np.zeros((1, 1, 1, 2))), MaxPool((1, 2))], input_shape=(1, 3, 4))
    wrong = backend(unpool=lambda maps, **options: 2 * reference.unpool(maps, **options))
    with pytest.raises(Mismatch) as found:
        checks._decodes(bench.Bench(wrong, 1), (net, 2, 0), "nearest")
    assert shows(found.value.code, wrong)
    assert not shows(found.value.code, backend())


def test_there_are_thirty_mutants_with_names_of_their_own():
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS) >= 30


def test_every_check_catches_what_no_other_check_catches_first_or_says_why_it_is_there():
    first = {mutant.kills for mutant in MUTANTS if mutant.first}
    killers = {mutant.kills for mutant in MUTANTS}
    assert killers == set(CHECKS)
    assert {name for name, check in CHECKS.items() if not check.why} == first


@pytest.mark.parametrize("name", partly([name for name, check in CHECKS.items() if not check.why], day=lambda i: i < 6))
def test_no_earlier_check_catches_it_first(name):  # one that comes late runs all before it
    mutant = next(mutant for mutant in MUTANTS if mutant.kills == name and mutant.first)
    earlier = [each for each in list(CHECKS)[: list(CHECKS).index(name)] if each != "own_decode_filter"]
    if earlier:
        assert not check_backend(mutant.backend, checks=earlier, examples=5, on_failure="return").failures


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    "honest",
    partly([fast, reference, InSingle(), *HONEST], day=lambda i: False),
    ids=lambda honest: honest.name,
)
def test_honest_backends_pass(honest, seed):
    report = check_backend(honest, examples=EXAMPLES, seed=seed)
    assert {result.status for result in report.results} == {PASSED}, report


def test_the_tuned_backend_passes_every_check_on_some_calls(monkeypatch):
    few(monkeypatch)
    names = [name for name in CHECKS if name not in OWN - {"grouped_integers"} and name != "many_calls"]
    report = check_backend(fast, checks=names, examples=3)
    assert {result.status for result in report.results} == {PASSED}, report


def test_what_the_format_may_not_hold_is_not_asked_for(monkeypatch):
    """A backend in half precision may raise an exception there, and is not to blame."""
    rows = [row for row in conditions.at_random("avg_pool") if row["values"] == "rising"][:9]
    monkeypatch.setattr(
        conditions, "cases", lambda operator, precision, *_: [conditions.case(operator, row, precision) for row in rows]
    )
    half = next(each for each in HONEST if each.name == "tap by tap, float16")

    def avg_pool(x, **options):
        with np.errstate(over="raise"):
            return half.avg_pool(x, **options)

    honest = types.SimpleNamespace(name="half", eps=half.eps, dtype=half.dtype, avg_pool=avg_pool)
    (result,) = check_backend(honest, checks=["avg_pool_conditions"], on_failure="return").results
    assert result.status != FAILED, result
    assert "may overflow" in result.detail


@pytest.mark.slow
def test_plain_loops_pass_where_calls_are_small(monkeypatch):
    """All conditions would take them hours."""
    cases, nets = conditions.cases, networks.cases
    monkeypatch.setattr(conditions, "cases", lambda *arguments: itertools.islice(cases(*arguments), 12))
    monkeypatch.setattr(networks, "cases", lambda: nets()[:12])
    report = check_backend(loops, examples=EXAMPLES)
    assert {result.status for result in report.results} == {PASSED}, report


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    ("honest", "named"),
    [
        pytest.param(honest, named, marks=[pytest.mark.slow] if i % 2 or i > 4 else [], id=honest.name)
        for i, (honest, named) in enumerate(HONEST_IN_ONE_WAY)
    ],
)
def test_what_is_honest_in_a_way_of_its_own_is_not_blamed(honest, named, seed):
    before = np.geterr()
    report = check_backend(
        honest, checks=named, examples=EXAMPLES if "law_response" in named else max(EXAMPLES, 20), seed=seed
    )
    assert {result.status for result in report.results} <= {PASSED, *([PARTLY] if "pairs" in honest.name else [])}
    assert np.geterr() == before


def test_of_filters_that_are_transformed_together_the_small_one_errs_as_the_large_one():
    (two,) = [honest for honest, _ in HONEST_IN_ONE_WAY if honest.name.startswith("two")]
    filters = np.random.default_rng(0).standard_normal((2, 1, 3, 5)) * [[[[1]]], [[[2.0**-40]]]]
    call = Call("correlate", (np.random.default_rng(1).standard_normal((1, 1, 7, 8)), filters, None), {})
    call = call._replace(options={"stride": (1, 1), "pad": (0, 0, 0, 0)})
    bench.Bench(two, 1).agrees(call)
    alone = bench.Bench(reference, 1)
    assert np.abs(bench.Bench(two, 1).answer(call) - alone.answer(call))[0, 1].max() > 2.0**-53 * 2.0**-30


def test_a_range_is_stated_as_a_type():
    assert Arithmetic(2.0**-47).range.reach == 450
    assert bounds.arithmetic(backend(eps=2.0**-47, range=np.float32)).range.reach == 50
    assert bounds.arithmetic(backend(eps=2.0**-9, range="float32")).range.reach == 50
    for stated in (3, "single precision", np.int32, object):
        with pytest.raises(decoding.InvalidValueError, match="the backend's range is"):
            check_backend(backend(range=stated))


@pytest.mark.slow
@pytest.mark.parametrize(
    "honest",
    [reference, fast, InSingle(), *HONEST, *(each for each, _ in HONEST_IN_ONE_WAY)],
    ids=lambda honest: honest.name,
)
def test_honest_backends_pass_under_all_conditions(honest):
    names = [name for name in CHECKS if name.endswith("_conditions")]
    report = check_backend(honest, checks=names)
    assert {result.status for result in report.results} <= {PASSED, *([UNSUPPORTED] if "pairs" in honest.name else [])}


# What a report says.


def test_a_failure_shows_the_case_as_code_that_can_be_pasted(tmp_path):
    with pytest.raises(decoding.ConformanceFailure) as failure:
        check_backend(backend(correlate=flipped), checks=["correlate_integers"], cases=tmp_path)
    (result,) = failure.value.report.failures
    assert str(result) in str(failure.value)
    assert "must be equal" in result.detail
    wrong = eval(result.code, {"np": np, "backend": backend(correlate=flipped)})
    right = eval(result.code, {"np": np, "backend": reference})
    assert (wrong != right).any()
    with np.load(result.case) as case:
        assert (case["got"] == wrong).all()
        assert (case["want"] == right).all()
        assert str(case["code"]) == result.code
        assert case["bound"].shape == right.shape


def test_cases_shrink_to_what_a_person_can_read():
    report = check_backend(backend(correlate=flipped), checks=["correlate_integers"], on_failure="return")
    x, filters = (report.failures[0].arrays[f"input{i}"] for i in (0, 1))
    assert filters.shape == (1, 1, 1, 2)
    assert x.shape[:3] == (1, 1, 1)
    assert x.size <= 3


def test_a_violation_of_the_bound_says_how_many_times():
    def loose(x, filters, bias, **options):
        return reference.correlate(x, filters, bias, **options) * (1 + 1e-9)

    report = check_backend(backend(correlate=loose), checks=["correlate_reals"], on_failure="return")
    assert "times the bound" in report.failures[0].detail


@pytest.mark.slow
def test_a_network_names_the_first_stage_that_differs():
    def off(x, *, leak):
        return reference.relu(x, leak=leak) + 1

    report = check_backend(backend(relu=off), checks=["forward_integers"], on_failure="return")
    (failure,) = report.failures
    assert "(ReLU)" in failure.stage
    assert failure.code.startswith("net = Network([")
    names = {name: getattr(decoding, name) for name in ("Network", "Conv", "MaxPool", "AvgPool", "ReLU")}
    scope = {"np": np, "backend": backend(relu=off), **names}
    exec(failure.code, scope)
    kinds = [each.kind for each in scope["net"].layers]
    assert failure.stage == f"layer {kinds.index('ReLU') + 1} (ReLU)"


def test_networks_print_as_code():
    net = Network(
        [
            Conv([[[[1, 2]]], [[[0, 3]]]], [0.5, 0], dilation=(1, 2)),
            MaxPool(1),
            AvgPool(2, 1),
            ReLU(leak=0.5),
            Softmax(),
        ],
        input_shape=(1, 5, 6),
    )
    again = eval(source(net), {"np": np, **{n: getattr(decoding, n) for n in decoding.__all__}})
    assert source(again) == source(net)
    assert (decoding.decode_layer(again, 5) == decoding.decode_layer(net, 5)).all()


def test_networks_that_branch_print_as_code():
    net = Network(
        [
            Conv(np.arange(8.0).reshape(4, 1, 1, 2), groups=2, pad=(0, 0, 1, 0)),
            Select([1, -1, 0, 3], start=(0, 1)),
            *(ReLU(gain=[1, 2, 3, 0.5]), Gate(gain=2), Sum()),
        ],
        inputs=[0, 1, 2, (2, 3), (3, 4, 4)],
        input_shape=(2, 5, 6),
    )
    again = eval(source(net), {"np": np, **{n: getattr(decoding, n) for n in decoding.__all__}})
    assert again == net
    assert source(again) == source(net)


def test_raising_on_valid_input_is_a_failure():
    def raising(x):
        raise RuntimeError("out of memory")

    report = check_backend(backend(softmax=raising), checks=["softmax"], on_failure="return")
    assert "raises RuntimeError: out of memory" in str(report)


def stopping(*arrays, **options):
    raise SystemExit(0)


@pytest.mark.slow
def test_a_backend_that_ends_the_program_fails_every_check(monkeypatch):
    unsearched(monkeypatch)
    operators = dict.fromkeys(decoding.backend.OPERATORS, stopping)
    report = check_backend(backend(**operators, decode_filter=stopping), on_failure="return")
    assert PASSED not in {result.status for result in report.results}, report
    assert "raises SystemExit: 0" in str(report)
    for check in ("softmax", "refuses_larger_windows", "refuses_unknown_modes", "own_decode_filter"):
        assert report.status(check) == FAILED


def test_an_answer_that_ends_the_program_is_a_failure():
    class Answer:
        __array__ = stopping

    report = check_backend(backend(softmax=lambda x: Answer()), checks=["softmax"], on_failure="return")
    assert "which is no array" in report.failures[0].detail


@pytest.mark.slow
def test_an_interpolation_that_is_wrong_where_windows_lie_side_by_side_and_unknown_elsewhere_is_left_out():
    """As libraries are that resize images: the checks of that interpolation tell it, and the check of all conditions looks at the others."""

    def unpool(maps, *, size, stride, mode):
        if mode == "bicubic" and size != stride:
            raise NotImplementedError("only by a whole factor")
        return reference.unpool(maps, size=size, stride=stride, mode=mode) + 2 * (mode == "bicubic")

    mine = backend(unpool=unpool)
    report = check_backend(
        mine, checks=["unpool_bicubic_integers", "unpool_conditions"], on_failure="return", examples=2
    )
    assert report.status("unpool_bicubic_integers") == FAILED
    assert report.status("unpool_conditions") == PARTLY, report  # it does not know the interpolation elsewhere


def test_not_a_number_is_not_refused_by_ending_the_program():
    def relu(x, *, leak):
        return stopping() if np.isnan(x).any() else reference.relu(x, leak=leak)

    report = check_backend(backend(relu=relu), checks=["nan_comes_out"], on_failure="return")
    assert "raises SystemExit" in report.failures[0].detail


def test_an_interrupt_from_the_keyboard_ends_everything():
    def interrupted(x):
        raise KeyboardInterrupt

    for check in ("softmax", "nan_comes_out"):
        with pytest.raises(KeyboardInterrupt):
            check_backend(backend(softmax=interrupted), checks=[check])


@pytest.mark.parametrize("answer", ["text", None, [[1, 2], [3]], np.ones((1, 1, 1, 1), complex)])
def test_answers_that_are_no_real_arrays_are_failures(answer):
    report = check_backend(backend(softmax=lambda x: answer), checks=["softmax"], on_failure="return")
    assert report.status("softmax") == FAILED


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda y: np.ma.masked_greater(y, -1), r"gives a masked array, \d+ of its \d+ values masked"),
        (iter, r"gives a \w+ instead of an array, which can be read only once"),
        (lambda y: (row for row in y), "gives a generator instead of an array"),
        (lambda y: y.astype(complex), "gives an array of complex128, not of real numbers"),
        (lambda y: y.astype(object) * Fraction(1, 2), "gives a ndarray of objects such as (0|Fraction|[0-9.]+)"),
        (lambda y: {"answer": y}, "gives a dict, which is no array of numbers"),
        (lambda y: y.astype(np.float16), "; the answer is float16, and eps says 1.1e-16"),
    ],
)
def test_what_an_answer_is_is_told_in_words(answer, said):
    wrong = backend(softmax=lambda x: answer(reference.softmax(x)))
    (failure,) = check_backend(wrong, checks=["softmax"], on_failure="return", examples=5).failures
    assert re.search(said, failure.detail), failure.detail


class PassesOn:
    """Knows nothing of itself but its precision."""

    eps = 2.0**-53

    def __getattr__(self, name):
        return getattr(reference, name)


def test_a_backend_that_passes_on_what_it_has_not_is_named_by_its_own_class():
    assert str(check_backend(PassesOn(), checks=["relu_integers"], examples=2)).startswith("PassesOn: ")
    assert decoding.backend.name_of(reference) == "decoding.reference"
    assert decoding.backend.name_of(backend(name="mine")) == "mine"
    assert decoding.backend.name_of(type("Mine", (), {"name": property(lambda self: "made")})()) == "made"
    assert decoding.backend.name_of(sys) == "sys"


SPOILS = {
    "None": lambda y: None,
    "an axis dropped": lambda y: y[0] if len(y) else y,
    "an axis summed": lambda y: y.sum(axis=-1),
    "a cell too many": lambda y: np.pad(y, ((0, 0), (0, 0), (0, 0), (0, 1))),
    "ragged": lambda y: [[1, 2], [3]],
}


@pytest.mark.slow
@pytest.mark.parametrize("operator", decoding.backend.OPERATORS)
@pytest.mark.parametrize("spoilt", SPOILS)
def test_no_answer_destroys_the_report(operator, spoilt, monkeypatch):
    spoil = SPOILS[spoilt]
    function = getattr(reference, operator)
    wrong = backend(**{operator: lambda *arrays, **options: spoil(function(*arrays, **options))})
    few(monkeypatch)
    report = check_backend(wrong, examples=10, on_failure="return")
    assert [result.check for result in report.results] == [name for name in CHECKS if name not in OWN]
    differential = [r for r in report.results if r.check.startswith(operator)]
    echoes = [r for r in differential if r.check.endswith("_conditions")]  # of what the others have named
    assert all(result.status == FAILED for result in differential if result not in echoes)
    assert all(result.status in (FAILED, NOT_JUDGED) for result in echoes)
    assert "the check stops" not in str(report)
    statuses = {result.check: result.status for result in report.results}
    laws = {"substitute": "law_linear", "correlate": "law_linear", "unpool": "law_gain"}
    if spoilt == "a cell too many":  # of zeros, which is linear
        laws = {"unpool": "law_gain"}
    assert operator not in laws or statuses[laws[operator]] == FAILED


def test_whatever_stops_a_check_is_a_failure_of_that_check(monkeypatch):
    def stops(bench):
        raise ZeroDivisionError("by zero")

    monkeypatch.setitem(CHECKS, "softmax", CHECKS["softmax"]._replace(run=stops))
    report = check_backend(reference, checks=["softmax", "relu_integers"], examples=4, on_failure="return")
    assert [result.status for result in report.results] == [FAILED, PASSED]
    assert "the check stops with ZeroDivisionError: by zero" in str(report)


def test_not_the_same_each_time_is_a_failure():
    calls = []

    def moody(x):
        calls.append(1)
        return reference.softmax(x) + (len(calls) == 7)

    assert check_backend(backend(softmax=moody), checks=["softmax"], on_failure="return").status("softmax") == FAILED


def test_reports_are_written_as_json():
    report = check_backend(backend(correlate=flipped), checks=["correlate_integers", "softmax"], on_failure="return")
    read = json.loads(report.json())
    assert read["ok"] is False
    assert [row["status"] for row in read["results"]] == [FAILED, PASSED]


def test_what_json_has_no_word_for_is_written_as_a_string():
    def refuse(constant):
        raise ValueError(constant)

    arrays = {"got": np.array([[np.nan, np.inf], [-np.inf, 1.5]])}
    report = Report("a backend", {}, [Result("softmax", FAILED, "wrong", "code", arrays=arrays)])
    (row,) = json.loads(report.json(), parse_constant=refuse)["results"]
    assert row["arrays"]["got"] == [["NaN", "Infinity"], ["-Infinity", 1.5]]
    nothing = backend(softmax=lambda x: np.full(np.shape(x), np.nan))
    json.loads(check_backend(nothing, checks=["softmax"], on_failure="return").json(), parse_constant=refuse)


@pytest.mark.slow
def test_what_is_wrong_with_a_plain_call_is_left_out_of_hygiene_and_the_report_says_so():
    wrong = backend(relu=lambda x, *, leak: reference.relu(x, leak=leak) + 1)
    hygiene = ["nan_comes_out", "infinity_comes_out", "calls_in_any_order", "many_calls"]
    report = check_backend(wrong, checks=hygiene, examples=8)
    assert {result.status for result in report.results} == {PASSED}
    assert str(report).count("passed (left out, as a plain call is wrong: relu)") == len(hygiene)
    assert check_backend(wrong, checks=["relu_integers"], on_failure="return").failures


@pytest.mark.parametrize("check", ["nan_comes_out", "calls_in_any_order"])
def test_what_is_wrong_everywhere_does_not_hide_what_is_wrong_with_another(check, monkeypatch):
    unsearched(monkeypatch)
    mutant = next(
        each
        for each in MUTANTS
        if each.kills == check and getattr(each.made, "relu", reference.relu) is not reference.relu
    )
    wrong = backend(
        relu=mutant.backend.relu,
        correlate=lambda x, f, b, **options: flipped(x, f, b, **options) + 1,
    )
    (failure,) = check_backend(wrong, checks=[check], on_failure="return").failures
    assert "backend.relu(" in failure.code


@pytest.mark.parametrize("checks", [["unpool_conditions"], ["unpool_bicubic_integers", "unpool_conditions"]])
def test_a_mode_that_is_left_out_is_not_judged_between_calls_either(checks):
    def unpool(maps, *, size, stride, mode):
        return reference.unpool(maps, size=size, stride=stride, mode=mode) + (mode == "bicubic")

    report = check_backend(backend(unpool=unpool), checks=checks, on_failure="return")
    assert report.status("unpool_conditions") == PASSED
    assert "bicubic" in str(report)


def test_where_everything_was_left_out_nothing_is_judged():
    wrong = types.SimpleNamespace(name="x", eps=2.0**-53, relu=lambda x, *, leak: reference.relu(x, leak=leak) + 1)
    hygiene = ["nan_comes_out", "infinity_comes_out", "relu_conditions", "calls_in_any_order", "many_calls"]
    report = check_backend(wrong, checks=hygiene, on_failure="return")
    assert {result.status for result in report.results} == {NOT_JUDGED}, report
    assert "relu" in report.results[0].detail


def test_a_fault_that_a_plain_check_has_named_is_told_once_and_its_echoes_as_such():
    def unpool(maps, *, mode, **options):
        return reference.unpool(maps, mode=mode, **options) * (2 if mode == "nearest" else 1)

    names = [
        "unpool_nearest_integers",
        "unpool_bilinear_integers",
        "unpool_nearest_reals",
        "decode_filter_nearest",
        "law_gain",
    ]
    report = check_backend(backend(unpool=unpool), checks=names, on_failure="return", examples=10)
    echoes = {result.check: result.echo for result in report.failures}
    named = "unpool_nearest_integers"
    assert echoes == {
        named: "",
        "unpool_nearest_reals": named,
        "decode_filter_nearest": named,
        "law_gain": named,
    }
    assert "law_gain: FAILED, an echo of unpool_nearest_integers" in str(report)
    assert str(report).endswith("DOES NOT CONFORM: 4 FAILED (3 of them echoes), 1 passed")


def test_a_fault_of_its_own_is_no_echo_of_another():
    """Rectifiers are wrong, and so are networks for another reason: correlations of three images."""

    def correlate(*arrays, **options):
        return reference.correlate(*arrays, **options) + (len(arrays[0]) == 3)

    def relu(x, *, leak):
        return reference.relu(x, leak=leak) + 1

    wrong = backend(correlate=correlate, relu=relu)
    report = check_backend(wrong, checks=["relu_integers", "forward_integers"], on_failure="return", examples=10)
    assert [result.echo for result in report.failures] == ["", ""]


@pytest.mark.parametrize("lasting", [False, True], ids=["once", "for good"])
def test_what_is_wrong_after_a_refusal_is_blamed_and_not_left_out(lasting, monkeypatch, tmp_path):
    """A refused unpooling spoils what comes next of a rectifier, whose own checks have passed by then."""
    unsearched(monkeypatch)
    spoilt = [False]

    def unpool(maps, *, mode, **options):
        spoilt[0] |= mode not in ("nearest", "bilinear", "bicubic")
        return reference.unpool(maps, mode=mode, **options)

    def relu(x, *, leak):
        wrong, spoilt[0] = spoilt[0], spoilt[0] and lasting
        return reference.relu(x, leak=leak) + wrong

    names = ["relu_integers", "refuses_unknown_modes", "nan_comes_out"]
    report = check_backend(backend(unpool=unpool, relu=relu), checks=names, on_failure="return", cases=tmp_path)
    (failure,) = report.failures
    assert failure.check == "nan_comes_out"
    assert "backend.relu(" in failure.code
    assert ("the checks of relu have passed" if lasting else "not the same each time") in failure.detail

    spoilt[0] = False
    mark = parametrize_with_checks([backend(unpool=unpool, relu=relu)], examples=2, cases=tmp_path)
    tests = {each.id.rpartition("-")[2]: each.values for each in mark.args[1]}
    for name in names:
        wrong, check = tests[name]
        with pytest.raises(decoding.ConformanceFailure) if name == "nan_comes_out" else contextlib.nullcontext():
            check(wrong)


def test_what_conditions_leave_out_is_blamed_if_the_plain_checks_miss_it(monkeypatch):
    unsearched(monkeypatch)

    def relu(x, *, leak):
        return reference.relu(x, leak=leak) + (len(x) == 8 and leak == 0.25)

    names = ["relu_integers", "relu_conditions"]
    report = check_backend(backend(relu=relu), checks=names, on_failure="return")
    assert [result.status for result in report.results] == [PASSED, FAILED]


def test_what_a_probe_does_not_support_is_told():
    def relu(x, *, leak):
        if len(x) == 8:
            raise NotImplementedError("no 8 images")
        return reference.relu(x, leak=leak)

    report = check_backend(backend(relu=relu), checks=["infinity_comes_out"])
    assert "no 8 images" in report.results[0].detail


# Expected failures, what is missing, what cannot be judged.


def test_expected_failures_are_strict():
    checks = ["correlate_integers", "softmax"]
    expected = check_backend(
        backend(correlate=flipped), checks=checks, expected_failures={"correlate_integers": "flips"}
    )
    assert expected.status("correlate_integers") == EXPECTED
    unexpected = check_backend(reference, checks=checks, expected_failures={"softmax": "?"}, on_failure="return")
    assert unexpected.status("softmax") == UNEXPECTED
    assert not unexpected.ok


@pytest.mark.parametrize(("eps", "status"), [(2.0**-53, UNSUPPORTED), (0.3, NOT_JUDGED)])
def test_an_expected_failure_that_is_not_judged_or_unsupported_is_a_failure(eps, status):
    lone = types.SimpleNamespace(name="x", eps=eps, relu=reference.relu)
    if status == NOT_JUDGED:
        lone.correlate = reference.correlate
    (plain,) = check_backend(lone, checks=["correlate_reals"], on_failure="return").results
    assert plain.status == status
    report = check_backend(
        lone,
        checks=["correlate_reals", "relu_integers"],
        expected_failures={"correlate_reals": "?"},
        on_failure="return",
    )
    assert report.status("correlate_reals") == FAILED
    assert f"it was expected to fail (?), and is {status}" in str(report)


def test_an_expected_failure_of_what_is_not_offered_is_a_failure():
    some = {"checks": ["softmax", "own_decode_filter"], "examples": 1}
    report = check_backend(reference, expected_failures={"own_decode_filter": "?"}, on_failure="return", **some)
    assert [failure.check for failure in report.failures] == ["own_decode_filter"]


def test_expected_failures_of_checks_that_are_not_run_are_left_alone():
    report = check_backend(reference, checks=["softmax"], expected_failures={"relu_reals": "?"}, examples=4)
    assert [result.check for result in report.results] == ["softmax"]


def test_a_check_named_twice_runs_once():
    assert len(check_backend(reference, checks=["softmax", "softmax"], examples=4).results) == 1


def test_the_header_says_what_the_backend_declares_and_the_versions():
    def header(**declared):
        return str(check_backend(backend(**declared), checks=["relu_integers"], examples=4)).splitlines()[0]

    assert "input_eps" not in header()
    assert "exact" not in header()
    assert "input_eps 0.00390625" in header(input_eps=2.0**-8)
    assert "exact False" in header(exact=False)
    assert "hypothesis 6." in header()
    assert "decoding " in header()


def test_two_numbers_that_differ_are_printed_so_that_they_do():
    def off(x, *, leak):
        return reference.relu(x, leak=leak) * (1 + 2.0**-52)

    (failure,) = check_backend(backend(relu=off), checks=["relu_integers"], on_failure="return").failures
    got, want = failure.detail.split(": ")[1].split(", and")[0].split(" instead of ")
    assert float(got) != float(want)


def test_a_case_that_passes_the_second_time_says_so(monkeypatch):
    unsearched(monkeypatch)
    calls = []

    def moody(x):
        calls.append(1)
        return reference.softmax(x) + (len(calls) == 3)

    (failure,) = check_backend(backend(softmax=moody), checks=["softmax"], on_failure="return").failures
    assert "depends on earlier calls" in failure.detail


def test_unknown_checks_are_usage_errors():
    with pytest.raises(decoding.InvalidValueError, match="no check 'corelate'"):
        check_backend(reference, expected_failures={"corelate": "?"})
    with pytest.raises(decoding.InvalidValueError, match="no check 'x'"):
        check_backend(reference, checks=["x"])
    with pytest.raises(decoding.InvalidValueError, match="no check 'x'"):
        parametrize_with_checks([reference], expected_failures={"x": "?"})


def test_missing_operators_are_unsupported_and_never_a_pass():
    lone = types.SimpleNamespace(name="relu alone", eps=2.0**-53, relu=reference.relu)
    report = check_backend(lone, examples=5)
    assert report.status("relu_integers") == PASSED
    for check in ("correlate_integers", "decode_filter_nearest", "law_linear", "refuses_larger_windows"):
        assert report.status(check) == UNSUPPORTED
    nothing = check_backend(lone, checks=["softmax", "law_linear"], on_failure="return")
    assert not nothing.ok
    with pytest.raises(decoding.ConformanceFailure):
        check_backend(lone, checks=["softmax"])


def test_not_implemented_is_unsupported_and_never_a_pass():
    def unpool(maps, *, mode, **options):
        if mode == "bicubic":
            raise NotImplementedError("no splines")
        return reference.unpool(maps, mode=mode, **options)

    checks = ["unpool_bicubic_integers", "law_gain", "unpool_nearest_reals"]
    report = check_backend(backend(unpool=unpool), checks=checks)
    assert [result.status for result in report.results] == [UNSUPPORTED, PARTLY, PASSED]
    assert re.search(r"law_gain: passed in part \(unsupported: \d+ of \d+ cases: no splines\)", str(report))
    assert str(report).splitlines()[1].startswith("NOT JUDGED, 1 check: ")
    assert report.ok
    required = check_backend(backend(unpool=unpool), checks=checks, require="all", on_failure="return")
    assert not required.ok
    assert "DOES NOT CONFORM" in required.summary()
    assert "all are required to pass" in required.summary()


def test_all_that_is_required_passes_or_is_expected_to_fail():
    lone = types.SimpleNamespace(name="x", eps=2.0**-53, softmax=reference.softmax, relu=lambda x, *, leak: 2 * x)
    options = {"checks": ["softmax", "relu_integers"], "expected_failures": {"relu_integers": "?"}}
    assert check_backend(lone, require="all", examples=2, **options).ok
    del lone.softmax
    for require in ("all", "some"):
        assert not check_backend(lone, require=require, examples=2, on_failure="return", **options).ok
    with pytest.raises(decoding.InvalidValueError, match="check_backend: require must be 'some' or 'all', not 'none'"):
        check_backend(reference, require="none")
    with pytest.raises(decoding.InvalidValueError, match="with_checks: require must be 'some' or 'all', not 'none'"):
        parametrize_with_checks([reference], require="none")


def verdict(check, wrong):
    """What a test of pytest comes to, and what it says."""
    try:
        check(wrong)
    except (decoding.ConformanceFailure, pytest.fail.Exception, pytest.skip.Exception) as end:
        return type(end), str(end)
    return None, ""


def test_in_pytest_too_all_that_is_required_passes_or_is_expected_to_fail(tmp_path):
    def unpool(maps, *, mode, **options):
        if mode == "bicubic":
            raise NotImplementedError("no splines")
        return reference.unpool(maps, mode=mode, **options)

    lone = types.SimpleNamespace(name="x", eps=2.0**-53, unpool=unpool, relu=lambda x, *, leak: 2 * x)
    failed, told = decoding.ConformanceFailure, "all are required to pass"
    for require, short in (("some", pytest.skip.Exception), ("all", failed)):
        known = {"relu_integers": "no leak", "correlate_integers": "?"}
        mark = parametrize_with_checks([lone], require=require, examples=2, expected_failures=known, cases=tmp_path)
        tests = {each.id.rpartition("-")[2]: each.values[1] for each in mark.args[1]}
        assert verdict(tests["unpool_nearest_integers"], lone) == (None, "")
        for name, why in (("softmax", "no softmax"), ("unpool_bicubic_integers", "no splines")):
            end, says = verdict(tests[name], lone)
            assert end is short
            assert why in says
            assert (told in says) == (require == "all")
        end, says = verdict(tests["law_gain"], lone)  # passed in part
        assert end is (failed if require == "all" else None)
        assert ("passed in part (unsupported: " in says and told in says) == (require == "all")
        assert verdict(tests["relu_integers"], lone)[0] is failed  # a strict xfail
        assert verdict(tests["correlate_integers"], lone)[0] is pytest.fail.Exception


def test_what_failed_comes_first_with_what_it_hunts_and_after_what_was_not_judged():
    wrong = types.SimpleNamespace(name="x", eps=2.0**-53, relu=lambda x, *, leak: reference.relu(x, leak=leak) + 1)
    lines = str(check_backend(wrong, examples=2, on_failure="return")).splitlines()
    begins = [line.split(":")[0] for line in lines if not line.startswith("    ")]
    first = begins.index("relu_integers")
    assert all(begin.startswith("NOT JUDGED") for begin in begins[1:first])
    assert begins[first + 1] == "relu_reals"
    assert "    it hunts: a leak that is ignored, or thought to lie between 0 and 1" in lines
    assert begins[-1] == "DOES NOT CONFORM"


def test_what_a_backend_says_reaches_no_terminal_as_it_is():
    def relu(x, *, leak):
        raise ValueError("\x1b[2J\nand more")

    report = check_backend(backend(name="\x1b[31mred", relu=relu), checks=["relu_integers"], on_failure="return")
    assert "\x1b" not in str(report)
    assert "\\x1b[2J" in str(report)


def test_what_fails_most_often_runs_first_and_the_report_keeps_the_order():
    told, names = [], ["relu_reals", "nan_comes_out", "relu_conditions", "relu_integers"]
    lone = types.SimpleNamespace(name="x", eps=2.0**-53, relu=reference.relu)
    report = check_backend(lone, checks=names, examples=2, progress=lambda result, *_: told.append(result.check))
    assert told[::2] == told[1::2] == ["relu_integers", "relu_reals", "relu_conditions", "nan_comes_out"]
    assert [result.check for result in report.results] == names


ELSEWHERE = """
from decoding import reference

class Wrong:
    name, eps = "wrong", 2.0**-53

    def relu(self, x, *, leak):
        return reference.relu(x, leak=leak) * (1 + 2.0**-40)

    def max_pool(self, x, *, size, stride, pad):
        return reference.max_pool(x, size=size, stride=stride, pad=pad) + (x.shape[3] > 20)

    def softmax(self, x):
        return reference.softmax(x)

class Crashing(Wrong):
    def softmax(self, x):
        import os
        os._exit(3)
"""


def test_checks_in_other_processes_find_the_same(tmp_path, monkeypatch):
    (tmp_path / "elsewhere.py").write_text(ELSEWHERE)
    monkeypatch.syspath_prepend(tmp_path)
    wrong = importlib.import_module("elsewhere").Wrong()
    names = [
        "softmax",
        "max_pool_reals",
        "max_pool_integers",
        "relu_conditions",
        "relu_reals",
        "relu_integers",
        "infinity_comes_out",
    ]
    options = {"checks": names, "examples": 5, "on_failure": "return", "expected_failures": {"max_pool_integers": "?"}}
    told, reports = [], []
    for executor in (None, ProcessPoolExecutor(2, get_context("spawn"))):
        with executor or contextlib.nullcontext():
            told.append([])
            tell = lambda result, *counts: told[-1].append((result.check, result.status, counts))  # noqa: E731
            reports.append(check_backend(wrong, progress=tell, executor=executor, cases=tmp_path, **options))
    here, there = told
    assert [counts for *_, counts in here] == [counts for *_, counts in there]
    assert sorted(each[:2] for each in here) == sorted(each[:2] for each in there)  # as they end
    assert str(reports[0]) == str(reports[1])
    assert {EXPECTED, FAILED, PASSED} <= {result.status for result in reports[1].results}
    for here, there in zip(*(report.results for report in reports), strict=True):
        assert here._replace(arrays={}, seconds=0) == there._replace(arrays={}, seconds=0)
        assert all(np.array_equal(array, there.arrays[key]) for key, array in here.arrays.items())


def test_a_process_that_ends_by_itself_is_told_with_the_checks_that_it_may_have_run(tmp_path, monkeypatch):
    (tmp_path / "elsewhere.py").write_text(ELSEWHERE)
    monkeypatch.syspath_prepend(tmp_path)
    wrong, names = importlib.import_module("elsewhere").Crashing(), ["relu_integers", "softmax", "relu_conditions"]
    with ProcessPoolExecutor(1, get_context("spawn")) as executor, pytest.raises(decoding.ExecutorError) as error:
        check_backend(wrong, checks=names, executor=executor, on_failure="return")
    assert str(error.value).endswith("It may have run one of the first of these checks: softmax.")


def test_workers_of_another_version_have_run_no_check(monkeypatch):
    monkeypatch.setattr(decoding, "__version__", "9.9")
    with ProcessPoolExecutor(1, get_context("spawn")) as executor, pytest.raises(decoding.ExecutorError) as error:
        check_backend(reference, checks=["softmax"], executor=executor)
    assert "9.9" in str(error.value)
    assert "softmax" not in str(error.value)


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="a signal to a group of processes")
def test_who_stops_processes_leaves_no_folder(tmp_path):
    command = [sys.executable, "-m", "decoding.testing", "check", "decoding.reference", "--jobs", "2"]
    plain = partial(signal.signal, signal.SIGINT, signal.default_int_handler)  # which a shell may have changed
    options = {"start_new_session": True, "preexec_fn": plain, "stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, env={**os.environ, "TMPDIR": str(tmp_path)}, text=True, **options) as process:
        next(line for line in process.stderr if "passed" in line)  # both processes run
        assert any(tmp_path.iterdir())
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(60) == 130
    assert not any(tmp_path.iterdir())


def test_what_cannot_run_in_other_processes_is_refused():
    for executor, wrong, said in (
        (ThreadPoolExecutor(1), reference, "threads of this process"),
        (ProcessPoolExecutor(1), backend(relu=lambda x, *, leak: x), "does not pickle"),
        (ProcessPoolExecutor, reference, "give an instance"),
    ):
        with pytest.raises(decoding.InvalidValueError, match=f"check_backend: .*{said}"):
            check_backend(wrong, checks=["relu_integers"], executor=executor)
    with ProcessPoolExecutor(1) as closed:
        pass
    with pytest.raises(
        decoding.InvalidValueError, match="check_backend: the executor, ProcessPoolExecutor, is shut down"
    ):
        check_backend(reference, checks=["relu_integers"], executor=closed)


def test_progress_is_told_check_by_check_with_its_time(capsys):
    told = []
    check_backend(reference, checks=["softmax", "relu_integers"], examples=2, progress=lambda *now: told.append(now))
    assert [(result.check, result.status, done, total) for result, done, total in told] == [
        *(("relu_integers", "running", 0, 2), ("relu_integers", PASSED, 1, 2)),
        *(("softmax", "running", 1, 2), ("softmax", PASSED, 2, 2)),
    ]
    assert all(result.seconds > 0 for result, *_ in told[1::2])
    assert main(["check", "decoding.reference", "--only", "softmax", "--examples", "2"]) == 0
    assert re.fullmatch(r"\[ 1/1\] softmax: passed, \d+\.\d s\n", capsys.readouterr().err)
    assert main(["check", "decoding.reference", "--only", "softmax", "--examples", "2", "--quiet", "--jobs", "2"]) == 0
    assert not capsys.readouterr().err


def test_who_stops_the_command_sees_what_failed_until_then(tmp_path, monkeypatch, capsys):
    (tmp_path / "interrupted.py").write_text(
        "eps = 2.0**-53\ndef relu(x, *, leak): return 2 * x\ndef softmax(x): raise KeyboardInterrupt\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert main(["check", "interrupted", "--only", "relu_integers", "softmax"]) != 0
    out, err = capsys.readouterr()
    assert "relu_integers: FAILED" in out
    assert "backend.relu(" in out
    assert "softmax: " in err


@pytest.mark.slow
def test_a_fault_of_one_operator_fails_no_check_of_another():
    """One ulp wherever more than three cells in a row are averaged."""

    def avg_pool(x, *, size, stride, pad):
        y = reference.avg_pool(x, size=size, stride=stride, pad=pad)
        return y * (1 + 2.0**-51) if max(size) > 3 else y

    wrong = types.SimpleNamespace(name="x", eps=2.0**-53, avg_pool=avg_pool, relu=reference.relu)
    names = [
        "relu_integers",
        "relu_conditions",
        "nan_comes_out",
        "calls_in_any_order",
        "many_calls",
        "avg_pool_integers",
    ]
    report = check_backend(wrong, checks=names, examples=20, on_failure="return")
    assert [result.check for result in report.results if result.status != PASSED] == ["avg_pool_integers"]


def test_nothing_is_left_behind(tmp_path, monkeypatch):
    code = "from decoding import reference\nfrom decoding.testing import ConformanceFailure, check_backend\n"
    code += "assert check_backend(reference, checks=['softmax', 'relu_reals'], examples=5).ok"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    assert not list(tmp_path.iterdir())


def test_names_of_checks_do_not_swallow_the_backend(capsys):
    for words in (["softmax", "relu_reals"], ["softmax,relu_reals"]):
        assert main(["check", "--quiet", "--examples", "2", "--only", *words, "decoding.reference"]) == 0
        assert "conforms: 2 passed" in capsys.readouterr().out


def test_refusing_with_not_implemented_is_no_refusal():
    def correlate(x, filters, bias, **options):
        try:
            return reference.correlate(x, filters, bias, **options)
        except decoding.DecodingError:
            raise NotImplementedError from None

    report = check_backend(backend(correlate=correlate), checks=["refuses_other_channels"], on_failure="return")
    assert report.status("refuses_other_channels") == UNSUPPORTED


def test_bounds_that_say_nothing_are_not_judged():
    rough = backend(eps=0.3)
    report = check_backend(rough, checks=["correlate_reals"], on_failure="return")
    assert report.status("correlate_reals") == NOT_JUDGED
    assert "γ ≥ 1" in str(report)
    assert not report.ok


@pytest.mark.parametrize("eps", [None, 0, -1.0, 1, 1.5, "half", True])
def test_a_backend_declares_its_precision(eps):
    with pytest.raises(decoding.InvalidValueError, match="eps"):
        check_backend(types.SimpleNamespace(name="x", eps=eps, relu=reference.relu))


def test_a_backend_has_operators():
    with pytest.raises(decoding.InvalidValueError, match="none of the operators"):
        check_backend(types.SimpleNamespace(name="x", eps=2.0**-53))
    with pytest.raises(decoding.InvalidValueError, match="on_failure"):
        check_backend(reference, on_failure="ignore")


@pytest.mark.slow
def test_operands_may_be_rounded_on_the_way_in_where_that_is_declared():
    def rounded(array):
        mantissa, exponent = np.frexp(np.asarray(array, float))
        return np.ldexp(np.rint(mantissa * 2**11) / 2**11, exponent)

    operators = {
        "correlate": lambda x, f, b, **options: reference.correlate(rounded(x), rounded(f), b, **options),
        "substitute": lambda z, f, **options: reference.substitute(rounded(z), rounded(f), **options),
    }
    checks = ["correlate_integers", "correlate_reals", "substitute_integers", "substitute_reals", "forward_reals"]
    check_backend(backend(eps=2.0**-24, input_eps=2.0**-11, **operators), checks=checks, examples=20)
    undeclared = check_backend(backend(eps=2.0**-24, **operators), checks=checks, examples=20, on_failure="return")
    assert undeclared.status("correlate_reals") == undeclared.status("substitute_reals") == FAILED


def test_own_decoders_and_groups_are_checked_where_they_are_offered():
    plain = types.SimpleNamespace(name="x", eps=2.0**-53, relu=reference.relu)
    assert not OWN & {result.check for result in check_backend(plain, examples=1).results}
    own = backend(decode_filter=decoding.decode_filter, groups=True)
    assert {result.status for result in check_backend(own, checks=sorted(OWN), examples=20).results} == {PASSED}
    (result,) = check_backend(backend(), checks=["grouped_reals"], on_failure="return").results
    assert (result.status, result.detail) == (UNSUPPORTED, "no groups")


def single_decoder(net, layer, k, *, unpool):
    """Layer by layer, everything rounded to single precision."""
    start = np.zeros((1, net.channels(layer), 1, 1))
    start[0, k] = 1
    for _, found in walks.down(net, walks.Placed(start, (0, 0)), net.index(layer), 0, unpool, reference):
        found.maps[...] = found.maps.astype(np.float32)  # the walk goes on with it
    return found.maps[0].astype(np.float32)


def test_an_own_decoder_may_round_what_batch_normalization_scales():
    single = backend(eps=2.0**-24, decode_filter=single_decoder)
    assert check_backend(single, checks=["own_decode_filter"], examples=40).ok
    net = Network([decoding.BatchNorm([0.3, -0.7], [0.0, 0.0]), Conv(np.ones((1, 2, 1, 2)))], input_shape=(2, 3, 4))
    for layer in (1, 2):
        impulse = np.eye(1, net.channels(layer))[:, :, np.newaxis, np.newaxis]
        desk = bench.Bench(single, 1)
        *_, last = stages.expectations(stages.decode(net, layer, "nearest"), impulse, desk.precision)
        right = single_decoder(net, layer, 0, unpool="nearest").astype(float)[np.newaxis]
        desk.compare(right, last, "", {})
        with pytest.raises(Mismatch):
            desk.compare(right * (1 + 1e-6), last, "", {})


def test_a_scale_is_exact_only_where_its_grid_says_so():
    def last(scale):
        net = Network([decoding.BatchNorm([scale], [0.0])], input_shape=(1, 2, 3))
        return list(stages.expectations(stages.decode(net, 1, "nearest"), np.ones((1, 1, 1, 1)), Arithmetic(2.0**-24)))[
            -1
        ]

    assert last(3.0).unit == 1
    assert last(0.75).unit == 0.25
    assert last(0.3).unit is None
    assert last(2.0**25 + 1).unit is None
    assert last(0.3).bound[0, 0, 0, 0] >= 0.3 * 2.0**-24


@pytest.mark.slow
def test_the_same_cases_each_time_and_others_with_a_seed():
    def failing(seed):
        report = check_backend(backend(correlate=flipped), checks=["correlate_reals"], seed=seed, on_failure="return")
        return report.failures[0].code

    assert failing(None) == failing(None)
    assert failing(7) == failing(7)


# Strategies.


@pytest.mark.slow
def test_strategies_draw_what_they_promise():
    from hypothesis import HealthCheck, given, settings

    seen = set()

    @settings(
        max_examples=500, derandomize=True, database=None, deadline=None, suppress_health_check=[HealthCheck.too_slow]
    )
    @given(strategies.networks(), strategies.calls("correlate"), strategies.maps())
    def look(net, call, x):
        x_, filters, _ = call.arrays
        assert x_.shape[1] == filters.shape[1]
        assert x_.shape[2] != x_.shape[3] or x_.shape[2:] == (1, 1)
        seen.update(each.kind for each in net.layers)
        for each in net.layers:
            if isinstance(each, Conv):
                seen.update({"groups"} if each.groups > 1 else ())
                seen.update({"dilation"} if each.dilation != (1, 1) else ())
            seen.update({"unequal strides"} if each.stride[0] != each.stride[1] else ())
            seen.update({"unequal pads"} if len(set(each.pad)) > 1 else ())
            seen.update({"overlapping pool"} if isinstance(each, MaxPool) and each.size > each.stride else ())
            seen.update({"gaps"} if isinstance(each, MaxPool) and each.size < each.stride else ())
            seen.update({"gain"} if each.gain is not None else ())
        for below in net.inputs:
            if len(below) > 1:
                seen.update({"twice"} if len(set(below)) < len(below) else ())
                fields = [net.receptive_field(i) for i in below if i]
                seen.update({"other pads"} if len({field.offset for field in fields}) > 1 else ())
                lengths = {len(walks.under(net, [i], net.paths)) for i in below}
                seen.update({"other lengths"} if len(lengths) > 1 else ())
                strides = [net.layers[i - 1].stride for i in below if i]
                seen.update({"other strides"} if len(set(strides)) > 1 else ())
        seen.update({"one pixel"} if x.shape[2:] == (1, 1) else ())
        seen.update({"negative"} if (x < 0).all() else ())
        seen.update({"zeros"} if not x.any() else ())
        rows, step = x_.shape[2] + sum(call.options["pad"][:2]) - filters.shape[2], call.options["stride"][0]
        seen.update({"does not divide"} if rows % step else ())

    look()
    assert seen == {
        *("Conv", "MaxPool", "AvgPool", "ReLU", "groups", "dilation", "unequal strides", "unequal pads"),
        *("overlapping pool", "one pixel", "negative", "zeros", "does not divide", "gaps", "gain"),
        *("Select", "Sum", "Concat", "Gate", "twice", "other pads", "other lengths", "other strides"),
    }


# Networks of all conditions.


def test_of_networks_every_class_and_every_pair_that_can_occurs():
    from itertools import combinations

    rows, found, possible = networks.covering()
    assert found == possible > 3000
    together = {pair for row in rows for pair in combinations(row.items(), 2)}
    assert len(together) == possible
    for name, classes in networks.FACTORS.items():
        assert {row[name] for row in rows} == set(classes)
    # What cannot be: too few layers for what is wanted, and a gain where no layer has one.
    impossible = [
        (a, b)
        for m, n in combinations(networks.FACTORS, 2)
        for a in ((m, value) for value in networks.FACTORS[m])
        for b in ((n, value) for value in networks.FACTORS[n])
        if (a, b) not in together
    ]
    assert all("depth" in (a[0], b[0]) or "gain" in (a[0], b[0]) for a, b in impossible)
    assert max(dict(pair)["depth"] for pair in impossible if "depth" in dict(pair)) <= 5


def test_a_network_has_what_its_row_says(monkeypatch):
    monkeypatch.undo()
    for net, row, images in networks.cases():
        assert len(net) == row["depth"]
        main = next(
            each
            for each in net.layers
            if isinstance(each, Conv) and each.filters.shape[2:] == row["window"] and each.stride == row["stride"]
        )
        groups = len(main.filters) // row["filters"]
        if (main.dilation, main.groups) == (row["dilation"], groups):
            assert groups >= 5 if row["groups"] == networks.EACH else groups == row["groups"]
        join, joins = networks.JOINS[row["join"]], {each.kind for each in net.layers if each.joins}
        assert joins == (set() if join is None else {join[0].__name__, *["Sum"] * (join[1] == "gate")})
        assert any(each.gain is not None for each in net.layers) >= (row["gain"] != "none")
        pools = [each for each in net.layers if isinstance(each, (MaxPool, AvgPool))]
        assert len(pools) == (row["pool"] != "none") + (join is not None and join[1] == "maxima")
        assert len(images) == row["images"]
        assert net.forward(images).size
        assert (images == np.rint(images)).all() == (row["values"] == "integers") or not images.any()


@pytest.mark.slow
def test_the_report_says_which_networks_were_covered():
    names = sorted(networks.CHECKED)
    report = check_backend(reference, checks=names, examples=2)
    assert set(report.coverage) == {"networks"}
    assert report.coverage["networks"].pairs == report.coverage["networks"].possible
    assert re.search(r"networks \d+ \(\d+ of \d+ pairs in \d+ networks\); networks up to 16 layers", str(report))
    lone = types.SimpleNamespace(name="x", eps=2.0**-53, correlate=reference.correlate, substitute=reference.substitute)
    part = check_backend(lone, checks=names, examples=2)
    assert {result.status for result in part.results} == {PARTLY}
    assert not part.coverage
    assert re.search(r"forward_integers: passed in part \(unsupported: \d+ of \d+ cases: no max_pool", str(part))


# Numbers of all digits.


@pytest.mark.parametrize("eps", partly([2.0**-24, 2.0**-53, 2.0**-11, 2.0**-8], day=lambda i: i == 0))
@pytest.mark.parametrize("operator", partly(["correlate", "substitute"], day=lambda i: i == 0))
def test_sums_of_numbers_with_all_digits_are_exact_however_long(operator, eps):
    precision, seen = Arithmetic(eps), set()
    for row in (*conditions.covering(operator)[0], *conditions.thin(operator)):
        if (
            row["images"]
            and row["values"].startswith("wide")
            and row["type"] == "double"
            and "repeated" not in row["layout"]
        ):
            call = conditions.case(operator, row, precision).call
            assert bounds.exact_unit(call, precision) == 1
            large = np.abs(call.on(reference)).max() >= 0.125 / eps
            assert large or any(call.options.get("pad", (0,)))  # a window that lies in the pads adds up next to nothing
            if large:
                seen.add(row["channels"])
    assert {16, 128, 1024, 4096, 4097} <= seen


# The other two doors.


@pytest.mark.slow
def test_the_checks_of_a_suite_of_ones_own(tmp_path):
    (tmp_path / "test_mine.py").write_text(
        "import types, numpy as np\n"
        "from decoding import reference\n"
        "from decoding.testing import parametrize_with_checks\n"
        "wrong = types.SimpleNamespace(name='wrong', eps=2.0**-53, relu=lambda x, *, leak: reference.relu(x),\n"
        "                              correlate=reference.correlate)\n"
        "@parametrize_with_checks([wrong], expected_failures={'relu_reals': 'no leak', 'correlate_reals': '?', 'softmax': '?'}, examples=8, cases='cases')\n"
        "def test_conformance(backend, check):\n"
        "    check(backend)\n"
    )
    run = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "test_mine.py",
            "-rA",
            "-c",
            os.devnull,
            "--rootdir",
            ".",
            "-k",
            "(correlate or relu or softmax or max_pool) and not conditions",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(decoding.__file__).parents[1])},
    )
    assert run.returncode == 1
    assert "PASSED test_mine.py::test_conformance[wrong-correlate_integers]" in run.stdout
    assert "XFAIL test_mine.py::test_conformance[wrong-relu_reals]" in run.stdout
    assert "FAILED test_mine.py::test_conformance[wrong-relu_integers]" in run.stdout
    assert "FAILED test_mine.py::test_conformance[wrong-correlate_reals]" in run.stdout  # strict: it passes
    assert "FAILED test_mine.py::test_conformance[wrong-softmax]" in run.stdout  # strict: it is unsupported
    with np.load(tmp_path / "cases" / "wrong" / "relu_integers.npz") as case:
        assert "backend.relu" in str(case["code"])
    assert "relu_integers.npz" in run.stdout
    assert "SKIPPED" in run.stdout


def test_the_command_line_checks_a_module(capsys, tmp_path):
    out = tmp_path / "report.json"
    assert main(["check", "decoding.reference", "--only", "softmax", "law_gain", "--json", str(out)]) == 0
    assert "conforms" in capsys.readouterr().out
    assert json.loads(out.read_text())["ok"] is True


def test_the_command_line_fails_where_a_backend_fails_or_nothing_ran(capsys, tmp_path, monkeypatch):
    (tmp_path / "broken.py").write_text(
        "from decoding.reference import *\n"
        "from decoding import reference\n"
        "class Broken:\n"
        "    name, eps = 'broken', 2.0**-53\n"
        "    def softmax(self, x): return reference.softmax(x) + 1\n"
        "    def relu(self, x, *, leak): return reference.relu(x, leak=leak)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    cases = ["--cases", str(tmp_path / "cases")]
    assert main(["check", "broken:Broken", "--examples", "5", *cases]) == 1
    assert (tmp_path / "cases" / "softmax.npz").exists()
    assert main(["check", "broken:Broken", "--only", "correlate_integers"]) == 1  # nothing ran
    expected = tmp_path / "expected"
    expected.write_text("# known\nsoftmax: adds one\n")
    assert main(["check", "broken:Broken", "--examples", "5", "--expected", str(expected)]) == 0
    expected.write_text("softmax: adds one\n  # indented\n\n  softmax: twice\n")
    assert main(["check", "broken:Broken", "--expected", str(expected)]) == 2
    assert "'softmax' is there twice" in capsys.readouterr().err
    expected.write_text("  # indented: a comment\n\nrelu_reals: no reason at all\n")
    assert main(["check", "broken:Broken", "--only", "relu_reals", "--expected", str(expected)]) == 1
    assert "PASSED UNEXPECTEDLY" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        ["check", "no.such:module"],
        ["check", "decoding:nothing"],
        ["check", "decoding.reference", "--only", "nonsense"],
        ["check", "decoding.reference", "--examples", "0"],
        ["check", "decoding.reference", "--jobs", "0"],
        ["check", "decoding.reference", "--expected", "no-such-file"],
        ["check", "decoding.errors"],
        ["verify", "no-such-folder"],
    ],
)
def test_wrong_arguments_are_one_line_and_status_2(arguments, capsys):
    assert main(arguments) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "name", "says"),
    [
        ("import sys\nsys.exit(0)\n", "", "SystemExit: 0"),
        ("raise RuntimeError('no device')\n", "", "RuntimeError: no device"),
        ("syntax error\n", "", "SyntaxError"),
        ("class Mine:\n    def __init__(self, device): pass\n", ":Mine", "TypeError"),
        ("class Mine:\n    def __init__(self): raise SystemExit(0)\n", ":Mine", "SystemExit: 0"),
        ("def make(): pass\n", ":make", "a function is not"),
        ("class Mine:\n    def __getattr__(self, name): raise SystemExit(0)\n", ":Mine", "raises SystemExit: 0"),
    ],
)
def test_a_backend_that_cannot_be_made_is_one_line_and_status_2(text, name, says, capsys, tmp_path, monkeypatch):
    (tmp_path / "unmakeable.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "unmakeable", raising=False)
    assert main(["check", f"unmakeable{name}"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert says in line


def test_the_command_line_lists_the_checks(capsys):
    assert main(["list"]) == 0
    text = capsys.readouterr().out
    assert all(f"{name}\n" in text for name in CHECKS)


def test_every_check_says_what_it_is_for():
    for check in CHECKS.values():
        assert check.says.endswith(".")
        assert check.source
        assert check.hunts


def test_without_hypothesis_the_error_says_what_to_install():
    code = "import sys; sys.modules['hypothesis'] = None\nimport decoding\ntry: import decoding.testing\nexcept ImportError as e: print(e)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "filter-decoding[test]" in run.stdout


def test_importing_decoding_does_not_load_the_kit():
    code = "import sys, decoding; print([m for m in sys.modules if 'testing' in m and 'decoding' in m])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.parametrize("kind", ["Conv", "BatchNorm", "LRN", "Sigmoid"])
def test_layers_that_a_network_computes_itself_are_drawn_for_decoders(kind):
    from hypothesis import Phase, find, settings

    search = settings(max_examples=1000, derandomize=True, database=None, deadline=None, phases=[Phase.generate])
    net = find(
        strategies.networks(kinds=("conv", "norm")),
        lambda net: kind in {each.kind for each in net.layers},
        settings=search,
    )
    assert kind in {each.kind for each in net.layers}
