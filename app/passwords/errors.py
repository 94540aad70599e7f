"""Errors of setting a password."""

from __future__ import annotations

from app.errors import InvalidInput


class PasswordMismatch(InvalidInput):
    """The password and its repetition differ."""

    code = "password_mismatch"
    title = "The passwords do not match"

    def __init__(self) -> None:
        super().__init__(
            "Send the new password in both fields.",
            errors={"/verify_password": ["must equal new_password"]},
        )
