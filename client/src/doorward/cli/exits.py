"""How a command ends: one list of exit codes, which error has which, and the sentence that is written."""

from __future__ import annotations

import re
from collections.abc import Mapping

from doorward import environment as here
from doorward import errors
from doorward.errors import DoorwardError

OK, OTHER, WRONG_USE, NOT_LOGGED_IN, DENIED, AWAY, LIMITED, TOO_LATE, INTERRUPTED = (
    0,
    1,
    2,
    3,
    4,
    5,
    6,
    7,
    130,
)

MEANINGS: Mapping[int, str] = {
    OK: "done",
    OTHER: "it failed for another reason",
    WRONG_USE: "wrong use, or a value that is not accepted",
    NOT_LOGGED_IN: "nobody is logged in, or the session is over",
    DENIED: "denied: a wrong password, a login refused, a right that is missing",
    AWAY: "the service is not there, cannot answer now, or is none",
    LIMITED: "too many requests",
    TOO_LATE: "nobody approved the login in time",
    INTERRUPTED: "interrupted with Ctrl-C",
}

# The first that fits.
_CODES: tuple[tuple[type[DoorwardError], int], ...] = (
    (errors.ReauthenticationRequired, DENIED),
    (errors.LoginTimeout, TOO_LATE),
    (errors.LoginExpired, TOO_LATE),
    (errors.LoginError, DENIED),
    (errors.PermissionDenied, DENIED),
    (errors.NotLoggedInError, NOT_LOGGED_IN),
    (errors.InvalidToken, NOT_LOGGED_IN),
    (errors.RateLimited, LIMITED),
    (errors.ServiceUnavailable, AWAY),
    (errors.UnexpectedAnswer, AWAY),
    (errors.InvalidInput, WRONG_USE),
)
_BY_STATUS: Mapping[int, int] = {0: AWAY, 429: LIMITED, 500: AWAY, 502: AWAY, 503: AWAY, 504: AWAY}
_OF_THE_LIBRARY: tuple[tuple[re.Pattern[str], str], ...] = (
    (
        re.compile("; allow_http=True permits it|: log in (?:first|again)(?=[.])"),
        "",
    ),  # no option here does; said in other words
    (
        re.compile(": (?:give its address|name one), or set DOORWARD_URL"),
        ": give --url, or set DOORWARD_URL",
    ),
)


def code_of(error: DoorwardError) -> int:
    """The exit code for it."""
    if isinstance(error, errors.LogoutError):
        return _BY_STATUS.get(error.status, OTHER)
    return next((code for kind, code in _CODES if isinstance(error, kind)), OTHER)


def sentence_of(error: DoorwardError) -> str:
    """What went wrong and what to do, in words of the command line."""
    if isinstance(error, errors.ReauthenticationRequired):
        return "This needs the password typed within the last five minutes: run it in a terminal, or log in with --password-stdin before."
    if isinstance(error, errors.PasswordChangeRequired):
        return "The password must be changed before it opens a session again: log in once in a terminal, where you are asked for another one."
    if isinstance(error, errors.InvalidInput) and error.reasons:
        return "The new password is not taken:"
    text = str(error)
    for pattern, ours in _OF_THE_LIBRARY:
        text = pattern.sub(ours, text)
    if code_of(error) == NOT_LOGGED_IN:
        by_token = here.get_variable("DOORWARD_TOKEN") and (
            isinstance(error, errors.InvalidToken) or "DOORWARD_TOKEN" in text
        )
        return f"{text} {'Renew DOORWARD_TOKEN, or unset it and run' if by_token else 'Run'}: doorward login"
    if error.request_id and code_of(error) == AWAY:
        return f"{text} (request {error.request_id})"
    return text


def further_of(error: DoorwardError) -> list[str]:
    """What belongs below the sentence: why a new password is none, and others that would be."""
    if not isinstance(error, errors.InvalidInput) or not error.reasons:
        return []
    why = [f"- it {text}" for texts in error.errors.values() for text in texts]
    return [
        *why,
        *(["For example:"] if error.suggestions else []),
        *(f"  {one}" for one in error.suggestions),
    ]
