"""Contents of files, in a folder or under any fsspec URL."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from uuid import uuid4

import fsspec  # type: ignore[import-untyped]  # has no stubs

from app.errors import RequestError
from app.store.connections import translated

#: Names are ids that we made: nothing that a file system would read as more than a name.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")

#: What is unfinished for so long will never be finished. Others may share the folder, so younger ones stay.
ABANDONED = timedelta(days=1)

#: Bytes that go to a thread at once; less is gathered first.
PIECE = 256 * 1024

Returned = TypeVar("Returned")


class BlobStore:
    """Named byte strings. A blob appears under its name when it is complete, or never."""

    def __init__(self, url: str) -> None:
        """``url`` is a path, or any URL that fsspec knows (``s3://bucket/folder``, with s3fs installed)."""
        self._files, self._root = fsspec.core.url_to_fs(url)

    async def prepare(self) -> None:
        """Create the folder, and remove what processes that died left unfinished."""
        await asyncio.to_thread(self._prepare, self._path("", "tmp"))

    @asynccontextmanager
    async def create(self, name: str, *, max_bytes: int) -> AsyncIterator[BlobWriter]:
        """Write a blob; it takes its name at the end of the block, unless that ends in an exception.

        Raises:
            RequestError: 413, by the writer.
        """
        final, temporary = self._path(name), self._path(uuid4().hex, "tmp")
        with translated():  # the folder is gone
            file = await in_thread(self._files.open, temporary, "wb")
        try:
            try:
                writer = BlobWriter(file, max_bytes)
                yield writer
                await writer.flush()
            finally:
                await in_thread(file.close)
            await in_thread(self._files.mv, temporary, final)
        except BaseException:
            await in_thread(self._remove, temporary)
            raise

    async def put(self, name: str, content: bytes) -> None:
        async with self.create(name, max_bytes=len(content)) as blob:
            await blob.write(content)

    @asynccontextmanager
    async def open(self, name: str, *, first: int = 0, length: int | None = None) -> AsyncIterator[BlobReader]:
        """Read a blob, from its byte ``first`` on, ``length`` bytes of it or all.

        Raises:
            RequestError: 404, there is none of this name: its file was deleted since it was looked up.
        """
        path = self._path(name)
        try:
            file = await in_thread(self._files.open, path, "rb")
        except FileNotFoundError:
            raise no_such_file(name) from None
        try:
            if first:
                await in_thread(file.seek, first)
            if length is None:
                length = await in_thread(self._files.size, path) - first
            yield BlobReader(file, length)
        finally:
            await in_thread(file.close)

    async def read(self, name: str) -> bytes:
        """All of it. For those who know that it is small."""
        async with self.open(name) as blob:
            return b"".join([piece async for piece in blob])

    async def delete(self, name: str) -> None:
        """Does nothing if there is none."""
        await in_thread(self._remove, self._path(name))

    def _prepare(self, folder: str) -> None:
        self._files.makedirs(folder, exist_ok=True)
        for unfinished in self._files.ls(folder, detail=False):
            if self._files.modified(unfinished) < datetime.now(UTC) - ABANDONED:
                self._remove(unfinished)

    def _remove(self, path: str) -> None:
        with suppress(FileNotFoundError):
            self._files.rm_file(path)

    def _path(self, name: str, folder: str | None = None) -> str:
        """
        Raises:
            ValueError: the name is not one of ours.
        """
        if name and not NAME.fullmatch(name):
            raise ValueError(f"not a blob name: {name!r}")
        return "/".join(step for step in (self._root, folder, name) if step)


class BlobWriter:
    """``size`` is what was written so far."""

    def __init__(self, file: Any, max_bytes: int) -> None:
        self.size = 0
        self._file = file
        self._max_bytes = max_bytes
        self._gathered = bytearray()

    async def write(self, data: bytes) -> None:
        """
        Raises:
            RequestError: 413, the blob would become too large.
        """
        self.size += len(data)
        if self.size > self._max_bytes:
            raise RequestError(
                f"The file is larger than {self._max_bytes} bytes.", param="file", code="request_too_large", status=413
            )
        self._gathered += data
        if len(self._gathered) >= PIECE:
            await self.flush()

    async def flush(self) -> None:
        data, self._gathered = self._gathered, bytearray()
        await in_thread(self._file.write, data)


class BlobReader:
    """Iterates over ``size`` bytes of a blob."""

    def __init__(self, file: Any, size: int) -> None:
        self.size = size
        self._file = file

    async def __aiter__(self) -> AsyncIterator[bytes]:
        left = self.size
        while left and (piece := await in_thread(self._file.read, min(PIECE, left))):
            left -= len(piece)
            yield piece


async def in_thread(function: Callable[..., Returned], *args: Any, **kwargs: Any) -> Returned:
    """Call ``function`` in a thread. A cancelled caller still waits until it is done with the file.

    Raises:
        StorageError: the disk failed, or whatever the files are kept on.
        FileNotFoundError: which may be no failure.
    """
    work = asyncio.get_running_loop().run_in_executor(None, lambda: function(*args, **kwargs))
    try:
        with translated(but=FileNotFoundError):
            return await asyncio.shield(work)
    except asyncio.CancelledError:
        await asyncio.wait([work])
        if not work.cancelled():
            work.exception()  # looked at, so that asyncio does not report it as forgotten
        raise


def no_such_file(id: str) -> RequestError:
    return RequestError(f"No such File object: {id}", param="id", code="file_not_found", status=404)
