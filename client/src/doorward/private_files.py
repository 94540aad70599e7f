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

FILE, FOLDER = 0o600, 0o700
OTHERS = 0o077
OTHERS_WRITE = 0o022
LARGEST = 16 * 1024 * 1024
LOCKED_AT_MOST = 60.0  # seconds; a refresh takes one request
POSIX = os.name == "posix"


def real_path(path: Path) -> Path:
    """Where the path leads after its links, so that one file has one lock. Raises StoreError for a link of somebody else."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return Path(os.path.realpath(path))
    except OSError as error:
        raise _cannot(path, error) from None
    if stat.S_ISLNK(found.st_mode):
        _need_owner(path, found)
    return Path(os.path.realpath(path))


def prepare_folder(folder: Path, *, ours: bool) -> None:
    """Make the folder, for its owner alone. One that others may write to is refused; one that is all ours is closed to readers too."""
    try:
        _make(folder)
        found = folder.stat()
    except OSError as error:
        raise _cannot(folder, error) from None
    if not POSIX:
        return
    _need_owner(folder, found)
    mode = stat.S_IMODE(found.st_mode)
    if ours and mode & OTHERS:
        folder.chmod(FOLDER)
        warnings.warn(
            f"others could look into {folder}: it is closed to them now", StoreWarning, stacklevel=3
        )
    elif mode & OTHERS_WRITE:
        raise StoreError(
            f"Others may write to {folder} and could put files of theirs there: take a folder of your own, or chmod 700 it."
        )


def _make(folder: Path) -> None:
    """With what is missing above it, each for its owner alone whatever the umask is (XDG Base Directory Specification)."""
    if folder.exists():
        return
    _make(folder.parent)
    with suppress(FileExistsError):  # somebody was quicker
        folder.mkdir(mode=FOLDER)


def need_safe_folder(folder: Path) -> None:
    """Refuse a folder in which anybody could put another file in the place of ours (not so with the sticky bit, as /tmp has it)."""
    mode = folder.stat().st_mode
    if POSIX and mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
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
        raise _cannot(path, error) from None
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        os.close(descriptor)
        raise StoreError(f"{path} is no file: remove it, or name another one.")
    with os.fdopen(descriptor, "rb") as file:
        if POSIX:
            _need_owner(path, found)
            if stat.S_IMODE(found.st_mode) & OTHERS:
                os.fchmod(file.fileno(), FILE)
                warnings.warn(
                    f"others could read {path}: it is closed to them now; if they may have, log out all sessions",
                    StoreWarning,
                    stacklevel=4,
                )
        if found.st_size > LARGEST:
            raise StoreError(f"{path} is far too large for what it should hold: name another file.")
        return Secret(file.read(LARGEST).decode(errors="replace"))


def write(path: Path, content: Secret) -> None:
    """Replace the file as a whole. It is closed to others from the first byte, whatever was there before. Raises StoreError."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        descriptor = os.open(
            temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), FILE
        )
        with os.fdopen(descriptor, "wb") as file:
            if POSIX:
                os.fchmod(file.fileno(), FILE)
            file.write(content.reveal().encode())
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync(path.parent)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        raise _cannot(path, error) from None


def sweep(path: Path) -> None:
    """Remove what writers that were killed left beside the file. Only while the lock is held: nobody else is writing then."""
    for left in path.parent.glob(f".{path.name}.*.tmp"):
        with suppress(OSError):
            left.unlink()


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock across processes, at most a minute waiting for it. Raises StoreError."""
    _close_to_others(path)
    lock = FileLock(path, timeout=LOCKED_AT_MOST, mode=FILE)
    try:
        lock.acquire(poll_interval=0.01)
    except Timeout:
        raise StoreError(
            f"Another process has held {path} for {LOCKED_AT_MOST:.0f} s: end it, or try again."
        ) from None
    except OSError as error:
        raise _cannot(path, error) from None
    try:
        yield
    finally:
        lock.release()


def _close_to_others(path: Path) -> None:
    """What stands there already may have been made by something less careful."""
    with suppress(OSError):  # it is not there, or somebody else's, which opening it will say
        found = path.lstat()
        if POSIX and stat.S_ISREG(found.st_mode) and stat.S_IMODE(found.st_mode) & OTHERS:
            path.chmod(FILE)


def _sync(folder: Path) -> None:
    """Make the new name last, where folders can be synced."""
    if not POSIX:
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _need_owner(path: Path, found: os.stat_result) -> None:
    if POSIX and found.st_uid != os.geteuid():
        raise StoreError(
            f"{path} belongs to another user: name a file of your own (DOORWARD_STORE), or run as its owner."
        )


def _cannot(path: Path, error: OSError) -> StoreError:
    return StoreError(
        f"{path} cannot be used ({error.strerror or type(error).__name__}): mend that, or name another file."
    )
