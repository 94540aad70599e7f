"""What a credential is worth at this moment (RFC 7662), for a server that cannot or does not want to check it itself."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from app.errors import Unauthenticated
from app.sessions.refresh_tokens import looks_like_a_refresh_token
from app.verification.api_keys import looks_like_a_key, verify_api_key
from app.verification.session_tokens import bearer_of, claims_of, verify_refresh_token

if TYPE_CHECKING:
    from app.principal import Principal
    from app.unit_of_work import UnitOfWork


@dataclass(frozen=True, slots=True)
class Active:
    """A credential that counts. What is not known of its kind is None."""

    token_type: str
    sub: str
    username: str
    scope: str
    client_id: str
    iss: str
    aud: str
    sid: str
    exp: int | None
    auth_time: int | None
    iat: int | None = None
    jti: str | None = None


def introspect(work: UnitOfWork, *, token: str) -> Active | None:
    """What the credential is worth; None for every other, whatever is the matter with it. Raises TooManyRequests for a key."""
    try:
        if looks_like_a_key(token):
            return _active(work, "api_key", verify_api_key(work, token))
        if looks_like_a_refresh_token(token):
            return _active(work, "refresh_token", verify_refresh_token(work, token))
        claims = claims_of(work, token)
        return _active(
            work, "Bearer", bearer_of(work, claims), iat=claims["iat"], jti=claims["jti"]
        )
    except Unauthenticated:
        return None


def _active(
    work: UnitOfWork,
    token_type: str,
    principal: Principal,
    *,
    iat: int | None = None,
    jti: str | None = None,
) -> Active:
    return Active(
        token_type=token_type,
        sub=principal.account_id,
        username=principal.username,
        scope=" ".join(principal.scopes),
        client_id=principal.key_id or principal.client_id,
        iss=work.settings.issuer,
        aud=work.settings.audience,
        sid=principal.session_id or principal.key_id,
        exp=_seconds(principal.expires_at),
        auth_time=_seconds(principal.auth_time),
        iat=iat,
        jti=jti,
    )


def _seconds(moment: datetime | None) -> int | None:
    return int(moment.timestamp()) if moment is not None else None
