"""The two codes of a login from another device, and the words that let people see that two screens belong together."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from app.adapters.encryption import compute_code_digests
from app.authentication.passwords.word_lists import passphrase_words
from app.device_login.models import DEVICE_CODE_PREFIX, DeviceLogin, find_device_login
from app.opaque_tokens import has_digest, normalize_code, parse_row_id

if TYPE_CHECKING:
    from sqlalchemy.orm import Session as Db

    from app.settings import Settings

USER_CODE_CONTEXT = "user code"
PHRASE_WORD_COUNT = 3  # 38 bits: nobody can make a second request that happens to have the same


def compute_user_code_digests(settings: Settings, typed: str) -> list[str]:
    """What may be kept of a user code, the newest key first. Case, dashes, spaces and dots do not count."""
    return compute_code_digests(settings.secret_key, USER_CODE_CONTEXT, normalize_code(typed))


def generate_check_phrase() -> str:
    return " ".join(secrets.choice(passphrase_words()) for _ in range(PHRASE_WORD_COUNT))


def find_by_device_code(db: Db, device_code: str) -> DeviceLogin | None:
    """The record that a device code is of. Junk needs no read."""
    row_id = parse_row_id(DEVICE_CODE_PREFIX, "ses", device_code)
    row = find_device_login(db, row_id) if row_id else None
    return row if row is not None and has_digest(device_code, row.device_digest) else None
