"""Formats tables and times for people."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from datetime import datetime

from doorward.printable import to_printable

MIN_VALUE_WIDTH = 20
GAP = 2  # columns between two columns of a table
# The minimum number of seconds to show in a unit, the seconds in it, and its name.
RELATIVE_UNITS = ((172800.0, 86400, "d"), (7200.0, 3600, "h"), (120.0, 60, "min"), (1.0, 1, "s"))


def format_pairs(rows: Mapping[str, object], width: int) -> str:
    """Format names and values, one pair per line. Long values are wrapped."""
    import textwrap  # imported late, because JSON output does not need it

    left = max(len(name) for name in rows) + GAP
    lines = []
    for name, value in rows.items():
        first, *rest = textwrap.wrap(
            _format_cell(value) or "-",
            max(width - left, MIN_VALUE_WIDTH),
            break_long_words=False,
            break_on_hyphens=False,
        )
        lines += [f"{name:<{left}}{first}", *(f"{'':<{left}}{line}" for line in rest)]
    return "\n".join(lines)


def format_columns(
    names: Sequence[str], rows: Sequence[Sequence[object]], width: int, *, flexible: Sequence[str]
) -> str:
    """Format a table.

    If it is too wide, the flexible columns are shortened with …. If it is still too wide, each row
    is formatted as pairs.
    """
    cells = [[_format_cell(value) for value in row] for row in rows]
    widths = [
        max(len(name), *(_get_width(row[index]) for row in cells))
        for index, name in enumerate(names)
    ]
    shortened = _shorten_columns(names, widths, width, flexible)
    if shortened is None:
        return "\n\n".join(format_pairs(dict(zip(names, row, strict=True)), width) for row in rows)
    return "\n".join(_format_line(row, shortened) for row in [list(names), *cells])


def _shorten_columns(
    names: Sequence[str], widths: Sequence[int], width: int, flexible: Sequence[str]
) -> list[int] | None:
    """Return the widths of the columns, None if they cannot be made to fit."""
    shortened = list(widths)
    excess = sum(shortened) + GAP * (len(shortened) - 1) - width
    candidates = [index for index, name in enumerate(names) if name in flexible]
    while excess > 0 and candidates:
        widest = max(candidates, key=lambda index: shortened[index])
        if shortened[widest] <= len(names[widest]):
            break
        shortened[widest] -= 1
        excess -= 1
    return None if excess > 0 else shortened


def _format_line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = (_pad(cell, width) for cell, width in zip(cells, widths, strict=True))
    return (" " * GAP).join(padded).rstrip()


def _pad(cell: str, width: int) -> str:
    if _get_width(cell) > width:
        while _get_width(cell) > width - 1:
            cell = cell[:-1]
        cell = f"{cell}…"
    return cell + " " * (width - _get_width(cell))


def _get_width(text: str) -> int:
    """Return the number of terminal columns that the text takes."""
    if text.isascii():
        return len(text)
    return sum(
        2 if unicodedata.east_asian_width(one) in "WF" else 0 if unicodedata.combining(one) else 1
        for one in text
    )


def _format_cell(value: object) -> str:
    """Format a value without control characters, because names may come from other users."""
    if isinstance(value, list | tuple):
        return to_printable(" ".join(str(one) for one in value))
    if isinstance(value, datetime):
        return format_local_time(value)
    return "" if value is None else to_printable(str(value))


def format_local_time(time: datetime | None) -> str:
    """Format the time in the local time zone, or "never"."""
    return f"{time.astimezone():%Y-%m-%d %H:%M}" if time else "never"


def format_relative_time(time: datetime | None, now: datetime) -> str:
    """Format the difference from now in one unit, or "never"."""
    if time is None:
        return "never"
    seconds = (time - now).total_seconds()
    distance = next(
        (
            f"{abs(seconds) / unit:.0f} {name}"
            for minimum, unit, name in RELATIVE_UNITS
            if abs(seconds) >= minimum
        ),
        "",
    )
    if not distance:
        return "now"
    return f"in {distance}" if seconds > 0 else f"{distance} ago"
