"""`python -m bench.breakdown`: break down the time of GET /v1/whoami, without a server.

The shares come from a profile. The total is measured without it, because profiling is slow.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import os
import pstats
import time
from contextlib import redirect_stdout
from io import BytesIO
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from app.adapters import logs, migrations
from app.factory import create_app
from app.settings import Settings
from bench.servers import PASSWORD

SECRET = "only for a benchmark only for a benchmark"
# File, function and meaning. Times include callees; an indented part belongs to the one above.
PARTS = (
    ("web/unit_of_work.py", "within", "unit of work and handler"),
    ("web/auth/requirements.py", "guarded", "  requirement, handler, response"),
    ("verification/session_tokens.py", "verify_access_token", "    access token"),
    ("adapters/jwt.py", "verify", "      signature"),
    ("verification/session_lookup.py", "find_session_state", "      query"),
    ("adapters/jwt.py", "is_stale", "  signing keys"),
    ("web/middleware.py", "check_request", "before: host, request ID, body"),
    ("web/middleware.py", "complete_response", "after: headers"),
    ("web/middleware.py", "_log_request", "  log line"),
    ("flask/app.py", "wsgi_app", "everything, including Flask"),
)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.breakdown", description="Where the time of a check goes."
    )
    parser.add_argument("--times", type=int, default=2000)
    parser.add_argument(
        "--all",
        type=int,
        default=0,
        metavar="N",
        help="also the N functions with the most time of their own",
    )
    chosen = parser.parse_args()
    profile = cProfile.Profile()
    with (
        TemporaryDirectory(prefix="doorward-bench-") as folder,
        Path(os.devnull).open("w") as nowhere,
        redirect_stdout(nowhere),
    ):
        logs.configure_logging()
        app, token = sign_up(f"sqlite:///{folder}/doorward.db")
        plain = _timed(app, token, chosen.times)
        profile.enable()
        _timed(app, token, chosen.times)
        profile.disable()
    _print(pstats.Stats(profile), plain, chosen.times)
    if chosen.all:
        pstats.Stats(profile).sort_stats("tottime").print_stats(chosen.all)


def sign_up(url: str) -> tuple[Any, str]:
    """Return the service on an empty database, and the access token of a new user."""
    migrations.upgrade(url)
    app = create_app(
        Settings(secret_key=(SECRET,), database_url=url, argon2_memory_kib=64, argon2_time_cost=1)
    )
    client = app.test_client()
    handle = client.post(
        "/v1/register", json={"username": "ann", "email": "ann@example.org", "name": "Ann"}
    ).json["registration"]
    code = client.get("/dev/mailbox", headers={"Accept": "application/json"}).json["items"][0][
        "code"
    ]
    client.post(
        "/v1/register/confirm", json={"registration": handle, "code": code, "password": PASSWORD}
    )
    return app, client.post("/v1/login", json={"username": "ann", "password": PASSWORD}).json[
        "access_token"
    ]


def _timed(app: Any, token: str, times: int) -> float:
    """Return the median seconds of a request."""
    taken = []
    for _ in range(times):
        environ = _environ(token)
        began = time.perf_counter()
        body = b"".join(app(environ, lambda _status, _headers, _error=None: None))
        taken.append(time.perf_counter() - began)
    if json.loads(body)["username"] != "ann":
        raise RuntimeError("the check did not succeed")
    return median(taken)


def _environ(token: str) -> dict[str, Any]:
    return {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": "/v1/whoami",
        "QUERY_STRING": "",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "8080",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "HTTP_HOST": "127.0.0.1",
        "HTTP_AUTHORIZATION": f"Bearer {token}",
        "wsgi.url_scheme": "http",
        "wsgi.input": BytesIO(),
    }


def _print(stats: pstats.Stats, plain: float, times: int) -> None:
    found: dict[tuple[str, str], float] = {}
    for (file, _line, name), (
        _calls,
        _primitive,
        _own,
        cumulative,
        _callers,
    ) in stats.stats.items():  # type: ignore[attr-defined] # untyped
        for part, function, _said in PARTS:
            if name == function and file.endswith(part):
                found[part, function] = found.get((part, function), 0.0) + cumulative
    whole = found["flask/app.py", "wsgi_app"]
    print(
        f"GET /v1/whoami: {1e6 * plain:.0f} µs in the process, without a server "
        f"({times} times, SQLite)"
    )
    for part, function, said in PARTS:
        share = found.get((part, function), 0.0) / whole
        print(
            f"  {said:<34} {1e6 * plain * share:5.0f} µs  {100 * share:4.0f} %   {part} {function}"
        )


if __name__ == "__main__":
    main()
