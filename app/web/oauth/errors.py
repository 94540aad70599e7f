"""Render every error under /oauth in the format of RFC 6749 section 5.2."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, TypeVar

from flask import Response
from marshmallow import Schema, fields

from app.errors import InvalidInput, Problem
from app.web.answers import dump_json
from app.web.openapi.annotations import document_operation

F = TypeVar("F", bound=Callable[..., Any])
CONTENT_TYPE = "application/json"
NO_CACHING = {"Cache-Control": "no-store", "Pragma": "no-cache"}
# Codes that OAuth registers. Every other problem gets a code by its status.
REGISTERED_CODES = frozenset(
    {
        "invalid_request",
        "invalid_client",
        "invalid_grant",
        "invalid_scope",
        "unsupported_grant_type",
        "unsupported_token_type",
        "insufficient_scope",
        "authorization_pending",
        "slow_down",
        "access_denied",
        "expired_token",
    }
)
DEFAULT_CODE = "invalid_request"
# Polling clients continue after slow_down (RFC 8628 section 3.5) and stop at any other code.
CODES_BY_STATUS = {429: "slow_down", 500: "server_error", 503: "temporarily_unavailable"}
ILLEGAL_CHARACTERS = re.compile(r"[^\x20\x21\x23-\x5b\x5d-\x7e]")


class OAuthErrorSchema(Schema):
    """An error in the format of RFC 6749 section 5.2. Programs read `error`."""

    error = fields.String(required=True)
    error_description = fields.String()


def render_oauth_error(problem: Problem) -> Response:
    """Render a problem in the format of RFC 6749 section 5.2."""
    code = (
        problem.code
        if problem.code in REGISTERED_CODES
        else CODES_BY_STATUS.get(problem.status, DEFAULT_CODE)
    )
    status = 400 if problem.status == InvalidInput.status else problem.status
    text = (problem.detail or problem.title).replace("…", "...").replace('"', "'")
    response = Response(
        dump_json({"error": code, "error_description": ILLEGAL_CHARACTERS.sub("?", text)}),
        status,
        content_type=CONTENT_TYPE,
    )
    response.headers.extend(problem.headers)
    return disable_caching(response)


def disable_caching(response: Response) -> Response:
    """Set both headers that RFC 6749 section 5.1 requires."""
    response.headers.update(NO_CACHING)
    return response


def document_oauth_errors(*problems: type[Problem]) -> Callable[[F], F]:
    """Describe the route's errors in the OpenAPI document, in addition to those of every route."""
    content = {CONTENT_TYPE: {"schema": OAuthErrorSchema}}
    codes = {
        400: [DEFAULT_CODE],
        411: [DEFAULT_CODE],
        413: [DEFAULT_CODE],
        415: [DEFAULT_CODE],
        429: [CODES_BY_STATUS[429]],
        503: [CODES_BY_STATUS[503]],
    }
    for problem in problems:
        codes.setdefault(problem.status, []).append(problem.code)

    def note(handler: F) -> F:
        said: Mapping[str, object] = {
            str(status): {
                "description": " · ".join(
                    [HTTPStatus(status).phrase, *(f"`{code}`" for code in told)]
                ),
                "content": content,
            }
            for status, told in sorted(codes.items())
        }
        # OpenAPI cannot express that client_id and client_secret may be in the form instead.
        return document_operation(handler, responses=said, security=[{"client": []}, {}])

    return note
