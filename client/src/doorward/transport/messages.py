"""Requests and responses, built so that no variable in a traceback shows a secret."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode, urljoin, urlsplit

from doorward._version import __version__
from doorward.errors import DoorwardError, InvalidInput, RedirectRefused, UnexpectedAnswer
from doorward.origin import Origin
from doorward.printable import to_printable
from doorward.secret import Secret
from doorward.transport.problems import build_error

JSON_TYPES = frozenset({"application/json", "application/problem+json"})
Body = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Request:
    """A request. Its secrets stay wrapped until it is sent."""

    method: str
    path: str
    token: Secret | None = None
    json: Body | None = None
    form: Body | None = None
    query: Mapping[str, str] | None = None
    read_timeout: float | None = None  # seconds; default: the read timeout of the transport

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """The secrets that are sent, to be masked in texts from the response."""
        sent = [*(self.json or {}).values(), *(self.form or {}).values(), self.token]
        return tuple(value for value in sent if isinstance(value, Secret))


class JsonObject(dict[str, Any]):
    """A JSON object from a response. Its repr is hidden, because it may hold secrets."""

    def __repr__(self) -> str:
        return "<response>"


@dataclass(frozen=True, slots=True)
class Response:
    """The status, headers and body of a response."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    content: bytes = field(repr=False)


def build_headers(request: Request) -> dict[str, str]:
    """Return the headers of the request."""
    headers = {
        "User-Agent": f"doorward/{__version__}",
        "Accept": "application/json",
        # A compressed response could exceed the size limit while it is unpacked.
        "Accept-Encoding": "identity",
    }
    if request.json is not None:
        headers["Content-Type"] = "application/json"
    if request.form is not None:
        headers["Content-Type"] = "application/x-www-form-urlencoded"
    if request.token is not None:
        headers["Authorization"] = f"Bearer {request.token.reveal()}"
    return headers


def encode_body(request: Request) -> tuple[bytes | None, InvalidInput | None]:
    """Return the body, or the error if a value cannot be encoded.

    The error is returned instead of raised, because the frames of this call hold secrets.
    """
    with suppress(TypeError, ValueError, RecursionError):
        return _encode(request), None
    fields = {**(request.json or {}), **(request.form or {})}
    invalid = [name for name, value in fields.items() if not _is_encodable(value)]
    reason = "cannot be encoded"
    return None, InvalidInput(
        f"{' and '.join(invalid)} {reason}. Pass text, a number, a list, or an object of these.",
        errors={name: [reason] for name in invalid},
    )


def _is_encodable(value: object) -> bool:
    with suppress(TypeError, ValueError, RecursionError):
        json.dumps(_reveal(value))
        str(_reveal(value)).encode()
        return True
    return False


def _encode(request: Request) -> bytes | None:
    if request.json is not None:
        return json.dumps({name: _reveal(value) for name, value in request.json.items()}).encode()
    if request.form is not None:
        return urlencode({name: _reveal(value) for name, value in request.form.items()}).encode()
    # Some servers require Content-Length with every POST. httpx2 sends it for an empty body only.
    return b"" if request.method in {"POST", "PUT"} else None


def _reveal(value: object) -> object:
    if not isinstance(value, Secret):
        return value
    text: object = value.reveal()
    if not isinstance(text, str):
        raise TypeError  # the caller wrapped bytes, or None from an unset variable
    return text


def parse_json(response: Response) -> JsonObject | None:
    """Return the JSON object of the response, None if it is anything else."""
    content_type = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if content_type not in JSON_TYPES:
        return None
    try:
        document = json.loads(response.content)
    except (ValueError, RecursionError):
        return None
    return JsonObject(document) if isinstance(document, dict) else None


def build_not_json_error(origin: Origin, status: int, headers: Mapping[str, str]) -> DoorwardError:
    """Build the error for a response without a JSON object."""
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.TOO_MANY_REQUESTS:
        return build_error(status, headers, {}, clock_skew=None)
    kind = (
        ""
        if status == HTTPStatus.NOT_MODIFIED
        else to_printable(headers.get("Content-Type", "")).partition(";")[0].strip().lower()
    )
    content = {
        "": "nothing",
        "text/html": "a web page",
        **dict.fromkeys(JSON_TYPES, "invalid JSON"),
    }.get(kind, kind)
    return UnexpectedAnswer(
        f"{origin} returned {content} instead of a JSON object ({status})."
        " Check the URL, and whether a proxy or a network login page answered instead.",
        status=status,
    )


def build_redirect_error(origin: Origin, location: str, request: Request) -> RedirectRefused:
    """Build the error for a redirect.

    It names the URL to use: the target without the query, which may hold secrets, and without the
    path of the request.
    """
    try:
        parts = urlsplit(urljoin(f"{origin}/", location))
        host = parts.netloc.rpartition("@")[2].lower()
        target = f"{parts.scheme}://{host}{parts.path}" if parts.netloc else ""
    except ValueError:
        target = ""
    target = to_printable(target.removesuffix(request.path), request.secrets) or "another URL"
    if target == str(origin):
        return RedirectRefused(
            f"{origin} redirects to itself. Check the URL and any proxy in between.",
            location=target,
        )
    return RedirectRefused(
        f"{origin} redirects to {target}. Nothing was sent there."
        " If it is the right service, use that URL.",
        location=target,
    )
