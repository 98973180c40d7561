"""Files, by path or as objects: what is read and written, and so that the old one is whole until the new one is."""

from __future__ import annotations

import io
import os
import signal
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, TypeAlias

from .arguments import described, printable
from .errors import DataFormatError, InvalidValueError

File: TypeAlias = "str | os.PathLike[str] | IO[bytes]"


def as_path(path: Any, what: str) -> Path:
    """A path from a text or what has one; an error otherwise, and for numbers, which Python takes for open files.

    Raises
    ------
    InvalidValueError
        If it is none. It names `what`.
    """
    try:
        text = os.fspath(path)
    except TypeError:
        text = None
    if isinstance(text, bytes):
        text = os.fsdecode(text)
    if text is None or not text or "\0" in text:
        raise InvalidValueError(f"{what} must be a path, a text or a pathlib.Path, not {described(path)}.")
    return Path(text)


def shown(path: Any) -> str:
    """A path or an open file as messages show it: on one line, without what a terminal would obey."""
    name = getattr(path, "name", None) if is_open(path) else path
    return printable(os.fsdecode(name), 400) if isinstance(name, (str, bytes, os.PathLike)) else "the file"


def folder_of(file: Any) -> Path | None:
    """The folder that a file lies in; None for one that is open and has no path."""
    name = getattr(file, "name", None) if is_open(file) else file
    return Path(name).parent if isinstance(name, (str, os.PathLike)) else None


def is_open(file: Any) -> bool:
    """Whether it is an open file, or what reads or writes like one."""
    return not isinstance(file, (str, bytes, os.PathLike)) and (hasattr(file, "read") or hasattr(file, "write"))


def file_first(a: Any, b: Any) -> tuple[Any, Any]:
    """Of a file and what to write there, in either order, the file first."""
    given = [isinstance(each, (str, bytes, os.PathLike)) or is_open(each) for each in (a, b)]
    return (b, a) if given == [False, True] else (a, b)


def refuse_devices(path: str | os.PathLike[str]) -> None:
    """Refuse what is neither a file nor a folder: reading a pipe or a device may never end.

    Raises
    ------
    OSError
        If `path` is such a thing.
    """
    if os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path):
        raise OSError(f"'{shown(path)}' is not a file but a pipe or a device, and is not read.")


@contextmanager
def reading(file: File, what: str) -> Iterator[IO[bytes]]:
    """A file to read from, by path or open already, which is left open.

    Raises
    ------
    InvalidValueError
        If it is neither a path nor a file of bytes. It names `what`.
    OSError
        If it cannot be read, or is a pipe or a device.
    """
    if is_open(file):
        if not hasattr(file, "read") or isinstance(file, io.TextIOBase):
            raise InvalidValueError(f"{what} must be open for reading bytes, in mode 'rb'.")
        yield file  # type: ignore[misc]
        return
    path = as_path(file, what)
    refuse_devices(path)
    with open(path, "rb") as opened:
        yield opened


def check_writable(path: Any, what: str = "path") -> Path:
    """Refuse a path that cannot be written to, before the work for it is done; the file that would be written.

    That is where a symbolic link leads.

    Raises
    ------
    OSError
        If there is no such folder, or what is there is no regular file or may not be written. It names `path`.
    InvalidValueError
        If it is no path.
    """
    given = as_path(path, what)
    name = shown(given)
    with _naming(given):
        target = Path(os.path.realpath(given))
        try:
            mode = target.stat().st_mode
        except FileNotFoundError:
            mode = None
        folder = target.parent
        if mode is None and not folder.is_dir():
            raise FileNotFoundError(f"'{name}' cannot be written: there is no folder '{shown(given.parent)}'.")
        if mode is not None and stat.S_ISDIR(mode):
            raise IsADirectoryError(f"'{name}' is a folder, and no file can be written there.")
        if mode is not None and not stat.S_ISREG(mode):
            raise OSError(f"'{name}' is not a file but a pipe or a device, and is not written.")
        if mode is not None and (not mode & 0o222 or not os.access(target, os.W_OK)):
            raise PermissionError(f"'{name}' is read-only, and is not replaced.")
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(f"'{name}' cannot be written: its folder is read-only.")
    return target


def read_npz(file: File, what: str, holds: str) -> dict[str, Any]:
    """The arrays of an ``.npz`` file by their names, by path or from an open file.

    Raises
    ------
    DataFormatError
        If it is none, damaged or cut off. It says what the file should have held, `holds`.
    InvalidValueError, OSError
        As `reading`.
    """
    import numpy as np

    with reading(file, what) as opened:
        try:
            found = np.load(opened, allow_pickle=False)
            if isinstance(found, np.ndarray):
                raise ValueError("it is a single array")
            with found:
                return {name: found[name] for name in found.files}
        except (
            Exception
        ) as error:  # of zipfile, zlib, struct, NumPy and Python's own parser: whatever the bytes lead to
            raise DataFormatError(f"{shown(file)}: it holds no {holds}, or is damaged: {error}") from error


@contextmanager
def replacing(file: File, what: str = "path") -> Iterator[IO[bytes]]:
    """A temporary file to write to, beside `file`; it takes that one's place when the block ends without an error.

    It keeps the mode of the file that was there. Of an open file, what it gets at the end of the block; it stays open.

    Raises
    ------
    OSError
        As `check_writable`, or if the disk is full; what stood at the path is untouched.
    InvalidValueError
        If it is neither a path nor a file of bytes.
    """
    if is_open(file):
        if not hasattr(file, "write") or isinstance(file, io.TextIOBase):
            raise InvalidValueError(f"{what} must be open for writing bytes, in mode 'wb'.")
        content = io.BytesIO()
        yield content
        file.write(content.getbuffer())
        return
    path = as_path(file, what)
    target = check_writable(path, what)
    temporary = target.with_name(f".{os.urandom(8).hex()}.tmp")  # short: the name itself may be as long as any
    try:
        with removed_by_signals(temporary), _naming(path, temporary):
            with open(temporary, "xb") as opened:
                yield opened
                opened.flush()
                os.fsync(opened.fileno())
            if target.exists():
                os.chmod(temporary, stat.S_IMODE(target.stat().st_mode))
            os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def _naming(path: Path, temporary: Path | None = None) -> Iterator[None]:
    """Has errors of the system name the path that was given, not the temporary one or where a link leads."""
    try:
        yield
    except OSError as error:
        ours = error.filename is not None and (temporary is None or str(error.filename) == str(temporary))
        if error.errno is None or not (ours or error.filename is None):
            raise
        raise OSError(error.errno, error.strerror, str(path)) from None


@contextmanager
def removed_by_signals(temporary: Path) -> Iterator[None]:
    """Has signals that end the program remove the temporary file or folder first; where nobody else handles them."""
    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    main = threading.current_thread() is threading.main_thread()
    numbers = [number for number in numbers if main and signal.getsignal(number) is signal.SIG_DFL]

    def stop(number: int, frame: object) -> None:
        import shutil  # here, as it imports every compression there is

        shutil.rmtree(temporary, ignore_errors=True)
        temporary.unlink(missing_ok=True)
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    for number in numbers:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)


def check_folder(path: Any, what: str = "folder") -> Path:
    """Refuse a folder that cannot be made or written to, before the work for it is done; makes none.

    Raises
    ------
    OSError
        If something else is there, or it is read-only. It names `path`.
    InvalidValueError
        If it is no path.
    """
    folder = as_path(path, what)
    nearest = next(p for p in (folder, *folder.absolute().parents) if os.path.lexists(p))
    if not nearest.is_dir():
        raise NotADirectoryError(f"'{shown(folder)}' cannot be a folder: '{shown(nearest)}' is none.")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise PermissionError(f"'{shown(folder)}' cannot be written: '{shown(nearest)}' is read-only.")
    return folder
