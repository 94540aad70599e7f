"""JSON Lines: one object per line, parsed as strictly as a request body, one line in memory."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING

from app.errors import InvalidInput
from app.registration.import_candidates import WHOLE_LINE, ImportFault, RejectedLine
from app.web.json_body import MAX_BODY_BYTES, Body, InvalidBody, parse_object

if TYPE_CHECKING:
    from collections.abc import Iterator

TOO_LONG = ImportFault(WHOLE_LINE, f"is longer than {MAX_BODY_BYTES} bytes")
INVALID_JSON = "is not valid JSON"
INVALID_TEXT = ImportFault(WHOLE_LINE, "contains characters that are not allowed in text")


class Unreadable(Exception):
    """The rest of the file cannot be read. The message gives the reason."""


def read_lines(file: IO[bytes]) -> Iterator[tuple[int, Body] | RejectedLine]:
    """Yield the number and the object of each line, or why it was rejected. Skips blank lines.

    Raises Unreadable.
    """
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
        detail = f": {error.detail.replace('at line 1, column', 'at column')}"
        return RejectedLine(number, (ImportFault(WHOLE_LINE, INVALID_JSON, detail),))
    except InvalidInput:
        return RejectedLine(number, (INVALID_TEXT,))


def _skip_line(file: IO[bytes]) -> None:
    """Read to the end of the line, without keeping it in memory."""
    while (piece := file.readline(MAX_BODY_BYTES)) and not piece.endswith(b"\n"):
        pass
