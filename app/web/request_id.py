"""A name for each request, in its answer, its log lines and its audit rows."""

from __future__ import annotations

import re

from flask import g, request

from app.opaque_tokens import new_id

HEADER = "X-Request-Id"
TAKEN = re.compile(r"[A-Za-z0-9_-]{8,64}")


def name_request(*, trusted: bool) -> None:
    """Take over the name that a trusted gateway gave it, or give it one."""
    given = request.headers.get(HEADER, "")
    g.request_id = given if trusted and TAKEN.fullmatch(given) else new_id("req")


def request_id() -> str:
    name: str = g.get("request_id") or new_id("req")
    return name
