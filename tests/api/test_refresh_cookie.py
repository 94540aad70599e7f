"""The refresh token in a cookie that scripts cannot read, and the origins that may use it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.actors import Actor
from tests.commit_failures import fail_commits
from tests.routes import list_routes

OURS = "https://auth.example.org"
APP = "https://app.example.org"
NAME = "__Host-doorward-refresh"
LARGEST = 4096  # bytes of a cookie that every browser stores (RFC 6265 section 6.1)
FROM_THE_APP = {"Origin": APP, "Sec-Fetch-Site": "same-site", "X-Requested-With": "app"}
LOGIN, REFRESH, LOGOUT = "/v1/login", "/v1/token/refresh", "/v1/logout"


@dataclass
class Browser:
    """A browser with a frontend: it stores cookies and sends them."""

    actor: Actor
    headers: dict[str, str] = field(default_factory=lambda: dict(FROM_THE_APP))
    cookies: dict[str, str] = field(default_factory=dict)
    access: str = ""

    def post(
        self,
        path: str,
        body: Any = None,
        *,
        token: str | None = None,
        method: str = "POST",
        **headers: str,
    ):
        sent = {**self.headers, **headers}
        if self.cookies:
            sent["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        answer = self.actor.call(
            method, path, json=body if body is not None else {}, token=token, headers=sent
        )
        for cookie in answer.headers.getlist("Set-Cookie"):
            name, value = re.match(r"([^=]+)=([^;]*)", cookie).groups()
            self.cookies.pop(name, None)
            if "Max-Age=0" not in cookie:
                self.cookies[name] = value
        if answer.status_code == 200 and "access_token" in answer.json:
            self.access = answer.json["access_token"]
        return answer

    def login(self, **changes: Any):
        body = {
            "username": self.actor.username,
            "password": self.actor.password,
            "refresh_in_cookie": True,
            **changes,
        }
        return self.post(LOGIN, body)

    def refresh(self, **headers: str):
        return self.post(REFRESH, **headers)

    def is_accepted(self) -> bool:
        return self.actor.whoami(self.access).status_code == 200


@pytest.fixture
def https(make_service, sqlite_url):
    return make_service(
        sqlite_url,
        public_url=OURS,
        cors_origins=(APP,),
        limit_login="1000/minute",
        limit_refresh="1000/minute",
    )


@pytest.fixture
def browser(https) -> Browser:
    """A user signed in in a browser."""
    browser = Browser(https.actor().sign_up())
    assert browser.login().status_code == 200
    return browser


def list_session_states(service) -> list[tuple[str, int, str]]:
    """Return the state that a refused request must not change."""
    with service.open_database() as db:
        sessions = (
            db.connection()
            .exec_driver_sql("SELECT id, rt_counter, status FROM sessions ORDER BY id")
            .all()
        )
        return [tuple(row) for row in sessions]


def get_status_and_code(answer) -> tuple[int, str]:
    return answer.status_code, answer.json["code"]


def split_cookie(cookie: str) -> tuple[str, str, set[str]]:
    """Return name, value and attributes."""
    pair, *attributes = cookie.split("; ")
    name, _, value = pair.partition("=")
    return name, value, set(attributes)


# Setting the cookie.


@pytest.mark.parametrize(
    ("public_url", "name", "secure"),
    [(OURS, NAME, {"Secure"}), ("http://127.0.0.1:8080", "doorward-refresh", set())],
)
def test_login_can_set_the_refresh_token_as_an_http_only_cookie(
    make_service, public_url, name, secure
):
    browser = Browser(make_service(public_url=public_url, cors_origins=(APP,)).actor().sign_up())
    answer = browser.login()
    assert answer.status_code == 200
    assert "refresh_token" not in answer.json
    assert {"access_token", "expires_in", "refresh_expires_in", "session_id", "account"} <= set(
        answer.json
    )
    (cookie,) = answer.headers.getlist("Set-Cookie")
    found, value, attributes = split_cookie(cookie)
    assert found == name
    assert (
        attributes
        == {"HttpOnly", "Path=/", "SameSite=Strict", f"Max-Age={answer.json['refresh_expires_in']}"}
        | secure
    )
    assert len(cookie) < LARGEST
    assert value.startswith("dwr1.")
    assert value not in answer.text
    assert browser.is_accepted()


def test_refresh_replaces_the_cookie_and_hides_the_token(service):
    browser = Browser(
        service.actor().sign_up(), headers={**FROM_THE_APP, "Origin": service.settings.public_url}
    )
    assert browser.login().status_code == 200
    first = dict(browser.cookies)
    answer = browser.refresh()
    assert answer.status_code == 200
    assert "refresh_token" not in answer.json
    assert browser.cookies != first
    assert all(value not in answer.text for value in browser.cookies.values())
    assert browser.is_accepted()
    second = dict(browser.cookies)
    browser.cookies = first  # another tab, or a lost response
    assert browser.refresh().status_code == 200
    assert browser.cookies == second


def test_reused_cookie_revokes_the_session_and_is_cleared(service):
    browser = Browser(
        service.actor().sign_up(), headers={**FROM_THE_APP, "Origin": service.settings.public_url}
    )
    browser.login()
    first = dict(browser.cookies)
    browser.refresh()
    service.clock.push(seconds=31)
    browser.cookies = first
    answer = browser.refresh()
    assert get_status_and_code(answer) == (400, "invalid_grant")
    assert browser.cookies == {}
    _, value, attributes = split_cookie(answer.headers["Set-Cookie"])
    assert value == ""
    assert {"Max-Age=0", "Path=/", "HttpOnly", "SameSite=Strict"} <= attributes
    assert [status for _, _, status in list_session_states(service)] == ["suspicious"]


@pytest.mark.parametrize(
    "junk", ["x", "dwr1.aaaaaaaa.ses_0000000000000000000000.0." + "A" * 43, "a" * 4000]
)
def test_invalid_cookie_is_cleared(browser, junk):
    browser.cookies = {NAME: junk}
    assert get_status_and_code(browser.refresh()) == (400, "invalid_grant")
    assert browser.cookies == {}


def test_no_cookie_without_a_request_for_one(service):
    ann = service.actor().sign_in()
    assert "refresh_token" in ann.tokens
    in_the_app = {**FROM_THE_APP, "Origin": service.settings.public_url}
    for headers in ({}, in_the_app, {"Origin": "https://evil.example"}):
        answers = [
            ann.post(
                LOGIN,
                {"username": ann.username, "password": ann.password, "refresh_in_cookie": False},
                headers=headers,
            ),
            ann.post(REFRESH, {"refresh_token": ann.tokens["refresh_token"]}, headers=headers),
            ann.post(REFRESH, {"refresh_token": "x"}, headers=headers),
            ann.post(LOGOUT, headers=headers),
        ]
        assert [answer.status_code for answer in answers] == [200, 200, 400, 401]
        assert all("refresh_token" in answer.json for answer in answers[:2])
        assert all("Set-Cookie" not in answer.headers for answer in answers)
    assert ann.post(REFRESH).json["errors"] == {
        "/refresh_token": ["Missing data for required field."]
    }


# Origins.


ALLOWED = [
    FROM_THE_APP,
    {"Origin": OURS, "Sec-Fetch-Site": "same-origin", "X-Requested-With": "XMLHttpRequest"},
    {"Origin": APP, "X-Requested-With": "1"},  # a browser without fetch metadata
    {"Sec-Fetch-Site": "same-origin", "X-Requested-With": "1"},  # a browser without Origin
    {"Sec-Fetch-Site": "same-site", "X-Requested-With": "1"},
]
REFUSED = [
    {"Origin": APP, "Sec-Fetch-Site": "same-site"},  # nothing that a form could not send
    {"Origin": APP, "Sec-Fetch-Site": "same-site", "X-Requested-With": ""},
    {"X-Requested-With": "1"},  # without any origin
    {"Sec-Fetch-Site": "none", "X-Requested-With": "1"},
    {"Sec-Fetch-Site": "cross-site", "X-Requested-With": "1"},
    {
        "Origin": APP,
        "Sec-Fetch-Site": "cross-site",
        "X-Requested-With": "1",
    },  # allowed, but no browser would store the cookie
    {"Origin": "null", "Sec-Fetch-Site": "same-origin", "X-Requested-With": "1"},
    {"Origin": "", "Sec-Fetch-Site": "same-origin", "X-Requested-With": "1"},
    {
        "Origin": "https://evil.example.org",
        "Sec-Fetch-Site": "same-site",
        "X-Requested-With": "1",
    },  # a compromised sibling site
    {"Origin": f"{APP}:8443", "X-Requested-With": "1"},
    {"Origin": f"{APP}.evil.example", "X-Requested-With": "1"},
    {"Origin": APP.replace("https", "http"), "X-Requested-With": "1"},
    {"Origin": f"{APP}, {OURS}", "X-Requested-With": "1"},
    {"Origin": f"{OURS}/", "X-Requested-With": "1"},
]


@pytest.mark.parametrize("headers", ALLOWED)
def test_configured_origins_and_own_pages_can_use_the_cookie(browser, headers):
    browser.headers = headers
    assert browser.login().status_code == 200
    assert browser.refresh().status_code == 200
    assert browser.post(LOGOUT).status_code == 204
    assert browser.cookies == {}
    assert not browser.is_accepted()


def test_other_origins_are_refused_without_effect(browser):
    service, kept = browser.actor.service, dict(browser.cookies)
    before, mails = list_session_states(service), len(service.mailbox())
    for headers in REFUSED:
        browser.headers = headers
        for answer in (
            browser.login(),
            browser.login(password="wrong"),
            browser.refresh(),
            browser.post(LOGOUT),
        ):
            assert get_status_and_code(answer) == (403, "cookie_not_allowed"), headers
            assert (
                "X-Requested-With" in answer.json["detail"]
                or "DOORWARD_CORS_ORIGINS" in answer.json["detail"]
            )
            assert "Set-Cookie" not in answer.headers
    assert browser.cookies == kept
    assert list_session_states(service) == before
    assert len(service.mailbox()) == mails
    assert service.scalar("SELECT count(*) FROM failed_attempts") == 0
    assert browser.is_accepted()


def test_default_port_is_not_part_of_an_origin(make_service):
    service = make_service(
        public_url="https://Auth.example.org:443/door", trusted_hosts=("auth.example.org",)
    )
    browser = Browser(service.actor().sign_up(), headers={"Origin": OURS, "X-Requested-With": "1"})
    assert browser.login().status_code == 200


# Two credentials.


def test_cookie_with_another_credential_is_refused(browser):
    before, token = list_session_states(browser.actor.service), browser.cookies[NAME]
    for answer in (
        browser.post(REFRESH, {"refresh_token": token}),
        browser.post(REFRESH, {"refresh_token": "x"}),
        browser.post(REFRESH, token=browser.access),
        browser.refresh(Authorization="Basic eDp5"),
        browser.post(LOGOUT, {"refresh_token": token}),
    ):
        assert get_status_and_code(answer) == (400, "ambiguous_refresh_token")
        assert "Set-Cookie" not in answer.headers
    planted = {"Cookie": f"{NAME}={token}; {NAME}={token}"}
    for path in (REFRESH, LOGOUT):
        answer = browser.actor.post(path, headers={**FROM_THE_APP, **planted})
        assert get_status_and_code(answer) == (400, "ambiguous_refresh_token")
    assert list_session_states(browser.actor.service) == before


def test_other_cookie_names_are_ignored(browser):
    """With TLS, a sibling site may have set a cookie without the prefix."""
    token = browser.cookies.pop(NAME)
    for name in (
        "doorward-refresh",
        "__host-doorward-refresh",
        "__Secure-doorward-refresh",
        "refresh_token",
    ):
        browser.cookies = {name: token}
        assert browser.refresh().status_code == 422
        assert browser.post(LOGOUT).status_code == 401


# Logout.


def test_logout_by_access_token_clears_the_cookie(browser):
    browser.headers = {}  # the access token needs no cookie, so the cookie is not checked
    answer = browser.post(LOGOUT, token=browser.access)
    assert answer.status_code == 204
    assert browser.cookies == {}
    assert not browser.is_accepted()


def test_cookie_logs_out_when_the_access_token_expired(browser):
    browser.actor.service.clock.push(minutes=10)
    answer = browser.post(LOGOUT, token=browser.access)
    assert answer.status_code == 204
    assert browser.cookies == {}
    assert [status for _, _, status in list_session_states(browser.actor.service)] == ["logged_out"]


def test_the_access_token_decides_which_session_ends(browser):
    other_client = browser.actor.from_another_address()
    other_client.login()
    assert browser.post(LOGOUT, token=other_client.access).status_code == 204
    assert browser.cookies == {}
    assert browser.is_accepted()
    assert other_client.whoami().status_code == 401


def test_second_logout_clears_the_cookie(browser):
    kept = dict(browser.cookies)
    assert browser.post(LOGOUT).status_code == 204
    browser.cookies = kept
    assert browser.post(LOGOUT).status_code == 401
    assert browser.cookies == {}


# Other routes.


def test_no_other_route_reads_the_cookie(browser):
    service = browser.actor.service
    before, checked = list_session_states(service), 0
    for name, method, path in list_routes(service):
        if name.endswith((LOGIN, REFRESH, LOGOUT)):
            continue
        answers = [
            browser.actor.call(method, path, json={}, headers={**FROM_THE_APP, **extra})
            for extra in (
                {},
                {
                    "Cookie": f"{NAME}={browser.cookies[NAME]}; doorward-refresh={browser.cookies[NAME]}"
                },
            )
        ]
        without, with_cookie = (
            (answer.status_code, re.sub(r'"(request_id|registration)":"\w+"', "", answer.text))
            for answer in answers
        )
        assert with_cookie == without, name
        assert "Set-Cookie" not in answers[1].headers, name
        checked += 1
    assert checked > 50
    assert list_session_states(service) == before
    assert browser.post("/v1/logout-all").status_code == 401
    assert browser.refresh().status_code == 200


def test_cors_credentials_are_allowed_only_on_cookie_routes(browser):
    actor = browser.actor
    asks = {
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type,x-requested-with",
    }
    for _, method, path in list_routes(actor.service):
        for origin in (APP, "https://evil.example", "null", OURS):
            sent = {"Origin": origin}
            answers = [
                actor.call("OPTIONS", path, headers={**sent, **asks}),
                actor.call(method, path, json={}, headers=sent),
            ]
            expected = "true" if origin == APP and path in {LOGIN, REFRESH, LOGOUT} else None
            assert {
                answer.headers.get("Access-Control-Allow-Credentials") for answer in answers
            } == {expected}, path
    preflight = actor.call("OPTIONS", REFRESH, headers={"Origin": APP, **asks})
    assert "x-requested-with" in preflight.headers["Access-Control-Allow-Headers"].lower().split(
        ", "
    )


def test_failed_commit_of_a_refresh_keeps_the_cookie(service):
    browser = Browser(
        service.actor().sign_up(), headers={**FROM_THE_APP, "Origin": service.settings.public_url}
    )
    browser.login()
    kept = dict(browser.cookies)
    with fail_commits(service, "sessions", "UPDATE"):
        for answer in (browser.refresh(), browser.post(LOGOUT)):
            assert answer.status_code in {500, 503}
            assert "Set-Cookie" not in answer.headers
    assert browser.cookies == kept
    assert browser.refresh().status_code == 200


def test_openapi_document_describes_the_cookie_and_the_header(https):
    document = https.actor().get("/openapi.json").json
    for path, names in {
        LOGIN: {"X-Requested-With"},
        REFRESH: {"X-Requested-With", NAME},
        LOGOUT: {"X-Requested-With", NAME},
    }.items():
        operation = document["paths"][path]["post"]
        assert {parameter["name"] for parameter in operation["parameters"]} == names
        assert "cookie_not_allowed" in operation["responses"]["403"]["description"]
    for path in (LOGIN, REFRESH):
        assert "Set-Cookie" in document["paths"][path]["post"]["responses"]["200"]["headers"]
    changed = document["components"]["schemas"]["Changed"]
    assert "refresh_token" in changed["required"]
