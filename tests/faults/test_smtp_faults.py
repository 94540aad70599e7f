"""No email is lost when the server defers every fifth one and delivering processes are killed."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from email import message_from_bytes

import pytest
from aiosmtpd.controller import Controller
from sqlalchemy import text

from app.notifications.mail.enqueue import Email, EmailTemplate, enqueue_email
from tests.faults.cluster import LONG
from tests.live import Worker
from tests.postgres import find_free_port

WORKERS = 3
MAILS, KILLS, EMAILS_BETWEEN_KILLS = (
    (400, 4, 60) if LONG else (120, 2, 30)
)  # emails between two kills
DELIVERY_SECONDS = 60  # seconds


class Moody:
    """Defers every fifth email once."""

    def __init__(self) -> None:
        self.known: dict[str, int] = {}
        self.taken: list[tuple[str, str]] = []

    async def handle_DATA(self, server, session, envelope):  # noqa: N802 - aiosmtpd's name
        name = message_from_bytes(envelope.content)["Message-ID"]
        if name not in self.known:
            self.known[name] = len(self.known)
            if self.known[name] % 5 == 0:
                return "451 later"
        self.taken.append((envelope.rcpt_tos[0], name))
        return "250 OK"


@pytest.fixture
def smtp():
    handler = Moody()
    controller = Controller(handler, hostname="127.0.0.1", port=find_free_port())
    controller.start()
    yield handler, f"smtp://127.0.0.1:{controller.port}"
    controller.stop()


def enqueue(service) -> None:
    for first in range(0, MAILS, 50):
        with service.units.open_read_write() as work:
            for number in range(first, min(first + 50, MAILS)):
                values = {
                    "username": "ann",
                    "at": "now",
                    "address": "somewhere",
                    "device": "something",
                }
                enqueue_email(
                    work, EmailTemplate.NEW_LOGIN, Email(f"ann{number}@example.org", "en", values)
                )


def expire_leases(service) -> None:
    """Expire the leases of killed processes, as if 90 seconds had passed."""
    with service.open_database() as db:
        db.execute(
            text(
                "UPDATE outbox SET due_at = now() - interval '1 minute' WHERE state = 'queued' AND lease IS NOT NULL"
            )
        )


def test_no_email_is_lost_or_sent_under_two_message_ids(
    make_service, empty_postgres_url, smtp, tmp_path
):
    handler, url = smtp
    service = make_service(empty_postgres_url, smtp_url=url)
    enqueue(service)
    log, env = (
        tmp_path / "workers.log",
        {"DOORWARD_DATABASE_URL": empty_postgres_url, "DOORWARD_SMTP_URL": url},
    )
    workers = [Worker(log, env) for _ in range(WORKERS)]
    kills = itertools.cycle(range(WORKERS))
    killed, end = 0, time.monotonic() + DELIVERY_SECONDS
    while (
        service.scalar("SELECT count(*) FROM outbox WHERE state = 'queued'")
        and time.monotonic() < end
    ):
        if killed < KILLS and len(handler.taken) > EMAILS_BETWEEN_KILLS * (killed + 1):
            index = next(kills)
            workers[index].kill()
            workers[index] = Worker(log, env)
            killed += 1
            expire_leases(service)
        time.sleep(0.02)
    for worker in workers:
        worker.stop()

    names = Counter(name for _, name in handler.taken)
    ids_by_address: dict[str, set[str]] = {}
    for address, name in handler.taken:
        ids_by_address.setdefault(address, set()).add(name)
    assert killed == KILLS
    assert len(handler.known) == MAILS
    assert set(ids_by_address) == {f"ann{number}@example.org" for number in range(MAILS)}
    assert all(len(ids) == 1 for ids in ids_by_address.values())
    assert (
        sum(number - 1 for number in names.values()) <= 2 * KILLS
    )  # sent twice at most where a process was killed or its lease was expired
    assert service.scalar("SELECT count(*) FROM outbox WHERE state = 'sent'") == MAILS
    assert service.scalar("SELECT count(*) FROM outbox WHERE sealed IS NOT NULL") == 0
