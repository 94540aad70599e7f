"""Problems of creating and changing API keys."""

from __future__ import annotations

from app.errors import Problem


class ApiKeyNameTaken(Problem):
    """Another live key of the account has this name."""

    code = "key_name_taken"
    title = "API key name already in use"
    status = 409

    def __init__(self) -> None:
        super().__init__("Choose another name, or delete the other key first.")


class TooManyApiKeys(Problem):
    """The account has the maximum number of live keys."""

    code = "too_many_keys"
    title = "Too many API keys"
    status = 409

    def __init__(self, maximum: int) -> None:
        super().__init__(
            f"An account can have {maximum} API keys. Delete the ones you no longer need."
        )
