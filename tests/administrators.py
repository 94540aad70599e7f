"""Administrators, and the accounts they act on."""

from __future__ import annotations

from tests.actors import Actor, Service
from tests.authorization import sign_in_with_role


def create_administrator(service: Service, name: str = "boss") -> Actor:
    """Create a user with the role admin who has just logged in."""
    return sign_in_with_role(service, name, "admin")


def get_account_id(actor: Actor) -> str:
    """Return the id of an account, signed in or not."""
    return actor.service.scalar(
        "SELECT id FROM accounts WHERE username = :name", name=actor.username
    )
