"""gunicorn's threaded worker, made impatient and polite: slow requests are cut off, parse errors are problem documents.

Asked to end by SIGTERM it says so at /readyz, goes on for a moment so that whoever sends it requests can see that and turn away,
accepts no more, and leaves when it has answered what it has.
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
from app.web.gateway_requests import is_gateway_request
from app.web.middleware import CSP, HSTS
from app.web.request_id import REQUEST_ID_HEADER

MAX_HEADER_SECONDS = 10.0  # seconds
# How long it goes on accepting: load balancers ask /readyz every second or two, and until they have, requests keep coming.
DRAIN_NOTICE_SECONDS = 2.0
# What is left of the graceful time when the last request must have ended: for mail that is being sent, and to be gone before the kill.
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
    """A request on its way in: until when its headers, and then its body, must be here."""

    deadline: float
    request: Any = None

    @property
    def has_unread_data(self) -> bool:
        """Is there more to come than was read? The app reads a body in one go, so the reader's rest is 0 once it has it."""
        return self.request is None or getattr(self.request.body.reader, "length", 0) > 0


class Worker(ThreadWorker):  # type: ignore[misc] # gunicorn is untyped
    """One for each serving process."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._reading: dict[socket.socket, IncomingRequest] = {}
        self._accepts_until: float | None = None
        self.is_quitting = False

    @property
    def is_stopping(self) -> bool:
        return self.is_quitting or self._accepts_until is not None

    def handle_exit(self, sig: int, frame: Any) -> None:
        """SIGTERM. It can come twice, where a supervisor tells all processes and the parent passes it on."""
        if not self.booted:
            super().handle_exit(sig, frame)
        elif self._accepts_until is None:
            self._accepts_until = time.monotonic() + DRAIN_NOTICE_SECONDS
            self.wsgi.extensions["doorward"].draining.set()
            self.method_queue.defer(lambda: None)  # wakes the main loop

    def handle_quit(self, sig: int, frame: Any) -> None:
        """SIGINT and SIGQUIT: at once. A terminal tells all processes, and the parent tells its own again."""
        if not self.is_quitting:
            self.is_quitting = True
            super().handle_quit(sig, frame)

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        """One round of the main loop."""
        if self.alive and self._accepts_until is not None:
            self._stop_accepting(self._accepts_until)
            timeout = min(timeout, max(0.0, self._accepts_until - time.monotonic()))
        super().wait_for_and_dispatch_events(timeout)

    def _stop_accepting(self, until: float) -> None:
        """Keep no connection after its answer; when the time is over, refuse new ones."""
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
                listener.close()  # else new connections would wait for an answer that never comes

    def handle(self, conn: Any) -> Any:
        """A thread is held from the first byte of a request on, so from there on it has a deadline."""
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
            # A gateway that passes on a body, or only its length: as it is never read, nobody knows where the next request begins.
            req.force_close()
        return super().handle_request(req, conn)

    def murder_keepalived(self, force: bool = False) -> None:  # noqa: FBT001, FBT002 - gunicorn's signature
        """Called by the main loop every second."""
        super().murder_keepalived(force)
        now = time.monotonic()
        for connection, reading in list(self._reading.items()):
            if now > reading.deadline and reading.has_unread_data:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RD)

    def handle_error(self, req: Any, client: socket.socket, addr: Any, exc: BaseException) -> None:  # noqa: ARG002 - gunicorn's signature
        """Gunicorn would answer HTML that quotes the request."""
        foreseen = isinstance(exc, http.errors.ParseException)
        status, title, code = (
            PARSE_ERRORS.get(type(exc), (400, "Bad Request", "bad_request"))
            if foreseen
            else INTERNAL_ERROR
        )
        request_id = generate_id("req")
        if foreseen:
            log.info(
                "request refused", request_id=request_id, status=status, fault=type(exc).__name__
            )
        else:
            log.error("unforeseen", request_id=request_id, exc_info=exc)
        with suppress(OSError):
            client.sendall(_build_problem_response(status, title, code, request_id))


def _close_gracefully(connection: socket.socket, *, unread: bool) -> None:
    """Say goodbye here: gunicorn waits up to two seconds for the client to hang up first, in the loop that serves everybody.

    Only where the client may still be sending is it waited for, or the reset would take the answer from under its eyes.
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
