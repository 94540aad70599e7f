"""Mail that has nowhere to go: shown on a page while developing."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import select

from app.adapters.sealing import CannotUnseal
from app.notifications.mail.render import Rendered, render
from app.notifications.outbox.enqueue import opened
from app.notifications.outbox.models import OutboxMessage, State

if TYPE_CHECKING:
    from app.unit_of_work import UnitOfWork

SHOWN = 50


@dataclass(frozen=True, slots=True)
class Letter:
    """One mail of the mailbox, with its code picked out for whoever scripts against it."""

    rendered: Rendered
    code: str | None


def read_mailbox(work: UnitOfWork) -> list[Letter]:
    """The latest mail, newest first."""
    rows = work.db.scalars(
        select(OutboxMessage)
        .where(OutboxMessage.state == State.MAILBOX)
        .order_by(OutboxMessage.created_at.desc(), OutboxMessage.id)
        .limit(SHOWN)
    )
    letters = []
    for row in rows:
        # Mail from before SECRET_KEY was changed cannot be read any more; the rest can.
        with suppress(CannotUnseal):
            mail = opened(work, row.id, row.sealed or "")
            letters.append(
                Letter(render(work.settings, row.template, mail), mail.values.get("code"))
            )
    return letters
