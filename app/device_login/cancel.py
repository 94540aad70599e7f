"""Cancel a device login request on the device that made it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import update

from app.adapters.statements import count_changed_rows
from app.audit.record import Event, record_event
from app.device_login.codes import find_by_device_code
from app.device_login.errors import DeviceLoginClosed, UnknownDeviceCode
from app.device_login.models import UNDECIDED_STATES, DeviceLogin, DeviceLoginState
from app.rate_limits.count import count_request

if TYPE_CHECKING:
    from app.principal import ClientInfo
    from app.unit_of_work import UnitOfWork


def cancel_device_login(work: UnitOfWork, client_info: ClientInfo, *, device_code: str) -> None:
    """Cancel an undecided request.

    Raises UnknownDeviceCode, DeviceLoginClosed or TooManyRequests.
    """
    count_request(work, client_info, "poll")
    row = find_by_device_code(work.db, device_code)
    if row is None:
        raise UnknownDeviceCode
    canceled = count_changed_rows(
        work.db,
        update(DeviceLogin)
        .where(
            DeviceLogin.id == row.id,
            DeviceLogin.state.in_(UNDECIDED_STATES),
            DeviceLogin.expires_at > work.now,
        )
        .values(state=DeviceLoginState.CANCELLED, user_code_digest=None, decided_at=work.now)
        .execution_options(synchronize_session=False),
    )
    if not canceled:
        raise DeviceLoginClosed
    record_event(
        work,
        Event.DEVICE_LOGIN_CANCELED,
        client_info=client_info,
        account_id=row.account_id,
        session_id=row.id,
    )
