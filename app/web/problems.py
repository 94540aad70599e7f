"""Render errors as RFC 9457 problem documents, OAuth errors or pages, without internal details."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING

from flask import Response, request
from werkzeug.exceptions import HTTPException

from app.adapters import logs
from app.adapters.database import is_database_unavailable
from app.errors import Problem, Unavailable
from app.web.answers import Answer, build_problem_answer
from app.web.client_info import get_request_id
from app.web.oauth.errors import render_oauth_error
from app.web.routes import PathKind, get_path_kind, list_path_prefixes

if TYPE_CHECKING:
    from flask import Flask

log = logs.get_logger("problems")


class MethodNotAllowed(Problem):
    """The path has no such method."""

    code = "method_not_allowed"
    title = "Method not allowed"
    status = 405


class RouteNotFound(Problem):
    """No route has this path."""

    code = "no_such_address"
    title = "No such path"
    status = 404


class BadRequest(Problem):
    """The request is malformed."""

    code = "bad_request"
    title = "Malformed request"
    status = 400


class InternalError(Problem):
    """An error in this service. The log has the traceback under the same request id."""

    code = "internal_error"
    title = "Internal server error"
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
    return to_response(build_problem_answer(problem, get_request_id()))


def to_response(answer: Answer) -> Response:
    """Return the answer as a response of Flask."""
    return Response(answer.body, answer.status, answer.headers)


def _build_from_http_error(error: HTTPException) -> Problem:
    known: dict[int | None, type[Problem]] = {404: RouteNotFound, 405: MethodNotAllowed}
    if error.code is None or error.code >= InternalError.status:
        return InternalError()
    headers = {name: value for name, value in error.get_headers() if name in {"Allow", "Location"}}
    return known.get(error.code, BadRequest)(headers=headers)


def _build_from_exception(error: Exception) -> Problem:
    if is_database_unavailable(error):
        return Unavailable()
    log.error("unhandled exception", exc_info=error)
    return InternalError()
