"""The pytest plug-in."""

from __future__ import annotations

import ast
import re
import signal
import socket
import subprocess
import sys
import time
import tomllib
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest

from app.settings import VERSION
from doorward import InvalidCredentials, InvalidToken, LoginDenied, NotFound, RateLimited
from doorward.testing import (
    DoorwardTestError,
    _doorward_process,
    doorward_service,
    fresh_doorward_service,
    pytest_runtest_teardown,
)
from doorward.testing.service import DoorwardTestService
from tests.client.conftest import SOURCES, build_environment
from tests.client.wheels import RegistryUnavailable, build_wheel, unpack_wheels
from tests.live import ROOT

FIXTURES = (_doorward_process, doorward_service, fresh_doorward_service)
DISABLED_PLUGINS = [
    f"-pno:{name}" for name in ("schemathesis", "hypothesispytest", "anyio", "randomly")
]  # they cost a second of CPU, and users do not have them
FROM_SOURCES = f"{SOURCES}:{ROOT}"
EXAMPLE = (ROOT / "docs" / "testing-with-doorward.md").read_text()


@pytest.fixture(scope="session", autouse=True)
def _service_is_found():
    """Make the service importable, because it is not installed in the repository."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", FROM_SOURCES)
        yield


@pytest.fixture
def process(request):
    return request.getfixturevalue("_doorward_process")


@pytest.fixture(autouse=True)
def _as_the_plug_in_does(request):
    """Call the hook of the plug-in, which is imported here and not loaded by pytest."""
    yield
    pytest_runtest_teardown(request.node)


@pytest.fixture(scope="session")
def doorward_settings():
    return {
        "roles": {"editor": ["orders:read", "orders:write"]},
        "clients": {"job": {"name": "Job", "scopes": ["orders:read"]}},
        "registration": "closed",
        "access_token_ttl": timedelta(minutes=2),
        "privacy_levels": ["everybody", "friend", "manager"],
    }


def run_user_tests(folder: Path, *options: str, path: str) -> subprocess.CompletedProcess[str]:
    """Run the tests in the folder as their authors would."""
    command = [
        sys.executable,
        "-W",
        "error",
        "-m",
        "pytest",
        "-W",
        "error",
        "-p",
        "no:cacheprovider",
        *DISABLED_PLUGINS,
        *options,
    ]
    return subprocess.run(
        command,
        cwd=folder,
        env=build_environment(PYTHONPATH=path),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_account_can_log_in_at_once(doorward_service):
    ann = doorward_service.account(
        "Ann.Lee", email="ann@example.org", roles=["editor"], password="a password of hers"
    )
    me = doorward_service.client(ann).get_me()
    assert (me.account.id, me.account.username, me.account.email, me.roles) == (
        ann.id,
        "ann.lee",
        "ann@example.org",
        ("editor",),
    )
    assert me.scopes == ("orders:read", "orders:write")
    assert "a password of hers" not in repr(ann)
    assert doorward_service.account(roles="editor").roles == ("editor",)
    narrow = doorward_service.client(ann, scope="orders:read")
    assert narrow.whoami().scopes == ("orders:read",)
    assert (
        doorward_service.client(doorward_service.account(roles=["admin"])).call(
            "GET", f"/v1/accounts/{ann.id}"
        )["username"]
        == "ann.lee"
    )


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"username": "x"}, "username must have 3 to 32"),
        ({"email": "nowhere"}, "email "),
        ({"roles": ["knight"]}, "There is no role knight"),
    ],
)
def test_invalid_account_reports_the_reason(doorward_service, options, words):
    with pytest.raises(DoorwardTestError, match=words):
        doorward_service.account(**options)


def test_unexpected_error_does_not_stop_the_service(doorward_service):
    with pytest.raises(DoorwardTestError, match=r"AttributeError: .*doorward\.log"):
        doorward_service.account(password=1234)
    doorward_service.account()


def test_taken_username_is_rejected(doorward_service):
    ann = doorward_service.account()
    with pytest.raises(DoorwardTestError, match="username belongs to an existing account"):
        doorward_service.account(ann.username)


def test_tokens_and_sessions_expire_when_the_clock_is_pushed(doorward_service):
    ann = doorward_service.account()
    client, token = doorward_service.client(ann), doorward_service.token(ann)
    begun = doorward_service.now
    doorward_service.push_clock(minutes=3)
    assert timedelta(minutes=3) <= doorward_service.now - begun < timedelta(minutes=4)
    other = doorward_service.client()
    other.login.with_token(token)
    with pytest.raises(InvalidToken):
        other.validate()
    before = client.session.scope, client.session.session_id
    other.login.with_token(client.token)
    assert other.whoami().username == ann.username, "the session continues with a new token"
    assert (client.session.scope, client.session.session_id) == before
    doorward_service.push_clock(days=31)
    assert client.session.session_id not in {
        one.id for one in doorward_service.client(ann).list_sessions() if one.status == "live"
    }
    with pytest.raises(ValueError, match="positive"):
        doorward_service.push_clock(minutes=-1)


def test_reset_clears_clock_mailbox_and_throttling(doorward_service):
    ann = doorward_service.account()
    doorward_service.push_clock(days=2)
    for _ in range(8):  # enough for a delay of more than a second
        with suppress(InvalidCredentials, RateLimited):
            doorward_service.client().login.with_password(ann.username, "not the password")
    with pytest.raises(RateLimited):
        doorward_service.token(ann)
    doorward_service.client(doorward_service.account())
    assert doorward_service.mail()
    doorward_service.reset()
    assert doorward_service.mail() == []
    assert doorward_service.client(ann).clock_skew < timedelta(minutes=1)
    assert doorward_service.client(ann).whoami().expires_at - doorward_service.now < timedelta(
        minutes=3
    )


def test_mail_is_filtered_by_recipient(doorward_service):
    ann, bob = doorward_service.account(), doorward_service.account()
    for name in (ann.username, bob.username):
        doorward_service.client().transport.request(
            "POST", "/v1/password/forgot", json={"username": name}
        )
    mail = doorward_service.mail(ann)
    assert [one.to for one in mail] == [ann.email]
    assert mail == doorward_service.mail(to=ann.email.upper())
    assert mail[0].links[0].startswith(f"{doorward_service.url}/reset/")
    assert mail[0].links[0] in mail[0].text
    assert len(doorward_service.mail()) == 2


def test_registration_with_the_code_from_the_mail(process, tmp_path):
    service = DoorwardTestService(
        process,
        tmp_path,
        {"password_min_length": 12, "link_confirm": "https://shop.example.com/welcome/{token}"},
    )
    request = service.client().transport.request
    body = {
        "username": "ann",
        "email": "ann@example.org",
        "name": "Ann",
        "password": "twelve signs",
    }
    registration = request("POST", "/v1/register", json=body)["registration"]
    mail = service.mail("ann@example.org")[0]
    assert mail.links[0].startswith("https://shop.example.com/welcome/")
    request("POST", "/v1/register/confirm", json={"registration": registration, "code": mail.code})
    with service.client() as client:
        client.login.with_password("ann", "twelve signs")
        assert client.whoami().username == "ann"
    service.close()


def test_concurrent_logins_succeed(doorward_service):
    ann = doorward_service.account()
    with ThreadPoolExecutor(12) as threads:
        assert len(set(threads.map(lambda _: doorward_service.token(ann), range(12)))) == 12


def test_api_key_has_the_requested_scopes(doorward_service):
    ann, client = doorward_service.account(roles=["editor"]), doorward_service.client()
    client.login.with_api_key(
        doorward_service.api_key(ann, "orders:read", expires_in=timedelta(days=1))
    )
    found = client.whoami()
    assert (found.kind, found.scopes) == ("api_key", ("orders:read",))
    assert timedelta(hours=23) < found.expires_at - doorward_service.now <= timedelta(days=1)


def test_device_login_is_approved_or_denied(doorward_service):
    ann, program = doorward_service.account(roles=["editor"]), doorward_service.client()
    prompt = program.login.request_on_another_device(client_id="job")
    doorward_service.approve(prompt, ann)
    program.login.with_session_id(prompt.device_code, client_id="job")
    assert (program.whoami().username, program.whoami().scopes) == (ann.username, ("orders:read",))
    refused = program.login.request_on_another_device()
    doorward_service.deny(refused.user_code, ann)
    with pytest.raises(LoginDenied):
        program.login.with_session_id(refused.device_code)
    late = program.login.request_on_another_device()
    doorward_service.push_clock(minutes=11)
    with pytest.raises(NotFound):
        doorward_service.approve(late, ann)


def test_fresh_service_has_no_accounts(doorward_service, fresh_doorward_service):
    doorward_service.account()
    root = fresh_doorward_service.account(roles=["admin"])
    found = fresh_doorward_service.client(root).call("GET", "/v1/accounts")["items"]
    assert [one["id"] for one in found] == [root.id]
    fresh_doorward_service.push_clock(days=1)
    assert doorward_service.now < fresh_doorward_service.now


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"database_url": "postgresql://db.example.com/live"}, "sets database_url itself"),
        ({"redis_url": "redis://cache.example.com"}, "sets redis_url itself"),
        ({"smtp_url": "smtp://mail.example.com"}, "sets smtp_url itself"),
        ({"env": "production"}, "env=development"),
        ({"public_url": "https://auth.example.com"}, r"public_url .* 127\.0\.0\.1"),
        ({"host": "0.0.0.0"}, "host: is not a setting"),
        ({"secret_key": "short"}, "secret_key: must be"),
        ({"roles": {"editor": "orders:write"}}, "roles: must"),
        ({"managing_level": "king"}, "DOORWARD_MANAGING_LEVEL: must be one of"),
    ],
)
def test_unsuitable_settings_are_rejected(process, tmp_path, settings, words):
    with pytest.raises(DoorwardTestError, match=words):
        DoorwardTestService(process, tmp_path, settings)


def test_service_does_not_start_in_production(process, tmp_path, monkeypatch):
    monkeypatch.setenv("DOORWARD_ENV", "production")
    with pytest.raises(DoorwardTestError, match="DOORWARD_ENV=production"):
        DoorwardTestService(process, tmp_path, {})


HOLDER_SCRIPT = """
import sys, time
from pathlib import Path
from doorward.testing.process import ServerProcess
from doorward.testing.service import DoorwardTestService

folder = Path(sys.argv[1])
print(DoorwardTestService(ServerProcess(folder), folder, {}).url, flush=True)
time.sleep(60)
"""


def test_service_is_local_isolated_and_ends_with_its_parent(tmp_path):
    other_server = {
        "DOORWARD_DATABASE_URL": "postgresql://db.example.com/live",
        "DOORWARD_REGISTRATION": "closed",
        "DOORWARD_COLOUR": "red",
    }
    env = build_environment(PYTHONPATH=FROM_SOURCES, PYTHONWARNINGS="error", **other_server)
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", HOLDER_SCRIPT, tmp_path],
        env=env,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        url = holder.stdout.readline().strip()
        port = int(url.rpartition(":")[2])
        try:
            with urllib.request.urlopen(f"{url}/v1/methods", timeout=10) as answer:
                assert b'"open"' in answer.read(), "the default is not read from the environment"
            with pytest.raises(OSError, match="refused"):
                socket.create_connection(("127.0.0.2", port), 5)
        finally:
            holder.send_signal(signal.SIGKILL)
    assert wait_until_closed(port)


def wait_until_closed(port: int) -> bool:
    """Return whether the port is closed within ten seconds."""
    end = time.monotonic() + 10
    while time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", port), 5).close()
        except OSError:
            return True
        time.sleep(0.05)
    return False


def test_missing_service_names_the_package_to_install(tmp_path):
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "__init__.py").write_text("")
    (tmp_path / "test_app.py").write_text(
        "import sys\n"
        "import doorward\n"
        "def test_with(doorward_service): pass\n"
        "def test_without(): assert not {'doorward.testing.service', 'doorward.client', 'app'} & set(sys.modules)\n"
    )
    result = run_user_tests(tmp_path, "-p", "doorward.testing", path=str(SOURCES))
    assert "1 passed, 1 error" in result.stdout, result.stdout
    assert "The service is not installed. Run: pip install 'doorward[testing]'" in result.stdout
    assert "Traceback" not in result.stdout
    assert "During handling" not in result.stdout, "it is reported once"


SECOND_TEST_FILE = """
import urllib.request
from datetime import UTC, datetime, timedelta

import pytest


@pytest.fixture(scope="session")
def doorward_settings():
    return {"registration": "closed"}


def test_one(doorward_service):
    doorward_service.push_clock(days=1)
    doorward_service.token(doorward_service.account())

def test_two(doorward_service):
    assert doorward_service.now - datetime.now(UTC) < timedelta(minutes=1)
    assert doorward_service.mail() == []

def test_three(fresh_doorward_service):
    with urllib.request.urlopen(f"{fresh_doorward_service.url}/v1/methods", timeout=10) as answer:
        assert b'"closed"' in answer.read()
"""


def test_documented_example_works_with_installed_wheels(tmp_path):
    """The wheels include the plug-in entry point and the migrations; the user has a package `app`."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    try:
        installed = unpack_wheels(
            [build_wheel(ROOT / "client", wheels), build_wheel(ROOT, wheels)],
            tmp_path / "installed",
        )
    except RegistryUnavailable as reason:
        pytest.skip(str(reason))
    assert not (installed / "app").exists(), "the service installs no top-level package `app`"
    blocks = re.findall(
        r"^`([\w/.]+\.py)`\n```python\n(.*?)^```", EXAMPLE, re.DOTALL | re.MULTILINE
    )
    assert [name for name, _ in blocks] == ["app/__init__.py", "conftest.py", "test_orders.py"]
    first = re.search(r"^```python\n(.*?)^```", EXAMPLE, re.DOTALL | re.MULTILINE)[1]
    for name, text in [*blocks, ("test_first.py", first), ("test_two.py", SECOND_TEST_FILE)]:
        file = tmp_path / "theirs" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    result = run_user_tests(tmp_path / "theirs", path=str(installed))
    assert "11 passed" in result.stdout, result.stdout


def test_plugin_requires_its_own_service_version():
    project = tomllib.loads((ROOT / "client" / "pyproject.toml").read_text())["project"]
    assert project["version"] == VERSION
    assert project["optional-dependencies"]["testing"] == [f"doorward-service=={VERSION}"]


def test_only_the_test_server_imports_the_service():
    knowing = set()
    for path in (SOURCES / "doorward").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if any(name.split(".")[0] == "app" for name in names):
                knowing.add(path.relative_to(SOURCES / "doorward").as_posix())
    assert knowing == {"testing/server.py"}
