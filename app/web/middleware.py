"""The outermost ring: what is settled from the headers alone before a request comes in, and what every answer carries."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from flask import Response, g, request

from app.adapters import logs
from app.errors import Problem
from app.web import json_body as body
from app.web.auth import refresh_cookie
from app.web.client_info import get_client_ip_address, get_peer_ip_address, is_trusted
from app.web.request_id import REQUEST_ID_HEADER, assign_request_id, get_request_id
from app.web.routes import ANY_HOST, CREDENTIALS, is_declared

if TYPE_CHECKING:
    from flask import Flask

    from app.adapters.clock import Clock
    from app.settings import Settings

PREFLIGHT_SECONDS = "600"
HSTS = "max-age=63072000; includeSubDomains"
CSP = "default-src 'none'; frame-ancestors 'none'"

log = logs.get_logger("request")


class UntrustedHost(Problem):
    """A Host that is not ours. Nothing is ever built from it, and nothing is answered to it."""

    code = "untrusted_host"
    title = "This service does not answer under that name"
    status = 400


def register_middleware(app: Flask, settings: Settings, clock: Clock) -> None:
    """Put the ring around every request."""
    hosts = settings.allowed_hosts

    @app.before_request
    def arrive() -> Response | None:
        g.began = clock.get_monotonic_time()
        assign_request_id(trusted=is_trusted(get_peer_ip_address(), settings.trusted_proxies))
        logs.clear()
        logs.bind(request_id=get_request_id())
        if is_declared(app, ANY_HOST):
            return None
        if _parse_hostname(request.headers.get("Host", "")) not in hosts:
            raise UntrustedHost("See DOORWARD_PUBLIC_URL and DOORWARD_TRUSTED_HOSTS.")
        if request.method == "OPTIONS":
            return (
                Response(status=204)
                if "Access-Control-Request-Method" in request.headers and request.url_rule
                else None
            )
        body.receive_body()
        return None

    @app.after_request
    def leave(response: Response) -> Response:
        response.headers[REQUEST_ID_HEADER] = get_request_id()
        if response.status_code == HTTPStatus.NO_CONTENT:
            response.headers.pop("Content-Type", None)
        response.headers.setdefault("Cache-Control", "no-store")
        response.headers.setdefault("Content-Security-Policy", CSP)
        response.headers.setdefault("X-Content-Type-Options", "nosniff")
        response.headers.setdefault("Referrer-Policy", "no-referrer")
        response.headers.setdefault("Strict-Transport-Security", HSTS)
        _add_cors_headers(app, response, settings)
        _log_request(response, clock)
        return response


def _parse_hostname(host: str) -> str:
    """The Host header without its port, brackets and case."""
    name, separator, port = host.lower().rpartition(":")
    return (name if separator and port.isascii() and port.isdigit() else host.lower()).strip("[]")


def _add_cors_headers(app: Flask, response: Response, settings: Settings) -> None:
    """CORS for exactly the origins that are set; without any, nothing is said."""
    if not settings.cors_origins:
        return
    response.vary.add("Origin")
    origin = request.headers.get("Origin")
    if origin not in settings.cors_origins:
        return
    response.headers["Access-Control-Allow-Origin"] = origin
    response.headers["Access-Control-Expose-Headers"] = (
        f"{REQUEST_ID_HEADER}, Retry-After, RateLimit, RateLimit-Policy, WWW-Authenticate"
    )
    if is_declared(app, CREDENTIALS):
        response.headers["Access-Control-Allow-Credentials"] = "true"
    if request.method == "OPTIONS" and request.url_rule is not None:
        adapter = app.create_url_adapter(request)
        response.headers["Access-Control-Allow-Methods"] = (
            ", ".join(sorted(adapter.allowed_methods())) if adapter else ""
        )
        response.headers["Access-Control-Allow-Headers"] = (
            f"Authorization, Content-Type, X-API-Key, {refresh_cookie.CUSTOM_HEADER}"
        )
        response.headers["Access-Control-Max-Age"] = PREFLIGHT_SECONDS


def _log_request(response: Response, clock: Clock) -> None:
    """One line for each request. The route and never the path: a path can hold a mailed token."""
    log.info(
        "request",
        method=request.method,
        route=request.url_rule.rule if request.url_rule else None,
        status=response.status_code,
        milliseconds=round((clock.get_monotonic_time() - g.began) * 1000, 1),
        source=str(get_client_ip_address()),
    )
