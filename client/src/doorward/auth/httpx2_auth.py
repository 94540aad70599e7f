"""A live token on every request to an API behind the gateway, for programs that use httpx2."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator, Iterable
from typing import TYPE_CHECKING

import httpx2

from doorward.auth.token_origins import TokenOrigins
from doorward.secret import Secret

if TYPE_CHECKING:
    from doorward.client import Doorward
    from doorward.sessions.session import Session


class DoorwardAuth(httpx2.Auth):
    """`httpx2.Client(auth=DoorwardAuth(client, origins=["https://api.example.com"]))`: puts the token on requests to these origins alone.

    A request that is answered 401 is sent once more with another token, if it changes nothing (GET, HEAD, OPTIONS).
    Raises NotLoggedInError, from within the request, when the session is over.
    """

    def __init__(
        self, client: Doorward | Session, *, origins: Iterable[str], allow_http: bool = False
    ) -> None:
        self._token_origins = TokenOrigins(client, origins, allow_http=allow_http)

    def sync_auth_flow(
        self, request: httpx2.Request
    ) -> Generator[httpx2.Request, httpx2.Response, None]:
        """Called by httpx2."""
        if not self._token_origins.can_receive_token(str(request.url)):
            yield request
            return
        token = self._token_origins.live()
        response = yield _set_token(request, token)
        if self._token_origins.should_retry(
            request.method, response.status_code, str(response.request.url)
        ):
            yield _set_token(request, self._token_origins.replace_token(token))

    async def async_auth_flow(
        self, request: httpx2.Request
    ) -> AsyncGenerator[httpx2.Request, httpx2.Response]:
        """Called by httpx2. Refreshing happens in a thread, so that the loop goes on."""
        from asyncio import to_thread  # few need it

        if not self._token_origins.can_receive_token(str(request.url)):
            yield request
            return
        token = await to_thread(self._token_origins.live)
        response = yield _set_token(request, token)
        if self._token_origins.should_retry(
            request.method, response.status_code, str(response.request.url)
        ):
            yield _set_token(request, await to_thread(self._token_origins.replace_token, token))


def _set_token(request: httpx2.Request, token: Secret) -> httpx2.Request:
    request.headers["Authorization"] = f"Bearer {token.reveal()}"
    return request
