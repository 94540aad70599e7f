"""OAuth clients.

A public client has no secret; a confidential client is an API key: its id and its secret.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from app.api_keys.models import PREFIX
from app.errors import Unauthenticated
from app.oauth.errors import InvalidClient
from app.opaque_tokens import parse_row_id
from app.rate_limits.errors import TooManyRequests
from app.sessions.public_clients import DEFAULT_CLIENT_ID, find_public_client
from app.verification.credentials import CredentialType, PresentedCredential, principal_for

if TYPE_CHECKING:
    from app.principal import ClientInfo, Principal
    from app.settings import Settings
    from app.unit_of_work import UnitOfWork


@dataclass(frozen=True, slots=True)
class ClientCredentials:
    """The client id and secret of a request."""

    id: str | None = None
    secret: str | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        """The id of a public client, or the default client."""
        return self.id or DEFAULT_CLIENT_ID


def is_public_client(settings: Settings, client: ClientCredentials) -> bool:
    """Return whether the client is a known public client and sent no secret."""
    return client.secret is None and find_public_client(settings, client.id) is not None


def authenticate_client(
    work: UnitOfWork, client_info: ClientInfo, client: ClientCredentials
) -> Principal:
    """Return the principal of the API key that a confidential client uses as its secret.

    Failures count against the caller's IP address, so a caller cannot use up the rate
    limit of a key that it does not hold. Raises InvalidClient and TooManyRequests.
    """
    if client.secret is None:
        raise InvalidClient
    try:
        return _verify_secret(work, client, client.secret)
    except Unauthenticated:
        exceeded = work.limiter.hit(work.settings.limit_login, "client", client_info.bucket)
        if exceeded is not None:
            raise TooManyRequests("client", exceeded) from None
        raise InvalidClient from None


def _verify_secret(work: UnitOfWork, client: ClientCredentials, secret: str) -> Principal:
    if client.id is not None and client.id != parse_row_id(PREFIX, "key", secret):
        raise Unauthenticated
    return principal_for(work, PresentedCredential(CredentialType.API_KEY, secret))
