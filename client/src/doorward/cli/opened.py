"""Which credential a command uses, and where: the session of the store, or DOORWARD_TOKEN at DOORWARD_URL."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from doorward import environment as here
from doorward.cli import asking
from doorward.cli.terminal import asks, say
from doorward.errors import InvalidInput, NotLoggedInError, ReauthenticationRequired

if TYPE_CHECKING:
    from doorward.client import Doorward

STORE, TOKEN = "store", "DOORWARD_TOKEN"
Answer = TypeVar("Answer")


def opened(url: str | None, user: str | None) -> Doorward:
    """A client that is logged in. Raises NotLoggedInError."""
    from doorward.client import Doorward  # help and completion do without

    client = Doorward(url)
    if user is None and token_counts(url):
        _by_token(client)
    else:
        client.login.from_store(user=user)
    return client


def credential(client: Doorward) -> str:
    """What the client is logged in by: STORE or TOKEN."""
    return STORE if client.session.login_method == "from_store" else TOKEN


def services(url: str | None, user: str | None) -> list[str | None]:
    """Those that are meant where each may be: the one that is named, else all where the store has a session (of the user)."""
    if url or here.get_variable("DOORWARD_URL") or (user is None and token_counts(url)):
        return [url]
    from doorward.store.store import InstanceAuthSessions

    name = user or here.get_variable("DOORWARD_USER") or None
    return [
        one for one, users in InstanceAuthSessions.load().instances.items() if users.whose(name)
    ] or [None]


def token_counts(url: str | None) -> bool:
    """Is DOORWARD_TOKEN what to use? It is for DOORWARD_URL, and goes to no other service that the command names instead."""
    if not here.get_variable("DOORWARD_TOKEN"):
        return False
    theirs = here.get_variable("DOORWARD_URL")
    if not url or not theirs:
        return True
    return _same(theirs, url)


def _same(one: str, other: str) -> bool:
    """Do two addresses mean one service? What is none means no service."""
    from doorward.origin import parse_origin

    try:
        return origin_of(one, allow_http=True) == origin_of(other, allow_http=True)
    except InvalidInput:
        return False


def address(url: str | None) -> str | None:
    """The address that is meant where nobody has to be logged in: given, else DOORWARD_URL, else the only one that the store knows."""
    if url or here.get_variable("DOORWARD_URL"):
        return url
    from doorward.store.store import InstanceAuthSessions

    known = [*InstanceAuthSessions.load().instances]
    return known[0] if len(known) == 1 else None


def passed_over(url: str, username: str) -> list[str]:
    """Why the other commands would not use this session of the store, and what to do about it, in sentences."""
    if here.get_variable("DOORWARD_TOKEN"):
        return [
            "DOORWARD_TOKEN is set, and the other commands use that: unset it to use this login."
        ]
    from doorward.store.store import InstanceAuthSessions

    found, theirs, named = [], here.get_variable("DOORWARD_URL"), here.get_variable("DOORWARD_USER")
    if theirs and not _same(theirs, url):
        found.append(
            f"The other commands ask {theirs}, since DOORWARD_URL says so: give them --url {url}."
        )
    used = InstanceAuthSessions.load().whose(url, named or None)
    if used == username:
        return found
    why = f"DOORWARD_USER is {named}" if named else f"the session of {used} lasts longer"
    return [
        *found,
        f"The other commands do not use this login, since {why}: give them --user {username}.",
    ]


def with_password(client: Doorward, act: Callable[[], Answer]) -> Answer:
    """Do it; where the service wants the password once more, ask. Raises ReauthenticationRequired where nobody can be asked."""
    try:
        return act()
    except ReauthenticationRequired:
        if not asks():
            raise
    say(f"{client.url} wants your password once more for this.")
    client.elevate(asking.hidden(f"Password of {client.session.username}"))
    return act()


def _by_token(client: Doorward) -> None:
    if not client.named:
        raise NotLoggedInError(
            "DOORWARD_TOKEN is set and nothing says for which service: set DOORWARD_URL, or give --url."
        )
    from doorward.sessions.credential import API_KEY_PREFIX

    try:
        if here.get_variable("DOORWARD_TOKEN").startswith(KEY):
            client.login.with_api_key(here.get_variable("DOORWARD_TOKEN"))
        else:
            client.login.with_token()
    except InvalidInput as error:
        raise InvalidInput(
            "DOORWARD_TOKEN holds no token or key: set it as it was handed out, or unset it.",
            errors=error.errors,
        ) from None
