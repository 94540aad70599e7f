"""How long something is to last, as a person says it: 12h, 30d, 1d12h, or a date."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta

import click

from doorward import environment as here

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
YEAR = timedelta(days=365)
LENGTH = re.compile(r"([0-9]{1,9}[smhdw])+")
DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
NEVER = "never"
Callback = Callable[[click.Context, click.Parameter, str | None], timedelta | str | None]


def length_of(text: str, now: datetime) -> timedelta:
    """How long from `now` on, never less than nothing. A date means until its end, here. Raises ValueError in words."""
    words = text.strip()
    if LENGTH.fullmatch(words.lower()):
        parts = re.findall(r"(\d+)([smhdw])", words.lower())
        found = timedelta(
            seconds=min(sum(int(count) * UNITS[unit] for count, unit in parts), 10**10)
        )
    else:
        found = _end_of(words) - now
    if found < timedelta():
        raise ValueError("it is over already")
    return found


def _end_of(words: str) -> datetime:
    try:
        moment = datetime.fromisoformat(words)
    except ValueError:
        raise ValueError("say a length like 12h or 30d, or a date like 2027-01-31") from None
    if DATE.fullmatch(words):
        moment += timedelta(days=1)
    return moment if moment.tzinfo else moment.astimezone()


def length(
    most: timedelta | None = None, *, never: bool = False, nothing: bool = False
) -> Callback:
    """For an option that is a length, or a date until the end of which; `most` is a year, where there is a most."""

    def read(
        _ctx: click.Context, _parameter: click.Parameter, text: str | None
    ) -> timedelta | str | None:
        if text is None or (never and text == NEVER):
            return text
        found = _read(text, most)
        if not found and not nothing:
            raise click.BadParameter("it must last at all.")
        return found

    return read


def waiting(_ctx: click.Context, _parameter: click.Parameter, text: str | None) -> timedelta | None:
    """For an option that is a length, or a number of seconds."""
    return (
        None
        if text is None
        else _read(f"{text}s" if text.isascii() and text.isdigit() else text, None)
    )


def _read(text: str, most: timedelta | None) -> timedelta:
    now = here.get_now().astimezone()
    try:
        found = length_of(text, now)
    except ValueError as error:
        raise click.BadParameter(f"{error}.") from None
    except OverflowError:
        raise click.BadParameter("that is too far away.") from None
    if most is not None and found > most:
        raise click.BadParameter(
            f"a year is the most: the latest date is {(now + most - timedelta(days=1)):%Y-%m-%d}."
        )
    return found
