"""Pages for development: the mailbox and the API documentation."""

from __future__ import annotations

import json
import re

import pytest
from sqlalchemy import text

from app.settings import DocsMode, Environment
from tests.actors import PASSWORD
from tests.postgres import find_free_port

PRODUCTION = {
    "env": Environment.PRODUCTION,
    "public_url": "https://auth.example.org",
    "argon2_memory_kib": 19456,
    "argon2_time_cost": 2,
}
HOST = {"Host": "auth.example.org"}


@pytest.fixture
def production(make_service):
    """A service in production mode. Emails are queued and never sent."""

    def make(**changes):
        return make_service(
            **{**PRODUCTION, "smtp_url": f"smtp://127.0.0.1:{find_free_port()}", **changes}
        )

    return make


# The mailbox.


def test_mailbox_shows_the_latest_email_first(service):
    for name in ("ann", "bob", "eve"):
        service.actor(name).register()
    answer = service.actor().get("/dev/mailbox", headers={"Accept": "application/json"})
    assert answer.content_type == "application/json"
    assert [item["to"] for item in answer.json["items"]] == [
        "eve@example.org",
        "bob@example.org",
        "ann@example.org",
    ]
    for item in answer.json["items"]:
        assert set(item) == {
            "template",
            "language",
            "to",
            "subject",
            "text",
            "html",
            "links",
            "code",
        }
        assert (item["template"], item["language"]) == ("confirm_new", "en")
        assert item["links"][0] in item["text"]
        assert item["code"] in item["text"]


def test_mailbox_has_an_html_page(sqlite_service):
    ann = sqlite_service.actor()
    empty = ann.get("/dev/mailbox", headers={"Accept": "text/html"})
    assert (empty.status_code, "<article" in empty.text) == (200, False)
    ann.register()
    for accepts in ("text/html", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"):
        answer = ann.get("/dev/mailbox", headers={"Accept": accepts, "Accept-Language": "de"})
        assert answer.status_code == 200
        assert answer.content_type == "text/html; charset=utf-8"
        assert ann.mail()["code"] in answer.text
        assert f'href="{ann.mail()["links"][0]}"' in answer.text
        assert "<script" not in answer.text
        assert "script-src" not in answer.headers["Content-Security-Policy"]
        assert answer.headers["Cache-Control"] == "no-store"


def test_link_in_the_mailbox_works(sqlite_service):
    ann = sqlite_service.actor()
    ann.register()
    page = ann.get("/dev/mailbox", headers={"Accept": "text/html"}).text
    (path,) = set(re.findall(r'href="http://127\.0\.0\.1:8080(/confirm/[^"]+)"', page))
    assert ann.call("POST", path, data={"password": PASSWORD}).status_code == 200


def test_email_under_a_lost_secret_key_is_left_out_of_the_mailbox(make_service, database_url):
    make_service(database_url, secret_key=("a key that will be lost 0123456789 lost",)).actor(
        "ann"
    ).register()
    service = make_service(database_url, secret_key=("a key that came after it 0123456789 new",))
    with service.open_database() as db:
        db.execute(
            text("DELETE FROM signing_keys")
        )  # also encrypted under the lost key, and not part of this test
    service.actor("bob").register()
    assert [mail["to"] for mail in service.mailbox()] == ["bob@example.org"]


def test_mailbox_accepts_only_get(sqlite_service):
    for method in ("POST", "DELETE", "PUT"):
        assert sqlite_service.actor().call(method, "/dev/mailbox").status_code == 405


@pytest.mark.parametrize("accepts", ["text/html", "application/json"])
def test_no_mailbox_when_email_is_sent(make_service, accepts):
    service = make_service(smtp_url=f"smtp://127.0.0.1:{find_free_port()}")
    service.actor("ann").register()
    answer = service.actor().get("/dev/mailbox", headers={"Accept": accepts})
    assert answer.status_code == 404
    assert answer.content_type == "application/problem+json"


def test_no_mailbox_in_production(production):
    service = production()
    ann = service.actor()
    body = {"username": "ann", "email": ann.email, "name": "Ann"}
    assert ann.post("/v1/register", body, headers=HOST).status_code == 202
    assert ann.get("/dev/mailbox", headers=HOST).status_code == 404


# The API documentation.


def test_openapi_document_is_public_in_development(sqlite_service):
    ann = sqlite_service.actor()
    document = ann.get("/openapi.json")
    assert document.status_code == 200
    assert document.json["openapi"] == "3.1.0"
    assert {"/v1/register", "/v1/register/confirm", "/v1/register/resend", "/v1/login"} <= set(
        document.json["paths"]
    )
    assert "/dev/mailbox" not in document.json["paths"]
    assert json.dumps(document.json).count("secret_key") == 0


def test_docs_page_loads_everything_from_the_service(sqlite_service):
    ann = sqlite_service.actor()
    page = ann.get("/docs")
    assert page.status_code == 200
    addresses = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert any(address.endswith("swagger-ui-bundle.js") for address in addresses)
    for address in addresses:
        assert "//" not in address, "it works offline"
        assert ann.get(f"/{address}").status_code == 200, address
    assert re.findall(r"<script(?![^>]*src=)", page.text) == []
    assert "script-src 'self'" in page.headers["Content-Security-Policy"]
    assert "unsafe-eval" not in page.headers["Content-Security-Policy"]
    assert "openapi.json" in ann.get("/docs/assets/docs.js").text


@pytest.mark.parametrize(
    "name",
    [
        "..%2f__init__.py",
        "%2e%2e/docs.py",
        "../../settings.py",
        "..%5cdocs.py",
        "%2fetc%2fpasswd",
        "nothing.js",
        "",
    ],
)
def test_no_other_file_is_served(sqlite_service, name):
    answer = sqlite_service.actor().get(f"/docs/assets/{name}")
    assert answer.status_code == 404
    assert answer.content_type == "application/problem+json"
    assert sqlite_service.actor().get(f"/static/{name}").status_code == 404


@pytest.mark.parametrize("path", ["/docs", "/openapi.json", "/docs/assets/swagger-ui-bundle.js"])
def test_docs_are_off_in_production_by_default(production, path):
    assert production().actor().get(path, headers=HOST).status_code == 404
    assert production(docs=DocsMode.PUBLIC).actor().get(path, headers=HOST).status_code == 200


@pytest.mark.parametrize("path", ["/docs", "/openapi.json"])
def test_docs_can_be_off_in_development(make_service, path):
    assert make_service(docs=DocsMode.OFF).actor().get(path).status_code == 404


def test_production_accepts_only_its_own_host_name(production):
    ann = production().actor()
    assert ann.get("/v1/methods", headers=HOST).status_code == 200
    for host in ("localhost", "127.0.0.1", "evil.example"):
        assert ann.get("/v1/methods", headers={"Host": host}).status_code == 400
