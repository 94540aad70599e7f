"""Structured logging: one JSON line per event, UTC timestamps, secrets masked."""

from __future__ import annotations

import json
import logging
import re
import sys
import time
from collections.abc import MutableMapping
from dataclasses import asdict, dataclass
from functools import cache, lru_cache
from typing import Any, TextIO

import structlog

from app.adapters.clock import Clock

SECRET_NAMES = re.compile(
    r"password|secret|token|cookie|authorization|\bcode\b|_digest|api_key", re.IGNORECASE
)
SECRET_SHAPES = re.compile(
    r"eyJ[\w-]{8,}\.[\w-]+\.[\w-]*"  # a JWT
    r"|\b[a-z]+_[0-9A-Za-z]{22}_[0-9A-Za-z]{40,}"  # an opaque token
    r"|\bdwr\d\.[\w.-]{40,}"  # a refresh token
    r"|\$(?:argon2|2[aby]\$|[56]\$)[\w$=,+/.]+"
    r"|\b(?:pbkdf2|scrypt)[_:$-][^\s\"]{40,}"
    r"|(?<=DETAIL: ) [^\n]*"  # PostgreSQL quotes rejected rows here
)
MIN_SECRET_LENGTH = 10  # characters; the minimum that a pattern above matches
MASK = "***"
# Fields whose values this service makes itself.
SAFE_FIELDS = frozenset(
    {"event", "level", "at", "request_id", "account_id", "session_id", "source", "route", "status"}
)
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

get_logger = structlog.get_logger
bind = structlog.contextvars.bind_contextvars
clear = structlog.contextvars.clear_contextvars

_clock = Clock()


def mask_secrets(text: str) -> str:
    """Replace everything in the text that has the format of a secret."""
    return SECRET_SHAPES.sub(MASK, text)


@cache
def _is_secret(name: str) -> bool:
    return SECRET_NAMES.search(name) is not None


def _mask_event(
    _logger: object, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    for name, value in event.items():
        if name in SAFE_FIELDS:
            continue
        if _is_secret(name):
            event[name] = MASK
        elif isinstance(value, str) and len(value) >= MIN_SECRET_LENGTH:
            event[name] = mask_secrets(value)
    return event


def _add_timestamp(
    _logger: object, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    event["at"] = _format_now()
    return event


def _format_now() -> str:
    """Return the time as in `2026-01-31T12:00:00.000Z`."""
    seconds, fraction = divmod(_clock.get_wall_time(), 1)
    return f"{_format_second(int(seconds))}.{int(fraction * 1000):03}Z"


@lru_cache(maxsize=8)
def _format_second(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


SHARED_PROCESSORS: list[structlog.types.Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.processors.add_log_level,
    _add_timestamp,
    structlog.processors.format_exc_info,
    _mask_event,
]


JSON_RENDERER: structlog.types.Processor = structlog.processors.JSONRenderer()
READABLE_RENDERER: structlog.types.Processor = structlog.dev.ConsoleRenderer(
    exception_formatter=structlog.dev.plain_traceback
)


@dataclass(slots=True)
class RequestRecord:
    """What is logged about a request: its route instead of its path, which can hold a token."""

    request_id: str
    method: str
    route: str | None
    status: int
    seconds: float
    source: str  # IP address


class _RequestLog:
    """Writes one line per request. In JSON the line is prepared, which costs a tenth."""

    def __init__(self) -> None:
        self._stream: TextIO | None = None
        self._is_enabled = True

    def configure(self, stream: TextIO | None, *, is_enabled: bool) -> None:
        """Write prepared lines to the stream. None writes through the general logger."""
        self._stream, self._is_enabled = stream, is_enabled

    def write(self, record: RequestRecord) -> None:
        if not self._is_enabled:
            return
        if self._stream is None:
            fields = asdict(record)
            milliseconds = round(fields.pop("seconds") * 1000, 1)
            get_logger("request").info("request", **fields, milliseconds=milliseconds)
            return
        method = record.method if record.method in METHODS else json.dumps(record.method)[1:-1]
        route = f'"{record.route}"' if record.route is not None else "null"
        self._stream.write(
            f'{{"method": "{method}", "route": {route}, "status": {record.status}, '
            f'"milliseconds": {record.seconds * 1000:.1f}, "source": "{record.source}", '
            f'"event": "request", "request_id": "{record.request_id}", "level": "info", '
            f'"at": "{_format_now()}"}}\n'
        )
        self._stream.flush()


_request_log = _RequestLog()
log_request = _request_log.write


def configure_logging(
    stream: TextIO | None = None,
    *,
    level: int = logging.INFO,
    renderer: structlog.types.Processor = JSON_RENDERER,
) -> None:
    """Log to `stream` (standard output by default), including messages of libraries.

    `level` is the lowest level that is logged. Call this once per process.
    """
    stream = stream or sys.stdout
    structlog.configure(
        processors=[*SHARED_PROCESSORS, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        # One write per line, so that lines of several threads do not mix.
        logger_factory=structlog.WriteLoggerFactory(stream),
        cache_logger_on_first_use=False,
    )
    _request_log.configure(
        stream if renderer is JSON_RENDERER else None, is_enabled=level <= logging.INFO
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(processor=renderer, foreign_pre_chain=SHARED_PROCESSORS)
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    # Libraries log little of interest below WARNING.
    root.setLevel(level if level in {logging.DEBUG, logging.ERROR} else logging.WARNING)
