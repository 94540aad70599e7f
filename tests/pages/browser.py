"""A browser without JavaScript: it keeps cookies and sends the origin of its forms."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

from tests.actors import PASSWORD, Actor, Service

ORIGIN = "http://127.0.0.1:8080"
SAME_ORIGIN_HEADERS = {"Origin": ORIGIN, "Sec-Fetch-Site": "same-origin"}


class Page(HTMLParser):
    """A parsed page: its tags, text, forms and data attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data

    def find_all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    def find_value(self, attribute: str) -> str | None:
        """The value of the first such attribute, or None."""
        return next((found[attribute] for _, found in self.tags if attribute in found), None)

    @property
    def name(self) -> str | None:
        return self.find_value("data-page")

    @property
    def language(self) -> str | None:
        return self.find_value("lang")

    @property
    def problem(self) -> str | None:
        """The code of the problem that the page shows."""
        return self.find_value("data-problem")

    @property
    def state(self) -> str | None:
        """The state of the device login that the page shows."""
        return self.find_value("data-state")

    @property
    def actions(self) -> list[str | None]:
        return [form.get("action") for form in self.find_all("form")]

    @property
    def fields(self) -> dict[str | None, str | None]:
        return {field.get("name"): field.get("value") for field in self.find_all("input")}


class Browser:
    """A browser with its own cookies and IP address."""

    def __init__(self, service: Service, actor: Actor, **headers: str) -> None:
        self.service, self.actor, self.headers = service, actor, headers
        self.client = service.app.test_client()
        self.at = {"REMOTE_ADDR": actor.address}

    def get(self, path: str, **headers: str) -> Any:
        return self.client.get(
            path,
            headers={"User-Agent": "Browser/1", **self.headers, **headers},
            environ_base=self.at,
        )

    def post(
        self,
        path: str,
        fields: dict[str, str] | None = None,
        *,
        sent_from: dict[str, str] = SAME_ORIGIN_HEADERS,
    ) -> Any:
        headers = {"User-Agent": "Browser/1", **self.headers, **sent_from}
        return self.client.post(path, data=fields or {}, headers=headers, environ_base=self.at)

    def follow(self, path: str, **headers: str) -> Page:
        """Follow redirects and return the last page."""
        for _ in range(4):
            answer = self.get(path, **headers)
            if answer.status_code != 303:
                break
            path = answer.headers["Location"]
        self.answer = answer
        return Page(answer.text)

    def sign_in(self, **changes: str) -> Any:
        answer = self.post(
            "/login", {"username": self.actor.username, "password": self.actor.password, **changes}
        )
        assert answer.status_code == 303, answer.text
        return answer

    @property
    def cookie(self) -> str | None:
        found = self.client.get_cookie("doorward", domain="localhost")
        return found.value if found else None

    @cookie.setter
    def cookie(self, value: str) -> None:
        self.client.set_cookie("doorward", value, domain="localhost")


def sign_in_browser(
    service: Service, name: str = "ann", *, password: str = PASSWORD, **headers: str
) -> Browser:
    """A browser in which a new user is signed in."""
    browser = Browser(service, service.actor(name, password=password).sign_up(), **headers)
    browser.sign_in()
    return browser


def start_device_login(service: Service, **changes: Any) -> dict[str, Any]:
    """Start a device login on another machine."""
    answer = service.actor("machine", agent="cli/1").post(
        "/v1/login-sessions", {"client_name": "backup", "hostname": "rack-7", **changes}
    )
    assert answer.status_code == 201, answer.text
    return answer.json


def claim_device_login(browser: Browser, **changes: Any) -> tuple[str, dict[str, Any]]:
    """Start a device login and claim it. Return its page and the response to the machine."""
    device_login = start_device_login(browser.service, **changes)
    answer = browser.post("/login/activate", {"user_code": device_login["user_code"]})
    assert answer.status_code == 303, answer.text
    return answer.headers["Location"], device_login
