"""People and programs that use the service, and the service they use. Everything they do goes through HTTP."""

from __future__ import annotations

import itertools
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import event, text

from app.adapters.clock import Clock
from app.adapters.database import Database
from app.adapters.password_hasher import Capacity
from app.factory import create_app
from app.settings import Settings

PASSWORD = "correct horse battery staple"
SECRET = "test only test only 0123456789 test only"
TICK = timedelta(microseconds=1)


class AdjustableClock(Clock):
    """A clock that a test can push forward."""

    def __init__(self) -> None:
        super().__init__()
        self._pushed = timedelta()
        self._held: datetime | None = None
        self._ticks = 0.0

    def now(self):
        if self._held is not None:
            self._held += TICK
        return (self._held or super().now()) + self._pushed

    def get_monotonic_time(self):
        return super().get_monotonic_time() if self._held is None else self._ticks

    def freeze(self, at: datetime | None = None) -> None:
        """From here on only what is pushed goes by, and a moment at each look: a busy machine would miss limits of a second."""
        self._held, self._ticks = at or super().now(), super().get_monotonic_time()

    def push(self, **time: float) -> None:
        self._pushed += timedelta(**time)


def build_settings(database_url: str, **changes: Any) -> Settings:
    """The settings of tests: everything as shipped, but a hash that costs little."""
    return Settings(
        **{
            "secret_key": (SECRET,),
            "database_url": database_url,
            "argon2_memory_kib": 64,
            "argon2_time_cost": 1,
            **changes,
        }
    )


def _disable_fsync(database: Database) -> None:
    """Do not wait for the disk at each commit: no test pulls the plug, and what a process has written survives its end."""
    for engine in (database.engine, database.autocommit_engine):
        event.listen(
            engine,
            "connect",
            lambda connection, _record: connection.execute("PRAGMA synchronous=OFF"),
        )


class Service:
    """The service in this process, on a database of its own."""

    def __init__(self, settings: Settings, *, capacity: Capacity | None = None) -> None:
        self.settings = settings
        self.clock = AdjustableClock()
        self.app = create_app(settings, clock=self.clock, capacity=capacity)
        self.units = self.app.extensions["doorward"]
        if settings.uses_sqlite:
            _disable_fsync(self.units.database)
        self._addresses = itertools.count(1)

    def actor(self, username: str = "ann", **details: Any) -> Actor:
        """Somebody at an address of his own, so that limits do not mix people up."""
        number = next(self._addresses)
        return Actor(
            self,
            username,
            address=details.pop("address", f"10.0.{number // 250}.{number % 250 + 1}"),
            **details,
        )

    def mailbox(self, to: str | None = None) -> list[dict[str, Any]]:
        """Mail of development, newest first."""
        items = (
            self.app.test_client()
            .get("/dev/mailbox", headers={"Accept": "application/json"})
            .json["items"]
        )
        return [item for item in items if to is None or item["to"] == to]

    def freeze_clock(self) -> Service:
        """The same, on a clock that goes no further by itself."""
        self.clock.freeze()
        return self

    @contextmanager
    def open_database(self):
        """The database itself, for states that no request can reach and for what must not be in it."""
        with self.units.open_read_write() as work:
            yield work.db

    def scalar(self, sql: str, **values: Any) -> Any:
        with self.open_database() as db:
            return db.execute(text(sql), values).scalar()

    def close(self) -> None:
        self.units.database.engine.dispose()
        self.units.database.autocommit_engine.dispose()


@dataclass
class Actor:
    """Somebody who uses the service."""

    service: Service
    username: str
    address: str
    password: str = PASSWORD
    email: str = ""
    agent: str = "tests/1"
    registration: str = ""
    tokens: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.email = self.email or f"{self.username}@example.org"

    def call(
        self,
        method: str,
        path: str,
        *,
        token: str | None = None,
        headers: dict[str, str] | None = None,
        **kwargs: Any,
    ):
        """One request. `token` is sent as bearer."""
        sent = {"User-Agent": self.agent, **(headers or {})}
        if token:
            sent["Authorization"] = f"Bearer {token}"
        client = self.service.app.test_client(use_cookies=False)
        return client.open(
            path, method=method, headers=sent, environ_base={"REMOTE_ADDR": self.address}, **kwargs
        )

    def post(self, path: str, body: Any = None, **kwargs: Any):
        return self.call("POST", path, json=body if body is not None else {}, **kwargs)

    def get(self, path: str, **kwargs: Any):
        return self.call("GET", path, **kwargs)

    # -- the trip of an account -------------------------------------------------------------------------------------

    def register(self, **changes: Any):
        body = {
            "username": self.username,
            "email": self.email,
            "name": self.username.title(),
            "password": self.password,
            **changes,
        }
        answer = self.post(
            "/v1/register", {name: value for name, value in body.items() if value is not None}
        )
        if answer.status_code == 202:
            self.registration = answer.json["registration"]
        return answer

    def mail(self) -> dict[str, Any]:
        """The latest mail to this person."""
        return self.service.mailbox(self.email)[0]

    def get_mailed_token(self) -> str:
        return self.mail()["links"][0].rpartition("/")[2]

    def confirm(self, **changes: Any):
        body = {"registration": self.registration, "code": self.mail()["code"], **changes}
        return self.post("/v1/register/confirm", body)

    def login(self, **changes: Any):
        answer = self.post(
            "/v1/login", {"username": self.username, "password": self.password, **changes}
        )
        if answer.status_code == 200:
            self.tokens = answer.json
        return answer

    def refresh(self, token: str | None = None):
        return self.post(
            "/v1/token/refresh", {"refresh_token": token or self.tokens["refresh_token"]}
        )

    def whoami(self, token: str | None = None):
        return self.get("/v1/whoami", token=token or self.access)

    def logout(self):
        return self.post("/v1/logout", token=self.access)

    def forgot(self, **body: Any):
        return self.post("/v1/password/forgot", body or {"username": self.username})

    def get_reset_token(self) -> str:
        """The token of the latest mailed link to another password."""
        return next(mail for mail in self.service.mailbox(self.email) if "/reset/" in mail["text"])[
            "links"
        ][0].rpartition("/")[2]

    def reset(self, new_password: str, *, token: str | None = None, **changes: Any):
        """Choose another password by the mailed link; from then on it is the one that is typed."""
        body = {"token": token or self.get_reset_token(), "new_password": new_password, **changes}
        answer = self.post("/v1/password/reset", body)
        if answer.status_code == 204:
            self.password = new_password
        return answer

    def change(self, new_password: str, *, token: str | None = None, **changes: Any):
        """Choose another password by the present one; the session goes on with the tokens of the answer."""
        body = {"old_password": self.password, "new_password": new_password, **changes}
        answer = self.post("/v1/password/change", body, token=token or self.access)
        if answer.status_code == 200:
            self.password, self.tokens = new_password, answer.json
        return answer

    def from_another_address(self, **details: Any) -> Actor:
        """The same person at another address, signed in nowhere there."""
        return self.service.actor(
            self.username, email=self.email, password=self.password, **details
        )

    def sign_up(self) -> Actor:
        """Registered and confirmed."""
        assert self.register().status_code == 202
        assert self.confirm().status_code == 200
        return self

    def sign_in(self) -> Actor:
        """Registered, confirmed and logged in."""
        self.sign_up()
        assert self.login().status_code == 200
        return self

    @property
    def access(self) -> str:
        return self.tokens["access_token"]
