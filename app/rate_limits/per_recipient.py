"""Limits for each address, on mail that strangers can ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.adapters.sealing import name_digest

if TYPE_CHECKING:
    from app.unit_of_work import UnitOfWork

MOST_PER_ADDRESS = "1/minute;5/hour"


def may_mail(work: UnitOfWork, kind: str, whom: str) -> bool:
    """Count one mail of that kind to an address. False when it had its share: then nothing that was mailed before may end.

    Asked for whoever was named, whether anybody has that address or not, so that both cost the same. The address itself is
    written nowhere.
    """
    return (
        work.limiter.hit(
            MOST_PER_ADDRESS, "mail to", kind, name_digest(work.settings.secret_key, whom)
        )
        is None
    )
