"""Writing a file so that the old one is whole until the new one is."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


def refuse_devices(path: str | os.PathLike[str]) -> None:
    """Refuse what is neither a file nor a folder: reading a pipe or a device may never end.

    Raises
    ------
    OSError
        If `path` is such a thing.
    """
    if os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path):
        raise OSError(f"{os.fspath(path)!r} is not a file but a pipe or a device, and is not read.")


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """A temporary file beside `path`, to write to; it takes the place of `path` when the block ends without an error.

    Raises
    ------
    OSError
        If the folder cannot be written to or the disk is full; what stood at `path` is untouched.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.urandom(4).hex()}.tmp")
    try:
        with open(temporary, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
