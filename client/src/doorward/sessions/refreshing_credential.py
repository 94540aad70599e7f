"""Keeps the credential of a session valid. One thread of one process at a time refreshes it."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext, suppress

from doorward import responses
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

# Two attempts fit into the 30 s in which the service repeats its response to a refresh token.
REFRESH_TIMEOUT_SECONDS = 8.0
REFRESH_ATTEMPTS = 2
RETRY_DELAY_SECONDS = 5.0  # after an early refresh that failed
MIN_USABLE_SECONDS = 1.0  # a token that expires sooner is not worth sending
# Errors that say nothing about the token, which may still be valid.
INCONCLUSIVE_ERRORS = (ServiceUnavailable, RateLimited, UnexpectedAnswer)
SESSION_ENDED = "The session has ended. Log in again."
LOGGED_OUT = "You are logged out. Log in again."


class RefreshingCredential:
    """The current credential of a session, which is refreshed and stored as needed."""

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
        self.ended_reason = ""  # empty while the session is active
        self._storage = storage
        self._last_read = credential  # what the storage held when it was last read
        self._log_in_again = log_in_again
        self._lock = ForkSafeLock()
        self._no_refresh_before = 0.0

    @property
    def can_refresh(self) -> bool:
        """Whether a new token can be requested if the current one is rejected."""
        return self.current.refresh_token is not None or self._log_in_again is not None

    def refresh_if_due(self, rejected: Secret | None = None) -> None:
        """Refresh the token if it expires soon, or if `rejected` is still the current token.

        Raises NotLoggedInError or the error of the service.
        """
        if not self.ended_reason and not self._needs_refresh(rejected):
            return
        with self._lock:
            self._require_active()
            if not self._needs_refresh(rejected):
                return
            try:
                self._refresh_under_lock(rejected)
            except INCONCLUSIVE_ERRORS:
                remaining = self.current.get_remaining_seconds()
                if rejected is not None or remaining <= MIN_USABLE_SECONDS:
                    raise
                # The refresh was early, so the current token is still valid.
                self._no_refresh_before = time.monotonic() + RETRY_DELAY_SECONDS

    def replace_tokens(self, tokens: Tokens) -> None:
        """Use tokens of the same session that came with another response."""
        with self._lock:
            self._require_active()
            # First in memory, in case the storage fails.
            self.current = self.current.with_tokens(tokens)
            with self._storage.hold_lock() if self._storage else nullcontext():
                self._read_storage()
                self._store(self.current.with_tokens(tokens))

    def update(self, change: Callable[[Credential], Credential]) -> None:
        """Change details of the current credential in memory."""
        with self._lock:
            self.current = change(self.current)

    def move_to(self, storage: SessionStorage) -> None:
        """Write the session to the storage, and remove it from the previous one."""
        with self._lock:
            self._require_active()
            previous = self._storage
            with storage.hold_lock():
                storage.write(self.current)
            self._storage, self._last_read = storage, self.current
            if previous is not None and previous != storage:
                with previous.hold_lock():
                    previous.remove(self.current)

    def log_out(self, path: str | None) -> bool:
        """End the session at the service with a request to the path, and forget it.

        Without a path, it is only forgotten. Returns False if it had ended before. Raises
        LogoutError, and then nothing is forgotten.
        """
        with self._lock:
            if self.ended_reason:
                return False
            was_active = path is None or self._request_logout(path)
            self.ended_reason, self._log_in_again = LOGGED_OUT, None
            credential, self.current = self.current, self.current.to_redacted()
            if self._storage is not None:
                with self._storage.hold_lock():
                    self._storage.remove(credential)
            return was_active

    def _needs_refresh(self, rejected: Secret | None) -> bool:
        if rejected is not None:
            return self.current.token == rejected
        return self.current.is_refresh_due() and (
            time.monotonic() >= self._no_refresh_before
            or self.current.get_remaining_seconds() <= MIN_USABLE_SECONDS
        )

    def _refresh_under_lock(self, rejected: Secret | None) -> None:
        with self._storage.hold_lock() if self._storage else nullcontext():
            self._read_storage()
            if self._needs_refresh(rejected):
                self._refresh()

    def _read_storage(self) -> None:
        """Use the credential that another process has stored.

        If the storage is empty or holds another session, it is not used from now on.
        """
        if self._storage is None:
            return
        stored = self._storage.read()
        if stored is None or (
            stored.session_id
            and self.current.session_id
            and stored.session_id != self.current.session_id
        ):
            self._storage = None
        # An unchanged storage may be older than our credential, if writing that failed.
        elif not stored.has_same_secrets(self._last_read):
            self.current = self._last_read = stored.with_details(
                self.current.username, self.current.session_id
            )

    def _refresh(self) -> None:
        tokens = self._request_tokens()
        if tokens is None:
            self._end_or_log_in_again()
            return
        self._store(self.current.with_tokens(tokens))

    def _request_tokens(self) -> Tokens | None:
        """Request new tokens. Returns None if the session has ended."""
        if self.current.refresh_token is None:
            return None
        try:
            # Safe to retry: the service repeats its response for 30 s.
            response = self.transport.request(
                "POST",
                "/v1/token/refresh",
                json={"refresh_token": self.current.refresh_token},
                max_attempts=REFRESH_ATTEMPTS,
                read_timeout=REFRESH_TIMEOUT_SECONDS,
            )
            return responses.parse_tokens(response)
        except (NotLoggedInError, InvalidToken):
            return None

    def _store(self, credential: Credential) -> None:
        self.current = credential
        if self._storage is not None:
            self._storage.write(credential)
            self._last_read = credential

    def _end_or_log_in_again(self) -> None:
        """Log in again with the kept password, or raise NotLoggedInError."""
        if self._storage is not None:
            self._storage.remove(self.current)
        if self._log_in_again is None:
            self.ended_reason = SESSION_ENDED
            raise NotLoggedInError(SESSION_ENDED)
        try:
            tokens = self._log_in_again()
        except LoginError:
            # Not tried again: repeating a wrong password would lock the account.
            self._log_in_again, self.ended_reason = None, SESSION_ENDED
            raise
        self._store(Credential.from_tokens(tokens))

    def _request_logout(self, path: str) -> bool:
        with suppress(StoreError):
            self._read_storage()
        refresh_token = self.current.refresh_token
        body = {"refresh_token": refresh_token} if refresh_token else {}
        failure: DoorwardError | None = None
        try:
            self.transport.request("POST", path, token=self.current.token, json=body)
        except InvalidToken:
            return False
        except DoorwardError as error:
            failure = error
        if failure is None:
            return True
        raise LogoutError(
            f"The session may still be active. Log out again. {failure}",
            code=failure.code,
            status=failure.status,
        )

    def _require_active(self) -> None:
        if self.ended_reason:
            raise NotLoggedInError(self.ended_reason)
