"""Checks on the event loop and the Flask routes give the same answers.

Each generated request goes to a serving process, which answers warm checks on its event loop, and to
the routes in this process. Both use one database and one Redis.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import random
import re
from urllib.parse import urlencode

import pytest
from werkzeug.datastructures import Headers

from app.settings import GatewayPolicy
from tests.actors import Service, build_settings
from tests.api_keys import add_role_to, create_key
from tests.live import WITHOUT_LIMITS
from tests.postgres import find_free_port

REQUESTS = 10_000 if os.environ.get("FAULTS") == "long" else 500
POLICIES = '{"orders": {"scopes": ["orders:read"]}, "staff": {"roles": ["staff"]}}'
ROLES = '{"staff": ["orders:read", "orders:write"]}'
# They differ from answer to answer, or belong to the connection.
IGNORED = {"x-request-id", "date", "server", "connection", "ratelimit", "retry-after"}
PATHS = (
    "/v1/whoami",
    "/v1/whoami?x=1",
    "/authz/auth-request",
    "/authz/auth-request/default",
    "/authz/auth-request/orders",
    "/authz/forward-auth/staff",
    "/authz/forward-auth/default/",
    "/authz/forward-auth/unknown",
    "/authz/forward-auth/orders?a=%00",
    "/authz/ext-authz/orders/a/../b",
    "/authz/ext-authz/default/%2f%41",
    "/authz/ext-authz/",
    "/authz",
    "/authz//default",
    "/authz/%61uth-request/default",
)


@pytest.fixture
def both(make_live, sqlite_url, redis_url):
    """Return a serving process, and the same service in this process."""
    issuer = f"http://127.0.0.1:{find_free_port()}"
    live = make_live(
        database_url=sqlite_url,
        DOORWARD_REDIS_URL=redis_url,
        DOORWARD_PUBLIC_URL=issuer,
        DOORWARD_POLICIES=POLICIES,
        DOORWARD_ROLES=ROLES,
    )
    service = Service(
        build_settings(
            sqlite_url,
            redis_url=redis_url,
            public_url=issuer,
            **{
                name.removeprefix("DOORWARD_").lower(): text
                for name, text in WITHOUT_LIMITS.items()
            },
            policies={
                name: GatewayPolicy(**{kind: tuple(names) for kind, names in policy.items()})
                for name, policy in json.loads(POLICIES).items()
            },
            roles={name: tuple(scopes) for name, scopes in json.loads(ROLES).items()},
        )
    )
    yield live, service
    service.close()


def list_credentials(service: Service):
    """Return headers with valid, invalid and ambiguous credentials, tokens and a client's key."""
    ann, bob, cat = (service.actor(name).sign_in() for name in ("ann", "bob", "cat"))
    for role in ("staff", "admin"):
        add_role_to(service, ann, role)
    ann.login()
    client = create_key(ann, "resource server", scopes=["tokens:introspect"])["key"]
    key = create_key(ann, "program", scopes=["orders:read"])["key"]
    cat.logout()
    token = ann.access
    head, payload, signature = token.split(".")
    bearers = [
        token,
        bob.access,
        cat.access,
        key,
        f"{head}.{payload}.{signature[:-4]}AAAA",
        f"{head}.{payload}",
        f"{head}.{payload[:-2]}.{signature}",
        key[:-1] + ("0" if key[-1] != "0" else "1"),
        ann.tokens["refresh_token"],
        "x",
        "é",
    ]
    headers = [
        *([("Authorization", f"Bearer {each}")] for each in bearers),
        *([("X-API-Key", each)] for each in (key, key[:-1] + "!", token, "")),
        [],
        [("Authorization", f"bearer  {token}")],
        [("Authorization", f"Basic {token}")],
        [("Authorization", "Bearer")],
        [("Authorization", f"Bearer {token}"), ("X-API-Key", key)],
        [("Authorization", f"Bearer {token}"), ("Authorization", f"Bearer {token}")],
        [("Authorization_", "Bearer x"), ("X_API_Key", key), ("Authorization", f"Bearer {token}")],
    ]
    return headers, bearers[:-1], client


def build_introspection(chosen: random.Random, tokens: list[str], key: str):
    """Return a request that introspects one of the tokens, sometimes an unusual one."""
    form = {"token": chosen.choice(tokens)}
    headers = [("Host", chosen.choice(["127.0.0.1"] * 6 + ["evil.example"]))]
    way = chosen.randrange(8)
    basic = base64.b64encode(f"key_{key.split('_')[1]}:{key}".encode()).decode()
    if way < 4:
        headers.append(("Authorization", f"Basic {basic}"))
    elif way == 4:
        form["client_secret"] = key
    elif way == 5:
        headers.append(("Authorization", f"Bearer {key}"))
    elif way == 6:
        form["client_secret"] = key[:-1] + "x"
    if chosen.random() < 0.1:
        form["token_type_hint"] = "access_token"
    body = urlencode(form).encode()
    headers += [
        ("Content-Type", "application/x-www-form-urlencoded"),
        ("Content-Length", str(len(body))),
    ]
    path = "/oauth/introspect?x=1" if chosen.random() < 0.05 else "/oauth/introspect"
    return "POST", path, headers, body


def ask_live(connection, method, path, headers, body):
    connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
    for name, value in headers:
        connection.putheader(name, value.encode("latin-1"))
    connection.endheaders(body)
    answer = connection.getresponse()
    return answer.status, answer.getheaders(), answer.read()


def ask_routes(service, method, path, headers, body):
    client = service.app.test_client(use_cookies=False)
    kept = [(name, value) for name, value in headers if "_" not in name]
    answer = client.open(
        path,
        method=method,
        headers=Headers(kept),
        data=body,
        environ_base={"REMOTE_ADDR": "127.0.0.1"},
    )
    return answer.status_code, list(answer.headers), answer.data


def normalize(answer):
    status, headers, body = answer
    kept = sorted(
        (name.lower(), sorted(value.split(", ")) if name.lower() == "allow" else value)
        for name, value in headers
        if name.lower() not in IGNORED
    )
    return status, kept, re.sub(rb"req_[0-9A-Za-z]{22}", b"", body)


def test_loop_and_routes_give_the_same_answers(both):
    live, service = both
    credentials, tokens, key = list_credentials(service)
    chosen = random.Random(20261201)
    connection = http.client.HTTPConnection("127.0.0.1", live.port, timeout=20)
    statuses = set()
    for number in range(REQUESTS):
        method = chosen.choice(["GET"] * 6 + ["POST", "HEAD", "OPTIONS", "PUT", "DELETE"])
        path = chosen.choice(PATHS)
        headers = [("Host", chosen.choice(["127.0.0.1"] * 6 + ["127.0.0.1:80", "evil.example"]))]
        headers += chosen.choice(credentials)
        if chosen.random() < 0.1:
            headers.append(("X-Forwarded-For", "6.6.6.6"))
        if chosen.random() < 0.1:
            headers.append(("Origin", "https://app.example"))
        body = b"{}" if chosen.random() < 0.1 else b""
        if body:
            headers += [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
        asked = (method, path, headers, body)
        here, there = (
            normalize(ask_routes(service, *asked)),
            normalize(ask_live(connection, *asked)),
        )
        assert there == here, (number, asked)
        statuses.add(there[0])
    assert {200, 400, 401, 403, 503} <= statuses
    for number in range(REQUESTS // 4):
        asked = build_introspection(chosen, tokens, key)
        here, there = (
            normalize(ask_routes(service, *asked)),
            normalize(ask_live(connection, *asked)),
        )
        assert there == here, (number, asked)
    connection.close()
