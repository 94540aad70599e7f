"""The service on a socket in this process, with a clock that tests control, and a browser."""

from __future__ import annotations

import itertools
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import Browser, sync_playwright
from werkzeug.serving import WSGIRequestHandler, make_server

from tests.actors import Actor, Service, build_settings
from tests.postgres import find_free_port

NAMES = ("chromium", "chromium-browser", "google-chrome")
MISSING = "Chromium is not installed: apt-get install chromium"
START_TIMEOUT_MS = 120_000  # the first start reads the browser from disk
PLENTY = {
    f"limit_{name}": "100000/minute"
    for name in ("login", "register", "confirm", "code", "forgot", "device", "poll")
}


class Quiet(WSGIRequestHandler):
    def log(self, *_: Any) -> None:
        """Keep quiet; the service logs its requests."""


class Site:
    """The service on its own port."""

    def __init__(self, database_url: str, **changes: Any) -> None:
        port = find_free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.service = Service(
            build_settings(database_url, public_url=self.url, **{**PLENTY, **changes})
        )
        self._hosts = itertools.count(7)
        self._server = make_server(
            "127.0.0.1", port, self.service.app, threaded=True, request_handler=Quiet
        )
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def sign_up_user(self, name: str) -> Actor:
        return self.service.actor(name).sign_up()

    def start_device_login(self, **changes: Any) -> dict[str, Any]:
        """Start a device login on a machine without a browser."""
        actor = self.service.actor(
            "machine", address=f"203.0.113.{next(self._hosts)}", agent="backup/2.1 (Linux)"
        )
        body = {
            "client_name": "Nightly backup",
            "hostname": "rack-7",
            "login_message": "Backup of Tuesday",
            **changes,
        }
        answer = actor.post("/v1/login-sessions", body)
        assert answer.status_code == 201, answer.text
        return answer.json

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join(10)
        self._server.server_close()
        self.service.close()


def find_chromium() -> str | None:
    return next((found for name in NAMES if (found := shutil.which(name))), None)


@contextmanager
def open_browser() -> Iterator[Browser]:
    """Start Chromium for one test module. Its event loop would disturb other modules."""
    alone = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=find_chromium(),
            args=[*alone, "--disable-dev-shm-usage"],
            timeout=START_TIMEOUT_MS,
        )
        yield chromium
        chromium.close()
