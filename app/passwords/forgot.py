"""Reset links and invitations by email."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from app.accounts.models import Account, matches_identifier
from app.accounts.names import Identifier, parse_identifier
from app.audit.record import Event, record_event
from app.authorization.models import ADMIN, build_roles_column, parse_roles_column
from app.confirmations.issue import issue_invitation_token, issue_reset_token
from app.errors import InvalidInput
from app.notifications.mail.enqueue import Email, EmailTemplate, enqueue_email
from app.opaque_tokens import generate_id
from app.rate_limits.count import count_email

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
    """Email a reset link to the user with a username or email address, if there is one.

    The answer and the cost are the same in every case. An older link becomes invalid only if a new
    one is sent. Raises InvalidInput unless exactly one of the two is given.
    """
    given = username if username is not None else email
    if given is None or (username is not None and email is not None):
        raise InvalidInput(
            "Send either username or email.", errors={"/username": ["send either this or email"]}
        )
    identifier = parse_identifier(given)
    account, roles = _find_account_with_roles(work, identifier)
    recipient = account.email_canonical if account is not None else identifier.canonical
    work.commit_and_release()
    may_send = count_email(work, EmailTemplate.PASSWORD_RESET, recipient)
    can_reset = (
        account is not None
        and account.is_active
        and (work.settings.admin_self_reset or ADMIN not in roles)
    )
    if account is not None and can_reset and may_send:
        send_reset_link(work, account)
    else:
        # The same writes for a made-up subject, so that the cost is the same and an older link
        # stays valid.
        send_notice = account is None and may_send
        notice = _build_unknown_email_notice(work, identifier, client_info) if send_notice else None
        _enqueue_reset_email(work, generate_id("acc"), 0, EmailTemplate.RESET_UNKNOWN, notice)
    record_event(
        work,
        Event.PASSWORD_RESET_REQUESTED,
        client_info=client_info,
        account_id=account.id if account else None,
    )


def send_reset_link(work: UnitOfWork, account: Account) -> None:
    """Email a reset link, or another invitation if the account has no password yet."""
    if not account.has_password:
        send_invitation(work, account)
        return
    email = Email(account.email, account.locale, {"username": account.username})
    _enqueue_reset_email(work, account.id, account.epoch, EmailTemplate.PASSWORD_RESET, email)


def send_invitation(work: UnitOfWork, account: Account) -> None:
    """Email a link to choose the first password of the account. An older link becomes invalid."""
    token = issue_invitation_token(work, account_id=account.id, epoch=account.epoch)
    values = {
        "username": account.username,
        "name": account.name,
        "link": work.settings.link_reset.replace("{token}", token),
    }
    enqueue_email(work, EmailTemplate.INVITATION, Email(account.email, account.locale, values))


def _find_account_with_roles(
    work: UnitOfWork, identifier: Identifier
) -> tuple[Account | None, tuple[str, ...]]:
    """Load the account and its roles in one statement, which costs the same if there is none."""
    query = select(Account, build_roles_column(Account.id)).where(matches_identifier(identifier))
    row = work.db.execute(query).one_or_none()
    return (row[0], parse_roles_column(row[1])) if row is not None else (None, ())


def _build_unknown_email_notice(
    work: UnitOfWork, identifier: Identifier, client_info: ClientInfo
) -> Email | None:
    """Build the notice for an address without an account, if NOTIFY_UNKNOWN is set."""
    if work.settings.notify_unknown and identifier.is_email and identifier.is_valid:
        return Email(identifier.canonical, client_info.locale, {})
    return None


def _enqueue_reset_email(
    work: UnitOfWork, subject: str, epoch: int, template: EmailTemplate, email: Email | None
) -> None:
    """Issue a token and enqueue its email, withheld if there is no recipient."""
    token = issue_reset_token(work, account_id=subject, epoch=epoch)
    written = email or Email("nobody", "", {"username": ""})
    link = work.settings.link_reset.replace("{token}", token)
    enqueue_email(
        work,
        template,
        Email(written.to, written.locale, {**written.values, "link": link}),
        withheld=email is None,
    )
