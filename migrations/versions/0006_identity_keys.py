"""Add the purpose of signing keys. Keys without one sign access tokens."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("signing_keys", sa.Column("purpose", sa.String(length=16), nullable=True))
