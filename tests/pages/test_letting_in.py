"""Letting another device in on our own pages: what is shown of it, who may decide, and what each mistake is told."""

from __future__ import annotations

import pytest

from app.settings.json_parsers import ConfiguredClient
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
    words = "Sign in first, then look who asks to be let in."
    assert words in stranger.follow("/login/activate/BCDF-GHJK").text
    assert words not in stranger.follow("/login/sessions").text


def test_request_details_are_shown(ann):
    message, phrase = "Tuesday's <b>backup</b>", start_device_login(ann.service)["check_phrase"]
    page, asked = claim_device_login(ann, scope="orders:read orders:write", login_message=message)
    answer = ann.get(page)
    words = Page(answer.text).text
    told = (
        "backup",
        "rack-7",
        "cli/1",
        "orders:read",
        "orders:write",
        "As far as you may do it yourself",
        message,
        asked["user_code"],
        "Good until",
    )
    for text in (*told, asked["check_phrase"]):
        assert text in words
    assert "<b>backup" not in answer.text
    assert phrase not in words
    kept = [
        attributes
        for _, attributes in Page(answer.text).tags
        if attributes.get("translate") == "no"
    ]
    assert len(kept) == 7, (
        "phrase, code, program, device, message and two scopes: a browser that translates these makes them others"
    )
    assert "Nobody from support ever asks for this." in words
    assert "Everything you may do." not in words
    everything = ann.follow(claim_device_login(ann)[0])
    assert (
        "Everything you may do. It can act in your name until you end its session."
        in everything.text
    )
    nothing = ann.follow(claim_device_login(ann, scope="")[0])
    assert "Know who you are, and nothing more." in nothing.text


def test_requested_lifetime_is_shown(small_ann):
    page, _ = claim_device_login(small_ann, expires_in=7 * 86_400)
    assert "7 days at most. You can end it earlier." in small_ann.follow(page).text
    assert (
        "Höchstens 7 Tage. Sie können es vorher abmelden." in small_ann.follow(page, **GERMAN).text
    )
    small_ann.post(f"{page.partition('?')[0]}/deny")
    assert "Stays signed in" not in small_ann.follow(page).text, "there is nothing that could last"
    assert "Stays signed in" not in small_ann.follow(claim_device_login(small_ann)[0]).text


def test_client_text_cannot_reorder_the_page(small_ann):
    """Text that is written from right to left stays in its place (Unicode Standard Annex 9, HTML's bdi)."""
    told = {"client_name": "שלום (1)", "hostname": "עולם 7", "login_message": "גיבוי!"}
    page = small_ann.follow(claim_device_login(small_ann, **told)[0])
    assert len(page.find_all("bdi")) == len(told)
    assert len(small_ann.follow("/login/sessions").find_all("bdi")) == 1


def test_configured_client_name_is_shown(make_service):
    service = make_service(clients={"job": ConfiguredClient("Nightly job")})
    ann = sign_in_browser(service)
    page, _ = claim_device_login(ann, client_id="job", client_name="Your bank")
    words = ann.follow(page).text
    assert "Nightly job (known here as job)" in words
    assert "Your bank" not in words


@pytest.mark.parametrize(
    ("answer", "title", "told"),
    [
        ("approve", "Approved", None),
        ("deny", "Denied", "access_denied"),
        ("suspicious", "Denied, and noted as not yours", "access_denied"),
    ],
)
def test_each_decision_is_confirmed_and_made_once(ann, answer, title, told):
    page, asked = claim_device_login(ann)
    path, code = page.partition("?")[0], {"user_code": asked["user_code"]}
    assert ann.post(f"{path}/{answer}", code).headers["Location"] == path
    after = ann.follow(path)
    assert after.find_all("h1") == [{}]
    assert after.text.startswith(title)
    assert not [action for action in after.actions if action != "/login/out"]
    assert polled(ann, asked).get("error") == told
    for late in ("approve", "deny", "suspicious"):
        over = ann.post(f"{path}/{late}", code)
        assert over.status_code == 409
        words = Page(over.text).text
        assert words.startswith("The device is signed in" if told is None else title), (
            "what became of it, and not only that it was too late"
        )
        assert "Nothing was changed by what you have just chosen." in words
    if told is None:
        assert ann.follow(path).text.startswith("The device is signed in")
        assert "Approved from another device" in ann.follow("/login/sessions").text


@pytest.mark.parametrize(
    ("end", "title"),
    [
        ("suspicious", "Let in, then ended as suspicious"),
        ("end", "The session was ended"),
        (None, "The session is over"),
    ],
)
def test_redeemed_request_is_never_shown_as_denied(small_ann, end, title):
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
    assert after.text.startswith(title)
    for untrue in ("Nothing was opened", "Denied", "ten minutes"):
        assert untrue not in after.text


def test_wrong_code_approves_nothing_and_five_are_throttled(ann):
    page, asked = claim_device_login(ann)
    path = page.partition("?")[0]
    assert "The code that the other device shows" in ann.follow(path).text, (
        "without the code in the address it is typed"
    )
    for code in ("BCDF-GHJK", "", "x"):
        answer = ann.post(f"{path}/approve", {"user_code": code})
        assert (
            answer.status_code,
            "That is not the code of this request" in Page(answer.text).text,
        ) == (404, True)
    for _ in range(2):
        answer = ann.post("/login/activate", {"user_code": "BCDF-GHJK"})
        assert (answer.status_code, Page(answer.text).fields["user_code"]) == (404, "BCDF-GHJK")
    answer = ann.post(f"{path}/approve", {"user_code": asked["user_code"]})
    assert (answer.status_code, "Too many tries" in Page(answer.text).text) == (429, True)
    assert "Try again in 10 minutes." in Page(answer.text).text
    assert state(ann, asked) == "claimed"
    ann.service.clock.push(minutes=11)
    assert ann.follow(path).text.startswith("Too late")


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
    assert seen.fields["user_code"] is None


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
    assert ann.follow(page).text.startswith("Let this device in?")


def test_every_page_exists_in_german(sqlite_service):
    ann = sign_in_browser(sqlite_service, **GERMAN)
    page, asked = claim_device_login(ann)
    path = page.partition("?")[0]
    seen = {
        "Anmelden": Browser(sqlite_service, sqlite_service.actor("x"), **GERMAN).get("/login"),
        "Der Name oder das Passwort ist falsch": ann.post(
            "/login", {"username": "ann", "password": "x"}
        ),
        "Passwort noch einmal": ann.get("/login/again"),
        "Das Passwort ist falsch": ann.post("/login/again", {"password": "x"}),
        "Ein anderes Gerät einlassen": ann.get("/login/activate"),
        "Der Code unten kam mit dem Link": ann.get(f"/login/activate/{asked['user_code']}"),
        "Diesen Code gibt es nicht": ann.post("/login/activate", {"user_code": "x"}),
        "Dieses Gerät einlassen?": ann.get(page),
        "Das ist nicht der Code": ann.post(f"{path}/approve", {"user_code": "x"}),
        "Hier ist nichts": ann.get("/login/requests/x"),
        "Das kam nicht von einer Seite": ann.post("/login/out", sent_from={}),
        "Ihre Sitzungen": ann.get("/login/sessions"),
        "Das jetzige Passwort ist falsch": ann.post(
            "/login/password",
            {"old": "x", "new": "some new words here", "again": "some new words here"},
        ),
    }
    ann.post(f"{path}/deny")
    seen |= {
        "Abgelehnt": ann.get(path),
        "schon entschieden": ann.post(f"{path}/deny"),
        "Sie sind abgemeldet": ann.post("/login/out"),
    }
    for words, answer in seen.items():
        page = Page(answer.text)
        assert page.find_all("html") == [{"lang": "de"}]
        assert words in page.text
        shown = set(page.text.lower().split()) - set(
            asked["check_phrase"].split()
        )  # which may be any word
        assert not {"password", "account", "session", "code?", "sign"} & shown, words


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
        ) == (
            ["'none'"],
            ["'none'"],
            ["'none'"],
            ["'self'"],
        )
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
    """Also what is settled before a page is asked: no such address, another method, a form that is too large, another host."""
    answers = {
        "There is nothing here": small_ann.get("/login/no-such-page"),
        "This page cannot be opened like that": small_ann.get("/login/out"),
        "That was too much at once": small_ann.post("/login", {"username": "x" * 20_000}),
        "This is not the address of this service": small_ann.get(
            "/login", Host="elsewhere.example"
        ),
    }
    german = {
        "Das war zu viel auf einmal": small_ann.post(
            "/login", {"username": "x" * 20_000}, sent_from={**SAME_ORIGIN_HEADERS, **GERMAN}
        ),
        "Das ist nicht die Adresse dieses Dienstes": small_ann.get(
            "/login", Host="elsewhere.example", **GERMAN
        ),
        "Das ging nicht": small_ann.post(
            "/login", sent_from={**SAME_ORIGIN_HEADERS, **GERMAN, "Transfer-Encoding": "chunked"}
        ),
    }
    for words, answer in german.items():
        assert Page(answer.text).text.startswith(words)
        assert "in einem Augenblick" not in answer.text, "it would be the same again"
    assert [answer.status_code for answer in answers.values()] == [404, 405, 413, 400]
    for words, answer in answers.items():
        assert answer.content_type == "text/html; charset=utf-8"
        assert Page(answer.text).text.startswith(words)
        assert answer.headers["Cache-Control"] == "no-store"
    assert set(answers["This page cannot be opened like that"].headers["Allow"].split(", ")) == {
        "POST",
        "OPTIONS",
    }
    for path in ("/loginx", "/v1/login", "/v1/confirm/", "/"):
        assert small_ann.get(path).content_type == "application/problem+json"
