"""Asking for an account."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import delete, or_, select

from app.accounts import names
from app.accounts.models import Account
from app.adapters.database import insert_if_absent
from app.audit.record import Event, record_event
from app.authentication.passwords.choose import chosen_password
from app.errors import Faults, InvalidInput
from app.opaque_tokens import canonical_code, new_code, new_id
from app.registration.errors import RegistrationClosed, UsernameTaken
from app.registration.messages import CODE_LIFE, REGISTRATION_LIFE, code_digest, held_back, write
from app.registration.models import PendingRegistration
from app.settings import Registration

if TYPE_CHECKING:
    from collections.abc import Mapping

    from app.principal import ClientInfo
    from app.unit_of_work import UnitOfWork


@dataclass(frozen=True, slots=True)
class Wanted:
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
    if work.settings.registration is not Registration.OPEN:
        raise RegistrationClosed
    wanted = _acceptable(
        work,
        client_info,
        username=username,
        email=email,
        name=name,
        password=password,
        locale=locale,
    )
    with work.released():
        password_hash = work.hasher.hash(wanted.password) if wanted.password is not None else None
    code = new_code()
    pending_id = _reserve(work, wanted, password_hash, code)
    account = _holder(work, wanted)
    pending = work.db.get_one(PendingRegistration, pending_id)
    withheld = held_back(work, account=account, whom=wanted.email_canonical)
    write(
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


def _acceptable(
    work: UnitOfWork,
    client_info: ClientInfo,
    *,
    username: str,
    email: str,
    name: str,
    password: str | None,
    locale: str | None,
) -> Wanted:
    faults: Faults = {}
    members: Mapping[str, object] = {}
    canonical, address, address_canonical, text = "", "", "", None
    try:
        canonical = names.new_username(username)
    except names.NotAName as error:
        faults["/username"] = [str(error)]
    try:
        address, address_canonical = names.new_address(email)
    except names.NotAName as error:
        faults["/email"] = [str(error)]
    if password is not None:
        try:
            about = (username, email, name)
            text = chosen_password(
                work.settings, password, field="/password", locale=client_info.locale, about=about
            )
        except InvalidInput as problem:
            faults, members = {**faults, **problem.errors}, problem.members
    if faults:
        raise InvalidInput(errors=faults, members=members)
    return Wanted(canonical, address, address_canonical, name, locale or client_info.locale, text)


def _reserve(work: UnitOfWork, wanted: Wanted, password_hash: str | None, code: str) -> str:
    """Take the username for a day. The unique index decides between two at once."""
    work.db.execute(
        delete(PendingRegistration).where(
            PendingRegistration.username == wanted.username,
            PendingRegistration.expires_at <= work.now,
        )
    )
    pending_id = new_id("reg")
    reserved = insert_if_absent(
        work.db,
        PendingRegistration,
        id=pending_id,
        username=wanted.username,
        email=wanted.email,
        email_canonical=wanted.email_canonical,
        name=wanted.name,
        locale=wanted.locale,
        password_hash=password_hash,
        code_digest=code_digest(work, pending_id, canonical_code(code)),
        code_expires_at=work.now + CODE_LIFE,
        tries=0,
        created_at=work.now,
        expires_at=work.now + REGISTRATION_LIFE,
    )
    if not reserved:
        raise UsernameTaken
    return pending_id


def _holder(work: UnitOfWork, wanted: Wanted) -> Account | None:
    """The account that has the address. Asked after the reservation, so that one confirmed meanwhile is seen.

    Raises UsernameTaken when an account has the username, before the address is looked at.
    """
    accounts = work.db.scalars(
        select(Account).where(
            or_(
                Account.username == wanted.username,
                Account.email_canonical == wanted.email_canonical,
            )
        )
    ).all()
    if any(account.username == wanted.username for account in accounts):
        raise UsernameTaken
    return next(iter(accounts), None)
