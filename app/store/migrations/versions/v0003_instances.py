"""A gateway is an instance with a lease, not a host's name; where a session lives is a row."""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column, Float, String

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "eager_instances",
        Column("id", String(128), primary_key=True),
        Column("alive_until", Float, nullable=False),
    )
    op.create_table(
        "eager_sessions",
        Column("id", String(128), primary_key=True),
        Column("owner", String(255), nullable=False),
        Column("instance", String(128), nullable=False, index=True),
        Column("created_at", Float, nullable=False),
        Column("idle_s", Float, nullable=False),
    )
    op.create_index("eager_sessions_owner", "eager_sessions", ["owner", "created_at", "id"])
    with op.batch_alter_table("eager_containers") as containers:
        containers.drop_column("gateway")
        containers.drop_column("expired")
    with op.batch_alter_table("eager_idempotency_keys") as keys:
        keys.alter_column("gateway", new_column_name="instance")
