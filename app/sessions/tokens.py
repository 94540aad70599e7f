"""The tokens of a login or refresh."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from app.accounts.summary import AccountSummary, summarize_account
from app.authorization.models import list_roles
from app.sessions.access_tokens import get_session_roles, get_session_scopes, sign_access_token
from app.sessions.public_clients import DEFAULT_CLIENT_ID
from app.sessions.signed_handles import build_refresh_token

if TYPE_CHECKING:
    from app.accounts.models import Account
    from app.sessions.models import Session
    from app.unit_of_work import UnitOfWork


@dataclass(frozen=True, slots=True)
class SessionTokens:
    """Access and refresh token of a session, with what a frontend needs.

    Secrets are not in the repr.
    """

    access_token: str = field(repr=False)
    expires_in: int
    refresh_token: str = field(repr=False)
    refresh_expires_in: int
    session_id: str
    account: AccountSummary
    resources: Mapping[str, str]
    scope: str = ""
    client_id: str = DEFAULT_CLIENT_ID
    device_token: str | None = field(default=None, repr=False)
    token_type: str = "Bearer"  # noqa: S105 - the scheme, RFC 6750


def issue_tokens(work: UnitOfWork, account: Account, session: Session) -> SessionTokens:
    """Issue an access token and return it with the current refresh token of a live session."""
    roles = list_roles(work.db, account)
    access_token, expires_in = sign_access_token(work, account, session, roles=roles)
    return SessionTokens(
        access_token=access_token,
        expires_in=expires_in,
        refresh_token=build_refresh_token(work.settings.secret_key, session),
        refresh_expires_in=int((session.expires_at - work.now).total_seconds()),
        session_id=session.id,
        account=summarize_account(account, get_session_roles(session, roles)),
        resources=work.settings.resources,
        scope=" ".join(get_session_scopes(work, session, roles)),
        client_id=session.effective_client_id,
    )
