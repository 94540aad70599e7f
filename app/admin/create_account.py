"""Creation of accounts by administrators."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from app.accounts import names
from app.accounts.models import NO_PASSWORD, Account, find_account_by_username
from app.accounts.open_account import NewAccount, open_account
from app.admin.errors import EmailTaken
from app.admin.show_account import AccountView, get_account
from app.audit.record import Event, record_event
from app.authorization.rights import is_known_role
from app.authorization.roles.administrators import require_still_admin
from app.authorization.roles.assign import add_role
from app.errors import FieldErrors, InvalidInput
from app.passwords.forgot import send_invitation
from app.registration.errors import UsernameTaken
from app.registration.models import PendingRegistration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from app.principal import ClientInfo, Principal
    from app.settings import Settings
    from app.unit_of_work import UnitOfWork


def create_account(
    work: UnitOfWork,
    principal: Principal,
    client_info: ClientInfo,
    *,
    username: str,
    email: str,
    name: str,
    locale: str | None = None,
    roles: Sequence[str] = (),
) -> AccountView:
    """Create an account without a password and email its owner a link to choose one.

    The email address counts as confirmed. Raises Forbidden, InvalidInput, UsernameTaken or
    EmailTaken.
    """
    require_still_admin(work, principal)
    canonical, address, address_canonical = _parse_input(
        work.settings, username=username, email=email, roles=roles
    )
    _require_not_reserved(work, canonical)
    new = NewAccount(
        username=canonical,
        email=address,
        email_canonical=address_canonical,
        name=name,
        locale=locale or client_info.locale,
        password_hash=NO_PASSWORD,
    )
    account_id = open_account(work, new)
    if account_id is None:
        is_username_taken = find_account_by_username(work.db, canonical) is not None
        raise UsernameTaken if is_username_taken else EmailTaken
    record_event(
        work,
        Event.ACCOUNT_CREATED,
        client_info=client_info,
        account_id=account_id,
        actor=principal.account_id,
    )
    for role in sorted(set(roles)):
        add_role(work, client_info, account_id=account_id, role=role, actor=principal.account_id)
    send_invitation(work, work.db.get_one(Account, account_id))
    return get_account(work, account_id=account_id)


def _parse_input(
    settings: Settings, *, username: str, email: str, roles: Sequence[str]
) -> tuple[str, str, str]:
    """Return the username, the email address and its canonical form.

    Raises InvalidInput, which lists every invalid field.
    """
    faults: FieldErrors = {
        f"/roles/{place}": ["must be admin or a role of DOORWARD_ROLES"]
        for place, role in enumerate(roles)
        if not is_known_role(settings, role)
    }
    canonical, address = "", ("", "")
    try:
        canonical = names.parse_username(username)
    except names.InvalidName as error:
        faults["/username"] = [str(error)]
    try:
        address = names.parse_email(email)
    except names.InvalidName as error:
        faults["/email"] = [str(error)]
    if faults:
        raise InvalidInput(errors=faults)
    return canonical, *address


def _require_not_reserved(work: UnitOfWork, username: str) -> None:
    """Reject a username that a pending registration reserves. Raises UsernameTaken."""
    pending = select(PendingRegistration.id).where(
        PendingRegistration.username == username, PendingRegistration.expires_at > work.now
    )
    if work.db.scalar(pending) is not None:
        raise UsernameTaken
