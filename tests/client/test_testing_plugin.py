"""The pytest plug-in: what somebody's own tests get, and what it refuses."""

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
from tests.client.conftest import SOURCES, environment
from tests.client.wheels import NoRegistry, built, unpacked
from tests.live import ROOT

FIXTURES = (_doorward_process, doorward_service, fresh_doorward_service)
OTHERS = [
    f"-pno:{name}" for name in ("schemathesis", "hypothesispytest", "anyio", "randomly")
]  # a second of CPU, and not theirs
FROM_SOURCES = f"{SOURCES}:{ROOT}"
EXAMPLE = (ROOT / "docs" / "testing-with-doorward.md").read_text()


@pytest.fixture(scope="session", autouse=True)
def _service_is_found():
    """In the repository it is not installed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", FROM_SOURCES)
        yield


@pytest.fixture
def process(request):
    return request.getfixturevalue("_doorward_process")


@pytest.fixture(autouse=True)
def _as_the_plug_in_does(request):
    """Here its fixtures are imported, and its hook is called by nobody else."""
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


def users_tests(folder: Path, *options: str, path: str) -> subprocess.CompletedProcess[str]:
    """What the tests in the folder say, run as their authors would."""
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
        *OTHERS,
        *options,
    ]
    return subprocess.run(
        command,
        cwd=folder,
        env=environment(PYTHONPATH=path),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_an_account_is_ready_to_sign_in(doorward_service):
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
    ("asked", "words"),
    [
        ({"username": "x"}, "username must have 3 to 32"),
        ({"email": "nowhere"}, "email "),
        ({"roles": ["knight"]}, "There is no role knight"),
    ],
)
def test_an_account_that_cannot_be_says_why(doorward_service, asked, words):
    with pytest.raises(DoorwardTestError, match=words):
        doorward_service.account(**asked)


def test_what_nobody_foresaw_spoils_no_other_test(doorward_service):
    with pytest.raises(DoorwardTestError, match=r"AttributeError: .*doorward\.log"):
        doorward_service.account(password=1234)
    doorward_service.account()


def test_a_name_is_given_once(doorward_service):
    ann = doorward_service.account()
    with pytest.raises(DoorwardTestError, match="username belongs to an account already"):
        doorward_service.account(ann.username)


def test_tokens_and_sessions_end_when_the_clock_is_pushed(doorward_service):
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
    assert other.whoami().username == ann.username, "a session goes on with another token"
    assert (client.session.scope, client.session.session_id) == before
    doorward_service.push_clock(days=31)
    assert client.session.session_id not in {
        one.id for one in doorward_service.client(ann).list_sessions() if one.status == "live"
    }
    with pytest.raises(ValueError, match="forward"):
        doorward_service.push_clock(minutes=-1)


def test_the_next_test_begins_anew(doorward_service):
    ann = doorward_service.account()
    doorward_service.push_clock(days=2)
    for _ in range(8):  # so that whoever is slow waits for longer than a second
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


def test_mail_is_read_by_whom_it_is_to(doorward_service):
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


def test_somebody_registers_with_the_code_of_the_mail(process, tmp_path):
    service = DoorwardTestService(
        process,
        tmp_path,
        {"password_min_length": 12, "link_confirm": "https://shop.example.com/welcome/{token}"},
    )
    ask = service.client().transport.ask
    body = {
        "username": "ann",
        "email": "ann@example.org",
        "name": "Ann",
        "password": "twelve signs",
    }
    registration = ask("POST", "/v1/register", json=body)["registration"]
    mail = service.mail("ann@example.org")[0]
    assert mail.links[0].startswith("https://shop.example.com/welcome/")
    ask("POST", "/v1/register/confirm", json={"registration": registration, "code": mail.code})
    with service.client() as client:
        client.login.with_password("ann", "twelve signs")
        assert client.whoami().username == "ann"
    service.close()


def test_many_may_log_in_at_once(doorward_service):
    ann = doorward_service.account()
    with ThreadPoolExecutor(12) as threads:
        assert len(set(threads.map(lambda _: doorward_service.token(ann), range(12)))) == 12


def test_a_key_does_what_its_owner_may(doorward_service):
    ann, client = doorward_service.account(roles=["editor"]), doorward_service.client()
    client.login.with_api_key(
        doorward_service.api_key(ann, "orders:read", expires_in=timedelta(days=1))
    )
    found = client.whoami()
    assert (found.kind, found.scopes) == ("api_key", ("orders:read",))
    assert timedelta(hours=23) < found.expires_at - doorward_service.now <= timedelta(days=1)


def test_a_program_is_let_in_or_not(doorward_service):
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


def test_a_fresh_service_knows_nobody(doorward_service, fresh_doorward_service):
    doorward_service.account()
    root = fresh_doorward_service.account(roles=["admin"])
    found = fresh_doorward_service.client(root).call("GET", "/v1/accounts")["items"]
    assert [one["id"] for one in found] == [root.id]
    fresh_doorward_service.push_clock(days=1)
    assert doorward_service.now < fresh_doorward_service.now


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"database_url": "postgresql://db.example.com/live"}, "database_url: .* leave it out"),
        ({"redis_url": "redis://cache.example.com"}, "redis_url: "),
        ({"smtp_url": "smtp://mail.example.com"}, "smtp_url: "),
        ({"env": "production"}, "env: .* in development and nowhere else"),
        ({"public_url": "https://auth.example.com"}, "public_url: .* this machine alone"),
        ({"host": "0.0.0.0"}, "host: is not a setting"),
        ({"secret_key": "short"}, "secret_key: must be 32 random bytes"),
        ({"roles": {"editor": "orders:write"}}, "roles: must hold lists of texts"),
        ({"managing_level": "king"}, "DOORWARD_MANAGING_LEVEL: must be one of"),
    ],
)
def test_what_would_not_be_for_tests_is_refused(process, tmp_path, settings, words):
    with pytest.raises(DoorwardTestError, match=words):
        DoorwardTestService(process, tmp_path, settings)


def test_where_production_is_no_test_service_starts(process, tmp_path, monkeypatch):
    monkeypatch.setenv("DOORWARD_ENV", "production")
    with pytest.raises(DoorwardTestError, match="DOORWARD_ENV is production"):
        DoorwardTestService(process, tmp_path, {})


HOLDER = """
import sys, time
from pathlib import Path
from doorward.testing.process import ServerProcess
from doorward.testing.service import DoorwardTestService

folder = Path(sys.argv[1])
print(DoorwardTestService(ServerProcess(folder), folder, {}).url, flush=True)
time.sleep(60)
"""


def test_it_is_on_this_machine_alone_asks_no_environment_and_ends_with_the_tests(tmp_path):
    elsewhere = {
        "DOORWARD_DATABASE_URL": "postgresql://db.example.com/live",
        "DOORWARD_REGISTRATION": "closed",
        "DOORWARD_COLOUR": "red",
    }
    env = environment(PYTHONPATH=FROM_SOURCES, PYTHONWARNINGS="error", **elsewhere)
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", HOLDER, tmp_path],
        env=env,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        url = holder.stdout.readline().strip()
        port = int(url.rpartition(":")[2])
        try:
            with urllib.request.urlopen(f"{url}/v1/methods", timeout=10) as answer:
                assert b'"open"' in answer.read(), (
                    "registration is open unless the fixture says otherwise"
                )
            with pytest.raises(OSError, match="refused"):
                socket.create_connection(("127.0.0.2", port), 5)
        finally:
            holder.send_signal(signal.SIGKILL)
    assert ends(port)


def ends(port: int) -> bool:
    """Does nobody listen there any more, after ten seconds at most?"""
    end = time.monotonic() + 10
    while time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", port), 5).close()
        except OSError:
            return True
        time.sleep(0.05)
    return False


def test_without_the_service_a_sentence_says_what_to_install(tmp_path):
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "__init__.py").write_text("")
    (tmp_path / "test_app.py").write_text(
        "import sys\n"
        "import doorward\n"
        "def test_with(doorward_service): pass\n"
        "def test_without(): assert not {'doorward.testing.service', 'doorward.client', 'app'} & set(sys.modules)\n"
    )
    done = users_tests(tmp_path, "-p", "doorward.testing", path=str(SOURCES))
    assert "1 passed, 1 error" in done.stdout, done.stdout
    assert "The service is not installed: pip install 'doorward[testing]'." in done.stdout
    assert "Traceback" not in done.stdout
    assert "During handling" not in done.stdout, "it is said once"


TWO = """
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


def test_the_example_of_the_docs_works_with_what_is_installed(tmp_path):
    """From wheels: the plug-in is found by itself, the service brings its migrations along, and a package of the user's is called app."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    try:
        installed = unpacked(
            [built(ROOT / "client", wheels), built(ROOT, wheels)], tmp_path / "installed"
        )
    except NoRegistry as reason:
        pytest.skip(str(reason))
    assert not (installed / "app").exists(), (
        "nothing of ours is called app where others install theirs"
    )
    blocks = re.findall(
        r"^`([\w/.]+\.py)`\n```python\n(.*?)^```", EXAMPLE, re.DOTALL | re.MULTILINE
    )
    assert [name for name, _ in blocks] == ["app/__init__.py", "conftest.py", "test_orders.py"]
    first = re.search(r"^```python\n(.*?)^```", EXAMPLE, re.DOTALL | re.MULTILINE)[1]
    for name, text in [*blocks, ("test_first.py", first), ("test_two.py", TWO)]:
        file = tmp_path / "theirs" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    done = users_tests(tmp_path / "theirs", path=str(installed))
    assert "11 passed" in done.stdout, done.stdout


def test_it_wants_the_service_of_its_own_version():
    project = tomllib.loads((ROOT / "client" / "pyproject.toml").read_text())["project"]
    assert project["version"] == VERSION
    assert project["optional-dependencies"]["testing"] == [f"doorward-service=={VERSION}"]


def test_only_one_file_of_the_client_knows_the_service():
    knowing = set()
    for path in (SOURCES / "doorward").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if any(name.split(".")[0] == "app" for name in names):
                knowing.add(path.relative_to(SOURCES / "doorward").as_posix())
    assert knowing == {"testing/server.py"}
