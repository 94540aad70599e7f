"""A token or API key with its expiry.

The expiry is tracked by two clocks: the wall clock may be set, and the monotonic clock may stop
while the machine sleeps.
"""

from __future__ import annotations

import base64
import json
import time
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from doorward import environment
from doorward.models import Tokens
from doorward.secret import Secret
from doorward.store.entries import AuthSession

# Tokens are refreshed this long before their expiry, or in the last fifth of a shorter lifetime.
REFRESH_AHEAD = timedelta(seconds=60)
REFRESH_FRACTION = 0.2
API_KEY_PREFIX = "dwk_"
MAX_TIMESTAMP = 253402300799  # the last second of the year 9999, the maximum of datetime
JWT_PARTS = 3  # RFC 7515 section 7.1


@dataclass(frozen=True, slots=True)
class Credential:
    """An access token or API key, with the refresh token and details of its session.

    `expires_at` is None if the expiry is unknown or there is none.
    """

    token: Secret
    expires_at: datetime | None = None
    lifetime: timedelta | None = None
    refresh_token: Secret | None = None
    refresh_expires_at: datetime | None = None
    session_id: str = ""
    username: str = ""
    scope: str = ""
    monotonic_deadline: float | None = field(default=None, repr=False)
    # False if the expiry comes from the token itself, by a clock that may differ from ours.
    expiry_confirmed: bool = True

    @classmethod
    def from_tokens(cls, tokens: Tokens) -> Credential:
        """Build a credential from tokens that were issued just now."""
        now, lifetime = environment.get_now(), timedelta(seconds=tokens.expires_in)
        refresh_lifetime = timedelta(seconds=tokens.refresh_expires_in)
        return cls(
            tokens.access,
            now + lifetime,
            lifetime,
            tokens.refresh,
            now + refresh_lifetime if tokens.refresh and refresh_lifetime else None,
            tokens.session_id,
            tokens.username,
            tokens.scope,
            time.monotonic() + lifetime.total_seconds(),
        )

    @classmethod
    def from_stored(cls, stored: AuthSession) -> Credential:
        """Build a credential from a session in the store."""
        seconds_left = (stored.expires - environment.get_now()).total_seconds()
        return cls(
            stored.token,
            stored.expires,
            _get_lifetime(stored.token),
            stored.refresh_token,
            stored.refresh_expires,
            stored.session_id,
            stored.username,
            stored.scope,
            time.monotonic() + seconds_left,
        )

    @classmethod
    def from_token(cls, token: Secret, refresh_token: Secret | None = None) -> Credential:
        """Build a credential from a bare token or key.

        The expiry in a JWT is only a hint when to refresh.
        """
        expiry = _get_expiry(token)
        seconds_left = (expiry - environment.get_now()).total_seconds() if expiry else None
        return cls(
            token,
            expiry,
            _get_lifetime(token),
            refresh_token,
            session_id=_get_session_id(token),
            monotonic_deadline=None if seconds_left is None else time.monotonic() + seconds_left,
            expiry_confirmed=False,
        )

    def to_stored(self) -> AuthSession:
        """Return the session as it is kept in the store."""
        return AuthSession(
            self.token,
            self.expires_at or environment.get_now(),
            self.refresh_token,
            self.refresh_expires_at,
            self.session_id,
            self.username,
            self.scope,
        )

    def get_remaining_seconds(self) -> float:
        """Return the seconds until the expiry by the faster clock, infinity if it is unknown."""
        remaining = [float("inf")]
        if self.expires_at is not None:
            remaining.append((self.expires_at - environment.get_now()).total_seconds())
        if self.monotonic_deadline is not None:
            remaining.append(self.monotonic_deadline - time.monotonic())
        return min(remaining)

    def is_refresh_due(self) -> bool:
        """Return whether the token should be refreshed now.

        A bare token that cannot be refreshed is left to the judgment of the service.
        """
        if not self.expiry_confirmed and self.refresh_token is None:
            return False
        ahead = REFRESH_AHEAD.total_seconds()
        if self.lifetime is not None:
            ahead = min(ahead, REFRESH_FRACTION * self.lifetime.total_seconds())
        return self.get_remaining_seconds() <= ahead

    def with_tokens(self, tokens: Tokens) -> Credential:
        """Return the credential of the same session with newly issued tokens."""
        new = Credential.from_tokens(tokens)
        return replace(
            new,
            refresh_token=new.refresh_token or self.refresh_token,
            refresh_expires_at=new.refresh_expires_at or self.refresh_expires_at,
            session_id=new.session_id or self.session_id,
            username=new.username or self.username,
            scope=new.scope or self.scope,
        )

    def with_details(
        self, username: str, session_id: str, expires_at: datetime | None = None
    ) -> Credential:
        """Return the credential with its missing details filled in."""
        return replace(
            self,
            username=self.username or username,
            session_id=self.session_id or session_id,
            expires_at=self.expires_at or expires_at,
        )

    @property
    def is_api_key(self) -> bool:
        """Whether the token is an API key. Token files and DOORWARD_TOKEN may hold one."""
        return self.token.reveal().startswith(API_KEY_PREFIX)

    def has_same_secrets(self, other: Credential) -> bool:
        """Return whether both have the same token and refresh token."""
        return (self.token, self.refresh_token) == (other.token, other.refresh_token)

    def to_redacted(self) -> Credential:
        """Return the credential without its secrets."""
        return replace(self, token=Secret(""), refresh_token=None)


def _parse_claims(token: Secret) -> dict[str, object]:
    """Return the claims of a JWT without verifying it, empty for any other token."""
    parts = token.reveal().split(".")
    if len(parts) != JWT_PARTS:
        return {}
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, RecursionError):
        return {}
    return claims if isinstance(claims, dict) else {}


def _get_session_id(token: Secret) -> str:
    """Return the session id in the token, empty if there is none, as for tokens of API keys."""
    claim = _parse_claims(token).get("sid")
    return claim if isinstance(claim, str) and claim.startswith("ses_") else ""


def _get_expiry(token: Secret) -> datetime | None:
    expiry = _get_timestamp(token, "exp")
    return datetime.fromtimestamp(expiry, UTC) if expiry is not None else None


def _get_lifetime(token: Secret) -> timedelta | None:
    issued, expiry = _get_timestamp(token, "iat"), _get_timestamp(token, "exp")
    if issued is None or expiry is None or issued >= expiry:
        return None
    return timedelta(seconds=expiry - issued)


def _get_timestamp(token: Secret, claim: str) -> float | None:
    """Return a NumericDate (RFC 7519 section 2), None if it is missing or invalid."""
    value = _parse_claims(token).get(claim)
    return float(value) if isinstance(value, int | float) and 0 <= value <= MAX_TIMESTAMP else None
