"""Listing of the audit log, newest first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import literal, select, tuple_

from app import pagination as cursors
from app.audit.models import AuditEvent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import ColumnElement

    from app.unit_of_work import UnitOfWork

CURSOR_PURPOSE = "audit"


@dataclass(frozen=True, slots=True)
class AuditView:
    """An audit event."""

    id: int
    at: datetime
    event: str
    account_id: str | None
    session_id: str | None
    source: str | None
    user_agent: str | None
    request_id: str | None
    detail: Mapping[str, str | int]


@dataclass(frozen=True, slots=True)
class AuditPage:
    """A page of audit events; `next` is the cursor of the following page."""

    items: Sequence[AuditView]
    next: str | None


def list_events(
    work: UnitOfWork,
    *,
    account_id: str | None = None,
    event: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    limit: int,
    cursor: str | None = None,
) -> AuditPage:
    """List the events that match every filter; `since` is inclusive, `until` exclusive.

    Raises InvalidInput.
    """
    wanted: list[ColumnElement[bool]] = []
    if account_id is not None:
        wanted.append(AuditEvent.account_id == account_id)
    if event is not None:
        wanted.append(AuditEvent.event == event)
    if since is not None:
        wanted.append(AuditEvent.at >= since)
    if until is not None:
        wanted.append(AuditEvent.at < until)
    if cursor is not None:
        wanted.append(_build_cursor_condition(work, cursor))
    newest = select(AuditEvent).where(*wanted).order_by(AuditEvent.at.desc(), AuditEvent.id.desc())
    rows = [build_audit_view(row) for row in work.db.scalars(newest.limit(limit + 1))]
    return AuditPage(
        rows[:limit], _build_cursor(work, rows[limit - 1]) if len(rows) > limit else None
    )


def build_audit_view(row: AuditEvent) -> AuditView:
    return AuditView(
        id=row.id,
        at=row.at,
        event=row.event,
        account_id=row.account_id,
        session_id=row.session_id,
        source=row.source,
        user_agent=row.user_agent,
        request_id=row.request_id,
        detail=row.detail,
    )


def _build_cursor_condition(work: UnitOfWork, cursor: str) -> ColumnElement[bool]:
    moment, _, row_id = cursors.decode_cursor(
        work.settings.secret_key, CURSOR_PURPOSE, cursor
    ).partition(" ")
    last = literal(datetime.fromisoformat(moment), AuditEvent.at.type)
    return tuple_(AuditEvent.at, AuditEvent.id) < tuple_(last, literal(int(row_id)))


def _build_cursor(work: UnitOfWork, last: AuditView) -> str:
    return cursors.encode_cursor(
        work.settings.secret_key, CURSOR_PURPOSE, f"{last.at.isoformat()} {last.id}"
    )
