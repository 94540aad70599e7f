"""Run the Flask application for requests that the event loop has received completely.

Bodies and responses are small and held in memory, so a request needs its thread only while the
application works on it. Streaming bridges between ASGI and WSGI cost a queue for each direction.
"""

from __future__ import annotations

import asyncio
import io
import sys
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

from app.web.json_body import MAX_BODY_BYTES

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable
    from wsgiref.types import WSGIApplication, WSGIEnvironment

    Receive = Callable[[], Awaitable[Any]]
    Send = Callable[[Any], Awaitable[None]]

RawHeaders = list[tuple[bytes, bytes]]
MAX_BODY_SECONDS = 10.0
# What a client still sends after its request was rejected is read for a moment: closing at once
# would reset the connection, and the client could lose the response.
LINGER_SECONDS = 1.0
MAX_LINGER_BYTES = 65536
CLOSE = (b"connection", b"close")


class ClientGone(Exception):
    """The client has closed the connection before its body was complete."""


class LateBody(io.RawIOBase):
    """A body that did not arrive in time. Reading it raises TimeoutError."""

    def readable(self) -> bool:
        return True

    def readinto(self, _buffer: Any) -> int:
        raise TimeoutError


@dataclass(frozen=True, slots=True)
class ReceivedBody:
    """The body of a request. `length` replaces Content-Length."""

    content: bytes = b""
    length: int | None = None
    is_late: bool = False

    @property
    def is_unread(self) -> bool:
        """Return whether the client may still be sending."""
        return self.is_late or (self.length or 0) > MAX_BODY_BYTES


@dataclass(slots=True)
class RawAnswer:
    """A response of the application, and whether it is the last one of its connection."""

    status: int
    headers: RawHeaders
    body: bytes
    closes: bool = False
    is_unread: bool = False


def build_environ(scope: Any, received: ReceivedBody) -> WSGIEnvironment:
    """Build the WSGI environment (PEP 3333) of a request.

    Headers with an underscore in their name are dropped: the environment could not distinguish them
    from those with a dash.
    """
    server, client = scope.get("server"), scope.get("client")
    environ: WSGIEnvironment = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(scope["raw_path"]).decode("latin-1"),
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "SERVER_NAME": server[0] if server else "",
        "SERVER_PORT": str(server[1] or "") if server else "",
        "REMOTE_ADDR": client[0] if client else "",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": LateBody() if received.is_late else io.BytesIO(received.content),
        "wsgi.input_terminated": True,  # the body is complete, whatever Content-Length says
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    for raw_name, raw_value in scope["headers"]:
        if b"_" in raw_name:
            continue
        name = raw_name.decode("latin-1").upper().replace("-", "_")
        if name not in {"CONTENT_TYPE", "CONTENT_LENGTH"}:
            name = f"HTTP_{name}"
        value = raw_value.decode("latin-1")
        environ[name] = f"{environ[name]},{value}" if name in environ else value
    environ.pop("HTTP_TRANSFER_ENCODING", None)
    if received.length is not None:
        environ["CONTENT_LENGTH"] = str(received.length)
    return environ


def run_application(app: WSGIApplication, environ: WSGIEnvironment) -> RawAnswer:
    """Call the application and return its whole response."""
    answer: list[Any] = []

    def start_response(status: str, headers: list[tuple[str, str]], _exc: object = None) -> Any:
        answer[:] = [status, headers]
        return lambda _data: None

    parts: Iterable[bytes] = app(environ, start_response)
    try:
        body = b"".join(parts)
    finally:
        close = getattr(parts, "close", None)
        if close is not None:
            close()
    status, headers = answer
    raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    return RawAnswer(int(status[:3]), raw, body)


async def receive_body(scope: Any, receive: Receive) -> ReceivedBody:
    """Receive the body. One that is larger than the limit is not received. Raises ClientGone."""
    lengths = [value for name, value in scope["headers"] if name == b"content-length"]
    is_chunked = any(name == b"transfer-encoding" for name, _ in scope["headers"])
    if not is_chunked and (not lengths or lengths[0] == b"0"):
        return ReceivedBody()
    declared = int(lengths[0]) if lengths else 0
    if declared > MAX_BODY_BYTES:
        return ReceivedBody(length=declared)
    body = b""
    try:
        async with asyncio.timeout(MAX_BODY_SECONDS):
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    raise ClientGone
                body += message["body"]
                if len(body) > MAX_BODY_BYTES:
                    return ReceivedBody(length=len(body))
                if not message["more_body"]:
                    return ReceivedBody(body, len(body))
    except TimeoutError:
        return ReceivedBody(length=declared or len(body) + 1, is_late=True)


async def send_response(send: Send, answer: RawAnswer, receive: Receive) -> None:
    """Send a response. If its request was rejected unread, discard what the client still sends."""
    headers, body = answer.headers, answer.body
    if answer.closes:
        headers = [*(each for each in headers if each[0].lower() != CLOSE[0]), CLOSE]
    if answer.status not in {HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED} and not any(
        name.lower() == b"content-length" for name, _ in headers
    ):
        headers.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    if answer.is_unread:
        await send({"type": "http.response.body", "body": body, "more_body": True})
        await _discard_body(receive)
        body = b""
    await send({"type": "http.response.body", "body": body})


async def _discard_body(receive: Receive) -> None:
    discarded = 0
    try:
        async with asyncio.timeout(LINGER_SECONDS):
            while discarded < MAX_LINGER_BYTES:
                message = await receive()
                if message["type"] != "http.request" or not message["more_body"]:
                    return
                discarded += len(message["body"])
    except TimeoutError:
        return
