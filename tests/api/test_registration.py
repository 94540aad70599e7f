"""Registration: responses, emails, stored data and rejections."""

from __future__ import annotations

import hashlib
import ipaddress
import json
import shutil

import pytest
from sqlalchemy import inspect, text

from tests.actors import PASSWORD, Service, build_settings

TABLES = ("accounts", "pending_registrations", "confirmations", "outbox", "sessions")


def count_rows(service) -> dict[str, int]:
    return {table: service.scalar(f"SELECT count(*) FROM {table}") for table in TABLES}


def dump_database(service) -> str:
    """Return every value of every row of every table as text."""
    with service.open_database() as db:
        tables = inspect(db.connection()).get_table_names()
        return "\n".join(
            repr(tuple(row))
            for table in tables
            for row in db.execute(text(f'SELECT * FROM "{table}"'))
        )


def normalize_response(answer) -> tuple[int, dict[str, str], dict[str, object]]:
    """Return the response without the random ids."""
    headers = {
        name: value
        for name, value in answer.headers.items()
        if name not in {"X-Request-Id", "Content-Length"}
    }
    body = {
        **answer.json,
        "registration": len(answer.json.get("registration", "")),
        "request_id": len(answer.json.get("request_id", "")),
    }
    return answer.status_code, headers, body


def get_invalid_fields(answer) -> set[str]:
    assert answer.status_code == 422, answer.text
    assert answer.content_type == "application/problem+json"
    assert answer.json["code"] == "validation_failed"
    assert all(
        texts and all(isinstance(words, str) and words for words in texts)
        for texts in answer.json["errors"].values()
    )
    return set(answer.json["errors"])


@pytest.fixture(scope="module")
def shared_service(sqlite_template, tmp_path_factory):
    """A shared service for requests that store nothing, each from its own IP address."""
    path = tmp_path_factory.mktemp("untouched") / "doorward.db"
    shutil.copy(sqlite_template, path)
    service = Service(build_settings(f"sqlite:///{path}"))
    yield service
    service.close()


# Responses.


def test_registration_returns_a_handle_and_emails_a_link_and_a_code(ann):
    answer = ann.register()
    assert answer.status_code == 202
    assert answer.json == {
        "status": "pending",
        "registration": ann.registration,
        "next": "confirm_email",
    }
    assert len(ann.registration.removeprefix("reg_")) >= 22

    (mail,) = ann.service.mailbox()
    assert mail["to"] == ann.email
    assert mail["links"] == [f"{ann.service.settings.public_url}/confirm/{ann.get_mailed_token()}"]
    for body in (mail["text"], mail["html"]):
        assert mail["code"] in body
        assert mail["links"][0] in body
        assert PASSWORD not in body


def test_known_email_is_answered_like_an_unknown_one(service):
    service.actor("ann").sign_up()
    known = service.actor("bob", email="ann@example.org").register()
    unknown = service.actor("eve", email="eve@example.org").register()
    assert known.status_code == 202
    assert normalize_response(known) == normalize_response(unknown)
    assert len(known.data) == len(unknown.data)


@pytest.mark.parametrize("password", [PASSWORD, None], ids=["with a password", "without"])
def test_username_is_reserved_for_known_and_unknown_emails_alike(service, password):
    service.actor("ann").sign_up()
    answers = []
    for username, email in (("bob", "ann@example.org"), ("eve", "eve@example.org")):
        first, second = (
            service.actor(username, email=email).register(password=password) for _ in range(2)
        )
        assert first.status_code == 202
        answers.append(second)
    assert answers[0].status_code == 409
    assert answers[0].json["code"] == "username_taken"
    assert set(answers[0].json["errors"]) == {"/username"}
    assert normalize_response(answers[0]) == normalize_response(answers[1])


def test_taken_username_is_reported_before_the_email_is_checked(service):
    service.actor("ann").sign_up()
    service.actor("bob").sign_up()
    service.actor("pat").register()
    before = count_rows(service)
    refused = [
        service.actor(username, email=email).register()
        for username in ("ann", "ANN", "pat", "Pat")
        for email in ("bob@example.org", "new@example.org")
    ]
    assert {answer.status_code for answer in refused} == {409}
    assert len({str(normalize_response(answer)) for answer in refused}) == 1
    assert count_rows(service) == before


def test_known_email_is_told_about_the_existing_account(service):
    ann = service.actor("ann").sign_up()
    eve = service.actor("eve", email="ANN@Example.ORG")
    eve.register(locale="de")
    mail = ann.mail()
    assert (mail["template"], mail["language"]) == ("already_registered", "en")
    assert mail["code"] is None
    assert mail["links"] == [service.settings.public_url]
    assert "eve" not in mail["text"] + mail["html"]
    assert service.mailbox("ANN@example.org") == []


def test_registration_for_a_known_email_can_never_be_confirmed(service):
    ann = service.actor("ann").sign_up()
    confirmed_with = service.mailbox()[-1]["code"]
    eve = service.actor("eve", email=ann.email)
    eve.register()
    assert (
        eve.post(
            "/v1/register/confirm", {"registration": eve.registration, "code": confirmed_with}
        ).status_code
        == 400
    )
    assert eve.login().status_code == 401
    assert service.scalar("SELECT count(*) FROM accounts") == 1
    assert ann.login().status_code == 200


def test_no_account_exists_before_confirmation(ann):
    ann.register()
    assert ann.service.scalar("SELECT count(*) FROM accounts") == 0
    stranger = ann.service.actor("nobody-at-all")
    for username in ("ann", ann.email):
        refused, unknown = ann.login(username=username), stranger.login()
        assert refused.status_code == 401
        assert normalize_response(refused) == normalize_response(unknown)


def test_username_is_reserved_for_a_day(service):
    service.actor("ann").register()
    service.clock.push(hours=23, minutes=59)
    again = service.actor("ann", email="other@example.org")
    assert again.register().status_code == 409
    service.clock.push(minutes=2)
    assert again.register().status_code == 202
    assert again.confirm().status_code == 200


def test_an_account_keeps_its_username_for_good(service):
    service.actor("ann").sign_up()
    service.clock.push(days=400)
    assert service.actor("ann", email="other@example.org").register().status_code == 409


@pytest.mark.parametrize("setting", ["closed", "invite"])
def test_closed_registration_is_refused(make_service, setting):
    service = make_service(registration=setting)
    for username, email in (("ann", "ann@example.org"), ("bob", "bob@example.org")):
        refused = service.actor(username, email=email).register()
        assert refused.status_code == 403
        assert refused.json["code"] == "registration_closed"
    assert set(count_rows(service).values()) == {0}
    assert service.mailbox() == []


# Usernames and email addresses.


def test_username_is_lowercased_and_email_kept_as_typed(service):
    ann = service.actor("Ann.Lee", email="Ann.Lee@Example.ORG")
    ann.register()
    ann.email = "Ann.Lee@example.org"
    assert ann.confirm().json["account"]["username"] == "ann.lee"
    assert ann.login().status_code == 200
    account = ann.get("/v1/me", token=ann.access).json["account"]
    assert (account["username"], account["email"]) == ("ann.lee", "Ann.Lee@example.org")


@pytest.mark.parametrize(
    "typed",
    [
        "kelvin",
        "KELVIN",
        "\u212aelvin",
        "\uff4b\uff45\uff4c\uff56\uff49\uff4e",
        "Kelvin@Example.org",
        "\u212aelvin@example.org",
        "kelvin\uff20example.org",
    ],
)
def test_login_folds_characters_that_registration_refuses(service, typed):
    service.actor("kelvin").sign_up()
    assert service.actor(typed).login().status_code == 200
    if not typed.isascii():
        assert get_invalid_fields(
            service.actor("someone").register(username=typed, email="someone@example.org")
        ) == {"/username"}


@pytest.mark.parametrize(
    "typed",
    [
        " kelvin",
        "kelvin ",
        "kel\u200bvin",
        "kelvin\u202c",
        "kelv\u0131n",
        "kelvin@example.org.",
        "kelv\u0130n",
    ],
)
def test_login_accepts_no_lookalike_names(service, typed):
    service.actor("kelvin").sign_up()
    assert service.actor(typed).login().status_code == 401


def test_email_spellings_with_one_canonical_form_are_one_email(service):
    service.actor("ann", email="ann@b\u00fccher.example").register()
    (mail,) = service.mailbox()
    assert mail["to"] == "ann@xn--bcher-kva.example"
    ann = service.actor("ann", email="ann@xn--bcher-kva.example")
    assert (
        ann.post(
            "/v1/register/confirm", {"token": ann.get_mailed_token(), "password": PASSWORD}
        ).status_code
        == 200
    )
    service.actor("eve", email="ANN@B\u00dcCHER.example").register()
    assert ann.mail()["template"] == "already_registered"
    assert service.actor("ann@B\u00fccher.example").login().status_code == 200


def test_dots_and_plus_signs_make_different_emails(service):
    service.actor("ann", email="ann@gmail.com").sign_up()
    for username, email in (("bob", "a.nn@gmail.com"), ("eve", "ann+eve@gmail.com")):
        service.actor(username, email=email).sign_up()
    assert service.scalar("SELECT count(*) FROM accounts") == 3


# Passwords.


LETTERS = "Once upon a time there was a queen who kept her word and nobody knew why, until a traveller asked her in the market of a small town."
KEYS = "".join(chr(0x1F400 + 7 * number) for number in range(32))
HAN = "".join(chr(0x4E00 + 37 * number) for number in range(128))


@pytest.mark.parametrize(
    ("password", "accepted"),
    [
        pytest.param(LETTERS[:14], False, id="14 letters"),
        pytest.param(LETTERS[:15], True, id="15 letters"),
        pytest.param(KEYS[:14], False, id="14 pictures"),
        pytest.param(KEYS[:15], True, id="15 pictures"),
        pytest.param(LETTERS[:64], True, id="64 letters"),
        pytest.param(HAN, True, id="128 characters"),
        pytest.param(LETTERS[:129], False, id="129 letters"),
        pytest.param(LETTERS * 8, False, id="more than 1024 letters"),
        pytest.param(LETTERS[:15] + "\n", False, id="a line break"),
    ],
)
def test_password_has_15_to_128_characters_of_any_script(sqlite_service, password, accepted):
    ann = sqlite_service.actor(password=password)
    answer = ann.register()
    if not accepted:
        assert get_invalid_fields(answer) == {"/password"}
        assert password not in answer.text
        return
    assert ann.confirm().status_code == 200
    assert ann.login().status_code == 200
    assert ann.login(password=password[:-1]).status_code == 401, "the password is not truncated"


def test_password_is_normalized_for_accents_and_spaces(sqlite_service):
    ann = sqlite_service.actor(password="caf\u00e9 \u00fcber alles, immer")
    ann.sign_up()
    assert (
        ann.login(password="cafe\u0301\u00a0u\u0308ber\u3000alles,\u2003immer").status_code == 200
    )
    for other in (
        "Caf\u00e9 \u00fcber alles, immer",
        "cafe \u00fcber alles, immer",
        "caf\u00e9  \u00fcber alles, immer",
        " caf\u00e9 \u00fcber alles, immer",
    ):
        assert ann.login(password=other).status_code == 401, other


def test_minimum_password_length_is_a_setting(make_service):
    service = make_service(password_min_length=8)
    assert get_invalid_fields(service.actor().register(password="1234567")) == {"/password"}
    assert service.actor().register(password="kiwi&tea").status_code == 202


# Rejections.


@pytest.mark.parametrize(
    ("changes", "pointers"),
    [
        pytest.param({"username": None}, {"/username"}, id="no username"),
        pytest.param({"email": None}, {"/email"}, id="no address"),
        pytest.param({"name": None}, {"/name"}, id="no name"),
        pytest.param(
            {"username": None, "email": None, "name": None},
            {"/username", "/email", "/name"},
            id="nothing",
        ),
        pytest.param({"username": ""}, {"/username"}, id="an empty username"),
        pytest.param({"username": "an"}, {"/username"}, id="a short username"),
        pytest.param({"username": "a" * 33}, {"/username"}, id="a long username"),
        pytest.param({"username": "a" * 5000}, {"/username"}, id="a very long username"),
        pytest.param({"username": 1234}, {"/username"}, id="a number as username"),
        pytest.param({"username": ["ann"]}, {"/username"}, id="a list as username"),
        pytest.param({"username": {"$ne": 1}}, {"/username"}, id="an object as username"),
        pytest.param({"username": True}, {"/username"}, id="a truth as username"),
        pytest.param({"username": "ann@example.org"}, {"/username"}, id="an address as username"),
        pytest.param({"username": "admin"}, {"/username"}, id="a reserved username"),
        pytest.param({"username": "\uff41nn"}, {"/username"}, id="a fullwidth username"),
        pytest.param({"username": "\ufb01nn"}, {"/username"}, id="a ligature"),
        pytest.param({"username": "an\u200bn"}, {"/username"}, id="zero width"),
        pytest.param({"username": "\u202eann"}, {"/username"}, id="bidi"),
        pytest.param({"username": "\u0130da"}, {"/username"}, id="dotted capital I"),
        pytest.param({"username": "stra\u00dfe"}, {"/username"}, id="sharp s"),
        pytest.param({"username": "a\0nn"}, {"/username"}, id="NUL in the username"),
        pytest.param({"email": "ann"}, {"/email"}, id="no address in the address"),
        pytest.param({"email": "a@b@example.org"}, {"/email"}, id="two at signs"),
        pytest.param(
            {"email": "ann@example.org\r\nBcc: eve@example.org"},
            {"/email"},
            id="a header in the address",
        ),
        pytest.param({"email": "a" * 65 + "@example.org"}, {"/email"}, id="a long local part"),
        pytest.param({"email": "ann@" + "a" * 300 + ".org"}, {"/email"}, id="a long address"),
        pytest.param({"email": '"ann"@example.org'}, {"/email"}, id="a quoted local part"),
        pytest.param({"email": "ann\uff20example.org"}, {"/email"}, id="a fullwidth at sign"),
        pytest.param({"email": "ann@example.org\0"}, {"/email"}, id="NUL in the address"),
        pytest.param(
            {"email": ["ann@example.org", "eve@example.org"]}, {"/email"}, id="two addresses"
        ),
        pytest.param({"name": ""}, {"/name"}, id="an empty name"),
        pytest.param({"name": "   "}, {"/name"}, id="a blank name"),
        pytest.param({"name": "a" * 129}, {"/name"}, id="a long name"),
        pytest.param({"name": "Ann\nLee"}, {"/name"}, id="a name of two lines"),
        pytest.param({"name": "Ann\0"}, {"/name"}, id="NUL in the name"),
        pytest.param({"name": 7}, {"/name"}, id="a number as name"),
        pytest.param({"password": "short"}, {"/password"}, id="a short password"),
        pytest.param({"password": 123456789012345}, {"/password"}, id="a number as password"),
        pytest.param(
            {"password": "correct horse\0battery"}, {"/password"}, id="NUL in the password"
        ),
        pytest.param({"password": ""}, {"/password"}, id="an empty password"),
        pytest.param({"locale": "klingon"}, {"/locale"}, id="no language"),
        pytest.param({"locale": "de\n"}, {"/locale"}, id="a line break after the language"),
        pytest.param({"locale": "../../etc"}, {"/locale"}, id="a path as language"),
        pytest.param({"locale": 49}, {"/locale"}, id="a number as language"),
        pytest.param({"role": "admin"}, {"/role"}, id="an unknown field"),
        pytest.param(
            {"status": "active", "id": "acc_1"}, {"/status", "/id"}, id="fields of the account"
        ),
        pytest.param({"a/b~c": 1}, {"/a~1b~0c"}, id="a field whose name has to be escaped"),
        pytest.param(
            {"username": "an", "email": "ann", "password": "short"},
            {"/username", "/email", "/password"},
            id="every fault at once",
        ),
    ],
)
def test_invalid_fields_are_named_and_nothing_is_stored(shared_service, changes, pointers):
    assert get_invalid_fields(shared_service.actor().register(**changes)) == pointers
    assert set(count_rows(shared_service).values()) == {0}
    assert shared_service.mailbox() == []


@pytest.mark.parametrize("field", ["username", "email", "name", "password", "locale"])
def test_lone_surrogate_is_rejected(service, field):
    body = {
        "username": "ann",
        "email": "ann@example.org",
        "name": "Ann",
        "password": PASSWORD,
        "locale": "en",
    }
    raw = json.dumps({**body, field: body[field] + "\ud83d"})
    assert "\\ud83d" in raw
    answer = service.actor().call("POST", "/v1/register", data=raw, content_type="application/json")
    assert get_invalid_fields(answer) == {f"/{field}"}
    assert set(count_rows(service).values()) == {0}


@pytest.mark.parametrize(
    ("raw", "kind", "status"),
    [
        (b"", "application/json", 422),
        (b"[]", "application/json", 400),
        (b"null", "application/json", 400),
        (b'"ann"', "application/json", 400),
        (b"{", "application/json", 400),
        (b'{"username": "ann", "username": "eve"}', "application/json", 400),
        (b'{"username": NaN}', "application/json", 400),
        (b"\xef\xbb\xbf{}", "application/json", 400),
        ('{"username": "ann"}'.encode("utf-16"), "application/json", 400),
        (b'{"username": "\xff"}', "application/json", 400),
        (b"[" * 10_000, "application/json", 400),
        (b"username=ann&email=ann@example.org&name=Ann", "application/x-www-form-urlencoded", 415),
        (b"{}", "text/plain", 415),
        (b'{"username": "' + b"a" * 20_000 + b'"}', "application/json", 413),
    ],
)
def test_body_that_is_not_a_json_object_is_rejected(shared_service, raw, kind, status):
    answer = shared_service.actor().call("POST", "/v1/register", data=raw, content_type=kind)
    assert answer.status_code == status, answer.text
    assert answer.content_type == "application/problem+json"
    assert set(count_rows(shared_service).values()) == {0}


# Stored data.


def test_emailed_and_typed_secrets_are_unreadable_in_the_database(service):
    ann = service.actor(password="a password that is typed once")
    ann.register()
    mail = ann.mail()
    token, code = ann.get_mailed_token(), mail["code"]
    secret = token.split("_")[2]
    kept = dump_database(service)
    for text_of_it in (
        ann.password,
        token,
        secret,
        secret[:20],
        code,
        code.replace("-", ""),
        mail["links"][0],
    ):
        assert text_of_it not in kept
    assert ann.registration in kept, "the search covers the right rows"
    assert "$argon2id$" in kept


def test_emailed_code_is_stored_as_a_keyed_digest(service):
    """A plain hash of 34 bits could be reversed in minutes."""
    ann = service.actor()
    ann.register()
    code = ann.mail()["code"]
    kept = dump_database(service)
    for spelled in (
        code,
        code.replace("-", ""),
        f"{ann.registration} {code}",
        f"{ann.registration}{code.replace('-', '')}",
    ):
        for make in (hashlib.sha256, hashlib.sha1, hashlib.md5, hashlib.sha512):
            assert make(spelled.encode()).hexdigest() not in kept


# Links and languages.


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Forwarded-Host": "evil.example"},
        {
            "X-Forwarded-Proto": "https",
            "X-Forwarded-Host": "evil.example",
            "X-Forwarded-Port": "444",
            "X-Forwarded-Prefix": "/evil.example",
        },
        {"Forwarded": "for=10.0.0.1;host=evil.example;proto=https"},
        {
            "X-Host": "evil.example",
            "X-Original-URL": "/evil.example",
            "X-Rewrite-URL": "/evil.example",
        },
        {"Host": "127.0.0.1:9999"},
        {"Host": "LOCALHOST"},
    ],
    ids=str,
)
@pytest.mark.parametrize(
    "trusted", [(), ("10.0.0.0/8",)], ids=["from anyone", "from a gateway of ours"]
)
def test_request_headers_never_change_an_emailed_link(make_service, headers, trusted):
    service = make_service(
        public_url="https://auth.example.org",
        trusted_proxies=tuple(map(ipaddress.ip_network, trusted)),
    )
    ann = service.actor()
    body = {"username": "ann", "email": ann.email, "name": "Ann"}
    assert ann.post("/v1/register", body, headers=headers).status_code == 202
    service.units.limiter.reset()
    assert ann.post("/v1/register/resend", {"email": ann.email}, headers=headers).status_code == 202
    mails = service.mailbox()
    assert len(mails) == 2
    for mail in mails:
        assert mail["links"][0].startswith("https://auth.example.org/confirm/dwc_")
        assert "evil.example" not in json.dumps(mail)
        assert ":9999" not in json.dumps(mail)


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "127.0.0.1.evil.example",
        "evil.example:8080",
        "127.0.0.1@evil.example",
        "127.0.0.1, evil.example",
        "",
        "127.0.0.1:80:80",
    ],
)
def test_untrusted_host_is_refused_and_sends_no_email(shared_service, host):
    ann = shared_service.actor()
    answer = ann.post(
        "/v1/register",
        {"username": "ann", "email": ann.email, "name": "Ann"},
        headers={"Host": host},
    )
    assert answer.status_code == 400
    assert answer.json["code"] == "untrusted_host"
    assert "evil.example" not in answer.text
    assert set(count_rows(shared_service).values()) == {0}


def test_links_use_the_frontend_setting(make_service):
    service = make_service(link_confirm="https://app.example.org/welcome?t={token}#here")
    ann = service.actor()
    ann.register()
    (link,) = ann.mail()["links"]
    token = link.removeprefix("https://app.example.org/welcome?t=").removesuffix("#here")
    assert (
        ann.post("/v1/register/confirm", {"token": token, "password": PASSWORD}).status_code == 200
    )


@pytest.mark.parametrize(
    ("locale", "accepts", "language"),
    [
        ("en", "de", "en"),
        ("de", "en", "de"),
        ("de-AT", None, "de"),
        ("DE", None, "de"),
        ("fr", "de", "en"),
        (None, "de-AT, de;q=0.9, en;q=0.8", "de"),
        (None, "de-AT, en;q=0.5", "de"),
        (None, "fr, de;q=0.5", "de"),
        (None, "fr", "en"),
        (None, "../de", "en"),
        (None, None, "en"),
    ],
)
def test_email_uses_the_requested_or_preferred_language(sqlite_service, locale, accepts, language):
    ann = sqlite_service.actor()
    body = {"username": "ann", "email": ann.email, "name": "Ann"} | (
        {"locale": locale} if locale else {}
    )
    assert (
        ann.post(
            "/v1/register", body, headers={"Accept-Language": accepts} if accepts else {}
        ).status_code
        == 202
    )
    mail = ann.mail()
    assert (mail["template"], mail["language"]) == ("confirm_new", language)
    assert f'lang="{language}"' in mail["html"]


def test_existing_account_email_is_in_the_owners_language(sqlite_service):
    ann = sqlite_service.actor()
    ann.register(locale="de-AT")
    ann.confirm()
    sqlite_service.actor("eve", email=ann.email).register(locale="en")
    mail = ann.mail()
    assert (mail["template"], mail["language"]) == ("already_registered", "de")
