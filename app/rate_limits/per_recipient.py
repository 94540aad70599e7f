"""Limits for each address, on mail that strangers can ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.adapters.encryption import compute_name_digest

if TYPE_CHECKING:
    from app.unit_of_work import UnitOfWork

EMAIL_LIMIT = "1/minute;5/hour"


def count_email(work: UnitOfWork, kind: str, recipient: str) -> bool:
    """Count one mail of that kind to an address. False when it had its share: then nothing that was mailed before may end.

    Asked for whoever was named, whether anybody has that address or not, so that both cost the same. The address itself is
    written nowhere.
    """
    return (
        work.limiter.hit(
            EMAIL_LIMIT, "mail to", kind, compute_name_digest(work.settings.secret_key, recipient)
        )
        is None
    )
