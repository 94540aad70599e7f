"""Which passwords an attacker guesses first.

No kind of character is asked for, and nothing in here is slow on 128 characters.

A password is refused when it is a common one, or when little of it is left once everything is taken
away that is no secret: what is repeated, runs of neighbours, the names of the account and of the
service, and digits and punctuation around one word.
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
    1234567890 !@#$%^&*() !"§$%&/()= qwertyuiop asdfghjkl zxcvbnm qwertzuiopü asdfghjklöä yxcvbnm azertyuiop qsdfghjklm wxcvbn
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
    """As the lists are spelled: without case."""
    return unicodedata.normalize("NFC", text.casefold())


def extract_names(texts: Iterable[str]) -> frozenset[str]:
    """The names in what somebody or something is called: its words, and all of it run together.

    Of an address, what is before the @.
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
    """Every reason why a normalised password is refused.

    `least` is the least length; half of it has to be left as a secret.
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
    """What the text repeats, or all of it.

    The last time may be cut short, by a separator or more; a little may stand around it.
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
    """How many characters there are if a run of three neighbours and more counts as one."""
    left = steps = 0
    for before, after in pairwise(text):
        steps = steps + 1 if _are_neighbors(before, after) else 0
        left += 1 if steps < MIN_RUN_LENGTH - 1 else -1 if steps == MIN_RUN_LENGTH - 1 else 0
    return left + 1


def _are_neighbors(before: str, after: str) -> bool:
    beside = before.isalnum() and after.isalnum() and abs(ord(before) - ord(after)) <= 1
    return beside or before == after or before + after in NEIGHBORS


def _count_outside_names(text: str, names: Collection[str]) -> int:
    """How many characters that are no digits, punctuation or spaces are not part of a name; all of
    them where there is no name.
    """
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
