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

from doorward import here
from doorward.connections import Verify, connected, fault_of
from doorward.errors import (
    ConnectionFailed,
    DoorwardError,
    InvalidInput,
    RateLimited,
    ServiceUnavailable,
    TLSError,
    UnexpectedAnswer,
)
from doorward.forks import Alone
from doorward.messages import (
    Ask,
    Document,
    Received,
    headers_of,
    not_json,
    packed,
    parsed,
    redirected,
)
from doorward.problems import moment_of, raised_for

if TYPE_CHECKING:
    import httpx2

    from doorward.origin import Origin

LARGEST = 4 * 1024 * 1024
TRIES = 3
DOTS = frozenset({".", ".."})
LONGEST_PAUSE = 10.0  # seconds; whoever is told to wait longer is told so, and not kept waiting


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds. `read` is for the next bytes of an answer, `total` for the whole of it once it has begun."""

    connect: float = 5.0
    read: float = 30.0
    total: float = 60.0


@dataclass(slots=True)
class Lent:
    """Connections of one process, and how many requests are on their way by them."""

    client: httpx2.Client
    pid: int
    close: Callable[[], object]
    users: int = 0


class Transport:
    """Sends requests to one origin. Connections are made when they are needed, anew after a fork."""

    def __init__(
        self, origin: Origin, *, verify: Verify = True, timeouts: Timeouts | None = None
    ) -> None:
        self.origin = origin
        self.clock_skew: timedelta | None = None
        self._verify = verify
        self._timeouts = timeouts or Timeouts()
        self._lock = Alone()
        self._lent: Lent | None = None
        if verify is False:
            warnings.warn(
                "verify=False: whoever is in between can read every token",
                UserWarning,
                stacklevel=3,
            )

    def ask(self, method: str, path: str, *, tries: int | None = None, **parts: Any) -> Document:
        """What the service answered, parsed. Only GET is tried again by itself; `tries` is for calls that are as safe.

        Raises the DoorwardError for whatever went wrong.
        """
        if not path.startswith("/") or not DOTS.isdisjoint(path.partition("?")[0].split("/")):
            reason = "must begin with / and hold no /../, or it could lead elsewhere"
            raise InvalidInput(f"A path of the API {reason}.", errors={"path": [reason]})
        asked = Ask(method, path, **parts)
        left = (TRIES if method == "GET" else 1) if tries is None else tries
        pause = 0.2
        while True:
            left -= 1
            try:
                return self._once(asked)
            except (ServiceUnavailable, RateLimited) as error:
                wait = max(pause, error.retry_after or 0.0)
                if left <= 0 or wait > LONGEST_PAUSE or isinstance(error, TLSError):
                    raise
            time.sleep(wait * random.uniform(1.0, 1.25))  # noqa: S311 - so that many do not come back together
            pause *= 3

    def close(self) -> None:
        """Give the connections back; those that somebody uses at this moment, when they are done."""
        with self._lock:
            lent, self._lent = self._lent, None
            if lent is not None and not lent.users:
                lent.close()

    def _once(self, asked: Ask) -> Document:
        received, fault = self._exchange(asked)
        document = None
        if received is not None:
            self._look_at_the_clock(received.headers.get("Date", ""))
            document, fault = self._read(asked, received)
        if document is None:
            # Raised here and not where it was found: the frames below hold request and answer as they are sent.
            raise fault or ConnectionFailed("There was no answer.")
        return document

    def _exchange(self, asked: Ask) -> tuple[Received | None, DoorwardError | None]:
        import httpx2  # it costs more than all of ours together

        content, fault = packed(asked)
        if fault is not None:
            return None, fault
        try:
            with (
                self._connections() as client,
                client.stream(
                    asked.method,
                    f"{self.origin}{asked.path}",
                    params=asked.query,
                    headers=headers_of(asked),
                    content=content,
                    timeout=self._limits(httpx2, asked.read),
                ) as response,
            ):
                return Received(
                    response.status_code, response.headers, self._bounded(response)
                ), None
        except DoorwardError as error:
            return None, error.with_traceback(None)
        except (httpx2.InvalidURL, UnicodeError):
            reason = "is too long, or holds what no address can"
            return None, InvalidInput(f"The path or its query {reason}.", errors={"path": [reason]})
        except (httpx2.HTTPError, ssl.SSLError, OSError) as error:
            return None, fault_of(self.origin, error)

    def _bounded(self, response: httpx2.Response) -> bytes:
        end = time.monotonic() + self._timeouts.total
        content = bytearray()
        for chunk in response.iter_raw():
            content += chunk
            if len(content) > LARGEST:
                raise UnexpectedAnswer(
                    f"{self.origin} answered far too much: is it the address of a Doorward service?"
                )
            if time.monotonic() > end:
                raise ConnectionFailed(
                    f"{self.origin} did not finish its answer in {self._timeouts.total:.0f} s: try again later."
                )
        return bytes(content)

    @contextmanager
    def _connections(self) -> Iterator[httpx2.Client]:
        """Not closed while they are used: whoever waits for an answer would not notice, and wait until the timeout."""
        with self._lock:
            # A connection that was made before a fork would be used by two processes.
            if self._lent is None or self._lent.pid != os.getpid():
                self._lent = self._new()
            lent = self._lent
            lent.users += 1
        try:
            yield lent.client
        finally:
            with self._lock:
                lent.users -= 1
                if lent is not self._lent and not lent.users:
                    lent.close()

    def _new(self) -> Lent:
        import httpx2

        client, pid = connected(self.origin, self._verify, self._limits(httpx2, None)), os.getpid()
        return Lent(client, pid, weakref.finalize(self, _close, client, pid))

    def _limits(self, library: Any, read: float | None) -> httpx2.Timeout:
        limits = self._timeouts
        timeout: httpx2.Timeout = library.Timeout(
            read or limits.read, connect=limits.connect, pool=limits.read
        )
        return timeout

    def _look_at_the_clock(self, date: str) -> None:
        there = moment_of(date)
        if there is not None:
            self.clock_skew = here.now() - there

    def _read(self, asked: Ask, received: Received) -> tuple[Document | None, DoorwardError | None]:
        status, headers = received.status, received.headers
        if status == HTTPStatus.NO_CONTENT or (status == HTTPStatus.OK and not received.content):
            return Document(), None
        elsewhere = HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST
        if elsewhere and "Location" in headers:
            return None, redirected(self.origin, headers["Location"], asked)
        document = parsed(received)
        if document is None or elsewhere:
            return None, not_json(self.origin, status, headers)
        if status < HTTPStatus.MULTIPLE_CHOICES:
            return document, None
        return None, raised_for(
            status, headers, document, skew=self.clock_skew, secrets=asked.secrets
        )


def _close(client: httpx2.Client, pid: int) -> None:
    if pid == os.getpid():
        client.close()
