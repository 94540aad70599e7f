"""Device logins under concurrency: one decision, one pair of tokens, no approval that outlives its approver."""

from __future__ import annotations

from collections import Counter
from urllib.parse import urlencode

import pytest
from sqlalchemy import create_engine, text

from app.authorization.roles.assign import add_role
from tests.actors import PASSWORD, Service, build_settings
from tests.device_logins import GRANT
from tests.live import build_raw_post, send_simultaneously
from tests.oauth_clients import ANONYMOUS
from tests.races.requests import (
    build_bearer,
    build_login,
    build_password,
    build_password_change,
    count_statuses,
    is_accepted,
    log_in,
    pick_unused_source,
    register_account,
    try_login,
)
from tests.slow import LONG

ROUNDS = 50
AT_A_TIME = 10  # rounds at a time: 40 requests, fewer than the server has threads
POLLS = 16
GUESSES = 50
LOOKED_AT = 5
SOME = 4
TURNS = 3 if LONG else 1
# The state after each decision, and the response to the next poll.
OUTCOMES = {
    "approve": ("approved", "tokens"),
    "deny": ("denied", "access_denied"),
    "suspicious": ("suspicious", "access_denied"),
    "cancel": ("cancelled", "expired_token"),
}


@pytest.fixture
def ann(live, name) -> dict:
    """The tokens of a new user."""
    return log_in(live, name)


@pytest.fixture
def database(live):
    engine = create_engine(live.env["DOORWARD_DATABASE_URL"])
    yield engine
    engine.dispose()


def start_device_login(live) -> dict:
    """Start a device login."""
    status, answer = live.call(
        "POST", "/v1/login-sessions", {"client_name": "box"}, pick_unused_source()
    )
    assert status == 201, answer
    return answer


def start_and_claim(live, tokens: dict) -> dict:
    box = start_device_login(live)
    assert send(live, tokens, "claim", {"user_code": box["user_code"]})[0] == 200
    return box


def start_and_approve(live, tokens: dict) -> dict:
    box = start_and_claim(live, tokens)
    assert (
        send(live, tokens, f"{box['session_id']}/approve", {"user_code": box["user_code"]})[0]
        == 200
    )
    return box


def send(live, tokens: dict, path: str, body: dict) -> tuple[int, dict]:
    return live.call(
        "POST",
        f"/v1/login-sessions/{path}",
        body,
        {**build_bearer(tokens["access_token"]), **pick_unused_source()},
    )


def build_claim(tokens: dict, code: str, source: dict[str, str] | None = None) -> bytes:
    return build_raw_post(
        "/v1/login-sessions/claim",
        {"user_code": code},
        {**build_bearer(tokens["access_token"]), **(source or pick_unused_source())},
    )


def build_decision(tokens: dict, box: dict, verb: str) -> bytes:
    if verb == "cancel":
        return build_raw_post(
            "/v1/login-sessions/cancel", {"device_code": box["device_code"]}, pick_unused_source()
        )
    body = {"user_code": box["user_code"]} if verb == "approve" else {}
    return build_raw_post(
        f"/v1/login-sessions/{box['session_id']}/{verb}",
        body,
        {**build_bearer(tokens["access_token"]), **pick_unused_source()},
    )


def build_poll(box: dict) -> bytes:
    """Build the raw request of a poll."""
    form = urlencode({"grant_type": GRANT, "device_code": box["device_code"]})
    lines = [
        "POST /oauth/token HTTP/1.1",
        "Host: 127.0.0.1",
        "Content-Type: application/x-www-form-urlencoded",
    ]
    lines += [f"{name}: {value}" for name, value in pick_unused_source().items()]
    return "\r\n".join(
        [*lines, f"Content-Length: {len(form)}", "Connection: close", "", form]
    ).encode()


def poll_devices(live, *boxes: dict) -> list[str]:
    """Poll for each device and return the results."""
    return [
        get_result(answer)
        for answer in send_simultaneously(live.port, [build_poll(box) for box in boxes])
    ]


def get_result(answer: tuple[int, dict]) -> str:
    return "tokens" if answer[0] == 200 else answer[1]["error"]


def test_concurrent_decisions_yield_one_and_the_device_learns_it(live, ann):
    winners: Counter[str] = Counter()
    for _ in range(ROUNDS // AT_A_TIME):
        boxes = [start_and_claim(live, ann) for _ in range(AT_A_TIME)]
        answers = send_simultaneously(
            live.port, [build_decision(ann, box, verb) for box in boxes for verb in OUTCOMES]
        )
        rounds = [
            dict(zip(OUTCOMES, answers[first : first + 4], strict=True))
            for first in range(0, len(answers), 4)
        ]
        won = [get_winner(each) for each in rounds]
        listed = live.call(
            "GET",
            f"/v1/login-sessions?limit={AT_A_TIME}",
            headers=build_bearer(ann["access_token"]),
        )[1]["items"]
        states = {item["id"]: item["state"] for item in listed}
        assert [states[box["session_id"]] for box in boxes] == [OUTCOMES[verb][0] for verb in won]
        assert poll_devices(live, *boxes) == [OUTCOMES[verb][1] for verb in won]
        winners.update(won)
    assert sum(winners.values()) == ROUNDS


def get_winner(answers: dict[str, tuple[int, dict]]) -> str:
    """Return the decision that succeeded. The others must fail as closed or unavailable."""
    won = [verb for verb, (status, _) in answers.items() if status in {200, 204}]
    lost = {answer["code"] for status, answer in answers.values() if status not in {200, 204}}
    assert len(won) == 1, answers
    assert "login_session_over" in lost <= {"login_session_over", "unavailable"}, answers
    return won[0]


def test_concurrent_polls_yield_one_pair_of_tokens(live, database, ann):
    for _ in range(TURNS):
        box = start_and_approve(live, ann)
        answers = send_simultaneously(live.port, [build_poll(box)] * POLLS)
        assert Counter(map(get_result, answers)) == {"tokens": 1, "invalid_grant": POLLS - 1}
        tokens = next(answer for status, answer in answers if status == 200)
        assert tokens["session_id"] == box["session_id"]
        assert is_accepted(live, tokens["access_token"])
        with database.connect() as connection:
            for sql in (
                "sessions WHERE id = :id",
                "audit WHERE session_id = :id AND event = 'login_session.redeemed'",
            ):
                assert (
                    connection.execute(
                        text(f"SELECT count(*) FROM {sql}"), {"id": box["session_id"]}
                    ).scalar()
                    == 1
                )


def test_two_claims_of_one_code_yield_one(live, ann):
    bob = log_in(live, register_account(live))
    boxes = [start_device_login(live) for _ in range(LOOKED_AT)]
    answers = send_simultaneously(
        live.port, [build_claim(tokens, box["user_code"]) for box in boxes for tokens in (ann, bob)]
    )
    for box, first, second in zip(boxes, answers[::2], answers[1::2], strict=True):
        assert {first[0], second[0]} == {200, 404}
        assert {answer["code"] for status, answer in (first, second) if status == 404} == {
            "unknown_user_code"
        }
        loser = ann if first[0] == 404 else bob
        assert (
            send(live, loser, f"{box['session_id']}/approve", {"user_code": box["user_code"]})[0]
            == 404
        )


def test_repeated_claim_by_the_same_account_succeeds(live, ann):
    box = start_device_login(live)
    assert count_statuses(
        send_simultaneously(live.port, [build_claim(ann, box["user_code"])] * 8)
    ) == {200: 8}
    assert send(live, ann, "claim", {"user_code": box["user_code"]})[0] == 200, (
        "no claim counted as a failed attempt"
    )


# Approvals end with their session.


def build_change(_live, tokens: dict) -> bytes:
    return build_password_change(tokens, PASSWORD, build_password(1))


def build_logout_everywhere(_live, tokens: dict) -> bytes:
    return build_raw_post("/v1/logout-all", {}, build_bearer(tokens["access_token"]))


def build_disabling(live, tokens: dict) -> bytes:
    boss, account = create_administrator(live), tokens["account"]["id"]
    return build_raw_post(
        f"/v1/accounts/{account}", {"status": "disabled"}, build_bearer(boss["access_token"])
    ).replace(b"POST", b"PATCH", 1)


def create_administrator(live) -> dict:
    service = Service(build_settings(live.env["DOORWARD_DATABASE_URL"]))
    name = register_account(live)
    with service.units.open_read_write() as work:
        assert add_role(
            work, ANONYMOUS, account_id=log_in(live, name)["account"]["id"], role="admin"
        )
    service.close()
    return log_in(live, name)


@pytest.mark.parametrize("end", [build_change, build_logout_everywhere, build_disabling])
def test_approval_does_not_outlive_logout_everywhere(live, ann, end):
    """In any order of approvals, polls and the revocation, no earlier approval yields tokens.

    This also holds if the approving session stays.
    """
    ready, early = (
        [start_and_claim(live, ann) for _ in range(SOME)],
        [start_and_approve(live, ann) for _ in range(SOME)],
    )
    ending = end(live, ann)
    race = [
        ending,
        *(build_decision(ann, box, "approve") for box in ready),
        *(build_poll(box) for box in [*early, *ready]),
    ]
    (status, _), *answers = send_simultaneously(live.port, race)
    assert status in {200, 204}
    approvals, polls = answers[:SOME], answers[SOME:]
    assert set(count_statuses(approvals)) <= {200, 401}
    assert set(map(get_result, polls)) <= {"tokens", "authorization_pending", "access_denied"}
    assert not any(
        is_accepted(live, answer["access_token"]) for status, answer in polls if status == 200
    )
    after = {
        box["session_id"]: result
        for box, result, poll in zip(
            [*early, *ready], poll_devices(live, *early, *ready), polls, strict=True
        )
        if poll[0] != 200
    }
    assert "tokens" not in after.values()
    assert set(after.values()) <= {
        "access_denied",
        "expired_token",
        "authorization_pending",
        "slow_down",
    }


# Guessing.


def is_limited_to_five(answers: Counter[int]) -> bool:
    """Return whether five were looked up. The others were limited, or timed out on slow machines."""
    return answers[404] == LOOKED_AT and set(answers) <= {404, 429, 503}


@pytest.mark.parametrize("source", ["one source", "many sources"])
def test_fifty_wrong_codes_at_once_by_one_account_are_five_attempts(live, ann, source):
    here = pick_unused_source()
    right = start_device_login(live)["user_code"]
    guesses = [
        build_claim(ann, "BBBB-BBBB", here if source == "one source" else pick_unused_source())
        for _ in range(GUESSES)
    ]
    assert is_limited_to_five(count_statuses(send_simultaneously(live.port, guesses)))
    assert send(live, ann, "claim", {"user_code": right})[0] == 429


def test_fifty_wrong_codes_at_once_from_one_source_are_five_attempts(live):
    source = pick_unused_source()
    people = [log_in(live, register_account(live)) for _ in range(5)]
    answers = count_statuses(
        send_simultaneously(
            live.port,
            [build_claim(tokens, "BBBB-BBBB", source) for tokens in people * (GUESSES // 5)],
        )
    )
    assert is_limited_to_five(answers)


# Locks.


def test_concurrent_actions_of_one_account_never_deadlock(live, name):
    """On PostgreSQL a deadlock shows as 503. On SQLite, 503 only means that the machine is slow."""
    password, longest = PASSWORD, 499 if "postgresql" in live.env["DOORWARD_DATABASE_URL"] else 503
    for turn in range(2 * TURNS):
        tokens, other = log_in(live, name, password), log_in(live, name, password)
        fresh, ready, early = (
            start_device_login(live),
            [start_and_claim(live, tokens) for _ in range(2)],
            [start_and_approve(live, tokens) for _ in range(2)],
        )
        race = [
            *(build_claim(each, fresh["user_code"]) for each in (tokens, other)),
            *(build_decision(tokens, box, verb) for box in ready for verb in OUTCOMES),
            *(build_poll(box) for box in [fresh, *ready, *early, *early]),
            build_password_change(tokens, password, build_password(turn)),
            build_raw_post(
                "/v1/token/refresh", {"refresh_token": other["refresh_token"]}, pick_unused_source()
            ),
            build_login(name, password),
            build_raw_post("/v1/logout", {}, build_bearer(other["access_token"])),
        ]
        answers = send_simultaneously(live.port, race)
        assert max(count_statuses(answers)) <= longest, answers
        assert 500 not in count_statuses(answers), answers
        if try_login(live, name, build_password(turn))[0] == 200:
            password = build_password(turn)
