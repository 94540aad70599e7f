"""How logging in and refreshing can fail; each in one way, whatever the reason."""

from __future__ import annotations

from app.errors import Problem


class PasswordChangeRequired(Problem):
    """Right, and no longer good for anything but choosing another one. `reset_token` is for POST /v1/password/reset."""

    code = "password_change_required"
    title = "The password must be changed first"
    status = 403

    def __init__(self, reset_token: str) -> None:
        super().__init__(
            "Send the reset_token with a new password to /v1/password/reset, then sign in with that.",
            members={"reset_token": reset_token},
        )


class InvalidGrant(Problem):
    """The refresh token is unknown, used, or its session is over (RFC 6749 section 5.2)."""

    code = "invalid_grant"
    title = "The session is over"
    status = 400

    def __init__(self, detail: str = "Sign in again.") -> None:
        super().__init__(detail)


class SessionNotSuspicious(Problem):
    """There is nothing to take back: nobody called it suspicious, or that was taken back already."""

    code = "session_not_suspicious"
    title = "The session is not suspicious"
    status = 409
