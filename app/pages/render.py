"""Pages: server-rendered, without scripts, under a policy that allows none."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ParamSpec

from flask import Response, render_template

from app.errors import InvalidInput, Problem
from app.web.source import reader_language

P = ParamSpec("P")
Handler = Callable[P, Response]

CSP = "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"


def page(template: str, *, status: int = 200, **values: Any) -> Response:
    """The page in the reader's language."""
    return page_for_developers(f"{reader_language()}/{template}", status=status, **values)


def page_for_developers(template: str, *, status: int = 200, **values: Any) -> Response:
    """A page that there is in one language only."""
    response = Response(render_template(f"{template}.html", **values), status, content_type="text/html; charset=utf-8")
    response.headers["Content-Security-Policy"] = CSP
    return response


def shown(handler: Handler[P]) -> Handler[P]:
    """Show problems as pages."""

    @functools.wraps(handler)
    def shown_to_people(*args: P.args, **kwargs: P.kwargs) -> Response:
        try:
            return handler(*args, **kwargs)
        except Problem as problem:
            response = page("problem", status=problem.status, problem=problem)
            response.headers.extend(problem.headers)
            return response

    return shown_to_people


def asking_again(form: Callable[..., Response]) -> Callable[[Handler[P]], Handler[P]]:
    """Where a field is not acceptable, show its form again, with the reason."""

    def decorate(handler: Handler[P]) -> Handler[P]:
        @functools.wraps(handler)
        def asked_again(*args: P.args, **kwargs: P.kwargs) -> Response:
            try:
                return handler(*args, **kwargs)
            except InvalidInput as problem:
                return form(*args, **kwargs, problem=problem)

        return asked_again

    return decorate
