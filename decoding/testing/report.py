"""What a run of the checks found, for people and for programs."""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from ..arguments import Array, plural, printable
from ..backend import OPERATORS
from . import conditions, networks
from .conditions import FEW, Coverage

PASSED, FAILED, UNSUPPORTED, NOT_JUDGED = "passed", "FAILED", "unsupported", "not judged"
PARTLY = "passed in part"  # what was asked passed; of the rest the backend says that it cannot do it
RUNNING = "running"  # has begun; no report has it
EXPECTED, UNEXPECTED = "expected failure", "PASSED UNEXPECTEDLY"
REQUIRED = ("some", "all")  # of the checks, to have passed
ALL_REQUIRED = " (all are required to pass)"


class Mismatch(Exception):
    """One case that a backend gets wrong.

    Parameters
    ----------
    problem : str
        What is wrong, where, and by how much.
    code : str or Call
        The case as code that can be pasted; a call is spelt out here, where a check fails.
    stage : str
        The first stage that differs; empty for a single operator.
    arrays : dict of arrays
        Inputs, `got`, `want` and `bound`.

    Attributes
    ----------
    alone : bool
        Whether it is the first call of a sequence, and so wrong by itself.
    """

    alone = False

    def __init__(
        self, problem: str, code: object = "", stage: str = "", arrays: dict[str, Array] | None = None
    ) -> None:
        super().__init__(problem)
        self.problem, self.code, self.stage, self.arrays = problem, str(code), stage, arrays or {}

    @property
    def way(self) -> str:
        """How it is wrong: the first word of the problem, such as ``"raises"``; empty where numbers are wrong."""
        return self.problem.split()[0].strip("0123456789")


class Result(NamedTuple):
    """One check's outcome."""

    check: str
    status: str
    detail: str = ""
    code: str = ""
    stage: str = ""
    case: str = ""
    arrays: dict[str, Array] = {}  # noqa: RUF012
    hunts: str = ""
    seconds: float = 0.0
    echo: str = ""  # the checks that have named the fault
    coverage: Coverage | None = None  # of a check of all conditions

    def __str__(self) -> str:
        if self.echo and self.status == FAILED:
            return f"{self.check}: {self.status}, an echo of {self.echo}"
        lines = [f"{self.check}: {self.status}" + (f" ({self.detail})" if self.detail and not self.code else "")]
        if self.code:
            lines += [f"    at {self.stage}" if self.stage else "", f"    {self.detail}"]
            lines += [f"    {line}" for line in self.code.splitlines()]
            lines.append(f"    it hunts: {self.hunts}" if self.hunts else "")
            lines.append(f"    arrays in {self.case}" if self.case else "")
        return "\n".join(printable(line, 10**6) for line in lines if line)


class Report:
    """The outcome of every check on one backend.

    Attributes
    ----------
    backend : str
        Its name.
    results : list of Result
        One for each check, in the order they ran.
    ok : bool
        Whether none failed, and what is required has passed: at least one check in part (``"some"``), or every check that was
        not expected to fail, altogether (``"all"``). What is unsupported or not judged is never a pass.
    """

    def __init__(
        self,
        backend: str,
        header: dict[str, Any],
        results: list[Result],
        require: str = "some",
        thorough: bool = False,
    ) -> None:
        self.backend, self.header, self.results = backend, header, results
        self.require, self.thorough = require, thorough

    @property
    def coverage(self) -> dict[str, Coverage]:
        """For each operator whose check of conditions passed, what its calls have in them: classes, pairs, the longest side.

        ``"networks"`` are there if all checks that run or decode networks ran, and had what every network needs.
        """
        groups = self.header.get("groups", False)
        found = {
            name: result.coverage or conditions.coverage(name, self.thorough, groups)
            for result in self.results
            for name in [result.check.removesuffix("_conditions")]
            if name in OPERATORS and result.status in (PASSED, PARTLY) and name != result.check
        }
        whole = {result.check for result in self.results if result.status not in (UNSUPPORTED, NOT_JUDGED, PARTLY)}
        return found | ({"networks": networks.coverage()} if whole >= networks.CHECKED else {})

    @property
    def ok(self) -> bool:
        statuses = {result.status for result in self.results}
        altogether = self.require == "some" or statuses <= {PASSED, EXPECTED}
        return altogether and bool(statuses & {PASSED, PARTLY}) and not self.failures

    @property
    def failures(self) -> list[Result]:
        """Checks that failed, and expected failures that passed."""
        return [result for result in self.results if result.status in (FAILED, UNEXPECTED)]

    def status(self, check: str) -> str:
        """The status of one check."""
        return next(result.status for result in self.results if result.check == check)

    def __str__(self) -> str:
        settings = ", ".join(f"{key} {value}" for key, value in self.header.items())
        unjudged, others = defaultdict[str, list[str]](list), list[str]()
        for result in self.results:
            if result.status in (UNSUPPORTED, NOT_JUDGED):
                unjudged[result.detail].append(result.check)
            elif result not in self.failures and (result.status != PASSED or result.detail):
                others.append(str(result))
        lines = [f"{self.backend}: {settings}"]
        for reason, names in unjudged.items():
            lines += [f"NOT JUDGED, {plural(len(names), 'check')}: {reason}", f"    {', '.join(names)}"]
        lines += [*map(str, self.failures), *others, *self._covered(), self.summary()]
        return "\n".join(printable(line, 10**6) for text in lines for line in text.splitlines())

    def _covered(self) -> Iterator[str]:
        """What the checks of conditions covered, and what not."""
        found, partly = self.coverage, {result.check for result in self.results if result.detail}
        if found:
            each = [
                f"{name} {c.classes} ({c.pairs} of {c.possible} pairs in {c.calls} {'calls' if name in OPERATORS else name}"
                + (", but for what was not judged)" if f"{name}_conditions" in partly else ")")
                for name, c in found.items()
            ]
            sides = [c.longest for name, c in found.items() if name in OPERATORS]
            most = [f"sides up to {max(sides)}"] if sides else []
            most += [f"networks up to {found['networks'].longest} layers"] if "networks" in found else []
            rest = "three together, but by chance"
            rest = rest if self.thorough else f"sides above {max(FEW)} in pairs; {rest}"
            yield f"covered, classes of conditions: {', '.join(each)}; {', '.join(most)}; not covered: {rest}"

    def summary(self) -> str:
        """One line: whether it conforms, how many checks have which outcome, and what is missing to what is required."""
        counts = Counter(result.status for result in self.results)
        echoes = sum(1 for result in self.failures if result.echo)
        told = {FAILED: f" ({echoes} of them {'echoes' if echoes > 1 else 'an echo'})" if echoes else ""}
        summary = ", ".join(f"{count} {status}{told.get(status, '')}" for status, count in counts.items())
        missing = "" if self.ok or self.failures or self.require == "some" else ALL_REQUIRED
        return f"{'conforms' if self.ok else 'DOES NOT CONFORM'}: {summary}{missing}"

    def json(self) -> str:
        """The same as JSON, arrays as nested lists; ``"NaN"``, ``"Infinity"`` and ``"-Infinity"`` are strings in them."""
        rows = [result._asdict() for result in self.results]
        for row in rows:
            row["arrays"] = {key: _spelt(np.asarray(value).tolist()) for key, value in row["arrays"].items()}
            del row["coverage"]  # which is told of all checks together
        covered = {name: found._asdict() for name, found in self.coverage.items()}
        report = {
            "backend": self.backend,
            **self.header,
            "require": self.require,
            "ok": self.ok,
            "coverage": covered,
            "results": rows,
        }
        return json.dumps(report, indent=1, allow_nan=False)


def _spelt(value: Any) -> Any:
    """Nested lists in which JSON has a word for every number."""
    if isinstance(value, list):
        return [_spelt(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value
