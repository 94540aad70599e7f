"""Every page in turn, as a browser gets to see it. Checked by axe and drawn for the documentation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from sqlalchemy import text

from tests.actors import PASSWORD

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.actors import Actor
    from tests.pages.site import Site

OTHER = "another sentence of some words"
WRONG = "not her password at all"
COMMON = "password20242024"
UNKNOWN_CODE = "BCDF-GHJK"


def visit_pages(site: Site, page: Page) -> Iterator[str]:
    """Yield the name of each page while the browser shows it."""
    yield from visit_email_links(site, page)
    ann = site.sign_up_user("ann")
    yield from visit_sign_in(site, page, ann)
    yield from visit_device_logins(site, page)
    yield from visit_sessions(site, page, ann)
    yield from visit_forced_password_change(site, page)


def visit_email_links(site: Site, page: Page) -> Iterator[str]:
    pat = site.service.actor("pat")
    pat.register()
    link = pat.mail()["links"][0]
    page.goto(link)
    yield "confirm"
    page.locator("#password").fill(COMMON)
    submit(page)
    yield "confirm-refused"
    page.locator("#password").fill(PASSWORD)
    submit(page)
    yield "confirmed"
    page.goto(link)
    yield "link-used"
    page.goto(site.url + "/login")
    page.locator('a[href="/login/forgot"]').click()
    yield "forgot"
    page.locator("#username").fill("pat")
    submit(page)
    yield "forgot-sent"
    page.goto(site.url + "/reset/" + pat.get_reset_token())
    yield "reset"
    set_password(page, OTHER, "another sentence of some birds")
    yield "reset-refused"
    set_password(page, OTHER, OTHER)
    yield "password-set"


def visit_sign_in(site: Site, page: Page, ann: Actor) -> Iterator[str]:
    page.goto(site.url + "/login")
    yield "sign-in"
    sign_in(page, "ann", WRONG)
    yield "sign-in-refused"
    ann.from_another_address(agent="Mozilla/5.0 (X11; Linux x86_64) Firefox/141.0").login(
        remember_device=True, device_name="Desk"
    )
    ann.from_another_address(agent="Mozilla/5.0 (Android 16) Firefox/141.0").login(
        device_name="Phone"
    )
    sign_in(page, "ann", PASSWORD)


def visit_device_logins(site: Site, page: Page) -> Iterator[str]:
    device_login = site.start_device_login(scope=None)
    page.goto(site.url + "/login/activate")
    yield "activate"
    page.goto(device_login["verification_uri_complete"])
    yield "activate-by-link"
    enter_code(page, UNKNOWN_CODE)
    yield "activate-unknown-code"
    enter_code(page, device_login["user_code"])
    yield "request"
    at = page.url
    page.goto(at.partition("?")[0])
    yield "request-without-code"
    page.locator("#user_code").fill(UNKNOWN_CODE)
    submit(page, "/approve")
    yield "request-wrong-code"
    site.service.clock.push(minutes=6)
    page.goto(at)
    yield "request-later"
    page.locator("#reauthenticate").click()
    yield "reauthenticate"
    page.locator("#password").fill(WRONG)
    submit(page)
    yield "reauthenticate-refused"
    page.locator("#password").fill(PASSWORD)
    submit(page)
    submit(page, "/approve")
    yield "approved"
    site.service.actor("machine").call(
        "POST", "/oauth/token", data=poll(device_login["device_code"])
    )
    page.reload()
    yield "connected"
    for decision, name in (("/deny", "denied"), ("/suspicious", "reported")):
        claim(site, page, scope="orders:read orders:write")
        submit(page, decision)
        yield name
    device_login = claim(site, page)
    site.service.actor("machine").post(
        "/v1/login-sessions/cancel", {"device_code": device_login["device_code"]}
    )
    submit(page, "/deny")
    yield "too-late-to-decide"
    page.goto(f"{site.url}/login/requests/{device_login['session_id']}")
    yield "canceled"
    device_login = claim(site, page)
    site.service.clock.push(minutes=11)
    page.goto(f"{site.url}/login/requests/{device_login['session_id']}")
    yield "expired"
    page.goto(f"{site.url}/login/requests/ses_0000000000000000000000")
    yield "not-found"


def visit_sessions(site: Site, page: Page, ann: Actor) -> Iterator[str]:
    page.goto(site.url + "/login/sessions")
    yield "sessions"
    change_password(page, WRONG, OTHER)
    yield "sessions-refused"
    change_password(page, PASSWORD, COMMON)
    yield "sessions-weak"
    phone = page.get_by_role("listitem").filter(has_text="Phone")
    phone.locator('form[action$="/suspicious"] button').click()
    yield "session-reported"
    page.locator('a[href="/login/sessions#password"]').click()
    change_password(page, PASSWORD, OTHER)
    ann.password = OTHER
    yield "password-changed"
    submit(page, "/login/out")
    yield "signed-out"


def visit_forced_password_change(site: Site, page: Page) -> Iterator[str]:
    site.sign_up_user("bob")
    with site.service.open_database() as db:
        db.execute(
            text("UPDATE accounts SET must_change_since = created_at WHERE username = 'bob'")
        )
    page.goto(site.url + "/login")
    sign_in(page, "bob", PASSWORD)
    yield "must-change"
    set_password(page, COMMON, COMMON)
    yield "must-change-refused"


# Steps of a user.


def submit(page: Page, action: str | None = None) -> None:
    """Send the form with this action, or the only form of the page's main part."""
    form = f'form[action$="{action}"]' if action else "main form"
    page.locator(f"{form} button").click()


def sign_in(page: Page, name: str, password: str) -> None:
    page.locator("#username").fill(name)
    page.locator("#password").fill(password)
    submit(page)


def enter_code(page: Page, code: str) -> None:
    page.locator("#user_code").fill(code)
    submit(page)


def claim(site: Site, page: Page, **changes: str) -> dict[str, str]:
    """Start a device login and claim it in the browser."""
    device_login = site.start_device_login(**changes)
    page.goto(site.url + "/login/activate")
    enter_code(page, device_login["user_code"])
    return device_login


def set_password(page: Page, new: str, again: str) -> None:
    page.locator("#password").fill(new)
    page.locator("#again").fill(again)
    submit(page)


def change_password(page: Page, old: str, new: str) -> None:
    page.locator("#old").fill(old)
    page.locator("#new").fill(new)
    page.locator("#again").fill(new)
    submit(page, "/login/password")


def poll(device_code: str) -> dict[str, str]:
    return {
        "grant_type": "urn:ietf:params:oauth:grant-type:device_code",
        "device_code": device_code,
    }


def get_path(page: Page) -> str:
    return urlsplit(page.url).path
