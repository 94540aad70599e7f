"""Detection of passwords that attackers guess first.

A password is rejected if it is common, or if little remains after removing repetitions, runs of
neighboring characters, names of the account and the service, and digits and punctuation around a
word. No character classes are required. All rules are fast on 128 characters.
"""

from __future__ import annotations

import re
import string
import unicodedata
from itertools import pairwise
from typing import TYPE_CHECKING

from app.authentication.passwords.normalize import RejectionReason

if TYPE_CHECKING:
    from collections.abc import Collection, Container, Iterable, Iterator

KEYBOARD_ROWS = """
    1234567890 !@#$%^&*() !"§$%&/()= qwertyuiop asdfghjkl zxcvbnm
    qwertzuiopü asdfghjklöä yxcvbnm azertyuiop qsdfghjklm wxcvbn
    1qaz 2wsx 3edc 4rfv 5tgb 6yhn 7ujm 8ik, 9ol. 1qay 2wsx
""".split()
NEIGHBORS = frozenset(
    pair
    for row in KEYBOARD_ROWS
    for one, other in pairwise(row)
    for pair in (one + other, other + one)
)
LOOKALIKES = str.maketrans("013457@$!|", "oieastasil")
SEPARATORS = re.compile(r"[ ._-]+")
PADDING = string.digits + string.punctuation + " "
MIN_RUN_LENGTH = 3
MIN_NAME_LENGTH = 3


def fold_case(text: str) -> str:
    """Return text without case, as the word lists are spelled."""
    return unicodedata.normalize("NFC", text.casefold())


def extract_names(texts: Iterable[str]) -> frozenset[str]:
    """Return the words of each text, and the text as one word.

    Of an email address, the local part.
    """
    parts = (fold_case(text).partition("@")[0] for text in texts)
    found = {
        name
        for part in parts
        for name in [*re.findall(r"[^\W\d_]+", part), re.sub(r"[\W_]+", "", part)]
    }
    return frozenset(name for name in found if len(name) >= MIN_NAME_LENGTH)


def find_weaknesses(
    password: str, *, min_length: int, names: Collection[str], common: Container[str]
) -> list[RejectionReason]:
    """Return every reason to reject a normalized password.

    After removing predictable parts, at least half of `min_length` must remain.
    """
    if len(password) < min_length:
        return [RejectionReason.TOO_SHORT]
    text, enough = fold_case(password), (min_length + 1) // 2
    piece = _find_repeated_unit(text)
    found = {
        RejectionReason.COMMON: any(
            spelling in common for spelling in _iterate_spellings(text, piece)
        ),
        RejectionReason.REPETITION: len(piece) < min(min_length, len(text)),
        RejectionReason.SEQUENCE: _count_outside_runs(SEPARATORS.sub("", text)) < enough,
        RejectionReason.PERSONAL: _count_outside_names(text, names) < enough,
    }
    return [reason for reason, true in found.items() if true]


def _find_repeated_unit(text: str) -> str:
    """Return the unit that the text repeats, or the whole text.

    The last repetition may be incomplete, and there may be padding around the text.
    """
    for whole in (text, text.strip(PADDING)):
        lengths = (
            length
            for length in range(1, (len(whole) + 1) // 2 + 1)
            if whole.startswith(whole[length:])
        )
        if len(whole) * 2 > len(text) and (length := next(lengths, None)):
            return whole[:length]
    return text


def _iterate_spellings(text: str, unit: str) -> Iterator[str]:
    for spelling in {text, text.strip(PADDING), unit, unit.strip(PADDING)}:
        yield spelling
        yield spelling.translate(LOOKALIKES)


def _count_outside_runs(text: str) -> int:
    """Count characters, with each run of three or more neighbors as one."""
    left = steps = 0
    for before, after in pairwise(text):
        steps = steps + 1 if _are_neighbors(before, after) else 0
        left += 1 if steps < MIN_RUN_LENGTH - 1 else -1 if steps == MIN_RUN_LENGTH - 1 else 0
    return left + 1


def _are_neighbors(before: str, after: str) -> bool:
    beside = before.isalnum() and after.isalnum() and abs(ord(before) - ord(after)) <= 1
    return beside or before == after or before + after in NEIGHBORS


def _count_outside_names(text: str, names: Collection[str]) -> int:
    """Count letters that are not part of a name, or all characters if the text contains no name."""
    taken: set[int] = set()
    for name in names:
        for hay, needle in ((text, name), (text.translate(LOOKALIKES), name.translate(LOOKALIKES))):
            taken.update(
                at
                for start in _find_occurrences(hay, needle)
                for at in range(start, start + len(needle))
            )
    if not taken:
        return len(text)
    return sum(character not in PADDING for at, character in enumerate(text) if at not in taken)


def _find_occurrences(hay: str, needle: str) -> Iterator[int]:
    start = hay.find(needle)
    while start >= 0:
        yield start
        start = hay.find(needle, start + 1)
