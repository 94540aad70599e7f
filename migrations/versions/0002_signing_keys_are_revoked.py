"""Add the revocation time of signing keys."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "signing_keys", sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True)
    )
