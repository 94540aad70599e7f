"""Signing in and out on the pages: cookies, redirects and problems."""

from __future__ import annotations

from copy import copy
from urllib.parse import quote

import pytest
from sqlalchemy import event

from tests.actors import PASSWORD
from tests.pages.browser import Browser, Page, claim_device_login, sign_in_browser

NEW = "another sentence of some words"


@pytest.fixture
def ann(service) -> Browser:
    return sign_in_browser(service)


@pytest.fixture
def sqlite_ann(sqlite_service) -> Browser:
    return sign_in_browser(sqlite_service.freeze_clock())


def test_user_stays_signed_in_until_signing_out(ann):
    page = ann.follow("/login/sessions")
    assert page.name == "sessions"
    assert "<b>ann</b>" in ann.answer.text
    assert ann.get("/login").headers["Location"] == "/login/sessions", (
        "the user is signed in already"
    )
    cookie = ann.cookie
    answer = ann.post("/login/out")
    assert answer.status_code == 200
    assert Page(answer.text).name == "signed_out"
    assert ann.cookie is None
    ann.cookie = cookie
    assert ann.get("/login/sessions").status_code == 303, (
        "the session is revoked, not just the cookie cleared"
    )
    assert ann.post("/login/out").headers["Location"].startswith("/login")


def test_cookie_is_host_only_and_http_only(make_service):
    service = make_service(public_url="https://door.example.org", trusted_hosts=("localhost",))
    person = service.actor().sign_up()
    browser = Browser(service, person)
    form = {"username": "ann", "password": PASSWORD}
    answer = browser.post("/login", form, sent_from={"Origin": "https://door.example.org"})
    name, *rules = answer.headers["Set-Cookie"].split("; ")
    assert name.startswith("__Host-doorward=dwp1.")
    assert {*rules} == {"Secure", "HttpOnly", "Path=/", "SameSite=Lax"}
    cookie = name.partition("=")[2]
    client = service.app.test_client(use_cookies=False)
    assert (
        client.get("/login/sessions", headers={"Cookie": f"__Host-doorward={cookie}"}).status_code
        == 200
    )
    assert (
        client.get("/login/sessions", headers={"Cookie": f"doorward={cookie}"}).status_code == 303
    ), "without the prefix, another host could have set the cookie"
    assert (
        browser.post("/login", form, sent_from={"Origin": "http://door.example.org"}).status_code
        == 403
    )


def test_page_session_lasts_twelve_hours(ann):
    ann.actor.login()
    sessions = ann.actor.get("/v1/sessions", token=ann.actor.access).json["items"]
    assert [one["device_name"] for one in sessions] == [None, None]
    mine = next(one for one in sessions if not one["current"])
    assert mine["id"] == ann.cookie.split(".")[2]
    ann.service.clock.push(hours=11, minutes=59)
    assert ann.get("/login/sessions").status_code == 200
    ann.service.clock.push(minutes=2)
    assert ann.get("/login/sessions").status_code == 303


def test_second_sign_in_revokes_the_previous_browser_session(ann):
    """Also as another user. A wrong password revokes nothing."""
    bob = ann.service.actor("bob").sign_up()
    for person in (ann.actor, bob):
        older = ann.cookie
        assert (
            ann.post("/login", {"username": person.username, "password": "wrong"}).status_code
            == 401
        )
        assert ann.get("/login/sessions").status_code == 200
        ann.post("/login", {"username": person.username, "password": PASSWORD})
        newer, ann.cookie = ann.cookie, older
        assert ann.get("/login/sessions").status_code == 303
        ann.cookie = newer
        assert f"Signed in as {person.username}" in ann.follow("/login/sessions").text
    bob.login()
    assert len(bob.get("/v1/sessions", token=bob.access).json["items"]) == 2


@pytest.mark.parametrize(
    "how", ["ended", "logged out everywhere", "disabled", "another password", "suspicious"]
)
def test_cookie_ends_with_its_session(sqlite_ann, how):
    actor, cookie = sqlite_ann.actor, sqlite_ann.cookie
    actor.login()
    session_id = cookie.split(".")[2]
    if how == "ended":
        actor.call("DELETE", f"/v1/sessions/{session_id}", token=actor.access)
    elif how == "suspicious":
        actor.post(f"/v1/sessions/{session_id}/suspicious", token=actor.access)
    elif how == "logged out everywhere":
        actor.post("/v1/logout-all", token=actor.access)
    elif how == "another password":
        actor.change(NEW)
    else:
        sqlite_ann.service.scalar("UPDATE accounts SET status = 'disabled' RETURNING id")
    assert sqlite_ann.get("/login/sessions").status_code == 303
    assert (
        sqlite_ann.post("/login/activate", {"user_code": "BCDF-GHJK"}).headers["Location"]
        == "/login?next=%2Flogin%2Factivate"
    )


PAGES = [
    "/login/sessions",
    "/login/activate",
    "/login/activate/BCDF-GHJK",
    "/login/requests/ses_0000000000000000000000",
]
PAGES += [f"{PAGES[-1]}?user_code=BCDF-GHJK"]
AWAY = [
    "", "/", "//evil.example", "///evil.example", "/\\evil.example", "\\\\evil.example", "https://evil.example", "https:evil.example",
    "javascript:alert(1)", "/login/sessions@evil.example", "/login/sessions/../../x", "/login/sessions\r\nSet-Cookie: a=b", "/login/sessions\n",
    "/login/sessions?x=//evil.example", "/login/sessions#x", "/login/out", "/login/activate//evil.example", "/login/activate/AAAA-AAAA",
    "/login/requests/ses_0000000000000000000000/approve", "/login/requests/ses_0000000000000000000000?user_code=BCDF-GHJK&x=", " /login/sessions",
    "/LOGIN/sessions", "/login/%73essions",
]  # fmt: skip


def test_redirect_after_sign_in_stays_on_the_service(sqlite_ann):
    for target, location in [
        *((page, page) for page in PAGES),
        *((away, "/login/sessions") for away in AWAY),
    ]:
        assert (
            sqlite_ann.get("/login?next=" + quote(target, safe="")).headers["Location"] == location
        )
        assert (
            sqlite_ann.post("/login/again", {"password": PASSWORD, "next": target}).headers[
                "Location"
            ]
            == location
        )
    assert sqlite_ann.sign_in(next=PAGES[2]).headers["Location"] == PAGES[2]
    assert sqlite_ann.sign_in(next=AWAY[2]).headers["Location"] == "/login/sessions"


def test_every_refusal_shows_the_same_page(sqlite_service):
    """The pages differ only in the entered username."""
    ann = sqlite_service.actor().sign_up()
    gone = sqlite_service.actor("gone").sign_up()
    sqlite_service.scalar(
        "UPDATE accounts SET status = 'disabled' WHERE username = 'gone' RETURNING id"
    )
    pending = sqlite_service.actor("pending")
    pending.register()
    tries = [
        ("ann", "not the password at all"), ("gone", gone.password), ("pending", pending.password), ("nobody", PASSWORD), ("", PASSWORD), ("ann", ""),
        ("ann@example.org", "x" * 5000), ("ann", "a\0b"), ("\0", PASSWORD), ("a" * 5000, PASSWORD), ("<script>", PASSWORD), ("ann", PASSWORD.upper()),
    ]  # fmt: skip
    pages = set()
    for name, password in tries:
        browser = Browser(sqlite_service, sqlite_service.actor("x"))
        answer = browser.post("/login", {"username": name, "password": password})
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"] == 'Bearer realm="doorward"'
        assert "Set-Cookie" not in answer.headers
        page = Page(answer.text)
        assert page.fields["username"] == (name if "\0" not in name else page.fields["username"])
        assert page.fields["password"] is None
        pages.add(page.text)
    assert len(pages) == 1
    assert page.problem == "invalid_credentials"
    assert ann.login().status_code == 200


def test_throttled_sign_in_shows_the_wait(make_service):
    service = make_service(limit_login="2/minute")
    browser = Browser(service, service.actor().sign_up())
    for _ in range(2):
        assert browser.post("/login", {"username": "ann", "password": "no"}).status_code == 401
    for language in ("en", "de"):
        answer = Browser(service, browser.actor, **{"Accept-Language": language}).post(
            "/login", {"username": "ann", "password": PASSWORD}
        )
        assert answer.status_code == 429
        page = Page(answer.text)
        assert (page.problem, page.language) == ("rate_limited", language)
        assert f" {answer.headers['Retry-After']} " in page.text
    assert browser.get("/login").status_code == 200, "opening the page is not limited"
    assert browser.actor.login().status_code == 429, "the page shares the limit of the API call"


def test_failures_are_counted_as_in_the_api(sqlite_ann):
    for _ in range(5):
        assert sqlite_ann.post("/login/again", {"password": "not the password"}).status_code == 403
    answer = sqlite_ann.post("/login/password", {"old": PASSWORD, "new": NEW, "again": NEW})
    assert answer.status_code == 429
    assert Page(answer.text).problem == "rate_limited"


def test_forced_password_change_happens_during_sign_in(ann):
    ann.post("/login/out")
    ann.service.scalar("UPDATE accounts SET must_change_since = created_at RETURNING id")
    form = {"username": "ann", "password": PASSWORD, "next": "/login/activate/BCDF-GHJK"}
    answer = ann.post("/login", form)
    assert (answer.status_code, "Set-Cookie" in answer.headers) == (200, False)
    page = Page(answer.text)
    token = page.fields["reset_token"]
    assert token.startswith("dw")
    assert page.actions == ["/login/new-password"]
    for new, again, code, text in (
        (PASSWORD, PASSWORD, "validation_failed", "current password"),
        ("short", "short", "validation_failed", "at least 15"),
        (NEW, NEW + "s", "password_mismatch", ""),
    ):
        answer = ann.post(
            "/login/new-password",
            {"reset_token": token, "password": new, "again": again, "next": form["next"]},
        )
        assert answer.status_code == 422
        page = Page(answer.text)
        assert (page.problem, text in page.text) == (code, True)
        assert page.fields["reset_token"] == token
    answer = ann.post(
        "/login/new-password",
        {"reset_token": token, "password": NEW, "again": NEW, "next": form["next"]},
    )
    assert answer.status_code == 200
    assert {"href": "/login?next=/login/activate/BCDF-GHJK", "class": "button"} in Page(
        answer.text
    ).find_all("a")
    assert "Set-Cookie" not in answer.headers, "it does not sign the user in"
    used = ann.post("/login/new-password", {"reset_token": token, "password": NEW, "again": NEW})
    assert (used.status_code, Page(used.text).problem) == (400, "invalid_token")
    ann.actor.password = NEW
    assert ann.sign_in(next=form["next"]).headers["Location"] == form["next"]


def test_reauthentication_replaces_the_cookie(ann):
    older = ann.cookie
    ann.service.clock.push(minutes=6)
    page, device_login = claim_device_login(ann)
    code = {"user_code": device_login["user_code"]}
    path = page.partition("?")[0]
    assert ann.follow(page).find_value("id") == "reauthenticate"
    answer = ann.post(f"{path}/approve", code)
    assert answer.headers["Location"].startswith("/login/again?next=%2Flogin%2Frequests%2Fses_")
    form = ann.follow(answer.headers["Location"])
    assert form.fields["next"] == page
    wrong = ann.post("/login/again", {"password": "not the password", "next": page})
    assert (wrong.status_code, Page(wrong.text).fields["next"]) == (403, page)
    assert ann.cookie == older
    right = ann.post("/login/again", {"password": PASSWORD, "next": page})
    assert right.headers["Location"] == page
    newer = ann.cookie
    assert newer != older
    assert newer.split(".")[2] == older.split(".")[2], "the session is the same"
    assert ann.post(f"{path}/approve", code).headers["Location"] == path
    ann.cookie = older
    assert ann.get("/login/sessions").status_code == 303


def test_older_cookie_gains_nothing_from_a_concurrent_reauthentication(sqlite_ann):
    """The reauthentication happens between reading the cookie and reading the session."""
    sqlite_ann.service.clock.push(minutes=6)
    page, device_login = claim_device_login(sqlite_ann)
    owner, looks = copy(sqlite_ann), []

    def authenticate_concurrently(_connection, _cursor, statement, *_):
        if "roles_version" in statement and not looks:
            looks.append(statement)
            assert (
                owner.post("/login/again", {"password": PASSWORD, "next": page}).headers["Location"]
                == page
            )

    event.listen(
        sqlite_ann.service.units.database.autocommit_engine,
        "before_cursor_execute",
        authenticate_concurrently,
    )
    answer = sqlite_ann.post(
        f"{page.partition('?')[0]}/approve", {"user_code": device_login["user_code"]}
    )
    assert looks
    assert answer.headers["Location"].startswith("/login/again")


def test_password_change_keeps_only_the_current_session(ann):
    other = ann.actor.from_another_address()
    other.login()
    older = ann.cookie
    common = "password20242024"
    for fields, status, code in (
        ({"old": "wrong", "new": NEW, "again": NEW}, 403, "wrong_password"),
        ({"old": PASSWORD, "new": NEW, "again": NEW + "s"}, 422, "password_mismatch"),
        ({"old": PASSWORD, "new": common, "again": common}, 422, "validation_failed"),
        ({}, 422, "validation_failed"),
    ):
        answer = ann.post("/login/password", fields)
        page = Page(answer.text)
        assert (answer.status_code, page.problem) == (status, code)
        has_suggestions = {"id": "suggestions"} in page.find_all("ul")
        assert has_suggestions == (code == "validation_failed")
        assert "password20242024" not in answer.text
    answer = ann.post("/login/password", {"old": PASSWORD, "new": NEW, "again": NEW})
    assert (answer.status_code, Page(answer.text).name) == (200, "password_changed")
    assert ann.cookie != older
    assert ann.get("/login/sessions").status_code == 200
    assert other.whoami().status_code == 401
    ann.cookie = older
    assert ann.get("/login/sessions").status_code == 303
    assert ann.actor.login(password=NEW).status_code == 200


def test_sessions_and_devices_are_revoked_one_by_one_and_all_at_once(ann):
    phone, desk, stolen = (ann.actor.from_another_address() for _ in range(3))
    phone.login(device_name="Phone", remember_device=True)
    desk.login(device_name="Desk")
    stolen.login(device_name="Stolen")
    page = ann.follow("/login/sessions")
    for text in ("Phone", "Desk", "Stolen", phone.address):
        assert text in page.text
    current = [card["data-session"] for card in page.find_all("li") if "data-current" in card]
    assert current == [ann.cookie.split(".")[2]]
    assert page.find_value("data-approved") is None
    forget = next(action for action in page.actions if action.endswith("/forget"))
    assert ann.post(forget).status_code == 303
    assert ann.follow("/login/sessions").find_value("data-device") is None
    assert (
        ann.post(f"/login/sessions/{desk.tokens['session_id']}/end").headers["Location"]
        == "/login/sessions"
    )
    assert (desk.whoami().status_code, phone.whoami().status_code) == (401, 200)
    answer = ann.post(f"/login/sessions/{stolen.tokens['session_id']}/suspicious")
    assert (answer.status_code, Page(answer.text).name) == (200, "session_reported")
    assert stolen.whoami().status_code == 401
    assert ann.service.mailbox(ann.actor.email)[0]["template"] == "reported_session"
    ann.post("/login/sessions/end-others")
    assert phone.whoami().status_code == 401
    assert ann.get("/login/sessions").status_code == 200
    phone.login()
    assert ann.post("/login/sessions/end-all").status_code == 200
    assert phone.whoami().status_code == 401
    assert ann.get("/login/sessions").status_code == 303


def test_well_known_change_password_redirects(sqlite_ann):
    answer = sqlite_ann.get("/.well-known/change-password")
    assert (answer.status_code, answer.headers["Location"]) == (302, "/login/sessions#password")
    form = next(
        form
        for form in sqlite_ann.follow("/login/sessions").find_all("form")
        if form.get("id") == "password"
    )
    assert form["action"] == "/login/password"


def test_passwords_and_cookies_are_not_logged(sqlite_ann, capsys):
    capsys.readouterr()
    cookie = sqlite_ann.cookie
    sqlite_ann.post("/login", {"username": "ann", "password": NEW})
    sqlite_ann.sign_in()
    sqlite_ann.post("/login/again", {"password": PASSWORD})
    page, device_login = claim_device_login(sqlite_ann)
    sqlite_ann.follow(page)
    sqlite_ann.follow(f"/login/activate/{device_login['user_code']}")
    logged = "".join(capsys.readouterr())
    assert '"route": "/login/activate/<user_code>"' in logged
    for secret in (
        cookie,
        cookie.split(".")[4],
        sqlite_ann.cookie.split(".")[4],
        NEW,
        PASSWORD,
        device_login["user_code"],
        device_login["device_code"],
    ):
        assert secret not in logged
