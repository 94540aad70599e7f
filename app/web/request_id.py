"""A name for each request, in its answer, its log lines and its audit rows."""

from __future__ import annotations

import re

from flask import g, request

from app.opaque_tokens import generate_id

REQUEST_ID_HEADER = "X-Request-Id"
REQUEST_ID_PATTERN = re.compile(r"[A-Za-z0-9_-]{8,64}")


def assign_request_id(*, trusted: bool) -> None:
    """Take over the name that a trusted gateway gave it, or give it one."""
    given = request.headers.get(REQUEST_ID_HEADER, "")
    g.request_id = given if trusted and REQUEST_ID_PATTERN.fullmatch(given) else generate_id("req")


def get_request_id() -> str:
    name: str = g.get("request_id") or generate_id("req")
    return name
