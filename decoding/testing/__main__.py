"""The command line: ``python -m decoding.testing check|export|verify``."""

from __future__ import annotations

import argparse
import importlib
import sys
import types
from collections import Counter
from collections.abc import Sequence
from typing import Any

from ..errors import InvalidValueError
from ..files import check_writable, replacing
from ..terminal import Parser, run
from . import vectors
from .bench import STOPS
from .checks import CHECKS
from .runner import EXAMPLES, check_backend


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Returns
    -------
    int
        0 if something ran and nothing failed, 1 if something failed or nothing ran, 2 where an argument is wrong.
    """

    def command() -> int:
        options = _parser().parse_args(arguments)
        try:
            return int(options.run(options))
        except SystemExit as error:  # of a backend, where no check has asked it
            raise InvalidValueError(f"the backend raises SystemExit: {error}") from error

    return run("decoding.testing", command)


def _parser() -> Parser:
    parser = Parser(prog="python -m decoding.testing", description="Does another implementation do what decoding does?")
    commands = parser.add_subparsers(required=True, metavar="check|list|export|verify")

    check = commands.add_parser("check", help="check a backend that Python can import")
    check.set_defaults(run=_check)
    check.add_argument("backend", metavar="pkg.module:Object", help="a backend, a class to call, or a module alone")
    check.add_argument("--expected", metavar="FILE", help="checks known to fail, one a line: name: reason")
    check.add_argument("--json", metavar="OUT", help="write the report as JSON")
    check.add_argument("--cases", metavar="DIR", help="folder for the arrays of failures")
    check.add_argument("--only", nargs="+", metavar="CHECK", help="run these checks alone")
    check.add_argument("--examples", type=int, default=EXAMPLES, help=f"cases of each search ({EXAMPLES})")
    check.add_argument("--seed", type=int, help="where the search starts; always the same place unless given")

    commands.add_parser("list", help="name the checks, and the bug each one hunts").set_defaults(run=_list)

    export = commands.add_parser("export", help="write golden vectors")
    export.set_defaults(run=_export)
    export.add_argument("folder", metavar="DIR")
    export.add_argument("--format", choices=vectors.FORMATS, default="npz")
    export.add_argument("--precision", choices=vectors.PRECISIONS, default="double", help="what the bounds are for")

    verify = commands.add_parser("verify", help="judge what another program made of golden vectors")
    verify.set_defaults(run=_verify)
    verify.add_argument("folder", metavar="DIR", help="where the vectors are")
    verify.add_argument("--results", metavar="DIR", help="where the program wrote, if elsewhere")
    return parser


def _check(options: argparse.Namespace) -> int:
    if options.examples < 1:
        raise InvalidValueError(f"--examples must be at least 1, not {options.examples}.")
    if options.json:
        check_writable(options.json, "--json")
    report = check_backend(
        _imported(options.backend),
        expected_failures=_expected(options.expected) if options.expected else None,
        examples=options.examples,
        seed=options.seed,
        on_failure="return",
        checks=options.only,
        cases=options.cases,
    )
    if options.json:
        with replacing(options.json) as file:
            file.write(report.json().encode())
    print(report)
    return 0 if report.ok else 1


def _list(options: argparse.Namespace) -> int:
    for check in CHECKS.values():
        print(f"{check.name}\n    {check.says} [{check.source}]\n    hunts: {check.hunts}")
    return 0


def _export(options: argparse.Namespace) -> int:
    count = vectors.export(options.folder, format=options.format, precision=options.precision)
    print(f"{options.folder}: {count} cases, {options.format}, bounds for {options.precision} precision")
    return 0


def _verify(options: argparse.Namespace) -> int:
    verdicts = vectors.verify(options.folder, options.results)
    counts = Counter(verdict.status for verdict in verdicts)
    for verdict in verdicts:
        if verdict.status != "passed":
            print(verdict)
    print(", ".join(f"{count} {status}" for status, count in counts.items()))
    return 0 if counts["passed"] and not counts["FAILED"] else 1


def _imported(path: str) -> Any:
    module, _, name = path.partition(":")
    if "" not in sys.path:
        sys.path.insert(0, "")  # backends lie beside the person who runs this
    try:
        found: Any = importlib.import_module(module)
        for part in name.split(".") if name else ():
            found = getattr(found, part)
        backend = found() if isinstance(found, type) else found
    except STOPS as error:
        raise InvalidValueError(f"there is no backend at {path}: {type(error).__name__}: {error}") from error
    if isinstance(backend, types.FunctionType):
        raise InvalidValueError(
            f"{path} is a function. A class is called, a function is not: name an object that it gives, or a class."
        )
    return backend


def _expected(path: str) -> dict[str, str]:
    with open(path, encoding="utf-8") as file:
        lines = [line.strip() for line in file]
    reasons = dict[str, str]()
    for line in lines:
        name, _, reason = (part.strip() for part in line.partition(":"))
        if not line or line.startswith("#"):
            continue
        if not reason:
            raise InvalidValueError(f"{path}: every line is 'name: reason'; {name!r} has no reason.")
        if name in reasons:
            raise InvalidValueError(f"{path}: {name!r} is there twice.")
        reasons[name] = reason
    return reasons


if __name__ == "__main__":
    sys.exit(main())
