"""``/v1/containers``: make, list, look at and remove containers."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request

from app.api.containers.schemas import CreateContainer, container_object
from app.api.edge.auth import AuthenticatedCaller, Caller
from app.api.event_stream import while_client_stays
from app.api.files.lookup import file_names, find_files
from app.api.listing import list_object, page_query
from app.api.services import InjectedServices
from app.containers.host import ContainerHost, new_container_id
from app.errors import RequestError
from app.store.paging import PageRequest

router = APIRouter(prefix="/v1/containers")


@router.post("")
async def create_container(
    request: Request, caller: AuthenticatedCaller, services: InjectedServices, body: CreateContainer
) -> dict[str, Any]:
    """A sandbox that is kept until it was not used for as long as ``expires_after`` says."""
    containers = services.containers
    minutes = body.expires_after.minutes if body.expires_after else None
    if minutes is not None and minutes > containers.idle_minutes:
        raise RequestError(
            f"A container can be kept for at most {containers.idle_minutes} minutes.", param="expires_after.minutes"
        )
    records = await find_files(services.store, caller, body.file_ids or (), param="file_ids")

    async def create() -> str:
        async with containers.create(
            new_container_id(), owner=caller.name, name=body.name, idle_minutes=minutes, memory_limit=body.memory_limit
        ) as container:
            try:
                await container.add_files(file_names(records), records)
            except BaseException:
                await containers.delete(container.id, owner=caller.name)
                raise
        return container.id

    return await _describe(containers, caller, await while_client_stays(request.receive, create()))


@router.get("")
async def list_containers(
    caller: AuthenticatedCaller,
    services: InjectedServices,
    page: Annotated[PageRequest, Depends(page_query)],
    name: Annotated[str | None, Query(max_length=255)] = None,
) -> dict[str, Any]:
    records, more = await services.store.containers.list(owner=caller.name, page=page, name=name)
    data = [container_object(record, services.containers.status(record)) for record in records]
    return list_object(data, has_more=more)


@router.get("/{container_id}")
async def get_container(caller: AuthenticatedCaller, services: InjectedServices, container_id: str) -> dict[str, Any]:
    """Also when it has expired: ``status`` says so."""
    return await _describe(services.containers, caller, container_id)


@router.delete("/{container_id}")
async def delete_container(
    caller: AuthenticatedCaller, services: InjectedServices, container_id: str
) -> dict[str, Any]:
    """Ends its sandbox at once, whatever it runs."""
    await services.containers.delete(container_id, owner=caller.name)
    return {"id": container_id, "object": "container.deleted", "deleted": True}


async def _describe(containers: ContainerHost, caller: Caller, container_id: str) -> dict[str, Any]:
    record = await containers.find(container_id, owner=caller.name)
    return container_object(record, containers.status(record))
