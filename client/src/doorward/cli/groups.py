"""The click classes of all commands.

They print errors as one sentence with an exit code, and never repeat an unexpected argument, which
might be a password.
"""

from __future__ import annotations

import shutil
import sys
import traceback
import warnings
from collections.abc import Iterable
from typing import Any

import click

from doorward.cli import exit_codes
from doorward.cli.terminal import clear_line, print_message
from doorward.errors import DoorwardError, StoreWarning, VersionWarning

DEBUG_META_KEY = "doorward.debug"
MAX_SHORT_HELP = 200  # characters, so that the sentence is wrapped and not cut
PASSWORD_ARGUMENT = (
    "Do not pass a password as an argument, because other users can see it."  # noqa: S105 - a text
    " Enter it when asked,"
    " or pipe it in ({option}). Change the password if you typed it here."
)
MIN_CLICK_WIDTH = 50  # columns, the minimum of click
MIN_WIDTH = 20
NARROW_FIRST_COLUMN = 8  # columns for option names in a narrow terminal


class NarrowHelpFormatter(click.HelpFormatter):
    """Help for terminals narrower than click supports: descriptions go below the names."""

    def __init__(
        self, indent_increment: int = 2, width: int | None = None, max_width: int | None = None
    ) -> None:
        available = shutil.get_terminal_size().columns - 2
        if width is None and available < MIN_CLICK_WIDTH:
            width = max(available, MIN_WIDTH)
        super().__init__(indent_increment, width, max_width)

    def write_dl(
        self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2
    ) -> None:
        first_column = NARROW_FIRST_COLUMN if self.width < MIN_CLICK_WIDTH else col_max
        super().write_dl([*rows], first_column, col_spacing)


class HelpContext(click.Context):
    """The context of all commands."""

    formatter_class = NarrowHelpFormatter


class SafeCommand(click.Command):
    """A command that does not repeat unexpected arguments in its errors."""

    context_class = HelpContext

    def get_short_help_str(self, _limit: int = 45) -> str:
        return super().get_short_help_str(MAX_SHORT_HELP)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if any(arg.startswith("--password=") for arg in args):
            raise click.UsageError(_build_password_warning(self), ctx)
        ctx.allow_extra_args = True
        rest = super().parse_args(ctx, args)
        if ctx.args:
            plural = "s" if len(ctx.args) > 1 else ""
            text = f"{ctx.command_path} got {len(ctx.args)} unexpected argument{plural}."
            if _find_stdin_option(self):
                text = f"{text} {_build_password_warning(self)}"
            raise click.UsageError(text, ctx)
        return rest


class RootGroup(click.Group):
    """The root group, which prints all errors."""

    context_class = HelpContext
    command_class = SafeCommand

    def list_commands(self, _ctx: click.Context) -> list[str]:
        return [*self.commands]

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                warnings.simplefilter("always", StoreWarning)
                warnings.simplefilter("always", VersionWarning)
                warnings.showwarning = _print_warning
                return super().invoke(ctx)
        except DoorwardError as error:
            _exit_with_error(ctx, error)
        except (KeyboardInterrupt, click.Abort) as error:
            clear_line()
            print_message("Interrupted.")
            code = getattr(error, "exit_code", exit_codes.INTERRUPTED)
            raise click.exceptions.Exit(code) from None
        except (click.ClickException, click.exceptions.Exit, BrokenPipeError):
            raise
        except Exception as error:  # its message may hold a secret, so it is not printed
            _exit_with_unexpected_error(ctx, error)


class CommandGroup(click.Group):
    """A group of subcommands. `default` is the subcommand to run if none is named."""

    context_class = HelpContext
    command_class = SafeCommand

    def __init__(self, *args: Any, default: str | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.default = default

    def get_short_help_str(self, _limit: int = 45) -> str:
        return super().get_short_help_str(MAX_SHORT_HELP)

    def list_commands(self, _ctx: click.Context) -> list[str]:
        return [*self.commands]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if (
            self.default
            and not ctx.resilient_parsing
            and (not args or (args[0].startswith("-") and args[0] not in ctx.help_option_names))
        ):
            args = [self.default, *args]
        return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the subcommand. The error for an unknown one does not repeat it."""
        if (
            not ctx.resilient_parsing
            and not args[0].startswith("-")
            and args[0] not in self.commands
        ):
            text = f"Unknown command. {ctx.command_path} has: {', '.join(self.commands)}."
            if self.name == "password":
                text = f"{text} {_build_password_warning(self.commands['change'])}"
            raise click.UsageError(text, ctx)
        return super().resolve_command(ctx, args)


def enable_debug(ctx: click.Context, _parameter: click.Parameter, value: bool) -> None:  # noqa: FBT001
    """Handle the --debug option."""
    if value:
        ctx.find_root().meta[DEBUG_META_KEY] = True


def _find_stdin_option(command: click.Command) -> str:
    names = (name for parameter in command.params for name in parameter.opts)
    return next((name for name in names if name in {"--password-stdin", "--stdin"}), "")


def _build_password_warning(command: click.Command) -> str:
    option = _find_stdin_option(command) or "login --password-stdin"
    return PASSWORD_ARGUMENT.format(option=option)


def _print_warning(message: Warning | str, *_: object, **__: object) -> None:
    text = str(message)
    print_message(f"{text[:1].upper()}{text[1:]}.")


def _exit_with_error(ctx: click.Context, error: DoorwardError) -> None:
    _print_trace(ctx, error)
    print_message(exit_codes.format_error(error))
    for line in exit_codes.list_error_details(error):
        print_message(line)
    raise click.exceptions.Exit(exit_codes.get_exit_code(error)) from None


def _exit_with_unexpected_error(ctx: click.Context, error: Exception) -> None:
    _print_trace(ctx, error)
    advice = "" if ctx.meta.get(DEBUG_META_KEY) else " Run it again with --debug and report this."
    print_message(f"Unexpected error ({type(error).__name__}).{advice}")
    raise click.exceptions.Exit(exit_codes.OTHER) from None


def _print_trace(ctx: click.Context, error: Exception) -> None:
    """Print the lines of the traceback for --debug, without variables and messages."""
    if ctx.meta.get(DEBUG_META_KEY):
        sys.stderr.write("".join(traceback.format_tb(error.__traceback__)))
        sys.stderr.write(f"{type(error).__module__}.{type(error).__qualname__}\n")
