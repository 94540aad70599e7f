"""Standard error as a person sees it: what is a terminal, how wide, and one line that is written over."""

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

from doorward import environment as here
from doorward.transport.problems import replace_control_characters

WIDTH, HEIGHT = 80, 24  # where nobody looks
STYLE = re.compile(r"\x1b\[[01]m")  # of strong()
STYLES = re.compile(rf"({STYLE.pattern})")


def say(text: str = "") -> None:
    """A sentence for a person, on standard error: on one line, but in a terminal. Standard output is for data alone.

    Names in it may come from strangers: but for our own styles, nothing of it moves the cursor.
    """
    text = "".join(
        part if STYLE.fullmatch(part) else replace_control_characters(part)
        for part in STYLES.split(text)
    )
    if shown() and len(text) >= size()[0]:
        import textwrap  # few sentences are so long

        text = textwrap.fill(text, size()[0] - 1, break_long_words=False, break_on_hyphens=False)
    click.echo(_encodable(text, sys.stderr), err=True)


def give(text: str) -> None:
    """Data, on standard output. Raises ClickException where it cannot be written, and BrokenPipeError where nobody reads any more."""
    try:
        click.echo(_encodable(text, sys.stdout))
    except BrokenPipeError:
        raise
    except OSError as error:
        raise click.ClickException(
            f"Standard output cannot be written to: {error.strerror}."
        ) from None


def begin_line() -> None:
    """Go on at the begin of a line, where ^C stands by now."""
    if drawn():
        click.echo("\r\x1b[K", nl=False, err=True)
    elif shown():
        say()


def asks() -> bool:
    """Is there somebody who can be asked?"""
    return sys.stdin is not None and sys.stdin.isatty()


def shown() -> bool:
    """Does a person see standard error?"""
    return sys.stderr is not None and sys.stderr.isatty()


def drawn() -> bool:
    """May lines be written over?"""
    return shown() and here.get_variable("TERM") not in {"", "dumb"}


def strong(text: str) -> str:
    """So that it is found at once, unless NO_COLOR (https://no-color.org) is set."""
    return click.style(text, bold=True) if coloured() else text


def coloured() -> bool:
    """Are styles wanted?"""
    return drawn() and not here.get_variable("NO_COLOR")


def size() -> tuple[int, int]:
    """Columns and lines of the terminal; 80 and 24 where there is none."""
    for stream in (sys.stderr, sys.stdout, sys.stdin):
        with suppress(
            OSError, ValueError, AttributeError
        ):  # it is closed, none at all, or no terminal
            columns, lines = os.get_terminal_size(stream.fileno())
            return columns or WIDTH, lines or HEIGHT
    return WIDTH, HEIGHT


def width() -> int:
    """How wide a table may be."""
    return max(size()[0], 40) if sys.stdout is not None and sys.stdout.isatty() else WIDTH


def can_show(text: str) -> bool:
    """Has standard error these characters?"""
    return _encodable(text, sys.stderr) == text


class LiveLine:
    """A line on standard error that, from `start` on, is written anew each second, and is gone at the end."""

    def __init__(self) -> None:
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        return self

    def start(self, text: Callable[[], str]) -> None:
        """Show it. It is not begun with `with`, since Ctrl-C may come as soon as it is seen."""
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
        """Take it away."""
        if self._thread is None or self._over.is_set():
            return
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()
        begin_line()

    def _run(self, text: Callable[[], str]) -> None:
        while not self._over.is_set():
            sys.stderr.write(f"\r{text()[: size()[0] - 1]}\x1b[K")
            sys.stderr.flush()
            self._over.wait(1.0)


def _encodable(text: str, stream: TextIO | None) -> str:
    """What the stream has no characters for is ?; where it is closed, nobody reads."""
    name = getattr(stream, "encoding", None) or "ascii"
    return text.encode(name, "replace").decode(name)
