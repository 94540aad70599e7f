"""API keys as their owner sees them, without secrets."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import select

from app.api_keys.models import ApiKey, build_live_clause, find_api_key
from app.errors import NotFound

if TYPE_CHECKING:
    from app.principal import Principal
    from app.unit_of_work import UnitOfWork

LIVE, EXPIRED = "live", "expired"


@dataclass(frozen=True, slots=True)
class ApiKeyView:
    """A key without its secret."""

    id: str
    name: str
    prefix: str
    scopes: tuple[str, ...]
    status: str
    created_at: datetime
    last_used_at: datetime | None
    expires_at: datetime | None


def list_api_keys(work: UnitOfWork, principal: Principal) -> list[ApiKeyView]:
    """Return the live keys of the account, newest first, at most fifty."""
    mine = select(ApiKey).where(
        ApiKey.account_id == principal.account_id, build_live_clause(work.now)
    )
    return [
        build_api_key_view(key, work.now)
        for key in work.db.scalars(mine.order_by(ApiKey.created_at.desc(), ApiKey.id))
    ]


def show_api_key(work: UnitOfWork, principal: Principal, *, key_id: str) -> ApiKeyView:
    """Return a key of the account, live or not.

    Raises NotFound, also for keys of other accounts.
    """
    key = find_api_key(work.db, principal.account_id, key_id)
    if key is None:
        raise NotFound
    return build_api_key_view(key, work.now)


def build_api_key_view(key: ApiKey, now: datetime) -> ApiKeyView:
    return ApiKeyView(
        id=key.id,
        name=key.name,
        prefix=key.prefix,
        scopes=key.scopes,
        status=_status(key, now),
        created_at=key.created_at,
        last_used_at=key.last_used_at,
        expires_at=key.expires_at,
    )


def _status(key: ApiKey, now: datetime) -> str:
    if key.ended_at is not None:
        return key.reason or EXPIRED
    return LIVE if key.is_live(now) else EXPIRED
