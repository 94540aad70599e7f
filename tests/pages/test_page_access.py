"""Access to the pages, as docs/permissions.md lists it, and the page cookie on other routes."""

from __future__ import annotations

import itertools
import re
import shutil

import pytest

from tests.actors import Service, build_settings
from tests.pages.browser import (
    SAME_ORIGIN_HEADERS,
    Browser,
    Page,
    claim_device_login,
    sign_in_browser,
)
from tests.permissions import PAGES, ROWS
from tests.routes import list_routes

NAMES = (f"person{number}" for number in itertools.count())
PLENTY = {f"limit_{name}": "100000/minute" for name in ("login", "confirm", "device")}
ELSEWHERE = [
    {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"},
    {"Origin": "http://127.0.0.1:8080", "Sec-Fetch-Site": "same-site"},  # a sibling
    {"Origin": "null", "Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "none"},
    {"Origin": "http://127.0.0.1:8080.evil.example"},
    {"Origin": "https://127.0.0.1:8080"},
    {"Origin": "null"},
    {"Origin": ""},
    {"Referer": "http://127.0.0.1:8080/login"},
    {},
]


@pytest.fixture(scope="module")
def service(sqlite_template, tmp_path_factory):
    path = tmp_path_factory.mktemp("doors") / "doorward.db"
    shutil.copy(sqlite_template, path)
    service = Service(build_settings(f"sqlite:///{path}", **PLENTY))
    yield service
    service.close()


@pytest.fixture
def sign_in(service):
    """Sign in a new user."""
    return lambda: sign_in_browser(service, f"{next(NAMES)}")


@pytest.fixture(scope="module")
def foreign_ids(service) -> dict[str, str]:
    """IDs that belong to another user."""
    return create_own(sign_in_browser(service, "bob"))


@pytest.fixture(scope="module")
def bearers(service) -> list[str]:
    """Credentials of a live session that are valid on other routes."""
    browser = sign_in_browser(service, "token")
    browser.actor.login()
    return [browser.actor.access, browser.actor.tokens["refresh_token"], browser.cookie]


def create_own(browser: Browser) -> dict[str, str]:
    """Create a session, a device and a device login of this user, and return their IDs."""
    other_client = browser.actor.from_another_address()
    other_client.login(remember_device=True)
    devices = other_client.get("/v1/devices", token=other_client.access).json["items"]
    page, device_login = claim_device_login(browser)
    return {
        "session_id": other_client.tokens["session_id"],
        "device_id": devices[0]["id"],
        "login_session_id": page.partition("?")[0].rpartition("/")[2],
        "user_code": device_login["user_code"],
    }


def send(browser: Browser, route: str, names: dict[str, str], **kwargs) -> str:
    """Send a request and return the result in the terms of the table."""
    method, _, rule = route.partition(" ")
    path = re.sub(r"<(\w+)>", lambda found: names[found[1]], rule)
    answer = (
        browser.get(path)
        if method == "GET"
        else browser.post(path, {"user_code": names["user_code"]}, **kwargs)
    )
    assert answer.headers["Referrer-Policy"] == "same-origin"
    assert answer.headers["Cache-Control"] == "no-store"
    to = answer.headers.get("Location", "")
    if to.startswith("/login?next="):
        return "sign in"
    if to.startswith("/login/again?next="):
        return "password"
    if answer.status_code == 303 and route == "GET /login":
        return "on"
    problem = Page(answer.text).problem
    if answer.status_code == 404 and problem == "not_found":
        return "404"
    return "foreign" if problem == "foreign_page" else "yes"


@pytest.mark.parametrize("route", PAGES)
def test_each_caller_gets_the_page_in_the_table(service, sign_in, foreign_ids, bearers, route):
    logged_out, signed_in, later, another = PAGES[route]
    ann = sign_in()
    stranger = Browser(service, service.actor("stranger"))
    assert send(stranger, route, foreign_ids) == logged_out
    for token in bearers:
        bearer = Browser(service, service.actor("bearer"), Authorization=f"Bearer {token}")
        assert send(bearer, route, foreign_ids) == logged_out
    if route.startswith("POST"):
        mine = create_own(ann)
        for place in ELSEWHERE:
            assert send(ann, route, mine, sent_from=place) == "foreign"
            assert send(stranger, route, mine, sent_from=place) == "foreign"
        sessions = ann.follow("/login/sessions").find_all("li")
        assert sum("data-session" in card for card in sessions) == 2, "no session was revoked"
    if another != "–":
        assert send(ann, route, foreign_ids) == another
        unknown = {name: value[:-6] + "000000" for name, value in foreign_ids.items()}
        assert send(ann, route, unknown) == another
    assert send(ann, route, create_own(ann)) == signed_in
    browser = sign_in()
    own = create_own(browser)
    service.clock.push(minutes=6)
    assert send(browser, route, own) == later


def test_page_cookie_is_accepted_only_by_pages(service, sign_in):
    ann = sign_in()
    cookie, stranger = ann.cookie, service.actor("stranger")
    sent = [
        {
            "Cookie": f"doorward={cookie}; __Host-doorward={cookie}; doorward_refresh={cookie}; __Host-doorward_refresh={cookie}"
        },
        {"Authorization": f"Bearer {cookie}"},
        {"X-API-Key": cookie},
    ]
    guarded, checked = {row.route for row in ROWS if row.none == "401"}, 0
    for name, method, path in list_routes(service):
        if name not in guarded:
            continue
        for headers in sent:
            answer = stranger.call(method, path, headers={**headers, **SAME_ORIGIN_HEADERS})
            assert answer.status_code == 401, f"{name}: {answer.status_code}"
            checked += 1
    assert checked > 100
    assert stranger.post("/v1/token/refresh", {"refresh_token": cookie}).status_code == 400
    assert (
        stranger.call(
            "POST", "/oauth/token", data={"grant_type": "refresh_token", "refresh_token": cookie}
        ).status_code
        == 400
    )
    assert ann.get("/login/sessions").status_code == 200, "the session is still live"


def test_altered_page_cookie_is_refused(service, sign_in):
    ann, bob = sign_in(), sign_in()
    good, other = ann.cookie, bob.cookie
    version, key, session, auth_time, mac = good.split(".")
    forged = [
        "", "dwp1", good[:-1], good + "x", good.upper(), f" {good}", f'"{good}"x', good.replace("dwp1", "dwr1"), good.replace("dwp1", "dwp2"),
        ".".join([version, "a" * 8, session, auth_time, mac]),
        ".".join([version, key, other.split(".")[2], auth_time, mac]),
        ".".join([version, key, session, str(int(auth_time) + 1), mac]),
        ".".join([version, key, session, str(int(auth_time) + 300), mac]),
        ".".join([version, key, session, "0" + auth_time, mac]),
        ".".join([version, key, session, auth_time, other.split(".")[4]]),
        ann.actor.login().json["refresh_token"],
    ]  # fmt: skip
    for cookie in forged:
        ann.cookie = cookie
        answer = ann.get("/login/sessions")
        assert (answer.status_code, answer.headers["Location"]) == (
            303,
            "/login?next=%2Flogin%2Fsessions",
        ), cookie
    ann.cookie = good
    assert ann.get("/login/sessions").status_code == 200
    plain = service.app.test_client(use_cookies=False)
    for planted in (other, "; doorward=".join("abcd")):
        two = {"Cookie": f"doorward={planted}; doorward={good}"}
        assert plain.get("/login/sessions", headers=two).status_code == 303, (
            "the cookie is ambiguous"
        )


def test_planted_second_cookie_does_not_lock_the_user_out(service, sign_in):
    """Without TLS, any page of the same host can set it, on any port and with any path."""
    ann = sign_in()
    over = ann.cookie
    ann.post("/login/again", {"password": ann.actor.password})
    service.clock.push(seconds=1)
    ann.sign_in()
    for planted in (over, "junk", f"{ann.cookie}x"):
        ann.client.set_cookie("doorward", planted, domain="localhost", path="/login")
        page = ann.follow("/login/sessions")
        assert page.name == "sessions"
        assert f"<b>{ann.actor.username}</b>" in ann.answer.text
        assert ann.sign_in().headers["Location"] == "/login/sessions"
        assert ann.get("/login/sessions").status_code == 200
