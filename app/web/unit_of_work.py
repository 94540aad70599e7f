"""The unit of work of a request: opened by the outermost decorator of a handler, decided when the handler returns."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Concatenate, ParamSpec, TypeVar

from flask import current_app

from app.adapters import logs
from app.adapters.database import is_away
from app.errors import Unavailable
from app.signing_keys.refresh_ring import keep_fresh
from app.unit_of_work import UnitOfWork, UnitOfWorkFactory
from app.web.openapi.notes import answers

P = ParamSpec("P")
R = TypeVar("R")
EXTENSION = "doorward"

log = logs.get_logger("work")


def units() -> UnitOfWorkFactory:
    """What this process opens units of work with."""
    found: UnitOfWorkFactory = current_app.extensions[EXTENSION]
    return found


def reading(handler: Callable[Concatenate[UnitOfWork, P], R]) -> Callable[P, R]:
    """The handler gets a unit that cannot write, so that a GET changes nothing."""
    return _within(UnitOfWorkFactory.reading, handler)


def writing(handler: Callable[Concatenate[UnitOfWork, P], R]) -> Callable[P, R]:
    """The handler gets a unit that is committed when it returns or refuses, and rolled back on everything else."""
    return _within(UnitOfWorkFactory.writing, handler)


def _within(
    opened: Callable[[UnitOfWorkFactory], AbstractContextManager[UnitOfWork]],
    handler: Callable[Concatenate[UnitOfWork, P], R],
) -> Callable[P, R]:
    @functools.wraps(handler)
    def within(*args: P.args, **kwargs: P.kwargs) -> R:
        here = units()
        try:
            with opened(here) as work:
                _with_keys(here, work)
                return handler(work, *args, **kwargs)
        except Exception as error:
            if is_away(error):
                raise Unavailable("The database does not answer. Try again shortly.") from error
            raise

    return answers(Unavailable)(within)


def _with_keys(here: UnitOfWorkFactory, work: UnitOfWork) -> None:
    try:
        keep_fresh(work, ticks=here.clock.ticks())
    except Exception as error:
        if is_away(error):
            raise
        # Without its keys this process can judge no token: a fault of ours, whatever it is, and no answer about the credential.
        log.exception("the signing keys cannot be read")
        raise Unavailable(
            "The signing keys cannot be read. Nothing was changed. Try again shortly."
        ) from error
