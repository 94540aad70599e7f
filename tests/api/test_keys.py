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


def published(service) -> list[str]:
    return [key["kid"] for key in service.actor().get("/.well-known/jwks.json").json["keys"]]


def signing(actor) -> str:
    """Return the kid that signs a new token."""
    actor.login()
    return jwt.get_unverified_header(actor.access)["kid"]


def test_new_key_is_published_for_two_cache_lifetimes_before_it_signs(service):
    ann = service.actor("ann").sign_in()
    old = signing(ann)
    token = ann.access
    with service.units.open_read_write() as work:
        new = rotate_signing_key(work).kid
    service.clock.push(seconds=6)
    CacheWatcher().watch(service.units)
    assert set(published(service)) == {old, new}
    service.clock.push(seconds=2 * 300 - 20)
    CacheWatcher().watch(service.units)
    assert signing(ann) == old
    service.clock.push(seconds=20)
    CacheWatcher().watch(service.units)
    assert signing(ann) == new
    assert ann.whoami().status_code == 200
    assert set(published(service)) == {old, new}
    del token
    service.clock.push(hours=2)
    CacheWatcher().watch(service.units)
    assert published(service) == [new]


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
    old = signing(ann)
    with service.units.open_read_write() as work:
        assert not rotate_due_signing_keys(work)
    service.clock.push(days=30)
    with service.units.open_read_write() as work:
        assert rotate_due_signing_keys(work)
    with service.units.open_read_write() as work:
        assert not rotate_due_signing_keys(work)  # one is already announced
    service.clock.push(seconds=601)
    CacheWatcher().watch(service.units)
    assert signing(ann) != old


def test_revoking_a_key_ends_every_session_and_another_key_signs_at_once(service):
    ann = service.actor("ann").sign_in()
    kid = signing(ann)
    with service.units.open_read_write() as work:
        assert revoke_signing_key(work, kid=kid)
    CacheWatcher().watch(service.units)
    assert ann.whoami().status_code == 401
    assert ann.refresh().status_code == 400
    assert kid not in published(service)
    assert signing(ann) != kid
    assert ann.whoami().status_code == 200


def test_revoking_the_signing_key_does_not_revive_an_older_one(service):
    ann = service.actor("ann").sign_in()
    first = signing(ann)
    with service.units.open_read_write() as work:
        rotate_signing_key(work)
    service.clock.push(hours=3)
    CacheWatcher().watch(service.units)
    second = signing(ann)
    assert second != first
    with service.units.open_read_write() as work:
        revoke_signing_key(work, kid=second)
    CacheWatcher().watch(service.units)
    assert signing(ann) not in {first, second}
    assert first not in published(service)


def test_key_changes_are_audited(service):
    ann = service.actor("ann").sign_in()
    with service.units.open_read_write() as work:
        revoke_signing_key(work, kid=signing(ann))
    with service.open_database() as db:
        events = db.scalars(
            text("SELECT event FROM audit WHERE event LIKE 'signing_key%' ORDER BY id")
        ).all()
    assert events == ["signing_key.created", "signing_key.created", "signing_key.revoked"]


def test_revoking_a_key_twice_counts_once(service):
    ann = service.actor("ann").sign_in()
    kid = signing(ann)
    with service.units.open_read_write() as work:
        assert revoke_signing_key(work, kid=kid)
    with service.units.open_read_write() as work:
        assert not revoke_signing_key(work, kid=kid)
        assert not revoke_signing_key(work, kid="nothing")
    assert service.scalar("SELECT global_epoch FROM issuer_state") == 2


@pytest.fixture
def typed(database_url):
    """Run a command and return its output."""

    def type_it(*words: str, secret: str = SECRET, code: int = 0) -> str:
        done = run_cli(*words, DOORWARD_SECRET_KEY=secret, DOORWARD_DATABASE_URL=database_url)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    return type_it


def test_keys_are_listed_rotated_and_revoked_by_command(service, typed):
    assert "There are no keys yet" in typed("keys", "list")
    ann = service.actor("ann").sign_in()
    kid = signing(ann)
    assert f"{kid}  ES256  signing" in typed("keys", "list")
    assert "It signs at+jwt from" in typed("keys", "rotate")
    assert "is already announced" in typed("keys", "rotate")
    assert "announced" in typed("keys", "list")
    assert "Revoked" in typed("keys", "revoke", kid, "--yes")
    assert "revoked" in typed("keys", "list")
    typed("keys", "revoke", kid, "--yes", code=1)
    CacheWatcher().watch(service.units)
    assert ann.whoami().status_code == 401


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("keys", "list"), "There are no keys yet. The first request creates one.\n"),
        (("secrets", "rewrap"), "Re-encrypted 0 signing keys and 0 messages.\n"),
    ],
)
def test_commands_work_in_their_own_process(sqlite_url, words, said):
    done = run_subprocess(*words, env={"DOORWARD_DATABASE_URL": sqlite_url})
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(said)


def test_unreadable_revoked_key_does_not_block_the_others(service, typed):
    ann = service.actor("ann").sign_in()
    kid = signing(ann)
    typed("keys", "revoke", kid, "--yes", secret=NEWER)
    newest = "the newest secret again of more than thirty-two bytes 0123456789"
    assert "1 signing keys" in typed("secrets", "rewrap", secret=f"{newest},{NEWER}")


def test_rewrap_moves_everything_encrypted_to_the_new_secret_key(
    service, typed, make_service, database_url
):
    ann = service.actor("ann").sign_in()
    said = typed("secrets", "rewrap", secret=f"{NEWER},{SECRET}")
    assert "1 signing keys" in said
    assert "0 signing keys and 0 messages" in typed("secrets", "rewrap", secret=f"{NEWER},{SECRET}")
    alone = make_service(database_url, secret_key=(NEWER,))
    assert alone.actor().whoami(ann.access).status_code == 200
    assert alone.mailbox(ann.email)
    both = make_service(database_url, secret_key=(NEWER, SECRET))
    assert both.actor().refresh(ann.tokens["refresh_token"]).status_code == 200
