"""Rate limits of routes, counted by source before the body is read."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar

from app.errors import Unavailable
from app.rate_limits.count import count_request
from app.rate_limits.errors import TooManyRequests
from app.unit_of_work import UnitOfWork
from app.web.client_info import get_client_info
from app.web.openapi.annotations import document_problems

P = ParamSpec("P")
R = TypeVar("R")


def rate_limit(
    name: str,
) -> Callable[[Callable[Concatenate[UnitOfWork, P], R]], Callable[Concatenate[UnitOfWork, P], R]]:
    """Decorate a handler to first count each request against the setting LIMIT_<NAME>."""

    def decorate(
        handler: Callable[Concatenate[UnitOfWork, P], R],
    ) -> Callable[Concatenate[UnitOfWork, P], R]:
        @functools.wraps(handler)
        def counted(work: UnitOfWork, /, *args: P.args, **kwargs: P.kwargs) -> R:
            count_request(work, get_client_info(), name)
            return handler(work, *args, **kwargs)

        counted.rate_limit_name = name  # type: ignore[attr-defined] # read by the test of `config reference`
        return document_problems(TooManyRequests, Unavailable)(counted)

    return decorate
