"""The outbox: emails are queued with their transaction, sent once over SMTP, and encrypted at rest."""

from __future__ import annotations

import re
import shutil
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from email.utils import parsedate_to_datetime

import pytest
from sqlalchemy import text

from app.notifications.deliver import deliver_due
from app.notifications.outbox.lease import RETRY_DELAYS
from tests.actors import SECRET
from tests.faults.mail_server import PASSWORD, USER, MailServer, authenticate, create_authority
from tests.live import Worker

MANY = 100
LEASE_SECONDS = 91


@pytest.fixture
def make_mail_server():
    started = []

    def make(**options) -> MailServer:
        server = MailServer(**options)
        server.start()
        started.append(server)
        return server

    yield make
    for server in started:
        server.stop()


@pytest.fixture
def mail_server(make_mail_server) -> MailServer:
    return make_mail_server()


@pytest.fixture
def inbox(mail_server):
    return mail_server.inbox


@pytest.fixture
def mailing_service(make_service, database_url, mail_server):
    """The service on both databases with a mail server. Tests trigger the delivery."""
    return make_service(
        database_url,
        smtp_url=mail_server.url(),
        mail_from="Doorward <door@example.com>",
        public_url="https://door.example.com",
        trusted_hosts=("localhost",),
    )


@pytest.fixture
def sqlite_mailing_service(make_service, mail_server):
    """The same on SQLite only."""
    return make_service(smtp_url=mail_server.url()).freeze_clock()


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return create_authority(tmp_path_factory.mktemp("ca"))


def get_row(service) -> dict:
    """Return the only row of the outbox."""
    with service.open_database() as db:
        return dict(db.execute(text("SELECT * FROM outbox")).mappings().one())


def dump_outbox(service) -> str:
    """Return the whole content of the outbox table."""
    with service.open_database() as db:
        return repr(db.execute(text("SELECT * FROM outbox")).all())


# Content.


def test_email_has_text_html_and_auto_submitted_headers(mailing_service, inbox):
    mailing_service.actor("ann").register(locale="de-AT")
    before = mailing_service.clock.now()
    assert deliver_due(mailing_service.units) == 1
    [(sender, to, mail, _)] = inbox.envelopes
    assert (sender, to) == ("door@example.com", "ann@example.org")
    assert mail["From"] == "Doorward <door@example.com>"
    assert mail["To"] == "ann@example.org"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert re.fullmatch(r"<msg_[0-9A-Za-z]{22}@example\.com>", mail["Message-ID"])
    assert abs((parsedate_to_datetime(mail["Date"]) - before).total_seconds()) < 5
    assert mail.get_content_type() == "multipart/alternative"
    assert [part.get_content_type() for part in mail.iter_parts()] == ["text/plain", "text/html"]
    for part in mail.iter_parts():
        assert "https://door.example.com/confirm/dwc_" in part.get_content()
    html = mail.get_body(("html",)).get_content()
    assert '<html lang="de">' in html


def test_emailed_link_and_code_work(mailing_service, inbox):
    ann = mailing_service.actor("ann")
    ann.register()
    deliver_due(mailing_service.units)
    written = inbox.messages[0].get_body(("plain",)).get_content()
    code = re.search(r"^\s*([A-Z]{4}-[A-Z]{4})\s*$", written, re.MULTILINE)[1]
    assert (
        ann.post(
            "/v1/register/confirm", {"registration": ann.registration, "code": code}
        ).status_code
        == 200
    )


def test_email_is_queued_in_the_transaction_of_its_registration(mailing_service):
    ann = mailing_service.actor("ann")
    ann.register()
    assert mailing_service.scalar("SELECT count(*) FROM outbox") == 1
    assert mailing_service.actor("ann", email="other@example.org").register().status_code == 409
    assert mailing_service.actor("x", email="other@example.org").register().status_code == 422
    assert mailing_service.scalar("SELECT count(*) FROM outbox") == 1


@pytest.mark.parametrize("field", ["name", "email", "username", "locale"])
@pytest.mark.parametrize(
    "injected",
    [
        "\r\nBcc: eve@example.net",
        "\nBcc: eve@example.net",
        "\r",
        "\u2028Bcc: eve@example.net",
        "\x85",
        "\x00",
        "\n",
    ],
)
def test_registered_values_cannot_inject_headers(sqlite_mailing_service, inbox, field, injected):
    ann = sqlite_mailing_service.actor("ann")
    value = {"name": "Ann", "email": "ann@example.org", "username": "ann", "locale": "en"}[field]
    assert ann.register(**{field: value + injected}).status_code == 422
    assert deliver_due(sqlite_mailing_service.units) == 0
    assert inbox.envelopes == []


def test_device_names_cannot_inject_headers_or_markup(make_service, mail_server, inbox):
    service = make_service(smtp_url=None)
    ann = service.actor("ann", agent="<b>agent</b> {{ 7*7 }}").sign_up()
    posting = make_service(service.settings.database_url, smtp_url=mail_server.url())
    ann.service = posting
    for injected in ("phone\r\nBcc: eve@example.net", "phone\nX: y", "phone\u2028X: y"):
        assert ann.login(device_name=injected).status_code == 422
    assert ann.login(device_name="<img src=x> {{ 7*7 }}").status_code == 200
    assert deliver_due(posting.units) == 1
    mail = inbox.messages[0]
    assert mail["Bcc"] is None
    assert "<img src=x> {{ 7*7 }}" in mail.get_body(("plain",)).get_content()
    html = mail.get_body(("html",)).get_content()
    assert "<img" not in html
    assert "&lt;img src=x&gt; {{ 7*7 }}" in html


# At rest.


def test_waiting_email_is_encrypted_and_a_sent_one_is_erased(mailing_service, inbox):
    ann = mailing_service.actor("ann")
    ann.register()
    queued = dump_outbox(mailing_service)
    assert get_row(mailing_service)["state"] == "queued"
    deliver_due(mailing_service.units)
    mail = inbox.messages[0].get_body(("plain",)).get_content()
    code = re.search(r"[A-Z]{4}-[A-Z]{4}", mail)[0]
    token = re.search(r"dwc_\w+", mail)[0]
    for secret in (
        "ann@",
        "example.org",
        '"ann"',
        code,
        code.replace("-", ""),
        token,
        token.split("_")[2],
    ):
        assert (
            secret not in queued
        )  # in full, because short parts can occur in a sealed text by chance
    sent = get_row(mailing_service)
    assert (sent["state"], sent["sealed"], sent["lease"], sent["fault"]) == (
        "sent",
        None,
        None,
        None,
    )
    assert sent["ended_at"] is not None


def test_encrypted_email_cannot_move_to_another_row(sqlite_mailing_service, inbox):
    sqlite_mailing_service.actor("ann").register()
    sqlite_mailing_service.actor("bob").register()
    with sqlite_mailing_service.open_database() as db:
        ids = db.execute(text("SELECT id FROM outbox ORDER BY id")).scalars().all()
        first = db.execute(
            text("SELECT sealed FROM outbox WHERE id = :id"), {"id": ids[0]}
        ).scalar()
        db.execute(
            text("UPDATE outbox SET sealed = :sealed WHERE id = :id"),
            {"sealed": first, "id": ids[1]},
        )
    assert deliver_due(sqlite_mailing_service.units) == 1
    assert len(inbox.envelopes) == 1
    assert (
        sqlite_mailing_service.scalar("SELECT state FROM outbox WHERE id = :id", id=ids[1])
        == "dead"
    )


def test_email_under_a_lost_secret_key_is_dead_lettered_and_the_next_sent(
    make_service, mail_server, inbox
):
    new = make_service(smtp_url=mail_server.url())
    old = make_service(
        new.settings.database_url, smtp_url=mail_server.url(), secret_key=(SECRET[::-1], SECRET)
    )
    new.actor("bob").register()
    old.actor("ann").register()
    assert deliver_due(new.units) == 1
    assert [mail["To"] for mail in inbox.messages] == ["bob@example.org"]
    assert new.scalar("SELECT count(*) FROM outbox WHERE state = 'dead' AND sealed IS NULL") == 1


def test_email_encrypted_under_an_older_secret_key_is_sent(make_service, mail_server, inbox):
    old = make_service(smtp_url=mail_server.url())
    old.actor("ann").register()
    new = make_service(
        old.settings.database_url, smtp_url=mail_server.url(), secret_key=(SECRET[::-1], SECRET)
    )
    assert deliver_due(new.units) == 1
    assert inbox.list_to("ann@example.org")


# Failures.


@pytest.mark.parametrize("where", ["rcpt", "data"])
def test_temporary_rejection_is_retried_once_later(mailing_service, inbox, where):
    mailing_service.actor("ann").register()
    getattr(inbox, where).append("451 not now")
    assert deliver_due(mailing_service.units) == 0
    queued = get_row(mailing_service)
    assert (queued["state"], queued["attempts"], queued["lease"]) == ("queued", 1, None)
    assert "451" in queued["fault"]
    assert queued["sealed"] is not None
    assert deliver_due(mailing_service.units) == 0, "the retry is not due yet"
    mailing_service.clock.push(seconds=6)
    assert deliver_due(mailing_service.units) == 1
    assert deliver_due(mailing_service.units) == 0
    assert len(inbox.envelopes) == 1
    assert (get_row(mailing_service)["state"], get_row(mailing_service)["attempts"]) == ("sent", 2)


def test_retries_back_off_and_the_last_dead_letters(sqlite_mailing_service, inbox):
    sqlite_mailing_service.actor("ann").register()
    inbox.data = ["451 not now"] * 20
    waits = []
    for pause in RETRY_DELAYS:
        deliver_due(sqlite_mailing_service.units)
        assert get_row(sqlite_mailing_service)["state"] == "queued"
        sqlite_mailing_service.clock.push(seconds=pause.total_seconds() - 2)
        tries = len(inbox.data)
        deliver_due(sqlite_mailing_service.units)
        assert len(inbox.data) == tries, "too early"
        sqlite_mailing_service.clock.push(seconds=3)
        waits.append(pause)
    deliver_due(sqlite_mailing_service.units)
    assert waits == sorted(waits)
    dead = get_row(sqlite_mailing_service)
    assert (dead["state"], dead["sealed"]) == ("dead", None)
    assert inbox.envelopes == []


@pytest.mark.parametrize("where", ["rcpt", "data"])
def test_permanent_rejection_dead_letters_and_erases_the_body(mailing_service, inbox, where):
    mailing_service.actor("ann").register()
    mailing_service.actor("bob").register()
    getattr(inbox, where).append("550 no such thing")
    assert deliver_due(mailing_service.units) == 1
    assert len(inbox.envelopes) == 1
    with mailing_service.open_database() as db:
        dead = db.execute(text("SELECT * FROM outbox WHERE state = 'dead'")).mappings().one()
    assert dead["sealed"] is None
    assert "550" in dead["fault"]
    mailing_service.clock.push(days=2)
    assert deliver_due(mailing_service.units) == 0


def test_email_waits_for_an_unavailable_server(mailing_service, mail_server, inbox):
    mail_server.stop()
    for name in ("ann", "bob", "eve"):
        mailing_service.actor(name).register()
    assert deliver_due(mailing_service.units) == 0
    assert mailing_service.scalar("SELECT count(*) FROM outbox WHERE state = 'queued'") == 3
    mail_server.start()
    mailing_service.clock.push(seconds=6)
    assert deliver_due(mailing_service.units) == 3
    assert sorted(mail["To"] for mail in inbox.messages) == [
        "ann@example.org",
        "bob@example.org",
        "eve@example.org",
    ]


def test_unrenderable_email_does_not_block_others(mailing_service, inbox):
    mailing_service.actor("ann").register()
    with mailing_service.open_database() as db:
        db.execute(text("UPDATE outbox SET template = 'of_a_later_version'"))
    mailing_service.actor("bob").register()
    with pytest.raises(Exception, match="of_a_later_version"):
        deliver_due(mailing_service.units)
    assert deliver_due(mailing_service.units) == 1
    assert [mail["To"] for mail in inbox.messages] == ["bob@example.org"]
    for _ in range(len(RETRY_DELAYS)):
        mailing_service.clock.push(seconds=LEASE_SECONDS)
        with pytest.raises(Exception, match="of_a_later_version"):
            deliver_due(mailing_service.units)
    mailing_service.clock.push(seconds=LEASE_SECONDS)
    assert deliver_due(mailing_service.units) == 0
    assert (
        mailing_service.scalar(
            "SELECT count(*) FROM outbox WHERE state = 'dead' AND sealed IS NULL"
        )
        == 1
    )


def test_stopping_process_takes_no_further_email(sqlite_mailing_service, inbox):
    for number in range(5):
        sqlite_mailing_service.actor(f"name{number}").register()
    assert (
        deliver_due(sqlite_mailing_service.units, is_stopping=lambda: len(inbox.envelopes) >= 2)
        == 2
    )
    assert (
        sqlite_mailing_service.scalar(
            "SELECT count(*) FROM outbox WHERE state = 'queued' AND lease IS NULL"
        )
        == 3
    )


def test_silent_mail_server_holds_no_connection(mailing_service, inbox):
    mailing_service.actor("ann").register()
    inbox.silent.set()
    sending = threading.Thread(target=deliver_due, args=(mailing_service.units,))
    sending.start()
    try:
        assert inbox.data_received.wait(10)
        assert mailing_service.units.database.engine.pool.checkedout() == 0
        began = time.monotonic()
        assert mailing_service.actor("bob").register().status_code == 202
        assert time.monotonic() - began < 5
    finally:
        inbox.silent.clear()
        sending.join(20)


# Concurrency and crashes.


def test_two_threads_deliver_a_hundred_emails_once_each(
    make_service, mailing_service, mail_server, inbox
):
    for number in range(MANY):
        assert mailing_service.actor(f"name{number}").register().status_code == 202
    other = make_service(mailing_service.settings.database_url, smtp_url=mail_server.url())
    gate = threading.Barrier(2)

    def deliver(service) -> int:
        gate.wait()
        return deliver_due(service.units)

    with ThreadPoolExecutor(2) as pool:
        sent = list(pool.map(deliver, [mailing_service, other]))
    assert sum(sent) == MANY
    assert sum(number > 0 for number in sent) > 1, (
        "only one thread delivered, so the test shows nothing"
    )
    assert len({mail["To"] for mail in inbox.messages}) == len(inbox.envelopes) == MANY
    assert (
        mailing_service.scalar("SELECT count(*) FROM outbox WHERE state = 'sent' AND attempts = 1")
        == MANY
    )


def test_two_workers_deliver_a_hundred_emails_once_each(
    make_service, empty_postgres_url, mail_server, inbox, tmp_path
):
    service = make_service(empty_postgres_url, smtp_url=mail_server.url())
    for number in range(MANY):
        assert service.actor(f"name{number}").register().status_code == 202
    env = build_worker_environment(service, mail_server.url())
    workers = [Worker(tmp_path / f"{number}.log", env) for number in range(2)]
    try:
        inbox.await_number(MANY, seconds=60)
        time.sleep(0.3)
    finally:
        codes = [worker.stop() for worker in workers]
    assert len({mail["To"] for mail in inbox.messages}) == len(inbox.envelopes) == MANY
    assert codes == [0, 0]
    assert (
        service.scalar("SELECT count(*) FROM outbox WHERE state = 'sent' AND attempts = 1") == MANY
    )


def build_worker_environment(service, smtp_url: str, **more: str) -> dict[str, str]:
    return {
        "DOORWARD_DATABASE_URL": service.settings.database_url,
        "DOORWARD_SMTP_URL": smtp_url,
        "DOORWARD_OUTBOX": "external",
        **more,
    }


def test_email_of_a_killed_worker_is_resent_with_the_same_message_id(
    mailing_service, mail_server, inbox, tmp_path
):
    mailing_service.actor("ann").register()
    inbox.silent.set()
    worker = Worker(
        tmp_path / "worker.log",
        build_worker_environment(
            mailing_service,
            mail_server.url(),
            DOORWARD_MAIL_FROM=mailing_service.settings.mail_from,
        ),
    )
    try:
        assert inbox.data_received.wait(15), worker.log.read_text()
    finally:
        worker.kill()
    inbox.silent.clear()
    row = get_row(mailing_service)
    assert row["lease"] is not None
    assert deliver_due(mailing_service.units) == 0, "the lease of the dead process is still valid"
    mailing_service.clock.push(seconds=LEASE_SECONDS)
    assert deliver_due(mailing_service.units) == 1
    [mail] = inbox.messages
    assert mail["Message-ID"] == f"<{row['id']}@example.com>"
    assert get_row(mailing_service)["attempts"] == 2


def test_email_sent_twice_is_identical(sqlite_mailing_service, mail_server, inbox):
    """The server accepted the email, and the process died before recording that."""
    sqlite_mailing_service.actor("ann").register()
    path = sqlite_mailing_service.settings.database_url.removeprefix("sqlite:///")
    shutil.copy(path, f"{path}.before")
    shutil.copy(f"{path}-wal", f"{path}.before-wal")
    assert deliver_due(sqlite_mailing_service.units) == 1
    sqlite_mailing_service.close()
    shutil.copy(f"{path}.before", path)
    shutil.copy(f"{path}.before-wal", f"{path}-wal")
    assert deliver_due(sqlite_mailing_service.units) == 1
    first, second = inbox.messages
    for name in ("Message-ID", "Date", "Subject", "To", "From"):
        assert first[name] == second[name]


# Over TLS.

LOGIN = "post:p%40ss%3Aword%2Fwith%3Fmarks@"
AUTHENTICATED = {"auth_required": True, "authenticator": authenticate}


def deliver_and_list_encryption(service, server: MailServer) -> list[bool]:
    """Deliver what is due. Return for each email whether the connection was encrypted."""
    deliver_due(service.units)
    return [encrypted for *_, encrypted in server.inbox.envelopes]


def test_required_starttls_protects_the_password(
    make_service, make_mail_server, authority, monkeypatch
):
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.ca_file))
    server = make_mail_server(tls_context=authority.server, require_starttls=True, **AUTHENTICATED)
    service = make_service(smtp_url=server.url("smtp+starttls", LOGIN))
    service.actor("ann").register()
    assert deliver_and_list_encryption(service, server) == [True]


def test_starttls_is_used_when_it_is_offered(
    make_service, make_mail_server, authority, monkeypatch
):
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.ca_file))
    server = make_mail_server(tls_context=authority.server)
    service = make_service(smtp_url=server.url("smtp"))
    service.actor("ann").register()
    assert deliver_and_list_encryption(service, server) == [True]


@pytest.mark.parametrize("scheme", ["smtp", "smtp+starttls"])
def test_untrusted_certificate_gets_no_email(make_service, make_mail_server, authority, scheme):
    server = make_mail_server(tls_context=authority.server)
    service = make_service(smtp_url=server.url(scheme))
    service.actor("ann").register()
    assert deliver_and_list_encryption(service, server) == []
    assert get_row(service)["state"] == "queued"
    assert "SSL" in get_row(service)["fault"]


def test_certificate_of_another_host_gets_no_email(
    make_service, make_mail_server, authority, monkeypatch
):
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.ca_file))
    server = make_mail_server(tls_context=authority.server)
    service = make_service(smtp_url=server.url("smtp+starttls").replace("127.0.0.1", "localhost"))
    service.actor("ann").register()
    assert deliver_and_list_encryption(service, server) == []


@pytest.mark.parametrize(
    ("scheme", "login"), [("smtp+starttls", ""), ("smtp", LOGIN), ("smtp", "post@")]
)
def test_neither_password_nor_email_is_sent_without_required_tls(
    make_service, make_mail_server, scheme, login
):
    credentials = []

    def record_credentials(server, session, envelope, mechanism, data):
        credentials.append(data)
        return authenticate(server, session, envelope, mechanism, data)

    server = make_mail_server(authenticator=record_credentials, auth_require_tls=False)
    service = make_service(smtp_url=server.url(scheme, login))
    service.actor("ann").register()
    assert deliver_and_list_encryption(service, server) == []
    assert credentials == []
    assert get_row(service)["state"] == "queued"
    assert "TLS" in get_row(service)["fault"] or "NotSupported" in get_row(service)["fault"]


def test_wrong_smtp_password_keeps_the_email_waiting_and_unlogged(
    make_service, make_mail_server, authority, monkeypatch, capsys
):
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.ca_file))
    server = make_mail_server(tls_context=authority.server, **AUTHENTICATED)
    service = make_service(smtp_url=server.url("smtp+starttls", "post:wrong-one@"))
    service.actor("ann").register()
    assert deliver_and_list_encryption(service, server) == []
    assert get_row(service)["state"] == "queued"
    assert "535" in get_row(service)["fault"]
    output = capsys.readouterr()
    assert "wrong-one" not in output.out + output.err + dump_outbox(service)


@pytest.mark.filterwarnings(
    "ignore:Requiring AUTH while not requiring TLS"
)  # aiosmtpd only considers STARTTLS
def test_worker_sends_over_smtps_and_stops_on_request(
    make_service, make_mail_server, authority, tmp_path
):
    server = make_mail_server(
        implicit_tls=authority.server, auth_require_tls=False, **AUTHENTICATED
    )
    service = make_service(smtp_url=server.url("smtps", LOGIN))
    service.actor("ann").register()
    worker = Worker(
        tmp_path / "worker.log",
        build_worker_environment(
            service, service.settings.smtp_url, SSL_CERT_FILE=str(authority.ca_file)
        ),
    )
    try:
        server.inbox.await_number(1)
    finally:
        code = worker.stop()
    assert [mail["To"] for mail in server.inbox.messages] == ["ann@example.org"], (
        worker.log.read_text()
    )
    assert code == 0
    output = worker.log.read_text()
    assert PASSWORD.decode() not in output
    assert USER.decode() + ":" not in output


# Processes.


def test_serving_process_delivers_email(make_live, mail_server, inbox):
    live = make_live("--threads", "4", DOORWARD_SMTP_URL=mail_server.url())
    body = {
        "username": "ann",
        "email": "ann@example.org",
        "name": "Ann",
        "password": "a password of some length",
    }
    assert live.call("POST", "/v1/register", body)[0] == 202
    assert [mail["To"] for mail in inbox.await_number(1)] == ["ann@example.org"]
    assert live.call("GET", "/dev/mailbox")[0] == 404
    assert live.stop(signal.SIGTERM) == 0


def test_serving_process_delivers_nothing_with_an_external_outbox(make_live, mail_server, inbox):
    live = make_live(
        "--threads", "4", DOORWARD_SMTP_URL=mail_server.url(), DOORWARD_OUTBOX="external"
    )
    body = {
        "username": "ann",
        "email": "ann@example.org",
        "name": "Ann",
        "password": "a password of some length",
    }
    assert live.call("POST", "/v1/register", body)[0] == 202
    time.sleep(1.5)  # three delivery intervals
    assert inbox.envelopes == []
