"""The calls of the service's API, with the token of the current session."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any
from urllib.parse import quote

from doorward import responses
from doorward.connection import ServiceConnection
from doorward.errors import InvalidToken, ReauthenticationRequired, UnexpectedAnswer
from doorward.models import ApiKey, Me, NewApiKey, RoleCheck, SessionInfo, Whoami
from doorward.secret import Secret

SERVICE_DEFAULT = timedelta(seconds=-1)  # marks a lifetime that the service chooses


class ServiceApi(ServiceConnection):
    """The calls of the API.

    Each raises NotLoggedInError, InvalidToken, PermissionDenied, RateLimited or ServiceUnavailable.
    """

    @property
    def keys(self) -> ApiKeys:
        """The API keys of the account."""
        return ApiKeys(self)

    def whoami(self) -> Whoami:
        """Return the principal of the token or key."""
        return responses.parse_whoami(self.call("GET", "/v1/whoami"))

    def get_me(self) -> Me:
        """Return the account, the current session, and its permissions."""
        return responses.parse_me(self.call("GET", "/v1/me"))

    def list_sessions(self) -> list[SessionInfo]:
        """List the active sessions of the account, newest first."""
        document = self.call("GET", "/v1/sessions")
        return [responses.parse_session_info(item) for item in responses.list_items(document)]

    def revoke_session(self, session_id: str) -> None:
        """Revoke a session of the account, with immediate effect. Raises NotFound."""
        self.call("DELETE", f"/v1/sessions/{_quote_path_segment(session_id)}")

    def revoke_other_sessions(self) -> None:
        """Revoke all sessions of the account except the current one."""
        self.call("DELETE", "/v1/sessions")

    def list_roles(
        self,
        account_id: str | None = None,
        *,
        resource: str | None = None,
        id: str | None = None,  # noqa: A002 - the name in the API
    ) -> tuple[str, ...]:
        """List the roles of an account, by default your own.

        With `resource` and `id`, the levels on that resource are included. Raises NotFound.
        """
        account = account_id or self.whoami().account_id
        query = {"resource": resource, "id": id}
        document = self.call(
            "GET",
            f"/v1/accounts/{_quote_path_segment(account)}/roles",
            query={name: value for name, value in query.items() if value},
        )
        return responses.to_texts(document.get("roles"))

    def check_roles(self, checks: RoleCheck | Sequence[RoleCheck]) -> tuple[bool, ...]:
        """Answer up to 100 permission checks, in their order.

        Raises InvalidInput for a role or level that does not exist.
        """
        requested = [checks] if isinstance(checks, RoleCheck) else checks
        body = {"checks": [check.to_json() for check in requested]}
        decisions = self.call("POST", "/v1/roles/check", json=body).get("decisions")
        if not isinstance(decisions, list) or len(decisions) != len(requested):
            raise UnexpectedAnswer("The service did not answer every check. Try again.")
        return tuple(value is True for value in decisions)

    def change_password(self, old_password: str | Secret, new_password: str | Secret) -> None:
        """Change the password and revoke all other sessions.

        Raises WrongPassword or InvalidInput.
        """
        body = {
            "old_password": Secret.wrap(old_password),
            "new_password": Secret.wrap(new_password),
        }
        old_password = new_password = ""  # a traceback must not show them
        document = self.call("POST", "/v1/password/change", json=body)
        self.session.replace_tokens(responses.parse_tokens(document))

    def elevate(self, password: str | Secret) -> None:
        """Re-authenticate the session with the password, for five minutes.

        Raises WrongPassword.
        """
        body = {"password": Secret.wrap(password)}
        password = ""
        document = self.call("POST", "/v1/elevate", json=body)
        self.session.replace_tokens(responses.parse_tokens(document))

    def call(self, method: str, path: str, **options: Any) -> Mapping[str, Any]:
        """Send a request to the API with the token, and return the JSON object of the response.

        `path` starts with /. `json` and `query` are what to send. If the token is rejected, it is
        refreshed, and a GET is sent again. Raises the error of the service.
        """
        session = self.session
        token = session.get_secret_token()
        try:
            return self.transport.request(method, path, token=token, **options)
        except ReauthenticationRequired:
            raise
        except InvalidToken as error:
            if not session.can_refresh:
                raise
            code, status, request_id = error.code, error.status, error.request_id
        session.refresh(rejected=token)
        if method != "GET":
            raise InvalidToken(
                "The token was rejected and has been refreshed. Try again.",
                code=code,
                status=status,
                request_id=request_id,
            )
        return self.transport.request(method, path, token=session.get_secret_token(), **options)


class ApiKeys:
    """The API keys of the account."""

    def __init__(self, client: ServiceApi) -> None:
        self._client = client

    def list(self) -> tuple[ApiKey, ...]:
        """List the active keys, newest first."""
        document = self._client.call("GET", "/v1/api-keys")
        return tuple(responses.parse_api_key(item) for item in responses.list_items(document))

    def create(
        self,
        name: str,
        scopes: Sequence[str] = (),
        *,
        expires_in: timedelta | float | None = SERVICE_DEFAULT,
    ) -> NewApiKey:
        """Create a key. Its secret is returned only now.

        `expires_in` is 90 days by default; None means no expiry and is for administrators. Raises
        ReauthenticationRequired without recent authentication, and Conflict if the name is taken.
        """
        body: dict[str, object] = {"name": name, "scopes": [*scopes]}
        if expires_in is not SERVICE_DEFAULT:
            body["expires_in"] = None if expires_in is None else _to_seconds(expires_in)
        return responses.parse_new_api_key(self._client.call("POST", "/v1/api-keys", json=body))

    def rotate(self, key_id: str, *, overlap: timedelta | float | None = None) -> NewApiKey:
        """Issue a new secret. The current one stays valid for `overlap`, by default a day.

        Raises ReauthenticationRequired or NotFound.
        """
        body: Mapping[str, object] = (
            {} if overlap is None else {"overlap_seconds": _to_seconds(overlap)}
        )
        path = f"/v1/api-keys/{_quote_path_segment(key_id)}/rotate"
        return responses.parse_new_api_key(self._client.call("POST", path, json=body))

    def delete(self, key_id: str) -> None:
        """Delete the key, with immediate effect. Raises NotFound."""
        self._client.call("DELETE", f"/v1/api-keys/{_quote_path_segment(key_id)}")


def _quote_path_segment(text: str) -> str:
    """Quote a path segment so that it cannot lead to another path.

    Servers decode %2F to a slash, and no id contains one, so slashes are replaced.
    """
    name = text.replace("/", "~")
    return quote(name if name not in {"", ".", ".."} else f"~{name}", safe="", errors="replace")


def _to_seconds(length: timedelta | float) -> int:
    return round(length.total_seconds() if isinstance(length, timedelta) else length)
