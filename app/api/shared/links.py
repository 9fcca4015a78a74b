"""Makes links to what code has drawn and written.

The token of a link is random, and looked up: a signature would add nothing that revoking it does not need to look up
anyway. A copy is kept for as long as the link lasts, since most sandboxes end with their request.
"""

from __future__ import annotations

import base64
import binascii
import secrets
from collections.abc import Sequence
from urllib.parse import quote
from uuid import uuid4

from app.errors import RequestError, SandboxError, StorageError
from app.events import CodeEnd, Event, ExecResult
from app.pipeline.place import Place
from app.render.said import Link
from app.store.blobs import BlobStore
from app.store.database import Store

PREFIX = "/v1/shared"
#: Of one answer.
MAX_LINKS = 100
MAX_BYTES = 64 * 1024 * 1024
MAX_FILE_BYTES = 16 * 1024 * 1024
_SUFFIXES = {"image/png": "png", "image/jpeg": "jpg"}
#: What browsers draw without running anything in it.
INLINE = {"png": "image/png", "jpg": "image/jpeg", "jpeg": "image/jpeg", "gif": "image/gif", "webp": "image/webp"}


class Links:
    """Of one answer of one owner.

    Args:
        base_url: where clients reach this gateway, without a slash at its end.
        place: where the code runs.
        ttl_s: how long a link lasts.
    """

    def __init__(
        self, store: Store, blobs: BlobStore, *, owner: str, base_url: str, place: Place, ttl_s: float
    ) -> None:
        self._store = store
        self._blobs = blobs
        self._owner = owner
        self._base_url = base_url
        self._place = place
        self._ttl_s = ttl_s
        self._figures = 0
        self._count = 0
        self._bytes = 0

    async def of(self, event: Event) -> Sequence[Link]:
        """To the images of a result, or the files that code has written by its end. What cannot be kept is only
        named."""
        match event:
            case ExecResult(images=images) if images:
                return [await self._image(uri) for uri in images[:1]]
            case CodeEnd(files=list(changes)):
                written = [change for change in changes if change.change != "deleted"]
                return [await self._file(change.path, change.bytes) for change in written]
        return ()

    async def _image(self, uri: str) -> Link:
        self._figures += 1
        name = f"Figure {self._figures}"
        head, _, encoded = uri.partition(",")
        suffix = _SUFFIXES.get(head.removeprefix("data:").removesuffix(";base64"))
        try:
            content = base64.b64decode(encoded, validate=True)
        except binascii.Error:
            return Link(name, "")
        if suffix is None or not self._has_room(len(content)):
            return Link(name, "")
        id = _new_id()
        try:
            await self._blobs.put(id, content)
            return Link(name, await self._add(id, f"figure-{self._figures}.{suffix}", len(content)))
        except StorageError:  # which has been logged
            return Link(name, "")

    async def _file(self, path: str, size: int | None) -> Link:
        if size is None or size > MAX_FILE_BYTES or not self._has_room(size):
            return Link(path, "", size)
        id = _new_id()
        try:
            session = await self._place.session()
            async with self._blobs.create(id, max_bytes=MAX_FILE_BYTES) as blob:
                reply = await session.get_file(path, limit_bytes=MAX_FILE_BYTES, sink=blob.write)
                if not reply.ok:
                    raise RequestError(str(reply.error))
            return Link(path, await self._add(id, path.rpartition("/")[2], blob.size), blob.size)
        except (RequestError, StorageError, SandboxError):
            return Link(path, "", size)

    async def _add(self, id: str, name: str, size: int) -> str:
        token = secrets.token_urlsafe(24)
        media_type = INLINE.get(name.rpartition(".")[2].lower(), "application/octet-stream")
        await self._store.shared.add(
            id,
            token=token,
            owner=self._owner,
            session=self._place.name,
            name=name[-200:],
            media_type=media_type,
            bytes=size,
            ttl_s=self._ttl_s,
        )
        self._count += 1
        self._bytes += size
        return f"{self._base_url}{PREFIX}/{token}/{quote(name[-200:], safe='')}"

    def _has_room(self, size: int) -> bool:
        return self._count < MAX_LINKS and self._bytes + size <= MAX_BYTES


async def purge_shared(store: Store, blobs: BlobStore) -> None:
    """Remove what has expired: contents before rows, so that what is interrupted goes on the next time."""
    for id in await store.shared.expired():
        await blobs.delete(id)
        await store.shared.forget(id)


def _new_id() -> str:
    return f"shared_{uuid4().hex}"
