"""Password rules: any long text that is hard to guess is accepted, in one normalized form."""

from __future__ import annotations

import re
import string
import unicodedata
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.authentication.passwords.messages import TEXTS, describe_reason
from app.authentication.passwords.normalize import (
    InvalidPassword,
    RejectionReason,
    normalize_password,
)
from app.authentication.passwords.strength import extract_names, find_weaknesses, fold_case
from app.authentication.passwords.validate import validate_new_password
from app.authentication.passwords.word_lists import (
    SortedLines,
    load_common_passwords,
    load_passphrase_words,
)
from app.errors import InvalidInput
from app.i18n import LANGUAGES
from tests.actors import PASSWORD, build_settings

SHORTEST = 15
LETTERS = "Once upon a time there was a queen who kept her word and nobody knew why, until a traveller asked her in the market of a town."
KEYS = "".join(chr(0x1F400 + 7 * number) for number in range(64)) * 2
ABOUT = ("ann.miller", "annm84@mail.example", "Ann-Katrin M\u00fcller")


def check_password(
    password: str, *, least: int = SHORTEST, about=ABOUT, locale: str = "en", **changes
) -> InvalidInput | None:
    """Return the rejection of a new password, or None."""
    try:
        changed = build_settings(
            "sqlite:////none",
            password_min_length=least,
            public_url="https://login.acme-tools.example",
            **changes,
        )
        validate_new_password(changed, password, field="/password", locale=locale, about=about)
    except InvalidInput as problem:
        return problem
    return None


def get_reasons(password: str, **options) -> set[str]:
    problem = check_password(password, **options)
    return set(problem.members["reasons"]) if problem else set()


@pytest.mark.parametrize(
    "password",
    [
        pytest.param(PASSWORD, id="four words"),
        pytest.param(LETTERS[:SHORTEST], id="the least"),
        pytest.param(LETTERS[:64], id="64"),
        pytest.param(LETTERS, id="a long sentence"),
        pytest.param((LETTERS + " The end.")[:128], id="the most"),
        pytest.param(KEYS[:SHORTEST], id="the least, outside the basic plane"),
        pytest.param(
            "".join(chr(0x4E00 + 37 * number) for number in range(128)), id="the most, in Chinese"
        ),
        pytest.param(
            "\u0958\u0959\u095a\u095b\u095c\u095d\u095e\u0915\u0916\u0917\u091c\u0921\u0922\u092b\u0928",
            id="what composing makes longer",
        ),
        pytest.param("  leading and trailing  ", id="spaces around"),
        pytest.param("no upper case and no digit", id="no composition rules"),
        pytest.param("830174629501837", id="digits alone"),
        pytest.param("}#&%.,[!?*=+]~(", id="punctuation alone"),
        pytest.param(
            "\u043c\u043e\u0439 \u0434\u043e\u043c \u0441\u0442\u043e\u0438\u0442 \u0443 \u0440\u0435\u043a\u0438",
            id="another script",
        ),
        pytest.param("\U0001f468\u200d\U0001f469\u200d\U0001f467 a family of three", id="joiners"),
        pytest.param("Ann M\u00fcller sells sea shells", id="a sentence with the name in it"),
        pytest.param("doorward opens at eight o'clock", id="a sentence with the service in it"),
        pytest.param("my password is a sentence", id="a sentence with a common one in it"),
        pytest.param("Tr0ub4dor&3 is hard", id="a short one in a sentence"),
        pytest.param("kF9#xQ2$vL7!mZ4", id="from a generator"),
        pytest.param("9384kd8842910473", id="letters between digits"),
        pytest.param("mein Hund hei\u00dft Bello seit 1999", id="German"),
        pytest.param("the property expert was here", id="words with neighbours in them"),
    ],
)
def test_any_long_enough_text_is_accepted(password):
    assert get_reasons(password) == set()


@pytest.mark.parametrize(
    ("password", "reason"),
    [
        pytest.param("", RejectionReason.TOO_SHORT, id="empty"),
        pytest.param(LETTERS[: SHORTEST - 1], RejectionReason.TOO_SHORT, id="one too few"),
        pytest.param(
            KEYS[: SHORTEST - 1], RejectionReason.TOO_SHORT, id="few characters of many bytes"
        ),
        pytest.param(
            "e\u0301" * (SHORTEST - 1),
            RejectionReason.TOO_SHORT,
            id="few characters of two code points each",
        ),
        pytest.param((LETTERS * 2)[:129], RejectionReason.TOO_LONG, id="one too many"),
        pytest.param("e\u0301" * 100, RejectionReason.TOO_LONG, id="too many before composing"),
        pytest.param("\U0001f511" * 257, RejectionReason.TOO_LONG, id="more than 1024 bytes"),
        pytest.param("a" * 100_000, RejectionReason.TOO_LONG, id="far too many"),
        pytest.param("correct horse\0battery staple", RejectionReason.CONTROL_CHARACTERS, id="NUL"),
        pytest.param(
            "correct horse\nbattery staple", RejectionReason.CONTROL_CHARACTERS, id="a line break"
        ),
        pytest.param(
            "correct horse\tbattery staple", RejectionReason.CONTROL_CHARACTERS, id="a tab"
        ),
        pytest.param(
            "correct horse\x7fbattery staple", RejectionReason.CONTROL_CHARACTERS, id="DEL"
        ),
        pytest.param(
            "correct horse \ud800 battery", RejectionReason.CONTROL_CHARACTERS, id="a surrogate"
        ),
    ],
)
def test_too_short_too_long_or_invalid_text_is_rejected(password, reason):
    assert get_reasons(password) == {reason}


@pytest.mark.parametrize(
    ("password", "reason"),
    [
        ("qwertyuiop12345", RejectionReason.COMMON),
        ("polniypizdec0211", RejectionReason.COMMON),
        ("PolniyPizdec0211", RejectionReason.COMMON),
        ("password20242024", RejectionReason.COMMON),
        ("Password!!!!!!!!!!", RejectionReason.COMMON),
        ("2024-password-2024", RejectionReason.COMMON),
        ("P@ssw0rd20242024", RejectionReason.COMMON),
        ("1!Monkey!19841984", RejectionReason.COMMON),
        ("letmein 2023 2024", RejectionReason.COMMON),
        ("password password", RejectionReason.COMMON),
        ("aaaaaaaaaaaaaaa", RejectionReason.REPETITION),
        ("               ", RejectionReason.REPETITION),
        ("\U0001f511" * 20, RejectionReason.REPETITION),
        ("x7Kqx7Kqx7Kqx7Kq", RejectionReason.REPETITION),
        ("x7Kqx7Kqx7Kqx7K", RejectionReason.REPETITION),
        ("hunter2 hunter2 hunter2", RejectionReason.REPETITION),
        ("elephant elephant", RejectionReason.REPETITION),
        ("12 wombat wombat 34", RejectionReason.REPETITION),
        ("2024!2024!2024!2024!", RejectionReason.REPETITION),
        ("Ab" * 64, RejectionReason.REPETITION),
        ("abcdefghijklmnop", RejectionReason.SEQUENCE),
        ("ZYXWVUTSRQPONMLK", RejectionReason.SEQUENCE),
        ("123456789012345", RejectionReason.SEQUENCE),
        ("9876543210987654", RejectionReason.SEQUENCE),
        ("1-2-3-4-5-6-7-8-9-10", RejectionReason.SEQUENCE),
        ("a b c d e f g h i j k", RejectionReason.SEQUENCE),
        ("qwertyuiopasdfghjkl", RejectionReason.SEQUENCE),
        ("poiuytrewqlkjhgfdsa", RejectionReason.SEQUENCE),
        ("qwertzuiopasdfghjkl", RejectionReason.SEQUENCE),
        ("azertyuiopqsdfghjklm", RejectionReason.SEQUENCE),
        ("1qaz2wsx3edc4rfv5tgb", RejectionReason.SEQUENCE),
        ("aaaabbbbccccdddd", RejectionReason.SEQUENCE),
        ("aaaaaaaaaaaaaaab", RejectionReason.SEQUENCE),
        ("!@#$%^&*()!@#$%^", RejectionReason.SEQUENCE),
        (
            "\u0430\u0431\u0432\u0433\u0434\u0435\u0436\u0437\u0438\u0439\u043a\u043b\u043c\u043d\u043e",
            RejectionReason.SEQUENCE,
        ),
        ("doorward-doorward!", RejectionReason.PERSONAL),
        ("Doorward2024!!!!", RejectionReason.PERSONAL),
        ("D00rw4rd.7391.82", RejectionReason.PERSONAL),
        ("acme-tools 1984 1985", RejectionReason.PERSONAL),
        ("AcmeTools-19841985", RejectionReason.PERSONAL),
        ("Acme Login 73918", RejectionReason.PERSONAL),
        ("ann.miller.73918", RejectionReason.PERSONAL),
        ("AnnMiller7391827", RejectionReason.PERSONAL),
        ("miller,ann,73918", RejectionReason.PERSONAL),
        ("annm84-annm84-73", RejectionReason.PERSONAL),
        ("M\u00fcller Ann-Katrin", RejectionReason.PERSONAL),
        ("Mu\u0308llerAnnKatrin", RejectionReason.PERSONAL),
        ("i am Ann Miller 73", RejectionReason.PERSONAL),
    ],
)
def test_guessable_passwords_are_rejected(password, reason):
    assert reason in get_reasons(password, mail_from="Acme Login <no-reply@acme-tools.example>")


def test_names_of_other_users_are_allowed():
    assert get_reasons("ann.miller.73918", about=("bob",)) == set()
    assert get_reasons("ann.miller.73918", about=("",)) == set()
    assert get_reasons("bo by bo at noon", about=("bo", "al@example.org", "Jo Al")) == set(), (
        "too short to be a name"
    )


def test_minimum_length_of_eight_relaxes_the_rules():
    assert get_reasons("kiwi&tea", least=8) == set()
    assert get_reasons("12345678", least=8) == {RejectionReason.COMMON, RejectionReason.SEQUENCE}
    assert get_reasons("baseball", least=8) == {RejectionReason.COMMON}
    assert get_reasons("doorward", least=8) == {RejectionReason.PERSONAL}
    assert get_reasons("kiwitea", least=8) == {RejectionReason.TOO_SHORT}


def test_generated_passwords_are_never_rejected_for_character_classes():
    """Only a password with a sequence or a name by chance is rejected, which is rare."""
    random = Random(7)
    for letters in (
        string.ascii_letters + string.digits,
        string.printable[:94],
        string.ascii_lowercase,
    ):
        made = ["".join(random.choice(letters) for _ in range(20)) for _ in range(300)]
        assert (
            sum(
                bool(
                    find_weaknesses(
                        one,
                        min_length=15,
                        names=extract_names(ABOUT),
                        common=load_common_passwords(),
                    )
                )
                for one in made
            )
            <= 1
        )


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=160), st.lists(st.text(max_size=40), max_size=4), st.integers(8, 64))
def test_any_input_is_accepted_unchanged_or_rejected_with_reasons(typed, about, least):
    problem = check_password(typed, about=about, least=least)
    if problem is None:
        assert len(normalize_password(typed)) >= least
        return
    assert 1 <= len(problem.members["reasons"]) == len(problem.errors["/password"])
    assert len(problem.members["suggestions"]) == 3


@pytest.mark.parametrize("least", [8, 15, 40, 64])
def test_suggestions_are_long_valid_and_always_new(least):
    about = (*ABOUT, "word able ment tion ness ing ate")
    found = [
        one
        for _ in range(20)
        for one in check_password("password", least=least, about=about).members["suggestions"]
    ]
    assert len(set(found)) == len(found) == 60
    for suggestion in found:
        assert least <= len(suggestion) <= 128
        assert len(suggestion.split(" ")) >= 5
        assert set(suggestion.split(" ")) <= set(load_passphrase_words())
        assert get_reasons(suggestion, least=least, about=about) == set()


def test_five_words_have_more_than_60_bits():
    assert len(set(load_passphrase_words())) == 7776 > 2 ** (60 / 5)
    assert all(
        word == fold_case(word) and re.fullmatch("[a-z-]+", word)
        for word in load_passphrase_words()
    )


def test_list_of_common_passwords_is_large_and_normalized():
    lines = list(load_common_passwords())
    assert len(lines) == len(set(lines)) == len(load_common_passwords())
    assert lines == sorted(lines, key=str.encode)
    assert sum(len(line) >= 8 for line in lines) >= 100_000
    assert sum(len(line) >= 15 for line in lines) >= 3000
    assert all(line.isprintable() and line == fold_case(line) and "@" not in line for line in lines)
    for line in lines[::500] + lines[-1:]:
        assert line in load_common_passwords()
        assert line + "\n" not in load_common_passwords()
        assert line[:-1] + "\0" not in load_common_passwords()


def test_unlisted_password_is_not_found():
    found = SortedLines(b"bb\ncc\nee\n")
    assert [
        word
        for word in ("", "a", "b", "bb", "bbb", "c", "cc", "d", "ee", "f", "\n", "bb\ncc", "\udc80")
        if word in found
    ] == ["bb", "cc", "ee"]
    assert "anything" not in SortedLines(b"")


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        pytest.param("cafe\u0301", "caf\u00e9", id="composed"),
        pytest.param("caf\u00e9", "caf\u00e9", id="composed already"),
        pytest.param("a\u00a0b", "a b", id="no-break space"),
        pytest.param("a\u3000b", "a b", id="ideographic space"),
        pytest.param("a\u2003b\u202fc", "a b c", id="em space and narrow no-break space"),
        pytest.param("\u1680", " ", id="ogham space"),
        pytest.param(" a ", " a ", id="nothing is trimmed"),
        pytest.param("PassWord", "PassWord", id="case stays"),
        pytest.param("\uff50", "\uff50", id="fullwidth stays"),
        pytest.param("\ufb01", "\ufb01", id="a ligature stays"),
        pytest.param("\u212a", "K", id="a singleton is composed (NFC), not folded"),
        pytest.param("\u00df", "\u00df", id="sharp s stays"),
        pytest.param("a\u200bb", "a\u200bb", id="zero width stays"),
    ],
)
def test_password_is_an_opaque_string(typed, kept):
    """RFC 8265 section 4.2.1."""
    assert normalize_password(typed) == kept


@pytest.mark.parametrize("locale", [*LANGUAGES, "de-AT", "fr"])
def test_every_reason_has_a_text_without_the_password(locale):
    assert set(TEXTS) == set(RejectionReason)
    for reason in RejectionReason:
        words = describe_reason(reason, locale, min_length=17)
        assert words
        assert "%" not in words
        assert not words.endswith(".")
    assert "17" in describe_reason(RejectionReason.TOO_SHORT, locale, min_length=17)
    for password in ("hunter2", "hunter2" * 20, "hunter2\0", "hunter2hunter2hunter2"):
        assert "hunter2" not in str(check_password(password, locale=locale).errors)


def test_impossible_password_has_a_reason_text():
    for password in ("", "hunter2" * 20, "hunter2\0"):
        with pytest.raises(InvalidPassword, match=r"^must") as refusal:
            normalize_password(password)
        assert "hunter2" not in str(refusal.value)


def test_context_words_are_extracted_from_names():
    assert extract_names(["Ann-Katrin M\u00fcller", "ann.b.lee@mail.example", "007", "al"]) == {
        "ann", "katrin", "m\u00fcller", "annkatrinm\u00fcller", "lee", "annblee", "007"
    }  # fmt: skip
    assert extract_names(["Mu\u0308ller"]) == {unicodedata.normalize("NFC", "mu\u0308ller")}
