"""Pages: server-rendered, without scripts, under a policy that allows none."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ParamSpec
from urllib.parse import urlencode

from flask import Response, render_template

from app.errors import InvalidInput, Problem, Unauthenticated
from app.pages.words import describe_browser, format_duration
from app.sessions.recent_authentication import ReauthenticationRequired
from app.web.auth.credentials import CHALLENGE
from app.web.auth.page_session import get_current_page, reject_foreign_forms
from app.web.client_info import get_preferred_language
from app.web.request_id import get_request_id

P = ParamSpec("P")
PageHandler = Callable[P, Response]

CSP = "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"


def render_page(template: str, *, status: int = 200, **values: Any) -> Response:
    """The page in the reader's language."""
    return render_developer_page(f"{get_preferred_language()}/{template}", status=status, **values)


def render_developer_page(template: str, *, status: int = 200, **values: Any) -> Response:
    """A page that there is in one language only."""
    response = Response(
        render_template(
            f"{template}.html", span=format_duration, browser=describe_browser, **values
        ),
        status,
        content_type="text/html; charset=utf-8",
    )
    response.headers["Content-Security-Policy"] = CSP
    if status == Unauthenticated.status:
        # RFC 9110 section 11.6.1: no 401 without a challenge. A browser knows no Bearer and asks nobody.
        response.headers["WWW-Authenticate"] = CHALLENGE
    return response


def render_problem(problem: Problem) -> Response:
    """What went wrong, in words, and what to do next."""
    response = render_page(
        "problem", status=problem.status, problem=problem, request_id=get_request_id()
    )
    response.headers.extend(problem.headers)
    return response


def redirect_to(path: str, **query: str) -> Response:
    """Look there next, with GET: whoever loads the page again sends no form a second time (RFC 9110 section 15.4.4)."""
    response = Response(status=303)
    response.headers["Location"] = f"{path}?{urlencode(query)}" if query else path
    return response


def show_problems(handler: PageHandler[P]) -> PageHandler[P]:
    """Show problems as pages."""

    @functools.wraps(handler)
    def shown_to_people(*args: P.args, **kwargs: P.kwargs) -> Response:
        try:
            return handler(*args, **kwargs)
        except Problem as problem:
            return render_problem(problem)

    return shown_to_people


def protect_page(handler: PageHandler[P]) -> PageHandler[P]:
    """A page of somebody who signs in here: its forms count only from here, and who has to sign in first is sent there and back."""

    @show_problems
    def guarded(*args: P.args, **kwargs: P.kwargs) -> Response:
        reject_foreign_forms()
        try:
            return handler(*args, **kwargs)
        except ReauthenticationRequired:
            return redirect_to("/login/again", next=get_current_page())
        except Unauthenticated:
            return redirect_to("/login", next=get_current_page())

    @functools.wraps(handler)
    def shown_to_person(*args: P.args, **kwargs: P.kwargs) -> Response:
        response = guarded(*args, **kwargs)
        # With no-referrer a browser sends Origin: null with our own forms, and they could not be told from others'.
        response.headers["Referrer-Policy"] = "same-origin"
        return response

    return shown_to_person


def redisplay_form(
    form: Callable[..., Response], *others: type[Problem]
) -> Callable[[PageHandler[P]], PageHandler[P]]:
    """Where a field is not acceptable, or one of the other problems is met, show the form again, with the reason."""
    met: tuple[type[Problem], ...] = (InvalidInput, *others)

    def decorate(handler: PageHandler[P]) -> PageHandler[P]:
        @functools.wraps(handler)
        def asked_again(*args: P.args, **kwargs: P.kwargs) -> Response:
            try:
                return handler(*args, **kwargs)
            except met as problem:
                return form(*args, **kwargs, problem=problem)

        return asked_again

    return decorate
