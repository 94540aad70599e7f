"""Publish revocations to Redis, after the commit and again from the cache watchers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.credential_status.api_key_cache import mark_api_key_changed
from app.credential_status.models import API_KEY_REVOKED, Revocation, RevocationKind
from app.credential_status.session_cache import mark_account_changed, mark_session_revoked

if TYPE_CHECKING:
    from app.adapters.cache import Cache
    from app.settings import Settings


def publish_revocation(
    cache: Cache, settings: Settings, row: Revocation, *, patient: bool = False
) -> None:
    """Publish one revocation. Raises CacheUnavailable."""
    if row.kind == RevocationKind.SESSION:
        mark_session_revoked(
            cache, settings, account_id=row.account_id, session_id=row.ref, patient=patient
        )
    elif row.kind == RevocationKind.ACCOUNT:
        mark_account_changed(
            cache,
            settings,
            account_id=row.account_id,
            epoch=row.epoch,
            roles_version=row.roles_version,
            status=row.status,
            patient=patient,
        )
    elif row.kind == RevocationKind.API_KEY:
        mark_api_key_changed(
            cache,
            settings,
            key_id=row.ref,
            version=row.epoch,
            is_revoked=row.status == API_KEY_REVOKED,
            patient=patient,
        )
