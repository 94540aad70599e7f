"""The page that confirms an email address: opening it changes nothing, sending its form does."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import pytest

from app.authentication.passwords.messages import describe_reason
from app.authentication.passwords.normalize import RejectionReason
from app.i18n import translate
from tests.actors import PASSWORD
from tests.pages.browser import Page

CHOSEN = "the password chosen on the page"


@pytest.fixture
def pat(service):
    return _register_pat(service)


@pytest.fixture
def sqlite_pat(sqlite_service):
    return _register_pat(sqlite_service)


def _register_pat(service):
    pat = service.actor("pat")
    pat.register()
    return pat


def get_link_path(actor) -> str:
    return urlsplit(actor.mail()["links"][0]).path


def submit(actor, path: str, password: str = CHOSEN, **kwargs):
    return actor.call("POST", path, data={"password": password}, **kwargs)


def test_account_is_confirmed_by_link_and_form(pat):
    page = Page(pat.get(get_link_path(pat)).text)
    (form,) = page.find_all("form")
    assert form["method"].lower() == "post"
    assert "action" not in form, "the form is sent to the URL of the page"
    fields = {
        field["name"]: (field.get("type"), field["autocomplete"], field.get("value"))
        for field in page.find_all("input")
    }
    assert fields == {
        "username": (None, "username", "pat"),
        "password": ("password", "new-password", None),
    }
    assert page.find_all("script") == []
    assert "pat" in page.text

    answer = submit(pat, get_link_path(pat))
    assert answer.status_code == 200
    assert "pat" in Page(answer.text).text
    assert "Set-Cookie" not in answer.headers
    assert pat.login().status_code == 401
    assert pat.login(password=CHOSEN).status_code == 200


def test_only_the_form_consumes_the_link(pat):
    for method in ("GET", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH", "TRACE") * 2:
        answer = pat.call(method, get_link_path(pat))
        assert answer.status_code == (200 if method in {"GET", "HEAD", "OPTIONS"} else 405)
    assert pat.service.scalar("SELECT count(*) FROM accounts") == 0
    assert pat.service.scalar("SELECT count(*) FROM confirmations WHERE used_at IS NOT NULL") == 0
    assert submit(pat, get_link_path(pat)).status_code == 200


def test_query_has_no_effect(sqlite_pat):
    assert (
        sqlite_pat.get(
            f"{get_link_path(sqlite_pat)}?password={CHOSEN.replace(' ', '+')}&_method=POST"
        ).status_code
        == 200
    )
    assert (
        sqlite_pat.call(
            "POST", f"{get_link_path(sqlite_pat)}?password={CHOSEN.replace(' ', '+')}"
        ).status_code
        == 422
    )
    assert sqlite_pat.service.scalar("SELECT count(*) FROM accounts") == 0


def test_used_link_shows_a_message(pat):
    path = get_link_path(pat)
    submit(pat, path)
    for answer in (pat.get(path), submit(pat, path), submit(pat, path, "short")):
        assert answer.status_code == 400
        assert answer.content_type == "text/html; charset=utf-8"
        page = Page(answer.text)
        assert page.problem == "invalid_token"
        assert page.find_all("form") == []
    assert pat.login(password=CHOSEN).status_code == 200


@pytest.mark.parametrize(
    "token",
    ["junk", "dwc_1", "%00", "%ff", "..%2f..", "<script>alert(1)</script>", "{{7*7}}", "a" * 3000],
)
def test_unknown_link_is_answered_like_a_used_one(sqlite_pat, token):
    used = get_link_path(sqlite_pat)
    submit(sqlite_pat, used)
    expected = sqlite_pat.get(used)
    for answer in (sqlite_pat.get(f"/confirm/{token}"), submit(sqlite_pat, f"/confirm/{token}")):
        if answer.status_code == 404:  # the token contains a slash
            assert Page(answer.text).problem == "no_such_address"
            continue
        assert answer.status_code == expected.status_code
        assert answer.data == expected.data


@pytest.mark.parametrize(
    ("password", "reason"),
    [
        ("short", "15"),
        ("", "15"),
        ("a" * 129, "128"),
        ("a" * 15 + "\n", "control"),
        ("a" * 15 + "\0", "control"),
    ],
)
def test_rejected_password_shows_the_form_with_the_reason(sqlite_pat, password, reason):
    answer = submit(sqlite_pat, get_link_path(sqlite_pat), password)
    assert answer.status_code == 422
    page = Page(answer.text)
    assert (page.problem, reason in page.text) == ("validation_failed", True)
    assert len(page.find_all("form")) == 1
    assert "pat" in page.text, "the account is still shown"
    field = page.find_all("input")[1]
    assert "value" not in field, "a password is never sent back"
    assert (field["aria-invalid"], "autofocus" in field) == ("true", True)
    described = field["aria-describedby"].split()
    assert set(described) <= {attributes.get("id") for _, attributes in page.tags}
    assert submit(sqlite_pat, get_link_path(sqlite_pat)).status_code == 200


@pytest.mark.parametrize("language", ["en", "de"])
def test_form_shows_reasons_and_suggestions(sqlite_pat, language):
    path, headers = get_link_path(sqlite_pat), {"Accept-Language": language}
    answer = submit(sqlite_pat, path, "password20242024", headers=headers)
    assert answer.status_code == 422
    page = Page(answer.text)
    assert describe_reason(RejectionReason.COMMON, language) in page.text
    assert {"id": "suggestions"} in page.find_all("ul")
    assert "password20242024" not in answer.text
    suggestions = re.findall('<code translate="no">(.*?)</code>', answer.text)
    assert len(suggestions) == 3
    assert "<code" not in sqlite_pat.get(path, headers=headers).text
    assert submit(sqlite_pat, path, suggestions[0], headers=headers).status_code == 200
    assert sqlite_pat.login(password=suggestions[0]).status_code == 200


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", None),
        (b'{"password": "the password chosen on the page"}', "application/json"),
        (b"password", "application/x-www-form-urlencoded"),
        (b"password=%ff%fe", "application/x-www-form-urlencoded"),
        (b"--x\r\n", "multipart/form-data; boundary=x"),
        (b"PASSWORD=the+password+chosen+on+the+page", "application/x-www-form-urlencoded"),
    ],
)
def test_form_without_a_password_does_nothing(sqlite_pat, data, kind):
    answer = sqlite_pat.call("POST", get_link_path(sqlite_pat), data=data, content_type=kind)
    assert answer.status_code == 422
    assert len(Page(answer.text).find_all("form")) == 1
    assert sqlite_pat.service.scalar("SELECT count(*) FROM accounts") == 0


def test_a_password_of_any_script_can_be_sent_by_form(sqlite_pat):
    password = "\u043f\u0430\u0440\u043e\u043b\u044c \U0001f511 stra\u00dfe caf\u00e9"
    assert submit(sqlite_pat, get_link_path(sqlite_pat), password).status_code == 200
    assert sqlite_pat.login(password=password).status_code == 200


@pytest.mark.parametrize(
    ("accepts", "language"),
    [
        ("de", "de"),
        ("de-AT, de;q=0.9, en;q=0.8", "de"),
        ("de-CH", "de"),
        ("fr, de;q=0.5", "de"),
        ("en-GB, de;q=0.5", "en"),
        ("fr", "en"),
        ("../../etc/passwd", "en"),
        ("", "en"),
    ],
)
def test_page_uses_the_preferred_language(sqlite_pat, accepts, language):
    page = Page(
        sqlite_pat.get(get_link_path(sqlite_pat), headers={"Accept-Language": accepts}).text
    )
    assert (page.name, page.language) == ("confirm", language)
    assert translate(language, "Create account") in page.text


def test_pages_have_strict_security_headers(sqlite_pat):
    path = get_link_path(sqlite_pat)
    answers = [
        sqlite_pat.get(path),
        submit(sqlite_pat, path, "short"),
        submit(sqlite_pat, path),
        sqlite_pat.get(path),
        submit(sqlite_pat, path),
    ]
    assert [answer.status_code for answer in answers] == [200, 422, 200, 400, 400]
    for answer in answers:
        policy = {
            rule.split()[0]: rule.split()[1:]
            for rule in answer.headers["Content-Security-Policy"].split(";")
        }
        assert policy["default-src"] == ["'none'"]
        assert policy["frame-ancestors"] == ["'none'"]
        assert policy["base-uri"] == ["'none'"]
        assert policy["form-action"] == ["'self'"]
        assert "script-src" not in policy
        assert "unsafe" not in answer.headers["Content-Security-Policy"]
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"

        page = Page(answer.text)
        assert page.find_all("script") == []
        assert all(
            not name.startswith("on") and name != "style"
            for _, attributes in page.tags
            for name in attributes
        )
        (style,) = page.find_all("link")
        assert sqlite_pat.get(style["href"]).status_code == 200, "the stylesheet is served here"


def test_page_loads_nothing_from_other_hosts(sqlite_pat):
    """No image, script or link may send the token in the URL to another host."""
    for answer in (
        sqlite_pat.get(get_link_path(sqlite_pat)),
        submit(sqlite_pat, get_link_path(sqlite_pat)),
    ):
        for _, attributes in Page(answer.text).tags:
            for name in {"href", "src", "action", "srcset"} & set(attributes):
                assert attributes[name].startswith("/static/") or attributes[name] == "/login"


def test_token_is_not_logged(sqlite_pat, capsys):
    path = get_link_path(sqlite_pat)
    token = path.rpartition("/")[2]
    capsys.readouterr()
    sqlite_pat.get(path)
    submit(sqlite_pat, path, "short")
    submit(sqlite_pat, path)
    submit(sqlite_pat, path)
    logged = "".join(capsys.readouterr())
    assert '"route": "/confirm/<token>"' in logged
    for secret in (token, token.split("_")[2], token.split("_")[1], CHOSEN):
        assert secret not in logged


def test_name_is_escaped(sqlite_service):
    """Usernames cannot contain markup, and nothing else that was registered is shown."""
    ann = sqlite_service.actor("a-b.c_d")
    ann.register(name="<b>Ann</b><script>alert(1)</script>", password=PASSWORD)
    answer = ann.get(get_link_path(ann))
    assert "a-b.c_d" in Page(answer.text).text
    assert "<script" not in answer.text
