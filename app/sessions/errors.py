"""Problems of login, refresh and reports. They do not reveal the exact reason."""

from __future__ import annotations

from app.errors import Problem


class PasswordChangeRequired(Problem):
    """The password is correct but must be changed.

    `reset_token` is for POST /v1/password/reset.
    """

    code = "password_change_required"
    title = "Password change required"
    status = 403

    def __init__(self, reset_token: str) -> None:
        super().__init__(
            "Send the reset_token with a new password to /v1/password/reset, then log in again.",
            members={"reset_token": reset_token},
        )


class InvalidGrant(Problem):
    """The refresh token is unknown or used, or its session has ended (RFC 6749 section 5.2)."""

    code = "invalid_grant"
    title = "The session has ended"
    status = 400

    def __init__(self, detail: str = "Log in again.") -> None:
        super().__init__(detail)


class SessionNotSuspicious(Problem):
    """The session was not reported, or the report was withdrawn already."""

    code = "session_not_suspicious"
    title = "The session is not marked as suspicious"
    status = 409
