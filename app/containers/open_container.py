"""A container in use: its sandbox, and the records of what lies in its work folder.

The folder is what counts; records follow it. They only give a file an id, and tell who put it there.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Mapping, Sequence
from uuid import uuid4

from app.errors import RequestError
from app.pipeline.work_folder import is_hidden
from app.sandbox.worker.inquiry import PieceSink
from app.sandbox.worker.messages import FileReply
from app.sandbox.worker.worker import Worker
from app.store.blobs import BlobStore
from app.store.containers import ContainerFileRecord
from app.store.database import Store
from app.store.files import FileRecord
from sandbox_image.protocol import WORK_FOLDER

FOLDER = WORK_FOLDER + "/"
#: Files of one container that are told about. Code can write more.
FILES_LIMIT = 1000
#: As long as a record's path may be.
PATH_CHARS = 1024


class OpenContainer:
    """For as long as a request uses it. ``fresh`` is one that was made for this request; ``placed`` has the id of the
    file of ``/v1/files`` that was put in last under each name, and is kept from request to request."""

    def __init__(
        self,
        id: str,
        worker: Worker,
        *,
        owner: str,
        fresh: bool,
        placed: dict[str, str],
        store: Store,
        blobs: BlobStore,
    ) -> None:
        self.id = id
        self.worker = worker
        self.fresh = fresh
        self._owner = owner
        self._placed = placed
        self._store = store
        self._blobs = blobs

    def __repr__(self) -> str:
        return f"<OpenContainer {self.id} in {self.worker!r}>"

    async def put(
        self, name: str, size: int, content: AsyncIterable[bytes], *, file_id: str | None = None
    ) -> ContainerFileRecord:
        """A file of the client's; ``file_id`` if it is one of ``/v1/files``. ``content`` must not fail: the sandbox
        would end with it.

        Raises:
            RequestError: the work folder does not take it.
            SandboxError: the sandbox failed.
        """
        reply = await self.worker.put_file(name, size, content)
        _check(reply, "The container does not take the file")
        if file_id is not None:
            self._placed[name] = file_id
        return await self._store.container_files.put(
            _new_id(), owner=self._owner, container_id=self.id, path=FOLDER + name, bytes=size, source="user"
        )

    async def add_files(self, names: Mapping[str, str], records: Sequence[FileRecord]) -> None:
        """Files of ``/v1/files``, under ``names`` (by id).

        Conversations name the same files in every request: one that was put in and still lies there stays, since code
        or the client may have changed it. Another file of that name takes its place, whoever wrote what lies there:
        the client now says that this is what is found under the name.

        Raises:
            RequestError, SandboxError: as ``put``.
        """
        if not records:
            return
        present = set() if self.fresh else {record.path for record in await self.list()}
        for record in records:
            name = names[record.id]
            if FOLDER + name not in present or self._placed.get(name) != record.id:
                async with self._blobs.open(record.id) as blob:
                    await self.put(name, blob.size, blob, file_id=record.id)

    async def fetch(self, record: ContainerFileRecord, write: PieceSink, *, limit_bytes: int) -> None:
        """
        Raises:
            RequestError: 404, it is not there any more, or is none that we read.
            SandboxError: the sandbox failed.
        """
        path = record.path.removeprefix(FOLDER)
        reply = await self.worker.get_file(path, limit_bytes=limit_bytes, sink=write)
        if not reply.ok:
            raise RequestError(
                f"The file cannot be read: {reply.error}.", param="file_id", code="file_not_found", status=404
            )

    async def remove(self, record: ContainerFileRecord) -> None:
        """It may be gone already."""
        await self.worker.remove_file(record.path.removeprefix(FOLDER))
        await self._store.container_files.delete(record.id, owner=self._owner, container_id=self.id)

    async def list(self) -> list[ContainerFileRecord]:
        """What lies in the folder now, what nobody asked for left out.

        Raises:
            SandboxError: the sandbox failed, or is running code.
        """
        reply = await self.worker.list_files(FILES_LIMIT)
        _check(reply, "The files cannot be listed")
        sizes = {
            FOLDER + entry.path: entry.size
            for entry in reply.entries or ()
            if not is_hidden(entry.path) and len(FOLDER + entry.path) <= PATH_CHARS
        }
        return await self._store.container_files.sync(sizes, owner=self._owner, container_id=self.id, new_id=_new_id)


def _check(reply: FileReply, problem: str) -> None:
    if not reply.ok:
        raise RequestError(f"{problem}: {reply.error}.", param="file")


def _new_id() -> str:
    return f"cfile_{uuid4().hex}"
