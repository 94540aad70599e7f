"""Too often, in the words of RFC 6585 and the IETF's RateLimit header fields."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.errors import Problem

if TYPE_CHECKING:
    from app.adapters.rate_limiter import ExceededLimit


class TooManyRequests(Problem):
    """A limit that was reached. Nothing was looked at, so the answer tells nothing about what was asked."""

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
    """As many tries as nobody waits for are being looked at at this very moment: each of them may turn out to be right."""

    def __init__(self, name: str, exceeded: ExceededLimit, counter: str) -> None:
        super().__init__(name, exceeded)
        self.counter = counter
