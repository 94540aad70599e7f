"""The ASGI application in front of Flask.

It runs on the event loop. It answers checks there, and hands every other request to Flask in a
thread. A request reaches a thread only when it has arrived completely and within its limits, so
slow clients hold no thread.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from app.errors import Busy
from app.server.hash_queue import HashQueue, find_account
from app.server.loop_routes import (
    INTROSPECT_PATH,
    ClientIdentifier,
    LoopRoutes,
    has_body,
    read_headers,
)
from app.server.wsgi import (
    ClientGone,
    RawAnswer,
    ReceivedBody,
    build_environ,
    receive_body,
    run_application,
    send_response,
)
from app.web.gateway_requests import is_gateway_request
from app.web.middleware import REFUSED_KEY
from app.web.routes import is_hashing, list_hashing_routes

if TYPE_CHECKING:
    from flask import Flask

    from app.adapters.password_hasher import Capacity
    from app.server.wsgi import Receive, Send
    from app.unit_of_work import UnitOfWorkFactory

PROBES = frozenset({"/livez", "/readyz"})


class Front:
    """Answers checks on the event loop, and hands everything else to Flask in threads."""

    def __init__(self, app: Flask, units: UnitOfWorkFactory, capacity: Capacity) -> None:
        self._app, self._units, self._settings = app, units, units.settings
        # Three pools, so that nothing waits behind logins but logins.
        self._threads = ThreadPoolExecutor(capacity.threads, thread_name_prefix="request")
        self._hash_threads = ThreadPoolExecutor(capacity.hash_threads, thread_name_prefix="login")
        self._probe_threads = ThreadPoolExecutor(1, thread_name_prefix="probe")
        self._hash_queue = HashQueue(capacity.hash_threads)
        self._hashing_routes = list_hashing_routes(app)
        self._identifier = ClientIdentifier(units.settings)
        redis_url = units.settings.redis_url
        self._loop_routes = LoopRoutes(units, redis_url, self._identifier) if redis_url else None

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Answer one request (ASGI 3)."""
        path = scope["path"]
        if path in PROBES:
            await self._run_flask(scope, receive, send, self._probe_threads)
        elif is_hashing(self._hashing_routes, scope["method"], path):
            await self._run_hashing(scope, receive, send)
        elif self._loop_routes is not None and path == INTROSPECT_PATH:
            await self._run_introspection(self._loop_routes, scope, receive, send)
        elif self._loop_routes is None or not await self._loop_routes.run_check(scope, send):
            await self._run_flask(scope, receive, send, self._threads)

    async def _run_introspection(
        self, routes: LoopRoutes, scope: Any, receive: Receive, send: Send
    ) -> None:
        try:
            received = await receive_body(scope, receive)
        except ClientGone:
            return
        if scope["method"] != "POST" or not await routes.run_introspection(scope, received, send):
            answer = await self._call_flask(scope, received, self._threads)
            await send_response(send, answer, receive)

    async def _run_hashing(self, scope: Any, receive: Receive, send: Send) -> None:
        """Let a request that hashes a password wait for its turn."""
        try:
            received = await receive_body(scope, receive)
        except ClientGone:
            return
        _, source = self._identifier.identify(scope, read_headers(scope))
        try:
            async with self._hash_queue.admit(
                f"source {source}", f"account {find_account(scope, received.content)}"
            ):
                answer = await self._call_flask(scope, received, self._hash_threads)
        except Busy:
            answer = await self._call_flask(scope, received, self._threads, is_refused=True)
        await send_response(send, answer, receive)

    async def _run_flask(
        self, scope: Any, receive: Receive, send: Send, threads: ThreadPoolExecutor
    ) -> None:
        try:
            # The body of a gateway request is not read, so where the next one begins is unknown.
            is_gateway = is_gateway_request(scope["path"])
            received = ReceivedBody() if is_gateway else await receive_body(scope, receive)
        except ClientGone:
            return
        answer = await self._call_flask(scope, received, threads)
        answer.closes |= is_gateway and has_body(read_headers(scope))
        await send_response(send, answer, receive)

    async def _call_flask(
        self,
        scope: Any,
        received: ReceivedBody,
        threads: ThreadPoolExecutor,
        *,
        is_refused: bool = False,
    ) -> RawAnswer:
        environ = build_environ(scope, received)
        if is_refused:
            environ[REFUSED_KEY] = True
        loop = asyncio.get_running_loop()
        answer = await loop.run_in_executor(threads, run_application, self._app.wsgi_app, environ)
        answer.is_unread = received.is_unread
        answer.closes = received.is_unread or self._units.draining.is_set()
        return answer
