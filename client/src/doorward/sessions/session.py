"""A session with a token that is refreshed automatically."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

from doorward import environment, responses
from doorward.errors import DoorwardError, InvalidToken, LogoutError, NotLoggedInError, StoreError
from doorward.models import Tokens, Whoami
from doorward.secret import Secret
from doorward.sessions.credential import Credential
from doorward.sessions.refreshing_credential import INCONCLUSIVE_ERRORS, RefreshingCredential
from doorward.sessions.storage import SessionStorage, StoreEntry, prepare_token_file
from doorward.store.location import resolve_location
from doorward.transport.transport import Transport

DEFAULT_REVALIDATE_AFTER = timedelta(minutes=5)
API_KEY_METHOD = "with_api_key"


class Session:
    """A logged-in session. As a context manager, it logs out at the end.

    Threads may share one Session. Processes share a session through the store or a token file.
    `login_method` is the name of the method of `client.login` that opened it.
    """

    def __init__(
        self,
        transport: Transport,
        credential: Credential,
        *,
        login_method: str,
        storage: SessionStorage | None = None,
        log_in_again: Callable[[], Tokens] | None = None,
        revalidate_after: timedelta | None = DEFAULT_REVALIDATE_AFTER,
    ) -> None:
        self.login_method = login_method
        self.revalidate_after = revalidate_after
        self._credential = RefreshingCredential(
            transport, credential, storage=storage, log_in_again=log_in_again
        )
        self._last_used = self._read_clocks()

    def __repr__(self) -> str:
        current, origin = self._credential.current, self._credential.transport.origin
        name, state = (
            current.session_id or self.login_method,
            "active" if self.is_active else "ended",
        )
        return f"<Session {name} of {current.username or '?'} at {origin}, {state}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is None:
            self.logout()
            return
        with suppress(DoorwardError):  # the error of the block matters more
            self.logout()

    # -- token ----------------------------------------------------------------------------------

    @property
    def token(self) -> str:
        """A valid access token or key.

        It is refreshed before it expires, and validated if it has not been used for
        `revalidate_after`. Raises NotLoggedInError if the session has ended, or the error of the
        service.
        """
        return self.get_secret_token().reveal()

    def get_secret_token(self) -> Secret:
        """Return `token` as a Secret."""
        before = self._credential.current
        self._credential.refresh_if_due()
        if (
            self._credential.current is before
            and self.revalidate_after is not None
            and self._get_idle_seconds() > self.revalidate_after.total_seconds()
        ):
            with suppress(*INCONCLUSIVE_ERRORS):
                self.validate()
        self._last_used = self._read_clocks()
        return self._credential.current.token

    def validate(self) -> Whoami:
        """Ask the service for the principal. Raises InvalidToken or NotLoggedInError."""
        self._credential.refresh_if_due()
        token = self._credential.current.token
        try:
            return self._request_whoami()
        except InvalidToken:
            if not self.can_refresh:
                raise
        self.refresh(rejected=token)
        return self._request_whoami()

    def refresh(self, *, rejected: Secret | str | None = None) -> None:
        """Refresh the token now, or only if `rejected` is still the current token."""
        self._credential.refresh_if_due(
            Secret.wrap(rejected) if rejected is not None else self._credential.current.token
        )

    def replace_tokens(self, tokens: Tokens) -> None:
        """Use tokens of this session from another response, such as to a password change."""
        self._credential.replace_tokens(tokens)

    @property
    def can_refresh(self) -> bool:
        """Whether a new token can be requested if the current one is rejected."""
        return self._credential.can_refresh

    @property
    def is_active(self) -> bool:
        """Whether the session is not known to have ended. Sends no request."""
        return not self._credential.ended_reason

    @property
    def expires_at(self) -> datetime | None:
        """The expiry of the current token, None if there is none or it is unknown."""
        return self._credential.current.expires_at

    @property
    def session_id(self) -> str:
        """The public id of the session, which is not a secret. Empty for an API key."""
        return self._credential.current.session_id

    @property
    def scope(self) -> str:
        """The scopes of the token, separated by spaces, if the login response had them."""
        return self._credential.current.scope

    @property
    def username(self) -> str:
        """The username. Asks the service if the login response did not have it."""
        if not self._credential.current.username:
            self.validate()
        return self._credential.current.username

    # -- logout ---------------------------------------------------------------------------------

    def logout(self) -> None:
        """Log out and forget the session. An API key is only forgotten. Raises LogoutError."""
        self._credential.log_out(None if self._is_api_key else "/v1/logout")

    def logout_all(self) -> None:
        """Log out of every session of the account.

        Raises LogoutError, or NotLoggedInError if this session had ended before.
        """
        if self._is_api_key:
            raise LogoutError(
                "An API key has no session. Log in to end sessions, or delete the key."
            )
        if not self._credential.log_out("/v1/logout-all"):
            raise NotLoggedInError(
                "This session had ended before, so the other sessions are still active."
                " Log in again to end them."
            )

    # -- storage --------------------------------------------------------------------------------

    def to_store(self, path: str | os.PathLike[str] | None = None) -> None:
        """Move the session to the store, where `from_store` finds it.

        The default path is DOORWARD_STORE. Raises StoreError.
        """
        if self._is_api_key:
            raise StoreError(
                "The store does not hold API keys. Pass the key each time, or use a token file."
            )
        origin = self._credential.transport.origin
        self._credential.move_to(StoreEntry(resolve_location(path), origin, self.username))

    def to_token_file(self, path: str | os.PathLike[str]) -> None:
        """Move the session to a token file, where `from_token_file` finds it.

        The file holds the URL of the service, the token and the refresh token, one per line. Only
        its owner can read it. Sessions that use it keep it up to date. Raises StoreError.
        """
        origin = self._credential.transport.origin
        self._credential.move_to(prepare_token_file(Path(path), origin))

    @property
    def _is_api_key(self) -> bool:
        return self.login_method == API_KEY_METHOD or self._credential.current.is_api_key

    def _request_whoami(self) -> Whoami:
        response = self._credential.transport.request(
            "GET", "/v1/whoami", token=self._credential.current.token
        )
        whoami = responses.parse_whoami(response)
        self._credential.update(
            lambda current: current.with_details(
                whoami.username, whoami.session_id, whoami.expires_at
            )
        )
        self._last_used = self._read_clocks()
        return whoami

    def _get_idle_seconds(self) -> float:
        """Return the seconds since the last use, by the clock that advanced more.

        The monotonic clock may stop while the machine sleeps.
        """
        monotonic, wall = self._read_clocks()
        return max(monotonic - self._last_used[0], wall - self._last_used[1])

    @staticmethod
    def _read_clocks() -> tuple[float, float]:
        return time.monotonic(), environment.get_now().timestamp()
