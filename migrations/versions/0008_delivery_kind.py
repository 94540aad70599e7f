"""Add the kind of a delivery to the outbox. Every existing delivery is an email."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("outbox") as outbox:
        outbox.add_column(
            sa.Column("kind", sa.String(length=16), server_default="email", nullable=False)
        )
