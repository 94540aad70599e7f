"""A token in the hand: how long it lasts yet, by two clocks, since one of them may be set and the other stops while the machine sleeps."""

from __future__ import annotations

import base64
import json
import time
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from doorward import environment as here
from doorward.models import Tokens
from doorward.secret import Secret
from doorward.store.entries import AuthSession

REFRESH_AHEAD = timedelta(
    seconds=60
)  # refreshed that long before the end, or in the last fifth of a shorter life
REFRESH_FRACTION = 0.2
API_KEY_PREFIX = "dwk_"
MAX_TIMESTAMP = 253402300799  # the last second of the year 9999, and of datetime


@dataclass(frozen=True, slots=True)
class Credential:
    """One access token or key, with what belongs to it. `expires_at` is None where the end is not known, or there is none."""

    token: Secret
    expires_at: datetime | None = None
    lifetime: timedelta | None = None
    refresh_token: Secret | None = None
    refresh_expires_at: datetime | None = None
    session_id: str = ""
    username: str = ""
    scope: str = ""
    monotonic_deadline: float | None = field(default=None, repr=False)  # by time.monotonic()
    expiry_confirmed: bool = True  # the end comes from an answer to us; otherwise from the token itself, by a clock that may be another

    @classmethod
    def from_tokens(cls, tokens: Tokens) -> Credential:
        """Tokens that came just now."""
        now, life = here.get_now(), timedelta(seconds=tokens.expires_in)
        refresh_life = timedelta(seconds=tokens.refresh_expires_in)
        return cls(
            tokens.access,
            now + life,
            life,
            tokens.refresh,
            now + refresh_life if tokens.refresh and refresh_life else None,
            tokens.session_id,
            tokens.username,
            tokens.scope,
            time.monotonic() + life.total_seconds(),
        )

    @classmethod
    def from_stored(cls, stored: AuthSession) -> Credential:
        """A session of the store."""
        left = (stored.expires - here.get_now()).total_seconds()
        ends_at = time.monotonic() + left
        own = (
            stored.refresh_token,
            stored.refresh_expires,
            stored.session_id,
            stored.username,
            stored.scope,
        )
        return cls(stored.token, stored.expires, _get_lifetime(stored.token), *own, ends_at)

    @classmethod
    def from_token(cls, token: Secret, refresh_token: Secret | None = None) -> Credential:
        """A bare token or key. A JWT says when it ends; that is only a hint when to ask for another."""
        ends, life = _get_expiry(token), _get_lifetime(token)
        monotonic = time.monotonic() + (ends - here.get_now()).total_seconds() if ends else None
        return cls(
            token,
            ends,
            life,
            refresh_token,
            session_id=_get_session_id(token),
            ends_at=monotonic,
            told=False,
        )

    def to_stored(self) -> AuthSession:
        """As the store keeps it."""
        expires = self.expires_at or here.get_now()
        own = (
            self.refresh_token,
            self.refresh_expires_at,
            self.session_id,
            self.username,
            self.scope,
        )
        return AuthSession(self.token, expires, *own)

    def get_remaining_seconds(self) -> float:
        """Seconds until the end by the clock that is further ahead; without end where none is known."""
        left = [float("inf")]
        if self.expires_at is not None:
            left.append((self.expires_at - here.get_now()).total_seconds())
        if self.monotonic_deadline is not None:
            left.append(self.monotonic_deadline - time.monotonic())
        return min(left)

    def is_refresh_due(self) -> bool:
        """Is it time for another? Of one that cannot be replaced and only claims to be over, the service may judge."""
        if not self.expiry_confirmed and self.refresh_token is None:
            return False
        ahead = REFRESH_AHEAD.total_seconds()
        if self.lifetime is not None:
            ahead = min(ahead, REFRESH_FRACTION * self.lifetime.total_seconds())
        return self.get_remaining_seconds() <= ahead

    def with_tokens(self, tokens: Tokens) -> Credential:
        """The next one of the same session."""
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
        """With what else is known of it."""
        return replace(
            self,
            username=self.username or username,
            session_id=self.session_id or session_id,
            expires_at=self.expires_at or expires_at,
        )

    @property
    def is_api_key(self) -> bool:
        """Is it an API key, which may stand in a token file and in DOORWARD_TOKEN too?"""
        return self.token.reveal().startswith(API_KEY_PREFIX)

    def has_same_secrets(self, other: Credential) -> bool:
        """Do both hold the same token, with the same way to another?"""
        return (self.token, self.refresh_token) == (other.token, other.refresh_token)

    def to_redacted(self) -> Credential:
        """What may be remembered of it afterwards."""
        return replace(self, token=Secret(""), refresh_token=None)


def _parse_claims(token: Secret) -> dict[str, object]:
    """What a JWT says of itself, unchecked: checking is for those it is sent to."""
    parts = token.reveal().split(".")
    if len(parts) != 3:  # noqa: PLR2004 - RFC 7515 section 7.1
        return {}
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, RecursionError):
        return {}
    return claims if isinstance(claims, dict) else {}


def _get_session_id(token: Secret) -> str:
    """Empty where it does not say, and for a token that is of a key."""
    found = _parse_claims(token).get("sid")
    return found if isinstance(found, str) and found.startswith("ses_") else ""


def _get_expiry(token: Secret) -> datetime | None:
    ends = _get_timestamp(token, "exp")
    return datetime.fromtimestamp(ends, UTC) if ends is not None else None


def _get_lifetime(token: Secret) -> timedelta | None:
    begins, ends = _get_timestamp(token, "iat"), _get_timestamp(token, "exp")
    return (
        timedelta(seconds=ends - begins)
        if begins is not None and ends is not None and begins < ends
        else None
    )


def _get_timestamp(token: Secret, claim: str) -> float | None:
    """A time as RFC 7519 section 2 writes it, None for what is none."""
    found = _parse_claims(token).get(claim)
    return float(found) if isinstance(found, int | float) and 0 <= found <= MAX_TIMESTAMP else None
