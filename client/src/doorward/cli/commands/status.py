"""`doorward status`."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import click

from doorward import environment
from doorward.cli import exit_codes
from doorward.cli.credentials import (
    STORE,
    find_service_url,
    get_credential_source,
    list_target_urls,
    open_client,
)
from doorward.cli.formats import format_data
from doorward.cli.groups import SafeCommand
from doorward.cli.options import output_option, with_service_options
from doorward.cli.tables import format_local_time, format_pairs, format_relative_time
from doorward.cli.terminal import get_table_width, print_data, print_message
from doorward.errors import DoorwardError, InvalidToken, NotLoggedInError

if TYPE_CHECKING:
    from doorward.client import Doorward

# The service reports whole seconds, and its response takes some time.
MIN_SHOWN_SKEW_SECONDS = 2
FIELDS = (
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


@click.command("status", cls=SafeCommand)
@output_option
@with_service_options
def show_status(url: str | None, user: str | None, form: str) -> None:
    """Show whether the service answers, and who is logged in.

    Without --url or DOORWARD_URL, shows every service you are logged in to.
    Exits with 0 if you are logged in, 3 if not, and 5 if the service does not
    answer.
    """
    collected = [_collect_status(target, user) for target in list_target_urls(url, user)]
    found = [status for status, _ in collected]
    print_data(
        format_data(
            found if len(found) > 1 else found[0],
            form,
            lambda: "\n\n".join(
                format_pairs(_build_rows(status), get_table_width()) for status in found
            ),
        )
    )
    errors = [(str(status["url"]), error) for status, error in collected if error is not None]
    for target, error in errors:
        text = exit_codes.format_error(error)
        print_message(text if len(found) == 1 or target in text else f"{target}: {text}")
    if errors:
        raise click.exceptions.Exit(exit_codes.get_exit_code(errors[0][1]))


def _collect_status(
    url: str | None, user: str | None
) -> tuple[dict[str, object], DoorwardError | None]:
    from doorward.client import Doorward
    from doorward.store.location import get_store_path

    status: dict[str, object] = dict.fromkeys(FIELDS)
    failure: DoorwardError | None = None
    try:
        client = open_client(url, user)
        status["credential"] = get_credential_source(client)
    except NotLoggedInError as error:
        client, failure = Doorward(find_service_url(url)), error
    status["store"] = str(get_store_path())
    if not client.has_url:
        return status, failure
    status["url"] = client.url
    try:
        failure = failure or _add_identity(client, status)
        service = client.get_version()
    except DoorwardError as error:
        status["reachable"] = False
        if client.logged_in and status["credential"] == STORE:
            status["username"] = client.session.username  # from the store, without a request
        return status, error
    status.update(
        reachable=True,
        service=service.name,
        version=service.version,
        clock_skew_seconds=_get_clock_skew(client),
    )
    return status, failure


def _add_identity(client: Doorward, status: dict[str, object]) -> DoorwardError | None:
    """Add who is logged in. Returns the error if the credential is not valid any more."""
    try:
        whoami = client.validate()
        expires_at: datetime | None = (
            client.get_me().session.expires_at if whoami.session_id else whoami.expires_at
        )
    except (NotLoggedInError, InvalidToken) as error:
        return error
    status.update(
        username=whoami.username,
        account_id=whoami.account_id,
        session_id=whoami.session_id or None,
        expires_at=expires_at,
    )
    return None


def _get_clock_skew(client: Doorward) -> float | None:
    skew = client.clock_skew
    return None if skew is None else round(skew.total_seconds(), 1)


def _build_rows(status: dict[str, object]) -> dict[str, object]:
    is_store = status["credential"] == STORE
    return {
        "Service": status["url"],
        "Status": _describe_service(status),
        "Logged in": _describe_login(status),
        "Credential": "session in the store" if is_store else status["credential"],
        "Expires": _describe_expiry(status["expires_at"]),
        "Local clock": _describe_clock(status["clock_skew_seconds"]),
        "Store": status["store"],
    }


def _describe_service(status: dict[str, object]) -> str:
    if status["reachable"] is None:
        return ""
    return f"{status['service']} {status['version']}" if status["reachable"] else "does not answer"


def _describe_login(status: dict[str, object]) -> str:
    if status["reachable"] is False:
        return f"{status['username']} (not verified)" if status["username"] else "unknown"
    return str(status["username"] or "no")


def _describe_expiry(expires_at: object) -> str:
    if not isinstance(expires_at, datetime):
        return ""
    relative = format_relative_time(expires_at, environment.get_now())
    return f"{format_local_time(expires_at)} ({relative})"


def _describe_clock(skew: object) -> str:
    if not isinstance(skew, float):
        return ""
    if abs(skew) < MIN_SHOWN_SKEW_SECONDS:
        return "correct"
    return f"{abs(skew):.0f} s {'ahead' if skew > 0 else 'behind'}"
