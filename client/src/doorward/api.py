"""What can be asked of the service with the token of the session."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from doorward import responses as parse
from doorward.errors import InvalidToken, ReauthenticationRequired, UnexpectedAnswer
from doorward.models import ApiKey, Me, NewApiKey, RoleCheck, SessionInfo, Whoami
from doorward.secret import Secret

if TYPE_CHECKING:
    from doorward.sessions.session import Session
    from doorward.transport.transport import Transport

SERVICE_DEFAULT = timedelta(seconds=-1)


class ServiceApi:
    """The calls of a client. Each raises NotLoggedInError, InvalidToken, PermissionDenied, RateLimited or ServiceUnavailable."""

    if TYPE_CHECKING:

        @property
        def session(self) -> Session: ...
        @property
        def transport(self) -> Transport: ...

    @property
    def keys(self) -> ApiKeys:
        """One's own API keys."""
        return ApiKeys(self)

    def whoami(self) -> Whoami:
        """Who the token or key stands for."""
        return parse.parse_whoami(self.call("GET", "/v1/whoami"))

    def get_me(self) -> Me:
        """The account, the session that asks, and what it may do."""
        return parse.parse_me(self.call("GET", "/v1/me"))

    def list_sessions(self) -> list[SessionInfo]:
        """The live sessions of the account, newest first."""
        return [
            parse.parse_session_info(found)
            for found in parse.list_items(self.call("GET", "/v1/sessions"))
        ]

    def revoke_session(self, session_id: str) -> None:
        """End one session of one's own; its tokens stop at once. Raises NotFound."""
        self.call("DELETE", f"/v1/sessions/{_quote_path_segment(session_id)}")

    def revoke_other_sessions(self) -> None:
        """End every session of the account but this one."""
        self.call("DELETE", "/v1/sessions")

    def list_roles(
        self, account_id: str | None = None, *, resource: str | None = None, id: str | None = None
    ) -> tuple[str, ...]:
        """What the account may do now; oneself, if none is named. With resource and id, also the levels at that thing. Raises NotFound."""
        account = account_id or self.whoami().account_id
        query = {"resource": resource, "id": id}
        found = self.call(
            "GET",
            f"/v1/accounts/{_quote_path_segment(account)}/roles",
            query={name: value for name, value in query.items() if value},
        )
        return parse.to_texts(found.get("roles"))

    def check_roles(self, checks: RoleCheck | Sequence[RoleCheck]) -> tuple[bool, ...]:
        """Answer up to 100 questions about rights, in their order. Raises InvalidInput for a role or level that does not exist."""
        asked = [checks] if isinstance(checks, RoleCheck) else checks
        found = self.call(
            "POST", "/v1/roles/check", json={"checks": [one.asked() for one in asked]}
        )
        decisions = found.get("decisions")
        if not isinstance(decisions, list) or len(decisions) != len(asked):
            raise UnexpectedAnswer("The service did not answer each question: ask again.")
        return tuple(value is True for value in decisions)

    def change_password(self, old_password: str | Secret, new_password: str | Secret) -> None:
        """Change the password. Every other session of the account ends, this one goes on. Raises WrongPassword or InvalidInput."""
        body = {
            "old_password": Secret.wrap(old_password),
            "new_password": Secret.wrap(new_password),
        }
        old_password = new_password = ""  # so that no traceback has them
        self.session.replace(
            parse.parse_tokens(self.call("POST", "/v1/password/change", json=body))
        )

    def elevate(self, password: str | Secret) -> None:
        """Show the password once more; for five minutes the session may do what asks for that. Raises WrongPassword."""
        body = {"password": Secret.wrap(password)}
        password = ""
        self.session.replace(parse.parse_tokens(self.call("POST", "/v1/elevate", json=body)))

    def call(self, method: str, path: str, **parts: Any) -> Mapping[str, Any]:
        """One request of this service with the token. `path` begins with /; `json`, `query`: what to send.

        A token that is refused is replaced, and GET is sent again with the next one. Raises what the service answered.
        """
        session = self.session
        token = session.live()
        try:
            return self.transport.ask(method, path, token=token, **parts)
        except ReauthenticationRequired:
            raise
        except InvalidToken as error:
            if not session.renewable:
                raise
            code, status, request_id = error.code, error.status, error.request_id
        session.refresh(rejected=token)
        if method != "GET":
            raise InvalidToken(
                "The token did not count any more; there is another one now: try again.",
                code=code,
                status=status,
                request_id=request_id,
            )
        return self.transport.ask(method, path, token=session.live(), **parts)


class ApiKeys:
    """One's own API keys."""

    def __init__(self, client: ServiceApi) -> None:
        self._client = client

    def list(self) -> tuple[ApiKey, ...]:
        """The living ones, newest first."""
        return tuple(
            parse.parse_api_key(found)
            for found in parse.list_items(self._client.call("GET", "/v1/api-keys"))
        )

    def create(
        self,
        name: str,
        scopes: Sequence[str] = (),
        *,
        expires_in: timedelta | float | None = SERVICE_DEFAULT,
    ) -> NewApiKey:
        """Make a key; its secret is told only now. It lasts 90 days unless told otherwise; None: without end, for administrators.

        Raises ReauthenticationRequired when the password was typed more than five minutes ago, Conflict for a name that is taken.
        """
        body: dict[str, object] = {"name": name, "scopes": [*scopes]}
        if expires_in is not SERVICE_DEFAULT:
            body["expires_in"] = None if expires_in is None else _to_seconds(expires_in)
        return parse.parse_new_api_key(self._client.call("POST", "/v1/api-keys", json=body))

    def rotate(self, key_id: str, *, overlap: timedelta | float | None = None) -> NewApiKey:
        """Another secret for the key. The present one goes on for `overlap`, a day unless told otherwise.

        Raises ReauthenticationRequired or NotFound.
        """
        body: Mapping[str, object] = (
            {} if overlap is None else {"overlap_seconds": _to_seconds(overlap)}
        )
        return parse.parse_new_api_key(
            self._client.call(
                "POST", f"/v1/api-keys/{_quote_path_segment(key_id)}/rotate", json=body
            )
        )

    def delete(self, key_id: str) -> None:
        """End a key; it is refused from the next use on. Raises NotFound."""
        self._client.call("DELETE", f"/v1/api-keys/{_quote_path_segment(key_id)}")


def _quote_path_segment(text: str) -> str:
    """Of a path, so that no name leads elsewhere: servers take %2F for a slash, and no id holds one."""
    name = text.replace("/", "~")
    return quote(name if name not in {"", ".", ".."} else f"~{name}", safe="", errors="replace")


def _to_seconds(length: timedelta | float) -> int:
    return round(length.total_seconds() if isinstance(length, timedelta) else length)
