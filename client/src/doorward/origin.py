"""Where a service is: scheme, host, port and path in one spelling, so that tokens are kept for it and sent to it alone."""

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
ENCODED_DOT_OR_SLASH = re.compile(r"%2[ef]", re.IGNORECASE)  # a dot and a slash
MAX_URL_LENGTH = 2048


@dataclass(frozen=True, slots=True)
class Origin:
    """A service's address. `str()` is its one spelling: lower case, no default port, no slash at the end."""

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
        """Is it this machine?"""
        return is_loopback(self.host)

    def covers(self, url: str) -> bool:
        """Would a request for the URL go to this scheme, host and port, and below this path?"""
        parts = urlsplit(url)
        try:
            there = parse_origin(f"{parts.scheme}://{parts.netloc}", allow_http=True)
        except InvalidInput:
            return False
        path = parts.path or "/"
        inside = not self.prefix or path == self.prefix or path.startswith(f"{self.prefix}/")
        return inside and (there.scheme, there.host, there.port) == (
            self.scheme,
            self.host,
            self.port,
        )


def parse_origin(url: str, *, allow_http: bool = False) -> Origin:
    """The origin that the URL names, in its one spelling. Raises InvalidInput.

    Plain http is refused but for this machine, or where `allow_http` says that the network in between is trusted.
    """
    if (
        not url
        or len(url) > MAX_URL_LENGTH
        or any(
            character.isspace() or not character.isprintable() or character == "\\"
            for character in url
        )
    ):
        raise _build_error("is empty, too long or holds characters that no address has")
    try:
        parts = urlsplit(url if "://" in url else f"https://{url}")
        port = parts.port
    except ValueError:
        raise _build_error("is not an address like https://auth.example.com") from None
    scheme = parts.scheme.lower()
    if scheme not in DEFAULT_PORTS or not parts.hostname or port == 0 or ONE_SLASH.match(url):
        raise _build_error("is not an address like https://auth.example.com")
    if parts.username is not None or parts.password is not None:
        raise _build_error("must not hold a name or password")
    if parts.query or parts.fragment or "?" in url or "#" in url:
        raise _build_error("must end before ? and #")
    host = _normalize_host(parts.hostname)
    if scheme == "http" and not allow_http and not is_loopback(host):
        raise _build_error(
            "must begin with https://, or anyone on the way could read the token; allow_http=True permits it"
        )
    return Origin(scheme, host, port or DEFAULT_PORTS[scheme], _normalize_path(parts.path))


def is_loopback(host: str) -> bool:
    """Does the normalised host name mean this machine, without asking anybody?"""
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
            raise _build_error(
                "names a host by an interface of this machine (%), which cannot be asked for"
            )
        return address.compressed
    text = _to_ascii(name).lower().removesuffix(".")
    if len(text) > 253 or not all(LABEL.fullmatch(label) for label in text.split(".")):  # noqa: PLR2004 - RFC 1035 section 2.3.4
        raise _build_error("names a host that cannot exist")
    return text


def _to_ascii(name: str) -> str:
    if name.isascii():
        return name
    from httpx2 import URL, InvalidURL  # it knows IDNA 2008, and few addresses need it

    try:
        return URL(f"https://{name}").raw_host.decode("ascii")
    except (InvalidURL, UnicodeError):
        raise _build_error("names a host that cannot exist") from None


def _normalize_path(path: str) -> str:
    text = path.rstrip("/")
    if (
        not SEGMENTS.fullmatch(text)
        or any(segment in {".", ".."} for segment in text.split("/"))
        or ENCODED_DOT_OR_SLASH.search(text)
    ):
        raise _build_error("has a path that can be read in two ways")
    return text


def _build_error(reason: str) -> InvalidInput:
    return InvalidInput(f"The address of the service {reason}.", errors={"url": [reason]})
