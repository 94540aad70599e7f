"""Parses durations such as 12h, 30d or 1d12h, and dates until which something lasts."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta

import click

from doorward import environment

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
YEAR = timedelta(days=365)
DURATION_PATTERN = re.compile(r"([0-9]{1,9}[smhdw])+")
DATE_PATTERN = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
NEVER = "never"
MAX_SECONDS = 10**10
Callback = Callable[[click.Context, click.Parameter, str | None], timedelta | str | None]


def parse_duration(text: str, now: datetime) -> timedelta:
    """Parse a duration, or a time or date after `now`. A date means its end in local time.

    Raises ValueError with a message for the user.
    """
    words = text.strip()
    if DURATION_PATTERN.fullmatch(words.lower()):
        parts = re.findall(r"(\d+)([smhdw])", words.lower())
        seconds = sum(int(count) * UNITS[unit] for count, unit in parts)
        duration = timedelta(seconds=min(seconds, MAX_SECONDS))
    else:
        duration = _parse_end(words) - now
    if duration < timedelta():
        raise ValueError("must be in the future")
    return duration


def _parse_end(words: str) -> datetime:
    try:
        time = datetime.fromisoformat(words)
    except ValueError:
        raise ValueError("use a duration like 12h or 30d, or a date like 2027-01-31") from None
    if DATE_PATTERN.fullmatch(words):
        time += timedelta(days=1)
    return time if time.tzinfo else time.astimezone()


def build_duration_parser(
    maximum: timedelta | None = None, *, allow_never: bool = False, allow_zero: bool = False
) -> Callback:
    """Build the callback of an option that takes a duration or a date."""

    def parse(
        _ctx: click.Context, _parameter: click.Parameter, text: str | None
    ) -> timedelta | str | None:
        if text is None or (allow_never and text == NEVER):
            return text
        duration = _parse_limited(text, maximum)
        if not duration and not allow_zero:
            raise click.BadParameter("must be greater than zero.")
        return duration

    return parse


def parse_timeout(
    _ctx: click.Context, _parameter: click.Parameter, text: str | None
) -> timedelta | None:
    """Parse an option that takes a duration or a number of seconds."""
    if text is None:
        return None
    return _parse_limited(f"{text}s" if text.isascii() and text.isdigit() else text, None)


def _parse_limited(text: str, maximum: timedelta | None) -> timedelta:
    now = environment.get_now().astimezone()
    try:
        duration = parse_duration(text, now)
    except ValueError as error:
        raise click.BadParameter(f"{error}.") from None
    except OverflowError:
        raise click.BadParameter("is too far in the future.") from None
    if maximum is not None and duration > maximum:
        latest = now + maximum - timedelta(days=1)
        raise click.BadParameter(f"must be at most one year. The latest date is {latest:%Y-%m-%d}.")
    return duration
