"""gunicorn's threaded worker, made impatient and polite: slow headers are cut off, parse errors are problem documents."""

from __future__ import annotations

import json
import socket
import time
from contextlib import suppress
from typing import Any

from gunicorn import http
from gunicorn.workers.gthread import ThreadWorker

SLOWEST_HEADERS = 10.0  # seconds
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
