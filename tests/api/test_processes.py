"""Three serving processes act as one. Each is tested alone while the other two are stopped."""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from email import message_from_bytes
from email.policy import default
from threading import Event

import pytest
import redis
from aiosmtpd.controller import Controller

from app.accounts.models import Account, find_account_by_username
from app.authorization.models import AccountRole
from app.authorization.roles.assign import add_role
from app.credential_status.api_key_cache import build_api_key_cache_key
from app.credential_status.revocations import record_account_revocation
from app.credential_status.session_cache import (
    CANARY_KEY,
    build_account_cache_key,
    build_session_cache_key,
)
from app.principal import ClientInfo
from app.signing_keys.rotate import rotate_signing_key
from tests.actors import PASSWORD, Service, build_settings
from tests.live import WITHOUT_LIMITS, LiveServer, run_command
from tests.postgres import delete_all_rows, find_free_port, list_children

WORKERS = 3
SOON = 20.0  # seconds, on a busy machine
CACHED = timedelta(seconds=1)  # how long verifiers cache keys; the next key signs after twice that
REFUSED = 2
NOBODY = ClientInfo(address="", bucket="", user_agent="", request_id="", locale="en")
PRODUCTION = {
    "DOORWARD_ENV": "production",
    "DOORWARD_PUBLIC_URL": "https://id.example.com",
    "DOORWARD_SMTP_URL": "smtp://127.0.0.1:1",
    "DOORWARD_DATABASE_URL": "postgresql://127.0.0.1:1/none",
    "DOORWARD_ARGON2_MEMORY_KIB": "19456",
    "DOORWARD_ARGON2_TIME_COST": "2",
}


class Letterbox:
    """Receives emails and keeps the latest for each recipient."""

    def __init__(self) -> None:
        self.mails: dict[str, str] = {}

    async def handle_DATA(self, server, session, envelope):  # noqa: N802 - aiosmtpd's name
        body = message_from_bytes(envelope.content, policy=default).get_body(("plain",))
        self.mails[envelope.rcpt_tos[0]] = body.get_content()
        return "250 OK"

    def token(self, address: str) -> str:
        wait_until(lambda: address in self.mails)
        return re.search(r"/confirm/(\S+)", self.mails[address])[1]


@pytest.fixture(scope="module")
def letterbox():
    handler = Letterbox()
    controller = Controller(handler, hostname="127.0.0.1", port=find_free_port())
    controller.start()
    handler.url = f"smtp://127.0.0.1:{controller.port}"
    yield handler
    controller.stop()


@pytest.fixture(scope="module")
def cache(valkey_server):
    client = redis.Redis.from_url(os.environ.get("TEST_REDIS_URL", valkey_server.url))
    client.flushdb()
    client.url = os.environ.get("TEST_REDIS_URL", valkey_server.url)
    yield client
    client.close()


@pytest.fixture(scope="module")
def cluster(postgres_url, cache, letterbox, tmp_path_factory):
    """The service in three processes."""
    delete_all_rows(postgres_url)
    env = {
        **WITHOUT_LIMITS,
        "DOORWARD_DATABASE_URL": postgres_url,
        "DOORWARD_REDIS_URL": cache.url,
        "DOORWARD_SMTP_URL": letterbox.url,
        "DOORWARD_JWKS_MAX_AGE": "1",
        "DOORWARD_ROLES": '{"worker": ["jobs:run"]}',
        "DOORWARD_ARGON2_MEMORY_KIB": "64",
        "DOORWARD_ARGON2_TIME_COST": "1",
    }
    live = LiveServer(
        tmp_path_factory.mktemp("three") / "live.log",
        "--workers",
        str(WORKERS),
        "--threads",
        "4",
        env=env,
    )
    wait_until(lambda: len(list_children(live.process.pid)) == WORKERS)
    wait_until(
        lambda: all(serves_alone(live, pid) for pid in list_children(live.process.pid)), within=30
    )
    yield live
    live.stop()


@pytest.fixture(scope="module")
def service(cluster, postgres_url):
    """A fourth process: the test process."""
    service = Service(build_settings(postgres_url, jwks_max_age=CACHED))
    yield service
    service.close()


@contextmanager
def run_alone(live, worker: int):
    """Stop the other workers, so that only this one works."""
    others = [pid for pid in list_children(live.process.pid) if pid != worker]
    for pid in others:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in others:
            os.kill(pid, signal.SIGCONT)


def serves_alone(live, worker: int) -> bool:
    with run_alone(live, worker):
        try:
            with urllib.request.urlopen(f"{live.url}/readyz", timeout=1):
                return True
        except OSError:
            return False


def wait_until(condition, *, within: float = SOON) -> None:
    end = time.monotonic() + within
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def register(live, name: str) -> None:
    body = {
        "username": name,
        "email": f"{name}@example.org",
        "name": name.title(),
        "password": PASSWORD,
    }
    assert live.call("POST", "/v1/register", body)[0] == 202


def sign_up(live, letterbox, name: str) -> None:
    register(live, name)
    body = {"token": letterbox.token(f"{name}@example.org"), "password": PASSWORD}
    assert live.call("POST", "/v1/register/confirm", body)[0] == 200


def log_in(live, name: str):
    status, tokens = live.call("POST", "/v1/login", {"username": name, "password": PASSWORD})
    assert status == 200
    return tokens


def get_whoami_status(live, tokens) -> int:
    return live.call(
        "GET", "/v1/whoami", headers={"Authorization": f"Bearer {tokens['access_token']}"}
    )[0]


def read_kid(tokens) -> str:
    header = tokens["access_token"].partition(".")[0]
    return json.loads(base64.urlsafe_b64decode(header + "=="))["kid"]


def list_published_kids(live) -> set[str]:
    return {key["kid"] for key in live.call("GET", "/.well-known/jwks.json")[1]["keys"]}


def test_each_process_delivers_email(cluster, letterbox):
    for number, worker in enumerate(list_children(cluster.process.pid)):
        with run_alone(cluster, worker):
            register(cluster, f"mail{number}")
            wait_until(lambda address=f"mail{number}@example.org": address in letterbox.mails)


def test_each_process_repeats_revocations_to_the_cache(cluster, letterbox, cache):
    sign_up(cluster, letterbox, "watched")
    for worker in list_children(cluster.process.pid):
        with run_alone(cluster, worker):
            tokens = log_in(cluster, "watched")
            assert get_whoami_status(cluster, tokens) == 200
            account = tokens["account"]["id"]
            keys = (
                build_account_cache_key(account),
                build_session_cache_key(account, tokens["session_id"]),
            )
            valid = {key: cache.get(key) for key in keys}
            assert (
                cluster.call(
                    "POST",
                    "/v1/logout",
                    headers={"Authorization": f"Bearer {tokens['access_token']}"},
                )[0]
                == 204
            )
            cache.delete(CANARY_KEY)
            for key, value in valid.items():
                cache.set(key, value, px=60_000)  # as in an older copy of the cache
            wait_until(lambda key=keys[1]: cache.get(key) == b"R")
            assert get_whoami_status(cluster, tokens) == 401


def test_each_process_learns_of_a_key_created_by_another(cluster, letterbox, service):
    sign_up(cluster, letterbox, "signer")
    before = log_in(cluster, "signer")
    with service.units.open_read_write() as work:
        kid = rotate_signing_key(work).kid
    for worker in list_children(cluster.process.pid):
        with run_alone(cluster, worker):
            wait_until(lambda: kid in list_published_kids(cluster))
            wait_until(lambda: read_kid(log_in(cluster, "signer")) == kid)
            assert get_whoami_status(cluster, before) == 200
    after = log_in(cluster, "signer")
    for worker in list_children(cluster.process.pid):
        with run_alone(cluster, worker):
            assert get_whoami_status(cluster, after) == 200


def sign_up_worker(live, letterbox, service, name: str) -> Account:
    """Create a user who can run jobs."""
    sign_up(live, letterbox, name)
    with service.units.open_read_write() as work:
        account = find_account_by_username(work.db, name)
        assert add_role(work, NOBODY, account_id=account.id, role="worker")
    return account


def make_key(live, tokens, name: str) -> dict[str, str]:
    headers = {"Authorization": f"Bearer {tokens['access_token']}"}
    status, key = live.call("POST", "/v1/api-keys", {"name": name, "scopes": ["jobs:run"]}, headers)
    assert status == 201
    return key


def is_accepted(live, key) -> bool:
    """Return whether the key is still accepted for its purpose."""
    status, answer = live.call("GET", "/v1/whoami", headers={"X-API-Key": key["key"]})
    assert status in {200, 401}
    return status == 200 and answer["scopes"] == ["jobs:run"]


def disable(service, account: Account) -> None:
    with (
        service.units.open_read_write() as work
    ):  # without the cache of the three processes: their watchers read the database
        row = work.db.get_one(Account, account.id)
        row.status, row.epoch = "disabled", row.epoch + 1
        record_account_revocation(work, row)


def remove_worker_role(service, account: Account) -> None:
    with service.units.open_read_write() as work:
        work.db.delete(work.db.get_one(AccountRole, (account.id, "worker")))
        row = work.db.get_one(Account, account.id)
        row.roles_version += 1
        record_account_revocation(work, row)


@contextmanager
def check_continuously(live, keys):
    """Run three clients that check every key repeatedly and record key, time and result."""
    ledger: list[tuple[str, float, bool]] = []
    stop = Event()

    def check_keys() -> None:
        while not stop.is_set():
            for name, key in keys.items():
                began = time.monotonic()
                ledger.append((name, began, is_accepted(live, key)))

    with ThreadPoolExecutor(3) as pool:
        clients = [pool.submit(check_keys) for _ in range(3)]
        try:
            wait_until(lambda: len(ledger) > 10 * len(keys))
            yield ledger
        finally:
            stop.set()
        for client in clients:
            client.result()


def test_revoked_key_is_refused_by_every_process_within_a_second(
    cluster, letterbox, service, cache
):
    owners = {
        name: sign_up_worker(cluster, letterbox, service, name)
        for name in ("keeper", "leaver", "junior")
    }
    tokens = {name: log_in(cluster, name) for name in owners}
    bearer = {"Authorization": f"Bearer {tokens['keeper']['access_token']}"}
    keys = {
        name: make_key(cluster, tokens["keeper"], name)
        for name in ("deleted", "narrowed", "rotated", "leaked")
    }
    keys |= {
        "disabled": make_key(cluster, tokens["leaver"], "x"),
        "demoted": make_key(cluster, tokens["junior"], "x"),
    }
    path = {name: f"/v1/api-keys/{key['id']}" for name, key in keys.items()}
    changes = {
        "deleted": lambda: cluster.call("DELETE", path["deleted"], headers=bearer),
        "narrowed": lambda: cluster.call("PATCH", path["narrowed"], {"scopes": []}, bearer),
        "rotated": lambda: cluster.call(
            "POST", f"{path['rotated']}/rotate", {"overlap_seconds": 0}, bearer
        ),
        "leaked": lambda: cluster.call(
            "POST", "/v1/api-keys/report-leak", {"key": keys["leaked"]["key"]}
        ),
        "disabled": lambda: disable(service, owners["leaver"]),
        "demoted": lambda: remove_worker_role(service, owners["junior"]),
    }
    records = [build_api_key_cache_key(key["id"]) for key in keys.values()] + [
        build_account_cache_key(account.id) for account in owners.values()
    ]
    with check_continuously(cluster, keys) as ledger:
        old = {name: cache.get(name) for name in records}
        before, result = len(ledger), {}
        for number, (name, change) in enumerate(changes.items()):
            change()
            result[name] = time.monotonic()
            if number % 2:
                cache.flushall()
        time.sleep(1.3)
    assert all(let_in for _, _, let_in in ledger[: before - len(keys) * 3])
    late = [(name, let_in) for name, began, let_in in ledger if began > result[name] + 1.0]
    assert {name for name, _ in late} == set(keys)
    assert [name for name, let_in in late if let_in] == []

    cache.delete(CANARY_KEY)
    for name, value in old.items():
        cache.set(name, value or b"", px=60_000)  # as in an older copy of the cache
    time.sleep(1.0)
    for worker in list_children(cluster.process.pid):
        with run_alone(cluster, worker):
            assert [name for name, key in keys.items() if is_accepted(cluster, key)] == []


@pytest.mark.parametrize("flushed", [False, True], ids=["", "flushed"])
def test_disabled_account_is_refused_by_every_process_within_a_second(
    cluster, letterbox, service, cache, flushed
):
    boss_name = f"boss{int(flushed)}"
    sign_up(cluster, letterbox, boss_name)
    account_id = service.scalar("SELECT id FROM accounts WHERE username = :name", name=boss_name)
    with service.units.open_read_write() as work:
        add_role(work, NOBODY, account_id=account_id, role="admin")
    boss = {"Authorization": f"Bearer {log_in(cluster, boss_name)['access_token']}"}
    acts = (
        ("PATCH", {"status": "disabled"}),
        ("DELETE", None),
        ("PATCH", {"must_change_password": True}),
    )
    took = []
    for number, (method, body) in enumerate(acts):
        name = f"shut{number}{int(flushed)}"
        sign_up(cluster, letterbox, name)
        tokens = log_in(cluster, name)
        session = {"Authorization": f"Bearer {tokens['access_token']}"}
        key = cluster.call("POST", "/v1/api-keys", {"name": "job", "scopes": []}, session)[1]["key"]
        statuses = (
            [session] if body == {"must_change_password": True} else [session, {"X-API-Key": key}]
        )
        for worker in list_children(cluster.process.pid):
            with run_alone(cluster, worker):
                assert [
                    cluster.call("GET", "/v1/whoami", headers=each)[0] for each in statuses
                ] == [200] * len(statuses)
        assert cluster.call(method, f"/v1/accounts/{tokens['account']['id']}", body, boss)[0] in {
            200,
            204,
        }
        if flushed:
            cache.flushall()
        ended = time.monotonic()
        let_in = 0
        for worker in list_children(cluster.process.pid):
            with run_alone(cluster, worker):
                let_in += sum(
                    cluster.call("GET", "/v1/whoami", headers=each)[0] != 401 for each in statuses
                )
        assert let_in == 0
        took.append(time.monotonic() - ended)
    assert min(took) < 1, (
        took
    )  # a busy machine may be too slow to check them all, and the test shows nothing


def test_crashed_process_is_replaced_by_a_working_one(cluster, letterbox):
    known = set(list_children(cluster.process.pid))
    victim = min(known)
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: len(set(list_children(cluster.process.pid)) - known) == 1, within=30)
    successor = (set(list_children(cluster.process.pid)) - known).pop()
    wait_until(lambda: serves_alone(cluster, successor), within=30)
    with run_alone(cluster, successor):
        register(cluster, "successor")
        wait_until(lambda: "successor@example.org" in letterbox.mails)


def test_conflicting_process_settings_are_refused_at_start():
    cases = [
        (("serve", "--workers", "2"), PRODUCTION),
        (("serve",), {**PRODUCTION, "DOORWARD_REPLICAS": "2"}),
        (("serve", "--workers", "2"), {"DOORWARD_DATABASE_URL": "sqlite:///none.db"}),
    ]
    with ThreadPoolExecutor(len(cases)) as threads:
        workers, replicas, sqlite = threads.map(
            lambda case: run_command(*case[0], env=case[1]), cases
        )
    assert {found.returncode for found in (workers, replicas, sqlite)} == {REFUSED}
    assert "DOORWARD_REDIS_URL: " in workers.stderr
    assert "--workers" in workers.stderr
    assert "DOORWARD_REDIS_URL: " in replicas.stderr
    assert "DOORWARD_REPLICAS" in replicas.stderr
    assert "SQLite supports a single process" in sqlite.stderr
