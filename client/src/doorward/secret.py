"""A text that must not be seen: it shows as *** wherever it is printed, logged or part of a traceback."""

from __future__ import annotations

import hmac
import re
from typing import NoReturn, final

MASK = "***"
HEADER_SAFE = re.compile(r"[\x21-\x7e]+")


@final
class Secret:
    """Hides a token, key or password from repr, str, formatting, logs and tracebacks; `reveal()` is the one way to the text."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    @staticmethod
    def wrap(text: str | Secret) -> Secret:
        """The same secret, wrapped once."""
        return text if isinstance(text, Secret) else Secret(text)

    def reveal(self) -> str:
        """The text itself. Pass it on where it is needed, and do not keep it in a variable."""
        return self._text

    @property
    def is_header_safe(self) -> bool:
        """Could it stand in a header of a request? No token or key holds anything else, and no error may be about its text."""
        return isinstance(self._text, str) and bool(HEADER_SAFE.fullmatch(self._text))

    def __repr__(self) -> str:
        return MASK

    def __format__(self, spec: str) -> str:
        return format(MASK, spec)

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(
            self._text.encode(), other._text.encode()
        )

    def __hash__(self) -> int:
        return hash((Secret, self._text))

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a secret is not pickled: hand it over by name, e.g. in the store or a token file"
        )
