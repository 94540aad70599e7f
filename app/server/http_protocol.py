"""HTTP/1.1 connections: uvicorn's protocol with limits, deadlines and problem documents.

uvicorn closes idle connections. It has no deadline for headers that never end and for responses
that are never read, and no limit for the number and size of headers. Both are added here.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.adapters import logs
from app.opaque_tokens import generate_id
from app.web.answers import REQUEST_ID_HEADER, STANDARD_HEADERS

if TYPE_CHECKING:
    import asyncio

MAX_HEADER_SECONDS = 10.0
MAX_WRITE_SECONDS = 10.0  # without any progress
MAX_LINE_BYTES = 8190
MAX_HEADER_BYTES = 8190  # of one header
MAX_HEADERS = 100
MAX_HEAD_BYTES = 128 * 1024  # of all headers together
MAX_CONNECTIONS = 1000  # of a process
LINGER_SECONDS = 1.0
MAX_LINGER_BYTES = 65536

log = logs.get_logger("server")


@dataclass(frozen=True, slots=True)
class Rejection:
    """The response to a request that could not be read."""

    status: int
    title: str
    code: str


BAD_REQUEST = Rejection(400, "Bad Request", "bad_request")
LINE_TOO_LONG = Rejection(414, "URI Too Long", "uri_too_long")
HEADERS_TOO_LARGE = Rejection(431, "Request Header Fields Too Large", "headers_too_large")
UNKNOWN_CODING = Rejection(501, "Not Implemented", "transfer_coding_unknown")
AT_CAPACITY = Rejection(503, "Service Unavailable", "busy")
REJECTIONS = (BAD_REQUEST, LINE_TOO_LONG, HEADERS_TOO_LARGE, UNKNOWN_CODING, AT_CAPACITY)


class RequestRejected(Exception):
    """Ends the parsing of a request."""


class HttpProtocol(HttpToolsProtocol):
    """One connection. `is_overdue` is called every second, which is cheaper than timers."""

    _reading_since: float | None = None  # time of the first byte of headers that are incomplete
    _writing_since: float | None = None  # time since when the client has read nothing
    _closing_since: float | None = None
    _head_bytes = 0
    _rejection: Rejection | None = None
    _is_rejected = False
    _lingered_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as in uvicorn
        super().connection_made(transport)
        self._reading_since = self.loop.time()
        if len(self.connections) > MAX_CONNECTIONS:
            self._reject(AT_CAPACITY)

    def data_received(self, data: bytes) -> None:
        if self._is_rejected:
            self._discard(data)
            return
        if self._reading_since is None and (self.cycle is None or self.cycle.response_complete):
            self._begin_reading()
        if self._reading_since is not None:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self._reject(HEADERS_TOO_LARGE)
                return
        super().data_received(data)

    def on_message_begin(self) -> None:
        if self._reading_since is None:
            self._begin_reading()
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        if len(self.url) > MAX_LINE_BYTES:
            self._stop_parsing(LINE_TOO_LONG)

    def on_header(self, name: bytes, value: bytes) -> None:
        super().on_header(name, value)
        if len(self.headers) > MAX_HEADERS or len(name) + len(value) > MAX_HEADER_BYTES:
            self._stop_parsing(HEADERS_TOO_LARGE)
        if name.lower() == b"transfer-encoding" and value.lower() != b"chunked":
            self._stop_parsing(UNKNOWN_CODING)

    def on_headers_complete(self) -> None:
        self._reading_since = None
        if not self.url.startswith((b"/", b"*")):
            # An absolute URL could name another host than the Host header (RFC 9112 section 3.2.2).
            self._stop_parsing(BAD_REQUEST)
        super().on_headers_complete()
        if self.parser.should_upgrade():
            self.cycle.keep_alive = False  # what follows is not HTTP/1.1

    def pause_writing(self) -> None:
        self._writing_since = self.loop.time()
        super().pause_writing()

    def resume_writing(self) -> None:
        self._writing_since = None
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's signature
        """Answer a request that cannot be parsed. uvicorn would send plain text."""
        if self.cycle is not None and not self.cycle.response_complete:
            # A request before this one is not answered yet. Its response ends the connection.
            self._is_rejected = True
            self.pipeline.clear()
            self.cycle.keep_alive = False
            return
        self._reject(self._rejection or BAD_REQUEST)

    def is_overdue(self, now: float) -> bool:
        """Return whether the client has had its time to send headers or to read a response."""
        if self.transport.is_closing():
            self._closing_since = self._closing_since or now
        return (
            _has_passed(self._reading_since, now, MAX_HEADER_SECONDS)
            or _has_passed(self._writing_since, now, MAX_WRITE_SECONDS)
            or _has_passed(self._closing_since, now, MAX_WRITE_SECONDS)
        )

    def abort(self) -> None:
        """Close the connection without waiting for the client."""
        self.transport.abort()

    def _begin_reading(self) -> None:
        self._reading_since, self._head_bytes = self.loop.time(), 0

    def _stop_parsing(self, rejection: Rejection) -> None:
        """Leave the parser, which then calls `send_400_response`."""
        self._rejection = rejection
        raise RequestRejected

    def _reject(self, rejection: Rejection) -> None:
        """Send a problem document and close.

        What the client still sends is discarded for a moment: closing at once would reset the
        connection, and the client could lose the response.
        """
        self._is_rejected, self._reading_since = True, None
        request_id = generate_id("req")
        log.info("request rejected", request_id=request_id, status=rejection.status)
        self.transport.write(_build_response(rejection, request_id))
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.loop.call_later(LINGER_SECONDS, self.transport.close)

    def _discard(self, data: bytes) -> None:
        self._lingered_bytes += len(data)
        if self._lingered_bytes > MAX_LINGER_BYTES:
            self.transport.close()


def _has_passed(since: float | None, now: float, seconds: float) -> bool:
    return since is not None and now - since > seconds


def _build_response(rejection: Rejection, request_id: str) -> bytes:
    problem: dict[str, Any] = {
        "type": f"urn:doorward:problem:{rejection.code}",
        "title": rejection.title,
        "status": rejection.status,
        "code": rejection.code,
        "request_id": request_id,
    }
    body = json.dumps(problem).encode()
    headers = {
        "Date": time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime()),
        "Connection": "close",
        "Content-Type": "application/problem+json",
        "Content-Length": str(len(body)),
        **STANDARD_HEADERS,
        REQUEST_ID_HEADER: request_id,
    }
    if rejection is AT_CAPACITY:
        headers["Retry-After"] = "1"
    lines = [
        f"HTTP/1.1 {rejection.status} {rejection.title}",
        *(f"{name}: {value}" for name, value in headers.items()),
        "",
        "",
    ]
    return "\r\n".join(lines).encode() + body
