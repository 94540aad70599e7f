"""A service process for all tests of the client, and users in it."""

from __future__ import annotations

import itertools
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from doorward import Doorward
from tests.actors import PASSWORD
from tests.client.fake_server import FakeServer
from tests.live import CHEAP_HASH, ROOT, WITHOUT_LIMITS, LiveServer

NUMBERS = itertools.count()
SOURCES = ROOT / "client" / "src"


@pytest.fixture(scope="session")
def live(sqlite_template, tmp_path_factory) -> LiveServer:
    """A service process. Each test uses its own users in it."""
    folder = tmp_path_factory.mktemp("client")
    shutil.copy(sqlite_template, folder / "doorward.db")
    served = LiveServer(
        folder / "live.log",
        env={
            **WITHOUT_LIMITS,
            **CHEAP_HASH,
            "DOORWARD_DATABASE_URL": f"sqlite:///{folder / 'doorward.db'}",
        },
    )
    served.database = folder / "doorward.db"
    yield served
    served.stop()


@dataclass
class Person:
    """A user of the service."""

    live: LiveServer
    name: str
    password: str = PASSWORD

    def client(self, **options) -> Doorward:
        return Doorward(self.live.url, **options)

    def log_in(self, **options) -> Doorward:
        client = self.client()
        client.login.with_password(self.name, self.password, **options)
        return client

    def approve(self, user_code: str, *, word: str = "approve") -> int:
        """Approve a device login on another device, and return the status."""
        headers = {"Authorization": f"Bearer {self.log_in().token}"}
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
    return register_user(live)


def register_user(live: LiveServer) -> Person:
    """Register and confirm a user."""
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
    """A store for one test, without the environment variables of the developer."""
    for name in [name for name in os.environ if name.startswith("DOORWARD_")]:
        monkeypatch.delenv(name)
    path = tmp_path / "store" / "sessions.json"
    monkeypatch.setenv("DOORWARD_STORE", str(path))
    return path


@pytest.fixture
def fake_server():
    """Start fake servers."""
    made = []

    def make(*answers, **options) -> FakeServer:
        made.append(FakeServer(*answers, **options))
        return made[-1]

    yield make
    for one in made:
        one.stop()


def build_environment(**more: str) -> dict[str, str]:
    """Return the environment of a process that uses the client."""
    return {**os.environ, "PYTHONPATH": str(SOURCES), **more}
