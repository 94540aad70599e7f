"""The codes of a device login request, and the phrase that both screens show."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from app.adapters.encryption import compute_code_digests
from app.authentication.passwords.word_lists import load_passphrase_words
from app.device_login.models import DEVICE_CODE_PREFIX, DeviceLogin, find_device_login
from app.opaque_tokens import has_digest, normalize_code, parse_row_id

if TYPE_CHECKING:
    from sqlalchemy.orm import Session as Db

    from app.settings import Settings

USER_CODE_CONTEXT = "user code"
PHRASE_WORD_COUNT = 3  # 38 bits, so that an attacker cannot produce a request with the same phrase


def compute_user_code_digests(settings: Settings, user_code: str) -> list[str]:
    """Compute the digest of a user code under every secret key, newest key first.

    Case, dashes, spaces and dots are ignored.
    """
    return compute_code_digests(settings.secret_key, USER_CODE_CONTEXT, normalize_code(user_code))


def generate_check_phrase() -> str:
    return " ".join(secrets.choice(load_passphrase_words()) for _ in range(PHRASE_WORD_COUNT))


def find_by_device_code(db: Db, device_code: str) -> DeviceLogin | None:
    """Find the request with this device code. A malformed code costs no query."""
    row_id = parse_row_id(DEVICE_CODE_PREFIX, "ses", device_code)
    row = find_device_login(db, row_id) if row_id else None
    return row if row is not None and has_digest(device_code, row.device_digest) else None
