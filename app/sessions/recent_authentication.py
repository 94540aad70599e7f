"""How long a typed password counts for what asks for a fresh one (RFC 9470)."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from app.errors import Unauthenticated

if TYPE_CHECKING:
    from datetime import datetime

    from app.principal import Principal

MAX_AUTHENTICATION_AGE = timedelta(minutes=5)


class ReauthenticationRequired(Unauthenticated):
    """The password was typed too long ago for this (RFC 9470 section 3)."""

    code = "reauthentication_required"
    title = "Show once more who you are"

    def __init__(self) -> None:
        seconds = int(MAX_AUTHENTICATION_AGE.total_seconds())
        error = f'error="insufficient_user_authentication", error_description="too long ago", max_age="{seconds}"'
        super().__init__(
            f"Send the password to /v1/elevate and use the access token from there; it counts for {seconds // 60} minutes.",
            headers={"WWW-Authenticate": f'Bearer realm="doorward", {error}'},
        )


def has_recent_authentication(principal: Principal, now: datetime) -> bool:
    """Was the password typed in the last five minutes?"""
    return principal.auth_time is not None and now - principal.auth_time <= MAX_AUTHENTICATION_AGE


def require_recent_authentication(principal: Principal, now: datetime) -> None:
    """Raises ReauthenticationRequired for whoever has not typed the password in the last five minutes."""
    if not has_recent_authentication(principal, now):
        raise ReauthenticationRequired
