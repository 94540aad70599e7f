"""Export of all data about an account for its owner, except credentials and their digests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import select

from app.accounts.models import Account, find_account
from app.accounts.summary import Profile, build_profile
from app.api_keys.models import ApiKey
from app.api_keys.show import ApiKeyView, build_api_key_view
from app.audit.list_events import AuditView, build_audit_view
from app.audit.models import AuditEvent
from app.authentication.throttling.models import FailedAttempts
from app.authentication.trusted_devices.manage import TrustedDeviceView, list_trusted_devices
from app.authorization.models import Membership
from app.authorization.rights import list_roles
from app.confirmations.models import Confirmation
from app.device_login.show import DeviceLoginView, list_claimed_device_logins
from app.errors import Unauthenticated
from app.sessions.show import SessionDetails, list_all_sessions

if TYPE_CHECKING:
    from app.principal import Principal
    from app.unit_of_work import UnitOfWork

# The audit log is the only unbounded part. Administrators can read older events.
MAX_EVENTS = 10_000


@dataclass(frozen=True, slots=True)
class MembershipView:
    """A membership of the account."""

    resource: str
    id: str
    level: str
    granted_at: datetime


@dataclass(frozen=True, slots=True)
class LinkView:
    """A link that was sent to the user, without its secret."""

    purpose: str
    created_at: datetime
    expires_at: datetime
    used_at: datetime | None


@dataclass(frozen=True, slots=True)
class FailedAttemptView:
    """Failed password attempts from one source, or from all if `source` is None."""

    source: str | None
    count: int
    last_at: datetime


@dataclass(frozen=True, slots=True)
class AccountExport:
    """All data about an account."""

    exported_at: datetime
    account: Profile
    status: str
    must_change_password: bool
    roles: Sequence[str]
    memberships: Sequence[MembershipView]
    sessions: Sequence[SessionDetails]
    login_sessions: Sequence[DeviceLoginView]
    devices: Sequence[TrustedDeviceView]
    api_keys: Sequence[ApiKeyView]
    links: Sequence[LinkView]
    failed_attempts: Sequence[FailedAttemptView]
    audit: Sequence[AuditView]
    audit_complete: bool


def export_account(work: UnitOfWork, principal: Principal) -> AccountExport:
    """Export the principal's account. Raises Unauthenticated if it no longer exists."""
    account = find_account(work.db, principal.account_id)
    if account is None:
        raise Unauthenticated
    events = _list_events(work, account)
    return AccountExport(
        exported_at=work.now,
        account=build_profile(account),
        status=account.status,
        must_change_password=account.must_change_password,
        roles=list_roles(work.db, account),
        memberships=_list_memberships(work, account),
        sessions=list_all_sessions(work, principal),
        login_sessions=list_claimed_device_logins(work, account.id),
        devices=list_trusted_devices(work, principal),
        api_keys=_list_keys(work, account),
        links=_list_links(work, account),
        failed_attempts=_list_failed_attempts(work, account),
        audit=events[:MAX_EVENTS],
        audit_complete=len(events) <= MAX_EVENTS,
    )


def _list_memberships(work: UnitOfWork, account: Account) -> list[MembershipView]:
    columns = (Membership.resource, Membership.resource_id, Membership.level, Membership.granted_at)
    rows = (
        select(*columns)
        .where(Membership.account_id == account.id)
        .order_by(Membership.resource, Membership.resource_id)
    )
    return [MembershipView(*row) for row in work.db.execute(rows)]


def _list_keys(work: UnitOfWork, account: Account) -> list[ApiKeyView]:
    rows = (
        select(ApiKey)
        .where(ApiKey.account_id == account.id)
        .order_by(ApiKey.created_at.desc(), ApiKey.id)
    )
    return [build_api_key_view(key, work.now) for key in work.db.scalars(rows)]


def _list_links(work: UnitOfWork, account: Account) -> list[LinkView]:
    columns = (
        Confirmation.purpose,
        Confirmation.created_at,
        Confirmation.expires_at,
        Confirmation.used_at,
    )
    rows = (
        select(*columns).where(Confirmation.subject == account.id).order_by(Confirmation.created_at)
    )
    return [LinkView(*row) for row in work.db.execute(rows)]


def _list_failed_attempts(work: UnitOfWork, account: Account) -> list[FailedAttemptView]:
    rows = work.db.scalars(
        select(FailedAttempts)
        .where(FailedAttempts.subject == account.id)
        .order_by(FailedAttempts.last_at.desc())
    )
    return [
        FailedAttemptView(row.id.partition(" ")[2] or None, row.count, row.last_at) for row in rows
    ]


def _list_events(work: UnitOfWork, account: Account) -> list[AuditView]:
    """List the newest events, without the IP address and user agent of other people."""
    newest = (
        select(AuditEvent)
        .where(AuditEvent.account_id == account.id)
        .order_by(AuditEvent.at.desc(), AuditEvent.id.desc())
    )
    views = [build_audit_view(row) for row in work.db.scalars(newest.limit(MAX_EVENTS + 1))]
    own = (account.id, None)
    return [
        each if each.detail.get("actor") in own else replace(each, source=None, user_agent=None)
        for each in views
    ]
