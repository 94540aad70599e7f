"""The HTTP transport: sends requests to one origin, with timeouts, size limits and retries."""

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

from doorward import environment
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
MAX_RETRY_DELAY_SECONDS = 10.0  # a longer Retry-After is reported to the caller instead
DOT_SEGMENTS = frozenset({".", ".."})


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Timeouts in seconds.

    `read` limits the wait for the next bytes of a response, `total` the time to read all of it.
    """

    connect: float = 5.0
    read: float = 30.0
    total: float = 60.0


@dataclass(slots=True)
class PooledClient:
    """The HTTP client of one process, with the number of requests that use it now."""

    client: httpx2.Client
    pid: int
    close: Callable[[], object]
    active_requests: int = 0


class Transport:
    """Sends requests to one origin. Connections are opened on demand, and again after a fork."""

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
                "verify=False disables certificate checks; anyone on the network can read tokens",
                UserWarning,
                stacklevel=3,
            )

    def request(
        self, method: str, path: str, *, max_attempts: int | None = None, **options: Any
    ) -> JsonObject:
        """Send a request and return the JSON object of the response.

        `options` are fields of Request. GET is retried after temporary failures; other methods
        only with `max_attempts`, for calls that are safe to repeat. Raises DoorwardError.
        """
        if not path.startswith("/") or not DOT_SEGMENTS.isdisjoint(
            path.partition("?")[0].split("/")
        ):
            reason = "must start with / and must not contain /../"
            raise InvalidInput(f"The API path {reason}.", errors={"path": [reason]})
        request = Request(method, path, **options)
        attempts = (
            (MAX_ATTEMPTS if method == "GET" else 1) if max_attempts is None else max_attempts
        )
        delay = 0.2
        while True:
            attempts -= 1
            try:
                return self._request_once(request)
            except (ServiceUnavailable, RateLimited) as error:
                wait = max(delay, error.retry_after or 0.0)
                if attempts <= 0 or wait > MAX_RETRY_DELAY_SECONDS or isinstance(error, TLSError):
                    raise
            # The jitter keeps many clients from retrying at the same moment.
            time.sleep(wait * random.uniform(1.0, 1.25))  # noqa: S311 - not cryptographic
            delay *= 3

    def close(self) -> None:
        """Close the connections. Requests in progress finish first."""
        with self._lock:
            pooled, self._pooled = self._pooled, None
            if pooled is not None and not pooled.active_requests:
                pooled.close()

    def _request_once(self, request: Request) -> JsonObject:
        response, error = self._send(request)
        document = None
        if response is not None:
            self._measure_clock_skew(response.headers.get("Date", ""))
            document, error = self._interpret(request, response)
        if document is None:
            # Raised here, because the frames below hold the request and response with secrets.
            raise error or ConnectionFailed("There was no response. Try again.")
        return document

    def _send(self, request: Request) -> tuple[Response | None, DoorwardError | None]:
        import httpx2  # imported late, because it takes longer than the rest of this library

        content, invalid = encode_body(request)
        if invalid is not None:
            return None, invalid
        try:
            with (
                self._borrow_client() as client,
                client.stream(
                    request.method,
                    f"{self.origin}{request.path}",
                    params=request.query,
                    headers=build_headers(request),
                    content=content,
                    timeout=self._build_timeout(httpx2, request.read_timeout),
                ) as stream,
            ):
                return Response(stream.status_code, stream.headers, self._read_body(stream)), None
        except DoorwardError as error:
            return None, error.with_traceback(None)
        except (httpx2.InvalidURL, UnicodeError):
            reason = "is too long, or contains invalid characters"
            return None, InvalidInput(
                f"The API path or its query {reason}.", errors={"path": [reason]}
            )
        except (httpx2.HTTPError, ssl.SSLError, OSError) as error:
            return None, describe_failure(self.origin, error)

    def _read_body(self, stream: httpx2.Response) -> bytes:
        deadline = time.monotonic() + self._timeouts.total
        content = bytearray()
        for chunk in stream.iter_raw():
            content += chunk
            if len(content) > MAX_RESPONSE_BYTES:
                raise UnexpectedAnswer(
                    f"The response of {self.origin} is too large."
                    " Check that it is the URL of a Doorward service."
                )
            if time.monotonic() > deadline:
                raise ConnectionFailed(
                    f"The response of {self.origin} took longer than {self._timeouts.total:.0f} s."
                    " Try again later."
                )
        return bytes(content)

    @contextmanager
    def _borrow_client(self) -> Iterator[httpx2.Client]:
        """Lend the client for one request.

        It is closed only after its last request: a request on a closed client would wait for its
        timeout.
        """
        with self._lock:
            # Two processes must not share a connection that was opened before a fork.
            if self._pooled is None or self._pooled.pid != os.getpid():
                self._pooled = self._open_pooled_client()
            pooled = self._pooled
            pooled.active_requests += 1
        try:
            yield pooled.client
        finally:
            with self._lock:
                pooled.active_requests -= 1
                if pooled is not self._pooled and not pooled.active_requests:
                    pooled.close()

    def _open_pooled_client(self) -> PooledClient:
        import httpx2

        timeout, pid = self._build_timeout(httpx2, None), os.getpid()
        client = open_http_client(self.origin, self._verify, timeout)
        return PooledClient(client, pid, weakref.finalize(self, _close_client, client, pid))

    def _build_timeout(self, library: Any, read_timeout: float | None) -> httpx2.Timeout:
        limits = self._timeouts
        timeout: httpx2.Timeout = library.Timeout(
            read_timeout or limits.read, connect=limits.connect, pool=limits.read
        )
        return timeout

    def _measure_clock_skew(self, date: str) -> None:
        service_time = parse_http_date(date)
        if service_time is not None:
            self.clock_skew = environment.get_now() - service_time

    def _interpret(
        self, request: Request, response: Response
    ) -> tuple[JsonObject | None, DoorwardError | None]:
        status, headers = response.status, response.headers
        if status == HTTPStatus.NO_CONTENT or (status == HTTPStatus.OK and not response.content):
            return JsonObject(), None
        is_redirect = HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST
        if is_redirect and "Location" in headers:
            return None, build_redirect_error(self.origin, headers["Location"], request)
        document = parse_json(response)
        if document is None or is_redirect:
            return None, build_not_json_error(self.origin, status, headers)
        if status < HTTPStatus.MULTIPLE_CHOICES:
            return document, None
        return None, build_error(
            status, headers, document, clock_skew=self.clock_skew, secrets=request.secrets
        )


def _close_client(client: httpx2.Client, pid: int) -> None:
    if pid == os.getpid():
        client.close()
