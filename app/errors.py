"""What can go wrong foreseeably: problems in the words of RFC 9457, known to every room and rendered once, in web/problems.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

FieldErrors = dict[str, list[str]]


class Problem(Exception):
    """A foreseeable failure. Raised in rooms; everything the unit of work wrote is rolled back."""

    code: ClassVar[str]
    title: ClassVar[str]
    status: ClassVar[int]
    type_uri: ClassVar[str] = ""  # where a public registry has the type; ours otherwise

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
    """Who asks is not known: no credential, or one that does not count (RFC 6750 section 3)."""

    code = "unauthenticated"
    title = "A valid credential is needed"
    status = 401


class Forbidden(Problem):
    """Who asks is known, and may not."""

    code = "forbidden"
    title = "This is not allowed"
    status = 403


class NotFound(Problem):
    """There is no such thing, or it belongs to somebody else: both are one answer."""

    code = "not_found"
    title = "There is nothing here"
    status = 404


class InvalidInput(Problem):
    """The body was understood and one of its fields is not acceptable; `errors` names each by JSON pointer."""

    code = "validation_failed"
    title = "Some fields are not acceptable"
    status = 422


class Busy(Problem):
    """More is asked at once than this process can do; the same request is right a moment later."""

    code = "busy"
    title = "Too much is going on at once"
    status = 503

    def __init__(self, detail: str = "Try again in a second.", *, retry_after: int = 1) -> None:
        super().__init__(detail, headers={"Retry-After": str(retry_after)})


class Unavailable(Problem):
    """Something this service depends on does not answer. The credential is not at fault, and asking again is safe."""

    code = "unavailable"
    title = "A part of the service does not answer"
    status = 503

    def __init__(self, detail: str = "Try again shortly.", *, retry_after: int = 2) -> None:
        super().__init__(detail, headers={"Retry-After": str(retry_after)})
