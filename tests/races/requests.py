"""Requests that the races send to the shared server."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

from tests.actors import PASSWORD
from tests.live import build_raw_post

ACCOUNT_NUMBERS = itertools.count()
SOURCE_NUMBERS = itertools.count()


def pick_unused_source() -> dict[str, str]:
    """Return headers that give the request an IP address no other request has."""
    number = next(SOURCE_NUMBERS)
    return {"X-Forwarded-For": f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"}


def build_bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def register_account(live) -> str:
    """Create a confirmed account and return its username, which is unique on the shared server."""
    name = f"runner{next(ACCOUNT_NUMBERS)}"
    email = f"{name}@example.org"
    answer = live.call(
        "POST",
        "/v1/register",
        {"username": name, "email": email, "name": "Runner", "password": PASSWORD},
        pick_unused_source(),
    )[1]
    code = live.mailbox(email)[0]["code"]
    status, _ = live.call(
        "POST", "/v1/register/confirm", {"registration": answer["registration"], "code": code}
    )
    assert status == 200
    return name


def try_login(live, name: str, password: str = PASSWORD) -> tuple[int, dict]:
    return live.call(
        "POST", "/v1/login", {"username": name, "password": password}, pick_unused_source()
    )


def log_in(live, name: str, password: str = PASSWORD) -> dict[str, Any]:
    """Log in and return the tokens."""
    status, tokens = try_login(live, name, password)
    assert status == 200, tokens
    return tokens


def refresh_tokens(live, refresh_token: str) -> tuple[int, dict]:
    return live.call("POST", "/v1/token/refresh", {"refresh_token": refresh_token})


def is_accepted(live, access_token: str) -> bool:
    return live.call("GET", "/v1/whoami", headers=build_bearer(access_token))[0] == 200


def build_login(name: str, password: str, source: dict[str, str] | None = None) -> bytes:
    return build_raw_post(
        "/v1/login", {"username": name, "password": password}, source or pick_unused_source()
    )


def build_password_change(tokens: dict[str, Any], old: str, new: str) -> bytes:
    return build_raw_post(
        "/v1/password/change",
        {"old_password": old, "new_password": new},
        {**build_bearer(tokens["access_token"]), **pick_unused_source()},
    )


def build_password(number: int) -> str:
    return f"quite another sentence, the {number:02}th"


def count_statuses(answers: list[tuple[int, Any]]) -> Counter[int]:
    return Counter(status for status, _ in answers)
