"""From what a service answered to the error that is raised: by the code of a problem document or of OAuth, else by the status."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from math import ceil
from typing import Any

from doorward import environment as here
from doorward import errors
from doorward.errors import Answer, DoorwardError
from doorward.secret import MASK, Secret

MAX_TEXT_LENGTH = 300
MIN_SUBSTRING_LENGTH = 8
CLOCK_SKEW_TOLERANCE = timedelta(seconds=60)
NO_SUCH_ADDRESS = "no_such_address"

ERRORS_BY_CODE: Mapping[str, tuple[type[DoorwardError], str]] = {
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
ERRORS_BY_STATUS: Mapping[int, tuple[type[DoorwardError], str]] = {
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
MAX_SECONDS_SHOWN = 120  # seconds from which on people are told minutes
SERVER_ERROR = 500
TOO_MANY_REQUESTS = 429
NOT_FOUND = 404


def build_error(
    status: int,
    headers: Mapping[str, str],
    document: Mapping[str, Any],
    *,
    clock_skew: timedelta | None,
    secrets: Iterable[Secret] = (),
) -> DoorwardError:
    """The error for an answer that is none of success. What it says is cut, made printable, and holds none of the secrets."""
    said = _read_answer(status, headers, document, clock_skew, tuple(secrets))
    if status == TOO_MANY_REQUESTS:
        seconds = parse_retry_after(headers)
        return errors.RateLimited(
            f"Too many requests: try again {_format_delay(seconds)}.", retry_after=seconds, **said
        )
    if status >= SERVER_ERROR:
        return build_unavailable_error(status, headers, said)
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
        ERRORS_BY_CODE.get(code)
        or ERRORS_BY_STATUS.get(status)
        or (errors.UnexpectedAnswer, "The service could not do this")
    )
    if issubclass(kind, errors.InvalidInput):
        return _build_invalid_input(kind, text, document, said, tuple(secrets))
    return kind(_format_sentence(text, said) + _describe_clock_skew(kind, clock_skew), **said)


def build_unavailable_error(
    status: int, headers: Mapping[str, str], said: Answer
) -> errors.ServiceUnavailable:
    """A fault on the other side, whatever form it has."""
    seconds = parse_retry_after(headers)
    return errors.ServiceUnavailable(
        f"The service cannot answer now ({status}): try again {_format_delay(seconds)}.",
        retry_after=seconds,
        **said,
    )


def parse_retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds until the service wants to be asked again (RFC 9110 section 10.2.3), None where it does not say."""
    text = headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    moment = parse_http_date(text)
    return max(0.0, (moment - here.get_now()).total_seconds()) if moment else None


def parse_http_date(date: str) -> datetime | None:
    """The time that a header names (RFC 9110 section 5.6.7), None for what is none."""
    try:
        moment = parsedate_to_datetime(date)
    except (ValueError, TypeError, OverflowError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def to_printable(text: object, secrets: Iterable[Secret] = ()) -> str:
    """A text of a stranger on one line: no control characters that a terminal would obey, no secret that it gives back, not too long."""
    if not isinstance(text, str):
        return ""
    for secret in secrets:
        text = _mask_secret(text, secret)
    cut = text if len(text) <= MAX_TEXT_LENGTH else text[:MAX_TEXT_LENGTH] + "…"
    return replace_control_characters(cut).strip()


def replace_control_characters(text: str) -> str:
    """On one line and without control characters that a terminal would obey; as long as it is."""
    return "".join(
        " " if unicodedata.category(character).startswith(("C", "Z")) else character
        for character in text
    )


def _mask_secret(text: str, secret: Secret) -> str:
    """A short one, as a bad password is, may be a part of any word: it is taken out where it stands alone."""
    if len(secret.reveal()) >= MIN_SUBSTRING_LENGTH:
        return text.replace(secret.reveal(), MASK)
    return re.sub(rf"(?<!\w){re.escape(secret.reveal())}(?!\w)", MASK, text) if secret else text


def _read_answer(
    status: int,
    headers: Mapping[str, str],
    document: Mapping[str, Any],
    skew: timedelta | None,
    secrets: tuple[Secret, ...],
) -> Answer:
    code = to_printable(document.get("code") or document.get("error"))
    return {
        "code": code if code in ERRORS_BY_CODE else to_printable(code, secrets),
        "title": to_printable(document.get("title"), secrets),
        "detail": to_printable(
            document.get("detail") or document.get("error_description"), secrets
        ),
        "status": status,
        "request_id": to_printable(
            document.get("request_id") or headers.get("X-Request-Id"), secrets
        ),
        "clock_skew": skew,
    }


def _build_invalid_input(
    kind: type[errors.InvalidInput],
    text: str,
    document: Mapping[str, Any],
    said: Answer,
    secrets: tuple[Secret, ...],
) -> errors.InvalidInput:
    found = document.get("errors")
    fields = {
        to_printable(pointer, secrets).lstrip("/"): [to_printable(one, secrets) for one in texts]
        for pointer, texts in (found.items() if isinstance(found, dict) else ())
        if isinstance(texts, list)
    }
    told = "; ".join(f"{field} {', '.join(texts)}" for field, texts in fields.items())
    return kind(
        f"{text}: {told}." if told else _format_sentence(text, said),
        errors=fields,
        reasons=_list_texts(document.get("reasons"), secrets),
        suggestions=_list_texts(document.get("suggestions"), secrets),
        **said,
    )


def _list_texts(found: object, secrets: tuple[Secret, ...]) -> list[str]:
    return [to_printable(one, secrets) for one in found] if isinstance(found, list) else []


def _format_sentence(text: str, said: Answer) -> str:
    if text.endswith("."):
        return text
    more = said["detail"] or said["title"]
    return f"{text}: {more}" if more else f"{text}."


def _format_delay(seconds: float | None) -> str:
    if seconds is None:
        return "shortly"
    return (
        f"in {max(1, round(seconds))} s"
        if seconds <= MAX_SECONDS_SHOWN
        else f"in {ceil(seconds / 60)} min"
    )


def _describe_clock_skew(kind: type[DoorwardError], skew: timedelta | None) -> str:
    if (
        skew is None
        or abs(skew) <= CLOCK_SKEW_TOLERANCE
        or not issubclass(kind, errors.InvalidToken | errors.NotLoggedInError)
    ):
        return ""
    seconds = skew.total_seconds()
    way = "ahead of" if seconds > 0 else "behind"
    return f" The clock of this machine is {abs(seconds):.0f} s {way} the service's: set it."
