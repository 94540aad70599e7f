"""Listing and search of accounts, oldest first.

New accounts appear on the last page, so that pages do not shift while you read them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import exists, literal, or_, select, tuple_

from app import pagination as cursors
from app.accounts.models import Account
from app.accounts.names import InvalidName, fold_name
from app.admin.show_account import AccountView, build_account_view
from app.authorization.models import AccountRole, build_roles_column, parse_roles_column
from app.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import ColumnElement

    from app.unit_of_work import UnitOfWork

CURSOR_PURPOSE = "accounts"


@dataclass(frozen=True, slots=True)
class AccountPage:
    """A page of accounts; `next` is the cursor of the following page."""

    items: Sequence[AccountView]
    next: str | None


def list_accounts(
    work: UnitOfWork,
    *,
    q: str | None = None,
    status: str | None = None,
    role: str | None = None,
    limit: int,
    cursor: str | None = None,
) -> AccountPage:
    """List the accounts that match every filter. Raises InvalidInput.

    `q` is a part of the username, email address or name; case is ignored.
    """
    wanted = [
        *_build_text_conditions(q),
        *_build_conditions(status, role),
        *_build_cursor_condition(work, cursor),
    ]
    page = (
        select(Account, build_roles_column(Account.id))
        .where(*wanted)
        .order_by(Account.created_at, Account.id)
        .limit(limit + 1)
    )
    rows = work.db.execute(page).all()
    items = [
        build_account_view(account, parse_roles_column(joined)) for account, joined in rows[:limit]
    ]
    return AccountPage(items, _build_cursor(work, items[-1]) if len(rows) > limit else None)


def _build_text_conditions(q: str | None) -> list[ColumnElement[bool]]:
    if q is None:
        return []
    try:
        text = fold_name(q)
    except InvalidName as error:
        raise InvalidInput(errors={"/query/q": [str(error)]}) from None
    names = (
        Account.username.contains(text, autoescape=True),
        Account.email_canonical.contains(text, autoescape=True),
    )
    return [or_(*names, Account.name.icontains(q, autoescape=True))]


def _build_conditions(status: str | None, role: str | None) -> list[ColumnElement[bool]]:
    wanted: list[ColumnElement[bool]] = []
    if status is not None:
        wanted.append(Account.status == status)
    if role is not None:
        wanted.append(
            exists().where(AccountRole.account_id == Account.id, AccountRole.role == role)
        )
    return wanted


def _build_cursor_condition(work: UnitOfWork, cursor: str | None) -> list[ColumnElement[bool]]:
    if cursor is None:
        return []
    moment, _, account_id = cursors.decode_cursor(
        work.settings.secret_key, CURSOR_PURPOSE, cursor
    ).partition(" ")
    last = literal(datetime.fromisoformat(moment), Account.created_at.type)
    return [tuple_(Account.created_at, Account.id) > tuple_(last, literal(account_id))]


def _build_cursor(work: UnitOfWork, last: AccountView) -> str:
    return cursors.encode_cursor(
        work.settings.secret_key, CURSOR_PURPOSE, f"{last.created_at.isoformat()} {last.id}"
    )
