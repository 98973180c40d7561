"""The folder of the page. It is written beside an old one, and takes its place when it is complete."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import InvalidValueError
from ..files import check_folder, removed_by_signals, shown

HERE = Path(__file__).parent
STATIC = ("index.html", "page.css", "page.js")
MARK = '<meta name="generator" content="decoding.explore">'  # a folder whose index.html has this line is such a page


def check_page(path: Any) -> Path:
    """Refuse a folder that cannot be written, or holds anything but such a page; returns the folder that would be written.

    Raises
    ------
    InvalidValueError
        If there is a folder with other files.
    OSError
        If the folder cannot be made, or is a file.
    """
    folder = Path(os.path.realpath(check_folder(path, "explore: folder")))
    if not os.access(folder.parent, os.W_OK | os.X_OK) and folder.parent.exists():
        raise PermissionError(f"'{shown(path)}' cannot be written: '{shown(folder.parent)}' is read-only.")
    if not folder.exists():
        return folder
    others = sorted(path.name for path in folder.iterdir() if path.name not in (*STATIC, "data"))
    index = folder / "index.html"
    known = index.is_file() and MARK in index.read_text("utf-8", "replace")[:2000]
    if others or (not known and any(folder.iterdir())):
        what = f"'{shown(others[0])}'" if others else "other files"
        raise InvalidValueError(
            f"the folder '{shown(path)}' holds {what}, and is not replaced: it is not a page that explore made. Give a new folder."
        )
    return folder


@contextmanager
def replacing_folder(folder: Path) -> Iterator[Path]:
    """A folder beside `folder` to write to; it takes the place of `folder` when the block ends without an error."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = folder.with_name(f".{os.urandom(8).hex()}.tmp")
    try:
        (temporary / "data").mkdir(parents=True)
        for name in STATIC:
            shutil.copyfile(HERE / name, temporary / name)
        with removed_by_signals(temporary):
            yield temporary
        _swap(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _swap(new: Path, folder: Path) -> None:
    """Put a folder in the place of another, which is removed only afterwards."""
    if not folder.exists():
        os.replace(new, folder)
        return
    old = folder.with_name(f"{new.name}.old")
    os.replace(folder, old)
    try:
        os.replace(new, folder)
    except BaseException:
        os.replace(old, folder)
        raise
    shutil.rmtree(old, ignore_errors=True)


def write_data(folder: Path, name: str, value: Any) -> None:
    """Write a value for the page as a script; a page that is opened from disk may read nothing else."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"), ensure_ascii=True)
    (folder / "data" / f"{name}.js").write_text(f"explorer.take({json.dumps(name)},{text});\n", "ascii")
