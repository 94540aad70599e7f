"""Limits for each address, on mail that strangers can ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from app.unit_of_work import UnitOfWork

MOST_PER_ADDRESS = "1/minute;5/hour"


def may_mail(work: UnitOfWork, template: str, email_canonical: str) -> bool:
    """Count one mail of that kind to the address. False when it had its share: then nothing that was mailed before may end."""
    return work.limiter.hit(MOST_PER_ADDRESS, "mail to", template, email_canonical) is None
