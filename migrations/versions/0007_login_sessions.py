"""Add device logins, and sessions without a password entry."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("sessions") as sessions:
        sessions.alter_column("auth_time", existing_type=sa.DateTime(timezone=True), nullable=True)
        sessions.add_column(sa.Column("client_id", sa.String(length=32), nullable=True))
        sessions.add_column(sa.Column("approved_by", sa.String(length=32), nullable=True))
    op.create_table(
        "login_sessions",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("device_digest", sa.String(length=64), nullable=False),
        sa.Column("user_code_digest", sa.String(length=64), nullable=True),
        sa.Column("client_id", sa.String(length=32), nullable=False),
        sa.Column("client_name", sa.String(length=64), nullable=False),
        sa.Column("hostname", sa.String(length=64), nullable=True),
        sa.Column("login_message", sa.String(length=200), nullable=True),
        sa.Column("check_phrase", sa.String(length=64), nullable=True),
        sa.Column("scope", sa.Text(), nullable=True),
        sa.Column("expires_in", sa.Integer(), nullable=True),
        sa.Column("username_digest", sa.String(length=64), nullable=True),
        sa.Column("address", sa.String(length=64), nullable=False),
        sa.Column("bucket", sa.String(length=64), nullable=False),
        sa.Column("user_agent", sa.String(length=256), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("polled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("interval", sa.Integer(), nullable=False),
        sa.Column("account_id", sa.String(length=32), nullable=True),
        sa.Column("claimed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("claimed_session_id", sa.String(length=32), nullable=True),
        sa.Column("claimed_address", sa.String(length=64), nullable=True),
        sa.Column("claimed_device", sa.String(length=256), nullable=True),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("decided_session_id", sa.String(length=32), nullable=True),
        sa.Column("decided_address", sa.String(length=64), nullable=True),
        sa.Column("decided_device", sa.String(length=256), nullable=True),
        sa.Column("approved_epoch", sa.Integer(), nullable=True),
        sa.Column("granted_scope", sa.Text(), nullable=True),
        sa.Column("redeemed_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["account_id"],
            ["accounts.id"],
            name=op.f("fk_login_sessions_account_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_login_sessions")),
        sa.UniqueConstraint("user_code_digest", name=op.f("uq_login_sessions_user_code_digest")),
    )
    op.create_index(
        "ix_login_sessions_account_id_created_at", "login_sessions", ["account_id", "created_at"]
    )
    op.create_index("ix_login_sessions_expires_at", "login_sessions", ["expires_at"])
