"""Why a password is refused, in words for people, in every language there is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.authentication.passwords.normalize import MAX_LENGTH, RejectionReason
from app.notifications.mail.render import match_language

if TYPE_CHECKING:
    from collections.abc import Mapping

# Each goes on after "The password", as every text of `errors` goes on after the name of its field.
TEXTS: Mapping[str, Mapping[RejectionReason, str]] = {
    "en": {
        RejectionReason.TOO_SHORT: "must have at least {least} characters; a sentence of a few words is easy to remember",
        RejectionReason.TOO_LONG: "must have at most {longest} characters",
        RejectionReason.CONTROL_CHARACTERS: "must not hold control characters such as line breaks",
        RejectionReason.COMMON: "is one of those that are tried first, or one of them with digits or punctuation around it",
        RejectionReason.REPETITION: "repeats a short piece; what is repeated counts once",
        RejectionReason.SEQUENCE: "is little else than runs of the alphabet, of digits or of keys beside each other",
        RejectionReason.PERSONAL: "is little else than your name, your username, your address or the name of this service",
        RejectionReason.UNCHANGED: "is the present one; choose another",
    },
    "de": {
        RejectionReason.TOO_SHORT: "braucht mindestens {least} Zeichen; ein Satz aus einigen Wörtern ist leicht zu merken",
        RejectionReason.TOO_LONG: "darf höchstens {longest} Zeichen haben",
        RejectionReason.CONTROL_CHARACTERS: "darf keine Steuerzeichen wie Zeilenumbrüche enthalten",
        RejectionReason.COMMON: "gehört zu denen, die zuerst ausprobiert werden, oder ist eines davon mit Ziffern oder Satzzeichen darum",
        RejectionReason.REPETITION: "wiederholt ein kurzes Stück; Wiederholtes zählt nur einmal",
        RejectionReason.SEQUENCE: "besteht fast nur aus Folgen des Alphabets, aus Ziffernfolgen oder aus nebeneinanderliegenden Tasten",
        RejectionReason.PERSONAL: "besteht fast nur aus Ihrem Namen, Ihrem Benutzernamen, Ihrer Adresse oder dem Namen dieses Dienstes",
        RejectionReason.UNCHANGED: "ist das bisherige; wählen Sie ein anderes",
    },
}


def describe_reason(reason: RejectionReason, locale: str, *, min_length: int = 0) -> str:
    """The reason in the language nearest to the reader's."""
    return TEXTS[match_language(locale)][reason].format(least=min_length, longest=MAX_LENGTH)
