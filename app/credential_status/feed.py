"""What has ended lately, for verifiers that check tokens themselves.

Rows commit in another order than they are numbered, so a cursor steps back by as long as a transaction may last: rows come twice
rather than never. Within one reading of many pages the place is exact.
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

# The longest transaction, and as far as two clocks may be apart.
OVERLAP = timedelta(seconds=20)
MAX_PAGE_SIZE = 1000
CURSOR_LISTING = "revocations"
UNIX_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class RevocationItem:
    """One revocation."""

    kind: str
    ref: str
    account_id: str
    epoch: int
    roles_version: int
    status: str
    at: datetime


@dataclass(frozen=True, slots=True)
class RevocationPage:
    """A page. With `more`, the next is there at once; without, what comes later will be."""

    items: Sequence[RevocationItem]
    next: str
    more: bool
    global_epoch: int


@dataclass(frozen=True, slots=True)
class _Position:
    """From where the reading after this one begins, and after which row this one goes on."""

    resume: datetime
    after: datetime
    number: int


def list_revocations(work: UnitOfWork, *, since: str | None) -> RevocationPage:
    """The revocations since a cursor, without one all that are kept. Raises InvalidInput."""
    resume = work.now - OVERLAP
    place = _parse_cursor(work, since) if since is not None else None
    rows = _list_rows(work.db, place or _Position(resume, work.now - REVOCATION_RETENTION, 0))
    page, more = rows[:MAX_PAGE_SIZE], len(rows) > MAX_PAGE_SIZE
    if more:
        # Rows that commit while the pages are read are found by the next reading, which begins before this one began.
        following = _Position(
            place.resume if place and place.number else resume, page[-1].at, page[-1].id
        )
    elif page or place is None or place.number:
        begun = place.resume if place and place.number else resume
        following = _Position(begun, begun, 0)
    else:
        following = (
            place  # nothing new: the same cursor, so that the same answer need not be sent twice
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
            errors={"/query/since": ["is not one that was handed out here; begin anew without it"]}
        ) from None
    return _Position(UNIX_EPOCH + resume * MICROSECOND, UNIX_EPOCH + after * MICROSECOND, number)
