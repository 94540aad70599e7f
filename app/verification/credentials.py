"""Presented credentials, and the one function that turns a credential into a principal.

Handlers, introspection, revocation, pages and gateway checks all call `principal_for`, so a
credential is accepted or refused by the same rules everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from app.api_keys.models import PREFIX
from app.sessions.signed_handles import has_refresh_token_prefix
from app.verification.api_keys import verify_api_key
from app.verification.session_tokens import (
    verify_access_token,
    verify_page_cookie,
    verify_refresh_token,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from app.principal import Principal
    from app.unit_of_work import UnitOfWork


class CredentialType(Enum):
    """The kinds of secrets that a request can present."""

    ACCESS_TOKEN = "access_token"  # noqa: S105 - a kind, not a secret
    REFRESH_TOKEN = "refresh_token"  # noqa: S105 - a kind, not a secret
    API_KEY = "api_key"
    PAGE_COOKIE = "page_cookie"


@dataclass(frozen=True, slots=True)
class PresentedCredential:
    """A secret from a request, not verified yet. The secret never appears in a repr."""

    type: CredentialType
    secret: str = field(repr=False)


def parse_bearer(secret: str) -> PresentedCredential:
    """Classify a bearer credential as an API key or an access token.

    Refresh tokens are not bearer credentials: one that is sent as such is refused as an access
    token.
    """
    is_api_key = secret.startswith(f"{PREFIX}_")
    return PresentedCredential(
        CredentialType.API_KEY if is_api_key else CredentialType.ACCESS_TOKEN, secret
    )


def parse_token(token: str) -> PresentedCredential:
    """Classify a token whose kind the caller does not state, as in RFC 7009 and RFC 7662."""
    if has_refresh_token_prefix(token):
        return PresentedCredential(CredentialType.REFRESH_TOKEN, token)
    return parse_bearer(token)


def principal_for(work: UnitOfWork, presented: PresentedCredential) -> Principal:
    """Verify the credential and return its principal.

    Raises Unauthenticated if it is invalid, expired or revoked, and TooManyRequests for an API key
    over its rate limit.
    """
    return _VERIFIERS[presented.type](work, presented.secret)


_VERIFIERS: Mapping[CredentialType, Callable[[UnitOfWork, str], Principal]] = {
    CredentialType.ACCESS_TOKEN: verify_access_token,
    CredentialType.REFRESH_TOKEN: verify_refresh_token,
    CredentialType.API_KEY: verify_api_key,
    CredentialType.PAGE_COOKIE: verify_page_cookie,
}
