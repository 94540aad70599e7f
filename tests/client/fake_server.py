"""A small HTTP server that answers as a test wants, and records its requests."""

from __future__ import annotations

import json
import ssl
import threading
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Reply:
    """A response."""

    body: Any = field(default_factory=dict)
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def content(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


HTML = Reply(b"<html>Sign in to the hotel's network</html>", headers={"Content-Type": "text/html"})
BAD_GATEWAY = Reply(b"<html>502</html>", 502, {"Content-Type": "text/html"})
HANG_UP = "hangs up"
TOKENS = {
    "access_token": "at",
    "token_type": "Bearer",
    "expires_in": 300,
    "refresh_token": "rt",
    "session_id": "ses_1",
    "scope": "",
}


def build_oauth_error(code: str, **more: Any) -> Reply:
    return Reply({"error": code}, 400, **more)


class QuietServer(ThreadingHTTPServer):
    """Ignores clients that close their connection."""

    def handle_error(self, *_: Any) -> None:
        return


class FakeServer:
    """Returns the answers in turn, the last one forever.

    An answer may be a function of the request. `routes` holds the answers for single paths.
    """

    def __init__(
        self,
        *answers: Reply | str,
        routes: dict[str, list[Reply | str]] | None = None,
        skew: float = 0,
        certificate=None,
    ) -> None:
        self.answers, self.routes = list(answers), routes or {}
        self.skew = skew
        self.seen: list[tuple[str, str, dict[str, str], bytes]] = []
        self.ports: list[int] = []  # of the clients
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                outer.ports.append(self.client_address[1])
                outer.seen.append((self.command, self.path, dict(self.headers), body))
                reply = outer.get_reply(self.path)
                if callable(reply):
                    reply = reply(f"{self.headers} {body.decode()}")
                if isinstance(reply, str):
                    self.close_connection = True
                    return
                self.send_response_only(reply.status)
                headers = {
                    "Content-Type": "application/json",
                    "Date": formatdate(outer.get_time(), usegmt=True),
                    **reply.headers,
                }
                for name, value in {**headers, "Content-Length": str(len(reply.content))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(reply.content)

            do_GET = do_POST = do_DELETE = do_PUT = do_CONNECT = answer  # noqa: N815 - names of http.server

            def log_message(self, *_: Any) -> None:
                return

        self.server = QuietServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
            self.url = self.url.replace("http:", "https:")
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()

    def get_time(self) -> float:
        import time

        return time.time() + self.skew

    def get_reply(self, path: str) -> Reply | str:
        replies = self.routes.get(path.partition("?")[0], self.answers)
        return replies.pop(0) if len(replies) > 1 else replies[0]

    def list_headers(self, name: str) -> list[str]:
        return [
            value
            for _, _, headers, _ in self.seen
            for key, value in headers.items()
            if key.lower() == name.lower()
        ]

    def paths(self) -> list[str]:
        return [path for _, path, _, _ in self.seen]

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(5)
