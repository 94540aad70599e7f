"""The service in the test process, and users who call it through HTTP."""

from __future__ import annotations

import itertools
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import event, text

from app.adapters.clock import Clock
from app.adapters.database import Database
from app.adapters.password_hasher import Capacity
from app.factory import build_units, create_app
from app.settings import Settings

PASSWORD = "correct horse battery staple"
WRONG_PASSWORD = "wrong horse battery staple"
# Settings for about 20 ms, so that a missing or extra hash stands out from the rest of a request.
EXPENSIVE_HASH = {"argon2_memory_kib": 19456, "argon2_time_cost": 2}
SECRET = "test only test only 0123456789 test only"
TICK = timedelta(microseconds=1)


class AdjustableClock(Clock):
    """A clock that a test can push forward or freeze."""

    def __init__(self) -> None:
        super().__init__()
        self._pushed = timedelta()
        self._frozen: datetime | None = None
        self._ticks = 0.0

    def now(self):
        if self._frozen is not None:
            self._frozen += TICK
        return (self._frozen or super().now()) + self._pushed

    def get_monotonic_time(self):
        return super().get_monotonic_time() if self._frozen is None else self._ticks

    def freeze(self, at: datetime | None = None) -> None:
        """Stop the clock: from now on only `push` and one microsecond per reading advance it.

        Otherwise a busy machine could exceed limits of one second.
        """
        self._frozen, self._ticks = at or super().now(), super().get_monotonic_time()

    def push(self, **time: float) -> None:
        self._pushed += timedelta(**time)


def build_settings(database_url: str, **changes: Any) -> Settings:
    """Build settings with the shipped defaults, except for a cheap password hash."""
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
    """Skip fsync, because no test cuts the power. Data survives the end of a process anyway."""
    for engine in (database.engine, database.autocommit_engine):
        event.listen(
            engine,
            "connect",
            lambda connection, _record: connection.execute("PRAGMA synchronous=OFF"),
        )


class Service:
    """The service in the test process."""

    def __init__(self, settings: Settings, *, capacity: Capacity | None = None) -> None:
        self.settings = settings
        self.clock = AdjustableClock()
        self.app = create_app(settings, clock=self.clock, capacity=capacity)
        self._database: Database = self.app.extensions["doorward"].database
        if settings.uses_sqlite:
            _disable_fsync(self._database)
        self._capacity = capacity or Capacity()
        self.reset()

    def reset(self) -> None:
        """Forget everything that the process remembers. Routes and compiled SQL stay.

        Each reset copies the original engines. The copies share the pool and the compiled SQL, but
        event listeners of a test stay on its copy.
        """
        self._database.engine.dispose()
        self._database.autocommit_engine.dispose()
        AdjustableClock.__init__(self.clock)
        database = copy(self._database)
        database.engine = database.engine.execution_options()
        database.autocommit_engine = database.autocommit_engine.execution_options()
        database.bind_sessions()
        self.units = build_units(self.settings, database, self.clock, self._capacity)
        self.app.extensions["doorward"] = self.units
        self._addresses = itertools.count(1)

    def actor(self, username: str = "ann", **details: Any) -> Actor:
        """Return a user at an IP address of their own, so that rate limits do not interfere."""
        number = next(self._addresses)
        return Actor(
            self,
            username,
            address=details.pop("address", f"10.0.{number // 250}.{number % 250 + 1}"),
            **details,
        )

    def mailbox(self, to: str | None = None) -> list[dict[str, Any]]:
        """Return emails in the development mailbox, newest first."""
        items = (
            self.app.test_client()
            .get("/dev/mailbox", headers={"Accept": "application/json"})
            .json["items"]
        )
        return [item for item in items if to is None or item["to"] == to]

    def freeze_clock(self) -> Service:
        """Freeze the clock and return the service."""
        self.clock.freeze()
        return self

    @contextmanager
    def open_database(self):
        """Open a database session for states that no request can reach."""
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
    """A user of the service."""

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
        """Send a request. `token` is sent as bearer token."""
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
        """Return the latest email to this user."""
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

    def request_password_reset(self, **body: Any):
        return self.post("/v1/password/forgot", body or {"username": self.username})

    def get_reset_token(self) -> str:
        """Return the token of the latest password reset link."""
        return next(mail for mail in self.service.mailbox(self.email) if "/reset/" in mail["text"])[
            "links"
        ][0].rpartition("/")[2]

    def reset(self, new_password: str, *, token: str | None = None, **changes: Any):
        """Reset the password with the emailed link and remember the new one."""
        body = {"token": token or self.get_reset_token(), "new_password": new_password, **changes}
        answer = self.post("/v1/password/reset", body)
        if answer.status_code == 204:
            self.password = new_password
        return answer

    def change(self, new_password: str, *, token: str | None = None, **changes: Any):
        """Change the password and keep the new tokens of the session."""
        body = {"old_password": self.password, "new_password": new_password, **changes}
        answer = self.post("/v1/password/change", body, token=token or self.access)
        if answer.status_code == 200:
            self.password, self.tokens = new_password, answer.json
        return answer

    def from_another_address(self, **details: Any) -> Actor:
        """Return the same user at another IP address, not signed in."""
        return self.service.actor(
            self.username, email=self.email, password=self.password, **details
        )

    def sign_up(self) -> Actor:
        """Register and confirm the email address."""
        assert self.register().status_code == 202
        assert self.confirm().status_code == 200
        return self

    def sign_in(self) -> Actor:
        """Register, confirm and log in."""
        self.sign_up()
        assert self.login().status_code == 200
        return self

    @property
    def access(self) -> str:
        return self.tokens["access_token"]
