"""How making or changing a key can fail."""

from __future__ import annotations

from app.errors import Problem


class ApiKeyNameTaken(Problem):
    """Another living key of the account has this name."""

    code = "key_name_taken"
    title = "A key of yours has this name"
    status = 409

    def __init__(self) -> None:
        super().__init__("Choose another name, or delete the other key first.")


class TooManyApiKeys(Problem):
    """The account has as many living keys as it may."""

    code = "too_many_keys"
    title = "There are too many keys"
    status = 409

    def __init__(self, maximum: int) -> None:
        super().__init__(f"An account may have {maximum} keys. Delete those that are not needed.")
