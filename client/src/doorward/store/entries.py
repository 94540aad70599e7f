"""One session as it is kept, and those of one service."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from doorward import environment as here
from doorward.secret import Secret

UNKNOWN_END = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class AuthSession:
    """One session as it is kept. `expires` is when the access token ends, `refresh_expires` when the session does if nobody uses it.

    A session with a refresh token and without `refresh_expires` lasts until the service says otherwise.
    """

    token: Secret
    expires: datetime
    refresh_token: Secret | None = None
    refresh_expires: datetime | None = None
    session_id: str = ""
    username: str = ""
    scope: str = ""
    in_keyring: bool = False  # the secrets are, and not in the file

    @property
    def ends_at(self) -> datetime:
        """From when on it is of no use any more. OAuth has no word for how long a refresh token lasts (RFC 6749 section 5.1)."""
        return self.refresh_expires or (
            UNKNOWN_END if self.refresh_token is not None else self.expires
        )

    def is_expired(self, now: datetime | None = None) -> bool:
        """Is it of no use any more?"""
        return self.ends_at <= (now or here.get_now())

    def is_same_login(self, other: AuthSession) -> bool:
        """Are both of one login?"""
        if self.session_id or other.session_id:
            return self.session_id == other.session_id
        return self.in_keyring or other.in_keyring or self.token == other.token


@dataclass(slots=True)
class UserAuthSessions:
    """The sessions at one service, one for each user."""

    sessions: dict[str, AuthSession] = field(default_factory=dict)

    def find(self, user: str | None = None) -> AuthSession | None:
        """The user's session, or the one that lasts longest; never one that has expired."""
        name = self.find_user(user)
        return None if name is None else self.sessions[name]

    def find_user(self, user: str | None = None) -> str | None:
        """The name under which `find` finds."""
        living = self.list_unexpired()
        if user is not None:
            return user if user in living else None
        return max(living, key=lambda name: living[name].end, default=None)

    def list_unexpired(self) -> Mapping[str, AuthSession]:
        """Those that have not expired."""
        return {name: one for name, one in self.sessions.items() if not one.is_expired()}
