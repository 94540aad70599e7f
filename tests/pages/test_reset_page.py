"""The pages that reset a password: opening them changes nothing, sending their forms does."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest

from tests.actors import PASSWORD
from tests.authorization import sign_in_with_role
from tests.pages.browser import Browser, Page, sign_in_browser
from tests.request_cost import record_statements

CHOSEN = "the password chosen on the page"
GERMAN = {"Accept-Language": "de-AT"}


@pytest.fixture
def ann(service):
    return _request_reset(service)


@pytest.fixture
def sqlite_ann(sqlite_service):
    return _request_reset(sqlite_service)


def _request_reset(service):
    ann = service.actor("ann").sign_in()
    ann.request_password_reset()
    return ann


def get_link_path(actor) -> str:
    return urlsplit(actor.mail()["links"][0]).path


def submit(actor, path: str, password: str = CHOSEN, again: str | None = None, **kwargs):
    return actor.call(
        "POST",
        path,
        data={"password": password, "again": password if again is None else again},
        **kwargs,
    )


def is_unchanged(actor) -> bool:
    """Return whether password, session and link are unchanged."""
    used = actor.service.scalar(
        "SELECT count(*) FROM confirmations WHERE used_at IS NOT NULL AND purpose = 'reset'"
    )
    return (
        used == 0
        and actor.whoami().status_code == 200
        and actor.from_another_address().login().status_code == 200
    )


def test_password_is_set_by_link_and_form(ann):
    path = get_link_path(ann)
    page = Page(ann.get(path).text)
    (form,) = page.find_all("form")
    assert form["method"].lower() == "post"
    assert "action" not in form, "the form is sent to the URL of the page"
    fields = {
        field["name"]: (field.get("type"), field["autocomplete"], field.get("value"))
        for field in page.find_all("input")
    }
    new = ("password", "new-password", None)
    assert fields == {"username": (None, "username", "ann"), "password": new, "again": new}, (
        "password managers need the username"
    )
    assert [label["for"] for label in page.find_all("label")] == ["password", "again"]
    assert page.find_all("script") == []
    assert "ann" in page.text

    answer = submit(ann, path)
    assert answer.status_code == 200
    assert "Set-Cookie" not in answer.headers
    assert ann.whoami().status_code == 401
    assert ann.login().status_code == 401
    assert ann.login(password=CHOSEN).status_code == 200


def test_only_the_form_has_an_effect(ann):
    path = get_link_path(ann)
    for method in ("GET", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH", "TRACE") * 2:
        answer = ann.call(method, path)
        assert answer.status_code == (200 if method in {"GET", "HEAD", "OPTIONS"} else 405)
    query = f"password={CHOSEN.replace(' ', '+')}&again={CHOSEN.replace(' ', '+')}"
    assert ann.get(f"{path}?{query}&_method=POST").status_code == 200
    assert ann.call("POST", f"{path}?{query}").status_code == 422
    assert ann.post(path, {"password": CHOSEN, "again": CHOSEN}).status_code == 422
    assert is_unchanged(ann)
    assert submit(ann, path).status_code == 200


def test_expired_link_shows_a_message(ann):
    path = get_link_path(ann)
    submit(ann, path)
    for headers, language in ((None, "en"), (GERMAN, "de")):
        for answer in (
            ann.get(path, headers=headers),
            submit(ann, path, headers=headers),
            submit(ann, path, "short", headers=headers),
        ):
            assert answer.status_code == 400
            assert answer.content_type == "text/html; charset=utf-8"
            page = Page(answer.text)
            assert (page.problem, page.language) == ("invalid_token", language)
            assert page.find_all("form") == []


@pytest.mark.parametrize(
    "token", ["junk", "dwp_1", "%00", "%ff", "<script>alert(1)</script>", "{{7*7}}", "a" * 3000]
)
def test_unknown_link_is_answered_like_a_used_one(sqlite_ann, token):
    used = get_link_path(sqlite_ann)
    submit(sqlite_ann, used)
    expected = sqlite_ann.get(used)
    for answer in (sqlite_ann.get(f"/reset/{token}"), submit(sqlite_ann, f"/reset/{token}")):
        if answer.status_code == 404:  # the token contains a slash
            assert Page(answer.text).problem == "no_such_address"
            continue
        assert answer.status_code == expected.status_code
        assert answer.data == expected.data


@pytest.mark.parametrize(
    ("password", "again", "code", "text"),
    [
        ("short", "short", "validation_failed", {"en": "15", "de": "15"}),
        ("", "", "validation_failed", {"en": "15", "de": "15"}),
        ("a" * 129, "a" * 129, "validation_failed", {"en": "128", "de": "128"}),
        (
            "long enough\0 for one",
            "long enough\0 for one",
            "validation_failed",
            {"en": "control", "de": "Steuerzeichen"},
        ),
        (CHOSEN, CHOSEN + "x", "password_mismatch", {"en": "", "de": ""}),
        (CHOSEN, "", "password_mismatch", {"en": "", "de": ""}),
        (
            "passwordpassword",
            "passwordpassword",
            "validation_failed",
            {"en": "Suggestions", "de": "Vorschläge"},
        ),
    ],
)
def test_rejected_password_shows_the_form_with_the_reason(sqlite_ann, password, again, code, text):
    path = get_link_path(sqlite_ann)
    for headers, language in ((None, "en"), (GERMAN, "de")):
        answer = submit(sqlite_ann, path, password, again, headers=headers)
        assert answer.status_code == 422
        page = Page(answer.text)
        assert (page.language, page.problem) == (language, code)
        assert text[language] in page.text
        assert len(page.find_all("form")) == 1
        assert "ann" in page.text, "the account is still shown"
        first, second = page.find_all("input")[1:]
        assert not {"value"} & {*first, *second}, "a password is never sent back"
        assert (first["aria-invalid"], "autofocus" in first) == ("true", True)
        assert page.text.lstrip().startswith({"en": "Error: ", "de": "Fehler: "}[language])
        described = first["aria-describedby"].split()
        assert set(described) <= {attributes.get("id") for _, attributes in page.tags}
        if len(password) > 6:
            assert password not in answer.text
    assert is_unchanged(sqlite_ann)
    assert submit(sqlite_ann, path).status_code == 200


def test_pages_have_strict_security_headers(sqlite_ann):
    path = get_link_path(sqlite_ann)
    answers = [
        sqlite_ann.get(path),
        submit(sqlite_ann, path, "short"),
        submit(sqlite_ann, path),
        sqlite_ann.get(path),
        submit(sqlite_ann, path),
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
        page = Page(answer.text)
        assert page.find_all("script") == []
        assert all(
            not name.startswith("on") and name != "style"
            for _, attributes in page.tags
            for name in attributes
        )
        for _, attributes in page.tags:
            for name in {"href", "src", "action", "srcset"} & set(attributes):
                ours = attributes[name].startswith("/static/") or attributes[name] in {
                    "/login",
                    "/login/forgot",
                }
                assert ours, "no other host may see the token in the URL"


def test_token_is_not_logged(sqlite_ann, capsys):
    path = get_link_path(sqlite_ann)
    token = path.rpartition("/")[2]
    capsys.readouterr()
    sqlite_ann.get(path)
    for password in ("short", CHOSEN, CHOSEN):
        submit(sqlite_ann, path, password)
    logged = "".join(capsys.readouterr())
    assert '"route": "/reset/<token>"' in logged
    for secret in (token, token.split("_")[2], token.split("_")[1], CHOSEN):
        assert secret not in logged


def test_form_shares_the_limit_of_its_api_call_and_get_is_free(make_service):
    ann = _request_reset(make_service(limit_confirm="3/minute"))
    path = get_link_path(ann)
    assert ann.reset(CHOSEN, token="junk").status_code == 400
    assert submit(ann, path, "short").status_code == 422
    answer = submit(ann, path)
    assert answer.status_code == 429
    assert answer.content_type == "text/html; charset=utf-8"
    assert int(answer.headers["Retry-After"]) > 0
    assert ann.get(path).status_code == 200
    assert ann.from_another_address().login(password=PASSWORD).status_code == 200


# Asking for the link.


def test_forgot_password_flow_starts_at_the_sign_in_page(service):
    ann = service.actor("ann").sign_up()
    stranger = Browser(service, ann)
    assert {"href": "/login/forgot"} in stranger.follow("/login").find_all("a")
    form = stranger.follow("/login/forgot")
    assert form.actions == ["/login/forgot"]
    assert stranger.service.mailbox(ann.email)[0]["template"] == "confirm_new", (
        "opening the page sends nothing"
    )
    answer = stranger.post("/login/forgot", {"username": "ANN@example.org"})
    assert (answer.status_code, "Set-Cookie" in answer.headers) == (200, False)
    path = get_link_path(ann)
    assert submit(ann, path).status_code == 200
    over = Page(ann.get(path).text)
    assert over.problem == "invalid_token"
    assert {"class": "button other", "href": "/login/forgot"} in over.find_all("a")
    assert ann.login(password=CHOSEN).status_code == 200


def test_forgot_password_page_answers_alike_at_the_same_cost(service):
    service.freeze_clock()  # otherwise a request may reload the signing keys
    ann, gone, eve = (service.actor(name).sign_up() for name in ("ann", "gone", "eve"))
    service.actor("pending").register()
    sign_in_with_role(service, "boss", "admin")
    service.scalar("UPDATE accounts SET status = 'disabled' WHERE username = 'gone' RETURNING id")
    eve.request_password_reset()
    names = [
        "nobody",
        "ann",
        "gone",
        "boss",
        "pending",
        "eve",
        "nobody@example.org",
        "boss@example.org",
        "",
        "no name",
        "@@",
        "a\0b",
    ]
    names += ["x" * 5000]
    recorded = []
    for name in names:
        stranger = Browser(service, service.actor("x"))
        with record_statements(service) as statements:
            answer = stranger.post("/login/forgot", {"username": name})
        recorded.append(
            (
                answer.status_code,
                answer.data,
                [line.replace("email_canonical", "username") for line in statements],
            )
        )
        assert Page(answer.text).name == "forgot_sent"
    for name, one in zip(names, recorded, strict=True):
        assert one == recorded[0], name
    assert ["/reset/" in service.mailbox(actor.email)[0]["text"] for actor in (ann, gone, eve)] == [
        True,
        False,
        True,
    ]


def test_forgot_form_shares_the_api_limit_and_requires_our_origin(make_service):
    service = make_service(limit_forgot="2/minute")
    ann = service.actor("ann").sign_up()
    stranger = Browser(service, ann)
    for place in ({"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}, {}):
        assert (
            stranger.post("/login/forgot", {"username": "ann"}, sent_from=place).status_code == 403
        )
    assert ann.request_password_reset().status_code == 202
    assert stranger.post("/login/forgot", {"username": "ann"}).status_code == 200
    answer = stranger.post("/login/forgot", {"username": "ann"})
    assert (answer.status_code, Page(answer.text).problem) == (429, "rate_limited")
    assert stranger.get("/login/forgot").status_code == 200
    assert len([mail for mail in service.mailbox(ann.email) if "/reset/" in mail["text"]]) == 1


def test_forgot_page_exists_in_german_and_is_linked(sqlite_service):
    ann = sign_in_browser(sqlite_service, **GERMAN)
    for path in ("/login/again", "/login/sessions"):
        assert {"href": "/login/forgot"} in ann.follow(path).find_all("a")
    for answer, name in (
        (ann.get("/login/forgot"), "forgot"),
        (ann.post("/login/forgot", {"username": "ann"}), "forgot_sent"),
        (ann.get("/reset/x"), "problem"),
    ):
        page = Page(answer.text)
        assert (page.language, page.name) == ("de", name)
        assert answer.headers["Cache-Control"] == "no-store"
    assert ann.get("/login/sessions").status_code == 200, "the request revokes nothing"
