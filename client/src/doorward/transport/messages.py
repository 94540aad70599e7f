"""What is sent and what comes back, so that no variable that a traceback shows has a secret in it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode, urljoin, urlsplit

from doorward import __version__
from doorward.errors import DoorwardError, InvalidInput, RedirectRefused, UnexpectedAnswer
from doorward.origin import Origin
from doorward.secret import Secret
from doorward.transport.problems import build_error, to_printable

JSON_TYPES = frozenset({"application/json", "application/problem+json"})
Body = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Request:
    """One request. Secrets in it are wrapped until they are on their way."""

    method: str
    path: str
    token: Secret | None = None
    json: Body | None = None
    form: Body | None = None
    query: Mapping[str, str] | None = None
    read_timeout: float | None = None  # seconds to wait for the answer, instead of the usual

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """What the answer must not give back to anybody."""
        sent = [*(self.json or {}).values(), *(self.form or {}).values(), self.token]
        return tuple(value for value in sent if isinstance(value, Secret))


class JsonObject(dict[str, Any]):
    """A JSON object that was answered. It may hold secrets, so it is not shown."""

    def __repr__(self) -> str:
        return "<answer>"


@dataclass(frozen=True, slots=True)
class Response:
    """An answer as it came."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    content: bytes = field(repr=False)


def build_headers(request: Request) -> dict[str, str]:
    # Not packed: a small answer that unpacks to a huge one, or for ever to nothing, could not be measured.
    headers = {
        "User-Agent": f"doorward/{__version__}",
        "Accept": "application/json",
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
    """The body, or what is wrong with it. Nothing is raised: the frames below hold it."""
    with suppress(TypeError, ValueError, RecursionError):
        return _encode(request), None
    wrong = [
        name
        for name, value in {**(request.json or {}), **(request.form or {})}.items()
        if not _is_encodable(value)
    ]
    reason = "is of a kind that no request can carry"
    fields = {name: [reason] for name in wrong}
    return None, InvalidInput(
        f"{' and '.join(wrong)} {reason}: give text, a number, a list or an object of these.",
        errors=fields,
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
    # Some servers want a length with every POST, and this is how httpx2 says that there is none of a body.
    return b"" if request.method in {"POST", "PUT"} else None


def _reveal(value: object) -> object:
    if not isinstance(value, Secret):
        return value
    text: object = value.reveal()
    if not isinstance(text, str):
        raise TypeError  # bytes, or nothing at all, as of a variable that is not set
    return text


def parse_json(response: Response) -> JsonObject | None:
    """The JSON object, None where it is none."""
    if response.headers.get("Content-Type", "").partition(";")[0].strip().lower() not in JSON_TYPES:
        return None
    try:
        document = json.loads(response.content)
    except (ValueError, RecursionError):
        return None
    return JsonObject(document) if isinstance(document, dict) else None


def build_not_json_error(origin: Origin, status: int, headers: Mapping[str, str]) -> DoorwardError:
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.TOO_MANY_REQUESTS:
        return build_error(status, headers, {}, clock_skew=None)
    kind = (
        ""
        if status == HTTPStatus.NOT_MODIFIED
        else to_printable(headers.get("Content-Type", "")).partition(";")[0].strip().lower()
    )
    found = {
        "": "nothing",
        "text/html": "a web page",
        **dict.fromkeys(JSON_TYPES, "something broken"),
    }.get(kind, kind)
    return UnexpectedAnswer(
        f"{origin} answered {found} instead of JSON ({status}): check the address, and whether a proxy or login page is in between.",
        status=status,
    )


def build_redirect_error(origin: Origin, location: str, request: Request) -> RedirectRefused:
    """Names where to without the query, which may hold anything, and without the path that was asked for: the rest is what to use."""
    try:
        parts = urlsplit(urljoin(f"{origin}/", location))
        where = (
            f"{parts.scheme}://{parts.netloc.rpartition('@')[2].lower()}{parts.path}"
            if parts.netloc
            else ""
        )
    except ValueError:
        where = ""
    told = to_printable(where.removesuffix(request.path), request.secrets) or "somewhere else"
    if told == str(origin):
        return RedirectRefused(
            f"{origin} leads back to itself: check the address, and what is in between.",
            location=told,
        )
    return RedirectRefused(
        f"{origin} leads to {told}: if that is right, use that address; nothing was sent there.",
        location=told,
    )
