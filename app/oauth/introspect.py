"""Token introspection (RFC 7662): report the current state of a credential to another server."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from app.errors import Unauthenticated
from app.verification.credentials import (
    CredentialType,
    PresentedCredential,
    parse_token,
    principal_for,
)

if TYPE_CHECKING:
    from app.principal import Principal
    from app.settings import Settings
    from app.unit_of_work import UnitOfWork

TOKEN_TYPES = {
    CredentialType.ACCESS_TOKEN: "Bearer",
    CredentialType.REFRESH_TOKEN: "refresh_token",
    CredentialType.API_KEY: "api_key",
}


@dataclass(frozen=True, slots=True)
class IntrospectionResult:
    """The state of an active credential. Members that its kind does not have are None."""

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
    """Return the current state of an active credential, or None for any other text.

    Raises TooManyRequests if an API key is over its rate limit.
    """
    presented = parse_token(token)
    try:
        principal = principal_for(work, presented)
    except Unauthenticated:
        return None
    return build_introspection(work.settings, presented, principal)


def build_introspection(
    settings: Settings, presented: PresentedCredential, principal: Principal
) -> IntrospectionResult:
    """Describe an active credential."""
    return IntrospectionResult(
        token_type=TOKEN_TYPES[presented.type],
        sub=principal.account_id,
        username=principal.username,
        scope=" ".join(principal.scopes),
        client_id=principal.key_id or principal.client_id,
        iss=settings.issuer,
        aud=settings.audience,
        sid=principal.session_id or principal.key_id,
        exp=_to_seconds(principal.expires_at),
        auth_time=_to_seconds(principal.auth_time),
        iat=_to_seconds(principal.issued_at),
        jti=principal.token_id or None,
    )


def _to_seconds(moment: datetime | None) -> int | None:
    return int(moment.timestamp()) if moment is not None else None
