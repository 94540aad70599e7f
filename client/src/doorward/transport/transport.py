"""One connection to one service: every request goes to its origin and nowhere else, ends in time, and fails in clear words."""

from __future__ import annotations

import os
import random
import ssl
import time
import warnings
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from doorward import environment as here
from doorward.errors import (
    ConnectionFailed,
    DoorwardError,
    InvalidInput,
    RateLimited,
    ServiceUnavailable,
    TLSError,
    UnexpectedAnswer,
)
from doorward.fork_safe_lock import ForkSafeLock
from doorward.transport.connections import Verify, describe_failure, open_http_client
from doorward.transport.messages import (
    JsonObject,
    Request,
    Response,
    build_headers,
    build_not_json_error,
    build_redirect_error,
    encode_body,
    parse_json,
)
from doorward.transport.problems import build_error, parse_http_date

if TYPE_CHECKING:
    import httpx2

    from doorward.origin import Origin

MAX_RESPONSE_BYTES = 4 * 1024 * 1024
MAX_ATTEMPTS = 3
DOT_SEGMENTS = frozenset({".", ".."})
MAX_RETRY_DELAY_SECONDS = (
    10.0  # seconds; whoever is told to wait longer is told so, and not kept waiting
)


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds. `read` is for the next bytes of an answer, `total` for the whole of it once it has begun."""

    connect: float = 5.0
    read: float = 30.0
    total: float = 60.0


@dataclass(slots=True)
class PooledClient:
    """Connections of one process, and how many requests are on their way by them."""

    client: httpx2.Client
    pid: int
    close: Callable[[], object]
    active_requests: int = 0


class Transport:
    """Sends requests to one origin. Connections are made when they are needed, anew after a fork."""

    def __init__(
        self, origin: Origin, *, verify: Verify = True, timeouts: Timeouts | None = None
    ) -> None:
        self.origin = origin
        self.clock_skew: timedelta | None = None
        self._verify = verify
        self._timeouts = timeouts or Timeouts()
        self._lock = ForkSafeLock()
        self._pooled: PooledClient | None = None
        if verify is False:
            warnings.warn(
                "verify=False: whoever is in between can read every token",
                UserWarning,
                stacklevel=3,
            )

    def request(
        self, method: str, path: str, *, max_attempts: int | None = None, **parts: Any
    ) -> JsonObject:
        """What the service answered, parsed. Only GET is tried again by itself; `tries` is for calls that are as safe.

        Raises the DoorwardError for whatever went wrong.
        """
        if not path.startswith("/") or not DOT_SEGMENTS.isdisjoint(
            path.partition("?")[0].split("/")
        ):
            reason = "must begin with / and hold no /../, or it could lead elsewhere"
            raise InvalidInput(f"A path of the API {reason}.", errors={"path": [reason]})
        asked = Request(method, path, **options)
        left = (MAX_ATTEMPTS if method == "GET" else 1) if max_attempts is None else max_attempts
        pause = 0.2
        while True:
            left -= 1
            try:
                return self._request_once(asked)
            except (ServiceUnavailable, RateLimited) as error:
                wait = max(pause, error.retry_after or 0.0)
                if left <= 0 or wait > MAX_RETRY_DELAY_SECONDS or isinstance(error, TLSError):
                    raise
            time.sleep(wait * random.uniform(1.0, 1.25))  # noqa: S311 - so that many do not come back together
            pause *= 3

    def close(self) -> None:
        """Give the connections back; those that somebody uses at this moment, when they are done."""
        with self._lock:
            lent, self._pooled = self._pooled, None
            if lent is not None and not lent.active_requests:
                lent.close()

    def _request_once(self, asked: Request) -> JsonObject:
        received, fault = self._send(asked)
        document = None
        if received is not None:
            self._measure_clock_skew(received.headers.get("Date", ""))
            document, fault = self._interpret(asked, received)
        if document is None:
            # Raised here and not where it was found: the frames below hold request and answer as they are sent.
            raise fault or ConnectionFailed("There was no answer.")
        return document

    def _send(self, asked: Request) -> tuple[Response | None, DoorwardError | None]:
        import httpx2  # it costs more than all of ours together

        content, fault = encode_body(asked)
        if fault is not None:
            return None, fault
        try:
            with (
                self._borrow_client() as client,
                client.stream(
                    asked.method,
                    f"{self.origin}{asked.path}",
                    params=asked.query,
                    headers=build_headers(asked),
                    content=content,
                    timeout=self._build_timeout(httpx2, asked.read),
                ) as response,
            ):
                return Response(
                    response.status_code, response.headers, self._read_body(response)
                ), None
        except DoorwardError as error:
            return None, error.with_traceback(None)
        except (httpx2.InvalidURL, UnicodeError):
            reason = "is too long, or holds what no address can"
            return None, InvalidInput(f"The path or its query {reason}.", errors={"path": [reason]})
        except (httpx2.HTTPError, ssl.SSLError, OSError) as error:
            return None, describe_failure(self.origin, error)

    def _read_body(self, response: httpx2.Response) -> bytes:
        end = time.monotonic() + self._timeouts.total
        content = bytearray()
        for chunk in response.iter_raw():
            content += chunk
            if len(content) > MAX_RESPONSE_BYTES:
                raise UnexpectedAnswer(
                    f"{self.origin} answered far too much: is it the address of a Doorward service?"
                )
            if time.monotonic() > end:
                raise ConnectionFailed(
                    f"{self.origin} did not finish its answer in {self._timeouts.total:.0f} s: try again later."
                )
        return bytes(content)

    @contextmanager
    def _borrow_client(self) -> Iterator[httpx2.Client]:
        """Not closed while they are used: whoever waits for an answer would not notice, and wait until the timeout."""
        with self._lock:
            # A connection that was made before a fork would be used by two processes.
            if self._pooled is None or self._pooled.pid != os.getpid():
                self._pooled = self._open_pooled_client()
            lent = self._pooled
            lent.active_requests += 1
        try:
            yield lent.client
        finally:
            with self._lock:
                lent.active_requests -= 1
                if lent is not self._pooled and not lent.active_requests:
                    lent.close()

    def _open_pooled_client(self) -> PooledClient:
        import httpx2

        client, pid = (
            open_http_client(self.origin, self._verify, self._build_timeout(httpx2, None)),
            os.getpid(),
        )
        return PooledClient(client, pid, weakref.finalize(self, _close_client, client, pid))

    def _build_timeout(self, library: Any, read: float | None) -> httpx2.Timeout:
        limits = self._timeouts
        timeout: httpx2.Timeout = library.Timeout(
            read or limits.read, connect=limits.connect, pool=limits.read
        )
        return timeout

    def _measure_clock_skew(self, date: str) -> None:
        there = parse_http_date(date)
        if there is not None:
            self.clock_skew = here.get_now() - there

    def _interpret(
        self, asked: Request, received: Response
    ) -> tuple[JsonObject | None, DoorwardError | None]:
        status, headers = received.status, received.headers
        if status == HTTPStatus.NO_CONTENT or (status == HTTPStatus.OK and not received.content):
            return JsonObject(), None
        elsewhere = HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST
        if elsewhere and "Location" in headers:
            return None, build_redirect_error(self.origin, headers["Location"], asked)
        document = parse_json(received)
        if document is None or elsewhere:
            return None, build_not_json_error(self.origin, status, headers)
        if status < HTTPStatus.MULTIPLE_CHOICES:
            return document, None
        return None, build_error(
            status, headers, document, clock_skew=self.clock_skew, secrets=asked.secrets
        )


def _close_client(client: httpx2.Client, pid: int) -> None:
    if pid == os.getpid():
        client.close()
