"""``GET /v1/shared/{token}/{name}``: what a link in an answer leads to. The link itself is the permission."""

from __future__ import annotations

import re
from email.utils import formatdate

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from app.api.edge.auth import AuthenticatedCaller
from app.api.edge.openapi import BYTES
from app.api.files.download import Download
from app.api.files.filenames import attachment
from app.api.services import InjectedServices
from app.api.shared.links import INLINE, PREFIX
from app.errors import RequestError
from app.store.shared import SharedRecord

#: A page that shows a figure has no key.
open_router = APIRouter(prefix=PREFIX)
router = APIRouter(prefix=PREFIX)

_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")
_IMAGES = frozenset(INLINE.values())


@open_router.get("/{token}/{name}", response_class=Response, responses=BYTES)
async def get_shared(request: Request, services: InjectedServices, token: str, name: str) -> Response:
    """A figure or a file. Images are shown where they are linked; everything else is a download."""
    store = services.store
    record = await store.shared.find(token)
    if record is None or record.name != name:
        raise _no_such_link()
    headers = _headers(record, now=store.shared.now())
    if request.headers.get("if-none-match") == headers["etag"]:
        return Response(status_code=304, headers=headers)
    first, last = _range(request.headers.get("range"), request.headers.get("if-range"), record, headers["etag"])
    length = last - first + 1
    partial = length < record.bytes
    if partial:
        headers["content-range"] = f"bytes {first}-{last}/{record.bytes}"
    media_type = record.media_type if record.media_type in _IMAGES else "application/octet-stream"
    headers["content-type"] = media_type
    opening = services.blobs.open(record.id, first=first, length=length)
    return Download(opening, headers, status=206 if partial else 200)


@router.delete("/{token}/{name}")
async def revoke_shared(caller: AuthenticatedCaller, services: InjectedServices, token: str, name: str) -> JSONResponse:
    """The link leads nowhere any more."""
    if not await services.store.shared.revoke_link(token, owner=caller.name):
        raise _no_such_link()
    return JSONResponse({"object": "shared.deleted", "deleted": True})


def _headers(record: SharedRecord, *, now: float) -> dict[str, str]:
    left_s = max(0, int(record.expires_at - now))
    shown = record.media_type in _IMAGES
    return {
        "accept-ranges": "bytes",
        "cache-control": f"private, max-age={left_s}, immutable",
        "content-disposition": "inline" if shown else attachment(record.name),
        # Opened by itself it may run nothing, load nothing and be no part of our pages.
        "content-security-policy": "default-src 'none'; sandbox",
        "cross-origin-resource-policy": "cross-origin",
        "etag": f'"{record.id}"',
        "expires": formatdate(record.expires_at, usegmt=True),
        "referrer-policy": "no-referrer",
        "x-content-type-options": "nosniff",
    }


def _range(asked: str | None, if_range: str | None, record: SharedRecord, etag: str) -> tuple[int, int]:
    """First and last byte (RFC 9110, 14.2); several ranges, or what is none, are answered with all of it.

    Raises:
        RequestError: 416, there is nothing in that range.
    """
    whole = 0, record.bytes - 1
    match = _RANGE.fullmatch(asked or "")
    if match is None or (if_range is not None and if_range != etag) or not (match[1] or match[2]):
        return whole
    if not match[1]:
        first, last = max(0, record.bytes - int(match[2])), record.bytes - 1
    else:
        first, last = int(match[1]), min(int(match[2]) if match[2] else record.bytes - 1, record.bytes - 1)
    if first > last:
        error = RequestError("There is nothing in this range.", code="invalid_range", status=416)
        error.headers = {"content-range": f"bytes */{record.bytes}"}
        raise error
    return first, last


def _no_such_link() -> RequestError:
    return RequestError("There is no such file, or its link has expired.", code="file_not_found", status=404)
