"""Recognising a device before its owner's password is checked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import literal, update

from app.adapters.database import count_changed_rows
from app.authentication.throttling.password_attempts import (
    PasswordAttempt,
    build_name_subject,
    count_attempt,
    count_trusted_attempt,
    has_failed_at_least,
)
from app.authentication.trusted_devices.models import TrustedDevice
from app.opaque_tokens import compute_digest, parse_row_id

if TYPE_CHECKING:
    from app.accounts.models import Account
    from app.principal import ClientInfo
    from app.unit_of_work import UnitOfWork

PREFIX = "dwd"
NO_ACCOUNT = ""  # the account whose devices none are
# Tries in a row from one device. Then it is a stranger like any other: somebody else may hold it.
MAX_FAILURES_PER_DEVICE = 20


def count_password_attempt(
    work: UnitOfWork,
    client_info: ClientInfo,
    account: Account | None,
    *,
    canonical: str,
    device_token: str | None,
) -> PasswordAttempt:
    """Count a try for a password: by the device where it is known, by the source where it is not.

    `canonical` is the name that was typed, counted where nobody has it. The account must be locked. Raises TooManyRequests.
    """
    # Asked of nobody's devices too, so that it costs the same.
    device_id = (
        _find_trusted_device(work, account.id if account else NO_ACCOUNT, device_token)
        if device_token is not None
        else None
    )
    if account is None:
        return count_attempt(
            work, subject=build_name_subject(work, canonical), bucket=client_info.bucket
        )
    if device_id is None:
        return count_attempt(work, subject=account.id, bucket=client_info.bucket)
    return count_trusted_attempt(work, subject=account.id, counter=device_id)


def _find_trusted_device(work: UnitOfWork, account_id: str, token: str) -> str | None:
    """The device that the token is of, if it is one of this account's and has tries left."""
    device_id = parse_row_id(PREFIX, "dev", token)
    known = device_id is not None and count_changed_rows(
        work.db,
        update(TrustedDevice)
        .where(
            TrustedDevice.id == device_id,
            TrustedDevice.account_id == account_id,
            TrustedDevice.digest == compute_digest(token),
            TrustedDevice.expires_at > work.now,
            ~has_failed_at_least(literal(device_id), MAX_FAILURES_PER_DEVICE),
        )
        .values(last_used_at=work.now)
        .execution_options(synchronize_session=False),
    )
    return device_id if known else None
