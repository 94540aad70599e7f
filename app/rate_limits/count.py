"""Rate limits per source and per recipient, counted in Redis."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.adapters.encryption import compute_name_digest
from app.rate_limits.errors import TooManyRequests

if TYPE_CHECKING:
    from app.principal import ClientInfo
    from app.unit_of_work import UnitOfWork

EMAIL_LIMIT = "1/minute;5/hour"


def count_request(work: UnitOfWork, client_info: ClientInfo, name: str) -> None:
    """Count a request of this source against the limit in the setting LIMIT_<NAME>.

    Raises TooManyRequests.
    """
    exceeded = work.limiter.hit(getattr(work.settings, f"limit_{name}"), name, client_info.bucket)
    if exceeded is not None:
        raise TooManyRequests(name, exceeded)


def count_email(work: UnitOfWork, kind: str, recipient: str) -> bool:
    """Count an email of a kind to a recipient and return whether it may be sent.

    Count it for every requested recipient, with or without an account, so that the cost tells
    nothing. Redis holds only a digest of the email address.
    """
    digest = compute_name_digest(work.settings.secret_key, recipient)
    return work.limiter.hit(EMAIL_LIMIT, "mail to", kind, digest) is None
