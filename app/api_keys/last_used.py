"""Last use of API keys: recorded in memory at each use, written to the database once a minute."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, or_, update

from app.api_keys.models import ApiKey

if TYPE_CHECKING:
    from app.unit_of_work import UnitOfWorkFactory

RESOLUTION = timedelta(seconds=60)
BATCH = 500
# Skips rows that are recent enough, so that of many processes one writes per minute, and none
# writes an older time over a newer one.
UPDATE_LAST_USED = (
    update(ApiKey)
    .where(
        ApiKey.id == bindparam("key_id"),
        or_(ApiKey.last_used_at.is_(None), ApiKey.last_used_at < bindparam("news_from")),
    )
    .values(last_used_at=bindparam("moment"))
)


def flush_last_used(units: UnitOfWorkFactory) -> None:
    """Write the uses of this process to the database.

    Uses that cannot be written stay in the buffer.
    """
    # Sorted, so that two processes cannot deadlock.
    uses = sorted(units.api_key_usage.drain().items())
    while uses:
        written = False
        try:
            with units.open_read_write() as work:
                rows = [
                    {"key_id": name, "moment": moment, "news_from": moment - RESOLUTION}
                    for name, moment in uses[:BATCH]
                ]
                work.db.connection().execute(UPDATE_LAST_USED, rows)
            written = True
        finally:
            if not written:
                for name, moment in uses:
                    units.api_key_usage.record(name, moment)
        uses = uses[BATCH:]
