"""The exit codes, and the text that is printed for each error."""

from __future__ import annotations

import re
from collections.abc import Mapping

from doorward import environment, errors
from doorward.errors import DoorwardError

OK = 0
OTHER = 1
USAGE = 2
NOT_LOGGED_IN = 3
DENIED = 4
UNAVAILABLE = 5
RATE_LIMITED = 6
NOT_APPROVED = 7
INTERRUPTED = 130

MEANINGS: Mapping[int, str] = {
    OK: "success",
    OTHER: "other error",
    USAGE: "invalid usage or value",
    NOT_LOGGED_IN: "not logged in, or the session has ended",
    DENIED: "denied: wrong password, denied login or missing permission",
    UNAVAILABLE: "the service cannot be reached, or the URL is wrong",
    RATE_LIMITED: "too many requests",
    NOT_APPROVED: "the login was not approved in time",
    INTERRUPTED: "interrupted with Ctrl-C",
}

# The first matching class decides.
_CODES: tuple[tuple[type[DoorwardError], int], ...] = (
    (errors.ReauthenticationRequired, DENIED),
    (errors.LoginTimeout, NOT_APPROVED),
    (errors.LoginExpired, NOT_APPROVED),
    (errors.LoginError, DENIED),
    (errors.PermissionDenied, DENIED),
    (errors.NotLoggedInError, NOT_LOGGED_IN),
    (errors.InvalidToken, NOT_LOGGED_IN),
    (errors.RateLimited, RATE_LIMITED),
    (errors.ServiceUnavailable, UNAVAILABLE),
    (errors.UnexpectedAnswer, UNAVAILABLE),
    (errors.InvalidInput, USAGE),
)
_CODES_BY_STATUS: Mapping[int, int] = {
    0: UNAVAILABLE,
    429: RATE_LIMITED,
    500: UNAVAILABLE,
    502: UNAVAILABLE,
    503: UNAVAILABLE,
    504: UNAVAILABLE,
}
# Advice of the library that names Python code, and its replacement for the command line.
_REPLACEMENTS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile("; pass allow_http=True to permit it"), ""),
    (re.compile(r" Log in (?:first|again)(?=[.])\."), ""),
    (re.compile("Pass url, or set DOORWARD_URL"), "Pass --url, or set DOORWARD_URL"),
)


def get_exit_code(error: DoorwardError) -> int:
    """Return the exit code for the error."""
    if isinstance(error, errors.LogoutError):
        return _CODES_BY_STATUS.get(error.status, OTHER)
    return next((code for kind, code in _CODES if isinstance(error, kind)), OTHER)


def format_error(error: DoorwardError) -> str:
    """Return what is wrong and what to do, in terms of the command line."""
    if isinstance(error, errors.ReauthenticationRequired):
        return (
            "Re-authentication required. Run this in a terminal to enter your password, or run"
            " doorward login --password-stdin first."
        )
    if isinstance(error, errors.PasswordChangeRequired):
        return (
            "Your password must be changed before you can log in."
            " Run doorward login in a terminal to choose a new one."
        )
    if isinstance(error, errors.InvalidInput) and error.reasons:
        return "The new password was not accepted:"
    text = str(error)
    for pattern, replacement in _REPLACEMENTS:
        text = pattern.sub(replacement, text)
    if get_exit_code(error) == NOT_LOGGED_IN:
        by_token = environment.get_variable("DOORWARD_TOKEN") and (
            isinstance(error, errors.InvalidToken) or "DOORWARD_TOKEN" in text
        )
        advice = "Renew DOORWARD_TOKEN, or unset it and run" if by_token else "Run"
        return f"{text} {advice}: doorward login"
    if error.request_id and get_exit_code(error) == UNAVAILABLE:
        return f"{text} (request {error.request_id})"
    return text


def list_error_details(error: DoorwardError) -> list[str]:
    """Return the lines below the error: why a new password was rejected, and suggestions."""
    if not isinstance(error, errors.InvalidInput) or not error.reasons:
        return []
    reasons = [f"- it {text}" for texts in error.errors.values() for text in texts]
    suggestions = [f"  {text}" for text in error.suggestions]
    return [*reasons, *(["For example:"] if suggestions else []), *suggestions]
