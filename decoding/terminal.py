"""What command lines share: wrong arguments are refused in one line, and every error ends in one line."""

from __future__ import annotations

import argparse
import codecs
import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NoReturn

from .arguments import printable
from .errors import DecodingError

# Characters that a terminal may lack, and what is printed there instead.
SUBSTITUTES = {
    "×": "x", "−": "-", "–": "-", "—": "-", "±": "+-", "·": "*", "…": "...", "≤": "<=", "≥": ">=", "≠": "!=", "→": "->",
    "←": "<-", "σ": "sigma", "Σ": "sum ", "γ": "gamma", "ε": "eps", "µ": "u", "μ": "u", "‘": "'", "’": "'", "“": '"', "”": '"',
    "°": " degrees", "²": "^2", "³": "^3", "½": "1/2", "⌊": "floor(", "⌋": ")", "⌈": "ceil(", "⌉": ")", "√": "sqrt ",
    "∞": "inf", "≈": "~",
}  # fmt: skip


class Parser(argparse.ArgumentParser):
    """A parser that refuses wrong arguments in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {one_line(message)} ({self.prog} --help shows how)\n")


def one_line(text: str, most: int = 2000) -> str:
    """A message on one line, with control characters escaped."""
    return printable(" ".join(text.split()), most)


def run(program: str, command: Callable[[], Any]) -> int:
    """Run a command; returns the exit status.

    The status is 0, or what `command` returns if that is an integer; 2, with a line that says why, if an argument or a file is
    wrong or memory runs out; and 130, with a line, after Ctrl-C. If whoever reads the output closes the pipe, that is no error.
    Characters that the terminal cannot show are replaced.
    """
    with _any_encoding(), _standard_output():
        try:
            status = command()
            _flush()
        except SystemExit:  # after --help, for instance
            try:
                _flush()
            except OSError:
                _print_no_more()
            raise
        except BrokenPipeError:
            _print_no_more()
            return 0
        except KeyboardInterrupt:
            return _ended(program, "interrupted", 130)
        except MemoryError as error:
            return _ended(program, f"there is not enough memory: {error}", 2)
        except (DecodingError, OSError) as error:
            return _ended(program, error.message if isinstance(error, DecodingError) else str(error), 2)
    return status if isinstance(status, int) else 0


def _ended(program: str, message: str, status: int) -> int:
    try:
        _flush()
    except OSError:
        _print_no_more()
    if sys.stderr is not None:
        print(f"{program}: {one_line(message)}", file=sys.stderr)
    return status


def _flush() -> None:
    if sys.stdout is not None:
        sys.stdout.flush()


def _print_no_more() -> None:
    """Send further output nowhere, so that Python does not try to print it again when it ends."""
    with suppress(AttributeError, OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def _standard_output() -> Iterator[None]:
    """Treat closed standard output and error streams as missing; `print` then prints nothing."""
    kept = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (None if stream is None or stream.closed else stream for stream in kept)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = kept


@contextmanager
def _any_encoding() -> Iterator[None]:
    """Make standard output and error streams replace characters that their encoding lacks."""
    codecs.register_error("decoding", _substituted)
    streams = [s for s in (sys.stdout, sys.stderr) if isinstance(s, io.TextIOWrapper) and not s.closed]
    kept = [(stream, stream.errors) for stream in streams]
    for stream in streams:
        stream.reconfigure(errors="decoding")
    try:
        yield
    finally:
        for stream, errors in kept:
            if not stream.closed:
                stream.reconfigure(errors=errors)


def _substituted(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    found = error.object[error.start : error.end]
    return "".join(SUBSTITUTES.get(c, "?") for c in found), error.end
