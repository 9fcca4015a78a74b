"""The tables as they were before versions were kept. Gateways created those that were missing, so do we."""

from __future__ import annotations

from alembic import op
from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
)
from sqlalchemy.schema import CreateIndex, CreateTable

revision = "0001"
down_revision = None

metadata = MetaData()

Table(
    "eager_responses",
    metadata,
    Column("id", String(128), primary_key=True),
    Column("owner", String(255), nullable=False),
    Column("created_at", Float, nullable=False),
    Column("model", String(255), nullable=False),
    Column("previous_response_id", String(128)),
    Column("container_id", String(128)),
    Column("input_items", JSON, nullable=False),
    Column("output_items", JSON, nullable=False),
    Column("response", JSON, nullable=False),
)
Table(
    "eager_containers",
    metadata,
    Column("id", String(128), primary_key=True),
    Column("owner", String(255), nullable=False),
    Column("created_at", Float, nullable=False),
    Column("last_active_at", Float, nullable=False),
    Column("name", String(255), nullable=False),
    Column("idle_minutes", Integer, nullable=False),
    Column("memory_limit", String(16)),
    Column("gateway", String(255), nullable=False),
    Column("expired", Boolean, nullable=False),
    Index("eager_containers_owner", "owner", "created_at", "id"),
)
Table(
    "eager_container_files",
    metadata,
    Column("id", String(128), primary_key=True),
    Column("owner", String(255), nullable=False),
    Column("container_id", String(128), nullable=False),
    Column("created_at", Float, nullable=False),
    Column("path", String(1024), nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("source", String(16), nullable=False),
    Index("eager_container_files_path", "container_id", "path", unique=True),
)
Table(
    "eager_uploaded_files",
    metadata,
    Column("id", String(128), primary_key=True),
    Column("owner", String(255), nullable=False),
    Column("created_at", Float, nullable=False),
    Column("filename", String(255), nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("purpose", String(64), nullable=False),
    Column("expires_at", Float, index=True),
    Index("eager_uploaded_files_owner", "owner", "created_at", "id"),
)
Table(
    "eager_hidden_calls",
    metadata,
    Column("owner", String(255), primary_key=True),
    Column("key", String(255), primary_key=True),
    Column("value", JSON, nullable=False),
    Column("expires_at", Float, nullable=False, index=True),
)
Table(
    "eager_idempotency_keys",
    metadata,
    Column("owner", String(255), primary_key=True),
    Column("key", String(255), primary_key=True),
    Column("gateway", String(255), nullable=False),
    Column("fingerprint", String(64), nullable=False),
    Column("state", String(16), nullable=False),
    Column("status", Integer),
    Column("body", LargeBinary),
    Column("expires_at", Float, nullable=False, index=True),
)


def upgrade() -> None:
    for table in metadata.sorted_tables:
        op.execute(CreateTable(table, if_not_exists=True))
        for index in table.indexes:
            op.execute(CreateIndex(index, if_not_exists=True))
