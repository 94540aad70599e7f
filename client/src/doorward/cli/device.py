"""Being let in from another device, as a person at a terminal sees it: what to open, what to compare, how long it lasts yet."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from types import FrameType
from typing import TYPE_CHECKING

import click

from doorward import environment as here
from doorward.cli import terminal
from doorward.cli.terminal import say, strong
from doorward.device_login.prompt import Prompt

if TYPE_CHECKING:
    from doorward.client import Doorward

PROGRAM = "doorward"
QUIET_ZONE = 2  # columns beside the picture


class Ended(KeyboardInterrupt):
    """The process is told to end. The request is taken back first, as with Ctrl-C."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.exit_code = 128 + number


def why_another_device() -> str:
    """Why nobody can be asked for a password here, in words; empty where somebody can."""
    if not terminal.asks():
        return "nobody can be asked for a password here"
    if here.get_variable("SSH_CONNECTION"):
        return "this terminal is on another machine"
    if not _has_display():
        return "this machine has no display"
    return ""


def let_in(
    client: Doorward,
    *,
    qr: bool,
    timeout: timedelta | None,
    expires_in: timedelta | None = None,
    **asked: str | None,
) -> None:
    """Show a code and wait. Raises LoginTimeout, LoginDenied or LoginExpired, and KeyboardInterrupt after the request was taken back."""
    prompts: list[Prompt] = []
    with terminal.LiveLine() as line, _told_to_end():

        def show(prompt: Prompt) -> None:
            prompts.append(prompt)
            _show(prompt, qr=qr)
            if terminal.drawn():
                line.start(
                    lambda: (
                        f"Waiting for approval, {_clock(_left(prompt, timeout))} left; Ctrl-C cancels."
                    )
                )
            else:
                say(f"Waiting for approval for {_clock(_left(prompt, timeout))} minutes at most.")

        try:
            client.login.on_another_device(
                on_prompt=show, timeout=timeout, expires_in=expires_in, client_name=PROGRAM, **asked
            )
        except KeyboardInterrupt:
            line.stop()
            if prompts:
                terminal.begin_line()
                say(
                    "The login is given up: the code opens nothing any more."
                )  # also where the service could not be told
            raise
    say("Approved.")


def _show(prompt: Prompt, *, qr: bool) -> None:
    picture = _picture(prompt) if qr else ""
    if picture:
        click.echo(picture, err=True)
    if prompt.login_message:
        say(f"For: {prompt.login_message}")
    say(f"Open  {strong(prompt.verification_uri)}")
    say(f"Enter {strong(prompt.user_code)}")
    if prompt.check_phrase:
        say(f"Words {strong(prompt.check_phrase)}")
        say("Approve only where the same words are shown.")


def _picture(prompt: Prompt) -> str:
    """The QR code, where there is room for it and for what is written below; empty otherwise."""
    if not terminal.drawn() or not prompt.verification_uri_complete:
        return ""
    lines = prompt.render_qr().splitlines()
    columns, rows = terminal.size()
    if (
        max(map(len, lines)) + QUIET_ZONE > columns
        or len(lines) + 8 > rows
        or not terminal.can_show(lines[0])
    ):
        return ""
    if terminal.coloured():
        # Said in colours, since on a light background it would be inverted, which some cameras do not read.
        lines = [click.style(line, fg="bright_white", bg="black") for line in lines]
    return "\n".join(lines)


def _has_display() -> bool:
    import sys

    if sys.platform in {"darwin", "win32"}:
        return True
    return any(here.get_variable(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"))


def _left(prompt: Prompt, timeout: timedelta | None) -> float:
    passed = prompt.expires_in - prompt.seconds_left
    return (
        prompt.seconds_left
        if timeout is None
        else min(prompt.seconds_left, max(0.0, timeout.total_seconds() - passed))
    )


def _clock(seconds: float) -> str:
    whole = round(seconds)
    return f"{whole // 60}:{whole % 60:02}"


@contextmanager
def _told_to_end() -> Iterator[None]:
    """A closed window or `kill` takes the request back too."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, _frame: FrameType | None) -> None:
        raise Ended(number)

    wanted = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {number: signal.signal(number, end) for number in wanted}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
