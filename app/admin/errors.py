"""Errors of account administration."""

from __future__ import annotations

from app.errors import Problem


class EmailTaken(Problem):
    """The email address has an account. Only administrators may learn this."""

    code = "email_taken"
    title = "Email address taken"
    status = 409

    def __init__(self) -> None:
        super().__init__(
            "An account has this email address. Find it with GET /v1/accounts?q=…",
            errors={"/email": ["belongs to an existing account"]},
        )


class AccountNotActive(Problem):
    """The account is disabled or deleted."""

    code = "account_not_active"
    title = "Account not active"
    status = 409

    def __init__(self) -> None:
        super().__init__(
            "The account is disabled or deleted. To activate it, set its status to active with "
            "PATCH /v1/accounts/{id}."
        )
