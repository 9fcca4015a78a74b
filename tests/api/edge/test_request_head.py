"""Over a real connection: how long a request's headers may be, and may take."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from app.api.edge import request_head
from app.api.edge.request_head import MAX_HEAD_BYTES, RequestHeadProtocol

START = b"POST / HTTP/1.1\r\nhost: x\r\n"
BODY = b"transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n"
PIECE = b"x" * 1000


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    length = str(len(body)).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", length)]})
    await asyncio.sleep(0.1 if body == b"slow" else 0)
    await send({"type": "http.response.body", "body": body})


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    config = uvicorn.Config(echo, port=0, http=RequestHeadProtocol, lifespan="off", log_config=None, access_log=False)
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        async with asyncio.timeout(10):
            yield reader, writer
    finally:
        writer.close()
        server.should_exit = True
        await task


async def test_an_ordinary_head_in_any_pieces_is_taken_again_and_again() -> None:
    async with connected() as (reader, writer):
        for _ in range(3):
            for piece in (START[:5], START[5:], b"a: " + PIECE * 40 + b"\r\n", BODY[:10], BODY[10:], b"\r\n"):
                writer.write(piece)
                await asyncio.sleep(0.005)
            assert (await reader.readuntil(b"\r\n\r\nabc")).startswith(b"HTTP/1.1 200")


async def test_a_long_body_is_none_of_its_business() -> None:
    body = PIECE * 1000
    async with connected() as (reader, writer):
        writer.write(START + b"content-length: %d\r\n\r\n" % len(body) + body)
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200")
        assert await reader.readexactly(len(body)) == body


@pytest.mark.parametrize(
    ("before", "piece"),
    [
        (START, b"a: " + PIECE + b"\r\n"),
        (START + b"a: ", PIECE),
        (b"GET /", PIECE),
        (START + BODY, b"a: " + PIECE + b"\r\n"),
    ],
    ids=["many headers", "a long header", "a long path", "headers behind the body"],
)
async def test_a_head_without_end_is_refused(before: bytes, piece: bytes) -> None:
    async with connected() as (reader, writer):
        writer.write(before)
        answer = asyncio.create_task(reader.read())
        sent = 0
        while not answer.done() and sent < 100 * MAX_HEAD_BYTES:
            writer.write(piece * 10)
            sent += 10_000
            await asyncio.sleep(0.001)
        assert (await answer).startswith(b"HTTP/1.1 400")
        assert sent < 20 * MAX_HEAD_BYTES


@pytest.mark.parametrize("begun", [b"", b"GET / HT", START, START + BODY + b"\r\n" + START])
async def test_a_head_that_does_not_come_is_not_waited_for(begun: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_head, "HEAD_S", 0.05)
    async with connected() as (reader, writer):
        writer.write(begun)
        answer = await reader.read()
        assert answer.endswith(b"abc") if BODY in begun else answer == b""


async def test_what_is_still_being_answered_is_not_cut_off_by_the_next_head(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_head, "HEAD_S", 0.03)
    async with connected() as (reader, writer):
        writer.write(START + b"content-length: 4\r\n\r\nslow" + START)
        assert (await reader.read()).endswith(b"slow")
