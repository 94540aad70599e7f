"""The exceptions of this library. No text, repr or traceback of theirs holds a secret."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TypedDict, Unpack

from doorward.secret import Secret


class ErrorDetails(TypedDict, total=False):
    """The parts of an error response."""

    code: str
    title: str
    detail: str
    status: int
    request_id: str
    clock_skew: timedelta | None


class DoorwardError(Exception):
    """Base class of all errors. The text says what is wrong, then what to do.

    `code`, `title`, `detail` and `request_id` come from the response of the service, `status` is
    its HTTP status. They are empty if there was no response.
    """

    def __init__(self, text: str = "", **details: Unpack[ErrorDetails]) -> None:
        super().__init__(text or details.get("title") or "Something went wrong.")
        self.code = details.get("code", "")
        self.title = details.get("title", "")
        self.detail = details.get("detail", "")
        self.status = details.get("status", 0)
        self.request_id = details.get("request_id", "")
        self.clock_skew = details.get("clock_skew")


class LoginError(DoorwardError):
    """A login failed."""


class InvalidCredentials(LoginError):
    """The username or password is wrong, or the account cannot log in."""


class LoginPending(LoginError):
    """The device login is not approved or denied yet. Poll again later."""


class LoginTimeout(LoginError):
    """The device login was not approved within the timeout."""


class LoginDenied(LoginError):
    """The device login was denied."""


class LoginExpired(LoginError):
    """The device login expired, was canceled, or has been used already. Start a new one."""


class PasswordChangeRequired(LoginError):
    """The password is correct but must be changed. `reset_token` permits setting a new one."""

    def __init__(
        self, text: str = "", *, reset_token: Secret | None = None, **details: Unpack[ErrorDetails]
    ) -> None:
        super().__init__(text, **details)
        self.reset_token = reset_token

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), self.args, {**self.__dict__, "reset_token": None}


class NotLoggedInError(DoorwardError):
    """There is no session, or it has ended. Log in first."""


class InvalidToken(DoorwardError):
    """The service rejects the token or API key."""


class ReauthenticationRequired(InvalidToken):
    """The call needs recent authentication. Call `elevate(password)` first."""


class LogoutError(DoorwardError):
    """The service could not be told to end the session, which may still be active."""


class PermissionDenied(DoorwardError):
    """The account is not permitted to do this."""


class WrongPassword(PermissionDenied):
    """The current password is wrong. The session continues."""


class InvalidInput(DoorwardError):
    """A value is not acceptable.

    `errors` holds the reasons by field. `reasons` and `suggestions` are about a new password.
    """

    def __init__(
        self,
        text: str = "",
        *,
        errors: Mapping[str, Sequence[str]] | None = None,
        reasons: Sequence[str] = (),
        suggestions: Sequence[str] = (),
        **details: Unpack[ErrorDetails],
    ) -> None:
        super().__init__(text, **details)
        self.errors = {field: tuple(texts) for field, texts in (errors or {}).items()}
        self.reasons = tuple(reasons)
        self.suggestions = tuple(suggestions)


class NotFound(DoorwardError):
    """The resource does not exist, or belongs to another account."""


class Conflict(DoorwardError):
    """The request conflicts with the current state, for example because a name is taken."""


class _RetryableError(DoorwardError):
    def __init__(
        self, text: str = "", *, retry_after: float | None = None, **details: Unpack[ErrorDetails]
    ) -> None:
        super().__init__(text, **details)
        self.retry_after = retry_after


class RateLimited(_RetryableError):
    """Too many requests. `retry_after` is in seconds, or None if the service did not say."""


class ServiceUnavailable(_RetryableError):
    """The service, or a proxy before it, cannot answer now. `retry_after` is in seconds or None."""


class ConnectionFailed(ServiceUnavailable):
    """The connection could not be opened, broke, or timed out."""


class TLSError(ConnectionFailed):
    """The certificate is not valid, or the server does not speak TLS."""


class UnexpectedAnswer(DoorwardError):
    """The response is not from a Doorward service, for example a web page, or is too large."""


class RedirectRefused(UnexpectedAnswer):
    """The service answered with a redirect, which is not followed. `location` is its target."""

    def __init__(
        self, text: str = "", *, location: str = "", **details: Unpack[ErrorDetails]
    ) -> None:
        super().__init__(text, **details)
        self.location = location


class VersionMismatch(DoorwardError):
    """The version of the service does not match the version policy."""


class StoreError(DoorwardError):
    """The session store, a token file or the keyring cannot be used safely."""


class StoreWarning(UserWarning):
    """The session store was repaired, or moved aside."""


class VersionWarning(UserWarning):
    """The version of the service does not match the version policy."""
