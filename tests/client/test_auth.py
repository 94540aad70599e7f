"""A live token on requests to other services, and on no others."""

from __future__ import annotations

import asyncio

import httpx2
import pytest
import requests

from doorward import Doorward, DoorwardAuth, InvalidInput, RequestsAuth
from tests.client.stand_in import TOKENS, Says

REFUSED = Says({}, 401)


@pytest.fixture
def client(stand_in):
    routes = {
        "/v1/login": [Says(TOKENS)],
        "/v1/token/refresh": [Says({**TOKENS, "access_token": "at2"})],
    }
    there = stand_in(Says({}), routes=routes)
    client = Doorward(there.url)
    client.login.with_password("ann", "secret")
    return client


def by_httpx2(client, method, url, *, origins, follow=True):
    with httpx2.Client(auth=DoorwardAuth(client, origins=origins), follow_redirects=follow) as http:
        return http.request(method, url).status_code


def by_asyncio(client, method, url, *, origins, follow=True):
    async def run():
        async with httpx2.AsyncClient(
            auth=DoorwardAuth(client, origins=origins), follow_redirects=follow
        ) as http:
            return (await http.request(method, url)).status_code

    return asyncio.run(run())


def by_requests(client, method, url, *, origins, follow=True):
    with requests.Session() as http:
        http.auth = RequestsAuth(client, origins=origins)
        return http.request(method, url, timeout=10, allow_redirects=follow).status_code


ways = pytest.mark.parametrize("ask", [by_httpx2, by_asyncio, by_requests])


@ways
def test_a_named_origin_gets_the_token(client, stand_in, ask):
    api = stand_in(Says({}))
    assert ask(client, "GET", f"{api.url}/orders", origins=[f"{api.url}/"]) == 200
    assert api.headers_of("Authorization") == ["Bearer at"]


@ways
def test_no_other_does(client, stand_in, ask):
    api, other = stand_in(Says({})), stand_in(Says({}))
    assert ask(client, "GET", other.url, origins=[api.url]) == 200
    assert other.headers_of("Authorization") == []


@ways
def test_nor_after_a_redirect(client, stand_in, ask):
    other = stand_in(REFUSED)
    api = stand_in(Says(b"", 302, {"Location": f"{other.url}/here"}))
    assert ask(client, "GET", api.url, origins=[api.url]) == 401
    assert (api.headers_of("Authorization"), other.headers_of("Authorization")) == (
        ["Bearer at"],
        [],
    )
    assert len(other.seen) == 1


@ways
def test_a_refused_token_is_replaced_once(client, stand_in, ask):
    api = stand_in(REFUSED, Says({}))
    assert ask(client, "GET", api.url, origins=[api.url]) == 200
    assert api.headers_of("Authorization") == ["Bearer at", "Bearer at2"]
    stubborn = stand_in(REFUSED)
    assert ask(client, "GET", stubborn.url, origins=[stubborn.url]) == 401
    assert len(stubborn.seen) == 2


@ways
def test_what_changes_something_is_sent_once(client, stand_in, ask):
    api = stand_in(REFUSED)
    assert ask(client, "POST", api.url, origins=[api.url]) == 401
    assert len(api.seen) == 1


@pytest.mark.parametrize(
    "origins",
    [[], "https://api.example.com", ["https://api.example.com/v1"], ["http://api.example.com"]],
)
@pytest.mark.parametrize("auth", [DoorwardAuth, RequestsAuth])
def test_origins_are_named_in_full(client, auth, origins):
    with pytest.raises(InvalidInput):
        auth(client, origins=origins)
