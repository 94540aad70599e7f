"""What a person must see to let a program in from another device (RFC 8628 section 3.2)."""

from __future__ import annotations

import io
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from doorward.errors import UnexpectedAnswer
from doorward.responses import to_secret, to_text
from doorward.secret import Secret
from doorward.transport.problems import to_printable

DEFAULT_INTERVAL_SECONDS, MIN_INTERVAL_SECONDS, MAX_INTERVAL_SECONDS = (
    5.0,
    0.2,
    60.0,
)  # seconds between two polls
DEFAULT_LIFETIME_SECONDS = 600.0  # seconds, where the service does not say


@dataclass(frozen=True, slots=True)
class Prompt:
    """A login that waits for somebody. `str()` is a text to show.

    `device_code` is the secret that the login is picked up with (`with_session_id`); everything else may be shown to anybody.
    Times are seconds.
    """

    user_code: str
    verification_uri: str
    verification_uri_complete: str
    device_code: Secret
    session_id: str = ""
    check_phrase: str = ""
    login_message: str = ""
    expires_in: float = DEFAULT_LIFETIME_SECONDS
    interval: float = DEFAULT_INTERVAL_SECONDS
    requested_at: float = field(default_factory=time.monotonic, repr=False)

    def __str__(self) -> str:
        lines = [f"Open {self.verification_uri} on any device and enter the code {self.user_code}"]
        if self.check_phrase:
            lines.append(f"Approve only if it shows the same words there: {self.check_phrase}")
        return "\n".join(lines)

    @property
    def seconds_left(self) -> float:
        """Until the code is too old."""
        return max(0.0, self.expires_in - (time.monotonic() - self.requested_at))

    def render_qr(self) -> str:
        """The address with the code as a QR code of half blocks, for a terminal. The code must still be compared and confirmed there."""
        import segno  # only where a picture is wanted

        output = io.StringIO()
        segno.make(self.verification_uri_complete or self.verification_uri, error="l").terminal(
            output, compact=True, border=2
        )
        return output.getvalue()


def parse_prompt(found: Mapping[str, Any]) -> Prompt:
    """Raises UnexpectedAnswer when the answer is none that a person can be shown."""
    code, uri, device = (
        to_printable(found.get("user_code")),
        to_printable(found.get("verification_uri")),
        to_secret(found.get("device_code")),
    )
    complete = to_printable(found.get("verification_uri_complete"))
    if (
        not code
        or device is None
        or not all(urlsplit(one).scheme in {"http", "https"} for one in (uri, complete or uri))
    ):
        raise UnexpectedAnswer(
            "The service offered no login from another device: check the address."
        )
    return Prompt(
        code,
        uri,
        complete,
        device,
        to_text(found.get("session_id")),
        to_printable(found.get("check_phrase")),
        to_printable(found.get("login_message")),
        _clamp_seconds(found.get("expires_in"), DEFAULT_LIFETIME_SECONDS, 1.0, 3600.0),
        _clamp_seconds(
            found.get("interval"),
            DEFAULT_INTERVAL_SECONDS,
            MIN_INTERVAL_SECONDS,
            MAX_INTERVAL_SECONDS,
        ),
    )


def _clamp_seconds(found: object, usual: float, least: float, most: float) -> float:
    # In this order NaN becomes the least, and no number is too large for a float.
    return float(min(max(least, found), most)) if isinstance(found, int | float) else usual
