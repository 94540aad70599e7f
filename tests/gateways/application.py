"""An upstream application that records its requests, and a TCP proxy to Doorward that records traffic."""

from __future__ import annotations

import socket
import socketserver
import threading
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from typing import Any

REFUSALS = (ConnectionError, TimeoutError, OSError)


@dataclass(frozen=True)
class Received:
    """A request as the application received it."""

    method: str
    path: str
    headers: list[tuple[str, str]]
    body: bytes

    def get_values(self, name: str) -> list[str]:
        """Return every value of the header."""
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def read_as(self, name: str) -> list[str]:
        """Return every value that WSGI, CGI or PHP applications read: they treat dash, underscore and dot alike."""
        plain = _fold_name(name)
        return [value for key, value in self.headers if _fold_name(key) == plain]


def _fold_name(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")


class _Answering(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 20
    server: _Server

    def handle_any(self) -> None:
        received = Received(self.command, self.path, list(self.headers.items()), self._read_body())
        self.server.received.append(received)
        if self.headers.get("Upgrade"):
            self._echo()
            return
        status = int(self.headers.get("Wanted-Status", "200"))
        if status == 0:
            self.close_connection = True
            return
        text = b"from the application"
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.send_header("Application", "yes")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = handle_any  # noqa: N815 - http.server calls them so

    def _read_body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length", "0")))
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _echo(self) -> None:
        """Switch protocols and echo everything until the peer closes the connection."""
        self.wfile.write(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        )
        while text := self.connection.recv(4096):
            self.connection.sendall(text)
        self.close_connection = True

    def log_message(self, *_: Any) -> None:
        """Log nothing: tests inspect the recorded requests."""


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 64

    def __init__(self, *args: Any) -> None:
        self.received: list[Received] = []
        super().__init__(*args)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore gateways that close the connection."""


class Application:
    """A server that records its requests; tests find theirs by path or `Tag` header."""

    def __init__(self) -> None:
        self.server = _Server(("127.0.0.1", 0), _Answering)
        self.port = self.server.server_address[1]
        threading.Thread(
            target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        ).start()

    def received(self, tag: str) -> list[Received]:
        return [
            received for received in self.server.received if received.get_values("Tag") == [tag]
        ]

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


class Wire:
    """A TCP proxy from the gateways to Doorward that records requests, or answers them itself."""

    def __init__(self, port: int) -> None:
        self.servers = port
        self.traffic: list[bytes] = []
        self.replacement: bytes | None = None
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def find_traffic(self, tag: str) -> list[bytes]:
        """Return the traffic of each connection that contains the text."""
        return [received for received in self.traffic if tag.encode() in received]

    def close(self) -> None:
        self.listener.close()

    def _serve(self) -> None:
        with suppress(*REFUSALS):
            while True:
                connection, _ = self.listener.accept()
                threading.Thread(target=self._forward, args=(connection,), daemon=True).start()

    def _forward(self, near: socket.socket) -> None:
        index = len(self.traffic)
        self.traffic.append(b"")
        with near, suppress(*REFUSALS):
            if self.replacement is not None:
                near.recv(65536)
                near.sendall(self.replacement)
                near.shutdown(socket.SHUT_WR)
                return
            with socket.create_connection(("127.0.0.1", self.servers), 5) as far:
                far.settimeout(None)
                threading.Thread(target=_pump, args=(far, near), daemon=True).start()
                while text := near.recv(65536):
                    self.traffic[index] += text
                    if self.replacement is not None:  # an earlier connection that is still open
                        near.sendall(self.replacement)
                        near.shutdown(socket.SHUT_WR)
                        return
                    far.sendall(text)


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(*REFUSALS):
        while text := source.recv(65536):
            sink.sendall(text)
    with suppress(*REFUSALS):
        sink.shutdown(socket.SHUT_RDWR)
