"""Access tokens: signed, short-lived, in the shape of RFC 9068."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.opaque_tokens import new_id

if TYPE_CHECKING:
    from app.accounts.models import Account
    from app.sessions.models import Session
    from app.unit_of_work import UnitOfWork

TYP = "at+jwt"
CLIENT = "doorward"  # the client_id of whoever named none


def mint_access_token(work: UnitOfWork, account: Account, session: Session, *, roles: tuple[str, ...]) -> tuple[str, int]:
    """A token and its life in seconds; it never outlives its session."""
    issued = int(work.now.timestamp())
    expires = min(issued + int(work.settings.access_token_ttl.total_seconds()), int(session.absolute_until.timestamp()))
    claims = {
        "iss": work.settings.issuer,
        "sub": account.id,
        "aud": work.settings.audience,
        "exp": expires,
        "iat": issued,
        "jti": new_id("jti"),
        "client_id": CLIENT,
        "sid": session.id,
        "ep": account.epoch,
        "rv": account.roles_version,
        "scope": "",
        "roles": list(roles),
        "auth_time": int(session.auth_time.timestamp()),
        "amr": session.amr.split(),
        "preferred_username": account.username,
    }
    return work.keys.sign(TYP, claims), expires - issued
