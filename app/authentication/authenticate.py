"""The one function that authenticates a user.

Logging in, authenticating again and changing the password call `authenticate` and nothing below it:
throttling, trusted devices and the audit of failures are part of it.

A second factor plugs in here: `authenticate` then returns `Authenticated | FactorRequired`, and
mypy lists the callers that have to answer with the challenge.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from app.accounts.models import Account, lock_account, lock_account_by_identifier
from app.accounts.names import Identifier
from app.audit.record import Event, record_event
from app.authentication.errors import InvalidCredentials, WrongPassword
from app.authentication.passwords.verify import check_password, lock_unchanged_account
from app.authentication.throttling.password_attempts import (
    PasswordAttempt,
    build_name_subject,
    clear_failures,
    count_attempt,
    count_trusted_attempt,
    record_failure,
    refund_attempt,
    wait_for_attempts_in_flight,
)
from app.authentication.trusted_devices.manage import recognize_device
from app.errors import Busy, Unauthenticated
from app.principal import Principal
from app.rate_limits.errors import AttemptsInFlight

if TYPE_CHECKING:
    from app.principal import ClientInfo
    from app.unit_of_work import UnitOfWork

MAX_WAIT_SECONDS = 1.0
# Authentication method references (RFC 8176).
PASSWORD = "pwd"  # noqa: S105 - the name of a method
SECOND_CHANNEL = "mca"


@dataclass(frozen=True, slots=True)
class Authenticated:
    """A locked account whose user has authenticated, by which methods (RFC 8176) and when.

    `auth_time` is None for a session that was approved from another one: no credential was
    presented in it, so it never counts as recent authentication.
    """

    account: Account
    methods: frozenset[str]
    auth_time: datetime | None


@dataclass(frozen=True, slots=True)
class PresentedPassword:
    """A password, with the token of a trusted device if the client has one."""

    password: str = field(repr=False)
    device_token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class SignedInUser:
    """A user who is signed in and authenticates again. The account is locked."""

    principal: Principal
    account: Account


def lock_signed_in_user(work: UnitOfWork, principal: Principal) -> SignedInUser:
    """Lock the account of a signed-in user. Raises Unauthenticated if it no longer exists."""
    account = lock_account(work.db, principal.account_id)
    if account is None:
        raise Unauthenticated
    return SignedInUser(principal, account)


def authenticate(
    work: UnitOfWork,
    client_info: ClientInfo,
    user: Identifier | SignedInUser,
    presented: PresentedPassword,
    *,
    build_changes: Callable[[], Mapping[str, object]] = dict,
) -> Authenticated:
    """Verify the password of a user and lock the account.

    `build_changes` returns account columns to write in the statement that locks the account. It is
    called once the password is verified, and the attempt does not count if it raises Busy.

    The transaction is committed before the password is hashed. Raises InvalidCredentials, or
    WrongPassword if the user is signed in, TooManyRequests, Unauthenticated or Busy.
    """
    account, attempt = _count_attempt(work, client_info, user, presented)
    try:
        usable = None if attempt.is_locked_out else account
        verified = check_password(work, usable, presented.password)
        changes = build_changes() if verified else {}
    except Busy as busy:
        # The password was not decided upon, so the attempt must not count.
        refund_attempt(work, attempt)
        raise work.keep(busy) from None
    if account is None or not verified:
        record_failure(work, attempt)
        raise work.keep(_audit_failure(work, client_info, user, account, attempt))
    if not _complete(work, account, attempt, presented, changes=changes):
        raise work.keep(_audit_failure(work, client_info, user, account, attempt))
    return Authenticated(account, frozenset({PASSWORD}), work.now)


def _count_attempt(
    work: UnitOfWork,
    client_info: ClientInfo,
    user: Identifier | SignedInUser,
    presented: PresentedPassword,
) -> tuple[Account | None, PasswordAttempt]:
    """Lock the account and count the attempt.

    Programs on one machine may authenticate at the same moment. Those beyond the free attempts wait
    up to a second for the attempts in flight to be decided.
    """
    account = user.account if isinstance(user, SignedInUser) else _lock_account(work, user)
    waited = 0.0
    while True:
        try:
            return account, _count_attempt_once(work, client_info, user, account, presented)
        except AttemptsInFlight as error:
            if waited >= MAX_WAIT_SECONDS:
                raise
            work.rollback_and_release()
            patience = MAX_WAIT_SECONDS - waited
            waited += wait_for_attempts_in_flight(work, error, patience=patience)
            account = _lock_account(work, user)


def _lock_account(work: UnitOfWork, user: Identifier | SignedInUser) -> Account | None:
    if isinstance(user, SignedInUser):
        return lock_signed_in_user(work, user.principal).account
    return lock_account_by_identifier(work.db, user)


def _count_attempt_once(
    work: UnitOfWork,
    client_info: ClientInfo,
    user: Identifier | SignedInUser,
    account: Account | None,
    presented: PresentedPassword,
) -> PasswordAttempt:
    """Count the attempt for a trusted device if the client has one, otherwise for the source.

    Raises TooManyRequests.
    """
    if isinstance(user, SignedInUser):
        return count_attempt(work, subject=user.account.id, bucket=client_info.bucket)
    device_id = (
        recognize_device(work, account, presented.device_token)
        if presented.device_token is not None
        else None
    )
    if account is None:
        subject = build_name_subject(work, user.canonical)
        return count_attempt(work, subject=subject, bucket=client_info.bucket)
    if device_id is None:
        return count_attempt(work, subject=account.id, bucket=client_info.bucket)
    return count_trusted_attempt(work, subject=account.id, counter=device_id)


def _complete(
    work: UnitOfWork,
    account: Account,
    attempt: PasswordAttempt,
    presented: PresentedPassword,
    *,
    changes: Mapping[str, object],
) -> bool:
    """Lock the account, write the changes and clear its failures.

    If the account has changed meanwhile, the password is verified again: of two attempts at once,
    the first may have upgraded the hash that the second had read.
    """
    if lock_unchanged_account(work, account, changes=changes):
        clear_failures(work, attempt)
        return True
    current = lock_account(work.db, account.id)
    if current is None or not check_password(work, current, presented.password):
        return False
    if not lock_unchanged_account(work, current, changes=changes):
        return False
    clear_failures(work, attempt)
    return True


def _audit_failure(
    work: UnitOfWork,
    client_info: ClientInfo,
    user: Identifier | SignedInUser,
    account: Account | None,
    attempt: PasswordAttempt,
) -> InvalidCredentials | WrongPassword:
    """Record the failure and return the error to raise."""
    principal = user.principal if isinstance(user, SignedInUser) else None
    refused = Event.PASSWORD_REFUSED if principal else Event.LOGIN_FAILED
    record_event(
        work,
        Event.PASSWORD_LOCKED if attempt.is_locked_out else refused,
        client_info=client_info,
        account_id=account.id if account else None,
        session_id=principal.session_id if principal else None,
    )
    return WrongPassword() if principal else InvalidCredentials()
