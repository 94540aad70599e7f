"""The outermost edge: whatever goes wrong ends in one sentence on standard error and an exit code, and no secret is part of it."""

from __future__ import annotations

import sys
import traceback
import warnings
from typing import Any

import click

from doorward.cli import exits
from doorward.cli.help_page import HelpContext
from doorward.cli.terminal import begin_line, say
from doorward.errors import DoorwardError, StoreWarning, VersionWarning

DEBUG = "doorward.debug"
WHOLE = 200  # characters of a sentence in a list of commands: it is wrapped and not cut
NEVER_HERE = "A password is never an argument, since others can see those: it is asked for, or piped in ({how}). Change one that was typed here."


class Plain(click.Command):
    """A command that repeats no argument which it did not expect: it might be a password."""

    context_class = HelpContext

    def get_short_help_str(self, _limit: int = 45) -> str:
        return super().get_short_help_str(WHOLE)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if any(arg.startswith("--password=") for arg in args):
            raise click.UsageError(_never(self), ctx)
        ctx.allow_extra_args = True
        rest = super().parse_args(ctx, args)
        if ctx.args:
            more = f"{len(ctx.args)} more argument{'s' if len(ctx.args) > 1 else ''} than {ctx.command_path} has."
            raise click.UsageError(f"{more} {_never(self)}" if _how(self) else more, ctx)
        return rest


class Edge(click.Group):
    """The group of all commands."""

    context_class = HelpContext
    command_class = Plain

    def list_commands(self, _ctx: click.Context) -> list[str]:
        return _as_added(self)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                warnings.simplefilter("always", StoreWarning)
                warnings.simplefilter("always", VersionWarning)
                warnings.showwarning = _warned
                return super().invoke(ctx)
        except DoorwardError as error:
            _failed(ctx, error)
        except (KeyboardInterrupt, click.Abort) as error:
            begin_line()
            say("Interrupted.")
            raise click.exceptions.Exit(getattr(error, "exit_code", exits.INTERRUPTED)) from None
        except (click.ClickException, click.exceptions.Exit, BrokenPipeError):
            raise
        except Exception as error:  # the outermost edge: a message of the unforeseen may hold anything, so it is not shown
            _unforeseen(ctx, error)


class SubGroup(click.Group):
    """A group within. `default` is the command that is meant where none is named."""

    context_class = HelpContext
    command_class = Plain

    def __init__(self, *args: Any, default: str | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.default = default

    def get_short_help_str(self, _limit: int = 45) -> str:
        return super().get_short_help_str(WHOLE)

    def list_commands(self, _ctx: click.Context) -> list[str]:
        return _as_added(self)

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
        """One that does not exist is not repeated either."""
        if (
            not ctx.resilient_parsing
            and not args[0].startswith("-")
            and args[0] not in self.commands
        ):
            never = f" {_never(self.commands['change'])}" if self.name == "password" else ""
            raise click.UsageError(
                f"{ctx.command_path} has no such command, only: {', '.join(self.commands)}.{never}",
                ctx,
            )
        return super().resolve_command(ctx, args)


def debug(ctx: click.Context, _parameter: click.Parameter, value: bool) -> None:  # noqa: FBT001 - as click calls it
    """For the option."""
    if value:
        ctx.find_root().meta[DEBUG] = True


def _as_added(group: click.Group) -> list[str]:
    """In the order in which they are needed."""
    return [*group.commands]


def _how(command: click.Command) -> str:
    return next(
        (
            one
            for parameter in command.params
            for one in parameter.opts
            if one in {"--password-stdin", "--stdin"}
        ),
        "",
    )


def _never(command: click.Command) -> str:
    return NEVER_HERE.format(how=_how(command) or "--password-stdin of login")


def _warned(message: Warning | str, *_: object, **__: object) -> None:
    text = str(message)
    say(f"{text[:1].upper()}{text[1:]}.")


def _failed(ctx: click.Context, error: DoorwardError) -> None:
    _trace(ctx, error)
    say(exits.sentence_of(error))
    for line in exits.further_of(error):
        say(line)
    raise click.exceptions.Exit(exits.code_of(error)) from None


def _unforeseen(ctx: click.Context, error: Exception) -> None:
    _trace(ctx, error)
    more = (
        "" if ctx.meta.get(DEBUG) else " Run it again with --debug to see where, and report that."
    )
    say(f"Something went wrong that nobody foresaw ({type(error).__name__}).{more}")
    raise click.exceptions.Exit(exits.OTHER) from None


def _trace(ctx: click.Context, error: Exception) -> None:
    """Where it happened: the lines of the programs, neither their variables nor what the error says."""
    if ctx.meta.get(DEBUG):
        sys.stderr.write("".join(traceback.format_tb(error.__traceback__)))
        sys.stderr.write(f"{type(error).__module__}.{type(error).__qualname__}\n")
