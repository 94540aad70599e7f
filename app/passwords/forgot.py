"""Asking for a link to choose another password."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from app.accounts.find import Identifier, parse_identifier
from app.accounts.models import Account
from app.audit.record import Event, record_event
from app.authorization.models import ADMIN, build_roles_column, parse_roles_column
from app.confirmations.reset import issue_reset_token
from app.errors import InvalidInput
from app.notifications.mail.enqueue import Email, EmailTemplate, enqueue_email
from app.opaque_tokens import generate_id
from app.passwords.invite import send_invitation
from app.rate_limits.per_recipient import count_email

if TYPE_CHECKING:
    from app.principal import ClientInfo
    from app.unit_of_work import UnitOfWork


def request_password_reset(
    work: UnitOfWork,
    client_info: ClientInfo,
    *,
    username: str | None = None,
    email: str | None = None,
) -> None:
    """Mail a link to the owner of a name or an address, if there is one; nothing tells whether there was.

    The link that was mailed before ends. Raises InvalidInput when not exactly one of the two was given.
    """
    wanted = username if username is not None else email
    if wanted is None or (username is not None and email is not None):
        raise InvalidInput(
            "Give either username or email.", errors={"/username": ["give either this or email"]}
        )
    name = parse_identifier(wanted)
    account, roles = _find_account_with_roles(work, name)
    whom = account.email_canonical if account is not None else name.canonical
    work.commit_and_release()
    held = not count_email(work, EmailTemplate.PASSWORD_RESET, whom)
    entitled = (
        account is not None
        and account.is_active
        and (work.settings.admin_self_reset or ADMIN not in roles)
    )
    if account is not None and entitled and not held:
        send_reset_link(work, account)
    else:
        # The same rows about nobody, so that it costs the same; whatever link went out before stays good.
        mail = (
            _build_unknown_email_notice(work, name, client_info)
            if account is None and not held
            else None
        )
        _queue_reset_email(work, generate_id("acc"), 0, EmailTemplate.RESET_UNKNOWN, mail)
    record_event(
        work,
        Event.PASSWORD_RESET_REQUESTED,
        client_info=client_info,
        account_id=account.id if account else None,
    )


def send_reset_link(work: UnitOfWork, account: Account) -> None:
    """Mail a link to the owner; whoever was invited and has no password yet gets the invitation again, which is good for longer."""
    if not account.has_password:
        send_invitation(work, account)
        return
    _queue_reset_email(
        work,
        account.id,
        account.epoch,
        EmailTemplate.PASSWORD_RESET,
        Email(account.email, account.locale, {"username": account.username}),
    )


def _find_account_with_roles(
    work: UnitOfWork, identifier: Identifier
) -> tuple[Account | None, tuple[str, ...]]:
    """The account and its roles in one statement, which costs the same where there is none."""
    row = work.db.execute(
        select(Account, build_roles_column(Account.id)).where(identifier.condition)
    ).one_or_none()
    return (row[0], parse_roles_column(row[1])) if row is not None else (None, ())


def _build_unknown_email_notice(
    work: UnitOfWork, identifier: Identifier, client_info: ClientInfo
) -> Email | None:
    """That somebody asked, for an address without an account, where the operator wants that told."""
    return (
        Email(identifier.canonical, client_info.locale, {})
        if work.settings.notify_unknown and identifier.is_email and identifier.is_valid
        else None
    )


def _queue_reset_email(
    work: UnitOfWork, subject: str, epoch: int, template: EmailTemplate, mail: Email | None
) -> None:
    token = issue_reset_token(work, account_id=subject, epoch=epoch)
    written = mail or Email("nobody", "", {"username": ""})
    link = work.settings.link_reset.replace("{token}", token)
    enqueue_email(
        work,
        template,
        Email(written.to, written.locale, {**written.values, "link": link}),
        withheld=mail is None,
    )
