"""The code of docs/browsers.md in Chromium, from a frontend, a sibling and another site."""

from __future__ import annotations

import http.server
import os
import re
import threading
from pathlib import Path

import pytest

from tests.actors import PASSWORD
from tests.pages.site import MISSING, Site, find_chromium, open_browser

PAGE = Path(__file__).parents[2] / "docs" / "browsers.md"
# A foreign page tries the same call as the frontend.
TRIED = """async url => { try { return (await fetch(url + "/v1/token/refresh", {method: "POST", credentials: "include",
    headers: {"Content-Type": "application/json", "X-Requested-With": "app"}, body: "{}"})).status } catch { return "blocked" } }"""
FORM = "url => { const form = document.createElement('form'); form.method = 'POST'; form.action = url; document.body.append(form); form.submit() }"


class Blank(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>a frontend</title>")

    def log_message(self, *_: object) -> None:
        """Keep the output quiet."""


@pytest.fixture
def ports():
    """Ports of the frontend and of a sibling. Another port is another origin on the same site."""
    servers = [http.server.ThreadingHTTPServer(("127.0.0.1", 0), Blank) for _ in range(2)]
    for server in servers:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    yield [server.server_address[1] for server in servers]
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def site(sqlite_url, ports):
    served = Site(
        sqlite_url,
        cors_origins=(f"http://127.0.0.1:{ports[0]}", f"http://localhost:{ports[0]}"),
        limit_refresh="1000/minute",
    )
    yield served
    served.close()


@pytest.fixture
def context():
    if find_chromium() is None:
        assert os.environ.get("CI") != "true", MISSING
        pytest.skip(MISSING)
    with open_browser() as chromium:
        yield chromium.new_context()


def open_page(context, url: str):
    page = context.new_page()
    page.set_default_timeout(30_000)
    page.goto(url)
    return page


def load_frontend_code(page, site: Site):
    """Load the frontend code of the documentation into the page."""
    code = re.search(r"```js\n(.*?)```", PAGE.read_text(), re.DOTALL)[1]
    assert "https://auth.example.org" in code
    page.add_script_tag(content=code.replace("https://auth.example.org", site.url))
    return page


def test_frontend_signs_in_survives_a_reload_and_signs_out(context, site, ports):
    ann = site.sign_up_user("ann")
    frontend = load_frontend_code(open_page(context, f"http://127.0.0.1:{ports[0]}/"), site)
    assert frontend.evaluate("refresh()") is False
    frontend.evaluate("password => signIn('ann', password)", PASSWORD)
    first = frontend.evaluate("access")
    assert ann.whoami(first).status_code == 200
    (cookie,) = context.cookies()
    assert (cookie["name"], cookie["httpOnly"], cookie["sameSite"], cookie["path"]) == (
        "doorward-refresh",
        True,
        "Strict",
        "/",
    )
    assert frontend.evaluate("document.cookie") == ""

    frontend.reload()
    load_frontend_code(frontend, site)
    assert frontend.evaluate("access") is None
    assert frontend.evaluate("refresh()") is True
    assert context.cookies()[0]["value"] != cookie["value"]
    kept = context.cookies()

    sibling = open_page(context, f"http://127.0.0.1:{ports[1]}/")
    # An allowed origin on another site. The browser does not send the cookie.
    stranger = open_page(context, f"http://localhost:{ports[0]}/")
    assert [sibling.evaluate(TRIED, site.url), stranger.evaluate(TRIED, site.url)] == [
        "blocked",
        422,
    ]
    for page, code in ((sibling, "cookie_not_allowed"), (stranger, "unauthenticated")):
        with page.expect_navigation():
            page.evaluate(FORM, f"{site.url}/v1/logout")
        assert code in page.inner_text("body")
    assert context.cookies() == kept
    assert site.service.scalar("SELECT rt_counter FROM sessions") == 1

    assert frontend.evaluate("refresh()") is True
    last = frontend.evaluate("access")
    frontend.evaluate("signOut()")
    assert context.cookies() == []
    assert ann.whoami(last).status_code == 401
    assert frontend.evaluate("refresh()") is False
