"""The first two doors: check a backend and get a report, or put the checks into a test suite of one's own."""

from __future__ import annotations

import contextlib
import io
import os
import re
import signal
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import BrokenExecutor, Executor
from dataclasses import dataclass
from itertools import chain, groupby
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import hypothesis
import numpy as np
from hypothesis import configuration

import decoding

from .. import executing, reference
from ..backend import OPERATORS, name_of, takes_groups
from ..errors import ConformanceFailure, ExecutorError, InvalidValueError
from ..files import replacing
from ..interpolation import MODES
from . import conditions
from .bench import STOPS, Bench, Unsupported
from .checks import CHECKS, GROUPED, Check
from .report import (
    ALL_REQUIRED,
    EXPECTED,
    FAILED,
    NOT_JUDGED,
    PARTLY,
    PASSED,
    REQUIRED,
    RUNNING,
    UNEXPECTED,
    UNSUPPORTED,
    Mismatch,
    Report,
    Result,
)

EXAMPLES = 60


def check_backend(
    backend: Any,
    *,
    expected_failures: Mapping[str, str] | None = None,
    examples: int = EXAMPLES,
    seed: int | None = None,
    on_failure: str = "raise",
    checks: Iterable[str] | None = None,
    cases: str | Path | None = None,
    require: str = "some",
    thorough: bool = False,
    progress: Callable[[Result, int, int], object] | None = None,
    executor: Executor | None = None,
) -> Report:
    """Hold a backend against the reference, property by property.

    Parameters
    ----------
    backend : object or module
        Operators of `decoding.reference`, by their names and signatures; `eps`, the unit roundoff of its arithmetic.
        Optionally `name`, `input_eps` (operands are rounded on the way in), ``exact = False`` (Fourier transforms,
        Winograd), `dtype` (what networks hand it arrays in), ``groups = True`` (correlations and substitutions take
        ``groups=``), and a `decode_filter(net, layer, k, *, unpool)` of its own.
    expected_failures : dict of str to str, optional
        Names of checks that are known to fail, and why. One that passes is a failure; so is one that is unsupported or
        not judged. Names that are not among `checks` are left alone.
    examples : int
        Cases drawn by each search.
    seed : int, optional
        Where the search starts. Without one, every run draws the same cases.
    on_failure : {"raise", "return"}
    checks : iterable of str, optional
        Names of the checks to run; all unless given.
    cases : path, optional
        Folder for one ``.npz`` of each failure; a new temporary one unless given.
    require : {"some", "all"}
        Whether it is enough that something passed and nothing failed, or every check must pass altogether: then an operator that
        was renamed, and is missing now, is a failure.
    thorough : bool
        Whether long sides are paired with all other conditions, too (`Report.coverage`): minutes instead of seconds.
    progress : callable, optional
        Called when a check begins, with a result that is ``"running"``, and when it ends, with its result; in both cases with the number
        of checks that are done, and of all; on an executor both when it has ended, in turn. What fails most often is run first; the report has the checks in the order of the registry.
    executor : concurrent.futures.Executor, optional
        Runs several checks at a time, in the processes of its workers, such as those of ``ProcessPoolExecutor(2)``. The report is the same,
        unless answers depend on the calls of other checks.
        The backend must pickle, as modules do, and objects of classes that can be imported.

    Returns
    -------
    Report
        It prints as text. ``report.ok`` says whether something passed and nothing failed.

    Raises
    ------
    ConformanceFailure
        If a check fails, an expected failure passes, or what is required has not passed; its `report` says which.
    InvalidValueError
        If the backend declares no `eps`, has no operator, or a check has no such name; if the executor has threads, or the backend does not
        pickle.
    ExecutorError
        If the executor fails.

    See Also
    --------
    parametrize_with_checks : The same for pytest.

    Examples
    --------
    >>> import decoding
    >>> check_backend(decoding.reference, checks=["softmax"], examples=10).ok
    True
    """
    if on_failure not in ("raise", "return"):
        raise InvalidValueError(f"check_backend: on_failure must be 'raise' or 'return', not {on_failure!r}.")
    _refuse_unknown(require, "check_backend")
    expected = dict(expected_failures or {})
    chosen = _named(CHECKS if checks is None else dict.fromkeys(checks))
    _named(expected)
    bench = Bench(backend, examples, seed)
    if executor is not None:
        _check_processes(executor, backend)
    offered = [check for check in chosen if checks is not None or _offered(check, backend, expected)]
    found = dict[str, Result]()
    run = _Run(backend, examples, seed, thorough, expected, executor is not None)
    for result in _in_turn(run, offered, found, executor):
        if progress is not None:
            progress(result, len(found), len(offered))
    results = [found[check.name] for check in offered]
    if any(result.code for result in results):
        folder = _folder(cases)
        results = [_saved(result, folder) if result.code else result for result in results]
    header = {
        "eps": bench.precision.eps,
        **({"input_eps": bench.precision.input_eps} if bench.precision.input_eps else {}),
        **({} if bench.precision.exact else {"exact": False}),
        **({"groups": True} if takes_groups(backend) else {}),
        "examples": examples,
        "seed": "fixed" if seed is None else seed,
        "numpy": np.__version__,
        "hypothesis": hypothesis.__version__,
        "decoding": decoding.__version__,
    }
    report = Report(name_of(backend), header, results, require, thorough)
    if not report.ok and on_failure == "raise":
        raise ConformanceFailure(str(report), report)
    return report


def parametrize_with_checks(
    backends: Iterable[Any],
    *,
    expected_failures: Mapping[str, str] | None = None,
    examples: int = EXAMPLES,
    seed: int | None = None,
    cases: str | Path | None = None,
    require: str = "some",
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Run a test once for each backend and check, ``check(backend)`` failing it with what is wrong.

    An expected failure is a strict xfail, with its reason; what a backend does not support is skipped, with the reason,
    unless it was expected to fail. With ``require="all"`` it fails, as all that has not passed altogether. The arrays of a
    failure go where `cases` says, as those of `check_backend` do, into a folder with the backend's name.

    Examples
    --------
    >>> @parametrize_with_checks([MyBackend()])          # doctest: +SKIP
    ... def test_conformance(backend, check):
    ...     check(backend)
    """
    try:
        import pytest
    except ImportError as error:
        raise ImportError("parametrize_with_checks needs pytest: pip install 'filter-decoding[test]'") from error

    _refuse_unknown(require, "parametrize_with_checks")
    expected = dict(expected_failures or {})
    _named(expected)

    results = defaultdict[int, dict[str, Result]](dict)  # of each backend, as far as it is

    def runner(check: Check) -> Callable[[Any], None]:
        def run(backend: Any) -> None:
            found = results[id(backend)]
            result = found[check.name] = _run(check, backend, examples, seed, before=found)
            if result.status == FAILED:
                name = re.sub(r"[^\w.-]+", "-", name_of(backend))
                raise ConformanceFailure(str(_saved(result, _folder(cases) / name) if result.code else result))
            passed = result.status in (PASSED, PARTLY)
            if check.name in expected:  # one that passed fails as a strict xfail
                if not passed:
                    pytest.fail(str(_as_expected(result, expected[check.name])))
            elif require == "all" and result.status != PASSED:
                raise ConformanceFailure(f"{result}{ALL_REQUIRED}")
            elif not passed:
                pytest.skip(str(result))

        return run

    parameters = [
        pytest.param(
            backend,
            runner(check),
            id=f"{name_of(backend)}-{check.name}",
            marks=[pytest.mark.xfail(strict=True, raises=ConformanceFailure, reason=expected[check.name])]
            if check.name in expected
            else [],
        )
        for backend in backends
        for check in CHECKS.values()
        if _offered(check, backend, expected)
    ]
    return pytest.mark.parametrize(("backend", "check"), parameters)


def _refuse_unknown(require: str, function: str) -> None:
    if require not in REQUIRED:
        raise InvalidValueError(f"{function}: require must be 'some' or 'all', not {require!r:.80}.")


@dataclass(frozen=True)
class _Run:
    """Runs checks one after the other, given what came of those before; in a process of an executor, too."""

    backend: Any
    examples: int
    seed: int | None
    thorough: bool
    expected: Mapping[str, str]
    elsewhere: bool  # where the tables are known, what was covered is counted

    def __call__(self, block: tuple[tuple[str, ...], dict[str, Result]]) -> list[Result]:
        names, before = block
        found = dict(before)
        for name in names:
            result = _run(CHECKS[name], self.backend, self.examples, self.seed, self.thorough, found)
            if self.elsewhere and name.endswith("_conditions") and result.status in (PASSED, PARTLY):
                covered = conditions.coverage(CHECKS[name].operators[0], self.thorough, takes_groups(self.backend))
                result = result._replace(coverage=covered)
            found[name] = _as_expected(result, self.expected.get(name))
        return [found[name] for name in names]


def _in_turn(
    run: _Run, checks: Iterable[Check], found: dict[str, Result], executor: Executor | None
) -> Iterator[Result]:
    """What comes of the checks, which is `found` then, each after a result that says it runs; on an executor as they end."""
    ordered = sorted(checks, key=_turn)
    if executor is None:
        for check in ordered:
            yield Result(check.name, RUNNING)
            (found[check.name],) = run(((check.name,), found))
            yield found[check.name]
        return
    threads = max(1, (os.cpu_count() or 1) // executing.workers(executor))  # of each process's BLAS
    options: dict[str, Any] = {"threads": threads, "alone": False, "function": "check_backend", "in_order": False}
    for _, stage in groupby(ordered, _stage):
        # Plain checks of an operator look at what came of each other; others of a stage do not.
        grouped = groupby(stage, lambda check: _plainly(check) or check.name)
        blocks = [tuple(each.name for each in block) for _, block in grouped]
        given = [(names, dict(found)) for names in blocks]
        try:
            for ended in executing.results(executor, run, given, named={"the backend": run.backend}, **options):
                for result in ended:
                    yield Result(result.check, RUNNING)
                    found[result.check] = result
                    yield result
        except ExecutorError as error:
            if isinstance(error.__cause__, BrokenExecutor):
                left = "; ".join(", ".join(names) for names in blocks if names[-1] not in found)
                error.args = (f"{error.message} It may have run one of the first of these checks: {left}.",)
            raise


def begin_process(folder: str) -> None:
    """Has a process of the command's end when it is interrupted, and keep what is temporary in a folder that its parent removes.

    It is here because processes cannot import the command.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    tempfile.tempdir = folder


def _check_processes(executor: Executor, backend: Any) -> None:
    if executing.runs_here(executing.check_executor(executor, "check_backend")):
        raise InvalidValueError(
            "check_backend: executor has threads of this process, which would run the backend several times at once. Give one of "
            "processes, such as ProcessPoolExecutor(2)."
        )
    if not executing.pickles(backend):
        raise InvalidValueError(
            "check_backend: the backend does not pickle, so that no other process can run it. Leave executor out (--jobs on the command "
            "line), or give a module, or an object of a class that can be imported."
        )


def _plainly(check: Check) -> str:
    """The operator that it is a plain check of; empty if it is another check."""
    return next((own for own in OPERATORS if check.name in _plain(own)), "")


def _turn(check: Check) -> tuple[int, int, bool]:
    """What fails most often runs first: plain calls of one operator after the other, in which it is told best, networks, and all conditions.

    Of conditions and of the rest, what takes longest begins, so that several processes end together.
    """
    if _plainly(check):
        return 0, OPERATORS.index(_plainly(check)), check.name.endswith("_reals")
    if check.name.endswith("_integers"):
        return 1, 0, False
    if check.name.endswith("_conditions"):
        return 2, check.operators[0] not in GROUPED, False
    return 3, check.name != "many_calls", False


def _stage(check: Check) -> int:
    """Of checks that may run side by side: plain calls, all conditions, and the rest, which may look at what came of those before."""
    turn, *_ = _turn(check)
    return 0 if turn == 0 else 1 if turn < 3 else 2


def _offered(check: Check, backend: Any, expected: Mapping[str, str]) -> bool:
    """Whether a check that is not named is run: those of what a backend need not have are, where it has it."""
    return check.name in expected or not {"decode_filter", "groups"}.intersection(_lacking(check, backend))


def _lacking(check: Check, backend: Any) -> list[str]:
    """What the check needs and the backend has not."""
    groups = [] if takes_groups(backend) or "groups" not in check.operators else ["groups"]
    return groups + [op for op in check.operators if op != "groups" and not callable(getattr(backend, op, None))]


def _as_expected(result: Result, reason: str | None) -> Result:
    if reason is None:
        return result
    if result.status == FAILED:
        return Result(result.check, EXPECTED, reason, seconds=result.seconds)
    if result.status in (PASSED, PARTLY):
        return Result(result.check, UNEXPECTED, f"it was expected to fail: {reason}")
    return Result(result.check, FAILED, f"it was expected to fail ({reason}), and is {result.status}: {result.detail}")


def _run(
    check: Check,
    backend: Any,
    examples: int,
    seed: int | None,
    thorough: bool = False,
    before: Mapping[str, Result] | None = None,
) -> Result:
    """What comes of a check, after those that were run `before`."""
    begun = time.monotonic()
    # What a backend prints is not part of the report.
    with contextlib.redirect_stdout(io.StringIO()), _leaving_no_folder(), np.errstate():
        result = _judged(check, Bench(backend, examples, seed, thorough), before or {})
        if result.status == FAILED:
            named = _named_faults(check, before or {})
            if named and _judged(check, Bench(_mended(backend, named), examples, seed, thorough), {}).status != FAILED:
                result = result._replace(echo=", ".join(named))
    seconds = time.monotonic() - begun
    return result._replace(hunts=check.hunts, seconds=seconds)


def _judged(check: Check, bench: Bench, before: Mapping[str, Result]) -> Result:
    lacking = _lacking(check, bench.backend)
    if lacking:
        return Result(check.name, UNSUPPORTED, f"no {', '.join(lacking)}")
    try:
        check.run(bench)
        _blame(bench, before)
    except Mismatch as wrong:
        return Result(check.name, FAILED, wrong.problem, wrong.code, wrong.stage, "", wrong.arrays)
    except Unsupported as lack:
        return Result(check.name, UNSUPPORTED, str(lack))
    except STOPS as error:  # the other checks still run
        return Result(check.name, FAILED, f"the check stops with {type(error).__name__}: {error}")
    return Result(check.name, *_of_cases(bench))


def _plain(operator: str, mode: str = "") -> tuple[str, ...]:
    """The names that the plain checks of an operator may have, with that interpolation or with any."""
    if operator == "unpool" and not mode:
        return tuple(chain.from_iterable(_plain(operator, each) for each in MODES))
    own = f"{operator}_{mode}" if mode else operator
    return own, f"{own}_integers", f"{own}_reals"


def _named_faults(check: Check, before: Mapping[str, Result]) -> dict[str, tuple[str, str]]:
    """The first plain check that failed of each operator, and interpolation; of the check's own operator, if it is of one."""
    own = [operator for operator in OPERATORS if check.name.startswith(operator)]
    found: dict[str, tuple[str, str]] = {}
    for operator in own or OPERATORS:
        for mode in MODES if operator == "unpool" else ("",):
            plain = (each for each in _plain(operator, mode) if each in before)
            failed = next((each for each in plain if before[each].status in (FAILED, EXPECTED)), "")
            found |= {failed: (operator, mode)} if failed else {}
    return found


def _mended(backend: Any, named: Mapping[str, tuple[str, str]]) -> Any:
    """The backend with the reference's operators in place of those that are wrong."""
    stated = "name", "eps", "input_eps", "exact", "range", "dtype", "threads", "groups", "decode_filter"
    known = {each: getattr(backend, each) for each in (*OPERATORS, *stated) if hasattr(backend, each)}
    wrong = set(named.values())

    def unpool(maps: Any, *, mode: str, **options: Any) -> Any:
        right = reference.unpool if ("unpool", mode) in wrong else backend.unpool
        return right(maps, mode=mode, **options)

    right = {operator: unpool if mode else getattr(reference, operator) for operator, mode in wrong}
    return SimpleNamespace(**known | right)


def _blame(bench: Bench, before: Mapping[str, Result]) -> None:
    """Blame what is wrong with a call that was left out, if the checks of its operator have passed."""
    for name, wrong in bench.left_out.items():
        mode, _, operator = name.rpartition(" ")
        plain, conditions = _plain(operator, mode), f"{operator}_conditions"
        statuses = {before[each].status for each in (*plain, conditions) if each in before}
        if before.keys() & set(plain) and not {FAILED, EXPECTED} & statuses:
            wrong.problem += (
                f" (the checks of {name} have passed: they make no such call, or the answer depends on earlier calls)"
            )
            raise wrong


def _of_cases(bench: Bench) -> tuple[str, str]:
    """The status and the details of a check that no case failed."""
    ran = bench.ran - len(bench.lacking)
    lacking = f"{len(bench.lacking)} of {bench.ran} cases: {bench.lacking[0]}" if bench.lacking else ""
    if lacking and not ran:
        return UNSUPPORTED, lacking
    left_out = ", ".join(bench.left_out)
    without = f"left out, as a plain call is wrong: {left_out}" if left_out else ""
    skipped = f"{len(bench.skipped)} of {bench.ran} cases: {bench.skipped[0]}" if bench.skipped else ""
    if 2 * len(bench.skipped) >= ran:
        return NOT_JUDGED, skipped or without or "no case was drawn"
    parts = [without, f"not judged: {skipped}" if skipped else "", f"unsupported: {lacking}" if lacking else ""]
    return PARTLY if lacking else PASSED, "; ".join(filter(None, parts))


@contextlib.contextmanager
def _leaving_no_folder() -> Iterator[None]:
    """Has hypothesis keep what it writes in a temporary folder, not in one that stays behind where one is."""
    kept = vars(configuration).get("__hypothesis_home_directory")
    with tempfile.TemporaryDirectory(prefix="conformance-") as folder:
        configuration.set_hypothesis_home_dir(folder)
        try:
            yield
        finally:
            configuration.set_hypothesis_home_dir(kept)


def _named(names: Iterable[str]) -> list[Check]:
    names = list(names)
    unknown = [name for name in names if name not in CHECKS]
    if unknown:
        raise InvalidValueError(f"there is no check {unknown[0]!r}. The checks are {', '.join(CHECKS)}.")
    return [CHECKS[name] for name in names]


def _folder(cases: str | Path | None) -> Path:
    return Path(tempfile.mkdtemp(prefix="conformance-") if cases is None else cases)


def _saved(result: Result, folder: Path) -> Result:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{result.check}.npz"
    with replacing(path) as file:
        np.savez(file, **{"code": np.array(result.code), **result.arrays})  # type: ignore[arg-type]
    return result._replace(case=str(path))
