"""Introspection requests and responses (RFC 7662 section 2)."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from werkzeug import Request

from app.api_keys.models import PREFIX
from app.opaque_tokens import parse_row_id
from app.web.answers import Answer, build_json_answer
from app.web.auth.presented_credentials import parse_client_or_key
from app.web.oauth.forms import read_form

if TYPE_CHECKING:
    from wsgiref.types import WSGIEnvironment

    from app.oauth.introspect import IntrospectionResult

USUAL_FIELDS = {"token", "client_id", "client_secret"}


def parse_introspection(environ: WSGIEnvironment) -> tuple[str, str] | None:
    """Return the token of a request and the API key of its client, or None if it is unusual.

    Raises the problems of forms and clients.
    """
    request = Request(environ)
    client, form = parse_client_or_key(request), read_form(request)
    token = form.get("token")
    if client.secret is None or token is None or not form.keys() <= USUAL_FIELDS:
        return None
    if client.id is not None and client.id != parse_row_id(PREFIX, "key", client.secret):
        return None
    return token, client.secret


def build_introspection_answer(result: IntrospectionResult | None) -> Answer:
    """Render the state of a credential, or that there is no active one."""
    if result is None:
        return build_json_answer({"active": False})
    known = {name: value for name, value in asdict(result).items() if value is not None}
    return build_json_answer({"active": True} | known)
