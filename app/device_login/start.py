"""Start a device login (RFC 8628 section 3.1)."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from app.accounts.names import parse_identifier
from app.adapters.encryption import compute_name_digest
from app.adapters.statements import insert_if_absent
from app.audit.record import Event, record_event
from app.authentication.throttling.suspicious_sources import limit_suspicious_source
from app.authorization.rights import intersect_limits
from app.device_login.codes import compute_user_code_digests, generate_check_phrase
from app.device_login.models import DEVICE_CODE_PREFIX, DeviceLogin, DeviceLoginState
from app.errors import Busy, InvalidInput
from app.opaque_tokens import NewToken, generate_code, generate_id, generate_token
from app.rate_limits.count import count_request
from app.rate_limits.errors import TooManyRequests
from app.sessions.public_clients import DEFAULT_CLIENT_ID, find_public_client

if TYPE_CHECKING:
    from app.principal import ClientInfo
    from app.settings import ConfiguredClient
    from app.unit_of_work import UnitOfWork

LIFETIME = timedelta(minutes=10)
POLL_INTERVAL_SECONDS = 5  # the default of RFC 8628 section 3.2
# Requests that name one account. Prevents prompting a user until they give in.
PROMPT_LIMIT = "3/15 minute"
PROMPT_POLICY = "prompts"
MAX_CODE_ATTEMPTS = 5  # a new code is already in use with a probability of one in 25 billion


@dataclass(frozen=True, slots=True)
class DeviceLoginRequest:
    """A requested device login and how the requesting device describes itself."""

    client_id: str | None = None
    scope: str | None = None
    client_name: str | None = None
    hostname: str | None = None
    login_message: str | None = None
    expires_in: int | None = None  # seconds
    username: str | None = None
    check_phrase: str | None = None


@dataclass(frozen=True, slots=True)
class DeviceAuthorization:
    """The response to a device: what it shows, and the device code that it keeps secret.

    `session_id` is public and grants nothing.
    """

    session_id: str
    device_code: str = field(repr=False)
    user_code: str = field(repr=False)
    verification_uri: str
    verification_uri_complete: str = field(repr=False)
    expires_in: int
    interval: int
    login_message: str | None
    check_phrase: str | None


def start_device_login_with_phrase(
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
) -> DeviceAuthorization:
    """Start a device login with a check phrase that both devices show.

    `expires_in` is the requested session length in seconds. Raises as `start_device_login` does.
    """
    return start_device_login(
        work,
        client_info,
        DeviceLoginRequest(
            client_id,
            scope,
            client_name,
            hostname,
            login_message,
            expires_in,
            username,
            generate_check_phrase(),
        ),
    )


def start_device_login(
    work: UnitOfWork, client_info: ClientInfo, requested: DeviceLoginRequest
) -> DeviceAuthorization:
    """Start a device login. The response does not reveal whether a named account exists.

    Raises InvalidInput, TooManyRequests or Busy.
    """
    count_request(work, client_info, "device")
    limit_suspicious_source(work, client_info)
    client = find_public_client(work.settings, requested.client_id)
    if client is None:
        raise InvalidInput(errors={"/client_id": ["is not a client of this service"]})
    _limit_prompts(work, requested.username)
    row_id = generate_id("ses")
    device = generate_token(DEVICE_CODE_PREFIX, row_id)
    code = _insert_with_unused_code(
        work, client_info, requested, client, row_id=row_id, device=device
    )
    record_event(
        work,
        Event.DEVICE_LOGIN_REQUESTED,
        client_info=client_info,
        session_id=row_id,
        client_id=requested.client_id or DEFAULT_CLIENT_ID,
    )
    uri = f"{work.settings.public_url}/login/activate"
    return DeviceAuthorization(
        session_id=row_id,
        device_code=device.token,
        user_code=code,
        verification_uri=uri,
        verification_uri_complete=f"{uri}/{code}",
        expires_in=int(LIFETIME.total_seconds()),
        interval=POLL_INTERVAL_SECONDS,
        login_message=requested.login_message,
        check_phrase=requested.check_phrase,
    )


def _limit_prompts(work: UnitOfWork, username: str | None) -> None:
    """Count a request that names an account, whether or not it exists. Raises TooManyRequests."""
    if username is None:
        return
    exceeded = work.limiter.hit(PROMPT_LIMIT, PROMPT_POLICY, _digest_username(work, username))
    if exceeded is not None:
        raise TooManyRequests(PROMPT_POLICY, exceeded)


def _digest_username(work: UnitOfWork, username: str) -> str:
    return compute_name_digest(work.settings.secret_key, parse_identifier(username).canonical)


def _insert_with_unused_code(
    work: UnitOfWork,
    client_info: ClientInfo,
    requested: DeviceLoginRequest,
    client: ConfiguredClient,
    *,
    row_id: str,
    device: NewToken,
) -> str:
    """Insert the request with an unused user code and return the code. Raises Busy."""
    for _ in range(MAX_CODE_ATTEMPTS):
        code = generate_code()
        if insert_if_absent(
            work.db,
            DeviceLogin,
            id=row_id,
            state=DeviceLoginState.PENDING,
            device_digest=device.digest,
            user_code_digest=compute_user_code_digests(work.settings, code)[0],
            client_id=requested.client_id or DEFAULT_CLIENT_ID,
            client_name=_choose_client_name(requested, client),
            hostname=requested.hostname,
            login_message=requested.login_message,
            check_phrase=requested.check_phrase,
            scope=intersect_limits(
                requested.scope.split() if requested.scope is not None else None, client.scopes
            ),
            expires_in=requested.expires_in,
            username_digest=_digest_username(work, requested.username)
            if requested.username is not None
            else None,
            address=client_info.address,
            bucket=client_info.bucket,
            user_agent=client_info.user_agent,
            created_at=work.now,
            expires_at=work.now + LIFETIME,
            interval=POLL_INTERVAL_SECONDS,
        ):
            return code
    raise Busy


def _choose_client_name(requested: DeviceLoginRequest, client: ConfiguredClient) -> str:
    """Return the name of a configured client, or else the name that the device gave."""
    is_configured = (requested.client_id or DEFAULT_CLIENT_ID) != DEFAULT_CLIENT_ID
    if is_configured or requested.client_name is None:
        return client.name
    return requested.client_name
