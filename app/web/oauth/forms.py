"""Strict parsing of OAuth form bodies (RFC 6749 appendix B).

The query must be empty, because proxies log it. Each parameter may appear once, because two parsers
may choose different values.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar
from urllib.parse import parse_qsl

from marshmallow import EXCLUDE, Schema

from app.errors import Problem
from app.oauth.errors import InvalidRequest
from app.web.json_body import RequestParser, UnsupportedMediaType
from app.web.openapi.blueprint import Blueprint
from app.web.routes import PathKind

if TYPE_CHECKING:
    from flask import Request
    from marshmallow import ValidationError
    from werkzeug import Request as HttpRequest

F = TypeVar("F", bound=Callable[..., Any])
FORM_CONTENT_TYPE = "application/x-www-form-urlencoded"
MAX_FIELDS = 32
MALFORMED_ENCODING = re.compile(rb"[^\x21-\x7e]|%(?![0-9A-Fa-f]{2})")
CONTROL_CHARACTERS = re.compile("[\x00-\x1f\x7f-\x9f]")


class Form(Schema):
    """A form schema that ignores unknown parameters (RFC 6749 section 3.2)."""

    class Meta:  # noqa: D106 - marshmallow's word
        unknown = EXCLUDE


class FormParser(RequestParser):
    """A parser that loads forms strictly and reports errors as InvalidRequest."""

    def load_form(self, req: Request, schema: Schema) -> dict[str, str]:
        del schema
        return read_form(req)

    def handle_error(
        self,
        error: ValidationError,
        req: Request,
        schema: Schema,
        *,
        error_status_code: int | None,
        error_headers: object,
    ) -> NoReturn:
        try:
            super().handle_error(
                error, req, schema, error_status_code=error_status_code, error_headers=error_headers
            )
        except Problem as problem:
            pointer, texts = next(iter(problem.errors.items()))
            raise InvalidRequest(f"{pointer.rpartition('/')[2]}: {texts[0]}") from None


class OAuthBlueprint(Blueprint):
    """A blueprint whose request bodies are forms."""

    ARGUMENTS_PARSER = FormParser()
    path_kind = PathKind.OAUTH

    def form(self, schema: type[Form]) -> Callable[[F], F]:
        """Parse the form; the handler gets it as its last positional argument."""
        parsed: Callable[[F], F] = super(Blueprint, self).arguments(schema(), location="form")

        def decorate(handler: F) -> F:
            decorated: F = parsed(handler)
            decorated._apidoc["arguments"]["responses"].clear()  # type: ignore[attr-defined] # noqa: SLF001 - 400 says it here
            return decorated

        return decorate


def read_form(request: HttpRequest) -> dict[str, str]:
    """Return the form without empty parameters. Raises UnsupportedMediaType or InvalidRequest."""
    if request.query_string:
        raise InvalidRequest("Send every parameter in the body, not in the query string.")
    raw = request.get_data(cache=True)
    if not raw:
        return {}
    if (
        request.mimetype != FORM_CONTENT_TYPE
        or request.mimetype_params.get("charset", "utf-8").lower() != "utf-8"
    ):
        raise UnsupportedMediaType(
            f"Send {FORM_CONTENT_TYPE}.", headers={"Accept": FORM_CONTENT_TYPE}
        )
    if MALFORMED_ENCODING.search(raw):
        raise InvalidRequest("The form is not percent-encoded correctly.")
    try:
        pairs = parse_qsl(
            raw.decode(),
            keep_blank_values=True,
            strict_parsing=True,
            errors="strict",
            max_num_fields=MAX_FIELDS,
        )
    except ValueError:
        raise InvalidRequest("The form cannot be parsed.") from None
    form = dict(pairs)
    if len(form) != len(pairs):
        raise InvalidRequest("A parameter appears more than once.")
    if any(CONTROL_CHARACTERS.search(text) for pair in pairs for text in pair):
        raise InvalidRequest("A parameter contains control characters.")
    return {name: value for name, value in form.items() if value}
