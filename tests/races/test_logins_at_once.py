"""Right passwords at once.

A login that waits for a lock started earlier than its holder, and must not be refused.
"""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from app.adapters.password_hasher import Capacity

SOURCES = 12
UNDELAYED = 5  # attempts that one source may make at once


def log_in_simultaneously(actors) -> Counter[int]:
    gate = threading.Barrier(len(actors))

    def log_in(actor) -> int:
        gate.wait()
        return actor.login().status_code

    with ThreadPoolExecutor(len(actors)) as pool:
        return Counter(pool.map(log_in, actors))


def test_right_password_succeeds_from_twelve_sources_at_once(make_service, database_url):
    service = make_service(database_url, capacity=Capacity(threads=4 * SOURCES))
    service.actor("ann").sign_up()
    for _ in range(2):
        assert log_in_simultaneously([service.actor("ann") for _ in range(SOURCES)]) == {
            200: SOURCES
        }
    assert (
        service.scalar("SELECT count(*) FROM audit WHERE event = 'login.succeeded'") == 2 * SOURCES
    )
    assert service.scalar("SELECT count(*) FROM failed_attempts") == 0


def test_right_password_succeeds_at_once_below_the_throttle(make_service, database_url):
    service = make_service(
        database_url, capacity=Capacity(threads=4 * SOURCES), limit_login="1000/minute"
    )
    ann = service.actor("ann").sign_up()
    for _ in range(2):
        assert log_in_simultaneously([ann] * UNDELAYED) == {200: UNDELAYED}


def test_logins_during_logout_everywhere_work_wholly_or_not_at_all(make_service, database_url):
    """A login whose hash ran during a logout everywhere is retried and not refused as a wrong password."""
    service = make_service(
        database_url, capacity=Capacity(threads=4 * SOURCES), limit_login="1000/minute"
    )
    ann = service.actor("ann").sign_in()
    for _ in range(2):
        held, others = ann.tokens, [service.actor("ann") for _ in range(SOURCES - 1)]
        gate = threading.Barrier(SOURCES)

        def act(actor, gate=gate) -> int:
            gate.wait()
            return (
                actor.post("/v1/logout-all", token=actor.access).status_code
                if actor is ann
                else actor.login().status_code
            )

        with ThreadPoolExecutor(SOURCES) as pool:
            assert list(pool.map(act, [ann, *others])) == [204] + [200] * len(others)
        assert ann.whoami(held["access_token"]).status_code == 401
        assert ann.refresh(held["refresh_token"]).status_code == 400
        for other in others:
            assert (other.whoami().status_code == 200) is (other.refresh().status_code == 200)
        assert ann.login().status_code == 200
