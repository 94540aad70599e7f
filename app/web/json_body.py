"""Read request bodies and parse JSON strictly (RFC 8259, RFC 7493).

Two parsers that read a body differently are a vulnerability, so duplicate names, NaN, UTF-16 and
byte order marks are rejected.
"""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any, NoReturn

from flask import request
from webargs.flaskparser import FlaskParser

from app.errors import InvalidInput, Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flask import Request
    from marshmallow import Schema, ValidationError

MAX_BODY_BYTES = 16 * 1024
MAX_DEPTH = 16
MAX_INTEGER = 2**53
SURROGATE = re.compile("[\ud800-\udfff]")

Body = dict[str, Any]


class LengthRequired(Problem):
    """The request has a body of unknown length."""

    code = "length_required"
    title = "Content-Length required"
    status = 411


class BodyTooLarge(Problem):
    """The body is larger than 16 KiB."""

    code = "body_too_large"
    title = "Request body too large"
    status = 413


class UnsupportedMediaType(Problem):
    """The route does not accept this content type."""

    code = "unsupported_media_type"
    title = "Unsupported media type"
    status = 415


class InvalidBody(Problem):
    """The body is not strict JSON."""

    code = "invalid_json"
    title = "Invalid JSON"
    status = 400


class IncompleteBody(Problem):
    """The body is shorter than its Content-Length or took too long to arrive."""

    code = "incomplete_body"
    title = "Incomplete request body"
    status = 400


def receive_body() -> None:
    """Read the body before a transaction begins, so that none waits for a client.

    Raises the problems above.
    """
    if request.headers.get("Transfer-Encoding"):
        raise LengthRequired("Send a Content-Length instead of Transfer-Encoding.")
    length = request.headers.get("Content-Length", "0")
    if not re.fullmatch(r"[0-9]{1,19}", length):
        raise InvalidBody("Content-Length is not a number.")
    if int(length) > MAX_BODY_BYTES:
        raise BodyTooLarge(
            f"The maximum is {MAX_BODY_BYTES} bytes.", headers={"Connection": "close"}
        )
    if int(length) == 0:
        return
    try:
        received = len(request.get_data(cache=True))
    except OSError as error:
        raise IncompleteBody(
            "The body took too long to arrive.", headers={"Connection": "close"}
        ) from error
    if received != int(length):
        raise IncompleteBody(
            "The body is shorter than its Content-Length.", headers={"Connection": "close"}
        )


def read_json(request: Request) -> Body:
    """Parse the body as a JSON object; an empty body is an empty object.

    Raises UnsupportedMediaType, InvalidBody or InvalidInput.
    """
    raw = request.get_data(cache=True)
    if not raw:
        return {}
    if (
        request.mimetype != "application/json"
        or request.mimetype_params.get("charset", "utf-8").lower() != "utf-8"
    ):
        raise UnsupportedMediaType("Send application/json.", headers={"Accept": "application/json"})
    return parse_object(raw)


def parse_object(raw: bytes) -> Body:
    """Parse a JSON object and reject strings that no database can store.

    Raises InvalidBody or InvalidInput.
    """
    body = parse_json(raw)
    if b"\\u" not in raw:  # only an escape can yield NUL or an unpaired surrogate
        return body
    faults = {
        pointer: ["must not contain NUL or unpaired surrogates"]
        for pointer, text in iterate_texts(body, "")
        if "\0" in text or SURROGATE.search(text)
    }
    if faults:
        raise InvalidInput(errors=faults)
    return body


def read_query(request: Request) -> dict[str, str]:
    """Parse the query string.

    Repeated names are errors, because programs differ in the value they use. Raises InvalidInput.
    """
    faults = {}
    for name, values in request.args.lists():
        if len(values) > 1:
            faults[f"/query/{escape_pointer(name)}"] = ["must be given only once"]
        elif "\0" in values[0]:
            faults[f"/query/{escape_pointer(name)}"] = ["must not contain NUL"]
    if faults:
        raise InvalidInput(errors=faults)
    return request.args.to_dict()


def parse_json(raw: bytes) -> Body:
    """Parse a JSON object strictly. Raises InvalidBody with the reason."""
    try:
        text = raw.decode("utf-8")
        if text.startswith("\ufeff"):
            raise InvalidBody("The text begins with a byte order mark.")
        body = json.loads(
            text,
            object_pairs_hook=_build_object,
            parse_constant=_reject_constant,
            parse_float=_parse_float,
            parse_int=_parse_int,
        )
    except UnicodeDecodeError:
        raise InvalidBody("The text is not UTF-8.") from None
    except RecursionError:
        raise InvalidBody(f"The JSON is nested deeper than {MAX_DEPTH} levels.") from None
    except json.JSONDecodeError as error:
        raise InvalidBody(f"{error.msg} at line {error.lineno}, column {error.colno}.") from None
    if not isinstance(body, dict):
        raise InvalidBody("The JSON must be an object.")
    if measure_depth(body) > MAX_DEPTH:
        raise InvalidBody(f"The JSON is nested deeper than {MAX_DEPTH} levels.")
    return body


def measure_depth(value: object) -> int:
    """Return the depth of nested containers.

    Iterative, because deep nesting would exhaust recursion.
    """
    levels, level = 0, [value]
    while containers := [item for item in level if isinstance(item, dict | list)]:
        levels += 1
        level = [
            inner
            for item in containers
            for inner in (item.values() if isinstance(item, dict) else item)
        ]
    return levels


def iterate_texts(value: object, pointer: str) -> Iterator[tuple[str, str]]:
    """Yield every string in a JSON value, including names, with its JSON pointer (RFC 6901)."""
    if isinstance(value, str):
        yield pointer, value
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield pointer, name
            yield from iterate_texts(inner, f"{pointer}/{escape_pointer(name)}")
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from iterate_texts(inner, f"{pointer}/{index}")


def escape_pointer(name: str) -> str:
    """Escape a name for a JSON pointer and replace characters that cannot be sent."""
    return SURROGATE.sub("?", name.replace("\0", "?")).replace("~", "~0").replace("/", "~1")


def _build_object(pairs: list[tuple[str, Any]]) -> Body:
    body = dict(pairs)
    if len(body) != len(pairs):
        raise InvalidBody("An object has a duplicate name.")
    return body


def _reject_constant(text: str) -> NoReturn:
    raise InvalidBody(f"{text} is not a JSON number.")


def _parse_float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise InvalidBody("A number is too large.")
    return number


def _parse_int(text: str) -> int:
    if len(text) > len(str(-MAX_INTEGER)) or abs(int(text)) > MAX_INTEGER:
        raise InvalidBody("An integer is beyond 2^53.")
    return int(text)


class RequestParser(FlaskParser):
    """Passes the strictly parsed request to marshmallow and raises its errors as InvalidInput."""

    DEFAULT_UNKNOWN_BY_LOCATION = {  # noqa: RUF012 - webargs declares it as an instance variable
        **FlaskParser.DEFAULT_UNKNOWN_BY_LOCATION,
        "json": "raise",
        "query": "raise",
    }

    def load_json(self, req: Request, schema: Schema) -> Body:
        del schema
        return read_json(req)

    def load_querystring(self, req: Request, schema: Schema) -> dict[str, str]:
        del schema
        return read_query(req)

    def handle_error(
        self,
        error: ValidationError,
        req: Request,
        schema: Schema,
        *,
        error_status_code: int | None,
        error_headers: object,
    ) -> NoReturn:
        del req, schema, error_status_code, error_headers
        location, messages = next(iter(_normalize_messages(error).items()))
        prefix = "" if location == "json" else f"/{location}"
        raise InvalidInput(errors=dict(_flatten_messages(messages, prefix)))


def _normalize_messages(error: ValidationError) -> dict[str, object]:
    found: dict[str, object] = error.normalized_messages()  # type: ignore[no-untyped-call] # untyped in marshmallow
    return found


def _flatten_messages(messages: object, pointer: str) -> Iterator[tuple[str, list[str]]]:
    if isinstance(messages, dict):
        for name, inner in messages.items():
            yield from _flatten_messages(
                inner, pointer if name == "_schema" else f"{pointer}/{escape_pointer(str(name))}"
            )
    elif isinstance(messages, list):
        yield pointer, [str(text) for text in messages]
