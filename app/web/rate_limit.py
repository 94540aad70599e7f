"""Rate limits of routes. The unit of work counts them before the handler reads the body."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from app.errors import Unavailable
from app.rate_limits.errors import TooManyRequests
from app.web.openapi.annotations import document_problems

F = TypeVar("F", bound=Callable[..., Any])

RATE_LIMIT = "rate_limit_name"


def rate_limit(name: str) -> Callable[[F], F]:
    """Declare that each request counts against the setting LIMIT_<NAME>, by its source."""

    def declare(handler: F) -> F:
        setattr(handler, RATE_LIMIT, name)
        return document_problems(TooManyRequests, Unavailable)(handler)

    return declare
