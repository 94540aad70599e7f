"""The connection to a service: its URL, transport, version policy and current session."""

from __future__ import annotations

from datetime import timedelta
from types import TracebackType
from typing import Self

from doorward import environment
from doorward.errors import InvalidInput, NotLoggedInError, StoreError
from doorward.models import Version
from doorward.origin import Origin, parse_origin
from doorward.printable import to_printable
from doorward.sessions.session import DEFAULT_REVALIDATE_AFTER, Session
from doorward.transport.connections import Verify
from doorward.transport.transport import Timeouts, Transport
from doorward.version_policy import VersionPolicy

MAX_CONNECT_SECONDS, MIN_TOTAL_SECONDS = 5.0, 60.0


class ServiceConnection:
    """A service, by its URL or DOORWARD_URL, and the session that is used there."""

    def __init__(
        self,
        url: str | None = None,
        *,
        verify: Verify = True,
        timeout: float | timedelta | Timeouts | None = None,
        revalidate_after: timedelta | None = DEFAULT_REVALIDATE_AFTER,
        version_policy: VersionPolicy | None = None,
        allow_http: bool = False,
    ) -> None:
        self.allow_http = allow_http
        self.revalidate_after = revalidate_after
        self._origin = parse_origin(url, allow_http=allow_http) if url is not None else None
        self._verify = verify
        self._timeouts = _build_timeouts(timeout)
        self._version_policy = version_policy
        self._transport: Transport | None = None
        self._session: Session | None = None

    def __repr__(self) -> str:
        state = "logged in" if self.logged_in else "not logged in"
        return f"<Doorward {self._origin or 'without a URL'}, {state}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    # -- service --------------------------------------------------------------------------------

    @property
    def origin(self) -> Origin:
        """The normalized URL, parsed. Raises InvalidInput if no URL is set."""
        if self._origin is None:
            url = environment.get_variable("DOORWARD_URL")
            if not url:
                raise InvalidInput(
                    "No service URL is set. Pass url, or set DOORWARD_URL.",
                    errors={"url": ["is missing"]},
                )
            self._origin = parse_origin(url, allow_http=self.allow_http)
        return self._origin

    @property
    def url(self) -> str:
        """The normalized URL of the service. Raises InvalidInput if no URL is set."""
        return str(self.origin)

    @property
    def has_url(self) -> bool:
        """Whether a URL was passed or DOORWARD_URL is set."""
        return self._origin is not None or bool(environment.get_variable("DOORWARD_URL"))

    @property
    def transport(self) -> Transport:
        """The HTTP transport, which adds no credential. Use `call` for requests to the API."""
        if self._transport is None:
            self._transport = Transport(self.origin, verify=self._verify, timeouts=self._timeouts)
        return self._transport

    @property
    def clock_skew(self) -> timedelta | None:
        """Seconds by which this clock is ahead of the service, None before the first response."""
        return self._transport.clock_skew if self._transport else None

    def get_version(self) -> Version:
        """Ask the service for its name and version."""
        document = self.transport.request("GET", "/version")
        return Version(to_printable(document.get("name")), to_printable(document.get("version")))

    def check_version(
        self,
        *,
        min: str | None = None,  # noqa: A002 - the names of VersionPolicy
        max: str | None = None,  # noqa: A002
        equal: str | None = None,
        error: bool = False,
    ) -> Version:
        """Check the version of the service, and return it.

        A mismatch issues a VersionWarning, or raises VersionMismatch with `error`.
        """
        version = self.get_version()
        VersionPolicy(min, max, equal, error).check(version.version)
        return version

    def close(self) -> None:
        """Close the connections without logging out. The next call connects again."""
        if self._transport is not None:
            self._transport.close()

    # -- session --------------------------------------------------------------------------------

    @property
    def session(self) -> Session:
        """The session of the latest login. Raises NotLoggedInError."""
        if self._session is None:
            raise NotLoggedInError(
                "You are not logged in. Log in first, e.g. with client.login.on_another_device()."
            )
        return self._session

    @property
    def logged_in(self) -> bool:
        """Whether there is a session that is not known to have ended. Sends no request."""
        return self._session is not None and self._session.is_active

    # -- for Login ------------------------------------------------------------------------------

    def get_checked_transport(self) -> Transport:
        """Return the transport after checking the version policy once. Raises VersionMismatch."""
        if self._version_policy is not None:
            self._version_policy.check(self.get_version().version)
            self._version_policy = None
        return self.transport

    def use_session(self, session: Session) -> Session:
        """Make it the current session. The previous one stays valid for other references to it."""
        self._session = session
        return session

    def require_origin(self, origin: Origin, subject: str) -> None:
        """Raise StoreError if the credential is for another origin than this client.

        A client without a URL adopts the origin. `subject` names the credential in the error.
        """
        if self._origin is None:
            self._origin = origin
        if self._origin != origin:
            raise StoreError(
                f"{subject} is for {origin}, not for {self._origin}, and was not sent."
            )


def _build_timeouts(timeout: float | timedelta | Timeouts | None) -> Timeouts:
    if timeout is None:
        return Timeouts()
    if isinstance(timeout, Timeouts):
        return timeout
    seconds = timeout.total_seconds() if isinstance(timeout, timedelta) else float(timeout)
    return Timeouts(
        connect=min(MAX_CONNECT_SECONDS, seconds),
        read=seconds,
        total=max(MIN_TOTAL_SECONDS, 2 * seconds),
    )
