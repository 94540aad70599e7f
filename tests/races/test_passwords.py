"""Passwords under concurrent requests.

Attempts are limited, one change wins, and nothing survives a change.
"""

from __future__ import annotations

import itertools
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError

from app.errors import Busy
from tests.actors import PASSWORD
from tests.live import build_raw_post, send_simultaneously
from tests.races.requests import (
    build_login,
    build_password,
    build_password_change,
    count_statuses,
    is_accepted,
    log_in,
    pick_unused_source,
    refresh_tokens,
    try_login,
)
from tests.slow import LONG

GUESSES = 50
RACERS = 16
LOOKED_AT = 5  # and one more after a second; see the function
WRONG = "no password of anybody here"
NUMBERS = itertools.count()
ROUNDS, TIGHT_ROUNDS = (3, 6) if LONG else (2, 3)  # tight: the window is short


@pytest.fixture
def database(live):
    """A direct connection to the database, for what no response reveals."""
    engine = create_engine(live.env["DOORWARD_DATABASE_URL"])
    yield engine
    engine.dispose()


def build_reset(token: str, new: str) -> bytes:
    return build_raw_post(
        "/v1/password/reset", {"token": token, "new_password": new}, pick_unused_source()
    )


def mail_reset_token(live, name: str) -> str:
    assert (
        live.call("POST", "/v1/password/forgot", {"username": name}, pick_unused_source())[0] == 202
    )
    return next(mail for mail in live.mailbox(f"{name}@example.org") if "/reset/" in mail["text"])[
        "links"
    ][0].rpartition("/")[2]


def list_failure_counts(database, name: str, like: str) -> list[int]:
    """Return the counters of the account; `like` follows its id."""
    with database.connect() as connection:
        account = connection.execute(
            text("SELECT id FROM accounts WHERE username = :name"), {"name": name}
        ).scalar_one()
        found = connection.execute(
            text("SELECT count FROM failed_attempts WHERE id LIKE :like"), {"like": account + like}
        )
        return list(found.scalars())


def count_checked(live, guesses: list[bytes], refused: int) -> int:
    """Return how many guesses of one source were checked; the others must wait.

    On a slow machine a second may pass.
    """
    began = time.monotonic()
    answers = count_statuses(send_simultaneously(live.port, guesses))
    assert set(answers) == {refused, 429}, answers
    assert LOOKED_AT <= answers[refused] <= LOOKED_AT + int(time.monotonic() - began)
    return answers[refused]


# Counting.


def test_fifty_wrong_logins_at_once_from_one_source_are_five_attempts(live, database, name):
    guesses = [build_login(name, WRONG, pick_unused_source())] * GUESSES
    number = count_checked(live, guesses, 401)
    assert (
        list_failure_counts(database, name, "")
        == list_failure_counts(database, name, " %")
        == [number]
    )
    assert try_login(live, name)[0] == 200


def test_fifty_wrong_logins_at_once_for_an_unknown_name_are_five(live):
    count_checked(live, [build_login(f"nobody{next(NUMBERS)}", WRONG)] * GUESSES, 401)


def test_fifty_wrong_logins_at_once_from_fifty_sources_all_count(live, database, name):
    answers = count_statuses(
        send_simultaneously(live.port, [build_login(name, WRONG) for _ in range(GUESSES)])
    )
    assert set(answers) <= {401, 503}
    assert list_failure_counts(database, name, "") == [answers[401]], (
        "a request rejected as busy does not count as an attempt"
    )
    assert list_failure_counts(database, name, " %").count(1) == answers[401]
    assert try_login(live, name)[0] == 200


def test_concurrent_guesses_by_one_session_are_five_attempts(live, name):
    tokens = log_in(live, name)
    count_checked(live, [build_password_change(tokens, WRONG, build_password(1))] * 24, 403)
    assert is_accepted(live, tokens["access_token"])


def test_never_more_than_a_hundred_attempts_are_checked(live, database, name):
    checked = 0
    for _ in range(6):
        answers = count_statuses(
            send_simultaneously(live.port, [build_login(name, WRONG) for _ in range(22)])
        )
        assert set(answers) <= {401, 503}
        checked += answers[401]
    assert checked > 100
    assert list_failure_counts(database, name, "") == [100]
    assert try_login(live, name)[0] == 401
    assert count_statuses(
        send_simultaneously(
            live.port, [build_reset(mail_reset_token(live, name), build_password(1))]
        )
    ) == {204: 1}
    assert try_login(live, name, build_password(1))[0] == 200


def test_twenty_right_logins_at_once_succeed(live, name):
    for _ in range(ROUNDS):
        answers = send_simultaneously(live.port, [build_login(name, PASSWORD) for _ in range(20)])
        assert count_statuses(answers) == {200: 20}
    assert all(is_accepted(live, answer["access_token"]) for _, answer in answers)


def test_right_and_wrong_logins_at_once_get_their_own_answers(live, name):
    for _ in range(ROUNDS):
        right, wrong = (
            [build_login(name, PASSWORD) for _ in range(8)],
            [build_login(name, WRONG) for _ in range(8)],
        )
        answers = send_simultaneously(live.port, right + wrong)
        assert count_statuses(answers[:8]) == {200: 8}
        assert count_statuses(answers[8:]) == {401: 8}


# One change wins.


def test_sixteen_uses_of_one_reset_token_set_the_password_once(live, name):
    held = log_in(live, name)
    token = mail_reset_token(live, name)
    answers = send_simultaneously(
        live.port, [build_reset(token, build_password(number)) for number in range(RACERS)]
    )
    assert count_statuses(answers) == {204: 1, 400: RACERS - 1}
    winner = [status for status, _ in answers].index(204)
    opened = [try_login(live, name, build_password(number))[0] for number in range(RACERS)]
    assert opened == [200 if number == winner else 401 for number in range(RACERS)]
    assert try_login(live, name)[0] == 401
    assert not is_accepted(live, held["access_token"])
    changes = [
        mail
        for mail in live.mailbox(f"{name}@example.org")
        if mail["template"] == "password_changed"
    ]
    assert len(changes) == 1


def test_two_reset_tokens_of_one_account_set_one_password(live, database, name):
    for number in range(ROUNDS):
        tokens = _create_two_tokens(
            live, database, name, PASSWORD if not number else build_password(99)
        )
        answers = send_simultaneously(
            live.port,
            [build_reset(token, build_password(index)) for token in tokens for index in range(4)],
        )
        assert count_statuses(answers) == {204: 1, 400: 7}
        winner = [status for status, _ in answers].index(204) % 4
        assert try_login(live, name, build_password(winner))[0] == 200
        tokens = log_in(live, name, build_password(winner))
        assert count_statuses(
            send_simultaneously(
                live.port,
                [build_password_change(tokens, build_password(winner), build_password(99))],
            )
        ) == {200: 1}


def _create_two_tokens(live, database, name: str, password: str) -> list[str]:
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
        status, answer = try_login(live, name, password)
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
        held = [log_in(live, name, password) for _ in range(8)]
        wanted = [build_password(10 * turn + number) for number in range(8)]
        answers = send_simultaneously(
            live.port,
            [
                build_password_change(tokens, password, new)
                for tokens, new in zip(held, wanted, strict=True)
            ],
        )
        assert count_statuses(answers)[200] == 1, count_statuses(answers)
        assert set(count_statuses(answers)) <= {200, 401, 403}
        winner = [status for status, _ in answers].index(200)
        assert [try_login(live, name, new)[0] for new in wanted] == [
            200 if number == winner else 401 for number in range(8)
        ]
        assert not any(is_accepted(live, tokens["access_token"]) for tokens in held)
        kept = answers[winner][1]
        assert kept["session_id"] == held[winner]["session_id"]
        assert is_accepted(live, kept["access_token"])
        assert [refresh_tokens(live, tokens["refresh_token"])[0] for tokens in held] == [400] * 8
        assert refresh_tokens(live, kept["refresh_token"])[0] == 200
        password = wanted[winner]


def test_concurrent_changes_by_one_session_yield_one(live, name):
    password = PASSWORD
    for turn in range(ROUNDS):
        tokens = log_in(live, name, password)
        wanted = [build_password(10 * turn + number) for number in range(8)]
        answers = send_simultaneously(
            live.port, [build_password_change(tokens, password, new) for new in wanted]
        )
        assert count_statuses(answers)[200] == 1
        assert set(count_statuses(answers)) <= {200, 401, 403}
        winner = [status for status, _ in answers].index(200)
        assert is_accepted(live, answers[winner][1]["access_token"])
        assert not is_accepted(live, tokens["access_token"])
        password = wanted[winner]
        assert try_login(live, name, password)[0] == 200


def test_change_and_reset_at_once_leave_one_working_password(live, database, name):
    password = PASSWORD
    for turn in range(ROUNDS):
        tokens, token = (
            log_in(live, name, password),
            _create_two_tokens(live, database, name, password)[0],
        )
        changed, chosen = build_password(10 * turn), build_password(10 * turn + 1)
        answers = send_simultaneously(
            live.port,
            [build_password_change(tokens, password, changed), build_reset(token, chosen)] * 2,
        )
        assert set(count_statuses(answers)) <= {200, 204, 400, 401, 403}
        assert count_statuses(answers)[200] + count_statuses(answers)[204] == 1
        opened = {
            text for text in (password, changed, chosen) if try_login(live, name, text)[0] == 200
        }
        won = next(status for status, _ in answers if status in {200, 204})
        assert opened == {changed if won == 200 else chosen}
        assert not is_accepted(live, tokens["access_token"])
        for _, answer in answers:
            if answer and "access_token" in answer:
                assert is_accepted(live, answer["access_token"])
        password = opened.pop()


# Nothing survives a change.


def test_tokens_refreshed_during_a_password_change_are_dead(live, name):
    """The session continues only with the tokens in the response of the change."""
    password = PASSWORD
    for turn in range(TIGHT_ROUNDS):
        tokens, other = log_in(live, name, password), log_in(live, name, password)
        refreshes = [
            build_raw_post(
                "/v1/token/refresh", {"refresh_token": held["refresh_token"]}, pick_unused_source()
            )
            for held in (tokens, other)
        ]
        (status, kept), *answers = send_simultaneously(
            live.port,
            [build_password_change(tokens, password, build_password(turn)), *refreshes * 8],
        )
        assert status == 200, kept
        password = build_password(turn)
        assert set(count_statuses(answers)) <= {200, 400}
        got = [answer for status, answer in answers if status == 200]
        assert not any(
            is_accepted(live, answer["access_token"]) for answer in [tokens, other, *got]
        )
        assert {
            refresh_tokens(live, answer["refresh_token"])[0] for answer in [tokens, other, *got]
        } == {400}
        assert is_accepted(live, kept["access_token"])
        assert refresh_tokens(live, kept["refresh_token"])[0] == 200


def test_no_session_opened_with_the_old_password_outlives_a_change(live, name):
    password = PASSWORD
    for turn in range(ROUNDS):
        tokens = log_in(live, name, password)
        answers = send_simultaneously(
            live.port,
            [
                build_password_change(tokens, password, build_password(turn)),
                *[build_login(name, password) for _ in range(12)],
            ],
        )
        (status, kept), *logins = answers
        assert status == 200, kept
        password = build_password(turn)
        assert set(count_statuses(logins)) <= {200, 401}
        assert not any(
            is_accepted(live, answer["access_token"]) for status, answer in logins if status == 200
        )
        assert is_accepted(live, kept["access_token"])


def test_no_session_opened_with_the_old_password_outlives_a_reset(live, database, name):
    password = PASSWORD
    for turn in range(ROUNDS):
        token = _create_two_tokens(live, database, name, password)[0]
        (status, _), *logins = send_simultaneously(
            live.port,
            [
                build_reset(token, build_password(turn)),
                *[build_login(name, password) for _ in range(12)],
            ],
        )
        assert status == 204
        password = build_password(turn)
        assert set(count_statuses(logins)) <= {200, 401}
        assert not any(
            is_accepted(live, answer["access_token"]) for status, answer in logins if status == 200
        )
        assert try_login(live, name, password)[0] == 200


def test_concurrent_reset_requests_leave_one_working_link(live, name):
    asking = [
        build_raw_post(
            "/v1/password/forgot",
            {"username": (name, f"{name}@example.org")[number % 2]},
            pick_unused_source(),
        )
        for number in range(RACERS)
    ]
    assert count_statuses(send_simultaneously(live.port, asking)) == {202: RACERS}
    mails = [mail for mail in live.mailbox(f"{name}@example.org") if "/reset/" in mail["text"]]
    assert len(mails) == 1
    token = mails[0]["links"][0].rpartition("/")[2]
    assert count_statuses(
        send_simultaneously(live.port, [build_reset(token, build_password(1))])
    ) == {204: 1}


def test_concurrent_logins_from_one_machine_all_succeed(live, name):
    source = pick_unused_source()
    for _ in range(ROUNDS):
        answers = send_simultaneously(live.port, [build_login(name, PASSWORD, source)] * 20)
        assert count_statuses(answers) == {200: 20}


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

        def reject_as_busy(*_: str) -> bool:
            holder.execute(text(of_all))
            raise Busy

        service.units.hasher.verify = reject_as_busy
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
