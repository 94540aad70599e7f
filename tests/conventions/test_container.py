"""The container image, as far as it can be tested without an engine.

Its files, and its steps run outside of one.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import pytest
import yaml

from app.settings import ENV_PREFIX, Settings
from tests.actors import PASSWORD, SECRET
from tests.live import ROOT, clean_environment
from tests.postgres import find_free_port, terminate_with_parent

TEXT = (ROOT / "Dockerfile").read_text()
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if "build" in service}


def list_instructions() -> list[tuple[str, str]]:
    """Return the instructions of the Dockerfile with their arguments, without comments and line breaks."""
    lines = "\n".join(line for line in TEXT.splitlines() if not line.startswith("#"))
    joined = re.sub(r"\\\n\s*", " ", lines)
    return [
        (line.split(None, 1)[0], line.split(None, 1)[1])
        for line in joined.splitlines()
        if line.strip()
    ]


def list_stages() -> list[list[tuple[str, str]]]:
    found: list[list[tuple[str, str]]] = []
    for instruction in list_instructions():
        if instruction[0] == "FROM":
            found.append([])
        if found:
            found[-1].append(instruction)
    return found


def get_last_argument(name: str) -> str:
    """Return the arguments of that instruction in the last stage."""
    return [argument for instruction, argument in list_stages()[-1] if instruction == name][-1]


def parse_exec_form(argument: str) -> list[str]:
    return json.loads(argument[argument.index("[") :])


# Contents of the files.


def test_image_runs_as_a_numeric_non_root_user():
    assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", get_last_argument("USER"))


def test_image_has_two_stages_of_one_base_version():
    assert len(list_stages()) == 2
    version = next(argument for name, argument in list_instructions() if name == "ARG").partition(
        "="
    )[2]
    assert re.fullmatch(r"3\.\d+-slim-\w+", version)
    assert all(stage[0][1].startswith("python:${PYTHON}") for stage in list_stages())


def test_image_has_a_health_check_and_starts_without_a_shell():
    assert "/readyz" in parse_exec_form(get_last_argument("HEALTHCHECK"))[-1]
    assert parse_exec_form(get_last_argument("CMD"))[:4] == ["python", "-m", "app", "serve"]
    assert (
        get_last_argument("EXPOSE")
        == parse_exec_form(get_last_argument("CMD"))[5].rpartition(":")[2]
    )


def test_copied_paths_exist_and_are_not_ignored():
    allowed = {
        line[1:]
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    sources = [argument.split()[0] for name, argument in list_stages()[0] if name == "COPY"]
    assert sources
    for source in sources:
        assert (ROOT / source).exists(), source
        assert source in allowed, source


def test_last_stage_copies_only_what_the_first_built():
    made = {"/srv/venv"} | {
        f"/srv/doorward/{argument.split()[-1]}"
        for name, argument in list_stages()[0]
        if name == "COPY"
    }
    for name, argument in list_stages()[-1]:
        if name == "COPY":
            assert argument.split()[0] == "--from=build"
            assert argument.split()[1] in made


def test_image_contains_no_secret():
    assert not re.search(r"SECRET|PASSWORD|TOKEN", TEXT)


@pytest.mark.parametrize("name", SERVICES)
def test_compose_services_have_few_privileges(name):
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service
    assert name in OURS or re.fullmatch(r"[1-9]\d*:[1-9]\d*", service["user"])
    assert not str(service.get("user", "1")).startswith("0")


@pytest.mark.parametrize("name", SERVICES)
def test_compose_services_have_a_health_check_and_a_version(name):
    service = SERVICES[name]
    assert name in OURS or service["healthcheck"]["test"]
    assert name in OURS or re.search(r":v?\d+\.\d+", service["image"])
    assert ":latest" not in str(service)


@pytest.mark.parametrize("name", SERVICES)
def test_compose_services_listen_on_loopback_only(name):
    assert all(str(port).startswith("127.0.0.1:") for port in SERVICES[name].get("ports", []))


def test_every_setting_in_compose_exists():
    known = {f"{ENV_PREFIX}{field.name.upper()}" for field in dataclasses.fields(Settings)}
    for service in OURS.values():
        for name in service.get("environment", {}):
            assert not name.startswith(ENV_PREFIX) or name.removesuffix("_FILE") in known, name


def test_compose_secrets_are_files():
    secret = {
        f"{ENV_PREFIX}{field.name.upper()}"
        for field in dataclasses.fields(Settings)
        if field.metadata["secret"]
    }
    for service in SERVICES.values():
        for name, value in service.get("environment", {}).items():
            given = name in secret or name.endswith(("PASSWORD", "SECRET", "TOKEN"))
            assert not given or "@" not in value.partition("://")[2], name
            assert not name.endswith(("PASSWORD", "SECRET", "TOKEN")), name
            assert not name.endswith("_FILE") or value.startswith("/run/doorward/"), name


def test_compose_dependencies_exist():
    for service in SERVICES.values():
        for name, wait in service.get("depends_on", {}).items():
            probed = SERVICES[name].get("healthcheck", {}).get("test")
            assert wait["condition"] == (
                "service_healthy" if probed else "service_completed_successfully"
            )


def test_compose_secrets_are_created_once_and_are_valid(tmp_path):
    command = SERVICES["secrets"]["command"]
    script = command[-1].replace("/run/doorward", str(tmp_path))
    made = []
    for _ in range(2):
        subprocess.run([sys.executable, *command[1:-1], script], check=True, timeout=20)
        made.append({path.name: path.read_text() for path in tmp_path.iterdir()})
    assert made[0] == made[1]
    assert made[0].keys() == {"secret_key", "database_url", "database_password"}
    assert f":{made[0]['database_password']}@database/" in made[0]["database_url"]
    assert {
        path.stat().st_mode & 0o777
        for path in tmp_path.iterdir()
        if path.name != "database_password"
    } == {0o600}
    composed = {
        name: value.replace("/run/doorward", str(tmp_path))
        for name, value in SERVICES["doorward"]["environment"].items()
    }
    subprocess.run(
        [sys.executable, "-m", "app", "config", "show"],
        cwd=ROOT,
        env={**clean_environment(), **composed},
        check=True,
        timeout=20,
    )


# Steps of the image, run outside a container.


class Image:
    """The Dockerfile executed in a folder that serves as the root of the container."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.owner = int(get_last_argument("USER").partition(":")[0]) if os.geteuid() == 0 else None
        self.base = self._base()
        self.workdir = self.resolve_path(
            next(argument for name, argument in list_stages()[0] if name == "WORKDIR")
        )
        self.workdir.mkdir(parents=True)
        self.env = {
            name: value
            for name, value in clean_environment().items()
            if name not in {"PYTHONPATH", "VIRTUAL_ENV"}
        }
        self.env["PATH"] = f"{self.base / 'bin'}:/usr/bin:/bin"
        if self.base.is_relative_to(root):
            self.env["LD_LIBRARY_PATH"] = str(self.base / "lib")

    def resolve_path(self, path: str) -> Path:
        return self.root / path.lstrip("/")

    def _base(self) -> Path:
        """Prepare the base image: this Python, copied to where another user can read it."""
        base = Path(sys.base_prefix)
        if self.owner is None or all(part.stat().st_mode & 0o001 for part in [base, *base.parents]):
            return base
        skipped = shutil.ignore_patterns("site-packages", "test", "idlelib", "*.a", "__pycache__")
        shutil.copytree(base / "lib", self.root / "base" / "lib", symlinks=True, ignore=skipped)
        shutil.copytree(base / "include", self.root / "base" / "include")  # for the build of Argon2
        (self.root / "base" / "bin").mkdir()
        name = f"python3.{sys.version_info.minor}"
        shutil.copy(base / "bin" / name, self.root / "base" / "bin" / name)
        (self.root / "base" / "bin" / "python3").symlink_to(name)
        return self.root / "base"

    def build(self) -> None:
        """Run the first stage verbatim; the second one uses the same paths."""
        for name, argument in list_stages()[0]:
            if name == "COPY":
                self._copy(*argument.split())
            elif name == "RUN" and not argument.startswith("apt-get"):  # this machine is prepared
                self._run(argument)
        environment = dict(part.split("=", 1) for part in shlex.split(get_last_argument("ENV")))
        environment["PATH"] = (
            environment["PATH"]
            .replace("$PATH", self.env["PATH"])
            .replace("/srv/", f"{self.root}/srv/")
        )
        self.env |= environment
        if self.owner is None:
            subprocess.run(["chmod", "-R", "a-w", self.root], check=True)
        else:
            subprocess.run(["chmod", "-R", "go-w,go+rX", self.root], check=True)

    def _copy(self, source: str, target: str) -> None:
        found, to = ROOT / source, self.workdir / target
        if found.is_dir():
            shutil.copytree(found, to, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(found, to)

    def _run(self, argument: str) -> None:
        command = argument.replace("/srv/", f"{self.root}/srv/")
        result = subprocess.run(
            ["/bin/sh", "-ec", command],
            cwd=self.workdir,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        if result.returncode and re.search(
            r"Could not find a version|No matching distribution|NewConnection|Timeout|ConnectionError|ProtocolError|IncompleteRead|HTTPError",
            result.stderr,
        ):
            pytest.skip("packages cannot be had here")
        assert result.returncode == 0, result.stderr

    def command(self, argument: str, port: int) -> list[str]:
        """Return an exec form with a free port on loopback."""
        own = get_last_argument("EXPOSE")
        return [
            part.replace("0.0.0.0", "127.0.0.1").replace(f":{own}", f":{port}")
            for part in parse_exec_form(argument)
        ]

    def popen(self, command: list[str], **env: str) -> subprocess.Popen[str]:
        path = shutil.which(command[0], path=self.env["PATH"])
        identity = (
            {"user": self.owner, "group": self.owner, "extra_groups": []}
            if self.owner is not None
            else {}
        )
        return subprocess.Popen(
            [path, *command[1:]],
            cwd=self.workdir,
            env={**self.env, **env},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            preexec_fn=terminate_with_parent,
            start_new_session=True,
            **identity,
        )

    def files(self) -> set[Path]:
        return set(self.root.rglob("*"))


@pytest.fixture
def image():
    # Not below pytest's folder, which only its owner may enter.
    root = Path(tempfile.mkdtemp(prefix="doorward-image-"))
    root.chmod(0o755)
    try:
        built = Image(root)
        built.build()
        yield built
    finally:
        subprocess.run(["chmod", "-R", "u+w", root], check=False)
        shutil.rmtree(root, ignore_errors=True)


@pytest.fixture
def data(image):
    """Return the folder that is a volume in the container."""
    folder = Path(tempfile.mkdtemp(prefix="doorward-data-"))
    if image.owner is not None:
        os.chown(folder, image.owner, image.owner)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def test_image_steps_build_and_serve_from_a_read_only_root(image, data):
    """Test everything at once, because each parallel process would have to build the image."""
    assert_compiled_without_installer(image)
    assert_unsafe_settings_refused(image)
    before = image.files()
    assert_serves_and_stops(image, data)
    assert image.files() == before


def assert_compiled_without_installer(image: Image) -> None:
    for folder in ("app", "migrations"):
        for source in (image.workdir / folder).rglob("*.py"):
            assert list((source.parent / "__pycache__").glob(f"{source.stem}.*.pyc")), source
    assert not list(image.resolve_path("/srv/venv/lib").rglob("site-packages/pip"))


def assert_unsafe_settings_refused(image: Image) -> None:
    process = image.popen(image.command(get_last_argument("CMD"), find_free_port()))
    argument, _ = process.communicate(timeout=60)
    assert process.returncode == 2, argument
    assert "DOORWARD_SECRET_KEY: is required" in argument
    assert "DOORWARD_SMTP_URL: is required in production" in argument


def assert_serves_and_stops(image: Image, data: Path) -> None:
    port = find_free_port()
    process = image.popen(
        image.command(get_last_argument("CMD"), port),
        DOORWARD_ENV="development",
        DOORWARD_SECRET_KEY=SECRET,
        DOORWARD_DATABASE_URL=f"sqlite:///{data}/doorward.db",
    )
    try:
        assert is_healthy(image, port, process)
        assert register(port) == 202
        process.send_signal(signal.SIGTERM)
        argument, _ = process.communicate(timeout=60)
        assert process.returncode == 0, argument
    finally:
        process.kill()
    assert not is_healthy(image, port, process)


def register(port: int) -> int:
    body = {"username": "ann", "email": "ann@example.org", "name": "Ann", "password": PASSWORD}
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/v1/register",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.status


def is_healthy(image: Image, port: int, process: subprocess.Popen[str]) -> bool:
    """Return whether the health check of the image succeeds."""
    end = time.monotonic() + 60
    while True:
        probe = image.popen(image.command(get_last_argument("HEALTHCHECK"), port))
        probe.communicate(timeout=20)
        if probe.returncode == 0:
            return True
        if process.poll() is not None or time.monotonic() > end:
            return False
        time.sleep(0.1)
