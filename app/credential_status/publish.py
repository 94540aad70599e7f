"""Telling Redis what has ended: after the commit by whoever ended it, and again by the watcher of every process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.credential_status.api_key_cache import mark_key
from app.credential_status.models import ENDED, Kind, Revocation
from app.credential_status.session_cache import mark_account, mark_session

if TYPE_CHECKING:
    from app.adapters.cache import Cache
    from app.settings import Settings


def publish(cache: Cache, settings: Settings, row: Revocation, *, patient: bool = False) -> None:
    """Mark one revocation. Raises CacheAway."""
    if row.kind == Kind.SESSION:
        mark_session(
            cache, settings, account_id=row.account_id, session_id=row.ref, patient=patient
        )
    elif row.kind == Kind.ACCOUNT:
        mark_account(
            cache,
            settings,
            account_id=row.account_id,
            epoch=row.epoch,
            roles_version=row.roles_version,
            status=row.status,
            patient=patient,
        )
    elif row.kind == Kind.API_KEY:
        mark_key(
            cache,
            settings,
            key_id=row.ref,
            version=row.epoch,
            ended=row.status == ENDED,
            patient=patient,
        )
