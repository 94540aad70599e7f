"""Limits for each source, whoever it says it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.rate_limits.errors import TooManyRequests

if TYPE_CHECKING:
    from app.principal import ClientInfo
    from app.unit_of_work import UnitOfWork


def count_request(work: UnitOfWork, client_info: ClientInfo, name: str) -> None:
    """Count one against the source's limit of that name (the setting LIMIT_<NAME>). Raises TooManyRequests."""
    exceeded = work.limiter.hit(getattr(work.settings, f"limit_{name}"), name, client_info.bucket)
    if exceeded is not None:
        raise TooManyRequests(name, exceeded)
