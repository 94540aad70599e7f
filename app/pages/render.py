"""Pages: server-rendered, without scripts, under a policy that allows none."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ParamSpec

from flask import Response, render_template, request

from app.errors import InvalidInput, Problem
from app.outbox.render import language

P = ParamSpec("P")

CSP = "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"


def page(template: str, *, status: int = 200, **values: Any) -> Response:
    """The page in the reader's language."""
    wanted = request.accept_languages.best_match(["en", "de"]) or "en"
    response = Response(render_template(f"{language(wanted)}/{template}.html", **values), status, content_type="text/html; charset=utf-8")
    response.headers["Content-Security-Policy"] = CSP
    return response


def shown(template: str) -> Callable[[Callable[P, Response]], Callable[P, Response]]:
    """Show problems as pages: a field that is not acceptable on the form itself, everything else on a page of its own."""

    def decorate(handler: Callable[P, Response]) -> Callable[P, Response]:
        @functools.wraps(handler)
        def shown_to_people(*args: P.args, **kwargs: P.kwargs) -> Response:
            try:
                return handler(*args, **kwargs)
            except Problem as problem:
                which = template if isinstance(problem, InvalidInput) else "problem"
                response = page(which, status=problem.status, problem=problem)
                response.headers.extend(problem.headers)
                return response

        return shown_to_people

    return decorate
