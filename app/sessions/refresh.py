"""Rotate the refresh token of a session, and revoke the session when an old token is reused.

The state is in the database only: a restart does not forget a rotation, a rolled-back transaction
does not consume a token, and no fault of Redis or the network ends a session (RFC 9700 section
4.14.2).
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import update

from app.accounts.models import Account, lock_account
from app.adapters.statements import count_changed_rows
from app.audit.record import Event, record_event
from app.authentication.throttling.suspicious_sources import flag_suspicious_source
from app.credential_status.models import get_global_epoch
from app.notifications.mail.enqueue import Email, EmailTemplate, enqueue_email
from app.sessions.errors import InvalidGrant
from app.sessions.models import Session, SessionStatus
from app.sessions.open_session import get_idle_timeout
from app.sessions.revoke import revoke_sessions
from app.sessions.signed_handles import find_session_by_refresh_token
from app.sessions.tokens import SessionTokens, issue_tokens

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy.orm import Session as Db

    from app.principal import ClientInfo
    from app.unit_of_work import UnitOfWork

GRACE_PERIOD = timedelta(seconds=30)


def refresh_session(
    work: UnitOfWork, client_info: ClientInfo, *, refresh_token: str
) -> SessionTokens:
    """Issue an access token and the next refresh token.

    Raises InvalidGrant. The session is revoked when the token was used before and its grace period
    is over.
    """
    session, counter = get_session_by_refresh_token(
        work.db, work.settings.secret_key, refresh_token
    )
    account = lock_account(work.db, session.account_id)
    if account is None or not account.is_active:
        raise InvalidGrant
    # The salt read before the lock is a condition of the update: a password change in between
    # replaces it.
    salt, epoch = session.rt_salt, get_global_epoch(work.db)
    if _rotate(work, client_info, account, session, counter=counter, epoch=epoch):
        return issue_tokens(work, account, session)
    # The token was used already, or the session has ended. The account is locked, so the row is
    # final.
    work.db.refresh(session)
    if session.rt_salt != salt or not session.is_live(
        work.now, account_epoch=account.epoch, global_epoch=epoch
    ):
        raise InvalidGrant
    if is_counter_accepted(session, counter, work.now):
        return issue_tokens(work, account, session)
    _revoke_reused(work, client_info, account, session, counter=counter)
    raise work.keep(InvalidGrant())


def is_counter_accepted(session: Session, counter: int, now: datetime) -> bool:
    """Return whether the counter is the current one, or the previous one within the grace period.

    The grace period serves a client that lost the response to its last refresh.
    """
    return counter == session.rt_counter or (
        counter == session.rt_counter - 1 and now - session.refreshed_at <= GRACE_PERIOD
    )


def get_session_by_refresh_token(
    db: Db, secret_keys: Sequence[str], refresh_token: str
) -> tuple[Session, int]:
    """Return the session of a genuine refresh token, live or not, and the token's counter.

    Raises InvalidGrant.
    """
    found = find_session_by_refresh_token(db, secret_keys, refresh_token)
    if found is None:
        raise InvalidGrant
    return found


def _rotate(
    work: UnitOfWork,
    client_info: ClientInfo,
    account: Account,
    session: Session,
    *,
    counter: int,
    epoch: int,
) -> bool:
    """Advance the counter if the token is the current one of a live session."""
    rotated = count_changed_rows(
        work.db,
        update(Session)
        .where(
            Session.id == session.id,
            Session.rt_counter == counter,
            Session.rt_salt == session.rt_salt,
            Session.live_clause(work.now, account.epoch, epoch),
        )
        .values(
            rt_counter=Session.rt_counter + 1,
            refreshed_at=work.now,
            idle_until=min(work.now + get_idle_timeout(work, account), session.absolute_until),
            last_address=client_info.address,
        )
        .execution_options(synchronize_session=False),
    )
    if rotated == 1:
        work.db.refresh(session)
    return rotated == 1


def _revoke_reused(
    work: UnitOfWork, client_info: ClientInfo, account: Account, session: Session, *, counter: int
) -> None:
    """Revoke the session of a reused or never issued token, and notify the owner."""
    ahead = counter > session.rt_counter
    event = Event.REFRESH_AHEAD if ahead else Event.REFRESH_REUSED
    revoke_sessions(
        work,
        account,
        [session.id],
        status=SessionStatus.SUSPICIOUS,
        reason="refresh_ahead" if ahead else "refresh_reuse",
    )
    # The second use may be the owner's or an attacker's; its source is flagged either way.
    flag_suspicious_source(work, session_id=session.id, bucket=client_info.bucket)
    record_event(work, event, client_info=client_info, account_id=account.id, session_id=session.id)
    values = {
        "username": account.username,
        "device": session.device_label,
        "begun": f"{session.created_at:%Y-%m-%d %H:%M} UTC",
        "address": client_info.address,
    }
    enqueue_email(
        work, EmailTemplate.SUSPICIOUS_SESSION, Email(account.email, account.locale, values)
    )
