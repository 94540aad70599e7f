"""Where a session is kept beside this process: in the store, or in a token file. One home each, since a refresh token is used by one."""

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
from doorward.store.store import InstanceAuthSessions, StoreLocation

MAX_LINES = 3


class SessionStorage(Protocol):
    """A place where other processes find the same session."""

    def hold_lock(self) -> contextlib.AbstractContextManager[None]:
        """One process at a time refreshes."""

    def read(self) -> Credential | None:
        """What is kept there now."""

    def write(self, credential: Credential) -> None:
        """Keep this one from now on."""

    def remove(self, credential: Credential) -> None:
        """Forget it, unless another session is there by now."""


@dataclass(frozen=True, slots=True)
class StoreEntry:
    """In the file of all sessions."""

    location: StoreLocation
    origin: Origin
    user: str

    def hold_lock(self) -> contextlib.AbstractContextManager[None]:
        return self.location.held(f"{self.origin} {self.user}")

    def read(self) -> Credential | None:
        found = InstanceAuthSessions.load(self.location).find(str(self.origin), self.user)
        return Credential.from_stored(found) if found else None

    def write(self, credential: Credential) -> None:
        sessions = InstanceAuthSessions.load(self.location)
        sessions.insert(str(self.origin), self.user, credential.to_stored())
        sessions.save()

    def remove(self, credential: Credential) -> None:
        sessions = InstanceAuthSessions.load(self.location)
        found = sessions.find(str(self.origin), self.user)
        if found is not None and found.session_id == credential.session_id:
            sessions.remove(str(self.origin), self.user)
            sessions.save()


@dataclass(frozen=True, slots=True)
class TokenFile:
    """In a file of its own: the base URL, the token, and for a session its refresh token, a line each."""

    path: Path
    origin: Origin

    @contextmanager
    def hold_lock(self) -> Iterator[None]:
        with private_files.hold_lock(self.path.with_name(f"{self.path.name}.lock")):
            yield

    def read(self) -> Credential | None:
        found = read_token_file(
            self.path, allow_http=self.origin.scheme == "http"
        )  # which was permitted when the session began
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
        found = self.read()
        if found is not None and found.token == credential.token:
            self.path.unlink(missing_ok=True)


def prepare_token_file(path: Path, origin: Origin) -> TokenFile:
    """The home at that path; its folder is made if need be. Raises StoreError."""
    where = private_files.resolve_path(path.expanduser())
    if not where.parent.exists():
        private_files.prepare_folder(where.parent, dedicated=True)
    private_files.require_safe_folder(where.parent)
    return TokenFile(where, origin)


def read_token_file(path: Path, *, allow_http: bool = False) -> tuple[Origin, Credential] | None:
    """Whose token the file holds, and the token; None where there is no file. Raises StoreError or InvalidInput."""
    content = private_files.read(private_files.resolve_path(path.expanduser()))
    if content is None:
        return None
    count = len(content.reveal().split())
    if not 2 <= count <= MAX_LINES or not all(
        Secret(line).is_header_safe for line in content.reveal().split()
    ):
        raise StoreError(
            f"{path} is no token file: its first line is the address of a service, its second the token."
        )
    origin = parse_origin(content.reveal().split()[0], allow_http=allow_http)
    refresh = Secret(content.reveal().split()[2]) if count == MAX_LINES else None
    return origin, Credential.from_token(Secret(content.reveal().split()[1]), refresh)
