"""Files that only their owner may read: refused or mended where others can, written whole or not at all."""

from __future__ import annotations

import os
import secrets
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from doorward.errors import StoreError, StoreWarning
from doorward.secret import Secret

FILE_MODE, FOLDER_MODE = 0o600, 0o700
OTHERS_MASK = 0o077
OTHERS_WRITE_MASK = 0o022
MAX_FILE_BYTES = 16 * 1024 * 1024
LOCK_TIMEOUT_SECONDS = 60.0  # seconds; a refresh takes one request
IS_POSIX = os.name == "posix"


def resolve_path(path: Path) -> Path:
    """Where the path leads after its links, so that one file has one lock. Raises StoreError for a link of somebody else."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return Path(os.path.realpath(path))
    except OSError as error:
        raise _build_error(path, error) from None
    if stat.S_ISLNK(found.st_mode):
        _require_owner(path, found)
    return Path(os.path.realpath(path))


def prepare_folder(folder: Path, *, dedicated: bool) -> None:
    """Make the folder, for its owner alone. One that others may write to is refused; one that is all ours is closed to readers too."""
    try:
        _make_folder(folder)
        found = folder.stat()
    except OSError as error:
        raise _build_error(folder, error) from None
    if not IS_POSIX:
        return
    _require_owner(folder, found)
    mode = stat.S_IMODE(found.st_mode)
    if dedicated and mode & OTHERS_MASK:
        folder.chmod(FOLDER_MODE)
        warnings.warn(
            f"others could look into {folder}: it is closed to them now", StoreWarning, stacklevel=3
        )
    elif mode & OTHERS_WRITE_MASK:
        raise StoreError(
            f"Others may write to {folder} and could put files of theirs there: take a folder of your own, or chmod 700 it."
        )


def _make_folder(folder: Path) -> None:
    """With what is missing above it, each for its owner alone whatever the umask is (XDG Base Directory Specification)."""
    if folder.exists():
        return
    _make_folder(folder.parent)
    with suppress(FileExistsError):  # somebody was quicker
        folder.mkdir(mode=FOLDER_MODE)


def require_safe_folder(folder: Path) -> None:
    """Refuse a folder in which anybody could put another file in the place of ours (not so with the sticky bit, as /tmp has it)."""
    mode = folder.stat().st_mode
    if IS_POSIX and mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
        raise StoreError(
            f"Everybody may write to {folder} and could put a file of theirs there: take another folder."
        )


def read(path: Path) -> Secret | None:
    """The content, None where there is no file. Mends one that others can read, with a warning; raises StoreError for somebody else's."""
    try:
        descriptor = os.open(
            path,
            os.O_RDONLY
            | getattr(os, "O_NOFOLLOW", 0)
            | getattr(os, "O_NONBLOCK", 0)
            | getattr(os, "O_CLOEXEC", 0),
        )
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _build_error(path, error) from None
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        os.close(descriptor)
        raise StoreError(f"{path} is no file: remove it, or name another one.")
    with os.fdopen(descriptor, "rb") as file:
        if IS_POSIX:
            _require_owner(path, found)
            if stat.S_IMODE(found.st_mode) & OTHERS_MASK:
                os.fchmod(file.fileno(), FILE_MODE)
                warnings.warn(
                    f"others could read {path}: it is closed to them now; if they may have, log out all sessions",
                    StoreWarning,
                    stacklevel=4,
                )
        if found.st_size > MAX_FILE_BYTES:
            raise StoreError(f"{path} is far too large for what it should hold: name another file.")
        return Secret(file.read(MAX_FILE_BYTES).decode(errors="replace"))


def write(path: Path, content: Secret) -> None:
    """Replace the file as a whole. It is closed to others from the first byte, whatever was there before. Raises StoreError."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        descriptor = os.open(
            temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), FILE_MODE
        )
        with os.fdopen(descriptor, "wb") as file:
            if IS_POSIX:
                os.fchmod(file.fileno(), FILE_MODE)
            file.write(content.reveal().encode())
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        raise _build_error(path, error) from None


def remove_leftovers(path: Path) -> None:
    """Remove what writers that were killed left beside the file. Only while the lock is held: nobody else is writing then."""
    for left in path.parent.glob(f".{path.name}.*.tmp"):
        with suppress(OSError):
            left.unlink()


@contextmanager
def hold_lock(path: Path) -> Iterator[None]:
    """Hold the lock across processes, at most a minute waiting for it. Raises StoreError."""
    _restrict_mode(path)
    lock = FileLock(path, timeout=LOCK_TIMEOUT_SECONDS, mode=FILE_MODE)
    try:
        lock.acquire(poll_interval=0.01)
    except Timeout:
        raise StoreError(
            f"Another process has held {path} for {LOCK_TIMEOUT_SECONDS:.0f} s: end it, or try again."
        ) from None
    except OSError as error:
        raise _build_error(path, error) from None
    try:
        yield
    finally:
        lock.release()


def _restrict_mode(path: Path) -> None:
    """What stands there already may have been made by something less careful."""
    with suppress(OSError):  # it is not there, or somebody else's, which opening it will say
        found = path.lstat()
        if IS_POSIX and stat.S_ISREG(found.st_mode) and stat.S_IMODE(found.st_mode) & OTHERS_MASK:
            path.chmod(FILE_MODE)


def _sync_folder(folder: Path) -> None:
    """Make the new name last, where folders can be synced."""
    if not IS_POSIX:
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _require_owner(path: Path, found: os.stat_result) -> None:
    if IS_POSIX and found.st_uid != os.geteuid():
        raise StoreError(
            f"{path} belongs to another user: name a file of your own (DOORWARD_STORE), or run as its owner."
        )


def _build_error(path: Path, error: OSError) -> StoreError:
    return StoreError(
        f"{path} cannot be used ({error.strerror or type(error).__name__}): mend that, or name another file."
    )
