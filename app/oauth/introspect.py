"""What a credential is worth at this moment (RFC 7662), for a server that cannot or does not want to check it itself."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from app.errors import Unauthenticated
from app.sessions.refresh_tokens import has_refresh_token_prefix
from app.verification.api_keys import has_api_key_prefix, verify_api_key
from app.verification.session_tokens import decode_access_token, verify_claims, verify_refresh_token

if TYPE_CHECKING:
    from app.principal import Principal
    from app.unit_of_work import UnitOfWork


@dataclass(frozen=True, slots=True)
class IntrospectionResult:
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


def introspect_token(work: UnitOfWork, *, token: str) -> IntrospectionResult | None:
    """What the credential is worth; None for every other, whatever is the matter with it. Raises TooManyRequests for a key."""
    try:
        if has_api_key_prefix(token):
            return _build_result(work, "api_key", verify_api_key(work, token))
        if has_refresh_token_prefix(token):
            return _build_result(work, "refresh_token", verify_refresh_token(work, token))
        claims = decode_access_token(work, token)
        return _build_result(
            work, "Bearer", verify_claims(work, claims), iat=claims["iat"], jti=claims["jti"]
        )
    except Unauthenticated:
        return None


def _build_result(
    work: UnitOfWork,
    token_type: str,
    principal: Principal,
    *,
    iat: int | None = None,
    jti: str | None = None,
) -> IntrospectionResult:
    return IntrospectionResult(
        token_type=token_type,
        sub=principal.account_id,
        username=principal.username,
        scope=" ".join(principal.scopes),
        client_id=principal.key_id or principal.client_id,
        iss=work.settings.issuer,
        aud=work.settings.audience,
        sid=principal.session_id or principal.key_id,
        exp=_to_seconds(principal.expires_at),
        auth_time=_to_seconds(principal.auth_time),
        iat=iat,
        jti=jti,
    )


def _to_seconds(moment: datetime | None) -> int | None:
    return int(moment.timestamp()) if moment is not None else None
