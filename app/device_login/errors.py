"""Problems of device logins. All after DeviceLoginClosed answer polls (RFC 8628 section 3.5)."""

from __future__ import annotations

from app.errors import Problem


class UnknownUserCode(Problem):
    """The code is unknown, expired or reserved for another account. All cases look the same."""

    code = "unknown_user_code"
    title = "Unknown or expired code"
    status = 404

    def __init__(self) -> None:
        super().__init__(
            "Compare it with the code on the other device. Codes expire after ten minutes."
        )


class DeviceLoginClosed(Problem):
    """The request was already decided, or has expired."""

    code = "login_session_over"
    title = "The device login was already decided or has expired"
    status = 409

    def __init__(self) -> None:
        super().__init__("Nothing was changed. Start a new device login on the other device.")


class AuthorizationPending(Problem):
    """No user has decided the request yet."""

    code = "authorization_pending"
    title = "The device login is not approved yet"
    status = 400


class SlowDown(Problem):
    """The device polled before the interval had passed."""

    code = "slow_down"
    title = "Polling too fast"
    status = 400

    def __init__(self, interval: int) -> None:
        super().__init__(f"Wait {interval} seconds between requests.")


class AccessDenied(Problem):
    """The user denied the request, or the approval is void."""

    code = "access_denied"
    title = "The device login was denied"
    status = 400


class ExpiredToken(Problem):
    """The request expired or was canceled."""

    code = "expired_token"
    title = "The device login has expired"
    status = 400

    def __init__(self) -> None:
        super().__init__("Start a new device login.")


class UnknownDeviceCode(Problem):
    """The device code is malformed, unknown or already used."""

    code = "unknown_device_code"
    title = "Unknown or used device code"
    status = 404
