"""X-Auth-Identity: a token with its own type and signing keys, verifiable by one public URL."""

from __future__ import annotations

import json
import threading

import jwt
import pytest
from click.testing import CliRunner
from sqlalchemy import text

from app.adapters.jwt import TokenRejected
from app.cli import cli
from app.factory import create_app
from app.server.cache_watcher import CacheWatcher
from app.settings import GatewayPolicy, SigningAlgorithm
from app.signing_keys.models import SigningKeyPurpose
from app.signing_keys.revoke import revoke_signing_key
from app.signing_keys.rotate import rotate_due_signing_keys, rotate_signing_key
from tests.actors import SECRET

AUDIENCE = "https://orders.example"
POLICIES = {
    "orders": GatewayPolicy(audience=AUDIENCE),
    "bills": GatewayPolicy(audience="https://bills.example"),
}
NEWER = "a newer secret of more than thirty-two bytes 0123456789"


@pytest.fixture
def service(make_service, database_url):
    return make_service(database_url, policies=POLICIES)


@pytest.fixture
def ann(service):
    return service.actor("ann").sign_in()


def get_identity(actor, policy: str = "orders", **kwargs) -> str:
    answer = actor.get(f"/authz/forward-auth/{policy}", **(kwargs or {"token": actor.access}))
    assert answer.status_code == 200, answer.text
    return answer.headers["X-Auth-Identity"]


def get_published_keys(service, name: str = "identity-jwks") -> dict:
    """Return the published keys by kid."""
    answer = service.actor().get(f"/.well-known/{name}.json")
    assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "public, max-age=300")
    return (
        {key.key_id: key for key in jwt.PyJWKSet.from_dict(answer.json).keys}
        if answer.json["keys"]
        else {}
    )


def read(service, token: str, audience: str = AUDIENCE) -> dict:
    """Verify the token as an upstream does, which knows the issuer and the URL of the keys."""
    key = get_published_keys(service)[jwt.get_unverified_header(token)["kid"]]
    required = ["iss", "sub", "aud", "iat", "exp", "jti"]
    return jwt.decode(
        token,
        key,
        algorithms=[key.algorithm_name],
        audience=audience,
        issuer=service.settings.issuer,
        options={"require": required},
    )


def read_kid(token: str) -> str:
    return jwt.get_unverified_header(token)["kid"]


def test_upstream_verifies_the_identity_token_with_the_published_keys(service, ann):
    token = get_identity(ann)
    header, claims = jwt.get_unverified_header(token), read(service, token)
    assert header == {"alg": "ES256", "kid": header["kid"], "typ": "identity+jwt"}
    assert claims.pop("exp") - claims.pop("iat") == 60
    assert claims.pop("jti") != read(service, get_identity(ann))["jti"]
    assert claims == {
        "iss": service.settings.issuer,
        "sub": ann.tokens["account"]["id"],
        "aud": AUDIENCE,
        "preferred_username": "ann",
        "roles": [],
        "scope": "",
        "policy": "orders",
        "sid": ann.tokens["session_id"],
    }


def test_identity_of_an_api_key_names_the_key_and_no_session(service, ann):
    created = ann.post("/v1/api-keys", {"name": "a key", "scopes": []}, token=ann.access).json
    claims = read(service, get_identity(ann, headers={"X-API-Key": created["key"]}))
    assert (claims["sub"], claims["key_id"], "sid" in claims) == (
        ann.tokens["account"]["id"],
        created["id"],
        False,
    )


def test_identity_token_is_for_the_audience_of_its_policy_alone(service, ann):
    with pytest.raises(jwt.InvalidAudienceError):
        read(service, get_identity(ann), audience="https://bills.example")
    assert (
        read(service, get_identity(ann, "bills"), audience="https://bills.example")["policy"]
        == "bills"
    )
    assert get_identity(ann, "default") == ""


def test_identity_token_is_not_accepted_as_a_credential(service, ann):
    token = get_identity(ann)
    assert ann.whoami(token).status_code == 401
    assert ann.get("/authz/forward-auth/default", token=token).status_code == 401
    assert (
        ann.get("/authz/forward-auth/default", headers={"X-Auth-Identity": token}).status_code
        == 401
    )
    assert ann.refresh(token).status_code == 400
    with pytest.raises(TokenRejected):
        service.units.signing_keys.verify(
            SigningKeyPurpose.ACCESS, token, is_acceptable=lambda _claims: True
        )
    with pytest.raises(TokenRejected):
        service.units.signing_keys.verify(
            SigningKeyPurpose.IDENTITY, ann.access, is_acceptable=lambda _claims: True
        )


def test_keys_of_one_purpose_cannot_sign_the_other(service, ann):
    """An access token signed with an identity key is refused, even if all else is correct."""
    identity_kid, access_kid = read_kid(get_identity(ann)), read_kid(ann.access)
    assert (set(get_published_keys(service)), set(get_published_keys(service, "jwks"))) == (
        {identity_kid},
        {access_kid},
    )
    claims = jwt.decode(ann.access, options={"verify_signature": False})
    private = service.units.signing_keys.find_key(identity_kid).private
    for typ in ("at+jwt", "identity+jwt"):
        for named in (identity_kid, access_kid):
            forged = jwt.encode(
                claims, private, algorithm="ES256", headers={"typ": typ, "kid": named}
            )
            assert ann.whoami(forged).status_code == 401
            assert ann.get("/authz/auth-request/orders", token=forged).status_code == 401


def test_no_identity_key_exists_without_an_identity_policy(make_service, database_url):
    service = make_service(database_url)
    ann = service.actor("ann").sign_in()
    assert get_identity(ann, "default") == ""
    assert get_published_keys(service) == {}
    assert service.scalar("SELECT count(*) FROM signing_keys") == 1


def test_identity_tokens_use_the_configured_algorithm(make_service):
    service = make_service(policies=POLICIES, signing_algorithm=SigningAlgorithm.EDDSA)
    ann = service.actor("ann").sign_in()
    assert jwt.get_unverified_header(get_identity(ann))["alg"] == "EdDSA"
    assert read(service, get_identity(ann))["preferred_username"] == "ann"


def test_key_without_a_purpose_signs_access_tokens(service, ann):
    service.scalar("UPDATE signing_keys SET purpose = NULL WHERE purpose = 'at+jwt' RETURNING kid")
    service.clock.push(seconds=6)
    CacheWatcher().watch(service.units)
    assert ann.whoami().status_code == 200
    before = read_kid(ann.access)
    assert ann.login().status_code == 200
    assert read_kid(ann.access) == before
    assert service.scalar("SELECT count(*) FROM signing_keys") == 2


def test_new_key_is_published_before_it_signs_and_the_old_one_after(service, ann):
    old, access = read_kid(get_identity(ann)), read_kid(ann.access)
    with service.units.open_read_write() as work:
        new = rotate_signing_key(work, SigningKeyPurpose.IDENTITY).kid
    service.clock.push(seconds=6)
    CacheWatcher().watch(service.units)
    assert set(get_published_keys(service)) == {old, new}
    assert read_kid(get_identity(ann)) == old
    service.clock.push(seconds=600)
    CacheWatcher().watch(service.units)
    ann.login()
    assert (read_kid(get_identity(ann)), read_kid(ann.access)) == (new, access)
    assert set(get_published_keys(service)) == {old, new}
    service.clock.push(hours=2)
    CacheWatcher().watch(service.units)
    assert (set(get_published_keys(service)), set(get_published_keys(service, "jwks"))) == (
        {new},
        {access},
    )


def test_keys_of_both_purposes_rotate_automatically(service, ann):
    get_identity(ann)
    service.clock.push(days=30)
    with service.units.open_read_write() as work:
        assert {key.effective_purpose for key in rotate_due_signing_keys(work)} == set(
            SigningKeyPurpose
        )
    with service.units.open_read_write() as work:
        assert rotate_due_signing_keys(work) == []


def test_revoking_an_identity_key_ends_no_session(service, ann):
    token = get_identity(ann)
    with service.units.open_read_write() as work:
        assert revoke_signing_key(work, kid=read_kid(token))
        assert not revoke_signing_key(work, kid=read_kid(token))
    CacheWatcher().watch(service.units)
    assert read_kid(token) not in get_published_keys(service)
    assert ann.whoami().status_code == 200
    again = get_identity(ann)
    assert read_kid(again) != read_kid(token)
    assert read(service, again)["sub"] == ann.tokens["account"]["id"]
    assert service.scalar("SELECT global_epoch FROM issuer_state") == 1
    with service.open_database() as db:
        events = db.scalars(
            text("SELECT event FROM audit WHERE event LIKE 'signing_key%' ORDER BY id")
        ).all()
    assert events == [
        "signing_key.created",
        "signing_key.created",
        "signing_key.created",
        "signing_key.revoked",
    ]


def test_revoking_an_access_token_key_keeps_identity_tokens_valid(service, ann):
    token = get_identity(ann)
    with service.units.open_read_write() as work:
        assert revoke_signing_key(work, kid=read_kid(ann.access))
    CacheWatcher().watch(service.units)
    assert ann.get("/authz/forward-auth/orders", token=ann.access).status_code == 401
    ann.login()
    assert read_kid(get_identity(ann)) == read_kid(token)


def test_processes_starting_at_once_agree_on_one_key_per_purpose(make_service, database_url):
    services = [make_service(database_url, policies=POLICIES) for _ in range(4)]
    seen: list[tuple[frozenset, frozenset]] = []
    barrier = threading.Barrier(len(services))

    def start(service) -> None:
        barrier.wait()
        seen.append(
            (frozenset(get_published_keys(service)), frozenset(get_published_keys(service, "jwks")))
        )

    threads = [threading.Thread(target=start, args=[service]) for service in services]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == len(services)
    assert len(set(seen)) == 1
    assert [len(kids) for kids in seen[0]] == [1, 1]
    assert services[0].scalar("SELECT count(*) FROM signing_keys") == 2


def test_process_without_an_identity_key_answers_503(service, ann):
    """A process that cannot decrypt the keys answers neither 200 nor 401."""
    get_identity(ann)
    service.scalar(
        "UPDATE signing_keys SET sealed_private = 'x' || sealed_private WHERE purpose = 'identity+jwt' RETURNING kid"
    )
    service.units.signing_keys.replace_keys({}, [], global_epoch=1, loaded_at=float("-inf"))
    answer = ann.get("/authz/forward-auth/orders", token=ann.access)
    assert (
        answer.status_code,
        answer.headers["X-Auth-Error"],
        answer.headers["X-Auth-Identity"],
    ) == (503, "unavailable", "")


def test_commands_handle_both_purposes(service, ann, database_url):
    def run_command(*words: str, secret: str = SECRET) -> str:
        policies = json.dumps({"orders": {"audience": AUDIENCE}})
        env = {
            "DOORWARD_SECRET_KEY": secret,
            "DOORWARD_DATABASE_URL": database_url,
            "DOORWARD_POLICIES": policies,
        }
        result = CliRunner().invoke(cli, words, obj=create_app, env=env)
        assert result.exit_code == 0, result.output
        return result.output

    token = get_identity(ann)
    assert f"{read_kid(token)}  ES256  signing    signs identity+jwt from" in run_command(
        "keys", "list"
    )
    assert f"{read_kid(ann.access)}  ES256  signing    signs at+jwt from" in run_command(
        "keys", "list"
    )
    assert run_command("keys", "rotate").count("It signs") == 2
    assert run_command("keys", "rotate").count("is already announced") == 2
    assert "4 signing keys" in run_command("secrets", "rewrap", secret=f"{NEWER},{SECRET}")
    assert "Revoked" in run_command("keys", "revoke", read_kid(token), "--yes", secret=NEWER)
    assert ann.whoami().status_code == 200
