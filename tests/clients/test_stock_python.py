"""OAuth and JWT libraries from PyPI, configured with nothing but Doorward's URL."""

from __future__ import annotations

import jwt
import requests
from authlib.integrations.requests_client import OAuth2Session
from requests_oauth2client import BearerToken, OAuth2Client, OAuth2ClientCredentialsAuth

from tests.oauth_clients import create_key


def test_requests_oauth2client(site):
    key = site.key
    client = OAuth2Client.from_discovery_endpoint(
        f"{site.url}/.well-known/oauth-authorization-server",
        issuer=site.url,
        client_id=key["id"],
        client_secret=key["key"],
        testing=True,  # it wants https otherwise
    )
    token = client.client_credentials(scope="orders:read")
    assert isinstance(token, BearerToken)
    assert str(token.scope) == "orders:read"
    assert client.introspect_token(token.access_token)["active"] is True
    assert client.introspect_token("x") == {"active": False}
    session = site.login()
    again = OAuth2Client(
        f"{site.url}/oauth/token", client_id="doorward", testing=True
    ).refresh_token(session["refresh_token"])
    assert client.introspect_token(again.access_token)["sid"] == session["session_id"]
    assert client.revoke_token(again.access_token) is True
    assert client.introspect_token(again.access_token) == {"active": False}
    called = requests.get(
        f"{site.url}/v1/whoami", auth=OAuth2ClientCredentialsAuth(client), timeout=5
    )
    assert called.json()["key_id"] == key["id"]


def test_authlib(site):
    found = requests.get(f"{site.url}/.well-known/openid-configuration", timeout=5).json()
    for method in ("client_secret_basic", "client_secret_post"):
        key = create_key(site.ann, "orders:read", "tokens:introspect", name=method)
        with OAuth2Session(
            key["id"],
            key["key"],
            token_endpoint_auth_method=method,
            revocation_endpoint_auth_method=method,
        ) as client:
            token = client.fetch_token(
                found["token_endpoint"], grant_type="client_credentials", scope="orders:read"
            )
            assert (token["token_type"], token["scope"]) == ("Bearer", "orders:read")
            assert client.get(f"{site.url}/v1/whoami", timeout=5).json()["key_id"] == key["id"]
            access = site.login()["access_token"]
            assert (
                client.introspect_token(found["introspection_endpoint"], token=access).json()[
                    "active"
                ]
                is True
            )
            assert (
                client.revoke_token(
                    found["revocation_endpoint"], token=access, token_type_hint="access_token"
                ).status_code
                == 200
            )
            assert client.introspect_token(
                found["introspection_endpoint"], token=access
            ).json() == {"active": False}


def test_pyjwt_reads_the_jwks_before_and_after_a_rotation(own_site):
    found = requests.get(f"{own_site.url}/.well-known/oauth-authorization-server", timeout=5).json()
    keys = jwt.PyJWKClient(found["jwks_uri"], cooldown_duration=0)
    names = set()
    for _ in range(2):
        token = own_site.log_in_with_new_key(names)
        key = keys.get_signing_key_from_jwt(token)
        claims = jwt.decode(
            token, key, algorithms=["ES256"], issuer=found["issuer"], audience=found["issuer"]
        )
        assert claims["sub"] == own_site.ann.tokens["account"]["id"]
        names.add(key.key_id)
        own_site.rotate_signing_key()
    assert len(names) == 2
