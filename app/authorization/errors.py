"""Errors of authorization."""

from __future__ import annotations

from app.errors import Forbidden, Problem


class LastAdmin(Problem):
    """The change would leave the service without an active administrator."""

    code = "last_admin"
    title = "Last administrator"
    status = 409

    def __init__(self) -> None:
        super().__init__(
            "This is the last active administrator. Grant the role admin to another account first."
        )


class InsufficientScope(Forbidden):
    """The credential is valid but lacks a scope (RFC 6750 section 3.1)."""

    code = "insufficient_scope"
    title = "Insufficient scope"

    def __init__(self, scope: str) -> None:
        challenge = f'Bearer realm="doorward", error="insufficient_scope", scope="{scope}"'
        super().__init__(
            f"This requires a credential with the scope {scope}.",
            headers={"WWW-Authenticate": challenge},
        )
