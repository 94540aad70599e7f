"""Token revocation (RFC 7009): log out the session of a token, or delete an API key."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from app.api_keys.revoke import delete_owned_api_key
from app.errors import NotFound, Unauthenticated
from app.oauth.clients import ClientCredentials, authenticate_client, is_public_client
from app.oauth.errors import UnsupportedTokenType
from app.principal import CredentialKind
from app.rate_limits.count import count_request
from app.sessions.revoke import log_out
from app.verification.credentials import CredentialType, parse_token, principal_for

if TYPE_CHECKING:
    from app.principal import ClientInfo
    from app.unit_of_work import UnitOfWork


def revoke_token(
    work: UnitOfWork, client_info: ClientInfo, *, client: ClientCredentials, token: str
) -> None:
    """Log out the session of a token, or delete an API key.

    Do nothing for an unknown or inactive token.

    Possession of the token is enough. Raises InvalidClient if the client sends wrong credentials,
    and UnsupportedTokenType for an access token that was issued to an API key.
    """
    count_request(work, client_info, "refresh")
    if not is_public_client(work.settings, client):
        authenticate_client(work, client_info, client)
    presented = parse_token(token)
    try:
        principal = principal_for(work, presented)
    except Unauthenticated:
        return
    if principal.kind is CredentialKind.SESSION:
        log_out(work, principal, client_info)
    elif presented.type is CredentialType.API_KEY:
        with contextlib.suppress(NotFound):  # a concurrent request deleted it first
            delete_owned_api_key(work, principal, client_info, key_id=principal.key_id)
    else:
        # The bearer of this token may not hold the API key, so deleting the key would go too far.
        raise UnsupportedTokenType(
            "The token expires within minutes. To revoke it now, revoke its API key."
        )
