"""Fixtures: a server process with accounts and API keys, as clients see it."""

from __future__ import annotations

import itertools
import json
import shutil
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import jwt
import pytest

from app.signing_keys.rotate import rotate_signing_key
from tests.actors import PASSWORD, Actor, Service, build_settings
from tests.clients import npm
from tests.live import WITHOUT_LIMITS, LiveServer
from tests.oauth_clients import ROLES, create_key, create_key_owner

NUMBERS = itertools.count()
CLIENTS = {"job": {"name": "Night job", "scopes": ["orders:read"]}}
SERVED = {
    "DOORWARD_ROLES": json.dumps(ROLES),
    "DOORWARD_CLIENTS": json.dumps(CLIENTS),
    "DOORWARD_JWKS_MAX_AGE": "1",
}


@dataclass
class Site:
    """A server process, and a second service on the same database for administration."""

    live: LiveServer
    service: Service
    ann: Actor
    key: dict

    @property
    def url(self) -> str:
        return self.live.url

    def login(self) -> dict:
        status, tokens = self.live.call(
            "POST", "/v1/login", {"username": self.ann.username, "password": PASSWORD}
        )
        assert status == 200
        return tokens

    def read_kid(self, token: str) -> str:
        return jwt.get_unverified_header(token)["kid"]

    def log_in_with_new_key(self, known: set[str]) -> str:
        """Log in until a new signing key is used: processes look for keys every few seconds."""
        end = time.monotonic() + 10
        while self.read_kid(token := self.login()["access_token"]) in known:
            assert time.monotonic() < end
            time.sleep(0.2)
        return token

    def sign(self, **claims) -> str:
        """Sign a token that no endpoint would issue."""
        return self.service.units.signing_keys.sign("at+jwt", claims)

    def rotate_signing_key(self) -> None:
        """Rotate the signing key and wait until the process uses it."""
        with self.service.units.open_read_write() as work:
            made = rotate_signing_key(work)
        assert made is not None
        time.sleep(max(0.0, (made.signs_from - self.service.clock.now()).total_seconds()))


@pytest.fixture(scope="session")
def shared_server(sqlite_template, tmp_path_factory):
    """Start a server process for all tests that tolerate key changes by others."""
    folder = tmp_path_factory.mktemp("clients")
    shutil.copy(sqlite_template, folder / "doorward.db")
    url = f"sqlite:///{folder / 'doorward.db'}"
    limits = WITHOUT_LIMITS
    cheap = {
        "DOORWARD_ARGON2_MEMORY_KIB": "64",
        "DOORWARD_ARGON2_TIME_COST": "1",
        "DOORWARD_DATABASE_URL": url,
    }
    live = LiveServer(folder / "live.log", env={**limits, **cheap, **SERVED})
    service = Service(build_settings(url, **get_settings_of(live)))
    yield live, service
    live.stop()
    service.close()


@pytest.fixture
def site(shared_server) -> Site:
    """Register an account for each test."""
    live, service = shared_server
    if live.process.poll() is not None:  # a test before has stopped it
        live.start()
    return build_site(live, service, f"ann{next(NUMBERS)}")


@pytest.fixture
def own_site(make_live, make_service, sqlite_url) -> Site:
    """Start a server process for one test that observes key changes closely."""
    live = make_live(database_url=sqlite_url, **SERVED)
    return build_site(live, make_service(sqlite_url, **get_settings_of(live)), "ann")


def get_settings_of(live: LiveServer) -> dict[str, Any]:
    return {"roles": ROLES, "public_url": live.url, "jwks_max_age": timedelta(seconds=1)}


def build_site(live: LiveServer, service: Service, name: str) -> Site:
    ann = create_key_owner(service, name)
    return Site(
        live, service, ann, create_key(ann, "orders:read", "revocations:read", "tokens:introspect")
    )


@pytest.fixture(scope="session")
def packages():
    """Return the folder of npm packages, or the reason why there is none."""
    try:
        return npm.install_packages()
    except npm.NoRegistry as error:
        return error


@pytest.fixture
def node(tmp_path, packages):
    """Return a folder in which Node finds the packages. Skips the test without a registry."""
    if isinstance(packages, npm.NoRegistry):
        pytest.skip(f"{packages}; it is asked for three packages and they are kept in {npm.KEPT}")
    kept = packages
    (tmp_path / "node_modules").symlink_to(kept / "node_modules")
    return tmp_path
