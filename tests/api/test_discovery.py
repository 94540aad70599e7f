"""Discovery: all URLs follow from the issuer's URL, never from the request."""

from __future__ import annotations

import pytest

from app.settings import DocsMode
from tests.oauth_clients import ROLES

PATHS = ("/.well-known/oauth-authorization-server", "/.well-known/openid-configuration")


def test_both_paths_return_the_same_document(make_service):
    service = make_service(
        roles=ROLES, public_url="https://id.example.com", issuer="https://issuer.example.com"
    )
    ann = service.actor()
    first, second = (ann.get(path, headers={"Host": "id.example.com"}) for path in PATHS)
    assert first.get_data() == second.get_data()
    assert first.json == {
        "issuer": "https://issuer.example.com",
        "token_endpoint": "https://id.example.com/oauth/token",
        "device_authorization_endpoint": "https://id.example.com/oauth/device_authorization",
        "introspection_endpoint": "https://id.example.com/oauth/introspect",
        "revocation_endpoint": "https://id.example.com/oauth/revoke",
        "jwks_uri": "https://id.example.com/.well-known/jwks.json",
        "grant_types_supported": [
            "refresh_token",
            "client_credentials",
            "urn:ietf:params:oauth:grant-type:device_code",
        ],
        "response_types_supported": [],
        "token_endpoint_auth_methods_supported": [
            "client_secret_basic",
            "client_secret_post",
            "none",
        ],
        "introspection_endpoint_auth_methods_supported": [
            "client_secret_basic",
            "client_secret_post",
        ],
        "revocation_endpoint_auth_methods_supported": [
            "client_secret_basic",
            "client_secret_post",
            "none",
        ],
        "scopes_supported": [
            "memberships:write:*",
            "orders:read",
            "orders:write",
            "revocations:read",
            "roles:read",
            "tokens:introspect",
        ],
        "service_documentation": "https://id.example.com/docs",
    }


def test_document_does_not_depend_on_the_request(make_service):
    service = make_service(trusted_hosts=("127.0.0.1", "other.example"))
    ann = service.actor()
    spoofed = {
        "Host": "other.example",
        "X-Forwarded-Host": "evil.example",
        "X-Forwarded-Proto": "https",
        "Forwarded": "host=evil.example",
    }
    assert ann.get(PATHS[0], headers=spoofed).get_data() == ann.get(PATHS[0]).get_data()


def test_document_is_cacheable_and_revalidates(make_service):
    ann = make_service().actor()
    answer = ann.get(PATHS[0])
    assert set(answer.headers["Cache-Control"].split(", ")) == {"public", "max-age=300"}
    assert ann.get(PATHS[0], headers={"If-None-Match": answer.headers["ETag"]}).status_code == 304


@pytest.mark.parametrize("issuer", ["https://example.com/auth", "https://example.com/a/b"])
def test_issuer_with_a_path_is_found_where_clients_look(make_service, issuer):
    """RFC 8414 section 3.1: the well-known part comes before the path."""
    ann = make_service(issuer=issuer).actor()
    place = issuer.removeprefix("https://example.com")
    for path in PATHS:
        assert ann.get(path + place).json["issuer"] == issuer
        assert ann.get(path + place + "x").status_code == 404
        assert ann.get(path + "/x").status_code == 404
        assert ann.get(path).json["issuer"] == issuer


def test_issuer_without_a_path_is_found_nowhere_else(sqlite_service):
    assert sqlite_service.actor().get(PATHS[0] + "/tenant").status_code == 404


def test_documentation_is_linked_only_when_public(make_service):
    assert "service_documentation" not in make_service(docs=DocsMode.OFF).actor().get(PATHS[0]).json
