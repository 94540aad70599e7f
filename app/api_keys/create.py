"""Create an API key."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from app.accounts.models import lock_account
from app.api_keys.errors import ApiKeyNameTaken, TooManyApiKeys
from app.api_keys.expiry_warnings import get_initial_warned_days
from app.api_keys.models import PREFIX, ApiKey, list_live_names
from app.audit.record import Event, record_event
from app.authorization.models import ADMIN
from app.authorization.rights import has_scope, list_roles, list_scopes, narrow_scopes
from app.errors import InvalidInput, Unauthenticated
from app.opaque_tokens import generate_id, generate_token

if TYPE_CHECKING:
    from collections.abc import Sequence

    from app.accounts.models import Account
    from app.principal import ClientInfo, Principal
    from app.unit_of_work import UnitOfWork

MAX_KEYS = 50


@dataclass(frozen=True, slots=True)
class CreatedApiKey:
    """A new key with its secret, which is shown once."""

    id: str
    key: str = field(repr=False)
    name: str
    scopes: tuple[str, ...]
    created_at: datetime
    expires_at: datetime | None


def create_api_key(
    work: UnitOfWork,
    principal: Principal,
    client_info: ClientInfo,
    *,
    name: str,
    scopes: Sequence[str],
    expires_in: int | None,
) -> CreatedApiKey:
    """Create a key with the requested scopes. `expires_in` is in seconds; None means no expiry.

    Raises Unauthenticated, InvalidInput, ApiKeyNameTaken or TooManyApiKeys.
    """
    # The lock serializes concurrent requests, so they cannot exceed the quota or share a name.
    account = lock_session_account(work, principal)
    roles = list_roles(work.db, account)
    # The session needs the role too: a session that is limited to certain scopes has no admin role.
    if expires_in is None and not (ADMIN in roles and ADMIN in principal.roles):
        message = "must be a number of seconds; only administrators may omit the expiry"
        raise InvalidInput(errors={"/expires_in": [message]})
    # A key must not exceed the scopes of the session that creates it.
    held = narrow_scopes(principal.scopes, list_scopes(work.settings, roles))
    granted = _require_held_scopes(scopes, held)
    _require_free_name(work, account, name)
    lifetime = timedelta(seconds=expires_in) if expires_in is not None else None
    created = _add_key(work, account.id, name=name, scopes=granted, life=lifetime)
    record_event(
        work,
        Event.API_KEY_CREATED,
        client_info=client_info,
        account_id=account.id,
        session_id=principal.session_id,
        key_id=created.id,
    )
    return created


def _require_free_name(work: UnitOfWork, account: Account, name: str) -> None:
    """Raise ApiKeyNameTaken, or TooManyApiKeys if the account has reached its quota."""
    names = list_live_names(work.db, account.id, work.now)
    if name in names:
        raise ApiKeyNameTaken
    if len(names) >= MAX_KEYS:
        raise TooManyApiKeys(MAX_KEYS)


def lock_session_account(work: UnitOfWork, principal: Principal) -> Account:
    """Lock and return the account of the session.

    Raises Unauthenticated if the account was disabled or its password changed in the meantime: a
    key outlives a password change, so a session that the change revoked must not create one.
    """
    account = lock_account(work.db, principal.account_id)
    if account is None or not account.is_active or account.epoch != principal.epoch:
        raise Unauthenticated
    return account


def _require_held_scopes(asked: Sequence[str], held: Sequence[str]) -> tuple[str, ...]:
    """Return the requested scopes, sorted.

    Raises InvalidInput for a scope that the session lacks.
    """
    beyond = sorted({scope for scope in asked if not has_scope(scope, held)})
    if beyond:
        raise InvalidInput(
            errors={"/scopes": [f"{scope} is not a scope of this session" for scope in beyond]}
        )
    return tuple(sorted(set(asked)))


def _add_key(
    work: UnitOfWork, account_id: str, *, name: str, scopes: tuple[str, ...], life: timedelta | None
) -> CreatedApiKey:
    key_id = generate_id("key")
    minted = generate_token(PREFIX, key_id)
    expires_at = work.now + life if life is not None else None
    key = ApiKey(
        id=key_id,
        account_id=account_id,
        name=name,
        scope=" ".join(scopes),
        digest=minted.digest,
        created_at=work.now,
        expires_at=expires_at,
        warned_days=get_initial_warned_days(life),
    )
    work.db.add(key)
    return CreatedApiKey(key_id, minted.token, name, scopes, work.now, expires_at)
