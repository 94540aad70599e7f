"""Sessions to put into a store, and a disk that is full."""

from __future__ import annotations

import errno
import os
from datetime import UTC, datetime, timedelta

from doorward import AuthSession, Secret

URL = "https://auth.example.com"
LATER = datetime.now(UTC) + timedelta(hours=1)


def build_session(name: str, *, minutes: float = 60, **more) -> AuthSession:
    return AuthSession(
        Secret(f"token-of-{name}"),
        datetime.now(UTC) + timedelta(minutes=minutes),
        username=name,
        **more,
    )


def raise_disk_full(_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
