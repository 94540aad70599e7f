"""Files that only their owner can read, replaced atomically.

A file that others can read is repaired with a warning. One that others can write or own is
refused.
"""

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
LOCK_TIMEOUT_SECONDS = 60.0  # a refresh, which holds the lock, needs one request
IS_POSIX = os.name == "posix"
READ_FLAGS = (
    os.O_RDONLY
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_CLOEXEC", 0)
)
CREATE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0)


def resolve_path(path: Path) -> Path:
    """Resolve symbolic links, so that each file has one lock.

    Raises StoreError if the link belongs to another user.
    """
    try:
        info = path.lstat()
    except FileNotFoundError:
        return Path(os.path.realpath(path))
    except OSError as error:
        raise _build_error(path, error) from None
    if stat.S_ISLNK(info.st_mode):
        _require_owner(path, info)
    return Path(os.path.realpath(path))


def prepare_folder(folder: Path, *, dedicated: bool) -> None:
    """Create the folder for its owner alone, or check it.

    A `dedicated` folder, which holds only our files, is closed to other users with a StoreWarning.
    Raises StoreError if others can write to any other folder.
    """
    try:
        _make_folder(folder)
        info = folder.stat()
    except OSError as error:
        raise _build_error(folder, error) from None
    if not IS_POSIX:
        return
    _require_owner(folder, info)
    mode = stat.S_IMODE(info.st_mode)
    if dedicated and mode & OTHERS_MASK:
        folder.chmod(FOLDER_MODE)
        warnings.warn(
            f"other users could read the folder {folder}; its permissions are now 700",
            StoreWarning,
            stacklevel=3,
        )
    elif mode & OTHERS_WRITE_MASK:
        raise StoreError(
            f"Other users can write to {folder}."
            f" Use a folder of your own, or run: chmod 700 {folder}"
        )


def _make_folder(folder: Path) -> None:
    """Create the folder and its missing parents with mode 700, whatever the umask.

    The mode follows the XDG Base Directory Specification.
    """
    if folder.exists():
        return
    _make_folder(folder.parent)
    with suppress(FileExistsError):  # another process created it
        folder.mkdir(mode=FOLDER_MODE)


def require_safe_folder(folder: Path) -> None:
    """Raise StoreError if any user could replace a file in the folder.

    The sticky bit, as on /tmp, prevents that.
    """
    mode = folder.stat().st_mode
    if IS_POSIX and mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
        raise StoreError(f"Every user can write to {folder}. Use another folder.")


def read(path: Path) -> Secret | None:
    """Return the content of the file, None if there is no file.

    A file that others can read is repaired with a StoreWarning. Raises StoreError for a file of
    another user.
    """
    try:
        descriptor = os.open(path, READ_FLAGS)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _build_error(path, error) from None
    info = os.fstat(descriptor)
    if not stat.S_ISREG(info.st_mode):
        os.close(descriptor)
        raise StoreError(f"{path} is not a regular file. Remove it, or use another path.")
    with os.fdopen(descriptor, "rb") as file:
        if IS_POSIX:
            _require_owner(path, info)
            if stat.S_IMODE(info.st_mode) & OTHERS_MASK:
                os.fchmod(file.fileno(), FILE_MODE)
                warnings.warn(
                    f"other users could read {path}; its permissions are now 600. If they may have"
                    " read it, log out of all sessions",
                    StoreWarning,
                    stacklevel=4,
                )
        if info.st_size > MAX_FILE_BYTES:
            raise StoreError(f"{path} is too large. Use another path.")
        return Secret(file.read(MAX_FILE_BYTES).decode(errors="replace"))


def write(path: Path, content: Secret) -> None:
    """Replace the file atomically, with mode 600 from the first byte. Raises StoreError."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        descriptor = os.open(temporary, CREATE_FLAGS, FILE_MODE)
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
    """Remove temporary files of writers that were killed.

    Call it only while you hold the lock, when no other process is writing.
    """
    for leftover in path.parent.glob(f".{path.name}.*.tmp"):
        with suppress(OSError):
            leftover.unlink()


@contextmanager
def hold_lock(path: Path) -> Iterator[None]:
    """Hold a lock between processes. Raises StoreError after waiting for a minute."""
    _restrict_mode(path)
    lock = FileLock(path, timeout=LOCK_TIMEOUT_SECONDS, mode=FILE_MODE)
    try:
        lock.acquire(poll_interval=0.01)
    except Timeout:
        raise StoreError(
            f"Another process has locked {path} for {LOCK_TIMEOUT_SECONDS:.0f} s."
            " Stop it, or try again."
        ) from None
    except OSError as error:
        raise _build_error(path, error) from None
    try:
        yield
    finally:
        lock.release()


def _restrict_mode(path: Path) -> None:
    """Close an existing lock file to other users. Another program may have created it."""
    with suppress(OSError):  # a file that is missing or not ours is reported when it is opened
        info = path.lstat()
        if IS_POSIX and stat.S_ISREG(info.st_mode) and stat.S_IMODE(info.st_mode) & OTHERS_MASK:
            path.chmod(FILE_MODE)


def _sync_folder(folder: Path) -> None:
    """Make the renaming durable, on systems that can sync folders."""
    if not IS_POSIX:
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _require_owner(path: Path, info: os.stat_result) -> None:
    if IS_POSIX and info.st_uid != os.geteuid():
        raise StoreError(
            f"{path} belongs to another user."
            " Set DOORWARD_STORE to a file of your own, or run as that user."
        )


def _build_error(path: Path, error: OSError) -> StoreError:
    reason = error.strerror or type(error).__name__
    return StoreError(f"Cannot use {path} ({reason}). Fix this, or use another path.")
