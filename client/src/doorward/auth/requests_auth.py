"""A live token on every request to an API behind the gateway, for programs that use requests (`pip install doorward[requests]`)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from requests import PreparedRequest, Response
from requests.auth import AuthBase

from doorward.auth.token_origins import TokenOrigins
from doorward.secret import Secret

if TYPE_CHECKING:
    from doorward.client import Doorward
    from doorward.sessions.session import Session


class RequestsAuth(AuthBase):
    """`session.auth = RequestsAuth(client, origins=["https://api.example.com"])`: the same promises as DoorwardAuth."""

    def __init__(
        self, client: Doorward | Session, *, origins: Iterable[str], allow_http: bool = False
    ) -> None:
        self._token_origins = TokenOrigins(client, origins, allow_http=allow_http)

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Called by requests."""
        if not self._token_origins.can_receive_token(request.url or ""):
            return request
        token = self._token_origins.live()

        def once_more(response: Response, **options: Any) -> Response:
            return self._retry(response, token, options)

        request.register_hook("response", once_more)  # type: ignore[no-untyped-call]
        return _set_token(request, token)

    def _retry(self, response: Response, token: Secret, options: dict[str, Any]) -> Response:
        asked = response.request
        sent = asked.headers.get("Authorization") == f"Bearer {token.reveal()}"
        if not sent or not self._token_origins.should_retry(
            asked.method or "", response.status_code, asked.url or ""
        ):
            return response
        response.content  # noqa: B018 - read to its end, so that the connection can be used again
        response.close()
        again = _set_token(asked.copy(), self._token_origins.replace_token(token))
        answer: Response = response.connection.send(again, **options)
        answer.history.append(response)
        answer.request = again
        return answer


def _set_token(request: PreparedRequest, token: Secret) -> PreparedRequest:
    request.headers["Authorization"] = f"Bearer {token.reveal()}"
    return request
