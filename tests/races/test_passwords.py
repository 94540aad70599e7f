"""Passwords under concurrent requests.

Attempts are limited, one change wins, and nothing survives a change.
"""

from __future__ import annotations

import itertools
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError

from app.errors import Busy
from tests.actors import PASSWORD
from tests.live import build_raw_post, send_simultaneously
from tests.races.test_sessions import bearer, refreshed, works
from tests.slow import LONG

GUESSES = 50
RACERS = 16
LOOKED_AT = 5  # and one more after a second; see the function
WRONG = "no password of anybody here"
NUMBERS = itertools.count()
SOURCES = itertools.count()
ROUNDS, TIGHT_ROUNDS = (3, 6) if LONG else (2, 3)  # tight: the window is short


@pytest.fixture
def name(live) -> str:
    """Return a new account for each race."""
    name = f"sprinter{next(NUMBERS)}"
    email = f"{name}@example.org"
    answer = live.call(
        "POST",
        "/v1/register",
        {"username": name, "email": email, "name": "Sprinter", "password": PASSWORD},
    )[1]
    code = live.mailbox(email)[0]["code"]
    assert (
        live.call(
            "POST", "/v1/register/confirm", {"registration": answer["registration"], "code": code}
        )[0]
        == 200
    )
    return name


@pytest.fixture
def database(live):
    """A direct connection to the database, for what no response reveals."""
    engine = create_engine(live.env["DOORWARD_DATABASE_URL"])
    yield engine
    engine.dispose()


def elsewhere() -> dict[str, str]:
    """Return an unused source."""
    number = next(SOURCES)
    return {"X-Forwarded-For": f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"}


def logging_in(name: str, password: str, source: dict[str, str] | None = None) -> bytes:
    return build_raw_post(
        "/v1/login", {"username": name, "password": password}, source or elsewhere()
    )


def login(live, name: str, password: str = PASSWORD) -> tuple[int, dict]:
    return live.call("POST", "/v1/login", {"username": name, "password": password}, elsewhere())


def changing(tokens: dict, old: str, new: str) -> bytes:
    return build_raw_post(
        "/v1/password/change",
        {"old_password": old, "new_password": new},
        {**bearer(tokens["access_token"]), **elsewhere()},
    )


def resetting(token: str, new: str) -> bytes:
    return build_raw_post("/v1/password/reset", {"token": token, "new_password": new}, elsewhere())


def mailed(live, name: str) -> str:
    assert live.call("POST", "/v1/password/forgot", {"username": name}, elsewhere())[0] == 202
    return next(mail for mail in live.mailbox(f"{name}@example.org") if "/reset/" in mail["text"])[
        "links"
    ][0].rpartition("/")[2]


def sentence(number: int) -> str:
    return f"quite another sentence, the {number:02}th"


def statuses(answers) -> Counter[int]:
    return Counter(status for status, _ in answers)


def counted(database, name: str, like: str) -> list[int]:
    """Return the counters of the account; `like` follows its id."""
    with database.connect() as connection:
        account = connection.execute(
            text("SELECT id FROM accounts WHERE username = :name"), {"name": name}
        ).scalar_one()
        found = connection.execute(
            text("SELECT count FROM failed_attempts WHERE id LIKE :like"), {"like": account + like}
        )
        return list(found.scalars())


def looked_at(live, guesses: list[bytes], refused: int) -> int:
    """Return how many guesses of one source were checked; the others must wait.

    On a slow machine a second may pass.
    """
    began = time.monotonic()
    answers = statuses(send_simultaneously(live.port, guesses))
    assert set(answers) == {refused, 429}, answers
    assert LOOKED_AT <= answers[refused] <= LOOKED_AT + int(time.monotonic() - began)
    return answers[refused]


# Counting.


def test_fifty_wrong_logins_at_once_from_one_source_are_five_attempts(live, database, name):
    guesses = [logging_in(name, WRONG, elsewhere())] * GUESSES
    number = looked_at(live, guesses, 401)
    assert counted(database, name, "") == counted(database, name, " %") == [number]
    assert login(live, name)[0] == 200


def test_fifty_wrong_logins_at_once_for_an_unknown_name_are_five(live):
    looked_at(live, [logging_in(f"nobody{next(NUMBERS)}", WRONG)] * GUESSES, 401)


def test_fifty_wrong_logins_at_once_from_fifty_sources_all_count(live, database, name):
    answers = statuses(
        send_simultaneously(live.port, [logging_in(name, WRONG) for _ in range(GUESSES)])
    )
    assert set(answers) <= {401, 503}
    assert counted(database, name, "") == [answers[401]], (
        "whoever found the gate full has not tried"
    )
    assert counted(database, name, " %").count(1) == answers[401]
    assert login(live, name)[0] == 200


def test_concurrent_guesses_by_one_session_are_five_attempts(live, name):
    tokens = login(live, name)[1]
    looked_at(live, [changing(tokens, WRONG, sentence(1))] * 24, 403)
    assert works(live, tokens["access_token"])


def test_never_more_than_a_hundred_attempts_are_checked(live, database, name):
    asked = 0
    for _ in range(6):
        answers = statuses(
            send_simultaneously(live.port, [logging_in(name, WRONG) for _ in range(22)])
        )
        assert set(answers) <= {401, 503}
        asked += answers[401]
    assert asked > 100
    assert counted(database, name, "") == [100]
    assert login(live, name)[0] == 401
    assert statuses(
        send_simultaneously(live.port, [resetting(mailed(live, name), sentence(1))])
    ) == {204: 1}
    assert login(live, name, sentence(1))[0] == 200


def test_twenty_right_logins_at_once_succeed(live, name):
    for _ in range(ROUNDS):
        answers = send_simultaneously(live.port, [logging_in(name, PASSWORD) for _ in range(20)])
        assert statuses(answers) == {200: 20}
    assert all(works(live, answer["access_token"]) for _, answer in answers)


def test_right_and_wrong_logins_at_once_get_their_own_answers(live, name):
    for _ in range(ROUNDS):
        right, wrong = (
            [logging_in(name, PASSWORD) for _ in range(8)],
            [logging_in(name, WRONG) for _ in range(8)],
        )
        answers = send_simultaneously(live.port, right + wrong)
        assert statuses(answers[:8]) == {200: 8}
        assert statuses(answers[8:]) == {401: 8}


# One change wins.


def test_sixteen_uses_of_one_reset_token_set_the_password_once(live, name):
    held = login(live, name)[1]
    token = mailed(live, name)
    answers = send_simultaneously(
        live.port, [resetting(token, sentence(number)) for number in range(RACERS)]
    )
    assert statuses(answers) == {204: 1, 400: RACERS - 1}
    winner = [status for status, _ in answers].index(204)
    opened = [login(live, name, sentence(number))[0] for number in range(RACERS)]
    assert opened == [200 if number == winner else 401 for number in range(RACERS)]
    assert login(live, name)[0] == 401
    assert not works(live, held["access_token"])
    changes = [
        mail
        for mail in live.mailbox(f"{name}@example.org")
        if mail["template"] == "password_changed"
    ]
    assert len(changes) == 1


def test_two_reset_tokens_of_one_account_set_one_password(live, database, name):
    for number in range(ROUNDS):
        tokens = _two_tokens(live, database, name, PASSWORD if not number else sentence(99))
        answers = send_simultaneously(
            live.port, [resetting(token, sentence(index)) for token in tokens for index in range(4)]
        )
        assert statuses(answers) == {204: 1, 400: 7}
        winner = [status for status, _ in answers].index(204) % 4
        assert login(live, name, sentence(winner))[0] == 200
        _, tokens = login(live, name, sentence(winner))
        assert statuses(
            send_simultaneously(live.port, [changing(tokens, sentence(winner), sentence(99))])
        ) == {200: 1}


def _two_tokens(live, database, name: str, password: str) -> list[str]:
    """Two valid tokens, which no sequence of requests creates.

    The first is hidden while the second is created.
    """
    tokens = []
    for _ in range(2):
        with database.begin() as connection:
            connection.execute(
                text("UPDATE accounts SET must_change_since = created_at WHERE username = :name"),
                {"name": name},
            )
        status, answer = login(live, name, password)
        assert status == 403
        tokens.append(answer["reset_token"])
        with database.begin() as connection:
            subject = connection.execute(
                text("SELECT id FROM accounts WHERE username = :name"), {"name": name}
            ).scalar_one()
            connection.execute(
                text("UPDATE confirmations SET used_at = NULL WHERE subject = :id AND id = :row"),
                {"id": subject, "row": f"cnf_{tokens[0].split('_')[1]}"},
            )
    with database.begin() as connection:
        connection.execute(
            text("UPDATE accounts SET must_change_since = NULL WHERE username = :name"),
            {"name": name},
        )
    return tokens


def test_concurrent_changes_by_many_sessions_yield_one(live, name):
    password = PASSWORD
    for turn in range(ROUNDS):
        held = [login(live, name, password)[1] for _ in range(8)]
        wanted = [sentence(10 * turn + number) for number in range(8)]
        answers = send_simultaneously(
            live.port,
            [changing(tokens, password, new) for tokens, new in zip(held, wanted, strict=True)],
        )
        assert statuses(answers)[200] == 1, statuses(answers)
        assert set(statuses(answers)) <= {200, 401, 403}
        winner = [status for status, _ in answers].index(200)
        assert [login(live, name, new)[0] for new in wanted] == [
            200 if number == winner else 401 for number in range(8)
        ]
        assert not any(works(live, tokens["access_token"]) for tokens in held)
        kept = answers[winner][1]
        assert kept["session_id"] == held[winner]["session_id"]
        assert works(live, kept["access_token"])
        assert [refreshed(live, tokens["refresh_token"])[0] for tokens in held] == [400] * 8
        assert refreshed(live, kept["refresh_token"])[0] == 200
        password = wanted[winner]


def test_concurrent_changes_by_one_session_yield_one(live, name):
    password = PASSWORD
    for turn in range(ROUNDS):
        tokens = login(live, name, password)[1]
        wanted = [sentence(10 * turn + number) for number in range(8)]
        answers = send_simultaneously(
            live.port, [changing(tokens, password, new) for new in wanted]
        )
        assert statuses(answers)[200] == 1
        assert set(statuses(answers)) <= {200, 401, 403}
        winner = [status for status, _ in answers].index(200)
        assert works(live, answers[winner][1]["access_token"])
        assert not works(live, tokens["access_token"])
        password = wanted[winner]
        assert login(live, name, password)[0] == 200


def test_change_and_reset_at_once_leave_one_working_password(live, database, name):
    password = PASSWORD
    for turn in range(ROUNDS):
        tokens, token = (
            login(live, name, password)[1],
            _two_tokens(live, database, name, password)[0],
        )
        changed, chosen = sentence(10 * turn), sentence(10 * turn + 1)
        answers = send_simultaneously(
            live.port, [changing(tokens, password, changed), resetting(token, chosen)] * 2
        )
        assert set(statuses(answers)) <= {200, 204, 400, 401, 403}
        assert statuses(answers)[200] + statuses(answers)[204] == 1
        opened = {text for text in (password, changed, chosen) if login(live, name, text)[0] == 200}
        won = next(status for status, _ in answers if status in {200, 204})
        assert opened == {changed if won == 200 else chosen}
        assert not works(live, tokens["access_token"])
        for _, answer in answers:
            if answer and "access_token" in answer:
                assert works(live, answer["access_token"])
        password = opened.pop()


# Nothing survives a change.


def test_tokens_refreshed_during_a_password_change_are_dead(live, name):
    """The session continues only with the tokens in the response of the change."""
    password = PASSWORD
    for turn in range(TIGHT_ROUNDS):
        tokens, other = login(live, name, password)[1], login(live, name, password)[1]
        refreshes = [
            build_raw_post(
                "/v1/token/refresh", {"refresh_token": held["refresh_token"]}, elsewhere()
            )
            for held in (tokens, other)
        ]
        (status, kept), *answers = send_simultaneously(
            live.port, [changing(tokens, password, sentence(turn)), *refreshes * 8]
        )
        assert status == 200, kept
        password = sentence(turn)
        assert set(statuses(answers)) <= {200, 400}
        got = [answer for status, answer in answers if status == 200]
        assert not any(works(live, answer["access_token"]) for answer in [tokens, other, *got])
        assert {
            refreshed(live, answer["refresh_token"])[0] for answer in [tokens, other, *got]
        } == {400}
        assert works(live, kept["access_token"])
        assert refreshed(live, kept["refresh_token"])[0] == 200


def test_no_session_opened_with_the_old_password_outlives_a_change(live, name):
    password = PASSWORD
    for turn in range(ROUNDS):
        tokens = login(live, name, password)[1]
        answers = send_simultaneously(
            live.port,
            [
                changing(tokens, password, sentence(turn)),
                *[logging_in(name, password) for _ in range(12)],
            ],
        )
        (status, kept), *logins = answers
        assert status == 200, kept
        password = sentence(turn)
        assert set(statuses(logins)) <= {200, 401}
        assert not any(
            works(live, answer["access_token"]) for status, answer in logins if status == 200
        )
        assert works(live, kept["access_token"])


def test_no_session_opened_with_the_old_password_outlives_a_reset(live, database, name):
    password = PASSWORD
    for turn in range(ROUNDS):
        token = _two_tokens(live, database, name, password)[0]
        (status, _), *logins = send_simultaneously(
            live.port,
            [resetting(token, sentence(turn)), *[logging_in(name, password) for _ in range(12)]],
        )
        assert status == 204
        password = sentence(turn)
        assert set(statuses(logins)) <= {200, 401}
        assert not any(
            works(live, answer["access_token"]) for status, answer in logins if status == 200
        )
        assert login(live, name, password)[0] == 200


def test_concurrent_reset_requests_leave_one_working_link(live, name):
    asking = [
        build_raw_post(
            "/v1/password/forgot",
            {"username": (name, f"{name}@example.org")[number % 2]},
            elsewhere(),
        )
        for number in range(RACERS)
    ]
    assert statuses(send_simultaneously(live.port, asking)) == {202: RACERS}
    mails = [mail for mail in live.mailbox(f"{name}@example.org") if "/reset/" in mail["text"]]
    assert len(mails) == 1
    token = mails[0]["links"][0].rpartition("/")[2]
    assert statuses(send_simultaneously(live.port, [resetting(token, sentence(1))])) == {204: 1}


def test_concurrent_logins_from_one_machine_all_succeed(live, name):
    here = elsewhere()
    for _ in range(ROUNDS):
        answers = send_simultaneously(live.port, [logging_in(name, PASSWORD, here)] * 20)
        assert statuses(answers) == {200: 20}


def test_released_attempt_locks_counters_in_the_same_order(make_service, empty_postgres_url):
    """Otherwise they could deadlock: one holds the account's counter, the other the source's."""
    service = make_service(empty_postgres_url)
    ann = service.actor().sign_up()
    engine = create_engine(empty_postgres_url)
    of_all = "SELECT id FROM failed_attempts WHERE id LIKE 'acc%' AND id NOT LIKE '% %' FOR UPDATE"
    of_source = (
        f"SELECT id FROM failed_attempts WHERE id LIKE 'acc% {ann.address}' FOR UPDATE NOWAIT"
    )
    assert (
        ann.from_another_address().login(password=WRONG).status_code == 401
    )  # so that the counter of the account is the older row
    with service.open_database() as db:  # so that the table is read by its index
        many = (
            "SELECT 'name:' || i, 'name:' || i, 1, 0, now(), now() FROM generate_series(1, 5000) i"
        )
        db.execute(
            text(
                f"INSERT INTO failed_attempts (id, subject, count, undecided, open_at, last_at) {many}"
            )
        )
        db.execute(text("ANALYZE failed_attempts"))
    with engine.connect() as holder, engine.connect() as other:
        other.execution_options(isolation_level="AUTOCOMMIT")

        def full(*_: str) -> bool:
            holder.execute(text(of_all))
            raise Busy

        service.units.hasher.verify = full
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(ann.login)
            while (
                not other.execute(text("SELECT count(*) FROM pg_locks WHERE NOT granted")).scalar()
                and not answer.done()
            ):
                time.sleep(0.01)
            with pytest.raises(OperationalError, match="could not obtain lock"):
                other.execute(text(of_source))
            holder.rollback()
            assert answer.result().json["code"] == "busy"
    engine.dispose()
