"""gunicorn's threaded worker, made impatient and polite: slow headers are cut off, parse errors are problem documents.

Asked to end by SIGTERM it says so at /readyz, goes on for a moment so that whoever sends it requests can see that and turn away,
accepts no more, and leaves when it has answered what it has.
"""

from __future__ import annotations

import json
import socket
import time
from contextlib import suppress
from typing import Any

from gunicorn import http
from gunicorn.workers.gthread import ThreadWorker

SLOWEST_HEADERS = 10.0  # seconds
# How long it goes on accepting: load balancers ask /readyz every second or two, and until they have, requests keep coming.
SHOWN = 2.0
# What is left of the graceful time when the last request must have ended: for mail that is being sent, and to be gone before the kill.
LAST = 4
STATUS = {
    http.errors.LimitRequestLine: (414, "URI Too Long", "uri_too_long"),
    http.errors.LimitRequestHeaders: (431, "Request Header Fields Too Large", "headers_too_large"),
    http.errors.UnsupportedTransferCoding: (501, "Not Implemented", "transfer_coding_unknown"),
}


class Worker(ThreadWorker):  # type: ignore[misc] # gunicorn is untyped
    """One for each serving process."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._reading: dict[socket.socket, float] = {}
        self._accepts_until: float | None = None
        self.quitting = False

    @property
    def asked_to_end(self) -> bool:
        return self.quitting or self._accepts_until is not None

    def handle_exit(self, sig: int, frame: Any) -> None:
        """SIGTERM. It can come twice, where a supervisor tells all processes and the parent passes it on."""
        if not self.booted:
            super().handle_exit(sig, frame)
        elif self._accepts_until is None:
            self._accepts_until = time.monotonic() + SHOWN
            self.wsgi.extensions["doorward"].draining.set()
            self.method_queue.defer(lambda: None)  # wakes the main loop

    def handle_quit(self, sig: int, frame: Any) -> None:
        """SIGINT and SIGQUIT: at once. A terminal tells all processes, and the parent tells its own again."""
        if not self.quitting:
            self.quitting = True
            super().handle_quit(sig, frame)

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        """One round of the main loop."""
        if self.alive and self._accepts_until is not None:
            self._turn_away(self._accepts_until)
            timeout = min(timeout, max(0.0, self._accepts_until - time.monotonic()))
        super().wait_for_and_dispatch_events(timeout)

    def _turn_away(self, until: float) -> None:
        """Keep no connection after its answer; when the time is over, refuse new ones."""
        if self.cfg.keepalive:
            self.cfg.set("keepalive", 0)
            self.cfg.set("graceful_timeout", max(1, self.cfg.graceful_timeout - int(SHOWN) - LAST))
            for idle in (*self.keepalived_conns, *self.pending_conns):
                idle.timeout = min(idle.timeout, until)
        if time.monotonic() >= until:
            self.alive = False
            self.set_accept_enabled(False)
            for listener in self.sockets:
                listener.close()  # else new connections would wait for an answer that never comes

    def handle(self, conn: Any) -> Any:
        """A thread is held from the first byte of a request on, so from there on its headers have a deadline."""
        self._reading[conn.sock] = time.monotonic() + SLOWEST_HEADERS
        try:
            return super().handle(conn)
        finally:
            self._reading.pop(conn.sock, None)

    def handle_request(self, req: Any, conn: Any) -> Any:
        self._reading.pop(conn.sock, None)
        return super().handle_request(req, conn)

    def murder_keepalived(self, force: bool = False) -> None:  # noqa: FBT001, FBT002 - gunicorn's signature
        """Called by the main loop every second."""
        super().murder_keepalived(force)
        now = time.monotonic()
        for connection, deadline in list(self._reading.items()):
            if now > deadline:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RD)

    def handle_error(self, req: Any, client: socket.socket, addr: Any, exc: BaseException) -> None:
        """Gunicorn would answer HTML that quotes the request."""
        status, title, code = STATUS.get(type(exc), (400, "Bad Request", "bad_request"))
        if not isinstance(exc, http.errors.ParseException):
            super().handle_error(req, client, addr, exc)
            return
        document = {"type": f"urn:doorward:problem:{code}", "title": title, "status": status, "code": code, "request_id": ""}
        text = json.dumps(document)
        head = f"HTTP/1.1 {status} {title}\r\nConnection: close\r\nCache-Control: no-store\r\nContent-Type: application/problem+json\r\n"
        with suppress(OSError):
            client.sendall(f"{head}Content-Length: {len(text)}\r\n\r\n{text}".encode())
