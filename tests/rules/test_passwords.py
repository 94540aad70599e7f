"""Passwords: any text that is long enough, in one form however it was typed."""

from __future__ import annotations

import pytest

from app.accounts.password_rules import NotAPassword, new_password, normalised

SHORTEST = 15


@pytest.mark.parametrize(
    "password",
    [
        pytest.param("a" * SHORTEST, id="the least"),
        pytest.param("a" * 64, id="64"),
        pytest.param("a" * 128, id="the most"),
        pytest.param("\U0001f511" * SHORTEST, id="the least, outside the basic plane"),
        pytest.param("\U0001f511" * 128, id="the most, outside the basic plane"),
        pytest.param("\u0958" * 64, id="64 that composing makes 128"),
        pytest.param("\ufb2c" * 128, id="the most, which composing makes longer"),
        pytest.param(" " * SHORTEST, id="spaces"),
        pytest.param("  leading and trailing  ", id="spaces around"),
        pytest.param("no upper case and no digit", id="no composition rules"),
        pytest.param("\u043f\u0430\u0440\u043e\u043b\u044c\u043f\u0430\u0440\u043e\u043b\u044c\u043f\u0430\u0440", id="another script"),
        pytest.param("\U0001f468\u200d\U0001f469\u200d\U0001f467 a family of three", id="joiners"),
    ],
)
def test_any_text_that_is_long_enough_is_a_password(password):
    assert new_password(password, least=SHORTEST)


@pytest.mark.parametrize(
    "password",
    [
        pytest.param("", id="empty"),
        pytest.param("a" * (SHORTEST - 1), id="one too few"),
        pytest.param("\U0001f511" * (SHORTEST - 1), id="few characters of many bytes"),
        pytest.param("e\u0301" * (SHORTEST - 1), id="few characters of two code points each"),
        pytest.param("a" * 129, id="one too many"),
        pytest.param("e\u0301" * 100, id="too many before composing"),
        pytest.param("\U0001f511" * 257, id="more than 1024 bytes"),
        pytest.param("a" * 100_000, id="far too many"),
        pytest.param("correct horse\0battery staple", id="NUL"),
        pytest.param("correct horse\nbattery staple", id="a line break"),
        pytest.param("correct horse\tbattery staple", id="a tab"),
        pytest.param("correct horse\x7fbattery staple", id="DEL"),
        pytest.param("correct horse \ud800 battery", id="a surrogate"),
    ],
)
def test_what_is_too_short_too_long_or_no_text_is_no_password(password):
    with pytest.raises(NotAPassword):
        new_password(password, least=SHORTEST)


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
def test_a_password_is_an_opaque_string(typed, kept):
    """RFC 8265 section 4.2.1."""
    assert normalised(typed) == kept


def test_the_least_length_is_the_one_that_is_set():
    assert new_password("a" * 8, least=8) == "a" * 8
    with pytest.raises(NotAPassword, match="at least 20"):
        new_password("a" * 19, least=20)


def test_the_reason_is_told_in_words_and_never_quotes_the_password():
    for password in ("hunter2", "hunter2" * 20, "hunter2\0"):
        with pytest.raises(NotAPassword) as refusal:
            new_password(password, least=SHORTEST)
        assert "hunter2" not in str(refusal.value)
        assert str(refusal.value).startswith("must")
