"""From what a service answered to the error that is raised: by the code of a problem document or of OAuth, else by the status."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from math import ceil
from typing import Any

from doorward import errors, here
from doorward.errors import Answer, DoorwardError
from doorward.secret import SHOWN, Secret

LONGEST = 300
LONG = 8
SKEWED = timedelta(seconds=60)
NO_SUCH_ADDRESS = "no_such_address"

BY_CODE: Mapping[str, tuple[type[DoorwardError], str]] = {
    "invalid_credentials": (
        errors.InvalidCredentials,
        "The name or the password is wrong: check both, or ask for another password.",
    ),
    "unauthenticated": (
        errors.InvalidToken,
        "The service does not take this token or key any more: log in again.",
    ),
    "reauthentication_required": (
        errors.ReauthenticationRequired,
        "This needs the password once more: call elevate() first.",
    ),
    "invalid_grant": (errors.NotLoggedInError, "The session is over: log in again."),
    "wrong_password": (errors.WrongPassword, "The present password is wrong: try again."),
    "authorization_pending": (
        errors.LoginPending,
        "Nobody has approved the login yet: open the address and enter the code.",
    ),
    "slow_down": (errors.LoginPending, "Nobody has approved the login yet: ask less often."),
    "access_denied": (
        errors.LoginDenied,
        "The login was denied: ask whoever decided, or log in another way.",
    ),
    "expired_token": (errors.LoginExpired, "The code of the login is too old: ask for a new one."),
    "login_session_over": (
        errors.LoginExpired,
        "The login has been decided already, or is too old: ask for a new one.",
    ),
    "invalid_client": (
        errors.InvalidInput,
        "The service does not know this client_id: leave it out, or ask the operator for one.",
    ),
    "invalid_scope": (errors.InvalidInput, "These scopes cannot be given: ask for fewer."),
    NO_SUCH_ADDRESS: (
        errors.UnexpectedAnswer,
        "There is no Doorward service at this address: check it.",
    ),
    "password_mismatch": (
        errors.InvalidInput,
        "The two new passwords are not the same: type them again.",
    ),
}
BY_STATUS: Mapping[int, tuple[type[DoorwardError], str]] = {
    401: (
        errors.InvalidToken,
        "The service does not take this token or key any more: log in again.",
    ),
    403: (errors.PermissionDenied, "This is not allowed"),
    404: (
        errors.NotFound,
        "There is no such thing, or it is somebody else's: check what was named.",
    ),
    409: (errors.Conflict, "This cannot be done as things stand"),
    422: (errors.InvalidInput, "Not acceptable"),
}
MINUTES = 120  # seconds from which on people are told minutes
SERVER_ERROR = 500
TOO_MANY = 429
NOT_FOUND = 404


def raised_for(
    status: int,
    headers: Mapping[str, str],
    document: Mapping[str, Any],
    *,
    skew: timedelta | None,
    secrets: Iterable[Secret] = (),
) -> DoorwardError:
    """The error for an answer that is none of success. What it says is cut, made printable, and holds none of the secrets."""
    said = _said(status, headers, document, skew, tuple(secrets))
    if status == TOO_MANY:
        seconds = retry_after(headers)
        return errors.RateLimited(
            f"Too many requests: try again {_soon(seconds)}.", retry_after=seconds, **said
        )
    if status >= SERVER_ERROR:
        return unavailable(status, headers, said)
    if said["code"] == "password_change_required":
        token = document.get("reset_token")
        text = "The password must be changed before it opens a session again: choose another one."
        return errors.PasswordChangeRequired(
            text, reset_token=Secret(token) if isinstance(token, str) else None, **said
        )
    code = said["code"] or (
        NO_SUCH_ADDRESS if status == NOT_FOUND else ""
    )  # the service gives its 404 a code, others do not
    kind, text = (
        BY_CODE.get(code)
        or BY_STATUS.get(status)
        or (errors.UnexpectedAnswer, "The service could not do this")
    )
    if issubclass(kind, errors.InvalidInput):
        return _invalid_input(kind, text, document, said, tuple(secrets))
    return kind(_sentence(text, said) + _about_the_clock(kind, skew), **said)


def unavailable(status: int, headers: Mapping[str, str], said: Answer) -> errors.ServiceUnavailable:
    """A fault on the other side, whatever form it has."""
    seconds = retry_after(headers)
    return errors.ServiceUnavailable(
        f"The service cannot answer now ({status}): try again {_soon(seconds)}.",
        retry_after=seconds,
        **said,
    )


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds until the service wants to be asked again (RFC 9110 section 10.2.3), None where it does not say."""
    text = headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    moment = moment_of(text)
    return max(0.0, (moment - here.now()).total_seconds()) if moment else None


def moment_of(date: str) -> datetime | None:
    """The time that a header names (RFC 9110 section 5.6.7), None for what is none."""
    try:
        moment = parsedate_to_datetime(date)
    except (ValueError, TypeError, OverflowError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def printable(text: object, secrets: Iterable[Secret] = ()) -> str:
    """A text of a stranger on one line: no control characters that a terminal would obey, no secret that it gives back, not too long."""
    if not isinstance(text, str):
        return ""
    for secret in secrets:
        text = _without(text, secret)
    cut = text if len(text) <= LONGEST else text[:LONGEST] + "…"
    return harmless(cut).strip()


def harmless(text: str) -> str:
    """On one line and without control characters that a terminal would obey; as long as it is."""
    return "".join(
        " " if unicodedata.category(character).startswith(("C", "Z")) else character
        for character in text
    )


def _without(text: str, secret: Secret) -> str:
    """A short one, as a bad password is, may be a part of any word: it is taken out where it stands alone."""
    if len(secret.reveal()) >= LONG:
        return text.replace(secret.reveal(), SHOWN)
    return re.sub(rf"(?<!\w){re.escape(secret.reveal())}(?!\w)", SHOWN, text) if secret else text


def _said(
    status: int,
    headers: Mapping[str, str],
    document: Mapping[str, Any],
    skew: timedelta | None,
    secrets: tuple[Secret, ...],
) -> Answer:
    code = printable(document.get("code") or document.get("error"))
    return {
        "code": code if code in BY_CODE else printable(code, secrets),
        "title": printable(document.get("title"), secrets),
        "detail": printable(document.get("detail") or document.get("error_description"), secrets),
        "status": status,
        "request_id": printable(document.get("request_id") or headers.get("X-Request-Id"), secrets),
        "clock_skew": skew,
    }


def _invalid_input(
    kind: type[errors.InvalidInput],
    text: str,
    document: Mapping[str, Any],
    said: Answer,
    secrets: tuple[Secret, ...],
) -> errors.InvalidInput:
    found = document.get("errors")
    fields = {
        printable(pointer, secrets).lstrip("/"): [printable(one, secrets) for one in texts]
        for pointer, texts in (found.items() if isinstance(found, dict) else ())
        if isinstance(texts, list)
    }
    told = "; ".join(f"{field} {', '.join(texts)}" for field, texts in fields.items())
    return kind(
        f"{text}: {told}." if told else _sentence(text, said),
        errors=fields,
        reasons=_texts(document.get("reasons"), secrets),
        suggestions=_texts(document.get("suggestions"), secrets),
        **said,
    )


def _texts(found: object, secrets: tuple[Secret, ...]) -> list[str]:
    return [printable(one, secrets) for one in found] if isinstance(found, list) else []


def _sentence(text: str, said: Answer) -> str:
    if text.endswith("."):
        return text
    more = said["detail"] or said["title"]
    return f"{text}: {more}" if more else f"{text}."


def _soon(seconds: float | None) -> str:
    if seconds is None:
        return "shortly"
    return (
        f"in {max(1, round(seconds))} s" if seconds <= MINUTES else f"in {ceil(seconds / 60)} min"
    )


def _about_the_clock(kind: type[DoorwardError], skew: timedelta | None) -> str:
    if (
        skew is None
        or abs(skew) <= SKEWED
        or not issubclass(kind, errors.InvalidToken | errors.NotLoggedInError)
    ):
        return ""
    seconds = skew.total_seconds()
    way = "ahead of" if seconds > 0 else "behind"
    return f" The clock of this machine is {abs(seconds):.0f} s {way} the service's: set it."
