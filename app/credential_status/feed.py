"""The feed of recent revocations, for applications that verify tokens themselves.

Rows become visible in another order than their ids, so a cursor steps back by the longest
transaction. A row may appear twice, but none is missed. Within one read of several pages the
position is exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import and_, or_, select

from app import pagination as cursors
from app.credential_status.models import REVOCATION_RETENTION, Revocation, get_global_epoch
from app.errors import InvalidInput
from app.pagination import InvalidCursor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.orm import Session

    from app.unit_of_work import UnitOfWork

# The longest transaction plus the largest clock offset.
OVERLAP = timedelta(seconds=20)
MAX_PAGE_SIZE = 1000
CURSOR_LISTING = "revocations"
UNIX_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class RevocationItem:
    """A revocation in the feed."""

    kind: str
    ref: str
    account_id: str
    epoch: int
    roles_version: int
    status: str
    at: datetime


@dataclass(frozen=True, slots=True)
class RevocationPage:
    """A page of revocations. `more` says whether the next page is available at once."""

    items: Sequence[RevocationItem]
    next: str
    more: bool
    global_epoch: int


@dataclass(frozen=True, slots=True)
class _Position:
    """The start of the next read, and the last row of this one."""

    resume: datetime
    after: datetime
    number: int


def list_revocations(work: UnitOfWork, *, since: str | None) -> RevocationPage:
    """Return the revocations since a cursor, or all retained ones. Raises InvalidInput."""
    resume = work.now - OVERLAP
    place = _parse_cursor(work, since) if since is not None else None
    rows = _list_rows(work.db, place or _Position(resume, work.now - REVOCATION_RETENTION, 0))
    page, more = rows[:MAX_PAGE_SIZE], len(rows) > MAX_PAGE_SIZE
    if more:
        # The next read begins before this one began, so it finds rows that commit in the meantime.
        following = _Position(
            place.resume if place and place.number else resume, page[-1].at, page[-1].id
        )
    elif page or place is None or place.number:
        begun = place.resume if place and place.number else resume
        following = _Position(begun, begun, 0)
    else:
        following = (
            place  # Nothing new: the cursor stays the same, so that the response can be cached.
        )
    return RevocationPage(
        [_build_item(row) for row in page],
        _build_cursor(work, following),
        more,
        get_global_epoch(work.db),
    )


def _list_rows(db: Session, place: _Position) -> Sequence[Revocation]:
    beyond = or_(
        Revocation.at > place.after,
        and_(Revocation.at == place.after, Revocation.id > place.number),
    )
    return db.scalars(
        select(Revocation)
        .where(beyond)
        .order_by(Revocation.at, Revocation.id)
        .limit(MAX_PAGE_SIZE + 1)
    ).all()


def _build_item(row: Revocation) -> RevocationItem:
    return RevocationItem(
        row.kind, row.ref, row.account_id, row.epoch, row.roles_version, row.status, row.at
    )


def _build_cursor(work: UnitOfWork, place: _Position) -> str:
    numbers = (
        (place.resume - UNIX_EPOCH) // MICROSECOND,
        (place.after - UNIX_EPOCH) // MICROSECOND,
        place.number,
    )
    return cursors.encode_cursor(
        work.settings.secret_key, CURSOR_LISTING, " ".join(map(str, numbers))
    )


def _parse_cursor(work: UnitOfWork, cursor: str) -> _Position:
    try:
        resume, after, number = map(
            int, cursors.decode_cursor(work.settings.secret_key, CURSOR_LISTING, cursor).split()
        )
    except InvalidCursor:
        raise InvalidInput(
            errors={"/query/since": ["is not a cursor of this service; start again without it"]}
        ) from None
    return _Position(UNIX_EPOCH + resume * MICROSECOND, UNIX_EPOCH + after * MICROSECOND, number)
