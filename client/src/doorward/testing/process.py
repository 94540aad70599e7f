"""The other process, in which the service of the tests runs, and what is asked of it beside HTTP."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from doorward.errors import DoorwardError
from doorward.testing.start import MISSING

START = Path(__file__).with_name("start.py")
PATIENCE = 5.0  # seconds for it to end by itself


class NotForTests(DoorwardError):
    """The service of the tests cannot be started, or cannot do what was asked. The text says what to do."""


class ServerProcess:
    """A process that holds any number of services for tests. It ends with this one, however that ends."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "doorward.log"
        self._lock = threading.Lock()
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own file
                # Without the folder of the tests on its path, where something else may be called `app`, and without their strictness.
                [sys.executable, "-P", "-W", "ignore", str(START), str(folder)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                encoding="utf-8",
            )
        self._read()

    def ask(self, do: str, **parts: Any) -> Any:
        """Have something done there. Raises NotForTests."""
        with self._lock:
            try:
                print(json.dumps({"do": do, **parts}), file=self._process.stdin, flush=True)
            except OSError:
                self._died()
            answer = self._read()
        if "refused" in answer:
            raise NotForTests(answer["refused"])
        return answer.get("answer")

    def close(self) -> None:
        """End it."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(PATIENCE)
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _read(self) -> dict[str, Any]:
        line = self._process.stdout.readline() if self._process.stdout is not None else ""
        if not line:
            self._died()
        found: dict[str, Any] = json.loads(line)
        return found

    def _died(self) -> None:
        self.close()
        if self._process.returncode == MISSING:
            raise NotForTests("The service is not installed: pip install 'doorward[testing]'.")
        words = self.log.read_text(errors="replace").strip().splitlines()
        raise NotForTests(
            f"The service of the tests has ended: {words[-1] if words else 'it said nothing'}. Its log is {self.log}."
        )
