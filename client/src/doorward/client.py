"""The client of a Doorward service."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from doorward.api import ServiceApi
from doorward.login import Login
from doorward.models import Whoami
from doorward.sessions.session import DEFAULT_REVALIDATE_AFTER
from doorward.transport.connections import Verify
from doorward.transport.transport import Timeouts
from doorward.version_policy import VersionPolicy


class Doorward(ServiceApi):
    """A client of the Doorward service at a URL, by default DOORWARD_URL.

        client = Doorward("https://auth.example.com")
        client.login.on_another_device()
        client.token  # always valid

    `verify` is a PEM file of certificates or an ssl.SSLContext to use instead of SSL_CERT_FILE and
    the system certificates; False disables verification. `timeout` is the seconds to wait for a
    response, or Timeouts. A token that has not been used for `revalidate_after` is validated first;
    None disables this. `version_policy` is checked before the first login. `allow_http` permits
    plain HTTP to another machine. As a context manager, the client closes its connections at the
    end without logging out.
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
        super().__init__(
            url,
            verify=verify,
            timeout=timeout,
            revalidate_after=revalidate_after,
            version_policy=version_policy,
            allow_http=allow_http,
        )
        self.login = Login(self)

    @property
    def token(self) -> str:
        """A valid access token or key. Raises NotLoggedInError."""
        return self.session.token

    @property
    def expires_at(self) -> datetime | None:
        """The expiry of the current token, which is refreshed before."""
        return self.session.expires_at

    def validate(self) -> Whoami:
        """Ask the service for the principal. Raises InvalidToken or NotLoggedInError."""
        return self.session.validate()

    def logout(self) -> None:
        """Log out. Does nothing if there is no session. Raises LogoutError."""
        if self._session is not None:
            self._session.logout()

    def logout_all(self) -> None:
        """Log out of every session of the account. Raises LogoutError or NotLoggedInError."""
        self.session.logout_all()

    @property
    def args(self) -> Mapping[str, Mapping[str, str]]:
        """The arguments of each login method, with a label for each."""
        return self.login.args

    @property
    def args_required(self) -> Mapping[str, tuple[str, ...]]:
        """The required arguments of each login method."""
        return self.login.args_required

    @property
    def args_secure(self) -> Mapping[str, tuple[str, ...]]:
        """The arguments of each login method that must not be shown while they are typed."""
        return self.login.args_secure
