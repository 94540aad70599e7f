"""The IP address, user agent and language of the client, and the id of its request.

X-Forwarded-For and X-Request-Id count only from TRUSTED_PROXIES.
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from functools import lru_cache
from typing import TYPE_CHECKING

from flask import g, request

from app.i18n import choose_language
from app.opaque_tokens import generate_id
from app.principal import ClientInfo
from app.web.answers import REQUEST_ID_HEADER

if TYPE_CHECKING:
    from app.settings import Network

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

REQUEST_ID_PATTERN = re.compile(r"[A-Za-z0-9_-]{8,64}")
MAX_USER_AGENT_LENGTH = 256
LOOPBACK_ADDRESS = ipaddress.ip_address("127.0.0.1")  # a peer on a unix socket has no address


def identify_client(trusted_proxies: tuple[Network, ...]) -> None:
    """Determine the IP address of the client and the id of the request, once per request."""
    peer = parse_peer_ip_address(request.remote_addr or "")
    forwarded = request.headers.get("X-Forwarded-For", "")
    g.client = resolve_client_ip_address(peer, forwarded, trusted_proxies)
    given = request.headers.get(REQUEST_ID_HEADER, "")
    g.request_id = choose_request_id(given, is_trusted=is_trusted(peer, trusted_proxies))


def choose_request_id(given: str, *, is_trusted: bool) -> str:
    """Return the id that a trusted gateway has set, or a new one."""
    return given if is_trusted and REQUEST_ID_PATTERN.fullmatch(given) else generate_id("req")


def get_client_info() -> ClientInfo:
    """Describe the client of the current request."""
    address = get_client_ip_address()
    return ClientInfo(
        address=str(address),
        bucket=get_rate_limit_bucket(address),
        user_agent=strip_unprintable(request.headers.get("User-Agent", "")),
        request_id=get_request_id(),
        locale=get_preferred_language(),
    )


def get_request_id() -> str:
    request_id: str = g.request_id
    return request_id


def get_client_ip_address() -> IPAddress:
    address: IPAddress = g.client
    return address


def get_preferred_language() -> str:
    """Return the supported language that the reader prefers.

    Werkzeug's `best_match` would choose `de` over a preferred `en-GB`.
    """
    accepted = request.accept_languages
    return _choose_language(tuple(tag for tag, quality in accepted if quality > 0))


@lru_cache(maxsize=1024)
def parse_peer_ip_address(text: str) -> IPAddress:
    """Return the IP address of the other end of the connection."""
    return _parse_ip_address(text) or LOOPBACK_ADDRESS


@lru_cache(maxsize=1024)
def is_trusted(address: IPAddress, trusted: tuple[Network, ...]) -> bool:
    return any(address in network for network in trusted if network.version == address.version)


@lru_cache(maxsize=1024)
def resolve_client_ip_address(
    peer: IPAddress, forwarded: str, trusted: tuple[Network, ...]
) -> IPAddress:
    """Return the first forwarded IP address from the right that is not a trusted proxy.

    The client may have written everything to the left of it.
    """
    address = peer
    for item in reversed(forwarded.split(",")):
        if not is_trusted(address, trusted):
            break
        parsed = _parse_ip_address(item.strip())
        if parsed is None:
            break
        address = parsed
    return address


@lru_cache(maxsize=1024)
def get_rate_limit_bucket(address: IPAddress) -> str:
    """Return the key for rate limits: the IPv4 address, or the /64 of an IPv6 address."""
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)


@lru_cache(maxsize=1024)
def strip_unprintable(text: str) -> str:
    """Remove unprintable characters from a header and shorten it for storage and display."""
    return "".join(
        character
        for character in text
        if unicodedata.category(character)[0] not in "CZ" or character == " "
    )[:MAX_USER_AGENT_LENGTH]


@lru_cache(maxsize=1024)
def _choose_language(accepted: tuple[str, ...]) -> str:
    return choose_language(accepted)


@lru_cache(maxsize=1024)
def _parse_ip_address(text: str) -> IPAddress | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv4Address):
        return address
    # The zone after a % names an interface of the sender and may be any text, so it is dropped.
    return address.ipv4_mapped or ipaddress.IPv6Address(int(address))
