"""The ASGI application in front of Flask.

It runs on the event loop. It answers checks there, and hands every other request to Flask in a
thread. A request reaches a thread only when it has arrived completely and within its limits, so
slow clients hold no thread.
"""

from __future__ import annotations

import asyncio
import functools
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from app.adapters import logs
from app.adapters.redis_pipeline import RedisPipeline
from app.errors import Busy, Problem
from app.server.checks import Deferred, LoopChecks
from app.server.hash_queue import HashQueue, find_account
from app.server.wsgi import (
    CLOSE,
    ClientGone,
    RawAnswer,
    RawHeaders,
    ReceivedBody,
    build_environ,
    receive_body,
    run_application,
    send_response,
)
from app.verification.identity_headers import UnsafeHeaderValue, build_identity_headers
from app.verification.policies import DEFAULT, require_policy
from app.web.answers import (
    REQUEST_ID_HEADER,
    STANDARD_HEADERS,
    Answer,
    build_problem_answer,
    build_whoami_answer,
)
from app.web.client_info import (
    choose_request_id,
    is_trusted,
    parse_peer_ip_address,
    resolve_client_ip_address,
)
from app.web.gateway_requests import add_gateway_headers, is_gateway_request, normalize_path
from app.web.middleware import REFUSED_KEY, parse_hostname
from app.web.routes import is_hashing, list_hashing_routes

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from flask import Flask

    from app.adapters.password_hasher import Capacity
    from app.settings import Settings
    from app.unit_of_work import UnitOfWorkFactory

    Receive = Callable[[], Awaitable[Any]]
    Send = Callable[[Any], Awaitable[None]]

WHOAMI_PATH = "/v1/whoami"
PROBES = frozenset({"/livez", "/readyz"})
# Other headers play no part in a check.
CHECK_HEADERS = frozenset(
    {
        *(b"authorization", b"x-api-key", b"host", b"x-forwarded-for", b"x-request-id"),
        *(b"origin", b"content-length", b"transfer-encoding"),
    }
)


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
        redis_url = units.settings.redis_url
        self._checks = LoopChecks(units, RedisPipeline(redis_url)) if redis_url else None
        self._hosts = units.settings.allowed_hosts
        self._standard = _encode_headers(STANDARD_HEADERS)
        self._vary = "Origin" if units.settings.cors_origins else None
        self._identify = _build_identify(units.settings)

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Answer one request (ASGI 3)."""
        path = scope["path"]
        if path in PROBES:
            await self._run_flask(scope, receive, send, self._probe_threads)
        elif is_hashing(self._hashing_routes, scope["method"], path):
            await self._run_hashing(scope, receive, send)
        elif not await self._run_check(scope, path, send):
            await self._run_flask(scope, receive, send, self._threads)

    async def _run_check(self, scope: Any, path: str, send: Send) -> bool:
        """Answer a check, and return whether this was one that needs no route."""
        if self._checks is None or scope["method"] == "HEAD":
            return False
        try:
            if is_gateway_request(path):
                await self._check_gateway_request(self._checks, scope, send)
                return True
            if path == WHOAMI_PATH:
                await self._check_whoami(self._checks, scope, send)
                return True
        except Deferred:
            pass
        return False

    async def _check_gateway_request(self, checks: LoopChecks, scope: Any, send: Send) -> None:
        """Answer a gateway. Raises Deferred."""
        began = time.monotonic()
        headers = self._read_headers(scope)
        request_id, source = self._identify(scope, headers)
        _, _, name, policy = normalize_path(scope["path"]).split("/")
        required = self._settings.policies.get(policy)
        if required is None and policy != DEFAULT:
            raise Deferred
        status = 200
        try:
            verified = await checks.verify(headers.get(b"authorization"), headers.get(b"x-api-key"))
            if required is not None:
                require_policy(required, verified.principal)
            raw = verified.prepared.get(policy)
            if raw is None:
                identity = build_identity_headers(
                    self._settings,
                    self._units.signing_keys,
                    verified.principal,
                    self._units.clock.now(),
                    policy=policy,
                )
                raw = self._prepare(Answer(status, identity), is_gateway=True)
                if required is None or not required.audience:
                    verified.prepared[policy] = raw
            body = b""
        except UnsafeHeaderValue:
            raise Deferred from None
        except Problem as problem:
            answer = build_problem_answer(problem, request_id)
            status, body = answer.status, answer.body.encode()
            raw = self._prepare(answer, is_gateway=True)
        await self._respond(send, status, raw, request_id, body, closes=_has_body(headers))
        route = f"/authz/{name}/<policy>"
        _log(request_id, route, status, time.monotonic() - began, source)

    async def _check_whoami(self, checks: LoopChecks, scope: Any, send: Send) -> None:
        """Answer GET /v1/whoami. Raises Deferred."""
        began = time.monotonic()
        headers = self._read_headers(scope)
        if (
            scope["method"] != "GET"
            or _has_body(headers)
            or parse_hostname(headers.get(b"host", "")) not in self._hosts
        ):
            raise Deferred
        request_id, source = self._identify(scope, headers)
        try:
            verified = await checks.verify(headers.get(b"authorization"), headers.get(b"x-api-key"))
            prepared = verified.prepared.get(WHOAMI_PATH)
            if prepared is None:
                answer = build_whoami_answer(verified.principal)
                prepared = self._prepare(answer), answer.body.encode()
                verified.prepared[WHOAMI_PATH] = prepared
            status, (raw, body) = 200, prepared
        except Problem as problem:
            answer = build_problem_answer(problem, request_id)
            status, raw, body = answer.status, self._prepare(answer), answer.body.encode()
        await self._respond(send, status, raw, request_id, body)
        _log(request_id, WHOAMI_PATH, status, time.monotonic() - began, source)

    def _read_headers(self, scope: Any) -> dict[bytes, str]:
        """Return the headers of a check, repeated ones joined by commas as in WSGI."""
        headers: dict[bytes, str] = {}
        for name, value in scope["headers"]:
            if name in CHECK_HEADERS:
                text = value.decode("latin-1")
                headers[name] = f"{headers[name]},{text}" if name in headers else text
        if self._vary is not None and b"origin" in headers:
            raise Deferred  # the route adds the other CORS headers
        return headers

    def _prepare(self, answer: Answer, *, is_gateway: bool = False) -> RawHeaders:
        """Encode the headers of an answer that do not change from request to request."""
        headers = answer.headers
        if is_gateway:
            add_gateway_headers(headers, answer.code)
        if self._vary is not None:
            headers["Vary"] = f"{headers['Vary']}, {self._vary}" if is_gateway else self._vary
        headers.setdefault("Content-Length", str(len(answer.body)))
        return _encode_headers(headers)

    async def _respond(
        self,
        send: Send,
        status: int,
        prepared: RawHeaders,
        request_id: str,
        body: bytes,
        *,
        closes: bool = False,
    ) -> None:
        headers = [*prepared, (REQUEST_ID_HEADER.encode(), request_id.encode()), *self._standard]
        if closes or self._units.draining.is_set():
            headers.append(CLOSE)
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _run_hashing(self, scope: Any, receive: Receive, send: Send) -> None:
        """Let a request that hashes a password wait for its turn."""
        try:
            received = await receive_body(scope, receive)
        except ClientGone:
            return
        _, source = self._identify(scope, self._read_headers(scope))
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
        answer.closes |= is_gateway and _has_body(dict(scope["headers"]))
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


def _has_body(headers: Mapping[bytes, str | bytes]) -> bool:
    return headers.get(b"content-length", "0") not in {"0", b"0"} or b"transfer-encoding" in headers


def _build_identify(settings: Settings) -> Callable[[Any, dict[bytes, str]], tuple[str, str]]:
    """Build the function that returns the id of a request and the IP address of its client."""
    proxies = settings.trusted_proxies

    @functools.lru_cache(maxsize=1024)
    def resolve(peer: str, forwarded: str) -> tuple[str, bool]:
        address = parse_peer_ip_address(peer)
        source = resolve_client_ip_address(address, forwarded, proxies)
        return str(source), is_trusted(address, proxies)

    def identify(scope: Any, headers: dict[bytes, str]) -> tuple[str, str]:
        client = scope["client"]
        source, is_peer_trusted = resolve(
            client[0] if client else "", headers.get(b"x-forwarded-for", "")
        )
        given = headers.get(b"x-request-id", "")
        return choose_request_id(given, is_trusted=is_peer_trusted), source

    return identify


def _encode_headers(headers: dict[str, str]) -> RawHeaders:
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]


def _log(request_id: str, route: str, status: int, seconds: float, source: str) -> None:
    logs.log_request(logs.RequestRecord(request_id, "GET", route, status, seconds, source))
