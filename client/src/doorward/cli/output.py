"""Prints the results of commands in the chosen format."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from doorward import environment
from doorward.cli import terminal
from doorward.cli.formats import format_data, to_fields
from doorward.cli.tables import format_columns, format_pairs, format_relative_time
from doorward.models import ApiKey, SessionInfo


def show(data: object, form: str, rows: Mapping[str, object] | None = None) -> None:
    """Print one object. `rows` are the lines of the table; by default, all fields."""
    if rows is None:
        rows = {name.replace("_", " "): value for name, value in to_fields(data).items()}
    pairs = rows
    terminal.print_data(
        format_data(data, form, lambda: format_pairs(pairs, terminal.get_table_width()))
    )


def show_sessions(sessions: Sequence[SessionInfo], form: str) -> None:
    """Print a list of sessions."""
    now = environment.get_now()
    rows = [
        (
            session.id,
            _describe_device(session),
            session.last_address,
            format_relative_time(session.last_used_at, now),
            format_relative_time(session.expires_at, now),
        )
        for session in sessions
    ]
    _show_list(
        sessions,
        form,
        names=("ID", "DEVICE", "IP ADDRESS", "USED", "EXPIRES"),
        rows=rows,
        flexible=("DEVICE", "IP ADDRESS"),
        empty="No sessions.",
    )


def show_keys(keys: Sequence[ApiKey], form: str) -> None:
    """Print a list of API keys, without their secrets."""
    now = environment.get_now()
    rows = [
        (
            key.id,
            key.name,
            key.scopes,
            format_relative_time(key.last_used_at, now),
            format_relative_time(key.expires_at, now),
        )
        for key in keys
    ]
    _show_list(
        keys,
        form,
        names=("ID", "NAME", "SCOPES", "USED", "EXPIRES"),
        rows=rows,
        flexible=("NAME", "SCOPES"),
        empty="No API keys. Create one: doorward keys create NAME",
    )


def _show_list(
    data: Sequence[object],
    form: str,
    *,
    names: Sequence[str],
    rows: Sequence[Sequence[object]],
    flexible: Sequence[str],
    empty: str,
) -> None:
    if not data and form == "table":
        terminal.print_message(empty)
        return
    width = terminal.get_table_width()
    terminal.print_data(
        format_data(data, form, lambda: format_columns(names, rows, width, flexible=flexible))
    )


def _describe_device(session: SessionInfo) -> str:
    name = session.device_name or session.user_agent
    return f"this device: {name}" if session.current else name
