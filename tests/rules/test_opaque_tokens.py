"""The format of every opaque token."""

from __future__ import annotations

import hashlib
import re

import pytest

from app.opaque_tokens import (
    CODE_ALPHABET,
    compute_digest,
    generate_code,
    generate_id,
    generate_token,
    has_digest,
    is_id,
    normalize_code,
    parse_row_id,
)


def test_token_names_its_row_and_is_stored_as_a_digest():
    row_id = generate_id("cnf")
    minted = generate_token("dwc", row_id)
    assert parse_row_id("dwc", "cnf", minted.token) == row_id
    assert minted.digest == hashlib.sha256(minted.token.encode()).hexdigest()
    assert has_digest(minted.token, minted.digest)


def test_token_has_256_random_bits():
    row_id = generate_id("cnf")
    secrets = {generate_token("dwc", row_id).token.split("_")[2][:-6] for _ in range(500)}
    assert len(secrets) == 500
    assert all(re.fullmatch("[0-9A-Za-z]{43}", secret) for secret in secrets)  # 62 ** 43 > 2 ** 256
    assert {letter for secret in secrets for letter in secret} > set("09AZaz")


def test_ids_have_128_random_bits():
    ids = {generate_id("acc") for _ in range(500)}
    assert len(ids) == 500
    assert all(re.fullmatch("acc_[0-9A-Za-z]{22}", text) for text in ids)  # 62 ** 22 > 2 ** 128


def _build_altered_tokens(token: str) -> dict[str, str]:
    head, secret = token.rsplit("_", 1)
    return {
        "empty": "",
        "junk": "junk",
        "underscores": "___",
        "another prefix": token.replace("dwc_", "dwk_", 1),
        "prefix in capitals": "DWC" + token[3:],
        "no checksum": token[:-6],
        "a checksum of zeros": token[:-6] + "000000",
        "one letter of the secret changed": f"{head}_{'b' if secret[0] != 'b' else 'c'}{secret[1:]}",
        "one letter of the id changed": token.replace(head[4], "b" if head[4] != "b" else "c", 1),
        "one letter more": token + "0",
        "a line break after": token + "\n",
        "a space before": " " + token,
        "NUL": token[:-1] + "\0",
        "a surrogate": token[:-1] + "\ud800",
        "a letter of another script": token[:-1] + "\u0430",
        "padding": token + "==",
    }


@pytest.mark.parametrize(
    "fault", list(_build_altered_tokens(generate_token("dwc", generate_id("cnf")).token))
)
def test_incomplete_token_matches_no_row(fault):
    altered = _build_altered_tokens(generate_token("dwc", generate_id("cnf")).token)[fault]
    assert parse_row_id("dwc", "cnf", altered) is None


def test_token_of_one_kind_is_refused_as_another():
    assert parse_row_id("dwr", "cnf", generate_token("dwc", generate_id("cnf")).token) is None


def test_wrong_secret_for_the_row_does_not_match():
    row_id = generate_id("cnf")
    assert not has_digest(generate_token("dwc", row_id).token, generate_token("dwc", row_id).digest)


def test_new_secret_is_hidden_in_its_repr():
    minted = generate_token("dwc", generate_id("cnf"))
    assert minted.token not in repr(minted)
    assert minted.token not in f"{minted}"
    assert minted.digest not in repr(minted)


def test_code_is_typable_and_has_no_vowels():
    codes = [generate_code() for _ in range(500)]
    assert all(
        re.fullmatch(f"[{CODE_ALPHABET}]{{4}}-[{CODE_ALPHABET}]{{4}}", code) for code in codes
    )
    assert len(set(codes)) == 500
    assert set("".join(codes)) == {*CODE_ALPHABET, "-"}
    assert not set(CODE_ALPHABET) & set("AEIOUY0123456789")


@pytest.mark.parametrize(
    "typed",
    [
        "BCDF-GHJK",
        "bcdf-ghjk",
        "bcdfghjk",
        " b c d f g h j k ",
        "BCDF.GHJK",
        "B-C-D-F-G-H-J-K",
        "bcdf\tghjk\n",
    ],
)
def test_code_is_parsed_leniently(typed):
    assert normalize_code(typed) == "BCDFGHJK"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "acc_",
        "acc_short",
        "ses_" + "0" * 22,
        "acc_" + "0" * 23,
        "acc_" + "0" * 22 + "\n",
        "acc_" + "-" * 22,
    ],
)
def test_invalid_id_is_detected_without_a_database_read(text):
    assert not is_id("acc", text)
    assert is_id("acc", "acc_" + "0" * 22)


def test_digest_reveals_nothing_of_the_token():
    token = generate_token("dwc", generate_id("cnf")).token
    assert re.fullmatch("[0-9a-f]{64}", compute_digest(token))
    assert compute_digest(token) != compute_digest(token[:-1])
