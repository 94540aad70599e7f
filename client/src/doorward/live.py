"""A token that is kept live: one thread and one process at a time asks for the next, and all others use that."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext, suppress

from doorward import parse
from doorward.answers import Tokens
from doorward.errors import (
    DoorwardError,
    InvalidToken,
    LoginError,
    LogoutError,
    NotLoggedInError,
    RateLimited,
    ServiceUnavailable,
    StoreError,
    UnexpectedAnswer,
)
from doorward.forks import Alone
from doorward.held import Held
from doorward.homes import Home
from doorward.secret import Secret
from doorward.transport import Transport

REFRESH_WITHIN = 8.0  # seconds for one try; both must fit into the 30 s in which the service gives the same answer twice
NOT_AGAIN_FOR = 5.0  # seconds after a refresh ahead of time that failed
LAST = 1.0  # seconds of life that are not worth sending
NO_ANSWER = (
    ServiceUnavailable,
    RateLimited,
    UnexpectedAnswer,
)  # about the token; it may well be good
OVER = "The session is over: log in again."
LOGGED_OUT = "You are logged out: log in again."


class Live:
    """What a session holds, and how it comes by the next token."""

    def __init__(
        self,
        transport: Transport,
        held: Held,
        *,
        home: Home | None,
        log_in_again: Callable[[], Tokens] | None,
    ) -> None:
        self.transport = transport
        self.held = held
        self.over = ""
        self._home = home
        self._there = held  # what the home held when it was last looked at
        self._log_in_again = log_in_again
        self._lock = Alone()
        self._not_before = 0.0

    @property
    def renewable(self) -> bool:
        """Could another token be had when this one is refused?"""
        return self.held.refresh_token is not None or self._log_in_again is not None

    def renew(self, refused: Secret | None = None) -> None:
        """Another token if it is time, or if `refused` is still the present one. Raises NotLoggedInError or what the service answered."""
        if not self.over and not self._wanted(refused):
            return
        with self._lock:
            self._need_live()
            if not self._wanted(refused):
                return
            try:
                self._renew_alone(refused)
            except NO_ANSWER:
                if refused is not None or self.held.remaining() <= LAST:
                    raise
                self._not_before = (
                    time.monotonic() + NOT_AGAIN_FOR
                )  # it was ahead of time: the present one still counts

    def replace(self, found: Tokens) -> None:
        """Go on with tokens of the same session that came with another answer."""
        with self._lock:
            self._need_live()
            self.held = self.held.renewed(found)  # also where the home cannot be used
            with self._home.exclusive() if self._home else nullcontext():
                self._look_at_home()
                self._take(self.held.renewed(found))

    def learn(self, told: Callable[[Held], Held]) -> None:
        """Something about the token that was not known."""
        with self._lock:
            self.held = told(self.held)

    def move(self, home: Home) -> None:
        """Keep it there from now on, and nowhere else."""
        with self._lock:
            self._need_live()
            before = self._home
            with home.exclusive():
                home.write(self.held)
            self._home, self._there = home, self.held
            if before is not None and before != home:
                with before.exclusive():
                    before.remove(self.held)

    def end(self, path: str | None) -> bool:
        """Tell the service, at the path if there is one, and forget everything; False where the session was over before.

        Raises LogoutError, and then nothing is forgotten.
        """
        with self._lock:
            if self.over:
                return False
            told = path is None or self._tell(path)
            self.over, self._log_in_again = LOGGED_OUT, None
            held, self.held = self.held, self.held.without_secrets()
            if self._home is not None:
                with self._home.exclusive():
                    self._home.remove(held)
            return told

    def _wanted(self, refused: Secret | None) -> bool:
        if refused is not None:
            return self.held.token == refused
        return self.held.due() and (
            time.monotonic() >= self._not_before or self.held.remaining() <= LAST
        )

    def _renew_alone(self, refused: Secret | None) -> None:
        with self._home.exclusive() if self._home else nullcontext():
            self._look_at_home()
            if self._wanted(refused):
                self._ask_for_another()

    def _look_at_home(self) -> None:
        """Take what another process has put there. What is of another login, or gone, is left alone from now on."""
        if self._home is None:
            return
        found = self._home.read()
        if found is None or (
            found.session_id and self.held.session_id and found.session_id != self.held.session_id
        ):
            self._home = None
        elif not found.is_same(
            self._there
        ):  # else it may be older than ours, which could not be written down
            self.held = self._there = found.known(self.held.username, self.held.session_id)

    def _ask_for_another(self) -> None:
        found = self._refreshed()
        if found is None:
            self._finish()
            return
        self._take(self.held.renewed(found))

    def _refreshed(self) -> Tokens | None:
        """None when the session is over."""
        if self.held.refresh_token is None:
            return None
        body = {"refresh_token": self.held.refresh_token}
        try:
            # Safe to say twice: the service gives the same answer for a while (its grace).
            return parse.tokens(
                self.transport.ask(
                    "POST", "/v1/token/refresh", json=body, tries=2, read=REFRESH_WITHIN
                )
            )
        except (NotLoggedInError, InvalidToken):
            return None

    def _take(self, held: Held) -> None:
        self.held = held
        if self._home is not None:
            self._home.write(held)
            self._there = held

    def _finish(self) -> None:
        """The session is over. Who has a password to log in with does so; everybody else is told."""
        if self._home is not None:
            self._home.remove(self.held)
        if self._log_in_again is None:
            self.over = OVER
            raise NotLoggedInError(OVER)
        try:
            found = self._log_in_again()
        except LoginError:
            # Tried once: a password that is wrong by now would lock the account when it is tried again and again.
            self._log_in_again, self.over = None, OVER
            raise
        self._take(Held.of_answer(found))

    def _tell(self, path: str) -> bool:
        with suppress(StoreError):
            self._look_at_home()
        body = {"refresh_token": self.held.refresh_token} if self.held.refresh_token else {}
        failed: DoorwardError | None = None
        try:
            self.transport.ask("POST", path, token=self.held.token, json=body)
        except InvalidToken:
            return False
        except DoorwardError as error:
            failed = error
        if failed is None:
            return True
        raise LogoutError(
            f"The session may still be live: log out again. {failed}",
            code=failed.code,
            status=failed.status,
        )

    def _need_live(self) -> None:
        if self.over:
            raise NotLoggedInError(self.over)
