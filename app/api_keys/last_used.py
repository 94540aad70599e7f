"""When keys were last used: noted in memory at each use, written down once a minute."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, or_, update

from app.api_keys.models import ApiKey

if TYPE_CHECKING:
    from app.unit_of_work import UnitOfWorkFactory

RESOLUTION = timedelta(seconds=60)
BATCH = 500
# Only where it says something new: of many processes that saw the same key, one writes in a minute, and none goes back.
UPDATE_LAST_USED = (
    update(ApiKey)
    .where(
        ApiKey.id == bindparam("key_id"),
        or_(ApiKey.last_used_at.is_(None), ApiKey.last_used_at < bindparam("news_from")),
    )
    .values(last_used_at=bindparam("moment"))
)


def flush_last_used(units: UnitOfWorkFactory) -> None:
    """Write down what this process has seen since the last time. What could not be written is kept for the next."""
    # In one order, so that two processes at once do not wait for each other.
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
