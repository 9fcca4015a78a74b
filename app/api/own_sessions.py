"""The sessions of one caller, however they are asked for."""

from __future__ import annotations

from typing import Any

from app.api.services import Services
from app.containers.host import CONTAINER_PREFIX
from app.sandbox.registry import SessionEntry
from app.store.instances import SessionRecord


async def own_sessions(services: Services, *, owner: str) -> list[dict[str, Any]]:
    """All but containers, which are sessions too and have a list of their own; those of other gateways included."""
    gateway = services.gateway
    here = [describe(entry) for entry in gateway.registry.list(owner=owner)]
    elsewhere = [describe_elsewhere(found) for found in await gateway.instance.list_elsewhere(owner=owner)]
    return [session for session in here + elsewhere if not session["id"].startswith(CONTAINER_PREFIX)]


async def end_session(services: Services, id: str, *, owner: str) -> None:
    """At once, whatever it runs; and with it the links to what was made in it.

    Raises:
        EagerError: there is none, or another gateway holds it.
    """
    await services.gateway.registry.delete(id, owner=owner)
    await services.store.shared.revoke(owner=owner, session=id)


def describe(entry: SessionEntry) -> dict[str, Any]:
    return {
        "id": entry.id,
        "object": "session",
        "status": "busy" if entry.busy else "idle",
        "created_at": int(entry.created_at),
        "last_used_at": int(entry.last_used_at),
        "expires_after_s": entry.expires_after_s,
    }


def describe_elsewhere(found: SessionRecord) -> dict[str, Any]:
    """What is known of a session that another gateway holds."""
    return {
        "id": found.id,
        "object": "session",
        "status": "elsewhere",
        "created_at": int(found.created_at),
        "last_used_at": None,
        "expires_after_s": found.idle_s,
    }
