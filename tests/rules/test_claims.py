"""The claims of an access token: all are required, current and exact, and have the right type."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from app.verification.session_tokens import has_expected_issuer, is_well_formed, is_within_validity
from tests.actors import build_settings

NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
SECONDS = int(NOW.timestamp())
GOOD = {
    "iss": "http://127.0.0.1:8080",
    "sub": "acc_" + "a" * 22,
    "aud": "http://127.0.0.1:8080",
    "exp": SECONDS + 300,
    "iat": SECONDS,
    "jti": "jti_" + "b" * 22,
    "client_id": "doorward",
    "sid": "ses_" + "c" * 22,
    "ep": 1,
    "rv": 0,
    "scope": "",
    "roles": [],
    "auth_time": SECONDS,
}


def test_valid_claims_pass():
    assert is_well_formed(GOOD)
    assert is_within_validity(GOOD, NOW)
    assert has_expected_issuer(GOOD, build_settings("sqlite://"))


@pytest.mark.parametrize("name", GOOD)
@pytest.mark.parametrize("value", [..., None, [], {}, True, 1.5, "1", -1, 10**30])
def test_missing_or_mistyped_claim_is_refused(name, value):
    claims = {**GOOD, name: value}
    if value is ...:
        del claims[name]
    free_text = isinstance(value, str) and name in {"iss", "aud", "jti", "client_id", "scope"}
    if free_text or (name == "auth_time" and value is ...) or (name == "roles" and value == []):
        assert is_well_formed(claims)
    else:
        assert not is_well_formed(claims)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("sub", "ses_" + "a" * 22),
        ("sub", "acc_" + "a" * 21),
        ("sub", "acc_" + "a" * 22 + "\n"),
        ("sid", "acc_" + "c" * 22),
        ("sid", "ses_" + "c" * 22 + "' OR 1=1"),
        ("sid", "ses_" + "é" * 22),
        ("nbf", "0"),
        ("nbf", None),
        ("nbf", 0.5),
    ],
)
def test_ids_and_times_have_one_format(name, value):
    assert not is_well_formed({**GOOD, name: value})


@pytest.mark.parametrize(
    ("change", "in_force"),
    [
        ({"exp": SECONDS - 29}, True),
        ({"exp": SECONDS - 30}, False),
        ({"exp": SECONDS - 31}, False),
        ({"exp": 0}, False),
        ({"iat": SECONDS + 30}, True),
        ({"iat": SECONDS + 31}, False),
        ({"nbf": SECONDS + 30}, True),
        ({"nbf": SECONDS + 31}, False),
    ],
)
def test_clocks_may_differ_by_30_seconds(change, in_force):
    assert is_within_validity({**GOOD, **change}, NOW) is in_force


def test_token_expires():
    assert is_within_validity(GOOD, NOW + timedelta(seconds=329))
    assert not is_within_validity(GOOD, NOW + timedelta(seconds=330))


@pytest.mark.parametrize(
    "change",
    [
        {"iss": "http://127.0.0.1:8080/"},
        {"iss": "HTTP://127.0.0.1:8080"},
        {"iss": ""},
        {"aud": "http://127.0.0.1:8080/v1"},
        {"aud": ["http://127.0.0.1:8080"]},
        {"aud": "*"},
    ],
)
def test_issuer_and_audience_are_compared_exactly(change):
    assert not has_expected_issuer({**GOOD, **change}, build_settings("sqlite://"))
