"""Device login in a terminal: shows the code, and counts down until it is approved."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from types import FrameType
from typing import TYPE_CHECKING

import click

from doorward import environment
from doorward.cli import terminal
from doorward.cli.terminal import format_bold, print_message
from doorward.device_login.prompt import Prompt

if TYPE_CHECKING:
    from doorward.client import Doorward

CLIENT_NAME = "doorward"
QUIET_ZONE = 2  # columns beside the QR code
LINES_BELOW_QR = 8


class Terminated(KeyboardInterrupt):
    """A signal to terminate. The device login is canceled first, as with Ctrl-C."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.exit_code = 128 + number


def find_device_login_reason() -> str:
    """Return why a device login is needed, or an empty string if a password can be entered."""
    if not terminal.can_prompt():
        return "standard input is not a terminal"
    if environment.get_variable("SSH_CONNECTION"):
        return "this is an SSH session"
    if not _has_display():
        return "this machine has no display"
    return ""


def log_in_on_another_device(
    client: Doorward,
    *,
    qr: bool,
    timeout: timedelta | None,
    expires_in: timedelta | None = None,
    **options: str | None,
) -> None:
    """Show a code and wait for approval.

    Raises LoginTimeout, LoginDenied or LoginExpired, and KeyboardInterrupt after the login was
    canceled.
    """
    prompts: list[Prompt] = []
    with terminal.StatusLine() as line, _raise_on_signals():

        def show(prompt: Prompt) -> None:
            prompts.append(prompt)
            _print_prompt(prompt, qr=qr)
            _print_countdown(line, prompt, timeout)

        try:
            client.login.on_another_device(
                on_prompt=show,
                timeout=timeout,
                expires_in=expires_in,
                client_name=CLIENT_NAME,
                **options,
            )
        except KeyboardInterrupt:
            line.stop()
            if prompts:
                terminal.clear_line()
                # Also true if the service could not be told: the device code is forgotten.
                print_message("Login canceled. The code cannot be used any more.")
            raise
    print_message("Approved.")


def _print_countdown(line: terminal.StatusLine, prompt: Prompt, timeout: timedelta | None) -> None:
    def format_time_left() -> str:
        return _format_clock(_get_seconds_left(prompt, timeout))

    if terminal.can_redraw():
        line.start(lambda: f"Waiting for approval, {format_time_left()} left. Ctrl-C cancels.")
    else:
        print_message(f"Waiting for approval for at most {format_time_left()} minutes.")


def _print_prompt(prompt: Prompt, *, qr: bool) -> None:
    code = _render_qr(prompt) if qr else ""
    if code:
        click.echo(code, err=True)
    if prompt.login_message:
        print_message(f"For:   {prompt.login_message}")
    print_message(f"Open:  {format_bold(prompt.verification_uri)}")
    print_message(f"Enter: {format_bold(prompt.user_code)}")
    if prompt.check_phrase:
        print_message(f"Words: {format_bold(prompt.check_phrase)}")
        print_message("Approve only if the page shows the same words.")


def _render_qr(prompt: Prompt) -> str:
    """Return the QR code, or an empty string if the terminal has no room for it and the text."""
    if not terminal.can_redraw() or not prompt.verification_uri_complete:
        return ""
    lines = prompt.render_qr().splitlines()
    columns, rows = terminal.get_size()
    if (
        max(map(len, lines)) + QUIET_ZONE > columns
        or len(lines) + LINES_BELOW_QR > rows
        or not terminal.can_encode(lines[0])
    ):
        return ""
    if terminal.has_styles():
        # Explicit colors, because some cameras do not read the inverted code on a light background.
        lines = [click.style(line, fg="bright_white", bg="black") for line in lines]
    return "\n".join(lines)


def _has_display() -> bool:
    import sys

    if sys.platform in {"darwin", "win32"}:
        return True
    names = ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")
    return any(environment.get_variable(name) for name in names)


def _get_seconds_left(prompt: Prompt, timeout: timedelta | None) -> float:
    if timeout is None:
        return prompt.seconds_left
    elapsed = prompt.expires_in - prompt.seconds_left
    return min(prompt.seconds_left, max(0.0, timeout.total_seconds() - elapsed))


def _format_clock(seconds: float) -> str:
    whole = round(seconds)
    return f"{whole // 60}:{whole % 60:02}"


@contextmanager
def _raise_on_signals() -> Iterator[None]:
    """Raise Terminated for SIGTERM and SIGHUP, so that they cancel the login too."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def terminate(number: int, _frame: FrameType | None) -> None:
        raise Terminated(number)

    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    previous = {number: signal.signal(number, terminate) for number in numbers}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
