"""Stores a session outside this process: as an entry of the session store, or in a token file.

A session has one storage, because each refresh token can be used only once.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from doorward.errors import StoreError
from doorward.origin import Origin, parse_origin
from doorward.secret import Secret
from doorward.sessions.credential import Credential
from doorward.store import private_files
from doorward.store.location import StoreLocation
from doorward.store.store import InstanceAuthSessions

MIN_LINES, MAX_LINES = 2, 3  # of a token file


class SessionStorage(Protocol):
    """A place where other processes find the same session."""

    def hold_lock(self) -> contextlib.AbstractContextManager[None]:
        """Hold the lock under which one process at a time refreshes the session."""

    def read(self) -> Credential | None:
        """Return the stored credential."""

    def write(self, credential: Credential) -> None:
        """Replace the stored credential."""

    def remove(self, credential: Credential) -> None:
        """Remove the credential, unless another session has been stored since."""


@dataclass(frozen=True, slots=True)
class StoreEntry:
    """The entry of one service and user in the session store."""

    location: StoreLocation
    origin: Origin
    user: str

    def hold_lock(self) -> contextlib.AbstractContextManager[None]:
        return self.location.hold_lock(f"{self.origin} {self.user}")

    def read(self) -> Credential | None:
        stored = InstanceAuthSessions.load(self.location).find(str(self.origin), self.user)
        return Credential.from_stored(stored) if stored else None

    def write(self, credential: Credential) -> None:
        sessions = InstanceAuthSessions.load(self.location)
        sessions.insert(str(self.origin), self.user, credential.to_stored())
        sessions.save()

    def remove(self, credential: Credential) -> None:
        sessions = InstanceAuthSessions.load(self.location)
        stored = sessions.find(str(self.origin), self.user)
        if stored is not None and stored.session_id == credential.session_id:
            sessions.remove(str(self.origin), self.user)
            sessions.save()


@dataclass(frozen=True, slots=True)
class TokenFile:
    """A file with the service URL, the token, and the refresh token if any, one per line."""

    path: Path
    origin: Origin

    @contextmanager
    def hold_lock(self) -> Iterator[None]:
        with private_files.hold_lock(self.path.with_name(f"{self.path.name}.lock")):
            yield

    def read(self) -> Credential | None:
        # Plain HTTP was permitted when the session began.
        found = read_token_file(self.path, allow_http=self.origin.scheme == "http")
        return found[1] if found and found[0] == self.origin else None

    def write(self, credential: Credential) -> None:
        lines = [
            str(self.origin),
            credential.token.reveal(),
            *([credential.refresh_token.reveal()] if credential.refresh_token else []),
        ]
        private_files.remove_leftovers(self.path)
        private_files.write(self.path, Secret("\n".join([*lines, ""])))

    def remove(self, credential: Credential) -> None:
        stored = self.read()
        if stored is not None and stored.token == credential.token:
            self.path.unlink(missing_ok=True)


def prepare_token_file(path: Path, origin: Origin) -> TokenFile:
    """Return the token file at the path, creating its folder if needed. Raises StoreError."""
    resolved = private_files.resolve_path(path.expanduser())
    if not resolved.parent.exists():
        private_files.prepare_folder(resolved.parent, dedicated=True)
    private_files.require_safe_folder(resolved.parent)
    return TokenFile(resolved, origin)


def read_token_file(path: Path, *, allow_http: bool = False) -> tuple[Origin, Credential] | None:
    """Return the service and the credential in the file, None if there is no file.

    Raises StoreError or InvalidInput.
    """
    content = private_files.read(private_files.resolve_path(path.expanduser()))
    if content is None:
        return None
    count = len(content.reveal().split())
    if not MIN_LINES <= count <= MAX_LINES or not all(
        Secret(line).is_header_safe for line in content.reveal().split()
    ):
        raise StoreError(
            f"{path} is not a token file."
            " The first line must be the URL of a service, the second line the token."
        )
    origin = parse_origin(content.reveal().split()[0], allow_http=allow_http)
    refresh_token = Secret(content.reveal().split()[2]) if count == MAX_LINES else None
    return origin, Credential.from_token(Secret(content.reveal().split()[1]), refresh_token)
