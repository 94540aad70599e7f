"""Whoever acts on others is an administrator until it is done."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.authorization.roles.administrators import is_still_admin
from app.errors import Forbidden

if TYPE_CHECKING:
    from app.principal import Principal
    from app.unit_of_work import UnitOfWork


def require_still_admin(work: UnitOfWork, principal: Principal) -> None:
    """Of two administrators who end each other at once, the second finds that it is none any more. Raises Forbidden.

    Call it before any account is locked.
    """
    if not is_still_admin(work.db, principal.account_id):
        raise Forbidden("Only an administrator may do this.")
