"""The token endpoint: one grant for each way to come by an access token (RFC 6749 sections 4.4 and 6)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from app.accounts.models import by_id
from app.attempts.source_limits import take
from app.oauth.clients import Client, authenticate
from app.oauth.errors import InvalidClient, InvalidRequest, InvalidScope, UnsupportedGrantType
from app.roles.scopes import allows, narrowed
from app.sessions.access_tokens import mint_for_key
from app.sessions.refresh import refresh
from app.setting_maps import is_scope

if TYPE_CHECKING:
    from app.principal import Source
    from app.unit_of_work import UnitOfWork


@dataclass(frozen=True, slots=True)
class Issued:
    """RFC 6749 section 5.1. The secrets never show in a repr."""

    access_token: str = field(repr=False)
    expires_in: int
    scope: str
    refresh_token: str | None = field(default=None, repr=False)
    session_id: str | None = None
    token_type: str = "Bearer"  # noqa: S105 - the scheme, RFC 6750


@dataclass(frozen=True, slots=True)
class Asked:
    """What stands in the form beside the grant."""

    client: Client
    scopes: tuple[str, ...] | None
    refresh_token: str | None = field(default=None, repr=False)


def grant(work: UnitOfWork, source: Source, *, client: Client, grant_type: str, scope: str | None, refresh_token: str | None) -> Issued:
    """Tokens by the grant that is named. Raises UnsupportedGrantType and what the grant raises."""
    give = GRANTS.get(grant_type)
    if give is None:
        raise UnsupportedGrantType("There are: " + ", ".join(GRANTS) + ".")
    return give(work, source, Asked(client, _scopes(scope), refresh_token))


def by_client_credentials(work: UnitOfWork, source: Source, asked: Asked) -> Issued:
    """A token for the key itself, that ends with it: what was asked for, as far as the key and its owner may do it now."""
    principal = authenticate(work, source, asked.client)
    scopes = principal.scopes if asked.scopes is None else narrowed(asked.scopes, principal.scopes)
    if asked.scopes and not scopes:
        raise InvalidScope("The key has none of these scopes.")
    account = by_id(work.db, principal.account_id)
    if account is None:
        raise InvalidClient
    token, expires_in = mint_for_key(work, account, principal, scopes=scopes, secret=asked.client.secret or "")
    return Issued(token, expires_in, " ".join(scopes))


def by_refresh_token(work: UnitOfWork, source: Source, asked: Asked) -> Issued:
    """The same as POST /v1/token/refresh. Raises InvalidGrant.

    `scope` may not ask for more than the session has, and the tokens have no less than it (RFC 6749 section 6).
    """
    take(work, source, "refresh")
    if not asked.client.public:
        raise InvalidClient("A session is of the public client doorward, which has no secret.")
    if asked.refresh_token is None:
        raise InvalidRequest("refresh_token is missing.")
    tokens = refresh(work, source, refresh_token=asked.refresh_token)
    # Raising takes the step of the counter back: the refresh token that was sent is still the present one.
    if not all(allows(scope, tokens.scope.split()) for scope in asked.scopes or ()):
        raise InvalidScope("The session has not all of these scopes.")
    return Issued(tokens.access_token, tokens.expires_in, tokens.scope, tokens.refresh_token, tokens.session_id)


GRANTS: Mapping[str, Callable[[UnitOfWork, Source, Asked], Issued]] = {
    "refresh_token": by_refresh_token,
    "client_credentials": by_client_credentials,
}


def _scopes(scope: str | None) -> tuple[str, ...] | None:
    """The scopes asked for, None where none were named. Raises InvalidScope."""
    if scope is None:
        return None
    scopes = tuple(scope.split(" "))
    if not all(is_scope(one) for one in scopes):
        raise InvalidScope("Scopes look like orders:read, separated by single spaces.")
    return scopes
