"""One login and its token, which is live whenever it is asked for."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext, suppress
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

from doorward import answers
from doorward.answers import Tokens, Whoami
from doorward.errors import (
    DoorwardError,
    InvalidToken,
    LoginError,
    LogoutError,
    NotLoggedInError,
    RateLimited,
    ServiceUnavailable,
    StoreError,
)
from doorward.held import Held
from doorward.homes import Home, InStore, token_file
from doorward.secret import Secret
from doorward.store import store_path
from doorward.transport import Transport

REVALIDATE_AFTER = timedelta(minutes=5)
REFRESH_WITHIN = 8.0  # seconds for one try; both must fit into the 30 s in which the service gives the same answer twice
NOT_AGAIN_FOR = 5.0  # seconds after a refresh ahead of time that failed
OVER = "The session is over: log in again."


class Session:
    """What a login gives. `token` is live each time; with `with`, the session is logged out at the end.

    One object may be used by many threads; processes share a session by the store (`save()`) or a token file.
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
        self._transport = transport
        self._held = held
        self._home = home
        self._log_in_again = log_in_again
        self._over = ""
        self._lock = threading.RLock()
        self._seen = time.monotonic()
        self._not_before = 0.0

    def __repr__(self) -> str:
        state = "over" if self._over else "live"
        return f"<Session {self._held.session_id or self.way} of {self._held.username or '?'} at {self._transport.origin}, {state}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
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
        self._renew(None)
        idle = time.monotonic() - self._seen
        if self.revalidate_after is not None and idle > self.revalidate_after.total_seconds():
            with suppress(ServiceUnavailable, RateLimited):  # no answer about the token; it may well be good
                self.validate()
        self._seen = time.monotonic()
        return self._held.token

    def validate(self) -> Whoami:
        """Ask the service who this is. Raises InvalidToken or NotLoggedInError when it does not know any more."""
        self._renew(None)
        token = self._held.token
        try:
            found = self._whoami()
        except InvalidToken:
            if not self.renewable:
                raise
            self.refresh(instead_of=token)
            found = self._whoami()
        self._seen = time.monotonic()
        return found

    def refresh(self, *, instead_of: Secret | str | None = None) -> None:
        """Another token, whatever the age of this one; none if somebody has replaced `instead_of` already."""
        self._renew(Secret.of(instead_of) if instead_of is not None else self._held.token)

    def replace(self, found: Tokens) -> None:
        """Go on with tokens of the same session that came with another answer, e.g. to a new password."""
        with self._lock:
            self._need_live()
            with self._home.exclusive() if self._home else nullcontext():
                self._take(self._held.renewed(found))

    @property
    def renewable(self) -> bool:
        """Could another token be had when this one is refused?"""
        return self._held.refresh_token is not None or self._log_in_again is not None

    @property
    def expires_at(self) -> datetime | None:
        """When the present token ends, None where it does not or where that is not known. The session goes on."""
        return self._held.expires_at

    @property
    def session_id(self) -> str:
        """The public id of the session; it opens nothing. Empty for a key."""
        return self._held.session_id

    @property
    def scope(self) -> str:
        """What the token may do, separated by spaces, as far as the login said."""
        return self._held.scope

    @property
    def username(self) -> str:
        """Whose session it is; the service is asked where the login did not say."""
        if not self._held.username:
            self.validate()
        return self._held.username

    @property
    def live_here(self) -> bool:
        """Can it be used, as far as is known without asking?"""
        return not self._over

    # -- its end ----------------------------------------------------------------------------------------------------

    def logout(self) -> None:
        """End the session: its tokens stop at once, and it is forgotten here. A key is only forgotten. Raises LogoutError."""
        self._end("/v1/logout")

    def logout_all(self) -> None:
        """End every session of the account. Raises LogoutError."""
        if self.way == "with_api_key":
            raise LogoutError("An API key is no session: log in to end sessions, or delete the key.")
        self._end("/v1/logout-all")

    # -- where it is kept -------------------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str] | None = None) -> None:
        """Keep the session in the store (DOORWARD_STORE), where `from_store` finds it. Raises StoreError."""
        if self.way == "with_api_key":
            raise StoreError("The store is for sessions: give the key each time, or write it to a token file.")
        self._move(InStore(Path(path) if path is not None else store_path(), self._transport.origin, self.username))

    def to_token_file(self, path: str | os.PathLike[str]) -> None:
        """Keep the token in a file: the address of the service, the token and the refresh token, a line each.

        Only its owner can read it. The file is the session's home from now on: whoever reads it with `from_token_file` keeps it
        up to date, and the store has it no more. Raises StoreError.
        """
        self._move(token_file(Path(path), self._transport.origin))

    # -- inside -----------------------------------------------------------------------------------------------------

    def _move(self, home: Home) -> None:
        with self._lock:
            self._need_live()
            before = self._home
            with home.exclusive():
                home.write(self._held)
            self._home = home
            if before is not None and before != home:
                with before.exclusive():
                    before.remove(self._held)

    def _renew(self, refused: Secret | None) -> None:
        """Another token if it is time, or if this one was refused. One thread and one process does it for all."""
        if not self._over and not self._wanted(self._held, refused):
            return
        with self._lock:
            self._need_live()
            if not self._wanted(self._held, refused):
                return
            try:
                self._renew_alone(refused)
            except (ServiceUnavailable, RateLimited):
                if refused is not None or self._held.remaining() <= 1:
                    raise
                self._not_before = time.monotonic() + NOT_AGAIN_FOR  # it was ahead of time: the present one still counts

    def _wanted(self, held: Held, refused: Secret | None) -> bool:
        if refused is not None:
            return held.token == refused
        return held.due() and (time.monotonic() >= self._not_before or held.remaining() <= 1)

    def _renew_alone(self, refused: Secret | None) -> None:
        with self._home.exclusive() if self._home else nullcontext():
            if self._home is not None:
                self._adopt(self._home.read())
            if self._wanted(self._held, refused):
                self._ask_for_another()

    def _adopt(self, found: Held | None) -> None:
        """Take what another process has put there. What is of another login, or gone, is left alone from now on."""
        if found is None or (found.session_id and self._held.session_id and found.session_id != self._held.session_id):
            self._home = None
        elif found.token != self._held.token or found.refresh_token != self._held.refresh_token:
            self._held = found

    def _ask_for_another(self) -> None:
        if self._held.refresh_token is None:
            self._finish(OVER)
            return
        over = False
        try:
            found = self._transport.ask(
                "POST", "/v1/token/refresh", json={"refresh_token": self._held.refresh_token}, tries=2, read=REFRESH_WITHIN
            )
        except (NotLoggedInError, InvalidToken):
            over = True
        if over:
            self._finish(OVER)
            return
        self._take(self._held.renewed(answers.tokens(found)))

    def _take(self, held: Held) -> None:
        self._held, self._seen = held, time.monotonic()
        if self._home is not None:
            self._home.write(held)

    def _finish(self, text: str) -> None:
        """The session is over. Who has a password to log in with does so; everybody else is told."""
        if self._home is not None:
            self._home.remove(self._held)
        if self._log_in_again is None:
            self._over = text
            raise NotLoggedInError(text)
        try:
            found = self._log_in_again()
        except LoginError:
            # Tried once: a password that is wrong by now would lock the account when it is tried again and again.
            self._log_in_again, self._over = None, text
            raise
        self._take(Held.of_answer(found))

    def _whoami(self) -> Whoami:
        found = answers.whoami(self._transport.ask("GET", "/v1/whoami", token=self._held.token))
        with self._lock:
            self._held = self._held.told(found.username, found.session_id, found.expires_at)
        return found

    def _end(self, path: str) -> None:
        with self._lock:
            if self._over:
                return
            if self.way != "with_api_key":
                self._tell(path)
            if self._home is not None:
                with self._home.exclusive():
                    self._home.remove(self._held)
            self._over, self._log_in_again = "You are logged out: log in again.", None
            self._held = self._held.without_secrets()

    def _tell(self, path: str) -> None:
        if self._home is not None:
            with suppress(StoreError):
                self._adopt(self._home.read())
        body = {"refresh_token": self._held.refresh_token} if self._held.refresh_token else {}
        failed: DoorwardError | None = None
        try:
            self._transport.ask("POST", path, token=self._held.token, json=body)
        except InvalidToken:
            return  # it was over already
        except DoorwardError as error:
            failed = error
        if failed is not None:
            raise LogoutError(f"The session may still be live: log out again. {failed}", code=failed.code, status=failed.status)

    def _need_live(self) -> None:
        if self._over:
            raise NotLoggedInError(self._over)
