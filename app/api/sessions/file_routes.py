"""``/v1/sessions/{id}/files``: the work folder of a session, by path."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from starlette.convertors import PathConvertor, register_url_convertor
from starlette.responses import Response

from app.api.edge.auth import AuthenticatedCaller
from app.api.edge.openapi import BYTES
from app.api.files.download import Download, saved_as
from app.api.files.spool import Spool, Write, spooled
from app.api.services import InjectedServices
from app.errors import RequestError
from app.sandbox.worker.messages import FileReply

#: Files of one listing.
LIMIT = 1000

UPLOAD = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


class _AnyPath(PathConvertor):
    """Names may have line breaks in them; Starlette's own paths have none."""

    regex = "(?s:.*)"


register_url_convertor("any_path", _AnyPath())
router = APIRouter(prefix="/v1/sessions/{session_id}/files")


@router.get("")
async def list_session_files(
    caller: AuthenticatedCaller, services: InjectedServices, session_id: str
) -> dict[str, Any]:
    """What lies in the work folder; paths are relative to it. ``truncated``: there are more."""
    async with services.gateway.registry.use(session_id, owner=caller.name) as worker:
        reply = await worker.list_files(LIMIT)
    _check(reply)
    data = [
        {"path": entry.path, "object": "session.file", "bytes": entry.size, "modified_at": entry.mtime_ns // 10**9}
        for entry in reply.entries or ()
    ]
    return {"object": "list", "data": data, "truncated": reply.truncated}


@router.put("/{path:any_path}", openapi_extra=UPLOAD)
async def put_session_file(
    request: Request, caller: AuthenticatedCaller, services: InjectedServices, session_id: str, path: str
) -> dict[str, Any]:
    """The body, as it is, becomes the file; folders that lack are made."""
    registry, owner = services.gateway.registry, caller.name
    await registry.get(session_id, owner=owner)
    async with Spool(max_bytes=services.max_file_bytes) as spool:
        async for data in request.stream():
            await spool.write(data)
        async with registry.use(session_id, owner=owner) as worker:
            reply = await worker.put_file(path, spool.size, spool)
    _check(reply)
    return {"path": path, "object": "session.file", "bytes": spool.size}


@router.get("/{path:any_path}", response_class=Response, responses=BYTES)
async def get_session_file(
    caller: AuthenticatedCaller, services: InjectedServices, session_id: str, path: str
) -> Response:
    """The bytes of a file."""
    registry, owner = services.gateway.registry, caller.name
    limit_bytes = services.max_file_bytes

    async def fetch(write: Write) -> None:
        async with registry.use(session_id, owner=owner) as worker:
            reply = await worker.get_file(path, limit_bytes=limit_bytes, sink=write)
        _check(reply, status=404)

    return Download(spooled(fetch, max_bytes=limit_bytes), saved_as(path.rpartition("/")[2]))


@router.delete("/{path:any_path}")
async def delete_session_file(
    caller: AuthenticatedCaller, services: InjectedServices, session_id: str, path: str
) -> dict[str, Any]:
    async with services.gateway.registry.use(session_id, owner=caller.name) as worker:
        reply = await worker.remove_file(path)
    _check(reply, status=404)
    return {"path": path, "object": "session.file.deleted", "deleted": True}


def _check(reply: FileReply, *, status: int = 400) -> None:
    if not reply.ok:
        code = "file_not_found" if status == 404 else "invalid_value"
        raise RequestError(f"The file cannot be had: {reply.error}.", param="path", code=code, status=status)
