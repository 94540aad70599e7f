"""The first administrator: invited by whoever can type at the machine, for as long as there is none."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import delete, or_

from app.accounts import names
from app.accounts.models import find_account_by_email, find_account_by_username
from app.adapters.database import insert_if_absent
from app.audit.record import Event, record_event
from app.authorization.models import ADMIN
from app.authorization.roles.administrators import can_create_first_admin
from app.confirmations.issue import invalidate_tokens, issue_token
from app.confirmations.models import ConfirmationPurpose
from app.opaque_tokens import generate_id
from app.registration.models import PendingRegistration

if TYPE_CHECKING:
    from app.unit_of_work import UnitOfWork

LINK_LIFETIME = timedelta(minutes=60)
DEFAULT_LOCALE = "en"


class InvitationRejected(Exception):
    """No link was made; the message says why, in words for the operator."""


def invite_first_admin(work: UnitOfWork, *, username: str, email: str) -> str:
    """A link that opens the first administrator's account, once and within the hour. It ends every older one. Raises NotInvited."""
    name, (address, canonical) = _parse_identifiers(username, email)
    if not can_create_first_admin(work.db):
        raise InvitationRejected("There is an administrator already; ask them for the role.")
    if find_account_by_username(work.db, name) is not None:
        raise InvitationRejected("An account has this username already; choose another one.")
    if find_account_by_email(work.db, canonical) is not None:
        raise InvitationRejected("An account has this address already; choose another one.")
    _delete_older_invitations(work, name)
    pending_id = _reserve_username(work, name, address, canonical)
    record_event(work, Event.FIRST_ADMIN_INVITED)
    token = issue_token(
        work, ConfirmationPurpose.BOOTSTRAP, subject=pending_id, lifetime=LINK_LIFETIME
    )
    return work.settings.link_confirm.replace("{token}", token)


def _parse_identifiers(username: str, email: str) -> tuple[str, tuple[str, str]]:
    try:
        name = names.parse_operator_username(username)
    except names.InvalidName as error:
        raise InvitationRejected(f"The username {error}.") from None
    try:
        return name, names.parse_email(email)
    except names.InvalidName as error:
        raise InvitationRejected(f"The address {error}.") from None


def _delete_older_invitations(work: UnitOfWork, username: str) -> None:
    """End the older links, and a registration of the same name that nobody has confirmed: the operator goes first."""
    older = work.db.scalars(
        delete(PendingRegistration)
        .where(or_(PendingRegistration.role == ADMIN, PendingRegistration.username == username))
        .returning(PendingRegistration.id)
    ).all()
    for pending_id in older:
        invalidate_tokens(work, ConfirmationPurpose.BOOTSTRAP, subject=pending_id)
        invalidate_tokens(work, ConfirmationPurpose.REGISTRATION, subject=pending_id)


def _reserve_username(work: UnitOfWork, username: str, address: str, canonical: str) -> str:
    """The username is kept for the hour, so that nobody registers it meanwhile. No code fits: the link is the only way."""
    pending_id = generate_id("reg")
    reserved = insert_if_absent(
        work.db,
        PendingRegistration,
        id=pending_id,
        username=username,
        email=address,
        email_canonical=canonical,
        name=username,
        locale=DEFAULT_LOCALE,
        role=ADMIN,
        password_hash=None,
        code_digest="",
        code_expires_at=work.now,
        tries=0,
        created_at=work.now,
        expires_at=work.now + LINK_LIFETIME,
    )
    if not reserved:
        raise InvitationRejected("Somebody is registering this username at this moment; try again.")
    return pending_id
