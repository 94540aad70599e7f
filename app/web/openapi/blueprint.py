"""flask-smorest as this house uses it: strict bodies, problem documents, schemas built once."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, TypeVar

import flask_smorest
from flask import Flask, Response
from marshmallow import Schema

from app.errors import InvalidInput
from app.web.json_body import (
    BodyTooLarge,
    InvalidBody,
    LengthRequired,
    RequestParser,
    UnsupportedMediaType,
    dump_json,
)
from app.web.openapi.annotations import PROBLEM_TYPE, document_operation, document_problems
from app.web.routes import PathKind
from app.web.schemas import ProblemSchema

F = TypeVar("F", bound=Callable[..., Any])


class Blueprint(flask_smorest.Blueprint):  # type: ignore[misc] # flask-smorest is untyped
    """One file of api/."""

    ARGUMENTS_PARSER = RequestParser()
    path_kind = PathKind.API

    def route(self, rule: str, *, methods: list[str]) -> Callable[[F], F]:
        """Answer here. In the OpenAPI document the operation is called as the handler is, by which generated clients name it."""
        routed: Callable[[F], F] = super().route(rule, methods=methods)

        def decorate(handler: F) -> F:
            return routed(document_operation(handler, operationId=handler.__name__))

        return decorate

    def arguments(self, schema: type[Schema], *, required: bool = True) -> Callable[[F], F]:
        """Parse the body; the handler gets it as its last positional argument."""
        parsed = super().arguments(schema(), location="json", required=required)

        def decorate(handler: F) -> F:
            decorated: F = parsed(handler)
            decorated._apidoc["arguments"]["responses"].clear()  # type: ignore[attr-defined] # noqa: SLF001 - ours are noted below
            return document_problems(
                InvalidBody, LengthRequired, BodyTooLarge, UnsupportedMediaType, InvalidInput
            )(decorated)

        return decorate

    def query(self, schema: type[Schema]) -> Callable[[F], F]:
        """Parse the query; the handler gets it as its next positional argument. Unknown and repeated names are refused."""
        parsed = super().arguments(schema(), location="query")

        def decorate(handler: F) -> F:
            decorated: F = parsed(handler)
            decorated._apidoc["arguments"]["responses"].clear()  # type: ignore[attr-defined] # noqa: SLF001 - ours are noted below
            return document_problems(InvalidInput)(decorated)

        return decorate

    def response(self, status: int, schema: type[Schema] | None = None) -> Callable[[F], F]:
        """Answer with what the handler returns, dumped inside the unit of work; with a Response as it is."""
        dump = schema().dump if schema is not None else None
        note = super().response(status, schema() if schema is not None else None)

        def decorate(handler: F) -> F:
            @functools.wraps(handler)
            def answer(*args: object, **kwargs: object) -> Response:
                found = handler(*args, **kwargs)
                if isinstance(found, Response):
                    return found
                return Response(
                    dump_json(dump(found)) if dump else None,
                    status,
                    content_type="application/json",
                )

            # flask-smorest does the same with three look-ups more; only what it notes for the OpenAPI document is taken from it.
            answer._apidoc = note(handler)._apidoc  # type: ignore[attr-defined] # noqa: SLF001 - where flask-smorest keeps its notes
            return answer  # type: ignore[return-value] # the same handler to whoever decorates it further

        return decorate


class Api(flask_smorest.Api):  # type: ignore[misc] # flask-smorest is untyped
    """The OpenAPI document. Errors are rendered by web/problems.py, here they are only described."""

    ERROR_SCHEMA = ProblemSchema

    def __init__(self, app: Flask) -> None:
        self._undescribed: list[Blueprint] = []
        self._describing = threading.Lock()
        super().__init__(app)

    def register_blueprint(self, blp: Blueprint) -> None:
        """Let it answer. It is described when the document is first asked for: that would be half of what a start costs."""
        self._app.extensions["flask-smorest"]["blp_name_to_api"][blp.name] = self
        self._app.register_blueprint(blp)
        self._undescribed.append(blp)

    def _openapi_json(self) -> Response:
        with self._describing:
            for blp in self._undescribed:
                blp.register_views_in_doc(
                    self, self._app, self.spec, name=blp.name, parameters=None
                )
                self.spec.tag({"name": blp.name, "description": blp.description})
            self._undescribed.clear()
        document: Response = super()._openapi_json()
        return document

    def _register_error_handlers(self) -> None:
        """Problems are registered by the factory."""

    def _register_responses(self) -> None:
        self.spec.components.schema("Problem", schema=ProblemSchema)
        content = {PROBLEM_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
        for status in HTTPStatus:
            self.spec.components.response(
                status.name, {"description": status.phrase, "content": content}, lazy=True
            )
        self.spec.components.response(
            "DEFAULT_ERROR", {"description": "A problem (RFC 9457)", "content": content}, lazy=True
        )
