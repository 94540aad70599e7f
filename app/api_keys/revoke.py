"""Revoke API keys: by their owner, or after a leak report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import and_, or_, select

from app.accounts.models import find_account
from app.api_keys.models import PREFIX, ApiKey, build_live_clause, lock_api_key
from app.audit.record import Event, record_event
from app.credential_status.revocations import record_api_key_revocation
from app.errors import NotFound
from app.notifications.mail.enqueue import Email, EmailTemplate, enqueue_email
from app.opaque_tokens import compute_digest, parse_row_id

if TYPE_CHECKING:
    from app.principal import ClientInfo, Principal
    from app.unit_of_work import UnitOfWork

DELETED, LEAKED = "deleted", "leaked"


def delete_owned_api_key(
    work: UnitOfWork, principal: Principal, client_info: ClientInfo, *, key_id: str
) -> None:
    """Delete a live key of the principal's account. Raises NotFound for any other key."""
    key = lock_api_key(work.db, principal.account_id, key_id, work.now)
    if key is None:
        raise NotFound
    revoke_locked_api_key(work, key, reason=DELETED)
    record_event(
        work,
        Event.API_KEY_DELETED,
        client_info=client_info,
        account_id=key.account_id,
        session_id=principal.session_id,
        key_id=key.id,
    )


def report_leak(work: UnitOfWork, client_info: ClientInfo, *, key: str) -> None:
    """Revoke the live key with this secret and email its owner. Do nothing for any other text.

    The caller cannot tell the two cases apart.
    """
    found = _find_key_by_secret(work, key)
    if found is None:
        return
    revoke_locked_api_key(work, found, reason=LEAKED)
    record_event(
        work,
        Event.API_KEY_LEAKED,
        client_info=client_info,
        account_id=found.account_id,
        key_id=found.id,
    )
    owner = find_account(work.db, found.account_id)
    if owner is not None and owner.is_active:
        values = {
            "username": owner.username,
            "name": found.name,
            "prefix": found.prefix,
            "at": f"{work.now:%Y-%m-%d %H:%M} UTC",
        }
        enqueue_email(work, EmailTemplate.API_KEY_LEAKED, Email(owner.email, owner.locale, values))


def revoke_locked_api_key(work: UnitOfWork, key: ApiKey, *, reason: str) -> None:
    """Revoke a key that is live and locked, when the transaction commits."""
    key.ended_at, key.reason, key.version = work.now, reason, key.version + 1
    record_api_key_revocation(
        work, account_id=key.account_id, key_id=key.id, version=key.version, is_revoked=True
    )


def _find_key_by_secret(work: UnitOfWork, key: str) -> ApiKey | None:
    """Lock and return the live key with this secret, current or in its rotation overlap."""
    key_id = parse_row_id(PREFIX, "key", key)
    if key_id is None:
        return None
    shown = compute_digest(key)
    fits = or_(
        ApiKey.digest == shown, and_(ApiKey.old_digest == shown, ApiKey.old_until > work.now)
    )
    wanted = select(ApiKey).where(ApiKey.id == key_id, fits, build_live_clause(work.now))
    return work.db.scalar(wanted.with_for_update().execution_options(populate_existing=True))
