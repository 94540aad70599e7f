"""The first administrator: invited by whoever can type at the machine, for as long as there is none."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import delete, or_

from app.accounts import names
from app.accounts.models import by_email, by_username
from app.adapters.database import insert_if_absent
from app.audit.record import Event, record_event
from app.authorization.models import ADMIN, can_create_first_admin
from app.confirmations.issue import end_unused, issue
from app.confirmations.models import Purpose
from app.opaque_tokens import new_id
from app.registration.models import PendingRegistration

if TYPE_CHECKING:
    from app.unit_of_work import UnitOfWork

LINK_LIFE = timedelta(minutes=60)
LOCALE = "en"


class NotInvited(Exception):
    """No link was made; the message says why, in words for the operator."""


def invite_first_admin(work: UnitOfWork, *, username: str, email: str) -> str:
    """A link that opens the first administrator's account, once and within the hour. It ends every older one. Raises NotInvited."""
    name, (address, canonical) = _acceptable(username, email)
    if not can_create_first_admin(work.db):
        raise NotInvited("There is an administrator already; ask them for the role.")
    if by_username(work.db, name) is not None:
        raise NotInvited("An account has this username already; choose another one.")
    if by_email(work.db, canonical) is not None:
        raise NotInvited("An account has this address already; choose another one.")
    _withdraw(work, name)
    pending_id = _reserve(work, name, address, canonical)
    record_event(work, Event.FIRST_ADMIN_INVITED)
    token = issue(work, Purpose.BOOTSTRAP, subject=pending_id, life=LINK_LIFE)
    return work.settings.link_confirm.replace("{token}", token)


def _acceptable(username: str, email: str) -> tuple[str, tuple[str, str]]:
    try:
        name = names.operators_username(username)
    except names.NotAName as error:
        raise NotInvited(f"The username {error}.") from None
    try:
        return name, names.new_address(email)
    except names.NotAName as error:
        raise NotInvited(f"The address {error}.") from None


def _withdraw(work: UnitOfWork, username: str) -> None:
    """End the older links, and a registration of the same name that nobody has confirmed: the operator goes first."""
    older = work.db.scalars(
        delete(PendingRegistration)
        .where(or_(PendingRegistration.role == ADMIN, PendingRegistration.username == username))
        .returning(PendingRegistration.id)
    ).all()
    for pending_id in older:
        end_unused(work, Purpose.BOOTSTRAP, subject=pending_id)
        end_unused(work, Purpose.REGISTRATION, subject=pending_id)


def _reserve(work: UnitOfWork, username: str, address: str, canonical: str) -> str:
    """The username is kept for the hour, so that nobody registers it meanwhile. No code fits: the link is the only way."""
    pending_id = new_id("reg")
    reserved = insert_if_absent(
        work.db,
        PendingRegistration,
        id=pending_id,
        username=username,
        email=address,
        email_canonical=canonical,
        name=username,
        locale=LOCALE,
        role=ADMIN,
        password_hash=None,
        code_digest="",
        code_expires_at=work.now,
        tries=0,
        created_at=work.now,
        expires_at=work.now + LINK_LIFE,
    )
    if not reserved:
        raise NotInvited("Somebody is registering this username at this moment; try again.")
    return pending_id
