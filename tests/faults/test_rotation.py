"""Keys rotate every few seconds under load, and a verifier that caches the JWKS for max-age knows every key."""

from __future__ import annotations

import threading
import time
from datetime import timedelta

import jwt
import pytest

from app.signing_keys.rotate import rotate_signing_key
from tests.faults.cluster import LONG
from tests.live import WITHOUT_LIMITS, LiveServer, StartingServer
from tests.postgres import delete_all_rows

SECONDS, PAUSE = (20.0, 0.02) if LONG else (6.0, 0.1)
MAX_AGE = 1  # seconds
ENOUGH, PATIENCE = 30, 30.0  # rounds, and extra seconds for a busy machine


class CachingVerifier:
    """Verifies tokens with the JWKS alone, which it reloads only after max-age."""

    def __init__(self, live: LiveServer) -> None:
        self.live = live
        self.keys: dict[str, jwt.PyJWK] = {}
        self.read_at = float("-inf")

    def verify(self, token: str) -> dict:
        if time.monotonic() - self.read_at > MAX_AGE:
            status, jwks = self.live.call("GET", "/.well-known/jwks.json")
            assert status == 200
            self.keys = {key["kid"]: jwt.PyJWK(key) for key in jwks["keys"]}
            self.read_at = time.monotonic()
        kid = jwt.get_unverified_header(token)["kid"]
        assert kid in self.keys, "a key signed a token before this verifier could know the key"
        return jwt.decode(
            token, self.keys[kid], algorithms=["ES256"], audience="http://127.0.0.1:8080", leeway=30
        )


@pytest.fixture
def replicas(empty_postgres_url, redis_url, tmp_path):
    delete_all_rows(empty_postgres_url)
    env = {
        "DOORWARD_DATABASE_URL": empty_postgres_url,
        "DOORWARD_REDIS_URL": redis_url,
        "DOORWARD_PUBLIC_URL": "http://127.0.0.1:8080",
        "DOORWARD_ARGON2_MEMORY_KIB": "64",
        "DOORWARD_ARGON2_TIME_COST": "1",
        "DOORWARD_JWKS_MAX_AGE": str(MAX_AGE),
        **WITHOUT_LIMITS,
    }
    made = [StartingServer(tmp_path / f"replica-{number}.log", env=env) for number in range(3)]
    for live in made:
        live.await_ready()
    yield made
    LiveServer.stop_all(made)


class Load:
    """Logs in at one replica and has the token verified by a caching verifier and every replica, repeatedly."""

    def __init__(self, replicas: list[LiveServer], number: int, password: str) -> None:
        self.replicas, self.home = replicas, replicas[number]
        self.verifier = CachingVerifier(replicas[(number + 1) % len(replicas)])
        self.credentials = {"username": "ann", "password": password}
        self.stop = threading.Event()
        self.faults: list[object] = []
        self.kids: set[str] = set()
        self.rounds = 0
        self.thread = threading.Thread(target=self.repeat, daemon=True)

    def repeat(self) -> None:
        while not self.stop.is_set():
            try:
                self.check_once()
            except Exception as error:
                self.faults.append(error)
            time.sleep(PAUSE)

    def check_once(self) -> None:
        status, tokens = self.home.call("POST", "/v1/login", self.credentials)
        assert status == 200, tokens
        token = tokens["access_token"]
        self.kids.add(jwt.get_unverified_header(token)["kid"])
        self.verifier.verify(token)
        for replica in self.replicas:
            status, answer = replica.call(
                "GET", "/v1/whoami", headers={"Authorization": f"Bearer {token}"}
            )
            assert status == 200, answer
        self.rounds += 1


def test_no_valid_token_is_refused_while_keys_rotate(replicas, make_service, empty_postgres_url):
    service = make_service(empty_postgres_url, jwks_max_age=timedelta(seconds=MAX_AGE))
    ann = service.actor("ann").sign_up()
    loads = [Load(replicas, number, ann.password) for number in range(len(replicas))]
    for load in loads:
        load.thread.start()
    until = time.monotonic() + SECONDS
    while time.monotonic() < until or (
        sum(load.rounds for load in loads) <= ENOUGH and time.monotonic() < until + PATIENCE
    ):
        with service.units.open_read_write() as work:
            rotate_signing_key(work)
        time.sleep(0.5)
    for load in loads:
        load.stop.set()
        load.thread.join(30)
    assert not [fault for load in loads for fault in load.faults]
    assert len(set.union(*(load.kids for load in loads))) >= 3
    assert sum(load.rounds for load in loads) > ENOUGH
