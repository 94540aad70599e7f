"""Reading JSON Lines: one object a line, each as strictly as a request's body, and never more than one line in memory."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING

from app.errors import InvalidInput
from app.registration.candidates import WHOLE, Fault, Refused
from app.web.json_body import LARGEST, Body, InvalidBody, read_object

if TYPE_CHECKING:
    from collections.abc import Iterator

TOO_LONG = Fault(WHOLE, f"is longer than {LARGEST} bytes")
NOT_JSON = "is not acceptable JSON"
NOT_TEXT = Fault(WHOLE, "holds characters that no text has")


class Unreadable(Exception):
    """The file cannot be read any further; the message says why."""


def read_lines(file: IO[bytes]) -> Iterator[tuple[int, Body] | Refused]:
    """The object of each line with its number, or why there is none. Blank lines are passed over. Raises Unreadable."""
    number = 0
    try:
        while raw := file.readline(LARGEST + 1):
            number += 1
            if len(raw) > LARGEST and not raw.endswith(b"\n"):
                _pass_over(file)
                yield Refused(number, (TOO_LONG,))
            elif raw.strip():
                yield _read(number, raw.rstrip(b"\r\n"))
    except OSError as error:
        raise Unreadable(error.strerror or type(error).__name__) from None


def _read(number: int, raw: bytes) -> tuple[int, Body] | Refused:
    try:
        return number, read_object(raw)
    except InvalidBody as error:
        return Refused(
            number,
            (
                Fault(
                    WHOLE, NOT_JSON, f": {error.detail.replace('at line 1, column', 'at column')}"
                ),
            ),
        )
    except InvalidInput:
        return Refused(number, (NOT_TEXT,))


def _pass_over(file: IO[bytes]) -> None:
    """Go on to the next line, however long this one is."""
    while (piece := file.readline(LARGEST)) and not piece.endswith(b"\n"):
        pass
