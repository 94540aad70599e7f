"""A long story told to a serving process with secrets that exist nowhere else, and then a search for each of them, in many spellings.

Looked through are the whole output of the process, every value of the database (SQLite's file byte by byte), Redis, every answer but
the one that hands the secret out, and all mail to others. A new chapter is a function that tells it and plants what it learns.
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
    """What must not be found, by whom it may be read in the mail, and the answers that hand it out."""

    name: str
    text: str
    owner: str = ""
    handed_out: tuple[int, ...] = ()
    typed: bool = (
        False  # by a person, so that a bare hash of it would be as good as the thing itself
    )

    def spellings(self) -> dict[str, str]:
        """The text as it may have ended up somewhere."""
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
        for before in range(
            3
        ):  # base64 of a text around it has one of three spellings of its middle
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
class Answer:
    number: int
    label: str
    status: int
    headers: str
    body: str

    @property
    def json(self):
        return json.loads(self.body)


@dataclass
class Story:
    """Everything that was asked and answered, and every secret that was in play."""

    live: object
    answers: list[Answer] = field(default_factory=list)
    planted: list[Secret] = field(default_factory=list)
    statuses: set[tuple[str, int]] = field(default_factory=set)

    def ask(
        self,
        method: str,
        path: str,
        body=None,
        *,
        token: str | None = None,
        data: bytes | None = None,
        **headers: str,
    ) -> Answer:
        """One request; the answer is kept with its headers."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if body is not None:
            data, sent = json.dumps(body).encode(), {**JSON, **sent}
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        connection = http.client.HTTPConnection("127.0.0.1", self.live.port, timeout=20)
        try:
            connection.request(method, path, data, sent)
            got = connection.getresponse()
            return self._kept(
                f"{method} {path[:40]}", got.status, str(got.headers), got.read().decode()
            )
        finally:
            connection.close()

    def say(self, raw: bytes) -> Answer:
        """Bytes that are no request as they should be."""
        with socket.create_connection(("127.0.0.1", self.live.port), 20) as connection:
            connection.sendall(raw)
            connection.shutdown(socket.SHUT_WR)
            got = b""
            while chunk := connection.recv(65536):
                got += chunk
        head, _, body = got.decode().partition("\r\n\r\n")
        return self._kept(repr(raw[:40]), int(head.split()[1]) if head else 0, head, body)

    def _kept(self, *parts) -> Answer:
        self.answers.append(Answer(len(self.answers), *parts))
        return self.answers[-1]

    def plant(
        self, name: str, text: str, owner: str = "", *handed_out: Answer, typed: bool = False
    ) -> str:
        """From here on, look for it. One that is planted again is handed out by both answers."""
        numbers = tuple(answer.number for answer in handed_out)
        for index, known in enumerate(self.planted):
            if known.text == text:
                self.planted[index] = replace(known, handed_out=known.handed_out + numbers)
                return text
        self.planted.append(Secret(name, text, owner, numbers, typed))
        return text

    def password(self, name: str, owner: str = "") -> str:
        """A password with letters that each spelling writes otherwise."""
        return self.plant(
            f"password {name}",
            f'{secrets.token_hex(8)} p\u00e4ss/"phrase"? <&+%>',
            owner,
            typed=True,
        )

    def plant_tokens(self, name: str, answer: Answer, owner: str) -> dict:
        """Both tokens of an answer, and the parts of them that cannot be made without a key."""
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

    def mail(self, to: str) -> dict:
        """The latest mail, read over the shoulder of its owner; link and code are planted."""
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


# -- the chapters -------------------------------------------------------------------------------------------------------


def body_of(name: str, password: str | None) -> dict:
    body = {
        "username": name,
        "email": f"{name}@example.org",
        "name": name.title(),
        "password": password,
    }
    return {key: value for key, value in body.items() if value is not None}


def becoming_an_account(story: Story) -> dict[str, str]:
    """By code, by the page of a link, by a link over the interface; each with what goes wrong on the way. The passwords by name."""
    passwords = {
        name: story.password(f"of {name}", f"{name}@example.org") for name in ("ann", "bob", "cyd")
    }
    wrong_code = story.plant("wrong code", "ZZZZ-XXXX", typed=True)

    handle = story.ask("POST", "/v1/register", body_of("ann", passwords["ann"])).json[
        "registration"
    ]
    code = story.mail("ann@example.org")["code"]
    story.ask("POST", "/v1/register", {**body_of("ann", passwords["ann"]), "username": "a"})
    story.ask(
        "POST",
        "/v1/register",
        {**body_of("ann", passwords["ann"]), "password": story.password("too long") * 10},
    )
    story.ask("POST", "/v1/register/resend", {"registration": handle})
    story.ask("POST", "/v1/register/resend", {"email": "ann@example.org"})
    story.ask("POST", "/v1/register/confirm", {"registration": handle, "code": wrong_code})
    story.ask(
        "POST",
        "/v1/register/confirm",
        {"registration": handle, "code": code, "password": story.password("nobody asked for")},
    )
    assert (
        story.ask("POST", "/v1/register/confirm", {"registration": handle, "code": code}).status
        == 200
    )
    story.ask("POST", "/v1/register/confirm", {"registration": handle, "code": code})
    story.ask(
        "POST",
        "/v1/register",
        {**body_of("eve", story.password("of eve")), "email": "ann@example.org"},
    )

    assert story.ask("POST", "/v1/register", body_of("bob", None)).status == 202
    link = story.mail("bob@example.org")["links"][0].rpartition("/")[2]
    for method in ("GET", "HEAD", "OPTIONS", "DELETE"):
        story.ask(method, f"/confirm/{link}")
    story.ask(
        "GET",
        f"/confirm/{link}x?token={link}",
        Referer=f"http://127.0.0.1/confirm/{link}",
        Cookie=f"link={link}",
    )
    story.ask("GET", f"/confirm//{link}/")
    story.ask("POST", f"/confirm/{link}", data=urlencode({"password": "short"}).encode(), **FORM)
    page = story.ask(
        "POST", f"/confirm/{link}", data=urlencode({"password": passwords["bob"]}).encode(), **FORM
    )
    assert (page.status, "bob" in page.body) == (200, True)
    story.ask(
        "POST", f"/confirm/{link}", data=urlencode({"password": passwords["bob"]}).encode(), **FORM
    )

    assert (
        story.ask(
            "POST",
            "/v1/register",
            body_of("cyd", story.password("first of cyd", "cyd@example.org")),
        ).status
        == 202
    )
    link = story.mail("cyd@example.org")["links"][0].rpartition("/")[2]
    story.ask("POST", "/v1/register/confirm", {"token": link})
    story.ask("POST", "/v1/register/confirm", {"token": link[:-1], "password": passwords["cyd"]})
    story.ask(
        "POST",
        "/v1/register/confirm",
        {"token": link, "password": passwords["cyd"], "code": wrong_code},
    )
    assert (
        story.ask(
            "POST", "/v1/register/confirm", {"token": link, "password": passwords["cyd"]}
        ).status
        == 200
    )
    return passwords


def failing_to_log_in(story: Story, passwords: dict[str, str]) -> None:
    """Everything that can be wrong with a login, its body and its headers."""
    wrong = story.password("wrong")
    basic = story.plant("Basic credentials", base64.b64encode(f"ann:{wrong}".encode()).decode())
    assert story.ask("POST", "/v1/login", {"username": "ann", "password": wrong}).status == 401
    story.ask("POST", "/v1/login", {"username": "nobody-here", "password": wrong})
    story.ask("POST", "/v1/login", {"username": wrong, "password": "typed into the other field"})
    story.ask("POST", "/v1/login", {"username": "ann", "password": [wrong]})
    story.ask("POST", "/v1/login", {"username": "ann", "password": wrong + "\0"})
    story.ask("POST", "/v1/login", {"username": "ann", "password": wrong, "again": wrong})
    good = json.dumps({"username": "ann", "password": wrong}).encode()
    story.ask("POST", "/v1/login", data=good[:-1], **JSON)
    story.ask("POST", "/v1/login", data=b'{"password": "' + wrong.encode() + b'"}', **JSON)
    story.ask("POST", "/v1/login", data=good.replace(b'"ann"', b'"\xff"'), **JSON)
    story.ask("POST", "/v1/login", data=good, Content_Type="text/plain")
    story.ask("POST", "/v1/login", data=good.ljust(20_000), **JSON)
    story.ask(
        "POST", "/v1/login", data=urlencode({"username": "ann", "password": wrong}).encode(), **FORM
    )
    story.ask("PUT", "/v1/login", data=good, **JSON)
    story.ask("GET", "/v1/login?" + urlencode({"username": "ann", "password": wrong}))
    story.ask(
        "POST",
        "/v1/login?" + urlencode({"password": passwords["ann"]}),
        {"username": "ann", "password": wrong},
    )
    for path in ("/v1/whoami", "/v1/login", "/v1/me"):
        story.ask("GET", path, Authorization=f"Basic {basic}")


def sessions(story: Story, passwords: dict[str, str]) -> None:
    """Login, use and misuse of the tokens, refresh, grace, reuse, every way of logging out."""
    cookie = story.plant("cookie", secrets.token_urlsafe(32))

    def log_in(name: str, label: str) -> dict:
        answer = story.ask(
            "POST",
            "/v1/login",
            {"username": name, "password": passwords[name], "device_name": "phone"},
            Cookie=f"a={cookie}",
        )
        assert answer.status == 200, answer.body
        return story.plant_tokens(label, answer, f"{name}@example.org")

    def refresh(token: str, label: str) -> dict:
        answer = story.ask("POST", "/v1/token/refresh", {"refresh_token": token})
        assert answer.status == 200, answer.body
        return story.plant_tokens(label, answer, "ann@example.org")

    tokens = log_in("ann", "of ann")
    access, first = tokens["access_token"], tokens["refresh_token"]
    for path in ("/v1/me", "/v1/whoami", "/v1/sessions", f"/v1/sessions/{tokens['session_id']}"):
        assert story.ask("GET", path, token=access).status == 200
    story.ask("PATCH", "/v1/me", {"name": "Ann B.", "metadata": {"a": 1}}, token=access)
    for bad in (access[:-2], access + "=", first, f"{access} {access}", f'"{access}"'):
        assert story.ask("GET", "/v1/whoami", token=bad).status == 401
    story.ask("GET", "/v1/whoami", Authorization=access)
    story.ask("GET", "/v1/whoami", Authorization=f"Token {access}")
    story.ask(
        "GET",
        "/v1/whoami",
        X_Access_Token=access,
        Proxy_Authorization=f"Bearer {access}",
        Cookie=f"token={access}; other={cookie}",
    )
    story.ask(
        "GET",
        f"/v1/whoami?access_token={access}&refresh_token={first}",
        Referer=f"https://app.example.org/#{access}",
    )
    story.ask("GET", f"/v1/sessions/{access}", token=access)
    story.ask("GET", f"/{first}/{access}", X_Request_Id=access)
    story.ask("POST", "/v1/token/refresh", {"refresh_token": access})
    story.ask("POST", "/v1/token/refresh", {"refresh_token": first[:-1]})
    story.ask("POST", "/v1/token/refresh", {"refresh_token": first, "access_token": access})

    second = refresh(first, "second of ann")
    refresh(first, "second of ann again")
    third = refresh(second["refresh_token"], "third of ann")
    assert story.ask("POST", "/v1/token/refresh", {"refresh_token": first}).status == 400
    assert (
        story.ask("POST", "/v1/token/refresh", {"refresh_token": third["refresh_token"]}).status
        == 400
    )

    tokens = log_in("bob", "of bob")
    assert story.ask("POST", "/v1/logout", {"refresh_token": tokens["refresh_token"]}).status == 204
    story.ask(
        "POST",
        "/v1/logout",
        {"refresh_token": tokens["refresh_token"]},
        token=tokens["access_token"],
    )
    tokens, twin = log_in("bob", "of bob, later"), log_in("bob", "of bob, elsewhere")
    story.ask("DELETE", f"/v1/sessions/{twin['session_id']}", token=tokens["access_token"])
    assert (
        story.ask(
            "POST",
            "/v1/logout-all",
            {"refresh_token": twin["refresh_token"]},
            token=tokens["access_token"],
        ).status
        == 204
    )
    story.ask("POST", "/v1/logout-all", {"refresh_token": tokens["refresh_token"]})


def in_a_browser(story: Story, passwords: dict[str, str]) -> None:
    """The refresh token in a cookie: handed out, rotated, sent as it may not be, and cleared."""
    page = {"Origin": story.live.url, "X_Requested_With": "app"}

    def kept(label: str, answer: Answer) -> str:
        assert answer.status == 200, answer.body
        token = re.search(r"doorward-refresh=([^;]+)", answer.headers)[1]
        story.plant(f"refresh token in the {label} cookie", token, "bob@example.org", answer)
        story.plant(
            f"mac in the {label} cookie", token.rpartition(".")[2], "bob@example.org", answer
        )
        story.plant(
            f"access token beside the {label} cookie",
            answer.json["access_token"],
            "bob@example.org",
            answer,
        )
        return token

    login = {"username": "bob", "password": passwords["bob"], "refresh_in_cookie": True}
    assert story.ask("POST", "/v1/login", login).status == 403
    first = kept("first", story.ask("POST", "/v1/login", login, **page))
    second = kept(
        "second",
        story.ask("POST", "/v1/token/refresh", {}, Cookie=f"doorward-refresh={first}", **page),
    )
    cookie = f"doorward-refresh={second}"
    for headers in (
        {},
        {"Origin": f"https://{second}.example"},
        {"X_Requested_With": second},
        {**page, "Origin": second},
    ):
        assert story.ask("POST", "/v1/token/refresh", {}, Cookie=cookie, **headers).status == 403
    assert (
        story.ask(
            "POST", "/v1/token/refresh", {"refresh_token": second}, Cookie=cookie, **page
        ).status
        == 400
    )
    assert story.ask("POST", "/v1/token/refresh", {}, Cookie=f"{cookie}x", **page).status == 400
    story.ask("GET", "/v1/me", Cookie=cookie, **page)
    assert story.ask("POST", "/v1/logout", {}, Cookie=cookie, **page).status == 204
    assert story.ask("POST", "/v1/logout", {}, Cookie=cookie, **page).status == 401


def forgetting_and_changing(story: Story, passwords: dict[str, str]) -> None:
    """Links to reset a password, by page and by interface, changing it, and remembered devices."""
    assert story.ask("POST", "/v1/password/forgot", {"username": "bob"}).status == 202
    link = story.mail("bob@example.org")["links"][0].rpartition("/")[2]
    for address in ("bob@example.org", "nobody@example.org"):
        assert story.ask("POST", "/v1/password/forgot", {"email": address}).status == 202
    for method in ("GET", "HEAD", "OPTIONS"):
        story.ask(method, f"/reset/{link}", Referer=f"http://127.0.0.1/reset/{link}")
    story.ask("GET", f"/reset/{link[:-1]}?token={link}")
    new, other = story.password("new of bob", "bob@example.org"), story.password("mistyped")
    story.ask(
        "POST", "/v1/password/reset", {"token": link, "new_password": new, "verify_password": other}
    )
    story.ask("POST", "/v1/password/reset", {"token": link, "new_password": new, "password": other})
    story.ask(
        "POST",
        "/v1/password/reset",
        {"token": link[:-1] + ("x" if link[-1] != "x" else "y"), "new_password": new},
    )
    story.ask(
        "POST", f"/reset/{link}", data=urlencode({"password": new, "again": other}).encode(), **FORM
    )
    assert (
        story.ask("POST", "/v1/password/reset", {"token": link, "new_password": new}).status == 204
    )
    assert (
        story.ask("POST", "/v1/password/reset", {"token": link, "new_password": new}).status == 400
    )
    story.ask("POST", "/v1/login", {"username": "bob", "password": passwords["bob"]})
    passwords["bob"] = new

    body = {
        "username": "cyd",
        "password": passwords["cyd"],
        "remember_device": True,
        "device_name": "laptop",
    }
    tokens = story.plant_tokens("of cyd", story.ask("POST", "/v1/login", body), "cyd@example.org")
    device, access = tokens["device_token"], tokens["access_token"]
    story.ask(
        "POST",
        "/v1/login",
        {"username": "cyd", "password": story.password("from the laptop"), "device_token": device},
    )
    story.ask(
        "POST",
        "/v1/login",
        {"username": "ann", "password": passwords["cyd"], "device_token": device},
    )
    story.ask("GET", "/v1/devices", token=access, Cookie=f"device={device}")
    story.ask("GET", "/v1/devices", token=device)
    story.ask("DELETE", f"/v1/devices/{device}", token=access)
    new = story.password("new of cyd", "cyd@example.org")
    for old, wanted in (
        (story.password("not of cyd"), new),
        (passwords["cyd"], passwords["cyd"]),
        (passwords["cyd"], new[:10]),
    ):
        assert story.ask(
            "POST",
            "/v1/password/change",
            {"old_password": old, "new_password": wanted},
            token=access,
        ).status in {403, 422}
    changed = story.ask(
        "POST",
        "/v1/password/change",
        {"old_password": passwords["cyd"], "new_password": new},
        token=access,
    )
    assert changed.status == 200, changed.body
    story.plant_tokens("after the change", changed, "cyd@example.org")
    passwords["cyd"] = new


def keys_for_programs(story: Story, passwords: dict[str, str]) -> None:
    """API keys: made, used rightly and wrongly, rotated, reported."""
    login = story.ask("POST", "/v1/login", {"username": "ann", "password": passwords["ann"]})
    access = story.plant_tokens("for keys", login, "ann@example.org")["access_token"]

    def plant_key(name: str, answer: Answer) -> str:
        assert answer.status in {200, 201}, answer.body
        key = story.plant(f"key {name}", answer.json["key"], "", answer)
        story.plant(f"secret of the key {name}", key.rpartition("_")[2], "", answer)
        return key

    made = story.ask("POST", "/v1/api-keys", {"name": "ci", "scopes": []}, token=access)
    path, first = f"/v1/api-keys/{made.json['id']}", plant_key("first", made)
    for headers in ({"X_API_Key": first}, {"Authorization": f"Bearer {first}"}):
        assert story.ask("GET", "/v1/whoami", **headers).status == 200
        assert story.ask("GET", "/v1/me", **headers).status == 403
    for headers in (
        {"X_API_Key": first[:-1]},
        {"X_API_Key": first, "Authorization": f"Bearer {first}"},
        {"Authorization": f"Key {first}"},
    ):
        assert story.ask("GET", "/v1/whoami", **headers).status == 401
    story.ask(
        "GET",
        f"/v1/whoami?api_key={first}",
        Cookie=f"key={first}",
        Referer=f"https://app.example.org/?key={first}",
    )
    story.ask("GET", f"/v1/api-keys/{first}", token=access)
    story.ask("POST", "/v1/api-keys", {"name": "ci", "scopes": [first], "key": first}, token=access)
    second = plant_key(
        "second", story.ask("POST", f"{path}/rotate", {"overlap_seconds": 60}, token=access)
    )
    for shown in (path, "/v1/api-keys"):
        assert story.ask("GET", shown, token=access).status == 200
    for body in (
        {"key": first[:-1]},
        {"key": [second]},
        {"key": second, "again": second},
        {"key": first},
    ):
        story.ask("POST", "/v1/api-keys/report-leak", body)
    assert story.ask("GET", "/v1/whoami", X_API_Key=second).status == 401


def let_in_from_another_device(story: Story, passwords: dict[str, str]) -> None:
    """Both codes of a login from another device: asked for, mistyped, claimed, approved, redeemed, given up; and the tokens of it."""
    login = story.ask("POST", "/v1/login", {"username": "ann", "password": passwords["ann"]})
    access = story.plant_tokens("for codes", login, "ann@example.org")["access_token"]
    grant = "urn:ietf:params:oauth:grant-type:device_code"

    def asked_for(name: str, answer: Answer) -> dict[str, str]:
        assert answer.status in {200, 201}, answer.body
        asked = answer.json
        story.plant(f"device code {name}", asked["device_code"], "", answer)
        story.plant(
            f"secret of the device code {name}", asked["device_code"].rpartition("_")[2], "", answer
        )
        story.plant(f"user code {name}", asked["user_code"], "", answer, typed=True)
        story.plant(
            f"user code {name} without its dash",
            asked["user_code"].replace("-", ""),
            "",
            typed=True,
        )
        return asked

    def poll(code: str, **fields: str) -> Answer:
        return story.ask(
            "POST",
            "/oauth/token",
            data=urlencode({"grant_type": grant, "device_code": code, **fields}).encode(),
            **FORM,
        )

    story.ask(
        "POST",
        "/v1/login-sessions",
        {"client_name": "box", "username": story.password("typed as a name")},
    )
    by_form = story.ask("POST", "/oauth/device_authorization", data=b"scope=orders%3Aread", **FORM)
    asked, given_up = (
        asked_for("by form", by_form),
        asked_for("by JSON", story.ask("POST", "/v1/login-sessions", {"client_name": "box"})),
    )
    device, user = asked["device_code"], asked["user_code"]
    for fields in ({}, {}, {"client_id": "nobody"}, {"client_secret": device}):
        assert poll(device, **fields).status in {400, 401}
    poll(device[:-1])
    story.ask(
        "POST", f"/oauth/token?device_code={device}", data=b"grant_type=" + grant.encode(), **FORM
    )
    page = story.ask(
        "GET",
        f"/login/activate/{user}",
        Referer=f"http://127.0.0.1/login/activate/{user}",
        Cookie=f"code={user}",
    )
    story.plant("user code by form", user, "", page, typed=True)
    story.ask("GET", f"/v1/login-sessions/{device}", token=access)
    story.ask("GET", f"/v1/login-sessions?user_code={user}&device_code={device}", token=access)
    story.ask(
        "POST",
        "/v1/login-sessions/claim",
        {"user_code": user + user, "device_code": device},
        token=access,
    )
    assert (
        story.ask(
            "POST",
            "/v1/login-sessions/claim",
            {"user_code": story.plant("mistyped", "BBBB-CDFG", typed=True)},
            token=access,
        ).status
        == 404
    )
    assert (
        story.ask(
            "POST", "/v1/login-sessions/claim", {"user_code": user.lower()}, token=access
        ).status
        == 200
    )
    approve = f"/v1/login-sessions/{asked['session_id']}/approve"
    assert (
        story.ask("POST", approve, {"user_code": given_up["user_code"]}, token=access).status == 404
    )
    assert story.ask("POST", approve, {"user_code": user}, token=access).status == 200
    story.plant_tokens("let in", poll(device), "ann@example.org")
    assert poll(device).status == 400
    for code in (given_up["device_code"], device, given_up["device_code"]):
        story.ask("POST", "/v1/login-sessions/cancel", {"device_code": code})
    for path in ("", f"/{asked['session_id']}"):
        assert story.ask("GET", f"/v1/login-sessions{path}", token=access).status == 200


def on_our_pages(story: Story, passwords: dict[str, str]) -> None:
    """The cookie of our pages: handed out, copied to where it does not belong, replaced; and the password in every form there is."""
    ours = {"Origin": story.live.url, **FORM}

    def send(path: str, cookie: str = "", headers: dict[str, str] = ours, **fields: str) -> Answer:
        return story.ask("POST", path, data=urlencode(fields).encode(), Cookie=cookie, **headers)

    def kept(label: str, answer: Answer) -> str:
        assert answer.status in {200, 303}, answer.body
        cookie = re.search(r"doorward=(dwp1[^;]+)", answer.headers)[1]
        story.plant(f"page cookie {label}", cookie, "", answer)
        story.plant(f"mac of the page cookie {label}", cookie.rpartition(".")[2], "", answer)
        return f"doorward={cookie}"

    wrong = story.password("wrong on a page")
    assert send("/login", username="bob", password=wrong).status == 401
    assert send("/login", headers=FORM, username="bob", password=passwords["bob"]).status == 403
    first = kept(
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
        story.ask("GET", path, Cookie=first, Referer=f"{story.live.url}/login?next={value}")
    for path in (
        f"/login/sessions/{value}/end",
        f"/login/devices/{value}/forget",
        f"/login/requests/{value}/approve",
    ):
        assert send(path, first, user_code=value).status == 404
    story.ask("GET", "/v1/me", token=value)
    story.ask("GET", "/v1/me", Cookie=first, X_API_Key=value)
    assert send("/login/again", first, password=wrong).status == 403
    second = kept("second", send("/login/again", first, password=passwords["bob"], next=value))
    assert send(
        "/login/password", second, old=wrong, new=story.password("never set"), again=wrong
    ).status in {403, 422}
    new = story.password("set on a page", "bob@example.org")
    third = kept("third", send("/login/password", second, old=passwords["bob"], new=new, again=new))
    passwords["bob"] = new
    assert send("/login/out", third).status == 200
    assert send("/login/out", third).status == 303


def no_requests_at_all(story: Story, passwords: dict[str, str]) -> None:
    """What the server cannot parse, it must not quote."""
    lost = story.plant("token in a broken request", secrets.token_urlsafe(48))
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
        story.say(raw)


def faults_of_ours(story: Story, passwords: dict[str, str], url: str) -> None:
    """Rows that cannot be read and writes that the database refuses: tracebacks, with what libraries have to say about them."""
    engine = create_engine(url)
    tokens = story.plant_tokens(
        "when all broke",
        story.ask("POST", "/v1/login", {"username": "cyd", "password": passwords["cyd"]}),
        "cyd@example.org",
    )
    with engine.begin() as connection:
        salts = connection.execute(text("SELECT rt_salt FROM sessions")).scalars().all()
        hashes = connection.execute(text("SELECT password_hash FROM accounts")).scalars().all()
    inside = [Secret("salt of a session", salt) for salt in salts] + [
        Secret("stored hash", kept) for kept in hashes
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
        assert story.ask(
            "POST", "/v1/token/refresh", {"refresh_token": tokens["refresh_token"]}
        ).status in {200, 500}
        answer = story.ask("POST", "/v1/login", {"username": "cyd", "password": passwords["cyd"]})
        assert answer.status in {200, 500}
        story.ask("PATCH", "/v1/me", {"name": "Cyd C."}, token=tokens["access_token"])
        if answer.status == 200:
            story.plant_tokens("in spite of it", answer, "cyd@example.org")
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
        story.ask("POST", "/v1/token/refresh", {"refresh_token": tokens["refresh_token"]}).status
        == 500
    )
    story.ask("GET", "/v1/me", token=tokens["access_token"])
    engine.dispose()
    said = story.live.log.read_text()
    assert "Traceback" in said
    assert [secret.name for secret in inside if secret.text in said] == []


CHAPTERS: list[Callable[[Story, dict[str, str]], None]] = [
    failing_to_log_in,
    let_in_from_another_device,  # before the address is one from where a used refresh token came
    in_a_browser,
    on_our_pages,
    sessions,
    forgetting_and_changing,
    keys_for_programs,
    no_requests_at_all,
]


# -- the search ---------------------------------------------------------------------------------------------------------


def found_in(place: str, where: str, planted: list[Secret]) -> list[str]:
    """Each secret that stands there, with its spelling."""
    return [
        f"{secret.name} ({spelling}) in {place}"
        for secret in planted
        for spelling, spelled in secret.spellings().items()
        if spelled in where
    ]


def stored(url: str) -> dict[str, str]:
    """Every value of every column, by table; of SQLite also the bytes of its files, where deleted rows may lie."""
    engine, kept = create_engine(url), {}
    with engine.connect() as connection:
        for table in inspect(connection).get_table_names():
            rows = connection.execute(text(f'SELECT * FROM "{table}"')).all()
            kept[f"table {table}"] = "\n".join(str(value) for row in rows for value in row)
    engine.dispose()
    if url.startswith("sqlite"):
        path = Path(url.removeprefix("sqlite:///"))
        kept |= {
            f"file {file.name}": file.read_bytes().decode("utf-8", "replace")
            for file in path.parent.glob(path.name + "*")
        }
    return kept


def remembered(url: str) -> str:
    """Every key and value in Redis."""
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
def told(request, make_live):
    """The story, told to a serving process of its own, and where that keeps things."""
    if request.param == "sqlite":
        url, more = request.getfixturevalue("sqlite_url"), {}
    else:
        url, more = (
            request.getfixturevalue("empty_postgres_url"),
            {"DOORWARD_REDIS_URL": request.getfixturevalue("redis_url")},
        )
    story = Story(make_live(database_url=url, **more))
    passwords = becoming_an_account(story)
    for chapter in CHAPTERS:
        chapter(story, passwords)
    letters = {
        person: story.live.mailbox(f"{person}@example.org")
        for person in ("ann", "bob", "cyd", "eve")
    }
    faults_of_ours(story, passwords, url)
    memory = remembered(more["DOORWARD_REDIS_URL"]) if more else ""
    kept = stored(url)
    story.live.stop()
    return story, letters, {**kept, "Redis": memory}


def test_planted_secrets_appear_only_where_they_belong(told):
    story, letters, kept = told
    said = story.live.log.read_text()
    assert len(story.planted) > 40
    assert len({secret.text for secret in story.planted}) > 35
    found = found_in("the output of the process", said, story.planted)
    for place, where in kept.items():
        found += found_in(place, where, story.planted)
    for answer in story.answers:
        others = [secret for secret in story.planted if answer.number not in secret.handed_out]
        found += found_in(f"the answer to {answer.label}", answer.headers + answer.body, others)
    for person, mails in letters.items():
        others = [
            secret
            for secret in story.planted
            if secret.owner != f"{person}@example.org" or "password" in secret.name
        ]
        found += [
            hit
            for mail in mails
            for hit in found_in(f"a mail to {person}", json.dumps(mail, ensure_ascii=False), others)
        ]
    assert found == []

    assert "Bearer " not in said
    # With its dot: three letters alone stand in a random id once in a while.
    assert not re.search(r"eyJ[\w-]+\.", said)
    assert "$argon2" not in said
    assert "@example.org" not in said
    assert {json.loads(line)["level"] for line in said.splitlines() if line.startswith("{")} >= {
        "info",
        "error",
    }
    assert {answer.status for answer in story.answers} >= {
        200,
        202,
        204,
        400,
        401,
        403,
        404,
        405,
        411,
        413,
        415,
        422,
        500,
    }
    assert all(letters[person] for person in ("ann", "bob", "cyd"))


def test_search_finds_a_secret_that_is_present():
    """The search itself: each spelling, wherever it stands in a longer text."""
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
        assert found_in("here", f"before {written} after", planted), written
    assert found_in("here", "nothing at all", planted) == []
