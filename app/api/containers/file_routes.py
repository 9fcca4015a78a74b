"""``/v1/containers/{id}/files``: what lies in the work folder of a container."""

from __future__ import annotations

import json
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from app.api.containers.schemas import file_object
from app.api.edge.auth import AuthenticatedCaller, Caller
from app.api.edge.openapi import BYTES
from app.api.files.download import Download, saved_as
from app.api.files.filenames import base_name
from app.api.files.lookup import find_files
from app.api.files.multipart import read_form
from app.api.files.spool import Spool, Write, spooled
from app.api.listing import list_object, page_query
from app.api.services import InjectedServices, Services
from app.errors import RequestError, SessionBusy
from app.ids import is_id
from app.store.containers import ContainerFileRecord
from app.store.paging import PageRequest

#: A JSON body here holds an id.
MAX_JSON_BYTES = 16 * 1024

_FILE_ID = {"file_id": {"type": "string"}}
ADD_FILE = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {"file": {"type": "string", "format": "binary"}, **_FILE_ID},
                }
            },
            "application/json": {"schema": {"type": "object", "required": ["file_id"], "properties": _FILE_ID}},
        },
    }
}

router = APIRouter(prefix="/v1/containers/{container_id}/files")


@router.post("", openapi_extra=ADD_FILE)
async def add_file(
    request: Request, caller: AuthenticatedCaller, services: InjectedServices, container_id: str
) -> dict[str, Any]:
    """Put a file into the container: one that is sent along, or one of ``/v1/files``."""
    containers = services.containers
    async with Spool(max_bytes=services.max_file_bytes) as spool:
        filename, file_id = await _read(request, spool.write)
        if filename is not None:
            async with containers.use(container_id, owner=caller.name) as container:
                return file_object(await container.put(base_name(filename), spool.size, spool))
    if file_id is None:
        raise RequestError("Missing required parameter: 'file'.", param="file", code="missing_required_parameter")
    (file,) = await find_files(services.store, caller, [file_id], param="file_id")
    async with containers.use(container_id, owner=caller.name) as container, services.blobs.open(file.id) as blob:
        return file_object(await container.put(base_name(file.filename), blob.size, blob, file_id=file.id))


@router.get("")
async def list_files(
    caller: AuthenticatedCaller,
    services: InjectedServices,
    container_id: str,
    page: Annotated[PageRequest, Depends(page_query)],
) -> dict[str, Any]:
    """What lies there now; while code runs, what was known before."""
    try:
        async with services.containers.use(container_id, owner=caller.name) as container:
            await container.list()
    except SessionBusy:
        pass
    records, more = await services.store.container_files.list(owner=caller.name, container_id=container_id, page=page)
    return list_object([file_object(record) for record in records], has_more=more)


@router.get("/{file_id}")
async def get_file(
    caller: AuthenticatedCaller, services: InjectedServices, container_id: str, file_id: str
) -> dict[str, Any]:
    return file_object(await _find(services, caller, container_id, file_id))


@router.get("/{file_id}/content", response_class=Response, responses=BYTES)
async def get_file_content(
    caller: AuthenticatedCaller, services: InjectedServices, container_id: str, file_id: str
) -> Response:
    """The bytes, as they are now."""
    record = await _find(services, caller, container_id, file_id)

    async def fetch(write: Write) -> None:
        async with services.containers.use(container_id, owner=caller.name) as container:
            await container.fetch(record, write, limit_bytes=services.max_file_bytes)

    spool = spooled(fetch, max_bytes=services.max_file_bytes)
    return Download(spool, saved_as(record.path.rpartition("/")[2]))


@router.delete("/{file_id}")
async def delete_file(
    caller: AuthenticatedCaller, services: InjectedServices, container_id: str, file_id: str
) -> dict[str, Any]:
    record = await _find(services, caller, container_id, file_id)
    async with services.containers.use(container_id, owner=caller.name) as container:
        await container.remove(record)
    return {"id": file_id, "object": "container.file.deleted", "deleted": True}


async def _find(services: Services, caller: Caller, container_id: str, file_id: str) -> ContainerFileRecord:
    """
    Raises:
        RequestError: 404, there is no such container or file, or they have expired.
    """
    await services.containers.require_alive(container_id, owner=caller.name)
    record = await services.store.container_files.get(file_id, owner=caller.name, container_id=container_id)
    if record is None:
        raise RequestError(
            f"File with id '{file_id}' not found in container '{container_id}'.",
            param="file_id",
            code="file_not_found",
            status=404,
        )
    return record


async def _read(request: Request, write: Write) -> tuple[str | None, str | None]:
    """Name of the file that was sent, or the id of one; its bytes go to ``write``.

    Raises:
        RequestError: the body is not well formed.
    """
    content_type = request.headers.get("content-type", "")
    if content_type.partition(";")[0].strip().lower() != "application/json":
        form = await read_form(content_type, request.stream(), write)
        return form.filename, form.fields.get("file_id")
    body = bytearray()
    async for data in request.stream():
        body += data
        if len(body) > MAX_JSON_BYTES:
            raise RequestError("The body is too large.", code="request_too_large", status=413)
    try:
        match json.loads(body):
            case {"file_id": str(file_id)} if is_id(file_id):
                return None, file_id
    except (ValueError, RecursionError):
        raise RequestError("We could not parse the JSON body of your request.") from None
    raise RequestError("'file_id' is the id of a file.", param="file_id")
