"""The service of somebody's tests, in a process of its own: the one file of the client that knows the service.

Reads one JSON object a line from standard input and answers each with one; ends when there are no more.
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
from app.authorization.roles.assign import add_role
from app.authorization.scopes import is_known_role
from app.factory import create_app
from app.notifications.outbox.models import Delivery
from app.principal import ClientInfo
from app.registration.import_accounts import import_accounts
from app.registration.import_dedup import SeenNames
from app.settings import Settings, SettingsError

if TYPE_CHECKING:
    from app.unit_of_work import UnitOfWork, UnitOfWorkFactory

HOST = "127.0.0.1"  # and nothing else, whatever is asked for
HERE = ClientInfo(HOST, HOST, "doorward.testing", "", "en")
GENEROUS = "100000/minute"
THREADS = 32  # as if: there is one for each request, and as many may hash at once as a test likes
POLL_SECONDS = 0.05  # until it is seen that it is to end
CHEAP = {"argon2_memory_kib": "64", "argon2_time_cost": "1"}


class Refused(Exception):
    """What was asked for cannot be; the message says why."""


class PushedClock(Clock):
    """The time of this machine, and as much more as it was pushed."""

    def __init__(self) -> None:
        super().__init__()
        self.pushed = timedelta()

    def now(self) -> datetime:
        return super().now() + self.pushed


class Handler(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: object) -> None:  # noqa: A002 - werkzeug's name
        """The service has a log of its own."""


class Served:
    """One service on a free port, on a database of its own."""

    def __init__(self, folder: Path, template: Path, texts: Mapping[str, str]) -> None:
        database = folder / "doorward.db"
        shutil.copy(template, database)
        with socket.create_server((HOST, 0)) as listening:
            self.url = f"http://{HOST}:{listening.getsockname()[1]}"
            settings = _settings(
                {"public_url": self.url, **texts, "database_url": f"sqlite:///{database}"}
            )
            self._clock, self._used = PushedClock(), False
            app = create_app(settings, clock=self._clock, capacity=Capacity(threads=THREADS))
            self._units: UnitOfWorkFactory = app.extensions["doorward"]
            app.before_request(self._is_used)
            port = listening.getsockname()[1]
            self._server = make_server(
                HOST, port, app, threaded=True, request_handler=Handler, fd=listening.fileno()
            )
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(POLL_SECONDS,), daemon=True
        )
        self._thread.start()

    def _is_used(self) -> None:
        self._used = True

    def now(self) -> str:
        return self._clock.now().isoformat()

    def push(self, seconds: float) -> None:
        self._used = True
        self._clock.pushed += timedelta(seconds=seconds)

    def account(self, username: str, email: str, password: str, roles: list[str]) -> str:
        """Open an account that is ready to sign in, by the way that accounts of other systems come. Returns its id."""
        if unknown := [role for role in roles if not is_known_role(self._units.settings, role)]:
            raise Refused(
                f"There is no role {unknown[0]}: name it and its scopes in the fixture doorward_settings, under roles."
            )
        line = {
            "username": username,
            "email": email,
            "password_hash": self._units.hasher.hash(password),
        }
        with closing(SeenNames()) as seen, self._units.open_read_write() as work:
            outcome = import_accounts(work, lines=[(1, line)], seen=seen)
            if outcome.rejected:
                raise Refused(
                    "; ".join(
                        f"{fault.field} {fault.reason}{fault.detail}"
                        for fault in outcome.rejected[0].faults
                    )
                )
            return _with_roles(work, username, roles)

    def calm(self) -> None:
        """Between two tests: the clock as it is, the mailbox empty, nobody made to wait for what the test before has tried."""
        if not self._used:
            return
        self._used, self._clock.pushed = False, timedelta()
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


def _with_roles(work: UnitOfWork, username: str, roles: list[str]) -> str:
    account = find_account_by_username(work.db, username.lower())
    if account is None:
        raise Refused("The account is not there.")
    for role in roles:
        add_role(work, HERE, account_id=account.id, role=role)
    return account.id


def _settings(texts: Mapping[str, str]) -> Settings:
    """Settings from texts as they would stand in the environment, which is not looked at. Raises Refused."""
    fields = {field.name: field for field in dataclasses.fields(Settings)}
    generous = {name: GENEROUS for name in fields if name.startswith("limit_")}
    values, faults = {}, []
    for name, text in {
        "secret_key": secrets.token_urlsafe(48),
        **generous,
        **CHEAP,
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
    raise Refused(f"These settings are not right: {'; '.join(faults)}.")


class Host:
    """Every service of this process, by number."""

    def __init__(self, folder: Path) -> None:
        self._template = folder / "template.db"
        self._numbers = itertools.count(1)
        self._served: dict[int, Served] = {}
        migrations.upgrade(f"sqlite:///{self._template}")

    def answer(self, asked: dict[str, Any]) -> object:
        do, number = asked.pop("do"), asked.pop("number", None)
        act: Callable[..., object] = (
            getattr(self, do) if number is None else getattr(self._served[number], do)
        )
        if do == "close":
            del self._served[number]
        return act(**asked)

    def open(self, folder: str, settings: dict[str, str]) -> dict[str, object]:
        number = next(self._numbers)
        self._served[number] = served = Served(Path(folder), self._template, settings)
        return {"number": number, "url": served.url}


def main(commands: IO[str], answers: IO[str], folder: Path) -> None:
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # Ctrl-C is for the tests; what ends this is that nobody asks any more
    logs.configure_logging(sys.stderr)
    host = Host(folder)
    print(json.dumps({"ready": True}), file=answers, flush=True)
    for line in commands:
        try:
            answer = {"answer": host.answer(json.loads(line))}
        except Refused as reason:
            answer = {"refused": str(reason)}
        except Exception as error:  # A fault in one test must not take the service away from all that come after it.
            traceback.print_exc()
            answer = {
                "refused": f"{type(error).__name__}: {error}. More stands in {folder / 'doorward.log'}."
            }
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    answers, sys.stdout = sys.stdout, sys.stderr  # nothing but answers may come between answers
    main(sys.stdin, answers, Path(sys.argv[1]))
