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
def sqlite_ann(sqlite_service) -> Browser:
    return sign_in_browser(sqlite_service)


def get_state(browser: Browser, device_login: dict) -> str:
    return browser.service.scalar(
        "SELECT state FROM login_sessions WHERE id = :id", id=device_login["session_id"]
    )


def poll(browser: Browser, device_login: dict) -> dict:
    form = {
        "grant_type": "urn:ietf:params:oauth:grant-type:device_code",
        "device_code": device_login["device_code"],
    }
    return browser.service.actor("machine").call("POST", "/oauth/token", data=form).json


def test_get_requests_change_nothing(ann):
    device_login = start_device_login(ann.service)
    for method in ("get", "head", "options"):
        for path in (
            f"/login/activate/{device_login['user_code']}",
            "/login/activate",
            f"/login/requests/{device_login['session_id']}?user_code={device_login['user_code']}",
        ):
            getattr(ann.client, method)(path)
    for path in (
        f"/login/activate/{device_login['user_code']}",
        f"/login/requests/{device_login['session_id']}/approve?user_code={device_login['user_code']}",
    ):
        assert ann.get(path).status_code in {200, 405}
    assert get_state(ann, device_login) == "pending"
    assert poll(ann, device_login)["error"] == "authorization_pending"
    page, again = claim_device_login(ann)
    for _ in range(3):
        ann.follow(page)
    assert ann.get(page.replace("?", "/approve?")).status_code == 405
    assert get_state(ann, again) == "claimed"


def test_sign_in_page_mentions_the_waiting_device(sqlite_service):
    stranger = Browser(sqlite_service, sqlite_service.actor("x"))
    hint = {"id": "device-hint"}
    assert hint in stranger.follow("/login/activate/BCDF-GHJK").find_all("p")
    assert hint not in stranger.follow("/login/sessions").find_all("p")


def test_request_details_are_shown(ann):
    message, phrase = "Tuesday's <b>backup</b>", start_device_login(ann.service)["check_phrase"]
    page, device_login = claim_device_login(
        ann, scope="orders:read orders:write", login_message=message
    )
    answer = ann.get(page)
    page_text = Page(answer.text).text
    details = ("backup", "rack-7", "cli/1", "orders:read", "orders:write", message)
    for text in (*details, device_login["user_code"], device_login["check_phrase"]):
        assert text in page_text
    assert "<b>backup" not in answer.text
    assert phrase not in page_text
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


def test_requested_lifetime_is_shown(sqlite_ann):
    page, _ = claim_device_login(sqlite_ann, expires_in=7 * 86_400)
    assert sqlite_ann.follow(page).find_value("data-duration") == str(7 * 86_400)
    assert "7 Tage" in sqlite_ann.follow(page, **GERMAN).text
    sqlite_ann.post(f"{page.partition('?')[0]}/deny")
    assert sqlite_ann.follow(page).find_value("data-duration") is None, (
        "a denied login shows no lifetime"
    )
    other = sqlite_ann.follow(claim_device_login(sqlite_ann)[0])
    assert other.find_value("data-duration") is None, "no lifetime was requested"


def test_client_text_cannot_reorder_the_page(sqlite_ann):
    """Right-to-left text is isolated (Unicode Standard Annex 9, the HTML element bdi)."""
    texts = {"client_name": "שלום (1)", "hostname": "עולם 7", "login_message": "גיבוי!"}
    page = sqlite_ann.follow(claim_device_login(sqlite_ann, **texts)[0])
    assert len(page.find_all("bdi")) == len(texts)
    assert len(sqlite_ann.follow("/login/sessions").find_all("bdi")) == 1


def test_configured_client_name_is_shown(make_service):
    service = make_service(clients={"job": ConfiguredClient("Nightly job")})
    ann = sign_in_browser(service)
    page, _ = claim_device_login(ann, client_id="job", client_name="Your bank")
    page_text = ann.follow(page).text
    assert re.search(r"Nightly job \([^()]+ job\)", page_text)
    assert "Your bank" not in page_text


@pytest.mark.parametrize(
    ("decision", "state", "error"),
    [
        ("approve", "approved", None),
        ("deny", "denied", "access_denied"),
        ("suspicious", "suspicious", "access_denied"),
    ],
)
def test_each_decision_is_confirmed_and_made_once(ann, decision, state, error):
    page, device_login = claim_device_login(ann)
    path, code = page.partition("?")[0], {"user_code": device_login["user_code"]}
    assert ann.post(f"{path}/{decision}", code).headers["Location"] == path
    after = ann.follow(path)
    assert after.find_all("h1") == [{"data-state": state}]
    assert not [action for action in after.actions if action != "/login/out"]
    assert poll(ann, device_login).get("error") == error
    for late in ("approve", "deny", "suspicious"):
        over = ann.post(f"{path}/{late}", code)
        assert over.status_code == 409
        page_text = Page(over.text)
        assert page_text.problem == "login_session_over"
        assert page_text.state == ("live" if error is None else state), (
            "the outcome is shown as well"
        )
    if error is None:
        assert ann.follow(path).state == "live"
        assert {"data-approved": None} in ann.follow("/login/sessions").find_all("dd")


@pytest.mark.parametrize(
    ("end", "state"), [("suspicious", "suspicious"), ("end", "revoked"), (None, "expired")]
)
def test_redeemed_request_is_never_shown_as_denied(sqlite_ann, end, state):
    page, device_login = claim_device_login(sqlite_ann)
    path = page.partition("?")[0]
    sqlite_ann.post(f"{path}/approve", {"user_code": device_login["user_code"]})
    assert "access_token" in poll(sqlite_ann, device_login)
    if end:
        sqlite_ann.post(f"/login/sessions/{device_login['session_id']}/{end}")
    else:
        sqlite_ann.service.clock.push(days=15)
        sqlite_ann.sign_in()
    after = sqlite_ann.follow(path)
    assert after.find_all("h1") == [{"data-state": state, "data-redeemed": None}]


def test_wrong_code_approves_nothing_and_five_are_throttled(ann):
    page, device_login = claim_device_login(ann)
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
    answer = ann.post(f"{path}/approve", {"user_code": device_login["user_code"]})
    assert (answer.status_code, Page(answer.text).problem) == (429, "rate_limited")
    assert " 10 minutes." in Page(answer.text).text
    assert get_state(ann, device_login) == "claimed"
    ann.service.clock.push(minutes=11)
    assert ann.follow(path).state == "expired"


@pytest.mark.parametrize("typed", ["{code}", "{lower}", "{bare}", " {spaced} ", "{dotted}"])
def test_code_ignores_case_and_separators(sqlite_ann, typed):
    device_login = start_device_login(sqlite_ann.service)
    code = device_login["user_code"]
    ways = {
        "lower": code.lower(),
        "bare": code.replace("-", ""),
        "spaced": " ".join(code),
        "dotted": code.replace("-", "."),
    }
    answer = sqlite_ann.post("/login/activate", {"user_code": typed.format(code=code, **ways)})
    assert (
        answer.headers["Location"]
        == f"/login/requests/{device_login['session_id']}?user_code={code}"
    )


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
def test_link_only_prefills_the_code(sqlite_ann, hostile):
    answer = sqlite_ann.get(f"/login/activate/{hostile}")
    assert answer.status_code in {200, 404}
    if answer.status_code == 200:
        assert Page(answer.text).fields["user_code"] == ""
    page, _ = claim_device_login(sqlite_ann)
    seen = Page(sqlite_ann.get(page.partition("?")[0] + "?user_code=" + hostile).text)
    assert seen.fields["user_code"] == ""


def test_administrator_cannot_see_or_decide_requests_of_others(service):
    ann = sign_in_browser(service)
    page, device_login = claim_device_login(ann)
    boss = Browser(service, sign_in_with_role(service, "boss", "admin"))
    boss.sign_in()
    path = page.partition("?")[0]
    assert boss.get(path).status_code == 404
    for answer in ("approve", "deny", "suspicious"):
        assert (
            boss.post(f"{path}/{answer}", {"user_code": device_login["user_code"]}).status_code
            == 404
        )
    ann.actor.login()
    for session_id in (ann.cookie.split(".")[2], ann.actor.tokens["session_id"]):
        for answer in ("end", "suspicious"):
            assert boss.post(f"/login/sessions/{session_id}/{answer}").status_code == 404
    assert ann.follow(page).state == "claimed"


def test_pages_have_strict_security_headers(sqlite_ann):
    page, _ = claim_device_login(sqlite_ann)
    for path in (
        "/login",
        "/login/again",
        "/login/activate",
        page,
        "/login/sessions",
        "/login/requests/x",
    ):
        browser = sqlite_ann if path != "/login" else Browser(sqlite_ann.service, sqlite_ann.actor)
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


def test_errors_on_pages_are_shown_as_text(sqlite_ann):
    """Including problems found before a page runs: unknown URL, method, form size, host name."""
    answers = {
        "no_such_address": sqlite_ann.get("/login/no-such-page"),
        "method_not_allowed": sqlite_ann.get("/login/out"),
        "body_too_large": sqlite_ann.post("/login", {"username": "x" * 20_000}),
        "untrusted_host": sqlite_ann.get("/login", Host="elsewhere.example"),
        "length_required": sqlite_ann.post(
            "/login", sent_from={**SAME_ORIGIN_HEADERS, "Transfer-Encoding": "chunked"}
        ),
    }
    assert [answer.status_code for answer in answers.values()][:4] == [404, 405, 413, 400]
    for code, answer in answers.items():
        assert answer.content_type == "text/html; charset=utf-8"
        assert Page(answer.text).problem == code
        assert answer.headers["Cache-Control"] == "no-store"
    assert set(answers["method_not_allowed"].headers["Allow"].split(", ")) == {"POST", "OPTIONS"}
    german = sqlite_ann.post(
        "/login", {"username": "x" * 20_000}, sent_from={**SAME_ORIGIN_HEADERS, **GERMAN}
    )
    assert (Page(german.text).problem, Page(german.text).language) == ("body_too_large", "de")
    for path in ("/loginx", "/v1/login", "/v1/confirm/", "/"):
        assert sqlite_ann.get(path).content_type == "application/problem+json"
