"""Devices that start a device login, and users who approve it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.actors import Actor

GRANT = "urn:ietf:params:oauth:grant-type:device_code"


@dataclass
class Device:
    """A device; `response` is the response to its device authorization request."""

    actor: Actor
    client: dict[str, str] = field(default_factory=dict)
    response: dict[str, Any] = field(default_factory=dict)

    @property
    def id(self) -> str:
        return self.response["session_id"]

    @property
    def code(self) -> str:
        return self.response["user_code"]

    def start(self, **body: Any):
        answer = self.actor.post(
            "/v1/login-sessions", {"client_name": "backup", **self.client, **body}
        )
        if answer.status_code == 201:
            self.response = answer.json
        return answer

    def poll(self, **form: Any):
        body = {
            "grant_type": GRANT,
            "device_code": self.response["device_code"],
            **self.client,
            **form,
        }
        return self.actor.call("POST", "/oauth/token", data=body)

    def get_poll_result(self, **form: Any) -> str:
        """Return the result of a poll in one word."""
        answer = self.poll(**form)
        return "tokens" if answer.status_code == 200 else answer.json["error"]

    def cancel(self):
        return self.actor.post(
            "/v1/login-sessions/cancel", {"device_code": self.response["device_code"]}
        )


def start_device_login(service, **client: str) -> Device:
    """Start a device login from an IP address of its own."""
    box = Device(service.actor("box", agent="backup/2"), client)
    assert box.start().status_code == 201
    return box


def claim(person: Actor, code: str):
    return person.post("/v1/login-sessions/claim", {"user_code": code}, token=person.access)


def decide(person: Actor, box: Device, verb: str, **body: str):
    """Approve (with the code), deny or report as suspicious."""
    sent = {"user_code": box.code} if verb == "approve" and not body else body
    return person.post(f"/v1/login-sessions/{box.id}/{verb}", sent, token=person.access)


def complete_device_login(person: Actor, box: Device) -> dict[str, Any]:
    """Claim, approve and redeem; return the tokens."""
    assert claim(person, box.code).status_code == 200
    assert decide(person, box, "approve").status_code == 200
    answer = box.poll()
    assert answer.status_code == 200, answer.text
    return answer.json


def get_device_login_state(person: Actor, box: Device) -> str:
    return person.get(f"/v1/login-sessions/{box.id}", token=person.access).json["state"]
