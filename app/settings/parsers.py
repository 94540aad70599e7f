"""Parsers for settings. Each takes the text of a variable and raises ValueError if it is invalid.

Error messages never quote the text, because it can be a secret.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Callable
from datetime import timedelta
from email.utils import parseaddr
from enum import StrEnum
from pathlib import Path
from typing import TypeVar
from urllib.parse import SplitResult, parse_qs, urlsplit

from app.settings.choices import Network

Choice = TypeVar("Choice", bound=StrEnum)

MIN_SECRET_KEY_BYTES = 32
MIN_SECRET_KEY_CHARACTERS = 8  # different characters, so that a repeated letter is not accepted
# Options of redis-py that change timeouts or retries are not in this list.
REDIS_OPTIONS = {"db", "protocol", "ssl_ca_certs", "ssl_certfile", "ssl_keyfile"}
# user:password@host:port/name?options, each part optional. Reserved characters in a password
# must be percent-encoded.
POSTGRES_URL_PATTERN = (
    r"([^\s@/?#]*@)?(\[[0-9A-Fa-f:.]+\]|[^\s@:/?#\[\]]*)(:[0-9]{1,5})?(/[^\s/?#]*)?(\?\S*)?"
)
LIMIT_PATTERN = r"[1-9]\d{0,5}/(second|minute|hour|day)(;[1-9]\d{0,5}/(second|minute|hour|day))*"


def split_list(text: str) -> tuple[str, ...]:
    """Split text at commas and drop empty items."""
    return tuple(item for item in (part.strip() for part in text.split(",")) if item)


def parse_database_url(text: str) -> str:
    scheme, separator, rest = text.partition("://")
    if (
        separator
        and scheme in {"postgres", "postgresql", "postgresql+psycopg"}
        and re.fullmatch(POSTGRES_URL_PATTERN, rest)
    ):
        return f"postgresql+psycopg://{rest}"
    if separator and scheme == "sqlite" and rest.startswith("/") and len(rest) > 1:
        return f"sqlite:////{Path(rest[1:]).absolute().as_posix().lstrip('/')}"
    raise ValueError(
        "must be postgresql://user:password@host:port/name with special characters "
        "percent-encoded, or sqlite:///path/to/file"
    )


def parse_url(text: str) -> str:
    parts = _split_url(text)
    if (
        parts.scheme not in {"http", "https"}
        or not parts.hostname
        or parts.query
        or parts.fragment
        or "@" in parts.netloc
    ):
        raise ValueError("must be an http or https URL without user, query or fragment")
    return text.rstrip("/")


def parse_smtp_url(text: str) -> str:
    parts = _split_url(text)
    rest = parts.path.strip("/") or parts.query or parts.fragment
    if parts.scheme not in {"smtp", "smtp+starttls", "smtps"} or not parts.hostname or rest:
        raise ValueError(
            "must be smtp://, smtp+starttls:// or smtps://, then optional user:password@, "
            "then host:port"
        )
    return text


def parse_redis_url(text: str) -> str:
    parts = _split_url(text)
    if parts.scheme not in {"redis", "rediss", "unix"} or not (
        parts.hostname or (parts.scheme == "unix" and parts.path)
    ):
        raise ValueError(
            "must be redis://, rediss:// or unix://, then optional user:password@, "
            "then host:port/number or a path"
        )
    if not set(parse_qs(parts.query)) <= REDIS_OPTIONS:
        raise ValueError("must have no options other than " + ", ".join(sorted(REDIS_OPTIONS)))
    return text


def _split_url(text: str) -> SplitResult:
    """Split a URL and check its port, which urlsplit only does when the port is read."""
    parts = urlsplit(text)
    if re.search(r"[\s\\]", text) or parts.port == 0:
        raise ValueError("must not contain spaces, backslashes or port 0")
    return parts


def parse_sender(text: str) -> str:
    name, address = parseaddr(text)
    if (
        not re.fullmatch(r"[^\s@<>,;:\"]+@[^\s@<>,;:\"]+", address)
        or not text.isprintable()
        or text not in {address, f"{name} <{address}>"}
    ):
        raise ValueError("must be an email address, or Name <email address>")
    return text


def parse_link(text: str) -> str:
    if text.count("{token}") != 1:
        raise ValueError("must contain {token} exactly once")
    parse_url(text.replace("{token}", "token"))
    return text


def parse_secret_keys(text: str) -> tuple[str, ...]:
    keys = split_list(text)
    if not keys or any(
        len(key.encode()) < MIN_SECRET_KEY_BYTES or len(set(key)) < MIN_SECRET_KEY_CHARACTERS
        for key in keys
    ):
        raise ValueError(
            f"must be at least {MIN_SECRET_KEY_BYTES} random bytes, "
            "for example from: openssl rand -base64 48"
        )
    return keys


def parse_networks(text: str) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(item) for item in split_list(text))


def parse_hosts(text: str) -> tuple[str, ...]:
    hosts = tuple(item.lower().strip("[]") for item in split_list(text))
    if not hosts or any(re.search(r"[\s/*@]", host) for host in hosts):
        raise ValueError("must be one or more host names without port, separated by commas")
    return hosts


def parse_origins(text: str) -> tuple[str, ...]:
    origins = split_list(text)
    if not all(_is_origin(origin) for origin in origins):
        raise ValueError(
            "must be exact origins like https://app.example.com, separated by commas, "
            "without * and without path"
        )
    return origins


def _is_origin(text: str) -> bool:
    parts = urlsplit(text)
    return (
        parts.scheme in {"http", "https"}
        and bool(parts.hostname)
        and f"{parts.scheme}://{parts.netloc}" == text
        and "*" not in text
    )


def parse_resources(text: str) -> dict[str, str]:
    value = json.loads(text)
    if not isinstance(value, dict) or not all(isinstance(url, str) for url in value.values()):
        raise ValueError(
            'must be a JSON object of names and URLs: {"api": "https://api.example.com"}'
        )
    return {name: parse_url(url) for name, url in value.items()}


def parse_limit(text: str) -> str:
    """Parse a rate limit like `20/minute;300/hour`. Spaces are ignored."""
    text = text.replace(" ", "")
    if not re.fullmatch(LIMIT_PATTERN, text):
        raise ValueError("must look like 20/minute or 20/minute;300/hour")
    return text


def parse_boolean(text: str) -> bool:
    if text not in {"true", "false"}:
        raise ValueError("must be true or false")
    return text == "true"


def build_seconds_parser(minimum: int, maximum: int) -> Callable[[str], timedelta]:
    parse_number = build_number_parser(minimum, maximum)
    return lambda text: timedelta(seconds=parse_number(text))


def build_number_parser(minimum: int, maximum: int) -> Callable[[str], int]:
    def parse_number(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", text) or not minimum <= int(text) <= maximum:
            raise ValueError(f"must be a whole number from {minimum} to {maximum}")
        return int(text)

    return parse_number


def build_choice_parser(choices: type[Choice]) -> Callable[[str], Choice]:
    def parse_choice(text: str) -> Choice:
        if text not in list(choices):
            raise ValueError("must be one of: " + ", ".join(choices))
        return choices(text)

    return parse_choice
