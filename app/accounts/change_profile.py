"""Changing the profile of an account."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.accounts.models import find_account
from app.accounts.summary import Profile, build_profile
from app.audit.record import Event, record_event
from app.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Mapping

    from app.principal import ClientInfo, Principal
    from app.unit_of_work import UnitOfWork

COLUMNS = {"name": "name", "locale": "locale", "timezone": "timezone", "metadata": "extra"}


def change_profile(
    work: UnitOfWork,
    principal: Principal,
    client_info: ClientInfo,
    *,
    changes: Mapping[str, object],
) -> Profile:
    """Change the given profile fields and audit their names."""
    account = find_account(work.db, principal.account_id)
    if account is None:
        raise NotFound
    for field, value in changes.items():
        setattr(account, COLUMNS[field], value)
    if changes:
        record_event(
            work,
            Event.ACCOUNT_CHANGED,
            client_info=client_info,
            account_id=account.id,
            fields=" ".join(sorted(changes)),
        )
    return build_profile(account)
