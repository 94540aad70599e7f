"""Builds the error for an error response, by its problem or OAuth code, else by its status."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from math import ceil
from typing import Any

from doorward import environment, errors
from doorward.errors import DoorwardError, ErrorDetails
from doorward.printable import to_printable
from doorward.secret import Secret

CLOCK_SKEW_TOLERANCE = timedelta(seconds=60)
MAX_SECONDS_SHOWN = 120  # longer delays are shown in minutes
NO_SUCH_ADDRESS = "no_such_address"
REJECTED_TOKEN = "The service rejects this token or key. Log in again."  # noqa: S105 - a text
DEVICE_LOGIN_EXPIRED = "The device login has expired. Start a new one."

ERRORS_BY_CODE: Mapping[str, tuple[type[DoorwardError], str]] = {
    "invalid_credentials": (
        errors.InvalidCredentials,
        "The username or password is wrong. Check both, or reset the password.",
    ),
    "unauthenticated": (errors.InvalidToken, REJECTED_TOKEN),
    "reauthentication_required": (
        errors.ReauthenticationRequired,
        "Re-authentication is required. Call elevate() with the password first.",
    ),
    "invalid_grant": (errors.NotLoggedInError, "The session has ended. Log in again."),
    "wrong_password": (errors.WrongPassword, "The current password is wrong. Try again."),
    "authorization_pending": (
        errors.LoginPending,
        "The login is not approved yet. Open the URL and enter the code.",
    ),
    "slow_down": (errors.LoginPending, "The login is not approved yet. Poll less often."),
    "access_denied": (
        errors.LoginDenied,
        "The login was denied. Ask the approver, or log in another way.",
    ),
    "expired_token": (errors.LoginExpired, DEVICE_LOGIN_EXPIRED),
    "login_session_over": (
        errors.LoginExpired,
        "The device login was decided already, or has expired. Start a new one.",
    ),
    "invalid_client": (
        errors.InvalidInput,
        "The service does not know this client_id. Omit it, or ask the operator for one.",
    ),
    "invalid_scope": (errors.InvalidInput, "These scopes are not permitted. Request fewer."),
    NO_SUCH_ADDRESS: (
        errors.UnexpectedAnswer,
        "There is no Doorward service at this URL. Check it.",
    ),
    "password_mismatch": (errors.InvalidInput, "The new passwords do not match. Enter them again."),
}
ERRORS_BY_STATUS: Mapping[int, tuple[type[DoorwardError], str]] = {
    401: (errors.InvalidToken, REJECTED_TOKEN),
    403: (errors.PermissionDenied, "Permission denied"),
    404: (errors.NotFound, "Not found, or it belongs to another account. Check the name or id."),
    409: (errors.Conflict, "The request conflicts with the current state"),
    422: (errors.InvalidInput, "Invalid input"),
}


def build_error(
    status: int,
    headers: Mapping[str, str],
    document: Mapping[str, Any],
    *,
    clock_skew: timedelta | None,
    secrets: Iterable[Secret] = (),
) -> DoorwardError:
    """Build the error for an error response.

    Texts from the response are shortened, made printable, and cleared of the given secrets.
    """
    details = _read_details(status, headers, document, clock_skew, tuple(secrets))
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        seconds = parse_retry_after(headers)
        return errors.RateLimited(
            f"Too many requests. Try again {_format_delay(seconds)}.",
            retry_after=seconds,
            **details,
        )
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return _build_unavailable_error(status, headers, details)
    if details["code"] == "password_change_required":
        token = document.get("reset_token")
        return errors.PasswordChangeRequired(
            "The password must be changed before you can log in. Choose a new one.",
            reset_token=Secret(token) if isinstance(token, str) else None,
            **details,
        )
    kind, text = _choose_error(status, details["code"])
    if issubclass(kind, errors.InvalidInput):
        return _build_invalid_input(kind, text, document, details, tuple(secrets))
    return kind(_format_sentence(text, details) + _describe_clock_skew(kind, clock_skew), **details)


def parse_retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds in Retry-After (RFC 9110 section 10.2.3), None if there is no header."""
    text = headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    time = parse_http_date(text)
    return max(0.0, (time - environment.get_now()).total_seconds()) if time else None


def parse_http_date(date: str) -> datetime | None:
    """Parse a date from a header (RFC 9110 section 5.6.7). Returns None if it is invalid."""
    try:
        time = parsedate_to_datetime(date)
    except (ValueError, TypeError, OverflowError):
        return None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _choose_error(status: int, code: str) -> tuple[type[DoorwardError], str]:
    # Every 404 of the service has a code, so a 404 without one comes from another server.
    if not code and status == HTTPStatus.NOT_FOUND:
        code = NO_SUCH_ADDRESS
    return (
        ERRORS_BY_CODE.get(code)
        or ERRORS_BY_STATUS.get(status)
        or (errors.UnexpectedAnswer, "The request failed")
    )


def _build_unavailable_error(
    status: int, headers: Mapping[str, str], details: ErrorDetails
) -> errors.ServiceUnavailable:
    seconds = parse_retry_after(headers)
    return errors.ServiceUnavailable(
        f"The service is not available ({status}). Try again {_format_delay(seconds)}.",
        retry_after=seconds,
        **details,
    )


def _read_details(
    status: int,
    headers: Mapping[str, str],
    document: Mapping[str, Any],
    clock_skew: timedelta | None,
    secrets: tuple[Secret, ...],
) -> ErrorDetails:
    code = to_printable(document.get("code") or document.get("error"))
    detail = document.get("detail") or document.get("error_description")
    request_id = document.get("request_id") or headers.get("X-Request-Id")
    return {
        "code": code if code in ERRORS_BY_CODE else to_printable(code, secrets),
        "title": to_printable(document.get("title"), secrets),
        "detail": to_printable(detail, secrets),
        "status": status,
        "request_id": to_printable(request_id, secrets),
        "clock_skew": clock_skew,
    }


def _build_invalid_input(
    kind: type[errors.InvalidInput],
    text: str,
    document: Mapping[str, Any],
    details: ErrorDetails,
    secrets: tuple[Secret, ...],
) -> errors.InvalidInput:
    found = document.get("errors")
    fields = {
        to_printable(pointer, secrets).lstrip("/"): [to_printable(one, secrets) for one in texts]
        for pointer, texts in (found.items() if isinstance(found, dict) else ())
        if isinstance(texts, list)
    }
    reasons = "; ".join(f"{field} {', '.join(texts)}" for field, texts in fields.items())
    return kind(
        f"{text.removesuffix('.')}: {reasons}." if reasons else _format_sentence(text, details),
        errors=fields,
        reasons=_list_texts(document.get("reasons"), secrets),
        suggestions=_list_texts(document.get("suggestions"), secrets),
        **details,
    )


def _list_texts(found: object, secrets: tuple[Secret, ...]) -> list[str]:
    return [to_printable(one, secrets) for one in found] if isinstance(found, list) else []


def _format_sentence(text: str, details: ErrorDetails) -> str:
    if text.endswith("."):
        return text
    more = details["detail"] or details["title"]
    return f"{text}: {more}" if more else f"{text}."


def _format_delay(seconds: float | None) -> str:
    if seconds is None:
        return "shortly"
    if seconds <= MAX_SECONDS_SHOWN:
        return f"in {max(1, round(seconds))} s"
    return f"in {ceil(seconds / 60)} min"


def _describe_clock_skew(kind: type[DoorwardError], clock_skew: timedelta | None) -> str:
    if (
        clock_skew is None
        or abs(clock_skew) <= CLOCK_SKEW_TOLERANCE
        or not issubclass(kind, errors.InvalidToken | errors.NotLoggedInError)
    ):
        return ""
    seconds = clock_skew.total_seconds()
    direction = "ahead of" if seconds > 0 else "behind"
    return (
        f" The clock of this machine is {abs(seconds):.0f} s {direction} the clock of the service."
        " Correct it."
    )
