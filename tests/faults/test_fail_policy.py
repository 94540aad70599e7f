"""The behavior during outages: each cell of the first table of docs/operating.md.

A fault is 503 with Retry-After, never an acceptance without the database, never a 401, and it
consumes nothing.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from app.adapters import migrations
from app.notifications.deliver import deliver_due
from app.server.cache_watcher import CacheWatcher
from app.settings import GatewayPolicy
from app.verification.identity_headers import IDENTITY_HEADERS
from tests.actors import Actor
from tests.device_logins import Device, claim, complete_device_login, decide, start_device_login
from tests.faults.mail_server import MailServer
from tests.live import WITHOUT_LIMITS, LiveServer
from tests.postgres import Postgres, delete_all_rows
from tests.valkey import Valkey

REDIS, DATABASE, BOTH, SMTP = COLUMNS = ("Redis", "database", "both", "SMTP")
WORKING, FAILING = (REDIS, SMTP), (DATABASE, BOTH)
CACHE_TRUST_SECONDS = 5.0  # seconds
UNBELIEVED = 2.1  # seconds after the last run of the watcher, which tests trigger
RETRY = 6.0  # seconds until an email is retried


@pytest.fixture(scope="module")
def postgres():
    server = Postgres()
    migrations.upgrade(server.url())
    yield server
    server.stop()


@pytest.fixture(scope="module")
def valkey():
    server = Valkey()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def mail():
    server = MailServer()
    server.start()
    yield server
    server.stop()


def flush_redis(valkey: Valkey) -> None:
    with redis.Redis.from_url(valkey.url) as memory:
        memory.flushall()


class World:
    """The service on servers that can be stopped, and users in the middle of something."""

    def __init__(self, make_service, postgres: Postgres, valkey: Valkey, mail: MailServer) -> None:
        self.postgres, self.valkey, self.mail = postgres, valkey, mail
        delete_all_rows(postgres.url())
        flush_redis(valkey)
        self.service = make_service(
            postgres.url(),
            redis_url=valkey.url,
            smtp_url=mail.url(),
            policies={"signed": GatewayPolicy(audience="https://api.example")},
        )
        mail.inbox.envelopes.clear()
        self.ann = self.service.actor("ann")
        self.ann.register()
        assert (
            self.ann.post("/v1/register/confirm", self.read_confirmation(self.ann)).status_code
            == 200
        )
        self.here, self.there, self.cold = (self.create_session() for _ in range(3))
        self.bob = self.service.actor("bob")
        assert self.bob.register().status_code == 202
        self.bobs = self.read_confirmation(self.bob)
        flush_redis(valkey)  # a recipient gets one email a minute, so forget the last minute

    def create_session(self) -> Actor:
        actor = self.service.actor("ann")
        assert actor.login().status_code == 200
        return actor

    def read_confirmation(self, actor: Actor) -> dict[str, str]:
        """Return the contents of the latest confirmation email."""
        deliver_due(self.service.units)
        text = self.mail.inbox.list_to(actor.email)[-1].get_body(("plain",)).get_content()
        return {
            "registration": actor.registration,
            "code": re.search(r"^\s*([A-Z]{4}-[A-Z]{4})\s*$", text, re.MULTILINE)[1],
        }

    def fill_cache(self, *actors: Actor) -> None:
        """Fill the cache for these sessions; it is trusted for two seconds."""
        CacheWatcher().watch(self.service.units)
        for actor in actors:
            assert actor.whoami().status_code == 200

    def count_live_sessions(self) -> int:
        return self.service.scalar("SELECT count(*) FROM sessions WHERE status = 'live'")

    @contextmanager
    def stop_services(self, column: str) -> Iterator[None]:
        """Stop the services of that column until the end of the block."""
        if column in {REDIS, BOTH}:
            self.valkey.kill()
        if column in {DATABASE, BOTH}:
            self.postgres.kill()
        if column == SMTP:
            self.mail.stop()
        try:
            yield
        finally:
            if column in {REDIS, BOTH}:
                self.valkey.start()
            if column in {DATABASE, BOTH}:
                self.postgres.start()
            if column == SMTP:
                self.mail.start()


@pytest.fixture
def world(make_service, postgres, valkey, mail):
    return World(make_service, postgres, valkey, mail)


def assert_unavailable(*answers) -> None:
    for answer in answers:
        assert (answer.status_code, answer.content_type) == (503, "application/problem+json"), (
            answer.text
        )
        assert answer.json["code"] == "unavailable"
        assert int(answer.headers["Retry-After"]) >= 1


def send_checks(actor: Actor):
    """Return all requests that only check a credential or read own data."""
    return [
        actor.get(path, token=actor.access) for path in ("/v1/whoami", "/v1/me", "/v1/sessions")
    ]


def send_logouts(actor: Actor):
    """Return all requests that end sessions, the one with the widest effect last."""
    own = f"/v1/sessions/{actor.tokens['session_id']}"
    yield actor.call("DELETE", own, token=actor.access)
    yield actor.call("DELETE", "/v1/sessions", token=actor.access)
    yield actor.logout()
    yield actor.post("/v1/logout", {"refresh_token": actor.tokens["refresh_token"]})
    yield actor.post("/v1/logout-all", token=actor.access)


@pytest.mark.parametrize("column", WORKING)
def test_check_works_without_redis_and_smtp(world, column):
    world.fill_cache(world.here, world.there)
    assert world.there.logout().status_code == 204
    with world.stop_services(column):
        assert [answer.status_code for answer in send_checks(world.here)] == [200] * 3
        assert [answer.status_code for answer in send_checks(world.cold)] == [200] * 3
        assert [answer.status_code for answer in send_checks(world.there)] == [401] * 3


def test_check_works_without_the_database_for_cached_sessions(world):
    world.fill_cache(world.here, world.there)
    assert world.there.logout().status_code == 204
    with world.stop_services(DATABASE):
        assert world.here.whoami().status_code == 200
        assert world.there.whoami().status_code == 401
        assert_unavailable(world.cold.whoami(), world.here.get("/v1/me", token=world.here.access))
        time.sleep(UNBELIEVED)
        assert_unavailable(
            *send_checks(world.here), *send_checks(world.there), *send_checks(world.cold)
        )
    assert [actor.whoami().status_code for actor in (world.here, world.cold, world.there)] == [
        200,
        200,
        401,
    ]


def test_check_is_503_without_database_and_redis(world):
    world.fill_cache(world.here, world.there)
    assert world.there.logout().status_code == 204
    with world.stop_services(BOTH):
        assert_unavailable(
            *send_checks(world.here), *send_checks(world.there), *send_checks(world.cold)
        )
    assert [actor.whoami().status_code for actor in (world.here, world.cold, world.there)] == [
        200,
        200,
        401,
    ]


class Gateway:
    """A session and a key of one user, as gateways check them."""

    def __init__(self, actor: Actor) -> None:
        self.actor = actor
        self.key = actor.post(
            "/v1/api-keys", {"name": f"of {actor.address}", "scopes": []}, token=actor.access
        ).json["key"]

    def check_token(self) -> set[int]:
        paths = (
            "/authz/auth-request",
            "/authz/forward-auth/default",
            "/authz/ext-authz/signed/a/path",
        )
        return {
            self._get_checked_status(self.actor.get(path, token=self.actor.access))
            for path in paths
        }

    def check_key(self) -> int:
        return self._get_checked_status(
            self.actor.get("/authz/forward-auth/signed", headers={"X-API-Key": self.key})
        )

    @staticmethod
    def _get_checked_status(answer) -> int:
        """Return the status, and assert that a refusal names no user."""
        named = {name for name in IDENTITY_HEADERS if answer.headers[name]}
        assert bool(named) == (answer.status_code == 200)
        if answer.status_code == 503:
            assert_unavailable(answer)
        return answer.status_code


@pytest.mark.parametrize("column", WORKING)
def test_gateway_check_works_without_redis_and_smtp(world, column):
    here, there, cold = (Gateway(actor) for actor in (world.here, world.there, world.cold))
    flush_redis(world.valkey)
    world.fill_cache(world.here, world.there)
    assert here.check_key() == 200
    assert world.there.logout().status_code == 204
    with world.stop_services(column):
        assert [gateway.check_token() for gateway in (here, cold, there)] == [{200}, {200}, {401}]
        assert [gateway.check_key() for gateway in (here, cold)] == [200, 200]


def test_gateway_check_works_without_the_database_for_cached_sessions(world):
    here, there, cold = (Gateway(actor) for actor in (world.here, world.there, world.cold))
    flush_redis(world.valkey)
    world.fill_cache(world.here, world.there)
    assert here.check_key() == 200
    assert world.there.logout().status_code == 204
    with world.stop_services(DATABASE):
        assert [gateway.check_token() for gateway in (here, there, cold)] == [{200}, {401}, {503}]
        assert [gateway.check_key() for gateway in (here, cold)] == [200, 503]
        time.sleep(UNBELIEVED)
        assert [gateway.check_token() for gateway in (here, there, cold)] == [{503}] * 3
        assert [gateway.check_key() for gateway in (here, cold)] == [503] * 2
    assert [gateway.check_token() for gateway in (here, there, cold)] == [{200}, {401}, {200}]


def test_gateway_check_is_503_without_database_and_redis(world):
    here, there = (Gateway(actor) for actor in (world.here, world.there))
    world.fill_cache(world.here, world.there)
    assert here.check_key() == 200
    assert world.there.logout().status_code == 204
    with world.stop_services(BOTH):
        assert [gateway.check_token() for gateway in (here, there)] == [{503}] * 2
        assert here.check_key() == 503
    assert [gateway.check_token() for gateway in (here, there)] == [{200}, {401}]


@pytest.mark.parametrize("column", WORKING)
def test_login_refresh_and_confirmation_work_without_redis_and_smtp(world, column):
    world.fill_cache(world.here)
    with world.stop_services(column):
        assert world.here.refresh().status_code == 200
        assert world.create_session().whoami().status_code == 200
        assert world.bob.post("/v1/register/confirm", world.bobs).status_code == 200
        assert world.bob.login().status_code == 200
        assert (
            world.service.actor("ann", password="not the one that ann has").login().status_code
            == 401
        )


@pytest.mark.parametrize("column", FAILING)
def test_login_refresh_and_confirmation_are_503_without_the_database(world, column):
    world.fill_cache(world.here)
    before = world.count_live_sessions()
    wrong = {**world.bobs, "code": "AAAA-AAAA"}
    with world.stop_services(column):
        assert_unavailable(world.here.refresh(), world.service.actor("ann").login())
        for _ in range(
            6
            # more attempts than a registration has, in case they were counted; each from another source
        ):
            bob = world.service.actor("bob")
            assert_unavailable(
                bob.post("/v1/register/confirm", wrong),
                bob.post("/v1/register/confirm", world.bobs),
            )
    assert world.count_live_sessions() == before
    assert world.service.scalar("SELECT tries FROM pending_registrations") == 0
    old = world.here.tokens["refresh_token"]
    again = world.here.refresh(old)
    assert again.status_code == 200
    assert int(again.json["refresh_token"].split(".")[3]) == int(old.split(".")[3]) + 1
    assert world.bob.post("/v1/register/confirm", world.bobs).status_code == 200
    assert world.bob.login().status_code == 200


def test_each_process_enforces_its_share_of_a_limit_without_redis(
    make_service, postgres, valkey, mail
):
    world = World(make_service, postgres, valkey, mail)
    service = make_service(postgres.url(), redis_url=valkey.url, limit_login="4/minute", replicas=2)
    ann = service.actor("ann")
    with world.stop_services(REDIS):
        assert [ann.login().status_code for _ in range(3)] == [200, 200, 429]
    elsewhere = service.actor("ann")
    assert service.units.cache.get_server_info()
    assert [elsewhere.login().status_code for _ in range(5)] == [200] * 4 + [429]


@pytest.mark.parametrize("column", WORKING)
def test_registration_and_resend_queue_email_during_an_outage(world, column):
    carl = world.service.actor("carl")
    with world.stop_services(column):
        assert carl.register().status_code == 202
        assert world.bob.post("/v1/register/resend", {"email": world.bob.email}).status_code == 202
        assert deliver_due(world.service.units) == (0 if column == SMTP else 2)
    if column == SMTP:
        assert not world.mail.inbox.list_to(carl.email)
        world.service.clock.push(seconds=RETRY)
        assert deliver_due(world.service.units) == 2
    for actor in (carl, world.bob):
        assert actor.post("/v1/register/confirm", world.read_confirmation(actor)).status_code == 200


@pytest.mark.parametrize("column", FAILING)
def test_registration_and_resend_are_503_without_the_database(world, column):
    before = [
        world.service.scalar(f"SELECT count(*) FROM {table}")
        for table in ("pending_registrations", "outbox", "confirmations")
    ]
    carl = world.service.actor("carl")
    with world.stop_services(column):
        assert_unavailable(
            carl.register(), world.bob.post("/v1/register/resend", {"email": world.bob.email})
        )
        assert_unavailable(
            world.bob.post("/v1/register/resend", {"registration": world.bob.registration})
        )
    after = [
        world.service.scalar(f"SELECT count(*) FROM {table}")
        for table in ("pending_registrations", "outbox", "confirmations")
    ]
    assert after == before
    assert deliver_due(world.service.units) == 0
    assert carl.register().status_code == 202
    assert world.bob.post("/v1/register/confirm", world.bobs).status_code == 200


@pytest.mark.parametrize("column", WORKING)
def test_logout_without_redis_or_smtp_takes_effect_from_the_database(world, column):
    world.fill_cache(world.here, world.there, world.cold)
    other = world.create_session()
    with world.stop_services(column):
        assert world.there.logout().status_code == 204
        assert world.there.whoami().status_code == 401
        gone = f"/v1/sessions/{world.cold.tokens['session_id']}"
        assert world.here.call("DELETE", gone, token=world.here.access).status_code == 204
        assert world.cold.whoami().status_code == 401
        assert world.here.call("DELETE", "/v1/sessions", token=world.here.access).status_code == 204
        assert other.whoami().status_code == 401
        assert world.count_live_sessions() == 1
        assert world.here.post("/v1/logout-all", token=world.here.access).status_code == 204
        assert world.here.whoami().status_code == 401
    assert world.count_live_sessions() == 0
    CacheWatcher().watch(world.service.units)
    assert [
        actor.whoami().status_code for actor in (world.here, world.there, world.cold, other)
    ] == [401] * 4


@pytest.mark.parametrize("column", FAILING)
@pytest.mark.parametrize("warm", [True, False], ids=["remembered", "not remembered"])
def test_logout_is_503_without_the_database(world, column, warm):
    world.fill_cache(*[world.here, world.there] if warm else [])
    before = world.count_live_sessions()
    with world.stop_services(column):
        assert_unavailable(*send_logouts(world.here))
    assert world.count_live_sessions() == before
    CacheWatcher().watch(world.service.units)
    assert world.here.whoami().status_code == 200
    assert world.there.whoami().status_code == 200
    assert world.here.refresh().status_code == 200
    assert world.here.logout().status_code == 204
    assert world.here.whoami().status_code == 401


@pytest.mark.parametrize("column", COLUMNS)
def test_livez_is_200_during_every_outage(world, column):
    with world.stop_services(column):
        assert world.ann.get("/livez").status_code == 200


@pytest.mark.parametrize("column", COLUMNS)
def test_readyz_depends_on_the_database_alone(world, column):
    assert world.ann.get("/readyz").status_code == 200
    with world.stop_services(column):
        ready = world.ann.get("/readyz")
        assert ready.status_code == (200 if column in WORKING else 503)
        assert (ready.status_code == 200) == ("Retry-After" not in ready.headers)
    assert world.ann.get("/readyz").status_code == 200


def test_cached_status_is_used_for_at_most_five_seconds(postgres, valkey, tmp_path):
    delete_all_rows(postgres.url())
    flush_redis(valkey)
    cheap = {"DOORWARD_ARGON2_MEMORY_KIB": "64", "DOORWARD_ARGON2_TIME_COST": "1"}
    limits = WITHOUT_LIMITS
    live = LiveServer(
        tmp_path / "live.log",
        env={
            "DOORWARD_DATABASE_URL": postgres.url(),
            "DOORWARD_REDIS_URL": valkey.url,
            **cheap,
            **limits,
        },
    )
    try:
        body = {
            "username": "ann",
            "email": "ann@example.org",
            "name": "Ann",
            "password": "correct horse battery staple",
        }
        handle = live.call("POST", "/v1/register", body)[1]["registration"]
        code = live.mailbox(body["email"])[0]["code"]
        assert (
            live.call("POST", "/v1/register/confirm", {"registration": handle, "code": code})[0]
            == 200
        )
        tokens = live.call("POST", "/v1/login", {"username": "ann", "password": body["password"]})[
            1
        ]

        def get_whoami_status() -> int:
            return live.call(
                "GET", "/v1/whoami", headers={"Authorization": f"Bearer {tokens['access_token']}"}
            )[0]

        assert get_whoami_status() == 200
        broke_at = time.monotonic()
        postgres.kill()
        try:
            seen = []
            while time.monotonic() < broke_at + CACHE_TRUST_SECONDS + 1.0:
                seen.append((time.monotonic() - broke_at, get_whoami_status()))
                time.sleep(0.05)
        finally:
            postgres.start()
        assert {status for _, status in seen} == {200, 503}
        assert seen[0][1] == 200
        last_yes = max(asked_at for asked_at, status in seen if status == 200)
        assert last_yes < CACHE_TRUST_SECONDS
        assert min(asked_at for asked_at, status in seen if status == 503) > last_yes
        end = time.monotonic() + CACHE_TRUST_SECONDS
        while get_whoami_status() != 200:
            assert time.monotonic() < end
            time.sleep(0.05)
    finally:
        live.stop()


def test_every_cell_of_the_documented_table_is_tested():
    page = (Path(__file__).parents[2] / "docs" / "operating.md").read_text()
    lines = page.partition("## What works when something is down")[2].strip().splitlines()
    heading, _, *rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in lines
        if line.startswith("|")
    ][: 2 + 8]
    assert heading == ["", "Redis down", "database down", "both down", "SMTP down"]
    assert [re.split(r"[ ,]", row[0])[0] for row in rows] == [
        "`/v1/whoami`",
        "`/authz/…`",
        "login",
        "device",
        "registration",
        "logout",
        "`/livez`",
        "`/readyz`",
    ]
    assert all(len(row) == len(heading) for row in rows)


@pytest.mark.parametrize("column", COLUMNS)
def test_device_login_during_outages(world, column):
    """Reject device logins without the database, and keep approvals made before."""
    approved, fresh = start_device_login(world.service), Device(world.service.actor("box"))
    claim(world.here, approved.code)
    assert decide(world.here, approved, "approve").status_code == 200
    world.fill_cache(world.here)
    with world.stop_services(column):
        if column in WORKING:
            assert fresh.start().status_code == 201
            assert complete_device_login(world.here, fresh)["token_type"] == "Bearer"
        else:
            assert_unavailable(fresh.start(), claim(world.here, approved.code), approved.cancel())
            polled = approved.poll()
            assert (polled.status_code, polled.json["error"]) == (503, "temporarily_unavailable")
            assert int(polled.headers["Retry-After"]) >= 1
    assert approved.get_poll_result() == "tokens"
