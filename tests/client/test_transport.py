"""Where requests go, when they are tried again, and what is said when something else answers."""

from __future__ import annotations

import ipaddress
import socket
import ssl
import threading
import time
from pathlib import Path

import pytest

from doorward import (
    ConnectionFailed,
    Doorward,
    InvalidInput,
    InvalidToken,
    RateLimited,
    RedirectRefused,
    ServiceUnavailable,
    Timeouts,
    TLSError,
    UnexpectedAnswer,
    parse_origin,
)
from tests.client.stand_in import BAD_GATEWAY, HANGS_UP, HTML, TOKENS, Says
from tests.client.test_secrets import told

WHO = Says({"account_id": "acc_1", "username": "ann", "kind": "session"})
VERSION = Says({"name": "doorward", "version": "0.1.0"})


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("https://Auth.Example.COM", "https://auth.example.com"),
        ("HTTPS://auth.example.com:443/", "https://auth.example.com"),
        ("auth.example.com", "https://auth.example.com"),
        ("https://auth.example.com.", "https://auth.example.com"),
        ("https://auth.example.com:8443//", "https://auth.example.com:8443"),
        ("https://example.com/auth/", "https://example.com/auth"),
        ("https://bücher.example", "https://xn--bcher-kva.example"),
        ("https://[2001:DB8::0:1]:443", "https://[2001:db8::1]"),
        ("http://localhost:80", "http://localhost"),
        ("http://127.0.0.1:8080/", "http://127.0.0.1:8080"),
        ("http://[::1]:8080", "http://[::1]:8080"),
    ],
)
def test_an_address_has_one_spelling(written, meant):
    assert str(parse_origin(written)) == meant
    assert str(parse_origin(meant)) == meant


@pytest.mark.parametrize(
    "written",
    [
        *(
            "",
            "ftp://example.com",
            "https://",
            "https://a b",
            "https://example.com?x=1",
            "https://example.com#x",
            "https://ann:secret@example.com",
        ),
        *(
            "http://example.com",
            "http://127.0.0.1.example.com",
            "http://localhost.example.com",
            "http://127.1",
            "https://example.com:0",
        ),
        *(
            "https://example.com/../x",
            "https://example.com/%2e%2e%2fx",
            "https://example.com\\@evil.example",
            "https://exa\nmple.com",
        ),
        *(
            "https://example.com:99999",
            "https://exa%6dple.com",
            "https://-.example",
            "https://example.com/a//b",
        ),
        *(
            "https:/example.com",
            "https:example.com",
            "https://[fe80::1%25eth0]",
            "https://example.com/%2e%2e/x",
            "https://example.com/a%",
        ),
    ],
)
def test_an_address_that_is_none_or_not_safe_is_refused(written):
    with pytest.raises(InvalidInput) as refused:
        parse_origin(written)
    assert "secret" not in str(refused.value)


def test_plain_http_is_permitted_by_name_only():
    assert str(parse_origin("http://auth.internal", allow_http=True)) == "http://auth.internal"
    with pytest.raises(InvalidInput, match="allow_http"):
        Doorward("http://auth.internal")


@pytest.mark.parametrize(
    ("url", "covered"),
    [
        ("https://api.example.com/x?y", True),
        ("https://API.example.com:443", True),
        ("https://api.example.com:8443/", False),
        ("http://api.example.com/", False),
        ("https://api.example.com.evil.example/", False),
        ("https://evil.example/https://api.example.com/", False),
        ("https://api.example.com@evil.example/", False),
        ("//api.example.com", False),
    ],
)
def test_an_origin_covers_its_own_addresses(url, covered):
    assert parse_origin("https://api.example.com").covers(url) is covered


def test_the_address_is_read_from_the_environment_when_it_is_needed(stand_in, monkeypatch):
    client = Doorward()
    with pytest.raises(InvalidInput, match="DOORWARD_URL"):
        client.version()
    there = stand_in(VERSION)
    monkeypatch.setenv("DOORWARD_URL", there.url + "/")
    assert client.get_version().version == "0.1.0"
    assert client.url == there.url
    assert there.headers_of("User-Agent") == ["doorward/0.1.0"]


def test_a_path_before_the_api_is_kept(stand_in):
    there = stand_in(VERSION)
    Doorward(f"{there.url}/auth/").version()
    assert there.paths() == ["/auth/version"]


def test_reading_is_tried_again(stand_in):
    there = stand_in(HANGS_UP, Says({"code": "unavailable"}, 503), VERSION)
    assert Doorward(there.url).get_version().version == "0.1.0"
    assert len(there.seen) == 3


def test_closing_disturbs_nobody_who_asks_at_that_moment(stand_in):
    asked, go_on = threading.Event(), threading.Event()

    def slowly(_: str) -> Says:
        asked.set()
        go_on.wait(20)
        return Says(TOKENS)

    there = stand_in(VERSION, routes={"/v1/login": [slowly]})
    client = Doorward(there.url)
    thread = threading.Thread(target=client.login.with_password, args=("ann", "secret"))
    thread.start()
    assert asked.wait(20)
    client.close()
    client.version()
    client.close()
    go_on.set()
    thread.join(20)
    assert client.token == "at"
    assert len(set(there.ports)) == 2, "whoever comes later has a connection of his own"


def test_writing_is_not_tried_again(stand_in):
    there = stand_in(HANGS_UP)
    with pytest.raises(ConnectionFailed, match="broke"):
        Doorward(there.url).login.with_password("ann", "secret")
    assert len(there.seen) == 1


def test_retry_after_is_kept_to_or_handed_on(stand_in):
    there = stand_in(Says({"code": "busy"}, 503, {"Retry-After": "1"}), VERSION)
    began = time.monotonic()
    Doorward(there.url).version()
    assert 1 <= time.monotonic() - began < 10
    there = stand_in(Says({"code": "rate_limited"}, 429, {"Retry-After": "3600"}))
    with pytest.raises(RateLimited, match="in 60 min") as refused:
        Doorward(there.url).version()
    assert (refused.value.retry_after, len(there.seen)) == (3600, 1)


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (HTML, "a web page"),
        (Says(b"{"), "something broken"),
        (Says([1]), "something broken"),
        (Says(b"\x00\xff", headers={"Content-Type": "image/png"}), "image/png"),
        (Says(b"x", 304), "nothing"),
    ],
)
def test_what_is_no_service_is_said_to_be_none(stand_in, answer, found):
    there = stand_in(answer)
    with pytest.raises(UnexpectedAnswer, match=f"answered {found} instead of JSON"):
        Doorward(there.url).version()


@pytest.mark.parametrize(
    ("location", "told"),
    [
        ("/auth/version?token=at", "leads to {}/auth:"),
        ("/version", "leads back to itself"),
        ("https://ann:planted@[::1]:9/version", r"leads to https://\[::1\]:9:"),
    ],
)
def test_a_redirect_is_named_in_full(stand_in, location, told):
    there = stand_in(Says(b"", 308, {"Location": location}))
    with pytest.raises(RedirectRefused, match=told.format(there.url)):
        Doorward(there.url).version()
    assert len(there.seen) == 1


def test_an_answer_has_an_end(stand_in):
    there = stand_in(Says(b"[" + b"0," * 3_000_000 + b"0]"))
    with pytest.raises(UnexpectedAnswer, match="far too much"):
        Doorward(there.url).version()


def test_a_gateway_in_trouble_is_a_fault_and_no_page(stand_in):
    there = stand_in(BAD_GATEWAY)
    with pytest.raises(ServiceUnavailable, match="502"):
        Doorward(there.url).login.with_password("ann", "secret")


def test_a_redirect_is_not_followed_and_says_where_to(stand_in):
    elsewhere = stand_in(WHO)
    there = stand_in(
        Says(b"", 302, {"Location": f"{elsewhere.url}/v1/whoami?token=at"}),
        routes={"/v1/login": [Says(TOKENS)]},
    )
    client = Doorward(there.url)
    client.login.with_password("ann", "secret")
    with pytest.raises(RedirectRefused, match=elsewhere.url) as refused:
        client.whoami()
    assert "token=" not in str(refused.value)
    assert elsewhere.seen == []


def test_an_answer_that_does_not_come_is_not_waited_for(stand_in):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = Doorward(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout=Timeouts(read=0.3))
        began = time.monotonic()
        with pytest.raises(ConnectionFailed, match="did not answer in time"):
            client.login.with_password("ann", "secret")
        assert time.monotonic() - began < 10


def test_nobody_there_is_said(free_port):
    with pytest.raises(ConnectionFailed, match="cannot be reached"):
        Doorward(f"http://127.0.0.1:{free_port}").login.with_password("ann", "secret")


def test_a_certificate_that_is_not_good_is_refused(stand_in, certificate):
    there = stand_in(VERSION, certificate=certificate)
    with pytest.raises(TLSError, match=r"certificate .+ SSL_CERT_FILE"):
        Doorward(there.url).login.with_password("ann", "secret")
    assert there.seen == []


@pytest.mark.parametrize(
    "verify", [str, Path, lambda path: ssl.create_default_context(cafile=path), None]
)
def test_an_authority_of_one_s_own_can_be_named(stand_in, certificate, monkeypatch, verify):
    there = stand_in(VERSION, certificate=certificate)
    if verify is None:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    options = {"verify": verify(certificate)} if verify else {}
    assert Doorward(there.url, **options).get_version().version == "0.1.0"


@pytest.mark.parametrize("content", [None, b"no certificate"])
def test_an_authority_that_cannot_be_read_is_said_to_be_none(
    stand_in, tmp_path, monkeypatch, content
):
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "own.pem"))
    if content is not None:
        (tmp_path / "own.pem").write_bytes(content)
    with pytest.raises(InvalidInput, match=r"SSL_CERT_FILE: .+own\.pem is no file of certificates"):
        Doorward("https://auth.example.com").version()
    assert Doorward(stand_in(VERSION).url).version(), "where there is no TLS there is no authority"


def test_what_speaks_no_tls_is_refused(stand_in):
    there = stand_in(VERSION)
    with pytest.raises(TLSError, match="TLS"):
        Doorward(there.url.replace("http:", "https:")).version()


@pytest.mark.parametrize("content", [None, b"", b"no certificate"])
def test_certificates_that_are_none_are_said_to_be(tmp_path, content):
    path = tmp_path / "own.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InvalidInput, match=r"own\.pem is no file of certificates"):
        Doorward("https://auth.example.com", verify=str(path)).version()


@pytest.mark.parametrize(
    "proxy", ["ftp://ann:secret@proxy.example", "http://ann:secret@proxy.example:port"]
)
def test_a_proxy_that_cannot_be_used_is_named(monkeypatch, proxy):
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    with pytest.raises(InvalidInput, match="HTTPS_PROXY") as refused:
        Doorward("https://auth.example.com").version()
    assert "secret" not in told(refused.value)


def test_a_proxy_that_leads_nowhere_is_named(stand_in, free_port, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", f"http://ann:planted@127.0.0.1:{free_port}")
    with pytest.raises(ConnectionFailed, match=r"cannot be reached.+HTTPS_PROXY"):
        Doorward("https://auth.example.com").login.with_password("ann", "x")
    proxy = stand_in(Says({}, 407))
    monkeypatch.setenv("HTTPS_PROXY", proxy.url.replace("//", "//ann:planted@"))
    with pytest.raises(
        ConnectionFailed, match=r"proxy .+ does not lead to https://auth\.example\.com \(407"
    ) as refused:
        Doorward("https://auth.example.com").login.with_password("ann", "x")
    assert "planted" not in told(refused.value)
    assert [command for command, *_ in proxy.seen] == ["CONNECT"]


def test_a_proxy_is_used_for_others_and_never_for_this_machine(stand_in, monkeypatch):
    there, proxy = stand_in(VERSION), stand_in(VERSION)
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    Doorward(there.url).version()
    assert (len(there.seen), proxy.seen) == (1, [])
    Doorward("http://auth.internal", allow_http=True).version()
    assert proxy.paths() == ["http://auth.internal/version"]


def test_a_clock_that_is_wrong_is_named(stand_in):
    there = stand_in(Says({"code": "unauthenticated"}, 401), skew=-600)
    client = Doorward(there.url)
    client.login.with_token("at")
    with pytest.raises(
        InvalidToken, match=r"clock of this machine is (59\d|60\d) s ahead"
    ) as refused:
        client.whoami()
    assert 590 < refused.value.clock_skew.total_seconds() < 610
    assert client.clock_skew == refused.value.clock_skew


@pytest.fixture
def free_port():

    return free_port()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    """One that nobody has signed."""
    from datetime import UTC, datetime, timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    begun = x509.CertificateBuilder(
        name, name, key.public_key(), 1, now - timedelta(1), now + timedelta(1)
    )
    made = begun.add_extension(names, critical=False).sign(key, hashes.SHA256())
    path = tmp_path_factory.mktemp("tls") / "own.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return path
