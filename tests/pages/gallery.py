"""Every page there is, one after the other, as a browser comes to see it. Looked at by axe, and drawn for the docs."""

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


def every_page(site: Site, page: Page) -> Iterator[str]:
    """The name of each page, while the browser shows it."""
    yield from from_mail(site, page)
    ann = site.person("ann")
    yield from signing_in(site, page, ann)
    yield from deciding(site, page)
    yield from looking_after(site, page, ann)
    yield from password_that_must_change(site, page)


def from_mail(site: Site, page: Page) -> Iterator[str]:
    pat = site.service.actor("pat")
    pat.register()
    link = pat.mail()["links"][0]
    page.goto(link)
    yield "confirm"
    page.get_by_label("Password").fill("password20242024")
    send(page, "Open the account")
    yield "confirm-refused"
    page.get_by_label("Password").fill(PASSWORD)
    send(page, "Open the account")
    yield "confirmed"
    page.goto(link)
    yield "link-used"
    page.goto(site.url + "/login")
    page.get_by_role("link", name="Forgot your password?").click()
    yield "forgot"
    page.get_by_label("Username or email address").fill("pat")
    send(page, "Send the link")
    yield "forgot-sent"
    page.goto(site.url + "/reset/" + pat.get_reset_token())
    yield "reset"
    set_password(page, OTHER, "another sentence of some birds")
    yield "reset-refused"
    set_password(page, OTHER, OTHER)
    yield "password-set"


def signing_in(site: Site, page: Page, ann: Actor) -> Iterator[str]:
    page.goto(site.url + "/login")
    yield "sign-in"
    sign_in(page, "ann", "not her password at all")
    yield "sign-in-refused"
    ann.from_another_address(agent="Mozilla/5.0 (X11; Linux x86_64) Firefox/141.0").login(
        remember_device=True, device_name="Desk"
    )
    ann.from_another_address(agent="Mozilla/5.0 (Android 16) Firefox/141.0").login(
        device_name="Phone"
    )
    sign_in(page, "ann", PASSWORD)


def deciding(site: Site, page: Page) -> Iterator[str]:
    asked = site.machine(scope=None)
    page.goto(site.url + "/login/activate")
    yield "activate"
    page.goto(asked["verification_uri_complete"])
    yield "activate-by-link"
    type_code(page, "BCDF-GHJK")
    yield "activate-unknown-code"
    type_code(page, asked["user_code"])
    yield "request"
    at = page.url
    page.goto(at.partition("?")[0])
    yield "request-without-code"
    page.get_by_label("The code").fill("BCDF-GHJK")
    send(page, "Approve")
    yield "request-wrong-code"
    site.service.clock.push(minutes=6)
    page.goto(at)
    yield "request-later"
    page.get_by_role("link", name="Type the password").click()
    yield "password-again"
    page.get_by_label("Password").fill("not her password at all")
    send(page, "Go on")
    yield "password-again-refused"
    page.get_by_label("Password").fill(PASSWORD)
    send(page, "Go on")
    send(page, "Approve")
    yield "approved"
    site.service.actor("machine").call("POST", "/oauth/token", data=poll(asked["device_code"]))
    page.reload()
    yield "let-in"
    for answer, name in (("Deny", "denied"), ("This was not me", "not-me")):
        look_at(site, page, scope="orders:read orders:write")
        send(page, answer)
        yield name
    asked = look_at(site, page)
    site.service.actor("machine").post(
        "/v1/login-sessions/cancel", {"device_code": asked["device_code"]}
    )
    stale = page.locator("button", has_text="Deny")
    stale.click()
    yield "too-late-to-decide"
    page.goto(f"{site.url}/login/requests/{asked['session_id']}")
    yield "cancelled"
    asked = look_at(site, page)
    site.service.clock.push(minutes=11)
    page.goto(f"{site.url}/login/requests/{asked['session_id']}")
    yield "expired"
    page.goto(f"{site.url}/login/requests/ses_0000000000000000000000")
    yield "nothing-here"


def looking_after(site: Site, page: Page, ann: Actor) -> Iterator[str]:
    page.goto(site.url + "/login/sessions")
    yield "sessions"
    change_password(page, "not her password at all", OTHER)
    yield "sessions-refused"
    change_password(page, PASSWORD, "password20242024")
    yield "sessions-weak"
    page.get_by_role("listitem").filter(has_text="Phone").get_by_role(
        "button", name="This was not me"
    ).click()
    yield "session-reported"
    page.get_by_role("link", name="Change the password").click()
    change_password(page, PASSWORD, OTHER)
    ann.password = OTHER
    yield "password-changed"
    send(page, "Sign out")
    yield "signed-out"


def password_that_must_change(site: Site, page: Page) -> Iterator[str]:
    site.person("bob")
    with site.service.open_database() as db:
        db.execute(
            text("UPDATE accounts SET must_change_since = created_at WHERE username = 'bob'")
        )
    page.goto(site.url + "/login")
    sign_in(page, "bob", PASSWORD)
    yield "must-change"
    set_password(page, "password20242024", "password20242024")
    yield "must-change-refused"


# -- what a person does on them ---------------------------------------------------------------------------------------


def send(page: Page, button: str) -> None:
    page.get_by_role("button", name=button, exact=True).click()


def sign_in(page: Page, name: str, password: str) -> None:
    page.get_by_label("Username or email address").fill(name)
    page.get_by_label("Password").fill(password)
    send(page, "Sign in")


def type_code(page: Page, code: str) -> None:
    page.get_by_label("The code").fill(code)
    send(page, "Look who asks")


def look_at(site: Site, page: Page, **changes: str) -> dict[str, str]:
    asked = site.machine(**changes)
    page.goto(site.url + "/login/activate")
    type_code(page, asked["user_code"])
    return asked


def set_password(page: Page, new: str, again: str) -> None:
    page.get_by_label("New password").fill(new)
    page.get_by_label("The same once more").fill(again)
    send(page, "Set the password")


def change_password(page: Page, old: str, new: str) -> None:
    page.get_by_label("Present password").fill(old)
    page.get_by_label("New password", exact=True).fill(new)
    page.get_by_label("The new one once more").fill(new)
    send(page, "Change the password")


def poll(device_code: str) -> dict[str, str]:
    return {
        "grant_type": "urn:ietf:params:oauth:grant-type:device_code",
        "device_code": device_code,
    }


def path_of(page: Page) -> str:
    return urlsplit(page.url).path
