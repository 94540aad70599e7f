"""How changing what somebody may do can fail."""

from __future__ import annotations

from app.errors import Forbidden, Problem


class LastAdmin(Problem):
    """Without this account's role nobody could administer the service any more."""

    code = "last_admin"
    title = "This is the last administrator"
    status = 409

    def __init__(self) -> None:
        super().__init__("Give the role admin to another active account first.")


class InsufficientScope(Forbidden):
    """The credential is good and may not do this (RFC 6750 section 3.1)."""

    code = "insufficient_scope"
    title = "The credential does not reach that far"

    def __init__(self, scope: str) -> None:
        challenge = f'Bearer realm="doorward", error="insufficient_scope", scope="{scope}"'
        super().__init__(f"This needs the scope {scope}.", headers={"WWW-Authenticate": challenge})
