"""Rows are locked in one order everywhere, so that the second of two transactions waits and sees the result of the first."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from sqlalchemy import create_engine, text

from tests.oauth_clients import ROLES, create_key, create_key_owner

MAX_WAIT_SECONDS = 0.8  # seconds; the service waits a second for a lock


@pytest.fixture
def database(empty_postgres_url):
    """A direct connection to the database."""
    engine = create_engine(empty_postgres_url)
    yield engine
    engine.dispose()


@contextmanager
def lock_rows(database, sql: str, **values: str):
    """Lock these rows until the end.

    Yields a function that tests whether others are free while the service waits.
    """
    with database.connect() as holder, database.connect() as other:
        holder.execute(text(sql + " FOR UPDATE"), values)

        def count_unlocked(wanted: str, **names: str) -> int:
            """Count the unlocked rows once a transaction waits."""
            end = time.monotonic() + MAX_WAIT_SECONDS
            while (
                not other.execute(text("SELECT count(*) FROM pg_locks WHERE NOT granted")).scalar()
                and time.monotonic() < end
            ):
                time.sleep(0.005)
            found = len(other.execute(text(wanted + " FOR UPDATE SKIP LOCKED"), names).all())
            other.rollback()
            return found

        yield count_unlocked


def test_revoking_other_sessions_locks_the_account_first(
    make_service, database, empty_postgres_url
):
    """A password change locks the account, then its own session, then the others."""
    ann = make_service(empty_postgres_url).actor("ann").sign_in()
    for _ in range(2):
        ann.from_another_address().login()
    with (
        ThreadPoolExecutor(1) as pool,
        lock_rows(database, "SELECT id FROM accounts") as count_unlocked,
    ):
        answer = pool.submit(ann.call, "DELETE", "/v1/sessions", token=ann.access)
        assert count_unlocked("SELECT id FROM sessions") == 3
        assert not answer.done()
    assert answer.result().status_code == 204


def test_keys_are_revoked_in_the_order_their_uses_are_stored(
    make_service, database, empty_postgres_url
):
    ann = create_key_owner(make_service(empty_postgres_url, roles=ROLES))
    keys = sorted(create_key(ann, name=f"robot {number}")["id"] for number in range(6))
    with (
        ThreadPoolExecutor(1) as pool,
        lock_rows(
            database, "SELECT id FROM api_keys WHERE id = :first", first=keys[0]
        ) as count_unlocked,
    ):
        answer = pool.submit(ann.call, "DELETE", "/v1/me", token=ann.access)
        assert count_unlocked("SELECT id FROM api_keys WHERE id <> :first", first=keys[0]) == 5
    assert answer.result().status_code == 204


@pytest.mark.parametrize("act", ["make", "rotate"])
def test_no_key_secret_is_issued_after_a_password_change(
    make_service, database, empty_postgres_url, act
):
    """Keys survive a password change, so a session that was just revoked must not get one."""
    ann = create_key_owner(make_service(empty_postgres_url, roles=ROLES))
    key = create_key(ann)["id"]
    path, body = (
        ("/v1/api-keys", {"name": "x", "scopes": []})
        if act == "make"
        else (f"/v1/api-keys/{key}/rotate", {})
    )
    with ThreadPoolExecutor(1) as pool, database.connect() as holder, database.connect() as other:
        holder.execute(text("UPDATE accounts SET epoch = epoch + 1"))
        answer = pool.submit(ann.post, path, body, token=ann.access)
        end = time.monotonic() + MAX_WAIT_SECONDS
        while (
            not other.execute(text("SELECT count(*) FROM pg_locks WHERE NOT granted")).scalar()
            and time.monotonic() < end
        ):
            time.sleep(0.005)
        holder.commit()
        assert answer.result().status_code == 401
