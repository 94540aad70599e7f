"""Asking for an account."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import delete, or_, select

from app.accounts import names
from app.accounts.models import Account
from app.adapters.database import insert_if_absent
from app.audit.record import Event, record_event
from app.authentication.passwords.validate import validate_new_password
from app.errors import FieldErrors, InvalidInput
from app.opaque_tokens import generate_code, generate_id, normalize_code
from app.registration.emails import (
    CODE_LIFETIME,
    REGISTRATION_LIFETIME,
    compute_code_digest,
    count_registration_email,
    queue_registration_email,
)
from app.registration.errors import RegistrationClosed, UsernameTaken
from app.registration.models import PendingRegistration
from app.settings import RegistrationMode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from app.principal import ClientInfo
    from app.unit_of_work import UnitOfWork


@dataclass(frozen=True, slots=True)
class RegistrationInput:
    """A registration whose every field is acceptable."""

    username: str
    email: str
    email_canonical: str
    name: str
    locale: str
    password: str | None


def register(
    work: UnitOfWork,
    client_info: ClientInfo,
    *,
    username: str,
    email: str,
    name: str,
    password: str | None = None,
    locale: str | None = None,
) -> str:
    """Reserve the username and mail the address. Returns the `registration` handle, whether the address is known or not.

    Raises RegistrationClosed, InvalidInput, UsernameTaken or Busy.
    """
    if work.settings.registration is not RegistrationMode.OPEN:
        raise RegistrationClosed
    wanted = _validate(
        work,
        client_info,
        username=username,
        email=email,
        name=name,
        password=password,
        locale=locale,
    )
    work.commit_and_release()
    password_hash = work.hasher.hash(wanted.password) if wanted.password is not None else None
    code = generate_code()
    pending_id = _reserve_username(work, wanted, password_hash, code)
    account = _find_account_with_email(work, wanted)
    pending = work.db.get_one(PendingRegistration, pending_id)
    withheld = count_registration_email(work, account=account, recipient=wanted.email_canonical)
    queue_registration_email(
        work,
        subject=pending_id,
        pending=pending,
        account=account,
        code=code,
        expires_at=pending.expires_at,
        withheld=withheld,
    )
    record_event(work, Event.REGISTRATION_REQUESTED, client_info=client_info)
    return pending_id


def _validate(
    work: UnitOfWork,
    client_info: ClientInfo,
    *,
    username: str,
    email: str,
    name: str,
    password: str | None,
    locale: str | None,
) -> RegistrationInput:
    faults: FieldErrors = {}
    members: Mapping[str, object] = {}
    canonical, address, address_canonical, text = "", "", "", None
    try:
        canonical = names.parse_username(username)
    except names.InvalidName as error:
        faults["/username"] = [str(error)]
    try:
        address, address_canonical = names.parse_email(email)
    except names.InvalidName as error:
        faults["/email"] = [str(error)]
    if password is not None:
        try:
            about = (username, email, name)
            text = validate_new_password(
                work.settings, password, field="/password", locale=client_info.locale, about=about
            )
        except InvalidInput as problem:
            faults, members = {**faults, **problem.errors}, problem.members
    if faults:
        raise InvalidInput(errors=faults, members=members)
    return RegistrationInput(
        canonical, address, address_canonical, name, locale or client_info.locale, text
    )


def _reserve_username(
    work: UnitOfWork, registration: RegistrationInput, password_hash: str | None, code: str
) -> str:
    """Take the username for a day. The unique index decides between two at once."""
    work.db.execute(
        delete(PendingRegistration).where(
            PendingRegistration.username == registration.username,
            PendingRegistration.expires_at <= work.now,
        )
    )
    pending_id = generate_id("reg")
    reserved = insert_if_absent(
        work.db,
        PendingRegistration,
        id=pending_id,
        username=registration.username,
        email=registration.email,
        email_canonical=registration.email_canonical,
        name=registration.name,
        locale=registration.locale,
        password_hash=password_hash,
        code_digest=compute_code_digest(work, pending_id, normalize_code(code)),
        code_expires_at=work.now + CODE_LIFETIME,
        tries=0,
        created_at=work.now,
        expires_at=work.now + REGISTRATION_LIFETIME,
    )
    if not reserved:
        raise UsernameTaken
    return pending_id


def _find_account_with_email(work: UnitOfWork, registration: RegistrationInput) -> Account | None:
    """The account that has the address. Asked after the reservation, so that one confirmed meanwhile is seen.

    Raises UsernameTaken when an account has the username, before the address is looked at.
    """
    accounts = work.db.scalars(
        select(Account).where(
            or_(
                Account.username == registration.username,
                Account.email_canonical == registration.email_canonical,
            )
        )
    ).all()
    if any(account.username == registration.username for account in accounts):
        raise UsernameTaken
    return next(iter(accounts), None)
