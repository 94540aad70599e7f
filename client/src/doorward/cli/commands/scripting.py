"""`doorward token` and `doorward completion`, for scripts and shells."""

from __future__ import annotations

import click

from doorward import environment
from doorward.cli.credentials import open_client
from doorward.cli.groups import SafeCommand
from doorward.cli.options import debug_option, with_service_options
from doorward.cli.terminal import print_data

SHELLS = ("bash", "zsh", "fish")


@click.command("token", cls=SafeCommand)
@with_service_options
def print_token(url: str | None, user: str | None) -> None:
    """Print a valid access token, and nothing else.

    The token is refreshed before it expires. Run this again for each request.

      curl -H "Authorization: Bearer $(doorward token)" https://api.example.com
    """
    print_data(open_client(url, user).token)


@click.command("completion", cls=SafeCommand)
@click.argument("shell", type=click.Choice(SHELLS), required=False)
@debug_option
@click.pass_context
def print_completion(ctx: click.Context, shell: str | None) -> None:
    """Print the completion script for a shell.

    \b
    bash  eval "$(doorward completion bash)"      in ~/.bashrc
    zsh   eval "$(doorward completion zsh)"       in ~/.zshrc, below compinit
    fish  doorward completion fish | source       in ~/.config/fish/config.fish

    Default: the shell in the variable SHELL.
    """  # noqa: D301 - click reads \b as a control character
    from click.shell_completion import get_completion_class

    name = shell or environment.get_variable("SHELL").rpartition("/")[2]
    completion = get_completion_class(name) if name in SHELLS else None
    if completion is None:
        raise click.UsageError(f"Name a supported shell: {', '.join(SHELLS)}.")
    root = ctx.find_root().command
    print_data(completion(root, {}, "doorward", "_DOORWARD_COMPLETE").source())
