"""The life of signing keys.

Announced, signing, retiring, revoked; and encryption under a new SECRET_KEY.
"""

from __future__ import annotations

from datetime import timedelta

import jwt
import pytest
from sqlalchemy import text

from app.server.cache_watcher import CacheWatcher
from app.signing_keys.revoke import revoke_signing_key
from app.signing_keys.rotate import rotate_due_signing_keys, rotate_signing_key
from tests.actors import SECRET
from tests.cli_runner import run_cli
from tests.live import run_subprocess

NEWER = "a newer secret of more than thirty-two bytes 0123456789"


def list_published_kids(service) -> list[str]:
    return [key["kid"] for key in service.actor().get("/.well-known/jwks.json").json["keys"]]


def get_signing_kid(actor) -> str:
    """Return the kid that signs a new token."""
    actor.login()
    return jwt.get_unverified_header(actor.access)["kid"]


def test_new_key_is_published_for_two_cache_lifetimes_before_it_signs(service):
    ann = service.actor("ann").sign_in()
    old = get_signing_kid(ann)
    token = ann.access
    with service.units.open_read_write() as work:
        new = rotate_signing_key(work).kid
    service.clock.push(seconds=6)
    CacheWatcher().watch(service.units)
    assert set(list_published_kids(service)) == {old, new}
    service.clock.push(seconds=2 * 300 - 20)
    CacheWatcher().watch(service.units)
    assert get_signing_kid(ann) == old
    service.clock.push(seconds=20)
    CacheWatcher().watch(service.units)
    assert get_signing_kid(ann) == new
    assert ann.whoami().status_code == 200
    assert set(list_published_kids(service)) == {old, new}
    del token
    service.clock.push(hours=2)
    CacheWatcher().watch(service.units)
    assert list_published_kids(service) == [new]


def test_token_of_the_old_key_stays_valid_after_a_rotation(make_service, sqlite_url):
    service = make_service(sqlite_url, jwks_max_age=timedelta(seconds=10))
    ann = service.actor("ann").sign_in()
    with service.units.open_read_write() as work:
        rotate_signing_key(work)
    service.clock.push(seconds=21)
    CacheWatcher().watch(service.units)
    assert ann.whoami().status_code == 200


def test_keys_rotate_automatically_when_due(service):
    ann = service.actor("ann").sign_in()
    old = get_signing_kid(ann)
    with service.units.open_read_write() as work:
        assert not rotate_due_signing_keys(work)
    service.clock.push(days=30)
    with service.units.open_read_write() as work:
        assert rotate_due_signing_keys(work)
    with service.units.open_read_write() as work:
        assert not rotate_due_signing_keys(work)  # one is already announced
    service.clock.push(seconds=601)
    CacheWatcher().watch(service.units)
    assert get_signing_kid(ann) != old


def test_revoking_a_key_ends_every_session_and_another_key_signs_at_once(service):
    ann = service.actor("ann").sign_in()
    kid = get_signing_kid(ann)
    with service.units.open_read_write() as work:
        assert revoke_signing_key(work, kid=kid)
    CacheWatcher().watch(service.units)
    assert ann.whoami().status_code == 401
    assert ann.refresh().status_code == 400
    assert kid not in list_published_kids(service)
    assert get_signing_kid(ann) != kid
    assert ann.whoami().status_code == 200


def test_revoking_the_signing_key_does_not_revive_an_older_one(service):
    ann = service.actor("ann").sign_in()
    first = get_signing_kid(ann)
    with service.units.open_read_write() as work:
        rotate_signing_key(work)
    service.clock.push(hours=3)
    CacheWatcher().watch(service.units)
    second = get_signing_kid(ann)
    assert second != first
    with service.units.open_read_write() as work:
        revoke_signing_key(work, kid=second)
    CacheWatcher().watch(service.units)
    assert get_signing_kid(ann) not in {first, second}
    assert first not in list_published_kids(service)


def test_key_changes_are_audited(service):
    ann = service.actor("ann").sign_in()
    with service.units.open_read_write() as work:
        revoke_signing_key(work, kid=get_signing_kid(ann))
    with service.open_database() as db:
        events = db.scalars(
            text("SELECT event FROM audit WHERE event LIKE 'signing_key%' ORDER BY id")
        ).all()
    assert events == ["signing_key.created", "signing_key.created", "signing_key.revoked"]


def test_revoking_a_key_twice_counts_once(service):
    ann = service.actor("ann").sign_in()
    kid = get_signing_kid(ann)
    with service.units.open_read_write() as work:
        assert revoke_signing_key(work, kid=kid)
    with service.units.open_read_write() as work:
        assert not revoke_signing_key(work, kid=kid)
        assert not revoke_signing_key(work, kid="nothing")
    assert service.scalar("SELECT global_epoch FROM issuer_state") == 2


@pytest.fixture
def run_command(database_url):
    """Run a command and return its output."""

    def run(*words: str, secret: str = SECRET, code: int = 0) -> str:
        result = run_cli(*words, DOORWARD_SECRET_KEY=secret, DOORWARD_DATABASE_URL=database_url)
        assert result.returncode == code, result.stdout + result.stderr
        return result.stdout + result.stderr

    return run


def test_keys_are_listed_rotated_and_revoked_by_command(service, run_command):
    assert "There are no keys yet" in run_command("keys", "list")
    ann = service.actor("ann").sign_in()
    kid = get_signing_kid(ann)
    assert f"{kid}  ES256  signing" in run_command("keys", "list")
    assert "It signs at+jwt from" in run_command("keys", "rotate")
    assert "is already announced" in run_command("keys", "rotate")
    assert "announced" in run_command("keys", "list")
    assert "Revoked" in run_command("keys", "revoke", kid, "--yes")
    assert "revoked" in run_command("keys", "list")
    run_command("keys", "revoke", kid, "--yes", code=1)
    CacheWatcher().watch(service.units)
    assert ann.whoami().status_code == 401


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("keys", "list"), "There are no keys yet. The first request creates one.\n"),
        (("secrets", "rewrap"), "Re-encrypted 0 signing keys and 0 messages.\n"),
    ],
)
def test_commands_work_in_their_own_process(sqlite_url, words, expected):
    result = run_subprocess(*words, env={"DOORWARD_DATABASE_URL": sqlite_url})
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith(expected)


def test_unreadable_revoked_key_does_not_block_the_others(service, run_command):
    ann = service.actor("ann").sign_in()
    kid = get_signing_kid(ann)
    run_command("keys", "revoke", kid, "--yes", secret=NEWER)
    newest = "the newest secret again of more than thirty-two bytes 0123456789"
    assert "1 signing keys" in run_command("secrets", "rewrap", secret=f"{newest},{NEWER}")


def test_rewrap_moves_everything_encrypted_to_the_new_secret_key(
    service, run_command, make_service, database_url
):
    ann = service.actor("ann").sign_in()
    output = run_command("secrets", "rewrap", secret=f"{NEWER},{SECRET}")
    assert "1 signing keys" in output
    assert "0 signing keys and 0 messages" in run_command(
        "secrets", "rewrap", secret=f"{NEWER},{SECRET}"
    )
    alone = make_service(database_url, secret_key=(NEWER,))
    assert alone.actor().whoami(ann.access).status_code == 200
    assert alone.mailbox(ann.email)
    both = make_service(database_url, secret_key=(NEWER, SECRET))
    assert both.actor().refresh(ann.tokens["refresh_token"]).status_code == 200
