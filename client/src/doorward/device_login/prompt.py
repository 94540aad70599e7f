"""The prompt of a device login (RFC 8628 section 3.2)."""

from __future__ import annotations

import io
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from doorward.errors import UnexpectedAnswer
from doorward.printable import to_printable
from doorward.responses import to_secret, to_text
from doorward.secret import Secret

DEFAULT_INTERVAL_SECONDS, MIN_INTERVAL_SECONDS, MAX_INTERVAL_SECONDS = 5.0, 0.2, 60.0
DEFAULT_LIFETIME_SECONDS, MIN_LIFETIME_SECONDS, MAX_LIFETIME_SECONDS = 600.0, 1.0, 3600.0


@dataclass(frozen=True, slots=True)
class Prompt:
    """A device login that waits for approval. `str()` is a text to show to the user.

    `device_code` is the secret with which `with_session_id` completes the login. Everything else
    may be shown. Times are in seconds.
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
            lines.append(f"Approve only if the page shows these words: {self.check_phrase}")
        return "\n".join(lines)

    @property
    def seconds_left(self) -> float:
        """The seconds until the code expires."""
        return max(0.0, self.expires_in - (time.monotonic() - self.requested_at))

    def render_qr(self) -> str:
        """Return a QR code of the URL with the code, for a terminal.

        The user still has to compare and confirm the code on the page.
        """
        import segno  # imported late, because it is rarely needed

        output = io.StringIO()
        segno.make(self.verification_uri_complete or self.verification_uri, error="l").terminal(
            output, compact=True, border=2
        )
        return output.getvalue()


def parse_prompt(document: Mapping[str, Any]) -> Prompt:
    """Parse the response to a device authorization request. Raises UnexpectedAnswer."""
    code, uri, device_code = (
        to_printable(document.get("user_code")),
        to_printable(document.get("verification_uri")),
        to_secret(document.get("device_code")),
    )
    complete = to_printable(document.get("verification_uri_complete"))
    if (
        not code
        or device_code is None
        or not all(urlsplit(one).scheme in {"http", "https"} for one in (uri, complete or uri))
    ):
        raise UnexpectedAnswer("The service returned no valid device login. Check the URL.")
    return Prompt(
        code,
        uri,
        complete,
        device_code,
        to_text(document.get("session_id")),
        to_printable(document.get("check_phrase")),
        to_printable(document.get("login_message")),
        _clamp_seconds(
            document.get("expires_in"),
            DEFAULT_LIFETIME_SECONDS,
            MIN_LIFETIME_SECONDS,
            MAX_LIFETIME_SECONDS,
        ),
        _clamp_seconds(
            document.get("interval"),
            DEFAULT_INTERVAL_SECONDS,
            MIN_INTERVAL_SECONDS,
            MAX_INTERVAL_SECONDS,
        ),
    )


def _clamp_seconds(value: object, default: float, minimum: float, maximum: float) -> float:
    # In this order NaN becomes the minimum, and no integer is too large for a float.
    return float(min(max(minimum, value), maximum)) if isinstance(value, int | float) else default
