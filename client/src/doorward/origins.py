"""Who may see the token besides the service itself: the origins that the program names."""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING

from doorward.errors import InvalidInput
from doorward.origin import origin_of
from doorward.secret import Secret

if TYPE_CHECKING:
    from doorward.client import Doorward
    from doorward.session import Session

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


class Origins:
    """The origins that get the token of a client's session."""

    def __init__(
        self, client: Doorward | Session, origins: Iterable[str], *, allow_http: bool
    ) -> None:
        if isinstance(origins, str):
            raise InvalidInput(
                "Give the origins as a list.", errors={"origins": ["must be a list"]}
            )
        self._origins = tuple(origin_of(one, allow_http=allow_http) for one in origins)
        if not self._origins or any(one.prefix for one in self._origins):
            reason = "must name at least one, each without a path, like https://api.example.com"
            raise InvalidInput(
                f"The origins that get the token {reason}.", errors={"origins": [reason]}
            )
        self._client = client

    def __repr__(self) -> str:
        return f"<Origins {', '.join(str(one) for one in self._origins)}>"

    def may_have(self, url: str) -> bool:
        """May a request to the URL carry the token?"""
        return any(one.covers(url) for one in self._origins)

    def may_retry(self, method: str, status: int, url: str) -> bool:
        """Is it right to send the request once more with another token? `url` is where the answer came from."""
        return (
            status == HTTPStatus.UNAUTHORIZED
            and method in SAFE
            and self._session.renewable
            and self.may_have(url)
        )

    def live(self) -> Secret:
        """A token that counts now."""
        return self._session.live()

    def instead_of(self, token: Secret) -> Secret:
        """Another one, since this was refused."""
        self._session.refresh(instead_of=token)
        return self._session.live()

    @property
    def _session(self) -> Session:
        from doorward.session import Session  # which imports nothing of this

        return self._client if isinstance(self._client, Session) else self._client.session
