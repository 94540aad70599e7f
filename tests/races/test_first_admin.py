"""Any number of bootstrap links used at once creates one administrator."""

from __future__ import annotations

import threading

import pytest
from sqlalchemy import text

from app.adapters.password_hasher import Capacity
from app.confirmations.issue import issue_token
from app.confirmations.models import ConfirmationPurpose
from app.registration.first_admin import LINK_LIFETIME, invite_first_admin
from tests.actors import PASSWORD
from tests.slow import LONG

LINKS = 8
ROUNDS = 4 if LONG else 2


@pytest.fixture
def service(make_service, database_url):
    return make_service(
        database_url, capacity=Capacity(workers=1, threads=2 * LINKS), limit_confirm="1000/minute"
    )


def open_links_simultaneously(service, tokens):
    """Use all links at once and return the statuses."""
    actors, gate = (
        [service.actor(f"boss{number}") for number in range(len(tokens))],
        threading.Barrier(len(tokens)),
    )
    answers = [0] * len(tokens)

    def follow(number):
        gate.wait()
        answers[number] = (
            actors[number]
            .post("/v1/register/confirm", {"token": tokens[number], "password": PASSWORD})
            .status_code
        )

    threads = [threading.Thread(target=follow, args=(number,)) for number in range(len(tokens))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return answers


def create_links(service):
    """Create several valid links.

    The command leaves only the newest, so each is hidden while the next is created.
    """
    tokens = []
    for number in range(LINKS):
        with service.units.open_read_write() as work:
            link = invite_first_admin(
                work, username=f"boss{number}", email=f"boss{number}@example.org"
            )
            tokens.append(link.rpartition("/")[2])
        service.scalar(
            "UPDATE pending_registrations SET role = 'hidden' WHERE role = 'admin' RETURNING id"
        )
    service.scalar(
        "UPDATE pending_registrations SET role = 'admin' WHERE role = 'hidden' RETURNING id"
    )
    return tokens


def count_rows(service):
    with service.open_database() as db:
        return tuple(
            db.execute(text(f"SELECT count(*) FROM {table}")).scalar_one()
            for table in ("accounts", "account_roles")
        )


def start_over(service):
    with service.open_database() as db:
        for table in ("account_roles", "accounts", "pending_registrations", "confirmations"):
            db.execute(text(f"DELETE FROM {table}"))


def test_concurrent_links_create_one_administrator(service):
    for _ in range(ROUNDS):
        answers = open_links_simultaneously(service, create_links(service))
        assert sorted(answers) == [200] + [400] * (LINKS - 1)
        assert count_rows(service) == (1, 1)
        start_over(service)


def test_one_link_used_many_times_at_once_works_once(service):
    for _ in range(ROUNDS):
        with service.units.open_read_write() as work:
            token = invite_first_admin(work, username="boss", email="boss@example.org").rpartition(
                "/"
            )[2]
        answers = open_links_simultaneously(service, [token] * LINKS)
        assert sorted(answers) == [200] + [400] * (LINKS - 1)
        assert count_rows(service) == (1, 1)
        start_over(service)


def test_concurrent_commands_leave_one_link(service):
    tokens, gate = [], threading.Barrier(LINKS)

    def invite(number):
        gate.wait()
        with service.units.open_read_write() as work:
            tokens.append(
                invite_first_admin(
                    work, username=f"boss{number}", email=f"boss{number}@example.org"
                ).rpartition("/")[2]
            )

    threads = [threading.Thread(target=invite, args=(number,)) for number in range(LINKS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(tokens) == LINKS
    reader = service.actor("reader")
    assert [reader.get(f"/confirm/{token}").status_code for token in tokens].count(200) == 1


def test_second_link_for_an_invitation_invalidates_the_first(service):
    with service.units.open_read_write() as work:
        older = invite_first_admin(work, username="boss", email="boss@example.org").rpartition("/")[
            2
        ]
    subject = service.scalar("SELECT id FROM pending_registrations")
    with service.units.open_read_write() as work:
        newer = issue_token(
            work, ConfirmationPurpose.BOOTSTRAP, subject=subject, lifetime=LINK_LIFETIME
        )
    assert sorted(open_links_simultaneously(service, [older, newer])) == [200, 400]
    assert count_rows(service) == (1, 1)
