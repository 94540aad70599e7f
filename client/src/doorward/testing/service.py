"""What tests hold of the service: its address, people in it, their mail, and its clock."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

from doorward import environment as here
from doorward import responses as parse
from doorward.client import Doorward
from doorward.device_login.prompt import Prompt
from doorward.errors import InvalidInput, NotLoggedInError
from doorward.origin import parse_origin
from doorward.secret import Secret
from doorward.sessions.credential import Credential
from doorward.testing.process import NotForTests, ServerProcess
from doorward.transport.transport import Transport

PASSWORD = "correct horse battery staple"  # noqa: S105 - of accounts that live as long as a test
# What makes it the service of tests; another database, another cache or real mail would not be.
OURS = frozenset({"database_url", "redis_url", "smtp_url"})


@dataclass(frozen=True, slots=True)
class TestAccount:
    """Somebody who can sign in at the service of the tests."""

    __test__: ClassVar[bool] = False  # pytest collects what is called Test

    id: str
    username: str
    email: str
    roles: tuple[str, ...]
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail that the service would have sent. `code` is the one to type, where there is one."""

    to: str
    subject: str
    text: str
    html: str
    links: tuple[str, ...]
    code: str | None


class DoorwardTestService:
    """A Doorward service of one's own, on 127.0.0.1. Everything but opening accounts and pushing the clock goes through HTTP."""

    def __init__(
        self, process: ServerProcess, folder: Path, settings: Mapping[str, object]
    ) -> None:
        self._process = process
        found = process.ask("open", folder=str(folder), settings=as_texts(settings))
        self.url: str = found["url"]
        self._number: int = found["number"]
        self._transport = Transport(parse_origin(self.url))
        self._clients: list[Doorward] = []

    def __repr__(self) -> str:
        return f"<DoorwardTestService at {self.url}>"

    @property
    def now(self) -> datetime:
        """The time that the service has, in UTC: that of this machine, and as much more as the clock was pushed."""
        return datetime.fromisoformat(self._ask("now"))

    def push_clock(self, **time: float) -> None:
        """Let time pass for the service, e.g. `push_clock(minutes=10)`: tokens expire, sessions end, codes are too old.

        The clients that `client` gave notice: their next token is a fresh one. The fixture sets the clock back at the end of each
        test. Only the service's clock moves: whoever checks tokens without asking it has a clock of his own. Raises ValueError for a
        time that is not ahead.
        """
        ahead = timedelta(**time)
        if ahead <= timedelta():
            raise ValueError("a clock is pushed forward: name a time, e.g. push_clock(minutes=10)")
        self._ask("push", seconds=ahead.total_seconds())
        for client in self._clients:
            with suppress(NotLoggedInError):
                # No call for this: outside of tests a client's clock and the service's move together.
                client.session._credential.update(lambda held: _sooner(held, ahead))  # noqa: SLF001

    def account(
        self,
        username: str | None = None,
        *,
        email: str | None = None,
        roles: Iterable[str] | str = (),
        password: str = PASSWORD,
    ) -> TestAccount:
        """Somebody new who can sign in at once, and has had no mail. Without a name it is one that nobody has.

        Roles are `admin` and those of the settings. Raises NotForTests for what cannot be, such as a name that is taken.
        """
        username = username or f"test-{secrets.token_hex(6)}"
        email, has = email or f"{username}@example.org", _names(roles)
        account_id: str = self._ask(
            "account", username=username, email=email, password=password, roles=has
        )
        return TestAccount(account_id, username.lower(), email, has, password)

    def client(self, account: TestAccount | None = None, *, scope: str | None = None) -> Doorward:
        """A client of the service, logged in as the account; without one, as nobody. It is closed at the end of the test."""
        client = Doorward(self.url)
        self._clients.append(client)
        if account is not None:
            client.login.with_password(account.username, account.password, scope=scope)
        return client

    def token(self, account: TestAccount, scope: str | None = None) -> str:
        """An access token of a new session of the account. `scope` names what it may do, separated by spaces; else all that roles allow."""
        return self.client(account, scope=scope).token

    def api_key(
        self,
        account: TestAccount,
        scopes: Iterable[str] | str = (),
        *,
        expires_in: timedelta | float | None = None,
    ) -> str:
        """An API key of the account. The scopes are among those that its roles allow; it lasts 90 days unless told otherwise."""
        keys, name = self.client(account).keys, f"test-{secrets.token_hex(6)}"
        has = _names(scopes)
        made = (
            keys.create(name, has)
            if expires_in is None
            else keys.create(name, has, expires_in=expires_in)
        )
        return made.key.reveal()

    def mail(self, to: TestAccount | str | None = None) -> list[Mail]:
        """The mail of this test, newest first, at most 50; all of it, or that to an account or address."""
        address = to.email if isinstance(to, TestAccount) else to
        found = [
            _mail(item) for item in parse.list_items(self._transport.ask("GET", "/dev/mailbox"))
        ]
        return [mail for mail in found if address is None or mail.to.lower() == address.lower()]

    def approve(self, prompt: Prompt | str, account: TestAccount) -> None:
        """Let a program in as the account: what a person does on another device with the prompt, or with its code alone.

        Raises NotFound for a code that is unknown, too old or somebody else's.
        """
        self._decide(prompt, account, "approve")

    def deny(self, prompt: Prompt | str, account: TestAccount) -> None:
        """Refuse a program as the account. Raises NotFound."""
        self._decide(prompt, account, "deny")

    def _decide(self, prompt: Prompt | str, account: TestAccount, word: str) -> None:
        typed = {"user_code": prompt.user_code if isinstance(prompt, Prompt) else prompt}
        token = Secret(self.token(account))
        claimed = self._transport.ask("POST", "/v1/login-sessions/claim", token=token, json=typed)
        body = typed if word == "approve" else {}
        self._transport.ask(
            "POST", f"/v1/login-sessions/{claimed['id']}/{word}", token=token, json=body
        )

    def calm(self) -> None:
        """Set the clock back, empty the mailbox, forget wrong passwords and codes, close the clients; done after each test by itself."""
        while self._clients:
            self._clients.pop().close()
        self._ask("calm")

    def close(self) -> None:
        """Stop serving."""
        self.calm()
        self._ask("close")
        self._transport.close()

    def _ask(self, do: str, **parts: Any) -> Any:
        return self._process.ask(do, number=self._number, **parts)


def _names(given: Iterable[str] | str) -> tuple[str, ...]:
    """Roles or scopes; in one text they stand apart, as in a token's scope. Else a text would be taken for a list of letters."""
    return tuple(given.split() if isinstance(given, str) else given)


def _sooner(held: Credential, by: timedelta) -> Credential:
    """The same token where that much more time has passed."""
    return replace(
        held,
        expires_at=held.expires_at and held.expires_at - by,
        ends_at=held.ends_at and held.ends_at - by.total_seconds(),
    )


def as_texts(settings: Mapping[str, object]) -> dict[str, str]:
    """Settings as they would stand in the environment. Raises NotForTests for what would make it another service than one for tests."""
    if here.get_variable("DOORWARD_ENV").strip() == "production":
        raise NotForTests(
            "DOORWARD_ENV is production: the service of the tests does not run there."
        )
    texts = {name.lower(): _text(value) for name, value in settings.items() if value is not None}
    if chosen := sorted(OURS & texts.keys()):
        raise NotForTests(
            f"{', '.join(chosen)}: the service of the tests chooses this itself; leave it out of doorward_settings."
        )
    if texts.get("env", "development") != "development":
        raise NotForTests(
            "env: the service of the tests runs in development and nowhere else; leave it out of doorward_settings."
        )
    if "public_url" in texts and not _loopback(texts["public_url"]):
        raise NotForTests(
            "public_url: the service of the tests answers on this machine alone; name an address of 127.0.0.1, or none."
        )
    return texts


def _loopback(url: str) -> bool:
    try:
        return parse_origin(url, allow_http=True).is_loopback
    except InvalidInput:
        return False


def _text(value: object) -> str:
    if isinstance(value, bool | Mapping):
        return json.dumps(value)
    if isinstance(value, timedelta):
        return str(round(value.total_seconds()))
    if isinstance(value, list | tuple):
        return ",".join(str(item) for item in value)
    return str(value)


def _mail(item: Mapping[str, Any]) -> Mail:
    return Mail(
        item["to"], item["subject"], item["text"], item["html"], tuple(item["links"]), item["code"]
    )
