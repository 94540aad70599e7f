"""The programs in docs/verify-tokens.md, run against the service."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import time
from pathlib import Path

import pytest

from app.signing_keys.revoke import revoke_signing_key
from tests.clients import npm
from tests.oauth_clients import create_key, request_client_token

PAGE = Path(__file__).parents[2] / "docs" / "verify-tokens.md"
SOON = (
    2.0 + 2.0
)  # seconds within which a verifier refuses what was revoked, and what a busy machine may add
HARNESS = """
import { createInterface } from "node:readline";
import { verifier } from "./verifier.mjs";
const { settings } = JSON.parse(process.env.VERIFIER);
const verify = await verifier(settings);
console.log(JSON.stringify("ready"));
for await (const token of createInterface({ input: process.stdin }))
  console.log(JSON.stringify(await verify(token).then((claims) => claims.sub, (error) => `refused: ${error.message}`)));
"""


def extract_program(language: str) -> str:
    """Return the first code block in that language."""
    return re.search(rf"^```{language}\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)[1]


class InPython:
    def __init__(self, url: str, audience: str, key: str, patience: int) -> None:
        names: dict = {}
        exec(
            compile(
                extract_program("python").replace("> 10:", f"> {patience}:"), str(PAGE), "exec"
            ),
            names,
        )
        self.verifier = names["Verifier"](url, issuer=url, audience=audience, api_key=key)

    def __call__(self, token: str) -> str:
        try:
            return self.verifier.verify(token)["sub"]
        except Exception as error:
            return f"refused: {error}"


class InNode:
    def __init__(self, folder: Path, url: str, audience: str, key: str, patience: int) -> None:
        (folder / "verifier.mjs").write_text(
            extract_program("js").replace("> 10_000", f"> {patience}_000")
        )
        (folder / "harness.mjs").write_text(HARNESS)
        settings = {"settings": {"url": url, "issuer": url, "audience": audience, "apiKey": key}}
        self.process = npm.run(
            folder / "harness.mjs",
            env={"VERIFIER": json.dumps(settings)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert json.loads(self.process.stdout.readline()) == "ready"

    def __call__(self, token: str) -> str:
        self.process.stdin.write(token + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def stop(self) -> None:
        self.process.stdin.close()
        self.process.wait(10)
        self.process.stdout.close()


@pytest.fixture(params=["python", "node"])
def make_verifier(request, site):
    made = []

    def make(audience: str = "", patience: int = 10, of=site):
        if request.param == "python":
            return InPython(of.url, audience or of.url, of.key["key"], patience)
        made.append(
            InNode(
                request.getfixturevalue("node"), of.url, audience or of.url, of.key["key"], patience
            )
        )
        return made[-1]

    yield make
    for verifier in made:
        verifier.stop()


def wait_for_refusal(verify, token: str) -> float:
    """Wait until the token is refused and return the seconds."""
    began = time.monotonic()
    while not verify(token).startswith("refused"):
        assert time.monotonic() - began < 3 * SOON
        time.sleep(0.05)
    return time.monotonic() - began


@pytest.mark.parametrize("language", ["python", "js"])
def test_example_verifiers_are_short(language):
    assert len(extract_program(language).splitlines()) <= 40


def test_verifier_refuses_revoked_sessions_within_two_seconds(site, make_verifier):
    verify, ann, sub = make_verifier(), site.ann, site.ann.tokens["account"]["id"]
    kept, ended = site.login(), site.login()
    key, narrowed = (
        create_key(ann, "orders:read", name="a"),
        create_key(ann, "orders:read", "orders:write", name="b"),
    )
    limited_token, full_token = (
        request_client_token(ann, each).json["access_token"] for each in (key, narrowed)
    )
    tokens = [kept["access_token"], ended["access_token"], limited_token, full_token]
    assert [verify(token) for token in tokens] == [sub] * 4
    assert (
        site.live.call(
            "POST", "/v1/logout", {}, {"Authorization": f"Bearer {ended['access_token']}"}
        )[0]
        == 204
    )
    assert wait_for_refusal(verify, ended["access_token"]) < SOON
    assert ann.call("DELETE", f"/v1/api-keys/{key['id']}", token=ann.access).status_code == 204
    assert (
        ann.call(
            "PATCH", f"/v1/api-keys/{narrowed['id']}", json={"scopes": []}, token=ann.access
        ).status_code
        == 200
    )
    assert wait_for_refusal(verify, limited_token) < SOON
    assert wait_for_refusal(verify, full_token) < SOON
    time.sleep(1)  # what was issued in the second of the change is refused, too
    assert verify(request_client_token(ann, narrowed).json["access_token"]) == sub
    assert verify(kept["access_token"]) == sub
    assert ann.post("/v1/logout-all", token=ann.access).status_code == 204
    assert wait_for_refusal(verify, kept["access_token"]) < SOON
    assert (
        verify(request_client_token(ann, narrowed).json["access_token"]) == sub
    )  # keys survive what ends sessions
    assert verify(site.login()["access_token"]) == sub


def test_verifier_accepts_only_valid_tokens_for_its_audience(site, make_verifier):
    verify, token = make_verifier(), site.login()["access_token"]
    now = int(time.time())
    results = {
        "iss": site.url,
        "sub": site.ann.tokens["account"]["id"],
        "aud": site.url,
        "exp": now + 300,
        "iat": now + 1,
        "jti": "jti_x",
        "client_id": "doorward",
        "sid": "ses_x",
        "ep": 1,
        "rv": 9,
        "scope": "",
        "roles": [],
    }
    assert verify(site.sign(**results)) == results["sub"]
    header, words, signature = token.split(".")
    wrong = [
        site.sign(**{**results, "exp": now - 31, "iat": now - 331}),
        site.sign(**{**results, "aud": "https://other.example"}),
        site.sign(**{**results, "iss": "https://other.example"}),
        f"{header}.{words}.{signature[:-4]}AAAA",
        f"{header}.{words}.",
        "junk",
    ]
    assert [verify(each)[:7] for each in wrong] == ["refused"] * len(wrong)
    assert make_verifier(audience="https://other.example")(token).startswith("refused")


def test_verifier_follows_key_rotation_and_survives_an_outage(site, make_verifier):
    verify, sub = make_verifier(), site.ann.tokens["account"]["id"]
    before = site.login()
    assert verify(before["access_token"]) == sub
    site.rotate_signing_key()
    site.live.stop()
    ended = site.ann
    assert verify(ended.access) == sub
    assert ended.logout().status_code == 204  # while the verifier hears nothing
    time.sleep(1.2)
    assert verify(ended.access) == sub
    site.live.start()
    assert wait_for_refusal(verify, ended.access) < SOON
    after = site.login()["access_token"]
    assert after.split(".")[0] != before["access_token"].split(".")[0]
    assert verify(after) == sub
    assert verify(before["access_token"]) == sub


def test_verifier_without_the_feed_accepts_nothing(site, make_verifier):
    """The page has ten seconds; this test changes it to three, and nothing else."""
    verify, token = make_verifier(patience=3), site.login()["access_token"]
    assert not verify(token).startswith("refused")
    site.live.stop()
    end = time.monotonic() + 15
    while not (results := verify(token)).startswith("refused"):
        assert time.monotonic() < end
        time.sleep(0.2)
    assert "503" in results


def test_revoked_signing_key_is_refused_even_when_cached(own_site, make_verifier):
    verify = make_verifier(of=own_site)
    header = json.loads(
        base64.urlsafe_b64decode(own_site.login()["access_token"].split(".")[0] + "==")
    )
    token = own_site.login()["access_token"]
    assert not verify(token).startswith("refused")
    with own_site.service.units.open_read_write() as work:
        assert revoke_signing_key(work, kid=header["kid"])
    assert wait_for_refusal(verify, token) < SOON
