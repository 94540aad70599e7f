"""Rules of API keys: valid secrets and due expiry warnings."""

from __future__ import annotations

from datetime import timedelta

import pytest

from app.adapters.usage_buffer import MAX_ENTRIES, UsageBuffer
from app.api_keys.create import CreatedApiKey
from app.api_keys.expiry_warnings import find_due_warning, get_initial_warned_days
from app.api_keys.models import ApiKey
from app.api_keys.rotate import RotatedApiKey
from app.credential_status.api_key_cache import ApiKeyEntry
from tests.actors import AdjustableClock

NOW = 1_000_000.0


def record(**changes) -> ApiKeyEntry:
    whole = {
        "version": 1,
        "account_id": "acc",
        "digest": "new",
        "old_digest": None,
        "old_until": None,
        "scopes": (),
        "expires": None,
    }
    return ApiKeyEntry(**{**whole, **changes})


@pytest.mark.parametrize(
    ("changes", "secret", "fits"),
    [
        ({}, "new", True),
        ({}, "old", False),
        ({}, "", False),
        ({"old_digest": "old", "old_until": NOW + 1}, "old", True),
        ({"old_digest": "old", "old_until": NOW}, "old", False),
        ({"old_digest": "old", "old_until": NOW - 1}, "new", True),
        ({"old_digest": "old"}, "old", False),
        ({"old_until": NOW + 1}, "", False),
    ],
)
def test_current_and_previous_secret_match_during_the_overlap(changes, secret, fits):
    assert record(**changes).accepts_digest(secret, NOW) is fits


@pytest.mark.parametrize(
    ("expires", "lives"), [(None, True), (NOW + 0.001, True), (NOW, False), (NOW - 1, False)]
)
def test_key_is_live_until_it_expires(expires, lives):
    assert record(expires=expires).is_live(NOW) is lives


@pytest.mark.parametrize(
    ("left", "days"),
    [
        (timedelta(days=90), None),
        (timedelta(days=14, seconds=1), None),
        (timedelta(days=14), 14),
        (timedelta(days=3, seconds=1), 14),
        (timedelta(days=3), 3),
        (timedelta(days=1, seconds=1), 3),
        (timedelta(days=1), 1),
        (timedelta(), 1),
    ],
)
def test_due_warning_is_the_one_of_the_nearest_day(left, days):
    assert find_due_warning(left) == days
    assert get_initial_warned_days(left) == days


def test_key_without_expiry_needs_no_warning():
    assert get_initial_warned_days(None) is None


def test_a_secret_is_in_no_repr():
    now = AdjustableClock().now()
    assert "dwk_secret" not in repr(CreatedApiKey("key_x", "dwk_secret", "name", (), now, None))
    assert "dwk_secret" not in repr(
        RotatedApiKey("key_x", "dwk_secret", "name", (), now, None, now)
    )


def test_key_is_recognized_by_its_prefix():
    assert ApiKey(id="key_0123456789abcdefghijkl").prefix == "dwk_01234567…"


def test_buffer_keeps_the_latest_time():
    latest, now = UsageBuffer(), AdjustableClock().now()
    for seconds in (1, 3, 2):
        latest.record("name", now + timedelta(seconds=seconds))
    assert latest.drain() == {"name": now + timedelta(seconds=3)}
    assert latest.drain() == {}


def test_buffer_is_bounded():
    latest, now = UsageBuffer(), AdjustableClock().now()
    for number in range(MAX_ENTRIES + 10):
        latest.record(str(number), now)
    latest.record("0", now + timedelta(seconds=1))
    taken = latest.drain()
    assert len(taken) == MAX_ENTRIES
    assert taken["0"] == now + timedelta(seconds=1)
