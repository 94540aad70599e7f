"""Reads passwords from the terminal or from standard input."""

from __future__ import annotations

import sys
import warnings
from codecs import BOM_UTF8

import click

from doorward.errors import InvalidInput
from doorward.printable import replace_control_characters
from doorward.secret import Secret

MAX_LINE_BYTES = 4096


def prompt_hidden(label: str) -> Secret:
    """Prompt in the terminal without showing the input.

    Raises InvalidInput if the terminal cannot hide it.
    """
    from getpass import GetPassWarning  # imported late, because it is rarely needed

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", GetPassWarning)
            return Secret(
                click.prompt(
                    replace_control_characters(label),
                    hide_input=True,
                    err=True,
                    default="",
                    show_default=False,
                )
            )
    except GetPassWarning:
        raise InvalidInput("This terminal cannot hide the password. Pipe it in instead.") from None


def prompt_new_password() -> Secret:
    """Prompt for a new password twice. Raises InvalidInput if the two differ."""
    first = prompt_hidden("New password")
    if first != prompt_hidden("Confirm new password"):
        raise InvalidInput("The new passwords do not match. Try again.")
    return first


def read_stdin_lines(max_lines: int) -> list[Secret]:
    """Read the first lines of standard input, without line endings.

    Raises InvalidInput if a line is too long or not UTF-8.
    """
    stream = sys.stdin.buffer
    lines: list[Secret] = []
    while len(lines) < max_lines and (line := stream.readline(MAX_LINE_BYTES + 1)):
        if len(line) > MAX_LINE_BYTES:
            raise InvalidInput(
                f"A line of standard input is longer than {MAX_LINE_BYTES} bytes."
                " Pipe in a shorter password."
            )
        # Some shells write a byte order mark first.
        lines.append(_decode_line(line if lines else line.removeprefix(BOM_UTF8)))
    return lines


def read_stdin_line() -> Secret:
    """Read the first line of standard input. Raises InvalidInput if it is empty."""
    lines = read_stdin_lines(1)
    if not lines or not lines[0]:
        raise InvalidInput("Standard input is empty. Pipe in the password on one line.")
    return lines[0]


def _decode_line(line: bytes) -> Secret:
    try:
        return Secret(line.removesuffix(b"\n").removesuffix(b"\r").decode())
    except UnicodeDecodeError:
        pass
    # Raised here, because the handled exception holds the line.
    raise InvalidInput("Standard input is not UTF-8. Convert it, and try again.")
