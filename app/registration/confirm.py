"""Confirming an email address, which opens the account."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import delete, select, update

from app.accounts.open_account import NewAccount, open_account
from app.accounts.summary import AccountSummary
from app.audit.record import Event, record_event
from app.authentication.passwords.validate import validate_new_password
from app.authorization.roles.administrators import can_create_first_admin, has_any_admin
from app.authorization.roles.assign import add_role
from app.confirmations.errors import InvalidToken
from app.confirmations.issue import invalidate_tokens
from app.confirmations.models import ConfirmationPurpose
from app.confirmations.redeem import get_token_subject, parse_token_purpose, redeem_token
from app.errors import InvalidInput
from app.opaque_tokens import normalize_code
from app.rate_limits.count import count_request
from app.registration.emails import is_correct_code
from app.registration.models import PendingRegistration

if TYPE_CHECKING:
    from app.principal import ClientInfo
    from app.unit_of_work import UnitOfWork

MAX_CODE_ATTEMPTS = 5
LINK_PURPOSES = (ConfirmationPurpose.REGISTRATION, ConfirmationPurpose.BOOTSTRAP)
COPIED_COLUMNS = (
    PendingRegistration.username,
    PendingRegistration.email,
    PendingRegistration.email_canonical,
    PendingRegistration.name,
    PendingRegistration.locale,
)


def get_username_for_confirmation(work: UnitOfWork, *, token: str) -> str:
    """Return the username that a link confirms. Raises InvalidToken."""
    return _get_pending_registration(work, token).username


def confirm_registration(
    work: UnitOfWork,
    client_info: ClientInfo,
    *,
    token: str | None,
    registration: str | None,
    code: str | None,
    password: str | None,
) -> AccountSummary:
    """Open the account of an emailed link, or of a registration and its emailed code.

    Raises InvalidToken, InvalidInput, TooManyRequests or Busy.
    """
    if token is not None and registration is None and code is None:
        return confirm_by_link(work, client_info, token=token, password=password)
    if token is None and registration is not None and code is not None:
        return confirm_by_code(
            work, client_info, registration=registration, code=code, password=password
        )
    raise InvalidInput(
        "Send token and password, or registration and code.",
        errors={"/token": ["send either this, or registration and code"]},
    )


def confirm_by_link(
    work: UnitOfWork, client_info: ClientInfo, *, token: str, password: str | None
) -> AccountSummary:
    """Open the account of a link, with a password chosen now.

    A password given at registration does not count, because only the link proves who owns the
    address. Raises InvalidToken, InvalidInput or Busy.
    """
    pending = _get_pending_registration(work, token)
    text = _validate_password(work, client_info, pending, password)
    work.commit_and_release()
    password_hash = work.hasher.hash(text)
    purpose = parse_token_purpose(token, LINK_PURPOSES)
    # Of two links used at once, the second finds an administrator.
    if purpose is ConfirmationPurpose.BOOTSTRAP and not can_create_first_admin(work.db):
        raise InvalidToken
    _lock_pending_registration(work, pending.id)
    redeem_token(work, purpose, token)
    return _open_account(work, client_info, pending.id, password_hash)


def confirm_by_code(
    work: UnitOfWork,
    client_info: ClientInfo,
    *,
    registration: str,
    code: str,
    password: str | None = None,
) -> AccountSummary:
    """Open the account with the password given at registration.

    The handle proves who registered, and the code who owns the address. Each of the five attempts
    is counted before the code is verified. Raises InvalidToken, InvalidInput, TooManyRequests or
    Busy.
    """
    count_request(work, client_info, "code")
    pending = _count_code_attempt(work, registration)
    if pending is None or not is_correct_code(work, pending, normalize_code(code)):
        record_event(work, Event.CONFIRMATION_REFUSED, client_info=client_info)
        raise work.keep(InvalidToken())
    password_hash = pending.password_hash
    if password_hash is None:
        text = _validate_password(work, client_info, pending, password)
        # The code was correct, so Busy must not use up an attempt.
        work.db.execute(
            update(PendingRegistration)
            .where(PendingRegistration.id == pending.id)
            .values(tries=PendingRegistration.tries - 1)
        )
        work.commit_and_release()
        password_hash = work.hasher.hash(text)
    elif password is not None:
        raise InvalidInput(errors={"/password": ["was already chosen at registration; omit it"]})
    return _open_account(work, client_info, pending.id, password_hash)


def _get_pending_registration(work: UnitOfWork, token: str) -> PendingRegistration:
    purpose = parse_token_purpose(token, LINK_PURPOSES)
    pending_id = get_token_subject(work, purpose, token).subject
    pending = work.db.scalar(
        select(PendingRegistration).where(
            PendingRegistration.id == pending_id, PendingRegistration.expires_at > work.now
        )
    )
    if pending is None or (purpose is ConfirmationPurpose.BOOTSTRAP and has_any_admin(work.db)):
        raise InvalidToken
    return pending


def _lock_pending_registration(work: UnitOfWork, pending_id: str) -> None:
    """Lock the registration before its token, so that a code and a link do not deadlock."""
    work.db.execute(
        select(PendingRegistration.id).where(PendingRegistration.id == pending_id).with_for_update()
    )


def _count_code_attempt(work: UnitOfWork, registration: str) -> PendingRegistration | None:
    return work.db.scalar(
        update(PendingRegistration)
        .where(
            PendingRegistration.id == registration,
            PendingRegistration.role.is_(None),
            PendingRegistration.tries < MAX_CODE_ATTEMPTS,
            PendingRegistration.code_expires_at > work.now,
            PendingRegistration.expires_at > work.now,
        )
        .values(tries=PendingRegistration.tries + 1)
        .returning(PendingRegistration)
    )


def _validate_password(
    work: UnitOfWork, client_info: ClientInfo, pending: PendingRegistration, password: str | None
) -> str:
    if password is None:
        raise InvalidInput(errors={"/password": ["is required"]})
    about = (pending.username, pending.email, pending.name)
    return validate_new_password(
        work.settings, password, field="/password", locale=client_info.locale, about=about
    )


def _open_account(
    work: UnitOfWork, client_info: ClientInfo, pending_id: str, password_hash: str
) -> AccountSummary:
    """Turn the registration into an account, once.

    Raises InvalidToken if its names were taken meanwhile.
    """
    pending = work.db.execute(
        delete(PendingRegistration)
        .where(PendingRegistration.id == pending_id, PendingRegistration.expires_at > work.now)
        .returning(*COPIED_COLUMNS, PendingRegistration.role)
    ).one_or_none()
    account_id = None
    if pending is not None:
        values = {column.key: getattr(pending, column.key) for column in COPIED_COLUMNS}
        account_id = open_account(work, NewAccount(**values, password_hash=password_hash))
    if pending is None or account_id is None:
        raise work.keep(InvalidToken())
    invalidate_tokens(work, ConfirmationPurpose.REGISTRATION, subject=pending_id)
    record_event(work, Event.ACCOUNT_CONFIRMED, client_info=client_info, account_id=account_id)
    if pending.role is not None:
        add_role(work, client_info, account_id=account_id, role=pending.role)
    roles = (pending.role,) if pending.role else ()
    return AccountSummary(account_id, pending.username, pending.name, roles)
