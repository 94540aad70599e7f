"""The pages of device logins: what they show, who may decide, and what happens on mistakes."""

from __future__ import annotations

import re

import pytest

from app.settings import ConfiguredClient
from tests.authorization import sign_in_with_role
from tests.pages.browser import (
    SAME_ORIGIN_HEADERS,
    Browser,
    Page,
    claim_device_login,
    sign_in_browser,
    start_device_login,
)

GERMAN = {"Accept-Language": "de-AT"}


@pytest.fixture
def ann(service) -> Browser:
    return sign_in_browser(service)


@pytest.fixture
def small_ann(sqlite_service) -> Browser:
    return sign_in_browser(sqlite_service)


def state(browser: Browser, asked: dict) -> str:
    return browser.service.scalar(
        "SELECT state FROM login_sessions WHERE id = :id", id=asked["session_id"]
    )


def polled(browser: Browser, asked: dict) -> dict:
    form = {
        "grant_type": "urn:ietf:params:oauth:grant-type:device_code",
        "device_code": asked["device_code"],
    }
    return browser.service.actor("machine").call("POST", "/oauth/token", data=form).json


def test_get_requests_change_nothing(ann):
    asked = start_device_login(ann.service)
    for method in ("get", "head", "options"):
        for path in (
            f"/login/activate/{asked['user_code']}",
            "/login/activate",
            f"/login/requests/{asked['session_id']}?user_code={asked['user_code']}",
        ):
            getattr(ann.client, method)(path)
    for path in (
        f"/login/activate/{asked['user_code']}",
        f"/login/requests/{asked['session_id']}/approve?user_code={asked['user_code']}",
    ):
        assert ann.get(path).status_code in {200, 405}
    assert state(ann, asked) == "pending"
    assert polled(ann, asked)["error"] == "authorization_pending"
    page, again = claim_device_login(ann)
    for _ in range(3):
        ann.follow(page)
    assert ann.get(page.replace("?", "/approve?")).status_code == 405
    assert state(ann, again) == "claimed"


def test_sign_in_page_mentions_the_waiting_device(sqlite_service):
    stranger = Browser(sqlite_service, sqlite_service.actor("x"))
    hint = {"id": "device-hint"}
    assert hint in stranger.follow("/login/activate/BCDF-GHJK").find_all("p")
    assert hint not in stranger.follow("/login/sessions").find_all("p")


def test_request_details_are_shown(ann):
    message, phrase = "Tuesday's <b>backup</b>", start_device_login(ann.service)["check_phrase"]
    page, asked = claim_device_login(ann, scope="orders:read orders:write", login_message=message)
    answer = ann.get(page)
    shown = Page(answer.text).text
    details = ("backup", "rack-7", "cli/1", "orders:read", "orders:write", message)
    for text in (*details, asked["user_code"], asked["check_phrase"]):
        assert text in shown
    assert "<b>backup" not in answer.text
    assert phrase not in shown
    kept = [
        attributes
        for _, attributes in Page(answer.text).tags
        if attributes.get("translate") == "no"
    ]
    assert len(kept) == 7, (
        "phrase, code, program, device, message and two scopes must not be translated"
    )
    assert Page(answer.text).find_value("data-scope") == "orders:read orders:write"
    everything = ann.follow(claim_device_login(ann)[0])
    assert everything.find_value("data-scope") == "*"
    nothing = ann.follow(claim_device_login(ann, scope="")[0])
    assert nothing.find_value("data-scope") == ""


def test_requested_lifetime_is_shown(small_ann):
    page, _ = claim_device_login(small_ann, expires_in=7 * 86_400)
    assert small_ann.follow(page).find_value("data-duration") == str(7 * 86_400)
    assert "7 Tage" in small_ann.follow(page, **GERMAN).text
    small_ann.post(f"{page.partition('?')[0]}/deny")
    assert small_ann.follow(page).find_value("data-duration") is None, "a denied login has none"
    other = small_ann.follow(claim_device_login(small_ann)[0])
    assert other.find_value("data-duration") is None, "none was requested"


def test_client_text_cannot_reorder_the_page(small_ann):
    """Right-to-left text is isolated (Unicode Standard Annex 9, the HTML element bdi)."""
    told = {"client_name": "שלום (1)", "hostname": "עולם 7", "login_message": "גיבוי!"}
    page = small_ann.follow(claim_device_login(small_ann, **told)[0])
    assert len(page.find_all("bdi")) == len(told)
    assert len(small_ann.follow("/login/sessions").find_all("bdi")) == 1


def test_configured_client_name_is_shown(make_service):
    service = make_service(clients={"job": ConfiguredClient("Nightly job")})
    ann = sign_in_browser(service)
    page, _ = claim_device_login(ann, client_id="job", client_name="Your bank")
    shown = ann.follow(page).text
    assert re.search(r"Nightly job \([^()]+ job\)", shown)
    assert "Your bank" not in shown


@pytest.mark.parametrize(
    ("decision", "state", "error"),
    [
        ("approve", "approved", None),
        ("deny", "denied", "access_denied"),
        ("suspicious", "suspicious", "access_denied"),
    ],
)
def test_each_decision_is_confirmed_and_made_once(ann, decision, state, error):
    page, asked = claim_device_login(ann)
    path, code = page.partition("?")[0], {"user_code": asked["user_code"]}
    assert ann.post(f"{path}/{decision}", code).headers["Location"] == path
    after = ann.follow(path)
    assert after.find_all("h1") == [{"data-state": state}]
    assert not [action for action in after.actions if action != "/login/out"]
    assert polled(ann, asked).get("error") == error
    for late in ("approve", "deny", "suspicious"):
        over = ann.post(f"{path}/{late}", code)
        assert over.status_code == 409
        shown = Page(over.text)
        assert shown.problem == "login_session_over"
        assert shown.state == ("live" if error is None else state), "the outcome is shown as well"
    if error is None:
        assert ann.follow(path).state == "live"
        assert {"data-approved": None} in ann.follow("/login/sessions").find_all("dd")


@pytest.mark.parametrize(
    ("end", "state"), [("suspicious", "suspicious"), ("end", "revoked"), (None, "expired")]
)
def test_redeemed_request_is_never_shown_as_denied(small_ann, end, state):
    page, asked = claim_device_login(small_ann)
    path = page.partition("?")[0]
    small_ann.post(f"{path}/approve", {"user_code": asked["user_code"]})
    assert "access_token" in polled(small_ann, asked)
    if end:
        small_ann.post(f"/login/sessions/{asked['session_id']}/{end}")
    else:
        small_ann.service.clock.push(days=15)
        small_ann.sign_in()
    after = small_ann.follow(path)
    assert after.find_all("h1") == [{"data-state": state, "data-redeemed": None}]


def test_wrong_code_approves_nothing_and_five_are_throttled(ann):
    page, asked = claim_device_login(ann)
    path = page.partition("?")[0]
    assert {"for": "user_code"} in ann.follow(path).find_all("label"), (
        "without a code in the URL, the page asks for it"
    )
    for code in ("BCDF-GHJK", "", "x"):
        answer = ann.post(f"{path}/approve", {"user_code": code})
        assert (answer.status_code, Page(answer.text).problem) == (404, "unknown_user_code")
    for _ in range(2):
        answer = ann.post("/login/activate", {"user_code": "BCDF-GHJK"})
        assert (answer.status_code, Page(answer.text).fields["user_code"]) == (404, "BCDF-GHJK")
    answer = ann.post(f"{path}/approve", {"user_code": asked["user_code"]})
    assert (answer.status_code, Page(answer.text).problem) == (429, "rate_limited")
    assert " 10 minutes." in Page(answer.text).text
    assert state(ann, asked) == "claimed"
    ann.service.clock.push(minutes=11)
    assert ann.follow(path).state == "expired"


@pytest.mark.parametrize("typed", ["{code}", "{lower}", "{bare}", " {spaced} ", "{dotted}"])
def test_code_ignores_case_and_separators(small_ann, typed):
    asked = start_device_login(small_ann.service)
    code = asked["user_code"]
    ways = {
        "lower": code.lower(),
        "bare": code.replace("-", ""),
        "spaced": " ".join(code),
        "dotted": code.replace("-", "."),
    }
    answer = small_ann.post("/login/activate", {"user_code": typed.format(code=code, **ways)})
    assert answer.headers["Location"] == f"/login/requests/{asked['session_id']}?user_code={code}"


@pytest.mark.parametrize(
    "hostile",
    [
        '"><script>alert(1)</script>',
        "AAAA-AAAA",
        "BCDF-GHJ",
        "%00",
        "%0d%0aSet-Cookie:a=b",
        "BCDF-GHJK-LMNP",
        "ÄÖÜ",
    ],
)
def test_link_only_prefills_the_code(small_ann, hostile):
    answer = small_ann.get(f"/login/activate/{hostile}")
    assert answer.status_code in {200, 404}
    if answer.status_code == 200:
        assert Page(answer.text).fields["user_code"] == ""
    page, _ = claim_device_login(small_ann)
    seen = Page(small_ann.get(page.partition("?")[0] + "?user_code=" + hostile).text)
    assert seen.fields["user_code"] == ""


def test_administrator_cannot_see_or_decide_requests_of_others(service):
    ann = sign_in_browser(service)
    page, asked = claim_device_login(ann)
    boss = Browser(service, sign_in_with_role(service, "boss", "admin"))
    boss.sign_in()
    path = page.partition("?")[0]
    assert boss.get(path).status_code == 404
    for answer in ("approve", "deny", "suspicious"):
        assert boss.post(f"{path}/{answer}", {"user_code": asked["user_code"]}).status_code == 404
    ann.actor.login()
    for session_id in (ann.cookie.split(".")[2], ann.actor.tokens["session_id"]):
        for answer in ("end", "suspicious"):
            assert boss.post(f"/login/sessions/{session_id}/{answer}").status_code == 404
    assert ann.follow(page).state == "claimed"


def test_pages_have_strict_security_headers(small_ann):
    page, _ = claim_device_login(small_ann)
    for path in (
        "/login",
        "/login/again",
        "/login/activate",
        page,
        "/login/sessions",
        "/login/requests/x",
    ):
        browser = small_ann if path != "/login" else Browser(small_ann.service, small_ann.actor)
        answer = browser.get(path)
        policy = {
            rule.split()[0]: rule.split()[1:]
            for rule in answer.headers["Content-Security-Policy"].split(";")
        }
        assert (
            policy["default-src"],
            policy["frame-ancestors"],
            policy["base-uri"],
            policy["form-action"],
        ) == (["'none'"], ["'none'"], ["'none'"], ["'self'"])
        assert "script-src" not in policy
        assert "unsafe" not in str(policy)
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Referrer-Policy"] == "same-origin"
        seen = Page(answer.text)
        assert seen.find_all("script") == []
        for _, attributes in seen.tags:
            assert all(not name.startswith("on") and name != "style" for name in attributes)
            for name in {"href", "src", "action", "srcset"} & set(attributes):
                assert attributes[name].startswith(("/static/", "/login")), "nothing leads away"


def test_errors_on_pages_are_shown_as_text(small_ann):
    """Including problems found before a page runs: unknown URL, method, form size, host name."""
    answers = {
        "no_such_address": small_ann.get("/login/no-such-page"),
        "method_not_allowed": small_ann.get("/login/out"),
        "body_too_large": small_ann.post("/login", {"username": "x" * 20_000}),
        "untrusted_host": small_ann.get("/login", Host="elsewhere.example"),
        "length_required": small_ann.post(
            "/login", sent_from={**SAME_ORIGIN_HEADERS, "Transfer-Encoding": "chunked"}
        ),
    }
    assert [answer.status_code for answer in answers.values()][:4] == [404, 405, 413, 400]
    for code, answer in answers.items():
        assert answer.content_type == "text/html; charset=utf-8"
        assert Page(answer.text).problem == code
        assert answer.headers["Cache-Control"] == "no-store"
    assert set(answers["method_not_allowed"].headers["Allow"].split(", ")) == {"POST", "OPTIONS"}
    german = small_ann.post(
        "/login", {"username": "x" * 20_000}, sent_from={**SAME_ORIGIN_HEADERS, **GERMAN}
    )
    assert (Page(german.text).problem, Page(german.text).language) == ("body_too_large", "de")
    for path in ("/loginx", "/v1/login", "/v1/confirm/", "/"):
        assert small_ann.get(path).content_type == "application/problem+json"
