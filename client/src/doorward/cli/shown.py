"""Printing what a command found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from doorward import environment as here
from doorward.cli import terminal, written
from doorward.models import ApiKey, SessionInfo


def show(data: object, form: str, rows: Mapping[str, object] | None = None) -> None:
    """One thing. `rows` is what people see of it; without it, all."""
    found = written.plain(data)
    names = (
        rows
        if rows is not None
        else {str(name).replace("_", " "): one for name, one in dict(found).items()}  # type: ignore[call-overload]
    )
    terminal.give(written.written(data, form, lambda: written.pairs(names, terminal.width())))


def show_sessions(found: Sequence[SessionInfo], form: str) -> None:
    """A list of logins."""
    names = ("ID", "DEVICE", "FROM", "USED", "ENDS")

    def table() -> str:
        now = here.get_now()
        rows = [
            (
                one.id,
                _device(one),
                one.last_address,
                written.ago(one.last_used_at, now),
                written.ago(one.expires_at, now),
            )
            for one in found
        ]
        return written.columns(names, rows, terminal.width(), flexible=("DEVICE", "FROM"))

    if found or form != "table":
        terminal.give(written.written(found, form, table))
    else:
        terminal.say("There are no sessions.")


def show_keys(found: Sequence[ApiKey], form: str) -> None:
    """A list of keys, without secrets."""
    names = ("ID", "NAME", "SCOPES", "USED", "ENDS")

    def table() -> str:
        now = here.get_now()
        rows = [
            (
                one.id,
                one.name,
                one.scopes,
                written.ago(one.last_used_at, now),
                written.ago(one.expires_at, now),
            )
            for one in found
        ]
        return written.columns(names, rows, terminal.width(), flexible=("NAME", "SCOPES"))

    if found or form != "table":
        terminal.give(written.written(found, form, table))
    else:
        terminal.say("There are no keys. Make one: doorward keys create NAME")


def _device(one: SessionInfo) -> str:
    name = one.device_name or one.user_agent
    return f"here: {name}" if one.current else name
