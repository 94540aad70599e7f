"""Access through each gateway, and the identity that the application receives."""

from __future__ import annotations

import itertools

import jwt
import pytest

from app.verification.identity_headers import IDENTITY_HEADERS
from tests.gateways.headers import build_bearer, read_identity


def test_live_session_passes_with_identity_headers(site):
    token = site.ann.sign_in()
    answer = site.call("GET", "/orders?page=2", build_bearer(token))
    assert (answer.status, answer.body) == (200, b"from the application")
    [received] = site.received
    assert (received.method, received.path) == ("GET", "/orders?page=2")
    headers = read_identity(received)
    identity = headers.pop("X-Auth-Identity")
    assert headers == {
        "X-Auth-Subject": site.ann.account_id,
        "X-Auth-Username": "ann",
        "X-Auth-Roles": "",
        "X-Auth-Scopes": "",
        "X-Auth-Session": site.ann.tokens["session_id"],
        "X-Auth-Key": "",
    }
    keys = jwt.PyJWKSet.from_dict(site.live.call("GET", "/.well-known/identity-jwks.json")[1])
    key = keys[jwt.get_unverified_header(identity)["kid"]]
    assert (
        jwt.decode(identity, key, algorithms=["ES256"], audience="shop")["sub"]
        == site.ann.account_id
    )


def test_credential_is_not_forwarded(site):
    site.call("GET", "/", build_bearer(site.ann.sign_in()))
    assert not site.received[0].read_as("Authorization")
    site.call("GET", "/", [("X-API-Key", site.ann.make_key()["key"])])
    assert not site.received[1].read_as("X-API-Key")


@pytest.mark.parametrize("how", ["Authorization", "X-API-Key"])
def test_api_key_passes_with_identity_headers(site, how):
    key = site.ann.make_key()
    headers = build_bearer(key["key"]) if how == "Authorization" else [(how, key["key"])]
    assert site.call("GET", "/", headers).status == 200
    identity = read_identity(site.received[0])
    assert (identity["X-Auth-Subject"], identity["X-Auth-Key"], identity["X-Auth-Session"]) == (
        site.ann.account_id,
        key["id"],
        "",
    )


def test_request_without_a_credential_does_not_pass(site):
    answer = site.call("GET", "/")
    assert (answer.status, answer.get_header("WWW-Authenticate")) == (
        401,
        'Bearer realm="doorward"',
    )
    assert not site.received


@pytest.mark.parametrize("junk", ["Bearer x", "Bearer ", "Basic YTpi", "Bearer a.b.c", 'Bearer "'])
def test_junk_does_not_pass(site, junk):
    answer = site.call("GET", "/", [("Authorization", junk)])
    assert (answer.status, answer.get_header("WWW-Authenticate")) == (
        401,
        'Bearer realm="doorward", error="invalid_token"',
    )
    assert not site.received


def test_session_just_revoked_does_not_pass(site):
    token = site.ann.login()
    assert site.call("GET", "/", build_bearer(token)).status == 200
    site.ann.logout()
    assert site.call("GET", "/", build_bearer(token)).status == 401
    assert len(site.received) == 1


def test_key_just_deleted_does_not_pass(site):
    key = site.ann.make_key()
    assert site.call("GET", "/", [("X-API-Key", key["key"])]).status == 200
    assert site.live.call("DELETE", f"/v1/api-keys/{key['id']}", headers=site.ann.bearer)[0] == 204
    assert site.call("GET", "/", [("X-API-Key", key["key"])]).status == 401
    assert len(site.received) == 1


@pytest.mark.parametrize("name", ["Authorization", "X-API-Key"])
def test_two_credentials_do_not_pass(site, name):
    good = f"Bearer {site.ann.sign_in()}" if name == "Authorization" else site.ann.make_key()["key"]
    for doubled in (
        [(name, good), (name, good)],
        [(name, good), (name, "junk")],
        [(name.lower(), "junk"), (name.upper(), good)],
    ):
        assert site.call("GET", "/", doubled).status in {400, 401}, doubled
    assert not site.received


def test_a_token_and_a_key_together_do_not_pass(site):
    key = site.ann.make_key()["key"]
    assert site.call("GET", "/", [*build_bearer(site.ann.access), ("X-API-Key", key)]).status == 401
    assert not site.received


def test_policy_adds_requirements(site):
    refused = site.call("GET", "/admin/stock", build_bearer(site.ann.sign_in()))
    assert refused.status == 403
    assert 'error="insufficient_scope"' in refused.get_header("WWW-Authenticate")
    assert not site.received
    assert site.call("GET", "/admin/stock", build_bearer(site.boss.sign_in())).status == 200
    assert {"stock:read", "stock:write"} < set(
        read_identity(site.received[0])["X-Auth-Scopes"].split()
    )


def test_key_passes_a_policy_with_its_own_scopes(site):
    none, some = site.boss.make_key()["key"], site.boss.make_key("stock:write")["key"]
    assert site.call("GET", "/admin/stock", [("X-API-Key", none)]).status == 403
    assert not site.received
    assert site.call("GET", "/admin/stock", [("X-API-Key", some)]).status == 200
    assert read_identity(site.received[0])["X-Auth-Scopes"] == "stock:write"


# Identity headers of the client.


def build_spoofed_headers(value: str) -> list[tuple[str, str]]:
    """Return every identity header in every spelling, three times."""
    names = [
        "{}".join(name.split("-")).format(*dashes)
        for name in IDENTITY_HEADERS
        for dashes in itertools.product("-_.", repeat=2)
    ]
    return [(spelling(name), value) for name in names for spelling in (str, str.lower, str.upper)]


def split_headers(headers: list[tuple[str, str]], most: int = 60) -> list[list[tuple[str, str]]]:
    """Split the headers, because servers limit their number."""
    return [headers[start : start + most] for start in range(0, len(headers), most)]


def test_no_variant_of_an_identity_header_comes_from_the_client(site):
    token = site.ann.sign_in()
    for piece in split_headers(build_spoofed_headers("acc_mallory")):
        assert site.call("GET", "/", [*build_bearer(token), *piece]).status == 200
    for received in site.received:
        identity = read_identity(received)
        assert (identity["X-Auth-Subject"], identity["X-Auth-Key"]) == (site.ann.account_id, "")
        assert not [name for name, value in received.headers if "mallory" in value]


def test_identity_headers_without_a_credential_do_not_pass(site):
    for piece in split_headers(build_spoofed_headers("acc_mallory")):
        assert site.call("GET", "/", piece).status == 401
    assert not site.received


def test_similar_header_names_are_dropped_where_the_gateway_can(site):
    site.call(
        "GET",
        "/",
        [
            *build_bearer(site.ann.sign_in()),
            ("X-Auth-Tenant", "mallory"),
            ("X_Auth_Tenant", "mallory"),
        ],
    )
    found = [name for name, value in site.received[0].headers if value == "mallory"]
    assert found == (["X-Auth-Tenant"] if site.gateway.name == "nginx" else [])


@pytest.mark.parametrize(
    "hop",
    [
        "X-Auth-Subject",
        "X-Auth-Identity",
        "Authorization",
        "X-Forwarded-For",
        "close, X-Auth-Session",
    ],
)
def test_client_cannot_make_the_gateway_drop_headers(site, hop):
    """CVE-2024-45410: proxies drop headers that Connection names, even those that they set themselves."""
    answer = site.call(
        "GET",
        "/",
        [*build_bearer(site.ann.sign_in()), ("Connection", hop), ("X-Auth-Subject", "acc_mallory")],
    )
    if answer.status in {400, 401}:
        assert not site.received
        return
    identity = read_identity(site.received[0])
    assert (identity["X-Auth-Subject"], identity["X-Auth-Session"]) == (
        site.ann.account_id,
        site.ann.tokens["session_id"],
    )
    assert identity["X-Auth-Identity"]
    assert site.received[0].read_as("X-Forwarded-For") == ["127.0.0.1"]


FORWARDED = (
    "X-Forwarded-For",
    "X-Forwarded-Host",
    "X-Forwarded-Proto",
    "X-Forwarded-Prefix",
    "X-Forwarded-Uri",
    "X-Forwarded-Method",
)


def test_client_ip_address_is_the_one_the_gateway_saw(site):
    spoofed_headers = [
        (name.replace("-", dash), "203.0.113.9") for name in FORWARDED for dash in "-_."
    ]
    spoofed_headers += [
        (name, "203.0.113.9")
        for name in ("Forwarded", "X-Real-IP", "X-Original-URL", "X-Rewrite-URL", "X-Forwarded-For")
    ]
    assert (
        site.call("GET", "/", [*build_bearer(site.ann.sign_in()), *spoofed_headers]).status == 200
    )
    [received] = site.received
    assert received.read_as("X-Forwarded-For") == ["127.0.0.1"]
    assert received.read_as("X-Forwarded-Proto") == ["http"]
    assert not [name for name, value in received.headers if "203.0.113.9" in value]
