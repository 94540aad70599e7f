"""Invitation of the first administrator, by an operator with shell access."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import delete, or_

from app.accounts import names
from app.accounts.models import find_account_by_email, find_account_by_username
from app.adapters.statements import insert_if_absent
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
    """No invitation was created. The message tells the operator why."""


def invite_first_admin(work: UnitOfWork, *, username: str, email: str) -> str:
    """Return a link that opens the account of the first administrator within an hour.

    Older links become invalid. Raises InvitationRejected.
    """
    name, (address, canonical) = _parse_identifiers(username, email)
    if not can_create_first_admin(work.db):
        raise InvitationRejected("There is already an administrator. Ask them to grant the role.")
    if find_account_by_username(work.db, name) is not None:
        raise InvitationRejected(
            "An account with this username already exists. Choose another one."
        )
    if find_account_by_email(work.db, canonical) is not None:
        raise InvitationRejected(
            "An account with this email address already exists. Choose another one."
        )
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
        raise InvitationRejected(f"The email address {error}.") from None


def _delete_older_invitations(work: UnitOfWork, username: str) -> None:
    """Delete older invitations, and an unconfirmed registration of the same username."""
    older = work.db.scalars(
        delete(PendingRegistration)
        .where(or_(PendingRegistration.role == ADMIN, PendingRegistration.username == username))
        .returning(PendingRegistration.id)
    ).all()
    for pending_id in older:
        invalidate_tokens(work, ConfirmationPurpose.BOOTSTRAP, subject=pending_id)
        invalidate_tokens(work, ConfirmationPurpose.REGISTRATION, subject=pending_id)


def _reserve_username(work: UnitOfWork, username: str, address: str, canonical: str) -> str:
    """Reserve the username for the lifetime of the link. No code can confirm this registration."""
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
        raise InvitationRejected("This username is being registered right now. Try again.")
    return pending_id
