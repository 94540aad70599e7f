"""Transport: URLs, retries, timeouts, redirects, certificates, proxies and error messages."""

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
from tests.client.error_text import render_error
from tests.client.fake_server import BAD_GATEWAY, HANG_UP, HTML, TOKENS, Reply

WHO = Reply({"account_id": "acc_1", "username": "ann", "kind": "session"})
VERSION = Reply({"name": "doorward", "version": "0.1.0"})


@pytest.mark.parametrize(
    ("written", "expected"),
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
def test_url_is_normalized(written, expected):
    assert str(parse_origin(written)) == expected
    assert str(parse_origin(expected)) == expected


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
def test_invalid_or_unsafe_url_is_rejected(written):
    with pytest.raises(InvalidInput) as refused:
        parse_origin(written)
    assert "secret" not in str(refused.value)


def test_plain_http_needs_allow_http():
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
def test_origin_covers_only_its_own_urls(url, covered):
    assert parse_origin("https://api.example.com").covers(url) is covered


def test_url_is_read_from_environment_on_first_use(fake_server, monkeypatch):
    client = Doorward()
    with pytest.raises(InvalidInput, match="DOORWARD_URL"):
        client.get_version()
    server = fake_server(VERSION)
    monkeypatch.setenv("DOORWARD_URL", server.url + "/")
    assert client.get_version().version == "0.1.0"
    assert client.url == server.url
    assert server.list_headers("User-Agent") == ["doorward/0.1.0"]


def test_path_prefix_of_service_is_kept(fake_server):
    server = fake_server(VERSION)
    Doorward(f"{server.url}/auth/").get_version()
    assert server.paths() == ["/auth/version"]


def test_get_is_retried(fake_server):
    server = fake_server(HANG_UP, Reply({"code": "unavailable"}, 503), VERSION)
    assert Doorward(server.url).get_version().version == "0.1.0"
    assert len(server.seen) == 3


def test_close_waits_for_requests_in_progress(fake_server):
    request_received, may_answer = threading.Event(), threading.Event()

    def answer_slowly(_: str) -> Reply:
        request_received.set()
        may_answer.wait(20)
        return Reply(TOKENS)

    server = fake_server(VERSION, routes={"/v1/login": [answer_slowly]})
    client = Doorward(server.url)
    thread = threading.Thread(target=client.login.with_password, args=("ann", "secret"))
    thread.start()
    assert request_received.wait(20)
    client.close()
    client.get_version()
    client.close()
    may_answer.set()
    thread.join(20)
    assert client.token == "at"
    assert len(set(server.ports)) == 2, "a later request opens a new connection"


def test_post_is_not_retried(fake_server):
    server = fake_server(HANG_UP)
    with pytest.raises(ConnectionFailed, match="interrupted"):
        Doorward(server.url).login.with_password("ann", "secret")
    assert len(server.seen) == 1


def test_retry_after_is_obeyed_or_reported(fake_server):
    server = fake_server(Reply({"code": "busy"}, 503, {"Retry-After": "1"}), VERSION)
    began = time.monotonic()
    Doorward(server.url).get_version()
    assert 1 <= time.monotonic() - began < 10
    server = fake_server(Reply({"code": "rate_limited"}, 429, {"Retry-After": "3600"}))
    with pytest.raises(RateLimited, match="in 60 min") as refused:
        Doorward(server.url).get_version()
    assert (refused.value.retry_after, len(server.seen)) == (3600, 1)


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (HTML, "a web page"),
        (Reply(b"{"), "invalid JSON"),
        (Reply([1]), "invalid JSON"),
        (Reply(b"\x00\xff", headers={"Content-Type": "image/png"}), "image/png"),
        (Reply(b"x", 304), "nothing"),
    ],
)
def test_non_json_response_is_unexpected_answer(fake_server, answer, found):
    server = fake_server(answer)
    with pytest.raises(UnexpectedAnswer, match=f"returned {found} instead of a JSON object"):
        Doorward(server.url).get_version()


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("/auth/version?token=at", "redirects to {}/auth\\."),
        ("/version", "redirects to itself"),
        ("https://ann:planted@[::1]:9/version", r"redirects to https://\[::1\]:9\."),
    ],
)
def test_redirect_error_names_the_target(fake_server, location, message):
    server = fake_server(Reply(b"", 308, {"Location": location}))
    with pytest.raises(RedirectRefused, match=message.format(server.url)):
        Doorward(server.url).get_version()
    assert len(server.seen) == 1


def test_oversized_response_is_rejected(fake_server):
    server = fake_server(Reply(b"[" + b"0," * 3_000_000 + b"0]"))
    with pytest.raises(UnexpectedAnswer, match="too large"):
        Doorward(server.url).get_version()


def test_bad_gateway_is_service_unavailable(fake_server):
    server = fake_server(BAD_GATEWAY)
    with pytest.raises(ServiceUnavailable, match="502"):
        Doorward(server.url).login.with_password("ann", "secret")


def test_redirect_is_not_followed(fake_server):
    other_server = fake_server(WHO)
    server = fake_server(
        Reply(b"", 302, {"Location": f"{other_server.url}/v1/whoami?token=at"}),
        routes={"/v1/login": [Reply(TOKENS)]},
    )
    client = Doorward(server.url)
    client.login.with_password("ann", "secret")
    with pytest.raises(RedirectRefused, match=other_server.url) as refused:
        client.whoami()
    assert "token=" not in str(refused.value)
    assert other_server.seen == []


def test_read_timeout_ends_the_request(fake_server):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = Doorward(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout=Timeouts(read=0.3))
        began = time.monotonic()
        with pytest.raises(ConnectionFailed, match="did not respond in time"):
            client.login.with_password("ann", "secret")
        assert time.monotonic() - began < 10


def test_refused_connection_is_reported(free_port):
    with pytest.raises(ConnectionFailed, match="Cannot connect"):
        Doorward(f"http://127.0.0.1:{free_port}").login.with_password("ann", "secret")


def test_untrusted_certificate_is_rejected(fake_server, certificate):
    server = fake_server(VERSION, certificate=certificate)
    with pytest.raises(TLSError, match=r"certificate .+ SSL_CERT_FILE"):
        Doorward(server.url).login.with_password("ann", "secret")
    assert server.seen == []


@pytest.mark.parametrize(
    "verify", [str, Path, lambda path: ssl.create_default_context(cafile=path), None]
)
def test_private_certificate_authority_can_be_trusted(
    fake_server, certificate, monkeypatch, verify
):
    server = fake_server(VERSION, certificate=certificate)
    if verify is None:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    options = {"verify": verify(certificate)} if verify else {}
    assert Doorward(server.url, **options).get_version().version == "0.1.0"


@pytest.mark.parametrize("content", [None, b"no certificate"])
def test_unreadable_ssl_cert_file_is_reported(fake_server, tmp_path, monkeypatch, content):
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "own.pem"))
    if content is not None:
        (tmp_path / "own.pem").write_bytes(content)
    with pytest.raises(InvalidInput, match=r"SSL_CERT_FILE: .+own\.pem is not a readable PEM file"):
        Doorward("https://auth.example.com").get_version()
    assert Doorward(fake_server(VERSION).url).get_version(), "plain HTTP loads no certificates"


def test_server_without_tls_is_rejected(fake_server):
    server = fake_server(VERSION)
    with pytest.raises(TLSError, match="TLS"):
        Doorward(server.url.replace("http:", "https:")).get_version()


@pytest.mark.parametrize("content", [None, b"", b"no certificate"])
def test_unreadable_verify_file_is_reported(tmp_path, content):
    path = tmp_path / "own.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InvalidInput, match=r"own\.pem is not a readable PEM file"):
        Doorward("https://auth.example.com", verify=str(path)).get_version()


@pytest.mark.parametrize(
    "proxy", ["ftp://ann:secret@proxy.example", "http://ann:secret@proxy.example:port"]
)
def test_invalid_proxy_is_reported(monkeypatch, proxy):
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    with pytest.raises(InvalidInput, match="HTTPS_PROXY") as refused:
        Doorward("https://auth.example.com").get_version()
    assert "secret" not in render_error(refused.value)


def test_failing_proxy_is_reported(fake_server, free_port, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", f"http://ann:planted@127.0.0.1:{free_port}")
    with pytest.raises(ConnectionFailed, match=r"Cannot connect to .+HTTPS_PROXY"):
        Doorward("https://auth.example.com").login.with_password("ann", "x")
    proxy = fake_server(Reply({}, 407))
    monkeypatch.setenv("HTTPS_PROXY", proxy.url.replace("//", "//ann:planted@"))
    with pytest.raises(
        ConnectionFailed, match=r"proxy .+ cannot connect to https://auth\.example\.com \(407"
    ) as refused:
        Doorward("https://auth.example.com").login.with_password("ann", "x")
    assert "planted" not in render_error(refused.value)
    assert [command for command, *_ in proxy.seen] == ["CONNECT"]


def test_proxy_is_never_used_for_loopback(fake_server, monkeypatch):
    server, proxy = fake_server(VERSION), fake_server(VERSION)
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    Doorward(server.url).get_version()
    assert (len(server.seen), proxy.seen) == (1, [])
    Doorward("http://auth.internal", allow_http=True).get_version()
    assert proxy.paths() == ["http://auth.internal/version"]


def test_clock_skew_is_reported(fake_server):
    server = fake_server(Reply({"code": "unauthenticated"}, 401), skew=-600)
    client = Doorward(server.url)
    client.login.with_token("at")
    with pytest.raises(
        InvalidToken, match=r"clock of this machine is (59\d|60\d) s ahead"
    ) as refused:
        client.whoami()
    assert 590 < refused.value.clock_skew.total_seconds() < 610
    assert client.clock_skew == refused.value.clock_skew


@pytest.fixture
def free_port():
    from tests.postgres import find_free_port

    return find_free_port()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    """A self-signed certificate."""
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
