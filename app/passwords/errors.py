"""How another password can fail to be set."""

from __future__ import annotations

from app.errors import InvalidInput


class PasswordMismatch(InvalidInput):
    """It was typed twice, and not alike."""

    code = "password_mismatch"
    title = "The two passwords are not the same"

    def __init__(self) -> None:
        super().__init__(
            "Type the new password twice, alike.",
            errors={"/verify_password": ["is not the same as new_password"]},
        )
