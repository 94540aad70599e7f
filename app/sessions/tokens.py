"""The tokens of a session: signed, short-lived access tokens (RFC 9068) and refresh tokens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from app.accounts.summary import AccountSummary
from app.authorization.models import ADMIN
from app.authorization.rights import list_roles, list_scopes, narrow_scopes
from app.opaque_tokens import compute_digest, generate_id
from app.sessions.public_clients import DEFAULT_CLIENT_ID
from app.sessions.signed_handles import build_refresh_token

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from app.accounts.models import Account
    from app.principal import Principal
    from app.sessions.models import Session
    from app.unit_of_work import UnitOfWork

JWT_TYP = "at+jwt"
# Tokens are sent in a header, and gateways reject or truncate long ones.
MAX_ROLES = 20
MAX_ROLES_BYTES = 2048
FINGERPRINT_LENGTH = 16
# Identifies the secret of the API key that a token was exchanged for.
FINGERPRINT_CLAIM = "key"
# Present in tokens of a session that was opened for requested scopes only.
NARROWED_CLAIM = "narrowed"


def get_session_scopes(work: UnitOfWork, session: Session, roles: Sequence[str]) -> tuple[str, ...]:
    """Return the scopes of the session: those it was opened for that its roles still allow."""
    allowed = list_scopes(work.settings, roles)
    return allowed if session.scope is None else narrow_scopes(session.scope.split(), allowed)


def get_session_roles(session: Session, roles: Sequence[str]) -> tuple[str, ...]:
    """Return the roles that count in the session.

    One with requested scopes never has the admin role.
    """
    return tuple(roles) if session.scope is None else exclude_admin(roles)


def exclude_admin(roles: Iterable[str]) -> tuple[str, ...]:
    return tuple(role for role in roles if role != ADMIN)


def sign_access_token(
    work: UnitOfWork,
    account: Account,
    session: Session,
    *,
    roles: tuple[str, ...],
    resource_roles: tuple[str, ...] = (),
    max_expires_at: datetime | None = None,
) -> tuple[str, int]:
    """Sign an access token of a session. Returns the token and its lifetime in seconds.

    It expires with the session and no later than `max_expires_at`. `resource_roles` are added to
    its roles.
    """
    claims = {
        "client_id": session.effective_client_id,
        "sid": session.id,
        "ep": account.epoch,
        "rv": account.roles_version,
        "scope": " ".join(get_session_scopes(work, session, roles)),
        **_build_role_claims(get_session_roles(session, roles) + resource_roles),
        **({NARROWED_CLAIM: True} if session.scope is not None else {}),
        **(
            {"auth_time": int(session.auth_time.timestamp())}
            if session.auth_time is not None
            else {}
        ),
        "amr": session.amr.split(),
        "preferred_username": account.username,
    }
    latest = (
        session.absolute_until
        if max_expires_at is None
        else min(session.absolute_until, max_expires_at)
    )
    return _sign(work, account.id, claims, expires_at=latest)


def sign_key_token(
    work: UnitOfWork, account: Account, principal: Principal, *, scopes: Sequence[str], secret: str
) -> tuple[str, int]:
    """Sign the access token that an API key is exchanged for (RFC 6749 section 4.4).

    Returns the token and its lifetime in seconds. It expires with the key and is revoked with its
    secret.
    """
    claims = {
        "client_id": principal.key_id,
        "sid": principal.key_id,
        "ep": account.epoch,
        "rv": account.roles_version,
        "scope": " ".join(scopes),
        "roles": [],
        FINGERPRINT_CLAIM: build_secret_fingerprint(compute_digest(secret)),
        "preferred_username": account.username,
    }
    return _sign(work, account.id, claims, expires_at=principal.expires_at)


def build_secret_fingerprint(secret_digest: str) -> str:
    """Shorten the digest of a secret, enough to distinguish the secrets of one key."""
    return secret_digest[:FINGERPRINT_LENGTH]


def _build_role_claims(roles: tuple[str, ...]) -> dict[str, object]:
    """Build the claims of the roles that fit.

    `roles_truncated` makes verification look up the others.
    """
    kept: list[str] = []
    for role in roles[:MAX_ROLES]:
        if len(",".join([*kept, role])) > MAX_ROLES_BYTES:
            break
        kept.append(role)
    return {"roles": kept} if len(kept) == len(roles) else {"roles": kept, "roles_truncated": True}


def _sign(
    work: UnitOfWork, account_id: str, claims: dict[str, object], *, expires_at: datetime | None
) -> tuple[str, int]:
    issued = int(work.now.timestamp())
    expires = issued + int(work.settings.access_token_ttl.total_seconds())
    if expires_at is not None:
        expires = min(expires, int(expires_at.timestamp()))
    registered = {
        "iss": work.settings.issuer,
        "sub": account_id,
        "aud": work.settings.audience,
        "exp": expires,
        "iat": issued,
        "jti": generate_id("jti"),
    }
    return work.signing_keys.sign(JWT_TYP, registered | claims), expires - issued


@dataclass(frozen=True, slots=True)
class SessionTokens:
    """Access and refresh token of a session, with what a frontend needs.

    Secrets are not in the repr.
    """

    access_token: str = field(repr=False)
    expires_in: int
    refresh_token: str = field(repr=False)
    refresh_expires_in: int
    session_id: str
    account: AccountSummary
    resources: Mapping[str, str]
    scope: str = ""
    client_id: str = DEFAULT_CLIENT_ID
    device_token: str | None = field(default=None, repr=False)
    token_type: str = "Bearer"  # noqa: S105 - the scheme, RFC 6750


def issue_tokens(work: UnitOfWork, account: Account, session: Session) -> SessionTokens:
    """Issue an access token and return it with the current refresh token of a live session."""
    roles = list_roles(work.db, account)
    access_token, expires_in = sign_access_token(work, account, session, roles=roles)
    return SessionTokens(
        access_token=access_token,
        expires_in=expires_in,
        refresh_token=build_refresh_token(work.settings.secret_key, session),
        refresh_expires_in=int((session.expires_at - work.now).total_seconds()),
        session_id=session.id,
        account=AccountSummary(
            account.id, account.username, account.name, get_session_roles(session, roles)
        ),
        resources=work.settings.resources,
        scope=" ".join(get_session_scopes(work, session, roles)),
        client_id=session.effective_client_id,
    )
