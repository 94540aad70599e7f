"""Access tokens: signed, short-lived, in the shape of RFC 9068."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.authorization.models import ADMIN
from app.authorization.scopes import list_scopes, narrow_scopes
from app.opaque_tokens import compute_digest, generate_id

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from app.accounts.models import Account
    from app.principal import Principal
    from app.sessions.models import Session
    from app.unit_of_work import UnitOfWork

JWT_TYP = "at+jwt"
# A token travels in a header, and gateways cut or refuse long ones.
MAX_ROLES = 20
FINGERPRINT_LENGTH = 16
MAX_ROLES_BYTES = 2048
FINGERPRINT_CLAIM = (
    "key"  # the claim by which a token says which secret of its key it was traded for
)
NARROWED_CLAIM = "narrowed"  # the claim of a session that was opened for certain scopes


def get_session_scopes(work: UnitOfWork, session: Session, roles: Sequence[str]) -> tuple[str, ...]:
    """What the session may do: what it was opened for, as far as its owner may do that now."""
    held = list_scopes(work.settings, roles)
    return held if session.scope is None else narrow_scopes(session.scope.split(), held)


def get_session_roles(session: Session, roles: Sequence[str]) -> tuple[str, ...]:
    """The roles that the session has of its owner's. One that was opened for certain scopes administers nothing beyond them."""
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
    """A token and its life in seconds; it never outlives its session, nor `ends_at`. It names the roles `of_resource` too."""
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
    return _sign(work, account.id, claims, ends_at=latest)


def sign_key_token(
    work: UnitOfWork, account: Account, principal: Principal, *, scopes: Sequence[str], secret: str
) -> tuple[str, int]:
    """A token that an API key was traded for (RFC 6749 section 4.4), and its life in seconds. It ends with the key, and with its secret."""
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
    return _sign(work, account.id, claims, ends_at=principal.expires_at)


def build_secret_fingerprint(secret_digest: str) -> str:
    """A part of a digest: enough to tell two secrets of one key apart, and nothing that a secret could be found by."""
    return secret_digest[:FINGERPRINT_LENGTH]


def _build_role_claims(roles: tuple[str, ...]) -> dict[str, object]:
    """As many as fit; where some are left out the token says so, and a check asks for them."""
    kept: list[str] = []
    for role in roles[:MAX_ROLES]:
        if len(",".join([*kept, role])) > MAX_ROLES_BYTES:
            break
        kept.append(role)
    return {"roles": kept} if len(kept) == len(roles) else {"roles": kept, "roles_truncated": True}


def _sign(
    work: UnitOfWork, account_id: str, claims: dict[str, object], *, ends_at: datetime | None
) -> tuple[str, int]:
    issued = int(work.now.timestamp())
    expires = issued + int(work.settings.access_token_ttl.total_seconds())
    if ends_at is not None:
        expires = min(expires, int(ends_at.timestamp()))
    always = {
        "iss": work.settings.issuer,
        "sub": account_id,
        "aud": work.settings.audience,
        "exp": expires,
        "iat": issued,
        "jti": generate_id("jti"),
    }
    return work.signing_keys.sign(JWT_TYP, always | claims), expires - issued
