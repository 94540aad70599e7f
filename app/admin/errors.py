"""How administering accounts can fail."""

from __future__ import annotations

from app.errors import Problem


class EmailTaken(Problem):
    """An administrator may know who has an account; at registration nobody is told."""

    code = "email_taken"
    title = "An account has this address"
    status = 409

    def __init__(self) -> None:
        super().__init__(
            "Look for it with GET /v1/accounts?q=…",
            errors={"/email": ["belongs to an account already"]},
        )


class AccountNotActive(Problem):
    """Its owner could do nothing with what was asked for."""

    code = "account_not_active"
    title = "The account is not active"
    status = 409

    def __init__(self) -> None:
        super().__init__("Make it active first: PATCH /v1/accounts/{id} with status active.")
