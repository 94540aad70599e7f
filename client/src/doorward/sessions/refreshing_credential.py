"""A token that is kept live: one thread and one process at a time asks for the next, and all others use that."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext, suppress

from doorward import responses as parse
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
from doorward.fork_safe_lock import ForkSafeLock
from doorward.models import Tokens
from doorward.secret import Secret
from doorward.sessions.credential import Credential
from doorward.sessions.storage import SessionStorage
from doorward.transport.transport import Transport

REFRESH_TIMEOUT_SECONDS = 8.0  # seconds for one try; both must fit into the 30 s in which the service gives the same answer twice
RETRY_DELAY_SECONDS = 5.0  # seconds after a refresh ahead of time that failed
MIN_USABLE_SECONDS = 1.0  # seconds of life that are not worth sending
INCONCLUSIVE_ERRORS = (
    ServiceUnavailable,
    RateLimited,
    UnexpectedAnswer,
)  # about the token; it may well be good
SESSION_ENDED = "The session is over: log in again."
LOGGED_OUT = "You are logged out: log in again."


class RefreshingCredential:
    """What a session holds, and how it comes by the next token."""

    def __init__(
        self,
        transport: Transport,
        credential: Credential,
        *,
        storage: SessionStorage | None,
        log_in_again: Callable[[], Tokens] | None,
    ) -> None:
        self.transport = transport
        self.current = credential
        self.ended_reason = ""
        self._storage = storage
        self._last_read = credential  # what the home held when it was last looked at
        self._log_in_again = log_in_again
        self._lock = ForkSafeLock()
        self._not_before = 0.0

    @property
    def can_refresh(self) -> bool:
        """Could another token be had when this one is refused?"""
        return self.current.refresh_token is not None or self._log_in_again is not None

    def refresh_if_due(self, rejected: Secret | None = None) -> None:
        """Another token if it is time, or if `refused` is still the present one. Raises NotLoggedInError or what the service answered."""
        if not self.ended_reason and not self._needs_refresh(rejected):
            return
        with self._lock:
            self._require_active()
            if not self._needs_refresh(rejected):
                return
            try:
                self._refresh_under_lock(rejected)
            except INCONCLUSIVE_ERRORS:
                if (
                    rejected is not None
                    or self.current.get_remaining_seconds() <= MIN_USABLE_SECONDS
                ):
                    raise
                self._not_before = (
                    time.monotonic() + RETRY_DELAY_SECONDS
                )  # it was ahead of time: the present one still counts

    def replace_tokens(self, tokens: Tokens) -> None:
        """Go on with tokens of the same session that came with another answer."""
        with self._lock:
            self._require_active()
            self.current = self.current.with_tokens(tokens)  # also where the home cannot be used
            with self._storage.exclusive() if self._storage else nullcontext():
                self._read_storage()
                self._store(self.current.with_tokens(tokens))

    def update(self, change: Callable[[Credential], Credential]) -> None:
        """Something about the token that was not known."""
        with self._lock:
            self.current = change(self.current)

    def move_to(self, storage: SessionStorage) -> None:
        """Keep it there from now on, and nowhere else."""
        with self._lock:
            self._require_active()
            before = self._storage
            with storage.exclusive():
                storage.write(self.current)
            self._storage, self._last_read = storage, self.current
            if before is not None and before != storage:
                with before.exclusive():
                    before.remove(self.current)

    def log_out(self, path: str | None) -> bool:
        """Tell the service, at the path if there is one, and forget everything; False where the session was over before.

        Raises LogoutError, and then nothing is forgotten.
        """
        with self._lock:
            if self.ended_reason:
                return False
            told = path is None or self._request_logout(path)
            self.ended_reason, self._log_in_again = LOGGED_OUT, None
            held, self.current = self.current, self.current.to_redacted()
            if self._storage is not None:
                with self._storage.exclusive():
                    self._storage.remove(held)
            return told

    def _needs_refresh(self, rejected: Secret | None) -> bool:
        if rejected is not None:
            return self.current.token == rejected
        return self.current.is_refresh_due() and (
            time.monotonic() >= self._not_before
            or self.current.get_remaining_seconds() <= MIN_USABLE_SECONDS
        )

    def _refresh_under_lock(self, rejected: Secret | None) -> None:
        with self._storage.exclusive() if self._storage else nullcontext():
            self._read_storage()
            if self._needs_refresh(rejected):
                self._refresh()

    def _read_storage(self) -> None:
        """Take what another process has put there. What is of another login, or gone, is left alone from now on."""
        if self._storage is None:
            return
        found = self._storage.read()
        if found is None or (
            found.session_id
            and self.current.session_id
            and found.session_id != self.current.session_id
        ):
            self._storage = None
        elif not found.has_same_secrets(
            self._last_read
        ):  # else it may be older than ours, which could not be written down
            self.current = self._last_read = found.known(
                self.current.username, self.current.session_id
            )

    def _refresh(self) -> None:
        found = self._request_tokens()
        if found is None:
            self._end_or_log_in_again()
            return
        self._store(self.current.with_tokens(found))

    def _request_tokens(self) -> Tokens | None:
        """None when the session is over."""
        if self.current.refresh_token is None:
            return None
        body = {"refresh_token": self.current.refresh_token}
        try:
            # Safe to say twice: the service gives the same answer for a while (its grace).
            return parse.parse_tokens(
                self.transport.ask(
                    "POST",
                    "/v1/token/refresh",
                    json=body,
                    max_attempts=2,
                    read=REFRESH_TIMEOUT_SECONDS,
                )
            )
        except (NotLoggedInError, InvalidToken):
            return None

    def _store(self, credential: Credential) -> None:
        self.current = credential
        if self._storage is not None:
            self._storage.write(credential)
            self._last_read = credential

    def _end_or_log_in_again(self) -> None:
        """The session is over. Who has a password to log in with does so; everybody else is told."""
        if self._storage is not None:
            self._storage.remove(self.current)
        if self._log_in_again is None:
            self.ended_reason = SESSION_ENDED
            raise NotLoggedInError(SESSION_ENDED)
        try:
            found = self._log_in_again()
        except LoginError:
            # Tried once: a password that is wrong by now would lock the account when it is tried again and again.
            self._log_in_again, self.ended_reason = None, SESSION_ENDED
            raise
        self._store(Credential.from_tokens(found))

    def _request_logout(self, path: str) -> bool:
        with suppress(StoreError):
            self._read_storage()
        body = {"refresh_token": self.current.refresh_token} if self.current.refresh_token else {}
        failed: DoorwardError | None = None
        try:
            self.transport.ask("POST", path, token=self.current.token, json=body)
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

    def _require_active(self) -> None:
        if self.ended_reason:
            raise NotLoggedInError(self.ended_reason)
