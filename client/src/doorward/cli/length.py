"""How long something is to last, as a person says it: 12h, 30d, 1d12h, or a date."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

import click

from doorward import here

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
YEAR = timedelta(days=365)
LENGTH = re.compile(r"(\d{1,9}[smhdw])+")
DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
NEVER = "never"


def length_of(text: str, now: datetime) -> timedelta:
    """How long from `now` on. A date means until its end, and a time without zone is one of `now`'s. Raises ValueError in words."""
    words = text.strip()
    if LENGTH.fullmatch(words.lower()):
        parts = re.findall(r"(\d+)([smhdw])", words.lower())
        found = timedelta(seconds=min(sum(int(count) * UNITS[unit] for count, unit in parts), 10**10))
    else:
        found = _end_of(words, now) - now
    if found <= timedelta():
        raise ValueError("it is over already")
    return found


def _end_of(words: str, now: datetime) -> datetime:
    try:
        moment = datetime.fromisoformat(words)
    except ValueError:
        raise ValueError("say a length like 12h or 30d, or a date like 2027-01-31") from None
    if DATE.fullmatch(words):
        moment += timedelta(days=1)
    return moment if moment.tzinfo else moment.astimezone()


class Length(click.ParamType):
    """A length, or a date until the end of which; at most a year where a year is the most."""

    name = "length"

    def __init__(self, most: timedelta | None = None, *, never: bool = False) -> None:
        self.most = most
        self.never = never

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> timedelta | str:
        if isinstance(value, timedelta):
            return value
        text = str(value)
        if self.never and text == NEVER:
            return NEVER
        now = here.now().astimezone()
        try:
            found = length_of(text, now)
        except ValueError as error:
            self.fail(f"{error}.", param, ctx)
        except OverflowError:
            self.fail("that is too far away.", param, ctx)
        if self.most is not None and found > self.most:
            self.fail(f"a year is the most: the latest date is {(now + self.most - timedelta(days=1)):%Y-%m-%d}.", param, ctx)
        return found


class Wait(Length):
    """How long to wait: a length, or a number of seconds."""

    name = "wait"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> timedelta | str:
        text = str(value)
        return super().convert(f"{text}s" if text.isascii() and text.isdigit() else value, param, ctx)
