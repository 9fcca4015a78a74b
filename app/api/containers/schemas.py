"""Bodies and objects of ``/v1/containers``."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from app.containers.host import ContainerStatus
from app.store.containers import ContainerFileRecord, ContainerRecord

MemoryLimit = Literal["1g", "4g", "16g", "64g"]


class ExpiresAfter(BaseModel):
    anchor: Literal["last_active_at"]
    minutes: int = Field(ge=1)


class NetworkPolicy(BaseModel):
    """There is no network in a sandbox: a policy that opens one is refused."""

    model_config = ConfigDict(extra="allow")

    type: Literal["disabled"]


class CreateContainer(BaseModel):
    model_config = ConfigDict(extra="allow")

    name: str = Field(min_length=1, max_length=255)
    expires_after: ExpiresAfter | None = None
    file_ids: list[str] | None = Field(None, max_length=100)
    memory_limit: MemoryLimit | None = None
    network_policy: NetworkPolicy | None = None


def container_object(record: ContainerRecord, status: ContainerStatus) -> dict[str, Any]:
    return {
        "id": record.id,
        "object": "container",
        "created_at": int(record.created_at),
        "status": status,
        "name": record.name,
        "last_active_at": int(record.last_active_at),
        "expires_after": {"anchor": "last_active_at", "minutes": record.idle_minutes},
        "memory_limit": record.memory_limit,
        "network_policy": {"type": "disabled"},
    }


def file_object(record: ContainerFileRecord) -> dict[str, Any]:
    return {
        "id": record.id,
        "object": "container.file",
        "container_id": record.container_id,
        "created_at": int(record.created_at),
        "bytes": record.bytes,
        "path": record.path,
        "source": record.source,
    }
