"""Authentication for requests (`doorward[requests]`): adds the token of a session."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from requests import PreparedRequest, Response
from requests.auth import AuthBase

from doorward.auth.token_origins import TokenOrigins
from doorward.connection import ServiceConnection
from doorward.secret import Secret
from doorward.sessions.session import Session


class RequestsAuth(AuthBase):
    """Adds the token to requests to the given origins, and to no others, as DoorwardAuth does.

    session.auth = RequestsAuth(client, origins=["https://api.example.com"])
    """

    def __init__(
        self,
        client: ServiceConnection | Session,
        *,
        origins: Iterable[str],
        allow_http: bool = False,
    ) -> None:
        self._token_origins = TokenOrigins(client, origins, allow_http=allow_http)

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Implement AuthBase."""
        if not self._token_origins.can_receive_token(request.url or ""):
            return request
        token = self._token_origins.get_token()

        def retry(response: Response, **options: Any) -> Response:
            return self._retry(response, token, options)

        request.register_hook("response", retry)  # type: ignore[no-untyped-call]
        return _set_token(request, token)

    def _retry(self, response: Response, token: Secret, options: dict[str, Any]) -> Response:
        request = response.request
        had_token = request.headers.get("Authorization") == f"Bearer {token.reveal()}"
        if not had_token or not self._token_origins.should_retry(
            request.method or "", response.status_code, request.url or ""
        ):
            return response
        response.content  # noqa: B018 - reads the body, so that the connection can be reused
        response.close()
        second = _set_token(request.copy(), self._token_origins.replace_token(token))
        answer: Response = response.connection.send(second, **options)
        answer.history.append(response)
        answer.request = second
        return answer


def _set_token(request: PreparedRequest, token: Secret) -> PreparedRequest:
    request.headers["Authorization"] = f"Bearer {token.reveal()}"
    return request
