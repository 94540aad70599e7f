"""The id of each request, in its response, log lines and audit events."""

from __future__ import annotations

import re

from flask import g, request

from app.opaque_tokens import generate_id

REQUEST_ID_HEADER = "X-Request-Id"
REQUEST_ID_PATTERN = re.compile(r"[A-Za-z0-9_-]{8,64}")


def assign_request_id(*, trusted: bool) -> None:
    """Use the id that a trusted gateway has set, or generate one."""
    given = request.headers.get(REQUEST_ID_HEADER, "")
    g.request_id = given if trusted and REQUEST_ID_PATTERN.fullmatch(given) else generate_id("req")


def get_request_id() -> str:
    name: str = g.get("request_id") or generate_id("req")
    return name
