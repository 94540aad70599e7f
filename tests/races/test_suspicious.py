"""A session is reported while it is refreshed, logged out or reported by others."""

from __future__ import annotations

from collections import Counter

from tests.live import build_raw_post, send_simultaneously
from tests.races.requests import build_bearer, is_accepted, log_in, refresh_tokens
from tests.slow import LONG

ROUNDS = 6 if LONG else 2


def get_status(live, tokens: dict, session_id: str) -> tuple[str, str]:
    status, session = live.call(
        "GET", f"/v1/sessions/{session_id}", headers=build_bearer(tokens["access_token"])
    )
    assert status == 200
    return session["status"], session["reason"]


def report(tokens: dict, session_id: str) -> bytes:
    return build_raw_post(
        f"/v1/sessions/{session_id}/suspicious", {}, build_bearer(tokens["access_token"])
    )


def test_tokens_refreshed_during_marking_are_dead(live, name):
    mine = log_in(live, name)
    for _ in range(ROUNDS):
        theirs = log_in(live, name)
        refresh = build_raw_post("/v1/token/refresh", {"refresh_token": theirs["refresh_token"]})
        (status, _), *answers = send_simultaneously(
            live.port, [report(mine, theirs["session_id"]), *[refresh] * 8]
        )
        assert status == 204
        assert {status for status, _ in answers} <= {200, 400}
        got = [answer for status, answer in answers if status == 200]
        assert not any(is_accepted(live, answer["access_token"]) for answer in [theirs, *got])
        assert {refresh_tokens(live, answer["refresh_token"])[0] for answer in [theirs, *got]} == {
            400
        }
        assert get_status(live, mine, theirs["session_id"]) == ("suspicious", "reported")
    assert is_accepted(live, mine["access_token"])


def test_session_is_marked_before_or_after_its_logout(live, name):
    mine = log_in(live, name)
    for _ in range(ROUNDS):
        theirs = log_in(live, name)
        logout = build_raw_post("/v1/logout", {}, build_bearer(theirs["access_token"]))
        (status, _), *answers = send_simultaneously(
            live.port, [report(mine, theirs["session_id"]), *[logout] * 4]
        )
        assert status == 204
        assert {status for status, _ in answers} <= {204, 401}
        assert not is_accepted(live, theirs["access_token"])
        assert get_status(live, mine, theirs["session_id"]) == ("suspicious", "reported")


def test_concurrent_marking_counts_once_and_sends_one_email(live, name):
    mine, theirs = log_in(live, name), log_in(live, name)
    answers = send_simultaneously(live.port, [report(mine, theirs["session_id"])] * 12)
    assert Counter(status for status, _ in answers) == {204: 12}
    templates = [mail["template"] for mail in live.mailbox(f"{name}@example.org")]
    assert templates.count("reported_session") == 1
