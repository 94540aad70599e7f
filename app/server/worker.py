"""A worker process: it serves requests, runs the background jobs and stops gracefully.

After SIGTERM, /readyz answers 503 while the worker still accepts requests, so that load balancers
can remove it. Every response then closes its connection. After that the worker closes its listener,
answers the requests that it has, and exits.
"""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import signal
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

import uvicorn

from app.server.background_jobs import BackgroundJobs, ProcessKind
from app.server.front import Front
from app.server.http_protocol import MAX_CONNECTIONS, HttpProtocol
from app.server.supervisor import HEARTBEAT_SECONDS

if TYPE_CHECKING:
    import socket
    from types import FrameType

    from flask import Flask

    from app.adapters.password_hasher import Capacity
    from app.settings import Settings
    from app.unit_of_work import UnitOfWorkFactory

# Idle time of a connection. It must exceed the idle timeout of the gateway, which would otherwise
# send requests on closed connections.
KEEP_ALIVE_SECONDS = 75
# Time to keep accepting after SIGTERM: load balancers poll /readyz every second or two.
DRAIN_NOTICE_SECONDS = 2.0
MAX_REQUEST_SECONDS = 14  # that requests have to finish after that
# For emails that are being sent. A delivery that takes longer keeps its lease and is sent again.
JOBS_STOP_SECONDS = 3.0
QUICK_STOP_SECONDS = 0.5
# A thread that holds the interpreter lets the event loop continue after this time.
SWITCH_SECONDS = 0.0005


class CreateApp(Protocol):
    """The application factory. __main__ passes it in, so that commands do not import it."""

    def __call__(self, settings: Settings, *, capacity: Capacity | None = None) -> Flask: ...


class WorkerServer(uvicorn.Server):
    """uvicorn's server with a heartbeat, connection deadlines and draining."""

    def __init__(self, config: uvicorn.Config, units: UnitOfWorkFactory, heartbeat: int) -> None:
        super().__init__(config)
        self._units, self._heartbeat = units, heartbeat
        self._next_second = 0.0
        self._accepts_until: float | None = None
        self.is_quitting = False

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Handle SIGTERM by draining, SIGINT and SIGQUIT by stopping at once.

        A signal can arrive twice: from the parent, and from a terminal that signals every process.
        """
        del frame
        if sig != signal.SIGTERM:
            self.is_quitting = self.should_exit = self.force_exit = True
        elif self._accepts_until is None:
            self._accepts_until = time.monotonic() + DRAIN_NOTICE_SECONDS
            self._units.draining.set()

    async def on_tick(self, counter: int) -> bool:
        """Do what is due every tenth of a second. Returns whether to stop."""
        now = time.monotonic()
        if now >= self._next_second:
            self._next_second = now + HEARTBEAT_SECONDS
            self._send_heartbeat()
            self._close_overdue_connections()
        if self._accepts_until is not None and now >= self._accepts_until:
            self.should_exit = True
        return await super().on_tick(counter)

    def _send_heartbeat(self) -> None:
        try:
            os.write(self._heartbeat, b".")
        except BlockingIOError:
            return  # the parent is slow, but it exists
        except OSError:
            self.should_exit = True  # the parent has ended

    def _close_overdue_connections(self) -> None:
        now = asyncio.get_running_loop().time()
        for connection in list(self.server_state.connections):
            if isinstance(connection, HttpProtocol) and connection.is_overdue(now):
                connection.abort()


def run_worker(
    create_app: CreateApp,
    settings: Settings,
    capacity: Capacity,
    listener: socket.socket,
    heartbeat: int,
) -> None:
    """Serve on the listening socket until a signal stops the process."""
    sys.setswitchinterval(SWITCH_SECONDS)
    _raise_descriptor_limit()
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    app = create_app(settings, capacity=capacity)
    units: UnitOfWorkFactory = app.extensions["doorward"]
    jobs = BackgroundJobs(units, ProcessKind.SERVER)
    config = uvicorn.Config(
        Front(app, units, capacity),
        http=HttpProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=MAX_REQUEST_SECONDS,
    )
    server = WorkerServer(config, units, heartbeat)
    signal.signal(signal.SIGQUIT, server.handle_exit)
    jobs.start()
    server.run(sockets=[listener])
    units.draining.set()
    jobs.stop(timeout=QUICK_STOP_SECONDS if server.is_quitting else JOBS_STOP_SECONDS)
    # A normal exit waits for threads that still hash.
    sys.stdout.flush()
    os._exit(0)


def _raise_descriptor_limit() -> None:
    """Allow a descriptor for each connection, if the hard limit does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * MAX_CONNECTIONS
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft < wanted:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
