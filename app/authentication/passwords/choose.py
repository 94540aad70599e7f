"""The one place that takes a new password, or says why not and offers others."""

from __future__ import annotations

import secrets
from email.utils import parseaddr
from itertools import islice
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from app.authentication.passwords.messages import in_words
from app.authentication.passwords.normalize import NotAPassword, normalised
from app.authentication.passwords.strength import names_in, weaknesses
from app.authentication.passwords.word_lists import common_passwords, passphrase_words
from app.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from app.authentication.passwords.normalize import Reason
    from app.settings import Settings

SUGGESTIONS = 3
WORDS = 5  # 64.6 bits; more where the least length asks for more


def chosen_password(
    settings: Settings, raw: str, *, field: str, locale: str, about: Iterable[str]
) -> str:
    """The password somebody wants, as it is hashed. `about` is what the account is called: username, address and name.

    `field` is a JSON pointer. Raises InvalidInput with every reason in the reader's language, and three passphrases that would be accepted.
    """
    least = settings.password_min_length
    names = names_in([*about, *_called(settings)])
    reasons = _reasons(raw, least=least, names=names)
    if not reasons:
        return normalised(raw)
    raise InvalidInput(
        errors={field: [in_words(reason, locale, least=least) for reason in reasons]},
        members={
            "reasons": reasons,
            "suggestions": list(
                islice(_acceptable_passphrases(least=least, names=names), SUGGESTIONS)
            ),
        },
    )


def _called(settings: Settings) -> list[str]:
    """What the service is called: by those who made it, in its mail, and in its address, of which the last label names nobody."""
    labels = (urlsplit(settings.public_url).hostname or "").split(".")
    return ["doorward", parseaddr(settings.mail_from)[0], *(labels[:-1] or labels)]


def _reasons(raw: str, *, least: int, names: Collection[str]) -> list[Reason]:
    try:
        return weaknesses(normalised(raw), least=least, names=names, common=common_passwords())
    except NotAPassword as error:
        return [error.reason]


def _acceptable_passphrases(*, least: int, names: Collection[str]) -> Iterator[str]:
    while True:
        passphrase = _passphrase(least)
        if not _reasons(passphrase, least=least, names=names):
            yield passphrase


def _passphrase(least: int) -> str:
    words = [secrets.choice(passphrase_words()) for _ in range(WORDS)]
    while len(" ".join(words)) < least:
        words.append(secrets.choice(passphrase_words()))
    return " ".join(words)
