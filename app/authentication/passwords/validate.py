"""Validation of new passwords, with suggestions."""

from __future__ import annotations

import secrets
from email.utils import parseaddr
from itertools import islice
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from app.authentication.passwords.messages import describe_reason
from app.authentication.passwords.normalize import InvalidPassword, normalize_password
from app.authentication.passwords.strength import extract_names, find_weaknesses
from app.authentication.passwords.word_lists import load_common_passwords, load_passphrase_words
from app.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from app.authentication.passwords.normalize import RejectionReason
    from app.settings import Settings

SUGGESTION_COUNT = 3
MIN_WORDS = 5  # 64.6 bits; more words if the minimum length requires them


def validate_new_password(
    settings: Settings, raw: str, *, field: str, locale: str, about: Iterable[str]
) -> str:
    """Return a new password in normalized form. `about` are names that it must not consist of.

    `field` is a JSON pointer. Raises InvalidInput with every reason in the language of the locale
    and three acceptable passphrases.
    """
    least = settings.password_min_length
    names = extract_names([*about, *_list_service_names(settings)])
    reasons = _find_weaknesses(raw, min_length=least, names=names)
    if not reasons:
        return normalize_password(raw)
    raise InvalidInput(
        errors={field: [describe_reason(reason, locale, min_length=least) for reason in reasons]},
        members={
            "reasons": reasons,
            "suggestions": list(
                islice(
                    _generate_acceptable_passphrases(min_length=least, names=names),
                    SUGGESTION_COUNT,
                )
            ),
        },
    )


def _list_service_names(settings: Settings) -> list[str]:
    """Return the names of the service: the product, the email sender and the labels of its host."""
    labels = (urlsplit(settings.public_url).hostname or "").split(".")
    return ["doorward", parseaddr(settings.mail_from)[0], *(labels[:-1] or labels)]


def _find_weaknesses(raw: str, *, min_length: int, names: Collection[str]) -> list[RejectionReason]:
    try:
        return find_weaknesses(
            normalize_password(raw),
            min_length=min_length,
            names=names,
            common=load_common_passwords(),
        )
    except InvalidPassword as error:
        return [error.reason]


def _generate_acceptable_passphrases(*, min_length: int, names: Collection[str]) -> Iterator[str]:
    while True:
        passphrase = _generate_passphrase(min_length)
        if not _find_weaknesses(passphrase, min_length=min_length, names=names):
            yield passphrase


def _generate_passphrase(min_length: int) -> str:
    words = [secrets.choice(load_passphrase_words()) for _ in range(MIN_WORDS)]
    while len(" ".join(words)) < min_length:
        words.append(secrets.choice(load_passphrase_words()))
    return " ".join(words)
