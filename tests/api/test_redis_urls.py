"""Connect to Redis by Unix socket and TLS, with password and user, and to an older version."""

from __future__ import annotations

import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest
import redis

from app.credential_status.session_cache import build_session_cache_key
from app.server.cache_watcher import CacheWatcher
from tests.cli_runner import run_cli
from tests.faults.mail_server import create_authority
from tests.live import run_command
from tests.valkey import WITHOUT_PERSISTENCE, Valkey

PASSWORD = "p@ss:word/with?marks"
QUOTED = "p%40ss%3Aword%2Fwith%3Fmarks"


@pytest.fixture
def make_valkey():
    made = []

    def make(*options: str) -> Valkey:
        made.append(Valkey(*WITHOUT_PERSISTENCE, *options))
        return made[-1]

    yield make
    for server in made:
        server.stop()


def assert_used(service, server: redis.Redis) -> None:
    """Check that sessions are cached, revocations marked and limits counted in Redis."""
    CacheWatcher().watch(service.units)
    ann = service.actor("ann").sign_in()
    key = build_session_cache_key(ann.tokens["account"]["id"], ann.tokens["session_id"])
    assert ann.whoami().status_code == 200
    assert server.get(key).startswith(b"[")
    assert ann.whoami().status_code == 200
    assert ann.logout().status_code == 204
    assert server.get(key) == b"R"
    assert ann.whoami().status_code == 401
    assert list(server.scan_iter("dw1:limit*"))


def assert_unused(service, server: redis.Redis) -> None:
    """Check that Redis is not used and that everything works without it."""
    CacheWatcher().watch(service.units)
    ann = service.actor("ann").sign_in()
    assert ann.whoami().status_code == 200
    assert ann.logout().status_code == 204
    assert ann.whoami().status_code == 401
    assert server.dbsize() == 0


@contextmanager
def open_proxy(
    server: Valkey,
    *,
    tls: ssl.SSLContext | None = None,
    answer: Callable[[bytes], bytes] = lambda data: data,
) -> Iterator[int]:
    """Open a port that forwards to the server, adding TLS or replacing text in responses."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(
            target=_accept, args=(listener, server.port, tls, answer), daemon=True
        ).start()
        yield listener.getsockname()[1]
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)  # ends the thread, which closes the port


def _accept(
    listener: socket.socket, port: int, tls: ssl.SSLContext | None, answer: Callable[[bytes], bytes]
) -> None:
    with suppress(OSError):
        while True:
            threading.Thread(
                target=_serve, args=(listener.accept()[0], port, tls, answer), daemon=True
            ).start()


def _serve(
    client: socket.socket, port: int, tls: ssl.SSLContext | None, answer: Callable[[bytes], bytes]
) -> None:
    with suppress(OSError), client, socket.create_connection(("127.0.0.1", port)) as server:
        near = tls.wrap_socket(client, server_side=True) if tls else client
        with near:
            while data := near.recv(65536):
                server.sendall(data)
                near.sendall(answer(server.recv(65536)))


def test_redis_over_a_unix_socket(make_service, make_valkey):
    path = make_valkey("--unixsocket", "redis.sock").folder / "redis.sock"
    with redis.Redis(unix_socket_path=str(path), db=3) as client:
        assert_used(make_service(redis_url=f"unix://{path}?db=3"), client)


def test_redis_tls_with_a_private_ca(make_service, make_valkey, tmp_path):
    server, trusted = make_valkey(), create_authority(tmp_path)
    with open_proxy(server, tls=trusted.server) as port, redis.Redis.from_url(server.url) as client:
        assert_used(
            make_service(redis_url=f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={trusted.ca_file}"),
            client,
        )


def test_redis_tls_with_an_untrusted_certificate_is_not_used(make_service, make_valkey, tmp_path):
    server, unknown = make_valkey(), create_authority(tmp_path)
    with open_proxy(server, tls=unknown.server) as port, redis.Redis.from_url(server.url) as client:
        assert_unused(make_service(redis_url=f"rediss://127.0.0.1:{port}/0"), client)


def test_redis_tls_with_a_system_ca(make_valkey, sqlite_url, tmp_path):
    server, trusted = make_valkey(), create_authority(tmp_path)
    env = {"DOORWARD_DATABASE_URL": sqlite_url, "SSL_CERT_FILE": str(trusted.ca_file)}
    with open_proxy(server, tls=trusted.server) as port:
        result = run_command(
            "doctor", env={**env, "DOORWARD_REDIS_URL": f"rediss://127.0.0.1:{port}/0"}
        )
    assert "ok     redis" in result.stdout


def test_redis_password_with_any_character(make_service, make_valkey):
    server = make_valkey("--requirepass", PASSWORD)
    with redis.Redis.from_url(server.url, password=PASSWORD) as client:
        assert_used(make_service(redis_url=server.url.replace("//", f"//:{QUOTED}@")), client)


def test_redis_user_and_password(make_service, make_valkey):
    server = make_valkey()
    with redis.Redis.from_url(server.url) as client:
        client.acl_setuser(
            "doorward",
            enabled=True,
            passwords=[f"+{PASSWORD}"],
            keys=["dw1:*"],
            categories=["+@all", "-@dangerous"],
        )
        assert_used(
            make_service(redis_url=server.url.replace("//", f"//doorward:{QUOTED}@")), client
        )


def test_wrong_redis_password_counts_as_unavailable(make_service, make_valkey):
    server = make_valkey("--requirepass", PASSWORD)
    with redis.Redis.from_url(server.url, password=PASSWORD) as client:
        assert_unused(make_service(redis_url=server.url.replace("//", "//:wrong@")), client)


def test_older_redis_works_and_doctor_warns(make_service, make_valkey, sqlite_url):
    server = make_valkey()
    with redis.Redis.from_url(server.url) as client:
        version = client.info()["redis_version"]
        older = "6.0" + version[3:]  # of the same length, because responses contain their length

        def change_version(data: bytes) -> bytes:
            return data.replace(
                f"redis_version:{version}".encode(), f"redis_version:{older}".encode()
            )

        with open_proxy(server, answer=change_version) as port:
            url = f"redis://127.0.0.1:{port}/0"
            assert_used(make_service(redis_url=url), client)
            result = run_cli("doctor", DOORWARD_DATABASE_URL=sqlite_url, DOORWARD_REDIS_URL=url)
    assert re.search(r"redis +.* is too old", result.stdout)
