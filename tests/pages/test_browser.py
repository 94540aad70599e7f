"""The pages in Chromium, mostly without JavaScript.

The tests are few and long because starting a browser takes seconds.
"""

from __future__ import annotations

import http.server
import json
import os
import re
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

import pytest
from playwright.sync_api import expect

from tests.actors import PASSWORD
from tests.clients import npm
from tests.pages.gallery import (
    OTHER,
    WRONG,
    claim,
    enter_code,
    get_path,
    poll,
    set_password,
    sign_in,
    submit,
    visit_pages,
)
from tests.pages.site import MISSING, Site, find_chromium, open_browser

WCAG = {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}
LOOKS = [("light", 320), ("dark", 1280)]  # each scheme and each width once, because axe is slow
RUN = "only => axe.run(document, {runOnly: only, resultTypes: ['violations']})"
FOCUSED = """[document.activeElement.id || document.activeElement.form?.getAttribute("action"),
    getComputedStyle(document.activeElement).outlineStyle]"""
CONTROLS = "button, .button, input:not([type=hidden]):not([hidden]), nav a"
SMALL = f"[...document.querySelectorAll('{CONTROLS}')].filter(one => one.getBoundingClientRect().height < 44).map(one => one.outerHTML)"

# The device may poll before the page is loaded. The page then shows the session.
APPROVED = re.compile("approved|live")


expect.set_options(timeout=30_000)  # on a busy machine


@pytest.fixture(scope="module")
def chromium():
    if find_chromium() is None:
        assert os.environ.get("CI") != "true", MISSING
        pytest.skip(MISSING)
    with open_browser() as started:
        yield started


@pytest.fixture
def site(sqlite_url):
    served = Site(sqlite_url)
    yield served
    served.close()


@pytest.fixture
def open_page(chromium, site):
    """Open pages with separate cookies, without JavaScript unless requested."""
    contexts = []

    def open_one(**options):
        contexts.append(
            chromium.new_context(
                **{
                    "java_script_enabled": False,
                    "viewport": {"width": 390, "height": 844},
                    **options,
                }
            )
        )
        page = contexts[-1].new_page()
        page.set_default_timeout(30_000)
        return page

    yield open_one
    for context in contexts:
        context.close()


class Poller(threading.Thread):
    """A machine that polls until its device login is decided."""

    def __init__(self, site: Site, device_login: dict) -> None:
        super().__init__(daemon=True)
        self.url, self.form = (
            f"{site.url}/oauth/token",
            urllib.parse.urlencode(poll(device_login["device_code"])).encode(),
        )
        self.answers: list[dict] = []
        self.start()

    def run(self) -> None:
        end = time.monotonic() + 60
        while time.monotonic() < end:
            try:
                with urllib.request.urlopen(self.url, self.form, timeout=10) as answer:
                    self.answers.append(json.load(answer))
                    return
            except urllib.error.HTTPError as error:
                self.answers.append(json.load(error))
            except OSError:  # the test has ended
                return
            if self.answers[-1]["error"] not in {"authorization_pending", "slow_down"}:
                return
            time.sleep(0.5)

    def wait_for_two_polls(self) -> None:
        """Wait for two more responses, so that everything done before has taken effect."""
        seen, end = len(self.answers), time.monotonic() + 20
        while len(self.answers) < seen + 2 and self.is_alive():
            assert time.monotonic() < end
            time.sleep(0.05)

    def answer(self) -> dict:
        self.join(30)
        assert not self.is_alive()
        return self.answers[-1]


def expect_state(page, state) -> None:
    """Expect the page of a device login in this state."""
    expect(page.get_by_role("heading", level=1)).to_have_attribute("data-state", state)


def expect_page(page, name: str) -> None:
    expect(page.locator("body")).to_have_attribute("data-page", name)


def expect_problem(page, code: str) -> None:
    expect(page.locator("[data-problem]")).to_have_attribute("data-problem", code)


def expect_no_access(site, page, name, request, device_login):
    """Expect that another user with the same link sees what an unknown link shows."""
    page.goto(request)
    sign_in(page, name, PASSWORD)
    expect_problem(page, "not_found")
    nothing = page.locator("main").inner_text()
    page.goto(f"{site.url}/login/requests/ses_0000000000000000000000")
    assert page.locator("main").inner_text() == nothing
    page.goto(f"{site.url}/login/activate")
    enter_code(page, device_login["user_code"])
    expect_problem(page, "unknown_user_code")


def test_device_is_approved_another_denied_and_neither_is_public(site, open_page):
    ann = site.sign_up_user("ann")
    site.sign_up_user("bob")
    device_login = site.start_device_login()
    poller = Poller(site, device_login)
    page = open_page()

    # A link only leads to the sign-in page and fills in the code.
    page.goto(device_login["verification_uri_complete"])
    assert get_path(page) == "/login"
    sign_in(page, "ann", WRONG)
    expect_problem(page, "invalid_credentials")
    sign_in(page, "ann", PASSWORD)
    expect(page.locator("#user_code")).to_have_value(device_login["user_code"])
    for _ in range(2):
        page.reload()
    poller.wait_for_two_polls()
    assert {answer["error"] for answer in poller.answers} <= {"authorization_pending", "slow_down"}
    assert site.service.scalar("SELECT state FROM login_sessions") == "pending"

    # The page shows the request, and nothing is decided yet.
    submit(page)
    seen = page.locator("main").inner_text()
    for words in (
        "Nightly backup",
        "rack-7",
        "Backup of Tuesday",
        "203.0.113.7",
        "backup/2.1",
        device_login["check_phrase"],
        device_login["user_code"],
    ):
        assert words in seen
    request = page.url
    page.reload()
    poller.wait_for_two_polls()
    assert poller.is_alive()

    expect_no_access(site, open_page(), "bob", request, device_login)
    assert poller.is_alive()

    submit(page, "/approve")
    expect_state(page, APPROVED)
    tokens = poller.answer()
    assert tokens["session_id"] == device_login["session_id"]
    assert ann.whoami(tokens["access_token"]).json["username"] == "ann"
    page.reload()
    expect_state(page, "live")

    second = claim(site, page, client_name="Somebody", scope="orders:read")
    poller = Poller(site, second)
    expect(page.locator("main")).to_contain_text("orders:read")
    poller.wait_for_two_polls()
    submit(page, "/deny")
    expect_state(page, "denied")
    assert poller.answer() == {
        "error": "access_denied",
        "error_description": poller.answers[-1]["error_description"],
    }

    # The machine is listed, and its session is revoked from there.
    page.goto(f"{site.url}/login/sessions")
    machine = page.get_by_role("listitem").filter(has_text="Nightly backup on rack-7")
    expect(machine.locator("[data-approved]")).to_have_count(1)
    machine.locator('form[action$="/end"] button').click()
    expect(page.get_by_role("listitem").filter(has_text="Nightly backup")).to_have_count(0)
    assert ann.whoami(tokens["access_token"]).status_code == 401

    submit(page, "/login/out")
    expect_page(page, "signed_out")
    page.goto(f"{site.url}/login/sessions")
    assert get_path(page) == "/login"


def test_keyboard_only_in_german_with_reauthentication(site, open_page):
    site.sign_up_user("ann")
    page = open_page(locale="de-AT")
    device_login = site.start_device_login()
    poller = Poller(site, device_login)

    def focus(element: str) -> None:
        """Press Tab until an element, or a button of a form, has a visible focus."""
        for _ in range(12):
            focused, outline = page.evaluate(FOCUSED)
            if focused and focused.endswith(element):
                assert outline == "solid"
                return
            page.keyboard.press("Tab")
        raise AssertionError(f"{element} cannot be reached")

    def type_into(element: str, text: str) -> None:
        focus(element)
        page.keyboard.type(text)

    page.goto(f"{site.url}/login/activate")
    expect(page.locator("html")).to_have_attribute("lang", "de")
    expect_page(page, "login")
    type_into("username", "ann")
    type_into("password", PASSWORD)
    page.keyboard.press("Enter")
    expect_page(page, "activate")
    type_into("user_code", device_login["user_code"].lower().replace("-", " "))
    page.keyboard.press("Enter")
    expect_state(page, "claimed")

    site.service.clock.push(minutes=6)
    focus("/approve")
    page.keyboard.press("Enter")
    expect_page(page, "reauthenticate")
    before = page.context.cookies()[0]["value"]
    type_into("password", PASSWORD)
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_contain_text(device_login["user_code"])
    assert page.context.cookies()[0]["value"] != before
    focus("/approve")
    page.keyboard.press("Enter")
    expect_state(page, APPROVED)
    assert poller.answer()["token_type"] == "Bearer"

    # The browser scrolls to the reason and focuses the invalid field.
    page.goto(f"{site.url}/login/sessions")
    for field, typed in (("old", WRONG), ("new", OTHER), ("again", OTHER)):
        page.locator(f"#{field}").fill(typed)
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_be_in_viewport()
    expect(page.locator("#old")).to_be_focused()
    assert page.title().startswith("Fehler: ")
    page.goto(f"{site.url}/login/sessions")
    focus("/login/out")
    page.keyboard.press("Enter")
    expect_page(page, "signed_out")


def test_forgotten_password_is_reset_by_the_emailed_link(site, open_page):
    ann = site.sign_up_user("ann")
    ann.login()
    page = open_page()
    page.goto(f"{site.url}/login/sessions")
    page.locator('a[href="/login/forgot"]').click()
    page.locator("#username").fill("Ann@example.org")
    submit(page)
    expect_page(page, "forgot_sent")
    link = next(mail for mail in site.service.mailbox(ann.email) if "/reset/" in mail["text"])[
        "links"
    ][0]
    page.goto(link)
    page.reload()
    assert ann.whoami().status_code == 200, "opening the link changed nothing"
    set_password(page, OTHER, "another sentence of some birds")
    expect_problem(page, "password_mismatch")
    set_password(page, OTHER, OTHER)
    assert ann.whoami().status_code == 401
    page.locator('a[href="/login"]').click()
    sign_in(page, "ann", PASSWORD)
    expect(page.get_by_role("alert")).to_be_visible()
    sign_in(page, "ann", OTHER)
    expect_page(page, "sessions")
    page.goto(link)
    expect_problem(page, "invalid_token")
    page.locator('a[href="/login/forgot"]').click()
    expect_page(page, "forgot")


@pytest.fixture
def evil_port():
    """A server of foreign pages under any host name. The path is the content of the page."""

    class Evil(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(urllib.parse.unquote(self.path[1:]).encode())

        def log_message(self, *_) -> None:
            """Keep the output quiet."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Evil)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


def test_form_on_another_origin_has_no_effect(site, open_page, evil_port):
    ann = site.sign_up_user("ann")
    page = open_page(java_script_enabled=True)
    page.goto(f"{site.url}/login")
    sign_in(page, "ann", PASSWORD)
    device_login = claim(site, page)
    at = f"/login/requests/{device_login['session_id']}"
    code = {"user_code": device_login["user_code"]}
    attacks = [
        (f"{at}/approve", code),
        (f"{at}/deny", {}),
        ("/login/sessions/end-all", {}),
        ("/login/activate", code),
        ("/login/out", {}),
    ]
    attacks += [
        ("/login", {"username": "mallory", "password": PASSWORD}),
        ("/login/password", {"old": PASSWORD, "new": OTHER, "again": OTHER}),
    ]
    # Another site gets no cookie, so it could only try to sign the user in. Another port of this
    # host does get the cookie.
    for host, tried in (("localhost", [attacks[0], attacks[-2]]), ("127.0.0.1", attacks)):
        for path, fields in tried:
            for policy in ("origin", "no-referrer") if path == attacks[0][0] else ("origin",):
                inputs = "".join(
                    f'<input type="hidden" name="{name}" value="{value}">'
                    for name, value in fields.items()
                )
                form = f'<meta name="referrer" content="{policy}"><form method="post" action="{site.url}{path}">{inputs}<button>win</button></form>'
                page.goto(f"http://{host}:{evil_port}/{urllib.parse.quote(form)}")
                with page.expect_navigation() as sent:
                    page.locator("button").click()
                assert sent.value.status == 403
                headers = sent.value.request.all_headers()
                assert headers["sec-fetch-site"] == (
                    "cross-site" if host == "localhost" else "same-site"
                )
                assert ("doorward=" in headers.get("cookie", "")) is (host == "127.0.0.1")
                expect_problem(page, "foreign_page")
    # In a foreign frame, the pages show nothing to click.
    page.goto(
        f"http://127.0.0.1:{evil_port}/"
        + urllib.parse.quote(f'<iframe src="{site.url}{at}"></iframe>')
    )
    assert page.frames[-1].locator("button").count() == 0
    page.goto(f"{site.url}{at}?{urllib.parse.urlencode(code)}")
    submit(page, "/approve")
    expect_state(page, "approved")
    assert ann.login().status_code == 200


def test_axe_finds_no_violation_on_any_page(site, open_page):
    try:
        axe = (npm.install_packages() / "node_modules" / "axe-core" / "axe.min.js").read_text()
    except npm.NoRegistry as missing:
        pytest.skip(str(missing))
    page = open_page(java_script_enabled=True)
    console_errors, found, names = [], {}, []
    page.on(
        "console",
        lambda message: console_errors.append(message.text) if message.type == "error" else None,
    )
    for name in visit_pages(site, page):
        names.append(name)
        page.wait_for_load_state()  # sizes are final once the stylesheet is loaded
        page.evaluate(axe)
        for scheme, width in LOOKS:
            page.emulate_media(color_scheme=scheme)
            page.set_viewport_size({"width": width, "height": 800})
            violations = page.evaluate(RUN, WCAG)["violations"]
            if violations:
                found[name, scheme, width] = [
                    (one["id"], [node["html"] for node in one["nodes"]]) for one in violations
                ]
            assert page.evaluate("document.documentElement.scrollWidth") <= width, (
                f"{name} does not fit into {width} px"
            )
        assert page.evaluate(SMALL) == [], f"{name}: lower than 44 px"
    assert found == {}
    assert len(names) == len(set(names)) > 30
    assert [
        text for text in console_errors if not re.search(r"status of (4\d\d|503)", text)
    ] == [], "the content security policy was violated"
    page.evaluate("document.querySelector('main').append(document.createElement('img'))")
    assert [one["id"] for one in page.evaluate(RUN, WCAG)["violations"]] == ["image-alt"], (
        "axe finds a planted violation"
    )
