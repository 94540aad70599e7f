"""Polls for the decision on a device login (RFC 8628 section 3.5)."""

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
SLOW_DOWN_SECONDS = 5.0  # added to the interval after each slow_down
MAX_BACKOFF_SECONDS = 60.0
MAX_BACKOFF_DOUBLINGS = 5
# The last response may hold the tokens, which are issued only once, so it always gets this long.
MIN_READ_TIMEOUT_SECONDS = 3.0
CANCEL_TIMEOUT_SECONDS = 3.0


class DevicePoller:
    """Polls the token endpoint with one device code."""

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
        """Poll once. Raises LoginPending, LoginDenied, LoginExpired or another DoorwardError."""
        ended: NotLoggedInError | None = None
        try:
            response = self._transport.request(
                "POST", "/oauth/token", form=self._form, read_timeout=read_timeout
            )
            return parse_tokens(response)
        except NotLoggedInError as error:
            ended = error
        raise LoginExpired(
            "The device login is unknown, expired, completed already, or was started with another"
            " client_id. Start a new one.",
            code=ended.code,
            status=ended.status,
            detail=ended.detail,
        )

    def poll_until_decided(self, seconds: float, *, initial_delay: float | None = None) -> Tokens:
        """Poll until the login is decided, through temporary failures of network and service.

        Raises LoginTimeout, LoginDenied or LoginExpired.
        """
        deadline = time.monotonic() + seconds
        last_error: DoorwardError | None = None
        delay = self._interval if initial_delay is None else initial_delay
        while (left := deadline - time.monotonic()) > 0:
            if delay >= left:
                time.sleep(left)
                break
            time.sleep(delay)
            try:
                return self.poll_once(read_timeout=max(left - delay, MIN_READ_TIMEOUT_SECONDS))
            except LoginPending as error:
                delay, last_error = self._get_pending_delay(error), None
            except (ServiceUnavailable, RateLimited, UnexpectedAnswer) as error:
                if isinstance(error, TLSError | RedirectRefused):
                    raise
                delay, last_error = self._get_backoff_delay(error), error
        reason = f" The last error was: {last_error}" if last_error else ""
        raise LoginTimeout(
            f"The login was not approved within {seconds:.0f} s. Start a new one.{reason}"
        )

    def cancel(self) -> None:
        """Cancel the device login at the service."""
        self._transport.request(
            "POST",
            "/v1/login-sessions/cancel",
            json={"device_code": self._device_code},
            read_timeout=CANCEL_TIMEOUT_SECONDS,
        )

    def _get_pending_delay(self, error: LoginPending) -> float:
        self._failures = 0
        if error.code == "slow_down":
            self._interval = min(self._interval + SLOW_DOWN_SECONDS, MAX_INTERVAL_SECONDS)
        return self._interval

    def _get_backoff_delay(self, error: DoorwardError) -> float:
        """Return an exponential backoff, which the next valid response resets."""
        self._failures = min(self._failures + 1, MAX_BACKOFF_DOUBLINGS + 1)
        retry_after = getattr(error, "retry_after", None) or 0.0
        backoff = (
            self._interval
            if isinstance(error, RateLimited)
            else self._interval * 2 ** (self._failures - 1)
        )
        return max(min(backoff, MAX_BACKOFF_SECONDS), retry_after)
