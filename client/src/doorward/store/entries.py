"""The sessions in a store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from doorward import environment
from doorward.secret import Secret

UNKNOWN_END = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class AuthSession:
    """A session in the store.

    `expires` is the expiry of the access token, `refresh_expires` of the session if it is not used
    until then. With a refresh token but no `refresh_expires`, the expiry is unknown.
    """

    token: Secret
    expires: datetime
    refresh_token: Secret | None = None
    refresh_expires: datetime | None = None
    session_id: str = ""
    username: str = ""
    scope: str = ""
    in_keyring: bool = False  # the secrets are in the keyring instead of the file

    @property
    def ends_at(self) -> datetime:
        """The time after which the session cannot be used.

        OAuth does not report the lifetime of a refresh token (RFC 6749 section 5.1), so it may be
        unknown.
        """
        return self.refresh_expires or (
            UNKNOWN_END if self.refresh_token is not None else self.expires
        )

    def is_expired(self, now: datetime | None = None) -> bool:
        """Return whether the session cannot be used any more."""
        return self.ends_at <= (now or environment.get_now())

    def is_same_login(self, other: AuthSession) -> bool:
        """Return whether both come from the same login."""
        if self.session_id or other.session_id:
            return self.session_id == other.session_id
        return self.in_keyring or other.in_keyring or self.token == other.token


@dataclass(slots=True)
class UserAuthSessions:
    """The sessions at one service, one for each user."""

    sessions: dict[str, AuthSession] = field(default_factory=dict)

    def find(self, user: str | None = None) -> AuthSession | None:
        """Find the session of the user, or the one that expires last. Skips expired sessions."""
        name = self.find_user(user)
        return None if name is None else self.sessions[name]

    def find_user(self, user: str | None = None) -> str | None:
        """Return the username of the session that `find` returns."""
        unexpired = self.list_unexpired()
        if user is not None:
            return user if user in unexpired else None
        return max(unexpired, key=lambda name: unexpired[name].ends_at, default=None)

    def list_unexpired(self) -> Mapping[str, AuthSession]:
        """Return the sessions that have not expired, by username."""
        return {name: entry for name, entry in self.sessions.items() if not entry.is_expired()}
