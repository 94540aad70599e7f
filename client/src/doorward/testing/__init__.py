"""A pytest plug-in: a Doorward service for one's own tests. It comes with `pip install 'doorward[testing]'`.

def test_orders_are_for_editors(doorward_service):
    ann = doorward_service.account(roles=["editor"])
    token = doorward_service.token(ann)

Nothing is started before a test asks for one of the fixtures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, TypeVar

import pytest

if TYPE_CHECKING:
    from doorward.testing.process import NotForTests as NotForTests
    from doorward.testing.process import ServerProcess
    from doorward.testing.service import DoorwardTestService as DoorwardTestService
    from doorward.testing.service import Mail as Mail
    from doorward.testing.service import TestAccount as TestAccount

_T = TypeVar("_T")

__all__ = ["DoorwardTestService", "Mail", "NotForTests", "TestAccount"]

_HOMES = {
    "DoorwardTestService": "service",
    "Mail": "service",
    "NotForTests": "process",
    "TestAccount": "service",
}
_RUNNING: pytest.StashKey[list[DoorwardTestService]] = pytest.StashKey()


def __getattr__(name: str) -> object:
    """Whoever has the plug-in without using it does not wait for what it needs."""
    if name not in _HOMES:
        raise AttributeError(f"module 'doorward.testing' has no attribute {name!r}")
    found: object = getattr(import_module(f"doorward.testing.{_HOMES[name]}"), name)
    return found


@pytest.fixture(scope="session")
def doorward_settings() -> Mapping[str, object]:
    """Settings of the service, to be overridden: without DOORWARD_, in small letters, e.g. {"roles": {"editor": ["orders:write"]}}."""
    return {}


@pytest.fixture(scope="session")
def _doorward_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    from doorward.testing.process import ServerProcess

    process = _or_fail(lambda: ServerProcess(tmp_path_factory.mktemp("doorward")))
    yield process
    process.close()


@pytest.fixture(scope="session")
def doorward_service(
    _doorward_process: ServerProcess,
    tmp_path_factory: pytest.TempPathFactory,
    doorward_settings: Mapping[str, object],
    pytestconfig: pytest.Config,
) -> Iterator[DoorwardTestService]:
    """A Doorward service for all tests. Between two of them its clock is set back and its mailbox emptied; accounts stay."""
    service = _opened(_doorward_process, tmp_path_factory, doorward_settings)
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
    """A Doorward service for one test, without anybody in it."""
    service = _opened(_doorward_process, tmp_path_factory, doorward_settings)
    yield service
    service.close()


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item) -> None:
    """The next test begins at the present time."""
    for service in item.config.stash.get(_RUNNING, []):
        service.calm()


def _opened(
    process: ServerProcess, folders: pytest.TempPathFactory, settings: Mapping[str, object]
) -> DoorwardTestService:
    from doorward.testing.service import DoorwardTestService

    return _or_fail(lambda: DoorwardTestService(process, folders.mktemp("doorward"), settings))


def _or_fail(start: Callable[[], _T]) -> _T:
    """What cannot be is said once, without our own lines."""
    from doorward.testing.process import NotForTests

    try:
        return start()
    except NotForTests as error:
        reason = str(error)
    pytest.fail(reason, pytrace=False)
