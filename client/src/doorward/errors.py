"""All that can go wrong, as one tree below DoorwardError. No text, repr or traceback of these holds a secret."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TypedDict, Unpack

from doorward.secret import Secret


class Answer(TypedDict, total=False):
    """What the service said of a failure."""

    code: str
    title: str
    detail: str
    status: int
    request_id: str
    clock_skew: timedelta | None


class DoorwardError(Exception):
    """Anything this library raises. The text is one sentence or two that say what to do.

    `code`, `title`, `detail` and `request_id` are those of the service's answer, `status` its HTTP status; empty where there was none.
    """

    def __init__(self, text: str = "", **answer: Unpack[Answer]) -> None:
        super().__init__(text or answer.get("title") or "Something went wrong.")
        self.code = answer.get("code", "")
        self.title = answer.get("title", "")
        self.detail = answer.get("detail", "")
        self.status = answer.get("status", 0)
        self.request_id = answer.get("request_id", "")
        self.clock_skew = answer.get("clock_skew")


class LoginError(DoorwardError):
    """A login did not come about."""


class InvalidCredentials(LoginError):
    """The name or the password is wrong, or the account cannot sign in: the service has one answer for all."""


class LoginPending(LoginError):
    """Nobody has decided about the login yet; ask again later, or wait."""


class LoginTimeout(LoginError):
    """Nobody decided within the time that was given."""


class LoginDenied(LoginError):
    """Whoever was asked said no."""


class LoginExpired(LoginError):
    """The code of the login is too old, was cancelled, or has been used: ask for a new one."""


class PasswordChangeRequired(LoginError):
    """The password is right and must be changed first. `reset_token` is for the new one, and is shown nowhere."""

    def __init__(
        self, text: str = "", *, reset_token: Secret | None = None, **answer: Unpack[Answer]
    ) -> None:
        super().__init__(text, **answer)
        self.reset_token = reset_token

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), self.args, {**self.__dict__, "reset_token": None}


class NotLoggedInError(DoorwardError):
    """There is no session, or it is over: log in first."""


class InvalidToken(DoorwardError):
    """The service does not take the token or API key, or not any more."""


class ReauthenticationRequired(InvalidToken):
    """The credential is good and the password was typed too long ago for this: call `elevate(password)` first."""


class LogoutError(DoorwardError):
    """The service could not be told; the session may still be live there."""


class PermissionDenied(DoorwardError):
    """Who asks is known, and may not."""


class WrongPassword(PermissionDenied):
    """The present password that was given is wrong. The session goes on."""


class InvalidInput(DoorwardError):
    """Something that was given is not acceptable. `errors` says what, by field; `reasons` and `suggestions` are about a new password."""

    def __init__(
        self,
        text: str = "",
        *,
        errors: Mapping[str, Sequence[str]] | None = None,
        reasons: Sequence[str] = (),
        suggestions: Sequence[str] = (),
        **answer: Unpack[Answer],
    ) -> None:
        super().__init__(text, **answer)
        self.errors = {field: tuple(texts) for field, texts in (errors or {}).items()}
        self.reasons = tuple(reasons)
        self.suggestions = tuple(suggestions)


class NotFound(DoorwardError):
    """There is no such thing, or it is somebody else's."""


class Conflict(DoorwardError):
    """It cannot be done as things stand, e.g. a name is taken."""


class _Later(DoorwardError):
    def __init__(
        self, text: str = "", *, retry_after: float | None = None, **answer: Unpack[Answer]
    ) -> None:
        super().__init__(text, **answer)
        self.retry_after = retry_after


class RateLimited(_Later):
    """Too many requests. `retry_after` says in how many seconds to try again, None where the service did not say."""


class ServiceUnavailable(_Later):
    """The service, or something in front of it, cannot answer now. `retry_after` in seconds, where it was told."""


class ConnectionFailed(ServiceUnavailable):
    """No connection, or it broke or took too long."""


class TLSError(ConnectionFailed):
    """The connection is not safe: the certificate is wrong, or the other side does not speak TLS."""


class UnexpectedAnswer(DoorwardError):
    """What answered is no Doorward service: a web page, something unreadable, or far too much."""


class RedirectRefused(UnexpectedAnswer):
    """The address leads elsewhere. Nothing was sent there; `location` is where it is."""

    def __init__(self, text: str = "", *, location: str = "", **answer: Unpack[Answer]) -> None:
        super().__init__(text, **answer)
        self.location = location


class VersionMismatch(DoorwardError):
    """The service is of a version that the program does not want."""


class StoreError(DoorwardError):
    """The file of sessions, a token file or the keyring cannot be used safely."""


class StoreWarning(UserWarning):
    """Something about the store was mended or set aside."""


class VersionWarning(UserWarning):
    """The service is of a version that the program was not made for."""
