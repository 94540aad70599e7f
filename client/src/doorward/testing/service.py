"""The test service as tests use it: its URL, accounts, tokens, mail and clock."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

from doorward import environment, responses
from doorward.client import Doorward
from doorward.device_login.prompt import Prompt
from doorward.errors import InvalidInput, NotLoggedInError
from doorward.origin import parse_origin
from doorward.secret import Secret
from doorward.sessions.credential import Credential
from doorward.testing.process import DoorwardTestError, ServerProcess
from doorward.transport.transport import Transport

DEFAULT_PASSWORD = "correct horse battery staple"  # noqa: S105 - only in tests
# With another database, cache or mail server, it would not be an isolated test service.
RESERVED_SETTINGS = frozenset({"database_url", "redis_url", "smtp_url"})


@dataclass(frozen=True, slots=True)
class TestAccount:
    """An account at the test service."""

    __test__: ClassVar[bool] = False  # pytest collects classes called Test…

    id: str
    username: str
    email: str
    roles: tuple[str, ...]
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Mail:
    """An email that the service would have sent. `code` is the code to enter, if it has one."""

    to: str
    subject: str
    text: str
    html: str
    links: tuple[str, ...]
    code: str | None


class DoorwardTestService:
    """A Doorward service for tests, on 127.0.0.1.

    Everything but creating accounts and moving the clock goes through HTTP.
    """

    def __init__(
        self, process: ServerProcess, folder: Path, settings: Mapping[str, object]
    ) -> None:
        self._process = process
        opened = process.call("open", folder=str(folder), settings=serialize_settings(settings))
        self.url: str = opened["url"]
        self._number: int = opened["number"]
        self._transport = Transport(parse_origin(self.url))
        self._clients: list[Doorward] = []

    def __repr__(self) -> str:
        return f"<DoorwardTestService at {self.url}>"

    @property
    def now(self) -> datetime:
        """The time of the service in UTC: the time of this machine plus what was pushed."""
        return datetime.fromisoformat(self._call("get_time"))

    def push_clock(self, **time: float) -> None:
        """Move the clock of the service forward, e.g. `push_clock(minutes=10)`.

        Tokens, sessions and codes expire. Clients from `client` notice, and refresh their token.
        The fixture resets the clock after each test. Other code that verifies tokens by itself
        keeps its own clock. Raises ValueError for a time that is not positive.
        """
        step = timedelta(**time)
        if step <= timedelta():
            raise ValueError("the time must be positive, e.g. push_clock(minutes=10)")
        self._call("push_clock", seconds=step.total_seconds())
        for client in self._clients:
            with suppress(NotLoggedInError):
                # There is no public call for this: only in tests do the two clocks differ.
                client.session._credential.update(  # noqa: SLF001
                    lambda credential: _shift_expiry(credential, step)
                )

    def account(
        self,
        username: str | None = None,
        *,
        email: str | None = None,
        roles: Iterable[str] | str = (),
        password: str = DEFAULT_PASSWORD,
    ) -> TestAccount:
        """Create an account that can log in at once. The default username is random.

        Roles are `admin` and those of the settings. Raises DoorwardTestError, for example if the
        username is taken.
        """
        username = username or f"test-{secrets.token_hex(6)}"
        email, role_names = email or f"{username}@example.org", _split_names(roles)
        account_id: str = self._call(
            "create_account", username=username, email=email, password=password, roles=role_names
        )
        return TestAccount(account_id, username.lower(), email, role_names, password)

    def client(self, account: TestAccount | None = None, *, scope: str | None = None) -> Doorward:
        """Return a client, logged in if an account is given. It is closed after the test."""
        client = Doorward(self.url)
        self._clients.append(client)
        if account is not None:
            client.login.with_password(account.username, account.password, scope=scope)
        return client

    def token(self, account: TestAccount, scope: str | None = None) -> str:
        """Return an access token of a new session.

        `scope` are scopes separated by spaces; by default, all that the roles allow.
        """
        return self.client(account, scope=scope).token

    def api_key(
        self,
        account: TestAccount,
        scopes: Iterable[str] | str = (),
        *,
        expires_in: timedelta | float | None = None,
    ) -> str:
        """Create an API key with scopes that the account's roles allow. Default: 90 days."""
        keys, name = self.client(account).keys, f"test-{secrets.token_hex(6)}"
        options: dict[str, Any] = {} if expires_in is None else {"expires_in": expires_in}
        return keys.create(name, _split_names(scopes), **options).key.reveal()

    def mail(self, to: TestAccount | str | None = None) -> list[Mail]:
        """Return the newest 50 emails of this test, or those to an account or email address."""
        recipient = to.email if isinstance(to, TestAccount) else to
        mailbox = self._transport.request("GET", "/dev/mailbox")
        mails = [_parse_mail(item) for item in responses.list_items(mailbox)]
        if recipient is None:
            return mails
        return [mail for mail in mails if mail.to.lower() == recipient.lower()]

    def approve(self, prompt: Prompt | str, account: TestAccount) -> None:
        """Approve a device login as the account, by its prompt or its code. Raises NotFound."""
        self._decide(prompt, account, "approve")

    def deny(self, prompt: Prompt | str, account: TestAccount) -> None:
        """Deny a device login as the account, by its prompt or its code. Raises NotFound."""
        self._decide(prompt, account, "deny")

    def _decide(self, prompt: Prompt | str, account: TestAccount, decision: str) -> None:
        code = {"user_code": prompt.user_code if isinstance(prompt, Prompt) else prompt}
        token = Secret(self.token(account))
        path = "/v1/login-sessions"
        claimed = self._transport.request("POST", f"{path}/claim", token=token, json=code)
        body = code if decision == "approve" else {}
        self._transport.request(
            "POST", f"{path}/{claimed['id']}/{decision}", token=token, json=body
        )

    def reset(self) -> None:
        """Reset the clock, mailbox, rate limits and throttling, and close the clients.

        The fixtures do this after each test.
        """
        while self._clients:
            self._clients.pop().close()
        self._call("reset")

    def close(self) -> None:
        """Stop the service."""
        self.reset()
        self._call("close")
        self._transport.close()

    def _call(self, command: str, **arguments: Any) -> Any:
        return self._process.call(command, number=self._number, **arguments)


def _split_names(names: Iterable[str] | str) -> tuple[str, ...]:
    """Return roles or scopes as a tuple. A string is split at spaces."""
    return tuple(names.split() if isinstance(names, str) else names)


def _shift_expiry(credential: Credential, step: timedelta) -> Credential:
    deadline = credential.monotonic_deadline
    return replace(
        credential,
        expires_at=credential.expires_at and credential.expires_at - step,
        monotonic_deadline=deadline and deadline - step.total_seconds(),
    )


def serialize_settings(settings: Mapping[str, object]) -> dict[str, str]:
    """Return the settings as environment variables would hold them.

    Raises DoorwardTestError for settings that do not fit a test service.
    """
    if environment.get_variable("DOORWARD_ENV").strip() == "production":
        raise DoorwardTestError(
            "The test service does not run with DOORWARD_ENV=production. Unset DOORWARD_ENV."
        )
    texts = {
        name.lower(): _serialize_value(value)
        for name, value in settings.items()
        if value is not None
    }
    if reserved := sorted(RESERVED_SETTINGS & texts.keys()):
        raise DoorwardTestError(
            f"The test service sets {', '.join(reserved)} itself. Remove it from doorward_settings."
        )
    if texts.get("env", "development") != "development":
        raise DoorwardTestError(
            "The test service needs env=development. Remove env from doorward_settings."
        )
    if "public_url" in texts and not _is_loopback(texts["public_url"]):
        raise DoorwardTestError(
            "The public_url of the test service must be on 127.0.0.1."
            " Change it, or remove it from doorward_settings."
        )
    return texts


def _is_loopback(url: str) -> bool:
    try:
        return parse_origin(url, allow_http=True).is_loopback
    except InvalidInput:
        return False


def _serialize_value(value: object) -> str:
    if isinstance(value, bool | Mapping):
        return json.dumps(value)
    if isinstance(value, timedelta):
        return str(round(value.total_seconds()))
    if isinstance(value, list | tuple):
        return ",".join(str(item) for item in value)
    return str(value)


def _parse_mail(item: Mapping[str, Any]) -> Mail:
    return Mail(
        item["to"], item["subject"], item["text"], item["html"], tuple(item["links"]), item["code"]
    )
