"""Checks before every request, and the headers and log line of every response."""

from __future__ import annotations

from functools import lru_cache
from http import HTTPStatus
from typing import TYPE_CHECKING

from flask import Response, g, request

from app.adapters import logs
from app.errors import Busy, Problem
from app.web.answers import REQUEST_ID_HEADER, add_standard_headers
from app.web.auth import refresh_cookie
from app.web.client_info import get_client_ip_address, get_request_id, identify_client
from app.web.json_body import receive_body
from app.web.routes import ANY_HOST, CREDENTIALS

if TYPE_CHECKING:
    from flask import Flask

    from app.adapters.clock import Clock
    from app.settings import Settings

# Set in the environment of a request that the server refuses because too many wait.
REFUSED_KEY = "doorward.refused"
PREFLIGHT_SECONDS = "600"


class UntrustedHost(Problem):
    """The Host header is not one of PUBLIC_URL or TRUSTED_HOSTS."""

    code = "untrusted_host"
    title = "Untrusted Host header"
    status = 400


def register_middleware(app: Flask, settings: Settings, clock: Clock) -> None:
    """Run the checks before and the additions after every request."""
    hosts = settings.allowed_hosts

    @app.before_request
    def check_request() -> Response | None:
        g.began = clock.get_monotonic_time()
        identify_client(settings.trusted_proxies)
        logs.clear()
        logs.bind(request_id=get_request_id())
        if _has_declared(app, ANY_HOST):
            return None
        _require_admission(hosts)
        if request.method == "OPTIONS":
            return _answer_preflight()
        receive_body()
        return None

    @app.after_request
    def complete_response(response: Response) -> Response:
        if response.status_code == HTTPStatus.NO_CONTENT:
            response.headers.pop("Content-Type", None)
        add_standard_headers(response.headers, get_request_id())
        if settings.cors_origins:
            _add_cors_headers(app, response, settings)
        _log_request(response, clock)
        return response


def _require_admission(hosts: frozenset[str]) -> None:
    """Raise Busy if the server has refused the request, or UntrustedHost."""
    if REFUSED_KEY in request.environ:
        raise Busy
    if parse_hostname(request.headers.get("Host", "")) not in hosts:
        raise UntrustedHost("Add the host to DOORWARD_TRUSTED_HOSTS.")


def _answer_preflight() -> Response | None:
    """Answer an OPTIONS request of a browser (Fetch standard, CORS preflight)."""
    if "Access-Control-Request-Method" not in request.headers or request.url_rule is None:
        return None
    return Response(status=204)


def _has_declared(app: Flask, declaration: str) -> bool:
    """Return whether the route of the current request has made this declaration."""
    handler = app.view_functions.get(request.endpoint or "")
    return getattr(handler, declaration, False)


@lru_cache(maxsize=64)
def parse_hostname(host: str) -> str:
    """Return the host in lower case, without port and brackets."""
    name, separator, port = host.lower().rpartition(":")
    return (name if separator and port.isascii() and port.isdigit() else host.lower()).strip("[]")


def _add_cors_headers(app: Flask, response: Response, settings: Settings) -> None:
    """Add CORS headers for the origins in CORS_ORIGINS."""
    response.vary.add("Origin")
    origin = request.headers.get("Origin")
    if origin not in settings.cors_origins:
        return
    response.headers["Access-Control-Allow-Origin"] = origin
    response.headers["Access-Control-Expose-Headers"] = (
        f"{REQUEST_ID_HEADER}, Retry-After, RateLimit, RateLimit-Policy, WWW-Authenticate"
    )
    if _has_declared(app, CREDENTIALS):
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
    record = logs.RequestRecord(
        request_id=get_request_id(),
        method=request.method,
        route=request.url_rule.rule if request.url_rule else None,
        status=response.status_code,
        seconds=clock.get_monotonic_time() - g.began,
        source=str(get_client_ip_address()),
    )
    logs.log_request(record)
