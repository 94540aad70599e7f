"""Our pages in a real browser: Debian's Chromium, mostly with JavaScript switched off. Few and long stories, for a browser costs seconds."""

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
    every_page,
    look_at,
    path_of,
    poll,
    send,
    set_password,
    sign_in,
    type_code,
)
from tests.pages.site import MISSING, Site, browser, executable

WCAG = {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}
LOOKS = [
    ("light", 320),
    ("dark", 1280),
]  # each scheme and each width once: axe is what takes the time
RUN = "only => axe.run(document, {runOnly: only, resultTypes: ['violations']})"
FOCUSED = "[document.activeElement.labels?.[0]?.innerText || document.activeElement.innerText, getComputedStyle(document.activeElement).outlineStyle]"
CONTROLS = "button, .button, input:not([type=hidden]):not([hidden]), nav a"
SMALL = f"[...document.querySelectorAll('{CONTROLS}')].filter(one => one.getBoundingClientRect().height < 44).map(one => one.outerHTML)"

# Whoever waits may have asked before the page did: then it says that the device is in.
LET_IN = re.compile(
    "signed in within seconds|in the list of|in wenigen Sekunden angemeldet|in der Liste"
)


expect.set_options(timeout=30_000)  # on a busy machine


@pytest.fixture(scope="module")
def chromium():
    if executable() is None:
        assert os.environ.get("CI") != "true", MISSING
        pytest.skip(MISSING)
    with browser() as started:
        yield started


@pytest.fixture
def site(sqlite_url):
    served = Site(sqlite_url)
    yield served
    served.close()


@pytest.fixture
def open_page(chromium, site):
    """A page of somebody with cookies of his own; without JavaScript unless told otherwise."""
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
    """A machine that waits for an answer, as its code is typed somewhere else."""

    def __init__(self, site: Site, asked: dict) -> None:
        super().__init__(daemon=True)
        self.url, self.form = (
            f"{site.url}/oauth/token",
            urllib.parse.urlencode(poll(asked["device_code"])).encode(),
        )
        self.told: list[dict] = []
        self.start()

    def run(self) -> None:
        end = time.monotonic() + 60
        while time.monotonic() < end:
            try:
                with urllib.request.urlopen(self.url, self.form, timeout=10) as answer:
                    self.told.append(json.load(answer))
                    return
            except urllib.error.HTTPError as error:
                self.told.append(json.load(error))
            except OSError:  # the test is over
                return
            if self.told[-1]["error"] not in {"authorization_pending", "slow_down"}:
                return
            time.sleep(0.5)

    def asked_again(self) -> None:
        """Wait until it was answered twice more: whatever was done before had its effect."""
        seen, end = len(self.told), time.monotonic() + 20
        while len(self.told) < seen + 2 and self.is_alive():
            assert time.monotonic() < end
            time.sleep(0.05)

    def answer(self) -> dict:
        self.join(30)
        assert not self.is_alive()
        return self.told[-1]


def sees_and_decides_nothing(site, page, name, request, asked):
    """Somebody else with the same link sees what he would see if there was nothing."""
    page.goto(request)
    sign_in(page, name, PASSWORD)
    expect(page.get_by_role("heading", level=1)).to_have_text("There is nothing here")
    nothing = page.locator("main").inner_text()
    page.goto(f"{site.url}/login/requests/ses_0000000000000000000000")
    assert page.locator("main").inner_text() == nothing
    page.goto(f"{site.url}/login/activate")
    type_code(page, asked["user_code"])
    expect(page.get_by_role("alert")).to_contain_text("This code is not known")


def test_device_is_approved_another_denied_and_neither_is_public(site, open_page):
    ann = site.person("ann")
    site.person("bob")
    asked = site.machine()
    waiting = Poller(site, asked)
    page = open_page()

    # A link alone never approves: it leads to the sign-in, fills the code in, and that is all.
    page.goto(asked["verification_uri_complete"])
    assert path_of(page) == "/login"
    sign_in(page, "ann", "not her password at all")
    expect(page.get_by_role("alert")).to_contain_text("The name or the password is wrong")
    sign_in(page, "ann", PASSWORD)
    expect(page.get_by_label("The code")).to_have_value(asked["user_code"])
    for _ in range(2):
        page.reload()
    waiting.asked_again()
    assert {answer["error"] for answer in waiting.told} <= {"authorization_pending", "slow_down"}
    assert site.service.scalar("SELECT state FROM login_sessions") == "pending"

    # Who asks, from where, for what and when; and still nothing has happened.
    send(page, "Look who asks")
    seen = page.locator("main").inner_text()
    for words in (
        "Nightly backup",
        "rack-7",
        "Backup of Tuesday",
        "203.0.113.7",
        "backup/2.1",
        asked["check_phrase"],
        asked["user_code"],
        "Everything you may do",
    ):
        assert words in seen
    request = page.url
    page.reload()
    waiting.asked_again()
    assert waiting.is_alive()

    sees_and_decides_nothing(site, open_page(), "bob", request, asked)
    assert waiting.is_alive()

    send(page, "Approve")
    expect(page.get_by_role("status")).to_contain_text(LET_IN)
    tokens = waiting.answer()
    assert tokens["session_id"] == asked["session_id"]
    assert ann.whoami(tokens["access_token"]).json["username"] == "ann"
    page.reload()
    expect(page.get_by_role("heading", level=1)).to_have_text("The device is signed in")

    second = look_at(site, page, client_name="Somebody", scope="orders:read")
    waiting = Poller(site, second)
    expect(page.locator("main")).to_contain_text("orders:read")
    waiting.asked_again()
    send(page, "Deny")
    expect(page.get_by_role("heading", level=1)).to_have_text("Denied")
    assert waiting.answer() == {
        "error": "access_denied",
        "error_description": waiting.told[-1]["error_description"],
    }

    # The machine is in the list, and is ended there.
    page.goto(f"{site.url}/login/sessions")
    machine = page.get_by_role("listitem").filter(has_text="Nightly backup on rack-7")
    expect(machine).to_contain_text("Approved from another device")
    machine.get_by_role("button", name="End").click()
    expect(page.get_by_role("listitem").filter(has_text="Nightly backup")).to_have_count(0)
    assert ann.whoami(tokens["access_token"]).status_code == 401

    send(page, "Sign out")
    expect(page.get_by_role("heading", level=1)).to_have_text("You are signed out")
    page.goto(f"{site.url}/login/sessions")
    assert path_of(page) == "/login"


def test_keyboard_only_in_german_with_reauthentication(site, open_page):
    site.person("ann")
    page = open_page(locale="de-AT")
    asked = site.machine()
    waiting = Poller(site, asked)

    def until(label: str) -> None:
        """Press Tab until that is reached, where it is not already, and see that it is shown to be."""
        for _ in range(12):
            name, outline = page.evaluate(FOCUSED)
            if name == label:
                assert outline == "solid"
                return
            page.keyboard.press("Tab")
        raise AssertionError(f"{label} cannot be reached")

    def type_into(label: str, text: str) -> None:
        until(label)
        page.keyboard.type(text)

    page.goto(f"{site.url}/login/activate")
    expect(page.locator("html")).to_have_attribute("lang", "de")
    expect(page.get_by_role("heading", level=1)).to_have_text("Anmelden")
    type_into("Benutzername oder E-Mail-Adresse", "ann")
    type_into("Passwort", PASSWORD)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Ein anderes Gerät einlassen")
    type_into("Der Code, den das andere Gerät zeigt", asked["user_code"].lower().replace("-", " "))
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Dieses Gerät einlassen?")

    site.service.clock.push(minutes=6)
    until("Einlassen")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text(
        "Geben Sie Ihr Passwort noch einmal ein"
    )
    before = page.context.cookies()[0]["value"]
    type_into("Passwort", PASSWORD)
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_contain_text(asked["user_code"])
    assert page.context.cookies()[0]["value"] != before
    until("Einlassen")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_contain_text(LET_IN)
    assert waiting.answer()["token_type"] == "Bearer"

    # What was refused is where one is led to, with the reason to be read there.
    page.goto(f"{site.url}/login/sessions")
    for label, typed in (
        ("Jetziges Passwort", "not hers"),
        ("Neues Passwort", OTHER),
        ("Das neue noch einmal", OTHER),
    ):
        page.get_by_label(label, exact=True).fill(typed)
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_be_in_viewport()
    expect(page.get_by_label("Jetziges Passwort")).to_be_focused()
    assert page.title() == "Fehler: Ihre Sitzungen"
    page.goto(f"{site.url}/login/sessions")
    until("Abmelden")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Sie sind abgemeldet")


def test_forgotten_password_is_reset_by_the_emailed_link(site, open_page):
    ann = site.person("ann")
    ann.login()
    page = open_page()
    page.goto(f"{site.url}/login/sessions")
    page.get_by_role("link", name="Forgot your password?").click()
    page.get_by_label("Username or email address").fill("Ann@example.org")
    send(page, "Send the link")
    expect(page.get_by_role("status")).to_contain_text("a mail is on its way")
    link = next(mail for mail in site.service.mailbox(ann.email) if "/reset/" in mail["text"])[
        "links"
    ][0]
    page.goto(link)
    page.reload()
    assert ann.whoami().status_code == 200, "looking changed nothing"
    set_password(page, OTHER, "another sentence of some birds")
    expect(page.get_by_role("alert")).to_contain_text("not the same")
    set_password(page, OTHER, OTHER)
    assert ann.whoami().status_code == 401
    page.get_by_role("link", name="Sign in").click()
    sign_in(page, "ann", PASSWORD)
    expect(page.get_by_role("alert")).to_be_visible()
    sign_in(page, "ann", OTHER)
    expect(page.get_by_role("heading", level=1)).to_have_text("Your sessions")
    page.goto(link)
    expect(page.get_by_role("heading", level=1)).to_have_text("The link is not valid any more")
    page.get_by_role("link", name="Ask for another link").click()
    expect(page.get_by_label("Username or email address")).to_be_visible()


@pytest.fixture
def evil_port():
    """Pages of somebody else, at whatever name the browser asks for: the path is what they hold."""

    class Evil(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(urllib.parse.unquote(self.path[1:]).encode())

        def log_message(self, *_) -> None:
            """Nobody asks."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Evil)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


def test_form_on_another_origin_has_no_effect(site, open_page, evil_port):
    ann = site.person("ann")
    page = open_page(java_script_enabled=True)
    page.goto(f"{site.url}/login")
    sign_in(page, "ann", PASSWORD)
    asked = look_at(site, page)
    at = f"/login/requests/{asked['session_id']}"
    code = {"user_code": asked["user_code"]}
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
    # Another site, to which no cookie goes, so that only signing somebody in is of use to it; and another port of this one, to which it does.
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
                expect(page.get_by_role("heading", level=1)).to_have_text(
                    "This was not sent from a page of this service"
                )
    # In a frame of theirs our pages show nothing that could be clicked.
    page.goto(
        f"http://127.0.0.1:{evil_port}/"
        + urllib.parse.quote(f'<iframe src="{site.url}{at}"></iframe>')
    )
    assert page.frames[-1].locator("button").count() == 0
    page.goto(f"{site.url}{at}?{urllib.parse.urlencode(code)}")
    send(page, "Approve")
    expect(page.get_by_role("heading", level=1)).to_have_text("Approved")
    assert ann.login().status_code == 200


def test_axe_finds_no_violation_on_any_page(site, open_page):
    try:
        axe = (npm.folder() / "node_modules" / "axe-core" / "axe.min.js").read_text()
    except npm.NoRegistry as missing:
        pytest.skip(str(missing))
    page = open_page(java_script_enabled=True)
    said, found, names = [], {}, []
    page.on(
        "console", lambda message: said.append(message.text) if message.type == "error" else None
    )
    for name in every_page(site, page):
        names.append(name)
        page.wait_for_load_state()  # a page without its styles yet has other sizes
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
    assert [text for text in said if not re.search(r"status of (4\d\d|503)", text)] == [], (
        "the policy of the page was broken"
    )
    page.evaluate("document.querySelector('main').append(document.createElement('img'))")
    assert [one["id"] for one in page.evaluate(RUN, WCAG)["violations"]] == ["image-alt"], (
        "axe is awake"
    )
