"""Ending a credential by showing it (RFC 7009): a token ends its session, an API key ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.api_keys.revoke import delete_owned_api_key
from app.errors import NotFound, Unauthenticated
from app.oauth.clients import ClientCredentials, authenticate_client, is_public_client
from app.oauth.errors import UnsupportedTokenType
from app.principal import CredentialKind
from app.rate_limits.per_source import count_request
from app.sessions.refresh_tokens import has_refresh_token_prefix
from app.sessions.revoke import log_out
from app.verification.api_keys import has_api_key_prefix, verify_api_key
from app.verification.session_tokens import verify_access_token, verify_refresh_token

if TYPE_CHECKING:
    from app.principal import ClientInfo, Principal
    from app.unit_of_work import UnitOfWork


def revoke_token(
    work: UnitOfWork, client_info: ClientInfo, *, client: ClientCredentials, token: str
) -> None:
    """End what the token is of. Whoever holds it may do that; one that is unknown or over changes nothing.

    Raises InvalidClient where credentials are shown that do not count, and UnsupportedTokenType.
    """
    count_request(work, client_info, "refresh")
    if not is_public_client(work.settings, client):
        authenticate_client(work, client_info, client)
    try:
        principal = _principal(work, token)
    except Unauthenticated:
        return
    if principal.kind is CredentialKind.SESSION:
        log_out(work, principal, client_info)
    elif has_api_key_prefix(token):
        _end_key(work, principal, client_info)
    else:
        # To end the key would be more than was asked for by somebody who may have been lent this token only.
        raise UnsupportedTokenType(
            "It ends by itself within minutes, or with the API key it was traded for."
        )


def _principal(work: UnitOfWork, token: str) -> Principal:
    if has_api_key_prefix(token):
        return verify_api_key(work, token)
    return (
        verify_refresh_token(work, token)
        if has_refresh_token_prefix(token)
        else verify_access_token(work, token)
    )


def _end_key(work: UnitOfWork, principal: Principal, client_info: ClientInfo) -> None:
    try:
        delete_owned_api_key(work, principal, client_info, key_id=principal.key_id)
    except NotFound:
        return  # somebody else was quicker
