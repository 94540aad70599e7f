"""Administrators: accounts with the role admin, signed in."""

from __future__ import annotations

from app.principal import Source
from app.roles.grant import grant
from tests.actors import Actor, Service

NOBODY = Source(address="", bucket="", user_agent="", request_id="", locale="en")


def administrator(service: Service, name: str = "boss") -> Actor:
    """Somebody new with the role, signed in. The first of them is made at the machine, which costs more than a test needs."""
    boss = service.actor(name).signed_up()
    account_id = service.scalar("SELECT id FROM accounts WHERE username = :name", name=name)
    with service.units.writing() as work:
        assert grant(work, NOBODY, account_id=account_id, role="admin")
    assert boss.login().status_code == 200
    return boss


def id_of(actor: Actor) -> str:
    return actor.service.scalar("SELECT id FROM accounts WHERE username = :name", name=actor.username)
