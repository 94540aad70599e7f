"""Chooses the service and the credential of a command.

The credential is a session in the store, or DOORWARD_TOKEN for the service in DOORWARD_URL.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from doorward import environment
from doorward.cli import password_input
from doorward.cli.terminal import can_prompt, print_message
from doorward.errors import InvalidInput, NotLoggedInError, ReauthenticationRequired

if TYPE_CHECKING:
    from doorward.client import Doorward

STORE, TOKEN = "store", "DOORWARD_TOKEN"
Answer = TypeVar("Answer")


def open_client(url: str | None, user: str | None) -> Doorward:
    """Return a client that is logged in. Raises NotLoggedInError."""
    from doorward.client import Doorward  # imported late, because help does not need it

    client = Doorward(url)
    if user is None and _should_use_token(url):
        _use_token_variable(client)
    else:
        client.login.from_store(user=user)
    return client


def get_credential_source(client: Doorward) -> str:
    """Return STORE or TOKEN."""
    return STORE if client.session.login_method == "from_store" else TOKEN


def list_target_urls(url: str | None, user: str | None) -> list[str | None]:
    """List the services for a command that covers several.

    This is the named service, else every service at which the store has a session of the user.
    """
    if url or environment.get_variable("DOORWARD_URL") or (user is None and _should_use_token(url)):
        return [url]
    from doorward.store.store import InstanceAuthSessions

    name = user or environment.get_variable("DOORWARD_USER") or None
    instances = InstanceAuthSessions.load().instances
    return [one for one, users in instances.items() if users.find_user(name)] or [None]


def find_service_url(url: str | None) -> str | None:
    """Return the URL for a command that needs no session.

    This is the given URL, None for DOORWARD_URL, or the only service in the store.
    """
    if url or environment.get_variable("DOORWARD_URL"):
        return url
    from doorward.store.store import InstanceAuthSessions

    urls = [*InstanceAuthSessions.load().instances]
    return urls[0] if len(urls) == 1 else None


def explain_unused_login(url: str, username: str) -> list[str]:
    """Explain why other commands would not use this session, and what to do."""
    if environment.get_variable("DOORWARD_TOKEN"):
        return ["Other commands use DOORWARD_TOKEN. Unset it to use this login."]
    from doorward.store.store import InstanceAuthSessions

    default_url = environment.get_variable("DOORWARD_URL")
    default_user = environment.get_variable("DOORWARD_USER")
    sentences = []
    if default_url and not _is_same_service(default_url, url):
        sentences.append(
            f"Other commands use {default_url}, because DOORWARD_URL is set. Pass them --url {url}."
        )
    chosen = InstanceAuthSessions.load().find_user(url, default_user or None)
    if chosen == username:
        return sentences
    reason = (
        f"DOORWARD_USER is {default_user}"
        if default_user
        else f"the session of {chosen} expires later"
    )
    return [
        *sentences,
        f"Other commands do not use this login, because {reason}. Pass them --user {username}.",
    ]


def run_with_reauthentication(client: Doorward, action: Callable[[], Answer]) -> Answer:
    """Run the action. If it needs recent authentication, prompt for the password and run it again.

    Raises ReauthenticationRequired if there is no terminal.
    """
    try:
        return action()
    except ReauthenticationRequired:
        if not can_prompt():
            raise
    print_message(f"Re-authentication required by {client.url}.")
    client.elevate(password_input.prompt_hidden(f"Password for {client.session.username}"))
    return action()


def _should_use_token(url: str | None) -> bool:
    """Return whether to use DOORWARD_TOKEN. It is only for the service in DOORWARD_URL."""
    if not environment.get_variable("DOORWARD_TOKEN"):
        return False
    token_url = environment.get_variable("DOORWARD_URL")
    if not url or not token_url:
        return True
    return _is_same_service(token_url, url)


def _is_same_service(one: str, other: str) -> bool:
    """Return whether both URLs name one service. An invalid URL names none."""
    from doorward.origin import parse_origin

    try:
        return parse_origin(one, allow_http=True) == parse_origin(other, allow_http=True)
    except InvalidInput:
        return False


def _use_token_variable(client: Doorward) -> None:
    if not client.has_url:
        raise NotLoggedInError(
            "DOORWARD_TOKEN is set, but no service URL. Set DOORWARD_URL, or pass --url."
        )
    from doorward.sessions.credential import API_KEY_PREFIX

    try:
        if environment.get_variable("DOORWARD_TOKEN").startswith(API_KEY_PREFIX):
            client.login.with_api_key(environment.get_variable("DOORWARD_TOKEN"))
        else:
            client.login.with_token()
    except InvalidInput as error:
        raise InvalidInput(
            "DOORWARD_TOKEN is not a valid token or key. Set it exactly as issued, or unset it.",
            errors=error.errors,
        ) from None
