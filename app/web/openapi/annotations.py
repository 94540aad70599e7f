"""Annotate handlers for the OpenAPI document."""

from __future__ import annotations

import copy
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, TypeVar

from app.errors import Problem
from app.web.answers import PROBLEM_TYPE

F = TypeVar("F", bound=Callable[..., Any])


def document_problems(*problems: type[Problem] | HTTPStatus) -> Callable[[F], F]:
    """Decorate a handler to document problems that it can return."""

    def note(handler: F) -> F:
        responses = _get_manual_doc(handler).setdefault("responses", {})
        for problem in problems:
            status = problem if isinstance(problem, HTTPStatus) else HTTPStatus(problem.status)
            code = None if isinstance(problem, HTTPStatus) else problem.code
            _add_problem_response(responses, status, code)
        return handler

    return note


def document_operation(handler: F, **operation: Any) -> F:
    """Add fields to the handler's operation in the OpenAPI document."""
    _get_manual_doc(handler).update(operation)
    return handler


def document_header(handler: F, status: int, name: str, description: str) -> F:
    """Document a header of the response with that status."""
    # The key is the number, as in flask-smorest; a string key would replace its entry.
    headers = (
        _get_manual_doc(handler)
        .setdefault("responses", {})
        .setdefault(status, {})
        .setdefault("headers", {})
    )
    headers[name] = {"schema": {"type": "string"}, "description": description}
    return handler


def _get_manual_doc(handler: F) -> dict[str, Any]:
    # functools.wraps shares the inner function's annotations with the outer one, so copy them.
    notes = copy.deepcopy(getattr(handler, "_apidoc", {}))
    handler._apidoc = notes  # type: ignore[attr-defined] # noqa: SLF001 - the annotations of flask-smorest
    manual: dict[str, Any] = notes.setdefault("manual_doc", {})
    return manual


def _add_problem_response(responses: dict[str, Any], status: HTTPStatus, code: str | None) -> None:
    response = responses.setdefault(
        str(status.value),
        {
            "description": status.phrase,
            "content": {PROBLEM_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        },
    )
    if code and f"`{code}`" not in response["description"]:
        response["description"] += f" · `{code}`"
