"""The origins, besides the service, that may receive the token of a session."""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus

from doorward.connection import ServiceConnection
from doorward.errors import InvalidInput
from doorward.origin import parse_origin
from doorward.secret import Secret
from doorward.sessions.session import Session

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


class TokenOrigins:
    """The origins that receive the token of a client's session."""

    def __init__(
        self, client: ServiceConnection | Session, origins: Iterable[str], *, allow_http: bool
    ) -> None:
        if isinstance(origins, str):
            raise InvalidInput("Pass origins as a list.", errors={"origins": ["must be a list"]})
        self._origins = tuple(parse_origin(url, allow_http=allow_http) for url in origins)
        if not self._origins or any(origin.prefix for origin in self._origins):
            reason = "must be a list of URLs without a path, such as https://api.example.com"
            raise InvalidInput(f"The origins {reason}.", errors={"origins": [reason]})
        self._client = client

    def __repr__(self) -> str:
        return f"<TokenOrigins {', '.join(map(str, self._origins))}>"

    def can_receive_token(self, url: str) -> bool:
        """Return whether a request to the URL may carry the token."""
        return any(origin.covers(url) for origin in self._origins)

    def should_retry(self, method: str, status: int, url: str) -> bool:
        """Return whether to send a request again with a new token.

        `url` is where the response came from.
        """
        return (
            status == HTTPStatus.UNAUTHORIZED
            and method in SAFE_METHODS
            and self._session.can_refresh
            and self.can_receive_token(url)
        )

    def get_token(self) -> Secret:
        """Return a valid token."""
        return self._session.get_secret_token()

    def replace_token(self, rejected: Secret) -> Secret:
        """Refresh a token that was rejected, and return the new one."""
        self._session.refresh(rejected=rejected)
        return self._session.get_secret_token()

    @property
    def _session(self) -> Session:
        return self._client if isinstance(self._client, Session) else self._client.session
