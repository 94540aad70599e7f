"""Rotate the refresh token of a session, and revoke the session when an old token is reused.

The state is in the database only: a restart does not forget a rotation, a rolled-back transaction
does not consume a token, and no fault of Redis or the network ends a session (RFC 9700 section
4.14.2).
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import Integer, String, bindparam, case, exists, select, update

from app.accounts.models import Account, AccountStatus, lock_account
from app.adapters.database import UtcDateTime
from app.adapters.statements import PreparedStatement
from app.audit.record import Event, record_event
from app.authentication.throttling.suspicious_sources import flag_suspicious_source
from app.authorization.models import ADMIN, AccountRole
from app.credential_status.models import ISSUER_STATE_ID, IssuerState, get_global_epoch
from app.notifications.mail.enqueue import Email, EmailTemplate, enqueue_email
from app.sessions.errors import InvalidGrant
from app.sessions.models import Session, SessionStatus
from app.sessions.open_session import ADMIN_IDLE_TIMEOUT, IDLE_TIMEOUT
from app.sessions.revoke import revoke_sessions
from app.sessions.signed_handles import (
    find_session_by_refresh_token,
    is_genuine_refresh_token,
    parse_refresh_token,
)
from app.sessions.tokens import SessionTokens, issue_tokens

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import ReturnsRows
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
    rotated = _rotate(work, client_info, refresh_token)
    return issue_tokens(work, *(rotated or _find_accepted(work, client_info, refresh_token)))


def _find_accepted(
    work: UnitOfWork, client_info: ClientInfo, refresh_token: str
) -> tuple[Account, Session]:
    """Return the session of a token that was not rotated but is still accepted.

    Raises InvalidGrant. Revokes the session if the token was reused.
    """
    session, counter = get_session_by_refresh_token(
        work.db, work.settings.secret_key, refresh_token
    )
    # The salt read before the lock is compared after it: a password change in between replaces it.
    salt, account = session.rt_salt, lock_account(work.db, session.account_id)
    if account is None or not account.is_active:
        raise InvalidGrant
    work.db.refresh(session)  # final, because the account is locked
    if session.rt_salt != salt or not session.is_live(
        work.now, account_epoch=account.epoch, global_epoch=get_global_epoch(work.db)
    ):
        raise InvalidGrant
    if not is_counter_accepted(session, counter, work.now):
        _revoke_reused(work, client_info, account, session, counter=counter)
        raise work.keep(InvalidGrant())
    return account, session


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
    work: UnitOfWork, client_info: ClientInfo, refresh_token: str
) -> tuple[Account, Session] | None:
    """Advance the counter in one statement if the token is the current one of a live session.

    The MAC is verified with the salt that the statement returns, so a wrong one rolls back. Only
    the owner of a session knows its id, so nobody else can lock its row this way. Returns the
    account and the session as they are after the rotation.
    """
    claims = parse_refresh_token(refresh_token)
    if claims is None:
        raise InvalidGrant
    parameters = {
        "session_id": claims.session_id,
        "counter": claims.number,
        "now": work.now,
        "idle_until": work.now + IDLE_TIMEOUT,
        "admin_idle_until": work.now + ADMIN_IDLE_TIMEOUT,
        "address": client_info.address,
    }
    row = ROTATE.execute(work.db, parameters).mappings().one_or_none()
    if row is None:
        # PostgreSQL may have locked the row in order to compare it. The account comes first.
        work.rollback_and_release()
        return None
    values = dict(row)
    account = Account(**{name: values.pop(f"account_{name}") for name in ACCOUNT_COLUMNS})
    session = Session(**values, account_epoch=account.epoch)
    if not is_genuine_refresh_token(work.settings.secret_key, refresh_token, claims, session):
        work.rollback_and_release()
        raise InvalidGrant
    return account, session


def _build_rotation(_dialect: str) -> ReturnsRows:
    now, counter = bindparam("now", type_=UtcDateTime), bindparam("counter", type_=Integer)
    epoch = select(IssuerState.global_epoch).where(IssuerState.id == ISSUER_STATE_ID)
    owner = Account.id == Session.account_id
    account_epoch = select(Account.epoch).where(owner, Account.status == AccountStatus.ACTIVE)
    is_admin = exists().where(
        AccountRole.account_id == Session.account_id, AccountRole.role == ADMIN
    )
    idle_until = case(
        (is_admin, bindparam("admin_idle_until", type_=UtcDateTime)),
        else_=bindparam("idle_until", type_=UtcDateTime),
    )
    account = [
        select(getattr(Account, name)).where(owner).scalar_subquery().label(f"account_{name}")
        for name in ACCOUNT_COLUMNS
    ]
    return (
        update(Session)
        .where(
            Session.id == bindparam("session_id", type_=String),
            Session.rt_counter == counter,
            Session.live_clause(now, account_epoch.scalar_subquery(), epoch.scalar_subquery()),
        )
        .values(
            rt_counter=counter + 1,
            refreshed_at=now,
            idle_until=case(
                (Session.absolute_until < idle_until, Session.absolute_until), else_=idle_until
            ),
            last_address=bindparam("address", type_=String),
        )
        .returning(*(getattr(Session, name) for name in SESSION_COLUMNS), *account)
    )


# What the tokens of a session are made of.
SESSION_COLUMNS = (
    *("id", "rt_counter", "rt_salt", "auth_time", "amr", "scope", "client_id"),
    *("idle_until", "absolute_until"),
)
ACCOUNT_COLUMNS = ("id", "username", "name", "epoch", "roles_version")
ROTATE = PreparedStatement(_build_rotation)


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
