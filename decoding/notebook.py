"""Tables in HTML: how networks and measurements show themselves in a notebook."""

from __future__ import annotations

from collections.abc import Sequence

MOST = 50  # rows or columns that a table shows of more


def table(
    head: Sequence[object], rows: Sequence[Sequence[object]], *, caption: str = "", after: Sequence[str] = ()
) -> str:
    """A table, its texts escaped; what follows stands in lines below.

    Examples
    --------
    >>> table(["k"], [["<b>"]])
    '<table><thead><tr><th>k</th></tr></thead><tbody><tr><td>&lt;b&gt;</td></tr></tbody></table>'
    """
    import html  # here: its table of entities is slow to import, and most programs show nothing

    above = f"<caption>{html.escape(caption)}</caption>" if caption else ""
    names = "".join(f"<th>{html.escape(str(each))}</th>" for each in head)
    lines = ["".join(f"<td>{html.escape(str(cell))}</td>" for cell in row) for row in rows]
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    below = "".join(f"<p>{html.escape(line)}</p>" for line in after)
    return f"<table>{above}<thead><tr>{names}</tr></thead><tbody>{body}</tbody></table>{below}"


def left_out(shown: int, count: int, what: str) -> list[str]:
    """The line that says how many are not shown; none if all are."""
    return [f"The first {shown} of {count} {what}."] if shown < count else []
