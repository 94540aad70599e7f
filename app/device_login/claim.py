"""Claim a device login request by the code that the other device shows.

The first account to enter the code is the only one that can see and decide the request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import or_, select, update

from app.accounts.models import Account, find_account
from app.adapters.encryption import compute_name_digest
from app.audit.record import Event, record_event
from app.authentication.throttling.code_attempts import count_code_attempt, refund_code_attempt
from app.device_login.codes import compute_user_code_digests
from app.device_login.errors import UnknownUserCode
from app.device_login.models import DeviceLogin, DeviceLoginState
from app.device_login.show import DeviceLoginView, get_device_login
from app.errors import Unauthenticated
from app.sessions.show import get_device_label

if TYPE_CHECKING:
    from collections.abc import Sequence

    from app.principal import ClientInfo, Principal
    from app.unit_of_work import UnitOfWork


def claim_device_login(
    work: UnitOfWork, principal: Principal, client_info: ClientInfo, *, user_code: str
) -> DeviceLoginView:
    """Claim the request with this code and return it. Claiming it again has no effect.

    Raises UnknownUserCode, and TooManyRequests after five wrong codes.
    """
    account = find_account(work.db, principal.account_id)
    if account is None:
        raise Unauthenticated
    attempt = count_code_attempt(work, account_id=account.id, bucket=client_info.bucket)
    digests = compute_user_code_digests(work.settings, user_code)
    claimed = _claim_pending(work, principal, client_info, account, digests)
    if claimed is not None:
        record_event(
            work,
            Event.DEVICE_LOGIN_CLAIMED,
            client_info=client_info,
            account_id=account.id,
            session_id=claimed,
        )
    claimed_id = claimed or _find_claimed_earlier(work, account, digests)
    if claimed_id is None:
        record_event(work, Event.USER_CODE_REFUSED, client_info=client_info, account_id=account.id)
        raise work.keep(UnknownUserCode())
    refund_code_attempt(work, attempt)
    return get_device_login(work, principal, device_login_id=claimed_id)


def _claim_pending(
    work: UnitOfWork,
    principal: Principal,
    client_info: ClientInfo,
    account: Account,
    digests: Sequence[str],
) -> str | None:
    """Claim a pending request in one statement, so that only the first account succeeds.

    A request that names an account can be claimed by that account only.
    """
    return work.db.scalar(
        update(DeviceLogin)
        .where(
            DeviceLogin.user_code_digest.in_(digests),
            DeviceLogin.state == DeviceLoginState.PENDING,
            DeviceLogin.expires_at > work.now,
            or_(
                DeviceLogin.username_digest.is_(None),
                DeviceLogin.username_digest.in_(_digest_identifiers(work, account)),
            ),
        )
        .values(
            state=DeviceLoginState.CLAIMED,
            account_id=account.id,
            claimed_at=work.now,
            claimed_session_id=principal.session_id,
            claimed_address=client_info.address,
            claimed_device=get_device_label(work, principal),
        )
        .returning(DeviceLogin.id)
        .execution_options(synchronize_session=False)
    )


def _digest_identifiers(work: UnitOfWork, account: Account) -> list[str]:
    """Compute the digests that a request naming this account may have, one per secret key."""
    return [
        compute_name_digest([key], name)
        for key in work.settings.secret_key
        for name in (account.username, account.email_canonical)
    ]


def _find_claimed_earlier(work: UnitOfWork, account: Account, digests: Sequence[str]) -> str | None:
    return work.db.scalar(
        select(DeviceLogin.id).where(
            DeviceLogin.user_code_digest.in_(digests),
            DeviceLogin.state == DeviceLoginState.CLAIMED,
            DeviceLogin.expires_at > work.now,
            DeviceLogin.account_id == account.id,
        )
    )
