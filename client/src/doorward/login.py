"""The ways to log in, as `client.login`."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from doorward import environment as here
from doorward.device_login.polling import DevicePoller
from doorward.device_login.program import get_hostname, get_program_name, print_prompt
from doorward.device_login.prompt import DEFAULT_LIFETIME_SECONDS, Prompt, parse_prompt
from doorward.errors import (
    DoorwardError,
    InvalidInput,
    LoginDenied,
    LoginExpired,
    NotLoggedInError,
    StoreError,
)
from doorward.login_arguments import ARGUMENTS, REQUIRED_ARGUMENTS, SECRET_ARGUMENTS
from doorward.models import Tokens
from doorward.origin import parse_origin
from doorward.responses import parse_tokens
from doorward.secret import Secret
from doorward.sessions.credential import Credential
from doorward.sessions.session import Session
from doorward.sessions.storage import StoreEntry, prepare_token_file, read_token_file
from doorward.store.store import InstanceAuthSessions, resolve_location

if TYPE_CHECKING:
    from doorward.client import Doorward

Seconds = float | timedelta
PasswordSource = str | Secret | Callable[[], str | Secret]


class Login:
    """Each method opens a session, which the client uses from then on, and returns it."""

    args: Mapping[str, Mapping[str, str]] = ARGUMENTS
    args_required: Mapping[str, tuple[str, ...]] = REQUIRED_ARGUMENTS
    args_secure: Mapping[str, tuple[str, ...]] = SECRET_ARGUMENTS

    def __init__(self, client: Doorward) -> None:
        self._client = client

    def __repr__(self) -> str:
        return f"<Login at {self._client!r}>"

    def with_password(
        self,
        username: str,
        password: PasswordSource,
        *,
        scope: str | None = None,
        expires_in: Seconds | None = None,
        device_name: str | None = None,
        keep: bool = False,
    ) -> Session:
        """Log in by username or address and password, which may be a function that gives it.

        With a function, or with `keep`, the client logs in again by itself when the session is over; otherwise the password is forgotten
        at once. `expires_in` is the wanted length of the session in seconds. Raises InvalidCredentials, PasswordChangeRequired,
        RateLimited, InvalidInput or ServiceUnavailable.
        """
        asked = password if callable(password) else Secret.wrap(password)
        password = CLEARED  # so that no traceback has it
        body = {
            "username": username,
            "scope": scope,
            "expires_in": _to_whole_seconds(expires_in),
            "device_name": device_name,
        }
        log_in = self._build_password_login(
            {name: value for name, value in body.items() if value is not None}, asked
        )
        again = log_in if keep or callable(asked) else None
        return self._open_session(
            "with_password", Credential.from_tokens(log_in()), log_in_again=again
        )

    def with_session_id(
        self,
        device_code: str | Secret,
        wait: bool = False,  # noqa: FBT001, FBT002 - with_session_id(code, True) is said elsewhere too
        timeout: Seconds | None = None,
        *,
        client_id: str | None = None,
    ) -> Session:
        """Pick up a login that was asked for before (`request_on_another_device`), by its secret `device_code`.

        Without `wait` the service is asked once. Raises LoginPending when nobody has decided yet, LoginTimeout after `timeout` seconds
        (ten minutes, unless told otherwise), LoginDenied, LoginExpired, and InvalidInput for a public id (`ses_…`): it opens nothing.
        """
        secret = Secret.wrap(device_code)
        device_code = CLEARED
        _require_header_safe(secret, "device_code")
        if secret.reveal().startswith("ses_"):
            reason = "is a public session id, which opens nothing: give the device_code"
            raise InvalidInput(
                f"What was given {reason} of the login instead.", errors={"device_code": [reason]}
            )
        waiting = DevicePoller(self._client.get_checked_transport(), secret, client_id=client_id)
        found = (
            waiting.poll_until_decided(
                _to_seconds(timeout, DEFAULT_LIFETIME_SECONDS), initial_delay=0.0
            )
            if wait
            else waiting.once()
        )
        return self._open_session("with_session_id", Credential.from_tokens(found))

    def request_on_another_device(
        self,
        *,
        client_name: str | None = None,
        hostname: str | None = None,
        login_message: str | None = None,
        scope: str | None = None,
        username: str | None = None,
        expires_in: Seconds | None = None,
        client_id: str | None = None,
    ) -> Prompt:
        """Ask to be let in and do not wait: show the prompt, keep its `device_code`, and pick the login up with `with_session_id`."""
        body = {
            "client_name": client_name or get_program_name(),
            "hostname": hostname or get_hostname(),
            "login_message": login_message,
            "scope": scope,
            "username": username,
            "expires_in": _to_whole_seconds(expires_in),
            "client_id": client_id,
        }
        asked = {name: value for name, value in body.items() if value is not None}
        return parse_prompt(
            self._client.get_checked_transport().ask("POST", "/v1/login-sessions", json=asked)
        )

    def on_another_device(
        self,
        *,
        on_prompt: Callable[[Prompt], object] | None = None,
        timeout: Seconds | None = None,
        client_name: str | None = None,
        hostname: str | None = None,
        login_message: str | None = None,
        scope: str | None = None,
        username: str | None = None,
        expires_in: Seconds | None = None,
        client_id: str | None = None,
    ) -> Session:
        """Show a code, wait until somebody approves it on another device, and be logged in.

        `on_prompt` is called with the Prompt to show; without it, it is written to standard error. Waits at most `timeout` seconds, and
        never longer than the code lasts. `expires_in` is the wanted length of the session in seconds. On a timeout or Ctrl-C the request
        is cancelled. Raises LoginTimeout, LoginDenied, LoginExpired, InvalidInput, RateLimited or ServiceUnavailable.
        """
        prompt = self.request_on_another_device(
            client_name=client_name,
            hostname=hostname,
            login_message=login_message,
            scope=scope,
            username=username,
            expires_in=expires_in,
            client_id=client_id,
        )
        waiting = DevicePoller(
            self._client.get_checked_transport(),
            prompt.device_code,
            client_id=client_id,
            interval=prompt.interval,
        )
        try:
            (on_prompt or print_prompt)(prompt)
            found = waiting.poll_until_decided(
                min(
                    _to_seconds(timeout, DEFAULT_LIFETIME_SECONDS),
                    prompt.seconds_left + prompt.interval,
                )
            )
        except (LoginDenied, LoginExpired):
            raise
        except BaseException:  # Ctrl-C above all: nobody waits any more
            with suppress(DoorwardError):
                waiting.cancel()
            raise
        return self._open_session("on_another_device", Credential.from_tokens(found))

    def with_api_key(self, key: str | Secret) -> Session:
        """Use an API key. It is not checked until it is used; `validate()` does. It has no session: logging out only forgets it."""
        secret = Secret.wrap(key)
        key = CLEARED
        _require_header_safe(secret, "key")
        return self._open_session("with_api_key", Credential.from_token(secret))

    def with_token(self, token: str | Secret | None = None) -> Session:
        """Use an access token that comes from elsewhere; DOORWARD_TOKEN, if none is given. It cannot be refreshed."""
        secret = Secret.wrap(token if token is not None else here.get_variable("DOORWARD_TOKEN"))
        if token is None and not secret:
            raise InvalidInput(
                "No token is named: give one, or set DOORWARD_TOKEN.",
                errors={"token": ["is missing"]},
            )
        token = CLEARED
        _require_header_safe(secret, "token")
        return self._open_session("with_token", Credential.from_token(secret))

    def from_token_file(self, path: str | os.PathLike[str]) -> Session:
        """Use what `to_token_file` wrote; the file is kept up to date. Its first line says which service the token is for.

        Raises StoreError when there is no such file, or it is for another service than this client's: it is not sent there.
        """
        where = Path(path)
        found = read_token_file(where, allow_http=self._client.allow_http)
        if found is None:
            raise StoreError(
                f"There is no token file {where}: log in and write one with to_token_file()."
            )
        origin, held = found
        self._client.require_origin(origin, f"The token in {where}")
        return self._open_session("from_token_file", held, home=prepare_token_file(where, origin))

    def from_store(self, url: str | None = None, user: str | None = None) -> Session:
        """Use a session that `save()` has kept: of the user (DOORWARD_USER), else the one that lasts longest. Raises NotLoggedInError."""
        sessions, user = (
            InstanceAuthSessions.load(),
            user or here.get_variable("DOORWARD_USER") or None,
        )
        named = (
            url
            or (str(self._client.origin) if self._client.named else None)
            or _require_only_url(sessions)
        )
        origin = parse_origin(named, allow_http=self._client.allow_http)
        name, found = sessions.whose(str(origin), user), sessions.find(str(origin), user)
        if name is None or found is None:
            raise NotLoggedInError(
                f"Nobody{f' called {user}' if user else ''} is logged in at {origin}: log in first."
            )
        self._client.require_origin(origin, "The session in the store")
        home = StoreEntry(resolve_location(sessions.place), origin, name)
        return self._open_session("from_store", Credential.from_stored(found), home=home)

    def to_token_file(self, path: str | os.PathLike[str]) -> None:
        """`Session.to_token_file` of the present session."""
        self._client.session.to_token_file(path)

    def to_store(self) -> None:
        """`Session.save` of the present session."""
        self._client.session.save()

    def _build_password_login(
        self, body: Mapping[str, Any], password: Secret | Callable[[], str | Secret]
    ) -> Callable[[], Tokens]:
        transport = self._client.get_checked_transport()

        def log_in() -> Tokens:
            secret = Secret.wrap(password()) if callable(password) else password
            return parse_tokens(
                transport.ask("POST", "/v1/login", json={**body, "password": secret})
            )

        return log_in

    def _open_session(self, login_method: str, credential: Credential, **parts: Any) -> Session:
        session = Session(
            self._client.get_checked_transport(),
            credential,
            login_method=login_method,
            revalidate_after=self._client.revalidate_after,
            **parts,
        )
        return self._client.use_session(session)


CLEARED = ""


def _require_header_safe(secret: Secret, field: str) -> None:
    """Could it stand in a header? Raises InvalidInput."""
    if not secret.is_header_safe:
        reason = "is empty or holds characters that none has"
        raise InvalidInput(
            f"The {field} {reason}: give it as it was handed out.", errors={field: [reason]}
        )


def _require_only_url(sessions: InstanceAuthSessions) -> str:
    urls = [url for url, users in sessions.instances.items() if users.list_unexpired()]
    if len(urls) == 1:
        return urls[0]
    if not urls:
        raise NotLoggedInError("Nobody is logged in anywhere: log in first.")
    raise InvalidInput(
        f"There are sessions at {', '.join(urls)}: name one, or set DOORWARD_URL.",
        errors={"url": ["is not named"]},
    )


def _to_seconds(found: Seconds | None, usual: float) -> float:
    if found is None:
        return usual
    return found.total_seconds() if isinstance(found, timedelta) else float(found)


def _to_whole_seconds(found: Seconds | None) -> int | None:
    return None if found is None else round(_to_seconds(found, 0))
