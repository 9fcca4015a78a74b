"""``/v1/files``: files that clients put up for code to use (PROTOCOL.md 4.5)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any
from uuid import uuid4

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from app.api.edge.auth import AuthenticatedCaller
from app.api.edge.openapi import BYTES
from app.api.files.download import Download, saved_as
from app.api.files.filenames import base_name
from app.api.files.lookup import find_file
from app.api.files.multipart import read_form
from app.api.listing import list_object
from app.api.services import InjectedServices
from app.errors import RequestError
from app.store.blobs import BlobStore, no_such_file
from app.store.database import Store
from app.store.files import FileRecord
from app.store.paging import PageRequest, SortOrder

#: OpenAI's. Here they are only remembered.
PURPOSES = ("assistants", "batch", "evals", "fine-tune", "user_data", "vision")

#: OpenAI's: an hour to 30 days.
EXPIRES_AFTER_S = range(3600, 30 * 24 * 3600 + 1)

SECONDS = re.compile(r"[0-9]{1,9}")

#: OpenAI's, and so much larger than that of other lists.
LIST_LIMIT = 10_000

UPLOAD_FORM = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file", "purpose"],
                    "properties": {
                        "file": {"type": "string", "format": "binary"},
                        "purpose": {"type": "string", "enum": list(PURPOSES)},
                        "expires_after[anchor]": {"type": "string", "enum": ["created_at"]},
                        "expires_after[seconds]": {
                            "type": "integer",
                            "minimum": EXPIRES_AFTER_S.start,
                            "maximum": EXPIRES_AFTER_S.stop - 1,
                        },
                    },
                }
            }
        },
    }
}

router = APIRouter(prefix="/v1/files")


def file_object(record: FileRecord) -> dict[str, Any]:
    return {
        "id": record.id,
        "object": "file",
        "bytes": record.bytes,
        "created_at": int(record.created_at),
        "filename": record.filename,
        "purpose": record.purpose,
        "status": "processed",
        "expires_at": None if record.expires_at is None else int(record.expires_at),
    }


@router.post("", openapi_extra=UPLOAD_FORM)
async def upload_file(request: Request, caller: AuthenticatedCaller, services: InjectedServices) -> dict[str, Any]:
    """Put up a file: a form with ``file`` and ``purpose``, and ``expires_after`` if it is not to stay."""
    blobs = services.blobs
    file_id = f"file-{uuid4().hex}"
    async with blobs.create(file_id, max_bytes=services.max_file_bytes) as blob:
        form = await read_form(request.headers.get("content-type", ""), request.stream(), blob.write)
        if form.filename is None:
            raise _missing("file")
        purpose = form.fields.get("purpose")
        if purpose is None:
            raise _missing("purpose")
        if purpose not in PURPOSES:
            raise RequestError(f"Invalid value for 'purpose': one of {', '.join(PURPOSES)}.", param="purpose")
        expires_after_s = _expires_after_s(form.fields)
    try:
        record = await services.store.files.add(
            file_id,
            owner=caller.name,
            filename=base_name(form.filename),
            bytes=blob.size,
            purpose=purpose,
            expires_after_s=expires_after_s,
        )
    except BaseException:
        await blobs.delete(file_id)
        raise
    return file_object(record)


@router.get("")
async def list_files(
    caller: AuthenticatedCaller,
    services: InjectedServices,
    limit: Annotated[int, Query(ge=1, le=LIST_LIMIT)] = LIST_LIMIT,
    order: SortOrder = "desc",
    after: Annotated[str | None, Query(max_length=128)] = None,
    purpose: Annotated[str | None, Query(max_length=64)] = None,
) -> dict[str, Any]:
    page = PageRequest(limit, order, after)
    records, more = await services.store.files.list(owner=caller.name, page=page, purpose=purpose)
    return list_object([file_object(record) for record in records], has_more=more)


@router.get("/{file_id}")
async def get_file(caller: AuthenticatedCaller, services: InjectedServices, file_id: str) -> dict[str, Any]:
    return file_object(await find_file(services.store, caller, file_id))


@router.get("/{file_id}/content", response_class=Response, responses=BYTES)
async def get_file_content(caller: AuthenticatedCaller, services: InjectedServices, file_id: str) -> Response:
    """The bytes, as they were sent."""
    record = await find_file(services.store, caller, file_id)
    return Download(services.blobs.open(record.id), saved_as(record.filename))


@router.delete("/{file_id}")
async def delete_file(caller: AuthenticatedCaller, services: InjectedServices, file_id: str) -> dict[str, Any]:
    if not await services.store.files.delete(file_id, owner=caller.name):
        raise no_such_file(file_id)
    await services.blobs.delete(file_id)
    return {"id": file_id, "object": "file", "deleted": True}


async def purge_files(store: Store, blobs: BlobStore) -> None:
    """Remove what has expired: contents before rows, so that what is interrupted goes on the next time."""
    for id in await store.files.expired():
        await blobs.delete(id)
        await store.files.forget(id)


def _expires_after_s(fields: Mapping[str, str]) -> int | None:
    """OpenAI's SDKs send the object ``expires_after`` as a field for each of its own.

    Raises:
        RequestError: it is not as OpenAI has it.
    """
    given = {name: value for name, value in fields.items() if name.partition("[")[0] == "expires_after"}
    if not given:
        return None
    seconds = given.get("expires_after[seconds]", "")
    as_documented = given.get("expires_after[anchor]") == "created_at" and SECONDS.fullmatch(seconds)
    if not as_documented or int(seconds) not in EXPIRES_AFTER_S:
        least, most = EXPIRES_AFTER_S.start, EXPIRES_AFTER_S.stop - 1
        raise RequestError(
            f"Invalid value for 'expires_after': an 'anchor' of 'created_at' and {least} to {most} 'seconds'.",
            param="expires_after",
        )
    return int(seconds)


def _missing(param: str) -> RequestError:
    return RequestError(f"Missing required parameter: '{param}'.", param=param, code="missing_required_parameter")
