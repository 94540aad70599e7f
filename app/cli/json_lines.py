"""Reading JSON Lines: one object a line, each as strictly as a request's body, and never more than one line in memory."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING

from app.errors import InvalidInput
from app.registration.import_candidates import WHOLE_LINE, ImportFault, RejectedLine
from app.web.json_body import MAX_BODY_BYTES, Body, InvalidBody, parse_object

if TYPE_CHECKING:
    from collections.abc import Iterator

TOO_LONG = ImportFault(WHOLE_LINE, f"is longer than {MAX_BODY_BYTES} bytes")
NOT_JSON = "is not acceptable JSON"
NOT_TEXT = ImportFault(WHOLE_LINE, "holds characters that no text has")


class Unreadable(Exception):
    """The file cannot be read any further; the message says why."""


def read_lines(file: IO[bytes]) -> Iterator[tuple[int, Body] | RejectedLine]:
    """The object of each line with its number, or why there is none. Blank lines are passed over. Raises Unreadable."""
    number = 0
    try:
        while raw := file.readline(MAX_BODY_BYTES + 1):
            number += 1
            if len(raw) > MAX_BODY_BYTES and not raw.endswith(b"\n"):
                _skip_line(file)
                yield RejectedLine(number, (TOO_LONG,))
            elif raw.strip():
                yield _parse_line(number, raw.rstrip(b"\r\n"))
    except OSError as error:
        raise Unreadable(error.strerror or type(error).__name__) from None


def _parse_line(number: int, raw: bytes) -> tuple[int, Body] | RejectedLine:
    try:
        return number, parse_object(raw)
    except InvalidBody as error:
        return RejectedLine(
            number,
            (
                ImportFault(
                    WHOLE_LINE,
                    NOT_JSON,
                    f": {error.detail.replace('at line 1, column', 'at column')}",
                ),
            ),
        )
    except InvalidInput:
        return RejectedLine(number, (NOT_TEXT,))


def _skip_line(file: IO[bytes]) -> None:
    """Go on to the next line, however long this one is."""
    while (piece := file.readline(MAX_BODY_BYTES)) and not piece.endswith(b"\n"):
        pass
