"""The schema. Whatever a caller stores is owned by it, and every query names the owner.

How a database comes to have them, and what becomes of one that an earlier release made, is in ``app/store/schema.py``.

Times are seconds since the epoch.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
)

metadata = MetaData()


class Line(TypeDecorator[str]):
    """Text of at most so many characters. PostgreSQL takes no null characters, nor questions that hold any: they are
    replaced, so that an id with one is an id that nothing has."""

    impl = String
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Any) -> str | None:
        return None if value is None else value.replace("\0", "\ufffd")


ID = Line(128)
NAME = Line(255)

instances = Table(
    "eager_instances",
    metadata,
    Column("id", ID, primary_key=True),
    Column("alive_until", Float, nullable=False),
)

#: Containers, too, are sessions.
sessions = Table(
    "eager_sessions",
    metadata,
    Column("id", ID, primary_key=True),
    Column("owner", NAME, nullable=False),
    Column("instance", ID, nullable=False, index=True),
    Column("created_at", Float, nullable=False),
    Column("idle_s", Float, nullable=False),
    Index("eager_sessions_owner", "owner", "created_at", "id"),
)

responses = Table(
    "eager_responses",
    metadata,
    Column("id", ID, primary_key=True),
    Column("owner", NAME, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("model", NAME, nullable=False),
    Column("previous_response_id", ID),
    Column("container_id", ID),
    Column("response", JSON, nullable=False),
)

#: Parts of the lists of items of a response (``item_parts.py``). ``kind`` is ``input`` or ``output``.
response_items = Table(
    "eager_response_items",
    metadata,
    Column("response_id", ID, primary_key=True),
    Column("kind", String(6), primary_key=True),
    Column("first", Integer, primary_key=True, autoincrement=False),
    Column("count", Integer, nullable=False),
    Column("size", Integer, nullable=False),
    Column("content", Text, nullable=False),
)

containers = Table(
    "eager_containers",
    metadata,
    Column("id", ID, primary_key=True),
    Column("owner", NAME, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("last_active_at", Float, nullable=False),
    Column("name", NAME, nullable=False),
    Column("idle_minutes", Integer, nullable=False),
    Column("memory_limit", Line(16)),
    Index("eager_containers_owner", "owner", "created_at", "id"),
)

container_files = Table(
    "eager_container_files",
    metadata,
    Column("id", ID, primary_key=True),
    Column("owner", NAME, nullable=False),
    Column("container_id", ID, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("path", Line(1024), nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("source", String(16), nullable=False),
    Index("eager_container_files_path", "container_id", "path", unique=True),
)

files = Table(
    "eager_uploaded_files",
    metadata,
    Column("id", ID, primary_key=True),
    Column("owner", NAME, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("filename", NAME, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("purpose", Line(64), nullable=False),
    Column("expires_at", Float, index=True),
    Index("eager_uploaded_files_owner", "owner", "created_at", "id"),
)

hidden_calls = Table(
    "eager_hidden_calls",
    metadata,
    Column("owner", NAME, primary_key=True),
    Column("key", NAME, primary_key=True),
    Column("value", JSON, nullable=False),
    Column("expires_at", Float, nullable=False, index=True),
)

shared = Table(
    "eager_shared",
    metadata,
    Column("id", ID, primary_key=True),
    Column("digest", String(64), nullable=False, unique=True),
    Column("owner", NAME, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("expires_at", Float, nullable=False, index=True),
    Column("session", ID, nullable=False),
    Column("name", NAME, nullable=False),
    Column("media_type", String(64), nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Index("eager_shared_session", "owner", "session"),
)

idempotency = Table(
    "eager_idempotency_keys",
    metadata,
    Column("owner", NAME, primary_key=True),
    Column("key", NAME, primary_key=True),
    Column("instance", NAME, nullable=False),
    Column("fingerprint", String(64), nullable=False),
    Column("state", String(16), nullable=False),
    Column("status", Integer),
    Column("body", LargeBinary),
    Column("expires_at", Float, nullable=False, index=True),
)
