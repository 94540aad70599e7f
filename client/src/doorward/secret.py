"""A string wrapper that hides tokens, keys and passwords."""

from __future__ import annotations

import hmac
import re
from typing import NoReturn, final

MASK = "***"
HEADER_SAFE = re.compile(r"[\x21-\x7e]+")


@final
class Secret:
    """A secret that shows as *** in repr, str, formatting, logs and tracebacks.

    `reveal()` is the only way to read the text.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    @staticmethod
    def wrap(text: str | Secret) -> Secret:
        """Return the text as a Secret; a Secret is returned unchanged."""
        return text if isinstance(text, Secret) else Secret(text)

    def reveal(self) -> str:
        """Return the text. Do not keep it in a variable, because tracebacks may show variables."""
        return self._text

    @property
    def is_header_safe(self) -> bool:
        """Whether the text can be sent in an HTTP header, as every token and key can."""
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
            "a Secret cannot be pickled; pass it through the session store or a token file instead"
        )
