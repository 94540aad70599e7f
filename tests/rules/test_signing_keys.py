"""The state of a signing key is a function of timestamps."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from app.signing_keys.models import (
    RETENTION,
    SigningKey,
    SigningKeyState,
    find_signer,
    get_key_state,
)

START = datetime(2026, 1, 1, tzinfo=UTC)


def build_key(generation: int, minutes: float, revoked: float | None = None) -> SigningKey:
    revoked_at = START + timedelta(minutes=revoked) if revoked is not None else None
    return SigningKey(
        kid=f"key{generation}",
        generation=generation,
        signs_from=START + timedelta(minutes=minutes),
        revoked_at=revoked_at,
    )


def test_key_is_announced_signs_and_retires():
    first, second = build_key(1, 0), build_key(2, 100)
    keys = [first, second]

    def get_states(minutes: float):
        return get_key_state(first, keys, START + timedelta(minutes=minutes)), get_key_state(
            second, keys, START + timedelta(minutes=minutes)
        )

    kept = RETENTION.total_seconds() / 60
    assert get_states(0) == (SigningKeyState.SIGNING, SigningKeyState.ANNOUNCED)
    assert get_states(99.9) == (SigningKeyState.SIGNING, SigningKeyState.ANNOUNCED)
    assert get_states(100) == (SigningKeyState.RETIRING, SigningKeyState.SIGNING)
    assert get_states(100 + kept - 0.1) == (SigningKeyState.RETIRING, SigningKeyState.SIGNING)
    assert get_states(100 + kept) == (SigningKeyState.RETIRED, SigningKeyState.SIGNING)


def test_exactly_one_key_signs_at_any_time():
    keys = [build_key(1, 0), build_key(2, 10), build_key(3, 20)]
    for minute in range(30):
        now = START + timedelta(minutes=minute)
        assert [
            one.kid for one in keys if get_key_state(one, keys, now) is SigningKeyState.SIGNING
        ] == [find_signer(keys, now).kid]


def test_key_revoked_before_signing_leaves_the_older_one_signing():
    keys = [build_key(1, 0), build_key(2, 10, revoked=5)]
    assert find_signer(keys, START + timedelta(minutes=50)).kid == "key1"
    assert get_key_state(keys[1], keys, START + timedelta(minutes=50)) is SigningKeyState.REVOKED


def test_a_revoked_key_signs_nothing():
    keys = [build_key(1, 0, revoked=1)]
    assert find_signer(keys, START + timedelta(minutes=2)) is None
