"""The command line: ``python -m decoding.testing check|list|export|verify``."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import sys
import tempfile
import types
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from typing import Any

from ..errors import InvalidValueError
from ..files import check_writable, replacing
from ..terminal import Parser, run
from . import vectors
from .bench import STOPS
from .checks import CHECKS
from .report import FAILED, REQUIRED, RUNNING, Result
from .runner import EXAMPLES, begin_process, check_backend

SLOW = 10  # seconds that a check takes


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Returns
    -------
    int
        0 if something passed and nothing failed, and nothing that is required is missing; 1 if not; 2 where an argument is wrong.
    """

    def command() -> int:
        given = list(sys.argv[1:] if arguments is None else arguments)
        options = _parser().parse_args(_joined(given))
        try:
            return int(options.run(options))
        except SystemExit as error:  # of a backend, where no check has asked it
            raise InvalidValueError(f"the backend raises SystemExit: {error}") from error

    return run("decoding.testing", command)


def _parser() -> Parser:
    parser = Parser(prog="python -m decoding.testing", description="Does another implementation do what decoding does?")
    commands = parser.add_subparsers(required=True, metavar="check|list|export|verify")

    def command(name: str, says: str) -> Parser:
        return commands.add_parser(name, help=says[0].lower() + says[1:].rstrip("."), description=says)

    check = command("check", "Check a backend that Python can import.")
    check.epilog = (
        "The status is 0 if what is required passed and nothing failed, 1 if not, 2 where an argument is wrong."
    )
    check.set_defaults(run=_check)
    check.add_argument("backend", metavar="pkg.module:Object", help="a backend, a class to call, or a module alone")
    check.add_argument("--expected", metavar="FILE", help="checks known to fail, one a line: name: reason")
    check.add_argument("--json", metavar="OUT", help="write the report as JSON")
    check.add_argument("--cases", metavar="DIR", help="folder for the arrays of failures")
    check.add_argument(
        "--only", type=_names, metavar="CHECK", help="run these checks alone, such as softmax,relu_reals"
    )
    check.add_argument(
        "--require",
        choices=REQUIRED,
        default="some",
        help="what must pass: some checks, none failing, or all of them altogether, so that a missing operator fails (%(default)s)",
    )
    check.add_argument(
        "--thorough", action="store_true", help="pair long sides with all other conditions, too: minutes"
    )
    check.add_argument(
        "--jobs", type=int, default=1, metavar="N", help="processes that run checks, one at a time each (%(default)s)"
    )
    check.add_argument("--quiet", action="store_true", help="do not say on standard error how far it is")
    check.add_argument("--examples", type=int, default=EXAMPLES, help="cases of each search (%(default)s)", metavar="N")
    check.add_argument(
        "--seed", type=int, metavar="N", help="where the search starts; always the same place unless given"
    )

    command("list", "Name the checks, and the bug that each one hunts.").set_defaults(run=_list)

    export = command("export", "Write golden vectors: cases with their answers, for programs in other languages.")
    export.set_defaults(run=_export)
    export.add_argument("folder", metavar="DIR", help="a new or empty folder")
    export.add_argument("--format", choices=vectors.FORMATS, default="npz", help="of the arrays (%(default)s)")
    export.add_argument(
        "--precision", choices=vectors.PRECISIONS, default="double", help="that the bounds are for (%(default)s)"
    )

    verify = command("verify", "Judge what another program made of golden vectors.")
    verify.epilog = "The status is 0 if something passed and nothing failed, 1 if not, 2 where an argument is wrong."
    verify.set_defaults(run=_verify)
    verify.add_argument("folder", metavar="DIR", help="where the vectors are")
    verify.add_argument("--results", metavar="DIR", help="where the program wrote, if elsewhere")
    return parser


def _check(options: argparse.Namespace) -> int:
    if options.examples < 1:
        raise InvalidValueError(f"--examples must be at least 1, not {options.examples}.")
    if options.jobs < 1:
        raise InvalidValueError(f"--jobs must be at least 1, not {options.jobs}.")
    if options.json:
        check_writable(options.json, "--json")
    found: list[Result] = []

    def tell(result: Result, done: int, total: int) -> None:
        found.append(result)
        if not options.quiet and sys.stderr is not None:
            print(_progress(result, done, total), end="", file=sys.stderr, flush=True)

    try:
        backend = _imported(options.backend)
        with _processes(options.jobs) as executor:
            report = check_backend(
                backend,
                expected_failures=_expected(options.expected) if options.expected else None,
                examples=options.examples,
                seed=options.seed,
                on_failure="return",
                checks=options.only,
                cases=options.cases,
                require=options.require,
                thorough=options.thorough,
                progress=tell,
                executor=executor,
            )
    except KeyboardInterrupt:  # what failed until now has been waited for
        print("", *(result for result in found if result.status == FAILED), sep="\n", flush=True)
        raise
    if options.json:
        with replacing(options.json) as file:
            file.write(report.json().encode())
    print(report)
    return 0 if report.ok else 1


@contextlib.contextmanager
def _processes(jobs: int) -> Iterator[Executor | None]:
    """So many processes that run checks, and end when the program is interrupted, leaving no folder; none for one check at a time."""
    if jobs == 1:
        yield None
        return
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    with (
        tempfile.TemporaryDirectory(prefix="conformance-") as folder,
        ProcessPoolExecutor(jobs, get_context("spawn"), initializer=begin_process, initargs=(folder,)) as executor,
    ):
        yield executor


def _progress(result: Result, done: int, total: int) -> str:
    """Of the line of a check, the name when it begins, and the rest when it ends."""
    if result.status == RUNNING:
        return f"[{done + 1:2}/{total}] {result.check}: "
    return f"{result.status}, {result.seconds:.1f} s{', slow' if result.seconds > SLOW else ''}\n"


def _names(text: str) -> list[str]:
    return [name for name in text.split(",") if name]


def _joined(arguments: Sequence[str]) -> list[str]:
    """The arguments with the names after ``--only`` in one, so that what follows them is not taken for one."""
    found: list[str] = []
    for argument in arguments:
        if len(found) > 1 and found[-2] == "--only" and argument in CHECKS:
            found[-1] += f",{argument}"
        else:
            found.append(argument)
    return found


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
