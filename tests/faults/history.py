"""A ledger of acknowledged, refused and unknown operations, compared with what the service accepted.

Callers present tokens to three replicas all the time, and a revoker ends sessions while faults
happen. Afterwards every response is compared with what was acknowledged before it.
"""

from __future__ import annotations

import http.client
import itertools
import json
import random
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field

from tests.live import LiveServer
from tests.slow import LONG

ASKERS = 3
PAUSE = 0.004 if LONG else 0.03  # seconds between two requests of a caller
PATIENCE = 8.0  # seconds a client waits for an answer
CHECKED_PATHS = (
    "/v1/whoami",
    "/authz/auth-request",
    "/authz/forward-auth/default",
    "/authz/ext-authz/default/a/path",
)


@dataclass
class Session:
    access: str
    id: str
    tried_at: float | None = None  # when a client requested its end
    ended_at: float | None = None  # when the end was acknowledged
    unknown: bool = False  # a commit may have succeeded without a response: it may have ended


@dataclass
class Answer:
    sent_at: float
    seconds: float
    session: Session
    status: int  # 0: none
    unknown: bool = False  # whether an earlier try to end the session may have succeeded

    @property
    def is_early_refusal(self) -> bool:
        return self.status == 401 and self.unknown

    @property
    def is_wrong_refusal(self) -> bool:
        """Return whether the refusal arrived before a client requested the end of the session."""
        tried_at = self.session.tried_at
        return self.status in {401, 403} and (
            tried_at is None or self.sent_at + self.seconds < tried_at
        )


@dataclass
class Verdict:
    """Counts that must be zero, and durations."""

    wrongly_accepted: int
    # seconds between the acknowledgement and the last wrong acceptance
    latest_wrong_acceptance: float
    wrongly_refused: int
    checks: int
    ended: int
    slowest: float
    statuses: dict[int, int]
    ends: dict[int, int]  # responses to requests that ended sessions


@dataclass
class History:
    replicas: list[LiveServer]
    sessions: list[Session] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    ends: list[Answer] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._turns = itertools.count()

    # Arrange.

    def sign_up(self, name: str) -> None:
        live = self.replicas[0]
        body = {
            "username": name,
            "email": f"{name}@example.org",
            "name": name,
            "password": "correct horse battery staple",
        }
        status, answer = live.call("POST", "/v1/register", body)
        assert status == 202, answer
        code = live.mailbox(body["email"])[0]["code"]
        status, answer = live.call(
            "POST", "/v1/register/confirm", {"registration": answer["registration"], "code": code}
        )
        assert status == 200, answer

    def log_in(self, name: str, times: int) -> None:
        for number in range(times):
            live = self.replicas[number % len(self.replicas)]
            status, answer = live.call(
                "POST", "/v1/login", {"username": name, "password": "correct horse battery staple"}
            )
            assert status == 200, answer
            self.sessions.append(Session(answer["access_token"], answer["session_id"]))

    # Act.

    def start(self) -> None:
        self._threads = [
            threading.Thread(target=self._check_repeatedly, args=(number,), daemon=True)
            for number in range(ASKERS)
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(PATIENCE * 2)

    def run(self, seconds: float) -> None:
        """Run for a while; about every tenth of a second a session is ended."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.revoke_one()
            time.sleep(0.07)

    def revoke_at_least(self, number: int) -> None:
        """Revoke at least this many sessions. A busy machine may have been too slow."""
        until = time.monotonic() + 30
        while (
            sum(session.ended_at is not None for session in self.sessions) < number
            and time.monotonic() < until
        ):
            self.revoke_one()

    def revoke_one(self, replica: LiveServer | None = None) -> None:
        """End a session at some replica and record the response."""
        living = [session for session in self.sessions[1::2] if session.ended_at is None]
        if not living:
            return
        session = living[0]
        began = time.monotonic()
        session.tried_at = session.tried_at or began
        replica = replica or self.replicas[next(self._turns) % len(self.replicas)]
        status, _ = _call(replica.port, "POST", "/v1/logout", session.access)
        answered = Answer(began, time.monotonic() - began, session, status, session.unknown)
        self.ends.append(answered)
        if status == 204 or answered.is_early_refusal:
            session.ended_at = time.monotonic()
        else:
            session.unknown = True

    def revoke_all_but_one(self, account_sessions: list[Session]) -> None:
        """End all sessions of an account but the first in one request."""
        for session in account_sessions[1:]:
            session.tried_at = time.monotonic()
        status, _ = _call(
            self.replicas[0].port, "DELETE", "/v1/sessions", account_sessions[0].access
        )
        assert status == 204
        for session in account_sessions[1:]:
            session.ended_at = time.monotonic()

    def _check_repeatedly(self, number: int) -> None:
        order = random.Random(number)
        while not self._stop.is_set():
            # Every other check is about an ended session, which could be wrongly accepted.
            ended = (
                [session for session in self.sessions if session.tried_at is not None]
                if order.random() < 0.5
                else []
            )
            self.check(
                order.choice(ended or self.sessions),
                order.choice(self.replicas),
                order.choice(CHECKED_PATHS),
            )
            time.sleep(PAUSE)

    def check(self, session: Session, replica: LiveServer, path: str = CHECKED_PATHS[0]) -> int:
        began = time.monotonic()
        status, _ = _call(replica.port, "GET", path, session.access)
        self.answers.append(Answer(began, time.monotonic() - began, session, status))
        return status

    # Assert.

    def check_everywhere(self) -> None:
        """Present every token to every replica once more."""
        for replica in self.replicas:
            for session in self.sessions:
                self.check(session, replica)

    def evaluate(self, *, bound: float, since: float = 0.0, until: float = float("inf")) -> Verdict:
        """Compare the responses with what was acknowledged.

        `bound` is the promised delay of a revocation in seconds.
        """
        seen = [answer for answer in self.answers if since <= answer.sent_at <= until]
        ends = [answer for answer in self.ends if since <= answer.sent_at <= until]
        late = [
            answer.sent_at - answer.session.ended_at
            for answer in seen
            if answer.status == 200
            and answer.session.ended_at is not None
            and answer.sent_at > answer.session.ended_at
        ]
        refused_ends = [
            answer for answer in ends if answer.status in {401, 403} and not answer.is_early_refusal
        ]
        return Verdict(
            wrongly_accepted=sum(delay > bound for delay in late),
            latest_wrong_acceptance=max(late, default=0.0),
            wrongly_refused=sum(answer.is_wrong_refusal for answer in seen) + len(refused_ends),
            checks=len(seen),
            ended=sum(session.ended_at is not None for session in self.sessions),
            slowest=max((answer.seconds for answer in [*seen, *ends]), default=0.0),
            statuses=dict(Counter(answer.status for answer in seen)),
            ends=dict(Counter(answer.status for answer in ends)),
        )


def _call(port: int, method: str, path: str, token: str) -> tuple[int, object]:
    """Send one request on a new connection. Status 0 means no response."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request(
            method, path, headers={"Authorization": f"Bearer {token}", "Content-Length": "0"}
        )
        answer = connection.getresponse()
        raw = answer.read()
    except (OSError, http.client.HTTPException):
        return 0, None
    finally:
        with suppress(OSError):
            connection.close()
    return answer.status, json.loads(raw) if raw else None
