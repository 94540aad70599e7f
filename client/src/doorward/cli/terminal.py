"""Prints to the terminal, and reports what the terminal can do."""

from __future__ import annotations

import os
import re
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self, TextIO

import click

from doorward import environment
from doorward.printable import replace_control_characters

DEFAULT_WIDTH, DEFAULT_HEIGHT = 80, 24  # without a terminal
MIN_TABLE_WIDTH = 40
STYLE = re.compile(r"\x1b\[[01]m")  # of format_bold
STYLES = re.compile(rf"({STYLE.pattern})")


def print_message(text: str = "") -> None:
    """Print a message for people to standard error, wrapped to the width of the terminal.

    Control characters are replaced, because names in the message may come from other users.
    """
    text = "".join(
        part if STYLE.fullmatch(part) else replace_control_characters(part)
        for part in STYLES.split(text)
    )
    if is_stderr_terminal() and len(text) >= get_size()[0]:
        import textwrap  # imported late, because it is rarely needed

        text = textwrap.fill(
            text, get_size()[0] - 1, break_long_words=False, break_on_hyphens=False
        )
    click.echo(_replace_unencodable(text, sys.stderr), err=True)


def print_data(text: str) -> None:
    """Print data to standard output.

    Raises ClickException if it cannot be written, and BrokenPipeError if the reader has gone.
    """
    try:
        click.echo(_replace_unencodable(text, sys.stdout))
    except BrokenPipeError:
        raise
    except OSError as error:
        raise click.ClickException(f"Cannot write to standard output: {error.strerror}.") from None


def clear_line() -> None:
    """Continue at the start of a line, where the terminal may have printed ^C."""
    if can_redraw():
        click.echo("\r\x1b[K", nl=False, err=True)
    elif is_stderr_terminal():
        print_message()


def can_prompt() -> bool:
    """Return whether standard input is a terminal, so that the user can be asked."""
    return sys.stdin is not None and sys.stdin.isatty()


def is_stderr_terminal() -> bool:
    """Return whether standard error is a terminal."""
    return sys.stderr is not None and sys.stderr.isatty()


def can_redraw() -> bool:
    """Return whether lines on standard error can be overwritten."""
    return is_stderr_terminal() and environment.get_variable("TERM") not in {"", "dumb"}


def format_bold(text: str) -> str:
    """Return the text in bold, unless styles are disabled."""
    return click.style(text, bold=True) if has_styles() else text


def has_styles() -> bool:
    """Return whether to use styles. NO_COLOR disables them (https://no-color.org)."""
    return can_redraw() and not environment.get_variable("NO_COLOR")


def get_size() -> tuple[int, int]:
    """Return the columns and lines of the terminal, 80 and 24 without a terminal."""
    for stream in (sys.stderr, sys.stdout, sys.stdin):
        with suppress(OSError, ValueError, AttributeError):  # closed, missing, or not a terminal
            columns, lines = os.get_terminal_size(stream.fileno())
            return columns or DEFAULT_WIDTH, lines or DEFAULT_HEIGHT
    return DEFAULT_WIDTH, DEFAULT_HEIGHT


def get_table_width() -> int:
    """Return the maximum width of a table."""
    if sys.stdout is not None and sys.stdout.isatty():
        return max(get_size()[0], MIN_TABLE_WIDTH)
    return DEFAULT_WIDTH


def can_encode(text: str) -> bool:
    """Return whether the encoding of standard error has all characters of the text."""
    return _replace_unencodable(text, sys.stderr) == text


class StatusLine:
    """A line on standard error that is updated every second, and removed at the end."""

    def __init__(self) -> None:
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        return self

    def start(self, text: Callable[[], str]) -> None:
        """Show the line.

        Separate from `__enter__`, so that a Ctrl-C is handled as soon as the line is visible.
        """
        self._thread = threading.Thread(target=self._run, args=(text,), daemon=True)
        self._thread.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Remove the line."""
        if self._thread is None or self._stopped.is_set():
            return
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()
        clear_line()

    def _run(self, text: Callable[[], str]) -> None:
        while not self._stopped.is_set():
            sys.stderr.write(f"\r{text()[: get_size()[0] - 1]}\x1b[K")
            sys.stderr.flush()
            self._stopped.wait(1.0)


def _replace_unencodable(text: str, stream: TextIO | None) -> str:
    """Replace characters that the stream cannot encode by a question mark."""
    name = getattr(stream, "encoding", None) or "ascii"
    return text.encode(name, "replace").decode(name)
