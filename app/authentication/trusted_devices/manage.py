"""Remembering a device, and the list of those that are."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import delete, select

from app.adapters.database import count_changed_rows
from app.audit.record import Event, record_event
from app.authentication.trusted_devices.models import Device
from app.authentication.trusted_devices.recognise import PREFIX
from app.errors import NotFound
from app.opaque_tokens import is_id, mint, new_id

if TYPE_CHECKING:
    from app.accounts.models import Account
    from app.principal import ClientInfo, Principal
    from app.unit_of_work import UnitOfWork

LIFE = timedelta(days=30)
MOST_DEVICES = 20


@dataclass(frozen=True, slots=True)
class DeviceView:
    """A remembered device without its secret."""

    id: str
    name: str | None
    user_agent: str
    address: str
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime


def remember(
    work: UnitOfWork, client_info: ClientInfo, account: Account, *, name: str | None
) -> str:
    """A device token, shown only now. The oldest beyond twenty are forgotten. The account must be locked."""
    kept = (
        select(Device.id)
        .where(Device.account_id == account.id)
        .order_by(Device.last_used_at.desc(), Device.id)
        .limit(MOST_DEVICES - 1)
    )
    work.db.execute(
        delete(Device).where(
            Device.account_id == account.id, Device.id.not_in(kept.scalar_subquery())
        )
    )
    device_id = new_id("dev")
    minted = mint(PREFIX, device_id)
    work.db.add(
        Device(
            id=device_id,
            account_id=account.id,
            digest=minted.digest,
            name=name,
            user_agent=client_info.user_agent,
            address=client_info.address,
            created_at=work.now,
            last_used_at=work.now,
            expires_at=work.now + LIFE,
        )
    )
    record_event(
        work,
        Event.DEVICE_REMEMBERED,
        client_info=client_info,
        account_id=account.id,
        device_id=device_id,
    )
    return minted.token


def list_devices(work: UnitOfWork, principal: Principal) -> list[DeviceView]:
    """The remembered devices of the account, the latest used first."""
    mine = select(Device).where(
        Device.account_id == principal.account_id, Device.expires_at > work.now
    )
    return [
        _view(device)
        for device in work.db.scalars(mine.order_by(Device.last_used_at.desc(), Device.id))
    ]


def forget_device(
    work: UnitOfWork, principal: Principal, client_info: ClientInfo, *, device_id: str
) -> None:
    """Its token counts for nothing from now on. Raises NotFound, also for a device of somebody else."""
    mine = delete(Device).where(Device.id == device_id, Device.account_id == principal.account_id)
    if not is_id("dev", device_id) or count_changed_rows(work.db, mine) != 1:
        raise NotFound
    record_event(
        work,
        Event.DEVICE_FORGOTTEN,
        client_info=client_info,
        account_id=principal.account_id,
        device_id=device_id,
    )


def forget_devices(work: UnitOfWork, account: Account) -> None:
    """None of them is known any more."""
    work.db.execute(
        delete(Device)
        .where(Device.account_id == account.id)
        .execution_options(synchronize_session=False)
    )


def _view(device: Device) -> DeviceView:
    return DeviceView(
        id=device.id,
        name=device.name,
        user_agent=device.user_agent,
        address=device.address,
        created_at=device.created_at,
        last_used_at=device.last_used_at,
        expires_at=device.expires_at,
    )
