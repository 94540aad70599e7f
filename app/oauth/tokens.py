"""The token endpoint: one function for each grant type.

RFC 6749 sections 4.4 and 6, RFC 8628 sections 3.1 and 3.4.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from app.accounts.models import find_account
from app.authorization.rights import has_scope, narrow_scopes
from app.device_login.poll import redeem_device_code
from app.device_login.start import DeviceAuthorization, DeviceLoginRequest, start_device_login
from app.oauth.clients import ClientCredentials, authenticate_client, is_public_client
from app.oauth.errors import InvalidClient, InvalidRequest, InvalidScope, UnsupportedGrantType
from app.rate_limits.count import count_request
from app.sessions.errors import InvalidGrant
from app.sessions.refresh import get_session_by_refresh_token, refresh_session
from app.sessions.tokens import sign_key_token
from app.settings import is_scope

if TYPE_CHECKING:
    from app.principal import ClientInfo
    from app.sessions.tokens import SessionTokens
    from app.unit_of_work import UnitOfWork


@dataclass(frozen=True, slots=True)
class TokenResponse:
    """The response of RFC 6749 section 5.1, with three members more for sessions.

    The secrets never appear in a repr.
    """

    access_token: str = field(repr=False)
    expires_in: int
    scope: str
    refresh_token: str | None = field(default=None, repr=False)
    refresh_expires_in: int | None = None  # seconds
    session_id: str | None = None
    token_type: str = "Bearer"  # noqa: S105 - the scheme, RFC 6750


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """The parameters of a token request beside the grant type."""

    client: ClientCredentials
    scopes: tuple[str, ...] | None
    refresh_token: str | None = field(default=None, repr=False)
    device_code: str | None = field(default=None, repr=False)


def issue_tokens(
    work: UnitOfWork,
    client_info: ClientInfo,
    *,
    client: ClientCredentials,
    grant_type: str,
    scope: str | None,
    refresh_token: str | None,
    device_code: str | None,
) -> TokenResponse:
    """Issue tokens by the grant type. Raises UnsupportedGrantType and the problems of the grant."""
    grant = GRANTS.get(grant_type)
    if grant is None:
        raise UnsupportedGrantType("Use one of: " + ", ".join(GRANTS) + ".")
    return grant(
        work, client_info, TokenRequest(client, parse_scopes(scope), refresh_token, device_code)
    )


def grant_client_credentials(
    work: UnitOfWork, client_info: ClientInfo, request: TokenRequest
) -> TokenResponse:
    """Issue an access token to an API key, with the requested scopes that the key has now.

    The token is valid no longer than the key. Raises InvalidClient and InvalidScope.
    """
    principal = authenticate_client(work, client_info, request.client)
    scopes = (
        principal.scopes
        if request.scopes is None
        else narrow_scopes(request.scopes, principal.scopes)
    )
    if request.scopes and not scopes:
        raise InvalidScope("The API key has none of these scopes.")
    account = find_account(work.db, principal.account_id)
    if account is None:
        raise InvalidClient
    token, expires_in = sign_key_token(
        work, account, principal, scopes=scopes, secret=request.client.secret or ""
    )
    return TokenResponse(token, expires_in, " ".join(scopes))


def grant_refresh_token(
    work: UnitOfWork, client_info: ClientInfo, request: TokenRequest
) -> TokenResponse:
    """Refresh a session, as POST /v1/token/refresh does. Raises InvalidGrant.

    `scope` must not exceed the scopes of the session (RFC 6749 section 6). The tokens always have
    all of the session's scopes.
    """
    count_request(work, client_info, "refresh")
    _require_public_client(work, request.client)
    if request.refresh_token is None:
        raise InvalidRequest("refresh_token is missing.")
    session, _ = get_session_by_refresh_token(
        work.db, work.settings.secret_key, request.refresh_token
    )
    if session.effective_client_id != request.client.name:
        raise InvalidGrant("The refresh token was issued to another client.")
    tokens = refresh_session(work, client_info, refresh_token=request.refresh_token)
    # The rollback also undoes the refresh, so the refresh token of this request stays valid.
    if not all(has_scope(scope, tokens.scope.split()) for scope in request.scopes or ()):
        raise InvalidScope("The session does not have all of these scopes.")
    return _build_session_response(tokens)


def grant_device_code(
    work: UnitOfWork, client_info: ClientInfo, request: TokenRequest
) -> TokenResponse:
    """Issue the tokens of an approved device login. Raises the problems of `redeem_device_code`."""
    _require_public_client(work, request.client)
    if request.device_code is None:
        raise InvalidRequest("device_code is missing.")
    return _build_session_response(
        redeem_device_code(
            work, client_info, client_id=request.client.name, device_code=request.device_code
        )
    )


GRANTS: Mapping[str, Callable[[UnitOfWork, ClientInfo, TokenRequest], TokenResponse]] = {
    "refresh_token": grant_refresh_token,
    "client_credentials": grant_client_credentials,
    "urn:ietf:params:oauth:grant-type:device_code": grant_device_code,
}


def start_device_authorization(
    work: UnitOfWork, client_info: ClientInfo, *, client: ClientCredentials, scope: str | None
) -> DeviceAuthorization:
    """Start a device login for a public client (RFC 8628 section 3.1).

    Raises InvalidClient, InvalidScope, TooManyRequests or Busy.
    """
    _require_public_client(work, client)
    parse_scopes(scope)
    return start_device_login(work, client_info, DeviceLoginRequest(client.id, scope))


def _require_public_client(work: UnitOfWork, client: ClientCredentials) -> None:
    if not is_public_client(work.settings, client):
        raise InvalidClient(
            "Use a public client without a secret: doorward, or one of DOORWARD_CLIENTS."
        )


def _build_session_response(tokens: SessionTokens) -> TokenResponse:
    return TokenResponse(
        tokens.access_token,
        tokens.expires_in,
        tokens.scope,
        tokens.refresh_token,
        tokens.refresh_expires_in,
        tokens.session_id,
    )


def parse_scopes(scope: str | None) -> tuple[str, ...] | None:
    """Split the scopes. Returns None if the parameter is missing. Raises InvalidScope."""
    if scope is None:
        return None
    scopes = tuple(scope.split(" "))
    if not all(is_scope(one) for one in scopes):
        raise InvalidScope("Send scopes such as orders:read, separated by single spaces.")
    return scopes
