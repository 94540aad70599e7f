"""Waiting for a decision on another device, as RFC 8628 section 3.5 wants it: never quicker than asked, never longer than allowed."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from doorward.device_login.prompt import DEFAULT_INTERVAL_SECONDS, MAX_INTERVAL_SECONDS
from doorward.errors import (
    DoorwardError,
    LoginExpired,
    LoginPending,
    LoginTimeout,
    NotLoggedInError,
    RateLimited,
    RedirectRefused,
    ServiceUnavailable,
    TLSError,
    UnexpectedAnswer,
)
from doorward.models import Tokens
from doorward.responses import parse_tokens
from doorward.secret import Secret
from doorward.transport.transport import Transport

GRANT = "urn:ietf:params:oauth:grant-type:device_code"
SLOW_DOWN_SECONDS = 5.0  # seconds more after each slow_down
MAX_BACKOFF_SECONDS = 60.0
MIN_READ_TIMEOUT_SECONDS = 3.0  # seconds; it may hold the tokens, which nobody can ask for again


class DevicePoller:
    """Polls with one device code."""

    def __init__(
        self,
        transport: Transport,
        device_code: Secret,
        *,
        client_id: str | None = None,
        interval: float = DEFAULT_INTERVAL_SECONDS,
    ) -> None:
        self._transport = transport
        self._form: Mapping[str, Any] = {
            "grant_type": GRANT,
            "device_code": device_code,
            "client_id": client_id or "doorward",
        }
        self._device_code = device_code
        self._interval = interval
        self._failures = 0

    def poll_once(self, *, read_timeout: float | None = None) -> Tokens:
        """Ask one time, waiting `read` seconds. Raises LoginPending, LoginDenied, LoginExpired or what else went wrong."""
        over: NotLoggedInError | None = None
        try:
            return parse_tokens(
                self._transport.ask("POST", "/oauth/token", form=self._form, read=read_timeout)
            )
        except NotLoggedInError as error:
            over = error
        raise LoginExpired(
            "The login is unknown, too old, of another client_id or was picked up already: ask for a new one.",
            code=over.code,
            status=over.status,
            detail=over.detail,
        )

    def poll_until_decided(self, seconds: float, *, initial_delay: float | None = None) -> Tokens:
        """Ask until somebody has decided, whatever the network does meanwhile; the first time after `first` seconds.

        Raises LoginTimeout, LoginDenied or LoginExpired.
        """
        end = time.monotonic() + seconds
        last: DoorwardError | None = None
        pause = self._interval if initial_delay is None else initial_delay
        while (left := end - time.monotonic()) > 0:
            if pause >= left:
                time.sleep(left)
                break
            time.sleep(pause)
            try:
                return self.poll_once(read_timeout=max(left - pause, MIN_READ_TIMEOUT_SECONDS))
            except LoginPending as error:
                pause, last = self._get_pending_delay(error), None
            except (ServiceUnavailable, RateLimited, UnexpectedAnswer) as error:
                if isinstance(error, TLSError | RedirectRefused):
                    raise
                pause, last = self._get_backoff_delay(error), error
        why = f" The last answer was: {last}" if last else ""
        raise LoginTimeout(
            f"Nobody approved the login within {seconds:.0f} s: ask for a new one.{why}"
        )

    def cancel(self) -> None:
        """Tell the service that nobody waits any more."""
        self._transport.ask(
            "POST", "/v1/login-sessions/cancel", json={"device_code": self._device_code}, read=3.0
        )

    def _get_pending_delay(self, error: LoginPending) -> float:
        self._failures = 0
        if error.code == "slow_down":
            self._interval = min(self._interval + SLOW_DOWN_SECONDS, MAX_INTERVAL_SECONDS)
        return self._interval

    def _get_backoff_delay(self, error: DoorwardError) -> float:
        """Less and less often while nothing sensible comes, and at once as before when it does."""
        self._failures = min(self._failures + 1, 6)
        told = getattr(error, "retry_after", None) or 0.0
        usual = (
            self._interval
            if isinstance(error, RateLimited)
            else self._interval * 2 ** (self._failures - 1)
        )
        return max(min(usual, MAX_BACKOFF_SECONDS), told)
