"""Where a session is kept beside this process: in the store, or in a token file. One home each, since a refresh token is used by one."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from doorward import private_files
from doorward.errors import StoreError
from doorward.held import Held
from doorward.origin import Origin, origin_of
from doorward.secret import Secret
from doorward.store import InstanceAuthSessions, Place

LINES = 3


class Home(Protocol):
    """A place where other processes find the same session."""

    def exclusive(self) -> contextlib.AbstractContextManager[None]:
        """One process at a time refreshes."""

    def read(self) -> Held | None:
        """What is kept there now."""

    def write(self, held: Held) -> None:
        """Keep this one from now on."""

    def remove(self, held: Held) -> None:
        """Forget it, unless another session is there by now."""


@dataclass(frozen=True, slots=True)
class InStore:
    """In the file of all sessions."""

    place: Place
    origin: Origin
    user: str

    def exclusive(self) -> contextlib.AbstractContextManager[None]:
        return self.place.held(f"{self.origin} {self.user}")

    def read(self) -> Held | None:
        found = InstanceAuthSessions.load(self.place).find(str(self.origin), self.user)
        return Held.of_kept(found) if found else None

    def write(self, held: Held) -> None:
        sessions = InstanceAuthSessions.load(self.place)
        sessions.insert(str(self.origin), self.user, held.kept())
        sessions.save()

    def remove(self, held: Held) -> None:
        sessions = InstanceAuthSessions.load(self.place)
        found = sessions.find(str(self.origin), self.user)
        if found is not None and found.session_id == held.session_id:
            sessions.remove(str(self.origin), self.user)
            sessions.save()


@dataclass(frozen=True, slots=True)
class InFile:
    """In a file of its own: the base URL, the token, and for a session its refresh token, a line each."""

    path: Path
    origin: Origin

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        with private_files.locked(self.path.with_name(f"{self.path.name}.lock")):
            yield

    def read(self) -> Held | None:
        found = read_token_file(
            self.path, allow_http=self.origin.scheme == "http"
        )  # which was permitted when the session began
        return found[1] if found and found[0] == self.origin else None

    def write(self, held: Held) -> None:
        lines = [
            str(self.origin),
            held.token.reveal(),
            *([held.refresh_token.reveal()] if held.refresh_token else []),
        ]
        private_files.sweep(self.path)
        private_files.write(self.path, Secret("\n".join([*lines, ""])))

    def remove(self, held: Held) -> None:
        found = self.read()
        if found is not None and found.token == held.token:
            self.path.unlink(missing_ok=True)


def token_file(path: Path, origin: Origin) -> InFile:
    """The home at that path; its folder is made if need be. Raises StoreError."""
    where = private_files.real_path(path.expanduser())
    if not where.parent.exists():
        private_files.prepare_folder(where.parent, ours=True)
    private_files.need_safe_folder(where.parent)
    return InFile(where, origin)


def read_token_file(path: Path, *, allow_http: bool = False) -> tuple[Origin, Held] | None:
    """Whose token the file holds, and the token; None where there is no file. Raises StoreError or InvalidInput."""
    content = private_files.read(private_files.real_path(path.expanduser()))
    if content is None:
        return None
    count = len(content.reveal().split())
    if not 2 <= count <= LINES or not all(
        Secret(line).sendable for line in content.reveal().split()
    ):
        raise StoreError(
            f"{path} is no token file: its first line is the address of a service, its second the token."
        )
    origin = origin_of(content.reveal().split()[0], allow_http=allow_http)
    refresh = Secret(content.reveal().split()[2]) if count == LINES else None
    return origin, Held.of_token(Secret(content.reveal().split()[1]), refresh)
