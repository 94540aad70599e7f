"""Stored password hashes, and that a login never undoes a password change."""

from __future__ import annotations

import base64
import threading
import time

from app.settings import Settings
from tests.actors import PASSWORD, SECRET, Service

NEW = "chosen while somebody logged in"


def split_hash(stored: str) -> tuple[str, str, dict[str, int], bytes, bytes]:
    """Return the parts of a PHC string."""
    _, kind, version, cost, salt, tag = stored.split("$")
    numbers = {name: int(number) for name, number in (word.split("=") for word in cost.split(","))}
    return (
        kind,
        version,
        numbers,
        *(base64.b64decode(part + "=" * (-len(part) % 4)) for part in (salt, tag)),
    )


def test_default_hash_is_argon2id_at_the_recommended_cost(sqlite_url):
    """OWASP Password Storage; RFC 9106 section 3.1 for salt and tag."""
    service = Service(Settings(secret_key=(SECRET,), database_url=sqlite_url))
    try:
        for name in ("ann", "bob"):
            service.actor(name).sign_up()
        hashes = [
            service.scalar("SELECT password_hash FROM accounts WHERE username = :name", name=name)
            for name in ("ann", "bob")
        ]
    finally:
        service.close()
    assert hashes[0] != hashes[1], "two hashes of one password have different salts"
    salts = set()
    for stored in hashes:
        kind, version, cost, salt, tag = split_hash(stored)
        assert (kind, version) == ("argon2id", "v=19")
        assert cost == {"m": 19456, "t": 2, "p": 1}
        assert (len(salt), len(tag)) == (16, 32)
        salts.add(salt)
    assert len(salts) == 2


def test_hash_renewal_never_undoes_a_password_change(make_service, database_url):
    """The change happens after the old password was verified and before its renewed hash is stored."""
    make_service(database_url).actor("ann").sign_up()
    changed_to = make_service(database_url).units.hasher.hash(NEW)
    service = make_service(
        database_url, argon2_memory_kib=65536, argon2_time_cost=4
    )  # renewing takes a quarter of a second
    service.actor("first").get("/readyz")
    idle = service.units.hasher._pending
    ann, answers = service.actor("ann"), []
    login = threading.Thread(target=lambda: answers.append(ann.login()))
    login.start()
    while service.units.hasher._pending == idle and login.is_alive():
        time.sleep(0.001)
    time.sleep(0.05)  # the old hash is cheap, so it has been verified by now
    assert not answers
    service.scalar(
        "UPDATE accounts SET password_hash = :hash, epoch = epoch + 1 RETURNING id", hash=changed_to
    )
    login.join(30)
    assert answers[0].status_code == 401
    assert service.scalar("SELECT count(*) FROM sessions") == 0
    assert ann.login(password=PASSWORD).status_code == 401
    assert ann.login(password=NEW).status_code == 200
