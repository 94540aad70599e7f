"""Foreseeable failures, as problems (RFC 9457).

Every layer may raise them; web/problems.py renders them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

FieldErrors = dict[str, list[str]]


class Problem(Exception):
    """A foreseeable failure.

    It rolls the unit of work back unless it is raised as `work.keep(problem)`.
    """

    code: ClassVar[str]
    title: ClassVar[str]
    status: ClassVar[int]
    type_uri: ClassVar[str] = ""  # of a public registry; empty for our own types

    def __init__(
        self,
        detail: str = "",
        *,
        errors: Mapping[str, Sequence[str]] | None = None,
        headers: Mapping[str, str] | None = None,
        members: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(detail or self.title)
        self.detail = detail
        self.errors = {pointer: list(texts) for pointer, texts in (errors or {}).items()}
        self.headers = dict(headers or {})
        self.members = dict(members or {})


class Unauthenticated(Problem):
    """The request has no valid credential (RFC 6750 section 3)."""

    code = "unauthenticated"
    title = "Authentication required"
    status = 401


class Forbidden(Problem):
    """The principal is known and lacks the permission."""

    code = "forbidden"
    title = "Permission denied"
    status = 403


class NotFound(Problem):
    """The resource does not exist or belongs to another user; both look the same."""

    code = "not_found"
    title = "Resource not found"
    status = 404


class InvalidInput(Problem):
    """A field of the request is invalid; `errors` names each by JSON pointer."""

    code = "validation_failed"
    title = "Validation failed"
    status = 422


class Busy(Problem):
    """The process has reached its capacity; the client may retry."""

    code = "busy"
    title = "Server at capacity"
    status = 503

    def __init__(self, detail: str = "Try again in a second.", *, retry_after: int = 1) -> None:
        super().__init__(detail, headers={"Retry-After": str(retry_after)})


class Unavailable(Problem):
    """A dependency of this service does not respond; the same request may be retried."""

    code = "unavailable"
    title = "Service temporarily unavailable"
    status = 503

    def __init__(self, detail: str = "Try again shortly.", *, retry_after: int = 2) -> None:
        super().__init__(detail, headers={"Retry-After": str(retry_after)})
