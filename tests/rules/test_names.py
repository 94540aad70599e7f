"""Usernames and email addresses: what is rejected, and which spellings are the same name."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.accounts.names import (
    FORBIDDEN_CATEGORIES,
    IGNORABLE_CHARACTERS,
    InvalidName,
    canonicalize_email,
    fold_name,
    parse_email,
    parse_username,
)

# Default_Ignorable_Code_Point of Unicode's DerivedCoreProperties, written out so that the test does
# not depend on the code.
DEFAULT_IGNORABLE = [
    0x00AD,
    0x034F,
    0x061C,
    *range(0x115F, 0x1161),
    *range(0x17B4, 0x17B6),
    *range(0x180B, 0x1810),
    *range(0x200B, 0x2010),
    *range(0x202A, 0x202F),
    *range(0x2060, 0x2070),
    0x3164,
    *range(0xFE00, 0xFE10),
    0xFEFF,
    0xFFA0,
    *range(0xFFF0, 0xFFF9),
    *range(0x1BCA0, 0x1BCA4),
    *range(0x1D173, 0x1D17B),
    *range(0xE0000, 0xE1000),
]
BIDI_CONTROLS = [0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)]
PLANES = [
    *range(0x30000),
    *range(0xE0000, 0xE1000),
    *range(0xFFFF0, 0x100010),
    *range(0x10FFF0, 0x110000),
]


@pytest.mark.parametrize(
    ("wanted", "kept"),
    [
        ("ann", "ann"),
        ("Ann", "ann"),
        ("0ne", "0ne"),
        ("a.b-c_d", "a.b-c_d"),
        ("a..", "a.."),
        ("a" * 32, "a" * 32),
        ("administrators", "administrators"),
    ],
)
def test_plain_username_is_lowercased(wanted, kept):
    assert parse_username(wanted) == kept


@pytest.mark.parametrize(
    "wanted",
    [
        pytest.param("", id="empty"),
        pytest.param("an", id="too short"),
        pytest.param("a" * 33, id="too long"),
        pytest.param("a" * 257, id="longer than is looked at"),
        pytest.param(".ann", id="begins with a dot"),
        pytest.param("-ann", id="begins with a dash"),
        pytest.param("_ann", id="begins with an underscore"),
        pytest.param("ann@home", id="an at sign"),
        pytest.param("ann\uff20home", id="a fullwidth at sign"),
        pytest.param("ann\ufe6bhome", id="a small at sign"),
        pytest.param("ann lee", id="a space"),
        pytest.param(" ann", id="a space before"),
        pytest.param("ann ", id="a space after"),
        pytest.param("ann\u00a0", id="a no-break space after"),
        pytest.param("ann\n", id="a line break after"),
        pytest.param("ann\r\nBcc: x", id="a header"),
        pytest.param("a\0nn", id="NUL"),
        pytest.param("a\x7fnn", id="DEL"),
        pytest.param("a\x85nn", id="a C1 control"),
        pytest.param("ann\ud800", id="a surrogate"),
        pytest.param("\uff41nn", id="fullwidth"),
        pytest.param("\ufb01nn", id="a ligature"),
        pytest.param("an\u200bn", id="zero width space"),
        pytest.param("an\u200dn", id="zero width joiner"),
        pytest.param("an\ufeffn", id="byte order mark"),
        pytest.param("an\u00adn", id="soft hyphen"),
        pytest.param("\u202enna", id="right-to-left override"),
        pytest.param("an\u2066n", id="an isolate"),
        pytest.param("an\u3164n", id="a Hangul filler"),
        pytest.param("an\uffa0n", id="a halfwidth Hangul filler"),
        pytest.param("an\ufe0fn", id="a variation selector"),
        pytest.param("an\U000e0061n", id="a tag"),
        pytest.param("an\U000e0100n", id="a variation selector of plane 14"),
        pytest.param("\u212aelvin", id="Kelvin sign"),
        pytest.param("\u0130da", id="dotted capital I"),
        pytest.param("\u0131da", id="dotless i"),
        pytest.param("stra\u00dfe", id="sharp s"),
        pytest.param("\u1e9eann", id="capital sharp s"),
        pytest.param("\u017fam", id="long s"),
        pytest.param("ann\u00e9", id="an accent"),
        pytest.param("anne\u0301", id="a combining accent"),
        pytest.param("\u0430nn", id="a Cyrillic a"),
        pytest.param("ann\u0661", id="an Arabic digit"),
        pytest.param("ann\u00b2", id="a superscript"),
        pytest.param("ann\ue000", id="private use"),
        pytest.param("ann\u0378", id="unassigned"),
        pytest.param("ann\uffff", id="not a character"),
        pytest.param("\ufdfa", id="one character that is eighteen"),
        pytest.param("a/../b", id="a path"),
        pytest.param("ann%00", id="percent"),
        pytest.param("admin", id="reserved"),
        pytest.param("Root", id="reserved in capitals"),
        pytest.param("null", id="reserved for programs"),
        pytest.param("SUPPORT", id="reserved for people"),
    ],
)
def test_confusable_username_is_refused(wanted):
    with pytest.raises(InvalidName):
        parse_username(wanted)


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("\uff21\uff2e\uff2e", "ann"),
        ("\ufb01nn", "finn"),
        ("\u212aelvin", "kelvin"),
        ("stra\u00dfe", "strasse"),
        ("\u017fam", "sam"),
        ("\u24d0nn", "ann"),
        ("\U0001d41ann", "ann"),
        ("x\u00b2y", "x2y"),
        ("\u1e9eann", "ssann"),
    ],
)
def test_login_identifier_is_folded_to_the_canonical_name(typed, expected):
    assert fold_name(typed) == expected
    with pytest.raises(InvalidName):
        parse_username(typed)


def test_invisible_character_is_refused():
    for code in [*DEFAULT_IGNORABLE, *BIDI_CONTROLS]:
        for text in (
            chr(code),
            f"an{chr(code)}n",
            f"ann{chr(code)}@example.org",
            f"ann@exam{chr(code)}ple.org",
        ):
            with pytest.raises(InvalidName):
                fold_name(text)


def test_folding_is_idempotent_and_yields_no_refused_name():
    for code in PLANES:
        try:
            text = fold_name(chr(code))
        except InvalidName:
            continue
        assert fold_name(text) == text, hex(code)
        assert not any(
            unicodedata.category(character) in FORBIDDEN_CATEGORIES
            or character in IGNORABLE_CHARACTERS
            for character in text
        )


def test_character_of_another_script_never_makes_a_username():
    for code in range(0x80, 0x20000):
        with pytest.raises(InvalidName):
            parse_username(f"ann{chr(code)}")


@given(st.text(max_size=40))
def test_registered_name_is_found_as_typed(text):
    try:
        name = parse_username(text)
    except InvalidName:
        return
    assert fold_name(text) == name == fold_name(name)


@given(
    st.text(st.sampled_from("aA.@+-_'\u00fc\u0131\u3002\uff0e\uff61xn1 \"\u00df"), max_size=24).map(
        "a{}".format
    )
)
def test_canonical_email_is_idempotent(text):
    try:
        sent_to, canonical = parse_email(text)
    except InvalidName:
        return
    assert (
        canonical
        == sent_to.lower()
        == canonicalize_email(text)
        == canonicalize_email(canonical)
        == parse_email(canonical)[1]
    )


def test_length_is_checked_before_normalization():
    """Composing is quadratic: 100,000 marks would take seconds."""
    for text in ("e" + "\u0301" * 100_000, "\ufdfa" * 100_000, "a" * 10_000_000):
        with pytest.raises(InvalidName):
            fold_name(text)


@pytest.mark.parametrize(
    ("typed", "sent_to", "canonical"),
    [
        ("ann@example.org", "ann@example.org", "ann@example.org"),
        ("Ann.Lee@Example.ORG", "Ann.Lee@example.org", "ann.lee@example.org"),
        ("ann+news@example.org", "ann+news@example.org", "ann+news@example.org"),
        ("a.n.n@gmail.com", "a.n.n@gmail.com", "a.n.n@gmail.com"),
        ("o'neil@example.org", "o'neil@example.org", "o'neil@example.org"),
        ("ann@b\u00fccher.example", "ann@xn--bcher-kva.example", "ann@xn--bcher-kva.example"),
        ("ann@B\u00dcCHER.example", "ann@xn--bcher-kva.example", "ann@xn--bcher-kva.example"),
        ("ann@XN--BCHER-KVA.example", "ann@xn--bcher-kva.example", "ann@xn--bcher-kva.example"),
        ("a" * 64 + "@example.org", "a" * 64 + "@example.org", "a" * 64 + "@example.org"),
    ],
)
def test_email_is_kept_as_typed_and_compared_without_case(typed, sent_to, canonical):
    assert parse_email(typed) == (sent_to, canonical)


LONG_DOMAIN = ".".join(["b" * 63] * 3)  # 191 characters


def test_email_has_at_most_254_bytes():
    assert parse_email("a" * 58 + f"@{LONG_DOMAIN}.de")[1] == "a" * 58 + f"@{LONG_DOMAIN}.de"
    with pytest.raises(InvalidName):
        parse_email("a" * 61 + f"@{LONG_DOMAIN}.de")


@pytest.mark.parametrize(
    "typed",
    [
        pytest.param("", id="empty"),
        pytest.param("ann", id="no at sign"),
        pytest.param("@example.org", id="nobody"),
        pytest.param("ann@", id="nowhere"),
        pytest.param("ann@b@example.org", id="two at signs"),
        pytest.param("ann\uff20example.org", id="a fullwidth at sign"),
        pytest.param("a" * 65 + "@example.org", id="a local part too long"),
        pytest.param('"ann"@example.org', id="a quoted local part"),
        pytest.param('"ann lee"@example.org', id="a quoted space"),
        pytest.param("ann lee@example.org", id="a space"),
        pytest.param(" ann@example.org", id="a space before"),
        pytest.param("ann@example.org ", id="a space after"),
        pytest.param("Ann <ann@example.org>", id="a display name"),
        pytest.param("ann(home)@example.org", id="a comment"),
        pytest.param("ann@example.org\r\nBcc: bob@example.org", id="a header"),
        pytest.param("ann@example.org\n", id="a line break after"),
        pytest.param("ann@example.org\0", id="NUL"),
        pytest.param("ann@example.org,bob@example.org", id="two addresses"),
        pytest.param(".ann@example.org", id="a dot first"),
        pytest.param("ann.@example.org", id="a dot last"),
        pytest.param("a..b@example.org", id="two dots"),
        pytest.param("ann@example..org", id="two dots in the domain"),
        pytest.param("ann@example.org.", id="a dot at the end"),
        pytest.param("ann@localhost", id="no dot in the domain"),
        pytest.param("ann@[127.0.0.1]", id="a literal"),
        pytest.param("ann@[IPv6:::1]", id="an IPv6 literal"),
        pytest.param("ann@127.0.0.1", id="a number that is no domain"),
        pytest.param("ann@ex_ample.org", id="an underscore in the domain"),
        pytest.param("ann@-example.org", id="a dash first"),
        pytest.param("ann@xn--a.org", id="broken punycode"),
        pytest.param("ann@\u24d4xample.org", id="a circled letter"),
        pytest.param("ann@\uff45xample.org", id="a fullwidth letter"),
        pytest.param("ann@example\u3002org", id="an ideographic full stop"),
        pytest.param("ann@example\uff0eorg", id="a fullwidth full stop"),
        pytest.param("ann@example\uff61org", id="a halfwidth full stop"),
        pytest.param("ann@stra\u00dfe.example", id="sharp s"),
        pytest.param("ann@bu\u0308cher.example", id="a combining mark"),
        pytest.param("ann@exa\u200bmple.org", id="zero width space"),
        pytest.param("\u00e4nn@example.org", id="a local part beyond ASCII"),
        pytest.param("\u212aelvin@example.org", id="Kelvin sign"),
        pytest.param("\u202eann@example.org", id="right-to-left override"),
        pytest.param("ann@example.org\ud800", id="a surrogate"),
    ],
)
def test_invalid_or_confusable_email_is_refused(typed):
    with pytest.raises(InvalidName):
        parse_email(typed)


@pytest.mark.parametrize(
    ("typed", "canonical"),
    [
        ("ANN@EXAMPLE.ORG", "ann@example.org"),
        ("\uff41nn@example.org", "ann@example.org"),
        ("\u212aelvin@example.org", "kelvin@example.org"),
        ("ann\uff20example.org", "ann@example.org"),
        ("ann@bu\u0308cher.example", "ann@xn--bcher-kva.example"),
        ("ann@example\u3002org", "ann@example.org"),
    ],
)
def test_email_typed_at_login_is_folded(typed, canonical):
    assert canonicalize_email(typed) == canonical
