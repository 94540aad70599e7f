"""Random sequences of two users match a model.

The model knows which passwords, access tokens, refresh tokens and reset tokens are valid; after
each step some of each are tried.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import text

from tests.actors import Actor, Service, build_settings
from tests.postgres import delete_all_rows

NAMES = ("ann", "bob")
PASSWORDS = tuple(
    f"the {word} of five sentences known"
    for word in ("first", "second", "third", "fourth", "fifth")
)
GENEROUS = {
    f"limit_{name}": "100000/minute"
    for name in ("login", "register", "resend", "confirm", "code", "refresh", "forgot")
}
GRACE, ACCESS, RESET, IDLE, ABSOLUTE = (
    30,
    300 + 30,
    1800,
    14 * 86400,
    30 * 86400,
)  # seconds, including the leeway of access tokens
TABLES = (
    "accounts",
    "pending_registrations",
    "confirmations",
    "outbox",
    "audit",
    "revocations",
    "failed_attempts",
)


@dataclass
class Login:
    """A session in the model: its refresh tokens by age, its access tokens with their times."""

    owner: str
    began: float
    refreshes: list[tuple[str, float]] = field(
        default_factory=list
    )  # the token and its time; the last one is current
    accesses: list[tuple[str, float]] = field(default_factory=list)
    replaced: list[str] = field(
        default_factory=list
    )  # tokens from before a change: invalid, but no sign of theft
    alive: bool = True


@dataclass
class Person:
    """A user in the model."""

    actor: Actor
    pending: str = ""  # the password of an unconfirmed registration
    password: str = ""
    resets: list[tuple[str, float, bool]] = field(
        default_factory=list
    )  # the token, when it was emailed, and whether it is valid


class Doorward(RuleBasedStateMachine):
    """The service and its model."""

    service: Service

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.people: dict[str, Person] = {}
        self.logins: list[Login] = []
        self.dead_accesses: list[str] = []  # from before a change: no session knows them

    @initialize()
    def reset_state(self) -> None:
        self.service.units.limiter.reset()  # a recipient gets one email a minute
        with self.service.open_database() as db:
            for table in TABLES:
                db.execute(text(f"DELETE FROM {table}"))
        self.people = {name: Person(self.service.actor(name)) for name in NAMES}
        self.sign_up("ann", PASSWORDS[0])
        self.log_in("ann", PASSWORDS[0], by_address=False)

    # Actions.

    def sign_up(self, name: str, password: str) -> None:
        person = self.people[name]
        person.actor.password = person.password = password
        person.actor.sign_up()

    @precondition(
        lambda self: any(
            not person.password and not person.pending for person in self.people.values()
        )
    )
    @rule(password=st.sampled_from(PASSWORDS))
    def register(self, password: str) -> None:
        person = next(
            person for person in self.people.values() if not person.password and not person.pending
        )
        assert person.actor.register(password=password).status_code == 202
        person.pending = password

    @precondition(lambda self: any(person.pending for person in self.people.values()))
    @rule(right=st.booleans())
    def confirm(self, right: bool) -> None:
        person = next(person for person in self.people.values() if person.pending)
        if not right:
            assert person.actor.confirm(code="BBBB-BBBB").status_code == 400
            return
        expected = (
            200
            if person.actor.get(f"/confirm/{person.actor.get_mailed_token()}").status_code == 200
            else 400
        )
        answer = person.actor.confirm()
        # after five wrong codes only the link is valid
        assert answer.status_code in {expected, 400}
        if answer.status_code == 200:
            person.password = person.actor.password = person.pending
        person.pending = ""
        if answer.status_code != 200:
            self.service.scalar(
                "DELETE FROM pending_registrations WHERE username = :name RETURNING id",
                name=person.actor.username,
            )

    @rule(
        name=st.sampled_from(NAMES), password=st.sampled_from(PASSWORDS), by_address=st.booleans()
    )
    def log_in(self, name: str, password: str, by_address: bool) -> None:
        person = self.people[name]
        client = person.actor.from_another_address()  # not throttled: other tests cover delays
        answer = client.login(username=client.email if by_address else name, password=password)
        assert answer.status_code == (200 if password == person.password else 401)
        if answer.status_code == 200:
            self.logins.append(Login(name, self.now))
            self.record_tokens(self.logins[-1], answer.json)

    @precondition(lambda self: self.logins)
    @rule(data=st.data())
    def refresh(self, data: Any) -> None:
        """Refresh with any token of any login so far."""
        login = data.draw(st.sampled_from(self.logins))
        token = data.draw(
            st.sampled_from([each for each, _ in login.refreshes[-4:]] + login.replaced[-2:])
        )
        self.check_refresh(login, token)

    @precondition(lambda self: self.logins)
    @rule(data=st.data(), everywhere=st.booleans(), by_refresh=st.booleans())
    def log_out(self, data: Any, everywhere: bool, by_refresh: bool) -> None:
        login = data.draw(st.sampled_from(self.logins))
        path = "/v1/logout-all" if everywhere else "/v1/logout"
        token, _ = login.refreshes[-1]
        access, made = login.accesses[-1]
        good = (
            self.is_live(login) if by_refresh else self.is_live(login) and self.now - made < ACCESS
        )
        answer = self.create_client().post(
            path,
            {"refresh_token": token} if by_refresh else {},
            token=None if by_refresh else access,
        )
        assert answer.status_code == (204 if good else 401)
        if not good:
            return
        if everywhere:
            self.end_sessions(login.owner)
        login.alive = False

    @precondition(lambda self: self.logins)
    @rule(
        data=st.data(),
        old=st.sampled_from(PASSWORDS),
        new=st.sampled_from(PASSWORDS),
        knows_password=st.booleans(),
    )
    def change(self, data: Any, old: str, new: str, knows_password: bool) -> None:
        login = data.draw(st.sampled_from(self.logins))
        person = self.people[login.owner]
        old = person.password if knows_password else old
        access, made = login.accesses[-1]
        body = {"old_password": old, "new_password": new}
        answer = self.create_client().post("/v1/password/change", body, token=access)
        if not (self.is_live(login) and self.now - made < ACCESS):
            expected = 401
        elif old == new:
            expected = 422
        else:
            expected = 200 if old == person.password else 403
        assert answer.status_code == expected
        if expected != 200:
            return
        person.password = new
        self.end_sessions(login.owner)
        login.alive = True
        login.replaced += [token for token, _ in login.refreshes]
        self.dead_accesses += [token for token, _ in login.accesses]
        login.refreshes, login.accesses = [], []
        self.record_tokens(login, answer.json)

    @rule(name=st.sampled_from(NAMES), by_address=st.booleans())
    def request_password_reset(self, name: str, by_address: bool) -> None:
        person = self.people[name]
        self.service.units.limiter.reset()
        before = self.count_reset_emails(person)
        identifier = {"email": person.actor.email} if by_address else {"username": name}
        assert self.create_client().request_password_reset(**identifier).status_code == 202
        assert self.count_reset_emails(person) == before + bool(person.password)
        if person.password:
            person.resets = [(token, mailed, False) for token, mailed, _ in person.resets]
            person.resets.append((person.actor.get_reset_token(), self.now, True))

    @precondition(lambda self: any(person.resets for person in self.people.values()))
    @rule(data=st.data(), new=st.sampled_from(PASSWORDS))
    def reset(self, data: Any, new: str) -> None:
        person = data.draw(
            st.sampled_from([person for person in self.people.values() if person.resets])
        )
        token, mailed, good = data.draw(st.sampled_from(person.resets[-3:]))
        good = good and self.now - mailed < RESET
        answer = self.create_client().reset(new, token=token)
        assert answer.status_code == (204 if good else 400)
        if good:
            person.password = new
            self.end_sessions(person.actor.username)

    @rule(seconds=st.sampled_from([10, 60, 200, 1000, 86400, 10 * 86400]))
    def advance_clock(self, seconds: int) -> None:
        self.service.clock.push(seconds=seconds)
        self.now += seconds
        for person in self.people.values():
            if person.pending and seconds >= 86400:
                person.pending = ""

    # Invariants.

    @invariant()
    def check_all_credentials(self) -> None:
        for login in self.logins[-4:]:
            for access, made in login.accesses[-2:]:
                good = self.is_live(login) and self.now - made < ACCESS
                assert self.create_client().whoami(access).status_code == (200 if good else 401)
        for access in self.dead_accesses[-3:]:
            assert self.create_client().whoami(access).status_code == 401
        for person in self.people.values():
            for token, mailed, good in person.resets[-2:]:
                status = self.create_client().get(f"/reset/{token}").status_code
                assert status == (200 if good and self.now - mailed < RESET else 400)

    def teardown(self) -> None:
        """At the end, try every password that was ever set and refresh every session."""
        for name, person in self.people.items():
            opened = [
                password
                for password in PASSWORDS
                if person.actor.from_another_address().login(password=password).status_code == 200
            ]
            assert opened == ([person.password] if person.password else [])
            assert self.service.scalar(
                "SELECT count(*) FROM accounts WHERE username = :name", name=name
            ) == bool(person.password)
        for login in self.logins:
            if login.refreshes:
                self.check_refresh(login, login.refreshes[-1][0])

    # The model.

    def create_client(self) -> Actor:
        return self.service.actor("x")

    def count_reset_emails(self, person: Person) -> int:
        return len(
            [mail for mail in self.service.mailbox(person.actor.email) if "/reset/" in mail["text"]]
        )

    def record_tokens(self, login: Login, tokens: dict[str, Any]) -> None:
        if not login.refreshes or login.refreshes[-1][0] != tokens["refresh_token"]:
            login.refreshes.append((tokens["refresh_token"], self.now))
        login.accesses.append((tokens["access_token"], self.now))

    def is_live(self, login: Login) -> bool:
        used = max(came for _, came in login.refreshes) if login.refreshes else login.began
        return login.alive and self.now - used < IDLE and self.now - login.began < ABSOLUTE

    def end_sessions(self, name: str) -> None:
        for login in self.logins:
            if login.owner == name:
                login.alive = False
        person = self.people[name]
        person.resets = [(token, mailed, False) for token, mailed, _ in person.resets]

    def check_refresh(self, login: Login, token: str) -> None:
        answer = self.create_client().refresh(token)
        tokens = [each for each, _ in login.refreshes]
        if token in login.replaced or not self.is_live(login):
            assert answer.status_code == 400
            return
        age = len(tokens) - 1 - tokens.index(token)
        if age == 0 or (age == 1 and self.now - login.refreshes[-1][1] < GRACE):
            assert answer.status_code == 200
            if age:
                assert answer.json["refresh_token"] == tokens[-1]
            self.record_tokens(login, answer.json)
            return
        assert answer.status_code == 400, "a used token was reused, so it was copied"
        login.alive = False


def build_machine_settings(examples: int, steps: int):
    return settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.explicit, Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )


@pytest.mark.parametrize(("kind", "examples", "steps"), [("sqlite", 10, 18), ("postgresql", 3, 12)])
def test_random_sequences_match_the_model(request, tmp_path, kind, examples, steps):
    if kind == "sqlite":
        shutil.copy(request.getfixturevalue("sqlite_template"), tmp_path / "told.db")
        url = f"sqlite:///{tmp_path}/told.db"
    else:
        url = request.getfixturevalue("postgres_url")
        delete_all_rows(url)
    service = Service(build_settings(url, **GENEROUS)).freeze_clock()
    machine = type("Story", (Doorward,), {"service": service})
    try:
        run_state_machine_as_test(machine, settings=build_machine_settings(examples, steps))
    finally:
        service.close()
