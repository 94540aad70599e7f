"""Authentication for httpx2: adds the token of a session to requests to an API."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator, Iterable

import httpx2

from doorward.auth.token_origins import TokenOrigins
from doorward.connection import ServiceConnection
from doorward.secret import Secret
from doorward.sessions.session import Session


class DoorwardAuth(httpx2.Auth):
    """Adds the token to requests to the given origins, and to no others.

        httpx2.Client(auth=DoorwardAuth(client, origins=["https://api.example.com"]))

    A GET, HEAD or OPTIONS request that is answered with 401 is sent once more with a new token.
    Requests raise NotLoggedInError if the session has ended.
    """

    def __init__(
        self,
        client: ServiceConnection | Session,
        *,
        origins: Iterable[str],
        allow_http: bool = False,
    ) -> None:
        self._token_origins = TokenOrigins(client, origins, allow_http=allow_http)

    def sync_auth_flow(
        self, request: httpx2.Request
    ) -> Generator[httpx2.Request, httpx2.Response, None]:
        """Implement httpx2.Auth for synchronous clients."""
        origins = self._token_origins
        if not origins.can_receive_token(str(request.url)):
            yield request
            return
        token = origins.get_token()
        response = yield _set_token(request, token)
        if origins.should_retry(request.method, response.status_code, str(response.request.url)):
            yield _set_token(request, origins.replace_token(token))

    async def async_auth_flow(
        self, request: httpx2.Request
    ) -> AsyncGenerator[httpx2.Request, httpx2.Response]:
        """Implement httpx2.Auth for asynchronous clients.

        Tokens are refreshed in a thread, so that the event loop is not blocked.
        """
        from asyncio import to_thread  # imported late, because it is rarely needed

        origins = self._token_origins
        if not origins.can_receive_token(str(request.url)):
            yield request
            return
        token = await to_thread(origins.get_token)
        response = yield _set_token(request, token)
        if origins.should_retry(request.method, response.status_code, str(response.request.url)):
            yield _set_token(request, await to_thread(origins.replace_token, token))


def _set_token(request: httpx2.Request, token: Secret) -> httpx2.Request:
    request.headers["Authorization"] = f"Bearer {token.reveal()}"
    return request
