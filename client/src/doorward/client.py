"""`Doorward`: one service, and the session that is used there."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime, timedelta
from types import TracebackType
from typing import Self

from doorward import environment as here
from doorward.api import ServiceApi
from doorward.errors import InvalidInput, NotLoggedInError, StoreError
from doorward.login import Login
from doorward.models import Version, Whoami
from doorward.origin import Origin, parse_origin
from doorward.sessions.session import DEFAULT_REVALIDATE_AFTER, Session
from doorward.transport.connections import Verify
from doorward.transport.problems import to_printable
from doorward.transport.transport import Timeouts, Transport
from doorward.version_policy import VersionPolicy


class Doorward(ServiceApi):
    """A Doorward service, by its address (DOORWARD_URL, if none is given; read when it is first needed).

        client = Doorward("https://auth.example.com")
        client.login.on_another_device()
        client.token  # live, each time

    `verify`: a file of certificates (PEM) or an ssl.SSLContext, instead of SSL_CERT_FILE or those of the system; False: none is looked at.
    `timeout`: seconds for an answer, or Timeouts. `revalidate_after`: a token not used for so long is asked about first, None: never.
    `version_policy` is checked before the first login. `allow_http` permits plain http to another machine. With `with`, the connections
    are closed at the end; a Session logs out.
    """

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
        self.login = Login(self)
        self._origin = parse_origin(url, allow_http=allow_http) if url is not None else None
        self._verify = verify
        self._timeouts = _build_timeouts(timeout)
        self._version_policy = version_policy
        self._transport: Transport | None = None
        self._session: Session | None = None

    def __repr__(self) -> str:
        return f"<Doorward {self._origin or 'without an address'}, {'logged in' if self.logged_in else 'not logged in'}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    # -- the service ------------------------------------------------------------------------------------------------

    @property
    def origin(self) -> Origin:
        """Where the service is. Raises InvalidInput when nobody has said so."""
        if self._origin is None:
            url = here.get_variable("DOORWARD_URL")
            if not url:
                raise InvalidInput(
                    "No service is named: give its address, or set DOORWARD_URL.",
                    errors={"url": ["is missing"]},
                )
            self._origin = parse_origin(url, allow_http=self.allow_http)
        return self._origin

    @property
    def url(self) -> str:
        """The address in its one spelling."""
        return str(self.origin)

    @property
    def has_url(self) -> bool:
        """Is it known which service is meant?"""
        return self._origin is not None or bool(here.get_variable("DOORWARD_URL"))

    @property
    def transport(self) -> Transport:
        """What requests go through. Not for programs: it knows no login."""
        if self._transport is None:
            self._transport = Transport(self.origin, verify=self._verify, timeouts=self._timeouts)
        return self._transport

    @property
    def clock_skew(self) -> timedelta | None:
        """How far the clock here is ahead of the service's, None before the first answer."""
        return self._transport.clock_skew if self._transport else None

    def get_version(self) -> Version:
        """What runs there."""
        found = self.transport.ask("GET", "/version")
        return Version(to_printable(found.get("name")), to_printable(found.get("version")))

    def check_version(
        self,
        *,
        min: str | None = None,
        max: str | None = None,
        equal: str | None = None,
        error: bool = False,
    ) -> Version:
        """Ask which version runs there and warn (VersionWarning), or raise VersionMismatch with `error`, when it is another than wanted."""
        found = self.get_version()
        VersionPolicy(min, max, equal, error).check(found.version)
        return found

    def close(self) -> None:
        """Close the connections. Nobody is logged out; the next call connects again."""
        if self._transport is not None:
            self._transport.close()

    # -- the session ------------------------------------------------------------------------------------------------

    @property
    def session(self) -> Session:
        """The session of the latest login. Raises NotLoggedInError."""
        if self._session is None:
            raise NotLoggedInError(
                "Nobody is logged in: log in first, e.g. client.login.on_another_device()."
            )
        return self._session

    @property
    def logged_in(self) -> bool:
        """Is there a session that is not known to be over? Asks nobody."""
        return self._session is not None and self._session.is_active

    @property
    def token(self) -> str:
        """A token that the service takes now. Raises NotLoggedInError."""
        return self.session.token

    @property
    def expires_at(self) -> datetime | None:
        """When the present token ends; it is replaced before."""
        return self.session.expires_at

    def validate(self) -> Whoami:
        """Ask the service who the token stands for. Raises InvalidToken or NotLoggedInError."""
        return self.session.validate()

    def logout(self) -> None:
        """End the session. Nothing happens where nobody is logged in. Raises LogoutError."""
        if self._session is not None:
            self._session.logout()

    def logout_all(self) -> None:
        """End every session of the account. Raises LogoutError or NotLoggedInError."""
        self.session.logout_all()

    def to_token_file(self, path: str | os.PathLike[str]) -> None:
        """`Session.to_token_file` of the present session."""
        self.session.to_token_file(path)

    def save(self) -> None:
        """`Session.save` of the present session."""
        self.session.save()

    @property
    def args(self) -> Mapping[str, Mapping[str, str]]:
        """For each way to log in: its arguments, and what to call them when a person is asked."""
        return self.login.args

    @property
    def args_required(self) -> Mapping[str, tuple[str, ...]]:
        """For each way to log in: the arguments that are needed."""
        return self.login.args_required

    @property
    def args_secure(self) -> Mapping[str, tuple[str, ...]]:
        """For each way to log in: the arguments that nobody may see being typed."""
        return self.login.args_secure

    # -- for Login --------------------------------------------------------------------------------------------------

    def get_checked_transport(self) -> Transport:
        """The transport, once the version of the service has been found to do. Raises VersionMismatch."""
        if self._version_policy is not None:
            self._version_policy.check(self.get_version().version)
            self._version_policy = None
        return self.transport

    def use_session(self, session: Session) -> Session:
        """Use this session from now on; the one before goes on for whoever holds it."""
        self._session = session
        return session

    def require_origin(self, origin: Origin, subject: str) -> None:
        """The credential is for this origin: so is the client, or it is refused. Raises StoreError."""
        if self._origin is None:
            self._origin = origin
        if self._origin != origin:
            raise StoreError(
                f"{subject} is for {origin} and not for {self._origin}: it is not sent there."
            )


def _build_timeouts(timeout: float | timedelta | Timeouts | None) -> Timeouts:
    if timeout is None:
        return Timeouts()
    if isinstance(timeout, Timeouts):
        return timeout
    seconds = timeout.total_seconds() if isinstance(timeout, timedelta) else float(timeout)
    return Timeouts(connect=min(5.0, seconds), read=seconds, total=max(60.0, 2 * seconds))
