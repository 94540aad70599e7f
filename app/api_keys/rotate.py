"""Rotate an API key: replace its secret and keep its id, name, scopes and expiry."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from app.api_keys.create import lock_session_account
from app.api_keys.models import PREFIX, lock_api_key
from app.audit.record import Event, record_event
from app.credential_status.revocations import record_api_key_revocation
from app.errors import NotFound
from app.opaque_tokens import generate_token

if TYPE_CHECKING:
    from app.principal import ClientInfo, Principal
    from app.unit_of_work import UnitOfWork


@dataclass(frozen=True, slots=True)
class RotatedApiKey:
    """A key with its new secret, which is shown once."""

    id: str
    key: str = field(repr=False)
    name: str
    scopes: tuple[str, ...]
    created_at: datetime
    expires_at: datetime | None
    old_until: datetime


def rotate_api_key(
    work: UnitOfWork,
    principal: Principal,
    client_info: ClientInfo,
    *,
    key_id: str,
    overlap_seconds: int,
) -> RotatedApiKey:
    """Issue a new secret. The current one stays valid for the overlap; an older one ends now.

    Raises Unauthenticated or NotFound.
    """
    lock_session_account(work, principal)  # account before key, the lock order everywhere
    key = lock_api_key(work.db, principal.account_id, key_id, work.now)
    if key is None:
        raise NotFound
    minted = generate_token(PREFIX, key.id)
    old_until = work.now + timedelta(seconds=overlap_seconds)
    key.old_digest, key.old_until = (key.digest, old_until) if overlap_seconds else (None, None)
    key.digest, key.version = minted.digest, key.version + 1
    record_api_key_revocation(
        work, account_id=key.account_id, key_id=key.id, version=key.version, is_revoked=False
    )
    record_event(
        work,
        Event.API_KEY_ROTATED,
        client_info=client_info,
        account_id=key.account_id,
        session_id=principal.session_id,
        key_id=key.id,
        overlap_seconds=overlap_seconds,
    )
    return RotatedApiKey(
        key.id, minted.token, key.name, key.scopes, key.created_at, key.expires_at, old_until
    )
