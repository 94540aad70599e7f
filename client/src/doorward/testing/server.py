"""The process of the test service, and the only module of the client that imports the service.

It reads one command per line from standard input, as a JSON object, answers each with one line on
standard output, and ends at the end of the input.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import secrets
import shutil
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from sqlalchemy import delete
from werkzeug.serving import WSGIRequestHandler, make_server

from app.accounts.models import find_account_by_username
from app.adapters import logs, migrations
from app.adapters.clock import Clock
from app.adapters.password_hasher import Capacity
from app.authentication.throttling.models import FailedAttempts
from app.authorization.rights import is_known_role
from app.authorization.roles.assign import add_role
from app.factory import create_app
from app.notifications.outbox.models import Delivery
from app.principal import ClientInfo
from app.registration.import_accounts import SeenNames, import_accounts
from app.settings import Settings, SettingsError

if TYPE_CHECKING:
    from app.unit_of_work import UnitOfWork, UnitOfWorkFactory

HOST = "127.0.0.1"  # never another interface
CLIENT_INFO = ClientInfo(HOST, HOST, "doorward.testing", "", "en")
HIGH_LIMIT = "100000/minute"
THREADS = 32  # limits concurrent password hashes; there is really one thread for each request
POLL_SECONDS = 0.05  # between checks for a shutdown
CHEAP_HASHING = {"argon2_memory_kib": "64", "argon2_time_cost": "1"}


class CommandRejected(Exception):
    """The command cannot be executed. The message says why."""


class AdjustableClock(Clock):
    """The clock of this machine plus an offset."""

    def __init__(self) -> None:
        super().__init__()
        self.offset = timedelta()

    def now(self) -> datetime:
        return super().now() + self.offset


class Handler(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: object) -> None:  # noqa: A002 - werkzeug
        """Log nothing, because the service has its own log."""


class ServiceInstance:
    """A service on a free port, with its own database."""

    def __init__(self, folder: Path, template: Path, texts: Mapping[str, str]) -> None:
        database = folder / "doorward.db"
        shutil.copy(template, database)
        with socket.create_server((HOST, 0)) as listening:
            self.url = f"http://{HOST}:{listening.getsockname()[1]}"
            settings = _build_settings(
                {"public_url": self.url, **texts, "database_url": f"sqlite:///{database}"}
            )
            self._clock, self._used = AdjustableClock(), False
            app = create_app(settings, clock=self._clock, capacity=Capacity(threads=THREADS))
            self._units: UnitOfWorkFactory = app.extensions["doorward"]
            app.before_request(self._mark_used)
            port = listening.getsockname()[1]
            self._server = make_server(
                HOST, port, app, threaded=True, request_handler=Handler, fd=listening.fileno()
            )
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(POLL_SECONDS,), daemon=True
        )
        self._thread.start()

    def _mark_used(self) -> None:
        self._used = True

    def get_time(self) -> str:
        return self._clock.now().isoformat()

    def push_clock(self, seconds: float) -> None:
        self._used = True
        self._clock.offset += timedelta(seconds=seconds)

    def create_account(self, username: str, email: str, password: str, roles: list[str]) -> str:
        """Create an account that can log in at once, through the import. Returns its id."""
        if unknown := [role for role in roles if not is_known_role(self._units.settings, role)]:
            raise CommandRejected(
                f"There is no role {unknown[0]}."
                " Add it to roles in the fixture doorward_settings, with its scopes."
            )
        line = {
            "username": username,
            "email": email,
            "password_hash": self._units.hasher.hash(password),
        }
        with closing(SeenNames()) as seen, self._units.open_read_write() as work:
            outcome = import_accounts(work, lines=[(1, line)], seen=seen)
            if outcome.rejected:
                raise CommandRejected(
                    "; ".join(
                        f"{fault.field} {fault.reason}{fault.detail}"
                        for fault in outcome.rejected[0].faults
                    )
                )
            return _grant_roles(work, username, roles)

    def reset(self) -> None:
        """Reset the clock, the mailbox, the rate limits and throttling, if the service was used."""
        if not self._used:
            return
        self._used, self._clock.offset = False, timedelta()
        self._units.limiter.reset()
        with self._units.open_read_write() as work:
            work.db.execute(delete(FailedAttempts))
            work.db.execute(delete(Delivery))

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)
        self._units.database.engine.dispose()
        self._units.database.autocommit_engine.dispose()


def _grant_roles(work: UnitOfWork, username: str, roles: list[str]) -> str:
    account = find_account_by_username(work.db, username.lower())
    if account is None:
        raise CommandRejected(f"There is no account {username}.")
    for role in roles:
        add_role(work, CLIENT_INFO, account_id=account.id, role=role)
    return account.id


def _build_settings(texts: Mapping[str, str]) -> Settings:
    """Build settings from texts, without reading the environment. Raises CommandRejected."""
    fields = {field.name: field for field in dataclasses.fields(Settings)}
    high_limits = {name: HIGH_LIMIT for name in fields if name.startswith("limit_")}
    values, faults = {}, []
    for name, text in {
        "secret_key": secrets.token_urlsafe(48),
        **high_limits,
        **CHEAP_HASHING,
        **texts,
    }.items():
        if name not in fields:
            faults.append(f"{name}: is not a setting")
            continue
        try:
            values[name] = fields[name].metadata["parse"](text)
        except (ValueError, RecursionError) as error:
            faults.append(f"{name}: {error}")
    if not faults:
        try:
            return Settings(**values)
        except SettingsError as error:
            faults = error.faults
    raise CommandRejected(f"Invalid settings: {'; '.join(faults)}.")


class ServiceHost:
    """The services of this process, by number."""

    def __init__(self, folder: Path) -> None:
        self._template = folder / "template.db"
        self._numbers = itertools.count(1)
        self._instances: dict[int, ServiceInstance] = {}
        migrations.upgrade(f"sqlite:///{self._template}")

    def execute(self, arguments: dict[str, Any]) -> object:
        """Run a command of this host, or of the service with the given number."""
        command, number = arguments.pop("command"), arguments.pop("number", None)
        target: object = self if number is None else self._instances[number]
        method: Callable[..., object] = getattr(target, command)
        if command == "close":
            del self._instances[number]
        return method(**arguments)

    def open(self, folder: str, settings: dict[str, str]) -> dict[str, object]:
        """Start a service and return its number and URL."""
        number = next(self._numbers)
        instance = ServiceInstance(Path(folder), self._template, settings)
        self._instances[number] = instance
        return {"number": number, "url": instance.url}


def run(commands: IO[str], replies: IO[str], folder: Path) -> None:
    """Execute commands until the end of the input."""
    # Ctrl-C is for the tests. This process ends when its input does.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logs.configure_logging(sys.stderr)
    host = ServiceHost(folder)
    print(json.dumps({"ready": True}), file=replies, flush=True)
    for line in commands:
        try:
            reply = {"result": host.execute(json.loads(line))}
        except CommandRejected as error:
            reply = {"error": str(error)}
        except Exception as error:  # one failed command must not end the service for all tests
            traceback.print_exc()
            log = folder / "doorward.log"
            reply = {"error": f"{type(error).__name__}: {error}. See the log: {log}"}
        print(json.dumps(reply), file=replies, flush=True)


if __name__ == "__main__":
    replies, sys.stdout = sys.stdout, sys.stderr  # other output must not mix with the replies
    run(sys.stdin, replies, Path(sys.argv[1]))
