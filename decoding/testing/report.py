"""What a run of the checks found, for people and for programs."""

from __future__ import annotations

import json
import math
from collections import Counter
from typing import Any, NamedTuple

import numpy as np

from ..arguments import Array

PASSED, FAILED, UNSUPPORTED, NOT_JUDGED = "passed", "FAILED", "unsupported", "not judged"
EXPECTED, UNEXPECTED = "expected failure", "PASSED UNEXPECTEDLY"


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
    """

    def __init__(
        self, problem: str, code: object = "", stage: str = "", arrays: dict[str, Array] | None = None
    ) -> None:
        super().__init__(problem)
        self.problem, self.code, self.stage, self.arrays = problem, str(code), stage, arrays or {}


class Result(NamedTuple):
    """One check's outcome."""

    check: str
    status: str
    detail: str = ""
    code: str = ""
    stage: str = ""
    case: str = ""
    arrays: dict[str, Array] = {}  # noqa: RUF012

    def __str__(self) -> str:
        lines = [f"{self.check}: {self.status}" + (f" ({self.detail})" if self.detail and not self.code else "")]
        if self.code:
            lines += [f"    at {self.stage}" if self.stage else "", f"    {self.detail}"]
            lines += [f"    {line}" for line in self.code.splitlines()]
            lines.append(f"    arrays in {self.case}" if self.case else "")
        return "\n".join(line for line in lines if line)


class Report:
    """The outcome of every check on one backend.

    Attributes
    ----------
    backend : str
        Its name.
    results : list of Result
        One for each check, in the order they ran.
    ok : bool
        Whether at least one check passed and none failed. What is unsupported or not judged is neither.
    """

    def __init__(self, backend: str, header: dict[str, Any], results: list[Result]) -> None:
        self.backend, self.header, self.results = backend, header, results

    @property
    def ok(self) -> bool:
        statuses = {result.status for result in self.results}
        return PASSED in statuses and not statuses & {FAILED, UNEXPECTED}

    @property
    def failures(self) -> list[Result]:
        """Checks that failed, and expected failures that passed."""
        return [result for result in self.results if result.status in (FAILED, UNEXPECTED)]

    def status(self, check: str) -> str:
        """The status of one check."""
        return next(result.status for result in self.results if result.check == check)

    def __str__(self) -> str:
        counts = Counter(result.status for result in self.results)
        settings = ", ".join(f"{key} {value}" for key, value in self.header.items())
        body = [str(result) for result in self.results if result.status != PASSED or result.detail]
        summary = ", ".join(f"{count} {status}" for status, count in counts.items())
        return "\n".join(
            [f"{self.backend}: {settings}", *body, f"{'conforms' if self.ok else 'DOES NOT CONFORM'}: {summary}"]
        )

    def json(self) -> str:
        """The same as JSON, arrays as nested lists; ``"NaN"``, ``"Infinity"`` and ``"-Infinity"`` are strings in them."""
        rows = [
            {**row, "arrays": {key: _spelt(np.asarray(value).tolist()) for key, value in row["arrays"].items()}}
            for row in (result._asdict() for result in self.results)
        ]
        report = {"backend": self.backend, **self.header, "ok": self.ok, "results": rows}
        return json.dumps(report, indent=1, allow_nan=False)


def _spelt(value: Any) -> Any:
    """Nested lists in which JSON has a word for every number."""
    if isinstance(value, list):
        return [_spelt(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value
