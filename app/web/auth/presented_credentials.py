"""Parse the credential that the current request presents: user credentials and OAuth clients."""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING
from urllib.parse import unquote_plus

from app.errors import Unauthenticated
from app.oauth.clients import ClientCredentials
from app.oauth.errors import InvalidClient, InvalidRequest
from app.verification.credentials import CredentialType, PresentedCredential, parse_bearer
from app.web.oauth.forms import read_form

if TYPE_CHECKING:
    from werkzeug import Request

BASIC = re.compile(r"basic +([A-Za-z0-9+/]+={0,2})", re.IGNORECASE)
BEARER = re.compile(r"bearer +([^ ,]+)", re.IGNORECASE)
INVALID_MESSAGES = {
    CredentialType.API_KEY: "The API key is invalid, expired or revoked.",
    CredentialType.ACCESS_TOKEN: (
        "The access token is invalid, expired or revoked. Refresh it, or log in again."
    ),
}
CHALLENGE = 'Bearer realm="doorward"'


def parse_credential(request: Request) -> PresentedCredential:
    """Return the access token or API key of a request. Raises Unauthenticated."""
    return parse_credential_headers(*_get_headers(request))


def parse_credential_headers(authorizations: list[str], keys: list[str]) -> PresentedCredential:
    """Return the access token or API key in the headers Authorization and X-API-Key.

    Raises Unauthenticated unless there is exactly one.
    """
    if not authorizations and not keys:
        raise Unauthenticated(
            "Send an access token (Authorization: Bearer …) or an API key (X-API-Key: …).",
            headers={"WWW-Authenticate": CHALLENGE},
        )
    if len(authorizations) + len(keys) > 1:
        raise build_invalid_token_error("Send exactly one credential.")
    if keys:
        return PresentedCredential(CredentialType.API_KEY, keys[0])
    parts = BEARER.fullmatch(authorizations[0])
    if parts is None:
        raise build_invalid_token_error(
            "The Authorization header must be: Bearer, a space, and one access token or API key."
        )
    return parse_bearer(parts[1])


def build_rejected_error(presented: PresentedCredential) -> Unauthenticated:
    """Return the 401 for a credential that is not valid."""
    return build_invalid_token_error(INVALID_MESSAGES[presented.type])


def build_invalid_token_error(detail: str) -> Unauthenticated:
    """Return the 401 with the challenge of RFC 6750 section 3."""
    return Unauthenticated(
        detail, headers={"WWW-Authenticate": f'{CHALLENGE}, error="invalid_token"'}
    )


def parse_client(request: Request) -> ClientCredentials:
    """Return the OAuth client of the request, from HTTP Basic or from the form.

    Raises InvalidRequest if both are used, and InvalidClient if the header is malformed.
    """
    form = read_form(request)
    in_form = ClientCredentials(form.get("client_id"), form.get("client_secret"))
    authorizations, _ = _get_headers(request)
    if not authorizations:
        return in_form
    in_header = _parse_basic(authorizations)
    if in_form.secret is not None or (in_form.id is not None and in_form.id != in_header.id):
        raise InvalidRequest("Use exactly one way to authenticate the client.")
    return in_header


def parse_client_or_key(request: Request) -> ClientCredentials:
    """Return the OAuth client of the request, which may also send its API key in a header.

    Raises InvalidRequest and InvalidClient, as `parse_client` does.
    """
    authorizations, keys = _get_headers(request)
    bearers = [parts[1] for header in authorizations if (parts := BEARER.fullmatch(header))]
    if not keys and not bearers:
        return parse_client(request)
    if len(keys) + len(authorizations) > 1 or "client_secret" in read_form(request):
        raise InvalidRequest("Use exactly one way to authenticate the client.")
    return ClientCredentials(read_form(request).get("client_id"), (keys + bearers)[0])


def _get_headers(request: Request) -> tuple[list[str], list[str]]:
    return request.headers.getlist("Authorization"), request.headers.getlist("X-API-Key")


def _parse_basic(authorizations: list[str]) -> ClientCredentials:
    """Decode the id and secret, which are percent-encoded separately (RFC 6749 section 2.3.1)."""
    parts = BASIC.fullmatch(authorizations[0]) if len(authorizations) == 1 else None
    if parts is None:
        raise InvalidClient(
            "The Authorization header must be: Basic, a space, and one id:secret pair in base64."
        )
    try:
        name, colon, secret = base64.b64decode(parts[1], validate=True).decode().partition(":")
        client = ClientCredentials(
            unquote_plus(name, errors="strict"), unquote_plus(secret, errors="strict") or None
        )
    except (binascii.Error, UnicodeDecodeError):
        colon = ""
    if not colon:
        raise InvalidClient("The Authorization header contains no id:secret pair in base64.")
    return client
