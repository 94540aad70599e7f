"""Properties that blueprints and routes declare, and that middleware and error handlers read."""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import flask

if TYPE_CHECKING:
    from flask import Flask

F = TypeVar("F", bound=Callable[..., Any])

ANY_HOST = "accepts_any_host"
CREDENTIALS = "allows_cors_credentials"
HASHING = "hashes_password"
ANY_SEGMENT = "*"


class PathKind(StrEnum):
    """The kind of client that a path serves. It decides how errors are rendered."""

    API = "api"  # RFC 9457 problem documents
    OAUTH = "oauth"  # RFC 6749 errors
    PAGE = "page"  # HTML for people


class PageBlueprint(flask.Blueprint):
    """A blueprint of pages, whose errors are pages too."""

    path_kind: ClassVar[PathKind] = PathKind.PAGE


def accept_any_host(handler: F) -> F:
    """Declare that the route answers under any Host header and never reads a body."""
    setattr(handler, ANY_HOST, True)
    return handler


def allow_credentials(handler: F) -> F:
    """Declare that pages of CORS_ORIGINS may call the route with cookies."""
    setattr(handler, CREDENTIALS, True)
    return handler


def hashes_password(handler: F) -> F:
    """Declare that the route hashes a password, so the server lets its requests wait in a queue."""
    setattr(handler, HASHING, True)
    return handler


def list_hashing_routes(app: Flask) -> frozenset[tuple[str, str]]:
    """List the method and path of each route that hashes a password, for `is_hashing`."""
    return frozenset(
        (method, re.sub(r"<[^>]+>$", ANY_SEGMENT, rule.rule))
        for rule in app.url_map.iter_rules()
        if getattr(app.view_functions[rule.endpoint], HASHING, False)
        for method in rule.methods or ()
    )


def is_hashing(routes: frozenset[tuple[str, str]], method: str, path: str) -> bool:
    """Return whether a request is for one of the routes."""
    return (method, path) in routes or (
        method,
        f"{path.rpartition('/')[0]}/{ANY_SEGMENT}",
    ) in routes


def list_path_prefixes(app: Flask) -> dict[str, PathKind]:
    """List the path prefixes of all blueprints that do not serve the API, with their kind.

    A path without a route has no blueprint, so its kind is that of the prefix it begins with.
    """
    kinds = {
        name: kind
        for name, blueprint in app.blueprints.items()
        if (kind := getattr(blueprint, "path_kind", PathKind.API)) is not PathKind.API
    }
    prefixes = {
        f"{app.blueprints[name].url_prefix}/": kind
        for name, kind in kinds.items()
        if app.blueprints[name].url_prefix
    }
    for rule in app.url_map.iter_rules():
        kind = kinds.get(rule.endpoint.rpartition(".")[0])
        if kind is not None:
            prefixes[rule.rule.partition("<")[0]] = kind
    return prefixes


def get_path_kind(prefixes: dict[str, PathKind], path: str) -> PathKind:
    """Return the kind of the longest prefix of the path, API when there is none.

    A prefix that ends with a slash covers the paths below it, any other covers itself too.
    """
    matching = [
        prefix for prefix in prefixes if path == prefix or path.startswith(f"{prefix.rstrip('/')}/")
    ]
    return prefixes[max(matching, key=len)] if matching else PathKind.API
