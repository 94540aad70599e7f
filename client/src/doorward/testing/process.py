"""The process in which the test service runs, and the commands that are sent to it."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from doorward.errors import DoorwardError
from doorward.testing.launcher import EXIT_NOT_INSTALLED

LAUNCHER = Path(__file__).with_name("launcher.py")
SHUTDOWN_TIMEOUT_SECONDS = 5.0


class DoorwardTestError(DoorwardError):
    """The test service cannot be started, or cannot do what was requested."""


class ServerProcess:
    """A process that runs any number of test services. It ends with the parent process."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "doorward.log"
        self._lock = threading.Lock()
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own file
                # -P keeps the working directory, which may contain another package `app`, off the
                # import path; -W ignore overrides the warning filters of the tests.
                [sys.executable, "-P", "-W", "ignore", str(LAUNCHER), str(folder)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                encoding="utf-8",
            )
        self._read_reply()

    def call(self, command: str, **arguments: Any) -> Any:
        """Run a command in the process and return its result. Raises DoorwardTestError."""
        with self._lock:
            try:
                line = json.dumps({"command": command, **arguments})
                print(line, file=self._process.stdin, flush=True)
            except OSError:
                self._raise_ended()
            reply = self._read_reply()
        if "error" in reply:
            raise DoorwardTestError(reply["error"])
        return reply.get("result")

    def close(self) -> None:
        """End the process."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(SHUTDOWN_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(SHUTDOWN_TIMEOUT_SECONDS)
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _read_reply(self) -> dict[str, Any]:
        line = self._process.stdout.readline() if self._process.stdout is not None else ""
        if not line:
            self._raise_ended()
        reply: dict[str, Any] = json.loads(line)
        return reply

    def _raise_ended(self) -> None:
        self.close()
        if self._process.returncode == EXIT_NOT_INSTALLED:
            raise DoorwardTestError(
                "The service is not installed. Run: pip install 'doorward[testing]'"
            )
        lines = self.log.read_text(errors="replace").strip().splitlines()
        raise DoorwardTestError(
            f"The test service has ended: {lines[-1] if lines else 'its log is empty'}."
            f" See the log: {self.log}"
        )
