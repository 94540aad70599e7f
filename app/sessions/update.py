"""Another access token of the same session, with the rights of now."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from app.accounts.models import find_account as account_by_id
from app.authorization.levels import parse_optional_resource
from app.authorization.models import list_roles
from app.authorization.show import list_resource_roles
from app.credential_status.models import get_global_epoch
from app.errors import Unauthenticated
from app.sessions.access_tokens import get_session_roles, get_session_scopes, sign_access_token
from app.sessions.models import find_account_session

if TYPE_CHECKING:
    from datetime import datetime

    from app.accounts.models import Account
    from app.authorization.levels import ResourceRef
    from app.principal import Principal
    from app.sessions.models import Session
    from app.unit_of_work import UnitOfWork


@dataclass(frozen=True, slots=True)
class IssuedAccessToken:
    """An access token, and what it says. The secret never shows in a repr."""

    access_token: str = field(repr=False)
    expires_in: int
    session_id: str
    scope: str
    roles: tuple[str, ...]
    token_type: str = "Bearer"  # noqa: S105 - the scheme, RFC 6750


def update_token(
    work: UnitOfWork, principal: Principal, *, resource: str | None, resource_id: str | None
) -> IssuedAccessToken:
    """A token with the rights of now; where a thing is named, with the roles at that too.

    It ends when the one that was shown ends: an access token that could be renewed by itself would be a refresh token whose
    copies nobody notices (RFC 9700 section 4.14.2). Raises InvalidInput or Unauthenticated.
    """
    thing = parse_optional_resource(resource, resource_id, pointer="")
    # The account goes first: a token whose version is older than its roles is asked about, one whose roles are older is not.
    account = account_by_id(work.db, principal.account_id)
    session = find_account_session(work.db, principal.account_id, principal.session_id)
    if account is None or session is None or not account.is_active:
        raise Unauthenticated
    if not session.is_live(
        work.now, account_epoch=account.epoch, global_epoch=get_global_epoch(work.db)
    ):
        raise Unauthenticated
    if principal.expires_at is None or principal.expires_at <= work.now:
        raise Unauthenticated("The access token has just expired. Refresh it.")
    return issue_access_token(
        work, account, session, thing=thing, max_expires_at=principal.expires_at
    )


def issue_access_token(
    work: UnitOfWork,
    account: Account,
    session: Session,
    *,
    thing: ResourceRef | None,
    max_expires_at: datetime | None,
) -> IssuedAccessToken:
    """A token of a session that lives. `ends_at` is when it has to end at the latest, beside when the session does."""
    roles, there = list_roles(work.db, account), list_resource_roles(work, account, thing)
    access_token, expires_in = sign_access_token(
        work, account, session, roles=roles, resource_roles=there, max_expires_at=max_expires_at
    )
    scope = " ".join(get_session_scopes(work, session, roles))
    return IssuedAccessToken(
        access_token, expires_in, session.id, scope, get_session_roles(session, roles) + there
    )
