"""Sessions under concurrent requests.

One successor per refresh token, and nothing survives a logout.
"""

from __future__ import annotations

from collections import Counter

from tests.actors import PASSWORD
from tests.live import build_raw_post, send_simultaneously
from tests.races.requests import build_bearer, is_accepted, log_in, refresh_tokens
from tests.slow import LONG

RACERS = 20
MAX_SESSIONS = 50
ROUNDS = 4 if LONG else 2


def read_counter(refresh_token: str) -> int:
    return int(refresh_token.split(".")[3])


def test_twenty_refreshes_of_one_token_advance_once(live, name):
    tokens = log_in(live, name)
    token = tokens["refresh_token"]
    for _ in range(2):
        answers = send_simultaneously(
            live.port, [build_raw_post("/v1/token/refresh", {"refresh_token": token})] * RACERS
        )
        assert Counter(status for status, _ in answers) == {200: RACERS}
        successors = {answer["refresh_token"] for _, answer in answers}
        assert len(successors) == 1
        successor = successors.pop()
        assert read_counter(successor) == read_counter(token) + 1
        assert all(is_accepted(live, answer["access_token"]) for _, answer in answers)
        token = successor


def test_tokens_refreshed_during_a_logout_are_dead(live, name):
    for _ in range(ROUNDS):
        tokens = log_in(live, name)
        logout = build_raw_post("/v1/logout", {}, build_bearer(tokens["access_token"]))
        refresh = build_raw_post("/v1/token/refresh", {"refresh_token": tokens["refresh_token"]})
        (status, _), *answers = send_simultaneously(live.port, [logout, *[refresh] * 8])
        assert status == 204
        assert {status for status, _ in answers} <= {200, 400}
        got = [answer for status, answer in answers if status == 200]
        assert not any(is_accepted(live, answer["access_token"]) for answer in [tokens, *got])
        assert {refresh_tokens(live, answer["refresh_token"])[0] for answer in [tokens, *got]} == {
            400
        }


def test_tokens_refreshed_during_logout_everywhere_are_dead(live, name):
    all_tokens = [log_in(live, name) for _ in range(6)]
    leave = build_raw_post("/v1/logout-all", {}, build_bearer(all_tokens[0]["access_token"]))
    refreshes = [
        build_raw_post("/v1/token/refresh", {"refresh_token": tokens["refresh_token"]})
        for tokens in all_tokens
    ]
    (status, _), *answers = send_simultaneously(live.port, [leave, *refreshes, *refreshes])
    assert status == 204
    got = [answer for status, answer in answers if status == 200]
    assert {status for status, _ in answers} <= {200, 400}
    assert not any(is_accepted(live, answer["access_token"]) for answer in [*all_tokens, *got])


def test_sixty_logins_at_once_leave_at_most_fifty_sessions(live, name):
    # Each from its own source, because five attempts of one source are checked at once.
    sources = [{"X-Forwarded-For": f"198.51.100.{number}"} for number in range(RACERS)]
    requests = [
        build_raw_post("/v1/login", {"username": name, "password": PASSWORD}, source)
        for source in sources
    ]
    answers = [answer for _ in range(3) for answer in send_simultaneously(live.port, requests)]
    assert Counter(status for status, _ in answers) == {200: 60}
    working = [answer for _, answer in answers if is_accepted(live, answer["access_token"])]
    assert len(working) == MAX_SESSIONS
    listed = live.call("GET", "/v1/sessions", headers=build_bearer(working[0]["access_token"]))[1][
        "items"
    ]
    assert {session["id"] for session in listed} == {answer["session_id"] for answer in working}
