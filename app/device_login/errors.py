"""How being let in from another device can fail. The last five are what a poll is told (RFC 8628 section 3.5)."""

from __future__ import annotations

from app.errors import Problem


class UnknownUserCode(Problem):
    """Unknown, over, claimed by somebody else or meant for somebody else: one answer, and it is counted."""

    code = "unknown_user_code"
    title = "This code is not known, or not any more"
    status = 404

    def __init__(self) -> None:
        super().__init__(
            "Compare it with the one on the other device. A code is good for ten minutes, and for one account."
        )


class DeviceLoginClosed(Problem):
    """It was decided already, or its ten minutes are over."""

    code = "login_session_over"
    title = "This login was decided already, or has expired"
    status = 409

    def __init__(self) -> None:
        super().__init__("Nothing was changed. Ask for another login on the other device.")


class AuthorizationPending(Problem):
    """Nobody has approved it yet; what was counted of the poll is kept."""

    code = "authorization_pending"
    title = "Nobody has approved it yet"
    status = 400


class SlowDown(Problem):
    """The poll came before its time."""

    code = "slow_down"
    title = "Asked too soon"
    status = 400

    def __init__(self, interval: int) -> None:
        super().__init__(f"Wait {interval} seconds from one request to the next.")


class AccessDenied(Problem):
    """The owner of the account said no, or may not be let in any more."""

    code = "access_denied"
    title = "The login was denied"
    status = 400


class ExpiredToken(Problem):
    """It took longer than ten minutes, or was cancelled."""

    code = "expired_token"
    title = "The login has expired"
    status = 400

    def __init__(self) -> None:
        super().__init__("Ask for another one.")


class UnknownDeviceCode(Problem):
    """Not one of ours, used already, or of another client."""

    code = "unknown_device_code"
    title = "This device code is not known, or was used"
    status = 404
