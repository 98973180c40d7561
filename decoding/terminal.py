"""What command lines share: arguments refused in one line, and a way to run that ends in one line whatever happens."""

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

# What a terminal may lack, and what stands for it there.
SUBSTITUTES = {
    "×": "x", "−": "-", "–": "-", "—": "-", "±": "+-", "·": "*", "…": "...", "≤": "<=", "≥": ">=", "≠": "!=", "→": "->",
    "←": "<-", "σ": "sigma", "Σ": "sum ", "γ": "gamma", "ε": "eps", "µ": "u", "μ": "u", "‘": "'", "’": "'", "“": '"', "”": '"',
    "°": " degrees", "²": "^2", "³": "^3", "½": "1/2", "⌊": "floor(", "⌋": ")", "⌈": "ceil(", "⌉": ")", "√": "sqrt ",
    "∞": "inf", "≈": "~",
}  # fmt: skip


class Parser(argparse.ArgumentParser):
    """Refuses arguments in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {one_line(message)} ({self.prog} --help shows how)\n")


def one_line(text: str, most: int = 2000) -> str:
    """A message on one line, without what a terminal would obey."""
    return printable(" ".join(text.split()), most)


def run(program: str, command: Callable[[], Any]) -> int:
    """Run a command; returns the exit status.

    0, or what `command` returns if that is an integer; 2 and one line where an argument or a file is wrong or memory does not
    suffice; 130 and one line after Ctrl-C. Whoever closes the pipe that is printed to has seen enough. What the terminal
    cannot show is substituted.
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
    """Has Python not try again when it ends."""
    with suppress(AttributeError, OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def _standard_output() -> Iterator[None]:
    """Standard output and errors that are closed count as none, where `print` prints nothing."""
    kept = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (None if stream is None or stream.closed else stream for stream in kept)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = kept


@contextmanager
def _any_encoding() -> Iterator[None]:
    """Has standard output and errors substitute what their encoding lacks."""
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
