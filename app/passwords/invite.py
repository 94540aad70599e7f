"""Inviting the owner of an account that nothing opens yet to choose its first password."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.confirmations.reset import issue_invitation_token
from app.notifications.mail.enqueue import Email, EmailTemplate, enqueue_email

if TYPE_CHECKING:
    from app.accounts.models import Account
    from app.unit_of_work import UnitOfWork


def send_invitation(work: UnitOfWork, account: Account) -> None:
    """Mail the link by which the owner chooses the first password. The older link ends."""
    token = issue_invitation_token(work, account_id=account.id, epoch=account.epoch)
    link = work.settings.link_reset.replace("{token}", token)
    enqueue_email(
        work,
        EmailTemplate.INVITATION,
        Email(
            account.email,
            account.locale,
            {"username": account.username, "name": account.name, "link": link},
        ),
    )
