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
from app.credential_status.models import KEPT, Revocation, global_epoch
from app.errors import InvalidInput
from app.pagination import InvalidCursor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.orm import Session

    from app.unit_of_work import UnitOfWork

# The longest transaction, and as far as two clocks may be apart.
OVERLAP = timedelta(seconds=20)
MOST = 1000
LISTING = "revocations"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Ended:
    """One revocation."""

    kind: str
    ref: str
    account_id: str
    epoch: int
    roles_version: int
    status: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Feed:
    """A page. With `more`, the next is there at once; without, what comes later will be."""

    items: Sequence[Ended]
    next: str
    more: bool
    global_epoch: int


@dataclass(frozen=True, slots=True)
class _Place:
    """From where the reading after this one begins, and after which row this one goes on."""

    resume: datetime
    after: datetime
    number: int


def feed(work: UnitOfWork, *, since: str | None) -> Feed:
    """The revocations since a cursor, without one all that are kept. Raises InvalidInput."""
    resume = work.now - OVERLAP
    place = _read(work, since) if since is not None else None
    rows = _rows(work.db, place or _Place(resume, work.now - KEPT, 0))
    page, more = rows[:MOST], len(rows) > MOST
    if more:
        # Rows that commit while the pages are read are found by the next reading, which begins before this one began.
        following = _Place(
            place.resume if place and place.number else resume, page[-1].at, page[-1].id
        )
    elif page or place is None or place.number:
        begun = place.resume if place and place.number else resume
        following = _Place(begun, begun, 0)
    else:
        following = (
            place  # nothing new: the same cursor, so that the same answer need not be sent twice
        )
    return Feed(
        [_ended(row) for row in page], _written(work, following), more, global_epoch(work.db)
    )


def _rows(db: Session, place: _Place) -> Sequence[Revocation]:
    beyond = or_(
        Revocation.at > place.after,
        and_(Revocation.at == place.after, Revocation.id > place.number),
    )
    return db.scalars(
        select(Revocation).where(beyond).order_by(Revocation.at, Revocation.id).limit(MOST + 1)
    ).all()


def _ended(row: Revocation) -> Ended:
    return Ended(
        row.kind, row.ref, row.account_id, row.epoch, row.roles_version, row.status, row.at
    )


def _written(work: UnitOfWork, place: _Place) -> str:
    numbers = (
        (place.resume - EPOCH) // MICROSECOND,
        (place.after - EPOCH) // MICROSECOND,
        place.number,
    )
    return cursors.encode_cursor(work.settings.secret_key, LISTING, " ".join(map(str, numbers)))


def _read(work: UnitOfWork, cursor: str) -> _Place:
    try:
        resume, after, number = map(
            int, cursors.decode_cursor(work.settings.secret_key, LISTING, cursor).split()
        )
    except InvalidCursor:
        raise InvalidInput(
            errors={"/query/since": ["is not one that was handed out here; begin anew without it"]}
        ) from None
    return _Place(EPOCH + resume * MICROSECOND, EPOCH + after * MICROSECOND, number)
