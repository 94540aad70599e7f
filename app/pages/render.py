"""Render pages on the server, without scripts and under a policy that allows none."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ParamSpec
from urllib.parse import urlencode

from flask import Response, render_template

from app.errors import InvalidInput, Problem, Unauthenticated
from app.i18n import DEFAULT_LANGUAGE
from app.pages.formatting import describe_browser, format_duration
from app.sessions.recent_authentication import ReauthenticationRequired
from app.web.auth.page_session import get_current_page, reject_foreign_forms
from app.web.auth.presented_credentials import CHALLENGE
from app.web.client_info import get_preferred_language, get_request_id

P = ParamSpec("P")
PageHandler = Callable[P, Response]

CSP = (
    "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)


def render_page(template: str, *, problem: Problem | None = None, **values: Any) -> Response:
    """Render a page in the preferred language of the reader.

    With a problem, the page shows it and the response has its status.
    """
    status = problem.status if problem else 200
    return _render(template, get_preferred_language(), status, problem=problem, **values)


def render_developer_page(template: str, **values: Any) -> Response:
    """Render a page that exists in English only."""
    return _render(template, DEFAULT_LANGUAGE, 200, **values)


def _render(template: str, language: str, status: int, **values: Any) -> Response:
    html = render_template(
        f"{template}.html",
        lang=language,
        page_name=template,
        format_duration=format_duration,
        describe_browser=describe_browser,
        **values,
    )
    response = Response(html, status, content_type="text/html; charset=utf-8")
    response.headers["Content-Security-Policy"] = CSP
    if status == Unauthenticated.status:
        # RFC 9110 section 11.6.1 requires a challenge on every 401. Browsers ignore Bearer.
        response.headers["WWW-Authenticate"] = CHALLENGE
    return response


def render_problem_page(problem: Problem) -> Response:
    """Render the page that explains a problem and what to do next."""
    response = render_page("problem", problem=problem, request_id=get_request_id())
    response.headers.extend(problem.headers)
    return response


def redirect_to(path: str, **query: str) -> Response:
    """Redirect with 303, so that reloading the page does not resend the form (RFC 9110 15.4.4)."""
    response = Response(status=303)
    response.headers["Location"] = f"{path}?{urlencode(query)}" if query else path
    return response


def show_problems(handler: PageHandler[P]) -> PageHandler[P]:
    """Decorate a handler to render problems as pages."""

    @functools.wraps(handler)
    def render_or_explain(*args: P.args, **kwargs: P.kwargs) -> Response:
        try:
            return handler(*args, **kwargs)
        except Problem as problem:
            return render_problem_page(problem)

    return render_or_explain


def protect_page(handler: PageHandler[P]) -> PageHandler[P]:
    """Decorate the handler of a page for signed-in users.

    Forms from other sites are rejected. Users who have to sign in or confirm their password are
    sent to that page and back.
    """

    @show_problems
    def handle(*args: P.args, **kwargs: P.kwargs) -> Response:
        reject_foreign_forms()
        try:
            return handler(*args, **kwargs)
        except ReauthenticationRequired:
            return redirect_to("/login/again", next=get_current_page())
        except Unauthenticated:
            return redirect_to("/login", next=get_current_page())

    @functools.wraps(handler)
    def handle_with_referrer_policy(*args: P.args, **kwargs: P.kwargs) -> Response:
        response = handle(*args, **kwargs)
        # With no-referrer, browsers send Origin: null with our own forms, as foreign forms do.
        response.headers["Referrer-Policy"] = "same-origin"
        return response

    return handle_with_referrer_policy


def redisplay_form(
    form: Callable[..., Response], *problems: type[Problem]
) -> Callable[[PageHandler[P]], PageHandler[P]]:
    """Decorate a handler to show its form again for invalid input and `problems`."""
    expected: tuple[type[Problem], ...] = (InvalidInput, *problems)

    def decorate(handler: PageHandler[P]) -> PageHandler[P]:
        @functools.wraps(handler)
        def handle_or_redisplay(*args: P.args, **kwargs: P.kwargs) -> Response:
            try:
                return handler(*args, **kwargs)
            except expected as problem:
                return form(*args, **kwargs, problem=problem)

        return handle_or_redisplay

    return decorate
