"""Tables of global roles, and of memberships in the resources of applications."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import ForeignKey, Index, String, and_, func, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from app.adapters.database import Base

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, ScalarSelect
    from sqlalchemy.orm import InstrumentedAttribute

    from app.accounts.models import Account
    from app.authorization.levels import ResourceRef

ADMIN = "admin"
SEPARATOR = ","


class AccountRole(Base):
    __tablename__ = "account_roles"
    __table_args__ = (Index("ix_account_roles_role", "role"),)

    account_id: Mapped[str] = mapped_column(
        String(32), ForeignKey("accounts.id", ondelete="CASCADE"), primary_key=True
    )
    role: Mapped[str] = mapped_column(String(32), primary_key=True)
    granted_at: Mapped[datetime]


class Membership(Base):
    """The level of an account at one resource of an application."""

    __tablename__ = "memberships"
    __table_args__ = (Index("ix_memberships_account_id", "account_id"),)

    resource: Mapped[str] = mapped_column(String(32), primary_key=True)
    resource_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    account_id: Mapped[str] = mapped_column(
        String(32), ForeignKey("accounts.id", ondelete="CASCADE"), primary_key=True
    )
    level: Mapped[str] = mapped_column(String(32))
    granted_at: Mapped[datetime]


def build_roles_column(account_id: InstrumentedAttribute[str]) -> ScalarSelect[str | None]:
    """All roles of an account as one column of a larger query; `roles_in` reads it."""
    joined = func.aggregate_strings(AccountRole.role, SEPARATOR)
    return (
        select(joined)
        .where(AccountRole.account_id == account_id)
        .correlate_except(AccountRole)
        .scalar_subquery()
    )


def parse_roles_column(column: str | None) -> tuple[str, ...]:
    """Return the roles in a value of `build_roles_column`, sorted."""
    return tuple(sorted(column.split(SEPARATOR))) if column else ()


def matches_resource(ref: ResourceRef) -> ColumnElement[bool]:
    return and_(Membership.resource == ref.resource, Membership.resource_id == ref.id)


def find_level(db: Session, account: Account, ref: ResourceRef) -> str | None:
    """Return the level of the account at the resource, or None.

    Runs no query if the roles and memberships of the account never changed.
    """
    if not account.roles_version:
        return None
    return db.scalar(
        select(Membership.level).where(matches_resource(ref), Membership.account_id == account.id)
    )
