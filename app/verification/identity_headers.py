"""Identity headers for upstream applications, and a signed token with the same content."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from app.opaque_tokens import generate_id
from app.signing_keys.models import SigningKeyPurpose
from app.verification.policies import get_policy

if TYPE_CHECKING:
    from app.principal import Principal
    from app.unit_of_work import UnitOfWork

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
    work: UnitOfWork, principal: Principal, *, policy: str
) -> dict[str, str]:
    """Return every identity header, empty where it does not apply.

    Raises UnknownPolicy or UnsafeHeaderValue.
    """
    audience = get_policy(work.settings, policy).audience
    found = {
        SUBJECT: principal.account_id,
        USERNAME: principal.username,
        ROLES: " ".join(principal.roles),
        SCOPES: " ".join(principal.scopes),
        SESSION: principal.session_id,
        KEY: principal.key_id,
        IDENTITY: _sign_identity(work, principal, policy=policy, audience=audience)
        if audience
        else "",
    }
    for name, text in found.items():
        if not PRINTABLE.fullmatch(text):
            raise UnsafeHeaderValue(name)
    return found


def _sign_identity(work: UnitOfWork, principal: Principal, *, policy: str, audience: str) -> str:
    """Sign a token for the policy's audience, with a signing key that access tokens do not use."""
    issued = int(work.now.timestamp())
    claims = {
        "iss": work.settings.issuer,
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
    return work.signing_keys.sign(SigningKeyPurpose.IDENTITY, claims)
