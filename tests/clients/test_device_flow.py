"""Device logins with third-party OAuth libraries, without code of this project in between."""

from __future__ import annotations

import json
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
import requests
from requests_oauth2client import (
    AccessDenied,
    BearerToken,
    DeviceAuthorizationPollingJob,
    DeviceAuthorizationResponse,
    ExpiredToken,
    InvalidGrant,
    OAuth2Client,
)
from sqlalchemy import update

from app.authentication.throttling.suspicious_sources import unflag_suspicious_source
from app.device_login.models import DeviceLogin
from tests.clients import npm
from tests.clients.conftest import Site

SHORT_INTERVAL = 0.1  # seconds


class Person:
    """The user who enters the code and decides, over HTTP."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.bearer = {"Authorization": f"Bearer {site.login()['access_token']}"}

    def act(self, action: str, user_code: str, session_id: str) -> None:
        actions = {
            "approve": self.approve,
            "deny": self.deny,
            "call suspicious": self.call_suspicious,
            "let expire": self.let_expire,
        }
        actions[action](user_code, session_id)

    def post(self, path: str, body: dict) -> dict:
        status, answer = self.site.live.call(
            "POST", f"/v1/login-sessions/{path}", body, self.bearer
        )
        assert status == 200, answer
        return answer

    def approve(self, user_code: str, session_id: str) -> None:
        assert self.post("claim", {"user_code": user_code.lower()})["id"] == session_id
        assert self.post(f"{session_id}/approve", {"user_code": user_code})["state"] == "approved"

    def deny(self, user_code: str, session_id: str) -> None:
        self.post("claim", {"user_code": user_code})
        self.post(f"{session_id}/deny", {})

    def call_suspicious(self, user_code: str, session_id: str) -> None:
        self.post("claim", {"user_code": user_code})
        self.post(f"{session_id}/suspicious", {})
        with self.site.service.units.open_read_write() as work:
            unflag_suspicious_source(work, session_id=session_id)  # all tests share one address

    def let_expire(self, _: str, session_id: str) -> None:
        past = self.site.service.clock.now() - timedelta(seconds=1)
        with self.site.service.open_database() as db:
            db.execute(
                update(DeviceLogin).where(DeviceLogin.id == session_id).values(expires_at=past)
            )


@pytest.fixture
def person(site) -> Person:
    return Person(site)


def test_openid_client_and_oauth4webapi(site, person, node):
    script = shutil.copy(Path(__file__).with_name("device.mjs"), node)
    env = {"TOWN": json.dumps({"url": site.url, "id": site.key["id"], "key": site.key["key"]})}
    with npm.run(
        script, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        wanted = None
        for line in process.stdout:
            wanted = json.loads(line)
            if wanted == "done":
                break
            person.act(*wanted)
            process.stdin.write("\n")
            process.stdin.flush()
        assert wanted == "done", process.stderr.read()


def build_client(site: Site, client_id: str) -> OAuth2Client:
    """Configure requests-oauth2client as a public client."""
    found = requests.get(f"{site.url}/.well-known/oauth-authorization-server", timeout=5).json()
    return OAuth2Client.from_discovery_document(
        found,
        issuer=site.url,
        client_id=client_id,
        device_authorization_endpoint=found[
            "device_authorization_endpoint"
        ],  # the library does not read it from the document
        testing=True,  # allows http
    )


def start_polling(
    client: OAuth2Client, authorization: DeviceAuthorizationResponse, **options: float
) -> DeviceAuthorizationPollingJob:
    return DeviceAuthorizationPollingJob(client, authorization, **options)


def wait_for_token(job: DeviceAuthorizationPollingJob) -> BearerToken:
    """Poll as the documentation of the library shows."""
    for _ in range(3):
        if token := job():
            return token
    raise AssertionError("no token")


def test_requests_oauth2client_waits_for_the_approval(site, person):
    first_client, second_client = build_client(site, "job"), build_client(site, "doorward")
    first_authorization, second_authorization = (
        first_client.authorize_device(scope="orders:read orders:write"),
        second_client.authorize_device(),
    )
    fast_polling = start_polling(second_client, second_authorization, interval=SHORT_INTERVAL)
    assert (fast_polling(), fast_polling.interval) == (None, SHORT_INTERVAL)
    assert (fast_polling(), fast_polling.interval) == (None, SHORT_INTERVAL + 5), (
        "the interval grows after slow_down"
    )
    with ThreadPoolExecutor(2) as pool:
        results = [
            pool.submit(wait_for_token, job)
            for job in (start_polling(first_client, first_authorization), fast_polling)
        ]
        for each in (first_authorization, second_authorization):
            person.approve(each.user_code, each.other["session_id"])
        token, another = (each.result() for each in results)
    assert str(token.scope) == "orders:read", "limited to the scopes of the client"
    assert set(str(another.scope).split()) > {"orders:read"}
    with pytest.raises(InvalidGrant):
        first_client.device_code(first_authorization)
    again = first_client.refresh_token(token)
    status, me = get_whoami(site, again)
    assert (status, me["username"], me["scopes"]) == (200, site.ann.username, ["orders:read"])
    assert first_client.revoke_token(again.access_token) is True
    assert (get_whoami(site, again)[0], get_whoami(site, another)[0]) == (401, 200)


def get_whoami(site: Site, token: BearerToken) -> tuple[int, dict]:
    return site.live.call(
        "GET", "/v1/whoami", headers={"Authorization": str(token.authorization_header())}
    )


@pytest.mark.parametrize(
    ("act", "error"),
    [("deny", AccessDenied), ("call suspicious", AccessDenied), ("let expire", ExpiredToken)],
)
def test_requests_oauth2client_learns_of_denial_and_expiry(site, person, act, error):
    client = build_client(site, "doorward")
    authorization = client.authorize_device()
    assert start_polling(client, authorization, interval=SHORT_INTERVAL)() is None
    person.act(act, authorization.user_code, authorization.other["session_id"])
    with pytest.raises(error):
        start_polling(client, authorization, interval=SHORT_INTERVAL)()
