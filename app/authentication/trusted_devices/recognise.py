"""Recognising a device before its owner's password is checked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import literal, update

from app.adapters.database import count_changed_rows
from app.authentication.throttling.password_attempts import (
    Attempt,
    spent,
    subject_of_name,
    take,
    take_unhindered,
)
from app.authentication.trusted_devices.models import Device
from app.opaque_tokens import digest, find

if TYPE_CHECKING:
    from app.accounts.models import Account
    from app.principal import ClientInfo
    from app.unit_of_work import UnitOfWork

PREFIX = "dwd"
NOBODY = ""  # the account whose devices none are
# Tries in a row from one device. Then it is a stranger like any other: somebody else may hold it.
MOST = 20


def take_attempt(
    work: UnitOfWork,
    client_info: ClientInfo,
    account: Account | None,
    *,
    canonical: str,
    device_token: str | None,
) -> Attempt:
    """Count a try for a password: by the device where it is known, by the source where it is not.

    `canonical` is the name that was typed, counted where nobody has it. The account must be locked. Raises TooManyRequests.
    """
    # Asked of nobody's devices too, so that it costs the same.
    device_id = (
        _recognise(work, account.id if account else NOBODY, device_token)
        if device_token is not None
        else None
    )
    if account is None:
        return take(work, subject=subject_of_name(work, canonical), bucket=client_info.bucket)
    if device_id is None:
        return take(work, subject=account.id, bucket=client_info.bucket)
    return take_unhindered(work, subject=account.id, counter=device_id)


def _recognise(work: UnitOfWork, account_id: str, token: str) -> str | None:
    """The device that the token is of, if it is one of this account's and has tries left."""
    device_id = find(PREFIX, "dev", token)
    known = device_id is not None and count_changed_rows(
        work.db,
        update(Device)
        .where(
            Device.id == device_id,
            Device.account_id == account_id,
            Device.digest == digest(token),
            Device.expires_at > work.now,
            ~spent(literal(device_id), MOST),
        )
        .values(last_used_at=work.now)
        .execution_options(synchronize_session=False),
    )
    return device_id if known else None
