"""Problems as answers: RFC 9457 everywhere, and nothing in them that an attacker could use."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING

from flask import Response, request
from werkzeug.exceptions import HTTPException

from app.adapters import logs
from app.adapters.database import is_database_unavailable
from app.errors import Problem, Unauthenticated, Unavailable
from app.web.json_body import dump_json
from app.web.oauth.errors import render_oauth_error
from app.web.openapi.annotations import PROBLEM_TYPE
from app.web.request_id import get_request_id
from app.web.routes import PathKind, get_path_kind, list_path_prefixes

if TYPE_CHECKING:
    from flask import Flask

log = logs.get_logger("problems")


class MethodNotAllowed(Problem):
    """The address exists, the method does not."""

    code = "method_not_allowed"
    title = "This method is not answered here"
    status = 405


class RouteNotFound(Problem):
    """No route."""

    code = "no_such_address"
    title = "There is no such address"
    status = 404


class BadRequest(Problem):
    """A request that is broken before its meaning can be looked at."""

    code = "bad_request"
    title = "The request cannot be understood"
    status = 400


class InternalError(Problem):
    """A fault of this service. The log has what happened, under the same request_id."""

    code = "internal_error"
    title = "Something went wrong on this side"
    status = 500


def register_error_handlers(app: Flask, *, render_page: Callable[[Problem], Response]) -> None:
    """Render every error, including those of Flask itself, in the form that its path calls for."""
    list_prefixes = functools.cache(lambda: list_path_prefixes(app))
    renderers = {
        PathKind.API: render_problem,
        PathKind.OAUTH: render_oauth_error,
        PathKind.PAGE: render_page,
    }

    def render(problem: Problem) -> Response:
        return renderers[get_path_kind(list_prefixes(), request.path)](problem)

    app.register_error_handler(Problem, render)
    app.register_error_handler(HTTPException, lambda error: render(_build_from_http_error(error)))
    app.register_error_handler(Exception, lambda error: render(_build_from_exception(error)))


def render_problem(problem: Problem) -> Response:
    """Render the problem as an RFC 9457 document."""
    document: dict[str, object] = {
        "type": problem.type_uri or f"urn:doorward:problem:{problem.code}",
        "title": problem.title,
        "status": problem.status,
        "code": problem.code,
        "request_id": get_request_id(),
    }
    if problem.detail:
        document["detail"] = problem.detail
    if problem.errors:
        document["errors"] = problem.errors
    document |= problem.members
    response = Response(dump_json(document), problem.status, content_type=PROBLEM_TYPE)
    response.headers.extend(problem.headers)
    if problem.status == Unauthenticated.status:
        # RFC 9110 section 11.6.1: no 401 without a challenge.
        response.headers.setdefault("WWW-Authenticate", 'Bearer realm="doorward"')
    return response


def _build_from_http_error(error: HTTPException) -> Problem:
    known: dict[int | None, type[Problem]] = {404: RouteNotFound, 405: MethodNotAllowed}
    if error.code is None or error.code >= InternalError.status:
        return InternalError()
    headers = {name: value for name, value in error.get_headers() if name in {"Allow", "Location"}}
    return known.get(error.code, BadRequest)(headers=headers)


def _build_from_exception(error: Exception) -> Problem:
    if is_database_unavailable(error):
        return Unavailable()
    log.error("unforeseen", exc_info=error)
    return InternalError()
