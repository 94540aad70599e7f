"""Scopes: the intersection of two limits is within both."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.authorization.rights import has_scope, intersect_limits, narrow_scopes

PARTS = st.lists(st.sampled_from("ab"), min_size=1, max_size=3).map(":".join)
SCOPES = PARTS | PARTS.map(lambda scope: scope + ":*")
LIMITS = st.none() | st.lists(SCOPES, max_size=4)


def is_held(scope: str, limit: list[str] | None) -> bool:
    return limit is None or has_scope(scope, limit)


@given(LIMITS, LIMITS, SCOPES)
def test_intersection_is_held_by_both_limits(some, others, scope):
    both = intersect_limits(some, others)
    assert is_held(scope, None if both is None else both.split()) == (
        is_held(scope, some) and is_held(scope, others)
    )


@given(LIMITS, LIMITS)
def test_intersection_is_commutative(some, others):
    assert intersect_limits(some, others) == intersect_limits(others, some)


@given(st.lists(SCOPES), st.lists(SCOPES), SCOPES)
def test_narrowing_grants_nothing_beyond_request_and_rights(requested, has, scope):
    given_now = narrow_scopes(requested, has)
    assert set(given_now) <= set(requested)
    assert not has_scope(scope, given_now) or (
        has_scope(scope, requested) and has_scope(scope, has)
    )


@pytest.mark.parametrize(
    ("some", "others", "both"),
    [
        (None, None, None),
        (None, ["a"], "a"),
        (["a"], [], ""),
        ([], None, ""),
        (["list:*"], ["list:7"], "list:7"),
        (["list:7:*"], ["list:*"], "list:7:*"),
        (["list"], ["list:*"], ""),
        (["lists:7"], ["list:*"], ""),
        (["a", "b", "a"], ["b", "a"], "a b"),
    ],
)
def test_intersection_of_two_limits(some, others, both):
    assert intersect_limits(some, others) == both
