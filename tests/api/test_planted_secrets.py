"""Secrets appear only where they belong.

A scenario plants unique secrets in a running service. The test then searches for them, in many
encodings, in the output of the process, the database (the bytes of the file, for SQLite), Redis,
all responses except the one that issues the secret, and emails to others. To extend it, add a
function that performs requests and plants what they return.
"""

from __future__ import annotations

import base64
import hashlib
import html
import http.client
import json
import re
import secrets
import socket
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import quote, quote_plus, urlencode

import pytest
import redis
from sqlalchemy import create_engine, inspect, text

JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@dataclass(frozen=True)
class Secret:
    """A planted secret, who may read it in emails, and the responses that issue it."""

    name: str
    text: str
    owner: str = ""
    handed_out: tuple[int, ...] = ()
    typed: bool = False  # chosen by a person, so its plain hash is as sensitive

    def spellings(self) -> dict[str, str]:
        """Return the encodings in which the secret may appear."""
        raw = self.text.encode()
        found = {
            "raw": self.text,
            "JSON": json.dumps(self.text)[1:-1],
            "Python": repr(self.text)[1:-1],
            "HTML": html.escape(self.text),
            "URL": quote(self.text, safe=""),
            "path": quote(self.text),
            "form": quote_plus(self.text),
            "hex": raw.hex(),
            "backwards": self.text[::-1],
            "lower": self.text.lower(),
            "end": self.text[-16:],
        }
        for before in range(3):  # base64 of a longer text has one of three forms
            body = (
                base64.b64encode(b"\0" * before + raw)
                .decode()[4 if before else 0 :]
                .rstrip("=")[:-1]
            )
            found[f"base64 after {before}"] = body
            found[f"base64url after {before}"] = body.translate(str.maketrans("+/", "-_"))
        if self.typed:
            found["begin"] = self.text[:16]
            for kind in ("md5", "sha1", "sha256", "sha512"):
                digest = hashlib.new(kind, raw)
                found[kind] = digest.hexdigest()
                found[f"{kind} in base64"] = base64.b64encode(digest.digest()).decode()[:20]
        return found


@dataclass(frozen=True)
class RecordedResponse:
    number: int
    label: str
    status: int
    headers: str
    body: str

    @property
    def json(self):
        return json.loads(self.body)


@dataclass
class Scenario:
    """All requests, responses and planted secrets."""

    live: object
    answers: list[RecordedResponse] = field(default_factory=list)
    planted: list[Secret] = field(default_factory=list)
    statuses: set[tuple[str, int]] = field(default_factory=set)

    def send(
        self,
        method: str,
        path: str,
        body=None,
        *,
        token: str | None = None,
        data: bytes | None = None,
        **headers: str,
    ) -> RecordedResponse:
        """Send a request and record the response."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if body is not None:
            data, sent = json.dumps(body).encode(), {**JSON, **sent}
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        connection = http.client.HTTPConnection("127.0.0.1", self.live.port, timeout=20)
        try:
            connection.request(method, path, data, sent)
            got = connection.getresponse()
            return self._record(
                f"{method} {path[:40]}", got.status, str(got.headers), got.read().decode()
            )
        finally:
            connection.close()

    def send_bytes(self, raw: bytes) -> RecordedResponse:
        """Send bytes that are not a valid request."""
        with socket.create_connection(("127.0.0.1", self.live.port), 20) as connection:
            connection.sendall(raw)
            connection.shutdown(socket.SHUT_WR)
            got = b""
            while chunk := connection.recv(65536):
                got += chunk
        head, _, body = got.decode().partition("\r\n\r\n")
        return self._record(repr(raw[:40]), int(head.split()[1]) if head else 0, head, body)

    def _record(self, *parts) -> RecordedResponse:
        self.answers.append(RecordedResponse(len(self.answers), *parts))
        return self.answers[-1]

    def plant(
        self,
        name: str,
        text: str,
        owner: str = "",
        *handed_out: RecordedResponse,
        typed: bool = False,
    ) -> str:
        """Add a secret to the search. If it is planted again, both responses issue it."""
        numbers = tuple(answer.number for answer in handed_out)
        for index, known in enumerate(self.planted):
            if known.text == text:
                self.planted[index] = replace(known, handed_out=known.handed_out + numbers)
                return text
        self.planted.append(Secret(name, text, owner, numbers, typed))
        return text

    def password(self, name: str, owner: str = "") -> str:
        """Generate a password that each encoding changes."""
        return self.plant(
            f"password {name}",
            f'{secrets.token_hex(8)} p\u00e4ss/"phrase"? <&+%>',
            owner,
            typed=True,
        )

    def plant_tokens(self, name: str, answer: RecordedResponse, owner: str) -> dict:
        """Plant both tokens of a response and the parts that only the service can create."""
        tokens = answer.json
        self.plant(f"access token {name}", tokens["access_token"], owner, answer)
        self.plant(f"signature {name}", tokens["access_token"].rpartition(".")[2], owner, answer)
        self.plant(f"refresh token {name}", tokens["refresh_token"], owner, answer)
        self.plant(f"mac {name}", tokens["refresh_token"].rpartition(".")[2], owner, answer)
        if tokens.get("device_token"):
            self.plant(f"device token {name}", tokens["device_token"], owner, answer)
            self.plant(
                f"secret of the device token {name}",
                tokens["device_token"].rpartition("_")[2],
                owner,
                answer,
            )
        return tokens

    def read_mail(self, to: str) -> dict:
        """Read the latest email of a user and plant its link and code."""
        letter = self.live.mailbox(to)[0]
        if letter["code"]:
            self.plant("code", letter["code"], to, typed=True)
            self.plant("code without its dash", letter["code"].replace("-", ""), to, typed=True)
        for link in letter["links"]:
            token = link.rpartition("/")[2]
            if "_" in token:
                self.plant("token of a link", token, to)
                self.plant("secret of a link", token.rpartition("_")[2], to)
        return letter


# Scenario.


def build_registration(name: str, password: str | None) -> dict:
    body = {
        "username": name,
        "email": f"{name}@example.org",
        "name": name.title(),
        "password": password,
    }
    return {key: value for key, value in body.items() if value is not None}


def register_accounts(scenario: Scenario) -> dict[str, str]:
    """Register with an emailed code, on the page and with an API link, with failed attempts in each.

    Return the passwords by name.
    """
    passwords = {
        name: scenario.password(f"of {name}", f"{name}@example.org")
        for name in ("ann", "bob", "cyd")
    }
    wrong_code = scenario.plant("wrong code", "ZZZZ-XXXX", typed=True)

    handle = scenario.send(
        "POST", "/v1/register", build_registration("ann", passwords["ann"])
    ).json["registration"]
    code = scenario.read_mail("ann@example.org")["code"]
    scenario.send(
        "POST", "/v1/register", {**build_registration("ann", passwords["ann"]), "username": "a"}
    )
    scenario.send(
        "POST",
        "/v1/register",
        {
            **build_registration("ann", passwords["ann"]),
            "password": scenario.password("too long") * 10,
        },
    )
    scenario.send("POST", "/v1/register/resend", {"registration": handle})
    scenario.send("POST", "/v1/register/resend", {"email": "ann@example.org"})
    scenario.send("POST", "/v1/register/confirm", {"registration": handle, "code": wrong_code})
    scenario.send(
        "POST",
        "/v1/register/confirm",
        {"registration": handle, "code": code, "password": scenario.password("nobody asked for")},
    )
    assert (
        scenario.send("POST", "/v1/register/confirm", {"registration": handle, "code": code}).status
        == 200
    )
    scenario.send("POST", "/v1/register/confirm", {"registration": handle, "code": code})
    scenario.send(
        "POST",
        "/v1/register",
        {**build_registration("eve", scenario.password("of eve")), "email": "ann@example.org"},
    )

    assert scenario.send("POST", "/v1/register", build_registration("bob", None)).status == 202
    link = scenario.read_mail("bob@example.org")["links"][0].rpartition("/")[2]
    for method in ("GET", "HEAD", "OPTIONS", "DELETE"):
        scenario.send(method, f"/confirm/{link}")
    scenario.send(
        "GET",
        f"/confirm/{link}x?token={link}",
        Referer=f"http://127.0.0.1/confirm/{link}",
        Cookie=f"link={link}",
    )
    scenario.send("GET", f"/confirm//{link}/")
    scenario.send(
        "POST", f"/confirm/{link}", data=urlencode({"password": "short"}).encode(), **FORM
    )
    page = scenario.send(
        "POST", f"/confirm/{link}", data=urlencode({"password": passwords["bob"]}).encode(), **FORM
    )
    assert (page.status, "bob" in page.body) == (200, True)
    scenario.send(
        "POST", f"/confirm/{link}", data=urlencode({"password": passwords["bob"]}).encode(), **FORM
    )

    assert (
        scenario.send(
            "POST",
            "/v1/register",
            build_registration("cyd", scenario.password("first of cyd", "cyd@example.org")),
        ).status
        == 202
    )
    link = scenario.read_mail("cyd@example.org")["links"][0].rpartition("/")[2]
    scenario.send("POST", "/v1/register/confirm", {"token": link})
    scenario.send(
        "POST", "/v1/register/confirm", {"token": link[:-1], "password": passwords["cyd"]}
    )
    scenario.send(
        "POST",
        "/v1/register/confirm",
        {"token": link, "password": passwords["cyd"], "code": wrong_code},
    )
    assert (
        scenario.send(
            "POST", "/v1/register/confirm", {"token": link, "password": passwords["cyd"]}
        ).status
        == 200
    )
    return passwords


def fail_to_log_in(scenario: Scenario, passwords: dict[str, str]) -> None:
    """Fail to log in, with invalid credentials, bodies and headers."""
    wrong = scenario.password("wrong")
    basic = scenario.plant("Basic credentials", base64.b64encode(f"ann:{wrong}".encode()).decode())
    assert scenario.send("POST", "/v1/login", {"username": "ann", "password": wrong}).status == 401
    scenario.send("POST", "/v1/login", {"username": "nobody-here", "password": wrong})
    scenario.send(
        "POST", "/v1/login", {"username": wrong, "password": "typed into the other field"}
    )
    scenario.send("POST", "/v1/login", {"username": "ann", "password": [wrong]})
    scenario.send("POST", "/v1/login", {"username": "ann", "password": wrong + "\0"})
    scenario.send("POST", "/v1/login", {"username": "ann", "password": wrong, "again": wrong})
    good = json.dumps({"username": "ann", "password": wrong}).encode()
    scenario.send("POST", "/v1/login", data=good[:-1], **JSON)
    scenario.send("POST", "/v1/login", data=b'{"password": "' + wrong.encode() + b'"}', **JSON)
    scenario.send("POST", "/v1/login", data=good.replace(b'"ann"', b'"\xff"'), **JSON)
    scenario.send("POST", "/v1/login", data=good, Content_Type="text/plain")
    scenario.send("POST", "/v1/login", data=good.ljust(20_000), **JSON)
    scenario.send(
        "POST", "/v1/login", data=urlencode({"username": "ann", "password": wrong}).encode(), **FORM
    )
    scenario.send("PUT", "/v1/login", data=good, **JSON)
    scenario.send("GET", "/v1/login?" + urlencode({"username": "ann", "password": wrong}))
    scenario.send(
        "POST",
        "/v1/login?" + urlencode({"password": passwords["ann"]}),
        {"username": "ann", "password": wrong},
    )
    for path in ("/v1/whoami", "/v1/login", "/v1/me"):
        scenario.send("GET", path, Authorization=f"Basic {basic}")


def use_sessions(scenario: Scenario, passwords: dict[str, str]) -> None:
    """Log in, use and misuse tokens, refresh, reuse refresh tokens, and log out in every way."""
    cookie = scenario.plant("cookie", secrets.token_urlsafe(32))

    def log_in(name: str, label: str) -> dict:
        answer = scenario.send(
            "POST",
            "/v1/login",
            {"username": name, "password": passwords[name], "device_name": "phone"},
            Cookie=f"a={cookie}",
        )
        assert answer.status == 200, answer.body
        return scenario.plant_tokens(label, answer, f"{name}@example.org")

    def refresh(token: str, label: str) -> dict:
        answer = scenario.send("POST", "/v1/token/refresh", {"refresh_token": token})
        assert answer.status == 200, answer.body
        return scenario.plant_tokens(label, answer, "ann@example.org")

    tokens = log_in("ann", "of ann")
    access, first = tokens["access_token"], tokens["refresh_token"]
    for path in ("/v1/me", "/v1/whoami", "/v1/sessions", f"/v1/sessions/{tokens['session_id']}"):
        assert scenario.send("GET", path, token=access).status == 200
    scenario.send("PATCH", "/v1/me", {"name": "Ann B.", "metadata": {"a": 1}}, token=access)
    for bad in (access[:-2], access + "=", first, f"{access} {access}", f'"{access}"'):
        assert scenario.send("GET", "/v1/whoami", token=bad).status == 401
    scenario.send("GET", "/v1/whoami", Authorization=access)
    scenario.send("GET", "/v1/whoami", Authorization=f"Token {access}")
    scenario.send(
        "GET",
        "/v1/whoami",
        X_Access_Token=access,
        Proxy_Authorization=f"Bearer {access}",
        Cookie=f"token={access}; other={cookie}",
    )
    scenario.send(
        "GET",
        f"/v1/whoami?access_token={access}&refresh_token={first}",
        Referer=f"https://app.example.org/#{access}",
    )
    scenario.send("GET", f"/v1/sessions/{access}", token=access)
    scenario.send("GET", f"/{first}/{access}", X_Request_Id=access)
    scenario.send("POST", "/v1/token/refresh", {"refresh_token": access})
    scenario.send("POST", "/v1/token/refresh", {"refresh_token": first[:-1]})
    scenario.send("POST", "/v1/token/refresh", {"refresh_token": first, "access_token": access})

    second = refresh(first, "second of ann")
    refresh(first, "second of ann again")
    third = refresh(second["refresh_token"], "third of ann")
    assert scenario.send("POST", "/v1/token/refresh", {"refresh_token": first}).status == 400
    assert (
        scenario.send("POST", "/v1/token/refresh", {"refresh_token": third["refresh_token"]}).status
        == 400
    )

    tokens = log_in("bob", "of bob")
    assert (
        scenario.send("POST", "/v1/logout", {"refresh_token": tokens["refresh_token"]}).status
        == 204
    )
    scenario.send(
        "POST",
        "/v1/logout",
        {"refresh_token": tokens["refresh_token"]},
        token=tokens["access_token"],
    )
    tokens, other_tokens = log_in("bob", "of bob, later"), log_in("bob", "of bob, elsewhere")
    scenario.send(
        "DELETE", f"/v1/sessions/{other_tokens['session_id']}", token=tokens["access_token"]
    )
    assert (
        scenario.send(
            "POST",
            "/v1/logout-all",
            {"refresh_token": other_tokens["refresh_token"]},
            token=tokens["access_token"],
        ).status
        == 204
    )
    scenario.send("POST", "/v1/logout-all", {"refresh_token": tokens["refresh_token"]})


def use_refresh_cookie(scenario: Scenario, passwords: dict[str, str]) -> None:
    """Use the refresh token cookie: set, rotated, misused and cleared."""
    page = {"Origin": scenario.live.url, "X_Requested_With": "app"}

    def plant_refresh_cookie(label: str, answer: RecordedResponse) -> str:
        assert answer.status == 200, answer.body
        token = re.search(r"doorward-refresh=([^;]+)", answer.headers)[1]
        scenario.plant(f"refresh token in the {label} cookie", token, "bob@example.org", answer)
        scenario.plant(
            f"mac in the {label} cookie", token.rpartition(".")[2], "bob@example.org", answer
        )
        scenario.plant(
            f"access token beside the {label} cookie",
            answer.json["access_token"],
            "bob@example.org",
            answer,
        )
        return token

    login = {"username": "bob", "password": passwords["bob"], "refresh_in_cookie": True}
    assert scenario.send("POST", "/v1/login", login).status == 403
    first = plant_refresh_cookie("first", scenario.send("POST", "/v1/login", login, **page))
    second = plant_refresh_cookie(
        "second",
        scenario.send("POST", "/v1/token/refresh", {}, Cookie=f"doorward-refresh={first}", **page),
    )
    cookie = f"doorward-refresh={second}"
    for headers in (
        {},
        {"Origin": f"https://{second}.example"},
        {"X_Requested_With": second},
        {**page, "Origin": second},
    ):
        assert (
            scenario.send("POST", "/v1/token/refresh", {}, Cookie=cookie, **headers).status == 403
        )
    assert (
        scenario.send(
            "POST", "/v1/token/refresh", {"refresh_token": second}, Cookie=cookie, **page
        ).status
        == 400
    )
    assert scenario.send("POST", "/v1/token/refresh", {}, Cookie=f"{cookie}x", **page).status == 400
    scenario.send("GET", "/v1/me", Cookie=cookie, **page)
    assert scenario.send("POST", "/v1/logout", {}, Cookie=cookie, **page).status == 204
    assert scenario.send("POST", "/v1/logout", {}, Cookie=cookie, **page).status == 401


def reset_and_change_passwords(scenario: Scenario, passwords: dict[str, str]) -> None:
    """Reset the password by page and API, change it, and use trusted devices."""
    assert scenario.send("POST", "/v1/password/forgot", {"username": "bob"}).status == 202
    link = scenario.read_mail("bob@example.org")["links"][0].rpartition("/")[2]
    for address in ("bob@example.org", "nobody@example.org"):
        assert scenario.send("POST", "/v1/password/forgot", {"email": address}).status == 202
    for method in ("GET", "HEAD", "OPTIONS"):
        scenario.send(method, f"/reset/{link}", Referer=f"http://127.0.0.1/reset/{link}")
    scenario.send("GET", f"/reset/{link[:-1]}?token={link}")
    new, other = scenario.password("new of bob", "bob@example.org"), scenario.password("mistyped")
    scenario.send(
        "POST", "/v1/password/reset", {"token": link, "new_password": new, "verify_password": other}
    )
    scenario.send(
        "POST", "/v1/password/reset", {"token": link, "new_password": new, "password": other}
    )
    scenario.send(
        "POST",
        "/v1/password/reset",
        {"token": link[:-1] + ("x" if link[-1] != "x" else "y"), "new_password": new},
    )
    scenario.send(
        "POST", f"/reset/{link}", data=urlencode({"password": new, "again": other}).encode(), **FORM
    )
    assert (
        scenario.send("POST", "/v1/password/reset", {"token": link, "new_password": new}).status
        == 204
    )
    assert (
        scenario.send("POST", "/v1/password/reset", {"token": link, "new_password": new}).status
        == 400
    )
    scenario.send("POST", "/v1/login", {"username": "bob", "password": passwords["bob"]})
    passwords["bob"] = new

    body = {
        "username": "cyd",
        "password": passwords["cyd"],
        "remember_device": True,
        "device_name": "laptop",
    }
    tokens = scenario.plant_tokens(
        "of cyd", scenario.send("POST", "/v1/login", body), "cyd@example.org"
    )
    device, access = tokens["device_token"], tokens["access_token"]
    scenario.send(
        "POST",
        "/v1/login",
        {
            "username": "cyd",
            "password": scenario.password("from the laptop"),
            "device_token": device,
        },
    )
    scenario.send(
        "POST",
        "/v1/login",
        {"username": "ann", "password": passwords["cyd"], "device_token": device},
    )
    scenario.send("GET", "/v1/devices", token=access, Cookie=f"device={device}")
    scenario.send("GET", "/v1/devices", token=device)
    scenario.send("DELETE", f"/v1/devices/{device}", token=access)
    new = scenario.password("new of cyd", "cyd@example.org")
    for old, wanted in (
        (scenario.password("not of cyd"), new),
        (passwords["cyd"], passwords["cyd"]),
        (passwords["cyd"], new[:10]),
    ):
        assert scenario.send(
            "POST",
            "/v1/password/change",
            {"old_password": old, "new_password": wanted},
            token=access,
        ).status in {403, 422}
    changed = scenario.send(
        "POST",
        "/v1/password/change",
        {"old_password": passwords["cyd"], "new_password": new},
        token=access,
    )
    assert changed.status == 200, changed.body
    scenario.plant_tokens("after the change", changed, "cyd@example.org")
    passwords["cyd"] = new


def use_api_keys(scenario: Scenario, passwords: dict[str, str]) -> None:
    """Create, use, misuse, rotate and report API keys."""
    login = scenario.send("POST", "/v1/login", {"username": "ann", "password": passwords["ann"]})
    access = scenario.plant_tokens("for keys", login, "ann@example.org")["access_token"]

    def plant_key(name: str, answer: RecordedResponse) -> str:
        assert answer.status in {200, 201}, answer.body
        key = scenario.plant(f"key {name}", answer.json["key"], "", answer)
        scenario.plant(f"secret of the key {name}", key.rpartition("_")[2], "", answer)
        return key

    created = scenario.send("POST", "/v1/api-keys", {"name": "ci", "scopes": []}, token=access)
    path, first = f"/v1/api-keys/{created.json['id']}", plant_key("first", created)
    for headers in ({"X_API_Key": first}, {"Authorization": f"Bearer {first}"}):
        assert scenario.send("GET", "/v1/whoami", **headers).status == 200
        assert scenario.send("GET", "/v1/me", **headers).status == 403
    for headers in (
        {"X_API_Key": first[:-1]},
        {"X_API_Key": first, "Authorization": f"Bearer {first}"},
        {"Authorization": f"Key {first}"},
    ):
        assert scenario.send("GET", "/v1/whoami", **headers).status == 401
    scenario.send(
        "GET",
        f"/v1/whoami?api_key={first}",
        Cookie=f"key={first}",
        Referer=f"https://app.example.org/?key={first}",
    )
    scenario.send("GET", f"/v1/api-keys/{first}", token=access)
    scenario.send(
        "POST", "/v1/api-keys", {"name": "ci", "scopes": [first], "key": first}, token=access
    )
    second = plant_key(
        "second", scenario.send("POST", f"{path}/rotate", {"overlap_seconds": 60}, token=access)
    )
    for read_path in (path, "/v1/api-keys"):
        assert scenario.send("GET", read_path, token=access).status == 200
    for body in (
        {"key": first[:-1]},
        {"key": [second]},
        {"key": second, "again": second},
        {"key": first},
    ):
        scenario.send("POST", "/v1/api-keys/report-leak", body)
    assert scenario.send("GET", "/v1/whoami", X_API_Key=second).status == 401


def use_device_logins(scenario: Scenario, passwords: dict[str, str]) -> None:
    """Start, claim, approve, redeem and cancel device logins, and use their tokens."""
    login = scenario.send("POST", "/v1/login", {"username": "ann", "password": passwords["ann"]})
    access = scenario.plant_tokens("for codes", login, "ann@example.org")["access_token"]
    grant = "urn:ietf:params:oauth:grant-type:device_code"

    def plant_codes(name: str, answer: RecordedResponse) -> dict[str, str]:
        assert answer.status in {200, 201}, answer.body
        codes = answer.json
        scenario.plant(f"device code {name}", codes["device_code"], "", answer)
        scenario.plant(
            f"secret of the device code {name}", codes["device_code"].rpartition("_")[2], "", answer
        )
        scenario.plant(f"user code {name}", codes["user_code"], "", answer, typed=True)
        scenario.plant(
            f"user code {name} without its dash",
            codes["user_code"].replace("-", ""),
            "",
            typed=True,
        )
        return codes

    def poll(code: str, **fields: str) -> RecordedResponse:
        return scenario.send(
            "POST",
            "/oauth/token",
            data=urlencode({"grant_type": grant, "device_code": code, **fields}).encode(),
            **FORM,
        )

    scenario.send(
        "POST",
        "/v1/login-sessions",
        {"client_name": "box", "username": scenario.password("typed as a name")},
    )
    by_form = scenario.send(
        "POST", "/oauth/device_authorization", data=b"scope=orders%3Aread", **FORM
    )
    by_form_codes, by_json_codes = (
        plant_codes("by form", by_form),
        plant_codes("by JSON", scenario.send("POST", "/v1/login-sessions", {"client_name": "box"})),
    )
    device, user = by_form_codes["device_code"], by_form_codes["user_code"]
    for fields in ({}, {}, {"client_id": "nobody"}, {"client_secret": device}):
        assert poll(device, **fields).status in {400, 401}
    poll(device[:-1])
    scenario.send(
        "POST", f"/oauth/token?device_code={device}", data=b"grant_type=" + grant.encode(), **FORM
    )
    page = scenario.send(
        "GET",
        f"/login/activate/{user}",
        Referer=f"http://127.0.0.1/login/activate/{user}",
        Cookie=f"code={user}",
    )
    scenario.plant("user code by form", user, "", page, typed=True)
    scenario.send("GET", f"/v1/login-sessions/{device}", token=access)
    scenario.send("GET", f"/v1/login-sessions?user_code={user}&device_code={device}", token=access)
    scenario.send(
        "POST",
        "/v1/login-sessions/claim",
        {"user_code": user + user, "device_code": device},
        token=access,
    )
    assert (
        scenario.send(
            "POST",
            "/v1/login-sessions/claim",
            {"user_code": scenario.plant("mistyped", "BBBB-CDFG", typed=True)},
            token=access,
        ).status
        == 404
    )
    assert (
        scenario.send(
            "POST", "/v1/login-sessions/claim", {"user_code": user.lower()}, token=access
        ).status
        == 200
    )
    approve = f"/v1/login-sessions/{by_form_codes['session_id']}/approve"
    assert (
        scenario.send(
            "POST", approve, {"user_code": by_json_codes["user_code"]}, token=access
        ).status
        == 404
    )
    assert scenario.send("POST", approve, {"user_code": user}, token=access).status == 200
    scenario.plant_tokens("let in", poll(device), "ann@example.org")
    assert poll(device).status == 400
    for code in (by_json_codes["device_code"], device, by_json_codes["device_code"]):
        scenario.send("POST", "/v1/login-sessions/cancel", {"device_code": code})
    for path in ("", f"/{by_form_codes['session_id']}"):
        assert scenario.send("GET", f"/v1/login-sessions{path}", token=access).status == 200


def use_pages(scenario: Scenario, passwords: dict[str, str]) -> None:
    """Use the page cookie (set, misused, replaced) and send the password in every form."""
    ours = {"Origin": scenario.live.url, **FORM}

    def send(
        path: str, cookie: str = "", headers: dict[str, str] = ours, **fields: str
    ) -> RecordedResponse:
        return scenario.send(
            "POST", path, data=urlencode(fields).encode(), Cookie=cookie, **headers
        )

    def plant_cookie(label: str, answer: RecordedResponse) -> str:
        assert answer.status in {200, 303}, answer.body
        cookie = re.search(r"doorward=(dwp1[^;]+)", answer.headers)[1]
        scenario.plant(f"page cookie {label}", cookie, "", answer)
        scenario.plant(f"mac of the page cookie {label}", cookie.rpartition(".")[2], "", answer)
        return f"doorward={cookie}"

    wrong = scenario.password("wrong on a page")
    assert send("/login", username="bob", password=wrong).status == 401
    assert send("/login", headers=FORM, username="bob", password=passwords["bob"]).status == 403
    first = plant_cookie(
        "first", send("/login", username="bob", password=passwords["bob"], next=f"//{wrong}")
    )
    value = first.partition("=")[2]
    for path in (
        "/login/sessions",
        "/login/activate",
        f"/login/requests/{value}",
        f"/login?next={value}",
        f"/login/activate/{value}",
    ):
        scenario.send("GET", path, Cookie=first, Referer=f"{scenario.live.url}/login?next={value}")
    for path in (
        f"/login/sessions/{value}/end",
        f"/login/devices/{value}/forget",
        f"/login/requests/{value}/approve",
    ):
        assert send(path, first, user_code=value).status == 404
    scenario.send("GET", "/v1/me", token=value)
    scenario.send("GET", "/v1/me", Cookie=first, X_API_Key=value)
    assert send("/login/again", first, password=wrong).status == 403
    second = plant_cookie(
        "second", send("/login/again", first, password=passwords["bob"], next=value)
    )
    assert send(
        "/login/password", second, old=wrong, new=scenario.password("never set"), again=wrong
    ).status in {403, 422}
    new = scenario.password("set on a page", "bob@example.org")
    third = plant_cookie(
        "third", send("/login/password", second, old=passwords["bob"], new=new, again=new)
    )
    passwords["bob"] = new
    assert send("/login/out", third).status == 200
    assert send("/login/out", third).status == 303


def send_malformed_requests(scenario: Scenario, passwords: dict[str, str]) -> None:
    """Send requests that cannot be parsed; the server must not quote them."""
    lost = scenario.plant("token in a broken request", secrets.token_urlsafe(48))
    password = passwords["ann"].encode()
    host = b"Host: 127.0.0.1\r\n"
    token = lost.encode()
    for raw in (
        b"GET /confirm/" + token + b" HTTP/9.9\r\n" + host + b"\r\n",
        b"GET /confirm/" + token + b"\r\n" + host + b"\r\n",
        b"GET /confirm/" + token * 90 + b" HTTP/1.1\r\n" + host + b"\r\n",
        b"GET /v1/me HTTP/1.1\r\n" + host + b"Authorization Bearer " + token + b"\r\n\r\n",
        b"GET /v1/me HTTP/1.1\r\n" + host + b"Authorization : Bearer " + token + b"\r\n\r\n",
        b"GET /v1/me HTTP/1.1\r\n" + host + b"Authorization: Bearer\r\n " + token + b"\r\n\r\n",
        b"GET /v1/me HTTP/1.1\r\n" + host + b"Authorization: Bearer " + token + b"\x00\r\n\r\n",
        b"GET /v1/me HTTP/1.1\r\n" + host + b"Authorization: Bearer " + token * 200 + b"\r\n\r\n",
        b"GET /v1/me HTTP/1.1\r\n" + host + b"X-" + token + b"\xff: 1\r\n\r\n",
        b"GET /v1/me HTTP/1.1\r\n"
        + host
        + b"Cookie: a="
        + token
        + b"\r\nCookie: b="
        + token
        + b"\r\n\r\n",
        token + b" /v1/me HTTP/1.1\r\n" + host + b"\r\n",
        b"GET http://" + token + b"@127.0.0.1/v1/me HTTP/1.1\r\n" + host + b"\r\n",
        b"GET /v1/me HTTP/1.1\r\nHost: " + token + b"\r\n\r\n",
        b"POST /v1/login HTTP/1.1\r\n" + host + b"Content-Length: x" + token + b"\r\n\r\n",
        b"POST /v1/login HTTP/1.1\r\n" + host + b"Transfer-Encoding: " + token + b"\r\n\r\n",
        b"POST /v1/login HTTP/1.1\r\n"
        + host
        + b"Transfer-Encoding: chunked\r\n\r\n"
        + token
        + b"\r\n"
        + password,
        b"POST /v1/login HTTP/1.1\r\n"
        + host
        + b"Content-Length: 999\r\nContent-Type: application/json\r\n\r\n"
        + password,
        b"POST /v1/login HTTP/1.1\r\n"
        + host
        + b"Content-Type: "
        + token
        + b"\r\nContent-Length: 2\r\n\r\n{}",
        password + b"\r\n\r\n",
    ):
        scenario.send_bytes(raw)


def cause_internal_errors(scenario: Scenario, passwords: dict[str, str], url: str) -> None:
    """Cause unreadable rows and rejected writes, whose tracebacks contain messages of libraries."""
    engine = create_engine(url)
    tokens = scenario.plant_tokens(
        "when all broke",
        scenario.send("POST", "/v1/login", {"username": "cyd", "password": passwords["cyd"]}),
        "cyd@example.org",
    )
    with engine.begin() as connection:
        salts = connection.execute(text("SELECT rt_salt FROM sessions")).scalars().all()
        hashes = connection.execute(text("SELECT password_hash FROM accounts")).scalars().all()
    inside = [Secret("salt of a session", salt) for salt in salts] + [
        Secret("stored hash", stored) for stored in hashes
    ]
    for table, event in (("sessions", "UPDATE"), ("accounts", "UPDATE"), ("sessions", "INSERT")):
        with engine.begin() as connection:
            if engine.dialect.name == "postgresql":
                connection.execute(
                    text(f"ALTER TABLE {table} ADD CONSTRAINT broken CHECK (false) NOT VALID")
                )
            else:
                what = "SELECT RAISE(ABORT, 'planted')"
                connection.execute(
                    text(f"CREATE TRIGGER broken BEFORE {event} ON {table} BEGIN {what}; END")
                )
        assert scenario.send(
            "POST", "/v1/token/refresh", {"refresh_token": tokens["refresh_token"]}
        ).status in {200, 500}
        answer = scenario.send(
            "POST", "/v1/login", {"username": "cyd", "password": passwords["cyd"]}
        )
        assert answer.status in {200, 500}
        scenario.send("PATCH", "/v1/me", {"name": "Cyd C."}, token=tokens["access_token"])
        if answer.status == 200:
            scenario.plant_tokens("in spite of it", answer, "cyd@example.org")
        with engine.begin() as connection:
            broken = (
                f"ALTER TABLE {table} DROP CONSTRAINT broken"
                if engine.dialect.name == "postgresql"
                else "DROP TRIGGER broken"
            )
            connection.execute(text(broken))
    with engine.begin() as connection:
        connection.execute(text("UPDATE accounts SET metadata = '7' WHERE username = 'cyd'"))
        connection.execute(text("UPDATE sessions SET rt_salt = 'no hex'"))
    assert (
        scenario.send(
            "POST", "/v1/token/refresh", {"refresh_token": tokens["refresh_token"]}
        ).status
        == 500
    )
    scenario.send("GET", "/v1/me", token=tokens["access_token"])
    engine.dispose()
    output = scenario.live.log.read_text()
    assert "Traceback" in output
    assert [secret.name for secret in inside if secret.text in output] == []


CHAPTERS: list[Callable[[Scenario, dict[str, str]], None]] = [
    fail_to_log_in,
    use_device_logins,  # before the source counts as suspicious
    use_refresh_cookie,
    use_pages,
    use_sessions,
    reset_and_change_passwords,
    use_api_keys,
    send_malformed_requests,
]


# Search.


def find_secrets(place: str, where: str, planted: list[Secret]) -> list[str]:
    """Return each secret found in the text, with its encoding."""
    return [
        f"{secret.name} ({spelling}) in {place}"
        for secret in planted
        for spelling, spelled in secret.spellings().items()
        if spelled in where
    ]


def dump_database(url: str) -> dict[str, str]:
    """Return all values by table, and the bytes of SQLite files, which may contain deleted rows."""
    engine, stores = create_engine(url), {}
    with engine.connect() as connection:
        for table in inspect(connection).get_table_names():
            rows = connection.execute(text(f'SELECT * FROM "{table}"')).all()
            stores[f"table {table}"] = "\n".join(str(value) for row in rows for value in row)
    engine.dispose()
    if url.startswith("sqlite"):
        path = Path(url.removeprefix("sqlite:///"))
        stores |= {
            f"file {file.name}": file.read_bytes().decode("utf-8", "replace")
            for file in path.parent.glob(path.name + "*")
        }
    return stores


def dump_redis(url: str) -> str:
    """Return all keys and values in Redis."""
    client = redis.Redis.from_url(url)
    lines = []
    for key in client.keys("*"):
        kind = client.type(key)
        read = {
            b"string": client.get,
            b"zset": lambda k: client.zrange(k, 0, -1),
            b"list": lambda k: client.lrange(k, 0, -1),
        }
        read |= {b"hash": client.hgetall, b"set": client.smembers}
        lines.append(f"{key!r} {read[kind](key)!r}")
    client.close()
    return "\n".join(lines)


@pytest.fixture(params=["sqlite", "postgresql and redis"])
def scenario(request, make_live):
    """Run the scenario on a separate process and return it with its stores."""
    if request.param == "sqlite":
        url, more = request.getfixturevalue("sqlite_url"), {}
    else:
        url, more = (
            request.getfixturevalue("empty_postgres_url"),
            {"DOORWARD_REDIS_URL": request.getfixturevalue("redis_url")},
        )
    scenario = Scenario(make_live(database_url=url, **more))
    passwords = register_accounts(scenario)
    for chapter in CHAPTERS:
        chapter(scenario, passwords)
    emails = {
        person: scenario.live.mailbox(f"{person}@example.org")
        for person in ("ann", "bob", "cyd", "eve")
    }
    cause_internal_errors(scenario, passwords, url)
    memory = dump_redis(more["DOORWARD_REDIS_URL"]) if more else ""
    stores = dump_database(url)
    scenario.live.stop()
    return scenario, emails, {**stores, "Redis": memory}


def test_planted_secrets_appear_only_where_they_belong(scenario):
    scenario, emails, stores = scenario
    output = scenario.live.log.read_text()
    assert len(scenario.planted) > 40
    assert len({secret.text for secret in scenario.planted}) > 35
    found = find_secrets("the output of the process", output, scenario.planted)
    for place, where in stores.items():
        found += find_secrets(place, where, scenario.planted)
    for answer in scenario.answers:
        others = [secret for secret in scenario.planted if answer.number not in secret.handed_out]
        found += find_secrets(f"the answer to {answer.label}", answer.headers + answer.body, others)
    for person, mails in emails.items():
        others = [
            secret
            for secret in scenario.planted
            if secret.owner != f"{person}@example.org" or "password" in secret.name
        ]
        found += [
            hit
            for mail in mails
            for hit in find_secrets(
                f"a mail to {person}", json.dumps(mail, ensure_ascii=False), others
            )
        ]
    assert found == []

    assert "Bearer " not in output
    # With the dot, because a random id may contain three letters.
    assert not re.search(r"eyJ[\w-]+\.", output)
    assert "$argon2" not in output
    assert "@example.org" not in output
    assert {json.loads(line)["level"] for line in output.splitlines() if line.startswith("{")} >= {
        "info",
        "error",
    }
    assert {answer.status for answer in scenario.answers} >= {
        200,
        202,
        204,
        400,
        401,
        403,
        404,
        405,
        413,
        415,
        422,
        500,
    }
    assert all(emails[person] for person in ("ann", "bob", "cyd"))


def test_search_finds_a_secret_that_is_present():
    """Check the search itself: it finds each encoding within a longer text."""
    planted = [Secret("password", '0123456789abcdef p\u00e4ss/"phrase"? <&+%>', typed=True)]
    for written in (
        json.dumps({"x": planted[0].text}),
        quote(planted[0].text, safe=""),
        base64.b64encode(f"ann:{planted[0].text}".encode()).decode(),
        base64.urlsafe_b64encode(f"bobby:{planted[0].text}".encode()).decode(),
        base64.b64encode(f"{planted[0].text}!".encode()).decode(),
        hashlib.sha256(planted[0].text.encode()).hexdigest(),
        html.escape(f"<p>{planted[0].text}</p>"),
        str({"x": planted[0].text}),
    ):
        assert find_secrets("here", f"before {written} after", planted), written
    assert find_secrets("here", "nothing at all", planted) == []
