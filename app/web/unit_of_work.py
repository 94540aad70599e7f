"""The unit of work of a request, opened by the outermost decorator of its handler."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Concatenate, ParamSpec, TypeVar

from flask import current_app

from app.adapters import logs
from app.adapters.database import is_database_unavailable
from app.errors import Unavailable
from app.rate_limits.count import count_request
from app.signing_keys.load import load_signing_keys
from app.unit_of_work import UnitOfWork, UnitOfWorkFactory
from app.web.client_info import get_client_info
from app.web.openapi.annotations import document_problems
from app.web.rate_limit import RATE_LIMIT

P = ParamSpec("P")
R = TypeVar("R")
EXTENSION_NAME = "doorward"

log = logs.get_logger("work")


def get_unit_of_work_factory() -> UnitOfWorkFactory:
    found: UnitOfWorkFactory = current_app.extensions[EXTENSION_NAME]
    return found


def reading(handler: Callable[Concatenate[UnitOfWork, P], R]) -> Callable[P, R]:
    """Decorate a handler to run in a unit of work that cannot write."""
    return _run_in_unit_of_work(UnitOfWorkFactory.open_read_only, handler)


def writing(handler: Callable[Concatenate[UnitOfWork, P], R]) -> Callable[P, R]:
    """Decorate a handler to run in a unit of work that commits when the handler returns.

    It also commits when the handler raises a problem marked by `work.keep`. A rate limit that the
    handler declares is counted first.
    """
    return _run_in_unit_of_work(UnitOfWorkFactory.open_read_write, handler)


def _run_in_unit_of_work(
    open_unit: Callable[[UnitOfWorkFactory], AbstractContextManager[UnitOfWork]],
    handler: Callable[Concatenate[UnitOfWork, P], R],
) -> Callable[P, R]:
    limit: str | None = getattr(handler, RATE_LIMIT, None)

    @functools.wraps(handler)
    def within(*args: P.args, **kwargs: P.kwargs) -> R:
        here = get_unit_of_work_factory()
        try:
            with open_unit(here) as work:
                ticks = here.clock.get_monotonic_time()
                if work.signing_keys.is_stale(ticks):
                    _load_signing_keys(work, ticks)
                if limit is not None:
                    count_request(work, get_client_info(), limit)
                return handler(work, *args, **kwargs)
        except Exception as error:
            if is_database_unavailable(error):
                raise Unavailable("The database does not respond. Try again shortly.") from error
            raise

    return document_problems(Unavailable)(within)


def _load_signing_keys(work: UnitOfWork, ticks: float) -> None:
    try:
        load_signing_keys(work, ticks=ticks)
    except Exception as error:
        if is_database_unavailable(error):
            raise
        # Without signing keys no token can be verified. That is an error here, not an invalid
        # credential.
        log.exception("signing keys cannot be read")
        raise Unavailable(
            "The signing keys cannot be read, and nothing was changed. Try again shortly."
        ) from error
