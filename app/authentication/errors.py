"""Failures of authentication."""

from __future__ import annotations

from app.errors import Problem


class InvalidCredentials(Problem):
    """The login failed. Every reason has this one answer at the same cost (ASVS 6.3.8)."""

    code = "invalid_credentials"
    title = "The username or password is wrong"
    status = 401


class WrongPassword(Problem):
    """A signed-in user entered a wrong password. Not 401, on which clients discard the session."""

    code = "wrong_password"
    title = "The current password is wrong"
    status = 403

    def __init__(self) -> None:
        super().__init__(
            "Send the password you log in with, or request a reset link at /v1/password/forgot."
        )
