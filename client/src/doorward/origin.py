"""The URL of a service in normalized form, so that tokens are stored for it and sent only to it."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from doorward.errors import InvalidInput

DEFAULT_PORTS = {"http": 80, "https": 443}
LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
SEGMENTS = re.compile(r"(/([A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})+)*")
ONE_SLASH = re.compile(r"https?:(?!//|\d)", re.IGNORECASE)  # as in https:/example.com
ENCODED_DOT_OR_SLASH = re.compile(r"%2[ef]", re.IGNORECASE)
MAX_URL_LENGTH = 2048
MAX_HOST_LENGTH = 253  # RFC 1035 section 2.3.4


@dataclass(frozen=True, slots=True)
class Origin:
    """The scheme, host, port and path prefix of a service.

    `str()` is the normalized URL: lower case, no default port, no trailing slash.
    """

    scheme: str
    host: str
    port: int
    prefix: str = ""

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == DEFAULT_PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{host}{port}{self.prefix}"

    @property
    def is_loopback(self) -> bool:
        """Whether the host is this machine."""
        return _is_loopback(self.host)

    def covers(self, url: str) -> bool:
        """Return whether the URL has this scheme, host and port and lies below this prefix."""
        parts = urlsplit(url)
        try:
            target = parse_origin(f"{parts.scheme}://{parts.netloc}", allow_http=True)
        except InvalidInput:
            return False
        path = parts.path or "/"
        inside = not self.prefix or path == self.prefix or path.startswith(f"{self.prefix}/")
        return inside and (target.scheme, target.host, target.port) == (
            self.scheme,
            self.host,
            self.port,
        )


def parse_origin(url: str, *, allow_http: bool = False) -> Origin:
    """Parse and normalize the URL of a service. Raises InvalidInput.

    Plain HTTP is rejected except for this machine, unless `allow_http` is set.
    """
    if not url or len(url) > MAX_URL_LENGTH or not all(map(_is_url_character, url)):
        raise _build_error("is empty, too long, or contains invalid characters")
    try:
        parts = urlsplit(url if "://" in url else f"https://{url}")
        port = parts.port
    except ValueError:
        raise _build_error("must look like https://auth.example.com") from None
    scheme = parts.scheme.lower()
    if scheme not in DEFAULT_PORTS or not parts.hostname or port == 0 or ONE_SLASH.match(url):
        raise _build_error("must look like https://auth.example.com")
    if parts.username is not None or parts.password is not None:
        raise _build_error("must not contain a username or password")
    if parts.query or parts.fragment or "?" in url or "#" in url:
        raise _build_error("must not contain ? or #")
    host = _normalize_host(parts.hostname)
    if scheme == "http" and not allow_http and not _is_loopback(host):
        raise _build_error(
            "must start with https://, because plain HTTP exposes the token to the network;"
            " pass allow_http=True to permit it"
        )
    return Origin(scheme, host, port or DEFAULT_PORTS[scheme], _normalize_path(parts.path))


def _is_url_character(character: str) -> bool:
    return not character.isspace() and character.isprintable() and character != "\\"


def _is_loopback(host: str) -> bool:
    """Return whether a normalized host name is this machine, without a DNS lookup."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _normalize_host(name: str) -> str:
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        pass
    else:
        if "%" in name:
            raise _build_error("must not contain an IPv6 zone (%)")
        return address.compressed
    text = _to_ascii(name).lower().removesuffix(".")
    labels = text.split(".")
    if len(text) > MAX_HOST_LENGTH or not all(LABEL.fullmatch(label) for label in labels):
        raise _build_error("has an invalid host name")
    return text


def _to_ascii(name: str) -> str:
    if name.isascii():
        return name
    from httpx2 import URL, InvalidURL  # implements IDNA 2008; slow to import and rarely needed

    try:
        return URL(f"https://{name}").raw_host.decode("ascii")
    except (InvalidURL, UnicodeError):
        raise _build_error("has an invalid host name") from None


def _normalize_path(path: str) -> str:
    text = path.rstrip("/")
    if (
        not SEGMENTS.fullmatch(text)
        or any(segment in {".", ".."} for segment in text.split("/"))
        or ENCODED_DOT_OR_SLASH.search(text)
    ):
        raise _build_error("has an ambiguous path")
    return text


def _build_error(reason: str) -> InvalidInput:
    return InvalidInput(f"The URL of the service {reason}.", errors={"url": [reason]})
