"""The ASGI application in front of Flask.

It runs on the event loop. A request reaches a thread only when it has arrived completely, within
its limits, so slow clients hold no thread.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from app.adapters import logs
from app.server.wsgi import RawHeaders, build_environ, run_application
from app.web.json_body import MAX_BODY_BYTES

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from flask import Flask

    from app.unit_of_work import UnitOfWorkFactory

    Receive = Callable[[], Awaitable[Any]]
    Send = Callable[[Any], Awaitable[None]]

MAX_BODY_SECONDS = 10.0
# What a client still sends after its request was rejected is read for a moment: closing at once would
# reset the connection, and the client could lose the response.
LINGER_SECONDS = 1.0
MAX_LINGER_BYTES = 65536
CLOSE = (b"connection", b"close")

log = logs.get_logger("server")


class ClientGone(Exception):
    """The client has closed the connection before its body was complete."""


class Front:
    """Receives requests and hands them to the Flask application in threads."""

    def __init__(self, app: Flask, units: UnitOfWorkFactory, *, threads: int) -> None:
        self._app, self._units = app, units
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="request")

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Answer one request (ASGI 3)."""
        await self._run_flask(scope, receive, send)

    async def _run_flask(self, scope: Any, receive: Receive, send: Send) -> None:
        try:
            body, length = await _receive_body(scope, receive)
        except ClientGone:
            return
        environ = build_environ(scope, body, length)
        loop = asyncio.get_running_loop()
        status, headers, content = await loop.run_in_executor(
            self._threads, run_application, self._app.wsgi_app, environ
        )
        is_unread = body is None or (length or 0) > MAX_BODY_BYTES
        if is_unread or self._units.draining.is_set():
            headers = [*(each for each in headers if each[0].lower() != CLOSE[0]), CLOSE]
        await _send_response(send, status, headers, content, receive if is_unread else None)


async def _receive_body(scope: Any, receive: Receive) -> tuple[bytes | None, int | None]:
    """Receive the body. Returns it, or None if it is late, and its length if it has one.

    A body larger than the limit is not received. Raises ClientGone.
    """
    lengths = [value for name, value in scope["headers"] if name == b"content-length"]
    is_chunked = any(name == b"transfer-encoding" for name, _ in scope["headers"])
    if not is_chunked and (not lengths or lengths[0] == b"0"):
        return b"", None
    declared = int(lengths[0]) if lengths else 0
    if declared > MAX_BODY_BYTES:
        return b"", declared
    body = b""
    try:
        async with asyncio.timeout(MAX_BODY_SECONDS):
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    raise ClientGone
                body += message["body"]
                if len(body) > MAX_BODY_BYTES:
                    return b"", len(body)
                if not message["more_body"]:
                    return body, len(body)
    except TimeoutError:
        return None, declared or len(body) + 1


async def _send_response(
    send: Send, status: int, headers: RawHeaders, body: bytes, unread: Receive | None
) -> None:
    if status not in {HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED} and not any(
        name.lower() == b"content-length" for name, _ in headers
    ):
        headers.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    if unread is not None:
        await send({"type": "http.response.body", "body": body, "more_body": True})
        await _discard_body(unread)
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
