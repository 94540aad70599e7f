"""Asking for what nobody else may see, at the terminal or from a pipe."""

from __future__ import annotations

import sys
import warnings
from codecs import BOM_UTF8

import click

from doorward.errors import InvalidInput
from doorward.secret import Secret
from doorward.transport.problems import replace_control_characters

LONGEST = 4096  # bytes of a line


def hidden(question: str) -> Secret:
    """Ask at the terminal without showing what is typed. Raises InvalidInput where the terminal cannot do that."""
    from getpass import GetPassWarning  # only where somebody is asked

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", GetPassWarning)
            return Secret(
                click.prompt(
                    replace_control_characters(question),
                    hide_input=True,
                    err=True,
                    default="",
                    show_default=False,
                )
            )
    except GetPassWarning:
        raise InvalidInput(
            "What is typed would be shown here: pipe the password in instead."
        ) from None


def chosen() -> Secret:
    """Ask for a new password, twice. Raises InvalidInput when the two differ."""
    first = hidden("New password")
    if first != hidden("The new password again"):
        raise InvalidInput("The two new passwords are not the same: type them again.")
    return first


def read_lines(most: int) -> list[Secret]:
    """The first lines of standard input, without their ends. Raises InvalidInput for what is no text, empty, or too long."""
    stream = sys.stdin.buffer
    found: list[Secret] = []
    while len(found) < most and (line := stream.readline(LONGEST + 1)):
        if len(line) > LONGEST:
            raise InvalidInput(
                f"A line of standard input is longer than {LONGEST} bytes: no password is."
            )
        found.append(
            _text(line if found else line.removeprefix(BOM_UTF8))
        )  # which some shells put first
    return found


def read_line() -> Secret:
    """The first line of standard input. Raises InvalidInput."""
    found = read_lines(1)
    if not found or not found[0]:
        raise InvalidInput("Standard input is empty: pipe the password in, on one line.")
    return found[0]


def _text(line: bytes) -> Secret:
    try:
        return Secret(line.removesuffix(b"\n").removesuffix(b"\r").decode())
    except UnicodeDecodeError:
        pass
    raise InvalidInput("Standard input is not UTF-8: write the password in that.")
