"""flask-smorest with strict bodies, problem documents and schemas that are built once."""

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
from app.web.answers import PROBLEM_TYPE, dump_json
from app.web.json_body import (
    BodyTooLarge,
    InvalidBody,
    LengthRequired,
    RequestParser,
    UnsupportedMediaType,
)
from app.web.openapi.annotations import document_operation, document_problems
from app.web.routes import PathKind
from app.web.schemas import ProblemSchema

F = TypeVar("F", bound=Callable[..., Any])


class Blueprint(flask_smorest.Blueprint):  # type: ignore[misc] # flask-smorest is untyped
    """The routes of one module of `app.api`."""

    ARGUMENTS_PARSER = RequestParser()
    path_kind = PathKind.API

    def route(self, rule: str, *, methods: list[str]) -> Callable[[F], F]:
        """Register a route.

        The name of the handler becomes the operationId, which generated clients use.
        """
        routed: Callable[[F], F] = super().route(rule, methods=methods)

        def decorate(handler: F) -> F:
            return routed(document_operation(handler, operationId=handler.__name__))

        return decorate

    def arguments(self, schema: type[Schema], *, required: bool = True) -> Callable[[F], F]:
        """Parse the body and pass it to the handler as its last positional argument."""
        parsed = super().arguments(schema(), location="json", required=required)

        def decorate(handler: F) -> F:
            decorated: F = parsed(handler)
            decorated._apidoc["arguments"]["responses"].clear()  # type: ignore[attr-defined] # noqa: SLF001 - documented below
            return document_problems(
                InvalidBody, LengthRequired, BodyTooLarge, UnsupportedMediaType, InvalidInput
            )(decorated)

        return decorate

    def query(self, schema: type[Schema]) -> Callable[[F], F]:
        """Parse the query string and pass it as the next positional argument.

        Unknown and repeated names are rejected.
        """
        parsed = super().arguments(schema(), location="query")

        def decorate(handler: F) -> F:
            decorated: F = parsed(handler)
            decorated._apidoc["arguments"]["responses"].clear()  # type: ignore[attr-defined] # noqa: SLF001 - documented below
            return document_problems(InvalidInput)(decorated)

        return decorate

    def response(self, status: int, schema: type[Schema] | None = None) -> Callable[[F], F]:
        """Serialize the returned value inside the unit of work; pass a Response on unchanged."""
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

            # flask-smorest would add three lookups per request, so only its OpenAPI annotations are
            # used.
            answer._apidoc = note(handler)._apidoc  # type: ignore[attr-defined] # noqa: SLF001 - the annotations of flask-smorest
            return answer  # type: ignore[return-value] # same type for further decorators

        return decorate


class Api(flask_smorest.Api):  # type: ignore[misc] # flask-smorest is untyped
    """The OpenAPI document. It describes errors; web/problems.py renders them."""

    ERROR_SCHEMA = ProblemSchema

    def __init__(self, app: Flask) -> None:
        self._pending: list[Blueprint] = []
        self._lock = threading.Lock()
        super().__init__(app)

    def register_blueprint(self, blp: Blueprint) -> None:
        """Register the blueprint.

        Describing it takes half of the start time, so that waits for the first request.
        """
        self._app.extensions["flask-smorest"]["blp_name_to_api"][blp.name] = self
        self._app.register_blueprint(blp)
        self._pending.append(blp)

    def _openapi_json(self) -> Response:
        with self._lock:
            for blp in self._pending:
                blp.register_views_in_doc(
                    self, self._app, self.spec, name=blp.name, parameters=None
                )
                self.spec.tag({"name": blp.name, "description": blp.description})
            self._pending.clear()
        document: Response = super()._openapi_json()
        return document

    def _register_error_handlers(self) -> None:
        """Do nothing: the factory registers the error handlers."""

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
