"""The file of a session store, and whether its secrets are in the keyring."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from doorward import environment
from doorward.errors import StoreError
from doorward.store import private_files

FILE_NAME = "sessions.json"
KEYRING = "keyring"


@dataclass(frozen=True, slots=True)
class StoreLocation:
    """The path of a store. With `uses_keyring`, the secrets are in the system keyring."""

    path: Path
    uses_keyring: bool = False

    @property
    def has_own_folder(self) -> bool:
        """Whether the folder holds nothing but the store."""
        try:
            return all(
                entry.name.removeprefix(".").startswith(self.path.name)
                for entry in self.path.parent.iterdir()
            )
        except OSError:
            return True

    @contextmanager
    def hold_lock(self, name: str = "") -> Iterator[None]:
        """Hold the lock of the store between processes, or the lock of the given name."""
        private_files.prepare_folder(self.path.parent, dedicated=self.has_own_folder)
        suffix = f"{hashlib.sha256(name.encode()).hexdigest()[:16]}." if name else ""
        with private_files.hold_lock(self.path.with_name(f"{self.path.name}.{suffix}lock")):
            yield


def get_store_path() -> Path:
    """Return the path of the store: DOORWARD_STORE, else a file in the user's config folder."""
    return resolve_location(None).path


def resolve_location(location: str | os.PathLike[str] | StoreLocation | None) -> StoreLocation:
    """Resolve a path, or DOORWARD_STORE for None.

    `keyring`, or `keyring:` before a path, keeps the secrets in the system keyring. Raises
    StoreError.
    """
    if isinstance(location, StoreLocation):
        return location
    text = (
        os.fspath(location) if location is not None else environment.get_variable("DOORWARD_STORE")
    )
    uses_keyring = text == KEYRING or text.startswith(f"{KEYRING}:")
    text = text.removeprefix(KEYRING).removeprefix(":") if uses_keyring else text
    try:
        path = Path(text or _get_default_path()).expanduser()
        path = path / FILE_NAME if path.is_dir() else path
    except (OSError, RuntimeError):  # no permission, or no home directory
        raise StoreError(
            f"Cannot find {text or 'the config folder'}. Set DOORWARD_STORE to a file of your own."
        ) from None
    return StoreLocation(private_files.resolve_path(path), uses_keyring)


def _get_default_path() -> str:
    from platformdirs import user_config_dir  # imported late, because it is rarely needed

    return f"{user_config_dir('doorward', appauthor=False)}/{FILE_NAME}"
