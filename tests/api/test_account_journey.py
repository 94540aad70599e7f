"""The life of an account: register, confirm, log in, authenticate, refresh, log out."""

from __future__ import annotations


def test_account_registers_confirms_signs_in_and_logs_out(ann):
    assert ann.register().json == {
        "status": "pending",
        "registration": ann.registration,
        "next": "confirm_email",
    }
    assert ann.login().status_code == 401

    account = ann.confirm().json["account"]
    assert account["username"] == "ann"
    assert account["id"].startswith("acc_")

    tokens = ann.login().json
    assert tokens["account"] == account
    assert tokens["token_type"] == "Bearer"
    assert 0 < tokens["expires_in"] <= 300

    principal = ann.whoami().json
    assert principal["account_id"] == account["id"]
    assert principal["kind"] == "session"
    assert principal["session_id"] == tokens["session_id"]

    again = ann.refresh()
    assert again.status_code == 200
    assert again.json["refresh_token"] != tokens["refresh_token"]
    assert ann.whoami(again.json["access_token"]).status_code == 200

    assert ann.logout().status_code == 204
    assert ann.whoami().status_code == 401
    assert ann.whoami(again.json["access_token"]).status_code == 401
    assert ann.refresh(again.json["refresh_token"]).status_code == 400
