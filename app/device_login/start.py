"""Asking to be let in from another device (RFC 8628 section 3.1)."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from app.accounts.find import typed
from app.adapters.database import insert_if_absent
from app.adapters.sealing import name_digest
from app.audit.record import Event, record_event
from app.authentication.throttling.suspicious_sources import hold_back
from app.authorization.scopes import common
from app.device_login.codes import new_phrase, user_code_digests
from app.device_login.models import PREFIX, LoginSession, State
from app.errors import Busy, InvalidInput
from app.opaque_tokens import Minted, mint, new_code, new_id
from app.rate_limits.errors import TooManyRequests
from app.rate_limits.per_source import take
from app.sessions.clients import DEFAULT, public_client

if TYPE_CHECKING:
    from app.principal import ClientInfo
    from app.settings.maps import Client
    from app.unit_of_work import UnitOfWork

LIFE = timedelta(minutes=10)
INTERVAL = 5  # seconds (RFC 8628 section 3.2)
PROMPTS = "3/15 minute"  # requests that name one account: nobody is to be asked until he gives in
POLICY = "prompts"
TRIES = 5  # codes that happen to be in use, one of 25 billion each


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked for, and what whoever asks says of himself."""

    client_id: str | None = None
    scope: str | None = None
    client_name: str | None = None
    hostname: str | None = None
    login_message: str | None = None
    expires_in: int | None = None  # seconds
    username: str | None = None
    check_phrase: str | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """What the device shows, and the secret that it keeps. `session_id` is public and opens nothing."""

    session_id: str
    device_code: str = field(repr=False)
    user_code: str = field(repr=False)
    verification_uri: str
    verification_uri_complete: str = field(repr=False)
    expires_in: int
    interval: int
    login_message: str | None
    check_phrase: str | None


def ask_with_phrase(
    work: UnitOfWork,
    client_info: ClientInfo,
    *,
    client_name: str,
    client_id: str | None = None,
    hostname: str | None = None,
    login_message: str | None = None,
    scope: str | None = None,
    expires_in: int | None = None,
    username: str | None = None,
) -> Asked:
    """The same, with words that both devices show. `expires_in` is wanted of the session, in seconds. Raises as `ask` does."""
    return ask(
        work,
        client_info,
        Wanted(
            client_id,
            scope,
            client_name,
            hostname,
            login_message,
            expires_in,
            username,
            new_phrase(),
        ),
    )


def ask(work: UnitOfWork, client_info: ClientInfo, wanted: Wanted) -> Asked:
    """Ask to be let in. Whether there is an account of the name is not told. Raises InvalidInput, TooManyRequests or Busy."""
    take(work, client_info, "device")
    hold_back(work, client_info)
    client = public_client(work.settings, wanted.client_id)
    if client is None:
        raise InvalidInput(errors={"/client_id": ["is no client of this service"]})
    _spare_the_named(work, wanted.username)
    row_id = new_id("ses")
    device = mint(PREFIX, row_id)
    code = _written(work, client_info, wanted, client, row_id=row_id, device=device)
    record_event(
        work,
        Event.LOGIN_ASKED,
        client_info=client_info,
        session_id=row_id,
        client_id=wanted.client_id or DEFAULT,
    )
    uri = f"{work.settings.public_url}/login/activate"
    return Asked(
        session_id=row_id,
        device_code=device.token,
        user_code=code,
        verification_uri=uri,
        verification_uri_complete=f"{uri}/{code}",
        expires_in=int(LIFE.total_seconds()),
        interval=INTERVAL,
        login_message=wanted.login_message,
        check_phrase=wanted.check_phrase,
    )


def _spare_the_named(work: UnitOfWork, username: str | None) -> None:
    """Counted for every name, whether anybody has it or not. Raises TooManyRequests."""
    if username is None:
        return
    exceeded = work.limiter.hit(PROMPTS, POLICY, _named(work, username))
    if exceeded is not None:
        raise TooManyRequests(POLICY, exceeded)


def _named(work: UnitOfWork, username: str) -> str:
    return name_digest(work.settings.secret_key, typed(username).canonical)


def _written(
    work: UnitOfWork,
    client_info: ClientInfo,
    wanted: Wanted,
    client: Client,
    *,
    row_id: str,
    device: Minted,
) -> str:
    """Write the record under a code that no other open one has. Returns the code."""
    for _ in range(TRIES):
        code = new_code()
        if insert_if_absent(
            work.db,
            LoginSession,
            id=row_id,
            state=State.PENDING,
            device_digest=device.digest,
            user_code_digest=user_code_digests(work.settings, code)[0],
            client_id=wanted.client_id or DEFAULT,
            client_name=_name(wanted, client),
            hostname=wanted.hostname,
            login_message=wanted.login_message,
            check_phrase=wanted.check_phrase,
            scope=common(wanted.scope.split() if wanted.scope is not None else None, client.scopes),
            expires_in=wanted.expires_in,
            username_digest=_named(work, wanted.username) if wanted.username is not None else None,
            address=client_info.address,
            bucket=client_info.bucket,
            user_agent=client_info.user_agent,
            created_at=work.now,
            expires_at=work.now + LIFE,
            interval=INTERVAL,
        ):
            return code
    raise Busy


def _name(wanted: Wanted, client: Client) -> str:
    """A client that the operator has named is called so, whatever it says."""
    known = (wanted.client_id or DEFAULT) != DEFAULT
    return client.name if known or wanted.client_name is None else wanted.client_name
