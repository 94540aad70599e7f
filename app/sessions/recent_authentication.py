"""Recent authentication, which some operations require (step-up, RFC 9470)."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from app.errors import Unauthenticated

if TYPE_CHECKING:
    from datetime import datetime

    from app.principal import Principal

MAX_AUTHENTICATION_AGE = timedelta(minutes=5)


class ReauthenticationRequired(Unauthenticated):
    """The last password entry is too old for this operation (RFC 9470 section 3)."""

    code = "reauthentication_required"
    title = "Re-authentication required"

    def __init__(self) -> None:
        seconds = int(MAX_AUTHENTICATION_AGE.total_seconds())
        challenge = (
            'Bearer realm="doorward", error="insufficient_user_authentication", '
            f'error_description="More recent authentication is required", max_age="{seconds}"'
        )
        super().__init__(
            "Send the password to /v1/elevate and use the access token from the response. "
            f"It is accepted for {seconds // 60} minutes.",
            headers={"WWW-Authenticate": challenge},
        )


def has_recent_authentication(principal: Principal, now: datetime) -> bool:
    """Return whether the password was entered within MAX_AUTHENTICATION_AGE."""
    return principal.auth_time is not None and now - principal.auth_time <= MAX_AUTHENTICATION_AGE


def require_recent_authentication(principal: Principal, now: datetime) -> None:
    """Raise ReauthenticationRequired unless the principal has a recent authentication."""
    if not has_recent_authentication(principal, now):
        raise ReauthenticationRequired
