"""What gateways ask: one of five answers, every identity header each time, whatever the request they ask about looks like."""

from __future__ import annotations

import pytest

from app.gateway.identity import HEADERS
from app.setting_maps import Policy

ASKED = ("/authz/auth-request/default", "/authz/forward-auth/default", "/authz/ext-authz/default/orders/7")


@pytest.mark.parametrize("path", ASKED)
def test_whoever_is_signed_in_passes_and_is_named(ann, path):
    ann.signed_in()
    answer = ann.get(path, token=ann.access)
    assert (answer.status_code, answer.data, answer.headers["Cache-Control"]) == (200, b"", "no-store")
    assert {name: answer.headers[name] for name in HEADERS} == {
        "X-Auth-Subject": ann.tokens["account"]["id"],
        "X-Auth-Username": "ann",
        "X-Auth-Roles": "",
        "X-Auth-Scopes": "",
        "X-Auth-Session": ann.tokens["session_id"],
        "X-Auth-Key": "",
        "X-Auth-Identity": "",
    }
