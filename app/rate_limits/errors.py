"""Errors of rate limits and throttling (RFC 6585 and the RateLimit header fields of the IETF)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.errors import Problem

if TYPE_CHECKING:
    from app.adapters.rate_limiter import ExceededLimit


class TooManyRequests(Problem):
    """A limit was reached.

    The request was not processed, so the answer reveals nothing about its contents.
    """

    code = "rate_limited"
    title = "Too many requests"
    status = 429
    # draft-ietf-httpapi-ratelimit-headers, section "Problem Types"
    type_uri = "https://iana.org/assignments/http-problem-types#quota-exceeded"

    def __init__(self, name: str, exceeded: ExceededLimit) -> None:
        super().__init__(
            f"Try again in {exceeded.reset} seconds.",
            headers={
                "Retry-After": str(exceeded.reset),
                "RateLimit-Policy": f'"{name}";q={exceeded.quota};w={exceeded.window}',
                "RateLimit": f'"{name}";r=0;t={exceeded.reset}',
            },
            members={"violated-policies": [name]},
        )


class AttemptsInFlight(TooManyRequests):
    """All free password attempts are being verified right now, and each may still succeed."""

    def __init__(self, name: str, exceeded: ExceededLimit, counter: str) -> None:
        super().__init__(name, exceeded)
        self.counter = counter
