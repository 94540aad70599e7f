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

from doorward import here, parse
from doorward.answers import Tokens, Whoami
from doorward.errors import DoorwardError, InvalidToken, LogoutError, NotLoggedInError, StoreError
from doorward.held import Held
from doorward.homes import Home, InStore, token_file
from doorward.live import NO_ANSWER, Live
from doorward.secret import Secret
from doorward.store import place_of
from doorward.transport import Transport

REVALIDATE_AFTER = timedelta(minutes=5)
BY_KEY = "with_api_key"


class Session:
    """What a login gives. `token` is live each time; with `with`, the session is logged out at the end.

    One object may be used by many threads; processes share a session by the store (`save()`) or a token file. `way` is the method of
    `login` that it came by.
    """

    def __init__(
        self,
        transport: Transport,
        held: Held,
        *,
        way: str,
        home: Home | None = None,
        log_in_again: Callable[[], Tokens] | None = None,
        revalidate_after: timedelta | None = REVALIDATE_AFTER,
    ) -> None:
        self.way = way
        self.revalidate_after = revalidate_after
        self._live = Live(transport, held, home=home, log_in_again=log_in_again)
        self._seen = self._now()

    def __repr__(self) -> str:
        held, origin = self._live.held, self._live.transport.origin
        return f"<Session {held.session_id or self.way} of {held.username or '?'} at {origin}, {'live' if self.usable else 'over'}>"

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
        return self.live().reveal()

    def live(self) -> Secret:
        """The same, wrapped."""
        before = self._live.held
        self._live.renew()
        if (
            self._live.held is before
            and self.revalidate_after is not None
            and self._idle() > self.revalidate_after.total_seconds()
        ):
            with suppress(*NO_ANSWER):
                self.validate()
        self._seen = self._now()
        return self._live.held.token

    def validate(self) -> Whoami:
        """Ask the service who this is. Raises InvalidToken or NotLoggedInError when it does not know any more."""
        self._live.renew()
        token = self._live.held.token
        try:
            return self._whoami()
        except InvalidToken:
            if not self.renewable:
                raise
        self.refresh(instead_of=token)
        return self._whoami()

    def refresh(self, *, instead_of: Secret | str | None = None) -> None:
        """Another token, whatever the age of this one; none if somebody has replaced `instead_of` already."""
        self._live.renew(Secret.of(instead_of) if instead_of is not None else self._live.held.token)

    def replace(self, found: Tokens) -> None:
        """Go on with tokens of the same session that came with another answer, e.g. to a new password."""
        self._live.replace(found)

    @property
    def renewable(self) -> bool:
        """Could another token be had when this one is refused?"""
        return self._live.renewable

    @property
    def usable(self) -> bool:
        """Is it not known to be over? Asks nobody."""
        return not self._live.over

    @property
    def expires_at(self) -> datetime | None:
        """When the present token ends, None where it does not or where that is not known. The session goes on."""
        return self._live.held.expires_at

    @property
    def session_id(self) -> str:
        """The public id of the session; it opens nothing. Empty for a key."""
        return self._live.held.session_id

    @property
    def scope(self) -> str:
        """What the token may do, separated by spaces, as far as the login said."""
        return self._live.held.scope

    @property
    def username(self) -> str:
        """Whose session it is; the service is asked where the login did not say."""
        if not self._live.held.username:
            self.validate()
        return self._live.held.username

    # -- its end ----------------------------------------------------------------------------------------------------

    def logout(self) -> None:
        """End the session: its tokens stop at once, and it is forgotten here. A key is only forgotten. Raises LogoutError."""
        self._live.end(None if self._of_key else "/v1/logout")

    def logout_all(self) -> None:
        """End every session of the account. Raises LogoutError, and NotLoggedInError when this one was over: it could end no other."""
        if self._of_key:
            raise LogoutError(
                "An API key is no session: log in to end sessions, or delete the key."
            )
        if not self._live.end("/v1/logout-all"):
            raise NotLoggedInError(
                "This session was over before, and could not end the others: log in again to do that."
            )

    # -- where it is kept -------------------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str] | None = None) -> None:
        """Keep the session in the store (DOORWARD_STORE), where `from_store` finds it. Raises StoreError."""
        if self._of_key:
            raise StoreError(
                "The store is for sessions: give the key each time, or write it to a token file."
            )
        self._live.move(InStore(place_of(path), self._live.transport.origin, self.username))

    def to_token_file(self, path: str | os.PathLike[str]) -> None:
        """Keep the token in a file: the address of the service, the token and the refresh token, a line each.

        Only its owner can read it. The file is the session's home from now on: whoever reads it with `from_token_file` keeps it
        up to date, and the store has it no more. Raises StoreError.
        """
        self._live.move(token_file(Path(path), self._live.transport.origin))

    @property
    def _of_key(self) -> bool:
        return self.way == BY_KEY or self._live.held.is_key

    def _whoami(self) -> Whoami:
        found = parse.whoami(
            self._live.transport.ask("GET", "/v1/whoami", token=self._live.held.token)
        )
        self._live.learn(
            lambda held: held.known(found.username, found.session_id, found.expires_at)
        )
        self._seen = self._now()
        return found

    def _idle(self) -> float:
        """Seconds since the token was last used or asked about, by the clock that went further: one of them stops in sleep."""
        monotonic, wall = self._now()
        return max(monotonic - self._seen[0], wall - self._seen[1])

    @staticmethod
    def _now() -> tuple[float, float]:
        return time.monotonic(), here.now().timestamp()
