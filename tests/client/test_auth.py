"""DoorwardAuth and RequestsAuth send the token to the listed origins, and to no others."""

from __future__ import annotations

import asyncio

import httpx2
import pytest
import requests

from doorward import Doorward, DoorwardAuth, InvalidInput, RequestsAuth
from tests.client.fake_server import TOKENS, Reply

REFUSED = Reply({}, 401)


@pytest.fixture
def client(fake_server):
    routes = {
        "/v1/login": [Reply(TOKENS)],
        "/v1/token/refresh": [Reply({**TOKENS, "access_token": "at2"})],
    }
    server = fake_server(Reply({}), routes=routes)
    client = Doorward(server.url)
    client.login.with_password("ann", "secret")
    return client


def request_with_httpx2(client, method, url, *, origins, follow=True):
    with httpx2.Client(auth=DoorwardAuth(client, origins=origins), follow_redirects=follow) as http:
        return http.request(method, url).status_code


def request_with_asyncio(client, method, url, *, origins, follow=True):
    async def run():
        async with httpx2.AsyncClient(
            auth=DoorwardAuth(client, origins=origins), follow_redirects=follow
        ) as http:
            return (await http.request(method, url)).status_code

    return asyncio.run(run())


def request_with_requests(client, method, url, *, origins, follow=True):
    with requests.Session() as http:
        http.auth = RequestsAuth(client, origins=origins)
        return http.request(method, url, timeout=10, allow_redirects=follow).status_code


with_each_library = pytest.mark.parametrize(
    "ask", [request_with_httpx2, request_with_asyncio, request_with_requests]
)


@with_each_library
def test_listed_origin_receives_the_token(client, fake_server, ask):
    api = fake_server(Reply({}))
    assert ask(client, "GET", f"{api.url}/orders", origins=[f"{api.url}/"]) == 200
    assert api.list_headers("Authorization") == ["Bearer at"]


@with_each_library
def test_other_origin_receives_no_token(client, fake_server, ask):
    api, other = fake_server(Reply({})), fake_server(Reply({}))
    assert ask(client, "GET", other.url, origins=[api.url]) == 200
    assert other.list_headers("Authorization") == []


@with_each_library
def test_redirect_does_not_carry_the_token(client, fake_server, ask):
    other = fake_server(REFUSED)
    api = fake_server(Reply(b"", 302, {"Location": f"{other.url}/here"}))
    assert ask(client, "GET", api.url, origins=[api.url]) == 401
    assert (api.list_headers("Authorization"), other.list_headers("Authorization")) == (
        ["Bearer at"],
        [],
    )
    assert len(other.seen) == 1


@with_each_library
def test_rejected_token_is_replaced_once(client, fake_server, ask):
    api = fake_server(REFUSED, Reply({}))
    assert ask(client, "GET", api.url, origins=[api.url]) == 200
    assert api.list_headers("Authorization") == ["Bearer at", "Bearer at2"]
    server = fake_server(REFUSED)
    assert ask(client, "GET", server.url, origins=[server.url]) == 401
    assert len(server.seen) == 2


@with_each_library
def test_post_is_sent_once(client, fake_server, ask):
    api = fake_server(REFUSED)
    assert ask(client, "POST", api.url, origins=[api.url]) == 401
    assert len(api.seen) == 1


@pytest.mark.parametrize(
    "origins",
    [[], "https://api.example.com", ["https://api.example.com/v1"], ["http://api.example.com"]],
)
@pytest.mark.parametrize("auth", [DoorwardAuth, RequestsAuth])
def test_invalid_origins_are_rejected(client, auth, origins):
    with pytest.raises(InvalidInput):
        auth(client, origins=origins)
