"""A token in the hand: how long it lasts yet, by two clocks, since one of them may be set and the other stops while the machine sleeps."""

from __future__ import annotations

import base64
import json
import time
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from doorward import here
from doorward.answers import Tokens
from doorward.kept import AuthSession
from doorward.secret import Secret

AHEAD = timedelta(
    seconds=60
)  # refreshed that long before the end, or in the last fifth of a shorter life
FIFTH = 0.2
KEY = "dwk_"
LAST = 253402300799  # the last second of the year 9999, and of datetime


@dataclass(frozen=True, slots=True)
class Held:
    """One access token or key, with what belongs to it. `expires_at` is None where the end is not known, or there is none."""

    token: Secret
    expires_at: datetime | None = None
    life: timedelta | None = None
    refresh_token: Secret | None = None
    refresh_expires_at: datetime | None = None
    session_id: str = ""
    username: str = ""
    scope: str = ""
    ends_at: float | None = field(default=None, repr=False)  # by time.monotonic()
    told: bool = True  # the end comes from an answer to us; otherwise from the token itself, by a clock that may be another

    @classmethod
    def of_answer(cls, found: Tokens) -> Held:
        """Tokens that came just now."""
        now, life = here.now(), timedelta(seconds=found.expires_in)
        refresh_life = timedelta(seconds=found.refresh_expires_in)
        return cls(
            found.access,
            now + life,
            life,
            found.refresh,
            now + refresh_life if found.refresh and refresh_life else None,
            found.session_id,
            found.username,
            found.scope,
            time.monotonic() + life.total_seconds(),
        )

    @classmethod
    def of_kept(cls, kept: AuthSession) -> Held:
        """A session of the store."""
        left = (kept.expires - here.now()).total_seconds()
        ends_at = time.monotonic() + left
        own = (kept.refresh_token, kept.refresh_expires, kept.session_id, kept.username, kept.scope)
        return cls(kept.token, kept.expires, _life(kept.token), *own, ends_at)

    @classmethod
    def of_token(cls, token: Secret, refresh_token: Secret | None = None) -> Held:
        """A bare token or key. A JWT says when it ends; that is only a hint when to ask for another."""
        ends, life = _expiry(token), _life(token)
        monotonic = time.monotonic() + (ends - here.now()).total_seconds() if ends else None
        return cls(
            token,
            ends,
            life,
            refresh_token,
            session_id=_session(token),
            ends_at=monotonic,
            told=False,
        )

    def kept(self) -> AuthSession:
        """As the store keeps it."""
        expires = self.expires_at or here.now()
        own = (
            self.refresh_token,
            self.refresh_expires_at,
            self.session_id,
            self.username,
            self.scope,
        )
        return AuthSession(self.token, expires, *own)

    def remaining(self) -> float:
        """Seconds until the end by the clock that is further ahead; without end where none is known."""
        left = [float("inf")]
        if self.expires_at is not None:
            left.append((self.expires_at - here.now()).total_seconds())
        if self.ends_at is not None:
            left.append(self.ends_at - time.monotonic())
        return min(left)

    def due(self) -> bool:
        """Is it time for another? Of one that cannot be replaced and only claims to be over, the service may judge."""
        if not self.told and self.refresh_token is None:
            return False
        ahead = AHEAD.total_seconds()
        if self.life is not None:
            ahead = min(ahead, FIFTH * self.life.total_seconds())
        return self.remaining() <= ahead

    def renewed(self, found: Tokens) -> Held:
        """The next one of the same session."""
        new = Held.of_answer(found)
        return replace(
            new,
            refresh_token=new.refresh_token or self.refresh_token,
            refresh_expires_at=new.refresh_expires_at or self.refresh_expires_at,
            session_id=new.session_id or self.session_id,
            username=new.username or self.username,
            scope=new.scope or self.scope,
        )

    def known(self, username: str, session_id: str, expires_at: datetime | None = None) -> Held:
        """With what else is known of it."""
        return replace(
            self,
            username=self.username or username,
            session_id=self.session_id or session_id,
            expires_at=self.expires_at or expires_at,
        )

    @property
    def is_key(self) -> bool:
        """Is it an API key, which may stand in a token file and in DOORWARD_TOKEN too?"""
        return self.token.reveal().startswith(KEY)

    def is_same(self, other: Held) -> bool:
        """Do both hold the same token, with the same way to another?"""
        return (self.token, self.refresh_token) == (other.token, other.refresh_token)

    def without_secrets(self) -> Held:
        """What may be remembered of it afterwards."""
        return replace(self, token=Secret(""), refresh_token=None)


def _claims(token: Secret) -> dict[str, object]:
    """What a JWT says of itself, unchecked: checking is for those it is sent to."""
    parts = token.reveal().split(".")
    if len(parts) != 3:  # noqa: PLR2004 - RFC 7515 section 7.1
        return {}
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, RecursionError):
        return {}
    return claims if isinstance(claims, dict) else {}


def _session(token: Secret) -> str:
    """Empty where it does not say, and for a token that is of a key."""
    found = _claims(token).get("sid")
    return found if isinstance(found, str) and found.startswith("ses_") else ""


def _expiry(token: Secret) -> datetime | None:
    ends = _second(token, "exp")
    return datetime.fromtimestamp(ends, UTC) if ends is not None else None


def _life(token: Secret) -> timedelta | None:
    begins, ends = _second(token, "iat"), _second(token, "exp")
    return (
        timedelta(seconds=ends - begins)
        if begins is not None and ends is not None and begins < ends
        else None
    )


def _second(token: Secret, claim: str) -> float | None:
    """A time as RFC 7519 section 2 writes it, None for what is none."""
    found = _claims(token).get(claim)
    return float(found) if isinstance(found, int | float) and 0 <= found <= LAST else None
