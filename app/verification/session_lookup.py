"""Read the current state of a session and its account in one query."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, select

from app.accounts.models import Account, AccountStatus
from app.authorization.models import build_roles_column, parse_roles_column
from app.credential_status.models import ISSUER_STATE_ID, IssuerState
from app.sessions.models import Session, is_live

if TYPE_CHECKING:
    from app.unit_of_work import UnitOfWork


@dataclass(frozen=True, slots=True)
class SessionState:
    """The state of a session, its account and the issuer that a credential depends on."""

    status: str
    account_epoch: int
    global_epoch: int
    idle_until: datetime
    absolute_until: datetime
    account_id: str
    username: str
    account_status: str
    current_account_epoch: int
    roles_version: int
    current_global_epoch: int
    joined_roles: str | None

    @property
    def expires_at(self) -> datetime:
        return min(self.idle_until, self.absolute_until)

    @property
    def roles(self) -> tuple[str, ...]:
        return parse_roles_column(self.joined_roles)

    def is_live(self, now: datetime, *, epoch: int) -> bool:
        """Return whether a credential with this account epoch is valid.

        A lower epoch is revoked. A higher epoch comes from a database that was since restored from
        an older backup.
        """
        return (
            self.account_status == AccountStatus.ACTIVE
            and epoch == self.current_account_epoch
            and is_live(
                self,
                now,
                account_epoch=self.current_account_epoch,
                global_epoch=self.current_global_epoch,
            )
        )


COLUMNS = (
    Session.status,
    Session.account_epoch,
    Session.global_epoch,
    Session.idle_until,
    Session.absolute_until,
    Account.id,
    Account.username,
    Account.status,
    Account.epoch,
    Account.roles_version,
    IssuerState.global_epoch,
    build_roles_column(Account.id),
)


# Built once, because building the statement takes longer than running it.
STATEMENT = (
    select(*COLUMNS)
    .select_from(Session)
    .join(Account, Account.id == Session.account_id)
    .join(IssuerState, IssuerState.id == ISSUER_STATE_ID)
    .where(Session.id == bindparam("session_id"))
)


def find_session_state(work: UnitOfWork, session_id: str) -> SessionState | None:
    """Run one indexed statement on the small pool, outside the transaction."""
    with work.open_autocommit_session() as db:
        row = db.connection().execute(STATEMENT, {"session_id": session_id}).one_or_none()
    return SessionState(*tuple(row)) if row is not None else None
