"""The client IP address: X-Forwarded-For counts only from trusted proxies, from the right."""

from __future__ import annotations

import ipaddress

import pytest

from app.web.client_info import (
    MAX_USER_AGENT_LENGTH,
    _parse_ip_address,
    get_rate_limit_bucket,
    is_trusted,
    resolve_client_ip_address,
    strip_unprintable,
)
from app.web.middleware import parse_hostname

GATEWAYS = tuple(
    ipaddress.ip_network(network) for network in ("10.1.0.0/16", "192.0.2.7/32", "fd00::/8")
)

FORWARDED = [
    # peer, X-Forwarded-For, client
    ("203.0.113.5", "", "203.0.113.5"),
    ("203.0.113.5", "198.51.100.1", "203.0.113.5"),  # claimed by an untrusted peer
    ("10.2.0.1", "198.51.100.1", "10.2.0.1"),
    ("10.1.0.1", "", "10.1.0.1"),
    ("10.1.0.1", "198.51.100.1", "198.51.100.1"),
    ("10.1.0.1", " 198.51.100.1 ", "198.51.100.1"),
    ("10.1.0.1", "1.1.1.1, 198.51.100.1", "198.51.100.1"),  # the client wrote the left one
    ("10.1.0.1", "1.1.1.1, 198.51.100.1, 192.0.2.7", "198.51.100.1"),
    ("10.1.0.1", "198.51.100.1, 10.1.0.9, 192.0.2.7", "198.51.100.1"),
    ("10.1.0.1", "10.1.0.8, 10.1.0.9", "10.1.0.8"),
    ("10.1.0.1", "junk", "10.1.0.1"),
    ("10.1.0.1", "198.51.100.1, junk", "10.1.0.1"),
    ("10.1.0.1", "198.51.100.1,", "10.1.0.1"),
    ("10.1.0.1", "198.51.100.1:4711", "10.1.0.1"),
    ("10.1.0.1", "198.51.100.001", "10.1.0.1"),
    ("10.1.0.1", "0x7f.1", "10.1.0.1"),
    ("10.1.0.1", "3232235777", "10.1.0.1"),
    ("10.1.0.1", "<script>", "10.1.0.1"),
    ("10.1.0.1", "2001:DB8:0:0::1", "2001:db8::1"),
    ("10.1.0.1", "::ffff:198.51.100.1", "198.51.100.1"),
    ("::ffff:10.1.0.1", "198.51.100.1", "198.51.100.1"),  # a dual-stack socket
    ("fd00::1", "2001:db8::1", "2001:db8::1"),
    ("fe80::1", "2001:db8::1", "fe80::1"),
    ("fd00::1", "fe80::1%<b>" + "a" * 80, "fe80::1"),
    ("fe80::1%eth0", "", "fe80::1"),
]


@pytest.mark.parametrize(("peer", "forwarded", "client"), FORWARDED)
def test_rightmost_untrusted_ip_address_is_the_client(peer, forwarded, client):
    assert str(resolve_client_ip_address(_parse_ip_address(peer), forwarded, GATEWAYS)) == client


def test_forwarded_for_is_ignored_without_trusted_proxies():
    assert (
        str(resolve_client_ip_address(_parse_ip_address("10.1.0.1"), "198.51.100.1", ()))
        == "10.1.0.1"
    )


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("198.51.100.1", "198.51.100.1"),
        ("::ffff:198.51.100.1", "198.51.100.1"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:db8::ffff:ffff:ffff:ffff", "2001:db8::/64"),
        ("2001:db8:0:1::1", "2001:db8:0:1::/64"),
        ("2001:0DB8::1%eth0", "2001:db8::/64"),
    ],
)
def test_rate_limits_count_by_ipv4_address_or_ipv6_network(address, counted):
    assert get_rate_limit_bucket(_parse_ip_address(address)) == counted


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "localhost",
        "1.2.3",
        "1.2.3.4.5",
        "1.2.3.4/24",
        "[::1]",
        "::1]:80",
        "1.2.3.256",
        "１.2.3.4",
        "1.2.3.4\n",
    ],
)
def test_invalid_ip_address_is_none(text):
    assert _parse_ip_address(text) is None


@pytest.mark.parametrize(
    ("address", "trusted"),
    [
        ("10.1.255.255", True),
        ("10.2.0.0", False),
        ("192.0.2.8", False),
        ("fd12::1", True),
        ("::1", False),
    ],
)
def test_trusted_proxies_are_matched_within_their_ip_version(address, trusted):
    assert is_trusted(_parse_ip_address(address), GATEWAYS) is trusted


@pytest.mark.parametrize(
    ("header", "kept"),
    [
        ("Mozilla/5.0 (X11)", "Mozilla/5.0 (X11)"),
        ("a\tb\x1b[31mc\x7f", "ab[31mc"),
        ("\u202eabc\u200b", "abc"),
        ("x" * 1000, "x" * MAX_USER_AGENT_LENGTH),
    ],
)
def test_unprintable_characters_are_stripped_from_a_header(header, kept):
    assert strip_unprintable(header) == kept


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ("example.org", "example.org"),
        ("EXAMPLE.org:8443", "example.org"),
        ("[::1]", "::1"),
        ("[::1]:8080", "::1"),
        ("example.org:", "example.org:"),
        ("example.org:80a", "example.org:80a"),
        ("example.org:²", "example.org:²"),
        ("example.org:80:80", "example.org:80"),
        ("", ""),
    ],
)
def test_host_is_compared_without_port_and_case(header, name):
    assert parse_hostname(header) == name
