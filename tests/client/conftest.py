"""The service as a program on another machine reaches it: one process for all tests of the client, and people in it."""

from __future__ import annotations

import itertools
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from doorward import Doorward
from tests.actors import PASSWORD
from tests.client.stand_in import StandIn
from tests.conftest import LIMITS
from tests.live import HIGH_LIMIT, ROOT, LiveServer

NUMBERS = itertools.count()
SOURCES = ROOT / "client" / "src"


@pytest.fixture(scope="session")
def live(sqlite_template, tmp_path_factory) -> LiveServer:
    """One serving process. Tests use people of their own in it."""
    folder = tmp_path_factory.mktemp("client")
    shutil.copy(sqlite_template, folder / "doorward.db")
    limits = {f"DOORWARD_LIMIT_{name}": HIGH_LIMIT for name in (*LIMITS, "DEVICE", "POLL")}
    cheap = {"DOORWARD_ARGON2_MEMORY_KIB": "64", "DOORWARD_ARGON2_TIME_COST": "1"}
    served = LiveServer(
        folder / "live.log",
        env={**limits, **cheap, "DOORWARD_DATABASE_URL": f"sqlite:///{folder / 'doorward.db'}"},
    )
    served.database = folder / "doorward.db"
    yield served
    served.stop()


@dataclass
class Person:
    """Somebody with an account."""

    live: LiveServer
    name: str
    password: str = PASSWORD

    def client(self, **options) -> Doorward:
        return Doorward(self.live.url, **options)

    def logged_in(self, **options) -> Doorward:
        client = self.client()
        client.login.with_password(self.name, self.password, **options)
        return client

    def approve(self, user_code: str, *, word: str = "approve") -> int:
        """What the person does on the other device."""
        headers = {"Authorization": f"Bearer {self.logged_in().token}"}
        status, claimed = self.live.call(
            "POST", "/v1/login-sessions/claim", {"user_code": user_code}, headers
        )
        assert status == 200, claimed
        body = {"user_code": user_code} if word == "approve" else {}
        return self.live.call("POST", f"/v1/login-sessions/{claimed['id']}/{word}", body, headers)[
            0
        ]


@pytest.fixture
def ann(live) -> Person:
    return settle(live)


def settle(live: LiveServer) -> Person:
    """Registered and confirmed."""
    name = f"ann{next(NUMBERS)}-{os.getpid()}"
    email = f"{name}@example.org"
    body = {"username": name, "email": email, "name": "Ann", "password": PASSWORD}
    status, registered = live.call("POST", "/v1/register", body)
    assert status == 202, registered
    code = live.mailbox(email)[0]["code"]
    status, answer = live.call(
        "POST", "/v1/register/confirm", {"registration": registered["registration"], "code": code}
    )
    assert status == 200, answer
    return Person(live, name)


@pytest.fixture(autouse=True)
def store(tmp_path, monkeypatch) -> Path:
    """A store of the test's own, and nothing of the developer's environment."""
    for name in [name for name in os.environ if name.startswith("DOORWARD_")]:
        monkeypatch.delenv(name)
    path = tmp_path / "store" / "sessions.json"
    monkeypatch.setenv("DOORWARD_STORE", str(path))
    return path


@pytest.fixture
def stand_in():
    """Something that is reached like the service and answers what the test wants."""
    made = []

    def make(*answers, **options) -> StandIn:
        made.append(StandIn(*answers, **options))
        return made[-1]

    yield make
    for one in made:
        one.stop()


def environment(**more: str) -> dict[str, str]:
    """For a process of its own that uses the client."""
    return {**os.environ, "PYTHONPATH": str(SOURCES), **more}
