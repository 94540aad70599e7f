"""The routes that are answered on the event loop: gateway checks, whoami and introspection.

Each returns False for requests that its Flask route has to answer.
"""

from __future__ import annotations

import functools
import hashlib
import time
from typing import TYPE_CHECKING, Any

from app.adapters import logs
from app.adapters.redis_pipeline import RedisPipeline
from app.errors import Problem
from app.oauth.introspect import build_introspection
from app.server.checks import Deferred, LoopChecks
from app.server.known_credentials import Verified, make_room
from app.server.wsgi import CLOSE, RawHeaders, ReceivedBody, build_environ
from app.verification.credentials import parse_token
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
from app.web.introspection import build_introspection_answer, parse_introspection
from app.web.middleware import parse_hostname
from app.web.oauth.errors import NO_CACHING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from app.server.wsgi import Send
    from app.settings import Settings
    from app.unit_of_work import UnitOfWorkFactory

WHOAMI_PATH = "/v1/whoami"
INTROSPECT_PATH = "/oauth/introspect"
# Other headers play no part in a check.
CHECK_HEADERS = frozenset(
    {
        *(b"authorization", b"x-api-key", b"host", b"x-forwarded-for", b"x-request-id"),
        *(b"origin", b"content-type", b"content-length", b"transfer-encoding"),
    }
)
INTROSPECTION_HEADERS = (b"authorization", b"x-api-key", b"content-type")


class ClientIdentifier:
    """Determines the id of a request and the IP address of its client."""

    def __init__(self, settings: Settings) -> None:
        proxies = settings.trusted_proxies

        @functools.lru_cache(maxsize=1024)
        def resolve(peer: str, forwarded: str) -> tuple[str, bool]:
            address = parse_peer_ip_address(peer)
            source = resolve_client_ip_address(address, forwarded, proxies)
            return str(source), is_trusted(address, proxies)

        self._resolve = resolve

    def identify(self, scope: Any, headers: Mapping[bytes, str]) -> tuple[str, str]:
        client = scope["client"]
        source, is_peer_trusted = self._resolve(
            client[0] if client else "", headers.get(b"x-forwarded-for", "")
        )
        given = headers.get(b"x-request-id", "")
        return choose_request_id(given, is_trusted=is_peer_trusted), source


class LoopRoutes:
    """Answers warm checks. Use it from one event loop only."""

    def __init__(
        self, units: UnitOfWorkFactory, redis_url: str, identifier: ClientIdentifier
    ) -> None:
        self._units, self._settings = units, units.settings
        self._checks = LoopChecks(units, RedisPipeline(redis_url))
        self._identify = identifier.identify
        self._hosts = units.settings.allowed_hosts
        self._parsed: dict[bytes, tuple[str, str]] = {}
        self._vary = "Origin" if units.settings.cors_origins else None

    async def run_check(self, scope: Any, send: Send) -> bool:
        """Answer a gateway or whoami, and return whether the request was one of them."""
        path = scope["path"]
        if scope["method"] == "HEAD":
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

    async def run_introspection(self, scope: Any, received: ReceivedBody, send: Send) -> bool:
        """Answer an introspection, and return whether it was of the usual form."""
        began = time.monotonic()
        try:
            headers = read_headers(scope)
            if not self._is_usual(headers) or received.is_unread:
                return False
            parsed = self._parse_introspection(scope, headers, received)
            if parsed is None:
                return False
            verified = await self._checks.introspect(*parsed)
        except (Deferred, Problem):
            return False
        request_id, source = self._identify(scope, headers)
        raw, body = self._prepare_introspection(verified, parsed[0])
        await self._respond(send, 200, raw, request_id, body)
        _log(request_id, INTROSPECT_PATH, 200, time.monotonic() - began, source, method="POST")
        return True

    def _parse_introspection(
        self, scope: Any, headers: Mapping[bytes, str], received: ReceivedBody
    ) -> tuple[str, str] | None:
        """Parse a request, or return what was parsed from the same bytes before."""
        relevant = [scope["query_string"], received.content]
        relevant += [headers.get(name, "").encode("latin-1") for name in INTROSPECTION_HEADERS]
        digest = hashlib.sha256(b"\0".join(relevant)).digest()
        parsed = self._parsed.get(digest)
        if parsed is None:
            parsed = parse_introspection(build_environ(scope, received))
            if parsed is not None:
                make_room(self._parsed)
                self._parsed[digest] = parsed
        return parsed

    def _is_usual(self, headers: Mapping[bytes, str]) -> bool:
        """Return whether the host is expected and no CORS headers are needed."""
        return parse_hostname(headers.get(b"host", "")) in self._hosts and not (
            self._vary is not None and b"origin" in headers
        )

    async def _check_gateway_request(self, checks: LoopChecks, scope: Any, send: Send) -> None:
        """Answer a gateway. Raises Deferred."""
        began = time.monotonic()
        headers = read_headers(scope)
        if self._vary is not None and b"origin" in headers:
            raise Deferred  # the route adds the other CORS headers
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
        await self._respond(send, status, raw, request_id, body, closes=has_body(headers))
        route = f"/authz/{name}/<policy>"
        _log(request_id, route, status, time.monotonic() - began, source)

    async def _check_whoami(self, checks: LoopChecks, scope: Any, send: Send) -> None:
        """Answer GET /v1/whoami. Raises Deferred."""
        began = time.monotonic()
        headers = read_headers(scope)
        if scope["method"] != "GET" or has_body(headers) or not self._is_usual(headers):
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

    def _prepare_introspection(
        self, verified: Verified | None, token: str
    ) -> tuple[RawHeaders, bytes]:
        prepared = verified.prepared.get(INTROSPECT_PATH) if verified else None
        if prepared is None:
            result = (
                build_introspection(self._settings, parse_token(token), verified.principal)
                if verified
                else None
            )
            answer = build_introspection_answer(result)
            answer.headers.update(NO_CACHING)
            prepared = self._prepare(answer), answer.body.encode()
            if verified:
                verified.prepared[INTROSPECT_PATH] = prepared
        return prepared

    def _prepare(self, answer: Answer, *, is_gateway: bool = False) -> RawHeaders:
        """Encode the headers of an answer that do not change from request to request."""
        headers = answer.headers
        if is_gateway:
            add_gateway_headers(headers, answer.code)
        if self._vary is not None:
            headers["Vary"] = f"{headers['Vary']}, {self._vary}" if is_gateway else self._vary
        headers.setdefault("Content-Length", str(len(answer.body)))
        for name, value in STANDARD_HEADERS.items():
            headers.setdefault(name, value)
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
        headers = [*prepared, (REQUEST_ID_HEADER.encode(), request_id.encode())]
        if closes or self._units.draining.is_set():
            headers.append(CLOSE)
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def read_headers(scope: Any) -> dict[bytes, str]:
    """Return the headers of a check, repeated ones joined by commas as in WSGI."""
    headers: dict[bytes, str] = {}
    for name, value in scope["headers"]:
        if name in CHECK_HEADERS:
            text = value.decode("latin-1")
            headers[name] = f"{headers[name]},{text}" if name in headers else text
    return headers


def has_body(headers: Mapping[bytes, str]) -> bool:
    return headers.get(b"content-length", "0") != "0" or b"transfer-encoding" in headers


def _encode_headers(headers: dict[str, str]) -> RawHeaders:
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]


def _log(
    request_id: str, route: str, status: int, seconds: float, source: str, *, method: str = "GET"
) -> None:
    logs.log_request(logs.RequestRecord(request_id, method, route, status, seconds, source))
