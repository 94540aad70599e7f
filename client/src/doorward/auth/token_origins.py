"""Who may see the token besides the service itself: the origins that the program names."""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING

from doorward.errors import InvalidInput
from doorward.origin import parse_origin
from doorward.secret import Secret

if TYPE_CHECKING:
    from doorward.client import Doorward
    from doorward.sessions.session import Session

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


class TokenOrigins:
    """The origins that get the token of a client's session."""

    def __init__(
        self, client: Doorward | Session, origins: Iterable[str], *, allow_http: bool
    ) -> None:
        if isinstance(origins, str):
            raise InvalidInput(
                "Give the origins as a list.", errors={"origins": ["must be a list"]}
            )
        self._origins = tuple(parse_origin(one, allow_http=allow_http) for one in origins)
        if not self._origins or any(one.prefix for one in self._origins):
            reason = "must name at least one, each without a path, like https://api.example.com"
            raise InvalidInput(
                f"The origins that get the token {reason}.", errors={"origins": [reason]}
            )
        self._client = client

    def __repr__(self) -> str:
        return f"<Origins {', '.join(str(one) for one in self._origins)}>"

    def can_receive_token(self, url: str) -> bool:
        """May a request to the URL carry the token?"""
        return any(one.covers(url) for one in self._origins)

    def should_retry(self, method: str, status: int, url: str) -> bool:
        """Is it right to send the request once more with another token? `url` is where the answer came from."""
        return (
            status == HTTPStatus.UNAUTHORIZED
            and method in SAFE_METHODS
            and self._session.renewable
            and self.can_receive_token(url)
        )

    def get_token(self) -> Secret:
        """A token that counts now."""
        return self._session.live()

    def replace_token(self, rejected: Secret) -> Secret:
        """Another one, since this was refused."""
        self._session.refresh(rejected=rejected)
        return self._session.live()

    @property
    def _session(self) -> Session:
        from doorward.sessions.session import Session  # which imports nothing of this

        return self._client if isinstance(self._client, Session) else self._client.session
