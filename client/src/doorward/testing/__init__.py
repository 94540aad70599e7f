"""A pytest plug-in that runs a Doorward service for your tests (`doorward[testing]`).

def test_orders_are_for_editors(doorward_service):
    ann = doorward_service.account(roles=["editor"])
    token = doorward_service.token(ann)

Nothing is started before a test uses one of the fixtures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, TypeVar

import pytest

if TYPE_CHECKING:
    from doorward.testing.process import DoorwardTestError as DoorwardTestError
    from doorward.testing.process import ServerProcess
    from doorward.testing.service import DoorwardTestService as DoorwardTestService
    from doorward.testing.service import Mail as Mail
    from doorward.testing.service import TestAccount as TestAccount

_T = TypeVar("_T")

__all__ = ["DoorwardTestError", "DoorwardTestService", "Mail", "TestAccount"]

# Imported on first use, so that tests that do not use the plug-in are not slowed down.
_MODULES = {
    "DoorwardTestError": "process",
    "DoorwardTestService": "service",
    "Mail": "service",
    "TestAccount": "service",
}
_RUNNING: pytest.StashKey[list[DoorwardTestService]] = pytest.StashKey()


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module 'doorward.testing' has no attribute {name!r}")
    value: object = getattr(import_module(f"doorward.testing.{_MODULES[name]}"), name)
    return value


@pytest.fixture(scope="session")
def doorward_settings() -> Mapping[str, object]:
    """Override to set settings of the service, in lower case and without DOORWARD_.

    For example {"roles": {"editor": ["orders:write"]}}.
    """
    return {}


@pytest.fixture(scope="session")
def _doorward_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    from doorward.testing.process import ServerProcess

    process = _start_or_fail(lambda: ServerProcess(tmp_path_factory.mktemp("doorward")))
    yield process
    process.close()


@pytest.fixture(scope="session")
def doorward_service(
    _doorward_process: ServerProcess,
    tmp_path_factory: pytest.TempPathFactory,
    doorward_settings: Mapping[str, object],
    pytestconfig: pytest.Config,
) -> Iterator[DoorwardTestService]:
    """A Doorward service for all tests. After each test, everything but the accounts is reset."""
    service = _open_service(_doorward_process, tmp_path_factory, doorward_settings)
    running = pytestconfig.stash.setdefault(_RUNNING, [])
    running.append(service)
    yield service
    running.remove(service)
    service.close()


@pytest.fixture
def fresh_doorward_service(
    _doorward_process: ServerProcess,
    tmp_path_factory: pytest.TempPathFactory,
    doorward_settings: Mapping[str, object],
) -> Iterator[DoorwardTestService]:
    """A Doorward service without accounts, for one test."""
    service = _open_service(_doorward_process, tmp_path_factory, doorward_settings)
    yield service
    service.close()


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item) -> None:
    """Reset the running services after each test."""
    for service in item.config.stash.get(_RUNNING, []):
        service.reset()


def _open_service(
    process: ServerProcess, folders: pytest.TempPathFactory, settings: Mapping[str, object]
) -> DoorwardTestService:
    from doorward.testing.service import DoorwardTestService

    return _start_or_fail(
        lambda: DoorwardTestService(process, folders.mktemp("doorward"), settings)
    )


def _start_or_fail(start: Callable[[], _T]) -> _T:
    """Start, or fail the test with the message of DoorwardTestError and no traceback."""
    from doorward.testing.process import DoorwardTestError

    try:
        return start()
    except DoorwardTestError as error:
        reason = str(error)
    pytest.fail(reason, pytrace=False)
