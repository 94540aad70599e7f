"""Issuing another access token of a session, with its current rights."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from app.accounts.models import find_account
from app.authorization.levels import parse_optional_resource
from app.authorization.rights import list_roles
from app.authorization.show import list_resource_roles
from app.credential_status.models import get_global_epoch
from app.errors import Unauthenticated
from app.sessions.models import find_account_session
from app.sessions.tokens import get_session_roles, get_session_scopes, sign_access_token

if TYPE_CHECKING:
    from datetime import datetime

    from app.accounts.models import Account
    from app.authorization.levels import ResourceRef
    from app.principal import Principal
    from app.sessions.models import Session
    from app.unit_of_work import UnitOfWork


@dataclass(frozen=True, slots=True)
class IssuedAccessToken:
    """An access token and the rights it carries. Its repr hides the token."""

    access_token: str = field(repr=False)
    expires_in: int
    session_id: str
    scope: str
    roles: tuple[str, ...]
    token_type: str = "Bearer"  # noqa: S105 - the scheme, RFC 6750


def update_token(
    work: UnitOfWork, principal: Principal, *, resource: str | None, resource_id: str | None
) -> IssuedAccessToken:
    """Issue an access token with the current rights and, if a resource is given, the roles there.

    It expires with the presented token: an access token that renewed itself would be a refresh
    token without reuse detection (RFC 9700 section 4.14.2). Raises InvalidInput or Unauthenticated.
    """
    ref = parse_optional_resource(resource, resource_id, pointer="")
    # The account is read before its roles: roles older than the version in the token would go
    # unnoticed.
    account = find_account(work.db, principal.account_id)
    session = find_account_session(work.db, principal.account_id, principal.session_id)
    if account is None or session is None or not account.is_active:
        raise Unauthenticated
    if not session.is_live(
        work.now, account_epoch=account.epoch, global_epoch=get_global_epoch(work.db)
    ):
        raise Unauthenticated
    if principal.expires_at is None or principal.expires_at <= work.now:
        raise Unauthenticated("The access token has just expired. Refresh the session.")
    return issue_access_token(work, account, session, ref=ref, max_expires_at=principal.expires_at)


def issue_access_token(
    work: UnitOfWork,
    account: Account,
    session: Session,
    *,
    ref: ResourceRef | None,
    max_expires_at: datetime | None,
) -> IssuedAccessToken:
    """Issue an access token of a live session.

    It expires with the session and no later than `max_expires_at`.
    """
    roles = list_roles(work.db, account)
    resource_roles = list_resource_roles(work, account, ref)
    access_token, expires_in = sign_access_token(
        work,
        account,
        session,
        roles=roles,
        resource_roles=resource_roles,
        max_expires_at=max_expires_at,
    )
    scope = " ".join(get_session_scopes(work, session, roles))
    return IssuedAccessToken(
        access_token,
        expires_in,
        session.id,
        scope,
        get_session_roles(session, roles) + resource_roles,
    )
