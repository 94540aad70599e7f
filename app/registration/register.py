"""Registration of a new account."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import delete, or_, select

from app.accounts import names
from app.accounts.models import Account
from app.adapters.statements import insert_if_absent
from app.audit.record import Event, record_event
from app.authentication.passwords.validate import validate_new_password
from app.errors import FieldErrors, InvalidInput
from app.opaque_tokens import generate_code, generate_id, normalize_code
from app.registration.emails import (
    CODE_LIFETIME,
    REGISTRATION_LIFETIME,
    compute_code_digest,
    count_registration_email,
    enqueue_registration_email,
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
    """The validated fields of a registration."""

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
    """Reserve the username, email a confirmation and return the `registration` handle.

    An email address that belongs to an account gets a notice instead; the answer is the same.
    Raises RegistrationClosed, InvalidInput, UsernameTaken or Busy.
    """
    if work.settings.registration is not RegistrationMode.OPEN:
        raise RegistrationClosed
    fields = {"username": username, "email": email, "name": name}
    registration = _validate(work, client_info, **fields, password=password, locale=locale)
    work.commit_and_release()
    password_hash = (
        work.hasher.hash(registration.password) if registration.password is not None else None
    )
    code = generate_code()
    pending_id = _reserve_username(work, registration, password_hash, code)
    account = _find_account_with_email(work, registration)
    pending = work.db.get_one(PendingRegistration, pending_id)
    may_send = count_registration_email(
        work, account=account, recipient=registration.email_canonical
    )
    enqueue_registration_email(
        work,
        subject=pending_id,
        pending=pending,
        account=account,
        code=code,
        expires_at=pending.expires_at,
        withheld=not may_send,
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
    """Reserve the username for a day. Raises UsernameTaken."""
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
    """Return the account with this email address.

    Call it after the reservation, to see accounts confirmed meanwhile. Raises UsernameTaken if an
    account has the username, whether or not the address is known.
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
