"""Account enumeration: compare responses for known and unknown names over HTTP."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

from app.opaque_tokens import generate_id, generate_token
from bench.servers import Answer, Client, address, make_accounts, service

Body = Callable[[int], dict[str, Any]]

RANDOM = ("request_id", "registration")  # different in every response by design
FIRST_PROBE = 100_000  # IP addresses below belong to the accounts


@dataclass(frozen=True, slots=True)
class Compared:
    """The differences between responses for known and unknown names."""

    what: str
    known: float  # median, in milliseconds
    unknown: float
    told: float  # share of pairs in which the known name was slower; 0.5 reveals nothing
    same_status: bool
    same_body: bool
    same_headers: bool

    @property
    def difference(self) -> float:
        return self.known - self.unknown

    @property
    def percent(self) -> float:
        return 100 * self.difference / self.unknown

    @property
    def alike(self) -> bool:
        return self.same_status and self.same_body and self.same_headers


@dataclass(frozen=True, slots=True)
class Probe:
    """A request with a known and an unknown name."""

    what: str
    path: str
    known: Body
    unknown: Body


def enumeration(*, tries: int, postgres: bool) -> list[Compared]:
    """Run each probe for known and unknown names in alternation."""
    with service(postgres=postgres, DOORWARD_TRUSTED_PROXIES="127.0.0.1/32") as live:
        # Each name is used once, because emails per recipient are limited.
        make_accounts(
            live, [f"{kind}{number}" for kind in ("known", "again") for number in range(tries)]
        )
        client = Client(live.port)
        try:
            return [_compare(client, probe, tries) for probe in PROBES]
        finally:
            client.close()


def _login(name: str) -> Body:
    return lambda number: {"username": f"{name}{number}", "password": "not the password of anybody"}


def _register(name: str) -> Body:
    """Register without a password, because a hash would hide other differences."""
    return lambda number: {
        "username": f"fresh-{name}{number}",
        "email": f"{name}{number}@example.org",
        "name": "Bench",
    }


def _resend(name: str) -> Body:
    return lambda number: {"email": f"{name}{number}@example.org"}


def _forgot(name: str) -> Body:
    return lambda number: {"username": f"{name}{number}"}


def _forgot_address(name: str) -> Body:
    return lambda number: {"email": f"{name}{number}@example.org"}


def _login_by_address(name: str) -> Body:
    return lambda number: {**_login(name)(number), "username": f"{name}{number}@example.org"}


def _login_from_a_device(name: str) -> Body:
    """Log in with a well-formed device token that does not exist."""
    return lambda number: {
        **_login(name)(number),
        "device_token": generate_token("dwd", generate_id("dev")).token,
    }


def _always(body: Body, name: str) -> Body:
    """Use one name from many sources, so that its failure counter is high."""
    return lambda _number: {**body(0), "username": name}


PROBES = (
    Probe("login", "/v1/login", _login("known"), _login("nobody")),
    Probe("register", "/v1/register", _register("known"), _register("newcomer")),
    Probe("login by address", "/v1/login", _login_by_address("known"), _login_by_address("nobody")),
    Probe(
        "login from a device",
        "/v1/login",
        _login_from_a_device("known"),
        _login_from_a_device("nobody"),
    ),
    Probe(
        "login guessed often",
        "/v1/login",
        _always(_login("known"), "known0"),
        _always(_login("nobody"), "nobody0"),
    ),
    Probe("forgot", "/v1/password/forgot", _forgot("known"), _forgot("nobody")),
    Probe(
        "forgot by address",
        "/v1/password/forgot",
        _forgot_address("again"),
        _forgot_address("nobody"),
    ),
    Probe(
        "forgot asked often",
        "/v1/password/forgot",
        _always(_forgot("known"), "known0"),
        _always(_forgot("nobody"), "nobody0"),
    ),
    Probe("resend to an account", "/v1/register/resend", _resend("again"), _resend("nobody")),
    Probe(
        "resend to a registration", "/v1/register/resend", _resend("newcomer"), _resend("nobody")
    ),
)


def _compare(client: Client, probe: Probe, tries: int) -> Compared:
    answers: dict[bool, list[Answer]] = {True: [], False: []}
    order = random.Random(2)
    first = FIRST_PROBE * (1 + PROBES.index(probe))
    for number in range(tries):
        for known in order.sample((True, False), 2):
            body = probe.known(number) if known else probe.unknown(number)
            answers[known].append(
                client.post(probe.path, body, address(first + 2 * number + known))
            )
    return compared(probe.what, answers[True], answers[False])


def compared(what: str, known: list[Answer], unknown: list[Answer]) -> Compared:
    pairs = [(one.seconds, other.seconds) for one in known for other in unknown]
    return Compared(
        what=what,
        known=1000 * median(answer.seconds for answer in known),
        unknown=1000 * median(answer.seconds for answer in unknown),
        told=sum(one > other for one, other in pairs) / len(pairs),
        same_status=_same(known, unknown, lambda answer: answer.status),
        same_body=_same(known, unknown, _steady),
        same_headers=_same(known, unknown, lambda answer: answer.headers),
    )


def _same(known: list[Answer], unknown: list[Answer], part: Callable[[Answer], object]) -> bool:
    """Use the same name for all requests."""
    return len({repr(part(answer)) for answer in [*known, *unknown]}) == 1


def _steady(answer: Answer) -> dict[str, Any]:
    return {name: len(value) if name in RANDOM else value for name, value in answer.body.items()}
