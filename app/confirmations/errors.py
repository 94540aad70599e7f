"""How a mailed secret can fail: in one way only, so that nobody learns which."""

from __future__ import annotations

from app.errors import Problem


class InvalidToken(Problem):
    """Unknown, used, expired, replaced by a newer one, or of another purpose: one answer for all."""

    code = "invalid_token"
    title = "The link or code is not valid any more"
    status = 400

    def __init__(
        self,
        detail: str = "It may have been used, replaced by a newer one, or be too old. Ask for a new one.",
    ) -> None:
        super().__init__(detail)
