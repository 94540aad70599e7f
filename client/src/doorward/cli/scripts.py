"""`doorward token`, `status` and `completion`: what scripts and shells ask for."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import click

from doorward import environment as here
from doorward.cli import exits
from doorward.cli.edge import Plain
from doorward.cli.opened import STORE, address, credential, opened, services
from doorward.cli.options import at_service, debugging, printing
from doorward.cli.terminal import give, say, width
from doorward.cli.written import ago, local, pairs, written
from doorward.errors import DoorwardError, InvalidToken, NotLoggedInError

if TYPE_CHECKING:
    from doorward.client import Doorward

NOTICED = 2  # seconds: the service tells whole ones, and its answer took a while
SHELLS = ("bash", "zsh", "fish")


@click.command(cls=Plain)
@at_service
def token(url: str | None, user: str | None) -> None:
    """Print a token that the service takes now, and nothing else.

    It is refreshed ahead of its end. Ask anew for a request that comes later.

      curl -H "Authorization: Bearer $(doorward token)" https://api.example.com
    """
    give(opened(url, user).token)


@click.command(cls=Plain)
@printing
@at_service
def status(url: str | None, user: str | None, form: str) -> None:
    """Say whether the service answers, and who is logged in.

    Where none is named, each is shown where you are logged in. Exits with 0
    where somebody is logged in, 3 where nobody is, 5 where the service does
    not answer.
    """
    looked = [_looked(one, user) for one in services(url, user)]
    found = [one for one, _ in looked]
    give(
        written(
            found if len(found) > 1 else found[0],
            form,
            lambda: "\n\n".join(pairs(_rows(one), width()) for one in found),
        )
    )
    errors = [(one["url"], error) for one, error in looked if error is not None]
    for where, error in errors:
        told = exits.sentence_of(error)
        say(told if len(found) == 1 or str(where) in told else f"{where}: {told}")
    if errors:
        raise click.exceptions.Exit(exits.code_of(errors[0][1]))


def _looked(url: str | None, user: str | None) -> tuple[dict[str, object], DoorwardError | None]:
    from doorward.client import Doorward
    from doorward.store.store import get_store_path

    found: dict[str, object] = dict.fromkeys(
        (
            "url",
            "reachable",
            "service",
            "version",
            "clock_skew_seconds",
            "username",
            "account_id",
            "session_id",
            "expires_at",
            "credential",
        )
    )
    failed: DoorwardError | None = None
    try:
        client = opened(url, user)
        found["credential"] = credential(client)
    except NotLoggedInError as error:
        client, failed = Doorward(address(url)), error
    found["store"] = str(store_path())
    if not client.named:
        return found, failed
    found["url"] = client.url
    try:
        failed = failed or _who(client, found)
        there = client.version()
    except DoorwardError as error:
        found["reachable"] = False
        if client.logged_in and found["credential"] == STORE:
            found["username"] = client.session.username  # kept with the session; nobody is asked
        return found, error
    found.update(
        reachable=True, service=there.name, version=there.version, clock_skew_seconds=_skew(client)
    )
    return found, failed


def _who(client: Doorward, found: dict[str, object]) -> DoorwardError | None:
    """Who is logged in; the error when it is nobody any more."""
    try:
        who = client.validate()
        ends: datetime | None = (
            client.get_me().session.expires_at if who.session_id else who.expires_at
        )
    except (NotLoggedInError, InvalidToken) as error:
        return error
    found.update(
        username=who.username,
        account_id=who.account_id,
        session_id=who.session_id or None,
        expires_at=ends,
    )
    return None


def _skew(client: Doorward) -> float | None:
    skew = client.clock_skew
    return None if skew is None else round(skew.total_seconds(), 1)


def _rows(found: dict[str, object]) -> dict[str, object]:
    answer = {True: f"{found['service']} {found['version']}", False: "does not answer", None: ""}
    ends, skew = found["expires_at"], found["clock_skew_seconds"]
    until = f"{local(ends)} ({ago(ends, here.get_now())})" if isinstance(ends, datetime) else ""
    clock = (
        f"{abs(skew):.0f} s {'ahead' if skew > 0 else 'behind'}"
        if isinstance(skew, float) and abs(skew) >= NOTICED
        else "right"
    )
    return {
        "Service": found["url"],
        "Answers": answer[found["reachable"] if isinstance(found["reachable"], bool) else None],
        "Logged in": _logged_in(found),
        "By": "session of the store" if found["credential"] == STORE else found["credential"],
        "Until": until,
        "Clock here": clock if skew is not None else "",
        "Store": found["store"],
    }


def _logged_in(found: dict[str, object]) -> str:
    if found["reachable"] is False:
        return f"{found['username']}, as it was last" if found["username"] else "not known"
    return str(found["username"] or "nobody")


@click.command(cls=Plain)
@click.argument("shell", type=click.Choice(SHELLS), required=False)
@debugging
@click.pass_context
def completion(ctx: click.Context, shell: str | None) -> None:
    """Print what makes the shell complete commands and options.

    \b
    bash  eval "$(doorward completion bash)"      in ~/.bashrc
    zsh   eval "$(doorward completion zsh)"       in ~/.zshrc, below compinit
    fish  doorward completion fish | source       in ~/.config/fish/config.fish

    Without SHELL, it is for the one of the variable SHELL.
    """  # noqa: D301 - click reads \b as a control character
    from click.shell_completion import get_completion_class

    name = shell or here.get_variable("SHELL").rpartition("/")[2]
    found = get_completion_class(name) if name in SHELLS else None
    if found is None:
        raise click.UsageError(f"Say for which shell: {', '.join(SHELLS)}.")
    give(found(ctx.find_root().command, {}, "doorward", "_DOORWARD_COMPLETE").source())
