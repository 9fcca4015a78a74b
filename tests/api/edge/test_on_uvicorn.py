"""What only a real server shows: clients that leave, and bodies that are refused while they are still being sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import uvicorn
from fastapi import FastAPI

from app.api.edge.body_limit import BodyLimitMiddleware
from app.api.edge.errors import install
from app.api.edge.request_id import RequestIdMiddleware
from app.api.files.download import Download, saved_as
from app.store.blobs import BlobReader, BlobStore

SIZE = 64 * 1024 * 1024


class WatchedBlobs(BlobStore):
    """Tells when a reader has been closed."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.closed = asyncio.Event()

    @asynccontextmanager
    async def open(self, name: str) -> AsyncIterator[BlobReader]:
        try:
            async with super().open(name) as reader:
                yield reader
        finally:
            self.closed.set()


@pytest.fixture
async def blobs(tmp_path: Path) -> WatchedBlobs:
    blobs = WatchedBlobs(str(tmp_path))
    await blobs.prepare()
    return blobs


@pytest.fixture
async def port(blobs: WatchedBlobs) -> AsyncIterator[int]:
    app = FastAPI()
    install(app)
    app.add_middleware(BodyLimitMiddleware, max_bytes=1000, max_upload_bytes=1000, timeout_s=30)
    app.add_middleware(RequestIdMiddleware)

    @app.get("/blob")
    async def download() -> Download:
        return Download(blobs.open("file-1"), saved_as("x"))

    @app.post("/v1/body")
    async def body(body: dict[str, str]) -> int:
        return len(body)

    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", lifespan="off"))
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(server.serve())
        while not server.started:
            await asyncio.sleep(0.01)
        yield server.servers[0].sockets[0].getsockname()[1]
        server.should_exit = True


async def test_a_download_ends_when_its_client_leaves(port: int, blobs: WatchedBlobs) -> None:
    await blobs.put("file-1", bytes(SIZE))
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /blob HTTP/1.1\r\nhost: x\r\n\r\n")
    await reader.readuntil(b"\r\n\r\n")
    assert not blobs.closed.is_set()
    writer.close()
    async with asyncio.timeout(10):
        await blobs.closed.wait()


@pytest.mark.parametrize("framing", [b"content-length: 5000000", b"transfer-encoding: chunked"])
async def test_a_client_that_is_refused_in_the_middle_of_its_body_reads_why(port: int, framing: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    chunked = framing.startswith(b"transfer")
    piece = b"x" * 50_000
    writer.write(b"POST /v1/body HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n" + framing + b"\r\n\r\n")
    for _ in range(100):
        writer.write(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
    writer.write(b"0\r\n\r\n" if chunked else b"")
    async with asyncio.timeout(10):
        head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 413")
    assert b"x-request-id: req_" in head
    writer.close()
