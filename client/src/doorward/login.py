"""The login methods, as `client.login`."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from doorward import environment
from doorward.connection import ServiceConnection
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
from doorward.login_arguments import (
    ARGUMENTS,
    REQUIRED_ARGUMENTS,
    SECRET_ARGUMENTS,
    Seconds,
    drop_none,
    require_header_safe,
    to_seconds,
    to_whole_seconds,
)
from doorward.models import Tokens
from doorward.origin import parse_origin
from doorward.responses import parse_tokens
from doorward.secret import Secret
from doorward.sessions.credential import Credential
from doorward.sessions.session import Session
from doorward.sessions.storage import StoreEntry, prepare_token_file, read_token_file
from doorward.store.location import resolve_location
from doorward.store.store import InstanceAuthSessions

PasswordSource = str | Secret | Callable[[], str | Secret]
CLEARED = ""  # replaces a secret argument, so that tracebacks do not show it


class Login:
    """The login methods. Each opens a session, makes it the client's session, and returns it."""

    args: Mapping[str, Mapping[str, str]] = ARGUMENTS
    args_required: Mapping[str, tuple[str, ...]] = REQUIRED_ARGUMENTS
    args_secure: Mapping[str, tuple[str, ...]] = SECRET_ARGUMENTS

    def __init__(self, client: ServiceConnection) -> None:
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
        """Log in with a username or email address and a password.

        With `keep`, or a function that returns the password, the client logs in again by itself
        when the session ends. Otherwise the password is forgotten at once. `expires_in` is the
        requested session lifetime in seconds. Raises InvalidCredentials, PasswordChangeRequired,
        RateLimited, InvalidInput or ServiceUnavailable.
        """
        source = password if callable(password) else Secret.wrap(password)
        password = CLEARED
        body = {
            "username": username,
            "scope": scope,
            "expires_in": to_whole_seconds(expires_in),
            "device_name": device_name,
        }
        log_in = self._build_password_login(drop_none(body), source)
        log_in_again = log_in if keep or callable(source) else None
        return self._open_session(
            "with_password", Credential.from_tokens(log_in()), log_in_again=log_in_again
        )

    def with_session_id(
        self,
        device_code: str | Secret,
        wait: bool = False,  # noqa: FBT001, FBT002 - also called as with_session_id(code, True)
        timeout: Seconds | None = None,
        *,
        client_id: str | None = None,
    ) -> Session:
        """Complete a device login that `request_on_another_device` started, by its `device_code`.

        Without `wait`, the service is polled once. Raises LoginPending if it is not decided yet,
        LoginTimeout after `timeout` seconds (default: ten minutes), LoginDenied, LoginExpired, or
        InvalidInput for a public session id (`ses_…`).
        """
        secret = Secret.wrap(device_code)
        device_code = CLEARED
        require_header_safe(secret, "device_code")
        if secret.reveal().startswith("ses_"):
            reason = "is a public session id, not a device code"
            raise InvalidInput(
                f"The device_code {reason}. Pass the device_code of the login instead.",
                errors={"device_code": [reason]},
            )
        poller = DevicePoller(self._client.get_checked_transport(), secret, client_id=client_id)
        tokens = (
            poller.poll_until_decided(
                to_seconds(timeout, DEFAULT_LIFETIME_SECONDS), initial_delay=0.0
            )
            if wait
            else poller.poll_once()
        )
        return self._open_session("with_session_id", Credential.from_tokens(tokens))

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
        """Start a device login without waiting.

        Show the prompt, keep its `device_code`, and complete the login with `with_session_id`.
        """
        body = {
            "client_name": client_name or get_program_name(),
            "hostname": hostname or get_hostname(),
            "login_message": login_message,
            "scope": scope,
            "username": username,
            "expires_in": to_whole_seconds(expires_in),
            "client_id": client_id,
        }
        transport = self._client.get_checked_transport()
        return parse_prompt(transport.request("POST", "/v1/login-sessions", json=drop_none(body)))

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
        """Log in with a code that the user approves on another device.

        `on_prompt` is called with the Prompt to show; by default it is written to standard error.
        Waits until the code expires, or at most `timeout` seconds. A timeout or Ctrl-C cancels the
        login. `expires_in` is the requested session lifetime in seconds. Raises LoginTimeout,
        LoginDenied, LoginExpired, InvalidInput, RateLimited or ServiceUnavailable.
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
        tokens = self._poll_for_decision(prompt, on_prompt or print_prompt, timeout, client_id)
        return self._open_session("on_another_device", Credential.from_tokens(tokens))

    def with_api_key(self, key: str | Secret) -> Session:
        """Use an API key. It is not checked now; `validate()` checks it.

        A key has no session, so logging out only forgets it.
        """
        secret = Secret.wrap(key)
        key = CLEARED
        require_header_safe(secret, "key")
        return self._open_session("with_api_key", Credential.from_token(secret))

    def with_token(self, token: str | Secret | None = None) -> Session:
        """Use an access token, by default DOORWARD_TOKEN. It cannot be refreshed."""
        secret = Secret.wrap(
            token if token is not None else environment.get_variable("DOORWARD_TOKEN")
        )
        if token is None and not secret:
            raise InvalidInput(
                "No token is set. Pass token, or set DOORWARD_TOKEN.",
                errors={"token": ["is missing"]},
            )
        token = CLEARED
        require_header_safe(secret, "token")
        return self._open_session("with_token", Credential.from_token(secret))

    def from_token_file(self, path: str | os.PathLike[str]) -> Session:
        """Use the session in a token file, and keep the file up to date.

        Raises StoreError if there is no file, or if it is for another service than this client.
        """
        file_path = Path(path)
        found = read_token_file(file_path, allow_http=self._client.allow_http)
        if found is None:
            raise StoreError(
                f"The token file {file_path} does not exist."
                " Log in and create it with session.to_token_file()."
            )
        origin, credential = found
        self._client.require_origin(origin, f"The token in {file_path}")
        storage = prepare_token_file(file_path, origin)
        return self._open_session("from_token_file", credential, storage=storage)

    def from_store(self, url: str | None = None, user: str | None = None) -> Session:
        """Use a session in the store.

        The default user is DOORWARD_USER, else the user whose session expires last. Raises
        NotLoggedInError.
        """
        sessions = InstanceAuthSessions.load()
        user = user or environment.get_variable("DOORWARD_USER") or None
        client_url = str(self._client.origin) if self._client.has_url else None
        origin = parse_origin(
            url or client_url or sessions.require_only_url(), allow_http=self._client.allow_http
        )
        name, found = sessions.find_user(str(origin), user), sessions.find(str(origin), user)
        if name is None or found is None:
            raise NotLoggedInError(
                f"You are not logged in to {origin}{f' as {user}' if user else ''}. Log in first."
            )
        self._client.require_origin(origin, "The session in the store")
        storage = StoreEntry(resolve_location(sessions.location), origin, name)
        return self._open_session("from_store", Credential.from_stored(found), storage=storage)

    def _poll_for_decision(
        self,
        prompt: Prompt,
        on_prompt: Callable[[Prompt], object],
        timeout: Seconds | None,
        client_id: str | None,
    ) -> Tokens:
        """Show the prompt and poll. Cancels the login if it is not decided."""
        poller = DevicePoller(
            self._client.get_checked_transport(),
            prompt.device_code,
            client_id=client_id,
            interval=prompt.interval,
        )
        limit = to_seconds(timeout, DEFAULT_LIFETIME_SECONDS)
        try:
            on_prompt(prompt)
            return poller.poll_until_decided(min(limit, prompt.seconds_left + prompt.interval))
        except (LoginDenied, LoginExpired):
            raise
        except BaseException:  # includes KeyboardInterrupt
            with suppress(DoorwardError):
                poller.cancel()
            raise

    def _build_password_login(
        self, body: Mapping[str, Any], password: Secret | Callable[[], str | Secret]
    ) -> Callable[[], Tokens]:
        transport = self._client.get_checked_transport()

        def log_in() -> Tokens:
            secret = Secret.wrap(password()) if callable(password) else password
            request_body = {**body, "password": secret}
            return parse_tokens(transport.request("POST", "/v1/login", json=request_body))

        return log_in

    def _open_session(self, login_method: str, credential: Credential, **options: Any) -> Session:
        session = Session(
            self._client.get_checked_transport(),
            credential,
            login_method=login_method,
            revalidate_after=self._client.revalidate_after,
            **options,
        )
        return self._client.use_session(session)
