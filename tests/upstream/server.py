"""A server on loopback that answers by script, byte by byte as a test wants it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
EOF_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
LAST = b"0\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


@dataclass
class Exchange:
    """One request, and the connection to answer it on."""

    head: bytes
    body: bytes
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def wait_closed_by_client(self) -> None:
        assert await self.reader.read(1) == b""

    def cut(self) -> None:
        self.writer.transport.abort()


@dataclass
class Server:
    url: str
    exchanges: list[Exchange] = field(default_factory=list)


@asynccontextmanager
async def serving(answer: Callable[[Exchange], Awaitable[None]]) -> AsyncIterator[Server]:
    """Answers each connection's first request; closes the connection when ``answer`` is done."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(
            (int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0
        )
        exchange = Exchange(head, await reader.readexactly(length), reader, writer)
        server.exchanges.append(exchange)
        try:
            await answer(exchange)
        finally:
            writer.close()

    listener = await asyncio.start_server(handle, "127.0.0.1", 0)
    server = Server(f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/v1")
    async with listener:
        yield server
