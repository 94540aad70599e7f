"""Trusting, recognizing, listing and forgetting devices."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import delete, literal, select, update

from app.adapters.statements import count_changed_rows
from app.audit.record import Event, record_event
from app.authentication.throttling.password_attempts import has_failed_at_least
from app.authentication.trusted_devices.models import TrustedDevice
from app.errors import NotFound
from app.opaque_tokens import compute_digest, generate_id, generate_token, is_id, parse_row_id

if TYPE_CHECKING:
    from app.accounts.models import Account
    from app.principal import ClientInfo, Principal
    from app.unit_of_work import UnitOfWork

LIFETIME = timedelta(days=30)
MAX_DEVICES = 20
# Failures in a row from one device. After that it is treated as unknown, because it may have been
# stolen.
MAX_FAILURES = 20
PREFIX = "dwd"
NO_ACCOUNT = ""  # matches no row


@dataclass(frozen=True, slots=True)
class TrustedDeviceView:
    """A trusted device without its secret."""

    id: str
    name: str | None
    user_agent: str
    address: str
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime


def trust_device(
    work: UnitOfWork, client_info: ClientInfo, account: Account, *, name: str | None
) -> str:
    """Trust the device and return its token, which is shown only once.

    The least recently used devices beyond twenty are forgotten. The account must be locked.
    """
    kept = (
        select(TrustedDevice.id)
        .where(TrustedDevice.account_id == account.id)
        .order_by(TrustedDevice.last_used_at.desc(), TrustedDevice.id)
        .limit(MAX_DEVICES - 1)
    )
    work.db.execute(
        delete(TrustedDevice).where(
            TrustedDevice.account_id == account.id, TrustedDevice.id.not_in(kept.scalar_subquery())
        )
    )
    device_id = generate_id("dev")
    minted = generate_token(PREFIX, device_id)
    work.db.add(
        TrustedDevice(
            id=device_id,
            account_id=account.id,
            digest=minted.digest,
            name=name,
            user_agent=client_info.user_agent,
            address=client_info.address,
            created_at=work.now,
            last_used_at=work.now,
            expires_at=work.now + LIFETIME,
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


def recognize_device(work: UnitOfWork, account: Account | None, token: str) -> str | None:
    """Return the id of the trusted device with this token, if it has attempts left.

    The cost is the same without an account.
    """
    device_id = parse_row_id(PREFIX, "dev", token)
    if device_id is None:
        return None
    recognized = count_changed_rows(
        work.db,
        update(TrustedDevice)
        .where(
            TrustedDevice.id == device_id,
            TrustedDevice.account_id == (account.id if account else NO_ACCOUNT),
            TrustedDevice.digest == compute_digest(token),
            TrustedDevice.expires_at > work.now,
            ~has_failed_at_least(literal(device_id), MAX_FAILURES),
        )
        .values(last_used_at=work.now)
        .execution_options(synchronize_session=False),
    )
    return device_id if recognized else None


def list_trusted_devices(work: UnitOfWork, principal: Principal) -> list[TrustedDeviceView]:
    """Return the trusted devices of the account, the most recently used first."""
    mine = select(TrustedDevice).where(
        TrustedDevice.account_id == principal.account_id, TrustedDevice.expires_at > work.now
    )
    return [
        _build_view(device)
        for device in work.db.scalars(
            mine.order_by(TrustedDevice.last_used_at.desc(), TrustedDevice.id)
        )
    ]


def forget_trusted_device(
    work: UnitOfWork, principal: Principal, client_info: ClientInfo, *, device_id: str
) -> None:
    """Stop trusting a device. Raises NotFound, also for another account's device."""
    mine = delete(TrustedDevice).where(
        TrustedDevice.id == device_id, TrustedDevice.account_id == principal.account_id
    )
    if not is_id("dev", device_id) or count_changed_rows(work.db, mine) != 1:
        raise NotFound
    record_event(
        work,
        Event.DEVICE_FORGOTTEN,
        client_info=client_info,
        account_id=principal.account_id,
        device_id=device_id,
    )


def forget_all_trusted_devices(work: UnitOfWork, account: Account) -> None:
    """Stop trusting every device of the account."""
    work.db.execute(
        delete(TrustedDevice)
        .where(TrustedDevice.account_id == account.id)
        .execution_options(synchronize_session=False)
    )


def _build_view(device: TrustedDevice) -> TrustedDeviceView:
    return TrustedDeviceView(
        id=device.id,
        name=device.name,
        user_agent=device.user_agent,
        address=device.address,
        created_at=device.created_at,
        last_used_at=device.last_used_at,
        expires_at=device.expires_at,
    )
