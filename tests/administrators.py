"""Administrators, and whom they act upon."""

from __future__ import annotations

from tests.actors import Actor, Service
from tests.authorization import sign_in_with_role


def create_administrator(service: Service, name: str = "boss") -> Actor:
    """Somebody new with the role admin, just signed in."""
    return sign_in_with_role(service, name, "admin")


def get_account_id(actor: Actor) -> str:
    """Also of an account that nobody is signed in to."""
    return actor.service.scalar(
        "SELECT id FROM accounts WHERE username = :name", name=actor.username
    )
