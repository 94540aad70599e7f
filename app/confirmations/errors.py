"""The error of a confirmation token or code: one for all causes, so that it reveals none."""

from __future__ import annotations

from app.errors import Problem


class InvalidToken(Problem):
    """The token or code is unknown, used, expired, replaced or for another purpose."""

    code = "invalid_token"
    title = "The link or code is no longer valid"
    status = 400

    def __init__(
        self, detail: str = "It was used, replaced or has expired. Request a new one."
    ) -> None:
        super().__init__(detail)
