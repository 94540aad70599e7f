"""Signing keys of more than one kind: those from before sign access tokens, which is what a key without a kind still does."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("signing_keys", sa.Column("purpose", sa.String(length=16), nullable=True))
