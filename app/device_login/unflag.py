"""Withdraw the report of a suspicious session or device login request."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import update

from app.adapters.statements import count_changed_rows
from app.audit.record import Event, record_event
from app.authentication.throttling.suspicious_sources import unflag_suspicious_source
from app.authorization.models import ADMIN
from app.authorization.roles.administrators import is_still_admin
from app.device_login.models import DeviceLogin, DeviceLoginState, find_device_login
from app.opaque_tokens import is_id
from app.sessions import suspicious
from app.sessions.errors import SessionNotSuspicious

if TYPE_CHECKING:
    from app.principal import ClientInfo, Principal
    from app.unit_of_work import UnitOfWork


def clear_suspicious_flag(
    work: UnitOfWork, principal: Principal, client_info: ClientInfo, *, session_id: str
) -> None:
    """Withdraw the report and lift the limit on its source.

    The session stays revoked, the request denied, and their tokens stay invalid. The caller
    requires recent authentication. Raises NotFound or SessionNotSuspicious.
    """
    row = _find_visible_device_login(work, principal, session_id)
    if row is None:
        suspicious.clear_suspicious_session(work, principal, client_info, session_id=session_id)
        return
    cleared = count_changed_rows(
        work.db,
        update(DeviceLogin)
        .where(DeviceLogin.id == row.id, DeviceLogin.state == DeviceLoginState.SUSPICIOUS)
        .values(state=DeviceLoginState.DENIED)
        .execution_options(synchronize_session=False),
    )
    if not cleared:
        raise SessionNotSuspicious
    unflag_suspicious_source(work, session_id=row.id)
    record_event(
        work,
        Event.SESSION_CLEARED,
        client_info=client_info,
        account_id=row.account_id,
        session_id=row.id,
        actor=principal.account_id,
    )


def _find_visible_device_login(
    work: UnitOfWork, principal: Principal, session_id: str
) -> DeviceLogin | None:
    """Find a request that has not become a session, if the principal may see it."""
    row = find_device_login(work.db, session_id) if is_id("ses", session_id) else None
    if row is None or row.account_id is None or row.state == DeviceLoginState.REDEEMED:
        return None
    is_visible = row.account_id == principal.account_id or (
        ADMIN in principal.roles and is_still_admin(work.db, principal.account_id)
    )
    return row if is_visible else None
