"""Recording of audit events: a row in the transaction, and a log line after the commit."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from app.adapters import logs
from app.adapters.statements import prepare_insert
from app.audit.models import AuditEvent

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.orm import Session

    from app.principal import ClientInfo
    from app.unit_of_work import UnitOfWork

INSERT_EVENT = prepare_insert(AuditEvent)

log = logs.get_logger("audit")


class Event(StrEnum):
    """All audit events. A published value never changes its meaning."""

    REGISTRATION_REQUESTED = "registration.requested"
    REGISTRATION_RESENT = "registration.resent"
    CONFIRMATION_REFUSED = "confirmation.refused"
    ACCOUNT_CONFIRMED = "account.confirmed"
    ACCOUNTS_IMPORTED = "accounts.imported"
    ACCOUNT_CHANGED = "account.changed"
    ACCOUNT_CREATED = "account.created"
    ACCOUNT_DISABLED = "account.disabled"
    ACCOUNT_ENABLED = "account.enabled"
    ACCOUNT_MUST_CHANGE = "account.must_change_password"
    ACCOUNT_DELETED = "account.deleted"
    ACCOUNT_RESTORED = "account.restored"
    ACCOUNT_ERASED = "account.erased"
    LOGIN_SUCCEEDED = "login.succeeded"
    LOGIN_FAILED = "login.failed"
    PASSWORD_RESET_REQUESTED = "password.reset_requested"
    PASSWORD_RESET = "password.reset"
    PASSWORD_RESET_SENT = "password.reset_sent"
    PASSWORD_CHANGE_REQUIRED = "password.change_required"
    PASSWORD_CHANGED = "password.changed"
    PASSWORD_REFUSED = "password.refused"
    PASSWORD_LOCKED = "password.locked"
    DEVICE_REMEMBERED = "device.remembered"
    DEVICE_FORGOTTEN = "device.forgotten"
    REFRESH_REUSED = "refresh_token.reuse_detected"
    REFRESH_AHEAD = "refresh_token.ahead_of_database"
    SESSION_ENDED = "session.ended"
    SESSIONS_ENDED = "sessions.ended"
    SESSION_SUSPICIOUS = "session.suspicious"
    SESSION_CLEARED = "session.cleared"
    DEVICE_LOGIN_REQUESTED = "login_session.asked"
    DEVICE_LOGIN_CLAIMED = "login_session.claimed"
    DEVICE_LOGIN_APPROVED = "login_session.approved"
    DEVICE_LOGIN_DENIED = "login_session.denied"
    DEVICE_LOGIN_SUSPICIOUS = "login_session.suspicious"
    DEVICE_LOGIN_CANCELED = "login_session.cancelled"
    DEVICE_LOGIN_REDEEMED = "login_session.redeemed"
    DEVICE_LOGIN_REFUSED = "login_session.refused"
    USER_CODE_REFUSED = "user_code.refused"
    FIRST_ADMIN_INVITED = "first_admin.invited"
    ROLE_GRANTED = "role.granted"
    ROLE_REVOKED = "role.revoked"
    MEMBERSHIP_GRANTED = "membership.granted"
    MEMBERSHIP_ENDED = "membership.ended"
    SESSION_ELEVATED = "session.elevated"
    API_KEY_CREATED = "api_key.created"
    API_KEY_CHANGED = "api_key.changed"
    API_KEY_ROTATED = "api_key.rotated"
    API_KEY_DELETED = "api_key.deleted"
    API_KEY_LEAKED = "api_key.leaked"
    API_KEY_EXPIRING = "api_key.expiring"
    SIGNING_KEY_CREATED = "signing_key.created"
    SIGNING_KEY_REVOKED = "signing_key.revoked"


def record_event(
    work: UnitOfWork,
    event: Event,
    *,
    client_info: ClientInfo | None = None,
    account_id: str | None = None,
    session_id: str | None = None,
    **detail: str | int,
) -> None:
    """Record an event about a request, with the commit. Keep secrets and user input out of it."""
    source = client_info.address if client_info else None
    row = {
        "at": work.now,
        "event": event.value,
        "account_id": account_id,
        "session_id": session_id,
        "source": source,
        "user_agent": client_info.user_agent if client_info else None,
        "request_id": client_info.request_id if client_info else None,
        "detail": detail,
    }
    work.before_commit.append(lambda: INSERT_EVENT.execute(work.db, row))
    fields = {"account_id": account_id, "session_id": session_id, "source": source, **detail}
    work.after_commit.append(lambda: log.info(event.value, **fields))


def record_system_event(db: Session, now: datetime, event: Event, **detail: str | int) -> None:
    """Record an event outside a unit of work, and log it at once."""
    db.add(AuditEvent(at=now, event=event, detail=detail))
    db.flush()
    log.info(event.value, **detail)
