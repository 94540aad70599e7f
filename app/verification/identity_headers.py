"""Identity headers for upstream applications, and a signed token with the same content."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from app.opaque_tokens import generate_id
from app.signing_keys.models import SigningKeyPurpose
from app.verification.policies import get_policy

if TYPE_CHECKING:
    from datetime import datetime

    from app.adapters.jwt import SigningKeySet
    from app.principal import Principal
    from app.settings import Settings

SUBJECT, USERNAME, ROLES, SCOPES = (
    "X-Auth-Subject",
    "X-Auth-Username",
    "X-Auth-Roles",
    "X-Auth-Scopes",
)
SESSION, KEY, IDENTITY = "X-Auth-Session", "X-Auth-Key", "X-Auth-Identity"
IDENTITY_HEADERS = (SUBJECT, USERNAME, ROLES, SCOPES, SESSION, KEY, IDENTITY)
LIFETIME_SECONDS = 60  # seconds
PRINTABLE = re.compile(r"[ -~]*")


class UnsafeHeaderValue(ValueError):
    """A value with characters that could end the header or be read in more than one way."""


def build_identity_headers(
    settings: Settings,
    signing_keys: SigningKeySet,
    principal: Principal,
    now: datetime,
    *,
    policy: str,
) -> dict[str, str]:
    """Return every identity header, empty where it does not apply.

    Raises UnknownPolicy or UnsafeHeaderValue.
    """
    audience = get_policy(settings, policy).audience
    found = {
        SUBJECT: principal.account_id,
        USERNAME: principal.username,
        ROLES: " ".join(principal.roles),
        SCOPES: " ".join(principal.scopes),
        SESSION: principal.session_id,
        KEY: principal.key_id,
        IDENTITY: "",
    }
    if audience:
        claims = _build_claims(settings, principal, now, policy=policy, audience=audience)
        found[IDENTITY] = signing_keys.sign(SigningKeyPurpose.IDENTITY, claims)
    for name, text in found.items():
        if not PRINTABLE.fullmatch(text):
            raise UnsafeHeaderValue(name)
    return found


def _build_claims(
    settings: Settings, principal: Principal, now: datetime, *, policy: str, audience: str
) -> dict[str, object]:
    """Build a token for the audience of the policy. It has signing keys of its own."""
    issued = int(now.timestamp())
    return {
        "iss": settings.issuer,
        "sub": principal.account_id,
        "aud": audience,
        "iat": issued,
        "exp": issued + LIFETIME_SECONDS,
        "jti": generate_id("jti"),
        "preferred_username": principal.username,
        "roles": list(principal.roles),
        "scope": " ".join(principal.scopes),
        "policy": policy,
        "sid" if principal.session_id else "key_id": principal.session_id or principal.key_id,
    }
