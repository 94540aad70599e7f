"""The gunicorn worker of the service: deadlines, problem documents and graceful shutdown.

After SIGTERM, /readyz answers 503 while the worker still accepts requests, so that load balancers
can remove it. Then it closes its listeners, answers the requests that it has, and exits.
"""

from __future__ import annotations

import json
import socket
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from gunicorn import http, util
from gunicorn.workers.gthread import ThreadWorker

from app.adapters import logs
from app.opaque_tokens import generate_id
from app.web.client_info import REQUEST_ID_HEADER
from app.web.gateway_requests import is_gateway_request
from app.web.middleware import CSP, HSTS

MAX_HEADER_SECONDS = 10.0  # seconds
# Time to keep accepting after SIGTERM: load balancers poll /readyz every second or two.
DRAIN_NOTICE_SECONDS = 2.0
# Part of graceful_timeout for emails in delivery, so that the worker exits before SIGKILL.
SHUTDOWN_RESERVE_SECONDS = 4
MAX_BODY_SECONDS = 10.0
LINGER_SECONDS = 1.0
MAX_DRAINED_BYTES = 65536  # bytes
PARSE_ERRORS = {
    http.errors.LimitRequestLine: (414, "URI Too Long", "uri_too_long"),
    http.errors.LimitRequestHeaders: (431, "Request Header Fields Too Large", "headers_too_large"),
    http.errors.UnsupportedTransferCoding: (501, "Not Implemented", "transfer_coding_unknown"),
}
INTERNAL_ERROR = (500, "Internal Server Error", "internal_error")

log = logs.get_logger("server")


@dataclass(slots=True)
class IncomingRequest:
    """A request that is being received, and the deadline of its headers or its body."""

    deadline: float
    request: Any = None

    @property
    def has_unread_data(self) -> bool:
        """Return whether the client may still be sending.

        The application reads a body at once. After that the length of the reader is 0.
        """
        return self.request is None or getattr(self.request.body.reader, "length", 0) > 0


class Worker(ThreadWorker):  # type: ignore[misc] # gunicorn is untyped
    """A serving process with a thread per request."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._reading: dict[socket.socket, IncomingRequest] = {}
        self._accepts_until: float | None = None
        self.is_quitting = False

    @property
    def is_stopping(self) -> bool:
        return self.is_quitting or self._accepts_until is not None

    def handle_exit(self, sig: int, frame: Any) -> None:
        """Handle SIGTERM. It arrives twice if a supervisor signals every process of the group."""
        if not self.booted:
            super().handle_exit(sig, frame)
        elif self._accepts_until is None:
            self._accepts_until = time.monotonic() + DRAIN_NOTICE_SECONDS
            self.wsgi.extensions["doorward"].draining.set()
            self.method_queue.defer(lambda: None)  # wakes the main loop

    def handle_quit(self, sig: int, frame: Any) -> None:
        """Handle SIGINT and SIGQUIT by stopping at once. A terminal and the parent both send it."""
        if not self.is_quitting:
            self.is_quitting = True
            super().handle_quit(sig, frame)

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        """Run one iteration of the main loop."""
        if self.alive and self._accepts_until is not None:
            self._stop_accepting(self._accepts_until)
            timeout = min(timeout, max(0.0, self._accepts_until - time.monotonic()))
        super().wait_for_and_dispatch_events(timeout)

    def _stop_accepting(self, until: float) -> None:
        """Close connections after their response, and the listeners once `until` is reached."""
        if self.cfg.keepalive:
            self.cfg.set("keepalive", 0)
            self.cfg.set(
                "graceful_timeout",
                max(
                    1,
                    self.cfg.graceful_timeout
                    - int(DRAIN_NOTICE_SECONDS)
                    - SHUTDOWN_RESERVE_SECONDS,
                ),
            )
            for idle in (*self.keepalived_conns, *self.pending_conns):
                idle.timeout = min(idle.timeout, until)
        if time.monotonic() >= until:
            self.alive = False
            self.set_accept_enabled(False)
            for listener in self.sockets:
                # An open listener would queue connections that never get a response.
                listener.close()

    def handle(self, conn: Any) -> Any:
        """Handle a request with a deadline, because it occupies a thread from its first byte."""
        reading = self._reading[conn.sock] = IncomingRequest(time.monotonic() + MAX_HEADER_SECONDS)
        try:
            outcome = super().handle(conn)
        finally:
            self._reading.pop(conn.sock, None)
        if outcome is False:
            _close_gracefully(conn.sock, unread=reading.has_unread_data)
        return outcome

    def handle_request(self, req: Any, conn: Any) -> Any:
        reading = self._reading[conn.sock]
        reading.deadline, reading.request = time.monotonic() + MAX_BODY_SECONDS, req
        if (
            is_gateway_request(util.unquote_to_wsgi_str(req.path))
            and getattr(req.body.reader, "length", 1) > 0
        ):
            # These endpoints never read a body, so the start of the next request is unknown.
            req.force_close()
        return super().handle_request(req, conn)

    def murder_keepalived(self, force: bool = False) -> None:  # noqa: FBT001, FBT002 - gunicorn's signature
        """Cut off requests that are past their deadline. The main loop calls this every second."""
        super().murder_keepalived(force)
        now = time.monotonic()
        for connection, reading in list(self._reading.items()):
            if now > reading.deadline and reading.has_unread_data:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RD)

    def handle_error(self, req: Any, client: socket.socket, addr: Any, exc: BaseException) -> None:  # noqa: ARG002 - gunicorn's signature
        """Respond with a problem document, because gunicorn would send HTML with the request."""
        foreseen = isinstance(exc, http.errors.ParseException)
        status, title, code = (
            PARSE_ERRORS.get(type(exc), (400, "Bad Request", "bad_request"))
            if foreseen
            else INTERNAL_ERROR
        )
        request_id = generate_id("req")
        if foreseen:
            log.info(
                "request rejected", request_id=request_id, status=status, fault=type(exc).__name__
            )
        else:
            log.error("unexpected error", request_id=request_id, exc_info=exc)
        with suppress(OSError):
            client.sendall(_build_problem_response(status, title, code, request_id))


def _close_gracefully(connection: socket.socket, *, unread: bool) -> None:
    """Close a connection without blocking the main loop.

    gunicorn waits in the main loop for up to two seconds until the client closes. Here the worker
    waits only if the client may still be sending, because a reset could discard the response.
    """
    with suppress(OSError):
        connection.shutdown(socket.SHUT_WR)
        if unread:
            _drain(connection)
        connection.shutdown(socket.SHUT_RD)


def _drain(connection: socket.socket) -> None:
    end, drained = time.monotonic() + LINGER_SECONDS, 0
    while drained < MAX_DRAINED_BYTES and (left := end - time.monotonic()) > 0:
        connection.settimeout(left)
        received = connection.recv(8192)
        if not received:
            return
        drained += len(received)


def _build_problem_response(status: int, title: str, code: str, request_id: str) -> bytes:
    problem = {
        "type": f"urn:doorward:problem:{code}",
        "title": title,
        "status": status,
        "code": code,
        "request_id": request_id,
    }
    body = json.dumps(problem).encode()
    headers = {
        "Connection": "close",
        "Content-Type": "application/problem+json",
        "Content-Length": str(len(body)),
        "Cache-Control": "no-store",
        "Content-Security-Policy": CSP,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Strict-Transport-Security": HSTS,
        REQUEST_ID_HEADER: request_id,
    }
    lines = [
        f"HTTP/1.1 {status} {title}",
        *(f"{name}: {value}" for name, value in headers.items()),
        "",
        "",
    ]
    return "\r\n".join(lines).encode() + body
