"""Plain data in the three forms that -o knows: a table for people, JSON and YAML for programs."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime

from doorward.transport.problems import to_printable

Data = Mapping[str, object] | Sequence[object]
BARE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
TAKEN_FOR_ANOTHER = frozenset(
    {"y", "n", "yes", "no", "on", "off", "true", "false", "null"}
)  # by some readers of YAML
FORMS = ("table", "json", "yaml")


def plain(value: object) -> object:
    """Dataclasses as objects, tuples as lists, times in UTC as RFC 3339 says. Secrets stay hidden."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(name): plain(one) for name, one in value.items()}
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return value if value is None or isinstance(value, bool | int | float) else str(value)


def written(data: object, form: str, table: Callable[[], str]) -> str:
    """The data in that form."""
    if form == "json":
        return json.dumps(plain(data), indent=2)
    if form == "yaml":
        return "\n".join(_yaml(plain(data)))
    return table()


def _yaml(value: object) -> list[str]:
    """Every text in double quotes and in ASCII, so that none is taken for a number, a date, a yes or a command to the terminal."""
    if isinstance(value, dict) and value:
        return [line for name, one in value.items() for line in _entry(f"{_name(name)}:", one)]
    if isinstance(value, list) and value:
        return [line for one in value for line in _item(one)]
    return [_scalar(value)]


def _entry(name: str, value: object) -> list[str]:
    if isinstance(value, dict | list) and value:
        return [name, *(f"  {line}" for line in _yaml(value))]
    return [f"{name} {_scalar(value)}"]


def _item(value: object) -> list[str]:
    first, *rest = _yaml(value)
    return [f"- {first}", *(f"  {line}" for line in rest)]


def _name(name: str) -> str:
    return name if BARE.fullmatch(name) and name.lower() not in TAKEN_FOR_ANOTHER else _scalar(name)


def _scalar(value: object) -> str:
    if not isinstance(value, str):
        return json.dumps(value)
    return f'"{"".join(_escaped(character) for character in value)}"'


def _escaped(character: str) -> str:
    """JSON writes characters beyond U+FFFF in two halves, which YAML does not put together."""
    number = ord(character)
    return f"\\U{number:08X}" if number > 0xFFFF else json.dumps(character)[1:-1]  # noqa: PLR2004 - the last of two bytes


# -- for people -----------------------------------------------------------------------------------------------------


def pairs(rows: Mapping[str, object], width: int) -> str:
    """Names and values below each other; long values go on in the next line."""
    import textwrap

    left = max(len(name) for name in rows) + 2
    lines = []
    for name, value in rows.items():
        wrapped = textwrap.wrap(
            _cell(value) or "-",
            max(width - left, 20),
            break_long_words=False,
            break_on_hyphens=False,
        )
        lines += [f"{name:<{left}}{wrapped[0]}", *(f"{'':<{left}}{line}" for line in wrapped[1:])]
    return "\n".join(lines)


def columns(
    names: Sequence[str], rows: Sequence[Sequence[object]], width: int, *, flexible: Sequence[str]
) -> str:
    """A table; where it is too wide, the flexible columns are cut and end in …, and where that is not enough, rows follow each other."""
    cells = [[_cell(value) for value in row] for row in rows]
    widths = [
        max(len(name), *(_width(row[index]) for row in cells)) for index, name in enumerate(names)
    ]
    over = sum(widths) + 2 * (len(widths) - 1) - width
    while over > 0 and flexible:
        index = max(
            (index for index, name in enumerate(names) if name in flexible),
            key=lambda index: widths[index],
        )
        if widths[index] <= len(names[index]):
            break
        widths[index] -= 1
        over -= 1
    if over > 0:
        return "\n\n".join(pairs(dict(zip(names, row, strict=True)), width) for row in rows)
    return "\n".join(_line(row, widths) for row in [list(names), *cells])


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(
        _padded(cell, width) for cell, width in zip(cells, widths, strict=True)
    ).rstrip()


def _padded(cell: str, width: int) -> str:
    if _width(cell) > width:
        while _width(cell) > width - 1:
            cell = cell[:-1]
        cell = f"{cell}…"
    return cell + " " * (width - _width(cell))


def _width(text: str) -> int:
    """In columns of a terminal."""
    if text.isascii():
        return len(text)
    return sum(
        2 if unicodedata.east_asian_width(one) in "WF" else 0 if unicodedata.combining(one) else 1
        for one in text
    )


def _cell(value: object) -> str:
    """Nothing of it moves the cursor: names of devices come from strangers."""
    if isinstance(value, list | tuple):
        return to_printable(" ".join(str(one) for one in value))
    if isinstance(value, datetime):
        return local(value)
    return "" if value is None else to_printable(str(value))


def local(moment: datetime | None) -> str:
    """As the clock on the wall shows it."""
    return f"{moment.astimezone():%Y-%m-%d %H:%M}" if moment else "never"


def ago(moment: datetime | None, now: datetime) -> str:
    """How long it is from now, in one unit."""
    if moment is None:
        return "never"
    seconds = (moment - now).total_seconds()
    size = abs(seconds)
    steps = ((172800.0, 86400, "d"), (7200.0, 3600, "h"), (120.0, 60, "min"), (1.0, 1, "s"))
    told = next((f"{size / unit:.0f} {name}" for least, unit, name in steps if size >= least), "")
    if not told:
        return "now"
    return f"in {told}" if seconds > 0 else f"{told} ago"
