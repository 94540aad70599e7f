"""The ASGI application in front of Flask.

It runs on the event loop. A request reaches a thread only when it has arrived completely, within
its limits, so slow clients hold no thread.
"""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from app.adapters import logs
from app.adapters.redis_pipeline import RedisPipeline
from app.server.checks import CheckRequest, Deferred, LoopChecks
from app.server.wsgi import RawHeaders, build_environ, run_application
from app.web.answers import add_standard_headers
from app.web.client_info import (
    choose_request_id,
    is_trusted,
    parse_peer_ip_address,
    resolve_client_ip_address,
)
from app.web.gateway_requests import is_gateway_request, normalize_path
from app.web.json_body import MAX_BODY_BYTES
from app.web.middleware import parse_hostname

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from flask import Flask

    from app.unit_of_work import UnitOfWorkFactory
    from app.web.answers import Answer

    Receive = Callable[[], Awaitable[Any]]
    Send = Callable[[Any], Awaitable[None]]

MAX_BODY_SECONDS = 10.0
# What a client still sends after its request was rejected is read for a moment: closing at once would
# reset the connection, and the client could lose the response.
LINGER_SECONDS = 1.0
MAX_LINGER_BYTES = 65536
CLOSE = (b"connection", b"close")
WHOAMI_PATH = "/v1/whoami"
PROBES = frozenset({"/livez", "/readyz"})


class ClientGone(Exception):
    """The client has closed the connection before its body was complete."""


class Front:
    """Answers checks on the event loop, and hands everything else to Flask in threads."""

    def __init__(self, app: Flask, units: UnitOfWorkFactory, *, threads: int) -> None:
        self._app, self._units, self._settings = app, units, units.settings
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="request")
        self._probes = ThreadPoolExecutor(1, thread_name_prefix="probe")
        redis_url = units.settings.redis_url
        self._checks = LoopChecks(units, RedisPipeline(redis_url)) if redis_url else None
        self._hosts = units.settings.allowed_hosts

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Answer one request (ASGI 3)."""
        path = scope["path"]
        if path in PROBES:
            await self._run_flask(scope, receive, send, self._probes)
            return
        if self._checks is not None:
            try:
                await self._run_check(self._checks, scope, path, send)
            except Deferred:
                pass
            else:
                return
        await self._run_flask(scope, receive, send, self._threads)

    async def _run_check(self, checks: LoopChecks, scope: Any, path: str, send: Send) -> None:
        """Answer a check. Raises Deferred for other requests, and for those that need the route."""
        began = time.monotonic()
        is_gateway = is_gateway_request(path)
        if not (is_gateway or path == WHOAMI_PATH) or scope["method"] == "HEAD":
            raise Deferred
        headers = _join_headers(scope["headers"])
        if not is_gateway and not self._is_plain_get(scope, headers):
            raise Deferred
        if self._settings.cors_origins and "origin" in headers:
            raise Deferred
        proxies = self._settings.trusted_proxies
        peer = parse_peer_ip_address(scope["client"][0] if scope["client"] else "")
        request = CheckRequest(
            headers,
            choose_request_id(
                headers.get("x-request-id", ""), is_trusted=is_trusted(peer, proxies)
            ),
        )
        if is_gateway:
            _, _, name, policy = normalize_path(path).split("/")
            route = f"/authz/{name}/<policy>"
            answer = await checks.check_gateway_request(request, policy)
        else:
            route = WHOAMI_PATH
            answer = await checks.check_whoami(request)
        add_standard_headers(answer.headers, request.request_id)
        await self._send_answer(answer, send)
        source = resolve_client_ip_address(peer, headers.get("x-forwarded-for", ""), proxies)
        logs.log_request(
            logs.RequestRecord(
                request_id=request.request_id,
                method="GET",
                route=route,
                status=answer.status,
                seconds=time.monotonic() - began,
                source=str(source),
            )
        )

    def _is_plain_get(self, scope: Any, headers: dict[str, str]) -> bool:
        """Return whether the request has no body and one of the expected hosts."""
        return (
            scope["method"] == "GET"
            and headers.get("content-length", "0") == "0"
            and "transfer-encoding" not in headers
            and parse_hostname(headers.get("host", "")) in self._hosts
        )

    async def _send_answer(self, answer: Answer, send: Send) -> None:
        headers = [
            (name.encode("latin-1"), value.encode("latin-1"))
            for name, value in answer.headers.items()
        ]
        if not answer.body:
            headers.append((b"Content-Length", b"0"))
        if self._settings.cors_origins:
            headers = _vary_by_origin(headers)
        if self._units.draining.is_set():
            headers.append(CLOSE)
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body.encode()})

    async def _run_flask(
        self, scope: Any, receive: Receive, send: Send, threads: ThreadPoolExecutor
    ) -> None:
        try:
            body, length = await _receive_body(scope, receive)
        except ClientGone:
            return
        environ = build_environ(scope, body, length)
        loop = asyncio.get_running_loop()
        status, headers, content = await loop.run_in_executor(
            threads, run_application, self._app.wsgi_app, environ
        )
        is_unread = body is None or (length or 0) > MAX_BODY_BYTES
        if is_unread or self._units.draining.is_set():
            headers = [*(each for each in headers if each[0].lower() != CLOSE[0]), CLOSE]
        await _send_response(send, status, headers, content, receive if is_unread else None)


def _join_headers(raw: RawHeaders) -> dict[str, str]:
    """Return the headers as WSGI would: joined by commas, without those with an underscore."""
    headers: dict[str, str] = {}
    for raw_name, raw_value in raw:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        if "_" not in name:
            headers[name] = f"{headers[name]},{value}" if name in headers else value
    return headers


def _vary_by_origin(headers: RawHeaders) -> RawHeaders:
    if all(name != b"Vary" for name, _ in headers):
        return [*headers, (b"Vary", b"Origin")]
    return [(name, value + b", Origin" if name == b"Vary" else value) for name, value in headers]


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
