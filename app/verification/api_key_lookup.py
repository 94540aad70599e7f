"""Read the current state of an API key and its account in one query."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, select

from app.accounts.models import Account, AccountStatus
from app.api_keys.models import ApiKey
from app.authorization.models import build_roles_column, parse_roles_column
from app.credential_status.api_key_cache import ApiKeyEntry

if TYPE_CHECKING:
    from app.unit_of_work import UnitOfWork


@dataclass(frozen=True, slots=True)
class ApiKeyState:
    """The columns of an API key and its account that decide whether the key is valid."""

    version: int
    digest: str
    old_digest: str | None
    old_until: datetime | None
    scope: str
    expires_at: datetime | None
    ended_at: datetime | None
    account_id: str
    username: str
    account_status: str
    epoch: int
    roles_version: int
    joined_roles: str | None

    @property
    def roles(self) -> tuple[str, ...]:
        return parse_roles_column(self.joined_roles)

    @property
    def is_usable(self) -> bool:
        """Neither the key nor its account is revoked. The cache entry decides about expiry."""
        return self.ended_at is None and self.account_status == AccountStatus.ACTIVE

    @property
    def cache_entry(self) -> ApiKeyEntry:
        return ApiKeyEntry(
            version=self.version,
            account_id=self.account_id,
            digest=self.digest,
            old_digest=self.old_digest,
            old_until=self.old_until.timestamp() if self.old_until else None,
            scopes=tuple(self.scope.split()),
            expires=self.expires_at.timestamp() if self.expires_at else None,
        )


COLUMNS = (
    ApiKey.version,
    ApiKey.digest,
    ApiKey.old_digest,
    ApiKey.old_until,
    ApiKey.scope,
    ApiKey.expires_at,
    ApiKey.ended_at,
    Account.id,
    Account.username,
    Account.status,
    Account.epoch,
    Account.roles_version,
    build_roles_column(Account.id),
)
STATEMENT = (
    select(*COLUMNS)
    .select_from(ApiKey)
    .join(Account, Account.id == ApiKey.account_id)
    .where(ApiKey.id == bindparam("key_id"))
)


def find_api_key_state(work: UnitOfWork, key_id: str) -> ApiKeyState | None:
    """Run one indexed statement on the small pool, outside the transaction."""
    with work.open_autocommit_session() as db:
        row = db.connection().execute(STATEMENT, {"key_id": key_id}).one_or_none()
    return ApiKeyState(*tuple(row)) if row is not None else None
