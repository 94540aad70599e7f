"""Rename an API key or remove scopes from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.accounts.models import lock_account as account_locked
from app.api_keys.errors import ApiKeyNameTaken
from app.api_keys.models import ApiKey, list_live_names, lock_api_key
from app.api_keys.show import ApiKeyView, build_api_key_view
from app.audit.record import Event, record_event
from app.authorization.rights import has_scope
from app.credential_status.revocations import record_api_key_revocation
from app.errors import InvalidInput, NotFound

if TYPE_CHECKING:
    from collections.abc import Sequence

    from app.principal import ClientInfo, Principal
    from app.unit_of_work import UnitOfWork


def change_api_key(
    work: UnitOfWork,
    principal: Principal,
    client_info: ClientInfo,
    *,
    key_id: str,
    name: str | None = None,
    scopes: Sequence[str] | None = None,
) -> ApiKeyView:
    """Rename the key, or remove scopes from it. Removed scopes are gone from the next use on.

    Raises NotFound, InvalidInput or ApiKeyNameTaken.
    """
    if name is not None:
        account_locked(
            work.db, principal.account_id
        )  # account before key, the lock order everywhere
    key = lock_api_key(work.db, principal.account_id, key_id, work.now)
    if key is None:
        raise NotFound
    fields = _rename(work, key, name) + _remove_scopes(work, key, scopes)
    if fields:
        record_event(
            work,
            Event.API_KEY_CHANGED,
            client_info=client_info,
            account_id=key.account_id,
            session_id=principal.session_id,
            key_id=key.id,
            fields=" ".join(fields),
        )
    return build_api_key_view(key, work.now)


def _rename(work: UnitOfWork, key: ApiKey, name: str | None) -> list[str]:
    if name is None or name == key.name:
        return []
    if name in list_live_names(work.db, key.account_id, work.now):
        raise ApiKeyNameTaken
    key.name = name
    return ["name"]


def _remove_scopes(work: UnitOfWork, key: ApiKey, scopes: Sequence[str] | None) -> list[str]:
    if scopes is None:
        return []
    beyond = sorted({scope for scope in scopes if not has_scope(scope, key.scopes)})
    if beyond:
        raise InvalidInput(
            errors={
                "/scopes": [
                    f"{scope} is not a scope of the key; scopes can only be removed"
                    for scope in beyond
                ]
            }
        )
    scope = " ".join(sorted(set(scopes)))
    if scope == key.scope:
        return []
    key.scope, key.version = scope, key.version + 1
    record_api_key_revocation(
        work, account_id=key.account_id, key_id=key.id, version=key.version, is_revoked=False
    )
    return ["scopes"]
