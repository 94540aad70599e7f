"""Queue deliveries in the transaction of the caller, with their payload sealed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.adapters import encryption
from app.adapters.encryption import KeyPurpose
from app.notifications.outbox.models import Delivery, DeliveryKind, DeliveryState
from app.opaque_tokens import generate_id

if TYPE_CHECKING:
    from app.unit_of_work import UnitOfWork


def enqueue_delivery(
    work: UnitOfWork,
    kind: DeliveryKind,
    template: str,
    payload: bytes,
    *,
    state: DeliveryState = DeliveryState.QUEUED,
) -> None:
    """Add a delivery to the outbox. It is sent once the transaction is committed.

    The payload of a withheld delivery is encrypted and then discarded, so that it takes as long as
    one that is sent.
    """
    row_id = generate_id("msg")
    sealed = encryption.seal(work.settings.secret_key, KeyPurpose.OUTBOX, payload, row_id)
    work.db.add(
        Delivery(
            id=row_id,
            kind=kind,
            template=template,
            sealed=None if state is DeliveryState.WITHHELD else sealed,
            state=state,
            created_at=work.now,
            due_at=work.now,
        )
    )


def unseal_payload(work: UnitOfWork, delivery: Delivery) -> bytes:
    """Return the payload of a delivery. Raises UnsealError."""
    sealed = delivery.sealed or ""
    return encryption.unseal(work.settings.secret_key, KeyPurpose.OUTBOX, sealed, delivery.id)
