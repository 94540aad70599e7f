"""Reasons why a password is rejected, as texts for users."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.authentication.passwords.normalize import MAX_LENGTH, RejectionReason
from app.i18n import mark_message, match_language, translate

if TYPE_CHECKING:
    from collections.abc import Mapping

# Each continues "The password …", as every text in `errors` continues the name of its field.
TEXTS: Mapping[RejectionReason, str] = {
    RejectionReason.TOO_SHORT: mark_message(
        "must have at least %(min_length)d characters; a short sentence is easy to remember"
    ),
    RejectionReason.TOO_LONG: mark_message("must have at most %(max_length)d characters"),
    RejectionReason.CONTROL_CHARACTERS: mark_message(
        "must not contain control characters such as line breaks"
    ),
    RejectionReason.COMMON: mark_message(
        "is too common, or is a common password with digits or punctuation added"
    ),
    RejectionReason.REPETITION: mark_message("repeats a short sequence, which counts only once"),
    RejectionReason.SEQUENCE: mark_message(
        "consists mainly of alphabetical, numerical or keyboard sequences"
    ),
    RejectionReason.PERSONAL: mark_message(
        "consists mainly of your name, your username, your email address or the name of this "
        "service"
    ),
    RejectionReason.UNCHANGED: mark_message("is your current password; choose another one"),
}


def describe_reason(reason: RejectionReason, locale: str, *, min_length: int = 0) -> str:
    """Describe a reason in the supported language nearest to a locale."""
    language = match_language(locale)
    return translate(language, TEXTS[reason], min_length=min_length, max_length=MAX_LENGTH)
