"""One login and its token, which is live whenever it is asked for."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

from doorward import environment as here
from doorward import responses as parse
from doorward.errors import DoorwardError, InvalidToken, LogoutError, NotLoggedInError, StoreError
from doorward.models import Tokens, Whoami
from doorward.secret import Secret
from doorward.sessions.credential import Credential
from doorward.sessions.refreshing_credential import INCONCLUSIVE_ERRORS, RefreshingCredential
from doorward.sessions.storage import SessionStorage, StoreEntry, prepare_token_file
from doorward.store.store import resolve_location
from doorward.transport.transport import Transport

DEFAULT_REVALIDATE_AFTER = timedelta(minutes=5)
API_KEY_METHOD = "with_api_key"


class Session:
    """What a login gives. `token` is live each time; with `with`, the session is logged out at the end.

    One object may be used by many threads; processes share a session by the store (`save()`) or a token file. `way` is the method of
    `login` that it came by.
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
        held, origin = self._credential.held, self._credential.transport.origin
        return f"<Session {held.session_id or self.login_method} of {held.username or '?'} at {origin}, {'live' if self.is_active else 'over'}>"

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
        with suppress(DoorwardError):  # what went wrong in the block matters more
            self.logout()

    # -- the token --------------------------------------------------------------------------------------------------

    @property
    def token(self) -> str:
        """A token that the service takes now: refreshed ahead of its end, asked about when it has not been used for a while.

        Raises NotLoggedInError when the session is over, or what the service answered.
        """
        return self.get_secret_token().reveal()

    def get_secret_token(self) -> Secret:
        """The same, wrapped."""
        before = self._credential.held
        self._credential.refresh_if_due()
        if (
            self._credential.held is before
            and self.revalidate_after is not None
            and self._get_idle_seconds() > self.revalidate_after.total_seconds()
        ):
            with suppress(*INCONCLUSIVE_ERRORS):
                self.validate()
        self._last_used = self._read_clocks()
        return self._credential.held.token

    def validate(self) -> Whoami:
        """Ask the service who this is. Raises InvalidToken or NotLoggedInError when it does not know any more."""
        self._credential.refresh_if_due()
        token = self._credential.held.token
        try:
            return self._whoami()
        except InvalidToken:
            if not self.can_refresh:
                raise
        self.refresh(rejected=token)
        return self._whoami()

    def refresh(self, *, rejected: Secret | str | None = None) -> None:
        """Another token, whatever the age of this one; none if somebody has replaced `instead_of` already."""
        self._credential.refresh_if_due(
            Secret.wrap(rejected) if rejected is not None else self._credential.held.token
        )

    def replace_tokens(self, tokens: Tokens) -> None:
        """Go on with tokens of the same session that came with another answer, e.g. to a new password."""
        self._credential.replace(tokens)

    @property
    def can_refresh(self) -> bool:
        """Could another token be had when this one is refused?"""
        return self._credential.renewable

    @property
    def is_active(self) -> bool:
        """Is it not known to be over? Asks nobody."""
        return not self._credential.over

    @property
    def expires_at(self) -> datetime | None:
        """When the present token ends, None where it does not or where that is not known. The session goes on."""
        return self._credential.held.expires_at

    @property
    def session_id(self) -> str:
        """The public id of the session; it opens nothing. Empty for a key."""
        return self._credential.held.session_id

    @property
    def scope(self) -> str:
        """What the token may do, separated by spaces, as far as the login said."""
        return self._credential.held.scope

    @property
    def username(self) -> str:
        """Whose session it is; the service is asked where the login did not say."""
        if not self._credential.held.username:
            self.validate()
        return self._credential.held.username

    # -- its end ----------------------------------------------------------------------------------------------------

    def logout(self) -> None:
        """End the session: its tokens stop at once, and it is forgotten here. A key is only forgotten. Raises LogoutError."""
        self._credential.end(None if self._is_api_key else "/v1/logout")

    def logout_all(self) -> None:
        """End every session of the account. Raises LogoutError, and NotLoggedInError when this one was over: it could end no other."""
        if self._is_api_key:
            raise LogoutError(
                "An API key is no session: log in to end sessions, or delete the key."
            )
        if not self._credential.end("/v1/logout-all"):
            raise NotLoggedInError(
                "This session was over before, and could not end the others: log in again to do that."
            )

    # -- where it is kept -------------------------------------------------------------------------------------------

    def to_store(self, path: str | os.PathLike[str] | None = None) -> None:
        """Keep the session in the store (DOORWARD_STORE), where `from_store` finds it. Raises StoreError."""
        if self._is_api_key:
            raise StoreError(
                "The store is for sessions: give the key each time, or write it to a token file."
            )
        self._credential.move_to(
            StoreEntry(resolve_location(path), self._credential.transport.origin, self.username)
        )

    def to_token_file(self, path: str | os.PathLike[str]) -> None:
        """Keep the token in a file: the address of the service, the token and the refresh token, a line each.

        Only its owner can read it. The file is the session's home from now on: whoever reads it with `from_token_file` keeps it
        up to date, and the store has it no more. Raises StoreError.
        """
        self._credential.move_to(prepare_token_file(Path(path), self._credential.transport.origin))

    @property
    def _is_api_key(self) -> bool:
        return self.login_method == API_KEY_METHOD or self._credential.held.is_api_key

    def _whoami(self) -> Whoami:
        found = parse.parse_whoami(
            self._credential.transport.ask("GET", "/v1/whoami", token=self._credential.held.token)
        )
        self._credential.update(
            lambda held: held.known(found.username, found.session_id, found.expires_at)
        )
        self._last_used = self._read_clocks()
        return found

    def _get_idle_seconds(self) -> float:
        """Seconds since the token was last used or asked about, by the clock that went further: one of them stops in sleep."""
        monotonic, wall = self._read_clocks()
        return max(monotonic - self._last_used[0], wall - self._last_used[1])

    @staticmethod
    def _read_clocks() -> tuple[float, float]:
        return time.monotonic(), here.get_now().timestamp()
