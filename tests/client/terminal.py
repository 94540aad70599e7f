"""A program in a pseudo-terminal, and a user who reads the screen and types."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pyte

from tests.client.conftest import build_environment
from tests.postgres import terminate_with_parent

PATIENCE = 30  # seconds
CTRL_C = "\x03"
COMMAND = (sys.executable, "-m", "doorward")


class Terminal:
    """Runs `doorward` with the arguments, or another program, in a pseudo-terminal.

    `watch` is called with the screen after each piece of output.
    """

    def __init__(
        self,
        *words: str,
        columns: int = 80,
        lines: int = 40,
        program: Sequence[str] = COMMAND,
        watch: Callable[[pyte.Screen], object] | None = None,
        **env: str,
    ) -> None:
        self.screen = pyte.Screen(columns, lines)
        self.raw = b""
        self._stream, self._watch = pyte.ByteStream(self.screen), watch
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self.process = subprocess.Popen(
            [*program, *words],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=build_environment(
                **{"TERM": "xterm", "DISPLAY": ":0", "SSH_CONNECTION": "", "NO_COLOR": "", **env}
            ),
            start_new_session=True,
            preexec_fn=_take_terminal,
        )
        os.close(theirs)

    @property
    def text(self) -> str:
        """The screen without trailing spaces and lines."""
        return "\n".join(line.rstrip() for line in self.screen.display).rstrip()

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Wait until the screen matches the pattern."""
        end = time.monotonic() + PATIENCE
        while not (found := re.search(pattern, self.text)):
            assert time.monotonic() < end, self.text
            assert self._read(0.2) or self.process.poll() is None, self.text
        return found

    def type(self, text: str) -> None:
        self._wait_until_reading()
        os.write(self._ours, text.encode())

    def wait_for_exit(self) -> int:
        """Read to the end and return the exit code."""
        end = time.monotonic() + PATIENCE
        while self._read(0.2) or self.process.poll() is None:
            assert time.monotonic() < end, self.text
        return self.process.wait()

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._ours)

    def _wait_until_reading(self) -> None:
        """Wait until the program reads. A Ctrl-C between its prompt and its read would be lost."""
        end = time.monotonic() + 1
        while (
            time.monotonic() < end
            and self.process.poll() is None
            and _get_state(self.process.pid) == "R"
        ):
            time.sleep(0.001)

    def _read(self, seconds: float) -> bool:
        if not select.select([self._ours], [], [], seconds)[0]:
            return False
        try:
            chunk = os.read(self._ours, 65536)
        except OSError:  # the other side is closed
            return False
        self.raw += chunk
        self._stream.feed(chunk)
        if self._watch:
            self._watch(self.screen)
        return bool(chunk)


def _get_state(process: int) -> str:
    """Return the state of the process, R if it runs; empty if unknown."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return ""


def _take_terminal() -> None:
    """Make it the controlling terminal, so that Ctrl-C and /dev/tty work."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    terminate_with_parent()
