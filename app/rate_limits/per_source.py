"""Limits for each source, whoever it says it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.rate_limits.errors import TooManyRequests

if TYPE_CHECKING:
    from app.principal import Source
    from app.unit_of_work import UnitOfWork


def take(work: UnitOfWork, source: Source, name: str) -> None:
    """Count one against the source's limit of that name (the setting LIMIT_<NAME>). Raises TooManyRequests."""
    exceeded = work.limiter.hit(getattr(work.settings, f"limit_{name}"), name, source.bucket)
    if exceeded is not None:
        raise TooManyRequests(name, exceeded)
